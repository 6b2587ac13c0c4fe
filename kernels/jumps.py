"""Paths of Merton's jump diffusion: lognormal jumps at the times of a Poisson process.

Between two dates the number of jumps is Poisson, by inversion of a uniform, and their sum is normal
given their number: no step is too long. Rows of paths are shared out over lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .elementary import expm1
from .jit import kernel
from .lanes import WIDTH, any_greater, broadcast, choose, load, square_root, store

if TYPE_CHECKING:
    from .jit import Floats, Indices

NEGLIGIBLE = 1e-22  # of the likeliest number of jumps


class Jumps(NamedTuple):
    """Jumps between dates, and the distribution of their number as a table for each date."""

    mean: float  # of the logarithm of a jump
    deviation: float
    drift: Floats  # (D,) what makes up for the jumps of the interval: -intensity dt (E[e^J] - 1)
    fewest: Indices  # (D,) the number of jumps that the date's table starts with
    start: Indices  # (D + 1,) the place of the date's table
    up_to: Floats  # probabilities of at most so many jumps


def jumps(intensity: float, mean: float, deviation: float, times: Floats) -> Jumps:
    """Lay out jumps of `intensity` a year between 0 and increasing dates, shape (D,), in years.

    The logarithm of a jump is normal. Up to 1e6 jumps in an interval are meant.
    """
    expected = intensity * np.diff(times, prepend=0.0)
    tables = [_distribution(each) for each in expected]
    return Jumps(
        mean,
        deviation,
        -expected * expm1(mean + 0.5 * deviation * deviation),
        np.array([fewest for fewest, _ in tables], np.int64),
        np.cumsum([0, *(len(table) for _, table in tables)], dtype=np.int64),
        np.concatenate([table for _, table in tables]),
    )


@kernel
def _distribution(expected: float) -> tuple[int, Floats]:
    """Return the fewest jumps that count and the probabilities of at most that many and more.

    From the likeliest number outwards, so that no exponential underflows.
    """
    mode = int(np.floor(expected))
    low, p = mode, 1.0
    while low > 0 and p > NEGLIGIBLE:
        p *= low / expected
        low -= 1
    high, p = mode, 1.0
    while p > NEGLIGIBLE:
        high += 1
        p *= expected / high
    up_to = np.empty(high - low + 1)
    up_to[mode - low] = 1.0
    for k in range(mode, low, -1):
        up_to[k - 1 - low] = up_to[k - low] * (k / expected)
    for k in range(mode, high):
        up_to[k + 1 - low] = up_to[k - low] * (expected / (k + 1))
    total = 0.0
    for k in range(len(up_to)):
        total += up_to[k]
        up_to[k] = total
    for k in range(len(up_to)):
        up_to[k] /= total
    return low, up_to


@kernel
def fill(jumps: Jumps, uniforms: Floats, normals: Floats, x: Floats) -> None:
    """Add the compensated jumps up to every date to x = ln(S_t / S_0), shape (D, P).

    `uniforms` in (0, 1) make their number, `normals` their sizes; both are of the shape of x.
    """
    dates, paths = x.shape
    groups = paths // WIDTH
    sums = np.zeros(paths)
    for d in range(dates):
        first, last = jumps.start[d], jumps.start[d + 1] - 1
        fewest = float(jumps.fewest[d])
        for g in range(groups):
            u = load(uniforms, d * groups + g)
            count = broadcast(fewest)
            k = first
            # The last number is taken by all that are left.
            while k < last and any_greater(u, broadcast(jumps.up_to[k])):
                count = choose(u, broadcast(jumps.up_to[k]), count + 1.0, count)
                k += 1
            size = jumps.mean * count + jumps.deviation * (
                square_root(count) * load(normals, d * groups + g)
            )
            total = load(sums, g) + (jumps.drift[d] + size)
            store(sums, g, total)
            store(x, d * groups + g, load(x, d * groups + g) + total)


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64."""
    paths = np.full((1, WIDTH), 0.5)
    fill(jumps(1.0, 0.0, 0.1, np.ones(1)), paths, paths, np.zeros((1, WIDTH)))
