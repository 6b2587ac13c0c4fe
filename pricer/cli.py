"""The command line: parse, call, print. Every command is a thin layer over the library."""

from __future__ import annotations

import io
import logging
import math
import os
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from . import (
    cli_aws,
    cli_completion,
    cli_example,
    cli_imply,
    cli_operations,
    cli_pictures,
    cli_web,
    completions,
    options,
)
from .contracts import (
    INPUTS,
    TYPES,
    code_of,
    defaults_of,
    inputs_of,
    with_article,
)
from .documents import json_of, show
from .errors import PricerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from .plan import Plan
    from .run import Run
    from .tables import Table

    Document = Mapping[str, Any]
    Function = Callable[..., Any]

QUERY_ROWS = 40
LIMIT = f"The most rows. Default: {QUERY_ROWS} in a table, else all."

logger = logging.getLogger("pricer")


@click.group(cls=options.Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pricer", message="pricer %(version)s")
@options.verbose
def cli() -> None:
    """Price options: one, a book of them, or a grid of billions; every price with its error.

    RUN is a run id, the start of one, or `latest`.
    """


@cli.command(
    epilog=options.examples(
        "pricer price --right put --exercise american --spot 100 --strike 100 \\\n"
        "    --expiry 1 --vol 0.25 --rate 0.05",
        "pricer price --type barrier --barrier-type down_out --barrier 90 --right call \\\n"
        "    --spot 100 --strike 100 --expiry 1 --vol 0.25 --rate 0.05",
        "pricer price --book book.csv --column vol=implied_vol --output prices.parquet",
    )
)
@options.inputs
@click.option("--book", type=options.PATH, help="A .csv or .parquet file of options instead.")
@options.output
@options.book
@options.workers
@options.json
@options.no_store
@options.verbose
def price(
    *, book: Path | None, output: Path | None, workers: int | None, as_json: bool, **given: Any
) -> None:
    """Price one option, or a book of them straight through.

    A table shows the first 20 rows of a book; --output FILE and --json have all.
    """
    given = _given(given)
    inputs = {name: given.pop(name) for name in ("type", *INPUTS) if name in given}
    if book:
        if inputs:
            raise click.UsageError(f"{_option(next(iter(inputs)))} is for one option, not a book")
        _price_book(book, output, workers, given, as_json=as_json)
        return
    for name in ("output", "columns", "valuation_date"):
        if name in given or (name == "output" and output):
            raise click.UsageError(f"{_option(name)} is for a book: add --book FILE")
    kind = tuple(TYPES)[code_of("type", inputs.pop("type", "vanilla"))]
    has = inputs_of(kind)
    for name in inputs:
        if name not in has:
            types = [other for other in TYPES if name in inputs_of(other)]
            raise click.UsageError(
                f"{_option(name)} is not for {with_article(kind)}: add --type {' or '.join(types)}"
            )
    needed = [name for name in has if name not in defaults_of(kind)]
    if inputs.get("model", "").lower() == "heston":
        needed.remove("vol")
    missing = [_option(name) for name in needed if name not in inputs]
    if missing:
        raise click.UsageError(f"missing {', '.join(missing)}; or give --book FILE")
    _price_one(kind, inputs, workers, given, as_json=as_json)


def _price_one(
    kind: str,
    inputs: Mapping[str, Any],
    workers: int | None,
    settings: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    from . import views
    from .oneoption import price_one

    _log_kernels()
    document = price_one(kind, inputs, workers, **settings)
    priced = not math.isnan(document["error"])
    if not (priced or as_json):
        what = views.called(document)
        raise PricerError(f"{what}: {document['status']}: {document['reason']}")
    show(document, views.price, as_json=as_json)
    if not priced:
        click.get_current_context().exit(1)


def _price_book(
    file: Path, output: Path | None, workers: int | None, given: Mapping[str, Any], *, as_json: bool
) -> None:
    from . import tables, views
    from .bookprices import price_book
    from .reading import read_book

    if output:
        tables.check_writable(output, tables.format_of(output))
    started = time.perf_counter()
    rows = read_book(file, **given)
    logger.info("%s: %d rows", file, len(rows))
    _log_kernels()
    book = price_book(rows, workers)
    if output:
        tables.write_file(output, [book.table])
    document = {
        "book": str(file),
        "rows": book.rows,
        "priced": book.priced,
        "ok": book.ok,
        "failed": book.rows - book.ok,
        "failures": [
            {"status": f.status, "reason": f.reason, "count": f.count, "row": f.cell + 1}
            for f in book.failures
        ],
        "quoted": book.quoted,
        "inside_bid_ask": book.inside,
        "seconds": time.perf_counter() - started,
        "output": output and str(output),
    }
    if as_json and not output:
        # As one document, whose rows are never all text at once.
        click.echo(json_of(document).removesuffix("\n}") + ',\n  "prices": ', nl=False)
        tables.write_text(sys.stdout, [book.table], "json")
        click.echo("}")
        return
    show(document, views.book, as_json=as_json, table={} if output else book.table)


cli.add_command(cli_imply.imply)


@cli.command(
    epilog=options.examples(
        "pricer plan grid.toml",
        "pricer plan grid.toml --on aws",
        "pricer plan book.csv --measures price,delta",
    )
)
@options.file
@options.book
@options.workers
@options.where_hiding_store
@options.json
@options.verbose
def plan(
    *, file: Path, workers: int | None, where: options.Where, as_json: bool, **given: Any
) -> None:
    """Say what a grid, book or panel would take, here and on AWS."""
    from . import views
    from .compiled import check_workers, kernel_version
    from .estimate import estimate, measure
    from .plan import GridPlan, Plan
    from .reading import read_spec
    from .screen import reading

    threads = check_workers(workers)
    with reading() as read:
        spec = read_spec(file, on_progress=read, **_given(given))
    planned = Plan.of(spec, kernel_version())
    _log_kernels()
    started = time.perf_counter()
    measured = measure(planned)
    cost = estimate(planned, threads, measured)
    logger.info("kernels measured on this plan in %.2f s", time.perf_counter() - started)
    axes = planned.spec.axes if isinstance(planned, GridPlan) else ()
    document = {
        "run": planned.run_id,
        "name": spec.name,
        "file": str(file),
        "kind": planned.kind,
        "cells": planned.cells,
        "axes": [{"name": axis.name, "count": len(axis)} for axis in axes],
        "families": planned.families,
        "why": planned.why(),
        "solves": planned.solves(cost.chunk_blocks),
        "chunks": len(planned.chunks(cost.chunk_blocks)),
        "chunk_blocks": cost.chunk_blocks,
        "blocks": planned.blocks,
        "block_cells": planned.block_cells,
        "stored_bytes": planned.stored_bytes,
        **_asked(planned),
        "workers": threads,
        "estimated_seconds": cost.seconds,
    }
    if where.stack:
        document |= cli_aws.planned(planned, measured, where.stack, cost.seconds)
    show(document, views.plan, as_json=as_json)


def _asked(planned: Plan) -> dict[str, Any]:
    """Return what a plan says of how its cells are priced, and of a panel also of its windows."""
    from .plan import OptionPlan, PanelPlan

    if isinstance(planned, PanelPlan):
        panel = planned.spec
        return {
            "measures": list(planned.measures),
            "firms": planned.families,
            "days": int(panel.offsets[-1]),
            "windows": len(panel.dates),
            "horizons": list(panel.windows.horizons),
            "window": panel.windows.window,
            "step": panel.windows.step,
        }
    assert isinstance(planned, OptionPlan)
    settings = planned.settings
    names = ("method", "tolerance", "measures", "seed", "sampling", "paths")
    return {name: getattr(settings, name) for name in names} | {"measures": list(planned.measures)}


@cli.command(
    epilog=options.examples(
        "pricer submit grid.toml",
        "pricer submit book.csv --valuation-date 2026-01-02",
        "pricer submit grid.toml --on aws --max-cost 5 --detach",
    )
)
@options.file
@options.book
@options.workers
@options.where
@click.option("--detach", is_flag=True, help="On AWS: return as soon as the run is going.")
@click.option(
    "--keep",
    metavar="DAYS",
    type=click.IntRange(min=1),
    help="On AWS: after how many days a new run expires. Default: as the stack says.",
)
@click.option(
    "--max-cost",
    metavar="DOLLARS",
    callback=options.number,
    help="On AWS: start nothing that would cost more.",
)
@options.json
@options.verbose
def submit(
    *,
    file: Path,
    workers: int | None,
    where: options.Where,
    detach: bool,
    keep: int | None,
    max_cost: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Price a grid, book or panel into the store, or finish it."""
    from .reading import read_spec
    from .screen import progress, reading

    elsewhere = {"detach": detach or None, "keep": keep, "max_cost": max_cost}
    for name in _given({"workers": workers} if where.stack else elsewhere):
        raise click.UsageError(f"{_option(name)} is for --on {'local' if where.stack else 'aws'}")
    started = time.perf_counter()
    with reading() as read:
        spec = read_spec(file, on_progress=read, **_given(given))
    cells = spec.cells if isinstance(spec.cells, int) else len(spec.cells)
    _log_kernels()
    with progress(cells, "pricing", first_doing="planning") as advance:
        if where.stack:
            from . import cloud

            run = cloud.submit(
                spec,
                where.stack,
                keep_days=keep,
                max_cost=max_cost,
                detach=detach,
                on_progress=advance,
            )
        else:
            from .run import submit as submit_spec

            context = click.get_current_context()
            context.meta[options.INTERRUPT] = "what is priced is stored; submit again to finish."
            run = submit_spec(spec, where.url, workers=workers, on_progress=advance)
    _show_priced(run, started, where, as_json=as_json)


def _show_priced(run: Run, started: float, where: options.Where, *, as_json: bool) -> None:
    """Show what was done for a run, and exit with 1 where it is incomplete all the same."""
    from . import views

    going_on = ""
    if where.stack:
        from .executors.stepfunctions import how_to_go_on

        going_on = how_to_go_on(run.id, where.stack)
    seconds = time.perf_counter() - started
    status = run.status()
    document = {
        "run": run.id,
        "name": status.name,
        "state": status.state,
        "cells": status.cells,
        "done": status.done,
        "ok": status.ok,
        "failed": status.failed,
        "priced": run.priced,
        "seconds": seconds,
        "store": run.store.url,
        "reasons": dict(status.reasons),
    }
    if status.inversions is not None:
        document["inversions"] = status.inversions
    finish = where.how_to_finish(document)
    view = partial(views.submitted, finish=finish, going_on=going_on)
    show(document, view, as_json=as_json)
    if status.state == "incomplete":
        click.get_current_context().exit(1)


@cli.command(
    epilog=options.examples(
        "pricer resume latest",
        "pricer resume 3f9a --on aws",
    )
)
@options.run
@options.workers
@options.where
@options.json
@options.verbose
def resume(*, run: str, workers: int | None, where: options.Where, as_json: bool) -> None:
    """Finish RUN by the plan that its store keeps; its file is not needed."""
    from .run import open_run
    from .screen import progress

    if workers and where.stack:
        raise click.UsageError("--workers is for --on local")
    started = time.perf_counter()
    _log_kernels()
    if where.stack:
        from . import cloud
        from .executors.stepfunctions import Deployment

        deployment = Deployment.find(where.stack)
        found = open_run(run, deployment.store())
        with progress(found.head.cells, "pricing") as advance:
            found = cloud.resume(deployment, found, on_progress=advance)
    else:
        found = open_run(run, where.url)
        finish = where.how_to_finish({"run": found.id})
        again = f"what is priced is stored; {finish} goes on."
        click.get_current_context().meta[options.INTERRUPT] = again
        with progress(found.head.cells, "pricing") as advance:
            found = found.resume(workers=workers, on_progress=advance)
    _show_priced(found, started, where, as_json=as_json)


cli.add_command(cli_aws.watch)


@cli.command(
    epilog=options.examples(
        "pricer runs",
        "pricer runs --on aws",
    )
)
@options.where
@options.json
@options.verbose
def runs(*, where: options.Where, as_json: bool) -> None:
    """List the runs in the store, the last first."""
    from . import views
    from .run import as_store, list_runs

    opened = as_store(where.store())
    kept = ("run", "name", "state", "submitted_at", "as_of", "cells", "done", "ok", "failed")
    found = (run.status().to_json() for run in list_runs(opened))
    document = {"store": opened.url, "runs": [{n: run[n] for n in kept} for run in found]}
    show(document, views.runs, as_json=as_json)


@cli.command(
    epilog=options.examples(
        "pricer status latest",
        "pricer status 3f9a --json",
    )
)
@options.run
@options.where
@options.json
@options.verbose
def status(*, run: str, where: options.Where, as_json: bool) -> None:
    """Show how far RUN is, and what its prices came to."""
    from . import views
    from .run import open_run

    document = open_run(run, where.store()).status().to_json()
    finish = where.how_to_finish(document)
    show(document, partial(views.status, finish=finish), as_json=as_json)


cli.add_command(cli_aws.cancel)


@cli.command(
    epilog=options.examples(
        "pricer delete 3f9a",
    )
)
@options.run
@options.where
@options.json
@options.verbose
def delete(*, run: str, where: options.Where, as_json: bool) -> None:
    """Delete RUN and all its prices from the store."""
    from . import views
    from .run import open_run

    found = open_run(run, where.store())
    found.delete()
    show({"run": found.id, "deleted": True}, views.deleted, as_json=as_json)


@cli.command(
    epilog=options.examples(
        "pricer query latest right=put spot=100 strike=90:110 expiry=0.5,1",
        "pricer query latest spot=99.7 --nearest --measures price,delta",
        "pricer query latest desk=index --format csv > index.csv",
    )
)
@options.run
@click.argument(
    "selection",
    metavar="[AXIS=VALUE|LOW:HIGH]...",
    nargs=-1,
    callback=options.pairs,
    shell_complete=completions.selections,
)
@options.measures
@click.option("--nearest", is_flag=True, help="Take the nearest value where one is not there.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help=LIMIT)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="Default: table.",
)
@options.output
@options.where
@options.json
@options.verbose
def query(
    *,
    run: str,
    selection: dict[str, str],
    measures: tuple[str, ...] | None,
    nearest: bool,
    limit: int | None,
    form: str | None,
    output: Path | None,
    where: options.Where,
    as_json: bool,
) -> None:
    """Read the prices of some cells of RUN.

    A book's rows are selected by any of its columns, or by row=NUMBER; a panel's cells by firm,
    date and horizon.
    """
    from . import tables, views
    from .run import open_run

    if as_json and form not in (None, "json") and not output:
        raise click.UsageError(f"--json and --format {form} exclude each other")
    if output:
        form = form or tables.format_of(output)
        if form == "table":
            raise click.UsageError("--format table is for the screen; --output takes the others")
        if output.suffix.lower() in {f".{other}" for other in tables.FORMATS if other != form}:
            raise click.UsageError(f"--format {form} and --output {output} exclude each other")
        tables.check_writable(output, form)
    else:
        form = form or ("json" if as_json else "table")
        if form == "parquet":
            raise click.UsageError("--format parquet needs --output FILE")
    started = time.perf_counter()
    rows_limit = limit or (QUERY_ROWS + 1 if form == "table" else None)
    table = open_run(run, where.store()).query(
        selection, measures=measures, nearest=nearest, limit=rows_limit
    )
    if output:
        count = tables.write_file(output, [table], form)
        _show_written(output, form, count, started, as_json=as_json)
    elif form == "table":
        show({"limit": None if limit else QUERY_ROWS}, views.cells, as_json=False, table=table)
    else:
        tables.write_text(sys.stdout, [table], form)


@cli.command(
    epilog=options.examples(
        "pricer export latest all.parquet",
        "pricer export latest prices.csv --measures price,delta",
    )
)
@options.run
@options.file
@options.measures
@options.where
@options.json
@options.verbose
def export(
    *, run: str, file: Path, measures: tuple[str, ...] | None, where: options.Where, as_json: bool
) -> None:
    """Write all of RUN to FILE: .parquet, .csv or .json."""
    from . import tables
    from .run import open_run
    from .screen import progress

    form = tables.format_of(file)
    tables.check_writable(file, form)
    found = open_run(run, where.store())
    started = time.perf_counter()
    with progress(found.head.cells, "writing") as advance:
        count = tables.write_file(file, _counted(found.batches(measures), advance), form)
    _show_written(file, form, count, started, as_json=as_json)


def _counted(batches: Iterable[Table], advance: Callable[[int], None]) -> Iterator[Table]:
    done = 0
    for batch in batches:
        yield batch
        done += len(next(iter(batch.values())))
        advance(done)


def _show_written(file: Path, form: str, rows: int, started: float, *, as_json: bool) -> None:
    from . import views

    document = {
        "file": str(file),
        "format": form,
        "rows": rows,
        "bytes": file.stat().st_size,
        "seconds": time.perf_counter() - started,
    }
    show(document, views.written, as_json=as_json)


cli.add_command(cli_pictures.plot)
cli.add_command(cli_pictures.timeline)
cli.add_command(cli_aws.cost)
cli.add_command(cli_example.example)


@cli.command(
    epilog=options.examples(
        "pricer validate",
        "pricer validate --plot accuracy.png",
    )
)
@click.option(
    "--plot",
    metavar="FILE.png",
    type=options.PATH,
    help="Draw error against cost, beside QuantLib's if it is installed, and against mesh nodes.",
)
@options.json
@options.no_store
@options.verbose
def validate(*, plot: Path | None, as_json: bool) -> None:
    """Check the kernels against known values."""
    from . import views
    from .pictures import check_drawable
    from .validation import validate as validate_kernels

    if plot:
        check_drawable(plot)
    started = time.perf_counter()
    cases = validate_kernels()
    passed = all(case.passed for case in cases)
    document = {
        "passed": passed,
        "cases": [
            {
                "name": case.name,
                "source": case.source,
                "values": case.values,
                "largest_error": case.largest_error,
                "bound": case.bound,
                "note": case.note,
                "passed": case.passed,
            }
            for case in cases
        ],
    }
    if plot:
        from .convergence import converge
        from .pictures.convergence import draw_convergence

        found = converge()
        draw_convergence(found, plot)
        document |= {"plot": str(plot), "convergence": asdict(found)}
    document["seconds"] = time.perf_counter() - started
    show(document, views.validated, as_json=as_json)
    if not passed:
        click.get_current_context().exit(1)


cli.add_command(cli_aws.doctor)
cli.add_command(cli_operations.deploy)
cli.add_command(cli_operations.update)
cli.add_command(cli_operations.destroy)
cli.add_command(cli_operations.tail)
cli.add_command(cli_operations.schedule)
cli.add_command(cli_operations.schedules)
cli.add_command(cli_operations.unschedule)
cli.add_command(cli_web.serve)
cli.add_command(cli_completion.completion)


def _log_kernels() -> None:
    """Say which kernels price, and where they are kept."""
    if logger.isEnabledFor(logging.INFO):
        from .compiled import kernel_version, kernels

        kernels("elementary")  # Loading some says where; these are quick to compile.
        logger.info("kernels %s in %s", kernel_version()[:12], os.environ["NUMBA_CACHE_DIR"])


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None and value != {}}


def _option(name: str) -> str:
    return "--column" if name == "columns" else f"--{name.replace('_', '-')}"


def main() -> None:
    """Run the command line as a program."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started us; nor may a file that is opened later take its place.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    # Data that is piped is UTF-8 whatever the locale; a terminal shows what it can.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8")
    cli(prog_name="pricer")
