"""What is drawn of a run is what a query of it reads."""

from __future__ import annotations

import html
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from figures import kept
from panels import panel_of
from pricer import slices
from pricer.cli import cli
from pricer.dated import Dividends
from pricer.errors import SpecError
from pricer.grid import Axis, Grid
from pricer.pictures import between, colours
from pricer.pictures import slices as drawing
from pricer.pictures.slices import draw_slice
from pricer.reading import read_spec
from pricer.run import list_runs, open_run, submit
from pricer.settings import Settings
from pricer.slices import Slice, slice_of

if TYPE_CHECKING:
    from click.testing import Result

    from pricer.run import Run

GRID = """
name = "puts"
[contract]
type = "vanilla"
right = "put"
[axes]
exercise = ["european", "american"]
spot = { start = 80.0, stop = 120.0, count = 21 }
strike = [90.0, 100.0, 110.0, 120.0]
expiry = [0.25, 0.5, 1.0]
vol = { start = 0.1, stop = 0.4, count = 16 }
rate = 0.05
dividend_yield = 0.02
[method]
tolerance = 1e-4
measures = ["price", "delta"]
"""
BOOK = """\
id,desk,right,spot,strike,expiry,vol,rate,mid
a1,rates,put,100,90,1,0.25,0.05,4.0
a2,rates,put,100,100,1,0.25,0.05,8.1
a3,index,put,100,110,0.5,0.25,0.05,
a4,index,put,100,120,0.5,-1,0.05,20
a5,index,put,100,120,0.5,0.3,0.05,20.5
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with a run of the grid, and before it one of the book."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "book.csv").write_text(BOOK, encoding="utf-8")
    url = f"sqlite:///{folder / 'runs.db'}"
    submit(read_spec(folder / "book.csv"), url)
    submit(Grid.parse(GRID), url)
    return url


@pytest.fixture
def grid(store: str) -> Run:
    return open_run("latest", store)


@pytest.fixture
def book(store: str) -> Run:
    (found,) = (run for run in list_runs(store) if run.head.name == "book.csv")
    return found


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    pytest.importorskip("matplotlib")
    return kept(drawing, monkeypatch)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keep what pages are made of."""
    made: list[Any] = []
    monkeypatch.setattr(drawing, "write_page", lambda *given: made.append(given))
    return made


# --- a grid ---


def test_the_lines_of_a_picture_are_the_rows_of_a_query(
    grid: Run, figures: list[Any], tmp_path: Path
) -> None:
    where: dict[str, Any] = {
        "exercise": "american",
        "strike": 100.0,
        "expiry": 0.5,
        "vol": "0.2:0.3",
    }
    found = slice_of(grid, "spot", "price", hue="vol", selection=where)
    rows = grid.query(where)
    draw_slice(found, tmp_path / "a.svg")
    drawn = figures[0].axes[0].lines
    assert len(drawn) == len(found.hues) == 6
    for line, (vol, here) in zip(drawn, found.facets[0].lines(), strict=True):
        wanted = rows["vol"] == vol
        np.testing.assert_array_equal(line.get_xdata(), rows["spot"][wanted])
        np.testing.assert_array_equal(line.get_ydata(), rows["price"][wanted])
        error = found.facets[0].error
        assert error is not None
        np.testing.assert_array_equal(error[here], rows["error"][wanted])


def test_each_facet_is_a_frame_with_the_values_of_a_query(
    grid: Run, figures: list[Any], tmp_path: Path
) -> None:
    where: dict[str, Any] = {"vol": 0.2, "strike": 90.0}
    found = slice_of(grid, "spot", "delta", hue="exercise", facet="expiry", selection=where)
    draw_slice(found, tmp_path / "a.png")
    frames = [axes for axes in figures[0].axes if axes.get_visible()]
    assert [axes.get_title() for axes in frames] == ["expiry 0.25", "expiry 0.5", "expiry 1"]
    for axes, expiry in zip(frames, (0.25, 0.5, 1.0), strict=True):
        for line, exercise in zip(axes.lines, ("european", "american"), strict=True):
            at: dict[str, Any] = {
                "vol": 0.2,
                "strike": 90.0,
                "expiry": expiry,
                "exercise": exercise,
            }
            np.testing.assert_array_equal(line.get_ydata(), grid.query(at)["delta"])
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["european", "american"]


