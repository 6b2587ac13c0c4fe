"""Closed forms of barriers, digitals and touches: other people's values, mpmath, and laws."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, fields, replace
from math import exp, inf, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

kernels()  # sets up numba before the modules below import it

from pricer.kernels import images, knock, sines  # noqa: E402
from pricer.kernels.black_scholes import EPSILON, ROWS, european  # noqa: E402
from pricer.kernels.knock import (  # noqa: E402
    ASSET_AT_EXPIRY,
    ASSET_AT_HIT,
    CASH_AT_EXPIRY,
    CASH_AT_HIT,
    IN,
    OUT,
)

REFERENCE = Path(__file__).parent / "reference"
CODES = ("theta", "knock", "timing")
# Spots of 100 and prices of mpmath at 60 digits: less than this is noise of the difference of both.
NOISE = 1e-25


@dataclass(frozen=True)
class Claim:
    """What `knock.closed_form` prices, in its order: no barrier and no payoff unless given."""

    theta: int = 1
    alpha: float = 0.0
    beta: float = 0.0
    kink: float = 0.0
    knock: int = 0
    lower: float = 0.0
    upper: float = inf
    lower_rebate: float = 0.0
    upper_rebate: float = 0.0
    timing: int = CASH_AT_HIT
    S: float = 100.0
    T: float = 1.0
    r: float = 0.05
    q: float = 0.02
    sigma: float = 0.2


def priced(claims: Sequence[Claim]) -> dict[str, NDArray[Any]]:
    """Return every measure and the error of some claims."""
    columns = [
        np.array([getattr(c, f.name) for c in claims], np.int8 if f.name in CODES else np.float64)
        for f in fields(Claim)
    ]
    out = np.empty((len(ROWS), len(claims)))
    knock.closed_form(*columns, out)
    return dict(zip(ROWS, out, strict=True))


def one(claim: Claim) -> dict[str, float]:
    return {name: float(row[0]) for name, row in priced([claim]).items()}


def vanilla(right: str, strike: float, against: float | None = None) -> dict[str, Any]:
    theta = 1 if right == "call" else -1
    owed = strike if against is None else against
    return {"theta": theta, "alpha": float(theta), "beta": -theta * owed, "kink": strike}


# References


def claim_of(case: dict[str, Any]) -> Claim:
    """Return what a case of a reference file is."""
    terms: dict[str, Any] = {
        name: case[key]
        for name, key in (
            ("S", "spot"), ("T", "expiry_years"), ("r", "rate"), ("q", "dividend"), ("sigma", "vol")
        )
    }  # fmt: skip
    kind, right, cash = case["kind"], case.get("right"), case.get("cash", 0.0)
    asset = case.get("payoff") == "asset_or_nothing"
    paid = {"alpha": 1.0} if asset else {"beta": cash}
    rebate = 1.0 if asset else cash
    side = "upper" if right == "call" else "lower"
    match kind, case.get("barrier_type"):
        case "digital", _:
            assert case["payoff"] == "gap"
            return Claim(**vanilla(case["right"], case["strike"], case["second_strike"]), **terms)
        case "one_touch", _:
            at_hit = case["payment"] == "at_hit"
            timing = (ASSET_AT_HIT if at_hit else ASSET_AT_EXPIRY) if asset else (
                CASH_AT_HIT if at_hit else CASH_AT_EXPIRY
            )  # fmt: skip
            paid = {side: case["barrier"], f"{side}_rebate": rebate}
            return Claim(knock=OUT, timing=timing, **paid, **terms)
        case "no_touch", _:
            return Claim(knock=OUT, **paid, **{side: case["barrier"]}, **terms)
        case "double_binary", "KIKO" | "KOKI" as order:
            paid = {"lower_rebate" if order == "KIKO" else "upper_rebate": cash}
            paid |= {"lower": case["barrier_low"], "upper": case["barrier_high"]}
            return Claim(knock=OUT, **paid, **terms)
        case "double_binary" | "double_barrier", way:
            if kind == "double_barrier":
                assert case["rebate"] == 0.0
                paid = vanilla(case["right"], case["strike"])
            paid |= {"lower": case["barrier_low"], "upper": case["barrier_high"]}
            return Claim(knock=OUT if way == "KnockOut" else IN, **paid, **terms)
        case "barrier" | "binary_barrier", str(way):
            if kind == "barrier":
                paid = vanilla(case["right"], case["strike"])
                paid |= {"lower_rebate": case["rebate"], "upper_rebate": case["rebate"]}
            else:
                paid |= {"theta": 1 if right == "call" else -1, "kink": case["strike"]}
            paid["lower" if way.startswith("Down") else "upper"] = case["barrier"]
            return Claim(knock=OUT if way.endswith("Out") else IN, **paid, **terms)
    raise AssertionError(case)


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("barrier_single", 28),
        ("double_barrier", 42),
        ("digital_touch_binary", 57),
        ("barrier_discrete_bgk_1997", 5),
    ],
)
def test_prices_are_those_of_others(file: str, count: int) -> None:
    cases = [
        case
        for case in json.loads((REFERENCE / f"{file}.json").read_text(encoding="utf-8"))["cases"]
        if case.get("exercise") != "american" and case.get("monitoring") != "discrete"
    ]
    assert len(cases) == count
    result = priced([claim_of(case) for case in cases])
    for case, price, error in zip(cases, result["price"], result["error"], strict=True):
        # An approximation's better value, where there is one, was itself computed to 1e-12 or so.
        expected = case.get("high_precision", case["expected"])
        slack = 1e-9 if "high_precision" in case else case["tolerance"]
        assert abs(price - expected) <= slack, case
        assert error <= 1e-12 * case["spot"]


# mpmath


def _normal(z: Any) -> Any:
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def _between(x: Any, a: Any, b: Any, drift: Any, w: Any) -> Any:
    """Return who goes from x to between a and b (logarithms), from the smaller tail."""
    high, low = (x - a + drift) / w, (x - b + drift) / w
    return _normal(-low) - _normal(-high) if low > 0 else _normal(high) - _normal(low)


def _surviving(x: Any, a: Any, b: Any, low: Any, high: Any, drift: Any, w: Any) -> Any:
    """Return who ends between a and b having hit neither barrier, by plain images."""
    if not a < b:
        return mpmath.mpf(0)
    tilt = drift / w**2
    walls = [wall for wall in (low, high) if mpmath.isfinite(wall)]
    width = high - low if len(walls) == 2 else mpmath.inf
    total = mpmath.mpf(0)
    for shift in _shifts(width, w):
        total += mpmath.exp(tilt * shift) * _between(x + shift, a, b, drift, w)
        for wall in walls[:1]:
            shift += 2 * (wall - x)
            total -= mpmath.exp(tilt * shift) * _between(x + shift, a, b, drift, w)
    return total


def _shifts(width: Any, w: Any) -> list[Any]:
    """Return the periods of the images in a corridor, as many as 60 digits see."""
    count = int(9 * w / width) + 2 if mpmath.isfinite(width) else 0
    return [2 * j * width if j else mpmath.mpf(0) for j in range(-count, count + 1)]


def _passing(side: int, x: Any, low: Any, high: Any, drift: Any, w: Any, discount: Any) -> Any:
    """Return E[exp(-discount tau / T)] of paths that hit one barrier first, by plain images."""
    way = (x - low if side > 0 else high - x) / w
    n = mpmath.sqrt((drift / w) ** 2 + 2 * discount)
    total = mpmath.mpf(0)
    for shift in _shifts(high - low, w):
        a = way + shift / w
        far = abs(a)
        passed = mpmath.exp(-n * far) * _normal(n - far) + mpmath.exp(n * far) * _normal(-n - far)
        total += mpmath.sign(a) * passed
    return mpmath.re(mpmath.exp(-side * way * drift / w) * total)


def exact(claim: Claim, **moved: Any) -> Any:
    """Return the price of a claim that is not breached, with S, T, r, q, sigma moved if given."""
    given = {f.name: getattr(claim, f.name) for f in fields(Claim)} | moved
    S, T, r, q, sigma, alpha, beta = (
        mpmath.mpf(given[name]) for name in ("S", "T", "r", "q", "sigma", "alpha", "beta")
    )
    x, w = mpmath.log(S), sigma * mpmath.sqrt(T)
    barriers = claim.knock != 0
    low = mpmath.log(claim.lower) if barriers and claim.lower > 0.0 else -mpmath.inf
    high = mpmath.log(claim.upper) if barriers and claim.upper < inf else mpmath.inf
    kink = mpmath.log(claim.kink) if claim.kink > 0.0 else -mpmath.inf
    a, b = (kink, mpmath.inf) if claim.theta > 0 else (-mpmath.inf, kink)
    drifts = ((r - q) * T - w * w / 2, (r - q) * T + w * w / 2)
    worth = (mpmath.exp(-r * T), S * mpmath.exp(-q * T))
    price = mpmath.mpf(0)
    for amount, drift in zip((beta * worth[0], alpha * worth[1]), drifts, strict=True):
        if amount == 0:
            continue
        plain = _between(x, a, b, drift, w) if a < b else 0
        alive = _surviving(x, max(a, low), min(b, high), low, high, drift, w)
        price += amount * (alive if claim.knock == OUT else plain - alive * (claim.knock == IN))
    if claim.knock == IN:
        alive = _surviving(x, low, high, low, high, drifts[0], w)
        price += claim.lower_rebate * worth[0] * alive
    elif claim.knock == OUT:
        for side, rebate, level, barrier in (
            (1, claim.lower_rebate, claim.lower, low),
            (-1, claim.upper_rebate, claim.upper, high),
        ):
            if rebate == 0.0 or not mpmath.isfinite(barrier):
                continue
            at_hit = claim.timing in (CASH_AT_HIT, ASSET_AT_HIT)
            shares = claim.timing == ASSET_AT_EXPIRY
            amount = level if claim.timing == ASSET_AT_HIT else 1 if at_hit else worth[shares]
            passed = _passing(side, x, low, high, drifts[shares], w, r * T if at_hit else 0)
            price += mpmath.mpf(rebate) * amount * passed
    return price


def exact_measures(claim: Claim) -> dict[str, Any]:
    """Return every measure by differences of `exact`, whose steps are a third of its digits."""
    with mpmath.workdps(60):
        step = mpmath.mpf(10) ** -15
        names = {"delta": "S", "vega": "sigma", "theta": "T", "rho": "r", "dividend_rho": "q"}
        found = {"price": exact(claim)}
        for measure, name in names.items():
            at = mpmath.mpf(getattr(claim, name))
            width = step * at if name in ("S", "sigma", "T") else step
            up, down = (exact(claim, **{name: at + s * width}) for s in (1, -1))
            found[measure] = (up - down) / (2 * width)
            if measure == "delta":
                found["gamma"] = (up - 2 * found["price"] + down) / width**2
        found["theta"] = -found["theta"]
        return found


def some(seed: int, count: int, barriers: int, kind: str) -> list[Claim]:
    """Return claims of all payoffs with 0, 1 or 2 barriers, whose market is of some kind.

    `tiny`: vol from 0.03 %. `long`: up to a century. `flat`: no carry. `turning`: a negative rate
    at which the passage to a barrier oscillates. Otherwise a day to 20 years, vol 3 % to 200 %.
    """
    random = np.random.default_rng(seed)
    claims = []
    for _ in range(count):
        sigma, T = 10.0 ** random.uniform(-1.5, 0.3), 10.0 ** random.uniform(-2.5, 1.3)
        r, q = random.uniform(-0.05, 0.15, 2)
        match kind:
            case "tiny":
                sigma = 10.0 ** random.uniform(-3.5, -1.5)
            case "long":
                T = 10.0 ** random.uniform(1.0, 2.0)
            case "flat":
                r = q = 0.0
            case "turning":
                r = -(10.0 ** random.uniform(-2.5, -0.5))
                q = r - 0.5 * sigma**2 + 0.3 * random.normal() * sqrt(-r) * sigma
        w = sigma * sqrt(T)
        theta = int(random.choice([-1, 1]))
        strike = 100.0 * exp(w * random.normal() + (r - q) * T * random.integers(0, 2))
        alpha, beta, kink = [
            (theta, -theta * strike, strike),
            (theta, -1.1 * theta * strike, strike),
            (0.0, 10.0, strike),
            (1.0, 0.0, strike),
            (0.0, 0.0, 0.0),
        ][random.integers(0, 5)]
        near, far = w * 10.0 ** random.uniform(-0.5, 0.7, 2)
        lower, upper = 100.0 * exp(-near), 100.0 * exp(far)
        if random.integers(0, 3) == 0:
            lower = 99.9
        if barriers == 1:
            lower, upper = (lower, inf) if random.integers(0, 2) else (0.0, 1e4 / lower)
        way = int(random.integers(1, 3)) if barriers else 0
        timing = int(random.integers(0, 4))
        rebates = random.choice([0.0, 1.0, 5.0], 2) / (50.0 if timing >= ASSET_AT_HIT else 1.0)
        claims.append(
            Claim(
                theta if kink else 1, float(alpha), float(beta), float(kink), way, lower, upper,
                float(rebates[0]), float(rebates[0] if way == IN else rebates[1]), timing, 100.0,
                T, float(r), float(q), sigma,
            )
        )  # fmt: skip
    return claims


KINDS = ["usual", "tiny", "long", "flat", "turning"]


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_reported_error_bounds_the_true_one(barriers: int, kind: str) -> None:
    claims = some(10 + barriers, 40, barriers, kind)
    result = priced(claims)
    for i, claim in enumerate(claims):
        with mpmath.workdps(60):
            true = abs(result["price"][i] - exact(claim))
        assert true <= result["error"][i] + NOISE, claim


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_roundings(barriers: int, kind: str) -> None:
    claims = some(20 + barriers, 300, barriers, kind)
    result = priced(claims)
    for claim, error in zip(claims, result["error"], strict=True):
        most = max(claim.S, claim.kink, claim.lower, claim.upper if claim.upper < inf else 0.0)
        growth = exp(claim.T * max(0.0, -claim.r, -claim.q))
        assert error <= (1e-10 if kind == "tiny" else 1e-12) * most * growth, claim


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_measure_is_the_derivative_of_the_price(barriers: int, kind: str) -> None:
    claims = some(30 + barriers, 8, barriers, kind)
    result = priced(claims)
    for i, claim in enumerate(claims):
        w = claim.sigma * sqrt(claim.T)
        narrow = min(w, 1.0)
        carry = 1.0 + abs(claim.r - claim.q) * claim.T / narrow
        most = max(claim.S, claim.kink) * exp(claim.T * max(0.0, -claim.r, -claim.q))
        sizes = {
            "price": most,
            "delta": most / claim.S / narrow,
            "gamma": most / claim.S**2 / narrow**2,
            "vega": most * sqrt(claim.T) * carry / narrow,
            "theta": most * carry / claim.T,
            "rho": most * claim.T / narrow,
            "dividend_rho": most * claim.T / narrow,
        }
        for name, value in exact_measures(claim).items():
            assert abs(result[name][i] - value) <= 1e-12 * sizes[name] + NOISE, (name, claim)


# Images and sines


@pytest.mark.parametrize("width", [1.2, 1.7, 2.0, 2.6, 3.5])
@pytest.mark.parametrize("kappa", [-3.0, -0.2, 0.0, 0.01, 0.9, 4.0])
@pytest.mark.parametrize("place", [0.001, 0.3, 0.999])
def test_images_and_sines_agree(width: float, kappa: float, place: float) -> None:
    down, up = place * width, (1.0 - place) * width
    for first, last in ((down, -up), (0.7 * down, -0.1 * up), (0.2 * down, 0.1 * down)):
        by_sines = sines.survivors(first, last, kappa, down, up, 0.0)
        by_images = images.plus(
            images.span(first, last, kappa, 0.0),
            1.0,
            images.reflections(first, last, kappa, down, up, 0.0),
        )
        assert np.allclose(by_sines[:5], by_images[:5], rtol=1e-12, atol=1e-13)
    for side in (1.0, -1.0):
        # The last two turn: kappa^2 + 2 discount < 0.
        for discount in (0.0, 0.3, 2.0, -0.01, -0.5 * kappa**2 - 1e-6, -0.5 * kappa**2 - 0.2):
            assert np.allclose(
                sines.passage(side, kappa, discount, down, up, 0.0)[:5],
                images.passage(side, kappa, discount, down, up, 0.0)[:5],
                rtol=1e-12,
                atol=2e-12 * exp(max(-discount, 0.0)),
            ), (side, discount)
