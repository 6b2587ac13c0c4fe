"""Random numbers of paths: what they are functions of, how they are spread, and to which order."""

from __future__ import annotations

import math
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numba import njit

from pricer.compiled import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pricer.kernels.lanes import Bits

    Floats = NDArray[np.float64]
    Words = NDArray[np.int64]

kernels("averages")  # sets up numba before the modules below import it

from pricer.kernels.draws import draws, normals, uniforms  # noqa: E402
from pricer.kernels.lanes import WIDTH, repeat, store_whole  # noqa: E402
from pricer.kernels.philox import philox  # noqa: E402
from pricer.kernels.sobol import DIGITS, point, steps  # noqa: E402

SEED = 20140606
DIMENSIONS = len(steps())

# By the index of the point: coordinates 1, 2, 3, 4, 8, 21, 100, 501, 1024 as words of 32 bits, of
# scipy.stats.qmc.Sobol(1024, scramble=False, bits=32), SciPy 1.17.1.
SAMPLED = (0, 1, 2, 3, 7, 20, 99, 500, 1023)
SOBOL_POINTS = {
    1: (2147483648,) * 9,
    3: (
        3221225472, 1073741824, 1073741824, 1073741824, 3221225472, 1073741824, 3221225472,
        1073741824, 3221225472,
    ),
    7: (
        3758096384, 3758096384, 536870912, 1610612736, 1610612736, 2684354560, 1610612736,
        3758096384, 1610612736,
    ),
    86: (
        1778384896, 1107296256, 3321888768, 3120562176, 2046820352, 3254779904, 3791650816,
        771751936, 4060086272,
    ),
    653: (
        2973761536, 4022337536, 700448768, 1178599424, 3275751424, 1019215872, 2193620992,
        3737124864, 1941962752,
    ),
    2048: (
        1048576, 4042260480, 1435500544, 3872391168, 1678770176, 969932800, 4134535168, 1877999616,
        1523580928,
    ),
}  # fmt: skip


@njit(cache=False)
def words_of(counter: tuple[int, int, int, int], key: tuple[int, int], out: Words) -> None:
    a, b, c, d = counter
    words: tuple[Bits, ...] = philox((repeat(a), repeat(b), repeat(c), repeat(d)), key)
    for i in range(4):
        store_whole(out, i * WIDTH, words[i] & 0xFFFFFFFF)


def filled(
    fill: Callable[..., None],
    randomisation: int,
    paths: int,
    count: int,
    first_path: int = 0,
    first_dimension: int = 0,
    *,
    seed: int = SEED,
    sobol: bool = True,
) -> Floats:
    out = np.empty((count, paths))
    how = draws(seed, sobol, first_dimension + count)
    fill(how, randomisation, first_path, first_dimension, count, out)
    return out


uniform, normal = partial(filled, uniforms), partial(filled, normals)


def unscrambled(dimension: int, paths: int) -> Words:
    """Return the first Sobol points of a dimension as words of 32 bits."""
    reversed_words = (point(steps(), dimension, i) for i in range(paths))
    return np.array([int(f"{word:0{DIGITS}b}"[::-1], 2) for word in reversed_words])


def common_digits(words: Words) -> Words:
    """Return how many leading digits every pair of words shares."""
    different = words[:, None] ^ words
    count: Words = DIGITS - np.ceil(np.log2(different + 1.0)).astype(np.int64)
    return count


def correlations(rows: Floats) -> Floats:
    """Return those of every row with every other."""
    together: Floats = np.atleast_2d(np.corrcoef(rows))
    return together[np.triu_indices(len(rows), 1)]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        # Salmon et al., Random123 1.09, kat_vectors: philox4x32, 10 rounds.
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
            (0xFFFFFFFF, 0xFFFFFFFF),
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    out = np.empty(4 * WIDTH, np.int64)
    words_of(counter, key, out)
    assert out.tolist() == np.repeat(words, WIDTH).tolist()


@pytest.mark.parametrize("index", SOBOL_POINTS)
def test_sobol_points_are_those_of_scipy(index: int) -> None:
    found = [point(steps(), dimension, index) for dimension in SAMPLED]
    in_order = [int(f"{word:0{DIGITS}b}"[::-1], 2) for word in found]
    assert in_order == list(SOBOL_POINTS[index])


