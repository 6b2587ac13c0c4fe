"""Which cells a query means, by values on axes, in columns, or by firm, date and horizon."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .cells import NO_TABLE
from .columns import parse_date, parse_number, words_of
from .contracts import CURVES, TABLES, TYPES, WORDS, code_of, inputs_of, suggest
from .dated import Curve, parse_table
from .errors import SpecError
from .grid import shown
from .panel import iso_dates
from .plan import GridPlan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .book import Book
    from .plan import BookPlan, PanelPlan, Plan

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Table = dict[str, NDArray[Any]]
    # A value, a list of values, or a range as (low, high), either end of which may be None;
    # as text 100, 90,100 and 90:110.
    Selected = str | float | tuple[float | None, float | None] | Sequence[str | float]

ROW = "row"
PANEL_NAMES = ("firm", "date", "horizon")
MAX_ROWS = 20_000_000
# Numbers are equal where they differ by no more than this, relative to the larger.
SAME = 1e-9


@dataclass(frozen=True, slots=True)
class _Range:
    """What lies from `low` to `high`, both included; None where open."""

    low: str | float | None
    high: str | float | None


def select_cells(
    plan: GridPlan,
    selection: Mapping[str, Selected],
    *,
    nearest: bool,
    limit: int | None,
    offset: int = 0,
) -> tuple[Table, Indices]:
    """Return the values on each axis and the number of each cell that `selection` means.

    Both come in C order over the axes as the file has them. `limit` keeps the first so many after
    `offset` of them.

    Raises
    ------
    SpecError
        Where an axis or a value is not there, or the cells are too many for memory.
    """
    values = axis_values(plan)
    chosen = select_positions(plan, selection, nearest=nearest)
    total = max(0, prod(map(len, chosen.values())) - offset)
    count = total if limit is None else min(_checked(limit), total)
    _check_rows(count, total)
    rest = np.arange(count, dtype=np.int64) + (offset if count else 0)
    positions = {}
    for name, on_axis in reversed(chosen.items()):
        outer = rest // len(on_axis)
        positions[name] = on_axis[rest - outer * len(on_axis)]
        rest = outer
    cells = np.broadcast_to(plan.numbers(positions), count)
    return {name: on_axis[positions[name]] for name, on_axis in values.items()}, cells


def count_cells(plan: GridPlan, selection: Mapping[str, Selected], *, nearest: bool) -> int:
    """Return how many cells of a grid `selection` means."""
    return prod(map(len, select_positions(plan, selection, nearest=nearest).values()))


def select_positions(
    plan: GridPlan, selection: Mapping[str, Selected], *, nearest: bool = False
) -> dict[str, Indices]:
    """Return where on each axis the values lie that `selection` means, as `select_cells` does."""
    values = axis_values(plan)
    chosen = {name: np.arange(len(on_axis)) for name, on_axis in values.items()}
    for name, selected in selection.items():
        if name in chosen:
            chosen[name] = _positions(name, values[name], selected, nearest=nearest)
        elif given := plan.spec.values(name):
            _positions(name, np.array([shown(v) for v in given]), selected, nearest=nearest)
        else:
            _refuse(name, "an axis", list(values))
    return chosen


def select_rows(
    plan: BookPlan,
    selection: Mapping[str, Selected],
    *,
    nearest: bool,
    limit: int | None,
    offset: int = 0,
) -> tuple[Table, Indices]:
    """Return the columns and the cell of each row of a book that `selection` means, in file order.

    `limit` keeps the first so many after `offset` of them.

    Raises
    ------
    SpecError
        Where a column or a value is not there.
    """
    rows = _rows(plan.spec, selection, nearest=nearest)[offset:]
    rows = rows[: None if limit is None else _checked(limit)]
    return book_columns(plan.spec, rows), plan.rows[rows]


def count_rows(plan: BookPlan, selection: Mapping[str, Selected], *, nearest: bool) -> int:
    """Return how many rows of a book `selection` means."""
    return len(_rows(plan.spec, selection, nearest=nearest))


def _rows(book: Book, selection: Mapping[str, Selected], *, nearest: bool) -> Indices:
    """Return the rows, from 0 and in file order, that `selection` means."""
    kept = np.ones(len(book), dtype=bool)
    for name, selected in selection.items():
        if name == ROW:
            kept &= _equal(name, np.arange(1.0, len(book) + 1), selected, nearest=nearest)
        elif name not in book.columns:
            _refuse(name, "a column", [ROW, *book.columns])
        elif name in book.texts or _has_tables(book, name):
            kept &= _equal_texts(name, _column(book, name), selected)
        else:
            kept &= _equal(name, _column(book, name), selected, nearest=nearest)
    return np.flatnonzero(kept)


def select_windows(
    plan: PanelPlan,
    selection: Mapping[str, Selected],
    *,
    nearest: bool,
    limit: int | None,
    offset: int = 0,
) -> tuple[Table, Indices]:
    """Return firm, date and horizon and the number of each cell of a panel that `selection` means.

    Both come by firm as the file has them, date and horizon. `limit` keeps the first so many of
    those after the first `offset`.

    Raises
    ------
    SpecError
        Where a firm, date or horizon is not there, or the cells are too many for memory.
    """
    first, counts, horizons = _windows(plan, selection, nearest=nearest)
    total = max(0, int(counts.sum()) * len(horizons) - offset)
    count = total if limit is None else min(_checked(limit), total)
    _check_rows(count, total)
    window, horizon = np.divmod(np.arange(count) + (offset if count else 0), len(horizons))
    windows = _numbered(first, counts, window)
    cells = windows * len(plan.spec.horizons) + horizons[horizon]
    return window_columns(plan, cells), cells


def count_windows(plan: PanelPlan, selection: Mapping[str, Selected], *, nearest: bool) -> int:
    """Return how many cells of a panel `selection` means."""
    _, counts, horizons = _windows(plan, selection, nearest=nearest)
    return int(counts.sum()) * len(horizons)


def _windows(
    plan: PanelPlan, selection: Mapping[str, Selected], *, nearest: bool
) -> tuple[Indices, Indices, Indices]:
    """Return which windows and horizons of a panel `selection` means.

    Windows come as stretches, the first of each and how many it has: there may be 10^8 of them.
    """
    panel = plan.spec
    for name in selection:
        if name not in PANEL_NAMES:
            _refuse(name, "a column", PANEL_NAMES)
    first, counts, dates = panel.window_offsets[:-1], np.diff(panel.window_offsets), panel.dates
    if "firm" in selection:
        firms = _equal_firms(panel.firms, selection["firm"])
        first, counts = first[firms], counts[firms]
        dates = dates[_numbered(first, counts, np.arange(counts.sum()))]
    if "date" in selection:
        days = np.unique(dates)
        wanted = days[_equal_dates(days, selection["date"], nearest=nearest)]
        first = _numbered(first, counts, np.flatnonzero(np.isin(dates, wanted)))
        counts = np.ones(len(first), dtype=np.int64)
    horizons = np.arange(len(panel.horizons))
    if "horizon" in selection:
        wished = selection["horizon"]
        horizons = _positions("horizon", panel.horizons, wished, nearest=nearest)
    return first, counts, horizons


def _numbered(first: Indices, counts: Indices, places: Indices) -> Indices:
    """Return the numbers at these places of stretches laid end to end."""
    ends = np.cumsum(counts)
    stretch = np.searchsorted(ends, places, "right")
    numbers: Indices = (first - ends + counts)[stretch] + places
    return numbers


def window_columns(plan: PanelPlan, cells: Indices) -> Table:
    """Return the firm, the last day of the window and the horizon of each cell of a panel."""
    panel = plan.spec
    windows, horizons = np.divmod(cells, len(panel.horizons))
    named = panel.firms[panel.firm_of(windows)], iso_dates(panel.dates[windows])
    return dict(zip(PANEL_NAMES, (*named, panel.horizons[horizons]), strict=True))


def axis_values(plan: GridPlan) -> Table:
    """Return the values on each axis, in file order: floats, or words and tables as texts."""
    return {axis.name: np.array(axis.shown) for axis in plan.spec.axes}


def book_columns(book: Book, rows: Indices | slice) -> Table:
    """Return the number of each of these rows, counted from 1, and its columns in file order."""
    table: Table = {ROW: np.arange(1, len(book) + 1)[rows]}
    return table | {name: _column(book, name)[rows] for name in book.columns}


def cell_named(plan: Plan, cell: int) -> str:
    """Name a cell by its values on the axes that have several, of what is no grid by its number."""
    if not isinstance(plan, GridPlan):
        return f"cell {cell}"
    where = plan.positions(np.array([cell]))
    swept = [axis for axis in plan.spec.axes if len(axis) > 1] or plan.spec.axes
    return ", ".join(f"{a.name} {_show(a.shown[int(where[a.name][0])])}" for a in swept)


def _column(book: Book, name: str) -> NDArray[Any]:
    """Return a column as outputs show it: numbers, words, or texts where there may be tables."""
    if name in book.texts:
        return book.texts[name]
    cells = book.cells
    column: NDArray[Any] = getattr(cells, name)
    if name in TABLES:
        called = np.array([*(table.called for table in cells.tables), ""], dtype=object)
        texts: NDArray[Any] = called[column]
        return texts
    if _has_tables(book, name):
        curves = getattr(cells, f"{name}_curve")
        texts = np.array(["" if np.isnan(v) else repr(v) for v in column.tolist()], dtype=object)
        for row in np.flatnonzero(curves != NO_TABLE).tolist():
            texts[row] = cells.tables[curves[row]].called
        return texts
    if name not in WORDS:
        return column
    has = np.array([name == "type" or name in inputs_of(kind) for kind in TYPES])
    if "type" not in cells.columns or has.all():
        return words_of(name, column)
    there = has[cells.type]
    words = np.full(len(column), "", dtype=object)
    words[there] = words_of(name, column[there])
    return words


def _has_tables(book: Book, name: str) -> bool:
    """Tell whether cells of a column may be tables, which are known by their text."""
    return name in TABLES or f"{name}_curve" in book.cells.columns


def _positions(
    name: str, values: NDArray[Any], selected: Selected, *, nearest: bool
) -> NDArray[np.int64]:
    """Return where on an axis the selected values lie, increasing."""
    positions = np.flatnonzero(_equal(name, values, selected, nearest=nearest))
    if not len(positions):
        there = f"{_show(values[0])} to {_show(values[-1])}"
        if values.dtype.kind == "U":
            there = ", ".join(values.tolist())
        raise SpecError(f"{name}: no value lies in {_spell(selected)}; there are {there}")
    return positions


def _equal(
    name: str, values: NDArray[Any], selected: Selected, *, nearest: bool
) -> NDArray[np.bool_]:
    """Tell which values of an input are selected."""
    if values.dtype.kind == "U" and name not in WORDS:
        return _equal_texts(name, values, selected)
    match _parsed(selected):
        case _Range(low, high) if name not in WORDS:
            return _between(name, values, low, high)
        case _Range():
            raise SpecError(f"{name}: must be a word, got {_spell(selected)}")
        case wanted:
            same = np.zeros(len(values), dtype=bool)
            for one in wanted:
                if name in WORDS:
                    same |= _equal_word(name, values, one)
                else:
                    same |= _equal_number(name, values, _number(name, one), nearest=nearest)
            return same


def _equal_word(name: str, words: NDArray[Any], wanted: object) -> NDArray[np.bool_]:
    code = code_of(name, wanted)
    word = next(known for known, its_code in WORDS[name].items() if its_code == code)
    same: NDArray[np.bool_] = words == word
    if not same.any():
        there = [known for known in WORDS[name] if (words == known).any()]
        said = "every one is" if len(there) == 1 else "there are"
        raise SpecError(f"{name}: {word} is not there; {said} {', '.join(there)}")
    return same


def _equal_number(name: str, values: Floats, wanted: float, *, nearest: bool) -> NDArray[np.bool_]:
    same = _same(values, wanted)
    if same.any() or np.isnan(values).all():
        return same
    closest = float(values[np.nanargmin(np.abs(values - wanted))])
    if not nearest:
        raise SpecError(f"{name}: {_show(wanted)} is not there; the nearest is {_show(closest)}")
    return _same(values, closest)


def _equal_texts(name: str, texts: NDArray[Any], selected: Selected) -> NDArray[np.bool_]:
    """Tell which texts are selected, numbers among them by their value."""
    same = np.zeros(len(texts), dtype=bool)
    if isinstance(selected, str) and np.isnan(_numbers([selected])[0]):
        # First as it stands: a text may hold a colon or a comma.
        same |= texts == selected.strip()
        if not same.any() and (name in TABLES or name in CURVES):
            with suppress(SpecError):
                same |= texts == parse_table(TABLES.get(name, Curve), selected).called
        if same.any():
            return same
    match _parsed(selected):
        case _Range(low, high) if name not in TABLES:
            ends = _numbers([end for end in (low, high) if end is not None])
            if len(ends) and not np.isnan(ends).any():
                return _between(name, _numbers(texts.tolist()), low, high)
            # As text, which suits ISO dates.
            return np.array(
                [
                    (low is None or str(low) <= text) and (high is None or text <= str(high))
                    for text in texts.tolist()
                ]
            )
        case _Range():
            pass
        case wanted:
            values = _numbers(wanted)
            if not np.isnan(values).all():
                numbers = _numbers(texts.tolist())
            for one, value in zip(wanted, values.tolist(), strict=True):
                same |= texts == str(one).strip() if np.isnan(value) else _same(numbers, value)
    if not same.any():
        hint = suggest(str(selected), dict.fromkeys(texts.tolist()))
        raise SpecError(f"{name}: no row has {_spell(selected)}{hint}")
    return same


def _equal_firms(firms: NDArray[Any], selected: Selected) -> NDArray[np.bool_]:
    """Tell which firms are selected, by their names."""
    # First as it stands: names may be numbers, of which 7 and 007 are two.
    same: NDArray[np.bool_] = np.zeros(len(firms), dtype=bool)
    if isinstance(selected, str):
        for name in (selected, *selected.split(",")):
            same |= firms == name.strip()
        if same.sum() >= len(selected.split(",")):
            return same
    same = _equal_texts("firm", firms, selected)
    if not same.any():
        there = f"{firms.min()} to {firms.max()}"
        raise SpecError(f"firm: no value lies in {_spell(selected)}; there are {there}")
    return same


def _equal_dates(days: NDArray[Any], selected: Selected, *, nearest: bool) -> NDArray[np.bool_]:
    """Tell which days since 1970-01-01, increasing, are selected as ISO dates."""

    def day_of(text: object) -> int:
        try:
            return int(np.datetime64(parse_date(str(text).strip()), "D").astype(np.int64))
        except SpecError as error:
            raise SpecError(f"date: {error}") from None

    same: NDArray[np.bool_]
    match _parsed(selected):
        case _Range(low, high):
            first = days[0] if low is None else day_of(low)
            last = days[-1] if high is None else day_of(high)
            if low is not None and high is not None and first > last:
                raise SpecError(f"date: a range must go up, got {low}:{high}")
            same = (days >= first) & (days <= last)
        case wanted:
            same = np.zeros(len(days), dtype=bool)
            for one in wanted:
                day = day_of(one)
                closest = days[np.abs(days - day).argmin()]
                if closest != day and not nearest:
                    (there,) = iso_dates(closest[None])
                    raise SpecError(f"date: {one} is not there; the nearest is {there}")
                same |= days == closest
    if not same.any():
        there = " to ".join(iso_dates(days[[0, -1]]))
        raise SpecError(f"date: no value lies in {_spell(selected)}; there are {there}")
    return same


def _same(values: Floats, wanted: float) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.abs(values - wanted) <= SAME * np.maximum(
        np.abs(values), abs(wanted)
    )
    return same


def _between(
    name: str, values: Floats, low: str | float | None, high: str | float | None
) -> NDArray[np.bool_]:
    first = -np.inf if low is None else _number(name, low)
    last = np.inf if high is None else _number(name, high)
    if first > last:
        raise SpecError(f"{name}: a range must go up, got {_show(first)}:{_show(last)}")
    inside: NDArray[np.bool_] = values >= first - SAME * abs(first)
    return inside & (values <= last + SAME * abs(last))


def _parsed(selected: Selected) -> _Range | Sequence[str | float]:
    match selected:
        case str():
            low, colon, high = selected.partition(":")
            return (
                _Range(low.strip() or None, high.strip() or None) if colon else selected.split(",")
            )
        case (low, high) if isinstance(selected, tuple):
            return _Range(low, high)
        case float() | int() | np.number():
            return [float(selected)]
        case _:
            return list(selected)


def _number(name: str, value: object) -> float:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        number = float(value)
    else:
        try:
            number = parse_number(value)
        except SpecError as error:
            raise SpecError(f"{name}: {error}") from None
    if not np.isfinite(number):
        raise SpecError(f"{name}: must be finite, got {_show(number)}")
    return number


def _numbers(values: Sequence[object]) -> Floats:
    """Read what are numbers among `values`; NaN for the others."""
    numbers = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        with suppress(SpecError):
            numbers[i] = _number("", value)
    return numbers


def _show(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _spell(selected: Selected) -> str:
    match _parsed(selected):
        case _Range(low, high):
            return ":".join("" if end is None else _show(end) for end in (low, high))
        case wanted:
            return ",".join(map(_show, wanted))


def _check_rows(count: int, total: int) -> None:
    if count > MAX_ROWS:
        raise SpecError(
            f"selection: must mean at most {MAX_ROWS:,} cells, got {total:,};"
            " narrow or limit it, or export the run"
        )


def _checked(limit: int) -> int:
    if limit < 1:
        raise SpecError(f"limit: must be at least 1, got {limit}")
    return limit


def _refuse(name: str, what: str, known: Sequence[str]) -> NoReturn:
    raise SpecError(
        f"selection: {name!r} is not {what} of this run{suggest(name, known)};"
        f" there are {', '.join(known)}"
    )
