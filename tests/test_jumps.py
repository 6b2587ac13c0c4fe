"""Paths of Merton's jumps: their number, their moments, and prices on them against the series."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from pricer.compiled import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

kernels("fourier", "simulation")  # sets up numba before the modules below import it

from pricer.kernels import draws, fourier  # noqa: E402
from pricer.kernels.jumps import Jumps, fill, jumps  # noqa: E402

PATHS = 256
# Intensity, mean and deviation of the logarithm of a jump.
SETS = {
    "some": (0.7, -0.1, 0.2),
    "none": (0.0, -0.1, 0.2),
    "rare": (1e-4, 0.5, 0.1),
    "many": (1000.0, -0.01, 0.005),
    "of one size": (5.0, 0.1, 0.0),
}
TIMES = np.array([0.1, 0.4, 1.0])


def simulated(by: Jumps, batches: int, paths: int, sigma: float = 0.0) -> Floats:
    """Return x, shape (batches, dates, paths), with a diffusion of vol sigma."""
    dates = len(by.drift)
    source = draws.draws(5, True, 3 * dates)
    whole = np.empty((batches, dates, paths))
    moves, normals, uniforms = (np.empty((dates, PATHS)) for _ in range(3))
    roots = np.sqrt(np.diff(TIMES[:dates], prepend=0.0))[:, None]
    for batch in range(batches):
        for first in range(0, paths, PATHS):
            draws.normals(source, batch, first, 0, dates, moves)
            draws.uniforms(source, batch, first, dates, dates, uniforms)
            draws.normals(source, batch, first, 2 * dates, dates, normals)
            x = np.cumsum(sigma * roots * moves - 0.5 * sigma * sigma * roots**2, axis=0)
            fill(by, uniforms, normals, x)
            whole[batch, :, first : first + PATHS] = x
    return whole


def near(batches: Floats, expected: float) -> bool:
    """Tell whether the mean of batches is within 4 of its standard errors."""
    error = float(batches.std(ddof=1)) / math.sqrt(len(batches))
    return abs(float(batches.mean()) - expected) <= 4.0 * error + 1e-12


@pytest.mark.parametrize("expected", [1e-5, 0.3, 1.0, 20.0, 1000.0, 1e5])
def test_chances_of_numbers_of_jumps_are_poissons(expected: float) -> None:
    by = jumps(expected, 0.0, 0.1, np.ones(1))
    fewest = int(by.fewest[0])
    assert by.start.tolist() == [0, len(by.up_to)]
    assert by.up_to[-1] == pytest.approx(1.0, abs=1e-15)
    with mpmath.workdps(30):
        log_chance = fewest * mpmath.log(expected) - expected - mpmath.loggamma(fewest + 1)
        chance = mpmath.exp(log_chance)
        # What is below the table's first number has no chance to speak of.
        total = mpmath.mpf(0)
        for n, found in enumerate(by.up_to.tolist(), fewest):
            total += chance
            chance *= mpmath.mpf(expected) / (n + 1)
            assert abs(found - total) < 1e-13
    assert abs(total - 1) < 1e-15


def test_numbers_are_inverted_from_uniforms() -> None:
    by = jumps(2.0, 1.0, 0.0, np.ones(1))
    uniforms = np.linspace(0.5, 15.5, 16).reshape(1, 16) / 16.0
    x = np.zeros((1, 16))
    fill(by, uniforms, np.zeros((1, 16)), x)
    counts = x[0] - by.drift[0]
    chances = np.exp(-2.0) * np.cumsum([1.0, 2.0, 2.0, 4.0 / 3.0, 2.0 / 3.0, 4.0 / 15.0])
    assert counts == pytest.approx(np.searchsorted(chances, uniforms[0]))


@pytest.mark.parametrize("name", SETS)
def test_moments_are_exact(name: str) -> None:
    intensity, mean, deviation = SETS[name]
    x = simulated(jumps(intensity, mean, deviation, TIMES), 32, 2048)
    growth = math.expm1(mean + 0.5 * deviation**2)
    for row, at in enumerate(TIMES):
        centre = intensity * at * (mean - growth)
        assert near(x[:, row].mean(axis=1), centre)
        assert near(np.exp(x[:, row]).mean(axis=1), 1.0)
        spread = intensity * at * (mean**2 + deviation**2)
        assert near(((x[:, row] - centre) ** 2).mean(axis=1), spread)


@pytest.mark.parametrize("name", SETS)
def test_prices_are_those_of_the_series(name: str) -> None:
    parameters = SETS[name]
    x = simulated(jumps(*parameters, TIMES), 32, 4096, sigma=0.2)
    strikes = np.array([0.7, 0.95, 1.0, 1.3])
    n = len(strikes)
    one, out = np.ones(n), np.empty((8, n))
    model, put = np.full(n, fourier.MERTON, np.int8), np.full(n, -1, np.int8)
    kind, still = np.full(n, fourier.VANILLA, np.int8), np.zeros(n)
    five = np.repeat(np.array([0.2, *parameters, 0.0])[:, None], n, axis=1)
    fourier.closed_form(model, kind, put, one, strikes, one, still, still, five, out)
    for strike, expected in zip(strikes, out[0], strict=True):
        assert near(np.maximum(strike - np.exp(x[:, -1]), 0.0).mean(axis=1), expected)


def test_a_date_has_the_jumps_of_all_before_it() -> None:
    by = jumps(3.0, 0.05, 0.1, TIMES)
    rng = np.random.default_rng(2)
    uniforms, normals = rng.uniform(size=(3, 8)), rng.normal(size=(3, 8))
    x = np.zeros((3, 8))
    fill(by, uniforms, normals, x)
    for d in range(1, 4):
        part = np.zeros((d, 8))
        fill(jumps(3.0, 0.05, 0.1, TIMES[:d]), uniforms[:d].copy(), normals[:d].copy(), part)
        assert np.array_equal(part, x[:d])
