"""Our exponentials, logarithms and error functions against mpmath, in units of the last place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from exact import LIMITS, exact_erfcx, exact_gaussian
from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Function = Callable[[float], float]

kernels()  # sets up numba before the module below imports it

from pricer.kernels import elementary  # noqa: E402

SEED = 20140606
exp: Function = elementary.exp
log: Function = elementary.log
gaussian: Function = elementary.gaussian
erfcx: Function = elementary.erfcx
normal_cdf: Function = elementary.normal_cdf


def ulps(function: Function, exact: Callable[[Any], Any], points: Iterable[float]) -> float:
    """Return the largest distance to the exact value, in units of its last place."""
    worst = 0.0
    with mpmath.workdps(40):
        for x in points:
            truth = exact(mpmath.mpf(x))
            worst = max(worst, float(abs(function(x) - truth) / math.ulp(float(truth))))
    return worst


def spread(low: float, high: float, count: int = 4000) -> list[float]:
    """Return random points of an interval and its ends."""
    # The same in every test, whichever tests run before it.
    points: list[float] = np.random.default_rng(SEED).uniform(low, high, count).tolist()
    return [*points, low, high]


def test_exp_is_within_its_ulp() -> None:
    worst_found = 0.35948609984126767
    points = [worst_found, *spread(-708, 709), *spread(-1, 1), *spread(-1e-8, 1e-8, 100)]
    assert ulps(exp, mpmath.exp, points) <= 1.1


def test_log_is_within_one_ulp() -> None:
    sizes = [10.0**x for x in spread(-307, 308)]
    assert ulps(log, mpmath.log, [*sizes, *spread(0.5, 2), *spread(0.999, 1.001)]) <= 1


def test_gaussian_is_within_three_ulps() -> None:
    assert ulps(gaussian, exact_gaussian, [*spread(-37, 37), *spread(-2, 2)]) <= 3


def test_erfcx_is_within_five_ulps_of_positive_arguments() -> None:
    large = [10.0**x for x in spread(-8, 8, 500)]
    worst_found = 0.03794493474863647
    points = [worst_found, *spread(0, 30), *spread(0, 1), *spread(0, 0.1), *large]
    assert ulps(erfcx, exact_erfcx, points) <= 5


def test_erfcx_of_negative_arguments_is_as_good_as_their_square() -> None:
    with mpmath.workdps(40):
        for x in spread(-26, 0, 500):
            exact = float(exact_erfcx(mpmath.mpf(x)))
            assert erfcx(x) == pytest.approx(exact, rel=4e-16 * (1 + x * x))


def test_the_lower_tail_of_the_normal_distribution_is_within_eight_ulps() -> None:
    assert ulps(normal_cdf, mpmath.ncdf, [*spread(-37, 0), *spread(-2, 0)]) <= 8


def test_the_upper_half_of_the_normal_distribution_is_one_minus_the_lower() -> None:
    for x in spread(0, 10, 200):
        assert normal_cdf(x) == 1.0 - normal_cdf(-x)


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        *LIMITS,
        ("normal_cdf", 0.0, 0.5),
        ("normal_cdf", 40.0, 1.0),
        ("normal_cdf", -60.0, 0.0),
    ],
)
def test_limits_are_exact(name: str, x: float, value: float) -> None:
    assert getattr(elementary, name)(x) == value


@pytest.mark.parametrize("function", [exp, log, gaussian, erfcx, normal_cdf])
def test_nan_stays_nan(function: Function) -> None:
    assert math.isnan(function(math.nan))


def test_the_logarithm_of_a_negative_number_is_nan() -> None:
    assert math.isnan(log(-1.0))
