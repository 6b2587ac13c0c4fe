"""A run in a store, priced by a stand-in for the kernels or, where it says so, by them."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counting import Counting
from pricer import run as run_module
from pricer.book import Book
from pricer.compiled import kernel_version
from pricer.contracts import Status
from pricer.errors import KernelError, RunNotFoundError, SpecError, StoreError
from pricer.executors.local import LocalExecutor
from pricer.grid import Axis, Grid
from pricer.plan import OptionPlan, Plan
from pricer.run import Run, default_store_url, list_runs, open_run, submit, submit_plan
from pricer.settings import MEASURES, Settings
from pricer.stores.memory import MemoryStore
from pricer.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pricer.selection import Selected
    from pricer.stores import Store

SPOTS = tuple(np.linspace(80.0, 120.0, 21))
STRIKES = tuple(np.linspace(70.0, 130.0, 31))
VOLS = (0.1, 0.2, 0.3, 0.4)
# File order differs from the order of cells: vol and right, keys of families, stand inside.
GRID = Grid(
    axes=(
        Axis("strike", STRIKES),
        Axis("vol", VOLS),
        Axis("expiry", (0.5, 1.0)),
        Axis("right", ("put", "call")),
        Axis("spot", SPOTS),
    ),
    fixed={"rate": 0.05},
    name="small",
    settings=Settings(measures=("price", "delta")),
)
BOOK = """\
symbol,right,strike,vol,spot,rate,expiry
A,put,90,0.2,100,0.01,1
B,call,100,,100,0.01,1
A,put,110,0.4,100,0.01,1
C,call,90,0.2,100,0.01,2
D,call,90,-0.5,100,0.01,2
"""


def value(inputs: Any) -> Any:
    """Give every cell a value of its own, computed from its inputs alone."""
    return (
        inputs.spot
        - 2 * inputs.strike
        + 1e3 * inputs.vol
        + 1e5 * inputs.expiry
        + 1e7 * np.where(np.asarray(inputs.right) == 1, 1.0, 0.0)
    )


def formula(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
    """Stand in for the kernels."""
    assert isinstance(plan, OptionPlan)
    for block in range(first, end):
        cells, _ = plan.cells_at(*plan.block_range(block))
        price = np.where(cells.valid(), value(cells), np.nan)
        status = np.where(cells.valid(), Status.ok, Status.invalid).astype(np.uint8)
        values = dict.fromkeys(MEASURES, -price) | {"price": price, "error": np.abs(price) * 1e-9}
        yield block, SimpleNamespace(**values, status=status)


def refuse(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
    """Price nothing, for where nothing is left to price."""
    raise AssertionError(f"blocks {first} to {end} are priced already")


def plan_of(spec: Grid | Book, block_bytes: int = 65_536) -> Plan:
    """Plan with blocks small enough that a small run has many."""
    plan = Plan.of(spec, "kernel")
    document = json.loads(plan.to_json())
    document["block_cells"] = block_bytes // plan.cell_bytes
    return Plan.from_json(json.dumps(document), plan.columns())


def priced(
    spec: Grid | Book = GRID,
    store: Store | None = None,
    *,
    price: Any = formula,
    chunk_blocks: int = 2,
    **options: Any,
) -> Run:
    """Submit to a store in memory if not told another, with blocks of 2,500 bytes: 100 cells."""
    executor = LocalExecutor(2, price)
    plan = plan_of(spec, 2_500)
    chosen = MemoryStore() if store is None else store
    return submit_plan(plan, chosen, executor, chunk_blocks=chunk_blocks, **options)


def expected_price(table: Any) -> Any:
    right = np.where(table["right"] == "call", 1, -1)
    return value(SimpleNamespace(**(table | {"right": right})))


# --- submit and resume ---


def test_a_submitted_run_is_complete_and_says_what_came_of_it() -> None:
    run = priced()
    status = run.status()
    assert run.state == status.state == "complete"
    assert (status.cells, status.done, status.ok, status.failed) == (10_416, 10_416, 10_416, 0)
    assert status.chunks == status.chunks_done > 10
    assert status.failures == ()
    prices = run.query()["price"]
    assert status.measures["price"].min == prices.min()
    assert status.measures["price"].max == prices.max()
    assert status.measures["price"].mean == pytest.approx(prices.mean(), rel=1e-12)
    assert json.loads(json.dumps(status.to_json()))["measures"]["delta"]["max"] == -prices.min()


def test_submitting_again_prices_nothing_and_tells_the_same() -> None:
    store = MemoryStore()
    first = priced(store=store)
    again = priced(store=store, price=refuse)
    assert again.id == first.id
    assert again.status().measures == first.status().measures
    assert len(list_runs(store)) == 1


def test_a_submit_after_a_failure_prices_what_is_missing_in_the_chunks_of_the_first() -> None:
    store = MemoryStore()
    touched: list[int] = []

    def failing(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        if first >= 40:
            while len(store.markers(plan.run_id)) < 4:
                time.sleep(0.001)
            raise ZeroDivisionError
        yield from formula(plan, first, end)

    def noting(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        touched.extend(range(first, end))
        yield from formula(plan, first, end)

    with pytest.raises(ZeroDivisionError):
        priced(store=store, price=failing, chunk_blocks=5)
    half = open_run("latest", store)
    assert half.state == "incomplete"
    done = set(store.markers(half.id))
    done_cells = half.status().done
    whole = priced(store=store, price=noting, chunk_blocks=99)
    assert whole.head.chunk_blocks == 5
    assert whole.state == "complete"
    assert whole.priced == 10_416 - done_cells
    assert {block // 5 for block in touched} == set(range(whole.head.chunks)) - done
    np.testing.assert_array_equal(whole.query()["price"], priced().query()["price"])


def test_a_run_of_other_kernels_is_not_resumed() -> None:
    store = MemoryStore()
    plan = Plan.of(GRID, "0" * 64)
    with pytest.raises(AssertionError):
        submit_plan(plan, store, LocalExecutor(1, refuse), chunk_blocks=1)
    run = open_run("latest", store)
    with pytest.raises(KernelError) as raised:
        run.resume()
    assert str(raised.value) == (
        f"run {run.id[:12]}: needs kernels 000000000000, this machine has"
        f" {kernel_version()[:12]}; submit its file again, which makes another run"
    )
    assert run.state == "incomplete"


@pytest.mark.parametrize("chunk_blocks", [1, 7, 1000])
def test_values_do_not_depend_on_the_chunks(chunk_blocks: int) -> None:
    run = priced(chunk_blocks=chunk_blocks)
    for name, column in priced(chunk_blocks=2).query().items():
        np.testing.assert_array_equal(run.query()[name], column)


def test_progress_starts_with_what_is_stored_and_ends_with_every_cell() -> None:
    store = MemoryStore()
    told: list[int] = []
    priced(store=store, on_progress=told.append)
    assert told[0] == 0
    assert told[-1] == 10_416
    assert told == sorted(told)
    told.clear()
    priced(store=store, on_progress=told.append)
    assert told == [10_416]


def test_a_second_submit_waits_for_the_first_and_shows_its_progress(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "pricer")
    store = MemoryStore()
    attached = threading.Event()
    told: list[int] = []

    def waiting(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        if first > 10:
            attached.wait(30)
        yield from formula(plan, first, end)

    def tell(done: int) -> None:
        told.append(done)
        if 0 < done < 10_416:
            attached.set()

    first = threading.Thread(target=priced, args=(GRID, store), kwargs={"price": waiting})
    first.start()
    while not store.runs() or not store.markers(store.runs()[0].run_id):
        time.sleep(0.01)
    assert open_run("latest", store).state == "running"
    second = priced(store=store, price=refuse, on_progress=tell)
    first.join()
    assert (second.state, second.priced) == ("complete", 0)
    assert any(0 < done < 10_416 for done in told)
    assert told[-1] == 10_416
    assert "is being priced by another process; waiting" in caplog.text


def test_a_second_submit_takes_over_where_the_first_dies() -> None:
    store = MemoryStore()
    attached = threading.Event()

    def dying(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        attached.wait(30)
        raise ZeroDivisionError

    def die() -> None:
        with pytest.raises(ZeroDivisionError):
            priced(store=store, price=dying)

    first = threading.Thread(target=die)
    first.start()
    while not store.runs() or not store.running(store.runs()[0].run_id):
        time.sleep(0.01)
    second = priced(store=store, on_progress=lambda _: attached.set())
    first.join()
    assert (second.state, second.priced) == ("complete", 10_416)


# --- finding, listing, deleting ---


def test_waiting_ends_when_a_run_is_complete_and_shows_its_progress() -> None:
    store = MemoryStore()
    steps: list[int] = []
    release = threading.Event()

    def slowly(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        release.wait(10)
        return formula(plan, first, end)

    pricing = threading.Thread(target=priced, kwargs={"store": store, "price": slowly})
    pricing.start()
    while not (store.runs() and store.running(store.runs()[0].run_id)):
        time.sleep(0.01)
    waiting = threading.Thread(target=open_run(store=store).wait, args=(steps.append,))
    waiting.start()
    time.sleep(0.1)
    assert waiting.is_alive()
    release.set()
    waiting.join(10)
    pricing.join(10)
    assert steps[0] == 0
    assert steps[-1] == GRID.cells
    open_run(store=store).wait()


def test_waiting_ends_when_nobody_prices_a_run() -> None:
    store = MemoryStore()
    with pytest.raises(ZeroDivisionError):
        priced(store=store, price=lambda *_: 1 / 0)
    run = open_run(store=store)
    run.wait()
    assert run.state == "incomplete"


def test_a_status_says_why_blocks_are_missing_until_none_is() -> None:
    class Saying(MemoryStore):
        def reasons(self, run_id: str) -> dict[str, str]:
            return {"blocks 0 to 1": "StoreError: why"}

    store = Saying()
    with pytest.raises(ZeroDivisionError):
        priced(store=store, price=lambda *_: 1 / 0)
    status = open_run(store=store).status()
    assert status.reasons == {"blocks 0 to 1": "StoreError: why"}
    assert status.to_json()["reasons"] == status.reasons
    assert priced(store=store).status().reasons == {}


def test_latest_is_the_run_submitted_last_even_when_it_was_complete() -> None:
    store = MemoryStore()
    other = Grid(axes=GRID.axes, fixed={"rate": 0.06}, settings=GRID.settings)
    first, second = priced(store=store), priced(other, store)
    assert open_run("latest", store).id == second.id
    priced(store=store, price=refuse)
    assert open_run("latest", store).id == first.id
    assert [run.id for run in list_runs(store)] == [first.id, second.id]
    assert open_run(second.id[:8], store).id == second.id


def test_a_deleted_run_is_gone_and_can_be_submitted_again() -> None:
    store = MemoryStore()
    run = priced(store=store)
    run.delete()
    with pytest.raises(RunNotFoundError, match="is not in memory:"):
        run.status()
    assert priced(store=store).state == "complete"


def test_a_run_that_is_being_priced_is_not_deleted() -> None:
    run = priced()
    busy = r"run [0-9a-f]{12}: is being priced; stop that first"
    with run.store.lock(run.id), pytest.raises(StoreError, match=busy):
        run.delete()
    assert run.state == "complete"


def test_the_store_is_given_by_the_environment_else_in_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRICER_STORE", "sqlite:///here.db")
    assert default_store_url() == "sqlite:///here.db"
    monkeypatch.delenv("PRICER_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    url = default_store_url()
    assert url.startswith(f"sqlite:///{tmp_path}/")
    assert url.endswith("/pricer/runs.db")
    assert list_runs() == []
    assert not (tmp_path / "data").exists()
    run = priced(store=run_module.as_store(create=True))
    assert open_run().id == run.id


def test_a_data_folder_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PRICER_STORE")
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(run_module, "_data_folder", lambda: file / "pricer")
    with pytest.raises(StoreError, match=r"file/pricer: cannot be created: Not a directory"):
        run_module.as_store(create=True)


# --- query ---


def test_a_query_gives_every_cell_the_values_of_its_own_inputs() -> None:
    table = priced().query()
    names = ["strike", "vol", "expiry", "right", "spot", "price", "delta", "error", "status"]
    assert list(table) == names
    np.testing.assert_array_equal(table["price"], expected_price(table))
    np.testing.assert_array_equal(table["delta"], -table["price"])
    assert (table["status"] == Status.ok).all()


def test_rows_come_in_c_order_over_the_axes_of_the_file() -> None:
    table = priced().query({"vol": (0.2, 0.3), "strike": "70,130", "spot": [80.0, 120.0]})
    rows = list(zip(*(table[axis.name].tolist() for axis in GRID.axes), strict=True))
    assert rows == [
        (k, v, t, r, s)
        for k in (70.0, 130.0)
        for v in (0.2, 0.3)
        for t in (0.5, 1.0)
        for r in ("put", "call")
        for s in (80.0, 120.0)
    ]
    np.testing.assert_array_equal(table["price"], expected_price(table))


def test_a_query_reads_only_the_blocks_that_it_needs_and_each_once() -> None:
    store = Counting()
    run = priced(store=store)
    assert run.head.blocks == 112
    run.query({"strike": 100.0, "vol": 0.2, "right": "put", "expiry": 1.0, "spot": 100.0})
    assert len(store.read) == 1
    store.read.clear()
    # One family of the eight has 14 blocks.
    run.query({"vol": 0.2, "right": "put"})
    assert len(store.read) == len(set(store.read)) == 14
    store.read.clear()
    run.query(limit=3)
    assert len(store.read) == 1
    store.read.clear()
    run.status()
    assert store.read == []


def test_nearest_limit_and_measures_narrow_a_query() -> None:
    run = priced()
    with pytest.raises(SpecError, match=r"strike: 100\.9 is not there; the nearest is 100"):
        run.query({"strike": 100.9})
    table = run.query({"strike": 100.9}, nearest=True, limit=5, measures=["delta"])
    assert list(table) == ["strike", "vol", "expiry", "right", "spot", "delta", "error", "status"]
    assert table["strike"].tolist() == [100.0] * 5


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (["vega"], "measures: 'vega' is not in this run, which has price, delta"),
        (["deltas"], "did you mean 'delta'"),
    ],
)
def test_a_measure_that_is_not_there_is_refused(measures: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        priced().query(measures=measures)


def test_what_is_not_priced_yet_is_said_and_what_is_can_be_read() -> None:
    store = MemoryStore()

    def failing(plan: Plan, first: int, end: int) -> Iterator[tuple[int, Any]]:
        if first >= 40:
            while len(store.markers(plan.run_id)) < 20:
                time.sleep(0.001)
            raise ZeroDivisionError
        yield from formula(plan, first, end)

    with pytest.raises(ZeroDivisionError):
        priced(store=store, price=failing)
    run = open_run("latest", store)
    first_family: dict[str, Selected] = {"vol": 0.1, "right": "put"}
    table = run.query(first_family)
    np.testing.assert_array_equal(table["price"], expected_price(table))
    with pytest.raises(StoreError, match=r"of the 112 blocks that this needs are not priced yet"):
        run.query()
    with pytest.raises(StoreError, match=r"is incomplete, 36 of 56 chunks are not priced yet"):
        next(run.batches())


def test_a_block_of_the_wrong_size_is_damaged() -> None:
    store = MemoryStore()
    run = priced(store=store)
    block, data = next(store.blocks(run.id, [0]))
    store.put_blocks(run.id, [(block, data[:-25])])
    with pytest.raises(StoreError, match=r"block 0 is damaged, it must hold 93 cells of 25 bytes"):
        run.query()


def test_a_run_without_its_plan_is_damaged() -> None:
    store = MemoryStore()
    run = priced(store=store)
    store.delete(run.id)
    store.create(run.head, {})
    with pytest.raises(StoreError, match=r"run [0-9a-f]{12}: is damaged, it has no plan"):
        open_run("latest", store).query()


# --- books ---


def test_a_book_comes_back_in_the_order_of_its_file_with_its_own_columns() -> None:
    table = priced(Book.parse(BOOK)).query()
    assert list(table)[:3] == ["row", "symbol", "right"]
    assert table["row"].tolist() == [1, 2, 3, 4, 5]
    assert table["symbol"].tolist() == ["A", "B", "A", "C", "D"]
    ok = table["status"] == Status.ok
    assert ok.tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(table["price"][ok], expected_price(table)[ok])
    assert np.isnan(table["price"][~ok]).all()


def test_a_book_is_queried_by_row_and_by_column() -> None:
    run = priced(Book.parse(BOOK))
    assert run.query({"row": 3})["strike"].tolist() == [110]
    assert run.query({"symbol": "A", "strike": ":100"})["row"].tolist() == [1]
    assert run.query({"right": "call"}, limit=2)["row"].tolist() == [2, 4]
    assert run.query({"strike": "200:"})["price"].tolist() == []


def test_failures_are_told_by_reason_each_with_the_inputs_of_one_without_reading_the_book() -> None:
    run = priced(Book.parse(BOOK))
    fresh = Run(run.store, run.head)
    status = fresh.status()
    assert "plan" not in vars(fresh)
    assert (status.ok, status.failed) == (3, 2)
    missing, negative = sorted(status.failures, key=lambda failure: failure.reason)
    assert (missing.status, missing.reason, missing.count) == ("invalid", "vol is missing", 1)
    assert missing.example == {
        "row": 2,
        "right": "call",
        "exercise": "european",
        "spot": 100.0,
        "strike": 100.0,
        "expiry": 1.0,
        "vol": None,
        "rate": 0.01,
        "dividend_yield": 0.0,
    }
    assert (negative.reason, negative.example["vol"]) == ("vol must not be negative", -0.5)
    document = json.loads(json.dumps(status.to_json(), allow_nan=False))
    assert {
        "status": "invalid",
        "reason": "vol is missing",
        "count": 1,
        "example": missing.example,
    } in (document["failures"])


def test_a_book_is_read_back_from_the_store_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    table = priced(Book.parse(BOOK), SqliteStore(path)).query()
    again = open_run("latest", SqliteStore(path)).query()
    assert list(again) == list(table)
    for name, column in table.items():
        np.testing.assert_array_equal(again[name], column)


# --- whole runs ---


@pytest.mark.parametrize("batch_cells", [250, 131_072])
def test_batches_hold_every_cell_once_with_bounded_rows(
    batch_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "BATCH_CELLS", batch_cells)
    run = priced()
    batches = list(run.batches(["price"]))
    assert max(len(batch["price"]) for batch in batches) <= batch_cells
    names = ["strike", "vol", "expiry", "right", "spot", "price", "error", "status"]
    assert all(list(batch) == names for batch in batches)
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
    np.testing.assert_array_equal(whole["price"], expected_price(whole))
    assert sorted(whole["price"]) == sorted(run.query()["price"])


def test_batches_of_a_book_come_in_the_order_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "BATCH_CELLS", 2)
    run = priced(Book.parse(BOOK))
    batches = list(run.batches())
    assert [batch["row"].tolist() for batch in batches] == [[1, 2], [3, 4], [5]]
    whole = run.query()
    for name, column in whole.items():
        joined = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(joined, column)


def test_a_run_becomes_an_arrow_table() -> None:
    pytest.importorskip("pyarrow")
    run = priced()
    table, expected = run.to_arrow(), run.query()
    assert table.column_names == list(expected)
    np.testing.assert_array_equal(table["price"].to_numpy(), expected["price"])
    assert table["right"][0].as_py() == "put"
    assert table["status"][0].as_py() == "ok"


def test_a_grid_becomes_a_labelled_dataset_and_a_book_does_not() -> None:
    pytest.importorskip("xarray")
    run = priced()
    data = run.to_xarray()
    assert dict(data.sizes) == {"strike": 31, "vol": 4, "expiry": 2, "right": 2, "spot": 21}
    picked = data.price.sel(strike=100.0, vol=0.2, right="call", expiry=1.0, spot=80.0)
    cell: dict[str, Selected] = {
        "strike": 100.0,
        "vol": 0.2,
        "right": "call",
        "expiry": 1.0,
        "spot": 80.0,
    }
    assert picked.item() == run.query(cell)["price"].item()
    assert data.attrs["run"] == run.id
    with pytest.raises(SpecError, match="a book has no axes; use to_arrow"):
        priced(Book.parse(BOOK)).to_xarray()


# --- the real thing: kernels, an SQLite file, processes that die ---

AMERICAN = """
[contract]
type = "vanilla"
exercise = "american"
[axes]
strike = { start = 70.0, stop = 130.0, count = 61 }
spot = { start = 80.0, stop = 120.0, count = 41 }
vol = [0.15, 0.2, 0.3]
right = ["call", "put"]
expiry = [0.25, 0.5, 1.0, 2.0]
rate = [0.03, 0.05]
dividend_yield = 0.04
[method]
measures = ["price", "delta"]
"""
# Prices with the kernels, but takes its time over each block, so that there is time to kill it.
SUBMIT = """
import sys, time
from pricer.compiled import kernel_version
from pricer.executors.local import LocalExecutor
from pricer.grid import Grid
from pricer.plan import Plan
from pricer.pricing import price_chunk
from pricer.run import submit_plan
from pricer.stores import open_store

