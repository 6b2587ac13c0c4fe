"""Markets as simulations take them: dates, drifts and variances, also a little moved for greeks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import NO_TABLE
from .compiled import kernels
from .contracts import WORDS
from .dated import Curve, Dividends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .cells import Cells

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

MERTON, HESTON = WORDS["model"]["merton"], WORDS["model"]["heston"]
_MERTON = ("jump_intensity", "jump_mean", "jump_vol")
_HESTON = (
    "initial_variance", "mean_reversion", "long_variance", "vol_of_variance",
    "variance_correlation",
)  # fmt: skip
SUBSTEP_BIAS = 2e-5  # of the strike, what Heston's substeps may leave in a price
MOST_SUBSTEPS = 512  # of Heston's paths, unless these need more to be made at all
SAME = 1e-9  # relative difference of times that are one


@dataclass(frozen=True, slots=True)
class Shift:
    """What a market is moved by: parallel shifts, years that have passed, a factor of the spot.

    With `jump`, the spot jumps right after now, as the model's jumps are.
    """

    vol: float = 0.0
    rate: float = 0.0
    dividend_yield: float = 0.0
    time: float = 0.0
    spot: float = 1.0
    jump: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """A number that is constant between times: `values[i]` from `starts[i]` on."""

    starts: Floats
    values: Floats

    def moved(self, by: float) -> Steps:
        """Return the number moved in parallel."""
        return replace(self, values=self.values + by)

    def squared(self) -> Steps:
        """Return the number's square."""
        return replace(self, values=self.values * self.values)

    def integral(self, times: Floats, passed: float = 0.0) -> Floats:
        """Integrate up to `times` from `passed` years after now; up to now itself it is 0."""
        spans = self.starts[1:] - self.starts[:-1]
        before = np.concatenate(([0.0], np.cumsum(self.values[:-1] * spans)))
        at = np.searchsorted(self.starts, times, side="right") - 1
        whole = before[at] + self.values[at] * (times - self.starts[at])
        return np.where(times > 0.0, whole - passed * self.values[0], 0.0)


def steps_of(cells: Cells, name: str) -> Steps:
    """Return an input of the first of `cells` that may be a curve; a missing one is 0."""
    place = int(getattr(cells, f"{name}_curve")[0])
    if place == NO_TABLE:
        number = float(getattr(cells, name)[0])
        return Steps(np.zeros(1), np.array([0.0 if np.isnan(number) else number]))
    curve = cells.tables[place]
    assert isinstance(curve, Curve)
    return Steps(np.array((0.0, *curve.times[:-1])), np.array(curve.values))


def dividends_of(cells: Cells, name: str, expiry: float) -> list[tuple[float, float]]:
    """Return the times and amounts of the dividends of the first of `cells` up to its expiry."""
    place = int(getattr(cells, name)[0])
    if place == NO_TABLE:
        return []
    table = cells.tables[place]
    assert isinstance(table, Dividends)
    paid = zip(snapped(table.times, expiry).tolist(), table.amounts, strict=True)
    return [(time, amount) for time, amount in paid if time <= expiry and amount]


def snapped(times: Iterable[float], expiry: float) -> Floats:
    """Return times as an array; those that are the expiry but for rounding are the expiry."""
    array = np.array(tuple(times), dtype=np.float64)
    return np.where(np.abs(array - expiry) <= SAME * expiry, expiry, array)


def exponentials(x: Floats) -> Floats:
    """Return e**x by the kernels' own function, in the shape of `x`."""
    return _elementwise("exponentials", x)


def logarithms(x: Floats) -> Floats:
    """Return ln(x) by the kernels' own function, in the shape of `x`."""
    return _elementwise("logarithms", x)


def _elementwise(name: str, x: Floats) -> Floats:
    (elementary,) = kernels("elementary")
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    out = np.empty_like(flat)
    getattr(elementary, name)(flat, out)
    return out.reshape(np.shape(x))


@dataclass(frozen=True, slots=True)
class Timeline:
    """The dates of a simulation: `times`, shape (D,), which never decrease.

    What is noted on a date is noted before that date's dividend. Where one is paid at expiry, the
    expiry comes twice: `times[closing]` is the one before the dividend, `times[-1]` the one after.
    """

    times: Floats
    closing: int

    def at(self, time: float) -> int:
        """Return the place of a time, before its dividend."""
        return int(np.searchsorted(self.times, time))


def timeline_of(cells: Cells, noted: Iterable[float], *, with_knots: bool) -> Timeline:
    """Return the dates of the first of `cells`: those `noted`, its expiry, those of cash dividends.

    Where paths are looked at between dates, `with_knots`, also those on which curves change.
    """
    expiry = float(cells.expiry[0])
    cash = dividends_of(cells, "cash_dividends", expiry)
    paid = [*cash, *dividends_of(cells, "proportional_dividends", expiry)]
    times = {expiry, *snapped(noted, expiry).tolist(), *(time for time, _ in cash)}
    if with_knots:
        for name in ("vol", "rate", "dividend_yield"):
            times |= {t for t in steps_of(cells, name).starts.tolist() if 0.0 < t < expiry}
    ordered = sorted(times)
    if any(time == expiry for time, _ in paid):
        ordered.append(expiry)
    return Timeline(np.array(ordered), len(times) - 1)


