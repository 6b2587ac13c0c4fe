"""How long a plan takes, measured with the kernels."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pricer.book import Book
from pricer.compiled import kernel_version
from pricer.estimate import Measured, _spread, chunk_blocks_of, estimate, measure
from pricer.grid import Axis, Grid
from pricer.plan import Plan
from pricer.settings import Settings

# A solve of a millisecond, cells of a microsecond.
GIVEN = Measured(solve_s=1e-3, cell_s=1e-6, pack_s=1e-6, packed_bytes_per_cell=20.0)


def american(vols: int, strikes: int = 50, **settings: Any) -> Plan:
    grid = Grid(
        axes=(
            Axis("vol", tuple(np.linspace(0.1, 0.5, vols))),
            Axis("strike", tuple(np.linspace(70.0, 130.0, strikes))),
        ),
        fixed={
            "right": "put",
            "exercise": "american",
            "spot": 100.0,
            "expiry": 1.0,
            "rate": 0.05,
        },
        settings=Settings(**settings),
    )
    return Plan.of(grid, kernel_version())


@pytest.fixture(autouse=True)
def _loaded() -> None:
    """Keep the compiling of kernels out of what is timed here."""
    estimate(american(2))


def test_an_estimate_takes_about_a_second_however_large_the_plan() -> None:
    started = time.perf_counter()
    huge = estimate(american(100_000, 100_000))
    assert time.perf_counter() - started < 3
    assert huge.seconds > 10
    # A day of work is cut into chunks of a minute, not into millions.
    assert 1 <= huge.chunk_blocks < 100_000


def test_twice_the_workers_take_half_the_time() -> None:
    plan = american(3_000, 500)
    one, two = (estimate(plan, workers, GIVEN) for workers in (1, 2))
    assert two.seconds == pytest.approx(one.seconds / 2)
    # 3,000 solves of a millisecond, 1.5 million cells of a microsecond, and the writing.
    assert one.seconds == pytest.approx(4.5 + 0.2, abs=0.1)


def test_chunks_last_about_a_second_and_give_every_worker_its_share() -> None:
    long, short = american(100_000, 500), american(3_000, 500)
    chunk = estimate(long, 2, GIVEN).chunk_blocks
    assert 150 * chunk / long.blocks == pytest.approx(1.0, rel=0.1)
    assert len(short.chunks(estimate(short, 2, GIVEN).chunk_blocks)) >= 32


def test_many_workers_do_not_cut_families_while_there_is_one_for_each() -> None:
    plan = american(40, 40_000)
    for workers in (2, 16, 40):
        assert plan.solves(estimate(plan, workers, GIVEN).chunk_blocks) == plan.families
    assert plan.solves(estimate(plan, 41, GIVEN).chunk_blocks) > plan.families


def test_a_family_is_cut_only_where_to_solve_it_again_is_little() -> None:
    one = american(1, 400_000)
    # Beside so long a solve 400,000 cells are nothing, and two workers solve it at once.
    assert len(one.chunks(estimate(one, 2, replace(GIVEN, solve_s=10.0)).chunk_blocks)) == 2
    assert len(one.chunks(estimate(one, 2, GIVEN).chunk_blocks)) > 30
    # Families that last are not waited for: the bar moves within them.
    few, lasting = american(4, 400_000), replace(GIVEN, cell_s=1e-4)
    chunk_blocks = estimate(few, 2, lasting).chunk_blocks
    assert len(few.chunks(chunk_blocks)) >= 100
    assert few.solves(chunk_blocks) * lasting.solve_s < 0.1 * few.cells * lasting.cell_s


def simulated(exercise: str, strikes: int, **settings: Any) -> Plan:
    grid = Grid(
        axes=(
            Axis("strike", tuple(np.linspace(90.0, 110.0, strikes))),
            Axis("rate", (0.01, 0.02, 0.03)),
        ),
        fixed={"right": "put", "exercise": exercise, "spot": 100.0, "expiry": 1.0, "vol": 0.2},
        settings=Settings(method="monte_carlo", **settings),
    )
    return Plan.of(grid, kernel_version())


def test_what_is_simulated_is_measured_in_seconds_however_hard_it_is() -> None:
    plan = simulated("european", 400, tolerance=1e-9, paths=2**28, measures=("price",))
    measure(simulated("european", 2))
    started = time.perf_counter()
    measured = measure(plan)
    assert time.perf_counter() - started < 6
    # It takes all of its paths, a thousand times as many as are measured.
    assert estimate(plan, 2, measured).seconds > 60


def test_cells_that_share_their_paths_are_priced_together() -> None:
    plan = simulated("european", 200)
    assert plan.blocks == 12
    measured = measure(plan)
    assert measured.solve_s > measured.cell_s
    shared = replace(GIVEN, solve_s=0.05, cell_s=1e-3)
    assert plan.solves(estimate(plan, 2, shared).chunk_blocks) == plan.families == 3


def test_a_run_that_is_cut_in_one_way_only_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Plan) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("pricer.estimate.measure", refuse)
    # A cell that is exercised early is a block, and takes up to seconds.
    assert simulated("american", 10).blocks == 30
    assert chunk_blocks_of(simulated("american", 10), 2) == 1
    assert chunk_blocks_of(american(20, 800), 2) == 1
    for plan in (american(40, 800), simulated("american", 20), simulated("european", 200)):
        with pytest.raises(AssertionError, match="measured"):
            chunk_blocks_of(plan, 2)


def test_a_harder_tolerance_is_seen_to_take_longer() -> None:
    easy, hard = (estimate(american(2_000, tolerance=t)).seconds for t in (1e-3, 1e-8))
    assert hard > 3 * easy


def test_one_row_and_a_book_of_no_valid_row_are_estimated_too() -> None:
    header = "right,strike,vol,spot,rate,expiry\n"
    for row in ("put,90,0.2,100,0.01,1\n", "put,90,,100,0.01,1\n"):
        found = estimate(Plan.of(Book.parse(header + row), kernel_version()))
        assert found.chunk_blocks == 1
        assert 0 < found.seconds < 1


def test_packing_is_measured_beside_pricing() -> None:
    plan = american(200, 500, measures=("price", "delta"))
    measured = measure(plan)
    # Three numbers and a status take 25 bytes; packed, about four fifths of them.
    assert 15 < measured.packed_bytes_per_cell < 25
    assert 0 < measured.pack_s < 1e-4


def test_samples_are_spread_over_a_plan_and_in_step_with_nothing_in_it() -> None:
    for count in (1, 2, 7, 64, 1_280):
        numbers = list(_spread(count))
        assert sorted(numbers) == list(range(count))
    some = np.array(numbers[:64])
    assert np.diff(np.sort(some)).max() < 64
    for axis in (2, 4, 5, 8, 10, 20):
        assert np.bincount(some % axis, minlength=axis).max() < 2 * len(some) / axis


def test_what_is_measured_serves_every_estimate() -> None:
    plan = american(3_000, 500)
    assert estimate(plan, 1, GIVEN) == estimate(plan, 1, GIVEN)
