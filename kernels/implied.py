"""The vol that a European option's price implies.

With y = |ln(forward / strike)| and v = vol sqrt(T), the price of the option that is out of the
money is the fraction p of its upper bound, c = 1 - p what is missing:

    p = N(h1) - e**y N(h2),   h1 = v/2 - y/v,   h2 = h1 - v,   dp/dv = n(h1).

The logarithm of the lesser of p and c is nearly straight in ln v. Its root is found by the third
order method of Householder. The problem is that of Jaeckel 2015, "Let's be rational"; the functions
and the start are others.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np

from .black_scholes import EPSILON, forward_value
from .elementary import INVERSE_SQRT_2, INVERSE_SQRT_2PI
from .jit import kernel
from .lane_elementary import (
    NARROW,
    erfcx,
    erfcx_difference,
    exp,
    gaussian,
    log,
    log_ratio,
)
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    any_greater,
    broadcast,
    choose,
    load,
    load_codes,
    maximum,
    minimum,
    square_root,
    store,
    store_codes,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats

OK, BELOW, ABOVE, NO_TIME_VALUE, BAD_INPUT = range(5)
MOST_STEPS = 12  # five have been enough
CLOSE = 1e-5  # a step in ln v after which the next is below rounding
SQRT_2PI = 2.5066282746310002
LN_2 = 0.6931471805599453
LEAST_FRACTION = 1e-290


@kernel
def _start_below(y: Lane, fraction: Lane) -> Lane:
    """Return about the v of p = `fraction` <= 1/2: from a sixth of it to 1.2 times.

    p < exp(-h1*h1/2) / 2 while h1 < 0, and p < v n(0), either of them sharp at its end.
    """
    deviation = square_root(maximum(-2.0 * (log(fraction) + LN_2), broadcast(0.0)))
    tail = 2.0 * y / (deviation + square_root(deviation * deviation + 2.0 * y) + 1e-300)
    plain = SQRT_2PI * fraction
    # The square of a small number may be zero.
    return maximum(square_root(tail * tail + plain * plain), plain)


@kernel
def _start_above(y: Lane, fraction: Lane) -> Lane:
    """Return v that is too high for c = `fraction` <= 1/2, since c < 2 N(-h1).

    The inverse of the normal distribution is that of Abramowitz and Stegun, 26.2.23.
    """
    t = square_root(-2.0 * log(0.5 * fraction))
    upper = 2.515517 + t * (0.802853 + t * 0.010328)
    lower = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    h1 = t - upper / lower
    return h1 + square_root(h1 * h1 + 2.0 * y)


@kernel
def _step(side: Lane, y: Lane, v: Lane, held: Lane, below: Lane) -> Lane:
    """Return the change of ln v towards ln p = ln(held) + below, or of c where `side` is -1."""
    zero, one = broadcast(0.0), broadcast(1.0)
    distance = y / v
    half = 0.5 * v
    h1 = half - distance
    near = erfcx(absolute(h1) * INVERSE_SQRT_2)
    far = erfcx((half + distance) * INVERSE_SQRT_2)
    density = gaussian(h1)
    # density * tail is p where h1 < 0 or v is small, else c.
    tail = 0.5 * choose(h1, zero, near + far, near - far)
    natural = choose(h1, zero, -one, one)
    gap = v * INVERSE_SQRT_2
    narrow = broadcast(NARROW)
    if any_greater(narrow, gap):
        series = 0.5 * erfcx_difference(distance * INVERSE_SQRT_2, gap)
        tail = choose(narrow, gap, series, tail)
        natural = choose(narrow, gap, one, natural)
    same = side * natural
    whole = choose(same, zero, tail, 1.0 - density * tail)
    power = choose(same, zero, -0.5 * h1 * h1, zero)
    miss = power + log(whole / held) - below
    slope = side * v * INVERSE_SQRT_2PI * choose(same, zero, one, density) / whole
    newton = -miss / slope
    square = distance * distance
    second = 1.0 + square - half * half - slope
    third = second * second - 2.0 * square - 2.0 * half * half - slope * second
    bent = 1.0 + newton * (second + newton * third * (1.0 / 6.0))
    step = newton * (1.0 + 0.5 * newton * second) / bent
    # Far away the curve is not to be trusted beyond twice its tangent.
    step = choose(bent, broadcast(0.25), step, newton)
    return maximum(minimum(step, one), -one)


@kernel
def _imply(
    theta: Lane, S: Lane, K: Lane, T: Lane, r: Lane, q: Lane, price: Lane
) -> tuple[Lane, Lane]:
    """Return the vols that prices imply, and codes, one option a lane."""
    zero, one = broadcast(0.0), broadcast(1.0)
    s = S * exp(-q * T)
    k = K * exp(-r * T)
    drift = log_ratio(S, K) + (r - q) * T
    y = absolute(drift)
    # The option itself is in the money where its forward is.
    inside = theta * drift
    intrinsic = choose(inside, zero, theta * forward_value(s, k, drift), zero)
    bound = choose(theta, zero, s, k)
    lesser = choose(drift, zero, k, s)
    value = price - intrinsic
    p = value / lesser
    c = (bound - price) / lesser
    rounding = EPSILON * (s * (3.0 + absolute(q * T)) + k * (3.0 + absolute(r * T)))
    least_value = choose(inside, zero, rounding, zero)
    code = choose(value, least_value, broadcast(float(OK)), broadcast(float(NO_TIME_VALUE)))
    code = choose(-least_value, value, broadcast(float(BELOW)), code)
    above = choose(value, least_value, broadcast(float(ABOVE)), code)
    code = choose(c, zero, code, above)
    positive = minimum(minimum(minimum(S, K), T), minimum(s, k))
    finite = choose(broadcast(inf), absolute(price) + s + k + y, one, zero)
    code = choose(choose(positive, zero, finite, zero), zero, code, broadcast(float(BAD_INPUT)))

    side = choose(p, c, -one, one)
    fraction = maximum(minimum(p, c), broadcast(5e-324))
    held = maximum(fraction, broadcast(LEAST_FRACTION))
    below = log(fraction / held)
    v = choose(side, zero, _start_below(y, fraction), _start_above(y, fraction))
    moving = choose(broadcast(0.5), code, one, zero)
    for _ in range(MOST_STEPS):
        if not any_greater(moving, zero):
            break
        step = choose(moving, zero, _step(side, y, v, held, below), zero)
        v = v * exp(step)
        moving = choose(absolute(step), broadcast(CLOSE), moving, zero)
    return choose(broadcast(0.5), code, v / square_root(T), broadcast(nan)), code


@kernel
def _groups(
    theta: Codes,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    price: Floats,
    vol: Floats,
    code: Codes,
) -> None:
    """Answer whole groups of `WIDTH` options."""
    for g in range(len(S) // WIDTH):
        implied, why = _imply(
            load_codes(theta, g),
            load(S, g),
            load(K, g),
            load(T, g),
            load(r, g),
            load(q, g),
            load(price, g),
        )
        store(vol, g, implied)
        store_codes(code, g, why)


@kernel
def european_vol(
    theta: Codes,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    price: Floats,
    vol: Floats,
    code: Codes,
) -> None:
    """Write the vols that n prices imply to `vol`, NaN where there is none, and why to `code`.

    Every array has shape (n,); theta is +1 for a call and -1 for a put. Codes: OK; BELOW the
    bound that no arbitrage sets; ABOVE the other, or at it; NO_TIME_VALUE, where the price is the
    discounted intrinsic value up to rounding; BAD_INPUT, where something is not finite, or S, K, T
    or a discounted one is not positive.
    """
    n = len(S)
    _groups(theta, S, K, T, r, q, price, vol, code)
    whole = n - n % WIDTH
    if whole < n:
        # The last option fills the lanes that are left.
        pick = np.minimum(np.arange(whole, whole + WIDTH), n - 1)
        rest, why = np.empty(WIDTH), np.empty(WIDTH, np.int8)
        _groups(theta[pick], S[pick], K[pick], T[pick], r[pick], q[pick], price[pick], rest, why)
        vol[whole:] = rest[: n - whole]
        code[whole:] = why[: n - whole]


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, sign = np.ones(1), np.ones(1, np.int8)
    european_vol(sign, one, one, one, one, one, one, np.empty(1), np.empty(1, np.int8))
