"""Merton's jump diffusion as a sum over the number of jumps (Merton 1976).

Given their number, y = ln(S_T / F), F the forward, is normal. The sum converges where a cosine
series does not: where little or nothing but jumps moves the spot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .black_scholes import EPSILON
from .elementary import expm1, normal_cdf, normal_pdf
from .jit import kernel

if TYPE_CHECKING:
    Five = tuple[float, float, float, float, float]
    Eight = tuple[float, float, float, float, float, float, float, float]

NEGLIGIBLE = 1e-20  # of the likeliest number of jumps


@kernel
def _likeliest(expected: float) -> tuple[int, float]:
    """Return the likeliest number of a Poisson variable and 1 / the sum of relative chances."""
    mode = int(np.floor(expected))
    total, chance, n = 1.0, 1.0, mode
    while n > 0 and chance > NEGLIGIBLE:
        chance *= n / expected
        n -= 1
        total += chance
    chance, n = 1.0, mode
    while chance > NEGLIGIBLE:
        n += 1
        chance *= expected / n
        total += chance
    return mode, 1.0 / total


@kernel
def _normal(z: float, inverse: float) -> tuple[float, float]:
    """Return N(z) and N'(z) / deviation; a step, halved at 0, where there is no deviation."""
    if inverse > 0.0:
        return normal_cdf(z), normal_pdf(z) * inverse
    return (1.0 if z > 0.0 else (0.5 if z == 0.0 else 0.0)), 0.0


@kernel
def over_jumps(T: float, five: Five, k: float) -> tuple[Eight, float]:
    """Return what is below k, and how far its probabilities may be off.

    That is P(y < k), its derivatives by vol and T, E[e^y; y < k], its derivatives, the density and
    its slope. `five` are sigma, intensity, mean and deviation of the logarithm of a jump, and 0.
    Where a number of jumps leaves nothing random, half of what it has at k is below.
    """
    sigma, intensity, mean, deviation, _ = five
    spread = deviation * deviation
    power = mean + 0.5 * spread
    growth = expm1(power)
    below = below_vol = below_T = asset = asset_vol = asset_T = density = slope = 0.0
    off = 10.0
    # The asset's measure has more jumps, or fewer, of another size: e^power times as many.
    for measure in range(2):
        lift = 1.0 if measure == 1 else 0.0
        rate = intensity * (1.0 + lift * growth)
        mode, first = _likeliest(rate * T)
        for side in range(2):
            n = mode if side == 0 else mode + 1
            chance = first if side == 0 else first * (rate * T / n)
            while chance > NEGLIGIBLE * first:
                variance = sigma * sigma * T + n * spread
                inverse = 1.0 / np.sqrt(variance) if variance > 0.0 else 0.0
                centre = n * mean - intensity * growth * T + (lift - 0.5) * sigma * sigma * T
                away = k - centre - lift * n * spread
                z = away * inverse if variance > 0.0 else away
                share, height = _normal(z, inverse)
                by_variance = -0.5 * away * inverse * inverse
                by_vol = 2.0 * sigma * T * (by_variance - (lift - 0.5))
                drift = intensity * growth - (lift - 0.5) * sigma * sigma
                by_T = drift + sigma * sigma * by_variance
                by_chance = n / T - rate
                size = abs(k) + n * (abs(mean) + spread) + intensity * abs(growth) * T
                off += 1.0 + 8.0 * chance * (1.0 + height * size)
                if measure == 0:
                    below += chance * share
                    below_vol += chance * height * by_vol
                    below_T += chance * (by_chance * share + height * by_T)
                    density += chance * height
                    slope -= chance * height * z * inverse
                else:
                    asset += chance * share
                    asset_vol += chance * height * by_vol
                    asset_T += chance * (by_chance * share + height * by_T)
                if side == 0:
                    if n == 0:
                        break
                    chance *= n / (rate * T)
                    n -= 1
                else:
                    n += 1
                    chance *= rate * T / n
    below_k = below, below_vol, below_T, asset, asset_vol, asset_T, density, slope
    return below_k, EPSILON * off
