"""Brownian motion at given times from independent normals, the most important ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .jit import kernel
from .lanes import WIDTH, broadcast, load, store

if TYPE_CHECKING:
    from .jit import Floats, Indices


class Bridge(NamedTuple):
    """How D values of Brownian motion follow from D normals, one after the other.

    The value at time number ``places[0, k]`` is ``weights[0, k]`` times that at ``places[1, k]``
    plus ``weights[1, k]`` times that at ``places[2, k]``, which stand fixed by then, plus
    ``weights[2, k]`` times normal number k; -1 stands for the start, and its weight is 0. Shapes
    (3, D).
    """

    places: Indices
    weights: Floats


def bridge(clock: Floats, sobol: bool = True) -> Bridge:
    """Return how Brownian motion is built at D increasing times, which may count variance.

    With `sobol` the last time comes first and then, again and again, the time of which least is
    known from those before; otherwise one time comes after the other. Shape of `clock` (D,).
    """
    count = len(clock)
    places, weights = np.full((3, count), -1), np.zeros((3, count))
    if not sobol:
        places[0], places[1] = np.arange(count), np.arange(count) - 1
        weights[0, 1:] = 1.0
        weights[2] = np.sqrt(np.diff(clock, prepend=0.0))
        return Bridge(places, weights)
    places[0, 0], weights[2, 0] = count - 1, np.sqrt(clock[-1])
    times = np.append(clock, 0.0)
    gaps = [_widest(times, -1, count - 1)]
    for k in range(1, count):
        gap = max(gaps)
        gaps.remove(gap)
        variance, left, place, right = gap
        span = times[right] - times[left]
        places[:, k] = place, left, right
        weights[0, k] = (times[right] - times[place]) / span if left >= 0 else 0.0
        weights[1, k] = (times[place] - times[left]) / span
        weights[2, k] = np.sqrt(variance)
        gaps += [_widest(times, left, place), _widest(times, place, right)]
    return Bridge(places, weights)


def _widest(times: Floats, left: int, right: int) -> tuple[float, int, int, int]:
    """Return the time between two of which least is known: its variance and the three places."""
    if right - left < 2:
        return -1.0, left, -1, right
    middle = 0.5 * (times[left] + times[right])
    after = left + 1 + int(np.searchsorted(times[left + 1 : right], middle))
    candidates = [place for place in (after - 1, after) if left < place < right]
    return max(
        (
            float(
                (times[place] - times[left])
                * (times[right] - times[place])
                / (times[right] - times[left])
            ),
            left,
            place,
            right,
        )
        for place in candidates
    )


@kernel
def walk(bridge: Bridge, z: Floats, w: Floats) -> None:
    """Write Brownian motion at the D times of a bridge to `w`: D rows of P paths.

    The first D rows of `z`, with as many paths, hold independent standard normals.
    """
    groups = w.shape[1] // WIDTH
    for k in range(bridge.places.shape[1]):
        place, left, right = bridge.places[0, k], bridge.places[1, k], bridge.places[2, k]
        a, b = broadcast(bridge.weights[0, k]), broadcast(bridge.weights[1, k])
        c = broadcast(bridge.weights[2, k])
        for g in range(groups):
            value = c * load(z, k * groups + g)
            if left >= 0:
                value = value + a * load(w, left * groups + g)
            if right >= 0:
                value = value + b * load(w, right * groups + g)
            store(w, place * groups + g, value)


def warm_up() -> None:
    """Compile for the one layout callers use: C-contiguous arrays of float64 and int64."""
    z = np.zeros((1, WIDTH))
    walk(bridge(np.ones(1)), z, np.empty_like(z))
