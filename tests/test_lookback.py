"""Lookbacks watched continuously: others' values, mpmath, slopes, limits, and laws."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from math import exp, inf, isnan, nan
from pathlib import Path
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from pricer.compiled import kernels

kernels("lookback")  # sets up numba before the modules below import it

from pricer.kernels import lookback  # noqa: E402
from pricer.kernels.black_scholes import EPSILON, ROWS, european  # noqa: E402
from pricer.kernels.extremum import beyond  # noqa: E402

REFERENCE = Path(__file__).parent / "reference"


@dataclass(frozen=True)
class Claim:
    """One lookback, in the order of `lookback.Lookbacks`."""

    theta: int = 1
    floating: int = 0
    strike: float = 100.0
    participation: float = 1.0
    expiry: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    running: float = nan
    spot: float = 100.0
    vol: float = 0.2
    rate: float = 0.06
    dividend_yield: float = 0.03


CALL, PUT = Claim(), Claim(theta=-1)
CALL_ON_LOW, PUT_ON_HIGH = Claim(floating=1), Claim(theta=-1, floating=1)


def priced(of: Claim) -> dict[str, float]:
    """Return every measure and the error of a claim."""
    columns: list[Any] = [
        np.array([getattr(of, f.name)], np.int8 if f.name in ("theta", "floating") else np.float64)
        for f in fields(Claim)
    ]
    out = np.empty((len(ROWS), 1))
    lookback.closed_form(lookback.Lookbacks(*columns), out)
    return dict(zip(ROWS, out[:, 0].tolist(), strict=True))


def varied(of: Claim, **by: float) -> Claim:
    """Return a claim with some of its inputs moved."""
    change: Any = {name: getattr(of, name) + step for name, step in by.items()}
    return replace(of, **change)


# Others' values


def test_prices_are_those_of_haug() -> None:
    data = json.loads((REFERENCE / "lookback.json").read_text(encoding="utf-8"))
    chosen = [case for case in data["cases"] if case["monitoring"] == "continuous"]
    assert len(chosen) > 35
    for case in chosen:
        extremum = case["running_extremum"]
        floating = "floating" in case["lookback_type"]
        of = Claim(
            theta=1 if case["right"] == "call" else -1,
            floating=int(floating),
            strike=nan if floating else case["strike"],
            participation=case.get("lambda_", 1.0),
            expiry=case["expiry_years"],
            start=case.get("lookback_start_years", 0.0),
            stop=case.get("lookback_end_years", case["expiry_years"]),
            running=nan if extremum is None else extremum,
            spot=case["spot"],
            vol=case["vol"],
            rate=case["rate"],
            dividend_yield=case["dividend"],
        )
        got = priced(of)
        assert got["price"] == pytest.approx(case["expected"], abs=case["tolerance"]), case["id"]
        assert got["price"] == pytest.approx(case["verified_value"], abs=1e-9), case["id"]
        assert got["error"] < 1e-11


# mpmath


def normal(z: Any) -> Any:
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def reached(side: int, S: Any, K: Any, T: Any, r: Any, q: Any, sigma: Any) -> Any:
    """Return what the extremum is beyond K, as Conze and Viswanathan have it."""
    carry = r - q
    if abs(carry) < mpmath.mpf(10) ** -18:
        carry = mpmath.mpf(10) ** -18
    w = sigma * mpmath.sqrt(T)
    d1 = (mpmath.log(S / K) + (carry + sigma**2 / 2) * T) / w
    growth, discount = mpmath.exp(carry * T), mpmath.exp(-r * T)
    vanilla = side * (S * growth * normal(side * d1) - K * normal(side * (d1 - w)))
    image = (K / S) ** (2 * carry / sigma**2)
    turned = normal(side * (d1 - 2 * carry * mpmath.sqrt(T) / sigma))
    rest = sigma**2 / (2 * carry) * (growth * normal(side * d1) - image * turned)
    return discount * (vanilla + side * S * rest)


def wide(count: int) -> list[tuple[float, ...]]:
    """Return inputs of `extremum.beyond` of all sorts, many with hardly any cost of carry."""
    random = np.random.default_rng(11)
    found: list[tuple[float, ...]] = []
    for _ in range(count):
        side = float(random.choice([-1.0, 1.0]))
        T, sigma = 10 ** random.uniform(-2, 1.5), 10 ** random.uniform(-2, 0.3)
        S = 10 ** random.uniform(0, 3)
        distance = random.choice([0.0, random.uniform(0, 6)])
        K = S * np.exp(side * sigma * np.sqrt(T) * distance)
        r = random.uniform(-0.1, 0.2)
        carry = random.choice([0.0, 1e-12, 1e-8, 1e-4, random.uniform(-0.2, 0.2)])
        found.append(tuple(map(float, (side, S, K, T, r, r - carry, sigma))))
    return found


def test_the_reported_rounding_bounds_the_true_one() -> None:
    for given in wide(600):
        with mpmath.workdps(60):
            truth = reached(int(given[0]), *map(mpmath.mpf, given[1:]))
            got = beyond(*given)
            assert abs(got[0] - truth) <= EPSILON * got[5] + 5e-324, given
        forward = given[1] * (exp(-given[5] * given[3]) + exp(-given[4] * given[3]))
        assert EPSILON * got[5] <= 1e-11 * forward


def test_derivatives_have_eleven_digits() -> None:
    for given in wide(80):
        side, S, _, T, r, q, sigma = given
        with mpmath.workdps(80):
            step = mpmath.mpf(10) ** -15
            exact = [mpmath.mpf(x) for x in given[1:]]

            def price(
                place: int = 0, factor: Any = 1, by: Any = 0, exact: Any = exact, side: float = side
            ) -> Any:
                moved = [*exact]
                moved[place] = moved[place] * factor + by
                return reached(int(side), *moved)

            up, here, down = price(0, 1 + step), price(), price(0, 1 - step)
            unit, w = S * exp(-q * T) + S * exp(-r * T), sigma * T**0.5
            truths = (
                ((up - down) / 2, unit),
                ((up - 2 * here + down) / step, unit / min(w, 1.0)),
                ((price(5, by=step) - price(5, by=-step)) / 2, unit * T**0.5),
                ((price(4, by=-step) - price(4, by=step)) / 2, unit * T),
            )
            for value, (truth, size) in zip(beyond(*given)[1:5], truths, strict=True):
                assert abs(value - truth / step) <= 1e-11 * size * (1 + w), given


WINDOWS = {
    "forward window": Claim(strike=105.0, start=0.3),
    "forward window, put, no carry": Claim(theta=-1, strike=97.0, start=0.6, dividend_yield=0.06),
    "short forward window": Claim(strike=101.0, start=0.9999),
    "early window": Claim(floating=1, stop=0.4, running=96.0),
    "early window, put": Claim(theta=-1, floating=1, stop=0.25, participation=0.95),
    "early window that all but ends at expiry": Claim(floating=1, stop=0.99999, participation=1.02),
    "a share of the maximum": Claim(theta=-1, floating=1, participation=1.1, running=110.0),
}


def waiting(of: Claim) -> Any:
    """Price a fixed strike whose window begins later, from the spot that it begins with."""
    S, K, T, t, sigma, r, q = (
        mpmath.mpf(x)
        for x in (of.spot, of.strike, of.stop, of.start, of.vol, of.rate, of.dividend_yield)
    )
    w, left = sigma * mpmath.sqrt(t), T - t

    def value(z: Any) -> Any:
        there = S * mpmath.exp((r - q - sigma**2 / 2) * t + w * z)
        over = of.theta * (there - K)
        won = mpmath.exp(-r * left) * over if over > 0 else 0
        return mpmath.npdf(z) * (
            won + reached(of.theta, there, there if over > 0 else K, left, r, q, sigma)
        )

    bend = (mpmath.log(K / S) - (r - q - sigma**2 / 2) * t) / w
    cuts = [bend + j * mpmath.sqrt(left / t) for j in (-8, -2, 0, 2, 8)]
    ends = sorted({-12, 12, -4, 0, 4} | {z for z in cuts if abs(z) < 12})
    return mpmath.exp(-r * t) * mpmath.quad(value, ends)


def ended(of: Claim) -> Any:
    """Price a floating strike as an option on the extremum and the spot of the window's end.

    Under the strike that is now, and for every extremum beyond, the chance that it is passed and
    the option exercised: over the spot at the window's end, by reflection.
    """
    side = -of.theta
    S, share, T, t, sigma, r, q = (
        mpmath.mpf(x)
        for x in (of.spot, of.participation, of.expiry, of.stop, of.vol, of.rate, of.dividend_yield)
    )
    extremum = S if isnan(of.running) else mpmath.mpf(of.running)
    drift = r - q - sigma**2 / 2
    w, rest = sigma * mpmath.sqrt(t), sigma * mpmath.sqrt(T - t)
    log_share = mpmath.log(share)
    tilt = side * drift

    def exercised(level: Any, at: Any) -> Any:
        # side (share M - S_T) > 0, where M is e^level and the spot is at `at`.
        gap = level + side * log_share - at - tilt * (T - t)
        if rest == 0:
            return mpmath.mpf(gap > 0)
        return normal(gap / rest)

    nodes, weights = np.polynomial.legendre.leggauss(60)

    def chance(level: Any) -> Any:
        """Return the chance to pass `level` and be exercised, the spot seen from its side."""
        total = mpmath.mpf(0)
        ends = [level + j * w for j in (-9, -3, 0, 3, 9)]
        for a, b in pairwise(ends):
            image = a < level
            for node, weight in zip(nodes, weights, strict=True):
                at = (a + b) / 2 + (b - a) / 2 * node
                mean = tilt * t + (2 * level if image else 0)
                density = mpmath.npdf((at - mean) / w) / w
                if image:
                    density *= mpmath.exp(2 * tilt * level / sigma**2)
                total += (b - a) / 2 * weight * density * exercised(level, at)
        return total

    begin = side * mpmath.log(extremum / S)
    total = mpmath.mpf(0)
    for a, b in ((begin, begin + 2 * w), (begin + 2 * w, begin + 9 * w)):
        for node, weight in zip(*np.polynomial.legendre.leggauss(30), strict=True):
            level = (a + b) / 2 + (b - a) / 2 * node
            total += (b - a) / 2 * weight * mpmath.exp(side * level) * chance(level)
    row = european(-side, float(S), float(share * extremum), of.expiry, of.rate,
                   of.dividend_yield, of.vol)  # fmt: skip
    return row[0] + share * S * mpmath.exp(-r * T) * total


def test_windows_to_come_are_priced_as_by_integration() -> None:
    for of in (claim for claim in WINDOWS.values() if not claim.floating):
        with mpmath.workdps(35):
            got = priced(of)
            assert abs(got["price"] - waiting(of)) <= got["error"] < 1e-11, of


@pytest.mark.parametrize(
    "of",
    [
        Claim(floating=1, stop=0.4, running=96.0, participation=1.05),
        Claim(theta=-1, floating=1, stop=0.6, participation=0.9, dividend_yield=0.06),
    ],
)
def test_windows_that_end_early_are_priced_as_by_reflection(of: Claim) -> None:
    with mpmath.workdps(17):
        assert priced(of)["price"] == pytest.approx(float(ended(of)), rel=1e-9)


# Greeks


def after(of: Claim, by: float) -> Claim:
    """Return the same claim a moment later, its spot where it was."""
    then = varied(of, expiry=-by, stop=-min(by, of.stop), start=-min(by, of.start))
    if of.start > 0:
        return then
    sided = of.theta * (-1 if of.floating else 1)
    seen = of.spot if isnan(of.running) else sided * max(sided * of.spot, sided * of.running)
    return replace(then, running=seen)


CLAIMS = WINDOWS | {
    "call": replace(CALL, strike=110.0),
    "call in the money": replace(CALL, strike=80.0),
    "call, seasoned": replace(CALL, strike=95.0, running=120.0),
    "call, paid late": replace(CALL, strike=95.0, stop=0.6),
    "put": replace(PUT, strike=90.0, running=97.0),
    "put, without carry": replace(PUT, strike=90.0, dividend_yield=0.06),
    "call on the low": CALL_ON_LOW,
    "call on the low, seasoned": replace(CALL_ON_LOW, running=88.0),
    "put on the high, seasoned": replace(PUT_ON_HIGH, running=125.0, dividend_yield=0.06),
    "window over": replace(CALL_ON_LOW, stop=0.0, running=90.0),
    "forward window, floating": replace(CALL_ON_LOW, start=0.2, stop=0.7, participation=0.97),
    "forward window, with an extremum": replace(CALL, start=0.2, stop=0.8, running=104.0),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_greeks_are_slopes_of_the_price(name: str) -> None:
    of = CLAIMS[name]
    got = priced(of)
    step, h = 1e-5, 0.01
    for measure, field in (("vega", "vol"), ("rho", "rate"), ("dividend_rho", "dividend_yield")):
        up, down = (priced(varied(of, **{field: sign * step}))["price"] for sign in (1, -1))
        assert got[measure] == pytest.approx((up - down) / (2 * step), abs=3e-6), measure
    above, below = (priced(varied(of, spot=sign * h)) for sign in (1, -1))
    assert got["delta"] == pytest.approx((above["price"] - below["price"]) / (2 * h), abs=1e-6)
    assert got["gamma"] == pytest.approx((above["delta"] - below["delta"]) / (2 * h), abs=1e-6)
    late = [priced(after(of, k * step / 10))["price"] for k in (1, 2)]
    slope = (4 * late[0] - late[1] - 3 * got["price"]) / (2 * step / 10)
    assert got["theta"] == pytest.approx(slope, abs=2e-5)


def test_gamma_is_the_mean_of_both_sides_where_the_spot_meets_the_extremum() -> None:
    of = replace(CALL_ON_LOW, running=100.0)
    got = priced(of)
    beside = priced(varied(of, running=-1e-7))
    assert got["gamma"] == pytest.approx(0.5 * beside["gamma"], rel=1e-6)
    assert got["price"] == pytest.approx(beside["price"], abs=1e-9)
    assert got["delta"] == pytest.approx(beside["delta"], abs=1e-8)


# Laws


@pytest.mark.parametrize("name", ["call on the low, seasoned", *WINDOWS])
def test_prices_pass_smoothly_through_zero_cost_of_carry(name: str) -> None:
    of = CLAIMS[name]

    def at(carry: float) -> dict[str, float]:
        return priced(replace(of, dividend_yield=of.rate - carry))

    here = at(0.0)
    for carry in (1e-12, 1e-8, -1e-8):
        moved = at(carry)["price"] - here["price"]
        assert moved == pytest.approx(-carry * here["dividend_rho"], abs=1e-12)
        assert at(carry)["dividend_rho"] == pytest.approx(here["dividend_rho"], abs=1e-5)
    up, down = at(1e-4)["price"], at(-1e-4)["price"]
    assert up - down == pytest.approx(-2e-4 * here["dividend_rho"], abs=1e-7)
    assert up + down - 2 * here["price"] == pytest.approx(0.0, abs=1e-5)


def test_a_share_of_one_of_all_the_life_is_the_plain_lookback() -> None:
    for plain in (CALL_ON_LOW, PUT_ON_HIGH, replace(PUT_ON_HIGH, running=120.0)):
        whole = priced(plain)
        nearly = priced(varied(plain, participation=1e-15 if plain.theta > 0 else -1e-15))
        for measure in ROWS[:7]:
            assert nearly[measure] == pytest.approx(whole[measure], rel=1e-9, abs=1e-12), measure


def test_a_floating_call_and_a_fixed_put_differ_by_a_forward() -> None:
    low = replace(CALL_ON_LOW, running=90.0)
    put = replace(PUT, strike=90.0)
    forward = 100 * exp(-0.03) - 90 * exp(-0.06)
    assert priced(low)["price"] - priced(put)["price"] == pytest.approx(forward, rel=1e-13)


def test_a_window_worth_nothing_leaves_a_vanilla() -> None:
    vanilla = european(1.0, 100.0, 100.0, 1.0, 0.06, 0.03, 0.2)
    at_expiry = priced(replace(CALL, start=1.0))
    assert list(at_expiry.values())[:7] == pytest.approx(vanilla[:7], rel=1e-12)
    of_now = priced(replace(CALL_ON_LOW, stop=0.0, running=inf, participation=1.1))
    struck = european(1.0, 100.0, 110.0, 1.0, 0.06, 0.03, 0.2)
    assert of_now["price"] == pytest.approx(struck[0], rel=1e-13)
    assert of_now["delta"] == pytest.approx(struck[0] / 100, rel=1e-13)
    assert of_now["theta"] == pytest.approx(struck[4], rel=1e-12)


def test_a_longer_window_is_worth_more() -> None:
    for of in (CALL, PUT, CALL_ON_LOW, PUT_ON_HIGH):
        prices = [priced(replace(of, stop=stop))["price"] for stop in (0.0, 0.2, 0.5, 0.9, 1.0)]
        assert prices == sorted(prices)
    prices = [priced(replace(CALL, start=start))["price"] for start in (1.0, 0.9, 0.5, 0.1, 0.0)]
    assert prices == sorted(prices)


# Limits


def test_at_expiry_it_is_worth_what_it_pays() -> None:
    over = {"expiry": 0.0, "stop": 0.0}
    paid = {
        replace(CALL, strike=90.0): 10.0, replace(CALL, strike=90.0, running=120.0): 30.0,
        replace(PUT, running=70.0): 30.0, replace(CALL_ON_LOW, running=80.0): 20.0,
        PUT_ON_HIGH: 0.0,
    }  # fmt: skip
    for of, worth in paid.items():
        now: Any = over
        assert priced(replace(of, **now))["price"] == worth


def test_without_vol_the_spot_grows_at_the_cost_of_carry() -> None:
    end, discount = 100 * exp(0.03), exp(-0.06)
    assert priced(replace(CALL, vol=0.0))["price"] == pytest.approx((end - 100) * discount)
    assert priced(replace(PUT, vol=0.0, strike=105.0))["price"] == pytest.approx(5 * discount)
    assert priced(replace(CALL_ON_LOW, vol=0.0))["price"] == pytest.approx((end - 100) * discount)
    assert priced(replace(PUT_ON_HIGH, vol=0.0))["price"] == 0.0
    for of in CLAIMS.values():
        still, nearly = (priced(replace(of, vol=vol)) for vol in (0.0, 1e-9))
        for measure in ("price", "delta", "theta", "rho", "dividend_rho"):
            assert still[measure] == pytest.approx(nearly[measure], rel=1e-6, abs=2e-6), measure


def test_spot_strike_extremum_and_share_may_be_0() -> None:
    discount = exp(-0.06)
    assert priced(replace(CALL, spot=0.0))["price"] == 0.0
    assert priced(replace(PUT, spot=0.0))["price"] == pytest.approx(100 * discount, rel=1e-15)
    assert priced(replace(CALL_ON_LOW, spot=0.0))["price"] == 0.0
    delta = priced(replace(CALL_ON_LOW, spot=0.0))["delta"]
    assert delta == pytest.approx(priced(CALL_ON_LOW)["delta"], rel=1e-13)
    assert priced(replace(PUT, strike=0.0))["price"] == 0.0
    whole = priced(replace(CALL, strike=0.0))
    assert whole["price"] == pytest.approx(priced(CALL)["price"] + 100 * discount, rel=1e-14)
    waiting = priced(replace(CALL, strike=0.0, start=0.5))
    nearly = priced(replace(CALL, strike=1e-9, start=0.5))
    assert waiting["price"] == pytest.approx(nearly["price"], rel=1e-10)
    for free in (replace(CALL_ON_LOW, running=0.0), replace(CALL_ON_LOW, participation=0.0)):
        assert priced(free)["price"] == pytest.approx(100 * exp(-0.03), rel=1e-14)
    assert priced(replace(PUT_ON_HIGH, participation=0.0))["price"] == 0.0


def test_extreme_inputs_have_finite_answers() -> None:
    for of in CLAIMS.values():
        for change in (
            {"vol": 12.0}, {"vol": 1e-12}, {"rate": 2.0}, {"rate": -1.0, "vol": 0.01},
            {"spot": 1e-8}, {"spot": 1e8}, {"dividend_yield": 3.0, "vol": 0.02},
        ):  # fmt: skip
            inputs: Any = change
            got = priced(replace(of, **inputs))
            assert np.isfinite(list(got.values())).all(), (of, change)
            assert got["price"] >= 0.0
