"""Closed forms of what is European under Black-Scholes-Merton: barriers, digitals, touches, gaps.

A claim pays alpha * s + beta where the spot s at expiry is beyond its kink, unless a barrier that
is watched continuously says otherwise. Its price is a sum of legs in cash and in shares; every leg
is a probability under its own measure, from images.py or sines.py with its derivatives, so that
the greeks are as exact as the price. Sources: Reiner and Rubinstein (1991), Rubinstein and Reiner
(1991), Kunitomo and Ikeda (1992), Hui (1996). Rows of `out` are black_scholes.ROWS.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from . import images, sines
from .black_scholes import EPSILON
from .elementary import exp, log_ratio
from .images import nothing, plus, reflections, span
from .jit import kernel

if TYPE_CHECKING:
    from .black_scholes import Row
    from .images import Part
    from .jit import Codes, Floats

    # Price; its derivatives in log spot, once and twice; vega, rho, dividend rho; rounding.
    Sum = tuple[float, float, float, float, float, float, float]

OUT, IN = 1, 2
CASH_AT_HIT, CASH_AT_EXPIRY, ASSET_AT_HIT, ASSET_AT_EXPIRY = 0, 1, 2, 3
NARROW = 2.0  # standard deviations of a corridor below which sines converge faster than images
LEAST_DEVIATION = 1e-100


@kernel
def _still(
    theta: float,
    alpha: float,
    beta: float,
    kink: float,
    knock: int,
    lower: float,
    upper: float,
    lower_rebate: float,
    upper_rebate: float,
    timing: int,
    S: float,
    T: float,
    r: float,
    q: float,
) -> Row:
    """Price a claim whose end is known: at expiry, without vol or spot, or knocked out already."""
    cash, share = exp(-r * T), exp(-q * T)
    forward = S * exp((r - q) * T)
    hit = -1.0
    rebate = level = 0.0
    if knock != 0 and lower > 0.0 and min(S, forward) <= lower:
        hit = 0.0 if lower >= S else log_ratio(lower, S) / (r - q)
        rebate, level = lower_rebate, lower
    elif knock != 0 and max(S, forward) >= upper:
        hit = 0.0 if upper <= S else log_ratio(upper, S) / (r - q)
        rebate, level = upper_rebate, upper
    shares = money = 0.0
    live = 1.0
    if (knock == OUT and hit >= 0.0) or (knock == IN and hit < 0.0):
        if hit < 0.0 or timing == CASH_AT_EXPIRY:
            money = rebate if hit >= 0.0 else lower_rebate
        elif timing == ASSET_AT_EXPIRY:
            shares = rebate
        elif hit == 0.0:
            asset = timing == ASSET_AT_HIT
            price = rebate * S if asset else rebate
            return price, rebate if asset else 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, EPSILON * abs(price)
        else:
            price = rebate * exp(-r * hit) * (level if timing == ASSET_AT_HIT else 1.0)
            power = r / (r - q)
            return (
                price,
                price * power / S,
                price * power * (power - 1.0) / (S * S),
                0.0,
                0.0,
                price * hit * q / (r - q),
                -price * hit * power,
                EPSILON * abs(price) * (4.0 + 8.0 * abs(r) * (hit + T)),
            )
    else:
        gap = theta * (forward - kink)
        live = 1.0 if gap > 0.0 else (0.5 if gap == 0.0 else 0.0)
        if live > 0.0:
            shares, money = alpha, beta
    worth, owed = shares * S * share, money * cash
    price = worth + owed if live == 1.0 else 0.0
    return (
        price,
        live * shares * share,
        0.0,
        0.0,
        live * (q * worth + r * owed),
        -live * T * owed,
        -live * T * worth,
        EPSILON * (abs(worth) * (4.0 + abs(q) * T) + abs(owed) * (4.0 + abs(r) * T)),
    )


@kernel
def _survive(first: float, last: float, kappa: float, down: float, up: float, slack: float) -> Part:
    """Return who hits no barrier and ends between the edges."""
    if not first > last:
        return nothing()
    if down + up < NARROW:
        return sines.survivors(first, last, kappa, down, up, slack)
    taken = reflections(first, last, kappa, down, up, slack)
    return plus(span(first, last, kappa, slack), 1.0, taken)


@kernel
def _enter(first: float, last: float, kappa: float, down: float, up: float, slack: float) -> Part:
    """Return who hits a barrier and ends between the edges, however few they are."""
    inner_first, inner_last = min(first, down), max(last, -up)
    if down + up < NARROW:
        inner = _survive(inner_first, inner_last, kappa, down, up, slack)
        return plus(span(first, last, kappa, slack), -1.0, inner)
    total = nothing()
    if inner_first > inner_last:
        taken = reflections(inner_first, inner_last, kappa, down, up, slack)
        total = plus(total, -1.0, taken)
    if first > down:
        total = plus(total, 1.0, span(first, max(last, down), kappa, slack))
    if last < -up:
        total = plus(total, 1.0, span(min(first, -up), last, kappa, slack))
    return total


@kernel
def _with_leg(
    total: Sum,
    amount: float,
    in_shares: float,
    part: Part,
    by_discount: float,
    w: float,
    T: float,
    rate: float,
) -> Sum:
    """Add `amount` times a probability, in cash (in_shares = 0) or in shares (1).

    `by_discount` is the probability's derivative in rT but for the drift, -1 times the probability
    where cash is paid at expiry; `rate` is what the amount was discounted at.
    """
    value = amount * part[0]
    slope = amount * part[1] / w
    by_drift = amount * part[3] / w
    return (
        total[0] + value,
        total[1] + in_shares * value + slope,
        total[2] + in_shares * (value + 2.0 * slope) + amount * part[2] / (w * w),
        total[3] + np.sqrt(T) * (amount * part[4] / w + (2.0 * in_shares - 1.0) * w * by_drift),
        total[4] + T * (by_drift + amount * by_discount),
        total[5] - T * (by_drift + in_shares * value),
        total[6] + abs(amount) * part[5] + abs(value) * (4.0 + 2.0 * abs(rate) * T),
    )


@kernel
def _with_rebate(
    total: Sum,
    side: float,
    rebate: float,
    level: float,
    timing: int,
    drift: float,
    down: float,
    up: float,
    w: float,
    slack: float,
    S: float,
    T: float,
    r: float,
    q: float,
) -> Sum:
    """Add what is paid for hitting the lower barrier (side 1) or the upper one (-1) first."""
    if rebate == 0.0:
        return total
    in_shares = 1.0 if timing == ASSET_AT_EXPIRY else 0.0
    at_hit = timing in (CASH_AT_HIT, ASSET_AT_HIT)
    kappa = drift / w + (in_shares - 0.5) * w
    discount = r * T if at_hit else 0.0
    width = down + up
    turn = (kappa * kappa + 2.0 * discount) * width * width
    if width < NARROW and turn > -sines.MOST_TURN:
        part = sines.passage(side, kappa, discount, down, up, slack)
    else:
        part = images.passage(side, kappa, discount, down, up, slack)
    amount, rate = rebate, 0.0
    if timing == ASSET_AT_HIT:
        amount *= level
    elif timing == CASH_AT_EXPIRY:
        amount, rate = rebate * exp(-r * T), r
    elif timing == ASSET_AT_EXPIRY:
        amount, rate = rebate * S * exp(-q * T), q
    by_discount = part[6] if at_hit else (in_shares - 1.0) * part[0]
    return _with_leg(total, amount, in_shares, part[:6], by_discount, w, T, rate)


@kernel
def _diffusing(
    theta: float,
    alpha: float,
    beta: float,
    kink: float,
    knock: int,
    lower: float,
    upper: float,
    lower_rebate: float,
    upper_rebate: float,
    timing: int,
    S: float,
    T: float,
    r: float,
    q: float,
    sigma: float,
) -> Row:
    """Price a claim with S, T, sigma > 0 and the spot between the barriers, if it has any."""
    w = sigma * np.sqrt(T)
    drift = (r - q) * T
    slack = 3.0 * abs(drift) / w + 2.0 * w
    down = log_ratio(S, lower) / w if knock != 0 and lower > 0.0 else inf
    up = log_ratio(upper, S) / w if knock != 0 and upper < inf else inf
    edge = log_ratio(S, kink) / w if kink > 0.0 else inf
    first, last = (edge, -inf) if theta > 0.0 else (inf, edge)
    total = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for in_shares in (0.0, 1.0):
        rate = q if in_shares == 1.0 else r
        amount = exp(-rate * T) * (alpha * S if in_shares == 1.0 else beta)
        if amount != 0.0 and first > last:
            kappa = drift / w + (in_shares - 0.5) * w
            if knock == 0:
                part = span(first, last, kappa, slack)
            elif knock == OUT:
                part = _survive(min(first, down), max(last, -up), kappa, down, up, slack)
            else:
                part = _enter(first, last, kappa, down, up, slack)
            by_discount = (in_shares - 1.0) * part[0]
            total = _with_leg(total, amount, in_shares, part, by_discount, w, T, rate)
    if knock == OUT:
        if down < inf:
            total = _with_rebate(
                total, 1.0, lower_rebate, lower, timing, drift, down, up, w, slack, S, T, r, q
            )
        if up < inf:
            total = _with_rebate(
                total, -1.0, upper_rebate, upper, timing, drift, down, up, w, slack, S, T, r, q
            )
    elif knock == IN and lower_rebate != 0.0:
        part = _survive(down, -up, drift / w - 0.5 * w, down, up, slack)
        total = _with_leg(total, lower_rebate * exp(-r * T), 0.0, part, -part[0], w, T, r)
    price = total[0]
    bottom = min(theta * alpha, alpha * kink + beta, lower_rebate, upper_rebate)
    if bottom >= 0.0:
        price = max(price, 0.0)
    return (
        price,
        total[1] / S,
        (total[2] - total[1]) / (S * S),
        total[3],
        r * total[0] - (r - q) * total[1] - 0.5 * sigma * sigma * (total[2] - total[1]),
        total[4],
        total[5],
        EPSILON * total[6],
    )


@kernel
def closed_form(
    theta: Codes,
    alpha: Floats,
    beta: Floats,
    kink: Floats,
    knock: Codes,
    lower: Floats,
    upper: Floats,
    lower_rebate: Floats,
    upper_rebate: Floats,
    timing: Codes,
    S: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    sigma: Floats,
    out: Floats,
) -> None:
    """Write ROWS of n European claims to `out`, shape (8, n); every input has shape (n,).

    At expiry a claim pays alpha * s + beta where theta * (s - kink) > 0. `knock` is 0 for no
    barrier, 1 for out, 2 for in; a barrier is absent at 0 or infinity, and hit by a spot that is at
    it or beyond. Rebates of knock-outs may differ by barrier; `timing` is 0 cash at hit, 1 cash at
    expiry, 2 and 3 as many shares, at hit and at expiry. That of a knock-in is `lower_rebate`, in
    cash at expiry if no barrier was hit.
    """
    for i in range(len(S)):
        sign = float(theta[i])
        code = int(knock[i])
        beyond = code != 0 and ((lower[i] > 0.0 and S[i] <= lower[i]) or S[i] >= upper[i])
        if (
            S[i] <= 0.0
            or T[i] <= 0.0
            or not sigma[i] * np.sqrt(T[i]) > LEAST_DEVIATION
            or (beyond and code == OUT)
        ):
            row = _still(
                sign, alpha[i], beta[i], kink[i], code, lower[i], upper[i],
                lower_rebate[i], upper_rebate[i], int(timing[i]), S[i], T[i], r[i], q[i],
            )  # fmt: skip
        else:
            row = _diffusing(
                sign, alpha[i], beta[i], kink[i], 0 if beyond else code, lower[i], upper[i],
                lower_rebate[i], upper_rebate[i], int(timing[i]), S[i], T[i], r[i], q[i], sigma[i],
            )  # fmt: skip
        for j in range(8):
            out[j, i] = row[j]


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, sign = np.ones(1), np.ones(1, np.int8)
    closed_form(
        sign, one, one, one, sign, one, one, one, one, sign, one, one, one, one, one,
        np.empty((8, 1)),
    )  # fmt: skip
