"""Early exercise by simulation: a rule by least squares, and bounds from either side.

A rule is fitted on paths of its own, backwards, to what following it later is worth (Longstaff and
Schwartz 2001). What the fitted values change by, less what they were expected to change by, is a
martingale: taken off what exercise pays, it makes the fit's responses nearly certain, and the low
bound too; and the mean of the largest payoff less the martingale is a high bound (Rogers 2002;
Haugh and Kogan 2004; Andersen and Broadie 2004).

With one asset the expectation over a step is a sum over a mesh, good to some 1e-6 of the strike;
the fitted value is that expectation, plus what paths say the rule misses by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import early_claims, elementary
from .bridge import bridge
from .draws import draws
from .early_claims import (
    HESTON,
    Claim,
    Meshes,
    Rule,
    World,
    after_dividend,
    basis,
    pay,
    value,
)
from .early_steps import Cubature, Paths, block, expected, mesh_date, transition
from .heston import heston_steps
from .jit import kernel
from .jumps import jumps
from .lanes import WIDTH, broadcast, load, store

if TYPE_CHECKING:
    from .jit import Floats, Indices

P = 256  # paths of a block, at most
RIDGE = 1e-11  # of each function's square
LOW_SHARE = 0.75  # of the low bound in the price: it errs less
STENCIL = 5  # points about the spot now, a fifth of the first step's deviation apart
ABOUT = 64  # mesh steps to either side of the spot now
MARGIN = 0.3  # of the range of the calibration's paths that meshes reach beyond it, on either side


@kernel
def _accumulate(functions: Floats, responses: Floats, gram: Floats, moments: Floats) -> None:
    """Add a block's products of functions with each other and with the responses."""
    groups = functions.shape[1] // WIDTH
    products = np.empty((1, WIDTH))
    for a in range(functions.shape[0]):
        for b in range(a + 2):
            total = broadcast(0.0)
            if b <= a:
                for g in range(groups):
                    total = total + load(functions, a * groups + g) * load(
                        functions, b * groups + g
                    )
            else:
                for g in range(groups):
                    total = total + load(functions, a * groups + g) * load(responses, g)
            store(products, 0, total)
            added = 0.0
            for lane in range(WIDTH):
                added += products[0, lane]
            if b <= a:
                gram[a, b] += added
            else:
                moments[a] += added


@kernel
def _solve(gram: Floats, moments: Floats, out: Floats) -> None:
    """Solve the normal equations by Cholesky, functions scaled to 1, with a ridge.

    What hardly differs from the functions before it is left out. `gram` holds its lower triangle,
    and is overwritten.
    """
    count = len(moments)
    scale = np.empty(count)
    for a in range(count):
        scale[a] = 1.0 / np.sqrt(gram[a, a]) if gram[a, a] > 0.0 else 0.0
    for a in range(count):
        for b in range(a + 1):
            gram[a, b] *= scale[a] * scale[b]
        gram[a, a] += RIDGE
    for a in range(count):
        for b in range(a + 1):
            total = gram[a, b]
            for k in range(b):
                total -= gram[a, k] * gram[b, k]
            if b < a:
                gram[a, b] = total * gram[b, b]
            else:
                gram[a, a] = 1.0 / np.sqrt(total) if total > RIDGE else 0.0
    for a in range(count):
        total = moments[a] * scale[a]
        for k in range(a):
            total -= gram[a, k] * out[k]
        out[a] = total * gram[a, a]
    for a in range(count - 1, -1, -1):
        total = out[a]
        for k in range(a + 1, count):
            total -= gram[k, a] * out[k]
        out[a] = total * gram[a, a]
    for a in range(count):
        out[a] *= scale[a]


@kernel
def _standardise(rule: Rule, i: int, states: Floats) -> None:
    """Set centre, width and range of date i's polynomials; `states` has shape (blocks, rows, P)."""
    blocks, rows, _ = states.shape
    for r in range(rows):
        total, square = 0.0, 0.0
        least, most = np.inf, -np.inf
        for b in range(blocks):
            for p in range(P):
                total += states[b, r, p]
                least, most = min(least, states[b, r, p]), max(most, states[b, r, p])
        mean = total / (blocks * P)
        for b in range(blocks):
            for p in range(P):
                square += (states[b, r, p] - mean) ** 2
        rule.centre[i, r] = mean
        rule.width[i, r] = max(np.sqrt(square / (blocks * P)), 1e-12)
        rule.least[i, r], rule.most[i, r] = least, most


