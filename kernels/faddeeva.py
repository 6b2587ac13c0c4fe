"""The scaled complementary error function of a complex argument, and the sine and cosine it needs.

A negative rate can make the discounted passage to a barrier oscillate; see images.py.
"""

from __future__ import annotations

import numpy as np

from .elementary import exp, polynomial
from .jit import kernel

PI = 3.141592653589793
INVERSE_PI = 0.3183098861837907
NODES = 12
STEP = 0.5116633539732443  # sqrt(pi / NODES)

# Taylor coefficients of sin(t) / t and cos(t) in t * t, highest power first.
SINE = (
    2.8114572543455206e-15,
    -7.647163731819816e-13,
    1.6059043836821613e-10,
    -2.505210838544172e-08,
    2.7557319223985893e-06,
    -0.0001984126984126984,
    0.008333333333333333,
    -0.16666666666666666,
    1.0,
)
COSINE = (
    4.779477332387385e-14,
    -1.1470745597729725e-11,
    2.08767569878681e-09,
    -2.755731922398589e-07,
    2.48015873015873e-05,
    -0.001388888888888889,
    0.041666666666666664,
    -0.5,
    1.0,
)


@kernel
def sine_cosine(x: float) -> tuple[float, float]:
    """Return sin(pi x) and cos(pi x) within 2e-16, for |x| < 1e9."""
    turns = np.floor(2.0 * x + 0.5)
    t = PI * (x - 0.5 * turns)
    square = t * t
    s = t * polynomial(SINE, square)
    c = polynomial(COSINE, square)
    quarter = turns - 4.0 * np.floor(0.25 * turns)
    if quarter == 1.0:
        return c, -s
    if quarter == 2.0:
        return -s, -c
    if quarter == 3.0:
        return -c, s
    return s, c


@kernel
def erfcx_complex(a: float, b: float) -> tuple[float, float]:
    """Return the real and imaginary part of erfcx(a - ib) for a, b >= 0, within 1e-14 of its size.

    That is w(b + ia), by the midpoint or the trapezoidal rule, whichever has no node near b, with
    the residue of the pole that the rule misses (Al Azah and Chandler-Wilde 2021).
    """
    z = complex(b, a)
    square = z * z
    offset = b / STEP - np.floor(b / STEP)
    far = a >= max(b, PI / STEP)
    trapezoidal = not far and a < b and 0.25 <= offset <= 0.75
    total = 0.5 / square if trapezoidal else complex(0.0, 0.0)
    for k in range(1, NODES) if trapezoidal else range(NODES):
        t = STEP * (k if trapezoidal else k + 0.5)
        total += exp(-t * t) / (square - t * t)
    value = complex(0.0, 2.0 * STEP * INVERSE_PI) * z * total
    if not far:
        sine, cosine = sine_cosine(2.0 * a * b * INVERSE_PI)
        pole = 2.0 * exp(a * a - b * b) * complex(cosine, -sine)
        sine, cosine = sine_cosine(2.0 * b / STEP)
        turn = exp(2.0 * PI * a / STEP) * complex(cosine, -sine)
        value += pole / (1.0 - turn if trapezoidal else 1.0 + turn)
    return value.real, value.imag
