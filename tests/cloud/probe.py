"""A function that does what its event says, for the emulator's own tests."""

from __future__ import annotations

import os
import time
from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sleep, raise or exit as asked; else say when and where it ran."""
    print(f"asked for {sorted(event)}")  # noqa: T201  what a function prints is its log
    started = time.time()
    time.sleep(event.get("sleep_s", 0))
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    return {
        "request": context.aws_request_id,
        "pid": os.getpid(),
        "started": started,
        "ended": time.time(),
        "padding": "x" * event.get("padding", 0),
        "left_ms": context.get_remaining_time_in_millis(),
    }
