"""The application: what it is made of, and what becomes of its failures."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import pricer
from pricer.errors import (
    MissingDependencyError,
    NoTimesError,
    NotPricedError,
    PricerError,
    RunNotFoundError,
    SpecError,
    StoreError,
)

from .apart import TIMEOUT_S, Apart
from .cells import AS_SAID, compact
from .errors import BusyError, MediaTypeError, NotAcceptableError, TooLargeError
from .opened import Runs
from .routes import routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pricer.stores import Store

STATIC = Path(__file__).parent / "static"
RETRY_S = 5
# The page draws by its own scripts alone; its library sets styles of elements.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
STATUS: dict[type[PricerError], int] = {
    NoTimesError: 404,
    RunNotFoundError: 404,
    NotAcceptableError: 406,
    NotPricedError: 409,
    TooLargeError: 413,
    MediaTypeError: 415,
    SpecError: 422,
    BusyError: 503,
    StoreError: 503,
}


def app(store: Store, *, price_timeout_s: float = TIMEOUT_S) -> FastAPI:
    """Make the application that answers for the runs of `store`, and prices single options.

    It reads and never writes. An option that takes longer than `price_timeout_s` is given up.
    """
    runs, apart = Runs(store), Apart(price_timeout_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        apart.close()

    made = FastAPI(
        title="pricer",
        version=pricer.__version__,
        description="Runs of prices, and prices of single options; reads, and never writes.",
        # The pages that FastAPI has for its schema load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    made.state.runs, made.state.apart = runs, apart
    made.add_exception_handler(PricerError, _refused)
    made.add_exception_handler(HTTPException, _no_route)
    made.include_router(routes)
    made.add_api_route("/assets/plotly.min.js", _plotly, include_in_schema=False)
    # Not mounted: a mount would answer for methods that a route does not have.
    made.router.default = _Page(directory=STATIC, html=True)
    return made


class _Page(StaticFiles):
    """The page's files, which a browser keeps but asks after each time."""

    def file_response(self, *args: Any, **named: Any) -> Response:
        response = super().file_response(*args, **named)
        response.headers.update(AS_SAID)
        response.headers["Cache-Control"] = "no-cache"
        # Weak, since what is sent may be packed.
        response.headers["ETag"] = f"W/{response.headers['etag'].removeprefix('W/')}"
        response.headers["Content-Security-Policy"] = POLICY
        return response


async def _plotly(request: Request) -> Response:
    """Return the library that draws, from where it is installed; importing it takes a second."""
    found = find_spec("plotly")
    if not found or not found.origin:
        raise MissingDependencyError("the page needs plotly: pip install plotly")
    files = _Page(directory=Path(found.origin).parent / "package_data")
    response = await files.get_response("plotly.min.js", request.scope)
    response.headers["Cache-Control"] = "private, max-age=86400"
    return response


async def _refused(_: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(RETRY_S)} if isinstance(error, BusyError) else {}
    return _failed(" ".join(str(error).split()), status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    said = {404: f"{what}: there is nothing here", 405: f"{what}: is not possible"}
    return _failed(said.get(error.status_code, error.detail), error.status_code, error.headers)


def _failed(line: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        compact({"error": line}),
        status,
        {"Cache-Control": "no-store", **AS_SAID, **(headers or {})},
        "application/json",
    )
