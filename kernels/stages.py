"""The linear system of one stage of TR-BDF2 in ln s, `WIDTH` lanes abreast."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .jit import kernel
from .lanes import Lane, broadcast, choose, load, store
from .tr_bdf2 import BDF_0, BDF_1

if TYPE_CHECKING:
    from .jit import Floats, Indices

CHECKED = 16  # rows after which pivots are compared
BOUNDARIES = 6  # exercise boundaries of a lane that are placed between nodes


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
    """What each lane is, shapes (n + 1, WIDTH) and (4, WIDTH) three times.

    `spots` at the nodes; `market`: r, q and sigma now, and the node spacing; `worth`: what 1 at
    expiry is worth, what a share at expiry is worth: shares s - debt, and the present value of
    escrowed dividends; `exercise`: alpha and level of alpha s + level, beta, and
    the level a stage ago.
    """

    spots: Floats
    market: Floats
    worth: Floats
    exercise: Floats


class Room(NamedTuple):
    """What stages work in.

    Shapes (n + 1, WIDTH), but `edges` (2, WIDTH), `growth` (4, WIDTH): what 1 and a share are
    worth a stage earlier, and a step earlier, `flips` and `pulls`: (1, WIDTH), (2, WIDTH).
    `lift` and `stiffness` are added to the right-hand side and the diagonal, 0 but beside the
    exercise boundaries: `rows`, and on which side of them is exercised, `ways`, shapes
    (BOUNDARIES, WIDTH), the first `found`, shape (1, WIDTH), of each lane. `span`, shape
    (3, WIDTH), has each lane's lowest and highest row that is not held, and highest that is.
    """

    obstacle: Floats
    sides: Floats
    products: Floats
    pivots: Floats
    factors: Floats
    edges: Floats
    growth: Floats
    flips: Floats
    pulls: Floats
    lift: Floats
    stiffness: Floats
    rows: Indices
    ways: Indices
    found: Indices
    span: Indices


class Step(NamedTuple):
    """The matrix 1 - weight L of one step: its three diagonals."""

    lower: Lane
    diagonal: Lane
    upper: Lane


@kernel
def right_side(step: Step, trapezoidal: bool, source: Floats, older: Floats, i: int) -> Lane:
    """Return row i's right-hand side: u + weight L u of `source`, or the backward difference."""
    here = load(source, i)
    if trapezoidal:
        side = step.lower * load(source, i - 1) + (broadcast(2.0) - step.diagonal) * here
        return side + step.upper * load(source, i + 1)
    return broadcast(BDF_1) * here - broadcast(BDF_0) * load(older, i)


@kernel
def factorise(step: Step, pivots: Floats) -> None:
    """Write the pivots of the elimination from the right, the same in both stages of a step."""
    one = broadcast(1.0)
    coupling = step.lower * step.upper
    pivot = broadcast(0.0)
    n = len(pivots) - 1
    for i in range(n - 1, 0, -1):
        pivot = one / (step.diagonal - coupling * pivot)
        store(pivots, i, pivot)
        if (n - i) % CHECKED == 0 and (pivots[i] == pivots[i + 1]).all():
            # They have converged, and are all equal from here on.
            for k in range(i - 1, 0, -1):
                store(pivots, k, pivot)
            return


@kernel
def solve_free(
    step: Step, trapezoidal: bool, source: Floats, older: Floats, room: Room, out: Floats
) -> None:
    """Solve one stage without held rows, the pivots in `room.factors`. `out` may be `older`."""
    n = len(source) - 1
    product = load(room.edges, 1)
    for i in range(n - 1, 0, -1):
        side = right_side(step, trapezoidal, source, older, i)
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
def solve_held(
    step: Step,
    trapezoidal: bool,
    source: Floats,
    older: Floats,
    goal: Floats,
    held: Floats,
    room: Room,
    out: Floats,
) -> None:
    """Solve one stage in which the rows marked in `held` are worth `goal`."""
    n = len(source) - 1
    one, zero, half = broadcast(1.0), broadcast(0.0), broadcast(0.5)
    coupling = step.lower * step.upper
    left, right = load(room.edges, 0), load(room.edges, 1)
    product, pivot = right, zero
    for i in range(n - 1, 0, -1):
        row = load(held, i)
        pivot = one / (step.diagonal - coupling * pivot)
        side = right_side(step, trapezoidal, source, older, i)
        product = choose(row, half, load(goal, i), pivot * (side + step.upper * product))
        pivot = choose(row, half, zero, pivot)
        store(room.products, i, product)
        store(room.pivots, i, pivot)
    value = left
    store(out, 0, left)
    for i in range(1, n):
        value = load(room.products, i) + (load(room.pivots, i) * step.lower) * value
        store(out, i, value)
    store(out, n, right)
