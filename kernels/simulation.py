"""Sums over simulated paths of what contracts on one asset pay.

Paths are made in blocks that stay in the cache, reduced to a few numbers each, and looked at by
every contract that shares the market and its dates. Nothing else is kept: memory is bounded by a
block and the sums. A sum runs over paths in their order, so that no bit of a contract's depends
on which others are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import bridge, draws, elementary, paths, payoffs
from .bridge import Bridge, walk
from .draws import Draws, normals, uniforms
from .jit import kernel
from .lanes import WIDTH, load, store
from .paths import Worlds, log_paths
from .payoffs import (
    GEOMETRIC_INTEGRAL,
    HIGHEST,
    INTEGRAL,
    LOG_ABOVE,
    LOG_INTEGRAL,
    LOWEST,
    Cliquets,
    Forms,
    Functionals,
    Watched,
    add_cliquets,
    add_conditional,
    add_crossed,
    add_forms,
    add_watched,
    reduce_paths,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

# How a simulation looks at its paths.
FORMS, CLIQUETS, WATCHED, CROSSED, CONDITIONAL = range(5)


class Simulation(NamedTuple):
    """Contracts of one kind that share their paths, in K markets on D dates.

    `market_of`, shape (E,), is the market of each evaluation. `interest` and `deviation`, shape
    (K, D), are what 1 on a date has become by the last, and how far one standard deviation of the
    last date's logarithm takes each date's. `masks`, shape (M, D), are sets of dates.
    """

    kind: int
    market_of: Indices
    worlds: Worlds
    functionals: Functionals
    forms: Forms
    watched: Watched
    cliquets: Cliquets
    masks: Codes
    interest: Floats
    deviation: Floats


@kernel
def _without_last(
    worlds: Worlds, k: int, deviation: Floats, w: Floats, x: Floats, u: Floats
) -> None:
    """Write to `u` what paths are without the standard normal of their last date.

    ``x = deviation (u + G)``; both have shape (D, P).
    """
    dates = len(x)
    groups = x.shape[1] // WIDTH
    for g in range(groups):
        end = load(w, worlds.step[dates - 1] * groups + g)
        if worlds.bare[k] == 0:
            moved = end * 0.0
            before = moved
            for d in range(dates):
                if worlds.step[d] >= 0:
                    at = load(w, worlds.step[d] * groups + g)
                    moved = moved + (at - before) * worlds.stretch[k, d]
                    before = at
            end = moved
        normal = end / deviation[dates - 1]
        for d in range(dates):
            store(u, d * groups + g, load(x, d * groups + g) / deviation[d] - normal)


@kernel
def add_block(
    simulation: Simulation,
    numbers: Draws,
    motion: Bridge,
    randomisation: int,
    first: int,
    z: Floats,
    w: Floats,
    x: Floats,
    extra: Floats,
    between: Floats,
    u: Floats,
    rows: Floats,
    scratch: Floats,
    out: Floats,
) -> None:
    """Add a block of paths of one randomisation to `out`, shape (C, columns)."""
    steps = len(z)
    worlds, functionals = simulation.worlds, simulation.functionals
    evaluations = len(simulation.market_of)
    jumps = np.empty((0, z.shape[1]))
    normals(numbers, randomisation, first, 0, steps, z)
    walk(motion, z, w)
    if len(extra) > 0:
        normals(numbers, randomisation, first, steps, 1, extra)
    if len(between) > 0:
        uniforms(numbers, randomisation, first, steps + 1, len(between), between)
    for k in range(len(worlds.bare)):
        log_paths(worlds, k, w, jumps, x)
        if simulation.kind == FORMS:
            reduce_paths(functionals, k, worlds.variance[k], x, extra, between, rows)
        elif simulation.kind == CONDITIONAL:
            _without_last(worlds, k, simulation.deviation[k], w, x, u)
        for e in range(evaluations):
            if simulation.market_of[e] != k:
                continue
            if simulation.kind == FORMS:
                add_forms(simulation.forms, e, rows, scratch, out)
            elif simulation.kind == CLIQUETS:
                add_cliquets(simulation.cliquets, e, simulation.masks[0], x, scratch, out)
            elif simulation.kind == WATCHED:
                add_watched(
                    simulation.watched, e, simulation.masks, simulation.interest[k], x, scratch, out
                )
            elif simulation.kind == CROSSED:
                add_crossed(
                    simulation.watched, e, simulation.masks, worlds.variance[k], x, scratch, out
                )
            else:
                add_conditional(
                    simulation.watched,
                    e,
                    simulation.masks,
                    simulation.interest[k],
                    simulation.deviation[k],
                    u,
                    scratch,
                    out,
                )


@kernel
def simulate(
    simulation: Simulation,
    numbers: Draws,
    motion: Bridge,
    steps: int,
    first: int,
    last: int,
    block: int,
    out: Floats,
) -> None:
    """Write sums over the paths `first` to `last` - 1 to `out`, shape (R, C, columns).

    Of R randomisations; column e is evaluation e. The paths are a multiple of `block`, which is
    one of 8.
    """
    operation = simulation.functionals.operation
    integrals = extremes = 0
    for f in range(len(operation)):
        if operation[f] in (INTEGRAL, GEOMETRIC_INTEGRAL, LOG_INTEGRAL, LOG_ABOVE):
            integrals = 1
        elif operation[f] in (HIGHEST, LOWEST):
            extremes = len(simulation.worlds.step)
    dates = len(simulation.worlds.step)
    z, w = np.empty((steps, block)), np.empty((steps, block))
    x, u = np.empty((dates, block)), np.empty((dates, block))
    rows = np.empty((len(operation), block))
    extra, between = np.empty((integrals, block)), np.empty((extremes, block))
    scratch = np.empty(8)
    out[:] = 0.0
    for r in range(len(out)):
        for path in range(first, last, block):
            add_block(
                simulation, numbers, motion, r, path,
                z, w, x, extra, between, u, rows, scratch, out[r],
            )  # fmt: skip


@kernel
def control_means(
    forms: Forms,
    market_of: Indices,
    first: Floats,
    second: Floats,
    means: Floats,
    covariances: Floats,
    mean: Floats,
    variance: Floats,
    out: Floats,
) -> None:
    """Write the means of what controls take off to `out`, E[(a x + b y - k) N(ca z - ck)].

    x and y sum the spots at N times by the weights `first` and `second`, shape (K, N); of these
    spots `means`, shape (K, N), are the means and `covariances` those of their logarithms with z,
    a normal of this `mean` and `variance`, shape (K,); `out` has shape (C, E). N(ca z - ck) is the chance that ca z - ck is above another normal, so
    that each spot moves z by their covariance (as in Curran 1994).
    """
    for i in range(len(forms.first)):
        for e in range(len(market_of)):
            k = market_of[e]
            slope = forms.ca[i, e]
            spread = 1.0 / np.sqrt(1.0 + slope * slope * variance[k])
            middle = slope * mean[k] - forms.ck[i, e]
            total = 0.0
            for n in range(means.shape[1]):
                weight = forms.a[i, e] * first[k, n] + forms.b[i, e] * second[k, n]
                if weight != 0.0:
                    chance = elementary.normal_cdf((middle + slope * covariances[k, n]) * spread)
                    total += weight * means[k, n] * chance
            out[i, e] = total - forms.k[i, e] * elementary.normal_cdf(middle * spread)


@kernel
def exponentials(x: Floats, out: Floats) -> None:
    """Write e**x of shape (n,) to `out`."""
    for i in range(len(x)):
        out[i] = elementary.exp(x[i])


@kernel
def logarithms(x: Floats, out: Floats) -> None:
    """Write ln(x) of shape (n,) to `out`."""
    for i in range(len(x)):
        out[i] = elementary.log(x[i])


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int8 and int64."""
