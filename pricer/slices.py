"""What a picture of a run shows: a measure along an axis, by another one, in small multiples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .columns import MISSING_MARKS, parse_number
from .contracts import Status, suggest
from .errors import SpecError
from .grid import shown
from .panel import iso_dates
from .plan import BookPlan, GridPlan, PanelPlan
from .selection import PANEL_NAMES, ROW, axis_values, select_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .run import Run
    from .selection import Selected

    Column = NDArray[Any]
    Table = dict[str, Column]
    Floats = NDArray[np.float64]

# Beyond these nobody can tell what a picture shows, or a browser cannot hold it.
MOST_LINES, MOST_WORDS, MOST_FACETS, MOST_POINTS = 60, 12, 24, 200_000
ERROR, STATUS = "error", "status"
FIRM, DATE, HORIZON = PANEL_NAMES


@dataclass(frozen=True, eq=False)
class Facet:
    """The points of one of the small multiples, by hue and then by x; arrays of shape (n,).

    `value` is that of the facet, None where there are no facets, as `hue` is. Dates along x are
    days since 1970-01-01. `error` is how far the truth may be from `y`, None where nothing is
    known of it.
    """

    value: str | float | None
    x: Floats
    y: Floats
    hue: Column | None
    error: Floats | None

    def lines(self) -> Iterator[tuple[str | float | None, slice]]:
        """Yield each value of the hue, and where its points are."""
        if self.hue is None:
            yield None, slice(0, len(self.x))
            return
        cuts = np.flatnonzero(self.hue[1:] != self.hue[:-1]) + 1
        for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(self.x)], strict=True):
            yield self.hue[start : start + 1].tolist()[0], slice(start, end)


@dataclass(frozen=True, eq=False)
class Slice:
    """A measure `y` along `x`, by `hue` and `facet`, which may be empty.

    Attributes
    ----------
    at
        The other inputs that have one value here, and it; those in `middle` are at the middle of
        their axis, since nothing was said of them.
    hues
        The values of the hue over all facets, in order; `numeric` where they are numbers.
    joined
        Whether points along x belong together, as those of a grid do and a book's rows do not.
    dated
        Whether x is dates.
    band
        What the `error` of the facets is: ``"error"``, ``"two standard errors"``, or empty.
    not_ok
        How many of the points have another status than ok.
    """

    run: str
    name: str
    x: str
    y: str
    hue: str
    facet: str
    at: Mapping[str, str | float]
    middle: tuple[str, ...]
    hues: tuple[str | float, ...]
    facets: tuple[Facet, ...]
    joined: bool
    dated: bool
    band: str
    not_ok: int

    @property
    def numeric(self) -> bool:
        """Whether the values of the hue are numbers."""
        return all(isinstance(value, float) for value in self.hues)

    @property
    def points(self) -> int:
        """How many points there are."""
        return sum(len(facet.x) for facet in self.facets)

    @property
    def largest_error(self) -> float | None:
        """The largest error of a point; None where nothing is known."""
        found = [facet.error for facet in self.facets if facet.error is not None]
        errors = np.concatenate(found) if found else np.empty(0)
        return float(np.nanmax(errors)) if np.isfinite(errors).any() else None


def slice_of(
    run: Run,
    x: str,
    y: str,
    *,
    hue: str = "",
    facet: str = "",
    selection: Mapping[str, Selected] | None = None,
) -> Slice:
    """Read what a picture of `y` along `x` shows; only the blocks that hold it are read.

    Parameters
    ----------
    x
        An axis of numbers; of a book any column of numbers, of a panel ``date`` or ``horizon``.
    y
        A measure of the run or ``error``; of a book any column of numbers too.
    hue, facet
        An axis or a column that tells lines, or small multiples, apart.
    selection
        As `Run.query` takes it. An axis of a grid, or the horizon of a panel, that is none of the
        above must have one value left; it is at its middle value, the lower of two, where nothing
        is selected on it. The firm or date of a panel must be selected.

    Raises
    ------
    SpecError
        Where something is not there or cannot be drawn, or too much would be.
    """
    asked = {"x": x, "hue": hue, "facet": facet}
    for role, others in (("hue", (x,)), ("facet", (x, hue))):
        if asked[role] and asked[role] in others:
            raise SpecError(f"{role}: {asked[role]} is taken for x or hue already")
    match run.plan:
        case GridPlan() as plan:
            _check_measure(run, y, ())
            chosen, at, middle = _at(plan, asked, selection or {})
            joined = True
        case BookPlan() as plan:
            columns = (ROW, *plan.spec.columns)
            for role, name in asked.items():
                if name and name not in columns:
                    _refuse(role, name, "a column", columns)
            _check_measure(run, y, columns)
            chosen, at, middle, joined = dict(selection or {}), {}, (), False
        case _:
            assert isinstance(run.plan, PanelPlan)
            _check_measure(run, y, ())
            chosen, middle = _of_panel(run.plan, asked, selection or {})
            at, joined = {}, True
    _check_points(run.count(chosen))
    band, spread, factor = _band(run, y)
    measures = tuple(dict.fromkeys(n for n in (y, spread) if n in run.plan.measures))
    table: Table = dict(run.query(chosen, measures=measures or run.plan.measures[:1]))
    if isinstance(run.plan, PanelPlan):
        at = _at_one(table, asked)
        # A firm without debt is infinitely far from default.
        table[y] = np.where(np.isfinite(table[y]), table[y], np.nan)
    dated = joined and x == DATE
    points = {
        "x": _days(table[x]) if dated else _numbers("x", x, table[x]),
        "y": _numbers("y", y, table[y]),
        "error": factor * table[spread] if spread else np.full(len(table[x]), np.nan),
        "hue": _plain(table[hue]) if hue else np.zeros(len(table[x])),
        "facet": _plain(table[facet]) if facet else np.zeros(len(table[x])),
    }
    if not joined:
        there = np.isfinite(points["x"]) & np.isfinite(points["y"])
        points = {name: column[there] for name, column in points.items()}
        told = {
            name: _distinct(_plain(table[name])) for name in chosen if name not in asked.values()
        }
        at = {name: values[0] for name, values in told.items() if len(values) == 1}
    if not len(points["x"]):
        raise SpecError(f"selection: no row has both {x} and {y}")
    if joined and np.ptp(points["x"]) == 0.0:
        raise SpecError(f"x: {x} has one value here; a line needs two")
    hues, facets = _distinct(points["hue"]), _distinct(points["facet"])
    _check_few("hue", hue, hues, joined=joined)
    if len(facets) > MOST_FACETS:
        _too_many("facet", facet, facets, MOST_FACETS, "small multiples")
    return Slice(
        run=run.id,
        name=run.head.name,
        x=x,
        y=y,
        hue=hue,
        facet=facet,
        at=at,
        middle=middle,
        hues=hues if hue else (),
        facets=tuple(
            Facet(
                value if facet else None,
                x=points["x"][here],
                y=points["y"][here],
                hue=points["hue"][here] if hue else None,
                error=points["error"][here] if spread else None,
            )
            for value, here in _by_facet(points, hues, facets)
        ),
        joined=joined,
        dated=dated,
        band=band,
        not_ok=int(np.count_nonzero(table[STATUS] != Status.ok)),
    )


def _at(
    plan: GridPlan, asked: Mapping[str, str], selection: Mapping[str, Selected]
) -> tuple[dict[str, Selected], dict[str, str | float], tuple[str, ...]]:
    """Return the selection that is left to read, the inputs that have one value, and the middle."""
    values = axis_values(plan)
    for role, name in asked.items():
        if name and name not in values:
            _refuse(role, name, "an axis", tuple(values))
    chosen = select_positions(plan, selection)
    x = asked["x"]
    if values[x].dtype.kind != "f":
        raise SpecError(f"x: {x} has words or tables, not numbers; take it for hue or facet")
    at: dict[str, str | float] = {n: shown(v) for n, v in plan.spec.fixed.items()}
    kept, middle = dict(selection), []
    for name, positions in chosen.items():
        if name in asked.values():
            continue
        if len(positions) > 1 and name in selection:
            raise SpecError(
                f"{name}: must have one value here, got {len(positions)}; or take it for hue or"
                " facet"
            )
        if len(positions) > 1:
            middle.append(name)
        place = positions[(len(positions) - 1) // 2]
        at[name] = kept[name] = values[name][place : place + 1].tolist()[0]
    return kept, at, tuple(middle)


def _of_panel(
    plan: PanelPlan, asked: Mapping[str, str], selection: Mapping[str, Selected]
) -> tuple[dict[str, Selected], tuple[str, ...]]:
    """Return the selection that is left to read, and what of it is at the middle."""
    for role, name in asked.items():
        if name and name not in PANEL_NAMES:
            _refuse(role, name, "a column", PANEL_NAMES)
    if asked["x"] == FIRM:
        raise SpecError(f"x: {FIRM} has names, not numbers; take it for hue or facet")
    drawn = {*asked.values(), *selection}
    panel = plan.spec
    for name, there in ((FIRM, panel.firms), (DATE, iso_dates(np.unique(panel.dates)))):
        if name not in drawn and len(there) > 1:
            raise SpecError(
                f"{name}: must have one value here, got {len(there):,}; select one, as"
                f" {name}={there[0]}, or take it for hue or facet"
            )
    if HORIZON in drawn:
        return dict(selection), ()
    horizons = panel.windows.horizons
    middle = horizons[(len(horizons) - 1) // 2]
    return {**selection, HORIZON: middle}, (HORIZON,) * (len(horizons) > 1)


def _at_one(table: Table, asked: Mapping[str, str]) -> dict[str, str | float]:
    """Return what is not drawn of a panel, of which one value is there."""
    at: dict[str, str | float] = {}
    for name in PANEL_NAMES:
        if name not in asked.values():
            there = _distinct(table[name])
            if len(there) > 1:
                raise SpecError(
                    f"{name}: must have one value here, got {len(there):,}; or take it for hue or"
                    " facet"
                )
            at[name] = there[0]
    return at


def _days(dates: Column) -> Floats:
    return dates.astype("datetime64[D]").astype(np.float64)


def _check_points(count: int) -> None:
    if count > MOST_POINTS:
        raise SpecError(
            f"selection: a picture holds at most {MOST_POINTS:,} points, got {count:,}; narrow it"
        )


def _check_measure(run: Run, name: str, columns: Sequence[str]) -> None:
    there = (*run.plan.measures, ERROR)
    if name not in there and name not in columns:
        _refuse("y", name, "a measure", there)


def _band(run: Run, y: str) -> tuple[str, str, float]:
    """Return what is known of the error of a measure, in which column, and how often it counts."""
    if y == ("asset_vol" if isinstance(run.plan, PanelPlan) else "price"):
        return "error", ERROR, 1.0
    if f"{y}_standard_error" in run.plan.measures:
        return "two standard errors", f"{y}_standard_error", 2.0
    return "", "", 0.0


def _by_facet(
    points: Mapping[str, Column], hues: Sequence[str | float], facets: Sequence[str | float]
) -> Iterator[tuple[str | float, NDArray[np.int64]]]:
    """Yield each value of the facet, and where its points are: by hue, then along x."""
    ranks = _ranks(points["facet"], facets)
    order = np.lexsort([points["x"], _ranks(points["hue"], hues), ranks])
    cuts = np.searchsorted(ranks[order], np.arange(len(facets) + 1)).tolist()
    for value, (start, end) in zip(facets, pairwise(cuts), strict=True):
        yield value, order[start:end]


def _ranks(column: Column, values: Sequence[str | float]) -> NDArray[np.int64]:
    """Return the place of each value of a column among `values`."""
    places = {value: place for place, value in enumerate(values)}
    return np.array([places[value] for value in _values(column)], dtype=np.int64)


def _numbers(role: str, name: str, column: Column) -> Floats:
    """Return a column as numbers, NaN where nothing is there; a book's own columns are texts."""
    if column.dtype.kind in "fiu":
        return column.astype(np.float64)
    numbers = np.full(len(column), np.nan)
    for place, text in enumerate(column.tolist()):
        if text.strip().lower() not in MISSING_MARKS:
            try:
                numbers[place] = parse_number(text)
            except SpecError as error:
                raise SpecError(f"{role}: column {name!r}: {error}") from None
    return numbers


