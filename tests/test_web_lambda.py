"""Requests to a Function URL, as Lambda hands them over, get the answers that a server gives."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

import pricer
from cloud.submitted import call
from cloud.tables import new_bucket, new_table
from pricer import invocation, logs
from pricer.billing import run_cost
from pricer.compiled import MODULES, kernels
from pricer.executors.stepfunctions import Deployment
from pricer.stores.dynamodb import DynamoStore
from pricer.web import lambda_handler
from pricer.web.lambda_handler import handler

if TYPE_CHECKING:
    from collections.abc import Iterator

GRID = """
name = "small"
[contract]
type = "vanilla"
right = "put"
[axes]
spot = { start = 50.0, stop = 149.0, count = 100 }
strike = { start = 50.0, stop = 149.0, step = 3.0 }
expiry = 1.0
vol = 0.2
rate = 0.01
"""
OPTION = {"right": "put", "spot": 100, "strike": 100, "expiry": 1, "vol": 0.25, "rate": 0.05}


class Context:
    """What Lambda says of an invocation."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 55_000


@pytest.fixture
def run(
    aws: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[pricer.Run]:
    """Store a run, and start the function as a new environment does."""
    kernels(*MODULES)
    # A logger of its own, which writes to what this test captures.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setattr(invocation.Invocation, "cold", True)
    invocation.log.cache_clear()
    lambda_handler._application.cache_clear()
    lambda_handler._translated.cache_clear()
    with new_table() as table, new_bucket() as bucket:
        monkeypatch.setenv("TABLE_NAME", table)
        monkeypatch.setenv("BUCKET_NAME", bucket)
        yield pricer.submit(pricer.Grid.parse(GRID), DynamoStore(table, bucket=bucket))
    invocation.log.cache_clear()
    lambda_handler._application.cache_clear()
    lambda_handler._translated.cache_clear()


def event(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> dict[str, Any]:
    """Return what a Function URL makes of a request (payload format 2.0)."""
    parts = urlsplit(url)
    host = "abc.lambda-url.eu-west-1.on.aws"
    found: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": {"host": host} | headers,
        "requestContext": {
            "domainName": host,
            "http": {
                "method": method,
                "path": parts.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "a test",
            },
            "requestId": "request-1",
            "stage": "$default",
        },
        "isBase64Encoded": body is not None,
    }
    if body is not None:
        found["body"] = base64.b64encode(body).decode()
    return found


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return answered(event("GET", url, headers or {}))


def answered(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    answer = json.loads(json.dumps(handler(request, Context())))
    packed = answer["isBase64Encoded"]
    body = base64.b64decode(answer["body"]) if packed else answer["body"].encode()
    return answer["statusCode"], answer["headers"], body


def test_runs_and_cells_come_from_the_table_and_the_bucket(run: pricer.Run) -> None:
    status, headers, body = get("/api/runs/latest")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == run.status().to_json()
    _, _, listed = get("/api/runs")
    assert json.loads(listed)["store"] == run.store.url
    status, headers, body = get(f"/api/runs/{run.id}/cells?spot=100&strike=90:110")
    assert (
        json.loads(body)["columns"]["price"]
        == run.query({"spot": 100.0, "strike": "90:110"})["price"].tolist()
    )
    again, _, nothing = get("/api/runs/latest/cells?spot=100", {"if-none-match": '"other"'})
    assert (again, nothing[:1]) == (200, b"{")
    tag = headers["etag"]
    again, _, nothing = get(
        f"/api/runs/{run.id}/cells?spot=100&strike=90:110", {"if-none-match": tag}
    )
    assert (again, nothing) == (304, b"")


def test_arrow_is_sent_as_bytes_and_large_answers_are_packed(run: pricer.Run) -> None:
    _, headers, body = get("/api/runs/latest/cells?format=arrow&limit=500")
    assert headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pa.ipc.open_stream(io.BytesIO(body)).read_all().num_rows == 500
    _, headers, packed = get("/api/runs/latest/cells?limit=1000", {"accept-encoding": "gzip, br"})
    assert headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed))["rows"] == 1000


def test_a_tag_is_weak_and_names_the_packed_answer_and_the_plain_one(run: pricer.Run) -> None:
    packed, plain = {"accept-encoding": "gzip"}, {"accept-encoding": "identity"}
    for where in (f"/api/runs/{run.id}/cells?limit=1000", "/assets/plotly.min.js"):
        # RFC 9110, 8.8.3: a strong one may name one sequence of bytes only.
        for got, asked in ((packed, plain), (plain, packed)):
            _, headers, _ = get(where, got)
            assert ("content-encoding" in headers) == (got is packed)
            assert headers["etag"].startswith('W/"')
            tagged = asked | {"if-none-match": headers["etag"]}
            status, again, nothing = get(where, tagged)
            assert (status, nothing) == (304, b"")
            assert again["etag"] == headers["etag"]


