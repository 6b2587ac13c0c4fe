"""Implied vols: prices come back, and where no vol has a price the reason says why."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pricer
from pricer import (
    Curve,
    Dates,
    Dividends,
    ImpliedStatus,
    Market,
    SpecError,
    Vanilla,
    implied_volatility,
)
from pricer.compiled import kernels
from test_reference import cases, columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PUT = Vanilla("put", 100.0, 1.0, "american")
MARKET = Market(spot=100.0, rate=0.05, dividend_yield=0.02)


@dataclass(frozen=True)
class Quoted:
    """Options of one exercise and their markets: arrays of shape (n,), and what they cost."""

    exercise: str
    right: NDArray[np.str_]
    strike: Floats
    expiry: Floats
    spot: Floats
    rate: Floats
    dividend_yield: Floats

    @classmethod
    def at_random(cls, count: int, seed: int, exercise: str) -> tuple[Quoted, Floats]:
        """Return options and the vols that they are priced at."""
        rng = np.random.default_rng(seed)
        spot = rng.uniform(50.0, 200.0, count)
        options = cls(
            exercise,
            right=rng.choice(["call", "put"], count),
            strike=spot * np.exp(rng.normal(0.0, 0.25, count)),
            expiry=np.exp(rng.uniform(math.log(0.02), math.log(5.0), count)),
            spot=spot,
            rate=rng.uniform(0.001, 0.1, count),
            dividend_yield=rng.uniform(0.001, 0.1, count),
        )
        return options, np.exp(rng.uniform(math.log(0.05), math.log(1.5), count))

    def prices(self, vol: Floats, index: Any = ...) -> Floats:
        """Price some of them, all in one call."""
        market = Market(self.spot[index], vol[index], self.rate[index], self.dividend_yield[index])
        got = pricer.price(self._contract(index), market, measures=("price",))
        assert got.price is not None
        return got.price

    def implied(
        self, prices: Floats, index: Any = ..., **settings: Any
    ) -> pricer.ImpliedVolatilities:
        """Find the vols of some of them, all in one call."""
        market = Market(
            self.spot[index], rate=self.rate[index], dividend_yield=self.dividend_yield[index]
        )
        return implied_volatility(self._contract(index), market, prices[index], **settings)

    def _contract(self, index: Any) -> Vanilla:
        right: Any = self.right[index]
        return Vanilla(right, self.strike[index], self.expiry[index], self.exercise)


def test_european_prices_come_back_to_1e_10_of_the_strike() -> None:
    options, vol = Quoted.at_random(20_000, 1, "european")
    prices = options.prices(vol)
    got = options.implied(prices)
    have = got.status == ImpliedStatus.ok
    assert have.mean() > 0.9
    # A price without time value in doubles has no vol, and only such a one has none.
    assert (got.status[~have] == ImpliedStatus.no_time_value).all()
    back = options.prices(np.where(have, got.vol, 0.0))
    assert (abs(back - prices) <= 1e-10 * options.strike)[have].all()
    assert np.median(abs(got.vol - vol)[have] / vol[have]) < 1e-13


@pytest.mark.parametrize("file", ["european_haug", "american_ju_1999"])
def test_published_prices_imply_their_vols(file: str) -> None:
    # Sources and precision of each price: tests/reference.
    of = [case for case in cases(file) if not case.premium and case.vol > 0]
    assert len(of) > 10
    given = columns(of)
    contract = Vanilla(*(given[n] for n in ("right", "strike", "expiry", "exercise")))
    market: dict[str, Any] = {n: given[n] for n in ("spot", "rate", "dividend_yield")}
    expected, precision = (np.array([getattr(c, n) for c in of]) for n in ("expected", "slack"))
    got = implied_volatility(contract, Market(**market), expected)
    assert (got.status == ImpliedStatus.ok).all()
    vega = pricer.price(contract, Market(vol=given["vol"], **market)).vega
    assert vega is not None
    room = 1.2 * (precision + 1e-5 * given["strike"]) / vega
    assert (abs(got.vol - given["vol"]) <= room).all()


def test_american_prices_come_back_to_1e_8_of_the_strike_from_each_option_alone() -> None:
    options, vol = Quoted.at_random(400, 2, "american")
    prices = options.prices(vol)
    got = options.implied(prices)
    known = {ImpliedStatus.ok, ImpliedStatus.no_time_value, ImpliedStatus.exercised}
    assert set(got.status.tolist()) <= known
    have = np.flatnonzero(got.status == ImpliedStatus.ok)
    assert len(have) > 300
    for index in have[:60].tolist():
        back = options.prices(got.vol, index)
        assert abs(back - prices[index]) <= 1e-8 * options.strike[index]


def test_every_price_that_some_vol_has_is_given_one() -> None:
    # From the least price to the most, wherever between the two: in wings, beside the exercise
    # boundary, at vols of hundreds.
    parts = np.array([1e-6, 1e-4, 0.01, 0.1, 0.4, 0.8, 0.97])
    contract = Vanilla(
        right=np.array(["call", "put"])[:, None, None, None],
        strike=np.array([60.0, 95.0, 100.0, 160.0])[:, None, None],
        expiry=np.array([0.01, 0.5, 8.0])[:, None],
        exercise="american",
    )
    market = Market(spot=100.0, vol=0.0, rate=0.04, dividend_yield=0.03)
    least = pricer.price(contract, market).price
    assert least is not None
    most = np.where(np.asarray(contract.right) == "call", 100.0, contract.strike)
    prices = least + parts * (most - least)
    got = implied_volatility(contract, market, prices)
    assert got.vol.shape == prices.shape
    assert (got.status == ImpliedStatus.ok).all()
    assert (np.diff(got.vol, axis=-1) > 0).all()


@pytest.mark.parametrize("exercise", ["european", "american"])
def test_what_a_quote_gets_does_not_depend_on_the_others(exercise: str) -> None:
    options, vol = Quoted.at_random(60, 3, exercise)
    prices = options.prices(vol)
    together = options.implied(prices, workers=2)
    for index in (0, 17, 59):
        single = options.implied(prices, index, workers=1)
        assert np.array_equal(single.vol, together.vol[index], equal_nan=True)
        assert single.status == together.status[index]


WORLDS: dict[str, dict[str, Any]] = {
    "cash": {"cash_dividends": Dividends((0.2, 0.7), (1.5, 1.5))},
    "escrowed": {
        "cash_dividends": Dividends((0.2, 0.7), (1.5, 1.5)),
        "dividend_model": "escrowed",
    },
    "proportional": {"proportional_dividends": Dividends((0.4,), (0.02,))},
    "curve": {"rate": Curve((0.5, 1.0), (0.02, 0.05))},
    "two boundaries": {"rate": -0.01, "dividend_yield": -0.03},
}


@pytest.mark.parametrize("exercise", ["european", "american", "bermudan"])
@pytest.mark.parametrize("world", WORLDS)
def test_vols_come_back_whatever_happens_until_expiry(world: str, exercise: str) -> None:
    dates = Dates((0.25, 0.5, 0.75)) if exercise == "bermudan" else None
    contract = Vanilla(["call", "put"], [105.0, 95.0], 1.0, exercise, dates)
    market = Market(**{"spot": 100.0, "rate": 0.03, **WORLDS[world]})
    prices = pricer.price(contract, replace(market, vol=0.25), measures=("price",)).price
    assert prices is not None
    got = implied_volatility(contract, market, prices)
    back = [
        pricer.price(
            Vanilla(right, strike, 1.0, exercise, dates),
            replace(market, vol=vol),
            measures=("price",),
        ).price
        for right, strike, vol in zip(("call", "put"), (105.0, 95.0), got.vol, strict=True)
    ]
    gap = abs(np.array(back) - prices)
    assert np.allclose(got.vol, 0.25, rtol=0.0, atol=1e-5)
    assert (gap <= 1e-6)[got.status == ImpliedStatus.ok].all()
    # Where a solve by dates jumps with the vol, by less than its error, the nearest is given.
    assert set(got.status.tolist()) <= {ImpliedStatus.ok, ImpliedStatus.tolerance}
    assert (gap < 1e-3).all()


@pytest.mark.parametrize(
    ("price", "status"), [(4.9, "below"), (5.0, "exercised"), (100.0, "above")]
)
def test_an_option_with_dividends_without_a_vol_says_why(price: float, status: str) -> None:
    market = Market(spot=95.0, rate=0.03, cash_dividends=Dividends((0.2,), (1.5,)))
    got = implied_volatility(PUT, market, price)
    assert ImpliedStatus(int(got.status)).name == status
    assert math.isnan(got.vol)


REASONS = [
    # American put, K = 100, intrinsic 10 at spot 90.
    ("american", {"price": 9.9}, "below", "below what the option is worth without vol"),
    ("american", {"price": 100.0}, "above", "not below what the option is worth at any vol"),
    ("american", {"price": 10.0}, "exercised", "immediate exercise"),
    ("american", {"spot": 130.0, "price": 0.0}, "no_time_value", "no time value"),
    ("american", {"expiry": 0.0, "price": 10.0}, "expired", "expired"),
    ("american", {"price": math.nan}, "invalid", "price is missing"),
    ("american", {"price": math.inf}, "invalid", "price must be finite, got inf"),
    ("american", {"rate": math.nan, "price": 10.0}, "invalid", "rate is missing"),
    ("american", {"spot": 0.0, "price": 10.0}, "invalid", "spot must be positive, got 0.0"),
    # European put: bounds K exp(-rT) - S exp(-qT) = 6.90... and K exp(-rT) = 95.12...
    ("european", {"price": 6.9}, "below", "below what the option is worth without vol"),
    ("european", {"price": 95.2}, "above", "not below what the option is worth at any vol"),
    ("european", {"spot": 130.0, "price": 0.0}, "no_time_value", "no time value"),
    ("european", {"expiry": 0.0, "price": 10.0}, "expired", "expired"),
    ("european", {"strike": 0.0, "price": 10.0}, "invalid", "strike must be positive, got 0.0"),
]


@pytest.mark.parametrize(("exercise", "changes", "status", "words"), REASONS)
def test_a_quote_without_a_vol_says_why(
    exercise: str, changes: dict[str, float], status: str, words: str
) -> None:
    given = {"spot": 90.0, "strike": 100.0, "expiry": 1.0, "rate": 0.05, "dividend_yield": 0.02}
    given |= changes
    # In an array, where a bad value marks its own cell.
    got = implied_volatility(
        Vanilla("put", given["strike"], given["expiry"], exercise),
        Market(
            spot=[given["spot"], 95.0],
            rate=[given["rate"], 0.05],
            dividend_yield=given["dividend_yield"],
        ),
        [given["price"], 12.0],
    )
    assert ImpliedStatus(int(got.status[0])).name == status
    assert math.isnan(got.vol[0])
    assert words in got.reasons()[0]


def test_what_has_no_price_has_no_vol() -> None:
    market = Market(
        spot=100.0,
        rate=0.05,
        cash_dividends=Dividends((0.5,), (1.0,)),
        proportional_dividends=Dividends((0.4,), (0.01,)),
        dividend_model="escrowed",
    )
    got = implied_volatility(PUT, market, 8.0)
    assert got.status == ImpliedStatus.unsupported
    words = "option has escrowed dividends, which go neither with barriers nor with proportional"
    assert got.reasons().item().startswith(words)


def test_a_quote_with_a_vol_has_no_reason() -> None:
    got = implied_volatility(PUT, MARKET, [8.0, 9.0])
    assert got.status.tolist() == [ImpliedStatus.ok, ImpliedStatus.ok]
    assert got.reasons().tolist() == ["", ""]


def test_kernels_take_one_layout_whatever_arrays_quotes_come_in() -> None:
    modules = kernels("implied", "quadratic")
    for module in modules:
        module.warm_up()
    compiled = (modules[0].european_vol, modules[1].american_vol)
    warm = [list(kernel.signatures) for kernel in compiled]
    spots = np.linspace(90.0, 110.0, 16)
    fixed = spots.copy()
    fixed.flags.writeable = False
    shapes = (spots, spots[::2], spots[:, None], fixed, spots.astype(np.float32), spots.tolist())
    for exercise, spot in product(("european", "american"), shapes):
        contract = Vanilla("put", 100.0, [0.5], exercise)
        implied_volatility(contract, Market(spot, rate=0.03), np.array([12.0])[::1])
    assert [list(kernel.signatures) for kernel in compiled] == warm


def test_scalars_give_arrays_of_no_dimension() -> None:
    got = implied_volatility(PUT, MARKET, 8.0)
    assert got.vol.shape == got.status.shape == got.reasons().shape == ()
    assert got.status.dtype == np.uint8


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    assert implied_volatility(PUT, MARKET, np.ones(shape)).vol.shape == shape


@pytest.mark.parametrize("vol", [math.nan, 0.3, -1.0])
def test_the_vol_of_the_market_is_not_looked_at(vol: float) -> None:
    market = Market(spot=100.0, vol=vol, rate=0.05, dividend_yield=0.02)
    assert implied_volatility(PUT, market, 8.0).vol == implied_volatility(PUT, MARKET, 8.0).vol


def test_a_looser_tolerance_finds_the_vol_of_looser_prices() -> None:
    loose = implied_volatility(PUT, MARKET, 8.0, tolerance=1e-3)
    market = Market(spot=100.0, vol=loose.vol, rate=0.05, dividend_yield=0.02)
    assert pricer.price(PUT, market, tolerance=1e-3).price == pytest.approx(8.0, abs=1e-6)


def test_options_that_are_never_exercised_early_have_the_vols_of_european_ones() -> None:
    for right, rate, dividend_yield in (("call", 0.05, 0.0), ("put", -0.01, 0.02)):
        market = Market(spot=100.0, rate=rate, dividend_yield=dividend_yield)
        vols = [
            implied_volatility(Vanilla(right, 105.0, 1.0, exercise), market, 9.0).vol
            for exercise in ("european", "american")
        ]
        assert vols[0] == vols[1]


def test_a_market_without_a_vol_has_no_price() -> None:
    with pytest.raises(SpecError, match=r"^vol: is missing$"):
        pricer.price(PUT, MARKET)


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (math.nan, "price: is missing"),
        (math.inf, "price: must be finite, got inf"),
        ("8", "price: must be a number or an array of numbers, got '8'"),
        ([[1.0], [2.0, 3.0]], "price: must be a number or an array of numbers"),
    ],
)
def test_a_price_that_is_none_is_refused(price: Any, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        implied_volatility(PUT, MARKET, price)
    assert str(caught.value).startswith(words)


def test_what_is_no_contract_or_market_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^implied_volatility: takes a Vanilla here, got Market$"):
        implied_volatility(MARKET, MARKET, 8.0)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"^fields: shapes must broadcast"):
        implied_volatility(PUT, Market(spot=np.ones(3), rate=0.05), np.ones(2))


def test_more_rate_less_yield_or_vol_move_as_prices_do() -> None:
    # Of equal prices the one in the better world has the lower vol.
    for exercise, right in product(("european", "american"), ("call", "put")):
        sign = 1.0 if right == "call" else -1.0
        contract = Vanilla(right, 100.0, 1.0, exercise)
        vols = [
            implied_volatility(contract, Market(100.0, rate=0.04 + sign * better), 9.0).vol
            for better in (0.0, 0.01, 0.02)
        ]
        assert vols[0] > vols[1] > vols[2]
