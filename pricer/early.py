"""Early exercise by simulation, between a low and a high bound (`kernels/least_squares.py`).

The rule of exercise is fitted on paths of its own; the price is the middle of the bounds. American
exercise is on equal dates, and on half as many: what the second half adds is added once more, and
twice more to the high bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .compiled import kernels
from .contracts import Status
from .estimates import RANDOMISATIONS, T_QUANTILE, Estimates, mean_and_error
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
CALIBRATION_PATHS = {1: 1024}  # by the rows of a state; 4096 beyond
STEPS = {1: 48, 2: 32, 3: 32, 4: 24, 5: 16}  # of American exercise, by the number of assets
HESTON_STEPS = 40
FIRST_PATHS = 64  # of each randomisation
UNSEEN = 0.7, 1.4  # what exercise between dates adds at least and at most, in estimates of it
ENOUGH = 0.2  # of the bounds' distance: paths do not narrow the rest
MOVES = {"vega": 2e-3, "rho": 1e-3, "dividend_rho": 1e-3, "theta": 0.04}  # theta: of a step
NUMERICAL = 5e-6  # of the unit: what meshes and Gauss rules may be off by


class _Fit(NamedTuple):
    """A fitted rule: how it is simulated, and how much its estimates count."""

    world: Any
    claim: Any
    rule: Any
    cubature: Any
    paths: Any
    now: Floats
    moved: dict[str, tuple[float, list[_Moved]]]


class _Moved(NamedTuple):
    world: Any
    rule: Any
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
    steps = HESTON_STEPS if option.model == "heston" else STEPS[option.assets]
    asked = [name for name in MEASURES if name == "price" or name in settings.measures]
    fits = [_fit(option, settings, steps, asked)]
    if option.american:
        fits.append(_fit(option, settings, steps // 2, asked))
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
        low, high = low - NUMERICAL * unit, high + NUMERICAL * unit
        half = T_QUANTILE * errors[0]
        gap = max(high - values[0], values[0] - low)
        if not half > max(settings.tolerance * unit - gap, ENOUGH * gap):
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
    if not np.isfinite(error):
        found.status[i] = Status.invalid


class _Sums:
    """Sums over the paths of one randomisation."""

    def __init__(self, asked: list[str]) -> None:
        self.bounds = np.zeros(4)
        self.moved = {name: np.zeros(2) for name in MOVES if name in asked}


def _fit(option: Option, settings: Settings, steps: int, asked: list[str]) -> _Fit:
    (kernel,) = kernels("least_squares")
    times, exercise = dates_of(option, steps)
    world, claim = world_of(option, times), claim_of(option, exercise)
    rule = rule_of(option, world, claim)
    sobol = settings.sampling == "sobol"
    paths = paths_of(option, times, settings.seed, sobol)
    cubature = cubature_of(option.assets, option.model == "heston")
    count = CALIBRATION_PATHS.get(rule.centre.shape[1], 4096)
    rule = kernel.calibrate(world, claim, rule, cubature, paths, CALIBRATION, count)
    start = _now(kernel, option, world, claim, rule, cubature)
    moved = {}
    for name, by in MOVES.items():
        if name not in asked:
            continue
        sides = []
        if name == "theta":
            by *= times[1]
        for sign in (-1.0, 1.0):
            if name == "theta":
                there, other = option, world_of(option, times, sign * by)
            else:
                there = option.moved(name, sign * by)
                other = world_of(there, times)
            again = kernel.moved(other, claim, rule, rule_of(there, other, claim))
            drawn = paths_of(there, other.times, settings.seed, sobol)
            value = _now(kernel, there, other, claim, again, cubature)[0]
            sides.append(_Moved(other, again, drawn, float(value)))
        moved[name] = (by, sides)
    return _Fit(world, claim, rule, cubature, paths, start, moved)


def _now(kernel: Any, option: Option, world: Any, claim: Any, rule: Any, cubature: Any) -> Floats:
    out = np.empty(3)
    kernel.now(world, claim, rule, cubature, option.asset, out)
    return out


def _simulate(kernel: Any, fit: _Fit, r: int, first: int, last: int, sums: _Sums) -> None:
    size = min(kernel.P, last - first)
    stops = np.empty(size, np.int64)
    for path in range(first, last, size):
        kernel.bounds(
            fit.world, fit.claim, fit.rule, fit.cubature, fit.paths, r, path,
            float(fit.now[0]), sums.bounds, stops,
        )  # fmt: skip
        for name, total in sums.moved.items():
            for side, moved in enumerate(fit.moved[name][1]):
                total[side] += kernel.stopped(
                    moved.world, fit.claim, moved.rule, fit.cubature, moved.paths, r,
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
    each, lows, highs = [], [], []
    spot = option.spots[option.asset] - fits[0].world.held[0]
    for fit, part in zip(fits, sums, strict=True):
        row = np.zeros((len(MEASURES), RANDOMISATIONS))
        means = np.array([part[r].bounds / count for r in range(RANDOMISATIONS)]).T
        lows.append(fit.now[0] + means[0])
        highs.append(fit.now[0] + means[1])
        share = kernels("least_squares")[0].LOW_SHARE
        row[0] = share * lows[-1] + (1.0 - share) * highs[-1]
        first, second = fit.now[1] + means[2], fit.now[2] + means[3]
        row[1] = first / spot
        row[2] = (second - first) / (spot * spot)
        for name, (by, (down, up)) in fit.moved.items():
            ends = np.array([part[r].moved[name] / count for r in range(RANDOMISATIONS)]).T
            slope = (up.start + ends[1] - down.start - ends[0]) / (2.0 * by)
            row[MEASURES.index(name)] = slope
        each.append(row)
    added = float(mean_and_error((each[0] - each[-1])[0][:, None])[0][0])
    rows = each[0] if added <= 0.0 else 2.0 * each[0] - each[-1]
    values, errors = (of[:, 0] for of in mean_and_error(rows[:, :, None]))
    # How far greeks were moved to count any time says how far off they may still be.
    moved = np.abs(values - mean_and_error(each[0][:, :, None])[0][:, 0]) / T_QUANTILE
    errors[1:] = np.hypot(errors, moved)[1:]
    bounds, _ = mean_and_error(np.array([lows[0], highs[0]])[:, :, None])
    low, high = bounds[:, 0].tolist()
    if len(fits) > 1:
        low, high = (b + u * max(added, 0.0) for b, u in zip((low, high), UNSEEN, strict=True))
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
