"""What a march leaves behind: extrapolated values with their error, and prices read off them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .black_scholes import EPSILON
from .claims import (
    ASSET_AT_EXPIRY,
    ASSET_AT_HIT,
    CASH_AT_EXPIRY,
    KNOCKS_IN,
    KNOCKS_OUT,
    Contracts,
    is_never_negative,
)
from .elementary import exp, log
from .interpolation import interpolate
from .jit import kernel
from .layout import DEVIATIONS, Mesh

if TYPE_CHECKING:
    from .jit import Floats, Indices

STENCIL = 6  # nodes of the interpolating polynomial
# The error over the largest difference of extrapolations nearby, as measured on random contracts.
DROPS_SAFETY = 0.115  # with dividends that move the spot, which bring steps, and no exercise
DATES_SAFETY = 0.18  # with exercise on dates only, or a knock-out
SMOOTH_SAFETY = 0.22
DROPS_OUT_SAFETY = 0.3  # with dividends and a knock-out
ROUGH_SAFETY = 0.5  # with exercise at all times, or a knock-in
SKEWED_SAFETY = 0.75  # with a kink between nodes, or with dividends and exercise at all times
BARRIER_SAFETY = 1.0  # with exercise at all times beside a barrier that is not an end of the mesh
SKEWED_EXERCISE_SAFETY = 3.0  # with exercise at all times and a kink between nodes
NEARBY = 24  # nearby is about this part of the mesh, to either side
ROUNDING = 1e-13  # payoffs summed up along different meshes differ by less

AT_BARRIER = 1e-9  # of the spacing


class Surfaces(NamedTuple):
    """The solutions of families now, one slice for each of their E expiries.

    Slice e is on a mesh of sizes[e] nodes from ln s = left[e] on, spacing[e] apart, and starts at
    ``values[starts[e]]``: node after node, each with the value, its error and, where asked, its
    derivatives in sigma, r and q: `fields` numbers. `lower_row` and `upper_row` are the barriers
    of a knock-in watched continuously, -1 without. Shapes (E,).
    """

    left: Floats
    spacing: Floats
    sizes: Indices
    lower_row: Indices
    upper_row: Indices
    fields: int
    starts: Indices
    values: Floats
    cut: float


@kernel
def _exercise_level(contracts: Contracts, f: int) -> tuple[float, float, float]:
    """Return what escrowed dividends are worth now, its derivative in r, and beta + alpha of it."""
    total = change = 0.0
    if contracts.escrowed[f] != 0:
        for e in range(contracts.event_offsets[f], contracts.event_offsets[f + 1]):
            time = contracts.event_times[e]
            worth = contracts.event_cash[e] * exp(-_integral(contracts, f, contracts.r, time))
            total += worth
            change -= time * worth
    return total, change, contracts.beta[f] + contracts.alpha[f] * total


@kernel
def _integral(contracts: Contracts, f: int, values: Floats, time: float) -> float:
    """Integrate a coefficient from now to `time`."""
    total = begin = 0.0
    for g in range(contracts.segment_offsets[f], contracts.segment_offsets[f + 1]):
        end = min(contracts.segment_ends[g], time)
        total += values[g] * max(end - begin, 0.0)
        begin = max(end, begin)
    return total


@kernel
def _exercises_between(contracts: Contracts, f: int) -> bool:
    """Return whether family f's holder may gain by exercise between dates: by interest or yield."""
    if contracts.american[f] == 0:
        return False
    alpha, beta = contracts.alpha[f], contracts.beta[f]
    for g in range(contracts.segment_offsets[f], contracts.segment_offsets[f + 1]):
        if contracts.q[g] * alpha > 0.0 or contracts.r[g] * beta > 0.0:
            return True
    return bool(contracts.knock[f] != 0)


@kernel
def _safety(contracts: Contracts, mesh: Mesh, f: int) -> float:
    """Return the factor of family f's error."""
    drops = dated = False
    expiry = contracts.expiries[contracts.expiry_offsets[f + 1] - 1]
    skewed = mesh.skewed[f] != 0
    for e in range(contracts.event_offsets[f], contracts.event_offsets[f + 1]):
        pays = contracts.event_cash[e] != 0.0 or contracts.event_proportional[e] != 0.0
        drops = drops or pays
        # The holder exercises just before a dividend, if not at other times.
        dated = dated or contracts.event_exercise[e] != 0 or (pays and contracts.american[f] != 0)
        # A dividend at expiry moves the payoff's kink off its node.
        skewed = skewed or (pays and contracts.event_times[e] == expiry)
    if _exercises_between(contracts, f):
        if skewed:
            return SKEWED_EXERCISE_SAFETY
        if mesh.lower_row[f] >= 0 or mesh.upper_row[f] >= 0:
            return BARRIER_SAFETY
        return SKEWED_SAFETY if drops else ROUGH_SAFETY
    if skewed:
        return SKEWED_SAFETY
    if contracts.knock[f] == KNOCKS_IN:
        return ROUGH_SAFETY
    if contracts.knock[f] == KNOCKS_OUT:
        return DROPS_OUT_SAFETY if drops else DATES_SAFETY
    if dated:
        return DATES_SAFETY
    return DROPS_SAFETY if drops and contracts.escrowed[f] == 0 else SMOOTH_SAFETY


