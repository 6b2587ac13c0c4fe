"""The page that `pricer serve` opens, driven in a real browser."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from click.testing import CliRunner
from playwright.sync_api import expect, sync_playwright

from panels import columns_of, write_panel
from pricer import Market, Vanilla, price
from pricer.cli import cli
from pricer.compiled import kernel_version
from pricer.executors.local import LocalExecutor
from pricer.grid import Grid
from pricer.plan import Plan
from pricer.pricing import price_chunk
from pricer.run import open_run, submit_plan
from pricer.stores import open_store
from pricer.timeline import PLACES, STRAGGLER_RULE, timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Route

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on this machine")

SERVE = "from pricer.cli import main; main()"
WAIT_MS = 20_000
SLOW = 3
expect.set_options(timeout=WAIT_MS)
DESK, PHONE = (1280, 900), (360, 740)

PUTS = """
name = "{name}"
[contract]
type = "vanilla"
exercise = "american"
right = "put"
[axes]
spot = {{ start = 70.0, stop = 120.0, count = 26 }}
strike = [95.0, 100.0, 105.0]
expiry = {{ start = 0.25, stop = 1.5, step = 0.25 }}
vol = {vols}
rate = {rate}
[method]
tolerance = 1e-4
"""
FINE = """
name = "fine"
[contract]
type = "vanilla"
right = "call"
[axes]
spot = { start = 80.0, stop = 120.0, count = 801 }
strike = { start = 80.0, stop = 120.0, count = 401 }
expiry = 1.0
vol = 0.2
rate = 0.0
[method]
measures = ["price"]
"""
# A block for each vol.
CHUNKS = """
name = "chunks"
[contract]
type = "vanilla"
right = "put"
[axes]
spot = { start = 80.0, stop = 120.0, count = 40 }
strike = { start = 70.0, stop = 130.0, count = 50 }
vol = { start = 0.1, stop = 0.4, count = 7 }
expiry = 1.0
rate = 0.05
[method]
measures = ["price", "delta"]
"""
QUOTES = """\
id,right,spot,strike,expiry,vol,rate,bid,ask
a,put,100,90,0.5,0.30,0.02,3.9,4.2
b,put,100,100,0.5,0.25,0.02,6.3,6.8
c,call,100,110,0.5,0.22,0.02,2.9,3.2
d,call,100,100,1,0.24,0.02,10.0,10.9
e,call,100,110,1,0.21,0.02,5.2,5.6
"""
# Two underlyings, whose strikes are far apart, and a vol that no option can have.
DESKS = """\
right,underlying,spot,strike,expiry,vol,rate
call,A,10,9,1,0.3,0
call,A,10,11,1,0.25,0
call,A,10,12,1,-0.25,0
call,B,5000,4500,1,0.2,0
call,B,5000,5500,1,0.15,0
"""
MEANS = """
name = "means"
[contract]
type = "asian"
right = "call"
fixing_dates = [0.5, 1.0]
[axes]
spot = [90.0, 100.0, 110.0]
strike = [95.0, 105.0]
expiry = 1.0
vol = 0.2
rate = 0.05
[method]
tolerance = 1e-2
paths = 4096
measures = ["price", "delta", "standard_error", "delta_standard_error"]
"""
# No smile, and names that a browser could take for more than text.
FLAT = """\
right,spot,strike,expiry,vol,rate,<i>desk</i>
call,100,90,1,0.2,0,<a href="https://a.b">AT&T</a>
call,100,110,1,0.2,0,&lt;2
"""


def pricer(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def priced_in_chunks(store: str) -> str:
    """Price a grid in a chunk for each block, one of which takes longer; return the run's id."""
    plan = Plan.of(Grid.parse(CHUNKS), kernel_version())
    calls = count(1)

    def one_slow(*arguments: Any) -> Any:
        if next(calls) == SLOW:
            time.sleep(0.5)
        return price_chunk(*arguments)

    executor = LocalExecutor(2, one_slow)
    return submit_plan(plan, open_store(store), executor, chunk_blocks=1).id


