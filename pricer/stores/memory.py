"""A store that lives as long as its process: for tests, and for what need not be kept."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from . import MEMORY, StoredRun, not_found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(slots=True)
class _Kept:
    """All of one run."""

    head: StoredRun
    files: dict[str, bytes]
    blocks: dict[int, bytes] = field(default_factory=dict)
    markers: dict[int, str] = field(default_factory=dict)
    usages: dict[int, dict[str, Any]] = field(default_factory=dict)


class MemoryStore:
    """Keeps runs in dictionaries. Threads may share it."""

    url = MEMORY

    def __init__(self) -> None:
        self._runs: dict[str, _Kept] = {}
        self._owned: dict[str, Lock] = {}
        self._mutex = Lock()

    def create(self, run: StoredRun, files: Mapping[str, bytes]) -> StoredRun:
        """Keep a run and the files that rebuild its plan; return what is now stored."""
        with self._mutex:
            kept = self._runs.setdefault(run.run_id, _Kept(run, dict(files)))
            kept.head = replace(kept.head, submitted_at=run.submitted_at)
            return kept.head

    def run(self, run_id: str) -> StoredRun:
        """Return the head of a run."""
        return self._kept(run_id).head

    def runs(self) -> list[StoredRun]:
        """Return the head of every run, the one submitted last first."""
        with self._mutex:
            heads = [kept.head for kept in self._runs.values()]
        return sorted(heads, key=lambda head: head.submitted_at, reverse=True)

    def files(self, run_id: str, *names: str) -> dict[str, bytes]:
        """Return the files that rebuild a run's plan, by name; of `names` alone where given."""
        files = self._kept(run_id).files
        return {name: files[name] for name in names or files if name in files}

    def put_blocks(self, run_id: str, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Keep blocks, each with its number; all of them or none."""
        self._kept(run_id).blocks.update(blocks)

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of these numbers in the order asked; those not there are left out."""
        blocks = self._kept(run_id).blocks
        return ((number, blocks[number]) for number in numbers if number in blocks)

    def put_marker(
        self,
        run_id: str,
        chunk: int,
        summary: Mapping[str, Any],
        *,
        usage: Mapping[str, Any] | None = None,
    ) -> None:
        """Say that every block of a chunk is stored, what they hold, and what pricing took."""
        kept = self._kept(run_id)
        kept.usages[chunk] = dict(usage or {})
        kept.markers[chunk] = json.dumps(summary)

    def markers(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return the summary of every chunk that is done, in chunk order."""
        markers = self._kept(run_id).markers
        return {chunk: json.loads(markers[chunk]) for chunk in sorted(markers)}

    def usages(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return what pricing took of every chunk that is done, in chunk order."""
        return dict(sorted(self._kept(run_id).usages.items()))

    def reasons(self, run_id: str) -> dict[str, str]:
        """Return nothing: who prices into this store fails as a whole, and says why."""
        self._kept(run_id)
        return {}

    def delete(self, run_id: str) -> None:
        """Forget a run and all that belongs to it."""
        self._kept(run_id)
        with self._mutex:
            self._runs.pop(run_id, None)

    @contextmanager
    def lock(self, run_id: str) -> Iterator[bool]:
        """Own the pricing of a run while the context lasts; yields False where another does."""
        with self._mutex:
            owner = self._owned.setdefault(run_id, Lock())
        owned = owner.acquire(blocking=False)
        try:
            yield owned
        finally:
            if owned:
                owner.release()

    def running(self, run_id: str) -> bool:
        """Tell whether someone owns the pricing of a run."""
        return run_id in self._owned and self._owned[run_id].locked()

    def _kept(self, run_id: str) -> _Kept:
        with self._mutex:
            if run_id not in self._runs:
                raise not_found(run_id, self.url)
            return self._runs[run_id]
