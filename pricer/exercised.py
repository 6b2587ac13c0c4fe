"""What early exercise by simulation is told of a cell: its world date by date, what it pays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations_with_replacement, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import NO_TABLE
from .compiled import kernels
from .contracts import WORDS
from .dated import Correlation, Curve, Dates, Dividends, Vector
from .lifetimes import SAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .cells import Cells

    Floats = NDArray[np.float64]
    Steps = tuple[tuple[float, ...], tuple[float, ...]]

_BASKETS, _MODELS, _EXERCISE = WORDS["basket_type"], WORDS["model"], WORDS["exercise"]
MOST_POWERS = {1: 4, 2: 6, 3: 5, 4: 4, 5: 3}  # degrees by the rows of a state; 2 beyond
POINTS = {2: 10, 3: 4, 4: 3, 5: 3}  # of a Gauss rule for each of so many assets
FINE_POINTS = {2: 20, 3: 10, 4: 6}  # for the step to expiry, where there are more
HESTON_POINTS = 7
MOST_ASSETS = 5
MOST_JUMPS = 40
UNLIKELY = 1e-10


@dataclass(frozen=True, slots=True)
class Option:
    """One cell: d assets, what is paid on them and when; times are in years from now.

    A step function is a pair: times up to which all but the last of its values hold, and values.
    """

    theta: float
    strike: float
    expiry: float
    weights: tuple[float, ...]
    choice: str
    spots: tuple[float, ...]
    vols: tuple[Steps, ...]
    yields: tuple[Steps, ...]
    rate: Steps
    correlation: tuple[tuple[float, ...], ...]
    model: str
    parameters: tuple[float, ...]
    american: bool
    dates: tuple[float, ...]
    cash: tuple[tuple[float, float], ...]
    proportional: tuple[tuple[float, float], ...]
    escrowed: bool
    asset: int

    @property
    def assets(self) -> int:
        """The number of assets."""
        return len(self.spots)

    def moved(self, name: str, by: float) -> Option:
        """Return the option with a parallel shift of its vol, rate or yield; time not moved."""
        match name:
            case "rho":
                return replace(self, rate=_shifted(self.rate, by))
            case "vega" if self.model == "heston":
                root = math.sqrt(self.parameters[0]) + by
                return replace(self, parameters=(root * root, *self.parameters[1:]))
            case "vega":
                vols = list(self.vols)
                vols[self.asset] = _shifted(vols[self.asset], by)
                return replace(self, vols=tuple(vols))
            case _:
                yields = list(self.yields)
                yields[self.asset] = _shifted(yields[self.asset], by)
                return replace(self, yields=tuple(yields))


def option_of(cells: Cells, i: int) -> Option | None:
    """Describe the cell at `i`; None if early exercise of it cannot be simulated."""
    basket = _word(cells, "type", i) == "basket"
    model = _word(cells, "model", i)
    exercise = int(cells.exercise[i])
    dates = _table(cells, "exercise_dates", i) if exercise == _EXERCISE["bermudan"] else None
    number = {name: float(getattr(cells, name)[i]) for name in ("strike", "expiry")}
    given: dict[str, Any] = {}
    if basket:
        spots = _vector(cells, "spots", i, ())
        d = len(spots)
        choice = _word(cells, "basket_type", i)
        defaults = {"weighted": (1.0 / d,) * d, "spread": (1.0,) + (-1.0,) * (d - 1)}
        correlation = _table(cells, "correlation", i)
        assert isinstance(correlation, Correlation)
        given = {
            "spots": spots,
            "weights": _vector(cells, "weights", i, defaults.get(choice, (1.0,) * d)),
            "choice": choice,
            "vols": tuple(_flat(v) for v in _vector(cells, "vols", i, ())),
            "yields": tuple(_flat(v) for v in _vector(cells, "dividend_yields", i, (0.0,) * d)),
            "correlation": tuple(map(tuple, correlation.matrix(d).tolist())),
            "asset": int(cells.greek_asset[i]) - 1,
            "cash": (), "proportional": (), "escrowed": False,
        }  # fmt: skip
    else:
        given = {
            "spots": (float(cells.spot[i]),),
            "weights": (1.0,),
            "choice": "weighted",
            "vols": (_flat(0.0) if model == "heston" else _steps(cells, "vol", i),),
            "yields": (_steps(cells, "dividend_yield", i),),
            "correlation": ((1.0,),),
            "asset": 0,
            "cash": _paid(cells, "cash_dividends", i),
            "proportional": _paid(cells, "proportional_dividends", i),
            "escrowed": bool(cells.dividend_model[i]),
        }
    names = {
        "merton": ("jump_intensity", "jump_mean", "jump_vol"),
        "heston": ("initial_variance", "mean_reversion", "long_variance", "vol_of_variance",
                   "variance_correlation"),
    }.get(model, ())  # fmt: skip
    option = Option(
        theta=float(cells.right[i]),
        strike=number["strike"],
        expiry=number["expiry"],
        rate=_steps(cells, "rate", i),
        model=model,
        parameters=tuple(float(getattr(cells, name)[i]) for name in names),
        american=exercise == _EXERCISE["american"],
        dates=tuple(dates.times) if isinstance(dates, Dates) else (),
        **given,
    )
    return option if _able(option) else None


def _able(option: Option) -> bool:
    """Tell whether paths of the option spread, and what it pays is positive somewhere."""
    moving = option.model == "heston" or min(min(values) for _, values in option.vols) > 0.0
    positive = min(option.spots) > 0.0 and option.expiry > 0.0
    alone = option.assets == 1 or option.choice in ("best_of", "worst_of")
    if alone and (min(option.weights) <= 0.0 or option.strike <= 0.0):
        return False
    if option.cash and option.escrowed and option.proportional:
        return False
    if option.model == "heston" and (option.cash or option.proportional):
        return False
    return moving and positive and option.assets <= MOST_ASSETS


def _word(cells: Cells, name: str, i: int) -> str:
    code = int(getattr(cells, name)[i])
    return next(word for word, its_code in WORDS[name].items() if its_code == code)


def _table(cells: Cells, name: str, i: int) -> object:
    place = int(getattr(cells, name)[i])
    return None if place == NO_TABLE else cells.tables[place]


def _vector(cells: Cells, name: str, i: int, default: tuple[float, ...]) -> tuple[float, ...]:
    table = _table(cells, name, i)
    return tuple(table.values) if isinstance(table, Vector) else default


def _steps(cells: Cells, name: str, i: int) -> Steps:
    table = _table(cells, f"{name}_curve", i)
    if isinstance(table, Curve):
        return tuple(table.times[:-1]), tuple(table.values)
    return _flat(float(getattr(cells, name)[i]))


def _paid(cells: Cells, name: str, i: int) -> tuple[tuple[float, float], ...]:
    table = _table(cells, name, i)
    if not isinstance(table, Dividends):
        return ()
    until = float(cells.expiry[i]) * (1.0 + SAME)
    pairs = zip(table.times, table.amounts, strict=True)
    return tuple((min(t, float(cells.expiry[i])), a) for t, a in pairs if t <= until and a > 0.0)


def _flat(value: float) -> Steps:
    return (), (value,)


def _shifted(steps: Steps, by: float) -> Steps:
    return steps[0], tuple(value + by for value in steps[1])


def _integral(steps: Steps, times: Floats, square: bool = False) -> Floats:
    """Integrate a step function, or its square, from 0 to each time."""
    ends, values = steps
    cuts = np.array([0.0, *ends])
    heights = np.array(values) ** 2 if square else np.array(values)
    whole = np.concatenate(([0.0], np.cumsum(heights[:-1] * np.diff(cuts))))
    place = np.searchsorted(cuts[1:], times)
    total: Floats = whole[place] + heights[place] * (times - cuts[place])
    return total


def dates_of(option: Option, steps: int) -> tuple[Floats, NDArray[np.int8]]:
    """Return the dates of a simulation from now on, and whether it may be exercised on each.

    American exercise is on `steps` equal ones and before dividends. Heston's scheme has as many
    steps beside the dates of a Bermudan option.
    """
    expiry = option.expiry
    paid = [t for t, _ in (*option.cash, *option.proportional)]
    equal = [expiry * (k + 1) / steps for k in range(steps)]
    marks = dict.fromkeys([*paid, expiry], option.american)
    if option.american or option.model == "heston":
        marks |= dict.fromkeys(equal, option.american)
    marks |= {min(t, expiry): True for t in option.dates if t <= expiry * (1.0 + SAME)}
    times = [0.0]
    may = [option.american]
    for t in sorted(marks):
        if t - times[-1] <= SAME * expiry:
            may[-1] = may[-1] or marks[t]
        else:
            times.append(t)
            may.append(marks[t])
    times[-1], may[-1] = expiry, True
    return np.array(times), np.array(may, np.int8)


def world_of(option: Option, times: Floats, later: float = 0.0) -> Any:
    """Return the option's world on its dates, seen from `later` on."""
    (kernel,) = kernels("least_squares")
    n, d = len(times) - 1, option.assets
    seen = times.copy()
    seen[0] = later
    rate = _exp(-(_integral(option.rate, seen) - _integral(option.rate, seen[:1])))
    left, cash, held = np.ones(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    for t, amount in option.proportional:
        left[_place(times, t)] *= 1.0 - amount
    for t, amount in option.cash:
        at = _place(times, t)
        if option.escrowed:
            held[: at + 1] += amount * rate[at] / rate[: at + 1]
        else:
            cash[at] += amount
    forward, deviation = np.empty((n, d)), np.empty((n, d))
    for a in range(d):
        growth = _integral(option.rate, seen) - _integral(option.yields[a], seen)
        variance = np.diff(_integral(option.vols[a], seen, square=True))
        forward[:, a] = np.diff(growth) - 0.5 * variance
        deviation[:, a] = np.sqrt(variance)
    model = np.zeros(5)
    model[: len(option.parameters)] = option.parameters
    kind = {"merton": kernel.early_claims.JUMPS, "heston": kernel.early_claims.HESTON}.get(
        option.model, kernel.early_claims.LOGNORMAL
    )
    if option.model == "heston":
        root = math.sqrt(max(option.parameters[0], 1e-8))
        deviation[:] = root * np.sqrt(np.diff(seen))[:, None]
    elif option.model == "merton":
        forward[:, 0] += _compensator(option) * np.diff(seen)
    return kernel.World(
        kind=kind,
        times=seen,
        start=_log(np.array(option.spots) - held[0]),
        drift=forward,
        deviation=deviation,
        factor=_root(np.array(option.correlation)),
        discount=rate,
        left=left,
        cash=cash,
        held=held,
        model=model,
    )


def _compensator(option: Option) -> float:
    intensity, mean, deviation = option.parameters
    return -intensity * (float(_exp(np.array([mean + 0.5 * deviation * deviation]))[0]) - 1.0)


def _place(times: Floats, t: float) -> int:
    return int(np.argmin(np.abs(times - t)))


def _exp(values: NDArray[Any]) -> Floats:
    (kernel,) = kernels("least_squares")
    out = np.empty(len(values))
    kernel.exps(np.ascontiguousarray(values), out)
    return out


def _log(values: Floats) -> Floats:
    (kernel,) = kernels("least_squares")
    out = np.empty(len(values))
    kernel.logs(np.ascontiguousarray(values), out)
    return out


def _root(matrix: Floats) -> Floats:
    """Return the lower triangular root of a matrix; a column of what has no variance left is 0."""
    d = len(matrix)
    root = np.zeros((d, d))
    for a in range(d):
        for b in range(a + 1):
            rest = matrix[a, b] - sum(root[a, k] * root[b, k] for k in range(b))
            if a == b:
                root[a, a] = math.sqrt(rest) if rest > 1e-12 else 0.0
            elif root[b, b] > 0.0:
                root[a, b] = rest / root[b, b]
    return root


def precision_of(option: Option) -> Floats:
    """Return the asset's row of the inverse correlation matrix; zeros if there is none."""
    d = option.assets
    root = _root(np.array(option.correlation))
    if not all(root[a, a] > 1e-6 for a in range(d)):
        return np.zeros(d)
    row = np.zeros(d)
    for a in range(d):
        row[a] = (float(a == option.asset) - sum(root[a, k] * row[k] for k in range(a))) / root[
            a, a
        ]
    for a in reversed(range(d)):
        row[a] = (row[a] - sum(root[k, a] * row[k] for k in range(a + 1, d))) / root[a, a]
    return row


def claim_of(option: Option, exercise: NDArray[np.int8]) -> Any:
    """Return what exercise pays, and when it may be."""
    (kernel,) = kernels("least_squares")
    known = kernel.early_claims
    choice = {"best_of": known.BEST, "worst_of": known.WORST}.get(option.choice, known.SUM)
    weights = np.array(option.weights)
    return kernel.Claim(int(choice), option.theta, option.strike, weights, exercise)


def rule_of(option: Option, world: Any, claim: Any) -> Any:
    """Return a rule not fitted yet: its polynomials, and its European options."""
    (kernel,) = kernels("least_squares")
    n, d = world.drift.shape
    rows = 2 if option.model == "heston" else d
    degree = MOST_POWERS.get(rows, 2)
    powers = [
        [combination.count(r) for r in range(rows)]
        for total in range(degree + 1)
        for combination in combinations_with_replacement(range(rows), total)
    ]
    terms = len(powers) + kernel.early_claims.functions_of(world.kind, claim.choice, d)
    growth, bond, spread, odds = _proxies(option, world)
    shape = (n + 1, rows)
    return kernel.Rule(
        np.array(powers, np.int64), np.zeros(shape), np.ones(shape), np.zeros(shape),
        np.zeros(shape), growth, bond, spread, odds, np.zeros((n + 1, terms)),
        kernel.Meshes(np.zeros(n), np.ones(n), np.zeros(n + 1, np.int64), np.empty(0)),
    )  # fmt: skip


def _proxies(option: Option, world: Any) -> tuple[Floats, Floats, Floats, Floats]:
    times = world.times
    n, d = world.drift.shape
    still = times[-1] - times
    discount = world.discount[-1] / world.discount
    bond = (option.strike - world.held[-1]) * discount
    share = np.empty((n + 1, d))
    for a in range(d):
        paid = _integral(option.yields[a], times)
        share[:, a] = _exp(-(paid[-1] - paid))
    # What is left of a share by expiry, and what of the cash paid until then is missed.
    kept = np.ones(n + 1)
    for i in range(n - 1, -1, -1):
        # A dividend at expiry comes after it.
        kept[i] = kept[i + 1] * (world.left[i + 1] if i + 1 < n else 1.0)
    for i in range(n):
        for k in range(i + 1, n):
            bond[i] += world.cash[k] * world.discount[k] / world.discount[i] * kept[k] * share[k, 0]
    share *= kept[:, None]
    ones = np.ones((n + 1, 1))
    if option.model == "heston":
        _, kappa, theta = option.parameters[:3]
        away = still if kappa == 0.0 else (1.0 - _exp(-kappa * still)) / kappa
        return share, bond, np.stack([theta * (still - away), away], axis=1), ones
    matrix, roots = np.array(option.correlation), np.sqrt(still)
    if d > 1:
        vols = np.array([values[0] for _, values in option.vols])
        cross = matrix * np.outer(vols, vols)
        if option.choice in ("best_of", "worst_of"):
            apart = [
                math.sqrt(max(cross[a, a] + cross[b, b] - 2.0 * cross[a, b], 0.0))
                for a in range(d)
                for b in range(a)
            ]
            each = np.append(vols, sum(apart) / len(apart))
        else:
            forwards = np.array(option.weights) * np.array(option.spots) * share[0]
            long = forwards[forwards > 0.0].sum()
            short = bond[0] - forwards[forwards < 0.0].sum()
            of = np.where(
                forwards > 0.0, forwards / max(long, 1e-300), forwards / max(short, 1e-300)
            )
            each = np.array([math.sqrt(max(float((of[:, None] * cross * of).sum()), 0.0))])
        return share, bond, np.outer(roots, each), ones
    total = _integral(option.vols[0], times, square=True)
    variance = total[-1] - total
    if option.model != "merton":
        return share, bond, np.sqrt(variance)[:, None], ones
    intensity, mean, deviation = option.parameters
    count = MOST_JUMPS
    jumps = np.arange(count)
    expected = intensity * still
    odds = np.zeros((n + 1, count))
    odds[:, 0] = _exp(-expected)
    for k in range(1, count):
        odds[:, k] = odds[:, k - 1] * expected / k
    odds[odds < UNLIKELY] = 0.0
    odds /= odds.sum(axis=1)[:, None]
    jumped = _exp(jumps * (mean + 0.5 * deviation * deviation))
    share = share * _exp(_compensator(option) * still)[:, None] * jumped
    return share, bond, np.sqrt(variance[:, None] + jumps * deviation * deviation), odds


def paths_of(option: Option, times: Floats, seed: int, sobol: bool) -> Any:
    """Return what draws the option's paths."""
    (kernel,) = kernels("least_squares")
    after = times[1:]
    per_date = {"merton": 3, "heston": 2}.get(option.model, option.assets)
    parameters = option.parameters if option.model == "heston" else (0.04, 1.0, 0.04, 0.5, 0.0)
    jumping = option.parameters if option.model == "merton" else (0.0, 0.0, 0.0)
    return kernel.Paths(
        kernel.draws(seed, sobol, per_date * len(after)),
        kernel.bridge(after, sobol),
        # The world's drift has what makes up for jumps already.
        kernel.jumps(*jumping, after)._replace(drift=np.zeros(len(after))),
        kernel.heston_steps(*parameters, after, np.zeros(len(after)), 0.0),
        option.asset,
        precision_of(option),
    )


@cache
def cubature_of(assets: int, heston: bool) -> Any:
    """Return the rules that take expectations over one step."""
    (kernel,) = kernels("least_squares")
    dimensions = 2 if heston else assets
    count = HESTON_POINTS if heston else POINTS.get(assets, 1)
    fine = FINE_POINTS.get(dimensions, count)
    tail = np.stack(_gauss(count, lambda k: (2.0 * k + 1.0, -k, -(k + 1.0)), 0.0))
    return kernel.Cubature(*_product(count, dimensions), *_product(fine, dimensions), tail)


def _product(count: int, dimensions: int) -> tuple[Floats, Floats]:
    """Return points and weights of the normal law in several dimensions, the first fastest."""
    reach = -4.0 * math.sqrt(count)
    x, w = _gauss(count, lambda k: (0.0, math.sqrt(k), math.sqrt(k + 1.0)), reach)
    grids = np.meshgrid(*[x] * dimensions, indexing="ij")
    points = np.stack([g.T.reshape(-1) for g in grids], axis=1)
    weights = np.ones(1)
    for _ in range(dimensions):
        weights = np.outer(w, weights).reshape(-1)
    return np.ascontiguousarray(points), weights


def _gauss(
    count: int, recurrence: Callable[[int], tuple[float, float, float]], first: float
) -> tuple[Floats, Floats]:
    """Return points and weights of the rule of orthonormal polynomials, h(0) = 1.

    They obey c h(k + 1) = (x - a) h(k) - b h(k - 1) with (a, b, c) = recurrence(k); the roots are
    bisected, so that their bits do not depend on a library of linear algebra.
    """

    def at(x: float) -> list[float]:
        values = [0.0, 1.0]
        for k in range(count):
            a, b, c = recurrence(k)
            values.append(((x - a) * values[-1] - b * values[-2]) / c)
        return values[1:]

    last = 4.0 * count + 4.0
    ends = np.linspace(first, last, 40 * count * count + 1).tolist()
    roots = []
    for low, high in pairwise(ends):
        if (at(low)[-1] > 0.0) == (at(high)[-1] > 0.0):
            continue
        a, b = low, high
        for _ in range(80):
            middle = 0.5 * (a + b)
            a, b = (middle, b) if (at(a)[-1] > 0.0) == (at(middle)[-1] > 0.0) else (a, middle)
        roots.append(0.5 * (a + b))
    weights = [1.0 / sum(h * h for h in at(root)[:-1]) for root in roots]
    return np.array(roots), np.array(weights)
