"""Closed forms of barriers, digitals and touches: other people's values, mpmath, and laws."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import exp, inf, sqrt
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

import pricer
from pricer.compiled import kernels
from products import cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

kernels("knock")  # sets up numba before the modules below import it

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

CODES = ("theta", "knock", "timing")
# Spots of 100 and prices of mpmath at 60 digits: less than this is noise of the difference of both.
NOISE = 1e-40


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
    out = np.empty((len(ROWS), len(claims)))
    columns: Any = [
        np.array([getattr(c, f.name) for c in claims], np.int8 if f.name in CODES else np.float64)
        for f in fields(Claim)
    ] + [out]
    knock.closed_form(*columns)
    return dict(zip(ROWS, out, strict=True))


def one(claim: Claim) -> dict[str, float]:
    return {name: float(row[0]) for name, row in priced([claim]).items()}


def vanilla(right: str, strike: float, against: float | None = None) -> dict[str, Any]:
    theta = 1 if right == "call" else -1
    owed = strike if against is None else against
    return {"theta": theta, "alpha": float(theta), "beta": -theta * owed, "kink": strike}


# References


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
    closed = [
        case
        for case in cases(file)
        if getattr(case.contract, "exercise", "european") == "european"
        and getattr(case.contract, "monitoring_dates", None) is None
    ]
    assert len(closed) == count
    for case in closed:
        result = pricer.price(case.contract, case.market, measures=("price",))
        # Values of high precision were computed to 1e-12 or so.
        assert result.price == pytest.approx(case.expected, abs=max(case.slack, 1e-9)), case.name
        assert result.error <= 1e-12 * case.unit, case.name


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
    claims = some(10 + barriers, 20, barriers, kind)
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
    claims = some(30 + barriers, 4, barriers, kind)
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
            assert abs(result[name][i] - value) <= 1e-12 * sizes[name], (name, claim)


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


# Laws


def wide(seed: int, count: int) -> list[Claim]:
    """Return claims with one barrier or two of all kinds of markets, corridors as narrow as 1e-3.

    Their payoffs and rebates are never negative.
    """
    random = np.random.default_rng(seed)
    claims = []
    for kind in KINDS:
        for claim in (*some(seed, count, 1, kind), *some(seed + 1, count, 2, kind)):
            beta = -claim.theta * claim.kink if claim.alpha == claim.theta else claim.beta
            w = claim.sigma * sqrt(claim.T)
            near, far = w * 10.0 ** random.uniform(-3.0, 0.5, 2)
            lower = claim.S * exp(-near) if claim.lower > 0.0 else 0.0
            upper = claim.S * exp(far) if claim.upper < inf else inf
            claims.append(replace(claim, beta=beta, lower=lower, upper=upper))
    return claims


def test_in_and_out_are_the_claim_without_barrier() -> None:
    claims = [replace(c, lower_rebate=0.0, upper_rebate=0.0) for c in wide(40, 60)]
    plain, out, into = (priced([replace(c, knock=way) for c in claims]) for way in (0, OUT, IN))
    slack = 2.0 * (out["error"] + into["error"] + plain["error"])
    assert (abs(plain["price"] - out["price"] - into["price"]) <= slack).all()


def test_no_price_is_negative_or_not_a_number() -> None:
    claims = wide(41, 100)
    result = priced(claims)
    assert all(np.isfinite(row).all() for row in result.values())
    assert (result["price"] >= 0.0).all()
    assert (result["error"] >= 0.0).all()


def test_a_gap_may_be_worth_less_than_nothing() -> None:
    gap = Claim(**vanilla("call", 100.0, 150.0))
    for claim in (gap, replace(gap, knock=OUT, lower=40.0), replace(gap, knock=IN, lower=99.0)):
        assert one(claim)["price"] < -1.0


def test_one_barrier_or_the_other_is_hit_first_or_none() -> None:
    for claim in wide(42, 60):
        if claim.knock == 0 or not (claim.lower > 0.0 and claim.upper < inf):
            continue
        none = replace(
            claim, theta=1, alpha=0.0, beta=1.0, kink=0.0, knock=OUT, timing=CASH_AT_EXPIRY,
            lower_rebate=0.0, upper_rebate=0.0,
        )  # fmt: skip
        low, high = (
            replace(none, beta=0.0, lower_rebate=1.0),
            replace(none, beta=0.0, upper_rebate=1.0),
        )
        both = replace(low, upper_rebate=1.0)
        got = priced([none, low, high, both, replace(none, knock=IN)])
        discount = exp(-claim.r * claim.T)
        slack = 4.0 * got["error"].sum()
        assert got["price"][:3].sum() == pytest.approx(discount, rel=1e-15, abs=slack)
        assert got["price"][1] + got["price"][2] == pytest.approx(got["price"][3], abs=slack)
        assert got["price"][4] == pytest.approx(got["price"][3], abs=slack)


def test_without_rate_cash_is_worth_the_same_at_hit_and_at_expiry() -> None:
    for claim in wide(43, 30):
        none = replace(
            claim, alpha=0.0, beta=0.0, knock=OUT, r=0.0, lower_rebate=1.0, upper_rebate=3.0
        )
        got = priced([replace(none, timing=t) for t in (CASH_AT_HIT, CASH_AT_EXPIRY)])
        for name in set(ROWS) - {"rho", "error"}:
            assert got[name][0] == pytest.approx(got[name][1], rel=1e-12, abs=1e-12), name


def test_a_far_barrier_leaves_the_vanilla_option() -> None:
    for right in ("call", "put"):
        plain = european(1.0 if right == "call" else -1.0, 100.0, 105.0, 1.0, 0.05, 0.02, 0.2)
        claim = Claim(**vanilla(right, 105.0))
        low = replace(claim, knock=OUT, lower=1e-4)
        for far in (claim, low, replace(low, upper=1e7)):
            got = one(far)
            for name, value in zip(ROWS[:7], plain[:7], strict=True):
                assert got[name] == pytest.approx(value, rel=1e-12), name


def test_a_knock_in_of_a_far_barrier_keeps_its_digits() -> None:
    # Hardly ever knocked in: 1e-19 and less, far below a rounding of the vanilla option.
    for claim in (
        Claim(**vanilla("put", 100.0), knock=IN, lower=17.0),
        Claim(**vanilla("call", 100.0), knock=IN, lower=13.0, upper=700.0),
    ):
        with mpmath.workdps(60):
            value = exact(claim)
        assert value < 1e-15
        assert one(claim)["price"] == pytest.approx(float(value), rel=1e-10)


@pytest.mark.parametrize("way", [OUT, IN])
@pytest.mark.parametrize("timing", [CASH_AT_HIT, ASSET_AT_HIT, CASH_AT_EXPIRY, ASSET_AT_EXPIRY])
@pytest.mark.parametrize("other", [0.0, 60.0])
def test_prices_run_into_their_barrier(way: int, timing: int, other: float) -> None:
    rebate = 2.0 if timing in (CASH_AT_HIT, CASH_AT_EXPIRY) else 0.02
    claim = Claim(
        **vanilla("call", 90.0), knock=way, lower=other, upper=110.0, lower_rebate=rebate,
        upper_rebate=rebate, timing=timing,
    )  # fmt: skip
    near, at = (one(replace(claim, S=S)) for S in (110.0 * (1.0 - 1e-9), 110.0))
    assert near["price"] == pytest.approx(at["price"], rel=1e-7)


def test_gamma_does_not_swing_beside_a_barrier() -> None:
    # An up-and-out call a month from expiry: one sign of gamma at the strike, another at the top.
    spots = np.concatenate([np.linspace(60.0, 120.0, 300), 120.0 * (1.0 - np.geomspace(0.1, 1e-6))])
    claim = Claim(**vanilla("call", 100.0), knock=OUT, upper=120.0, T=1 / 12)
    gamma = priced([replace(claim, S=float(S)) for S in np.unique(spots)[:-1]])["gamma"]
    gamma = gamma[abs(gamma) > 1e-13]
    assert (np.diff(np.sign(gamma)) != 0.0).sum() == 2


def test_a_claim_that_is_knocked_out_is_its_rebate() -> None:
    for S, rebate in ((80.0, 3.0), (90.0, 3.0), (120.0, 4.0), (130.0, 4.0)):
        claim = Claim(
            **vanilla("call", 100.0), knock=OUT, lower=90.0, upper=120.0, lower_rebate=3.0,
            upper_rebate=4.0, S=S, T=2.0,
        )  # fmt: skip
        zero = dict.fromkeys(ROWS[:7], 0.0)
        now, later = rebate, rebate * exp(-2.0 * 0.05)
        shares = rebate * S * exp(-2.0 * 0.02)
        for timing, expected in (
            (CASH_AT_HIT, {"price": now}),
            (CASH_AT_EXPIRY, {"price": later, "theta": 0.05 * later, "rho": -2.0 * later}),
            (ASSET_AT_HIT, {"price": rebate * S, "delta": rebate}),
            (
                ASSET_AT_EXPIRY,
                {
                    "price": shares,
                    "delta": shares / S,
                    "theta": 0.02 * shares,
                    "dividend_rho": -2.0 * shares,
                },
            ),
        ):
            got = one(replace(claim, timing=timing))
            assert got.pop("error") <= 16.0 * EPSILON * got["price"]
            assert got == pytest.approx(zero | expected, rel=1e-15), timing


def test_a_claim_that_is_knocked_in_is_its_payoff() -> None:
    for S in (80.0, 90.0, 120.0, 130.0):
        plain = Claim(**vanilla("call", 100.0), S=S)
        into = replace(plain, knock=IN, lower=90.0, upper=120.0, lower_rebate=5.0)
        assert one(into) == one(plain)


@pytest.mark.parametrize("S", [95.0, 100.0, 115.0])
def test_at_expiry_a_claim_is_worth_what_it_pays(S: float) -> None:
    payoff = max(S - 100.0, 0.0)
    for claim in (
        Claim(**vanilla("call", 100.0)),
        Claim(**vanilla("call", 100.0), knock=OUT, lower=90.0),
    ):
        got = one(replace(claim, S=S, T=0.0))
        assert got["price"] == payoff
        assert got["delta"] == (1.0 if payoff else 0.5 * (S == 100.0))
        assert got["gamma"] == got["vega"] == got["rho"] == got["dividend_rho"] == 0.0
    into = Claim(**vanilla("call", 100.0), knock=IN, lower=90.0, lower_rebate=5.0, S=S, T=0.0)
    assert one(into)["price"] == 5.0
    assert one(Claim(beta=7.0, kink=100.0, S=S, T=0.0))["price"] == 7.0 * (S > 100.0)


@pytest.mark.parametrize("q", [0.0, 0.02, 0.09])
@pytest.mark.parametrize("timing", [CASH_AT_HIT, ASSET_AT_HIT, CASH_AT_EXPIRY, ASSET_AT_EXPIRY])
def test_without_vol_the_path_is_known(q: float, timing: int) -> None:
    # The forward runs to 116, 109 or 86 in three years: through 105, through 95, or neither.
    still = Claim(
        **vanilla("put", 120.0), lower=95.0, upper=105.0, lower_rebate=2.0, upper_rebate=3.0,
        timing=timing, T=3.0, q=q, sigma=0.0,
    )  # fmt: skip
    for way in (0, OUT, IN):
        for upper in (105.0, 130.0):
            for lower in (95.0, 80.0):
                claim = replace(still, knock=way, upper=upper, lower=lower)
                small, none = one(replace(claim, sigma=1e-9)), one(claim)
                for name in ROWS[:7]:
                    assert small[name] == pytest.approx(none[name], rel=1e-6, abs=1e-6), name


def test_a_spot_of_nothing_stays() -> None:
    put = Claim(**vanilla("put", 100.0), S=0.0)
    assert one(put)["price"] == pytest.approx(100.0 * exp(-0.05), rel=1e-15)
    assert one(put)["delta"] == pytest.approx(-exp(-0.02), rel=1e-15)
    assert one(replace(put, knock=OUT, upper=120.0)) == one(put)
    into = one(replace(put, knock=IN, upper=120.0, lower_rebate=2.0))
    assert into["price"] == pytest.approx(2.0 * exp(-0.05), rel=1e-15)
    out = replace(put, knock=OUT, lower=50.0, lower_rebate=2.0)
    assert one(out)["price"] == 2.0


def test_a_value_does_not_depend_on_its_company() -> None:
    claims = wide(44, 10)
    together = priced(claims)
    for i, claim in enumerate(claims):
        assert one(claim) == {name: row[i] for name, row in together.items()}
