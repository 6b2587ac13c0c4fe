"""A grid's plan: all families have the same number of cells, so everything is arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import lcm, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.cells import NO_TABLE, Cells
from pricer.contracts import CURVES, MODEL_OF, NUMBERS, SIMULATED, TABLES, TYPES, WORDS, inputs_of
from pricer.dated import Curve, Table
from pricer.families import Families, units
from pricer.grid import Grid

from .base import OptionPlan, part_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pricer.grid import Axis

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

# What is paid on paths, which one simulation prices together whatever it is.
_ON_PATHS = (
    "spot", "spots", "strike", "right", "average", "strike_type", "basket_type", "running_average",
    "running_extremum", "participation", "moneyness", "local_floor", "local_cap", "global_floor",
    "global_cap", "notional", "weights", "greek_asset",
)  # fmt: skip
# What spots are measured in, by the type of contract: a solve knows their ratio alone.
_UNITS = {
    "vanilla": "strike",
    "digital": "strike",
    "barrier": "strike",
    "double_barrier": "strike",
    "touch": "barrier",
    "double_touch": "lower_barrier",
}
# The inputs of which one solve has one value each, since their ratios decide what is owed.
_RATIOS: dict[str, tuple[str, ...]] = {
    "vanilla": (),
    "digital": (),
    "barrier": ("strike", "barrier", "rebate"),
    "double_barrier": ("strike", "lower_barrier", "upper_barrier", "rebate"),
    "touch": (),
    "double_touch": ("lower_barrier", "upper_barrier"),
}


@dataclass(frozen=True, eq=False)
class GridPlan(OptionPlan):
    """A grid's plan: all families have the same number of cells, so everything is arithmetic."""

    kind = "grid"

    spec: Grid

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes as cells are numbered: the last one moves fastest, shared ones inside."""
        return (*self.key_axes, *self.shared_axes)

    @cached_property
    def key_axes(self) -> tuple[Axis, ...]:
        """The axes of which each value needs a solve of its own, in file order."""
        return tuple(axis for axis in self.spec.axes if axis.name in self._keys)

    @cached_property
    def shared_axes(self) -> tuple[Axis, ...]:
        """The axes that one solve prices together, in file order."""
        return tuple(axis for axis in self.spec.axes if axis.name not in self._keys)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return _keys(self.spec)

    @cached_property
    def cells(self) -> int:
        """The number of cells."""
        return self.spec.cells

    @cached_property
    def families(self) -> int:
        """The number of families."""
        return prod(map(len, self.key_axes))

    @cached_property
    def family_cells(self) -> int:
        """The number of cells of each family."""
        return prod(map(len, self.shared_axes))

    @cached_property
    def _block_families(self) -> int:
        """How many whole families a block holds; 0 where a family is cut into parts."""
        return self.block_cells // self.family_cells

    @cached_property
    def _part_cells(self) -> int:
        """The cells of an equal part of a family; its last part may be a few short."""
        return part_cells(self.family_cells, self.block_cells)

    @cached_property
    def _family_parts(self) -> int:
        return -(-self.family_cells // self._part_cells)

    @cached_property
    def blocks(self) -> int:
        """The number of blocks."""
        if self._block_families:
            return -(-self.families // self._block_families)
        return self.families * self._family_parts

    def block_range(self, block: int) -> tuple[int, int]:
        """Return the first cell of `block` and the cell after its last."""
        self._check_block(block)
        if self._block_families:
            step = self._block_families * self.family_cells
            return block * step, min((block + 1) * step, self.cells)
        family, part = divmod(block, self._family_parts)
        first, end = part * self._part_cells, (part + 1) * self._part_cells
        start = family * self.family_cells
        return start + first, start + min(end, self.family_cells)

    def family_range(self, block: int) -> tuple[int, int]:
        """Return the first family that `block` touches and the family after its last."""
        first, end = self.block_range(block)
        return first // self.family_cells, -(-end // self.family_cells)

    def block_of(self, cells: Indices) -> Indices:
        """Return the block of each cell."""
        if self._block_families:
            return cells // (self._block_families * self.family_cells)
        family = cells // self.family_cells
        part = (cells - family * self.family_cells) // self._part_cells
        return family * self._family_parts + part

    @cached_property
    def _tables(self) -> tuple[Table, ...]:
        given = chain.from_iterable(self.spec.values(name) for name in inputs_of(self.spec.type))
        return tuple(value for value in given if isinstance(value, Table))

    @cached_property
    def _columns(self) -> dict[str, tuple[str, NDArray[Any]]]:
        """The columns of cells that are needed: the input of each, and its values in axis order."""
        spec = self.spec
        columns: dict[str, tuple[str, NDArray[Any]]] = {}
        if spec.type != "vanilla":
            columns["type"] = ("type", np.array([TYPES[spec.type]], np.int8))
        swept = {axis.name for axis in spec.axes}
        places = iter(range(len(self._tables)))
        for name in inputs_of(spec.type):
            values = spec.values(name)
            if name in WORDS:
                codes = np.array([WORDS[name][str(word)] for word in values], np.int8)
                # A word that is not given reads as the first.
                if name in swept or name in spec.fixed or codes.any():
                    columns[name] = (name, codes)
            elif name in NUMBERS and (name in swept or name in spec.fixed):
                plain = [value if isinstance(value, float) else 0.0 for value in values]
                columns[name] = (name, np.array(plain))
            tables = [NO_TABLE if isinstance(v, str | float) else next(places) for v in values]
            if any(place != NO_TABLE for place in tables):
                column = name if name in TABLES else f"{name}_curve"
                columns[column] = (name, np.array(tables, np.int32))
        return columns

    def positions(self, cells: Indices) -> dict[str, Indices]:
        """Return where on each axis, in cell order, each cell lies."""
        return _decode(self.axes, cells)

    def numbers(self, positions: Mapping[str, Indices]) -> Indices:
        """Return the numbers of the cells at `positions` on every axis; they broadcast."""
        cells: Indices = np.zeros((), dtype=np.int64)
        for axis in self.axes:
            cells = cells * len(axis) + np.asarray(positions[axis.name], dtype=np.int64)
        return cells

    def _at(self, positions: Mapping[str, Indices], count: int) -> Cells:
        """Return `count` cells at `positions` on axes, and at the last value of every other."""
        columns = {}
        for column, (name, values) in self._columns.items():
            if name in positions and len(values) > 1:
                columns[column] = values.take(positions[name])
            else:
                columns[column] = np.broadcast_to(values[-1], count)
        return Cells(columns, self._tables)

    def cells_of(self, cells: Indices) -> Cells:
        """Return any cells by their numbers, shape (n,)."""
        return self._at(_decode(self.axes, cells), len(cells))

    def cells_at(self, first: int, end: int) -> tuple[Cells, Indices]:
        """Return the cells `first` to `end`, and the offsets that delimit families in them."""
        size = self.family_cells
        families = range(first // size, -(-end // size))
        starts = np.array([first, *(f * size for f in families[1:]), end], dtype=np.int64)
        return self.cells_of(np.arange(first, end, dtype=np.int64)), starts - first

    def families_at(self, first: int, end: int) -> Families:
        """Describe the families `first` to `end` as the whole file defines them."""
        count = end - first
        # The last of shared values, which increase: a strike above 0 where there is one.
        cells = self._at(_decode(self.key_axes, np.arange(first, end, dtype=np.int64)), count)
        if self.spec.type in SIMULATED:
            # Each cell is priced alone, or found to be invalid.
            ones, none = np.ones(count), np.zeros(count + 1, np.int64)
            return Families(cells, np.ones(count, dtype=bool), ones, ones, none, np.empty(0))
        priced = cells.valid()
        least_unit = most_unit = units(cells)
        for axis in self.shared_axes:
            if axis.name == _UNITS[self.spec.type]:
                least_unit = np.full(count, _least_above_zero(self._values(axis.name)))
        spot = self._values("spot")
        live = priced & (most_unit > 0.0) & (spot[-1] > 0.0)
        low, high = np.ones(count), np.ones(count)
        low[live] = _least_above_zero(spot) / most_unit[live]
        high[live] = spot[-1] / least_unit[live]
        own = any(axis.name == "expiry" for axis in self.key_axes)
        expiries = cells.expiry[:, None] if own else np.tile(self._values("expiry"), (count, 1))
        kept = live[:, None] & (expiries > 0.0)
        some = kept.any(axis=1)
        return Families(
            cells=cells,
            priced=priced,
            moneyness_low=np.where(some, low, 1.0),
            moneyness_high=np.where(some, high, 1.0),
            expiry_offsets=np.concatenate(([0], np.cumsum(kept.sum(axis=1)))).astype(np.int64),
            expiries=expiries[kept],
        )

    def _values(self, name: str) -> Floats:
        return self._columns[name][1]

    def solves(self, chunk_blocks: int) -> int:
        """Count solves where each chunk of `chunk_blocks` blocks solves its own families."""
        if self._block_families:
            return self.families
        cuts = (self.blocks - 1) // chunk_blocks
        between_families = (self.blocks - 1) // lcm(chunk_blocks, self._family_parts)
        return self.families + cuts - between_families

    def why(self) -> str:
        """Say in a line which inputs share a solve, and why others do not."""
        sentences = []
        shared = [axis.name for axis in self.shared_axes if len(axis) > 1]
        if shared:
            share = "shares" if len(shared) == 1 else "share"
            sentences.append(f"{', '.join(shared)} {share} one solve")
        own: dict[str, list[str]] = {}
        for axis in self.key_axes:
            if len(axis) > 1:
                own.setdefault(self._keys[axis.name], []).append(axis.name)
        for cause, names in own.items():
            need = "needs its own" if len(names) == 1 else "need their own"
            sentences.append(f"{', '.join(names)} {need}{cause and f' ({cause})'}")
        return "; ".join(sentences) or "one cell, one solve"


def stored(document: Mapping[str, Any]) -> GridPlan:
    """Rebuild a plan from what `to_json` described."""
    grid = Grid.of_identity(document["spec"], document["name"], document.get("labels", {}))
    return GridPlan(
        grid,
        document["kernel_version"],
        document["run_id"],
        document["block_cells"],
        as_of=document["as_of"],
    )


def _keys(spec: Grid) -> dict[str, str]:
    """Return the inputs whose values each need solves of their own, and why if it is not plain.

    They are those by which cells' claims per unit differ (`claims.Claims.relative`), or what
    happens until expiry: `Families` says what the cells of one family have in common.
    """
    if spec.type in SIMULATED:
        return {name: "" for name in inputs_of(spec.type) if name not in _ON_PATHS}
    unit, payoffs = _UNITS[spec.type], spec.values("payoff")
    keys = dict.fromkeys((*WORDS, *CURVES, *TABLES), "")
    keys |= dict.fromkeys(_RATIOS[spec.type], "their ratios count")
    if "gap" in payoffs and any(spec.values("payoff_strike")):
        keys |= dict.fromkeys(("strike", "payoff_strike"), "their ratio counts")
    if "cash_or_nothing" in payoffs and any(spec.values("rebate")):
        keys["cash"] = "rebates do not scale with it"
    if 0.0 in spec.values("cash"):
        keys["cash"] = "one is 0"
    keys |= dict.fromkeys(MODEL_OF, "")
    if set(spec.values("model")) - {"black_scholes"}:
        keys["expiry"] = "of this model"
    given = [name for name in TABLES if spec.values(name)]
    given += [name for name in CURVES if any(isinstance(v, Curve) for v in spec.values(name))]
    if given:
        keys["expiry"] = f"{', '.join(given)} count from today"
    # A claim on a strike of 0 is no multiple of one on another, but any plain vanilla has a limit.
    if 0.0 in spec.values(unit) and (given or spec.type != "vanilla"):
        keys.setdefault(unit, "one is 0")
    if "cash_dividends" in given:
        keys.setdefault(unit, "cash_dividends do not scale with it")
    return keys


def _least_above_zero(values: Floats) -> float:
    return float(values[values > 0.0].min(initial=np.inf))


def _decode(axes: Sequence[Axis], numbers: Indices) -> dict[str, Indices]:
    """Turn numbers in C order over `axes` into positions on them."""
    positions = {}
    for axis in reversed(axes):
        if len(axis) == 1:
            positions[axis.name] = np.zeros_like(numbers)
            continue
        # NumPy divides by a scalar far faster than it takes a remainder.
        outer = numbers // len(axis)
        positions[axis.name] = numbers - outer * len(axis)
        numbers = outer
    return positions
