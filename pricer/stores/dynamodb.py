"""Runs in one DynamoDB table, their files on S3. docs/blocks.md describes its items.

Every item of a run carries the generation of its head. A run that is deleted is hidden at once
and its items are left to the table's time to live; created again it has another generation, and
what an older one left, or a late worker still writes, does not count.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from pricer.blocks import blocks_named, pack_block, unpack_block
from pricer.errors import StoreError

from . import DYNAMODB, StoredRun, not_found
from .files import Files
from .owners import Owner, Owners
from .table import WRITE_ITEMS, Table, TableStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pricer.plan import Bulk

    from .items import Item

HEAD, RUNS, BLOCK, SUMMARY = "head", "runs", "block", "summary"
CHUNK, AXES, FAILED = "chunk#", "axes#", "failed#"
READ_BLOCKS = 50
DAY_S = 86_400
TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
OPTIONS = ("region", "endpoint", "bucket")


class DynamoStore:
    """Keeps runs in a DynamoDB table, their files in `bucket` or else in the table too.

    Threads may share it. `endpoint` is where DynamoDB is, if not where AWS settings say. Runs
    that it creates are kept for `keep_days`. Where the table is busy it tries again for as many
    seconds as `deadline` returns, a minute if None.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        bucket: str | None = None,
        keep_days: float = 90,
        deadline: Callable[[], float] | None = None,
    ) -> None:
        self.table = Table(table, region=region, endpoint=endpoint, deadline=deadline)
        self.bucket = bucket
        self.keep_days = keep_days
        self._files = Files(self.table, bucket)
        self._owners = Owners(self.table)
        self._generations: dict[str, int] = {}

    @property
    def url(self) -> str:
        """What opens this store again."""
        table = self.table
        options = {"region": table.region, "endpoint": table.endpoint, "bucket": self.bucket}
        query = urlencode({k: v for k, v in options.items() if v}, safe=":/")
        return f"{DYNAMODB}{table.name}{'?' if query else ''}{query}"

    @property
    def write_units(self) -> float:
        """The write units that this object has consumed."""
        return self.table.write_units

    def create(self, run: StoredRun, files: Mapping[str, bytes]) -> StoredRun:
        """Keep a run and the files that rebuild its plan; return what is now stored."""
        while True:
            old = self.table.get(run.run_id, HEAD)
            if old and _counts(old):
                new = old | {"submitted_at": run.submitted_at}
                change = self.table.updating(
                    (run.run_id, HEAD),
                    "SET submitted_at = :at",
                    "generation = :generation AND attribute_not_exists(deleted)",
                    at=run.submitted_at,
                    generation=old["generation"],
                )
            else:
                new = self._new_head(run, files)
                condition, values = "attribute_not_exists(pk)", {}
                if old:
                    condition, values = "generation = :old", {"old": old["generation"]}
                change = self.table.replacing(new, condition, **values)
            listed = self.table.replacing(new | {"pk": RUNS, "sk": run.run_id})
            if self.table.change_both(change, listed):
                return self._seen(run.run_id, new)

    def run(self, run_id: str) -> StoredRun:
        """Return the head of a run."""
        return self._seen(run_id, self._head(run_id))

    def runs(self) -> list[StoredRun]:
        """Return the head of every run, the one submitted last first."""
        items = [item for item in self.table.query(RUNS) if _counts(item)]
        items.sort(key=lambda item: (item["submitted_at"], item["generation"]), reverse=True)
        return [_stored_run(item["sk"], item) for item in items]

    def files(self, run_id: str, *names: str) -> dict[str, bytes]:
        """Return the files that rebuild a run's plan, by name; of `names` alone where given."""
        head = self._head(run_id)
        there = [name for name in names or head["files"] if name in head["files"]]
        return {name: self._files.read(run_id, head, name) for name in there}

    def read(self, run_id: str, name: str, first: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `first` to before `end` of a file."""
        return self._files.read(run_id, self._head(run_id), name, first, end)

    def write(self, run_id: str, name: str, data: bytes | Bulk) -> str:
        """Keep a file beside those of the plan; return its key in the bucket."""
        return self._files.write(run_id, self._head(run_id), name, data)

    def has(self, run_id: str, name: str, size: int) -> bool:
        """Tell whether a file of that size is kept in the bucket beside those of the plan."""
        return self._files.has(run_id, self._head(run_id), name, size)

    def put_blocks(self, run_id: str, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Keep blocks, each with its number; what a failure kept of them does no harm."""
        tag = self._tag(run_id)
        rest = iter(dict(blocks).items())
        while batch := list(islice(rest, WRITE_ITEMS)):
            self.table.put_all(
                [
                    {"pk": f"{run_id}#{number}", "sk": BLOCK, "data": pack_block(data)} | tag
                    for number, data in batch
                ]
            )

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of these numbers in the order asked; those not there are left out."""
        generation = self._head(run_id)["generation"]
        rest = iter(numbers)
        while asked := list(islice(rest, READ_BLOCKS)):
            keys = {number: (f"{run_id}#{number}", BLOCK) for number in asked}
            found = self.table.get_all(list(keys.values()))
            for number in asked:
                item = found.get(keys[number])
                if item and item["generation"] == generation:
                    yield number, unpack_block(item["data"])

    def put_marker(
        self,
        run_id: str,
        chunk: int,
        summary: Mapping[str, Any],
        *,
        usage: Mapping[str, Any] | None = None,
        axes: bytes = b"",
    ) -> None:
        """Say that every block of a chunk is stored, what they hold, and what pricing took.

        `axes` is what they come to along each axis.
        """
        item: Item = {"pk": run_id, "sk": _of_chunk(CHUNK, chunk), "summary": json.dumps(summary)}
        item |= {name: summary[name] for name in ("cells", "ok") if name in summary}
        tag = self._tag(run_id)
        if axes:
            self.table.put({"pk": run_id, "sk": _of_chunk(AXES, chunk), "data": axes} | tag)
        self.table.put(item | {"usage": dict(usage or {})} | tag)

    def marker(self, run_id: str, chunk: int) -> dict[str, Any] | None:
        """Return the summary of a chunk, None where it is not done."""
        head, marker = (run_id, HEAD), (run_id, _of_chunk(CHUNK, chunk))
        found = self.table.get_all([head, marker])
        self._seen(run_id, self._checked(run_id, found.get(head)))
        if marker in found and found[marker]["generation"] == found[head]["generation"]:
            return dict(json.loads(found[marker]["summary"]))
        return None

    def markers(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return the summary of every chunk that is done, in chunk order."""
        return {
            chunk: json.loads(item["summary"])
            for chunk, item in self._by_chunk(run_id, CHUNK, "summary")
        }

    def axes(self, run_id: str) -> Iterator[tuple[int, bytes]]:
        """Yield the `axes` of every chunk that has some, with its number, in chunk order."""
        return ((chunk, item["data"]) for chunk, item in self._by_chunk(run_id, AXES, "data"))

    def usages(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return what pricing took of every chunk that is done, in chunk order."""
        return {chunk: item["usage"] for chunk, item in self._by_chunk(run_id, CHUNK, "usage")}

    def reasons(self, run_id: str) -> dict[str, str]:
        """Return why blocks, or the run, could not be priced, as the state machine kept it."""
        self._head(run_id)
        return dict(map(_reason, self.table.query(run_id, FAILED)))

    def clear_reasons(self, run_id: str) -> None:
        """Forget why what is not done failed: it is tried again."""
        self.table.delete_all([(run_id, item["sk"]) for item in self.table.query(run_id, FAILED)])

    def put_summary(self, run_id: str, summary: Mapping[str, Any]) -> None:
        """Keep what the run came to, for people to read; numbers that are not finite are not."""
        self.table.put({**summary, "pk": run_id, "sk": SUMMARY} | self._tag(run_id))

    def summary(self, run_id: str) -> dict[str, Any] | None:
        """Return what `put_summary` kept."""
        generation = self._head(run_id)["generation"]
        item = self.table.get(run_id, SUMMARY)
        if item is None or item["generation"] != generation:
            return None
        for name in ("pk", "sk", "generation", "expires"):
            del item[name]
        return item

    def put_planned(self, run_id: str, planned: Mapping[str, Any]) -> None:
        """Keep what the run was expected to take."""
        self.table.update(
            (run_id, HEAD),
            "SET planned = :planned",
            "generation = :generation",
            planned=json.dumps(planned),
            generation=self._head(run_id)["generation"],
        )

    def planned(self, run_id: str) -> dict[str, Any] | None:
        """Return what the run was expected to take, None where nobody said."""
        head = self._head(run_id)
        return dict(json.loads(head["planned"])) if "planned" in head else None

    def delete(self, run_id: str) -> None:
        """Forget a run: at once it is not there; the table's time to live removes its items."""
        generation = self._head(run_id)["generation"]
        hide = self.table.updating(
            (run_id, HEAD),
            "SET deleted = :yes",
            "generation = :generation",
            yes=True,
            generation=generation,
        )
        if not self.table.change_both(hide, self.table.deleting((RUNS, run_id))):
            raise not_found(run_id, self.url)

    def lock(self, run_id: str) -> AbstractContextManager[bool]:
        """Own the pricing of a run while the context lasts; yields False where another does."""
        return self._owners.lease(run_id)

    def running(self, run_id: str) -> bool:
        """Tell whether someone owns the pricing of a run."""
        owner = self.owner(run_id)
        return owner is not None and owner.alive

    def owner(self, run_id: str) -> Owner | None:
        """Return who owned a run last; None where nobody did, or has let go."""
        return self._owners.owner(run_id)

    def attempts(self, run_id: str) -> int:
        """Return how many owners a run has had, the one it has included."""
        return self._owners.attempts(run_id)

    def take(self, run_id: str, owner_of: Callable[[int], str]) -> str | None:
        """Let an execution that is about to start own a run, and return its ARN.

        `owner_of` returns the ARN that the execution of an attempt will have; no other caller
        gets that attempt. Who cannot start it then gives the run back by `release`. None where
        another owns the run, or was faster to take it: attach to `owner`.
        """
        return self._owners.take(run_id, owner_of)

    def release(self, run_id: str, owner: str) -> None:
        """Let go of a run, if `owner` still owns it."""
        self._owners.release(run_id, owner)

    def table_status(self) -> TableStatus:
        """Describe the table."""
        return self.table.status()

    def _new_head(self, run: StoredRun, files: Mapping[str, bytes]) -> Item:
        """Keep the files of a new run, and return the head that makes them count."""
        now = time.time()
        head = asdict(run) | {
            "pk": run.run_id,
            "sk": HEAD,
            # Not counted up: an old head may have gone while blocks of its time are still there.
            "generation": int(now * 1e6),
            "expires": int(now + self.keep_days * DAY_S),
        }
        del head["run_id"]
        if not run.as_of:
            del head["as_of"]
        self.clear_reasons(run.run_id)
        return head | self._files.keep(run.run_id, head, files)

    def _head(self, run_id: str) -> Item:
        return self._checked(run_id, self.table.get(run_id, HEAD))

    def _checked(self, run_id: str, head: Item | None) -> Item:
        if head is None or not _counts(head):
            raise not_found(run_id, self.url)
        return head

    def _seen(self, run_id: str, head: Item) -> StoredRun:
        """Remember which generation of a run its caller was told of."""
        self._generations[run_id] = head["generation"]
        return _stored_run(run_id, head)

    def _tag(self, run_id: str) -> Item:
        """Return what every item of a run carries; raise where it is not the run seen before."""
        head = self._head(run_id)
        generation = head["generation"]
        if self._generations.setdefault(run_id, generation) != generation:
            raise not_found(run_id, self.url)
        return {"generation": generation, "expires": head["expires"]}

    def _by_chunk(self, run_id: str, kind: str, attribute: str) -> Iterator[tuple[int, Item]]:
        """Yield the items of a kind in chunk order, each with this attribute of it."""
        generation = self._head(run_id)["generation"]
        for item in self.table.query(run_id, kind, ("sk", "generation", attribute)):
            if item["generation"] == generation:
                yield int(item["sk"].removeprefix(kind)), item


def open_dynamodb(url: str) -> DynamoStore:
    """Open the store at ``dynamodb://table?region=...&endpoint=...&bucket=...``."""
    table, _, query = url.removeprefix(DYNAMODB).partition("?")
    if not TABLE_NAME.fullmatch(table):
        raise StoreError(
            f"store: must be {DYNAMODB}TABLE, the name 3 to 255 letters, digits, dots, dashes"
            f" and underscores, got {url!r}"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in OPTIONS:
            known = ", ".join(OPTIONS)
            raise StoreError(f"store: {name!r} is not a parameter of {DYNAMODB}, which has {known}")
        if not value:
            raise StoreError(f"store: {name} must have a value, got {url!r}")
    region, endpoint, bucket = map(options.get, OPTIONS)
    return DynamoStore(table, region=region, endpoint=endpoint, bucket=bucket)


def _counts(head: Item) -> bool:
    return not head.get("deleted") and head["expires"] > time.time()


def _stored_run(run_id: str, head: Item) -> StoredRun:
    names = ("name", "cells", "blocks", "chunk_blocks", "submitted_at", "as_of")
    return StoredRun(run_id, **{name: head[name] for name in names if name in head})


def _of_chunk(kind: str, chunk: int) -> str:
    return f"{kind}{chunk:010d}"


def _reason(item: Item) -> tuple[str, str]:
    """Return what failed, and why, of an item that the state machine kept."""
    what: str = item["sk"].removeprefix(FAILED)
    if "first" in item:
        what = blocks_named(item["first"], item["end"])
    cause = item.get("cause", "")
    # Lambda's cause is JSON; other services write a sentence.
    with suppress(ValueError, TypeError, KeyError):
        cause = json.loads(cause)["errorMessage"]
    why = ": ".join(filter(None, (item.get("error", ""), cause)))
    return what, " ".join(why.split())
