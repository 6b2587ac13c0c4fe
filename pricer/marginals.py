"""What a grid's cells come to along each axis: the mean of every measure, by the axis' values.

Marginals are an array of shape (2, M, V): the sums of M measures and the counts of their values,
over V positions, those of one axis after the other. Those of parts of a run add up.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from .grid import Axis

    Floats = NDArray[np.float64]

# Longer axes have none: a table that nobody reads.
MOST_VALUES = 100


def marginals(
    axes: Sequence[Axis], measures: Sequence[str], first: int, parts: Sequence[Mapping[str, Any]]
) -> Floats:
    """Sum up consecutive cells, the first of them cell `first`, that come in decoded blocks.

    Cells are numbered in C order over `axes`. Only cells that are ok count, and of these the
    values there are: a measure may be missing where the price is not.
    """
    table = np.stack([np.concatenate([part[name] for part in parts]) for name in measures])
    status = np.concatenate([part["status"] for part in parts])
    counted = np.isfinite(table) & (status == Status.ok)
    table[~counted] = 0.0
    # Where no measure is missing, all have the same counts: one row stands for them.
    counts = counted[:1] if (counted == counted[0]).all() else counted
    level = np.concatenate([table, counts])
    found = [level[:, :0]]
    for axis in reversed(axes):
        if len(axis) > MOST_VALUES:
            level = _folded(level, first, len(axis))
        else:
            rows = _rows(level, first, len(axis))
            found.append(rows.sum(axis=1))
            level = rows.sum(axis=2)
        first //= len(axis)
    by_position = np.concatenate(found[::-1], axis=1)
    sums, tally = by_position[: len(table)], by_position[len(table) :]
    return np.stack([sums, np.broadcast_to(tally, sums.shape)])


def _rows(level: Floats, first: int, size: int) -> Floats:
    """Lay out columns, the first of them column `first`, in rows of `size`, zero where none is."""
    before = first % size
    count = level.shape[1]
    padded = np.zeros((len(level), -(-(before + count) // size) * size))
    padded[:, before : before + count] = level
    return padded.reshape(len(level), -1, size)


def _folded(level: Floats, first: int, size: int) -> Floats:
    """Sum up the columns, the first of them column `first`, of each row of `size`."""
    cuts = np.arange(size - first % size, level.shape[1], size)
    return np.add.reduceat(level, np.concatenate(([0], cuts)), axis=1)


def pack(totals: Floats) -> bytes:
    """Return marginals as bytes."""
    return zlib.compress(totals.astype("<f8", copy=False).tobytes())


def unpack(data: bytes, axes: Sequence[Axis], measures: Sequence[str]) -> Floats:
    """Read back what `pack` packed."""
    positions = sum(len(axis) for axis in axes if len(axis) <= MOST_VALUES)
    numbers = np.frombuffer(zlib.decompress(data), "<f8")
    return numbers.reshape(2, len(measures), positions)


def merge(parts: Iterable[Floats]) -> Floats:
    """Add up the marginals of parts of a run, of one at least."""
    parts = iter(parts)
    total = next(parts).copy()
    for part in parts:
        total += part
    return total


def means(
    axes: Sequence[Axis], measures: Sequence[str], totals: Floats
) -> dict[str, list[dict[str, str | float]]]:
    """Return for each axis its values, each with the mean of every measure that has one there."""
    found: dict[str, list[dict[str, str | float]]] = {}
    position = 0
    for axis in axes:
        if len(axis) > MOST_VALUES:
            continue
        rows: list[dict[str, str | float]] = []
        for value in axis.shown:
            sums, counts = totals[..., position].tolist()
            columns = zip(measures, sums, counts, strict=True)
            rows.append({"value": value} | {name: s / n for name, s, n in columns if n})
            position += 1
        found[axis.name] = rows
    return found
