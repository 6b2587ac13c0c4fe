"""The command line through its entry point: what it prints, in which form, with which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import click
import pytest
from click.testing import CliRunner

import pricer
from pricer.cli import cli
from pricer.compiled import kernel_version, kernels
from pricer.contracts import INPUTS
from pricer.estimate import Measured

if TYPE_CHECKING:
    from click.testing import Result

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("pricer")
DOCS = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

ONE = [
    *("price", "--right", "put", "--exercise", "american", "--spot", "100", "--strike", "100"),
    *("--expiry", "1", "--vol", "0.25", "--rate", "0.05", "--dividend-yield", "0.02"),
]

GRID = """
name = "small"
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 90.0, stop = 110.0, count = 5 }
strike = [95.0, 100.0]
expiry = [0.5, 1.0]
vol = 0.2
rate = [0.01, 0.05]
[method]
tolerance = 1e-4
measures = ["price", "delta"]
"""

BOOK = """\
id,desk,right,exercise,spot,strike,expiry,vol,rate,bid,ask
a1,rates,P,american,100,100,1,0.25,0.05,7.90,8.05
a2,rates,call,european,100,100,0.5,,0.05,6.0,6.2
a3,index,c,European,100,110,0.5,0.2,0.05,2.0,2.1
a4,index,call,european,100,110,0.5,-0.2,0.05,,2.1
"""

TABLE_KEYS = ["right", "spot", "strike", "expiry", "vol", "rate"]
RESULT_KEYS = ["price", "delta", "error", "status"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def output(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    return result.stdout


def document(*arguments: object) -> Any:
    return json.loads(output(*arguments, "--json"))


def error(*arguments: object) -> str:
    """Run a command that must fail with one line on stderr, and return the line."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")


def usage_error(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Compile the kernels first, so that no test sees the line that says so."""
    kernels()


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID, encoding="utf-8")
    return path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.csv"
    path.write_text(BOOK, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with a run of the grid, and before it one of the book."""
    folder = tmp_path_factory.mktemp("store")
    url = f"sqlite:///{folder / 'runs.db'}"
    for name, text in (("book.csv", BOOK), ("grid.toml", GRID)):
        (folder / name).write_text(text, encoding="utf-8")
        output("submit", folder / name, "--store", url)
    return url


# One option


def test_one_option_shows_every_measure_its_error_and_its_method() -> None:
    text = output(*ONE)
    for word in ("American put", "dividend yield 0.02", "price", "±", "dividend rho"):
        assert word in text
    assert "ok, by finite difference" in text


def test_one_option_as_json_has_every_measure_error_status_and_method() -> None:
    found = document(*ONE)
    assert list(found) == [
        *("right", "exercise", "spot", "strike", "expiry", "vol", "rate", "dividend_yield"),
        *("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho"),
        *("error", "status", "method", "reason"),
    ]
    assert found["right"] == "put"
    assert found["reason"] == ""
    assert found["status"] == "ok"
    assert found["method"] == "finite_difference"
    assert found["error"] <= 1e-5 * 100
    # As the library says it, every bit of it.
    prices = pricer.price(
        pricer.Vanilla(right="put", exercise="american", strike=100.0, expiry=1.0),
        pricer.Market(spot=100.0, vol=0.25, rate=0.05, dividend_yield=0.02),
    )
    assert prices.price is not None
    assert found["price"] == float(prices.price)


def test_a_measure_that_is_not_asked_for_is_null() -> None:
    found = document(*ONE, "--measures", "price, delta")
    assert found["delta"] < 0
    assert found["gamma"] is None
    assert "gamma" not in output(*ONE, "--measures", "price,delta")


def test_short_words_mean_the_full_ones() -> None:
    assert document("price", "--right", "P", *ONE[3:])["right"] == "put"


def test_an_option_without_a_price_says_why() -> None:
    escrowed = ("--cash-dividends", "0.5:1", "--dividend-model", "escrowed")
    knocked = ("--type", "barrier", "--barrier", "90", "--barrier-type", "down_out")
    result = run(*ONE, *knocked, *escrowed, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["price"], found["status"]) == (None, "unsupported")
    assert found["reason"]
    reason = f"american down out put barrier: unsupported: {found['reason']}"
    assert error(*ONE, *knocked, *escrowed) == reason


def test_an_option_beyond_the_work_limit_has_its_price_and_says_so() -> None:
    assert "tolerance not reached within the work limit" in output(*ONE, "--tolerance", "1e-12")


def test_a_rate_may_be_negative() -> None:
    assert document(*ONE, "--rate", "-0.01")["rate"] == -0.01


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--vol", "25%", "--vol: must be a number, got '25%'; write 0.25"),
        ("--vol", "abc", "--vol: must be a number, got 'abc'"),
        ("--vol", "nan", "--vol: must be a number, got 'nan'"),
        ("--vol", "-0.1", "vol: must not be negative, got -0.1"),
        ("--spot", "inf", "spot: must be finite, got inf"),
        ("--right", "pot", "right: must be call or put, got 'pot'; did you mean 'put'?"),
        ("--method", "magic", "method: must be one of"),
        ("--method", "analytic", "method: must be auto or finite_difference for american"),
        ("--tolerance", "0", "tolerance: must lie between 1e-12 and 1, got 0.0"),
        ("--measures", "price,delat", "got 'delat'; did you mean 'delta'?"),
    ],
)
def test_an_input_that_cannot_be_is_one_line(option: str, value: str, message: str) -> None:
    assert message in error(*ONE, option, value)


