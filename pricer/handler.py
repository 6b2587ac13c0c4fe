"""AWS Lambda's way in: events become calls of the worker, and one JSON line each in the log."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from . import worker
from .stores.dynamodb import DynamoStore

if TYPE_CHECKING:
    from collections.abc import Callable

    Event = dict[str, Any]
    Result = dict[str, Any]

EVENT = ("run", "first", "end")
# What is left of the function's time when the store must have given up, so that it can say so.
MARGIN_S = 5.0


class _Container:
    """What lasts from one invocation to the next: here, the one that is going."""

    context: Any = None
    id: str = secrets.token_hex(6)
    # Processor time since the interpreter began: what starting cost.
    init_s: float = round(time.process_time(), 3)
    cold: bool = True


def plan(event: Event, context: Any) -> Result:
    """Write the manifest of the chunks to price: ``{"run": id}``."""
    return _handle(event, context, lambda store: worker.plan_run(store, event["run"]))


def price(event: Event, context: Any) -> Result:
    """Price one chunk: ``{"run": id, "first": block, "end": block}``.

    The state machine says too when the chunk was `queued`, in epoch seconds, and how many
    `retries` this is.
    """
    usage = {
        "request": context.aws_request_id,
        "worker": _Container.id,
        "attempt": event.get("retries", 0) + 1,
        "cold": _Container.cold,
    }
    if "queued" in event:
        usage["queued_at"] = event["queued"]
    if _Container.cold:
        usage["init_s"] = _Container.init_s

    def work(store: DynamoStore) -> Result:
        return worker.price_chunk(store, event["run"], event["first"], event["end"], usage=usage)

    return _handle(event, context, work)


def finish(event: Event, context: Any) -> Result:
    """Sum up a run: ``{"run": id}``."""
    return _handle(event, context, lambda store: worker.finish_run(store, event["run"]))


def _handle(event: Event, context: Any, work: Callable[[DynamoStore], Result]) -> Result:
    line: dict[str, Any] = {name: event[name] for name in EVENT if name in event}
    line["request"] = context.aws_request_id
    _log(line)
    _Container.context = context
    _Container.cold = False
    try:
        return work(_store())
    except Exception as error:
        _log(line | {"error": type(error).__name__, "message": str(error)})
        raise


@cache
def _store() -> DynamoStore:
    return DynamoStore(os.environ["TABLE_NAME"], bucket=os.environ["BUCKET_NAME"], deadline=_left_s)


def _left_s() -> float:
    return float(_Container.context.get_remaining_time_in_millis()) / 1_000 - MARGIN_S


def _log(line: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()
