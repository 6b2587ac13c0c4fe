"""Who prices a run: one owner at a time, written on one item of a DynamoDB table.

A process holds a lease that it renews while it lives. An execution of the state machine needs
none: Step Functions knows whether it is running.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from pricer import aws
from pricer.errors import AwsError, StoreError

from . import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .items import Item
    from .table import Table

LOCK = "lock"
EXECUTION = "arn:"
LEASE_S, RENEW_S = 60.0, 20.0
# How long an execution may be unknown to Step Functions after its attempt was taken.
START_S = 30.0
# The name of an execution may be used again after 90 days: attempts must be counted longer.
KEEP_S = 100 * 86_400

logger = logging.getLogger("pricer")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owned a run last: the ARN of an execution, or a process's random id.

    `attempt` counts its owners, `until` is when the lease ends, in epoch seconds.
    """

    owner: str
    attempt: int
    until: float
    alive: bool


class Owners:
    """The owners of the runs in a table."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def owner(self, run_id: str) -> Owner | None:
        """Return who owned a run last; None where nobody did, or has let go."""
        return _owner(self._read(run_id))

    def attempts(self, run_id: str) -> int:
        """Return how many owners a run has had."""
        return int(self._read(run_id).get("attempt", 0))

    def take(self, run_id: str, owner_of: Callable[[int], str]) -> str | None:
        """Let an execution that is about to start own a run; see `DynamoStore.take`."""
        return self._own(run_id, START_S, owner_of)

    @contextmanager
    def lease(self, run_id: str) -> Iterator[bool]:
        """Own a run while the context lasts; yields False where another does."""
        me = secrets.token_hex(16)
        if self._own(run_id, LEASE_S, lambda _: me) is None:
            yield False
            return
        stop = Event()
        Thread(target=self._renew, args=(run_id, me, stop), daemon=True).start()
        try:
            yield True
        finally:
            stop.set()
            # Where the table cannot be reached, the lease ends by itself.
            with suppress(StoreError):
                self.release(run_id, me)

    def release(self, run_id: str, owner: str) -> None:
        """Let go of a run, if `owner` still owns it."""
        change = "SET #until = :never REMOVE #owner"
        self.table.update((run_id, LOCK), change, "#owner = :owner", owner=owner, never=0)

    def _own(self, run_id: str, seconds: float, owner_of: Callable[[int], str]) -> str | None:
        item = self._read(run_id)
        seen = _owner(item)
        if seen and seen.alive:
            return None
        now, attempt = time.time(), item.get("attempt", 0)
        owner = owner_of(attempt + 1)
        values: Item = {
            "new": owner,
            "next": attempt + 1,
            "end": now + seconds,
            "expires": int(now + KEEP_S),
        }
        condition = "attribute_not_exists(pk)"
        if item:
            condition = "attempt = :attempt AND #until = :until"
            values |= {"attempt": attempt, "until": item["until"]}
        taken = self.table.update(
            (run_id, LOCK),
            "SET #owner = :new, attempt = :next, #until = :end, expires = :expires",
            condition,
            **values,
        )
        # An answer that is lost is asked for again, and what was done refuses to be done again.
        ours = taken or self._read(run_id).get("until") == values["end"]
        return owner if ours else None

    def _renew(self, run_id: str, owner: str, stop: Event) -> None:
        """Renew a lease until told to stop, or until another owns the run."""
        while not stop.wait(RENEW_S):
            try:
                kept = self.table.update(
                    (run_id, LOCK),
                    "SET #until = :end",
                    "#owner = :owner",
                    owner=owner,
                    end=time.time() + LEASE_S,
                )
            except StoreError as error:
                logger.warning("run %s: its lease is not renewed: %s", run_id[:SHORT_ID], error)
                continue
            if not kept and not stop.is_set():
                logger.warning("run %s: another owns it now", run_id[:SHORT_ID])
                return

    def _read(self, run_id: str) -> Item:
        return self.table.get(run_id, LOCK) or {}


def _owner(item: Item) -> Owner | None:
    if "owner" not in item:
        return None
    owner, until = item["owner"], item["until"]
    alive = until > time.time()
    if owner.startswith(EXECUTION):
        alive = _status(owner) in (("RUNNING", "") if alive else ("RUNNING",))
    return Owner(owner, item["attempt"], until, alive)


def _status(execution: str) -> str:
    """Return the status of an execution, ``""`` where Step Functions does not know it (yet)."""
    states: Any = aws.client("stepfunctions", region=execution.split(":")[3])
    try:
        with aws.explained("Step Functions"):
            return str(states.describe_execution(executionArn=execution)["status"])
    except AwsError as error:
        if aws.error_code(error) == "ExecutionDoesNotExist":
            return ""
        raise
