"""Killed Brownian motion between two barriers as a series of sines, for corridors that are narrow.

The units and results are those of images.py, which converges where this does not. A place between
the barriers is its fraction of the corridor, whose width is `width` standard deviations; the drift
across it is gamma = kappa * width. Mode k decays by exp(-k^2 pi^2 / (2 width^2)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .elementary import exp
from .faddeeva import PI, sine_cosine
from .images import NEGLIGIBLE, nothing, plus
from .jit import kernel

if TYPE_CHECKING:
    from .images import Part, Passage

MOST_TURN = 6.25  # (n * width)^2 within which the stationary passage is a power series


@kernel
def survivors(
    first: float, last: float, kappa: float, down: float, up: float, slack: float
) -> Part:
    """Return who hits no barrier and ends between two edges, as `span` less `reflections`."""
    return plus(_edge(last, kappa, down, up, slack), -1.0, _edge(first, kappa, down, up, slack))


@kernel
def _modes(width: float) -> int:
    """Return how many modes count; the next is less than e^-NEGLIGIBLE of the first."""
    return int(np.ceil(np.sqrt(1.0 + 2.0 * NEGLIGIBLE * (width / PI) ** 2)))


@kernel
def _edge(y: float, kappa: float, down: float, up: float, slack: float) -> Part:
    """Return one end of the integral of the killed density, at the distance y below the spot.

    The antiderivative of e^(gamma v) sin(q v), q = k pi, is
    e^(gamma v) (gamma sin(q v) - q cos(q v)) / (gamma^2 + q^2).
    """
    width = down + up
    gamma = kappa * width
    at = down / width
    sine, cosine = sine_cosine(at)
    edge_sine, edge_cosine = sine_cosine((down - y) / width)
    reach = -y / width
    start = -gamma * y / width - 0.5 * kappa * kappa
    total = nothing()
    s, c, edge_s, edge_c = sine, cosine, edge_sine, edge_cosine
    for k in range(1, _modes(width) + 1):
        q = k * PI
        decay = 0.5 * (q / width) ** 2
        size = 2.0 * exp(start - decay)
        norm = gamma * gamma + q * q
        wave = (gamma * edge_s - q * edge_c) / norm
        by_gamma = reach * wave + (edge_s - 2.0 * gamma * wave) / norm
        value = size * s * wave
        by_drift = size * s * (width * by_gamma - kappa * wave)
        spread = (kappa * kappa - 2.0 * decay) * wave - 2.0 * gamma * by_gamma
        bound = size / np.sqrt(norm)
        inexact = (10.0 + 4.0 * (abs(start) + decay) + 4.0 * k) * bound
        moved = (abs(gamma) + q) * (5.0 + 2.0 * abs(reach)) * bound
        drifted = (slack + 2.0 * abs(kappa)) * (abs(kappa) + width * (abs(reach) + 1.0)) * bound
        mode = (
            value,
            size * wave * (q * c - gamma * s) / width,
            size * wave * ((gamma * gamma - q * q) * s - 2.0 * gamma * q * c) / (width * width),
            by_drift,
            size * s * spread,
            inexact + moved + drifted,
        )
        total = plus(total, 1.0, mode)
        s, c = s * cosine + c * sine, c * cosine - s * sine
        edge_s, edge_c = (
            edge_s * edge_cosine + edge_c * edge_sine,
            edge_c * edge_cosine - edge_s * edge_sine,
        )
    return total


@kernel
def _stationary(n2: float, y: float, lead: float) -> tuple[float, float, float]:
    """Return F = sinh(ny) / sinh(n) times exp(lead), -dF/dy and dF/d(n^2), for n2 = n^2 > -pi^2."""
    if n2 > MOST_TURN:
        n = np.sqrt(n2)
        size = exp(lead - n * (1.0 - y)) / (1.0 - exp(-2.0 * n))
        fade = exp(-2.0 * n * y)
        end = exp(-2.0 * n)
        value = size * (1.0 - fade)
        slope = size * (1.0 + fade)
        return value, -n * slope, 0.5 / n * (y * slope - value * (1.0 + end) / (1.0 - end))
    # Powers of n^2 in sinh(ny) / n, sinh(n) / n, cosh(ny), and the derivatives of the first two.
    power = 1.0
    here = here_by = there = there_by = slope = 0.0
    term, last = y, 1.0
    for j in range(18):
        here += power * term
        there += power * last
        slope += power * term * (2.0 * j + 1.0) / y
        order = (2.0 * j + 2.0) * (2.0 * j + 3.0)
        term *= y * y / order
        last /= order
        here_by += (j + 1.0) * power * term
        there_by += (j + 1.0) * power * last
        power *= n2
    size = exp(lead)
    value = here / there
    return size * value, -size * slope / there, size * (here_by - value * there_by) / there


@kernel
def passage(
    side: float, kappa: float, discount: float, down: float, up: float, slack: float
) -> Passage:
    """Return what `images.passage` does: the passage without end less what is left after T.

    Mode k is discounted by (n^2 + q^2) / 2 width^2, with n^2 = gamma^2 + 2 discount width^2, which
    must be above -MOST_TURN (after Hui 1996).
    """
    width = down + up
    gamma = side * kappa * width
    near = (down if side > 0.0 else up) / width
    n2 = gamma * gamma + 2.0 * discount * width * width
    lead = -gamma * near
    sine, cosine = sine_cosine(near)
    forever, slope, by_n2 = _stationary(n2, (up if side > 0.0 else down) / width, lead)
    value, curve, spread = forever, n2 * forever, 0.0
    rounding = (10.0 + 4.0 * (abs(gamma) + np.sqrt(abs(n2))) * near) * abs(forever)
    s, c = sine, cosine
    for k in range(1, _modes(width) + 1):
        q = k * PI
        norm = n2 + q * q
        decay = 0.5 * norm / (width * width)
        size = 2.0 * q * exp(lead - decay)
        value -= size * s / norm
        slope -= size * q * c / norm
        curve += size * q * q * s / norm
        by_n2 += size * s * (1.0 / norm + 0.5 / (width * width)) / norm
        spread += size * s / (width * width)
        rounding += (10.0 + 4.0 * (abs(lead) + decay) + 10.0 * k) * size / norm
        s, c = s * cosine + c * sine, c * cosine - s * sine
    by_drift = side * (2.0 * gamma * width * by_n2 - near * width * value)
    return (
        value,
        side * (slope - gamma * value) / width,
        (gamma * gamma * value - 2.0 * gamma * slope + curve) / (width * width),
        by_drift,
        2.0 * gamma * near * value
        + spread
        - 4.0 * (gamma * gamma + discount * width * width) * by_n2,
        rounding
        + 5.0 * near * (abs(slope) + abs(gamma * value))
        + (slack + 2.0 * abs(kappa)) * (abs(by_drift) + width * value)
        + 8.0 * abs(discount) * width * width * abs(by_n2),
        2.0 * width * width * by_n2,
    )
