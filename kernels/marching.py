"""The march in variance time, `WIDTH` families abreast: TR-BDF2 with a moving exercise boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .elementary import exp
from .jit import kernel
from .lanes import (
    WIDTH,
    Lane,
    any_greater,
    broadcast,
    choose,
    largest,
    maximum,
    minimum,
    smallest,
    square_root,
)
from .mesh import BASE_NODES, Problems
from .rows import Rows, gather, get, load, put, rows, store
from .tr_bdf2 import ALPHA, BDF_0, BDF_1, THETA

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

SLACK = 4  # rows below the last boundary that are eliminated at once
NO_OBSTACLE = -1e300

# Rows of a layer's border.
FIRST, FALL, GHOST, RATIO, GHOST_A, GHOST_B = range(6)
MOST_FALL = 3.0  # rows that a boundary is expected to fall in a stage


class Layer(NamedTuple):
    """The solution at one time, a lane a family: u, its derivatives in a and b, a row a node.

    `border`, 6 rows, is what there is at each lane's exercise boundary. FIRST: the first row above
    it, 0 where there is none. FALL: by how many rows it fell. The neighbour below, the ghost,
    counts not with its payoff but with the value that continues the solution: GHOST is how much
    more that is. Its derivative in a is GHOST_A less RATIO times that of the first row; in b
    likewise.
    """

    u: Rows
    w_a: Rows
    w_b: Rows
    border: Rows


class Room(NamedTuple):
    """What does not change from stage to stage but the edges.

    `payoff` has a row a node; the 3 rows of `edge` are the left edge's value and derivatives.
    """

    nodes: int
    payoff: Rows
    edge: Rows


class Lanes(NamedTuple):
    """Each lane's node spacing, a, b, a - b - 1/2 and exp(-h)."""

    h: Lane
    a: Lane
    b: Lane
    mu: Lane
    down: Lane


class Step(NamedTuple):
    """The matrix 1 - weight L of one step, solved.

    Eliminating upwards from the right, where u is 0, every pivot is the same p, the fixed point of
    p = 1 / (diagonal - lower p upper): so it is on a half line. A row then reads
    y_i = p rhs_i + gain y_{i+1}, u_i = y_i + pull u_{i-1} with gain = p upper, pull = p lower.
    `rest` is p (2 - diagonal): of 1 + weight L, times p, the three diagonals are pull, rest, gain.
    `newer` and `older` are p times the weights of the backward difference, `weight` and `slope` p
    weight and p weight / 2h.
    """

    p: Lane
    pull: Lane
    rest: Lane
    gain: Lane
    newer: Lane
    older: Lane
    weight: Lane
    slope: Lane


@kernel
def _step(lanes: Lanes, weight: Lane) -> Step:
    slope = 0.5 * weight / lanes.h
    diffusion = slope / lanes.h
    lower, upper = diffusion - slope * lanes.mu, diffusion + slope * lanes.mu
    diagonal = 1.0 + 2.0 * diffusion + weight * lanes.a
    square = diagonal * diagonal - 4.0 * lower * upper
    p = 2.0 / (diagonal + square_root(_positive(square)))
    return Step(
        p, p * lower, p * (2.0 - diagonal), p * upper, BDF_1 * p, BDF_0 * p,
        p * weight, p * slope,
    )  # fmt: skip


@kernel
def _positive(x: Lane) -> Lane:
    return maximum(x, broadcast(0.0))


@kernel
def _at(first: Lane, i: int, there: Lane, elsewhere: Lane) -> Lane:
    """Choose `there` in lanes whose first row is i or lies above, `elsewhere` in the others."""
    return choose(first, broadcast(i - 0.5), there, elsewhere)


@kernel
def _edge(a: float, b: float, x: float, payoff: float, time: float) -> tuple[float, float, float]:
    """Return the left edge's value and its derivatives in a and b: the forward, or exercise."""
    cash, asset = exp(-a * time), exp(x - b * time)
    if payoff >= cash - asset:
        return payoff, 0.0, 0.0
    return cash - asset, -time * cash, time * asset


