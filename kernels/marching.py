"""The march in variance time, `WIDTH` families abreast: TR-BDF2 with a moving exercise boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .elementary import exp
from .jit import kernel
from .lanes import WIDTH, Lane, broadcast, choose, load, store
from .mesh import BASE_NODES, Problems

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

NEWTON_STEPS = 3  # for the first node above the exercise boundary
NO_OBSTACLE = -1e300

ALPHA = 2.0 - np.sqrt(2.0)  # TR-BDF2 with one matrix for both stages
THETA = 0.5 * ALPHA
BDF_1 = 1.0 / (ALPHA * (2.0 - ALPHA))
BDF_0 = (1.0 - ALPHA) ** 2 / (ALPHA * (2.0 - ALPHA))


class Layer(NamedTuple):
    """The solution at one time, a lane a family: u, its derivatives in a and b, shape (n, WIDTH).

    `first`, shape (1, WIDTH), is each lane's first row above the exercise boundary (0 where there
    is none), and `way`, shape (3, WIDTH), what `_first_node` found there: s, c and d.
    """

    u: Floats
    w_a: Floats
    w_b: Floats
    first: Floats
    way: Floats


class Room(NamedTuple):
    """What the stages of a march work in; the arrays of shape (n, WIDTH) have a row a node.

    `edge` and `later`, shape (3, WIDTH), hold the left edge's value and derivatives at this stage
    and the next; `lane`, shape (4, WIDTH), each lane's h, a, b and lower coefficient; `start`,
    shape (1, WIDTH), the value at the first row above the boundary.
    """

    obstacle: Floats
    pivots: Floats
    rhs: Floats
    rhs_a: Floats
    rhs_b: Floats
    edge: Floats
    later: Floats
    lane: Floats
    start: Floats
    carried: Floats


class Step(NamedTuple):
    """The matrix 1 - weight L of one step: its three diagonals, weight, and weight / 2h."""

    lower: Lane
    diagonal: Lane
    upper: Lane
    weight: Lane
    slope: Lane


@kernel
def _edge(
    a: float, b: float, x: float, payoff: float, exercised: bool, time: float
) -> tuple[float, float, float]:
    """Return the left edge's value and its derivatives in a and b: the forward, or exercise."""
    cash, asset = exp(-a * time), exp(x - b * time)
    if exercised or payoff >= cash - asset:
        return payoff, 0.0, 0.0
    return cash - asset, -time * cash, time * asset


@kernel
def _cube(c: float, a: float, b: float, asset: float) -> float:
    """Return a sixth of the time value's third derivative at a boundary at rest, exp(x) = asset.

    From the derivative in x of the differential equation.
    """
    return -(c * (a - b - 0.5) + b * asset) / 3.0


@kernel
def _first_node(i: int, j: int, room: Room) -> tuple[float, float, float, float]:
    """Solve row i of lane j as the first above the exercise boundary.

    At the boundary u_xx jumps by c = 2 (a - b exp(x)), and from it the time value grows as
    w(z) = c/2 z^2 + d z^3 (`_cube`). So the neighbour below counts in this row's equation not with
    its payoff but with the value that continues w, at z = s - h, where s is the way from the
    boundary to this node; w(s) then solves a scalar equation, by Newton's method.

    Returns w(s), not positive where this node is exercised too, s, c and d.
    """
    h, a, b, lower = room.lane[0, j], room.lane[1, j], room.lane[2, j], room.lane[3, j]
    payoff, below = room.obstacle[i, j], room.obstacle[i - 1, j]
    asset = 1.0 - payoff
    c = 2.0 * (a - b * asset)
    pivot = room.pivots[i, j]
    plain = pivot * (room.rhs[i, j] + lower * below) - payoff
    if c <= 0.0:
        return plain, h, 0.0, 0.0
    pull = lower * pivot
    d = _cube(c, a, b, asset)
    if plain + pull * (0.5 * c - d * h) * h * h <= 0.0:
        return -1.0, h, c, d
    # The root of the parabola alone starts the iteration.
    right = max(plain + pull * 0.5 * c * h * h, 0.0)
    linear = pull * h * np.sqrt(2.0 * c)
    root = 2.0 * right / (linear + np.sqrt(linear * linear + 4.0 * (1.0 - pull) * right))
    s = root * np.sqrt(2.0 / c)
    for _ in range(NEWTON_STEPS):
        c = 2.0 * (a - b * asset * (1.0 - s))
        d = _cube(c, a, b, asset)
        far = h - s
        miss = (0.5 * c + d * s) * s * s - plain - pull * (0.5 * c - d * far) * far * far
        slope = (c + 3.0 * d * s) * s + pull * (c - 3.0 * d * far) * far
        s = min(max(s - miss / slope, 0.0), h) if slope > 0.0 else h
    value = (0.5 * c + d * s) * s * s
    if s >= h or not value > 0.0:
        return plain, h, c, d
    return value, s, c, d


