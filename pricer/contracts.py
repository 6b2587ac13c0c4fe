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
from typing import TYPE_CHECKING, Any

import numpy as np

from .dated import Correlation, Curve, Dates, Dividends, Fixings, Table, Vector
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Words = str | Iterable[str] | NDArray[np.str_]
    # Tables of one kind: one for every cell, or one a cell.
    DatesLike = Dates | Iterable[Dates | None] | None
    DividendsLike = Dividends | Iterable[Dividends | None] | None
    FixingsLike = Fixings | Dates | Iterable[Fixings | Dates | None] | None
    CurveLike = ArrayLike | Curve | Iterable[Curve | float]
    VectorLike = Vector | Sequence[float] | NDArray[np.float64] | Iterable[Vector]
    CorrelationLike = Correlation | float | NDArray[np.float64] | Iterable[Correlation]


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
class Asian:
    """An option on the average of the spot, or struck at it.

    `average` is ``arithmetic`` or ``geometric``; with `strike_type` ``fixed`` a call pays what the
    average is above `strike`, with ``floating`` what the spot at expiry is above the average. The
    average is over `fixing_dates` and, of a seasoned option, `past_fixings` earlier ones of mean
    `running_average`. Without dates it is continuous from `averaging_start` on; or since `elapsed`
    years ago, with the `running_average` until now.
    """

    right: Words
    expiry: ArrayLike
    strike: ArrayLike | None = None
    average: Words = "arithmetic"
    strike_type: Words = "fixed"
    fixing_dates: FixingsLike = None
    running_average: ArrayLike | None = None
    past_fixings: ArrayLike = 0.0
    elapsed: ArrayLike = 0.0
    averaging_start: ArrayLike = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Lookback:
    """An option on the highest or lowest spot, or struck at it.

    With `strike_type` ``fixed`` a call pays what the maximum is above `strike`, a put what the
    minimum is below it. With ``floating`` a call pays what the spot at expiry is above
    `participation` times the minimum, a put what that of the maximum is above the spot. The spot is
    watched from `lookback_start` to `lookback_end` (expiry by default), continuously or on
    `monitoring_dates` alone; `running_extremum` is the extremum until now.
    """

    right: Words
    expiry: ArrayLike
    strike: ArrayLike | None = None
    strike_type: Words = "fixed"
    monitoring_dates: DatesLike = None
    running_extremum: ArrayLike | None = None
    lookback_start: ArrayLike = 0.0
    lookback_end: ArrayLike | None = None
    participation: ArrayLike = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ForwardStart:
    """A European option whose strike will be `moneyness` times the spot at time `start`."""

    right: Words
    expiry: ArrayLike
    start: ArrayLike
    moneyness: ArrayLike = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Cliquet:
    """A sum of returns from each of `reset_dates` to the next, and from the last to expiry.

    A call's return is the ratio of spots less `moneyness`, a put's the reverse. Each is held
    between `local_floor` and `local_cap`, their sum between `global_floor` and `global_cap` (no
    limit where one is not given); it pays that many times `notional` at expiry.
    """

    right: Words
    expiry: ArrayLike
    reset_dates: FixingsLike
    moneyness: ArrayLike = 1.0
    local_floor: ArrayLike = 0.0
    local_cap: ArrayLike | None = None
    global_floor: ArrayLike | None = None
    global_cap: ArrayLike | None = None
    notional: ArrayLike = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Basket:
    """An option on several assets.

    `basket_type` says on what: ``weighted``, the sum of `weights` times spots (equal weights of
    sum 1 by default); ``spread``, the same with weights 1, -1, -1, ... by default, an exchange
    option where the strike is 0; ``best_of`` and ``worst_of``, the largest and the smallest of
    weights times spots (1 by default). delta, gamma, vega and dividend_rho are by the asset of
    number `greek_asset`, counted from 1.
    """

    right: Words
    strike: ArrayLike
    expiry: ArrayLike
    basket_type: Words = "weighted"
    weights: VectorLike | None = None
    exercise: Words = "european"
    exercise_dates: DatesLike = None
    greek_asset: ArrayLike = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Merton:
    """Jumps beside the diffusion (Merton 1976): `jump_intensity` a year.

    The logarithm of a jump is normal of mean `jump_mean` and standard deviation `jump_vol`.
    """

    jump_intensity: ArrayLike
    jump_mean: ArrayLike
    jump_vol: ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class Heston:
    """A variance of its own motion (Heston 1993).

    It is `initial_variance` now, returns to `long_variance` at the speed `mean_reversion`, and
    moves with `vol_of_variance` times its root, correlated with the spot by
    `variance_correlation`. vega is by the root of the initial variance.
    """

    initial_variance: ArrayLike
    mean_reversion: ArrayLike
    long_variance: ArrayLike
    vol_of_variance: ArrayLike
    variance_correlation: ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The state of the world: Black-Scholes, or another `model`.

    `vol`, `rate` and `dividend_yield` are numbers or a `Curve`; one that is left out is missing,
    and what needs it refuses: implied vols and Heston's model need no `vol`. `cash_dividends` are
    paid in cash at their times; by ``spot`` (`dividend_model`) the spot drops by them and is
    lognormal between, by ``escrowed`` the spot less their present value is lognormal.
    `proportional_dividends` are fractions of the spot.
    """

    spot: ArrayLike
    vol: CurveLike = np.nan
    rate: CurveLike = np.nan
    dividend_yield: CurveLike = 0.0
    cash_dividends: DividendsLike = None
    proportional_dividends: DividendsLike = None
    dividend_model: Words = "spot"
    model: Merton | Heston | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BasketMarket:
    """The state of a world of several assets, each lognormal: one number for each in a `Vector`.

    `correlation` is one number for every pair, or a matrix.
    """

    spots: VectorLike
    vols: VectorLike
    rate: CurveLike
    correlation: CorrelationLike
    dividend_yields: VectorLike | None = None


Contract = (
    Vanilla | Digital | Barrier | DoubleBarrier | Touch | DoubleTouch
    | Asian | Lookback | ForwardStart | Cliquet | Basket
)  # fmt: skip
AnyMarket = Market | BasketMarket
CONTRACTS: dict[str, type[Contract]] = {
    "vanilla": Vanilla,
    "digital": Digital,
    "barrier": Barrier,
    "double_barrier": DoubleBarrier,
    "touch": Touch,
    "double_touch": DoubleTouch,
    "asian": Asian,
    "lookback": Lookback,
    "forward_start": ForwardStart,
    "cliquet": Cliquet,
    "basket": Basket,
}
# Types that no differential equation in the spot alone prices.
SIMULATED = ("asian", "lookback", "forward_start", "cliquet", "basket")
MODELS: dict[str, type[Merton | Heston] | None] = {
    "black_scholes": None,
    "merton": Merton,
    "heston": Heston,
}
# The model that each parameter is of.
MODEL_OF = {f.name: name for name, kind in MODELS.items() if kind for f in fields(kind)}
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
    "model": {name: code for code, name in enumerate(MODELS)},
    "average": {"arithmetic": 0, "geometric": 1},
    "strike_type": {"fixed": 0, "floating": 1},
    "basket_type": {"weighted": 0, "spread": 1, "best_of": 2, "worst_of": 3},
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
    "upper_barrier", "rebate", "cash", "payoff_strike", "running_average", "past_fixings",
    "elapsed", "averaging_start", "running_extremum", "lookback_start", "lookback_end",
    "participation", "start", "moneyness", "local_floor", "local_cap", "global_floor",
    "global_cap", "notional", "greek_asset", *MODEL_OF,
)  # fmt: skip
TABLES: dict[str, type[Table]] = {
    "exercise_dates": Dates,
    "monitoring_dates": Dates,
    "cash_dividends": Dividends,
    "proportional_dividends": Dividends,
    "fixing_dates": Fixings,
    "reset_dates": Fixings,
    "spots": Vector,
    "vols": Vector,
    "dividend_yields": Vector,
    "weights": Vector,
    "correlation": Correlation,
}
CURVES = ("vol", "rate", "dividend_yield")  # numbers that may also be a `Curve`
NOT_NEGATIVE = (
    "spot", "expiry", "vol", "barrier", "lower_barrier", "upper_barrier", "rebate",
    "cash", "payoff_strike", "running_average", "past_fixings", "elapsed", "averaging_start",
    "running_extremum", "lookback_start", "lookback_end", "participation", "start", "moneyness",
    "notional", "jump_intensity", "jump_vol", "initial_variance", "mean_reversion",
    "long_variance", "vol_of_variance",
)  # fmt: skip
ABOVE_ZERO = ("barrier", "lower_barrier", "upper_barrier", "greek_asset")
# An input that counts only beside some words of another: it is missing there, and means nothing
# beside the others.
BESIDE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("asian", "strike"): ("strike_type", ("fixed",)),
    ("lookback", "strike"): ("strike_type", ("fixed",)),
    **{
        (kind, name): ("model", (model,))
        for kind in CONTRACTS
        if kind != "basket"
        for name, model in MODEL_OF.items()
    },
    **{(kind, "vol"): ("model", ("black_scholes", "merton")) for kind in CONTRACTS},
    **{(kind, "exercise_dates"): ("exercise", ("bermudan",)) for kind in CONTRACTS},
}
# What a number is where it is not given; every type that has it agrees.
NUMBER_DEFAULTS = {
    f.name: f.default
    for kind in (*CONTRACTS.values(), Market)
    for f in fields(kind)
    if isinstance(f.default, float) and f.default is not np.nan
}
# Every input, in the order in which tables show them.
INPUTS = (
    "right", "exercise", "spot", "strike", "expiry", "vol", "rate", "dividend_yield", "average",
    "strike_type", "basket_type", "spots", "vols", "dividend_yields", "correlation", "weights",
    "model", *MODEL_OF, "fixing_dates", "running_average", "past_fixings", "elapsed",
    "averaging_start", "running_extremum", "lookback_start", "lookback_end", "participation",
    "start", "reset_dates", "moneyness", "local_floor", "local_cap", "global_floor", "global_cap",
    "notional", "greek_asset", "direction", "touch_type", "barrier_type", "barrier",
    "lower_barrier", "upper_barrier", "rebate", "payoff", "cash", "payoff_strike", "payment",
    "exercise_dates", "monitoring_dates", "cash_dividends", "proportional_dividends",
    "dividend_model",
)  # fmt: skip


class Status(IntEnum):
    """How a cell ended. Appended to, never renumbered."""

    ok = 0
    invalid = 1
    tolerance = 2
    unsupported = 3


def market_of(kind: str) -> type[AnyMarket]:
    """Return what the market of a contract of this type is."""
    return BasketMarket if kind == "basket" else Market


def described(kind: str, inputs: Mapping[str, Any]) -> tuple[Contract, AnyMarket]:
    """Return the contract of this type, and its market, that inputs by name describe."""
    contract, world = CONTRACTS[kind], market_of(kind)
    parts: list[dict[str, Any]] = [
        {f.name: inputs[f.name] for f in fields(part) if f.name in inputs}
        for part in (contract, world)
    ]
    word = tuple(MODELS)[code_of("model", parts[1].pop("model", "black_scholes"))]
    given = {name: value for name, value in inputs.items() if name in MODEL_OF}
    for name in given:
        check_beside(name, "model", (MODEL_OF[name],), (word,))
    if model := MODELS[word]:
        for f in fields(model):
            if f.name not in given:
                raise SpecError(f"{f.name}: is missing; model = {word} needs it")
        parts[1]["model"] = model(**given)
    return contract(**parts[0]), world(**parts[1])


@cache
def inputs_of(kind: str) -> tuple[str, ...]:
    """Name the inputs of a contract of this type and its market, in the order of `INPUTS`."""
    names = {f.name for part in (CONTRACTS[kind], market_of(kind)) for f in fields(part)}
    if "model" in names:
        names.update(MODEL_OF)
    return tuple(name for name in INPUTS if name in names)


@cache
def defaults_of(kind: str) -> dict[str, str | float | None]:
    """Return what the inputs of a contract of this type are where they are not given."""
    defaults: dict[str, str | float | None] = {
        f.name: f.default
        for part in (CONTRACTS[kind], market_of(kind))
        for f in fields(part)
        if isinstance(f.default, str | float | None) and f.default is not np.nan
    }
    if "model" in defaults:
        defaults |= {**dict.fromkeys(MODEL_OF), "model": "black_scholes"}
    return defaults


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


def with_article(kind: str) -> str:
    """Return a type of contract as prose has it: a double barrier, an asian."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


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


def check_beside(name: str, of: str, words: Iterable[str], got: Iterable[object]) -> None:
    """Raise `SpecError` where `name` is given and no value that input `of` has makes it count."""
    got = list(got)
    if got and not set(words) & set(got):
        among = " or ".join(f'"{word}"' for word in words)
        raise SpecError(
            f"{name}: counts only with {of} = {among}, got {' and '.join(map(str, got))}"
        )


def not_negative(kind: str, field: str) -> bool:
    """Tell whether a number of a contract of this type must be 0 or more: of spreads none is."""
    return field in NOT_NEGATIVE or (field == "strike" and kind != "basket")


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


def check_table(name: str, table: Table) -> None:
    """Raise `SpecError`, which does not name the input, if no cell can have this table."""
    match table:
        case Curve() if name == "vol" and min(table.values) < 0:
            raise SpecError(f"must not be negative, got {min(table.values)}")
        case Dividends() if name == "proportional_dividends" and max(table.amounts, default=0) >= 1:
            raise SpecError(f"must be below 1, fractions of the spot, got {max(table.amounts)}")
        case Vector() if name in ("spots", "vols") and min(table.values) < 0:
            raise SpecError(f"must not be negative, got {min(table.values)}")
