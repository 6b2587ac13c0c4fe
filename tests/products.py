"""The published cases of every product, as contracts and markets of ours."""

from __future__ import annotations

import json
from collections import ChainMap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pricer
from pricer import (
    Barrier,
    Dates,
    Digital,
    Dividends,
    DoubleBarrier,
    DoubleTouch,
    Market,
    Touch,
    Vanilla,
)
from pricer.contracts import Contract
from pricer.settings import METHODS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REFERENCE = Path(__file__).parent / "reference"
FILES = (
    "barrier_single",
    "barrier_discrete_bgk_1997",
    "barrier_discrete_computed",
    "double_barrier",
    "digital_touch_binary",
    "discrete_dividends",
    "american_longstaff_schwartz_2001",
)
BARRIERS = {
    "DownOut": "down_out", "DownIn": "down_in", "UpOut": "up_out", "UpIn": "up_in",
    "KnockOut": "knock_out", "KnockIn": "knock_in",
}  # fmt: skip
TOUCHES = {
    "KnockOut": ("no_touch", "at_expiry"), "KnockIn": ("one_touch", "at_expiry"),
    "KIKO": ("lower_first", "at_hit"), "KOKI": ("upper_first", "at_hit"),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One contract, its market, and what it is worth to others, give or take `slack`."""

    name: str
    contract: Contract
    market: Market
    unit: float
    expected: float
    slack: float


def contract_of(case: dict[str, Any]) -> Contract:
    """Translate a case of a reference file."""
    kind, expiry = case["kind"], case["expiry_years"]
    right, strike = str(case.get("right")), case["strike"]
    exercise = case.get("exercise", "european")
    match kind:
        case "barrier":
            dates = None
            if case.get("monitoring") == "discrete":
                count = case["observations"]
                dates = Dates([expiry * k / count for k in range(1, count + 1)])
            return Barrier(
                right, strike, expiry, case["barrier"], BARRIERS[case["barrier_type"]],
                case["rebate"], exercise=exercise, monitoring_dates=dates,
            )  # fmt: skip
        case "double_barrier":
            return DoubleBarrier(
                right, strike, expiry, case["barrier_low"], case["barrier_high"],
                BARRIERS[case["barrier_type"]], case["rebate"], exercise=exercise,
            )  # fmt: skip
        case "binary_barrier":
            return Barrier(
                right, strike, expiry, case["barrier"], BARRIERS[case["barrier_type"]],
                payoff=case["payoff"], cash=case["cash"],
            )  # fmt: skip
        case "digital":
            return Digital(
                right, strike, expiry, case["payoff"], case.get("cash", 1.0),
                case.get("second_strike", 0.0),
            )  # fmt: skip
        case "one_touch" | "no_touch":
            direction = "up" if right == "call" else "down"
            return Touch(
                direction, expiry, case["barrier"], kind, case["payoff"], case.get("cash", 1.0),
                case["payment"],
            )  # fmt: skip
        case "double_binary":
            touch, payment = TOUCHES[case["barrier_type"]]
            return DoubleTouch(
                expiry, case["barrier_low"], case["barrier_high"], touch, cash=case["cash"],
                payment=payment,
            )  # fmt: skip
    if per_year := case.get("exercise_dates_per_year"):
        count = round(per_year * expiry)
        dates = Dates([expiry * k / count for k in range(1, count + 1)])
        return Vanilla(right, strike, expiry, "bermudan", dates)
    return Vanilla(right, strike, expiry, kind)


def market_of(case: dict[str, Any]) -> Market:
    """Return the market of a case."""
    dividends = case.get("cash_dividends")
    times, amounts = zip(*dividends, strict=True) if dividends else ((), ())
    return Market(
        case["spot"], case["vol"], case["rate"], case["dividend"],
        cash_dividends=Dividends(times, amounts) if dividends else None,
        dividend_model=case.get("dividend_model", "spot"),
    )  # fmt: skip


def document(file: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((REFERENCE / f"{file}.json").read_text(encoding="utf-8"))
    return read


@cache
def cases(file: str) -> tuple[Case, ...]:
    """Read the cases of a file; simulated values are for Monte Carlo."""
    found = []
    for case in document(file)["cases"]:
        if case["kind"] == "american_lsm":
            continue
        better = case.get("high_precision")
        unit = case["strike"] or case["barrier_low"]
        found.append(
            Case(
                case["id"],
                contract_of(case),
                market_of(case),
                unit,
                case["expected"] if better is None else better,
                case["tolerance"] if better is None else 0.0,
            )
        )
    return tuple(found)


@cache
def truths(file: str) -> tuple[Floats, Floats]:
    """Return the best value known of each case of a file, and how uncertain it is at most.

    The closed form where there is one (test_knock.py holds it against mpmath and other people's
    values); else a quadrature's value, or ours on much finer meshes.
    """
    # The first knows Bermudan options, the second what they would be if they were American.
    files = ("products_converged", "american_converged")
    better = ChainMap(*(document(each)["values"].get(file, {}) for each in files))
    found = []
    for case in cases(file):
        exact = pricer.price(case.contract, case.market, workers=1, measures=("price",))
        if exact.method == METHODS.index("analytic"):
            value, uncertainty = float(np.asarray(exact.price)), float(exact.error)
        else:
            value, uncertainty = better.get(case.name, (case.expected, case.slack))
        found.append((value, max(uncertainty, 1e-9 * case.unit)))
    truth, uncertainties = np.array(found).T
    return truth, uncertainties