def test_what_is_not_said_is_at_the_middle_and_the_title_says_so(
    grid: Run, figures: list[Any], tmp_path: Path
) -> None:
    found = slice_of(grid, "spot", "price", selection={"vol": 0.2})
    assert found.middle == ("exercise", "strike", "expiry")
    assert dict(found.at) == {
        "right": "put", "exercise": "european", "strike": 100.0, "expiry": 0.5, "vol": 0.2,
        "rate": 0.05, "dividend_yield": 0.02,
    }  # fmt: skip
    wanted = grid.query({"exercise": "european", "strike": 100, "expiry": 0.5, "vol": 0.2})
    np.testing.assert_array_equal(found.facets[0].y, wanted["price"])
    draw_slice(found, tmp_path / "a.svg")
    title = " ".join(figures[0].get_suptitle().split())
    assert title.startswith("puts: price along spot right put, exercise european (the middle)")
    for words in ("strike 100 (the middle)", "expiry 0.5 (the middle)", "vol 0.2,", "errors up to"):
        assert words in title


def test_labels_have_units(grid: Run, figures: list[Any], tmp_path: Path) -> None:
    draw_slice(slice_of(grid, "vol", "delta", hue="expiry"), tmp_path / "a.svg")
    figure = figures[0]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("vol (per √year)", "delta")
    assert figure.legends[0].get_title().get_text() == "expiry (years)"


def test_more_than_ten_lines_have_a_colour_bar(
    grid: Run, figures: list[Any], tmp_path: Path
) -> None:
    draw_slice(slice_of(grid, "spot", "price", hue="vol"), tmp_path / "a.svg")
    frame, bar = figures[0].axes
    assert not figures[0].legends
    assert bar.get_ylabel() == "vol (per √year)"
    assert bar.get_ylim() == pytest.approx((0.1, 0.4))
    shades = [line.get_color() for line in frame.lines]
    assert len(set(shades)) == 16
    assert (shades[0], shades[-1]) == (between(0.0), between(1.0))


def with_errors(found: Slice, error: float) -> Slice:
    facets = (replace(f, error=np.full(len(f.x), error)) for f in found.facets)
    return replace(found, facets=tuple(facets))


def test_errors_are_a_band_where_they_can_be_seen(
    grid: Run, figures: list[Any], tmp_path: Path
) -> None:
    found = slice_of(grid, "spot", "price")
    draw_slice(found, tmp_path / "a.svg")
    draw_slice(with_errors(found, 2.0), tmp_path / "b.svg")
    assert found.band == "error"
    assert not figures[0].axes[0].collections
    (band,) = figures[1].axes[0].collections
    (path,) = band.get_paths()
    corners = set(map(tuple, path.vertices.round(9).tolist()))
    x, y = found.facets[0].x[3], found.facets[0].y[3]
    assert {(round(x, 9), round(y - 2.0, 9)), (round(x, 9), round(y + 2.0, 9))} <= corners


def test_the_band_of_a_simulated_greek_is_two_standard_errors() -> None:
    measures = ("price", "delta", "delta_standard_error")
    run = submit(
        Grid(
            axes=(Axis("spot", (90.0, 100.0)),),
            fixed={"right": "put", "strike": 100.0, "expiry": 0.5, "vol": 0.2, "rate": 0.05},
            settings=Settings(method="monte_carlo", paths=2**12, measures=measures),
        ),
        "memory:",
    )
    found = slice_of(run, "spot", "delta")
    rows = run.query()
    assert found.band == "two standard errors"
    assert found.facets[0].error is not None
    np.testing.assert_array_equal(found.facets[0].error, 2 * rows["delta_standard_error"])


