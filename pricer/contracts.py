"""What is owed (`Vanilla`, `Barrier`, ...) and the state of the world (`Market`).

Times are years, rates and yields continuously compounded per year, vol per square root of a year.
A field is a scalar or an array; fields broadcast. A scalar that no option can have raises
`SpecError`; in an array it marks its own cells invalid and leaves the others alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .dated import Curve, Dates, Dividends, Table
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import ArrayLike, NDArray

    Words = str | Iterable[str] | NDArray[np.str_]
    # Tables of one kind: one for every cell, or one a cell.
    DatesLike = Dates | Iterable[Dates | None] | None
    DividendsLike = Dividends | Iterable[Dividends | None] | None
    CurveLike = ArrayLike | Curve | Iterable[Curve | float]

MEASURES = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho")
METHODS = ("auto", "analytic", "finite_difference")
DEFAULT_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Vanilla:
    """A call or a put: European, American, or Bermudan on `exercise_dates` and at expiry."""

    right: Words
    strike: ArrayLike
    expiry: ArrayLike
    exercise: Words = "european"
    exercise_dates: DatesLike = None


@dataclass(frozen=True, slots=True, eq=False)
class Digital:
    """Pays at expiry if it ends in the money.

    `payoff` is ``cash_or_nothing`` (`cash`), ``asset_or_nothing`` (the spot) or ``gap`` (the spot
    less `payoff_strike`, or the reverse for a put).
    """

    right: Words
    strike: ArrayLike
    expiry: ArrayLike
    payoff: Words = "cash_or_nothing"
    cash: ArrayLike = 1.0
    payoff_strike: ArrayLike = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Barrier:
    """An option that a barrier knocks out or in.

    `barrier_type` is ``down_out``, ``down_in``, ``up_out`` or ``up_in``. The barrier is watched
    continuously, or on `monitoring_dates` alone. `rebate` is paid when the option is knocked out
    (`payment` ``at_hit``) or at expiry; by a knock-in at expiry, if it never came in. `payoff` may
    also be ``cash_or_nothing`` or ``asset_or_nothing``.
    """

    right: Words
    strike: ArrayLike
    expiry: ArrayLike
    barrier: ArrayLike
    barrier_type: Words
    rebate: ArrayLike = 0.0
    payment: Words = "at_hit"
    exercise: Words = "european"
    payoff: Words = "vanilla"
    cash: ArrayLike = 1.0
    exercise_dates: DatesLike = None
    monitoring_dates: DatesLike = None


@dataclass(frozen=True, slots=True, eq=False)
class DoubleBarrier:
    """An option that either of two barriers knocks out or in: ``knock_out`` or ``knock_in``.

    The rest is as for `Barrier`.
    """

    right: Words
    strike: ArrayLike
    expiry: ArrayLike
    lower_barrier: ArrayLike
    upper_barrier: ArrayLike
    barrier_type: Words
    rebate: ArrayLike = 0.0
    payment: Words = "at_hit"
    exercise: Words = "european"
    payoff: Words = "vanilla"
    cash: ArrayLike = 1.0
    exercise_dates: DatesLike = None
    monitoring_dates: DatesLike = None


@dataclass(frozen=True, slots=True, eq=False)
class Touch:
    """Pays if a barrier is touched (``one_touch``) or if it never is (``no_touch``).

    `direction` is where the barrier lies, ``up`` or ``down``; a barrier already passed is touched.
    `payoff` is ``cash_or_nothing`` (`cash`) or ``asset_or_nothing``; `payment` of a one-touch is
    ``at_hit`` or ``at_expiry``, of a no-touch always at expiry.
    """

    direction: Words
    expiry: ArrayLike
    barrier: ArrayLike
    touch_type: Words = "one_touch"
    payoff: Words = "cash_or_nothing"
    cash: ArrayLike = 1.0
    payment: Words = "at_hit"
    monitoring_dates: DatesLike = None


@dataclass(frozen=True, slots=True, eq=False)
class DoubleTouch:
    """Pays if one of two barriers is touched (``one_touch``), or neither is (``no_touch``).

    ``lower_first`` pays if the lower one is touched before the upper one (knock-in, knock-out:
    KIKO), ``upper_first`` if the upper one is first (KOKI). The rest is as for `Touch`.
    """

    expiry: ArrayLike
    lower_barrier: ArrayLike
    upper_barrier: ArrayLike
    touch_type: Words = "one_touch"
    payoff: Words = "cash_or_nothing"
    cash: ArrayLike = 1.0
    payment: Words = "at_hit"
    monitoring_dates: DatesLike = None


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The state of a Black-Scholes world.

    `vol`, `rate` and `dividend_yield` are numbers or a `Curve`; one that is left out is missing,
    and what needs it refuses: implied vols need no `vol`. `cash_dividends` are paid in cash at
    their times; by ``spot`` (`dividend_model`) the spot drops by them and is lognormal between,
    by ``escrowed`` the spot less their present value is lognormal. `proportional_dividends` are
    fractions of the spot.
    """

    spot: ArrayLike
    vol: CurveLike = np.nan
    rate: CurveLike = np.nan
    dividend_yield: CurveLike = 0.0
    cash_dividends: DividendsLike = None
    proportional_dividends: DividendsLike = None
    dividend_model: Words = "spot"


