"""Elementary functions as our own polynomials, so that no machine's libm enters a price.

The same source compiled for the same target gives the same bits. Coefficients are Chebyshev
interpolants computed with mpmath at 50 digits; stated errors are the largest measured against
mpmath by tests/test_elementary.py.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jit import Floats

LN2_HIGH = 0.6931471803691238  # the leading 32 bits, so that n * LN2_HIGH is exact
LN2_LOW = 1.9082149292705877e-10
LOG2_E = 1.4426950408889634
SQRT_2 = 1.4142135623730951
INVERSE_SQRT_2 = 0.7071067811865476
INVERSE_SQRT_2PI = 0.3989422804014327
TWO_OVER_SQRT_PI = 1.1283791670955126
SPLIT = 134217729.0  # 2**27 + 1: Dekker's splitting of a double into two halves

EXP = (
    2.5100472505694996e-08,
    2.7620201591031547e-07,
    2.7557268276905696e-06,
    2.4801521057868204e-05,
    0.00019841269863171557,
    0.0013888888917367081,
    0.008333333333330039,
    0.041666666666623824,
    0.16666666666666669,
    0.5000000000000001,
)
LOG = (
    0.13087330476603717,
    0.1326870577297007,
    0.15386242218879392,
    0.1818179559386321,
    0.22222222392147034,
    0.285714285708017,
    0.4000000000000088,
    0.6666666666666666,
)
ERFCX = (
    4.4349715086072345e-10,
    3.110322549640742e-10,
    -5.284293628674696e-09,
    -3.7435743572464325e-09,
    3.896546791371736e-08,
    2.3261927889415137e-08,
    -2.591069888939441e-07,
    -5.7215991689713195e-08,
    1.7520579865919496e-06,
    -9.735618858965723e-07,
    -1.1444412447855636e-05,
    2.238424030596555e-05,
    5.1649211393689445e-05,
    -0.0002901540809766867,
    0.0002937136342843539,
    0.0017556258530011036,
    -0.009746579552504157,
    0.02836227741894075,
    -0.05869339859021237,
    0.09230432116037876,
    -0.10880393014171785,
    0.08227673849014516,
    0.003585415485463775,
    -0.14024059858554697,
    1.2375126308378275,
)


def _reinterpret(source: Any, target: Any, llvm_type: Any) -> Any:
    @intrinsic
    def reinterpret(typing_context: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], llvm_type)

        return target(source), emit

    return reinterpret


# The 64 bits of a double as an integer, and back.
_bits: Callable[[float], int] = _reinterpret(types.float64, types.int64, ir.IntType(64))
_double: Callable[[int], float] = _reinterpret(types.int64, types.float64, ir.DoubleType())


@kernel
def polynomial(coefficients: tuple[float, ...], x: float) -> float:
    """Evaluate by Horner's rule, highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


@kernel
def power_of_two(n: int) -> float:
    """Return 2**n for -1022 <= n <= 1023."""
    return _double((n + 1023) << 52)


@kernel
def exp(x: float) -> float:
    """Return e**x within 1.1 ulp; 0 below -745.2, infinity above 709.8."""
    if not x > -745.2:
        return 0.0 if x <= -745.2 else nan
    if x > 709.79:
        return inf
    n: int = int(np.floor(x * LOG2_E + 0.5))
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    half = n >> 1
    return (1.0 + (r + r * r * polynomial(EXP, r))) * power_of_two(half) * power_of_two(n - half)


@kernel
def expm1(x: float) -> float:
    """Return e**x - 1 within 3 ulp, also where x is small."""
    return x + x * x * polynomial(EXP, x) if abs(x) < 0.34 else exp(x) - 1.0


@kernel
def log(x: float) -> float:
    """Return the natural logarithm of x > 0 within 1 ulp; minus infinity at 0."""
    if not x > 0.0:
        return -inf if x == 0.0 else nan
    if x == inf:
        return inf
    shift = 0
    if x < 2.2250738585072014e-308:
        x *= 18014398509481984.0
        shift = 54
    bits = _bits(x)
    # The mantissa is taken in [sqrt(1/2), sqrt(2)): 0x3FE6A09E667F3BCD is sqrt(1/2).
    n = (bits - 0x3FE6A09E667F3BCD) >> 52
    f = _double(bits - (n << 52)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    rest = s * (half_square + z * polynomial(LOG, z))
    n -= shift
    return n * LN2_HIGH - ((half_square - (rest + n * LN2_LOW)) - f)


@kernel
def log_ratio(x: float, y: float) -> float:
    """Return ln(x / y) for x, y > 0, within 3 ulp also where they are close."""
    ratio = x / y
    if not 0.75 < ratio < 1.4:
        return log(ratio)
    f = (x - y) / y
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    return f - (half_square - s * (half_square + z * polynomial(LOG, z)))


@kernel
def gaussian(x: float) -> float:
    """Return exp(-x*x/2) within 3 ulp: the square is split, so that its rounding does not grow."""
    if not abs(x) < 55.0:
        return 0.0 if abs(x) >= 55.0 else nan
    spread = x * SPLIT
    high = spread - (spread - x)
    low = x - high
    return exp(-0.5 * high * high) * exp(-0.5 * low * (x + high))


@kernel
def erfcx(x: float) -> float:
    """Return exp(x*x) erfc(x), for x > -26: within 5 ulp for x >= 0.

    A polynomial in (x - 3.75) / (x + 3.75) over 1 + 2x (Shepherd and Laframboise 1981).
    """
    y = abs(x)
    t = (y - 3.75) / (y + 3.75) if y < 1e300 else 1.0
    tail = polynomial(ERFCX, t) / (1.0 + 2.0 * y)
    return tail if x >= 0.0 else 2.0 / gaussian(x * SQRT_2) - tail


@kernel
def normal_cdf(x: float) -> float:
    """Return the standard normal distribution: 8 ulp in either tail."""
    tail = 0.5 * gaussian(x) * erfcx(abs(x) * INVERSE_SQRT_2)
    return tail if x < 0.0 else 1.0 - tail


@kernel
def normal_pdf(x: float) -> float:
    """Return the standard normal density."""
    return INVERSE_SQRT_2PI * gaussian(x)


@kernel
def exponentials(x: Floats, out: Floats) -> None:
    """Write e**x of shape (n,) to `out`."""
    for i in range(len(x)):
        out[i] = exp(x[i])


@kernel
def logarithms(x: Floats, out: Floats) -> None:
    """Write ln(x) of shape (n,) to `out`."""
    for i in range(len(x)):
        out[i] = log(x[i])


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64."""
    one = np.ones(1)
    exponentials(one, one)
    logarithms(one, one)
