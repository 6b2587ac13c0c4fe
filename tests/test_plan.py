from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from panels import panel_of
from pricer.blocks import BLOCK_BYTES, cell_bytes, decode_block, encode_block
from pricer.book import Book
from pricer.cells import Cells
from pricer.claims import Claims, claims_of
from pricer.contracts import (
    ALLOWED,
    CONTRACTS,
    INPUTS,
    MODEL_OF,
    SIMULATED,
    TABLES,
    WORDS,
    defaults_of,
    inputs_of,
)
from pricer.dated import Correlation, Curve, Dates, Dividends, Fixings, Vector
from pricer.errors import PlanError, StoreError
from pricer.families import Families, families_of, sort_by_family
from pricer.grid import Axis, Grid
from pricer.panel import Panel
from pricer.plan import BookPlan, GridPlan, OptionPlan, Plan
from pricer.settings import MEASURES, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

KERNEL = "kernel-1"
VANILLA = INPUTS[:8]
PER_UNIT = tuple(f.name for f in fields(Claims) if f.name not in ("unit", "scale"))


def grid_of(sizes: dict[str, int], measures: tuple[str, ...] = MEASURES, **values: Any) -> Grid:
    """Make a grid with so many values on each axis, in that order."""
    axes = []
    for name, size in sizes.items():
        words = tuple(WORDS.get(name, ()))[:size]
        axes.append(Axis(name, values.get(name) or words or tuple(np.arange(1.0, size + 1))))
    fixed = {name: "put" if name in WORDS else 0.5 for name in VANILLA if name not in sizes}
    if "exercise" in fixed:
        fixed["exercise"] = "american"
    return Grid(tuple(axes), fixed, settings=Settings(measures=measures))


def grid_plan(sizes: dict[str, int], **arguments: Any) -> GridPlan:
    plan = Plan.of(grid_of(sizes, **arguments), KERNEL)
    assert isinstance(plan, GridPlan)
    return plan


def book_of(family_sizes: list[int], seed: int = 0) -> Book:
    """Make a shuffled book of families of so many rows."""
    rng = np.random.default_rng(seed)
    family = rng.permutation(np.repeat(np.arange(len(family_sizes)), family_sizes))
    count = len(family)
    columns: dict[str, Any] = {
        "right": np.where(family % 2, 1, -1).astype(np.int8),
        "exercise": np.ones(count, dtype=np.int8),
        "spot": rng.uniform(50, 150, count),
        "strike": rng.uniform(50, 150, count),
        "expiry": rng.integers(1, 9, count) / 4,
        "vol": 0.1 + family / 100,
        "rate": np.full(count, 0.03),
        "dividend_yield": np.zeros(count),
    }
    return Book(Cells(columns))


def book_plan(family_sizes: list[int]) -> BookPlan:
    plan = Plan.of(book_of(family_sizes), KERNEL)
    assert isinstance(plan, BookPlan)
    return plan


sizes_of_axes = st.lists(st.sampled_from(VANILLA), unique=True).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.integers(1, 2 if name in WORDS else 40) for name in names}
    )
)
vanilla_plans = sizes_of_axes.map(grid_plan).filter(lambda plan: plan.cells <= 200_000)

# What inputs of every type of contract may be.
CHOICES: dict[str, tuple[Any, ...]] = {
    **{name: tuple(WORDS[name]) for name in WORDS},
    "spot": (0.0, 90.0, 100.0, 130.0),
    "strike": (95.0, 100.0, 110.0),
    "expiry": (0.0, 0.5, 1.0),
    "vol": (0.1, 0.2, Curve((0.5, 1.0), (0.1, 0.2))),
    "rate": (0.02, 0.05, Curve((0.25, 1.0), (0.01, 0.03), "steep")),
    "dividend_yield": (0.0, 0.02, Curve((0.25, 1.0), (0.0, 0.03))),
    "barrier": (85.0, 100.0, 115.0),
    "lower_barrier": (80.0, 90.0, 105.0),
    "upper_barrier": (85.0, 110.0, 120.0),
    "rebate": (0.0, 1.0, 3.0),
    "cash": (2.0, 3.0, 10.0),
    "payoff_strike": (0.0, 97.0),
    "exercise_dates": (Dates((0.25,)), Dates((0.25, 0.5), "quarters")),
    "monitoring_dates": (Dates((0.25, 0.5)), Dates((0.5,))),
    "cash_dividends": (Dividends((), ()), Dividends((0.25,), (1.5,), "as announced")),
    "proportional_dividends": (Dividends((0.25,), (0.01,)), Dividends((0.5,), (0.02,))),
    "fixing_dates": (Fixings((0.0, 0.25)), Fixings((0.25, 0.5), "quarters")),
    "reset_dates": (Fixings((0.0,)), Fixings((0.25,))),
    "spots": (Vector((100.0, 90.0)), Vector((95.0, 90.0))),
    "vols": (Vector((0.1, 0.2)), Vector((0.2, 0.2))),
    "dividend_yields": (Vector((0.0, 0.02)), Vector((0.01, 0.01))),
    "weights": (Vector((0.5, 0.5)), Vector((1.0, -1.0))),
    "correlation": (Correlation(0.5), Correlation(-0.2)),
    **dict.fromkeys(("running_average", "running_extremum"), (90.0, 100.0)),
    "past_fixings": (1.0, 2.0),
    **dict.fromkeys(("elapsed", "averaging_start", "lookback_start", "start"), (0.125, 0.25)),
    "lookback_end": (0.25, 0.375),
    **dict.fromkeys(("participation", "moneyness", "notional", "local_cap"), (1.0, 1.1)),
    **dict.fromkeys(("local_floor", "global_floor"), (-0.1, 0.01)),
    "global_cap": (0.3, 0.4),
    "greek_asset": (1.0, 2.0),
    **dict.fromkeys(MODEL_OF, (0.1, 0.2)),
}


