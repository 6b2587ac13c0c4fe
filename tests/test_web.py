"""Answers over HTTP say what the command line says, in pages, with tags, and within limits."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

import pricer
from pricer.cli import cli
from pricer.compiled import MODULES, kernels
from pricer.errors import RunNotFoundError
from pricer.run import UNPRICED, as_store, list_runs, open_run
from pricer.settings import MEASURES
from pricer.stores import open_store
from pricer.web import opened
from pricer.web.app import app
from pricer.web.cells import form_of
from pricer.web.local import OnlyLocal
from pricer.web.opened import CachedBlocks, Runs
from pricer.web.schemas import Timeline
from served import served

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx

    from pricer.stores import Store

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
    listed = json.loads(said("runs", "--store", url, "--json"))
    assert client.get("/api/runs").json() == listed | {"total": 2, "next": None}
    for name in ("latest", open_run("latest", url).id[:9]):
        document = json.loads(said("status", name, "--store", url, "--json"))
        assert client.get(f"/api/runs/{name}").json() == document


def test_pages_of_the_list_have_every_run_once(client: httpx.Client, url: str) -> None:
    every = json.loads(said("runs", "--store", url, "--json"))["runs"]
    first = client.get("/api/runs?limit=1").json()
    assert (first["runs"], first["total"]) == (every[:1], 2)
    second = client.get(first["next"]).json()
    assert (second["runs"], second["total"], second["next"]) == (every[1:], 2, None)
    assert client.get("/api/runs?offset=2").json()["runs"] == []


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("limit=0", 422, "limit: must be a whole number of at least 1, got '0'"),
        ("offset=x", 422, "offset: must be a whole number of at least 0, got 'x'"),
        ("limit=1&limit=2", 422, "limit is given twice"),
        ("lim=1", 422, "lim: is not a parameter here; there are limit and offset"),
        ("limit=1001", 413, "limit: must be at most 1,000, got 1,001; ask for a page after the"),
    ],
)
def test_a_list_that_cannot_be_had_is_a_line(
    client: httpx.Client, query: str, status: int, line: str
) -> None:
    answer = client.get(f"/api/runs?{query}")
    assert answer.status_code == status
    assert answer.json()["error"].startswith(line)


def counting_markers(url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, list[str]]:
    """Open a store; return the runs too whose markers are read from then on, as they are."""
    store = open_store(url)
    read: list[str] = []

    def markers(run_id: str) -> dict[int, dict[str, Any]]:
        read.append(run_id)
        return type(store).markers(store, run_id)

    monkeypatch.setattr(store, "markers", markers)
    return store, read


def test_only_the_runs_that_are_listed_are_looked_at(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = counting_markers(url, monkeypatch)
    (last,), total = Runs(store).statuses(1)
    assert (read, total) == ([last["run"]], 2)


def test_a_run_that_is_deleted_while_runs_are_listed_is_left_out(
    url: str, grid: pricer.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url)

    def markers(run_id: str) -> dict[int, dict[str, Any]]:
        if run_id == grid.id:
            raise RunNotFoundError("deleted since")
        return type(store).markers(store, run_id)

    monkeypatch.setattr(store, "markers", markers)
    with served(app(store)) as client:
        answer = client.get("/api/runs")
    assert answer.status_code == 200
    assert len(answer.json()["runs"]) == answer.json()["total"] == 1


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


# --- when it was priced ---


def test_timeline_is_that_of_the_command_line(
    client: httpx.Client, url: str, book: pricer.Run
) -> None:
    for name in ("latest", book.id[:9]):
        document = json.loads(said("timeline", name, "--store", url, "--json"))
        answer = client.get(f"/api/runs/{name}/timeline")
        assert answer.json() | {"output": None} == document
        Timeline.model_validate(answer.json())
        assert answer.headers["cache-control"] == "private, no-cache"
        tagged = {"If-None-Match": answer.headers["etag"]}
        again = client.get(f"/api/runs/{name}/timeline", headers=tagged)
        assert (again.status_code, again.content) == (304, b"")


def test_before_a_chunk_is_done_there_is_no_timeline_yet(begun: str) -> None:
    with served(app(as_store(begun))) as client:
        answer = client.get("/api/runs/latest/timeline")
    assert (answer.status_code, answer.headers["cache-control"]) == (409, "no-store")
    assert answer.json() == {"error": said("timeline", "latest", "--store", begun)}
    assert answer.json()["error"].endswith("has no timeline, no chunk is done")


def test_what_an_earlier_version_priced_never_has_a_timeline(url: str, tmp_path: Path) -> None:
    file = tmp_path / "earlier.db"
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as whole:
        whole.execute("VACUUM INTO ?", (str(file),))
    with closing(sqlite3.connect(file)) as store, store:
        store.execute("UPDATE markers SET summary = json_remove(summary, '$.usage')")
    with served(app(as_store(f"sqlite:///{file}"))) as client:
        answer = client.get("/api/runs/latest/timeline")
    assert answer.status_code == 404
    assert answer.json() == {"error": said("timeline", "latest", "--store", f"sqlite:///{file}")}
    assert "an earlier version priced it, which kept no times" in answer.json()["error"]


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


def test_the_status_of_complete_runs_is_read_once_and_kept_as_long_as_they_are_there(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = counting_markers(url, monkeypatch)
    runs = Runs(store)
    assert runs.statuses(10) == runs.statuses(10)
    assert sorted(read) == sorted(head.run_id for head in store.runs())
    monkeypatch.setattr(store, "runs", list)
    assert (runs.statuses(10), runs._finished) == (([], 0), {})


def test_blocks_in_memory_are_bounded_and_those_read_last_stay(url: str, grid: pricer.Run) -> None:
    store = open_store(url)
    size = {n: len(data) for n, data in store.blocks(grid.id, range(grid.head.blocks))}
    cached = CachedBlocks(store, most_bytes=sum(size.values()) - 1)
    found = dict(cached.blocks(grid.id, [*size, 10**6]))
    assert {n: len(data) for n, data in found.items()} == size
    assert sum(map(len, cached._kept.values())) < sum(size.values())
    assert (grid.id, max(size)) in cached._kept
    assert dict(cached.blocks(grid.id, size)) == found


def test_books_in_memory_are_bounded_and_the_one_asked_for_last_stays(
    url: str, monkeypatch: pytest.MonkeyPatch, grid: pricer.Run, book: pricer.Run
) -> None:
    runs = Runs(open_store(url))
    assert runs.open(book.id).run.plan.cells == 3
    runs.open(grid.id)
    assert list(runs._opened) == [book.id, grid.id]
    monkeypatch.setattr(opened, "MOST_OTHER_ROWS", 2)
    runs = Runs(open_store(url))
    first = runs.open(book.id)
    assert first.run.plan.cells == 3
    assert runs.open(book.id) is first
    runs.open(grid.id)
    assert list(runs._opened) == [grid.id]


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
        ("limit=1&limit=2", 422, "limit is given twice"),
        ("limit=0", 422, "limit: must be a whole number of at least 1, got '0'"),
        ("limit=", 422, "limit: must be a whole number of at least 1, got ''"),
        ("offset=-1", 422, "offset: must be a whole number of at least 0, got '-1'"),
        (f"offset={2**63}", 422, "offset: must be a whole number of at least 0, got"),
        ("nearest=perhaps", 422, "nearest: must be true or false, got 'perhaps'"),
        ("format=xml", 422, "format: must be one of json, csv, arrow; got 'xml'"),
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
    assert "pip install pyarrow" in answer.json()["error"]


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
    # Deleted and made anew, a run has the same id and maybe another name: each time it is asked.
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["etag"].startswith('W/"')
    strong = first.headers["etag"].removeprefix("W/")
    assert client.get(where, headers={"If-None-Match": strong}).status_code == 304
    again = client.get(where, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    lines = [("If-None-Match", '"other"'), ("If-None-Match", first.headers["etag"])]
    assert client.get(where, headers=lines).status_code == 304
    assert again.headers["vary"] == first.headers["vary"] == "Accept"
    urls = [where, f"{where}&limit=3", f"{where}&format=csv", f"/api/runs/{grid.id}/axes"]
    assert len({client.get(each).headers["etag"] for each in urls}) == len(urls)


def test_every_name_of_a_run_has_the_same_tag(client: httpx.Client, grid: pricer.Run) -> None:
    for part in ("", "/axes", "/cells"):
        latest, named = (client.get(f"/api/runs/{name}{part}") for name in ("latest", grid.id))
        assert latest.headers["cache-control"] == "private, no-cache"
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


def test_of_an_incomplete_run_what_is_there_can_be_asked_for(begun: str, grid: pricer.Run) -> None:
    whole = grid.query()
    part = open_run("latest", begun).query(partial=True)
    lost = part["status"] == UNPRICED
    assert 0 < lost.sum() < len(lost)
    for name in ("price", "vega", "error"):
        assert np.isnan(part[name][lost]).all()
        np.testing.assert_array_equal(part[name][~lost], whole[name][~lost])
    where = "/api/runs/latest/cells?partial=true&measures=price&limit=2000"
    with served(app(as_store(begun))) as client:
        pages = list(every_page(client, where))
        csv = client.get(f"{where}&format=csv").text.splitlines()
        stream = client.get(f"{where}&format=arrow").content
        there = client.get("/api/runs/latest/cells?partial=true&limit=1").json()
        refused = client.get("/api/runs/latest/cells?partial=yes")
    assert sum(page["missing"] for page in pages) == lost.sum()
    for name in ("price", "error", "status"):
        found = [value for page in pages for value in page["columns"][name]]
        assert [value is None for value in found] == lost.tolist()
    first = int(lost.argmax())
    assert csv[1 + first].endswith(",,,")
    table = pa.ipc.open_stream(io.BytesIO(stream)).read_all()
    assert table["status"].null_count == lost[:2000].sum()
    assert there["missing"] == 0
    assert refused.json() == {"error": "partial: must be true or false, got 'yes'"}


def test_a_store_that_is_deleted_and_made_anew_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    pricer.submit(pricer.Book.parse(BOOK), f"sqlite:///{file}")
    other = BOOK.replace("0.25", "0.3")
    with served(app(as_store(f"sqlite:///{file}"))) as client:
        before = client.get("/api/runs").json()
        for path in tmp_path.glob("runs.db*"):
            path.unlink()
        assert client.get("/api/runs").json()["total"] == 0
        run = pricer.submit(pricer.Book.parse(other), f"sqlite:///{file}")
        after = client.get("/api/runs").json()
        found = client.get("/api/runs/latest/cells").json()
    assert [one["run"] for one in after["runs"]] == [run.id] != [before["runs"][0]["run"]]
    assert found["columns"]["vol"] == [0.3, None, 0.2]


def test_run_that_is_made_anew_under_other_names_has_other_tags(begun: str) -> None:
    renamed = GRID.replace('"small"', '"other"').replace('"none"', '"nothing"')
    run = pricer.submit(pricer.Grid.parse(GRID), begun)
    where = [f"/api/runs/{run.id}{part}" for part in ("/axes", "/cells?limit=1000", "")]
    with served(app(as_store(begun))) as client:
        first = [client.get(each) for each in where]
        run.delete()
        assert pricer.submit(pricer.Grid.parse(renamed), begun).id == run.id
        for url, before in zip(where, first, strict=True):
            after = client.get(url, headers={"If-None-Match": before.headers["etag"]})
            assert (after.status_code, after.content != before.content) == (200, True)


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
    assert answer.headers["x-content-type-options"] == "nosniff"


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
