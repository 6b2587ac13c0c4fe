"""What a run really used, read from log lines as AWS and its emulator print them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from pricer import aws
from pricer.billing import Bill, prices, run_cost
from pricer.fanout import PARENT_TRANSITIONS, RUN_UNITS, START_S, STEP_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pricer.executors.stepfunctions import Deployment
    from pricer.stores.dynamodb import DynamoStore

RUN, OTHER = "a" * 64, "b" * 64
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Pricer"
STARTED = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
DEPLOYMENT = SimpleNamespace(
    region="us-east-1",
    state_machine=MACHINE,
    log_group="Pricer-Log",
    memory_mb=1_769,
    architecture="x86_64",
)


def report(request: str, billed_ms: int, *, init_ms: float | None = None, rest: str = "") -> str:
    init = "" if init_ms is None else f"Init Duration: {init_ms:.2f} ms\t"
    return (
        f"REPORT RequestId: {request}\tDuration: {billed_ms - 0.4:.2f} ms\t"
        f"Billed Duration: {billed_ms} ms\tMemory Size: 1769 MB\tMax Memory Used: 213 MB\t"
        f"{init}{rest}\n"
    )


def called(request: str, run: str = RUN, first: int | None = None) -> str:
    blocks = "" if first is None else f'"first": {first}, "end": {first + 8}, '
    return f'{{"run": "{run}", {blocks}"request": "{request}"}}\n'


@dataclass
class Logs:
    """CloudWatch Logs: pages of three events, those that hold a phrase in a time."""

    events: list[tuple[float, str]] = field(default_factory=list)
    error: str = ""

    def say(self, second: float, *messages: str) -> None:
        self.events += [(second, message) for message in messages]

    def filter_log_events(
        self,
        *,
        logGroupName: str,
        startTime: int,
        endTime: int,
        filterPattern: str,
        nextToken: str = "0",
    ) -> Mapping[str, Any]:
        assert logGroupName == "Pricer-Log"
        if self.error:
            answer = {"Error": {"Code": self.error, "Message": "no"}}
            raise ClientError(answer, "FilterLogEvents")
        start = STARTED.timestamp() * 1_000
        found = [
            {"timestamp": int(start + 1_000 * second), "message": message}
            for second, message in sorted(self.events)
            if filterPattern.strip('"') in message
            and startTime <= start + 1_000 * second <= endTime
        ]
        page = int(nextToken)
        more = {"nextToken": str(page + 3)} if page + 3 < len(found) else {}
        return {"events": found[page : page + 3]} | more


@dataclass
class States:
    """Step Functions: executions by their attempt, the second each starts and stops."""

    executions: dict[int, tuple[float, float]]

    def describe_execution(self, *, executionArn: str) -> Mapping[str, Any]:
        name, _, attempt = executionArn.rpartition("-")
        assert name == f"{MACHINE.replace('stateMachine', 'execution')}:{RUN}"
        if int(attempt) not in self.executions:
            _forgotten()
        start, stop = self.executions[int(attempt)]
        return {
            "startDate": STARTED + timedelta(seconds=start),
            "stopDate": STARTED + timedelta(seconds=stop),
        }


@dataclass
class Store:
    done: dict[int, dict[str, Any]]
    attempt: int = 1
    failures: dict[str, str] = field(default_factory=dict)

    def usages(self, run_id: str) -> dict[int, dict[str, Any]]:
        assert run_id == RUN
        return self.done

    def attempts(self, _: str) -> int:
        return self.attempt

    def reasons(self, _: str) -> dict[str, str]:
        return self.failures

    def planned(self, _: str) -> dict[str, Any] | None:
        services = ("lambda_compute", "lambda_requests", "step_functions", "dynamodb_writes")
        return {"dollars": dict.fromkeys(services, 0.25) | {"logs": 9.0}}


def chunk(request: str, handler_ms: float = 20_000) -> dict[str, Any]:
    return {"request": request, "handler_ms": handler_ms, "write_units": 1_000.0}


def bill(monkeypatch: pytest.MonkeyPatch, logs: Logs, store: Store, executions: Any = None) -> Bill:
    clients = {"logs": logs, "stepfunctions": States(executions or {1: (0, 120)})}
    monkeypatch.setattr(aws, "client", lambda service, **_: clients[service])
    deployment, dynamo = cast("Deployment", DEPLOYMENT), cast("DynamoStore", store)
    return run_cost(deployment, dynamo, RUN)


def two_chunks() -> Logs:
    logs = Logs()
    logs.say(1, called("plan"), report("plan", 1_900, init_ms=900.0))
    logs.say(5, called("one", first=0), called("two", first=8))
    logs.say(30, report("one", 21_400, init_ms=900.0), report("two", 20_600))
    logs.say(40, called("finish"), report("finish", 1_500, init_ms=800.0))
    return logs


def test_a_bill_adds_up_the_report_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    found = bill(monkeypatch, two_chunks(), Store({0: chunk("one"), 1: chunk("two")}))
    assert (found.source, found.note) == ("logs", "")
    assert found.usage.billed_s == pytest.approx(1.9 + 21.4 + 20.6 + 1.5)
    assert found.usage.invocations == 4
    assert found.usage.transitions == 2 * 2 + PARENT_TRANSITIONS
    assert found.usage.write_units == 2_000 + RUN_UNITS
    assert found.starts == 3
    assert found.start_s == pytest.approx(2.6)
    assert found.spare == 0
    # 45.4 s of 1,769 MB at 16.67 millionths a GB-second; 2,024 units at 0.625 millionths.
    assert found.dollars["lambda_compute"] == pytest.approx(45.4 * 1.7275 * 16.6667e-6, rel=1e-4)
    assert found.dollars["dynamodb_writes"] == pytest.approx(2_024 * 0.625e-6)
    assert found.total == pytest.approx(sum(found.dollars.values()))
    assert found.planned_total == 1.0


def test_attempts_that_were_killed_or_timed_out_are_billed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs = two_chunks()
    logs.say(6, called("killed", first=8))
    logs.say(20, "2026-11-03T09:00:20Z killed Task timed out after 14.00 seconds\n")
    logs.say(20, report("killed", 14_000, rest="Status: timeout"))
    found = bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two")}))
    assert found.usage.billed_s == pytest.approx(45.4 + 14)
    assert (found.spare, found.spare_s) == (1, 14.0)
    # A retry is one more transition, not another child.
    assert found.usage.transitions == 2 * 2 + 1 + PARENT_TRANSITIONS


def test_who_reads_a_run_over_http_is_not_billed_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = two_chunks()
    before = bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two")}))
    logs.say(6, called("web", RUN).replace("{", '{"service": "web", '), report("web", 900))
    assert bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two")})) == before


def test_runs_that_share_a_log_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = two_chunks()
    logs.say(5, called("theirs", OTHER, first=0))
    logs.say(29, report("theirs", 900_000))
    found = bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two")}))
    assert found.usage.billed_s == pytest.approx(45.4)
    assert found.usage.invocations == 4


def test_every_execution_of_a_run_counts_its_own_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs = two_chunks()
    # Stopped after its first chunk failed; the second attempt was a process's, the third is here.
    logs.say(-600, called("plan-1"), report("plan-1", 1_000))
    logs.say(-590, called("lost", first=0))
    logs.say(-580, report("lost", 9_000, rest="Status: error\tError Type: Runtime.ExitError"))
    store = Store({0: chunk("one"), 1: chunk("two")}, attempt=3)
    found = bill(monkeypatch, logs, store, {1: (-605, -570), 3: (0, 60)})
    assert found.executions == 2
    assert found.usage.billed_s == pytest.approx(45.4 + 10)
    assert found.usage.transitions == 2 * 3 + 2 * PARENT_TRANSITIONS


def test_lines_outside_the_time_of_a_run_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = two_chunks()
    logs.say(-7_200, called("older", first=0), report("older", 60_000))
    found = bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two")}))
    assert found.usage.billed_s == pytest.approx(45.4)


def test_a_call_without_its_report_is_estimated_by_its_own_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs = two_chunks()
    logs.events = [(at, line) for at, line in logs.events if "REPORT RequestId: two" not in line]
    found = bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two", 20_100)}))
    assert found.source == "logs and clocks"
    assert found.note == "calls that are not reported, or not yet: 1"
    assert found.usage.billed_s == pytest.approx(1.9 + 21.4 + 20.1 + 1.5)


@pytest.mark.parametrize("error", ["AccessDeniedException", "ResourceNotFoundException"])
def test_without_a_log_the_bill_is_an_estimate_and_says_why(
    monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    cold = chunk("one") | {"init_s": 0.8}
    found = bill(monkeypatch, Logs(error=error), Store({0: cold, 1: chunk("two")}))
    assert found.source == "clocks"
    assert found.note.startswith("log group Pricer-Log: ")
    assert found.usage.billed_s == pytest.approx(40.8 + 2 * (START_S + STEP_S))
    assert found.usage.invocations == 4
    assert found.usage.transitions == 2 * 2 + PARENT_TRANSITIONS


def test_a_log_that_has_expired_leaves_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    found = bill(monkeypatch, Logs(), Store({0: chunk("one")}))
    assert found.source == "clocks"
    assert found.note == "log group Pricer-Log: has nothing of this run, or no longer"


def test_what_a_process_priced_into_the_table_costs_its_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store({0: {}}, attempt=0)
    monkeypatch.setattr(States, "describe_execution", _forgotten)
    found = bill(monkeypatch, Logs(), store)
    assert found.note.startswith("no execution is known: a process priced it, or it ended more")
    assert (found.usage.invocations, found.usage.transitions) == (0, 0)
    assert found.total == pytest.approx(RUN_UNITS * prices().write_unit)


def _forgotten(*_: object, **__: object) -> None:
    answer = {"Error": {"Code": "ExecutionDoesNotExist", "Message": "no"}}
    raise ClientError(answer, "DescribeExecution")


def test_lines_of_the_emulator_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs()
    # AWS's runtime interface emulator begins with the start; others do not bill at all.
    logs.say(1, "START RequestId: one Version: $LATEST", f"[INFO]\t{called('one', first=0)}")
    logs.say(
        2,
        "REPORT RequestId: one\tInit Duration: 0.11 ms\tDuration: 812.30 ms\t"
        "Billed Duration: 813 ms\tMemory Size: 1769 MB\tMax Memory Used: 1769 MB",
    )
    logs.say(3, called("two", first=8))
    logs.say(4, "REPORT RequestId: two\tDuration: 99.10 ms\tMemory Size: 1769 MB")
    found = bill(monkeypatch, logs, Store({0: chunk("one"), 1: chunk("two")}))
    assert found.usage.billed_s == pytest.approx(0.813 + 0.1)


def test_a_bill_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    document = bill(monkeypatch, two_chunks(), Store({0: chunk("one")})).to_json()
    assert document["usage"]["invocations"] == 4
    assert document["total"] == pytest.approx(sum(document["dollars"].values()))
    assert document["prices_as_of"] == "2026-11"


def test_prices_are_those_of_the_package() -> None:
    assert prices().write_unit == pytest.approx(0.625e-6)
    assert prices().transition == pytest.approx(25e-6)
    assert prices().lambda_arm64_gb_s < prices().lambda_x86_64_gb_s