@st.composite
def typed_grids(draw: st.DrawFn, swept: int = 4) -> Grid:
    """Draw a grid of any type, of which up to so many inputs have several values."""
    kind = draw(st.sampled_from([kind for kind in CONTRACTS if kind not in SIMULATED]))
    known = [name for name in inputs_of(kind) if name not in ("model", *MODEL_OF)]
    several = draw(st.lists(st.sampled_from(known), unique=True, max_size=swept))
    axes, fixed = [], {}
    for name in known:
        choices = ALLOWED.get((kind, name), CHOICES[name])
        if name in several:
            chosen = draw(st.lists(st.sampled_from(choices), min_size=1, unique=True))
            if not any(isinstance(value, str | Curve | Dates | Dividends) for value in chosen):
                chosen.sort()
            axes.append(Axis(name, tuple(chosen)))
        elif name not in defaults_of(kind) or draw(st.booleans()):
            fixed[name] = draw(st.sampled_from(choices))
    given = {**fixed, **{axis.name: axis.values for axis in axes}}
    if "bermudan" not in given.get("exercise", ()):
        axes = [axis for axis in axes if axis.name != "exercise_dates"]
        fixed.pop("exercise_dates", None)
    elif "exercise_dates" not in given:
        fixed["exercise_dates"] = CHOICES["exercise_dates"][0]
    lower, upper = (np.atleast_1d(given.get(f"{at}_barrier", 0.0)) for at in ("lower", "upper"))
    assume(kind not in ("double_barrier", "double_touch") or lower.min() < upper.max())
    return Grid(tuple(draw(st.permutations(axes))), fixed, type=kind)


typed_plans = typed_grids().map(lambda grid: cast("GridPlan", Plan.of(grid, KERNEL)))
grid_plans = st.one_of(vanilla_plans, typed_plans)
family_sizes = st.lists(st.one_of(st.integers(1, 5), st.integers(900, 3000)), min_size=1)
plans = st.one_of(grid_plans, family_sizes.map(book_plan))


def test_cells_are_numbered_by_family_and_then_in_file_order() -> None:
    plan = grid_plan({"spot": 3, "vol": 2, "right": 2, "strike": 2})
    assert [axis.name for axis in plan.axes] == ["vol", "right", "spot", "strike"]
    cells, offsets = plan.cells_at(0, plan.cells)
    expected = product([1.0, 2.0], [1, -1], [1.0, 2.0, 3.0], [1.0, 2.0])
    found = zip(cells.vol, cells.right, cells.spot, cells.strike, strict=True)
    assert list(found) == list(expected)
    assert offsets.tolist() == [0, 6, 12, 18, 24]
    assert set(cells.expiry) == {0.5}


@given(plan=grid_plans, data=st.data())
def test_decoding_undoes_encoding(plan: GridPlan, data: st.DataObject) -> None:
    positions = {
        axis.name: np.array(
            data.draw(st.lists(st.integers(0, len(axis) - 1), min_size=5, max_size=5))
        )
        for axis in plan.axes
    }
    assume(positions)
    cells = plan.numbers(positions)
    assert ((cells >= 0) & (cells < plan.cells)).all()
    decoded = plan.positions(cells)
    for name, where in positions.items():
        np.testing.assert_array_equal(decoded[name], where)


@given(plan=grid_plans)
def test_every_cell_has_a_number_of_its_own(plan: GridPlan) -> None:
    numbers = np.arange(plan.cells)
    np.testing.assert_array_equal(
        np.broadcast_to(plan.numbers(plan.positions(numbers)), plan.cells), numbers
    )


@given(plan=plans)
def test_blocks_partition_cells_and_families(plan: OptionPlan) -> None:
    ranges = [plan.block_range(b) for b in range(plan.blocks)]
    assert (ranges[0][0], ranges[-1][1]) == (0, plan.cells)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(first < end for first, end in ranges)
    touched = [plan.family_range(b) for b in range(plan.blocks)]
    assert (touched[0][0], touched[-1][1]) == (0, plan.families)


@given(plan=plans)
def test_a_block_is_whole_families_or_a_part_of_one(plan: OptionPlan) -> None:
    _, offsets = plan.cells_at(0, plan.cells)
    parts: dict[int, list[int]] = {}
    for block in range(plan.blocks):
        first, end = plan.block_range(block)
        family, last = plan.family_range(block)
        assert (end - first) * plan.cell_bytes <= BLOCK_BYTES
        assert offsets[family] <= first < offsets[family + 1]
        assert offsets[last - 1] < end <= offsets[last]
        whole = offsets[family] == first and offsets[last] == end
        if not whole:
            assert last == family + 1
            parts.setdefault(family, []).append(end - first)
    for sizes in parts.values():
        assert len(sizes) > 1
        assert len(set(sizes[:-1])) == 1
        assert 0 <= sizes[0] - sizes[-1] < len(sizes)


