"""Sums over simulated paths of what contracts on one asset pay.

Paths are made in blocks that stay in the cache, reduced to a few numbers each, and looked at by
every contract that shares the market and its dates. Nothing else is kept: memory is bounded by a
block and the sums. A sum runs over paths in their order, so that no bit of a contract's depends
on which others are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import bridge, draws, elementary, heston, jumps, paths, payoffs
from .bridge import Bridge, walk
from .draws import Draws, normals, uniforms
from .heston import HestonSteps, deal
from .heston import fill as fill_heston
from .jit import kernel
from .jumps import Jumps
from .jumps import fill as fill_jumps
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


class Substeps(NamedTuple):
    """Heston's model in K markets: as `heston.HestonSteps`, `v0` of shape (K,), `dt` (K, M).

    M is 0 in other models.
    """

    v0: Floats
    kappa: float
    theta: float
    xi: float
    rho: float
    dt: Floats
    row: Indices


class Simulation(NamedTuple):
    """Contracts of one kind that share their paths, in K markets on D dates.

    `market_of`, shape (E,), is the market of each evaluation. `interest` and `deviation`, shape
    (K, D), are what 1 on a date has become by the last, and how far one standard deviation of the
    last date's logarithm takes each date's. `masks`, shape (M, D), are sets of dates. `jumps` has
    as many intervals as the motion has times, or none where there are no jumps.
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
    jumps: Jumps
    substeps: Substeps


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


class Block(NamedTuple):
    """Arrays that the blocks of a simulation are made in, one column a path.

    `z` holds normals, `w` what the paths move by at the motion's times and `jumps` what jumps add,
    `x` the paths, `u` these without their last normal, `rows` functionals, `extra` and `between`
    normals and uniforms for what happens between dates; `asset`, `variance`, `moved` and `v` are
    those of Heston's substeps.
    """

    z: Floats
    w: Floats
    jumps: Floats
    x: Floats
    u: Floats
    rows: Floats
    extra: Floats
    between: Floats
    asset: Floats
    variance: Floats
    moved: Floats
    v: Floats
    own: Floats
    scratch: Floats


@kernel
def _draw(
    simulation: Simulation,
    numbers: Draws,
    motion: Bridge,
    randomisation: int,
    first: int,
    block: Block,
) -> None:
    """Fill a block with the random numbers of its paths, the most important ones first."""
    count = len(block.z)
    normals(numbers, randomisation, first, 0, count, block.z)
    substeps = len(block.asset)
    if substeps > 0:
        deal(block.z, block.asset, block.variance)
        walk(motion, block.asset, block.moved)
        block.asset[:] = block.moved
        walk(motion, block.variance, block.moved)
        block.variance[:] = block.moved
    else:
        walk(motion, block.z, block.w)
    if len(block.extra) > 0:
        normals(numbers, randomisation, first, count, 1, block.extra)
    count += 1
    if len(block.between) > 0:
        uniforms(numbers, randomisation, first, count, len(block.between), block.between)
    count += len(block.x)
    steps = len(block.jumps)
    if steps > 0:
        # Both arrays are filled anew for every market.
        block.jumps[:] = 0.0
        uniforms(numbers, randomisation, first, count, steps, block.u)
        normals(numbers, randomisation, first, count + steps, steps, block.x)
        fill_jumps(simulation.jumps, block.u[:steps], block.x[:steps], block.jumps)


@kernel
def _stretch_first(motion: Floats, by: float, out: Floats) -> None:
    """Write to `out` a motion, shape (M, P), whose first increment is `by` times as large."""
    groups = motion.shape[1] // WIDTH
    for g in range(groups):
        off = (by - 1.0) * load(motion, g)
        for m in range(len(motion)):
            store(out, m * groups + g, load(motion, m * groups + g) + off)


@kernel
def _fill_heston(substeps: Substeps, k: int, block: Block) -> None:
    """Write to `block.w` how the logarithms of market k move in Heston's model, without drift."""
    steps = HestonSteps(
        substeps.v0[k],
        substeps.kappa,
        substeps.theta,
        substeps.xi,
        substeps.rho,
        substeps.dt[k],
        np.zeros(substeps.dt.shape[1]),
        substeps.row,
    )
    ratio = substeps.dt[k, 0] / substeps.dt[0, 0]
    if ratio == 1.0:
        fill_heston(steps, block.asset, block.variance, block.w, block.v, block.own)
        return
    # The motions are those of the first market: this one's first substep has another length.
    root = np.sqrt(ratio)
    _stretch_first(block.asset, root, block.moved)
    asset = block.moved.copy()
    _stretch_first(block.variance, root, block.moved)
    fill_heston(steps, asset, block.moved, block.w, block.v, block.own)


@kernel
def _add_block(
    simulation: Simulation,
    numbers: Draws,
    motion: Bridge,
    randomisation: int,
    first: int,
    block: Block,
    out: Floats,
) -> None:
    """Add a block of paths of one randomisation to `out`, shape (C, E)."""
    worlds, functionals = simulation.worlds, simulation.functionals
    x, rows, scratch = block.x, block.rows, block.scratch
    _draw(simulation, numbers, motion, randomisation, first, block)
    for k in range(len(worlds.bare)):
        if len(block.asset) > 0:
            _fill_heston(simulation.substeps, k, block)
        log_paths(worlds, k, block.w, block.jumps, x)
        if simulation.kind == FORMS:
            reduce_paths(functionals, k, worlds.variance[k], x, block.extra, block.between, rows)
        elif simulation.kind == CONDITIONAL:
            _without_last(worlds, k, simulation.deviation[k], block.w, x, block.u)
        for e in range(len(simulation.market_of)):
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
                    block.u,
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
    """Write sums over the paths `first` to `last` - 1 to `out`, shape (R, C, E).

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
    substeps = simulation.substeps.dt.shape[1]
    jumping = steps if len(simulation.jumps.drift) > 0 else 0
    arrays = Block(
        z=np.empty((2 * substeps if substeps > 0 else steps, block)),
        w=np.empty((steps, block)),
        jumps=np.empty((jumping, block)),
        x=np.empty((dates, block)),
        u=np.empty((dates, block)),
        rows=np.empty((len(operation), block)),
        extra=np.empty((integrals, block)),
        between=np.empty((extremes, block)),
        asset=np.empty((substeps, block)),
        variance=np.empty((substeps, block)),
        moved=np.empty((substeps, block)),
        v=np.empty((steps, block)),
        own=np.empty((2, block)),
        scratch=np.empty(8),
    )
    out[:] = 0.0
    for r in range(len(out)):
        for path in range(first, last, block):
            _add_block(simulation, numbers, motion, r, path, arrays, out[r])


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
