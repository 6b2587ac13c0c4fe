"""The kernels against what is known: closed forms, laws, and published values shipped here.

Errors and bounds are per unit of strike, so that they compare with a tolerance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import (
    AnyMarket,
    Asian,
    Barrier,
    Basket,
    BasketMarket,
    Contract,
    Digital,
    DoubleBarrier,
    DoubleTouch,
    Heston,
    Lookback,
    Market,
    Merton,
    Touch,
    Vanilla,
    described,
)
from .dated import Curve, Dates, Dividends
from .pricing import price
from .settings import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Options = dict[str, NDArray[Any]]

LAW = "a law, whatever the values"
COSINES = "F. Fang, C. Oosterlee, SIAM J. Sci. Comput. 31(2) (2008)"
# Errors are per unit of the first of these that there is.
UNITS = ("strike", "barrier", "lower_barrier", "spot")
# Every mix of these, for contracts of strike 100.
RIGHTS = np.array(["call", "put"])[:, None, None]
EXPIRIES = np.array([0.25, 1.0])[:, None]
SPOTS = np.array([82.0, 95.0, 100.0, 119.0])
MARKET: dict[str, Any] = {"spot": SPOTS, "vol": 0.25, "rate": 0.06, "dividend_yield": 0.02}
SINGLE = {"down_out": 80.0, "down_in": 80.0, "up_out": 120.0, "up_in": 120.0}
DOUBLE = ("knock_out", "knock_in")
DIVIDENDS = Dividends((0.1, 0.6), (2.0, 3.0))
CURVES = {
    "vol": Curve((0.1, 0.6), (0.2, 0.3)),
    "rate": Curve((0.5, 1.0), (0.02, 0.09)),
    "dividend_yield": Curve((0.2, 1.0), (0.05, 0.0)),
}
SIMULATED_TO = 1e-4  # the tolerance of simulations, which are to be quick here
FRACTIONS = Dividends((0.1, 0.6), (0.02, 0.03))


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
        *_marched_against_closed(),
        _in_and_out("analytic", 1e-12),
        _in_and_out("finite_difference", 2 * DEFAULT_TOLERANCE),
        _bermudan(),
        _flat_curves(),
        *_schedules(),
        *_simulations(),
    )


def _values(options: Options, method: str = "auto") -> Floats:
    def of(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: options[name] for name in names}

    contract = Vanilla(**of(("right", "exercise", "strike", "expiry")))
    return _price(contract, Market(**of(("spot", "vol", "rate", "dividend_yield"))), method)


def _price(
    contract: Contract,
    market: AnyMarket,
    method: str = "auto",
    tolerance: float = DEFAULT_TOLERANCE,
) -> Floats:
    prices = price(contract, market, method=method, tolerance=tolerance, measures=("price",))
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
    part = document[section]
    columns = zip(*part["rows"], strict=True)
    names = part.get("columns", document["columns"])
    return part["source"], dict(zip(names, map(np.array, columns), strict=True))


def _published() -> list[Case]:
    document = _document()
    cases = []
    for table in document["tables"]:
        names = table.get("columns", document["columns"])
        columns = dict(zip(names, zip(*table["rows"], strict=True), strict=True))
        given: dict[str, Any] = {name: np.array(column) for name, column in columns.items()}
        for name in set(given) & {"exercise_dates", "monitoring_dates", "fixing_dates"}:
            given[name] = [
                evenly(expiry, count)
                for expiry, count in zip(columns["expiry"], columns[name], strict=True)
            ]
        contract, market = described(table.get("type", "vanilla"), given)
        unit = next(given[name] for name in UNITS if name in given)
        error = (_price(contract, market) - given["value"]) / unit
        cases.append(
            Case(
                table["name"],
                table["source"],
                error.size,
                float(np.abs(error).max()),
                table["bound"],
                table.get("note", ""),
            )
        )
    return cases


def evenly(expiry: float, count: int) -> Dates:
    """Return `count` dates as far from each other as from now, the last at expiry."""
    return Dates([expiry * k / count for k in range(1, count + 1)])


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


def _difference(name: str, source: str, error: Floats, bound: float) -> Case:
    """Compare values of contracts of strike 100."""
    return Case(name, source, error.size, float(np.abs(error).max()) / 100.0, bound)


def _marched_against_closed() -> list[Case]:
    """Compare finite differences with what is exact, contract by contract."""
    single = [
        Barrier(RIGHTS, 100.0, EXPIRIES, barrier, kind, rebate=3.0)
        for kind, barrier in SINGLE.items()
    ]
    double = [
        DoubleBarrier(RIGHTS, 100.0, EXPIRIES, 80.0, 120.0, kind, rebate=3.0) for kind in DOUBLE
    ]
    digital = [
        Digital(RIGHTS, 100.0, EXPIRIES, "cash_or_nothing", cash=100.0),
        Digital(RIGHTS, 100.0, EXPIRIES, "asset_or_nothing"),
        Digital(RIGHTS, 100.0, EXPIRIES, "gap", payoff_strike=105.0),
    ]
    touch: list[Contract] = [
        Touch("down", EXPIRIES, 80.0, kind, cash=100.0, payment=payment)
        for kind, payment in (
            ("one_touch", "at_hit"),
            ("one_touch", "at_expiry"),
            ("no_touch", "at_expiry"),
        )
    ]
    touch += [
        DoubleTouch(EXPIRIES, 80.0, 120.0, kind, cash=100.0)
        for kind in ("one_touch", "no_touch", "lower_first", "upper_first")
    ]
    cases = []
    for name, source, contracts in (
        ("barriers", "M. Rubinstein, E. Reiner, Risk (September 1991)", single),
        ("double barriers", "N. Kunitomo, M. Ikeda, Math. Finance 2(4) (1992)", double),
        ("digitals", "M. Rubinstein, E. Reiner, Risk (October 1991)", digital),
        (
            "touches",
            "M. Rubinstein, E. Reiner (1991); C. H. Hui, Appl. Fin. Econ. 6(4) (1996)",
            touch,
        ),
    ):
        error = [
            _price(each, Market(**MARKET), "finite_difference") - _price(each, Market(**MARKET))
            for each in contracts
        ]
        what = f"{name}: finite differences against the closed form"
        errors = np.concatenate([e.reshape(-1) for e in error])
        cases.append(_difference(what, source, errors, DEFAULT_TOLERANCE))
    return cases


def _in_and_out(method: str, bound: float) -> Case:
    """Add what is knocked in to what is knocked out by the same barrier."""
    market = Market(**MARKET)
    vanilla = _price(Vanilla(RIGHTS, 100.0, EXPIRIES), market)
    error = []
    for barrier in (80.0, 120.0):
        side = "down" if barrier < 100.0 else "up"
        parts = [
            _price(Barrier(RIGHTS, 100.0, EXPIRIES, barrier, f"{side}_{way}"), market, method)
            for way in ("in", "out")
        ]
        error.append(np.sum(parts, axis=0) - vanilla)
    parts = [
        _price(DoubleBarrier(RIGHTS, 100.0, EXPIRIES, 80.0, 120.0, kind), market, method)
        for kind in DOUBLE
    ]
    error.append(np.sum(parts, axis=0) - vanilla)
    words = {"analytic": "closed form", "finite_difference": "finite differences"}
    name = f"in and out are the vanilla, {words[method]}"
    return _difference(name, LAW, np.array(error), bound)


def _bermudan() -> Case:
    """Place Bermudan options between European and American ones, and by their dates."""
    market = Market(**MARKET)
    ladder = [_price(Vanilla(RIGHTS, 100.0, 1.0), market)]
    ladder += [
        _price(Vanilla(RIGHTS, 100.0, 1.0, "bermudan", evenly(1.0, count)), market)
        for count in (2, 4, 12)
    ]
    ladder.append(_price(Vanilla(RIGHTS, 100.0, 1.0, "american"), market))
    fallen = np.maximum(-np.diff(ladder, axis=0), 0.0)
    return _difference(
        "Bermudan: more dates, more worth, up to American", LAW, fallen, 2 * DEFAULT_TOLERANCE
    )


def _flat_curves() -> Case:
    """Compare curves that are flat with the constants that they are."""
    names = ("vol", "rate", "dividend_yield")
    flat = {name: Curve((0.2, 0.5), (MARKET[name], MARKET[name])) for name in names}
    error = []
    for contract in (
        Vanilla(RIGHTS, 100.0, EXPIRIES),
        Vanilla(RIGHTS, 100.0, 1.0, "bermudan", evenly(1.0, 4)),
        Barrier(RIGHTS, 100.0, 1.0, 80.0, "down_out", monitoring_dates=evenly(1.0, 4)),
    ):
        curved, constant = (Market(**MARKET | given) for given in (flat, {}))
        error.append((_price(contract, curved) - _price(contract, constant)).reshape(-1))
    return _difference("flat curves against constants", LAW, np.concatenate(error), 1e-9)


def _schedules() -> list[Case]:
    """Compare finite differences with closed forms where dividends and curves have one."""
    contract = Vanilla(RIGHTS, 100.0, EXPIRIES)
    cases = []
    for name, source, given in (
        (
            "escrowed dividends",
            "F. Black, Financial Analysts J. 31(4) (1975)",
            {"cash_dividends": DIVIDENDS, "dividend_model": "escrowed"},
        ),
        (
            "proportional dividends",
            "R. C. Merton, Bell J. Econ. 4(1) (1973)",
            {"proportional_dividends": FRACTIONS},
        ),
        ("curves", "R. C. Merton, Bell J. Econ. 4(1) (1973)", CURVES),
    ):
        market = Market(**MARKET | given)
        error = _price(contract, market, "finite_difference") - _price(contract, market)
        what = f"{name}: finite differences against the closed form"
        cases.append(_difference(what, source, error, DEFAULT_TOLERANCE))
    return cases


def _simulations() -> list[Case]:
    """Compare simulations with closed forms, Fourier series and finite differences."""
    rights, strikes = np.array(["call", "put"])[:, None], np.array([90.0, 100.0, 115.0])
    market = Market(100.0, 0.25, 0.06, 0.02)
    jumps = replace(market, model=Merton(0.7, -0.1, 0.2))
    variance = Market(
        100.0, rate=0.06, dividend_yield=0.02, model=Heston(0.05, 1.5, 0.06, 0.4, -0.6)
    )
    assets = BasketMarket((100.0, 95.0), (0.2, 0.3), 0.06, 0.4, (0.01, 0.03))
    dates = evenly(1.0, 4)
    fixed = Asian(rights, 1.0, strikes, "geometric", fixing_dates=dates)
    down = Barrier(rights, strikes, 1.0, 85.0, "down_out", monitoring_dates=dates)
    lookback, vanilla = Lookback(rights, 1.0, strikes), Vanilla(rights, strikes, 1.0)
    against: list[tuple[str, str, AnyMarket, list[Contract]]] = [
        (
            "geometric averages: simulation against the closed form",
            "A. Kemna, A. Vorst, J. Banking Fin. 14(1) (1990)",
            market,
            [fixed, replace(fixed, strike=None, strike_type="floating")],
        ),
        (
            "lookbacks: simulation against the closed form",
            "M. Goldman, H. Sosin, M. Gatto (1979); A. Conze, R. Viswanathan (1991)",
            market,
            [lookback, replace(lookback, strike=None, strike_type="floating")],
        ),
        (
            "exchange options: simulation against the closed form",
            "W. Margrabe, J. Finance 33(1) (1978)",
            assets,
            [Basket("call", 0.0, 1.0, "spread")],
        ),
        (
            "barriers watched on dates: simulation against finite differences",
            LAW,
            market,
            [down, replace(down, barrier=120.0, barrier_type="up_in")],
        ),
        ("jumps: simulation against the Fourier series", COSINES, jumps, [vanilla]),
        ("random variance: simulation against the Fourier series", COSINES, variance, [vanilla]),
    ]
    cases = []
    for name, source, world, contracts in against:
        errors = [
            _price(contract, world, "monte_carlo", SIMULATED_TO) - _price(contract, world)
            for contract in contracts
        ]
        together = np.concatenate([error.reshape(-1) for error in errors])
        cases.append(_difference(name, source, together, 2 * SIMULATED_TO))
    return [*cases, _bracket()]


def _bracket() -> Case:
    """Place Bermudan puts by finite differences between the bounds of a simulation."""
    contract = Vanilla("put", np.array([90.0, 100.0, 110.0]), 1.0, "bermudan", evenly(1.0, 10))
    market = Market(100.0, 0.25, 0.06, 0.02)
    exact = _price(contract, market)
    found = price(contract, market, method="monte_carlo", tolerance=SIMULATED_TO)
    assert found.low is not None
    assert found.high is not None
    outside = np.maximum(np.maximum(found.low - exact, exact - found.high), 0.0)
    source = "F. Longstaff, E. Schwartz (2001); L. Rogers, Math. Finance 12(3) (2002)"
    name = "Bermudan puts: between the bounds of a simulation"
    return _difference(name, source, outside, SIMULATED_TO)
