"""Prices, greeks and error bars against values of other people and other methods.

`reference/README.md` says what each file is. Left out, because they are not what we price:

- `american_lsm` and other Bermudan cases (50 exercise dates a year), but where the American value
  is given as well;
- values and greeks of approximations (Bjerksund and Stensland) without a high-precision value;
- american_edge_cases-0019: there an option at expiry is worth nothing; here it is its payoff.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pricer
from pricer import Market, Status, Vanilla

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

REFERENCE = Path(__file__).parent / "reference"
FILES = (
    "european_haug",
    "american_alo_2016",
    "american_alo_portfolio_6000",
    "american_approximations_haug",
    "american_edge_cases",
    "american_greeks_computed",
    "american_ju_1999",
    "american_longstaff_schwartz_2001",
    "american_random_qdplus",
)
LEFT_OUT = {"american_edge_cases-0019"}
PORTFOLIO = "american_alo_portfolio_6000"
NAMES = ("right", "exercise", "spot", "strike", "expiry", "vol", "rate", "dividend_yield")


@dataclass(frozen=True)
class Case:
    """One option and what it is worth to others; `slack` is how far off they may be."""

    name: str
    right: str
    exercise: str
    spot: float
    strike: float
    expiry: float
    vol: float
    rate: float
    dividend_yield: float
    expected: float
    slack: float
    premium: bool  # expected is American minus European


def document(file: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((REFERENCE / f"{file}.json").read_text(encoding="utf-8"))
    return read


def of_json(case: dict[str, Any], expected: float, slack: float) -> Case:
    return Case(
        name=case["id"],
        right=case["right"],
        exercise="european" if case["kind"] == "european" else "american",
        spot=case["spot"],
        strike=case["strike"],
        expiry=case["expiry_years"],
        vol=case["vol"],
        rate=case["rate"],
        dividend_yield=case["dividend"],
        expected=expected,
        slack=slack,
        premium=case.get("quantity") == "early_exercise_premium",
    )


@cache
def cases(file: str) -> tuple[Case, ...]:
    """Read the cases of a file whose expected value is a price that we compute."""
    data = document(file)
    if file == PORTFOLIO:
        names = ("spot", "rate", "dividend", "vol", "expiry_years")
        common = {"kind": "american", "right": data["right"], "strike": data["strike"]}
        return tuple(
            of_json(common | dict(zip(names, row, strict=False)) | {"id": str(i)}, row[5], 0.0)
            for i, row in enumerate(data["rows"])
        )
    found = []
    for case in data["cases"]:
        if "greek" in case or case["id"] in LEFT_OUT:
            continue
        bermudan = "exercise_dates_per_year" in case
        better = case.get("continuous_american_high_precision" if bermudan else "high_precision")
        if better is not None:
            found.append(of_json(case, better, 0.0))
        elif not bermudan and not case.get("expected_is_approximation"):
            found.append(of_json(case, case["expected"], case["tolerance"]))
    return tuple(found)


def columns(of: Sequence[Case]) -> dict[str, NDArray[Any]]:
    return {name: np.array([getattr(case, name) for case in of]) for name in NAMES}


def priced(of: Sequence[Case], **settings: Any) -> pricer.Prices:
    c: dict[str, Any] = columns(of)
    return pricer.price(
        Vanilla(**{name: c[name] for name in ("right", "exercise", "strike", "expiry")}),
        Market(**{name: c[name] for name in ("spot", "vol", "rate", "dividend_yield")}),
        **settings,
    )


def values_and_errors(
    of: Sequence[Case], **settings: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Return what a file's `expected` is compared with, its error bar and its status."""
    result = priced(of, measures=("price",), **settings)
    assert result.price is not None
    value = result.price
    if any(case.premium for case in of):
        c = columns(of)
        european = pricer.price(
            Vanilla(right=c["right"], strike=c["strike"], expiry=c["expiry"]),
            Market(c["spot"], c["vol"], c["rate"], c["dividend_yield"]),
        )
        assert european.price is not None
        value = value - np.where([case.premium for case in of], european.price, 0.0)
    return value, result.error, result.status