@kernel
def _eliminate(
    top: int, bottom: int, step: Step, trapezoidal: bool, source: Layer, other: Layer, room: Room
) -> None:
    """Eliminate rows top to bottom, downwards, of one stage's system; `carried` goes on from there.

    The right-hand side is u + weight L u of the old solution `source` (where it is not exercised:
    there u_t is 0), or the backward difference of the half-way one `source` and the old `other`.
    """
    one = broadcast(1.0)
    newer, older = broadcast(BDF_1), broadcast(BDF_0)
    explicit = broadcast(2.0) - step.diagonal
    coupling = step.lower * step.upper
    first = load(source.first, 0)
    highest = int(source.first.max())
    carry, pivot = load(room.carried, 0), load(room.carried, 1)
    u = source.u
    for i in range(top, bottom - 1, -1):
        if trapezoidal:
            side = step.lower * load(u, i - 1) + explicit * load(u, i) + step.upper * load(u, i + 1)
            if i <= highest:
                side = choose(broadcast(i + 0.5), first, side, load(room.obstacle, i))
        else:
            side = newer * load(u, i) - older * load(other.u, i)
        carry = side + step.upper * (pivot * carry)
        pivot = one / (step.diagonal - coupling * pivot)
        store(room.rhs, i, carry)
        store(room.pivots, i, pivot)
    store(room.carried, 0, carry)
    store(room.carried, 1, pivot)


@kernel
def _stage(
    step: Step, trapezoidal: bool, source: Layer, other: Layer, room: Room, out: Layer
) -> None:
    """Solve one stage with its complementarity condition, exactly for one exercise boundary.

    Elimination from the right reaches below the boundary, whose first row above is then found
    lane by lane, from where it was; from there the solution runs to the right. Rows below are
    exercised and stay what they are. `out` may be `other`.
    """
    last = source.u.shape[0] - 1
    first = out.first
    first[:] = source.first
    room.carried[:] = 0.0
    bottom = max(int(first.min()) - 4, 1)
    _eliminate(last - 1, bottom, step, trapezoidal, source, other, room)
    j = 0
    while j < WIDTH:
        wanted = bottom
        if room.edge[0, j] > room.obstacle[0, j]:
            first[0, j] = 0.0
            out.way[0, j], out.way[1, j], out.way[2, j] = room.lane[0, j], 0.0, 0.0
            room.start[0, j] = room.edge[0, j]
            wanted = 1
        else:
            i = max(int(first[0, j]), bottom)
            node = _first_node(i, j, room)
            while node[0] <= 0.0 and i < last - 1:
                i += 1
                node = _first_node(i, j, room)
            while i > bottom:
                next_node = _first_node(i - 1, j, room)
                if next_node[0] <= 0.0:
                    break
                i -= 1
                node = next_node
            first[0, j] = i
            room.start[0, j] = room.obstacle[i, j] + max(node[0], 0.0)
            out.way[0, j], out.way[1, j], out.way[2, j] = node[1], node[2], node[3]
            if i == bottom:
                wanted = max(bottom - 8, 1)
        if wanted < bottom:
            # The boundary may lie lower still: eliminate further and look at this lane again.
            _eliminate(bottom - 1, wanted, step, trapezoidal, source, other, room)
            bottom = wanted
        else:
            j += 1
    firsts, starts = load(first, 0), load(room.start, 0)
    highest = int(first.max())
    value = starts
    for i in range(min(bottom, int(first.min())), highest + 1):
        inside = value
        if i > 0:
            inside = (load(room.rhs, i) + step.lower * value) * load(room.pivots, i)
        here = broadcast(float(i))
        below = choose(firsts, here, load(room.obstacle, i), starts)
        value = choose(here, firsts, inside, below)
        store(out.u, i, value)
    for i in range(highest + 1, last):
        value = (load(room.rhs, i) + step.lower * value) * load(room.pivots, i)
        store(out.u, i, value)