@kernel
def extrapolate(
    level: int,
    chosen: Indices,
    contracts: Contracts,
    mesh: Mesh,
    coarse: Floats,
    medium: Floats,
    fine: Floats,
    values: Floats,
) -> Floats:
    """Combine three levels running, the last `level`, into one solution with its error.

    `mesh` is at level 0. `coarse`, `medium` and `fine`, shapes (len(chosen), expiries, nodes), are
    from `march`; value and error of the medium mesh's nodes are written to the first two fields
    of `values`, shape (len(chosen), expiries, nodes, fields). Returns each family's largest
    error inside its bounds, per unit; infinite where the coarsest mesh is too coarse for the
    shortest time between dates. Shape (len(chosen),).
    """
    size = medium.shape[2]
    worst = np.zeros(len(chosen))
    reach = max((size - 1) // NEARBY, 2)
    blocks = (size - 1) // reach + 1
    largest = np.empty(blocks)
    for place in range(len(chosen)):
        f = chosen[place]
        h = mesh.width[f] / (1 << (level - 1))
        left = mesh.left[f]
        escrow, _, base = _exercise_level(contracts, f)
        blind = mesh.coarse[f] > 0.0 and 2.0 * h > 1.01 * DEVIATIONS * mesh.coarse[f]
        blind = blind or mesh.coarse[f] == np.inf
        low = log(max(contracts.low[f] - escrow, 1e-300))
        high = log(max(contracts.high[f] - escrow, 1e-300))
        lowest = min(max(int((low - left) / h) - 1, 0), size - 1)
        highest = min(max(int((high - left) / h) + 2, lowest), size - 1)
        american = contracts.american[f] != 0 and contracts.knock[f] != KNOCKS_IN
        safety = _safety(contracts, mesh, f)
        for row in range(medium.shape[1]):
            largest[:] = 0.0
            for i in range(size):
                m, n = medium[place, row, i], fine[place, row, 2 * i]
                best = n + (n - m) / 3.0
                if american:
                    goal = contracts.alpha[f] * exp(left + i * h) + base
                    if min(m, n) <= goal + ROUNDING:
                        best = goal if n <= goal + ROUNDING else n
                    best = max(best, goal)
                values[place, row, i, 0] = best
                if i % 2 == 0:
                    c = coarse[place, row, i // 2]
                    gap = abs(best - m - (m - c) / 3.0)
                    largest[i // reach] = max(largest[i // reach], gap)
            for i in range(size):
                b = i // reach
                gap = max(largest[b], largest[max(b - 1, 0)], largest[min(b + 1, blocks - 1)])
                values[place, row, i, 1] = safety * gap + (mesh.coarse[f] if blind else 0.0)
            for i in range(lowest, highest + 1):
                worst[place] = max(worst[place], values[place, row, i, 1])
        if blind:
            worst[place] = np.inf
    return worst


@kernel
def differentiate(medium: Floats, fine: Floats, steps: Floats, values: Floats) -> None:
    """Write derivatives in sigma, r and q to the last three fields of `values`.

    `medium` and `fine`, shapes (6 families, expiries, nodes), are families with sigma, r and q
    shifted up and down, in this order; `steps`, shape (families, 3), by how much.
    """
    for place in range(values.shape[0]):
        for row in range(values.shape[1]):
            for i in range(values.shape[2]):
                for k in range(3):
                    up, down = 6 * place + 2 * k, 6 * place + 2 * k + 1
                    m = medium[up, row, i] - medium[down, row, i]
                    n = fine[up, row, 2 * i] - fine[down, row, 2 * i]
                    change = n + (n - m) / 3.0
                    values[place, row, i, 2 + k] = change / (2.0 * steps[place, k])


@kernel
def _breached(
    contracts: Contracts, f: int, amount: float, S: float, unit: float, T: float, column: Floats
) -> None:
    """Write what a knock-out is worth that its barrier has ended already."""
    timing = contracts.timing[f]
    column[:] = 0.0
    first = contracts.segment_offsets[f]
    if timing == CASH_AT_EXPIRY:
        price = unit * amount * exp(-_integral(contracts, f, contracts.r, T))
        column[0], column[4], column[5] = price, contracts.r[first] * price, -T * price
    elif timing in (ASSET_AT_HIT, ASSET_AT_EXPIRY):
        shares = amount
        if timing == ASSET_AT_EXPIRY:
            shares *= exp(-_integral(contracts, f, contracts.q, T))
            for e in range(contracts.event_offsets[f], contracts.event_offsets[f + 1]):
                shares *= 1.0 - contracts.event_proportional[e]
            column[4] = contracts.q[first] * shares * S
            column[6] = -T * shares * S
        column[0], column[1] = shares * S, shares
    else:
        column[0] = unit * amount
    column[7] = 4.0 * EPSILON * abs(column[0])


@kernel
def evaluate(
    contracts: Contracts,
    surfaces: Surfaces,
    cell_offsets: Indices,
    S: Floats,
    unit: Floats,
    T: Floats,
    out: Floats,
) -> None:
    """Read prices, greeks and errors of cells off the solved families.

    `cell_offsets`, shape (F + 1,), delimits each family's cells, whose expiries are among the
    family's; `out`, shape (8, n), is written in the order of `black_scholes.ROWS`.
    """
    row, column = np.empty(6), np.empty(8)
    room = np.empty((STENCIL, 4))
    fields = surfaces.fields
    for f in range(len(contracts.theta)):
        at_first = contracts.segment_offsets[f]
        r, q, sigma = contracts.r[at_first], contracts.q[at_first], contracts.sigma[at_first]
        alpha = contracts.alpha[f]
        escrow, escrow_r, level = _exercise_level(contracts, f)
        begin, end = contracts.expiry_offsets[f], contracts.expiry_offsets[f + 1]
        american = contracts.american[f] != 0
        ends = contracts.knock[f] == KNOCKS_OUT and contracts.continuous[f] != 0
        for i in range(cell_offsets[f], cell_offsets[f + 1]):
            s = S[i] / unit[i] - escrow
            if ends and not contracts.lower[f] < s < contracts.upper[f]:
                is_lower = s <= contracts.lower[f]
                amount = contracts.lower_rebate[f] if is_lower else contracts.upper_rebate[f]
                _breached(contracts, f, amount, S[i], unit[i], T[i], column)
                out[:, i] = column
                continue
            e = begin + np.searchsorted(contracts.expiries[begin:end], T[i])
            e = min(e, end - 1)
            left, h, size = surfaces.left[e], surfaces.spacing[e], surfaces.sizes[e]
            at = surfaces.starts[e]
            surface = surfaces.values[at : at + size * fields].reshape(size, fields)
            place = min(max((log(s) - left) / h, 0.0), size - 1.0) if s > 0.0 else 0.0
            near = min(int(place), size - 2)
            first, last = 0, size - 1
            lower, upper = surfaces.lower_row[e], surfaces.upper_row[e]
            knocked = False
            # A spot at the barrier is knocked in, whatever the logarithm rounds to.
            if place <= lower + AT_BARRIER:
                last, knocked = lower, True
            elif 0 <= upper <= place + AT_BARRIER:
                first, knocked = upper, True
            else:
                first = max(first, lower)
                last = upper if upper >= 0 else last
            near = min(max(near, first), last - 1)
            error = unit[i] * (max(surface[near, 1], surface[near + 1, 1]) + surfaces.cut)
            exercised = False
            if american and (contracts.knock[f] != KNOCKS_IN or knocked):
                first, last = _smooth_run(surface, left, h, alpha, level, near, first, last)
                exercised = last < first
            if exercised:
                out[:, i] = 0.0
                out[0, i] = alpha * S[i] + unit[i] * contracts.beta[f]
                out[1, i] = alpha
                out[7, i] = error + 4.0 * EPSILON * (S[i] + unit[i])
                continue
            nodes = min(STENCIL, last - first + 1)
            low = min(max(near - STENCIL // 2 + 1, first), last + 1 - nodes)
            interpolate(surface, low, nodes, place - low, room, row)
            u, u_x, u_xx = row[0], row[1] / h, row[2] / (h * h)
            if american and contracts.knock[f] != KNOCKS_IN:
                u = max(u, alpha * s + level)
            if is_never_negative(contracts, f):
                u = max(u, 0.0)
            out[0, i] = unit[i] * u
            out[1, i] = u_x / s
            out[2, i] = (u_xx - u_x) / (s * s * unit[i])
            decay = r * u - (r - q) * u_x - 0.5 * sigma * sigma * (u_xx - u_x)
            out[4, i] = unit[i] * (decay - r * escrow * u_x / s)
            out[7, i] = error + 4.0 * EPSILON * unit[i] * (1.0 + s)
            if fields > 2:
                out[3, i] = unit[i] * row[3]
                out[5, i] = unit[i] * (row[4] - escrow_r * u_x / s)
                out[6, i] = unit[i] * row[5]


@kernel
def _smooth_run(
    surface: Floats, left: float, h: float, alpha: float, level: float, near: int, first: int,
    last: int,
) -> tuple[int, int]:  # fmt: skip
    """Narrow nodes first to last to those around `near` and the next that are not exercised.

    Returns an empty range where these two are exercised.
    """
    low, high = max(near - STENCIL, first), min(near + 1 + STENCIL, last)
    exercised = np.empty(high - low + 1, np.bool_)
    for i in range(low, high + 1):
        exercised[i - low] = surface[i, 0] <= alpha * exp(left + i * h) + level + ROUNDING
    if exercised[near - low] and exercised[near + 1 - low]:
        return 1, 0
    begin = near + 1 if exercised[near - low] else near
    end = near if exercised[near + 1 - low] else near + 1
    while begin > low and not exercised[begin - 1 - low]:
        begin -= 1
    while end < high and not exercised[end + 1 - low]:
        end += 1
    return begin, end
