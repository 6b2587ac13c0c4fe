"""Time simulations against QuantLib's at the same error in the same run; write docs/performance.md.

Run by `make bench`, after bench.py. One core, but for the grid, which says how many it had.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import QuantLib as ql
from bench import best_of, table, write

from pricer import (
    Asian,
    Basket,
    BasketMarket,
    Dates,
    Fixings,
    Market,
    Prices,
    Vanilla,
    price,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SPOT, STRIKE, VOL, RATE, DIVIDEND_YIELD = 100.0, 100.0, 0.2, 0.05, 0.02
TODAY, YEAR = ql.Date(2, 1, 2026), ql.Actual365Fixed()
WEEKS = 52
EXERCISES, EXERCISE_PATHS = 50, 20_000
STEPS = 5_000_000  # of the paths that raw speed is taken of
THEIR_STEPS = 1_000_000
AIM = 1e-3  # the standard error that an average is priced to
T_QUANTILE = 2.744  # of an error, in standard errors
# What is asked of each figure.
RAW, RAW_SOBOL, ASIAN, LEAST_SQUARES, GRID_S = 2.5e8, 2e8, 100, 20, 10


@dataclass(frozen=True)
class Theirs:
    """What a simulation of QuantLib's gave."""

    value: float
    standard_error: float
    seconds: float


def process() -> Any:
    flat = [
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, level, YEAR))
        for level in (DIVIDEND_YIELD, RATE)
    ]
    smile = ql.BlackConstantVol(TODAY, ql.NullCalendar(), VOL, YEAR)
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(SPOT)), *flat, ql.BlackVolTermStructureHandle(smile)
    )


def timed(option: Any) -> Theirs:
    start = time.perf_counter()
    value = option.NPV()
    return Theirs(value, option.errorEstimate(), time.perf_counter() - start)