@dataclass(frozen=True, slots=True)
class Market:
    """K markets that share their random numbers, from one and its shifts.

    Attributes
    ----------
    worlds
        What kernels take, `kernels.paths.Worlds`.
    clock
        The times of the Brownian motion that all paths are made of.
    discount
        What 1 at expiry is worth now, shape (K,).
    interest
        What 1 on a date has become by expiry, shape (K, D).
    expected
        The mean of the spot on each date relative to that of now, shape (K, D), where no dividend
        is cash.
    covariance
        Of the logarithm on each date with the one on the last, shape (K, D): the variance until
        then, in Heston's model the mean of it.
    steps
        The number of times of the motion at which paths are kept.
    jumps, substeps
        What kernels take for Merton's jumps and for Heston's model; empty in other models.
    """

    worlds: Any
    clock: Floats
    discount: Floats
    interest: Floats
    expected: Floats
    covariance: Floats
    steps: int
    jumps: Any
    substeps: Any


def market_of(cells: Cells, timeline: Timeline, shifts: Sequence[Shift]) -> Market:
    """Describe the market of the first of `cells` under shifts, of which the first is none."""
    (simulation,) = kernels("simulation")
    paths, model = simulation.paths, int(cells.model[0])
    times, expiry = timeline.times, float(cells.expiry[0])
    rate, dividend_yield, vol = (steps_of(cells, n) for n in ("rate", "dividend_yield", "vol"))
    rates = np.array([rate.moved(s.rate).integral(times, s.time) for s in shifts])
    yields = np.array(
        [dividend_yield.moved(s.dividend_yield).integral(times, s.time) for s in shifts]
    )
    if model == HESTON:
        variances = np.array([_mean_variance(cells, times, s) for s in shifts])
    else:
        variances = np.array([vol.moved(s.vol).squared().integral(times, s.time) for s in shifts])
    steps = np.maximum(np.diff(variances, axis=1, prepend=0.0), 0.0)

    distinct = np.unique(times[times > 0.0])
    step = np.searchsorted(distinct, times, side="right") - 1
    moving = np.diff(times, prepend=0.0) > 0.0
    clock = distinct if len(distinct) else np.ones(1)
    jumps, substeps = _no_jumps(simulation), _no_substeps(simulation)
    if model == MERTON:
        jumps = simulation.jumps.jumps(*merton_of(cells), clock)
    if model == HESTON:
        substeps = _substeps(simulation, cells, clock, shifts)
    elif len(distinct) and (steps[0, moving] > 0.0).all():
        clock = variances[0, np.searchsorted(times, distinct)]
    spans = np.diff(np.concatenate(([0.0], clock)))[np.maximum(step, 0)]
    stretch = np.sqrt(np.where(moving, steps, spans) / spans)
    if model == HESTON:
        stretch[:] = 1.0

    left = np.ones(len(times))
    for time, fraction in dividends_of(cells, "proportional_dividends", expiry):
        gone = times > time
        gone[timeline.closing + 1 :] = True
        left[gone] *= 1.0 - fraction
    carried = rates - yields + logarithms(left)
    carried = carried + np.where(times > 0.0, _left_over(cells, shifts)[:, None], 0.0)
    amounts = dividends_of(cells, "cash_dividends", expiry)
    escrowed = bool(amounts) and int(cells.dividend_model[0]) == WORDS["dividend_model"]["escrowed"]
    spot = float(cells.spot[0]) * np.array([s.spot for s in shifts])
    cash = np.zeros(rates.shape)
    interest = exponentials(rates[:, -1:] - rates)
    for time, amount in amounts:
        paid_at = timeline.at(time)
        if not escrowed:
            cash[:, paid_at] += amount
            continue
        until = paid_at + 1
        cash[:, :until] += amount * exponentials(rates[:, :until] - rates[:, paid_at, None])
        spot = spot - amount * exponentials(-rates[:, paid_at])
    worlds = paths.Worlds(
        step=step.astype(np.int64),
        # Heston's paths come with what convexity takes off.
        forward=carried if model == HESTON else carried - 0.5 * variances,
        stretch=stretch,
        variance=steps,
        bare=(stretch == 1.0).all(axis=1).astype(np.int8),
        spot=spot,
        cash=cash,
        sudden=np.array([s.jump for s in shifts], np.int8),
        dividends=(
            paths.ESCROWED if escrowed else paths.SPOT_DIVIDENDS if amounts else paths.LOGNORMAL
        ),
    )
    return Market(
        worlds=worlds,
        clock=np.cumsum(substeps.dt[0]) if model == HESTON else clock,
        discount=exponentials(-rates[:, -1]),
        interest=interest,
        expected=exponentials(carried + _mean_jumps(cells, times, shifts)),
        covariance=variances,
        steps=len(clock),
        jumps=jumps,
        substeps=substeps,
    )


