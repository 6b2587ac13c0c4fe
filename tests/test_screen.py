"""What a person sees."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pricer import screen


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0042, "4 ms"),
        (0.0996, "0.1 s"),
        (3.14, "3.1 s"),
        (9.96, "10 s"),
        (59.96, "1 min 0 s"),
        (75.4, "1 min 15 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (1e6, "12 days"),
    ],
)
def test_durations_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert screen.duration(seconds) == said


@pytest.mark.parametrize(
    ("stored", "said"),
    [(1, "1 byte"), (65_536, "65.5 kB"), (999_960, "1.0 MB"), (6.5e11, "650.0 GB")],
)
def test_sizes_have_a_unit(stored: float, said: str) -> None:
    assert screen.size(stored) == said


def test_counts_have_separators() -> None:
    assert screen.counted(1, "cell") == "1 cell"
    assert screen.counted(1_003_200, "cell") == "1,003,200 cells"
    assert screen.rate(1_003_200, 4.1) == "245,000 cells/s"
    assert screen.rate(0, 0.0) == "0 cells/s"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Let bars be shown, and return what they write."""
    written = io.StringIO()
    there = Console(file=written, force_terminal=True, width=100)
    monkeypatch.setattr(screen, "console", lambda **_: there)
    return written


def test_a_bar_says_at_once_what_comes_before_what_it_counts(terminal: io.StringIO) -> None:
    with screen.progress(1_000, "pricing", first_doing="planning") as advance:
        advance(250)
    said = terminal.getvalue()
    assert 0 < said.index("planning") < said.index("pricing")
    assert "250 of 1,000" in said


def test_a_file_that_takes_some_time_has_a_bar(terminal: io.StringIO) -> None:
    with screen.reading() as read:
        read(5_000_000, 10_000_000)
    assert terminal.getvalue() == ""
    with screen.reading() as read:
        read(500_000_000, 2_600_000_000)
    assert "reading" in terminal.getvalue()
    assert "500 of 2,600" in terminal.getvalue()


def test_a_column_has_as_many_decimals_in_every_row() -> None:
    assert screen.numbers(np.array([10.123456, 0.5, -3.0])) == ["10.1235", "0.5000", "-3.0000"]
    assert screen.numbers(np.array([0.018762345, 0.0])) == ["0.0187623", "0.0000000"]


def test_round_values_show_no_decimals_they_do_not_need() -> None:
    assert screen.numbers(np.array([80.0, 100.0])) == ["80", "100"]
    assert screen.numbers(np.array([0.25, 0.5])) == ["0.25", "0.50"]
    assert screen.numbers(np.array([0.1 + 0.2])) == ["0.3"]


def test_a_missing_number_is_a_dash_and_zero_has_no_sign() -> None:
    assert screen.numbers(np.array([np.nan, -1e-9, 12.5])) == ["-", "0.0000", "12.5000"]


def test_huge_and_tiny_numbers_take_an_exponent() -> None:
    assert screen.numbers(np.array([1e12])) == ["1.00000e+12"]
    assert screen.numbers(np.array([3e-9])) == ["3.00000e-09"]


def test_errors_have_two_digits() -> None:
    assert screen.error_bar(1.234e-7) == "1.2e-07"
    assert screen.error_bar(0.0) == "0"
    assert screen.error_bar(3.2e-244) == "<1e-15"
    assert screen.error_bar(float("nan")) == "-"


ROWS = 30
WIDE: dict[str, Any] = {
    "row": np.arange(1, ROWS + 1),
    "desk": np.array(["index"] * 10 + ["rates"] * 20),
    "spot": np.full(ROWS, 100.0),
    "strike": np.linspace(80.0, 120.0, ROWS),
    "price": np.linspace(1.0, 25.0, ROWS),
    "delta": np.linspace(-1.0, 0.0, ROWS),
    "rho": np.linspace(-50.0, 0.0, ROWS),
    "error": np.full(ROWS, 1e-7),
    "status": np.array([0] * (ROWS - 1) + [1], dtype=np.uint8),
}


def lines(table: dict[str, Any], width: int, **limits: int) -> tuple[list[str], list[str]]:
    laid, notes = screen.data(table, width, **limits)
    stream = io.StringIO()
    Console(file=stream, width=width).print(laid)
    return stream.getvalue().splitlines(), notes


