"""What a worker in the cloud does of a run: plan its chunks, price one, sum up all of them.

Each can be done again, also at the same time, and leaves the same blocks and markers.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import marginals, pricing
from .blocks import blocks_named, decode_block
from .compiled import kernel_version
from .errors import PlanError
from .executors import check_kernels, price_blocks
from .plan import Chunks, GridPlan, Plan, Window
from .stores import COMPLETE, INCOMPLETE, PLAN, SHORT_ID
from .summary import Summary, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from .stores import StoredRun
    from .stores.dynamodb import DynamoStore

    Columns = dict[str, NDArray[Any]]

MANIFEST = "manifest.json"
# What helps against a damaged plan; the store, where it sees the damage, says so itself.
AGAIN = "delete the run and submit it again"
# Blocks of 64 KB that are written together, while as many are priced: what bounds memory.
WRITE_BLOCKS = 100
# Blocks that are summed up together: what a core's cache holds.
MARGINAL_BLOCKS = 8
# Chunks that the summary names: an item holds 400 KB.
MOST_MISSING = 100


def plan_run(store: DynamoStore, run_id: str) -> dict[str, Any]:
    """Check a run's plan and write a manifest of the chunks that are not done; say where it is."""
    head = store.run(run_id)
    window = _window(store, head, range(head.blocks - 1, head.blocks))
    if window.first_block + window.plan.blocks != head.blocks:
        raise PlanError(
            f"run {run_id[:SHORT_ID]}: must have {head.blocks} blocks, its plan has"
            f" {window.first_block + window.plan.blocks}; {AGAIN}"
        )
    store.clear_reasons(run_id)
    queued_at = _now()
    items = [
        {"run": run_id, "first": blocks.start, "end": blocks.stop, "queued": queued_at}
        for blocks in _not_done(head, store.markers(run_id))
    ]
    key = store.write(run_id, MANIFEST, json.dumps(items).encode())
    return {"run": run_id, "bucket": store.bucket, "key": key, "chunks": len(items)}