@dataclass
class Site:
    """A server, the runs in its store, and pages of one browser."""

    url: str
    store: str
    runs: dict[str, str]
    browser: Browser
    pages: dict[tuple[int, int], Page] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def query(self, run: str, **selection: object) -> list[dict[str, Any]]:
        given = [f"{name}={value}" for name, value in selection.items()]
        store = ("--store", self.store)
        rows = json.loads(pricer("query", self.runs[run], *given, *store, "--json"))
        assert isinstance(rows, list)
        return rows

    def page(self, size: tuple[int, int] = DESK) -> Page:
        """Return the page of a screen: loading the plotting library anew takes a second."""
        page = self.pages.get(size)
        if page is None:
            viewport: Any = {"width": size[0], "height": size[1]}
            page = self.browser.new_page(viewport=viewport)
            page.set_default_timeout(WAIT_MS)
            page.on("console", self._on_console)
            page.on("pageerror", lambda error: self.complaints.append(str(error)))
            page.on("request", self._on_request)
            self.pages[size] = page
        return page

    def visit(self, run: str, state: str = "", page: Page | None = None) -> Page:
        """Open a run; `state` is the rest of the address, which says what is shown of it."""
        page = page or self.page()
        page.goto(f"{self.url}#run={self.runs[run][:12]}&{state}")
        page.wait_for_selector(
            f".runs a[data-run='{self.runs[run]}'][aria-current]", state="attached"
        )
        return page

    def _on_console(self, message: ConsoleMessage) -> None:
        self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme == "http" and not request.url.startswith(self.url):
            self.complaints.append(f"asked elsewhere: {request.url}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    store = f"sqlite:///{folder / 'runs.db'}"
    files = {
        "puts.toml": PUTS.format(name="puts", vols="[0.2, 0.25, 0.3]", rate=0.05),
        "dearer.toml": PUTS.format(name="dearer", vols="[0.25, 0.3]", rate=0.02),
        "fine.toml": FINE,
        "means.toml": MEANS,
        "desks.csv": DESKS,
        "quotes.csv": QUOTES,
        "flat.csv": FLAT,
    }
    panel = write_panel(folder, columns_of([40, 60]), "csv")
    document = json.loads(pricer("submit", panel, "--store", store, "--json"))
    runs = {"firms": document["run"], "chunks": priced_in_chunks(store)}
    for name, text in files.items():
        (folder / name).write_text(text)
        document = json.loads(pricer("submit", folder / name, "--store", store, "--json"))
        runs[name.partition(".")[0]] = document["run"]
    command = (sys.executable, "-c", SERVE, "serve", "--port", "0", "--no-open", "--store", store)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as playwright,
    ):
        assert server.stdout
        url = server.stdout.readline().split()[0]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Site(url, store, runs, browser)
        browser.close()
        server.terminate()


@pytest.fixture(autouse=True)
def _no_complaints(site: Site) -> Iterator[None]:
    site.complaints.clear()
    yield
    assert not site.complaints


def cell(page: Page, name: str) -> Locator:
    return page.locator(f"#cell [data-name='{name}'] dd")


def told(page: Page, *, of: str = "dividend_rho") -> dict[str, Any]:
    """Return the values of the cell that the page tells, once all of them are there."""
    expect(cell(page, of)).not_to_have_text("…")
    texts = page.locator("#cell [data-name]").evaluate_all(
        "all => all.map((one) => [one.dataset.name, one.querySelector('dd').textContent])"
    )
    return {name: number(text) for name, text in texts}