@given(plan=plans)
def test_a_full_block_leaves_no_room_for_the_next_family(plan: OptionPlan) -> None:
    _, offsets = plan.cells_at(0, plan.cells)
    sizes = np.diff(offsets)
    for block in range(plan.blocks - 1):
        first, end = plan.block_range(block)
        after = plan.family_range(block + 1)[0]
        if plan.family_range(block)[1] <= after:
            is_part = sizes[after - 1] > plan.block_cells
            assert is_part or end - first + sizes[after] > plan.block_cells


@given(plan=plans)
def test_the_block_of_a_cell_is_the_one_whose_range_holds_it(plan: OptionPlan) -> None:
    blocks = plan.block_of(np.arange(plan.cells))
    sizes = [end - first for first, end in map(plan.block_range, range(plan.blocks))]
    np.testing.assert_array_equal(blocks, np.repeat(np.arange(plan.blocks), sizes))


@given(plan=plans, data=st.data())
def test_any_range_of_cells_is_that_part_of_all_cells(
    plan: OptionPlan, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, plan.cells - 1))
    end = data.draw(st.integers(first + 1, plan.cells))
    everything, all_offsets = plan.cells_at(0, plan.cells)
    cells, offsets = plan.cells_at(first, end)
    picked = plan.cells_of(np.arange(first, end))
    for name in INPUTS:
        expected = getattr(everything, name)[first:end]
        np.testing.assert_array_equal(getattr(cells, name), expected)
        np.testing.assert_array_equal(getattr(picked, name), expected)
    inside = all_offsets[(all_offsets > first) & (all_offsets < end)]
    assert offsets.tolist() == [0, *(inside - first), end - first]


@given(plan=plans, chunk_blocks=st.integers(1, 20))
def test_chunks_partition_blocks_and_solves_count_families_in_each(
    plan: OptionPlan, chunk_blocks: int
) -> None:
    chunks = plan.chunks(chunk_blocks)
    assert [block for chunk in chunks for block in chunk] == list(range(plan.blocks))
    assert all(len(chunk) == chunk_blocks for chunk in chunks[:-1])
    assert chunks[-1] == chunks[len(chunks) - 1]
    solves = sum(plan.family_range(c[-1])[1] - plan.family_range(c[0])[0] for c in chunks)
    assert plan.solves(chunk_blocks) == solves


def test_a_chunk_has_blocks() -> None:
    with pytest.raises(ValueError, match="at least one block, got 0"):
        grid_plan({"spot": 2}).chunks(0)


def test_a_block_past_the_last_is_an_error() -> None:
    for plan in (grid_plan({"spot": 2}), book_plan([2])):
        with pytest.raises(IndexError, match="block must be below 1, got 1"):
            plan.block_range(1)


def assert_families_equal(found: Families, expected: Families) -> None:
    """Check all that a solve takes: of claims, what they are per unit."""
    for name in Families.__dataclass_fields__:
        if name != "cells":
            np.testing.assert_array_equal(
                getattr(found, name), getattr(expected, name), err_msg=name
            )
    priced = found.priced
    for name in ("right", "exercise", "vol", "rate", "dividend_yield"):
        np.testing.assert_array_equal(
            getattr(found.cells, name)[priced], getattr(expected.cells, name)[priced], err_msg=name
        )


def sorted_families(plan: OptionPlan) -> Families:
    """Describe families from their cells, in the order that `families_of` needs."""
    cells, offsets = plan.cells_at(0, plan.cells)
    family = np.repeat(np.arange(plan.families), np.diff(offsets))
    return families_of(cells[np.lexsort((cells.expiry, family))], offsets)


@given(plan=plans, data=st.data())
def test_families_are_those_of_the_whole_file(plan: OptionPlan, data: st.DataObject) -> None:
    expected = sorted_families(plan)
    assert_families_equal(plan.families_at(0, plan.families), expected)
    first = data.draw(st.integers(0, plan.families - 1))
    end = data.draw(st.integers(first + 1, plan.families))
    assert_families_equal(plan.families_at(first, end), expected[first:end])


def families_by_claims(plan: OptionPlan) -> NDArray[np.int64]:
    """Give each cell the number of its family as `sort_by_family` finds it in cells alone."""
    cells, _ = plan.cells_at(0, plan.cells)
    order, offsets = sort_by_family(cells)
    families = np.empty(plan.cells, dtype=np.int64)
    families[order] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return families


def assert_alike_within_families(plan: OptionPlan) -> None:
    families, (_, offsets) = families_by_claims(plan), plan.cells_at(0, plan.cells)
    least, most = (end.reduceat(families, offsets[:-1]) for end in (np.minimum, np.maximum))
    np.testing.assert_array_equal(least, most)


@settings(max_examples=50)
@given(plan=typed_plans)
def test_all_that_shares_a_solve_owes_the_same_per_unit(plan: GridPlan) -> None:
    assert_alike_within_families(plan)