@pytest.mark.parametrize("sobol", [True, False])
def test_a_number_depends_on_its_path_and_dimension_alone(sobol: bool) -> None:
    whole = normal(5, 512, 7, 1024, DIMENSIONS - 4, sobol=sobol)
    assert len(np.unique(whole)) == whole.size
    for paths in (8, 64, 256):
        for start in (0, 256):
            for d in range(7):
                for count in (1, min(2, 7 - d)):
                    part = normal(5, paths, count, 1024 + start, DIMENSIONS - 4 + d, sobol=sobol)
                    expected = whole[d : d + count, start : start + paths]
                    assert part.tolist() == expected.tolist()


def test_only_as_many_rows_are_written_as_are_asked_for() -> None:
    out = np.full((6, 16), 7.0)
    for sobol in (True, False):
        normals(draws(1, sobol, 8), 0, 0, 1, 3, out)
        assert np.all(out[3:] == 7.0)
        assert not np.any(out[:3] == 7.0)


def test_beyond_the_table_numbers_are_independent_ones() -> None:
    both = uniform(3, 64, 5, 0, DIMENSIONS - 2)
    independent = uniform(3, 64, 5, 0, DIMENSIONS - 2, sobol=False)
    assert both[2:].tolist() == independent[2:].tolist()
    assert not np.any(both[:2] == independent[:2])


def test_sobol_points_do_not_depend_on_how_many_dimensions_there_are() -> None:
    out = np.empty((2, 64))
    uniforms(draws(SEED, True, 200), 0, 0, 0, 2, out)
    assert out.tolist() == uniform(0, 64, 2).tolist()


def test_rows_of_sobol_points_stand_beside_independent_ones() -> None:
    out = np.empty((9, 8))
    uniforms(draws(SEED, True, 3), 0, 0, 0, 9, out)
    assert out[:3].tolist() == uniform(0, 8, 3).tolist()
    assert out[3:].tolist() == uniform(0, 8, 6, 0, 3, sobol=False).tolist()


@pytest.mark.parametrize("sobol", [True, False])
def test_another_seed_or_randomisation_gives_other_numbers(sobol: bool) -> None:
    seeds = (0, 1, 2**32, 2**64 - 1)
    found = [uniform(r, 64, 2, seed=seed, sobol=sobol) for seed in seeds for r in (0, 1, 31)]
    assert len(np.unique(found)) == np.size(found)


@pytest.mark.parametrize("sobol", [True, False])
def test_normals_are_inverted_uniforms(sobol: bool) -> None:
    u, z = uniform(2, 4096, 3, sobol=sobol), normal(2, 4096, 3, sobol=sobol)
    exact = [[NormalDist().inv_cdf(x) for x in row] for row in u.tolist()]
    np.testing.assert_allclose(z, exact, rtol=1e-9, atol=1e-12)


def test_independent_normals_have_the_moments_of_the_normal_distribution() -> None:
    z = normal(0, 2**14, 64, sobol=False)
    # The exact ones, and their standard errors for this many.
    moments = ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (5, 0, 945), (6, 15, 10170))
    for power, expected, variance in moments:
        assert abs(np.mean(z**power) - expected) < 4 * math.sqrt(variance / z.size)
    assert abs(np.mean(np.abs(z) > 3.0) / 0.0026997960632601866 - 1) < 4 / math.sqrt(
        0.0027 * z.size
    )


@pytest.mark.parametrize(("sobol", "digits"), [(True, 32), (False, 52)])
def test_uniforms_are_midpoints_and_so_neither_0_nor_1(sobol: bool, digits: int) -> None:
    halves = uniform(0, 4096, 4, sobol=sobol) * 2.0 ** (digits + 1)
    assert np.all(halves % 2.0 == 1.0)
    assert halves.min() > 0.0
    assert halves.max() < 2.0 ** (digits + 1)


def test_independent_uniforms_fall_into_every_interval_alike() -> None:
    u = uniform(1, 2**15, 32, sobol=False)
    for digits in (u * 1024, (u * 2**26) % 1024, (u * 2**42) % 1024):
        counts = np.bincount(digits.astype(np.int64).ravel(), minlength=1024)
        excess = np.sum((counts - u.size / 1024) ** 2) / (u.size / 1024) - 1023
        assert abs(excess) < 4 * math.sqrt(2 * 1023)