def until(page: Page, script: str) -> None:
    """Wait until a script is true; the page's policy forbids what `wait_for_function` does."""
    for _ in range(WAIT_MS // 50):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {script}")


def number(text: str) -> float | str:
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def drawn(page: Page, plot: str) -> list[dict[str, Any]]:
    """Return what a picture draws."""
    page.wait_for_selector(f"{plot} .main-svg", state="attached")
    traces = page.eval_on_selector(plot, "one => JSON.parse(JSON.stringify(one.data))")
    assert isinstance(traces, list)
    return traces


def hover(page: Page, plot: str, x: float, y: float) -> None:
    """Move the pointer to a part of a picture's width and height."""
    box = page.locator(f"{plot} .nsewdrag").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


INPUTS = ("spot", "strike", "expiry", "vol", "rate")


def test_the_list_names_every_run_and_the_last_is_shown(site: Site) -> None:
    page = site.page()
    page.goto(site.url)
    expect(page.locator(".runs .name")).to_have_text(
        [
            "flat.csv",
            "quotes.csv",
            "desks.csv",
            "means",
            "fine",
            "dearer",
            "puts",
            "chunks",
            "small",
        ]
    )
    expect(page.locator("h2")).to_contain_text("flat.csv")
    page.locator(".runs a", has_text="puts").click()
    expect(page.locator("h2")).to_contain_text("puts")
    expect(page.locator(".title")).to_contain_text("1,404 cells · all ok")
    expect(page).to_have_title("puts · pricer")
    page.wait_for_selector("#map .main-svg", state="attached")


def test_what_the_pointer_is_over_is_what_query_answers(site: Site) -> None:
    page = site.visit("puts")
    drawn(page, "#map")
    for x, y in ((0.31, 0.55), (0.73, 0.2)):
        before = page.locator("#cell").inner_text()
        hover(page, "#map", x, y)
        expect(page.locator("#cell")).not_to_have_text(before, use_inner_text=True)
        values = told(page)
        (row,) = site.query("puts", **{name: values[name] for name in INPUTS})
        assert values == row
        label = page.locator("#map .hovertext").text_content()
        assert label is not None
        assert f"price  {row['price']!r}" in label
        assert f"error  {row['error']!r}" in label
    hover(page, "#curves", 0.5, 0.6)
    values = told(page)
    assert [values] == site.query("puts", **{name: values[name] for name in INPUTS})


def test_what_a_finger_taps_is_told_as_what_a_pointer_is_over(site: Site) -> None:
    size: Any = {"width": PHONE[0], "height": PHONE[1]}
    page = site.browser.new_page(viewport=size, has_touch=True, is_mobile=True)
    try:
        for run, plot in (("puts", "#map"), ("quotes", "#points")):
            site.visit(run, page=page)
            until(page, f"document.querySelector('{plot}')?.data?.length > 0")
            where = page.locator(f"{plot} .point" if plot == "#points" else f"{plot} .nsewdrag")
            where.nth(3 if plot == "#points" else 0).scroll_into_view_if_needed()
            before = page.locator("#cell").inner_text()
            box = where.nth(3 if plot == "#points" else 0).bounding_box()
            assert box
            share = 0.5 if plot == "#points" else 0.2
            page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            expect(page.locator("#cell")).not_to_have_text(before, use_inner_text=True)
    finally:
        page.close()


def test_a_slider_goes_through_slices_that_are_there_before_it(site: Site) -> None:
    page = site.visit("puts", "at.vol=0.2")
    drawn(page, "#map")
    slider = page.get_by_label("vol", exact=True)
    expect(slider).to_have_attribute("aria-valuetext", "0.2")
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "0.25")
    expect(cell(page, "vol")).to_have_text("0.25")
    values = told(page)
    assert [values] == site.query("puts", **{name: values[name] for name in INPUTS})
    slices = [url for url in asked if "limit=1&" not in f"{url}&"]
    # Those further on are asked for, the one that is shown is not.
    assert [url for url in slices if "/cells" in url and "strike=100&vol=0.25&" in url] == []
    until(page, "location.hash.includes('at.vol=0.25')")


def test_measures_and_axes_change_the_picture(site: Site) -> None:
    page = site.visit("puts", "at.vol=0.25")
    drawn(page, "#map")
    page.get_by_label("Show", exact=True).select_option("gamma")
    page.get_by_label("Up", exact=True).select_option("vol")
    expect(page.get_by_label("expiry", exact=True)).to_have_attribute("aria-valuetext", "0.75")
    until(page, "document.querySelector('#map').layout?.yaxis.title.text.startsWith('vol')")
    rows = site.query("puts", strike=100, expiry=0.75)
    by_vol = [[r["gamma"] for r in rows if r["vol"] == vol] for vol in (0.2, 0.25, 0.3)]
    assert drawn(page, "#map")[0]["z"] == by_vol
    page.go_back()
    expect(page.get_by_label("Up", exact=True)).to_have_value("expiry")
    page.go_back()
    expect(page.get_by_label("Show", exact=True)).to_have_value("price")


def test_the_exercise_boundary_parts_what_is_intrinsic_value_from_what_is_more(site: Site) -> None:
    page = site.visit("puts", "at.vol=0.25&at.strike=100")
    expect(page.locator(".note")).to_contain_text("exercise boundary")
    until(page, "document.querySelector('#map')?.data?.length > 1")
    line = drawn(page, "#map")[1]
    rows = site.query("puts", strike=100, vol=0.25)
    assert len(line["x"]) == 6
    for edge, expiry in zip(line["x"], line["y"], strict=True):
        for row in (row for row in rows if row["expiry"] == expiry):
            exercised = row["price"] - (100 - row["spot"]) <= row["error"]
            # One step of the axis beside it may lie on either side.
            if abs(row["spot"] - edge) > 2:
                assert exercised == (row["spot"] < edge)
    assert line["x"] == sorted(line["x"], reverse=True)
    # At expiry 1, beside where closer spots have it.
    closer = np.arange(70.0, 80.0, 0.05)
    put = price(
        Vanilla("put", 100.0, 1.0, "american"),
        Market(spot=closer, vol=0.25, rate=0.05),
        tolerance=1e-6,
    )
    assert put.price is not None
    edge = closer[put.price - (100 - closer) <= put.error].max()
    assert line["x"][3] == pytest.approx(edge, abs=0.1)
    # Without a dividend yield the perpetual put's boundary is K / (1 + vol^2 / (2 r)).
    assert 100 / (1 + 0.25**2 / 0.1) < line["x"][-1] < line["x"][0] < 100