SWEPT = [
    (kind, payoff, name)
    for kind in CONTRACTS
    for payoff in ALLOWED.get((kind, "payoff"), ("",))
    for name in inputs_of(kind)
    if name not in WORDS
]


@pytest.mark.parametrize("cash_dividends", [False, True])
@pytest.mark.parametrize(("kind", "payoff", "name"), SWEPT)
def test_as_much_shares_a_solve_as_may(
    kind: str, payoff: str, name: str, cash_dividends: bool
) -> None:
    fixed = {
        given: ALLOWED.get((kind, given), CHOICES[given])[0]
        for given in inputs_of(kind)
        if given != name and given not in TABLES and given not in defaults_of(kind)
    }
    fixed |= {"payoff": payoff} if payoff else {}
    fixed |= {"payoff_strike": 97.0} if payoff == "gap" and name == "strike" else {}
    fixed |= {"exercise": "bermudan"} if name == "exercise_dates" else {}
    fixed |= {"upper_barrier": 120.0} if name == "lower_barrier" else {}
    if model := MODEL_OF.get(name):
        fixed |= {"model": model} | {n: 0.1 for n in MODEL_OF if MODEL_OF[n] == model and n != name}
        if model == "heston":
            fixed.pop("vol")
    if kind in SIMULATED:
        fixed |= {
            given: CHOICES[given][0]
            for given in (*TABLES, "strike", "running_average")
            if given in inputs_of(kind) and given != name and not given.endswith("dividends")
        }
        fixed |= {"expiry": 1.0} if name != "expiry" else {}
        if name != "exercise_dates":
            fixed.pop("exercise_dates", None)
        if name in ("elapsed", "averaging_start"):
            del fixed["fixing_dates"]
    if cash_dividends and name != "cash_dividends" and "cash_dividends" in inputs_of(kind):
        fixed["cash_dividends"] = CHOICES["cash_dividends"][1]
    values = [value for value in CHOICES[name] if value != 0.0]
    plan = Plan.of(Grid((Axis(name, tuple(values)),), fixed, type=kind), KERNEL)
    assert plan.families == len(set(families_by_claims(plan).tolist()))
    assert_families_equal(plan.families_at(0, plan.families), sorted_families(plan))


@pytest.mark.parametrize(
    ("kind", "swept", "fixed", "families"),
    [
        ("vanilla", {"strike": (0.0, 1.0, 2.0)}, {}, 1),
        ("vanilla", {"strike": (0.0, 1.0, 2.0)}, {"rate": CHOICES["rate"][2]}, 3),
        ("digital", {"strike": (0.0, 1.0, 2.0)}, {}, 3),
        ("digital", {"cash": (0.0, 1.0, 2.0)}, {}, 3),
        ("barrier", {"cash": (1.0, 2.0)}, {"payoff": "cash_or_nothing"}, 1),
        ("barrier", {"cash": (1.0, 2.0)}, {"payoff": "cash_or_nothing", "rebate": 3.0}, 2),
        ("touch", {"barrier": (80.0, 90.0), "cash": (1.0, 2.0)}, {}, 1),
        ("double_touch", {"lower_barrier": (80.0, 90.0), "cash": (1.0, 2.0)}, {}, 2),
    ],
)
def test_what_scales_is_shared_unless_it_is_nothing(
    kind: str, swept: dict[str, tuple[float, ...]], fixed: dict[str, Any], families: int
) -> None:
    given = {
        name: ALLOWED.get((kind, name), CHOICES[name])[0]
        for name in inputs_of(kind)
        if name not in swept and name not in defaults_of(kind)
    }
    axes = tuple(Axis(name, values) for name, values in swept.items())
    plan = Plan.of(Grid(axes, given | fixed, type=kind), KERNEL)
    assert plan.families == families
    assert_alike_within_families(plan)


def test_families_whose_barriers_cross_are_not_priced() -> None:
    axes = (Axis("lower_barrier", (80.0, 105.0)), Axis("upper_barrier", (100.0, 120.0)))
    fixed = {"spot": 110.0, "expiry": 1.0, "vol": 0.2, "rate": 0.0}
    plan = Plan.of(Grid(axes, fixed, type="double_touch"), KERNEL)
    families = plan.families_at(0, 4)
    assert families.priced.tolist() == [True, True, False, True]
    assert_families_equal(families, sorted_families(plan))


@settings(max_examples=50)
@given(plan=typed_plans)
def test_a_familys_claim_is_that_of_each_of_its_cells(plan: GridPlan) -> None:
    families = plan.families_at(0, plan.families)
    cells, offsets = plan.cells_at(0, plan.cells)
    family = np.repeat(np.arange(plan.families), np.diff(offsets))
    # A plain vanilla on a strike of 0 is worth its limit, without its family's solve.
    kept = cells.valid() & ((cells.strike > 0.0) | np.isnan(cells.strike))
    of_cells = claims_of(cells[kept]).relative()
    of_families = claims_of(families.cells[family[kept]]).relative()
    for name in PER_UNIT:
        np.testing.assert_array_equal(getattr(of_cells, name), getattr(of_families, name))


