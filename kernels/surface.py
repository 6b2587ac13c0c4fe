"""What a solve leaves behind: extrapolated values with their error, and prices read off them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .black_scholes import EPSILON, european
from .elementary import exp, log
from .interpolation import interpolate
from .jit import kernel
from .mesh import Options, Problems

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .jit import Codes, Floats, Indices

TOP_LEVEL = 8  # 6145 nodes, 1024 steps
STENCIL = 6  # nodes of the interpolating polynomial
# The error over the largest difference of extrapolations nearby. A European option's have no
# boundary whose place between nodes matters, and converge faster.
SAFETY = 0.5
EUROPEAN_SAFETY = 0.2
NEARBY = 24  # nearby is this part of the mesh, to either side
PECLET = 2.0  # drift times node spacing from which central differences may ring
DEVIATIONS = 1.0  # the coarsest node spacing that resolves a payoff, in standard deviations
ROUNDING = 1e-13  # payoffs summed up along different meshes differ by less
# First derivative at the first of six equally spaced nodes.
FORWARD_SLOPE = (-137.0 / 60.0, 5.0, -5.0, 10.0 / 3.0, -1.25, 0.2)


class Surfaces(NamedTuple):
    """The solutions of families at their E expiries, one slice each.

    Slice e is on a mesh of sizes[e] nodes from left[e] on, spacing[e] apart, as far as the family's
    bounds ask for it. It starts at ``values[starts[e]]``: node after node, each with u, its error
    and, where asked, its derivatives in a and b: `fields` numbers. `exercised` says that all below
    the mesh is, `boundary` is the exercise boundary, `first` the first node above it, and `square`
    the part of the time value there that is quadratic in the way from the boundary. Shapes (E,).
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
def _differences(
    coarse: Floats,
    medium: Floats,
    start: int,
    stop: int,
    lowest: int,
    highest: int,
    surface: Floats,
    room: Floats,
) -> None:
    """Write to `room`, from `start` to `stop`, how an extrapolation differs from the coarser one.

    The coarser one is interpolated where it has no node. Outside `lowest` to `highest`, and less
    than five nodes inside, only common nodes count.
    """
    for i in range(max(start - 5, 0) // 2 * 2, min(stop + 5, highest) + 1, 2):
        room[i] = medium[i] + (medium[i] - coarse[i // 2]) / 3.0
    for i in range(start // 2 * 2 + 1, stop + 1, 2):
        room[i] = surface[i, 0]
        if lowest + 5 <= i <= highest - 5:
            room[i] = (
                150.0 * (room[i - 1] + room[i + 1])
                - 25.0 * (room[i - 3] + room[i + 3])
                + 3.0 * (room[i - 5] + room[i + 5])
            ) / 256.0
    for i in range(start, stop + 1):
        room[i] = abs(surface[i, 0] - room[i])


@kernel
def _extrapolate_slice(
    base: int, top: int, kink: int, american: bool, x: float, h: float, medium: Floats,
    fine: Floats, surface: Floats,
) -> int:  # fmt: skip
    """Write nodes `base` to `top` of the extrapolation of two slices; `x` is ln(S/K) at `base`.

    Returns the first node above the exercise boundary, `base` if there is none from there on.
    """
    first = base
    asset, up = exp(x), exp(h)
    for i in range(base, top + 1):
        for k in range(fine.shape[1]):
            m, n = medium[i, k], fine[2 * i, k]
            surface[i, k if k == 0 else k + 1] = n + (n - m) / 3.0
        if american and i < kink:
            payoff = 1.0 - asset
            if medium[i, 0] <= payoff + ROUNDING:
                # The medium mesh exercises here: nothing to extrapolate from.
                for k in range(fine.shape[1]):
                    surface[i, k if k == 0 else k + 1] = fine[2 * i, k]
            surface[i, 0] = max(surface[i, 0], payoff)
            exercised = fine[2 * i, 0] <= payoff + ROUNDING
            if first == i and (exercised or (i > base and surface[i, 0] == payoff)):
                first = i + 1
            asset *= up
    return first


@kernel
def extrapolate(
    level: int,
    tolerance: float,
    chosen: Indices,
    options: Options,
    problems: Problems,
    row_offsets: Indices,
    coarse: Floats,
    medium: Floats,
    fine: Floats,
    surfaces: Surfaces,
    values: Floats,
    done: NDArray[np.bool_],
) -> int:
    """Combine three levels running, the last `level`, into one solution with its error.

    Only what the family's bounds can ask for is looked at, and kept.

    Parameters
    ----------
    level, tolerance, chosen, options, problems
        `chosen` are the families solved; `row_offsets`, shape (len(chosen) + 1,), delimits their
        slices. A family is done when its error inside its bounds, per unit of strike, is at most
        `tolerance`; it is not where the coarsest mesh is too coarse for the drift or the first
        expiry.
    coarse, medium, fine
        shapes (slices, nodes, 1 or 3), from `march`.
    surfaces
        written where a family is done, but for `values`, with starts as in the next.
    values
        written: the slices of the families done, one after the other.
    done
        written, shape (len(chosen),).

    Returns
    -------
    How many numbers of `values` are taken.
    """
    size = medium.shape[1]
    reach = size // NEARBY
    room = np.empty(size)
    surface = np.empty((size, surfaces.fields))
    taken = 0
    for place in range(len(chosen)):
        f = chosen[place]
        h = problems.width[f] / (1 << (level - 1))
        left, a, b = problems.left[f], problems.a[f], problems.b[f]
        kink = problems.left_nodes[f] << (level - 1)
        american = options.american[f] != 0
        safety = SAFETY if american else EUROPEAN_SAFETY
        begun = options.expiry_offsets[f]
        deviation = options.sigma[f] * np.sqrt(options.expiries[begun])
        blind = 2.0 * h > DEVIATIONS * deviation
        worst = np.inf if blind or abs(a - b - 0.5) * 2.0 * h > PECLET else 0.0
        if worst > tolerance and level < TOP_LEVEL:
            done[place] = False
            continue
        lowest = min(max(int((problems.low[f] - left) / h) - 1, 0), size - 1)
        highest = min(max(int((problems.high[f] - left) / h) + 2, 0), size - 1)
        start, stop = max(lowest - reach, 0), min(highest + reach, size - 1)
        base, top = max(start - STENCIL, 0), min(stop + STENCIL, size - 1)
        before = taken
        for row in range(row_offsets[place], row_offsets[place + 1]):
            e = begun + row - row_offsets[place]
            first = _extrapolate_slice(
                base, top, kink, american, left + base * h, h, medium[row], fine[row], surface
            )
            end = top
            boundary, square = -np.inf, 0.0
            if first > top:
                boundary = left + top * h
            elif first > base or (american and base == 0 and first > 0):
                end = min(max(top, first + 2 * STENCIL), size - 1)
                _extrapolate_slice(
                    top, end, kink, american, left + top * h, h, medium[row], fine[row], surface
                )
                boundary, square = _locate_boundary(surface, first, left, h, a, b)
            _differences(
                coarse[row, :, 0], medium[row, :, 0], start, stop, min(first, top),
                size - 1, surface, room,
            )  # fmt: skip
            # Per unit of strike at the node, or of spot for a call: the most it is nearby.
            scale = exp(-(left + (lowest - 1) * h)) if options.theta[f] > 0 else 1.0
            down = exp(-h) if options.theta[f] > 0 else 1.0
            for i in range(base, end + 1):
                surface[i, 1] = 0.0
            for i in range(lowest, highest + 1):
                largest = 0.0
                for k in range(max(i - reach, start), min(i + reach, stop) + 1):
                    largest = max(largest, room[k])
                # Meshes that miss the kink agree with each other: count all that it is worth.
                surface[i, 1] = safety * largest + (deviation if blind else 0.0)
                worst = max(worst, scale * surface[i, 1])
                scale *= down
            surfaces.left[e], surfaces.spacing[e] = left + base * h, h
            surfaces.sizes[e], surfaces.starts[e] = end + 1 - base, taken
            surfaces.exercised[e] = problems.exercised[f]
            surfaces.boundary[e], surfaces.square[e] = boundary, square
            surfaces.first[e] = first - base
            for i in range(base, end + 1):
                for k in range(surfaces.fields):
                    values[taken] = surface[i, k]
                    taken += 1
        done[place] = worst <= tolerance or level == TOP_LEVEL
        if not done[place]:
            taken = before
    return taken


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
    """Write to `row` what `interpolate` would, between the boundary and the first node above it.

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
        interpolate(surface, first, STENCIL, float(k), room, row)
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
                interpolate(surface, low, STENCIL, place - low, room, row)
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
