"""When each chunk of a run was priced, and by whom: what its markers say, put in order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from .errors import NoTimesError, NotPricedError
from .stores import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .run import Run

# As the outliers of Ananthanarayanan et al., Reining in the Outliers in Map-Reduce Clusters using
# Mantri, OSDI 2010; of fewer chunks a median says little.
STRAGGLES, FEWEST_CHUNKS = 1.5, 5
STRAGGLER_RULE = (
    f"kept its worker more than {STRAGGLES} times as long as the median of {FEWEST_CHUNKS} chunks"
    " or more"
)
# Which of the times of a chunk count from the beginning of the run.
PLACES = ("queued", "started", "freed", "done")


@dataclass(frozen=True, slots=True)
class ChunkTimes:
    """When one chunk was priced, in seconds since the run began.

    A chunk is `queued` when its submit knows that it is to be priced: on AWS when the state
    machine has listed it. Its `worker`, a thread here, a container there, keeps it from `started`
    to `freed`; it is `done` when all of it is stored. Where this chunk is the first of its worker
    (`cold`), `init_s` is what the worker took to start: here to load the kernels, there the
    processor time of the container until it was called. `kernel_s` is the time in the kernels,
    `write_s` that in the store, which goes on meanwhile. `attempt` counts the calls for the chunk.
    """

    chunk: int
    cells: int
    worker: str
    attempt: int
    cold: bool
    queued: float
    started: float
    init_s: float
    kernel_s: float
    write_s: float
    freed: float
    done: float
    straggler: bool

    @property
    def seconds(self) -> float:
        """How long it kept its worker."""
        return self.freed - self.started


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the chunks of a run were priced, in the order of their starts.

    `started_at` is when the run began, UTC, ISO 8601. `without_times` chunks are done, but a
    version of this package priced them that kept no times; `not_done` are not done.
    """

    run: str
    name: str
    started_at: str
    chunks: tuple[ChunkTimes, ...]
    without_times: int
    not_done: int

    @property
    def seconds(self) -> float:
        """When the last of the chunks was done."""
        return max(chunk.done for chunk in self.chunks)

    @property
    def workers(self) -> int:
        """How many workers priced."""
        return len({chunk.worker for chunk in self.chunks})

    @property
    def median_s(self) -> float:
        """How long a chunk kept its worker."""
        return median(chunk.seconds for chunk in self.chunks)

    def concurrency(self) -> tuple[tuple[float, int], ...]:
        """Return the times at which workers take or leave chunks, and how many have one then."""
        steps = [(chunk.started, 1) for chunk in self.chunks]
        steps += [(chunk.freed, -1) for chunk in self.chunks]
        going, found = 0, {0.0: 0}
        for at, step in sorted(steps):
            going += step
            found[at] = going
        return tuple(found.items())

    def without_pauses(self) -> tuple[Timeline, tuple[tuple[float, float], ...]]:
        """Return the timeline as if nobody had paused before a later submit, and where one did.

        A run that is submitted again goes on after hours or days: a pause is the time, then, at
        which the later submit begins, and the seconds that were cut out before it.
        """
        pauses: list[tuple[float, float]] = []
        chunks: list[ChunkTimes] = []
        until = cut = 0.0
        for chunk in sorted(self.chunks, key=lambda chunk: chunk.queued):
            if chunks and chunk.queued > until:
                pauses.append((until - cut, chunk.queued - until))
                cut += chunk.queued - until
            until = max(until, chunk.done)
            moved = {name: getattr(chunk, name) - cut for name in PLACES}
            chunks.append(replace(chunk, **moved))
        chunks.sort(key=_by_start)
        return replace(self, chunks=tuple(chunks)), tuple(pauses)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        steps = self.concurrency()
        return {
            "run": self.run,
            "name": self.name,
            "started_at": self.started_at,
            "seconds": self.seconds,
            "workers": self.workers,
            "at_once": max(going for _, going in steps),
            "cold_starts": sum(chunk.cold for chunk in self.chunks),
            "stragglers": sum(chunk.straggler for chunk in self.chunks),
            "straggler_rule": STRAGGLER_RULE,
            "median_s": self.median_s,
            "without_times": self.without_times,
            "not_done": self.not_done,
            "concurrency": [{"at": at, "workers": going} for at, going in steps],
            "chunks": [asdict(chunk) for chunk in self.chunks],
        }


def timeline(run: Run) -> Timeline:
    """Return when the chunks of `run` were priced, as far as they are done.

    Raises
    ------
    NotPricedError
        Where no chunk is done.
    NoTimesError
        Where none that is done says when it was priced.
    """
    cells = {chunk: marker["cells"] for chunk, marker in run.store.markers(run.id).items()}
    usages = {chunk: usage for chunk, usage in run.store.usages(run.id).items() if chunk in cells}
    timed = {chunk: usage for chunk, usage in usages.items() if "done_at" in usage}
    if not timed:
        line = f"run {run.id[:SHORT_ID]}: has no timeline"
        if cells:
            raise NoTimesError(f"{line}, an earlier version priced it, which kept no times")
        raise NotPricedError(f"{line}, no chunk is done")
    # The head has the last submit, perhaps long after the first.
    submitted = datetime.fromisoformat(run.head.submitted_at).timestamp()
    began = min(submitted, *map(_queued, timed.values()))
    chunks = [_times(chunk, cells[chunk], usage, began) for chunk, usage in timed.items()]
    return Timeline(
        run=run.id,
        name=run.head.name,
        started_at=datetime.fromtimestamp(began, UTC).isoformat(),
        chunks=_with_stragglers(sorted(chunks, key=_by_start)),
        without_times=len(cells) - len(timed),
        not_done=run.head.chunks - len(cells),
    )


def _by_start(chunk: ChunkTimes) -> tuple[float, int]:
    return chunk.started, chunk.chunk


def _queued(usage: Mapping[str, Any]) -> float:
    # Who calls a function by hand queues nothing.
    return float(usage.get("queued_at", usage["started_at"]))


def _times(chunk: int, cells: int, usage: Mapping[str, Any], began: float) -> ChunkTimes:
    return ChunkTimes(
        chunk=chunk,
        cells=cells,
        worker=usage["worker"],
        attempt=usage["attempt"],
        cold=usage["cold"],
        queued=_queued(usage) - began,
        started=usage["started_at"] - began,
        init_s=float(usage.get("init_s", 0.0)),
        kernel_s=usage["kernel_ms"] / 1_000,
        write_s=usage["write_ms"] / 1_000,
        freed=usage["freed_at"] - began,
        done=usage["done_at"] - began,
        straggler=False,
    )


def _with_stragglers(chunks: list[ChunkTimes]) -> tuple[ChunkTimes, ...]:
    if len(chunks) < FEWEST_CHUNKS:
        return tuple(chunks)
    most = STRAGGLES * median(chunk.seconds for chunk in chunks)
    return tuple(replace(chunk, straggler=chunk.seconds > most) for chunk in chunks)
