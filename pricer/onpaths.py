"""What simulations look at on a path, and what contracts are paid on it, as kernels take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import NO_TABLE
from .claims import ASSET_AT_HIT, CASH_AT_EXPIRY, IN, OUT, claims_of
from .compiled import for_kernels, kernels
from .contracts import TYPES, WORDS
from .dated import Dates, Fixings
from .estimates import CONTROL
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
LEAST_WIDTH = 1e-4  # of the logarithms over which a control is faded in, to either side
MOST_EVEN = 4096  # dates, of which the mean of an extreme is computed
SAME_STEP = 1e-9  # relative difference of steps that are one
_NODES = (0.1127016653792583, 0.5, 0.8872983346207417)  # of Gauss and Legendre, in a step
_NODE_WEIGHTS = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)


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
    `added`, shape (C, E), is the mean of what is paid beside what paths pay. `known`, shape (E,),
    are the means of what the one contract more pays that `parts` then have: nothing is owed it,
    its mean is known, and others vary with it. `control` names what reduces the variance, if
    anything does, shape (C,).
    """

    kind: int
    parts: dict[str, Any]
    added: Floats
    control: NDArray[np.str_]
    known: Floats | None = None


def noted_times(cells: Cells) -> list[float]:
    """Return the times at which contracts like the first of `cells` look at the spot."""
    code, expiry = int(cells.type[0]), float(cells.expiry[0])
    if code == ASIAN:
        dates = _table(cells, "fixing_dates")
        if dates is not None:
            return [t for t in dates if t <= expiry]
        start = float(cells.averaging_start[0])
        if start >= expiry:
            return [expiry]
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
        lasts = cells.averaging_start[0] < cells.expiry[0]
        return bool(cells.fixing_dates[0] == NO_TABLE and lasts)
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
        struck = np.zeros(count)
        struck[timeline.at(float(cells.start[0]))] = 1.0
        return _functionals((payoffs.SUM, last), (payoffs.SUM, struck))
    if code == LOOKBACK:
        high = (int(cells.right[0]) > 0) == (int(cells.strike_type[0]) != FLOATING)
        if looks_between(cells):
            operation = payoffs.HIGHEST if high else payoffs.LOWEST
            start, end = _window(cells)
            before = np.concatenate(([0.0], timeline.times[:-1]))
            seen = (before >= start) & (timeline.times <= end) & (timeline.times > before)
        else:
            operation = payoffs.LARGEST if high else payoffs.SMALLEST
            seen = np.isin(timeline.times, noted_times(cells))
            seen[timeline.closing + 1 :] = False
        extreme = (operation, seen.astype(np.float64))
        if int(cells.strike_type[0]) == FLOATING:
            return _functionals((payoffs.SUM, last), extreme)
        return _functionals(extreme, (payoffs.SUM, last))
    weights, running = _average_weights(cells, timeline)
    between = looks_between(cells)
    arithmetic = (payoffs.INTEGRAL if between else payoffs.SUM, weights)
    logs = payoffs.LOG_INTEGRAL if between else payoffs.LOG_SUM
    geometric = (payoffs.GEOMETRIC_INTEGRAL if between else payoffs.GEOMETRIC, weights)
    if int(cells.average[0]) == GEOMETRIC:
        share = _future_share(cells)
        own = (geometric[0], weights * share, running * share)
        final = (payoffs.SUM, last)
        return _functionals(own, final) if _is_fixed(cells) else _functionals(final, own)
    if _is_fixed(cells):
        return _functionals((*arithmetic, running), (logs, weights, running))
    above = (payoffs.LOG_ABOVE, weights) if between else (payoffs.LOG_SUM, last - weights)
    return _functionals((payoffs.SUM, last), (*arithmetic, running), (*above, running))


