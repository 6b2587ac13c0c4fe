"""Options on one asset by simulation: published values, laws, limits, the PDE, the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pricer import (
    Asian,
    Barrier,
    Cliquet,
    Curve,
    Dates,
    Digital,
    Dividends,
    DoubleBarrier,
    DoubleTouch,
    Fixings,
    ForwardStart,
    Heston,
    Lookback,
    Market,
    Merton,
    Status,
    Touch,
    Vanilla,
    price,
)
from pricer.cells import broadcast
from pricer.settings import MEASURES, STATISTICS, Settings
from pricer.simulation import simulate
from simulated import cases

MARKET = Market(100.0, 0.3, 0.05, 0.02)
MERTON = replace(MARKET, vol=0.2, model=Merton(0.5, -0.1, 0.2))
HESTON = Market(100.0, rate=0.05, dividend_yield=0.02, model=Heston(0.06, 2.0, 0.05, 0.5, -0.6))
MODELS = {"black_scholes": MARKET, "merton": MERTON, "heston": HESTON}
QUARTERS = Dates([0.25, 0.5, 0.75, 1.0])
MONTHS, WEEKS = Fixings(np.arange(1, 13) / 12), Fixings(np.arange(1, 53) / 52)
RIGHTS = np.array(["call", "put"])
PRICE: Any = {"method": "monte_carlo", "measures": ("price", "standard_error")}
GREEKS: Any = {"method": "monte_carlo", "paths": 2**15, "tolerance": 1e-12}
ALL = (*MEASURES, *STATISTICS)
BENT: Any = {
    "vol": Curve([0.4, 1.0], [0.2, 0.35]),
    "rate": Curve([0.5, 1.0], [0.02, 0.06]),
    "dividend_yield": Curve([0.3, 1.0], [0.0, 0.03]),
}
CASH = Dividends([0.1, 0.6], [3.0, 4.0])
OPTIONS: dict[str, Any] = {
    "arithmetic": Asian(RIGHTS, 1.0, 95.0, fixing_dates=MONTHS),
    "geometric": Asian(RIGHTS, 1.0, 95.0, "geometric", fixing_dates=MONTHS),
    "floating": Asian(RIGHTS, 1.0, strike_type="floating", fixing_dates=MONTHS),
    "lookback": Lookback(RIGHTS, 1.0, 105.0, monitoring_dates=QUARTERS),
    "extremes": Lookback(RIGHTS, 1.0, strike_type="floating", monitoring_dates=QUARTERS),
    "forward start": ForwardStart(RIGHTS, 1.0, 0.5, 1.05),
    "cliquet": Cliquet(
        RIGHTS, 1.0, Fixings([0.0, 0.25, 0.5]), 1.0, -0.02, 0.08, 0.0, 0.2, notional=100.0
    ),
    "vanilla": Vanilla(RIGHTS, 95.0, 1.0),
    "digital": Digital(RIGHTS, 95.0, 1.0),
    "barrier": Barrier(RIGHTS, 95.0, 1.0, 85.0, "down_out", 2.0, monitoring_dates=QUARTERS),
    "corridor": DoubleBarrier(
        RIGHTS, 95.0, 1.0, 80.0, 130.0, "knock_out", 2.0, monitoring_dates=QUARTERS
    ),
    "touch": Touch("up", 1.0, np.array([120.0, 140.0]), monitoring_dates=QUARTERS),
}


def priced(contract: Any, market: Any, **given: Any) -> Any:
    return price(contract, market, **given)


def cells_of(contract: Any, market: Any) -> Any:
    return broadcast(contract, market)[0]


def assert_near(found: Any, expected: Any, measures: tuple[str, ...], slack: float) -> None:
    """Compare measures within 4.5 standard errors, and `slack` of what they are for a vanilla."""
    scales = {"price": 10.0, "delta": 1.0, "gamma": 0.03, "vega": 40.0, "theta": 10.0}
    for name in measures:
        error = (
            found.standard_error if name == "price" else getattr(found, f"{name}_standard_error")
        )
        away = np.abs(getattr(found, name) - getattr(expected, name))
        assert (away <= 4.5 * error + slack * scales.get(name, 50.0)).all(), name


@pytest.mark.parametrize("file", ["asian", "lookback", "barrier_discrete_bgk_1997"])
def test_published_values_are_met(file: str) -> None:
    # asian-0002 is QuantLib's floating geometric mean, which means something else; asian-0063 is
    # said to be 19.50670, 0.0005 above the payoff of the forward: 12 million antithetic paths of
    # another generator make it 19.51353, with a standard error of 0.00005.
    others = ("asian-0002", "asian-0063")
    some = [c for c in cases(file) if not c.approximate and c.name not in others]
    assert len(some) >= 10
    for case in some:
        found = priced(case.contract, case.market, paths=2**15, tolerance=1e-6, **PRICE)
        away = abs(float(found.price) - case.expected)
        assert away <= 4.0 * found.standard_error + case.slack, case.name


@pytest.mark.parametrize(
    ("contract", "market"),
    [
        (Vanilla(RIGHTS, 95.0, 1.0), MARKET),
        (Digital(RIGHTS, 95.0, 1.0), MARKET),
        (OPTIONS["barrier"], MARKET),
        (Barrier(RIGHTS, 105.0, 1.0, 115.0, "up_in", 2.0, monitoring_dates=QUARTERS), MARKET),
        (OPTIONS["corridor"], MARKET),
        (OPTIONS["touch"], MARKET),
        (DoubleTouch(1.0, 80.0, 130.0, "no_touch", monitoring_dates=QUARTERS), MARKET),
        (Barrier(RIGHTS, 95.0, 1.0, 85.0, "down_out"), MARKET),
        (OPTIONS["barrier"], replace(MARKET, **BENT)),
        (Vanilla(RIGHTS, 95.0, 1.0), replace(MARKET, **BENT)),
        (OPTIONS["barrier"], replace(MARKET, proportional_dividends=Dividends([0.3], [0.04]))),
        (Vanilla(RIGHTS, 95.0, 1.0), replace(MARKET, cash_dividends=CASH)),
        (Digital(RIGHTS, 95.0, 1.0), replace(MARKET, cash_dividends=CASH)),
        (OPTIONS["barrier"], replace(MARKET, cash_dividends=CASH)),
        (OPTIONS["vanilla"], replace(MARKET, cash_dividends=CASH, dividend_model="escrowed")),
    ],
)  # fmt: skip
def test_the_equation_and_the_paths_agree_with_all_greeks(contract: Any, market: Any) -> None:
    equation = priced(contract, market, measures=MEASURES)
    paths = priced(contract, market, measures=ALL, **GREEKS)
    assert (equation.status == Status.ok).all()
    assert_near(paths, equation, MEASURES, 2e-3)


@pytest.mark.parametrize(
    ("contract", "market"),
    [
        (OPTIONS["geometric"], MARKET),
        (OPTIONS["geometric"], replace(MARKET, **BENT)),
        (Asian(RIGHTS, 1.0, average="geometric", strike_type="floating", fixing_dates=MONTHS),
         MARKET),
        (Asian(RIGHTS, 1.0, 95.0, "geometric"), MARKET),
        (Asian(RIGHTS, 1.0, 95.0, "geometric", fixing_dates=MONTHS, running_average=90.0,
               past_fixings=6), MARKET),
        (Asian(RIGHTS, 1.0, 95.0, "geometric", running_average=90.0, elapsed=0.5), MARKET),
        (OPTIONS["forward start"], MARKET),
        (Lookback("call", 1.0, 120.0), MARKET),
        (Lookback(RIGHTS, 1.0, strike_type="floating",
                  running_extremum=np.array([85.0, 120.0])), MARKET),
        (Lookback(RIGHTS, 1.0, 105.0, lookback_start=0.3, lookback_end=0.8), MARKET),
        (Vanilla(RIGHTS, 95.0, 1.0), MERTON),
        (Digital(RIGHTS, 95.0, 1.0), MERTON),
        (Vanilla(RIGHTS, 95.0, 1.0), HESTON),
    ],
)  # fmt: skip
def test_formulas_and_paths_agree_with_all_greeks(contract: Any, market: Any) -> None:
    formula = priced(contract, market, measures=MEASURES)
    paths = priced(contract, market, measures=ALL, **GREEKS)
    assert_near(paths, formula, MEASURES, 2e-3)


@pytest.mark.parametrize("market", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_product_is_simulated_in_every_model(name: str, market: Any) -> None:
    found = simulate(cells_of(OPTIONS[name], market), Settings(tolerance=1.0, measures=("price",)))
    assert found.status.tolist() == [Status.ok, Status.ok]
    assert (found.values[0] > 0.0).all()
    assert (found.standard_errors[0] < 0.3).all()


@pytest.mark.parametrize("market", MODELS.values(), ids=MODELS)
def test_calls_less_puts_on_averages_are_forwards(market: Any) -> None:
    found = priced(OPTIONS["arithmetic"], market, paths=2**15, tolerance=1e-6, **PRICE)
    times = np.arange(1, 13) / 12
    forward = np.exp(-0.05) * (100.0 * np.exp(0.03 * times).mean() - 95.0)
    error = np.hypot(*found.standard_error)
    assert abs(found.price[0] - found.price[1] - forward) <= 4.0 * error + 1e-9


def test_averages_are_worth_less_than_what_they_average() -> None:
    calls = Asian("call", 1.0, np.array([80.0, 100.0, 120.0]), fixing_dates=WEEKS)
    average = priced(calls, MARKET, tolerance=1e-4, **PRICE)
    vanilla = priced(Vanilla("call", np.array([80.0, 100.0, 120.0]), 1.0), MARKET)
    assert (average.price < vanilla.price).all()
    geometric = priced(replace(calls, average="geometric"), MARKET)
    assert (geometric.price < average.price).all()


@pytest.mark.parametrize("market", MODELS.values(), ids=MODELS)
def test_knocking_in_and_knocking_out_make_a_vanilla(market: Any) -> None:
    kinds = np.array(["down_out", "down_in"])
    both = Barrier("put", 100.0, 1.0, 85.0, kinds, monitoring_dates=QUARTERS)
    found = priced(both, market, paths=2**16, tolerance=1e-6, **PRICE)
    whole = priced(Vanilla("put", 100.0, 1.0), market)
    assert abs(found.price.sum() - whole.price) <= 4.0 * found.standard_error.sum()


def test_more_dates_make_a_lookback_dearer_up_to_the_continuous_one() -> None:
    coarse, fine = (
        priced(
            Lookback("call", 1.0, 100.0, monitoring_dates=Dates(np.arange(1, n + 1) / n)),
            MARKET, tolerance=1e-4, **PRICE,
        )
        for n in (4, 52)
    )  # fmt: skip
    always = priced(Lookback("call", 1.0, 100.0), MARKET)
    assert coarse.price < fine.price < always.price


@pytest.mark.parametrize("name", ["arithmetic", "lookback", "barrier", "cliquet"])
@pytest.mark.parametrize("market", MODELS.values(), ids=MODELS)
def test_a_cell_has_the_same_bits_in_any_company(name: str, market: Any) -> None:
    cells = cells_of(OPTIONS[name], replace(market, spot=np.array([[90.0], [100.0], [115.0]])))
    settings = Settings(tolerance=1e-4, measures=MEASURES, paths=2**13)
    together = simulate(cells, settings)
    for k in range(len(cells)):
        alone = simulate(cells[k : k + 1], settings)
        np.testing.assert_array_equal(alone.values[:, 0], together.values[:, k])
        np.testing.assert_array_equal(alone.standard_errors[:, 0], together.standard_errors[:, k])
        assert alone.paths[0] == together.paths[k]
        assert alone.control[0] == together.control[k]


@pytest.mark.parametrize("sampling", ["sobol", "pseudo"])
@pytest.mark.parametrize(
    "contract",
    [
        Asian("call", 1.0, 95.0, "geometric", fixing_dates=Fixings([0.25, 0.5, 0.75, 1.0])),
        ForwardStart("put", 1.0, 0.5),
        Lookback("call", 1.0, 105.0),
    ],
)
def test_errors_hold_for_nearly_every_seed(contract: Any, sampling: str) -> None:
    exact = float(priced(contract, MARKET).price)
    cells = cells_of(contract, MARKET)
    missed = 0
    for seed in range(200):
        found = simulate(cells, Settings("monte_carlo", 1.0, ("price",), seed, sampling))
        missed += bool(abs(found.values[0, 0] - exact) > found.error[0])
    # Of 200, 1 % are missed: as many as 8 with a chance of 1e-3.
    assert missed <= 8


def test_a_weekly_lookback_is_known_to_a_thousandth() -> None:
    # The standard error that a cell may have at the default budget, per 100 of strike.
    weeks = Dates(np.arange(1, 53) / 52)
    strikes = np.array([100.0, 120.0])
    calls = Lookback("call", 1.0, strikes, monitoring_dates=weeks)
    found = priced(calls, MARKET, tolerance=1e-9, **PRICE)
    assert found.control.tolist() == ["extreme", "extreme"]
    assert (found.standard_error <= 1e-3 * strikes / 100.0).all()


@pytest.mark.parametrize("vol", [0.1, 0.3, 0.5])
def test_a_control_makes_weekly_averages_cheap(vol: float) -> None:
    found = priced(OPTIONS["arithmetic"], replace(MARKET, vol=vol), tolerance=1e-5, **PRICE)
    assert (found.control == "geometric").all()
    assert (found.status == Status.ok).all()
    assert (found.paths <= 2**17).all()


def test_all_fixings_past_decide_an_average() -> None:
    decided = Asian(
        RIGHTS, 1.0, 95.0, fixing_dates=Fixings([0.0]), running_average=103.0, past_fixings=3
    )
    found = priced(decided, MARKET, measures=ALL, **GREEKS)
    paid = np.exp(-0.05) * np.array([0.75 * 103.0 + 25.0 - 95.0, 0.0])
    np.testing.assert_allclose(found.price, paid, rtol=1e-12)
    np.testing.assert_allclose(found.delta, [np.exp(-0.05) / 4.0, 0.0], rtol=1e-8)
    assert (found.status == Status.ok).all()


@pytest.mark.parametrize("market", MODELS.values(), ids=MODELS)
def test_at_expiry_the_payoff_is_left(market: Any) -> None:
    for contract in (Asian(RIGHTS, 0.0, 95.0), Vanilla(RIGHTS, 95.0, 0.0)):
        found = simulate(cells_of(contract, market), Settings("monte_carlo", measures=MEASURES))
        np.testing.assert_allclose(found.values[0], [5.0, 0.0], atol=1e-13)
        np.testing.assert_allclose(found.values[1], [1.0, 0.0], atol=1e-8)
        assert np.isfinite(found.values).all()


@pytest.mark.parametrize("name", OPTIONS)
def test_no_vol_leaves_the_payoff_of_the_forward(name: str) -> None:
    still = replace(MARKET, vol=0.0)
    found = simulate(cells_of(OPTIONS[name], still), Settings("monte_carlo", measures=MEASURES))
    nearly = simulate(
        cells_of(OPTIONS[name], replace(MARKET, vol=1e-6)),
        Settings("monte_carlo", measures=("price",)),
    )
    np.testing.assert_allclose(found.values[0], nearly.values[0], atol=2e-3)
    assert np.isfinite(found.values).all()
    assert (found.status == Status.ok).all()


@pytest.mark.parametrize("market", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "cliquet"])
def test_no_spot_is_the_limit_of_small_ones(name: str, market: Any) -> None:
    settings = Settings("monte_carlo", 1e-3, MEASURES)
    none, small = (
        simulate(cells_of(OPTIONS[name], replace(market, spot=spot)), settings)
        for spot in (0.0, 1e-3)
    )
    np.testing.assert_allclose(none.values[0], small.values[0], atol=2e-3)
    np.testing.assert_allclose(none.values[1], small.values[1], atol=1e-4)
    np.testing.assert_array_equal(none.values[2], 0.0)


def test_what_is_not_known_between_dates_is_left_to_others() -> None:
    unknown: list[tuple[Any, Any]] = [
        (Lookback("call", 1.0, 100.0), HESTON),
        (Lookback("call", 1.0, 100.0), MERTON),
        (Asian("call", 1.0, 100.0), MERTON),
        (Barrier("call", 100.0, 1.0, 90.0, "down_out"), HESTON),
        (DoubleBarrier("call", 100.0, 1.0, 80.0, 120.0, "knock_out"), MARKET),
        (Barrier("call", 100.0, 1.0, 90.0, "down_out", 2.0), MARKET),
        (Vanilla("put", 100.0, 1.0, "american"), MARKET),
    ]
    for contract, market in unknown:
        found = simulate(cells_of(contract, market), Settings("monte_carlo"))
        assert found.status.tolist() == [Status.unsupported]
        assert np.isnan(found.values).all()
