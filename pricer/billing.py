"""What a run really used of AWS, from its logs and its markers, and what AWS charges for that.

A worker says first which run it is called for; AWS says last, on a line of its own, what it bills
for the call, be it that the worker was killed. Where those lines are not to be had, the
workers' own clocks, which the markers of chunks keep, make an estimate.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from math import ceil
from typing import TYPE_CHECKING, Any

from . import aws
from .errors import AwsError
from .fanout import (
    PARENT_TRANSITIONS,
    RUN_UNITS,
    START_S,
    STEP_S,
    TRANSITIONS_A_CHUNK,
    Limits,
    Prices,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .executors.stepfunctions import Deployment
    from .stores.dynamodb import DynamoStore

LOGS, CLOCKS, BOTH = "logs", "clocks", "logs and clocks"
# What a bill can tell of; what a run stores is charged from day to day.
MEASURED = ("lambda_compute", "lambda_requests", "step_functions", "dynamodb_writes")
# A worker goes on for 15 minutes at most after its execution was stopped.
LATE_MS = 15 * 60 * 1_000
EARLY_MS = 60 * 1_000
REPORT = "REPORT RequestId:"
REPORTED = re.compile(r"([A-Z][A-Za-z ]*): (\S+)")


@dataclass(frozen=True, slots=True)
class Bill:
    """What a run used until now, and the dollars for it, by service.

    `source` says where the billed seconds are from: ``logs``, or the workers' ``clocks``, an
    estimate, and then `note` says why. `starts` environments took `start_s` of them to start;
    `spare` calls, `spare_s` of them, stored no chunk: they failed, were killed, or came twice.
    `planned` is what was expected when the run was submitted.
    """

    run: str
    source: str
    note: str
    executions: int
    starts: int
    start_s: float
    spare: int
    spare_s: float
    usage: Usage
    dollars: Mapping[str, float]
    planned: Mapping[str, Any] | None
    prices_as_of: str
    prices_region: str

    @property
    def total(self) -> float:
        """Dollars in all."""
        return sum(self.dollars.values())

    @property
    def planned_total(self) -> float | None:
        """What the same services were expected to charge."""
        if self.planned is None:
            return None
        return float(sum(self.planned["dollars"][service] for service in self.dollars))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        usage = asdict(self.usage)
        return {
            "run": self.run,
            "source": self.source,
            "note": self.note,
            "executions": self.executions,
            "starts": self.starts,
            "start_seconds": self.start_s,
            "spare_calls": self.spare,
            "spare_seconds": self.spare_s,
            "usage": {
                name: usage[name]
                for name in ("billed_s", "invocations", "transitions", "write_units")
            },
            "dollars": dict(self.dollars),
            "total": self.total,
            "planned": self.planned,
            "planned_total": self.planned_total,
            "prices_as_of": self.prices_as_of,
            "prices_region": self.prices_region,
        }


@cache
def prices() -> Prices:
    """Read the package's table of prices."""
    table = _table()
    each = {name: usd for name, usd in _usd(table).items() if name in Prices.__dataclass_fields__}
    return Prices(as_of=table["as_of"], region=table["region"], **each)


def list_prices() -> dict[str, float]:
    """Return the dollars for one unit of each thing that AWS charges for."""
    return _usd(_table())


def _table() -> dict[str, Any]:
    return dict(json.loads(files("pricer").joinpath("aws_prices.json").read_text()))


def _usd(table: Mapping[str, Any]) -> dict[str, float]:
    return {name: row["usd"] / row["per"] for name, row in table["prices"].items()}


def run_cost(deployment: Deployment, store: DynamoStore, run_id: str) -> Bill:
    """Add up what pricing a run has used until now."""
    done = store.usages(run_id)
    executions: list[_Execution] = []
    calls: list[_Call] = []
    note = ""
    try:
        executions = _executions(deployment, store, run_id)
        calls = _calls(deployment, run_id, executions)
        if not executions:
            note = "no execution is known: a process priced it, or it ended more than 90 days ago"
        elif not calls:
            note = f"log group {deployment.log_group}: has nothing of this run, or no longer"
    except AwsError as error:
        note = str(error)
    billed = {call.request: call.billed_s for call in calls if call.billed_s is not None}
    # The workers' own clocks, of the chunks whose calls AWS has not reported.
    clocks = [
        usage["handler_ms"] / 1_000 + usage.get("init_s", 0.0)
        for usage in done.values()
        if "handler_ms" in usage and usage.get("request") not in billed
    ]
    unheard = max(len(clocks), len(calls) - len(billed))
    if unheard and not note:
        note = f"calls that are not reported, or not yet: {unheard}"
    # Planning and finishing leave no marker.
    others = 2 if clocks and not calls else 0
    usage = Usage(
        billed_s=sum(billed.values()) + sum(clocks) + others * (START_S + STEP_S),
        invocations=len(calls) or len(clocks) + others,
        transitions=_transitions(executions, calls, len(clocks)) + len(store.reasons(run_id)),
        write_units=RUN_UNITS + sum(usage.get("write_units", 0) for usage in done.values()),
    )
    limits = Limits(memory_mb=deployment.memory_mb, architecture=deployment.architecture)
    dollars = usage.dollars(limits, prices())
    starts = [call.start_s for call in calls if call.start_s is not None]
    stored = {usage.get("request") for usage in done.values()}
    spare = [
        call.billed_s
        for call in calls
        if call.first is not None and call.billed_s is not None and call.request not in stored
    ]
    return Bill(
        run=run_id,
        source=(BOTH if clocks else LOGS) if billed else CLOCKS,
        note=note,
        executions=len(executions),
        starts=len(starts),
        start_s=sum(starts),
        spare=len(spare),
        spare_s=sum(spare),
        usage=usage,
        dollars={service: dollars[service] for service in MEASURED},
        planned=store.planned(run_id),
        prices_as_of=prices().as_of,
        prices_region=prices().region,
    )


