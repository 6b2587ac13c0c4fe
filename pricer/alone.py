"""Prices of cells that share no solve: by exact formulas, Fourier series or simulation.

The value of each is a function of that cell, the seed and the settings, whatever is priced beside
it; cells that have their paths in common are quicker together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .baskets import simulate_baskets
from .claims import claims_of
from .closedforms import closed_forms, exact
from .compiled import kernels
from .contracts import TYPES, Status
from .early import early
from .exchanges import exercised_exchanges
from .fourier import has_series, series
from .prices import Prices
from .settings import BOUNDS, MEASURES, METHODS, STATISTICS
from .simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .cells import Cells
    from .estimates import Estimates
    from .settings import Settings

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_ANALYTIC, _MONTE_CARLO = METHODS.index("analytic"), METHODS.index("monte_carlo")
_BASKET = TYPES["basket"]


def price_alone(cells: Cells, settings: Settings) -> Prices:
    """Price n cells, each alone."""
    prices = Prices.blank(len(cells), settings.measures, simulated=True)
    valid = cells.valid()
    prices.status[~valid] = Status.invalid
    closed = np.zeros(len(cells), dtype=bool)
    if settings.method != "monte_carlo":
        closed = _put_exact(prices, cells, valid & exact(cells), closed_forms, settings)
        fourier = valid & ~closed & has_series(cells)
        closed |= _put_exact(prices, cells, fourier, series, settings)
    rest = valid & ~closed
    if settings.method == "analytic":
        prices.status[rest] = Status.unsupported
        return prices
    for where, engine in _engines(cells, rest):
        if where.any():
            _put_estimates(prices, where, engine(cells[where], settings), settings)
    return prices


def load_alone(cells: Cells, settings: Settings) -> None:
    """Load, and compile where that is not done, what pricing these cells takes."""
    names = kernels_alone(cells, settings)
    if names:
        kernels(*names)


def kernels_alone(cells: Cells, settings: Settings) -> list[str]:
    """Name the modules of kernels that price these cells."""
    names = []
    rest = np.ones(len(cells), dtype=bool)
    if settings.method != "monte_carlo":
        formulas, with_series = exact(cells), has_series(cells)
        if formulas.any():
            names += ["lognormal", "lookback"]
        if with_series.any():
            names += ["fourier"]
        rest &= ~(formulas | with_series | exercised_exchanges(cells))
    modules = ("least_squares", "baskets", "simulation")
    engines = _engines(cells, rest)
    return names + [m for m, (where, _) in zip(modules, engines, strict=True) if where.any()]


def _engines(
    cells: Cells, where: Booleans
) -> tuple[tuple[Booleans, Callable[[Cells, Settings], Estimates]], ...]:
    """Say which of the cells `where` each simulation prices."""
    exercised = cells.exercise > 0
    baskets = cells.type == _BASKET
    return (
        (where & exercised, early),
        (where & baskets & ~exercised, simulate_baskets),
        (where & ~baskets & ~exercised, simulate),
    )


def _put_exact(
    prices: Prices,
    cells: Cells,
    where: Booleans,
    formula: Callable[[Cells], Floats],
    settings: Settings,
) -> Booleans:
    """Write what a formula gives for the cells `where`; return those of which it gave a price."""
    if not where.any():
        return where
    some = cells[where]
    rows = formula(some)
    priced = np.isfinite(rows[0] + rows[-1])
    done = where.copy()
    done[where] = priced
    values: dict[str, Any] = dict(zip((*MEASURES, "error"), rows[:, priced], strict=True))
    asked = (*settings.measures, "error")
    values = {name: row if name in asked else None for name, row in values.items()}
    claims = claims_of(some)
    largest = settings.tolerance * np.maximum(claims.unit, claims.scale)[priced]
    late = rows[-1][priced] > largest
    status = np.where(late, Status.tolerance, Status.ok).astype(np.uint8)
    method = np.full(len(status), _ANALYTIC, np.uint8)
    prices.put(done, Prices(**values, status=status, method=method))
    return done


def _put_estimates(
    prices: Prices, where: Booleans, estimates: Estimates, settings: Settings
) -> None:
    """Write what a simulation gave for the cells `where`."""
    asked = (*settings.measures, "error")
    values: dict[str, Any] = {"error": estimates.error}
    values |= dict(zip(MEASURES, estimates.values, strict=True))
    values |= dict(zip(STATISTICS, estimates.standard_errors, strict=True))
    values |= dict(zip(BOUNDS, (estimates.low, estimates.high), strict=True))
    values = {name: row if name in asked else None for name, row in values.items()}
    failed = np.isin(estimates.status, (Status.invalid, Status.unsupported))
    method = np.where(failed, 0, _MONTE_CARLO).astype(np.uint8)
    prices.put(
        where,
        Prices(
            **values,
            status=estimates.status,
            method=method,
            paths=estimates.paths,
            control=estimates.control,
        ),
    )
