from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from math import erf, erfc, exp, inf, isnan, log, sqrt
from statistics import stdev
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from pricer import Market, SpecError, Status, Vanilla, price
from pricer.merton import (
    FEW_DAYS,
    MEASURES,
    NO_DEBT,
    NO_EQUITY,
    NO_RATE,
    NOT_CONVERGED,
    REASONS,
    SLOW,
    STILL,
    Estimates,
    distance_to_default,
    estimate_windows,
    implied_assets,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

rng = np.random.default_rng


def published_ranges(count: int, seed: int) -> dict[str, Any]:
    """Draw firms from where the original experiment had them."""
    random = rng(seed)
    return {
        "equity": 100.0 * np.exp(random.uniform(np.log(0.05), np.log(20.0), count)),
        "debt": np.full(count, 100.0),
        "rate": random.uniform(0.0, 0.08, count),
        "horizon": random.integers(1, 6, count).astype(float),
        "asset_vol": random.uniform(0.05, 0.8, count),
    }


def exact_assets(
    equity: float, debt: float, rate: float, horizon: float, asset_vol: float
) -> mpmath.mpf:
    """Bisect ln V in 60 digits."""
    with mpmath.workdps(60):
        k = mpmath.mpf(debt) * mpmath.exp(-mpmath.mpf(rate) * horizon)
        v = mpmath.mpf(asset_vol) * mpmath.sqrt(horizon)
        e = mpmath.mpf(equity) / k
        low, high = mpmath.log(e), mpmath.log(1 + e)
        for _ in range(100):
            x = (low + high) / 2
            d1 = x / v + v / 2
            below = mpmath.exp(x) * mpmath.ncdf(d1) - mpmath.ncdf(d1 - v) < e
            low, high = (x, high) if below else (low, x)
        return k * mpmath.exp(low)


def test_assets_of_the_published_ranges_are_those_of_60_digits() -> None:
    firms = published_ranges(60, seed=1)
    found = implied_assets(**firms)
    assert not found.status.any()
    for i, value in enumerate(found.asset_value.tolist()):
        exact = exact_assets(**{name: float(column[i]) for name, column in firms.items()})
        assert abs(value - exact) / exact < 3e-15


@pytest.mark.parametrize("equity", [1e-200, 1e-60, 1e-10, 1e-3, 0.1, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("asset_vol", [1e-9, 0.01, 0.2, 1.5, 20.0])
@pytest.mark.parametrize("horizon", [1 / 252, 5.0])
def test_assets_are_exact_far_from_where_firms_are(
    equity: float, asset_vol: float, horizon: float
) -> None:
    found = implied_assets(equity, 1.0, 0.03, horizon, asset_vol)
    exact = exact_assets(equity, 1.0, 0.03, horizon, asset_vol)
    assert found.status == Status.ok
    assert abs(float(found.asset_value) - exact) / exact < 3e-14


def test_the_closed_form_gives_the_equity_back() -> None:
    firms = published_ranges(50_000, seed=2)
    found = implied_assets(**firms)
    call = price(
        Vanilla(right="call", strike=firms["debt"], expiry=firms["horizon"]),
        Market(spot=found.asset_value, rate=firms["rate"], vol=firms["asset_vol"]),
        measures=["price"],
    )
    assert call.price is not None
    np.testing.assert_allclose(call.price, firms["equity"], rtol=2e-14)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({"debt": 0.0}, 40.0),  # nothing is owed
        ({"asset_vol": 0.0}, 40.0 + 60.0 * exp(-0.1)),  # nothing is random
        ({"horizon": 0.0}, 100.0),  # due now
        ({"asset_vol": 1e6}, 40.0),  # the debt is lost
        ({"debt": 1e-300}, 40.0),
        ({"debt": 0.0, "rate": -8.0, "horizon": 100.0}, 40.0),
        (
            {"equity": 3.1121101904101676, "debt": 1.0, "asset_vol": 5.6e-17},
            3.1121101904101676 + exp(-0.1),
        ),
    ],
)
def test_limits_are_exact(changed: dict[str, float], value: float) -> None:
    given: dict[str, Any] = {
        "equity": 40.0,
        "debt": 60.0,
        "rate": 0.05,
        "horizon": 2.0,
        "asset_vol": 0.3,
    }
    found = implied_assets(**(given | changed))
    assert found.status == Status.ok
    assert found.asset_value == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"equity": 0.0}, Status.invalid),
        ({"equity": -1.0}, Status.invalid),
        ({"equity": [np.nan]}, Status.invalid),
        ({"equity": [np.inf]}, Status.invalid),
        ({"debt": -1.0}, Status.invalid),
        ({"horizon": -1.0}, Status.invalid),
        ({"asset_vol": -0.1}, Status.invalid),
        ({"rate": [np.inf]}, Status.invalid),
        ({"equity": 1e-300}, Status.unsupported),
        ({"rate": -1000.0}, Status.unsupported),
        ({"rate": -1000.0, "asset_vol": 0.0}, Status.unsupported),
    ],
)
def test_the_impossible_has_a_status_and_sinks_nobody_else(
    changed: dict[str, Any], status: Status
) -> None:
    given: dict[str, Any] = {
        "equity": 40.0,
        "debt": 60.0,
        "rate": 0.05,
        "horizon": 2.0,
        "asset_vol": 0.3,
    }
    alone = implied_assets(**given).asset_value
    columns: dict[str, Any] = {name: [value] * 9 for name, value in given.items()}
    for name, value in changed.items():
        columns[name][4] = value[0] if isinstance(value, list) else value
    found = implied_assets(**columns)
    assert found.status.tolist() == [0] * 4 + [status] + [0] * 4
    assert isnan(found.asset_value[4])
    assert (np.delete(found.asset_value, 4) == alone).all()


