"""The handlers translate: events, the time that is left, one JSON line each in the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pricer import handler, worker
from pricer.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pricer.stores.dynamodb import DynamoStore

RUN = "ab" * 32


class Context:
    """What Lambda says of an invocation."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 65_000


@pytest.fixture(autouse=True)
def _container(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start each test as a new container does."""
    monkeypatch.setenv("TABLE_NAME", "runs-table")
    monkeypatch.setenv("BUCKET_NAME", "runs-bucket")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(handler._Container, "context", None)
    monkeypatch.setattr(handler._Container, "cold", True)
    handler._store.cache_clear()
    yield
    handler._store.cache_clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note how the worker is called instead of calling it."""
    made: list[tuple[Any, ...]] = []

    def note(name: str) -> None:
        def called(store: DynamoStore, *args: Any, **named: Any) -> dict[str, Any]:
            made.append((name, store, args, named))
            return {"answer": name}

        monkeypatch.setattr(worker, name, called)

    for name in ("plan_run", "price_chunk", "finish_run"):
        note(name)
    return made


def test_each_event_is_a_call_of_the_worker(calls: list[tuple[Any, ...]]) -> None:
    context = Context()
    assert handler.plan({"run": RUN}, context) == {"answer": "plan_run"}
    assert handler.price({"run": RUN, "first": 3, "end": 6}, context) == {"answer": "price_chunk"}
    assert handler.finish({"run": RUN}, context) == {"answer": "finish_run"}
    assert [(name, args) for name, _, args, _ in calls] == [
        ("plan_run", (RUN,)),
        ("price_chunk", (RUN, 3, 6)),
        ("finish_run", (RUN,)),
    ]
    stores = {id(store) for _, store, _, _ in calls}
    assert len(stores) == 1
    assert calls[0][1].url == "dynamodb://runs-table?region=us-east-1&bucket=runs-bucket"


def test_the_first_invocation_of_a_container_says_what_starting_took(
    calls: list[tuple[Any, ...]],
) -> None:
    event = {"run": RUN, "first": 3, "end": 6}
    handler.price(event, Context())
    handler.price(event | {"queued": 1795420800.5, "retries": 2}, Context())
    first, second = (named["usage"] for *_, named in calls)
    assert first.pop("init_s") > 0
    mine = {"request": "request-1", "worker": handler._Container.id}
    assert first == mine | {"cold": True, "attempt": 1}
    assert second == mine | {"cold": False, "attempt": 3, "queued_at": 1795420800.5}


def test_the_store_has_the_time_that_the_invocation_has_left_but_a_margin(
    calls: list[tuple[Any, ...]],
) -> None:
    handler.plan({"run": RUN}, Context())
    assert calls[0][1].table.deadline() == 65 - handler.MARGIN_S


def test_an_invocation_begins_with_one_json_line(
    calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    handler.price({"run": RUN, "first": 3, "end": 6}, Context())
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"run": RUN, "first": 3, "end": 6, "request": "request-1"}
    assert len(calls) == 1


def test_an_error_is_a_json_line_too_and_reaches_lambda(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KernelError("kernel cache miss: march")

    monkeypatch.setattr(worker, "finish_run", fail)
    with pytest.raises(KernelError):
        handler.finish({"run": RUN}, Context())
    _, line = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "run": RUN,
        "request": "request-1",
        "error": "KernelError",
        "message": "kernel cache miss: march",
    }
