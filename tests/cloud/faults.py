"""Faults on demand: ``POST /_faults`` of the emulator sets them, ``GET`` says what happened."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .containers import Container

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Any, Receive, Send], Awaitable[None]]

PATH = "/_faults"
WRITE = b"DynamoDB_20120810.BatchWriteItem"
JSON = (b"content-type", b"application/x-amz-json-1.0")
KILL_EVERY_S = 0.01


@dataclass(frozen=True)
class Faults:
    """What shall go wrong from now on.

    A batch is a call of BatchWriteItem: one that is stored only in part, one that is refused, one
    that takes long; and one that is stored, whereupon the functions at work are killed.
    """

    partial_batches: int = 0
    throttled_batches: int = 0
    slow_batches: int = 0
    slow_s: float = 0.0
    kill_at_batch: int = 0
    fatal_events: list[dict[str, Any]] = field(default_factory=list)


def inject(endpoint: str, **faults: Any) -> None:
    """Let these faults, and no others, happen at the emulator from now on."""
    body = json.dumps(faults).encode()
    urllib.request.urlopen(f"{endpoint}{PATH}", data=body, timeout=10).close()


def happened(endpoint: str) -> dict[str, int]:
    """Return how often each fault has happened since they were set."""
    with urllib.request.urlopen(f"{endpoint}{PATH}", timeout=10) as response:
        counts: dict[str, int] = json.load(response)
    return counts


class Saboteur:
    """Stands before the emulator's server and beside its Lambda functions."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.faults = Faults()
        self.happened: Counter[str] = Counter()
        self.at_work: set[Container] = set()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == PATH:
            await self._control(scope["method"], receive, send)
        elif (b"x-amz-target", WRITE) in scope["headers"]:
            await self._write(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def invoke(self, container: Container, event: Any, call: Callable[[], Any]) -> Any:
        """Let a function handle an event, unless that is fatal."""
        over = threading.Event()
        if any(fatal.items() <= event.items() for fatal in self.faults.fatal_events):
            self.happened["fatal_events"] += 1
            threading.Thread(target=self._murder, args=(container, over)).start()
        self.at_work.add(container)
        try:
            return call()
        finally:
            over.set()
            self.at_work.discard(container)

    def _murder(self, container: Container, over: threading.Event) -> None:
        while not over.wait(KILL_EVERY_S):
            container.kill_runtime()

    async def _control(self, method: str, receive: Receive, send: Send) -> None:
        if method == "POST":
            self.faults = Faults(**json.loads(await _body(receive)))
            self.happened.clear()
        await _answer(send, 200, json.dumps(self.happened).encode())

    def _happens(self, fault: str) -> bool:
        """Count the fault down; say whether it is to happen now."""
        left = getattr(self.faults, fault)
        if left:
            self.faults = replace(self.faults, **{fault: left - 1})
            self.happened[fault] += 1
        return bool(left)

    async def _write(self, scope: Any, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if self._happens("throttled_batches"):
            await _answer(send, 400, THROTTLED)
            return
        if self._happens("slow_batches"):
            await asyncio.sleep(self.faults.slow_s)
        if self._happens("partial_batches"):
            await self._write_partly(scope, json.loads(body), send)
            return
        last = self._happens("kill_at_batch") and not self.faults.kill_at_batch
        await self.app(scope, _receiving(body), self._kill if last else send)

    async def _kill(self, message: Message) -> None:
        """Kill who would have got the answer."""
        for container in list(self.at_work):
            container.kill_runtime()

    async def _write_partly(self, scope: Any, asked: dict[str, Any], send: Send) -> None:
        """Store the first item only, and say that the others are not."""
        rest = {}
        for table, items in asked["RequestItems"].items():
            asked["RequestItems"][table], rest[table] = items[:1], items[1:]
        answer: dict[str, Any] = {"status": 500, "body": b""}

        async def keep(message: Message) -> None:
            answer["status"] = message.get("status", answer["status"])
            answer["body"] += message.get("body", b"")

        await self.app(scope, _receiving(json.dumps(asked).encode()), keep)
        stored = json.loads(answer["body"])
        stored["UnprocessedItems"] = {table: items for table, items in rest.items() if items}
        await _answer(send, answer["status"], json.dumps(stored).encode())


THROTTLED = json.dumps(
    {
        "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "message": "The level of configured provisioned throughput for the table was exceeded.",
    }
).encode()


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _receiving(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _answer(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [JSON]})
    await send({"type": "http.response.body", "body": body})
