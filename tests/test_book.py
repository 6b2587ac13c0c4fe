from __future__ import annotations

import csv
import gzip
import io
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.book import RESULT_COLUMNS, Book, pack_texts, unpack_texts
from pricer.columns import parse_number
from pricer.contracts import INPUTS
from pricer.errors import PricerError, SpecError
from pricer.reading import read_book
from pricer.settings import MEASURES, Settings
from pricer.tables import parquet_parts

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "right,exercise,spot,strike,expiry,vol,rate,dividend_yield"
ROW = "call,american,100,90,0.5,0.2,0.03,0.01"


def book_of(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def changed(column: str, value: str) -> str:
    """Return a book whose second row has `value` in `column`."""
    names, fields = HEADER.split(","), ROW.split(",")
    fields[names.index(column)] = value
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(fields)
    return book_of(HEADER, ROW, buffer.getvalue().strip())


def error_of(text: str, **arguments: Any) -> str:
    with pytest.raises(SpecError) as caught:
        Book.parse(text, "b.csv", **arguments)
    message = str(caught.value)
    assert message.startswith("b.csv: ")
    assert "\n" not in message
    return message.removeprefix("b.csv: ")


def without(*columns: str, text: str = book_of(HEADER, ROW)) -> str:
    rows = [line.split(",") for line in text.splitlines()]
    keep = [i for i, name in enumerate(rows[0]) if name not in columns]
    return book_of(*(",".join(row[i] for i in keep) for row in rows))


def test_a_row_is_a_contract_with_its_market() -> None:
    book = Book.parse(book_of(HEADER, ROW, "P,European,1e2,.9,2,1.,-0.01,0"))
    assert book.cells.right.tolist() == [1, -1]
    assert book.cells.exercise.tolist() == [1, 0]
    assert book.cells.spot.tolist() == [100.0, 100.0]
    assert book.cells.strike.tolist() == [90.0, 0.9]
    assert book.cells.rate.tolist() == [0.03, -0.01]
    assert book.cells.valid().all()
    assert book.columns == tuple(HEADER.split(","))
    assert book.settings == Settings(measures=MEASURES)


def test_a_blank_exercise_is_the_default() -> None:
    book = Book.parse(book_of(HEADER, ROW, ROW.replace("american", " "), ROW))
    assert book.cells.exercise.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + book_of(HEADER, ROW),
        book_of(HEADER, ROW).replace("\n", "\r\n"),
        book_of(HEADER, ROW, "", "  ", ""),
        book_of("", HEADER, "", ROW),
        book_of(HEADER, ROW, "," * HEADER.count(","), " ," + "," * (HEADER.count(",") - 1)),
        book_of(HEADER.replace(",", " , "), ROW.replace(",", ", ")),
        book_of(HEADER, ROW).rstrip("\n"),
        book_of(HEADER, ",".join(f'"{field}"' for field in ROW.split(","))),
    ],
)
def test_what_programs_do_to_csv_files_is_read(text: str) -> None:
    assert Book.parse(text).identity() == Book.parse(book_of(HEADER, ROW)).identity()


