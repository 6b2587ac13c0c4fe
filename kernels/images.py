"""Killed Brownian motion by the method of images: who survives two barriers, and who hits which.

Log spot moves by a drift `kappa` and a variance of 1: every distance here is a difference of
logarithms over w = sigma sqrt(T), and kappa the log drift to expiry over w. `down` and `up` are the
distances to the barriers, infinite where there is none.

Every image adds e^(kappa xi) N(z), where xi is its distance from the spot. Where that would be a
large number times a small one it is taken as a density times erfcx: the density of image j at the
edge y below the spot is that of the spot times e^(-xi (xi + 2y) / 2), and never larger.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from .elementary import (
    INVERSE_SQRT_2,
    INVERSE_SQRT_2PI,
    SQRT_2,
    TWO_OVER_SQRT_PI,
    erfcx,
    exp,
    gaussian,
)
from .faddeeva import erfcx_complex
from .jit import kernel

if TYPE_CHECKING:
    # A value; its derivatives in log spot (times w), twice in log spot (times w^2), in the log
    # drift (times w), in w (times w); the value's rounding in units of EPSILON. Of passages, the
    # derivative in the discount besides.
    Part = tuple[float, float, float, float, float, float]
    Passage = tuple[float, float, float, float, float, float, float]

NEGLIGIBLE = 45.0  # e^-45 is below a rounding of 1


@kernel
def plus(a: Part, sign: float, b: Part) -> Part:
    """Return a + sign * b for sign = 1 or -1; roundings add."""
    return (
        a[0] + sign * b[0],
        a[1] + sign * b[1],
        a[2] + sign * b[2],
        a[3] + sign * b[3],
        a[4] + sign * b[4],
        a[5] + b[5],
    )


@kernel
def nothing() -> Part:
    """Return a part that is worth 0."""
    return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@kernel
def _direct(side: float, y: float, kappa: float, slack: float) -> Part:
    """Return side * N(side * (y + kappa)): who ends above an edge (side 1), less who below (-1)."""
    if y == inf or y == -inf:
        value = 1.0 if side * y > 0.0 else 0.0
        return side * value, 0.0, 0.0, 0.0, 0.0, value
    z = y + kappa
    bell = gaussian(z)
    tail = 0.5 * bell * erfcx(abs(z) * INVERSE_SQRT_2)
    value = tail if side * z < 0.0 else 1.0 - tail
    density = INVERSE_SQRT_2PI * bell
    rounding = 10.0 * value + density * (5.0 * abs(y) + 2.0 * abs(kappa) + slack)
    return side * value, density, -z * density, density, -z * density, rounding


@kernel
def span(first: float, last: float, kappa: float, slack: float) -> Part:
    """Return who ends between two edges, at the distances first > last below the spot."""
    side = -1.0 if last + kappa > 0.0 else 1.0
    return plus(_direct(side, first, kappa, slack), -1.0, _direct(side, last, kappa, slack))


@kernel
def _image(
    side: float, lean: float, xi: float, y: float, kappa: float, bell: float, slack: float
) -> Part:
    """Return what one image at distance xi adds: side is 1 below the spot and -1 above.

    Its distance to the spot changes with the spot at the rate `lean`: -2 for a reflection, 0 for
    a shift. `bell` is exp(-(y + kappa)^2 / 2).
    """
    z = y + xi + kappa
    depth = 0.5 * xi * (xi + 2.0 * y)
    bell = bell * exp(-depth)
    density = INVERSE_SQRT_2PI * bell
    value = 0.5 * bell * erfcx(abs(z) * INVERSE_SQRT_2)
    tail = value
    if side * z > 0.0:
        value = exp(kappa * xi) - value
    size = abs(xi) + abs(y)
    rounding = (
        (10.0 + abs(xi) * (6.0 * abs(kappa) + slack)) * value
        + (5.0 + 5.0 * abs(xi) * size) * tail
        + (5.0 * size + 2.0 * abs(kappa) + slack) * density
    )
    value *= side
    tilt = lean * kappa
    return (
        value,
        tilt * value + (1.0 + lean) * density,
        tilt * tilt * value + (2.0 * tilt * (1.0 + lean) - z) * density,
        xi * value + density,
        -2.0 * kappa * xi * value - z * density,
        rounding,
    )


@kernel
def _periods(period: float) -> int:
    """Return how many periods of images count; the next is less than e^-NEGLIGIBLE of the first."""
    return int(np.ceil(np.sqrt(0.25 + 2.0 * NEGLIGIBLE / (period * period)) - 0.5))


@kernel
def _images(y: float, kappa: float, down: float, up: float, slack: float) -> Part:
    """Return the sum over all images at one edge within the corridor, the spot's own left out."""
    total = nothing()
    if y == inf or y == -inf:
        return total
    bell = gaussian(y + kappa)
    if down < inf:
        total = plus(total, -1.0, _image(1.0, -2.0, -2.0 * down, y, kappa, bell, slack))
    if up < inf:
        total = plus(total, -1.0, _image(-1.0, -2.0, 2.0 * up, y, kappa, bell, slack))
    period = 2.0 * (down + up)
    for k in range(1, _periods(period) + 1):
        xi = k * period
        below, above = -2.0 * down - xi, 2.0 * up + xi
        total = plus(total, 1.0, _image(1.0, 0.0, -xi, y, kappa, bell, slack))
        total = plus(total, 1.0, _image(-1.0, 0.0, xi, y, kappa, bell, slack))
        total = plus(total, -1.0, _image(1.0, -2.0, below, y, kappa, bell, slack))
        total = plus(total, -1.0, _image(-1.0, -2.0, above, y, kappa, bell, slack))
    return total


