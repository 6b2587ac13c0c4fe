"""Runs on AWS from end to end: the deployed stacks, real processes, and what goes wrong there.

After every fault nothing is lost, nothing doubled, and the values are those of a local run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloud.faults import happened, inject
from cloud.submitted import call, chunk_events, submitted
from panels import columns_of, write_panel
from pricer import cloud
from pricer.aws import client
from pricer.billing import run_cost
from pricer.compiled import kernel_version
from pricer.errors import StoreError
from pricer.executors.local import LocalExecutor
from pricer.executors.stepfunctions import Deployment, StepFunctionsExecutor, cancel
from pricer.grid import Grid
from pricer.pictures.timeline import draw_timeline
from pricer.plan import Plan
from pricer.reading import read_spec
from pricer.run import Run, as_store, submit_plan
from pricer.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pricer.stores import Store

PROGRAM = Path(sys.executable).with_name("pricer")
FILE = """
name = "a hundred thousand"
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 76.0, stop = 124.0, count = 25 }
strike = { start = 70.0, stop = 130.0, count = 25 }
expiry = [0.1, 0.25, 0.5, 1.0, 2.0]
vol = { start = 0.1, stop = 0.45, count = 4 }
rate = [0.0, 0.02]
dividend_yield = [0.0, 0.02]
"""
WAIT_S = 60.0

another = count(1)


@pytest.fixture
def plan() -> Plan:
    return another_plan()


def another_plan() -> Plan:
    """Return a plan of 100,000 cells in 128 blocks that no other test has."""
    text = FILE.replace("start = 0.1,", f"start = {0.1 + 0.001 * next(another)},")
    return Plan.of(Grid.parse(text), kernel_version())


@pytest.fixture
def deployment(aws: str, cloud: dict[str, str]) -> Iterator[Deployment]:
    yield Deployment.find()
    inject(aws)


def price(
    deployment: Deployment, plan: Plan, chunk_blocks: int, at_once: int = 2, *, detach: bool = False
) -> Run:
    executor = StepFunctionsExecutor(deployment, at_once, detach=detach)
    return submit_plan(plan, deployment.store(), executor, chunk_blocks=chunk_blocks)


def stored(store: Store, plan: Plan) -> dict[int, bytes]:
    return dict(store.blocks(plan.run_id, range(plan.blocks)))


def assert_as_priced_here(run: Run, plan: Plan) -> None:
    """Check that a run is complete and whole, bit by bit a local run's, and nothing is twice."""
    here = submit_plan(plan, as_store(), LocalExecutor(2), chunk_blocks=run.head.chunk_blocks)
    wanted, got = here.status().to_json(), run.status().to_json()
    assert got | {"submitted_at": ""} == wanted | {"submitted_at": ""}
    assert stored(run.store, plan) == stored(here.store, plan)
    assert items_of_blocks(run) == plan.blocks


def items_of_blocks(run: Run) -> int:
    """Count the items that are a run's blocks, whoever wrote them."""
    table = run.store.url.removeprefix("dynamodb://").partition("?")[0]
    pages = (
        client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=table,
            FilterExpression="sk = :block AND begins_with(pk, :run)",
            ExpressionAttributeValues={":block": {"S": "block"}, ":run": {"S": f"{run.id}#"}},
            Select="COUNT",
            ConsistentRead=True,
        )
    )
    return sum(page["Count"] for page in pages)


def executions(deployment: Deployment, run: Run) -> list[str]:
    """Return how the executions for a run stand, the last one first."""
    listed = client("stepfunctions").list_executions(stateMachineArn=deployment.state_machine)
    return [e["status"] for e in listed["executions"] if e["name"].startswith(run.id)]