@dataclass(frozen=True, slots=True)
class _Execution:
    """When the state machine ran, in epoch milliseconds."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a function: of which block first, where it priced; None what is not known.

    `start` is whether it is that of a schedule, which no execution has made.
    """

    request: str
    at_ms: int
    first: int | None
    start: bool
    billed_s: float | None
    start_s: float | None


def _executions(deployment: Deployment, store: DynamoStore, run_id: str) -> list[_Execution]:
    """Ask when the executions of a run ran, in order; those of 90 days are known."""
    states = aws.client("stepfunctions", region=deployment.region)
    machine = deployment.state_machine.replace(":stateMachine:", ":execution:")
    found = []
    for attempt in range(1, store.attempts(run_id) + 1):
        try:
            with aws.explained("Step Functions"):
                execution = states.describe_execution(executionArn=f"{machine}:{run_id}-{attempt}")
        except AwsError as error:
            # An attempt may have been that of a process.
            if aws.error_code(error) != "ExecutionDoesNotExist":
                raise
            continue
        end = execution.get("stopDate")
        end_s = end.timestamp() if end else time.time()
        found.append(
            _Execution(int(execution["startDate"].timestamp() * 1_000), int(end_s * 1_000))
        )
    return found


def _calls(deployment: Deployment, run_id: str, executions: Sequence[_Execution]) -> list[_Call]:
    """Read the log of a run's executions: who was called for it, and what that was billed."""
    logs = aws.client("logs", region=deployment.region)
    heard: dict[str, tuple[int, int | None, bool]] = {}
    billed: dict[str, tuple[float, float | None]] = {}
    for start_ms, end_ms in _spans(executions):
        window = {
            "logGroupName": deployment.log_group,
            "startTime": start_ms,
            "endTime": end_ms,
        }
        for at_ms, message in _messages(logs, window | {"filterPattern": f'"{run_id}"'}):
            said = _json(message)
            # Who reads a run is no part of what it took to price it.
            if said.get("run") == run_id and "request" in said and said.get("service") != "web":
                start = said.get("service") == "start"
                heard.setdefault(said["request"], (at_ms, said.get("first"), start))
        if not heard:
            continue
        for _, message in _messages(logs, window | {"filterPattern": '"REPORT RequestId"'}):
            found = _reported(message)
            if found and found[0] in heard:
                billed[found[0]] = found[1:]
    return [
        _Call(request, *called, *billed.get(request, (None, None)))
        for request, called in heard.items()
    ]


def _spans(executions: Iterable[_Execution]) -> Iterator[tuple[int, int]]:
    """Yield the times at which workers of some executions may have written; none twice."""
    until = 0
    for execution in executions:
        start = max(execution.start_ms - EARLY_MS, until)
        until = execution.end_ms + LATE_MS
        yield start, until


def _messages(logs: Any, request: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    asked = dict(request)
    while True:
        with aws.explained(f"log group {request['logGroupName']}"):
            page = logs.filter_log_events(**asked)
        for event in page["events"]:
            yield event["timestamp"], event["message"]
        if "nextToken" not in page:
            return
        asked["nextToken"] = page["nextToken"]


def _json(message: str) -> dict[str, Any]:
    """Return the object that a line ends in; the runtime may put a time before it."""
    try:
        said = json.loads(message[message.index("{") :])
    except ValueError:
        return {}
    return dict(said) if isinstance(said, dict) else {}


def _reported(message: str) -> tuple[str, float, float | None] | None:
    """Return the request of a REPORT line, the seconds billed, and those of its start."""
    if REPORT not in message:
        return None
    values = dict(REPORTED.findall(message[message.index(REPORT) + len("REPORT ") :]))
    # The emulator of AWS bills, as AWS does, but what runs elsewhere may say only how long it took.
    billed_ms = values.get("Billed Duration") or ceil(float(values["Duration"]))
    start_ms = values.get("Init Duration")
    return (
        values["RequestId"],
        float(billed_ms) / 1_000,
        None if start_ms is None else float(start_ms) / 1_000,
    )


def _transitions(executions: Sequence[_Execution], calls: Sequence[_Call], clocked: int) -> int:
    """Count state transitions: two for each chunk that an execution took up, one for each retry."""
    if not calls:
        parents = max(len(executions), min(1, clocked))
        return TRANSITIONS_A_CHUNK * clocked + PARENT_TRANSITIONS * parents
    starts = [execution.start_ms - EARLY_MS for execution in executions]
    chunks = {
        (sum(start <= call.at_ms for start in starts), call.first)
        for call in calls
        if call.first is not None
    }
    # An execution calls one function to plan, one to finish, and one for each chunk.
    called = sum(not call.start for call in calls)
    retries = max(0, called - len(chunks) - 2 * len(executions))
    return TRANSITIONS_A_CHUNK * len(chunks) + retries + PARENT_TRANSITIONS * len(executions)
