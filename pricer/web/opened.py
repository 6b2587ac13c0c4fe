"""Runs that have been asked for: their plans and some of their blocks are kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from pricer.documents import finite
from pricer.errors import RunNotFoundError
from pricer.plan import BookPlan
from pricer.run import Run
from pricer.stores import COMPLETE, find_run

from .described import axes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pricer.stores import Store, StoredRun

ID_CHARACTERS = 64
MOST_RUNS = 8
# Of books, which take some 200 bytes a row; beside the one that is being opened.
MOST_OTHER_ROWS = 1_000_000
MOST_CACHED_BYTES = 128 * 2**20


class CachedBlocks:
    """A store that keeps in memory, up to `most_bytes`, the blocks that were read last.

    A block never changes: what it holds follows from the id of its run.
    """

    def __init__(self, store: Store, most_bytes: int = MOST_CACHED_BYTES) -> None:
        self._store = store
        self._left = most_bytes
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._mutex = Lock()

    def __getattr__(self, name: str) -> Any:
        """Leave all but the reading of blocks to the store itself."""
        return getattr(self._store, name)

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of these numbers in any order; those not there are left out."""
        missing = []
        for number in numbers:
            with self._mutex:
                data = self._kept.get((run_id, number))
                if data is not None:
                    self._kept.move_to_end((run_id, number))
            if data is None:
                missing.append(number)
            else:
                yield number, data
        for number, data in self._store.blocks(run_id, missing):
            self._keep((run_id, number), data)
            yield number, data

    def _keep(self, key: tuple[str, int], data: bytes) -> None:
        with self._mutex:
            if key in self._kept:
                return
            self._kept[key] = data
            self._left -= len(data)
            while self._left < 0:
                self._left += len(self._kept.popitem(last=False)[1])


@dataclass(eq=False)
class Opened:
    """A run, and whether every cell of it is priced."""

    run: Run
    finished: bool

    @property
    def rows(self) -> int:
        """How many rows of a book are in memory."""
        plan = vars(self.run).get("plan")
        return plan.cells if isinstance(plan, BookPlan) else 0

    @cached_property
    def axes(self) -> dict[str, Any]:
        """What can be asked of the run."""
        return axes_of(self.run)


class Runs:
    """The runs of a store by name; the plans of those asked for last stay in memory."""

    def __init__(self, store: Store) -> None:
        self.store = cast("Store", CachedBlocks(store))
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._finished: dict[StoredRun, dict[str, Any]] = {}
        self._mutex = Lock()

    def open(self, name: str) -> Opened:
        """Return the run that `name` means: an id, the start of exactly one, or ``latest``."""
        head = self._find(name)
        with self._mutex:
            opened = self._opened.get(head.run_id)
            if opened is None or opened.run.head != head:
                self._opened.pop(head.run_id, None)
                self._make_room()
                opened = Opened(Run(self.store, head), finished=False)
                self._opened[head.run_id] = opened
            else:
                self._opened.move_to_end(head.run_id)
        # Once a run is complete, nothing is read to know it.
        opened.finished = opened.finished or opened.run.state == COMPLETE
        return opened

    def status(self, run: Run) -> dict[str, Any]:
        """Return the status of a run as JSON can hold it; of a complete one it is read once."""
        with self._mutex:
            known = self._finished.get(run.head)
        if known:
            return known
        status: dict[str, Any] = finite(run.status().to_json())
        if status["state"] == COMPLETE:
            with self._mutex:
                self._finished[run.head] = status
        return status

    def statuses(self, limit: int, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the status of some runs, the one submitted last first, and how many there are."""
        heads = self.store.runs()
        there = set(heads)
        with self._mutex:
            self._finished = {head: s for head, s in self._finished.items() if head in there}
        here, found = heads[offset : offset + limit], []
        for head in here:
            # One that is deleted meanwhile is one less.
            with suppress(RunNotFoundError):
                found.append(self.status(Run(self.store, head)))
        return found, len(heads) - len(here) + len(found)

    def _make_room(self) -> None:
        """Close the runs that were asked for longest ago, so that another can be opened."""
        while (
            len(self._opened) >= MOST_RUNS
            or sum(opened.rows for opened in self._opened.values()) > MOST_OTHER_ROWS
        ):
            self._opened.popitem(last=False)

    def _find(self, name: str) -> StoredRun:
        if len(name) == ID_CHARACTERS:
            # One head is read, rather than all of them.
            try:
                return self.store.run(name)
            except RunNotFoundError:
                pass
        return find_run(self.store, name)
