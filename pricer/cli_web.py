"""The command that answers over HTTP on this machine."""

from __future__ import annotations

import logging
import os
import socket
import sys
import webbrowser
from importlib.util import find_spec

import click

from . import options
from .documents import show
from .errors import MissingDependencyError, PricerError

HOST = "127.0.0.1"
PORT = 8000

logger = logging.getLogger("pricer")


@click.command(
    epilog=options.examples("pricer serve", "pricer serve --on aws --port 8080 --no-open")
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65_535),
    default=PORT,
    help=f"On which port; 0 takes a free one. Default: {PORT}.",
)
@click.option("--no-open", is_flag=True, help="Leave the browser alone.")
@options.where
@options.json
@options.verbose
def serve(*, port: int, no_open: bool, where: options.Where, as_json: bool) -> None:
    """Show the runs in the store in a browser, and answer over HTTP.

    On this machine only, until ^C. Reads and prices single options; nothing can be changed.
    """
    for name in ("fastapi", "plotly", "uvicorn"):
        if not find_spec(name):
            raise MissingDependencyError(f"serve needs {name}: pip install fastapi plotly uvicorn")
    import uvicorn

    from . import views
    from .run import as_store
    from .web.app import app
    from .web.local import OnlyLocal

    store = as_store(where.store())
    store.runs()  # What cannot be read is said now.
    listening = _listen(port)
    url = f"http://{HOST}:{listening.getsockname()[1]}/"
    show({"url": url, "store": store.url}, views.serving, as_json=as_json)
    sys.stdout.flush()
    if not no_open and _has_display():
        webbrowser.open(url)
    verbose = logger.isEnabledFor(logging.INFO)
    config = uvicorn.Config(
        OnlyLocal(app(store)), log_level="info" if verbose else "warning", access_log=verbose
    )
    with listening:
        try:
            uvicorn.Server(config).run([listening])
        except KeyboardInterrupt:
            logger.info("ended")


def _listen(port: int) -> socket.socket:
    """Return a socket that queues what comes before the server is up."""
    # Said to be TCP, so that asyncio sends what is written at once: a body waits 40 ms otherwise.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise PricerError(
            f"port {port}: cannot be used: {error.strerror}; choose another by --port"
        ) from None
    return listening


def _has_display() -> bool:
    return sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
