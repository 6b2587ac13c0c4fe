"""What a solve leaves behind: extrapolated values with their error, and prices read off them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .black_scholes import EPSILON, european
from .elementary import exp, log
from .jit import kernel
from .mesh import Options, Problems

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

STENCIL = 6  # nodes of the interpolating polynomial
SAFETY = 0.6  # the error over the largest difference of extrapolations nearby
NEARBY = 12  # nearby is this part of the mesh, to either side
PECLET = 2.0  # drift times node spacing from which central differences may ring
DEVIATIONS = 1.0  # the coarsest node spacing that resolves a payoff, in standard deviations
ROUNDING = 1e-13  # payoffs summed up along different meshes differ by less
# First derivative at the first of six equally spaced nodes.
FORWARD_SLOPE = (-137.0 / 60.0, 5.0, -5.0, 10.0 / 3.0, -1.25, 0.2)


class Surfaces(NamedTuple):
    """The solutions of families at their E expiries, one slice each.

    Slice e is on a mesh of sizes[e] nodes from left[e] on, spacing[e] apart, and starts at
    ``values[starts[e]]``: node after node, each with u, its error and, where asked, its
    derivatives in a and b: `fields` numbers. `exercised` says that all below the mesh is,
    `boundary` is the exercise boundary, `first` the first node above it, and `square` the part of
    the time value there that is quadratic in the way from the boundary. Shapes (E,).
    """

    left: Floats
    spacing: Floats
    sizes: Indices
    fields: int
    starts: Indices
    values: Floats
    exercised: Codes
    boundary: Floats
    first: Indices
    square: Floats
    cut: float


@kernel
def _locate_boundary(
    surface: Floats, start: int, left: float, h: float, a: float, b: float
) -> tuple[float, float]:
    """Find the exercise boundary below node `start` from value and slope there.

    The time value grows from the boundary as c/2 z^2 + d z^3, c = 2 (a - b exp(x)) at it. Returns
    the boundary and the quadratic part at the node.
    """
    x = left + start * h
    gap = max(surface[start, 0] - max(1.0 - exp(x), 0.0), 0.0)
    slope = exp(x)
    for k in range(STENCIL):
        slope += FORWARD_SLOPE[k] * surface[start + k, 0] / h
    slope = max(slope, gap / h)
    way = 0.0
    c = 0.0
    for _ in range(3):
        c = max(2.0 * (a - b * exp(x - way)), 0.0)
        way = min(6.0 * gap / (slope + np.sqrt(slope * slope + 6.0 * c * gap)), h)
    return x - way, 0.5 * c * way * way


@kernel
def _errors(coarse: Floats, medium: Floats, first: int, surface: Floats, room: Floats) -> None:
    """Write the error of an extrapolated slice: its difference from the next coarser one, nearby.

    The coarser one is interpolated where it has no node. Below the boundary, beside it and at the
    ends of the mesh only common nodes count.
    """
    size = len(surface)
    for i in range(0, size, 2):
        room[i] = medium[i] + (medium[i] - coarse[i // 2]) / 3.0
    for i in range(1, size, 2):
        room[i] = surface[i, 0]
        if first + 5 <= i <= size - 6:
            room[i] = (
                150.0 * (room[i - 1] + room[i + 1])
                - 25.0 * (room[i - 3] + room[i + 3])
                + 3.0 * (room[i - 5] + room[i + 5])
            ) / 256.0
    for i in range(size):
        room[i] = abs(surface[i, 0] - room[i])
    reach = size // NEARBY
    for i in range(size):
        largest = 0.0
        for k in range(max(i - reach, 0), min(i + reach + 1, size)):
            largest = max(largest, room[k])
        surface[i, 1] = SAFETY * largest


@kernel
def extrapolate(
    level: int,
    chosen: Indices,
    options: Options,
    problems: Problems,
    row_offsets: Indices,
    coarse: Floats,
    medium: Floats,
    fine: Floats,
    values: Floats,
    boundary: Floats,
    first: Indices,
    square: Floats,
) -> Floats:
    """Combine three levels running, the last `level`, into one solution with its error.

    Parameters
    ----------
    level, chosen, options, problems
        `chosen` are the families solved; `row_offsets`, shape (len(chosen) + 1,), delimits their
        slices.
    coarse, medium, fine
        shapes (slices, nodes, 1 or 3), from `march`.
    values, boundary, first, square
        written: shape (slices, medium nodes, 2 or 4) and (slices,), as in `Surfaces`.

    Returns
    -------
    Each family's largest error inside its bounds, per unit of strike; infinite where the coarsest
    mesh is too coarse for the drift or the first expiry. Shape (len(chosen),).
    """
    size = medium.shape[1]
    worst = np.zeros(len(chosen))
    room = np.empty(size)
    for place in range(len(chosen)):
        f = chosen[place]
        h = problems.width[f] / (1 << (level - 1))
        left, a, b = problems.left[f], problems.a[f], problems.b[f]
        kink = problems.left_nodes[f] << (level - 1)
        shortest = options.expiries[options.expiry_offsets[f]]
        deviation = options.sigma[f] * np.sqrt(shortest)
        blind = 2.0 * h > DEVIATIONS * deviation
        if blind or abs(a - b - 0.5) * 2.0 * h > PECLET:
            worst[place] = np.inf
        lowest = max(int((problems.low[f] - left) / h) - 1, 0)
        highest = min(int((problems.high[f] - left) / h) + 2, size - 1)
        for row in range(row_offsets[place], row_offsets[place + 1]):
            for i in range(size):
                for k in range(fine.shape[2]):
                    m, n = medium[row, i, k], fine[row, 2 * i, k]
                    values[row, i, k if k == 0 else k + 1] = n + (n - m) / 3.0
            boundary[row], first[row], square[row] = -np.inf, 0, 0.0
            if options.american[f] != 0:
                for i in range(kink):
                    payoff = 1.0 - exp(left + i * h)
                    if medium[row, i, 0] <= payoff + ROUNDING:
                        # The medium mesh exercises here: nothing to extrapolate from.
                        for k in range(fine.shape[2]):
                            values[row, i, k if k == 0 else k + 1] = fine[row, 2 * i, k]
                    values[row, i, 0] = max(values[row, i, 0], payoff)
                    exercised = fine[row, 2 * i, 0] <= payoff + ROUNDING
                    if first[row] == i and (exercised or (i > 0 and values[row, i, 0] == payoff)):
                        first[row] = i + 1
                if first[row] > 0:
                    boundary[row], square[row] = _locate_boundary(
                        values[row], first[row], left, h, a, b
                    )
            _errors(coarse[row, :, 0], medium[row, :, 0], first[row], values[row], room)
            if blind:
                # Meshes that miss the kink agree with each other: count all that it is worth.
                values[row, :, 1] += deviation
            for i in range(lowest, highest + 1):
                # Per unit of strike at the node, or of spot for a call: the most it is nearby.
                scale = exp(-(left + (i - 1) * h)) if options.theta[f] > 0 else 1.0
                worst[place] = max(worst[place], scale * values[row, i, 1])
    return worst


@kernel
def _interpolate(surface: Floats, start: int, t: float, room: Floats, row: Floats) -> None:
    """Interpolate at node start + t by the polynomial through STENCIL nodes, in Newton's form.

    Writes to `row` u, its first and second derivative per node spacing, and the derivatives in a
    and b if `surface` has them. `room` has shape (STENCIL, 3).
    """
    fields = surface.shape[1] - 1
    for k in range(STENCIL):
        room[k, 0] = surface[start + k, 0]
        for m in range(1, fields):
            room[k, m] = surface[start + k, m + 1]
    row[:] = 0.0
    # The binomial coefficient (t over k) and its derivatives in t.
    c, d, e = 1.0, 0.0, 0.0
    for k in range(STENCIL):
        row[0] += c * room[0, 0]
        row[1] += d * room[0, 0]
        row[2] += e * room[0, 0]
        for m in range(1, fields):
            row[m + 2] += c * room[0, m]
        for i in range(STENCIL - 1 - k):
            for m in range(fields):
                room[i, m] = room[i + 1, m] - room[i, m]
        e = (e * (t - k) + 2.0 * d) / (k + 1)
        d = (d * (t - k) + c) / (k + 1)
        c = c * (t - k) / (k + 1)


@kernel
def _beside_boundary(
    surface: Floats,
    first: int,
    x: float,
    boundary: float,
    square: float,
    left: float,
    h: float,
    a: float,
    b: float,
    room: Floats,
    row: Floats,
) -> None:
    """Write to `row` what `_interpolate` would, between the boundary and the first node above it.

    u is its expansion at the boundary. There u_t and the derivatives in a and b start from 0: they
    are interpolated from it and the next three nodes, and u_xx follows from the equation.
    """
    fields = surface.shape[1] - 1
    mu = a - b - 0.5
    node = left + first * h
    way, z = node - boundary, x - boundary
    part = z / way
    cube = surface[first, 0] - max(1.0 - exp(node), 0.0) - square
    u = 1.0 - exp(x) + (square + cube * part) * part * part
    u_x = -exp(x) + (2.0 * square + 3.0 * cube * part) * part / way
    u_t = w_a = w_b = 0.0
    for k in range(3):
        weight = z / (way + k * h)
        for m in range(3):
            if m != k:
                weight *= (z - way - m * h) / ((k - m) * h)
        _interpolate(surface, first, float(k), room, row)
        u_t += weight * (0.5 * row[2] / (h * h) + mu * row[1] / h - a * row[0])
        if fields > 1:
            w_a += weight * row[3]
            w_b += weight * row[4]
    row[0], row[1], row[2] = u, u_x * h, 2.0 * (u_t - mu * u_x + a * u) * h * h
    row[3], row[4] = w_a, w_b


@kernel
def evaluate(
    options: Options,
    surfaces: Surfaces,
    cell_offsets: Indices,
    S: Floats,
    K: Floats,
    T: Floats,
    out: Floats,
) -> None:
    """Read prices, greeks and errors of cells off the solved families.

    `cell_offsets`, shape (F + 1,), delimits each family's cells, which are positive and expire
    when the family does; `out`, shape (8, n), is written in the order of `black_scholes.ROWS`.
    Vega follows from homogeneity: a price is unchanged when expiry is scaled by c and r, q and
    variance by 1/c.
    """
    row = np.empty(5)
    room = np.empty((STENCIL, 3))
    fields = surfaces.fields
    for f in range(len(options.theta)):
        theta, sigma, r, q = options.theta[f], options.sigma[f], options.r[f], options.q[f]
        american = options.american[f] != 0
        variance = sigma * sigma
        a, b = (q / variance, r / variance) if theta > 0 else (r / variance, q / variance)
        begin, end = options.expiry_offsets[f], options.expiry_offsets[f + 1]
        for i in range(cell_offsets[f], cell_offsets[f + 1]):
            unit, other = (S[i], K[i]) if theta > 0 else (K[i], S[i])
            x = log(other / unit)
            e = begin + np.searchsorted(options.expiries[begin:end], T[i])
            left, h, size = surfaces.left[e], surfaces.spacing[e], surfaces.sizes[e]
            place = (x - left) / h
            at = surfaces.starts[e]
            surface = surfaces.values[at : at + size * fields].reshape(size, fields)
            boundary, first = surfaces.boundary[e], surfaces.first[e]
            payoff = 1.0 - other / unit
            beyond = place < 0.0 or place > size - 1
            settled = place < 0.0 and surfaces.exercised[e] != 0
            exercised = american and (x <= boundary or settled)
            if beyond and not exercised:
                far = european(float(theta), S[i], K[i], T[i], r, q, sigma)
                if american and far[0] < payoff * unit:
                    exercised = True
                else:
                    for k in range(8):
                        out[k, i] = far[k]
                    out[7, i] += surfaces.cut * K[i]
                    continue
            near = min(max(int(place), 0), size - 2)
            error = max(surface[near, 1], surface[near + 1, 1])
            if exercised:
                out[:, i] = 0.0
                out[0, i] = theta * (S[i] - K[i])
                out[1, i] = theta
                out[7, i] = surfaces.cut * K[i] + 4.0 * EPSILON * (S[i] + K[i])
                if not beyond:
                    out[7, i] += unit * error
                continue
            if place < first:
                _beside_boundary(
                    surface, first, x, boundary, surfaces.square[e], left, h, a, b, room, row
                )
            else:
                low = min(max(int(place) - STENCIL // 2 + 1, first), size - STENCIL)
                _interpolate(surface, low, place - low, room, row)
            u, u_x, u_xx = row[0], row[1] / h, row[2] / (h * h)
            intrinsic = float(theta) * (S[i] - K[i])
            decay = -unit * variance * (0.5 * u_xx + (a - b - 0.5) * u_x - a * u)
            out[0, i] = max(unit * u, intrinsic if american else 0.0, 0.0)
            out[1, i] = u - u_x if theta > 0 else u_x * K[i] / S[i]
            out[2, i] = (u_xx - u_x) / S[i] * (1.0 if theta > 0 else K[i] / S[i])
            out[4, i] = decay
            out[7, i] = surfaces.cut * K[i] + unit * (error + 4.0 * EPSILON)
            if fields > 2:
                in_a, in_b = unit * row[3] / variance, unit * row[4] / variance
                rho, dividend_rho = (in_b, in_a) if theta > 0 else (in_a, in_b)
                out[3, i] = -2.0 * (T[i] * decay + r * rho + q * dividend_rho) / sigma
                out[5, i] = rho
                out[6, i] = dividend_rho
