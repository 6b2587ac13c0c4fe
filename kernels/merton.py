"""The assets of firms whose equity is a call on them, struck at their debt (Merton 1974).

With k the discounted debt, v = sigma sqrt(T) and x = ln(V / k), the equity by k is the call

    c(x) = e**x N(d1) - N(d2),   d1 = x/v + v/2,   d2 = d1 - v.

Its inverse is found in steps of x/v. From a start within 0.03 of it, the Taylor series of c has
the rest within rounding, so that one evaluation of c is enough; elsewhere Householder's third order
method for ln c, which is concave and nearly straight far out of the money, comes close first.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import elementary
from .black_scholes import EPSILON
from .elementary import INVERSE_SQRT_2, INVERSE_SQRT_2PI
from .jit import kernel
from .lane_elementary import erfcx, exp, exp_normal, expm1_small, log, polynomial
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    any_greater,
    broadcast,
    choose,
    first,
    load,
    maximum,
    minimum,
    square_root,
    store,
    store_codes,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

    Found = tuple[Lane, Lane, Lane, Lane]

# What became of an inversion.
OK, BAD_INPUT, OUT_OF_RANGE = range(3)
# What became of the estimate of a window.
ESTIMATED, NOT_CONVERGED, FEW_DAYS, STILL, SLOW = range(5)
ROWS = (
    "asset_value",
    "asset_vol",
    "drift",
    "distance_to_default",
    "default_probability",
    "days",
    "inversions",
    "error",
)
DAYS_A_YEAR = 252.0
MOST_PASSES = 10
ENOUGH = 1e-3  # a move of the asset vol that ends the passes
LARGEST_ERROR = 1e-2  # of an asset vol that came to rest
LEAST_VOL = 1e-12  # of returns that differ by rounding alone
MOST_LOG = 700.0
MOST_STEPS = 40  # four have been enough for firms
CLOSE = 0.045  # a step of x/v that the series takes within rounding
NEAR = 0.5  # one that it takes better than the logarithm does
MOST_V = 100.0
LEAST_V = 1e-13  # below, x/v cannot be told to within a step
NEGLIGIBLE = 1e-17  # of one
LEAST_RATIO = 1e-280
# What a day's equity by its debt must be at least, and its rate times the horizon at most.
LEAST_LEVERED, MOST_GROWTH = 1e-250, 50.0
MOST_VALUE = 1e250  # of a day
HALF_LOG_2PI = 0.9189385332046727

# B(y) = y N(y) + n(y) is the call in units of its spread, where that is small. With
# s = B - B(0) the quotient is B - y for y > 0, within 4e-4; with l = ln(B(0) / B) the other is
# (l / y)**2 for y < 0, where y is within 0.002.
ABOVE_TOP = (-0.14081868, 0.39874993)
ABOVE_BOTTOM = (1.69179841, -0.1922352, 1.85608849, 2.10997355, 1.0)
BELOW_TOP = (0.0230344914, 0.626894653, 1.59804479)
BELOW_BOTTOM = (1.79354029e-07, 0.0458237474, 1.0)


@kernel
def _start(e: Lane, v: Lane) -> Lane:
    """Return about ln(V / k) where the equity by k is `e`: within 0.03 v for 0.05 < v < 1.8.

    In the money the call is nearly that of a normal model of spread v sqrt(V); out of it, e**(x/2)
    times that of spread v.
    """
    zero, one = broadcast(0.0), broadcast(1.0)
    even = v / square_root(1.0 + v * v * (1.0 / 12.0))
    middle = INVERSE_SQRT_2PI * even
    inside = e - middle
    put = middle * (middle / e)
    spread = choose(inside, zero, even * square_root(1.0 + e - put), even)
    b = e / spread
    s = b - INVERSE_SQRT_2PI
    shorter = spread * (polynomial(ABOVE_TOP, s) / polynomial(ABOVE_BOTTOM, s))
    logarithm = log(choose(inside, zero, 1.0 + e - shorter, b))
    depth = maximum(-(logarithm + HALF_LOG_2PI), zero)
    square = polynomial(BELOW_TOP, depth) / polynomial(BELOW_BOTTOM, depth)
    y = -depth / square_root(square)
    slope = square_root(0.25 * y * y + 1.5707963267948966) - 0.5 * y
    half = 0.5 * even
    y = y * (one - half / (slope + half))
    return choose(inside, zero, logarithm, even * y)


@kernel
def _logarithmic(e: Lane, c: Lane, c1: Lane, c2: Lane, c3: Lane) -> Lane:
    """Return the step towards ln c = ln e by c and three derivatives."""
    first, second, third = c1 / c, c2 / c, c3 / c
    newton = log(e / c) / first
    bent = (second - first * first) / first
    more = (third - 3.0 * first * second + 2.0 * first * first * first) / first
    below = 1.0 + newton * (bent + newton * more * (1.0 / 6.0))
    step = newton * (1.0 + 0.5 * newton * bent) / below
    return choose(below, broadcast(0.25), step, newton)


@kernel
def _implied(e: Lane, v: Lane, x: Lane) -> Found:
    """Return the x where c(x) = e, e**x, its slope -dx/dv at equal e, and 1 where it was found."""
    zero, one = broadcast(0.0), broadcast(1.0)
    inverse = 1.0 / v
    answer, growth, slope, found = x, one, zero, zero
    low, high = broadcast(-MOST_LOG), broadcast(MOST_LOG)
    for _ in range(MOST_STEPS):
        d1 = x * inverse + 0.5 * v
        d2 = d1 - v
        X = exp_normal(x)
        # What rounding takes from the square the assets do not feel.
        weight = exp_normal(-0.5 * d1 * d1)
        near = 0.5 * weight * erfcx(absolute(d1) * INVERSE_SQRT_2)
        weight = weight * X
        far = 0.5 * weight * erfcx(absolute(d2) * INVERSE_SQRT_2)
        delta = X * choose(d1, zero, one - near, near)
        c = delta - choose(d2, zero, one - far, far)
        miss = e - c
        # Derivatives by x/v: those of the density are Hermite's polynomials.
        density = INVERSE_SQRT_2PI * weight
        spread = v * density
        q2 = d2 * d2 - 1.0
        q3 = -d2 * q2 + 2.0 * d2
        q4 = -d2 * q3 - 3.0 * q2
        q5 = -d2 * q4 - 4.0 * q3
        c1 = v * delta
        c2 = v * c1 + spread
        c3 = v * c2 - spread * d2
        c4 = v * c3 + spread * q2
        c5 = v * c4 + spread * q3
        c6 = v * c5 + spread * q4
        c7 = v * c6 + spread * q5
        scale = 1.0 / c1
        b2, b3, b4 = scale * c2 * (1.0 / 2.0), scale * c3 * (1.0 / 6.0), scale * c4 * (1.0 / 24.0)
        b5, b6 = scale * c5 * (1.0 / 120.0), scale * c6 * (1.0 / 720.0)
        b7 = scale * c7 * (1.0 / 5040.0)
        s = scale * miss
        step = s * (1.0 + b2 * s) / (1.0 + s * (2.0 * b2 + b3 * s))
        series = b3 + step * (b4 + step * (b5 + step * (b6 + step * b7)))
        series = 1.0 + step * (b2 + step * series)
        steep = 4.0 * b4 + step * (5.0 * b5 + step * (6.0 * b6 + step * (7.0 * b7)))
        steep = 1.0 + step * (2.0 * b2 + step * (3.0 * b3 + step * steep))
        step = step - (step * series - s) / steep
        reach = absolute(step) * maximum(maximum(v, -d2), one)
        here = choose(broadcast(CLOSE), reach, one - found, zero)
        answer = choose(here, zero, x + v * step, answer)
        growth = choose(here, zero, X + X * expm1_small(v * step), growth)
        slope = choose(here, zero, density / delta, slope)
        found = found + here
        if not any_greater(one, found):
            break
        low, high = choose(miss, zero, x, low), choose(miss, zero, high, x)
        far_step = _logarithmic(e, maximum(c, 1e-16 * delta), c1, c2, c3)
        new = x + v * choose(broadcast(NEAR), reach, step, far_step)
        inside = choose(new, low, choose(high, new, one, zero), zero)
        x = choose(inside, zero, new, 0.5 * (low + high))
    return answer, growth, slope, found


@kernel
def _asset_values(E: Lane, D: Lane, r: Lane, T: Lane, sigma: Lane) -> tuple[Lane, Lane]:
    """Return the assets and what became of them, one firm a lane."""
    zero, one = broadcast(0.0), broadcast(1.0)
    k = choose(D, zero, D * exp(-r * T), zero)
    e = E / k
    v = sigma * square_root(T)
    finite = choose(broadcast(inf), absolute(E) + D + T + sigma + absolute(r), one, zero)
    valid = choose(zero, minimum(minimum(D, T), sigma), zero, choose(E, zero, finite, zero))
    # As far as doubles can tell nothing is owed, nothing is random, or all of the debt is lost.
    owed = choose(k / E, broadcast(NEGLIGIBLE), one, zero)
    random = choose(v, broadcast(LEAST_V), one, zero)
    lost = choose(v, broadcast(MOST_V), one, zero)
    within = choose(e, broadcast(LEAST_RATIO), one, zero)
    solving = valid * owed * random * (one - lost) * within
    plain = maximum(one - owed * random, lost)
    e, v = choose(solving, zero, e, one), choose(solving, zero, v, one)
    _, growth, _, found = _implied(e, v, _start(e, v))
    V = choose(plain, zero, E + choose(lost, zero, zero, k), k * growth)
    answered = choose(maximum(plain, solving * found), zero, one, zero)
    answered = choose(broadcast(inf), V, answered, zero)
    code = choose(answered, zero, broadcast(float(OK)), broadcast(float(OUT_OF_RANGE)))
    code = choose(valid, zero, code, broadcast(float(BAD_INPUT)))
    return choose(broadcast(0.5), code, V, broadcast(nan)), code


@kernel
def _groups(
    E: Floats, D: Floats, r: Floats, T: Floats, sigma: Floats, V: Floats, code: Codes
) -> None:
    """Answer whole groups of `WIDTH` firms."""
    for g in range(len(E) // WIDTH):
        value, why = _asset_values(load(E, g), load(D, g), load(r, g), load(T, g), load(sigma, g))
        store(V, g, value)
        store_codes(code, g, why)


@kernel
def asset_values(
    E: Floats, D: Floats, r: Floats, T: Floats, sigma: Floats, V: Floats, code: Codes
) -> None:
    """Write the assets that n equities imply to `V`, NaN where there are none, and why to `code`.

    Every array has shape (n,): equity, debt, rate, horizon, asset vol. Codes: OK; BAD_INPUT, where
    something is not finite, E is not positive or D, T or sigma is negative; OUT_OF_RANGE, where the
    equity is less than `LEAST_RATIO` of the discounted debt, or the assets are no double.
    """
    n = len(E)
    _groups(E, D, r, T, sigma, V, code)
    whole = n - n % WIDTH
    if whole < n:
        # The last firm fills the lanes that are left.
        pick = np.minimum(np.arange(whole, whole + WIDTH), n - 1)
        rest, why = np.empty(WIDTH), np.empty(WIDTH, np.int8)
        _groups(E[pick], D[pick], r[pick], T[pick], sigma[pick], rest, why)
        V[whole:] = rest[: n - whole]
        code[whole:] = why[: n - whole]


class Days(NamedTuple):
    """The usable days of one window, each array of shape (m,), m a multiple of `WIDTH`.

    `joined` is 1 where the day before is usable too; `ratio` the equity by the discounted debt
    where something is `owed` (1 or 0), `base` the logarithm of that debt, else of the equity.
    `x`, `slope` and `level` (ln V) are of the last pass; `change` is that of the level.
    """

    equity: Floats
    debt: Floats
    rate: Floats
    joined: Floats
    ratio: Floats
    owed: Floats
    base: Floats
    x: Floats
    slope: Floats
    level: Floats
    change: Floats


@kernel
def _usable(E: float, D: float, r: float, T: float) -> bool:
    """Tell whether a day has equity, debt and rate: no comparison holds for what is no number."""
    values = 0.0 < E < MOST_VALUE and 0.0 <= D < MOST_VALUE
    return values and E > LEAST_LEVERED * D and abs(r) * T < MOST_GROWTH


@kernel
def _gather(
    E: Floats, D: Floats, r: Floats, start: int, end: int, T: float, to: Days
) -> tuple[int, float]:
    """Copy the usable days of some rows; return how many there are, and how many are joined."""
    days, joined, before = 0, 0.0, -2
    for row in range(start, end):
        if _usable(E[row], D[row], r[row], T):
            to.equity[days], to.debt[days], to.rate[days] = E[row], D[row], r[row]
            to.joined[days] = 1.0 if before == row - 1 else 0.0
            joined += to.joined[days]
            before = row
            days += 1
    return days, joined


@kernel
def _prepare(days: Days, count: int, T: float) -> int:
    """Fill up the last group with the last day, and make of all what passes need; count groups."""
    zero, one = broadcast(0.0), broadcast(1.0)
    groups = -(-count // WIDTH)
    for i in range(count, groups * WIDTH):
        days.equity[i], days.debt[i] = days.equity[count - 1], days.debt[count - 1]
        days.rate[i], days.joined[i] = days.rate[count - 1], 0.0
    for g in range(groups):
        E, D = load(days.equity, g), load(days.debt, g)
        discount = -T * load(days.rate, g)
        k = D * exp(discount)
        owed = choose(k / E, broadcast(NEGLIGIBLE), one, zero)
        store(days.owed, g, owed)
        store(days.ratio, g, choose(owed, zero, E / k, one))
        # Where next to nothing is owed the debt is the rest of ln V within rounding.
        logarithm = log(choose(owed, zero, D, E))
        store(days.base, g, logarithm + choose(owed, zero, discount, k / E))
    return groups


@kernel
def _invert(days: Days, groups: int, v: float, before: float) -> None:
    """Find ln V of every day for this v, from the pass with v = `before` where that is not 0."""
    zero, spread = broadcast(0.0), broadcast(v)
    for g in range(groups):
        ratio = load(days.ratio, g)
        if before > 0.0:
            start = load(days.x, g) - (v - before) * load(days.slope, g)
        else:
            start = _start(ratio, spread)
        x, _, slope, _ = _implied(ratio, spread, start)
        store(days.x, g, x)
        store(days.slope, g, slope)
        store(days.level, g, load(days.base, g) + choose(load(days.owed, g), zero, x, zero))


@kernel
def _together(lane: Lane, room: Floats) -> float:
    store(room, 0, lane)
    total = 0.0
    for i in range(WIDTH):
        total += room[i]
    return total


@kernel
def _moments(days: Days, groups: int, joined: float, room: Floats) -> tuple[float, float]:
    """Return the mean of the changes of the level between joined days, and their deviation."""
    days.change[0] = 0.0
    for i in range(1, groups * WIDTH):
        days.change[i] = (days.level[i] - days.level[i - 1]) * days.joined[i]
    total = broadcast(0.0)
    for g in range(groups):
        total = total + load(days.change, g)
    mean = _together(total, room) / joined
    total = broadcast(0.0)
    for g in range(groups):
        away = (load(days.change, g) - mean) * load(days.joined, g)
        total = total + away * away
    return mean, np.sqrt(_together(total, room) / (joined - 1.0))


@kernel
def _contraction(
    days: Days, count: int, joined: float, mean: float, deviation: float, root: float
) -> float:
    """Return the derivative of the vol after a pass by that before it."""
    total = 0.0
    for i in range(1, count):
        falls = days.slope[i] * days.owed[i] - days.slope[i - 1] * days.owed[i - 1]
        total -= (days.change[i] - mean) * falls * days.joined[i]
    return float(np.sqrt(DAYS_A_YEAR)) * root * total / ((joined - 1.0) * deviation)


@kernel
def _within(v: float) -> float:
    return min(max(v, LEAST_VOL), MOST_V)


@kernel
def _estimate(
    days: Days, count: int, joined: float, T: float, room: Floats, out: Floats, i: int
) -> int:
    """Write ROWS of one window to column `i` of `out` and return the code."""
    groups = _prepare(days, count, T)
    last = count - 1
    root = np.sqrt(T)
    for day in range(groups * WIDTH):
        days.level[day] = elementary.log(days.equity[day])
    mean, deviation = _moments(days, groups, joined, room)
    equity, debt = days.equity[last], days.debt[last]
    sigma = np.sqrt(DAYS_A_YEAR) * deviation * (equity / (equity + debt))
    passes, before, move = 0, 0.0, inf
    while move >= ENOUGH and passes < MOST_PASSES:
        v = _within(sigma * root)
        _invert(days, groups, v, before)
        before = v
        mean, deviation = _moments(days, groups, joined, room)
        new = np.sqrt(DAYS_A_YEAR) * deviation
        move, sigma = abs(new - sigma), new
        passes += 1
    out[6, i] = float(passes * count + 1)
    if sigma < LEAST_VOL:
        return STILL
    # More passes would go on as a geometric series; nothing tells how for a vol that any first
    # guess near nothing would have come out as.
    ratio = _contraction(days, count, joined, mean, deviation, root)
    error = move * abs(ratio) / (1.0 - ratio) if ratio < 1.0 and sigma > ENOUGH else inf
    if passes == 1:
        # Its first vol may have been too far away for a derivative to tell of the last.
        error = max(error, move)
    # The last day once more: its assets are those of the very vol that is told.
    spread = broadcast(_within(sigma * root))
    ratios = broadcast(days.ratio[last])
    start = broadcast(days.x[last] - (_within(sigma * root) - before) * days.slope[last])
    x, _, _, _ = _implied(ratios, spread, start)
    level = days.base[last] + (first(x) if days.owed[last] > 0.0 else 0.0)
    growth = DAYS_A_YEAR * mean
    distance = inf
    if debt > 0.0:
        distance = (level - elementary.log(debt) + growth * T) / (sigma * root)
    out[0, i] = elementary.exp(level)
    out[1, i] = sigma
    out[2, i] = growth + 0.5 * sigma * sigma
    out[3, i] = distance
    out[4, i] = elementary.normal_cdf(-distance)
    # Beside what passes leave, the rounding of two logarithms for each change.
    error += 2.0 * np.sqrt(DAYS_A_YEAR) * EPSILON * abs(level)
    out[7, i] = error
    if move >= ENOUGH:
        return NOT_CONVERGED
    return ESTIMATED if error <= LARGEST_ERROR else SLOW


@kernel
def estimates(
    E: Floats,
    D: Floats,
    r: Floats,
    start: Indices,
    end: Indices,
    T: Floats,
    window: int,
    out: Floats,
    code: Codes,
) -> None:
    """Write ROWS of n estimates to `out`, shape (8, n), and what became of them to `code`.

    E, D and r have a row a day. Estimate i is that of the rows `start[i]` to before `end[i]`, at
    most `window` of them, and of the horizon T[i] > 0. Days that are not usable are left out, and
    with them the changes from and to them. Codes: ESTIMATED; NOT_CONVERGED after `MOST_PASSES`;
    SLOW, where a move ends the passes that would go on for more than `LARGEST_ERROR`; FEW_DAYS,
    where changes are fewer than half of a window's days; STILL, where changes do not differ. Of the
    last two all rows but days and inversions are NaN.
    """
    size = -(-window // WIDTH) * WIDTH
    s = np.zeros((11, size))
    days = Days(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10])
    room = np.empty(WIDTH)
    least = float(max(2, window // 2))
    for i in range(len(start)):
        for row in range(8):
            out[row, i] = nan
        count, joined = _gather(E, D, r, start[i], end[i], T[i], days)
        out[5, i], out[6, i] = float(count), 0.0
        code[i] = FEW_DAYS
        if joined >= least:
            code[i] = _estimate(days, count, joined, T[i], room, out, i)


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one = np.ones(1)
    asset_values(one, one, one, one, one, np.empty(1), np.empty(1, np.int8))
    index = np.zeros(1, np.int64)
    estimates(one, one, one, index, index, one, 1, np.empty((8, 1)), np.empty(1, np.int8))
