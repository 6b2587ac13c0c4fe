"""Reading between the nodes of a uniform mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .jit import kernel

if TYPE_CHECKING:
    from .jit import Floats


@kernel
def interpolate(
    surface: Floats, start: int, nodes: int, t: float, room: Floats, row: Floats
) -> None:
    """Interpolate at node start + t by the polynomial through `nodes` nodes, in Newton's form.

    A row of `surface` holds the value, its error, and derivatives by parameters, of which `row`
    gets the value, its first and second derivative per node spacing, and the others. `room` has
    shape (nodes, fields without error) at least.
    """
    fields = surface.shape[1] - 1
    for k in range(nodes):
        room[k, 0] = surface[start + k, 0]
        for m in range(1, fields):
            room[k, m] = surface[start + k, m + 1]
    row[:] = 0.0
    # The binomial coefficient (t over k) and its derivatives in t.
    c, d, e = 1.0, 0.0, 0.0
    for k in range(nodes):
        row[0] += c * room[0, 0]
        row[1] += d * room[0, 0]
        row[2] += e * room[0, 0]
        for m in range(1, fields):
            row[m + 2] += c * room[0, m]
        for i in range(nodes - 1 - k):
            for m in range(fields):
                room[i, m] = room[i + 1, m] - room[i, m]
        e = (e * (t - k) + 2.0 * d) / (k + 1)
        d = (d * (t - k) + c) / (k + 1)
        c = c * (t - k) / (k + 1)
