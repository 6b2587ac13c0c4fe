"""Where runs and their blocks live: the promise every store keeps, and how to open one by URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pricer.errors import RunNotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

LATEST = "latest"
# The file that says what a run is, and how far a run can be.
PLAN = "plan"
COMPLETE, INCOMPLETE, RUNNING = "complete", "incomplete", "running"
SHORT_ID = 12
SQLITE = "sqlite:///"
DYNAMODB = "dynamodb://"
MEMORY = "memory:"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The head of a run: what every process that works on it agrees on.

    `submitted_at` is the UTC time of its last submit, as ISO 8601 text, which sorts; `as_of` the
    time that a schedule had it priced at, which only DynamoDB keeps, empty where none did.
    """

    run_id: str
    name: str
    cells: int
    blocks: int
    chunk_blocks: int
    submitted_at: str
    as_of: str = ""

    @property
    def chunks(self) -> int:
        """The number of chunks, each of which gets a marker."""
        return -(-self.blocks // self.chunk_blocks)


class Store(Protocol):
    """Keeps runs, their blocks and their markers. Writing a block twice leaves one block.

    A chunk's marker is put after its blocks, and whatever the machine does, a marker that can be
    read back says that all of them can. Methods raise `StoreError` where the store cannot be
    read or written, and `RunNotFoundError` where it has no such run.
    """

    @property
    def url(self) -> str:
        """What opens this store again."""

    def create(self, run: StoredRun, files: Mapping[str, bytes]) -> StoredRun:
        """Keep a run and the files that rebuild its plan; return what is now stored.

        The first to create a run decides all of it but `submitted_at`, which is the latest.
        """

    def run(self, run_id: str) -> StoredRun:
        """Return the head of a run."""

    def runs(self) -> list[StoredRun]:
        """Return the head of every run, the one submitted last first."""

    def files(self, run_id: str, *names: str) -> dict[str, bytes]:
        """Return the files that rebuild a run's plan, by name; of `names` alone where given."""

    def put_blocks(self, run_id: str, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Keep blocks, each with its number; what a failure kept of them does no harm."""

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of these numbers in the order asked; those not there are left out."""

    def put_marker(
        self,
        run_id: str,
        chunk: int,
        summary: Mapping[str, Any],
        *,
        usage: Mapping[str, Any] | None = None,
    ) -> None:
        """Say that every block of a chunk is stored, and what they hold, as JSON can hold it.

        `usage` is what pricing them took: who did it, and when.
        """

    def markers(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return the summary of every chunk that is done, in chunk order."""

    def usages(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return what pricing took of every chunk that is done, in chunk order."""

    def reasons(self, run_id: str) -> dict[str, str]:
        """Return why what is not done failed, by what it is, where who prices it has said so."""

    def delete(self, run_id: str) -> None:
        """Forget a run and all that belongs to it."""

    def lock(self, run_id: str) -> AbstractContextManager[bool]:
        """Own the pricing of a run while the context lasts.

        Yields at once: False where another owns it. Who dies owns nothing.
        """

    def running(self, run_id: str) -> bool:
        """Tell whether someone owns the pricing of a run."""


def open_store(url: str, *, new: bool = False) -> Store:
    """Open the store at `url`.

    A URL is ``sqlite:///path`` (absolute: ``sqlite:////path``), ``memory:`` or
    ``dynamodb://table?region=...&endpoint=...&bucket=...``, all three parameters optional.

    Nothing is created before the first run is. Reading a store whose folder is not there raises
    `StoreError`, unless it is `new`: such a store holds no run.
    """
    if url == MEMORY:
        from .memory import MemoryStore

        return MemoryStore()
    if url.startswith(DYNAMODB):
        from .dynamodb import open_dynamodb

        return open_dynamodb(url)
    path = url.removeprefix(SQLITE)
    if path == url or not path or path.endswith("/"):
        hint = f"; did you mean {SQLITE}{url}?" if url and ":" not in url else ""
        raise StoreError(
            f"store: must be {SQLITE}path, {DYNAMODB}table or {MEMORY}, got {url!r}{hint}"
        )
    from .sqlite import SqliteStore

    return SqliteStore(Path(path), new=new)


def find_run(store: Store, name: str) -> StoredRun:
    """Return the run that `name` means: an id, the start of exactly one, or ``latest``."""
    runs = store.runs()
    if not runs:
        raise RunNotFoundError(
            f"run {name!r}: there is no run in {store.url}; `pricer submit FILE` makes one"
        )
    if name == LATEST:
        return runs[0]
    found = [run for run in runs if name and run.run_id.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunNotFoundError(f"run {name!r}: is not in {store.url}; {_see(store.url)}")
    ids = ", ".join(run.run_id[:SHORT_ID] for run in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    raise RunNotFoundError(f"run {name!r}: could be {ids}{more}; give more of it")


def not_found(run_id: str, url: str) -> RunNotFoundError:
    """Return what to raise where a run is not in the store at `url`, or no longer."""
    return RunNotFoundError(f"run {run_id[:SHORT_ID]}: is not in {url}; {_see(url)}")


def _see(url: str) -> str:
    return f"see `pricer runs{' --on aws' if url.startswith(DYNAMODB) else ''}`"