def test_a_page_has_every_digit_that_a_query_prints(
    grid: Run, pages: list[Any], tmp_path: Path
) -> None:
    where: dict[str, Any] = {"exercise": "american", "strike": 100.0, "expiry": 1.0}
    draw_slice(slice_of(grid, "spot", "price", hue="vol", selection=where), tmp_path / "a.html")
    ((_, title, traces, _),) = pages
    assert title.startswith("puts: price along spot by vol<br>")
    rows = grid.query(where)
    said = {text for trace in traces for text in trace.get("text", ())}
    wanted = {
        f"spot {spot!r}<br>price {price!r} ± {error!r}<br>vol {vol}"
        for spot, price, error, vol in zip(
            *(rows[name].tolist() for name in ("spot", "price", "error", "vol")), strict=True
        )
    }
    assert said == wanted


# --- a book ---


def test_rows_of_a_book_are_points_and_those_without_a_value_are_left_out(
    book: Run, figures: list[Any], tmp_path: Path
) -> None:
    found = slice_of(book, "strike", "price", hue="desk")
    assert not found.joined
    assert (found.points, found.not_ok, found.hues) == (4, 1, ("rates", "index"))
    draw_slice(found, tmp_path / "a.svg")
    rows = book.query()
    priced = rows["price"][np.isfinite(rows["price"])]
    drawn = np.concatenate([c.get_offsets()[:, 1] for c in figures[0].axes[0].collections])
    np.testing.assert_array_equal(drawn, priced)
    assert "1 not ok" in figures[0].get_suptitle()


def test_a_column_of_a_book_s_own_is_drawn_where_it_has_numbers(book: Run) -> None:
    found = slice_of(book, "mid", "price", facet="expiry")
    assert [facet.value for facet in found.facets] == [0.5, 1.0]
    assert [facet.x.tolist() for facet in found.facets] == [[20.5], [4.0, 8.1]]
    assert slice_of(book, "row", "mid", selection={"desk": "rates"}).facets[0].y.tolist() == [
        4.0,
        8.1,
    ]
    with pytest.raises(SpecError, match="x: column 'desk': must be a number, got 'rates'"):
        slice_of(book, "desk", "price")


def test_points_without_a_number_have_a_colour_of_their_own(
    book: Run, figures: list[Any], tmp_path: Path
) -> None:
    for hue, facet in (("mid", ""), ("", "mid")):
        found = slice_of(book, "strike", "expiry", hue=hue, facet=facet)
        assert found.points == 5
        draw_slice(found, tmp_path / "a.svg")
    (legend,) = figures[0].legends
    wanted = ["4", "8.1", "missing", "20", "20.5"]
    assert [text.get_text() for text in legend.get_texts()] == wanted
    assert [len(points.get_offsets()) for points in figures[0].axes[0].collections] == [1] * 5
    frames = [axes.get_title() for axes in figures[1].axes if axes.get_visible()]
    assert frames == [f"mid {value}" for value in wanted]


def test_a_picture_of_a_book_says_what_was_selected(book: Run) -> None:
    assert slice_of(book, "strike", "price").at == {}
    assert slice_of(book, "strike", "price", selection={"desk": "rates"}).at == {"desk": "rates"}
    hued = slice_of(book, "strike", "price", hue="desk", selection={"desk": "rates"})
    assert hued.at == {}


def test_numbers_of_a_book_without_end_have_a_colour_bar(
    tmp_path: Path, figures: list[Any]
) -> None:
    rows = "".join(f"put,{90 + n / 10},100,1,{0.1 + n / 1000:.3f},0.05\n" for n in range(100))
    (tmp_path / "b.csv").write_text(f"right,spot,strike,expiry,vol,rate\n{rows}")
    run = submit(read_spec(tmp_path / "b.csv"), "memory:")
    draw_slice(slice_of(run, "spot", "price", hue="vol"), tmp_path / "a.svg")
    frame, bar = figures[0].axes
    assert len(frame.collections) == 100
    assert bar.get_ylim() == pytest.approx((0.1, 0.199))


