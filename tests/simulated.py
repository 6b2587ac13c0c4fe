"""The published cases of what is simulated, as contracts and markets of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pricer import (
    Asian,
    Basket,
    BasketMarket,
    Correlation,
    Curve,
    Dates,
    Fixings,
    Heston,
    Lookback,
    Market,
    Merton,
    Vanilla,
)
from products import contract_of as product_of
from products import document

if TYPE_CHECKING:
    from pricer.contracts import AnyMarket, Contract

FILES = (
    "asian",
    "lookback",
    "barrier_discrete_bgk_1997",
    "barrier_discrete_computed",
    "multi_asset",
    "american_longstaff_schwartz_2001",
    "heston",
    "merton_jumps",
)
GREEKS = {"delta1": "delta", "delta2": "delta", "gamma1": "gamma", "gamma2": "gamma"}
BASKETS = {
    "MinBasket": "worst_of",
    "MaxBasket": "best_of",
    "SpreadBasket": "spread",
    "WeightedSum": "weighted",
}
# Two assets of which one's barrier or strike decides over the other: no contract of ours. Left out
# as well are vols to each fixing that fall so fast that variance would have to fall, too.
OTHERS = ("two_asset_barrier", "two_asset_correlation")


@dataclass(frozen=True)
class Case:
    """One contract, its market, and what a measure of it is to others, give or take `slack`.

    `approximate` where others only approximate it, and no better value is known.
    """

    name: str
    contract: Contract
    market: AnyMarket
    measure: str
    unit: float
    expected: float
    slack: float
    approximate: bool


@cache
def cases(file: str) -> tuple[Case, ...]:
    """Read the cases of a file."""
    found = []
    for case in document(file)["cases"]:
        if case["kind"] in OTHERS or case.get("vol_term") == "down":
            continue
        better = case.get("high_precision")
        contract, market = _translated(case)
        unit = float(case.get("strike") or max(case.get("spots", [case.get("spot")])))
        found.append(
            Case(
                case["id"],
                contract,
                market,
                GREEKS.get(case.get("greek", ""), case.get("greek", "price")),
                unit,
                case["expected"] if better is None else better,
                case["tolerance"],
                better is None and bool(case.get("expected_is_approximation")),
            )
        )
    return tuple(found)


def _translated(case: dict[str, Any]) -> tuple[Contract, AnyMarket]:
    match case["kind"]:
        case "asian":
            return _asian(case), _market(case)
        case "lookback":
            return _lookback(case), _market(case)
        case "basket" | "exchange":
            return _basket(case)
        case "american_lsm":
            return product_of(case | {"kind": "american"}), _market(case)
    return product_of(case), _market(case)


def _asian(case: dict[str, Any]) -> Asian:
    expiry, fixings = case["expiry_years"], case.get("fixings")
    given: dict[str, Any] = {"strike_type": case.get("strike_type", "fixed")}
    if given["strike_type"] == "fixed":
        given["strike"] = case["strike"]
    if "fixing_times" in case:
        given["fixing_dates"] = Fixings(case["fixing_times"])
    elif fixings:
        first = case.get("first_fixing", case.get("averaging_start_years"))
        span = case.get("fixing_span", expiry - first)
        times = first + span * np.arange(fixings) / (fixings - 1)
        # The last fixing is at expiry, but for rounding.
        given["fixing_dates"] = Fixings(np.minimum(times, expiry))
    elif case.get("elapsed_years"):
        given |= {"elapsed": case["elapsed_years"], "running_average": case["running_average"]}
    return Asian(case["right"], expiry, average=case["average"], **given)


def _lookback(case: dict[str, Any]) -> Lookback:
    floating = case["lookback_type"].endswith("floating")
    return Lookback(
        case["right"],
        case["expiry_years"],
        None if floating else case["strike"],
        "floating" if floating else "fixed",
        running_extremum=case["running_extremum"],
        lookback_start=case.get("lookback_start_years", 0.0),
        lookback_end=case.get("lookback_end_years"),
        participation=case.get("lambda_", 1.0),
    )


def _basket(case: dict[str, Any]) -> tuple[Basket, BasketMarket]:
    given: dict[str, Any] = {"exercise": case["exercise"]}
    if case["kind"] == "exchange":
        one, other = case["quantities"]
        given |= {"basket_type": "spread", "weights": (one, -other)}
    else:
        given |= {"basket_type": BASKETS[case["basket_type"]], "weights": case.get("weights")}
    if case["exercise"] == "bermudan":
        given["exercise_dates"] = Dates(case["exercise_times_years"])
    greek = case.get("greek", "")
    if greek.endswith("2"):
        given["greek_asset"] = 2
    matrix = case.get("correlation_matrix")
    correlation = Correlation(case["correlation"] if matrix is None else matrix)
    # Kirk's approximation is of futures, which do not drift.
    futures = case.get("basket_type") == "SpreadBasket"
    yields = [case["rate"]] * 2 if futures else case["dividends"]
    market = BasketMarket(case["spots"], case["vols"], case["rate"], correlation, yields)
    return Basket(case["right"], case["strike"], case["expiry_years"], **given), market


def _market(case: dict[str, Any]) -> Market:
    world: dict[str, Any] = {
        "spot": case["spot"],
        "rate": case["rate"],
        "dividend_yield": case["dividend"],
    }
    match case.get("model"):
        case "heston":
            variance = [case[name] for name in ("v0", "kappa", "theta", "sigma", "rho")]
            return Market(**world, model=Heston(*variance))
        case "merton_jump_diffusion":
            jumps = [case[name] for name in ("jump_intensity", "mean_log_jump", "jump_vol")]
            return Market(**world, vol=case["vol"], model=Merton(*jumps))
    return Market(**world, vol=_vol(case))


def _vol(case: dict[str, Any]) -> float | Curve:
    """Return the vol; where one to each fixing is given, the curve between fixings."""
    terms = case.get("vol_term_values")
    if not terms:
        return float(case["vol"])
    times = case["first_fixing"] + case["fixing_span"] * np.arange(len(terms)) / (len(terms) - 1)
    variance = np.diff(np.square(terms) * times, prepend=0.0) / np.diff(times, prepend=0.0)
    return Curve(times, np.sqrt(variance))


__all__ = ["FILES", "Case", "Vanilla", "cases"]
