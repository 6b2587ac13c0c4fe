"""Merton's model of default: a firm's equity is a call on its assets, struck at its debt.

The volatility of the assets is that of the asset values which it implies itself, found in passes
over a window of days (Merton 1974; the passes are those of Vassalou and Xing 2004). The jumps of
the same author are `pricer.Merton`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import numbers_of
from .compiled import check_workers, for_kernels, kernels
from .contracts import Status
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Codes = NDArray[np.uint8]

MEASURES = (
    "asset_value",
    "asset_vol",
    "drift",
    "distance_to_default",
    "default_probability",
    "days",
    "inversions",
)
WINDOW = 252
LEAST_WINDOW = 3
# Why an estimate is what it is: the kernels' codes, those for one column of days, what they mean.
ESTIMATED, NOT_CONVERGED, FEW_DAYS, STILL, SLOW, NO_EQUITY, NO_DEBT, NO_RATE = range(8)
_FEW = "has fewer changes between usable days than half of a window"
REASONS = {
    NOT_CONVERGED: "asset vol still moves by more than 0.001 after 10 passes",
    FEW_DAYS: _FEW,
    NO_EQUITY: f"{_FEW}: on the others equity is missing or not positive",
    NO_DEBT: f"{_FEW}: on the others debt is missing or negative",
    NO_RATE: f"{_FEW}: on the others rate is missing",
    STILL: "has assets whose changes do not differ, so no asset vol",
    SLOW: "asset vol moves by less than 0.001 a pass, but may be off by more than 0.01",
}
_STATUS = np.array(
    [Status.ok, Status.tolerance, Status.invalid, Status.invalid, Status.tolerance], np.uint8
)
_INVERTED = np.array([Status.ok, Status.invalid, Status.unsupported], np.uint8)
# Inversions, and estimates, that one thread is given at a time.
INVERTED_TOGETHER, ESTIMATED_TOGETHER = 65_536, 256


@dataclass(frozen=True, slots=True)
class ImpliedAssets:
    """What firms' assets are worth: arrays of one shape.

    `asset_value` is NaN where there is none; `status`, a `Status` as uint8, is then ``invalid``
    (the inputs cannot be) or ``unsupported`` (equity below 1e-280 of the discounted debt, or
    neither of them a double).
    """

    asset_value: Floats
    status: Codes


@dataclass(frozen=True, slots=True)
class Estimates:
    """What windows of days say of firms: arrays of one shape.

    `asset_value` is that of the last usable day. `asset_vol` is per square root of a year, `drift`
    per year: that of the expected value. `distance_to_default` is in standard deviations of the log
    asset value at the horizon, `default_probability` the chance that it is below the debt then; of
    a firm without debt they are infinite and 0. `days` counts usable days, `inversions` those
    of the call. `error` is about how far `asset_vol` is from where more passes would end, infinite
    where nothing tells. `status` is a `Status` as uint8, `why` what stands behind it: a key of
    `REASONS`, or 0.
    """

    asset_value: Floats
    asset_vol: Floats
    drift: Floats
    distance_to_default: Floats
    default_probability: Floats
    days: Floats
    inversions: Floats
    error: Floats
    status: Codes
    why: NDArray[np.int8]

    def __getitem__(self, index: Any) -> Estimates:
        """Return the part of every array that a NumPy index selects."""
        return Estimates(*(getattr(self, f.name)[index] for f in fields(self)))

    def reshaped(self, shape: tuple[int, ...]) -> Estimates:
        """Return the same estimates as arrays of `shape`."""
        return Estimates(*(getattr(self, f.name).reshape(shape) for f in fields(self)))


def implied_assets(
    equity: ArrayLike,
    debt: ArrayLike,
    rate: ArrayLike,
    horizon: ArrayLike,
    asset_vol: ArrayLike,
    *,
    workers: int | None = None,
) -> ImpliedAssets:
    """Find the asset values of which `equity` is the call struck at `debt`.

    Within 1e-14 of the asset value, relative, measured against 60 digits where equity is more than
    1e-100 of the debt and the rate times the horizon within 10 of 0; within 1e-13 elsewhere. An
    asset vol below 1e-13 over the horizon is taken for none, which is within 4e-12.

    Parameters
    ----------
    equity
        what the call is worth, more than 0.
    debt
        due at the horizon; without any the assets are the equity.
    rate
        per year, continuously compounded.
    horizon
        years until the debt is due.
    asset_vol
        per square root of a year; without any the assets are equity and discounted debt.
    workers
        threads; by default PRICER_WORKERS, else the cores available to this process.

    Returns
    -------
    ImpliedAssets, whose arrays have the shape that the inputs broadcast to.
    """
    given = {
        "equity": equity, "debt": debt, "rate": rate, "horizon": horizon, "asset_vol": asset_vol
    }  # fmt: skip
    arrays = _together({name: numbers_of(name, value) for name, value in given.items()})
    shape = arrays[0].shape
    inputs = [for_kernels(array.reshape(-1)) for array in arrays]
    value, code = np.empty(inputs[0].size), np.empty(inputs[0].size, np.int8)
    (kernel,) = kernels("merton")

    def invert(part: slice) -> None:
        kernel.asset_values(*(array[part] for array in inputs), value[part], code[part])

    _on_threads(invert, len(value), INVERTED_TOGETHER, workers)
    return ImpliedAssets(value.reshape(shape), _INVERTED[code].reshape(shape))


def distance_to_default(
    equity_series: ArrayLike,
    debt_series: ArrayLike,
    rate: ArrayLike,
    horizon: ArrayLike,
    window: int = WINDOW,
    *,
    step: int | None = None,
    workers: int | None = None,
) -> Estimates:
    """Estimate the asset value, vol and drift of firms from their equity, and how near default is.

    For each horizon and window the asset vol starts from the equity's, by the equity's share. A
    pass finds the asset value of every day; the sample deviation of its daily log changes, times
    sqrt(252), is the next vol. Passes end when that moves by less than 1e-3, or after 10.

    A day counts where equity is positive, debt is not negative, and all three are finite; not where
    equity is below 1e-250 of the debt or the rate times the horizon beyond 50 of either sign. A
    window needs changes between days that follow each other for half of its days.

    Parameters
    ----------
    equity_series
        a row a firm, a value a day: shape (firms, days), or (days,) for one firm.
    debt_series, rate
        the same, or what broadcasts to it.
    horizon
        years, more than 0: one, or an array of shape (horizons,).
    window
        days of a window, at least 3.
    step
        days from the start of a window to the next; `window` if None, so that they do not overlap.
    workers
        threads; by default PRICER_WORKERS, else the cores available to this process.

    Returns
    -------
    Estimates of shape (firms, windows, horizons), without firms where there is one series, without
    horizons where one number is given.
    """
    given = {"equity": equity_series, "debt": debt_series, "rate": rate}
    arrays = {name: numbers_of(name, value) for name, value in given.items()}
    equity, debt, rates = _together(arrays)
    horizons = check_horizons(horizon)
    window = check_days("window", window, LEAST_WINDOW)
    step = window if step is None else check_days("step", step, 1)
    if equity.ndim not in (1, 2) or arrays["equity"].shape != equity.shape:
        raise SpecError(
            "equity_series: must be of shape (days,) or (firms, days) and the others broadcast to"
            f" it, got {arrays['equity'].shape}"
        )
    days = equity.shape[-1]
    if not days:
        raise SpecError(f"equity_series: must have a day at least, got {equity.shape}")
    firms = equity.size // days
    starts = np.arange(0, max(days - window, 0) + 1, step)
    first = (days * np.arange(firms)[:, None] + starts).reshape(-1)
    end = np.minimum(first + window, days * np.repeat(np.arange(1, firms + 1), len(starts)))
    count = len(horizons)
    found = estimate_windows(
        equity.reshape(-1),
        debt.reshape(-1),
        rates.reshape(-1),
        np.repeat(first, count),
        np.repeat(end, count),
        np.tile(horizons, len(first)),
        window,
        workers=workers,
    )
    shape = (*equity.shape[:-1], len(starts)) + (count,) * np.ndim(horizon)
    return found.reshaped(shape)


def estimate_windows(
    equity: Floats,
    debt: Floats,
    rate: Floats,
    first: Indices,
    end: Indices,
    horizon: Floats,
    window: int,
    *,
    workers: int | None = 1,
) -> Estimates:
    """Estimate from n windows, each the rows `first` to before `end`, at its horizon.

    `equity`, `debt` and `rate` have a row a day of whatever firm, all other arrays shape (n,).
    A whole window has `window` days.
    """
    (kernel,) = kernels("merton")
    # None of these has half of a window that is longer still, for which a kernel needs no room.
    window = min(window, 2 * int((end - first).max(initial=0)) + 2)
    out, code = np.empty((len(kernel.ROWS), len(first))), np.empty(len(first), np.int8)
    days = [for_kernels(array) for array in (equity, debt, rate)]
    cells = [for_kernels(array) for array in (first, end, horizon)]

    def estimate(part: slice) -> None:
        rows = np.empty((len(out), len(code[part])))
        kernel.estimates(*days, *(array[part] for array in cells), window, rows, code[part])
        out[:, part] = rows

    _on_threads(estimate, len(first), ESTIMATED_TOGETHER, workers)
    values: dict[str, Any] = dict(zip(kernel.ROWS, out, strict=True))
    status = _STATUS[code]
    # Those long enough, but for the days that are of no use.
    few = np.flatnonzero((code == FEW_DAYS) & (2 * (end - first - 1) >= window))
    if len(few):
        code[few] = _useless(days, first[few], end[few])
    return Estimates(**values, status=status, why=code)


def _useless(days: list[Floats], first: Indices, end: Indices) -> NDArray[np.int8]:
    """Say which column alone makes days of windows useless; `FEW_DAYS` where none is alone."""
    equity, debt, rate = days
    with np.errstate(invalid="ignore"):
        useless = [
            ~(np.isfinite(equity) & (equity > 0)),
            ~(np.isfinite(debt) & (debt >= 0)),
            ~np.isfinite(rate),
        ]
    counts = [np.concatenate(([0], np.cumsum(column))) for column in useless]
    lacks = np.array([count[end] > count[first] for count in counts])
    which = np.array([NO_EQUITY, NO_DEBT, NO_RATE], np.int8)[lacks.argmax(axis=0)]
    return np.where(lacks.sum(axis=0) == 1, which, np.int8(FEW_DAYS))


def check_horizons(horizon: ArrayLike) -> Floats:
    """Return horizons as an array of shape (n,), if each can be one."""
    horizons = np.atleast_1d(numbers_of("horizon", horizon))
    if horizons.ndim > 1 or not len(horizons):
        raise SpecError(f"horizon: must be a number or a list of them, got {horizons.shape}")
    for value in horizons.tolist():
        if not 0.0 < value < np.inf:
            raise SpecError(f"horizon: must be positive and finite, got {value}")
    return horizons


def check_days(name: str, days: object, least: int) -> int:
    """Return a number of days, if it is one and at least so many."""
    if isinstance(days, bool) or not isinstance(days, int | np.integer):
        raise SpecError(f"{name}: must be a whole number of days, got {days!r}")
    if days < least:
        raise SpecError(f"{name}: must be at least {least}, got {days}")
    return int(days)


def _together(arrays: dict[str, Floats]) -> list[Floats]:
    """Give arrays one shape; those that have it are not copied."""
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise SpecError(f"shapes do not broadcast: {shapes}") from None
    return [a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays.values()]


def _on_threads(
    work: Callable[[slice], None], count: int, together: int, workers: int | None
) -> None:
    """Do the work on slices of `count` things, side by side."""
    threads = check_workers(workers)
    parts = [slice(start, start + together) for start in range(0, count, together)]
    if threads == 1 or len(parts) < 2:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
