"""Closed forms of the Black-Scholes-Merton model: European options, and every exact limit.

Rows of `out` are in the order of `ROWS`. Nothing is validated and nothing raises here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .elementary import (
    INVERSE_SQRT_2,
    TWO_OVER_SQRT_PI,
    erfcx,
    exp,
    expm1,
    gaussian,
    log,
    log_ratio,
    normal_cdf,
    normal_pdf,
)
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Codes, Floats

    Row = tuple[float, float, float, float, float, float, float, float]

ROWS = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho", "error")
EPSILON = 2.220446049250313e-16


@kernel
def _erfcx_difference(near: float, far: float, gap: float) -> float:
    """Return erfcx(near) - erfcx(far) where gap = far - near > 0, without cancellation.

    Close arguments take the Taylor series about their midpoint, by the recurrence
    f' = 2x f - 2/sqrt(pi), f(k+1) = 2x f(k) + 2k f(k-1).
    """
    if gap > 0.01:
        return erfcx(near) - erfcx(far)
    x = 0.5 * (near + far)
    f0 = erfcx(x)
    f1 = 2.0 * x * f0 - TWO_OVER_SQRT_PI
    f2 = 2.0 * (x * f1 + f0)
    f3 = 2.0 * (x * f2 + 2.0 * f1)
    f4 = 2.0 * (x * f3 + 3.0 * f2)
    f5 = 2.0 * (x * f4 + 4.0 * f3)
    square = gap * gap
    return -gap * (f1 + square * (f3 / 24.0 + square * f5 / 1920.0))


@kernel
def _out_of_the_money(
    theta: float, s: float, k: float, d1: float, d2: float, total: float
) -> float:
    """Price the option of type theta (+1 call, -1 put) whose forward is out of the money."""
    # near < far are the arguments of erfc: those of the smaller and the larger strike distance.
    near = -theta * d1 * INVERSE_SQRT_2
    far = -theta * d2 * INVERSE_SQRT_2
    if theta < 0:
        near, far = far, near
    if near < -1.0:
        return theta * (s * normal_cdf(theta * d1) - k * normal_cdf(theta * d2))
    return 0.5 * s * gaussian(d1) * _erfcx_difference(near, far, total * INVERSE_SQRT_2)


@kernel
def european(theta: float, S: float, K: float, T: float, r: float, q: float, sigma: float) -> Row:
    """Return price, greeks and rounding bound of a European option with S, K, T, sigma > 0.

    theta is +1 for a call and -1 for a put. The price is the sum of the intrinsic value of the
    forward and an out-of-the-money price that is computed by scaled error functions, so that it
    keeps its relative precision in the tails (after Jaeckel 2015).
    """
    s = S * exp(-q * T)
    k = K * exp(-r * T)
    root = np.sqrt(T)
    total = sigma * root
    drift = log_ratio(S, K) + (r - q) * T
    d1 = drift / total + 0.5 * total
    d2 = drift / total - 0.5 * total
    out = 1.0 if drift <= 0.0 else -1.0
    price = _out_of_the_money(out, s, k, d1, d2, total)
    if out != theta:
        price += theta * (k * expm1(drift) if drift * drift < 0.1 else s - k)
    density = normal_pdf(d1)
    n1 = normal_cdf(theta * d1)
    n2 = normal_cdf(theta * d2)
    delta = theta * exp(-q * T) * n1
    gamma = exp(-q * T) * density / (S * total)
    vega = s * density * root
    theta_greek = theta * (q * s * n1 - r * k * n2) - 0.5 * s * density * sigma / root
    rho = theta * T * k * n2
    dividend_rho = -theta * T * s * n1
    worst = min(1.0 + d1 * d1 + d2 * d2, 1500.0)
    error = EPSILON * (
        4.0 * worst * price + 4.0 * (s + k) * (n1 + n2) + vega / root * abs(r - q) * root / sigma
    )
    return price, delta, gamma, vega, theta_greek, rho, dividend_rho, error


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
    value = theta * (S * exp(-q * T) - K * exp(-r * T))
    inside = False
    if american:
        if theta * (S - K) >= value:
            when = 0.0
            value = theta * (S - K)
        ratio = r * K / (q * S) if q * S != 0.0 else -1.0
        if ratio > 0.0 and r != q:
            t = log(ratio) / (r - q)
            if 0.0 < t < T:
                there = theta * (S * exp(-q * t) - K * exp(-r * t))
                if there > value:
                    when = t
                    value = there
                    inside = True
    s = S * exp(-q * when)
    k = K * exp(-r * when)
    live = 1.0 if value > 0.0 else (0.5 if value == 0.0 and S > 0.0 and K > 0.0 else 0.0)
    delta = live * theta * exp(-q * when)
    gamma = theta * q * exp(-q * when) / ((r - q) * S) if inside and value > 0.0 else 0.0
    decay = 0.0
    if when == T and not (american and T == 0.0 and value == theta * (S - K) and value > 0.0):
        decay = live * theta * (q * s - r * k)
    rho = live * theta * when * k
    dividend_rho = -live * theta * when * s
    error = 4.0 * EPSILON * (s + k) * live
    return max(value, 0.0) + 0.0, delta, gamma, 0.0, decay, rho, dividend_rho, error


@kernel
def _swept(theta: float, S: float, K: float, T: float, r: float, q: float, sigma: float) -> Row:
    """Price an American option whose drift |r - q| sweeps its diffusion aside, or hardly diffuses.

    The larger of the European price and that of the best exercise time without diffusion. What
    both miss is of the order of sigma^2 times expiry, and times the 1 / |r - q| years for which
    a spot beside the strike feels its diffusion; nor is it more than the carry on a standard
    deviation, or than the option can be worth.
    """
    best = european(theta, S, K, T, r, q, sigma)
    still = deterministic(theta, True, S, K, T, r, q)
    if still[0] > best[0]:
        best = still
    drifting = 0.5 * sigma * sigma * (T + 1.0 / abs(r - q))
    carrying = sigma * np.sqrt(T) * (abs(r) + abs(q)) * T
    error = min(max(S, K) * min(drifting, carrying), S if theta > 0.0 else K)
    return best[0], best[1], best[2], best[3], best[4], best[5], best[6], best[7] + error


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
    for i in range(len(S)):
        sign = float(theta[i])
        if S[i] > 0.0 and K[i] > 0.0 and T[i] > 0.0 and sigma[i] > 0.0:
            if kind[i] == 2:
                row = _swept(sign, S[i], K[i], T[i], r[i], q[i], sigma[i])
            else:
                row = european(sign, S[i], K[i], T[i], r[i], q[i], sigma[i])
        else:
            row = deterministic(sign, kind[i] != 0, S[i], K[i], T[i], r[i], q[i])
        for j in range(8):
            out[j, i] = row[j]
        if kind[i] != 0:
            out[0, i] = max(out[0, i], sign * (S[i] - K[i]))


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, sign = np.ones(1), np.ones(1, np.int8)
    closed_form(sign, sign, one, one, one, one, one, one, np.empty((8, 1)))
