"""One value of a grid: a number, a word or a table; and lists and ranges of them, as TOML has them.

Errors begin with `place`, the key of the file that holds the value.
"""

from __future__ import annotations

import re
from datetime import date, time
from decimal import Decimal
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any

from .cells import words_by_code
from .columns import number_hint
from .contracts import (
    ABOVE_ZERO,
    CURVES,
    TABLES,
    WORDS,
    check_number,
    check_table,
    code_of,
    suggest,
)
from .dated import LISTS, Correlation, Curve, Dates, Dividends, Fixings, Table, Vector, parse_table
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value = str | float | Table

MAX_AXIS_VALUES = 1_000_000
# Each is a slice of one solve, kept in memory.
MAX_EXPIRIES = 50_000

_NUMERIC = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", re.IGNORECASE)
_RANGE_KEYS = ("start", "stop", "count", "step")
_TABLE_KEYS = {
    Curve: ("times", "values"),
    Dividends: ("times", "amounts"),
    **{kind: (name,) for kind, name in LISTS.items()},
}
_SPELLINGS = {
    Curve: "{ times = [1.0, 2.0], values = [0.03, 0.04] }",
    Dividends: '{ times = [0.25], amounts = [1.5] }, [[0.25, 1.5]] or "0.25:1.5"',
    Dates: '{ times = [0.25, 0.5] }, [0.25, 0.5] or "0.25;0.5"',
    Fixings: '{ times = [0.25, 0.5] }, [0.25, 0.5] or "0.25;0.5"',
    Vector: '{ values = [100.0, 95.0] }, [100.0, 95.0] or "100;95"',
    Correlation: '0.5, "0.5", { values = 0.5 } or a matrix [[1.0, 0.5], [0.5, 1.0]]',
}


def value_of(place: str, name: str, value: object) -> Value:
    """Return one value of the input `name`: the full word, a table, or a float it can be."""
    if name in WORDS:
        code = keyed(place, partial(code_of, name), value)
        return words_by_code(name)[code]
    if name in TABLES or (name in CURVES and _may_be_curve(value)):
        return _table(place, name, value)
    number = number_of(place, value)
    if isnan(number):
        raise SpecError(f"{place}: must be a number, got nan")
    _check_number(place, name, number)
    return number


