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
    if sobol:
        _fill(np.append(clock, 0.0), places, weights)
    else:
        places[0], places[1] = np.arange(count), np.arange(count) - 1
        weights[0, 1:] = 1.0
        weights[2] = np.sqrt(np.diff(clock, prepend=0.0))
    return Bridge(places, weights)


@kernel
def _least_known(times: Floats, left: int, right: int) -> tuple[float, int]:
    """Return the variance of the time between two of which least is known, and its number."""
    most, place = -1.0, -1
    for i in range(left + 1, right):
        variance = (times[i] - times[left]) * (times[right] - times[i])
        if variance > most:
            most, place = variance, i
    return most / (times[right] - times[left]), place


@kernel
def _fill(times: Floats, places: Indices, weights: Floats) -> None:
    """Write the fields of `Bridge`; the last of the D + 1 times is the start, also number -1."""
    count = len(times) - 1
    gaps, ends = np.empty(count + 1), np.empty((3, count + 1), np.int64)
    places[0, 0], weights[2, 0] = count - 1, np.sqrt(times[count - 1])
    gaps[0], ends[0, 0] = _least_known(times, -1, count - 1)
    ends[1, 0], ends[2, 0] = -1, count - 1
    for k in range(1, count):
        widest = np.argmax(gaps[:k])
        place, left, right = ends[:, widest]
        span = times[right] - times[left]
        places[0, k], places[1, k], places[2, k] = place, left, right
        weights[0, k] = (times[right] - times[place]) / span if left >= 0 else 0.0
        weights[1, k] = (times[place] - times[left]) / span
        weights[2, k] = np.sqrt(gaps[widest])
        gaps[widest], ends[0, widest] = _least_known(times, left, place)
        ends[2, widest] = place
        gaps[k], ends[0, k] = _least_known(times, place, right)
        ends[1, k], ends[2, k] = place, right


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