@kernel
def _above_payoff(y: Lane, asset: Lane, lanes: Lanes, pull: Lane) -> tuple[Lane, Lane, Lane, Lane]:
    """Look at rows as if each were the first above the boundary; `asset` is exp(x) there.

    At the boundary u_xx jumps by c = 2 (a - b exp(x)), and from it the time value grows as
    w(z) = c/2 z^2 + d z^3; d, a sixth of the third derivative at a boundary at rest, follows from
    the derivative in x of the equation. Returns the time value if the neighbour below counts with
    its payoff; what it would be if the boundary were at the row itself and w went on below, not
    positive where the row is exercised; c and d.
    """
    zero = broadcast(0.0)
    plain = y + pull * (1.0 - asset * lanes.down) - (1.0 - asset)
    c = _positive(2.0 * (lanes.a - lanes.b * asset))
    d = choose(c, zero, (-1.0 / 3.0) * (c * lanes.mu + lanes.b * asset), zero)
    return plain, plain + pull * (0.5 * c - d * lanes.h) * lanes.h * lanes.h, c, d


@kernel
def _find_first(
    first: Lane, lowest: int, lanes: Lanes, pull: Lane, u: Rows, room: Room
) -> tuple[Lane, Lane, Lane, Lane, Lane]:
    """Move each lane's first row above the boundary from where it may be; not below `lowest`.

    A lane whose first row is 0 has no boundary. Returns the rows, and there exp(x) and three
    results of `_above_payoff`.
    """
    zero, one = broadcast(0.0), broadcast(1.0)
    last, floor = broadcast(room.nodes - 2.5), broadcast(lowest + 0.5)
    row = first
    while True:
        below = _positive(row - 1.0)
        asset, asset_below = 1.0 - gather(room.payoff, row), 1.0 - gather(room.payoff, below)
        plain, here, c, d = _above_payoff(gather(u, row), asset, lanes, pull)
        _, lower, _, _ = _above_payoff(gather(u, below), asset_below, lanes, pull)
        fall = choose(lower, zero, choose(row, floor, one, zero), zero)
        rise = choose(last, row, one, zero)
        move = choose(row, broadcast(0.5), choose(here, zero, -fall, rise), zero)
        if not any_greater(move * move, zero):
            return row, asset, plain, c, d
        row = row + move


@kernel
def _first_value(
    plain: Lane, c: Lane, d: Lane, asset: Lane, lanes: Lanes, pull: Lane
) -> tuple[Lane, Lane, Lane, Lane]:
    """Solve the first row above the boundary, whose neighbour below continues w (`_above_payoff`).

    With s the way from the boundary, w(s) = plain + pull w(s - h): a scalar equation. The root for
    a parabola is good to first order in h, and to second after one step of Newton's method; a
    second step moves no error by a hundredth. Returns w(s), s, and c and d at the boundary.
    """
    zero, h = broadcast(0.0), lanes.h
    right = _positive(plain + 0.5 * pull * c * h * h)
    linear = pull * c * h
    s = 2.0 * right / (linear + square_root(linear * linear + 2.0 * (c - pull * c) * right))
    s = minimum(s, h)
    move = 2.0 * lanes.b * asset * s
    jump, cube = c + move, d - (1.0 / 3.0) * move * lanes.mu
    far = h - s
    miss = (0.5 * jump + cube * s) * s * s - plain
    miss = miss - pull * (0.5 * jump - cube * far) * far * far
    rise = (jump + 3.0 * cube * s) * s + pull * (jump - 3.0 * cube * far) * far
    s = choose(rise, zero, _positive(s - miss / rise), h)
    value = (0.5 * jump + cube * s) * s * s
    inside = choose(h, s, choose(value, zero, c, zero), zero)
    return choose(inside, zero, value, plain), choose(inside, zero, s, h), jump, cube


