"""Panels from files: one pass, in order, whose numbers are kept nameless on disk."""

from __future__ import annotations

import errno
import gzip
import os
import re
import tempfile
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from panels import columns_of, panel_of, write_panel, write_toml
from pricer import panelfile
from pricer.errors import SpecError, StoreError
from pricer.panel import NUMBERS, Panel
from pricer.reading import read_spec

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = [50, 3, 20, 1, 41, 19]
CSV = "firm,date,equity,debt,rate\nA,2001-01-01,5,1,.02\nA,2001-01-02,6,1,.02\nB,2001-01-01,7,1,0\n"


def read(path: Path) -> Panel:
    panel = read_spec(path)
    assert isinstance(panel, Panel)
    return panel


def from_csv(folder: Path, text: str, more: str = "") -> Panel:
    (folder / "firms.csv").write_text(text)
    return read(write_toml(folder, more=more))


def assert_same(found: Panel, expected: Panel) -> None:
    assert found.firms.tolist() == expected.firms.tolist()
    assert found.offsets.tolist() == expected.offsets.tolist()
    assert found.dates.tolist() == expected.dates.tolist()
    rows = int(expected.offsets[-1])
    for got, wanted in zip(found.days(0, rows), expected.days(0, rows), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_reading_says_how_far_it_is(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panelfile, "BATCH_ROWS", 50)
    monkeypatch.setattr(panelfile, "BATCH_BYTES", 1_000)
    file = write_panel(tmp_path, columns_of(LENGTHS), form)
    told: list[tuple[int, int]] = []
    read_spec(file, on_progress=lambda *at: told.append(at))
    size = (tmp_path / f"firms.{form}").stat().st_size
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (size, size)


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("batch_rows", [1, 7, 20, 1000])
@pytest.mark.parametrize(("window", "step"), [(20, 20), (20, 3), (5, 11)])
def test_a_panel_is_that_of_its_rows_however_many_are_read_together(
    form: str,
    batch_rows: int,
    window: int,
    step: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(panelfile, "BATCH_ROWS", batch_rows)
    monkeypatch.setattr(panelfile, "BATCH_BYTES", max(100, 40 * batch_rows))
    contract = f"window = {window}\nstep = {step}"
    found = read(write_panel(tmp_path, columns_of(LENGTHS), form, contract=contract))
    assert_same(found, panel_of(LENGTHS, window, step))
    assert found.name == "small"


def test_the_same_panel_as_csv_and_as_parquet_is_the_same(tmp_path: Path) -> None:
    columns = columns_of(LENGTHS)
    columns["debt"][4] = 0.0
    again = {name: column.copy() for name, column in columns.items()}
    # Another spelling of the same: a NaN of other bits, a negative zero.
    again["equity"].view(np.uint64)[np.isnan(again["equity"])] |= 5
    again["debt"][4] = -0.0
    found = [read(write_panel(tmp_path, columns, form)).identity() for form in ("parquet", "csv")]
    found.append(read(write_panel(tmp_path, again)).identity())
    for number in ("equity", "debt", "rate"):
        again[number] = pa.array(again[number], from_pandas=True)  # NaN as null
    found.append(read(write_panel(tmp_path, again)).identity())
    assert all(a == b for a, b in pairwise(found))


def test_what_tells_a_panel_is_the_same_tomorrow(tmp_path: Path) -> None:
    # A change here loses every run that a user has stored.
    expected = "c0e069a5729a0c4fa83410315592652d496a4b9a905ad27202faa66c0b91b2cd"
    assert from_csv(tmp_path, CSV).digest == expected


@pytest.mark.parametrize(
    ("name", "row", "value"),
    [("firm", slice(50, 53), "G"), ("date", 49, "2002-01-01"), ("rate", 7, 0.5), ("debt", 0, 1.0)],
)
def test_another_panel_is_another(name: str, row: Any, value: Any, tmp_path: Path) -> None:
    columns = columns_of(LENGTHS)
    contract = "window = 50"
    before = read(write_panel(tmp_path, columns, contract=contract)).identity()
    columns[name][row] = value
    assert read(write_panel(tmp_path, columns, contract=contract)).identity() != before


def test_firms_may_be_numbers_and_dates_timestamps_or_texts(tmp_path: Path) -> None:
    columns: dict[str, Any] = dict(columns_of([30, 20]))
    days = columns["date"]
    columns["firm"] = np.repeat([7, 12], [30, 20])
    plain = read(write_panel(tmp_path, columns))
    assert plain.firms.tolist() == ["7", "12"]
    texts = np.datetime_as_string(days, "D").astype(object)
    for dates in (
        days.astype("M8[ms]") + np.timedelta64(17, "h"),
        pa.array(days.astype("M8[D]").tolist()),
        pa.array(texts, pa.string()),
        pa.array([f"{text}T09:30:00" for text in texts]).dictionary_encode(),
    ):
        columns["date"] = dates
        for form in ("parquet", "csv"):
            found = read(write_panel(tmp_path, columns, form))
            assert found.identity() == plain.identity()
    texts = pa.array(["7"] * 30 + ["12"] * 20)
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int16(), pa.string())):
        columns["firm"] = texts.cast(kind)
        assert read(write_panel(tmp_path, columns)).identity() == plain.identity()


