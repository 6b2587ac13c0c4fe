"""A DynamoDB table as a store uses it: items of plain Python values, and patience.

What is busy is asked again until the time is over; what is wrong is one clear line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from pricer import aws
from pricer.errors import AwsError, StoreError

from .items import item_to_plain, plain_to_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .items import Item

    Key = tuple[str, str]

WRITE_ITEMS = 25
PATIENCE_S = 60.0
WAIT_S, LONGEST_WAIT_S = 0.05, 5.0
# Once more where a connection breaks; to wait is for who knows how much time is left.
ATTEMPTS = 2

BUSY = (
    *("ProvisionedThroughputExceededException", "ProvisionedThroughputExceeded"),
    *("ThrottlingException", "ThrottlingError", "RequestLimitExceeded"),
    *("InternalServerError", "ServiceUnavailable"),
    *("TransactionConflictException", "TransactionConflict", "TransactionInProgressException"),
)
REFUSED = ("ConditionalCheckFailedException", "ConditionalCheckFailed")


class BusyError(Exception):
    """The table could not do all of it now."""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What a table is set to; `write_units_s` is what it takes at once, None where not told."""

    status: str
    billing: str
    write_units_s: int | None
    items: int
    bytes: int
    recovery: bool
    ttl: str | None


class Table:
    """A table whose keys are the texts `pk` and `sk`. Threads may share it.

    `deadline` tells how many seconds are left to whoever asks.
    """

    def __init__(
        self,
        name: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        deadline: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.region = aws.region_of(region)
        self.endpoint = endpoint
        self.deadline = deadline or (lambda: PATIENCE_S)
        self.write_units = 0.0
        self._mutex = Lock()

    @property
    def where(self) -> str:
        """What a message begins with."""
        return f"table {self.name} in {self.region or 'no region'}"

    @cached_property
    def client(self) -> Any:
        """The DynamoDB client."""
        return aws.client("dynamodb", region=self.region, endpoint=self.endpoint, attempts=ATTEMPTS)

    def get(self, pk: str, sk: str) -> Item | None:
        """Return an item, None where there is none."""
        request = {"Key": plain_to_item({"pk": pk, "sk": sk}), "ConsistentRead": True}
        response = self._ask("get_item", **request)
        return item_to_plain(response["Item"]) if "Item" in response else None

    def put(self, item: Mapping[str, Any]) -> None:
        """Write an item over what may be there."""
        self._ask("put_item", Item=plain_to_item(item), ReturnConsumedCapacity="TOTAL")

    def update(self, key: Key, expression: str, condition: str, **values: Any) -> bool:
        """Change an item where `condition` holds, and tell whether it did.

        `values` are those of the names that the expressions write with a colon, as ``:now``;
        names with ``#`` are attributes whose plain names DynamoDB reserves.
        """
        request = self._update(key, expression, condition, values)
        return self._accepted("update_item", **request, ReturnConsumedCapacity="TOTAL")

    def change_both(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
        """Make two changes or none, and tell whether their conditions held; see `replacing`."""
        request = {"TransactItems": [first, second], "ReturnConsumedCapacity": "TOTAL"}
        return self._accepted("transact_write_items", **request)

    def replacing(self, item: Mapping[str, Any], condition: str = "", **values: Any) -> Item:
        """Return a change for `change_both`: put an item where `condition` holds."""
        return {
            "Put": {"TableName": self.name, "Item": plain_to_item(item)} | _when(condition, values)
        }

    def updating(self, key: Key, expression: str, condition: str = "", **values: Any) -> Item:
        """Return a change for `change_both`: update an item where `condition` holds."""
        return {"Update": self._update(key, expression, condition, values)}

    def deleting(self, key: Key) -> Item:
        """Return a change for `change_both`: delete an item."""
        return {"Delete": {"TableName": self.name, "Key": _key(key)}}

    def query(self, pk: str, prefix: str = "", attributes: Sequence[str] = ()) -> Iterator[Item]:
        """Yield the items of a partition whose `sk` starts with `prefix`, in its order.

        They have these attributes alone, or all of them if none is named.
        """
        condition, values = "pk = :pk", {":pk": pk}
        if prefix:
            condition, values = f"{condition} AND begins_with(sk, :sk)", values | {":sk": prefix}
        request: Item = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": plain_to_item(values),
            "ConsistentRead": True,
        }
        if attributes:
            names = {f"#{number}": name for number, name in enumerate(attributes)}
            request["ProjectionExpression"] = ", ".join(names)
            request["ExpressionAttributeNames"] = names
        while True:
            response = self._ask("query", **request)
            yield from map(item_to_plain, response["Items"])
            if "LastEvaluatedKey" not in response:
                return
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def put_all(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Write items, 25 at most; no two of one key."""
        self._write([{"PutRequest": {"Item": plain_to_item(item)}} for item in items])

    def delete_all(self, keys: Sequence[Key]) -> None:
        """Delete items."""
        requests = [{"DeleteRequest": {"Key": _key(key)}} for key in keys]
        for first in range(0, len(requests), WRITE_ITEMS):
            self._write(requests[first : first + WRITE_ITEMS])

    def get_all(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Return those of up to 100 items that are there; no key twice."""
        found: dict[Key, Item] = {}
        rest = {self.name: {"Keys": list(map(_key, keys)), "ConsistentRead": True}}

        def read() -> None:
            nonlocal rest
            response = self._call("batch_get_item", RequestItems=rest)
            for item in map(item_to_plain, response["Responses"].get(self.name, ())):
                found[item["pk"], item["sk"]] = item
            rest = response.get("UnprocessedKeys") or {}
            if rest:
                raise BusyError

        if keys:
            self._patiently(read, f"reading {len(keys)} items")
        return found

    def write_units_s(self) -> int | None:
        """Return the write units a second that it takes at once, None where not told."""
        return _write_units_s(self._ask("describe_table")["Table"])

    def status(self) -> TableStatus:
        """Describe the table."""
        table = self._ask("describe_table")["Table"]
        backups = self._ask("describe_continuous_backups")["ContinuousBackupsDescription"]
        ttl = self._ask("describe_time_to_live")["TimeToLiveDescription"]
        recovery = backups.get("PointInTimeRecoveryDescription", {})
        return TableStatus(
            status=table["TableStatus"],
            billing=table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            write_units_s=_write_units_s(table),
            items=table.get("ItemCount", 0),
            bytes=table.get("TableSizeBytes", 0),
            recovery=recovery.get("PointInTimeRecoveryStatus") == "ENABLED",
            ttl=ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") == "ENABLED" else None,
        )

    def _write(self, requests: list[Item]) -> None:
        rest = {self.name: requests}

        def write() -> None:
            nonlocal rest
            response = self._call(
                "batch_write_item", RequestItems=rest, ReturnConsumedCapacity="TOTAL"
            )
            rest = response.get("UnprocessedItems") or {}
            if rest:
                raise BusyError

        if requests:
            self._patiently(write, f"writing {len(requests)} items")

    def _update(self, key: Key, expression: str, condition: str, values: Mapping[str, Any]) -> Item:
        request = {"TableName": self.name, "Key": _key(key), "UpdateExpression": expression}
        request |= _when(condition, values)
        words = f"{expression} {condition}".replace(",", " ").split()
        if names := {word for word in words if word.startswith("#")}:
            request["ExpressionAttributeNames"] = {name: name[1:] for name in names}
        return request

    def _accepted(self, operation: str, **request: Any) -> bool:
        try:
            self._patiently(lambda: self._call(operation, **request), operation)
        except AwsError as error:
            if aws.error_code(error) in REFUSED:
                return False
            raise
        return True

    def _ask(self, operation: str, **request: Any) -> Any:
        request["TableName"] = self.name
        return self._patiently(lambda: self._call(operation, **request), operation)

    def _patiently(self, work: Callable[[], Any], what: str) -> Any:
        """Return what `work` returns; let it try again while the table is busy."""
        started, limit_s = time.monotonic(), self.deadline()
        retrying = Retrying(
            retry=retry_if_exception_type(BusyError),
            wait=wait_random_exponential(multiplier=WAIT_S, max=LONGEST_WAIT_S),
            stop=stop_before_delay(max(limit_s, 0.0)),
            reraise=True,
        )
        try:
            return retrying(work)
        except BusyError as error:
            raise StoreError(
                f"{self.where}: {what} was throttled for {time.monotonic() - started:.1f} s;"
                " raise the table's warm throughput or lower the concurrency, then submit again:"
                " what is stored is kept"
            ) from error

    def _call(self, operation: str, **request: Any) -> Any:
        try:
            with aws.explained(self.where):
                response = getattr(self.client, operation)(**request)
        except AwsError as error:
            code, message = aws.error_code(error), str(error)
            if code in BUSY:
                raise BusyError from error
            if code in ("ResourceNotFoundException", "TableNotFoundException"):
                raise StoreError(
                    f"{self.where}: is not there; check its name and the region, or deploy it"
                ) from error
            if code.startswith("Validation") and "key" in message and "size" not in message:
                raise StoreError(
                    f"{self.where}: is not a store: its keys must be the texts pk (partition) and"
                    " sk (sort)"
                ) from error
            raise
        self._count(response)
        return response

    def _count(self, response: Mapping[str, Any]) -> None:
        consumed = response.get("ConsumedCapacity", ())
        parts = [consumed] if isinstance(consumed, dict) else consumed
        units = sum(part["CapacityUnits"] for part in parts)
        with self._mutex:
            self.write_units += units


def _write_units_s(described: Mapping[str, Any]) -> int | None:
    units: int | None = described.get("WarmThroughput", {}).get("WriteUnitsPerSecond")
    return units


def _key(key: Key) -> Item:
    return plain_to_item({"pk": key[0], "sk": key[1]})


def _when(condition: str, values: Mapping[str, Any]) -> Item:
    request: Item = {}
    if condition:
        request["ConditionExpression"] = condition
    if values:
        named = {f":{name}": value for name, value in values.items()}
        request["ExpressionAttributeValues"] = plain_to_item(named)
    return request