@kernel
def _set_ghost(s: Lane, c: Lane, d: Lane, asset: Lane, lanes: Lanes, border: Rows) -> None:
    """Write how the ghost's value depends on a, b and the first row's value.

    In a: c and d change, and so does the way s, as far as the first row's value does not follow.
    """
    zero, third = broadcast(0.0), -1.0 / 3.0
    far = lanes.h - s
    c_s, c_b = 2.0 * lanes.b * asset, -2.0 * asset * (1.0 - s)
    d_s, d_a = third * c_s * lanes.mu, third * (2.0 * lanes.mu + c)
    d_b = third * (c_b * lanes.mu - c + asset)
    bend = 0.5 * c_s + 3.0 * d
    rise = (bend + d_s * s) * s * s + c * s
    ratio = (c - (bend - d_s * far) * far) * far / rise
    extra_a = (1.0 - d_a * far) * far * far + ratio * (1.0 + d_a * s) * s * s
    extra_b = (0.5 * c_b - d_b * far) * far * far + ratio * (0.5 * c_b + d_b * s) * s * s
    sound = choose(far, zero, choose(c, zero, rise, zero), zero)
    store(border, RATIO, choose(sound, zero, ratio, zero))
    store(border, GHOST_A, choose(sound, zero, extra_a, zero))
    store(border, GHOST_B, choose(sound, zero, extra_b, zero))


@kernel
def _eliminate_trapezoidal(
    top: int, highest: int, bottom: int, step: Step, now: Layer, payoff: Rows, out: Rows, y: Lane
) -> Lane:
    """Eliminate rows top to bottom of u + weight L u, of `now`; where exercised u_t is 0.

    Rows above `highest` are exercised in no lane.
    """
    pull, rest, gain = step.pull, step.rest, step.gain
    first = load(now.border, FIRST)
    above, here = load(now.u, top + 1), load(now.u, top)
    for i in range(top, max(highest, bottom - 1), -1):
        below = load(now.u, i - 1)
        y = gain * y + (pull * below + rest * here + gain * above)
        store(out, i, y)
        above, here = here, below
    ghost = pull * load(now.border, GHOST)
    for i in range(min(highest, top), bottom - 1, -1):
        below = load(now.u, i - 1)
        side = pull * below + rest * here + gain * above
        side = _at(first, i, side + ghost, side)
        y = gain * y + choose(broadcast(i + 0.5), first, side, step.p * load(payoff, i))
        store(out, i, y)
        above, here = here, below
    return y


@kernel
def _eliminate_backward(top: int, bottom: int, step: Step, half: Rows, now: Rows, y: Lane) -> Lane:
    """Eliminate rows top to bottom of the backward difference of `half` and `now`, in `now`."""
    gain, newer, older = step.gain, step.newer, step.older
    for i in range(top, bottom - 1, -1):
        y = gain * y + (newer * load(half, i) - older * load(now, i))
        store(now, i, y)
    return y


@kernel
def _stage(
    step: Step,
    trapezoidal: bool,
    greeks: bool,
    highest: int,
    source: Layer,
    out: Layer,
    lanes: Lanes,
    room: Room,
) -> int:
    """Solve one stage with its complementarity condition, exactly for one exercise boundary.

    Elimination from the right reaches below the boundary, whose first row above is then found,
    from where it was; from there the solution runs to the right. Rows below are exercised and stay
    what they are. The trapezoidal stage goes from `source` to `out`; the backward difference from
    `source` and what `out` was before. `highest` is the highest of the first rows of `source`;
    returns that of `out`.
    """
    last = room.nodes - 1
    zero, one, free = broadcast(0.0), broadcast(1.0), broadcast(0.5)
    fall = load(source.border, FALL)
    edge, exercise = load(room.edge, 0), load(room.payoff, 0)
    first = load(source.border, FIRST)
    first = choose(edge, exercise, zero, choose(first, free, first, one))
    y, start = zero, edge
    guess = choose(first, free, maximum(first - fall, one), zero)
    lowest = int(smallest(first))
    top, bottom = last - 1, max(lowest - SLACK, 1)
    while True:
        if trapezoidal:
            y = _eliminate_trapezoidal(top, highest, bottom, step, source, room.payoff, out.u, y)
        else:
            y = _eliminate_backward(top, bottom, step, source.u, out.u, y)
        if largest(first) == 0.0:
            highest = 0
            break
        found, asset, plain, c, d = _find_first(guess, bottom, lanes, step.pull, out.u, room)
        lowest = int(smallest(found))
        if bottom == 1 or lowest > bottom:
            highest = int(largest(found))
            store(out.border, FALL, minimum(_positive(first - found), broadcast(MOST_FALL)))
            first = found
            value, s, c, d = _first_value(plain, c, d, asset, lanes, step.pull)
            far = lanes.h - s
            ghost = choose(far, zero, (0.5 * c - d * far) * far * far, zero)
            store(out.border, GHOST, ghost)
            if greeks:
                _set_ghost(s, c, d, asset, lanes, out.border)
            start = choose(first, free, 1.0 - asset + _positive(value), edge)
            break
        guess = found
        top, bottom = bottom - 1, max(bottom - 2 * SLACK, 1)
    store(out.border, FIRST, first)
    pull = step.pull
    store(out.u, 0, edge)
    value = edge
    for i in range(bottom, highest + 1):
        value = _at(first, i, start, load(out.u, i) + pull * value)
        value = choose(broadcast(i + 0.5), first, value, load(room.payoff, i))
        store(out.u, i, value)
    for i in range(max(highest + 1, bottom), last):
        value = load(out.u, i) + pull * value
        store(out.u, i, value)
    store(out.u, last, pull * value)
    return highest


