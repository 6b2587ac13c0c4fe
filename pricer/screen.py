"""What a person sees: numbers with the digits that matter, tables that fit, a progress bar."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from .contracts import INPUTS, MEASURES
from .tables import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .tables import Table

    Floats = NDArray[np.float64]

DIGITS = 6
ABSENT = "-"
RESULTS = (*MEASURES, "error", "status", "method", "reason")
# What gives way where a screen is narrow; a row of a book is known by its number without inputs.
HIDDEN_FIRST = ("method", "dividend_rho", "rho")
INPUTS_HIDDEN = ("dividend_yield", "rate")
HIDDEN_NEXT = ("theta", "vega", "gamma")
INPUTS_HIDDEN_LAST = ("vol", "exercise", "spot")
HIDDEN_LAST = ("delta", "reason")


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the process here; how to end is the command line's to say.
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr that cuts nothing when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    fits = stream.isatty() or "COLUMNS" in os.environ
    return _Screen(stderr=stderr, highlight=False, width=None if fits else 1000)


def count(number: float) -> str:
    """Return a whole number with thousands separators."""
    return f"{round(number):,}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, as in ``1 cell`` and ``2 cells``."""
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a length of time as a person says it, as in ``3.1 s`` and ``2 h 5 min``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{round(seconds / 86400)} days"


def size(stored_bytes: float) -> str:
    """Return a size in decimal units, as in ``65.0 MB``."""
    amount, unit = float(stored_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return counted(round(amount), "byte") if unit == "bytes" else f"{amount:.1f} {unit}"


def rate(cells: int, seconds: float) -> str:
    """Return cells a second to three digits, as in ``245,000 cells/s``."""
    if seconds <= 0 or cells == 0:
        return "0 cells/s"
    return f"{count(float(f'{cells / seconds:.2e}'))} cells/s"


def error_bar(error: float) -> str:
    """Return an error to two digits, as in ``1.2e-07``."""
    if np.isnan(error):
        return ABSENT
    return f"{error:.1e}" if error else "0"


def number(value: float) -> str:
    """Return one number to the digits that matter."""
    return numbers([value])[0]


def numbers(values: ArrayLike, decimals: int | None = None) -> list[str]:
    """Format a column of numbers with as many decimals each, so that the points align."""
    values = np.asarray(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0.0))
    if largest >= 1e9 or 0 < largest < 1e-6:
        return [_exponent(v) if np.isfinite(v) else _odd(v) for v in values.tolist()]
    if decimals is None:
        most = max(DIGITS - 1 - int(np.floor(np.log10(largest))), 0) if largest else 0
        decimals = next((d for d in range(most) if _is_round(finite, d)), most)
    texts = (f"{v:.{decimals}f}" if np.isfinite(v) else _odd(v) for v in values.tolist())
    return [t.removeprefix("-") if not t.strip("-0.") and t != ABSENT else t for t in texts]


def _is_round(values: Floats, decimals: int) -> bool:
    return np.allclose(np.round(values, decimals), values, rtol=1e-12, atol=0)


def _exponent(value: float) -> str:
    return f"{value:.{DIGITS - 1}e}" if value else "0"


def _odd(value: float) -> str:
    return ABSENT if np.isnan(value) else str(value)


def data(
    table: Table, width: int, *, rows: int | None = None, total: int | None = None
) -> tuple[RichTable, list[str]]:
    """Lay out a column table for a screen of `width` characters, and the notes under it.

    The first `rows` of `total` rows are shown (all by default). A column of one value becomes a
    note; where the table is too wide, a book's own columns are hidden first, then measures.
    """
    given = len(next(iter(table.values())))
    shown = given if rows is None else min(rows, given)
    total = given if total is None else total
    columns = {name: np.asarray(column)[:shown] for name, column in table.items()}
    constant = _constant(table if given == total else columns) if shown > 1 else {}
    columns = {n: c for n, c in columns.items() if n not in constant}
    constant = {n: text for n, text in constant.items() if text not in ("", ABSENT)}
    hidden: list[str] = []
    laid = _laid(columns)
    measuring = Console(width=10_000)
    while Measurement.get(measuring, measuring.options, laid).maximum > width:
        spare = _spare(columns)
        if spare is None:
            break
        hidden.append(spare)
        del columns[spare]
        laid = _laid(columns)
    notes = []
    if constant:
        where = "in every row" if given == total else "in these rows"
        notes.append(f"{where}: " + ", ".join(f"{n} {t}" for n, t in constant.items()))
    if hidden:
        in_order = ", ".join(name for name in table if name in hidden)
        notes.append(f"not shown, for want of width: {in_order}")
    if shown < total:
        notes.append(f"{counted(total - shown, 'more row')}")
    return laid, notes