def test_where_a_price_is_not_there_yet_no_boundary_is_drawn(site: Site) -> None:
    page = site.visit("puts")
    found = page.evaluate(
        "async () => { const { edge } = await import('./boundary.js');"
        " const at = (prices) => edge([80, 90, 100, 110], prices, [0, 0, 0, 0], 100, 'put');"
        " return [at([20, 10, 6, 3]), at([20, 10, null, 3]), at([20, null, 6, 3])]; }"
    )
    assert (found[0]["exercised"], found[0]["held"]) == (90, 100)
    assert found[1:] == [None, None]


def test_the_error_beside_a_greek_is_said_to_be_of_the_price_and_its_own_is_told(
    site: Site,
) -> None:
    page = site.visit("means", "m=delta")
    (trace,) = drawn(page, "#map")
    rows = {(row["spot"], row["strike"]): row for row in site.query("means")}
    row = rows[trace["x"][1], trace["y"][1]]
    assert row["delta_standard_error"] > 0
    lines = trace["text"][1][1].split("<br>")
    assert f"delta  {row['delta']!r}" in lines
    assert f"delta standard error  {row['delta_standard_error']!r}" in lines
    assert f"error of price  {row['error']!r}" in lines
    page = site.visit("puts", "m=gamma")
    assert all("error of price" in text for line in drawn(page, "#map")[0]["text"] for text in line)


def test_a_book_of_underlyings_far_apart_joins_what_is_ok_on_a_wide_axis(site: Site) -> None:
    page = site.visit("desks")
    until(page, "document.querySelector('#points')?.data?.length > 1")
    joined = [trace["y"] for trace in drawn(page, "#points") if "lines" in trace["mode"]]
    assert sorted(joined) == [[0.2, 0.15], [0.3, 0.25]]
    assert page.eval_on_selector("#points", "one => one.layout.xaxis.type") == "log"
    site.visit("quotes", page=page)
    until(page, "document.querySelector('#points')?.layout?.xaxis.type === 'linear'")


def test_the_csv_of_a_slice_is_the_command_lines(site: Site) -> None:
    page = site.visit("puts", "at.vol=0.3&m=delta")
    drawn(page, "#map")
    with page.expect_download() as waiting:
        page.locator("#csv").click()
    assert waiting.value.suggested_filename == "puts-delta-slice.csv"
    selection = ("strike=100", "vol=0.3", "--format", "csv", "--store", site.store)
    assert waiting.value.path().read_text() == pricer("query", site.runs["puts"], *selection)


def test_pictures_are_saved_as_png(site: Site) -> None:
    page = site.visit("puts")
    drawn(page, "#map")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="PNG of the map").click()
    assert waiting.value.suggested_filename == "puts-price-slice-map.png"
    assert waiting.value.path().read_bytes().startswith(b"\x89PNG")


def test_two_runs_differ_by_what_their_queries_do(site: Site) -> None:
    page = site.visit("puts", "view=compare")
    page.get_by_label("This run minus", exact=True).select_option(
        label=f"dearer · {site.runs['dearer'][:12]}"
    )
    expect(page.locator(".note")).to_contain_text("rate 0.05 here, 0.02 there")
    expect(page.get_by_label("vol", exact=True)).to_have_attribute("aria-valuetext", "0.25")
    minuend, subtrahend = (site.query(run, strike=100, vol=0.25) for run in ("puts", "dearer"))
    shown = drawn(page, "#map")[0]
    for j, expiry in enumerate(shown["y"]):
        here, there = (
            [row["price"] for row in rows if row["expiry"] == expiry]
            for rows in (minuend, subtrahend)
        )
        assert shown["z"][j] == [a - b for a, b in zip(here, there, strict=True)]
    with page.expect_download() as waiting:
        page.locator("#csv").click()
    table = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
    assert len(table) == len(minuend)
    differences = sorted(float(row["difference"]) for row in table)
    assert differences == sorted(z for row in shown["z"] for z in row)


def test_a_book_shows_its_smile_with_bid_and_ask(site: Site) -> None:
    page = site.visit("quotes")
    until(page, "document.querySelector('#points')?.data?.length > 2")
    rows = site.query("quotes")
    everything = drawn(page, "#points")
    # The legend says what a colour means, the note what a symbol does.
    legend = [(t["name"], t["marker"]["symbol"]) for t in everything if t.get("showlegend", True)]
    assert legend == [("0.5", "square"), ("1", "square")]
    expect(page.locator(".note")).to_contain_text("Calls are dots ●, puts open diamonds ◇.")
    traces = [trace for trace in everything if not trace.get("showlegend", True)]
    points = {
        (strike, vol, trace["name"])
        for trace in traces
        for strike, vol in zip(trace["x"], trace["y"], strict=True)
    }
    assert points == {(r["strike"], r["vol"], f"{r['expiry']:g}") for r in rows}
    above = {
        trace["customdata"][i]: up
        for trace in traces
        for i, up in enumerate(trace["error_y"]["array"])
    }
    for i, row in enumerate(rows):
        assert above[i] == (float(row["ask"]) - row["price"]) / row["vega"]
    page.locator("#figure").press("ArrowRight")
    values = told(page, of="price")
    assert values == {name: number(str(value)) for name, value in rows[1].items()}
    assert f"vol  {rows[1]['vol']!r}" in (page.locator("#points .hovertext").text_content() or "")
    page.get_by_label("Only right", exact=True).select_option("put")
    expect(page.locator(".note")).to_contain_text("2 rows.")
    site.visit("flat", page=page)
    expect(page.locator(".note")).to_contain_text("This book has no smile")


