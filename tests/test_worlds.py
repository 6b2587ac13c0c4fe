"""Greeks of simulations: markets a little moved give the derivatives that other engines know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import pricer
from pricer import (
    Asian,
    Barrier,
    Curve,
    Dates,
    Digital,
    Dividends,
    DoubleTouch,
    Fixings,
    Heston,
    Market,
    Merton,
    Vanilla,
)
from pricer.settings import MEASURES, STATISTICS

if TYPE_CHECKING:
    from pricer.contracts import Contract

JUMPS = Merton(jump_intensity=1.0, jump_mean=-0.1, jump_vol=0.15)
VARIANCE = Heston(
    initial_variance=0.04,
    mean_reversion=2.0,
    long_variance=0.05,
    vol_of_variance=0.4,
    variance_correlation=-0.6,
)
CASH = Dividends((0.3, 0.8), (2.0, 3.0))
CALL = Vanilla(right="call", strike=100.0, expiry=1.0)
DATES = Dates(np.arange(1, 13) / 12)
QUARTERS = Dates(np.arange(1, 5) / 4)


def merton() -> Market:
    return Market(spot=100.0, vol=0.2, rate=0.04, dividend_yield=0.01, model=JUMPS)


CASES: dict[str, tuple[Contract, Market]] = {
    "a call with jumps": (CALL, merton()),
    "a digital with jumps": (
        Digital(right="put", strike=95.0, expiry=0.5, cash=10.0),
        merton(),
    ),
    "a call with its own variance": (
        CALL,
        Market(spot=100.0, rate=0.04, dividend_yield=0.01, model=VARIANCE),
    ),
    "a call on a spot that pays cash": (
        CALL,
        Market(spot=100.0, vol=0.25, rate=0.04, cash_dividends=CASH),
    ),
    "a call on a spot less escrowed dividends": (
        CALL,
        Market(spot=100.0, vol=0.25, rate=0.04, cash_dividends=CASH, dividend_model="escrowed"),
    ),
    "a barrier watched on dates, with a rebate": (
        Barrier(
            right="call",
            strike=100.0,
            expiry=1.0,
            barrier=90.0,
            barrier_type="down_out",
            rebate=3.0,
            monitoring_dates=DATES,
        ),
        Market(spot=100.0, vol=0.25, rate=0.04, dividend_yield=0.01),
    ),
    "a knock-in under curves": (
        Barrier(
            right="put",
            strike=105.0,
            expiry=1.0,
            barrier=88.0,
            barrier_type="down_in",
            monitoring_dates=QUARTERS,
        ),
        Market(
            spot=100.0,
            vol=Curve((0.5, 1.0), (0.2, 0.3)),
            rate=Curve((0.4, 1.0), (0.02, 0.05)),
            dividend_yield=0.01,
        ),
    ),
    "a touch of either barrier": (
        DoubleTouch(
            expiry=1.0,
            lower_barrier=85.0,
            upper_barrier=120.0,
            cash=10.0,
            monitoring_dates=QUARTERS,
        ),
        Market(spot=100.0, vol=0.25, rate=0.04),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_measure_agrees_with_formulas_or_the_mesh(case: str) -> None:
    contract, market = CASES[case]
    known = pricer.price(contract, market, measures=MEASURES)
    assert known.method in (1, 2)
    found = pricer.price(
        contract,
        market,
        method="monte_carlo",
        measures=(*MEASURES, *STATISTICS),
        tolerance=5e-5,
        paths=2**16,
    )
    for name, statistic in zip(MEASURES, STATISTICS, strict=True):
        value, error = float(getattr(found, name)), float(getattr(found, statistic))
        truth = float(getattr(known, name))
        assert abs(value - truth) <= 4.0 * error + 1e-4 * max(1.0, abs(truth)), name


def test_theta_with_jumps_is_the_slope_as_all_dates_come_nearer() -> None:
    def worth(passed: float) -> pricer.Prices:
        fixings = Fixings(np.arange(1, 5) / 4 - passed)
        return pricer.price(
            Asian(right="call", strike=100.0, expiry=1.0 - passed, fixing_dates=fixings),
            merton(),
            method="monte_carlo",
            measures=("price", "theta", *STATISTICS),
            tolerance=1e-4,
            paths=2**18,
        )

    step = 0.05
    before, now, after = (worth(passed) for passed in (-step, 0.0, step))
    assert before.price is not None
    assert after.price is not None
    slope = (after.price - before.price) / (2.0 * step)
    noise = before.standard_error / (np.sqrt(2.0) * step)
    assert now.theta == pytest.approx(float(slope), abs=4.0 * float(noise))
    # Without what missing jumps take away it would be some 2 a year less.
    assert noise < 0.3
