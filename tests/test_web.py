"""Answers over HTTP say what the command line says, in pages, with tags, and within limits."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import pricer
from pricer.cli import cli
from pricer.compiled import MODULES, kernels
from pricer.run import as_store, list_runs, open_run
from pricer.settings import MEASURES
from pricer.stores import open_store
from pricer.web import apart as web_apart
from pricer.web.apart import Apart
from pricer.web.app import app
from pricer.web.cells import form_of
from pricer.web.errors import BusyError, TooLargeError
from pricer.web.local import OnlyLocal
from pricer.web.opened import CachedBlocks
from pricer.web.request import MOST_BYTES, parse
from served import served

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx

GRID = """
name = "small"
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 90.0, stop = 110.0, count = 101 }
strike = [95.0, 100.0]
expiry = [0.5, 1.0]
vol = 0.2
rate = [0.01, 0.05]
cash_dividends = [{ label = "none", times = [], amounts = [] }, { times = [0.3], amounts = [1.0] }]
[method]
tolerance = 1e-4
"""
BOOK = """\
id,desk,right,exercise,spot,strike,expiry,vol,rate
a1,rates,P,american,100,100,1,0.25,0.05
a2,rates,call,european,100,100,0.5,,0.05
a3,index,c,European,100,110,0.5,0.2,0.05
"""
OPTION = {
    "right": "put",
    "exercise": "american",
    "spot": 100.0,
    "strike": 100.0,
    "expiry": 1.0,
    "vol": 0.25,
    "rate": 0.05,
}
# Minutes, were it not given up.
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
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with a run of a book and, submitted last, one of a grid."""
    kernels(*MODULES)
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'runs.db'}"
    pricer.submit(pricer.Book.parse(BOOK), url)
    pricer.submit(pricer.Grid.parse(GRID), url)
    return url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with served(OnlyLocal(app(as_store(url)))) as found:
        yield found


@pytest.fixture(scope="module")
def grid(url: str) -> pricer.Run:
    return open_run("latest", url)


@pytest.fixture(scope="module")
def book(url: str) -> pricer.Run:
    return list_runs(url)[1]


