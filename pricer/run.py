"""A run in a store: submit and resume it, see how far it is, query it, export it."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .blocks import decode_block
from .errors import (
    MissingDependencyError,
    NotPricedError,
    RunNotFoundError,
    SpecError,
    StoreError,
)
from .plan import BookPlan, GridPlan, PanelPlan, Plan
from .selection import (
    axis_values,
    book_columns,
    cell_named,
    count_cells,
    count_rows,
    count_windows,
    select_cells,
    select_rows,
    select_windows,
    window_columns,
)
from .settings import check_measures
from .stores import (
    COMPLETE,
    INCOMPLETE,
    LATEST,
    PLAN,
    RUNNING,
    SHORT_ID,
    SQLITE,
    Store,
    StoredRun,
    find_run,
    open_store,
)
from .summary import Failure, Spread, Summary, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .book import Book
    from .executors import Executor
    from .grid import Grid
    from .panel import Panel
    from .selection import Selected

    Indices = NDArray[np.int64]
    Table = dict[str, NDArray[Any]]

STORE = "PRICER_STORE"
RESULTS = ("error", "status")
# Of a cell that is not priced yet: no status has this number, and none has a name.
UNPRICED = 255
# Rows of a batch: large enough for Parquet's row groups, 10 MB with every measure.
BATCH_CELLS = 131_072
PROGRESS_S = 0.25
# What helps where a run is of other kernels.
ANOTHER_RUN = "submit its file again, which makes another run"

logger = logging.getLogger("pricer")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is and what its cells came to; `measures` spans the cells that are ok.

    `reasons` says why chunks failed, by the blocks they are of, where the run is not complete;
    `inversions` how many Black-Scholes inversions the cells of a panel took, None of options;
    `as_of` is the time that a schedule had it priced at, empty where none did.
    """

    run: str
    name: str
    state: str
    submitted_at: str
    as_of: str
    cells: int
    done: int
    ok: int
    failed: int
    chunks: int
    chunks_done: int
    failures: tuple[Failure, ...]
    measures: Mapping[str, Spread]
    reasons: Mapping[str, str]
    inversions: int | None

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        document = {f.name: getattr(self, f.name) for f in fields(self)}
        document["failures"] = [
            {"status": f.status, "reason": f.reason, "count": f.count, "example": dict(f.example)}
            for f in self.failures
        ]
        document["measures"] = {name: spread.shown() for name, spread in self.measures.items()}
        document["reasons"] = dict(self.reasons)
        if self.inversions is None:
            del document["inversions"]
        return document


