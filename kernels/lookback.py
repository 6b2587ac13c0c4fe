"""Lookbacks watched continuously, over all of their life or a window of it, and all their greeks.

What the extremum goes beyond what it is already comes from `extremum.beyond`. A window that ends
before expiry, or begins later than now, makes one integral of it, or of options that the end of
the window begins (Heynen and Kat 1994 have the same values by bivariate normal distributions).
Integrands are products of normal distributions, positive and smooth, so that nothing cancels at
zero cost of carry; panels of Gauss-Legendre nodes grow with the distance from where they bend.

A lookback knows the extremum E so far. `side` is 1 where it is a maximum, -1 a minimum: the
payoff is side (E - K), or side (participation E - S_T) where it floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .black_scholes import EPSILON, european
from .elementary import (
    INVERSE_SQRT_2,
    INVERSE_SQRT_2PI,
    erfcx,
    exp,
    expm1,
    gaussian,
    log,
    log_ratio,
)
from .extremum import beyond, tail
from .jit import kernel

if TYPE_CHECKING:
    from .extremum import Reach
    from .jit import Codes, Floats

LEAST_DEVIATION = 1e-100
LEAST_SPOT = 1e-290  # stands for 0, of which there is no logarithm
MOST_PANELS = 400
REACH = 9.5  # standard deviations that integrals go
MOST_DISTANCE = 700.0  # of logarithms
# The positive nodes of 16 on [-1, 1], and their weights.
NODES = (
    0.09501250983763744, 0.2816035507792589, 0.45801677765722737, 0.6178762444026438,
    0.755404408355003, 0.8656312023878318, 0.9445750230732326, 0.9894009349916499,
)  # fmt: skip
WEIGHTS = (
    0.18945061045506864, 0.18260341504492364, 0.16915651939500265, 0.1495959888165767,
    0.12462897125553407, 0.0951585116824926, 0.062253523938647456, 0.027152459411754176,
)  # fmt: skip


class Lookbacks(NamedTuple):
    """Lookbacks and their markets, each field of shape (n,).

    Watched from `start` to `stop`, years from now; a window that has begun has `start` 0, and the
    spot counts. `running` is the extremum so far, NaN if there is none. `floating` ones take
    `participation` of the extremum for their strike, the others have `strike`.
    """

    theta: Codes
    floating: Codes
    strike: Floats
    participation: Floats
    expiry: Floats
    start: Floats
    stop: Floats
    running: Floats
    spot: Floats
    vol: Floats
    rate: Floats
    dividend_yield: Floats


@kernel
def _farther(side: float, a: float, b: float) -> float:
    """Return the maximum (side 1) or the minimum (-1) of two; b where a is not a number."""
    return a if side * a > side * b else b


@kernel
def _room(z: float, center: float, width: float) -> float:
    """Return how wide a panel from z may be beside a bend of some width."""
    return max(2.5 * width, 0.6 * abs(z - center))


@kernel
def _still(
    side: float,
    floating: bool,
    K: float,
    share: float,
    S: float,
    T: float,
    start: float,
    stop: float,
    extremum: float,
    r: float,
    q: float,
) -> Reach:
    """Price a lookback without chance: the spot grows at r - q, `extremum` is what counts so far.

    It is not a number where nothing does.
    """
    carry = r - q
    end = S * exp(carry * T)
    first, last = S * exp(carry * start), S * exp(carry * stop)
    when = stop if side * last > side * first else start
    path = _farther(side, last, first)
    level, moving = path, 1.0
    if side * extremum >= side * path:
        level, moving = extremum, 0.0
    against = end if floating else K
    gain = side * (share * level - against)
    live = 1.0 if gain > 0.0 else (0.5 if gain == 0.0 else 0.0)
    discount = live * side * exp(-r * T)
    followed = moving * share * level
    once = discount * (followed - (end if floating else 0.0))
    by_carry = discount * (when * followed - (T * end if floating else 0.0))
    rounding = (8.0 + 4.0 * (abs(r) + abs(q)) * T) * (share * level + against) * abs(discount)
    return exp(-r * T) * max(gain, 0.0), once, 0.0, 0.0, by_carry, rounding


@kernel
def _waiting(
    side: float, S: float, K: float, start: float, stop: float, r: float, q: float, sigma: float
) -> Reach:
    """Price what the extremum between two times, both after now, is beyond K; paid at the second.

    At the start of the window it is either beyond K, and a new lookback is added to the
    difference, or not, and `beyond` is integrated over where the spot may be.
    """
    w = sigma * np.sqrt(start)
    length = stop - start
    drift = (r - q - 0.5 * sigma * sigma) * start
    away = log_ratio(K, S)
    d2 = (drift - away) / w
    d1 = d2 + w
    later = exp(-r * length)
    asset = S * exp(-q * start) * tail(side * d1)
    cash = K * exp(-r * start) * tail(side * d2)
    slack = 20.0 + 5.0 * min(d1 * d1 + d2 * d2, 400.0) + abs(r) * stop + abs(q) * start
    price = later * side * (asset - cash)
    once = later * side * asset
    twice = by_vol = 0.0
    # Beyond REACH there is less than 1e-20 of K.
    rounding = slack * later * (asset + cash) + 1e-4 * K
    by_carry = start * once
    spread = sigma * np.sqrt(length)
    if not spread > LEAST_DEVIATION:
        row = european(side, S, K, start, r, q, sigma)
        price, once, twice, by_vol = row[0], S * row[1], S * S * row[2], row[3]
        by_carry = -row[6]
    else:
        fresh = beyond(side, 1.0, 1.0, length, r, q, sigma)
        price += fresh[0] * asset
        once += fresh[0] * asset
        by_vol += fresh[3] * asset
        by_carry += (fresh[4] + start * fresh[0]) * asset
        rounding += (fresh[5] + slack * fresh[0]) * asset
        # z is how far the spot lies short of K when the window begins.
        v = (r - q) * length / spread
        center = side * (away - drift)
        middle = (side * v + 0.5 * spread) * spread
        edge = spread / (1.0 + 2.0 * abs(v))
        z = max(0.0, center - REACH * w)
        last = min(max(0.0, middle) + REACH * spread, center + REACH * w)
        now = exp(-r * start) * INVERSE_SQRT_2PI / w
        panels = 0
        while z < last and panels < MOST_PANELS:
            h = min(_room(z, center, w), _room(z, middle, spread), _room(z, 0.0, edge), last - z)
            for j in range(16):
                node = NODES[j // 2] if j % 2 else -NODES[j // 2]
                at = z + 0.5 * h * (1.0 + node)
                weight = 0.5 * h * WEIGHTS[j // 2] * now * gaussian((at - center) / w)
                there = beyond(side, K * exp(-side * at), K, length, r, q, sigma)
                price += weight * there[0]
                once += weight * there[1]
                twice += weight * there[2]
                by_vol += weight * (there[3] + sigma * start * there[2])
                by_carry += weight * (there[4] + start * there[1])
                rounding += weight * (there[5] + slack * there[0])
            z += h
            panels += 1
    return price, once, twice, by_vol, by_carry, rounding


@kernel
def _ended(
    side: float,
    share: float,
    S: float,
    extremum: float,
    stop: float,
    T: float,
    r: float,
    q: float,
    sigma: float,
) -> Reach:
    """Price a floating lookback watched from now to `stop`, of which it takes a share at T.

    When the window ends, the extremum is e^(side z) of the spot, and an option of that strike is
    left. Its value p(z), per unit of spot, is p(0) and the integral of p' times the chance of more
    than z, in the measure of the spot, reversed in time: the maximum of a Brownian motion.
    """
    w = sigma * np.sqrt(stop)
    left = T - stop
    rest = sigma * np.sqrt(left)
    carry = r - q
    start = max(side * log_ratio(extremum, S), 0.0)  # E so far
    start = min(start, MOST_DISTANCE) if side < 0.0 else start
    kappa = side * (carry + 0.5 * sigma * sigma)
    lean = kappa * stop
    tilt = 2.0 * kappa / (sigma * sigma)
    log_share = log(share)
    discount = exp(-r * left)
    value = slope = curve = by_vol = by_carry = 0.0
    z = 0.0
    if rest > LEAST_DEVIATION:
        row = european(-side, 1.0, share, left, r, q, sigma)
        value, by_vol, by_carry = row[0], row[3], -row[6]
        bend = side * ((carry - 0.5 * sigma * sigma) * left - log_share)
    else:
        value = max(side * (share - 1.0), 0.0)
        z = max(0.0, -side * log_share)
        bend = z
    whole = 1.0 + share + value
    center = start - lean
    last = max(z, center + (w * w if side > 0.0 else 0.0)) + REACH * w
    edge = w * w / (w + 2.0 * (abs(lean) + start))
    panels = 0
    while z < last and panels < MOST_PANELS:
        h = min(_room(z, center, w), _room(z, -center, w), _room(z, 0.0, edge), last - z)
        if rest > LEAST_DEVIATION:
            h = min(h, _room(z, bend, rest))
        for j in range(16):
            node = NODES[j // 2] if j % 2 else -NODES[j // 2]
            at = z + 0.5 * h * (1.0 + node)
            weight = 0.5 * h * WEIGHTS[j // 2] * share * exp(side * at) * discount
            u = (start - at - lean) / w
            v = (lean - start - at) / w
            bell = gaussian(u)
            density = INVERSE_SQRT_2PI * bell
            shorter = expm1(-2.0 * at * start / (w * w))
            mirror = (1.0 + shorter) * density
            reflected = 0.5 * (1.0 + shorter) * bell * erfcx(abs(v) * INVERSE_SQRT_2)
            if v > 0.0:
                reflected = exp(-tilt * at) - reflected
            chance = tail(u) + reflected
            chance_slope = -shorter * density / w
            chance_curve = -(u * density + v * mirror) / (w * w)
            by_kappa = -stop / w * (density - mirror) - 2.0 * at / (sigma * sigma) * reflected
            chance_vol = (
                -(u * density + v * mirror) / sigma
                + 2.0 * tilt * at / sigma * reflected
                + side * sigma * by_kappa
            )
            exercised = 1.0
            if rest > LEAST_DEVIATION:
                d2 = side * (bend - at) / rest
                exercised = tail(-side * d2)
                thin = INVERSE_SQRT_2PI * gaussian(d2)
                by_carry -= weight * side * thin * left / rest * chance
                by_vol += weight * side * thin * (d2 / sigma + np.sqrt(left)) * chance
            value += weight * exercised * chance
            slope += weight * exercised * chance_slope
            curve += weight * exercised * chance_curve
            by_carry += weight * exercised * side * by_kappa
            by_vol += weight * exercised * chance_vol
        z += h
        panels += 1
    unit = S * exp(-q * stop)
    rounding = unit * (100.0 + 10.0 * (abs(r) + abs(q)) * T) * (value + whole)
    return (
        unit * value,
        unit * (value - side * slope),
        unit * (curve - side * slope),
        unit * by_vol,
        unit * (stop * value + by_carry),
        rounding,
    )


@kernel
def _fixed(
    side: float,
    S: float,
    K: float,
    T: float,
    start: float,
    stop: float,
    extremum: float,
    r: float,
    q: float,
    sigma: float,
) -> Reach:
    """Price a fixed-strike lookback with some extremum so far, not a number if there is none."""
    if not sigma * np.sqrt(stop) > LEAST_DEVIATION:
        return _still(side, False, K, 1.0, S, T, start, stop, extremum, r, q)
    level = _farther(side, extremum, K)
    won = exp(-r * T) * side * (level - K)
    rounding = (8.0 + abs(r) * T) * won
    if side < 0.0 and level <= 0.0:
        return won, 0.0, 0.0, 0.0, 0.0, rounding
    level = max(level, S * LEAST_SPOT)
    if start > 0.0:
        row = _waiting(side, S, level, start, stop, r, q, sigma)
    else:
        row = beyond(side, S, level, stop, r, q, sigma)
    delay = exp(-r * (T - stop))
    rounding += delay * (row[5] + (4.0 + abs(r) * T) * row[0])
    return (
        won + delay * row[0],
        delay * row[1],
        delay * row[2],
        delay * row[3],
        delay * row[4],
        rounding,
    )


@kernel
def _floating(
    side: float,
    share: float,
    S: float,
    T: float,
    stop: float,
    extremum: float,
    r: float,
    q: float,
    sigma: float,
) -> Reach:
    """Price a floating-strike lookback that is watched from now on, with an extremum so far."""
    if share * extremum <= 0.0 or not sigma * np.sqrt(T) > LEAST_DEVIATION:
        return _still(side, True, 0.0, share, S, T, 0.0, stop, extremum, r, q)
    if not sigma * np.sqrt(stop) > LEAST_DEVIATION:
        row = european(-side, S, share * extremum, T, r, q, sigma)
        twice = S * S * row[2]
        return row[0], S * row[1], twice, row[3], -row[6], row[7] / EPSILON
    if share != 1.0 or stop != T:
        return _ended(side, share, S, extremum, stop, T, r, q, sigma)
    gain = beyond(side, S, extremum, T, r, q, sigma)
    asset, cash = S * exp(-q * T), extremum * exp(-r * T)
    return (
        max(gain[0] + side * (cash - asset), 0.0),
        gain[1] - side * asset,
        gain[2],
        gain[3],
        gain[4] - side * T * asset,
        gain[5] + (8.0 + (abs(r) + abs(q)) * T) * (asset + cash),
    )


@kernel
def closed_form(claims: Lookbacks, out: Floats) -> None:
    """Write black_scholes.ROWS of n lookbacks to `out`, shape (8, n).

    Where the spot is the extremum, that moves with it: the claim is homogeneous, and has no gamma.
    Where it has just come to it, gamma is the mean of both sides. A floating lookback whose window
    is still to begin may have no extremum so far.
    """
    for i in range(len(claims.theta)):
        floating = claims.floating[i] != 0
        side = -float(claims.theta[i]) if floating else float(claims.theta[i])
        S, K, T = max(claims.spot[i], LEAST_SPOT), claims.strike[i], claims.expiry[i]
        start, stop, extremum = claims.start[i], claims.stop[i], claims.running[i]
        r, q, sigma = claims.rate[i], claims.dividend_yield[i], claims.vol[i]
        known = extremum if floating else _farther(side, extremum, K)
        waiting = floating and start > 0.0
        wait = start if waiting else 0.0
        own = waiting or (start <= 0.0 and not side * known >= side * S)
        if start <= 0.0 or waiting:
            extremum = _farther(side, extremum, S)
        if floating:
            row = _floating(
                side, claims.participation[i], S, T - wait, stop - wait, extremum, r, q, sigma
            )
        else:
            row = _fixed(side, S, K, T, start, stop, extremum, r, q, sigma)
        later = exp(-q * wait)
        price = later * row[0]
        once, twice = row[1], row[2]
        by_carry = later * row[4] + wait * price
        if waiting:
            once, twice = price, 0.0
        decay = r * price - (r - q) * once - 0.5 * sigma * sigma * twice
        if own:
            once = price + (0.0 if floating else side * K * exp(-r * T))
            twice = 0.0
        elif start <= 0.0 and known == S:
            twice *= 0.5
        out[0, i] = price + 0.0 if claims.spot[i] > 0.0 or price > 1e10 * LEAST_SPOT else 0.0
        out[1, i] = once / S
        out[2, i] = twice / S / S
        out[3, i] = later * row[3]
        out[4, i] = decay
        out[5, i] = by_carry - T * price
        out[6, i] = 0.0 - by_carry
        out[7, i] = EPSILON * (later * row[5] + (2.0 + abs(q) * wait) * price)


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, sign = np.ones(1), np.ones(1, np.int8)
    closed_form(Lookbacks(sign, sign, *([one] * 10)), np.empty((8, 1)))
