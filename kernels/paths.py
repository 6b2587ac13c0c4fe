"""Paths of one asset on given dates, under several slightly different markets at once.

Markets share the Brownian motion of the first: a derivative by vol, rate or time is then a
difference of two simulations with the same random numbers. A path array has one row a date and one
column a path, and holds logarithms: of the spot over the spot of now or, where dividends are cash,
of the spot itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .jit import kernel
from .lane_elementary import exp_normal, log
from .lanes import WIDTH, broadcast, load, maximum, store

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

LOGNORMAL, SPOT_DIVIDENDS, ESCROWED = range(3)
LEAST_SPOT = 1e-300  # what a spot of 0 is taken for, so that it has a logarithm


class Worlds(NamedTuple):
    """K markets on the same D dates, which never decrease.

    Attributes
    ----------
    step
        Which of the times of the Brownian motion each date is, -1 for now; shape (D,).
    forward
        The mean of the logarithm at each date, shape (K, D), without jumps.
    stretch
        What the motion's increment up to each date is multiplied by, shape (K, D).
    variance
        The variance of the logarithm between the date before (or now) and each date, shape (K, D).
    bare
        1 where every `stretch` is 1, shape (K,).
    spot
        The spot of now, less the present value of escrowed dividends; shape (K,).
    cash
        What each date's dividend takes off the spot once it was observed; with escrowed dividends
        the present value at each date of those to come, which the spot has on top. Shape (K, D).
    sudden
        1 where paths jump right after now, in addition to what they do else; shape (K,).
    dividends
        `LOGNORMAL` where none are cash (`spot` and `cash` are then not read), `SPOT_DIVIDENDS` or
        `ESCROWED`.
    """

    step: Indices
    forward: Floats
    stretch: Floats
    variance: Floats
    bare: Codes
    spot: Floats
    cash: Floats
    sudden: Codes
    dividends: int


@kernel
def log_paths(worlds: Worlds, k: int, w: Floats, jumps: Floats, sudden: Floats, x: Floats) -> None:
    """Write the paths of market k to `x`, shape (D, P).

    `w`, shape (steps, P), is the Brownian motion; `jumps`, of the same shape, what jumps have added
    to the logarithm by each of its times, or shape (0, P) without jumps. `sudden`, shape (1, P),
    is one jump more, right after now, in the markets that have it.
    """
    dates = len(worlds.step)
    groups = x.shape[1] // WIDTH
    jumping = len(jumps) > 0
    at_once = worlds.sudden[k] != 0
    for g in range(groups):
        moved = broadcast(0.0)
        before = broadcast(0.0)
        for d in range(dates):
            step = worlds.step[d]
            at = load(w, step * groups + g) if step >= 0 else broadcast(0.0)
            if worlds.bare[k] != 0:
                moved = at
            else:
                moved = moved + (at - before) * worlds.stretch[k, d]
                before = at
            level = moved + worlds.forward[k, d]
            if jumping and step >= 0:
                level = level + load(jumps, step * groups + g)
            if at_once and step >= 0:
                level = level + load(sudden, g)
            store(x, d * groups + g, level)
    if worlds.dividends == SPOT_DIVIDENDS:
        _drop(worlds, k, x)
    elif worlds.dividends == ESCROWED:
        for d in range(dates):
            for g in range(groups):
                s = worlds.spot[k] * exp_normal(load(x, d * groups + g)) + worlds.cash[k, d]
                store(x, d * groups + g, log(s))


@kernel
def _drop(worlds: Worlds, k: int, x: Floats) -> None:
    """Turn logarithms without dividends into those of spots that drop by them, never below 0."""
    groups = x.shape[1] // WIDTH
    least = broadcast(LEAST_SPOT)
    for g in range(groups):
        spot = broadcast(worlds.spot[k])
        before = broadcast(0.0)
        for d in range(len(worlds.step)):
            level = load(x, d * groups + g)
            spot = maximum(spot * exp_normal(level - before), least)
            store(x, d * groups + g, log(spot))
            before = level
            spot = spot - worlds.cash[k, d]