@cache
def truths(file: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best value known of each case of a file, and how uncertain it is."""
    of = cases(file)
    better = document("american_converged")["values"].get(file, {})
    truth = np.array([case.expected for case in of])
    uncertainty = np.array([max(case.slack, 1e-9 * case.strike) for case in of])
    for i, case in enumerate(of):
        if case.exercise == "european":
            # The closed form is tested by test_black_scholes.py, to 1e-12.
            value, rounding, _ = values_and_errors([case])
            truth[i], uncertainty[i] = value[0], rounding[0]
        elif case.name in better:
            truth[i], uncertainty[i] = better[case.name]
    return truth, uncertainty


@pytest.mark.parametrize("method", ["auto", "finite_difference"])
@pytest.mark.parametrize("file", FILES)
def test_prices_agree_at_the_default_tolerance(file: str, method: str) -> None:
    of = cases(file)
    value, error, status = values_and_errors(of, method=method)
    strike = columns(of)["strike"]
    expected = np.array([case.expected for case in of])
    allowed = 1e-5 * strike + [case.slack for case in of]
    # At strike 0 nothing is allowed, and the exact limit gives exactly that.
    wrong = [
        f"{case.name}: {v} +- {e}, expected {case.expected}"
        for case, v, e, ok in zip(of, value, error, abs(value - expected) <= allowed, strict=True)
        if not ok
    ]
    assert not wrong
    late = np.mean(status == Status.tolerance)
    assert late <= (0.0 if file == PORTFOLIO else 0.02)
    assert set(status.tolist()) <= {Status.ok, Status.tolerance}


def test_a_case_alone_agrees_as_in_its_file() -> None:
    for file in FILES:
        of = cases(file)
        for case in of[:: max(len(of) // 12, 1)]:
            value, error, status = values_and_errors([case], method="finite_difference")
            assert status[0] == Status.ok, case
            assert abs(value[0] - case.expected) <= 1e-5 * case.strike + case.slack, case
            assert error[0] <= 1e-5 * case.strike, case


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-6])
@pytest.mark.parametrize("file", FILES)
def test_error_bars_cover_the_true_errors_and_are_not_wide(file: str, tolerance: float) -> None:
    of = cases(file)
    value, error, _ = values_and_errors(of, method="finite_difference", tolerance=tolerance)
    truth, uncertainty = truths(file)
    true = abs(value - truth)
    told = true > np.maximum(1e-9 * columns(of)["strike"], uncertainty)
    if not told.any():
        return
    short = told & (error < true)
    lines = [
        f"{of[i].name}: {value[i]} +- {error[i]}, truth {truth[i]}" for i in np.flatnonzero(short)
    ]
    assert np.mean(short[told]) <= 0.01, lines
    # Two or three cells are no sample: the edge cases have one option, told as a put and a call.
    if np.count_nonzero(told) > 3:
        assert np.median(error[told] / true[told]) < 10


GREEKS: dict[str, Callable[[float], float]] = {
    "delta": lambda _: 1e-4,
    "gamma": lambda strike: 2e-3 / strike,
    "vega": lambda strike: 1e-4 * strike,
    "theta": lambda strike: 1e-4 * strike,
    "rho": lambda strike: 1e-4 * strike,
    "dividend_rho": lambda strike: 1e-4 * strike,
}


NODE = 0.1  # more than the distance between mesh nodes, in standard deviations


def near_the_boundary(of: Sequence[Case]) -> int:
    """Count the options that are exercised where the spot lies a node further into the money."""
    c = columns(of)
    node = np.where(c["right"] == "call", NODE, -NODE) * c["vol"] * np.sqrt(c["expiry"])
    spots = c["spot"] * np.exp(node)
    gamma = priced([replace(case, spot=s) for case, s in zip(of, spots, strict=True)]).gamma
    return int(np.count_nonzero(gamma == 0))


def test_american_greeks_agree() -> None:
    options: dict[Case, dict[str, float]] = defaultdict(dict)
    for case in document("american_greeks_computed")["cases"]:
        option = of_json(case | {"id": "greeks"}, 0.0, 0.0)
        options[option][case.get("greek", "price")] = case["expected"]
    of = list(options)
    # At the boundary gamma jumps. Of these options none is to be left out for it.
    assert near_the_boundary(of) == 0
    result = priced(of)
    alone = [priced([case]) for case in of]
    wrong = [
        f"{name} of {case}: {value}, expected {expected[name]}"
        for name, per_strike in GREEKS.items()
        for i, (case, expected) in enumerate(zip(of, options.values(), strict=True))
        for value in (getattr(result, name)[i], getattr(alone[i], name)[0])
        if not abs(value - expected[name]) <= per_strike(case.strike)
    ]
    assert not wrong


def test_european_greeks_of_haug() -> None:
    for case in document("european_haug")["cases"]:
        if "greek" not in case:
            continue
        result = priced([of_json(case, 0.0, 0.0)])
        assert result.price is not None
        assert result.delta is not None
        assert result.theta is not None
        value = {
            "elasticity": result.delta * case["spot"] / result.price,
            "theta_per_day": result.theta / 365,
        }.get(case["greek"], getattr(result, case["greek"], None))
        assert value == pytest.approx(case["expected"], abs=case["tolerance"]), case["id"]
