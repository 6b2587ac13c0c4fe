"""AWS Lambda's way in: requests to the function's URL become requests to the application."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from mangum import Mangum
from starlette.middleware.gzip import GZipMiddleware

from pricer import invocation

from .app import app
from .cells import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

    Event = dict[str, Any]
    Answer = dict[str, Any]

# Of a function's answer, with its headers, once it is JSON itself.
MOST_ANSWER_BYTES = 6_000_000
# Below this, packing costs more than it saves.
LEAST_PACKED = 10_000


def handler(event: Event, context: Any) -> Answer:
    """Answer a request; who may ask has been decided by AWS."""
    invocation.Invocation.context = context
    answer: Answer = _translated()(event, context)
    if _size(answer) > MOST_ANSWER_BYTES:
        rule = f"must be at most {MOST_ANSWER_BYTES:,} bytes here"
        line = f"answer: {rule}; ask for fewer rows, by limit"
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        body = compact({"error": line}).decode()
        return {"statusCode": 413, "headers": headers, "body": body, "isBase64Encoded": False}
    return answer


@cache
def _application() -> FastAPI:
    return app(invocation.store())


@cache
def _translated() -> Mangum:
    return Mangum(GZipMiddleware(_application(), minimum_size=LEAST_PACKED), lifespan="off")


def _size(answer: Mapping[str, Any]) -> int:
    # As Lambda writes it, what is not ASCII is up to thrice as long.
    return len(json.dumps(answer))
