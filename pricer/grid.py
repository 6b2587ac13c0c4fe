"""What a grid file says: every combination of its axes is one cell."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from functools import partial
from math import isnan, prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .columns import number_hint
from .contracts import (
    DEFAULT_TOLERANCE,
    INPUTS,
    MEASURES,
    NOT_NEGATIVE,
    WORDS,
    check_measures,
    check_method,
    check_number,
    check_tolerance,
    code_of,
    suggest,
)
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DEFAULTS: dict[str, str | float] = {"exercise": "european", "dividend_yield": 0.0}
INPUTS = INPUTS[:8]
CONTRACT_TYPES = ("vanilla",)
CONTRACT_INPUTS = ("right", "exercise", "strike", "expiry")
MAX_AXIS_VALUES = 1_000_000
# Each is a slice of one solve, kept in memory.
MAX_EXPIRIES = 50_000
MAX_CELLS = 2**63 - 1

_TABLES = {
    "contract": ("type", *CONTRACT_INPUTS),
    "axes": INPUTS,
    "method": ("name", "tolerance", "measures"),
}
_NUMERIC = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", re.IGNORECASE)
_RANGE_KEYS = ("start", "stop", "count", "step")

Value = str | float


@dataclass(frozen=True, slots=True)
class Axis:
    """One swept input and the values it takes: numbers strictly increasing, words distinct."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        place = f"axes.{self.name}"
        if self.name not in INPUTS:
            raise SpecError(f"{place}: is not an input{suggest(self.name, INPUTS)}")
        if len(self.values) == 0:
            raise SpecError(f"{place}: must have at least one value, got none")
        _check_count(place, self.name, len(self.values))
        values = _words(place, self) if self.name in WORDS else _numbers(place, self)
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of the values of `axes`, with `fixed` for the other inputs.

    `axes` are in file order. Inputs given in neither take their default where they have one.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    name: str = ""
    method: str = "auto"
    tolerance: float = DEFAULT_TOLERANCE
    measures: tuple[str, ...] = MEASURES

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"axes.{name}: must be given once")
            if name in self.fixed:
                raise SpecError(f"{name}: is given in [contract] and in [axes]; keep one of them")
        fixed = {}
        for name in INPUTS:
            if name in names:
                continue
            if name not in self.fixed and name not in DEFAULTS:
                where = "[contract] or [axes]" if name in CONTRACT_INPUTS else "[axes]"
                raise SpecError(f"axes.{name}: is missing; give it in {where}")
            value = self.fixed.get(name, DEFAULTS.get(name))
            fixed[name] = _value(f"contract.{name}", name, value)
        for name in self.fixed:
            if name not in INPUTS:
                raise SpecError(f"contract.{name}: is not an input{suggest(name, INPUTS)}")
        if self.cells > MAX_CELLS:
            raise SpecError(f"axes: must make fewer than 2^63 cells, got {self.cells:.3e}")
        object.__setattr__(self, "fixed", fixed)
        object.__setattr__(self, "method", check_method(self.method))
        object.__setattr__(self, "tolerance", check_tolerance(self.tolerance))
        object.__setattr__(self, "measures", check_measures(self.measures))
        for axis in self.axes:
            if axis.name == "exercise":
                check_closed_form(self.method, axis.values)
        check_closed_form(self.method, (fixed.get("exercise", ""),))

    @property
    def cells(self) -> int:
        """The number of combinations."""
        return prod(len(axis) for axis in self.axes)

    @classmethod
    def parse(cls, text: str, source: str = "grid.toml") -> Grid:
        """Read a grid from TOML text; `source` names it in errors.

        Raises
        ------
        SpecError
            Where the text cannot be meant: names the file, the key, the rule and the value got.
        """
        try:
            document = _toml(text)
            return cls(**_arguments(document))
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what of this grid decides its values, as JSON can hold it, floats exactly."""
        return {
            "contract": {"type": "vanilla"} | {k: exact(v) for k, v in self.fixed.items()},
            "axes": [[axis.name, [exact(v) for v in axis.values]] for axis in self.axes],
            "method": self.method,
            "tolerance": exact(self.tolerance),
            "measures": sorted(self.measures),
        }

    @classmethod
    def of_identity(cls, identity: Mapping[str, Any], name: str) -> Grid:
        """Rebuild the grid that `identity` describes."""
        contract = {k: inexact(k, v) for k, v in identity["contract"].items() if k != "type"}
        return cls(
            axes=tuple(
                Axis(axis, tuple(inexact(axis, value) for value in values))
                for axis, values in identity["axes"]
            ),
            fixed=contract,
            name=name,
            method=identity["method"],
            tolerance=float.fromhex(identity["tolerance"]),
            measures=tuple(identity["measures"]),
        )


def check_closed_form(method: str, exercises: Iterable[Value]) -> None:
    """Raise `SpecError` where `method` cannot price one of `exercises`."""
    if method == "analytic" and "american" in exercises:
        raise SpecError(
            "method: must be auto or finite_difference for american options, got 'analytic'"
        )


def exact(value: Value) -> str:
    """Spell a number so that no bit is lost; words stay as they are."""
    return value if isinstance(value, str) else float(value).hex()


def inexact(name: str, text: str) -> Value:
    """Read back what `exact` spelled for the input `name`."""
    return text if name in WORDS else float.fromhex(text)


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except RecursionError:
        raise SpecError("is nested too deeply") from None
    except ValueError as error:
        message = str(error)
        found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        if not found:
            raise SpecError(f"is not TOML: {message}") from None
        reason = message[: found.start()]
        reason = reason[:1].lower() + reason[1:]
        if found[1]:
            raise SpecError(f"line {found[1]}, column {found[2]}: {reason}") from None
        line = len(text.rstrip().splitlines()) or 1
        raise SpecError(f"line {line}: {reason} at the end of the file") from None


def _arguments(document: dict[str, Any]) -> dict[str, Any]:
    """Turn a parsed TOML document into the arguments of `Grid`."""
    for key, value in document.items():
        if key == "name":
            if not isinstance(value, str):
                raise SpecError(f"name: must be text, got {_show(value)}")
        elif key not in _TABLES:
            _refuse_key(key, document[key])
        elif not isinstance(value, dict):
            raise SpecError(f"{key}: must be a table, got {_show(value)}; write [{key}]")
        else:
            for name in value:
                if name not in _TABLES[key]:
                    _refuse_input(key, name)
    contract, axes, method = (document.get(table, {}) for table in _TABLES)
    kind = contract.get("type")
    if kind is None:
        raise SpecError('contract.type: is missing; write type = "vanilla"')
    if kind not in CONTRACT_TYPES:
        hint = suggest(str(kind), CONTRACT_TYPES)
        raise SpecError(f"contract.type: must be 'vanilla', got {_show(kind)}{hint}")
    if "axes" not in document:
        raise SpecError("axes: is missing; give the inputs to sweep in a table [axes]")
    arguments: dict[str, Any] = {
        "name": document.get("name", ""),
        "fixed": {
            name: _value(f"contract.{name}", name, value)
            for name, value in contract.items()
            if name != "type"
        },
        "axes": tuple(Axis(name, _values(name, value)) for name, value in axes.items()),
    }
    checks: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "name": ("method", check_method),
        "tolerance": ("tolerance", check_tolerance),
        "measures": ("measures", _measures),
    }
    for key, value in method.items():
        argument, check = checks[key]
        arguments[argument] = _keyed(f"method.{key}", check, value)
    return arguments


def _refuse_key(key: str, value: object) -> None:
    known = (*_TABLES, "name")
    if key in INPUTS:
        raise SpecError(f"{key}: belongs in the table [axes]")
    for table, keys in _TABLES.items():
        if key in keys and not isinstance(value, dict):
            raise SpecError(f"{key}: belongs in the table [{table}]")
    raise SpecError(f"{key}: is not a key of a grid file{suggest(key, known)}")


def _refuse_input(table: str, name: str) -> None:
    place = f"{table}.{name}"
    for other, keys in _TABLES.items():
        if other != table and name in keys:
            raise SpecError(f"{place}: belongs in the table [{other}]")
    known = _TABLES[table]
    raise SpecError(
        f"{place}: is not known here; must be of {', '.join(known)}{suggest(name, known)}"
    )


def _keyed(place: str, check: Callable[[Any], Any], value: object) -> Any:
    """Call `check`, whose errors name their field, and let them name `place` instead."""
    try:
        return check(value)
    except SpecError as error:
        raise SpecError(f"{place}: {str(error).partition(': ')[2]}") from None


def _measures(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SpecError(f"measures: must be a list of names, got {_show(value)}")
    return check_measures(value)


def _values(name: str, value: object) -> tuple[Value, ...]:
    """Return the values of one axis: one value, a list or a range."""
    if isinstance(value, dict):
        if name in WORDS:
            raise SpecError(f"axes.{name}: must be a word or a list of words, got {_show(value)}")
        return _range(f"axes.{name}", name, value)
    return tuple(value) if isinstance(value, list) else (cast("Value", value),)


def _words(place: str, axis: Axis) -> tuple[Value, ...]:
    words = tuple(_value(place, axis.name, word) for word in axis.values)
    for i, word in enumerate(words):
        if word in words[:i]:
            raise SpecError(f"{place}: values must differ, got {word!r} twice")
    return words


def _numbers(place: str, axis: Axis) -> tuple[Value, ...]:
    numbers = [_number(place, value) for value in axis.values]
    array = np.array(numbers)
    impossible = ~np.isfinite(array)
    if axis.name in NOT_NEGATIVE:
        impossible |= array < 0
    for i in np.flatnonzero(impossible)[:1]:
        _value(place, axis.name, numbers[i])
    for i in np.flatnonzero(array[1:] <= array[:-1])[:1]:
        a, b = numbers[i], numbers[i + 1]
        if a == b:
            raise SpecError(f"{place}: values must differ, got {a} twice")
        raise SpecError(f"{place}: values must increase, got {a} then {b}")
    return tuple(numbers)


def _value(place: str, name: str, value: object) -> Value:
    """Return one value of the input `name`: the full word, or a float it can be."""
    if name in WORDS:
        code = _keyed(place, partial(code_of, name), value)
        return next(word for word, known in WORDS[name].items() if known == code)
    number = _number(place, value)
    if isnan(number):
        raise SpecError(f"{place}: must be a number, got nan")
    _keyed(place, partial(check_number, name), number)
    return number


def _number(place: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = ""
        if isinstance(value, str):
            numeric = _NUMERIC.fullmatch(value)
            hint = "; write it without quotes" if numeric else number_hint(value)
        elif isinstance(value, list | dict) and place.startswith("contract."):
            hint = "; several values belong in the table [axes]"
        raise SpecError(f"{place}: must be a number, got {_show(value)}{hint}")
    try:
        # Adding zero makes -0.0 the zero it is equal to.
        return float(value) + 0.0
    except OverflowError:
        raise SpecError(f"{place}: must be finite, got {_show(value)}") from None


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
    ends = [_value(f"{place}.{key}", name, table[key]) for key in ("start", "stop")]
    start, stop = (Decimal(repr(end)) for end in ends)
    if not start < stop:
        raise SpecError(f"{place}: start must be below stop, got {ends[0]} and {ends[1]}")
    if "count" in table:
        intervals = _count(f"{place}.count", table["count"]) - 1
    else:
        intervals = _intervals(place, start, stop, _number(f"{place}.step", table["step"]))
    _check_count(place, name, intervals + 1)
    (a, a_scale), (b, b_scale) = start.as_integer_ratio(), stop.as_integer_ratio()
    first, last, scale = a * b_scale, b * a_scale, a_scale * b_scale
    divisor = scale * intervals
    return tuple((first * (intervals - i) + last * i) / divisor for i in range(intervals + 1))


def _check_count(place: str, name: str, count: int) -> None:
    most = MAX_EXPIRIES if name == "expiry" else MAX_AXIS_VALUES
    if count > most:
        raise SpecError(f"{place}: must have at most {most:,} values, got {_show(count)}")


def _count(place: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise SpecError(f"{place}: must be a whole number, got {_show(count)}")
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


def _show(value: object) -> str:
    """Show a value as the file would, shortened."""
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    if isinstance(value, date | time):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