def test_independent_numbers_are_uncorrelated_in_every_direction() -> None:
    count, paths = 50, 4096
    blocks = [normal(r, paths, count, sobol=False, seed=s) for r, s in ((0, 0), (1, 0), (0, 1))]
    apart = correlations(np.concatenate(blocks))
    assert np.abs(apart).max() < 5.5 / math.sqrt(paths)
    assert abs(np.mean(apart**2) * paths - 1) < 0.1
    z = blocks[0]
    for lag in (1, 2, 4, 7, 8, 256):
        assert abs(np.mean(z[:, lag:] * z[:, :-lag])) < 4 / math.sqrt(count * paths)


def test_every_dimension_of_scrambled_points_has_one_in_every_interval() -> None:
    for paths in (8, 64, 1024):
        u = uniform(4, paths, DIMENSIONS, 3 * paths)
        assert np.all(np.sort((u * paths).astype(np.int64), axis=1) == np.arange(paths))


def test_the_first_two_dimensions_stay_a_net() -> None:
    # A (0, 8, 2)-net in base 2: one point in every rectangle of area 1/256.
    for randomisation in range(8):
        u = uniform(randomisation, 256, 2, 256 * randomisation)
        for a in range(9):
            cells = (u[0] * 2**a).astype(np.int64) * 2 ** (8 - a)
            cells += (u[1] * 2 ** (8 - a)).astype(np.int64)
            assert len(np.unique(cells)) == 256


@pytest.mark.parametrize("dimension", [0, 1, 5, 300, DIMENSIONS - 1])
def test_scrambling_is_nested(dimension: int) -> None:
    # Leading digits are permuted by functions of themselves: what two points share, they keep.
    before = common_digits(unscrambled(dimension, 512))
    for randomisation in range(3):
        u = uniform(randomisation, 512, 1, first_dimension=dimension)[0]
        after = common_digits((u * 2.0**DIGITS).astype(np.int64))
        assert np.array_equal(after, before)


def test_scrambled_digits_after_those_shared_are_random() -> None:
    count = 2000
    found = np.array([uniform(r, 64, 2, seed=99) for r in range(count)])
    words = (found * 2.0**DIGITS).astype(np.int64)
    limit = 4.5 / math.sqrt(count)
    for dimension in range(2):
        shared = common_digits(unscrambled(dimension, 64))
        for i, j in ((0, 1), (0, 2), (0, 63), (5, 40), (32, 33), (17, 48)):
            different = words[:, dimension, i] ^ words[:, dimension, j]
            for digit in range(shared[i, j] + 1, DIGITS):
                ones = (different >> (DIGITS - 1 - digit)) & 1
                assert abs(2 * np.mean(ones) - 1) < limit
            signs = 1 - 2 * ((words[:, dimension, i, None] >> np.arange(DIGITS)) & 1)
            assert np.abs(signs.mean(axis=0)).max() < limit


def test_scrambled_points_have_the_variance_of_nested_uniform_scrambling() -> None:
    # The mean of n points, each uniform in its own interval, has the variance 1 / (12 n**3)
    # (Owen 1997). Between randomisations it is as good as normal.
    count = 3000
    for n in (8, 64, 512):
        means = np.array([uniform(r, n, 4, seed=5).mean(axis=1) for r in range(count)]) - 0.5
        deviation = math.sqrt(1 / (12 * n**3))
        assert np.abs(means.mean(axis=0)).max() < 4 * deviation / math.sqrt(count)
        ratio = np.mean(means**2, axis=0) / deviation**2
        assert np.abs(ratio - 1).max() < 4 * math.sqrt(2 / count)
        assert np.abs(correlations(means.T)).max() < 4 / math.sqrt(count)
        following = np.mean(means[1:] * means[:-1], axis=0) / deviation**2
        assert np.abs(following).max() < 4 / math.sqrt(count)


def test_the_mean_over_randomisations_is_within_its_standard_error() -> None:
    # E exp(a (z1 + ... + z8)) = exp(4 a**2).
    a, exact = 0.3, math.exp(4 * 0.3**2)
    errors = []
    for sobol in (True, False):
        means = [np.exp(a * normal(r, 512, 8, sobol=sobol).sum(axis=0)).mean() for r in range(32)]
        errors.append(np.std(means, ddof=1) / math.sqrt(32))
        assert abs(np.mean(means) - exact) < 4 * errors[-1]
    assert errors[0] < errors[1] / 3