def test_what_is_missing_is_named() -> None:
    message = usage_error("price", "--right", "put", "--spot", "0")
    assert "missing --strike, --expiry, --vol, --rate; or give --book FILE" in message
    assert "--output is for a book" in usage_error(*ONE, "--output", "x.csv")
    assert "--spot is for one option" in usage_error("price", "--book", "b.csv", "--spot", "1")


# One option of every type

PLAIN = ("--spot", "100", "--expiry", "1", "--vol", "0.25", "--rate", "0.05")
BARRIER = ("--barrier", "90", "--barrier-type", "down_out", "--strike", "100", "--right", "c")
BETWEEN = ("--lower-barrier", "80", "--upper-barrier", "120")


@pytest.mark.parametrize(
    ("arguments", "title", "keys"),
    [
        (
            ("digital", "--right", "call", "--strike", "100", "--cash", "10"),
            "Call digital",
            ["type", "right", "spot", "strike", "expiry", "vol", "rate", "dividend_yield", "cash"],
        ),
        (
            ("barrier", *BARRIER, "--rebate", "3"),
            "European down out call barrier",
            [
                *("type", "right", "exercise", "spot", "strike", "expiry", "vol", "rate"),
                *("dividend_yield", "barrier_type", "barrier", "rebate"),
            ],
        ),
        (
            ("touch", "--direction", "up", "--barrier", "110", "--payoff", "asset_or_nothing"),
            "Up asset or nothing touch",
            [
                *("type", "spot", "expiry", "vol", "rate", "dividend_yield", "direction"),
                *("barrier", "payoff"),
            ],
        ),
        (
            ("double_touch", *BETWEEN, "--touch-type", "no_touch"),
            "No touch double touch",
            [
                *("type", "spot", "expiry", "vol", "rate", "dividend_yield", "touch_type"),
                *("lower_barrier", "upper_barrier"),
            ],
        ),
    ],
)
def test_an_option_of_any_type_shows_what_it_is(
    arguments: tuple[str, ...], title: str, keys: list[str]
) -> None:
    given = ("price", *PLAIN, "--type", *arguments)
    found = document(*given)
    assert list(found) == [*keys, *pricer.MEASURES, "error", "status", "method", "reason"]
    assert (found["type"], found["status"], found["method"]) == (arguments[0], "ok", "analytic")
    assert output(*given).splitlines()[0] == title


def test_a_curve_is_worth_its_mean() -> None:
    one = ("price", "--right", "call", "--strike", "100", *PLAIN)
    found = document(*one, "--vol", "0.5:0.2;1:0.3", "--rate", "1:0.05")
    assert (found["vol"], found["rate"]) == ("0.5:0.2;1.0:0.3", 0.05)
    constant = document(*one, "--vol", str((0.5 * 0.2**2 + 0.5 * 0.3**2) ** 0.5))
    assert found["price"] == pytest.approx(constant["price"], abs=1e-9)


def test_the_dividend_model_is_told_beside_cash_dividends() -> None:
    one = ("price", "--right", "call", "--strike", "100", *PLAIN, "--cash-dividends", "0.25:1.5")
    found = document(*one, "--dividend-model", "escrowed")
    assert (found["cash_dividends"], found["dividend_model"]) == ("0.25:1.5", "escrowed")
    assert "cash dividends 0.25:1.5, dividend model escrowed" in output(
        *one, "--dividend-model", "escrowed"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--barrier", "95"), "--barrier is not for a vanilla: add --type barrier or touch"),
        (("--type", "touch", "--strike", "1"), "--strike is not for a touch: add --type vanilla"),
        (
            ("--type", "barrier", *PLAIN),
            "missing --right, --strike, --barrier-type, --barrier; or give --book FILE",
        ),
    ],
)
def test_what_a_type_lacks_or_does_not_have_is_named(
    arguments: tuple[str, ...], message: str
) -> None:
    assert message in usage_error("price", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--type", "barier"), "type: must be vanilla or digital or barrier or double_barrier"),
        (("--cash-dividends", "1.5"), "--cash-dividends: must be as 0.25:1.5;0.75:1.5, got '1.5'"),
        (("--exercise-dates", "1;0.5"), "--exercise-dates: dates: times must increase, got 1.0"),
        (("--vol", "0.5:x"), "--vol: must be numbers as 0.25:1.5;0.75:1.5, got '0.5:x'"),
        (("--vol", "1:0.2;2:-0.1"), "vol: must not be negative, got -0.1"),
        (("--exercise", "bermudan"), "exercise_dates: is missing"),
    ],
)
def test_a_table_or_word_that_cannot_be_is_one_line(
    arguments: tuple[str, ...], message: str
) -> None:
    assert message in error(*ONE, *arguments)


def test_the_inputs_of_a_vanilla_come_first_in_the_help() -> None:
    text = output("price", "--help")
    first = [text.index(f"  --{name.replace('_', '-')} ") for name in (*INPUTS[:8], "type")]
    others = [text.index(f"  --{name.replace('_', '-')} ") for name in INPUTS[8:]]
    assert first == sorted(first)
    assert others == sorted(others)
    assert first[-1] < others[0]


# A book straight through


def test_a_book_is_priced_row_by_row_and_odd_rows_say_why(book: Path) -> None:
    found = document("price", "--book", book)
    assert [row["id"] for row in found["prices"]] == ["a1", "a2", "a3", "a4"]
    assert [row["status"] for row in found["prices"]] == ["ok", "invalid", "ok", "invalid"]
    assert [row["reason"] for row in found["prices"]] == [
        "",
        "vol is missing",
        "",
        "vol must not be negative, got -0.2",
    ]
    assert found["prices"][1]["price"] is None
    assert found["failures"] == [
        {"status": "invalid", "reason": "vol is missing", "count": 1, "row": 2},
        {"status": "invalid", "reason": "vol must not be negative", "count": 1, "row": 4},
    ]


