"""AWS Lambda's way in: requests to the function's URL become requests to the application."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from mangum import Mangum
from starlette.middleware.gzip import GZipMiddleware

from pricer.stores.dynamodb import DynamoStore

from .app import app
from .cells import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

    Event = dict[str, Any]
    Answer = dict[str, Any]

# Of a function's answer, with its headers, once it is JSON itself.
MOST_BYTES = 6_000_000
# Below this, packing costs more than it saves.
LEAST_PACKED = 10_000
# What is left of the function's time when the store must have given up, so that it can say so.
MARGIN_S = 5.0


class _Container:
    """What lasts from one invocation to the next: here, the one that is going."""

    context: Any = None


def handler(event: Event, context: Any) -> Answer:
    """Answer a request; who may ask has been decided by AWS."""
    _Container.context = context
    answer: Answer = _translated()(event, context)
    if _size(answer) > MOST_BYTES:
        line = f"answer: must be at most {MOST_BYTES:,} bytes here; ask for fewer rows, by limit"
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        body = compact({"error": line}).decode()
        return {"statusCode": 413, "headers": headers, "body": body, "isBase64Encoded": False}
    return answer


@cache
def _application() -> FastAPI:
    return app(
        DynamoStore(os.environ["TABLE_NAME"], bucket=os.environ["BUCKET_NAME"], deadline=_left_s)
    )


@cache
def _translated() -> Mangum:
    return Mangum(GZipMiddleware(_application(), minimum_size=LEAST_PACKED), lifespan="off")


def _left_s() -> float:
    return float(_Container.context.get_remaining_time_in_millis()) / 1_000 - MARGIN_S


def _size(answer: Mapping[str, Any]) -> int:
    # As Lambda writes it, what is not ASCII is up to thrice as long.
    return len(json.dumps(answer))
