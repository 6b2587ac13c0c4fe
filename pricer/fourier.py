"""Fourier series of European options where the spot follows Heston's or Merton's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cells import NO_TABLE
from .compiled import for_kernels, kernels
from .contracts import MODELS, TYPES, WORDS
from .dated import Curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

# The models as the kernel numbers them, and their parameters in its order.
_PARAMETERS = {
    "heston": (
        "initial_variance", "mean_reversion", "long_variance", "vol_of_variance",
        "variance_correlation",
    ),
    "merton": ("vol", "jump_intensity", "jump_mean", "jump_vol"),
}  # fmt: skip
# What is paid as the kernel numbers it, by the word for it.
_KINDS = {"vanilla": 0, "cash_or_nothing": 1, "asset_or_nothing": 2}


def has_series(cells: Cells) -> Booleans:
    """Tell which valid cells have one: European vanillas and digitals of these models, shape (n,).

    Of curves only those of rate and yield may be among their inputs, and no dividends.
    """
    payoff = cells.payoff
    paid = np.isin(payoff, [WORDS["payoff"][word] for word in _KINDS])
    where: Booleans = (cells.model != 0) & (cells.exercise == 0) & paid
    where &= (cells.type == TYPES["vanilla"]) | (cells.type == TYPES["digital"])
    where &= (cells.cash_dividends == NO_TABLE) & (cells.proportional_dividends == NO_TABLE)
    where &= cells.vol_curve == NO_TABLE
    return where & (cells.spot > 0.0) & (cells.strike > 0.0) & (cells.expiry > 0.0)


def series(cells: Cells) -> Floats:
    """Return price, greeks and error of n cells that have a series, shape (8, n)."""
    (fourier,) = kernels("fourier")
    n = len(cells)
    model, five = np.zeros(n, np.int8), np.zeros((5, n))
    for code, (name, parameters) in enumerate(_PARAMETERS.items()):
        here = cells.model == tuple(MODELS).index(name)
        model[here] = code
        for row, parameter in enumerate(parameters):
            five[row, here] = getattr(cells, parameter)[here]
    kind = np.zeros(n, np.int8)
    for word, code in _KINDS.items():
        kind[cells.payoff == WORDS["payoff"][word]] = code
    averages = [_average(cells, name) for name in ("rate", "dividend_yield")]
    out = np.empty((8, n))
    given = (cells.spot, cells.strike, cells.expiry, *averages)
    fourier.closed_form(model, kind, *(for_kernels(a) for a in (cells.right, *given)), five, out)
    out *= np.where(kind == _KINDS["cash_or_nothing"], cells.cash, 1.0)
    # Time takes the first rate and yield of curves away, not their average.
    for name, average, slope in zip(("rate", "dividend_yield"), averages, out[5:7], strict=True):
        out[4] += (average - _first(cells, name)) * slope / cells.expiry
    return out


def _average(cells: Cells, name: str) -> Floats:
    """Return the mean of a rate or yield until each cell's expiry, shape (n,)."""
    average: Floats = np.array(getattr(cells, name), np.float64)
    places = getattr(cells, f"{name}_curve")
    for i in np.flatnonzero(places != NO_TABLE).tolist():
        curve, expiry = cells.tables[places[i]], float(cells.expiry[i])
        assert isinstance(curve, Curve)
        ends = np.minimum([*curve.times[:-1], np.inf], expiry)
        average[i] = float((np.diff(ends, prepend=0.0) * curve.values).sum()) / expiry
    return average


def _first(cells: Cells, name: str) -> Floats:
    """Return what a rate or yield is now, shape (n,)."""
    first: Floats = np.array(getattr(cells, name), np.float64)
    places = getattr(cells, f"{name}_curve")
    for i in np.flatnonzero(places != NO_TABLE).tolist():
        curve = cells.tables[places[i]]
        assert isinstance(curve, Curve)
        first[i] = curve.values[0]
    return first