def direction_of(cells: Cells, timeline: Timeline, market: Market) -> Floats | None:
    """Return how what averages are mostly made of weighs the motion's values, shape (steps,).

    It is what contracts like the first of `cells` are on, to first order; nothing of other types.
    """
    if int(cells.type[0]) != ASIAN:
        return None
    weights, _ = _average_weights(cells, timeline)
    if looks_between(cells):
        weights = 0.5 * (weights + np.append(weights[1:], 0.0))
    if not _is_fixed(cells):
        weights = -weights
        weights[-1] += 1.0
    out = np.zeros(len(market.clock))
    # In Heston's model the motion has more times than the paths.
    ends = (
        np.flatnonzero(market.substeps.row >= 0)
        if len(market.substeps.row)
        else np.arange(len(out))
    )
    later = market.worlds.step >= 0
    np.add.at(out, ends[market.worlds.step[later]], weights[later])
    return out


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
    if cells.fixing_dates[0] == NO_TABLE:
        whole = cells.expiry + cells.elapsed
        return np.where(whole > 0.0, cells.expiry / np.where(whole > 0.0, whole, 1.0), 1.0)
    future = len(noted_times(cells))
    return np.array(future / np.maximum(future + cells.past_fixings, 1.0))


def forms_of(
    cells: Cells, market: Market, functionals: Functionals,
    factor: Floats, market_of: Indices, passed: Floats,
) -> Contracts:  # fmt: skip
    """Return contracts on one or two functionals under E evaluations.

    `factor`, shape (E,), multiplies the spot, `market_of` is the market of each, `passed` the
    years that have passed in it.
    """
    (simulation,) = kernels("simulation")
    count = len(cells)
    shape = (count, len(factor))
    right = cells.right.astype(np.float64)[:, None]
    cash = has_cash(cells)
    spot = np.broadcast_to(1.0, shape) if cash else cells.spot[:, None] * factor
    zeros = np.zeros(shape)
    both = np.ones(count, np.int64)
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
    }
    added = zeros
    code, fixed = int(cells.type[0]), _is_fixed(cells)
    if code == FORWARD_START:
        parts |= {"second": both, "b": -right * spot * cells.moneyness[:, None]}
    elif code == LOOKBACK:
        extremum = cells.running_extremum[:, None]
        known = ~np.isnan(extremum)
        if fixed:
            strike = cells.strike[:, None]
            beyond = np.where(known, right * np.maximum(right * extremum, right * strike), strike)
            parts["k"] = right * beyond + zeros
            added = right * (beyond - strike) + zeros
        else:
            share = cells.participation[:, None]
            parts |= {
                "second": both,
                "b": -right * share * spot,
                "c": np.where(known, -right * share * extremum, -np.inf) + zeros,
            }
    else:
        share = _shares(cells)[:, None]
        average = np.where(np.isnan(cells.running_average), 0.0, cells.running_average)[:, None]
        # What has passed of the running average's time in a market was at the spot of now.
        gone = share * functionals.running.max() * passed
        now = cells.spot[:, None]
        geometric = int(cells.average[0]) == GEOMETRIC
        if geometric:
            past = logarithms(np.where(average > 0.0, average, 1.0))
            own = gone * logarithms(now) if cash else share * logarithms(spot)
            level, before = exponentials((1.0 - share) * past + own), zeros
        else:
            level = share * spot
            before = (1.0 - share) * average + gone * (now if cash else spot)
        if fixed:
            parts |= {"a": right * level, "k": right * (cells.strike[:, None] - before)}
        else:
            parts |= {"second": both, "b": -right * level, "k": right * before + zeros}
        if not (geometric or cash or int(cells.model[0])):
            weights = world_weights(functionals, passed, market_of, len(market.discount))
            control = _Control.of(functionals, market, weights, fixed)
            parts |= control.slopes(right, parts, level)
            added = control.means(simulation, parts, market_of)
    name = np.where(parts["control"] < 0, "", "geometric").astype(CONTROL)
    contracts = Contracts(simulation.FORMS, parts, added, name)
    if code == LOOKBACK and not (cash or int(cells.model[0]) or looks_between(cells)):
        return _beside_extreme(contracts, functionals, market, factor, market_of)
    if int(cells.model[0]) and not cash and simulation.payoffs.SUM in functionals.operation:
        return _beside_sum(contracts, functionals, market, factor, market_of)
    return contracts


