"""A book's plan: its rows sorted by family."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.book import Book, pack_texts, table_of, unpack_texts
from pricer.cells import CURVE_COLUMNS, Cells
from pricer.claims import dated, paid_cash
from pricer.contracts import NUMBERS, TABLES, WORDS
from pricer.errors import PlanError
from pricer.families import Families, families_of
from pricer.settings import Settings

from .base import Plan, Window, part_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pricer.book import Texts

    from .base import Read

    Indices = NDArray[np.int64]

# How the files are laid out that a store keeps beside a plan, but for texts.
TYPES = {
    **dict.fromkeys(WORDS, "<i1"),
    **dict.fromkeys(NUMBERS, "<f8"),
    **dict.fromkeys((*TABLES, *CURVE_COLUMNS), "<i4"),
    **dict.fromkeys(("order", "family_offsets", "blocks"), "<i8"),
}


@dataclass(frozen=True, eq=False)
class BookPlan(Plan):
    """A book's plan: its rows sorted by family.

    Cell i is row `order[i]` (from 0) of the book; `offsets` (F + 1,) delimits the families. In a
    window, rows are still those of the whole book, and `spec` holds its cells in their own order.
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
            step = part_cells(last - first, self.block_cells)
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
        cells = self.sorted_cells
        keys = ["right", "exercise", "vol", "rate", "dividend_yield"]
        if cells.type.any():
            keys[:2] = ["words"]
            keys.append("barriers and payments as multiples of the strike")
        keys += [name for name in TABLES if name in cells.columns]
        said = [f"rows with equal {', '.join(keys[:-1])} and {keys[-1]} share one solve"]
        if dated(cells).any():
            said.append("with dates or curves also equal expiry")
        if paid_cash(cells).any():
            said.append("with cash dividends also equal strike")
        return "; ".join(said)

    def columns(self) -> dict[str, bytes]:
        """Return the sorted inputs, the permutation, where families and blocks are, the texts."""
        inputs = self.sorted_cells.columns
        columns = {name: _little_endian(column).tobytes() for name, column in inputs.items()}
        columns["order"] = _little_endian(self.order).tobytes()
        columns["family_offsets"] = _little_endian(self.offsets).tobytes()
        columns["blocks"] = _little_endian(self._block_table()).tobytes()
        return columns | {
            f"text:{name}": pack_texts(texts) for name, texts in self.spec.texts.items()
        }

    def _block_table(self) -> Indices:
        """Return each block's first cell, first family and the family after its last: (B, 3)."""
        starts, ends = self._starts[:-1], self._starts[1:]
        before = np.searchsorted(self.offsets, starts, "right") - 1
        return np.column_stack([starts, before, np.searchsorted(self.offsets, ends, "left")])


def stored(document: Mapping[str, Any], columns: Mapping[str, bytes]) -> BookPlan:
    """Rebuild a plan from what `to_json` described and `columns` returned."""

    def column(name: str) -> NDArray[Any]:
        if name not in columns:
            raise PlanError(f"a book's plan must have its file {name}")
        dtype = np.dtype(TYPES[name])
        if len(columns[name]) % dtype.itemsize:
            raise _damaged(name, f"must hold numbers of {dtype.itemsize} bytes", columns[name])
        return _native(np.frombuffer(columns[name], dtype))

    order = column("order")
    cells = _cells(document, column)
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    texts = {
        name: unpack_texts(columns[f"text:{name}"])
        for name in document["spec"]["columns"]
        if f"text:{name}" in columns
    }
    book = _book(document, cells[rows], texts)
    offsets = column("family_offsets")
    return BookPlan(book, *_rest(document), order, cells, offsets, as_of=_as_of(document))


def window(document: Mapping[str, Any], read: Read, first_block: int, end_block: int) -> Window:
    """Plan the families that some blocks touch as a book of their own.

    Blocks are cut from a family's start on, so that those of the window are those of the whole.
    """

    def column(name: str, first: int, end: int) -> NDArray[Any]:
        dtype = np.dtype(TYPES[name])
        data = read(name, first * dtype.itemsize, end * dtype.itemsize)
        if len(data) != (end - first) * dtype.itemsize:
            raise _damaged(name, f"must have numbers {first} to {end}", data)
        return _native(np.frombuffer(data, dtype))

    table = column("blocks", 3 * first_block, 3 * end_block).reshape(-1, 3)
    offsets = column("family_offsets", table[0, 1], table[-1, 2] + 1)
    first, end = offsets[[0, -1]].tolist()
    cells = _cells(document, lambda name: column(name, first, end))
    order = column("order", first, end)
    book = _book(document, cells, {})
    offsets = offsets - first
    plan = BookPlan(book, *_rest(document), order, cells, offsets, as_of=_as_of(document))
    before = int(plan.block_of(table[0, 0] - first))
    if not np.array_equal(plan._block_table()[before:][: len(table), 0] + first, table[:, 0]):
        raise PlanError("a book's plan is damaged: its files blocks and family_offsets disagree")
    return Window(plan, first_block - before, first)


def _cells(document: Mapping[str, Any], column: Callable[[str], NDArray[Any]]) -> Cells:
    spec = document["spec"]
    columns = {name: column(name) for name in spec["inputs"]}
    return Cells(columns, tuple(map(table_of, spec["tables"])))


def _book(document: Mapping[str, Any], cells: Cells, texts: Mapping[str, Texts]) -> Book:
    spec = document["spec"]
    day = spec["valuation_date"]
    return Book(
        cells=cells,
        texts=texts,
        columns=tuple(spec["columns"]),
        name=document["name"],
        valuation_date=date.fromisoformat(day) if day else None,
        settings=Settings.of_identity(spec),
    )


def _rest(document: Mapping[str, Any]) -> tuple[str, str, int]:
    return document["kernel_version"], document["run_id"], document["block_cells"]


def _as_of(document: Mapping[str, Any]) -> str:
    as_of: str = document.get("as_of", "")
    return as_of


def _damaged(name: str, rule: str, data: bytes) -> PlanError:
    return PlanError(f"a book's plan is damaged: its file {name} {rule}, got {len(data)} bytes")


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