def _plain(column: Column) -> Column:
    """Return a column as numbers if all of it are, else as it is; what is missing as no text."""
    try:
        numbers = _numbers("", "", column)
    except SpecError:
        return column
    return np.array(_values(numbers), dtype=object) if np.isnan(numbers).any() else numbers


def _values(column: Column) -> list[Any]:
    """Return Python's values; one that is missing is an empty text."""
    return ["" if value != value else value for value in column.tolist()]


def _distinct(column: Column) -> tuple[str | float, ...]:
    """Return the values of a column: numbers from low to high, others as they come."""
    found = tuple(dict.fromkeys(_values(column)))
    return tuple(sorted(found)) if all(isinstance(v, float) for v in found) else found


def _check_few(role: str, name: str, values: Sequence[str | float], *, joined: bool) -> None:
    numeric = all(isinstance(value, float) for value in values)
    # Points of any number of numbers are told apart by a scale.
    if numeric and joined and len(values) > MOST_LINES:
        _too_many(role, name, values, MOST_LINES, "lines")
    if not numeric and len(values) > MOST_WORDS:
        _too_many(role, name, values, MOST_WORDS, "colours of words")


def _too_many(
    role: str, name: str, values: Sequence[str | float], most: int, what: str
) -> NoReturn:
    first, last = values[0], values[most // 2 - 1]
    example = f"{first},{values[1]}"
    if isinstance(first, float):
        example = f"{first:.6g}:{last:.6g}"
    raise SpecError(
        f"{role}: a picture holds at most {most} {what}, {name} has {len(values):,} values here;"
        f" select some, as {name}={example}"
    )


def _refuse(role: str, name: str, what: str, known: Sequence[str]) -> NoReturn:
    raise SpecError(
        f"{role}: {name!r} is not {what} of this run{suggest(name, known)};"
        f" there are {', '.join(known)}"
    )