Contract = Vanilla | Digital | Barrier | DoubleBarrier | Touch | DoubleTouch
CONTRACTS: dict[str, type[Contract]] = {
    "vanilla": Vanilla,
    "digital": Digital,
    "barrier": Barrier,
    "double_barrier": DoubleBarrier,
    "touch": Touch,
    "double_touch": DoubleTouch,
}
TYPES = {name: code for code, name in enumerate(CONTRACTS)}
WORDS = {
    "type": TYPES,
    "right": {"call": 1, "put": -1},
    "exercise": {"european": 0, "american": 1, "bermudan": 2},
    "payoff": {"vanilla": 0, "cash_or_nothing": 1, "asset_or_nothing": 2, "gap": 3},
    "barrier_type": {
        "down_out": 0, "down_in": 1, "up_out": 2, "up_in": 3, "knock_out": 4, "knock_in": 5,
    },
    "direction": {"down": 0, "up": 1},
    "touch_type": {"one_touch": 0, "no_touch": 1, "lower_first": 2, "upper_first": 3},
    "payment": {"at_hit": 0, "at_expiry": 1},
    "dividend_model": {"spot": 0, "escrowed": 1},
}  # fmt: skip
# The words that a contract of some type can have, where not all can be meant.
ALLOWED = {
    ("digital", "payoff"): ("cash_or_nothing", "asset_or_nothing", "gap"),
    ("barrier", "barrier_type"): ("down_out", "down_in", "up_out", "up_in"),
    ("barrier", "payoff"): ("vanilla", "cash_or_nothing", "asset_or_nothing"),
    ("double_barrier", "barrier_type"): ("knock_out", "knock_in"),
    ("double_barrier", "payoff"): ("vanilla", "cash_or_nothing", "asset_or_nothing"),
    ("touch", "touch_type"): ("one_touch", "no_touch"),
    ("touch", "payoff"): ("cash_or_nothing", "asset_or_nothing"),
    ("double_touch", "payoff"): ("cash_or_nothing", "asset_or_nothing"),
}
NUMBERS = (
    "spot", "strike", "expiry", "vol", "rate", "dividend_yield", "barrier", "lower_barrier",
    "upper_barrier", "rebate", "cash", "payoff_strike",
)  # fmt: skip
TABLES: dict[str, type[Table]] = {
    "exercise_dates": Dates,
    "monitoring_dates": Dates,
    "cash_dividends": Dividends,
    "proportional_dividends": Dividends,
}
CURVES = ("vol", "rate", "dividend_yield")  # numbers that may also be a `Curve`
NOT_NEGATIVE = (
    "spot", "strike", "expiry", "vol", "barrier", "lower_barrier", "upper_barrier", "rebate",
    "cash", "payoff_strike",
)  # fmt: skip
ABOVE_ZERO = ("barrier", "lower_barrier", "upper_barrier")
# What a number is where it is not given; every type that has it agrees.
NUMBER_DEFAULTS = {
    f.name: f.default
    for kind in (*CONTRACTS.values(), Market)
    for f in fields(kind)
    if isinstance(f.default, float) and f.default is not np.nan
}
# Every input, in the order in which tables show them.
INPUTS = (
    "right", "exercise", "spot", "strike", "expiry", "vol", "rate", "dividend_yield", "direction",
    "touch_type", "barrier_type", "barrier", "lower_barrier", "upper_barrier", "rebate", "payoff",
    "cash", "payoff_strike", "payment", "exercise_dates", "monitoring_dates", "cash_dividends",
    "proportional_dividends", "dividend_model",
)  # fmt: skip


