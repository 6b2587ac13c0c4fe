"""Exchanges of one lognormal amount for another: geometric means, forward starts, two assets.

A claim pays max(theta (A - B), 0) at T, where A and B are lognormal, or known. With their present
values a and b and the variance w^2 of ln(A / B) that is a European option on a, struck at b, of
vol w and expiry 1, without rates (Margrabe 1978). So every product is a table of `MOMENTS`, and
its greeks follow from one chain rule.

A geometric mean has ln G = const + m ln S + integral of c(t) dX, where X is log spot and c(t) the
share of the fixings after t, m = c(0) with a fixing of now (Kemna and Vorst 1990, Turnbull and
Wakeman 1991). Discrete fixings make c a staircase, a continuous mean makes it a ramp, a forward
start is one fixing; curves of vol, rate and yield only cut the integrals in pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .black_scholes import EPSILON, closed_form
from .elementary import exp, log_ratio
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

FLAT = -1  # the place of what is a number and no curve
CONTINUOUS = -1  # the place of the dates of a mean that is no sum
# Of a claim: what its amounts are counted in; the spot S of the greeks; a; da/dS; the powers of S
# in a and in b; b; w. Then derivatives of ln a, ln b and w by a parallel shift of the vol, by now,
# of ln a and ln b by the rate and by the yield; roundings of ln a and ln b, and of w / w.
MOMENTS = (
    "unit", "spot", "a", "slope", "power_a", "power_b", "b", "w",
    "a_vol", "b_vol", "w_vol", "a_now", "b_now", "w_now", "a_rate", "b_rate", "a_yield", "b_yield",
    "rounding", "w_rounding",
)  # fmt: skip


class Steps(NamedTuple):
    """Tables one after the other: table j has entries offsets[j] to offsets[j + 1].

    A curve is values[i] up to times[i], and its last value ever after; of dates only `times` count.
    """

    offsets: Indices
    times: Floats
    values: Floats


class World(NamedTuple):
    """The market of n cells, each of shape (n,); curves are places in `Steps`, or FLAT."""

    spot: Floats
    vol: Floats
    rate: Floats
    dividend_yield: Floats
    vol_curve: Indices
    rate_curve: Indices
    yield_curve: Indices


class Means(NamedTuple):
    """Claims on a geometric mean G at expiry, each field of shape (n,).

    theta (G - K), or theta (S_T - scale G) where `floating`. G is the mean of the fixings at
    `dates` (a place in `Steps`), or of all times from `start` to `stop` (CONTINUOUS), and of
    `past` fixings or years, whose mean is `running`. Where start = stop it is the spot of then.
    """

    theta: Codes
    floating: Codes
    strike: Floats
    scale: Floats
    expiry: Floats
    dates: Indices
    start: Floats
    stop: Floats
    past: Floats
    running: Floats


class Exchanges(NamedTuple):
    """Claims on max(theta (A - B), 0), shares of two assets; the greeks are those of asset A.

    Each field has shape (n,); amounts are today's spot times the number of shares.
    """

    theta: Codes
    spot: Floats
    shares: Floats
    other: Floats
    expiry: Floats
    vol: Floats
    other_vol: Floats
    correlation: Floats
    dividend_yield: Floats
    other_yield: Floats


@kernel
def _entries(steps: Steps, place: int) -> tuple[int, int]:
    """Return the first entry of a table and the one after its last; nothing where it is FLAT."""
    if place < 0:
        return 0, 0
    return steps.offsets[place], steps.offsets[place + 1]


@kernel
def _ahead(start: float, stop: float, length: float, t: float) -> float:
    """Return the share c(t) of a continuous mean over `length` years that is after t."""
    if length <= 0.0:
        return 1.0 if t < stop else 0.0
    return max(stop - max(start, t), 0.0) / length


@kernel
def _mean(i: int, means: Means, world: World, steps: Steps, row: Floats) -> None:
    """Write the MOMENTS of a claim on a geometric mean to `row`, shape (20,)."""
    S, T, past = world.spot[i], means.expiry[i], means.past[i]
    floating = means.floating[i] != 0
    vol_at, vol_last = _entries(steps, world.vol_curve[i])
    rate_at, rate_last = _entries(steps, world.rate_curve[i])
    yield_at, yield_last = _entries(steps, world.yield_curve[i])
    vol = steps.values[vol_at] if vol_last > 0 else world.vol[i]
    r = steps.values[rate_at] if rate_last > 0 else world.rate[i]
    q = steps.values[yield_at] if yield_last > 0 else world.dividend_yield[i]
    now_vol, now_rate, now_yield = vol, r, q

    discrete = means.dates[i] != CONTINUOUS
    fixing, last_fixing = _entries(steps, means.dates[i])
    start, stop = means.start[i], means.stop[i]
    count = float(last_fixing - fixing)
    length = count + past if discrete else stop - start + past
    power = count / length if discrete else _ahead(start, stop, length, -1.0)
    while fixing < last_fixing and steps.times[fixing] <= 0.0:
        fixing += 1
    ahead = (last_fixing - fixing) / length if discrete else _ahead(start, stop, length, 0.0)
    now_ahead = ahead

    t = rates = yields = share = carry = loss = spread = tilt = tilt_spread = 0.0
    pieces, size = 0, 0.0
    while t < T:
        end = T
        if vol_at < vol_last - 1:
            end = min(end, steps.times[vol_at])
        if rate_at < rate_last - 1:
            end = min(end, steps.times[rate_at])
        if yield_at < yield_last - 1:
            end = min(end, steps.times[yield_at])
        if fixing < last_fixing:
            end = min(end, steps.times[fixing])
        if not discrete and t < start:
            end = min(end, start)
        elif not discrete and t < stop:
            end = min(end, stop)
        h = end - t
        # What is left of the mean where the piece begins and ends; of the spot beside it, the rest.
        c0 = ahead
        c1 = ahead if discrete or length <= 0.0 else _ahead(start, stop, length, end)
        mean = 0.5 * (c0 + c1) * h
        square = (c0 * c0 + c0 * c1 + c1 * c1) * h / 3.0
        d0, d1 = 1.0 - c0, 1.0 - c1
        kept = (d0 * d0 + d0 * d1 + d1 * d1) * h / 3.0 if floating else square
        lost = 0.5 * (mean - square)
        rates += r * h
        yields += q * h
        share += mean
        carry += (r - q) * mean
        loss += vol * vol * lost
        tilt += 2.0 * vol * lost
        spread += vol * vol * kept
        tilt_spread += vol * kept
        size += (abs(r) + abs(q)) * h + vol * vol * lost
        pieces += 1
        t = end
        if vol_at < vol_last - 1 and t >= steps.times[vol_at]:
            vol_at += 1
            vol = steps.values[vol_at]
        if rate_at < rate_last - 1 and t >= steps.times[rate_at]:
            rate_at += 1
            r = steps.values[rate_at]
        if yield_at < yield_last - 1 and t >= steps.times[yield_at]:
            yield_at += 1
            q = steps.values[yield_at]
        while fixing < last_fixing and steps.times[fixing] <= t:
            fixing += 1
        ahead = (last_fixing - fixing) / length if discrete else _ahead(start, stop, length, t)

    w = np.sqrt(spread)
    exponent = carry - loss - rates
    if power == 0.0:
        mean_of_now = means.running[i]
    elif power == 1.0 or S == 0.0:
        mean_of_now = S
    elif means.running[i] <= 0.0:
        mean_of_now = 0.0
    else:
        season = (1.0 - power) * log_ratio(means.running[i], S)
        exponent += season
        size += abs(season)
        mean_of_now = S
    factor = exp(exponent)
    now_loss = 0.5 * now_ahead * (1.0 - now_ahead) * now_vol * now_vol
    mean_slope = now_rate - now_ahead * (now_rate - now_yield) + now_loss
    row[0], row[1] = 1.0, S
    row[7] = w
    row[10] = tilt_spread / w if w > 0.0 else 0.0
    gone = 1.0 - now_ahead if floating else now_ahead
    row[13] = -0.5 * gone * gone * now_vol * now_vol / w if w > 0.0 else 0.0
    row[18], row[19] = 10.0 + (pieces + 4.0) * size, pieces + 4.0
    if floating:
        unit = S if power == 1.0 else 1.0
        share_growth = exp(-yields)
        row[0] = unit
        row[2] = share_growth * (S if power != 1.0 else 1.0)
        row[3], row[4], row[5] = share_growth, 1.0, power
        row[6] = means.scale[i] * factor * (mean_of_now if power != 1.0 else 1.0)
        row[8], row[9] = 0.0, -tilt
        row[11], row[12] = now_yield, mean_slope
        row[14], row[15] = 0.0, share - t
        row[16], row[17] = -t, -share
    else:
        row[2], row[3] = mean_of_now * factor, power * factor if power > 0.0 else 0.0
        row[4], row[5] = power, 0.0
        row[6] = means.strike[i] * exp(-rates)
        row[8], row[9] = -tilt, 0.0
        row[11], row[12] = mean_slope, now_rate
        row[14], row[15] = share - t, -t
        row[16], row[17] = -share, 0.0


@kernel
def _exchange(i: int, claims: Exchanges, row: Floats) -> None:
    """Write the MOMENTS of an exchange of two assets to `row`, shape (20,)."""
    T, vol, other_vol = claims.expiry[i], claims.vol[i], claims.other_vol[i]
    q, other_q = claims.dividend_yield[i], claims.other_yield[i]
    correlation = claims.correlation[i]
    gap = vol - other_vol
    w = np.sqrt((gap * gap + 2.0 * (1.0 - correlation) * vol * other_vol) * T)
    row[0], row[1] = 1.0, claims.spot[i]
    row[3] = claims.shares[i] * exp(-q * T)
    row[2] = row[3] * claims.spot[i]
    row[4], row[5] = 1.0, 0.0
    row[6] = claims.other[i] * exp(-other_q * T)
    row[7] = w
    row[8], row[9] = 0.0, 0.0
    row[10] = (gap + (1.0 - correlation) * other_vol) * T / w if w > 0.0 else 0.0
    row[11], row[12] = q, other_q
    row[13] = -0.5 * w / T if T > 0.0 else 0.0
    row[14], row[15] = 0.0, 0.0
    row[16], row[17] = -T, 0.0
    row[18], row[19] = 8.0 + 3.0 * (abs(q) + abs(other_q)) * T, 8.0


@kernel
def _priced(theta: Codes, moments: Floats, out: Floats) -> None:
    """Write black_scholes.ROWS of n claims to `out`, shape (8, n), from (20, n) `MOMENTS`."""
    n = len(theta)
    one, none, kind = np.ones(n), np.zeros(n), np.zeros(n, np.int8)
    closed_form(theta, kind, moments[2], moments[6], one, none, none, moments[7], out)
    for i in range(n):
        row = moments[:, i]
        unit, S, a, power_a, power_b = row[0], row[1], row[2], row[4], row[5]
        price, by_a, curvature, vega = out[0, i], out[1, i], out[2, i], out[3, i]
        cash, asset = out[5, i], -out[6, i]
        if power_a == 1.0 and power_b == 1.0:
            delta, gamma = price, 0.0
        elif S > 0.0:
            delta = (power_a * asset - power_b * cash) / S
            bend = power_a * (power_a - 1.0) * asset - power_b * (power_b - 1.0) * cash
            gap = power_a - power_b
            gamma = (bend + gap * gap * curvature * a * a) / S / S
        else:
            delta, gamma = by_a * row[3] if power_a == 1.0 else 0.0, 0.0
        out[0, i] = unit * price
        out[1, i], out[2, i] = delta, gamma
        out[3, i] = unit * (row[8] * asset - row[9] * cash + row[10] * vega)
        out[4, i] = unit * (row[11] * asset - row[12] * cash + row[13] * vega)
        out[5, i] = unit * (row[14] * asset - row[15] * cash)
        out[6, i] = unit * (row[16] * asset - row[17] * cash)
        rounding = row[18] * (abs(asset) + abs(cash)) + row[19] * row[7] * vega
        out[7, i] = unit * (out[7, i] + EPSILON * rounding)


@kernel
def geometric(means: Means, world: World, steps: Steps, out: Floats) -> None:
    """Write black_scholes.ROWS of n claims on geometric means to `out`, shape (8, n).

    Theta is the change of the price as now moves on, all dates staying where they are. Greeks by
    vol, rate and yield are for parallel shifts.
    """
    n = len(means.theta)
    moments, row = np.empty((20, n)), np.empty(20)
    for i in range(n):
        _mean(i, means, world, steps, row)
        moments[:, i] = row
    _priced(means.theta, moments, out)


@kernel
def exchange(claims: Exchanges, out: Floats) -> None:
    """Write black_scholes.ROWS of n exchanges of two assets to `out`, shape (8, n).

    Delta, gamma, vega and dividend rho are those of asset A; the rate does not matter. The put of
    (A, B) is the call of (B, A).
    """
    n = len(claims.theta)
    moments, row = np.empty((20, n)), np.empty(20)
    for i in range(n):
        _exchange(i, claims, row)
        moments[:, i] = row
    _priced(claims.theta, moments, out)


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous float64, int8 and int64."""
    one, sign, place, out = np.ones(1), np.ones(1, np.int8), np.full(1, -1), np.empty((8, 1))
    steps = Steps(np.array([0, 1]), one, one)
    world = World(one, one, one, one, place, place, place)
    geometric(Means(sign, sign, one, one, one, place, one, one, one, one), world, steps, out)
    exchange(Exchanges(sign, *([one] * 9)), out)
