"""Early exercise by simulation: the bracket holds, and the laws of American options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer import (
    Basket,
    BasketMarket,
    Curve,
    Dates,
    Dividends,
    Heston,
    Market,
    Merton,
    Vanilla,
    price,
)
from pricer.cells import broadcast
from pricer.contracts import Status
from pricer.early import early
from pricer.settings import MEASURES, Settings

if TYPE_CHECKING:
    from pricer.estimates import Estimates
    from pricer.prices import Prices

FIFTY = Dates([k / 50 for k in range(1, 51)])
QUARTERS = Dates((0.25, 0.5, 0.75))


def simulated(contract: Any, market: Any, **settings: Any) -> Estimates:
    cells, _ = broadcast(contract, market)
    usual: dict[str, Any] = {"measures": ("price",), "tolerance": 1e-4, "paths": 2**14}
    given = usual | settings
    return early(cells, Settings(method="monte_carlo", **given))


def worth(prices: Prices) -> float:
    assert prices.price is not None
    return float(prices.price)


def holds(found: Estimates, value: float, slack: float = 0.0) -> bool:
    """Tell whether a value lies between the bounds, but for four standard errors and slack."""
    room = 4.0 * found.standard_errors[0, 0] + slack
    return bool(found.low[0] - room <= value <= found.high[0] + room)


@pytest.mark.parametrize(
    ("spot", "vol", "value"),
    [
        (36.0, 0.2, 4.478),
        (38.0, 0.4, 6.148),
        (40.0, 0.2, 2.314),
        (42.0, 0.4, 4.582),
        (44.0, 0.2, 1.110),
    ],
)
def test_bounds_hold_the_puts_of_longstaff_and_schwartz(
    spot: float, vol: float, value: float
) -> None:
    # Longstaff and Schwartz 2001, table 1: finite differences, 50 dates a year, three decimals.
    put = Vanilla("put", 40.0, 1.0, "bermudan", FIFTY)
    found = simulated(put, Market(spot, vol, 0.06))
    assert holds(found, value, 5e-4)
    assert found.high[0] - found.low[0] < 5e-3 * value
    assert abs(found.values[0, 0] - value) < 4.0 * found.standard_errors[0, 0] + 1e-3


@pytest.mark.parametrize(
    ("spot", "value"),
    [(85.0, 18.036688), (100.0, 9.945136), (120.0, 4.060040)],
)
def test_bounds_hold_american_puts(spot: float, value: float) -> None:
    # Puts as in Rogers 2002, table 1; values by QuantLib 1.44's QdFp engine at high precision.
    found = simulated(Vanilla("put", 100.0, 0.5, "american"), Market(spot, 0.4, 0.06))
    assert holds(found, value)
    assert found.high[0] - found.low[0] < 5e-3 * value
    assert abs(found.values[0, 0] - value) < 1e-3


def test_bounds_hold_the_best_of_two_on_nine_dates() -> None:
    # Glasserman 2004, p. 462: 13.90; QuantLib 1.44's two-dimensional finite differences, 120 nodes
    # each way and 90 steps, say 13.894.
    dates = Dates([k / 3.0 for k in range(1, 10)])
    call = Basket("call", 100.0, 3.0, "best_of", None, "bermudan", dates)
    found = simulated(
        call, BasketMarket([100.0] * 2, [0.2] * 2, 0.05, dividend_yields=[0.1] * 2, correlation=0.0)
    )
    assert holds(found, 13.90, 0.02)
    assert found.high[0] - found.low[0] < 5e-3 * 13.90


@pytest.mark.parametrize(
    ("vol", "correlation", "expiry", "value"),
    [(0.15, 0.0, 0.1, 2.0627104), (0.25, -0.5, 0.5, 3.2771467)],
)
def test_bounds_hold_american_exchanges(
    vol: float, correlation: float, expiry: float, value: float
) -> None:
    # Cases of QuantLib's margrabeoption.cpp. Published values of these are approximations; here
    # are the high-precision values given with them.
    market = BasketMarket(
        [22.0, 20.0], [0.2, vol], 0.1, dividend_yields=[0.06, 0.04], correlation=correlation
    )
    exchange = Basket("call", 0.0, expiry, "spread", exercise="american")
    found = simulated(exchange, market, paths=2**12)
    assert holds(found, value)
    assert found.high[0] - found.low[0] < 5e-3 * value


@pytest.mark.parametrize(("spot", "value"), [(8.0, 2.0), (12.0, 0.082046)])
def test_bounds_hold_american_puts_under_heston(spot: float, value: float) -> None:
    # Ikonen and Toivanen, in QuantLib's testFdmHestonIkonenToivanen; QuantLib 1.44's finite
    # differences say 0.081979 for the second.
    model = Heston(0.0625, 5.0, 0.16, 0.9, 0.1)
    put = Vanilla("put", 10.0, 0.25, "american")
    found = simulated(put, Market(spot, rate=0.1, model=model), paths=2**12)
    assert holds(found, value, 3e-4)


TWO = BasketMarket([95.0, 100.0], [0.2, 0.3], 0.05, dividend_yields=[0.1, 0.1], correlation=0.3)
WORLDS = {
    "flat": Market(95.0, 0.3, 0.06, 0.02),
    "cash": Market(95.0, 0.3, 0.06, cash_dividends=Dividends((0.3, 0.8), (4.0, 4.0))),
    "escrowed": Market(
        95.0, 0.3, 0.06, cash_dividends=Dividends((0.3, 0.8), (4.0, 4.0)),
        dividend_model="escrowed",
    ),
    "proportional": Market(95.0, 0.3, 0.06, proportional_dividends=Dividends((0.6,), (0.05,))),
    "curves": Market(95.0, Curve((0.3, 1.0), (0.2, 0.35)), Curve((0.5, 1.0), (0.02, 0.08))),
}  # fmt: skip


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("right", ["call", "put"])
def test_greeks_agree_with_finite_differences(world: str, right: str) -> None:
    contract = Vanilla(right, 100.0, 1.0, "bermudan", QUARTERS)
    found = simulated(contract, WORLDS[world], measures=MEASURES)
    solved = price(contract, WORLDS[world], method="finite_difference", tolerance=1e-7)
    for row, name in enumerate(MEASURES):
        value = float(getattr(solved, name))
        away = abs(found.values[row, 0] - value)
        assert away < 4.0 * found.standard_errors[row, 0] + 2e-3 * abs(value), name
    assert abs(found.values[0, 0] - worth(solved)) < 1e-4


def test_american_call_on_what_pays_nothing_is_european() -> None:
    market = Market(100.0, 0.3, 0.03)
    found = simulated(Vanilla("call", 100.0, 1.0, "american"), market)
    value = worth(price(Vanilla("call", 100.0, 1.0), market))
    assert found.values[0, 0] == pytest.approx(value, abs=5e-5)


def test_puts_are_calls_with_spot_and_strike_rate_and_yield_exchanged() -> None:
    put = simulated(Vanilla("put", 110.0, 1.0, "american"), Market(100.0, 0.3, 0.05, 0.02))
    call = simulated(Vanilla("call", 100.0, 1.0, "american"), Market(110.0, 0.3, 0.02, 0.05))
    assert put.values[0, 0] == pytest.approx(call.values[0, 0], abs=2e-4)


def test_no_jumps_are_black_scholes() -> None:
    put = Vanilla("put", 100.0, 1.0, "bermudan", QUARTERS)
    plain = simulated(put, Market(95.0, 0.3, 0.06))
    jumpless = simulated(put, Market(95.0, 0.3, 0.06, model=Merton(0.0, -0.1, 0.2)))
    assert jumpless.values[0, 0] == pytest.approx(plain.values[0, 0], abs=1e-7)


def test_still_variance_is_black_scholes() -> None:
    put = Vanilla("put", 100.0, 1.0, "american")
    plain = simulated(put, Market(95.0, 0.3, 0.06))
    still = Heston(0.09, 1.0, 0.09, 1e-4, 0.0)
    heston = simulated(put, Market(95.0, rate=0.06, model=still), paths=2**12)
    assert holds(heston, float(plain.values[0, 0]))


def test_exercise_now_is_the_payoff() -> None:
    found = simulated(Vanilla("put", 100.0, 1.0, "american"), Market(60.0, 0.2, 0.08),
                      measures=MEASURES)  # fmt: skip
    assert found.values[:, 0].tolist() == [40.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert found.low[0] <= 40.0 <= found.high[0]


def test_more_paths_leave_less_error() -> None:
    call = Basket("call", 100.0, 1.0, "best_of", None, "bermudan", QUARTERS)
    errors = [simulated(call, TWO, paths=2**k, tolerance=1e-9).error[0] for k in (12, 14)]
    assert errors[1] < errors[0]


def test_a_cell_does_not_depend_on_its_company() -> None:
    put = Vanilla("put", [100.0, 90.0, 100.0], 1.0, "bermudan", QUARTERS)
    together = simulated(put, Market([95.0, 95.0, 105.0], 0.3, 0.06), measures=MEASURES)
    alone = simulated(
        Vanilla("put", 90.0, 1.0, "bermudan", QUARTERS), Market(95.0, 0.3, 0.06), measures=MEASURES
    )
    assert together.values[:, 1].tolist() == alone.values[:, 0].tolist()
    assert together.error[1] == alone.error[0]


@pytest.mark.parametrize("sampling", ["sobol", "pseudo"])
def test_another_seed_moves_the_value_within_its_error(sampling: str) -> None:
    call = Basket("call", 100.0, 1.0, "best_of", None, "bermudan", QUARTERS)
    one, two = (simulated(call, TWO, paths=2**12, seed=seed, sampling=sampling) for seed in (1, 2))
    assert one.values[0, 0] != two.values[0, 0]
    assert abs(one.values[0, 0] - two.values[0, 0]) < one.error[0] + two.error[0]


def test_what_is_not_asked_for_is_not_there() -> None:
    found = simulated(Vanilla("put", 100.0, 1.0, "bermudan", QUARTERS), Market(95.0, 0.3, 0.06))
    assert np.isnan(found.values[1:]).all()


def test_what_does_not_move_is_not_supported() -> None:
    found = simulated(Vanilla("put", 100.0, 1.0, "american"), Market(95.0, 0.0, 0.06))
    assert found.status[0] == Status.unsupported
