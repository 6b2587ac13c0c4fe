"""Which solves are shared, how cells are cut into blocks, and what a run is called.

A family is the set of cells that one solve prices. Cells are numbered 0..n-1, family after
family, and decoded from their number; those of a grid are never expanded.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from math import lcm, prod
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .blocks import BLOCK_BYTES, cell_bytes
from .book import Book, pack_texts, unpack_texts
from .contracts import INPUTS, WORDS, Cells, Families, families_of, sort_by_family
from .errors import StoreError
from .grid import Axis, Grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

FAMILY_KEYS = ("right", "exercise", "vol", "rate", "dividend_yield")
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Chunks(Sequence[range]):
    """Ranges of blocks, `size` blocks each, the last perhaps fewer; none is expanded."""

    blocks: int
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a chunk must have at least one block, got {self.size}")

    def __len__(self) -> int:
        """Return the number of chunks."""
        return -(-self.blocks // self.size)

    @overload
    def __getitem__(self, index: int) -> range: ...
    @overload
    def __getitem__(self, index: slice) -> list[range]: ...
    def __getitem__(self, index: int | slice) -> range | list[range]:
        """Return the blocks of one chunk."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        first = range(len(self))[index] * self.size
        return range(first, min(first + self.size, self.blocks))


@dataclass(frozen=True, eq=False)
class Plan(ABC):
    """How a grid or a book is priced and stored: its families, blocks and id.

    `block_cells` is the number of cells that a block holds at most.
    """

    spec: Grid | Book
    kernel_version: str
    run_id: str
    block_cells: int

    @staticmethod
    def of(spec: Grid | Book, kernel_version: str) -> Plan:
        """Plan `spec` for the kernel of that version."""
        identity = spec.identity()
        run_id = _digest(identity | {"kernel": kernel_version})
        block_cells = BLOCK_BYTES // cell_bytes(spec.measures)
        if isinstance(spec, Grid):
            return GridPlan(spec, kernel_version, run_id, block_cells)
        order, offsets = sort_by_family(spec.cells)
        return BookPlan(
            spec, kernel_version, run_id, block_cells, order, spec.cells[order], offsets
        )

    @staticmethod
    def from_json(text: str, columns: Mapping[str, bytes] | None = None) -> Plan:
        """Rebuild the plan that `to_json` and `columns` described."""
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise StoreError(
                f"a plan must be of format {FORMAT}, got {document['format']};"
                " another version of pricer wrote it"
            )
        rest = (document["kernel_version"], document["run_id"], document["block_cells"])
        if document["kind"] == "grid":
            return GridPlan(Grid.of_identity(document["spec"], document["name"]), *rest)
        return _stored_book(document, columns or {}, rest)

    def to_json(self) -> str:
        """Describe the plan, but for `columns`, so that any process can rebuild it exactly."""
        document = {
            "format": FORMAT,
            "kind": "grid" if isinstance(self.spec, Grid) else "book",
            "name": self.spec.name,
            "spec": self.spec.identity(),
            "run_id": self.run_id,
            "kernel_version": self.kernel_version,
            "block_cells": self.block_cells,
        }
        return _canonical(document)

    def columns(self) -> dict[str, bytes]:
        """Return what of a book a store keeps beside `to_json`; nothing for a grid."""
        return {}

    @property
    def method(self) -> str:
        """How cells are priced."""
        return self.spec.method

    @property
    def tolerance(self) -> float:
        """The largest error allowed per unit of strike."""
        return self.spec.tolerance

    @property
    def measures(self) -> tuple[str, ...]:
        """What is computed of each cell."""
        return self.spec.measures

    @property
    def cell_bytes(self) -> int:
        """The stored size of one cell."""
        return cell_bytes(self.measures)

    @property
    def stored_bytes(self) -> int:
        """The size of all blocks."""
        return self.cells * self.cell_bytes

    @property
    @abstractmethod
    def cells(self) -> int:
        """The number of cells."""

    @property
    @abstractmethod
    def families(self) -> int:
        """The number of families."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """The number of blocks."""

    @abstractmethod
    def block_range(self, block: int) -> tuple[int, int]:
        """Return the first cell of `block` and the cell after its last."""

    @abstractmethod
    def family_range(self, block: int) -> tuple[int, int]:
        """Return the first family that `block` touches and the family after its last."""

    @abstractmethod
    def block_of(self, cells: Indices) -> Indices:
        """Return the block of each cell."""

    @abstractmethod
    def families_at(self, first: int, end: int) -> Families:
        """Describe the families `first` to `end` as the whole file defines them."""

    @abstractmethod
    def cells_at(self, first: int, end: int) -> tuple[Cells, Indices]:
        """Return the cells `first` to `end`, and the offsets that delimit families in them."""

    @abstractmethod
    def cells_of(self, cells: Indices) -> Cells:
        """Return any cells by their numbers, shape (n,)."""

    @abstractmethod
    def solves(self, chunk_blocks: int) -> int:
        """Count solves where each chunk of `chunk_blocks` blocks solves its own families."""

    @abstractmethod
    def why(self) -> str:
        """Say in a line which inputs share a solve."""

    def chunks(self, chunk_blocks: int) -> Chunks:
        """Cut the blocks into chunks of `chunk_blocks`."""
        return Chunks(self.blocks, chunk_blocks)

    def _check_block(self, block: int) -> None:
        if not 0 <= block < self.blocks:
            raise IndexError(f"block must be below {self.blocks}, got {block}")


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
        return _part_cells(self.family_cells, self.block_cells)

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
        return Cells(**given)

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
            **given,
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


@dataclass(frozen=True, eq=False)
class BookPlan(Plan):
    """A book's plan: its rows sorted by family.

    Cell i is row `order[i]` (from 0) of the book; `offsets` (F + 1,) delimits the families.
    """

    spec: Book
    order: Indices = field(repr=False)
    sorted_cells: Cells = field(repr=False)
    offsets: Indices = field(repr=False)

    @property
    def cells(self) -> int:
        """The number of cells."""
        return len(self.spec)

    @property
    def families(self) -> int:
        """The number of families."""
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Indices:
        """The cell of each row: the inverse of `order`."""
        rows = np.empty_like(self.order)
        rows[self.order] = np.arange(len(rows))
        return rows

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
            step = _part_cells(last - first, self.block_cells)
            starts += [*range(first + step, last, step), last]
            family += 1
        return np.array(starts, dtype=np.int64)

    @cached_property
    def _described(self) -> Families:
        return families_of(self.sorted_cells, self.offsets)

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
        return self._families_between(*self.block_range(block))

    def _families_between(self, first: int, end: int) -> tuple[int, int]:
        before = np.searchsorted(self.offsets, first, "right") - 1
        return int(before), int(np.searchsorted(self.offsets, end, "left"))

    def block_of(self, cells: Indices) -> Indices:
        """Return the block of each cell."""
        return np.searchsorted(self._starts, cells, "right") - 1

    def families_at(self, first: int, end: int) -> Families:
        """Describe the families `first` to `end` as the whole file defines them."""
        return self._described[first:end]

    def cells_at(self, first: int, end: int) -> tuple[Cells, Indices]:
        """Return the cells `first` to `end`, and the offsets that delimit families in them."""
        family, last = self._families_between(first, end)
        offsets = self.offsets[family : last + 1].clip(first, end) - first
        return self.sorted_cells[first:end], offsets

    def cells_of(self, cells: Indices) -> Cells:
        """Return any cells by their numbers, shape (n,)."""
        return self.sorted_cells[cells]

    def solves(self, chunk_blocks: int) -> int:
        """Count solves where each chunk of `chunk_blocks` blocks solves its own families."""
        cuts = self._starts[chunk_blocks:-1:chunk_blocks]
        between_families = np.isin(cuts, self.offsets).sum()
        return self.families + len(cuts) - int(between_families)

    def why(self) -> str:
        """Say in a line which inputs share a solve."""
        return (
            f"rows with equal {', '.join(FAMILY_KEYS[:-1])} and {FAMILY_KEYS[-1]} share one solve"
        )

    def columns(self) -> dict[str, bytes]:
        """Return the sorted inputs, the permutation, the family offsets and the texts."""
        columns = {
            name: _little_endian(getattr(self.sorted_cells, name)).tobytes() for name in INPUTS
        }
        columns["order"] = _little_endian(self.order).tobytes()
        columns["family_offsets"] = _little_endian(self.offsets).tobytes()
        return columns | {
            f"text:{name}": pack_texts(texts) for name, texts in self.spec.texts.items()
        }


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


def _part_cells(family_cells: int, block_cells: int) -> int:
    parts = -(-family_cells // block_cells)
    return -(-family_cells // parts)


def _canonical(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _digest(document: object) -> str:
    return hashlib.sha256(_canonical(document).encode()).hexdigest()


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _stored_book(
    document: Mapping[str, Any], columns: Mapping[str, bytes], rest: tuple[str, str, int]
) -> BookPlan:
    spec = document["spec"]

    def column(name: str, dtype: str) -> NDArray[Any]:
        return np.frombuffer(columns[name], dtype).astype(dtype[1:], copy=False)

    order, offsets = column("order", "<i8"), column("family_offsets", "<i8")
    cells = Cells(**{name: column(name, "<i1" if name in WORDS else "<f8") for name in INPUTS})
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    day = spec["valuation_date"]
    book = Book(
        cells=cells[rows],
        texts={
            name: unpack_texts(columns[f"text:{name}"])
            for name in spec["columns"]
            if f"text:{name}" in columns
        },
        columns=tuple(spec["columns"]),
        name=document["name"],
        valuation_date=date.fromisoformat(day) if day else None,
        method=spec["method"],
        tolerance=float.fromhex(spec["tolerance"]),
        measures=tuple(spec["measures"]),
    )
    return BookPlan(book, *rest, order, cells, offsets)
