"""Tables as files: columns of equal length become CSV, JSON or Parquet, a batch at a time.

A table is a mapping of column names to arrays of shape (n,). Text formats keep every digit
(``repr``), write codes as words, and leave a missing number empty (CSV) or null (JSON).
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from .columns import words_of
from .contracts import WORDS, Status
from .errors import MissingDependencyError, SpecError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    Table = Mapping[str, NDArray[Any]]

FORMATS = ("csv", "json", "parquet")
TEXT_ROWS = 16_384  # that are Python objects at a time


def format_of(path: Path) -> str:
    """Return the format that the suffix of `path` names."""
    name = path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        endings = ", ".join(f".{f}" for f in FORMATS[:-1])
        raise SpecError(f"{path}: must end in {endings} or .{FORMATS[-1]}")
    return name


def check_writable(path: Path, form: str) -> None:
    """Raise what writing `path` as `form` would raise for certain, before the work is done."""
    if form == "parquet":
        require_pyarrow()
    if path.is_dir():
        raise StoreError(f"{path}: cannot be written: is a folder")
    if not path.resolve().parent.is_dir():
        raise StoreError(f"{path}: cannot be written: no folder {path.parent}")


def write_file(path: Path, batches: Iterable[Table], form: str | None = None) -> int:
    """Write `batches` of one table to `path` in the format of its suffix; return the rows.

    The file appears whole or not at all: a failure leaves what stood there before.
    """
    form = form or format_of(path)
    check_writable(path, form)
    try:
        with whole(path) as part:
            if form == "parquet":
                return _write_parquet(part, batches)
            with part.open("w", encoding="utf-8", newline="") as stream:
                return write_text(stream, batches, form)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_text(stream: TextIO, batches: Iterable[Table], form: str) -> int:
    """Write `batches` to an open text stream as csv or json; return the rows."""
    pieces = _pieces(batches)
    return _write_csv(stream, pieces) if form == "csv" else _write_json(stream, pieces)


def rows_of(table: Table) -> Iterator[dict[str, object]]:
    """Yield the rows of `table` as values that JSON can hold."""
    columns = columns_of(table)
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def columns_of(table: Table) -> dict[str, list[Any]]:
    """Return the columns of `table` as values that JSON can hold."""
    return {name: _finite(plain(name, column)) for name, column in table.items()}


def plain(name: str, column: NDArray[Any]) -> list[Any]:
    """Return `column` as Python values: codes as words, NaN as None."""
    column = np.asarray(column)
    if column.dtype.kind == "f":
        values: list[Any] = column.tolist()
        for index in np.flatnonzero(np.isnan(column)).tolist():
            values[index] = None
        return values
    spelled: list[Any] = words(name, column).tolist()
    return spelled


def words(name: str, column: NDArray[Any]) -> NDArray[Any]:
    """Return a column of codes (status, right, exercise) as words, any other as it is."""
    if column.dtype.kind not in "iu":
        return column
    if name == "status":
        # What is not priced yet has no name.
        names = np.full(256, None, dtype=object)
        names[: len(Status)] = [status.name for status in Status]
        return np.take(names, column)
    if name in WORDS:
        return words_of(name, column).astype(object)
    return column


def _pieces(batches: Iterable[Table]) -> Iterator[Table]:
    for table in batches:
        rows = len(next(iter(table.values())))
        for start in range(0, max(rows, 1), TEXT_ROWS):
            yield {name: column[start : start + TEXT_ROWS] for name, column in table.items()}


def _finite(values: list[Any]) -> list[Any]:
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]


def _write_csv(stream: TextIO, batches: Iterable[Table]) -> int:
    writer = csv.writer(stream, lineterminator="\n")
    rows = 0
    for number, table in enumerate(batches):
        if number == 0:
            writer.writerow(table)
        columns = [plain(name, column) for name, column in table.items()]
        writer.writerows(zip(*columns, strict=True))
        rows += len(columns[0])
    return rows


def _write_json(stream: TextIO, batches: Iterable[Table]) -> int:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode
    rows = 0
    stream.write("[")
    for table in batches:
        for row in rows_of(table):
            stream.write(",\n" if rows else "\n")
            stream.write(encode(row))
            rows += 1
    stream.write("\n]\n" if rows else "]\n")
    return rows


def _write_parquet(path: Path, batches: Iterable[Table]) -> int:
    require_pyarrow()
    import pyarrow.parquet as pq

    iterator = iter(batches)
    first = arrow(next(iterator))
    rows = 0
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in chain([first], (arrow(t) for t in iterator)):
            writer.write_table(table.cast(first.schema) if table is not first else table)
            rows += table.num_rows
    return rows


def arrow(table: Table) -> Any:
    """Return `table` as a ``pyarrow.Table``; words are dictionary-encoded strings."""
    pa = require_pyarrow()
    return pa.table({name: _arrow_column(pa, name, column) for name, column in table.items()})


def _arrow_column(pa: Any, name: str, column: NDArray[Any]) -> Any:
    column = np.asarray(column)
    if column.dtype.kind in "iu" and (name == "status" or name in WORDS):
        column = words(name, column)
        return pa.array(column, type=pa.string()).dictionary_encode()
    if column.dtype.kind in "iuf":
        return pa.array(column)
    return pa.array(column.tolist(), type=pa.string())


def parquet_parts(path: Path) -> list[Path]:
    """Return the Parquet files that `path` means: itself, or those of a folder, part 2 before 10.

    Of a folder what begins with a dot or an underscore is left out, and so is what has another
    ending.
    """
    if not path.is_dir():
        return [path]
    try:
        there = list(path.iterdir())
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}") from None
    parts = [each for each in there if each.suffix.lower() == ".parquet"]
    parts = [each for each in parts if each.name[0] not in "._"]
    if not parts:
        raise SpecError("is a folder without .parquet files; name one that has them")
    # By their names too, where numbers are spelled differently: 1 and 01.
    return sorted(parts, key=lambda part: (_ranks(part.name), part.name))


def _ranks(name: str) -> list[tuple[int, str]]:
    """Rank digits, which every other piece of a name is, by what they count."""
    pieces = enumerate(re.split(r"(\d+)", name))
    return [(int(piece), "") if at % 2 else (0, piece) for at, piece in pieces]


def require_pyarrow() -> Any:
    """Return pyarrow, or say how to install it."""
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingDependencyError("Parquet needs pyarrow: pip install pyarrow") from None
    return pa


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write what becomes the file at `path` in the end, unless something fails."""
    target = path.resolve()
    # A device or a pipe cannot be renamed onto, and holds no half-written file.
    if target.exists() and not target.is_file():
        yield target
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
