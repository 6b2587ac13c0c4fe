"""Which cells a query means. Cells are checked through their inputs, never through their order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer import selection
from pricer.book import Book
from pricer.columns import words_of
from pricer.dated import Curve, Dates, Dividends
from pricer.errors import SpecError
from pricer.grid import Axis, Grid
from pricer.plan import BookPlan, GridPlan, Plan
from pricer.selection import count_cells, count_rows, select_cells, select_rows

if TYPE_CHECKING:
    from pricer.selection import Selected

# A shared axis stands before a key axis: cells are not numbered in file order.
GRID = Grid(
    axes=(
        Axis("strike", (90.0, 100.0, 110.0)),
        Axis("vol", (0.1, 0.2, 0.30000000000000004)),
        Axis("right", ("put", "call")),
        Axis("rate", (-0.01, 0.0, 0.01)),
    ),
    fixed={"exercise": "american", "spot": 100.0, "expiry": 1.0},
)
BOOK = """\
symbol,right,strike,vol,spot,rate,expiry,quoted,day
A,put,90,0.2,100,0.01,1,1.50,2014-06-06
B,call,100,,100,0.01,1,n/a,2014-06-07
"B,C",put,110,0.4,100,0.01,1,2.5,2014-07-01
C D,call,90,0.2,100,0.01,2,1.5,2014-08-01
"""


def grid_plan(grid: Grid = GRID) -> GridPlan:
    plan = Plan.of(grid, "kernel")
    assert isinstance(plan, GridPlan)
    return plan


def book_plan(text: str = BOOK) -> BookPlan:
    plan = Plan.of(Book.parse(text), "kernel")
    assert isinstance(plan, BookPlan)
    return plan


def cells(selected: dict[str, Selected], **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns that a selection on the grid gives, after checking cells against them."""
    plan = grid_plan()
    options = {"nearest": False, "limit": None} | options
    table, numbers = select_cells(plan, selected, **options)
    inputs = plan.cells_of(numbers)
    for name, column in table.items():
        values = getattr(inputs, name)
        found = words_of(name, values) if name == "right" else values
        np.testing.assert_array_equal(found, column)
    return table


def rows(selected: dict[str, Selected], **options: Any) -> list[int]:
    """Return the rows that a selection on the book gives, after checking cells against them."""
    plan = book_plan()
    options = {"nearest": False, "limit": None} | options
    table, numbers = select_rows(plan, selected, **options)
    np.testing.assert_array_equal(plan.cells_of(numbers).vol, table["vol"])
    np.testing.assert_array_equal(plan.order[numbers] + 1, table["row"])
    return [int(row) for row in table["row"]]


# --- grids ---


def test_everything_comes_in_c_order_over_the_axes_as_the_file_has_them() -> None:
    table = cells({})
    assert list(table) == ["strike", "vol", "right", "rate"]
    expected = [
        (k, v, r, i)
        for k in GRID.axes[0].values
        for v in GRID.axes[1].values
        for r in GRID.axes[2].values
        for i in GRID.axes[3].values
    ]
    assert list(zip(*(column.tolist() for column in table.values()), strict=True)) == expected


@pytest.mark.parametrize(
    ("selected", "strikes"),
    [
        (100.0, [100]),
        (100, [100]),
        (np.float64(100), [100]),
        ("100", [100]),
        (" 1e2 ", [100]),
        ([110, 90.0], [90, 110]),
        ("110,90", [90, 110]),
        ([100, 100], [100]),
        (np.array([90.0, 100.0]), [90, 100]),
        ((95.0, 110.0), [100, 110]),
        ("90:100", [90, 100]),
        (":100", [90, 100]),
        ("95:", [100, 110]),
        ((None, 95), [90]),
        (":", [90, 100, 110]),
    ],
)
def test_values_lists_and_ranges_select(selected: Selected, strikes: list[float]) -> None:
    assert np.unique(cells({"strike": selected})["strike"]).tolist() == strikes


@pytest.mark.parametrize(
    ("selected", "words"),
    [
        ("put", ["put"]),
        ("P", ["put"]),
        (["call", "put"], ["put", "call"]),
        ("c,p", ["put", "call"]),
    ],
)
def test_words_select_in_the_order_of_the_axis(selected: Selected, words: list[str]) -> None:
    assert list(dict.fromkeys(cells({"right": selected})["right"].tolist())) == words


