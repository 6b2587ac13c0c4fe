"""European baskets: published values, laws, exact limits, greeks, and what values depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer import Market, Vanilla, price
from pricer.baskets import simulate_baskets
from pricer.cells import broadcast
from pricer.compiled import kernels
from pricer.contracts import Basket, BasketMarket, Status
from pricer.dated import Correlation, Curve
from pricer.settings import MEASURES, Settings

(kernel,) = kernels("baskets")

from pricer.kernels import directions, folded  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pricer.estimates import Estimates

    Floats = NDArray[np.float64]

REFERENCE = Path(__file__).parent / "reference" / "multi_asset.json"
WORDS = {
    "MinBasket": "worst_of", "MaxBasket": "best_of", "SpreadBasket": "spread",
    "WeightedSum": "weighted",
}  # fmt: skip
KIRK = 1.2e-3  # what Kirk's approximation is off by, at most, in the cases that have nothing better
DIGITS = (
    2e-4  # what the best-of cases of three assets, with more digits than published, are good to
)
TIGHT = Settings(tolerance=1e-12, measures=MEASURES, paths=2**17)
THREE: Any = BasketMarket(
    (90.0, 100.0, 110.0), (0.2, 0.3, 0.4), 0.04, Correlation((0.3, -0.2, 0.5)), (0.01, 0, 0.03)
)
TWINS: Any = replace(THREE, correlation=Correlation((1.0, 0.3, 0.3)))
TWO: Any = BasketMarket((100.0, 95.0), (0.3, 0.2), 0.05, 0.4, (0.02, 0.01))
CONTRACTS: dict[str, tuple[Any, Any]] = {
    "weighted": (Basket("call", 105, 1.5, weights=(0.3, 0.3, 0.4)), THREE),
    "weighted put": (Basket("put", 80, 1.5, weights=(0.3, 0.3, 0.4)), THREE),
    "long and short": (Basket("put", 20, 1.5, weights=(2, -1, -0.5)), THREE),
    "spread": (Basket("call", 5, 1.5, "spread"), TWO),
    "best": (Basket("call", 100, 1.5, "best_of"), THREE),
    "best put": (Basket("put", 110, 1.5, "best_of"), THREE),
    "worst": (Basket("call", 80, 1.5, "worst_of"), THREE),
    "worst put": (Basket("put", 80, 1.5, "worst_of"), THREE),
    "twins": (Basket("call", 5, 1.5, "spread"), replace(TWO, correlation=1.0)),
    "twins, and a third": (Basket("call", 50, 1.5, weights=(1, -1, 0.5)), TWINS),
    "twins, and hardly a third": (Basket("call", 5, 1.5, weights=(1, -1, 0.02)), TWINS),
    "triplets": (
        Basket("call", 10, 1.5, weights=(1, 0.5, -1.2)),
        replace(THREE, vols=(0.3, 0.3, 0.2), correlation=1.0),
    ),
    "two that are opposed": (Basket("put", 100, 1.5), replace(TWO, correlation=-1.0)),
}  # fmt: skip


def simulated(contract: Basket, market: BasketMarket, settings: Settings = TIGHT) -> Estimates:
    cells, _ = broadcast(contract, market)
    return simulate_baskets(cells, settings)


def estimate(contract: Basket, market: BasketMarket, settings: Settings = TIGHT) -> Any:
    """Return price and greeks of one cell, and their standard errors, both of shape (7,)."""
    found = simulated(contract, market, settings)
    return found.values[:, 0], found.standard_errors[:, 0]


def vanilla(
    spot: float, strike: float, vol: float, rate: float, dividend: float, **rest: Any
) -> Any:
    """Return price and greeks of European options by the closed form, shape (7,)."""
    given: dict[str, Any] = {"right": "call", "expiry": 1.5} | rest
    found = price(Vanilla(strike=strike, **given), Market(spot, vol, rate, dividend))
    return np.array([getattr(found, name) for name in MEASURES])


@cache
def cases() -> tuple[dict[str, Any], ...]:
    every = json.loads(REFERENCE.read_text(encoding="utf-8"))["cases"]
    return tuple(
        case
        for case in every
        if case["kind"] in ("basket", "exchange") and case["exercise"] == "european"
    )


def contract_of(case: dict[str, Any]) -> tuple[Any, Any]:
    on_futures = "method" in case
    yields = [case["rate"]] * len(case["spots"]) if on_futures else case["dividends"]
    correlation: Any = case.get("correlation_matrix", case.get("correlation"))
    word = "spread" if case["kind"] == "exchange" else WORDS[case["basket_type"]]
    right, strike, weights = case["right"], case["strike"], case.get("weights")
    if strike < 0 and weights:
        # What is paid beyond a strike below 0 is the opposite of what is held beyond its opposite.
        right, strike = {"call": "put", "put": "call"}[right], -strike
        weights = [-w for w in weights]
    asset = 2 if case.get("greek", "").endswith("2") else 1
    return (
        Basket(right, strike, case["expiry_years"], word, weights, greek_asset=asset),
        BasketMarket(case["spots"], case["vols"], case["rate"], correlation, yields),
    )


def slack(case: dict[str, Any]) -> float:
    if "high_precision" in case:
        return DIGITS
    return KIRK if "method" in case else float(case["tolerance"])


@pytest.mark.parametrize(
    "settings", [Settings(measures=("price",)), replace(TIGHT, measures=("price",))]
)
def test_values_agree_with_published_ones(settings: Settings) -> None:
    wrong = []
    for case in cases():
        if "greek" in case:
            continue
        value, error = estimate(*contract_of(case), settings)
        expected = case.get("high_precision", case["expected"])
        if not abs(value[0] - expected) <= 4 * error[0] + slack(case):
            wrong.append(f"{case['id']}: {value[0]} +- {error[0]}, expected {expected}")
    assert not wrong


def test_greeks_of_exchange_options_agree_with_published_ones() -> None:
    greeks = [case for case in cases() if "greek" in case]
    for case in greeks:
        value, error = estimate(*contract_of(case))
        row = MEASURES.index(case["greek"].rstrip("12"))
        assert abs(value[row] - case["expected"]) <= 4 * error[row] + case["tolerance"], case["id"]
    assert len(greeks) == 30


def test_an_exchange_option_is_margrabe_s() -> None:
    # W. Margrabe, J. Finance 33(1) (1978): a call on the ratio, of its own vol.
    (s1, s2), (v1, v2), rho = TWO.spots, TWO.vols, TWO.correlation
    q1, q2 = TWO.dividend_yields
    vol = np.sqrt(v1 * v1 + v2 * v2 - 2 * rho * v1 * v2)
    exact = vanilla(s1, s2, vol, q2, q1)
    value, error = estimate(Basket("call", 0.0, 1.5, "spread"), TWO)
    assert error[0] < 1e-6
    for row in ("price", "delta", "gamma", "dividend_rho"):
        i = MEASURES.index(row)
        assert abs(value[i] - exact[i]) <= 4 * error[i] + 1e-9, row
    vega = exact[3] * (v1 - rho * v2) / vol
    assert abs(value[3] - vega) <= 4 * error[3] + 1e-9
    assert abs(value[MEASURES.index("rho")]) < 1e-12
    assert abs(value[4] - exact[4]) <= 4 * error[4] + 1e-9


def test_one_asset_is_black_scholes() -> None:
    for right in ("call", "put"):
        exact = vanilla(100.0, 105.0, 0.3, 0.05, 0.02, right=right)
        market = BasketMarket([100.0], [0.3], 0.05, 0.0, [0.02])
        for word in ("weighted", "spread", "best_of", "worst_of"):
            value, error = estimate(Basket(right, 105.0, 1.5, word), market)
            assert value == pytest.approx(exact, rel=1e-12, abs=1e-12), word
            assert error == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", ["weighted", "long and short", "spread", "twins, and a third"])
def test_calls_less_puts_are_forwards(name: str) -> None:
    contract, market = CONTRACTS[name]
    call, _ = estimate(replace(contract, right="call"), market)
    put, _ = estimate(replace(contract, right="put"), market)
    weights = contract.weights or (1, -1)
    worth = np.array(weights) * market.spots * np.exp(-np.array(market.dividend_yields) * 1.5)
    cash = contract.strike * np.exp(-market.rate * 1.5)
    forward = [
        worth.sum() - cash, worth[0] / market.spots[0], 0.0, 0.0,
        worth @ market.dividend_yields - market.rate * cash, 1.5 * cash, -1.5 * worth[0],
    ]  # fmt: skip
    assert call - put == pytest.approx(forward, abs=1e-10)


def test_the_best_and_the_worst_of_two_are_both() -> None:
    each = [
        vanilla(s, 98.0, v, TWO.rate, q)
        for s, v, q in zip(TWO.spots, TWO.vols, TWO.dividend_yields, strict=True)
    ]
    best, best_error = estimate(Basket("call", 98.0, 1.5, "best_of"), TWO)
    worst, worst_error = estimate(Basket("call", 98.0, 1.5, "worst_of"), TWO)
    common = [name in ("price", "theta", "rho") for name in MEASURES]
    both = np.where(common, each[0] + each[1], each[0])
    assert (abs(best + worst - both) <= 4 * (best_error + worst_error) + 1e-9).all()
    assert best_error[0] < 1e-4


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("asset", [1, 2])
def test_greeks_are_the_derivatives(name: str, asset: int) -> None:
    contract, market = CONTRACTS[name]
    contract = replace(contract, greek_asset=asset)
    settings = replace(TIGHT, paths=2**15)
    value, error = estimate(contract, market, settings)

    def moved(what: str, by: float) -> Any:
        if what == "expiry":
            return estimate(replace(contract, expiry=contract.expiry + by), market, settings)[0]
        if what == "rate":
            return estimate(contract, replace(market, rate=market.rate + by), settings)[0]
        numbers = list(getattr(market, what))
        numbers[asset - 1] += by
        return estimate(contract, replace(market, **{what: tuple(numbers)}), settings)[0]

    bumps = {
        "delta": ("spots", 0.05, 0, 1), "gamma": ("spots", 0.05, 1, 1),
        "vega": ("vols", 1e-3, 0, 1), "theta": ("expiry", 1e-3, 0, -1), "rho": ("rate", 1e-4, 0, 1),
        "dividend_rho": ("dividend_yields", 1e-4, 0, 1),
    }  # fmt: skip
    for greek, (what, by, row, sign) in bumps.items():
        slope = sign * (moved(what, by)[row] - moved(what, -by)[row]) / (2 * by)
        i = MEASURES.index(greek)
        noise = 4 * error[i] + 4 * np.sqrt(2) * error[row] / (2 * by) * 0.05
        assert abs(value[i] - slope) <= noise + 2e-5 * abs(slope) + 1e-7, greek


def quadrature(payoff: Any, vols: Floats, rate: float, spots: Floats, yields: Floats) -> float:
    """Return what a payoff of assets that one factor moves is worth, expiry 1.5."""
    z = np.linspace(-9.0, 9.0, 400_001)
    drift = (rate - yields - 0.5 * vols * vols) * 1.5
    assets = spots[:, None] * np.exp(drift[:, None] + np.sqrt(1.5) * vols[:, None] * z)
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return float(np.exp(-1.5 * rate) * np.sum(payoff(assets) * density) * (z[1] - z[0]))


@pytest.mark.parametrize("correlation", [1.0, -1.0])
def test_what_one_factor_moves_is_an_integral(correlation: float) -> None:
    market = replace(TWO, correlation=correlation)
    spots, yields = np.array(TWO.spots), np.array(TWO.dividend_yields)
    vols = np.array(TWO.vols) * (1.0, correlation)
    payoffs = {
        "weighted": lambda s: np.maximum(s.mean(axis=0) - 96.0, 0.0),
        "spread": lambda s: np.maximum(s[0] - s[1] - 96.0, 0.0),
        "best_of": lambda s: np.maximum(s.max(axis=0) - 96.0, 0.0),
        "worst_of": lambda s: np.maximum(s.min(axis=0) - 96.0, 0.0),
    }
    for word, payoff in payoffs.items():
        value, error = estimate(Basket("call", 96.0, 1.5, word), market)
        exact = quadrature(payoff, vols, TWO.rate, spots, yields)
        assert value[0] == pytest.approx(exact, abs=2e-7), word
        assert error[0] < 1e-13


def test_holdings_of_either_sign_that_one_factor_moves_are_an_integral() -> None:
    # Two of the three have one vol, so that the payoff has a term less than assets.
    contract, market = CONTRACTS["triplets"]
    value, error = estimate(contract, market)
    weights, vols, spots, yields = map(
        np.array, (contract.weights, market.vols, market.spots, market.dividend_yields)
    )
    exact = quadrature(
        lambda s: np.maximum(weights @ s - contract.strike, 0.0), vols, market.rate, spots, yields
    )
    assert value[0] == pytest.approx(exact, abs=2e-7)
    assert error[0] < 1e-13


def test_nearly_perfect_correlation_is_nearly_the_limit() -> None:
    for correlation in (1.0, -1.0):
        for word in ("weighted", "spread", "best_of", "worst_of"):
            contract = Basket("call", 40.0, 1.5, word)
            limit, _ = estimate(contract, replace(TWO, correlation=correlation))
            near, error = estimate(contract, replace(TWO, correlation=correlation * (1 - 1e-9)))
            assert abs(near[0] - limit[0]) <= 4 * error[0] + 1e-3, (word, correlation)


def test_values_depend_on_their_own_cell_alone() -> None:
    strikes = np.array([80.0, 90.0, 100.0, 110.0, 120.0])
    words = ["weighted", "best_of", "worst_of", "spread", "weighted"]
    settings = Settings(measures=MEASURES)
    cells, _ = broadcast(Basket("call", strikes, 1.5, words), TWO)
    together = simulate_baskets(cells, settings)
    backwards = simulate_baskets(cells[::-1], settings)
    assert len(set(together.paths.tolist())) > 1
    for i in range(len(cells)):
        alone = simulate_baskets(cells[i : i + 1], settings)
        for name in ("values", "standard_errors", "error", "paths", "status"):
            expected = getattr(alone, name)[..., 0].tobytes()
            assert getattr(together, name)[..., i].tobytes() == expected
            assert getattr(backwards, name)[..., -1 - i].tobytes() == expected


def test_prices_do_not_depend_on_the_measures_asked() -> None:
    for name, (contract, market) in CONTRACTS.items():
        alone, alone_error = estimate(contract, market, Settings(measures=("price",)))
        every, every_error = estimate(contract, market, Settings(measures=MEASURES))
        assert alone[0] == every[0], name
        assert alone_error[0] == every_error[0], name
        assert np.isnan(alone[1:]).all()
        assert np.isfinite(every).all()


def test_errors_cover_in_ninety_nine_of_a_hundred() -> None:
    contract, market = CONTRACTS["best put"]
    truth, _ = estimate(contract, market, replace(TIGHT, paths=2**20))
    loose = Settings(tolerance=1.0, measures=("price",))
    outside = 0
    for seed in range(400):
        found = simulated(contract, market, replace(loose, seed=seed))
        outside += abs(found.values[0, 0] - truth[0]) > found.error[0]
    # 4 are expected; 14 or more come once in 20,000 times.
    assert outside < 14


def test_another_seed_moves_values_within_their_errors() -> None:
    for name, (contract, market) in CONTRACTS.items():
        settings = Settings(measures=("price",), seed=7)
        one, one_error = estimate(contract, market, settings)
        other, other_error = estimate(contract, market, replace(settings, seed=8))
        assert abs(one[0] - other[0]) <= 4 * np.hypot(one_error[0], other_error[0]) + 1e-10, name
        if one_error[0] > 1e-10:
            assert one[0] != other[0]


def test_independent_random_numbers_give_the_same_with_wider_errors() -> None:
    for name in ("weighted", "best", "long and short"):
        points, narrow = estimate(*CONTRACTS[name])
        independent, wide = estimate(*CONTRACTS[name], replace(TIGHT, sampling="pseudo"))
        assert (abs(points - independent) <= 4 * np.hypot(narrow, wide) + 1e-9).all(), name
        assert wide[0] > narrow[0]


def test_paths_are_added_until_the_error_is_tolerated_or_the_budget_spent() -> None:
    contract, market = CONTRACTS["best"]
    settings = Settings(measures=("price",))
    found = [simulated(contract, market, replace(settings, tolerance=t)) for t in (1e-3, 1e-5)]
    assert found[0].paths[0] < found[1].paths[0] < settings.paths
    for one, tolerance in zip(found, (1e-3, 1e-5), strict=True):
        assert one.status[0] == Status.ok
        assert one.error[0] <= tolerance * 110.0
    short = simulated(contract, market, replace(settings, tolerance=1e-9, paths=2**14))
    assert short.status[0] == Status.tolerance
    assert short.paths[0] == 2**14
    assert short.error[0] > 1e-9 * 110.0


def test_a_curve_of_rates_is_its_average_but_for_theta() -> None:
    curve = Curve((0.5, 1.5), (0.02, 0.05))
    contract, market = CONTRACTS["weighted"]
    value, _ = estimate(contract, replace(market, rate=curve))
    flat, _ = estimate(contract, replace(market, rate=0.04))
    same = [name != "theta" for name in MEASURES]
    assert value[same] == pytest.approx(flat[same], rel=1e-12)
    # Time that passes now takes away the rate of now.
    later, _ = estimate(
        replace(contract, expiry=1.5 - 1e-4),
        replace(market, rate=Curve((0.5 - 1e-4, 1.5), (0.02, 0.05))),
    )
    assert value[4] == pytest.approx((later[0] - value[0]) / 1e-4, rel=1e-3)


@pytest.mark.parametrize("word", ["weighted", "spread", "best_of", "worst_of"])
@pytest.mark.parametrize("right", ["call", "put"])
def test_what_is_not_random_is_the_payoff(word: str, right: str) -> None:
    on = {"weighted": 97.5, "spread": 5.0, "best_of": 100.0, "worst_of": 95.0}[word]
    for strike in (0.0, 3.0, 96.0, 120.0):
        payoff = max(on - strike if right == "call" else strike - on, 0.0)
        contract = Basket(right, strike, 0.0, word)
        value, error = estimate(contract, TWO)
        assert value[0] == pytest.approx(payoff, abs=1e-12)
        assert np.isfinite(value).all()
        still = replace(TWO, vols=(0.0, 0.0), rate=0.0, dividend_yields=(0.0, 0.0))
        value, error = estimate(replace(contract, expiry=1.5), still)
        assert value[0] == pytest.approx(payoff, abs=1e-12)
        assert error[0] == 0.0


def test_an_asset_without_spot_leaves_the_other() -> None:
    lost = replace(TWO, spots=(100.0, 0.0))
    alone = vanilla(100.0, 96.0, 0.3, 0.05, 0.02)
    for word in ("spread", "best_of"):
        value, _ = estimate(Basket("call", 96.0, 1.5, word), lost)
        assert value == pytest.approx(alone, rel=1e-9)
    value, _ = estimate(Basket("put", 96.0, 1.5, "worst_of"), lost)
    assert value[0] == pytest.approx(96.0 * np.exp(-0.075), rel=1e-12)


def test_the_best_of_what_is_owed_is_not_supported() -> None:
    found = simulated(Basket("call", 96.0, 1.5, "best_of", weights=(1.0, -1.0)), TWO)
    assert found.status.tolist() == [Status.unsupported]
    assert np.isnan(found.values).all()


def test_forty_assets_are_as_good() -> None:
    n = 40
    market = BasketMarket((100.0,) * n, (0.3,) * n, 0.05, 1.0)
    one = vanilla(100.0, 100.0, 0.3, 0.05, 0.0)
    value, _ = estimate(Basket("call", 100.0, 1.5), market)
    assert value[0] == pytest.approx(one[0], rel=1e-10)
    value, error = estimate(
        Basket("call", 100.0, 1.5), replace(market, correlation=0.5), Settings(measures=("price",))
    )
    assert 0.0 < error[0] < 1e-3
    # Between an average without noise of its own and one asset.
    assert 0.6 * one[0] < value[0] < one[0]


def test_a_symmetric_matrix_is_its_eigenvectors_and_values() -> None:
    rng = np.random.default_rng(5)
    for n in (1, 2, 5, 12):
        half = rng.normal(size=(n, n))
        matrix = half @ half.T
        values, vectors = matrix.copy(), np.empty((n, n))
        directions.eigen(values, vectors)
        diagonal = np.diag(values)
        assert vectors * diagonal @ vectors.T == pytest.approx(matrix, abs=1e-12 * n * n)
        assert vectors.T @ vectors == pytest.approx(np.eye(n), abs=1e-13)
        assert (np.diff(diagonal) <= 0).all()


def test_factors_multiply_to_the_correlation() -> None:
    singular = np.array([[1.0, 1.0, 0.3], [1.0, 1.0, 0.3], [0.3, 0.3, 1.0]])
    for matrix in (singular, np.eye(3), np.ones((3, 3)), 0.5 + 0.5 * np.eye(3)):
        rows = np.empty((1, 3, 3))
        kernel.factors_of(matrix[None], rows)
        assert rows[0] @ rows[0].T == pytest.approx(matrix, abs=1e-14)


def test_every_change_of_sign_of_a_sum_of_exponentials_is_found() -> None:
    slopes = np.array([-0.5, 0.0, 0.4, 1.0])
    for places in ((-2.0, 0.5, 3.0), (1.0, 1.1, 1.2), (-1.0, 0.0, 2.0)):
        # Coefficients of the sum that vanishes at these places.
        powers = np.exp(np.outer(places, slopes))
        terms = np.append(np.linalg.solve(powers[:, :3], -powers[:, 3]), 1.0)
        found = np.empty(5)
        count = folded.roots(terms, slopes, np.empty(4), found)
        assert found[:count] == pytest.approx(places, abs=1e-8)
    assert folded.roots(np.ones(4), slopes, np.empty(4), np.empty(5)) == 0