@pytest.mark.parametrize("zero", ["spot", "strike", "expiry"])
@pytest.mark.parametrize("others", [(), (1.0, 2.0)])
def test_the_window_leaves_out_what_is_worth_its_limit(
    zero: str, others: tuple[float, ...]
) -> None:
    sizes = {"spot": 2, "strike": 2, "expiry": 2, "vol": 2}
    plan = grid_plan(sizes, **{zero: (0.0, *others)})
    assert_families_equal(plan.families_at(0, 2), sorted_families(plan))


def test_what_takes_long_is_stored_in_small_blocks() -> None:
    one: dict[str, Any] = {"spot": 100.0, "vol": 0.2}
    two: dict[str, Any] = {"spots": Vector([90.0, 95.0]), "vols": Vector([0.2, 0.3])}
    two |= {"basket_type": "weighted", "correlation": Correlation([0.3])}
    american = {"exercise": "american"}

    def block_cells(kind: str, values: dict[str, Any], method: str = "auto") -> int:
        axes = (Axis("strike", tuple(np.linspace(80.0, 120.0, 5_000))),)
        fixed = {"right": "call", "rate": 0.03, "expiry": 1.0, **values}
        settings = Settings(method=method, measures=("price",))
        grid = Grid(axes=axes, type=kind, fixed=fixed, settings=settings)
        return Plan.of(grid, KERNEL).block_cells

    usual = BLOCK_BYTES // cell_bytes(("price",))
    assert block_cells("vanilla", one | american) == usual
    assert block_cells("vanilla", one | american, "monte_carlo") == 1
    assert block_cells("vanilla", one, "monte_carlo") == 64
    assert block_cells("basket", two) == 64
    assert block_cells("basket", two | american) == 1
    # What has a closed form is quick, whatever its type.
    fixings = {"fixing_dates": Fixings([0.5, 1.0]), "average": "geometric"}
    assert block_cells("asian", one | fixings) == usual


def test_a_book_is_sorted_by_family_and_remembers_where_rows_were() -> None:
    book = book_of([3, 1, 4])
    plan = Plan.of(book, KERNEL)
    assert isinstance(plan, BookPlan)
    assert plan.families == 3
    for row in range(len(book)):
        cell = plan.cells_of(plan.rows[[row]])
        assert all(getattr(cell, n)[0] == book.cells.columns[n][row] for n in book.columns)
    np.testing.assert_array_equal(plan.order[plan.rows], np.arange(len(book)))


def test_rows_that_cannot_be_priced_are_a_family_of_their_own_at_the_end() -> None:
    book = book_of([3, 2])
    book.cells.vol[1] = np.nan
    book.cells.spot[3] = -1.0
    plan = Plan.of(book, KERNEL)
    _, offsets = plan.cells_at(0, plan.cells)
    assert offsets[-1] - offsets[-2] == 2
    families = plan.families_at(0, plan.families)
    assert families.priced.tolist() == [True] * (plan.families - 1) + [False]


def test_ten_billion_cells_are_planned_within_a_second() -> None:
    text = """
        [contract]
        type = "vanilla"
        exercise = "american"
        [axes]
        right = ["call", "put"]
        spot = { start = 1.0, stop = 100000.0, count = 100000 }
        strike = { start = 1.0, stop = 1000.0, count = 1000 }
        expiry = [0.25, 0.5]
        vol = { start = 0.1, stop = 1.0, count = 25 }
        rate = 0.03
    """
    start = time.perf_counter()
    plan = Plan.of(Grid.parse(text), KERNEL)
    assert plan.cells == 10_000_000_000
    assert plan.families == 50
    assert plan.block_range(plan.blocks - 1)[1] == plan.cells
    assert plan.families_at(0, 50).moneyness_high.max() == 100_000.0
    assert len(plan.chunks(1000)) == -(-plan.blocks // 1000)
    cells, _ = plan.cells_at(plan.cells - 1, plan.cells)
    assert (cells.spot[0], cells.vol[0]) == (100_000.0, 1.0)
    assert plan.solves(1) == plan.blocks
    assert time.perf_counter() - start < 1.0


def test_a_grid_as_large_as_can_be_counted_is_planned() -> None:
    plan = grid_plan(dict.fromkeys(("spot", "vol", "strike", "expiry"), 40_000))
    assert 2**61 < plan.cells < 2**63
    last = np.array([plan.cells - 1])
    assert {k: v[0] + 1 for k, v in plan.positions(last).items()} == {
        axis.name: len(axis) for axis in plan.axes
    }
    assert plan.block_of(last)[0] == plan.blocks - 1
    assert plan.block_range(plan.blocks - 1)[1] == plan.cells


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        (
            {"right": 2, "spot": 3, "strike": 2, "expiry": 2, "vol": 2, "rate": 2},
            "spot, strike, expiry share one solve; right, vol, rate need their own",
        ),
        ({"strike": 2, "rate": 1}, "strike shares one solve"),
        ({"vol": 2, "rate": 1}, "vol needs its own"),
        ({}, "one cell, one solve"),
    ],
)
def test_a_plan_says_why(sizes: dict[str, int], why: str) -> None:
    assert grid_plan(sizes).why() == why


