"""The executor against state machines that price nothing: who starts, attaches, waits, stops."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

import pricer
from cloud.tables import new_bucket, new_table
from pricer import aws as pricer_aws
from pricer.aws import client
from pricer.errors import AwsError, SpecError, StoreError
from pricer.executors.stepfunctions import Deployment, StepFunctionsExecutor, cancel
from pricer.stores import StoredRun
from pricer.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pricer.plan import Plan
    from pricer.stores.dynamodb import DynamoStore

RUN = StoredRun("a" * 64, "small", 10, 4, 2, "2026-11-03T09:00:00+00:00")
PLAN = cast("Plan", SimpleNamespace(bulk=dict))
OUTPUTS = {
    "TableName": "runs",
    "BucketName": "plans",
    "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:Pricer",
    "PlanFunctionName": "plan",
    "PriceFunctionName": "price",
    "FinishFunctionName": "finish",
    "WebFunctionName": "web",
    "StartFunctionArn": "start",
    "ScheduleGroupName": "Pricer",
    "ScheduleRoleArn": "role",
    "LogGroupName": "log",
    "KernelVersion": "kernel",
    "Version": pricer.__version__,
    "Architecture": "x86_64",
    "MemoryMb": "1769",
    "KeepDays": "90",
}


def nothing() -> None:
    """Be woken."""


# --- the deployment ---


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what lets CloudFormation describe a stack of a status and outputs."""

    def describe(status: str = "CREATE_COMPLETE", **changed: str | None) -> None:
        outputs = {k: v for k, v in (OUTPUTS | changed).items() if v is not None}
        stack = {
            "StackStatus": status,
            "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()],
        }
        formation = SimpleNamespace(
            meta=SimpleNamespace(region_name="eu-west-1"),
            describe_stacks=lambda **_: {"Stacks": [stack]},
        )
        monkeypatch.setattr(pricer_aws, "client", lambda *_, **__: formation)

    return describe


def test_a_deployment_is_what_a_stack_says_of_itself(described: Callable[..., None]) -> None:
    described()
    found = Deployment.find("Mine")
    assert found == Deployment(
        stack="Mine",
        region="eu-west-1",
        table="runs",
        bucket="plans",
        state_machine=OUTPUTS["StateMachineArn"],
        plan_function="plan",
        price_function="price",
        finish_function="finish",
        web_function="web",
        start_function="start",
        schedule_group="Pricer",
        schedule_role="role",
        log_group="log",
        kernel_version="kernel",
        version=pricer.__version__,
        architecture="x86_64",
        memory_mb=1769,
        keep_days=90,
    )
    found.check_version()
    store = found.store(keep_days=7)
    assert store.url == "dynamodb://runs?region=eu-west-1&bucket=plans"
    assert store.keep_days == 7
    assert found.store().keep_days == 90


def test_runs_are_not_kept_longer_than_their_files(described: Callable[..., None]) -> None:
    described(KeepDays="30")
    message = "^keep: must be at most the 30 days of stack 'Pricer', got 31; deploy it with"
    with pytest.raises(SpecError, match=message):
        Deployment.find().store(31)


@pytest.mark.parametrize(
    "status", ["UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"]
)
def test_a_stack_that_is_there_is_used(status: str, described: Callable[..., None]) -> None:
    described(status)
    assert Deployment.find().table == "runs"


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        ("CREATE_IN_PROGRESS", "wait for it"),
        ("UPDATE_IN_PROGRESS", "wait for it"),
        ("ROLLBACK_COMPLETE", "deploy it again"),
        ("DELETE_FAILED", "deploy it again"),
    ],
)
def test_a_stack_that_is_not_ready_says_so(
    status: str, fix: str, described: Callable[..., None]
) -> None:
    described(status)
    with pytest.raises(AwsError, match=rf"^stack 'Pricer' in eu-west-1: is {status}; {fix}$"):
        Deployment.find()


def test_a_stack_of_something_else_says_what_it_lacks(described: Callable[..., None]) -> None:
    described(StateMachineArn=None)
    message = "has no output StateMachineArn, so it is not one of pricer's, or of an older"
    with pytest.raises(AwsError, match=message):
        Deployment.find()


