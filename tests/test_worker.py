"""What workers leave in a table is what a local run leaves in its file."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cloud.tables import new_bucket, new_table
from pricer import worker
from pricer.aws import client
from pricer.blocks import decode_block
from pricer.book import Book
from pricer.cells import Cells
from pricer.compiled import kernel_version
from pricer.errors import KernelError, PlanError, RunNotFoundError, StoreError
from pricer.executors.local import LocalExecutor
from pricer.grid import Axis, Grid
from pricer.plan import GridPlan, Plan
from pricer.run import submit_plan
from pricer.settings import Settings
from pricer.stores import StoredRun
from pricer.stores.dynamodb import DynamoStore
from pricer.stores.memory import MemoryStore
from pricer.summary import Summary, merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pricer.stores import Store

CHUNK_BLOCKS = 2
GRID = Grid(
    axes=(
        Axis("exercise", ("european", "american")),
        Axis("spot", tuple(np.linspace(80.0, 120.0, 40))),
        Axis("strike", tuple(np.linspace(70.0, 130.0, 100))),
        Axis("vol", (0.0, 0.2, 0.3)),
    ),
    fixed={"right": "put", "expiry": 1.0, "rate": 0.05, "dividend_yield": 0.0},
    settings=Settings(measures=("price", "delta")),
)


def book_of(family_sizes: list[int]) -> Book:
    """Make a shuffled book of families of so many rows, some of which cannot be priced."""
    rng = np.random.default_rng(7)
    family = rng.permutation(np.repeat(np.arange(len(family_sizes)), family_sizes))
    count = len(family)
    spot = rng.uniform(50, 150, count)
    spot[:5] = np.nan
    columns: dict[str, Any] = {
        "right": np.where(family % 2, 1, -1).astype(np.int8),
        "exercise": (family % 3 > 0).astype(np.int8),
        "spot": spot,
        "strike": rng.uniform(50, 150, count),
        "expiry": rng.integers(1, 5, count) / 4,
        "vol": 0.1 + family / 100,
        "rate": np.full(count, 0.03),
        "dividend_yield": np.zeros(count),
    }
    return Book(Cells(columns), settings=Settings(measures=("price", "vega")))


BOOK = book_of([3, 7000, 1, 2600, 500, 40, 9000])


@pytest.fixture
def store(aws: str) -> Iterator[DynamoStore]:
    with new_table() as table, new_bucket() as bucket:
        yield DynamoStore(table, bucket=bucket)


def planned(spec: Grid | Book) -> Plan:
    return Plan.of(spec, kernel_version())


def create(store: Store, plan: Plan) -> StoredRun:
    head = StoredRun(plan.run_id, "", plan.cells, plan.blocks, CHUNK_BLOCKS, "2026-11-23")
    return store.create(head, {"plan": plan.to_json().encode()} | plan.columns())


def manifest(store: DynamoStore, made: dict[str, Any]) -> list[dict[str, Any]]:
    body = client("s3").get_object(Bucket=made["bucket"], Key=made["key"])["Body"].read()
    items: list[dict[str, Any]] = json.loads(body)
    return items


def price_all(store: DynamoStore, run_id: str) -> None:
    for item in manifest(store, worker.plan_run(store, run_id)):
        worker.price_chunk(store, item["run"], item["first"], item["end"])


def priced_here(plan: Plan) -> MemoryStore:
    store = MemoryStore()
    submit_plan(plan, store, LocalExecutor(1), chunk_blocks=CHUNK_BLOCKS)
    return store


@pytest.mark.parametrize("spec", [GRID, BOOK], ids=["grid", "book"])
def test_a_run_is_the_local_run_bit_by_bit(store: DynamoStore, spec: Grid | Book) -> None:
    plan = planned(spec)
    assert plan.blocks > 3 * CHUNK_BLOCKS
    create(store, plan)
    price_all(store, plan.run_id)
    here = priced_here(plan)
    numbers = range(plan.blocks)
    assert dict(store.blocks(plan.run_id, numbers)) == dict(here.blocks(plan.run_id, numbers))
    assert store.markers(plan.run_id) == here.markers(plan.run_id)
    total = merge(map(Summary.from_json, store.markers(plan.run_id).values()))
    assert bool(total.failures) == isinstance(spec, Book)
    assert worker.finish_run(store, plan.run_id)["state"] == "complete"


def test_the_plan_lists_the_chunks_that_are_not_done_and_forgets_why(store: DynamoStore) -> None:
    plan = planned(GRID)
    head = create(store, plan)
    made = worker.plan_run(store, plan.run_id)
    assert (made["run"], made["chunks"]) == (plan.run_id, head.chunks)
    worker.price_chunk(store, plan.run_id, 2, 4)
    reason = {"pk": plan.run_id, "sk": "failed#0", "error": "StoreError", "cause": "", "first": 0}
    store.table.put(reason | {"end": 2, "at": "2026"})
    assert store.reasons(plan.run_id)
    items = manifest(store, worker.plan_run(store, plan.run_id))
    queued = items[0]["queued"]
    assert items[:2] == [
        {"run": plan.run_id, "first": 0, "end": 2, "queued": queued},
        {"run": plan.run_id, "first": 4, "end": 6, "queued": queued},
    ]
    assert queued == pytest.approx(time.time(), abs=60)
    assert items[-1]["end"] == plan.blocks
    assert len(items) == head.chunks - 1
    assert not store.reasons(plan.run_id)


def test_a_chunk_that_is_done_is_not_priced_again(store: DynamoStore) -> None:
    plan = planned(GRID)
    create(store, plan)
    cells = plan.block_range(1)[1]
    priced = worker.price_chunk(store, plan.run_id, 0, 2)
    assert (priced["chunk"], priced["cells"], priced["priced"]) == (0, cells, cells)
    again = worker.price_chunk(store, plan.run_id, 0, 2)
    assert again == {"chunk": 0, "cells": cells, "priced": 0}


def test_a_chunk_priced_twice_at_once_is_stored_once(store: DynamoStore) -> None:
    plan = planned(GRID)
    create(store, plan)
    threads = [
        threading.Thread(target=worker.price_chunk, args=(store, plan.run_id, 0, 2))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    here = priced_here(plan)
    assert store.markers(plan.run_id) == {0: here.markers(plan.run_id)[0]}
    assert dict(store.blocks(plan.run_id, range(9))) == dict(here.blocks(plan.run_id, range(2)))


def test_a_chunk_whose_blocks_cannot_be_written_has_no_marker(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(GRID)
    create(store, plan)

    def fail(*_: object) -> None:
        raise StoreError("table runs: was throttled for 3.0 s")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_blocks", fail)
        with pytest.raises(StoreError, match="throttled"):
            worker.price_chunk(store, plan.run_id, 0, 2)
    assert store.marker(plan.run_id, 0) is None
    assert worker.price_chunk(store, plan.run_id, 0, 2)["priced"]


def test_blocks_are_written_as_they_are_priced(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(GRID)
    create(store, plan)
    written: list[list[int]] = []
    put = store.put_blocks

    def put_blocks(run_id: str, blocks: list[tuple[int, bytes]]) -> None:
        assert store.marker(run_id, 0) is None
        written.append([number for number, _ in blocks])
        put(run_id, blocks)

    monkeypatch.setattr(store, "put_blocks", put_blocks)
    monkeypatch.setattr(worker, "WRITE_BLOCKS", 1)
    worker.price_chunk(store, plan.run_id, 0, 2)
    assert [batch for batch in written if batch] == [[0], [1]]


def test_a_marker_says_what_its_chunk_took(store: DynamoStore) -> None:
    plan = planned(GRID)
    create(store, plan)
    before = round(time.time(), 3)
    worker.price_chunk(store, plan.run_id, 0, 2, usage={"request": "r-1", "cold": True})
    [usage] = store.usages(plan.run_id).values()
    assert (usage["request"], usage["cold"]) == ("r-1", True)
    assert usage["handler_ms"] > 0
    assert before <= usage["started_at"] <= usage["freed_at"] == usage["done_at"] <= time.time()
    assert 0 < usage["kernel_ms"] <= usage["handler_ms"] + 1
    assert 0 < usage["write_ms"] <= usage["handler_ms"] + 1
    packed = sum(len(data) for _, data in store.blocks(plan.run_id, range(2)))
    assert 0 < usage["write_units"] <= packed / 1000 + 2


def test_the_summary_has_the_means_along_each_axis(store: DynamoStore) -> None:
    plan = planned(GRID)
    assert isinstance(plan, GridPlan)
    create(store, plan)
    price_all(store, plan.run_id)
    finished = worker.finish_run(store, plan.run_id)
    assert finished == {
        "run": plan.run_id,
        "state": "complete",
        "missing": 0,
        "cells": plan.cells,
        "done": plan.cells,
        "ok": plan.cells,
    }
    summary = store.summary(plan.run_id)
    assert summary
    assert (summary["state"], summary["missing"]) == ("complete", [])
    blocks = store.blocks(plan.run_id, range(plan.blocks))
    price = np.concatenate([decode_block(data, plan.measures)["price"] for _, data in blocks])
    positions = plan.positions(np.arange(plan.cells))
    assert summary["measures"]["price"]["mean"] == pytest.approx(price.mean())
    assert list(summary["axes"]) == [axis.name for axis in plan.axes]
    for axis in plan.axes:
        rows = summary["axes"][axis.name]
        assert [row["value"] for row in rows] == list(axis.values)
        for number, row in enumerate(rows):
            expected = price[positions[axis.name] == number].mean()
            assert row["price"] == pytest.approx(expected, rel=1e-12)


def test_there_are_no_means_along_axes_where_a_process_priced_some_chunks(
    store: DynamoStore,
) -> None:
    plan = planned(GRID)
    create(store, plan)
    price_all(store, plan.run_id)
    store.table.delete_all([(plan.run_id, "axes#0000000000")])
    assert worker.finish_run(store, plan.run_id)["state"] == "complete"
    summary = store.summary(plan.run_id)
    assert summary
    assert summary["axes"] == {}


def test_the_summary_of_a_run_that_lacks_chunks_names_them(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MOST_MISSING", 2)
    plan = planned(BOOK)
    head = create(store, plan)
    worker.price_chunk(store, plan.run_id, 2, 4)
    finished = worker.finish_run(store, plan.run_id)
    assert (finished["state"], finished["missing"]) == ("incomplete", head.chunks - 1)
    summary = store.summary(plan.run_id)
    assert summary
    assert summary["missing"][:2] == ["blocks 0 to 1", "blocks 4 to 5"]
    assert summary["missing"][2] == f"and {head.chunks - 3} more"
    assert summary["done"] == plan.block_range(3)[1] - plan.block_range(2)[0]


# --- what cannot be priced says why ---


def test_a_run_that_is_not_there_is_not_found(store: DynamoStore) -> None:
    for work in (worker.plan_run, worker.finish_run):
        with pytest.raises(RunNotFoundError, match="run abababababab: is not in dynamodb://"):
            work(store, "ab" * 32)
    with pytest.raises(RunNotFoundError):
        worker.price_chunk(store, "ab" * 32, 0, 2)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (b"{", "a plan must be JSON"),
        (b"\xff", "its plan must be UTF-8"),
        (b'{"format": 1}', "a plan must be of format 2, got 1; another version"),
        (None, "is not there or too short; delete the run and submit it again"),
        (planned(GRID).to_json().encode(), "its plan is that of run"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(
    store: DynamoStore, plan: bytes | None, message: str
) -> None:
    good = planned(BOOK)
    head = StoredRun(good.run_id, "", good.cells, good.blocks, CHUNK_BLOCKS, "2026-11-23")
    store.create(head, {"plan": plan or b"gone"} | good.columns())
    if plan is None:
        s3 = client("s3")
        keys = [kept["Key"] for kept in s3.list_objects_v2(Bucket=store.bucket)["Contents"]]
        [key] = [key for key in keys if key.endswith("/plan")]
        s3.delete_object(Bucket=store.bucket, Key=key)
    with pytest.raises(PlanError, match=message):
        worker.plan_run(store, good.run_id)
    with pytest.raises(PlanError, match=message):
        worker.price_chunk(store, good.run_id, 0, 2)


def test_a_plan_that_was_damaged_is_read_anew_when_its_run_is_submitted_again(
    store: DynamoStore,
) -> None:
    plan = planned(GRID)
    head = StoredRun(plan.run_id, "", plan.cells, plan.blocks, CHUNK_BLOCKS, "2026-11-23")
    for damaged in (b"{", planned(BOOK).to_json().encode()):
        store.create(head, {"plan": damaged})
        with pytest.raises(PlanError):
            worker.plan_run(store, plan.run_id)
        store.delete(plan.run_id)
    create(store, plan)
    assert worker.plan_run(store, plan.run_id)["chunks"]


def test_a_run_that_is_deleted_while_its_plan_is_read_is_not_found(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(BOOK)
    create(store, plan)
    worker.price_chunk(store, plan.run_id, 0, 2)
    read = store.read

    def delete_first(*args: Any) -> bytes:
        if store.runs():
            store.delete(plan.run_id)
        return read(*args)

    monkeypatch.setattr(store, "read", delete_first)
    with pytest.raises(RunNotFoundError):
        worker.price_chunk(store, plan.run_id, 2, 4)


def test_a_plan_of_another_number_of_blocks_is_refused(store: DynamoStore) -> None:
    plan = planned(GRID)
    head = StoredRun(plan.run_id, "", plan.cells, plan.blocks - 1, CHUNK_BLOCKS, "2026-11-23")
    store.create(head, {"plan": plan.to_json().encode()})
    with pytest.raises(PlanError, match=rf"must have {plan.blocks - 1} blocks, its plan has"):
        worker.plan_run(store, plan.run_id)


def test_a_book_of_which_a_column_is_cut_short_is_refused(store: DynamoStore) -> None:
    plan = planned(BOOK)
    columns = plan.columns()
    columns["strike"] = columns["strike"][:80]
    head = StoredRun(plan.run_id, "", plan.cells, plan.blocks, CHUNK_BLOCKS, "2026-11-23")
    store.create(head, {"plan": plan.to_json().encode()} | columns)
    with pytest.raises(PlanError, match="a book's plan is damaged: its file strike must have"):
        worker.price_chunk(store, plan.run_id, 0, 2)


def test_blocks_that_are_no_chunk_are_refused(store: DynamoStore) -> None:
    plan = planned(GRID)
    create(store, plan)
    for first, end in ((0, 3), (1, 3), (400, 402)):
        with pytest.raises(PlanError, match=f"has no chunk of blocks {first} to {end - 1};"):
            worker.price_chunk(store, plan.run_id, first, end)


def test_a_plan_for_other_kernels_is_refused(store: DynamoStore) -> None:
    plan = Plan.of(GRID, "0123456789abcdef")
    create(store, plan)
    with pytest.raises(KernelError, match=r"needs kernels 0123456789ab, this image has .*; deploy"):
        worker.price_chunk(store, plan.run_id, 0, 2)