def test_several_axes_narrow_together() -> None:
    table = cells({"strike": "100:", "right": "call", "vol": 0.2, "rate": [0.01, -0.01]})
    assert table["strike"].tolist() == [100, 100, 110, 110]
    assert table["rate"].tolist() == [-0.01, 0.01, -0.01, 0.01]


@pytest.mark.parametrize("off", [-0.9e-9, 0.9e-9])
def test_values_match_to_a_billionth_of_themselves(off: float) -> None:
    assert set(cells({"strike": 100 * (1 + off)})["strike"]) == {100.0}
    assert set(cells({"strike": (100 * (1 + 0.9e-9), 100 * (1 - 0.9e-9) + 10)})["strike"]) == {
        100.0,
        110.0,
    }
    assert set(cells({"vol": "0.3"})["vol"]) == {0.30000000000000004}


@pytest.mark.parametrize("off", [-1.1e-9, 1.1e-9])
def test_values_further_off_do_not_match(off: float) -> None:
    with pytest.raises(SpecError, match="is not there; the nearest is 100"):
        cells({"strike": 100 * (1 + off)})


def test_zero_is_matched_by_zero_alone() -> None:
    assert set(cells({"rate": 0})["rate"]) == {0.0}
    with pytest.raises(SpecError, match="rate: 1e-15 is not there; the nearest is 0"):
        cells({"rate": 1e-15})


def test_nearest_takes_the_value_that_is_nearest() -> None:
    assert set(cells({"strike": "104"}, nearest=True)["strike"]) == {100.0}
    assert set(cells({"strike": [1, 1e9]}, nearest=True)["strike"]) == {90.0, 110.0}


def test_limit_keeps_the_first_rows() -> None:
    everything = cells({"right": "put"})
    some = cells({"right": "put"}, limit=7)
    for name, column in some.items():
        np.testing.assert_array_equal(column, everything[name][:7])