def _beside_extreme(
    contracts: Contracts, functionals: Functionals, market: Market,
    factor: Floats, market_of: Indices,
) -> Contracts:  # fmt: skip
    """Add a contract on the extreme itself where its mean is known: on evenly spread dates.

    The largest of 0 and the sums of independent and identical steps is known in distribution from
    that of each sum alone (Spitzer 1956, A combinatorial lemma and its application to probability
    theory); so is the mean of its exponential.
    """
    (simulation,) = kernels("simulation")
    payoffs = simulation.payoffs
    place = int(
        np.flatnonzero(np.isin(functionals.operation, (payoffs.LARGEST, payoffs.SMALLEST)))[0]
    )
    noted = functionals.weights[place] != 0.0
    level, until = market.worlds.forward[:, noted], market.covariance[:, noted]
    steps, spreads = np.diff(level, axis=1), np.diff(until, axis=1)
    uneven = [
        np.ptp(s, axis=1).max() > SAME_STEP * abs(s).max() for s in (steps, spreads) if s.size
    ]
    if any(uneven) or len(noted) > MOST_EVEN:
        return contracts
    side = 1.0 if functionals.operation[place] == payoffs.LARGEST else -1.0
    out = np.empty(len(level))
    simulation.extreme_means(side, for_kernels(level), for_kernels(until), out)
    return _beside(contracts, place, factor, factor * out[market_of], "extreme")


def _beside_sum(
    contracts: Contracts, functionals: Functionals, market: Market,
    factor: Floats, market_of: Indices,
) -> Contracts:  # fmt: skip
    """Add a contract on the average of the spot, or on the last: any model tells its mean."""
    (simulation,) = kernels("simulation")
    sums = np.flatnonzero(functionals.operation == simulation.payoffs.SUM)
    place = int(max(sums, key=lambda f: np.count_nonzero(functionals.weights[f])))
    means = _row_sums(functionals.weights[place] * market.expected)
    name = "average" if np.count_nonzero(functionals.weights[place]) > 1 else "spot"
    return _beside(contracts, place, factor, factor * means[market_of], name)


def _beside(
    contracts: Contracts, place: int, factor: Floats, known: Floats, name: str
) -> Contracts:
    """Add a contract on the functional at `place`, of which the means are `known`, shape (E,)."""
    one = {"first": place, "second": -1, "control": -1, "c": -np.inf}
    parts = {}
    for field, array in contracts.parts.items():
        row = np.full((1, *array.shape[1:]), one.get(field, 0), array.dtype)
        if field == "a":
            row[0] = factor
        parts[field] = np.concatenate((array, row))
    control = np.full(len(contracts.control), name, contracts.control.dtype)
    return replace(contracts, parts=parts, known=known, control=control)


