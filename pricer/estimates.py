"""What simulations say: values, their standard errors, and when a cell has paths enough.

A cell is estimated `RANDOMISATIONS` times from independently randomised paths; the spread of these
says how far off their mean may be, whatever correlates the paths within one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .contracts import Status
from .settings import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .settings import Settings

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]
    Booleans = NDArray[np.bool_]
    Indices = NDArray[np.int64]
    # sample(active, first, last): sums over the paths first..last - 1 of each randomisation, shape
    # (R, a, columns), for the cells `active`, shape (a,).
    Sample = Callable[[Indices, int, int], Floats]
    # combine(active, means): each measure of each randomisation, shape (7, R, a), from the means,
    # shape (R, a, columns); NaN for a measure not asked for.
    Combine = Callable[[Indices, Floats], Floats]

RANDOMISATIONS = 32
T_QUANTILE = 2.7440419192942698  # Student's t, 31 degrees of freedom, two-sided 99 %
CONTROL = "U16"  # the type of a control variate's name
FIRST_PATHS = 64  # of a randomisation: the first stage; each next one doubles them
MOST_KURTOSIS = 8.0  # of four that differ among 32
IMPLAUSIBLE = 1e-6  # of the error allowed: less is what nothing seen looks like
UNSEEN = 4.6  # paths times a chance that 99 % of the time would have been met
COUNTS = 0.2  # of a bias: paths that leave less open do not count beside it


@dataclass(frozen=True, slots=True)
class Estimates:
    """What n cells are worth by simulation.

    `values` and `standard_errors` have shape (7, n), in the order of `MEASURES`, NaN where one
    was not asked for; the others have shape (n,). `error` is the 99 % half-width of the price, with
    bounds of bias where there are any; `low` and `high` are bounds of what is exercised early, else
    NaN; `paths` counts the paths of all randomisations; `control` names the control variate, if
    any; `status` is a `Status`.
    """

    values: Floats
    standard_errors: Floats
    error: Floats
    low: Floats
    high: Floats
    paths: Indices
    control: NDArray[np.str_]
    status: Codes

    @classmethod
    def none(cls, count: int, status: Status) -> Estimates:
        """Return estimates of `count` cells that were not simulated."""
        rows = len(MEASURES)
        return cls(
            values=np.full((rows, count), np.nan),
            standard_errors=np.full((rows, count), np.nan),
            error=np.full(count, np.nan),
            low=np.full(count, np.nan),
            high=np.full(count, np.nan),
            paths=np.zeros(count, np.int64),
            control=np.full(count, "", CONTROL),
            status=np.full(count, status, np.uint8),
        )

    def put(self, where: Indices, part: Estimates) -> None:
        """Write the estimates of some cells to their places."""
        for name in ("values", "standard_errors"):
            getattr(self, name)[:, where] = getattr(part, name)
        for name in ("error", "low", "high", "paths", "control", "status"):
            getattr(self, name)[where] = getattr(part, name)


def mean_and_error(estimates: Floats) -> tuple[Floats, Floats]:
    """Return the mean and its standard error of independent estimates, shape (..., R, n).

    The mean over randomisations is taken in their order, so that a cell's bits do not depend on
    the cells beside it.
    """
    count = estimates.shape[-2]
    total = np.zeros(estimates.shape[:-2] + estimates.shape[-1:])
    for r in range(count):
        total += estimates[..., r, :]
    mean = total / count
    square = np.zeros_like(mean)
    for r in range(count):
        square += (estimates[..., r, :] - mean) ** 2
    return mean, np.sqrt(square / (count * (count - 1)))


def regression(values: Floats, controls: Floats) -> Floats:
    """Return the coefficients of controls that leave the least variance, shape (..., n).

    Both are means of the randomisations of a pilot, shape (..., R, n). Where a control does not
    vary, or is not a number, its coefficient is 0.
    """
    count = values.shape[-2]
    value_mean, _ = mean_and_error(values)
    control_mean, _ = mean_and_error(controls)
    covariance, variance = np.zeros_like(value_mean), np.zeros_like(value_mean)
    for r in range(count):
        away = controls[..., r, :] - control_mean
        covariance += away * (values[..., r, :] - value_mean)
        variance += away * away
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0.0, covariance / variance, 0.0)


def staged(
    count: int,
    sample: Sample,
    combine: Combine,
    largest: Floats,
    bias: Floats,
    settings: Settings,
    *,
    decided: bool = False,
) -> Estimates:
    """Add paths to `count` cells until each one's error is at most `largest`, shape (count,).

    Every stage doubles the paths; a cell leaves on its own, so that its estimate is a function of
    the cell alone. `bias`, shape (count,), is part of the error; where it alone is too much, paths
    stop when they no longer count beside it. At least two stages are made. What is thinly seen goes
    on until a payoff of the tolerance's unit, if it were still unseen, would matter no more, unless
    it is `decided` already.
    """
    found = Estimates.none(count, Status.tolerance)
    active = np.arange(count)
    totals: Floats | None = None
    before = np.full(found.standard_errors.shape, np.inf)
    seldom = UNSEEN / settings.tolerance
    done, wanted = 0, FIRST_PATHS
    while len(active):
        part = sample(active, done, wanted)
        totals = part if totals is None else totals + part
        estimates = combine(active, totals / wanted)
        mean, spread = mean_and_error(estimates)
        # Doubled, paths halve an error at best: a lucky small spread is not believed.
        standard_error = np.maximum(spread, 0.5 * before[:, active])
        before[:, active] = spread
        half_width = T_QUANTILE * standard_error[0]
        error = half_width + bias[active]
        found.values[:, active] = mean
        found.standard_errors[:, active] = standard_error
        found.error[active] = error
        found.paths[active] = RANDOMISATIONS * wanted
        enough = error <= largest[active]
        if RANDOMISATIONS * wanted < seldom and not decided:
            enough &= ~_thinly_seen(estimates[0], half_width, largest[active])
        found.status[active[enough]] = Status.ok
        going = ~enough & ~((bias[active] > largest[active]) & (half_width < COUNTS * bias[active]))
        if RANDOMISATIONS * 2 * wanted > settings.paths:
            break
        active, totals = active[going], np.ascontiguousarray(totals[:, going])
        done, wanted = wanted, 2 * wanted
    return found


def _thinly_seen(estimates: Floats, half_width: Floats, largest: Floats) -> Booleans:
    """Tell where few randomisations, shape (R, n), differ from the others, or none does.

    Then what seldom pays has been met too seldom to say how often it does.
    """
    count = len(estimates)
    mean, _ = mean_and_error(estimates)
    square, fourth = np.zeros_like(mean), np.zeros_like(mean)
    for r in range(count):
        away = (estimates[r] - mean) ** 2
        square += away
        fourth += away * away
    thin: Booleans = count * fourth > MOST_KURTOSIS * square * square
    return thin | (half_width <= IMPLAUSIBLE * largest)
