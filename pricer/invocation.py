"""The invocation of a Lambda function that is going, and a store that gives up before its time."""

from __future__ import annotations

import os
from typing import Any

from .stores.dynamodb import DynamoStore

# What is left of the function's time when the store must have given up, so that it can say so.
MARGIN_S = 5.0


class Invocation:
    """The one that is going: a container has one at a time."""

    context: Any = None


def store() -> DynamoStore:
    """Return the store of the function's environment, which tries as long as time is left."""
    return DynamoStore(os.environ["TABLE_NAME"], bucket=os.environ["BUCKET_NAME"], deadline=left_s)


def left_s() -> float:
    """Return the seconds that are left of the invocation that is going, but for a margin."""
    return float(Invocation.context.get_remaining_time_in_millis()) / 1_000 - MARGIN_S