def test_dates_may_be_written_as_whole_numbers(tmp_path: Path) -> None:
    columns: dict[str, Any] = dict(columns_of([30, 20]))
    plain = read(write_panel(tmp_path, columns)).identity()
    texts = np.datetime_as_string(columns["date"], "D")
    columns["date"] = np.array([int(text.replace("-", "")) for text in texts])
    for form in ("parquet", "csv"):
        assert read(write_panel(tmp_path, columns, form)).identity() == plain


def test_all_dates_of_a_file_are_written_in_one_way(tmp_path: Path) -> None:
    mixed = CSV.replace("2001-01-01,5", "20010101,5")
    with pytest.raises(SpecError, match="row 2, column 'date': must be a date as 20010101 in the"):
        from_csv(tmp_path, mixed)
    with pytest.raises(SpecError, match="row 2, column 'date': must be a date as 2014-06-21, got"):
        from_csv(tmp_path, CSV.replace("2001-01-02", "20010102"))


def test_a_packed_file_and_a_folder_of_parts_are_the_same_panel(tmp_path: Path) -> None:
    columns = columns_of(LENGTHS)
    path = write_panel(tmp_path, columns, "csv")
    plain = read(path).identity()
    (tmp_path / "firms.csv.gz").write_bytes(gzip.compress((tmp_path / "firms.csv").read_bytes()))
    assert read(write_toml(tmp_path, "firms.csv.gz")).identity() == plain
    (tmp_path / "firms.csv.gz").rename(tmp_path / "FIRMS.CSV.GZ")
    assert read(write_toml(tmp_path, "FIRMS.CSV.GZ")).identity() == plain
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    (folder / "_metadata.parquet").touch()
    table = pa.table(columns)
    for part in range(12):  # of which 10 comes after 9, and a firm may go on in the next
        pq.write_table(table.slice(12 * part, 12), folder / f"part-{part}.parquet")
    # No part is left out for how its ending is spelled.
    (folder / "part-11.parquet").rename(folder / "part-11.PARQUET")
    assert read(write_toml(tmp_path, "parts")).identity() == plain


def test_what_is_wrong_with_a_part_is_said_with_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    table = pa.table(columns_of([30]))
    pq.write_table(table.slice(0, 10), folder / "1.parquet")
    pq.write_table(table.slice(10).drop_columns("rate"), folder / "2.parquet")
    with pytest.raises(SpecError, match=r"parts: 2\.parquet: there is no column 'rate'"):
        read(write_toml(tmp_path, "parts"))
    (folder / "2.parquet").write_text("none")
    with pytest.raises(SpecError, match=r"parts: 2\.parquet: is not Parquet: "):
        read(write_toml(tmp_path, "parts"))
    pq.write_table(table.slice(0, 1), folder / "2.parquet")
    with pytest.raises(SpecError, match="parts: row 11: a firm's dates must strictly increase"):
        read(write_toml(tmp_path, "parts"))


def test_a_day_is_that_of_the_zone_of_its_timestamp(tmp_path: Path) -> None:
    columns: dict[str, Any] = dict(columns_of([30]))
    plain = read(write_panel(tmp_path, columns))
    midnight = columns["date"].astype("M8[ms]") - np.timedelta64(9, "h")  # in UTC
    columns["date"] = pa.array(midnight, pa.timestamp("ms", "Asia/Tokyo"))
    assert read(write_panel(tmp_path, columns)).identity() == plain.identity()


def test_a_column_without_any_number_is_one_of_missing_numbers(tmp_path: Path) -> None:
    columns: dict[str, Any] = dict(columns_of([30])) | {"rate": pa.nulls(30)}
    assert np.isnan(read(write_panel(tmp_path, columns)).days(0, 30)[2]).all()