@kernel
def _meshes(world: World, rule: Rule) -> Meshes:
    """Lay out meshes over what calibration has seen; none for states of several rows."""
    n, rows = world.drift.shape[0], rule.centre.shape[1]
    low, step = np.zeros(n), np.ones(n)
    offsets = np.zeros(n + 1, np.int64)
    if rows > 1:
        return Meshes(low, step, offsets, np.empty(0))
    for i in range(n):
        h, _ = transition(world, i)
        step[i] = h
        if i == 0:
            low[0] = world.start[0] - ABOUT * h
            count = 2 * ABOUT + 1
        else:
            margin = MARGIN * (rule.most[i, 0] - rule.least[i, 0]) + 4.0 * h
            low[i] = rule.least[i, 0] - margin
            count = int(np.ceil((rule.most[i, 0] - rule.least[i, 0] + 2.0 * margin) / h)) + 1
        offsets[i + 1] = offsets[i] + count
    return Meshes(low, step, offsets, np.zeros(offsets[n]))


@kernel
def calibrate(
    world: World,
    claim: Claim,
    rule: Rule,
    cubature: Cubature,
    paths: Paths,
    randomisation: int,
    count: int,
) -> Rule:
    """Return the rule, fitted on `count` paths, a multiple of P."""
    n = world.drift.shape[0]
    rows, width = rule.centre.shape[1], rule.coefficients.shape[1]
    blocks = count // P
    x, score = np.empty((blocks, n * rows, P)), np.empty((2, P))
    y = np.empty((blocks, rows, P))
    for b in range(blocks):
        block(world, paths, randomisation, b * P, x[b], score)
    for i in range(1, n):
        for b in range(blocks):
            after_dividend(world, i, x[b, (i - 1) * rows : i * rows], y[b])
        _standardise(rule, i, y)
    rule = Rule(
        rule.powers, rule.centre, rule.width, rule.least, rule.most, rule.growth, rule.bond,
        rule.spread, rule.odds, rule.coefficients, _meshes(world, rule),
    )  # fmt: skip
    work = np.empty((width + 2 * rows + 2, P))
    worth, behind = np.empty((blocks, P)), np.empty(P)
    response, functions = np.empty((blocks, P)), np.empty((width, P))
    # With one asset the expectation is taken as it is, and what it misses fitted.
    fitted = width - 1 if rows == 1 else width
    gram, moments, target = np.empty((fitted, fitted)), np.empty(fitted), np.empty(P)
    for b in range(blocks):
        pay(world, claim, n, x[b, (n - 1) * rows :], response[b])
        worth[b] = response[b]
    groups = P // WIDTH
    for i in range(n - 1, 0, -1):
        if rows == 1:
            _, chances = transition(world, i)
            mesh_date(world, claim, rule, i, chances)
        ratio = world.discount[i + 1] / world.discount[i]
        gram[:], moments[:] = 0.0, 0.0
        for b in range(blocks):
            after_dividend(world, i, x[b, (i - 1) * rows : i * rows], y[b])
            expected(world, claim, rule, cubature, i, y[b], work, behind)
            for g in range(groups):
                missed = load(response, b * groups + g) - load(worth, b * groups + g)
                store(response, b * groups + g, ratio * missed + load(behind, g))
            basis(world, claim, rule, i, y[b], functions)
            target[:] = response[b]
            if rows == 1:
                for p in range(P):
                    target[p] -= functions[fitted, p]
            _accumulate(functions[:fitted], target, gram, moments)
        rule.coefficients[i] = 1.0
        if rows == 1 and i == n - 1:
            rule.coefficients[i, :fitted] = 0.0
        else:
            _solve(gram, moments, rule.coefficients[i])
        for b in range(blocks):
            here = x[b, (i - 1) * rows : i * rows]
            value(world, claim, rule, i, here, y[b], work[: width + 1], worth[b])
            if claim.exercise[i]:
                pay(world, claim, i, here, behind)
                for p in range(P):
                    if behind[p] > 0.0 and behind[p] >= worth[b, p]:
                        response[b, p] = behind[p]
    if rows == 1:
        _, chances = transition(world, 0)
        mesh_date(world, claim, rule, 0, chances)
    return rule


