"""Runs of panels: what is estimated is stored, resumed, queried and the same wherever it is."""

from __future__ import annotations

import csv
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from cloud.tables import new_bucket, new_table
from counting import Counting
from panels import HORIZONS, columns_of, panel_of, write_panel
from pricer import pricing, worker
from pricer.cli import cli
from pricer.compiled import kernel_version
from pricer.contracts import Status
from pricer.errors import PlanError, SpecError, StoreError
from pricer.estimate import estimate, measure
from pricer.executors.local import LocalExecutor
from pricer.executors.stepfunctions import StepFunctionsExecutor
from pricer.merton import MEASURES, distance_to_default
from pricer.panel import NUMBERS, Panel, iso_dates
from pricer.plan import PanelPlan, Plan
from pricer.pricing import price_chunk
from pricer.reading import read_spec
from pricer.run import Run, open_run, submit, submit_plan
from pricer.stores import StoredRun
from pricer.stores.dynamodb import DynamoStore
from pricer.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pricer.stores import Store

# The second firm is too short for half of a window, the fifth one's windows are several blocks.
LENGTHS = [50, 8, 20, 64, 400, 19, 60, 60]
FIRMS = [f"F{firm:02d}" for firm in range(len(LENGTHS))]


def plan_of(panel: Panel, block_cells: int = 6) -> Plan:
    """Plan with blocks small enough that a small run has many."""
    plan = Plan.of(panel, kernel_version())
    document = json.loads(plan.to_json())
    document["block_cells"] = block_cells
    return Plan.from_json(json.dumps(document), plan.columns()).fed(panel)


def priced(
    panel: Panel, store: Store | None = None, *, chunk_blocks: int = 2, workers: int = 2
) -> Run:
    executor = LocalExecutor(workers)
    chosen = store or MemoryStore()
    return submit_plan(plan_of(panel), chosen, executor, chunk_blocks=chunk_blocks)


@pytest.fixture(scope="module")
def run() -> Run:
    return priced(panel_of(LENGTHS, 20, 10))


# --- values ---


def test_a_run_has_the_estimates_of_each_firm_by_itself(run: Run) -> None:
    columns = columns_of(LENGTHS)
    for firm in FIRMS:
        here = columns["firm"] == firm
        equity, debt, rate = (columns[name][here] for name in NUMBERS)
        alone = distance_to_default(equity, debt, rate, HORIZONS, 20, step=10)
        table = run.query({"firm": firm})
        for name in (*MEASURES, "error", "status"):
            np.testing.assert_array_equal(table[name], getattr(alone, name).reshape(-1))


@pytest.mark.parametrize(("chunk_blocks", "workers"), [(1, 1), (3, 2), (100, 1)])
def test_values_do_not_depend_on_chunks_or_workers(
    run: Run, chunk_blocks: int, workers: int
) -> None:
    other = priced(panel_of(LENGTHS, 20, 10), chunk_blocks=chunk_blocks, workers=workers)
    blocks = range(run.plan.blocks)
    assert dict(other.store.blocks(other.id, blocks)) == dict(run.store.blocks(run.id, blocks))


@pytest.mark.parametrize("rows", [1, 45, 130])
def test_values_do_not_depend_on_how_many_days_are_read_together(
    run: Run, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing, "PANEL_ROWS", rows)
    other = priced(panel_of(LENGTHS, 20, 10), workers=1)
    blocks = range(run.plan.blocks)
    assert dict(other.store.blocks(other.id, blocks)) == dict(run.store.blocks(run.id, blocks))


def test_no_more_days_are_in_memory_than_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pricing, "PANEL_ROWS", 130)
    panel = panel_of(LENGTHS)
    read, most = panel.read, []

    def counting(name: str, first: int, end: int) -> bytes:
        most.append(end - first)
        return read(name, first, end)

    object.__setattr__(panel, "read", counting)
    plan = plan_of(panel)
    assert len(list(price_chunk(plan, 0, plan.blocks))) == plan.blocks
    assert 8 * 60 < max(most) <= 8 * 130
    assert len(most) < 3 * plan.blocks


def test_a_run_says_how_many_inversions_it_took_without_reading_a_block() -> None:
    run = priced(panel_of(LENGTHS, 20, 10), Counting())
    status = run.status()
    assert isinstance(run.store, Counting)
    assert not run.store.read
    table = run.query()
    assert status.inversions == np.nansum(table["inversions"])
    assert status.to_json()["inversions"] == status.inversions


