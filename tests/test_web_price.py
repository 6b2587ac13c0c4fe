"""One option over HTTP: what the command line says of it, within limits, and never for long."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pricer.cli import cli
from pricer.compiled import MODULES, kernels
from pricer.stores import open_store
from pricer.web import apart as web_apart
from pricer.web.apart import Apart
from pricer.web.app import app
from pricer.web.errors import BusyError, TooLargeError
from pricer.web.request import MOST_BODY_BYTES, parse
from served import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

OPTION = {
    "right": "put",
    "exercise": "american",
    "spot": 100.0,
    "strike": 100.0,
    "expiry": 1.0,
    "vol": 0.25,
    "rate": 0.05,
}
# More than a minute, were it not given up.
ENDLESS = {
    "type": "asian",
    "right": "call",
    "spot": 100.0,
    "strike": 100.0,
    "expiry": 5.0,
    "vol": "0.5:0.3;1:0.2",
    "rate": 0.05,
    "fixing_dates": [round(0.001 * i, 3) for i in range(1, 5001)],
    "tolerance": 1e-8,
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    kernels(*MODULES)
    with served(app(open_store("memory:"))) as found:
        yield found


def said(*arguments: object) -> str:
    """Return what the command line answers, or the line that it refuses with."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return result.stdout or result.stderr.removeprefix("Error: ").strip()


def given(option: dict[str, Any]) -> list[str]:
    return [word for name, value in option.items() for word in (f"--{name}", str(value))]


def test_price_is_that_of_the_command_line(client: httpx.Client) -> None:
    answer = client.post("/api/price", json=OPTION)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == json.loads(said("price", *given(OPTION), "--json"))


def test_nothing_is_imported_from_the_folder_that_a_server_is_started_in(
    client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    (tmp_path / "numpy.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    apart = Apart()
    assert apart.price(json.dumps(OPTION).encode())["status"] == "ok"
    apart.close()


def test_price_takes_tables_as_files_have_them_and_settings(client: httpx.Client) -> None:
    asked = OPTION | {
        "vol": {"times": [0.5, 1.0], "values": [0.2, 0.3]},
        "cash_dividends": [[0.25, 1.5]],
        "measures": ["price"],
        "tolerance": 1e-4,
        "seed": None,
    }
    found = client.post("/api/price", json=asked).json()
    told = given(OPTION | {"vol": "0.5:0.2;1:0.3"})
    told += ["--cash-dividends", "0.25:1.5"]
    book = said("price", *told, "--json")
    assert found["price"] == pytest.approx(json.loads(book)["price"], abs=2e-2)
    assert (found["delta"], found["dividend_model"]) == (None, "spot")


def test_what_has_no_price_says_why(client: httpx.Client) -> None:
    barrier = {"type": "barrier", "barrier": 90.0, "barrier_type": "down_out"}
    dividends = {"cash_dividends": "0.5:2", "dividend_model": "escrowed"}
    asked = {**OPTION, "exercise": "european", **barrier, **dividends}
    found = client.post("/api/price", json=asked)
    assert found.status_code == 200
    assert (found.json()["status"], found.json()["price"]) == ("unsupported", None)
    assert found.json()["reason"]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"spot": -1.0}, "spot: must not be negative, got -1.0"),
        ({"spot": "100"}, "spot: must be a number, got '100'; write it without quotes"),
        ({"spot": [1.0, 2.0]}, "spot: must be a number, got [1.0, 2.0]"),
        ({"spt": 1.0}, "spt: is not an input; did you mean 'spot'?"),
        ({"barrier": 90.0}, "barrier is not for a vanilla: add type barrier or touch"),
        ({"type": "vanila"}, "type: must be vanilla or "),
        ({"strike": None}, "missing strike"),
        ({"model": "heston"}, "initial_variance: is missing; model = heston needs it"),
        ({"measures": "price"}, "measures: must be a list of names, got 'price'"),
        ({"measures": ["prise"]}, "measures: must be of price, delta"),
        ({"paths": 4.5}, "paths: must be a whole number, got 4.5"),
        ({"method": "analytic"}, "method: must be auto or finite_difference for american options"),
    ],
)
def test_option_that_cannot_be_meant_is_a_line(
    client: httpx.Client, asked: dict[str, Any], line: str
) -> None:
    answer = client.post("/api/price", json=OPTION | asked)
    assert (answer.status_code, list(answer.json())) == (422, ["error"])
    assert answer.json()["error"].startswith(line)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "body: must be JSON"),
        (b"[]", "body: must be a JSON object, got list"),
        (b'{"spot": NaN}', "body: must be JSON: it has no NaN"),
        (b"[" * 60_000, "body: is nested too deeply"),
        (b'{"spot": %s}' % (b"9" * 5_000), "body: must be JSON"),
        (b"\xff\xfe{", "body: must be JSON"),
        (b'{"right": "\\ud800"}', "right: must be call or put, got '\\ud800'"),
    ],
)
def test_body_that_is_no_option_is_a_line(client: httpx.Client, body: bytes, line: str) -> None:
    json_body = {"Content-Type": "application/json"}
    answer = client.post("/api/price", content=body, headers=json_body)
    assert (answer.status_code, list(answer.json())) == (422, ["error"])
    assert answer.json()["error"].startswith(line)


