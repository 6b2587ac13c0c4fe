"""Columns of a book that are inputs: each row is read as the type of its contract says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import CURVE_COLUMNS, NO_TABLE, Cells, Tables
from .columns import DAYS_A_YEAR, MISSING_MARKS, Column, parse_date, read_numbers, read_years
from .contracts import (
    ALLOWED,
    CURVES,
    INPUTS,
    TABLES,
    TYPES,
    WORDS,
    check_table,
    code_of,
    defaults_of,
    inputs_of,
    shown_of,
    with_article,
)
from .dated import Curve, parse_table
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from .dated import Table

    # A type of contract, and which rows are of it; all of them where None.
    Kind = tuple[str, NDArray[np.int64] | None]

_DATE = re.compile(r"(?<![^\s;])\d{4}-\d{2}-\d{2}(?![^\s;:])", re.ASCII)


class Inputs:
    """Reads the inputs `names` of contracts, some rows at a time, and hands them out as cells.

    Without a column `type` every row is a vanilla. Where a row has nothing, an input takes the
    default of the row's type; a number without one is NaN. `valuation_date` is the day from which
    dates count, in days of 1/365 of a year; with it, `expiry_date` is read as the expiry.
    """

    def __init__(self, names: Iterable[str], valuation_date: date | None) -> None:
        self._names = tuple(names)
        self._valued = valuation_date
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in self._names}
        # Of each input: its tables, and where among them each text is.
        self._tables = {name: Tables() for name in self._names if name in (*TABLES, *CURVES)}
        self._places: dict[str, dict[str, int]] = {name: {} for name in self._tables}
        # Of each number that may be a curve: rows that are one, and their places.
        self._curves: dict[str, dict[int, int]] = {name: {} for name in CURVES}
        self._kinds: set[str] = set() if "type" in self._names else {"vanilla"}
        self._rows = 0

    def __len__(self) -> int:
        """Return the number of rows read until now."""
        return self._rows

    @property
    def kinds(self) -> tuple[str, ...]:
        """The types of contracts read until now."""
        return tuple(kind for kind in TYPES if kind in self._kinds)

    def add(self, columns: Mapping[str, Column]) -> None:
        """Read some rows; `columns` holds one of each name, perhaps among others."""
        kinds: list[Kind] = [("vanilla", None)]
        if "type" in self._names:
            codes = _words(columns["type"], "type", kinds)
            kinds = list(_kinds(codes))
            self._kinds.update(kind for kind, _ in kinds)
            self._parts["type"].append(codes)
        for name in self._names:
            if name == "type":
                continue
            values: NDArray[Any]
            if name == "expiry" and self._valued:
                values = read_years(columns["expiry_date"], self._valued)
            elif name in WORDS:
                values = _words(columns[name], name, kinds)
            elif name in TABLES:
                values = self._read_tables(columns[name], name, kinds)
            else:
                values = self._read_numbers(columns[name], name, kinds)
            self._parts[name].append(values)
        self._rows += len(next(iter(columns.values())).values)

    def cells(self) -> Cells:
        """Return what was read, and the defaults that outputs show or that types do not share."""
        columns = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        tables = Tables()
        for name in INPUTS:
            if name not in self._tables:
                continue
            # Numbered input by input, so that how many rows were read at once does not count.
            places = [tables.place(name, table) for table in self._tables[name].all()]
            shared = np.array([*places, NO_TABLE], np.int32)
            if name in TABLES:
                columns[name] = shared[columns[name]]
            elif places:
                curves = np.full(self._rows, NO_TABLE, np.int32)
                curves[list(self._curves[name])] = shared[list(self._curves[name].values())]
                columns[f"{name}_curve"] = curves
        for name in INPUTS:
            if name not in columns:
                columns |= self._defaults(name, columns.get("type"))
        order = ("type", *INPUTS, *CURVE_COLUMNS)
        return Cells({name: columns[name] for name in order if name in columns}, tables.all())

    def _defaults(self, name: str, types: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
        """Return the column of an input that is not given, where cells must have it."""
        of_type = {
            TYPES[kind]: code_of(name, default) if name in WORDS else default
            for kind in self.kinds
            if (default := defaults_of(kind).get(name)) is not None
        }
        shown = name in shown_of(self.kinds, self._names)
        if not of_type or not (shown or (name in WORDS and any(of_type.values()))):
            return {}
        if len(set(of_type.values())) == 1:
            dtype = np.int8 if name in WORDS else np.float64
            return {name: np.broadcast_to(dtype(next(iter(of_type.values()))), self._rows)}
        by_code = np.array([of_type.get(code, 0) for code in range(len(TYPES))], np.int8)
        return {name: by_code[types]}

    def _read_numbers(
        self, column: Column, name: str, kinds: Sequence[Kind]
    ) -> NDArray[np.float64]:
        """Read numbers, among which there may be curves; a blank is the default of its type."""
        values = self._read_curves(column, name) if name in CURVES else read_numbers(column)
        for kind, rows in kinds:
            if name not in inputs_of(kind):
                _check_blank(column, kind, rows, ~np.isnan(values))
            # A yield that is not known is not zero.
            elif name != "dividend_yield" and (default := defaults_of(kind).get(name)) is not None:
                here = np.arange(len(values)) if rows is None else rows
                values[here[np.isnan(values[here])]] = default
        return values

    def _read_curves(self, column: Column, name: str) -> NDArray[np.float64]:
        """Read numbers and keep the curves among them, whose number is 0."""
        try:
            return read_numbers(column)
        except SpecError:
            where = [i for i, v in enumerate(column.values) if isinstance(v, str) and ":" in v]
            if not where:
                raise
        numbers = list(column.values)
        for i in where:
            curve = self._table(column, name, i)
            assert isinstance(curve, Curve)
            numbers[i] = repr(curve.values[0]) if curve.flat else "0"
            if not curve.flat:
                row = self._rows + i
                self._curves[name][row] = self._tables[name].place(name, curve)
        return read_numbers(Column(column.name, numbers, column.first_row, column.lines))

    def _read_tables(self, column: Column, name: str, kinds: Sequence[Kind]) -> NDArray[np.int32]:
        """Read tables as their places among those of this input, -1 where there is none."""
        texts = ["" if value is None else str(value) for value in column.values]
        known = self._places[name]
        for text in dict.fromkeys(texts):
            if text in known:
                continue
            index = texts.index(text)
            table = None
            if text.strip().lower() not in MISSING_MARKS:
                table = self._table(column, name, index)
            known[text] = self._tables[name].place(name, table)
        places = np.array([known[text] for text in texts], np.int32)
        for kind, rows in kinds:
            if name not in inputs_of(kind):
                _check_blank(column, kind, rows, places != NO_TABLE)
        return places

    def _table(self, column: Column, name: str, index: int) -> Table:
        """Read one table, whose times may be dates."""
        try:
            return _table_of(name, str(column.values[index]), self._valued)
        except SpecError as error:
            raise column.error(index, str(error)) from None


def _table_of(name: str, text: str, valued: date | None) -> Table:
    def years(found: re.Match[str]) -> str:
        if valued is None:
            raise SpecError(f"needs the valuation date from which {found[0]} counts")
        return repr((parse_date(found[0]) - valued).days / DAYS_A_YEAR)

    table = parse_table(TABLES.get(name, Curve), _DATE.sub(years, text))
    check_table(name, table)
    return table


def _kinds(codes: NDArray[np.int8]) -> Iterator[Kind]:
    present = np.unique(codes).tolist()
    for code in present:
        yield tuple(TYPES)[code], np.flatnonzero(codes == code) if len(present) > 1 else None


def _words(column: Column, name: str, kinds: Sequence[Kind]) -> NDArray[np.int8]:
    """Read words as their codes; where one is blank, the default of the row's type."""
    codes = np.zeros(len(column.values), np.int8)
    for kind, rows in kinds:
        values = column.values if rows is None else [column.values[i] for i in rows.tolist()]
        known: dict[Any, int] = {}
        for word in dict.fromkeys(values):
            try:
                known[word] = _code(kind, name, word)
            except SpecError as error:
                index = values.index(word)
                raise column.error(
                    int(index if rows is None else rows[index]), str(error)
                ) from None
        codes[slice(None) if rows is None else rows] = [known[word] for word in values]
    return codes


def _code(kind: str, name: str, word: object) -> int:
    """Turn a word of a contract of this type into its code; 0 where such contracts have none."""
    blank = word is None or not str(word).strip()
    if name == "type":
        default: object = "vanilla"
    elif name in inputs_of(kind):
        default = defaults_of(kind).get(name, word)
    elif blank:
        return 0
    else:
        raise SpecError(_must_be_blank(kind, word))
    try:
        return code_of(name, default if blank else word, ALLOWED.get((kind, name), ()))
    except SpecError as error:
        raise SpecError(str(error).partition(": ")[2]) from None


def _check_blank(
    column: Column, kind: str, rows: NDArray[np.int64] | None, given: NDArray[np.bool_]
) -> None:
    """Raise `SpecError` for a row whose contract has no such input, and yet a value for it."""
    wrong = np.flatnonzero(given) if rows is None else rows[given[rows]]
    for index in wrong[:1].tolist():
        raise column.error(index, _must_be_blank(kind, column.values[index]))


def _must_be_blank(kind: str, value: object) -> str:
    return f"must be blank, since {with_article(kind)} has none, got {str(value)[:60]!r}"
