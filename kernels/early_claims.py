"""Options that may be exercised on dates: their world, what they pay, and fitted values of them.

States stand in rows of paths, shape (rows, P): the logarithm of each spot, and under Heston's model
the variance. Date 0 is now, date n the expiry. On a date exercise comes first, then the dividend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .elementary import INVERSE_SQRT_2
from .jit import kernel
from .lane_elementary import erfcx, exp, gaussian, log
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    broadcast,
    choose,
    load,
    maximum,
    minimum,
    square_root,
    store,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

LOGNORMAL, JUMPS, HESTON = 0, 1, 2
SUM, BEST, WORST = 0, 1, -1
LEAST_SPOT = 1e-12  # of the spot now: what a dividend that takes all leaves
LEAST_DEVIATION = 1e-12


class World(NamedTuple):
    """How d assets move through the n steps between dates.

    `drift` and `deviation`, shape (n, d), are the mean and the standard deviation of each
    logarithm's step, of the diffusion alone under Merton's model; under Heston's the drift is the
    forward's. `factor`, shape (d, d), is a root of the correlation matrix.
    """

    kind: int
    times: Floats  # (n + 1,)
    start: Floats  # (d,) logarithms of the spots
    drift: Floats
    deviation: Floats
    factor: Floats
    discount: Floats  # (n + 1,) what one unit paid at the date is worth now
    left: Floats  # (n + 1,) of a share after the date's proportional dividend
    cash: Floats  # (n + 1,) the date's cash dividend
    held: Floats  # (n + 1,) what the spot is above the state: dividends still to come, escrowed
    model: Floats  # (5,) intensity, mean, deviation of jumps; or v0, kappa, theta, xi, rho


class Claim(NamedTuple):
    """What exercise pays: theta times (a choice of weighted spots less K), at least 0."""

    choice: int
    theta: float
    K: float
    weights: Floats  # (d,)
    exercise: Codes  # (n + 1,)


class Meshes(NamedTuple):
    """Of one asset: what the next date's value is worth, on a uniform mesh after each date.

    That after date i has points ``low[i] + k step[i]`` and values, in money of date i, from
    ``offsets[i]`` up to ``offsets[i + 1]``. There are none of states of several rows.
    """

    low: Floats
    step: Floats
    offsets: Indices
    values: Floats


class Rule(NamedTuple):
    """The fitted value of continuing after each date, as a sum of functions of the state.

    The first functions are products of Hermite polynomials, of degrees `powers`, shape (terms,
    rows), in the state less `centre` over `width`, held between `least` and `most`, shape (n + 1,
    rows). The others are prices of European options or near them: `growth`, shape (n + 1, d), is
    what a unit of spot, or of what it will be after the jumps numbered along, has in present value
    at expiry, `bond` what is paid against it, `spread` standard deviations, or what makes them.
    With one asset the only other function is the expectation of the next date's value, taken as it
    is: from `meshes`, or right before expiry the European option.
    """

    powers: Indices
    centre: Floats
    width: Floats
    least: Floats
    most: Floats
    growth: Floats
    bond: Floats
    spread: Floats
    odds: Floats
    coefficients: Floats  # (n + 1, p)
    meshes: Meshes


def functions_of(kind: int, choice: int, assets: int) -> int:
    """Return how many functions beside polynomials the fit has."""
    if kind != HESTON and assets == 1:
        return 1
    return assets + 4 if choice != SUM else 2


@kernel
def _exchange(theta: float, a: Lane, b: Lane, deviation: Lane) -> Lane:
    """Return the price of theta (A - B) if positive, A and B worth a and b > 0, jointly lognormal.

    `deviation` is that of ln(A / B).
    """
    spread = maximum(deviation, broadcast(LEAST_DEVIATION))
    middle = log(a / b) / spread
    up, down = middle + 0.5 * spread, middle - 0.5 * spread
    return theta * (a * _normal_cdf(theta * up) - b * _normal_cdf(theta * down))


@kernel
def _normal_cdf(x: Lane) -> Lane:
    tail = 0.5 * gaussian(x) * erfcx(minimum(absolute(x), broadcast(1e3)) * INVERSE_SQRT_2)
    return choose(x, broadcast(0.0), 1.0 - tail, tail)


@kernel
def after_dividend(world: World, i: int, x: Floats, y: Floats) -> None:
    """Write the state after the dividend of date i to y; x and y have the same shape."""
    y[:] = x
    if world.left[i] == 1.0 and world.cash[i] == 0.0:
        return
    least = LEAST_SPOT * exp(broadcast(world.start[0]))
    for g in range(x.shape[1] // WIDTH):
        spot = world.left[i] * exp(load(x, g)) - world.cash[i]
        store(y, g, log(maximum(spot, least)))


@kernel
def pay(world: World, claim: Claim, i: int, x: Floats, out: Floats) -> None:
    """Write what exercise on date i pays to out, shape (P,)."""
    assets, groups = len(claim.weights), x.shape[1] // WIDTH
    for g in range(groups):
        total = claim.weights[0] * exp(load(x, g))
        for a in range(1, assets):
            other = claim.weights[a] * exp(load(x, a * groups + g))
            if claim.choice == SUM:
                total = total + other
            elif claim.choice == BEST:
                total = maximum(total, other)
            else:
                total = minimum(total, other)
        worth = claim.theta * (total + (world.held[i] - claim.K))
        store(out, g, maximum(worth, broadcast(0.0)))


@kernel
def interpolate(meshes: Meshes, i: int, y: Floats, out: Floats) -> None:
    """Interpolate by cubics from the mesh after date i; beyond its ends go on with the last."""
    first = meshes.offsets[i]
    count = meshes.offsets[i + 1] - first
    if count == 1:
        out[:] = meshes.values[first]
        return
    per_step = 1.0 / meshes.step[i]
    for p in range(y.shape[1]):
        place = (y[0, p] - meshes.low[i]) * per_step
        place = min(max(place, 1.0), count - 2.000001)
        k = int(place)
        t = place - k
        k += first
        a, b = meshes.values[k - 1], meshes.values[k]
        c, e = meshes.values[k + 1], meshes.values[k + 2]
        outer = e * (t + 1.0) + a * (2.0 - t)
        inner = b * (2.0 - t) * 0.5 * (1.0 + t) * (1.0 - t) + c * 0.5 * t * (t + 1.0) * (2.0 - t)
        out[p] = inner - outer * t * (1.0 - t) / 6.0


@kernel
def basis(world: World, claim: Claim, rule: Rule, i: int, y: Floats, out: Floats) -> None:
    """Write the functions of the state after date i's dividend to out, shape (p, P)."""
    rows, groups = y.shape[0], y.shape[1] // WIDTH
    terms = len(rule.powers)
    top = 0
    for t in range(terms):
        for r in range(rows):
            top = max(top, rule.powers[t, r])
    hermite, inside = np.empty((rows * (top + 1), WIDTH)), np.empty(y.shape)
    for g in range(groups):
        for r in range(rows):
            state = minimum(load(y, r * groups + g), broadcast(rule.most[i, r]))
            state = maximum(state, broadcast(rule.least[i, r]))
            store(inside, r * groups + g, state)
            u = (state - rule.centre[i, r]) * (1.0 / rule.width[i, r])
            first = r * (top + 1)
            before, here = broadcast(0.0), broadcast(1.0)
            store(hermite, first, here)
            for k in range(top):
                after = u * here - float(k) * before
                before, here = here, after
                store(hermite, first + k + 1, here)
        for t in range(terms):
            product = load(hermite, rule.powers[t, 0])
            for r in range(1, rows):
                if rule.powers[t, r] > 0:
                    product = product * load(hermite, r * (top + 1) + rule.powers[t, r])
            store(out, t * groups + g, product)
    if world.kind != HESTON and len(claim.weights) == 1:
        if i == len(claim.exercise) - 2:
            european(claim, rule, i, y, out[out.shape[0] - 1])
        else:
            interpolate(rule.meshes, i, y, out[out.shape[0] - 1])
    else:
        if claim.choice == SUM:
            _sum_options(world, claim, rule, i, inside, out)
        else:
            _choice_options(claim, rule, i, inside, out)
        pay(world, claim, i, inside, out[out.shape[0] - 1])