def slow(plan, first, end):
    for block in price_chunk(plan, first, end):
        time.sleep(float(sys.argv[3]))
        yield block

plan = Plan.of(Grid.parse(sys.argv[1]), kernel_version())
submit_plan(plan, open_store(sys.argv[2]), LocalExecutor(2, slow), chunk_blocks=2)
"""


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """Price the whole grid in one go."""
    return submit(Grid.parse(AMERICAN), MemoryStore()).query()


class Submit(subprocess.Popen[str]):
    """A process that submits the American grid to a store; killed at the end of its context."""

    def __init__(self, store: Store, block_s: float) -> None:
        self.started = time.monotonic()
        super().__init__(
            [sys.executable, "-c", SUBMIT, AMERICAN, store.url, str(block_s)],
            stderr=subprocess.PIPE,
            text=True,
        )

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.communicate()

    def wait_for_markers(self, store: Store, count: int) -> Run:
        """Wait until the run has so many chunks done, or more."""
        while self.poll() is None:
            assert time.monotonic() < self.started + 60
            runs = list_runs(store)
            if runs and len(store.markers(runs[0].id)) >= count:
                return runs[0]
            time.sleep(0.005)
        raise AssertionError(self.communicate()[1])


def assert_same(run: Run, expected: dict[str, Any]) -> None:
    table = run.query()
    assert list(table) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(table[name], column)


@pytest.mark.parametrize("markers", [0, 1, 10])
def test_a_run_killed_at_any_moment_is_incomplete_and_submit_finishes_it_bit_for_bit(
    markers: int, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    with Submit(store, 0.02) as process:
        run = process.wait_for_markers(store, markers)
        assert run.state in ("running", "incomplete")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run.state == "incomplete"
    status = run.status()
    assert markers <= status.chunks_done < status.chunks == 24
    again = submit(Grid.parse(AMERICAN), store)
    assert again.id == run.id
    assert again.state == "complete"
    assert again.head.chunk_blocks == 2
    assert_same(again, undisturbed)


def test_a_run_killed_again_and_again_gets_done(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Whatever the moment: while starting, pricing, writing blocks or markers."""
    store = SqliteStore(tmp_path / "runs.db")
    done = 0
    for kill in range(1, 8):
        with Submit(store, 0.002) as process:
            while process.poll() is None and not store.runs():
                time.sleep(0.001)
            time.sleep(0.013 * kill)
            process.send_signal(signal.SIGKILL)
        run = open_run("latest", store)
        assert len(store.markers(run.id)) >= done
        done = len(store.markers(run.id))
        for chunk in store.markers(run.id):
            blocks = run.plan.chunks(run.head.chunk_blocks)[chunk]
            assert [n for n, _ in store.blocks(run.id, blocks)] == list(blocks)
    assert_same(submit(Grid.parse(AMERICAN), store), undisturbed)


