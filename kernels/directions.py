"""Factors of correlated assets, turned so that integrating over the first makes payoffs smooth.

Asset i ends at ``S_i exp((r - q_i) T - sigma_i^2 T / 2 + sqrt(T) sigma_i u_i.z)`` with independent
normals z and unit rows u_i, u_i.u_j their correlation. Any rotation of z is as good in law. The
first factor is integrated in closed form (kernels/baskets.py); it is chosen such that

- what a weighted basket holds long rises with it and what it is short falls, so that payoffs have
  one boundary: the direction of the basket's gradient where that does (Choi 2018), else what
  remains of it after projecting on the directions that do;
- the assets of a best-of or worst-of part as far as they can, from each other and from the strike.

The other factors are principal components of what is left, the largest first, which is what Sobol
points are best at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .jit import kernel

if TYPE_CHECKING:
    from .jit import Floats

SWEEPS = 30
PROJECTIONS = 200
CANDIDATES = 64
APART = 0.03
# Of the variance that the gradient explains: less of it, and several boundaries cost less.
LEAST_SHARE = 1e-3
NOTHING = 1e-14  # of the largest eigenvalue


@kernel
def eigen(matrix: Floats, vectors: Floats) -> None:
    """Diagonalise a symmetric matrix, shape (n, n), by Jacobi's rotations, in place.

    Its diagonal becomes the eigenvalues, decreasing; the columns of `vectors` their eigenvectors.
    """
    n = len(matrix)
    for i in range(n):
        for j in range(n):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(SWEEPS):
        off = size = 0.0
        for i in range(n):
            size += matrix[i, i] * matrix[i, i]
            for j in range(i):
                off += matrix[i, j] * matrix[i, j]
        if off <= 1e-32 * size:
            break
        for i in range(n - 1):
            for j in range(i + 1, n):
                if matrix[i, j] == 0.0:
                    continue
                slope = (matrix[j, j] - matrix[i, i]) / (2.0 * matrix[i, j])
                tangent = 1.0 / (abs(slope) + np.sqrt(slope * slope + 1.0))
                tangent = -tangent if slope < 0.0 else tangent
                cosine = 1.0 / np.sqrt(tangent * tangent + 1.0)
                sine = tangent * cosine
                for k in range(n):
                    a, b = matrix[k, i], matrix[k, j]
                    matrix[k, i], matrix[k, j] = cosine * a - sine * b, sine * a + cosine * b
                for k in range(n):
                    a, b = matrix[i, k], matrix[j, k]
                    matrix[i, k], matrix[j, k] = cosine * a - sine * b, sine * a + cosine * b
                    a, b = vectors[k, i], vectors[k, j]
                    vectors[k, i], vectors[k, j] = cosine * a - sine * b, sine * a + cosine * b
    for i in range(n - 1):
        largest = i
        for j in range(i + 1, n):
            if matrix[j, j] > matrix[largest, largest]:
                largest = j
        if largest != i:
            matrix[i, i], matrix[largest, largest] = matrix[largest, largest], matrix[i, i]
            for k in range(n):
                vectors[k, i], vectors[k, largest] = vectors[k, largest], vectors[k, i]


@kernel
def unit_rows(correlation: Floats, out: Floats) -> None:
    """Write rows whose products are the correlations, shape (n, n), to `out`, shape (n, n).

    The correlation matrix may be singular: what rounding leaves below 0 counts as 0.
    """
    n = len(correlation)
    diagonal, vectors = correlation.copy(), np.empty((n, n))
    eigen(diagonal, vectors)
    for j in range(n):
        value = diagonal[j, j]
        root = np.sqrt(value) if value > NOTHING * diagonal[0, 0] else 0.0
        for i in range(n):
            out[i, j] = root * vectors[i, j]


@kernel
def _dot(a: Floats, b: Floats) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@kernel
def _normalise(direction: Floats) -> None:
    size = np.sqrt(_dot(direction, direction))
    if size == 0.0:
        direction[0] = size = 1.0
    for k in range(len(direction)):
        direction[k] /= size


@kernel
def basket_direction(rows: Floats, held: Floats, direction: Floats) -> bool:
    """Choose the first factor of a weighted basket; return whether it has one boundary.

    `rows`, shape (n, n), are sigma_i u_i, `held`, shape (n,), what is held of each asset, short
    where negative. The projection on the cone of directions along which nothing held long falls and
    nothing held short rises is Hildreth's. Where little is left, it is the component along
    which holdings vary most.
    """
    n = len(held)
    gradient = np.zeros(n)
    for i in range(n):
        for k in range(n):
            gradient[k] += held[i] * rows[i, k]
    direction[:] = gradient
    multipliers = np.zeros(n)
    for _ in range(PROJECTIONS):
        moved = False
        for i in range(n):
            sign = 1.0 if held[i] > 0.0 else -1.0
            square = _dot(rows[i], rows[i])
            if held[i] == 0.0 or square == 0.0:
                continue
            change = max(-multipliers[i], -sign * _dot(rows[i], direction) / square)
            if change != 0.0:
                moved = True
                multipliers[i] += change
                for k in range(n):
                    direction[k] += change * sign * rows[i, k]
        if not moved:
            break
    varies = np.zeros(n)
    for i in range(n):
        for k in range(n):
            varies[k] += held[i] * held[i] * rows[i, k] * rows[i, k]
    total = _dot(varies, np.ones(n))
    if total > 0.0 and _dot(direction, direction) < LEAST_SHARE * total:
        products, vectors = np.zeros((n, n)), np.empty((n, n))
        for i in range(n):
            for k in range(n):
                for m in range(n):
                    products[k, m] += held[i] * held[i] * rows[i, k] * rows[i, m]
        eigen(products, vectors)
        direction[:] = vectors[:, 0]
        return False
    _normalise(direction)
    return True


@kernel
def parting_direction(rows: Floats, held: Floats, direction: Floats) -> None:
    """Choose the first factor of a best-of or worst-of, with arguments as `basket_direction`.

    Of some directions it takes one that explains much of what all holdings together vary,
    and along which any two assets, or an asset and cash, part: at least `APART` of what they differ
    by, else as much as can be.
    """
    n = len(rows)
    gradient = np.zeros(n)
    for i in range(n):
        for k in range(n):
            gradient[k] += held[i] * rows[i, k]
    pairs = n * (n + 1) // 2
    # The squared distance of two assets; on the diagonal, from cash.
    squares = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            size = 0.0
            for k in range(n):
                other = rows[j, k] if j < i else 0.0
                squares[i, j] += (rows[i, k] - other) * (rows[i, k] - other)
                size += rows[i, k] * rows[i, k] + other * other
            if squares[i, j] <= NOTHING * size:
                squares[i, j] = 0.0
    trial, along = np.empty(n), np.empty(n)
    best = -1.0
    state = 1
    for candidate in range(CANDIDATES + min(pairs, CANDIDATES)):
        if candidate < CANDIDATES:
            trial[:] = gradient
            for i in range(n):
                # A linear congruential generator (Lewis, Goodman and Miller 1969) is random enough.
                state = (16807 * state) % 2147483647
                weight = held[i] * (state / 1073741823.5 - 1.0) * (0.25 + candidate % 4)
                for k in range(n):
                    trial[k] += weight * rows[i, k]
        else:
            i, j = 0, candidate - CANDIDATES
            while j > i:
                j -= i + 1
                i += 1
            for k in range(n):
                trial[k] = rows[i, k] - (rows[j, k] if j < i else 0.0)
        _normalise(trial)
        least = APART
        for i in range(n):
            along[i] = _dot(rows[i], trial)
            for j in range(i + 1):
                if squares[i, j] > 0.0:
                    gap = along[i] - (along[j] if j < i else 0.0)
                    least = min(least, gap * gap / squares[i, j])
        share = _dot(gradient, trial)
        score = least * share * share
        if score > best:
            best = score
            direction[:] = trial


@kernel
def turned(rows: Floats, held: Floats, direction: Floats, out: Floats) -> int:
    """Write `rows`, in coordinates whose first axis is `direction`, to `out`, shape (n, n).

    The others are the principal components of the rows weighted by `held`, shape (n,), largest
    first. Returns how many of them do not vanish.
    """
    n = len(rows)
    # The reflection that takes the first axis to the direction, or to its opposite.
    mirror = direction.copy()
    sign = -1.0 if direction[0] > 0.0 else 1.0
    mirror[0] -= sign
    square = _dot(mirror, mirror)
    rest = np.empty((n, n - 1))
    for i in range(n):
        share = 2.0 * _dot(rows[i], mirror) / square
        for k in range(1, n):
            rest[i, k - 1] = rows[i, k] - share * mirror[k]
        out[i, 0] = _dot(rows[i], direction)
    products, vectors = np.zeros((n - 1, n - 1)), np.empty((n - 1, n - 1))
    for i in range(n):
        weight = held[i] * held[i]
        for k in range(n - 1):
            for m in range(n - 1):
                products[k, m] += weight * rest[i, k] * rest[i, m]
    if n == 1:
        return 0
    eigen(products, vectors)
    whole = 0.0
    for i in range(n):
        whole += held[i] * held[i] * _dot(rows[i], rows[i])
    count = 0
    for k in range(n - 1):
        if products[k, k] > NOTHING * whole:
            count = k + 1
        for i in range(n):
            total = 0.0
            for m in range(n - 1):
                total += rest[i, m] * vectors[m, k]
            out[i, k + 1] = total
    return count