@dataclass(frozen=True, eq=False)
class Run:
    """A run in a store.

    `priced` is how many cells the submit that returned it has priced itself.
    """

    store: Store
    head: StoredRun
    priced: int = 0

    @property
    def id(self) -> str:
        """The run's id: equal input, equal id."""
        return self.head.run_id

    @cached_property
    def plan(self) -> Plan:
        """How the run's cells are cut, priced and stored."""
        files = self.store.files(self.id)
        if PLAN not in files:
            raise StoreError(f"run {self.id[:SHORT_ID]}: is damaged, it has no plan")
        return Plan.from_json(files.pop(PLAN).decode(), files)

    @property
    def state(self) -> str:
        """``complete``, ``running`` while some process prices it, else ``incomplete``."""
        return self._read_markers()[0]

    def status(self) -> RunStatus:
        """Say how far the run is and what its cells came to; reads no block."""
        state, markers = self._read_markers()
        total = merge(map(Summary.from_json, markers.values()))
        return RunStatus(
            run=self.id,
            name=self.head.name,
            state=state,
            submitted_at=self.head.submitted_at,
            as_of=self.head.as_of,
            cells=self.head.cells,
            done=total.cells,
            ok=total.ok,
            failed=total.failed,
            chunks=self.head.chunks,
            chunks_done=len(markers),
            failures=total.failures,
            measures=total.measures,
            reasons={} if state == COMPLETE else self.store.reasons(self.id),
            inversions=total.inversions,
        )

    def wait(self, on_progress: Callable[[int], None] | None = None) -> None:
        """Return when nobody prices the run any more; `on_progress` as `submit` calls it."""
        progress = _Progress(self, on_progress)
        while True:
            running = self.store.running(self.id)
            progress.report()
            if progress.complete or not running:
                return
            time.sleep(max(0.0, progress.next - time.monotonic()))

    def resume(
        self,
        *,
        workers: int | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Run:
        """Price on this machine what the run lacks, as `submit` does, and return it complete.

        Its plan is the one that the store keeps; nothing else of its file is needed. A run that is
        complete is returned as it is.

        Raises
        ------
        KernelError
            Where the run is of another version of the kernels.
        StoreError
            Where the run is of a panel: no store here keeps its days.
        """
        from .compiled import kernel_version
        from .executors import check_kernels
        from .executors.local import LocalExecutor

        if self.state == COMPLETE:
            return self
        check_kernels(self.plan, kernel_version(), "this machine", ANOTHER_RUN)
        if isinstance(self.plan, PanelPlan):
            raise StoreError(
                f"run {self.id[:SHORT_ID]}: is of a panel, whose days no store on this machine"
                " keeps; submit its file again"
            )
        executor = LocalExecutor(workers)
        return submit_plan(self.plan, self.store, executor, on_progress=on_progress)

    def query(
        self,
        selection: Mapping[str, Selected] | None = None,
        *,
        measures: Sequence[str] | None = None,
        nearest: bool = False,
        limit: int | None = None,
        offset: int = 0,
        partial: bool = False,
    ) -> Table:
        """Read cells by the values of their inputs; only the blocks that hold them are read.

        Parameters
        ----------
        selection
            What to read, by axis: a value, a list of values, or a range as a tuple
            ``(low, high)``; as text ``"100"``, ``"90,100"`` and ``"90:110"``. Values are matched
            to 1e-9, relative. A book's rows are selected by its columns or by ``row``, from 1; a
            panel's cells by ``firm``, ``date`` (the last day of a window) and ``horizon``.
        measures
            Which measures to read; all that the run has if None.
        nearest
            Take the nearest value where one is not there, instead of raising.
        limit
            The most rows to return.
        offset
            How many rows to leave out before the first.
        partial
            Return cells that are not priced yet too, instead of raising: their numbers are NaN,
            their status is 255.

        Returns
        -------
        dict of arrays of shape (n,)
            The axes in file order (a book: ``row`` and its columns; a panel: ``firm``, ``date``
            and ``horizon``), the measures, ``error`` and ``status``. A grid's rows come in C order
            over its axes, a book's in file order, a panel's by firm, date and horizon.

        Raises
        ------
        SpecError
            Where an axis or a value is not there: names the nearest.
        NotPricedError
            Where a block that is needed is not priced yet.
        StoreError
            Where one cannot be read.
        """
        columns = self._columns(measures)
        selected = selection or {}
        match self.plan:
            case BookPlan() as plan:
                table, cells = select_rows(
                    plan, selected, nearest=nearest, limit=limit, offset=offset
                )
            case PanelPlan() as plan:
                table, cells = select_windows(
                    plan, selected, nearest=nearest, limit=limit, offset=offset
                )
            case _:
                table, cells = select_cells(
                    self._grid, selected, nearest=nearest, limit=limit, offset=offset
                )
        return table | self._read(cells, columns, partial=partial)

    def count(self, selection: Mapping[str, Selected], *, nearest: bool = False) -> int:
        """Return how many rows `query` would without a limit; reads no block."""
        match self.plan:
            case BookPlan() as plan:
                return count_rows(plan, selection, nearest=nearest)
            case PanelPlan() as plan:
                return count_windows(plan, selection, nearest=nearest)
        return count_cells(self._grid, selection, nearest=nearest)

    def batches(self, measures: Sequence[str] | None = None) -> Iterator[Table]:
        """Yield the whole run as tables of some 100,000 rows; memory stays bounded.

        A grid's cells come as they are stored: axes that need solves of their own outside, those
        that share one inside. A book's rows come in file order, a panel's cells by firm, date and
        horizon.
        """
        self._check_complete()
        columns = self._columns(measures)
        plan = self.plan
        if isinstance(plan, BookPlan):
            # A book is in memory anyway, so its results may be.
            results = self._read(plan.rows, columns)
            for start in range(0, plan.cells, BATCH_CELLS):
                rows = slice(start, start + BATCH_CELLS)
                yield book_columns(plan.spec, rows) | {n: c[rows] for n, c in results.items()}
            return
        step = max(1, BATCH_CELLS // plan.block_cells)
        for block in range(0, plan.blocks, step):
            last = min(block + step, plan.blocks) - 1
            cells = np.arange(plan.block_range(block)[0], plan.block_range(last)[1])
            yield self._named(cells) | self._read(cells, columns)

    def to_arrow(self) -> Any:
        """Return the whole run as a ``pyarrow.Table``, rows as `query` orders them."""
        from .tables import arrow

        return arrow(self.query())

    def to_xarray(self) -> Any:
        """Return a grid as an ``xarray.Dataset`` with one labelled dimension an axis.

        It is opened without reading a price, however large the run is: what is selected is read
        when its values are asked for, from the blocks that hold it. Words and tables are texts on
        their axes; units, and what the numbers of ``status`` mean, are attributes.

        Raises
        ------
        SpecError
            Where the run is not of a grid.
        StoreError
            When values are asked for whose blocks are not priced yet: says which.
        """
        if find_spec("xarray") is None:
            raise MissingDependencyError("to_xarray needs xarray: pip install xarray")
        from .datasets import dataset

        if not isinstance(self.plan, GridPlan):
            raise SpecError(f"to_xarray: a {self.plan.kind} has no axes; use to_arrow")
        return dataset(self.plan, self._read)

    def delete(self) -> None:
        """Delete the run and all its blocks from the store."""
        with self.store.lock(self.id) as owned:
            if not owned:
                raise StoreError(
                    f"run {self.id[:SHORT_ID]}: is being priced; stop that first, on AWS by"
                    " `pricer cancel`"
                )
            self.store.delete(self.id)

    @property
    def _grid(self) -> GridPlan:
        assert isinstance(self.plan, GridPlan)
        return self.plan

    def _named(self, cells: Indices) -> Table:
        """Return what names each cell of a grid or a panel."""
        if isinstance(self.plan, PanelPlan):
            return window_columns(self.plan, cells)
        where = self._grid.positions(cells)
        return {n: values[where[n]] for n, values in axis_values(self._grid).items()}

    def _read_markers(self) -> tuple[str, dict[int, dict[str, Any]]]:
        """Return the state of the run and the summaries of its chunks."""
        # Asked in this order, a run that ends meanwhile is complete rather than incomplete.
        running = self.store.running(self.id)
        markers = self.store.markers(self.id)
        if len(markers) == self.head.chunks:
            return COMPLETE, markers
        return RUNNING if running else INCOMPLETE, markers

    def _check_complete(self) -> None:
        missing = self.head.chunks - len(self.store.markers(self.id))
        if missing:
            raise NotPricedError(
                f"run {self.id[:SHORT_ID]}: is incomplete, {missing} of {self.head.chunks} chunks"
                f" are not priced yet; {self._how_to_finish()}"
            )

    def _columns(self, measures: Sequence[str] | None) -> tuple[str, ...]:
        if measures is None:
            return (*self.plan.measures, *RESULTS)
        asked = check_measures(measures, self.plan.every_measure)
        for measure in asked:
            if measure not in self.plan.measures:
                there = ", ".join(self.plan.measures)
                raise SpecError(f"measures: {measure!r} is not in this run, which has {there}")
        return (*asked, *RESULTS)

    def _read(self, cells: Indices, columns: Sequence[str], *, partial: bool = False) -> Table:
        """Read these columns of these cells, each block once."""
        plan = self.plan
        out: Table = {
            name: np.empty(len(cells), np.uint8 if name == "status" else np.float64)
            for name in columns
        }
        order = np.argsort(cells, kind="stable")
        cells = cells[order]
        needed, first = np.unique(plan.block_of(cells), return_index=True)
        cuts = np.append(first, len(cells)).tolist()
        position = {block: i for i, block in enumerate(needed.tolist())}
        for block, data in self.store.blocks(self.id, needed.tolist()):
            here = slice(cuts[position[block]], cuts[position.pop(block) + 1])
            start, decoded = self._decode(block, data)
            for name, column in out.items():
                column[order[here]] = decoded[name][cells[here] - start]
        if position and not partial:
            raise NotPricedError(
                f"run {self.id[:SHORT_ID]}: {len(position)} of the {len(needed)} blocks that this"
                f" needs are not priced yet, the first of them with"
                f" {cell_named(plan, int(cells[cuts[min(position.values())]]))};"
                f" {self._how_to_finish()}"
            )
        for place in position.values():
            for name, column in out.items():
                lost = order[cuts[place] : cuts[place + 1]]
                column[lost] = UNPRICED if name == "status" else np.nan
        return out

    def _how_to_finish(self) -> str:
        running = self.store.running(self.id)
        return "wait for it" if running else "`pricer resume` finishes it"

    def _decode(self, block: int, data: bytes) -> tuple[int, Mapping[str, NDArray[Any]]]:
        """Return the first cell of a block and its columns."""
        first, end = self.plan.block_range(block)
        if len(data) != (end - first) * self.plan.cell_bytes:
            raise StoreError(
                f"run {self.id[:SHORT_ID]}: block {block} is damaged, it must hold"
                f" {end - first} cells of {self.plan.cell_bytes} bytes, got {len(data)} bytes"
            )
        return first, decode_block(data, self.plan.measures)


def submit(
    spec: Grid | Book | Panel,
    store: Store | str | None = None,
    *,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Price a grid, a book or a panel on this machine into `store`; return the complete run.

    The same input is the same run: submitted again, it prices what is missing. Where another
    process prices it, wait for that one, and take over if it dies.

    Parameters
    ----------
    store
        A store or its URL; `default_store_url` if None.
    workers
        How many threads price; PRICER_WORKERS or the cores available if None.
    on_progress
        Called some times a second with the number of cells that are stored.
    """
    from .compiled import kernel_version
    from .executors.local import LocalExecutor

    executor = LocalExecutor(workers)
    plan = Plan.of(spec, kernel_version())
    return submit_plan(plan, as_store(store, create=True), executor, on_progress=on_progress)


def submit_plan(
    plan: Plan,
    store: Store,
    executor: Executor,
    *,
    chunk_blocks: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Price `plan` into `store` by `executor`, as `submit` does.

    The run that is returned is incomplete where chunks failed on AWS or an execution there was
    stopped. `chunk_blocks` is the number of blocks that a new run has to a chunk; measured if
    None.
    """
    run = _created(plan, store, executor, chunk_blocks)
    progress = _Progress(run, on_progress)
    progress.report()
    logger.info("run %s in %s: %d cells", run.id[:SHORT_ID], store.url, plan.cells)
    while not progress.complete:
        with executor.own(run.head, store) as owned:
            if owned:
                # Again: whoever owned it till now may have priced more.
                progress.report()
                before = progress.done
                executor.execute(run.plan.fed(plan.spec), run.head, store, progress)
                progress.report()
                return _with_plan(replace(run, priced=progress.done - before), run.plan)
        if not progress.attached:
            logger.info("run %s is being priced by another process; waiting", run.id[:SHORT_ID])
            progress.attached = True
        time.sleep(PROGRESS_S)
        progress.report()
    return run


def open_run(name: str = LATEST, store: Store | str | None = None) -> Run:
    """Return the run that `name` means: an id, the start of exactly one, or ``latest``."""
    opened = as_store(store)
    return Run(opened, find_run(opened, name))


def list_runs(store: Store | str | None = None) -> list[Run]:
    """Return every run of a store, the one submitted last first."""
    opened = as_store(store)
    return [Run(opened, head) for head in opened.runs()]


def default_store_url() -> str:
    """Return PRICER_STORE, else the URL of an SQLite file in the user's data folder."""
    return os.environ.get(STORE, "").strip() or f"{SQLITE}{_data_folder() / 'runs.db'}"


def as_store(store: Store | str | None = None, *, create: bool = False) -> Store:
    """Return `store`, or open it by its URL; the default one if None.

    `create` makes the user's data folder if that is where it is to be.
    """
    if store is None:
        store = default_store_url()
        folder = _data_folder()
        if store.startswith(f"{SQLITE}{folder}/"):
            if create:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise StoreError(f"{folder}: cannot be created: {error.strerror}") from error
            return open_store(store, new=True)
    return open_store(store) if isinstance(store, str) else store


def _data_folder() -> Path:
    from platformdirs import user_data_dir

    return Path(user_data_dir("pricer", appauthor=False))


def _created(plan: Plan, store: Store, executor: Executor, chunk_blocks: int | None) -> Run:
    """Return the run of `plan` as the store has it, which it may have had before."""
    now = datetime.now(UTC).isoformat()
    try:
        known = store.run(plan.run_id)
    except RunNotFoundError:
        known = None
    if known:
        return Run(store, store.create(replace(known, submitted_at=now), {}))
    # Here, so that reading runs need not load all that prices them.
    from .estimate import chunk_blocks_of

    size = chunk_blocks or chunk_blocks_of(plan, executor.workers)
    head = StoredRun(plan.run_id, plan.spec.name, plan.cells, plan.blocks, size, now, plan.as_of)
    run = Run(store, store.create(head, {PLAN: plan.to_json().encode()} | plan.columns()))
    if run.head == head:
        # Nobody was faster: what is stored is this very plan.
        return _with_plan(run, plan)
    return run


def _with_plan(run: Run, plan: Plan) -> Run:
    """Spare `run` the reading of its plan."""
    vars(run)["plan"] = plan
    return run


class _Progress:
    """What the store says of a run, at most some times a second."""

    def __init__(self, run: Run, tell: Callable[[int], None] | None) -> None:
        self.run = run
        self.tell = tell
        self.done = 0
        self.complete = False
        self.attached = False
        self.next = 0.0

    def __call__(self) -> None:
        """Report if it is time to."""
        if time.monotonic() >= self.next:
            self.report()

    def report(self) -> None:
        """Read how far the run is, and tell."""
        started = time.monotonic()
        markers = self.run.store.markers(self.run.id)
        self.complete = len(markers) == self.run.head.chunks
        self.done = sum(marker["cells"] for marker in markers.values())
        if self.tell:
            self.tell(self.done)
        ended = time.monotonic()
        # A run of very many chunks takes long to read: spend a twentieth of the time on it.
        self.next = ended + max(PROGRESS_S, 20 * (ended - started))