def test_a_second_process_attaches_and_takes_over_when_the_first_is_killed(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    told: list[int] = []
    with Submit(store, 0.05) as first:
        run = first.wait_for_markers(store, 2)

        def kill_when_attached(done: int) -> None:
            told.append(done)
            if len(told) == 3:
                first.send_signal(signal.SIGKILL)

        second = submit(Grid.parse(AMERICAN), store, on_progress=kill_when_attached)
    assert second.id == run.id
    assert second.state == "complete"
    assert 0 < told[0] < told[-1] == second.head.cells
    assert_same(second, undisturbed)


def test_two_processes_that_submit_at_once_make_one_run(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    with Submit(store, 0.01) as first, Submit(store, 0.01) as second:
        errors = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert errors == ["", ""]
    assert len(store.runs()) == 1
    assert_same(submit(Grid.parse(AMERICAN), store), undisturbed)


PEAK = """
import resource, sys
from pathlib import Path
from pricer import Grid, submit

grid = Grid.parse('''
[contract]
type = "vanilla"
exercise = "american"
right = "put"
[axes]
spot = { start = 80.0, stop = 120.0, count = 1500 }
strike = { start = 70.0, stop = 130.0, count = 1500 }
expiry = 1.0
vol = 0.2
rate = 0.05
''')
run = submit(grid, sys.argv[1])
assert run.status().done == 2_250_000
if sys.platform == "darwin":
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
else:  # where ru_maxrss starts from the peak of the parent
    words = Path("/proc/self/status").read_text().split()
    print(1024 * int(words[words.index("VmHWM:") + 1]))
"""


def test_memory_does_not_grow_with_the_run_one_giant_family_included(tmp_path: Path) -> None:
    url = SqliteStore(tmp_path / "runs.db").url
    done = subprocess.run(
        [sys.executable, "-c", PEAK, url], capture_output=True, text=True, check=True
    )
    # The blocks alone have 146 MB; the interpreter, NumPy and the kernels some 150.
    assert int(done.stdout) < 280e6
    assert (tmp_path / "runs.db").stat().st_size > 140e6


def test_ctrl_c_ends_a_submit_promptly_and_keeps_what_is_done(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    with Submit(store, 0.05) as process:
        run = process.wait_for_markers(store, 3)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
        assert time.monotonic() - interrupted < 3
    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert "Exception in thread" not in stderr
    assert run.state == "incomplete"
    assert run.status().chunks_done >= 3
    assert not list(tmp_path.glob("*.lock"))
    assert_same(submit(Grid.parse(AMERICAN), store), undisturbed)


# --- docs/blocks.md ---


def snippet(language: str) -> str:
    text = (Path(__file__).parent.parent / "docs" / "blocks.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    assert found[1].count("\n") == 3
    return found[1]


@pytest.fixture
def block() -> tuple[bytes, dict[str, Any]]:
    """Return the first block of a run, and the columns that are in it."""
    run = priced()
    data = dict(run.store.blocks(run.id, [0]))[0]
    batch = next(run.batches())
    return data, {name: batch[name][:93] for name in ("price", "delta", "error", "status")}


def test_three_lines_of_python_decode_a_block(block: tuple[bytes, dict[str, Any]]) -> None:
    data, columns = block
    names: dict[str, Any] = {"np": np, "block": data, "measures": ["price", "delta"]}
    exec(snippet("python"), names)
    for row, name in zip(names["values"], ("price", "delta", "error"), strict=True):
        np.testing.assert_array_equal(row, columns[name])
    np.testing.assert_array_equal(names["status"], columns["status"])


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node to run it")
def test_three_lines_of_javascript_decode_a_block(block: tuple[bytes, dict[str, Any]]) -> None:
    data, columns = block
    script = (
        'const measures = ["price", "delta"];'
        f'const block = Buffer.from("{data.hex()}", "hex");'
        f"{snippet('javascript')}"
        "console.log(JSON.stringify([...values, [...status]]));"
    )
    answer = subprocess.run(["node"], input=script, capture_output=True, text=True, check=True)
    for row, column in zip(json.loads(answer.stdout), columns.values(), strict=True):
        np.testing.assert_array_equal(row, column)


def test_a_grid_is_read_with_nothing_but_sqlite_and_the_documentation(tmp_path: Path) -> None:
    """Find one price as docs/blocks.md describes it, without this package."""
    path = tmp_path / "runs.db"
    run = priced(store=SqliteStore(path))
    with closing(sqlite3.connect(path)) as file:
        select = "SELECT data FROM {} JOIN runs ON runs.number = run WHERE run_id = ? {}"
        plan = file.execute(select.format("files", "AND files.name = 'plan'"), [run.id])
        document = json.loads(plan.fetchone()[0])
        blocks = file.execute(select.format("blocks", "ORDER BY block"), [run.id]).fetchall()
    axes = dict(document["spec"]["axes"])
    order = ["vol", "right", "strike", "expiry", "spot"]
    position = {"vol": 2, "right": 1, "strike": 30, "expiry": 0, "spot": 7}
    assert axes["right"][1] == "call"
    cell = 0
    for name in order:
        cell = cell * len(axes[name]) + position[name]
    starts = np.cumsum([0, *(len(data) // 25 for (data,) in blocks)])
    here = int(np.searchsorted(starts, cell, "right")) - 1
    names: dict[str, Any] = {"np": np, "block": blocks[here][0], "measures": ["price", "delta"]}
    exec(snippet("python"), names)
    wanted: dict[str, Selected] = {"right": "call"}
    wanted |= {n: float.fromhex(axes[n][i]) for n, i in position.items() if n != "right"}
    assert names["values"][0][cell - starts[here]] == run.query(wanted)["price"].item()
