"""The application for who sits at this machine, and nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from .cells import compact

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost")


class OnlyLocal:
    """Answers who asks for this machine by its own names.

    Another site's page can let its name lead to 127.0.0.1 and would then be allowed to read what
    is answered; its requests still carry that name as their host.
    """

    def __init__(self, answer: ASGIApp) -> None:
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse other hosts, and hand everything else on."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
            if host.rpartition(":")[0] not in NAMES and host not in NAMES:
                line = f"host: must be {' or '.join(NAMES)}, got {host[:60]!r}"
                refused = Response(compact({"error": line}), 421, media_type="application/json")
                await refused(scope, receive, send)
                return
        await self.answer(scope, receive, send)