@pytest.fixture
def begun(url: str, tmp_path: Path) -> str:
    """Return a store whose run has lost its second half: it was interrupted, say."""
    file = tmp_path / "begun.db"
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as whole:
        whole.execute("VACUUM INTO ?", (str(file),))
    with closing(sqlite3.connect(file)) as part, part:
        (last,) = part.execute("SELECT max(block) FROM blocks WHERE run = 2").fetchone()
        part.execute("DELETE FROM markers WHERE run = 2")
        part.execute("DELETE FROM blocks WHERE run = 2 AND block >= ?", (last // 2 + 1,))
    return f"sqlite:///{file}"


def said(*arguments: object) -> str:
    """Return what the command line answers, or the line that it refuses with."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return result.stdout or result.stderr.removeprefix("Error: ").strip()


def every_page(client: httpx.Client, first: str) -> Iterator[dict[str, Any]]:
    following: str | None = first
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        following = answer.json()["next"]


# --- what there is ---


def test_server_says_its_version_and_store(client: httpx.Client, url: str) -> None:
    assert client.get("/api/health").json() == {"version": pricer.__version__, "store": url}


def test_runs_and_status_are_those_of_the_command_line(client: httpx.Client, url: str) -> None:
    assert client.get("/api/runs").json() == json.loads(said("runs", "--store", url, "--json"))
    for name in ("latest", open_run("latest", url).id[:9]):
        document = json.loads(said("status", name, "--store", url, "--json"))
        assert client.get(f"/api/runs/{name}").json() == document


def test_axes_of_a_grid_are_named_with_their_kinds_and_values(
    client: httpx.Client, grid: pricer.Run
) -> None:
    found = client.get("/api/runs/latest/axes").json()
    assert {axis["name"]: axis["kind"] for axis in found["axes"]} == {
        "right": "word",
        "spot": "number",
        "strike": "number",
        "expiry": "number",
        "vol": "number",
        "rate": "number",
        "cash_dividends": "table",
        "dividend_model": "word",
    }
    table = grid.query()
    for axis in found["axes"]:
        assert axis["values"] == list(dict.fromkeys(table[axis["name"]].tolist()))
    assert found["fixed"] == {"exercise": "american", "dividend_yield": 0.0}
    assert (found["kind"], found["type"]) == ("grid", "vanilla")
    assert (found["run"], found["cells"]) == (grid.id, len(table["price"]))
    assert (found["measures"], found["tolerance"]) == (list(MEASURES), 1e-4)


def test_columns_of_a_book_have_their_ends_or_texts(client: httpx.Client, book: pricer.Run) -> None:
    found = client.get(f"/api/runs/{book.id}/axes").json()
    columns = {column.pop("name"): column for column in found["columns"]}
    assert found["kind"] == "book"
    assert columns["row"] == {"kind": "number", "min": 1.0, "max": 3.0}
    assert columns["desk"] == {"kind": "text", "distinct": 2, "values": ["index", "rates"]}
    assert columns["right"] == {"kind": "word", "distinct": 2, "values": ["call", "put"]}
    # One of them is missing.
    assert columns["vol"] == {"kind": "number", "min": 0.2, "max": 0.25}


# --- cells ---


def test_cells_are_columns_of_what_is_asked(client: httpx.Client, grid: pricer.Run) -> None:
    asked = {"spot": "95:105", "right": "put", "measures": "price"}
    found = client.get("/api/runs/latest/cells", params=asked).json()
    expected = grid.query({"spot": "95:105", "right": "put"}, measures=("price",))
    assert list(found["columns"]) == list(expected)
    assert found["columns"]["price"] == expected["price"].tolist()
    assert found["columns"]["cash_dividends"] == expected["cash_dividends"].tolist()
    assert set(found["columns"]["status"]) == {"ok"}
    assert (found["rows"], found["total"], found["next"]) == (816, 816, None)


@pytest.mark.parametrize("limit", [100, 1000, 1616])
def test_pages_cover_every_row_once(client: httpx.Client, grid: pricer.Run, limit: int) -> None:
    where = "/api/runs/latest/cells?rate=0.01,0.05&right=put&measures=price&nearest=true"
    pages = list(every_page(client, f"{where}&limit={limit}"))
    expected = grid.query({"right": "put"}, measures=("price",))
    assert {page["total"] for page in pages} == {1616}
    assert [page["rows"] for page in pages[:-1]] == [limit] * (len(pages) - 1)
    for name in ("spot", "rate", "price"):
        found = [value for page in pages for value in page["columns"][name]]
        assert found == expected[name].tolist()


def test_pages_of_a_book_cover_its_rows_in_file_order(
    client: httpx.Client, book: pricer.Run
) -> None:
    pages = list(every_page(client, f"/api/runs/{book.id}/cells?right=call,put&limit=2"))
    assert [page["columns"]["id"] for page in pages] == [["a1", "a2"], ["a3"]]
    assert [page["columns"]["price"][-1] is None for page in pages] == [True, False]
    assert client.get(pages[0]["next"]).json() == pages[1]


def test_beyond_the_last_row_there_is_nothing(client: httpx.Client, book: pricer.Run) -> None:
    for run, total in (("latest", 3232), (book.id, 3)):
        found = client.get(f"/api/runs/{run}/cells?offset={2**62}").json()
        assert (found["rows"], found["total"], found["next"]) == (0, total, None)
        assert set(map(len, found["columns"].values())) == {0}


def test_csv_is_that_of_the_command_line(client: httpx.Client, url: str, book: pricer.Run) -> None:
    for run, selection in ((book.id, "desk=rates"), ("latest", "spot=105:")):
        answer = client.get(f"/api/runs/{run}/cells?{selection}", headers={"Accept": "text/csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.text == said("query", run, selection, "--format", "csv", "--store", url)


def test_arrow_is_that_of_the_library(
    client: httpx.Client, grid: pricer.Run, book: pricer.Run
) -> None:
    for run in (grid, book):
        answer = client.get(f"/api/runs/{run.id}/cells?format=arrow&limit=1000000")
        assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
        table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
        whole = run.to_arrow()
        assert table.schema == whole.schema
        # As text: what is missing is not equal to itself.
        assert str(table.to_pydict()) == str(whole.to_pydict())


def test_text_and_arrow_link_to_the_next_page(client: httpx.Client) -> None:
    for form in ("csv", "arrow"):
        first = client.get(f"/api/runs/latest/cells?format={form}&limit=3000")
        link = re.fullmatch('<(.*)>; rel="next"', first.headers["link"])
        assert link
        second = client.get(link[1])
        assert second.headers["content-type"] == first.headers["content-type"]
        assert "link" not in second.headers


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html", "json"),
        ("text/csv", "csv"),
        ("text/csv;q=0.1, application/vnd.apache.arrow.stream", "arrow"),
        ("text/csv; q=0.9, application/json;q=1.0", "json"),
        ("text/csv;q=x", "json"),
        ("text/csv;q=0", "json"),
    ],
)
def test_accept_names_the_form(accept: str, form: str) -> None:
    assert form_of(accept) == form


def test_only_blocks_that_are_needed_are_read_and_those_once(
    url: str, monkeypatch: pytest.MonkeyPatch, grid: pricer.Run
) -> None:
    store, read = open_store(url), []

    def blocks(run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        asked = list(numbers)
        read.extend(asked)
        return type(store).blocks(store, run_id, asked)

    monkeypatch.setattr(store, "blocks", blocks)
    where = f"/api/runs/{grid.id}/cells?right=call&rate=0.05&cash_dividends=none&measures=price"
    with served(app(store)) as client:
        first = client.get(f"{where}&spot=90&strike=95&expiry=1").json()
        assert len(read) == 1
        client.get(f"{where}&spot=110&strike=95&expiry=1")
    assert len(read) == 1
    assert first["rows"] == 1


def test_blocks_in_memory_are_bounded_and_those_read_last_stay(url: str, grid: pricer.Run) -> None:
    store = open_store(url)
    size = {n: len(data) for n, data in store.blocks(grid.id, range(grid.head.blocks))}
    cached = CachedBlocks(store, most_bytes=sum(size.values()) - 1)
    found = dict(cached.blocks(grid.id, [*size, 10**6]))
    assert {n: len(data) for n, data in found.items()} == size
    assert sum(map(len, cached._kept.values())) < sum(size.values())
    assert (grid.id, max(size)) in cached._kept
    assert dict(cached.blocks(grid.id, size)) == found


# --- what cannot be meant ---


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("latest spt=100", 422),
        ("latest spot=100.1", 422),
        ("latest spot=x", 422),
        ("latest spot=110:90", 422),
        ("latest right=both", 422),
        ("latest cash_dividends=some", 422),
        ("latest spot=100 --measures price,standard_error", 422),
        ("latest spot=100 --measures prise", 422),
        ("zz spot=100", 404),
    ],
)
def test_messages_are_those_of_the_command_line(
    client: httpx.Client, url: str, asked: str, status: int
) -> None:
    name, selection, *measures = asked.split()
    query = "&".join([selection, *(f"measures={m}" for m in measures[1:])])
    answer = client.get(f"/api/runs/{name}/cells?{query}")
    line = said("query", *asked.split(), "--store", url)
    assert (answer.status_code, answer.json()) == (status, {"error": line})


def test_nearest_takes_what_is_there(client: httpx.Client) -> None:
    found = client.get("/api/runs/latest/cells?spot=101.07&nearest=true&limit=1").json()
    assert found["columns"]["spot"] == [101.0]


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("spot=90&spot=95", 422, "spot is given twice"),
        ("limit=0", 422, "limit: input should be greater than or equal to 1, got '0'"),
        ("offset=-1", 422, "offset: input should be greater than or equal to 0, got '-1'"),
        ("nearest=perhaps", 422, "nearest: input should be a valid boolean"),
        ("format=xml", 422, "format: input should be 'json', 'csv' or 'arrow', got 'xml'"),
        (
            "limit=100001",
            413,
            "limit: must be at most 100,000 in json, got 100,001; ask for a page",
        ),
        ("limit=1000001&format=arrow", 413, "limit: must be at most 1,000,000 in arrow"),
    ],
)
def test_query_that_cannot_be_meant_is_a_line(
    client: httpx.Client, query: str, status: int, line: str
) -> None:
    answer = client.get(f"/api/runs/latest/cells?{query}")
    assert answer.status_code == status
    assert answer.json()["error"].startswith(line)
    assert answer.headers["cache-control"] == "no-store"


def test_arrow_without_pyarrow_cannot_be_had(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    answer = client.get("/api/runs/latest/cells?format=arrow")
    assert answer.status_code == 406
    assert "pip install 'pricer[parquet]'" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/nothing", "/api/runs/", "/nothing.js", "/..%2fapp.py"])
def test_where_nothing_is_a_line_says_so(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    where = path.replace("%2f", "/")
    assert answer.status_code == 404
    assert answer.json() == {"error": f"GET {where}: there is nothing here"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/api/runs/latest", "GET"), ("GET", "/api/price", "POST"), ("POST", "/", "GET")],
)
def test_nothing_can_be_changed(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"].split(", ")[0] == allowed
    assert answer.json() == {"error": f"{method} {path}: is not possible"}


# --- what is kept ---


def test_complete_runs_are_tagged_by_run_query_and_form(
    client: httpx.Client, grid: pricer.Run
) -> None:
    where = f"/api/runs/{grid.id}/cells?spot=100"
    first = client.get(where)
    assert first.headers["cache-control"] == "private, max-age=3600, immutable"
    again = client.get(where, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    urls = [where, f"{where}&limit=3", f"{where}&format=csv", f"/api/runs/{grid.id}/axes"]
    assert len({client.get(each).headers["etag"] for each in urls}) == len(urls)


def test_a_name_that_may_mean_another_run_is_asked_again(
    client: httpx.Client, grid: pricer.Run
) -> None:
    for part in ("", "/axes", "/cells"):
        latest, named = (client.get(f"/api/runs/{name}{part}") for name in ("latest", grid.id))
        assert latest.headers["cache-control"] == "no-cache"
        assert latest.headers["etag"] == named.headers["etag"]
        tag = {"If-None-Match": latest.headers["etag"]}
        assert client.get(f"/api/runs/latest{part}", headers=tag).status_code == 304


def test_incomplete_runs_are_never_kept_and_say_what_is_not_priced(begun: str) -> None:
    with served(app(as_store(begun))) as client:
        found = client.get("/api/runs/latest")
        assert found.json()["state"] == "incomplete"
        there = client.get("/api/runs/latest/cells?limit=1")
        missing = client.get("/api/runs/latest/cells?limit=3232")
        for answer in (found, there, missing, client.get("/api/runs/latest/axes")):
            assert answer.headers["cache-control"] == "no-store"
            assert "etag" not in answer.headers
    assert there.json()["rows"] == 1
    assert (missing.status_code, missing.json()) == (
        409,
        {"error": said("query", "latest", "--store", begun, "--format", "csv")},
    )


def test_run_that_is_finished_or_deleted_meanwhile_is_seen(begun: str) -> None:
    with served(app(as_store(begun))) as client:
        assert client.get("/api/runs/latest").json()["state"] == "incomplete"
        run = pricer.submit(pricer.Grid.parse(GRID), begun)
        assert client.get(f"/api/runs/{run.id}").json()["state"] == "complete"
        assert client.get(f"/api/runs/{run.id}/cells").headers["etag"]
        run.delete()
        gone = client.get(f"/api/runs/{run.id}/cells")
    assert gone.status_code == 404
    assert gone.json() == {"error": said("status", run.id, "--store", begun)}


def test_store_that_cannot_be_read_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    file.write_text("not a store" * 1_000)
    with served(app(as_store(f"sqlite:///{file}"))) as client:
        answer = client.get("/api/runs")
    assert answer.status_code == 503
    assert answer.json() == {"error": f"{file}: is not a pricer store"}


# --- one option ---


def given(option: dict[str, Any]) -> list[str]:
    return [word for name, value in option.items() for word in (f"--{name}", str(value))]


def test_price_is_that_of_the_command_line(client: httpx.Client) -> None:
    answer = client.post("/api/price", json=OPTION)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == json.loads(said("price", *given(OPTION), "--json"))


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
        ({"label": "x" * MOST_BYTES}, "body: must be at most 65,536 bytes"),
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
    with pytest.raises(BusyError, match="price: the process that prices has ended, its log says"):
        apart.price(body(OPTION))
    assert apart._process is None


def test_inputs_are_read_as_files_have_them() -> None:
    kind, inputs, settings = parse(body(OPTION | {"right": "P", "spot": 100, "seed": 3}))
    assert (kind, settings) == ("vanilla", {"seed": 3})
    assert inputs == OPTION


# --- who may ask ---


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", ""])
def test_other_hosts_are_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/api/runs", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json() == {"error": f"host: must be 127.0.0.1 or localhost, got {host!r}"}


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1"])
def test_this_machine_is_answered_and_no_other_site_may_read(
    client: httpx.Client, host: str
) -> None:
    headers = {"Host": host, "Origin": "http://evil.example"}
    answer = client.get("/api/runs", headers=headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_page_and_library_are_served_from_here_alone(client: httpx.Client) -> None:
    page, library = client.get("/"), client.get("/assets/plotly.min.js")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert library.headers["content-type"].startswith("text/javascript")
    assert library.headers["cache-control"] == "private, max-age=86400"
    assert b"Plotly" in library.content
    for answer, where in ((page, "/"), (library, "/assets/plotly.min.js")):
        tag = {"If-None-Match": answer.headers["etag"]}
        assert client.get(where, headers=tag).status_code == 304
