"""What the functions of a stack have written into their log, in the order of time.

Workers write lines of JSON, which say what they are about; Lambda writes lines of its own where a
function is killed, runs out of time or cannot be loaded.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import aws
from .blocks import blocks_named
from .errors import AwsError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .executors.stepfunctions import Deployment

    # What tells a line from any other: its stream, its time, its text.
    Key = tuple[str, int, str]

POLL_S = 2.0
# How late a line may come into the log; it is asked for again until then.
LATE_MS = 30_000
# What Lambda says of every call, and what workers say for the metrics.
USUAL = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START ", "XRAY ")
METRICS = "_aws"
# Lambda's own lines that a run's do not name: those of one that did not live to say it.
ABNORMAL = ('"Task timed out"', '"RequestId" "Error:"')
REQUEST = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SINCE = re.compile(r"(\d+) ?([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# Of the name of an exception, in front of it.
MODULE = re.compile(r"^(\w+\.)+(?=\w+:)")
# Where the image keeps this package: a traceback reads better without.
IMAGE = "/opt/pricer/app/"
# What a line is made of besides what is shown of it in words.
KNOWN = (
    *("level", "location", "message", "timestamp", "service", "sampling_rate", "xray_trace_id"),
    *("run", "first", "end", "request", "cold_start", "exception", "exception_name"),
)

logger = logging.getLogger("pricer")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log: `at` in epoch milliseconds, `level` as Python names them.

    `function` is plan, price, finish, start or web, empty where it is not known; so are `run` and
    `request`. `values` are what a worker said by name; `traceback` is one as Python prints it.
    """

    at: int
    function: str
    level: str
    run: str
    request: str
    blocks: str
    message: str
    values: Mapping[str, Any]
    traceback: str

    @property
    def time(self) -> datetime:
        """When it was written."""
        return datetime.fromtimestamp(self.at / 1_000, UTC)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "at": self.time.isoformat(timespec="milliseconds"),
            "function": self.function,
            "level": self.level,
            "run": self.run,
            "request": self.request,
            "blocks": self.blocks,
            "message": self.message,
            "values": dict(self.values),
            "traceback": self.traceback,
        }


def since_ms(text: str) -> int:
    """Return when ``10m``, ``2h`` or ``1d`` ago, or a time in ISO 8601, was: epoch milliseconds.

    A time is UTC where it does not say its zone.
    """
    try:
        if found := SINCE.fullmatch(text.strip()):
            at = datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})
        else:
            at = datetime.fromisoformat(text.strip())
            # As lines show it, which are of many machines.
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
        since = int(at.timestamp() * 1_000)
    except (ValueError, OverflowError):
        since = -1
    if since < 0:
        raise SpecError(
            f"since: must be as 30s, 10m, 2h or 1d ago, or a time as 2026-11-23T22:00, got {text!r}"
        )
    return since


def lines(
    deployment: Deployment, since: int, run_id: str = "", *, follow: bool = False
) -> Iterator[Line]:
    """Yield what was written from `since` (epoch milliseconds) on, be it of one run alone.

    `follow` goes on for ever, with what is written meanwhile, and through what passes: a service
    that has no time, or is not reached.
    """
    reader = _Reader(deployment, run_id)
    told = False
    while True:
        now = int(time.time() * 1_000)
        try:
            yield from reader.read(since)
        except AwsError as error:
            if not (follow and aws.passes(error)):
                raise
            if not told:
                logger.warning("%s; trying again", error)
            told = True
        else:
            since, told = max(since, now - LATE_MS), False
        if not follow:
            return
        time.sleep(POLL_S)


class _Reader:
    """Reads a log again and again, and yields each line once."""

    def __init__(self, deployment: Deployment, run_id: str) -> None:
        self.deployment = deployment
        self.run_id = run_id
        self.client = aws.client("logs", region=deployment.region)
        self.seen: set[Key] = set()
        self.requests: set[str] = set()
        self.failed: set[str] = set()

    def read(self, since: int) -> Iterator[Line]:
        # What is older is not asked for any more.
        self.seen = {key for key in self.seen if key[1] >= since}
        found = dict(self._new(since, f'"{self.run_id}"' if self.run_id else ""))
        if self.run_id:
            self.requests |= {line.request for line in found.values() if line.run == self.run_id}
            for pattern in ABNORMAL:
                others = self._new(since, pattern)
                found |= {key: line for key, line in others if line.request in self.requests}
        # Not before all is read: what fails half way is read again.
        self.seen |= found.keys()
        for line in sorted(found.values(), key=lambda line: line.at):
            if line.traceback and line.request:
                self.failed.add(line.message)
            elif line.message in self.failed:
                # Lambda repeats the error that a worker has told of.
                continue
            yield line

    def _new(self, since: int, pattern: str) -> Iterator[tuple[Key, Line]]:
        request = {
            "logGroupName": self.deployment.log_group,
            "startTime": since,
            "filterPattern": pattern,
        }
        with aws.explained(f"log group {self.deployment.log_group}"):
            for page in self.client.get_paginator("filter_log_events").paginate(**request):
                for event in page["events"]:
                    key = (event["logStreamName"], event["timestamp"], event["message"])
                    if key not in self.seen and (line := self._line(event)):
                        yield key, line

    def _line(self, event: Mapping[str, Any]) -> Line | None:
        message = event["message"].strip()
        said = _json(message)
        if METRICS in said or (not said and (not message or message.startswith(USUAL))):
            return None
        if said:
            return _said(event["timestamp"], said)
        return _unsaid(event["timestamp"], self._function(event["logStreamName"]), message)

    def _function(self, stream: str) -> str:
        names = {
            "plan": self.deployment.plan_function,
            "price": self.deployment.price_function,
            "finish": self.deployment.finish_function,
            "web": self.deployment.web_function,
            "start": self.deployment.start_function.rpartition(":")[2],
        }
        return next((short for short, name in names.items() if name and name in stream), "")


def _said(at: int, said: Mapping[str, Any]) -> Line:
    """Return a line that a worker has written."""
    # Whatever else is written there as JSON may have words of its own for these.
    first, end = said.get("first"), said.get("end")
    blocks = blocks_named(first, end) if isinstance(first, int) and isinstance(end, int) else ""
    traceback = str(said.get("exception", "")).replace(IMAGE, "")
    message = str(said.get("message", ""))
    if traceback:
        # Its last line says what a person looks for.
        message = MODULE.sub("", traceback.splitlines()[-1])
    return Line(
        at=at,
        function=str(said.get("service", "")),
        level=str(said.get("level", "INFO")),
        run=str(said.get("run", "")),
        request=str(said.get("request", "")),
        blocks=blocks,
        message=message,
        values={name: value for name, value in said.items() if name not in KNOWN},
        traceback=traceback,
    )


def _unsaid(at: int, function: str, message: str) -> Line:
    """Return a line that Lambda has written, or a worker in spite of itself."""
    # Lambda keeps a traceback on one line by carriage returns.
    first, *rest = message.replace("\r", "\n").replace("\xa0", " ").splitlines()
    request = REQUEST.search(first)
    failed = first.startswith("[ERROR]") or "Task timed out" in first or " Error: " in first
    return Line(
        at=at,
        function=function,
        level="ERROR" if failed else "INFO",
        run="",
        request=request[0] if request else "",
        blocks="",
        message=first.removeprefix("[ERROR] "),
        values={},
        traceback="\n".join(rest).replace(IMAGE, ""),
    )


def _json(message: str) -> dict[str, Any]:
    try:
        said = json.loads(message) if message.startswith("{") else {}
    except ValueError:
        said = {}
    return said if isinstance(said, dict) else {}