def test_names_of_a_book_are_shown_as_they_stand(site: Site) -> None:
    page = site.visit("flat", "by=<i>desk</i>")
    names = ['<a href="https://a.b">AT&T</a>', "&lt;2"]
    expect(page.locator("#points .legendtext")).to_have_text(sorted(names))
    expect(page.locator("#points .legendtitletext")).to_contain_text("<i>desk</i>")
    expect(page.locator("#points a")).to_have_count(0)
    page.locator("#figure").press("ArrowLeft")
    said = page.locator("p[aria-live]").text_content() or ""
    assert said.startswith("row  1, strike  90, ")
    assert f"<i>desk</i>  {names[0]}, " in said


def test_a_band_is_closed_on_both_sides_of_a_gap(site: Site) -> None:
    page = site.visit("puts")
    edge = page.evaluate(
        "async () => (await import('./plots.js')).around("
        "{ x: [1, 2, 3, 4, 5], y: [10, 20, null, 40, 50], band: [1, 2, null, 4, 5] })"
    )
    assert edge["x"] == [1, 2, 2, 1, None, 4, 5, 5, 4, None]
    assert edge["y"] == [11, 22, 18, 9, None, 44, 55, 45, 36, None]


def test_a_timeline_has_a_bar_for_each_chunk(site: Site) -> None:
    page = site.visit("chunks", "view=timeline")
    until(page, "document.querySelector('#concurrency')?.data?.length > 0")
    found = timeline(open_run(site.runs["chunks"], site.store))
    slowest = max(found.chunks, key=lambda chunk: chunk.seconds)
    assert slowest.straggler
    note = page.locator(".note")
    expect(note).to_contain_text(f"{len(found.chunks)} chunks in ")
    expect(note).to_contain_text(f"({STRAGGLER_RULE})")
    bars = {trace["name"]: trace for trace in drawn(page, "#chunks")}
    for i, chunk in enumerate(found.chunks):
        awake, priced = chunk.started - chunk.init_s, chunk.started + chunk.kernel_s
        times = (chunk.queued, awake, chunk.started, priced, chunk.done)
        for what, (start, end) in zip(
            ("queued", "init", "kernel", "write"), pairwise(times), strict=True
        ):
            assert bars[what]["base"][i] == start
            assert bars[what]["x"][i] == pytest.approx(max(0.0, end - start), abs=1e-12)
    places = list(enumerate(found.chunks, 1))
    assert bars["cold start"]["y"] == [place for place, chunk in places if chunk.cold]
    assert bars["straggler"]["y"] == [place for place, chunk in places if chunk.straggler]
    (line,) = drawn(page, "#concurrency")
    assert list(zip(line["x"], line["y"], strict=True)) == list(found.concurrency())


def test_a_timeline_leaves_out_the_time_before_a_later_submit(site: Site) -> None:
    found = timeline(open_run(site.runs["chunks"], site.store))
    day = 86_400.0
    later = [
        replace(c, **{name: getattr(c, name) + day for name in PLACES}) for c in found.chunks[2:]
    ]
    paused = replace(found, chunks=(*found.chunks[:2], *later))
    page = site.visit("chunks", "view=rows")
    page.route("**/timeline", lambda route: route.fulfill(json=paused.to_json()))
    site.visit("chunks", "view=timeline")
    until(page, "document.querySelector('#chunks')?.layout?.annotations?.length > 0")
    page.unroute("**/timeline")
    whole, ((at, _),) = paused.without_pauses()
    bars = {trace["name"]: trace for trace in drawn(page, "#chunks")}
    assert bars["kernel"]["base"] == pytest.approx([chunk.started for chunk in whole.chunks])
    (line,) = drawn(page, "#concurrency")
    assert line["x"] == pytest.approx([at for at, _ in whole.concurrency()])
    layout = page.evaluate("document.querySelector('#chunks').layout")
    assert layout["shapes"][0]["x0"] == pytest.approx(at)
    assert layout["annotations"][0]["text"] == "submitted again<br>24 h 0 min later"
    assert layout["xaxis"]["range"][1] < 2 * whole.seconds
    expect(page.locator(".note")).to_contain_text("1 pause cut out")


