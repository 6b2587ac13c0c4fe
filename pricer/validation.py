"""The kernels against what is known: closed forms, laws, and published values shipped here.

Errors and bounds are per unit of strike, so that they compare with a tolerance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import DEFAULT_TOLERANCE, Market, Vanilla
from .pricing import price

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Options = dict[str, NDArray[Any]]

LAW = "a law, whatever the values"


@dataclass(frozen=True, slots=True)
class Case:
    """Values compared with what they should be: how many, and the largest error among them.

    `note` says why a bound is as wide as it is, where it is not plain.
    """

    name: str
    source: str
    values: int
    largest_error: float
    bound: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether every value is within the bound; a NaN is not."""
        return self.largest_error <= self.bound


def validate() -> tuple[Case, ...]:
    """Compare the kernels at the default tolerance with everything known that is quick to ask."""
    return (
        *_published(),
        _finite_differences(),
        _parity("analytic", 1e-13),
        _parity("finite_difference", 2 * DEFAULT_TOLERANCE),
        _symmetry(),
        _best_time(),
    )


def _values(options: Options, method: str = "auto") -> Floats:
    def of(names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        return {name: options[name] for name in names}

    prices = price(
        Vanilla(**of(("right", "exercise", "strike", "expiry"))),
        Market(**of(("spot", "vol", "rate", "dividend_yield"))),
        method=method,
        measures=("price",),
    )
    return np.asarray(prices.price, np.float64)


def _case(
    name: str, source: str, options: Options, error: Floats, bound: float, note: str = ""
) -> Case:
    errors = np.abs(error) / options["strike"]
    return Case(name, source, errors.size, float(errors.max()), bound, note)


def _sample(**changed: str | float) -> Options:
    """Return options of all sorts: every mix of vols, rates, yields, expiries and spots."""
    axes: dict[str, Any] = {
        "right": ["put"],
        "exercise": ["european"],
        "spot": [60.0, 90.0, 100.0, 110.0, 170.0],
        "strike": [100.0],
        "expiry": [0.1, 1.0, 5.0],
        "vol": [0.1, 0.2, 0.4, 0.8],
        "rate": [-0.01, 0.03, 0.08],
        "dividend_yield": [0.0, 0.02, 0.1],
    } | {name: [value] for name, value in changed.items()}
    mesh = np.meshgrid(*map(np.array, axes.values()), indexing="ij")
    return {name: column.reshape(-1) for name, column in zip(axes, mesh, strict=True)}


def _document() -> dict[str, Any]:
    text = files(__package__).joinpath("validation.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def known(section: str) -> tuple[str, Options]:
    """Return the source and the columns, inputs and `value`, of a section of what is shipped."""
    document = _document()
    rows = zip(*document[section]["rows"], strict=True)
    columns = zip(document["columns"], map(np.array, rows), strict=True)
    return document[section]["source"], dict(columns)


def _published() -> list[Case]:
    document = _document()
    cases = []
    for table in document["tables"]:
        columns = dict(zip(document["columns"], zip(*table["rows"], strict=True), strict=True))
        options = {name: np.array(values) for name, values in columns.items() if name != "value"}
        error = _values(options) - np.array(columns["value"])
        note = table.get("note", "")
        cases.append(_case(table["name"], table["source"], options, error, table["bound"], note))
    return cases


def _finite_differences() -> Case:
    options = _sample()
    error = _values(options, "finite_difference") - _values(options, "analytic")
    name = "finite differences against the closed form"
    return _case(name, "Black, Scholes (1973); Merton (1973)", options, error, DEFAULT_TOLERANCE)


def _parity(method: str, bound: float) -> Case:
    puts, calls = _sample(), _sample(right="call")
    forward = puts["spot"] * np.exp(-puts["dividend_yield"] * puts["expiry"])
    forward -= puts["strike"] * np.exp(-puts["rate"] * puts["expiry"])
    error = _values(calls, method) - _values(puts, method) - forward
    words = {"analytic": "closed form", "finite_difference": "finite differences"}
    return _case(f"put-call parity, {words[method]}", LAW, puts, error, bound)


def _symmetry() -> Case:
    puts, calls = _sample(exercise="american"), _sample(exercise="american", right="call")
    exchanged = {"spot": "strike", "rate": "dividend_yield"}
    for one, other in exchanged.items():
        calls[one], calls[other] = calls[other], calls[one]
    error = _values(puts) - _values(calls)
    source = "P. Carr, M. Chesney, American put call symmetry (1996)"
    return _case("American put-call symmetry", source, puts, error, 2 * DEFAULT_TOLERANCE)


def _best_time() -> Case:
    """Compare American options without vol with the best of many exercise times."""
    options = _sample(exercise="american", vol=0.0)
    times = options["expiry"][:, None] * np.linspace(0.0, 1.0, 2001)
    gain = options["strike"][:, None] * np.exp(-options["rate"][:, None] * times)
    gain -= options["spot"][:, None] * np.exp(-options["dividend_yield"][:, None] * times)
    error = _values(options) - np.maximum(gain.max(axis=1), 0.0)
    return _case("American without vol: the best time to exercise", LAW, options, error, 1e-7)