def test_what_lambda_cannot_return_is_refused_with_a_line(
    run: pricer.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    del run
    monkeypatch.setattr(lambda_handler, "MOST_ANSWER_BYTES", 50_000)
    for form in ("json", "arrow"):
        status, headers, body = get(f"/api/runs/latest/cells?format={form}&limit=2000")
        assert (status, headers["content-type"]) == (413, "application/json")
        line = "answer: must be at most 50,000 bytes here; ask for fewer rows, by limit"
        assert json.loads(body) == {"error": line}
    status, _, _ = get("/api/runs/latest/cells?limit=10")
    assert status == 200


def test_an_answer_is_as_large_as_lambda_writes_it() -> None:
    answer = {"statusCode": 200, "headers": {}, "body": 'é\n"' * 1_000, "isBase64Encoded": False}
    assert lambda_handler._size(answer) == len(json.dumps(answer)) > 10_000


def test_one_option_is_priced(run: pricer.Run) -> None:
    del run
    body = json.dumps(OPTION).encode()
    request = event("POST", "/api/price", {"content-type": "application/json"}, body)
    status, _, answer = answered(request)
    assert status == 200
    market = pricer.Market(spot=100.0, vol=0.25, rate=0.05)
    priced = pricer.price(pricer.Vanilla("put", 100.0, 1.0), market)
    assert priced.price is not None
    assert json.loads(answer)["price"] == float(priced.price)
    lambda_handler._application().state.apart.close()


def test_failures_are_lines_and_the_page_is_served_too(run: pricer.Run) -> None:
    del run
    status, _, body = get("/api/runs/zz")
    assert (status, list(json.loads(body))) == (404, ["error"])
    status, headers, body = get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    status, headers, body = get("/assets/plotly.min.js", {"accept-encoding": "gzip"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(base64.b64encode(body)) < lambda_handler.MOST_ANSWER_BYTES


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_request_is_a_line_of_the_log_without_what_it_asks_for(
    run: pricer.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(f"/api/runs/{run.id}/cells?spot=100&secret=hunter2")[0] == 422
    assert get("/api/runs/latest", {"authorization": "hunter2"})[0] == 200
    assert get("/api/runs/hunter2%0Ahunter2")[0] == 404
    assert get("/hunter2")[0] == 404
    assert answered(event("POST", "/api/price", {}, b"hunter2"))[0] == 415
    text = capsys.readouterr().out
    assert "hunter2" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["method"], line["route"], line["status"], line.get("run")) for line in lines] == [
        ("GET", "/api/runs/{run}/cells", 422, run.id),
        ("GET", "/api/runs/{run}", 200, "latest"),
        ("GET", "/api/runs/{run}", 404, None),
        ("GET", "*", 404, None),
        ("POST", "/api/price", 415, None),
    ]
    assert [line["cold_start"] for line in lines] == [True, False, False, False, False]
    assert {line["request"] for line in lines} == {"request-1"}
    assert all(line["ms"] > 0 for line in lines)


def test_what_fails_is_logged_once_with_its_traceback(
    run: pricer.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(lambda_handler._application().state.runs, "status", fail)
    assert get(f"/api/runs/{run.id}")[0] == 500
    failed, line = logged(capsys)
    assert (failed["level"], failed["exception_name"]) == ("ERROR", "ZeroDivisionError")
    assert failed["exception"].endswith("ZeroDivisionError: a bug")
    assert (line["message"], line["status"], line["run"]) == ("answered", 500, run.id)


def test_the_store_has_the_time_that_the_invocation_has_left_but_a_margin(run: pricer.Run) -> None:
    del run
    get("/api/health")
    assert invocation.left_s() == 55 - invocation.MARGIN_S


def test_the_functions_that_price_import_nothing_of_it() -> None:
    program = "import sys, pricer.handler; print({'fastapi', 'mangum', 'plotly'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.usefixtures("aws")
def test_the_deployed_function_answers(cloud: dict[str, str]) -> None:
    store = DynamoStore(cloud["TableName"], bucket=cloud["BucketName"])
    run = pricer.submit(pricer.Grid.parse(GRID), store)
    asked = event("GET", f"/api/runs/{run.id}/cells?spot=100&strike=101", {})
    payload = call(cloud["WebFunctionName"], asked)
    assert payload.get("statusCode") == 200, payload
    found = json.loads(payload["body"])["columns"]
    assert found["price"] == run.query({"spot": 100.0, "strike": 101.0})["price"].tolist()
    assert cloud["WebUrl"].startswith("http")
    (said,) = logs.lines(Deployment.find(), logs.since_ms("1m"), run.id)
    assert (said.function, said.message, said.values["status"]) == ("web", "answered", 200)
    assert said.values["route"] == "/api/runs/{run}/cells"
    # Whoever reads a run is no part of what it has cost.
    bill = run_cost(Deployment.find(), store, run.id)
    assert bill.usage.invocations == 0
