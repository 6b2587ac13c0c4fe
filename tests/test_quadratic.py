"""The quadratic approximation: how near it is, and that its vols are those of its prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import pricer
from pricer import Market, Vanilla
from pricer.compiled import kernels
from test_reference import document

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


INPUTS = ("spot", "strike", "expiry_years", "rate", "dividend", "verified_value")


def vols(right: Floats, *inputs: Floats, start: float = 0.3) -> Floats:
    """Return the approximation's vols of prices; `inputs` are S, K, T, r, q and price."""
    (quadratic,) = kernels("quadratic")
    out = np.empty(len(right))
    arrays = [np.ascontiguousarray(a, dtype=np.float64) for a in inputs]
    starts = np.full(len(right), start)
    quadratic.american_vol(np.asarray(right, np.int8), *arrays, starts, out)
    return out


def test_prices_of_the_approximation_imply_their_vols() -> None:
    # Ju and Zhong 1999, Exhibits 3 and 6, to the digits that QuantLib 1.44's engine of that name
    # has of them (tests/reference/american_ju_1999.json). Their call is not our put turned round.
    of = document("american_ju_1999")["cases"]
    given = {n: np.array([case[n] for case in of]) for n in ("right", "vol", *INPUTS)}
    call = given["right"] == "call"
    found = vols(np.where(call, 1.0, -1.0), *(given[n] for n in INPUTS))
    far = abs(found - given["vol"])
    assert call.any()
    assert (far[~call] < 1e-7).all()
    assert (far[call] < 1e-3).all()


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