@pytest.mark.parametrize(
    "mark", ["", " ", "nan", "NaN", "N/A", "NA", "#N/A", "null", "None", "-", "."]
)
def test_a_missing_number_makes_its_own_row_invalid(mark: str) -> None:
    book = Book.parse(changed("vol", mark))
    assert book.cells.valid().tolist() == [True, False]
    assert book.cells.reason(1) == "vol is missing"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("vol", "-0.1", "vol must not be negative, got -0.1"),
        ("strike", "inf", "strike must be finite, got inf"),
        ("rate", "-Infinity", "rate must be finite, got -inf"),
        ("spot", "1e999", "spot must be finite, got inf"),
    ],
)
def test_a_number_no_option_can_have_makes_its_own_row_invalid(
    column: str, value: str, reason: str
) -> None:
    book = Book.parse(changed(column, value))
    assert book.cells.valid().tolist() == [True, False]
    assert book.cells.reason(1) == reason


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("vol", "25%", "must be a number, got '25%'; write 0.25"),
        ("vol", "7.5 %", "must be a number, got '7.5 %'; write 0.075"),
        ("strike", "1,204", "must be a number, got '1,204'; write 1204 without separators"),
        ("strike", "1,204.5", "must be a number, got '1,204.5'; write 1204.5 without separators"),
        ("vol", "0,25", "must be a number, got '0,25'; write 0.25 with a decimal point"),
        ("vol", "unch", "must be a number, got 'unch'"),
        ("vol", "1_0", "must be a number, got '1_0'"),
        ("vol", "٣", "must be a number, got '٣'"),
        ("vol", "x" * 100, f"must be a number, got '{'x' * 57}...'"),
        ("right", "cal", "must be call or put, got 'cal'; did you mean 'call'?"),
        ("right", "", "must be call or put, got ''"),
        ("exercise", "Asian", "must be european or american or bermudan, got 'Asian'"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_row_line_and_column(
    column: str, value: str, rule: str
) -> None:
    assert error_of(changed(column, value)) == f"row 2 (line 3), column {column!r}: {rule}"


def test_rows_and_lines_are_counted_apart() -> None:
    text = book_of("", HEADER + ",note", ROW + ',"two\nlines"', "", ROW.replace("call", "x") + ",")
    assert error_of(text).startswith("row 2 (line 6), column 'right': ")


def test_rows_are_counted_through_a_long_book() -> None:
    text = book_of(HEADER, *[ROW] * 2500, ROW.replace("0.2", "?"), ROW)
    assert error_of(text).startswith("row 2501 (line 2502), column 'vol': must be a number")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; must have a header and at least one row"),
        ("\n \n", "is empty; must have a header and at least one row"),
        (book_of(HEADER), "must have at least one row below its header, got none"),
        (book_of(HEADER, ROW, "call,american,1"), "row 2 (line 3): must have 8 fields, got 3"),
        (book_of(HEADER, ROW + ","), "row 1 (line 2): must have 8 fields, got 9"),
        (book_of(HEADER, '"call"x' + ROW[4:]), "line 2: is not CSV: ',' expected after '\"'"),
        (book_of(HEADER, '"' + ROW), "line 2: is not CSV: unexpected end of data"),
        (book_of(HEADER + ",", ROW + ","), "header: column 9 must have a name"),
        (book_of(HEADER + ",vol", ROW + ",1"), "header: names must differ, got 'vol' twice"),
        (book_of(HEADER.replace(",", ";"), ROW), "must be separated by commas, got semicolons"),
        (book_of("sep=;", HEADER), "header: columns must be separated by commas, got semicolons"),
        (book_of(HEADER.replace(",", "\t"), ROW), "must be separated by commas, got tabs"),
        (without("vol"), "there is no column 'vol'; the file has right, exercise, spot"),
        (without("expiry"), "there is no column 'expiry'; the file has right, exercise"),
        (
            book_of(HEADER.replace("strike", "stirke"), ROW),
            "column 'stirke' is not known; did you mean 'strike'?",
        ),
        (
            book_of(HEADER.replace("vol", "Volume"), ROW),
            "there is no column 'vol'; the file has",
        ),
        (
            book_of(HEADER.replace("dividend_yield", "Dividend Yield"), ROW),
            "column 'Dividend Yield' is not known; did you mean 'dividend_yield'?",
        ),
        (
            book_of(HEADER.replace("dividend_yield", "div_yield"), ROW),
            "column 'div_yield' is not known; did you mean 'dividend_yield'?",
        ),
        (
            book_of(HEADER.replace("exercise", "exerciseX"), ROW),
            "column 'exerciseX' is not known; did you mean 'exercise'?",
        ),
        (
            book_of(HEADER.replace("expiry", "Expiry-Date"), ROW),
            "column 'Expiry-Date' is not known; did you mean 'expiry_date'?",
        ),
        (
            book_of(HEADER + ",type", ROW + ",vanila"),
            "row 1 (line 2), column 'type': must be vanilla or digital or barrier or double_barrier"
            " or touch or double_touch or asian or lookback or forward_start or cliquet or basket,"
            " got 'vanila'; did you mean 'vanilla'?",
        ),
        (
            book_of(HEADER + ",price,book_price", ROW + ",1,2"),
            "header: 'book_price' must be free for the column 'price'",
        ),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(text: str, message: str) -> None:
    assert message in error_of(text)


def test_exercise_and_dividend_yield_have_defaults() -> None:
    book = Book.parse(without("exercise", "dividend_yield"))
    assert book.cells.exercise.tolist() == [0]
    assert book.cells.dividend_yield.tolist() == [0.0]
    assert book.columns == (
        "right",
        "spot",
        "strike",
        "expiry",
        "vol",
        "rate",
        "exercise",
        "dividend_yield",
    )


def test_other_columns_pass_through_as_they_are_written() -> None:
    header, row = f"id,type,{HEADER},date,volume", f"A-1,Vanilla,{ROW},06/06/2014,1_000 "
    book = Book.parse(book_of(header, row))
    assert {name: texts.tolist() for name, texts in book.texts.items()} == {
        "id": ["A-1"],
        "date": ["06/06/2014"],
        "volume": ["1_000 "],
    }
    assert book.columns == tuple(header.split(","))


@pytest.mark.parametrize("name", RESULT_COLUMNS)
def test_a_column_named_as_a_result_is_renamed(name: str) -> None:
    book = Book.parse(book_of(f"{HEADER},{name}", f"{ROW},1"))
    assert list(book.texts) == [f"book_{name}"]


def test_an_input_is_read_from_the_column_that_is_named_for_it() -> None:
    text = book_of(f"{HEADER},iv", f"{ROW.replace('0.2', '')},0.4")
    book = Book.parse(text, columns={"vol": "iv"})
    assert book.cells.vol.tolist() == [0.4]
    assert not book.texts
    assert book.columns == (*HEADER.replace("vol,", "").split(","), "vol")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vol": "iv"}, "column vol=iv: there is no column 'iv'; the file has right, exercise"),
        ({"vol": "spto"}, "column vol=spto: there is no column 'spto'; did you mean 'spot'?"),
        ({"vo": "spot"}, "column vo=spot: must set one of type, right, exercise, spot"),
        ({"vo": "spot"}, "did you mean 'vol'?"),
        (
            {"vol": "spot", "rate": "spot"},
            "column vol=spot: each column can be one input only",
        ),
        ({"vol": "spot"}, "there is no column 'spot'"),
    ],
)
def test_a_mapping_to_nothing_is_refused(columns: dict[str, str], message: str) -> None:
    assert message in error_of(book_of(HEADER, ROW), columns=columns)


