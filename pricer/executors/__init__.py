"""Who does the work: the promise every executor keeps, and the work on one chunk."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

from pricer.blocks import encode_block
from pricer.errors import KernelError
from pricer.plan import BookPlan, OptionPlan, PanelPlan
from pricer.stores import SHORT_ID
from pricer.summary import merge, summarise_estimates, summarise_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pricer.blocks import Priced
    from pricer.merton import Estimates
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


def check_kernels(plan: Plan, version: str, where: str, fix: str) -> None:
    """Refuse kernels of another version than `plan` is of, those of `where`."""
    if plan.kernel_version != version:
        raise KernelError(
            f"run {plan.run_id[:SHORT_ID]}: needs kernels {plan.kernel_version[:SHORT_ID]}, {where}"
            f" has {version[:SHORT_ID]}; {fix}"
        )


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
            summary = _summarise(plan, waiting, first)
            summaries.append(summary)
            first += summary.cells
            waiting = []
        since = time.perf_counter()
    return merge(summaries), kernel_s


def _summarise(plan: Plan, parts: list[Priced], first: int) -> Summary:
    if isinstance(plan, PanelPlan):
        estimates = cast("list[Estimates]", parts)
        return summarise_estimates(estimates, plan.measures, first, plan.spec.called)
    assert isinstance(plan, OptionPlan)
    summary = summarise_parts(parts, plan.measures, first, plan.cells_of)
    return _with_rows(summary, plan) if isinstance(plan, BookPlan) else summary


def _with_rows(summary: Summary, plan: BookPlan) -> Summary:
    """Let the examples of a book say which row they are, counted from 1."""
    failures = (
        replace(failure, example={"row": int(plan.order[failure.cell]) + 1, **failure.example})
        for failure in summary.failures
    )
    return replace(summary, failures=tuple(failures))