@kernel
def reflections(
    first: float, last: float, kappa: float, down: float, up: float, slack: float
) -> Part:
    """Return what hitting a barrier takes from `span`, for edges within the corridor."""
    return plus(_images(first, kappa, down, up, slack), -1.0, _images(last, kappa, down, up, slack))


@kernel
def _even_and_odd(a: float, n2: float) -> tuple[float, float]:
    """Return erfcx(x - m) + erfcx(x + m) and (erfcx(x - m) - erfcx(x + m)) / n for n2 = n^2 <= 1.

    x = a / sqrt(2) and m = n / sqrt(2). Both are series in n^2, and real where it is negative.
    """
    x = a * INVERSE_SQRT_2
    if abs(n2) > 5e-5:
        n = np.sqrt(abs(n2))
        if n2 > 0.0:
            near, far = erfcx(x - n * INVERSE_SQRT_2), erfcx(x + n * INVERSE_SQRT_2)
            return near + far, (near - far) / n
        real, imaginary = erfcx_complex(x, n * INVERSE_SQRT_2)
        return 2.0 * real, 2.0 * imaginary / n
    f0 = erfcx(x)
    f1 = 2.0 * x * f0 - TWO_OVER_SQRT_PI
    f2 = 2.0 * (x * f1 + f0)
    f3 = 2.0 * (x * f2 + 2.0 * f1)
    f4 = 2.0 * (x * f3 + 3.0 * f2)
    f5 = 2.0 * (x * f4 + 4.0 * f3)
    square = 0.5 * n2
    even = 2.0 * (f0 + square * (f2 / 2.0 + square * f4 / 24.0))
    return even, -SQRT_2 * (f1 + square * (f3 / 6.0 + square * f5 / 120.0))


