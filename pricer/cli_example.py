"""The commands that write files to try pricer with."""

from __future__ import annotations

import time
from pathlib import Path

import click

from . import options
from .documents import show


@click.group(epilog=options.examples("pricer example merton --firms 1200"))
def example() -> None:
    """Write data to try pricer with."""


@example.command(
    epilog=options.examples(
        "pricer example merton",
        "pricer example merton --firms 24000 --years 30 --output panel",
    )
)
@click.option("--firms", metavar="N", type=click.IntRange(min=1), default=100, help="Default: 100.")
@click.option(
    "--years",
    metavar="N",
    type=click.IntRange(1, 100),
    default=30,
    help="Of 252 days each. Default: 30.",
)
@click.option("--seed", type=int, default=0, help="Of the random numbers. Default: 0.")
@click.option(
    "--output",
    metavar="FOLDER",
    type=options.PATH,
    default=Path(),
    help="Where to. Default: this folder.",
)
@options.workers
@options.json
@options.no_store
@options.verbose
def merton(
    *, firms: int, years: int, seed: int, output: Path, workers: int | None, as_json: bool
) -> None:
    """Write a panel of synthetic firms, firms.parquet, and what submits it, firms.toml.

    Files that are there already are not replaced. The true assets of each firm, their vol and
    drift are columns of the panel.
    """
    from . import views
    from .firms import YEAR_DAYS, write_firms
    from .screen import progress

    started = time.perf_counter()
    click.get_current_context().meta[options.INTERRUPT] = "nothing is written."
    with progress(firms * years * YEAR_DAYS, "writing", "rows") as advance:
        written = write_firms(output, firms, years, seed, workers=workers, on_progress=advance)
    document = {
        "file": str(written.spec),
        "panel": str(written.panel),
        "firms": firms,
        "delisted": written.delisted,
        "years": years,
        "seed": seed,
        "rows": written.rows,
        "bytes": written.panel.stat().st_size,
        "seconds": time.perf_counter() - started,
    }
    show(document, views.example, as_json=as_json)
