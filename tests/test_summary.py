"""What cells came to: counts, failures by reason, spreads."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.cells import Cells
from pricer.contracts import Status
from pricer.dated import Dividends
from pricer.summary import Failure, Spread, Summary, merge, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, INVALID, TOLERANCE = Status.ok, Status.invalid, Status.tolerance


NUMBERS = ("spot", "strike", "expiry", "vol", "rate", "dividend_yield")


def cells(**given_: list[float]) -> Cells:
    count = len(next(iter(given_.values())))
    inputs: dict[str, Any] = {name: np.ones(count, dtype=np.int8) for name in ("right", "exercise")}
    inputs |= {name: np.ones(count) for name in NUMBERS}
    return Cells(inputs | {name: np.array(column) for name, column in given_.items()})


def prices(price: list[float], status: Sequence[int] | None = None, **more: list[float]) -> Any:
    count = len(price)
    return SimpleNamespace(
        price=np.array(price),
        error=np.full(count, 1e-6),
        status=np.array(status or [OK] * count, dtype=np.uint8),
        **{name: np.array(values) for name, values in more.items()},
    )


def summarised(priced: Any, inputs: Cells, first: int = 0) -> Summary:
    return summarise(priced, ("price",), first, lambda numbers: inputs[numbers])


def test_cells_that_are_ok_are_counted_and_their_values_spanned() -> None:
    summary = summarised(prices([3.0, 1.0, 2.0]), cells(vol=[0.1] * 3))
    assert (summary.cells, summary.ok, summary.failed) == (3, 3, 0)
    assert summary.failures == ()
    assert summary.measures["price"] == Spread(3, 1.0, 3.0, 6.0)
    assert summary.measures["price"].mean == 2.0
    assert summary.measures["error"].max == 1e-6


def test_failed_cells_and_missing_values_do_not_enter_the_spread() -> None:
    priced = prices([9.0, 1.0, np.nan, np.nan], [TOLERANCE, OK, INVALID, OK])
    summary = summarised(priced, cells(vol=[0.1, 0.1, np.nan, 0.1]))
    assert (summary.cells, summary.ok, summary.failed) == (4, 2, 2)
    assert summary.measures["price"] == Spread(1, 1.0, 1.0, 1.0)


def test_a_measure_without_any_value_has_no_spread() -> None:
    summary = summarised(prices([np.nan], [INVALID]), cells(vol=[np.nan]))
    assert summary.measures == {}


def test_failures_are_grouped_by_what_is_wrong_whatever_the_value() -> None:
    inputs = cells(vol=[np.nan, -0.1, 0.2, -0.3, 0.2], strike=[1.0, 1.0, np.inf, 1.0, 1.0])
    priced = prices([np.nan] * 5, [INVALID, INVALID, INVALID, INVALID, TOLERANCE])
    failures = summarised(priced, inputs, first=0).failures
    assert [(f.status, f.reason, f.count, f.cell) for f in failures] == [
        ("invalid", "vol is missing", 1, 0),
        ("invalid", "vol must not be negative", 2, 1),
        ("invalid", "strike must be finite", 1, 2),
        ("tolerance", "not reached within the work limit", 1, 4),
    ]
    assert failures[1].example["vol"] == -0.1


def test_an_example_holds_the_inputs_as_json_can() -> None:
    inputs = cells(vol=[np.nan], strike=[np.inf], right=[-1])
    example = summarised(prices([np.nan], [INVALID]), inputs).failures[0].example
    expected = {"right": "put", "exercise": "american", "vol": None, "strike": "inf"}
    assert {name: example[name] for name in expected} == expected
    assert json.loads(json.dumps(example, allow_nan=False)) == example


def test_a_cell_with_two_faults_is_a_reason_of_its_own() -> None:
    inputs = cells(vol=[np.nan, np.nan], spot=[-1.0, 1.0])
    failures = summarised(prices([np.nan] * 2, [INVALID] * 2), inputs).failures
    reasons = [failure.reason for failure in failures]
    assert reasons == ["spot must not be negative; vol is missing", "vol is missing"]


def test_faults_are_those_of_the_type_of_the_contract() -> None:
    barrier: dict[str, list[float]] = {
        "type": [0, 2, 2, 2, 4],
        "barrier": [np.nan, np.nan, 0.0, 90.0, 90.0],
        "strike": [1.0, 1.0, 1.0, 1.0, np.nan],
        "payoff": [0, 0, 0, 3, 0],
    }
    failures = summarised(prices([np.nan] * 5, [INVALID] * 5), cells(**barrier)).failures
    assert [(f.reason, f.cell) for f in failures] == [
        ("has no finite price", 0),
        ("barrier is missing", 1),
        ("barrier must be above 0", 2),
        ("payoff must be vanilla or cash_or_nothing or asset_or_nothing", 3),
        ("payoff must be cash_or_nothing or asset_or_nothing", 4),
    ]
    assert failures[1].example["type"] == "barrier"
    assert "type" not in failures[0].example
    assert "strike" not in failures[4].example


def test_more_faults_than_an_integer_has_bits_are_told_apart() -> None:
    count = 200
    bad: dict[str, Any] = {name: np.ones(count) for name in NUMBERS}
    for power, name in enumerate(NUMBERS):
        for digit, value in ((1, np.nan), (2, np.inf)):
            bad[name][np.arange(count) // 3**power % 3 == digit] = value
    bad |= {"type": np.arange(count) % 6, "barrier": np.full(count, np.nan)}
    bad |= {"lower_barrier": np.full(count, np.inf), "upper_barrier": np.zeros(count)}
    inputs = cells(**bad)
    failures = summarised(prices([np.nan] * count, [INVALID] * count), inputs).failures
    reasons = [inputs.reason(cell) for cell in range(count)]
    assert len(list(inputs.faults())) > 55
    assert len(failures) == len({re.sub(", got [a-z0-9.]+", "", reason) for reason in reasons})
    assert sum(failure.count for failure in failures) == count


def test_an_example_shows_tables_by_their_text_or_label() -> None:
    inputs = cells(vol=[np.nan], cash_dividends=[0])
    (failure,) = summarised(
        prices([np.nan], [INVALID]), Cells(inputs.columns, (Dividends((0.25,), (1.5,)),))
    ).failures
    assert failure.example["cash_dividends"] == "0.25:1.5"


def test_the_first_cell_of_a_failure_is_numbered_in_the_run() -> None:
    inputs = cells(vol=[0.1] * 100 + [np.nan])
    priced = prices([1.0, np.nan], [OK, INVALID])
    assert summarised(priced, inputs, first=99).failures[0].cell == 100


def test_merging_adds_counts_and_keeps_the_first_example() -> None:
    first = Failure("invalid", "vol is missing", 2, 1, {"vol": None})
    second = Failure("invalid", "vol is missing", 1, 4, {"vol": 3.0})
    late = Failure("tolerance", "late", 1, 7, {})
    a = Summary(4, 2, (first,), {"price": Spread(2, 0, 5, 5)})
    b = Summary(3, 2, (second,), {"price": Spread(2, -1, 1, 0)})
    c = Summary(1, 0, (late,), {})
    failures = (replace(first, count=3), late)
    assert merge([a, b, c]) == Summary(8, 4, failures, {"price": Spread(4, -1, 5, 5)})


def test_nothing_merged_is_nothing() -> None:
    assert merge([]) == Summary()


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(values, st.integers(1, 29))
def test_the_parts_of_a_block_merge_to_its_whole(price: list[float], cut: int) -> None:
    status = [OK if p >= 0 else TOLERANCE for p in price]
    inputs = cells(vol=[0.1] * len(price))
    whole = summarised(prices(price, status), inputs)
    parts = [(price[:cut], status[:cut], 0), (price[cut:], status[cut:], cut)]
    merged = merge(summarised(prices(p, s), inputs, first) for p, s, first in parts if p)
    assert (merged.cells, merged.ok, merged.failures) == (whole.cells, whole.ok, whole.failures)
    assert merged.measures.keys() == whole.measures.keys()
    for name, spread in whole.measures.items():
        other = merged.measures[name]
        assert (other.count, other.min, other.max) == (spread.count, spread.min, spread.max)
        assert other.sum == pytest.approx(spread.sum, rel=1e-12)


@given(values)
def test_a_summary_comes_back_from_json_bit_for_bit(price: list[float]) -> None:
    status = [OK if p >= 0 else INVALID for p in price]
    inputs = cells(vol=[0.1 if p >= 0 else np.nan for p in price])
    summary = summarised(prices(price, status), inputs)
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_more_ways_to_fail_than_anyone_would_read_become_other_reasons() -> None:
    failures = [Failure("invalid", f"reason {n}", 2, n, {}) for n in range(150)]
    total = merge(Summary(2, 0, (failure,)) for failure in failures)
    *named, others = total.failures
    assert [failure.reason for failure in named] == [f"reason {n}" for n in range(100)]
    assert others == Failure("invalid", "other reasons", 100, 100, {})
    again = merge([total, Summary(1, 0, (failures[149], failures[3]))])
    assert again.failures[-1].count == 102
    assert again.failures[3].count == 4
