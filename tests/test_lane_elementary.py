"""The elementary functions on lanes against mpmath, in units of the last place."""

from __future__ import annotations

import math
from functools import wraps
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from numba import njit

from exact import LIMITS, exact_erfcx, exact_gaussian, exact_inverse_normal
from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Function = Callable[[Floats], Floats]

kernels("black_scholes")  # sets up numba before the modules below import it

from pricer.kernels import lane_elementary  # noqa: E402
from pricer.kernels.lane_elementary import CENTRE  # noqa: E402
from pricer.kernels.lanes import WIDTH, load, store  # noqa: E402

SEED = 20140606
COUNT = 4000


def on_lanes(function: Any) -> Function:
    """Return `function` of lanes as a function of arrays."""

    @njit(cache=False)
    def groups(x: Floats, out: Floats) -> None:
        for g in range(len(x) // WIDTH):
            store(out, g, function(load(x, g)))

    @wraps(function.py_func)
    def apply(x: Floats) -> Floats:
        out = np.empty(len(padded(x)))
        groups(padded(x), out)
        return out[: len(x)]

    return apply


def on_two_lanes(function: Any) -> Callable[[Floats, Floats], Floats]:
    @njit(cache=False)
    def groups(x: Floats, y: Floats, out: Floats) -> None:
        for g in range(len(x) // WIDTH):
            store(out, g, function(load(x, g), load(y, g)))

    def apply(x: Floats, y: Floats) -> Floats:
        out = np.empty(len(padded(x)))
        groups(padded(x), padded(y), out)
        return out[: len(x)]

    return apply


def padded(x: Floats) -> Floats:
    return np.resize(x, -(-len(x) // WIDTH) * WIDTH)


exp = on_lanes(lane_elementary.exp)
exp_normal = on_lanes(lane_elementary.exp_normal)
expm1_small = on_lanes(lane_elementary.expm1_small)
log = on_lanes(lane_elementary.log)
log_ratio = on_two_lanes(lane_elementary.log_ratio)
gaussian = on_lanes(lane_elementary.gaussian)
erfcx = on_lanes(lane_elementary.erfcx)
central_normal = on_lanes(lane_elementary.central_normal)
outer_normal = on_lanes(lane_elementary.outer_normal)
erfcx_difference = on_two_lanes(lane_elementary.erfcx_difference)


def ulps(function: Function, exact: Callable[[Any], Any], *points: Floats) -> float:
    """Return the largest distance to the exact value, in units of its last place."""
    x = np.concatenate(points)
    worst = 0.0
    with mpmath.workdps(40):
        for point, got in zip(x.tolist(), function(x).tolist(), strict=True):
            truth = exact(mpmath.mpf(point))
            worst = max(worst, float(abs(got - truth) / math.ulp(float(truth))))
    return worst


def spread(low: float, high: float, count: int = COUNT) -> Floats:
    """Return random points of an interval and its ends."""
    points = np.random.default_rng(SEED).uniform(low, high, count)
    return np.concatenate((points, [low, high]))


def test_exp_is_within_1_ulp() -> None:
    assert ulps(exp, mpmath.exp, spread(-708, 709), spread(-1, 1), spread(-1e-8, 1e-8, 100)) <= 1


def test_exp_of_normal_numbers_is_within_1_ulp_and_clipped() -> None:
    assert ulps(exp_normal, mpmath.exp, spread(-708, 708), spread(-1, 1)) <= 1
    for sign in (-1.0, 1.0):
        beyond = exp_normal(sign * np.array([708.0, 709.0, 1e4, 1e300, math.inf]))
        assert len(np.unique(beyond)) == 1


def test_exp_minus_one_is_within_1_ulp_of_small_arguments() -> None:
    assert ulps(expm1_small, mpmath.expm1, spread(-0.34, 0.34), spread(-1e-3, 1e-3)) <= 1


def test_the_inverse_normal_is_within_2_ulps_of_its_centre() -> None:
    size = 2.0 ** spread(-53, -2, 500)
    points = (spread(-CENTRE, CENTRE, 1000), size, -size)
    assert ulps(central_normal, lambda q: exact_inverse_normal(q + 0.5), *points) <= 2.1


def test_the_inverse_normal_is_within_3_5_ulps_of_its_tails() -> None:
    tails = (2.0 ** spread(-54, -4, 600), spread(0.03, 0.0625, 600))
    assert ulps(outer_normal, exact_inverse_normal, *tails) <= 3.5
    upper = (1.0 - tail[tail > 1e-16] for tail in tails)
    assert ulps(outer_normal, exact_inverse_normal, *upper) <= 3.5


def test_the_inverse_normal_joins_where_its_tails_begin() -> None:
    below = outer_normal(np.array([0.0625, 0.9375]))
    np.testing.assert_allclose(below, central_normal(np.array([-CENTRE, CENTRE])), rtol=6e-16)
    assert np.array_equal(-below, below[::-1])


def test_log_is_within_1_ulp() -> None:
    sizes = 10.0 ** spread(-323, 308)
    assert ulps(log, mpmath.log, sizes, spread(0.5, 2), spread(0.999, 1.001)) <= 1


def test_gaussian_is_within_1_2_ulps() -> None:
    assert ulps(gaussian, exact_gaussian, spread(-37, 37), spread(-2, 2)) <= 1.2


def test_erfcx_is_within_five_ulps() -> None:
    points = (spread(0, 30), spread(0, 1), spread(0, 0.1), 10.0 ** spread(-8, 8, 500))
    assert ulps(erfcx, exact_erfcx, *points) <= 5


def test_the_logarithm_of_a_ratio_is_within_three_ulps() -> None:
    random = np.random.default_rng(SEED)
    y = 10.0 ** random.uniform(-5, 5, COUNT)
    x = y * np.exp(random.choice([1e-14, 1e-6, 0.1, 1.0, 30.0], COUNT) * random.normal(size=COUNT))
    with mpmath.workdps(40):
        for a, b, got in zip(x.tolist(), y.tolist(), log_ratio(x, y).tolist(), strict=True):
            truth = mpmath.log(mpmath.mpf(a) / mpmath.mpf(b))
            assert abs(got - truth) <= 3 * math.ulp(float(truth)), (a, b)


def test_the_sign_of_the_logarithm_of_a_ratio_survives_underflow() -> None:
    assert log_ratio(np.array([1e-200, 1e200]), np.array([1e200, 1e-200])) == pytest.approx(
        [-745, 710], abs=1
    )


@pytest.mark.parametrize("gap", [0.1, 0.05, 1e-3, 1e-9])
def test_a_small_difference_of_erfcx_keeps_its_digits(gap: float) -> None:
    x = np.concatenate((spread(0, 2, 200), spread(0, 26, 200)))
    out = erfcx_difference(x, np.full(len(x), gap))
    with mpmath.workdps(60):
        half = mpmath.mpf(gap) / 2
        for point, got in zip(x.tolist(), out.tolist(), strict=True):
            truth = exact_erfcx(point - half) - exact_erfcx(point + half)
            # f' = 2x f - 2/sqrt(pi) cancels by the square of x.
            assert abs(got - truth) <= 2e-15 * (1 + point * point) * truth


@pytest.mark.parametrize(("name", "x", "value"), LIMITS)
def test_limits_are_exact(name: str, x: float, value: float) -> None:
    functions = {"exp": exp, "log": log, "gaussian": gaussian}
    assert functions[name](np.array([x]))[0] == value


@pytest.mark.parametrize("function", [exp, exp_normal, expm1_small, log, gaussian, erfcx])
def test_nan_stays_nan(function: Function) -> None:
    assert math.isnan(function(np.array([math.nan]))[0])


def test_the_logarithm_of_a_negative_number_is_nan() -> None:
    assert np.isnan(log(np.array([-1.0, -5e-324, -math.inf]))).all()


@pytest.mark.parametrize(
    "function", [exp, exp_normal, expm1_small, log, gaussian, erfcx, central_normal]
)
def test_lanes_do_not_see_each_other(function: Function) -> None:
    x = spread(0.01, 0.3, 61)
    together = function(x)
    for i in range(len(x)):
        company = np.full(WIDTH, (math.nan, 1e300, 0.0, -5.0)[i % 4])
        company[i % WIDTH] = x[i]
        assert function(company)[i % WIDTH] == together[i]
