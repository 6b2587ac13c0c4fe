"""Early exercise: which rows are exercised, and where between two nodes the boundary lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .jit import kernel
from .lanes import WIDTH, broadcast, choose, load, store
from .stages import BOUNDARIES, Lanes, Room, Step, right_side

if TYPE_CHECKING:
    from .jit import Floats

MOST_SOLVES = 30  # of one stage
MOST_REFINEMENTS = 8  # from then on a boundary stays where it is
ROUNDING = 1e-14  # a row changes sides for more than this, relative
CLOSE = 1e-9  # a boundary is found when its neighbour's value is known as well as this


@kernel
def find_boundaries(j: int, held: Floats, room: Room) -> None:
    """List lane j's rows that are not held beside one that is, lifts 0; write its span."""
    n = len(held) - 1
    first, last, top = n, 0, 0
    for b in range(room.found[0, j]):
        row = room.rows[b, j]
        room.lift[row, j] = room.stiffness[row, j] = 0.0
    count = 0
    for i in range(1, n):
        if held[i, j] == 0.0:
            first, last = min(first, i), i
        else:
            top = i
    for i in range(1, n + 1):
        if held[i, j] != held[i - 1, j] and count < BOUNDARIES:
            is_below = held[i - 1, j] > held[i, j]
            row = i if is_below else i - 1
            if 0 < row < n:
                room.rows[count, j] = row
                room.ways[count, j] = 1 if is_below else -1
                count += 1
    room.found[0, j] = count
    room.span[0, j], room.span[1, j], room.span[2, j] = first, last, top


@kernel
def _continuation(
    row: int, way: int, j: int, value: float, lanes: Lanes, room: Room
) -> tuple[float, float]:
    """Continue the time value of lane j's row across the boundary, to its exercised neighbour.

    At the boundary w_xx jumps from 0 to c = 2 (q alpha s + r beta) / sigma^2, and from it the time
    value grows as w(z) = c/2 z^2 + d z^3, d from the derivative of the differential equation at a
    boundary at rest. Where w(z) is the row's, its neighbour lies at z - h. Returns w(z - h) and
    its derivative in the row's value; 0 where the row is too far away to tell.
    """
    h = lanes.market[3, j]
    r, q, sigma = lanes.market[0, j], lanes.market[1, j], lanes.market[2, j]
    alpha, beta = lanes.exercise[0, j], lanes.exercise[2, j]
    w = value - room.obstacle[row, j]
    asset = lanes.spots[row, j]
    if not w > 0.0:
        w = 0.0
    scale = 2.0 / (sigma * sigma)
    drift = (r - q) / (sigma * sigma) - 0.5
    c = scale * (q * alpha * asset + r * beta)
    if c <= 0.0:
        return 0.0, 0.0
    z = np.sqrt(2.0 * w / c)
    # The mesh's ends may be barriers: there the value need not be smooth.
    is_end = row + (1 if way < 0 else -1) in (0, len(lanes.spots) - 1)
    farthest = h if is_end else 2.0 * h
    if z >= farthest:
        return 0.0, 0.0
    for _ in range(3):
        at = asset * (1.0 - way * z)
        c = scale * (q * alpha * at + r * beta)
        d = way * (scale * q * alpha * at - 2.0 * drift * c) / 6.0
        slope = (c + 3.0 * d * z) * z
        if not (c > 0.0 and slope > 0.0):
            break
        z -= ((0.5 * c + d * z) * z * z - w) / slope
        z = max(z, 0.0)
    if not (c > 0.0 and z < farthest):
        return 0.0, 0.0
    far = z - h
    lift = (0.5 * c + d * far) * far * far
    slope = (c + 3.0 * d * z) * max(z, 1e-6 * h)
    return lift, min((c + 3.0 * d * far) * far / slope, 0.9) if slope > 0.0 else 0.0


@kernel
def _lift(
    j: int, values: Floats, shift: float, is_settled: bool, lanes: Lanes, room: Room
) -> float:
    """Let boundary neighbours of lane j count with their continuation, linear in the row's value.

    That is `values` there, and `shift`. Returns by how much the last ones were wrong at it.
    """
    worst = 0.0
    for b in range(room.found[0, j]):
        row, way = room.rows[b, j], room.ways[b, j]
        pull = room.pulls[0, j] if way > 0 else room.pulls[1, j]
        value = values[row, j] + shift
        lift, slope = _continuation(row, way, j, value, lanes, room)
        used = room.lift[row, j] - room.stiffness[row, j] * value
        worst = max(worst, abs(pull * lift - used))
        if not is_settled:
            room.stiffness[row, j] = -pull * slope
            room.lift[row, j] = pull * (lift - slope * value)
    return worst


