"""What simulated paths come to, at the kernels: laws, and the same done otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pricer.compiled import kernels

(simulation,) = kernels("simulation")

from pricer.kernels import bridge, draws, elementary, payoffs  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PATHS = 64


def forms(**given: float) -> payoffs.Forms:
    """Return one contract on the functionals 0 and, where it has any b, 1."""
    table = {name: np.full((1, 1), given.get(name, 0.0)) for name in ("a", "b", "k", "ca", "ck")}
    return payoffs.Forms(
        first=np.zeros(1, np.int64),
        second=np.full(1, 1 if "b" in given else -1),
        control=np.full(1, 1 if "ca" in given else -1),
        c=np.full((1, 1), given.get("c", -np.inf)),
        **table,
    )


def paid(contract: payoffs.Forms, rows: Floats) -> float:
    out = np.zeros((1, 1))
    payoffs.add_forms(contract, 0, rows, np.empty(8), out)
    return float(out[0, 0])


def drawn(rows: int, sobol: bool = True) -> Floats:
    z = np.empty((rows, PATHS))
    draws.normals(draws.draws(3, sobol, rows), 0, 0, 0, rows, z)
    return z


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        (payoffs.SUM, lambda s, w: (w[:, None] * s).sum(axis=0)),
        (payoffs.GEOMETRIC, lambda s, w: np.exp((w[:, None] * np.log(s)).sum(axis=0))),
        (payoffs.LOG_SUM, lambda s, w: (w[:, None] * np.log(s)).sum(axis=0)),
        (payoffs.LARGEST, lambda s, w: s[w != 0.0].max(axis=0)),
        (payoffs.SMALLEST, lambda s, w: s[w != 0.0].min(axis=0)),
    ],
)
def test_paths_come_to_what_numpy_makes_of_them(operation: int, value: object) -> None:
    x, weights = 0.3 * drawn(5), np.array([0.2, 0.0, 0.5, -0.1, 0.4])
    functionals = payoffs.Functionals(np.array([operation], np.int8), weights[None, None])
    out = np.empty((1, PATHS))
    payoffs.reduce_paths(functionals, 0, np.ones(5), x, np.empty((0, 0)), np.empty((0, 0)), out)
    assert callable(value)
    np.testing.assert_allclose(out[0], value(np.exp(x), weights), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("operation", "side"), [(payoffs.HIGHEST, 1), (payoffs.LOWEST, -1)])
def test_extremes_between_dates_lie_beyond_both_ends_as_far_as_uniforms_say(
    operation: int, side: int
) -> None:
    x, variance = 0.3 * drawn(2), np.array([0.04, 0.09])
    uniform = np.full((2, PATHS), 0.3)
    functionals = payoffs.Functionals(np.array([operation], np.int8), np.ones((1, 1, 2)))
    out = np.empty((1, PATHS))
    payoffs.reduce_paths(functionals, 0, variance, x, np.empty((0, 0)), uniform, out)
    before = np.concatenate((np.zeros((1, PATHS)), x[:1]))
    extreme = side * np.log(out[0])
    # The chance that a bridge stays below a level m is 1 - exp(-2 (m - x)(m - y) / variance).
    level = np.maximum(extreme, np.maximum(side * before, side * x).max(axis=0))
    np.testing.assert_array_equal(level, extreme)
    chance = np.exp(-2.0 * (level - side * before) * (level - side * x) / variance[:, None])
    np.testing.assert_allclose(chance.max(axis=0), 0.3, rtol=1e-9)


def test_a_form_pays_what_it_says() -> None:
    rows = np.exp(0.3 * drawn(2))
    x, y = rows
    owed = paid(forms(a=2.0, b=-1.5, c=-1.2, k=0.4), rows)
    assert owed == pytest.approx(np.maximum(2 * x + np.maximum(-1.5 * y, -1.2) - 0.4, 0).sum())


def test_a_control_takes_off_what_it_says() -> None:
    rows = np.exp(0.3 * drawn(2))
    rows[1] = np.log(rows[0])
    x, z = rows
    owed = paid(forms(a=1.0, k=1.1, ca=4.0, ck=0.1), rows)
    share = np.clip(4.0 * z - 0.1, 0.0, 1.0)
    assert owed == pytest.approx((np.maximum(x - 1.1, 0.0) - (x - 1.1) * share).sum())


@pytest.mark.parametrize("slope", [-40.0, 0.5, 3.0, 200.0])
@pytest.mark.parametrize("variance", [0.0, 0.09])
def test_what_a_control_takes_off_has_the_mean_it_says(slope: float, variance: float) -> None:
    # One spot, its logarithm the control itself: by quadrature over the ramp's three pieces.
    contract = forms(a=1.3, k=1.1, ca=slope, ck=0.2)
    level, out = 0.03, np.empty((1, 1))
    one, row = np.ones((1, 1)), np.full((1, 1), variance)
    means = np.full((1, 1), np.exp(level + 0.5 * variance))
    simulation.control_means(
        contract, np.zeros(1, np.int64), one, 0.0 * one, means, row, np.array([level]), row[0], out
    )
    nodes, weights = np.polynomial.legendre.leggauss(64)
    deviation = np.sqrt(variance)

    def integrand(z: Floats) -> Floats:
        return (1.3 * np.exp(z) - 1.1) * np.clip(slope * z - 0.2, 0.0, 1.0)

    if variance == 0.0:
        expected = float(integrand(np.array(level)))
    else:
        cuts = np.clip(((0.2 / slope, 1.2 / slope) - np.array(level)) / deviation, -10.0, 10.0)
        pieces = np.sort(np.concatenate((np.linspace(-10.0, 10.0, 21), cuts)))
        middle, half = 0.5 * (pieces[1:] + pieces[:-1]), 0.5 * np.diff(pieces)
        g = middle[:, None] + half[:, None] * nodes
        density = np.exp(-0.5 * g * g) / np.sqrt(2.0 * np.pi)
        expected = float(
            (half[:, None] * weights * density * integrand(level + deviation * g)).sum()
        )
    assert out[0, 0] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_extreme_of_two_dates_has_the_mean_of_an_exchange(side: float) -> None:
    # The larger of two lognormals (Margrabe 1978), the second of which is the first moved on.
    level, until = np.array([[0.02, 0.05]]), np.array([[0.04, 0.10]])
    out = np.empty(1)
    simulation.extreme_means(side, level, until, out)
    first, second = np.exp(level[0] + 0.5 * until[0])
    spread = np.sqrt(until[0, 1] - until[0, 0])
    d = (np.log(second / first) + 0.5 * spread**2) / spread
    more = second * elementary.normal_cdf(side * d)
    assert out[0] == pytest.approx(
        more + first * elementary.normal_cdf(-side * (d - spread)), rel=1e-14
    )


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_extreme_of_many_dates_has_the_mean_that_paths_have(side: float) -> None:
    dates, paths = 6, 2**14
    level, until = 0.02 * np.arange(1.0, dates + 1), 0.03 * np.arange(1.0, dates + 1)
    motion, w = bridge.bridge(until), np.empty((dates, paths))
    estimates = []
    for r in range(16):
        z = np.empty((dates, paths))
        draws.normals(draws.draws(1, True, dates), r, 0, 0, dates, z)
        bridge.walk(motion, z, w)
        spots = np.exp(level[:, None] + w)
        estimates.append((spots.max(axis=0) if side > 0 else spots.min(axis=0)).mean())
    out = np.empty(1)
    simulation.extreme_means(side, level[None], until[None], out)
    error = np.std(estimates, ddof=1) / 4.0
    assert error < 1e-4
    assert abs(np.mean(estimates) - out[0]) < 4.0 * error


def test_normals_are_turned_towards_a_direction() -> None:
    clock, weights = np.array([0.1, 0.3, 0.4, 0.9]), np.array([0.4, 0.3, 0.2, 0.1])
    motion, turn = bridge.bridge(clock), np.empty(4)
    simulation.towards(motion, weights.copy(), turn)
    reflection = np.eye(4) - np.outer(turn, turn)
    np.testing.assert_allclose(reflection @ reflection.T, np.eye(4), atol=1e-15)
    z, w = np.zeros((4, 8)), np.empty((4, 8))
    z[:, :4] = reflection
    bridge.walk(motion, z, w)
    matrix = w[:, :4]
    # The motion keeps its law, and its weighed sum is of the first normal alone.
    np.testing.assert_allclose(matrix @ matrix.T, np.minimum.outer(clock, clock), atol=1e-15)
    np.testing.assert_allclose((weights @ matrix)[1:], 0.0, atol=1e-15)


def test_a_motion_of_one_time_is_not_turned() -> None:
    turn = np.ones(1)
    simulation.towards(bridge.bridge(np.ones(1)), np.ones(1), turn)
    np.testing.assert_array_equal(turn, 0.0)
