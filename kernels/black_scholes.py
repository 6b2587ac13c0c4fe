"""Closed forms of the Black-Scholes-Merton model: European options, and every exact limit.

Rows of `out` are in the order of `ROWS`. Nothing is validated and nothing raises here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import elementary
from .elementary import INVERSE_SQRT_2, INVERSE_SQRT_2PI
from .jit import kernel
from .lane_elementary import NARROW, erfcx, erfcx_difference, exp, expm1_small, gaussian, log_ratio
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    any_greater,
    broadcast,
    choose,
    first,
    load,
    load_codes,
    minimum,
    square_root,
    store,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats

    Row = tuple[float, float, float, float, float, float, float, float]
    Lanes = tuple[Lane, Lane, Lane, Lane, Lane, Lane, Lane, Lane]

ROWS = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho", "error")
EPSILON = 2.220446049250313e-16
FAR = 1e3  # standard deviations


@kernel
def forward_value(s: Lane, k: Lane, drift: Lane) -> Lane:
    """Return s - k, what the forward is worth, without cancellation; `drift` is ln(s / k)."""
    close = 0.3 - absolute(drift)
    return choose(close, broadcast(0.0), k * expm1_small(drift), s - k)


@kernel
def european_lanes(theta: Lane, S: Lane, K: Lane, T: Lane, r: Lane, q: Lane, sigma: Lane) -> Lanes:
    """Return price, greeks and rounding bound of European options, one a lane, as `european`.

    Everything is computed for the option whose forward is out of the money, where
    h1 = total/2 - |drift|/total and h2 = h1 - total stand for d1, d2 of a call, -d2, -d1 of a put.
    The price is its own plus the intrinsic value of the forward. It is a difference of scaled error
    functions, so that it keeps its relative precision in the tails (after Jaeckel 2015).
    """
    zero, one = broadcast(0.0), broadcast(1.0)
    growth_s = exp(-q * T)
    s = S * growth_s
    k = K * exp(-r * T)
    root = square_root(T)
    total = sigma * root
    drift = log_ratio(S, K) + (r - q) * T
    way = absolute(drift)
    # Beyond FAR densities underflow; clipped, nothing overflows on the way there.
    distance = minimum(way / total, broadcast(FAR))
    half = minimum(0.5 * total, broadcast(FAR))
    h1 = half - distance
    h2 = -half - distance
    call_out = choose(drift, zero, zero, one)
    lesser = choose(drift, zero, k, s)
    greater = choose(drift, zero, s, k)

    weight = 0.5 * gaussian(h1)
    near = erfcx(absolute(h1) * INVERSE_SQRT_2)
    far = erfcx(absolute(h2) * INVERSE_SQRT_2)
    below = weight * near  # N(-|h1|)
    up = choose(h1, zero, 1.0 - below, below)  # N(h1)
    down = choose(h1, zero, below, 1.0 - below)  # N(-h1)
    small = weight * (lesser / greater) * far  # N(h2)

    price = choose(
        h1, zero, lesser - lesser * weight * (near + far), lesser * weight * (near - far)
    )
    gap = total * INVERSE_SQRT_2
    if any_greater(broadcast(NARROW), gap):
        series = lesser * weight * erfcx_difference(distance * INVERSE_SQRT_2, gap)
        price = choose(broadcast(NARROW), gap, series, price)
    # Positive where theta's option is the one out of the money.
    out = theta * (call_out - 0.5)
    price = choose(out, zero, price, price + theta * forward_value(s, k, drift))

    one_way = choose(out, zero, up, down)
    other = choose(out, zero, small, 1.0 - small)
    n1 = choose(call_out, zero, one_way, other)  # N(theta d1)
    n2 = choose(call_out, zero, other, one_way)  # N(theta d2)
    density = 2.0 * INVERSE_SQRT_2PI * (lesser * weight)  # s times the density at d1
    delta = theta * growth_s * n1
    gamma = density / S / (S * total)
    vega = density * root
    spread = 0.5 * density * sigma / root
    asset = theta * s * n1
    cash = theta * k * n2
    decay = q * asset - r * cash - spread
    worst = minimum(1.0 + h1 * h1 + h2 * h2, broadcast(1500.0))
    error = EPSILON * (
        4.0 * worst * price + 4.0 * (s + k) * (n1 + n2) + vega * absolute(r - q) / sigma
    )
    return price, delta, gamma, vega, decay, T * cash, -T * asset, error


@kernel
def european(theta: float, S: float, K: float, T: float, r: float, q: float, sigma: float) -> Row:
    """Return price, greeks and rounding bound of a European option with S, K, T, sigma > 0.

    theta is +1 for a call and -1 for a put.
    """
    row = european_lanes(
        broadcast(theta),
        broadcast(S),
        broadcast(K),
        broadcast(T),
        broadcast(r),
        broadcast(q),
        broadcast(sigma),
    )
    return (
        first(row[0]),
        first(row[1]),
        first(row[2]),
        first(row[3]),
        first(row[4]),
        first(row[5]),
        first(row[6]),
        first(row[7]),
    )


@kernel
def deterministic(
    theta: float, american: bool, S: float, K: float, T: float, r: float, q: float
) -> Row:
    """Return price and greeks where nothing is random: expiry, vol, spot or strike is 0.

    The spot grows at r - q. A European option is worth its discounted payoff. An American one is
    worth the largest over exercise times, which is at 0, at T, or where the payoff's discounted
    value is stationary; greeks follow by the envelope theorem. Exactly at the money the two
    one-sided derivatives are averaged and gamma is 0.
    """
    when = T
    value = theta * (S * elementary.exp(-q * T) - K * elementary.exp(-r * T))
    inside = False
    if american:
        if theta * (S - K) >= value:
            when = 0.0
            value = theta * (S - K)
        ratio = r * K / (q * S) if q * S != 0.0 else -1.0
        if ratio > 0.0 and r != q:
            t = elementary.log(ratio) / (r - q)
            if 0.0 < t < T:
                there = theta * (S * elementary.exp(-q * t) - K * elementary.exp(-r * t))
                if there > value:
                    when = t
                    value = there
                    inside = True
    s = S * elementary.exp(-q * when)
    k = K * elementary.exp(-r * when)
    live = 1.0 if value > 0.0 else (0.5 if value == 0.0 and S > 0.0 and K > 0.0 else 0.0)
    delta = live * theta * elementary.exp(-q * when)
    gamma = theta * q * elementary.exp(-q * when) / ((r - q) * S) if inside and value > 0.0 else 0.0
    decay = 0.0
    if when == T and not (american and T == 0.0 and value == theta * (S - K) and value > 0.0):
        decay = live * theta * (q * s - r * k)
    rho = live * theta * when * k
    dividend_rho = -live * theta * when * s
    error = 4.0 * EPSILON * (s + k) * live
    return max(value, 0.0) + 0.0, delta, gamma, 0.0, decay, rho, dividend_rho, error


@kernel
def _swept(
    best: Row, theta: float, S: float, K: float, T: float, r: float, q: float, sigma: float
) -> Row:
    """Price an American option whose drift |r - q| sweeps its diffusion aside, or hardly diffuses.

    The larger of the European price, `best`, and that of the best exercise time without diffusion.
    What both miss is of the order of sigma^2 times expiry, and times the 1 / |r - q| years for
    which a spot beside the strike feels its diffusion; nor is it more than the carry on a standard
    deviation, or than the option can be worth.
    """
    still = deterministic(theta, True, S, K, T, r, q)
    if still[0] > best[0]:
        best = still
    drifting = 0.5 * sigma * sigma * (T + 1.0 / abs(r - q))
    carrying = sigma * np.sqrt(T) * (abs(r) + abs(q)) * T
    error = min(max(S, K) * min(drifting, carrying), S if theta > 0.0 else K)
    return best[0], best[1], best[2], best[3], best[4], best[5], best[6], best[7] + error


@kernel
def _groups(
    theta: Codes,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    sigma: Floats,
    out: Floats,
) -> None:
    """Price whole groups of `WIDTH` European options."""
    for g in range(len(S) // WIDTH):
        row = european_lanes(
            load_codes(theta, g),
            load(S, g),
            load(K, g),
            load(T, g),
            load(r, g),
            load(q, g),
            load(sigma, g),
        )
        for j in range(8):
            store(out[j], g, row[j])


@kernel
def closed_form(
    theta: Codes,
    kind: Codes,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    sigma: Floats,
    out: Floats,
) -> None:
    """Write ROWS of n options to `out`, shape (8, n); every input has shape (n,).

    `kind` says what they equal: 0 European; 1 American, but a European one where sigma > 0, since
    exercise never pays; 2 American, with a drift that sweeps its diffusion aside.
    """
    n = len(S)
    _groups(theta, S, K, T, r, q, sigma, out)
    whole = n - n % WIDTH
    if whole < n:
        # The last option fills the lanes that are left.
        pick = np.minimum(np.arange(whole, whole + WIDTH), n - 1)
        rest = np.empty((8, WIDTH))
        _groups(theta[pick], S[pick], K[pick], T[pick], r[pick], q[pick], sigma[pick], rest)
        out[:, whole:] = rest[:, : n - whole]
    for i in range(n):
        random = S[i] > 0.0 and K[i] > 0.0 and sigma[i] > 0.0 and sigma[i] * T[i] > 0.0
        if random and kind[i] == 0:
            continue
        sign = float(theta[i])
        if not random:
            row = deterministic(sign, kind[i] != 0, S[i], K[i], T[i], r[i], q[i])
            for j in range(8):
                out[j, i] = row[j]
        elif kind[i] == 2:
            row = (
                out[0, i],
                out[1, i],
                out[2, i],
                out[3, i],
                out[4, i],
                out[5, i],
                out[6, i],
                out[7, i],
            )
            row = _swept(row, sign, S[i], K[i], T[i], r[i], q[i], sigma[i])
            for j in range(8):
                out[j, i] = row[j]
        if kind[i] != 0:
            out[0, i] = max(out[0, i], sign * (S[i] - K[i]))


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, sign = np.ones(1), np.ones(1, np.int8)
    closed_form(sign, sign, one, one, one, one, one, one, np.empty((8, 1)))
