"""The elementary functions of elementary.py on lanes: the same polynomials, without branches.

Stated errors are the largest measured against mpmath by tests/test_lane_elementary.py.
"""

from __future__ import annotations

from math import inf, nan

from .elementary import ERFCX, EXP, LN2_HIGH, LN2_LOW, LOG, LOG2_E, TWO_OVER_SQRT_PI
from .jit import kernel
from .lanes import (
    Lane,
    absolute,
    any_greater,
    bits,
    broadcast,
    choose,
    doubles,
    fused,
    nearest,
    square_root,
)

NARROW = 0.1  # the widest gap between arguments of erfcx whose difference takes the series
LEAST_NORMAL = 2.2250738585072014e-308
TWO_52 = 4503599627370496.0  # adding it puts a whole number into the last bits
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
ONE_BITS = 0x3FF0000000000000
TWO_52_BITS = 0x4330000000000000

# The inverse normal distribution function: its centre ends where a tail of 1/32 begins.
CENTRE = 0.46875
CENTRE_TOP = (
    28796671.24122996,
    991142546.8139253,
    5232396053.009948,
    9625755711.192598,
    8148807567.350714,
    3648644410.871852,
    935990436.2970377,
    144139013.00878745,
    13629154.623253528,
    790705.1086825465,
    27261.563651771765,
    510.09826673599434,
    3.9738279838328565,
)
CENTRE_BOTTOM = (
    88865434.44994482,
    1207855587.317357,
    4169821416.536678,
    5841696206.364944,
    4059435169.5005083,
    1560935210.374076,
    354507766.4088664,
    49408170.253742285,
    4299218.555599993,
    232534.06577655883,
    7552.0771690164875,
    134.22505685617375,
    1.0,
)
TAIL_TOP = (
    6.851632266826658e-08,
    7.65057386782699e-06,
    0.00028916427796220134,
    0.005299403537672262,
    0.0549184254872539,
    0.3447008489969684,
    1.3288832831911204,
    3.04184149768213,
    3.7347494527066676,
    1.8536476432613758,
)
TAIL_BOTTOM = (
    6.851546233060585e-08,
    7.4710904924628715e-06,
    0.0002699921188045557,
    0.0046268134630963065,
    0.04380483096389567,
    0.2436911192727343,
    0.7917664136367155,
    1.3838072643385906,
    1.0,
)
TAIL_START = 2.625


@kernel
def polynomial(coefficients: tuple[float, ...], x: Lane) -> Lane:
    """Evaluate by Horner's rule, highest power first."""
    total = broadcast(coefficients[0])
    for c in coefficients[1:]:
        total = total * x + c
    return total


@kernel
def power_of_two(n: Lane) -> Lane:
    """Return 2**n for whole n, -1022 <= n <= 1023."""
    return doubles(bits(n + (TWO_52 + 1023.0)) << 52)


@kernel
def _exp_sum(high: Lane, low: Lane) -> Lane:
    """Return e**(high + low) for |low| < 1e-10."""
    # The comparisons keep what is not a number.
    x = choose(high, broadcast(710.0), broadcast(710.0), high)
    x = choose(broadcast(-746.0), x, broadcast(-746.0), x)
    n = nearest(x * LOG2_E)
    r = (x - n * LN2_HIGH) - n * LN2_LOW + low
    half = nearest(0.5 * n)
    series = 1.0 + (r + r * r * polynomial(EXP, r))
    return series * power_of_two(half) * power_of_two(n - half)


@kernel
def exp(x: Lane) -> Lane:
    """Return e**x within 1 ulp; 0 below -745.2, infinity above 709.8."""
    return _exp_sum(x, broadcast(0.0))


@kernel
def expm1_small(x: Lane) -> Lane:
    """Return e**x - 1 within 1 ulp for |x| < 0.34."""
    return x + x * x * polynomial(EXP, x)


@kernel
def gaussian(x: Lane) -> Lane:
    """Return exp(-x*x/2) within 1.2 ulp: what rounding takes from the square is put back."""
    size = absolute(x)
    size = choose(size, broadcast(60.0), broadcast(60.0), size)
    square = size * size
    rest = fused(size, size, -square)
    return _exp_sum(-0.5 * square, -0.5 * rest)


@kernel
def _log_of_parts(n: Lane, f: Lane) -> Lane:
    """Return ln(2**n (1 + f)) for sqrt(1/2) - 1 <= f < sqrt(2) - 1."""
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    rest = s * (half_square + z * polynomial(LOG, z))
    return n * LN2_HIGH - ((half_square - (rest + n * LN2_LOW)) - f)


