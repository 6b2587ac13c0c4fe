"""What holds of every option price, whatever the model's numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pricer
from pricer import MEASURES, Book, Grid, Market, Status, Vanilla
from pricer.blocks import encode_block
from pricer.plan import Plan
from pricer.pricing import price_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

TINY = 1e-12  # of spot plus strike: what rounding may cost


@dataclass(frozen=True)
class World:
    """One option and its market; any number may be replaced by an array."""

    right: str
    exercise: str
    spot: float
    strike: float
    expiry: float
    vol: float
    rate: float
    dividend_yield: float

    def priced(self, **changes: Any) -> pricer.Prices:
        settings = {n: changes.pop(n) for n in ("method", "tolerance", "workers") if n in changes}
        given = vars(self) | changes
        return pricer.price(
            Vanilla(**{n: given[n] for n in ("right", "exercise", "strike", "expiry")}),
            Market(**{n: given[n] for n in ("spot", "vol", "rate", "dividend_yield")}),
            **settings,
        )

    @property
    def sign(self) -> int:
        return 1 if self.right == "call" else -1

    @property
    def size(self) -> float:
        return float(TINY * (self.spot + self.strike) * np.exp(0.05 * self.expiry))


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw numbers from 10**low to 10**high, of all sizes alike."""
    return floats(low, high).map(lambda x: float(10.0**x))


rights = st.sampled_from(["call", "put"])
exercises = st.sampled_from(["european", "american"])
common = partial(
    st.builds,
    World,
    right=rights,
    exercise=exercises,
    spot=floats(40.0, 250.0),
    strike=floats(60.0, 160.0),
    expiry=floats(0.01, 5.0),
    vol=floats(0.05, 1.0),
    rate=floats(0.0, 0.2),
    dividend_yield=floats(0.0, 0.2),
)
worlds = common()
americans = common(exercise=st.just("american"))
europeans = common(
    exercise=st.just("european"), rate=floats(-0.05, 0.2), dividend_yield=floats(-0.05, 0.2)
)
extremes = common(
    spot=powers(-8, 8),
    strike=powers(-8, 8),
    expiry=powers(-6, 2.3),
    vol=powers(-8, 2),
    rate=floats(-0.05, 0.2),
    dividend_yield=floats(-0.05, 0.2),
)


def price_of(prices: pricer.Prices) -> Floats:
    assert prices.price is not None
    return prices.price


def assert_rising(values: ArrayLike, errors: ArrayLike, size: float) -> None:
    """Assert that values do not fall by more than their errors together."""
    values, errors = np.asarray(values), np.asarray(errors)
    highest = np.maximum.accumulate(values - errors)
    assert (values + errors + size >= highest).all(), (values, errors)


@given(europeans, st.sampled_from(["analytic", "finite_difference"]))
def test_put_call_parity(world: World, method: str) -> None:
    call, put = world.priced(right="call", method=method), world.priced(right="put", method=method)
    forward = world.spot * np.exp(-world.dividend_yield * world.expiry)
    forward -= world.strike * np.exp(-world.rate * world.expiry)
    gap = abs(price_of(call) - price_of(put) - forward)
    assert gap <= call.error + put.error + world.size


@given(americans)
def test_american_put_call_symmetry(world: World) -> None:
    call = world.priced(right="call")
    put = world.priced(
        right="put",
        spot=world.strike,
        strike=world.spot,
        rate=world.dividend_yield,
        dividend_yield=world.rate,
    )
    assert abs(price_of(call) - price_of(put)) <= call.error + put.error + world.size


@given(worlds)
def test_prices_keep_within_their_bounds(world: World) -> None:
    got = world.priced()
    discounted = np.array([world.spot, world.strike]) * np.exp(
        -np.array([world.dividend_yield, world.rate]) * world.expiry
    )
    american = world.exercise == "american"
    s, k = (world.spot, world.strike) if american else discounted
    lowest = max(world.sign * (discounted[0] - discounted[1]), 0.0)
    if american:
        lowest = max(lowest, world.sign * (world.spot - world.strike))
        assert price_of(got) >= max(world.sign * (world.spot - world.strike), 0.0)
    assert price_of(got) >= lowest - got.error - world.size
    assert price_of(got) <= (s if world.right == "call" else k) + got.error + world.size


@given(americans)
def test_american_options_are_worth_no_less_than_european_ones(world: World) -> None:
    american, european = world.priced(), world.priced(exercise="european")
    assert price_of(american) >= price_of(european) - american.error - european.error


@given(worlds)
def test_prices_rise_or_fall_with_spot_and_strike(world: World) -> None:
    steps = np.linspace(0.5, 2.0, 61)
    got = world.priced(spot=world.spot * steps)
    assert_rising(price_of(got)[:: world.sign], got.error[:: world.sign], world.size)
    got = world.priced(strike=world.strike * steps)
    assert_rising(price_of(got)[:: -world.sign], got.error[:: -world.sign], world.size)


