"""European options on several lognormal assets, by simulating all factors but one.

Given the others, what an option is worth over the first factor is a sum of Black-Scholes terms
between the places where the payoff bends: one root for most weighted baskets (Choi 2018), several
where holdings of either sign move together, crossings of straight lines in the logarithm for
best-of and worst-of. So values are smooth in all that is simulated, on which scrambled Sobol points
converge fast, and greeks are exact derivatives path by path, gamma too: payoffs are continuous, so
that places move values only from their second derivatives on.

Weighted baskets are priced out of the money; `known` adds what the forward is worth. Controls are
what each asset is worth given the simulated factors; `fit` finds their coefficients on other
randomisations than those that they are used on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import elementary
from .conditional import MOST_CONTROLS, ROWS, chosen, weighted
from .directions import basket_direction, parting_direction, turned, unit_rows
from .draws import Draws, draws, normals
from .folded import folded
from .jit import kernel
from .lanes import WIDTH

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

__all__ = [
    "MOST_CONTROLS",
    "Baskets",
    "Draws",
    "Turned",
    "add_paths",
    "draws",
    "factors_of",
    "fit",
    "known",
    "turn",
    "warm_up",
]

PATHS = 256  # of a block
INDEPENDENT = 1e-7  # of a control's deviation that the others before it must leave


class Baskets(NamedTuple):
    """C options on n assets each.

    `choice` is 0 weighted, 1 the best of, -1 the worst of; `theta` 1 call, -1 put; `asset` the
    place of the one that greeks are for; all three of shape (C,), as are `K`, `T`, the average rate
    `r` up to expiry and the rate now. `S`, `w`, `q`, `sigma` have shape (C, n); `factors`, shape
    (M, n, n), are rows whose products are the correlations, `matrix`, shape (C,), says whose.
    """

    choice: Codes
    theta: Codes
    asset: Indices
    K: Floats
    T: Floats
    r: Floats
    rate_now: Floats
    S: Floats
    w: Floats
    q: Floats
    sigma: Floats
    matrix: Indices
    factors: Floats


class Turned(NamedTuple):
    """What is simulated of C options, of n assets each.

    `holds`, shape (C, n), is the present value of what is held per unit of spot, `loads`, shape
    (C, n, n), each asset's ln-spot by the factors per unit of vol; `dims` counts the factors to
    simulate, `single` says whether a weighted payoff has one boundary at most, `side` whether the
    call or the put is simulated, `cash` is the present value of the strike; shape (C,) each.
    """

    holds: Floats
    loads: Floats
    dims: Indices
    single: Codes
    side: Floats
    cash: Floats


@kernel
def factors_of(correlations: Floats, out: Floats) -> None:
    """Write rows whose products are the correlations of each of M matrices, both (M, n, n)."""
    for m in range(len(correlations)):
        unit_rows(correlations[m], out[m])


@kernel
def turn(b: Baskets) -> Turned:
    """Choose the factors of each option."""
    count, n = b.S.shape
    t = Turned(
        np.empty((count, n)),
        np.empty((count, n, n)),
        np.empty(count, np.int64),
        np.empty(count, np.int8),
        np.empty(count),
        np.empty(count),
    )
    rows, held, direction = np.empty((n, n)), np.empty(n), np.empty(n)
    for c in range(count):
        t.cash[c] = b.K[c] * elementary.exp(-b.r[c] * b.T[c])
        forward = -t.cash[c]
        units = b.factors[b.matrix[c]]
        for i in range(n):
            t.holds[c, i] = b.w[c, i] * elementary.exp(-b.q[c, i] * b.T[c])
            held[i] = b.S[c, i] * t.holds[c, i]
            forward += held[i]
            for k in range(n):
                rows[i, k] = b.sigma[c, i] * units[i, k]
        t.single[c] = 1
        t.side[c] = float(b.theta[c])
        if b.choice[c] != 0:
            parting_direction(rows, held, direction)
        else:
            t.single[c] = basket_direction(rows, held, direction)
            t.side[c] = -1.0 if forward > 0.0 else 1.0
        for i in range(n):
            held[i] *= b.sigma[c, i]
        t.dims[c] = turned(units, held, direction, t.loads[c])
        root = np.sqrt(b.T[c])
        for i in range(n):
            for k in range(n):
                t.loads[c, i, k] *= root
    return t


@kernel
def known(b: Baskets, t: Turned, out: Floats) -> None:
    """Write what is to be added to each option's mean values to `out`, shape (7 + m, C).

    That is the forward, where the option out of the money is simulated instead of the other. The
    last rows are the means of the m controls: what each asset is worth, or all where many.
    """
    n = b.S.shape[1]
    out[:] = 0.0
    for c in range(len(b.theta)):
        for i in range(n):
            out[len(ROWS) + (i if n <= MOST_CONTROLS else 0), c] += b.S[c, i] * t.holds[c, i]
        if t.side[c] == b.theta[c]:
            continue
        theta, T, g = float(b.theta[c]), b.T[c], b.asset[c]
        out[0, c], out[4, c] = -theta * t.cash[c], -theta * b.rate_now[c] * t.cash[c]
        for i in range(n):
            worth = theta * b.S[c, i] * t.holds[c, i]
            out[0, c] += worth
            out[4, c] += b.q[c, i] * worth
        out[1, c] = theta * t.holds[c, g]
        out[5, c] = theta * T * t.cash[c]
        out[6, c] = -T * theta * b.S[c, g] * t.holds[c, g]


@kernel
def add_paths(
    b: Baskets,
    t: Turned,
    draws: Draws,
    going: Indices,
    first_randomisation: int,
    first_path: int,
    last_path: int,
    greeks: bool,
    sums: Floats,
) -> None:
    """Add paths to the sums of the options `going`, shape (a,), for each randomisation.

    Paths are from `first_path` up to `last_path`, in blocks of which both are multiples; `sums` has
    shape (R, a, 7 + m).
    """
    n = b.S.shape[1]
    block = min(PATHS, last_path - first_path)
    z = np.empty((max(n - 1, 1), block))
    rows = sums.shape[2]
    work, lanes = np.empty((3 * n, WIDTH)), np.empty((rows, WIDTH))
    dims = 0
    for c in going:
        dims = max(dims, t.dims[c])
    for randomisation in range(len(sums)):
        for path in range(first_path, last_path, block):
            normals(draws, first_randomisation + randomisation, path, 0, dims, z)
            for place in range(len(going)):
                c = going[place]
                lanes[:] = 0.0
                if b.choice[c] != 0:
                    chosen(b, t, c, z, greeks, work, lanes)
                elif t.single[c]:
                    weighted(b, t, c, z, greeks, work, lanes)
                else:
                    folded(b, t, c, z, greeks, work, lanes)
                for row in range(rows):
                    total = 0.0
                    for lane in range(WIDTH):
                        total += lanes[row, lane]
                    sums[randomisation, place, row] += total


@kernel
def fit(means: Floats, out: Floats) -> None:
    """Regress values on controls, by least squares, and write the coefficients to `out`.

    `means`, shape (R, C, 7 + m), has both for each of R randomisations; `out` has shape (C, 7, m).
    Controls that others explain get 0. By Gram and Schmidt's orthogonalisation, modified.
    """
    count, cells, columns = means.shape
    values = len(ROWS)
    x, above = np.empty((columns, count)), np.zeros((columns, columns))
    for c in range(cells):
        for j in range(columns):
            mean = 0.0
            for r in range(count):
                mean += means[r, c, j]
            for r in range(count):
                x[j, r] = means[r, c, j] - mean / count
        for j in range(values, columns):
            size = np.sqrt(_product(x[j], x[j]))
            for i in range(values, j):
                above[i, j] = _product(x[i], x[j])
                for r in range(count):
                    x[j, r] -= above[i, j] * x[i, r]
            left = np.sqrt(_product(x[j], x[j]))
            above[j, j] = left if left > INDEPENDENT * size else 0.0
            for r in range(count):
                x[j, r] = x[j, r] / left if above[j, j] > 0.0 else 0.0
        for value in range(values):
            for j in range(columns - 1, values - 1, -1):
                rest = _product(x[j], x[value])
                for i in range(j + 1, columns):
                    rest -= above[j, i] * out[c, value, i - values]
                out[c, value, j - values] = rest / above[j, j] if above[j, j] > 0.0 else 0.0


@kernel
def _product(a: Floats, b: Floats) -> float:
    total = 0.0
    for r in range(len(a)):
        total += a[r] * b[r]
    return total


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int64 and int8."""
    code, place = np.zeros(1, np.int8), np.zeros(1, np.int64)
    one, square = np.ones(1), np.ones((1, 1, 1))
    factors_of(square, square.copy())
    each = square[0]
    b = Baskets(code, code, place, one, one, one, one, each, each, each, each, place, square)
    t = turn(b)
    rows = len(ROWS) + 1
    known(b, t, np.empty((rows, 1)))
    sums = np.zeros((2, 1, rows))
    add_paths(b, t, draws(0, True, 1), place, 0, 0, WIDTH, True, sums)
    fit(sums, np.empty((1, len(ROWS), 1)))
