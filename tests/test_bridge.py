"""Brownian motion at given times: its covariance to the last bits, and what comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pricer.compiled import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pricer.kernels.bridge import Bridge

    Floats = NDArray[np.float64]

kernels("averages")  # sets up numba before the module below imports it

from pricer.kernels.bridge import bridge, walk  # noqa: E402

CLOCKS = {
    "one": np.array([0.3]),
    "two": np.array([0.01, 2.0]),
    "weekly": np.arange(1.0, 53.0) / 52.0,
    "crowded": np.concatenate((np.arange(1.0, 31.0) * 1e-6, [0.5, 0.500001, 3.0, 100.0])),
    "random": np.cumsum(np.random.default_rng(8).uniform(0.001, 1.0, 250)),
}


def walked(way: Bridge, z: Floats) -> Floats:
    w = np.empty((len(way.places[0]), z.shape[1]))
    walk(way, z, w)
    return w


def loadings(way: Bridge) -> Floats:
    """Return what each time's value takes from each normal: shape (D, D)."""
    count = len(way.places[0])
    paths = -(-count // 8) * 8
    return walked(way, np.eye(count, paths))[:, :count]


@pytest.mark.parametrize("sobol", [True, False])
@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_the_covariance_of_two_times_is_the_earlier_one(clock: Floats, sobol: bool) -> None:
    matrix = loadings(bridge(clock, sobol))
    expected = np.minimum.outer(clock, clock)
    np.testing.assert_allclose(matrix @ matrix.T, expected, rtol=1e-13)


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_every_normal_explains_most_of_what_is_left(clock: Floats) -> None:
    way = bridge(clock)
    matrix = loadings(way)
    unknown = clock.copy()
    for k in range(len(clock)):
        place = way.places[0, k]
        assert unknown[place] == pytest.approx(unknown.max(), rel=1e-9)
        assert matrix[place, k] ** 2 == pytest.approx(unknown[place], rel=1e-9)
        unknown -= matrix[:, k] ** 2
        unknown[place] = 0.0
    assert sorted(way.places[0].tolist()) == list(range(len(clock)))


def test_the_first_normal_is_the_end() -> None:
    matrix = loadings(bridge(CLOCKS["weekly"]))
    np.testing.assert_allclose(matrix[:, 0], CLOCKS["weekly"], rtol=1e-14)
    np.testing.assert_allclose(matrix[-1, 1:], 0.0)


def test_without_sobol_points_one_step_follows_another() -> None:
    clock = CLOCKS["random"]
    z = np.random.default_rng(4).normal(size=(len(clock), 16))
    steps = np.sqrt(np.diff(clock, prepend=0.0))[:, None] * z
    np.testing.assert_allclose(
        walked(bridge(clock, False), z), np.cumsum(steps, axis=0), atol=1e-13
    )


@pytest.mark.parametrize("sobol", [True, False])
def test_a_path_does_not_see_its_company(sobol: bool) -> None:
    way = bridge(CLOCKS["weekly"], sobol)
    z = np.random.default_rng(4).normal(size=(52, 256))
    together = walked(way, z)
    assert together[:, 64:72].tolist() == walked(way, z[:, 64:72].copy()).tolist()


def test_more_normals_than_times_may_stand_in_the_array() -> None:
    way = bridge(CLOCKS["two"])
    z = np.random.default_rng(4).normal(size=(5, 8))
    assert walked(way, z).tolist() == walked(way, z[:2].copy()).tolist()
