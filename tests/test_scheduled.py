"""The march through dates, at the kernel: laws, limits, values found otherwise, the error bar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer.compiled import kernels

black_scholes, scheduled = kernels("black_scholes", "scheduled")

from pricer.kernels.backward import march  # noqa: E402
from pricer.kernels.claims import merge_segments  # noqa: E402
from pricer.kernels.layout import Mesh, mesh  # noqa: E402
from pricer.kernels.schedule import Schedule, schedule  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PRICE, DELTA, GAMMA, VEGA, THETA, RHO, DIVIDEND_RHO, ERROR = range(8)
CODES = {"theta", "knock", "timing", "american", "continuous", "escrowed"}
INF = float("inf")


@dataclass(frozen=True)
class Event:
    """A date: what may happen on it."""

    time: float
    exercise: int = 0
    monitor: int = 0
    cash: float = 0.0
    proportional: float = 0.0


@dataclass(frozen=True)
class Claim:
    """One family, per unit of 100, with the market it lives in: segments of (end, r, q, sigma)."""

    theta: int = -1
    alpha: float = -1.0
    beta: float = 1.0
    kink: float = 1.0
    knock: int = 0
    lower: float = 0.0
    upper: float = INF
    lower_rebate: float = 0.0
    upper_rebate: float = 0.0
    timing: int = 0
    american: int = 0
    continuous: int = 0
    escrowed: int = 0
    expiries: tuple[float, ...] = (1.0,)
    segments: tuple[tuple[float, float, float, float], ...] = ((1.0, 0.05, 0.02, 0.3),)
    events: tuple[Event, ...] = ()
    low: float = 0.9
    high: float = 1.1


PUT = Claim()
CALL = replace(PUT, theta=1, alpha=1.0, beta=-1.0)
QUARTERS = tuple(Event(t) for t in (0.25, 0.5, 0.75, 1.0))
WATCHED = tuple(replace(event, monitor=1) for event in QUARTERS)
EXERCISED = tuple(replace(event, exercise=1) for event in QUARTERS)
PAID = (Event(0.3, cash=0.02), Event(0.7, cash=0.03))
CURVE = ((0.2, 0.01, 0.03, 0.25), (0.6, 0.04, 0.0, 0.35), (1.0, 0.06, 0.02, 0.2))
KNOCKED = replace(PUT, american=1, continuous=1, lower_rebate=0.03, upper_rebate=0.03)
PRODUCTS = {
    "american put": replace(PUT, american=1),
    "american call": replace(CALL, american=1, segments=((1.0, 0.03, 0.06, 0.3),)),
    "two exercise boundaries": replace(PUT, american=1, segments=((1.0, -0.02, -0.05, 0.15),)),
    "bermudan put": replace(PUT, events=EXERCISED),
    "cash dividends": replace(CALL, american=1, events=PAID),
    "escrowed dividends": replace(CALL, american=1, escrowed=1, events=PAID),
    "proportional dividend": replace(CALL, american=1, events=(Event(0.4, proportional=0.05),)),
    "watched out": replace(CALL, knock=1, lower=0.85, events=WATCHED),
    "watched in": replace(PUT, knock=2, upper=1.15, lower_rebate=0.02, events=WATCHED),
    "watched corridor": replace(PUT, knock=1, lower=0.8, upper=1.2, events=WATCHED),
    "american down and out": replace(KNOCKED, knock=1, lower=0.8),
    "american up and in": replace(KNOCKED, knock=2, upper=1.15),
    "american corridor": replace(CALL, knock=1, lower=0.8, upper=1.3, continuous=1, american=1),
    "barrier and dividend": replace(CALL, knock=1, lower=0.8, continuous=1, events=PAID),
    "digital": replace(PUT, alpha=0.0),
    "curve": replace(PUT, american=1, segments=CURVE),
}


def contracts(claims: list[Claim]) -> Any:
    fields: dict[str, Any] = {}
    for name in Claim.__dataclass_fields__:
        if name not in ("expiries", "segments", "events"):
            values = [getattr(claim, name) for claim in claims]
            fields[name] = np.array(values, np.int8 if name in CODES else np.float64)

    def offsets(name: str) -> NDArray[np.int64]:
        counts = [len(getattr(claim, name)) for claim in claims]
        return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    segments = np.array([row for claim in claims for row in claim.segments])
    for name, column in zip(("segment_ends", "r", "q", "sigma"), segments.T, strict=True):
        fields[name] = column.copy()
    events = [event for claim in claims for event in claim.events]
    for name in ("exercise", "monitor"):
        fields[f"event_{name}"] = np.array([getattr(e, name) for e in events], np.int8)
    for name in ("cash", "proportional"):
        fields[f"event_{name}"] = np.array([getattr(e, name) for e in events], np.float64)
    return scheduled.Contracts(
        **fields,
        expiry_offsets=offsets("expiries"),
        expiries=np.array([t for claim in claims for t in claim.expiries]),
        segment_offsets=offsets("segments"),
        event_offsets=offsets("events"),
        event_times=np.array([event.time for event in events], np.float64),
    )


def priced(
    claims: list[Claim],
    spots: tuple[float, ...] = (90.0, 100.0, 110.0),
    tolerance: float = 1e-5,
    greeks: bool = False,
    expiry: float | None = None,
) -> Floats:
    """Price each claim at each spot, unit 100: shape (8, claims, spots)."""
    families = contracts(claims)
    surfaces = scheduled.solve(families, tolerance, greeks)
    count = len(spots)
    out = np.zeros((8, len(claims) * count))
    times = [claim.expiries[-1] if expiry is None else expiry for claim in claims]
    scheduled.evaluate(
        families,
        surfaces,
        np.arange(len(claims) + 1) * count,
        np.tile(np.array(spots), len(claims)),
        np.full(len(claims) * count, 100.0),
        np.repeat(np.array(times), count),
        out,
    )
    return out.reshape(8, len(claims), count)


@cache
def product(name: str, tolerance: float = 1e-5) -> Floats:
    return priced([PRODUCTS[name]], tolerance=tolerance)[:, 0]


def european(
    claim: Claim, spot: float, strike: float = 100.0, q: float | None = None
) -> tuple[float, ...]:
    ((expiry, r, own_q, sigma),) = claim.segments
    q = own_q if q is None else q
    found = black_scholes.european(float(claim.theta), spot, strike, expiry, r, q, sigma)
    return tuple(float(value) for value in found)


@pytest.mark.parametrize("claim", [PUT, CALL], ids=["put", "call"])
def test_without_dates_it_is_black_scholes_with_all_greeks(claim: Claim) -> None:
    got = priced([claim], greeks=True)[:, 0]
    for i, spot in enumerate((90.0, 100.0, 110.0)):
        expected = european(claim, spot)
        assert abs(got[PRICE, i] - expected[PRICE]) <= got[ERROR, i] < 1e-3
        assert got[DELTA, i] == pytest.approx(expected[DELTA], abs=1e-6)
        assert got[GAMMA, i] == pytest.approx(expected[GAMMA], abs=1e-6)
        for row in (VEGA, THETA, RHO, DIVIDEND_RHO):
            assert got[row, i] == pytest.approx(expected[row], abs=2e-3)


def levels(claim: Claim, top: int) -> list[Floats]:
    """Return the values of levels 0 to `top` on the nodes they share, around the spot."""
    families = contracts([claim])
    offsets, ends, r, q, sigma = merge_segments(families)
    families = families._replace(segment_offsets=offsets, segment_ends=ends, r=r, q=q, sigma=sigma)
    base, dates = Mesh(*mesh(families, 1e-10)), Schedule(*schedule(families, 0))
    found = []
    for level in range(top + 1):
        splits = 1 << level
        rows = [np.where(r >= 0, r * splits, -1) for r in (base.lower_row, base.upper_row)]
        finer = base._replace(width=base.width / splits, lower_row=rows[0], upper_row=rows[1])
        out = np.empty((1, 1, int(base.intervals[0]) * splits + 1))
        march(level, np.array([0]), np.array([0]), families, finer, dates, out)
        found.append(out[0, 0, ::splits])
    places = base.left[0] + base.width[0] * np.arange(base.intervals[0] + 1)
    near = abs(places) < 0.1
    return [values[near] for values in found]


@pytest.mark.parametrize("claim", PRODUCTS.values(), ids=PRODUCTS)
def test_the_scheme_is_of_second_order_and_its_extrapolation_of_higher(claim: Claim) -> None:
    found = levels(claim, 4)
    gaps = [abs(b - a).max() for a, b in pairwise(found)]
    assert 3.0 < gaps[-2] / gaps[-1] < 6.5
    better = [b + (b - a) / 3.0 for a, b in pairwise(found)]
    gaps = [abs(b - a).max() for a, b in pairwise(better)]
    assert gaps[0] > 8.0 * gaps[-1]


@pytest.mark.parametrize("name", PRODUCTS)
def test_true_errors_are_within_those_reported(name: str) -> None:
    truth = product(name, 1e-8)
    for tolerance in (1e-3, 1e-5, 1e-6):
        got = product(name, tolerance)
        assert (abs(got[PRICE] - truth[PRICE]) <= got[ERROR] + truth[ERROR]).all()
        assert (got[ERROR] <= 100.0 * tolerance).all()


def test_bermudan_puts_match_quadrature() -> None:
    # Gauss-Legendre quadrature from date to date, 12 points a standard deviation, the boundaries
    # found by bisection and the exercise region integrated exactly; made for this test.
    fifty = tuple(Event((k + 1) / 50, exercise=1) for k in range(50))
    one = replace(PUT, segments=((1.0, 0.06, 0.0, 0.2),), events=fifty, low=0.9, high=0.9)
    assert priced([one], (90.0,))[PRICE, 0, 0] / 2.5 == pytest.approx(4.47781111114, abs=1e-5)
    for count, expected in ((4, 11.7901382398661), (12, 11.9108555371718)):
        dates = tuple(Event(2.0 * (k + 1) / count, exercise=1) for k in range(count))
        two = replace(
            PUT, segments=((2.0, -0.02, -0.05, 0.15),), events=dates, expiries=(2.0,), low=0.9
        )
        got = priced([two], (90.0,))
        assert got[PRICE, 0, 0] == pytest.approx(expected, abs=1e-4)
        assert abs(got[PRICE, 0, 0] - expected) <= got[ERROR, 0, 0]


def test_two_exercise_boundaries_are_the_limit_of_many_dates() -> None:
    # By quadrature as above: 50 dates 11.957747080573178, 100 dates 11.96539809618093; the
    # difference from continuous exercise halves with the dates' distance.
    claim = replace(PUT, american=1, segments=((2.0, -0.02, -0.05, 0.15),), expiries=(2.0,))
    got = priced([claim], (90.0,))[PRICE, 0, 0]
    assert got == pytest.approx(2.0 * 11.96539809618093 - 11.957747080573178, abs=1e-3)


def test_exercise_comes_before_the_dividend_of_its_date_and_the_payoff_after() -> None:
    flat = ((1.0, 0.05, 0.0, 0.3),)
    european_call = replace(CALL, segments=flat, events=(Event(1.0, cash=0.1),))
    american = replace(european_call, american=1)
    got = priced([european_call, american])
    for i, spot in enumerate((90.0, 100.0, 110.0)):
        plain = replace(CALL, segments=flat)
        assert abs(got[PRICE, 0, i] - european(plain, spot, 110.0)[0]) <= got[ERROR, 0, i]
        # A call on what pays nothing is exercised at the end, just before the dividend.
        assert abs(got[PRICE, 1, i] - european(plain, spot)[0]) <= got[ERROR, 1, i]


def test_barriers_are_watched_before_the_dividend_of_their_date() -> None:
    both = (Event(1.0, monitor=1, cash=0.1),)
    out = replace(CALL, knock=1, lower=1.2, events=both)
    # What is above 1.2 pays the spot less dividend and strike.
    gap = replace(CALL, beta=-1.1, kink=1.2)
    got = priced([out, gap])
    assert (abs(got[PRICE, 0] - got[PRICE, 1]) <= got[ERROR, 0] + got[ERROR, 1]).all()


def test_a_spot_never_falls_below_nothing() -> None:
    everything = replace(PUT, events=(Event(0.5, cash=5.0),), segments=((1.0, 0.05, 0.0, 0.3),))
    got = priced([everything])
    assert got[PRICE, 0] == pytest.approx(100.0 * np.exp(-0.05), abs=1e-3)
    assert abs(got[DELTA, 0]).max() < 1e-6


def test_escrowed_dividends_are_taken_off_the_spot() -> None:
    claim = replace(CALL, escrowed=1, events=PAID)
    got = priced([claim], greeks=True)[:, 0]
    off = [(100.0 * e.cash * np.exp(-0.05 * e.time), e.time) for e in PAID]
    for i, spot in enumerate((90.0, 100.0, 110.0)):
        expected = european(CALL, spot - sum(worth for worth, _ in off))
        delta = expected[DELTA]
        assert abs(got[PRICE, i] - expected[PRICE]) <= got[ERROR, i]
        assert got[DELTA, i] == pytest.approx(delta, abs=1e-6)
        rho = expected[RHO] + delta * sum(worth * time for worth, time in off)
        assert got[RHO, i] == pytest.approx(rho, abs=2e-3)
        theta = expected[THETA] - delta * 0.05 * sum(worth for worth, _ in off)
        assert got[THETA, i] == pytest.approx(theta, abs=2e-3)


def test_a_proportional_dividend_takes_its_part() -> None:
    claim = replace(CALL, events=(Event(0.4, proportional=0.05),))
    got = priced([claim])[:, 0]
    for i, spot in enumerate((90.0, 100.0, 110.0)):
        assert abs(got[PRICE, i] - european(CALL, 0.95 * spot)[0]) <= got[ERROR, i]


@pytest.mark.parametrize("continuous", [0, 1])
def test_in_and_out_together_are_the_contract_without_barrier(continuous: int) -> None:
    events = () if continuous else WATCHED
    out = replace(CALL, knock=1, lower=0.85, continuous=continuous, events=events)
    got = priced([out, replace(out, knock=2), CALL])
    errors = got[ERROR].sum(axis=0)
    assert (abs(got[PRICE, 0] + got[PRICE, 1] - got[PRICE, 2]) <= errors).all()


def test_more_rights_are_worth_more() -> None:
    dates = priced([replace(PUT, events=EXERCISED), replace(PUT, american=1), PUT])[PRICE]
    assert (dates[2] < dates[0]).all()
    assert (dates[0] < dates[1]).all()
    knocked = replace(PUT, knock=2, upper=1.15, continuous=1)
    both = priced([knocked, replace(knocked, american=1)])[PRICE]
    assert (both[0] < both[1]).all()


@pytest.mark.parametrize(
    ("timing", "worth"),
    [(0, 3.0), (1, 3.0 * np.exp(-0.05)), (2, 0.03 * 80.0), (3, 0.03 * 80.0 * np.exp(-0.02))],
)
def test_a_breached_barrier_pays_its_rebate(timing: int, worth: float) -> None:
    out = replace(PUT, knock=1, lower=0.8, lower_rebate=0.03, timing=timing, continuous=1)
    assert priced([out], (80.0,))[PRICE, 0, 0] == pytest.approx(worth, rel=1e-13)
    near = priced([replace(out, low=0.8001)], (80.01,))[PRICE, 0, 0]
    assert near == pytest.approx(worth, abs=0.03)


def reflected(spot: float) -> float:
    """Price the down-and-out call with barrier 95 and strike 100 by reflection (Merton 1973)."""
    ((_, r, q, sigma),) = CALL.segments
    power = 2.0 * (r - q) / sigma**2 - 1.0
    image = european(CALL, 95.0 * 95.0 / spot)[0]
    return float(european(CALL, spot)[0] - (95.0 / spot) ** power * image)


def test_beside_a_barrier_gamma_is_calm_and_no_price_negative() -> None:
    out = replace(CALL, knock=1, lower=0.95, continuous=1, low=0.95 * 1.001)
    spots = tuple(95.0 * np.exp(0.001 * np.arange(1, 41)))
    got = priced([out], spots)[:, 0]
    expected = np.array([reflected(spot) for spot in spots])
    assert (got[PRICE] >= 0.0).all()
    assert (abs(got[PRICE] - expected) <= got[ERROR]).all()
    step = 1e-3
    gamma = [
        (reflected(s + step) - 2.0 * reflected(s) + reflected(s - step)) / step**2 for s in spots
    ]
    assert got[GAMMA] == pytest.approx(gamma, abs=2e-5)


def test_watched_up_and_out_has_no_negative_price() -> None:
    watched = tuple(Event((k + 1) / 50, monitor=1) for k in range(50))
    out = replace(PUT, theta=1, alpha=1.0, beta=-1.0, knock=1, upper=1.02, events=watched)
    got = priced([replace(out, low=0.5, high=1.5)], tuple(np.linspace(50.0, 150.0, 101)))[:, 0]
    assert (got[PRICE] >= 0.0).all()
    seen = got[PRICE][got[PRICE] > 1e-6]
    assert np.diff(np.sign(np.diff(seen))).astype(bool).sum() == 1  # one hump


def test_a_flat_curve_in_segments_is_one_segment_bit_by_bit() -> None:
    pieces = ((0.3, 0.05, 0.02, 0.3), (0.5, 0.05, 0.02, 0.3), (1.0, 0.05, 0.02, 0.3))
    for claim in (replace(PUT, american=1), replace(CALL, knock=1, lower=0.9, continuous=1)):
        got = priced([claim, replace(claim, segments=pieces)], greeks=True)
        assert got[:, 0].tobytes() == got[:, 1].tobytes()


def test_without_dates_only_averages_of_a_curve_count() -> None:
    ends = np.array([end for end, *_ in CURVE])
    r, q, sigma = np.array([rest for _, *rest in CURVE]).T
    weight = np.diff(ends, prepend=0.0)
    flat = (1.0, float(r @ weight), float(q @ weight), float(np.sqrt((sigma**2) @ weight)))
    got = priced([replace(PUT, segments=CURVE)])[:, 0]
    for i, spot in enumerate((90.0, 100.0, 110.0)):
        expected = european(replace(PUT, segments=(flat,)), spot)[0]
        assert abs(got[PRICE, i] - expected) <= got[ERROR, i]


@pytest.mark.parametrize("name", ["american call", "bermudan put", "american up and in"])
def test_a_value_never_depends_on_its_company(name: str) -> None:
    ((_, r, q, _),) = PRODUCTS[name].segments
    claims = [
        replace(PRODUCTS[name], segments=((1.0, r, q, vol),)) for vol in np.linspace(0.2, 0.5, 10)
    ]
    together = priced(claims, greeks=True)
    for place in (0, 4, 9):
        alone = priced([claims[place]], greeks=True)
        assert alone[:, 0].tobytes() == together[:, place].tobytes()


def american(rng: np.random.Generator) -> Claim:
    """Draw an American claim: with barriers, a dividend, one exercise boundary or two."""
    claim = replace(PUT if rng.random() < 0.5 else CALL, american=1, low=0.9, high=1.1)
    r, q = rng.choice([-0.02, 0.01, 0.05]), rng.choice([-0.04, 0.0, 0.03])
    claim = replace(claim, segments=((1.0, r, q, rng.choice([0.1, 0.2, 0.25, 0.3])),))
    kind = rng.integers(5)
    if kind == 4:
        return replace(claim, events=(Event(0.5, cash=0.02),))
    if kind < 3:
        claim = replace(claim, knock=1, continuous=1)
    if kind in (0, 1):
        claim = replace(claim, lower=rng.uniform(0.7, 0.88), lower_rebate=rng.choice([0.0, 0.03]))
    if kind in (0, 2):
        claim = replace(claim, upper=rng.uniform(1.12, 1.4), upper_rebate=rng.choice([0.0, 0.03]))
    return claim


def test_no_lane_of_an_early_exercise_knows_the_others() -> None:
    rng = np.random.default_rng(9)
    # Its value at the barrier is exercise's, and beside it often too.
    steep = replace(CALL, american=1, knock=1, continuous=1, upper=1.3471817385120818)
    steep = replace(steep, segments=((1.0, -0.02, 0.0, 0.2),))
    for claim in (steep, *(american(rng) for _ in range(60))):
        ((end, r, q, vol),) = claim.segments
        others = [
            replace(claim, segments=((end, r, q, other),)) for other in vol * rng.uniform(0.7, 1, 7)
        ]
        place = int(rng.integers(8))
        alone = priced([claim], tolerance=1e-4)
        together = priced([*others[:place], claim, *others[place:]], tolerance=1e-4)
        assert alone[:, 0].tobytes() == together[:, place].tobytes(), claim


@pytest.mark.parametrize("name", ["american put", "american up and in", "watched corridor"])
def test_asking_for_greeks_moves_no_price(name: str) -> None:
    got = priced([PRODUCTS[name]], greeks=True)[:, 0]
    assert got[PRICE].tobytes() == product(name)[PRICE].tobytes()


def test_one_march_prices_several_expiries() -> None:
    claim = replace(PRODUCTS["american down and out"], expiries=(0.1, 0.4, 1.0))
    for expiry in claim.expiries:
        shared = priced([claim], expiry=expiry)[:, 0]
        segments = ((expiry, *claim.segments[0][1:]),)
        alone = priced([replace(claim, expiries=(expiry,), segments=segments)])[:, 0]
        assert (abs(shared[PRICE] - alone[PRICE]) <= shared[ERROR] + alone[ERROR]).all()


@pytest.mark.parametrize("name", PRODUCTS)
def test_greeks_are_derivatives_of_the_price(name: str) -> None:
    claim = PRODUCTS[name]
    spots = (100.0, 99.9, 100.1)
    shifted = [claim]
    for shift in ((0.0, 0.0, 1e-3), (1e-3, 0.0, 0.0), (0.0, 1e-3, 0.0)):
        for sign in (1.0, -1.0):
            segments = tuple(
                (end, *(np.array(rest) + sign * np.array(shift))) for end, *rest in claim.segments
            )
            shifted.append(replace(claim, segments=segments))
    got = priced(shifted, spots, 1e-7)
    own = priced([claim], spots, greeks=True)[:, 0, 0]
    price = got[PRICE]
    assert own[DELTA] == pytest.approx((price[0, 2] - price[0, 1]) / 0.2, abs=1e-4)
    gamma = (price[0, 2] - 2.0 * price[0, 0] + price[0, 1]) / 0.01
    assert own[GAMMA] == pytest.approx(gamma, abs=1e-3)
    for row, place in ((VEGA, 1), (RHO, 3), (DIVIDEND_RHO, 5)):
        slope = (price[place, 0] - price[place + 1, 0]) / 2e-3
        assert own[row] == pytest.approx(slope, abs=1e-2)