@kernel
def european(claim: Claim, rule: Rule, i: int, y: Floats, out: Floats) -> None:
    """Write the European option on one asset to out, shape (P,): a mean over numbers of jumps."""
    groups = y.shape[1] // WIDTH
    bond = broadcast(max(rule.bond[i], 1e-300))
    for g in range(groups):
        spot = claim.weights[0] * exp(load(y, g))
        total = broadcast(0.0)
        for j in range(rule.odds.shape[1]):
            if rule.odds[i, j] > 0.0:
                total = total + rule.odds[i, j] * _exchange(
                    claim.theta, spot * rule.growth[i, j], bond, broadcast(rule.spread[i, j])
                )
        store(out, g, total)


@kernel
def _sum_options(world: World, claim: Claim, rule: Rule, i: int, y: Floats, out: Floats) -> None:
    """Write the exchange of what is held long for what is held short, as if both were lognormal."""
    assets, groups = len(claim.weights), y.shape[1] // WIDTH
    row = len(rule.powers)
    for g in range(groups):
        long = short = broadcast(1e-300)
        if rule.bond[i] > 0.0:
            short = short + rule.bond[i]
        else:
            long = long - rule.bond[i]
        for a in range(assets):
            worth = rule.growth[i, a] * exp(load(y, a * groups + g))
            if claim.weights[a] > 0.0:
                long = long + claim.weights[a] * worth
            else:
                short = short - claim.weights[a] * worth
        spread = broadcast(rule.spread[i, 0])
        if world.kind == HESTON:
            variance = maximum(load(y, groups + g), broadcast(0.0))
            spread = square_root(rule.spread[i, 0] + rule.spread[i, 1] * variance)
        store(out, row * groups + g, _exchange(claim.theta, long, short, spread))


