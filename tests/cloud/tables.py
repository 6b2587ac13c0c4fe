"""Tables and buckets of a test's own, empty when it begins and gone when it ends."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pricer.aws import client

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"pk": "HASH", "sk": "RANGE"}


@contextmanager
def new_table(keys: dict[str, str] = KEYS) -> Iterator[str]:
    """Make a table of these keys, all of them texts; yield its name."""
    dynamodb = client("dynamodb")
    name = f"runs-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    try:
        yield name
    finally:
        if name in dynamodb.list_tables()["TableNames"]:
            dynamodb.delete_table(TableName=name)


@contextmanager
def new_bucket() -> Iterator[str]:
    """Make a bucket; yield its name."""
    s3 = client("s3")
    name = f"runs-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for kept in s3.list_objects_v2(Bucket=name).get("Contents", ()):
            s3.delete_object(Bucket=name, Key=kept["Key"])
        s3.delete_bucket(Bucket=name)