def test_an_input_that_the_file_fixes_may_be_named_if_it_has_that_value() -> None:
    assert len(cells({"exercise": "american", "spot": 100})["strike"]) == 54
    with pytest.raises(SpecError, match="spot: 90 is not there; the nearest is 100"):
        cells({"spot": 90})


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        ({"strike": 101}, "strike: 101 is not there; the nearest is 100"),
        ({"strike": "111:"}, "strike: no value lies in 111:; there are 90 to 110"),
        ({"strike": (91, 99)}, "strike: no value lies in 91:99; there are 90 to 110"),
        ({"strike": "110:90"}, "strike: a range must go up, got 110:90"),
        ({"strike": []}, "strike: no value lies in ; there are 90 to 110"),
        ({"strike": "abc"}, "strike: must be a number, got 'abc'"),
        ({"vol": "25%"}, "vol: must be a number, got '25%'; write 0.25"),
        ({"strike": "90:x"}, "strike: must be a number, got 'x'"),
        ({"strike": "inf"}, "strike: must be finite, got inf"),
        ({"right": "straddle"}, "right: must be call or put, got 'straddle'"),
        ({"right": "call:put"}, "right: must be a word, got call:put"),
        ({"exercise": "european"}, "exercise: european is not there; every one is american"),
        (
            {"strik": 90},
            "selection: 'strik' is not an axis of this run; did you mean 'strike'?;"
            " there are strike, vol, right, rate",
        ),
    ],
)
def test_what_is_not_there_is_refused(selected: dict[str, Selected], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        cells(selected)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    for select in (cells, rows):
        with pytest.raises(SpecError, match=f"limit: must be at least 1, got {limit}"):
            select({}, limit=limit)


def test_ten_billion_cells_are_refused_whole_and_given_under_a_limit() -> None:
    huge = Grid(
        axes=(
            Axis("vol", tuple(np.arange(1.0, 100_001.0))),
            Axis("strike", tuple(np.arange(1.0, 100_001.0))),
        ),
        fixed={"right": "put", "spot": 100.0, "expiry": 1.0, "rate": 0.0},
    )
    plan = grid_plan(huge)
    with pytest.raises(SpecError, match=r"at most 20,000,000 cells, got 10,000,000,000; narrow"):
        select_cells(plan, {}, nearest=False, limit=None)
    table, numbers = select_cells(plan, {"vol": "50000:"}, nearest=False, limit=3)
    assert table["strike"].tolist() == [1, 2, 3]
    assert table["vol"].tolist() == [50_000] * 3
    assert plan.cells_of(numbers).vol.tolist() == [50_000] * 3


@given(
    st.lists(st.sampled_from(GRID.axes[0].values), min_size=1),
    st.lists(st.sampled_from(GRID.axes[3].values), min_size=1),
)
def test_a_selection_is_the_rows_of_everything_that_have_its_values(
    strikes: list[float], rates: list[float]
) -> None:
    everything = cells({})
    kept = np.isin(everything["strike"], strikes) & np.isin(everything["rate"], rates)
    some = cells({"strike": strikes, "rate": rates})
    for name, column in some.items():
        np.testing.assert_array_equal(column, everything[name][kept])


DIVIDENDS = Grid(
    axes=(
        Axis("strike", (90.0, 100.0)),
        Axis(
            "cash_dividends",
            (
                Dividends((), (), "none"),
                Dividends((0.25,), (1.5,), "as announced, once"),
                Dividends((0.25, 0.75), (1.5, 2.0)),
            ),
        ),
        Axis("rate", (0.03, Curve((0.5, 1.0), (0.02, 0.03)), 0.01)),
        Axis("exercise_dates", (Dates((0.5,)), Dates((0.25, 0.5)))),
    ),
    fixed={"right": "put", "exercise": "bermudan", "spot": 100.0, "expiry": 1.0, "vol": 0.2},
)
ALL = {
    "cash_dividends": ["none", "as announced, once", "0.25:1.5;0.75:2.0"],
    "rate": ["0.03", "0.5:0.02;1.0:0.03", "0.01"],
    "exercise_dates": ["0.5", "0.25;0.5"],
}


@pytest.mark.parametrize(
    ("name", "selected", "positions"),
    [
        ("cash_dividends", "none", [0]),
        ("cash_dividends", "as announced, once", [1]),
        ("cash_dividends", "0.25:1.5;0.75:2.0", [2]),
        ("cash_dividends", "0.25:1.50; 0.75:2", [2]),
        ("cash_dividends", ["none", "0.25:1.5;0.75:2.0"], [0, 2]),
        ("rate", "0.5:0.02;1.0:0.03", [1]),
        ("rate", 0.01, [2]),
        ("rate", "0.030,0.01", [0, 2]),
        ("rate", "0.02:0.04", [0]),
        ("exercise_dates", "0.25;0.5", [1]),
        ("exercise_dates", 0.5, [0]),
    ],
)
def test_tables_select_by_label_or_text(
    name: str, selected: Selected, positions: list[int]
) -> None:
    plan = grid_plan(DIVIDENDS)
    table, numbers = select_cells(plan, {name: selected}, nearest=False, limit=None)
    expected = [ALL[name][position] for position in positions]
    assert list(dict.fromkeys(table[name].tolist())) == expected
    inputs = plan.cells_of(numbers)
    for column, texts in table.items():
        for cell in (0, -1):
            assert str(inputs.shown(column, cell)) == str(texts[cell])


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        ({"cash_dividends": "nonne"}, "cash_dividends: no row has nonne; did you mean 'none'?"),
        ({"cash_dividends": "5:6"}, "cash_dividends: no row has 5:6"),
        ({"barrier": 3}, "selection: 'barrier' is not an axis of this run"),
    ],
)
def test_a_table_that_is_not_there_is_refused(selected: dict[str, Selected], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        select_cells(grid_plan(DIVIDENDS), selected, nearest=False, limit=None)


def test_a_default_that_the_file_leaves_out_may_be_named() -> None:
    plan = grid_plan(DIVIDENDS)
    selected: dict[str, Selected] = {"dividend_model": "spot", "dividend_yield": 0, "strike": 90}
    assert len(select_cells(plan, selected, nearest=False, limit=None)[1]) == 18


# --- books ---


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"row": 3}, [3]),
        ({"row": "2:3"}, [2, 3]),
        ({"row": "4,1"}, [1, 4]),
        ({"right": "put"}, [1, 3]),
        ({"strike": 90}, [1, 4]),
        ({"strike": "95:105", "right": "call"}, [2]),
        ({"strike": "200:"}, []),
        ({"strike": 90, "right": "put"}, [1]),
        ({"vol": "0.3:"}, [3]),
        ({"symbol": "A"}, [1]),
        ({"symbol": ["B", "C D"]}, [2, 4]),
        ({"symbol": "A,B"}, [1, 2]),
        ({"symbol": "B,C"}, [3]),
        ({"symbol": "B:"}, [2, 3, 4]),
        ({"symbol": ":"}, [1, 2, 3, 4]),
        ({"quoted": "1.5"}, [1, 4]),
        ({"quoted": 1.5}, [1, 4]),
        ({"quoted": "2.5,n/a"}, [2, 3]),
        ({"quoted": "1.500"}, [1, 4]),
        ({"quoted": (2, None)}, [3]),
        ({"day": "2014-06-07"}, [2]),
        ({"day": "2014-06-07:2014-07-31"}, [2, 3]),
    ],
)
def test_rows_of_a_book_are_selected_by_number_and_by_column(
    selected: dict[str, Selected], expected: list[int]
) -> None:
    assert rows(selected) == expected