def test_assets_do_not_depend_on_neighbours_or_threads() -> None:
    firms = published_ranges(140_001, seed=3)
    # Some that take more steps than their neighbours.
    firms["equity"][::7] *= 1e-30
    whole = implied_assets(**firms, workers=2).asset_value
    one = implied_assets(**firms, workers=1).asset_value
    back = implied_assets(**{name: column[::-1] for name, column in firms.items()}).asset_value
    assert (whole == one).all()
    assert (whole == back[::-1]).all()


def test_assets_scale_with_equity_and_debt() -> None:
    firms = published_ranges(1_000, seed=4)
    scaled = firms | {"equity": 0.125 * firms["equity"], "debt": 0.125 * firms["debt"]}
    assert (
        implied_assets(**scaled).asset_value == 0.125 * implied_assets(**firms).asset_value
    ).all()


def test_inputs_broadcast() -> None:
    found = implied_assets(np.ones((3, 1)), 2.0, 0.03, [1.0, 2.0], 0.2)
    assert found.asset_value.shape == found.status.shape == (3, 2)
    with pytest.raises(SpecError, match=r"shapes do not broadcast: equity \(2,\), debt \(3,\)"):
        implied_assets(np.ones(2), np.ones(3), 0.03, 1.0, 0.2)


# The model


def normal(x: float) -> float:
    return 0.5 * erfc(-x / sqrt(2.0))


def slow_assets(equity: float, debt: float, rate: float, horizon: float, vol: float) -> float:
    """Bisect the textbook's formula."""
    if debt == 0.0:
        return equity
    k = debt * exp(-rate * horizon)
    v = vol * sqrt(horizon)
    low, high = equity, equity + k
    for _ in range(200):
        value = 0.5 * (low + high)
        d1 = log(value / k) / v + v / 2
        below = value * normal(d1) - k * normal(d1 - v) < equity
        low, high = (value, high) if below else (low, value)
    return 0.5 * (low + high)