def price_chunk(
    store: DynamoStore, run_id: str, first: int, end: int, *, usage: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Price the chunk of blocks `first` to `end` and store it, unless that has been done before.

    `usage` is kept with the times and the write units that it took.
    """
    started_at, started, units = _now(), time.perf_counter(), store.write_units
    head = store.run(run_id)
    chunk = first // head.chunk_blocks
    blocks = range(first, end)
    chunks = Chunks(head.blocks, head.chunk_blocks)
    if chunk >= len(chunks) or blocks != chunks[chunk]:
        raise PlanError(
            f"run {run_id[:SHORT_ID]}: has no chunk of {blocks_named(first, end)}; it was deleted"
            " and submitted again meanwhile"
        )
    done = store.marker(run_id, chunk)
    if done is not None:
        return {"chunk": chunk, "cells": done["cells"], "priced": 0}
    window = _window(store, head, blocks)
    shift = window.first_block
    along_axes = _AlongAxes(window.plan, first - shift)
    with _writing(store, run_id) as (write, writes_s):

        def keep(block: int, data: bytes) -> None:
            write(block + shift, data)
            along_axes.add(data)

        part = range(first - shift, end - shift)
        summary, kernel_s = price_blocks(window.plan, part, pricing.price_chunk, keep)
    done_at = _now()
    spent = {
        "started_at": started_at,
        "kernel_ms": round(1_000 * kernel_s, 1),
        "write_ms": round(1_000 * sum(writes_s), 1),
        "freed_at": done_at,
        "done_at": done_at,
        "handler_ms": round(1_000 * (time.perf_counter() - started)),
        "write_units": store.write_units - units,
    }
    store.put_marker(
        run_id,
        chunk,
        _numbered(summary, window.first_cell).to_json(),
        axes=along_axes.packed(),
        usage={**(usage or {}), **spent},
    )
    return {"chunk": chunk, "cells": summary.cells, "priced": summary.cells} | spent


def finish_run(store: DynamoStore, run_id: str) -> dict[str, Any]:
    """Sum up the chunks that are done into one item and say what is missing; reads no block."""
    head = store.run(run_id)
    markers = store.markers(run_id)
    total = merge(map(Summary.from_json, markers.values()))
    missing = [blocks_named(blocks.start, blocks.stop) for blocks in _not_done(head, markers)]
    named = missing[:MOST_MISSING]
    if len(missing) > len(named):
        named.append(f"and {len(missing) - len(named)} more")
    state = INCOMPLETE if missing else COMPLETE
    counts = {"cells": head.cells, "done": total.cells, "ok": total.ok}
    document = {
        "state": state,
        **counts,
        "failures": total.to_json()["failures"],
        "measures": {name: spread.shown() for name, spread in total.measures.items()},
        "axes": _axis_means(store, head, markers),
        "missing": named,
        "finished_at": datetime.now(UTC).isoformat(),
    }
    if total.inversions is not None:
        document["inversions"] = total.inversions
    store.put_summary(run_id, document)
    return {"run": run_id, "state": state, "missing": len(missing), **counts}


def _now() -> float:
    """Return the time in epoch seconds, to the millisecond."""
    return round(time.time(), 3)


def _not_done(head: StoredRun, markers: Collection[int]) -> Iterator[range]:
    """Yield the blocks of each chunk without a marker."""
    chunks = enumerate(Chunks(head.blocks, head.chunk_blocks))
    return (blocks for chunk, blocks in chunks if chunk not in markers)


@lru_cache(maxsize=8)
def _plan_text(store: DynamoStore, run_id: str) -> str:
    """Read the file that describes a run's plan, once: equal run, equal plan."""
    try:
        return store.read(run_id, PLAN).decode()
    except UnicodeDecodeError as error:
        raise PlanError(f"run {run_id[:SHORT_ID]}: its plan must be UTF-8: {error}") from None


def _window(store: DynamoStore, head: StoredRun, blocks: range) -> Window:
    """Return so much of a run's plan as these blocks need, of these very kernels."""
    run_id = head.run_id
    text = _plan_text(store, run_id)

    def read(name: str, first: int, end: int) -> bytes:
        return store.read(run_id, name, first, end)

    try:
        window = Plan.window(text, read, blocks.start, blocks.stop)
        _check_id(window.plan, run_id)
    except PlanError as error:
        # Submitted again, the run has another file.
        _plan_text.cache_clear()
        if AGAIN in str(error):
            raise
        raise PlanError(f"run {run_id[:SHORT_ID]}: {error}; {AGAIN}") from error
    fix = "deploy again with the version that submits"
    check_kernels(window.plan, kernel_version(), "this image", fix)
    return window


def _check_id(plan: Plan, run_id: str) -> None:
    if plan.run_id != run_id:
        raise PlanError(f"its plan is that of run {plan.run_id[:SHORT_ID]}")


def _numbered(summary: Summary, first_cell: int) -> Summary:
    """Let a summary of a window name cells by their numbers in the whole."""
    failures = (replace(f, cell=f.cell + first_cell) for f in summary.failures)
    return replace(summary, failures=tuple(failures))


@contextmanager
def _writing(
    store: DynamoStore, run_id: str
) -> Iterator[tuple[Callable[[int, bytes], None], list[float]]]:
    """Yield what takes blocks; a thread writes them while the next are priced.

    Beside it come the seconds of each write, as it ends.
    """
    batch: list[tuple[int, bytes]] = []
    writes_s: list[float] = []

    def put(blocks: list[tuple[int, bytes]]) -> None:
        started = time.perf_counter()
        store.put_blocks(run_id, blocks)
        writes_s.append(time.perf_counter() - started)

    with ThreadPoolExecutor(1) as thread:
        going: Future[None] = thread.submit(lambda: None)

        def hand_over() -> None:
            nonlocal batch, going
            going.result()
            going = thread.submit(put, batch)
            batch = []

        def take(block: int, data: bytes) -> None:
            batch.append((block, data))
            if len(batch) == WRITE_BLOCKS:
                hand_over()

        yield take, writes_s
        hand_over()
        going.result()


class _AlongAxes:
    """Sums up the blocks of a grid along its axes as they come, the first of them `block`."""

    def __init__(self, plan: Plan, block: int) -> None:
        self.plan = plan
        self.first = plan.block_range(block)[0]
        self.waiting: list[Columns] = []
        self.totals: list[marginals.Floats] = []

    def add(self, data: bytes) -> None:
        """Take the next block."""
        if isinstance(self.plan, GridPlan):
            self.waiting.append(decode_block(data, self.plan.measures))
            if len(self.waiting) == MARGINAL_BLOCKS:
                self._sum_up(self.plan)

    def packed(self) -> bytes:
        """Return what all blocks came to; nothing for a book."""
        if not isinstance(self.plan, GridPlan):
            return b""
        if self.waiting:
            self._sum_up(self.plan)
        return marginals.pack(marginals.merge(self.totals))

    def _sum_up(self, plan: GridPlan) -> None:
        totals = marginals.marginals(plan.axes, plan.measures, self.first, self.waiting)
        self.first += sum(len(columns["status"]) for columns in self.waiting)
        self.totals.append(totals)
        self.waiting = []


def _axis_means(store: DynamoStore, head: StoredRun, done: Collection[int]) -> dict[str, Any]:
    """Return the means of the chunks that are done along each axis of a grid; none for a book."""
    plan = _window(store, head, range(1)).plan
    if not isinstance(plan, GridPlan):
        return {}
    along_axes = {
        chunk: marginals.unpack(data, plan.axes, plan.measures)
        for chunk, data in store.axes(head.run_id)
        if chunk in done
    }
    # Chunks that a process priced into the table have none: the means would be those of the rest.
    if not done or len(along_axes) < len(done):
        return {}
    return marginals.means(plan.axes, plan.measures, marginals.merge(along_axes.values()))
