"""All the cores of this machine: threads that price (kernels release the GIL) and a writer."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any, TypeAlias

from pricer.compiled import check_workers
from pricer.engines import load
from pricer.pricing import price_chunk

from . import price_blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pricer.plan import Plan
    from pricer.stores import Store, StoredRun
    from pricer.summary import Summary

    from . import PriceChunk

    # A block with its number, a priced chunk with its number, or what went wrong.
    Content: TypeAlias = "bytes | _Done | BaseException"

# Blocks of 64 KB to a transaction: 4 MB are as fast to write as 40.
WRITE_BLOCKS = 64
# Blocks that wait for the writer: what bounds memory where the disk is slower than the workers.
QUEUE_BLOCKS = 128
WAKE_S = 0.1
STOP_S = 1.0

logger = logging.getLogger("pricer")


class LocalExecutor:
    """Prices on `workers` threads; the calling thread writes.

    `price` is what prices a range of blocks.
    """

    def __init__(self, workers: int | None = None, price: PriceChunk = price_chunk) -> None:
        self.workers = check_workers(workers)
        self.price = price

    def own(self, run: StoredRun, store: Store) -> AbstractContextManager[bool]:
        """Own the pricing of a run while the context lasts; yields False where another does."""
        return store.lock(run.run_id)

    def execute(self, plan: Plan, run: StoredRun, store: Store, wake: Callable[[], None]) -> None:
        """Return when every chunk of `run` is done; call `wake` some times a second meanwhile."""
        queued_at = time.time()
        done = store.markers(run.run_id)
        todo = deque(chunk for chunk in range(run.chunks) if chunk not in done)
        logger.info("chunks done before: %d, to do: %d", len(done), len(todo))
        if not todo:
            return
        # Here, where one thread runs: imports and compilers do not take turns.
        first = plan.family_range(0)
        load(plan.families_at(*first), plan.settings)
        work = _Work(plan, run, todo, self.price, queued_at)
        threads = [
            threading.Thread(target=work.run, name=f"pricer-{n}", daemon=True)
            for n in range(min(self.workers, len(todo)))
        ]
        expected = len(todo)
        for thread in threads:
            thread.start()
        try:
            _write(work.priced, run, expected, store, wake)
        finally:
            # A solve cannot be interrupted: who is in one finishes it as a daemon, to no effect.
            work.stop.set()
            for thread in threads:
                thread.join(STOP_S / len(threads))


class _Work:
    """What the workers share: the chunks to do, and what is priced and not yet written.

    The chunks have been there to be done since `queued_at`.
    """

    def __init__(
        self,
        plan: Plan,
        run: StoredRun,
        todo: deque[int],
        price: PriceChunk,
        queued_at: float,
    ) -> None:
        self.plan = plan
        self.chunks = plan.chunks(run.chunk_blocks)
        self.todo = todo
        self.price = price
        self.queued_at = queued_at
        self.init_s = time.time() - queued_at
        self.stop = threading.Event()
        self.priced: Queue[tuple[int, Content]] = Queue(QUEUE_BLOCKS)

    def run(self) -> None:
        """Price chunks until none is left."""
        usage: dict[str, Any] = {
            "worker": threading.current_thread().name,
            "attempt": 1,
            "queued_at": self.queued_at,
        }
        # Of a thread the first, which has waited for the kernels.
        start = {"cold": True, "init_s": self.init_s}
        try:
            while not self.stop.is_set():
                try:
                    chunk = self.todo.popleft()
                except IndexError:
                    return
                blocks = self.chunks[chunk]
                started = time.time()
                summary, kernel_s = price_blocks(self.plan, blocks, self.price, self._offer)
                freed = time.time()
                logger.debug("chunk %d: %d cells in %.3f s", chunk, summary.cells, freed - started)
                times = {"started_at": started, "freed_at": freed, "kernel_ms": 1_000 * kernel_s}
                self._offer(chunk, _Done(summary, usage | start | times))
                start = {"cold": False}
        except _StoppedError:
            pass
        except BaseException as error:
            with suppress(_StoppedError):
                self._offer(-1, error)

    def _offer(self, number: int, content: Content) -> None:
        while not self.stop.is_set():
            try:
                self.priced.put((number, content), timeout=WAKE_S)
            except Full:
                continue
            return
        raise _StoppedError


@dataclass(frozen=True, slots=True)
class _Done:
    """A chunk that is priced: what it came to and what that took."""

    summary: Summary
    usage: dict[str, Any]


class _StoppedError(Exception):
    """Nobody wants what this worker prices any more."""


def _write(
    priced: Queue[tuple[int, Content]],
    run: StoredRun,
    chunks: int,
    store: Store,
    wake: Callable[[], None],
) -> None:
    """Write what comes until `chunks` chunks are complete."""
    blocks: list[tuple[int, bytes]] = []
    write_s: dict[int, float] = defaultdict(float)
    while chunks:
        wake()
        try:
            number, content = priced.get(timeout=WAKE_S)
        except Empty:
            continue
        if isinstance(content, BaseException):
            raise content
        if isinstance(content, bytes):
            blocks.append((number, content))
            if len(blocks) < WRITE_BLOCKS:
                continue
        if blocks:
            started = time.perf_counter()
            store.put_blocks(run.run_id, blocks)
            # Chunks that are written together share the time, block by block.
            each_s = (time.perf_counter() - started) / len(blocks)
            for block, _ in blocks:
                write_s[block // run.chunk_blocks] += each_s
            blocks = []
        if not isinstance(content, bytes):
            # The blocks of its chunk came before it: they are stored.
            times = {"write_ms": 1_000 * write_s.pop(number), "done_at": time.time()}
            summary = content.summary.to_json()
            store.put_marker(run.run_id, number, summary, usage=content.usage | times)
            chunks -= 1
