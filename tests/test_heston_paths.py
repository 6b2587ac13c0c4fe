"""Paths of Heston's model: their moments, and prices on them against the cosine series."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pricer.compiled import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Five = tuple[float, float, float, float, float]

kernels("fourier", "simulation")  # sets up numba before the modules below import it

from pricer.kernels import bridge, draws, fourier, heston  # noqa: E402

PATHS = 256
BIAS = 1e-5  # what substeps may leave
SETS: dict[str, tuple[Five, float]] = {
    "equity": ((0.04, 1.5, 0.04, 0.5, -0.7), 1.0),
    "Lewis": ((0.04, 4.0, 0.25, 1.0, -0.5), 1.0),
    # Andersen 2008, case I.
    "far from Feller's condition": ((0.04, 0.5, 0.04, 1.0, -0.9), 10.0),
    "rho = -1": ((0.04, 1.5, 0.04, 0.5, -1.0), 1.0),
    "rho = 1": ((0.04, 1.5, 0.04, 0.5, 1.0), 0.5),
    "v0 = 0": ((0.0, 1.5, 0.04, 0.6, -0.7), 0.5),
    "no reversion": ((0.04, 0.0, 0.04, 0.5, -0.7), 1.0),
    "hardly any vol of variance": ((0.04, 1.5, 0.09, 1e-7, -0.7), 1.0),
    "short": ((0.04, 1.5, 0.04, 0.6, -0.7), 0.02),
}


def simulated(
    steps: heston.HestonSteps, dates: int, batches: int, paths: int
) -> tuple[Floats, Floats, Floats]:
    """Return x and v, shape (batches, dates, paths), and `own`, shape (batches, 2, paths)."""
    count = len(steps.dt)
    way = bridge.bridge(np.cumsum(steps.dt))
    source = draws.draws(3, True, 2 * count)
    z = np.empty((2 * count, PATHS))
    asset, variance, w_asset, w_variance = (np.empty((count, PATHS)) for _ in range(4))
    x, v = np.empty((2, batches, dates, paths))
    own = np.empty((batches, 2, paths))
    filled = tuple(np.empty((rows, PATHS)) for rows in (dates, dates, 2))
    for batch in range(batches):
        for first in range(0, paths, PATHS):
            draws.normals(source, batch, first, 0, 2 * count, z)
            heston.deal(z, asset, variance)
            bridge.walk(way, asset, w_asset)
            bridge.walk(way, variance, w_variance)
            heston.fill(steps, w_asset, w_variance, *filled)
            for whole, block in zip((x, v, own), filled, strict=True):
                whole[batch, :, first : first + PATHS] = block
    return x, v, own


def until(five: Five, times: list[float], growth: float = 0.0) -> heston.HestonSteps:
    at = np.array(times)
    per_year = heston.substeps_per_year(*five[:4], times[-1], BIAS)
    return heston.heston_steps(*five, at, growth * at, per_year)


def near(batches: Floats, expected: float, slack: float) -> bool:
    """Tell whether the mean of batches is within 4 of its standard errors, and slack."""
    error = float(batches.std(ddof=1)) / math.sqrt(len(batches))
    return abs(float(batches.mean()) - expected) <= 4.0 * error + slack


def variance_moments(five: Five, T: float) -> tuple[float, float]:
    """Return mean and variance of v at T (Cox, Ingersoll and Ross 1985)."""
    v0, kappa, theta, xi, _ = five
    if kappa == 0.0:
        return v0, v0 * xi * xi * T
    gone = -math.expm1(-kappa * T)
    mean = theta + (v0 - theta) * (1.0 - gone)
    spread = xi * xi / kappa * gone * (v0 * (1.0 - gone) + 0.5 * theta * gone)
    return mean, spread


def series(five: Five, T: float, strikes: Floats) -> Floats:
    """Return puts of spot 1 without rates by the cosine series."""
    n = len(strikes)
    one, code, out = np.ones(n), np.zeros(n, np.int8), np.empty((8, n))
    parameters = np.ascontiguousarray(np.repeat(np.array(five)[:, None], n, axis=1))
    fourier.closed_form(
        code, code, code - np.int8(1), one, strikes, T * one, 0.0 * one, 0.0 * one, parameters, out
    )
    assert (out[7] < 1e-10).all()
    puts: Floats = out[0]
    return puts


@pytest.mark.parametrize("name", SETS)
def test_means_of_the_spot_and_moments_of_the_variance_are_exact(name: str) -> None:
    five, T = SETS[name]
    times = [0.3 * T, T]
    x, v, _ = simulated(until(five, times, 0.02), 2, 32, 512)
    assert (v >= 0.0).all()
    for row, at in enumerate(times):
        assert near(np.exp(x[:, row]).mean(axis=1), math.exp(0.02 * at), 1e-12)
        mean, spread = variance_moments(five, at)
        assert near(v[:, row].mean(axis=1), mean, 1e-12)
        assert near(((v[:, row] - mean) ** 2).mean(axis=1), spread, 1e-12)


@pytest.mark.parametrize("name", SETS)
def test_prices_are_those_of_the_cosine_series(name: str) -> None:
    five, T = SETS[name]
    deviation = math.sqrt(fourier._variance(fourier.HESTON, T, five))
    strikes = np.exp(deviation * np.array([-1.5, 0.0, 1.0]))
    x, _, _ = simulated(until(five, [T]), 1, 32, 1024)
    for strike, expected in zip(strikes, series(five, T, strikes), strict=True):
        paid = np.maximum(strike - np.exp(x[:, 0]), 0.0).mean(axis=1)
        assert near(paid, expected, BIAS)


def test_the_bias_falls_with_the_square_of_the_substep() -> None:
    five, T = SETS["Lewis"]
    strike = np.array([0.8])
    expected = series(five, T, strike)[0]
    biases = []
    for per_year in (8.0, 16.0):
        steps = heston.heston_steps(*five, np.array([T]), np.zeros(1), per_year)
        x, _, own = simulated(steps, 1, 16, 4096)
        # Given the variance, x is normal: the Black-Scholes put, whose noise is that of v alone.
        mean, deviation = x[:, 0] - own[:, 0], np.sqrt(own[:, 1])
        z = (math.log(0.8) - mean) / deviation
        below, beyond = (cumulative(a) for a in (z, z - deviation))
        paid = strike[0] * below - np.exp(mean + 0.5 * deviation**2) * beyond
        biases.append(abs(float(paid.mean()) - expected))
    assert biases[0] < 3e-4
    assert 2.5 < biases[0] / biases[1] < 6.0


def cumulative(z: Floats) -> Floats:
    found: Floats = np.array([0.5 * math.erfc(-a / math.sqrt(2.0)) for a in z.ravel()])
    return found.reshape(z.shape)


def test_given_the_variance_what_the_asset_adds_is_normal() -> None:
    five, T = SETS["equity"]
    x, _, own = simulated(until(five, [T]), 1, 32, 1024)
    standard = own[:, 0] / np.sqrt(own[:, 1])
    for power, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert near((standard**power).mean(axis=1), expected, 1e-12)
    rest = x[:, 0] - own[:, 0]
    assert near((standard * rest).mean(axis=1), 0.0, 1e-12)
    assert near(np.exp(rest + 0.5 * own[:, 1]).mean(axis=1), 1.0, 1e-12)


def test_dates_cut_years_into_substeps() -> None:
    steps = heston.heston_steps(
        0.04, 1.0, 0.04, 0.5, -0.5, np.array([0.1, 1.0]), np.array([0.01, 0.1]), 10.0
    )
    assert len(steps.dt) == 10
    assert steps.dt == pytest.approx([0.1] * 10)
    assert steps.drift == pytest.approx([0.01] * 10)
    assert steps.row.tolist() == [0, *[-1] * 8, 1]
