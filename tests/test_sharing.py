"""A solve that many cells share and one of their own agree within both errors: every product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pricer
from pricer import (
    Barrier,
    Curve,
    Dates,
    Digital,
    Dividends,
    DoubleBarrier,
    DoubleTouch,
    Market,
    Touch,
    Vanilla,
)
from pricer.cells import broadcast
from pricer.contracts import Contract
from pricer.families import sort_by_family

SPOTS = np.array([82.0, 97.0, 100.0, 104.5, 117.0])
STRIKES = np.array([90.0, 100.0, 112.0])[:, None]
EXPIRIES = np.array([0.3, 0.8])[:, None, None]
FLAT = {"vol": 0.25, "rate": 0.05, "dividend_yield": 0.02}
QUARTERS = Dates([0.2, 0.45, 0.7, 0.95])
PAID = Dividends([0.15, 0.6], [1.5, 2.0])
SLOPE = Curve([0.25, 0.75], [0.02, 0.06])
SKEWED = Curve([0.4, 1.0], [0.2, 0.3])

# Contract, market without spot, and how many families its 30 cells make.
PRODUCTS: dict[str, tuple[Contract, dict[str, Any], int]] = {
    "american put": (Vanilla("put", STRIKES, EXPIRIES, "american"), FLAT, 1),
    "american call": (Vanilla("call", STRIKES, EXPIRIES, "american"), FLAT, 1),
    "two exercise boundaries": (
        Vanilla("put", STRIKES, EXPIRIES, "american"),
        {"vol": 0.2, "rate": -0.01, "dividend_yield": -0.04},
        1,
    ),
    "bermudan": (Vanilla("put", STRIKES, EXPIRIES, "bermudan", QUARTERS), FLAT, 2),
    "digital": (Digital("call", STRIKES, EXPIRIES, cash=10.0), FLAT, 1),
    "asset or nothing": (Digital("put", STRIKES, EXPIRIES, "asset_or_nothing"), FLAT, 1),
    "down and out": (Barrier("call", STRIKES, EXPIRIES, 0.8 * STRIKES, "down_out"), FLAT, 1),
    "up and in, rebate": (
        Barrier("put", STRIKES, EXPIRIES, 1.25 * STRIKES, "up_in", 0.03 * STRIKES), FLAT, 1,
    ),
    "american up and out": (
        Barrier("put", STRIKES, EXPIRIES, 1.5 * STRIKES, "up_out", exercise="american"), FLAT, 1,
    ),
    "watched on dates": (
        Barrier("call", STRIKES, EXPIRIES, 0.75 * STRIKES, "down_out", monitoring_dates=QUARTERS),
        FLAT,
        2,
    ),
    "double barrier": (
        DoubleBarrier("call", STRIKES, EXPIRIES, 0.75 * STRIKES, 1.5 * STRIKES, "knock_out"),
        FLAT,
        1,
    ),
    "one touch": (Touch("up", EXPIRIES, 125.0 + 0 * STRIKES, cash=5.0), FLAT, 1),
    "double no touch": (DoubleTouch(EXPIRIES, 70.0 + 0 * STRIKES, 140.0, "no_touch"), FLAT, 1),
    "cash dividends": (
        Vanilla("call", STRIKES, EXPIRIES, "american"), FLAT | {"cash_dividends": PAID}, 6,
    ),
    "escrowed dividends": (
        Vanilla("put", STRIKES, EXPIRIES, "american"),
        FLAT | {"cash_dividends": PAID, "dividend_model": "escrowed"},
        6,
    ),
    "proportional dividends": (
        Vanilla("put", STRIKES, EXPIRIES, "american"),
        FLAT | {"proportional_dividends": Dividends([0.15, 0.6], [0.02, 0.03])},
        2,
    ),
    "curves": (
        Vanilla("put", STRIKES, EXPIRIES, "american"), {"vol": SKEWED, "rate": SLOPE}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("product", PRODUCTS)
def test_cells_share_the_solves_that_they_may(product: str) -> None:
    contract, market, families = PRODUCTS[product]
    cells, _ = broadcast(contract, Market(SPOTS, **market))
    assert len(sort_by_family(cells)[1]) - 1 == families


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_shared_solve_agrees_with_one_of_its_own(product: str) -> None:
    contract, market, _ = PRODUCTS[product]
    shared = pricer.price(contract, Market(SPOTS, **market), method="finite_difference")
    assert not shared.status.any()
    cells, shape = broadcast(contract, Market(SPOTS, **market))
    rng = np.random.default_rng(1)
    for index in rng.choice(len(cells), 6, replace=False).tolist():
        place = np.unravel_index(index, shape)
        fields = {
            name: np.broadcast_to(value, shape)[place] if isinstance(value, np.ndarray) else value
            for name, value in (
                (name, getattr(contract, name)) for name in contract.__dataclass_fields__
            )
        }
        alone = pricer.price(
            type(contract)(**fields),
            Market(np.broadcast_to(SPOTS, shape)[place], **market),
            method="finite_difference",
        )
        assert shared.price is not None
        assert alone.price is not None
        gap = abs(shared.price[place] - alone.price)
        assert gap <= shared.error[place] + alone.error, (fields, shared.price[place], alone.price)
