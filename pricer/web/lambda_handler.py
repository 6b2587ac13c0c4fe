"""AWS Lambda's way in: requests to the function's URL become requests to the application."""

from __future__ import annotations

import json
import logging
import re
import time
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
    from starlette.types import ASGIApp, Receive, Scope, Send

    Event = dict[str, Any]
    Answer = dict[str, Any]

# Of a function's answer, with its headers, once it is JSON itself.
MOST_ANSWER_BYTES = 6_000_000
# Below this, packing costs more than it saves.
LEAST_PACKED = 10_000
# What a run may be called in the log: an id, the start of one, or the last of all.
RUN = re.compile(r"[0-9a-f]{1,64}|latest")
# The route of what is no answer of the API's: the page's files, and what is not there.
NO_ROUTE = "*"


def handler(event: Event, context: Any) -> Answer:
    """Answer a request; who may ask has been decided by AWS."""
    started = time.perf_counter()
    log = invocation.begin(context)
    answer = _small(_translated()(event, context))
    asked = _Asked.scope
    said = {
        "method": asked["method"],
        "route": getattr(asked.get("route"), "path", NO_ROUTE),
        "status": answer["statusCode"],
        "ms": round(1_000 * (time.perf_counter() - started), 1),
    }
    run = asked.get("path_params", {}).get("run", "")
    if RUN.fullmatch(run):
        said["run"] = run
    log.info("answered", extra=said)
    return answer


class _Asked:
    """What is asked at the moment, with the route that answers it once that is known."""

    scope: Scope

    def __init__(self, answer: ASGIApp) -> None:
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note what is asked, and let it be answered; log what fails."""
        _Asked.scope = scope
        try:
            await self.answer(scope, receive, send)
        except Exception:
            invocation.log().exception("failed")
            raise


def _small(answer: Answer) -> Answer:
    """Return an answer, or what is said in place of one that Lambda would not return."""
    if _size(answer) <= MOST_ANSWER_BYTES:
        return answer
    rule = f"must be at most {MOST_ANSWER_BYTES:,} bytes here"
    line = f"answer: {rule}; ask for fewer rows, by limit"
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    body = compact({"error": line}).decode()
    return {"statusCode": 413, "headers": headers, "body": body, "isBase64Encoded": False}


@cache
def _application() -> FastAPI:
    return app(invocation.store())


@cache
def _translated() -> Mangum:
    # It would say again what `_Asked` says of failures, as text.
    logging.getLogger("mangum.http").disabled = True
    packed = GZipMiddleware(_application(), minimum_size=LEAST_PACKED)
    return Mangum(_Asked(packed), lifespan="off")


def _size(answer: Mapping[str, Any]) -> int:
    # As Lambda writes it, what is not ASCII is up to thrice as long.
    return len(json.dumps(answer))
