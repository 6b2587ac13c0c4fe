"""The routes: each reads what is asked, calls, and answers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

import pricer
from pricer.timeline import timeline as timeline_of

from . import schemas
from .cells import (
    ARROW,
    AS_SAID,
    CSV,
    DEFAULT_ROWS,
    DEFAULT_RUNS,
    JSON,
    MEDIA,
    MOST_INTEGER,
    MOST_RUNS,
    asked_of,
    compact,
    page_of,
    part_of,
)
from .errors import MediaTypeError, TooLargeError
from .request import MOST_BODY_BYTES

if TYPE_CHECKING:
    from .apart import Apart
    from .opened import Opened, Runs

WHOLE = {"type": "integer", "maximum": MOST_INTEGER}
# Names and labels are no part of a run's id: deleted and made anew it may have others.
ASK_AGAIN, NEVER_KEPT = "private, no-cache", "no-store"
WHY = {
    304: "What `If-None-Match` names is still so.",
    404: "No run, or more than one, answers to the name, or what is asked of it was never kept.",
    406: "The format cannot be had here.",
    409: "What is asked for is not priced yet.",
    413: "More is asked for than one answer may hold, or take.",
    415: "The body is not said to be JSON.",
    422: "Something that is asked cannot be meant.",
    503: "The store cannot be read, or who prices is busy.",
}
SELECTION = {
    "name": "selection",
    "in": "query",
    "style": "form",
    "explode": True,
    "description": "Each axis of a grid, column of a book (and `row`, from 1), or `firm`, `date`"
    " and `horizon` of a panel, by its name: a value, several with commas, or a range `low:high`,"
    " either end of which may be left out.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "example": {"spot": "90:110", "strike": "100"},
}
PARAMETERS = [
    SELECTION,
    *(
        {"name": name, "in": "query", "description": said, "schema": schema}
        for name, said, schema in (
            (
                "measures",
                "Which of the run's measures, with commas; all by default.",
                {"type": "string"},
            ),
            (
                "nearest",
                "Take the nearest value where one is not there.",
                {"type": "boolean", "default": False},
            ),
            (
                "partial",
                "Answer with the cells that are not priced yet too, as nulls, rather than by 409.",
                {"type": "boolean", "default": False},
            ),
            (
                "limit",
                "The most rows, up to 100,000; in Arrow 1,000,000.",
                WHOLE | {"minimum": 1, "default": DEFAULT_ROWS},
            ),
            (
                "offset",
                "How many rows to leave out before the first.",
                WHOLE | {"minimum": 0, "default": 0},
            ),
            (
                "format",
                "What `Accept` says by default, else json; arrow is an IPC stream.",
                {"type": "string", "enum": list(MEDIA)},
            ),
        )
    ),
]
LIST_PARAMETERS = [
    {"name": name, "in": "query", "description": said, "schema": WHOLE | schema}
    for name, said, schema in (
        (
            "limit",
            f"The most runs, up to {MOST_RUNS:,}.",
            {"minimum": 1, "default": DEFAULT_RUNS},
        ),
        (
            "offset",
            "How many runs to leave out before the first.",
            {"minimum": 0, "default": 0},
        ),
    )
]
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


@routes.get(
    "/runs",
    response_model=schemas.RunList,
    responses=_failures(413, 422, 503),
    openapi_extra={"parameters": LIST_PARAMETERS},
)
def list_runs(request: Request) -> Response:
    """List the runs in the store, the last submitted first."""
    limit, offset = part_of(request.query_params.multi_items())
    runs = _runs(request)
    kept = schemas.RunLine.model_fields
    statuses, total = runs.statuses(limit, offset)
    found = [{name: run[name] for name in kept} for run in statuses]
    after, following = offset + len(found), None
    if found and after < total:
        following = f"/api/runs?limit={limit}&offset={after}"
    listed = {"store": runs.store.url, "runs": found, "total": total, "next": following}
    return _document(listed)


@routes.get("/runs/{run}", response_model=schemas.Status, responses=_answers(404, 422, 503))
def status(request: Request, run: RunName) -> Response:
    """Say how far a run is, and what its cells came to."""
    opened = _runs(request).open(run)
    tag = _tag(opened, "status")
    if _has(request, tag):
        return _unchanged(tag)
    document = _runs(request).status(opened.run)
    return Response(compact(document), headers=_kept(tag), media_type=MEDIA[JSON])


@routes.get(
    "/runs/{run}/axes",
    response_model=schemas.GridAxes | schemas.BookColumns | schemas.PanelColumns,
    responses=_answers(404, 422, 503),
)
def axes(request: Request, run: RunName) -> Response:
    """Say what can be asked of a run: its axes or columns, with their values, and its measures."""
    opened = _runs(request).open(run)
    tag = _tag(opened, "axes")
    if _has(request, tag):
        return _unchanged(tag)
    return Response(compact(opened.axes), headers=_kept(tag), media_type=MEDIA[JSON])


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
    openapi_extra={"parameters": PARAMETERS},
)
def cells(request: Request, run: RunName) -> Response:
    """Read the prices of some cells; only the blocks that hold them are read."""
    asked = asked_of(request.query_params.multi_items(), request.headers.get("accept", ""))
    opened = _runs(request).open(run)
    tag = _tag(opened, "cells", repr(asked))
    headers = _kept(tag) | {"Vary": "Accept"}
    if _has(request, tag):
        return Response(status_code=304, headers=headers)
    page = page_of(opened.run, asked)
    if page.next:
        headers["Link"] = f'<{page.next}>; rel="next"'
    return Response(page.render(asked.form), headers=headers, media_type=MEDIA[asked.form])


@routes.get(
    "/runs/{run}/timeline",
    response_model=schemas.Timeline,
    responses=_answers(404, 409, 422, 503),
)
def timeline(request: Request, run: RunName) -> Response:
    """Say when each chunk of a run was priced, and by whom."""
    opened = _runs(request).open(run)
    tag = _tag(opened, "timeline")
    if _has(request, tag):
        return _unchanged(tag)
    document = compact(timeline_of(opened.run).to_json())
    return Response(document, headers=_kept(tag), media_type=MEDIA[JSON])


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
        if len(body) > MOST_BODY_BYTES:
            raise TooLargeError(f"body: must be at most {MOST_BODY_BYTES:,} bytes")
    apart: Apart = request.app.state.apart
    return _document(await run_in_threadpool(apart.price, body))


def _runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)


def _document(document: object) -> Response:
    return Response(compact(document), headers=_kept(""), media_type=MEDIA[JSON])


def _tag(opened: Opened, *parts: str) -> str:
    """Return an ETag of what is answered of a complete run; none of one that changes.

    It is weak, since an answer may be packed on its way.
    """
    if not opened.finished:
        return ""
    head = opened.run.head
    # The name, and the labels of tables, are no part of the id: a run made anew may have others.
    named = "\0".join((pricer.__version__, head.run_id, head.submitted_at, *parts))
    return f'W/"{hashlib.sha256(named.encode(errors="replace")).hexdigest()[:32]}"'


def _has(request: Request, tag: str) -> bool:
    """Tell whether the client has what `tag` names."""
    if not tag:
        return False
    named = ",".join(request.headers.getlist("if-none-match")).split(",")
    return tag.removeprefix("W/") in (each.strip().removeprefix("W/") for each in named)


def _unchanged(tag: str) -> Response:
    return Response(status_code=304, headers=_kept(tag))


def _kept(tag: str) -> dict[str, str]:
    kept = {"ETag": tag, "Cache-Control": ASK_AGAIN} if tag else {"Cache-Control": NEVER_KEPT}
    return kept | AS_SAID
