"""What simulations look at on a path, and what contracts are paid on it, as kernels take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import NO_TABLE
from .claims import ASSET_AT_HIT, CASH_AT_EXPIRY, IN, OUT, claims_of
from .compiled import kernels
from .contracts import TYPES, WORDS
from .dated import Dates, Fixings
from .worlds import exponentials, has_cash, logarithms, snapped, timeline_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells
    from .worlds import Market, Timeline

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int8]
    Indices = NDArray[np.int64]

ASIAN, LOOKBACK = TYPES["asian"], TYPES["lookback"]
FORWARD_START, CLIQUET = TYPES["forward_start"], TYPES["cliquet"]
FLOATING = WORDS["strike_type"]["floating"]
GEOMETRIC = WORDS["average"]["geometric"]
CONTINUOUS_STEPS = 64  # of an average that is taken at all times


@dataclass(frozen=True, slots=True)
class Functionals:
    """What paths are reduced to: kernels' codes, shape (F,), and weights of dates, shape (F, D).

    Where the average runs already, `running` is the first step's weight per year: of it, what
    has passed has gone into the average so far.
    """

    operation: Codes
    weights: Floats
    running: Floats


@dataclass(frozen=True, slots=True)
class Contracts:
    """Contracts that share paths, ready for kernels.

    `parts` are the fields of the kernels' tuple for this `kind`, each of shape (C,) or (C, E);
    `added`, shape (C, E), is paid beside what paths pay. `control_mean` and `control_variance`,
    shape (C, E), describe the lognormal (or, without variance, the mean) of the control.
    """

    kind: int
    parts: dict[str, Any]
    added: Floats
    control_mean: Floats
    control_variance: Floats


def noted_times(cells: Cells) -> list[float]:
    """Return the times at which contracts like the first of `cells` look at the spot."""
    code, expiry = int(cells.type[0]), float(cells.expiry[0])
    if code == ASIAN:
        dates = _table(cells, "fixing_dates")
        if dates is not None:
            return [t for t in dates if t <= expiry]
        start = float(cells.averaging_start[0])
        span = (expiry - start) / CONTINUOUS_STEPS
        return [start + span * i for i in range(0 if start > 0.0 else 1, CONTINUOUS_STEPS)]
    if code == LOOKBACK:
        start, end = _window(cells)
        dates = _table(cells, "monitoring_dates")
        if dates is not None:
            return [t for t in dates if start <= t <= end]
        return [t for t in (start, end) if t > 0.0]
    if code == FORWARD_START:
        return [float(cells.start[0])]
    if code == CLIQUET:
        return list(_table(cells, "reset_dates") or ())
    dates = _table(cells, "monitoring_dates")
    return [t for t in dates or () if t <= expiry]


def _table(cells: Cells, name: str) -> list[float] | None:
    place = int(getattr(cells, name)[0])
    if place == NO_TABLE:
        return None
    table = cells.tables[place]
    assert isinstance(table, Dates | Fixings)
    times: list[float] = snapped(table.times, float(cells.expiry[0])).tolist()
    return times


def _window(cells: Cells) -> tuple[float, float]:
    expiry, end = float(cells.expiry[0]), float(cells.lookback_end[0])
    start, end = snapped((cells.lookback_start[0], expiry if np.isnan(end) else end), expiry)
    return float(start), float(end)


def looks_between(cells: Cells) -> bool:
    """Tell whether contracts like the first of `cells` look at the spot at all times."""
    code = int(cells.type[0])
    if code == ASIAN:
        return bool(cells.fixing_dates[0] == NO_TABLE)
    watched = code == LOOKBACK or bool(claims_of(cells[:1]).knock[0])
    return watched and bool(cells.monitoring_dates[0] == NO_TABLE)


def dates_of(cells: Cells) -> Timeline:
    """Return the dates on which paths for contracts like the first of `cells` are made."""
    return timeline_of(cells, noted_times(cells), with_knots=looks_between(cells))


def functionals_of(cells: Cells, timeline: Timeline) -> Functionals:
    """Return what paths are reduced to for contracts like the first of `cells`.

    The first is what the contract is on, the second, where it is on two, the strike; for
    arithmetic averages the last is the geometric one.
    """
    (simulation,) = kernels("simulation")
    payoffs = simulation.payoffs
    code, count = int(cells.type[0]), len(timeline.times)
    last = np.zeros(count)
    last[-1] = 1.0
    if code == FORWARD_START:
        start = np.zeros(count)
        start[timeline.at(float(cells.start[0]))] = 1.0
        return _functionals((payoffs.SUM, last), (payoffs.SUM, start))
    if code == LOOKBACK:
        high = (int(cells.right[0]) > 0) == (int(cells.strike_type[0]) != FLOATING)
        if looks_between(cells):
            operation = payoffs.HIGHEST if high else payoffs.LOWEST
            start, end = _window(cells)
            before = np.concatenate(([0.0], timeline.times[:-1]))
            weights = (before >= start) & (timeline.times <= end) & (timeline.times > before)
        else:
            operation = payoffs.LARGEST if high else payoffs.SMALLEST
            weights = np.isin(timeline.times, noted_times(cells))
            weights[timeline.closing + 1 :] = False
        extreme = (operation, weights.astype(np.float64))
        if int(cells.strike_type[0]) == FLOATING:
            return _functionals((payoffs.SUM, last), extreme)
        return _functionals(extreme, (payoffs.SUM, last))
    weights, running = _average_weights(cells, timeline)
    between = looks_between(cells)
    arithmetic = (payoffs.INTEGRAL if between else payoffs.SUM, weights)
    geometric = (payoffs.GEOMETRIC_INTEGRAL if between else payoffs.GEOMETRIC, weights)
    if int(cells.average[0]) == GEOMETRIC:
        share = _future_share(cells)
        own = (geometric[0], weights * share, running * share)
        rows = [own, (payoffs.SUM, last)] if _is_fixed(cells) else [(payoffs.SUM, last), own]
    elif _is_fixed(cells):
        rows = [(*arithmetic, running), (*geometric, running)]
    else:
        rows = [(payoffs.SUM, last), (*arithmetic, running)]
    return _functionals(*rows)


def _is_fixed(cells: Cells) -> bool:
    return int(cells.strike_type[0]) != FLOATING


def _functionals(*rows: tuple[int, Floats] | tuple[int, Floats, float]) -> Functionals:
    return Functionals(
        np.array([row[0] for row in rows], np.int8),
        np.array([row[1] for row in rows]),
        np.array([row[2] if len(row) > 2 else 0.0 for row in rows]),
    )


def _average_weights(cells: Cells, timeline: Timeline) -> tuple[Floats, float]:
    """Return what each date, or the step to it, counts in the average to come; and per year."""
    times = timeline.times
    noted = noted_times(cells)
    if not looks_between(cells):
        weights = np.isin(times, noted).astype(np.float64)
        weights[timeline.closing + 1 :] = 0.0
        return weights / max(len(noted), 1), 0.0
    start, expiry = float(cells.averaging_start[0]), float(cells.expiry[0])
    spans = np.diff(times, prepend=0.0)
    weights = np.where(times > start, spans, 0.0) / max(expiry - start, 1e-300)
    return weights, 1.0 / expiry if start == 0.0 and expiry > 0.0 else 0.0


def _future_share(cells: Cells) -> float:
    """Return what part of the whole average is to come, for cells like the first."""
    return float(_shares(cells[:1])[0])


def _shares(cells: Cells) -> Floats:
    if looks_between(cells):
        return np.array(cells.expiry / np.maximum(cells.expiry + cells.elapsed, 1e-300))
    future = len(noted_times(cells))
    return np.array(future / np.maximum(future + cells.past_fixings, 1.0))


def forms_of(
    cells: Cells, timeline: Timeline, market: Market, functionals: Functionals,
    factor: Floats, market_of: Indices, passed: Floats,
) -> Contracts:  # fmt: skip
    """Return contracts on one or two functionals under E evaluations.

    `factor`, shape (E,), multiplies the spot, `market_of` is the market of each, `passed` the
    years that have passed in it.
    """
    (simulation,) = kernels("simulation")
    count, evaluations = len(cells), len(factor)
    shape = (count, evaluations)
    right = cells.right.astype(np.float64)[:, None]
    cash = has_cash(cells)
    spot = np.broadcast_to(1.0, shape) if cash else cells.spot[:, None] * factor
    code, fixed = int(cells.type[0]), _is_fixed(cells)
    zeros = np.zeros(shape)
    parts: dict[str, Any] = {
        "first": np.zeros(count, np.int64),
        "second": np.full(count, -1),
        "control": np.full(count, -1),
        "a": right * spot,
        "b": zeros,
        "c": np.full(shape, -np.inf),
        "k": zeros,
        "ca": zeros,
        "ck": zeros,
        "cf": np.full(shape, -np.inf),
    }
    added, mean, variance = zeros, zeros, zeros
    both = np.ones(count, np.int64)
    if code == FORWARD_START:
        parts |= {"second": both, "b": -right * spot * cells.moneyness[:, None]}
        parts |= _linear_control(parts["a"], cash)
        mean = _means(functionals.weights[0], market, market_of, shape)
    elif code == LOOKBACK:
        extremum = cells.running_extremum[:, None]
        known = ~np.isnan(extremum)
        if fixed:
            strike = cells.strike[:, None]
            beyond = np.where(known, right * np.maximum(right * extremum, right * strike), strike)
            parts["k"] = right * beyond + zeros
            added = right * (beyond - strike) + zeros
            parts |= _linear_control(right * spot, cash, row=1)
            mean = _means(functionals.weights[1], market, market_of, shape)
        else:
            share = cells.participation[:, None]
            parts |= {
                "second": both,
                "b": -right * share * spot,
                "c": np.where(known, -right * share * extremum, -np.inf) + zeros,
            }
            parts |= _linear_control(right * spot, cash)
            mean = _means(functionals.weights[0], market, market_of, shape)
    else:
        share = _shares(cells)[:, None]
        average = np.where(np.isnan(cells.running_average), 0.0, cells.running_average)[:, None]
        geometric = int(cells.average[0]) == GEOMETRIC
        # What has passed of the running average's time in a market was at the spot of now.
        gone = functionals.running.max() * passed
        if geometric:
            past = logarithms(np.where(average > 0.0, average, 1.0))
            level = (1.0 - share) * past
            level = level + (gone * logarithms(cells.spot[:, None]) if cash else share * logarithms(spot))
            level, before = exponentials(level), zeros
        else:
            level = share * spot
            before = (1.0 - share) * average
            if not cash:
                before = before + share * gone * spot
            else:
                before = before + share * gone * cells.spot[:, None]
        if fixed:
            strike = cells.strike[:, None] - before
            parts |= {"a": right * level, "k": right * strike + zeros}
        else:
            parts |= {"second": both, "b": -right * level, "k": right * before + zeros}
        if geometric or cash:
            if not cash:
                row = 1 if fixed else 0
                parts |= _linear_control(right * spot, cash, row=row)
                mean = _means(functionals.weights[row], market, market_of, shape)
        elif fixed:
            parts |= {"control": both, "ca": parts["a"], "ck": parts["k"], "cf": zeros}
            mean, variance = _geometric_moments(
                functionals, timeline, market, market_of, passed, shape
            )
        else:
            parts |= _linear_control(right * spot, cash)
            mean = _means(functionals.weights[0], market, market_of, shape)
    return Contracts(simulation.FORMS, parts, added, mean, variance)


def _linear_control(level: Floats, cash: bool, row: int = 0) -> dict[str, Any]:
    """Return the control that is a functional itself: its mean is known without cash dividends."""
    if cash:
        return {}
    return {"control": np.full(len(level), row), "ca": level}


def _means(
    weights: Floats, market: Market, market_of: Indices, shape: tuple[int, int]
) -> Floats:
    total = np.zeros(len(market.expected))
    for d in np.flatnonzero(weights):
        total += weights[d] * market.expected[:, d]
    return np.broadcast_to(total[market_of], shape)


def _geometric_moments(
    functionals: Functionals, timeline: Timeline, market: Market, market_of: Indices,
    passed: Floats, shape: tuple[int, int],
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return mean and variance of the logarithm of the geometric average, shape (C, E) each."""
    (simulation,) = kernels("simulation")
    between = functionals.operation[1] == simulation.payoffs.GEOMETRIC_INTEGRAL
    weights = world_weights(functionals, passed, market_of, len(market.expected))[:, 1]
    forward, own = market.worlds.forward, market.covariance
    mean, variance = np.zeros(len(forward)), np.zeros(len(forward))
    dates = len(timeline.times)
    if between:
        # A step's mean is half of each of its ends, and a twelfth of its variance is left.
        steps = weights
        variance += sum(
            steps[:, d] ** 2 * market.worlds.variance[:, d] / 12.0 for d in range(dates)
        )
        weights = 0.5 * steps
        weights[:, :-1] += 0.5 * steps[:, 1:]
    later = np.zeros(len(forward))
    for d in reversed(range(dates)):
        mean += weights[:, d] * forward[:, d]
        variance += weights[:, d] * own[:, d] * (weights[:, d] + 2.0 * later)
        later = later + weights[:, d]
    return np.broadcast_to(mean[market_of], shape), np.broadcast_to(variance[market_of], shape)


