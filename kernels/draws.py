"""Random numbers of paths: each a function of (seed, randomisation, path, dimension) alone.

Blocks of paths stand in arrays of shape (rows, P), P a multiple of 8, row d being dimension d:
which block a path is in, and where, moves no bit. Independent ones come from Philox; Sobol points,
where they are asked for, from as many dimensions as the table has, scrambled by words that Philox
draws for every randomisation and dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .jit import kernel
from .lane_elementary import CENTRE, central_normal, outer_normal
from .lanes import (
    WIDTH,
    Bits,
    Lane,
    absolute,
    broadcast,
    count_ones,
    doubles,
    load,
    load_whole,
    numbered,
    repeat,
    reversed_bits,
    store,
    store_whole,
    trailing_zeros,
    where_greater,
)
from .philox import LOW, philox
from .sobol import DIGITS, first_points, point, scrambled, steps

if TYPE_CHECKING:
    from .jit import Floats, Indices

# What Philox's words are for: the last word of its counter.
INDEPENDENT, SCRAMBLING = 0, 1
ONE_BITS = 0x3FF0000000000000
# Fractions are midpoints: of 2**52 intervals, and of 2**32.
BELOW_ONE = 0.9999999999999999
BELOW_ONE_SOBOL = 1.0 - 2.0**-33
TOGETHER = 128  # groups of eight that are inverted together: they stay in the L1 cache
# Row m: which bits of m are 1, from the lowest on.
ONES = np.array(
    [sorted(range(WIDTH), key=lambda bit: (not (mask >> bit) & 1, bit)) for mask in range(2**WIDTH)]
)


class Draws(NamedTuple):
    """How random numbers are made.

    `key` are the halves of the seed, `steps[d, k]` changes dimension d of the Sobol point i to that
    of i + 1, where i + 1 ends with k zeros: shape (d, 32), no rows where none are wanted.
    """

    key: tuple[int, int]
    steps: Indices


def draws(seed: int, sobol: bool, dimensions: int) -> Draws:
    """Return what draws for this seed, 0 <= seed < 2**64, of Sobol points where asked for.

    Dimensions beyond the table's are independent random numbers.
    """
    table = steps()[: dimensions if sobol else 0]
    return Draws((seed & LOW, seed >> 32), table)


@kernel
def _open_fraction(high_bits: Bits, offset: float) -> Lane:
    return doubles((high_bits >> 12) | ONE_BITS) - offset


@kernel
def _independent(
    draws: Draws, randomisation: int, first_path: int, pair: int, row: int, out: Floats
) -> None:
    """Write the uniforms of dimensions 2 pair and 2 pair + 1 to `row` and the next.

    Rows that `out` does not have are left out.
    """
    rows, groups = out.shape[0], out.shape[1] // WIDTH
    for g in range(groups):
        path = numbered() + (first_path + g * WIDTH)
        words = philox((path, repeat(pair), repeat(randomisation), repeat(INDEPENDENT)), draws.key)
        if row >= 0:
            fraction = _open_fraction((words[0] << 32) | (words[1] & LOW), BELOW_ONE)
            store(out, row * groups + g, fraction)
        if row + 1 < rows:
            fraction = _open_fraction((words[2] << 32) | (words[3] & LOW), BELOW_ONE)
            store(out, (row + 1) * groups + g, fraction)


@kernel
def _sobol(
    draws: Draws, randomisation: int, first_path: int, dimension: int, row: int, out: Floats
) -> None:
    """Write the uniforms of one dimension to a row."""
    groups = out.shape[1] // WIDTH
    zero = repeat(0)
    counter = (zero, repeat(dimension), repeat(randomisation), repeat(SCRAMBLING))
    shift, factor, _, _ = philox(counter, draws.key)
    lanes = first_points(draws.steps, dimension)
    group = first_path // WIDTH
    base = point(draws.steps, dimension, first_path)
    last = draws.steps[dimension, 2]
    for g in range(groups):
        word = scrambled(lanes ^ base, shift, factor)
        word = (reversed_bits(word) >> DIGITS) << DIGITS
        store(out, row * groups + g, _open_fraction(word, BELOW_ONE_SOBOL))
        group += 1
        base ^= draws.steps[dimension, 3 + trailing_zeros(group)] ^ last


@kernel
def uniforms(
    draws: Draws,
    randomisation: int,
    first_path: int,
    first_dimension: int,
    count: int,
    out: Floats,
) -> None:
    """Write uniforms in (0, 1) to the first `count` rows of `out`, shape (rows, P).

    They are those of the paths first_path, ..., first_path + P - 1, a multiple of 8, and of the
    dimensions first_dimension, ..., first_dimension + count - 1. Sobol points are midpoints of
    2**32 intervals, others of 2**52.
    """
    points = min(max(len(draws.steps) - first_dimension, 0), count)
    for d in range(points):
        _sobol(draws, randomisation, first_path, first_dimension + d, d, out)
    rest, dimension = out[points:count], first_dimension + points
    row = -(dimension & 1)
    while row < count - points:
        _independent(draws, randomisation, first_path, (dimension + row) // 2, row, rest)
        row += 2


@kernel
def _invert(out: Floats, start: int, end: int, outer: Floats, places: Indices) -> None:
    """Replace the uniforms of the groups start, ..., end - 1 of eight by normals.

    An eighth of them is outside the range of the central form. These are collected, so that every
    lane of the outer form is of use, and without a branch, which nothing could predict.
    """
    numbers, collected = out.reshape(-1), outer.reshape(-1)
    centre = broadcast(CENTRE)
    found = 0
    for g in range(start, end):
        outside = where_greater(absolute(load(out, g) - 0.5), centre)
        store_whole(places, found, load_whole(ONES, outside) + g * WIDTH)
        found += count_ones(outside)
    for i in range(found):
        collected[i] = numbers[places[i]]
    for g in range(start, end):
        store(out, g, central_normal(load(out, g) - 0.5))
    for g in range(-(-found // WIDTH)):
        store(outer, g, outer_normal(load(outer, g)))
    for i in range(found):
        numbers[places[i]] = collected[i]


@kernel
def normals(
    draws: Draws,
    randomisation: int,
    first_path: int,
    first_dimension: int,
    count: int,
    out: Floats,
) -> None:
    """Write standard normals to the first `count` rows of `out`: those of `uniforms`, inverted."""
    uniforms(draws, randomisation, first_path, first_dimension, count, out)
    outer, places = np.empty((TOGETHER, WIDTH)), np.empty((TOGETHER + 1) * WIDTH, np.int64)
    groups = count * (out.shape[1] // WIDTH)
    for start in range(0, groups, TOGETHER):
        _invert(out, start, min(start + TOGETHER, groups), outer, places)


def warm_up() -> None:
    """Compile for the one layout callers use: C-contiguous arrays of float64 and int64."""
    out = np.empty((3, WIDTH))
    for sobol in (True, False):
        how = draws(0, sobol, 2)
        uniforms(how, 0, 0, 0, 3, out)
        normals(how, 0, 0, 0, 3, out)
