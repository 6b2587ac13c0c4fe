"""Barriers, digitals, touches, dates and dividends against the values of others."""

from __future__ import annotations

import numpy as np
import pytest

import pricer
from pricer import Status
from products import FILES, Case, cases


def priced(of: tuple[Case, ...], **settings: object) -> list[pricer.Prices]:
    return [pricer.price(c.contract, c.market, workers=1, **settings) for c in of]  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["auto", "finite_difference"])
@pytest.mark.parametrize("file", FILES)
def test_values_agree_at_the_default_tolerance(file: str, method: str) -> None:
    of = cases(file)
    results = priced(of, method=method, measures=("price",))
    wrong = [
        f"{case.name}: {got.price} +- {got.error}, expected {case.expected}, {case.contract}"
        for case, got in zip(of, results, strict=True)
        if not abs(got.price - case.expected) <= 1e-5 * case.unit + case.slack
    ]
    assert not wrong
    assert np.mean([got.status == Status.tolerance for got in results]) <= 0.02
    assert {int(got.status) for got in results} <= {Status.ok, Status.tolerance}
