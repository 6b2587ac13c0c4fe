"""Exchanges of two assets before expiry: in units of the second, vanillas on the first.

The second asset is the numeraire, whose yield is the rate and whose price never moves (Margrabe
1978): what may be exercised early is priced by finite differences, rather than by simulation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import Cells
from .closedforms import is_exchange, pair, weights_of
from .contracts import TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]


_INPUTS = ("spots", "vols", "dividend_yields")


def exercised_exchanges(cells: Cells) -> Booleans:
    """Tell which valid cells are exchanges that may be exercised early, shape (n,)."""
    where: Booleans = (cells.type == TYPES["basket"]) & (cells.exercise > 0)
    if where.any():
        where[where] = is_exchange(cells[where])
    return where


def as_vanillas(cells: Cells) -> Cells:
    """Return n exchanges as options on the asset received by a call, struck at the other."""
    received, given = _sides(cells)
    variance = _variance(received["vols"], given["vols"], pair(cells, "correlation")[0])
    return Cells(
        {
            "right": cells.right,
            "exercise": cells.exercise,
            "spot": received["spots"],
            "strike": given["spots"],
            "expiry": cells.expiry,
            "vol": np.sqrt(variance),
            "rate": given["dividend_yields"],
            "dividend_yield": received["dividend_yields"],
            **{n: c for n, c in cells.columns.items() if n == "exercise_dates"},
        },
        cells.tables,
    )


def of_assets(cells: Cells, measures: Floats) -> Floats:
    """Return measures of n exchanges, shape (7, n), from those of their vanillas.

    Greeks are by one of the assets, as the cells say.
    """
    price, delta, gamma, vega, theta, rho, dividend_rho = measures
    received, given = _sides(cells)
    own = received["number"] == cells.greek_asset
    spot, strike = received["spots"], given["spots"]
    mine, other = np.where(
        own, (received["vols"], given["vols"]), (given["vols"], received["vols"])
    )
    correlation = pair(cells, "correlation")[0]
    total = np.sqrt(_variance(mine, other, correlation))
    shares = np.where(own, received["shares"], given["shares"])
    with np.errstate(invalid="ignore", divide="ignore"):
        # Of degree one in both assets: what is not due to one is due to the other.
        by_other = (price - spot * delta) / strike
        return np.array(
            [
                price,
                shares * np.where(own, delta, by_other),
                shares * shares * gamma * np.where(own, 1.0, (spot / strike) ** 2),
                vega * (mine - correlation * other) / total,
                theta,
                np.zeros_like(rho),
                np.where(own, dividend_rho, rho),
            ]
        )


def _variance(one: Floats, other: Floats, correlation: Floats) -> Floats:
    """Return the variance of the ratio: of vols' difference, and what correlation lacks of 1."""
    return (one - other) ** 2 + 2.0 * (1.0 - correlation) * one * other


def _sides(cells: Cells) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a call receives and what it gives: shares times spots, vols, yields, numbers."""
    weights = weights_of(cells)
    first = weights[0] > 0.0
    sides = []
    for mine in (first, ~first):
        side: dict[str, Any] = {
            name: np.where(mine, *pair(cells, name))
            for name in ("spots", "vols", "dividend_yields")
        }
        side["shares"] = np.abs(np.where(mine, *weights))
        side["spots"] = side["shares"] * side["spots"]
        side["number"] = np.where(mine, 1, 2)
        sides.append(side)
    return sides[0], sides[1]
