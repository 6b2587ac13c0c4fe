"""Who does the work: the promise every executor keeps, and the work on one chunk."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from pricer.blocks import encode_block
from pricer.plan import BookPlan
from pricer.summary import merge, summarise_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pricer.blocks import Priced
    from pricer.plan import Plan
    from pricer.stores import Store, StoredRun
    from pricer.summary import Summary

    PriceChunk = Callable[[Plan, int, int], Iterator[tuple[int, Priced]]]


# Blocks that are summarised together: a megabyte.
SUMMARY_BLOCKS = 16


class Executor(Protocol):
    """Prices what a run lacks: every chunk without a marker, and no other.

    Blocks go to the store as they are priced, a chunk's marker after the last of them. How far
    it is, one asks the store.
    """

    @property
    def workers(self) -> int:
        """How many chunks it prices at once."""

    def own(self, run: StoredRun, store: Store) -> AbstractContextManager[bool]:
        """Own the pricing of a run while the context lasts; yields False where another does."""

    def execute(self, plan: Plan, run: StoredRun, store: Store, wake: Callable[[], None]) -> None:
        """Return when every chunk is done; call `wake` some times a second meanwhile.

        What `wake` raises ends the work, promptly; so does an interrupt of the main thread. What
        is done by then is kept.
        """


def price_blocks(
    plan: Plan, chunk: range, price_chunk: PriceChunk, keep: Callable[[int, bytes], None]
) -> tuple[Summary, float]:
    """Price the blocks of a chunk, hand each to `keep` as it is done, and summarise them all.

    Returns the summary and the seconds that pricing took, without what became of the blocks.
    """
    summaries: list[Summary] = []
    waiting: list[Priced] = []
    first = plan.block_range(chunk.start)[0]
    kernel_s, since = 0.0, time.perf_counter()
    for block, prices in price_chunk(plan, chunk.start, chunk.stop):
        kernel_s += time.perf_counter() - since
        keep(block, encode_block(prices, plan.measures))
        waiting.append(prices)
        if len(waiting) == SUMMARY_BLOCKS or block == chunk.stop - 1:
            summary = summarise_parts(waiting, plan.measures, first, plan.cells_of)
            if isinstance(plan, BookPlan):
                summary = _with_rows(summary, plan)
            summaries.append(summary)
            first += summary.cells
            waiting = []
        since = time.perf_counter()
    return merge(summaries), kernel_s


def _with_rows(summary: Summary, plan: BookPlan) -> Summary:
    """Let the examples of a book say which row they are, counted from 1."""
    failures = (
        replace(failure, example={"row": int(plan.order[failure.cell]) + 1, **failure.example})
        for failure in summary.failures
    )
    return replace(summary, failures=tuple(failures))
