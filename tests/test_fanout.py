"""How a plan is fanned out on AWS: arithmetic on what was measured, is allowed, and costs."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import date
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panels import panel_of
from pricer.billing import prices
from pricer.book import Book
from pricer.cloud import _check_fits
from pricer.errors import SpecError
from pricer.estimate import Measured
from pricer.fanout import (
    ITEM_BYTES,
    LOAD_S,
    LONG_CHUNK_S,
    ORCHESTRATION_S,
    SEND_S_PER_BYTE,
    SHORT_CHUNK_S,
    START_S,
    STEP_S,
    FanOut,
    Limits,
    Prices,
    Usage,
    fan_out,
    money,
    verdict,
)
from pricer.grid import Axis, Grid
from pricer.plan import Plan
from pricer.settings import Settings

ROOT = Path(__file__).parents[1]
SIX = ("price", "delta", "gamma", "vega", "theta", "rho")
# As on one core with all measures: 0.4 ms a solve, half a microsecond a cell.
CHEAP = Measured(solve_s=4e-4, cell_s=5e-7, pack_s=1e-6, packed_bytes_per_cell=45.0)
# Every cell its own solve; so little is written that the table never matters.
HARD = Measured(solve_s=1e-3, cell_s=0.0, pack_s=0.0, packed_bytes_per_cell=0.1)
START = ORCHESTRATION_S + 3 * (LOAD_S + START_S) + 2 * STEP_S


def grid(vols: int, strikes: int = 1, spots: int = 1, rates: int = 1, **settings: Any) -> Plan:
    given = {
        "vol": (0.1, 0.5, vols),
        "strike": (70, 130, strikes),
        "spot": (80, 120, spots),
        "rate": (0.01, 0.06, rates),
    }
    axes = tuple(
        Axis(name, tuple(np.linspace(low, high, count)))
        for name, (low, high, count) in given.items()
    )
    fixed: dict[str, Any] = {"right": "put", "exercise": "american", "expiry": 1.0}
    return Plan.of(Grid(axes=axes, fixed=fixed, settings=Settings(**settings)), "test")


def fanned(
    plan: Plan, measured: Measured, chunk_blocks: int | None = None, **limits: float | str
) -> FanOut:
    return fan_out(plan, measured, Limits(**limits), prices(), chunk_blocks)  # type: ignore[arg-type]


def test_ten_million_cells_of_six_measures_cost_at_most_36_cents_of_writes() -> None:
    plan = grid(3_200, 25, 125, measures=SIX)
    assert plan.cells == 10_000_000
    # As if nothing could be packed.
    raw = fanned(plan, replace(CHEAP, packed_bytes_per_cell=plan.cell_bytes))
    assert raw.dollars["dynamodb_writes"] <= 0.36
    packed = fanned(plan, CHEAP)
    assert packed.dollars["dynamodb_writes"] == pytest.approx(0.28, abs=0.01)
    assert packed.binds == "table writes"
    # 46 units a block, 4,000 a second, and the start.
    assert packed.seconds == pytest.approx(START + plan.blocks * 46 / 4_000, rel=0.01)


def test_writes_are_counted_as_dynamodb_rounds_them() -> None:
    plan = grid(1_000, 50)
    cells = plan.cells / plan.blocks
    exact = (10 * 1_024 - ITEM_BYTES) / cells
    small = fanned(plan, replace(CHEAP, packed_bytes_per_cell=exact), 10)
    large = fanned(plan, replace(CHEAP, packed_bytes_per_cell=exact + 1e-6), 10)
    assert large.usage.write_units - small.usage.write_units == plan.blocks


def test_one_worker_is_enough_where_it_writes_faster_than_the_table_takes() -> None:
    found = fanned(grid(3_200, 25, 125, measures=SIX), CHEAP)
    assert found.concurrency == 1
    assert 20 <= found.chunk_seconds <= 40
    assert found.chunks == ceil((found.seconds - START) / found.chunk_seconds)


def test_concurrency_is_what_brings_the_table_to_its_limit() -> None:
    plan = grid(3_200, 25, 125, measures=SIX)
    slow = replace(CHEAP, cell_s=1e-4)
    found = fanned(plan, slow)
    busy_s = 1.08 * (4e-4 * 3_200 + 1.01e-4 * 10_000_000 + SEND_S_PER_BYTE * 4.5e8)
    assert found.concurrency == ceil(4_000 * busy_s / (plan.blocks * 46))
    # At twice the rate it takes half as long, by twice as many.
    twice = fanned(plan, slow, write_units_per_s=8_000.0)
    assert twice.concurrency == pytest.approx(2 * found.concurrency, abs=1)
    assert twice.seconds - START == pytest.approx((found.seconds - START) / 2, rel=0.02)


def test_the_quota_binds_in_a_new_account() -> None:
    plan = grid(1_000, rates=1_000)
    found = fanned(plan, HARD, concurrency=10)
    assert found.concurrency == 10
    assert found.binds == "quota"
    # 1,000 s of solves, 8 % slower there, by ten.
    assert found.seconds == pytest.approx(START + 108, rel=0.05)
    assert 20 <= found.chunk_seconds <= 40


def test_a_small_run_is_cut_for_all_workers_until_chunks_are_short() -> None:
    plan = grid(1_000, rates=30)
    half_a_minute = replace(HARD, packed_bytes_per_cell=40.0)
    found = fanned(plan, half_a_minute)
    assert found.chunk_seconds == pytest.approx(SHORT_CHUNK_S, rel=0.2)
    assert found.concurrency == found.chunks > 5
    assert found.binds == "start-up"
    # Waiting for one worker would take half a minute longer, and save less than a cent.
    alone = fanned(plan, half_a_minute, plan.blocks)
    assert alone.seconds > found.seconds + 20
    assert found.total - alone.total < 0.01


def test_more_than_a_thousand_environments_take_their_time_to_start() -> None:
    plan = grid(2_500, 1_000)
    found = fanned(plan, replace(HARD, solve_s=30.0), concurrency=2_500, write_units_per_s=1e9)
    assert found.concurrency == 2_500
    assert found.seconds - found.chunk_seconds * ceil(found.chunks / found.concurrency) == (
        pytest.approx(START + 20)
    )


def test_no_more_workers_are_asked_for_than_a_map_has_children() -> None:
    plan = grid(20_000, 1_000)
    found = fanned(plan, replace(HARD, solve_s=30.0), concurrency=50_000, write_units_per_s=1e9)
    assert found.concurrency == 10_000


def test_chunks_end_between_families_while_every_worker_has_one() -> None:
    # 40 families of 40 blocks each.
    plan = grid(40, 200, 235)
    measured = replace(CHEAP, solve_s=60.0, packed_bytes_per_cell=0.1)
    found = fanned(plan, measured, concurrency=40)
    assert plan.solves(found.chunk_blocks) == plan.families
    more = fanned(plan, measured, concurrency=400)
    assert plan.solves(more.chunk_blocks) > plan.families


def test_no_chunk_is_longer_than_four_minutes_unless_a_block_is() -> None:
    for cells in (1, 1_000, 100_000):
        for solve_s in (1e-4, 1.0, 100.0):
            plan = grid(1_000, cells)
            found = fanned(plan, replace(HARD, solve_s=solve_s), concurrency=10)
            assert found.chunk_seconds <= LONG_CHUNK_S or found.chunk_blocks == 1


def test_a_table_that_grows_meanwhile_is_reckoned_with() -> None:
    plan = grid(10_000, 400, 250, measures=SIX)
    assert plan.cells == 1_000_000_000
    found = fanned(plan, replace(CHEAP, cell_s=2e-6))
    units = plan.blocks * ceil((plan.cells / plan.blocks * 45 + ITEM_BYTES) / 1_024)
    # Half an hour at 4,000, half an hour at 8,000, the rest at 16,000.
    expected = 3_600 + (units - 1_800 * 12_000) / 16_000
    assert found.seconds == pytest.approx(START + expected, rel=0.01)
    # One worker would do for the first hour.
    assert found.concurrency == 2
    assert found.dollars["dynamodb_writes"] == pytest.approx(units * 0.625e-6, rel=0.01)


def test_a_run_that_is_cut_already_stays_cut() -> None:
    plan = grid(1_000, 50)
    found = fanned(plan, CHEAP, 3)
    assert found.chunk_blocks == 3
    assert found.chunks == ceil(plan.blocks / 3)


def test_transitions_requests_and_starts_are_paid_for() -> None:
    plan = grid(1_000, rates=1_000)
    found = fanned(plan, HARD, concurrency=10)
    assert found.usage.invocations == found.chunks + 2
    assert found.usage.transitions == 2 * found.chunks + 7
    assert found.usage.billed_s == pytest.approx(1_080 + 12 * START_S + 2 * STEP_S, rel=1e-3)
    assert found.dollars["lambda_compute"] == pytest.approx(
        found.usage.billed_s * 1_769 / 1_024 * 0.0000166667
    )
    assert found.total == pytest.approx(sum(found.dollars.values()))


def test_arm64_costs_a_fifth_less_to_compute() -> None:
    plan = grid(1_000, rates=1_000)
    x86, arm = (fanned(plan, HARD, architecture=name) for name in ("x86_64", "arm64"))
    assert arm.dollars["lambda_compute"] == pytest.approx(
        0.8 * x86.dollars["lambda_compute"], rel=1e-4
    )


def test_storage_is_paid_for_as_long_as_it_is_kept() -> None:
    plan = grid(3_200, 25, 125, measures=SIX)
    month, year = (
        fan_out(plan, CHEAP, Limits(), prices(), keep_days=days).dollars for days in (30, 360)
    )
    assert year["dynamodb_storage"] == pytest.approx(12 * month["dynamodb_storage"])
    # 450 MB for a month at 25 cents a GB.
    assert month["dynamodb_storage"] == pytest.approx(0.105, abs=0.005)
    assert year["dynamodb_writes"] == month["dynamodb_writes"]


def test_a_book_is_read_by_its_workers_from_s3() -> None:
    rows = "".join(f"put,{90 + i % 20},0.2,100,0.01,1\n" for i in range(500))
    plan = Plan.of(Book.parse("right,strike,vol,spot,rate,expiry\n" + rows), "test")
    found = fanned(plan, CHEAP, 1)
    assert found.usage.s3_puts == len(plan.columns()) + 2
    assert found.usage.s3_gets > found.chunks
    assert fanned(grid(10, 10), CHEAP).usage.s3_puts == 2


def cost(seconds: float, dollars: float, binds: str = "table writes") -> FanOut:
    return FanOut(
        chunk_blocks=1,
        chunks=1,
        concurrency=1,
        seconds=seconds,
        chunk_seconds=seconds,
        binds=binds,
        keep_days=90,
        usage=Usage(),
        dollars={"dynamodb_writes": dollars},
        prices_as_of="2026-11",
        prices_region="us-east-1",
    )


@pytest.mark.parametrize(
    ("local_s", "aws", "line"),
    [
        (
            9.2,
            cost(140, 0.36),
            "local: 9 s, $0; aws: 140 s, $0.36 (table writes bind): run it here",
        ),
        (
            36_000,
            cost(180, 2.5, "compute"),
            "local: 10.0 h, $0; aws: 180 s, $2.50 (compute binds): run it there",
        ),
        # Not twice as fast; not minutes faster; dearer than the time is worth.
        (
            1_000,
            cost(700, 0.001, "quota"),
            "local: 17 min, $0; aws: 12 min, under $0.01 (the quota binds): run it here",
        ),
        (
            200,
            cost(30, 0.01, "start-up"),
            "local: 200 s, $0; aws: 30 s, $0.01 (start-up binds): run it here",
        ),
        (
            3_600,
            cost(600, 51, "compute"),
            "local: 60 min, $0; aws: 10 min, $51.00 (compute binds): run it here",
        ),
    ],
)
def test_a_verdict_says_in_a_line_where_to_run(local_s: float, aws: FanOut, line: str) -> None:
    assert verdict(local_s, aws) == line


def test_money_is_said_as_people_say_it() -> None:
    said = [money(d) for d in (0, 0.0042, 0.36, 1234.5)]
    assert said == ["$0.00", "under $0.01", "$0.36", "$1,234.50"]


def test_what_is_planned_is_json() -> None:
    found = fanned(grid(1_000, 50), CHEAP)
    document = json.loads(json.dumps(found.to_json()))
    assert document["total"] == pytest.approx(found.total)
    assert document["usage"]["write_units"] == found.usage.write_units
    assert document["dollars"] == found.dollars


def test_every_price_has_its_date_and_its_source() -> None:
    table = json.loads(files("pricer").joinpath("aws_prices.json").read_text())
    date.fromisoformat(f"{table['as_of']}-01")
    assert {f.name for f in fields(Prices)} <= {"as_of", "region", *table["prices"]}
    for name, row in table["prices"].items():
        assert row["source"].startswith("https://aws.amazon.com/"), name
        assert row["usd"] > 0
        assert row["per"] >= 1


def test_what_the_docs_say_a_deployment_costs_idle_is_at_these_prices() -> None:
    table = json.loads(files("pricer").joinpath("aws_prices.json").read_text())["prices"]
    usd = {name: row["usd"] / row["per"] for name, row in table.items()}
    alarms, image = 5 * usd["alarm_month"], 0.2 * usd["image_gb_month"]
    docs = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    for row in (
        f"are free | ${alarms:.2f} |",
        f"compressed | $0.10 a GB | ${image:.2f} |",
        f"**nothing stored** | | **${alarms + image:.2f}** |",
        f"restoring it | ${usd['table_gb_month'] + usd['pitr_gb_month']:.2f} |",
        f"on S3 | ${usd['s3_gb_month']:.3f} |",
        f"in the account that is ${alarms + image + usd['dashboard_month']:.2f}.",
    ):
        assert row in docs
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{100 * (alarms + image):.0f} cents a month](docs/aws.md)" in readme


def test_the_days_of_a_panel_are_put_kept_and_read_in_pieces() -> None:
    plan = Plan.of(panel_of([252 * 30] * 500, 252), "kernel")
    fan = fan_out(plan, replace(HARD, cell_s=1e-3), Limits(), prices(), 5, keep_days=30)
    small = len(plan.columns())
    # 90 MB, of which a worker reads 2^19 rows at a time.
    days = 3 * 8 * 252 * 30 * 500
    assert fan.usage.s3_puts == small + 3 + 2
    assert fan.usage.s3_gets == fan.concurrency + 1 + fan.chunks * (small + 3) + days // (8 * 2**19)
    kept = (days + sum(map(len, plan.columns().values()))) / 2**30 * 30 / (365 / 12)
    assert fan.usage.s3_gb_months == pytest.approx(kept)


def test_a_panel_that_s3_cannot_take_is_refused() -> None:
    panel = panel_of([300, 300])
    object.__setattr__(panel, "offsets", np.array([0, 300, 700_000_000]))
    plan = Plan.of(panel, "kernel")
    with pytest.raises(SpecError, match="S3 takes at most 5,368,709,120 bytes of equity, got 5,6"):
        _check_fits(plan, fan_out(plan, HARD, Limits(), prices(), 1), Limits())