def test_rows_have_every_digit(site: Site) -> None:
    page = site.visit("quotes", "view=rows")
    expect(page.locator("tbody tr")).to_have_count(5)
    cells = page.locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert [number(text) for text in cells] == [
        number(str(value)) for value in site.query("quotes")[0].values()
    ]


def test_a_panel_has_its_rows_and_its_timeline(site: Site) -> None:
    page = site.visit("firms", "view=rows")
    expect(page.locator(".tabs a")).to_have_text(["Firm", "Timeline", "Rows"])
    rows = site.query("firms")
    expect(page.locator("tbody tr")).to_have_count(len(rows))
    for i in (0, len(rows) - 1):
        cells = page.locator("tbody tr").nth(i).locator("th, td").all_inner_texts()
        expected = ["" if value is None else number(str(value)) for value in rows[i].values()]
        assert [number(text) for text in cells] == expected
    page.locator(".tabs a", has_text="Timeline").click()
    until(page, "document.querySelector('#concurrency')?.data?.length > 0")
    expect(page.locator(".note")).to_contain_text("1 chunk in ")


def test_a_firm_of_a_panel_has_a_curve_for_each_horizon(site: Site) -> None:
    page = site.visit("firms", "m=asset_vol")
    expect(page.locator(".note")).to_contain_text("2 windows of 20 days.")
    firm = page.get_by_role("combobox", name="Firm", exact=True)
    expect(firm).to_have_value("F00")
    firm.fill("01")
    firm.press("Enter")
    expect(firm).to_have_value("F01")
    expect(page.locator(".note")).to_contain_text("3 windows of 20 days.")
    expect(cell(page, "firm")).to_have_text("F01")
    rows = site.query("firms", firm="F01")
    curves = {t["name"]: t for t in drawn(page, "#curves") if t["mode"] != "none"}
    assert sorted(curves) == ["1", "2.5"]
    for name, curve in curves.items():
        here = [row for row in rows if row["horizon"] == float(name)]
        assert curve["x"] == [row["date"] for row in here]
        assert curve["y"] == [row["asset_vol"] for row in here]
        for row, text in zip(here, curve["text"], strict=True):
            assert f"asset vol  {row['asset_vol']!r}<br>error  {row['error']!r}" in text
    assert page.eval_on_selector("#curves", "one => one.layout.xaxis.type") == "date"
    box = page.locator("#curves .point").last.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(cell(page, "date")).to_have_text(rows[-1]["date"])
    values = told(page, of="inversions")
    assert [values] == site.query("firms", **{n: values[n] for n in ("firm", "date", "horizon")})
    page.locator("#figure").press("ArrowLeft")
    expect(cell(page, "date")).to_have_text(rows[2]["date"])
    page.get_by_label("Show", exact=True).select_option("distance_to_default")
    until(page, "document.querySelector('#curves').layout.yaxis.title.text.startsWith('distance')")
    text = drawn(page, "#curves")[0]["text"][0]
    assert f"error of asset vol  {rows[0]['error']!r}" in text
    expect(page.locator(".title")).to_contain_text("largest error of asset vol")
    firm.fill("F1")
    firm.press("Enter")
    expect(page.locator(".note")).to_have_text("There is no firm F1 in this panel.")


def test_more_windows_than_a_firm_is_shown_with_are_counted(site: Site) -> None:
    page = site.visit("puts")
    rows = "**/cells?*limit=100000"

    def cut(route: Route) -> None:
        route.continue_(url=route.request.url.replace("limit=100000", "limit=4"))

    page.route(rows, cut)
    site.visit("firms", "at.firm=F01", page)
    expect(page.locator(".note")).to_contain_text("The first 2 of 3 windows of 20 days.")
    assert [len(trace["x"]) for trace in drawn(page, "#curves")] == [2, 2]
    page.unroute(rows)


def test_the_csv_of_a_firm_is_the_command_lines(site: Site) -> None:
    page = site.visit("firms", "at.firm=F01")
    drawn(page, "#curves")
    with page.expect_download() as waiting:
        page.locator("#csv").click()
    assert waiting.value.suggested_filename == "F01.csv"
    selection = ("firm=F01", "--format", "csv", "--store", site.store)
    assert waiting.value.path().read_text() == pricer("query", site.runs["firms"], *selection)


def test_a_slice_too_fine_to_be_seen_is_thinned_and_says_so(site: Site) -> None:
    page = site.visit("fine")
    expect(page.locator(".note")).to_contain_text("200 of 801 values of spot")
    hover(page, "#map", 0.4, 0.4)
    values = told(page, of="price")
    assert [values] == site.query("fine", spot=values["spot"], strike=values["strike"])


