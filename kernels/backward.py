"""The backward march of families that share their dates, `WIDTH` lanes abreast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .claims import KNOCKS_IN, Contracts
from .events import begin, dividend, exercise, fill_spots, fit_ends, watch
from .freeboundary import find_boundaries
from .jit import kernel
from .lanes import WIDTH
from .layout import Mesh
from .schedule import Schedule
from .stages import BOUNDARIES, Lanes, Layer, Room
from .stepping import Group, set_edges, set_obstacle, take_step

if TYPE_CHECKING:
    from .jit import Floats, Indices

BUMPS = 7  # a family as it is, and with sigma, r and q up and down
SIGMA_BUMP = 1e-2  # of the least sigma
RATE_BUMP = 2e-3  # at most; it moves the forward by little against the deviation


@kernel
def sigma_bump(contracts: Contracts, f: int) -> float:
    """Return by how much sigma is shifted in all segments of family f."""
    least = np.inf
    for g in range(contracts.segment_offsets[f], contracts.segment_offsets[f + 1]):
        least = min(least, contracts.sigma[g])
    return SIGMA_BUMP * least


@kernel
def rate_bump(contracts: Contracts, f: int) -> float:
    """Return by how much r and q are shifted in all segments of family f."""
    T = contracts.expiries[contracts.expiry_offsets[f + 1] - 1]
    deviations = 2.0 * sigma_bump(contracts, f) / np.sqrt(T)
    return float(min(RATE_BUMP, deviations, 2.5 * RATE_BUMP / T))


@kernel
def _set_market(
    contracts: Contracts, families: Indices, bumps: Indices, segment: int, lanes: Lanes
) -> None:
    for j in range(WIDTH):
        at = contracts.segment_offsets[families[j]] + segment
        sign = 1.0 if bumps[j] % 2 == 1 else -1.0
        which = (bumps[j] + 1) // 2
        shift = sign * rate_bump(contracts, families[j])
        lanes.market[0, j] = contracts.r[at] + (shift if which == 2 else 0.0)
        lanes.market[1, j] = contracts.q[at] + (shift if which == 3 else 0.0)
        lanes.market[2, j] = contracts.sigma[at]
        if which == 1:
            lanes.market[2, j] += sign * sigma_bump(contracts, families[j])


@kernel
def _settle(
    contracts: Contracts, mesh: Mesh, families: Indices, group: Group, activated: Layer,
    layer: Layer, lanes: Lanes, room: Room,
) -> None:  # fmt: skip
    """After values have changed: what lies at and beyond the ends, and what is knocked in."""
    n = len(lanes.spots) - 1
    if group.american:
        set_obstacle(lanes, room)
    room.growth[:] = 1.0
    set_edges(contracts, mesh, families, group, not group.knocks_in, 0, lanes, layer, room)
    for j in range(WIDTH):
        f = families[j]
        spots, values, others = lanes.spots[:, j], layer.u[:, j], activated.u[:, j]
        if mesh.lower_end[f] != 0:
            values[0] = room.edges[0, j]
        if mesh.upper_end[f] != 0:
            values[n] = room.edges[1, j]
        if group.knocks_in:
            fit_ends(spots, others, activated.ends[:, j])
            if group.continuous:
                lower, upper = mesh.lower_row[f], mesh.upper_row[f]
                for i in range(n + 1):
                    if i <= lower or 0 <= upper <= i:
                        layer.held[i, j] = 1.0
                        values[i] = others[i]
                    else:
                        layer.held[i, j] = 0.0
        fit_ends(spots, values, layer.ends[:, j])


@kernel
def _hold(group: Group, activated: Layer, layer: Layer, lanes: Lanes, room: Room) -> None:
    """Hold the rows that are exercised, and go on to be: to wait would cost more than it earns.

    A call just before a dividend is exercised, but not a little earlier. Its rows, if held, would
    enter the next step as if they had followed what exercise pays.
    """
    exercised = activated if group.knocks_in else layer
    for j in range(WIDTH):
        r, q = lanes.market[0, j], lanes.market[1, j]
        alpha, beta = lanes.exercise[0, j], lanes.exercise[2, j]
        for i in range(len(lanes.spots)):
            loses = q * alpha * lanes.spots[i, j] + r * beta > 0.0
            is_held = loses and exercised.u[i, j] <= room.obstacle[i, j]
            exercised.held[i, j] = 1.0 if is_held else 0.0
        find_boundaries(j, exercised.held, room)


@kernel
def _begin(
    contracts: Contracts, mesh: Mesh, f: int, j: int, lanes: Lanes, activated: Layer, layer: Layer
) -> None:
    """Set lane j at expiry."""
    fill_spots(mesh.left[f], mesh.width[f], lanes.spots[:, j])
    lanes.market[3, j] = mesh.width[f]
    lanes.worth[0, j], lanes.worth[1, j], lanes.worth[2, j], lanes.worth[3, j] = 1.0, 1.0, 0.0, 0.0
    lanes.exercise[0, j], lanes.exercise[1, j] = contracts.alpha[f], contracts.beta[f]
    lanes.exercise[2, j] = lanes.exercise[3, j] = contracts.beta[f]
    knocks_in = contracts.knock[f] == KNOCKS_IN
    target = activated.u[:, j] if knocks_in else layer.u[:, j]
    begin(contracts, f, mesh.left[f], mesh.width[f], lanes.spots[:, j], target)
    if knocks_in:
        layer.u[:, j] = contracts.lower_rebate[f]


@kernel
def _happen(
    contracts: Contracts, mesh: Mesh, f: int, j: int, at: int, lanes: Lanes, activated: Layer,
    layer: Layer, room: Room,
) -> None:  # fmt: skip
    """Take lane j back over the event `at`: the dividend, exercise, the look at the barriers."""
    h = lanes.market[3, j]
    knocks_in = contracts.knock[f] == KNOCKS_IN
    continuous = contracts.continuous[f] != 0
    spots, values, others = lanes.spots[:, j], layer.u[:, j], activated.u[:, j]
    cash, proportional = contracts.event_cash[at], contracts.event_proportional[at]
    pays = cash > 0.0 or proportional > 0.0
    if contracts.escrowed[f] != 0:
        lanes.worth[3, j] += cash
        lanes.exercise[1, j] += contracts.alpha[f] * cash
        cash = 0.0
    if cash > 0.0 or proportional > 0.0:
        row = -1
        if mesh.lower_end[f] != 0:
            row = 0
        elif continuous:
            row = mesh.lower_row[f]
        dividend(
            contracts, f, cash, proportional, mesh.left[f], h, row, layer.ends[:, j], spots,
            others, values, room.sides[:, j],
        )  # fmt: skip
        if knocks_in:
            dividend(
                contracts, f, cash, proportional, mesh.left[f], h, -1, activated.ends[:, j],
                spots, others, others, room.sides[:, j],
            )  # fmt: skip
        lanes.worth[1, j] *= 1.0 - proportional
        lanes.worth[2, j] += lanes.worth[1, j] * cash
    alpha, level = lanes.exercise[0, j], lanes.exercise[1, j]
    if contracts.event_exercise[at] != 0 or (pays and contracts.american[f] != 0):
        exercise(alpha, level, h, spots, others if knocks_in else values, room.sides[:, j])
    if contracts.event_monitor[at] != 0 and not continuous:
        watch(
            contracts, f, mesh.lower_row[f], mesh.upper_row[f], alpha, level, lanes.worth[0, j],
            lanes.worth[1, j], lanes.worth[2, j], spots, others, values,
        )  # fmt: skip


@kernel
def _layer(n: int) -> Layer:
    shape = (n + 1, WIDTH)
    return Layer(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros((4, WIDTH)))


@kernel
def march(
    level: int,
    chosen: Indices,
    bumps: Indices,
    contracts: Contracts,
    mesh: Mesh,
    schedule: Schedule,
    out: Floats,
) -> None:
    """March families `chosen`, which share their dates and shapes, on the meshes of one level.

    `mesh` is that of the level, `schedule` that of any of them at level 0; ``bumps[i]`` says what
    of family chosen[i] is shifted: nothing (0), or sigma, r, q up (1, 3, 5) or down (2, 4, 6).
    Writes the value at the nodes at each expiry to `out`, shape (len(chosen), expiries, nodes).
    """
    splits = 1 << level
    some = chosen[0]
    n = out.shape[2] - 1
    group = Group(
        contracts.american[some] != 0,
        contracts.knock[some] == KNOCKS_IN,
        contracts.continuous[some] != 0,
        contracts.escrowed[some] != 0,
    )
    shape = (n + 1, WIDTH)
    layer, activated = _layer(n), _layer(n if group.knocks_in else 1)
    lanes = Lanes(np.empty(shape), np.empty((4, WIDTH)), np.empty((4, WIDTH)), np.empty((4, WIDTH)))
    room = Room(
        np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape),
        np.empty((2, WIDTH)), np.empty((4, WIDTH)), np.empty((1, WIDTH)), np.empty((2, WIDTH)),
        np.zeros(shape),
        np.zeros(shape), np.empty((BOUNDARIES, WIDTH), np.int64),
        np.empty((BOUNDARIES, WIDTH), np.int64), np.zeros((1, WIDTH), np.int64),
        np.empty((3, WIDTH), np.int64),
    )  # fmt: skip
    families, shifted = np.empty(WIDTH, np.int64), np.empty(WIDTH, np.int64)
    steps = len(schedule.anchor)
    for start in range(0, len(chosen), WIDTH):
        live = min(WIDTH, len(chosen) - start)
        for j in range(WIDTH):
            # A lane without a family repeats the last one.
            families[j] = chosen[start + min(j, live - 1)]
            shifted[j] = bumps[start + min(j, live - 1)]
            _begin(contracts, mesh, families[j], j, lanes, activated, layer)
        for m in range(-1, steps):
            event = schedule.first_event
            if m >= 0:
                event = schedule.event[m]
                wide = schedule.stop[m] - schedule.start[m]
                for part in range(splits):
                    before = schedule.start[m] + wide * part / splits
                    after = schedule.start[m] + wide * (part + 1) / splits
                    k = after * after - before * before
                    take_step(contracts, mesh, families, group, k, lanes, activated, layer, room)
            if event >= 0:
                for j in range(WIDTH):
                    at = contracts.event_offsets[families[j]] + event
                    _happen(contracts, mesh, families[j], j, at, lanes, activated, layer, room)
            enters = m + 1 < steps and (m < 0 or schedule.segment[m + 1] != schedule.segment[m])
            if enters:
                _set_market(contracts, families, shifted, schedule.segment[m + 1], lanes)
            if event >= 0 or m < 0:
                _settle(contracts, mesh, families, group, activated, layer, lanes, room)
            if group.american and (event >= 0 or enters):
                _hold(group, activated, layer, lanes, room)
            if m >= 0 and schedule.expiry[m] >= 0:
                for j in range(live):
                    out[start + j, schedule.expiry[m]] = layer.u[:, j]
