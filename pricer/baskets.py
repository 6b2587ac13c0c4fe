"""European options on several assets, by simulation (`kernels/baskets.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cells import NO_TABLE
from .claims import claims_of
from .compiled import kernels
from .contracts import WORDS, Status
from .dated import Correlation, Curve, Vector
from .estimates import RANDOMISATIONS, Estimates, staged
from .settings import MEASURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells
    from .settings import Settings

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

TOGETHER = 256  # cells that share the drawing of normals, and memory for their sums
PILOT_PATHS = 64  # of each randomisation that coefficients are found on
ROUNDING = 1e-14  # of what is held and of the strike
_WORDS = WORDS["basket_type"]
# What the kernel calls them: weighted sums 0, the best 1, the worst -1.
_CHOICES = {"weighted": 0, "spread": 0, "best_of": 1, "worst_of": -1}


def simulate_baskets(cells: Cells, settings: Settings) -> Estimates:
    """Price n European options on baskets; `cells` are valid ones."""
    found = Estimates.none(len(cells), Status.unsupported)
    assets = np.array([len(_vector(cells, place)) for place in cells.spots])
    weights = [_weights(cells, i, n) for i, n in enumerate(assets.tolist())]
    # The logarithm of what is chosen from exists only where it is held long.
    chosen = np.isin(cells.basket_type, (_WORDS["best_of"], _WORDS["worst_of"]))
    long = np.array([min(w) > 0.0 for w in weights], dtype=bool)
    able = ~chosen | long
    for n in np.unique(assets):
        where = np.flatnonzero(able & (assets == n))
        for first in range(0, len(where), TOGETHER):
            some = where[first : first + TOGETHER]
            held = np.array([weights[i] for i in some])
            found.put(some, _simulate(cells[some], held, settings))
    return found


def _simulate(cells: Cells, weights: Floats, settings: Settings) -> Estimates:
    """Price C options on as many assets each, with `weights` of shape (C, assets)."""
    (kernel,) = kernels("baskets")
    count, n = weights.shape
    vectors = {
        name: np.array([_vector(cells, place) for place in getattr(cells, name)])
        for name in ("spots", "vols")
    }
    yields = [
        (0.0,) * n if place == NO_TABLE else _vector(cells, place)
        for place in cells.dividend_yields
    ]
    places, matrix = np.unique(cells.correlation, return_inverse=True)
    correlations = np.array([_matrix(cells, place, n) for place in places])
    factors = np.empty_like(correlations)
    kernel.factors_of(correlations, factors)
    rate, rate_now = _rates(cells)
    choices = {_WORDS[word]: code for word, code in _CHOICES.items()}
    baskets = kernel.Baskets(
        choice=np.array([choices[code] for code in cells.basket_type.tolist()], np.int8),
        theta=np.array(cells.right),
        asset=cells.greek_asset.astype(np.int64) - 1,
        K=np.array(cells.strike),
        T=np.array(cells.expiry),
        r=rate,
        rate_now=rate_now,
        S=vectors["spots"],
        w=weights,
        q=np.array(yields),
        sigma=vectors["vols"],
        matrix=matrix.astype(np.int64),
        factors=factors,
    )
    turned = kernel.turn(baskets)
    rows = len(MEASURES)
    known = np.empty((rows + (n if n <= kernel.MOST_CONTROLS else 1), count))
    kernel.known(baskets, turned, known)
    asked = np.isin(MEASURES, ("price", *settings.measures))
    greeks = bool(asked[1:].any())
    known[:rows][~asked] = np.nan
    draws = kernel.draws(settings.seed, settings.sampling == "sobol", max(n - 1, 1))

    def sums_of(active: Indices, randomisation: int, first: int, last: int) -> Floats:
        sums = np.zeros((RANDOMISATIONS, len(active), len(known)))
        kernel.add_paths(baskets, turned, draws, active, randomisation, first, last, greeks, sums)
        return sums

    def sample(active: Indices, first: int, last: int) -> Floats:
        return sums_of(active, 0, first, last)

    def combine(active: Indices, means: Floats) -> Floats:
        means = np.moveaxis(means, 2, 0)
        values = means[:rows] + known[:rows, None, active]
        for j, control in enumerate(means[rows:]):
            away = control - known[rows + j, active]
            values -= coefficients[active, :, j].T[:, None] * away
        return values

    coefficients = np.empty((count, rows, len(known) - rows))
    pilot = sums_of(np.arange(count), RANDOMISATIONS, 0, PILOT_PATHS) / PILOT_PATHS
    kernel.fit(pilot, coefficients)
    unit = claims_of(cells).unit
    # Added one by one: NumPy's own sum has other bits on other machines.
    scale = sum((np.abs(weights) * vectors["spots"]).T, start=np.abs(cells.strike))
    found = staged(count, sample, combine, settings.tolerance * unit, ROUNDING * scale, settings)
    found.control[:] = "assets" if n > 1 else ""
    return found


def _vector(cells: Cells, place: int) -> tuple[float, ...]:
    table = cells.tables[place]
    assert isinstance(table, Vector)
    return tuple(table.values)


def _matrix(cells: Cells, place: int, n: int) -> Floats:
    table = cells.tables[place]
    assert isinstance(table, Correlation)
    return table.matrix(n)


def _weights(cells: Cells, i: int, n: int) -> tuple[float, ...]:
    """Return how much of each of its n assets the cell at `i` holds."""
    if cells.weights[i] != NO_TABLE:
        return _vector(cells, cells.weights[i])
    code = cells.basket_type[i]
    if code == _WORDS["weighted"]:
        return (1.0 / n,) * n
    return (1.0, *((-1.0 if code == _WORDS["spread"] else 1.0,) * (n - 1)))


def _rates(cells: Cells) -> tuple[Floats, Floats]:
    """Return the average rate up to each expiry and the rate now, shape (C,) each."""
    average, now = np.array(cells.rate), np.array(cells.rate)
    for i in np.flatnonzero(cells.rate_curve != NO_TABLE):
        curve = cells.tables[cells.rate_curve[i]]
        assert isinstance(curve, Curve)
        expiry = float(cells.expiry[i])
        now[i] = average[i] = curve.values[0]
        if expiry > 0.0:
            ends = [min(time, expiry) for time in curve.times[:-1]] + [expiry]
            starts = [0.0, *ends[:-1]]
            rows = zip(curve.values, starts, ends, strict=True)
            average[i] = sum(value * (end - start) for value, start, end in rows) / expiry
    return average, now
