"""A grid's plan: all families have the same number of cells, so everything is arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lcm, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.cells import Cells
from pricer.contracts import WORDS
from pricer.families import Families
from pricer.grid import INPUTS, Grid

from .base import FAMILY_KEYS, Plan, part_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pricer.grid import Axis

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GridPlan(Plan):
    """A grid's plan: all families have the same number of cells, so everything is arithmetic."""

    spec: Grid

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes as cells are numbered: the last one moves fastest, shared ones inside."""
        return (*self.key_axes, *self.shared_axes)

    @cached_property
    def key_axes(self) -> tuple[Axis, ...]:
        """The axes of which each value needs a solve of its own, in file order."""
        return tuple(axis for axis in self.spec.axes if axis.name in FAMILY_KEYS)

    @cached_property
    def shared_axes(self) -> tuple[Axis, ...]:
        """The axes that one solve prices together, in file order."""
        return tuple(axis for axis in self.spec.axes if axis.name not in FAMILY_KEYS)

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
    def _values(self) -> dict[str, NDArray[Any]]:
        values: dict[str, NDArray[Any]] = {}
        given: dict[str, Sequence[Any]] = {axis.name: axis.values for axis in self.axes}
        for name in INPUTS:
            of_input = given[name] if name in given else (self.spec.fixed[name],)
            if name in WORDS:
                codes = [WORDS[name][str(word)] for word in of_input]
                values[name] = np.array(codes, dtype=np.int8)
            else:
                values[name] = np.array(of_input, dtype=np.float64)
        return values

    def positions(self, cells: Indices) -> dict[str, Indices]:
        """Return where on each axis, in cell order, each cell lies."""
        return _decode(self.axes, cells)

    def numbers(self, positions: Mapping[str, Indices]) -> Indices:
        """Return the numbers of the cells at `positions` on every axis; they broadcast."""
        cells: Indices = np.zeros((), dtype=np.int64)
        for axis in self.axes:
            cells = cells * len(axis) + np.asarray(positions[axis.name], dtype=np.int64)
        return cells

    def _inputs(self, axes: tuple[Axis, ...], numbers: Indices) -> dict[str, NDArray[Any]]:
        return {
            name: self._values[name].take(where) for name, where in _decode(axes, numbers).items()
        }

    def cells_of(self, cells: Indices) -> Cells:
        """Return any cells by their numbers, shape (n,)."""
        given = self._inputs(self.axes, cells)
        for name in INPUTS:
            if name not in given:
                given[name] = self._values[name].repeat(len(cells))
        return Cells(given)

    def cells_at(self, first: int, end: int) -> tuple[Cells, Indices]:
        """Return the cells `first` to `end`, and the offsets that delimit families in them."""
        size = self.family_cells
        families = range(first // size, -(-end // size))
        starts = np.array([first, *(f * size for f in families[1:]), end], dtype=np.int64)
        return self.cells_of(np.arange(first, end, dtype=np.int64)), starts - first

    @cached_property
    def _window(self) -> tuple[float, float]:
        """The least and greatest spot / strike of every family."""
        spots, strikes = (self._values[n][self._values[n] > 0] for n in ("spot", "strike"))
        if not (len(spots) and len(strikes) and len(self._expiries)):
            return 1.0, 1.0
        spot, strike = spots.tolist(), strikes.tolist()
        return spot[0] / strike[-1], spot[-1] / strike[0]

    @cached_property
    def _expiries(self) -> Floats:
        expiry = self._values["expiry"]
        spot, strike = self._values["spot"], self._values["strike"]
        live = (spot > 0).any() and (strike > 0).any()
        return expiry[expiry > 0] if live else expiry[:0]

    def families_at(self, first: int, end: int) -> Families:
        """Describe the families `first` to `end` as the whole file defines them."""
        count = end - first
        given = self._inputs(self.key_axes, np.arange(first, end, dtype=np.int64))
        for name in FAMILY_KEYS:
            if name not in given:
                given[name] = self._values[name].repeat(count)
        low, high = self._window
        return Families(
            cells=Cells(given),
            priced=np.ones(count, bool),
            moneyness_low=np.full(count, low),
            moneyness_high=np.full(count, high),
            expiry_offsets=np.arange(count + 1, dtype=np.int64) * len(self._expiries),
            expiries=np.tile(self._expiries, count),
        )

    def solves(self, chunk_blocks: int) -> int:
        """Count solves where each chunk of `chunk_blocks` blocks solves its own families."""
        if self._block_families:
            return self.families
        cuts = (self.blocks - 1) // chunk_blocks
        between_families = (self.blocks - 1) // lcm(chunk_blocks, self._family_parts)
        return self.families + cuts - between_families

    def why(self) -> str:
        """Say in a line which inputs share a solve."""
        shared = [axis.name for axis in self.shared_axes if len(axis) > 1]
        own = [axis.name for axis in self.key_axes if len(axis) > 1]
        share = "shares" if len(shared) == 1 else "share"
        need = "needs its own" if len(own) == 1 else "need their own"
        sentences = []
        if shared:
            sentences.append(f"{', '.join(shared)} {share} one solve")
        if own:
            sentences.append(f"{', '.join(own)} {need}")
        return "; ".join(sentences) or "one cell, one solve"


def stored(document: Mapping[str, Any]) -> GridPlan:
    """Rebuild a plan from what `to_json` described."""
    grid = Grid.of_identity(document["spec"], document["name"])
    return GridPlan(grid, document["kernel_version"], document["run_id"], document["block_cells"])


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