def slow_estimate(days: list[tuple[float, float, float]], horizon: float) -> dict[str, float]:
    """Estimate from one window as the issue that asked for it describes the method."""
    usable = [
        i
        for i, (equity, debt, rate) in enumerate(days)
        if 0 < equity < inf and 0 <= debt < inf and abs(rate) < inf
    ]
    neighbours = [(i, j) for i, j in pairwise(usable) if j == i + 1]

    def vol_of(values: dict[int, float]) -> tuple[float, float]:
        changes = [log(values[j] / values[i]) for i, j in neighbours]
        return sqrt(252) * stdev(changes), 252 * sum(changes) / len(changes)

    equity, debt, _ = days[usable[-1]]
    vol = vol_of({i: days[i][0] for i in usable})[0] * equity / (equity + debt)
    passes, moved = 0, inf
    while moved >= 1e-3 and passes < 10:
        values = {i: slow_assets(*days[i], horizon, vol) for i in usable}
        new, growth = vol_of(values)
        moved, vol, passes = abs(new - vol), new, passes + 1
    value = slow_assets(*days[usable[-1]], horizon, vol)
    distance = (log(value / debt) + growth * horizon) / (vol * sqrt(horizon))
    return {
        "asset_value": value,
        "asset_vol": vol,
        "drift": growth + vol * vol / 2,
        "distance_to_default": distance,
        "default_probability": normal(-distance),
        "days": len(usable),
        "inversions": passes * len(usable) + 1,
    }


def firm(days: int, vol: float, leverage: float, seed: int, horizon: float = 1.0) -> dict[str, Any]:
    """Make a firm whose assets are a geometric Brownian motion: asset values and equity series."""
    changes = 0.05 / 252 + vol / sqrt(252) * rng(seed).standard_normal(days)
    values = 100.0 * np.exp(np.cumsum(changes))
    debt = np.repeat(values[::63] * leverage, 63)[:days]
    call = price(
        Vanilla(right="call", strike=debt, expiry=horizon),
        Market(spot=values, rate=0.03, vol=vol),
        measures=["price"],
    )
    return {"asset_value": values, "equity": call.price, "debt": debt}


@pytest.mark.parametrize("horizon", [1.0, 5.0])
@pytest.mark.parametrize(("vol", "leverage"), [(0.2, 0.3), (0.4, 0.7), (0.01, 0.5), (0.6, 1.5)])
def test_estimates_are_those_of_the_plain_method(
    vol: float, leverage: float, horizon: float
) -> None:
    made = firm(252, vol, leverage, seed=5)
    equity, debt = made["equity"].copy(), made["debt"].copy()
    equity[[30, 31, 100]] = np.nan
    equity[200] = -1.0
    debt[251] = np.nan
    found = distance_to_default(equity, debt, 0.03, horizon)
    days = [(e, d, 0.03) for e, d in zip(equity.tolist(), debt.tolist(), strict=True)]
    for name, value in slow_estimate(days, horizon).items():
        assert getattr(found, name)[0] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_the_true_vol_gives_the_true_assets() -> None:
    for seed, vol in enumerate((0.05, 0.2, 0.5, 0.8)):
        made = firm(252 * 4, vol, 0.6, seed)
        found = implied_assets(made["equity"], made["debt"], 0.03, 1.0, vol)
        np.testing.assert_allclose(found.asset_value, made["asset_value"], rtol=1e-9)


def test_estimated_vols_are_within_sampling_error_of_the_true() -> None:
    firms, years, vol = 60, 10, 0.3
    made = [firm(252 * years, vol, 0.3, seed) for seed in range(firms)]
    found = distance_to_default(
        np.array([each["equity"] for each in made]), np.array([each["debt"] for each in made]),
        0.03, 1.0,
    )  # fmt: skip
    assert found.status.shape == (firms, years)
    # In units of the deviation that 251 changes leave.
    away = (found.asset_vol / vol - 1.0) * sqrt(2.0 * 250.0)
    count = away.size
    assert abs(away.mean()) < 4.0 / sqrt(count) + 0.02  # the second order of a deviation
    assert abs(away.std() - 1.0) < 4.0 / sqrt(2.0 * count) + 0.1
    assert (found.error[found.status == Status.ok] < 0.01).all()


