"""Plans whose families differ in size: blocks are cut from where each family begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.errors import PlanError

from .base import Plan, Window, part_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pricer.panel import Read

    Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RaggedPlan(Plan):
    """A plan whose families differ in size: `offsets` (F + 1,) is where each begins, and the end.

    Blocks are cut from a family's start on, so that those of a window are those of the whole.
    """

    offsets: Indices = field(repr=False)

    @property
    def families(self) -> int:
        """The number of families."""
        return len(self.offsets) - 1

    @cached_property
    def _starts(self) -> Indices:
        """The first cell of each block, and the number of cells; shape (B + 1,)."""
        offsets = self.offsets
        starts = [0]
        family = 0
        while family < self.families:
            end = int(np.searchsorted(offsets, offsets[family] + self.block_cells, "right")) - 1
            if end > family:
                starts.append(int(offsets[end]))
                family = end
                continue
            first, last = int(offsets[family]), int(offsets[family + 1])
            step = part_cells(last - first, self.block_cells)
            starts += [*range(first + step, last, step), last]
            family += 1
        return np.array(starts, dtype=np.int64)

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return len(self._starts) - 1

    def block_range(self, block: int) -> tuple[int, int]:
        """Return the first cell of `block` and the cell after its last."""
        self._check_block(block)
        return int(self._starts[block]), int(self._starts[block + 1])

    def family_range(self, block: int) -> tuple[int, int]:
        """Return the first family that `block` touches and the family after its last."""
        return self.families_between(*self.block_range(block))

    def families_between(self, first: int, end: int) -> tuple[int, int]:
        """Return the family of cell `first`, and the family after those before cell `end`."""
        before = np.searchsorted(self.offsets, first, "right") - 1
        return int(before), int(np.searchsorted(self.offsets, end, "left"))

    def block_of(self, cells: Indices) -> Indices:
        """Return the block of each cell."""
        return np.searchsorted(self._starts, cells, "right") - 1

    def solves(self, chunk_blocks: int) -> int:
        """Count solves where each chunk of `chunk_blocks` blocks solves its own families."""
        cuts = self._starts[chunk_blocks:-1:chunk_blocks]
        between_families = np.isin(cuts, self.offsets).sum()
        return self.families + len(cuts) - int(between_families)

    def block_table(self) -> Indices:
        """Return each block's first cell, first family and the family after its last: (B, 3)."""
        starts, ends = self._starts[:-1], self._starts[1:]
        before = np.searchsorted(self.offsets, starts, "right") - 1
        return np.column_stack([starts, before, np.searchsorted(self.offsets, ends, "left")])


def windowed(plan: RaggedPlan, table: Indices, first_block: int, first_cell: int) -> Window:
    """Return the window that `plan` is, whose first cell is cell `first_cell` of the whole.

    `table` is that part of the whole's `block_table` which begins with block `first_block`.
    """
    before = int(plan.block_of(table[0, 0] - first_cell))
    cut = plan.block_table()[before:][: len(table), 0] + first_cell
    if not np.array_equal(cut, table[:, 0]):
        raise PlanError(
            f"a {plan.kind}'s plan is damaged: its files disagree about where blocks begin"
        )
    return Window(plan, first_block - before, first_cell)


def pack(numbers: NDArray[Any], dtype: str) -> bytes:
    """Lay out numbers as a file beside a plan."""
    return numbers.astype(dtype, copy=False).tobytes()


def kept(columns: Mapping[str, bytes], kind: str, name: str, dtype: str) -> NDArray[Any]:
    """Read a whole file beside the plan of that kind."""
    if name not in columns:
        raise PlanError(f"a {kind}'s plan must have its file {name}")
    size = np.dtype(dtype).itemsize
    if len(columns[name]) % size:
        raise _damaged(kind, name, f"must hold numbers of {size} bytes", columns[name])
    return _native(np.frombuffer(columns[name], dtype))


def part(read: Read, kind: str, name: str, dtype: str, first: int, end: int) -> NDArray[Any]:
    """Read the numbers `first` to before `end` of a file beside the plan of that kind."""
    size = np.dtype(dtype).itemsize
    data = read(name, int(first) * size, int(end) * size)
    if len(data) != (end - first) * size:
        raise _damaged(kind, name, f"must have numbers {first} to {end}", data)
    return _native(np.frombuffer(data, dtype))


def _damaged(kind: str, name: str, rule: str, data: bytes) -> PlanError:
    return PlanError(f"a {kind}'s plan is damaged: its file {name} {rule}, got {len(data)} bytes")


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
