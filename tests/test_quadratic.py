"""The quadratic approximation: how near it is, and that its vols are those of its prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import pricer
from pricer import Market, Vanilla
from pricer.compiled import kernels
from test_reference import cases, columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def vols(right: Floats, *inputs: Floats, start: float = 0.3) -> Floats:
    """Return the approximation's vols of prices; `inputs` are S, K, T, r, q and price."""
    (quadratic,) = kernels("quadratic")
    out = np.empty(len(right))
    arrays = [np.ascontiguousarray(a, dtype=np.float64) for a in inputs]
    starts = np.full(len(right), start)
    quadratic.american_vol(np.asarray(right, np.int8), *arrays, starts, out)
    return out


def test_vols_of_published_prices_are_near_theirs() -> None:
    # Ju (1999), Exhibits 2 and 3: prices of binomial trees with 10,000 steps.
    of = cases("american_ju_1999")
    given = columns(of)
    sign = np.where(given["right"] == "call", 1.0, -1.0)
    market = [given[n] for n in ("spot", "strike", "expiry", "rate", "dividend_yield")]
    # Where nothing is paid for exercise the approximation has no boundary to find.
    cost = np.where(sign > 0, given["dividend_yield"], given["rate"]) > 0
    found = vols(sign, *market, np.array([case.expected for case in of]))
    assert cost.sum() > 10
    assert (abs(found / given["vol"] - 1.0) < 0.03)[cost].all()
    assert np.median(abs(found / given["vol"] - 1.0)[cost]) < 0.005


@pytest.mark.parametrize("right", ["call", "put"])
def test_vols_follow_our_prices_almost_one_to_one(right: str) -> None:
    vol = np.linspace(0.1, 0.8, 15)
    contract = Vanilla(right, 100.0, 1.0, "american")
    prices = pricer.price(contract, Market(95.0, vol, 0.05, 0.03), measures=("price",)).price
    assert prices is not None
    sign, one = np.full(15, 1.0 if right == "call" else -1.0), np.ones(15)
    found = vols(sign, 95.0 * one, 100.0 * one, one, 0.05 * one, 0.03 * one, prices)
    slope = np.diff(found) / np.diff(vol)
    assert (abs(slope - 1.0) < 0.03).all()


def test_a_vol_does_not_depend_on_where_its_search_starts() -> None:
    strike = np.linspace(70.0, 130.0, 25)
    sign, one = -np.ones(25), np.ones(25)
    prices = np.maximum(strike - 100.0, 0.0) + 4.0
    inputs = (100.0 * one, strike, 0.7 * one, 0.04 * one, 0.01 * one, prices)
    near, far = vols(sign, *inputs, start=0.25), vols(sign, *inputs, start=3.0)
    assert np.allclose(near, far, rtol=1e-8, atol=0.0)


def test_what_is_exercised_has_no_vol() -> None:
    one = np.ones(3)
    inputs = (90.0 * one, 100.0 * one, one, 0.05 * one, 0.02 * one)
    found = vols(-one, *inputs, np.array([9.9, 10.0, 10.01]))
    assert np.isnan(found).tolist() == [True, True, False]


def test_a_call_is_the_put_with_spot_and_strike_rate_and_yield_exchanged() -> None:
    one = np.ones(1)
    call = vols(one, 100.0 * one, 110.0 * one, one, 0.03 * one, 0.06 * one, 7.0 * one)
    put = vols(-one, 110.0 * one, 100.0 * one, one, 0.06 * one, 0.03 * one, 7.0 * one)
    assert call == put
