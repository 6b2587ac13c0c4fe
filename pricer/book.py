"""What a book says: a list of contracts, one a row, each with its own market."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import zlib
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import (
    DEFAULT_TOLERANCE,
    DEFAULTS,
    INPUTS,
    MEASURES,
    NUMBERS,
    WORDS,
    Cells,
    check_measures,
    check_method,
    check_tolerance,
    code_of,
    suggest,
)
from .errors import SpecError
from .grid import CONTRACT_TYPES, check_closed_form, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Texts = NDArray[np.object_]

KNOWN_COLUMNS = ("type", *INPUTS, "expiry_date")
MISSING_MARKS = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--"})
DAYS_A_YEAR = 365.0  # ACT/365F

_NEAR_MISS = 0.8
_SLAB_ROWS = 20_000
_INTERNED = 65_536
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf(inity)?", re.I | re.A)
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", re.A)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+", re.A)


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """A list of contracts in the order of its file.

    `cells` holds the inputs, NaN where one is missing: such a row is invalid and the others are
    priced. `texts` holds the columns that only pass through, as text of shape (n,). `columns`
    names both kinds in the order of the file, then the inputs that the file left to defaults.
    """

    cells: Cells
    texts: Mapping[str, Texts] = field(default_factory=dict)
    columns: tuple[str, ...] = INPUTS
    name: str = ""
    valuation_date: date | None = None
    method: str = "auto"
    tolerance: float = DEFAULT_TOLERANCE
    measures: tuple[str, ...] = MEASURES

    def __post_init__(self) -> None:
        if not len(self.cells):
            raise SpecError("must have at least one row below its header")
        object.__setattr__(self, "method", check_method(self.method))
        object.__setattr__(self, "tolerance", check_tolerance(self.tolerance))
        object.__setattr__(self, "measures", check_measures(self.measures))
        words = {code: word for word, code in WORDS["exercise"].items()}
        check_closed_form(self.method, (words[c] for c in np.unique(self.cells.exercise).tolist()))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.cells)

    @classmethod
    def parse(
        cls,
        text: str,
        source: str = "book.csv",
        *,
        columns: Mapping[str, str] | None = None,
        valuation_date: date | str | None = None,
        **settings: Any,
    ) -> Book:
        """Read a book from CSV text; `source` names it in errors.

        Parameters
        ----------
        columns
            Which column to read an input from where it has another name: ``{"vol": "iv"}``.
        valuation_date
            The day from which `expiry_date` counts, in days of 1/365 of a year.
        settings
            `method`, `tolerance` and `measures`.

        Raises
        ------
        SpecError
            Where the text cannot be read: names the file, row, column, rule and value got.
        """
        try:
            slabs = _csv_slabs(text)
            header = next(slabs).header
            return _book(source, header, slabs, columns, valuation_date, settings)
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None

    @classmethod
    def from_columns(
        cls,
        table: Mapping[str, Sequence[Any] | NDArray[Any]],
        source: str = "book",
        *,
        columns: Mapping[str, str] | None = None,
        valuation_date: date | str | None = None,
        **settings: Any,
    ) -> Book:
        """Read a book from columns of equal length, say of a Parquet file; as `parse` otherwise."""
        try:
            header = [str(name) for name in table]
            slab = _Slab(header, [_plain(column) for column in table.values()])
            return _book(source, header, iter([slab]), columns, valuation_date, settings)
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what of this book decides its values, as JSON can hold it."""
        digest = hashlib.sha256()
        for name in INPUTS:
            digest.update(getattr(self.cells, name).tobytes())
        for name in sorted(self.texts):
            digest.update(json.dumps([name, self.texts[name].tolist()]).encode())
        return {
            "contract": {"type": "vanilla"},
            "book": digest.hexdigest(),
            "columns": list(self.columns),
            "valuation_date": self.valuation_date and self.valuation_date.isoformat(),
            "method": self.method,
            "tolerance": exact(self.tolerance),
            "measures": sorted(self.measures),
        }


def pack_texts(texts: Texts) -> bytes:
    """Pack a column of texts: a JSON list, deflated."""
    return zlib.compress(json.dumps(texts.tolist()).encode(), 1)


def unpack_texts(data: bytes) -> Texts:
    """Read back what `pack_texts` packed."""
    return np.array(json.loads(zlib.decompress(data)), dtype=object)


@dataclass(slots=True)
class _Slab:
    """Some rows of a table as columns of texts or of plain values."""

    header: list[str]
    columns: list[Sequence[Any]] = field(default_factory=list)
    first_row: int = 1
    lines: list[int] = field(default_factory=list)

    def place(self, index: int) -> str:
        """Name the row at `index`."""
        row = f"row {self.first_row + index}"
        return f"{row} (line {self.lines[index]})" if self.lines else row