def test_a_stack_of_another_version_is_not_submitted_to(described: Callable[..., None]) -> None:
    described(Version="0.0.9")
    with pytest.raises(AwsError, match=r"is of pricer 0\.0\.9, this is .*; deploy it again"):
        Deployment.find().check_version()


def test_a_stack_that_is_not_there_says_in_which_region(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    message = "^stack 'Nope' in eu-central-1: is not there; `pricer deploy` makes it, or name"
    with pytest.raises(AwsError, match=message):
        Deployment.find("Nope")


# --- executions ---


@pytest.fixture
def deployment(aws: str) -> Iterator[Deployment]:
    """Deploy a table, a bucket, and a state machine whose executions last half a second."""
    with new_table() as table, new_bucket() as bucket:
        yield Deployment(
            stack="Pricer",
            region="us-east-1",
            table=table,
            bucket=bucket,
            state_machine=machine("brief", wait(0.5)),
            plan_function="",
            price_function="",
            finish_function="",
            web_function="",
            start_function="",
            schedule_group="",
            schedule_role="",
            log_group="",
            kernel_version="kernel",
            version=pricer.__version__,
            architecture="x86_64",
            memory_mb=1769,
            keep_days=90,
        )


def wait(seconds: float) -> dict[str, Any]:
    """Return a state that takes this long."""
    # The emulator waits a fiftieth as long: conftest.AS_TESTED.
    return {"Type": "Wait", "Seconds": round(50 * seconds), "End": True}


def machine(name: str, state: dict[str, Any]) -> str:
    """Make a state machine of one state; return its ARN."""
    created: dict[str, str] = client("stepfunctions").create_state_machine(
        name=f"{name}-{time.monotonic_ns()}",
        roleArn="arn:aws:iam::000000000000:role/states",
        definition=json.dumps({"StartAt": "Only", "States": {"Only": state}}),
    )
    return created["stateMachineArn"]


@pytest.fixture
def long(deployment: Deployment) -> Deployment:
    """Deploy a state machine whose executions last longer than a test."""
    return replace(deployment, state_machine=machine("long", wait(20)))


@pytest.fixture
def store(deployment: Deployment) -> DynamoStore:
    """Return the store of the deployment, with a run in it."""
    opened = deployment.store()
    opened.create(RUN, {"plan": b"{}"})
    return opened


def executions(deployment: Deployment) -> list[dict[str, Any]]:
    """Describe the executions of the state machine, in the order of their attempts."""
    states = client("stepfunctions")
    listed = states.list_executions(stateMachineArn=deployment.state_machine)["executions"]
    found = [states.describe_execution(executionArn=e["executionArn"]) for e in listed]
    return sorted(found, key=lambda execution: str(execution["name"]))


def names(deployment: Deployment) -> list[tuple[str, str]]:
    return [(e["name"].removeprefix(f"{RUN.run_id}-"), e["status"]) for e in executions(deployment)]


def execute(deployment: Deployment, store: DynamoStore, **options: Any) -> None:
    executor = StepFunctionsExecutor(deployment, 7, **options)
    with executor.own(RUN, store) as owned:
        assert owned
        executor.execute(PLAN, RUN, store, nothing)


def test_an_execution_is_named_by_run_and_attempt_and_told_the_concurrency(
    deployment: Deployment, store: DynamoStore
) -> None:
    woken: list[float] = []
    executor = StepFunctionsExecutor(deployment, 7, {"total": 0.36})
    executor.execute(PLAN, RUN, store, lambda: woken.append(time.monotonic()))
    (execution,) = executions(deployment)
    assert execution["name"] == f"{RUN.run_id}-1"
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["input"]) == {"run": RUN.run_id, "attempt": 1, "concurrency": 7}
    assert woken
    assert store.planned(RUN.run_id) == {"total": 0.36}
    execute(deployment, store)
    assert names(deployment) == [("1", "SUCCEEDED"), ("2", "SUCCEEDED")]


