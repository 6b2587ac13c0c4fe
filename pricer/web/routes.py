"""The routes: each reads what is asked, calls, and answers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

import pricer

from . import schemas
from .cells import (
    ARROW,
    CSV,
    DEFAULT_ROWS,
    JSON,
    MEDIA,
    Asked,
    compact,
    form_of,
    page_of,
    pairs_once,
)
from .errors import MediaTypeError, TooLargeError
from .request import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .apart import Apart
    from .opened import Opened, Runs

MOST_INTEGER = 2**63 - 1
# What follows from a run's id stays as it is; an hour is enough for who moves a slider.
LASTING, ASK_AGAIN, NEVER_KEPT = "private, max-age=3600, immutable", "no-cache", "no-store"
# What of a query is none of a run's axes and columns.
OPTIONS = ("measures", "nearest", "limit", "offset", "format")
WHY = {
    304: "What `If-None-Match` names is still so.",
    404: "No run, or more than one, answers to the name.",
    406: "The format cannot be had here.",
    409: "Cells that are asked for are not priced yet.",
    413: "More is asked for than one answer may hold, or take.",
    415: "The body is not said to be JSON.",
    422: "Something that is asked cannot be meant.",
    503: "The store cannot be read, or who prices is busy.",
}
SELECTION: dict[str, Any] = {
    "name": "selection",
    "in": "query",
    "style": "form",
    "explode": True,
    "description": "Each axis of a grid, or column of a book (and `row`, from 1), by its name: a"
    " value, several with commas, or a range `low:high`, either end of which may be left out.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "example": {"spot": "90:110", "strike": "100"},
}
TAGGED = {
    "ETag": {"description": "Of a complete run.", "schema": {"type": "string"}},
    "Cache-Control": {"schema": {"type": "string"}},
}

RunName = Annotated[
    str,
    Path(
        description="A run's id, the start of exactly one, or `latest`.",
        openapi_examples={"latest": {"value": "latest"}},
    ),
]

routes = APIRouter(prefix="/api")


def _failures(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": schemas.Failed, "description": WHY[code]} for code in codes}


def _answers(*codes: int, content: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """Describe what a route that may be answered by 304 answers."""
    found: dict[str, Any] = {"headers": TAGGED}
    if content:
        found["content"] = content
    return {200: found, 304: {"description": WHY[304]}} | _failures(*codes)


@routes.get("/health", response_model=schemas.Health)
async def health(request: Request) -> Response:
    """Say that the server answers, of which version and store it is."""
    return _document({"version": pricer.__version__, "store": _runs(request).store.url})


@routes.get("/runs", response_model=schemas.RunList, responses=_failures(503))
def list_runs(request: Request) -> Response:
    """List the runs in the store, the last submitted first."""
    runs = _runs(request)
    kept = schemas.RunLine.model_fields
    found = [{name: run[name] for name in kept} for run in runs.statuses()]
    return _document({"store": runs.store.url, "runs": found})


@routes.get("/runs/{run}", response_model=schemas.Status, responses=_answers(404, 422, 503))
def status(request: Request, run: RunName) -> Response:
    """Say how far a run is, and what its cells came to."""
    opened = _runs(request).open(run)
    tag = _tag(opened, "status", opened.run.head.submitted_at)
    if _has(request, tag):
        return _unchanged(tag, ASK_AGAIN)
    document = _runs(request).status(opened.run)
    return Response(compact(document), headers=_kept(tag, ASK_AGAIN), media_type=MEDIA[JSON])


@routes.get(
    "/runs/{run}/axes",
    response_model=schemas.GridAxes | schemas.BookColumns,
    responses=_answers(404, 422, 503),
)
def axes(request: Request, run: RunName) -> Response:
    """Say what can be asked of a run: its axes or columns, with their values, and its measures."""
    opened = _runs(request).open(run)
    tag, lasts = _tag(opened, "axes", opened.run.head.name), _lasts(opened, run)
    if _has(request, tag):
        return _unchanged(tag, lasts)
    return Response(compact(opened.axes), headers=_kept(tag, lasts), media_type=MEDIA[JSON])


@routes.get(
    "/runs/{run}/cells",
    response_model=schemas.Cells,
    responses=_answers(
        *(404, 406, 409, 413, 422, 503),
        content={
            MEDIA[JSON]: {"example": schemas.CELLS_EXAMPLE},
            MEDIA[CSV]: {"schema": {"type": "string"}},
            MEDIA[ARROW]: {"schema": {"type": "string", "format": "binary"}},
        },
    ),
    openapi_extra={"parameters": [SELECTION]},
)
async def cells(
    request: Request,
    run: RunName,
    measures: Annotated[
        str | None, Query(description="Which of the run's measures, with commas; all by default.")
    ] = None,
    nearest: Annotated[
        bool, Query(description="Take the nearest value where one is not there.")
    ] = False,
    limit: Annotated[
        int,
        Query(
            description="The most rows, up to 100,000; in Arrow 1,000,000.", ge=1, le=MOST_INTEGER
        ),
    ] = DEFAULT_ROWS,
    offset: Annotated[
        int,
        Query(description="How many rows to leave out before the first.", ge=0, le=MOST_INTEGER),
    ] = 0,
    format: Annotated[
        Literal["json", "csv", "arrow"] | None,
        Query(description="What `Accept` says by default, else json; arrow is an IPC stream."),
    ] = None,
) -> Response:
    """Read the prices of some cells; only the blocks that hold them are read."""
    asked = Asked(
        selection=pairs_once(
            (n, v) for n, v in request.query_params.multi_items() if n not in OPTIONS
        ),
        measures=None if measures is None else tuple(m.strip() for m in measures.split(",")),
        nearest=nearest,
        limit=limit,
        offset=offset,
        form=format or form_of(request.headers.get("accept", "")),
    )
    # A thread that takes turns with the one that serves costs more than most answers do.
    if _runs(request).quick(run, asked.limit):
        return _cells(request, run, asked)
    return await run_in_threadpool(_cells, request, run, asked)


def _cells(request: Request, run: str, asked: Asked) -> Response:
    opened = _runs(request).open(run)
    tag, lasts = _tag(opened, "cells", repr(asked)), _lasts(opened, run)
    if _has(request, tag):
        return _unchanged(tag, lasts)
    page = page_of(opened.run, asked)
    headers = _kept(tag, lasts) | {"Vary": "Accept"}
    if page.next:
        headers["Link"] = f'<{page.next}>; rel="next"'
    return Response(page.render(asked.form), headers=headers, media_type=MEDIA[asked.form])


@routes.post(
    "/price",
    response_model=schemas.Price,
    responses=_failures(413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.option_schema()}},
        }
    },
)
async def price(request: Request) -> Response:
    """Price one option now: its inputs by name, as a grid file has them, and settings."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        # Nor can another site's form send this without the browser asking first.
        raise MediaTypeError(f"content-type: must be application/json, got {media!r}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise TooLargeError(f"body: must be at most {MOST_BYTES:,} bytes")
    apart: Apart = request.app.state.apart
    return _document(await run_in_threadpool(apart.price, body))


def _runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)


def _document(document: object) -> Response:
    return Response(
        compact(document), headers={"Cache-Control": NEVER_KEPT}, media_type=MEDIA[JSON]
    )


def _tag(opened: Opened, *parts: str) -> str:
    """Return a strong ETag of what is answered of a complete run; none of one that changes."""
    if not opened.finished:
        return ""
    named = "\0".join((pricer.__version__, opened.run.id, *parts))
    return f'"{hashlib.sha256(named.encode(errors="replace")).hexdigest()[:32]}"'


def _lasts(opened: Opened, name: str) -> str:
    """Say how long an answer lasts: a name may mean another run before long, an id may not."""
    return LASTING if name == opened.run.id else ASK_AGAIN


def _has(request: Request, tag: str) -> bool:
    """Tell whether the client has what `tag` names."""
    if not tag:
        return False
    named: Iterable[str] = request.headers.get("if-none-match", "").split(",")
    return tag in (each.strip().removeprefix("W/") for each in named)


def _unchanged(tag: str, lasts: str) -> Response:
    return Response(status_code=304, headers=_kept(tag, lasts))


def _kept(tag: str, lasts: str) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": lasts} if tag else {"Cache-Control": NEVER_KEPT}