@kernel
def _choice_options(claim: Claim, rule: Rule, i: int, y: Floats, out: Floats) -> None:
    """Write options on each asset, on the best and the next best (or worst), and on their gap."""
    assets, groups = len(claim.weights), y.shape[1] // WIDTH
    row = len(rule.powers)
    bond = broadcast(max(rule.bond[i], 1e-300))
    sign = float(claim.choice)
    for g in range(groups):
        best = rule.growth[i, 0] * claim.weights[0] * exp(load(y, g))
        best_spread = broadcast(rule.spread[i, 0])
        second, second_spread = sign * broadcast(-1e300), broadcast(1.0)
        store(out, row * groups + g, _exchange(claim.theta, best, bond, best_spread))
        for a in range(1, assets):
            worth = rule.growth[i, a] * claim.weights[a] * exp(load(y, a * groups + g))
            spread = broadcast(rule.spread[i, a])
            alone = _exchange(claim.theta, worth, bond, spread)
            store(out, (row + a) * groups + g, alone)
            beats, follows = sign * (worth - best), sign * (worth - second)
            zero = broadcast(0.0)
            second = choose(beats, zero, best, choose(follows, zero, worth, second))
            other = choose(follows, zero, spread, second_spread)
            second_spread = choose(beats, zero, best_spread, other)
            best = choose(beats, zero, worth, best)
            best_spread = choose(beats, zero, spread, best_spread)
        last = row + assets
        store(out, last * groups + g, _exchange(claim.theta, best, bond, best_spread))
        store(out, (last + 1) * groups + g, _exchange(claim.theta, second, bond, second_spread))
        both = broadcast(rule.spread[i, assets])
        store(out, (last + 2) * groups + g, _exchange(-sign, best, second, both))


@kernel
def continuation(rule: Rule, i: int, functions: Floats, out: Floats) -> None:
    """Write the fitted value of continuing after date i to out, shape (P,)."""
    groups = functions.shape[1] // WIDTH
    for g in range(groups):
        total = broadcast(0.0)
        for k in range(functions.shape[0]):
            total = total + rule.coefficients[i, k] * load(functions, k * groups + g)
        store(out, g, total)


@kernel
def value(
    world: World, claim: Claim, rule: Rule, i: int, x: Floats, y: Floats, work: Floats, out: Floats
) -> None:
    """Write the fitted value on date i to out, shape (P,): of exercise, or of continuing.

    `x` is the state before the dividend; y, of the same shape, becomes that after it. `work` has
    shape (p + 1, P).
    """
    last = len(claim.exercise) - 1
    if i == last:
        pay(world, claim, i, x, out)
        return
    after_dividend(world, i, x, y)
    functions = work[: work.shape[0] - 1]
    basis(world, claim, rule, i, y, functions)
    continuation(rule, i, functions, out)
    if claim.exercise[i]:
        exercised = work[work.shape[0] - 1]
        pay(world, claim, i, x, exercised)
        for g in range(x.shape[1] // WIDTH):
            store(out, g, maximum(load(exercised, g), load(out, g)))
