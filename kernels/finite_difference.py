"""European and American options by finite differences: one solve prices a family.

With constant rate r, yield q and vol sigma a put is V(S, K, T) = K u(ln S/K, sigma^2 T), where u
depends on a = r/sigma^2 and b = q/sigma^2 alone, so one march in variance time prices every spot,
strike and expiry (a few marches, where expiries span more than one mesh resolves); a call is the
put with spot and strike, r and q exchanged. The problem is

    u_t = L u = u_xx/2 + (a - b - 1/2) u_x - a u,   u >= 1 - exp(x) where American.

Space (`mesh`): uniform in x with the strike on a node, whose initial value is the payoff's average
over its cell, so that meshes nest and the error is even in the spacing h (Tavella and Randall
2000). Time (`marching`): TR-BDF2 (Bank et al. 1985), L-stable, on nodes about equal in sqrt(t),
through every expiry. Early exercise: each stage is solved with its complementarity condition by
one elimination (Brennan and Schwartz 1977; exact for one boundary: Jaillet, Lamberton and
Lapeyre 1990); between two nodes the boundary is carried to third order, without which the error
would depend on where between them it lies. The derivatives in a and b march along with the same
factors.

Meshes double until the error holds (`surface`): two extrapolated solutions, from h, h/2 and from
h/2, h/4, each free of the h^2 term, are compared node by node. `WIDTH` families march abreast, one
a lane; a lane never sees its neighbours, so neither do its bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .marching import march, work_size
from .mesh import BASE_NODES, Options, Problems, prepare, spans
from .surface import TOP_LEVEL, Surfaces, evaluate, extrapolate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .jit import Floats, Indices

__all__ = ["Options", "Surfaces", "evaluate", "solve", "warm_up"]

GROUP_SLICES = 512  # expiries, over all spans, that are solved together
FINE = 1e-5  # a tolerance from which on the coarsest mesh is left out: greeks ask for more
TRUNCATION = 5e-3  # of the tolerance, or of 4e-6 if that is less, for cutting the domain


def solve(options: Options, tolerance: float, greeks: bool) -> Surfaces:
    """Solve F families, each refined until its error is below `tolerance` per unit of strike.

    The error counts inside the family's bounds; meshes stop at `TOP_LEVEL` all the same. `greeks`
    asks for the derivatives that vega, rho and dividend_rho need.
    """
    parts = spans(options)
    cut = TRUNCATION * min(tolerance, 4e-6)
    problems = Problems(*prepare(parts, cut))
    offsets = parts.expiry_offsets
    slices = np.diff(offsets)
    channels = 3 if greeks else 1
    total = offsets[-1]
    surfaces = Surfaces(
        left=np.empty(total),
        spacing=np.empty(total),
        sizes=np.empty(total, np.int64),
        fields=channels + 1,
        starts=np.empty(total, np.int64),
        values=np.empty(0),
        exercised=np.empty(total, np.int8),
        boundary=np.empty(total),
        first=np.empty(total, np.int64),
        square=np.empty(total),
        cut=cut,
    )
    pieces: list[Floats] = []
    filled = 0
    rooms: dict[int, Floats] = {}
    for group in _groups(offsets):
        active = np.arange(group.start, group.stop)
        levels: list[Floats] = []
        coarsest = 1 if tolerance <= FINE else 0
        for level in range(coarsest, TOP_LEVEL + 1):
            rows = np.concatenate(([0], np.cumsum(slices[active])))
            # The coarsest mesh serves the error alone, and that is the price's.
            derived = greeks and level > coarsest
            shape = (rows[-1], (BASE_NODES << level) + 1, 3 if derived else 1)
            if level not in rooms or len(rooms[level]) < rows[-1]:
                rooms[level] = np.empty(shape)
            levels.append(rooms[level][: rows[-1]])
            work = np.empty(work_size(level))
            # Lanes side by side whose boundaries are, too, share more of the work.
            order = np.argsort(problems.left_nodes[active], kind="stable")
            march(
                level, derived, active[order], parts.american, problems, offsets, rows[order], work,
                levels[-1],
            )  # fmt: skip
            if len(levels) < 3:
                continue
            values = np.empty(rows[-1] * levels[1].shape[1] * surfaces.fields)
            done = np.empty(len(active), np.bool_)
            coarse, medium, fine = levels
            taken = extrapolate(
                level, tolerance - cut, active, parts, problems, rows, coarse, medium, fine,
                surfaces, values, done,
            )  # fmt: skip
            pieces.append(values[:taken].copy())
            ready = np.repeat(done, slices[active])
            place = np.repeat(offsets[active] - rows[:-1], slices[active]) + np.arange(rows[-1])
            surfaces.starts[place[ready]] += filled
            filled += taken
            active = active[~done]
            if not len(active):
                break
            levels = [medium[~ready], fine[~ready]]
    return surfaces._replace(values=np.concatenate(pieces))


def at_the_money(options: Options, levels: int) -> Floats:
    """Return what each mesh alone says where spot is strike, per unit of it, shape (levels, F).

    There a node lies, so that nothing is interpolated, nor extrapolated; level l has
    ``BASE_NODES << l`` intervals. Each of the F families has one expiry.
    """
    problems = Problems(*prepare(options, TRUNCATION * 1e-9))
    every, offsets = np.arange(len(options.theta)), options.expiry_offsets
    values = np.empty((levels, len(every)))
    for level in range(levels):
        out, work = np.empty((len(every), (BASE_NODES << level) + 1, 1)), np.empty(work_size(level))
        march(level, False, every, options.american, problems, offsets, offsets, work, out)
        values[level] = out[every, problems.left_nodes << level, 0]
    return values


def _groups(offsets: Indices) -> Iterator[range]:
    """Cut spans, delimited by `offsets`, into groups whose levels fit in memory together."""
    start = 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + GROUP_SLICES, side="right")) - 1
        stop = max(stop, start + 1)
        yield range(start, stop)
        start = stop


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int8 and int64."""
    one, sign, offsets = np.ones(1), np.ones(1, np.int8), np.array([0, 1])
    options = Options(-sign, sign, one, one, one, one, one, offsets, one)
    for greeks in (False, True):
        surfaces = solve(options, 1.0, greeks)
        evaluate(options, surfaces, offsets, one, one, one, np.empty((8, 1)))
