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
from .lanes import WIDTH, broadcast, load, store
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
SURE = 9.0  # standard deviations, beyond which a normal variable is not


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
    as many intervals as the motion has times, or none where there are no jumps. `turn` is what
    `towards` gives, or empty.
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
    turn: Floats


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
    `sudden` one jump more, `x` the paths, `u` these without their last normal, `rows` functionals,
    `extra` and `between` normals and uniforms for what happens between dates; `asset`, `variance`,
    `moved` and `v` are those of Heston's substeps.
    """

    z: Floats
    w: Floats
    jumps: Floats
    sudden: Floats
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
        if len(simulation.turn) > 0:
            _reflect(simulation.turn, block.asset)
        walk(motion, block.asset, block.moved)
        block.asset[:] = block.moved
        walk(motion, block.variance, block.moved)
        block.variance[:] = block.moved
    else:
        if len(simulation.turn) > 0:
            _reflect(simulation.turn, block.z)
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
        normals(numbers, randomisation, first, count + 2 * steps, 1, block.sudden)
        for g in range(block.sudden.shape[1] // WIDTH):
            size = simulation.jumps.deviation * load(block.sudden, g)
            store(block.sudden, g, size + simulation.jumps.mean)


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
        log_paths(worlds, k, block.w, block.jumps, block.sudden, x)
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
    randomisation: int,
    first: int,
    last: int,
    block: int,
    out: Floats,
) -> None:
    """Write sums over the paths `first` to `last` - 1 to `out`, shape (R, C, E).

    Of R randomisations from number `randomisation` on; column e is evaluation e. The paths are a
    multiple of `block`, which is one of 8.
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
        sudden=np.empty((1, block)),
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
            _add_block(simulation, numbers, motion, randomisation + r, path, arrays, out[r])


@kernel
def _mean_above(m: float, s: float) -> float:
    """Return the mean of max(X, 0) for a normal X of mean m and standard deviation s."""
    if s <= 0.0:
        return max(m, 0.0)
    return m * elementary.normal_cdf(m / s) + s * elementary.normal_pdf(m / s)


@kernel
def _mean_share(m: float, s: float) -> float:
    """Return the mean of min(max(X, 0), 1) for a normal X of mean m and standard deviation s."""
    if m > 1.0 + SURE * s:
        return 1.0
    if m < -SURE * s:
        return 0.0
    return _mean_above(m, s) - _mean_above(m - 1.0, s)


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
    """Write the means of what controls take off to `out`, E[(a x + b y - k) clip(ca z - ck, 0, 1)].

    x and y sum the spots at N times by the weights `first` and `second`, shape (K, N); of these
    spots `means`, shape (K, N), are the means and `covariances` those of their logarithms with z,
    a normal of this `mean` and `variance`, shape (K,); `out` has shape (C, E). Weighed by a spot,
    z is still normal: its mean is moved by their covariance (as in Curran 1994).
    """
    for i in range(len(forms.first)):
        for e in range(len(market_of)):
            k = market_of[e]
            slope = forms.ca[i, e]
            spread = abs(slope) * np.sqrt(max(variance[k], 0.0))
            middle = slope * mean[k] - forms.ck[i, e]
            total = 0.0
            for n in range(means.shape[1]):
                weight = forms.a[i, e] * first[k, n] + forms.b[i, e] * second[k, n]
                if weight != 0.0:
                    share = _mean_share(middle + slope * covariances[k, n], spread)
                    total += weight * means[k, n] * share
            out[i, e] = total - forms.k[i, e] * _mean_share(middle, spread)