@given(americans)
def test_american_prices_rise_with_expiry(world: World) -> None:
    got = world.priced(expiry=world.expiry * np.geomspace(0.1, 4.0, 25))
    assert_rising(price_of(got), got.error, world.size)


@given(worlds)
def test_prices_rise_with_vol(world: World) -> None:
    got = world.priced(vol=world.vol * np.geomspace(0.2, 4.0, 25))
    assert_rising(price_of(got), got.error, world.size)


@given(worlds)
def test_prices_are_convex_in_spot(world: World) -> None:
    got = world.priced(spot=world.spot * np.linspace(0.5, 2.0, 61))
    price, error = price_of(got), got.error
    bend = price[:-2] - 2 * price[1:-1] + price[2:]
    assert (bend >= -(error[:-2] + 2 * error[1:-1] + error[2:]) - world.size).all()


@given(worlds, st.integers(-20, 20))
def test_units_of_money_do_not_matter(world: World, power: int) -> None:
    # A power of two changes no bit but the exponent's.
    unit = 2.0**power
    one = world.priced()
    scaled = world.priced(spot=unit * world.spot, strike=unit * world.strike)
    for name in (*MEASURES, "error"):
        factor = {"delta": 1.0, "gamma": 1.0 / unit}.get(name, unit)
        expected = factor * getattr(one, name)
        assert getattr(scaled, name) == expected or abs(expected) < 1e-290, name


@given(worlds, floats(0.1, 10.0))
def test_prices_are_homogeneous(world: World, unit: float) -> None:
    one = world.priced()
    scaled = world.priced(spot=unit * world.spot, strike=unit * world.strike)
    gap = abs(price_of(scaled) / unit - price_of(one))
    assert gap <= one.error + scaled.error / unit + world.size


@given(worlds)
def test_delta_lies_between_the_slopes_to_either_side(world: World) -> None:
    got = world.priced(spot=world.spot * np.linspace(0.5, 2.0, 301))
    spot = world.spot * np.linspace(0.5, 2.0, 301)
    assert got.delta is not None
    # So it is for a convex function; the slopes are as uncertain as the prices are.
    slope = np.diff(price_of(got)) / np.diff(spot)
    slack = (got.error[1:] + got.error[:-1] + world.size) / np.diff(spot) + 1e-7
    assert (got.delta[1:] >= slope - slack).all()
    assert (got.delta[:-1] <= slope + slack).all()


@given(worlds)
def test_gamma_is_the_bend_of_the_price(world: World) -> None:
    deviation = world.vol * np.sqrt(world.expiry)
    spot = world.strike * np.exp(deviation * np.linspace(-6, 6, 49))
    got = world.priced(spot=spot)
    price, error, gamma = price_of(got), got.error, got.gamma
    assert gamma is not None
    step = np.diff(spot)
    bend = np.diff(np.diff(price) / step) / (step[1:] + step[:-1]) * 2
    # It is some gamma between the outer spots, where gamma may jump and may peak.
    near = np.stack([gamma[:-2], gamma[1:-1], gamma[2:]])
    low, high = near.min(axis=0), near.max(axis=0)
    slack = high - low + 1e-3 / world.strike
    slack += 4 * (error[1:-1] + world.size * spot[1:-1] / world.spot) / step[:-1] ** 2
    assert (bend >= low - slack).all()
    assert (bend <= high + slack).all()
    assert (gamma >= -2e-3 / world.strike).all()


@given(europeans)
def test_european_finite_differences_are_within_their_error(world: World) -> None:
    spot = world.spot * np.linspace(0.5, 2.0, 16)
    exact = world.priced(spot=spot, method="analytic")
    got = world.priced(spot=spot, method="finite_difference")
    assert (got.method == 2).all()
    gap = abs(price_of(got) - price_of(exact))
    assert (gap <= got.error + exact.error + 1e-9 * world.strike).all()


@given(worlds)
def test_a_single_call_and_a_grid_agree_within_both_errors(world: World) -> None:
    spots, expiries = np.array([0.6, 1.0, 1.5]), np.array([0.2, 1.0, 3.0])
    grid = world.priced(
        spot=world.spot * spots[:, None], expiry=world.expiry * expiries, method="finite_difference"
    )
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 0)):
        single = world.priced(
            spot=world.spot * spots[i],
            expiry=world.expiry * expiries[j],
            method="finite_difference",
        )
        gap = abs(price_of(single) - price_of(grid)[i, j])
        assert gap <= single.error + grid.error[i, j] + world.size


