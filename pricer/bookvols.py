"""A book of quotes, and the vols that they imply: its rows, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import Column, read_numbers
from .implied import ImpliedStatus, imply_cells
from .selection import book_columns
from .settings import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .book import Book

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why quotes have no vol: the status and the words of the first such row, from 0."""

    status: str
    reason: str
    count: int
    row: int


@dataclass(frozen=True, slots=True)
class BookVols:
    """The rows of a book with the vols that their prices imply, and counts of them.

    `table` has the columns of the book with its vols in their place, status and reason.
    """

    table: dict[str, NDArray[Any]]
    implied: int
    reasons: tuple[Reason, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.table["status"])


def imply_book(
    book: Book, tolerance: float = DEFAULT_TOLERANCE, workers: int | None = None
) -> BookVols:
    """Find the vol of every row of a book of quotes, from its price or midway of bid and ask.

    Raises
    ------
    SpecError
        Where one of these cannot be read: names the row and column.
    """
    found = imply_cells(book.cells, _quotes(book), tolerance, workers)
    words = np.array([status.name for status in ImpliedStatus], dtype=object)[found.status]
    reasons = found.reasons()
    return BookVols(
        table=book_columns(book, slice(None))
        | {"vol": found.vol, "status": words, "reason": reasons},
        implied=int(np.isfinite(found.vol).sum()),
        reasons=tuple(
            Reason(
                status=status.name,
                reason=reasons[(rows := np.flatnonzero(found.status == status))[0]],
                count=len(rows),
                row=int(rows[0]),
            )
            for status in ImpliedStatus
            if status != ImpliedStatus.ok and (found.status == status).any()
        ),
    )


def _quotes(book: Book) -> Floats:
    """Return the price of every row, NaN where there is none."""
    if "price" in book.texts:
        return _numbers(book, "price")
    return 0.5 * (_numbers(book, "bid") + _numbers(book, "ask"))


def _numbers(book: Book, name: str) -> Floats:
    return read_numbers(Column(name, book.texts[name].tolist()))
