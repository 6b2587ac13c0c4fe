"""Early exercise by simulation: a price between a low and a high bound (`kernels/least_squares.py`).

The rule of exercise is fitted on paths of its own; the price is the middle of the bounds. American
exercise is on equal dates, and on half as many: what the second half adds is added once more, and
twice more to the high bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .compiled import kernels
from .contracts import Status
from .estimates import RANDOMISATIONS, T_QUANTILE, Estimates
from .exercised import (
    Option,
    claim_of,
    cubature_of,
    dates_of,
    option_of,
    paths_of,
    rule_of,
    world_of,
)
from .settings import MEASURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells
    from .settings import Settings

    Floats = NDArray[np.float64]

CALIBRATION = 64  # the randomisation that rules are fitted on
CALIBRATION_PATHS = 4096
STEPS = {1: 48, 2: 24}  # of American exercise, by the number of assets; 16 beyond
HESTON_STEPS = 40
FIRST_PATHS = 64  # of each randomisation
ENOUGH = 0.1  # of the bounds' distance: paths do not narrow the rest
MOVES = {"vega": 1e-3, "rho": 1e-4, "dividend_rho": 1e-4, "theta": 1e-3}


class _Fit(NamedTuple):
    """A fitted rule: how it is simulated, and how much its estimates count."""

    world: Any
    claim: Any
    rule: Any
    meshes: Any
    cubature: Any
    paths: Any
    now: Floats
    weight: float
    moved: dict[str, tuple[float, list[_Moved]]]


class _Moved(NamedTuple):
    world: Any
    meshes: Any
    paths: Any
    start: float


def early(cells: Cells, settings: Settings) -> Estimates:
    """Price n options that may be exercised early; `cells` are valid ones."""
    found = Estimates.none(len(cells), Status.unsupported)
    for i in range(len(cells)):
        option = option_of(cells, i)
        if option is not None:
            _price(option, settings, found, i)
    return found


def _price(option: Option, settings: Settings, found: Estimates, i: int) -> None:
    (kernel,) = kernels("least_squares")
    steps = HESTON_STEPS if option.model == "heston" else STEPS.get(option.assets, 16)
    asked = [name for name in MEASURES if name == "price" or name in settings.measures]
    fits = [_fit(option, settings, steps, 1.0, asked)]
    if option.american:
        fits = [fits[0]._replace(weight=2.0), _fit(option, settings, steps // 2, -1.0, asked)]
    unit = option.strike if option.strike > 0.0 else max(option.spots)
    done, wanted = 0, FIRST_PATHS
    sums = [{r: _Sums(asked) for r in range(RANDOMISATIONS)} for _ in fits]
    while True:
        for fit, part in zip(fits, sums, strict=True):
            for r in range(RANDOMISATIONS):
                _simulate(kernel, fit, r, done, wanted, part[r])
        result = _combine(option, fits, sums, wanted, asked)
        done = wanted
        values, errors, low, high = result
        half = T_QUANTILE * errors[0]
        gap = max(high - values[0], values[0] - low)
        if half <= max(settings.tolerance * unit - gap, ENOUGH * gap):
            break
        if 2 * done * RANDOMISATIONS > settings.paths:
            break
        wanted = 2 * done
    error = gap + half
    found.values[:, i], found.standard_errors[:, i] = values, errors
    found.low[i], found.high[i], found.error[i] = low, high, error
    found.paths[i] = done * RANDOMISATIONS
    met = error <= settings.tolerance * unit
    found.status[i] = Status.ok if met else Status.tolerance


class _Sums:
    """Sums over the paths of one randomisation."""

    def __init__(self, asked: list[str]) -> None:
        self.bounds = np.zeros(4)
        self.moved = {name: np.zeros(2) for name in MOVES if name in asked}


def _fit(option: Option, settings: Settings, steps: int, weight: float, asked: list[str]) -> _Fit:
    (kernel,) = kernels("least_squares")
    times, exercise = dates_of(option, steps)
    world, claim = world_of(option, times), claim_of(option, exercise)
    rule = rule_of(option, world, claim)
    sobol = settings.sampling == "sobol"
    paths = paths_of(option, times, settings.seed, sobol)
    cubature = cubature_of(option.assets, option.model == "heston")
    meshes = kernel.calibrate(
        world, claim, rule, cubature, paths, CALIBRATION, CALIBRATION_PATHS
    )
    start = _now(kernel, option, world, claim, rule, meshes, cubature)
    moved = {}
    for name, by in MOVES.items():
        if name not in asked:
            continue
        sides = []
        if name == "theta":
            by = min(by, 0.1 * times[1])
        for sign in (-1.0, 1.0):
            if name == "theta":
                there, other = option, world_of(option, times, sign * by)
            else:
                there = option.moved(name, sign * by)
                other = world_of(there, times)
            again = kernel.remeshed(other, claim, rule, meshes)
            drawn = paths_of(there, other.times, settings.seed, sobol)
            value = _now(kernel, there, other, claim, rule, again, cubature)[0]
            sides.append(_Moved(other, again, drawn, float(value)))
        moved[name] = (by, sides)
    return _Fit(world, claim, rule, meshes, cubature, paths, start, weight, moved)


def _now(
    kernel: Any, option: Option, world: Any, claim: Any, rule: Any, meshes: Any, cubature: Any
) -> Floats:
    out = np.empty(3)
    kernel.now(world, claim, rule, meshes, cubature, option.asset, out)
    return out


def _simulate(kernel: Any, fit: _Fit, r: int, first: int, last: int, sums: _Sums) -> None:
    stops = np.empty(kernel.P, np.int64)
    for path in range(first, last, kernel.P):
        kernel.bounds(
            fit.world, fit.claim, fit.rule, fit.meshes, fit.cubature, fit.paths, r, path,
            float(fit.now[0]), sums.bounds, stops,
        )  # fmt: skip
        for name, total in sums.moved.items():
            for side, moved in enumerate(fit.moved[name][1]):
                total[side] += kernel.stopped(
                    moved.world, fit.claim, fit.rule, moved.meshes, fit.cubature, moved.paths, r,
                    path, moved.start, stops,
                )  # fmt: skip


def _combine(
    option: Option,
    fits: list[_Fit],
    sums: list[dict[int, _Sums]],
    count: int,
    asked: list[str],
) -> tuple[Floats, Floats, float, float]:
    """Return values and standard errors, shape (7,) each, and the bounds."""
    rows = np.zeros((len(MEASURES), RANDOMISATIONS))
    lows, highs = [], []
    spot = option.spots[option.asset]
    for fit, part in zip(fits, sums, strict=True):
        means = np.array([part[r].bounds / count for r in range(RANDOMISATIONS)]).T
        lows.append(fit.now[0] + means[0])
        highs.append(fit.now[0] + means[1])
        rows[0] += fit.weight * 0.5 * (lows[-1] + highs[-1])
        first, second = fit.now[1] + means[2], fit.now[2] + means[3]
        rows[1] += fit.weight * first / spot
        rows[2] += fit.weight * (second - first) / (spot * spot)
        for name, (by, (down, up)) in fit.moved.items():
            ends = np.array([part[r].moved[name] / count for r in range(RANDOMISATIONS)]).T
            slope = (up.start + ends[1] - down.start - ends[0]) / (2.0 * by)
            rows[MEASURES.index(name)] += fit.weight * slope
    values = rows.mean(axis=1)
    errors = rows.std(axis=1, ddof=1) / np.sqrt(RANDOMISATIONS)
    low, high = float(lows[0].mean()), float(highs[0].mean())
    if len(fits) > 1:
        high += 2.0 * max(float(values[0]) - 0.5 * (low + high), 0.0)
        values, errors, low, high = _exercised_now(option, values, errors, low, high)
    wanted = np.isin(MEASURES, asked)
    values[~wanted] = errors[~wanted] = np.nan
    return values, errors, low, high


def _exercised_now(
    option: Option, values: Floats, errors: Floats, low: float, high: float
) -> tuple[Floats, Floats, float, float]:
    held = np.array(option.weights) * np.array(option.spots)
    pick = {"best_of": np.argmax, "worst_of": np.argmin}.get(option.choice)
    total = float(held[pick(held)] if pick else held.sum())
    paid = option.theta * (total - option.strike)
    if paid > 0.0 and paid >= values[0]:
        mine = pick is None or int(pick(held)) == option.asset
        values = np.zeros(len(MEASURES))
        values[0] = paid
        values[1] = option.theta * option.weights[option.asset] * mine
        errors = np.zeros(len(MEASURES))
    return values, errors, max(low, paid), max(high, paid)