@settings(max_examples=300)
@given(extremes, floats(1e-6, 1e-3))
@example(World("put", "american", 1.0, 1.0, 200.0, 100.0, 0.05, 0.02), 1e-5)
@example(World("call", "american", 1e8, 1e-8, 200.0, 1e-8, 0.05, 0.2), 1e-5)
@example(World("put", "american", 1e-8, 1e8, 200.0, 1e-8, 0.2, 0.0), 1e-5)
@example(World("put", "european", 1.0, 1.0, 1e-6, 1e-8, -0.05, -0.05), 1e-5)
def test_extremes_are_finite_and_sane(world: World, tolerance: float) -> None:
    got = world.priced(tolerance=tolerance)
    if got.status == Status.unsupported:
        assert world.exercise == "american"
        assert min(world.rate, world.dividend_yield) < 0
        return
    for name in (*MEASURES, "error"):
        assert np.isfinite(getattr(got, name)), name
    # An American option can wait where a rate is negative.
    s = world.spot * max(np.exp(-world.dividend_yield * world.expiry), world.exercise == "american")
    k = world.strike * max(np.exp(-world.rate * world.expiry), world.exercise == "american")
    slack = got.error + TINY * (s + k)
    price = price_of(got)
    assert 0.0 <= price <= (s if world.right == "call" else k) + slack
    if world.exercise == "american":
        assert price >= world.sign * (world.spot - world.strike)
        assert price >= price_of(world.priced(exercise="european")) - slack
    assert got.delta is not None
    most = max(np.exp(-world.dividend_yield * world.expiry), 1.0)
    assert -1e-3 <= world.sign * got.delta <= most + 1e-3


# The same bits, however the work is cut

AXES = """
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 60.0, stop = 150.0, count = 31 }
strike = [80.0, 100.0, 125.0]
expiry = [0.1, 0.5, 2.0]
vol = [0.12, 0.3, 0.31, 0.7]
rate = [-0.01, 0.04]
dividend_yield = [0.0, 0.03]
"""


def book() -> str:
    random = np.random.default_rng(7)
    rows = ["right,exercise,spot,strike,expiry,vol,rate,dividend_yield"]
    for _ in range(4000):
        right, exercise = random.choice(["call", "put"]), random.choice(["american", "european"])
        spot, strike = random.uniform(50, 150, 2)
        vol, expiry = random.choice([0.2, 0.25, 0.5]), random.choice([0.1, 0.4, 1.0, 2.0])
        rows.append(f"{right},{exercise},{spot},{strike},{expiry},{vol},0.05,0.02")
    rows.append("put,american,100,100,1,,0.05,0.02")
    return "\n".join(rows)


@pytest.fixture(scope="module", params=["grid", "book"])
def plan(request: pytest.FixtureRequest) -> Plan:
    text = AXES if request.param == "grid" else book()
    make: Callable[[str], Grid | Book] = Grid.parse if request.param == "grid" else Book.parse
    return Plan.of(make(text), "some version")


def bits(plan: Plan, chunk_blocks: int) -> bytes:
    blocks = (
        pair
        for chunk in plan.chunks(chunk_blocks)
        for pair in price_chunk(plan, chunk.start, chunk.stop)
    )
    return b"".join(
        encode_block(prices, plan.measures)
        for _, prices in sorted(blocks, key=lambda pair: pair[0])
    )


@pytest.mark.parametrize("chunks", [3, 1000])
def test_values_do_not_depend_on_chunks(plan: Plan, chunks: int) -> None:
    assert plan.blocks > 3
    whole = bits(plan, plan.blocks)
    assert bits(plan, max(plan.blocks // chunks, 1)) == whole


def test_values_do_not_depend_on_workers() -> None:
    random = np.random.default_rng(11)
    contract = Vanilla(
        right=random.choice(["call", "put"], 3000),
        exercise=random.choice(["american", "european"], 3000),
        strike=100.0,
        expiry=random.choice([0.25, 1.0, 1.5], 3000),
    )
    market = Market(random.uniform(60, 150, 3000), random.uniform(0.1, 0.6, 3000), 0.05, 0.02)
    one = pricer.price(contract, market, workers=1)
    for workers in (2, 5):
        other = pricer.price(contract, market, workers=workers)
        for name in (*MEASURES, "error", "status", "method"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def test_values_do_not_depend_on_order() -> None:
    random = np.random.default_rng(12)
    spot, strike = random.uniform(60, 150, (2, 500))
    vol, expiry = random.choice([0.2, 0.3, 0.4], 500), random.choice([0.3, 1.0], 500)
    order = random.permutation(500)

    def priced(index: Any) -> pricer.Prices:
        return pricer.price(
            Vanilla("put", strike[index], expiry[index], "american"),
            Market(spot[index], vol[index], 0.05),
        )

    straight, shuffled = priced(slice(None)), priced(order)
    for name in (*MEASURES, "error"):
        assert (getattr(straight, name)[order] == getattr(shuffled, name)).all(), name