def number_of(place: str, value: object) -> float:
    """Return `value` as a float, which may be infinite or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = ""
        if isinstance(value, str):
            numeric = _NUMERIC.fullmatch(value)
            hint = "; write it without quotes" if numeric else number_hint(value)
        elif isinstance(value, list | dict) and place.startswith("contract."):
            hint = "; several values belong in the table [axes]"
        raise SpecError(f"{place}: must be a number, got {show(value)}{hint}")
    try:
        # Adding zero makes -0.0 the zero it is equal to.
        return float(value) + 0.0
    except OverflowError:
        raise SpecError(f"{place}: must be finite, got {show(value)}") from None


def values_of(place: str, name: str, value: object) -> tuple[Any, ...]:
    """Return the values that a file has for one input: one value, a list or a range."""
    if name in TABLES:
        several = isinstance(value, list) and not _is_one_table(TABLES[name], value)
        if name == "correlation" and isinstance(value, dict) and "values" not in value:
            return _range(place, name, value)
    elif isinstance(value, dict) and not (name in CURVES and _may_be_curve(value)):
        if name in WORDS:
            raise SpecError(f"{place}: must be a word or a list of words, got {show(value)}")
        return _range(place, name, value)
    else:
        several = isinstance(value, list)
    return tuple(value) if several else (value,)  # type: ignore[arg-type]


def check_count(place: str, name: str, count: int) -> None:
    """Raise `SpecError` where an axis would have more values than it may."""
    most = MAX_EXPIRIES if name == "expiry" else MAX_AXIS_VALUES
    if count > most:
        raise SpecError(f"{place}: must have at most {most:,} values, got {show(count)}")


def keyed(place: str, check: Callable[[Any], Any], value: object) -> Any:
    """Call `check`, whose errors name their field, and let them name `place` instead."""
    try:
        return check(value)
    except SpecError as error:
        raise SpecError(f"{place}: {str(error).partition(': ')[2]}") from None


def exact(value: Value) -> Any:
    """Spell a value as JSON can hold it and no bit is lost; labels are left out."""
    match value:
        case str():
            return value
        case Dates() | Fixings() | Vector() | Correlation():
            return [number.hex() for number in getattr(value, LISTS[type(value)])]
        case Curve() | Dividends():
            amounts = value.values if isinstance(value, Curve) else value.amounts
            return [[t.hex(), a.hex()] for t, a in zip(value.times, amounts, strict=True)]
        case _:
            return float(value).hex()


def inexact(name: str, spelt: Any, label: str = "") -> Value:
    """Read back what `exact` spelled for the input `name`."""
    if name in WORDS:
        return str(spelt)
    if not isinstance(spelt, list):
        return float.fromhex(spelt)
    kind = TABLES.get(name, Curve)
    if kind in LISTS:
        return kind(tuple(map(float.fromhex, spelt)), label)  # type: ignore[arg-type]
    times, amounts = (tuple(float.fromhex(row[i]) for row in spelt) for i in (0, 1))
    return Curve(times, amounts, label) if kind is Curve else Dividends(times, amounts, label)


def show(value: object) -> str:
    """Show a value as the file would, shortened."""
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    if isinstance(value, date | time):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_number(place: str, name: str, number: float) -> None:
    keyed(place, partial(check_number, name), number)
    if name in ABOVE_ZERO and number == 0.0:
        raise SpecError(f"{place}: must be above 0, got {number}")


def _may_be_curve(value: object) -> bool:
    """Tell a curve from a number and from a range."""
    match value:
        case str():
            return ":" in value
        case dict():
            return not {"times", "values"}.isdisjoint(value)
        case _:
            return isinstance(value, Table)


def _is_one_table(kind: type[Table], entries: list[Any]) -> bool:
    """Tell the entries of one table from a list of tables."""
    if kind is Correlation:
        return _is_matrix(entries)
    if kind in LISTS:
        return not any(isinstance(entry, list | dict | str | Table) for entry in entries)
    return all(
        isinstance(entry, list)
        and len(entry) == 2
        and not any(isinstance(part, list | dict | str) for part in entry)
        for entry in entries
    )


def _table(place: str, name: str, value: object) -> Table | float:
    """Return the table that `value` spells; of a curve that is flat, its number."""
    kind = TABLES.get(name, Curve)
    try:
        table = _spelt(kind, value)
        if not isinstance(table, Curve):
            check_table(name, table)
    except SpecError as error:
        rule = str(error).removeprefix(f"{kind.__name__.lower()}: ")
        raise SpecError(f"{place}: {rule}") from None
    if isinstance(table, Curve):
        for number in table.values:
            _check_number(place, name, number)
        return table.values[0] if table.flat else table
    return table


def _is_matrix(entries: list[Any]) -> bool:
    return bool(entries) and all(
        isinstance(row, list) and row and not any(isinstance(part, list | dict) for part in row)
        for row in entries
    )


def _spelt(kind: type[Table], value: object) -> Table:
    match value:
        case Curve() | Dividends() | Dates() | Fixings() | Vector() | Correlation() if isinstance(
            value, kind
        ):
            return value
        case int() | float() if kind is Correlation and not isinstance(value, bool):
            return Correlation(value)
        case str():
            return parse_table(kind, value)
        case dict():
            return _of_keys(kind, value)
        case list() if kind in LISTS:
            return kind(tuple(value))  # type: ignore[call-arg]
        case list() if kind is Dividends and _is_one_table(kind, value):
            times, amounts = zip(*value, strict=True) if value else ((), ())
            return Dividends(times, amounts)
        case _:
            raise SpecError(f"must be as {_SPELLINGS[kind]}, got {show(value)}")


def _of_keys(kind: type[Table], table: Mapping[str, Any]) -> Table:
    keys = _TABLE_KEYS[kind]
    for key in table:
        if key not in (*keys, "label"):
            hint = suggest(key, (*keys, "label"))
            raise SpecError(f"has {' and '.join(keys)}, perhaps a label, got {key!r}{hint}")
    for key in keys:
        if key not in table:
            raise SpecError(f"{key} is missing; write {_SPELLINGS[kind]}")
    label = table.get("label", "")
    if not isinstance(label, str):
        raise SpecError(f"label must be text, got {show(label)}")
    return kind(**{key: table[key] for key in keys}, label=label)


def _range(place: str, name: str, table: Mapping[str, Any]) -> tuple[float, ...]:
    """Expand ``{start, stop, count}`` or ``{start, stop, step}``; both ends are included.

    Works on the decimals as written, rounding each value once: 0.1 to 0.6 in 11 gives the same
    floats as writing 0.1, 0.15, ..., 0.6 by hand.
    """
    for key in table:
        if key not in _RANGE_KEYS:
            hint = "; did you mean 'stop'?" if key == "end" else suggest(key, _RANGE_KEYS)
            raise SpecError(f"{place}.{key}: a range has start, stop and count or step{hint}")
    for key in ("start", "stop"):
        if key not in table:
            raise SpecError(f"{place}.{key}: is missing; a range has start, stop and count or step")
    if ("count" in table) == ("step" in table):
        got = "both" if "count" in table else "neither"
        raise SpecError(f"{place}: a range must have either count or step, got {got}")
    ends = [_end(f"{place}.{key}", name, table[key]) for key in ("start", "stop")]
    start, stop = (Decimal(repr(end)) for end in ends)
    if not start < stop:
        raise SpecError(f"{place}: start must be below stop, got {ends[0]} and {ends[1]}")
    if "count" in table:
        intervals = _count(f"{place}.count", table["count"]) - 1
    else:
        intervals = _intervals(place, start, stop, number_of(f"{place}.step", table["step"]))
    check_count(place, name, intervals + 1)
    (a, a_scale), (b, b_scale) = start.as_integer_ratio(), stop.as_integer_ratio()
    first, last, scale = a * b_scale, b * a_scale, a_scale * b_scale
    divisor = scale * intervals
    return tuple((first * (intervals - i) + last * i) / divisor for i in range(intervals + 1))


def _end(place: str, name: str, value: object) -> float:
    number = value_of(place, name, number_of(place, value))
    assert isinstance(number, float)
    return number


def _count(place: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise SpecError(f"{place}: must be a whole number, got {show(count)}")
    if count < 2:
        raise SpecError(f"{place}: must be at least 2, got {count}")
    return count


def _intervals(place: str, start: Decimal, stop: Decimal, step: float) -> int:
    if not 0 < step < float("inf"):
        raise SpecError(f"{place}.step: must be positive and finite, got {step}")
    a, b, h = (Decimal(x).as_integer_ratio() for x in (start, stop, repr(step)))
    # (b - a) / h in integers; Decimal's own division would round.
    over = (b[0] * a[1] - a[0] * b[1]) * h[1]
    under = a[1] * b[1] * h[0]
    if over % under:
        raise SpecError(
            f"{place}.step: stop must lie a whole number of steps above start,"
            f" got {start} to {stop} by {step}; use count instead"
        )
    return over // under