def test_more_passes_end_about_where_the_error_says() -> None:
    made = firm(252, 0.3, 0.6, seed=6)
    found = distance_to_default(made["equity"], made["debt"], 0.03, 1.0)
    vol = float(found.asset_vol[0])
    for _ in range(60):
        values = implied_assets(made["equity"], made["debt"], 0.03, 1.0, vol).asset_value
        vol = float(sqrt(252) * np.diff(np.log(values)).std(ddof=1))
    assert 0.0 < abs(vol - found.asset_vol[0]) < 2.0 * found.error[0] < 2e-3


def passes_run_on(equity: Floats, debt: float, horizon: float, vol: float) -> float:
    """Return the asset vol where passes end."""
    for _ in range(3_000):
        values = implied_assets(equity, debt, 0.03, horizon, vol).asset_value
        new = float(sqrt(252) * np.diff(np.log(values)).std(ddof=1))
        if abs(new - vol) < 1e-13:
            break
        vol = new
    return new


@pytest.mark.parametrize(
    ("vol", "leverage", "horizon"),
    [(0.3, 0.8, 1.0), (0.3, 1.1, 5.0), (0.1, 1.5, 1.0), (0.2, 2.5, 1.0), (0.05, 1.2, 1.0)],
)
def test_the_error_is_honest_also_far_below_the_debt(
    vol: float, leverage: float, horizon: float
) -> None:
    for seed in range(8):
        made = firm(252, vol, leverage, seed)
        debt = float(made["debt"][0])
        found = distance_to_default(made["equity"], debt, 0.03, horizon)
        if found.status[0] == Status.ok:
            end = passes_run_on(made["equity"], debt, horizon, float(found.asset_vol[0]))
            assert abs(end - found.asset_vol[0]) < 2.0 * found.error[0] + 1e-12
            assert found.error[0] <= 0.01


def test_a_vol_that_creeps_is_not_ok() -> None:
    equity = 0.1 * np.exp(np.cumsum(0.05 * rng(26).standard_normal(252)))
    found = distance_to_default(equity, 100.0, 0.03, 5.0)
    assert one_status(found) == (Status.tolerance, SLOW)
    assert found.inversions[0] == 253
    end = passes_run_on(equity, 100.0, 5.0, float(found.asset_vol[0]))
    assert 0.005 < end - found.asset_vol[0] < found.error[0]


def test_windows_follow_each_other_or_overlap() -> None:
    made = firm(300, 0.3, 0.5, seed=7)
    given = (made["equity"], made["debt"], 0.03, 1.0)
    apart = distance_to_default(*given, window=100)
    overlapping = distance_to_default(*given, window=100, step=40)
    assert apart.asset_vol.shape == (3,)
    assert overlapping.asset_vol.shape == (6,)
    for i, start in enumerate(range(0, 201, 40)):
        part = slice(start, start + 100)
        alone = distance_to_default(made["equity"][part], made["debt"][part], 0.03, 1.0, 100)
        for name in (*MEASURES, "error", "status"):
            assert getattr(alone, name)[0] == getattr(overlapping, name)[i]


def test_firms_windows_and_horizons_have_an_axis_each() -> None:
    made = firm(120, 0.3, 0.5, seed=8)
    two = np.array([made["equity"], 1.1 * made["equity"]])
    found = distance_to_default(two, made["debt"], 0.03, [1.0, 2.0, 5.0], window=60, workers=2)
    assert found.asset_vol.shape == (2, 2, 3)
    alone = distance_to_default(two[1], made["debt"], 0.03, 5.0, window=60)
    assert (found.asset_vol[1, :, 2] == alone.asset_vol).all()
    assert distance_to_default(two, made["debt"], 0.03, [1.0], window=60).status.shape == (2, 2, 1)


