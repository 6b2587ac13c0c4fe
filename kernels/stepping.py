"""One step of TR-BDF2, backwards in time: the mesh's edges, then two stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .claims import Contracts, rebate
from .elementary import exp
from .freeboundary import solve_exercised
from .jit import kernel
from .lanes import WIDTH, broadcast, load, store
from .layout import Mesh
from .stages import Lanes, Layer, Room, Step, factorise, solve_free, solve_held
from .tr_bdf2 import ALPHA, THETA

if TYPE_CHECKING:
    from .jit import Floats, Indices


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
    stage: int,
    lanes: Lanes,
    layer: Layer,
    room: Room,
) -> None:
    """Write to `room.edges` what each lane's edge nodes are worth at the end of a stage."""
    n = len(lanes.spots) - 1
    may_exercise = group.american and is_activated
    for j in range(WIDTH):
        f = families[j]
        cash, asset = room.growth[2 * stage, j], room.growth[2 * stage + 1, j]
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
def _age(may_exercise: bool, lanes: Lanes, layer: Layer, room: Room) -> None:
    """Carry A and B of a layer's ends a step further from expiry."""
    n = len(lanes.spots) - 1
    for j in range(WIDTH):
        alpha, level = lanes.exercise[0, j], lanes.exercise[1, j]
        for side in range(2):
            s = lanes.spots[n * side, j]
            a = layer.ends[2 * side, j] * room.growth[2, j]
            b = layer.ends[2 * side + 1, j] * room.growth[3, j]
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
    factorise(step, room.factors)
    for j in range(WIDTH):
        for row in range(2):
            rate = lanes.market[row, j]
            room.growth[row, j] = exp(-rate * (ALPHA * k))
            room.growth[2 + row, j] = exp(-rate * k)
    for stage in range(2):
        trapezoidal = stage == 0
        if group.escrowed:
            for j in range(WIDTH):
                lanes.exercise[3, j] = lanes.exercise[1, j]
                escrow = lanes.worth[3, j] * room.growth[2 * stage, j]
                lanes.exercise[1, j] = contracts.beta[families[j]] + lanes.exercise[0, j] * escrow
            if group.american:
                set_obstacle(lanes, room)
        if group.knocks_in:
            source = activated.u if trapezoidal else activated.half
            target = activated.half if trapezoidal else activated.u
            set_edges(contracts, mesh, families, group, True, stage, lanes, activated, room)
            if group.american:
                solve_exercised(
                    step, trapezoidal, source, activated.u, activated.held, lanes, room, target
                )
            else:
                solve_free(step, trapezoidal, source, activated.u, room, target)
        source = layer.u if trapezoidal else layer.half
        target = layer.half if trapezoidal else layer.u
        set_edges(contracts, mesh, families, group, not group.knocks_in, stage, lanes, layer, room)
        if group.knocks_in and group.continuous:
            goal = activated.half if trapezoidal else activated.u
            _knocked_edges(mesh, families, goal, room)
            solve_held(step, trapezoidal, source, layer.u, goal, layer.held, room, target)
        elif group.american and not group.knocks_in:
            solve_exercised(step, trapezoidal, source, layer.u, layer.held, lanes, room, target)
        else:
            solve_free(step, trapezoidal, source, layer.u, room, target)
    if group.knocks_in:
        _age(group.american, lanes, activated, room)
    may_exercise = group.american and not group.knocks_in
    _age(may_exercise, lanes, layer, room)
    for j in range(WIDTH):
        lanes.worth[0, j] *= room.growth[2, j]
        lanes.worth[1, j] *= room.growth[3, j]
        lanes.worth[2, j] *= room.growth[2, j]
        lanes.worth[3, j] *= room.growth[2, j]
