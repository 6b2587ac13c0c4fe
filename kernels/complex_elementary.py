"""Elementary functions of complex arguments, from the same polynomials as the real ones.

Errors are relative to the size of the complex value; tests/test_fourier.py measures them.
"""

from __future__ import annotations

import numpy as np

from .elementary import LOG, exp, expm1, log, polynomial
from .faddeeva import INVERSE_PI, PI, sine_cosine
from .jit import kernel

TAN_PI_8 = 0.41421356237309503

# atan(t) / t in t * t, for |t| up to tan(pi / 8), highest power first.
ARCTANGENT = (
    0.021135373157693246,
    -0.04348052215716462,
    0.056883492268090106,
    -0.06640233930429408,
    0.07689953496306857,
    -0.09090773074808414,
    0.11111106180455946,
    -0.14285714180976467,
    0.1999999999885511,
    -0.3333333333332844,
    1.0,
)


@kernel
def angle(x: float, y: float) -> float:
    """Return the angle of x + iy in [-pi, pi], within 4e-16; 0 at the origin."""
    across, up = abs(x), abs(y)
    low, high = min(across, up), max(across, up)
    if high == 0.0:
        return 0.0
    turn = low > TAN_PI_8 * high
    t = (low - high) / (low + high) if turn else low / high
    value = t * polynomial(ARCTANGENT, t * t)
    if turn:
        value += 0.25 * PI
    if up > across:
        value = 0.5 * PI - value
    if x < 0.0:
        value = PI - value
    return -value if y < 0.0 else value


@kernel
def square_root(z: complex) -> complex:
    """Return the square root whose real part is not negative, within 2 ulp."""
    across = abs(z.real)
    t = np.sqrt(0.5 * (across + np.sqrt(z.real * z.real + z.imag * z.imag)))
    if t == 0.0:
        return complex(0.0, 0.0)
    other = 0.5 * z.imag / t
    if z.real >= 0.0:
        return complex(t, other)
    return complex(abs(other), t if z.imag >= 0.0 else -t)


@kernel
def exponential(z: complex) -> complex:
    """Return e**z, within 4 ulp and the rounding of the angle, 2e-16 |Im z|."""
    size = exp(z.real)
    s, c = sine_cosine(z.imag * INVERSE_PI)
    return complex(size * c, size * s)


@kernel
def exponential_minus_one(z: complex) -> complex:
    """Return e**z - 1, also where z is small."""
    s, c = sine_cosine(z.imag * INVERSE_PI)
    half, _ = sine_cosine(0.5 * z.imag * INVERSE_PI)
    return complex(expm1(z.real) * c - 2.0 * half * half, exp(z.real) * s)


@kernel
def logarithm_of_one_plus(z: complex) -> complex:
    """Return ln(1 + z) on the principal branch, within 4 ulp also where z is small."""
    grown = 2.0 * z.real + (z.real * z.real + z.imag * z.imag)
    if -0.25 < grown < 0.4:
        s = grown / (2.0 + grown)
        square = s * s
        half_square = 0.5 * grown * grown
        size = grown - (half_square - s * (half_square + square * polynomial(LOG, square)))
    else:
        size = log(1.0 + grown)
    return complex(0.5 * size, angle(1.0 + z.real, z.imag))
