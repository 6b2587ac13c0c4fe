"""What paths come to, and what contracts pay on it.

A block of paths is reduced once to a few *functionals*, one number a path: an average, an extreme,
the spot on a date. A contract is then a few operations a path, whatever the number of dates.
Contracts with barriers look at every date that is watched, each in its own way.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from .elementary import INVERSE_SQRT_2
from .jit import kernel
from .lane_elementary import erfcx, exp_normal, gaussian, log
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    broadcast,
    choose,
    load,
    maximum,
    minimum,
    square_root,
    store,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

# The functionals: a weighted sum of spots; the exponential of one of logarithms; the largest, the
# smallest of the dates with a weight; the same of all times of the steps that end on dates with a
# weight; the integral of the spot over such steps, each with its weight; the exponential of
# that of the logarithm; the logarithms of both geometric ones, and that of the last spot over the
# second of them.
(
    SUM, GEOMETRIC, LARGEST, SMALLEST, HIGHEST, LOWEST, INTEGRAL, GEOMETRIC_INTEGRAL,
    LOG_SUM, LOG_INTEGRAL, LOG_ABOVE,
) = range(11)  # fmt: skip


class Functionals(NamedTuple):
    """F numbers that each path comes to by an `operation`, shape (F,).

    `weights` may differ between markets, shape (K, F, D).
    """

    operation: Codes
    weights: Floats


class Forms(NamedTuple):
    """C contracts that pay max(a x + max(b y, c) - k, 0) of two functionals x and y.

    Under E evaluations, each in one of the markets. `first` and `second` are the places of x and
    y; a negative `second` leaves their term out. Where `control` is not negative, it is the place
    of a functional z, and what is paid is less (a x + ... - k) clip(ca z - ck, 0, 1): about the
    same, with a known mean. Shapes (C,), and (C, E) for a to ck.
    """

    first: Indices
    second: Indices
    control: Indices
    a: Floats
    b: Floats
    c: Floats
    k: Floats
    ca: Floats
    ck: Floats


class Watched(NamedTuple):
    """C contracts that barriers may end, under E evaluations.

    At the last date alpha s + beta is paid where ``theta (ln s - kink) > 0`` if no barrier was met,
    and `live` for not having met one. Meeting one pays `lower_rebate` or `upper_rebate`, in shares
    where `shares` is not 0, and with interest to the last date where `at_hit` is not 0. Levels are
    logarithms relative to what paths hold, as is alpha, per unit of e**path; `watch` is the place
    of the set of dates on which they count. `rebated` is 0 where meeting a barrier pays nothing.
    Where `knocks_in` is not 0, the payoff is owed if a barrier was met. Shapes (C,), and (C, E) of
    alpha, kink, barriers and rebates.
    """

    theta: Floats
    alpha: Floats
    beta: Floats
    kink: Floats
    lower: Floats
    upper: Floats
    knocks_in: Codes
    live: Floats
    rebated: Codes
    lower_rebate: Floats
    upper_rebate: Floats
    shares: Floats
    at_hit: Codes
    watch: Indices


class Cliquets(NamedTuple):
    """C sums of clipped returns: notional times clip(sum of clip(theta (R - m), f, c), F, C)."""

    theta: Floats
    moneyness: Floats
    local_floor: Floats
    local_cap: Floats
    global_floor: Floats
    global_cap: Floats
    notional: Floats


@kernel
def total_of(lane: Lane, scratch: Floats) -> float:
    """Add the lanes up, in a fixed order; `scratch` has shape (8,)."""
    store(scratch, 0, lane)
    return float(
        ((scratch[0] + scratch[4]) + (scratch[2] + scratch[6]))
        + ((scratch[1] + scratch[5]) + (scratch[3] + scratch[7]))
    )


@kernel
def normal_cdf(x: Lane) -> Lane:
    """Return the standard normal distribution function, within 8 ulp in either tail."""
    size = minimum(absolute(x), broadcast(50.0))
    tail = 0.5 * (gaussian(size) * erfcx(size * INVERSE_SQRT_2))
    return choose(x, broadcast(0.0), 1.0 - tail, tail)


@kernel
def reduce_paths(
    functionals: Functionals,
    k: int,
    variance: Floats,
    x: Floats,
    extra: Floats,
    uniforms: Floats,
    out: Floats,
) -> None:
    """Write the functionals of paths `x` of market k, shape (D, P), to `out`, shape (F, P).

    `variance`, shape (D,), is that of the logarithm over the step to each date. `extra`, shape
    (1, P), is a normal for what integrals vary between dates, `uniforms`, shape (D, P), numbers in
    (0, 1) for extremes between them (Beaglehole, Dybvig and Zhou 1997).
    """
    dates = len(x)
    groups = x.shape[1] // WIDTH
    for f in range(len(functionals.operation)):
        operation = functionals.operation[f]
        weights = functionals.weights[k, f]
        for g in range(groups):
            result = broadcast(0.0)
            if operation == SUM:
                for d in range(dates):
                    if weights[d] != 0.0:
                        result = result + weights[d] * exp_normal(load(x, d * groups + g))
            elif operation in (GEOMETRIC, LOG_SUM):
                for d in range(dates):
                    if weights[d] != 0.0:
                        result = result + weights[d] * load(x, d * groups + g)
                if operation == GEOMETRIC:
                    result = exp_normal(result)
            elif operation in (LARGEST, HIGHEST):
                result = broadcast(-inf)
                before = broadcast(0.0)
                for d in range(dates):
                    level = load(x, d * groups + g)
                    if weights[d] != 0.0:
                        peak = level
                        if operation == HIGHEST:
                            peak = 0.5 * (
                                before
                                + level
                                + _reach(
                                    level - before, variance[d], load(uniforms, d * groups + g)
                                )
                            )
                        result = maximum(result, peak)
                    before = level
                result = exp_normal(result)
            elif operation in (SMALLEST, LOWEST):
                result = broadcast(inf)
                before = broadcast(0.0)
                for d in range(dates):
                    level = load(x, d * groups + g)
                    if weights[d] != 0.0:
                        lowest = level
                        if operation == LOWEST:
                            lowest = 0.5 * (
                                before
                                + level
                                - _reach(
                                    level - before, variance[d], load(uniforms, d * groups + g)
                                )
                            )
                        result = minimum(result, lowest)
                    before = level
                result = exp_normal(result)
            else:
                spots = operation == INTEGRAL
                result = _integral(spots, weights, variance, x, g, load(extra, g))
                if operation == GEOMETRIC_INTEGRAL:
                    result = exp_normal(result)
                elif operation == LOG_ABOVE:
                    result = load(x, (dates - 1) * groups + g) - result
            store(out, f * groups + g, result)


@kernel
def _reach(move: Lane, variance: float, u: Lane) -> Lane:
    """Return how far twice the extreme of a step lies from the sum of its ends."""
    return square_root(move * move - (2.0 * variance) * log(u))


@kernel
def _integral(
    of_spot: bool, weights: Floats, variance: Floats, x: Floats, g: int, normal: Lane
) -> Lane:
    """Return the weighted integral of the spot, or of its logarithm, between dates.

    Its mean given the ends of each step, with fourth-order terms left out, and one normal for the
    variance that is left in all of them (Lapeyre and Temam 2001).
    """
    groups = x.shape[1] // WIDTH
    mean, left = broadcast(0.0), broadcast(0.0)
    before = broadcast(0.0)
    for d in range(len(x)):
        level = load(x, d * groups + g)
        if weights[d] != 0.0:
            middle = 0.5 * (before + level)
            if of_spot:
                move = level - before
                middle = exp_normal(middle)
                share = weights[d] * middle
                mean = mean + share * (1.0 + variance[d] / 12.0 + move * move * (1.0 / 24.0))
                left = left + share * share * variance[d]
            else:
                mean = mean + weights[d] * middle
                left = left + weights[d] * weights[d] * variance[d]
        before = level
    return mean + square_root(left * (1.0 / 12.0)) * normal


@kernel
def add_forms(forms: Forms, e: int, rows: Floats, scratch: Floats, out: Floats) -> None:
    """Add what every contract pays on a block of functionals to column e of `out`."""
    groups = rows.shape[1] // WIDTH
    zero = broadcast(0.0)
    one = broadcast(1.0)
    for i in range(len(forms.first)):
        x, y, z = (
            forms.first[i] * groups,
            forms.second[i] * groups,
            forms.control[i] * groups,
        )
        a, k = broadcast(forms.a[i, e]), broadcast(forms.k[i, e])
        b, c = broadcast(forms.b[i, e]), broadcast(forms.c[i, e])
        ca, ck = broadcast(forms.ca[i, e]), broadcast(forms.ck[i, e])
        total = zero
        for g in range(groups):
            pays = a * load(rows, x + g) - k
            if y >= 0:
                pays = pays + maximum(b * load(rows, y + g), c)
            paid = maximum(pays, zero)
            if z >= 0:
                share = minimum(maximum(ca * load(rows, z + g) - ck, zero), one)
                paid = paid - pays * share
            total = total + paid
        out[i, e] += total_of(total, scratch)


@kernel
def add_cliquets(
    cliquets: Cliquets, e: int, resets: Codes, x: Floats, scratch: Floats, out: Floats
) -> None:
    """Add what every cliquet pays on paths `x`, shape (D, P), to column e of `out`.

    `resets`, shape (D,), is 1 on the dates between which returns are counted.
    """
    groups = x.shape[1] // WIDTH
    for i in range(len(cliquets.theta)):
        theta, moneyness = cliquets.theta[i], cliquets.moneyness[i]
        floor, cap = broadcast(cliquets.local_floor[i]), broadcast(cliquets.local_cap[i])
        least, most = broadcast(cliquets.global_floor[i]), broadcast(cliquets.global_cap[i])
        total = broadcast(0.0)
        for g in range(groups):
            summed = broadcast(0.0)
            last = -1
            for d in range(len(x)):
                if resets[d] == 0:
                    continue
                if last >= 0:
                    move = exp_normal(load(x, d * groups + g) - load(x, last * groups + g))
                    summed = summed + minimum(maximum(theta * (move - moneyness), floor), cap)
                last = d
            total = total + minimum(maximum(summed, least), most)
        out[i, e] += cliquets.notional[i] * total_of(total, scratch)


@kernel
def add_watched(
    watched: Watched,
    e: int,
    masks: Codes,
    interest: Floats,
    x: Floats,
    scratch: Floats,
    out: Floats,
) -> None:
    """Add what contracts pay on paths `x`, shape (D, P), of which the last row is at expiry.

    `masks`, shape (M, D), has the dates that count, `interest`, shape (D,), what 1 on each date has
    become by the last.
    """
    dates = len(x)
    groups = x.shape[1] // WIDTH
    one, zero = broadcast(1.0), broadcast(0.0)
    for i in range(len(watched.theta)):
        lower, upper = broadcast(watched.lower[i, e]), broadcast(watched.upper[i, e])
        theta, mask = watched.theta[i], masks[watched.watch[i]]
        kink = broadcast(theta * watched.kink[i, e])
        rebated, shares = watched.rebated[i] != 0, watched.shares[i] != 0.0
        knocks_in = watched.knocks_in[i] != 0
        total = zero
        for g in range(groups):
            alive = one
            paid = zero
            for d in range(dates):
                if mask[d] == 0:
                    continue
                level = load(x, d * groups + g)
                above = choose(level, lower, alive, zero)
                kept = choose(upper, level, above, zero)
                if rebated:
                    rate = interest[d] if watched.at_hit[i] != 0 else 1.0
                    owed = (alive - above) * (rate * watched.lower_rebate[i, e]) + (
                        above - kept
                    ) * (rate * watched.upper_rebate[i, e])
                    if shares:
                        when = d if watched.at_hit[i] != 0 else dates - 1
                        owed = owed * exp_normal(load(x, when * groups + g))
                    paid = paid + owed
                alive = kept
            level = load(x, (dates - 1) * groups + g)
            pays = watched.alpha[i, e] * exp_normal(level) + watched.beta[i]
            pays = choose(theta * level, kink, pays, zero)
            owing = one - alive if knocks_in else alive
            total = total + (owing * pays + alive * watched.live[i] + paid)
        out[i, e] += total_of(total, scratch)


@kernel
def add_crossed(
    watched: Watched,
    e: int,
    masks: Codes,
    variance: Floats,
    x: Floats,
    scratch: Floats,
    out: Floats,
) -> None:
    """Add what contracts with one barrier that is watched at all times pay on paths `x`.

    Between dates, log spots are Brownian bridges of `variance`, shape (D,): the chance that one
    meets a level is known. A rebate is paid on the last date.
    """
    dates = len(x)
    groups = x.shape[1] // WIDTH
    zero, far = broadcast(0.0), broadcast(700.0)
    for i in range(len(watched.theta)):
        up = watched.upper[i, e] < inf
        level = broadcast(watched.upper[i, e] if up else watched.lower[i, e])
        side = -1.0 if up else 1.0
        theta = watched.theta[i]
        kink = broadcast(theta * watched.kink[i, e])
        mask = masks[watched.watch[i]]
        rebate = broadcast(watched.upper_rebate[i, e] if up else watched.lower_rebate[i, e])
        shares, knocks_in = watched.shares[i] != 0.0, watched.knocks_in[i] != 0
        total = zero
        for g in range(groups):
            alive = broadcast(1.0)
            before = maximum(side * (zero - level), zero)
            for d in range(dates):
                here = maximum(side * (load(x, d * groups + g) - level), zero)
                if mask[d] != 0:
                    exponent = minimum(before * here * (2.0 / variance[d]), far)
                    alive = alive * (1.0 - exp_normal(-exponent))
                before = here
            last = load(x, (dates - 1) * groups + g)
            pays = watched.alpha[i, e] * exp_normal(last) + watched.beta[i]
            pays = choose(theta * last, kink, pays, zero)
            dead = exp_normal(last) * rebate if shares else rebate
            if knocks_in:
                pays, dead = broadcast(watched.live[i]), pays
            total = total + (alive * pays + (1.0 - alive) * dead)
        out[i, e] += total_of(total, scratch)


@kernel
def add_conditional(
    watched: Watched,
    e: int,
    masks: Codes,
    interest: Floats,
    deviation: Floats,
    u: Floats,
    scratch: Floats,
    out: Floats,
) -> None:
    """Add what contracts pay given everything of a path but the normal of its last date.

    A path's logarithm at date d is ``deviation[d] (u[d] + G)``, with G a standard normal that is
    independent of `u`, shape (D, P): barriers leave an interval of G, over which the payoff has a
    closed form. What is left is smooth in every input (conditional Monte Carlo).
    """
    dates = len(u)
    groups = u.shape[1] // WIDTH
    one, zero = broadcast(1.0), broadcast(0.0)
    wide = broadcast(60.0)
    last = deviation[dates - 1]
    for i in range(len(watched.theta)):
        theta, mask = watched.theta[i], masks[watched.watch[i]]
        bottom, top = watched.lower[i, e], watched.upper[i, e]
        rebated, shares = watched.rebated[i] != 0, watched.shares[i] != 0.0
        knocks_in = watched.knocks_in[i] != 0
        kink = watched.kink[i, e] / last
        total = zero
        for g in range(groups):
            end = load(u, (dates - 1) * groups + g)
            low, high = -wide, wide
            paid = zero
            if rebated:
                for d in range(dates):
                    if mask[d] == 0:
                        continue
                    c = deviation[d]
                    rate, when = 1.0, dates - 1
                    if watched.at_hit[i] != 0:
                        rate, when = interest[d], d
                    tilt = deviation[when] if shares else 0.0
                    at = load(u, d * groups + g)
                    height = (
                        exp_normal(deviation[when] * load(u, when * groups + g) + 0.5 * tilt * tilt)
                        if shares
                        else one
                    )
                    if bottom > -inf:
                        following = minimum(maximum(low, bottom / c - at), high)
                        gone = normal_cdf(following - tilt) - normal_cdf(low - tilt)
                        paid = paid + gone * height * (rate * watched.lower_rebate[i, e])
                        low = following
                    if top < inf:
                        following = maximum(minimum(high, top / c - at), low)
                        gone = normal_cdf(high - tilt) - normal_cdf(following - tilt)
                        paid = paid + gone * height * (rate * watched.upper_rebate[i, e])
                        high = following
            else:
                for d in range(dates):
                    if mask[d] == 0:
                        continue
                    at = load(u, d * groups + g)
                    low = maximum(low, bottom / deviation[d] - at)
                    high = minimum(high, top / deviation[d] - at)
                high = maximum(low, high)
            if watched.live[i] != 0.0:
                paid = paid + watched.live[i] * (normal_cdf(high) - normal_cdf(low))
            bend = minimum(maximum(kink - end, -wide), wide)
            start, stop = (bend, wide) if theta > 0.0 else (-wide, bend)
            inside_low = minimum(maximum(low, start), stop)
            inside_high = maximum(minimum(high, stop), inside_low)
            mass = normal_cdf(inside_high) - normal_cdf(inside_low)
            if knocks_in:
                mass = normal_cdf(stop) - normal_cdf(start) - mass
            value = watched.beta[i] * mass
            if watched.alpha[i, e] != 0.0:
                share = normal_cdf(inside_high - last) - normal_cdf(inside_low - last)
                if knocks_in:
                    share = normal_cdf(stop - last) - normal_cdf(start - last) - share
                height = exp_normal(last * end + 0.5 * last * last)
                value = value + (watched.alpha[i, e] * height) * share
            paid = paid + value
            total = total + paid
        out[i, e] += total_of(total, scratch)