def test_an_execution_that_ends_at_once_is_not_started_twice(
    deployment: Deployment, store: DynamoStore
) -> None:
    at_once = replace(deployment, state_machine=machine("at-once", {"Type": "Succeed"}))
    execute(at_once, store)
    assert names(at_once) == [("1", "SUCCEEDED")]


def test_a_run_that_is_going_is_attached_to(deployment: Deployment, store: DynamoStore) -> None:
    threads = [threading.Thread(target=execute, args=(deployment, store)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(deployment) == [("1", "SUCCEEDED")]


def test_who_detaches_does_not_wait(long: Deployment, store: DynamoStore) -> None:
    execute(long, store, detach=True)
    execute(long, store, detach=True)
    assert names(long) == [("1", "RUNNING")]
    assert store.running(RUN.run_id)


def test_a_name_that_was_used_before_is_not_used_again(
    deployment: Deployment, store: DynamoStore
) -> None:
    execute(deployment, store)
    # As where the table was deleted, or its item expired, but Step Functions still remembers.
    client("dynamodb").delete_item(
        TableName=deployment.table, Key={"pk": {"S": RUN.run_id}, "sk": {"S": "lock"}}
    )
    execute(deployment, store)
    assert names(deployment) == [("1", "SUCCEEDED"), ("2", "SUCCEEDED")]


def test_what_cannot_be_started_leaves_the_run_to_others(
    long: Deployment, store: DynamoStore
) -> None:
    gone = replace(long, state_machine=f"{long.state_machine}-gone")
    with pytest.raises(AwsError, match=rf"^execution {RUN.run_id}-1: StartExecution: StateMachine"):
        execute(gone, store)
    assert not store.running(RUN.run_id)
    execute(long, store, detach=True)
    assert names(long) == [("2", "RUNNING")]


def test_a_run_that_a_process_prices_is_not_executed(
    deployment: Deployment, store: DynamoStore
) -> None:
    executor = StepFunctionsExecutor(deployment, 7)
    with store.lock(RUN.run_id) as locked:
        assert locked
        with executor.own(RUN, store) as owned:
            assert not owned
        with pytest.raises(StoreError, match="priced by a process, which only who started it can"):
            cancel(RUN, store)
    with executor.own(RUN, store) as owned:
        assert owned


def test_a_run_that_is_executed_is_not_priced_by_a_process(
    long: Deployment, store: DynamoStore
) -> None:
    execute(long, store, detach=True)
    with store.lock(RUN.run_id) as locked:
        assert not locked


def test_an_interrupt_ends_the_waiting_and_says_that_the_run_goes_on(
    long: Deployment, store: DynamoStore
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    executor = StepFunctionsExecutor(replace(long, stack="Mine"), 7)
    with pytest.raises(KeyboardInterrupt) as raised:
        executor.execute(PLAN, RUN, store, interrupt)
    where = f"{RUN.run_id[:12]} --on aws --stack Mine"
    assert str(raised.value) == (
        f"the run goes on in AWS; see `pricer watch {where}`, stop it by `pricer cancel {where}`"
    )
    assert names(long) == [("1", "RUNNING")]


def test_what_is_cancelled_ends_for_all_who_wait_and_can_be_submitted_again(
    long: Deployment, store: DynamoStore
) -> None:
    waiting = threading.Thread(target=execute, args=(long, store))
    waiting.start()
    while not store.running(RUN.run_id):
        time.sleep(0.05)
    execute(long, store, detach=True)
    stopped = cancel(RUN, store)
    assert stopped.endswith(f"{RUN.run_id}-1")
    waiting.join(10)
    assert not waiting.is_alive()
    assert not store.running(RUN.run_id)
    with pytest.raises(StoreError, match="is not being priced, there is nothing to cancel"):
        cancel(RUN, store)
    execute(long, store, detach=True)
    assert names(long) == [("1", "ABORTED"), ("2", "RUNNING")]


def test_nothing_in_a_store_on_this_machine_is_executed_on_aws() -> None:
    with pytest.raises(StoreError, match=r"^store: memory: is on this machine; say --on aws$"):
        cancel(RUN, MemoryStore())