def test_everything_is_reached_by_keys(site: Site) -> None:
    page = site.visit("puts", "at.vol=0.25")
    # From the top again.
    page.reload()
    drawn(page, "#map")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(({activeElement: e}) => [e.dataset.control ?? e.id ?? '', e.textContent.trim(),"
                " getComputedStyle(e).outlineStyle])(document)"
            )
        )
        if reached[-1][1] == "PNG of the curves":
            break
    names = {name for name, _, _ in reached} | {text for _, text, _ in reached}
    assert {"Skip to the run", "Surface", "Compare", "Rows"} <= names
    assert {"Across", "Up", "Show", "scale", "strike", "vol", "figure", "csv"} <= names
    assert sum("cells" in text for _, text, _ in reached) == len(site.runs)
    assert {outline for _, _, outline in reached} == {"solid"}
    page.locator("#figure").focus()
    before = told(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(cell(page, "spot")).to_have_text(f"{before['spot'] + 2:g}")
    expect(cell(page, "expiry")).to_have_text(f"{before['expiry'] + 0.25:g}")
    values = told(page)
    assert [values] == site.query("puts", **{name: values[name] for name in INPUTS})


def test_a_phone_scrolls_down_only(site: Site) -> None:
    page = site.page(PHONE)
    compared = f"view=compare&with={site.runs['dearer'][:12]}"
    for run, state in (
        ("puts", ""),
        ("puts", compared),
        ("quotes", ""),
        ("quotes", "view=rows"),
        ("firms", ""),
        ("firms", "view=rows"),
    ):
        site.visit(run, state, page)
        page.wait_for_selector(".plot .main-svg, tbody tr", state="attached")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0], f"{run} {state} is {width} wide"
    expect(page.locator(".runs")).to_be_hidden()
    page.get_by_role("button", name="Runs").click()
    page.locator(".runs a", has_text="puts").click()
    expect(page.locator("h2")).to_contain_text("puts")
    expect(page.locator(".runs")).to_be_hidden()


def test_what_the_pointer_is_over_is_told_without_scrolling(site: Site) -> None:
    for run, plot in (("puts", "#map"), ("quotes", "#points"), ("firms", "#curves")):
        page = site.visit(run)
        until(page, f"document.querySelector('{plot}')?.data?.length > 0")
        box = page.locator("#cell").bounding_box()
        assert box
        assert box["y"] + box["height"] <= DESK[1], run


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_pictures_follow_the_theme(site: Site, scheme: Any) -> None:
    page = site.visit("puts")
    drawn(page, "#map")
    page.emulate_media(color_scheme=scheme)
    dark = str(scheme == "dark").lower()
    until(page, f"(document.querySelector('#map').layout.font.color > '#888888') === {dark}")
    colours = page.evaluate(
        "Object.fromEntries(['paper', 'panel', 'text', 'muted', 'edge', 'line', 'chosen', 'accent',"
        " 'good', 'warn', 'bad', ...[1, 2, 3, 4, 5, 6, 7, 8].map((i) => `series-${i}`)].map((name)"
        " => [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`)]))"
    )
    assert (luminance(colours["panel"]) < 0.1) == (scheme == "dark")
    layout = page.eval_on_selector(
        "#map", "one => [one.layout.paper_bgcolor, one.layout.font.color]"
    )
    assert layout == [colours["panel"].strip(), colours["text"].strip()]
    # WCAG 2.2, AA: 4.5 for text, 3 for the edges of controls and what is drawn.
    for name, ground, least in [
        *((n, g, 4.5) for n in ("text", "muted", "accent") for g in ("paper", "panel")),
        *((n, "paper", 4.5) for n in ("good", "warn")),
        *((n, "chosen", 4.5) for n in ("text", "good", "warn", "accent")),
        ("panel", "bad", 4.5),
        ("edge", "panel", 3.0),
        *((f"series-{i}", "panel", 3.0) for i in range(1, 9)),
    ]:
        assert contrast(colours[name], colours[ground]) >= least, f"{name} on {ground}"
    page.emulate_media(color_scheme="light")