def test_columns_may_be_called_otherwise_and_others_are_not_read(tmp_path: Path) -> None:
    columns: dict[str, Any] = dict(columns_of([30, 20]))
    plain = read(write_panel(tmp_path, columns))
    columns["market_cap"] = columns.pop("equity")
    columns["asset_value"] = np.full(50, "none of ours")
    more = 'columns = { equity = "market_cap" }'
    for form in ("parquet", "csv"):
        assert read(write_panel(tmp_path, columns, form, more=more)).identity() == plain.identity()


def test_days_without_numbers_are_read_as_such(tmp_path: Path) -> None:
    text = "firm,date,equity,debt,rate\nA,2001-01-01,,NA,inf\nA,2001-01-02,-1, 2 ,nan\n"
    equity, debt, rate = from_csv(tmp_path, text + "A,2001-01-03,., . ,\n").days(0, 3)
    np.testing.assert_array_equal(equity, [np.nan, -1.0, np.nan])
    np.testing.assert_array_equal(debt, [np.nan, 2.0, np.nan])
    np.testing.assert_array_equal(rate, [np.inf, np.nan, np.nan])


@pytest.mark.parametrize(
    ("row", "instead", "message"),
    [
        ("A,2001-01-02", "A,2001-01-01", "row 2: a firm's dates must strictly increase, got 2001"),
        ("A,2001-01-02", "A,2001-01-01", "-01-01 twice; keep one row a day"),
        ("A,2001-01-02", "A,2000-01-01", "got 2000-01-01 after 2001-01-01; sort the file by firm"),
        ("B,2001-01-01,7,1,0", "B,2001-01-01,7,1,0\nA,2001-01-03,1,1,1", "row 4: the rows of a fi"),
        ("B,2001-01-01,7,1,0", "B,2001-01-01,7,1,0\nA,2001-01-03,1,1,1", "got 'A' again after 'B'"),
        ("B,2001-01-01", ",2001-01-01", "row 3, column 'firm': must name a firm, got nothing"),
        ("A,2001-01-02", "A,", "row 2, column 'date': must be a date, got nothing"),
        ("A,2001-01-02", "A,01/02/2001", "row 2, column 'date': must be a date as 2014-06-21, got"),
        ("A,2001-01-02", "A,2001-01-02T00:00:00+09:00", "row 2, column 'date': must be a date as"),
        ("2,6,1", "2,$6,1", "row 2, column 'equity': must be a number, got '$6'"),
        ("7,1,0", "7, x ,0", "row 3, column 'debt': must be a number, got 'x'"),
        ("7,1,0", "7,1,5%", "row 3, column 'rate': must be a number, got '5%'; write 0.05"),
        ("7,1,0", "7,1", "row 3: must have 5 fields, got 4"),
        ("A,2001-01-02,6,1,.02", "\n\nA,2001-01-02,6,1,.02,9", "row 2: must have 5 fields, got 6"),
        ("equity", "equty", "there is no column 'equity'; did you mean 'equty'?; the file has fir"),
        ("rate", "rf", 'debt, rf; write columns = { rate = "..." } below [panel]'),
        ("rate", "debt", "header: names must differ, got 'debt' twice"),
        (CSV, "\n", "is empty; must have a header and at least one row"),
        (CSV, CSV.splitlines()[0], "must have at least one row below its header, got none"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_one_line(
    row: str, instead: str, message: str, tmp_path: Path
) -> None:
    assert row in CSV
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        from_csv(tmp_path, CSV.replace(row, instead))
    assert str(raised.value).startswith(f"{tmp_path / 'firms.csv'}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("equity", ["1", "2"], "column 'equity': must hold numbers, got string"),
        ("debt", [True, False], "column 'debt': must hold numbers, got bool"),
        ("date", [1, 2], "row 1, column 'date': must be a date as 20140621, got 1"),
        (
            "date",
            [20010228, 20010229],
            "row 2, column 'date': must be a date as 20140621, got 2001",
        ),
        (
            "date",
            [20011301, 20020101],
            "row 1, column 'date': must be a date as 20140621, got 2001",
        ),
        ("date", [1.0, 2.0], "column 'date': must hold dates, got double"),
        ("date", ["2001-01-02", "tomorrow"], "row 2, column 'date': must be a date as 2014-06-21"),
        ("date", ["2001-01-02", None], "row 2, column 'date': must be a date, got nothing"),
        ("firm", [1.0, 2.0], "column 'firm': must hold text or whole numbers, got double"),
        ("firm", ["A", None], "row 2, column 'firm': must name a firm, got nothing"),
    ],
)
def test_what_is_wrong_with_a_parquet_file_is_one_line(
    name: str, column: list[Any], message: str, tmp_path: Path
) -> None:
    columns: dict[str, Any] = dict(columns_of([2])) | {name: column}
    with pytest.raises(SpecError, match=re.escape(message)):
        read(write_panel(tmp_path, columns))


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    def said(file: str) -> str:
        with pytest.raises(SpecError) as raised:
            read(write_toml(tmp_path, file))
        return str(raised.value).removeprefix(f"{tmp_path / file}: ")

    assert (
        said("nothing.csv")
        == said("nothing.parquet")
        == ("cannot be read: No such file or directory")
    )
    (tmp_path / "text.parquet").write_text("firm")
    assert said("text.parquet").startswith("is not Parquet: ")
    (tmp_path / "latin.csv").write_bytes("firm,é\n".encode("latin-1"))
    assert said("latin.csv").startswith("must be UTF-8 text: ")
    (tmp_path / "plain.csv.gz").write_text(CSV)
    assert said("plain.csv.gz") == "cannot be read: Not a gzipped file (b'fi')"
    packed = gzip.compress(1000 * CSV.encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert said("cut.csv.gz").startswith("cannot be read: ")
    (tmp_path / "empty").mkdir()
    assert said("empty") == "is a folder without .parquet files; name one that has them"
    rule = "must end in .parquet, .csv or .csv.gz, or be a folder of .parquet files"
    assert said("firms.txt") == rule


def test_a_line_without_end_is_refused_once_it_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panelfile, "BATCH_BYTES", 1000)
    for text in ("a" * 2000, "firm,date,equity,debt,rate\n" + "a" * 2000):
        (tmp_path / "long.csv.gz").write_bytes(gzip.compress(text.encode()))
        with pytest.raises(SpecError, match="must have lines of less than 1,000 characters"):
            read(write_toml(tmp_path, "long.csv.gz"))


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = "there is no column 'cap', which [panel] columns.equity names; the file has firm,"
    with pytest.raises(SpecError, match=re.escape(message)):
        from_csv(tmp_path, CSV, 'columns = { equity = "cap" }')


def test_a_toml_file_says_its_own_measures(tmp_path: Path) -> None:
    path = write_panel(tmp_path, columns_of([30]))
    with pytest.raises(SpecError, match="says its own measures"):
        read_spec(path, measures=("drift",))


def test_what_cannot_be_kept_on_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, numbers: Any) -> None:
        with panelfile._kept_whole():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(panelfile._Column, "add", full)
    message = "cannot keep the numbers of a panel, 24 bytes a row: No space left on device; set TM"
    with pytest.raises(StoreError, match=message):
        from_csv(tmp_path, CSV)
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="No such file or directory; set TMPDIR"):
        from_csv(tmp_path, CSV)


