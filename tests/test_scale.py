"""The simulation of a billion cells, on small cases that can be reckoned by hand."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from pricer.fanout import LOAD_S, ORCHESTRATION_S, START_S, STEP_S

SCRIPT = Path(__file__).parent / "benchmarks" / "scale.py"
_spec = spec_from_file_location("scale", SCRIPT)
assert _spec
assert _spec.loader
scale = sys.modules["scale"] = module_from_spec(_spec)
_spec.loader.exec_module(scale)

# Until the first worker prices, and from the last block written to the end.
BEFORE = ORCHESTRATION_S + 2 * (LOAD_S + START_S) + STEP_S
AFTER = LOAD_S + START_S + STEP_S


def test_where_nothing_is_written_the_work_is_shared_by_the_workers() -> None:
    work = scale.Work(100, requests=10, blocks=25, block_units=0.0, price_s=2.0, send_s=0.0)
    for workers in (1, 10, 100):
        line = scale.simulate(work, workers, scale.Table(4_000))
        waves = 100 // workers
        pricing = waves * 10 * 2.0 + (waves - 1) * scale.BETWEEN_S
        assert line.seconds == pytest.approx(BEFORE + pricing + AFTER)
        # All of them work all of the time.
        assert line.worker_s == pytest.approx(workers * (START_S + pricing))


def test_where_pricing_takes_no_time_the_table_takes_all() -> None:
    work = scale.Work(40, requests=40, blocks=25, block_units=50.0, price_s=0.0, send_s=0.0)
    for rate in (2_000, 4_000, 40_000):
        line = scale.simulate(work, 8, scale.Table(rate))
        assert work.units == 2_000_000
        # What the partitions have saved up comes first; chance leaves some idle at the end.
        expected = work.units / rate - scale.BURST_S
        assert line.seconds - BEFORE - AFTER == pytest.approx(expected, rel=0.1)


def test_a_table_doubles_every_half_hour_up_to_its_quota() -> None:
    work = scale.Work(40, requests=1_000, blocks=25, block_units=40.0, price_s=0.0, send_s=0.0)
    line = scale.simulate(work, 8, scale.Table(4_000, most=8_000))
    # Half an hour at 4,000, all the rest at 8,000.
    expected = 1_800 + (40_000_000 - 1_800 * 4_000) / 8_000
    assert line.seconds - BEFORE - AFTER == pytest.approx(expected, rel=0.01)


def test_writing_hides_behind_pricing_while_it_is_the_shorter() -> None:
    work = scale.Work(1, requests=100, blocks=25, block_units=1.0, price_s=1.0, send_s=0.5)
    line = scale.simulate(work, 1, scale.Table(4_000))
    assert line.seconds == pytest.approx(BEFORE + 100 * 1.0 + 0.5 + AFTER)
    slow = scale.Work(1, requests=100, blocks=25, block_units=1.0, price_s=0.5, send_s=1.0)
    line = scale.simulate(slow, 1, scale.Table(4_000))
    assert line.seconds == pytest.approx(BEFORE + 100 * 1.0 + 0.5 + AFTER)


def test_environments_and_children_start_no_faster_than_documented() -> None:
    work = scale.Work(4_000, requests=1, blocks=1, block_units=0.0, price_s=1.0, send_s=0.0)
    line = scale.simulate(work, 4_000, scale.Table(4_000))
    at = [round(start - line.started[0], 2) for start in line.started]
    assert (at[999], at[1_000], at[1_999], at[2_000], at[3_999]) == (0, 10, 10, 20, 30)
    # 300 children a second after the first 1,300 need 9 s for 4,000: the ramp hides them.
    assert max(at) == 30


def test_every_request_is_written_once() -> None:
    work = scale.Work(7, requests=3, blocks=25, block_units=50.0, price_s=0.1, send_s=0.01)
    line = scale.simulate(work, 4, scale.Table(4_000))
    assert len(line.times) == 21
    assert line.times == sorted(line.times)
