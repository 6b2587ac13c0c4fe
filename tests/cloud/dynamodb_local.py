"""Items kept in AWS's own DynamoDB Local, tables described by MiniStack."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

ACTIONS = (
    *("PutItem", "GetItem", "DeleteItem", "UpdateItem", "Query", "Scan"),
    *("BatchWriteItem", "BatchGetItem", "TransactWriteItems", "TransactGetItems"),
)
JSON = {"Content-Type": "application/x-amz-json-1.0"}
CREDENTIAL = (
    "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0"
)

Reply = tuple[int, dict[str, str], bytes]


def forward(endpoint: str) -> None:
    """Let every reading and writing of items happen at `endpoint`.

    MiniStack checks who may; a table is created there when it is first missed.
    """
    from ministack.services import dynamodb

    address = urlsplit(endpoint).netloc
    local = threading.local()

    def send(action: str, request: dict[str, Any]) -> Reply:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(address, timeout=60)
        headers = JSON | {
            "X-Amz-Target": f"DynamoDB_20120810.{action}",
            "Authorization": CREDENTIAL,
        }
        try:
            local.connection.request("POST", "/", json.dumps(request).encode(), headers)
            response = local.connection.getresponse()
            return response.status, dict(JSON), response.read()
        except (OSError, http.client.HTTPException):
            local.connection.close()  # the next request opens it anew
            raise

    def create(name: str) -> bool:
        status, _, body = dynamodb._describe_table({"TableName": name})
        if status != 200:
            return False
        table = json.loads(body)["Table"]
        wanted = {key: table[key] for key in ("TableName", "KeySchema", "AttributeDefinitions")}
        status, _, body = send("CreateTable", wanted | {"BillingMode": "PAY_PER_REQUEST"})
        return status == 200 or b"ResourceInUseException" in body

    def act(action: str, request: dict[str, Any]) -> Reply:
        reply = send(action, request)
        if b"ResourceNotFoundException" in reply[2] and all(map(create, _tables(request))):
            reply = send(action, request)
        return reply

    def handler(action: str) -> Any:
        return lambda request, *_: act(action, request)

    for action in ACTIONS:
        name = "_" + "".join(f"_{c.lower()}" if c.isupper() else c for c in action).lstrip("_")
        assert hasattr(dynamodb, name), name
        setattr(dynamodb, name, handler(action))

    delete = dynamodb._delete_table

    def delete_both(request: dict[str, Any], *rest: Any) -> Any:
        send("DeleteTable", {"TableName": request["TableName"]})
        return delete(request, *rest)

    dynamodb._delete_table = delete_both


def _tables(request: dict[str, Any]) -> set[str]:
    """Name the tables that a request is about."""
    if "TableName" in request:
        return {request["TableName"]}
    if "RequestItems" in request:
        return set(request["RequestItems"])
    return {next(iter(item.values()))["TableName"] for item in request["TransactItems"]}
