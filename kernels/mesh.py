"""Where a family is solved: its put problem in variance time, its mesh and its time nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .elementary import INVERSE_SQRT_2PI, exp, expm1, log
from .jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .jit import Codes, Floats, Indices

BASE_NODES = 24  # mesh intervals at level 0; doubled by every level
BASE_STEPS = 4  # time steps at level 0 of a family with one expiry
SPAN = 4.0  # ratio of expiries that one mesh serves
SPAN_SLICES = 64  # expiries that one mesh serves at most, so that a family of many fits in memory
REACH_STEPS = 2  # of Newton's method
REACH_MARGIN = 0.01  # deviations that it may have missed by
START_STEPS = 4  # least steps at level 0 up to the first expiry


class Options(NamedTuple):
    """F families of options: +1 call or -1 put, 1 American, the market, bounds of S/K, expiries.

    Every field has shape (F,) but the last two: family f has the positive expiries
    ``expiries[expiry_offsets[f]:expiry_offsets[f + 1]]``, at least one, increasing.
    """

    theta: Codes
    american: Codes
    sigma: Floats
    r: Floats
    q: Floats
    low: Floats
    high: Floats
    expiry_offsets: Indices
    expiries: Floats


class Problems(NamedTuple):
    """The put problems of F spans of families: coefficients, mesh at level 0, time nodes.

    x = ln(S/K) of the put; `left` is the mesh's left edge, `width` its node spacing, `left_nodes`
    the intervals from there to the strike, `low` and `high` bound what is asked, `exercised` says
    that the edge lies below the boundary at all times. `nodes` are square roots of variance
    times; family f owns ``nodes[node_offsets[f]:node_offsets[f + 1]]``, and `slice_nodes` says
    which of them each of its expiries is.
    """

    a: Floats
    b: Floats
    left: Floats
    width: Floats
    left_nodes: Indices
    low: Floats
    high: Floats
    exercised: Codes
    node_offsets: Indices
    nodes: Floats
    slice_nodes: Indices


def spans(options: Options) -> Options:
    """Cut families so that a mesh serves expiries within a factor of `SPAN`, and not too many.

    A mesh that reaches as far as the longest expiry needs is too coarse for one much shorter.
    Expiries keep their places.
    """
    family = np.repeat(np.arange(len(options.theta)), np.diff(options.expiry_offsets))
    firsts = np.zeros(len(family), np.bool_)
    _mark_spans(options.expiry_offsets, options.expiries, firsts)
    chosen = family[firsts]
    starts = np.append(np.flatnonzero(firsts), len(family))
    return Options(
        options.theta[chosen], options.american[chosen], options.sigma[chosen], options.r[chosen],
        options.q[chosen], options.low[chosen], options.high[chosen], starts, options.expiries,
    )  # fmt: skip


@kernel
def _mark_spans(offsets: Indices, expiries: Floats, firsts: NDArray[np.bool_]) -> None:
    for f in range(len(offsets) - 1):
        begin = offsets[f]
        for e in range(offsets[f], offsets[f + 1]):
            if e == begin or expiries[e] > SPAN * expiries[begin] or e - begin == SPAN_SLICES:
                begin = e
                firsts[e] = True


@kernel
def _mills(z: float) -> float:
    """Bound the normal tail from z >= 0 on, over the density there (Sampford 1953)."""
    return 4.0 / (3.0 * z + float(np.sqrt(z * z + 8.0)))


@kernel
def _log_passage(distance: float, drift: float, time: float) -> float:
    """Bound ln of the chance that Brownian motion with drift falls by `distance` within `time`."""
    if distance <= 0.0:
        return 0.0
    root = float(np.sqrt(time))
    direct, reflected = (distance + drift * time) / root, (distance - drift * time) / root
    if direct <= 0.0:
        return 0.0
    if reflected <= 0.0:
        return -2.0 * drift * distance  # the chance at any time
    tails = _mills(direct) + _mills(reflected)
    return min(-0.5 * direct * direct + log(INVERSE_SQRT_2PI * tails), 0.0)


@kernel
def _reach(start: float, drift: float, time: float, wrong: float, slack: float) -> float:
    """Return how far up a mesh must reach so that its end's value moves none from `start` down.

    The chance to get there times that to come back to 0, or e**wrong if that is more, must not
    exceed e**slack.
    """
    root = float(np.sqrt(time))
    # Without the powers before the exponentials; with them, Newton's method.
    middle = 0.5 * start + drift * time
    both = -slack * time - middle * middle
    way = np.sqrt(both) if both >= middle * middle else np.sqrt(-2.0 * slack * time) - abs(middle)
    x = 0.5 * start + float(way)
    if wrong > slack:
        x = max(x, start + drift * time + float(np.sqrt(2.0 * (wrong - slack) * time)))
    x = max(x, min(root, 1.0) / 16.0)
    for _ in range(REACH_STEPS):
        back = _log_passage(x, drift, time)
        excess = max(back, wrong) + _log_passage(x - start, -drift, time) - slack
        slope = max((x - start) / root - drift * root, 0.0)
        if back > wrong:
            slope += max(x / root + drift * root, 0.0)
        x = max(x + root * excess / max(slope, 1.0), min(root, 1.0) / 16.0)
    step = REACH_MARGIN * min(root, 1.0)
    while True:
        excess = max(_log_passage(x, drift, time), wrong) - slack
        if excess + _log_passage(x - start, -drift, time) <= 0.0:
            return x
        x += step
        step *= 1.5


@kernel
def _perpetual_boundary(a: float, b: float) -> float:
    """Ln of the exercise boundary of the perpetual put per unit of strike; a > 0."""
    mu = a - b - 0.5
    root = np.sqrt(mu * mu + 2.0 * a)
    # The negative root of m^2/2 + mu m - a, in the form without cancellation.
    m = -mu - root if mu > 0.0 else -2.0 * a / (root - mu)
    return log(m / (m - 1.0))


@kernel
def _domain(
    american: bool, a: float, b: float, low: float, high: float, time: float, slack: float
) -> tuple[float, float, bool]:
    """Bound x such that what lies beyond moves no price in [low, high] by more than `slack`.

    The value imposed at an edge is wrong by at most the chance of coming back from there to the
    strike, and counts with the chance of getting there. Below the perpetual boundary it is right;
    the third value says that the left edge is there.
    """
    mu = a - b - 0.5
    log_slack = log(slack)
    right = _reach(max(high, 0.0), mu, time, -np.inf, log_slack)
    exercised = american and a > 0.0
    premium = log(-expm1(-a * time)) if exercised else -np.inf
    floor = _perpetual_boundary(a, b) if exercised else -np.inf
    left = -_reach(-min(low, 0.0), -mu, time, premium, log_slack)
    return max(left, floor), right, left <= floor


@kernel
def _append_nodes(start: float, stop: float, widest: float, nodes: list[float]) -> None:
    """Append time nodes after `start` up to `stop`, at most `widest` apart.

    The first START_STEPS of an interval that starts at 0 are equal, and no later step is wider
    than 1/START_STEPS of where it starts: so every expiry has a graded start of its own.
    """
    begin = len(nodes)
    reach = start
    while reach < stop * (1.0 - 1e-9):
        reach += min(widest, (stop if start == 0.0 else reach) / START_STEPS)
        nodes.append(reach)
    scale = (stop - start) / (reach - start)
    for k in range(begin, len(nodes) - 1):
        nodes[k] = start + (nodes[k] - start) * scale
    nodes[-1] = stop


@kernel
def prepare(
    options: Options, truncation: float
) -> tuple[
    Floats, Floats, Floats, Floats, Indices, Floats, Floats, Codes, Indices, Floats, Indices
]:
    """Return the fields of `Problems`; a cut domain costs at most `truncation` of a strike."""
    count = len(options.sigma)
    a, b = np.empty(count), np.empty(count)
    left, width = np.empty(count), np.empty(count)
    low, high = np.empty(count), np.empty(count)
    left_nodes = np.empty(count, np.int64)
    exercised = np.empty(count, np.int8)
    node_offsets = np.zeros(count + 1, np.int64)
    nodes = [0.0 for _ in range(0)]
    slice_nodes = np.empty(len(options.expiries), np.int64)
    for f in range(count):
        variance = options.sigma[f] * options.sigma[f]
        a[f], b[f] = options.r[f] / variance, options.q[f] / variance
        low[f], high[f] = log(options.low[f]), log(options.high[f])
        first, last = options.expiry_offsets[f], options.expiry_offsets[f + 1]
        time = variance * options.expiries[last - 1]
        # An option that lives so short is worth little: the cut must be little of that too.
        slack = truncation * min(4.0 * np.sqrt(time), 1.0)
        if options.theta[f] > 0:
            a[f], b[f] = b[f], a[f]
            low[f], high[f] = -high[f], -low[f]
            # A call is worth its spot times u: the same part of a strike is less of u.
            slack *= min(exp(low[f]), 1.0)
        american = options.american[f] != 0
        x_left, x_right, settled = _domain(american, a[f], b[f], low[f], high[f], time, slack)
        if settled:
            # The value nears the perpetual one at least as fast as exp(-(a + mu^2/2) t).
            mu = a[f] - b[f] - 0.5
            reach = 20.0 - log(slack) + abs(mu) * (x_right - x_left)
            cap = reach / (a[f] + 0.5 * mu * mu)
            if cap < time:
                time = cap
                x_left, x_right, settled = _domain(
                    american, a[f], b[f], low[f], high[f], time, slack
                )
        width[f] = (x_right - x_left) / (BASE_NODES - 1)
        left_nodes[f] = int(np.ceil(-x_left / width[f]))
        left[f] = -left_nodes[f] * width[f]
        exercised[f] = 1 if settled else 0

        begin = len(nodes)
        nodes.append(0.0)
        widest = np.sqrt(time) / BASE_STEPS
        for e in range(first, last):
            stop = np.sqrt(min(variance * options.expiries[e], time))
            if stop > nodes[-1]:
                _append_nodes(nodes[-1], stop, widest, nodes)
            slice_nodes[e] = len(nodes) - 1 - begin
        node_offsets[f + 1] = len(nodes)
    return (
        a, b, left, width, left_nodes, low, high, exercised, node_offsets, np.array(nodes),
        slice_nodes,
    )  # fmt: skip