class Status(IntEnum):
    """How a cell ended. Appended to, never renumbered."""

    ok = 0
    invalid = 1
    tolerance = 2
    unsupported = 3


@cache
def inputs_of(kind: str) -> tuple[str, ...]:
    """Name the inputs of a contract of this type and its market, in the order of `INPUTS`."""
    names = {f.name for part in (CONTRACTS[kind], Market) for f in fields(part)}
    return tuple(name for name in INPUTS if name in names)


@cache
def defaults_of(kind: str) -> dict[str, str | float | None]:
    """Return what the inputs of a contract of this type are where they are not given."""
    return {
        f.name: f.default
        for part in (CONTRACTS[kind], Market)
        for f in fields(part)
        if isinstance(f.default, str | float | None) and f.default is not np.nan
    }


def shown_of(kinds: Iterable[str], given: Collection[str]) -> tuple[str, ...]:
    """Name the inputs of contracts of these types that outputs show, in the order of `INPUTS`.

    Those are the given ones, those without a default, the exercise and the dividend yield, and
    beside cash dividends the model that they follow.
    """
    always = {"exercise", "dividend_yield"}
    if "cash_dividends" in given:
        always.add("dividend_model")
    shown = {
        name
        for kind in kinds
        for name in inputs_of(kind)
        if name in given or name in always or name not in defaults_of(kind)
    }
    return tuple(name for name in INPUTS if name in shown)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss of a known word, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def code_of(field: str, word: object, words: Iterable[str] = ()) -> int:
    """Turn one word of `field` into its code; `right` also takes c and p, in any case.

    `words` are those that can be meant, where not all can.
    """
    known = tuple(words) or tuple(WORDS[field])
    if isinstance(word, str):
        lower = word.strip().lower()
        if field == "right":
            lower = {"c": "call", "p": "put"}.get(lower, lower)
        if lower in known:
            return WORDS[field][lower]
    hint = suggest(word, known) if isinstance(word, str) else ""
    raise SpecError(f"{field}: must be {' or '.join(known)}, got {word!r}{hint}")


def check_measures(measures: Iterable[str]) -> tuple[str, ...]:
    """Return `measures` in the order of `MEASURES`, without repeats."""
    if isinstance(measures, str):
        raise SpecError(f"measures: must be a list of names, got {measures!r}")
    asked = list(measures)
    for measure in asked:
        if measure not in MEASURES:
            hint = suggest(str(measure), MEASURES)
            raise SpecError(f"measures: must be of {', '.join(MEASURES)}; got {measure!r}{hint}")
    if not asked:
        raise SpecError("measures: must name at least one")
    return tuple(m for m in MEASURES if m in asked)


def check_method(method: object) -> str:
    """Return `method` if there is one of that name."""
    if method not in METHODS:
        raise SpecError(
            f"method: must be one of {', '.join(METHODS)}; got {method!r}"
            + suggest(str(method), METHODS)
        )
    return str(method)


def check_tolerance(tolerance: object) -> float:
    """Return `tolerance` (largest error per unit of strike) as a float in [1e-12, 1]."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise SpecError(f"tolerance: must be a number, got {tolerance!r}")
    if not 1e-12 <= tolerance <= 1:
        raise SpecError(f"tolerance: must lie between 1e-12 and 1, got {tolerance!r}")
    return float(tolerance)


def check_number(field: str, value: float) -> None:
    """Raise `SpecError` if no cell can have this value."""
    if reason := number_reason(field, value):
        raise SpecError(f"{field}: {reason}")


def number_reason(field: str, value: float) -> str:
    """Say why `value` cannot be a `field`; empty if it can."""
    if np.isnan(value):
        return "is missing"
    if np.isinf(value):
        return f"must be finite, got {value}"
    if field in NOT_NEGATIVE and value < 0:
        return f"must not be negative, got {value}"
    return ""


def impossible(field: str, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of `values` no cell can have; barriers must be above 0."""
    where = ~np.isfinite(values)
    if field in NOT_NEGATIVE:
        where |= values < 0
    if field in ABOVE_ZERO:
        where |= values == 0
    return where
