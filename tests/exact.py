"""What elementary functions are: at 40 digits by mpmath, and at the ends of their ranges."""

from __future__ import annotations

import math
from typing import Any

import mpmath  # type: ignore[import-untyped]

# By the name of the function: an argument and the value there, to the last bit.
LIMITS = (
    ("exp", 0.0, 1.0),
    ("exp", -746.0, 0.0),
    ("exp", 710.0, math.inf),
    ("exp", -math.inf, 0.0),
    ("exp", math.inf, math.inf),
    ("exp", -745.0, 5e-324),
    ("exp", 709.782, math.exp(709.782)),
    ("log", 1.0, 0.0),
    ("log", 0.0, -math.inf),
    ("log", -0.0, -math.inf),
    ("log", math.inf, math.inf),
    ("log", 5e-324, math.log(5e-324)),
    ("log", 2.2250738585072014e-308, math.log(2.2250738585072014e-308)),
    ("gaussian", 0.0, 1.0),
    ("gaussian", 55.0, 0.0),
    ("gaussian", -math.inf, 0.0),
)


def exact_gaussian(x: Any) -> Any:
    return mpmath.exp(-x * x / 2)


def exact_erfcx(x: Any) -> Any:
    return mpmath.exp(x * x) * mpmath.erfc(x)


def exact_inverse_normal(u: Any) -> Any:
    """Invert the normal distribution by Newton's method on the logarithm of the smaller tail."""
    tail = min(u, 1 - u)
    z = -mpmath.sqrt(-2 * mpmath.log(tail)) + 0.5
    for _ in range(30):
        chance = mpmath.ncdf(z)
        step = mpmath.log(chance / tail) * chance / mpmath.npdf(z)
        z -= step
        if abs(step) < 1e-25:
            break
    return -z if u > tail else z