@kernel
def _passed(a: float, n2: float, bell: float, steep: float) -> tuple[float, float, float]:
    """Return e^(-na) N(n - a), e^(na) N(-n - a) and their difference over n, times a weight.

    The weight times exp(-(a^2 + n^2) / 2) is `bell`, times e^(-na) is exp(-steep).
    """
    if n2 > 1.0:
        n = np.sqrt(n2)
        early = 0.5 * bell * erfcx(abs(a - n) * INVERSE_SQRT_2)
        late = 0.5 * bell * erfcx((a + n) * INVERSE_SQRT_2)
        if n > a:
            early = exp(-steep) - early
        return early, late, (early - late) / n
    even, odd = _even_and_odd(a, n2)
    half = 0.25 * bell * even
    return half, half, 0.5 * bell * odd


@kernel
def passage(
    side: float, kappa: float, discount: float, down: float, up: float, slack: float
) -> Passage:
    """Return E[exp(-discount * tau / T)] over paths that hit one barrier first, at tau before T.

    `side` is 1 for the lower barrier, -1 for the upper one. An image at distance a passes at the
    drift n with n^2 = kappa^2 + 2 discount: e^(-na) N(n - a) + e^(na) N(-n - a), which is even
    in n and so goes on where n^2 < 0 (after Rubinstein and Reiner 1991, Hui 1996).
    """
    near = down if side > 0.0 else up
    drift = side * kappa
    n2 = kappa * kappa + 2.0 * discount
    n = np.sqrt(max(n2, 0.0))
    # n + drift and drift - n; what cancels is taken from their product.
    gap = 2.0 * discount / (n + abs(drift)) if discount != 0.0 and n2 > 0.0 else 0.0
    faster = n + drift if drift > 0.0 else gap
    slower = -gap if drift > 0.0 else drift - n
    first_bell = gaussian(near + drift) * exp(-discount)
    period = 2.0 * (down + up)
    # Parts that decay as e^(-faster near) and as e^(-slower near); the density and its first
    # moment; the parts' difference over n, its first moment, and that about `near`.
    fast = slow = density = moment = odd = odd_moment = odd_shift = rounding = 0.0
    for j in range(2 * _periods(period) + 1):
        sign = 1.0 if j % 2 == 0 else -1.0
        shift = (j + 1) // 2 * period if j > 0 else 0.0
        a = shift + sign * near
        depth = 0.5 * shift * (shift + sign * 2.0 * near)
        bell = first_bell * exp(-depth)
        steep = (faster if sign > 0.0 else slower) * near + n * shift
        early, late, difference = _passed(a, n2, bell, steep)
        fast += early if sign > 0.0 else -late
        slow += late if sign > 0.0 else -early
        density += INVERSE_SQRT_2PI * bell
        moment += sign * a * INVERSE_SQRT_2PI * bell
        odd += difference
        odd_moment += sign * a * difference
        odd_shift += sign * shift * difference
        rounding += (20.0 + 6.0 * abs(steep)) * (early + late)
        rounding += (20.0 + 5.0 * abs(depth) + 6.0 * shift) * bell
    value = fast + slow
    both = n2 + kappa * kappa
    # Either form loses digits where the other does not.
    if n2 > 1.0:
        slope = faster * fast + slower * slow
        curve = faster * faster * fast + slower * slower * slow
        spread = near / n * (faster * faster * fast - slower * slower * slow) + both * odd_shift
        by_drift = near / n * (faster * fast - slower * slow) + drift * odd_shift
    else:
        slope = drift * value + n2 * odd
        curve = both * value + 2.0 * drift * n2 * odd
        spread = 2.0 * drift * near * value + both * odd_moment
        by_drift = near * value + drift * odd_moment
    slope += 2.0 * density
    rounding += (
        5.0 * near * abs(slope)
        + (slack + 2.0 * abs(kappa)) * abs(by_drift)
        + abs(near + drift) * (5.0 * near + 2.0 * abs(kappa) + slack) * first_bell
        + 4.0 * abs(discount) * (first_bell + abs(odd_moment))
    )
    return (
        value,
        -side * slope,
        curve + 4.0 * drift * density + 2.0 * moment,
        -side * by_drift,
        spread + 2.0 * moment,
        rounding,
        -odd_moment,
    )
