"""What happens to a family until it expires, as kernels take it: segments of curves, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .cells import NO_TABLE
from .claims import bermudan, curved
from .contracts import CURVES, TABLES
from .dated import Curve, Dates, Dividends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .claims import Claims
    from .dated import Table
    from .families import Families

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

SAME = 1e-9  # relative difference of times that are one


class Segments(NamedTuple):
    """Constant vol, rate and yield from one time to the next; family after family.

    Family f owns those from ``offsets[f]`` to ``offsets[f + 1]``, shape (F + 1,); `ends` are years
    from now, the last not before the family's last expiry.
    """

    offsets: Indices
    ends: Floats
    rate: Floats
    dividend_yield: Floats
    vol: Floats


class Events(NamedTuple):
    """What happens at increasing times up to expiry; family after family, as in `Segments`.

    Whether it may be exercised, whether barriers are watched, the cash paid per unit of spot and
    the fraction of the spot paid.
    """

    offsets: Indices
    times: Floats
    exercise: NDArray[np.int8]
    monitor: NDArray[np.int8]
    cash: Floats
    proportional: Floats


def segments_of(families: Families) -> Segments:
    """Merge the curves of each family up to its last expiry."""
    cells = families.cells
    if not curved(cells).any():
        ends = families.expiries[families.expiry_offsets[1:] - 1]
        flat = (np.array(getattr(cells, n)) for n in ("rate", "dividend_yield", "vol"))
        return Segments(np.arange(len(families) + 1), ends, *flat)
    known: dict[tuple[Any, ...], tuple[Floats, ...]] = {}
    parts = []
    columns = [(getattr(cells, name), getattr(cells, f"{name}_curve")) for name in CURVES]
    for f in range(len(families)):
        last = float(families.expiries[families.expiry_offsets[f + 1] - 1])
        key = (last, *(column[f].item() for pair in columns for column in pair))
        if key not in known:
            known[key] = _merged(
                [_at(cells.tables, *(c[f] for c in pair)) for pair in columns], last
            )
        parts.append(known[key])
    offsets = np.cumsum([0, *(len(part[0]) for part in parts)])
    ends, vol, rate, dividend_yield = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return Segments(offsets, ends, rate, dividend_yield, vol)


def _at(tables: tuple[Table, ...], number: float, place: int) -> tuple[Floats, Floats]:
    """Return the times at which an input changes, and its values before, between and after."""
    if place == NO_TABLE:
        return np.empty(0), np.array([number])
    curve = tables[place]
    assert isinstance(curve, Curve)
    # The last value goes on, so that the last time changes nothing.
    return np.array(curve.times[:-1]), np.array(curve.values)


def _merged(inputs: list[tuple[Floats, Floats]], last: float) -> tuple[Floats, ...]:
    """Return where segments end, the last at `last`, and the value of each input in them."""
    cuts = np.unique(np.concatenate([times for times, _ in inputs]))
    ends = np.append(cuts[cuts < last], last)
    return ends, *(values[np.searchsorted(times, ends)] for times, values in inputs)


def events_of(families: Families, claims: Claims) -> Events:
    """Merge what happens to each family up to its last expiry."""
    cells = families.cells
    may_exercise = bermudan(cells)
    if not (set(cells.columns) & set(TABLES)):
        none, codes = np.empty(0), np.empty(0, np.int8)
        return Events(np.zeros(len(families) + 1, np.int64), none, codes, codes, none, none)
    known: dict[tuple[Any, ...], NDArray[Any]] = {}
    parts = []
    for f in range(len(families)):
        begin, end = families.expiry_offsets[f : f + 2]
        key = (
            float(families.expiries[end - 1]) if end > begin else 0.0,
            int(cells.exercise_dates[f]) if may_exercise[f] else NO_TABLE,
            int(cells.monitoring_dates[f]) if claims.knock[f] else NO_TABLE,
            int(cells.cash_dividends[f]),
            int(cells.proportional_dividends[f]),
        )
        if key not in known:
            known[key] = _happening(cells.tables, *key)
        parts.append(known[key])
    offsets = np.cumsum([0, *map(len, parts)])
    rows = np.concatenate(parts) if parts else np.empty((0, 5))
    unit = np.repeat(claims.unit, np.diff(offsets))
    return Events(
        offsets=offsets,
        times=np.ascontiguousarray(rows[:, 0]),
        exercise=rows[:, 1].astype(np.int8),
        monitor=rows[:, 2].astype(np.int8),
        cash=rows[:, 3] / unit,
        proportional=np.ascontiguousarray(rows[:, 4]),
    )


def _happening(tables: tuple[Table, ...], last: float, *places: int) -> Floats:
    """Return time, exercise, monitoring, cash and proportion of each event up to `last`."""
    rows: dict[float, list[float]] = {}
    for column, place in enumerate(places):
        if place == NO_TABLE:
            continue
        table = tables[place]
        assert isinstance(table, Dividends | Dates)
        amounts = table.amounts if isinstance(table, Dividends) else (1.0,) * len(table.times)
        for time, amount in zip(table.times, amounts, strict=True):
            # A date that is the expiry but for rounding is the expiry.
            when = last if abs(time - last) <= SAME * last else time
            if when <= last and amount:
                rows.setdefault(when, [0.0] * len(places))[column] += amount
    return np.array([[time, *rows[time]] for time in sorted(rows)]).reshape(-1, 1 + len(places))
