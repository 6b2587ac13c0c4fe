"""The handlers translate: events, the time that is left, one JSON line each in the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pricer import handler, invocation, scheduling, worker
from pricer.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pricer.executors.stepfunctions import Deployment
    from pricer.stores.dynamodb import DynamoStore

RUN = "ab" * 32
OUTPUTS = (
    *("TableName", "BucketName", "StateMachineArn", "PlanFunctionName", "PriceFunctionName"),
    *("FinishFunctionName", "WebFunctionName", "StartFunctionArn", "ScheduleGroupName"),
    *("ScheduleRoleArn", "LogGroupName", "KernelVersion", "Version", "Architecture"),
    *("MemoryMb", "KeepDays"),
)
EVENT = {"run": RUN, "first": 3, "end": 6}
# What pricing says of itself, which the metrics are made of.
PRICED: dict[str, dict[str, Any]] = {
    "plan_run": {},
    "price_chunk": {"chunk": 1, "cells": 500, "priced": 500, "kernel_ms": 250, "write_units": 42.0},
    "finish_run": {},
}


class Context:
    """What Lambda says of an invocation."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 65_000


@pytest.fixture(autouse=True)
def _container(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Start each test as a new container does."""
    monkeypatch.setenv("TABLE_NAME", "runs-table")
    monkeypatch.setenv("BUCKET_NAME", "runs-bucket")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    # A logger of its own, which writes to what this test captures.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Pricer")
    monkeypatch.setattr(invocation.Invocation, "context", None)
    monkeypatch.setattr(invocation.Invocation, "cold", True)
    handler._store.cache_clear()
    invocation.log.cache_clear()
    yield
    handler._store.cache_clear()
    invocation.log.cache_clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note how the worker is called instead of calling it."""
    made: list[tuple[Any, ...]] = []

    def note(name: str) -> None:
        def called(store: DynamoStore, *args: Any, **named: Any) -> dict[str, Any]:
            made.append((name, store, args, named))
            return {"answer": name} | PRICED[name]

        monkeypatch.setattr(worker, name, called)

    for name in ("plan_run", "price_chunk", "finish_run"):
        note(name)
    return made


def test_each_event_is_a_call_of_the_worker(calls: list[tuple[Any, ...]]) -> None:
    context = Context()
    assert handler.plan({"run": RUN}, context) == {"answer": "plan_run"}
    assert handler.price(EVENT, context)["answer"] == "price_chunk"
    assert handler.finish({"run": RUN}, context) == {"answer": "finish_run"}
    assert [(name, args) for name, _, args, _ in calls] == [
        ("plan_run", (RUN,)),
        ("price_chunk", (RUN, 3, 6)),
        ("finish_run", (RUN,)),
    ]
    stores = {id(store) for _, store, _, _ in calls}
    assert len(stores) == 1
    assert calls[0][1].url == "dynamodb://runs-table?region=us-east-1&bucket=runs-bucket"


def test_the_first_invocation_of_a_container_says_what_starting_took(
    calls: list[tuple[Any, ...]],
) -> None:
    handler.price(EVENT, Context())
    handler.price(EVENT | {"queued": 1795420800.5, "retries": 2}, Context())
    first, second = (named["usage"] for *_, named in calls)
    assert first.pop("init_s") > 0
    mine = {"request": "request-1", "worker": handler._Container.id}
    assert first == mine | {"cold": True, "attempt": 1}
    assert second == mine | {"cold": False, "attempt": 3, "queued_at": 1795420800.5}


def test_the_store_has_the_time_that_the_invocation_has_left_but_a_margin(
    calls: list[tuple[Any, ...]],
) -> None:
    handler.plan({"run": RUN}, Context())
    assert calls[0][1].table.deadline() == 65 - invocation.MARGIN_S


def test_every_line_names_the_run_the_blocks_and_the_call(
    calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    handler.price(EVENT, Context())
    handler.plan({"run": "cd" * 32}, Context())
    begins, metrics, done, *planned = map(json.loads, capsys.readouterr().out.splitlines())
    for line, message in ((begins, "begins"), (done, "done")):
        assert line.items() >= EVENT.items()
        assert (line["request"], line["cold_start"]) == ("request-1", True)
        assert (line["level"], line["message"]) == ("INFO", message)
        assert line["timestamp"].endswith("+00:00")
    assert done.items() >= PRICED["price_chunk"].items()
    assert "_aws" in metrics
    # What a call said of itself does not last to the next.
    assert [(line["run"], "first" in line) for line in planned] == [("cd" * 32, False)] * 2
    assert not any(line["cold_start"] for line in planned)
    assert len(calls) == 2


def test_metrics_are_by_function_and_never_by_run(
    calls: list[tuple[Any, ...]],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    handler.price(EVENT, Context())
    handler.price(EVENT, Context())
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first, second = (line for line in said if "_aws" in line)
    (described,) = first["_aws"]["CloudWatchMetrics"]
    assert described["Namespace"] == "Pricer"
    assert described["Dimensions"] == [["service"]]
    assert first["service"] == request.node.name
    units = {metric["Name"]: metric["Unit"] for metric in described["Metrics"]}
    assert units == {
        "ColdStarts": "Count",
        "KernelSeconds": "Seconds",
        "WriteUnits": "Count",
        "CellsPerSecond": "Count/Second",
    }
    assert {name: first[name] for name in units} == {
        "ColdStarts": [1.0],
        "KernelSeconds": [0.25],
        "WriteUnits": [42.0],
        "CellsPerSecond": [2000.0],
    }
    assert second["ColdStarts"] == [0.0]
    assert RUN not in json.dumps([first, second])


def test_a_chunk_that_was_done_before_counts_as_a_start_alone(
    calls: list[tuple[Any, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PRICED, "price_chunk", {"chunk": 1, "cells": 500, "priced": 0})
    handler.price(EVENT, Context())
    (metrics,) = (m for m in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in m)
    (described,) = metrics["_aws"]["CloudWatchMetrics"]
    assert [metric["Name"] for metric in described["Metrics"]] == ["ColdStarts"]


def test_an_error_is_one_line_with_its_traceback_and_reaches_lambda(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KernelError("kernel cache miss: march")

    monkeypatch.setattr(worker, "finish_run", fail)
    with pytest.raises(KernelError):
        handler.finish({"run": RUN}, Context())
    _, line = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    # The alarm on missing kernels looks for this word.
    assert (said["level"], said["exception_name"]) == ("ERROR", "KernelError")
    assert (said["run"], said["request"]) == (RUN, "request-1")
    assert said["exception"].startswith("Traceback (most recent call last):\n")
    assert said["exception"].endswith("KernelError: kernel cache miss: march")


def test_a_schedule_is_fired_by_what_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    fired: list[Any] = []

    def fire(deployment: Deployment, event: dict[str, Any]) -> dict[str, Any]:
        fired.append((deployment, event))
        return {"run": RUN}

    outputs = dict.fromkeys(OUTPUTS, "x") | {"MemoryMb": "1769", "KeepDays": "90"}
    monkeypatch.setenv("OUTPUTS", json.dumps(outputs))
    monkeypatch.setenv("STACK_NAME", "Pricer")
    monkeypatch.setattr(scheduling, "fire", fire)
    event = {"schedule": "nightly", "as_of": "2026-11-23T22:00:00Z"}
    assert handler.start(event, Context()) == {"run": RUN}
    ((deployment, given),) = fired
    assert given == event
    assert (deployment.stack, deployment.region, deployment.keep_days) == (
        "Pricer",
        "us-east-1",
        90,
    )