def world_weights(
    functionals: Functionals, passed: Floats, market_of: Indices, markets: int
) -> Floats:
    """Return the weights of functionals in each market, shape (K, F, D).

    In a market in which years have passed the first step is shorter by them.
    """
    weights = np.repeat(functionals.weights[None], markets, axis=0)
    if functionals.running.any():
        for e, k in enumerate(market_of):
            gone = functionals.running * passed[e]
            first = np.flatnonzero(functionals.weights.any(axis=0))[0]
            lead = functionals.weights[:, first] != 0.0
            weights[k, :, first] = np.where(lead, functionals.weights[:, first] - gone, 0.0)
    return weights


def watched_of(
    cells: Cells, timeline: Timeline, factor: Floats, kind: int
) -> tuple[Contracts, Codes]:
    """Return contracts that barriers may end, and the dates that count, shape (1, D)."""
    claims = claims_of(cells)
    count, evaluations = len(cells), len(factor)
    shape = (count, evaluations)
    cash = has_cash(cells)
    spot = np.broadcast_to(1.0, shape) if cash else cells.spot[:, None] * factor
    knocked = claims.knock > 0
    with np.errstate(divide="ignore"):
        levels = {
            name: logarithms(np.where(np.isinf(level), 1.0, level) / spot)
            for name, level in (
                ("kink", claims.kink[:, None]),
                ("lower", np.where(knocked, claims.lower, 0.0)[:, None]),
                ("upper", claims.upper[:, None]),
            )
        }
    unbounded = np.isinf(claims.upper) | ~knocked
    levels["upper"] = np.where(unbounded[:, None], np.inf, levels["upper"])
    shares = claims.timing >= ASSET_AT_HIT
    out = claims.knock == OUT
    unit = np.where(shares[:, None], spot, 1.0)
    lower, upper = (
        np.where(out, amount, 0.0)[:, None] * unit
        for amount in (claims.lower_rebate, claims.upper_rebate)
    )
    parts = {
        "theta": claims.theta.astype(np.float64),
        "alpha": claims.alpha[:, None] * spot,
        "beta": claims.beta,
        **levels,
        "knocks_in": (claims.knock == IN).astype(np.int8),
        "live": np.where(claims.knock == IN, claims.lower_rebate, 0.0),
        "rebated": ((lower != 0.0) | (upper != 0.0)).any(axis=1).astype(np.int8),
        "lower_rebate": lower,
        "upper_rebate": upper,
        "shares": shares.astype(np.float64),
        "at_hit": (claims.timing % ASSET_AT_HIT < CASH_AT_EXPIRY).astype(np.int8),
        "watch": np.zeros(count, np.int64),
    }
    if looks_between(cells):
        mask = np.diff(timeline.times, prepend=0.0) > 0.0
    else:
        mask = np.isin(timeline.times, noted_times(cells))
        mask[timeline.closing + 1 :] = False
        if not knocked.any():
            mask[:] = False
    none = np.zeros(shape)
    return Contracts(kind, parts, none, none, none), mask.astype(np.int8)[None]


def cliquets_of(cells: Cells, timeline: Timeline, evaluations: int) -> tuple[Contracts, Codes]:
    """Return cliquets, and the dates between which returns are counted, shape (1, D)."""
    (simulation,) = kernels("simulation")

    def limit(name: str, none: float) -> Floats:
        column = getattr(cells, name)
        return np.where(np.isnan(column), none, column)

    parts = {
        "theta": cells.right.astype(np.float64),
        "moneyness": np.array(cells.moneyness),
        "local_floor": limit("local_floor", -np.inf),
        "local_cap": limit("local_cap", np.inf),
        "global_floor": limit("global_floor", -np.inf),
        "global_cap": limit("global_cap", np.inf),
        "notional": np.array(cells.notional),
    }
    mask = np.isin(timeline.times, noted_times(cells))
    mask[timeline.closing :] = False
    mask[-1] = True
    none = np.zeros((len(cells), evaluations))
    return Contracts(simulation.CLIQUETS, parts, none, none, none), mask.astype(np.int8)[None]
