"""When: the time nodes of a backward march, graded after everything that makes a kink or a jump."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .claims import KNOCKS_OUT, Contracts
from .elementary import log
from .jit import kernel

if TYPE_CHECKING:
    from .jit import Floats, Indices

BASE_STEPS = 10  # steps at level 0 of a family without events, at least
MOST_STEPS = 80  # and at most, in a corridor that is left soon
START_STEPS = 10  # least steps at level 0 up to the first expiry of several
EVENT_STEPS = 2  # least steps at level 0 between two events
SAME_DATE = 1e-12  # of the last expiry: times closer than this are one


class Schedule(NamedTuple):
    """The steps at level 0, backwards; time is counted from the last expiry down.

    Step m goes from ``anchor[m] + start[m]**2`` to ``anchor[m] + stop[m]**2``; finer levels cut it
    equally between `start` and `stop`, so that steps grow quadratically after each anchor. In it
    coefficients are those of `segment`; at its end comes `event`, and the solution at `expiry` is
    kept: both are numbered within the family, -1 for none. Shapes (steps,).
    """

    anchor: Floats
    start: Floats
    stop: Floats
    segment: Indices
    event: Indices
    expiry: Indices
    first_event: int


@kernel
def base_steps(contracts: Contracts, f: int) -> int:
    """Return how many steps span family f's time: more where a corridor empties within it.

    Between two barriers watched continuously what is left decays at a rate of pi^2 / 2 times the
    variance over the squared width.
    """
    steps = BASE_STEPS
    lower, upper = contracts.lower[f], contracts.upper[f]
    is_corridor = contracts.knock[f] == KNOCKS_OUT and contracts.continuous[f] != 0
    if is_corridor and lower > 0.0 and upper < np.inf:
        width = log(upper / lower)
        begin = variance = 0.0
        total = contracts.expiries[contracts.expiry_offsets[f + 1] - 1]
        for g in range(contracts.segment_offsets[f], contracts.segment_offsets[f + 1]):
            end = min(contracts.segment_ends[g], total)
            variance += contracts.sigma[g] * contracts.sigma[g] * (end - begin)
            begin = end
        decay = 0.5 * np.pi * np.pi * variance / (width * width)
        while steps < 4.0 * decay and steps < MOST_STEPS:
            steps *= 2
    return steps


@kernel
def schedule(
    contracts: Contracts, f: int
) -> tuple[Floats, Floats, Floats, Indices, Indices, Indices, int]:
    """Return the fields of `Schedule` of family f, whose segments are merged."""
    expiries = contracts.expiries[contracts.expiry_offsets[f] : contracts.expiry_offsets[f + 1]]
    ends = contracts.segment_ends[contracts.segment_offsets[f] : contracts.segment_offsets[f + 1]]
    times = contracts.event_times[contracts.event_offsets[f] : contracts.event_offsets[f + 1]]
    total = expiries[-1]
    same = SAME_DATE * total
    anchors, starts, stops = [0.0][:0], [0.0][:0], [0.0][:0]
    segments, events, slices = [0][:0], [0][:0], [0][:0]
    widest = np.sqrt(total) / base_steps(contracts, f)
    e, g, x = len(times) - 1, len(ends) - 1, 0
    first_event = -1
    if e >= 0 and total - times[e] <= same:
        first_event = e
        e -= 1
    american = contracts.american[f] != 0
    least = START_STEPS if len(times) == 0 else EVENT_STEPS
    anchor, reach = 0.0, 0.0
    while x < len(expiries):
        while g > 0 and total - ends[g - 1] <= reach + same:
            g -= 1
        until = expiries[x]
        if e >= 0:
            until = min(until, total - times[e])
        if g > 0:
            until = min(until, total - ends[g - 1])
        begin = len(starts)
        first, last = np.sqrt(reach - anchor), np.sqrt(until - anchor)
        place = first
        while place < last * (1.0 - 1e-9):
            following = place + min(widest, (last if first == 0.0 else place) / least)
            anchors.append(anchor)
            starts.append(place)
            stops.append(following)
            segments.append(g)
            events.append(-1)
            slices.append(-1)
            place = following
        scale = (last - first) / (place - first)
        for k in range(begin, len(starts)):
            starts[k] = first + (starts[k] - first) * scale
            stops[k] = first + (stops[k] - first) * scale
        reach = until
        if e >= 0 and total - times[e] <= reach + same:
            events[-1] = e
            e -= 1
            anchor = reach
        if american and g > 0 and total - ends[g - 1] <= reach + same:
            # The exercise boundary leaps where the coefficients do.
            anchor = reach
        if expiries[x] <= reach + same:
            slices[-1] = x
            x += 1
    return (
        np.array(anchors), np.array(starts), np.array(stops), np.array(segments),
        np.array(events), np.array(slices), first_event,
    )  # fmt: skip