@kernel
def _tangent_stage(step: Step, trapezoidal: bool, source: Layer, out: Layer, room: Room) -> None:
    """Solve the derivatives in a and b of a stage, with its factors; 0 where it is exercised.

    The sources are dL/da u = u_x - u and dL/db u = -u_x, of the new solution `out` and, in the
    trapezoidal stage, of the old one `source`.
    """
    last = room.nodes - 1
    pull, rest, gain, weight, slope = step.pull, step.rest, step.gain, step.weight, step.slope
    newer, older = step.newer, step.older
    zero = broadcast(0.0)
    old, new = load(source.border, FIRST), load(out.border, FIRST)
    bottom = max(int(min(smallest(old), smallest(new))), 1)
    highest = max(int(largest(old)), int(largest(new)))
    ghost_new = load(out.border, GHOST)
    y_a, y_b = zero, zero
    if trapezoidal:
        above, here = (
            load(source.u, last) + load(out.u, last),
            load(source.u, last - 1) + load(out.u, last - 1),
        )
        a_above, a_here = load(source.w_a, last), load(source.w_a, last - 1)
        b_above, b_here = load(source.w_b, last), load(source.w_b, last - 1)
        for i in range(last - 1, highest, -1):
            below = load(source.u, i - 1) + load(out.u, i - 1)
            a_below, b_below = load(source.w_a, i - 1), load(source.w_b, i - 1)
            change = slope * (above - below)
            side_a = pull * a_below + rest * a_here + gain * a_above
            side_b = pull * b_below + rest * b_here + gain * b_above
            y_a = gain * y_a + (side_a + (change - weight * here))
            y_b = gain * y_b + (side_b - change)
            store(out.w_a, i, y_a)
            store(out.w_b, i, y_b)
            above, here = here, below
            a_above, a_here, b_above, b_here = a_here, a_below, b_here, b_below
        ghost_old = load(source.border, GHOST)
        ratio = load(source.border, RATIO)
        ghost_a, ghost_b = load(source.border, GHOST_A), load(source.border, GHOST_B)
        for i in range(highest, bottom - 1, -1):
            # Where the row was exercised its old values do not count.
            alive = broadcast(i + 0.5)
            a_here, b_here = load(source.w_a, i), load(source.w_b, i)
            a_below = load(source.w_a, i - 1) + _at(old, i, ghost_a - ratio * a_here, zero)
            b_below = load(source.w_b, i - 1) + _at(old, i, ghost_b - ratio * b_here, zero)
            u_below = load(source.u, i - 1) + _at(old, i, ghost_old, zero)
            below = load(out.u, i - 1) + _at(new, i, ghost_new, zero)
            below = choose(alive, old, u_below, zero) + below
            here = choose(alive, old, load(source.u, i), zero) + load(out.u, i)
            above = choose(alive, old, load(source.u, i + 1), zero) + load(out.u, i + 1)
            change = slope * (above - below)
            side_a = pull * a_below + rest * a_here + gain * load(source.w_a, i + 1)
            side_b = pull * b_below + rest * b_here + gain * load(source.w_b, i + 1)
            side_a, side_b = choose(alive, old, side_a, zero), choose(alive, old, side_b, zero)
            y_a = gain * y_a + (side_a + (change - weight * here))
            y_b = gain * y_b + (side_b - change)
            store(out.w_a, i, y_a)
            store(out.w_b, i, y_b)
    else:
        above, here = load(out.u, last), load(out.u, last - 1)
        for i in range(last - 1, bottom - 1, -1):
            below = load(out.u, i - 1)
            change = slope * (above - (below + _at(new, i, ghost_new, zero)))
            side_a = newer * load(source.w_a, i) - older * load(out.w_a, i)
            side_b = newer * load(source.w_b, i) - older * load(out.w_b, i)
            y_a = gain * y_a + (side_a + (change - weight * here))
            y_b = gain * y_b + (side_b - change)
            store(out.w_a, i, y_a)
            store(out.w_b, i, y_b)
            above, here = here, below
    # The first row's equation differentiated, whose neighbour below is the ghost.
    factor = 1.0 / (1.0 + pull * load(out.border, RATIO))
    ghost_a, ghost_b = pull * load(out.border, GHOST_A), pull * load(out.border, GHOST_B)
    value_a, value_b = load(room.edge, 1), load(room.edge, 2)
    store(out.w_a, 0, value_a)
    store(out.w_b, 0, value_b)
    for i in range(bottom, highest + 1):
        y_a, y_b = load(out.w_a, i), load(out.w_b, i)
        value_a = _at(new, i, (y_a + ghost_a) * factor, y_a + pull * value_a)
        value_b = _at(new, i, (y_b + ghost_b) * factor, y_b + pull * value_b)
        value_a = choose(broadcast(i + 0.5), new, value_a, zero)
        value_b = choose(broadcast(i + 0.5), new, value_b, zero)
        store(out.w_a, i, value_a)
        store(out.w_b, i, value_b)
    for i in range(max(highest + 1, bottom), last):
        value_a = load(out.w_a, i) + pull * value_a
        value_b = load(out.w_b, i) + pull * value_b
        store(out.w_a, i, value_a)
        store(out.w_b, i, value_b)
    store(out.w_a, last, pull * value_a)
    store(out.w_b, last, pull * value_b)