def test_nearest_and_limit_work_on_books_too() -> None:
    assert rows({"strike": 94}, nearest=True) == [1, 4]
    assert rows({"vol": 9}, nearest=True) == [3]
    assert rows({}, limit=2) == [1, 2]


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        ({"row": 5}, "row: 5 is not there; the nearest is 4"),
        ({"strike": 101}, "strike: 101 is not there; the nearest is 100"),
        ({"symbol": "C"}, "symbol: no row has C"),
        ({"symbol": "CD"}, "symbol: no row has CD; did you mean 'C D'?"),
        (
            {"quotes": 1},
            "selection: 'quotes' is not a column of this run; did you mean 'quoted'?;"
            " there are row, symbol, right, strike, vol, spot, rate, expiry, quoted, day, exercise,"
            " dividend_yield",
        ),
    ],
)
def test_what_a_book_does_not_have_is_refused(selected: dict[str, Selected], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        rows(selected)


def test_the_columns_of_a_book_come_in_file_order_with_words_as_words() -> None:
    table = select_rows(book_plan(), {"row": 2}, nearest=False, limit=None)[0]
    assert list(table)[:4] == ["row", "symbol", "right", "strike"]
    assert table["right"].tolist() == ["call"]
    assert table["exercise"].tolist() == ["european"]
    assert np.isnan(table["vol"]).all()


def test_the_largest_answer_fits_in_memory() -> None:
    assert selection.MAX_ROWS * 8 * 16 < 4e9


# --- pages ---


@pytest.mark.parametrize("limit", [1, 4, 5, 18, None])
def test_pages_by_offset_are_the_whole(limit: int | None) -> None:
    selected: dict[str, Selected] = {"strike": "95:", "vol": [0.1, 0.2]}
    whole = cells(selected)["rate"].tolist()
    step = limit or 7
    for offset in range(0, len(whole) + step, step):
        page = cells(selected, offset=offset, limit=limit)["rate"].tolist()
        assert page == whole[offset:][:limit]
    assert count_cells(grid_plan(), selected, nearest=False) == len(whole) == 24


def test_pages_of_a_book_are_its_rows() -> None:
    assert rows({}, offset=1, limit=2) == [2, 3]
    assert rows({"right": "call"}, offset=1) == [4]
    assert rows({"right": "call"}, offset=2**62) == []
    assert count_rows(book_plan(), {"right": "call"}, nearest=False) == 2


def test_count_and_pages_refuse_what_a_query_refuses() -> None:
    with pytest.raises(SpecError, match="strike: 91 is not there; the nearest is 90"):
        count_cells(grid_plan(), {"strike": 91}, nearest=False)
    assert count_cells(grid_plan(), {"strike": 91}, nearest=True) == 18
    with pytest.raises(SpecError, match="'day_' is not a column"):
        count_rows(book_plan(), {"day_": "2014"}, nearest=False)