@pytest.mark.parametrize(
    ("kind", "swept", "fixed", "why"),
    [
        (
            "vanilla",
            ("spot", "strike", "expiry", "vol"),
            {"exercise": "bermudan", "exercise_dates": Dates((0.25,))},
            "spot, strike share one solve; expiry needs its own (exercise_dates count from today);"
            " vol needs its own",
        ),
        (
            "vanilla",
            ("vol", "spot", "strike", "expiry", "rate"),
            {
                "cash_dividends": Dividends((0.25,), (1.5,)),
                "dividend_yield": Curve((0.25, 1.0), (0.0, 0.03)),
            },
            "spot shares one solve; vol, rate need their own; strike needs its own"
            " (cash_dividends do not scale with it); expiry needs its own"
            " (cash_dividends, dividend_yield count from today)",
        ),
        (
            "barrier",
            ("spot", "strike", "barrier", "expiry"),
            {},
            "spot, expiry share one solve; strike, barrier need their own (their ratios count)",
        ),
        ("touch", ("spot", "barrier", "cash"), {}, "spot, barrier, cash share one solve"),
    ],
)
def test_a_plan_says_why_of_every_type(
    kind: str, swept: tuple[str, ...], fixed: dict[str, Any], why: str
) -> None:
    axes = tuple(
        Axis(name, tuple(v for v in CHOICES[name] if v != 0.0 and isinstance(v, float)))
        for name in swept
    )
    given = {
        name: ALLOWED.get((kind, name), CHOICES[name])[0]
        for name in inputs_of(kind)
        if name not in swept and name not in defaults_of(kind)
    }
    plan = Plan.of(Grid(axes, given | fixed, type=kind), KERNEL)
    assert plan.why() == why


def test_a_book_says_why() -> None:
    why = "rows with equal right, exercise, vol, rate and dividend_yield share one solve"
    assert book_plan([2]).why() == why


GRID = """
name = "one"
[contract]
type = "vanilla"
[axes]
right = ["call", "put"]
spot = 100.0
strike = [90.0, 95.0, 100.0]
expiry = 1.0
vol = 0.1
rate = 0.03
[method]
measures = ["price", "delta"]
"""


def id_of(text: str, kernel: str = KERNEL) -> str:
    return Plan.of(Grid.parse(text), kernel).run_id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"one"', '"two"'),
        ("[axes]", "[axes]  # sweep"),
        ("[90.0, 95.0, 100.0]", "{ start = 90.0, stop = 100.0, count = 3 }"),
        ("[90.0, 95.0, 100.0]", "{ start = 90, stop = 100, step = 5 }"),
        ("100.0\n", "1e2\n"),
        ("spot = 100.0", "spot = [100]"),
        ('"call", "put"', '"C", "Put"'),
        ('"price", "delta"', '"delta", "price"'),
        ('"vanilla"', '"vanilla"\nexercise = "european"'),
        ("[method]", '[method]\nname = "auto"\ntolerance = 1e-5'),
    ],
)
def test_the_run_id_does_not_depend_on_spelling(old: str, new: str) -> None:
    assert old in GRID
    assert id_of(GRID.replace(old, new)) == id_of(GRID)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("95.0", "95.00000000000001"),
        ("vol = 0.1", "vol = 0.2"),
        ('"call", "put"', '"put", "call"'),
        ("vol = 0.1\nrate = 0.03", "rate = 0.03\nvol = 0.1"),
        ('"price", "delta"', '"price"'),
        ('"vanilla"', '"vanilla"\nexercise = "american"'),
        ("[method]", "[method]\ntolerance = 1e-6"),
        ("[method]", '[method]\nname = "analytic"'),
    ],
)
def test_the_run_id_depends_on_what_is_priced(old: str, new: str) -> None:
    assert old in GRID
    assert id_of(GRID.replace(old, new)) != id_of(GRID)


DIVIDENDS = GRID.replace("rate = 0.03", 'rate = "1:0.03;2:0.04"\ncash_dividends = "0.5:1"')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"1:0.03;2:0.04"', "{ times = [1, 2], values = [0.03, 0.04] }"),
        ('"0.5:1"', "[[0.5, 1.0]]"),
        ('"0.5:1"', '{ label = "as announced", times = [0.5], amounts = [1] }'),
        ('"vanilla"', '"vanilla"\ndividend_model = "spot"'),
    ],
)
def test_the_run_id_does_not_depend_on_how_a_table_is_spelt_or_called(old: str, new: str) -> None:
    assert old in DIVIDENDS
    assert id_of(DIVIDENDS.replace(old, new)) == id_of(DIVIDENDS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.04", "0.05"),
        ("0.5:1", "0.5:1.1"),
        ("0.5:1", "0.6:1"),
        ("0.5:1", ""),
        ('"vanilla"', '"vanilla"\ndividend_model = "escrowed"'),
    ],
)
def test_the_run_id_depends_on_tables(old: str, new: str) -> None:
    assert old in DIVIDENDS
    assert id_of(DIVIDENDS.replace(old, new)) != id_of(DIVIDENDS)


def test_a_flat_curve_is_its_number() -> None:
    flat = GRID.replace("rate = 0.03", 'rate = "1:0.03;2:0.03"')
    assert id_of(flat) == id_of(GRID)


def test_labels_are_found_again_in_a_stored_plan() -> None:
    called = '{ label = "as announced", times = [0.5], amounts = [1] }'
    plan = Plan.of(Grid.parse(DIVIDENDS.replace('"0.5:1"', called)), KERNEL)
    again = Plan.from_json(plan.to_json())
    assert isinstance(again, GridPlan)
    assert again.cells_of(np.array([0])).shown("cash_dividends", 0) == "as announced"
    assert again.to_json() == plan.to_json()