@kernel
def _begin(
    kink: Lane, average: Lane, american: Lane, down: Lane, now: Layer, half: Layer, room: Room
) -> None:
    """Set all lanes at time 0: the payoff, averaged over the strike's cell, the row `kink`."""
    zero, one = broadcast(0.0), broadcast(1.0)
    asset = one
    for i in range(room.nodes - 1, -1, -1):
        asset = choose(kink, broadcast(i + 0.5), asset * down, one)
        payoff = 1.0 - asset
        store(half.u, i, payoff)
        store(now.u, i, choose(kink, broadcast(i + 0.5), payoff, _at(kink, i, average, zero)))
        store(room.payoff, i, choose(american, zero, payoff, broadcast(NO_OBSTACLE)))
    store(now.border, FIRST, choose(american, zero, kink, zero))
    for layer in (now, half):
        for k in (FALL, GHOST, RATIO, GHOST_A, GHOST_B):
            store(layer.border, k, zero)
    store(room.edge, 0, load(now.u, 0))
    store(room.edge, 1, zero)
    store(room.edge, 2, zero)


@kernel
def _clear(rows_: Rows, count: int) -> None:
    for i in range(count):
        store(rows_, i, broadcast(0.0))


@kernel
def _layer(work: Floats, start: int, size: int, greeks: bool) -> Layer:
    apart = size if greeks else 0
    return Layer(
        rows(work, start), rows(work, start + apart), rows(work, start + 2 * apart),
        rows(work, start + 3 * size),
    )  # fmt: skip


def work_size(level: int) -> int:
    """Return how many numbers `march` works with."""
    return (7 * ((BASE_NODES << level) + 1) + 27) * WIDTH


