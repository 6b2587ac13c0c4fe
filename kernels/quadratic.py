"""The quadratic approximation of American options, and the vol at which it has a given price.

MacMillan (1986), Barone-Adesi and Whaley (1987), with the correction of Ju and Zhong (1999, An
approximate formula for pricing American options, Journal of Derivatives 7): within some 1e-3 of
the strike for a few hundred nanoseconds. A call is the put with spot and strike, r and q exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .elementary import exp, expm1, log, log_ratio, normal_cdf, normal_pdf
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Codes, Floats

BOUNDARY_STEPS = 20
VOL_STEPS = 60
BOUNDARY_PRECISION = 1e-8  # of a strike, before the last step
VOL_PRECISION = 1e-7  # of a vol, before the last secant
LEAST_DENOMINATOR = 0.2  # of the correction, far outside of where it was made for


@kernel
def _boundary(
    K: float, T: float, r: float, q: float, sigma: float, power: float, start: float
) -> tuple[float, float, float]:
    """Find the approximate exercise boundary of a put, by Newton's method from `start`.

    Returns the boundary, the excess of exercise over the European price there, and 2 / sigma^2
    times the growth of that price with expiry.
    """
    root = sigma * np.sqrt(T)
    cash, asset = exp(-r * T), exp(-q * T)
    low, high = 0.0, K
    at = start
    n1 = n2 = density = 0.0
    for _ in range(BOUNDARY_STEPS):
        d1 = (log_ratio(at, K) + (r - q) * T) / root + 0.5 * root
        n1, n2, density = normal_cdf(-d1), normal_cdf(root - d1), normal_pdf(d1)
        rest = 1.0 - asset * n1
        miss = K - at - (K * cash * n2 - at * asset * n1) + at * rest / power
        slope = -rest * (1.0 - 1.0 / power) + asset * density / (power * root)
        if miss > 0.0:
            low = at
        else:
            high = at
        new = at - miss / slope
        if not low < new < high:
            new = 0.5 * (low + high)
        done = abs(new - at) <= BOUNDARY_PRECISION * K
        at = new
        if done:
            break
    excess = K - at - (K * cash * n2 - at * asset * n1)
    grown = asset / cash
    growth = at * grown * (density * sigma / (2.0 * np.sqrt(T)) + q * n1) - r * K * n2
    return at, excess, 2.0 * growth / (sigma * sigma)


@kernel
def _put(
    S: float, K: float, T: float, r: float, q: float, sigma: float, start: float
) -> tuple[float, float]:
    """Approximate an American put with r > 0; also return its boundary, searched from `start`."""
    variance = sigma * sigma
    cash = exp(-r * T)
    ratio = -2.0 * r / (variance * expm1(-r * T))
    drift = 2.0 * (r - q) / variance - 1.0
    root = np.sqrt(drift * drift + 4.0 * ratio)
    # The negative root, in the form without cancellation.
    power = -0.5 * (drift + root) if drift > 0.0 else -2.0 * ratio / (root - drift)
    boundary, excess, growth = _boundary(K, T, r, q, sigma, power, start)
    if boundary >= S:
        return K - S, boundary
    deviation = sigma * np.sqrt(T)
    d1 = (log_ratio(S, K) + (r - q) * T) / deviation + 0.5 * deviation
    european = K * cash * normal_cdf(deviation - d1) - S * exp(-q * T) * normal_cdf(-d1)
    if not excess > 0.0:
        return european, boundary
    way = log(S / boundary)
    square = ratio / root
    linear = cash / root * (growth / excess + ratio - square * square)
    bent = 1.0 + way * (0.5 * cash * square * square * way - linear)
    premium = excess * exp(power * way) / max(bent, LEAST_DENOMINATOR)
    return max(european + premium, K - S), boundary


@kernel
def _vol(S: float, K: float, T: float, r: float, q: float, price: float, start: float) -> float:
    """Find the vol at which the approximate put is worth `price`, by secants from `start`."""
    low, high = 0.0, np.inf
    root = np.sqrt(T)
    boundary = 0.7 * K
    sigma, before, miss_before = start, 0.0, 0.0
    for step in range(VOL_STEPS):
        value, boundary = _put(S, K, T, r, q, sigma, min(boundary, 0.999 * K))
        miss = value - price
        if miss < 0.0:
            low = sigma
        else:
            high = sigma
        if step == 0:
            d1 = (log_ratio(S, K) + (r - q) * T) / (sigma * root) + 0.5 * sigma * root
            slope = S * exp(-q * T) * root * normal_pdf(d1)
        else:
            slope = (miss - miss_before) / (sigma - before)
        new = sigma - miss / slope if slope > 0.0 else 0.0
        if abs(new - sigma) <= VOL_PRECISION * sigma:
            return new
        if not low < new < high:
            new = 2.0 * sigma if high == np.inf else max(0.5 * (low + high), 0.1 * high)
        before, miss_before = sigma, miss
        sigma = new
    return sigma


@kernel
def american_vol(
    theta: Codes,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    price: Floats,
    start: Floats,
    vol: Floats,
) -> None:
    """Write the vols at which n approximate American options have their prices to `vol`.

    Every array has shape (n,); theta is +1 for a call and -1 for a put, of which q or r is
    positive. The search goes from `start`; NaN where the price is that of immediate exercise or
    less.
    """
    for i in range(len(S)):
        if not price[i] > theta[i] * (S[i] - K[i]):
            vol[i] = np.nan
        elif theta[i] > 0:
            vol[i] = _vol(K[i], S[i], T[i], q[i], r[i], price[i], start[i])
        else:
            vol[i] = _vol(S[i], K[i], T[i], r[i], q[i], price[i], start[i])


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, sign = np.ones(1), np.ones(1, np.int8)
    american_vol(-sign, one, one, one, one, one, one, one, np.empty(1))
