"""Geometric means, forward starts, exchanges of two assets: others' values, moments, and laws."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

kernels("lognormal")  # sets up numba before the modules below import it

from pricer.kernels import lognormal  # noqa: E402
from pricer.kernels.black_scholes import ROWS, european  # noqa: E402

REFERENCE = Path(__file__).parent / "reference"
Curve = tuple[tuple[float, ...], tuple[float, ...]]  # times and values


@dataclass(frozen=True)
class Mean:
    """One claim on a geometric mean, and its market; curves stand for numbers where given."""

    theta: int = 1
    floating: bool = False
    strike: float = 100.0
    scale: float = 1.0
    expiry: float = 1.0
    dates: tuple[float, ...] | None = None
    start: float = 0.0
    stop: float = 1.0
    past: float = 0.0
    running: float = nan
    spot: float = 100.0
    vol: float | Curve = 0.2
    rate: float | Curve = 0.06
    dividend_yield: float | Curve = 0.03


def priced(of: Mean) -> dict[str, float]:
    """Return every measure and the error of a claim."""
    curves = (of.vol, of.rate, of.dividend_yield)
    tables: list[Curve] = []
    places = []
    for table in (*curves, None if of.dates is None else (of.dates, (0.0,) * len(of.dates))):
        places.append(len(tables) if isinstance(table, tuple) else -1)
        tables += [table] if isinstance(table, tuple) else []
    *curve_places, dates = (np.array([place]) for place in places)
    offsets = np.concatenate(([0], np.cumsum([len(times) for times, _ in tables], dtype=np.int64)))
    times, values = (np.array([x for t in tables for x in t[k]], np.float64) for k in (0, 1))
    flat = [np.array([0.0 if isinstance(c, tuple) else c]) for c in curves]
    world = lognormal.World(np.array([of.spot]), *flat, *curve_places)
    means = lognormal.Means(
        theta=np.array([of.theta], np.int8),
        floating=np.array([of.floating], np.int8),
        strike=np.array([of.strike]),
        scale=np.array([of.scale]),
        expiry=np.array([of.expiry]),
        dates=dates,
        start=np.array([of.start]),
        stop=np.array([of.stop]),
        past=np.array([of.past]),
        running=np.array([of.running]),
    )
    out = np.empty((len(ROWS), 1))
    lognormal.geometric(means, world, lognormal.Steps(offsets, times, values), out)
    return dict(zip(ROWS, out[:, 0].tolist(), strict=True))


@dataclass(frozen=True)
class Pair:
    """One exchange of two assets, in the order of `lognormal.Exchanges`."""

    theta: int = 1
    spot: float = 22.0
    shares: float = 1.0
    other: float = 20.0
    expiry: float = 0.5
    vol: float = 0.2
    other_vol: float = 0.25
    correlation: float = 0.5
    dividend_yield: float = 0.06
    other_yield: float = 0.04


def exchanged(of: Pair) -> dict[str, float]:
    columns: list[Any] = [np.array([getattr(of, f.name)], np.float64) for f in fields(Pair)]
    columns[0] = columns[0].astype(np.int8)
    out = np.empty((len(ROWS), 1))
    lognormal.exchange(lognormal.Exchanges(*columns), out)
    return dict(zip(ROWS, out[:, 0].tolist(), strict=True))


def margrabe(of: Pair) -> Any:
    """Price an exchange at 40 digits (Margrabe 1978)."""
    _, S, shares, other, T, vol, other_vol, rho, q, other_q = (
        mpmath.mpf(float(getattr(of, f.name))) for f in fields(Pair)
    )
    a, b = shares * S * mpmath.exp(-q * T), other * mpmath.exp(-other_q * T)
    w = mpmath.sqrt((vol**2 + other_vol**2 - 2 * rho * vol * other_vol) * T)
    return black(of.theta, a, b, w)


def black(theta: int, a: Any, b: Any, w: Any) -> Any:
    d1 = mpmath.log(a / b) / w + w / 2
    n1, n2 = (mpmath.erfc(-theta * d / mpmath.sqrt(2)) / 2 for d in (d1, d1 - w))
    return theta * (a * n1 - b * n2)


# Others' values


def test_a_geometric_mean_of_ten_fixings_is_that_of_clewlow_and_strickland() -> None:
    case = next(c for c in cases("asian") if c["id"] == "asian-0001")
    of = Mean(dates=tuple(case["fixing_times"]), strike=case["strike"])
    assert priced(of)["price"] == pytest.approx(case["expected"], abs=case["tolerance"])


def test_a_floating_strike_is_priced_as_by_quadrature_over_the_mean() -> None:
    case = next(c for c in cases("asian") if c["id"] == "asian-0002")
    times = np.array(case["fixing_times"])
    covariance = 0.04 * np.minimum.outer(times, times)
    mean, variance = 0.01 * times.mean(), covariance.mean()
    with_spot = 0.04 * times.mean()
    left = 0.04 - with_spot**2 / variance
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    total = 0.0
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        g = mean + np.sqrt(variance) * node
        forward = 0.01 + with_spot / variance * (g - mean) + left / 2
        row = european(1.0, 100 * np.exp(forward), 100 * np.exp(g), 1.0, 0.0, 0.0, np.sqrt(left))
        total += weight * row[0]
    got = priced(Mean(dates=tuple(times.tolist()), floating=True))["price"]
    assert got == pytest.approx(np.exp(-0.06) * total, abs=1e-11)
    # The published value, and QuantLib's, leave out what the spot pays up to the first fixing.
    without = got * np.exp(0.03 * times[0])
    assert without == pytest.approx(case["expected"], abs=case["tolerance"])
    assert without == pytest.approx(case["verified_value"], abs=1e-11)


def cases(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (REFERENCE / f"{file}.json").read_text(encoding="utf-8")
    )["cases"]
    return found


def test_exchanges_and_their_greeks_are_those_of_others() -> None:
    chosen = [case for case in cases("multi_asset") if case["kind"] == "exchange"]
    chosen = [case for case in chosen if case["exercise"] == "european"]
    assert len(chosen) == 36
    for case in chosen:
        (one, two), (q, other_q) = case["spots"], case["dividends"]
        vol, other_vol = case["vols"]
        of = Pair(
            spot=one,
            other=two,
            expiry=case["expiry_years"],
            vol=vol,
            other_vol=other_vol,
            correlation=case["correlation"],
            dividend_yield=q,
            other_yield=other_q,
        )
        got = exchanged(of)
        by_other = exchanged(swapped(of))
        value = {
            None: got["price"], "theta": got["theta"],
            "delta1": got["delta"], "gamma1": got["gamma"],
            "delta2": by_other["delta"], "gamma2": by_other["gamma"],
        }[case.get("greek")]  # fmt: skip
        assert value == pytest.approx(case["expected"], abs=case["tolerance"]), case["id"]


def swapped(of: Pair) -> Pair:
    """Return the same exchange with its greeks by the other asset."""
    return Pair(
        -of.theta, of.other, 1.0, of.spot * of.shares, of.expiry, of.other_vol, of.vol,
        of.correlation, of.other_yield, of.dividend_yield,
    )  # fmt: skip


# Moments, at 40 digits

STEPS: Curve = ((0.3, 0.6), (0.2, 0.35))
RATES: Curve = ((0.25, 0.5, 1.0), (0.03, 0.07, -0.01))
YIELDS: Curve = ((0.1, 0.8), (0.0, 0.05))
CURVES: Any = {"vol": STEPS, "rate": RATES, "dividend_yield": YIELDS}
DATES = (0.05, 0.3, 0.5, 0.55, 0.95)
MEANS = {
    "fixed": Mean(dates=DATES),
    "put, last fixing at expiry": Mean(theta=-1, dates=(0.25, 0.5, 0.75, 1.0)),
    "with a fixing of now": Mean(dates=(0.0, *DATES), theta=-1),
    "seasoned": Mean(dates=DATES, past=4.0, running=93.0, strike=96.0),
    "floating": Mean(dates=DATES, floating=True),
    "seasoned and floating": Mean(dates=DATES, floating=True, theta=-1, past=3.0, running=108.0),
    "curves": Mean(dates=DATES, past=2.0, running=103.0, **CURVES),
    "curves, floating": Mean(dates=DATES, floating=True, **CURVES),
    "curves, fixing of now, floating": Mean(dates=(0.0, *DATES), floating=True, **CURVES),
    "far out of the money": Mean(dates=DATES, strike=260.0),
    "forward start": Mean(floating=True, scale=1.05, start=0.4, stop=0.4, **CURVES),
    "continuous": Mean(),
    "continuous, later": Mean(start=0.35, theta=-1, **CURVES),
    "continuous, floating": Mean(floating=True, start=0.2),
    "continuous, seasoned": Mean(past=0.5, running=95.0, **CURVES),
    "continuous, seasoned, floating": Mean(past=0.7, running=104.0, floating=True, theta=-1),
}


def steps_of(of: float | Curve) -> Curve:
    return of if isinstance(of, tuple) else ((9.0,), (of,))


def exact(of: Mean) -> Any:
    """Price a claim at 40 digits from the covariance matrix of its fixings.

    A continuous mean is integrated over the cuts of its curves, by Gauss-Legendre nodes (exactly,
    since its moments are polynomials there).
    """
    with mpmath.workdps(40):
        S, T = mpmath.mpf(of.spot), mpmath.mpf(of.expiry)

        def integral(curves: Sequence[float | Curve], power: int, t: Any) -> Any:
            total, sign = mpmath.mpf(0), 1
            for curve in curves:
                times, values = steps_of(curve)
                begin = mpmath.mpf(0)
                for k, value in enumerate(values):
                    end = t if k == len(values) - 1 else min(t, mpmath.mpf(times[k]))
                    if end > begin:
                        total += sign * mpmath.mpf(value) ** power * (end - begin)
                        begin = end
                sign = -1
            return total

        def carry(t: Any) -> Any:
            return integral((of.rate, of.dividend_yield), 1, t)

        def variance(t: Any) -> Any:
            return integral((of.vol,), 2, t)

        points = fixings(of)
        past = mpmath.mpf(of.past)
        total = past + sum(weight for _, weight in points)
        log_mean, log_variance, with_spot = mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(0)
        if past:
            log_mean += past / total * mpmath.log(mpmath.mpf(of.running))
        points = sorted(points)
        after = sum(weight for _, weight in points)
        for t, weight in points:
            after -= weight
            log_mean += weight / total * (mpmath.log(S) + carry(t) - variance(t) / 2)
            with_spot += weight / total * variance(t)
            # Each pair of fixings shares the variance up to the earlier one.
            log_variance += (weight * weight + 2 * weight * after) / total**2 * variance(t)
        if of.dates is None and of.start < of.stop:
            log_variance = shared_variance(of, variance, total)
        discount = mpmath.exp(-integral((of.rate,), 1, T))
        forward = discount * mpmath.exp(log_mean + log_variance / 2)
        if not of.floating:
            w = mpmath.sqrt(log_variance)
            return black(of.theta, forward, discount * mpmath.mpf(of.strike), w)
        asset = S * mpmath.exp(-integral((of.dividend_yield,), 1, T))
        w = mpmath.sqrt(variance(T) + log_variance - 2 * with_spot)
        return black(of.theta, asset, mpmath.mpf(of.scale) * forward, w)


def panels(of: Mean) -> list[tuple[Any, Any]]:
    cuts = {of.start, of.stop}
    for curve in (of.vol, of.rate, of.dividend_yield):
        cuts |= {t for t in steps_of(curve)[0] if of.start < t < of.stop}
    ends = sorted(mpmath.mpf(cut) for cut in cuts)
    return list(pairwise(ends))


def fixings(of: Mean) -> list[tuple[Any, Any]]:
    """Return times and weights that stand for the mean."""
    if of.dates is not None:
        return [(mpmath.mpf(t), mpmath.mpf(1)) for t in of.dates]
    if of.start == of.stop:
        return [(mpmath.mpf(of.start), mpmath.mpf(1))]
    root = 1 / mpmath.sqrt(3)
    return [
        (a + (b - a) * (1 + side * root) / 2, (b - a) / 2)
        for a, b in panels(of)
        for side in (-1, 1)
    ]


def shared_variance(of: Mean, variance: Any, total: Any) -> Any:
    """Return the variance of a continuous mean: twice the integral of what each time shares."""
    found = mpmath.mpf(0)
    for a, b in panels(of):
        found += mpmath.quad(lambda t: 2 * variance(t) * (mpmath.mpf(of.stop) - t), [a, b])
    return found / total**2


@pytest.mark.parametrize("name", MEANS)
def test_prices_are_those_of_the_fixings_joint_distribution(name: str) -> None:
    got = priced(MEANS[name])
    truth = exact(MEANS[name])
    assert abs(got["price"] - truth) <= 1e-12 * float(truth) + 1e-14
    assert abs(got["price"] - truth) <= got["error"] < 1e-11


def test_errors_bound_the_true_ones() -> None:
    random = np.random.default_rng(5)
    for _ in range(60):
        count = int(random.integers(1, 30))
        of = Mean(
            theta=int(random.choice([-1, 1])),
            floating=bool(random.integers(2)),
            strike=float(10 ** random.uniform(1, 3)),
            expiry=1.0,
            dates=tuple(sorted(random.uniform(0, 1, count).tolist())),
            past=float(random.integers(0, 4)),
            running=float(10 ** random.uniform(1, 3)),
            vol=float(10 ** random.uniform(-2, 0.5)),
            rate=float(random.uniform(-0.1, 0.3)),
        )
        got = priced(of)
        assert abs(got["price"] - exact(of)) <= got["error"] + 5e-324, of
        assert got["error"] <= 1e-12 * (of.spot + of.strike + of.running)


# Greeks


def shifted(curve: float | Curve, by: float) -> float | Curve:
    return (curve[0], tuple(v + by for v in curve[1])) if isinstance(curve, tuple) else curve + by


def varied(of: Any, field: str, by: float) -> Any:
    """Return a claim with one of its inputs moved."""
    change: Any = {field: shifted(getattr(of, field), by)}
    return replace(of, **change)


def later(of: Mean, by: float) -> Mean:
    """Return the same claim a moment later, its spot where it was."""

    def moved(curve: float | Curve) -> float | Curve:
        if not isinstance(curve, tuple):
            return curve
        return tuple(t - by for t in curve[0]), curve[1]

    then = replace(
        of,
        expiry=of.expiry - by,
        stop=of.stop - by,
        start=max(of.start - by, 0.0),
        vol=moved(of.vol),
        rate=moved(of.rate),
        dividend_yield=moved(of.dividend_yield),
    )
    noted = 0.0
    if of.dates is None and of.start == 0.0:
        noted = by
    elif of.dates is not None:
        noted = float(of.dates[0] == 0.0)
        then = replace(then, dates=tuple(t - by for t in of.dates if t > 0.0))
    if noted:
        season = of.past * np.log(of.running) if of.past else 0.0
        past = of.past + noted
        running = float(np.exp((season + noted * np.log(of.spot)) / past))
        then = replace(then, past=past, running=running)
    return then


@pytest.mark.parametrize("name", MEANS)
def test_greeks_are_slopes_of_the_price(name: str) -> None:
    of = MEANS[name]
    got = priced(of)
    step, h = 1e-5, 0.01
    prices = {
        field: [priced(varied(of, field, sign * step))["price"] for sign in (1, -1)]
        for field in ("vol", "rate", "dividend_yield")
    }
    for measure, field in (("vega", "vol"), ("rho", "rate"), ("dividend_rho", "dividend_yield")):
        up, down = prices[field]
        assert got[measure] == pytest.approx((up - down) / (2 * step), abs=1e-7), measure
    above, below = (priced(replace(of, spot=of.spot + sign * h)) for sign in (1, -1))
    assert got["delta"] == pytest.approx((above["price"] - below["price"]) / (2 * h), abs=1e-7)
    assert got["gamma"] == pytest.approx((above["delta"] - below["delta"]) / (2 * h), abs=1e-7)
    one, two = (priced(later(of, k * step))["price"] for k in (1, 2))
    slope = (4 * one - two - 3 * got["price"]) / (2 * step)
    assert got["theta"] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(
    "pair",
    [Pair(), Pair(theta=-1, shares=2.0), Pair(correlation=-0.9, expiry=3.0), swapped(Pair())],
)
def test_greeks_of_exchanges_are_slopes_of_the_price(pair: Pair) -> None:
    got = exchanged(pair)
    with mpmath.workdps(40):
        assert abs(got["price"] - margrabe(pair)) <= got["error"]
        for measure, field, sign in (
            ("delta", "spot", 1), ("vega", "vol", 1), ("dividend_rho", "dividend_yield", 1),
            ("theta", "expiry", -1),
        ):  # fmt: skip
            h = 1e-6
            up, down = (margrabe(varied(pair, field, s * h)) for s in (1, -1))
            slope = float(sign * (up - down) / (2 * h))
            assert got[measure] == pytest.approx(slope, abs=1e-8), measure
        up, down = (exchanged(replace(pair, spot=pair.spot + s * 1e-3)) for s in (1, -1))
        slope = (up["delta"] - down["delta"]) / 2e-3
        assert got["gamma"] == pytest.approx(slope, abs=1e-7)
    assert got["rho"] == 0.0


# Limits


def test_a_continuous_mean_is_the_limit_of_many_fixings() -> None:
    def at(count: int) -> float:
        return priced(Mean(dates=tuple(((np.arange(count) + 0.5) / count).tolist())))["price"]

    gaps = [abs(at(count) - priced(Mean())["price"]) for count in (50, 100, 200)]
    assert gaps[2] < 1e-4
    assert gaps[0] / gaps[1] == pytest.approx(4.0, rel=0.02)
    assert gaps[1] / gaps[2] == pytest.approx(4.0, rel=0.02)


def test_one_fixing_at_expiry_is_a_vanilla() -> None:
    for theta in (1, -1):
        vanilla = european(float(theta), 100.0, 95.0, 1.0, 0.06, 0.03, 0.2)
        for of in (Mean(theta=theta, strike=95.0, dates=(1.0,)),
                   Mean(theta=theta, strike=95.0, start=1.0)):  # fmt: skip
            got = list(priced(of).values())
            assert got[:7] == pytest.approx(vanilla[:7], rel=1e-13)


def test_a_mean_that_is_known_pays_its_difference() -> None:
    got = priced(Mean(dates=(0.0,), strike=90.0, spot=100.0))
    assert got["price"] == pytest.approx(10.0 * np.exp(-0.06), rel=1e-15)
    assert got["theta"] == pytest.approx(0.06 * got["price"], rel=1e-14)
    assert got["vega"] == got["gamma"] == 0.0


def test_at_expiry_it_is_worth_what_it_pays() -> None:
    season: Any = {"expiry": 0.0, "stop": 0.0, "past": 3.0, "running": 80.0, "strike": 75.0}
    paid = 80.0**0.75 * 100.0**0.25
    assert priced(Mean(dates=(0.0,), **season))["price"] == pytest.approx(paid - 75, rel=1e-14)
    assert priced(Mean(**season))["price"] == pytest.approx(5.0, rel=1e-14)
    floating = Mean(dates=(0.0,), floating=True, **season)
    assert priced(floating)["price"] == pytest.approx(100 - paid, rel=1e-14)


def test_without_vol_it_is_worth_its_discounted_payoff() -> None:
    of = Mean(dates=(0.5, 1.0), vol=0.0, strike=98.0)
    mean = 100.0 * np.exp(0.03 * 0.75)
    assert priced(of)["price"] == pytest.approx((mean - 98) * np.exp(-0.06), rel=1e-13)
    assert priced(replace(of, theta=-1))["price"] == 0.0
    still = priced(replace(of, floating=True))
    assert still["price"] == pytest.approx((100.0 * np.exp(0.03) - mean) * np.exp(-0.06), rel=1e-12)


def test_spot_or_strike_may_be_0() -> None:
    zero: Any = {"spot": 0.0, "dates": (0.5, 1.0)}
    assert priced(Mean(**zero))["price"] == 0.0
    put = priced(Mean(**zero, theta=-1))
    assert put["price"] == pytest.approx(100 * np.exp(-0.06), rel=1e-15)
    assert put["gamma"] == 0.0
    whole = priced(Mean(dates=(0.5, 1.0), strike=0.0))
    nearly = priced(Mean(dates=(0.5, 1.0), strike=1e-9))
    assert whole["price"] == pytest.approx(nearly["price"], abs=2e-9)
    # A forward start of nothing: each unit of spot would add one.
    start = Mean(floating=True, start=0.4, stop=0.4)
    nothing = priced(replace(start, spot=0.0))
    assert nothing["price"] == 0.0
    assert nothing["delta"] == priced(start)["delta"]


def test_a_forward_start_of_now_is_a_vanilla_that_is_struck_where_the_spot_is() -> None:
    of = Mean(floating=True, scale=1.1, start=0.0, stop=0.0)
    vanilla = european(1.0, 100.0, 110.0, 1.0, 0.06, 0.03, 0.2)
    got = priced(of)
    assert got["price"] == pytest.approx(vanilla[0], rel=1e-13)
    assert got["delta"] == pytest.approx(vanilla[0] / 100, rel=1e-13)
    assert got["vega"] == pytest.approx(vanilla[3], rel=1e-13)
    assert got["theta"] == pytest.approx(vanilla[4], rel=1e-12)


def test_a_forward_start_that_starts_at_expiry_pays_what_moneyness_says() -> None:
    got = priced(Mean(floating=True, scale=0.9, start=1.0, stop=1.0))
    assert got["price"] == pytest.approx(10.0 * np.exp(-0.03), rel=1e-13)


@pytest.mark.parametrize("correlation", [1.0, -1.0, 1.0 - 1e-12])
def test_perfect_correlation_leaves_the_difference_or_the_sum_of_vols(correlation: float) -> None:
    got = exchanged(Pair(correlation=correlation))
    sigma = 0.25 - correlation * 0.2
    row = european(1.0, 22.0, 20.0, 0.5, 0.04, 0.06, sigma)
    assert got["price"] == pytest.approx(row[0], rel=1e-10)


def test_assets_that_move_as_one_are_worth_their_difference() -> None:
    one = Pair(correlation=1.0, vol=0.3, other_vol=0.3)
    got = exchanged(one)
    worth = 22 * np.exp(-0.03) - 20 * np.exp(-0.02)
    assert got["price"] == pytest.approx(worth, rel=1e-14)
    assert got["vega"] == got["gamma"] == 0.0
    for field in ("spot", "other", "expiry"):
        assert np.isfinite(
            list(exchanged(varied(Pair(), field, -getattr(Pair(), field))).values())
        ).all()


def test_the_put_is_the_call_exchanged() -> None:
    call, put = exchanged(Pair()), exchanged(swapped(Pair()))
    assert call["price"] == pytest.approx(put["price"], rel=1e-15)
    assert call["theta"] == pytest.approx(put["theta"], rel=1e-13)
