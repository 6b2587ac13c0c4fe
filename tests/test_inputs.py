"""Rows of a book: each is read as the type of its contract says."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer.book import Book
from pricer.cells import broadcast
from pricer.claims import claims_of
from pricer.contracts import CONTRACTS, INPUTS, WORDS, Market, code_of, inputs_of
from pricer.dated import Curve, Dates, Dividends, table_text
from pricer.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKET: dict[str, Any] = {"spot": 100.0, "vol": 0.2, "rate": 0.05}
ROWS: dict[str, dict[str, Any]] = {
    "vanilla": {"right": "put", "exercise": "american", "strike": 95.0, "expiry": 1.0},
    "digital": {"right": "call", "strike": 95.0, "expiry": 1.0, "cash": 10.0},
    "barrier": {
        "right": "call", "strike": 95.0, "expiry": 1.0, "barrier": 90.0, "rebate": 3.0,
        "barrier_type": "down_out", "payment": "at_expiry",
    },
    "double_barrier": {
        "right": "put", "strike": 95.0, "expiry": 1.0, "lower_barrier": 80.0,
        "upper_barrier": 120.0, "barrier_type": "knock_in",
    },
    "touch": {"direction": "up", "expiry": 1.0, "barrier": 110.0, "payoff": "asset_or_nothing"},
    "double_touch": {
        "expiry": 1.0, "lower_barrier": 80.0, "upper_barrier": 120.0, "touch_type": "no_touch",
    },
}  # fmt: skip


def text_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a book of these rows, as CSV."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def book_of(*rows: dict[str, Any], **arguments: Any) -> Book:
    return Book.parse(text_of([MARKET | row for row in rows]), **arguments)


def typed(kind: str, **changed: Any) -> dict[str, Any]:
    return {"type": kind} | ROWS[kind] | changed


def error_of(*rows: dict[str, Any], **arguments: Any) -> str:
    with pytest.raises(SpecError) as caught:
        book_of(*rows, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix("book.csv: ")


@pytest.mark.parametrize("company", [(), tuple(ROWS)])
@pytest.mark.parametrize("kind", ROWS)
def test_a_row_is_the_contract_that_python_would_make_of_it(
    kind: str, company: tuple[str, ...]
) -> None:
    book = book_of(typed(kind), *map(typed, company))
    parts = (
        {f.name: (MARKET | ROWS[kind]).get(f.name) for f in fields(part)}
        for part in (CONTRACTS[kind], Market)
    )
    contract, market = ({n: v for n, v in part.items() if v is not None} for part in parts)
    expected, _ = broadcast(CONTRACTS[kind](**contract), Market(**market))
    assert book.cells.valid().all()
    found, wanted = claims_of(book.cells[:1]), claims_of(expected)
    for f in fields(wanted):
        assert getattr(found, f.name) == getattr(wanted, f.name), f.name
    for name in inputs_of(kind):
        assert book.cells.shown(name, 0) == expected.shown(name, 0), name


def test_a_blank_type_is_a_vanilla() -> None:
    book = book_of(typed("digital"), ROWS["vanilla"])
    assert book.cells.type.tolist() == [1, 0]
    same = book_of(typed("digital"), typed("vanilla"))
    assert same.identity() == book.identity()


def test_what_is_blank_is_the_default_of_the_row_s_type() -> None:
    book = book_of(
        typed("barrier", payoff="", rebate="", cash="", exercise=""),
        typed("digital", payoff="", cash="n/a"),
        typed("barrier", payoff="cash_or_nothing", cash=7, exercise="american"),
    )
    assert book.cells.payoff.tolist() == [0, 1, 1]
    assert book.cells.cash.tolist() == [1.0, 1.0, 7.0]
    assert book.cells.rebate[[0, 2]].tolist() == [0.0, 3.0]
    assert book.cells.exercise[[0, 2]].tolist() == [0, 1]
    assert book.cells.valid().all()


def test_a_number_without_a_default_or_a_blank_yield_makes_its_own_row_invalid() -> None:
    book = book_of(
        typed("touch", barrier=""),
        typed("touch", dividend_yield=""),
        typed("touch", dividend_yield=0.01),
    )
    assert [book.cells.reason(row) for row in range(3)] == [
        "dividend_yield is missing; barrier is missing",
        "dividend_yield is missing",
        "",
    ]


@pytest.mark.parametrize(
    ("row", "column", "rule"),
    [
        (typed("vanilla", barrier=95), "barrier", "a vanilla has none, got '95'"),
        (typed("touch", strike=100), "strike", "a touch has none, got '100'"),
        (typed("double_touch", right="put"), "right", "a double touch has none, got 'put'"),
        (
            typed("digital", exercise_dates="0.5"),
            "exercise_dates",
            "a digital has none, got '0.5'",
        ),
    ],
)
def test_what_its_type_does_not_have_must_be_blank(
    row: dict[str, Any], column: str, rule: str
) -> None:
    rows = [typed("barrier", exercise_dates=""), typed("vanilla"), row]
    message = f"row 3 (line 4), column {column!r}: must be blank, since {rule}"
    assert error_of(*rows) == message


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (
            typed("barrier", barrier_type="knock_out"),
            "must be down_out or down_in or up_out or up_in, got 'knock_out'",
        ),
        (typed("barrier", barrier_type=""), "column 'barrier_type': must be down_out or down_in"),
        (
            typed("barrier", barrier_type="down-out"),
            "got 'down-out'; did you mean 'down_out'?",
        ),
        (typed("touch", payoff="vanilla"), "must be cash_or_nothing or asset_or_nothing, got"),
        (ROWS["barrier"] | {"type": "barier"}, "got 'barier'; did you mean 'barrier'?"),
    ],
)
def test_a_word_that_its_type_does_not_know_is_an_error(row: dict[str, Any], rule: str) -> None:
    assert rule in error_of(row)


@pytest.mark.parametrize(
    ("missing", "kinds"),
    [("barrier_type", ["barrier", "touch"]), ("strike", ["vanilla"]), ("direction", ["touch"])],
)
def test_a_column_that_one_of_the_types_needs_must_be_there(missing: str, kinds: list[str]) -> None:
    rows = [{n: v for n, v in typed(kind).items() if n != missing} for kind in kinds]
    assert error_of(*rows).startswith(f"there is no column {missing!r}; the file has ")


def test_a_column_that_no_type_needs_may_be_absent() -> None:
    book = book_of(typed("touch"), typed("double_touch"))
    assert not {"strike", "right", "exercise"} & set(book.columns)
    assert "strike" not in book.cells.columns


@pytest.mark.parametrize(
    ("column", "meant"),
    [("Barrier_Typ", "barrier_type"), ("cash_dividend", "cash_dividends"), ("Type", "type")],
)
def test_a_near_miss_of_an_input_is_an_error(column: str, meant: str) -> None:
    row = typed("vanilla" if meant == "type" else "barrier", cash_dividends="")
    row = {column if name == meant else name: value for name, value in row.items()}
    assert error_of(row).startswith(f"column {column!r} is not known; did you mean {meant!r}?")


@pytest.mark.parametrize("column", ["barrier", "barrier_type", "monitoring_dates"])
def test_a_book_without_types_cannot_mean_a_barrier(column: str) -> None:
    message = f"column {column!r} is no input of a vanilla; a column 'type' says what each row is"
    assert error_of(ROWS["vanilla"] | {column: ""}) == message
    assert error_of({"Type": "barrier"} | ROWS["barrier"]).endswith("; did you mean 'Type'?")
    with pytest.raises(SpecError, match="column 'rebate' is no input of a vanilla"):
        book_of(ROWS["vanilla"] | {"r": 1}, columns={"rebate": "r"})


def test_a_book_without_types_may_call_its_own_columns_as_other_inputs() -> None:
    own = {"direction": "long", "cash": "1,000", "payoff": "", "dividend_date": "June"}
    book = book_of(ROWS["vanilla"] | {"dividend_yield": 0.0} | own)
    assert {name: texts.tolist() for name, texts in book.texts.items()} == {
        name: [value] for name, value in own.items()
    }
    assert list(book.cells.columns) == [*INPUTS[:8]]


# --- tables ---

DIVIDENDS = Dividends((0.25, 0.75), (1.5, 1.25))


def test_tables_are_read_from_their_text() -> None:
    bermudan = ROWS["vanilla"] | {"exercise": "bermudan", "exercise_dates": "0.25; 0.5"}
    book = book_of(
        bermudan | {"cash_dividends": "0.25:1.5;0.75:1.25", "vol": "0.5:0.2;1:0.3"},
        ROWS["vanilla"] | {"cash_dividends": "none", "proportional_dividends": "0.5:0.01"},
        ROWS["vanilla"] | {"cash_dividends": " 0.25 : 1.50 ; 0.75:1.25;", "rate": "1:0.05"},
    )
    cells = book.cells
    assert cells.valid().all()
    first, second, third = ([cells.shown(name, row) for name in INPUTS] for row in range(3))
    assert first[INPUTS.index("exercise_dates")] == "0.25;0.5"
    assert first[INPUTS.index("cash_dividends")] == table_text(DIVIDENDS)
    assert first[INPUTS.index("vol")] == "0.5:0.2;1.0:0.3"
    assert second[INPUTS.index("cash_dividends")] is None
    assert second[INPUTS.index("vol")] == 0.2
    assert third[INPUTS.index("rate")] == 0.05
    assert cells.cash_dividends[0] == cells.cash_dividends[2]
    assert set(cells.tables) == {
        Curve((0.5, 1.0), (0.2, 0.3)), Dates((0.25, 0.5)), DIVIDENDS, Dividends((0.5,), (0.01,)),
    }  # fmt: skip
    assert "rate_curve" not in cells.columns


def test_a_book_is_the_same_however_its_tables_are_spelt() -> None:
    spelt = [ROWS["vanilla"] | {"cash_dividends": text} for text in ("0.25:1.5;0.75:1", "")]
    other = [ROWS["vanilla"] | {"cash_dividends": text} for text in ("2.5e-1:1.50;.75:1", "nan")]
    assert book_of(*spelt).identity() == book_of(*other).identity()
    third = [ROWS["vanilla"] | {"cash_dividends": text} for text in ("0.25:1.5;0.75:1.1", "")]
    assert book_of(*spelt).identity() != book_of(*third).identity()


def test_a_book_is_the_same_however_many_rows_are_read_at_once() -> None:
    rows = [
        typed(
            "vanilla",
            vol=f"0.5:0.2;1:0.{i + 21}" if i % 3 else 0.25,
            cash_dividends=f"0.25:{i % 7}.5" if i % 2 else "",
            exercise="bermudan",
            exercise_dates="0.25;0.5" if i > 1500 else "0.5",
        )
        for i in range(2100)
    ]
    text = text_of([MARKET | row for row in rows])
    table = {name: [(MARKET | row)[name] for row in rows] for name in (MARKET | rows[0])}
    assert Book.from_columns(table, "book.csv").identity() == Book.parse(text).identity()


def test_times_in_tables_may_be_dates_where_there_is_a_valuation_date() -> None:
    dated = ROWS["vanilla"] | {
        "exercise": "bermudan", "exercise_dates": "2014-08-07;0.5;2015-06-05",
        "cash_dividends": "2014-08-07:0.47", "expiry_date": "2015-06-06",
    }  # fmt: skip
    cells = book_of(dated, valuation_date="2014-06-06").cells
    assert Dates((62 / 365, 0.5, 364 / 365)) in cells.tables
    assert Dividends((62 / 365,), (0.47,)) in cells.tables
    assert "'cash_dividends': needs the valuation date from which 2014-08-07 counts" in error_of(
        ROWS["vanilla"] | {"cash_dividends": "2014-08-07:0.47"}
    )


@pytest.mark.parametrize(
    ("column", "text", "rule"),
    [
        ("cash_dividends", "1.5", "must be as 0.25:1.5;0.75:1.5, got '1.5'"),
        ("cash_dividends", "a:1", "must be numbers as 0.25:1.5;0.75:1.5, got 'a:1'"),
        ("cash_dividends", "0.5:-1", "dividends: amounts must not be negative, got -1.0"),
        ("cash_dividends", "0.5:1;0.5:1", "dividends: times must increase, got 0.5 then 0.5"),
        ("exercise_dates", "0.5:1", "must be as 0.25;0.5, got '0.5:1'"),
        ("exercise_dates", "0;1", "dates: times must be above 0, in years from now, got 0.0"),
        ("vol", "0.5:0.2;1:-0.2", "must not be negative, got -0.2"),
        ("rate", "0.5:0.2;1:25%", "must be numbers as 0.25:1.5;0.75:1.5, got '0.5:0.2;1:25%'"),
        ("vol", "25%", "must be a number, got '25%'; write 0.25"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error_with_its_place(
    column: str, text: str, rule: str
) -> None:
    good = ROWS["vanilla"] | {"cash_dividends": "", "exercise_dates": "", "vol": "1:0.2;2:0.3"}
    message = f"row 2 (line 3), column {column!r}: {rule}"
    assert error_of(good, good | {column: text}, good) == message


def test_the_dividend_model_is_shown_beside_cash_dividends() -> None:
    book = book_of(ROWS["vanilla"] | {"cash_dividends": "0.25:1.5"})
    assert book.columns[-3:] == ("cash_dividends", "dividend_yield", "dividend_model")
    assert book.cells.shown("dividend_model", 0) == "spot"
    assert "dividend_model" not in book_of(ROWS["vanilla"]).columns


def test_a_default_that_cells_do_not_share_is_kept_and_not_shown() -> None:
    book = book_of(typed("touch", payoff=""), typed("vanilla"))
    given = book_of({n: v for n, v in typed("touch").items() if n != "payoff"}, typed("vanilla"))
    assert given.cells.payoff[0] == WORDS["payoff"]["cash_or_nothing"]
    assert "payoff" in book.columns
    assert "payoff" not in given.columns


def test_a_word_may_be_told_which_words_it_can_be() -> None:
    assert code_of("payoff", " Gap ", ("vanilla", "gap")) == WORDS["payoff"]["gap"]
    with pytest.raises(SpecError, match="payoff: must be vanilla or gap, got 'cash_or_nothing'"):
        code_of("payoff", "cash_or_nothing", ("vanilla", "gap"))


def test_the_book_of_the_docs_is_read() -> None:
    docs = Path(__file__).parents[1] / "docs" / "cli.md"
    books = docs.read_text(encoding="utf-8").partition("\n## Books\n")[2]
    book = Book.parse(books.split("```")[1].strip())
    assert book.cells.valid().all()
    assert book.columns[-2:] == ("dividend_yield", "dividend_model")


def test_columns_of_a_typed_table_may_lack_values() -> None:
    rows = [MARKET | typed("barrier", cash_dividends="0.25:1"), MARKET | typed("touch")]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
    table["strike"] = np.array([95.0, np.nan])
    table["rebate"] = np.array([3.0, np.nan])
    book = Book.from_columns(table, "book.csv")
    assert book.identity() == Book.parse(text_of(rows)).identity()
