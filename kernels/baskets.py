"""European options on several lognormal assets, by simulating all factors but one.

Given the others, what an option is worth over the first factor is a sum of Black-Scholes terms
between the places where the payoff bends: one root for most weighted baskets (Choi 2018), several
where holdings of either sign move together, crossings of straight lines in the logarithm for
best-of and worst-of. So values are smooth in all that is simulated, on which scrambled Sobol points
converge fast, and greeks are exact derivatives path by path, gamma too: payoffs are continuous, so
that places move values only from their second derivatives on.

Weighted baskets are priced out of the money; `known` adds what the forward is worth. Controls are
what each asset is worth given the simulated factors; `fit` finds their coefficients on other
randomisations than those that they are used on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import elementary
from .directions import basket_direction, parting_direction, turned, unit_rows
from .draws import Draws, draws, normals
from .elementary import INVERSE_SQRT_2, INVERSE_SQRT_2PI, normal_cdf, normal_pdf
from .jit import kernel
from .lane_elementary import erfcx, exp, gaussian, log
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    any_greater,
    broadcast,
    choose,
    load,
    maximum,
    minimum,
    store,
)

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

__all__ = [
    "Baskets",
    "Draws",
    "add_paths",
    "draws",
    "factors_of",
    "fit",
    "known",
    "turn",
    "warm_up",
]

ROWS = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho")
PATHS = 256  # of a block
FAR = 40.0  # standard deviations
MOST_STEPS = 60
NEAR_ROOT = 1e-4  # a last step: its square is the root's error, and that one's the value's
NO_LOGARITHM = -1e5  # stands for that of 0
CLOSE = 1e-9  # a last step of Newton's: the next would be far less
PARALLEL = 1e-12  # slopes that differ less are one
MOST_CONTROLS = 12  # assets that are a control each; more of them are one
INDEPENDENT = 1e-7  # of a control's deviation that the others before it must leave


class Baskets(NamedTuple):
    """C options on n assets each.

    `choice` is 0 weighted, 1 the best of, -1 the worst of; `theta` 1 call, -1 put; `asset` the
    place of the one that greeks are for; all three of shape (C,), as are `K`, `T`, the average rate
    `r` up to expiry and the rate now. `S`, `w`, `q`, `sigma` have shape (C, n); `factors`, shape
    (M, n, n), are rows whose products are the correlations, `matrix`, shape (C,), says whose.
    """

    choice: Codes
    theta: Codes
    asset: Indices
    K: Floats
    T: Floats
    r: Floats
    rate_now: Floats
    S: Floats
    w: Floats
    q: Floats
    sigma: Floats
    matrix: Indices
    factors: Floats


class Turned(NamedTuple):
    """What is simulated of C options, of n assets each.

    `holds`, shape (C, n), is the present value of what is held per unit of spot, `loads`, shape
    (C, n, n), each asset's ln-spot by the factors per unit of vol; `dims` counts the factors to
    simulate, `single` says whether a weighted payoff has one boundary at most, `side` whether the
    call or the put is simulated, `cash` is the present value of the strike; shape (C,) each.
    """

    holds: Floats
    loads: Floats
    dims: Indices
    single: Codes
    side: Floats
    cash: Floats


@kernel
def factors_of(correlations: Floats, out: Floats) -> None:
    """Write rows whose products are the correlations of each of M matrices, both (M, n, n)."""
    for m in range(len(correlations)):
        unit_rows(correlations[m], out[m])


@kernel
def turn(b: Baskets) -> Turned:
    """Choose the factors of each option."""
    count, n = b.S.shape
    t = Turned(
        np.empty((count, n)),
        np.empty((count, n, n)),
        np.empty(count, np.int64),
        np.empty(count, np.int8),
        np.empty(count),
        np.empty(count),
    )
    rows, held, direction = np.empty((n, n)), np.empty(n), np.empty(n)
    for c in range(count):
        t.cash[c] = b.K[c] * elementary.exp(-b.r[c] * b.T[c])
        forward = -t.cash[c]
        units = b.factors[b.matrix[c]]
        for i in range(n):
            t.holds[c, i] = b.w[c, i] * elementary.exp(-b.q[c, i] * b.T[c])
            held[i] = b.S[c, i] * t.holds[c, i]
            forward += held[i]
            for k in range(n):
                rows[i, k] = b.sigma[c, i] * units[i, k]
        t.single[c] = 1
        t.side[c] = float(b.theta[c])
        if b.choice[c] != 0:
            parting_direction(rows, held, direction)
        else:
            t.single[c] = basket_direction(rows, held, direction)
            t.side[c] = -1.0 if forward > 0.0 else 1.0
        for i in range(n):
            held[i] *= b.sigma[c, i]
        t.dims[c] = turned(units, held, direction, t.loads[c])
        root = np.sqrt(b.T[c])
        for i in range(n):
            for k in range(n):
                t.loads[c, i, k] *= root
    return t


@kernel
def known(b: Baskets, t: Turned, out: Floats) -> None:
    """Write what is to be added to each option's mean values to `out`, shape (7 + m, C).

    That is the forward, where the option out of the money is simulated instead of the other. The
    last rows are the means of the m controls: what each asset is worth, or all where many.
    """
    n = b.S.shape[1]
    out[:] = 0.0
    for c in range(len(b.theta)):
        for i in range(n):
            out[len(ROWS) + (i if n <= MOST_CONTROLS else 0), c] += b.S[c, i] * t.holds[c, i]
        if t.side[c] == b.theta[c]:
            continue
        theta, T, g = float(b.theta[c]), b.T[c], b.asset[c]
        out[0, c], out[4, c] = -theta * t.cash[c], -theta * b.rate_now[c] * t.cash[c]
        for i in range(n):
            worth = theta * b.S[c, i] * t.holds[c, i]
            out[0, c] += worth
            out[4, c] += b.q[c, i] * worth
        out[1, c] = theta * t.holds[c, g]
        out[5, c] = theta * T * t.cash[c]
        out[6, c] = -T * theta * b.S[c, g] * t.holds[c, g]


@kernel
def _normal(x: Lane) -> Lane:
    """Return the standard normal distribution."""
    tail = 0.5 * gaussian(x) * erfcx(absolute(x) * INVERSE_SQRT_2)
    return choose(x, broadcast(0.0), 1.0 - tail, tail)


@kernel
def _density(x: Lane) -> Lane:
    return INVERSE_SQRT_2PI * gaussian(x)


@kernel
def _grown(b: Baskets, t: Turned, c: int, z: Floats, group: int, i: int) -> tuple[Lane, Lane]:
    """Return the exponent of asset i by the simulated factors, and its derivative by vol."""
    groups = z.shape[1] // WIDTH
    moved = broadcast(0.0)
    square = 0.0
    for k in range(t.dims[c]):
        factor = t.loads[c, i, k + 1]
        moved = moved + factor * load(z, k * groups + group)
        square += factor * factor
    sigma = b.sigma[c, i]
    return sigma * moved - 0.5 * sigma * sigma * square, moved - sigma * square


@kernel
def _grow(b: Baskets, t: Turned, c: int, z: Floats, group: int, work: Floats, sums: Floats) -> None:
    """Write what the simulated factors make of each asset to rows of `work`, shape (3 n, 8).

    First what is held, per unit of spot; then the derivative of its logarithm by vol; then that
    logarithm, less what is held. The controls are added to `sums`.
    """
    n = b.S.shape[1]
    for i in range(n):
        exponent, slope = _grown(b, t, c, z, group, i)
        grown = t.holds[c, i] * exp(exponent)
        store(work, i, grown)
        store(work, n + i, slope)
        store(work, 2 * n + i, exponent)
        row = len(ROWS) + (i if n <= MOST_CONTROLS else 0)
        store(sums, row, load(sums, row) + b.S[c, i] * grown)


@kernel
def _weighted(
    b: Baskets, t: Turned, c: int, z: Floats, greeks: bool, work: Floats, sums: Floats
) -> None:
    """Add the values of a weighted basket with one boundary to `sums`, shape (7 + m, 8).

    They are those of a block `z` of normals, shape (dims, P), eight paths abreast; then come its m
    controls. `work` has shape (3 n, 8).
    """
    n = b.S.shape[1]
    side, cash, T, asset = t.side[c], t.cash[c], b.T[c], b.asset[c]
    long_cash, short_cash = max(-cash, 0.0), max(cash, 0.0)
    longs, shorts = long_cash, short_cash
    for i in range(n):
        held = b.S[c, i] * t.holds[c, i]
        longs += max(held, 0.0)
        shorts += max(-held, 0.0)
    decided = longs == 0.0 or shorts == 0.0
    zero = broadcast(0.0)
    for group in range(z.shape[1] // WIDTH):
        _grow(b, t, c, z, group, work, sums)
        root = broadcast(FAR if longs == 0.0 else -FAR)
        if not decided:
            root = zero
            low, high = broadcast(-FAR), broadcast(FAR)
            for _ in range(MOST_STEPS):
                long, short = broadcast(long_cash), broadcast(short_cash)
                long_slope, short_slope = zero, zero
                for i in range(n):
                    load_i = b.sigma[c, i] * t.loads[c, i, 0]
                    term = b.S[c, i] * load(work, i)
                    term = term * exp(load_i * root - 0.5 * load_i * load_i)
                    if t.holds[c, i] > 0.0:
                        long = long + term
                        long_slope = long_slope + load_i * term
                    else:
                        short = short - term
                        short_slope = short_slope - load_i * term
                # The logarithm of what is long over what is short is nearly straight.
                gap = log(long) - log(short)
                step = gap / (long_slope / long - short_slope / short)
                high = choose(gap, zero, root, high)
                low = choose(gap, zero, low, root)
                middle = 0.5 * (low + high)
                # What is not a number is not in between either.
                following = choose(root - step, low - 1e-9, root - step, middle)
                following = choose(high + 1e-9, following, following, middle)
                moved = absolute(following - root)
                root = following
                if not any_greater(moved, broadcast(NEAR_ROOT)):
                    break
        likely = _normal(-side * root)
        paid = (side * cash) * likely
        price = -paid
        theta = (-b.rate_now[c]) * paid
        slope_at_root = zero
        for i in range(n):
            load_i = b.sigma[c, i] * t.loads[c, i, 0]
            grown = load(work, i)
            worth = b.S[c, i] * grown
            share = _normal(side * (load_i - root))
            price = price + side * worth * share
            if greeks:
                density = _density(load_i - root)
                vega = worth * (side * load(work, n + i) * share + t.loads[c, i, 0] * density)
                theta = theta + side * b.q[c, i] * worth * share
                if T > 0.0:
                    theta = theta - (0.5 * b.sigma[c, i] / T) * vega
                slope_at_root = slope_at_root + load_i * worth * density
                if i == asset:
                    delta = side * grown * share
                    store(sums, 1, load(sums, 1) + delta)
                    store(sums, 3, load(sums, 3) + vega)
                    store(sums, 6, load(sums, 6) - (T * b.S[c, i]) * delta)
        store(sums, 0, load(sums, 0) + price)
        if greeks:
            load_i = b.sigma[c, asset] * t.loads[c, asset, 0]
            pull = load(work, asset) * _density(load_i - root)
            gamma = choose(slope_at_root, zero, pull * pull / slope_at_root, zero)
            store(sums, 2, load(sums, 2) + gamma)
            store(sums, 4, load(sums, 4) + theta)
            store(sums, 5, load(sums, 5) + T * paid)


@kernel
def _chosen(
    b: Baskets, t: Turned, c: int, z: Floats, greeks: bool, work: Floats, sums: Floats
) -> None:
    """Add the values of a best-of or worst-of, as `_weighted`.

    The logarithms of the assets are straight lines in the first factor. Each asset is the best, or
    the worst, between its crossings with the others; there the option is in the money on one
    side of the crossing with the strike.
    """
    n = b.S.shape[1]
    theta_sign, best = float(b.theta[c]), float(b.choice[c])
    cash, T, asset = t.cash[c], b.T[c], b.asset[c]
    log_cash = elementary.log(cash) if cash > 0.0 else 2.0 * NO_LOGARITHM
    zero = broadcast(0.0)
    for group in range(z.shape[1] // WIDTH):
        _grow(b, t, c, z, group, work, sums)
        for i in range(n):
            held = b.S[c, i] * t.holds[c, i]
            level = elementary.log(held) if held > 0.0 else NO_LOGARITHM
            load_i = b.sigma[c, i] * t.loads[c, i, 0]
            store(work, 2 * n + i, load(work, 2 * n + i) + (level - 0.5 * load_i * load_i))
        price = theta = rho = zero
        for i in range(n):
            load_i = b.sigma[c, i] * t.loads[c, i, 0]
            line = load(work, 2 * n + i)
            low, high = broadcast(-FAR), broadcast(FAR)
            # How fast the ends move with the asset's logarithm, outwards.
            low_rate, high_rate = zero, zero
            for j in range(n + 1):
                if j == i:
                    continue
                # The asset counts above another one or below it, or on one side of the strike.
                if j < n:
                    other = load(work, 2 * n + j)
                    tilt = load_i - b.sigma[c, j] * t.loads[c, j, 0]
                    above = best
                else:
                    other = broadcast(log_cash)
                    tilt = load_i
                    above = theta_sign
                if abs(tilt) < PARALLEL:
                    # Of equals the first.
                    tie = broadcast(0.0 if j > i else 5e-324)
                    high = choose(tie, above * (line - other), broadcast(-FAR), high)
                    continue
                crossing = (other - line) * (1.0 / tilt)
                rate = theta_sign * above / abs(tilt)
                if (tilt > 0.0) == (above > 0.0):
                    low_rate = choose(crossing, low, broadcast(rate), low_rate)
                    low = maximum(crossing, low)
                else:
                    high_rate = choose(high, crossing, broadcast(rate), high_rate)
                    high = minimum(crossing, high)
            if not any_greater(high, low):
                continue
            high = maximum(high, low)
            grown = load(work, i)
            worth = b.S[c, i] * grown
            share = _normal(load_i - low) - _normal(load_i - high)
            paid = (theta_sign * cash) * (_normal(-low) - _normal(-high))
            price = price + (theta_sign * worth * share - paid)
            if greeks:
                low_density = _density(load_i - low)
                high_density = _density(load_i - high)
                bent = load(work, n + i) * share + t.loads[c, i, 0] * (low_density - high_density)
                vega = theta_sign * worth * bent
                theta = theta + (theta_sign * b.q[c, i]) * worth * share - b.rate_now[c] * paid
                if T > 0.0:
                    theta = theta - (0.5 * b.sigma[c, i] / T) * vega
                rho = rho + T * paid
                if i == asset:
                    delta = theta_sign * grown * share
                    gamma = grown * (low_density * low_rate + high_density * high_rate)
                    gamma = choose(high, low, gamma, zero) * (1.0 / max(b.S[c, i], 1e-300))
                    store(sums, 1, load(sums, 1) + delta)
                    store(sums, 2, load(sums, 2) + gamma)
                    store(sums, 3, load(sums, 3) + vega)
                    store(sums, 6, load(sums, 6) - (T * b.S[c, i]) * delta)
        store(sums, 0, load(sums, 0) + price)
        store(sums, 4, load(sums, 4) + theta)
        store(sums, 5, load(sums, 5) + rho)


@kernel
def _total(terms: Floats, slopes: Floats, first: int, z: float) -> tuple[float, float]:
    """Return the sum of terms * exp(slopes * z), and its derivative.

    From the term `first` on, scaled so that this one's exponential is 1.
    """
    total = change = 0.0
    for i in range(first, len(terms)):
        slope = slopes[i] - slopes[first]
        term = terms[i] * elementary.exp(slope * z)
        total += term
        change += slope * term
    return total, change


@kernel
def _root(terms: Floats, slopes: Floats, first: int, low: float, high: float, below: bool) -> float:
    """Find where `_total` changes its sign; `below` says whether it is negative at `low`.

    By Newton's method, by halves where that leads outside.
    """
    z = 0.5 * (low + high)
    for _ in range(MOST_STEPS):
        value, change = _total(terms, slopes, first, z)
        if (value < 0.0) == below:
            low = z
        else:
            high = z
        following = z - value / change
        # What is not a number is not in between either.
        if not low <= following <= high:
            following = 0.5 * (low + high)
        moved = abs(following - z)
        z = following
        if moved < CLOSE:
            break
    return z


@kernel
def roots(terms: Floats, slopes: Floats, derived: Floats, found: Floats) -> int:
    """Find where a sum of m exponentials changes its sign; return how many such places there are.

    The sum is of terms * exp(slopes * z), `slopes` increasing, |z| <= FAR; places, increasing, go
    to `found`, shape (m,). Divided by its first exponential its derivative has a term less, and
    between two of that one's roots it has one root or none (Rolle). `derived` is work, shape (m,).
    """
    m = len(terms)
    count = 0
    for first in range(m - 2, -1, -1):
        for j in range(first, m):
            derived[j] = terms[j]
            for i in range(first):
                derived[j] *= slopes[j] - slopes[i]
        left = -FAR
        value, _ = _total(derived, slopes, first, left)
        kept = 0
        for k in range(count + 1):
            right = found[k] if k < count else FAR
            end, _ = _total(derived, slopes, first, right)
            if (value < 0.0) != (end < 0.0):
                # Places found are never more than those that have been read.
                found[kept] = _root(derived, slopes, first, left, right, value < 0.0)
                kept += 1
            left, value = right, end
        count = kept
    return count


@kernel
def _folded(
    b: Baskets, t: Turned, c: int, z: Floats, greeks: bool, work: Floats, sums: Floats
) -> None:
    """Add the values of a weighted basket with several boundaries, as `_weighted`."""
    n = b.S.shape[1]
    groups = z.shape[1] // WIDTH
    side, cash, asset = t.side[c], t.cash[c], b.asset[c]
    terms, slopes = np.empty(n + 1), np.empty(n + 1)
    derived, found = np.empty(n + 1), np.empty(n + 2)
    for group in range(groups):
        _grow(b, t, c, z, group, work, sums)
        for lane in range(WIDTH):
            terms[0], slopes[0] = -cash, 0.0
            m = 1
            for i in range(n):
                load_i = b.sigma[c, i] * t.loads[c, i, 0]
                term = b.S[c, i] * work[i, lane] * elementary.exp(-0.5 * load_i * load_i)
                k = 0
                while k < m and slopes[k] < load_i - PARALLEL:
                    k += 1
                if k < m and abs(slopes[k] - load_i) <= PARALLEL:
                    terms[k] += term
                    continue
                for j in range(m, k, -1):
                    terms[j], slopes[j] = terms[j - 1], slopes[j - 1]
                terms[k], slopes[k] = term, load_i
                m += 1
            count = roots(terms[:m], slopes[:m], derived[:m], found)
            left = -FAR
            for k in range(count + 1):
                right = found[k] if k < count else FAR
                inside, _ = _total(terms[:m], slopes[:m], 0, 0.5 * (left + right))
                if side * inside > 0.0:
                    _between(b, t, c, left, right, greeks, lane, work, sums)
                left = right
            if greeks:
                load_g = b.sigma[c, asset] * t.loads[c, asset, 0]
                for k in range(count):
                    slope_at_root = 0.0
                    for i in range(n):
                        load_i = b.sigma[c, i] * t.loads[c, i, 0]
                        worth = b.S[c, i] * work[i, lane]
                        slope_at_root += load_i * worth * normal_pdf(load_i - found[k])
                    pull = work[asset, lane] * normal_pdf(load_g - found[k])
                    if slope_at_root != 0.0:
                        sums[2, lane] += pull * pull / abs(slope_at_root)


@kernel
def _between(
    b: Baskets,
    t: Turned,
    c: int,
    left: float,
    right: float,
    greeks: bool,
    lane: int,
    work: Floats,
    sums: Floats,
) -> None:
    """Add what a weighted basket pays while the first factor lies between two places."""
    n = b.S.shape[1]
    side, T = t.side[c], b.T[c]
    paid = side * t.cash[c] * (normal_cdf(right) - normal_cdf(left))
    sums[0, lane] -= paid
    if greeks:
        sums[4, lane] -= b.rate_now[c] * paid
        sums[5, lane] += T * paid
    for i in range(n):
        load_i = b.sigma[c, i] * t.loads[c, i, 0]
        worth = side * b.S[c, i] * work[i, lane]
        share = normal_cdf(right - load_i) - normal_cdf(left - load_i)
        sums[0, lane] += worth * share
        if greeks:
            densities = normal_pdf(load_i - left) - normal_pdf(load_i - right)
            vega = worth * (work[n + i, lane] * share + t.loads[c, i, 0] * densities)
            sums[4, lane] += b.q[c, i] * worth * share
            if T > 0.0:
                sums[4, lane] -= 0.5 * b.sigma[c, i] / T * vega
            if i == b.asset[c]:
                sums[1, lane] += side * work[i, lane] * share
                sums[3, lane] += vega
                sums[6, lane] -= T * worth * share


@kernel
def add_paths(
    b: Baskets,
    t: Turned,
    draws: Draws,
    going: Indices,
    first_randomisation: int,
    first_path: int,
    last_path: int,
    greeks: bool,
    sums: Floats,
) -> None:
    """Add paths to the sums of the options `going`, shape (a,), for each randomisation.

    Paths are from `first_path` up to `last_path`, in blocks of which both are multiples; `sums` has
    shape (R, a, 7 + m).
    """
    n = b.S.shape[1]
    block = min(PATHS, last_path - first_path)
    z = np.empty((max(n - 1, 1), block))
    rows = sums.shape[2]
    work, lanes = np.empty((3 * n, WIDTH)), np.empty((rows, WIDTH))
    dims = 0
    for c in going:
        dims = max(dims, t.dims[c])
    for randomisation in range(len(sums)):
        for path in range(first_path, last_path, block):
            normals(draws, first_randomisation + randomisation, path, 0, dims, z)
            for place in range(len(going)):
                c = going[place]
                lanes[:] = 0.0
                if b.choice[c] != 0:
                    _chosen(b, t, c, z, greeks, work, lanes)
                elif t.single[c]:
                    _weighted(b, t, c, z, greeks, work, lanes)
                else:
                    _folded(b, t, c, z, greeks, work, lanes)
                for row in range(rows):
                    total = 0.0
                    for lane in range(WIDTH):
                        total += lanes[row, lane]
                    sums[randomisation, place, row] += total


@kernel
def fit(means: Floats, out: Floats) -> None:
    """Regress values on controls, by least squares, and write the coefficients to `out`.

    `means`, shape (R, C, 7 + m), has both for each of R randomisations; `out` has shape (C, 7, m).
    Controls that others explain get 0. By Gram and Schmidt's orthogonalisation, modified.
    """
    count, cells, columns = means.shape
    values = len(ROWS)
    x, above = np.empty((columns, count)), np.zeros((columns, columns))
    for c in range(cells):
        for j in range(columns):
            mean = 0.0
            for r in range(count):
                mean += means[r, c, j]
            for r in range(count):
                x[j, r] = means[r, c, j] - mean / count
        for j in range(values, columns):
            size = np.sqrt(_product(x[j], x[j]))
            for i in range(values, j):
                above[i, j] = _product(x[i], x[j])
                for r in range(count):
                    x[j, r] -= above[i, j] * x[i, r]
            left = np.sqrt(_product(x[j], x[j]))
            above[j, j] = left if left > INDEPENDENT * size else 0.0
            for r in range(count):
                x[j, r] = x[j, r] / left if above[j, j] > 0.0 else 0.0
        for value in range(values):
            for j in range(columns - 1, values - 1, -1):
                rest = _product(x[j], x[value])
                for i in range(j + 1, columns):
                    rest -= above[j, i] * out[c, value, i - values]
                out[c, value, j - values] = rest / above[j, j] if above[j, j] > 0.0 else 0.0


@kernel
def _product(a: Floats, b: Floats) -> float:
    total = 0.0
    for r in range(len(a)):
        total += a[r] * b[r]
    return total


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int64 and int8."""
    code, place = np.zeros(1, np.int8), np.zeros(1, np.int64)
    one, square = np.ones(1), np.ones((1, 1, 1))
    factors_of(square, square.copy())
    each = square[0]
    b = Baskets(code, code, place, one, one, one, one, each, each, each, each, place, square)
    t = turn(b)
    rows = len(ROWS) + 1
    known(b, t, np.empty((rows, 1)))
    sums = np.zeros((2, 1, rows))
    add_paths(b, t, draws(0, True, 1), place, 0, 0, WIDTH, True, sums)
    fit(sums, np.empty((1, len(ROWS), 1)))
