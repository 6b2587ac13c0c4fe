"""Published values of what is simulated: within four standard errors and what was rounded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pricer
from pricer import Asian, Status, Vanilla
from simulated import FILES, Case, cases

# What was published is an approximation, or of another model of the fixings: see each.
APART = {
    # QuantLib's engine multiplies by exp(dividend yield times the first fixing): a quadrature over
    # the mean gives 4.956202.
    "asian-0002",
    # 10 million plain paths give 19.5134 +- 0.0003; others' 19.5067 is of fixings by whole days.
    "asian-0063",
}


def exercised(case: Case) -> bool:
    return getattr(case.contract, "exercise", "european") != "european"


def priced(*alike: Case) -> tuple[tuple[float, float, pricer.Prices], ...]:
    """Return the value of each case by simulation, its standard error, and all of it.

    The cases are alike but for what `shared` leaves out, and have their paths in common.
    """
    first = alike[0]
    tolerance = 1e-4 if exercised(first) else 3e-5
    measure = first.measure
    statistic = "standard_error" if measure == "price" else f"{measure}_standard_error"
    contract = first.contract
    if len(alike) > 1:
        each: dict[str, Any] = {
            name: [getattr(case.contract, name) for case in alike] for name in ("right", "strike")
        }
        contract = replace(contract, **each)
    found = pricer.price(
        contract,
        first.market,
        method="monte_carlo",
        tolerance=tolerance,
        measures=(measure, statistic, "price", "standard_error", "low", "high"),
    ).reshaped((len(alike),))
    parts = [found[i : i + 1].reshaped(()) for i in range(len(alike))]
    return tuple((float(getattr(p, measure)), float(getattr(p, statistic)), p) for p in parts)


def shared(case: Case) -> str:
    """Return what cases have in common that are priced on the same paths."""
    if exercised(case) or not isinstance(case.contract, Asian | Vanilla):
        return case.name
    if getattr(case.contract, "strike", None) is None:
        return case.name
    alike = replace(case.contract, right="call", strike=1.0)
    return f"{alike} {case.market} {case.measure}"


# Bermudan and American baskets take a second or more each: one of every kind.
SLOW = ("multi_asset-0207", "multi_asset-0315", "heston-0014")


@pytest.mark.parametrize("file", FILES)
def test_published_values_are_within_four_standard_errors(file: str) -> None:
    off = []
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases(file):
        if case.approximate or case.name in APART:
            continue
        slow = exercised(case) and file in ("multi_asset", "heston")
        if slow and case.name not in SLOW and not case.name.startswith("american"):
            continue
        groups[shared(case)].append(case)
    found_of = (
        (case, *of) for g in groups.values() for case, of in zip(g, priced(*g), strict=True)
    )
    for case, value, error, found in found_of:
        if exercised(case):
            assert found.price is not None
            assert found.low is not None
            assert found.high is not None
            slack = 4 * error + case.slack
            assert found.low - slack <= case.expected <= found.high + slack, case.name
            assert found.high - found.low <= 0.005 * found.price + 1e-6 * case.unit, case.name
        if not abs(value - case.expected) <= 4 * error + case.slack:
            off.append((case.name, value, case.expected, error))
        assert found.status in (Status.ok, Status.tolerance), case.name
    assert not off


def test_what_was_approximated_is_near() -> None:
    # Levy's moments and Kirk's spreads are within a per cent.
    for file in ("asian", "multi_asset"):
        for case in cases(file):
            if case.approximate and not exercised(case):
                [(value, _, _)] = priced(case)
                assert value == pytest.approx(case.expected, rel=1e-2), case.name


def test_the_case_of_asian_0063_is_that_of_plain_paths() -> None:
    (case,) = (case for case in cases("asian") if case.name == "asian-0063")
    rng = np.random.default_rng(5)
    step = 0.5 / 26
    means = []
    for _ in range(20):
        z = rng.standard_normal((20_000, 26))
        moved = np.cumsum(-0.02 * step + 0.2 * np.sqrt(step) * np.concatenate((z, -z)), axis=1)
        paid = np.maximum(100.0 * np.exp(moved).mean(axis=1) - 80.0, 0.0)
        means.append(np.exp(-0.025) * paid.mean())
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    [(value, _, _)] = priced(case)
    assert abs(value - np.mean(means)) < 4 * error
    assert abs(case.expected - np.mean(means)) > 4 * error
