"""The kernels of early exercise by simulation: meshes, Gauss rules, fits and sums over paths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pricer import Basket, BasketMarket, Dates, Heston, Market, Merton, Vanilla
from pricer.cells import broadcast
from pricer.compiled import kernels
from pricer.exercised import (
    claim_of,
    cubature_of,
    dates_of,
    option_of,
    paths_of,
    rule_of,
    world_of,
)

(kernel,) = kernels("least_squares")
QUARTERS = Dates((0.25, 0.5, 0.75, 1.0))
PUT = Vanilla("put", 100.0, 1.0, "bermudan", QUARTERS)
MARKETS: dict[str, tuple[Any, Any]] = {
    "black_scholes": (PUT, Market(95.0, 0.3, 0.06)),
    "merton": (PUT, Market(95.0, 0.2, 0.06, model=Merton(2.0, -0.1, 0.2))),
    "heston": (PUT, Market(95.0, rate=0.06, model=Heston(0.09, 2.0, 0.09, 0.6, -0.6))),
    "basket": (
        Basket("call", 100.0, 1.0, "best_of", None, "bermudan", QUARTERS),
        BasketMarket([95.0, 100.0], [0.2, 0.3], 0.05, dividend_yields=[0.1, 0.1], correlation=0.3),
    ),
}


class Fitted:
    """A rule fitted to one of `MARKETS`, and the paths it is tried on."""

    def __init__(self, name: str) -> None:
        contract, market = MARKETS[name]
        cells, _ = broadcast(contract, market)
        option = option_of(cells, 0)
        assert option is not None
        self.times, exercise = dates_of(option, 8)
        self.world = world_of(option, self.times)
        self.claim = claim_of(option, exercise)
        self.paths = paths_of(option, self.times, 7, sobol=True)
        self.cubature = cubature_of(option.assets, name == "heston")
        blank = rule_of(option, self.world, self.claim)
        given = (self.world, self.claim, blank, self.cubature, self.paths, 64, 1024)
        self.rule = kernel.calibrate(*given)
        now = np.empty(3)
        kernel.now(self.world, self.claim, self.rule, self.cubature, 0, now)
        self.now = float(now[0])

    def bounds(self, first: int, count: int) -> np.ndarray[Any, Any]:
        """Return the sums of `count` paths."""
        sums, stops = np.zeros(4), np.empty(count, np.int64)
        self.add(first, sums, stops)
        return sums

    def add(self, first: int, sums: Any, stops: Any) -> None:
        """Add the sums of as many paths as there are stops."""
        given = (self.world, self.claim, self.rule, self.cubature, self.paths)
        kernel.bounds(*given, 0, first, self.now, sums, stops)


@pytest.fixture(scope="module", params=MARKETS)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    return Fitted(request.param)


def test_sums_do_not_depend_on_how_paths_are_cut_into_blocks(fitted: Fitted) -> None:
    whole = fitted.bounds(0, 256)
    parts = np.zeros(4)
    for first in range(0, 256, 64):
        fitted.add(first, parts, np.empty(64, np.int64))
    assert whole.tolist() == parts.tolist()


def test_the_high_bound_of_every_path_is_not_below_the_low(fitted: Fitted) -> None:
    for first in range(0, 512, 8):
        low, high, _, _ = fitted.bounds(first, 8)
        assert high >= low


def test_a_path_stopped_on_the_same_dates_in_the_same_world_pays_the_same(fitted: Fitted) -> None:
    sums, stops = np.zeros(4), np.empty(256, np.int64)
    fitted.add(0, sums, stops)
    given = (fitted.world, fitted.claim, fitted.rule, fitted.cubature, fitted.paths)
    again = kernel.stopped(*given, 0, 0, fitted.now, stops)
    assert again == pytest.approx(sums[0], rel=1e-9, abs=1e-9)


def test_what_the_fitted_value_changes_by_is_expected(fitted: Fitted) -> None:
    # A martingale: the mean change over the first step is 0, within what Sobol points leave.
    n, rows = fitted.world.drift.shape[0], fitted.rule.centre.shape[1]
    width = fitted.rule.coefficients.shape[1]
    count = 256
    x, score, y = np.empty((n * rows, count)), np.empty((2, count)), np.empty((rows, count))
    work, out = np.empty((width + 1, count)), np.empty(count)
    means = []
    for r in range(32):
        kernel.block(fitted.world, fitted.paths, r, 0, x, score)
        first = np.ascontiguousarray(x[:rows])
        kernel.value(fitted.world, fitted.claim, fitted.rule, 1, first, y, work, out)
        means.append(fitted.world.discount[1] * out.mean() - fitted.now)
    error = np.std(means, ddof=1) / math.sqrt(32)
    assert abs(np.mean(means)) < 4.0 * error + 2e-3


def test_gauss_rules_integrate_polynomials_exactly() -> None:
    cubature = cubature_of(2, heston=False)
    x, y = cubature.points.T
    assert cubature.weights.sum() == pytest.approx(1.0, abs=1e-13)
    assert (cubature.weights * x**6 * y**4).sum() == pytest.approx(15.0 * 3.0, rel=1e-10)
    points, weights = cubature_of(1, heston=True).tail
    # The moments of the exponential law are factorials.
    assert (weights * points**7).sum() == pytest.approx(math.factorial(7), rel=1e-10)


@pytest.mark.parametrize("name", ["black_scholes", "merton"])
def test_moves_over_a_mesh_have_the_moments_of_a_step(name: str) -> None:
    world = Fitted(name).world
    step, chances = kernel.transition(world, 0)
    places = step * (np.arange(len(chances)) - len(chances) // 2)
    dt = world.times[1]
    intensity, mean, deviation = world.model[:3] if name == "merton" else (0.0, 0.0, 0.0)
    variance = world.deviation[0, 0] ** 2 + intensity * dt * (mean**2 + deviation**2)
    assert (chances * places).sum() == pytest.approx(intensity * dt * mean, abs=1e-8)
    centred = places - intensity * dt * mean
    assert (chances * centred**2).sum() == pytest.approx(variance, rel=1e-6)


def test_interpolation_is_exact_for_cubics() -> None:
    x = np.linspace(-1.0, 1.0, 21)
    meshes = kernel.Meshes(
        np.array([-1.0]), np.array([0.1]), np.array([0, 21]), x**3 - 2.0 * x**2 + 0.5
    )
    y, out = np.linspace(-0.85, 0.85, 16)[None], np.empty(16)
    kernel.early_claims.interpolate(meshes, 0, y, out)
    np.testing.assert_allclose(out, y[0] ** 3 - 2.0 * y[0] ** 2 + 0.5, atol=1e-13)
