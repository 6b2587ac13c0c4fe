"""What options on several assets are worth over the first factor, given the others, and greeks.

A weighted basket with one boundary is a sum of Black-Scholes terms beyond it (Choi 2018); the best
or the worst of assets a sum of such terms between the crossings of straight lines, the logarithms
of the assets. Payoffs are continuous, so that boundaries move values only in second order: greeks
are the derivatives of each term, and gamma that of the boundary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import elementary
from .elementary import INVERSE_SQRT_2, INVERSE_SQRT_2PI
from .jit import kernel
from .lane_elementary import erfcx, exp, gaussian, log
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    any_greater,
    broadcast,
    choose,
    load,
    maximum,
    minimum,
    store,
)

if TYPE_CHECKING:
    from .baskets import Baskets, Turned
    from .jit import Floats

ROWS = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho")
FAR = 40.0  # standard deviations
MOST_STEPS = 60
NEAR_ROOT = 1e-4  # a last step: its square is the root's error, and that one's the value's
NO_LOGARITHM = -1e5  # stands for that of 0
PARALLEL = 1e-12  # slopes that differ less are one
MOST_CONTROLS = 12  # assets that are a control each; more of them are one


@kernel
def _normal(x: Lane) -> Lane:
    """Return the standard normal distribution."""
    tail = 0.5 * gaussian(x) * erfcx(absolute(x) * INVERSE_SQRT_2)
    return choose(x, broadcast(0.0), 1.0 - tail, tail)


@kernel
def _density(x: Lane) -> Lane:
    return INVERSE_SQRT_2PI * gaussian(x)


@kernel
def grow(b: Baskets, t: Turned, c: int, z: Floats, group: int, work: Floats, sums: Floats) -> None:
    """Write what the simulated factors make of each asset to rows of `work`, shape (3 n, 8).

    First what is held, per unit of spot; then the derivative of its logarithm by vol; then that
    logarithm, less what is held. The controls are added to `sums`.
    """
    S, sigmas, holds, loads, dims = b.S, b.sigma, t.holds, t.loads, t.dims[c]
    n, groups = S.shape[1], z.shape[1] // WIDTH
    for i in range(n):
        moved = broadcast(0.0)
        square = 0.0
        for k in range(dims):
            factor = loads[c, i, k + 1]
            moved = moved + factor * load(z, k * groups + group)
            square += factor * factor
        sigma = sigmas[c, i]
        exponent = sigma * moved - 0.5 * sigma * sigma * square
        slope = moved - sigma * square
        grown = holds[c, i] * exp(exponent)
        store(work, i, grown)
        store(work, n + i, slope)
        store(work, 2 * n + i, exponent)
        row = len(ROWS) + (i if n <= MOST_CONTROLS else 0)
        store(sums, row, load(sums, row) + S[c, i] * grown)


@kernel
def _boundary(b: Baskets, t: Turned, c: int, work: Floats) -> Lane:
    """Return where what a basket holds long is worth what it is short, by Newton's method.

    The logarithm of one over the other is nearly straight; a step that leads outside of the bracket
    halves it instead. `work` is as `grow` left it.
    """
    S, sigma, holds, loads, cash = b.S, b.sigma, t.holds, t.loads, t.cash[c]
    zero = broadcast(0.0)
    root, low, high = zero, broadcast(-FAR), broadcast(FAR)
    for _ in range(MOST_STEPS):
        long, short = broadcast(max(-cash, 0.0)), broadcast(max(cash, 0.0))
        long_slope, short_slope = zero, zero
        for i in range(S.shape[1]):
            load_i = sigma[c, i] * loads[c, i, 0]
            term = S[c, i] * load(work, i)
            term = term * exp(load_i * root - 0.5 * load_i * load_i)
            if holds[c, i] > 0.0:
                long = long + term
                long_slope = long_slope + load_i * term
            else:
                short = short - term
                short_slope = short_slope - load_i * term
        gap = log(long) - log(short)
        step = gap / (long_slope / long - short_slope / short)
        high = choose(gap, zero, root, high)
        low = choose(gap, zero, low, root)
        middle = 0.5 * (low + high)
        # What is not a number is not in between either.
        following = choose(root - step, low - 1e-9, root - step, middle)
        following = choose(high + 1e-9, following, following, middle)
        moved = absolute(following - root)
        root = following
        if not any_greater(moved, broadcast(NEAR_ROOT)):
            break
    return root


@kernel
def weighted(
    b: Baskets, t: Turned, c: int, z: Floats, greeks: bool, work: Floats, sums: Floats
) -> None:
    """Add the values of a weighted basket with one boundary to `sums`, shape (7 + m, 8).

    They are those of a block `z` of normals, shape (dims, P), eight paths abreast; then come its m
    controls. `work` has shape (3 n, 8).
    """
    S, sigma, q, holds, loads = b.S, b.sigma, b.q, t.holds, t.loads
    side, cash, T, asset = t.side[c], t.cash[c], b.T[c], b.asset[c]
    n, rate_now = S.shape[1], b.rate_now[c]
    longs, shorts = max(-cash, 0.0), max(cash, 0.0)
    for i in range(n):
        held = S[c, i] * holds[c, i]
        longs += max(held, 0.0)
        shorts += max(-held, 0.0)
    decided = longs == 0.0 or shorts == 0.0
    zero = broadcast(0.0)
    for group in range(z.shape[1] // WIDTH):
        grow(b, t, c, z, group, work, sums)
        root = broadcast(FAR if longs == 0.0 else -FAR) if decided else _boundary(b, t, c, work)
        likely = _normal(-side * root)
        paid = (side * cash) * likely
        price = -paid
        theta = (-rate_now) * paid
        slope_at_root = zero
        for i in range(n):
            load_i = sigma[c, i] * loads[c, i, 0]
            grown = load(work, i)
            worth = S[c, i] * grown
            share = _normal(side * (load_i - root))
            price = price + side * worth * share
            if greeks:
                density = _density(load_i - root)
                vega = worth * (side * load(work, n + i) * share + loads[c, i, 0] * density)
                theta = theta + side * q[c, i] * worth * share
                if T > 0.0:
                    theta = theta - (0.5 * sigma[c, i] / T) * vega
                slope_at_root = slope_at_root + load_i * worth * density
                if i == asset:
                    delta = side * grown * share
                    store(sums, 1, load(sums, 1) + delta)
                    store(sums, 3, load(sums, 3) + vega)
                    store(sums, 6, load(sums, 6) - (T * S[c, i]) * delta)
        store(sums, 0, load(sums, 0) + price)
        if greeks:
            load_i = sigma[c, asset] * loads[c, asset, 0]
            pull = load(work, asset) * _density(load_i - root)
            gamma = choose(slope_at_root, zero, pull * pull / slope_at_root, zero)
            store(sums, 2, load(sums, 2) + gamma)
            store(sums, 4, load(sums, 4) + theta)
            store(sums, 5, load(sums, 5) + T * paid)


@kernel
def chosen(
    b: Baskets, t: Turned, c: int, z: Floats, greeks: bool, work: Floats, sums: Floats
) -> None:
    """Add the values of a best-of or worst-of, as `weighted`.

    The logarithms of the assets are straight lines in the first factor. Each asset is the best, or
    the worst, between its crossings with the others; there the option is in the money on one
    side of the crossing with the strike.
    """
    S, sigma, q, holds, loads = b.S, b.sigma, b.q, t.holds, t.loads
    theta_sign, best = float(b.theta[c]), float(b.choice[c])
    cash, T, asset = t.cash[c], b.T[c], b.asset[c]
    n, rate_now = S.shape[1], b.rate_now[c]
    log_cash = elementary.log(cash) if cash > 0.0 else 2.0 * NO_LOGARITHM
    zero = broadcast(0.0)
    for group in range(z.shape[1] // WIDTH):
        grow(b, t, c, z, group, work, sums)
        for i in range(n):
            held = S[c, i] * holds[c, i]
            level = elementary.log(held) if held > 0.0 else NO_LOGARITHM
            load_i = sigma[c, i] * loads[c, i, 0]
            store(work, 2 * n + i, load(work, 2 * n + i) + (level - 0.5 * load_i * load_i))
        price = theta = rho = zero
        for i in range(n):
            load_i = sigma[c, i] * loads[c, i, 0]
            line = load(work, 2 * n + i)
            low, high = broadcast(-FAR), broadcast(FAR)
            # How fast the ends move with the asset's logarithm, outwards.
            low_rate, high_rate = zero, zero
            for j in range(n + 1):
                if j == i:
                    continue
                # The asset counts above another one or below it, or on one side of the strike.
                if j < n:
                    other = load(work, 2 * n + j)
                    tilt = load_i - sigma[c, j] * loads[c, j, 0]
                    above = best
                else:
                    other = broadcast(log_cash)
                    tilt = load_i
                    above = theta_sign
                if abs(tilt) < PARALLEL:
                    # Of equals the first.
                    tie = broadcast(0.0 if j > i else 5e-324)
                    high = choose(tie, above * (line - other), broadcast(-FAR), high)
                    continue
                crossing = (other - line) * (1.0 / tilt)
                rate = theta_sign * above / abs(tilt)
                if (tilt > 0.0) == (above > 0.0):
                    low_rate = choose(crossing, low, broadcast(rate), low_rate)
                    low = maximum(crossing, low)
                else:
                    high_rate = choose(high, crossing, broadcast(rate), high_rate)
                    high = minimum(crossing, high)
            if not any_greater(high, low):
                continue
            high = maximum(high, low)
            grown = load(work, i)
            worth = S[c, i] * grown
            share = _normal(load_i - low) - _normal(load_i - high)
            paid = (theta_sign * cash) * (_normal(-low) - _normal(-high))
            price = price + (theta_sign * worth * share - paid)
            if greeks:
                low_density = _density(load_i - low)
                high_density = _density(load_i - high)
                bent = load(work, n + i) * share + loads[c, i, 0] * (low_density - high_density)
                vega = theta_sign * worth * bent
                theta = theta + (theta_sign * q[c, i]) * worth * share - rate_now * paid
                if T > 0.0:
                    theta = theta - (0.5 * sigma[c, i] / T) * vega
                rho = rho + T * paid
                if i == asset:
                    delta = theta_sign * grown * share
                    gamma = grown * (low_density * low_rate + high_density * high_rate)
                    gamma = choose(high, low, gamma, zero) * (1.0 / max(S[c, i], 1e-300))
                    store(sums, 1, load(sums, 1) + delta)
                    store(sums, 2, load(sums, 2) + gamma)
                    store(sums, 3, load(sums, 3) + vega)
                    store(sums, 6, load(sums, 6) - (T * S[c, i]) * delta)
        store(sums, 0, load(sums, 0) + price)
        store(sums, 4, load(sums, 4) + theta)
        store(sums, 5, load(sums, 5) + rho)
