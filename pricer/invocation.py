"""The invocation of a Lambda function that is going: its log, and a store that ends before it."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.logging import Logger

from .stores.dynamodb import DynamoStore

# What is left of the function's time when the store must have given up, so that it can say so.
MARGIN_S = 5.0


class Invocation:
    """The one that is going: a container has one at a time, of which the first is `cold`."""

    context: Any = None
    cold: bool = True


def begin(context: Any, **said: Any) -> Logger:
    """Begin an invocation, every line of which says `said`; return its log."""
    lines = log()
    # In place of those of the invocation before.
    lines.clear_state()
    lines.append_keys(**said, request=context.aws_request_id, cold_start=Invocation.cold)
    Invocation.context, Invocation.cold = context, False
    return lines


@cache
def log() -> Logger:
    """Return the log of the function, whose lines are JSON."""
    return Logger(utc=True, use_rfc3339=True, serialize_stacktrace=False)


def store() -> DynamoStore:
    """Return the store of the function's environment, which tries as long as time is left."""
    return DynamoStore(os.environ["TABLE_NAME"], bucket=os.environ["BUCKET_NAME"], deadline=left_s)


def left_s() -> float:
    """Return the seconds that are left of the invocation that is going, but for a margin."""
    return float(Invocation.context.get_remaining_time_in_millis()) / 1_000 - MARGIN_S
