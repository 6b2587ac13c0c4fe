"""The closed form against mpmath at 60 digits, and its exact limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

import pricer
from pricer import MEASURES, Market, Vanilla

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Options = dict[str, NDArray[Any]]

COUNT = 1500
LEAST_PRICE = 1e-100
CONTRACT = ("right", "strike", "expiry")
MARKET = ("spot", "vol", "rate", "dividend_yield")


def priced(options: Options, **settings: Any) -> pricer.Prices:
    world: dict[str, Any] = {name: options[name] for name in MARKET}
    contract = Vanilla(**{name: options[name] for name in CONTRACT})
    return pricer.price(contract, Market(**world), **settings)


def one(
    right: str, spot: float, strike: float, expiry: float, vol: float, rate: float, dividend: float,
    exercise: str = "european",
) -> pricer.Prices:  # fmt: skip
    return pricer.price(
        Vanilla(right=right, strike=strike, expiry=expiry, exercise=exercise),
        Market(spot=spot, vol=vol, rate=rate, dividend_yield=dividend),
    )


def exact(right: str, **given: float) -> dict[str, tuple[float, float]]:
    """Return each measure and the size that its error is compared with, by mpmath."""
    sign = 1 if right == "call" else -1
    with mpmath.workdps(60):
        S, K, T, sigma, r, q = (mpmath.mpf(float(given[name])) for name in (
            "spot", "strike", "expiry", "vol", "rate", "dividend_yield",
        ))  # fmt: skip
        total = sigma * mpmath.sqrt(T)
        d1 = (mpmath.log(S / K) + (r - q) * T) / total + total / 2
        d2 = d1 - total
        s, k = S * mpmath.exp(-q * T), K * mpmath.exp(-r * T)
        n1, n2 = (mpmath.erfc(-sign * d / mpmath.sqrt(2)) / 2 for d in (d1, d2))
        price = sign * (s * n1 - k * n2)
        density = mpmath.npdf(d1)
        parts = (sign * q * s * n1, -sign * r * k * n2, -s * density * sigma / (2 * mpmath.sqrt(T)))
        values = {
            "price": price,
            "delta": sign * mpmath.exp(-q * T) * n1,
            "gamma": mpmath.exp(-q * T) * density / (S * total),
            "vega": s * density * mpmath.sqrt(T),
            "theta": sum(parts),
            "rho": sign * T * k * n2,
            "dividend_rho": -sign * T * s * n1,
        }
        sizes = {name: abs(value) for name, value in values.items()}
        sizes["theta"] = sum(abs(part) for part in parts)
        return {name: (value, sizes[name]) for name, value in values.items()}


def wide(seed: int) -> Options:
    """Return options of all sorts: half an hour to a century, vol 0.3 % to 600 %."""
    random = np.random.default_rng(seed)
    spot = 10 ** random.uniform(-2, 3, COUNT)
    return {
        "right": random.choice(["call", "put"], COUNT),
        "spot": spot,
        "strike": spot * 10 ** random.uniform(-1.5, 1.5, COUNT),
        "expiry": 10 ** random.uniform(-4, 2, COUNT),
        "vol": 10 ** random.uniform(-2.5, 0.8, COUNT),
        "rate": random.uniform(-0.05, 0.2, COUNT),
        "dividend_yield": random.uniform(-0.05, 0.2, COUNT),
    }


def near_the_money(seed: int) -> Options:
    """Return options within six standard deviations of the money."""
    options = wide(seed)
    random = np.random.default_rng(seed + 1)
    deviation = options["vol"] * np.sqrt(options["expiry"])
    drift = (options["rate"] - options["dividend_yield"]) * options["expiry"]
    strike = options["spot"] * np.exp(drift + deviation * random.uniform(-6, 6, COUNT))
    return options | {"strike": strike}


def extreme(seed: int) -> Options:
    """Return options of extreme sizes, where the price may underflow or be the whole spot."""
    random = np.random.default_rng(seed)
    return wide(seed) | {
        "spot": 10 ** random.uniform(-8, 8, COUNT),
        "strike": 10 ** random.uniform(-8, 8, COUNT),
        "expiry": 10 ** random.uniform(-6, 2.3, COUNT),
        "vol": 10 ** random.uniform(-8, 2, COUNT),
    }


@pytest.mark.parametrize("sample", [wide(1), near_the_money(2)], ids=["wide", "near the money"])
def test_every_measure_has_twelve_digits(sample: Options) -> None:
    result = priced(sample, method="analytic")
    wrong = []
    for i in range(COUNT):
        given = {name: column[i] for name, column in sample.items()}
        for name, (value, size) in exact(**given).items():
            got = getattr(result, name)[i]
            if size > LEAST_PRICE and not abs(got - value) <= 1e-12 * size:
                wrong.append((float(abs(got - value) / size), name, given))
    assert not wrong, f"{len(wrong)}, worst {max(wrong, key=lambda w: w[0])}"


@pytest.mark.parametrize(
    "sample",
    [wide(3), near_the_money(4), extreme(5)],
    ids=["wide", "near the money", "extreme"],
)
def test_the_reported_error_bounds_the_true_one(sample: Options) -> None:
    result = priced(sample, measures=("price",))
    assert result.price is not None
    assert np.isfinite(result.error).all()
    assert (result.status == 0).all()
    short = []
    for i in range(COUNT):
        given = {name: column[i] for name, column in sample.items()}
        true = abs(result.price[i] - exact(**given)["price"][0])
        # A subnormal number has no more than its last place.
        if true > result.error[i] + 5e-324:
            short.append((float(true), result.error[i], given))
    assert not short, f"{len(short)} of {COUNT}: {short[:3]}"


@pytest.mark.parametrize("sample", [wide(6), extreme(7)], ids=["wide", "extreme"])
def test_errors_are_roundings(sample: Options) -> None:
    result = priced(sample, measures=("price",))
    size = sample["spot"] * np.exp(-sample["dividend_yield"] * sample["expiry"])
    size += sample["strike"] * np.exp(-sample["rate"] * sample["expiry"])
    assert (result.error <= 1e-9 * size).all()


@pytest.mark.parametrize("right", ["call", "put"])
@pytest.mark.parametrize("exercise", ["european", "american"])
@pytest.mark.parametrize("spot", [80.0, 100.0, 125.0])
def test_an_option_at_expiry_is_its_payoff(right: str, exercise: str, spot: float) -> None:
    got = one(right, spot, 100.0, 0.0, 0.3, 0.05, 0.02, exercise)
    sign = 1 if right == "call" else -1
    payoff = max(sign * (spot - 100.0), 0.0)
    assert got.price == payoff
    assert got.delta == (sign if payoff else sign * 0.5 * (spot == 100.0))
    assert got.gamma == got.vega == got.rho == got.dividend_rho == 0.0
    assert got.error <= 1e-12
    assert got.status == 0


@pytest.mark.parametrize("rate", [-0.03, 0.0, 0.05])
@pytest.mark.parametrize("dividend", [-0.02, 0.0, 0.03])
@pytest.mark.parametrize("right", ["call", "put"])
def test_a_european_option_without_vol_is_its_discounted_payoff(
    right: str, rate: float, dividend: float
) -> None:
    sign = 1 if right == "call" else -1
    for spot in (60.0, 99.0, 180.0):
        got = one(right, spot, 100.0, 2.0, 0.0, rate, dividend)
        s, k = spot * math.exp(-2 * dividend), 100.0 * math.exp(-2 * rate)
        live = 1.0 if sign * (s - k) > 0 else 0.0
        assert got.price == pytest.approx(live * sign * (s - k), rel=1e-14, abs=1e-300)
        assert got.delta == pytest.approx(live * sign * math.exp(-2 * dividend), rel=1e-15)
        assert got.gamma == got.vega == 0.0
        assert got.theta == pytest.approx(live * sign * (dividend * s - rate * k), rel=1e-13)
        assert got.rho == pytest.approx(live * sign * 2 * k, rel=1e-14)
        assert got.dividend_rho == pytest.approx(-live * sign * 2 * s, rel=1e-14)


def test_the_price_without_vol_is_the_limit_of_small_vol() -> None:
    for right in ("call", "put"):
        for spot in (70.0, 95.0, 130.0):
            tiny = one(right, spot, 100.0, 1.0, 1e-8, 0.05, 0.02)
            none = one(right, spot, 100.0, 1.0, 0.0, 0.05, 0.02)
            for name in MEASURES:
                assert getattr(tiny, name) == pytest.approx(
                    getattr(none, name), rel=1e-12, abs=1e-12
                )


def test_no_spot_or_no_strike_leaves_one_leg() -> None:
    for exercise in ("european", "american"):
        call = one("call", 0.0, 100.0, 2.0, 0.3, 0.05, 0.02, exercise)
        assert call.price == call.delta == call.gamma == call.vega == call.theta == call.rho == 0.0
        put = one("put", 100.0, 0.0, 2.0, 0.3, 0.05, 0.02, exercise)
        assert put.price == put.delta == put.gamma == put.vega == put.theta == put.rho == 0.0
        both = one("put", 0.0, 0.0, 2.0, 0.3, 0.05, 0.02, exercise)
        assert both.price == 0.0
    put = one("put", 0.0, 100.0, 2.0, 0.3, 0.05, 0.02)
    assert put.price == pytest.approx(100 * math.exp(-0.1), rel=1e-15)
    assert put.delta == pytest.approx(-math.exp(-0.04), rel=1e-15)
    assert put.theta == pytest.approx(5 * math.exp(-0.1), rel=1e-15)
    call = one("call", 100.0, 0.0, 2.0, 0.3, 0.05, 0.02)
    assert call.price == pytest.approx(100 * math.exp(-0.04), rel=1e-15)
    assert call.delta == pytest.approx(math.exp(-0.04), rel=1e-15)
    assert one("put", 0.0, 100.0, 2.0, 0.3, 0.05, 0.02, "american").price == 100.0
    assert one("call", 100.0, 0.0, 2.0, 0.3, 0.05, 0.02, "american").price == 100.0


@pytest.mark.parametrize("rate", [-0.04, 0.0, 0.01, 0.08])
@pytest.mark.parametrize("dividend", [-0.03, 0.0, 0.02, 0.5])
@pytest.mark.parametrize("right", ["call", "put"])
def test_an_american_option_without_vol_takes_the_best_time(
    right: str, rate: float, dividend: float
) -> None:
    sign = 1 if right == "call" else -1
    times = np.linspace(0.0, 40.0, 400_001)
    for spot in (50.0, 100.0, 120.0, 400.0):
        values = sign * (spot * np.exp(-dividend * times) - 100.0 * np.exp(-rate * times))
        got = one(right, spot, 100.0, 40.0, 0.0, rate, dividend, "american")
        assert got.price == pytest.approx(max(values.max(), 0.0), rel=1e-8, abs=1e-12)
        assert got.price >= max(sign * (spot - 100.0), 0.0)
        assert got.error <= 1e-12 * max(float(got.price or 0), spot, 100.0) * math.exp(2.4)


def test_greeks_of_an_american_option_without_vol_are_derivatives_of_its_price() -> None:
    # The put is exercised between now and expiry, at ln(rK / qS) / (r - q).
    inputs = {"spot": 100.0, "strike": 120.0, "expiry": 40.0, "rate": 0.01, "dividend": 0.5}

    def price(**changes: float) -> float:
        return float(one("put", vol=0.0, exercise="american", **(inputs | changes)).price or 0)

    got = one("put", vol=0.0, exercise="american", **inputs)
    for name, axis in (("delta", "spot"), ("rho", "rate"), ("dividend_rho", "dividend")):
        step = 1e-5 * inputs[axis]
        slope = (price(**{axis: inputs[axis] + step}) - price(**{axis: inputs[axis] - step})) / 2
        assert getattr(got, name) == pytest.approx(slope / step, rel=1e-6)
    second = price(spot=101.0) - 2 * price() + price(spot=99.0)
    assert got.gamma == pytest.approx(second, rel=1e-3)
    assert got.theta == 0.0  # a longer life changes nothing


def test_american_options_that_are_never_exercised_early_are_european() -> None:
    for right, rate, dividend in (("call", 0.05, 0.0), ("call", 0.05, -0.01), ("put", -0.01, 0.02)):
        american = one(right, 100.0, 110.0, 1.0, 0.3, rate, dividend, "american")
        european = one(right, 100.0, 110.0, 1.0, 0.3, rate, dividend)
        for name in (*MEASURES, "error"):
            assert getattr(american, name) == getattr(european, name)
        assert american.method == 1


def test_a_value_does_not_depend_on_company_or_place() -> None:
    options = near_the_money(8)
    options["vol"][::5] = 0.0
    options["expiry"][1::9] = 0.0
    together = priced(options)
    for order in (np.random.default_rng(9).permutation(COUNT), *map(np.arange, range(1, 18))):
        part = priced({name: column[order] for name, column in options.items()})
        for name in (*MEASURES, "error"):
            np.testing.assert_array_equal(getattr(part, name), getattr(together, name)[order])
