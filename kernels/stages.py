"""One step of TR-BDF2 in ln s, `WIDTH` lanes abreast, with rows that are held at a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .claims import Contracts, rebate
from .elementary import exp
from .jit import kernel
from .lanes import WIDTH, Lane, broadcast, choose, load, store
from .layout import Mesh

if TYPE_CHECKING:
    from .jit import Floats, Indices

ALPHA = 2.0 - np.sqrt(2.0)  # TR-BDF2 with one matrix for both stages
THETA = 0.5 * ALPHA
BDF_1 = 1.0 / (ALPHA * (2.0 - ALPHA))
BDF_0 = (1.0 - ALPHA) ** 2 / (ALPHA * (2.0 - ALPHA))
MOST_POLICIES = 30  # solves of one stage
ROUNDING = 1e-14  # a row changes sides for more than this, relative


class Layer(NamedTuple):
    """One solution: its values, also half-way through a step, and its held rows, marked by 1.

    Rows are held where exercised or knocked in. Shapes (n + 1, WIDTH) three times, then `ends`,
    (4, WIDTH): A and B of what it is worth left of the mesh, A + B s, and right of it.
    """

    u: Floats
    half: Floats
    held: Floats
    ends: Floats


class Lanes(NamedTuple):
    """What each lane is, shapes (n + 1, WIDTH), (4, WIDTH) twice, (2, WIDTH).

    `spots` at the nodes; `market`: r, q and sigma now, and the node spacing; `worth`: what 1 at
    expiry is worth, what a share at expiry is worth: shares s - debt, and the present value of
    escrowed dividends; `exercise`: alpha and level of alpha s + level.
    """

    spots: Floats
    market: Floats
    worth: Floats
    exercise: Floats


class Room(NamedTuple):
    """What stages work in: shapes (n + 1, WIDTH), but `edges` (2, WIDTH) and `flips` (1, WIDTH)."""

    obstacle: Floats
    sides: Floats
    products: Floats
    pivots: Floats
    factors: Floats
    edges: Floats
    flips: Floats


class Step(NamedTuple):
    """The matrix 1 - weight L of one step: its three diagonals."""

    lower: Lane
    diagonal: Lane
    upper: Lane


@kernel
def _factorise(step: Step, pivots: Floats) -> None:
    one = broadcast(1.0)
    coupling = step.lower * step.upper
    pivot = broadcast(0.0)
    for i in range(len(pivots) - 2, 0, -1):
        pivot = one / (step.diagonal - coupling * pivot)
        store(pivots, i, pivot)


@kernel
def _solve_free(
    step: Step, trapezoidal: bool, source: Floats, older: Floats, room: Room, out: Floats
) -> None:
    """Solve one stage without held rows, the pivots in `room.factors`. `out` may be `older`."""
    n = len(source) - 1
    explicit = broadcast(2.0) - step.diagonal
    newer, old = broadcast(BDF_1), broadcast(BDF_0)
    product = load(room.edges, 1)
    for i in range(n - 1, 0, -1):
        if trapezoidal:
            side = step.lower * load(source, i - 1) + explicit * load(source, i)
            side = side + step.upper * load(source, i + 1)
        else:
            side = newer * load(source, i) - old * load(older, i)
        pivot = load(room.factors, i)
        product = pivot * side + (pivot * step.upper) * product
        store(room.products, i, product)
    value = load(room.edges, 0)
    store(out, 0, value)
    for i in range(1, n):
        value = load(room.products, i) + (load(room.factors, i) * step.lower) * value
        store(out, i, value)
    store(out, n, load(room.edges, 1))


@kernel
def _solve_held(
    step: Step,
    trapezoidal: bool,
    source: Floats,
    older: Floats,
    goal: Floats,
    is_free_to_hold: bool,
    held: Floats,
    room: Room,
    out: Floats,
) -> None:
    """Solve one stage in which held rows are worth `goal`. `out` may be `older`.

    With `is_free_to_hold` the holder decides which: policy iteration (Howard), from the rows held
    before, until the rows left are worth no less than `goal` and those held would not gain.
    """
    n = len(source) - 1
    one, zero, half = broadcast(1.0), broadcast(0.0), broadcast(0.5)
    tiny = broadcast(ROUNDING)
    explicit = broadcast(2.0) - step.diagonal
    newer, old = broadcast(BDF_1), broadcast(BDF_0)
    for i in range(1, n):
        here = load(source, i)
        if trapezoidal:
            side = step.lower * load(source, i - 1) + explicit * here
            side = side + step.upper * load(source, i + 1)
            # The value of an exercised row does not change in time.
            side = choose(load(held, i), half, here, side)
        else:
            side = newer * here - old * load(older, i)
        store(room.sides, i, side)
    coupling = step.lower * step.upper
    left, right = load(room.edges, 0), load(room.edges, 1)
    store(out, 0, left)
    store(out, n, right)
    for _ in range(MOST_POLICIES):
        product, pivot = right, zero
        for i in range(n - 1, 0, -1):
            row = load(held, i)
            pivot = one / (step.diagonal - coupling * pivot)
            product = pivot * (load(room.sides, i) + step.upper * product)
            product = choose(row, half, load(goal, i), product)
            pivot = choose(row, half, zero, pivot)
            store(room.products, i, product)
            store(room.pivots, i, pivot)
        value = left
        for i in range(1, n):
            value = load(room.products, i) + (load(room.pivots, i) * step.lower) * value
            store(out, i, value)
        if not is_free_to_hold:
            return
        flips = zero
        below, here = left, load(out, 1)
        for i in range(1, n):
            above = load(out, i + 1)
            row = load(held, i)
            pull = step.diagonal * here - step.lower * below - step.upper * above
            gain = choose(row, half, load(room.sides, i) - pull, here - load(goal, i))
            # Held: hold unless the equation gains. Free: hold where worth less than the goal.
            slack = tiny * (one + here)
            stays = choose(step.diagonal * slack, gain, one, zero)
            leaves = choose(zero - slack, gain, one, zero)
            row_now = choose(row, half, stays, leaves)
            flips = flips + (row_now - row) * (row_now - row)
            store(held, i, row_now)
            below, here = here, above
        store(room.flips, 0, flips)
        if room.flips.max() == 0.0:
            return


@kernel
def set_obstacle(lanes: Lanes, room: Room) -> None:
    """Write what exercise pays at the nodes."""
    alpha, level = load(lanes.exercise, 0), load(lanes.exercise, 1)
    for i in range(len(lanes.spots)):
        store(room.obstacle, i, alpha * load(lanes.spots, i) + level)


class Group(NamedTuple):
    """What the lanes of a group have in common."""

    american: bool
    knocks_in: bool
    continuous: bool
    escrowed: bool


@kernel
def set_edges(
    contracts: Contracts,
    mesh: Mesh,
    families: Indices,
    group: Group,
    is_activated: bool,
    k: float,
    lanes: Lanes,
    layer: Layer,
    room: Room,
) -> None:
    """Write to `room.edges` what each lane's edge nodes are worth a time k further from expiry."""
    n = len(lanes.spots) - 1
    may_exercise = group.american and is_activated
    for j in range(WIDTH):
        f = families[j]
        cash, asset = exp(-lanes.market[0, j] * k), exp(-lanes.market[1, j] * k)
        for side in range(2):
            s = lanes.spots[n * side, j]
            if (mesh.lower_end[f] if side == 0 else mesh.upper_end[f]) != 0:
                amount = contracts.lower_rebate[f] if side == 0 else contracts.upper_rebate[f]
                value = rebate(
                    contracts.timing[f], amount, s, lanes.worth[0, j] * cash,
                    lanes.worth[1, j] * asset, lanes.worth[2, j] * cash,
                )  # fmt: skip
            else:
                value = layer.ends[2 * side, j] * cash + layer.ends[2 * side + 1, j] * s * asset
            if may_exercise:
                value = max(value, lanes.exercise[0, j] * s + lanes.exercise[1, j])
            room.edges[side, j] = value


