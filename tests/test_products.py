"""Barriers, digitals, touches, dates and dividends against the values of others."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pricer
from pricer import Status
from products import FILES, cases, truths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@cache
def values_and_errors(
    file: str, method: str, tolerance: float
) -> tuple[Floats, Floats, NDArray[np.uint8]]:
    """Return the value of each case, priced alone, its error bar and its status."""
    settings: dict[str, Any] = {"method": method, "tolerance": tolerance, "measures": ("price",)}
    got = [pricer.price(c.contract, c.market, workers=1, **settings) for c in cases(file)]
    return (
        np.array([float(np.asarray(p.price)) for p in got]),
        np.array([float(p.error) for p in got]),
        np.array([int(p.status) for p in got], np.uint8),
    )


@pytest.mark.parametrize("method", ["auto", "finite_difference"])
@pytest.mark.parametrize("file", FILES)
def test_values_agree_at_the_default_tolerance(file: str, method: str) -> None:
    value, error, status = values_and_errors(file, method, 1e-5)
    wrong = [
        f"{case.name}: {v} +- {e}, expected {case.expected}, {case.contract}"
        for case, v, e in zip(cases(file), value, error, strict=True)
        if not abs(v - case.expected) <= 1e-5 * case.unit + case.slack
    ]
    assert not wrong
    assert np.mean(status == Status.tolerance) <= 0.02
    assert set(status.tolist()) <= {Status.ok, Status.tolerance}


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-6])
@pytest.mark.parametrize("file", FILES)
def test_error_bars_cover_the_true_errors_and_are_not_wide(file: str, tolerance: float) -> None:
    of = cases(file)
    value, error, _ = values_and_errors(file, "finite_difference", tolerance)
    truth, uncertainty = truths(file)
    true = abs(value - truth)
    told = true > uncertainty
    lines = [
        f"{of[i].name}: {value[i]} +- {error[i]}, truth {truth[i]} +- {uncertainty[i]}"
        for i in np.flatnonzero(told & (error < true))
    ]
    assert len(lines) <= 0.01 * np.count_nonzero(told), lines
    # Two or three cells are no sample.
    if np.count_nonzero(told) > 3:
        assert np.median(error[told] / true[told]) < 10
