"""A book priced straight through, without a store: its rows, and what became of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import Column, parse_number, read_numbers
from .contracts import Status
from .errors import SpecError
from .pricing import price_cells
from .selection import book_columns
from .summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .book import Book
    from .prices import Prices
    from .summary import Failure

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BookPrices:
    """The rows of a book with their prices, and counts of them.

    `table` has the columns of the book, the measures, error, status, method and reason.
    `quoted` counts the priced rows with a bid and an ask, `inside` those whose price lies between
    the two; both are None where the book has no columns ``bid`` and ``ask``.
    """

    table: dict[str, NDArray[Any]]
    ok: int
    priced: int
    failures: tuple[Failure, ...]
    quoted: int | None
    inside: int | None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.table["status"])


def price_book(book: Book, workers: int | None = None) -> BookPrices:
    """Price every row of `book`; families are those of the whole book."""
    prices = price_cells(book.cells, book.settings, workers)
    summary = summarise(prices, (), 0, lambda rows: book.cells[rows])
    reasons = _reasons(book, prices, summary.failures)
    quoted, inside = _quoted(book, prices)
    return BookPrices(
        table=book_columns(book, slice(None)) | prices.columns() | {"reason": reasons},
        ok=summary.ok,
        priced=int(np.isfinite(prices.error).sum()),
        failures=summary.failures,
        quoted=quoted,
        inside=inside,
    )


def _reasons(book: Book, prices: Prices, failures: Iterable[Failure]) -> NDArray[np.object_]:
    by_status = {failure.status: failure.reason for failure in failures}
    reasons = np.full(len(book), "", dtype=object)
    for row in np.flatnonzero(prices.status != Status.ok).tolist():
        reasons[row] = book.cells.reason(row) or by_status[Status(int(prices.status[row])).name]
    return reasons


def _quoted(book: Book, prices: Prices) -> tuple[int | None, int | None]:
    """Count the priced rows with a bid and an ask, and those with the price between them."""
    if prices.price is None or not {"bid", "ask"} <= book.texts.keys():
        return None, None
    bid, ask = (_quotes(book.texts[name].tolist()) for name in ("bid", "ask"))
    quoted = np.isfinite(prices.price) & np.isfinite(bid) & np.isfinite(ask)
    inside = quoted & (bid <= prices.price) & (prices.price <= ask)
    return int(quoted.sum()), int(inside.sum())


def _quotes(texts: list[str]) -> Floats:
    """Read quotes, NaN where there is none: an odd one is no reason to refuse the book."""
    try:
        return read_numbers(Column("", texts))
    except SpecError:
        quotes = np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            with suppress(SpecError):
                quotes[row] = parse_number(text)
        return quotes
