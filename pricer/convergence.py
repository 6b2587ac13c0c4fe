"""How fast errors fall: with what prices cost, with mesh nodes, and with simulated paths."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import kernels
from .contracts import Barrier, Market, Vanilla
from .pricing import price
from .settings import SAMPLINGS
from .validation import evenly, known

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Options = dict[str, NDArray[Any]]

TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
LEVELS = 8
COPIES = 25  # of each option, so that the time of a call is that of its solves
MESHES = ((50, 100), (100, 200), (200, 400), (400, 800))  # time steps and nodes of the peer
REPEATS = 3
SEEDS = 5  # of each simulation, whose errors have all been counted
PATHS = tuple(2**n for n in range(12, 21, 2))
UNREACHABLE = 1e-12  # a tolerance for which a simulation takes all its paths


@dataclass(frozen=True, slots=True)
class Cost:
    """What an engine takes per option at one setting, and its errors per 100 of strike."""

    engine: str
    setting: str
    seconds: float
    rms_error: float
    largest_error: float


@dataclass(frozen=True, slots=True)
class Order:
    """The rms error per 100 of strike by mesh intervals, and the slope of its fall."""

    values: str
    intervals: tuple[int, ...]
    rms_errors: tuple[float, ...]
    order: float


@dataclass(frozen=True, slots=True)
class Convergence:
    """Errors of `options` American puts and calls against what they cost and against the mesh.

    `watched_costs` are of `watched` barrier options that finite differences and simulations price.
    """

    source: str
    options: int
    costs: tuple[Cost, ...]
    orders: tuple[Order, ...]
    watched_source: str
    watched: int
    watched_costs: tuple[Cost, ...]


def converge() -> Convergence:
    """Price options of known values at several settings, also by QuantLib where it is installed."""
    source, options = known("convergence")
    watched_source, watched = known("watched")
    return Convergence(
        source,
        len(options["value"]),
        (*_costs(options), *_peer_costs(options)),
        _orders(options),
        watched_source,
        len(watched["value"]),
        _watched_costs(watched),
    )


def _costs(options: Options) -> list[Cost]:
    """Price every option by a solve of its own, on one core, at several tolerances."""
    several = {name: np.tile(column, COPIES) for name, column in options.items()}
    # Another family each, of the same price: equal vols would share one solve.
    several["vol"] = several["vol"] * (1.0 + 1e-13 * np.arange(several["vol"].size))
    contract = Vanilla(**{n: several[n] for n in ("right", "exercise", "strike", "expiry")})
    world: dict[str, Any] = {n: several[n] for n in ("spot", "vol", "rate", "dividend_yield")}
    market = Market(**world)
    costs = []
    for tolerance in TOLERANCES:
        work = partial(
            price, contract, market, tolerance=tolerance, measures=("price",), workers=1,
            method="finite_difference",
        )  # fmt: skip
        seconds, prices = _best_of(work)
        errors = (prices.price - several["value"]) / several["strike"]
        setting = f"{tolerance:.0e}".replace("e-0", "e-")
        costs.append(_cost("pricer, tolerance", setting, seconds / errors.size, errors))
    return costs


def _watched_costs(options: Options) -> tuple[Cost, ...]:
    """Price knock-outs watched on dates, one after the other, by both engines and samplings."""
    ways: list[tuple[str, str, dict[str, Any]]] = []
    for tolerance in TOLERANCES[:-1]:
        setting = f"{tolerance:.0e}".replace("e-0", "e-")
        given = {"method": "finite_difference", "tolerance": tolerance}
        ways.append(("finite differences, tolerance", setting, given))
    for sampling in SAMPLINGS:
        for paths in PATHS:
            given = {"method": "monte_carlo", "tolerance": UNREACHABLE}
            given |= {"sampling": sampling, "paths": paths}
            ways.append((f"{sampling}, paths", f"{paths:,}", given))
    costs = []
    for engine, setting, given in ways:
        seeds = SEEDS if "paths" in given else 1
        found = [
            _timed(partial(_watched_prices, options, given | {"seed": seed}))
            for seed in range(seeds)
            for _ in range(1 if seeds > 1 else REPEATS)
        ]
        seconds, values = zip(*found, strict=True)
        errors = (np.array(values) - options["value"]) / options["strike"]
        costs.append(_cost(engine, setting, min(seconds) / len(options["value"]), errors))
    return tuple(costs)


def _watched_prices(options: Options, settings: dict[str, Any]) -> list[float]:
    values = []
    for row in zip(*(column.tolist() for column in options.values()), strict=True):
        o: dict[str, Any] = dict(zip(options, row, strict=True))
        contract = Barrier(
            o["right"],
            o["strike"],
            o["expiry"],
            o["barrier"],
            o["barrier_type"],
            monitoring_dates=evenly(o["expiry"], o["monitoring_dates"]),
        )
        market = Market(o["spot"], o["vol"], o["rate"], o["dividend_yield"])
        prices = price(contract, market, measures=("price",), workers=1, **settings)
        values.append(float(np.asarray(prices.price)))
    return values


def _best_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest time in seconds, and the last result."""
    seconds, results = zip(*(_timed(work) for _ in range(REPEATS)), strict=True)
    return min(seconds), results[-1]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _cost(engine: str, setting: str, seconds: float, errors: Floats) -> Cost:
    rms, largest = float(np.sqrt(np.mean(errors**2))), float(np.abs(errors).max())
    return Cost(engine, setting, seconds, 100 * rms, 100 * largest)


