"""A panel from its file: one pass over it, whose numbers stay on disk.

They go on to temporary files without a name, so that nothing is left behind however the reading
or the program ends. Memory holds some rows, and a little of each firm and window.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import tempfile
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import MISSING_MARKS, parse_date, parse_number
from .contracts import suggest
from .errors import SpecError, StoreError
from .panel import COLUMNS, NUMBERS, Panel, PanelFile, Windows
from .tables import parquet_parts, require_pyarrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Days = NDArray[np.int32]
    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

# Rows that are read together; of text, bytes.
BATCH_ROWS, BATCH_BYTES, BUFFER_BYTES = 2**18, 2**23, 2**20
EPOCH = date(1970, 1, 1)
# A blank before a mark or after it is a column's padding.
MISSING = sorted(
    f"{before}{way(mark)}{after}"
    for mark in MISSING_MARKS
    for way in (str, str.upper, str.title)
    for before in ("", " ")
    for after in ("", " ")
)
NO_ROWS = "must have at least one row below its header, got none"
SORTED = "sort the file by firm and date"
# What pyarrow says of a value that it cannot read.
_INVALID = re.compile(r"In CSV column #(\d+): .*(?:invalid value|zone offset in) '(.*)'", re.DOTALL)


def read_panel(
    text: str, path: Path, on_progress: Callable[[int, int], None] | None = None
) -> Panel:
    """Read the panel whose TOML `text` stands in the file `path`.

    `on_progress` is told how many bytes of the file that it names are read, and how many it has.

    Raises
    ------
    SpecError
        Where the text or the file that it names cannot be meant: one line, with the row.
    StoreError
        Where the temporary files cannot be written.
    """
    said = PanelFile.parse(text, str(path))
    file = path.parent / said.file
    reader = _Reader(said.windows)
    with _explained(file), ThreadPoolExecutor(len(NUMBERS)) as pool:
        kept: list[Any] = []
        for done_bytes, firms, days, numbers in _batches(file, said.columns):
            for done in kept:
                done.result()
            kept = [
                pool.submit(column.add, numbers[name]) for name, column in reader.columns.items()
            ]
            reader.take(firms, days)
            if on_progress:
                on_progress(done_bytes, sum(part.stat().st_size for part in parquet_parts(file)))
        for done in kept:
            done.result()
        return reader.panel(said)


class _Reader:
    """Takes rows in the order of the file; keeps what a `Panel` needs."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.rows = 0
        self.first_rows: dict[str, int] = {}
        self.firm, self.first, self.last_day = "", 0, 0
        self.dates: list[Days] = []
        self.columns = {name: _Column() for name in NUMBERS}

    def take(self, firms: Any, days: Days) -> None:
        """Take the next rows: an Arrow array of firms, days since 1970-01-01."""
        starts = self._starts(firms)
        self._check_days(days, starts)
        begins = starts + self.rows
        if not (len(starts) and starts[0] == 0):
            begins = np.concatenate(([self.first], begins))
        elif self.rows:
            self._close()
        self._keep_dates(days, begins)
        self.first, self.last_day = int(begins[-1]), int(days[-1])
        self.rows += len(days)

    def panel(self, said: PanelFile) -> Panel:
        """Return the panel of all rows."""
        if not self.rows:
            raise SpecError(NO_ROWS)
        self._close()
        names = list(self.first_rows)
        firms = np.empty(len(names), dtype=object)
        firms[:] = names
        offsets = np.array([*self.first_rows.values(), self.rows], dtype=np.int64)
        dates = np.concatenate(self.dates)
        columns = self.columns
        digest = hashlib.sha256(json.dumps(names).encode())
        digest.update(offsets.astype("<i8", copy=False).tobytes())
        digest.update(dates.astype("<i4", copy=False).tobytes())
        for column in columns.values():
            digest.update(column.digest.digest())

        def read(name: str, first: int, end: int) -> bytes:
            return columns[name].read(first, end)

        return Panel(
            firms, offsets, dates, digest.hexdigest(), read, said.windows, said.measures, said.name
        )

    def _starts(self, firms: Any) -> Indices:
        """Return which of these rows are the first of a firm."""
        if firms.null_count:
            raise self._nameless(firms.is_null().to_numpy(zero_copy_only=False))
        codes = firms.indices.to_numpy()
        # Perhaps not all: a name may stand in the dictionary twice.
        changes = np.concatenate(([0], np.flatnonzero(codes[1:] != codes[:-1]) + 1))
        names = list(map(str, firms.dictionary.to_pylist()))
        if "" in names:
            raise self._nameless(codes == names.index(""))
        starts = []
        for at, code in zip(changes.tolist(), codes[changes].tolist(), strict=True):
            name = names[code]
            if name == self.firm:
                continue
            if name in self.first_rows:
                raise SpecError(
                    f"row {self.rows + at + 1}: the rows of a firm must be together, got {name!r}"
                    f" again after {self.firm!r}; {SORTED}"
                )
            self.first_rows[name] = self.rows + at
            self.firm = name
            starts.append(at)
        return np.array(starts, dtype=np.int64)

    def _nameless(self, where: NDArray[np.bool_]) -> SpecError:
        row = self.rows + int(np.flatnonzero(where)[0]) + 1
        return SpecError(f"row {row}, column 'firm': must name a firm, got nothing")

    def _check_days(self, days: Days, starts: Indices) -> None:
        before = np.concatenate(([self.last_day], days[:-1]))
        wrong = days <= before
        wrong[starts] = False
        for at in np.flatnonzero(wrong)[:1].tolist():
            this, last = (EPOCH + timedelta(int(day)) for day in (days[at], before[at]))
            place = f"row {self.rows + at + 1}: a firm's dates must strictly increase"
            if this == last:
                raise SpecError(f"{place}, got {this} twice; keep one row a day")
            raise SpecError(f"{place}, got {this} after {last}; {SORTED}")

    def _close(self) -> None:
        """End the firm of the last row: without a whole window it has one of all its days."""
        if self.rows - self.first < self.windows.window:
            self.dates.append(np.array([self.last_day], dtype=np.int32))

    def _keep_dates(self, days: Days, begins: Indices) -> None:
        """Keep the last days of windows among these; firms begin at the rows `begins`."""
        window, step = self.windows.window, self.windows.step
        ends = np.append(begins[1:], self.rows + len(days))
        last = begins + window - 1
        done = np.maximum(-((last - self.rows) // step), 0)
        counts = np.maximum((ends - 1 - last) // step + 1 - done, 0)
        skipped = np.cumsum(counts) - counts
        whole = np.repeat(last + (done - skipped) * step, counts)
        whole += step * np.arange(len(whole))
        short = ends[:-1][(ends - begins)[:-1] < window] - 1
        self.dates.append(days[np.sort(np.concatenate((whole, short))) - self.rows])


class _Column:
    """The numbers of one column, on disk, and what tells them from others."""

    def __init__(self) -> None:
        with _kept_whole():
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        weakref.finalize(self, file.close)
        self.file = file
        self.digest = hashlib.sha256()

    def add(self, numbers: Floats) -> None:
        """Append numbers; of missing ones and of zeros there is one each."""
        plain = numbers + 0.0
        missing = np.isnan(plain)
        if missing.any():
            plain[missing] = np.nan
        data = plain.astype("<f8", copy=False).data.cast("B")
        self.digest.update(data)
        with _kept_whole():
            while data:
                data = data[self.file.write(data) :]

    def read(self, first: int, end: int) -> bytes:
        """Return the bytes from `first` to before `end`; threads may share it."""
        parts = []
        while first < end and (data := os.pread(self.file.fileno(), end - first, first)):
            parts.append(data)
            first += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _batches(
    file: Path, mapped: Mapping[str, str]
) -> Iterator[tuple[int, Any, Days, dict[str, Floats]]]:
    """Yield the firms, days and numbers of some rows at a time, and the bytes read till then."""
    import pyarrow as pa

    name = file.name.lower()
    if name.endswith(".parquet") or file.is_dir():
        batches = _read_parquet(file, mapped)
    elif name.endswith((".csv", ".csv.gz")):
        batches = _read_csv(file, mapped)
    else:
        raise SpecError("must end in .parquet, .csv or .csv.gz, or be a folder of .parquet files")
    rows = 0
    for done_bytes, batch in batches:
        columns = dict(zip(COLUMNS, batch.columns, strict=True))
        firms = columns["firm"]
        if not hasattr(firms, "dictionary"):
            firms = firms.cast(pa.string()).dictionary_encode()
        numbers = {name: _numbers(columns[name]) for name in NUMBERS}
        yield done_bytes, firms, _days(columns["date"], rows), numbers
        rows += batch.num_rows


def _numbers(column: Any) -> Floats:
    """Return numbers of any kind as float64, NaN where one is missing."""
    import pyarrow as pa

    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _days(dates: Any, rows: int) -> Days:
    """Return dates as days since 1970-01-01; the first stands in row `rows` + 1."""
    import pyarrow.compute as pc

    if dates.null_count:
        at = int(np.flatnonzero(dates.is_null().to_numpy(zero_copy_only=False))[0])
        raise SpecError(f"row {rows + at + 1}, column 'date': must be a date, got nothing")
    if not _is_text(dates.type):
        if getattr(dates.type, "tz", None):
            # Arrow keeps the instant; the day that the file means is that of its zone.
            dates = pc.local_timestamp(dates)
        numbers = dates.to_numpy(zero_copy_only=False)
        if numbers.dtype.kind in "iu":
            return _written_days(numbers, rows)
        days: Days = numbers.astype("M8[D]").astype(np.int32)
        return days
    texts: list[str] = dates.to_pylist()
    known = dict.fromkeys(texts, 0)
    for text in known:
        try:
            # A time of day may follow.
            known[text] = (parse_date(text[:10]) - EPOCH).days
        except SpecError as error:
            place = f"row {rows + texts.index(text) + 1}, column 'date'"
            raise SpecError(f"{place}: {error}") from None
    return np.array([known[text] for text in texts], dtype=np.int32)


def _written_days(numbers: Indices, rows: int) -> Days:
    """Return dates as whole numbers, 20140621, as days since 1970-01-01."""
    years, rest = np.divmod(numbers.astype(np.int64), 10_000)
    months, days = np.divmod(rest, 100)
    first = ((years - 1970) * 12 + months - 1).astype("M8[M]")
    found = first.astype("M8[D]") + (days - 1)
    right = (years >= 1000) & (years <= 9999) & (months >= 1) & (months <= 12) & (days >= 1)
    for at in np.flatnonzero(~right | (found.astype("M8[M]") != first))[:1].tolist():
        raise SpecError(
            f"row {rows + at + 1}, column 'date': must be a date as 20140621, got {numbers[at]}"
        )
    since: Days = found.astype(np.int32)
    return since


def _read_parquet(file: Path, mapped: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
    """Yield record batches that have `COLUMNS` in this order, and the bytes read till then."""
    import pyarrow as pa

    before = 0
    for part in parquet_parts(file):
        try:
            for done_bytes, batch in _read_part(part, mapped):
                yield before + done_bytes, batch
            before += part.stat().st_size
        except (SpecError, pa.ArrowException) as error:
            if part == file:
                raise
            what = "" if isinstance(error, SpecError) else "is not Parquet: "
            raise SpecError(f"{part.name}: {what}{' '.join(str(error).split())}") from None


def _read_part(file: Path, mapped: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        schema = opened.schema_arrow
    names = _names(schema.names, mapped)
    for column, name in zip(COLUMNS, names, strict=True):
        _check_type(column, name, schema.field(name).type)
    firm = [names[0]] if _is_text(schema.field(names[0]).type) else []
    # Read as it comes, where one row group holds all rows.
    reading = {"buffer_size": BUFFER_BYTES, "pre_buffer": False, "read_dictionary": firm}
    size, rows = file.stat().st_size, 0
    with pq.ParquetFile(file, **reading) as opened:
        # One after the other: asked for all, Arrow keeps each in memory that it has read.
        for group in range(opened.num_row_groups):
            for batch in opened.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
                if batch.num_rows:
                    rows += batch.num_rows
                    yield size * rows // opened.metadata.num_rows, batch.select(names)


def _read_csv(file: Path, mapped: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
    """Yield record batches that have `COLUMNS` in this order, and the bytes read till then."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    reading = arrow_csv.ReadOptions(block_size=BATCH_BYTES)
    header, first = _first_rows(file)
    names = _names([name.strip() for name in header], mapped)
    given = [header[[name.strip() for name in header].index(name)] for name in names]
    # As the first row has it: a number is no date of the other kind.
    day = dict(zip(header, first, strict=False)).get(given[1], "")
    date = pa.int32() if re.fullmatch(r"\s*\d{8}\s*", day, re.ASCII) else pa.timestamp("us")
    types = dict(zip(given, (pa.string(), date, *[pa.float64()] * 3), strict=True))
    converting = arrow_csv.ConvertOptions(
        column_types=types, include_columns=given, null_values=MISSING
    )
    uneven: list[Any] = []
    parsing = _noting(uneven)
    try:
        with (
            file.open("rb", buffering=0) as opened,
            _opened(file, opened) as stream,
            arrow_csv.open_csv(stream, reading, parsing, converting) as batches,
        ):
            for batch in batches:
                if batch.num_rows:
                    yield opened.tell(), batch
    except pa.ArrowInvalid as error:
        if uneven:
            raise _uneven(file) from None
        if found := _INVALID.search(str(error)):
            name = header[int(found[1])]
            column = COLUMNS[given.index(name)]
            raise _unreadable(file, name, column, found[2], day.strip()) from None
        raise


def _opened(file: Path, read: Any = None) -> Any:
    """Open a CSV file for Arrow, which knows packed ones by an ending in small letters alone.

    `read` is the same file where its bytes are read by Python, which knows how many they were.
    """
    import pyarrow as pa

    packed = file.suffix.lower() == ".gz"
    return pa.input_stream(read or str(file), compression="gzip" if packed else None)


def _first_rows(file: Path) -> tuple[list[str], list[str]]:
    """Return the names of a CSV file's columns as they stand in it, and its first row."""
    opened = gzip.open if file.suffix.lower() == ".gz" else open
    with opened(file, "rt", encoding="utf-8-sig", newline="") as lines:
        # No longer than what is read together: of a packed file a line may have any length.
        bounded = iter(lambda: _bounded(lines.readline(BATCH_BYTES)), "")
        rows = (row for row in csv.reader(bounded) if "".join(row).strip())
        header = next(rows, None)
        if header is None:
            raise SpecError("is empty; must have a header and at least one row")
        first = next(rows, None)
        if first is None:
            raise SpecError(NO_ROWS)
    return header, first


def _bounded(line: str) -> str:
    if len(line) == BATCH_BYTES and not line.endswith("\n"):
        raise SpecError(
            f"must have lines of less than {BATCH_BYTES:,} characters, got a longer one"
        )
    return line


def _noting(uneven: list[Any]) -> Any:
    """Return how CSV is parsed: rows of another length are noted, and end it."""
    import pyarrow.csv as arrow_csv

    def note(row: Any) -> str:
        uneven.append(row)
        return "error"

    return arrow_csv.ParseOptions(invalid_row_handler=note)


def _uneven(file: Path) -> SpecError:
    """Say which row of a CSV file is the first of another length than its header."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    found: list[Any] = []
    # Rows are counted only where one thread reads them; the header is one of them.
    alone = arrow_csv.ReadOptions(use_threads=False)
    with (
        suppress(pa.ArrowInvalid),
        _opened(file) as source,
        arrow_csv.open_csv(source, alone, _noting(found)) as batches,
    ):
        for _ in batches:
            pass
    row = found[0]
    return SpecError(
        f"row {row.number - 1}: must have {row.expected_columns} fields, got {row.actual_columns}"
    )


def _unreadable(file: Path, name: str, column: str, value: str, day: str) -> SpecError:
    """Say where in a CSV file a value stands that is no number or date; the first date is `day`."""
    import pyarrow as pa
    import pyarrow.compute as compute
    import pyarrow.csv as arrow_csv

    texts = arrow_csv.ConvertOptions(
        column_types={name: pa.string()}, include_columns=[name], strings_can_be_null=False
    )
    row = 1
    with _opened(file) as source, arrow_csv.open_csv(source, convert_options=texts) as batches:
        for batch in batches:
            there = compute.utf8_trim_whitespace(batch.column(0))
            at = compute.index(there, value.strip()).as_py()
            if at >= 0:
                row += at
                break
            row += batch.num_rows
    try:
        parse_date(value) if column == "date" else parse_number(value)
        rule = f"cannot be read, got {value!r}"
        if column == "date" and day.isdigit():
            rule = f"must be a date as {day} in the first row, got {value!r}"
    except SpecError as error:
        rule = str(error)
    return SpecError(f"row {row}, column {name.strip()!r}: {rule}")


def _names(header: list[str], mapped: Mapping[str, str]) -> list[str]:
    """Return what the file calls each of `COLUMNS`."""
    there = f"the file has {', '.join(header)}"
    names = []
    for column in COLUMNS:
        name = mapped.get(column, column)
        if header.count(name) > 1:
            raise SpecError(f"header: names must differ, got {name!r} twice")
        if name not in header:
            others = [other for other in header if other not in COLUMNS]
            said, fix = "", f'; write columns = {{ {column} = "..." }} below [panel]'
            if column in mapped:
                said, fix = f", which [panel] columns.{column} names", ""
            said += suggest(name, others)
            raise SpecError(f"there is no column {name!r}{said}; {there}{fix}")
        names.append(name)
    return names


def _check_type(column: str, name: str, kind: Any) -> None:
    import pyarrow.types as types

    match column:
        case "firm":
            rule, right = "text or whole numbers", _is_text(kind) or types.is_integer(kind)
        case "date":
            rule = "dates"
            right = _is_text(kind) or types.is_date(kind) or types.is_timestamp(kind)
            right = right or types.is_integer(kind)
        case _:
            rule = "numbers"
            right = types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind)
            right = right or types.is_null(kind)
    if not right:
        raise SpecError(f"column {name!r}: must hold {rule}, got {kind}")


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    views = types.is_string_view(kind)
    return bool(types.is_string(kind) or types.is_large_string(kind) or views)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Say in one line what is wrong with the file of a panel."""
    pa = require_pyarrow()
    try:
        yield
    except StoreError:
        raise
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None
    except (pa.ArrowException, csv.Error) as error:
        what = "CSV" if file.suffix.lower() in (".csv", ".gz") else "Parquet"
        raise SpecError(f"{file}: is not {what}: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: must be UTF-8 text: {error.reason}") from None
    except (OSError, EOFError, zlib.error) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error)
        raise SpecError(f"{file}: cannot be read: {reason}") from None


@contextmanager
def _kept_whole() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{tempfile.gettempdir()}: cannot keep the numbers of a panel, 24 bytes a row:"
            f" {error.strerror}; set TMPDIR to another folder"
        ) from None
