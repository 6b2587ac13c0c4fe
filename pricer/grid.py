"""What a grid file says: every combination of its axes is one cell."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import (
    ALLOWED,
    BESIDE,
    CONTRACTS,
    CURVES,
    INPUTS,
    SIMULATED,
    TABLES,
    WORDS,
    check_beside,
    code_of,
    defaults_of,
    impossible,
    inputs_of,
    not_negative,
    suggest,
)
from .dated import Table
from .errors import SpecError
from .gridvalues import (
    Value,
    check_count,
    exact,
    inexact,
    keyed,
    number_of,
    show,
    value_of,
    values_of,
)
from .settings import (
    Settings,
    check_measures,
    check_method,
    check_paths,
    check_sampling,
    check_seed,
    check_tolerance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MAX_CELLS = 2**63 - 1

_METHOD_KEYS = ("name", "tolerance", "measures", "seed", "sampling", "paths")
_FILE_TABLES = ("contract", "axes", "method")
# What a sweep is mostly of stands in [axes] alone.
_SWEPT = ("spot", "vol", "rate", "dividend_yield")


@dataclass(frozen=True, slots=True)
class Axis:
    """One swept input and the values it takes: numbers strictly increasing, others distinct."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        place = f"axes.{self.name}"
        if self.name not in INPUTS:
            raise SpecError(f"{place}: is not an input{suggest(self.name, INPUTS)}")
        if len(self.values) == 0:
            raise SpecError(f"{place}: must have at least one value, got none")
        check_count(place, self.name, len(self.values))
        values = self.values
        if self.name in WORDS or self.name in TABLES:
            values = tuple(value_of(place, self.name, value) for value in values)
        elif self.name in CURVES:
            values = tuple(
                value if isinstance(value, float) else value_of(place, self.name, value)
                for value in values
            )
        tables = any(isinstance(value, Table) for value in values)
        if tables or self.name in WORDS:
            _check_distinct(place, values)
        else:
            values = _numbers(place, self.name, values)
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.values)

    @property
    def shown(self) -> tuple[str | float, ...]:
        """The values as outputs show them and queries name them: tables by label or text."""
        return tuple(map(shown, self.values))


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of the values of `axes`, with `fixed` for other inputs of a `type`.

    `axes` are in file order; beside cash dividends their model is one. Inputs given in neither
    take their default where they have one. Of defaults `fixed` keeps exercise and dividend yield,
    and leaves out the others, so that a grid that spells them out is the same.
    """

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    name: str = ""
    settings: Settings = field(default_factory=Settings)
    type: str = "vanilla"

    def __post_init__(self) -> None:
        code_of("type", self.type)
        names = [axis.name for axis in self.axes]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"axes.{name}: must be given once")
            if name in self.fixed:
                raise SpecError(f"{name}: is given in [contract] and in [axes]; keep one of them")
        known, defaults = inputs_of(self.type), defaults_of(self.type)
        for name in known:
            absent = name not in names and name not in self.fixed
            if absent and name not in defaults and (self.type, name) not in BESIDE:
                where = "[axes]" if name in _SWEPT else "[contract] or [axes]"
                raise SpecError(f"axes.{name}: is missing; give it in {where}")
        for table, given in (("contract", self.fixed), ("axes", names)):
            for name in given:
                if name not in known:
                    raise _not_an_input(f"{table}.{name}", name, self.type)
        if self.cells > MAX_CELLS:
            raise SpecError(f"axes: must make fewer than 2^63 cells, got {self.cells:.3e}")
        fixed = self._fixed()
        if self.values("cash_dividends") and "dividend_model" not in names:
            # An axis, so that results name it.
            model = fixed.pop("dividend_model", "spot")
            object.__setattr__(self, "axes", (*self.axes, Axis("dividend_model", (model,))))
        object.__setattr__(self, "fixed", fixed)
        self._check_together()
        simulated = self.type in SIMULATED or set(self.values("model")) - {"black_scholes"}
        exercised = set(self.values("exercise")) - {"european"}
        settings = self.settings.usual(simulated=bool(simulated), exercised=bool(exercised))
        object.__setattr__(self, "settings", settings)

    def _fixed(self) -> dict[str, Value]:
        """Return the values of inputs that are no axis, as long as outputs show them."""
        names = {axis.name for axis in self.axes}
        fixed: dict[str, Value] = {}
        defaults = defaults_of(self.type)
        for name in inputs_of(self.type):
            default = defaults.get(name)
            value: object = self.fixed.get(name, default)
            if name in names or value is None:
                continue
            checked = value_of(f"contract.{name}", name, value)
            if name in ("exercise", "dividend_yield") or checked != default:
                fixed[name] = checked
        return fixed

    def _check_together(self) -> None:
        """Raise `SpecError` where values cannot be meant of this type, or beside each other."""
        for name in inputs_of(self.type):
            allowed = ALLOWED.get((self.type, name), ())
            for word in self.values(name):
                if allowed and word not in allowed:
                    place = "contract" if name in self.fixed else "axes"
                    rule = f"must be {' or '.join(allowed)}, got {word!r}"
                    raise SpecError(f"{place}.{name}: {rule}")
        for strike in self.values("strike"):
            if isinstance(strike, float) and strike < 0 and not_negative(self.type, "strike"):
                place = "contract" if "strike" in self.fixed else "axes"
                raise SpecError(f"{place}.strike: must not be negative, got {strike}")
        models = self.values("model")
        check_possible(self.settings.method, [self.type], models, self.values("exercise"))
        for name in inputs_of(self.type):
            of, words = BESIDE.get((self.type, name), ("", ()))
            if not of:
                continue
            got = self.values(of) or ("",)
            if self.values(name):
                check_beside(name, of, words, got)
            elif set(words) & set(got):
                where = "[axes]" if name in _SWEPT else "[contract] or [axes]"
                among = " or ".join(word for word in words if word in got)
                reason = "" if name == "vol" else f"; {of} = {among} needs it"
                raise SpecError(f"axes.{name}: is missing{reason or f'; give it in {where}'}")
        lower, upper = (
            [value for value in self.values(name) if isinstance(value, float)]
            for name in ("lower_barrier", "upper_barrier")
        )
        if lower and max(upper) <= min(lower):
            rule = "must be above the lower barrier"
            raise SpecError(f"upper_barrier: {rule}, got {max(upper)} and {min(lower)}")

    @property
    def cells(self) -> int:
        """The number of combinations."""
        return prod(len(axis) for axis in self.axes)

    def values(self, name: str) -> tuple[Value, ...]:
        """Return every value of an input: on its axis, fixed or by default; nothing without one."""
        for axis in self.axes:
            if axis.name == name:
                return axis.values
        value = self.fixed.get(name)
        if value is None and name in inputs_of(self.type):
            value = defaults_of(self.type).get(name)
        return () if value is None else (value,)

    @classmethod
    def parse(cls, text: str, source: str = "grid.toml") -> Grid:
        """Read a grid from TOML text; `source` names it in errors.

        Raises
        ------
        SpecError
            Where the text cannot be meant: names the file, the key, the rule and the value got.
        """
        try:
            document = parse_toml(text)
            return cls(**_arguments(document))
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Return what of this grid decides its values, as JSON can hold it, floats exactly."""
        return {
            "contract": {"type": self.type} | {k: exact(v) for k, v in self.fixed.items()},
            "axes": [[axis.name, [exact(v) for v in axis.values]] for axis in self.axes],
        } | self.settings.identity()

    def labels(self) -> dict[str, list[str]]:
        """Return the labels of the tables of each input that has any, empty where one has none."""
        found = {
            name: [getattr(value, "label", "") for value in self.values(name)]
            for name in (*TABLES, *CURVES)
        }
        return {name: labels for name, labels in found.items() if any(labels)}

    @classmethod
    def of_identity(
        cls, identity: Mapping[str, Any], name: str, labels: Mapping[str, Sequence[str]]
    ) -> Grid:
        """Rebuild the grid that `identity` describes, with the name and labels it had."""

        def values(of: str, spelt: Sequence[Any]) -> tuple[Value, ...]:
            called = labels.get(of, [""] * len(spelt))
            return tuple(inexact(of, *pair) for pair in zip(spelt, called, strict=True))

        contract = dict(identity["contract"])
        return cls(
            type=contract.pop("type"),
            axes=tuple(Axis(axis, values(axis, spelt)) for axis, spelt in identity["axes"]),
            fixed={of: values(of, [spelt])[0] for of, spelt in contract.items()},
            name=name,
            settings=Settings.of_identity(identity),
        )