@kernel
def extreme_means(side: float, level: Floats, until: Floats, out: Floats) -> None:
    """Write the mean of e**X to `out`, shape (K,): X is the largest of the values on D dates.

    Or the smallest, where `side` is -1 rather than 1. The values are normal, with means `level` and
    variances `until`, shape (K, D), and have independent increments, identical from the first date
    on: with b(n) the mean of e**max(Y, 0), where Y is that of n increments, and a(n) the mean for
    the extreme of 0 and n sums, n a(n) is the sum of b(j) a(n - j) over j from 1 to n (Spitzer
    1956).
    """
    dates = level.shape[1]
    a, b = np.ones(dates), np.ones(dates)
    for k in range(len(out)):
        for n in range(1, dates):
            m, v = level[k, n] - level[k, 0], max(until[k, n] - until[k, 0], 0.0)
            s = np.sqrt(v)
            if s > 0.0:
                beyond = elementary.normal_cdf(side * (m + v) / s)
                b[n] = elementary.exp(m + 0.5 * v) * beyond + elementary.normal_cdf(-side * m / s)
            else:
                b[n] = elementary.exp(side * max(side * m, 0.0))
            total = 0.0
            for j in range(1, n + 1):
                total += b[j] * a[n - j]
            a[n] = total / n
        out[k] = elementary.exp(level[k, 0] + 0.5 * until[k, 0]) * a[dates - 1]


@kernel
def towards(motion: Bridge, direction: Floats, turn: Floats) -> None:
    """Write to `turn` what `simulate` reflects normals by, so that the first is the main one.

    `direction`, shape (steps,), weighs the motion's values: their sum is then a multiple of the
    first normal alone. `turn` has shape (steps,) and becomes 0 where nothing is to be turned.
    """
    for k in range(len(turn) - 1, -1, -1):
        place, left, right = motion.places[0, k], motion.places[1, k], motion.places[2, k]
        if left >= 0:
            direction[left] += motion.weights[0, k] * direction[place]
        if right >= 0:
            direction[right] += motion.weights[1, k] * direction[place]
        turn[k] = motion.weights[2, k] * direction[place]
    length = 0.0
    for k in range(len(turn)):
        length += turn[k] * turn[k]
    scale = np.sqrt(length)
    if turn[0] < 0.0:
        scale = -scale
    rest = 1.0 - (turn[0] / scale if length > 0.0 else 1.0)
    if rest < 1e-12:
        turn[:] = 0.0
        return
    # A Householder reflection of the first axis onto the direction: 1 - t t', |t|**2 = 2.
    for k in range(len(turn)):
        turn[k] = (turn[k] / scale - (1.0 if k == 0 else 0.0)) / np.sqrt(rest)


@kernel
def _reflect(turn: Floats, z: Floats) -> None:
    """Reflect the normals of every path, shape (steps, P): z becomes z - t (t'z)."""
    groups = z.shape[1] // WIDTH
    for g in range(groups):
        along = broadcast(0.0)
        for k in range(len(turn)):
            along = along + turn[k] * load(z, k * groups + g)
        for k in range(len(turn)):
            store(z, k * groups + g, load(z, k * groups + g) - turn[k] * along)


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int8 and int64."""
    one, row, rows = np.ones(1), np.ones((1, 1)), np.ones((0, 1))
    none, places, codes = np.empty(0), np.empty(0, np.int64), np.empty(0, np.int8)
    table = np.empty((0, 0))
    forms = Forms(places, places, places, *(table,) * 6)
    worlds = Worlds(
        np.zeros(1, np.int64),
        row,
        row,
        row,
        np.ones(1, np.int8),
        one,
        row,
        np.ones(1, np.int8),
        paths.LOGNORMAL,
    )
    simulation = Simulation(
        kind=FORMS,
        market_of=np.zeros(1, np.int64),
        worlds=worlds,
        functionals=payoffs.Functionals(codes, np.empty((1, 0, 1))),
        forms=forms,
        watched=Watched(
            none, table, none, table, table, table, codes, none, codes, table, table, none, codes,
            places,
        ),
        cliquets=Cliquets(*(none,) * 7),
        masks=np.zeros((1, 1), np.int8),
        interest=row,
        deviation=row,
        jumps=Jumps(0.0, 0.0, none, places, places, none),
        substeps=Substeps(none, 0.0, 0.0, 0.0, 0.0, table, places),
        turn=none,
    )  # fmt: skip
    motion = bridge.bridge(one)
    bridge.warm_up()
    draws.warm_up()
    jumps.warm_up()
    heston.warm_up()
    towards(motion, one, one)
    numbers = draws.draws(0, True, 1)
    simulate(simulation, numbers, motion, 1, 0, 0, WIDTH, WIDTH, np.empty((1, 0, 1)))
    control_means(forms, places, rows, rows, rows, rows, none, none, table)
    extreme_means(1.0, row, row, np.ones(1))
