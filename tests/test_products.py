"""Barriers, digitals, touches, dates and dividends against the values of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pricer
from pricer import Status
from products import FILES, Case, cases


def priced(of: tuple[Case, ...], **settings: Any) -> list[tuple[float, float, int]]:
    """Return value, error and status of each case, priced alone."""
    got = [pricer.price(c.contract, c.market, workers=1, **settings) for c in of]
    return [(float(np.asarray(p.price)), float(p.error), int(p.status)) for p in got]


@pytest.mark.parametrize("method", ["auto", "finite_difference"])
@pytest.mark.parametrize("file", FILES)
def test_values_agree_at_the_default_tolerance(file: str, method: str) -> None:
    of = cases(file)
    results = priced(of, method=method, measures=("price",))
    wrong = [
        f"{case.name}: {value} +- {error}, expected {case.expected}, {case.contract}"
        for case, (value, error, _) in zip(of, results, strict=True)
        if not abs(value - case.expected) <= 1e-5 * case.unit + case.slack
    ]
    assert not wrong
    states = [status for *_, status in results]
    assert np.mean(np.equal(states, Status.tolerance)) <= 0.02
    assert set(states) <= {Status.ok, Status.tolerance}