@kernel
def _ghost_slopes(i: int, j: int, layer: Layer, room: Room) -> tuple[float, float, float]:
    """Differentiate the continued time value below lane j's boundary, whose first row is i.

    Its derivative in a is ``extra_a - ratio * w``, where w is that of the first row: c and d
    change, and so does the way s, as far as the first row's value does not follow. In b likewise.
    Returns ratio, extra_a and extra_b.
    """
    h, a, b = room.lane[0, j], room.lane[1, j], room.lane[2, j]
    s, c, d = layer.way[0, j], layer.way[1, j], layer.way[2, j]
    far = h - s
    if far <= 0.0 or c <= 0.0:
        return 0.0, 0.0, 0.0
    asset = 1.0 - room.obstacle[i, j]
    mu = a - b - 0.5
    c_s, c_a, c_b = 2.0 * b * asset, 2.0, -2.0 * asset * (1.0 - s)
    d_s, d_a, d_b = -c_s * mu / 3.0, -(c_a * mu + c) / 3.0, -(c_b * mu - c + asset) / 3.0
    rise = ((0.5 * c_s + 3.0 * d) + d_s * s) * s * s + c * s
    if rise <= 0.0:
        return 0.0, 0.0, 0.0
    ratio = (c - ((0.5 * c_s + 3.0 * d) - d_s * far) * far) * far / rise
    extra_a = (0.5 * c_a - d_a * far) * far * far + ratio * (0.5 * c_a + d_a * s) * s * s
    extra_b = (0.5 * c_b - d_b * far) * far * far + ratio * (0.5 * c_b + d_b * s) * s * s
    return ratio, extra_a, extra_b


@kernel
def _set_ghosts(layer: Layer, room: Room, greeks: bool) -> None:
    """Put the continued time value, and its derivatives, in the row below each lane's boundary."""
    for j in range(WIDTH):
        i = int(layer.first[0, j])
        if i > 0:
            far = room.lane[0, j] - layer.way[0, j]
            rise = (0.5 * layer.way[1, j] - layer.way[2, j] * far) * far * far
            layer.u[i - 1, j] = room.obstacle[i - 1, j] + rise
            if greeks:
                ratio, extra_a, extra_b = _ghost_slopes(i, j, layer, room)
                layer.w_a[i - 1, j] = extra_a - ratio * layer.w_a[i, j]
                layer.w_b[i - 1, j] = extra_b - ratio * layer.w_b[i, j]


@kernel
def _clear_ghosts(layer: Layer, room: Room, greeks: bool) -> None:
    """Put the payoff, and no derivative, back."""
    for j in range(WIDTH):
        i = int(layer.first[0, j])
        if i > 0:
            layer.u[i - 1, j] = room.obstacle[i - 1, j]
            if greeks:
                layer.w_a[i - 1, j] = 0.0
                layer.w_b[i - 1, j] = 0.0