def luminance(colour: str) -> float:
    """As WCAG 2.2 has it: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(part, 16) / 255 for part in re.findall("[0-9a-f]{2}", colour)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_a_run_that_is_being_priced_shows_how_far_it_is(site: Site) -> None:
    grid = Grid.parse(PUTS.format(name="live", vols="[0.21, 0.22, 0.23, 0.24]", rate=0.03))
    plan = Plan.of(grid, kernel_version())
    gate = threading.Semaphore(0)

    def gated(*arguments: Any) -> Any:
        gate.acquire()
        return price_chunk(*arguments)

    store = open_store(site.store)
    executor = LocalExecutor(1, gated)
    work = threading.Thread(
        target=partial(submit_plan, plan, store, executor, chunk_blocks=1), daemon=True
    )
    page = site.visit("puts")
    work.start()
    try:
        live = page.locator(".runs a", has_text="live")
        expect(live).to_contain_text("running")
        live.click()
        progress = page.locator("#progress")
        expect(progress).to_have_attribute("value", "0")
        expect(page.locator(".progress")).to_contain_text("Nothing is priced yet")
        expect(page.locator(".note")).to_contain_text("Nothing of this slice is priced yet")
        page.locator(".tabs a", has_text="Timeline").click()
        expect(page.locator(".note")).to_contain_text("No chunk is done yet")
        page.locator(".tabs a", has_text="Surface").click()
        gate.release()
        expect(progress).not_to_have_attribute("value", "0")
        page.get_by_label("Up", exact=True).select_option("vol")
        expect(page.locator(".note")).to_contain_text(" of 104 cells are not priced yet.")
        there = [z is not None for row in drawn(page, "#map")[0]["z"] for z in row]
        assert 0 < sum(there) < 104
        said = (page.locator(".note").text_content() or "").split(" of 104")[0].split()[-1]
        assert there.count(False) == int(said)
        seen = float(progress.get_attribute("value") or 0)
        assert 0 < seen < grid.cells
        assert float(live.locator("progress").get_attribute("value") or 0) == seen
        assert float(progress.get_attribute("max") or 0) == grid.cells
    finally:
        gate.release(1_000)
        work.join()
    expect(page.locator("h2 .state")).to_have_text("complete")
    expect(progress).to_have_count(0)
    until(page, "document.querySelector('#map').data[0].z.flat().every((z) => z !== null)")
    expect(page.locator("#map")).to_be_visible()


LISTS = "**/api/runs?*"


@pytest.mark.parametrize(
    ("store", "option"),
    [("sqlite:////tmp/a.db", "--store 'sqlite:////tmp/a.db'"), ("dynamodb://t", "--on aws")],
)
def test_an_empty_store_says_the_next_step(site: Site, store: str, option: str) -> None:
    page = site.visit("puts")
    empty = {"store": store, "runs": [], "total": 0, "next": None}
    page.route(LISTS, lambda route: route.fulfill(json=empty))
    page.reload()
    expect(page.locator("main")).to_contain_text(f"Nothing has been submitted to {store}.")
    command = f"pricer submit examples/one_surface.toml {option}"
    expect(page.locator("main pre")).to_have_text(command)
    page.unroute(LISTS)


def test_of_many_runs_the_last_are_listed_and_the_one_that_is_looked_at(site: Site) -> None:
    page = site.page()
    page.route(
        "**/api/runs?limit=50",
        lambda route: route.continue_(url=route.request.url.replace("50", "2")),
    )
    site.visit("puts", page=page)
    page.reload()
    names = page.locator(".runs .name")
    listed = [
        run["name"] for run in json.loads(pricer("runs", "--store", site.store, "--json"))["runs"]
    ]
    expect(names).to_have_text([*listed[:2], "puts"])
    expect(page.locator("h2")).to_contain_text("puts")
    page.get_by_role("button", name=f"{len(listed) - 2} older").click()
    expect(names).to_have_text(listed)
    page.unroute("**/api/runs?limit=50")


def test_a_scheduled_run_says_what_time_it_is_of(site: Site) -> None:
    page = site.page()

    def scheduled(route: Route) -> None:
        document = route.fetch().json()
        for run in document["runs"]:
            run["as_of"] = "2026-11-20T22:00:00+00:00"
        route.fulfill(json=document)

    page.route(LISTS, scheduled)
    site.visit("puts", page=page)
    page.reload()
    said = "as of 2026-11-20 22:00 UTC"
    expect(page.locator(".runs a", has_text="puts")).to_contain_text(said)
    expect(page.locator(".title")).to_contain_text(said)
    page.unroute(LISTS)


def test_a_server_that_is_gone_is_said_and_waited_for(site: Site) -> None:
    page = site.visit("puts")
    page.route(LISTS, lambda route: route.abort())
    expect(page.get_by_role("alert")).to_contain_text("the server does not answer")
    page.unroute(LISTS)
    expect(page.get_by_role("alert")).to_be_hidden(timeout=WAIT_MS)
    assert all("net::ERR_FAILED" in line for line in site.complaints)
    site.complaints.clear()


def test_nothing_of_the_page_is_elsewhere() -> None:
    static = Path(__file__).parents[1] / "pricer" / "web" / "static"
    for file in static.iterdir():
        found = set(re.findall(r"https?://[^\s\"'`)]+", file.read_text()))
        assert found <= {"http://www.w3.org/2000/svg"}, file.name
        assert file.stat().st_size < 40_000