def test_a_table_that_fits_shows_every_column_that_differs() -> None:
    shown, notes = lines(WIDE, 200)
    assert shown[0].split() == ["row", "desk", "strike", "price", "delta", "rho", "error", "status"]
    assert len(shown) == ROWS + 2
    assert notes == ["in every row: spot 100"]
    assert shown[-1].split()[-1] == "invalid"


def test_a_table_that_does_not_fit_hides_whole_columns_and_names_them() -> None:
    shown, notes = lines(WIDE, 58)
    assert all(len(line) <= 58 for line in shown)
    assert "…" not in "".join(shown)
    assert shown[0].split() == ["row", "strike", "price", "delta", "error", "status"]
    assert notes[-1] == "not shown, for want of width: desk, rho"


def test_a_table_is_cut_to_the_rows_asked_for_and_says_how_many_are_left() -> None:
    shown, notes = lines(WIDE, 200, rows=10)
    assert len(shown) == 10 + 2
    assert notes[-1] == "20 more rows"
    # What is the same in the rows shown, but not in all of them, stays a column.
    assert "desk" in shown[0]


def test_which_options_they_are_is_the_last_to_be_hidden() -> None:
    both = np.array([0, 1] * (ROWS // 2), dtype=np.int8)
    shown, notes = lines(WIDE | {"exercise": both}, 58)
    assert shown[0].split() == ["row", "strike", "price", "error", "status", "exercise"]
    assert notes[-1] == "not shown, for want of width: desk, delta, rho"


def test_what_an_option_is_goes_after_how_it_pays() -> None:
    both = np.array([0, 1] * (ROWS // 2), dtype=np.int8)
    table = {
        "row": WIDE["row"],
        "type": both,
        "strike": WIDE["strike"],
        "payment": both,
        "rebate": WIDE["strike"],
        "price": WIDE["price"],
    }
    assert lines(table, 46)[0][0].split() == ["row", "type", "strike", "rebate", "price"]
    assert lines(table, 38)[0][0].split() == ["row", "type", "strike", "price"]
    assert lines(table, 24)[0][0].split() == ["row", "strike", "price"]


def test_a_long_table_is_shortened_and_other_texts_are_not() -> None:
    dates = ";".join(str(day / 365) for day in range(1, 250))
    texts = np.array([dates, "0.5"] * (ROWS // 2), dtype=object)
    shown, _ = lines({"row": WIDE["row"], "monitoring_dates": texts}, 100)
    assert shown[2].split()[1] == f"{dates[:37]}..."
    assert lines({"row": WIDE["row"], "note": texts}, 10_000)[0][2].endswith(dates)


def test_a_column_of_numbers_as_text_is_flush_right() -> None:
    contracts = np.array(["5", "-10", ""] * (ROWS // 3), dtype=object)
    shown, _ = lines({"row": WIDE["row"], "contracts": contracts, "desk": WIDE["desk"]}, 200)
    assert [line.rstrip() for line in shown[2:4]] == [
        "  1           5   index",
        "  2         -10   index",
    ]


def test_a_header_breaks_only_where_width_is_short() -> None:
    table = {"row": WIDE["row"], "dividend_rho": WIDE["rho"]}
    assert lines(table, 40)[0][0].split() == ["row", "dividend", "rho"]
    assert lines(table, 16)[0][0].split() == ["dividend"]


def test_a_line_ends_with_its_last_character() -> None:
    stream = io.StringIO()
    for part in (screen.facts([("a", "1", ""), ("b", "2", "note")]), "", "x  "):
        Console(file=stream, width=40).print(screen.Trimmed(part))
    assert stream.getvalue().splitlines() == ["a  1", "b  2  note", "", "x"]


def test_a_column_that_is_empty_everywhere_is_left_out() -> None:
    reasons = np.full(ROWS, "", dtype=object)
    shown, notes = lines(WIDE | {"reason": reasons}, 200)
    assert "reason" not in shown[0]
    assert notes == ["in every row: spot 100"]


def test_dollars_are_as_fine_as_the_column_needs() -> None:
    assert screen.dollars([0.0, 0.00004, 0.3612, 1.5]) == [
        "$0.0000",
        "<$0.0001",
        "$0.3612",
        "$1.5000",
    ]
    assert screen.dollars([0.004, 12.345, 1234.5]) == ["<$0.01", "$12.35", "$1,234.50"]