@kernel
def _tangent_stage(
    step: Step, trapezoidal: bool, source: Layer, other: Layer, room: Room, out: Layer
) -> None:
    """Solve the derivatives in a and b of a stage, with its factors; 0 where it is exercised.

    The sources are dL/da u = u_x - u and dL/db u = -u_x, of the new solution `out` and, in the
    trapezoidal stage, of the old one `source`; ghosts are set in both.
    """
    last = out.u.shape[0] - 1
    lower, upper, weight, slope = step.lower, step.upper, step.weight, step.slope
    newer, older = broadcast(BDF_1), broadcast(BDF_0)
    explicit = broadcast(2.0) - step.diagonal
    zero = broadcast(0.0)
    carry_a, carry_b, pivot = zero, zero, zero
    bottom = max(int(out.first.min()), 1)
    first = load(source.first, 0)
    highest = int(source.first.max())
    for i in range(last - 1, bottom - 1, -1):
        change = slope * (load(out.u, i + 1) - load(out.u, i - 1))
        source_a = change - weight * load(out.u, i)
        source_b = zero - change
        w_a, w_b = load(source.w_a, i), load(source.w_b, i)
        if trapezoidal:
            change = slope * (load(source.u, i + 1) - load(source.u, i - 1))
            side_a = lower * load(source.w_a, i - 1) + explicit * w_a
            side_a = side_a + upper * load(source.w_a, i + 1) + change
            side_a = side_a - weight * load(source.u, i)
            side_b = lower * load(source.w_b, i - 1) + explicit * w_b
            side_b = side_b + upper * load(source.w_b, i + 1) - change
            if i <= highest:
                here = broadcast(i + 0.5)
                side_a = choose(here, first, side_a, zero)
                side_b = choose(here, first, side_b, zero)
        else:
            side_a = newer * w_a - older * load(other.w_a, i)
            side_b = newer * w_b - older * load(other.w_b, i)
        carry_a = side_a + source_a + upper * (pivot * carry_a)
        carry_b = side_b + source_b + upper * (pivot * carry_b)
        pivot = load(room.pivots, i)
        store(room.rhs_a, i, carry_a)
        store(room.rhs_b, i, carry_b)
    for j in range(WIDTH):
        i = int(out.first[0, j])
        if i > 0:
            # The derivative of the first row's equation, whose neighbour below is the ghost.
            pull = room.lane[3, j]
            ratio, extra_a, extra_b = _ghost_slopes(i, j, out, room)
            factor = 1.0 / (1.0 + pull * room.pivots[i, j] * ratio)
            room.rhs_a[i, j] = (room.rhs_a[i, j] + pull * extra_a) * factor
            room.rhs_b[i, j] = (room.rhs_b[i, j] + pull * extra_b) * factor
    first = load(out.first, 0)
    highest = int(out.first.max())
    value_a, value_b = load(room.edge, 1), load(room.edge, 2)
    store(out.w_a, 0, value_a)
    store(out.w_b, 0, value_b)
    for i in range(bottom, last):
        pivot = load(room.pivots, i)
        value_a = (load(room.rhs_a, i) + lower * value_a) * pivot
        value_b = (load(room.rhs_b, i) + lower * value_b) * pivot
        if i <= highest:
            here = broadcast(i + 0.5)
            value_a = choose(here, first, value_a, zero)
            value_b = choose(here, first, value_b, zero)
        store(out.w_a, i, value_a)
        store(out.w_b, i, value_b)


@kernel
def _take_step(step: Step, now: Layer, half: Layer, room: Room, greeks: bool) -> None:
    """March `now` by one step, in place: the trapezoidal stage, then the backward difference."""
    _set_ghosts(now, room, greeks)
    _stage(step, True, now, now, room, half)
    if greeks:
        _set_ghosts(half, room, False)
        _tangent_stage(step, True, now, now, room, half)
        _clear_ghosts(half, room, False)
    _clear_ghosts(now, room, greeks)
    room.edge[:] = room.later
    _stage(step, False, half, now, room, now)
    if greeks:
        _set_ghosts(now, room, False)
        _tangent_stage(step, False, half, now, room, now)
        _clear_ghosts(now, room, False)


@kernel
def _begin(
    j: int, h: float, kink: int, american: bool, a: float, b: float, now: Layer, room: Room
) -> None:
    """Set lane j at time 0: the payoff, averaged over the strike's cell."""
    room.lane[0, j], room.lane[1, j], room.lane[2, j] = h, a, b
    now.first[0, j] = kink if american else 0.0
    now.way[0, j], now.way[1, j], now.way[2, j] = h, 0.0, 0.0
    for i in range(kink, now.u.shape[0]):
        now.u[i, j] = 0.0
        room.obstacle[i, j] = 0.0
    now.u[kink, j] = 0.5 - (1.0 - exp(-0.5 * h)) / h
    asset, down = 1.0, exp(-h)
    for i in range(kink - 1, -1, -1):
        asset *= down
        now.u[i, j] = 1.0 - asset
        room.obstacle[i, j] = 1.0 - asset
    if not american:
        room.obstacle[:, j] = NO_OBSTACLE


