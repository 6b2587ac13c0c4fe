"""The solver itself: its order, its lanes, its refinement, and a case solved on paper."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pricer
from pricer import MEASURES, Market, Status, Vanilla
from pricer.compiled import kernels

kernels()  # sets up numba before the modules below import it

from pricer.kernels.marching import march, work_size  # noqa: E402
from pricer.kernels.mesh import BASE_NODES, Options, Problems, prepare  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRUNCATION = 1e-12
FIRST, TOP = 1, 7  # levels; at level 0 four steps are too few to see an order
CASES = {
    "European put": (-1, 0, 0.3, 0.05, 0.02, 1.0),
    "European call": (1, 0, 0.2, 0.01, 0.04, 0.5),
    "American put": (-1, 1, 0.3, 0.05, 0.02, 1.0),
    "American put without yield": (-1, 1, 0.3, 0.05, 0.0, 1.0),
    "American put with a boundary that starts below the strike": (-1, 1, 0.3, 0.02, 0.06, 0.5),
    "American call": (1, 1, 0.3, 0.05, 0.08, 1.0),
}


def solutions(
    right: int, american: int, vol: float, rate: float, dividend: float, expiry: float
) -> list[Floats]:
    """Return u of levels FIRST to TOP on the nodes they share."""

    def one(value: float) -> Floats:
        return np.array([value])

    options = Options(
        np.array([right], np.int8), np.array([american], np.int8), one(vol), one(rate),
        one(dividend), one(0.7), one(1.4), np.array([0, 1]), one(expiry),
    )  # fmt: skip
    problems = Problems(*prepare(options, TRUNCATION))
    found = []
    for level in range(FIRST, TOP + 1):
        out = np.empty((1, (BASE_NODES << level) + 1, 1))
        march(
            level,
            False,
            np.array([0]),
            options.american,
            problems,
            np.array([0, 1]),
            np.array([0, 1]),
            np.empty(work_size(level)),
            out,
        )
        found.append(out[0, :: 1 << (level - FIRST), 0])
    return found


def orders(found: list[Floats]) -> Floats:
    """Return how fast the differences of solutions running fall, in powers of two."""
    gaps = [abs(a - b).max() for a, b in pairwise(found)]
    return np.asarray(np.log2(np.array(gaps[:-1]) / gaps[1:]), np.float64)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_scheme_is_of_second_order(case: tuple[Any, ...]) -> None:
    observed = orders(solutions(*case))
    # An American option's boundary starts as a square root, which shows between two powers of h.
    assert (abs(observed - 2.0) < (0.1 if case[1] == 0 else 0.4)).all(), observed


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_extrapolation_is_of_higher_order(case: tuple[Any, ...]) -> None:
    found = solutions(*case)
    better = [fine + (fine - coarse) / 3 for coarse, fine in pairwise(found)]
    # The boundary's square-root start leaves less than the third order of the European case.
    assert np.mean(orders(better)) > (2.9 if case[1] == 0 else 2.1)
    raw = abs(found[3] - found[6]).max()
    assert abs(better[2] - better[5]).max() < raw / (50 if case[1] == 0 else 3)


def test_lanes_do_not_see_each_other() -> None:
    random = np.random.default_rng(3)
    count = 21  # neither one lane nor full ones
    spot, strike = random.uniform(60, 150, (2, count))
    vol, rate = random.uniform(0.1, 0.6, count), random.uniform(0.0, 0.1, count)
    expiry = random.uniform(0.1, 2, count)

    def priced(index: Any) -> pricer.Prices:
        return pricer.price(
            Vanilla("put", strike[index], expiry[index], "american"),
            Market(spot[index], vol[index], rate[index], 0.03),
            method="finite_difference",
        )

    together = priced(slice(None))
    for i in range(count):
        alone = priced(i)
        for name in (*MEASURES, "error"):
            assert getattr(alone, name) == getattr(together, name)[i], (i, name)


def perpetual_put(spot: float, strike: float, vol: float, rate: float, dividend: float) -> float:
    """McKean (1965); Merton (1973): the American put that never expires."""
    drift = (rate - dividend) / vol**2 - 0.5
    power = -drift - np.sqrt(drift**2 + 2 * rate / vol**2)
    boundary = strike * power / (power - 1)
    if spot <= boundary:
        return strike - spot
    return float((strike - boundary) * (spot / boundary) ** power)


@pytest.mark.parametrize("vol", [0.2, 0.5, 1.5])
@pytest.mark.parametrize(("rate", "dividend"), [(0.05, 0.0), (0.08, 0.03), (0.03, 0.06)])
def test_a_put_of_a_thousand_years_is_perpetual(vol: float, rate: float, dividend: float) -> None:
    spots = np.array([20.0, 60.0, 90.0, 100.0, 130.0, 300.0])
    got = pricer.price(
        Vanilla("put", 100.0, 1000.0, "american"), Market(spots, vol, rate, dividend)
    )
    exact = [perpetual_put(spot, 100.0, vol, rate, dividend) for spot in spots]
    assert got.price is not None
    assert (abs(got.price - np.array(exact)) <= got.error + 1e-9).all()
    assert (got.error <= 1e-3).all()


@pytest.mark.parametrize("right", ["call", "put"])
def test_below_the_boundary_an_option_is_its_payoff(right: str) -> None:
    sign = 1 if right == "call" else -1
    spots = 100.0 * np.exp(sign * np.linspace(0.6, 2.5, 30))
    got = pricer.price(Vanilla(right, 100.0, 1.0, "american"), Market(spots, 0.2, 0.06, 0.06))
    assert got.price is not None
    assert got.price == pytest.approx(sign * (spots - 100.0), rel=1e-15)
    assert np.all(got.delta == sign)
    for name in ("gamma", "vega", "theta", "rho", "dividend_rho"):
        assert (getattr(got, name) == 0.0).all(), name
    assert (got.status == Status.ok).all()


def test_errors_follow_the_tolerance() -> None:
    spots = np.linspace(80, 120, 9)
    errors = []
    for tolerance in (1e-5, 1e-6, 1e-7, 1e-8):
        got = pricer.price(
            Vanilla("put", 100.0, 0.5, "american"), Market(spots, 0.3, 0.05), tolerance=tolerance
        )
        assert (got.status == Status.ok).all()
        assert (got.error <= tolerance * 100).all()
        errors.append(got.error.max())
    assert errors == sorted(errors, reverse=True)


def test_what_the_largest_mesh_cannot_do_says_so() -> None:
    got = pricer.price(
        Vanilla("put", 100.0, 1.0, "american"), Market(100.0, 0.3, 0.05), tolerance=1e-12
    )
    assert got.status == Status.tolerance
    assert 0 < got.error < 1e-5
    assert got.price == pytest.approx(10.0, abs=1.0)


def test_an_easy_family_keeps_its_mesh_beside_a_hard_one() -> None:
    def priced(vols: list[float]) -> pricer.Prices:
        return pricer.price(
            Vanilla("put", 100.0, 1.0, "american"), Market(95.0, vols, 0.05, 0.02), tolerance=1e-7
        )

    easy, both = priced([0.3]), priced([0.3, 4.0])
    assert easy.price is not None
    assert both.price is not None
    assert easy.price[0] == both.price[0]
    assert easy.error[0] == both.error[0]
