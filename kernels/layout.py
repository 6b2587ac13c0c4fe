"""Where: each family's mesh, uniform in ln s, with barriers on nodes or at its ends.

The payoff's kink is on a node too, where a barrier leaves room for that: an error that depends on
where between two nodes it lies would not vanish by extrapolation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .claims import KNOCKS_OUT, Contracts, is_bent
from .elementary import exp, log, normal_cdf
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Codes, Floats, Indices

BASE_INTERVALS = 48  # mesh intervals at level 0, at least
MOST_INTERVALS = 1600  # and at most
MOST_BETWEEN = 8192  # where two barriers have to be nodes of a mesh that reaches beyond both
DEVIATIONS = 2.0  # node spacing at level 0, at most, in standard deviations after a jump
KINK_DEVIATIONS = 4.0  # and after a kink
PECLET = 2.0  # and drift times spacing over variance
DEEPEST = 0.02  # cash dividends lower the mesh's left end to no less than this part of its bound
LEAST_PART = 0.5  # of the spacing: a kink farther from a barrier than this is on a node too
CLIP = 9.0  # barriers farther away than this many standard deviations are not seen


class Mesh(NamedTuple):
    """Meshes of F families at level 0: node i lies at ln s = left + i width, i = 0..intervals.

    `lower_row` and `upper_row` are the barriers' nodes, -1 where the mesh has none;
    `lower_end` and `upper_end` say that the mesh ends at a barrier watched continuously. Where
    the spacing resolves the shortest time between dates `coarse` is 0, else the standard
    deviation in that time, or infinite where the mesh does not reach its barriers; `skewed` says
    that the payoff's kink is not on a node. Shapes (F,).
    """

    left: Floats
    width: Floats
    intervals: Indices
    lower_row: Indices
    upper_row: Indices
    lower_end: Codes
    upper_end: Codes
    coarse: Floats
    skewed: Codes


@kernel
def _passage(distance: float, drift: float, time: float) -> float:
    """Return the chance that Brownian motion with this drift rises by `distance` within `time`."""
    if distance <= 0.0:
        return 1.0
    root = np.sqrt(time)
    direct = normal_cdf((drift * time - distance) / root)
    reflected = normal_cdf((-distance - drift * time) / root)
    if reflected > 0.0:
        reflected *= exp(min(2.0 * drift * distance, 700.0))
    return float(min(direct + reflected, 1.0))


@kernel
def _reach(
    begin: float, start: float, kink: float, out: float, back: float, time: float, slack: float
) -> float:
    """Return how far beyond `begin`, upwards, the mesh has to go.

    What is imposed there is wrong by the chance of coming back to the kink, with drift `back`
    downwards, and counts with the chance of getting there from the start, with drift `out`.
    """
    step = min(float(np.sqrt(time)), 1.0) / 16.0
    end = begin + step
    while _passage(end - start, out, time) * _passage(end - kink, back, time) > slack:
        step *= 1.05
        end += step
    return end


@kernel
def _rounded(wanted: float) -> int:
    """Round a number of intervals up to one of few, so that families share shapes."""
    part = 8
    while part * 8 < wanted:
        part *= 2
    return part * int(np.ceil(wanted / part))


@kernel
def mesh(
    contracts: Contracts, slack: float
) -> tuple[Floats, Floats, Indices, Indices, Indices, Codes, Codes, Floats, Codes]:
    """Return the fields of `Mesh`; a cut domain costs at most about `slack` of a unit."""
    count = len(contracts.theta)
    lefts, widths, coarse = np.empty(count), np.empty(count), np.zeros(count)
    intervals = np.empty(count, np.int64)
    lower_row, upper_row = np.full(count, -1), np.full(count, -1)
    lower_end, upper_end = np.zeros(count, np.int8), np.zeros(count, np.int8)
    skewed = np.zeros(count, np.int8)
    for f in range(count):
        first, last = contracts.expiry_offsets[f], contracts.expiry_offsets[f + 1]
        total = contracts.expiries[last - 1]
        time, steepest, least = 0.0, 0.0, np.inf
        fastest, slowest = -np.inf, np.inf
        nearest, farthest = np.inf, -np.inf
        begin = 0.0
        for g in range(contracts.segment_offsets[f], contracts.segment_offsets[f + 1]):
            end = min(contracts.segment_ends[g], total)
            variance = contracts.sigma[g] * contracts.sigma[g]
            drift = (contracts.r[g] - contracts.q[g]) / variance - 0.5
            time += variance * (end - begin)
            least = min(least, contracts.sigma[g])
            steepest = max(steepest, abs(drift))
            fastest, slowest = max(fastest, drift), min(slowest, drift)
            if contracts.r[g] < 0.0 and contracts.q[g] < 0.0:
                bound = log(contracts.r[g] / contracts.q[g])
                nearest, farthest = min(nearest, bound), max(farthest, bound)
            begin = end
        exercised = contracts.american[f] != 0
        cash, kept, held, smallest = 0.0, 1.0, 0.0, 1.0
        shortest, after = total, total
        if last - first > 1:
            shortest = contracts.expiries[first]
        for e in range(contracts.event_offsets[f + 1] - 1, contracts.event_offsets[f] - 1, -1):
            if contracts.escrowed[f] != 0:
                held += contracts.event_cash[e]
            else:
                cash += contracts.event_cash[e]
                if contracts.event_cash[e] > 0.0:
                    smallest = min(smallest, contracts.event_cash[e])
            kept *= 1.0 - contracts.event_proportional[e]
            exercised = exercised or contracts.event_exercise[e] != 0
            # A watched barrier makes a jump that has to diffuse until the date before.
            before = contracts.event_times[e - 1] if e > contracts.event_offsets[f] else 0.0
            jumps = contracts.event_monitor[e] != 0 and contracts.continuous[f] == 0
            share = 1.0 if jumps else KINK_DEVIATIONS * KINK_DEVIATIONS
            shortest = min(shortest, share * (contracts.event_times[e] - before))
            if contracts.event_times[e] < total:
                after = min(after, total - contracts.event_times[e])
        shortest = min(shortest, after * KINK_DEVIATIONS * KINK_DEVIATIONS)
        deviation = least * np.sqrt(shortest)

        low = log(max(contracts.low[f] - held, DEEPEST * contracts.low[f]))
        high = log(contracts.high[f])
        lowest = log(max(exp(low) - cash, DEEPEST * exp(low))) + log(max(kept, DEEPEST))
        clip = CLIP * np.sqrt(time) + max(abs(fastest), abs(slowest)) * time
        inner, outer = high, lowest
        if is_bent(contracts, f):
            kink = log(contracts.kink[f])
            inner, outer = min(inner, kink), max(outer, kink)
        if exercised:
            # Of two exercise boundaries the far one starts here at expiry.
            inner, outer = min(inner, nearest), max(outer, farthest)
        knock = contracts.knock[f]
        lower = log(contracts.lower[f]) if knock != 0 else -np.inf
        upper = log(contracts.upper[f]) if knock != 0 else np.inf
        if knock != 0:
            if lower > lowest - clip:
                inner, outer = min(inner, lower), max(outer, lower)
            if upper < high + clip:
                inner, outer = min(inner, upper), max(outer, upper)
        begin = min(lowest, inner)
        left = -_reach(-begin, -lowest, -inner, -slowest, fastest, time, slack)
        if cash > 0.0:
            # Where a dividend takes all that there is, the value bends.
            bend = log(smallest)
            reach = _reach(-lowest, -lowest, -bend, -slowest, fastest, time, slack)
            left = min(left, -reach)
        # A dividend jumps back from beyond: what lies at `outer` after all of them came from here.
        outer = log(exp(outer) / max(kept, DEEPEST) + cash)
        begin = max(high, outer)
        right = _reach(begin, high, outer, fastest, -slowest, time, slack)
        ends = knock == KNOCKS_OUT and contracts.continuous[f] != 0
        if ends and lower > left:
            left = lower
            lower_end[f] = 1
        if ends and upper < right:
            right = upper
            upper_end[f] = 1

        widest = min(DEVIATIONS * deviation, PECLET / max(steepest, 1e-300))
        wanted = min((right - left) / (BASE_INTERVALS - 1), widest)
        watched = knock != 0 and not ends
        below = lower_end[f] != 0 or (watched and left < lower < right)
        above = upper_end[f] != 0 or (watched and left < upper < right)
        bent = is_bent(contracts, f)
        first = log(contracts.kink[f]) if bent else 0.5 * (left + right)
        if below or above:
            first = lower if below else upper
        span = right - left
        n = _rounded(min(max(span / wanted + 1.0, BASE_INTERVALS), MOST_INTERVALS))
        width = span / (n - 1)
        if lower_end[f] != 0 and upper_end[f] != 0:
            width = span / n
        elif below and above:
            width = (upper - lower) / np.ceil((upper - lower) / wanted)
            n = _rounded(min(span / width + 1.0, MOST_BETWEEN))
        elif (below or above) and bent:
            distance = abs(log(contracts.kink[f]) - first)
            if distance > LEAST_PART * width:
                width = distance / np.ceil(distance / width)
                n = _rounded(min(span / width + 1.0, MOST_BETWEEN))
        if lower_end[f] == 0:
            rows = n if upper_end[f] != 0 else int(np.ceil((first - left) / width))
            left = first - rows * width
        if below and watched:
            lower_row[f] = int(np.floor((lower - left) / width + 0.5))
        if above and watched:
            upper_row[f] = int(np.floor((upper - left) / width + 0.5))
        if width > 1.01 * DEVIATIONS * deviation:
            coarse[f] = deviation
        if n * width < 0.99 * span:
            coarse[f] = np.inf
        if bent:
            place = (log(contracts.kink[f]) - left) / width
            skewed[f] = 1 if abs(place - np.floor(place + 0.5)) > 1e-6 else 0
        lefts[f], widths[f], intervals[f] = left, width, n
    return lefts, widths, intervals, lower_row, upper_row, lower_end, upper_end, coarse, skewed
