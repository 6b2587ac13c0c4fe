"""European options of the Heston model and of Merton's jump diffusion by cosine series.

The density of y = ln(S_T / F), F the forward, is a cosine series between two ends, whose
coefficients are values of the characteristic function phi(u) = E[e^(iuy)] (Fang and Oosterlee 2008,
A novel pricing method for European options based on Fourier-cosine series expansions). They depend
on model and expiry alone, and are computed once for a run of options that share both. Greeks are
the series' derivatives. Merton's own series is taken where there is too little diffusion for this
one. Nothing is validated and nothing raises here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .black_scholes import EPSILON
from .complex_elementary import (
    exponential,
    exponential_minus_one,
    logarithm_of_one_plus,
    square_root,
)
from .elementary import INVERSE_SQRT_2, exp, log, log_ratio
from .faddeeva import PI, sine_cosine
from .jit import kernel
from .lanes import WIDTH, broadcast, load, store
from .poisson import over_jumps

if TYPE_CHECKING:
    from .jit import Codes, Floats

    Five = tuple[float, float, float, float, float]
    Eight = tuple[float, float, float, float, float, float, float, float]

HESTON = 0
MERTON = 1
VANILLA = 0
CASH = 1
ASSET = 2
MOST_TERMS = 16384
NEGLIGIBLE = 1e-15  # |phi| below which terms are left out
TAIL = 2e-14  # probability that may lie beyond either end
LOG_TAIL = -31.54304412135669
LEAST_XI = 1e-4  # where the ends are sought
LEAST_KAPPA = 1e-12
NO_MOMENT = 1e300
SUMS = 11


@kernel
def _variance(model: int, T: float, five: Five) -> float:
    """Return the mean of the integrated variance, with that of jumps: 0 where nothing is random."""
    a, b, c, d, _ = five
    if model == MERTON:
        return T * (a * a + b * (c * c + d * d))
    kappa = max(b, LEAST_KAPPA)
    span = -exponential_minus_one(complex(-kappa * T, 0.0)).real / kappa
    return a * span + c * (T - span)


@kernel
def _log_moment(model: int, T: float, five: Five, p: float) -> float:
    """Return ln E[e^(py)] for real p; `NO_MOMENT` where it is infinite."""
    if p == 1.0:
        return 0.0
    if model == MERTON:
        sigma, intensity, mean, deviation, _ = five
        spread = deviation * deviation
        power = p * mean + 0.5 * p * p * spread
        if power > 600.0:
            return NO_MOMENT
        lift = exp(power) - 1.0 - p * (exp(mean + 0.5 * spread) - 1.0)
        variance = 0.5 * sigma * sigma * (p * p - p)
        return T * (variance + intensity * lift)
    v0, kappa, vbar, xi, rho = five
    xi = max(xi, LEAST_XI)
    b = kappa - rho * xi * p
    square = p * p - p
    inner = b * b - xi * xi * square
    d = np.sqrt(abs(inner))
    # With e^(dT/2) taken out where d is real: cosh(dT/2) + b/d sinh(dT/2), and sinh(dT/2) / d.
    lead = 0.0
    if inner > 0.0:
        decay = exp(-d * T)
        lead = 0.5 * d * T
        wave, slope = 0.5 * (1.0 + decay), 0.5 * (1.0 - decay) / d
    elif inner < 0.0:
        half = 0.5 * d * T
        if half >= PI:
            return NO_MOMENT
        sine, wave = sine_cosine(half / PI)
        slope = sine / d
    else:
        wave, slope = 1.0, 0.5 * T
    wave += b * slope
    if not wave > 0.0:
        return NO_MOMENT
    reversion = kappa * vbar / (xi * xi) * (b * T - 2.0 * (lead + log(wave)))
    moment: float = reversion + v0 * square * slope / wave
    return moment


@kernel
def _end(model: int, T: float, five: Five, side: float, variance: float) -> float:
    """Return the distance from 0 beyond which y has a probability below `TAIL`, on one side.

    By Chernoff's bound, the best of some powers. Above, powers are at least 1, so that it bounds
    calls beyond the end as well.
    """
    power = 2.0 * np.sqrt(-2.0 * LOG_TAIL / variance)
    best = np.inf
    for _ in range(40):
        if side > 0.0:
            power = max(power, 1.0)
        moment = _log_moment(model, T, five, side * power)
        if moment < NO_MOMENT:
            best = min(best, (moment - LOG_TAIL) / power)
        power *= INVERSE_SQRT_2
    return best


@kernel
def _characteristic(model: int, T: float, five: Five, u: float) -> tuple[complex, complex, complex]:
    """Return ln phi(u) and its derivatives by the vol now and by T, for u > 0.

    Heston's in the form that stays on one branch of its logarithm (Albrecher, Mayer, Schoutens and
    Tistaert 2007), written for xi = 0 too.
    """
    square = complex(-u * u, -u)
    if model == MERTON:
        sigma, intensity, mean, deviation, _ = five
        spread = deviation * deviation
        growth = exponential_minus_one(complex(mean + 0.5 * spread, 0.0)).real
        jump = exponential_minus_one(complex(-0.5 * u * u * spread, u * mean))
        by_T = 0.5 * sigma * sigma * square + intensity * (jump - complex(0.0, u * growth))
        return T * by_T, sigma * T * square, by_T
    v0, kappa, vbar, xi, rho = five
    kappa = max(kappa, LEAST_KAPPA)
    b = complex(kappa, -rho * xi * u)
    d = square_root(b * b - xi * xi * square)
    gone = -exponential_minus_one(-T * d)  # 1 - e^(-dT)
    z = 0.5 * xi * xi * square * gone / (d * (b + d))
    series = logarithm_of_one_plus(z) / z if z != 0.0 else complex(1.0, 0.0)
    by_v = 0.5 * square * gone / (d * (1.0 + z))
    reversion = kappa * vbar * square / (b + d) * (T - gone / d * series)
    slope = 0.5 * xi * xi * by_v * by_v - b * by_v + 0.5 * square
    return (
        reversion + v0 * by_v,
        2.0 * np.sqrt(v0) * by_v,
        kappa * vbar * by_v + v0 * slope,
    )


@kernel
def _most(model: int, T: float, five: Five, u: float, size: float) -> float:
    """Return what |phi| is at most from u on; `size` is |phi| there.

    Heston's falls. Merton's comes back where jumps are of almost one size, but for what the
    diffusion and the jumps' own spread take off it.
    """
    if model == MERTON:
        sigma, intensity, _, deviation, _ = five
        square = u * u
        spread = 1.0 - exp(-0.5 * square * deviation * deviation)
        return exp(-T * (0.5 * square * sigma * sigma + intensity * spread))
    return size


@kernel
def _expand(
    model: int, T: float, five: Five, low: float, width: float, sums: Floats
) -> tuple[int, float, float, float]:
    """Write what sine and cosine of every term are multiplied by, shape (SUMS, MOST_TERMS).

    The rows make, in this order, P(y < k), its derivatives by vol and T, e^-k E[e^y; y < k], its
    derivatives, and the density's slope, all by sines; the second and the density by cosines.
    Returns the number of terms, what |phi| is at most from the last on, u of the last, and by how
    many epsilons rounding may move a sum.
    """
    step = PI / width
    place = low / width
    scale = 2.0 / width
    sums[:, 0] = 0.0
    sums[7, 0] = 1.0 / width
    sums[10, 0] = 1.0 / width
    most = 1.0
    rounding = 10.0
    n = 1
    while n < MOST_TERMS and most > NEGLIGIBLE:
        u = n * step
        power, by_vol, by_T = _characteristic(model, T, five, u)
        sine, cosine = sine_cosine(n * place)
        phi = exponential(power) * complex(scale * cosine, -scale * sine)
        c0, c1, c2 = phi.real, (phi * by_vol).real, (phi * by_T).real
        share = 1.0 / (1.0 + u * u)
        sums[0, n], sums[1, n], sums[2, n] = c0 / u, c1 / u, c2 / u
        sums[7, n], sums[8, n], sums[9, n] = c0 * share, c1 * share, c2 * share
        sums[3, n], sums[4, n], sums[5, n] = c0 * share * u, c1 * share * u, c2 * share * u
        sums[6, n], sums[10, n] = c0 * u, c0
        size = exp(power.real)
        most = _most(model, T, five, u, size)
        rounding += size * scale / u * (4.0 + n + abs(power.imag))
        n += 1
    return n, most, (n - 1) * step, rounding


@kernel
def _sum(terms: int, low: float, width: float, k: Floats, sums: Floats, sides: Floats) -> None:
    """Sum the series at k, whole lanes of ln(K / F) between the ends.

    `sides`, shape (8, n), becomes P(y < k), its derivatives by vol and T, E[e^y; y < k], its
    derivatives, the density and its slope.
    """
    n = len(k)
    turns = np.empty((5, n))
    for i in range(n):
        turns[0, i], turns[1, i] = sine_cosine((k[i] - low) / width)
        turns[2, i] = exp(low - k[i])
        turns[3, i] = k[i] - low
        turns[4, i] = exp(k[i])
    groups = n // WIDTH
    zero = broadcast(0.0)
    for g in range(groups):
        sine1, cosine1 = load(turns[0], g), load(turns[1], g)
        fade = load(turns[2], g)
        sine, cosine = zero, broadcast(1.0)
        below = sums[10, 0] * load(turns[3], g)
        below_vol = below_T = asset = asset_vol = asset_T = slope = density = zero
        for j in range(terms):
            shift = cosine - fade
            below = below + sums[0, j] * sine
            below_vol = below_vol + sums[1, j] * sine
            below_T = below_T + sums[2, j] * sine
            asset = asset + sums[3, j] * sine + sums[7, j] * shift
            asset_vol = asset_vol + sums[4, j] * sine + sums[8, j] * shift
            asset_T = asset_T + sums[5, j] * sine + sums[9, j] * shift
            slope = slope - sums[6, j] * sine
            density = density + sums[10, j] * cosine
            turned = sine * cosine1 + cosine * sine1
            cosine = cosine * cosine1 - sine * sine1
            sine = turned
        store(sides[0], g, below)
        store(sides[1], g, below_vol)
        store(sides[2], g, below_T)
        size = load(turns[4], g)
        store(sides[3], g, size * asset)
        store(sides[4], g, size * asset_vol)
        store(sides[5], g, size * asset_T)
        store(sides[6], g, density)
        store(sides[7], g, slope)


@kernel
def _row(
    kind: int,
    theta: float,
    S: float,
    K: float,
    T: float,
    r: float,
    q: float,
    side: Eight,
    missed: float,
) -> Eight:
    """Return ROWS of one option from the sums at its strike; `missed` bounds what they lack."""
    below, below_vol, below_T, asset, asset_vol, asset_T, density, slope = side
    discount, growth = exp(-r * T), exp(-q * T)
    s, k = S * growth, K * discount
    per = 1.0 / S if S > 0.0 else 0.0
    carry = r - q
    # The put, or what pays below the strike.
    if kind == VANILLA:
        price = k * below - s * asset
        delta = -growth * asset
        gamma = k * density * per * per
        vega = k * below_vol - s * asset_vol
        decay = k * (r * below - below_T) - s * (q * asset - asset_T)
        rho = -T * k * below
        dividend_rho = T * s * asset
        error = k * missed + 4.0 * EPSILON * (s + k)
        if theta > 0.0:
            price += s - k
            delta += growth
            decay += q * s - r * k
            rho += T * k
            dividend_rho -= T * s
        price = max(price, theta * (s - k), 0.0)
        return price, delta, gamma, vega, decay, rho, dividend_rho, error
    if kind == CASH:
        whole, by_spot, most, own = discount, 0.0, discount, r
        price = discount * below
        delta = -discount * density * per
        gamma = discount * (density + slope) * per * per
        vega = discount * below_vol
        decay = discount * (r * below - below_T + carry * density)
        rho = -T * discount * (below + density)
        dividend_rho = T * discount * density
    else:
        whole, by_spot, most, own = s, growth, k, q
        price = s * asset
        delta = growth * asset - k * density * per
        gamma = k * slope * per * per
        vega = s * asset_vol
        decay = s * (q * asset - asset_T) + k * carry * density
        rho = -T * k * density
        dividend_rho = T * (k * density - s * asset)
    error = most * missed + 4.0 * EPSILON * whole
    if theta > 0.0:
        price = whole - price
        delta = by_spot - delta
        gamma, vega = -gamma, -vega
        decay = own * whole - decay
        rho = (-T * whole if kind == CASH else 0.0) - rho
        dividend_rho = (0.0 if kind == CASH else -T * whole) - dividend_rho
    return min(max(price, 0.0), whole), delta, gamma, vega, decay, rho, dividend_rho, error


@kernel
def _family(
    model: int,
    five: Five,
    T: float,
    first: int,
    last: int,
    kind: Codes,
    theta: Codes,
    S: Floats,
    K: Floats,
    r: Floats,
    q: Floats,
    sums: Floats,
    out: Floats,
) -> None:
    """Price the options from `first` to before `last`, which share model and expiry."""
    whole = -(-(last - first) // WIDTH) * WIDTH
    variance = _variance(model, T, five)
    low = high = most = rounding = 0.0
    summed = False
    at = np.inf
    k = np.zeros(whole)
    sides = np.zeros((8, whole))
    if variance > 0.0:
        low = -_end(model, T, five, -1.0, variance)
        high = _end(model, T, five, 1.0, variance)
        for i in range(first, last):
            strike = log_ratio(K[i], S[i]) - (r[i] - q[i]) * T
            k[i - first] = strike if low < strike < high else 0.0
        at = MOST_TERMS * PI / (high - low)
        summed = model == MERTON and _most(model, T, five, at, 1.0) > NEGLIGIBLE
    if high > low and not summed:
        terms, most, at, rounding = _expand(model, T, five, low, high - low, sums)
        _sum(terms, low, high - low, k, sums, sides)
    for i in range(first, last):
        j = i - first
        strike = log_ratio(K[i], S[i]) - (r[i] - q[i]) * T
        side = (
            sides[0, j],
            sides[1, j],
            sides[2, j],
            sides[3, j],
            sides[4, j],
            sides[5, j],
            sides[6, j],
            sides[7, j],
        )
        left_out = min(most, 4.0 * most / (PI * at)) if kind[i] == VANILLA else min(2.0 * most, 1.0)
        missed = 4.0 * TAIL + left_out + EPSILON * rounding
        if not low < strike < high:
            # Exactly at the forward, where nothing is random, half of it is below.
            share = 1.0 if strike > high else (0.5 if strike == high == low else 0.0)
            side = (share, 0.0, 0.0, share, 0.0, 0.0, 0.0, 0.0)
            missed = 4.0 * TAIL if high > low else 0.0
        elif summed:
            side, missed = over_jumps(T, five, strike)
        row = _row(kind[i], float(theta[i]), S[i], K[i], T, r[i], q[i], side, missed)
        for m in range(8):
            out[m, i] = row[m]


@kernel
def closed_form(
    model: Codes,
    kind: Codes,
    theta: Codes,
    S: Floats,
    K: Floats,
    T: Floats,
    r: Floats,
    q: Floats,
    five: Floats,
    out: Floats,
) -> None:
    """Write black_scholes.ROWS of n options to `out`, shape (8, n); `five` is of shape (5, n).

    `model` 0 is Heston's, with v0, kappa, long variance, xi and rho as `five`, and vega the
    derivative by sqrt(v0); 1 is Merton's, with sigma, intensity, the mean and the deviation of the
    logarithm of a jump, and 0. `kind` is 0 for vanilla options, 1 for 1 paid above (theta = 1) or
    below (theta = -1) the strike, 2 for the asset paid there. Options beside each other that share
    model and expiry are priced at one go, with the bits they have alone.
    """
    sums = np.empty((SUMS, MOST_TERMS))
    n = len(S)
    first = 0
    while first < n:
        last = first + 1
        while last < n and _same(model, T, five, first, last):
            last += 1
        parameters = (
            five[0, first],
            five[1, first],
            five[2, first],
            five[3, first],
            five[4, first],
        )
        _family(model[first], parameters, T[first], first, last, kind, theta, S, K, r, q, sums, out)
        first = last


@kernel
def _same(model: Codes, T: Floats, five: Floats, i: int, j: int) -> bool:
    """Tell whether two options share model and expiry."""
    same: bool = model[i] == model[j] and T[i] == T[j]
    for m in range(5):
        same &= five[m, i] == five[m, j]
    return same


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int8."""
    one, code = np.ones(1), np.zeros(1, np.int8)
    five = np.array([[0.04], [1.0], [0.04], [0.5], [-0.5]])
    closed_form(code, code, code, one, one, one, one, one, five, np.empty((8, 1)))