@kernel
def moved(world: World, claim: Claim, rule: Rule, blank: Rule) -> Rule:
    """Return a fitted rule for a world that differs a little: `blank` has its European options.

    The expectations on meshes are those of that world; what is fitted stays.
    """
    n, meshes = world.drift.shape[0], rule.meshes
    again = Meshes(meshes.low.copy(), meshes.step.copy(), meshes.offsets, meshes.values.copy())
    if rule.centre.shape[1] > 1:
        return rule
    other = Rule(
        rule.powers, rule.centre, rule.width, rule.least, rule.most, blank.growth, blank.bond,
        blank.spread, blank.odds, rule.coefficients, again,
    )  # fmt: skip
    for i in range(n - 1, -1, -1):
        again.step[i], chances = transition(world, i)
        if i == 0:
            again.low[0] = world.start[0] - ABOUT * again.step[0]
        mesh_date(world, claim, other, i, chances)
    return other


@kernel
def now(
    world: World,
    claim: Claim,
    rule: Rule,
    cubature: Cubature,
    asset: int,
    out: Floats,
) -> None:
    """Write the fitted value of continuing now, and its derivatives by an asset's spot, to out.

    Shape (3,): by differences of fourth order over half a deviation of the first step.
    """
    rows = rule.centre.shape[1]
    y, worth = np.empty((rows, WIDTH)), np.empty(WIDTH)
    h = (0.2 if rows == 1 else 0.5) * world.deviation[0, asset]
    for p in range(WIDTH):
        for a in range(len(world.start)):
            y[a, p] = world.start[a]
        if world.kind == HESTON:
            y[1, p] = world.model[0]
        y[asset, p] += (min(p, STENCIL - 1) - 2) * h
    work = np.empty((rule.coefficients.shape[1] + 2 * rows + 2, WIDTH))
    expected(world, claim, rule, cubature, 0, y, work, worth)
    out[0] = worth[2]
    out[1] = (worth[0] - 8.0 * worth[1] + 8.0 * worth[3] - worth[4]) / (12.0 * h)
    second = -worth[0] + 16.0 * worth[1] - 30.0 * worth[2] + 16.0 * worth[3] - worth[4]
    out[2] = second / (12.0 * h * h)


@kernel
def bounds(
    world: World,
    claim: Claim,
    rule: Rule,
    cubature: Cubature,
    paths: Paths,
    randomisation: int,
    first: int,
    start: float,
    sums: Floats,
    stops: Indices,
) -> None:
    """Add the sums of P paths from number `first` on to sums, shape (4,), one path after the other.

    They are of the low and of the high bound, both less `start`, the fitted value now, and of their
    mean times the first and the second score. `stops`, shape (P,), becomes the date that each path
    is stopped on.
    """
    n, rows = world.drift.shape[0], rule.centre.shape[1]
    width = rule.coefficients.shape[1]
    P = len(stops)
    groups = P // WIDTH
    x, score, y = np.empty((n * rows, P)), np.empty((2, P)), np.empty((rows, P))
    work, worth, behind = np.empty((width + 2 * rows + 2, P)), np.empty(P), np.empty(P)
    martingale = np.zeros(P)
    low, high = np.zeros(P), np.full(P, -np.inf)
    stops[:] = 0
    block(world, paths, randomisation, first, x, score)
    behind[:] = start
    for i in range(1, n + 1):
        here = x[(i - 1) * rows : i * rows]
        value(world, claim, rule, i, here, y, work[: width + 1], worth)
        paid = worth if i == n else work[width]
        discount, before = world.discount[i], world.discount[i - 1]
        for g in range(groups):
            change = discount * load(worth, g) - before * load(behind, g)
            store(martingale, g, load(martingale, g) + change)
        if claim.exercise[i] or i == n:
            for p in range(P):
                hedged = discount * paid[p] - martingale[p] - start
                high[p] = max(high[p], hedged)
                if stops[p] == 0 and (i == n or (paid[p] > 0.0 and paid[p] >= worth[p])):
                    stops[p] = i
                    low[p] = hedged
        if i < n and rows == 1:
            behind[:] = work[width - 1]
        elif i < n:
            expected(world, claim, rule, cubature, i, y, work, behind)
    for p in range(P):
        middle = LOW_SHARE * low[p] + (1.0 - LOW_SHARE) * high[p]
        sums[0] += low[p]
        sums[1] += high[p]
        sums[2] += middle * score[0, p]
        sums[3] += middle * score[1, p]


