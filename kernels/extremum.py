"""How far a lognormal spot goes: options on its maximum or minimum up to expiry, watched always.

With side = 1 the claim is the call max(max S - K, 0) with K >= S, with side = -1 the put
max(K - min S, 0) with K <= S (Goldman, Sosin, Gatto 1979; Conze, Viswanathan 1991). Their formula
divides by the cost of carry r - q what nearly cancels. With distances in standard deviations w,
k = ln(K / S) / w, v = (r - q) T / w, n = side v and x = side (k - w / 2), it is

    U = S e^(-rT) (side e^(vw) N(side d1) - side (K / S) N(side d2) + w e^(v (k + w / 2)) I),
    I = integral of phi(x / s) e^(-n^2 s^2 / 2) ds from 0 to 1
      = (e^(-nx) N(n - x) - e^(nx) N(-n - x)) / 2n,

and I is a series in n^2 where n is small. All derivatives are in the same terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .elementary import (
    INVERSE_SQRT_2,
    INVERSE_SQRT_2PI,
    erfcx,
    exp,
    gaussian,
    log_ratio,
    normal_cdf,
    polynomial,
)
from .jit import kernel

if TYPE_CHECKING:
    # Price; its derivatives in log spot, once, and twice less the first (S^2 gamma), at constant
    # strike; in vol; in the cost of carry r - q at constant r; rounding in units of EPSILON.
    Reach = tuple[float, float, float, float, float, float]

SMALL_DRIFT = 0.5  # standard deviations
TERMS = 11
# Taylor coefficients in z * z of sinh(z) / z and of (cosh(z) - sinh(z) / z) / z^2, highest first.
SINE_HYPERBOLIC = (
    1.6059043836821613e-10,
    2.505210838544172e-08,
    2.7557319223985893e-06,
    0.0001984126984126984,
    0.008333333333333333,
    0.16666666666666666,
    1.0,
)
BEND = (
    1.0706029224547743e-11,
    1.9270852604185937e-09,
    2.505210838544172e-07,
    2.2045855379188714e-05,
    0.0011904761904761906,
    0.03333333333333333,
    0.3333333333333333,
)
FAR = 45.0  # standard deviations beyond which nothing is left


@kernel
def _integrals(n: float, x: float) -> tuple[float, float]:
    """Return the integrals of phi(x / s) e^(-n^2 s^2 / 2) and s^2 times that, for |n| <= 1/2.

    For x < 0 their analytic continuation, which the symmetry of the normal distribution gives.
    """
    y = abs(x)
    density = INVERSE_SQRT_2PI * gaussian(y)
    moment = density - 0.5 * y * gaussian(y) * erfcx(y * INVERSE_SQRT_2)
    first = second = 0.0
    weight = 1.0
    for j in range(TERMS):
        first += weight * moment
        moment = (density - y * y * moment) / (2.0 * j + 3.0)
        second += weight * moment
        weight *= -0.5 * n * n / (j + 1.0)
    if x < 0.0:
        z = n * y
        square = z * z
        if square < 0.25:
            sine = polynomial(SINE_HYPERBOLIC, square)
            bend = polynomial(BEND, square)
        else:
            up, down = exp(z), exp(-z)
            sine = 0.5 * (up - down) / z
            bend = (0.5 * (up + down) - sine) / square
        first += y * sine
        second -= y * y * y * bend
    return first, second


@kernel
def beyond(side: float, S: float, K: float, T: float, r: float, q: float, sigma: float) -> Reach:
    """Price what the extremum up to T is beyond a strike that the spot is not beyond.

    All of S, K, T and sigma must be above 0.
    """
    w = sigma * np.sqrt(T)
    carry = (r - q) * T
    k, v = log_ratio(K, S) / w, carry / w
    n = side * v
    x = side * (k - 0.5 * w)
    if x - n > FAR and x + n > FAR:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    d1 = -k + v + 0.5 * w
    d2 = d1 - w
    growth, strike = exp(carry), K / S
    asset = growth * normal_cdf(side * d1)
    cash = strike * normal_cdf(side * d2)
    bell = growth * gaussian(d1)
    density = INVERSE_SQRT_2PI * bell
    # e^(2vk) N(-n - x): who is reflected at the strike.
    mirrored = 0.5 * bell * erfcx(abs(n + x) * INVERSE_SQRT_2)
    if n + x < 0.0:
        mirrored = exp(2.0 * v * k) - mirrored
    if abs(n) > SMALL_DRIFT:
        inner = 0.5 * (asset - mirrored) / n
        inner_drift = (inner + 0.5 * x * (asset + mirrored) - density) / v
        loose = (asset + mirrored) * (0.5 / abs(n))
    else:
        scale = exp(v * (k + 0.5 * w))
        first, second = _integrals(n, x)
        inner, inner_drift = scale * first, scale * v * second
        loose = inner
    unit = S * exp(-r * T)
    root = np.sqrt(T)
    price = side * (asset - cash) + w * inner
    once = side * (asset + mirrored) + w * inner
    twice = 2.0 / w * (density - side * (v - 0.5 * w) * mirrored)
    by_vol = 2.0 * (inner + abs(k) * mirrored)
    by_carry = side * asset + (k + 0.5 * w) * inner - inner_drift
    exponents = 4.0 + abs(carry) + abs(r) * T
    distance = 2.0 * abs(k) + 2.0 * abs(v) + w
    rounding = (
        (10.0 + exponents) * (asset + cash + w * loose)
        + (5.0 * distance + exponents) * density
        + w * loose * (10.0 + 4.0 * abs(v) * (abs(k) + 0.5 * w))
    )
    return (
        unit * max(price, 0.0),
        unit * once,
        unit * max(twice, 0.0),
        unit * root * by_vol,
        unit * T * by_carry,
        unit * rounding,
    )