@dataclass(frozen=True, slots=True)
class _Control:
    """The geometric average beside an arithmetic one, or the log of the spot at expiry over it.

    A normal z of `mean` and `variance`, shape (K,); the contract sums the spots at N times by the
    weights `first` and `second`, shape (K, N), with `expected` values and `covariances` with z.
    Above `centre` the option usually ends in the money, give or take `width`.
    """

    mean: Floats
    variance: Floats
    first: Floats
    second: Floats
    expected: Floats
    covariances: Floats
    centre: float
    width: float

    @classmethod
    def of(
        cls, functionals: Functionals, market: Market, weights: Floats, fixed: bool
    ) -> _Control:  # fmt: skip
        """Return the control for averages of these functionals, weighted as in `world_weights`."""
        (simulation,) = kernels("simulation")
        place = 0 if fixed else 1
        between = functionals.operation[place] == simulation.payoffs.INTEGRAL
        nodes = _between_dates if between else _on_dates
        share, level, until, with_average = nodes(market, weights[:, place])
        expected = exponentials(level + 0.5 * until)
        mean, variance = _row_sums(share * level), _row_sums(share * with_average)
        # How far the arithmetic average is usually above the geometric one, of either's scale.
        ratio = _row_sums(share * expected)[:1] / exponentials(mean[:1] + 0.5 * variance[:1])
        centre = max(float(logarithms(ratio)[0]), 0.0)
        width = max(centre, LEAST_WIDTH)
        none = np.zeros_like(share)
        if fixed:
            return cls(mean, variance, share, none, expected, with_average, -centre, width)
        last = market.covariance[:, -1:]
        with_last = _row_sums(share * until)
        beside = np.zeros_like(last)
        return cls(
            mean=market.worlds.forward[:, -1] - mean,
            variance=last[:, 0] - 2.0 * with_last + variance,
            first=np.concatenate((none, beside + 1.0), axis=1),
            second=np.concatenate((share, beside), axis=1),
            expected=np.concatenate((expected, market.expected[:, -1:]), axis=1),
            covariances=np.concatenate((until - with_average, last - with_last[:, None]), axis=1),
            centre=centre,
            width=width,
        )

    def slopes(self, right: Floats, parts: dict[str, Any], level: Floats) -> dict[str, Any]:
        """Return the fields of the control, of averages `level` of which is to come."""
        if (parts["second"] < 0).all():
            strike = right * parts["k"]
            inside = np.where(strike > 0.0, strike, 1.0)
            edge = np.where(strike > 0.0, logarithms(inside / level), -np.inf)
            row = np.ones(len(level), np.int64)
        else:
            edge = np.zeros_like(level)
            row = np.where(parts["k"][:, 0] == 0.0, 2, -1)
        slope = right / (2.0 * self.width)
        return {
            "control": row,
            "ca": slope + np.zeros_like(level),
            "ck": slope * (edge + self.centre) - 0.5,
        }

    def means(self, simulation: Any, parts: dict[str, Any], market_of: Indices) -> Floats:
        """Return the means of what the control takes off, shape (C, E)."""
        out = np.empty(parts["a"].shape)
        forms = simulation.payoffs.Forms(**{name: for_kernels(a) for name, a in parts.items()})
        simulation.control_means(
            forms, market_of, self.first, self.second, self.expected, self.covariances, self.mean,
            self.variance, out,
        )  # fmt: skip
        out[parts["control"] < 0] = 0.0
        return out


def _row_sums(rows: Floats) -> Floats:
    """Add the columns of an array up, one after the other."""
    total: Floats = np.cumsum(rows, axis=1)[:, -1]
    return total


def _on_dates(market: Market, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return weights, means and variances of logarithms, and their covariances with the average.

    Of the dates, shape (K, D) each; `weights` are those of the dates in the average of logarithms.
    """
    own = market.covariance
    up_to = np.cumsum(weights * own, axis=1)
    sums = np.cumsum(weights, axis=1)
    with_average = up_to + own * (sums[:, -1:] - sums)
    return weights, market.worlds.forward, own, with_average


def _between_dates(market: Market, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return what `_on_dates` does, of three times within each step (Gauss-Legendre).

    `weights` are those of the steps; the shapes are (K, 3 D).
    """
    own, level = market.covariance, market.worlds.forward
    before = np.concatenate((np.zeros_like(own[:, :1]), own[:, :-1]), axis=1)
    level_before = np.concatenate((np.zeros_like(own[:, :1]), level[:, :-1]), axis=1)
    spans = own - before
    up_to = np.cumsum(weights * (before + 0.5 * spans), axis=1) - weights * (before + 0.5 * spans)
    sums = np.cumsum(weights, axis=1)
    rest = sums[:, -1:] - sums
    columns: list[list[Floats]] = [[], [], [], []]
    for f, share in zip(_NODES, _NODE_WEIGHTS, strict=True):
        until = before + f * spans
        inside = weights * (before + spans * (f - 0.5 * f * f))
        columns[0].append(share * weights)
        columns[1].append(level_before + f * (level - level_before))
        columns[2].append(until)
        columns[3].append(up_to + inside + until * rest)
    joined = [np.concatenate(column, axis=1) for column in columns]
    return joined[0], joined[1], joined[2], joined[3]


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
    return Contracts(kind, parts, np.zeros(shape), np.full(count, "")), mask.astype(np.int8)[None]


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
    added, none = np.zeros((len(cells), evaluations)), np.full(len(cells), "")
    return Contracts(simulation.CLIQUETS, parts, added, none), mask.astype(np.int8)[None]