@kernel
def _exponent_and_fraction(x: Lane) -> tuple[Lane, Lane]:
    """Return n and f such that x = 2**n (1 + f) for positive x."""
    least_normal = broadcast(LEAST_NORMAL)
    normal = choose(least_normal, x, x * 18014398509481984.0, x)
    shift = choose(least_normal, x, broadcast(54.0), broadcast(0.0))
    whole = bits(normal)
    biased = (whole - (SQRT_HALF_BITS - ONE_BITS)) >> 52
    n = doubles(biased + TWO_52_BITS) - (TWO_52 + 1023.0)
    f = doubles(whole - ((biased << 52) - ONE_BITS)) - 1.0
    return n - shift, f


@kernel
def log(x: Lane) -> Lane:
    """Return the natural logarithm within 1 ulp; minus infinity at 0."""
    n, f = _exponent_and_fraction(x)
    value = _log_of_parts(n, f)
    value = choose(x, broadcast(1.7976931348623157e308), broadcast(inf), value)
    value = choose(x, broadcast(0.0), value, broadcast(nan))
    return choose(-absolute(x), broadcast(-5e-324), broadcast(-inf), value)


@kernel
def log_ratio(x: Lane, y: Lane) -> Lane:
    """Return ln(x / y) for positive x and y, within 3 ulp also where they are close.

    Where x / y is no positive double, some 745 or 710 away from 0.
    """
    ratio = x / y
    smallest = broadcast(5e-324)
    n, f = _exponent_and_fraction(choose(smallest, ratio, smallest, ratio))
    close = 0.375 - absolute(x - 1.1 * y) / y
    zero = broadcast(0.0)
    return _log_of_parts(choose(close, zero, zero, n), choose(close, zero, (x - y) / y, f))


@kernel
def _central_normal(q: Lane) -> Lane:
    """Return the inverse normal of 1/2 + q for |q| <= `CENTRE`."""
    r = CENTRE * CENTRE - q * q
    return q * (polynomial(CENTRE_TOP, r) / polynomial(CENTRE_BOTTOM, r))


@kernel
def _tail_normal(tail: Lane) -> Lane:
    """Return minus the inverse normal of 2**-54 <= tail <= 1/32."""
    n, f = _exponent_and_fraction(tail)
    t = square_root(-2.0 * _log_of_parts(n, f)) - TAIL_START
    return polynomial(TAIL_TOP, t) / polynomial(TAIL_BOTTOM, t)


@kernel
def inverse_normal(u: Lane) -> Lane:
    """Return the z below which a standard normal is with chance u, 2**-54 <= u <= 1 - 2**-53."""
    q = u - 0.5
    z = _central_normal(q)
    centre = broadcast(CENTRE)
    if any_greater(absolute(q), centre):
        z = choose(q, centre, _tail_normal(1.0 - u), z)
        z = choose(-centre, q, -_tail_normal(u), z)
    return z


@kernel
def erfcx(x: Lane) -> Lane:
    """Return exp(x*x) erfc(x) for 0 <= x <= 1e300, within 5 ulp."""
    t = (x - 3.75) / (x + 3.75)
    return polynomial(ERFCX, t) / (1.0 + 2.0 * x)


@kernel
def erfcx_difference(x: Lane, gap: Lane) -> Lane:
    """Return erfcx(x - gap/2) - erfcx(x + gap/2) for x >= 0, gap <= `NARROW`, uncancelled.

    The Taylor series about x, by the recurrence f' = 2x f - 2/sqrt(pi),
    f(k+1) = 2x f(k) + 2k f(k-1). Its first term left out is 3e-16 of the first.
    """
    f0 = erfcx(x)
    f1 = 2.0 * (x * f0) - TWO_OVER_SQRT_PI
    f2 = 2.0 * (x * f1 + f0)
    f3 = 2.0 * (x * f2 + 2.0 * f1)
    f4 = 2.0 * (x * f3 + 3.0 * f2)
    f5 = 2.0 * (x * f4 + 4.0 * f3)
    f6 = 2.0 * (x * f5 + 5.0 * f4)
    f7 = 2.0 * (x * f6 + 6.0 * f5)
    f8 = 2.0 * (x * f7 + 7.0 * f6)
    f9 = 2.0 * (x * f8 + 8.0 * f7)
    square = gap * gap
    series = f9 * (1.0 / 92897280.0) * square + f7 * (1.0 / 322560.0)
    series = series * square + f5 * (1.0 / 1920.0)
    series = series * square + f3 * (1.0 / 24.0)
    return -gap * (series * square + f1)