MIXED = """\
id,type,right,spot,strike,expiry,vol,rate,barrier,barrier_type,rebate,direction,proportional_dividends
a,,put,100,100,1,0.2,0.05,,,,,0.25:0.01;0.75:0.02
b,barrier,call,100,100,1,0.2,0.05,90,down_out,3,,
c,touch,,100,,1,0.2,0.05,110,,,up,
d,digital,call,100,105,1,0.2,0.05,,,,,
e,barrier,call,100,100,1,0.2,0.05,-90,up_in,,,
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.csv"
    path.write_text(MIXED, encoding="utf-8")
    return path


def test_a_book_of_every_type_has_the_price_of_each_row(mixed: Path, tmp_path: Path) -> None:
    found = document("price", "--book", mixed)
    market = pricer.Market(spot=100.0, vol=0.2, rate=0.05)
    dividends = pricer.Dividends((0.25, 0.75), (0.01, 0.02))
    paying = replace(market, proportional_dividends=dividends)
    common: dict[str, Any] = {"right": "call", "strike": 100.0, "expiry": 1.0}
    expected = [
        pricer.price(pricer.Vanilla(**common | {"right": "put"}), paying),
        pricer.price(
            pricer.Barrier(**common, barrier=90.0, barrier_type="down_out", rebate=3.0), market
        ),
        pricer.price(pricer.Touch(direction="up", expiry=1.0, barrier=110.0), market),
        pricer.price(pricer.Digital(**common | {"strike": 105.0}), market),
    ]
    for row, prices in zip(found["prices"], expected, strict=False):
        assert prices.price is not None
        assert row["price"] == pytest.approx(float(prices.price), abs=2 * float(prices.error))
    assert [row["type"] for row in found["prices"]] == [
        *("vanilla", "barrier", "touch", "digital", "barrier")
    ]
    assert found["prices"][4]["reason"] == "barrier must be above 0, got -90.0"
    assert found["prices"][0]["proportional_dividends"] == "0.25:0.01;0.75:0.02"
    touch = found["prices"][2]
    assert (touch["right"], touch["strike"], touch["direction"]) == ("", None, "up")
    file = tmp_path / "prices.csv"
    output("price", "--book", mixed, "--output", file)
    again = document("price", "--book", file)
    assert [row["price"] for row in again["prices"]] == [row["price"] for row in found["prices"]]


def test_a_run_of_every_type_is_queried_by_its_words_and_tables(mixed: Path) -> None:
    submitted = document("submit", mixed)["run"]
    found = json.loads(output("query", submitted, "type=barrier,touch", "--format", "json"))
    assert [row["id"] for row in found] == ["b", "c", "e"]
    (one,) = json.loads(
        output("query", submitted, "proportional_dividends=0.25:0.01;0.75:0.02", "--json")
    )
    assert (one["id"], one["barrier_type"], one["barrier"]) == ("a", "", None)
    text = output("status", submitted)
    assert "barrier must be above 0" in text
    assert "type barrier, right call, spot 100, strike 100" in text
    assert "barrier -90" in text
    assert "rebate" not in text


def test_a_book_counts_what_lies_inside_bid_and_ask(book: Path) -> None:
    found = document("price", "--book", book)
    counts = {name: found[name] for name in ("rows", "priced", "ok", "failed")}
    assert counts == {"rows": 4, "priced": 2, "ok": 2, "failed": 2}
    # a3 is worth 2.91; its quotes say 2.0 to 2.1.
    assert (found["quoted"], found["inside_bid_ask"]) == (2, 1)
    text = output("price", "--book", book)
    assert "vol is missing (e.g. row 2)" in text
    assert "50 % of the 2 priced with a bid and an ask" in text


def test_a_book_without_quotes_says_nothing_of_them() -> None:
    found = document("price", "--book", ROOT / "examples" / "book.csv", "--measures", "price")
    assert found["quoted"] is None
    assert found["rows"] == found["ok"] > 200
    assert "inside" not in output("price", "--book", ROOT / "examples" / "book.csv")


def test_a_book_goes_to_a_file_with_its_own_columns(book: Path, tmp_path: Path) -> None:
    target = tmp_path / "prices.csv"
    found = document("price", "--book", book, "--output", target)
    assert "prices" not in found
    assert found["output"] == str(target)
    with target.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["desk"] for row in rows] == ["rates", "rates", "index", "index"]
    assert [row["right"] for row in rows] == ["put", "call", "call", "call"]
    assert rows[1]["price"] == ""
    assert float(rows[0]["price"]) == document("price", "--book", book)["prices"][0]["price"]


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_a_book_goes_to_json_and_parquet_too(book: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"prices.{suffix}"
    assert str(target) in output("price", "--book", book, "--output", target)
    if suffix == "json":
        rows = json.loads(target.read_text(encoding="utf-8"))
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(target).to_pylist()
    assert [row["id"] for row in rows] == ["a1", "a2", "a3", "a4"]
    assert rows[0]["status"] == "ok"


def test_a_parquet_book_gives_the_prices_of_its_csv(book: Path, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    with book.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    numbers = {"spot", "strike", "expiry", "vol", "rate"}
    columns = {
        name: [(float(r[name]) if r[name] else None) if name in numbers else r[name] for r in rows]
        for name in rows[0]
    }
    path = tmp_path / "book.parquet"
    pq.write_table(pa.table(columns), path)
    assert [row["price"] for row in document("price", "--book", path)["prices"]] == [
        row["price"] for row in document("price", "--book", book)["prices"]
    ]
    path.write_bytes(b"PAR2")
    assert "is not Parquet" in error("price", "--book", path)


def test_columns_may_have_other_names_and_expiries_be_dates(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_text(
        "right,spot,strike,expiry_date,iv,rate\nput,100,90,2026-12-31,0.2,0.01\n", encoding="utf-8"
    )
    found = document(
        *("price", "--book", path, "--column", "vol=iv", "--valuation-date", "2025-12-31")
    )
    assert found["prices"][0]["vol"] == 0.2
    assert found["prices"][0]["expiry"] == 1.0
    assert "did you mean" in error("price", "--book", path, "--column", "vol=ivv")
    assert "2025-13-01" in error(
        *("price", "--book", path, "--column", "vol=iv", "--valuation-date", "2025-13-01")
    )
    assert "must be written as vol=vol_from_mid" in usage_error(
        *("price", "--book", path, "--column", "iv")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "b.csv: is empty"),
        ("right,spot\n", "b.csv: "),
        ("right,spot,strike,expiry,vol,rate\n", "at least one row"),
        ("right,spot,strike,expiry,rate\nput,1,1,1,0\n", "there is no column 'vol'"),
        ("right,spot,strike,expiry,voll,rate\nput,1,1,1,1,0\n", "did you mean 'vol'?"),
        (
            "right,spot,strike,expiry,vol,rate\nput,1,1,1,0.2,0\nput,1,1,1,25%,0\n",
            "row 2 (line 3), column 'vol': must be a number, got '25%'; write 0.25",
        ),
        ("right,spot,strike,expiry,vol,rate\nput,1,1,1,0.2\n", "row 1 (line 2): must have 6"),
        (
            "right,spot,strike,expiry,vol,rate\npu,1,1,1,0.2,0\n",
            "row 1 (line 2), column 'right': must be call or put, got 'pu'",
        ),
    ],
)
def test_a_book_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "b.csv"
    path.write_text(text, encoding="utf-8")
    for command in (["price", "--book"], ["plan"], ["submit"]):
        assert message in error(*command, path)


def test_a_long_output_does_not_push_the_counts_aside(tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text("right,spot,strike,expiry,vol,rate\ncall,100,100,1,0.2,0.05\n")
    assert output("price", "--book", book, "--output", tmp_path / "prices.csv").startswith(
        "rows     1  "
    )


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert "nothing.csv: cannot be read: No such file" in error(
        "price", "--book", tmp_path / "nothing.csv"
    )
    message = "must end in .toml (a grid or a panel), or in .csv, .csv.gz or .parquet"
    assert message in error("plan", tmp_path / "g.txt")
    for command in ("price", "imply"):
        assert "g.toml: is no book; `pricer submit` prices" in error(
            command, "--book", tmp_path / "g.toml"
        )
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id\nké\n".encode("latin-1"))
    assert "latin.csv: must be UTF-8 text, got byte 0xe9" in error("price", "--book", latin)
    assert "cannot be read: Is a directory" in error("plan", _folder(tmp_path / "d.toml"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    book: Path, tmp_path: Path
) -> None:
    assert "must end in .csv, .json or .parquet" in error(
        "price", "--book", book, "--output", tmp_path / "x.xls"
    )
    assert "no folder" in error("price", "--book", book, "--output", tmp_path / "no" / "x.csv")


# A grid: plan, submit, status


def test_a_plan_says_what_a_submit_would_take(grid: Path) -> None:
    found = document("plan", grid)
    assert list(found) == [
        *("run", "name", "file", "kind", "cells", "axes", "families", "why", "solves", "chunks"),
        *("chunk_blocks", "blocks", "block_cells", "stored_bytes", "method", "tolerance"),
        *("measures", "seed", "sampling", "paths", "workers", "estimated_seconds"),
    ]
    assert found["cells"] == 80
    assert found["families"] == 4
    assert found["axes"][:2] == [{"name": "right", "count": 2}, {"name": "spot", "count": 5}]
    assert found["stored_bytes"] == 80 * (8 * 3 + 1)
    assert found["measures"] == ["price", "delta"]
    assert 0 < found["estimated_seconds"] < 60
    text = output("plan", grid)
    assert "2 right x 5 spot" in text
    assert "1 vol" not in text
    assert "share one solve" in text


def test_a_plan_says_which_families_are_solved_again(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "{ start = 90.0, stop = 110.0, count = 1001 }"
    measured = Measured(solve_s=5e-3, cell_s=1e-7, pack_s=1e-7, packed_bytes_per_cell=20.0)
    monkeypatch.setattr("pricer.estimate.measure", lambda _: measured)
    grid.write_text(GRID.replace("[95.0, 100.0]", many), encoding="utf-8")
    text = output("plan", grid, "--workers", "8")
    assert "4 of them again, where a chunk cuts a family" in text
    text = GRID.replace('["call", "put"]', '"put"').replace("[0.01, 0.05]", "0.01")
    grid.write_text(text.replace("[95.0, 100.0]", many), encoding="utf-8")
    text = output("plan", grid, "--workers", "4")
    assert "the one family, once in each of the 4 chunks" in text
    assert "no two rows share a solve" in output("plan", ROOT / "examples" / "book.csv")


@pytest.mark.parametrize("width", ["60", "80"])
def test_an_id_is_never_split(
    store: str, grid: Path, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    name = document("plan", grid)["run"]
    for text in (
        output("plan", grid),
        output("submit", grid),
        output("delete", name),
        output("status", "latest", "--store", store),
        output("runs", "--store", store),
    ):
        assert name[:12] in text
        assert name[:13] not in text


def test_a_list_of_runs_says_when_and_where(store: str) -> None:
    lines = output("runs", "--store", store).splitlines()
    assert "submitted (UTC)" in lines[0]
    assert lines[-2:] == ["", store]


def test_a_table_in_a_pipe_has_no_blanks_at_the_ends_of_lines(store: str, book: Path) -> None:
    for text in (
        output(*ONE),
        output("price", "--book", book),
        output("status", "latest", "--store", store),
        output("query", "latest", "--store", store),
    ):
        assert all(line == line.rstrip() for line in text.splitlines())


def test_the_million_of_the_examples_is_exactly_one() -> None:
    assert document("plan", ROOT / "examples" / "american_million.toml")["cells"] == 1_000_000


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_every_example_grid_can_be_planned(path: Path) -> None:
    assert document("plan", path)["cells"] > 10_000


def test_a_book_is_planned_and_submitted_as_a_grid_is(book: Path) -> None:
    found = document("plan", book, "--tolerance", "1e-3", "--measures", "price")
    assert found["kind"] == "book"
    assert found["axes"] == []
    assert found["tolerance"] == 1e-3
    assert found["measures"] == ["price"]
    assert document("submit", book)["failed"] == 2


def test_a_submit_prices_once_and_is_the_same_run_again(grid: Path) -> None:
    first = document("submit", grid, "--workers", "1")
    assert list(first) == [
        *("run", "name", "state", "cells", "done", "ok", "failed", "priced", "seconds", "store"),
        "reasons",
    ]
    assert (first["cells"], first["ok"], first["failed"]) == (80, 80, 0)
    assert (first["state"], first["priced"]) == ("complete", 80)
    assert first["run"] == document("plan", grid)["run"]
    again = document("submit", grid)
    assert (again["run"], again["priced"]) == (first["run"], 0)
    text = output("submit", grid)
    assert text.splitlines()[0] == f"run {first['run'][:12]}"
    assert "nothing left to do" in text


def test_a_submit_that_is_told_its_workers_asks_the_environment_for_none(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRICER_WORKERS", "abc")
    planned = document("plan", grid, "--workers", "2")
    assert document("submit", grid, "--workers", "2")["cells"] == planned["cells"]
    assert "PRICER_WORKERS: must be" in error("submit", grid)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[axes]", "[axis]", "axis: is not a key of a grid file; did you mean 'axes'?"),
        ("vol = 0.2", "volt = 0.2", "axes.volt"),
        ("vol = 0.2", 'vol = "high"', "axes.vol: must be a number, got 'high'"),
        ("vol = 0.2", "vol = -0.1", "axes.vol: must not be negative, got -0.1"),
        ("vol = 0.2", "vol = nan", "axes.vol: must be a number, got nan"),
        ("vol = 0.2", "vol = inf", "axes.vol: must be finite, got inf"),
        ("vol = 0.2", "vol = []", "axes.vol: must have at least one value"),
        ("vol = 0.2", "vol = [0.2, 0.2]", "axes.vol: values must differ, got 0.2 twice"),
        ('"delta"]', '"detla"]', "did you mean 'delta'?"),
        ("vol = 0.2", "vol = = 0.2", "grid.toml: line 11, column"),
        ("rate = [0.01, 0.05]", "", "axes.rate: is missing"),
        ("count = 5", "count = 1000000000000000000000", "axes.spot"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_one_line(
    grid: Path, old: str, new: str, message: str
) -> None:
    assert old in GRID
    grid.write_text(GRID.replace(old, new), encoding="utf-8")
    for command in ("plan", "submit"):
        line = error(command, grid)
        assert "grid.toml: " in line
        assert message in line


def test_more_cells_than_can_be_numbered_are_refused(grid: Path) -> None:
    many = "{ start = 1.0, stop = 2.0, count = 1000000 }"
    text = GRID.replace("vol = 0.2", f"vol = {many}").replace("[0.01, 0.05]", many)
    text = text.replace("[95.0, 100.0]", many)
    grid.write_text(text, encoding="utf-8")
    assert "2^63 cells" in error("plan", grid)


def test_a_grid_file_says_its_own_settings(grid: Path) -> None:
    assert "a .toml file says its own tolerance" in error("submit", grid, "--tolerance", "1e-3")


def test_a_status_has_counts_reasons_examples_and_spreads(store: str) -> None:
    found = document("status", "latest", "--store", store)
    assert list(found) == [
        *("run", "name", "state", "submitted_at", "as_of", "cells", "done", "ok", "failed"),
        *("chunks", "chunks_done", "failures", "measures", "reasons"),
    ]
    assert (found["state"], found["cells"], found["done"]) == ("complete", 80, 80)
    assert list(found["measures"]) == ["price", "delta", "error"]
    spread = found["measures"]["price"]
    assert list(spread) == ["min", "mean", "max"]
    assert spread["min"] < spread["mean"] < spread["max"]
    text = output("status", "latest", "--store", store)
    assert "small" in text
    assert "complete" in text


def test_a_status_names_failures_with_an_example(store: str) -> None:
    name = document("runs", "--store", store)["runs"][1]["run"]
    failures = document("status", name[:8], "--store", store)["failures"]
    assert sorted((f["status"], f["reason"], f["count"]) for f in failures) == [
        ("invalid", "vol is missing", 1),
        ("invalid", "vol must not be negative", 1),
    ]
    missing = next(f for f in failures if f["reason"] == "vol is missing")
    assert list(missing) == ["status", "reason", "count", "example"]
    assert missing["example"]["row"] == 2
    assert missing["example"]["vol"] is None
    assert "vol is missing" in output("status", name, "--store", store)


def test_runs_lists_the_last_submitted_first(store: str) -> None:
    found = document("runs", "--store", store)
    assert found["store"] == store
    assert [run["name"] for run in found["runs"]] == ["small", "book.csv"]
    assert list(found["runs"][0]) == [
        *("run", "name", "state", "submitted_at", "as_of", "cells", "done", "ok", "failed")
    ]
    assert "book.csv" in output("runs", "--store", store)


def test_an_empty_store_has_no_runs() -> None:
    assert document("runs")["runs"] == []
    assert "no runs in sqlite:///" in output("runs")
    assert "there is no run" in error("status", "latest")


@pytest.mark.parametrize(
    "command", ["runs", "status latest", "query latest", "export latest x.csv", "delete latest"]
)
def test_a_store_in_no_folder_is_one_line(command: str) -> None:
    message = error(*command.split(), "--store", "sqlite:///no/such/folder/runs.db")
    assert "there is no folder" in message
    assert "an absolute path has four slashes" in message


def test_a_deleted_run_is_gone(grid: Path) -> None:
    name = document("submit", grid)["run"]
    assert document("delete", name[:10]) == {"run": name, "deleted": True}
    assert document("runs")["runs"] == []
    assert name[:10] in error("delete", name[:10])
    output("submit", grid)
    assert name[:12] in output("delete", "latest")


# Query and export


def test_a_query_reads_what_it_names_in_the_order_of_the_file(store: str) -> None:
    rows = json.loads(
        output(
            "query", "latest", "right=put", "spot=95:105", "expiry=1", "--json", "--store", store
        )
    )
    assert list(rows[0]) == [*TABLE_KEYS, *RESULT_KEYS]
    assert [(r["spot"], r["strike"], r["rate"]) for r in rows] == [
        (spot, strike, rate)
        for spot in (95.0, 100.0, 105.0)
        for strike in (95.0, 100.0)
        for rate in (0.01, 0.05)
    ]
    assert {(r["right"], r["expiry"], r["status"]) for r in rows} == {("put", 1.0, "ok")}


def test_a_query_as_csv_holds_what_json_holds(store: str) -> None:
    query = ("query", "latest", "spot=100", "--store", store, "--format")
    rows = json.loads(output(*query, "json"))
    text = output(*query, "csv")
    read = list(csv.DictReader(io.StringIO(text)))
    assert [float(r["price"]) for r in read] == [r["price"] for r in rows]
    assert [r["status"] for r in read] == [r["status"] for r in rows]


def test_a_query_shows_a_table_and_what_is_the_same_in_every_row(store: str) -> None:
    text = output("query", "latest", "right=put", "spot=100", "--store", store)
    assert "in every row: right put, spot 100, vol 0.2, status ok" in text
    assert len([line for line in text.splitlines() if "e-" in line]) == 8


def test_a_long_table_says_that_there_is_more(store: str) -> None:
    query = ("query", "latest", "--store", store)
    assert "there are more: --limit N" in output(*query)
    assert "there are more" not in output(*query, "--limit", "80")
    assert len(json.loads(output(*query, "--json"))) == 80
    assert len(json.loads(output(*query, "--json", "--limit", "3"))) == 3


def test_a_query_takes_the_measures_it_is_asked_for(store: str) -> None:
    rows = json.loads(
        output("query", "latest", "--limit", "1", "--measures", "delta", "--json", "--store", store)
    )
    assert list(rows[0]) == [*TABLE_KEYS, "delta", "error", "status"]
    assert "'vega' is not in this run" in error(
        *("query", "latest", "--measures", "vega", "--store", store)
    )


def test_a_value_that_is_not_on_the_axis_names_the_nearest(store: str) -> None:
    query = ("query", "latest", "spot=101", "--store", store)
    assert "spot: 101 is not there; the nearest is 100" in error(*query)
    assert {r["spot"] for r in json.loads(output(*query, "--nearest", "--json"))} == {100.0}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("spto=100", "did you mean 'spot'?"),
        ("spot=abc", "spot: must be a number, got 'abc'"),
        ("right=pot", "did you mean 'put'?"),
        ("spot=300:400", "spot: no value lies in 300:400"),
        ("spot=110:90", "spot: a range must go up"),
    ],
)
def test_a_selection_that_means_nothing_is_one_line(
    store: str, selection: str, message: str
) -> None:
    assert message in error("query", "latest", selection, "--store", store)


def test_a_selection_that_is_not_one_is_a_usage_error(store: str) -> None:
    assert "spot=90:110" in usage_error("query", "latest", "spot", "--store", store)
    assert "given twice" in usage_error("query", "latest", "spot=1", "spot=2", "--store", store)


def test_a_book_is_queried_by_its_columns(store: str) -> None:
    name = document("runs", "--store", store)["runs"][1]["run"]
    rows = json.loads(output("query", name, "desk=index", "--json", "--store", store))
    assert [row["id"] for row in rows] == ["a3", "a4"]
    rows = json.loads(output("query", name, "row=2", "--json", "--store", store))
    assert [(row["id"], row["status"], row["price"]) for row in rows] == [("a2", "invalid", None)]


def test_a_query_goes_to_a_file(store: str, tmp_path: Path) -> None:
    target = tmp_path / "q.csv"
    found = document("query", "latest", "spot=100", "--output", target, "--store", store)
    assert list(found) == ["file", "format", "rows", "bytes", "seconds"]
    assert (found["rows"], found["format"]) == (16, "csv")
    assert found["bytes"] == target.stat().st_size
    assert "--format parquet needs --output" in usage_error(
        *("query", "latest", "--format", "parquet", "--store", store)
    )
    assert "--format csv and --output" in usage_error(
        "query", "latest", "--format", "csv", "--output", tmp_path / "x.parquet", "--store", store
    )
    assert "exclude each other" in usage_error(
        *("query", "latest", "--format", "csv", "--json", "--store", store)
    )


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_an_export_holds_all_that_a_query_reads(store: str, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"all.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    found = document("export", "latest", target, "--store", store)
    assert list(found) == ["file", "format", "rows", "bytes", "seconds"]
    assert found["rows"] == 80
    if suffix == "parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(target).to_pylist()
    elif suffix == "json":
        rows = json.loads(target.read_text(encoding="utf-8"))
    else:
        with target.open(encoding="utf-8", newline="") as stream:
            rows = [
                {n: v if n in ("right", "status") else float(v) for n, v in row.items()}
                for row in csv.DictReader(stream)
            ]
    queried = json.loads(output("query", "latest", "--json", "--store", store))
    assert sorted(map(str, rows)) == sorted(map(str, queried))
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


# Validation


@dataclass
class Case:
    name: str
    source: str
    values: int
    largest_error: float
    bound: float
    passed: bool
    note: str = ""


def validated(monkeypatch: pytest.MonkeyPatch, *cases: Case) -> None:
    module = ModuleType("pricer.validation")
    module.__dict__["validate"] = lambda: list(cases)
    monkeypatch.setitem(sys.modules, "pricer.validation", module)


def test_a_validation_shows_each_case_and_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    validated(monkeypatch, Case("closed form", "Merton (1973)", 1200, 1.25e-13, 1e-12, True))
    text = output("validate")
    for word in ("closed form", "1,200", "1.2e-13", "1.0e-12", "pass", "every case passes"):
        assert word in text
    found = document("validate")
    assert list(found) == ["passed", "cases", "seconds"]
    assert found["cases"] == [
        {
            "name": "closed form",
            "source": "Merton (1973)",
            "values": 1200,
            "largest_error": 1.25e-13,
            "bound": 1e-12,
            "note": "",
            "passed": True,
        }
    ]


def test_the_kernels_pass_their_validation() -> None:
    found = document("validate")
    assert found["passed"] is True
    assert all(case["largest_error"] <= case["bound"] for case in found["cases"])


def test_a_bound_that_is_wide_says_why() -> None:
    said = "the bound is wider because the source is right to about 1e-3"
    assert f"American: puts as in Rogers 2002: {said}" in output("validate")


def test_a_validation_that_fails_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Case("closed form", "Merton (1973)", 12, 1e-13, 1e-12, True)
    validated(monkeypatch, good, Case("parity", "a law", 9, 1e-3, 1e-12, False))
    result = run("validate")
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "1 case failed" in result.stdout
    result = run("validate", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["passed"] is False


# Stores


def test_a_store_that_is_not_one_is_one_line(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database at all, but a text", encoding="utf-8")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table mine (x)")
    other.close()
    for name in ("text.db", "other.db"):
        message = error("submit", grid, "--store", f"sqlite:///{tmp_path / name}")
        assert name in message
    assert "store: must be sqlite:///path" in error("runs", "--store", "mysql://host/db")


def test_a_store_of_a_newer_version_is_one_line(grid: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    output("submit", grid, "--store", url)
    connection = sqlite3.connect(tmp_path / "newer.db")
    connection.execute("pragma user_version = 999")
    connection.close()
    assert "newer" in error("runs", "--store", url)


def test_a_run_may_be_named_by_its_start_but_by_no_other_name(store: str) -> None:
    name = document("status", "latest", "--store", store)["run"]
    assert document("status", name[:6], "--store", store)["run"] == name
    assert "run 'nonsense'" in error("status", "nonsense", "--store", store)


# The program itself


def commands() -> dict[str, click.Command]:
    """Return all commands, those of a group by both names."""
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name} {part}": each for part, each in command.commands.items()}
        else:
            found[name] = command
    return found


def test_commands_come_in_the_order_in_which_one_meets_them() -> None:
    text = output("--help")
    names = [
        line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line.strip()
    ]
    assert names == [
        *("price", "imply", "plan", "submit", "resume", "watch", "runs", "status", "cancel"),
        *("delete", "query", "export", "plot", "timeline", "cost", "example", "validate", "doctor"),
        *("deploy", "update", "destroy", "tail", "schedule", "schedules", "unschedule"),
        *("serve", "completion"),
    ]


def test_every_command_takes_json_a_store_and_v() -> None:
    for command in commands().values():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--store", "-v"} <= options, command.name


def test_a_near_miss_of_a_command_or_option_is_suggested() -> None:
    assert "submit" in usage_error("submi", "x.toml")
    assert "--vol" in usage_error(*ONE, "--vola", "1")


def test_the_version_is_the_package_s() -> None:
    assert output("--version") == f"pricer {pricer.__version__}\n"


def test_what_is_heavy_is_loaded_when_it_is_used() -> None:
    heavy = {"numba", "rich", "pyarrow", "boto3", "matplotlib", "plotly"}
    code = f"import sys, pricer.cli; print(*{heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_v_says_more(grid: Path) -> None:
    assert run("submit", grid).stderr == ""
    assert "kernels measured on this plan in" in run("-v", "plan", grid).stderr
    assert f"kernels {kernel_version()[:12]} in /" in run(*ONE, "-v").stderr


def test_v_says_what_a_submit_does_and_vv_each_chunk(grid: Path) -> None:
    name = document("plan", grid)["run"]
    said = run("submit", grid, "-vv").stderr
    assert f"run {name[:12]} in sqlite:///" in said
    assert "chunks done before: 0, to do: 1" in said
    assert "chunk 0: 80 cells in" in said
    output("delete", name)
    assert "chunk 0" not in run("submit", grid, "-v").stderr


def test_the_docs_name_every_command_option_and_field(store: str, grid: Path, book: Path) -> None:
    fields: dict[str, Any] = {
        "price": document(*ONE) | document("price", "--book", book),
        "imply": document("imply", "--book", book),
        "plan": document("plan", grid),
        "submit": document("submit", grid),
        "resume": document("resume", "latest", "--store", store),
        # As status.
        "watch": {},
        "runs": document("runs", "--store", store),
        "status": document("status", "latest", "--store", store),
        # Those of AWS have tests of their own.
        "cancel": {},
        "delete": document("delete", "latest"),
        "query": {},
        "export": document("export", "latest", grid.with_suffix(".csv"), "--store", store),
        "plot": document(
            *("plot", "latest", "--x", "spot", "--y", "price", "--store", store),
            *("--output", grid.with_suffix(".svg")),
        ),
        "timeline": document("timeline", "latest", "--store", store),
        "cost": {},
        "example merton": document("example", "merton", "--firms", 1, "--output", grid.parent),
        "validate": document("validate"),
        "doctor": document("doctor"),
        # Those that need AWS: tests/test_operations.py has their fields.
        **dict.fromkeys(("deploy", "update", "destroy", "tail"), ()),
        **dict.fromkeys(("schedule", "schedules", "unschedule"), ()),
        "serve": dict.fromkeys(("url", "store")),
        "completion": document("completion", "bash"),
    }
    assert list(fields) == list(commands())
    for name, command in commands().items():
        section = DOCS.partition(f"\n## pricer {name}\n")[2].partition("\n## ")[0]
        assert section, name
        common = DOCS.partition("\n## Every command\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("-"):
                    assert f"`{option}" in section + common, (name, option)
        for field in fields[name]:
            assert f"`{field}`" in section, (name, field)


def test_the_program_answers_in_a_pipe_with_utf_8() -> None:
    done = program(*ONE, env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout
    assert done.stderr == ""


def test_a_closed_output_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"'{PROGRAM}' runs >&-; exec '{PROGRAM}' runs --json >&-"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_has_one_line_for_a_mistake() -> None:
    done = program(*ONE, "--vol", "-1")
    assert done.returncode == 1
    assert done.stderr == "Error: vol: must not be negative, got -1.0\n"
    assert done.stdout == ""


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_a_reader_that_leaves_early_is_no_error(store: str, form: str) -> None:
    line = f"'{PROGRAM}' query latest --limit 80 --format {form} --store '{store}' | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_is_full_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, *ONE], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "Error: No space left on device\n"


def test_an_interrupt_keeps_what_is_priced_and_says_so(tmp_path: Path) -> None:
    # Far more than can be priced before the interrupt.
    many = "{ start = 0.1, stop = 1.0, count = 20000 }"
    path = tmp_path / "long.toml"
    path.write_text(GRID.replace("vol = 0.2", f"vol = {many}"), encoding="utf-8")
    with subprocess.Popen(
        [PROGRAM, "submit", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as going:
        _wait_for_cells()
        going.send_signal(signal.SIGINT)
        stdout, stderr = going.communicate(timeout=60)
    assert going.returncode == 130
    assert stdout == ""
    assert stderr == "Interrupted: what is priced is stored; submit again to finish.\n"
    found = document("status", "latest")
    assert found["state"] == "incomplete"
    assert f"finish it by `pricer resume {found['run'][:12]}`" in output("status", "latest")
    assert "incomplete, " in output("runs")
    assert 0 < found["done"] < found["cells"]
    assert "is incomplete" in error("export", "latest", tmp_path / "x.csv")


def test_a_run_that_was_killed_is_resumed_without_its_file_to_the_same_bits(
    tmp_path: Path,
) -> None:
    many = "{ start = 0.1, stop = 1.0, count = 1500 }"
    path = tmp_path / "long.toml"
    path.write_text(GRID.replace("vol = 0.2", f"vol = {many}"), encoding="utf-8")
    with subprocess.Popen(
        [PROGRAM, "submit", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as going:
        _wait_for_cells()
        going.kill()
    killed = document("status", "latest")
    assert killed["state"] == "incomplete"
    path.rename(tmp_path / "elsewhere.toml")
    resumed = document("resume", killed["run"][:12], "--workers", "1")
    assert (resumed["state"], resumed["done"]) == ("complete", killed["cells"])
    assert resumed["priced"] == killed["cells"] - killed["done"]
    again = output("resume", "latest")
    assert "120,000 cells, all ok, priced already, nothing left to do" in again
    assert document("resume", "latest") == resumed | {"priced": 0, "seconds": ANY}
    whole = pricer.submit(pricer.Grid.parse((tmp_path / "elsewhere.toml").read_text()), "memory:")
    run = pricer.open_run(resumed["run"])
    assert whole.id == run.id
    blocks = range(run.plan.blocks)
    assert dict(run.store.blocks(run.id, blocks)) == dict(whole.store.blocks(run.id, blocks))


def test_a_resume_of_what_is_not_there_is_one_line() -> None:
    assert error("resume", "latest").startswith("run 'latest': there is no run in sqlite:///")


def _wait_for_cells() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if pricer.open_run().status().done:
                return
        except pricer.RunNotFoundError:
            pass
        time.sleep(0.05)
    raise AssertionError("nothing was priced within a minute")
