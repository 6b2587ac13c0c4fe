"""Vols implied by European prices: round trips, mpmath's prices, bounds, and bad quotes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from pricer.compiled import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int8]
    Options = dict[str, NDArray[Any]]

(black_scholes,) = kernels("black_scholes")  # sets up numba before the module below imports it

from pricer.kernels import implied  # noqa: E402
from pricer.kernels.implied import (  # noqa: E402
    ABOVE,
    BAD_INPUT,
    BELOW,
    NO_TIME_VALUE,
    OK,
)

COUNT = 20_000
EPSILON = 2.0**-52
NAMES = ("theta", "S", "K", "T", "r", "q")


def prices(options: Options, sigma: Floats) -> tuple[Floats, Floats]:
    """Return prices and vegas by the closed form."""
    theta, *inputs = (options[name] for name in NAMES)
    out = np.empty((8, len(theta)))
    black_scholes.closed_form(theta, np.zeros_like(theta), *inputs, sigma, out)
    return out[0], out[3]


def imply(options: Options, price: Floats) -> tuple[Floats, Codes]:
    vol, code = np.empty(len(price)), np.empty(len(price), np.int8)
    theta, S, K, T, r, q = (options[name] for name in NAMES)
    implied.european_vol(theta, S, K, T, r, q, price, vol, code)
    return vol, code


def one(
    theta: int = 1,
    price: float = 10.0,
    S: float = 100.0,
    K: float = 100.0,
    T: float = 1.0,
    r: float = 0.05,
    q: float = 0.02,
) -> tuple[float, int]:
    options: Options = {"theta": np.array([theta], np.int8)}
    options |= {name: np.array([x]) for name, x in zip("SKTrq", (S, K, T, r, q), strict=True)}
    vol, code = imply(options, np.array([price]))
    return float(vol[0]), int(code[0])


def legs(options: Options) -> tuple[Floats, Floats]:
    """Return the discounted spot and strike."""
    T = options["T"]
    return options["S"] * np.exp(-options["q"] * T), options["K"] * np.exp(-options["r"] * T)


def extreme(seed: int) -> tuple[Options, Floats]:
    """Return options and vols: an hour to 50 years, vol 1e-3 to 5, strikes 30 times off."""
    random = np.random.default_rng(seed)
    S = 10 ** random.uniform(-2, 4, COUNT)
    options = {
        "theta": random.choice(np.array([-1, 1], np.int8), COUNT),
        "S": S,
        "K": S * 10 ** random.uniform(-1.5, 1.5, COUNT),
        "T": 10 ** random.uniform(-4, math.log10(50), COUNT),
        "r": random.uniform(-0.05, 0.2, COUNT),
        "q": random.uniform(-0.05, 0.2, COUNT),
    }
    return options, 10 ** random.uniform(-3, math.log10(5), COUNT)


def in_reach(seed: int) -> tuple[Options, Floats]:
    """Return the same with strikes within a few standard deviations, some hardly off the money."""
    options, sigma = extreme(seed)
    random = np.random.default_rng(seed + 1)
    off = 10 ** random.uniform(-14, 0.8, COUNT) * random.choice([-1.0, 1.0], COUNT)
    drift = (options["r"] - options["q"]) * options["T"]
    strike = options["S"] * np.exp(drift + off * sigma * np.sqrt(options["T"]))
    return options | {"K": strike}, sigma


def out_of_the_money(options: Options) -> Options:
    s, k = legs(options)
    return options | {"theta": np.where(s < k, 1, -1).astype(np.int8)}


@pytest.mark.parametrize("sample", [extreme(1), in_reach(2)], ids=["extreme", "in reach"])
def test_prices_make_the_round_trip(sample: tuple[Options, Floats]) -> None:
    options, sigma = sample
    price, _ = prices(options, sigma)
    vol, code = imply(options, price)
    ok = code == OK
    assert ok.sum() > 0.3 * COUNT
    again, _ = prices(options, np.where(ok, vol, 1.0))
    s, k = legs(options)
    assert (np.abs(again - price) <= 8 * EPSILON * (s + k))[ok].all()
    assert np.isnan(vol[~ok]).all()


@pytest.mark.parametrize("sample", [extreme(3), in_reach(4)], ids=["extreme", "in reach"])
def test_the_value_out_of_the_money_makes_it_to_twelve_digits(
    sample: tuple[Options, Floats],
) -> None:
    options, sigma = out_of_the_money(sample[0]), sample[1]
    price, _ = prices(options, sigma)
    vol, code = imply(options, price)
    ok = (code == OK) & (price > 1e-290)
    assert ok.sum() > 0.3 * COUNT
    again, _ = prices(options, np.where(ok, vol, 1.0))
    assert (np.abs(again - price) <= 1e-12 * price)[ok].all()


@pytest.mark.parametrize("sample", [extreme(5), in_reach(6)], ids=["extreme", "in reach"])
def test_vols_make_it_to_twelve_digits_where_the_price_has_them(
    sample: tuple[Options, Floats],
) -> None:
    options, sigma = sample
    price, vega = prices(options, sigma)
    vol, code = imply(options, price)
    s, k = legs(options)
    # What a few roundings of the price and of its two legs move the vol by.
    moved = 8 * EPSILON * np.where(options["theta"] * (s - k) > 0, s + k, price)
    told = (code == OK) & (price > 1e-290) & (moved < 1e-12 * vega * sigma)
    assert told.sum() > 0.2 * COUNT
    assert (np.abs(vol - sigma) <= 1e-12 * sigma)[told].all()


def test_vols_agree_with_prices_by_mpmath() -> None:
    options, sigma = in_reach(7)
    options = out_of_the_money(options)
    exact = np.empty(400)
    with mpmath.workdps(60):
        for i in range(len(exact)):
            theta, S, K, T, r, q = (mpmath.mpf(float(options[name][i])) for name in NAMES)
            total = mpmath.mpf(float(sigma[i])) * mpmath.sqrt(T)
            d1 = (mpmath.log(S / K) + (r - q) * T) / total + total / 2
            asset = S * mpmath.exp(-q * T) * mpmath.ncdf(theta * d1)
            cash = K * mpmath.exp(-r * T) * mpmath.ncdf(theta * (d1 - total))
            exact[i] = float(theta * (asset - cash))
    some = {name: column[: len(exact)] for name, column in options.items()}
    vol, code = imply(some, exact)
    _, vega = prices(some, sigma[: len(exact)])
    told = (code == OK) & (8 * EPSILON * exact < 1e-12 * vega * sigma[: len(exact)])
    assert told.sum() > 300
    assert vol[told] == pytest.approx(sigma[: len(exact)][told], rel=1e-12)


@pytest.mark.parametrize("price", [1e-300, 1e-100, 1e-9, 1.0, 49.0, 99.0, 99.999999])
def test_at_the_money_the_vol_is_an_inverse_normal(price: float) -> None:
    vol, code = one(price=price, r=0.0, q=0.0)
    assert code == OK
    with mpmath.workdps(40):
        fraction = mpmath.mpf(price) / 100
        exact = 2 * mpmath.sqrt(2) * mpmath.erfinv(fraction)
    # What the price's own last place leaves undetermined, and roundings.
    room = 1e-15 + EPSILON * price / (40 * math.exp(-vol * vol / 8) * vol)
    assert vol == pytest.approx(float(exact), rel=room)


@pytest.mark.parametrize("theta", [-1, 1])
@pytest.mark.parametrize("K", [60.0, 150.0])
def test_a_price_beyond_a_bound_is_told_from_one_without_time_value(theta: int, K: float) -> None:
    s, k = 100 * math.exp(-0.02), K * math.exp(-0.05)
    intrinsic, bound = max(theta * (s - k), 0.0), s if theta > 0 else k
    assert one(theta, intrinsic + 1e-9, K=K)[1] == OK
    assert one(theta, bound - 1e-9, K=K)[1] == OK
    for price, code in (
        (intrinsic, NO_TIME_VALUE),
        (intrinsic - 1e-9, BELOW),
        (bound + 1e-9, ABOVE),
        (1e9, ABOVE),
    ):
        assert one(theta, price, K=K)[1] == code
        assert math.isnan(one(theta, price, K=K)[0])


def test_roundings_of_an_intrinsic_value_are_no_time_value() -> None:
    options, _ = extreme(8)
    s, k = legs(options)
    intrinsic = options["theta"] * (s - k)
    inside = intrinsic > 0
    for price in (intrinsic, np.nextafter(intrinsic, np.inf), np.nextafter(intrinsic, 0)):
        _, code = imply(options, price)
        assert (code[inside] == NO_TIME_VALUE).all()


@pytest.mark.parametrize("name", ["price", *NAMES[1:]])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_bad_input(name: str, bad: float) -> None:
    vol, code = one(**{name: bad})  # type: ignore[arg-type]
    assert code == BAD_INPUT
    assert math.isnan(vol)


@pytest.mark.parametrize("name", ["S", "K", "T"])
@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_what_must_be_positive_is_bad_input_otherwise(name: str, bad: float) -> None:
    assert one(**{name: bad})[1] == BAD_INPUT  # type: ignore[arg-type]


def test_an_answer_does_not_depend_on_company_or_place() -> None:
    options, sigma = in_reach(9)
    price, _ = prices(options, sigma)
    price[::7] = math.nan
    price[1::7] = 0.0
    vol, code = imply(options, price)
    order = np.random.default_rng(10).permutation(COUNT)
    shuffled = {name: column[order] for name, column in options.items()}
    again, why = imply(shuffled, price[order])
    np.testing.assert_array_equal(again, vol[order])
    np.testing.assert_array_equal(why, code[order])
    for count in range(1, 18):
        part = {name: column[:count].copy() for name, column in options.items()}
        alone, _ = imply(part, price[:count].copy())
        np.testing.assert_array_equal(alone, vol[:count])
