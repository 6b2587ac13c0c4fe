"""Which cells have a closed form beside vanillas and barriers, and that words come to numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer.cells import Cells, broadcast
from pricer.closedforms import closed_forms, exact
from pricer.contracts import (
    Asian,
    Basket,
    BasketMarket,
    ForwardStart,
    Lookback,
    Market,
    Merton,
    Vanilla,
)
from pricer.dated import Correlation, Curve, Dates, Dividends, Fixings, Vector

if TYPE_CHECKING:
    from pricer.contracts import AnyMarket, Contract

MARKET = Market(100.0, 0.2, 0.06, 0.03)
FIXINGS = Fixings([0.1, 0.4, 0.7, 1.0])
TWO = BasketMarket(
    Vector([100.0, 95.0]), Vector([0.2, 0.3]), 0.05, Correlation(0.4), Vector([0.01, 0.03])
)
MEAN = Asian("call", 1.0, 100.0, average="geometric", fixing_dates=FIXINGS)
FLOATING_MEAN = Asian(
    "put", 1.0, average="geometric", strike_type="floating", fixing_dates=FIXINGS,
    past_fixings=2, running_average=104.0,
)  # fmt: skip
CONTINUOUS_MEAN = Asian("call", 1.0, 99.0, average="geometric", averaging_start=0.25)
SEASONED_MEAN = Asian("call", 1.0, 99.0, average="geometric", elapsed=0.5, running_average=97.0)
FORWARD_START = ForwardStart("call", 1.0, 0.25, 1.1)
CALL_ON_LOW = Lookback("call", 1.0, strike_type="floating", running_extremum=92.0)
CALL_ON_HIGH = Lookback("call", 1.0, 105.0, lookback_start=0.25)
EXCHANGE = Basket("call", 0.0, 1.0, "spread")
CLOSED: list[tuple[Contract, AnyMarket]] = [
    (MEAN, MARKET),
    (FLOATING_MEAN, MARKET),
    (CONTINUOUS_MEAN, MARKET),
    (SEASONED_MEAN, MARKET),
    (MEAN, Market(100.0, Curve([0.5, 1.0], [0.2, 0.3]), Curve([0.3, 1.0], [0.06, 0.02]))),
    (Asian("call", 1.0, 100.0, fixing_dates=Fixings([0.5])), MARKET),
    (FORWARD_START, MARKET),
    (FORWARD_START, Market(100.0, Curve([0.5, 1.0], [0.2, 0.3]), 0.06)),
    (CALL_ON_LOW, MARKET),
    (CALL_ON_HIGH, MARKET),
    (Lookback("put", 1.0, strike_type="floating", lookback_start=0.5), MARKET),
    (Lookback("put", 1.0, strike_type="floating", lookback_end=0.5, participation=0.9), MARKET),
    (EXCHANGE, TWO),
    (Basket("put", 0.0, 1.0, "weighted", Vector([-2.0, 1.0]), greek_asset=2), TWO),
]
NOT_CLOSED: list[tuple[Contract, AnyMarket]] = [
    (Vanilla("call", 100.0, 1.0), MARKET),
    (Asian("call", 1.0, 100.0, fixing_dates=FIXINGS), MARKET),
    (Asian("call", 1.0, 100.0), MARKET),
    (MEAN, Market(100.0, 0.2, 0.06, cash_dividends=Dividends([0.5], [1.0]))),
    (MEAN, Market(100.0, 0.2, 0.06, proportional_dividends=Dividends([0.5], [0.01]))),
    (MEAN, Market(100.0, 0.2, 0.06, model=Merton(0.5, -0.1, 0.2))),
    (CALL_ON_LOW, Market(100.0, Curve([0.5, 1.0], [0.2, 0.3]), 0.06)),
    (Lookback("call", 1.0, 100.0, monitoring_dates=Dates([0.5, 1.0])), MARKET),
    (
        Lookback("call", 1.0, strike_type="floating", running_extremum=92.0, lookback_start=0.5),
        MARKET,
    ),
    (Basket("call", 5.0, 1.0, "spread"), TWO),
    (Basket("call", 0.0, 1.0, "weighted"), TWO),
    (Basket("call", 0.0, 1.0, "best_of"), TWO),
    (Basket("call", 0.0, 1.0, "spread", exercise="american"), TWO),
    (
        Basket("call", 0.0, 1.0, "spread"),
        BasketMarket(Vector([1.0] * 3), Vector([0.2] * 3), 0.05, Correlation(0.5)),
    ),
]


def priced(contract: Contract, market: AnyMarket) -> Any:
    return closed_forms(broadcast(contract, market)[0])


@pytest.mark.parametrize("place", range(len(CLOSED)))
def test_closed_forms_give_every_measure_and_a_rounding_error(place: int) -> None:
    cells, _ = broadcast(*CLOSED[place])
    assert exact(cells).tolist() == [True]
    out = closed_forms(cells)
    assert out.shape == (8, 1)
    assert np.isfinite(out).all()
    assert 0.0 < out[7, 0] < 1e-11
    assert out[0, 0] > 1.0


@pytest.mark.parametrize("place", range(len(NOT_CLOSED)))
def test_what_has_none_is_left_out(place: int) -> None:
    cells, _ = broadcast(*NOT_CLOSED[place])
    assert not exact(cells).any()
    assert np.isnan(closed_forms(cells)).all()


def test_cells_of_every_type_may_be_mixed() -> None:
    parts = [broadcast(*pair)[0] for pair in (CLOSED[1], CLOSED[8], NOT_CLOSED[0], CLOSED[6])]
    names = {name for part in parts for name in part.columns}
    tables = tuple({table for part in parts for table in part.tables})
    columns: dict[str, Any] = {}
    for name in names:
        columns[name] = np.concatenate([_column(part, name, tables) for part in parts])
    mixed = Cells(columns, tables)
    assert exact(mixed).tolist() == [True, True, False, True]
    out = closed_forms(mixed)
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(out[:, i : i + 1], closed_forms(part))


def _column(part: Cells, name: str, tables: tuple[Any, ...]) -> Any:
    column = getattr(part, name)
    if column.dtype != np.int32:
        return column
    return np.array([-1 if p < 0 else tables.index(part.tables[p]) for p in column], np.int32)


def test_a_value_does_not_depend_on_its_company() -> None:
    spots = np.linspace(80.0, 120.0, 37)
    together = priced(MEAN, Market(spots, 0.2, 0.06, 0.03))
    for i in (0, 7, 8, 36):
        alone = priced(MEAN, Market(spots[i], 0.2, 0.06, 0.03))
        np.testing.assert_array_equal(together[:, i : i + 1], alone)


def test_one_fixing_is_its_own_mean() -> None:
    fixing = Fixings([0.5])
    for kind in ("fixed", "floating"):
        strike = 100.0 if kind == "fixed" else None
        one, other = (
            priced(Asian("call", 1.0, strike, average, kind, fixing), MARKET)
            for average in ("arithmetic", "geometric")
        )
        np.testing.assert_array_equal(one, other)


def test_a_window_that_ends_at_expiry_but_for_rounding_ends_at_expiry() -> None:
    exactly = priced(Lookback("call", 0.3, 100.0, lookback_end=0.3), MARKET)
    nearly = priced(Lookback("call", 0.1 * 3, 100.0, lookback_end=0.3), MARKET)
    np.testing.assert_allclose(exactly, nearly, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(exactly, priced(Lookback("call", 0.3, 100.0), MARKET))


def test_greeks_of_an_exchange_are_by_the_asset_asked_for() -> None:
    step = 1e-3
    for number in (1, 2):
        for right in ("call", "put"):
            claim = Basket(right, 0.0, 1.0, "spread", Vector([2.0, -1.5]), greek_asset=number)
            moved = []
            for by in (step, -step):
                spots = [100.0, 95.0]
                spots[number - 1] += by
                market = BasketMarket(
                    Vector(spots), TWO.vols, TWO.rate, TWO.correlation, TWO.dividend_yields
                )
                moved.append(priced(claim, market)[:2, 0])
            got = priced(claim, TWO)[:, 0]
            slopes = (moved[0] - moved[1]) / (2 * step)
            assert got[1:3] == pytest.approx(slopes, abs=1e-7)
    one, two = (
        priced(Basket("call", 0.0, 1.0, "spread", greek_asset=k), TWO)[:, 0] for k in (1, 2)
    )
    # Spots and yields move the price in proportion.
    assert one[0] == pytest.approx(100 * one[1] + 95 * two[1], rel=1e-13)
    assert one[6] == pytest.approx(-100 * one[1], rel=1e-13)


def test_a_matrix_is_its_one_correlation() -> None:
    matrix = BasketMarket(
        TWO.spots, TWO.vols, TWO.rate, Correlation([[1.0, 0.4], [0.4, 1.0]]), TWO.dividend_yields
    )
    np.testing.assert_array_equal(priced(EXCHANGE, TWO), priced(EXCHANGE, matrix))