@kernel
def stopped(
    world: World,
    claim: Claim,
    rule: Rule,
    cubature: Cubature,
    paths: Paths,
    randomisation: int,
    first: int,
    start: float,
    stops: Indices,
) -> float:
    """Return the sum of the low bound less `start` over P paths, stopped on given dates."""
    n, rows = world.drift.shape[0], rule.centre.shape[1]
    width = rule.coefficients.shape[1]
    P = len(stops)
    x, score, y = np.empty((n * rows, P)), np.empty((2, P)), np.empty((rows, P))
    work, worth, behind = np.empty((width + 2 * rows + 2, P)), np.empty(P), np.empty(P)
    martingale, paid = np.zeros(P), np.empty(P)
    block(world, paths, randomisation, first, x, score)
    behind[:] = start
    total = 0.0
    last = stops.max()
    for i in range(1, last + 1):
        here = x[(i - 1) * rows : i * rows]
        value(world, claim, rule, i, here, y, work[: width + 1], worth)
        pay(world, claim, i, here, paid)
        for p in range(P):
            martingale[p] += world.discount[i] * worth[p] - world.discount[i - 1] * behind[p]
            if stops[p] == i:
                total += world.discount[i] * paid[p] - martingale[p] - start
        if i < n and rows == 1:
            behind[:] = work[width - 1]
        elif i < n:
            expected(world, claim, rule, cubature, i, y, work, behind)
    return total


@kernel
def exps(x: Floats, out: Floats) -> None:
    """Write e**x to out, of the same shape."""
    for k in range(len(x)):
        out[k] = elementary.exp(x[k])


@kernel
def logs(x: Floats, out: Floats) -> None:
    """Write ln x to out, of the same shape; minus infinity where x is not above 0."""
    for k in range(len(x)):
        out[k] = elementary.log(max(x[k], 0.0))


def warm_up() -> None:
    """Compile for the one layout callers use: C-contiguous arrays of float64, int64 and int8."""
    n, one = 2, np.ones(1)
    world = World(
        early_claims.LOGNORMAL, np.arange(n + 1.0), np.zeros(1), np.zeros((n, 1)),
        np.full((n, 1), 0.1), np.ones((1, 1)), np.ones(n + 1), np.ones(n + 1),
        np.zeros(n + 1), np.zeros(n + 1), np.zeros(5),
    )  # fmt: skip
    claim = Claim(early_claims.SUM, 1.0, 1.0, one, np.ones(n + 1, np.int8))
    shape = (n + 1, 1)
    rule = Rule(
        np.zeros((1, 1), np.int64), np.zeros(shape), np.ones(shape), np.zeros(shape),
        np.zeros(shape), np.ones(shape), np.ones(n + 1), np.ones(shape), np.ones(shape),
        np.zeros((n + 1, 2)), Meshes(np.zeros(n), np.ones(n), np.zeros(n + 1, np.int64), one),
    )  # fmt: skip
    times = world.times[1:]
    paths = Paths(
        draws(0, True, n),
        bridge(times),
        jumps(0.0, 0.0, 0.0, times),
        heston_steps(0.04, 1.0, 0.04, 0.5, 0.0, times, np.zeros(n), 0.0),
        0,
        one,
    )
    cubature = Cubature(np.zeros((1, 2)), one, np.zeros((1, 2)), one, np.ones((2, 1)))
    rule = calibrate(world, claim, rule, cubature, paths, 0, P)
    rule = moved(world, claim, rule, rule)
    now(world, claim, rule, cubature, 0, np.empty(3))
    stops = np.zeros(P, np.int64)
    bounds(world, claim, rule, cubature, paths, 0, 0, 0.0, np.zeros(4), stops)
    stopped(world, claim, rule, cubature, paths, 0, 0, 0.0, stops)
    exps(one, np.empty(1))
    logs(one, np.empty(1))
