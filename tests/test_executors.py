"""One suite that every executor passes, then what is the local one's own."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer.blocks import decode_block
from pricer.errors import SpecError, StoreError
from pricer.executors import price_blocks
from pricer.executors.local import LocalExecutor
from pricer.grid import Axis, Grid
from pricer.plan import Plan
from pricer.settings import Settings
from pricer.stores import StoredRun
from pricer.stores.memory import MemoryStore
from pricer.summary import Summary, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pricer.executors import Executor, PriceChunk

GRID = Grid(
    axes=(
        Axis("spot", tuple(np.linspace(80.0, 120.0, 40))),
        Axis("strike", tuple(np.linspace(70.0, 130.0, 50))),
        Axis("vol", (0.1, 0.2, 0.3, 0.4)),
        Axis("rate", (0.0, 0.05)),
    ),
    fixed={"right": "put", "expiry": 1.0},
    settings=Settings(measures=("price", "delta")),
)
PLAN = Plan.of(GRID, "kernel")
CHUNK_BLOCKS = 2


def formula(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
    """Stand in for the kernels: values that tell every cell from every other."""
    for block in range(first, end):
        cells, _ = plan.cells_at(*plan.block_range(block))
        price = cells.spot - 2 * cells.strike + 1e3 * cells.vol + 1e5 * cells.rate
        status = np.zeros(len(cells), dtype=np.uint8)
        yield block, SimpleNamespace(price=price, delta=-price, error=price * 1e-9, status=status)


def no_wake() -> None:
    """Have nothing to do when woken."""


@pytest.fixture(params=[1, 3])
def executor_of(request: pytest.FixtureRequest) -> Callable[[PriceChunk], Executor]:
    return lambda price_chunk: LocalExecutor(request.param, price_chunk)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def run(store: MemoryStore) -> StoredRun:
    head = StoredRun(PLAN.run_id, "", PLAN.cells, PLAN.blocks, CHUNK_BLOCKS, "2026")
    return store.create(head, {})


def stored_blocks(store: MemoryStore) -> dict[int, bytes]:
    return dict(store.blocks(PLAN.run_id, range(PLAN.blocks)))


def test_the_plan_of_these_tests_has_blocks_that_are_parts_and_a_last_chunk_that_is_short() -> None:
    assert PLAN.blocks == 8
    assert PLAN.cells == 16_000


# --- what every executor promises ---


def test_every_block_and_every_marker_is_stored(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    executor_of(formula).execute(PLAN, run, store, no_wake)
    expected = {
        block: np.concatenate([p.price, p.delta]) for block, p in formula(PLAN, 0, PLAN.blocks)
    }
    blocks = stored_blocks(store)
    assert list(blocks) == list(range(PLAN.blocks))
    for block, data in blocks.items():
        decoded = decode_block(data, PLAN.measures)
        got = np.concatenate([decoded["price"], decoded["delta"]])
        np.testing.assert_array_equal(got, expected[block])
    assert list(store.markers(run.run_id)) == list(range(run.chunks))


def test_markers_sum_up_to_the_run(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    executor_of(formula).execute(PLAN, run, store, no_wake)
    total = merge(map(Summary.from_json, store.markers(run.run_id).values()))
    prices = np.concatenate([p.price for _, p in formula(PLAN, 0, PLAN.blocks)])
    assert (total.cells, total.ok) == (PLAN.cells, PLAN.cells)
    assert total.measures["price"].min == prices.min()
    assert total.measures["price"].mean == pytest.approx(prices.mean(), rel=1e-12)


def test_only_chunks_without_a_marker_are_priced(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    priced: list[int] = []

    def noted(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        for block, prices in formula(plan, first, end):
            priced.append(block)
            yield block, prices

    for chunk in (0, 2):
        store.put_marker(run.run_id, chunk, {})
    executor_of(noted).execute(PLAN, run, store, no_wake)
    assert sorted(priced) == [2, 3, 6, 7]
    executor_of(noted).execute(PLAN, run, store, no_wake)
    assert len(priced) == 4


def test_a_marker_is_never_stored_before_the_blocks_of_its_chunk(
    executor_of: Callable[[PriceChunk], Executor], run: StoredRun, store: MemoryStore
) -> None:
    class Watched(MemoryStore):
        def put_marker(self, run_id: str, chunk: int, summary: Any, **named: Any) -> None:
            blocks = PLAN.chunks(CHUNK_BLOCKS)[chunk]
            assert len(list(self.blocks(run_id, blocks))) == len(blocks)
            super().put_marker(run_id, chunk, summary, **named)

    watched = Watched()
    watched.create(run, {})
    executor_of(formula).execute(PLAN, run, watched, no_wake)
    assert len(watched.markers(run.run_id)) == run.chunks


def test_what_goes_wrong_in_pricing_is_raised_and_finished_chunks_are_kept(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    def failing(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        if first == 4:
            while len(store.markers(run.run_id)) < 2:
                time.sleep(0.01)
            raise ZeroDivisionError("in the kernel")
        yield from formula(plan, first, end)

    with pytest.raises(ZeroDivisionError, match="in the kernel"):
        executor_of(failing).execute(PLAN, run, store, no_wake)
    markers = store.markers(run.run_id)
    assert {0, 1} <= set(markers)
    assert 2 not in markers
    executor_of(formula).execute(PLAN, run, store, no_wake)
    assert len(store.markers(run.run_id)) == run.chunks


def test_a_store_that_fails_ends_the_work_with_its_own_error(
    executor_of: Callable[[PriceChunk], Executor], run: StoredRun
) -> None:
    class Full(MemoryStore):
        def put_blocks(self, run_id: str, blocks: Sequence[tuple[int, bytes]]) -> None:
            raise StoreError("the disk is full")

    full = Full()
    full.create(run, {})
    with pytest.raises(StoreError, match="the disk is full"):
        executor_of(formula).execute(PLAN, run, full, no_wake)
    assert full.markers(run.run_id) == {}


def test_an_interrupt_ends_the_work_promptly_though_every_worker_is_busy(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    release = threading.Event()

    def endless(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        release.wait(30)
        yield from formula(plan, first, end)

    def interrupt() -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        executor_of(endless).execute(PLAN, run, store, interrupt)
    assert time.monotonic() - started < 5
    release.set()
    time.sleep(0.1)
    assert stored_blocks(store) == {}


def test_the_caller_is_woken_while_work_goes_on(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    woken = threading.Event()

    def waiting(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        assert woken.wait(30)
        yield from formula(plan, first, end)

    executor_of(waiting).execute(PLAN, run, store, woken.set)
    assert len(store.markers(run.run_id)) == run.chunks


def test_every_marker_says_who_priced_its_chunk_and_when(
    executor_of: Callable[[PriceChunk], Executor], store: MemoryStore, run: StoredRun
) -> None:
    before = time.time()
    executor_of(formula).execute(PLAN, run, store, no_wake)
    after = time.time()
    usages = store.usages(run.run_id)
    assert list(usages) == list(range(run.chunks))
    for usage in usages.values():
        times = [usage[name] for name in ("queued_at", "started_at", "freed_at", "done_at")]
        assert [before, *times, after] == sorted([before, *times, after])
        assert 0 < usage["kernel_ms"] <= 1_000 * (usage["freed_at"] - usage["started_at"])
        assert usage["write_ms"] > 0
        assert usage["attempt"] == 1
        assert ("init_s" in usage) == usage["cold"]
    cold = [usage["worker"] for usage in usages.values() if usage["cold"]]
    assert sorted(cold) == sorted({usage["worker"] for usage in usages.values()})


# --- the work on one chunk ---


def test_a_chunk_hands_its_blocks_on_one_by_one() -> None:
    """Memory is bounded by a block, not by a chunk: nothing is priced ahead of what is kept."""
    events: list[tuple[str, int]] = []

    def noted(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        for block, prices in formula(plan, first, end):
            events.append(("priced", block))
            yield block, prices

    summary, kernel_s = price_blocks(
        PLAN, range(2, 5), noted, lambda block, _: events.append(("kept", block))
    )
    assert events == [(what, block) for block in (2, 3, 4) for what in ("priced", "kept")]
    assert kernel_s > 0
    assert summary.cells == sum(np.diff(PLAN.block_range(block))[0] for block in (2, 3, 4))


def test_the_seconds_of_the_kernels_are_without_what_becomes_of_the_blocks() -> None:
    def slow(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        for block, prices in formula(plan, first, end):
            time.sleep(0.01)
            yield block, prices

    _, kernel_s = price_blocks(PLAN, range(2, 5), slow, lambda *_: time.sleep(0.1))
    assert 0.03 <= kernel_s < 0.2


# --- what is the local executor's own ---


def test_workers_wait_for_the_writer_rather_than_fill_memory(run: StoredRun) -> None:
    ahead: list[int] = []
    priced = 0

    def counted(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        nonlocal priced
        for block, prices in formula(plan, first, end):
            priced += 1
            yield block, prices

    class Slow(MemoryStore):
        written = 0

        def put_blocks(self, run_id: str, blocks: Sequence[tuple[int, bytes]]) -> None:
            time.sleep(0.02)
            ahead.append(priced - self.written)
            self.written += len(blocks)
            super().put_blocks(run_id, blocks)

    wide = Grid(
        axes=(
            Axis("strike", tuple(np.arange(1.0, 501.0))),
            Axis("vol", tuple(np.arange(1.0, 3001.0))),
        ),
        fixed={"right": "put", "expiry": 1.0, "spot": 1.0, "rate": 0.0},
        settings=Settings(measures=("price", "delta")),
    )
    plan = Plan.of(wide, "kernel")
    assert plan.blocks > 500
    slow = Slow()
    slow.create(StoredRun(plan.run_id, "", plan.cells, plan.blocks, 50, "2026"), {})
    LocalExecutor(2, counted).execute(plan, slow.run(plan.run_id), slow, no_wake)
    assert slow.written == plan.blocks
    # 64 to a transaction, 128 waiting, and one in the hands of each worker.
    assert max(ahead) <= 64 + 128 + 2 + 1


def test_the_number_of_workers_is_given_or_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRICER_WORKERS", "3")
    assert LocalExecutor().workers == 3
    assert LocalExecutor(5).workers == 5
    with pytest.raises(SpecError, match="workers: must be a whole number from 1 to 256, got 0"):
        LocalExecutor(0)