def test_reading_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    panel = from_csv(tmp_path, CSV)
    assert panel.days(1, 2)[0].tolist() == [6.0]
    assert not list(folder.iterdir())
    with pytest.raises(SpecError):
        from_csv(tmp_path, CSV.replace("2001-01-02", "2000-01-01"))
    assert not list(folder.iterdir())


def test_row_groups_are_not_kept_in_memory(tmp_path: Path) -> None:
    table = pa.table(dict(columns_of([20_000] * 40)))
    file = tmp_path / "firms.parquet"
    pq.write_table(table, file, row_group_size=40_000, use_dictionary=["firm"])
    del table
    before = pa.total_allocated_bytes()
    most = 0
    for batch in panelfile._read_parquet(file, {}):
        most = max(most, pa.total_allocated_bytes() - before)
        del batch
    assert most < file.stat().st_size / 4


def test_numbers_are_read_by_threads_at_any_place(tmp_path: Path) -> None:
    panel = read(write_panel(tmp_path, columns_of(LENGTHS)))
    expected = panel_of(LENGTHS)
    for name in NUMBERS:
        assert panel.read(name, 16, 96) == expected.read(name, 16, 96)
        size = 8 * sum(LENGTHS)
        assert panel.read(name, size - 8, size + 8) == expected.read(name, size - 8, size)
