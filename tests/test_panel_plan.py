"""Plans of panels: a firm is a family, and a worker reads only the firms of its blocks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from panels import HORIZONS, panel_of
from pricer.errors import PlanError
from pricer.panel import NUMBERS
from pricer.plan import PanelPlan, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pricer.panel import Panel, Read

LENGTHS = [50, 3, 20, 1, 400, 19, 60, 60]


def plan_of(panel: Panel, block_cells: int = 6) -> PanelPlan:
    plan = Plan.of(panel, "kernel")
    assert isinstance(plan, PanelPlan)
    return replace(plan, block_cells=block_cells)


def reader_of(plan: PanelPlan) -> Read:
    """Return what reads the files of a plan, as a worker has them."""
    files = plan.columns()
    bulk = plan.bulk()
    return lambda name, a, b: bulk[name].read(a, b) if name in bulk else files[name][a:b]


def days_of(plan: PanelPlan, cell: int) -> NDArray[np.float64]:
    first, end = plan.spec.rows_of(np.array([cell // len(HORIZONS)]))
    return np.array(plan.spec.days(int(first[0]), int(end[0])))


def test_a_family_is_a_firm_and_a_block_whole_firms_or_a_part_of_one() -> None:
    plan = plan_of(panel_of(LENGTHS))
    assert plan.families == len(LENGTHS)
    assert plan.cells == (2 + 1 + 1 + 1 + 20 + 1 + 3 + 3) * len(HORIZONS)
    ranges = [plan.block_range(block) for block in range(plan.blocks)]
    assert [first for first, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == plan.cells
    for first, end in ranges:
        assert end - first <= plan.block_cells
        whole = {first, end} <= set(plan.offsets.tolist())
        assert whole or plan.families_between(first, end) == (4, 5)


@pytest.mark.parametrize(("window", "step"), [(20, 20), (20, 3), (60, 1), (5, 50)])
@pytest.mark.parametrize("chunk_blocks", [1, 3])
def test_a_window_of_blocks_has_the_cells_and_days_of_the_whole(
    window: int, step: int, chunk_blocks: int
) -> None:
    whole = plan_of(panel_of(LENGTHS, window, step))
    read = reader_of(whole)
    for chunk in whole.chunks(chunk_blocks):
        part = Plan.window(whole.to_json(), read, chunk.start, chunk.stop)
        plan = part.plan
        assert isinstance(plan, PanelPlan)
        for block in chunk:
            first, end = whole.block_range(block)
            found = plan.block_range(block - part.first_block)
            assert found == (first - part.first_cell, end - part.first_cell)
            for cell in range(first, end):
                assert plan.spec.called(cell - part.first_cell) == whole.spec.called(cell)
                days = days_of(plan, cell - part.first_cell)
                np.testing.assert_array_equal(days, days_of(whole, cell))


def test_a_worker_reads_the_days_of_its_firms_alone() -> None:
    whole = plan_of(panel_of(LENGTHS))
    got: Counter[str] = Counter()
    inner = reader_of(whole)

    def counting(name: str, first: int, end: int) -> bytes:
        got[name] += end - first
        return inner(name, first, end)

    block = next(b for b in range(whole.blocks) if whole.family_range(b)[0] == 4)
    part = Plan.window(whole.to_json(), counting, block, block + 1)
    assert not set(got) & set(NUMBERS)
    assert got == {"blocks": 24, "families": 48, "dates": 4 * 20, "firms": 3}
    assert isinstance(part.plan, PanelPlan)
    part.plan.spec.days(0, 20)
    assert got["equity"] == 160


def test_a_plan_is_rebuilt_from_what_a_store_keeps_without_its_days() -> None:
    plan = plan_of(panel_of(LENGTHS, 20, 7, ("asset_vol", "drift")))
    again = Plan.from_json(plan.to_json(), plan.columns())
    assert isinstance(again, PanelPlan)
    assert again.to_json() == plan.to_json()
    assert again.columns() == plan.columns()
    assert (again.run_id, again.measures, again.spec.name) == (
        plan.run_id, ("asset_vol", "drift"), "small"
    )  # fmt: skip
    assert not set(NUMBERS) & set(plan.columns())
    with pytest.raises(PlanError, match="equity is not kept beside its plan; submit its file"):
        again.spec.days(0, 1)
    fed = again.fed(plan.spec)
    np.testing.assert_array_equal(fed.spec.days(0, 9), plan.spec.days(0, 9))


def test_names_of_firms_are_kept_whatever_their_letters() -> None:
    panel = panel_of([20, 20, 20])
    panel.firms[:] = ["Société", "株", "a"]
    plan = plan_of(panel, 2)
    again = Plan.from_json(plan.to_json(), plan.columns())
    assert isinstance(again, PanelPlan)
    assert again.spec.firms.tolist() == panel.firms.tolist()
    part = Plan.window(plan.to_json(), reader_of(plan), 1, 2).plan
    assert isinstance(part, PanelPlan)
    assert part.spec.firms.tolist() == ["株"]


def test_the_run_id_is_the_same_tomorrow() -> None:
    # A change here loses every run that a user has stored.
    expected = "3b1d59883d5573eb57cd7dd5446c0f31aef2649ba4bc28dd895190ac13ef68b4"
    assert Plan.of(panel_of([30, 40]), "kernel").run_id == expected


def test_bulk_is_every_day_of_every_firm() -> None:
    plan = plan_of(panel_of(LENGTHS))
    assert {name: file.size for name, file in plan.bulk().items()} == dict.fromkeys(
        NUMBERS, 8 * sum(LENGTHS)
    )
    assert plan.bulk()["debt"].read(8, 24) == np.full(2, 30.0).tobytes()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("families", lambda data: data[:-1], "its file families must hold numbers of 8 bytes"),
        ("families", lambda data: data[24:], "its file families has other cells"),
        ("dates", lambda data: data[4:], "its file dates has 31 windows"),
        ("firms", None, "a panel's plan must have its file firms"),
        ("firms", lambda data: b"\xff" * len(data), "a plan is damaged: UnicodeDecodeError"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, damage: Callable[[bytes], bytes] | None, message: str
) -> None:
    plan = plan_of(panel_of(LENGTHS))
    files = plan.columns()
    if damage:
        files[name] = damage(files[name])
    else:
        del files[name]
    with pytest.raises(PlanError, match=message):
        Plan.from_json(plan.to_json(), files)


def test_a_plan_of_other_windows_than_its_id_says_is_refused() -> None:
    plan = plan_of(panel_of(LENGTHS))
    document = json.loads(plan.to_json())
    document["spec"]["step"] = 3
    with pytest.raises(PlanError, match="must be what its id"):
        Plan.from_json(json.dumps(document), plan.columns())


def test_panels_are_planned_by_arithmetic() -> None:
    plan = plan_of(panel_of([252 * 30] * 200, 252), 1008)
    assert plan.cells == 200 * 30 * 2
    assert plan.blocks == -(-200 // (1008 // 60))
    assert plan.solves(3) == plan.families
    assert plan.why() == "the windows and horizons of a firm share its days"
