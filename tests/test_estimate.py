"""How long a plan takes, measured with the kernels."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pricer import estimate as estimate_module
from pricer.book import Book
from pricer.compiled import kernel_version
from pricer.estimate import estimate
from pricer.grid import Axis, Grid
from pricer.plan import Plan


def american(vols: int, strikes: int = 50, **settings: object) -> Plan:
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
        **settings,  # type: ignore[arg-type]
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


def test_twice_the_workers_take_half_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_module, "_measured", lambda _: (1e-3, 1e-6))
    plan = american(3_000, 500)
    one, two = (estimate(plan, workers) for workers in (1, 2))
    assert two.seconds == pytest.approx(one.seconds / 2)
    # 3,000 solves of a millisecond, 1.5 million cells of a microsecond, and the writing.
    assert one.seconds == pytest.approx(4.5 + 0.2, abs=0.1)


def test_chunks_last_about_a_second_and_give_every_worker_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate_module, "_measured", lambda _: (1e-3, 1e-6))
    long, short = american(100_000, 500), american(3_000, 500)
    chunk = estimate(long, 2).chunk_blocks
    assert 150 * chunk / long.blocks == pytest.approx(1.0, rel=0.1)
    assert len(short.chunks(estimate(short, 2).chunk_blocks)) >= 32


def test_many_workers_do_not_cut_families_while_there_is_one_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate_module, "_measured", lambda _: (1e-3, 1e-6))
    plan = american(40, 40_000)
    for workers in (2, 16, 40):
        assert plan.solves(estimate(plan, workers).chunk_blocks) == plan.families
    assert plan.solves(estimate(plan, 41).chunk_blocks) > plan.families


def test_a_harder_tolerance_is_seen_to_take_longer() -> None:
    easy, hard = (estimate(american(2_000, tolerance=t)).seconds for t in (1e-3, 1e-8))
    assert hard > 3 * easy


def test_one_row_and_a_book_of_no_valid_row_are_estimated_too() -> None:
    header = "right,strike,vol,spot,rate,expiry\n"
    for row in ("put,90,0.2,100,0.01,1\n", "put,90,,100,0.01,1\n"):
        found = estimate(Plan.of(Book.parse(header + row), kernel_version()))
        assert found.chunk_blocks == 1
        assert 0 < found.seconds < 1
