"""Paths of the Heston model: the quadratic-exponential scheme with its martingale correction.

dS/S = (r - q) dt + sqrt(v) dW, dv = kappa (theta - v) dt + xi sqrt(v) dB, dW dB = rho dt.
The variance of a substep is a shifted square of a normal, or, near 0, an exponential with a mass at
0; both have the exact conditional mean and variance, so that Feller's condition does not matter
(Andersen 2008, Efficient simulation of the Heston stochastic volatility model). Rows of paths are
shared out over lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import elementary
from .elementary import INVERSE_SQRT_2
from .jit import kernel
from .lane_elementary import erfcx, gaussian, log
from .lanes import (
    WIDTH,
    Lane,
    absolute,
    any_greater,
    broadcast,
    choose,
    load,
    maximum,
    square_root,
    store,
)

if TYPE_CHECKING:
    from .jit import Floats, Indices

SWITCH = 1.5  # the ratio of variance to squared mean above which the exponential is taken
LEAST_PSI = 1e-24
TINY = 1e-300
LEAST_XI = 1e-6  # a vol of variance below this one is this one; prices move by less than 1e-8


class HestonSteps(NamedTuple):
    """The model and the substeps of its paths."""

    v0: float
    kappa: float
    theta: float
    xi: float
    rho: float
    dt: Floats  # (M,) years
    drift: Floats  # (M,) ln of the forward's growth over the substep
    row: Indices  # (M,) the date that the substep ends at, or -1


def bias(v0: float, kappa: float, theta: float, xi: float, expiry: float, per_year: float) -> float:
    """Bound the error that the substeps leave in European prices, in units of the strike.

    It falls with the square of the substep. Factors are fitted, from above, to what the
    scheme's own characteristic function gave for 13 models, Feller's condition kept and not, of xi
    from 0.1 to 1.8 and kappa from 0.5 to 10, for expiries from 0.05 to 10 years and strikes from
    70 % to 140 % of the spot: 1.05 to 29 times the largest error of each, from 16 substeps a year.
    """
    move = np.sqrt(max(v0, theta) * max(expiry, 1.0))
    return float((0.07 * xi**3 + 0.01 * kappa**2 * move) / per_year**2)


def substeps_per_year(
    v0: float, kappa: float, theta: float, xi: float, expiry: float, most: float
) -> float:
    """Return how many substeps a year keep `bias` to `most`, and `fill` to its bound on xi dt."""
    needed = np.sqrt(bias(v0, kappa, theta, xi, expiry, 1.0) / most)
    return float(max(needed, 2.0 * xi + kappa))


def heston_steps(
    v0: float,
    kappa: float,
    theta: float,
    xi: float,
    rho: float,
    times: Floats,
    growth: Floats,
    per_year: float,
) -> HestonSteps:
    """Cut the intervals between 0 and increasing dates, shape (D,), into substeps of equal length.

    `growth` is the logarithm of the forward over the spot at the dates; each interval has at least
    `per_year` substeps a year, and one.
    """
    gaps = np.diff(times, prepend=0.0)
    counts = np.maximum(np.ceil(gaps * per_year), 1.0).astype(np.int64)
    row = np.full(counts.sum(), -1, np.int64)
    row[np.cumsum(counts) - 1] = np.arange(len(times))
    return HestonSteps(
        v0,
        kappa,
        theta,
        xi,
        rho,
        np.repeat(gaps / counts, counts),
        np.repeat(np.diff(growth, prepend=0.0) / counts, counts),
        row,
    )


@kernel
def deal(z: Floats, asset: Floats, variance: Floats) -> None:
    """Deal the rows of z, shape (2M, P), to the asset, which gets the first, and the variance.

    So both Brownian bridges have the better dimensions for their large moves.
    """
    for m in range(len(asset)):
        asset[m] = z[2 * m]
        variance[m] = z[2 * m + 1]


@kernel
def _log_upper_tail(z: Lane) -> Lane:
    """Return ln N(-z)."""
    tail = 0.5 * gaussian(z) * erfcx(absolute(z) * INVERSE_SQRT_2)
    return log(choose(z, broadcast(0.0), tail, 1.0 - tail))


@kernel
def fill(
    steps: HestonSteps, asset: Floats, variance: Floats, x: Floats, v: Floats, own: Floats
) -> None:
    """Fill x and v, shape (D, P): ln(S_t / S_0) and the variance at the D dates.

    `asset` and `variance`, shape (M, P), are two independent Brownian motions at the ends of the M
    substeps: of S, as far as it does not follow v, and of v. `own`, shape (2, P), becomes what the
    asset's own motion adds to x until the first date, and the variance of that, given v: given the
    path of v, x at the first date is normal. E[S_t] is exact. xi dt (1 + kappa dt / 2) must be
    below 1.
    """
    groups = asset.shape[1] // WIDTH
    now_x = np.zeros(asset.shape[1])
    now_v = np.full(asset.shape[1], steps.v0)
    kappa, theta, rho = steps.kappa, steps.theta, steps.rho
    xi = max(steps.xi, LEAST_XI)
    zero = broadcast(0.0)
    own[:] = 0.0
    first = True
    for m in range(len(steps.dt)):
        dt = steps.dt[m]
        per_root = 1.0 / np.sqrt(dt)
        lost = -elementary.expm1(-kappa * dt)
        span = lost / kappa if kappa * dt > 1e-12 else dt
        pull = theta * lost
        by_v = xi * xi * (1.0 - lost) * span
        by_theta = 0.5 * xi * xi * theta * lost * span
        tilt = rho / xi * (1.0 + 0.5 * kappa * dt) - 0.25 * rho * rho * dt
        half = 0.5 * dt * (1.0 - rho * rho)
        row = steps.row[m]
        for g in range(groups):
            here = m * groups + g
            w, b = load(asset, here), load(variance, here)
            if m > 0:
                w = w - load(asset, here - groups)
                b = b - load(variance, here - groups)
            z = b * per_root
            v0 = load(now_v, g)

            mean = v0 * (1.0 - lost) + pull
            spread = v0 * by_v + by_theta
            # 1 / psi; capped, its square below stays finite.
            square = mean * mean
            ratio = square / maximum(spread, LEAST_PSI * square + TINY)
            twice = 2.0 * ratio
            more = maximum(twice - 1.0, zero)
            b2 = more + square_root(twice * more)
            scale = mean / (1.0 + b2)
            shifted = square_root(b2) + z
            v1 = scale * shifted * shifted
            rest = 1.0 - 2.0 * tilt * scale
            power = tilt * b2 * scale / rest
            weight = broadcast(-0.5)
            limit = broadcast(1.0 / SWITCH)
            if any_greater(limit, ratio):
                half_scale = 0.5 * (mean + spread / maximum(mean, broadcast(TINY)))
                alive = twice / (1.0 + ratio)
                lead = log(maximum(alive, broadcast(TINY))) - _log_upper_tail(z)
                there = maximum(half_scale * lead, zero)
                v1 = choose(limit, ratio, there, v1)
                moment = 1.0 + alive * (tilt * half_scale / (1.0 - tilt * half_scale))
                rest = choose(limit, ratio, moment, rest)
                power = choose(limit, ratio, zero, power)
                weight = choose(limit, ratio, broadcast(1.0), weight)
            total = half * (v0 + v1)
            move = square_root(total) * (w * per_root)
            x1 = load(now_x, g) + (
                steps.drift[m] + (tilt * v1 - power - weight * log(rest)) - 0.5 * total + move
            )
            store(now_x, g, x1)
            store(now_v, g, v1)
            if first:
                store(own, g, load(own, g) + move)
                store(own, groups + g, load(own, groups + g) + total)
            if row >= 0:
                store(x, row * groups + g, x1)
                store(v, row * groups + g, v1)
        first = first and row < 0


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64 and int64."""
    one, paths = np.ones(1), np.zeros((1, WIDTH))
    interleaved = np.zeros((2, WIDTH))
    deal(interleaved, paths, paths)
    steps = heston_steps(0.04, 1.0, 0.04, 0.5, -0.5, one, one, 1)
    fill(steps, paths, paths, paths.copy(), paths.copy(), interleaved)