@kernel
def march(
    level: int,
    greeks: bool,
    chosen: Indices,
    american: Codes,
    problems: Problems,
    slice_offsets: Indices,
    out_offsets: Indices,
    out: Floats,
) -> None:
    """Solve the families `chosen` on the meshes of one level.

    Writes u, and with `greeks` its derivatives in a and b, at each family's expiries to `out`, of
    shape (slices, nodes, 1 or 3); family chosen[i] starts at slice out_offsets[i].
    `slice_offsets`, shape (F + 1,), delimits the expiries of all families.
    """
    splits = 1 << level
    shape = (BASE_NODES * splits + 1, WIDTH)
    tangent_shape = shape if greeks else (1, WIDTH)
    now = Layer(
        np.zeros(shape), np.zeros(tangent_shape), np.zeros(tangent_shape), np.zeros((1, WIDTH)),
        np.zeros((3, WIDTH)),
    )  # fmt: skip
    half = Layer(
        np.zeros(shape), np.zeros(tangent_shape), np.zeros(tangent_shape), np.zeros((1, WIDTH)),
        np.zeros((3, WIDTH)),
    )  # fmt: skip
    room = Room(
        np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(tangent_shape),
        np.zeros(tangent_shape), np.zeros((3, WIDTH)), np.zeros((3, WIDTH)), np.zeros((4, WIDTH)),
        np.zeros((1, WIDTH)), np.zeros((2, WIDTH)),
    )  # fmt: skip
    step_weight = np.zeros((1, WIDTH))
    recorded = np.empty(WIDTH, np.int64)
    nodes, node_offsets = problems.nodes, problems.node_offsets
    half_of, one, two = broadcast(0.5), broadcast(1.0), broadcast(2.0)

    for group in range(0, len(chosen), WIDTH):
        live = min(WIDTH, len(chosen) - group)
        longest = 0
        for j in range(WIDTH):
            # A lane without a family repeats the last one.
            f = chosen[group + min(j, live - 1)]
            recorded[j] = slice_offsets[f]
            longest = max(longest, node_offsets[f + 1] - node_offsets[f] - 1)
            _begin(
                j, problems.width[f] / splits, problems.left_nodes[f] * splits, american[f] != 0,
                problems.a[f], problems.b[f], now, room,
            )  # fmt: skip
        half.u[:] = now.u
        for derivative in (now.w_a, now.w_b, half.w_a, half.w_b):
            derivative[:] = 0.0
        h, a, b = load(room.lane, 0), load(room.lane, 1), load(room.lane, 2)
        diffusion = half_of / (h * h)
        advection = half_of * (a - b - half_of) / h

        for count in range(longest * splits):
            piece, part = count // splits, count % splits
            for j in range(WIDTH):
                f = chosen[group + min(j, live - 1)]
                # A lane that is done repeats its last step until the others are.
                at = node_offsets[f] + min(piece, node_offsets[f + 1] - node_offsets[f] - 2)
                start, stop = nodes[at], nodes[at + 1]
                before = start + (stop - start) * part / splits
                after = start + (stop - start) * (part + 1) / splits
                k = after * after - before * before
                step_weight[0, j] = THETA * k
                for stage, time in ((0, before * before + ALPHA * k), (1, after * after)):
                    edge = _edge(
                        problems.a[f], problems.b[f], problems.left[f], room.obstacle[0, j],
                        problems.exercised[f] != 0, time,
                    )  # fmt: skip
                    target = room.edge if stage == 0 else room.later
                    target[0, j], target[1, j], target[2, j] = edge
            weight = load(step_weight, 0)
            step = Step(
                weight * (diffusion - advection),
                one + weight * (two * diffusion + a),
                weight * (diffusion + advection),
                weight,
                weight * half_of / h,
            )
            store(room.lane, 3, step.lower)
            _take_step(step, now, half, room, greeks)

            if part == splits - 1:
                for j in range(live):
                    f = chosen[group + j]
                    end = slice_offsets[f + 1]
                    while recorded[j] < end and problems.slice_nodes[recorded[j]] == piece + 1:
                        row = out_offsets[group + j] + recorded[j] - slice_offsets[f]
                        out[row, :, 0] = now.u[:, j]
                        if greeks:
                            out[row, :, 1] = now.w_a[:, j]
                            out[row, :, 2] = now.w_b[:, j]
                        recorded[j] += 1
