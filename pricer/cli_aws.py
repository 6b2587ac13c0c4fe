"""The commands for runs that are priced elsewhere: on AWS, or in another process."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from . import options
from .documents import show

if TYPE_CHECKING:
    from .estimate import Measured
    from .plan import Plan


def planned(plan: Plan, measured: Measured, stack: str, local_seconds: float) -> dict[str, Any]:
    """Return what the plan of a command says of AWS, and which of here and there is better."""
    from .cloud import Terms, fan_out_of
    from .fanout import verdict

    terms = Terms.find(stack)
    fan = fan_out_of(plan, measured, terms)
    there = plan.of(plan.spec, terms.kernel_version)
    document = {"run": there.run_id} | fan.to_json()
    document |= {"limits": asdict(terms.limits), "assumed": terms.assumed}
    return {"aws": document, "verdict": verdict(local_seconds, fan)}


@click.command(
    epilog=options.examples(
        "pricer watch latest",
        "pricer watch 3f9a --on aws",
    )
)
@options.run
@options.where
@options.json
@options.verbose
def watch(*, run: str, where: options.Where, as_json: bool) -> None:
    """Follow RUN until nobody prices it any more."""
    from . import views
    from .run import open_run
    from .screen import progress

    found = open_run(run, where.store())
    click.get_current_context().meta[options.INTERRUPT] = "the run goes on."
    with progress(found.head.cells, "pricing") as advance:
        found.wait(advance)
    document = found.status().to_json()
    finish = where.how_to_finish(document)
    show(document, partial(views.ended, finish=finish), as_json=as_json)
    if document["state"] == "incomplete":
        click.get_current_context().exit(1)


@click.command(
    epilog=options.examples(
        "pricer cancel latest --on aws",
    )
)
@options.run
@options.where
@options.json
@options.verbose
def cancel(*, run: str, where: options.Where, as_json: bool) -> None:
    """Stop the pricing of RUN on AWS; what is priced is kept."""
    from . import views
    from .executors.stepfunctions import cancel as cancel_run
    from .run import open_run

    found = open_run(run, where.store())
    execution = cancel_run(found.head, found.store)
    status = found.status()
    document = {
        "run": found.id,
        "execution": execution,
        "cells": status.cells,
        "done": status.done,
    }
    finish = where.how_to_finish(document)
    show(document, partial(views.cancelled, finish=finish), as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer cost latest --on aws",
    )
)
@options.run
@options.where
@options.json
@options.verbose
def cost(*, run: str, where: options.Where, as_json: bool) -> None:
    """Show what RUN has used of AWS, in dollars."""
    if where.stack is None:
        raise click.UsageError("say --on aws; what is priced on this machine is not billed")
    from . import views
    from .billing import run_cost
    from .executors.stepfunctions import Deployment
    from .run import open_run

    deployment = Deployment.find(where.stack)
    store = deployment.store()
    found = open_run(run, store)
    bill = run_cost(deployment, store, found.id)
    show({"name": found.head.name} | bill.to_json(), views.cost, as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer doctor",
        "pricer doctor --on aws",
    )
)
@options.where
@options.json
@options.verbose
def doctor(*, where: options.Where, as_json: bool) -> None:
    """Check that all is there that pricing needs."""
    from . import views
    from .doctor import FAIL, check_aws, check_local

    checks = check_aws(where.stack) if where.stack else check_local(where.url)
    found = [asdict(check) for check in checks]
    passed = all(check["state"] != FAIL for check in found)
    show({"passed": passed, "checks": found}, views.doctor, as_json=as_json)
    if not passed:
        click.get_current_context().exit(1)
