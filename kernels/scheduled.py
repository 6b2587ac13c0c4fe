"""Contracts with barriers, dates, dividends and curves by finite differences.

The value per unit v(s, t) of a claim on s = spot over unit follows, between dates,

    v_t + sigma^2 s^2 v_ss / 2 + (r - q) s v_s - r v = 0

with coefficients constant in segments of time. It is marched backwards on a mesh uniform in ln s
(`layout`), on time nodes graded after every date (`schedule`), by TR-BDF2 (Bank et al. 1985)
with early exercise by policy iteration (`stages`; Reisinger and Witte 2012), which knows any
number of exercise boundaries. Dates are applied at the nodes, kinks between them averaged
(`events`). A knock-in marches beside what it activates.

Meshes double until the error holds (`readout`): two extrapolated solutions, from h, h/2 and from
h/2, h/4, each free of the h^2 term, are compared. vega, rho and dividend_rho are central
differences on the same meshes. `WIDTH` families with the same dates march abreast, one a lane; a
lane never sees its neighbours, so neither do its bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .backward import BUMPS, march, rate_bump, sigma_bump
from .claims import Contracts, merge_segments
from .layout import Mesh, mesh
from .readout import Surfaces, differentiate, evaluate, extrapolate
from .schedule import Schedule, base_steps, schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .jit import Floats, Indices

__all__ = ["Contracts", "Surfaces", "evaluate", "solve", "warm_up"]

TOP_NODES = 6401  # meshes end here
TOP_WORK = 3e8  # or at this many nodes times steps
SPAN = 4.0  # ratio of expiries that one mesh serves
SPAN_SLICES = 64  # expiries that one mesh serves at most
GROUP = 64  # families that are solved together, at most
TRUNCATION = 5e-3  # of the tolerance, or of 4e-6 if that is less, for cutting the domain


def solve(contracts: Contracts, tolerance: float, greeks: bool) -> Surfaces:
    """Solve F families, each refined until its error is below `tolerance` per unit.

    The error counts inside the family's bounds; meshes stop at `TOP_NODES` and `TOP_WORK` all the
    same. `greeks` asks for the derivatives that vega, rho and dividend_rho need.
    """
    cut = TRUNCATION * min(tolerance, 4e-6)
    parts = _spans(contracts)
    offsets, ends, r, q, sigma = merge_segments(parts)
    parts = parts._replace(segment_offsets=offsets, segment_ends=ends, r=r, q=q, sigma=sigma)
    base = Mesh(*mesh(parts, cut))
    offsets = parts.expiry_offsets
    fields = 5 if greeks else 2
    sizes, starts = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.int64)
    pieces: list[Floats] = []
    filled = 0
    for group in _groups(parts, base):
        for place, values in _solve_group(group, parts, base, tolerance - cut, greeks):
            where = slice(offsets[place], offsets[place + 1])
            sizes[where] = values.shape[1]
            starts[where] = filled + np.arange(len(values)) * values.shape[1] * fields
            pieces.append(values.reshape(-1))
            filled += values.size
    slices = np.diff(offsets)
    family = np.repeat(np.arange(len(slices)), slices)
    finer = (sizes - 1) // base.intervals[family]
    watched = (parts.continuous[family] != 0) & (parts.knock[family] == 2)
    return Surfaces(
        left=base.left[family],
        spacing=base.width[family] / finer,
        sizes=sizes,
        lower_row=_finer(np.where(watched, base.lower_row[family], -1), finer),
        upper_row=_finer(np.where(watched, base.upper_row[family], -1), finer),
        fields=fields,
        starts=starts,
        values=np.concatenate(pieces),
        cut=cut,
    )


def _finer(rows: Indices, splits: Indices | int) -> Indices:
    return np.where(rows >= 0, rows * splits, -1)


def _solve_group(
    active: Indices, parts: Contracts, base: Mesh, accuracy: float, greeks: bool
) -> Iterator[tuple[int, Floats]]:
    """Solve families of one shape level by level; yield each, and its values, when it is done."""
    dates = Schedule(*schedule(parts, active[0]))
    intervals = int(base.intervals[active[0]])
    expiries = int(np.diff(parts.expiry_offsets)[active[0]])

    def solution(level: int, chosen: Indices, bumps: Indices) -> Floats:
        splits = 1 << level
        finer = base._replace(
            width=base.width / splits,
            lower_row=_finer(base.lower_row, splits),
            upper_row=_finer(base.upper_row, splits),
        )
        out = np.empty((len(chosen), expiries, intervals * splits + 1))
        march(level, chosen, bumps, parts, finer, dates, out)
        return out

    levels: list[Floats] = []
    level = 0
    while True:
        levels.append(solution(level, active, np.zeros(len(active), np.int64)))
        if level >= 2:
            coarse, medium, fine = levels
            values = np.empty((*medium.shape, 5 if greeks else 2))
            worst = extrapolate(level, active, parts, base, coarse, medium, fine, values)
            work = float(len(dates.anchor)) * intervals * 4.0 ** (level + 1)
            last = intervals << (level + 1) >= TOP_NODES or work > TOP_WORK
            done = (worst <= accuracy) | last
            if greeks and done.any():
                chosen = np.repeat(active[done], BUMPS - 1)
                bumps = np.tile(np.arange(1, BUMPS), done.sum())
                shifted = [solution(each, chosen, bumps) for each in (level - 1, level)]
                bumped = [(sigma_bump(parts, f), rate_bump(parts, f)) for f in active[done]]
                steps = np.array([(by_vol, by_rate, by_rate) for by_vol, by_rate in bumped])
                solved = values[done]
                differentiate(shifted[0], shifted[1], steps, solved)
                values[done] = solved
            for i in np.flatnonzero(done):
                yield int(active[i]), values[i]
            active = active[~done]
            if not len(active):
                return
            levels = [medium[~done], fine[~done]]
        level += 1


def _spans(contracts: Contracts) -> Contracts:
    """Cut families so that a mesh serves expiries within a factor of `SPAN`, and not too many."""
    offsets, expiries = contracts.expiry_offsets, contracts.expiries
    if len(expiries) == len(contracts.theta):
        return contracts
    chosen, starts = [], []
    for f in range(len(contracts.theta)):
        begin = offsets[f]
        for e in range(offsets[f], offsets[f + 1]):
            if e == begin or expiries[e] > SPAN * expiries[begin] or e - begin == SPAN_SLICES:
                begin = e
                chosen.append(f)
                starts.append(e)
    fields = contracts._asdict()
    families = np.array(chosen)
    for name, values in fields.items():
        if name not in RAGGED:
            fields[name] = values[families]
    for offsets_name, names in RAGGED_FIELDS.items():
        begins = fields[offsets_name]
        lengths = np.diff(begins)[families]
        ends = np.cumsum(lengths)
        at = np.repeat(begins[families] - (ends - lengths), lengths) + np.arange(lengths.sum())
        fields[offsets_name] = np.concatenate(([0], ends))
        for name in names:
            fields[name] = fields[name][at]
    fields["expiry_offsets"] = np.array([*starts, len(expiries)])
    return Contracts(**fields)


RAGGED_FIELDS = {
    "segment_offsets": ("segment_ends", "r", "q", "sigma"),
    "event_offsets": (
        "event_times", "event_exercise", "event_monitor", "event_cash", "event_proportional",
    ),
}  # fmt: skip
RAGGED = {"expiry_offsets", "expiries", *RAGGED_FIELDS, *sum(RAGGED_FIELDS.values(), ())}


def _groups(parts: Contracts, base: Mesh) -> Iterator[Indices]:
    """Gather families that march abreast: of one shape, with the same dates."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for f in range(len(parts.theta)):
        expiries = slice(parts.expiry_offsets[f], parts.expiry_offsets[f + 1])
        segments = slice(parts.segment_offsets[f], parts.segment_offsets[f + 1])
        events = slice(parts.event_offsets[f], parts.event_offsets[f + 1])
        key = (
            int(base.intervals[f]),
            base_steps(parts, f),
            int(parts.american[f]),
            int(parts.knock[f]) == 2,
            int(parts.continuous[f]),
            int(parts.escrowed[f]),
            parts.expiries[expiries].tobytes(),
            parts.segment_ends[segments][:-1].tobytes(),
            parts.event_times[events].tobytes(),
        )
        alike.setdefault(key, []).append(f)
    for families in alike.values():
        for start in range(0, len(families), GROUP):
            yield np.array(families[start : start + GROUP])


def warm_up() -> None:
    """Compile for the one layout callers use: contiguous arrays of float64, int8 and int64."""
    one, sign, two = np.ones(1), np.ones(1, np.int8), np.array([0, 1])
    contracts = Contracts(
        theta=-sign, alpha=-one, beta=one, kink=one, knock=sign, lower=0.5 * one, upper=2.0 * one,
        lower_rebate=one, upper_rebate=one, timing=sign, american=sign, continuous=0 * sign,
        escrowed=0 * sign, low=one, high=one, expiry_offsets=two, expiries=one,
        segment_offsets=two, segment_ends=one, r=0.1 * one, q=0.0 * one, sigma=0.2 * one,
        event_offsets=two, event_times=0.5 * one, event_exercise=sign, event_monitor=sign,
        event_cash=0.01 * one, event_proportional=0.01 * one,
    )  # fmt: skip
    surfaces = solve(contracts, 1.0, True)
    evaluate(contracts, surfaces, two, one, one, one, np.empty((8, 1)))