# --- files ---


@pytest.mark.parametrize("desk", ["", "_a", "$_$", r"$\alpha$", "<b>a</b>"])
def test_names_are_drawn_as_they_stand(
    figures: list[Any], pages: list[Any], tmp_path: Path, desk: str
) -> None:
    file, title = tmp_path / "$_$.csv", desk or "missing"
    rows = f"{desk},put,9,9,1,.2,0\nb,put,9,8,1,.2,0\n"
    file.write_text(f"desk,right,spot,strike,expiry,vol,rate\n{rows}")
    run = submit(read_spec(file), f"sqlite:///{tmp_path / 'runs.db'}")
    found = slice_of(run, "strike", "price", hue="desk")
    draw_slice(found, tmp_path / "a.svg")
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [title, "b"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    assert [handle.get_facecolor().tolist() for handle in legend.legend_handles] == [
        points.get_facecolor().tolist() for points in figures[0].axes[0].collections
    ]
    draw_slice(found, tmp_path / "a.html")
    ((_, _, traces, _),) = pages
    # As HTML, of which plotly reads some tags, it is that text again.
    assert [html.unescape(trace["name"]) for trace in traces] == [title, "b"]
    assert all("<b>" not in trace["name"] + trace["text"][0] for trace in traces)


def test_the_same_picture_is_the_same_bytes_and_small(grid: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = slice_of(grid, "spot", "price", hue="vol", facet="expiry")
    for name in ("a.svg", "b.svg"):
        draw_slice(found, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert len(drawn) < 100_000
    assert b"<dc:date>" not in drawn


def test_a_page_is_one_file_that_asks_nobody(grid: Run, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    found = slice_of(grid, "spot", "price", hue="vol")
    for name in ("a.html", "b.html"):
        draw_slice(found, tmp_path / name)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "<link" not in page
    assert "spot 80.0\\u003cbr" in page or "spot 80.0<br>" in page


def test_colours_can_be_told_apart() -> None:
    for count in (1, 2, 7, 10, 60):
        assert len(set(colours(count))) == count
        assert len(set(colours(min(count, 12), words=True))) == min(count, 12)
    assert between(0.0) == "#440154"
    assert between(1.0) == "#6ece58"


# --- the command, and what cannot be drawn ---


def command(store: str, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plot", "latest", "--store", store, *map(str, arguments)])


def error(store: str, *arguments: object) -> str:
    """Run a plot that must fail with one line on stderr, and return the line."""
    done = command(store, *arguments)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_the_command_says_what_it_drew_and_where(store: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "a.svg"
    asked = ("--x", "spot", "--y", "price", "--hue", "vol", "--facet", "expiry", "strike=100")
    done = command(store, *asked, "--output", target)
    assert done.exit_code == 0, done.output
    assert f"{target}: 1,008 points, " in done.stdout
    assert "at the middle of what is not selected: exercise european" in done.stdout
    document = json.loads(command(store, *asked, "--output", target, "--json").stdout)
    assert document["bytes"] == target.stat().st_size
    assert document["at"]["strike"] == 100.0
    assert document["middle"] == ["exercise"]
    assert (document["points"], document["not_ok"]) == (1008, 0)
    assert 0 < document["largest_error"] < 1e-2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--x spto", "x: 'spto' is not an axis of this run; did you mean 'spot'?; there"),
        ("--y gamma", "y: 'gamma' is not a measure of this run; there are price, delta, error"),
        ("--hue vola", "hue: 'vola' is not an axis of this run; did you mean 'vol'?"),
        ("--facet desk", "facet: 'desk' is not an axis"),
        ("--hue spot", "hue: spot is taken for x or hue already"),
        ("--hue vol --facet vol", "facet: vol is taken for x or hue already"),
        ("--x exercise", "x: exercise has words or tables, not numbers; take it for hue or facet"),
        ("--x rate", "x: rate has one value here; a line needs two"),
        ("spot=100", "x: spot has one value here; a line needs two"),
        ("strike=90:110", "strike: must have one value here, got 3; or take it for hue or facet"),
        ("strike=95", "strike: 95 is not there; the nearest is 90"),
        ("desk=a", "selection: 'desk' is not an axis of this run"),
    ],
)
def test_what_is_not_there_is_one_line(
    store: str, tmp_path: Path, arguments: str, message: str
) -> None:
    pytest.importorskip("matplotlib")
    asked = ("--x", "spot", "--y", "price", *arguments.split())
    assert message in error(store, *asked, "--output", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


# --- a panel ---


@pytest.fixture(scope="module")
def firms(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('firms') / 'runs.db'}"
    submit(panel_of([100, 160, 20], step=10), url)
    return url


def test_the_series_of_a_firm_are_the_rows_of_a_query(
    firms: str, figures: list[Any], pages: list[Any], tmp_path: Path
) -> None:
    run = open_run("latest", firms)
    found = slice_of(run, "date", "asset_vol", hue="horizon", selection={"firm": "F01"})
    (facet,) = found.facets
    for horizon, here in facet.lines():
        rows = run.query({"firm": "F01", "horizon": str(horizon)})
        days = rows["date"].astype("datetime64[D]").astype(float)
        np.testing.assert_array_equal(facet.x[here], days)
        np.testing.assert_array_equal(facet.y[here], rows["asset_vol"])
        assert facet.error is not None
        np.testing.assert_array_equal(facet.error[here], rows["error"])
    assert (found.hues, found.at, found.band) == ((1.0, 2.5), {"firm": "F01"}, "error")
    draw_slice(found, tmp_path / "a.svg")
    assert "firm F01" in figures[0].get_suptitle()
    labels = [text.get_text() for text in figures[0].axes[0].get_xticklabels()]
    assert any("Apr" in label or "Mar" in label for label in labels), labels
    draw_slice(found, tmp_path / "a.html")
    ((_, _, traces, layout),) = pages
    assert traces[0]["x"] == run.query({"firm": "F01", "horizon": "1"})["date"].tolist()
    assert traces[0]["text"][0].startswith(f"date {traces[0]['x'][0]}<br>asset vol ")
    assert layout["xaxis"]["type"] == "date"


def test_probabilities_of_many_orders_are_on_a_logarithmic_axis(
    firms: str, figures: list[Any], pages: list[Any], tmp_path: Path
) -> None:
    run = open_run("latest", firms)
    probability = "default_probability"
    for y, scale in ((probability, "log"), ("distance_to_default", "linear")):
        found = slice_of(run, "date", y, hue="horizon", selection={"firm": "F01"})
        values = found.facets[0].y
        assert (0 < 100 * values.min() < values.max()) == (y == probability)
        draw_slice(found, tmp_path / "a.svg")
        assert figures[-1].axes[0].get_yscale() == scale
        draw_slice(found, tmp_path / "a.html")
        assert pages[-1][3]["yaxis"]["type"] == scale


def test_only_the_blocks_of_a_firm_are_read(firms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run("latest", firms)
    read: list[int] = []
    blocks = run.store.blocks

    def counted(run_id: str, numbers: Any) -> Any:
        asked = list(numbers)
        read.extend(asked)
        return blocks(run_id, asked)

    monkeypatch.setattr(run.store, "blocks", counted)
    plan: Any = run.plan
    first, end = plan.spec.cell_offsets[1:3].tolist()
    slice_of(run, "date", "drift", hue="horizon", selection={"firm": "F01"})
    assert read == np.unique(plan.block_of(np.arange(first, end))).tolist()


def test_a_horizon_that_is_not_said_is_in_the_middle(firms: str) -> None:
    found = slice_of(
        open_run("latest", firms), "date", "drift", hue="firm", selection={"firm": "F00,F01"}
    )
    assert (found.at, found.middle, found.band) == ({"horizon": 1.0}, ("horizon",), "")
    assert found.hues == ("F00", "F01")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--x date", "firm: must have one value here, got 3; select one, as firm=F00, or take it"),
        ("--x date firm=F00,F01", "firm: must have one value here, got 2; or take it for hue or"),
        ("--x horizon firm=F01", "date: must have one value here, got "),
        ("--x firm", "x: firm has names, not numbers; take it for hue or facet"),
        ("--x spot firm=F01", "x: 'spot' is not a column of this run; there are firm, date, hor"),
        ("--x date firm=F02", "x: date has one value here; a line needs two"),
        ("--x date firm=F9", "firm: no row has F9"),
        ("--x date --y price firm=F01", "y: 'price' is not a measure of this run"),
    ],
)
def test_what_cannot_be_drawn_of_a_panel_is_one_line(
    firms: str, tmp_path: Path, arguments: str, message: str
) -> None:
    pytest.importorskip("matplotlib")
    asked = ("--y", "asset_vol", *arguments.split(), "--output", tmp_path / "a.svg")
    assert message in error(firms, *asked)
    assert not (tmp_path / "a.svg").exists()


def test_tables_tell_lines_apart_by_their_labels() -> None:
    tables = (
        Dividends([0.5], [0.0], label="none, so far"),
        Dividends([0.25, 0.75], [1.5, 1.5]),
        Dividends([0.9], [3.0], label="late"),
    )
    fixed: dict[str, Any] = {"right": "call", "strike": 100.0, "expiry": 1.0, "vol": 0.2}
    axes = (Axis("spot", (90.0, 100.0, 110.0)), Axis("cash_dividends", tables))
    run = submit(Grid(axes, fixed | {"rate": 0.05, "dividend_model": "escrowed"}), "memory:")
    found = slice_of(run, "spot", "price", hue="cash_dividends")
    assert found.hues == ("none, so far", "0.25:1.5;0.75:1.5", "late")
    middle = slice_of(run, "spot", "price")
    assert middle.at["cash_dividends"] == "0.25:1.5;0.75:1.5"
    np.testing.assert_array_equal(middle.facets[0].y, found.facets[0].y[3:6])


def test_what_is_too_much_is_one_line(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    asked = ("--x", "spot", "--y", "price", "--output", tmp_path / "a.svg")
    monkeypatch.setattr(slices, "MOST_LINES", 10)
    monkeypatch.setattr(slices, "MOST_FACETS", 12)
    monkeypatch.setattr(slices, "MOST_POINTS", 500)
    assert error(store, *asked, "--hue", "vol") == (
        "hue: a picture holds at most 10 lines, vol has 16 values here; select some, as"
        " vol=0.1:0.18"
    )
    assert error(store, *asked, "--facet", "vol") == (
        "facet: a picture holds at most 12 small multiples, vol has 16 values here; select some, as"
        " vol=0.1:0.2"
    )
    assert error(store, *asked, "--facet", "vol", "--hue", "strike") == (
        "selection: a picture holds at most 500 points, got 1,344; narrow it"
    )


def test_what_is_too_much_is_said_before_a_block_is_read(
    grid: Run, book: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MOST_POINTS", 4)
    for run, x in ((grid, "spot"), (book, "strike")):
        monkeypatch.setattr(run.store, "blocks", None)
        with pytest.raises(SpecError, match="a picture holds at most 4 points, got "):
            slice_of(run, x, "price")


def test_a_file_that_cannot_be_written_is_one_line(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    asked = ("--x", "spot", "--y", "price", "--output")
    assert "a.jpeg: must end in .png, .svg, .pdf or .html" in error(
        store, *asked, tmp_path / "a.jpeg"
    )
    assert "cannot be written: no folder" in error(store, *asked, tmp_path / "no" / "a.svg")
    if Path("/dev/full").exists():
        (tmp_path / "full.svg").symlink_to("/dev/full")
        message = "full.svg: cannot be written: No space left on device"
        assert message in error(store, *asked, tmp_path / "full.svg")
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    assert error(store, *asked, tmp_path / "a.html") == (
        "an .html picture needs plotly: pip install plotly"
    )