def one_status(found: Estimates) -> tuple[int, int]:
    assert found.status.size == found.why.size == 1
    return int(found.status.reshape(-1)[0]), int(found.why.reshape(-1)[0])


def test_a_constant_series_has_no_vol() -> None:
    found = distance_to_default(np.full(252, 5.0), 70.0, 0.03, 1.0)
    assert one_status(found) == (Status.invalid, STILL)
    assert isnan(found.asset_value[0])
    assert found.days[0] == 252
    assert found.inversions[0] == 253


def test_equity_that_stands_still_while_debt_moves_has_a_vol() -> None:
    debt = 70.0 * np.exp(np.cumsum(0.01 * rng(9).standard_normal(252)))
    found = distance_to_default(np.full(252, 50.0), debt, 0.03, 1.0)
    assert found.status[0] == Status.ok
    assert 0.05 < found.asset_vol[0] < 0.2


def test_a_firm_without_debt_cannot_default() -> None:
    made = firm(252, 0.3, 0.5, seed=10)
    found = distance_to_default(made["equity"], 0.0, 0.03, 5.0)
    assert found.status[0] == Status.ok
    assert found.asset_value[0] == pytest.approx(made["equity"][-1], rel=1e-14)
    assert found.distance_to_default[0] == inf
    assert found.default_probability[0] == 0.0


def test_a_firm_far_below_its_debt_has_an_estimate() -> None:
    made = firm(252, 0.3, 3.0, seed=11)
    found = distance_to_default(made["equity"], made["debt"], 0.03, 1.0)
    assert made["equity"][-1] < 0.05 * made["debt"][-1]
    assert found.default_probability[0] > 0.9
    assert found.asset_value[0] < made["debt"][-1]


def test_passes_that_do_not_settle_say_so() -> None:
    made = firm(252, 0.3, 1.1, seed=1)
    found = distance_to_default(made["equity"], made["debt"], 0.03, 2.0)
    assert one_status(found) == (Status.tolerance, NOT_CONVERGED)
    assert found.inversions[0] == 10 * 252 + 1
    assert found.error[0] > 1e-3
    assert found.asset_vol[0] > 0.0


@pytest.mark.parametrize(("left", "enough"), [(127, True), (126, False)])
def test_half_of_a_windows_changes_are_enough(left: int, *, enough: bool) -> None:
    made = firm(252, 0.3, 0.5, seed=13)
    equity = made["equity"].copy()
    equity[left:] = np.nan
    found = distance_to_default(equity, made["debt"], 0.03, 1.0)
    assert (one_status(found) == (Status.ok, 0)) is enough
    assert (one_status(found) == (Status.invalid, NO_EQUITY)) is not enough
    assert found.days[0] == left


def test_every_other_day_missing_leaves_no_change() -> None:
    made = firm(252, 0.3, 0.5, seed=14)
    equity = made["equity"].copy()
    equity[::2] = np.nan
    assert one_status(distance_to_default(equity, made["debt"], 0.03, 1.0)) == (1, NO_EQUITY)


@pytest.mark.parametrize(
    ("useless", "why"),
    [
        ({"equity": 0.0}, NO_EQUITY),
        ({"debt": np.nan}, NO_DEBT),
        ({"debt": -1.0}, NO_DEBT),
        ({"rate": np.inf}, NO_RATE),
        ({"equity": np.nan, "rate": np.nan}, FEW_DAYS),
    ],
)
def test_a_window_without_usable_days_names_the_column_at_fault(
    useless: dict[str, float], why: int
) -> None:
    made = firm(504, 0.3, 0.5, seed=16)
    days = {"equity": made["equity"].copy(), "debt": np.full(504, 3.0), "rate": np.full(504, 0.03)}
    for name, value in useless.items():
        days[name][300:] = value
    found = distance_to_default(days["equity"], days["debt"], days["rate"], 1.0)
    assert found.why.tolist() == [0, why]