@kernel
def march(
    level: int,
    greeks: bool,
    chosen: Indices,
    american: Codes,
    problems: Problems,
    slice_offsets: Indices,
    out_offsets: Indices,
    work: Floats,
    out: Floats,
) -> None:
    """Solve the families `chosen` on the meshes of one level.

    Writes u, and with `greeks` its derivatives in a and b, at each family's expiries to `out`, of
    shape (slices, nodes, 1 or 3); family chosen[i] starts at slice out_offsets[i].
    `slice_offsets`, shape (F + 1,), delimits the expiries of all families; `work`, shape
    (`work_size`,), is overwritten.
    """
    splits = 1 << level
    size = BASE_NODES * splits + 1
    now = _layer(work, 0, size, greeks)
    half = _layer(work, 3 * size + 6, size, greeks)
    rest = 6 * size + 12
    room = Room(size, rows(work, rest), rows(work, rest + size))
    constants, clock = rows(work, rest + size + 3), rows(work, rest + size + 11)
    moving = np.zeros(WIDTH, np.bool_)
    recorded = np.empty(WIDTH, np.int64)
    family = np.empty(WIDTH, np.int64)
    nodes, node_offsets = problems.nodes, problems.node_offsets

    for group in range(0, len(chosen), WIDTH):
        live = min(WIDTH, len(chosen) - group)
        longest = 0
        some_move = False
        for j in range(WIDTH):
            # A lane without a family repeats the last one.
            f = chosen[group + min(j, live - 1)]
            family[j] = f
            recorded[j] = slice_offsets[f]
            longest = max(longest, node_offsets[f + 1] - node_offsets[f] - 1)
            h, a, b = problems.width[f] / splits, problems.a[f], problems.b[f]
            put(constants, 0, j, h)
            put(constants, 1, j, a)
            put(constants, 2, j, b)
            put(constants, 3, j, a - b - 0.5)
            put(constants, 4, j, exp(-h))
            put(constants, 5, j, float(problems.left_nodes[f] * splits))
            put(constants, 6, j, 0.5 - (1.0 - exp(-0.5 * h)) / h)
            put(constants, 7, j, float(american[f]))
            # At a put's left edge the payoff is more than the forward at all times.
            still = a >= 0.0 and a >= b * exp(problems.left[f])
            moving[j] = not (american[f] != 0 and (problems.exercised[f] != 0 or still))
            some_move |= moving[j]
        lanes = Lanes(
            load(constants, 0), load(constants, 1), load(constants, 2), load(constants, 3),
            load(constants, 4),
        )  # fmt: skip
        _begin(
            load(constants, 5), load(constants, 6), load(constants, 7), lanes.down, now, half, room
        )
        if greeks:
            for layer in (now, half):
                _clear(layer.w_a, size)
                _clear(layer.w_b, size)

        highest = int(largest(load(now.border, FIRST)))

        for count in range(longest * splits):
            piece, part = count >> level, count & (splits - 1)
            if part == 0:
                for j in range(WIDTH):
                    f = family[j]
                    # A lane that is done repeats its last step until the others are.
                    at = node_offsets[f] + min(piece, node_offsets[f + 1] - node_offsets[f] - 2)
                    put(clock, 0, j, nodes[at])
                    put(clock, 1, j, nodes[at + 1])
            start = load(clock, 0)
            width = (load(clock, 1) - start) * (1.0 / splits)
            before, after = start + width * float(part), start + width * (part + 1.0)
            begun = before * before
            length = after * after - begun
            step = _step(lanes, THETA * length)
            for stage in range(2):
                if some_move:
                    store(clock, 2, begun + (ALPHA if stage == 0 else 1.0) * length)
                    for j in range(WIDTH):
                        if moving[j]:
                            f = family[j]
                            value = _edge(
                                problems.a[f], problems.b[f], problems.left[f],
                                get(room.payoff, 0, j), get(clock, 2, j),
                            )  # fmt: skip
                            put(room.edge, 0, j, value[0])
                            put(room.edge, 1, j, value[1])
                            put(room.edge, 2, j, value[2])
                if stage == 0:
                    highest = _stage(step, True, greeks, highest, now, half, lanes, room)
                    if greeks:
                        _tangent_stage(step, True, now, half, room)
                else:
                    highest = _stage(step, False, greeks, highest, half, now, lanes, room)
                    if greeks:
                        _tangent_stage(step, False, half, now, room)

            if part == splits - 1:
                for j in range(live):
                    end = slice_offsets[family[j] + 1]
                    while recorded[j] < end and problems.slice_nodes[recorded[j]] == piece + 1:
                        row = out_offsets[group + j] + recorded[j] - slice_offsets[family[j]]
                        for i in range(size):
                            out[row, i, 0] = get(now.u, i, j)
                            if greeks:
                                out[row, i, 1] = get(now.w_a, i, j)
                                out[row, i, 2] = get(now.w_b, i, j)
                        recorded[j] += 1
