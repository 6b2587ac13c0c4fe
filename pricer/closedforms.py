"""Closed forms of what is neither vanilla nor barrier: means, lookbacks, forward starts, exchanges.

They hold for European claims in a Black-Scholes world without dividends in cash or in fractions of
the spot. Geometric means and forward starts take any curves.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import CURVE_COLUMNS, NO_TABLE
from .compiled import kernels
from .contracts import WORDS
from .dated import Correlation, Curve, Fixings, Vector
from .settings import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .cells import Cells
    from .dated import Table

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    Indices = NDArray[np.int64]

ROWS = len(MEASURES) + 1  # and the error
SAME = 1e-9  # relative difference of times that are one


def exact(cells: Cells) -> Booleans:
    """Tell which cells have one of these closed forms, shape (n,).

    Those are geometric Asian options (arithmetic ones of a single fixing too), forward starts,
    lookbacks watched continuously at constant vol, rate and yield, and European options to exchange
    two assets. A floating lookback must not have an extremum before its window begins.
    """
    plain = (cells.cash_dividends == NO_TABLE) & (cells.proportional_dividends == NO_TABLE)
    plain &= (cells.model == WORDS["model"]["black_scholes"]) & (cells.exercise == 0)
    found = np.zeros(len(cells), dtype=bool)
    for kind, here in cells.kinds():
        if kind in _KINDS:
            found |= here & plain & _KINDS[kind][0](cells)
    return found


def closed_forms(cells: Cells) -> Floats:
    """Price the cells that are `exact`, the others NaN.

    Returns shape (8, n): `MEASURES`, and a bound of the rounding error.
    """
    out = np.full((ROWS, len(cells)), np.nan)
    where = exact(cells)
    for kind, here in cells.kinds():
        if kind in _KINDS and (chosen := here & where).any():
            out[:, chosen] = _KINDS[kind][1](cells[chosen])
    return out


def _geometric(cells: Cells) -> Booleans:
    single = cells.of_tables("fixing_dates", _count) + cells.past_fixings == 1
    mean: Booleans = (cells.average == WORDS["average"]["geometric"]) | single
    return mean


def _watched_always(cells: Cells) -> Booleans:
    """Tell which lookbacks are watched continuously at constant vol, rate and yield."""
    where: Booleans = cells.monitoring_dates == NO_TABLE
    for name in CURVE_COLUMNS:
        where = where & (getattr(cells, name) == NO_TABLE)
    floating = cells.strike_type == WORDS["strike_type"]["floating"]
    unknown = np.isnan(cells.running_extremum) | (cells.lookback_start == 0)
    known: Booleans = where & (unknown | ~floating)
    return known


def is_exchange(cells: Cells) -> Booleans:
    """Tell which baskets are exchanges: two assets, weights of both signs, strike 0."""
    kinds = WORDS["basket_type"]
    sums = np.isin(cells.basket_type, (kinds["weighted"], kinds["spread"]))
    one, other = weights_of(cells)
    exchange: Booleans = sums & (cells.assets() == 2) & (cells.strike == 0) & (one * other < 0)
    return exchange


def _asians(cells: Cells) -> Floats:
    discrete = cells.fixing_dates != NO_TABLE
    return _means(
        cells,
        floating=cells.strike_type == WORDS["strike_type"]["floating"],
        scale=np.ones(len(cells)),
        dates=cells.fixing_dates,
        start=cells.averaging_start,
        stop=cells.expiry,
        past=np.where(discrete, cells.past_fixings, cells.elapsed),
    )


def _forward_starts(cells: Cells) -> Floats:
    return _means(
        cells,
        floating=np.ones(len(cells), dtype=bool),
        scale=cells.moneyness,
        dates=np.full(len(cells), NO_TABLE),
        start=cells.start,
        stop=cells.start,
        past=np.zeros(len(cells)),
    )


def _means(
    cells: Cells,
    *,
    floating: Booleans,
    scale: Floats,
    dates: NDArray[Any],
    start: Floats,
    stop: Floats,
    past: Floats,
) -> Floats:
    """Price claims on geometric means, as `kernels.lognormal.Means` describes them."""
    (lognormal,) = kernels("lognormal")
    offsets = np.cumsum([0, *map(_count, cells.tables)])
    times, values = np.zeros(int(offsets[-1])), np.zeros(int(offsets[-1]))
    for table, at, end in zip(cells.tables, offsets[:-1], offsets[1:], strict=True):
        if isinstance(table, Curve | Fixings):
            times[at:end] = table.times
        if isinstance(table, Curve):
            values[at:end] = table.values
    means = lognormal.Means(
        theta=_numbers(cells.right, np.int8),
        floating=_numbers(floating, np.int8),
        strike=_numbers(cells.strike),
        scale=_numbers(scale),
        expiry=_numbers(cells.expiry),
        dates=_numbers(dates, np.int64),
        start=_numbers(start),
        stop=_numbers(stop),
        past=_numbers(past),
        running=_numbers(cells.running_average),
    )
    world = lognormal.World(
        *(_numbers(getattr(cells, n)) for n in ("spot", "vol", "rate", "dividend_yield")),
        *(_numbers(getattr(cells, name), np.int64) for name in CURVE_COLUMNS),
    )
    out = np.empty((ROWS, len(cells)))
    lognormal.geometric(means, world, lognormal.Steps(offsets, times, values), out)
    return out


def _lookbacks(cells: Cells) -> Floats:
    (lookback,) = kernels("lookback")
    expiry, stop = cells.expiry, cells.lookback_end
    # What ends at expiry but for rounding ends at expiry.
    stop = np.where(np.abs(stop - expiry) > SAME * expiry, stop, expiry)
    claims = lookback.Lookbacks(
        theta=_numbers(cells.right, np.int8),
        floating=_numbers(cells.strike_type, np.int8),
        strike=_numbers(cells.strike),
        participation=_numbers(cells.participation),
        expiry=_numbers(expiry),
        start=_numbers(np.minimum(cells.lookback_start, stop)),
        stop=_numbers(stop),
        running=_numbers(cells.running_extremum),
        spot=_numbers(cells.spot),
        vol=_numbers(cells.vol),
        rate=_numbers(cells.rate),
        dividend_yield=_numbers(cells.dividend_yield),
    )
    out = np.empty((ROWS, len(cells)))
    lookback.closed_form(claims, out)
    return out


def _baskets(cells: Cells) -> Floats:
    """Price exchanges: what is received or delivered of the asset that the greeks are by is A."""
    (lognormal,) = kernels("lognormal")
    second = cells.greek_asset == 2
    pairs = [pair(cells, name) for name in ("spots", "vols", "dividend_yields")] + [
        weights_of(cells)
    ]
    (spot, spot_b), (vol, vol_b), (dividend_yield, yield_b), (weight, weight_b) = (
        (np.where(second, b, a), np.where(second, a, b)) for a, b in pairs
    )
    claims = lognormal.Exchanges(
        theta=_numbers(cells.right * np.sign(weight), np.int8),
        spot=spot,
        shares=np.abs(weight),
        other=np.abs(weight_b) * spot_b,
        expiry=_numbers(cells.expiry),
        vol=vol,
        other_vol=vol_b,
        correlation=pair(cells, "correlation")[0],
        dividend_yield=dividend_yield,
        other_yield=yield_b,
    )
    out = np.empty((ROWS, len(cells)))
    lognormal.exchange(claims, out)
    return out


def weights_of(cells: Cells) -> tuple[Floats, Floats]:
    """Return both weights of baskets of two; by default those of a spread."""
    spread = cells.basket_type == WORDS["basket_type"]["spread"]
    given = cells.weights != NO_TABLE
    one, other = pair(cells, "weights")
    return np.where(given, one, 1.0), np.where(given, other, np.where(spread, -1.0, 1.0))


def pair(cells: Cells, name: str) -> tuple[Floats, Floats]:
    """Return the first two entries of a vector."""
    one, other = (partial(_entry, number=number) for number in (0, 1))
    return cells.of_tables(name, one), cells.of_tables(name, other)


def _entry(table: Table, number: int) -> float:
    """Return one entry of a vector or a correlation, 0 where there is none."""
    if not isinstance(table, Vector | Correlation):
        return 0.0
    entries = np.ravel(np.asarray(table.values, np.float64))
    return float(entries[number]) if number < len(entries) else 0.0


def _count(table: Table) -> int:
    return len(table.times) if isinstance(table, Curve | Fixings) else 0


def _numbers(column: NDArray[Any], kind: type = np.float64) -> NDArray[Any]:
    """Return a column as kernels take it: contiguous and writable."""
    return np.require(column, kind, ["C", "W"])


# By type of contract: which have a closed form, and what it gives.
_KINDS: dict[str, tuple[Callable[[Cells], Booleans], Callable[[Cells], Floats]]] = {
    "asian": (_geometric, _asians),
    "forward_start": (lambda cells: np.ones(len(cells), dtype=bool), _forward_starts),
    "lookback": (_watched_always, _lookbacks),
    "basket": (is_exchange, _baskets),
}
