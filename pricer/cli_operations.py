"""The commands that look after what is deployed on AWS: its stacks, its log and its schedules."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from . import options
from .documents import json_of, show
from .errors import DeployError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

HERE, THERE = "local", "remote"

yes = click.option("--yes", is_flag=True, help="Ask nothing.")


def _choices(ctx: click.Context, param: click.Parameter, texts: Iterable[str]) -> dict[str, str]:
    del ctx
    choices = {}
    for text in texts:
        name, given, value = text.partition("=")
        # What is no identifier is taken for a setting of CDK's own, and passed over.
        if not given or not name.isidentifier():
            raise click.BadParameter(f"must be written as keep_days=30, got {text!r}", param=param)
        if name == "name":
            raise click.BadParameter("the stack's name is --stack NAME", param=param)
        choices[name] = value
    return choices


choices = click.option(
    "-c",
    "--choice",
    "choices",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_choices,
    help="As architecture=arm64; docs/aws.md has them. Repeatable. Default: as deployed.",
)


build = click.option(
    "--build",
    type=click.Choice([HERE, THERE]),
    default=HERE,
    help="Build the image by Docker or finch here, or by CodeBuild on AWS. Default: local.",
)


@click.command(
    epilog=options.examples(
        "pricer deploy",
        "pricer deploy --build remote",
        "pricer deploy --stack Mine -c architecture=arm64 -c keep_days=30",
    )
)
@options.stack
@choices
@build
@yes
@options.json
@options.verbose
def deploy(*, stack: str, choices: dict[str, str], build: str, yes: bool, as_json: bool) -> None:
    """Deploy what prices on AWS, or bring it up to date.

    Shows what would change and what that costs a month while idle, and asks.
    """
    from .deployment import check_checkout, outputs

    check_checkout()
    _deploy(stack, outputs(stack) or {}, choices, build, yes=yes, as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer update",
        "pricer update -c warm_write_units=20000 --yes",
    )
)
@options.stack
@choices
@build
@yes
@options.json
@options.verbose
def update(*, stack: str, choices: dict[str, str], build: str, yes: bool, as_json: bool) -> None:
    """Deploy this version over the one that is there, as `deploy` does."""
    from .deployment import check_checkout, outputs

    check_checkout()
    found = outputs(stack)
    if found is None:
        raise DeployError(f"stack {stack!r}: is not deployed; `pricer deploy` does that")
    _deploy(stack, found, choices, build, yes=yes, as_json=as_json)


def _deploy(
    stack: str,
    found: Mapping[str, str],
    given: Mapping[str, str],
    build: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    from . import deployment, views_operations

    chosen = {**json.loads(found.get("Choices", "{}")), **given}
    builder = deployment.CODEBUILD if build == THERE else deployment.builder()
    target = deployment.Target.find(stack, chosen, builder)
    for name in target.stacks:
        # Raises where it is somebody else's.
        deployment.outputs(name)
    click.echo(f"stack {stack} in {target.environment}, built by {builder}", err=True)
    document: dict[str, Any] = {
        "stack": stack,
        "account": target.account,
        "region": target.region,
        "choices": dict(chosen),
        "builder": builder,
        "bootstrapped": False,
    }
    if deployment.bootstrap_version() is None:
        _ask(
            "This account and region are not bootstrapped: the CDK needs a bucket, a repository"
            " of images and roles there, a stack CDKToolkit, once. Make them?",
            yes=yes,
        )
        deployment.bootstrap(target)
        document["bootstrapped"] = True
    changed = deployment.show_changes(target)
    costs = deployment.idle_cost(target)
    idle = [{"what": what, "count": count, "usd": usd} for what, count, usd in costs]
    document |= {
        "changed": changed,
        "idle": idle,
        "build_usd_a_minute": deployment.build_cost(target),
        "idle_usd_a_month": sum(usd for what, _, usd in costs if what != deployment.DASHBOARDS),
    }
    if changed:
        for line in views_operations.costs(document):
            click.echo(line, err=True)
        _ask("Deploy this?", yes=yes)
        deployment.deploy(target)
    show(document, views_operations.deployed, as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer destroy",
        "pricer destroy --stack Mine --purge",
    )
)
@options.stack
@yes
@click.option("--purge", is_flag=True, help="Delete all runs too; asks for the stack's name.")
@options.json
@options.verbose
def destroy(*, stack: str, yes: bool, purge: bool, as_json: bool) -> None:
    """Remove what is deployed; the table and the bucket stay.

    They hold every run, which nothing could bring back. --purge deletes them too.
    """
    from . import deployment, views_operations

    deployment.check_checkout()
    found = deployment.outputs(stack) or {}
    chosen = json.loads(found.get("Choices", "{}"))
    target = deployment.Target.find(stack, chosen, deployment.CODEBUILD)
    # What a deployment that failed has left may be only some of them.
    there = [name for name in target.stacks if deployment.outputs(name) is not None]
    if not there:
        raise DeployError(f"stack {stack!r}: is not deployed, there is nothing to destroy")
    if purge and not {"TableName", "BucketName"} <= set(found):
        raise DeployError(
            f"stack {stack!r}: does not say what its table and bucket are, so they cannot be"
            " purged; destroy it without --purge"
        )
    document = {
        "stack": stack,
        "account": target.account,
        "region": target.region,
        "stacks": there,
        "table": found.get("TableName"),
        "bucket": found.get("BucketName"),
        "purged": purge,
    }
    for line in views_operations.kept(document):
        click.echo(line, err=True)
    _ask(f"Destroy {', '.join(there)}?", yes=yes)
    if purge:
        _ask_for(stack)
        # First, while the stack still says what they are: what fails here can be done again.
        deployment.purge(target, found["TableName"], found["BucketName"])
    deployment.destroy(target)
    show(document, views_operations.destroyed, as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer tail latest",
        "pricer tail --since 1h --follow",
    )
)
@click.argument("run", required=False)
@click.option(
    "--since",
    metavar="WHEN",
    help="30s, 10m, 2h or 1d ago, or a time. Default: 10m, or since RUN was submitted.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until interrupted.")
@options.stack
@options.json
@options.verbose
def tail(*, run: str | None, since: str | None, follow: bool, stack: str, as_json: bool) -> None:
    """Show what the functions on AWS log, of RUN or of all."""
    from . import logs, views_operations
    from .executors.stepfunctions import Deployment
    from .run import open_run
    from .screen import console

    deployment = Deployment.find(stack)
    head = open_run(run, deployment.store()).head if run else None
    start = logs.since_ms(since or (head.submitted_at if head else "10m"))
    out = console()
    run_id = head.run_id if head else ""
    click.get_current_context().meta[options.INTERRUPT] = "the log goes on."
    line = None
    for line in logs.lines(deployment, start, run_id, follow=follow):
        if as_json:
            click.echo(json_of(line.to_json(), indent=None))
        else:
            out.print(views_operations.logged(line, alone=bool(run_id)), soft_wrap=True)
        sys.stdout.flush()
    if line is None:
        at = datetime.fromtimestamp(start / 1_000, UTC)
        click.echo(f"nothing is logged since {at:%Y-%m-%d %H:%M:%S} UTC; see --since", err=True)


@click.command(
    epilog=options.examples(
        'pricer schedule grid.toml --cron "0 6 * * ? *"',
        'pricer schedule book.csv --cron "0 22 ? * MON-FRI *" --timezone Europe/London',
        'pricer schedule book.csv --cron "0 22 ? * MON-FRI *" --valuation-date as_of',
    )
)
@options.file
@click.option(
    "--cron",
    metavar="FIELDS",
    required=True,
    help="When: minutes, hours, day of month, month, day of week, year.",
)
@click.option("--timezone", metavar="NAME", default="UTC", help="Of --cron. Default: UTC.")
@click.option("--name", metavar="NAME", help="What it is called. Default: as the file.")
@options.book
@options.stack
@options.json
@options.verbose
def schedule(
    *,
    file: Path,
    cron: str,
    timezone: str,
    name: str | None,
    stack: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Have AWS price a grid or book by the clock."""
    from . import scheduling, views_operations
    from .executors.stepfunctions import Deployment

    given = {option: value for option, value in given.items() if value is not None and value != {}}
    name = name or re.sub(r"[^0-9A-Za-z_.-]+", "-", file.stem).lstrip(".-")
    planned = scheduling.Schedule(name, file.name, " ".join(cron.split()), timezone, given)
    deployment = Deployment.find(stack)
    before = scheduling.schedule(deployment, planned, file)
    document = planned.to_json() | {
        "place": f"s3://{deployment.bucket}/{planned.key}",
        "replaced": before is not None,
        "state": before.state if before else scheduling.ENABLED.lower(),
    }
    show(document, partial(views_operations.scheduled, stack=stack), as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer schedules",
        "pricer schedules --stack Mine --json",
    )
)
@options.stack
@options.json
@options.verbose
def schedules(*, stack: str, as_json: bool) -> None:
    """List what AWS prices by the clock."""
    from . import scheduling, views_operations
    from .executors.stepfunctions import Deployment

    found = scheduling.schedules(Deployment.find(stack))
    document = {"stack": stack, "schedules": [asdict(each) for each in found]}
    show(document, views_operations.schedules, as_json=as_json)


@click.command(
    epilog=options.examples(
        "pricer unschedule book",
    )
)
@click.argument("name")
@options.stack
@options.json
@options.verbose
def unschedule(*, name: str, stack: str, as_json: bool) -> None:
    """Have AWS price a file by the clock no more."""
    from . import scheduling, views_operations
    from .executors.stepfunctions import Deployment

    scheduling.unschedule(Deployment.find(stack), name)
    show({"schedule": name, "deleted": True}, views_operations.unscheduled, as_json=as_json)


def _ask(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes."""
    if yes:
        return
    answer = None
    with suppress(click.Abort):
        answer = click.confirm(question, err=True)
    if answer is None:
        # The question stands there without an answer, on a line of its own.
        click.echo(err=True)
        raise DeployError("nobody answers, so nothing is changed; say --yes")
    if not answer:
        raise DeployError("nothing is changed, as you say")


def _ask_for(stack: str) -> None:
    """Go on if the stack's name is typed."""
    typed = ""
    with suppress(click.Abort):
        typed = click.prompt(
            f"--purge deletes every run for ever. Type the stack's name, {stack}", err=True
        )
    if typed != stack:
        raise SpecError(f"purge: must be answered by {stack!r}, got {typed!r}; nothing is changed")
