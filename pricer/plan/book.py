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
from pricer.families import Families, families_of
from pricer.settings import Settings

from .base import OptionPlan
from .ragged import RaggedPlan, kept, pack, part, windowed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pricer.book import Texts
    from pricer.panel import Read

    from .base import Window

    Indices = NDArray[np.int64]

# How the files are laid out that a store keeps beside a plan, but for texts.
TYPES = {
    **dict.fromkeys(WORDS, "<i1"),
    **dict.fromkeys(NUMBERS, "<f8"),
    **dict.fromkeys((*TABLES, *CURVE_COLUMNS), "<i4"),
    **dict.fromkeys(("order", "family_offsets", "blocks"), "<i8"),
}


@dataclass(frozen=True, eq=False)
class BookPlan(RaggedPlan, OptionPlan):
    """A book's plan: its rows sorted by family.

    Cell i is row `order[i]` (from 0) of the book. In a window, rows are still those of the whole
    book, and `spec` holds its cells in their own order.
    """

    kind = "book"

    spec: Book
    order: Indices = field(repr=False)
    sorted_cells: Cells = field(repr=False)

    @property
    def cells(self) -> int:
        """The number of cells."""
        return len(self.spec)

    @cached_property
    def rows(self) -> Indices:
        """The cell of each row: the inverse of `order`."""
        rows = np.empty_like(self.order)
        rows[self.order] = np.arange(len(rows))
        return rows

    @cached_property
    def _described(self) -> Families:
        return families_of(self.sorted_cells, self.offsets)

    def families_at(self, first: int, end: int) -> Families:
        """Describe the families `first` to `end` as the whole file defines them."""
        return self._described[first:end]

    def cells_at(self, first: int, end: int) -> tuple[Cells, Indices]:
        """Return the cells `first` to `end`, and the offsets that delimit families in them."""
        family, last = self.families_between(first, end)
        offsets = self.offsets[family : last + 1].clip(first, end) - first
        return self.sorted_cells[first:end], offsets

    def cells_of(self, cells: Indices) -> Cells:
        """Return any cells by their numbers, shape (n,)."""
        return self.sorted_cells[cells]

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
        own = {"order": self.order, "family_offsets": self.offsets, "blocks": self.block_table()}
        columns = {name: pack(column, TYPES[name]) for name, column in {**inputs, **own}.items()}
        return columns | {
            f"text:{name}": pack_texts(texts) for name, texts in self.spec.texts.items()
        }


def stored(document: Mapping[str, Any], columns: Mapping[str, bytes]) -> BookPlan:
    """Rebuild a plan from what `to_json` described and `columns` returned."""

    def column(name: str) -> NDArray[Any]:
        return kept(columns, "book", name, TYPES[name])

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
    return BookPlan(book, *_rest(document), offsets, order, cells, as_of=document["as_of"])


def window(document: Mapping[str, Any], read: Read, first_block: int, end_block: int) -> Window:
    """Plan the families that some blocks touch as a book of their own.

    Blocks are cut from a family's start on, so that those of the window are those of the whole.
    """

    def column(name: str, first: int, end: int) -> NDArray[Any]:
        return part(read, "book", name, TYPES[name], first, end)

    table = column("blocks", 3 * first_block, 3 * end_block).reshape(-1, 3)
    offsets = column("family_offsets", table[0, 1], table[-1, 2] + 1)
    first, end = offsets[[0, -1]].tolist()
    cells = _cells(document, lambda name: column(name, first, end))
    order = column("order", first, end)
    book, offsets = _book(document, cells, {}), offsets - first
    plan = BookPlan(book, *_rest(document), offsets, order, cells, as_of=document["as_of"])
    return windowed(plan, table, first_block, first)


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