@pytest.mark.parametrize(
    "spec", [grid_of({"spot": 3, "vol": 2}), book_of([3, 2]), panel_of([300, 280])]
)
def test_the_run_id_depends_on_the_time_that_it_is_scheduled_for(
    spec: Grid | Book | Panel,
) -> None:
    times = ("", "2026-11-23T22:00:00+00:00", "2026-11-24T22:00:00+00:00")
    plans = [Plan.of(spec, "kernel", as_of) for as_of in times]
    assert len({plan.run_id for plan in plans}) == 3
    assert plans[0].run_id == Plan.of(spec, "kernel").run_id
    for plan in plans:
        text, columns = plan.to_json(), plan.columns()
        rebuilt = Plan.from_json(text, columns)
        window = Plan.window(text, lambda n, a, b, c=columns: c[n][a:b], 0, 1)  # type: ignore[misc]
        for found in (rebuilt, window.plan):
            assert (found.run_id, found.as_of) == (plan.run_id, plan.as_of)
        forged = text.replace(plan.as_of, "2026-11-25T22:00:00+00:00")
        if plan.as_of:
            with pytest.raises(PlanError, match="a plan must be what its id"):
                Plan.from_json(forged, columns)


def test_the_run_id_depends_on_the_kernel() -> None:
    assert id_of(GRID, "kernel-2") != id_of(GRID)


def test_the_run_id_is_the_same_tomorrow() -> None:
    # A change here loses every run that a user has stored.
    expected = "2f1d9571569ce585ad9bcfafff15b9a22823db3d37e0c6b8fe7c685552c912e7"
    assert id_of(GRID) == expected


CSV = "right,spot,strike,expiry,vol,rate,id\ncall,1,1,1,.2,0,é\nput,1,2,1,.2,0,b\nput,1,2,1,,0,\n"


@pytest.mark.parametrize(
    "spec", [Grid.parse(GRID), Grid.parse(DIVIDENDS), Book.parse(CSV), book_of([1500, 2, 1])]
)
def test_a_plan_is_rebuilt_exactly_from_what_a_store_keeps(spec: Grid | Book) -> None:
    plan = Plan.of(spec, KERNEL)
    again = Plan.from_json(plan.to_json(), plan.columns())
    assert isinstance(again, OptionPlan)
    assert again.spec.identity() == spec.identity()
    assert (again.spec.name, again.run_id) == (spec.name, plan.run_id)
    assert again.to_json() == plan.to_json()
    assert again.columns() == plan.columns()
    assert_families_equal(again.families_at(0, plan.families), plan.families_at(0, plan.families))
    cells, offsets = plan.cells_at(0, plan.cells)
    cells_again, offsets_again = again.cells_at(0, plan.cells)
    np.testing.assert_array_equal(offsets_again, offsets)
    for name in INPUTS:
        np.testing.assert_array_equal(getattr(cells_again, name), getattr(cells, name))
    assert again.blocks == plan.blocks
    assert Plan.of(again.spec, KERNEL).run_id == plan.run_id


def test_blocks_keep_their_size_when_a_later_version_cuts_others() -> None:
    document = json.loads(grid_plan({"spot": 50, "vol": 3}).to_json())
    document["block_cells"] = 7
    again = Plan.from_json(json.dumps(document))
    assert again.block_range(0) == (0, 7)


def test_a_plan_of_another_format_is_refused() -> None:
    document = json.loads(grid_plan({"spot": 2}).to_json())
    document["format"] = 1
    with pytest.raises(PlanError, match="must be of format 2, got 1; another version"):
        Plan.from_json(json.dumps(document))


def test_a_grid_keeps_no_columns_and_a_book_keeps_plain_bytes() -> None:
    assert grid_plan({"spot": 2}).columns() == {}
    plan = book_plan([2, 3])
    columns = plan.columns()
    assert len(columns["right"]) == 5
    assert all(len(columns[name]) == 40 for name in (*INPUTS[2:8], "order"))
    assert set(columns) == {*INPUTS[:8], "order", "family_offsets", "blocks"}
    np.testing.assert_array_equal(np.frombuffer(columns["vol"], "<f8"), plan.sorted_cells.vol)


@dataclass
class Some:
    price: NDArray[np.float64]
    vega: NDArray[np.float64]
    error: NDArray[np.float64]
    status: NDArray[np.uint8]


@given(st.integers(1, 50))
def test_a_block_is_read_back_as_it_was_written(count: int) -> None:
    rng = np.random.default_rng(count)
    some = Some(*rng.normal(size=(3, count)), np.arange(count, dtype=np.uint8))  # type: ignore[call-arg]
    some.price[0] = np.nan
    data = encode_block(some, ("price", "vega"))
    assert len(data) == count * cell_bytes(("price", "vega"))
    columns = decode_block(data, ("price", "vega"))
    assert list(columns) == ["price", "vega", "error", "status"]
    for name, values in columns.items():
        np.testing.assert_array_equal(values, getattr(some, name))