def test_one_answer_takes_so_much_and_no_more(client: httpx.Client) -> None:
    for asked, line in (
        ({"paths": 2**20 + 1}, "paths: must be at most 1,048,576 here, got 1,048,577"),
        ({"tolerance": 9e-9}, "tolerance: must be at least 1e-08 here, got 9e-09"),
        ({"label": "x" * MOST_BODY_BYTES}, "body: must be at most 65,536 bytes"),
    ):
        answer = client.post("/api/price", json=OPTION | asked)
        assert (answer.status_code, answer.json()) == (413, {"error": line})


def test_what_is_not_said_to_be_json_is_refused(client: httpx.Client) -> None:
    answer = client.post("/api/price", content=json.dumps(OPTION))
    assert answer.status_code == 415
    assert answer.json() == {"error": "content-type: must be application/json, got ''"}


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    found = Apart(timeout_s=1.5)
    yield found
    found.close()


def body(option: dict[str, Any]) -> bytes:
    return json.dumps(option).encode()


def ready(apart: Apart) -> dict[str, Any]:
    while True:
        with suppress(BusyError):
            return apart.price(body(OPTION))


def test_what_takes_too_long_is_given_up_and_the_next_is_priced(apart: Apart) -> None:
    first = ready(apart)
    started = time.monotonic()
    with pytest.raises(TooLargeError, match=r"price: takes more than 1.5 s; ask for fewer"):
        apart.price(body(ENDLESS))
    assert time.monotonic() - started < 3
    assert ready(apart) == first


def test_who_waits_too_long_or_in_too_long_a_row_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_apart, "MOST_WAITING", 1)
    busy = Apart(timeout_s=0.2)

    def wait() -> None:
        with suppress(BusyError):
            busy.price(body(OPTION))

    with busy._turn:
        waiting = Thread(target=wait)
        waiting.start()
        while busy._places._value:
            time.sleep(0.01)
        with pytest.raises(BusyError, match="price: 1 options are waiting already; try again"):
            busy.price(body(OPTION))
        waiting.join()
        with pytest.raises(BusyError, match="price: others are being priced; try again"):
            busy.price(body(OPTION))


def test_who_comes_while_kernels_are_loaded_or_compiled_is_told() -> None:
    with served(app(open_store("memory:"), price_timeout_s=0.01)) as client:
        answer = client.post("/api/price", json=OPTION)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    line = "price: kernels are being compiled, once; try again in some minutes"
    assert answer.json() == {"error": line}


def test_process_that_was_killed_is_told_and_not_asked_again(apart: Apart) -> None:
    ready(apart)
    assert apart._process
    apart._process.popen.kill()
    apart._process.popen.wait()  # It was idle: nobody reads any more when it is asked.
    with pytest.raises(BusyError, match="price: the process that prices has ended, its log says"):
        apart.price(body(OPTION))
    assert apart._process is None
    ready(apart)


def test_inputs_are_read_as_files_have_them() -> None:
    kind, inputs, settings = parse(body(OPTION | {"right": "P", "spot": 100, "seed": 3}))
    assert (kind, settings) == ("vanilla", {"seed": 3})
    assert inputs == OPTION
