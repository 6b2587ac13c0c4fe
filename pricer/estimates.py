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

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]
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
    most_paths: int,
    first_paths: int = FIRST_PATHS,
) -> Estimates:
    """Add paths to `count` cells until each one's error is at most `largest`, shape (count,).

    Every stage doubles the paths; a cell leaves on its own, so that its estimate is a function of
    the cell alone. `bias`, shape (count,), is part of the error. `most_paths` bounds the paths of
    all randomisations together; at least one stage is made.
    """
    found = Estimates.none(count, Status.tolerance)
    active = np.arange(count)
    totals: Floats | None = None
    done, wanted = 0, first_paths
    while len(active):
        part = sample(active, done, wanted)
        totals = part if totals is None else totals + part
        mean, standard_error = mean_and_error(combine(active, totals / wanted))
        error = T_QUANTILE * standard_error[0] + bias[active]
        found.values[:, active] = mean
        found.standard_errors[:, active] = standard_error
        found.error[active] = error
        found.paths[active] = RANDOMISATIONS * wanted
        going = ~(error <= largest[active])
        found.status[active[~going]] = Status.ok
        if RANDOMISATIONS * 2 * wanted > most_paths:
            break
        active, totals = active[going], np.ascontiguousarray(totals[:, going])
        done, wanted = wanted, 2 * wanted
    return found