@kernel
def solve_exercised(
    step: Step,
    trapezoidal: bool,
    source: Floats,
    older: Floats,
    held: Floats,
    lanes: Lanes,
    room: Room,
    out: Floats,
) -> None:
    """Solve one stage whose holder may exercise into `room.obstacle`. `out` may be `older`.

    Policy iteration (Howard), from the rows held before, until no row left is worth less than
    exercise and none held would gain; with it the places of the boundaries are refined by
    Newton's method. A lane that is done stays as it is.
    """
    n = len(source) - 1
    one, zero, half = broadcast(1.0), broadcast(0.0), broadcast(0.5)
    tiny = broadcast(ROUNDING)
    store(room.pulls, 0, step.lower)
    store(room.pulls, 1, step.upper)
    for i in range(1, n):
        side = right_side(step, trapezoidal, source, older, i)
        if trapezoidal:
            # An exercised row follows what exercise pays.
            rest = half * (load(source, i) + load(room.obstacle, i))
            side = choose(load(held, i), half, rest, side)
        store(room.sides, i, side)
    for j in range(WIDTH):
        shift = lanes.exercise[1, j] - lanes.exercise[3, j]
        _lift(j, source, shift, False, lanes, room)
        if trapezoidal:
            for b in range(room.found[0, j]):
                row = room.rows[b, j]
                value = source[row, j] + shift
                room.sides[row, j] += room.lift[row, j] - room.stiffness[row, j] * value
    coupling = step.lower * step.upper
    left, right = load(room.edges, 0), load(room.edges, 1)
    # The right edge's pull moves into the sides, and the edge counts as 0 until all is solved.
    # LLVM may take a product with a constant edge out of one loop and fuse it in another; then
    # bits would tell which lanes share a window. Products with 0 are exact either way.
    store(room.sides, n - 1, load(room.sides, n - 1) + step.upper * right)
    store(out, 0, left)
    store(out, n, zero)
    settled = np.zeros(WIDTH, np.bool_)
    # Rows above `plain` are free in all lanes, and eliminated already.
    plain = n
    for solve in range(MOST_SOLVES):
        first, last = int(room.span[0].min()), int(room.span[1].max())
        top = min(int(room.span[2].max()) + 1, n - 1)
        if room.lift[n - 1].any() or room.stiffness[n - 1].any():
            # The edge itself is exercised, and the boundary lies right beside it.
            top = n - 1
        if solve == 0:
            product = zero
            for i in range(n - 1, top, -1):
                product = load(room.factors, i) * (load(room.sides, i) + step.upper * product)
                store(room.products, i, product)
            plain = top
        plain = max(plain, top)
        start = plain
        product, pivot = zero, zero
        if start < n - 1:
            product, pivot = load(room.products, start + 1), load(room.factors, start + 1)
        elif last < n - 1:
            # What lies above is exercised in all lanes.
            start = last
            product = load(room.obstacle, last + 1)
            for i in range(last + 1, n):
                store(out, i, load(room.obstacle, i))
        for i in range(start, first - 1, -1):
            row = load(held, i)
            pivot = one / (step.diagonal + load(room.stiffness, i) - coupling * pivot)
            side = load(room.sides, i) + load(room.lift, i)
            product = choose(
                row, half, load(room.obstacle, i), pivot * (side + step.upper * product)
            )
            pivot = choose(row, half, zero, pivot)
            store(room.products, i, product)
            store(room.pivots, i, pivot)
        value = left
        for i in range(1, first):
            value = load(room.obstacle, i)
            store(out, i, value)
        for i in range(first, start + 1):
            value = load(room.products, i) + (load(room.pivots, i) * step.lower) * value
            store(out, i, value)
        if start == plain:
            for i in range(start + 1, n):
                value = load(room.products, i) + (load(room.factors, i) * step.lower) * value
                store(out, i, value)
        flips = zero
        below, here = left, load(out, 1)
        for i in range(1, n):
            above = load(out, i + 1)
            row = load(held, i)
            pull = step.diagonal * here - step.lower * below - step.upper * above
            gain = choose(row, half, load(room.sides, i) - pull, here - load(room.obstacle, i))
            # Held: hold unless the equation gains. Free: hold where worth less than exercise.
            slack = tiny * (one + here)
            stays = choose(step.diagonal * slack, gain, one, zero)
            leaves = choose(zero - slack, gain, one, zero)
            now = choose(row, half, stays, leaves)
            flips = flips + (now - row) * (now - row)
            store(held, i, now)
            below, here = here, above
        store(room.flips, 0, flips)
        for j in range(WIDTH):
            if settled[j]:
                continue
            if room.flips[0, j] > 0.0:
                find_boundaries(j, held, room)
                _lift(j, out, 0.0, False, lanes, room)
            elif solve >= MOST_REFINEMENTS or _lift(j, out, 0.0, True, lanes, room) <= CLOSE:
                settled[j] = True
            else:
                _lift(j, out, 0.0, False, lanes, room)
        if settled.all():
            break
    store(out, n, right)
