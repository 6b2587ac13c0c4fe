"""What a person sees: numbers with the digits that matter, tables that fit, a progress bar."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from .columns import parse_number
from .contracts import INPUTS
from .errors import SpecError
from .settings import MEASURES
from .tables import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray
    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from .tables import Table

    Floats = NDArray[np.float64]

DIGITS = 6
LEAST_ERROR = 1e-15  # of a price of 1, the last digit a float has; below it digits say nothing
LARGE_DOLLARS = 10.0
ABSENT = "-"
RESULTS = (*MEASURES, "error", "status", "method", "reason")
# What gives way where a screen is narrow; a row of a book is known by its number without inputs.
HIDDEN_FIRST = ("method", "dividend_rho", "rho")
INPUTS_HIDDEN = (
    "dividend_model", "proportional_dividends", "monitoring_dates", "exercise_dates", "payment",
    "payoff_strike", "dividend_yield", "rate",
)  # fmt: skip
HIDDEN_NEXT = ("theta", "vega", "gamma")
HIDDEN_LATE = ("delta",)
# Which options these are is the last to go.
INPUTS_HIDDEN_LATE = ("cash_dividends", "rebate", "cash", "payoff")
INPUTS_HIDDEN_LAST = (
    "spot", "upper_barrier", "lower_barrier", "barrier", "touch_type", "direction", "barrier_type",
    "exercise", "type",
)  # fmt: skip
MEGABYTE = 10**6
LARGE_FILE = 20 * MEGABYTE  # bytes: less is read within a second
MOST_TEXT = 40  # characters of an input, such as two hundred dates
HIDDEN_LAST = ("reason",)


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the process here; how to end is the command line's to say.
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr that cuts nothing when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    fits = stream.isatty() or "COLUMNS" in os.environ
    return _Screen(stderr=stderr, highlight=False, width=None if fits else 1000)


class Trimmed:
    """What is printed, without the blanks that pad its lines on the right."""

    def __init__(self, part: RenderableType) -> None:
        self.part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the segments of each line up to its last character."""
        for line in console.render_lines(self.part, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                yield from line
                yield Segment(last.text.rstrip(), last.style)
            yield Segment.line()


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


def rate(cells: int, seconds: float, noun: str = "cells") -> str:
    """Return cells a second to three digits, as in ``245,000 cells/s``."""
    if seconds <= 0 or cells == 0:
        return f"0 {noun}/s"
    return f"{count(float(f'{cells / seconds:.2e}'))} {noun}/s"


def dollars(amounts: Sequence[float]) -> list[str]:
    """Format a column of dollars to the cent, or finer where all of them are small."""
    decimals = 2 if max(amounts) >= LARGE_DOLLARS else 4
    least = 10**-decimals
    return [f"<${least:.{decimals}f}" if 0 < a < least else f"${a:,.{decimals}f}" for a in amounts]


def error_bar(error: float) -> str:
    """Return an error to two digits, as in ``1.2e-07``; what no float could show, as a bound."""
    if np.isnan(error):
        return ABSENT
    if 0 < error < LEAST_ERROR:
        return f"<{LEAST_ERROR:.0e}"
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
    note; where the table is too wide, headers break at their blanks, then a book's own columns
    are hidden first, measures next.
    """
    given = len(next(iter(table.values())))
    shown = given if rows is None else min(rows, given)
    total = given if total is None else total
    columns = {name: np.asarray(column)[:shown] for name, column in table.items()}
    constant = _constant(table if given == total else columns) if shown > 1 else {}
    columns = {n: c for n, c in columns.items() if n not in constant}
    constant = {n: text for n, text in constant.items() if text not in ("", ABSENT)}
    hidden: list[str] = []
    laid = _laid(columns, " ")
    if _width(laid) > width:
        laid = _laid(columns, "\n")
    while _width(laid) > width:
        spare = _spare(columns)
        if spare is None:
            break
        hidden.append(spare)
        del columns[spare]
        laid = _laid(columns, "\n")
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
    own = [n for n in columns if n not in ("type", *INPUTS, *RESULTS, "row", "id")]
    if own:
        return own[-1]
    by_row = "row" in columns
    # Without a price and its error the vol is what was asked for.
    priced = by_row and "error" in columns
    order = (
        *HIDDEN_FIRST,
        *INPUTS_HIDDEN * by_row,
        *HIDDEN_NEXT,
        *INPUTS_HIDDEN_LATE * by_row,
        *("vol",) * priced,
        *HIDDEN_LATE,
        *INPUTS_HIDDEN_LAST * by_row,
        *HIDDEN_LAST,
    )
    return next((name for name in order if name in columns), None)


def _width(laid: RichTable) -> int:
    measuring = Console(width=10_000)
    return Measurement.get(measuring, measuring.options, laid).maximum


def _laid(columns: Table, blank: str) -> RichTable:
    """Lay out columns; `blank` stands between the words of a header."""
    laid = plain_table()
    for name, column in columns.items():
        laid.add_column(
            name.replace("_", blank),
            justify="right" if name == "row" or _is_numeric(np.asarray(column)) else "left",
            vertical="bottom",
            no_wrap=True,
        )
    texts = [_texts(name, column) for name, column in columns.items()]
    for row in zip(*texts, strict=True):
        laid.add_row(*(cell(n, t) for n, t in zip(columns, row, strict=True)))
    return laid


def _is_numeric(column: NDArray[np.generic]) -> bool:
    """Tell whether a column holds numbers, be it as the text that a book has."""
    if column.dtype.kind not in "OUT":
        return column.dtype.kind == "f"
    texts = {text for value in column.tolist() if (text := str(value).strip())}
    try:
        return bool([parse_number(text) for text in texts])
    except SpecError:
        return False


def _texts(name: str, column: NDArray[np.generic]) -> list[str]:
    column = words(name, np.asarray(column))
    if column.dtype.kind != "f":
        texts = [str(value) for value in column.tolist()]
        return [_short(text) for text in texts] if name in INPUTS else texts
    if name == "error":
        return [error_bar(value) for value in column.tolist()]
    return numbers(column)


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 3]}..."


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
def progress(
    cells: int, doing: str, noun: str = "cells", *, first_doing: str = ""
) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr; yield what to call with the number of cells that are done.

    Shows nothing where stderr is not a terminal. Cells that are done at the first call (by an
    earlier submit) do not count towards the speed; until then it says `first_doing`.
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
        task = bars.add_task(first_doing or doing, total=cells, done="0", speed="", left="")
        first: list[tuple[float, int]] = []

        def advance(done: int) -> None:
            now = monotonic()
            first.append((now, done))
            del first[1:]
            speed = left = ""
            spent, new = now - first[0][0], done - first[0][1]
            if new:
                speed = rate(new, spent, noun)
                left = f"{duration((cells - done) * spent / new)} left" if done < cells else ""
            bars.update(
                task, description=doing, completed=done, done=count(done), speed=speed, left=left
            )

        yield advance


@contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Yield what to call with the bytes of a file that are read, and all of them.

    Shows a bar as `progress` does, once it is called for a file that takes some time.
    """
    with ExitStack() as shown:
        bars: list[Callable[[int], None]] = []

        def tell(done: int, size: int) -> None:
            if not bars and size > LARGE_FILE:
                bars.append(shown.enter_context(progress(size // MEGABYTE, "reading", "MB")))
            for advance in bars:
                advance(done // MEGABYTE)

        yield tell
