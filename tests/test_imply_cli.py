"""`pricer imply`: a book of quotes gets its vols, and is a book of options then."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pricer import Book, Market, Vanilla, implied_volatility
from pricer.bookprices import price_book
from pricer.cli import cli

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

HEADER = "id,right,exercise,spot,strike,expiry,rate,dividend_yield,vol,bid,ask,mid"
QUOTES = f"""\
{HEADER}
a,put,american,100,100,1,0.05,0.02,,7.9,8.1,8.5
b,C,european,100,110,0.5,0.05,0,25%,2.0,2.2,2.5
c,put,american,80,100,1,0.05,0.02,,19.0,20.0,20.0
d,put,american,90,100,1,0.05,0.02,0.3,-,12.0,
e,call,european,100,90,0.25,0.05,0,,4.0,5.0,4.0
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def document(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def error(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    return done.stderr


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    path = tmp_path / "quotes.csv"
    path.write_text(QUOTES, encoding="utf-8")
    return path


def test_a_price_is_midway_of_bid_and_ask(quotes: Path) -> None:
    found = document("imply", "--book", quotes)
    rows = found["vols"]
    assert (found["rows"], found["implied"], found["failed"]) == (5, 2, 3)
    market = Market(spot=100.0, rate=0.05, dividend_yield=0.02)
    expected = implied_volatility(Vanilla("put", 100.0, 1.0, "american"), market, 8.0)
    assert rows[0]["vol"] == float(expected.vol)
    assert [row["status"] for row in rows] == ["ok", "ok", "below", "invalid", "below"]
    assert [row["vol"] is None for row in rows] == [False, False, True, True, True]
    assert rows[3]["reason"] == "price is missing"
    assert rows[2]["reason"] == "price is below what the option is worth without vol"
    assert found["failures"] == [
        {"status": "below", "reason": rows[2]["reason"], "count": 2, "row": 3},
        {"status": "invalid", "reason": "price is missing", "count": 1, "row": 4},
    ]


def test_a_price_comes_from_the_column_that_is_named(quotes: Path) -> None:
    rows = document("imply", "--book", quotes, "--column", "price=mid")["vols"]
    statuses = [row["status"] for row in rows]
    assert statuses == ["ok", "ok", "exercised", "invalid", "below"]
    assert rows[0]["price"] == "8.5"
    assert rows[0]["vol"] > document("imply", "--book", quotes)["vols"][0]["vol"]


def test_columns_pass_through_and_the_vols_of_the_book_are_no_input(quotes: Path) -> None:
    rows = document("imply", "--book", quotes)["vols"]
    inputs = ["right", "exercise", "spot", "strike", "expiry", "rate", "dividend_yield"]
    assert list(rows[0]) == [
        *("row", "id", *inputs, "book_vol", "bid", "ask", "mid", "vol", "status", "reason")
    ]
    assert [row["book_vol"] for row in rows] == ["", "25%", "", "0.3", ""]
    assert [row["id"] for row in rows] == list("abcde")


def test_a_book_needs_no_column_of_vols(tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text(
        "right,spot,strike,expiry,rate,implied_volatility,price\nput,100,100,1,0.05,?,8\n",
        encoding="utf-8",
    )
    [row] = document("imply", "--book", path)["vols"]
    assert row["status"] == "ok"
    assert row["exercise"] == "european"


def test_the_output_is_a_book_whose_prices_are_the_quotes(quotes: Path, tmp_path: Path) -> None:
    output = tmp_path / "vols.csv"
    done = run("imply", "--book", quotes, "--output", output)
    assert done.exit_code == 0, done.output
    book = Book.parse(output.read_text(encoding="utf-8"), columns={})
    priced = price_book(book).table
    assert priced["price"][:2] == pytest.approx([8.0, 2.1], abs=1e-6)
    with output.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["vol"] == "" for row in rows] == [False, False, True, True, True]


def test_expiries_may_be_dates(tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text(
        "right,spot,strike,expiry_date,rate,price\ncall,100,100,2015-06-06,0.05,12\n",
        encoding="utf-8",
    )
    [row] = document("imply", "--book", path, "--valuation-date", "2014-06-06")["vols"]
    assert row["expiry"] == 1.0
    assert row["status"] == "ok"


def test_a_table_shows_vols_and_why_some_are_not_there(quotes: Path) -> None:
    done = run("imply", "--book", quotes)
    assert done.exit_code == 0
    assert "vol" in done.stdout.splitlines()[0].split()
    assert "with a vol" in done.stdout
    assert "price is missing (e.g. row 4)" in done.stdout


def test_a_narrow_screen_keeps_the_vols(quotes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    header = run("imply", "--book", quotes).stdout.splitlines()[0].split()
    assert "vol" in header
    assert "status" in header


def test_a_looser_tolerance_is_another_vol(quotes: Path) -> None:
    rows = [
        document("imply", "--book", quotes, "--tolerance", tolerance)["vols"][0]["vol"]
        for tolerance in ("1e-5", "1e-9")
    ]
    assert rows[0] != rows[1]
    assert math.isclose(*rows, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "right,spot,strike,expiry,rate,prize\nput,100,100,1,0.05,8\n",
            "there is no column 'price', nor both 'bid' and 'ask'; did you mean 'prize'?;"
            " the file has right, spot, strike, expiry, rate, prize",
        ),
        (
            "right,spot,strike,expiry,rate,bid\nput,100,100,1,0.05,8\n",
            "there is no column 'price', nor both 'bid' and 'ask'",
        ),
        (
            "right,spot,strike,expiry,rate,price\nput,100,100,1,0.05,8\nput,100,100,1,0.05,8%\n",
            "row 2, column 'price': must be a number, got '8%'; write 0.08",
        ),
    ],
)
def test_a_book_that_has_no_prices_says_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text(text, encoding="utf-8")
    said = error("imply", "--book", path)
    assert said.startswith(f"Error: {path}: ")
    assert words in said


def test_a_vol_cannot_be_mapped(quotes: Path) -> None:
    said = error("imply", "--book", quotes, "--column", "vol=mid")
    assert "column vol=mid: must set one of type, right, " in said
    assert "price, bid, ask" in said
