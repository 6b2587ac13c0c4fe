"""Columns of a table become numbers, words, years and texts, or an error naming row and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import WORDS
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Table = Mapping[str, Sequence[Any] | NDArray[Any]]

MISSING_MARKS = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "."})
DAYS_A_YEAR = 365.0  # ACT/365F

# So many rows stay in the processor's cache while they turn into columns: twice as fast as 20,000.
_ROWS_AT_ONCE = 1_000
_SHARED_TEXTS = 65_536
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf(inity)?", re.I | re.A)
_PERCENT = re.compile(r"([-+]?\d+\.?\d*|\.\d+) ?%", re.A)
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", re.A)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+", re.A)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of some rows of a table, which knows where in the file each value stands.

    `lines` holds the line of each row where the file is text; rows count from 1 below the header.
    """

    name: str
    values: Sequence[Any]
    first_row: int = 1
    lines: Sequence[int] = ()

    def error(self, index: int, rule: str) -> SpecError:
        """Return the error that the value at `index` breaks `rule`."""
        place = _place(self.first_row + index, self.lines[index] if self.lines else 0)
        return SpecError(f"{place}, column {self.name!r}: {rule}")


def read_csv(text: str) -> Iterator[list[Column]]:
    """Yield the columns of CSV text, some rows at a time; first the header, without rows."""
    reader = csv.reader(_lines(text.removeprefix("\ufeff")), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    first_row = 1
    try:
        for row in reader:
            # Spreadsheets end a table with rows of commas.
            if not "".join(row).strip():
                continue
            if not header:
                header = _header(row)
                yield [Column(name, ()) for name in header]
                continue
            rows.append(row)
            lines.append(reader.line_num)
            if len(rows) == _ROWS_AT_ONCE:
                yield _columns(header, rows, first_row, lines)
                first_row += len(rows)
                rows, lines = [], []
    except csv.Error as error:
        raise SpecError(f"line {reader.line_num}: is not CSV: {error}") from None
    if not header:
        raise SpecError("is empty; must have a header and at least one row")
    if rows:
        yield _columns(header, rows, first_row, lines)


def read_table(table: Table) -> list[Column]:
    """Return columns that are sequences or arrays already, say of a Parquet file."""
    lengths = {len(values) for values in table.values()}
    if len(lengths) > 1:
        raise SpecError(f"columns must be of one length, got {sorted(lengths)}")
    return [Column(str(name), _plain(values)) for name, values in table.items()]


def parse_number(text: object) -> float:
    """Read one number as files spell it: digits, a point, an exponent.

    >>> parse_number(" 2.5e-1 ")
    0.25
    >>> parse_number("25%")
    Traceback (most recent call last):
    pricer.errors.SpecError: must be a number, got '25%'; write 0.25
    """
    plain = str(text).strip()
    if isinstance(text, str) and _NUMBER.fullmatch(plain):
        return float(plain)
    raise SpecError(f"must be a number, got {_show(plain)}{number_hint(plain)}")


def number_hint(text: str) -> str:
    """Say how to write what looks like a number and is none; empty where nothing does.

    >>> number_hint("25%")
    '; write 0.25'
    """
    plain = text.strip()
    if percent := _PERCENT.fullmatch(plain):
        return f"; write {Decimal(percent[1]) / 100:f}"
    if _GROUPED.fullmatch(plain):
        return f"; write {plain.replace(',', '')} without separators"
    if _DECIMAL_COMMA.fullmatch(plain):
        return f"; write {plain.replace(',', '.')} with a decimal point"
    return ""


def parse_date(text: str) -> date:
    """Read an ISO date, 2014-06-21.

    >>> parse_date("06/21/2014")
    Traceback (most recent call last):
    pricer.errors.SpecError: must be a date as 2014-06-21, got '06/21/2014'
    """
    try:
        # Python also takes 20140621 and 2014-W25-6.
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise SpecError(f"must be a date as 2014-06-21, got {_show(text)}")


def read_numbers(column: Column) -> NDArray[np.float64]:
    """Read numbers; where one is missing (`MISSING_MARKS`, None), NaN."""
    array = _plain_numbers(column.values)
    if array is None:
        array = np.array([_number(column, i, value) for i, value in enumerate(column.values)])
    # One NaN and one zero, so that equal books have equal bytes.
    array[np.isnan(array)] = np.nan
    return array + 0.0


def _plain_numbers(values: Sequence[Any]) -> NDArray[np.float64] | None:
    """Read numbers at once; None where one is missing, or cannot be read, or may be neither."""
    kinds = set(map(type, values))
    try:
        if kinds == {str}:
            array = np.array(list(map(float, values)))
            # Python's float also takes 1_000 and the digits of every script.
            joined = "".join(values)
            return array if "_" not in joined and joined.isascii() else None
        return np.array(values, dtype=np.float64) if kinds <= {int, float} else None
    except (ValueError, OverflowError):
        return None


def _number(column: Column, index: int, value: object) -> float:
    if value is None or _is_missing(value):
        return np.nan
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(value)
    try:
        return parse_number(value)
    except SpecError as error:
        raise column.error(index, str(error)) from None


def words_of(name: str, codes: NDArray[np.int8]) -> NDArray[np.str_]:
    """Return the words of an input that is stored as codes."""
    by_code = sorted((code, word) for word, code in WORDS[name].items())
    positions = np.searchsorted([code for code, _ in by_code], codes)
    words: NDArray[np.str_] = np.array([word for _, word in by_code])[positions]
    return words


def read_years(column: Column, valuation_date: date) -> NDArray[np.float64]:
    """Read dates as years from `valuation_date`; where one is missing, NaN."""
    known: dict[Any, float] = {}
    for value in dict.fromkeys(column.values):
        try:
            day = _day(value)
        except SpecError as error:
            raise column.error(column.values.index(value), str(error)) from None
        known[value] = (day - valuation_date).days / DAYS_A_YEAR if day else np.nan
    return np.array([known[value] for value in column.values])


def _day(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    return None if _is_missing(value) else parse_date(str(value).strip())


def read_texts(column: Column, known: dict[str, str]) -> list[str]:
    """Return values as texts, of which equal ones share memory through `known` while few."""
    words = ["" if v is None else v if isinstance(v, str) else str(v) for v in column.values]
    if len(known) > _SHARED_TEXTS:
        return words
    return [known.setdefault(word, word) for word in words]


def _is_missing(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in MISSING_MARKS


def _lines(text: str) -> Iterator[str]:
    # Neither splitlines, which cuts at more than line feeds, nor StringIO, four bytes a character.
    start = 0
    while end := text.find("\n", start) + 1:
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _header(row: list[str]) -> list[str]:
    if len(row) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in row[0]:
                raise SpecError(f"header: columns must be separated by commas, got {name}")
    return [name.strip() for name in row]


def _columns(
    header: list[str], rows: list[list[str]], first_row: int, lines: list[int]
) -> list[Column]:
    width = len(header)
    if set(map(len, rows)) != {width}:
        index = next(i for i, row in enumerate(rows) if len(row) != width)
        place = _place(first_row + index, lines[index])
        raise SpecError(f"{place}: must have {width} fields, got {len(rows[index])}")
    return [
        Column(name, values, first_row, lines)
        for name, values in zip(header, zip(*rows, strict=True), strict=True)
    ]


def _plain(values: Sequence[Any] | NDArray[Any]) -> Sequence[Any]:
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            values = values.astype("datetime64[D]")
        return values.tolist()  # type: ignore[no-any-return]
    return [str(v) if isinstance(v, list | dict) else v for v in values]


def _place(row: int, line: int) -> str:
    return f"row {row} (line {line})" if line else f"row {row}"


def _show(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