def test_failures_are_grouped_by_why_and_name_the_first_cell(run: Run) -> None:
    status = run.status()
    few = next(f for f in status.failures if f.status == "invalid")
    assert "usable days" in few.reason
    assert few.example == {"firm": "F01", "date": "2001-01-15", "horizon": 1.0, "days": 8.0}
    table = run.query()
    assert sum(f.count for f in status.failures) == np.count_nonzero(table["status"])
    assert few.count == np.count_nonzero(table["status"] == Status.invalid)
    assert np.isnan(table["asset_vol"][table["status"] == Status.invalid]).all()


def test_a_panel_is_measured_before_it_is_priced() -> None:
    plan = Plan.of(panel_of([252 * 4] * 30, 252), kernel_version())
    measured = measure(plan)
    assert measured.cell_s > 0
    assert measured.packed_bytes_per_cell > 8
    assert 1 <= estimate(plan, 2, measured).chunk_blocks <= plan.blocks


# --- files, resume ---


def test_a_panel_that_is_read_again_is_resumed(tmp_path: Path) -> None:
    path = write_panel(tmp_path, columns_of(LENGTHS))
    store = MemoryStore()

    def failing(plan: Plan, first: int, end: int) -> Iterator[Any]:
        yield from islice(price_chunk(plan, first, end), 1)
        if first > 4:
            raise KeyboardInterrupt

    first = read_spec(str(path))
    assert isinstance(first, Panel)
    with pytest.raises(KeyboardInterrupt):
        submit_plan(plan_of(first), store, LocalExecutor(1, failing), chunk_blocks=1)
    with pytest.raises(StoreError, match=r"of a panel, whose days no store on .* submit its file"):
        open_run("latest", store).resume()
    again = read_spec(path)
    assert isinstance(again, Panel)
    run = priced(again, store)
    assert open_run("latest", store).resume().id == run.id
    assert 0 < run.priced < run.plan.cells
    assert run.state == "complete"
    whole = priced(panel_of(LENGTHS))
    blocks = range(run.plan.blocks)
    assert dict(store.blocks(run.id, blocks)) == dict(whole.store.blocks(whole.id, blocks))


def test_the_days_are_in_no_store(tmp_path: Path) -> None:
    panel = read_spec(write_panel(tmp_path, columns_of(LENGTHS)))
    store = MemoryStore()
    run = submit(panel, store, workers=1)
    assert set(store.files(run.id)) == {"plan", "families", "blocks", "dates", "firms"}
    stored = Run(store, store.run(run.id)).plan
    with pytest.raises(PlanError, match="submit its file again"):
        next(iter(price_chunk(stored, 0, 1)))


# --- query ---


def test_cells_are_read_by_firm_date_and_horizon(run: Run) -> None:
    assert isinstance(run.plan, PanelPlan)
    table = run.query({"firm": "F04", "horizon": "2.5", "date": "2001-03-01:2001-04-15"})
    ends = [np.datetime64("2001-01-29") + 19 + 10 * k for k in range(39)]
    wanted = [str(d) for d in ends if "2001-03-01" <= str(d) <= "2001-04-15"]
    assert table["date"].tolist() == wanted
    assert list(table) == ["firm", "date", "horizon", *MEASURES, "error", "status"]
    assert set(table["firm"]) == {"F04"}
    assert set(table["horizon"]) == {2.5}
    whole = run.query()
    assert len(whole["firm"]) == run.plan.cells
    assert list(dict.fromkeys(whole["firm"].tolist())) == FIRMS
    here = (whole["firm"] == "F04") & (whole["horizon"] == 2.5) & np.isin(whole["date"], wanted)
    np.testing.assert_array_equal(whole["asset_vol"][here], table["asset_vol"])


def test_only_the_blocks_that_are_needed_are_read() -> None:
    run = priced(panel_of(LENGTHS, 20, 10), Counting())
    assert isinstance(run.store, Counting)
    run.query({"firm": "F04"}, limit=1)
    first = int(run.plan.block_of(np.array([(4 + 1 + 1 + 5) * 2]))[0])
    assert run.store.read == [first]


