"""What happens on a date, on one lane's column of nodes: payoffs, dividends, exercise, barriers.

Kinks and jumps fall between nodes. Summed with a smooth kernel, values on nodes are as good as an
integral up to even powers of the spacing only if those beside a kink are averaged: over the hat
function whose foot is two spacings wide. A jump on a node counts half there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .claims import (
    KNOCKS_IN,
    KNOCKS_OUT,
    Contracts,
    is_bent,
    is_never_negative,
    payoff,
    rebate,
)
from .elementary import exp, log
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Floats

STENCIL = 6  # nodes of the polynomial that reads a column between nodes
# One over the product of each node's ways to the others.
SCALES = (-1.0 / 120.0, 1.0 / 24.0, -1.0 / 12.0, 1.0 / 12.0, -1.0 / 24.0, 1.0 / 120.0)
# First derivative at the first of five equally spaced nodes.
FORWARD_SLOPE = (-25.0 / 12.0, 4.0, -3.0, 4.0 / 3.0, -0.25)


@kernel
def blur(
    column: Floats, place: float, h: float, inwards: float, jump: float, slope: float, bend: float
) -> None:
    """Average, beside a kink at node `place`, what is 0 outwards and a polynomial inwards of it.

    In the way y from the kink, `inwards` (+1 or -1), that is jump + slope y + bend y^2/2. The
    nodes hold its values; one at the kink itself counts as outside.
    """
    near = int(np.floor(place))
    for i in range(max(near, 1), min(near + 2, len(column) - 1)):
        e = 1.0 - abs(i - place)
        side = -1.0 if inwards * (i - place) > 0.0 else 1.0
        even = 0.5 * jump * e * e + bend * h * h * e * e * (e * e - 1.0) / 24.0
        column[i] += side * even + slope * h * e * e * e / 6.0


@kernel
def begin(contracts: Contracts, f: int, left: float, h: float, spots: Floats, u: Floats) -> None:
    """Write the payoff of family f at its nodes, averaged beside its kink."""
    u[:] = 0.0
    if not is_bent(contracts, f):
        for i in range(len(u)):
            u[i] = payoff(contracts, f, spots[i])
        return
    theta, alpha, beta = contracts.theta[f], contracts.alpha[f], contracts.beta[f]
    kink = contracts.kink[f]
    place = (log(kink) - left) / h
    for i in range(len(u)):
        if theta * (i - place) > 0.0:
            u[i] = alpha * spots[i] + beta
    blur(u, place, h, float(theta), alpha * kink + beta, theta * alpha * kink, alpha * kink)


@kernel
def read(column: Floats, first: int, last: int, place: float) -> float:
    """Interpolate at `place` by the polynomial through six nodes of those from `first` to `last`.

    Where the four nodes around are monotone the result lies between the two next to it.
    """
    low = min(max(int(np.floor(place)) - STENCIL // 2 + 1, first), last + 1 - STENCIL)
    at = place - low
    # Lagrange's weights: for each node the product of the ways to those before and after it.
    before, total = 1.0, 0.0
    for k in range(STENCIL):
        after = SCALES[k]
        for m in range(k + 1, STENCIL):
            after *= at - m
        total += before * after * column[low + k]
        before *= at - k
    i = min(max(int(np.floor(place)), first), last - 1)
    if first < i < last - 1:
        a, b, c, d = column[i - 1], column[i], column[i + 1], column[i + 2]
        if a <= b <= c <= d or a >= b >= c >= d:
            return float(min(max(total, min(b, c)), max(b, c)))
    return total


@kernel
def _slope(column: Floats, i: int, way: int, h: float) -> float:
    """Return the one-sided derivative at node i, from it and the next ones in direction `way`."""
    total = 0.0
    for k in range(len(FORWARD_SLOPE)):
        total += FORWARD_SLOPE[k] * column[i + way * k]
    return total * way / h


@kernel
def dividend(
    contracts: Contracts,
    f: int,
    cash: float,
    proportional: float,
    left: float,
    h: float,
    row: int,
    ends: Floats,
    spots: Floats,
    activated: Floats,
    u: Floats,
    room: Floats,
) -> None:
    """Drop the spot: write to `u` what it is worth just before, V(max(s - cash, 0) (1 - p)).

    `row` is the node of a lower barrier watched continuously: below it a knock-out is worth its
    end value, a knock-in as much as `activated`, which holds what that was before the dividend.
    It is -1 without one. `ends` are A and B of the value A + B s left of the mesh.
    """
    n = len(u) - 1
    room[:] = u
    kept = 1.0 - proportional
    for i in range(n + 1):
        s = max(spots[i] - cash, 0.0) * kept
        if row >= 0 and s <= spots[row]:
            if contracts.knock[f] == KNOCKS_OUT:
                u[i] = room[0]
            elif s <= spots[0]:
                u[i] = activated[0]
            else:
                u[i] = read(activated, 0, n, (log(s) - left) / h)
        elif s <= spots[0]:
            u[i] = ends[0] + ends[1] * s
        else:
            u[i] = read(room, max(row, 0), n, (log(s) - left) / h)
        if is_never_negative(contracts, f):
            u[i] = max(u[i], 0.0)
    if row >= 0:
        bottom = spots[row]
        s = bottom / kept + cash
        slope = _slope(room, row, 1, h)
        if contracts.knock[f] == KNOCKS_IN:
            slope -= _slope(activated, row, 1, h)
        blur(u, (log(s) - left) / h, h, 1.0, 0.0, slope * s * kept / bottom, 0.0)
    elif cash > spots[0]:
        blur(u, (log(cash) - left) / h, h, 1.0, 0.0, ends[1] * cash * kept, 0.0)


@kernel
def _crossing(gaps: Floats, i: int) -> tuple[float, float, float]:
    """Find where the cubic through gaps[i - 2] to gaps[i + 1] is 0 between its middle nodes.

    Returns the place, counted from node i - 1, and the first two derivatives per node there.
    """
    a, b, c, d = gaps[i - 2], gaps[i - 1], gaps[i], gaps[i + 1]
    square = 0.5 * (a - 2.0 * b + c)
    cube = (d - 3.0 * c + 3.0 * b - a) / 6.0
    slope = 0.5 * (c - a) - cube
    place = b / (b - c)
    for _ in range(3):
        rise = slope + (2.0 * square + 3.0 * cube * place) * place
        if rise * (c - b) <= 0.0:
            return b / (b - c), c - b, 0.0
        place -= (b + (slope + (square + cube * place) * place) * place) / rise
        place = min(max(place, 0.0), 1.0)
    rise = slope + (2.0 * square + 3.0 * cube * place) * place
    return place, rise, 2.0 * square + 6.0 * cube * place


@kernel
def exercise(alpha: float, level: float, h: float, spots: Floats, u: Floats, gaps: Floats) -> None:
    """Let the holder exercise into alpha s + level: the larger of the two at each node.

    Where the two cross between nodes those beside are averaged. `gaps` is overwritten.
    """
    n = len(u) - 1
    for i in range(n + 1):
        gaps[i] = u[i] - (alpha * spots[i] + level)
        if gaps[i] < 0.0:
            u[i] -= gaps[i]
    for i in range(2, n):
        if (gaps[i] < 0.0) != (gaps[i - 1] < 0.0):
            # What is cut off grows from 0 at the crossing.
            place, slope, bend = _crossing(gaps, i)
            inwards = 1.0 if gaps[i] < 0.0 else -1.0
            blur(u, i - 1 + place, h, inwards, 0.0, abs(slope) / h, -bend / (h * h))


@kernel
def watch(
    contracts: Contracts,
    f: int,
    lower_row: int,
    upper_row: int,
    alpha: float,
    level: float,
    discount: float,
    shares: float,
    debt: float,
    spots: Floats,
    activated: Floats,
    u: Floats,
) -> None:
    """Look where the spot is: knocked out, `u` is the rebate, knocked in it is `activated`.

    A node on the barrier lies on both sides, half and half.
    """
    n = len(u) - 1
    for i in range(n + 1):
        if lower_row < i and (upper_row < 0 or i < upper_row):
            continue
        is_lower = i <= lower_row
        if contracts.knock[f] == KNOCKS_IN:
            knocked = activated[i]
        else:
            amount = contracts.lower_rebate[f] if is_lower else contracts.upper_rebate[f]
            knocked = rebate(contracts.timing[f], amount, spots[i], discount, shares, debt)
            if contracts.american[f] != 0:
                # Who sees it coming exercises just before.
                knocked = max(knocked, alpha * spots[i] + level)
        half = i in (lower_row, upper_row)
        u[i] = 0.5 * (u[i] + knocked) if half else knocked


@kernel
def fit_ends(spots: Floats, u: Floats, ends: Floats) -> None:
    """Write A and B of A + B s through the first two nodes, and through the last two."""
    n = len(u) - 1
    ends[1] = (u[1] - u[0]) / (spots[1] - spots[0])
    ends[0] = u[0] - ends[1] * spots[0]
    ends[3] = (u[n] - u[n - 1]) / (spots[n] - spots[n - 1])
    ends[2] = u[n] - ends[3] * spots[n]


@kernel
def fill_spots(left: float, h: float, spots: Floats) -> None:
    """Write spot over unit at the nodes."""
    for i in range(len(spots)):
        spots[i] = exp(left + i * h)
