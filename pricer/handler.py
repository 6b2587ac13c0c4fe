"""AWS Lambda's way in: events become calls of the worker, lines of JSON in the log, and metrics."""

from __future__ import annotations

import json
import os
import secrets
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

from . import invocation, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stores.dynamodb import DynamoStore

    Event = dict[str, Any]
    Result = dict[str, Any]

# What every line says of an event; `tail` and `cost` find a run's lines by it.
EVENT = ("run", "first", "end", "schedule", "as_of")
# Where the manifest is, which the state machine has to know and nobody else.
WHERE = ("bucket", "key")


class _Container:
    """What lasts from one invocation to the next."""

    id: str = secrets.token_hex(6)
    # Processor time since the interpreter began: what starting cost.
    init_s: float = round(time.process_time(), 3)


def plan(event: Event, context: Any) -> Result:
    """Write the manifest of the chunks to price: ``{"run": id}``."""
    return _handle(event, context, lambda: worker.plan_run(_store(), event["run"]))


def price(event: Event, context: Any) -> Result:
    """Price one chunk: ``{"run": id, "first": block, "end": block}``.

    The state machine says too when the chunk was `queued`, in epoch seconds, and how many
    `retries` this is.
    """
    cold = invocation.Invocation.cold
    usage = {
        "request": context.aws_request_id,
        "worker": _Container.id,
        "attempt": event.get("retries", 0) + 1,
        "cold": cold,
    }
    if "queued" in event:
        usage["queued_at"] = event["queued"]
    if cold:
        usage["init_s"] = _Container.init_s

    def work() -> Result:
        result = worker.price_chunk(
            _store(), event["run"], event["first"], event["end"], usage=usage
        )
        _measure(result, cold=cold)
        return result

    return _handle(event, context, work)


def finish(event: Event, context: Any) -> Result:
    """Sum up a run: ``{"run": id}``."""
    return _handle(event, context, lambda: worker.finish_run(_store(), event["run"]))


def start(event: Event, context: Any) -> Result:
    """Start the run of a schedule: ``{"schedule": name, "file": name, "as_of": time, ...}``.

    An event that comes twice starts one run.
    """

    def work() -> Result:
        # The others start without what only planning needs.
        from .executors.stepfunctions import Deployment
        from .scheduling import fire

        outputs = json.loads(os.environ["OUTPUTS"])
        deployment = Deployment.of(os.environ["STACK_NAME"], os.environ["AWS_REGION"], outputs)
        return fire(deployment, event)

    return _handle(event, context, work)


def _handle(event: Event, context: Any, work: Callable[[], Result]) -> Result:
    said = {name: event[name] for name in EVENT if name in event}
    log = invocation.begin(context, **said)
    log.info("begins")
    try:
        result = work()
    except Exception:
        log.exception("failed")
        raise
    known = (*said, *WHERE)
    log.info("done", extra={name: result[name] for name in result if name not in known})
    return result


def _measure(result: Result, *, cold: bool) -> None:
    """Write what pricing a chunk took as metrics, by function alone: a run is in no dimension."""
    metrics = AmazonCloudWatchEMFProvider()
    metrics.add_metric("ColdStarts", MetricUnit.Count, int(cold))
    if result["priced"]:
        seconds = result["kernel_ms"] / 1_000
        metrics.add_metric("KernelSeconds", MetricUnit.Seconds, seconds)
        metrics.add_metric("WriteUnits", MetricUnit.Count, result["write_units"])
        if seconds:
            rate = result["priced"] / seconds
            metrics.add_metric("CellsPerSecond", MetricUnit.CountPerSecond, rate)
    metrics.flush_metrics()


@cache
def _store() -> DynamoStore:
    return invocation.store()