DATED = book_of(
    HEADER.replace("expiry", "expiry_date"),
    ROW.replace("0.5", "2015-06-06"),
    ROW.replace("0.5", "2014-06-06"),
    ROW.replace("0.5", "2014-06-05"),
    ROW.replace("0.5", ""),
)


def test_an_expiry_date_counts_days_of_a_365th_year_from_the_valuation_date() -> None:
    book = Book.parse(DATED, valuation_date="2014-06-06")
    np.testing.assert_array_equal(book.cells.expiry, [1.0, 0.0, -1 / 365, np.nan])
    assert book.cells.valid().tolist() == [True, True, False, False]
    assert book.cells.reason(2).startswith("expiry must not be negative, got -0.0027")
    assert book.texts["expiry_date"].tolist() == ["2015-06-06", "2014-06-06", "2014-06-05", ""]
    assert book.columns[4:6] == ("expiry", "expiry_date")
    assert book.valuation_date == date(2014, 6, 6)
    assert book.identity()["valuation_date"] == "2014-06-06"


@pytest.mark.parametrize("day", [date(2014, 6, 6), datetime(2014, 6, 6, 12)])  # noqa: DTZ001
def test_the_valuation_date_may_be_a_date(day: date) -> None:
    given_date = Book.parse(DATED, valuation_date=day)
    assert given_date.identity() == Book.parse(DATED, valuation_date="2014-06-06").identity()


def test_expiry_wins_unless_a_valuation_date_is_given() -> None:
    text = book_of(f"{HEADER},expiry_date", f"{ROW},2015-06-06")
    assert Book.parse(text).cells.expiry.tolist() == [0.5]
    dated = Book.parse(text, valuation_date="2014-06-06")
    assert dated.cells.expiry.tolist() == [1.0]
    assert dated.columns.count("expiry") == 1


