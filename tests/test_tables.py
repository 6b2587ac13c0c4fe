"""Tables as files: nothing lost, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer import tables
from pricer.errors import MissingDependencyError, SpecError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pricer.tables import Table

BATCH: dict[str, Any] = {
    "row": np.array([1, 2, 3]),
    "right": np.array([1, -1, -1], dtype=np.int8),
    "desk": np.array(["a", 'say "b", c', "é"]),
    "strike": np.array([100.0, 0.1, 1e-300]),
    "price": np.array([0.1 + 0.2, 1 / 3, np.nan]),
    "status": np.array([0, 2, 1], dtype=np.uint8),
}


def text(batches: list[Table], form: str) -> str:
    stream = io.StringIO()
    tables.write_text(stream, batches, form)
    return stream.getvalue()


def test_csv_reads_back_bit_for_bit_with_words_for_codes() -> None:
    rows = list(csv.DictReader(io.StringIO(text([BATCH], "csv"))))
    assert [float(r["price"]) for r in rows[:2]] == BATCH["price"][:2].tolist()
    assert [float(r["strike"]) for r in rows] == BATCH["strike"].tolist()
    assert [r["right"] for r in rows] == ["call", "put", "put"]
    assert [r["status"] for r in rows] == ["ok", "tolerance", "invalid"]
    assert [r["desk"] for r in rows] == BATCH["desk"].tolist()
    assert rows[0]["row"] == "1"


def test_a_missing_number_is_empty_in_csv_and_null_in_json() -> None:
    assert text([BATCH], "csv").splitlines()[3].split(",")[-2] == ""
    assert json.loads(text([BATCH], "json"))[2]["price"] is None


def test_json_reads_back_bit_for_bit_one_row_a_line() -> None:
    written = text([BATCH], "json")
    rows = json.loads(written)
    assert rows[0] == {
        "row": 1,
        "right": "call",
        "desk": "a",
        "strike": 100.0,
        "price": 0.1 + 0.2,
        "status": "ok",
    }
    assert len(written.splitlines()) == 2 + len(rows)


def test_json_holds_no_infinity() -> None:
    rows = json.loads(text([{"strike": np.array([np.inf, 1.0])}], "json"))
    assert rows == [{"strike": None}, {"strike": 1.0}]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_batches_make_the_text_that_one_table_makes(form: str) -> None:
    cut: list[Table] = [
        {name: column[a:b] for name, column in BATCH.items()} for a, b in ((0, 2), (2, 3))
    ]
    assert text(cut, form) == text([BATCH], form)


def test_a_table_without_rows_is_a_header_or_an_empty_list() -> None:
    empty = {name: column[:0] for name, column in BATCH.items()}
    assert text([empty], "csv") == "row,right,desk,strike,price,status\n"
    assert json.loads(text([empty], "json")) == []


def test_parquet_keeps_numbers_exactly_and_words_as_strings(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    assert tables.write_file(path, [BATCH, BATCH]) == 6
    read = pq.read_table(path).to_pydict()
    assert read["strike"] == BATCH["strike"].tolist() * 2
    assert read["right"] == ["call", "put", "put"] * 2
    assert read["status"] == ["ok", "tolerance", "invalid"] * 2
    assert read["row"] == [1, 2, 3] * 2


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    tables.write_file(tmp_path / "t.CSV", [BATCH])
    assert (tmp_path / "t.CSV").read_text(encoding="utf-8").startswith("row,right")
    with pytest.raises(SpecError, match=r"t\.xlsx: must end in \.csv, \.json or \.parquet"):
        tables.write_file(tmp_path / "t.xlsx", [BATCH])


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install pyarrow"):
        tables.write_file(tmp_path / "t.parquet", [BATCH])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_a_failure_midway_leaves_what_stood_there(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")

    def failing() -> Iterator[Table]:
        yield BATCH
        raise StoreError("the store went away")

    path = tmp_path / f"t.{suffix}"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(StoreError, match="the store went away"):
        tables.write_file(path, failing())
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written: no folder"):
        tables.write_file(tmp_path / "no" / "t.csv", [BATCH])
    with pytest.raises(StoreError, match="cannot be written: is a folder"):
        tables.write_file(tmp_path, [BATCH], "csv")


def test_a_full_disk_is_one_line() -> None:
    from pathlib import Path

    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(StoreError, match="/dev/full: cannot be written: No space left"):
        tables.write_file(full, [BATCH], "csv")
