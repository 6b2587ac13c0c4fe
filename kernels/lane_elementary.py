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
    bits,
    broadcast,
    choose,
    doubles,
    fused,
    nearest,
    square_root,
)

NARROW = 0.1  # the widest gap between arguments of erfcx whose difference takes the series
LN2 = 0.6931471805599453
LEAST_NORMAL = 2.2250738585072014e-308
TWO_52 = 4503599627370496.0  # adding it puts a whole number into the last bits
WHOLE_AND_BIAS = 1.5 * TWO_52 + 1023.0
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
ONE_BITS = 0x3FF0000000000000
TWO_52_BITS = 0x4330000000000000

# The inverse of the normal distribution: within this distance of the median 3 + a quotient, and in
# its tails sqrt(-2 ln u) less a quotient in what that is beyond `TAIL_START`.
CENTRE = 0.4375
TAIL_START = 2.34375
CENTRE_TOP = (
    -155465.26274473313,
    -1109819.8587634019,
    -1962699.2075178532,
    -1343416.7246658325,
    -418886.61994540767,
    -60812.84765698037,
    -3180.3486960724704,
    121.39199711063985,
    18.493956560597198,
    0.5065612442343915,
)
CENTRE_BOTTOM = (
    59469.6260814906,
    543569.6339125969,
    1257839.4424825883,
    1175722.1622212387,
    539499.927990966,
    133917.9521290391,
    18753.935969424838,
    1473.5990691178847,
    60.35695776865834,
    1.0,
)
TAIL_TOP = (
    4.7028076409228276e-09,
    1.2305550600294905e-06,
    7.558734581834295e-05,
    0.001827511029465319,
    0.02179060249895679,
    0.14354969705408915,
    0.5350062832837986,
    1.0456111911404247,
    0.822884036916834,
)
TAIL_BOTTOM = (
    5.8548194719739e-10,
    2.1068875711798614e-07,
    1.6425180508625465e-05,
    0.0004972751981395183,
    0.007467920292474683,
    0.0632287149151029,
    0.31855563174295326,
    0.9444779107220866,
    1.5112426712848823,
    1.0,
)


@kernel
def polynomial(coefficients: tuple[float, ...], x: Lane) -> Lane:
    """Evaluate by Horner's rule, highest power first."""
    total = broadcast(coefficients[0])
    for c in coefficients[1:]:
        total = total * x + c
    return total


@kernel
def halved_polynomial(coefficients: tuple[float, ...], x: Lane) -> Lane:
    """Evaluate odd and even powers apart, which takes half the time where nothing else is to do."""
    square = x * x
    highest, others = polynomial(coefficients[::2], square), polynomial(coefficients[1::2], square)
    return highest * x + others if len(coefficients) % 2 == 0 else others * x + highest


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
def exp_normal(x: Lane) -> Lane:
    """Return e**x within 1 ulp, in two thirds of the time: beyond 708 of either sign x is 708."""
    # The comparisons keep what is not a number.
    x = choose(x, broadcast(708.0), broadcast(708.0), x)
    x = choose(broadcast(-708.0), x, broadcast(-708.0), x)
    shifted = x * LOG2_E + WHOLE_AND_BIAS
    n = shifted - WHOLE_AND_BIAS
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    scale = doubles(bits(shifted) << 52)
    return scale + scale * (r + r * r * polynomial(EXP, r))


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
def _parts_of_normal(x: Lane) -> tuple[Lane, Lane]:
    """Return n and f such that x = 2**n (1 + f) for a positive x that is no subnormal."""
    whole = bits(x)
    biased = (whole - (SQRT_HALF_BITS - ONE_BITS)) >> 52
    n = doubles(biased + TWO_52_BITS) - (TWO_52 + 1023.0)
    f = doubles(whole - ((biased << 52) - ONE_BITS)) - 1.0
    return n, f


@kernel
def _exponent_and_fraction(x: Lane) -> tuple[Lane, Lane]:
    """Return n and f such that x = 2**n (1 + f) for positive x."""
    least_normal = broadcast(LEAST_NORMAL)
    shift = choose(least_normal, x, broadcast(54.0), broadcast(0.0))
    n, f = _parts_of_normal(choose(least_normal, x, x * 18014398509481984.0, x))
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
def central_normal(q: Lane) -> Lane:
    """Return the z below which a standard normal is with chance 1/2 + q, |q| <= `CENTRE`.

    A quotient of polynomials in the distance from the range's end, so that no term cancels another
    (after Wichura 1988). Within 2.1 ulp.
    """
    r = CENTRE * CENTRE - q * q
    return q * (3.0 + polynomial(CENTRE_TOP, r) / polynomial(CENTRE_BOTTOM, r))


@kernel
def outer_normal(u: Lane) -> Lane:
    """Return the z below which a standard normal is with chance u <= 1/16 or u >= 15/16.

    A quotient of polynomials in sqrt(-2 ln u), for u >= 2**-54. Within 3.5 ulp.
    """
    zero = broadcast(0.0)
    upper = u - 0.5
    n, f = _parts_of_normal(choose(upper, zero, 1.0 - u, u))
    s = f / (2.0 + f)
    square = s * s
    logarithm = n * LN2 + (2.0 * s + s * square * halved_polynomial(LOG, square))
    root = square_root(-2.0 * logarithm)
    t = root - TAIL_START
    z = root - halved_polynomial(TAIL_TOP, t) / halved_polynomial(TAIL_BOTTOM, t)
    return choose(upper, zero, z, -z)


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
