"""Cells that share no solve: which formula or simulation prices each, the same whatever beside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pricer
from pricer import (
    METHODS,
    Asian,
    Barrier,
    Basket,
    BasketMarket,
    Book,
    Cliquet,
    Correlation,
    Curve,
    Dates,
    Digital,
    Dividends,
    Fixings,
    ForwardStart,
    Grid,
    Heston,
    Lookback,
    Market,
    Merton,
    SpecError,
    Status,
    Vanilla,
    Vector,
)
from pricer.plan import Plan
from pricer.pricing import price_cells, price_chunk
from pricer.settings import MEASURES, STATISTICS, Settings

MARKET = Market(100.0, 0.25, 0.05, 0.02)
JUMPS = replace(MARKET, model=Merton(0.5, -0.1, 0.2))
HESTON = Market(100.0, rate=0.05, dividend_yield=0.02, model=Heston(0.06, 2.0, 0.05, 0.5, -0.6))
ASSETS = BasketMarket((100.0, 95.0), (0.2, 0.3), 0.05, 0.4)
MONTHS = Fixings(np.arange(1, 13) / 12)
QUARTERS = Dates([0.25, 0.5, 0.75, 1.0])
RIGHTS = np.array(["call", "put"])
ROUGH: dict[str, Any] = {"tolerance": 1e-3, "measures": ("price", "standard_error")}


def priced(contract: Any, market: Any, **settings: Any) -> Any:
    return pricer.price(contract, market, **settings)


def price_of(contract: Any, **settings: Any) -> Any:
    return priced(contract, MARKET, **settings)


BOOK = """\
type,right,strike,expiry,spot,vol,rate,average,strike_type,fixing_dates,monitoring_dates,running_extremum,start,reset_dates,basket_type,spots,vols,correlation,weights,barrier,barrier_type,model,jump_intensity,jump_mean,jump_vol,initial_variance,mean_reversion,long_variance,vol_of_variance,variance_correlation
vanilla,call,100,1,100,0.2,0.05,,,,,,,,,,,,,,,,,,,,,,,
vanilla,put,100,1,100,0.2,0.05,,,,,,,,,,,,,,,merton,0.5,-0.1,0.2,,,,,
vanilla,call,100,1,100,,0.05,,,,,,,,,,,,,,,heston,,,,0.05,2,0.06,0.4,-0.5
asian,call,100,1,100,0.2,0.05,,,0.5;1,,,,,,,,,,,,,,,,,,,,
asian,put,100,1,100,0.2,0.05,geometric,fixed,0.5;1,,,,,,,,,,,,,,,,,,,,
asian,put,,1,100,0.2,0.05,,floating,0.5;1,,,,,,,,,,,,,,,,,,,,
lookback,call,100,1,100,0.2,0.05,,fixed,,0.5;1,105,,,,,,,,,,,,,,,,,,
forward_start,call,,1,100,0.2,0.05,,,,,,0.5,,,,,,,,,,,,,,,,,
cliquet,call,,1,100,0.2,0.05,,,,,,,0;0.5,,,,,,,,,,,,,,,,
basket,call,100,1,,,0.05,,,,,,,,best_of,100;95,0.2;0.3,0.4,,,,,,,,,,,,
basket,put,5,1,,,0.05,,,,,,,,spread,100;95,0.2;0.3,0.4,,,,,,,,,,,,
barrier,call,100,1,100,0.2,0.05,,,,0.5;1,,,,,,,,,90,down_out,,,,,,,,,
barrier,call,100,1,100,0.2,0.05,,,,,,,,,,,,,90,down_out,,,,,,,,,
"""


@pytest.mark.parametrize(
    ("contract", "market", "method"),
    [
        (Asian("call", 1.0, 100.0, fixing_dates=MONTHS), MARKET, "monte_carlo"),
        (Asian("call", 1.0, 100.0, "geometric", fixing_dates=MONTHS), MARKET, "analytic"),
        (Asian("call", 1.0, 100.0, "geometric", fixing_dates=MONTHS), HESTON, "monte_carlo"),
        (Lookback("put", 1.0, 100.0), MARKET, "analytic"),
        (Lookback("put", 1.0, 100.0, monitoring_dates=QUARTERS), MARKET, "monte_carlo"),
        (ForwardStart("call", 1.0, 0.5), MARKET, "analytic"),
        (ForwardStart("call", 1.0, 0.5), HESTON, "monte_carlo"),
        (Cliquet("call", 1.0, Fixings([0.0, 0.5])), MARKET, "monte_carlo"),
        (Basket("call", 0.0, 1.0, "spread"), ASSETS, "analytic"),
        (Basket("call", 5.0, 1.0, "spread"), ASSETS, "monte_carlo"),
        (Vanilla("put", 100.0, 1.0), JUMPS, "analytic"),
        (Vanilla("put", 100.0, 1.0), HESTON, "analytic"),
        (Vanilla("put", 100.0, 1.0, "bermudan", QUARTERS), HESTON, "monte_carlo"),
        (Digital("put", 100.0, 1.0), HESTON, "analytic"),
        (Barrier("put", 100.0, 1.0, 80.0, "down_out", monitoring_dates=QUARTERS), MARKET,
         "finite_difference"),
        (Barrier("put", 100.0, 1.0, 80.0, "down_out", monitoring_dates=QUARTERS), JUMPS,
         "monte_carlo"),
    ],
)  # fmt: skip
def test_auto_takes_a_formula_where_there_is_one(contract: Any, market: Any, method: str) -> None:
    found = priced(contract, market, **ROUGH)
    assert found.status in (Status.ok, Status.tolerance)
    assert METHODS[int(found.method)] == method


def test_what_was_simulated_says_how() -> None:
    found = priced(Asian("call", 1.0, 100.0, fixing_dates=MONTHS), MARKET)
    assert found.paths is not None
    assert found.paths > 0
    assert found.control == "geometric"
    for name in STATISTICS:
        assert getattr(found, name) > 0
    assert found.error == pytest.approx(2.744 * found.standard_error, rel=0.02)
    assert found.error <= 1e-3


def test_a_formula_leaves_no_statistical_error() -> None:
    found = priced(Vanilla("call", 100.0, 1.0), HESTON)
    assert (found.standard_error, found.paths) == (0.0, 0)
    assert priced(Vanilla("call", 100.0, 1.0), MARKET).standard_error is None


def test_a_mixed_book_prices_every_row_as_it_is_alone() -> None:
    book = Book.parse(BOOK, method="auto", tolerance=1e-3)
    together = price_cells(book.cells, book.settings, workers=2)
    assert together.status.tolist() == [Status.ok] * len(book)
    for row in range(len(book)):
        alone = price_cells(book.cells[row : row + 1], book.settings)
        for name in (*MEASURES, *STATISTICS, "error", "status"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[row])


def test_values_do_not_depend_on_the_chunking() -> None:
    grid = Grid(
        axes=(
            pricer.grid.Axis("strike", (90.0, 100.0, 110.0)),
            pricer.grid.Axis("right", ("call", "put")),
            pricer.grid.Axis("vol", (0.2, 0.3)),
            pricer.grid.Axis("spot", (95.0, 100.0)),
        ),
        fixed={"rate": 0.05, "expiry": 1.0, "fixing_dates": MONTHS},
        settings=Settings(tolerance=1e-3, measures=("price", "standard_error", "gamma")),
        type="asian",
    )
    plan = replace(Plan.of(grid, "kernel"), block_cells=5)
    whole = dict(price_chunk(plan, 0, plan.blocks))
    assert plan.families == 2
    for first in range(plan.blocks):
        ((_, part),) = price_chunk(plan, first, first + 1)
        for name in ("price", "standard_error", "gamma", "error"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole[first], name))


@pytest.mark.parametrize("sampling", ["sobol", "pseudo"])
def test_another_seed_moves_the_value_within_its_error(sampling: str) -> None:
    contract = Asian(RIGHTS, 1.0, 100.0, fixing_dates=MONTHS)
    one, other = (
        priced(contract, MARKET, sampling=sampling, seed=seed, **ROUGH) for seed in (0, 1)
    )
    assert (one.price != other.price).all()
    assert (np.abs(one.price - other.price) <= one.error + other.error).all()


def test_the_seed_and_the_budget_are_part_of_what_a_run_is() -> None:
    grid = Grid.parse(
        '[contract]\ntype = "asian"\nright = "call"\n[axes]\nspot = 100\nstrike = 100\nexpiry = 1\n'
        "vol = 0.2\nrate = 0.05\n[method]\nseed = 7"
    )
    assert grid.settings.seed == 7
    ids = {
        Plan.of(replace(grid, settings=replace(grid.settings, **change)), "k").run_id
        for change in ({}, {"seed": 8}, {"sampling": "pseudo"}, {"paths": 2**15})
    }
    assert len(ids) == 4
    assert set(grid.settings.measures) == {*MEASURES, *STATISTICS}


def test_a_budget_that_is_spent_is_said() -> None:
    contract = Lookback("call", 1.0, 100.0, monitoring_dates=QUARTERS)
    found = priced(contract, MARKET, paths=2**12, tolerance=1e-9)
    assert found.status == Status.tolerance
    assert found.paths == 2**12
    assert found.error > 1e-7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Correlation([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]),
            "correlation: matrix must be positive semidefinite, got a smallest eigenvalue of -0.8",
        ),
        (lambda: Correlation([[1.0, 0.5], [0.4, 1.0]]), "must be symmetric, got 0.4 and 0.5"),
        (lambda: Correlation([[1.0, 0.5]]), "matrix must be square, got a row of 2 among 1"),
        (lambda: Correlation(1.5), "values must lie between -1 and 1, got 1.5"),
        (lambda: Correlation((0.1, 0.2)), "must have 1, 3, 6, 10, ... values, one a pair, got 2"),
        (lambda: Vector(()), "vector: must have 1 to 100 values, got 0"),
        (lambda: Fixings((-0.1, 1.0)), "times must not be past, in years from now, got -0.1"),
        (
            lambda: price_of(Asian("call", 1.0, 100.0, fixing_dates=Dates([0.5, 1.1]))),
            "fixing_dates: must not be past the expiry, got 0.5;1.1",
        ),
        (lambda: price_of(Asian("call", 1.0)), "strike: is missing"),
        (
            lambda: price_of(Asian("call", 1.0, 100.0, strike_type="floating")),
            'strike: counts only with strike_type = "fixed", got floating',
        ),
        (
            lambda: price_of(Asian("call", 1.0, 100.0, fixing_dates=MONTHS, past_fixings=2)),
            "running_average: is missing",
        ),
        (
            lambda: price_of(Cliquet("call", 1.0, Fixings([0.0, 1.0]))),
            "reset_dates: must be before the expiry, got 0.0;1.0",
        ),
        (lambda: price_of(ForwardStart("call", 1.0, 1.5)), "start: must not be past the expiry"),
        (
            lambda: priced(Basket("call", 1.0, 1.0), replace(ASSETS, vols=(0.2,))),
            "vols: must have as many values as spots, got 0.2",
        ),
        (
            lambda: priced(
                Basket("call", 1.0, 1.0),
                BasketMarket((1.0, 1.0, 1.0), (0.2, 0.2, 0.2), 0.05, -0.9),
            ),
            "correlation: must be at least -1 / (assets - 1), got -0.9",
        ),
        (
            lambda: priced(Basket("call", 1.0, 1.0, greek_asset=3), ASSETS),
            "greek_asset: must be the number of an asset, got 3.0",
        ),
        (lambda: price_of(Asian("call", 1.0, 1.0), paths=0), "paths: must lie between 4096 and"),
        (lambda: price_of(Asian("call", 1.0, 1.0), seed=-1), "seed: must lie between 0 and"),
        (lambda: price_of(Asian("call", 1.0, 1.0), seed=0.5), "seed: must be a whole number"),
        (
            lambda: price_of(Asian("call", 1.0, 1.0), sampling="halton"),
            "sampling: must be one of sobol, pseudo; got 'halton'",
        ),
        (
            lambda: price_of(Asian("call", 1.0, 1.0), method="finite_difference"),
            "method: must be auto or monte_carlo for asian contracts, got 'finite_difference'",
        ),
        (
            lambda: priced(Vanilla("call", 1.0, 1.0), Market(1.0, rate=0.0)),
            "vol: is missing",
        ),
        (
            lambda: priced(
                Vanilla("call", 1.0, 1.0), replace(HESTON, model=Heston(-0.1, 1, 1, 1, 0))
            ),
            "initial_variance: must not be negative, got -0.1",
        ),
        (
            lambda: priced(
                Vanilla("call", 1.0, 1.0), replace(HESTON, model=Heston(0.1, 1, 1, 1, 2.0))
            ),
            "variance_correlation: must lie between -1 and 1, got 2.0",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        make()
    assert message in str(refused.value)


def test_one_bad_cell_does_not_sink_its_neighbours() -> None:
    strikes = np.array([90.0, -1.0, np.nan, 100.0])
    found = price_of(Asian("call", 1.0, strikes, fixing_dates=MONTHS), **ROUGH)
    assert found.status.tolist() == [Status.ok, Status.invalid, Status.invalid, Status.ok]
    assert np.isnan(found.price).tolist() == [False, True, True, False]


def test_a_variance_that_reaches_zero_is_priced() -> None:
    # Twice mean reversion times long variance is far below the square of its vol.
    wild = replace(HESTON, model=Heston(0.04, 0.5, 0.04, 1.0, -0.9))
    series = priced(Vanilla(RIGHTS, 100.0, 1.0), wild)
    paths = priced(Vanilla(RIGHTS, 100.0, 1.0), wild, method="monte_carlo", **ROUGH)
    assert (series.status == Status.ok).all()
    assert (np.abs(series.price - paths.price) <= 4 * paths.standard_error + 0.01).all()


def test_curves_of_rates_go_into_the_series() -> None:
    flat = priced(Vanilla(RIGHTS, 100.0, 1.0), HESTON)
    bent = replace(HESTON, rate=Curve([0.5, 1.0], [0.03, 0.07]))
    found = priced(Vanilla(RIGHTS, 100.0, 1.0), bent)
    np.testing.assert_allclose(found.price, flat.price, rtol=1e-12)
    # A year less of it takes a rate of 3 % away, not of 5 %.
    np.testing.assert_allclose(found.theta - flat.theta, 0.02 * flat.rho, rtol=1e-9)


def test_dividends_leave_the_series_to_the_simulation() -> None:
    paying = replace(HESTON, cash_dividends=Dividends([0.5], [3.0]))
    found = priced(Vanilla("call", 100.0, 1.0), paying, **ROUGH)
    assert METHODS[int(found.method)] == "monte_carlo"
    plain = priced(Vanilla("call", 100.0, 1.0), HESTON)
    assert plain.price - 3.0 < found.price < plain.price - 1.0