def _constant(columns: Table) -> dict[str, str]:
    constant = {}
    for name, column in columns.items():
        values = np.asarray(column)
        if name == "row" or (name in RESULTS and name not in ("status", "method", "reason")):
            continue
        if (values == values[0]).all():
            constant[name] = _texts(name, values[:1])[0]
    return constant


def _spare(columns: Table) -> str | None:
    """Return the column that is missed least, if there is one."""
    own = [n for n in columns if n not in (*INPUTS, *RESULTS, "row", "id")]
    if own:
        return own[-1]
    by_row = "row" in columns
    order = (
        *HIDDEN_FIRST,
        *INPUTS_HIDDEN * by_row,
        *HIDDEN_NEXT,
        *INPUTS_HIDDEN_LAST * by_row,
        *HIDDEN_LAST,
    )
    return next((name for name in order if name in columns), None)


def _laid(columns: Table) -> RichTable:
    laid = plain_table()
    for name, column in columns.items():
        numeric = np.asarray(column).dtype.kind == "f" or name == "row"
        laid.add_column(
            name.replace("_", "\n"),
            justify="right" if numeric else "left",
            vertical="bottom",
            no_wrap=True,
        )
    texts = [_texts(name, column) for name, column in columns.items()]
    for row in zip(*texts, strict=True):
        laid.add_row(*(cell(n, t) for n, t in zip(columns, row, strict=True)))
    return laid


def _texts(name: str, column: NDArray[np.generic]) -> list[str]:
    column = words(name, np.asarray(column))
    if column.dtype.kind != "f":
        return [str(value) for value in column.tolist()]
    if name == "error":
        return [error_bar(value) for value in column.tolist()]
    return numbers(column)


def cell(name: str, text: str) -> Text:
    """Return one cell of a table; a status that is not ok stands out."""
    return Text(text, style=status_style(text) if name == "status" else "")


def status_style(status: str) -> str:
    """Return the style in which a status is shown."""
    return {"ok": "green", "pass": "green", "complete": "green"}.get(status, "yellow")


def plain_table(*headers: str, right: Sequence[str] = (), title: str | None = None) -> RichTable:
    """Return an empty table in the one style of this package."""
    table = RichTable(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        header_style="bold",
        title=title,
        title_style="bold",
        title_justify="left",
    )
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", vertical="bottom")
    return table


def facts(rows: Iterable[tuple[str, str, str]]) -> RichTable:
    """Return a table without lines: a label, its value flush right, what to know about it."""
    table = RichTable.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    return table


@contextmanager
def progress(cells: int, doing: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr; yield what to call with the number of cells that are done.

    Shows nothing where stderr is not a terminal. Cells that are done at the first call (by an
    earlier submit) do not count towards the speed.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    shown = console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]} of " + count(cells)),
        TextColumn("{task.fields[speed]}", style="cyan"),
        TextColumn("{task.fields[left]}"),
        console=shown,
        disable=not shown.is_terminal,
        transient=True,
    ) as bars:
        task = bars.add_task(doing, total=cells, done="0", speed="", left="")
        first: list[tuple[float, int]] = []

        def advance(done: int) -> None:
            now = monotonic()
            first.append((now, done))
            del first[1:]
            speed = left = ""
            spent, new = now - first[0][0], done - first[0][1]
            if new:
                speed = rate(new, spent)
                left = f"{duration((cells - done) * spent / new)} left" if done < cells else ""
            bars.update(task, completed=done, done=count(done), speed=speed, left=left)

        yield advance