def pricer(*arguments: object) -> Any:
    """Run the program; return the JSON document that it prints."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_line_prices_on_aws_what_it_prices_here(
    tmp_path: Path, deployment: Deployment
) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(FILE, encoding="utf-8")
    there = pricer("submit", file, "--on", "aws")
    here = pricer("submit", file)
    assert (there["run"], there["state"], there["cells"]) == (here["run"], "complete", 100_000)
    pricer("export", there["run"], tmp_path / "there.csv", "--on", "aws")
    pricer("export", here["run"], tmp_path / "here.csv")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert pricer("submit", file, "--on", "aws")["priced"] == 0


def test_a_panel_is_priced_there_as_it_is_here(tmp_path: Path, deployment: Deployment) -> None:
    file = write_panel(tmp_path, columns_of([2_000] * 20), contract="window = 250\nstep = 5")
    there = pricer("submit", file, "--on", "aws")
    here = pricer("submit", file)
    assert (there["run"], there["state"], there["cells"]) == (here["run"], "complete", 14_040)
    assert there["inversions"] == here["inversions"] > 14_040 * 240
    pricer("export", there["run"], tmp_path / "there.csv", "--on", "aws")
    pricer("export", here["run"], tmp_path / "here.csv")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_panel_is_resumed_there_by_the_days_that_are_there(
    tmp_path: Path, deployment: Deployment, aws: str
) -> None:
    file = write_panel(tmp_path, columns_of([1_000] * 20), contract="window = 250\nstep = 5")
    here = pricer("submit", file)
    name = here["run"]
    inject(aws, fatal_events=[{"run": name, "first": 0}])
    failed = subprocess.run([PROGRAM, "submit", file, "--on", "aws"], check=False)
    assert failed.returncode == 1
    inject(aws)
    (tmp_path / "firms.parquet").unlink()
    there = pricer("resume", name, "--on", "aws")
    assert there["priced"] > 0
    assert (there["state"], there["inversions"]) == ("complete", here["inversions"])
    pricer("export", name, tmp_path / "there.csv", "--on", "aws")
    pricer("export", name, tmp_path / "here.csv")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_panel_whose_days_did_not_all_arrive_is_not_resumed(
    tmp_path: Path, deployment: Deployment, aws: str
) -> None:
    file = write_panel(tmp_path, columns_of([300] * 3))
    spec = read_spec(file)
    plan = Plan.of(spec, deployment.kernel_version)
    store = submitted(deployment, plan, chunk_blocks=1)
    run = Run(store, store.run(plan.run_id))
    with pytest.raises(StoreError, match=r"its equity is not in bucket .*; submit its file again"):
        cloud.resume(deployment, run)
    assert run.state == "incomplete"


def test_a_chunk_that_is_delivered_twice(deployment: Deployment, plan: Plan) -> None:
    store = submitted(deployment, plan, chunk_blocks=64)
    first, second = chunk_events(plan, 64)
    with ThreadPoolExecutor(2) as pool:
        at_once = pool.map(call, [deployment.price_function] * 2, [first] * 2)
        assert [answer["cells"] for answer in at_once] == [50_000] * 2
    assert call(deployment.price_function, second)["priced"] == 50_000
    assert call(deployment.price_function, second)["priced"] == 0
    assert_as_priced_here(Run(store, store.run(plan.run_id)), plan)


def test_writes_that_are_throttled_and_done_in_part(
    deployment: Deployment, aws: str, plan: Plan
) -> None:
    inject(aws, throttled_batches=3, partial_batches=4)
    run = price(deployment, plan, chunk_blocks=32)
    assert happened(aws) == {"throttled_batches": 3, "partial_batches": 4}
    assert_as_priced_here(run, plan)


def test_a_run_that_is_cancelled_half_way_is_finished_by_the_next_submit(
    deployment: Deployment, aws: str, plan: Plan
) -> None:
    inject(aws, slow_batches=1_000, slow_s=0.1)
    run = price(deployment, plan, chunk_blocks=4, detach=True)
    deadline = time.monotonic() + WAIT_S
    while len(run.store.markers(run.id)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cancel(run.head, run.store)
    inject(aws)
    done = run.status().done
    assert 0 < done < plan.cells
    assert run.state == "incomplete"
    run = price(deployment, plan, chunk_blocks=4)
    assert run.priced <= plan.cells - done
    assert executions(deployment, run) == ["SUCCEEDED", "ABORTED"]
    assert_as_priced_here(run, plan)


def test_a_chunk_that_always_fails_stops_no_other(
    deployment: Deployment, aws: str, plan: Plan
) -> None:
    inject(aws, fatal_events=[{"run": plan.run_id, "first": 24}])
    run = price(deployment, plan, chunk_blocks=8)
    status = run.status()
    assert (status.state, status.chunks_done, status.chunks) == ("incomplete", 15, 16)
    ((blocks, reason),) = status.reasons.items()
    assert blocks == "blocks 24 to 31"
    assert reason.startswith("Runtime.ExitError: ")
    assert executions(deployment, run) == ["FAILED"]
    # Once, and three times again.
    assert happened(aws) == {"fatal_events": 4}
    inject(aws)
    run = price(deployment, plan, chunk_blocks=8)
    assert run.priced == sum(end - first for first, end in map(plan.block_range, range(24, 32)))
    assert_as_priced_here(run, plan)


@pytest.mark.parametrize("damage", ["missing", "cut short", "another's"])
def test_a_plan_that_is_missing_or_damaged(
    deployment: Deployment, aws: str, plan: Plan, damage: str
) -> None:
    store = submitted(deployment, plan, chunk_blocks=64)
    at = {"Bucket": deployment.bucket, "Key": plan_key(deployment, plan)}
    whole = client("s3").get_object(**at)["Body"].read()
    match damage:
        case "missing":
            client("s3").delete_object(**at)
        case "cut short":
            client("s3").put_object(**at, Body=whole[:-100])
        case _:
            client("s3").put_object(**at, Body=another_plan().to_json().encode())
    executor = StepFunctionsExecutor(deployment, 2)
    executor.execute(plan, store.run(plan.run_id), store, lambda: None)
    status = Run(store, store.run(plan.run_id)).status()
    assert (status.state, status.done) == ("incomplete", 0)
    assert status.reasons["run"].startswith("PlanError: ")
    assert "\n" not in status.reasons["run"]
    assert executions(deployment, Run(store, store.run(plan.run_id))) == ["FAILED"]


def plan_key(deployment: Deployment, plan: Plan) -> str:
    """Return where on S3 the plan of a run is."""
    there = client("s3").list_objects_v2(Bucket=deployment.bucket, Prefix=f"runs/{plan.run_id}/")
    (key,) = [o["Key"] for o in there["Contents"] if o["Key"].endswith("/plan")]
    return str(key)


def test_a_worker_that_is_killed_in_mid_chunk(deployment: Deployment, aws: str, plan: Plan) -> None:
    inject(aws, kill_at_batch=1)
    run = price(deployment, plan, chunk_blocks=64, at_once=1)
    assert happened(aws) == {"kill_at_batch": 1}
    bill = run_cost(deployment, deployment.store(), run.id)
    assert (bill.source, bill.spare) == ("logs", 1)
    assert_as_priced_here(run, plan)


def test_the_timeline_says_which_container_priced_which_chunk_and_at_which_attempt(
    deployment: Deployment, aws: str, plan: Plan, tmp_path: Path
) -> None:
    inject(aws, kill_at_batch=1)
    run = price(deployment, plan, chunk_blocks=32, at_once=1)
    found = timeline(run)
    assert [chunk.chunk for chunk in found.chunks] == [0, 1, 2, 3]
    assert [chunk.attempt for chunk in found.chunks] == [2, 1, 1, 1]
    # Who was killed is replaced by a new one, which prices the rest too.
    assert [chunk.cold for chunk in found.chunks] == [True, False, False, False]
    assert found.workers == 1
    assert found.chunks[0].init_s > 0
    assert len({chunk.queued for chunk in found.chunks}) == 1
    for chunk in found.chunks:
        assert 0 < chunk.queued < chunk.started < chunk.done
        assert 0 < chunk.kernel_s < chunk.seconds
        assert chunk.write_s > 0
    assert max(going for _, going in found.concurrency()) == 1
    draw_timeline(found, tmp_path / "timeline.svg")
    assert_as_priced_here(run, plan)


def test_a_handler_that_times_out(deployment: Deployment, aws: str, plan: Plan) -> None:
    function = {"FunctionName": deployment.price_function}
    timeout = client("lambda").get_function_configuration(**function)["Timeout"]
    # A store gives up some seconds before its function would.
    client("lambda").update_function_configuration(**function, Timeout=7)
    try:
        inject(aws, slow_batches=1, slow_s=8)
        run = price(deployment, plan, chunk_blocks=128)
    finally:
        client("lambda").update_function_configuration(**function, Timeout=timeout)
    assert happened(aws) == {"slow_batches": 1}
    bill = run_cost(deployment, deployment.store(), run.id)
    assert bill.spare == 1
    assert bill.spare_s >= 7
    assert_as_priced_here(run, plan)


def test_a_table_that_is_deleted_meanwhile(deployment: Deployment, aws: str, plan: Plan) -> None:
    dynamodb = client("dynamodb")
    table = dynamodb.describe_table(TableName=deployment.table)["Table"]
    inject(aws, slow_batches=1, slow_s=2)
    run = price(deployment, plan, chunk_blocks=64, detach=True)
    dynamodb.update_table(TableName=deployment.table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=deployment.table)
    try:
        with pytest.raises(StoreError, match=deployment.table):
            run.status()
        with pytest.raises(StoreError, match=deployment.table):
            price(deployment, plan, chunk_blocks=64)
        deadline = time.monotonic() + WAIT_S
        while executions(deployment, run) == ["RUNNING"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert executions(deployment, run) == ["FAILED"]
    finally:
        dynamodb.create_table(
            **{name: table[name] for name in ("TableName", "KeySchema", "AttributeDefinitions")},
            BillingMode="PAY_PER_REQUEST",
        )
    # Submitted again where there is a table, it is a new run.
    assert_as_priced_here(price(deployment, plan, chunk_blocks=64), plan)
