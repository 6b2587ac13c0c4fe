"""What is refused before it is submitted to AWS, because it could not end there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pricer import cloud
from pricer.billing import prices
from pricer.book import Book
from pricer.errors import SpecError
from pricer.estimate import Measured
from pricer.fanout import Limits, fan_out
from pricer.plan import Plan

MEASURED = Measured(solve_s=4e-4, cell_s=5e-7, pack_s=1e-6, packed_bytes_per_cell=45.0)
ROWS = 20_000


def test_more_chunks_than_an_execution_can_have_are_refused() -> None:
    plan = plan_of(np.full(ROWS, 0.2))
    fan = fan_out(plan, MEASURED, Limits(), prices())
    cloud._check_fits(plan, replace(fan, chunks=80_000), Limits())
    with pytest.raises(SpecError, match=r"at most 80,000, this run would have 80,001; submit it"):
        cloud._check_fits(plan, replace(fan, chunks=80_001), Limits())


def test_more_rows_of_one_family_than_a_worker_can_read_are_refused() -> None:
    small = Limits(memory_mb=2)
    halves = plan_of(np.repeat([0.2, 0.3], ROWS // 2))
    cloud._check_fits(halves, fan_out(halves, MEASURED, small, prices()), small)
    whole = plan_of(np.full(ROWS, 0.2))
    with pytest.raises(
        SpecError, match=r"a worker of 2 MB can have at most 15,000 rows .* got 20,000; submit it"
    ):
        cloud._check_fits(whole, fan_out(whole, MEASURED, small, prices()), small)


def plan_of(vol: Any) -> Plan:
    columns: dict[str, Any] = dict.fromkeys(("spot", "strike", "expiry"), np.ones(len(vol)))
    columns |= {"right": ["put"] * len(vol), "vol": vol, "rate": np.zeros(len(vol))}
    return Plan.of(Book.from_columns(columns, "book"), "kernel")
