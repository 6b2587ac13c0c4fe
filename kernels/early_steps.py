"""Paths from date to date, and what a fitted value is worth one date before.

With one asset the expectation is a sum over a fine mesh of the logarithm, from which paths
interpolate; with several, or with a variance, a product of Gauss rules for each path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import elementary
from .bridge import Bridge, walk
from .draws import Draws, normals, uniforms
from .early_claims import (
    HESTON,
    JUMPS,
    Claim,
    Rule,
    World,
    after_dividend,
    european,
    interpolate,
    value,
)
from .heston import LEAST_PSI, LEAST_XI, SWITCH, TINY, HestonSteps, deal
from .heston import fill as fill_heston
from .jit import kernel
from .jumps import Jumps
from .jumps import fill as fill_jumps
from .lane_elementary import log
from .lanes import WIDTH, any_greater, broadcast, choose, load, maximum, square_root, store

if TYPE_CHECKING:
    from .jit import Floats

FINENESS = 64.0  # mesh steps a standard deviation of all moves, about
LEAST_FINENESS = 5.0  # and of each
REACH = 6.5  # standard deviations that a sum extends over
UNLIKELY = 1e-13


class Paths(NamedTuple):
    """What draws the paths of a world, date by date."""

    draws: Draws
    bridge: Bridge  # of Brownian motion in time at the n dates after now
    jumps: Jumps
    heston: HestonSteps
    asset: int  # whose spot moves for delta and gamma
    precision: Floats  # (d,) its row of the inverse correlation matrix


class Cubature(NamedTuple):
    """Gauss rules: points, shape (m, d), of independent normals; and one of the exponential law.

    Under Heston's model those of the variance come second; `tail`, shape (2, m'), are points and
    weights of the exponential. `fine_points` and `fine_weights` are for the step to expiry, where
    the payoff has a kink.
    """

    points: Floats
    weights: Floats
    fine_points: Floats
    fine_weights: Floats
    tail: Floats


@kernel
def block(
    world: World, paths: Paths, randomisation: int, first: int, x: Floats, score: Floats
) -> None:
    """Write the states at dates 1 to n, before dividends, of a block of paths to x.

    Shape (n * rows, P), the rows of a date together. `score`, shape (2, P), becomes how the first
    step's density answers to the logarithm of one asset's spot: its relative first and second
    derivative.
    """
    n, d = world.drift.shape
    P = x.shape[1]
    groups = P // WIDTH
    rows = x.shape[0] // n
    moved = np.zeros((d * n, P))
    if world.kind == HESTON:
        _heston(paths, n, randomisation, first, moved, x, score)
    else:
        _diffuse(world, paths, randomisation, first, moved)
        score[:] = 0.0
        for a in range(d):
            for g in range(groups):
                part = (paths.precision[a] / world.deviation[0, a]) * load(
                    moved, a * n * groups + g
                )
                store(score, g, load(score, g) + part / world.deviation[0, paths.asset])
        own = world.deviation[0, paths.asset]
        for g in range(groups):
            one = load(score, g)
            store(score, groups + g, one * one - paths.precision[paths.asset] / (own * own))
    if world.kind == JUMPS:
        number, size = np.empty((n, P)), np.empty((n, P))
        uniforms(paths.draws, randomisation, first, n, n, number)
        normals(paths.draws, randomisation, first, 2 * n, n, size)
        fill_jumps(paths.jumps, number, size, moved)
    before, now = np.empty((1, P)), np.empty((1, P))
    for a in range(d):
        now[0] = world.start[a]
        for k in range(n):
            for g in range(groups):
                total = load(now, g) + (load(moved, (a * n + k) * groups + g) + world.drift[k, a])
                if k > 0:
                    total = total - load(moved, (a * n + k - 1) * groups + g)
                store(before, g, total)
            x[k * rows + a] = before[0]
            after_dividend(world, k + 1, before, now)


@kernel
def _diffuse(world: World, paths: Paths, randomisation: int, first: int, moved: Floats) -> None:
    """Write how far diffusion has moved each asset by each date, shape (d * n, P)."""
    n, d = world.drift.shape
    P = moved.shape[1]
    groups = P // WIDTH
    z, own, w = np.empty((n * d, P)), np.empty((n, P)), np.empty((n, P))
    normals(paths.draws, randomisation, first, 0, n * d, z)
    for a in range(d):
        # The first normals of all assets make their largest moves.
        for k in range(n):
            own[k] = z[k * d + a]
        walk(paths.bridge, own, w)
        for b in range(a, d):
            if world.factor[b, a] == 0.0:
                continue
            total = np.zeros(P)
            for k in range(n):
                scale = world.factor[b, a] * world.deviation[k, b]
                scale /= np.sqrt(world.times[k + 1] - world.times[k])
                for g in range(groups):
                    step = load(w, k * groups + g)
                    if k > 0:
                        step = step - load(w, (k - 1) * groups + g)
                    so_far = load(total, g) + scale * step
                    store(total, g, so_far)
                    here = (b * n + k) * groups + g
                    store(moved, here, load(moved, here) + so_far)


@kernel
def _heston(
    paths: Paths,
    n: int,
    randomisation: int,
    first: int,
    moved: Floats,
    x: Floats,
    score: Floats,
) -> None:
    """Write how far the asset has moved by each date, and the variances to every second row."""
    P = moved.shape[1]
    z, asset, variance = np.empty((2 * n, P)), np.empty((n, P)), np.empty((n, P))
    normals(paths.draws, randomisation, first, 0, 2 * n, z)
    v, own = np.empty((n, P)), np.empty((2, P))
    deal(z, asset, variance)
    w, b = np.empty((n, P)), np.empty((n, P))
    walk(paths.bridge, asset, w)
    walk(paths.bridge, variance, b)
    fill_heston(paths.heston, w, b, moved, v, own)
    for p in range(P):
        score[0, p] = own[0, p] / own[1, p]
        score[1, p] = score[0, p] * score[0, p] - 1.0 / own[1, p]
    for k in range(n):
        x[2 * k + 1] = v[k]


@kernel
def expected(
    world: World,
    claim: Claim,
    rule: Rule,
    cubature: Cubature,
    i: int,
    y: Floats,
    work: Floats,
    out: Floats,
) -> None:
    """Write what the value on date i + 1 is worth right after date i, in states y.

    `work` has shape (p + 2 rows + 2, P), out (P,).
    """
    if y.shape[0] == 1:
        interpolate(rule.meshes, i, y, out)
        return
    rows = y.shape[0]
    there, behind = work[:rows], work[rows : 2 * rows]
    worth, rest = work[2 * rows], work[2 * rows + 1 :]
    out[:] = 0.0
    if world.kind == HESTON:
        _expected_heston(world, claim, rule, cubature, i, y, there, behind, rest, worth, out)
    else:
        groups = y.shape[1] // WIDTH
        points, weights = cubature.points, cubature.weights
        if i == len(claim.exercise) - 2:
            points, weights = cubature.fine_points, cubature.fine_weights
        for j in range(len(weights)):
            for a in range(rows):
                shift = 0.0
                for b in range(a + 1):
                    shift += world.factor[a, b] * points[j, b]
                shift = world.drift[i, a] + world.deviation[i, a] * shift
                for g in range(groups):
                    store(there, a * groups + g, load(y, a * groups + g) + shift)
            value(world, claim, rule, i + 1, there, behind, rest, worth)
            for g in range(groups):
                store(out, g, load(out, g) + weights[j] * load(worth, g))
    ratio = world.discount[i + 1] / world.discount[i]
    for g in range(y.shape[1] // WIDTH):
        store(out, g, ratio * load(out, g))


@kernel
def _expected_heston(
    world: World,
    claim: Claim,
    rule: Rule,
    cubature: Cubature,
    i: int,
    y: Floats,
    there: Floats,
    behind: Floats,
    rest: Floats,
    worth: Floats,
    out: Floats,
) -> None:
    """Add the values after one step of the scheme of `heston`, by its own law of the variance."""
    groups = y.shape[1] // WIDTH
    _, kappa, theta, xi, rho = world.model
    xi = max(xi, LEAST_XI)
    dt = world.times[i + 1] - world.times[i]
    lost = -elementary.expm1(-kappa * dt)
    span = lost / kappa if kappa * dt > 1e-12 else dt
    by_v = xi * xi * (1.0 - lost) * span
    by_theta = 0.5 * xi * xi * theta * lost * span
    tilt = rho / xi * (1.0 + 0.5 * kappa * dt) - 0.25 * rho * rho * dt
    half = 0.5 * dt * (1.0 - rho * rho)
    zero, one, limit = broadcast(0.0), broadcast(1.0), broadcast(1.0 / SWITCH)
    points, weights = cubature.points, cubature.weights
    if i == len(claim.exercise) - 2:
        points, weights = cubature.fine_points, cubature.fine_weights
    normal, exponential = len(weights), cubature.tail.shape[1]
    side = 0
    while points[side, 1] == points[0, 1]:
        side += 1
    # One normal of the asset for each point of the variance, and a mass at 0 with the exponential.
    share = np.empty(y.shape[1])
    count = normal
    for g in range(groups):
        v0 = load(y, groups + g)
        mean = v0 * (1.0 - lost) + theta * lost
        if any_greater(v0 * by_v + by_theta, SWITCH * mean * mean):
            count = normal + (exponential + 1) * side
    for m in range(count):
        for g in range(groups):
            v0 = load(y, groups + g)
            mean = v0 * (1.0 - lost) + theta * lost
            spread = v0 * by_v + by_theta
            square = mean * mean
            ratio = square / maximum(spread, LEAST_PSI * square + TINY)
            twice = 2.0 * ratio
            if m < normal:
                more = maximum(twice - 1.0, zero)
                b2 = more + square_root(twice * more)
                scale = mean / (1.0 + b2)
                shifted = square_root(b2) + points[m, 1]
                v1 = scale * shifted * shifted
                moment = maximum(1.0 - 2.0 * tilt * scale, broadcast(TINY))
                taken = tilt * b2 * scale / moment - 0.5 * log(moment)
                weight = choose(limit, ratio, zero, broadcast(weights[m]))
                z = points[m, 0]
            else:
                k, own = (m - normal) // side, (m - normal) % side
                half_scale = 0.5 * (mean + spread / maximum(mean, broadcast(TINY)))
                alive = twice / (1.0 + ratio)
                moment = one + alive * (tilt * half_scale / (1.0 - tilt * half_scale))
                taken = log(maximum(moment, broadcast(TINY)))
                z = points[own, 0]
                by_asset = weights[own] / weights[:side].sum()
                if k < exponential:
                    v1 = half_scale * cubature.tail[0, k]
                    part = by_asset * cubature.tail[1, k] * alive
                else:
                    v1 = zero
                    part = by_asset * (1.0 - alive)
                weight = choose(limit, ratio, part, zero)
            total = half * (v0 + v1)
            x1 = load(y, g) + (world.drift[i, 0] + (tilt * v1 - taken) - 0.5 * total)
            store(there, g, x1 + square_root(total) * z)
            store(there, groups + g, v1)
            store(share, g, weight)
        value(world, claim, rule, i + 1, there, behind, rest, worth)
        for g in range(groups):
            store(out, g, load(out, g) + load(share, g) * load(worth, g))


@kernel
def transition(world: World, i: int) -> tuple[float, Floats]:
    """Return a mesh step and the chances of moving by -m, ..., m of them, after the drift."""
    s = world.deviation[i, 0]
    h = s / max(FINENESS / np.sqrt(float(len(world.drift))), LEAST_FINENESS)
    expected_jumps, reach = 0.0, 0.0
    most = 0
    if world.kind == JUMPS:
        expected_jumps = world.model[0] * (world.times[i + 1] - world.times[i])
        odds = elementary.exp(-expected_jumps)
        left = 1.0 - odds
        while left > UNLIKELY and most < 1000:
            most += 1
            odds *= expected_jumps / most
            left -= odds
        reach = most * abs(world.model[1]) + REACH * np.sqrt(float(most)) * world.model[2]
    m = int(np.ceil((REACH * s + reach) / h))
    chances = np.zeros(2 * m + 1)
    odds = elementary.exp(-expected_jumps)
    for jumps in range(most + 1):
        if jumps > 0:
            odds *= expected_jumps / jumps
        spread = np.sqrt(s * s + jumps * world.model[2] * world.model[2])
        for k in range(-m, m + 1):
            u = (k * h - jumps * world.model[1]) / spread
            chances[k + m] += odds * elementary.normal_pdf(u) / spread
    return h, chances / chances.sum()


@kernel
def mesh_date(world: World, claim: Claim, rule: Rule, i: int, chances: Floats) -> None:
    """Fill the mesh after date i with expectations of the value on date i + 1.

    Right before expiry they are European options. `chances` are those of moving by mesh steps.
    """
    meshes, step = rule.meshes, rule.meshes.step[i]
    first = meshes.offsets[i]
    count = meshes.offsets[i + 1] - first
    exact = i == len(claim.exercise) - 2
    beyond = 0 if exact else len(chances) // 2
    size = -(-(count + 2 * beyond) // WIDTH) * WIDTH
    x, y, out = np.empty((1, size)), np.empty((1, size)), np.empty(size)
    start = meshes.low[i] - beyond * step
    if not exact:
        start += world.drift[i, 0]
    for k in range(size):
        x[0, k] = start + k * step
    if exact:
        european(claim, rule, i, x, out)
        meshes.values[first : first + count] = out[:count]
        return
    value(world, claim, rule, i + 1, x, y, np.empty((rule.coefficients.shape[1] + 1, size)), out)
    total = np.zeros(count)
    for j in range(len(chances)):
        for k in range(count):
            total[k] += chances[j] * out[k + j]
    ratio = world.discount[i + 1] / world.discount[i]
    for k in range(count):
        meshes.values[first + k] = ratio * total[k]