@kernel
def _age(may_exercise: bool, k: float, lanes: Lanes, layer: Layer) -> None:
    """Carry A and B of a layer's ends a time k further from expiry."""
    n = len(lanes.spots) - 1
    for j in range(WIDTH):
        alpha, level = lanes.exercise[0, j], lanes.exercise[1, j]
        for side in range(2):
            s = lanes.spots[n * side, j]
            a = layer.ends[2 * side, j] * exp(-lanes.market[0, j] * k)
            b = layer.ends[2 * side + 1, j] * exp(-lanes.market[1, j] * k)
            if may_exercise and alpha * s + level > a + b * s:
                a, b = level, alpha
            layer.ends[2 * side, j], layer.ends[2 * side + 1, j] = a, b


@kernel
def _knocked_edges(mesh: Mesh, families: Indices, activated: Floats, room: Room) -> None:
    """Let a knock-in's edge nodes beyond its barriers be worth what is activated there."""
    n = len(activated) - 1
    for j in range(WIDTH):
        if mesh.lower_row[families[j]] >= 0:
            room.edges[0, j] = activated[0, j]
        if mesh.upper_row[families[j]] >= 0:
            room.edges[1, j] = activated[n, j]


@kernel
def take_step(
    contracts: Contracts,
    mesh: Mesh,
    families: Indices,
    group: Group,
    k: float,
    lanes: Lanes,
    activated: Layer,
    layer: Layer,
    room: Room,
) -> None:
    """March both layers by a time k, in place: the trapezoidal stage, the backward difference."""
    h = load(lanes.market, 3)
    r, q, sigma = load(lanes.market, 0), load(lanes.market, 1), load(lanes.market, 2)
    half, one, two = broadcast(0.5), broadcast(1.0), broadcast(2.0)
    weight = broadcast(THETA * k)
    variance = sigma * sigma
    diffusion = half * variance / (h * h)
    advection = half * (r - q - half * variance) / h
    step = Step(
        weight * (diffusion - advection),
        one + weight * (two * diffusion + r),
        weight * (diffusion + advection),
    )
    if not group.american or (group.knocks_in and not group.continuous):
        _factorise(step, room.factors)
    for stage in range(2):
        trapezoidal = stage == 0
        ahead = ALPHA * k if trapezoidal else k
        if group.escrowed:
            for j in range(WIDTH):
                growth = exp(-lanes.market[0, j] * ahead)
                escrow = lanes.worth[3, j] * growth
                lanes.exercise[1, j] = contracts.beta[families[j]] + lanes.exercise[0, j] * escrow
            if group.american:
                set_obstacle(lanes, room)
        if group.knocks_in:
            source = activated.u if trapezoidal else activated.half
            target = activated.half if trapezoidal else activated.u
            set_edges(
                contracts, mesh, families, group, True, ahead, lanes, activated, room
            )
            if group.american:
                _solve_held(
                    step, trapezoidal, source, activated.u, room.obstacle, True, activated.held,
                    room, target,
                )  # fmt: skip
            else:
                _solve_free(step, trapezoidal, source, activated.u, room, target)
        source = layer.u if trapezoidal else layer.half
        target = layer.half if trapezoidal else layer.u
        set_edges(
            contracts, mesh, families, group, not group.knocks_in, ahead, lanes, layer, room
        )
        if group.knocks_in and group.continuous:
            goal = activated.half if trapezoidal else activated.u
            _knocked_edges(mesh, families, goal, room)
            _solve_held(
                step, trapezoidal, source, layer.u, goal, False, layer.held, room, target
            )
        elif group.american and not group.knocks_in:
            _solve_held(
                step, trapezoidal, source, layer.u, room.obstacle, True, layer.held, room, target
            )
        else:
            _solve_free(step, trapezoidal, source, layer.u, room, target)
    if group.knocks_in:
        _age(group.american, k, lanes, activated)
    may_exercise = group.american and not group.knocks_in
    _age(may_exercise, k, lanes, layer)
    for j in range(WIDTH):
        cash, asset = exp(-lanes.market[0, j] * k), exp(-lanes.market[1, j] * k)
        lanes.worth[0, j] *= cash
        lanes.worth[1, j] *= asset
        lanes.worth[2, j] *= cash
        lanes.worth[3, j] *= cash