def shown(value: Value) -> str | float:
    """Return a value as outputs show it: a table by its label or text."""
    return value if isinstance(value, str | float) else value.called


def check_possible(
    method: str,
    kinds: Iterable[str],
    models: Iterable[object],
    exercises: Iterable[object],
) -> None:
    """Raise `SpecError` where `method` prices none of some type, model or exercise."""
    if method == "analytic":
        for exercise in exercises:
            if exercise != "european":
                rule = f"must be auto or finite_difference for {exercise} options"
                raise SpecError(f"method: {rule}, got 'analytic'")
    if method == "finite_difference":
        beyond = [f"{spaced(kind)} contracts" for kind in kinds if kind in SIMULATED]
        beyond += [f"the {model} model" for model in models if model != "black_scholes"]
        for what in beyond:
            raise SpecError(f"method: must be auto or monte_carlo for {what}, got {method!r}")


def spaced(kind: str) -> str:
    """Return the name of a type of contract as prose has it."""
    return kind.replace("_", " ")


def _not_an_input(place: str, name: str, kind: str) -> SpecError:
    others = [spaced(other) for other in CONTRACTS if name in inputs_of(other)]
    if others:
        has = "has" if len(others) == 1 else "have"
        rule = f"is not an input of a {spaced(kind)}; {', '.join(others)} {has} it"
        return SpecError(f"{place}: {rule}")
    return SpecError(f"{place}: is not an input{suggest(name, inputs_of(kind))}")


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML text; what is wrong with it is a `SpecError` that names the line."""
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
                raise SpecError(f"name: must be text, got {show(value)}")
        elif key not in _FILE_TABLES:
            _refuse_key(key, document[key])
        elif not isinstance(value, dict):
            raise SpecError(f"{key}: must be a table, got {show(value)}; write [{key}]")
    contract, axes, method = (document.get(table, {}) for table in _FILE_TABLES)
    if "type" not in contract:
        raise SpecError('contract.type: is missing; write type = "vanilla"')
    keyed("contract.type", lambda kind: code_of("type", kind), contract["type"])
    kind = contract["type"].strip().lower()
    for table in _FILE_TABLES:
        for name in document.get(table, {}):
            _check_key(table, name, kind)
    if "axes" not in document:
        raise SpecError("axes: is missing; give the inputs to sweep in a table [axes]")
    arguments: dict[str, Any] = {
        "type": kind,
        "name": document.get("name", ""),
        "fixed": {n: _one(n, value) for n, value in contract.items() if n != "type"},
        "axes": tuple(Axis(n, values_of(f"axes.{n}", n, value)) for n, value in axes.items()),
    }
    checks: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "name": ("method", check_method),
        "tolerance": ("tolerance", check_tolerance),
        "measures": ("measures", _measures),
        "seed": ("seed", check_seed),
        "sampling": ("sampling", check_sampling),
        "paths": ("paths", check_paths),
    }
    settings = {}
    for key, value in method.items():
        setting, check = checks[key]
        settings[setting] = keyed(f"method.{key}", check, value)
    return arguments | {"settings": Settings(**settings)}


def _keys_of(table: str, kind: str) -> tuple[str, ...]:
    """Name the keys that a table of a grid file of this type of contract may have."""
    match table:
        case "contract":
            return ("type", *(name for name in inputs_of(kind) if name not in _SWEPT))
        case "axes":
            return inputs_of(kind)
        case _:
            return _METHOD_KEYS


def _one(name: str, value: object) -> object:
    """Return the one value that [contract] has for an input."""
    if name not in TABLES:
        return value
    values = values_of(f"contract.{name}", name, value)
    if len(values) == 1:
        return values[0]
    hint = "several values belong in the table [axes]"
    raise SpecError(f"contract.{name}: must be one table, got {len(values)}; {hint}")


def _refuse_key(key: str, value: object) -> None:
    if key in INPUTS:
        raise SpecError(f"{key}: belongs in the table [axes]")
    if key in _METHOD_KEYS and not isinstance(value, dict):
        raise SpecError(f"{key}: belongs in the table [method]")
    if key == "type" and not isinstance(value, dict):
        raise SpecError(f"{key}: belongs in the table [contract]")
    hint = suggest(key, (*_FILE_TABLES, "name"))
    raise SpecError(f"{key}: is not a key of a grid file{hint}")


def _check_key(table: str, name: str, kind: str) -> None:
    known = _keys_of(table, kind)
    if name in known:
        return
    place = f"{table}.{name}"
    for other in _FILE_TABLES:
        if name in _keys_of(other, kind):
            raise SpecError(f"{place}: belongs in the table [{other}]")
    if name in INPUTS:
        raise _not_an_input(place, name, kind)
    raise SpecError(
        f"{place}: is not known here; must be of {', '.join(known)}{suggest(name, known)}"
    )


def _measures(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SpecError(f"measures: must be a list of names, got {show(value)}")
    return check_measures(value)


def _check_distinct(place: str, values: tuple[Value, ...]) -> None:
    for what, seen in (("values", values), ("labels", tuple(map(shown, values)))):
        if len(set(seen)) == len(seen):
            continue
        for i, value in enumerate(seen):
            if value in seen[:i]:
                raise SpecError(f"{place}: {what} must differ, got {shown(value)!r} twice")


def _numbers(place: str, name: str, values: tuple[Any, ...]) -> tuple[Value, ...]:
    numbers = [number_of(place, value) for value in values]
    array = np.array(numbers)
    for i in np.flatnonzero(impossible(name, array))[:1]:
        value_of(place, name, numbers[i])
    for i in np.flatnonzero(array[1:] <= array[:-1])[:1]:
        a, b = numbers[i], numbers[i + 1]
        if a == b:
            raise SpecError(f"{place}: values must differ, got {a} twice")
        raise SpecError(f"{place}: values must increase, got {a} then {b}")
    return tuple(numbers)
