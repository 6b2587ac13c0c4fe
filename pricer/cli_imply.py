"""The command that goes from prices to vols."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from . import options
from .documents import json_of, show
from .errors import SpecError
from .settings import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    epilog=options.examples(
        "pricer imply --book quotes.csv",
        "pricer imply --book quotes.csv --column price=mid --output vols.csv",
    )
)
@click.option("--book", type=options.PATH, required=True, help="A .csv or .parquet file of quotes.")
@options.output
@options.columns
@options.valuation_date
@options.tolerance
@options.workers
@options.json
@options.no_store
@options.verbose
def imply(
    *,
    book: Path,
    output: Path | None,
    columns: dict[str, str],
    valuation_date: str | None,
    tolerance: float | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Find the vol that each price of a book implies, or say why there is none.

    Prices are the column `price` (--column price=NAME), else midway of `bid` and `ask`. A table
    shows the first 20 rows; --output FILE and --json have all.
    """
    from . import tables, views
    from .bookvols import imply_book
    from .reading import read_book

    if output:
        tables.check_writable(output, tables.format_of(output))
    started = time.perf_counter()
    rows = read_book(book, columns=columns, valuation_date=valuation_date, quotes=True)
    try:
        found = imply_book(rows, tolerance or DEFAULT_TOLERANCE, workers)
    except SpecError as error:
        raise SpecError(f"{book}: {error}") from None
    if output:
        tables.write_file(output, [found.table])
    document: dict[str, Any] = {
        "book": str(book),
        "rows": found.rows,
        "implied": found.implied,
        "failed": found.rows - found.implied,
        "failures": [
            {"status": r.status, "reason": r.reason, "count": r.count, "row": r.row + 1}
            for r in found.reasons
        ],
        "seconds": time.perf_counter() - started,
        "output": output and str(output),
    }
    if as_json and not output:
        # As one document, whose rows are never all text at once.
        click.echo(json_of(document).removesuffix("\n}") + ',\n  "vols": ', nl=False)
        tables.write_text(sys.stdout, [found.table], "json")
        click.echo("}")
        return
    show(document, views.implied, as_json=as_json, table={} if output else found.table)