@pytest.mark.parametrize(
    ("text", "day", "message"),
    [
        (DATED, None, "column 'expiry_date' needs the valuation date from which it counts"),
        (book_of(HEADER, ROW), "2014-06-06", "no column 'expiry_date'; a valuation date needs it"),
        (
            book_of(f"{HEADER},type", f"{ROW},vanilla"),
            "2014-06-06",
            "no column 'expiry_date'; a valuation date needs it",
        ),
        (DATED, "6 June 2014", "valuation date: must be a date as 2014-06-21, got '6 June 2014'"),
        (DATED, "2014-13-01", "valuation date: must be a date as 2014-06-21, got '2014-13-01'"),
        (
            DATED.replace("2014-06-05", "20140605"),
            "2014-06-06",
            "row 3 (line 4), column 'expiry_date': must be a date as 2014-06-21, got '20140605'",
        ),
    ],
)
def test_a_date_that_cannot_be_meant_is_refused(text: str, day: str | None, message: str) -> None:
    assert message in error_of(text, valuation_date=day)


def test_columns_of_a_typed_table_are_read_alike() -> None:
    text = book_of(
        f"{HEADER},expiry_date,id",
        f"{ROW},2015-06-06,1",
        ",".join(("put,european,100,90,0.5,,0,0", "2015-06-06,2")),
    )
    table: dict[str, Any] = {
        "right": ["call", "put"],
        "exercise": ["american", "european"],
        "spot": np.array([100, 100]),
        "strike": np.array([90.0, 90.0], dtype=np.float32),
        "expiry": [0.5, 0.5],
        "vol": [0.2, None],
        "rate": [0.03, "0"],
        "dividend_yield": np.array([0.01, 0.0]),
        "expiry_date": np.array(["2015-06-06"] * 2, dtype="datetime64[ns]"),
        "id": [1, 2],
    }
    for day in (None, "2014-06-06"):
        typed = Book.from_columns(table, "t.parquet", valuation_date=day)
        assert typed.identity() == Book.parse(text, valuation_date=day).identity()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "t.parquet: there is no column 'right'"),
        ({"right": []}, "t.parquet: there is no column 'exercise'|'spot'"),
        ({"right": ["call"], "spot": [1, 2]}, "columns must be of one length, got"),
    ],
)
def test_a_typed_table_that_cannot_be_meant_is_refused(
    table: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        Book.from_columns(table, "t.parquet")


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("vol", True, "must be a number, got 'True'"),
        ("vol", [1], "must be a number, got '\\[1\\]'"),
        ("right", ["call"], "must be call or put, got"),
        ("right", None, "must be call or put, got None"),
        ("expiry_date", 3, "must be a date as 2014-06-21, got '3'"),
    ],
)
def test_a_typed_value_that_cannot_be_read_is_an_error_with_row_and_column(
    column: str, value: object, rule: str
) -> None:
    table: dict[str, list[object]] = {
        name: [field, field] for name, field in zip(HEADER.split(","), ROW.split(","), strict=True)
    }
    table["expiry_date"] = ["2015-06-06"] * 2
    table[column][1] = value
    with pytest.raises(SpecError, match=f"book: row 2, column '{column}': {rule}"):
        Book.from_columns(table, valuation_date="2014-06-06")


def test_integers_past_every_float_are_infinite() -> None:
    table = {name: [field] for name, field in zip(HEADER.split(","), ROW.split(","), strict=True)}
    book = Book.from_columns({**table, "rate": [10**400]})
    assert book.cells.reason(0) == "rate must be finite, got inf"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "method: must be one of auto"),
        ({"tolerance": 0}, "tolerance: must lie between"),
        ({"measures": ("vga",)}, "did you mean 'vega'?"),
        ({"method": "analytic"}, "method: must be auto or finite_difference for american options"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    assert message in error_of(book_of(HEADER, ROW), **settings)


def test_the_name_of_a_book_is_its_file_without_folders() -> None:
    assert Book.parse(book_of(HEADER, ROW), "some/where/chain.csv").name == "chain.csv"


IDENTITY = Book.parse(book_of(f"{HEADER},id", f"{ROW},1", f"{ROW},2")).identity()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (book_of(f"{HEADER},id", f"{ROW},1", f"{ROW},2", ""), True),
        (book_of(f"{HEADER},id", f"{ROW},1", f"{ROW.replace('0.5', '5e-1')},2"), True),
        (book_of(f"{HEADER},id", f"{ROW},2", f"{ROW},1"), False),
        (book_of(f"{HEADER},id", f"{ROW},1", f"{ROW.replace('0.5', '0.6')},2"), False),
        (book_of(f"{HEADER},key", f"{ROW},1", f"{ROW},2"), False),
    ],
)
def test_what_a_book_is_depends_on_its_values_and_their_order(text: str, same: bool) -> None:
    assert (Book.parse(text).identity() == IDENTITY) is same


