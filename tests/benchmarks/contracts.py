"""Time the closed form, and every kind of contract against QuantLib; write docs/performance.md.

Run by `make bench`, after bench.py. One core; no two options share a solve.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import QuantLib as ql
from bench import best_of, microseconds, table, write

from pricer import (
    Barrier,
    Dates,
    Dividends,
    DoubleBarrier,
    Market,
    Touch,
    Vanilla,
    price,
)
from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pricer.contracts import Contract

    Floats = NDArray[np.float64]

SPOT, STRIKE, RATE, DIVIDEND_YIELD = 100.0, 100.0, 0.05, 0.02
OPTIONS, THEIRS = 64, 8
MANY = 1_000_000
DAYS = 365
TODAY, YEAR = ql.Date(2, 1, 2026), ql.Actual365Fixed()
QUARTERS = (45, 136, 228, 319)


@dataclass(frozen=True)
class Kind:
    """One kind of contract here and at QuantLib, which may not have it (`engine` ``""``)."""

    name: str
    contract: Contract
    method: str = "auto"
    dividends: bool = False
    engine: str = ""
    option: Callable[[], Any] | None = None
    priced_by: Callable[[Any], Any] | None = None


def process(vol: float) -> Any:
    flat = [
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, level, YEAR))
        for level in (DIVIDEND_YIELD, RATE)
    ]
    smile = ql.BlackConstantVol(TODAY, ql.NullCalendar(), vol, YEAR)
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(SPOT)), *flat, ql.BlackVolTermStructureHandle(smile)
    )


def put() -> Any:
    return ql.PlainVanillaPayoff(ql.Option.Put, STRIKE)


def european() -> Any:
    return ql.EuropeanExercise(TODAY + DAYS)


def bermudan() -> Any:
    dates = [TODAY + int(day) for day in weekly()]
    return ql.VanillaOption(put(), ql.BermudanExercise(dates))


def weekly() -> NDArray[np.int64]:
    return np.arange(1, 53) * 7 + 1


def with_dividends(process: Any) -> Any:
    dates = [TODAY + day for day in QUARTERS]
    schedule = ql.DividendVector(dates, [1.25] * len(dates))
    return ql.FdBlackScholesVanillaEngine(process, schedule, 400, 400)


def kinds() -> Sequence[Kind]:
    watched = Dates(np.arange(1, 251) / 250)
    return (
        Kind(
            "Bermudan put, 52 dates",
            Vanilla("put", STRIKE, 1.0, "bermudan", Dates(weekly() / DAYS)),
            engine="FD 400 x 400", option=bermudan,
            priced_by=lambda p: ql.FdBlackScholesVanillaEngine(p, 400, 400),
        ),
        Kind(
            "American put, four cash dividends", Vanilla("put", STRIKE, 1.0, "american"),
            dividends=True, engine="FD 400 x 400",
            option=lambda: ql.VanillaOption(put(), ql.AmericanExercise(TODAY, TODAY + DAYS)),
            priced_by=with_dividends,
        ),
        Kind(
            "down-and-out put, closed form", Barrier("put", STRIKE, 1.0, 80.0, "down_out", 2.0),
            engine="analytic",
            option=lambda: ql.BarrierOption(ql.Barrier.DownOut, 80.0, 2.0, put(), european()),
            priced_by=ql.AnalyticBarrierEngine,
        ),
        Kind(
            "the same, finite differences", Barrier("put", STRIKE, 1.0, 80.0, "down_out", 2.0),
            "finite_difference", engine="FD 400 x 400",
            option=lambda: ql.BarrierOption(ql.Barrier.DownOut, 80.0, 2.0, put(), european()),
            priced_by=lambda p: ql.FdBlackScholesBarrierEngine(p, 400, 400),
        ),
        Kind(
            "double knock-out put, closed form",
            DoubleBarrier("put", STRIKE, 1.0, 70.0, 140.0, "knock_out"), engine="analytic",
            option=lambda: ql.DoubleBarrierOption(
                ql.DoubleBarrier.KnockOut, 70.0, 140.0, 0.0, put(), european()
            ),
            priced_by=ql.AnalyticDoubleBarrierEngine,
        ),
        Kind("one-touch, closed form", Touch("up", 1.0, 120.0)),
        Kind(
            "down-and-out call watched on 250 dates",
            Barrier("call", STRIKE, 1.0, 90.0, "down_out", monitoring_dates=watched),
        ),
        Kind(
            "American up-and-out put",
            Barrier("put", STRIKE, 1.0, 120.0, "up_out", exercise="american"),
        ),
    )  # fmt: skip


def market(vols: Floats, kind: Kind) -> Market:
    paid = Dividends(np.array(QUARTERS) / DAYS, [1.25] * len(QUARTERS))
    return Market(SPOT, vols, RATE, DIVIDEND_YIELD, cash_dividends=paid if kind.dividends else None)


def rms(values: Any, truth: Floats) -> str:
    return f"{np.sqrt(np.mean((np.asarray(values) - truth) ** 2)):.1e}"


def write_contracts() -> None:
    ql.Settings.instance().evaluationDate = TODAY
    vols = np.linspace(0.2, 0.3, OPTIONS)
    rows = []
    for kind in kinds():
        ours = partial(price, kind.contract, market(vols, kind), method=kind.method, workers=1)
        truth = np.asarray(ours(tolerance=1e-7, measures=("price",)).price)
        alone, values = best_of(3, partial(ours, measures=("price",)))
        whole, _ = best_of(3, ours)
        theirs = ("", "", "")
        if kind.option and kind.priced_by:
            option, engine = kind.option, kind.priced_by
            some = vols[:: OPTIONS // THEIRS]

            def all_of(option: Any = option, engine: Any = engine, some: Floats = some) -> Any:
                return [value_of(option(), engine(process(float(vol)))) for vol in some]

            seconds, found = best_of(2, all_of)
            error = rms(found, truth[:: OPTIONS // THEIRS])
            theirs = (kind.engine, microseconds(seconds / THEIRS), error)
        rows.append(
            (
                kind.name,
                microseconds(alone / OPTIONS),
                microseconds(whole / OPTIONS),
                rms(values.price, truth),
                *theirs,
            )
        )
    head = ("contract", "µs", "µs, all measures", "rms", "QuantLib", "µs", "rms")
    write("contracts", table(head, rows))


def value_of(option: Any, engine: Any) -> float:
    option.setPricingEngine(engine)
    return float(option.NPV())


def write_closed_form() -> None:
    rng = np.random.default_rng(4)
    spot, strike = rng.uniform(80, 120, MANY), rng.uniform(80, 120, MANY)
    expiry, vol = rng.uniform(0.1, 2.0, MANY), rng.uniform(0.1, 0.5, MANY)
    rate, dividend_yield = np.full(MANY, RATE), np.full(MANY, DIVIDEND_YIELD)
    (black_scholes,) = kernels("black_scholes")
    right, exercise = np.ones(MANY, np.int8), np.zeros(MANY, np.int8)
    out = np.empty((8, MANY))
    inputs = (right, exercise, spot, strike, expiry, rate, dividend_yield, vol)

    def in_pieces() -> None:
        part = np.empty((8, 2**15))
        for first in range(0, MANY - 2**15, 2**15):
            black_scholes.closed_form(*(a[first : first + 2**15] for a in inputs), part)

    black_scholes.closed_form(*inputs, out)
    pieces, _ = best_of(9, in_pieces)
    whole, _ = best_of(5, lambda: black_scholes.closed_form(*inputs, out))
    call, world = Vanilla("call", strike, expiry), Market(spot, vol, RATE, DIVIDEND_YIELD)
    by_price, _ = best_of(5, lambda: price(call, world, workers=1))
    rows = [
        (name, f"{seconds / MANY * 1e9:.0f}", f"{MANY / seconds / 1e6:.1f}")
        for name, seconds in (
            ("the kernel, 32,768 options a call, as runs do", pieces),
            ("the kernel, a million a call", whole),
            ("`pricer.price`, a million, result arrays included", by_price),
        )
    ]
    write("closed form", table(("European, price, six greeks, error", "ns", "million/s"), rows))


if __name__ == "__main__":
    write_closed_form()
    write_contracts()