def _peer_costs(options: Options) -> list[Cost]:
    """Time QuantLib's engines as a user calls them, objects included; nothing without QuantLib."""
    try:
        import QuantLib
    except ImportError:
        return []
    american, by_mesh = QuantLib.QdFpAmericanEngine, QuantLib.FdBlackScholesVanillaEngine
    schemes = {"fast": american.fastScheme(), "accurate": american.accurateScheme()}
    engines = [
        *(("QuantLib QdFp, scheme", word, american, (s,)) for word, s in schemes.items()),
        *(("QuantLib FD, steps x nodes", f"{m[0]} x {m[1]}", by_mesh, m) for m in MESHES),
    ]
    names = ("right", "spot", "strike", "expiry", "vol", "rate", "dividend_yield")
    rows = list(zip(*(options[name].tolist() for name in names), strict=True))
    settings = QuantLib.Settings.instance()
    before = settings.evaluationDate
    settings.evaluationDate = QuantLib.Date(2, QuantLib.January, 2025)
    costs = []
    try:
        for name, setting, engine, arguments in engines:
            work = partial(_peer_prices, QuantLib, engine, arguments, rows)
            seconds, values = _best_of(work)
            errors = (np.array(values) - options["value"]) / options["strike"]
            costs.append(_cost(name, setting, seconds / len(rows), errors))
    finally:
        settings.evaluationDate = before
    return costs


def _peer_prices(
    ql: Any, engine: Any, arguments: tuple[Any, ...], rows: list[tuple[Any, ...]]
) -> list[float]:
    """Price options from nothing, one after the other; expiries are whole numbers of days."""
    today, year = ql.Settings.instance().evaluationDate, ql.Actual365Fixed()
    values = []
    for right, spot, strike, expiry, vol, rate, dividend_yield in rows:
        curves = [
            ql.YieldTermStructureHandle(ql.FlatForward(today, level, year))
            for level in (dividend_yield, rate)
        ]
        smile = ql.BlackConstantVol(today, ql.NullCalendar(), vol, year)
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(ql.SimpleQuote(spot)), *curves, ql.BlackVolTermStructureHandle(smile)
        )
        payoff = ql.PlainVanillaPayoff(ql.Option.Put if right == "put" else ql.Option.Call, strike)
        option = ql.VanillaOption(payoff, ql.AmericanExercise(today, today + round(365 * expiry)))
        option.setPricingEngine(engine(process, *arguments))
        values.append(option.NPV())
    return values


def _orders(options: Options) -> tuple[Order, Order]:
    """Solve the options at the money on mesh after mesh, plain and extrapolated in pairs."""
    (finite_difference,) = kernels("finite_difference")
    chosen = options["spot"] == options["strike"]
    some = {name: np.ascontiguousarray(column[chosen]) for name, column in options.items()}
    count = len(some["value"])
    one = np.ones(count)
    problem = finite_difference.Options(
        theta=np.where(some["right"] == "call", 1, -1).astype(np.int8),
        american=np.ones(count, np.int8),
        sigma=some["vol"],
        r=some["rate"],
        q=some["dividend_yield"],
        low=one,
        high=one,
        expiry_offsets=np.arange(count + 1),
        expiries=some["expiry"],
    )
    plain = finite_difference.at_the_money(problem, LEVELS)
    extrapolated = plain[1:] + (plain[1:] - plain[:-1]) / 3.0
    truth = some["value"] / some["strike"]
    intervals = finite_difference.BASE_NODES << np.arange(LEVELS)
    return (
        _order("plain", intervals, plain - truth),
        _order("extrapolated", intervals[1:], extrapolated - truth),
    )


def _order(values: str, intervals: NDArray[np.int64], errors: Floats) -> Order:
    rms = 100 * np.sqrt(np.mean(errors**2, axis=1))
    slope = np.polyfit(np.log(intervals), np.log(rms), 1)[0]
    return Order(values, tuple(intervals.tolist()), tuple(rms.tolist()), -float(slope))