@given(st.lists(st.text(), min_size=1))
def test_texts_survive_packing(words: list[str]) -> None:
    texts = np.array(words, dtype=object)
    assert unpack_texts(pack_texts(texts)).tolist() == words


@given(st.floats(allow_nan=False))
def test_every_float_is_read_back_from_its_own_spelling(number: float) -> None:
    assert parse_number(repr(number)) == number
    spelt = Book.parse(changed("rate", repr(number))).cells.rate
    assert spelt.tolist() == [0.03, number]


@given(st.text(alphabet='abc,"\n\r;\t 01.%-', max_size=40))
def test_no_text_escapes_with_another_exception(text: str) -> None:
    for table in (text, f"{HEADER}\n{text}"):
        with pytest.raises(PricerError):
            Book.parse(table)


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), min_size=1))
def test_any_text_passes_through(rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([*HEADER.split(","), "one", "two"])
    writer.writerows([*ROW.split(","), *row] for row in rows)
    book = Book.parse(buffer.getvalue())
    assert [list(pair) for pair in zip(book.texts["one"], book.texts["two"], strict=True)] == rows


def test_inputs_are_all_known_columns() -> None:
    assert not set(INPUTS) & set(RESULT_COLUMNS)


# --- packed files and folders ---


def test_a_packed_book_is_the_same_book(tmp_path: Path) -> None:
    text = book_of(HEADER, ROW, ROW.replace("90", "95"))
    (tmp_path / "b.csv").write_text(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode()))
    plain, packed = (read_book(tmp_path / name) for name in ("b.csv", "b.csv.gz"))
    assert packed.identity() == plain.identity()
    assert packed.name == "b.csv.gz"


@pytest.mark.parametrize("data", [b"right,spot", gzip.compress(b"right,spot" * 1_000)[:-20]])
def test_a_packed_book_that_is_none_is_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b.csv.gz"
    path.write_bytes(data)
    with pytest.raises(SpecError, match=r"b\.csv\.gz: is not gzip, or not whole: "):
        read_book(path)


def write_parts(folder: Path, parts: int) -> pa.Table:
    """Write a book of two rows a part, and return it whole."""
    folder.mkdir()
    rows = 2 * parts
    columns: dict[str, Any] = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    table = {n: [v if n in ("right", "exercise") else float(v)] * rows for n, v in columns.items()}
    whole = pa.table(
        table | {"strike": 90.0 + np.arange(rows), "id": [f"T{i}" for i in range(rows)]}
    )
    for part in range(parts):
        pq.write_table(whole.slice(2 * part, 2), folder / f"part.{part}.parquet")
    return whole


def test_a_folder_of_parts_is_one_book_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    whole = write_parts(tmp_path / "book", 11)
    pq.write_table(whole, tmp_path / "book.parquet")
    assert (
        read_book(tmp_path / "book").identity() == read_book(tmp_path / "book.parquet").identity()
    )


def test_the_order_of_parts_is_one_whatever_they_are_called(tmp_path: Path) -> None:
    # In either order a file system may list them.
    names = ["b.parquet", "1²2.parquet", "2.parquet", "1.parquet", "01.parquet"]
    for order in (names, names[::-1]):
        folder = tmp_path / order[0]
        folder.mkdir()
        for name in order:
            (folder / name).touch()
        found = [part.name for part in parquet_parts(folder)]
        assert found == ["01.parquet", "1.parquet", "1²2.parquet", "2.parquet", "b.parquet"]


def test_a_folder_that_is_no_book_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "book"
    whole = write_parts(folder, 2)
    pq.write_table(whole.drop_columns("id"), folder / "part.1.parquet")
    with pytest.raises(
        SpecError, match=r"part\.1\.parquet: columns must be those of part\.0\.parq"
    ):
        read_book(folder)
    text = whole.set_column(3, "strike", pa.array(["90"] * 4))
    pq.write_table(text, folder / "part.1.parquet")
    with pytest.raises(SpecError, match="book: columns must be of one kind in all parts: "):
        read_book(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(SpecError, match=r"none: is a folder without \.parquet files"):
        read_book(tmp_path / "none")