def write_raw() -> None:
    """Time lognormal paths, from nothing to every spot."""
    from draws import stage

    from pricer.kernels.bridge import bridge
    from pricer.kernels.draws import draws

    uniform = ql.UniformRandomSequenceGenerator(WEEKS, ql.UniformRandomGenerator(1))
    generator = ql.GaussianPathGenerator(
        process(), 1.0, WEEKS, ql.GaussianRandomSequenceGenerator(uniform), False
    )

    def their_paths() -> None:
        for _ in range(THEIR_STEPS // WEEKS):
            generator.next()

    theirs = THEIR_STEPS / best_of(3, their_paths)[0]
    rows = []
    for name, sobol, target in (
        ("Philox", False, RAW),
        ("scrambled Sobol, Brownian bridge", True, RAW_SOBOL),
    ):
        made, walked = draws(0, sobol, WEEKS), bridge(np.arange(1.0, WEEKS + 1), sobol)
        z, w, sums = np.empty((WEEKS, 256)), np.empty((WEEKS, 256)), np.zeros((1, 8))
        blocks = STEPS // z.size
        work = partial(stage, 3, made, walked, blocks, z, w, sums)
        work()
        ours = blocks * z.size / best_of(9, work)[0]
        rows.append((name, f"{ours:.2e}", f"{target:.1e}", f"{theirs:.1e}", f"{ours / theirs:.0f}"))
    head = ("numbers", "path-steps/s", "target", "QuantLib's", "times")
    write("raw paths", table(head, rows))


def their_asian(samples: int) -> Theirs:
    dates = [TODAY + 7 * week for week in range(1, WEEKS + 1)]
    option = ql.DiscreteAveragingAsianOption(
        ql.Average.Arithmetic, 0.0, 0, dates, ql.PlainVanillaPayoff(ql.Option.Call, STRIKE),
        ql.EuropeanExercise(dates[-1]),
    )  # fmt: skip
    option.setPricingEngine(
        ql.MCDiscreteArithmeticAPEngine(
            process(), "pseudorandom", controlVariate=True, requiredSamples=samples, seed=1
        )
    )
    return timed(option)


def write_asian() -> None:
    """Time an average of 52 fixings to the same standard error on either side."""
    pilot = their_asian(20_000)
    theirs = their_asian(round(20_000 * (pilot.standard_error / AIM) ** 2))
    fixings = Fixings(np.arange(1, WEEKS + 1) * 7 / 365)
    settings: dict[str, Any] = {
        "method": "monte_carlo",
        "tolerance": T_QUANTILE * AIM / STRIKE,
        "measures": ("price", "standard_error"),
        "workers": 1,
    }
    market = Market(SPOT, VOL, RATE, DIVIDEND_YIELD)
    alone = partial(price, Asian("call", WEEKS * 7 / 365, STRIKE, fixing_dates=fixings), market)
    strikes = np.linspace(80.0, 120.0, 41)
    together = partial(price, Asian("call", WEEKS * 7 / 365, strikes, fixing_dates=fixings), market)
    rows = [("QuantLib, with its control variate", *figures(theirs, 1))]
    for name, work in (
        ("pricer, one option a call", alone),
        ("pricer, 41 strikes a call", together),
    ):
        work(**settings)
        seconds, found = best_of(9, partial(work, **settings))
        count = found.price.size
        middle = count // 2
        ours = Theirs(found.price.reshape(-1)[middle], found.standard_error.max(), seconds / count)
        rows.append((name, *figures(ours, theirs.seconds / ours.seconds, ASIAN)))
    write("asian", table(HEAD, rows))


HEAD = ("one core", "value", "standard error", "ms an option", "times faster", "target")


def figures(found: Theirs, times: float, target: float | None = None) -> tuple[str, ...]:
    return (
        f"{found.value:.5f}",
        f"{found.standard_error:.1e}",
        f"{found.seconds * 1e3:,.2f}",
        f"{times:,.0f}",
        "" if target is None else f"{target:,.0f}",
    )


def write_least_squares() -> None:
    """Time an American put by least squares at 50 dates.

    As many paths are allowed on either side; ours end where more would not narrow the bracket.
    """
    option = ql.VanillaOption(
        ql.PlainVanillaPayoff(ql.Option.Put, STRIKE), ql.AmericanExercise(TODAY, TODAY + 365)
    )
    option.setPricingEngine(
        ql.MCAmericanEngine(
            process(), "pseudorandom", timeSteps=EXERCISES, requiredSamples=EXERCISE_PATHS, seed=1,
            polynomOrder=3, nCalibrationSamples=EXERCISE_PATHS,
        )
    )  # fmt: skip
    theirs = timed(option)
    rows = [("QuantLib, a low bound", *figures(theirs, 1))]
    dates = Dates(np.arange(1, EXERCISES + 1) / EXERCISES)
    contract = Vanilla("put", STRIKE, 1.0, "bermudan", dates)
    work = partial(
        price, contract, Market(SPOT, VOL, RATE, DIVIDEND_YIELD), method="monte_carlo",
        tolerance=1e-12, paths=EXERCISE_PATHS, measures=("price", "standard_error"), workers=1,
    )  # fmt: skip
    work()
    seconds, found = best_of(5, work)
    ours = Theirs(float(found.price), float(found.standard_error), seconds)
    name = f"pricer, low and high bound, {int(found.paths):,} paths"
    rows.append((name, *figures(ours, theirs.seconds / seconds, LEAST_SQUARES)))
    write("least squares", table(HEAD, rows))


def grid_of_asians() -> Prices:
    """Price 100,000 averages: 250 strikes and two rights in each of 200 families."""
    fixings = Fixings(np.arange(1, WEEKS + 1) / WEEKS)
    axes = (np.linspace(0.1, 0.5, 20), np.linspace(0.0, 0.06, 10), np.linspace(70.0, 130.0, 250))
    vol, rate, strike = np.meshgrid(*axes, indexing="ij")
    return price(
        Asian(np.array(["call", "put"]), 1.0, strike[..., None], fixing_dates=fixings),
        Market(SPOT, vol[..., None], rate[..., None], DIVIDEND_YIELD),
        method="monte_carlo",
        measures=("price", "standard_error"),
    )


def write_grid() -> None:
    seconds, found = best_of(2, grid_of_asians)
    rows = [
        (
            f"{found.price.size:,} averages of {WEEKS} fixings, {os.cpu_count()} cores",
            f"{seconds:.1f}",
            f"{GRID_S}",
            f"{found.standard_error.max():.1e}",
            f"{np.count_nonzero(found.status):,}",
        )
    ]
    write("asian grid", table(("", "seconds", "target", "largest standard error", "not ok"), rows))


def write_baskets() -> None:
    """Time baskets to the default tolerance, and state what the default budget gives."""
    spots, vols = (90.0, 100.0, 110.0, 95.0), (0.2, 0.3, 0.4, 0.25)
    two, four = (BasketMarket(spots[:n], vols[:n], 0.04, 0.4) for n in (2, 4))
    kinds = [
        (f"{word}, {n} assets", Basket("call", SPOT, 1.5, word), market)
        for n, market in ((2, two), (4, four))
        for word in ("weighted", "best_of", "worst_of")
    ]
    kinds.append(("spread, 2 assets", Basket("call", 5.0, 1.5, "spread"), two))
    rows = []
    for name, contract, market in kinds:
        work = partial(
            price, contract, market, method="monte_carlo", measures=("price", "standard_error"),
            workers=1,
        )  # fmt: skip
        work()
        row = [name]
        for tolerance in (1e-5, 1e-12):
            seconds, found = best_of(3, partial(work, tolerance=tolerance))
            row += [f"{found.standard_error:.1e}", f"{found.paths:,}", f"{seconds * 1e3:.1f}"]
        rows.append(row)
    columns = ("standard error", "paths", "ms")
    head = ("one core", *columns, *(f"{column}, all paths" for column in columns))
    write("baskets", table(head, rows))


if __name__ == "__main__":
    ql.Settings.instance().evaluationDate = TODAY
    sections: tuple[Callable[[], None], ...] = (
        write_raw, write_asian, write_least_squares, write_grid, write_baskets,
    )  # fmt: skip
    for section in sections:
        section()