def _mean_jumps(cells: Cells, times: Floats, shifts: Sequence[Shift]) -> Floats:
    """Return the logarithm of what one jump more multiplies the mean by, shape (K, D)."""
    if int(cells.model[0]) != MERTON:
        return np.zeros((len(shifts), len(times)))
    _, mean, deviation = merton_of(cells)
    jumped = np.array([s.jump for s in shifts], np.float64)[:, None]
    more: Floats = jumped * (times > 0.0) * (mean + 0.5 * deviation * deviation)
    return more


def _left_over(cells: Cells, shifts: Sequence[Shift]) -> Floats:
    """Return what shifts add to the logarithm after now: the drift that time took along.

    Paths come with what makes up for the jumps of whole intervals, also where some has passed.
    """
    excess = 0.0
    if int(cells.model[0]) == MERTON:
        intensity, mean, deviation = merton_of(cells)
        growth = exponentials(np.array([mean + 0.5 * deviation * deviation]))
        excess = intensity * (float(growth[0]) - 1.0)
    return np.array([shift.time * excess for shift in shifts])


def merton_of(cells: Cells) -> tuple[float, float, float]:
    """Return jumps a year, and mean and deviation of their logarithm, of the first of `cells`."""
    intensity, mean, deviation = (float(getattr(cells, name)[0]) for name in _MERTON)
    return intensity, mean, deviation


def _no_jumps(simulation: Any) -> Any:
    none, places = np.empty(0), np.empty(0, np.int64)
    return simulation.jumps.Jumps(0.0, 0.0, none, places, places, none)


def _no_substeps(simulation: Any) -> Any:
    none, places = np.empty((0, 0)), np.empty(0, np.int64)
    return simulation.Substeps(np.empty(0), 0.0, 0.0, 0.0, 0.0, none, places)


def _substeps(simulation: Any, cells: Cells, times: Floats, shifts: Sequence[Shift]) -> Any:
    """Return Heston's model on substeps of the intervals between `times`, for every shift."""
    v0, kappa, theta, xi, rho = (float(getattr(cells, name)[0]) for name in _HESTON)
    steps = simulation.heston.heston_steps(
        v0, kappa, theta, xi, rho, times, np.zeros(len(times)), _per_year(simulation, cells)
    )
    dt = np.repeat(steps.dt[None], len(shifts), axis=0)
    dt[:, 0] -= [s.time for s in shifts]
    roots = np.maximum(np.sqrt(v0) + np.array([s.vol for s in shifts]), 0.0)
    return simulation.Substeps(roots * roots, kappa, theta, xi, rho, dt, steps.row)


def _per_year(simulation: Any, cells: Cells) -> float:
    """Return how many substeps a year Heston's paths have at least."""
    v0, kappa, theta, xi, _ = (float(getattr(cells, name)[0]) for name in _HESTON)
    expiry = max(float(cells.expiry[0]), 1e-300)
    needed = simulation.heston.substeps_per_year(v0, kappa, theta, xi, expiry, SUBSTEP_BIAS)
    return float(min(needed, max(MOST_SUBSTEPS / expiry, 2.0 * xi + kappa)))


def bias_of(cells: Cells) -> float:
    """Return what substeps leave in prices of the first of `cells`, of the strike: a bound."""
    if int(cells.model[0]) != HESTON:
        return 0.0
    (simulation,) = kernels("simulation")
    v0, kappa, theta, xi, _ = (float(getattr(cells, name)[0]) for name in _HESTON)
    per_year = _per_year(simulation, cells)
    expiry = float(cells.expiry[0])
    return float(simulation.heston.bias(v0, kappa, theta, xi, expiry, per_year))


def _mean_variance(cells: Cells, times: Floats, shift: Shift) -> Floats:
    """Return the mean of the variance that Heston's model gathers until `times`."""
    v0, kappa, theta = (float(getattr(cells, name)[0]) for name in _HESTON[:3])
    root = max(np.sqrt(v0) + shift.vol, 0.0)
    spans = np.maximum(times - shift.time, 0.0)
    decay = spans if kappa == 0.0 else (1.0 - exponentials(-kappa * spans)) / kappa
    mean: Floats = theta * spans + (root * root - theta) * decay
    return mean


def has_cash(cells: Cells) -> bool:
    """Tell whether the first of `cells` has cash dividends before or at its expiry."""
    return bool(dividends_of(cells, "cash_dividends", float(cells.expiry[0])))