@pytest.mark.parametrize("size", [0, 16, 18])
def test_a_damaged_block_is_refused(size: int) -> None:
    with pytest.raises(StoreError, match=f"must hold cells of 17 bytes, got {size} bytes"):
        decode_block(bytes(size), ("price",))


def test_a_plan_repeats_what_is_asked_of_it() -> None:
    plan = grid_plan({"spot": 10, "vol": 2}, measures=("price",))
    assert (plan.settings, plan.measures) == (Settings(measures=("price",)), ("price",))
    assert plan.stored_bytes == 20 * 17


# --- windows: what a worker reads of a plan ---

sizes_around_a_block = st.lists(
    st.one_of(st.integers(1, 4), st.integers(6, 9), st.integers(15, 60)), min_size=1, max_size=12
)


def reader_of(files: Mapping[str, bytes]) -> Callable[[str, int, int], bytes]:
    """Read files as a store does: as far as they go."""
    return lambda name, first, end: files[name][first:end]


@given(sizes=sizes_around_a_block, invalid=st.integers(0, 3), chunk_blocks=st.integers(1, 9))
def test_a_window_of_a_book_has_the_blocks_and_families_of_the_whole(
    sizes: list[int], invalid: int, chunk_blocks: int
) -> None:
    book = book_of(sizes, seed=len(sizes))
    book.cells.spot[:invalid] = np.nan
    whole = replace(Plan.of(book, KERNEL), block_cells=7)
    assert isinstance(whole, BookPlan)
    text, read = whole.to_json(), reader_of(whole.columns())
    for chunk in whole.chunks(chunk_blocks):
        window = Plan.window(text, read, chunk.start, chunk.stop)
        part, cell = window.plan, window.first_cell
        assert isinstance(part, BookPlan)
        assert (part.run_id, part.measures) == (whole.run_id, whole.measures)
        for block in chunk:
            first, end = whole.block_range(block)
            assert part.block_range(block - window.first_block) == (first - cell, end - cell)
            cells, offsets = whole.cells_at(first, end)
            part_cells, part_offsets = part.cells_at(first - cell, end - cell)
            np.testing.assert_array_equal(part_offsets, offsets)
            for name in INPUTS:
                np.testing.assert_array_equal(getattr(part_cells, name), getattr(cells, name))
            np.testing.assert_array_equal(
                part.order[first - cell : end - cell], whole.order[first:end]
            )
            assert_families_equal(
                part.families_at(*part.family_range(block - window.first_block)),
                whole.families_at(*whole.family_range(block)),
            )


def test_a_window_reads_the_families_of_its_blocks_and_no_more() -> None:
    whole = replace(book_plan([5] * 200), block_cells=50)
    files = whole.columns()
    read: Counter[str] = Counter()

    def counting(name: str, first: int, end: int) -> bytes:
        read[name] += end - first
        return files[name][first:end]

    Plan.window(whole.to_json(), counting, 7, 9)
    assert read["spot"] == 100 * 8
    assert read["right"] == 100
    assert read["family_offsets"] == 21 * 8
    assert read["blocks"] == 2 * 3 * 8


def test_a_window_of_a_grid_is_the_grid() -> None:
    plan = grid_plan({"spot": 50, "vol": 3})
    window = Plan.window(plan.to_json(), reader_of({}), 0, 1)
    assert (window.first_block, window.first_cell) == (0, 0)
    assert window.plan.to_json() == plan.to_json()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("vol", lambda data: data[:-8], "its file vol must have numbers 0 to 8, got 56 bytes"),
        ("blocks", lambda data: data[:16], "its file blocks must have numbers 0 to 9, got 16"),
        (
            "blocks",
            lambda data: data[:24] + data[48:] + data[:24],
            "disagree about where blocks begin",
        ),
        ("family_offsets", lambda data: bytes(len(data)), "a plan is damaged"),
    ],
)
def test_a_damaged_file_beside_a_plan_is_named(
    name: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    plan = replace(book_plan([3, 1, 4]), block_cells=4)
    files = plan.columns()
    files[name] = damage(files[name])
    with pytest.raises(PlanError, match=message):
        Plan.window(plan.to_json(), reader_of(files), 0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a plan must be JSON: Expecting"),
        ("[]", "a plan must be a JSON object, got list"),
        ("{}", "a plan must be of format 2, got None"),
        ('{"format": 2, "kind": "grid"}', "a plan is damaged: KeyError: 'spec'"),
        ('{"format": 2, "spec": 3, "kernel_version": ""}', "a plan is damaged: TypeError"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.from_json(text)


def test_a_plan_that_was_altered_is_not_what_its_id_says() -> None:
    plan = grid_plan({"spot": 2})
    text = plan.to_json()
    altered = text.replace('"auto"', '"analytic"')
    assert altered != text
    with pytest.raises(PlanError, match=f"must be what its id {plan.run_id} says, which is "):
        Plan.from_json(altered)


def test_a_book_without_one_of_its_files_is_refused() -> None:
    plan = book_plan([3, 1])
    columns = plan.columns()
    del columns["strike"]
    with pytest.raises(PlanError, match="a book's plan must have its file strike"):
        Plan.from_json(plan.to_json(), columns)
    with pytest.raises(PlanError, match="its file vol must hold numbers of 8 bytes, got 31"):
        Plan.from_json(plan.to_json(), plan.columns() | {"vol": bytes(31)})