def test_a_firm_of_few_days_is_not_blamed_on_a_column() -> None:
    equity = np.array([5.0, np.nan, 5.1, 5.2])
    assert one_status(distance_to_default(equity, 3.0, 0.03, 1.0)) == (1, FEW_DAYS)


def test_a_series_shorter_than_a_window_is_one_window() -> None:
    made = firm(200, 0.3, 0.5, seed=15)
    found = distance_to_default(made["equity"], made["debt"], 0.03, 1.0)
    assert found.days.tolist() == [200.0]
    assert found.status[0] == Status.ok
    assert one_status(distance_to_default([5.0], 3.0, 0.03, 1.0)) == (1, FEW_DAYS)
    assert distance_to_default(np.empty((0, 252)), 3.0, 0.03, 1.0).status.shape == (0, 1)


def test_a_window_that_no_machine_holds_is_one_of_too_few_days() -> None:
    days = np.exp(0.01 * rng(1).standard_normal(20))
    found = distance_to_default(days, 1.0, 0.05, 1.0, window=2**31 - 1)
    assert one_status(found) == (1, FEW_DAYS)


def test_reasons_are_said_of_all_that_is_not_ok() -> None:
    assert set(REASONS) == {NOT_CONVERGED, FEW_DAYS, STILL, SLOW, NO_EQUITY, NO_DEBT, NO_RATE}


def test_estimates_do_not_depend_on_what_is_estimated_with_them() -> None:
    made = firm(1_000, 0.4, 0.8, seed=16)
    first = np.arange(0, 740, 10)
    days = (made["equity"], made["debt"], np.full(1_000, 0.03))
    horizon = np.linspace(1.0, 5.0, len(first))
    whole = estimate_windows(*days, first, first + 252, horizon, 252, workers=2)
    for i in (0, 31, 73):
        alone = estimate_windows(
            *days, first[i : i + 1], first[i : i + 1] + 252, horizon[i : i + 1], 252
        )
        for name in (*MEASURES, "error"):
            assert getattr(alone, name)[0] == getattr(whole, name)[i]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"horizon": 0.0}, "horizon: must be positive and finite, got 0.0"),
        ({"horizon": [[1.0]]}, "horizon: must be a number or a list of them"),
        ({"window": 2}, "window: must be at least 3, got 2"),
        ({"window": 252.0}, "window: must be a whole number of days, got 252.0"),
        ({"step": 0}, "step: must be at least 1, got 0"),
        ({"equity_series": 5.0}, "equity_series: must be of shape"),
        (
            {"equity_series": np.empty((3, 0))},
            "equity_series: must have a day at least, got",
        ),
        ({"debt_series": np.ones((3, 300))}, "equity_series: must be of shape"),
        ({"rate": "low"}, "rate: must be a number or an array of numbers, got 'low'"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {
        "equity_series": np.ones(300), "debt_series": 1.0, "rate": 0.03, "horizon": 1.0
    }  # fmt: skip
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        distance_to_default(**(usual | given))


def test_the_module_comes_with_the_package_but_no_compiler_does() -> None:
    code = (
        "import sys, pricer; assert 'pricer.merton' not in sys.modules;"
        " pricer.merton.implied_assets; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_textbooks_example_is_met() -> None:
    # Hull, Options, Futures, and Other Derivatives, "Using equity prices to estimate default
    # probabilities": equity 3, its vol 80 %,
    # debt 10 due in a year, rate 5 %: V = 12.40, sigma 21.23 %, chance of default 12.7 %.
    value = implied_assets(3.0, 10.0, 0.05, 1.0, 0.2123).asset_value
    assert value == pytest.approx(12.40, abs=0.005)
    d2 = (log(value / 10.0) + 0.05 - 0.5 * 0.2123**2) / 0.2123
    assert 0.5 * (1.0 - erf(d2 / sqrt(2.0))) == pytest.approx(0.127, abs=0.0005)
