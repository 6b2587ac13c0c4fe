from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.contracts import NUMBERS, Status
from pricer.grid import Axis
from pricer.marginals import MOST_VALUES, marginals, means, merge, pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

MEASURES = ("price", "delta")


def axes_of(sizes: list[int]) -> list[Axis]:
    return [
        Axis(name, tuple(map(float, range(size))))
        for name, size in zip(NUMBERS, sizes, strict=False)
    ]


def columns_of(cells: int, seed: int = 0) -> Columns:
    """Make results of cells, some of which failed and some of which lack a measure."""
    rng = np.random.default_rng(seed)
    columns: Columns = {name: rng.normal(size=cells) for name in MEASURES}
    columns["status"] = rng.choice([0, 0, 0, 1, 2], cells).astype(np.uint8)
    columns["price"][columns["status"] == Status.invalid] = np.nan
    columns["delta"][rng.random(cells) < 0.2] = np.nan
    return columns


def part_of(columns: Columns, first: int, end: int) -> Columns:
    return {name: column[first:end] for name, column in columns.items()}


def by_grouping(axes: list[Axis], first: int, columns: Columns) -> dict[str, list[Any]]:
    """Compute means as slowly as they are defined."""
    cells = np.arange(first, first + len(columns["status"]))
    positions = np.unravel_index(cells, tuple(map(len, axes)))
    found: dict[str, list[Any]] = {}
    for axis, position in zip(axes, positions, strict=True):
        if len(axis) > MOST_VALUES:
            continue
        found[axis.name] = []
        for number, value in enumerate(axis.values):
            row: dict[str, Any] = {"value": value}
            for measure in MEASURES:
                here = columns[measure][(position == number) & (columns["status"] == 0)]
                here = here[np.isfinite(here)]
                if len(here):
                    row[measure] = pytest.approx(here.mean(), rel=1e-12, abs=1e-12)
            found[axis.name].append(row)
    return found


sizes_of_axes = st.lists(
    st.one_of(st.integers(1, 6), st.integers(99, 120)), min_size=1, max_size=5
).filter(lambda sizes: np.prod(sizes) <= 20_000)


@given(sizes=sizes_of_axes, data=st.data())
def test_means_are_those_of_the_cells_at_each_value(sizes: list[int], data: st.DataObject) -> None:
    axes = axes_of(sizes)
    cells = int(np.prod(sizes))
    first = data.draw(st.integers(0, cells - 1))
    end = data.draw(st.integers(first + 1, cells))
    columns = part_of(columns_of(cells), first, end)
    cuts = sorted(data.draw(st.lists(st.integers(0, end - first), max_size=4)))
    parts = [
        part_of(columns, a, b)
        for a, b in zip([0, *cuts], [*cuts, end - first], strict=True)
        if a < b
    ]
    together = marginals(axes, MEASURES, first, parts)
    assert means(axes, MEASURES, together) == by_grouping(axes, first, columns)


@given(sizes=sizes_of_axes, step=st.integers(1, 500))
def test_marginals_of_parts_add_up_to_those_of_the_whole(sizes: list[int], step: int) -> None:
    axes = axes_of(sizes)
    cells = int(np.prod(sizes))
    columns = columns_of(cells)
    step = max(step, cells // 20)
    packed = [
        pack(marginals(axes, MEASURES, first, [part_of(columns, first, first + step)]))
        for first in range(0, cells, step)
    ]
    total = merge(unpack(part, axes, MEASURES) for part in packed)
    np.testing.assert_allclose(
        total, marginals(axes, MEASURES, 0, [columns]), rtol=1e-12, atol=1e-12
    )


def test_words_are_values_too_and_a_value_without_a_price_has_no_mean() -> None:
    axes = [Axis("right", ("call", "put")), Axis("spot", (1.0, 2.0))]
    columns: Columns = {
        "price": np.array([1.0, 3.0, np.nan, np.nan]),
        "status": np.array([0, 0, 1, 1], np.uint8),
    }
    totals = marginals(axes, ("price",), 0, [columns])
    assert means(axes, ("price",), totals) == {
        "right": [{"value": "call", "price": 2.0}, {"value": "put"}],
        "spot": [{"value": 1.0, "price": 1.0}, {"value": 2.0, "price": 3.0}],
    }


def test_a_grid_of_long_axes_has_no_marginals() -> None:
    axes = axes_of([150, 101])
    totals = marginals(axes, MEASURES, 7, [columns_of(300)])
    assert totals.shape == (2, 2, 0)
    assert means(axes, MEASURES, unpack(pack(totals), axes, MEASURES)) == {}
