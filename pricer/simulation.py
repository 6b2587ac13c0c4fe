"""Options on one asset by simulation: cells that share a market and dates share their paths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import CURVE_COLUMNS, NO_TABLE
from .claims import ASSET_AT_HIT, CASH_AT_EXPIRY, OUT, claims_of
from .compiled import for_kernels, kernels
from .contracts import MODEL_OF, TYPES, WORDS, Status
from .dated import Fixings
from .estimates import RANDOMISATIONS, Estimates, regression, staged
from .onpaths import (
    CLIQUET,
    CONTINUOUS_STEPS,
    LOOKBACK,
    cliquets_of,
    dates_of,
    direction_of,
    forms_of,
    functionals_of,
    looks_between,
    watched_of,
    world_weights,
)
from .settings import MEASURES
from .worlds import HESTON, MERTON, Shift, bias_of, has_cash, market_of, merton_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells
    from .settings import Settings
    from .worlds import Market, Timeline

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

# The types that this module simulates.
SINGLE = tuple(code for name, code in TYPES.items() if name != "basket")
# What cells with the same paths have in common.
_SHARED = (
    "type", "strike_type", "average", "model", "vol", "rate", "dividend_yield", "expiry",
    "payoff", "fixing_dates", "monitoring_dates", "reset_dates", "cash_dividends",
    "proportional_dividends", "dividend_model", "averaging_start", "elapsed", "past_fixings",
    "lookback_start", "lookback_end", "start", *MODEL_OF, *CURVE_COLUMNS,
)  # fmt: skip
BLOCK_PATHS = 256
PILOT_PATHS = 256  # of a randomisation, from which slopes of controls are taken
BLOCK_NUMBERS = 64 * 256  # of a path array, so that a block stays in the second-level cache
NO_SPOT, LITTLE_SPOT = 1e-12, 1e-4  # of the unit: what a spot of 0 is priced as, for its delta
TINY = 1e-6  # what continuous payoffs are moved by
CUT = 2e-3  # of the spot and the square of a step's variance: what cutting an integral is off by
MOVE = 0.1  # of a standard deviation at expiry, by which payoffs with jumps, or slopes, are moved


def simulate(cells: Cells, settings: Settings) -> Estimates:
    """Estimate valid options on one asset, European ones only; others are unsupported.

    A cell's estimate depends on its own inputs, the sampling, the seed, the tolerance, the most
    paths and the kernel version, never on the cells beside it.
    """
    found = Estimates.none(len(cells), Status.unsupported)
    able = np.flatnonzero(np.isin(cells.type, SINGLE) & (cells.exercise == 0))
    if not len(able):
        return found
    part = cells[able]
    unit = claims_of(part).unit
    gone = part.spot <= 0.0
    tiny = _with_spot(part, np.where(gone, NO_SPOT * unit, part.spot)) if gone.any() else part
    for group in _groups(tiny):
        found.put(able[group], _simulate_group(tiny[group], settings))
    if not gone.any():
        return found
    # Where the spot is 0 values are straight lines in it, which rounding hides so close by.
    found.values[2, able[gone]] *= 0.0
    found.status[able[gone & (found.error[able] <= settings.tolerance * unit)]] = Status.ok
    if "delta" in settings.measures:
        little = _with_spot(part[gone], LITTLE_SPOT * unit[gone])
        for group in _groups(little):
            near = _simulate_group(little[group], replace(settings, measures=("delta",)))
            for whole, rows in (
                (found.values, near.values),
                (found.standard_errors, near.standard_errors),
            ):
                whole[1, able[gone][group]] = rows[1]
    return found


def _with_spot(cells: Cells, spot: Floats) -> Cells:
    return replace(cells, columns={**cells.columns, "spot": spot})


def _groups(cells: Cells) -> list[Indices]:
    """Return the places of cells that share their paths, group by group."""
    keys = [np.where(cells.type == LOOKBACK, cells.right, 0)]
    keys += [
        np.where(np.isnan(key), -1.0, key) if key.dtype.kind == "f" else key
        for name in _SHARED
        if (key := getattr(cells, name)).strides != (0,) or not len(key)
    ]
    if "cash_dividends" in cells.columns:
        keys.append(np.where(cells.cash_dividends != NO_TABLE, cells.spot, 0.0))
    keys = [key for key in keys if (key != key[0]).any()]
    if not keys:
        return [np.arange(len(cells))]
    order = np.lexsort(keys)
    change = np.zeros(len(order) - 1, dtype=bool)
    for key in keys:
        sorted_key = key[order]
        change |= sorted_key[1:] != sorted_key[:-1]
    return np.split(order, np.flatnonzero(change) + 1)


@dataclass(frozen=True, slots=True)
class _Evaluations:
    """At which markets and spots a payoff is computed, and how greeks follow from it.

    `weights`, shape (7, E), make measures of present values; delta and gamma per relative
    change of the spot.
    """

    shifts: list[Shift]
    market_of: Indices
    factor: Floats
    passed: Floats
    weights: Floats


def _evaluations(
    cells: Cells, measures: tuple[str, ...], rough: bool, move: float, first: float
) -> _Evaluations:
    """Choose the evaluations that some measures take.

    Smooth payoffs are differentiated path by path: by a tiny step. Payoffs that jump are moved
    by a part of a standard deviation, with central differences, of fourth order for the spot; so
    are the slopes whose difference is gamma. `first` is the first time after now that counts.

    As time passes, jumps of the first interval go missing: by how much is known from what one more
    of them changes, since the number of a Poisson process is differentiated by its intensity so.
    """
    expiry, cash = float(cells.expiry[0]), has_cash(cells)
    shifts, places, factors = [Shift()], [0], [1.0]
    weights: list[dict[int, float]] = [{} for _ in MEASURES]
    weights[0][0] = 1.0

    def at(shift: Shift) -> int:
        if not cash and shift.spot != 1.0:
            market, factor = 0, shift.spot
        else:
            if shift not in shifts:
                shifts.append(shift)
            market, factor = shifts.index(shift), 1.0
        if (market, factor) not in zip(places, factors, strict=True):
            places.append(market)
            factors.append(factor)
        return list(zip(places, factors, strict=True)).index((market, factor))

    def add(measure: int, shift: Shift, weight: float) -> None:
        place = at(shift)
        weights[measure][place] = weights[measure].get(place, 0.0) + weight

    if "delta" in measures:
        if rough:
            for n, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
                add(1, Shift(spot=1.0 + n * move), weight / (12.0 * move))
        else:
            add(1, Shift(spot=1.0 + TINY), 1.0 / TINY)
            add(1, Shift(), -1.0 / TINY)
    if "gamma" in measures:
        for n, weight in ((0, -30.0), (1, 16.0), (-1, 16.0), (2, -1.0), (-2, -1.0)):
            add(2, Shift(spot=1.0 + n * move), weight / (12.0 * move * move))
    others = (
        ("vega", "vol", move / max(expiry, TINY) ** 0.5),
        ("theta", "time", 0.02 * first),
        ("rho", "rate", move / max(expiry, TINY)),
        ("dividend_rho", "dividend_yield", move / max(expiry, TINY)),
    )
    for measure, name, wide in others:
        if measure not in measures:
            continue
        place = MEASURES.index(measure)
        # Heston's variances jump where one law takes over from the other.
        if rough or (name in ("vol", "time") and int(cells.model[0]) == HESTON):
            add(place, _shifted(name, wide), 0.5 / wide)
            add(place, _shifted(name, -wide), -0.5 / wide)
        else:
            step = TINY * first if name == "time" else TINY
            add(place, _shifted(name, step), 1.0 / step)
            add(place, Shift(), -1.0 / step)
    if "theta" in measures and int(cells.model[0]) == MERTON:
        intensity, theta = merton_of(cells)[0], MEASURES.index("theta")
        add(theta, Shift(), intensity)
        add(theta, Shift(jump=True), -intensity)
    table = np.zeros((len(MEASURES), len(places)))
    for row, found in zip(table, weights, strict=True):
        for place, weight in found.items():
            row[place] = weight
    passed = np.array([shifts[k].time for k in places])
    return _Evaluations(shifts, np.array(places), np.array(factors), passed, table)


def _shifted(name: str, by: float) -> Shift:
    move: dict[str, Any] = {name: by}
    return Shift(**move)


def _simulate_group(cells: Cells, settings: Settings) -> Estimates:
    """Estimate cells that share their paths."""
    (simulation,) = kernels("simulation")
    kind = _kind(cells)
    supported = _supported(cells, kind)
    if not supported.any():
        return Estimates.none(len(cells), Status.unsupported)
    if not supported.all():
        found = Estimates.none(len(cells), Status.unsupported)
        found.put(np.flatnonzero(supported), _simulate_group(cells[supported], settings))
        return found
    timeline = dates_of(cells)
    rough = _is_rough(cells, kind)
    positive = timeline.times[timeline.times > 0.0]
    first = float(positive[0]) if len(positive) else 1.0
    base = market_of(cells, timeline, [Shift()])
    if kind == simulation.CONDITIONAL and not _varies(base, timeline):
        kind = int(simulation.WATCHED)
    move = _move(kind, base, rough)
    if int(cells.model[0]) == HESTON:
        first = float(base.clock[0])
    evaluations = _evaluations(cells, settings.measures, rough, move, first)
    market = market_of(cells, timeline, evaluations.shifts)
    paths = _Paths(cells, kind, timeline, market, evaluations, settings)
    claims = claims_of(cells)
    largest = settings.tolerance * np.maximum(claims.unit, claims.scale)
    found = staged(
        len(cells),
        paths.sample,
        paths.combine,
        largest,
        _bias(cells, base),
        settings,
        decided=_all_fixed(cells) or (int(cells.model[0]) == 0 and not _varies(base, timeline)),
    )
    found.control[:] = paths.control
    return found


def _varies(market: Market, timeline: Timeline) -> bool:
    """Tell whether the diffusion has some variance by each date."""
    variance = market.covariance[0, timeline.times > 0.0]
    return bool(len(variance) and (variance > 0.0).all())


def _bias(cells: Cells, market: Market) -> Floats:
    """Return a bound of what finite steps leave in a price: of Heston's paths, and of integrals.

    Measured of integrals: at most 8e-4 to 1.6e-3 of the spot times the square of the variance of
    a step, for variances until expiry from 0.09 to 4 and 16 to 256 steps.
    """
    if not (looks_between(cells) and int(cells.type[0]) == TYPES["asian"]):
        return bias_of(cells) * claims_of(cells).unit
    step = market.covariance[0, -1] / CONTINUOUS_STEPS
    bias: Floats = CUT * step * step * cells.spot
    return bias + bias_of(cells) * claims_of(cells).unit


def _all_fixed(cells: Cells) -> bool:
    """Tell whether all fixings of averages with a strike are of now or past."""
    place = int(cells.fixing_dates[0])
    if place == NO_TABLE or int(cells.strike_type[0]) != WORDS["strike_type"]["fixed"]:
        return False
    table = cells.tables[place]
    return isinstance(table, Fixings) and table.times[-1] == 0.0


def _kind(cells: Cells) -> int:
    """Return how the paths of cells that share them are looked at."""
    (simulation,) = kernels("simulation")
    code = int(cells.type[0])
    if code == CLIQUET:
        return int(simulation.CLIQUETS)
    if code >= TYPES["asian"]:
        return int(simulation.FORMS)
    if claims_of(cells[:1]).knock[0] and looks_between(cells):
        return int(simulation.CROSSED)
    plain = code == TYPES["vanilla"] and int(cells.model[0]) != MERTON
    if has_cash(cells) or plain or int(cells.model[0]) == HESTON:
        return int(simulation.WATCHED)
    return int(simulation.CONDITIONAL)


def _supported(cells: Cells, kind: int) -> Booleans:
    """Tell which of the cells that share their paths can be simulated, shape (n,)."""
    (simulation,) = kernels("simulation")
    able = np.ones(len(cells), dtype=bool)
    if cells.model[0] != 0:
        # What happens between dates is known of a Brownian bridge, not of other models.
        average = cells.model[0] == HESTON and cells.type[0] == TYPES["asian"]
        able &= not looks_between(cells) or average
    if kind == simulation.CROSSED:
        claims = claims_of(cells)
        able &= (claims.lower == 0.0) | np.isinf(claims.upper)
        rebated = np.maximum(claims.lower_rebate, claims.upper_rebate) > 0.0
        at_hit = claims.timing % ASSET_AT_HIT < CASH_AT_EXPIRY
        able &= ~(rebated & at_hit & (claims.knock == OUT))
    if looks_between(cells):
        able &= not has_cash(cells)
        if kind == simulation.CROSSED or int(cells.type[0]) == TYPES["lookback"]:
            able &= cells.proportional_dividends == NO_TABLE
    return able


def _is_rough(cells: Cells, kind: int) -> bool:
    """Tell whether what cells pay jumps where a path moves a little."""
    (simulation,) = kernels("simulation")
    if kind == simulation.WATCHED:
        return int(cells.type[0]) != TYPES["vanilla"]
    return bool(kind == simulation.CROSSED and int(cells.payoff[0]) != 0)


def _move(kind: int, market: Market, rough: bool) -> float:
    """Return the relative move of the spot for what is no tiny difference."""
    (simulation,) = kernels("simulation")
    variance = market.covariance[0]
    move = MOVE * np.sqrt(variance[-1])
    if kind in (simulation.CONDITIONAL, simulation.WATCHED) and (variance > 0.0).any():
        # Beside a barrier prices bend within what the spot moves until the first date.
        move = min(move, 3.0 * MOVE * np.sqrt(variance[variance > 0.0][0]))
    return float(np.clip(move, 1e-4, 0.2))


class _Paths:
    """The paths that some cells share, and what those are paid on them."""

    def __init__(
        self,
        cells: Cells,
        kind: int,
        timeline: Timeline,
        market: Market,
        evaluations: _Evaluations,
        settings: Settings,
    ) -> None:
        (self._kernels,) = kernels("simulation")
        simulation, e = self._kernels, evaluations
        self._evaluations, self._market = e, market
        self._spot = cells.spot
        dates = len(timeline.times)
        codes, weights = np.empty(0, np.int8), np.empty((len(e.shifts), 0, dates))
        masks = np.zeros((1, dates), np.int8)
        if kind == simulation.FORMS:
            functionals = functionals_of(cells, timeline)
            codes = functionals.operation
            weights = world_weights(functionals, e.passed, e.market_of, len(e.shifts))
            contracts = forms_of(cells, market, functionals, e.factor, e.market_of, e.passed)
        elif kind == simulation.CLIQUETS:
            contracts, masks = cliquets_of(cells, timeline, len(e.factor))
        else:
            contracts, masks = watched_of(cells, timeline, e.factor, kind)
        self._contracts = contracts
        covariance = market.covariance
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = covariance / np.sqrt(covariance[:, -1:])
        self._given = {
            "kind": kind,
            "market_of": e.market_of,
            "worlds": market.worlds,
            "functionals": simulation.payoffs.Functionals(codes, for_kernels(weights)),
            "masks": masks,
            "interest": for_kernels(market.interest),
            "deviation": for_kernels(deviation),
            "jumps": market.jumps,
            "substeps": market.substeps,
            "turn": np.empty(0),
        }
        self._steps = market.steps
        numbers = len(market.clock) * (2 if len(market.substeps.row) else 1)
        self._draws = simulation.draws.draws(
            settings.seed, settings.sampling == "sobol", numbers + 2 + 3 * dates
        )
        sobol = settings.sampling == "sobol"
        self._motion = simulation.bridge.bridge(market.clock, sobol)
        direction = direction_of(cells, timeline, market)
        if direction is not None and sobol:
            self._given["turn"] = np.empty(len(direction))
            simulation.towards(self._motion, direction, self._given["turn"])
        self._block = BLOCK_PATHS
        while self._block > 32 and self._block * max(numbers, dates) > BLOCK_NUMBERS:
            self._block //= 2
        self.control = contracts.control
        self._slopes = np.zeros(len(cells))
        if contracts.known is not None:
            sums = self._sums(np.arange(len(cells)), RANDOMISATIONS, 0, PILOT_PATHS) / PILOT_PATHS
            own = len(e.factor)
            self._slopes = regression(sums[:, :, 0], sums[:, :, own])

    def sample(self, active: Indices, first: int, last: int) -> Floats:
        """Return sums of what the cells `active` are paid, as `estimates.staged` asks."""
        return self._sums(active, 0, first, last)

    def _sums(self, active: Indices, randomisation: int, first: int, last: int) -> Floats:
        """Return sums from randomisation number `randomisation` on.

        Shape (R, a, E), or (R, a, 2 E) where the mean of one contract more is known: its sums
        come last, for every cell.
        """
        simulation, beside = self._kernels, self._contracts.known is not None
        chosen = np.append(active, len(self._slopes)) if beside else active
        kind, empty = self._given["kind"], np.empty((0, 0))
        parts = {name: for_kernels(array[chosen]) for name, array in self._contracts.parts.items()}
        tuples = {
            name: made(**parts if mine else {f: _nothing(made, f, empty) for f in made._fields})
            for name, made, mine in (
                ("forms", simulation.payoffs.Forms, kind == simulation.FORMS),
                ("cliquets", simulation.payoffs.Cliquets, kind == simulation.CLIQUETS),
                (
                    "watched",
                    simulation.payoffs.Watched,
                    kind not in (simulation.FORMS, simulation.CLIQUETS),
                ),
            )
        }
        out = np.empty((RANDOMISATIONS, len(chosen), len(self._evaluations.factor)))
        simulation.simulate(
            simulation.Simulation(**self._given, **tuples),
            self._draws, self._motion, self._steps, randomisation, first, last,
            min(self._block, last - first), out,
        )  # fmt: skip
        if not beside:
            return out
        rest = np.broadcast_to(out[:, -1:], (len(out), len(active), out.shape[2]))
        return np.concatenate((out[:, :-1], rest), axis=2)

    def combine(self, active: Indices, means: Floats) -> Floats:
        """Return each measure of each randomisation, as `estimates.staged` asks."""
        e = self._evaluations
        discount, known = self._market.discount[e.market_of], self._contracts.known
        values = np.zeros((len(MEASURES), *means.shape[:2]))
        for measure, row in enumerate(e.weights):
            for place in np.flatnonzero(row):
                paid = means[:, :, place] + self._contracts.added[active, place]
                if known is not None:
                    away = means[:, :, place + len(e.factor)] - known[place]
                    paid -= self._slopes[active] * away
                values[measure] += (row[place] * discount[place]) * paid
        values[1] /= self._spot[active]
        values[2] /= self._spot[active] * self._spot[active]
        values[~e.weights.any(axis=1)] = np.nan
        return values


_CODES = {"knocks_in", "rebated", "at_hit"}
_PLACES = {"first", "second", "control", "watch"}
_FLAT = {
    "theta", "beta", "live", "shares", "moneyness", "local_floor", "local_cap", "global_floor",
    "global_cap", "notional",
}  # fmt: skip


def _nothing(made: Any, name: str, empty: Floats) -> Any:
    """Return a field of no contracts in the layout that kernels take."""
    if name in _CODES:
        return np.empty(0, np.int8)
    if name in _PLACES:
        return np.empty(0, np.int64)
    return np.empty(0) if name in _FLAT else empty