@pytest.mark.parametrize(
    ("selection", "cells"),
    [
        ({"firm": "F00,F02"}, 10),
        ({"firm": ["F00", "F02"], "horizon": 1.0}, 5),
        ({"firm": "F00:F01"}, 10),
        ({"date": "2001-01-20"}, 2),
        ({"date": "2001-01-20,2001-01-30"}, 4),
        ({"date": ":2001-01-30"}, 6),
        ({"firm": "F00", "horizon": "2:3"}, 4),
        ({"firm": ":", "horizon": 1.0}, 61),
        ({"firm": "F06:", "date": ":"}, 20),
    ],
)
def test_values_lists_and_ranges_are_selected(
    run: Run, selection: dict[str, Any], cells: int
) -> None:
    table = run.query(selection)
    assert len(table["firm"]) == run.count(selection) == cells
    keys = [*zip(*(table[name].tolist() for name in ("firm", "date", "horizon")), strict=True)]
    whole = run.query()
    every = [*zip(*(whole[name].tolist() for name in ("firm", "date", "horizon")), strict=True)]
    places = [every.index(key) for key in keys]
    assert places == sorted(places)
    np.testing.assert_array_equal(table["asset_vol"], whole["asset_vol"][places])
    paged = [run.query(selection, limit=3, offset=o)["asset_vol"] for o in range(0, cells + 3, 3)]
    np.testing.assert_array_equal(np.concatenate(paged), table["asset_vol"])


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"firm": "F4"}, "firm: no row has F4; did you mean 'F04'?"),
        ({"firms": "F04"}, "'firms' is not a column of this run; did you mean 'firm'?"),
        ({"date": "2001-02-31"}, "date: must be a date as 2014-06-21, got '2001-02-31'"),
        ({"date": "2001"}, "date: must be a date as 2014-06-21, got '2001'"),
        ({"firm": "F00", "date": "2001-01-22"}, "is not there; the nearest is 2001-01-20"),
        ({"firm": "F00", "date": "2002-01-22:"}, "no value lies in 2002-01-22:; there are 2001-0"),
        ({"date": "2002-01-02:2001-01-01"}, "date: a range must go up, got 2002-01-02:2001-01-01"),
        ({"horizon": 3.0}, "horizon: 3 is not there; the nearest is 2.5"),
        ({"firm": "G:"}, "firm: no value lies in G:; there are F00 to F07"),
        ({"firm": "G:", "date": "2001-01-20"}, "firm: no value lies in G:; there are F00 to F07"),
        ({"horizon": "3:4"}, "horizon: no value lies in 3:4; there are 1 to 2.5"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    run: Run, selection: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as raised:
        run.query(selection)
    assert message in str(raised.value)


def test_the_nearest_is_taken_where_that_is_asked_for(run: Run) -> None:
    table = run.query({"firm": "F00", "date": "2001-01-22", "horizon": 3.0}, nearest=True)
    assert (table["date"].tolist(), table["horizon"].tolist()) == (["2001-01-20"], [2.5])


def test_firms_called_by_numbers_are_told_by_their_texts() -> None:
    panel = panel_of([20, 20, 20])
    panel.firms[:] = ["7", "007", "12"]
    run = priced(panel)
    assert set(run.query({"firm": "7"})["firm"]) == {"7"}
    assert set(run.query({"firm": "007,12"})["firm"]) == {"007", "12"}


def test_a_measure_that_is_not_of_panels_is_refused(run: Run) -> None:
    assert list(run.query({"firm": "F00"}, measures=["drift"]))[3:] == ["drift", "error", "status"]
    with pytest.raises(SpecError, match="measures: must be of asset_value"):
        run.query(measures=["delta"])
    few = priced(panel_of(LENGTHS, measures=("asset_vol",)))
    with pytest.raises(SpecError, match="'drift' is not in this run, which has asset_vol"):
        few.query(measures=["drift"])


def test_batches_are_the_whole_run_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricer.run.BATCH_CELLS", 12)
    batches = list(run.batches(["asset_vol"]))
    assert len(batches) > 3
    whole = run.query(measures=["asset_vol"])
    for name, column in whole.items():
        np.testing.assert_array_equal(np.concatenate([b[name] for b in batches]), column)
    assert run.to_arrow().column_names == ["firm", "date", "horizon", *MEASURES, "error", "status"]
    with pytest.raises(SpecError, match="to_xarray: a panel has no axes"):
        run.to_xarray()


def test_dates_are_iso_texts() -> None:
    assert iso_dates(np.array([0, 11_323], np.int32)).tolist() == ["1970-01-01", "2001-01-01"]


# --- the command line ---


def document(*arguments: object) -> Any:
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def shown(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_line_takes_a_panel_as_it_takes_a_grid(tmp_path: Path) -> None:
    file = write_panel(tmp_path, columns_of(LENGTHS))
    planned = document("plan", file)
    assert planned["kind"] == "panel"
    assert (planned["firms"], planned["windows"], planned["cells"]) == (8, 34, 68)
    assert planned["measures"] == list(MEASURES)
    assert "34 windows of 8 firms x 2 horizons" in shown("plan", file)
    done = document("submit", file)
    assert (done["run"], done["state"], done["cells"]) == (planned["run"], "complete", 68)
    assert done["inversions"] > 0
    assert f"{done['inversions']:,} Black-Scholes inversions" in shown("submit", file)
    status = document("status", "latest")
    assert status["inversions"] == done["inversions"]
    assert f"{done['inversions']:,}" in shown("status", "latest")
    assert document("runs")["runs"][0]["name"] == "small"
    rows = document("query", "latest", "firm=F04", "horizon=1", "--measures", "drift")
    assert list(rows[0]) == ["firm", "date", "horizon", "drift", "error", "status"]
    output = tmp_path / "all.csv"
    shown("export", "latest", output)
    with output.open(encoding="utf-8") as lines:
        assert [row["firm"] for row in csv.DictReader(lines)][:4] == ["F00"] * 4
    assert document("delete", "latest")["deleted"]


# --- AWS ---


@pytest.fixture
def there(aws: str) -> Iterator[DynamoStore]:
    with new_table() as table, new_bucket() as bucket:
        yield DynamoStore(table, bucket=bucket)


def created(store: DynamoStore, plan: Plan, chunk_blocks: int = 2) -> StoredRun:
    head = StoredRun(plan.run_id, "", plan.cells, plan.blocks, chunk_blocks, "2026-11-23")
    return store.create(head, {"plan": plan.to_json().encode()} | plan.columns())


def test_workers_leave_what_a_run_here_leaves(run: Run, there: DynamoStore) -> None:
    plan = plan_of(panel_of(LENGTHS, 20, 10))
    head = created(there, plan)
    for name, file in plan.bulk().items():
        assert not there.has(plan.run_id, name, file.size)
        there.write(plan.run_id, name, file)
        assert there.has(plan.run_id, name, file.size)
    assert worker.plan_run(there, plan.run_id)["chunks"] == head.chunks
    for chunk in plan.chunks(head.chunk_blocks):
        worker.price_chunk(there, plan.run_id, chunk.start, chunk.stop)
    numbers = range(plan.blocks)
    assert dict(there.blocks(plan.run_id, numbers)) == dict(run.store.blocks(run.id, numbers))
    assert there.markers(plan.run_id) == run.store.markers(run.id)
    assert worker.finish_run(there, plan.run_id)["state"] == "complete"
    summary = there.summary(plan.run_id)
    assert summary is not None
    assert summary["inversions"] == run.status().inversions
    assert summary["axes"] == {}


def test_a_worker_says_what_it_lacks_of_a_panel(there: DynamoStore) -> None:
    plan = plan_of(panel_of(LENGTHS))
    created(there, plan)
    with pytest.raises(StoreError, match="equity is not there or too short; delete the run and"):
        worker.price_chunk(there, plan.run_id, 0, 2)


def test_days_are_put_into_the_bucket_once(
    there: DynamoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(panel_of(LENGTHS))
    head = created(there, plan)
    put: list[str] = []
    write = there.write

    def counting(run_id: str, name: str, data: Any) -> str:
        put.append(name)
        return write(run_id, name, data)

    monkeypatch.setattr(there, "write", counting)
    executor = StepFunctionsExecutor(None, 1, detach=True)  # type: ignore[arg-type]
    monkeypatch.setattr(executor, "_going", lambda run, store: "")
    for _ in range(2):
        executor.execute(plan, head, there, lambda: None)
    assert put == ["equity", "debt", "rate"]
    assert there.read(plan.run_id, "debt", 8, 24) == np.full(2, 30.0).tobytes()
