"""Weighted baskets bounded by several places, as holdings of either sign move together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import elementary
from .conditional import FAR, MOST_STEPS, PARALLEL, grow
from .elementary import normal_cdf, normal_pdf
from .jit import kernel
from .lanes import WIDTH

if TYPE_CHECKING:
    from .baskets import Baskets, Turned
    from .jit import Floats

CLOSE = 1e-9  # a last step of Newton's: the next would be far less


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
def folded(
    b: Baskets, t: Turned, c: int, z: Floats, greeks: bool, work: Floats, sums: Floats
) -> None:
    """Add the values of a weighted basket with several boundaries, as `weighted`."""
    n = b.S.shape[1]
    groups = z.shape[1] // WIDTH
    side, cash, asset = t.side[c], t.cash[c], b.asset[c]
    terms, slopes = np.empty(n + 1), np.empty(n + 1)
    derived, found = np.empty(n + 1), np.empty(n + 2)
    for group in range(groups):
        grow(b, t, c, z, group, work, sums)
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