def _lines(text: str) -> Iterator[str]:
    # Neither splitlines, which cuts at more than line feeds, nor StringIO, four bytes a character.
    start = 0
    while end := text.find("\n", start) + 1:
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _csv_slabs(text: str) -> Iterator[_Slab]:
    """Read CSV text: first the header alone, then slabs of rows."""
    reader = csv.reader(_lines(text.removeprefix("\ufeff")), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    first_row = 1
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if not header:
                header = _header(row)
                yield _Slab(header)
                continue
            rows.append(row)
            lines.append(reader.line_num)
            if len(rows) == _SLAB_ROWS:
                yield _slab(header, rows, first_row, lines)
                first_row += len(rows)
                rows, lines = [], []
    except csv.Error as error:
        raise SpecError(f"line {reader.line_num}: is not CSV: {error}") from None
    if not header:
        raise SpecError("is empty; must have a header and at least one row")
    if rows:
        yield _slab(header, rows, first_row, lines)


def _header(row: list[str]) -> list[str]:
    if len(row) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in row[0]:
                raise SpecError(f"header: columns must be separated by commas, got {name}")
    return [name.strip() for name in row]


def _slab(header: list[str], rows: list[list[str]], first_row: int, lines: list[int]) -> _Slab:
    slab = _Slab(header, [], first_row, lines)
    width = len(header)
    if set(map(len, rows)) != {width}:
        index = next(i for i, row in enumerate(rows) if len(row) != width)
        raise SpecError(
            f"{slab.place(index)}: must have {width} fields as the header has, "
            f"got {len(rows[index])}"
        )
    slab.columns = list(zip(*rows, strict=True))
    return slab


def _plain(column: Sequence[Any] | NDArray[Any]) -> Sequence[Any]:
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        column = column.astype("datetime64[D]")
    return column.tolist() if isinstance(column, np.ndarray) else column


def _book(
    source: str,
    header: list[str],
    slabs: Iterator[_Slab],
    columns: Mapping[str, str] | None,
    valuation_date: date | str | None,
    settings: Mapping[str, Any],
) -> Book:
    valued = _valuation_date(valuation_date)
    meanings = _meanings(header, columns or {}, valued)
    numbers: dict[str, list[NDArray[Any]]] = {m: [] for m in meanings if m in INPUTS}
    texts: dict[str, list[str]] = {m: [] for m in meanings if m and m not in INPUTS}
    from_dates = valued is not None
    if from_dates:
        numbers["expiry"] = []
    interned: dict[str, dict[str, str]] = {name: {} for name in texts}
    for slab in slabs:
        for name, meaning, column in zip(header, meanings, slab.columns, strict=True):
            if meaning in WORDS:
                numbers[meaning].append(_codes(slab, name, meaning, column))
            elif meaning in NUMBERS:
                numbers[meaning].append(_numbers(slab, name, column))
            elif meaning:
                if meaning == "type":
                    _check_types(slab, name, column)
                if meaning == "expiry_date" and valued:
                    numbers["expiry"].append(_years(slab, name, column, valued))
                texts[meaning] += _interned(column, interned[meaning])
    rows = {sum(map(len, parts)) for parts in numbers.values()} | set(map(len, texts.values()))
    if len(rows) > 1:
        raise SpecError(f"columns must be of one length, got {sorted(rows)}")
    count = rows.pop()
    if not count:
        raise SpecError("must have at least one row below its header, got none")
    flat = {name: np.concatenate(parts) for name, parts in numbers.items()}
    for name, value in DEFAULTS.items():
        if name not in flat:
            code = code_of(name, value) if name in WORDS else value
            flat[name] = np.full(count, code, dtype=np.int8 if name in WORDS else np.float64)
    names = list(dict.fromkeys(m for m in meanings if m))
    if "expiry" not in names:
        names.insert(names.index("expiry_date"), "expiry")
    return Book(
        cells=Cells(**flat),
        texts={name: np.array(values, dtype=object) for name, values in texts.items()},
        columns=(*names, *(name for name in INPUTS if name not in names)),
        name=source,
        valuation_date=valued,
        **settings,
    )


def _valuation_date(value: date | str | None) -> date | None:
    if isinstance(value, str):
        try:
            return _iso_date(value)
        except ValueError:
            raise SpecError(
                f"valuation date: must be a date as 2014-06-06, got {value!r}"
            ) from None
    return value


def _meanings(header: list[str], mapped: Mapping[str, str], valued: date | None) -> list[str]:
    """Return what each column of `header` is: an input, a text, or nothing where superseded."""
    for i, name in enumerate(header):
        if not name:
            raise SpecError(f"header: column {i + 1} must have a name")
        if name in header[:i]:
            raise SpecError(f"header: names must differ, got {name!r} twice")
    for target, name in mapped.items():
        if target not in KNOWN_COLUMNS:
            raise SpecError(
                f"column {target}={name}: must set one of {', '.join(KNOWN_COLUMNS)}"
                + suggest(target, KNOWN_COLUMNS)
            )
        if name not in header:
            raise SpecError(
                f"column {target}={name}: there is no column {name!r}"
                f"{suggest(name, header)}; the file has {', '.join(header)}"
            )
    if len(set(mapped.values())) < len(mapped):
        raise SpecError("column: each input must be read from a column of its own")
    sources = {name: target for target, name in mapped.items()}
    meanings = [sources.get(name, "" if name in mapped else name) for name in header]
    if valued and "expiry_date" not in meanings:
        raise SpecError("a valuation date needs a column 'expiry_date', and there is none")
    if valued and "expiry" in meanings:
        meanings[meanings.index("expiry")] = ""
    for name in meanings:
        if name and name not in KNOWN_COLUMNS:
            _refuse_near_miss(name, meanings)
    for name in INPUTS:
        if name in meanings or name in DEFAULTS or (name == "expiry" and valued):
            continue
        if name == "expiry" and "expiry_date" in meanings:
            raise SpecError("expiry_date needs the valuation date from which it counts")
        others = [m for m in meanings if m not in KNOWN_COLUMNS]
        raise SpecError(
            f"there is no column {name!r}{suggest(name, others)}; the file has {', '.join(header)}"
        )
    return meanings


def _refuse_near_miss(name: str, meanings: Sequence[str]) -> None:
    plain = re.sub(r"[\W_]", "", name.lower())
    for known in KNOWN_COLUMNS:
        target = known.replace("_", "")
        near = SequenceMatcher(None, plain, target).ratio() >= _NEAR_MISS
        if near and known not in meanings:
            raise SpecError(f"column {name!r} is not known; did you mean {known!r}?")


def _codes(slab: _Slab, name: str, field: str, column: Sequence[Any]) -> NDArray[np.int8]:
    codes: dict[Any, int] = {}
    for word in dict.fromkeys(column):
        try:
            codes[word] = code_of(field, word)
        except SpecError as error:
            place = f"{slab.place(column.index(word))}, column {name!r}"
            raise SpecError(f"{place}: {str(error).partition(': ')[2]}") from None
    return np.array([codes[word] for word in column], dtype=np.int8)


def _numbers(slab: _Slab, name: str, column: Sequence[Any]) -> NDArray[np.float64]:
    try:
        numbers = np.array(list(map(float, column)))
        # Python's float also takes 1_000 and digits of every script.
        joined = "".join(column)
        plain = "_" not in joined and joined.isascii()
    except (ValueError, TypeError):
        plain = False
    if not plain:
        numbers = np.array([_number(slab, name, i, value) for i, value in enumerate(column)])
    # One NaN and one zero, so that equal books have equal bytes.
    numbers[np.isnan(numbers)] = np.nan
    return numbers + 0.0


def _number(slab: _Slab, name: str, index: int, value: object) -> float:
    if value is None:
        return np.nan
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    if isinstance(value, str):
        if text.lower() in MISSING_MARKS:
            return np.nan
        if _NUMBER.fullmatch(text):
            return float(text)
    place = f"{slab.place(index)}, column {name!r}"
    raise SpecError(f"{place}: must be a number, got {text[:60]!r}{_number_hint(text)}")


def _number_hint(text: str) -> str:
    if text.endswith("%") and _NUMBER.fullmatch(bare := text[:-1].strip()):
        return f"; write {Decimal(bare) / 100:f}"
    if _GROUPED.fullmatch(text):
        return f"; write {text.replace(',', '')} without separators"
    if _DECIMAL_COMMA.fullmatch(text):
        return f"; write {text.replace(',', '.')} with a decimal point"
    return ""


def _years(slab: _Slab, name: str, column: Sequence[Any], valued: date) -> NDArray[np.float64]:
    years: dict[Any, float] = {}
    for value in dict.fromkeys(column):
        try:
            day = _day(value)
        except ValueError:
            place = f"{slab.place(column.index(value))}, column {name!r}"
            raise SpecError(
                f"{place}: must be a date as 2014-06-21, got {str(value)[:60]!r}"
            ) from None
        years[value] = (day - valued).days / DAYS_A_YEAR if day else np.nan
    return np.array([years[value] for value in column])


def _day(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    text = str(value).strip()
    return None if text.lower() in MISSING_MARKS else _iso_date(text)


def _iso_date(text: str) -> date:
    # Python also takes 20140621 and 2014-W25-6, which are as likely to be something else.
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError(text)
    return date.fromisoformat(text)


def _check_types(slab: _Slab, name: str, column: Sequence[Any]) -> None:
    for value in dict.fromkeys(column):
        if str(value).strip().lower() not in CONTRACT_TYPES:
            place = f"{slab.place(column.index(value))}, column {name!r}"
            hint = suggest(str(value), CONTRACT_TYPES)
            raise SpecError(f"{place}: must be vanilla, got {str(value)[:60]!r}{hint}")


def _interned(column: Iterable[Any], known: dict[str, str]) -> list[str]:
    """Return `column` as texts, of which equal ones share memory while they are few."""
    texts = ["" if v is None else v if isinstance(v, str) else str(v) for v in column]
    if len(known) > _INTERNED:
        return texts
    return [known.setdefault(text, text) for text in texts]
