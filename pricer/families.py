"""Families: the cells that one solve prices."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import CURVE_COLUMNS, Cells
from .claims import ON_PATHS, bermudan, beyond, claims_of, dated, paid_cash
from .contracts import MODEL_OF, TABLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

# What a simulation's paths depend on beside those, and not what is paid on them.
PATH_KEYS = (
    "model", *MODEL_OF, "past_fixings", "elapsed", "averaging_start", "lookback_start",
    "lookback_end", "start",
)  # fmt: skip
# Tables that say what is paid, and dates that count only where there is early exercise.
UNSHARED = ("exercise_dates", "spots", "weights")
PLAIN_KEYS = ("dividend_yield", "rate", "vol", "exercise", "right")


@dataclass(frozen=True, slots=True)
class Families:
    """What one solve must know of each of F families, as the whole file defines it.

    A family is the set of cells with equal claims per unit (`claims.Claims.relative`) and equal
    vol, rate and dividend yield; where anything happens on a date also equal expiry, and with cash
    dividends equal unit. What is simulated shares paths: of `PATH_KEYS` its cells have equal
    values, of what is paid any. `cells` has one cell of each, of which only these inputs count.
    `expiries` holds each family's positive expiries, increasing, family after family;
    family f owns ``expiries[expiry_offsets[f]:expiry_offsets[f + 1]]``. `moneyness_low` and
    `moneyness_high` bound spot / unit over its valid cells with positive spot, unit and
    expiry (both 1 where there is none); a quotient, since NumPy's log has other bits on other
    machines. `priced` is false for the cells that cannot be priced, which form one family.
    """

    cells: Cells
    priced: NDArray[np.bool_]
    moneyness_low: Floats
    moneyness_high: Floats
    expiry_offsets: Indices
    expiries: Floats

    def __len__(self) -> int:
        """Return the number of families."""
        return len(self.priced)

    def __getitem__(self, index: slice) -> Families:
        """Return a contiguous range of families."""
        start, stop, _ = index.indices(len(self))
        offsets = self.expiry_offsets[start : stop + 1]
        return Families(
            self.cells[start:stop],
            self.priced[start:stop],
            self.moneyness_low[start:stop],
            self.moneyness_high[start:stop],
            offsets - offsets[0],
            self.expiries[offsets[0] : offsets[-1]],
        )

    def take(self, chosen: Indices) -> Families:
        """Return the families at these places, increasing."""
        offsets, kept = taken(self.expiry_offsets, chosen)
        return Families(
            self.cells[chosen],
            self.priced[chosen],
            self.moneyness_low[chosen],
            self.moneyness_high[chosen],
            offsets,
            self.expiries[kept],
        )


def taken(offsets: Indices, chosen: Indices) -> tuple[Indices, NDArray[np.bool_]]:
    """Return the offsets of some families' rows, and which of all rows are theirs.

    `offsets`, shape (F + 1,), delimits the rows of all; `chosen` are places, increasing.
    """
    counts = np.diff(offsets)
    kept = np.zeros(len(counts), dtype=bool)
    kept[chosen] = True
    return np.concatenate(([0], np.cumsum(counts[chosen]))), np.repeat(kept, counts)


def _keys(cells: Cells) -> list[NDArray[Any]]:
    """Return the columns of which a family's cells have equal values, the outermost last."""
    keys = [getattr(cells, name) for name in PLAIN_KEYS]
    plain = set(cells.columns) <= {*PLAIN_KEYS, "type", "spot", "strike", "expiry"}
    if plain and not cells.type.any():
        return keys
    on_paths = np.isin(cells.type, ON_PATHS)
    if beyond(cells).any():
        keys[-1] = np.where(on_paths, 0, cells.right)
        # A number that is not given is the same everywhere, but NaN is not equal to itself.
        keys[:3] = map(np.nan_to_num, keys[:3])
        keys += [np.nan_to_num(getattr(cells, name), nan=-1.0) for name in PATH_KEYS]
        keys.append(cells.type)
    claims = claims_of(cells)
    relative = claims.relative()
    names = (field.name for field in fields(relative) if field.name not in ("unit", "scale"))
    keys += [getattr(relative, name) for name in names]
    keys += [getattr(cells, name) for name in CURVE_COLUMNS]
    keys += [getattr(cells, name) for name in TABLES if name not in UNSHARED]
    keys.append(np.where(bermudan(cells), cells.exercise_dates, -1))
    keys.append(np.where(dated(cells), cells.expiry, 0.0))
    keys.append(np.where(paid_cash(cells) & ~on_paths, claims.unit, 0.0))
    return [key for key in keys if len(key) and not _constant(key)] or keys[:1]


def _constant(column: NDArray[Any]) -> bool:
    return column.strides == (0,) or bool((column == column[0]).all())


def sort_by_family(cells: Cells) -> tuple[Indices, Indices]:
    """Order cells by family, then expiry.

    Returns the permutation, shape (n,), and the offsets, shape (F + 1,), of the families in it.
    Cells that cannot be priced come last and form one family of their own.
    """
    valid = cells.valid()
    keys = _keys(cells)
    order = np.lexsort((cells.expiry, *keys, ~valid))
    if not len(order):
        return order, np.zeros(1, dtype=np.int64)
    sorted_valid = valid[order]
    change = sorted_valid[1:] != sorted_valid[:-1]
    for key in keys:
        column = key[order]
        change |= (column[1:] != column[:-1]) & sorted_valid[1:]
    offsets = np.concatenate(([0], np.flatnonzero(change) + 1, [len(order)]))
    return order, offsets.astype(np.int64)


def families_of(cells: Cells, offsets: Indices) -> Families:
    """Describe the families of `cells`, which `sort_by_family` ordered and `offsets` delimit."""
    first = offsets[:-1]
    count = len(first)
    family = np.repeat(np.arange(count), np.diff(offsets))
    valid = cells.valid()
    unit = units(cells)
    live = valid & (cells.spot > 0) & (unit > 0) & (cells.expiry > 0)
    live &= ~np.isin(cells.type, ON_PATHS)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    with np.errstate(over="ignore", under="ignore"):
        moneyness = cells.spot[live] / unit[live]
    np.minimum.at(low, family[live], moneyness)
    np.maximum.at(high, family[live], moneyness)
    low[low == np.inf] = 1.0
    high[high == -np.inf] = 1.0
    owner, expiry = family[live], cells.expiry[live]
    new = np.ones(len(expiry), dtype=bool)
    new[1:] = (expiry[1:] != expiry[:-1]) | (owner[1:] != owner[:-1])
    owner, expiry = owner[new], expiry[new]
    expiry_offsets = np.searchsorted(owner, np.arange(count + 1))
    # A cell with a unit says what a family owes per unit; where there is none, any will do.
    example = first.copy()
    some, place = np.unique(family[live], return_index=True)
    example[some] = np.flatnonzero(live)[place]
    return Families(
        cells=cells[example],
        priced=valid[first],
        moneyness_low=low,
        moneyness_high=high,
        expiry_offsets=expiry_offsets.astype(np.int64),
        expiries=expiry,
    )


def units(cells: Cells) -> Floats:
    """Return what the spot of each cell is measured in: its strike, or a barrier; shape (n,)."""
    if not cells.type.any():
        unit: Floats = cells.strike
        return unit
    return claims_of(cells).unit
