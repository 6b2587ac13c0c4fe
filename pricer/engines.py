"""What prices families: closed forms and solvers, called with the arrays that kernels take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .alone import kernels_alone, price_alone
from .claims import ASSET_AT_EXPIRY, ASSET_AT_HIT, CASH_AT_HIT, OUT, claims_of
from .compiled import for_kernels, kernels
from .contracts import Status
from .exchanges import as_vanillas, exercised_exchanges, of_assets
from .families import families_of
from .methods import (
    ANALYTIC,
    BEYOND,
    CLOSED,
    FINITE_DIFFERENCE,
    INVALID,
    LEAST_VOL,
    SCHEDULED,
    SWEPT,
    UNSUPPORTED,
    Special,
    choose,
    methods_of,
)
from .prices import Prices
from .settings import BOUNDS, MEASURES, STATISTICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells
    from .claims import Claims
    from .families import Families
    from .settings import Settings

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]
    Booleans = NDArray[np.bool_]
    Indices = NDArray[np.int64]

SWEPT_KIND = 2  # for `black_scholes.closed_form`
LEAST_DEVIATION, MOST_DEVIATION = 1e-6, 1e4  # vol sqrt(T) that doubles resolve on a mesh
SCHEDULED_WEIGHT = 8  # slices of the shared march that one through a schedule is worth, in memory
PAYOFF_FIELDS = (
    "theta", "alpha", "beta", "kink", "knock", "lower", "upper", "lower_rebate", "upper_rebate",
    "timing",
)  # fmt: skip
CLAIM_FIELDS = (*PAYOFF_FIELDS, "american", "continuous", "escrowed")
LEAST_RATIO, MOST_RATIO = 1e-100, 1e100  # of spot to strike that a mesh reaches for


@dataclass(frozen=True, slots=True)
class Marched:
    """Families that one kernel solved: what it was given, and gave.

    `place`, shape (F,), is where each family is among them, -1 where it is not.
    """

    place: Indices
    options: Any
    surfaces: Any


@dataclass(frozen=True, slots=True)
class Solution:
    """What the solves of F families left behind; `codes` says how each is priced, shape (F,).

    `world` has what the curves and dividends of each family come to, shape (7, F), as
    `kernels.averages.ROWS`; `now` its first vol, rate and dividend yield, shape (3, F).
    """

    settings: Settings
    codes: Codes
    shared: Marched | None
    scheduled: Marched | None
    world: Floats
    now: Floats


def load(families: Families, settings: Settings) -> None:
    """Load, and compile where that is not done, what pricing these families takes."""
    codes = methods_of(families, settings.method)
    names = ["black_scholes", "finite_difference"]
    if np.isin(codes, (CLOSED, SCHEDULED)).any():
        names += ["averages", "knock"]
    if (codes == SCHEDULED).any():
        names += ["scheduled"]
    if (codes == BEYOND).any():
        names += kernels_alone(families.cells, settings)
    # Together, since those that are not compiled yet are compiled at once.
    kernels(*names)


def cells_alone(settings: Settings) -> Solution:
    """Return what prices cells that a closed form prices alone (`methods.exact_alone`)."""
    none = np.zeros((7, 1))
    return Solution(settings, np.array([ANALYTIC], np.uint8), None, None, none, none[:3])


def slices_of(families: Families, settings: Settings) -> Indices:
    """Count the expiries to solve before each family and after the last, shape (F + 1,)."""
    codes = methods_of(families, settings.method)
    weight = np.where(codes == SCHEDULED, SCHEDULED_WEIGHT, codes == FINITE_DIFFERENCE)
    return np.concatenate(([0], np.cumsum(np.diff(families.expiry_offsets) * weight)))


def solve(families: Families, settings: Settings) -> Solution:
    """Solve every family that needs it: one partial differential equation each."""
    choice = choose(families, settings.method)
    codes, chosen, special = choice.codes, choice.places, choice.special
    cells = families.cells
    world = np.zeros((7, len(families)))
    world[:3] = cells.rate, cells.dividend_yield, cells.vol
    world[3:5] = 1.0
    now = np.array([cells.vol, cells.rate, cells.dividend_yield])
    greeks = not {"vega", "rho", "dividend_rho"}.isdisjoint(settings.measures)
    scheduled = None
    if special:
        segments = special.segments
        now[:, chosen] = [
            part[segments.offsets[:-1]]
            for part in (segments.vol, segments.rate, segments.dividend_yield)
        ]
        world[:, chosen] = averages_of(families.take(chosen), special)
        kept = np.flatnonzero(codes[chosen] == SCHEDULED)
        if len(kept):
            place = np.full(len(families), -1)
            place[chosen[kept]] = np.arange(len(kept))
            solved = _march_schedules(
                families.take(chosen[kept]), special.take(kept), settings, greeks
            )
            scheduled = Marched(place, *solved)
    return Solution(settings, codes, _march_shared(families, codes, settings, greeks), scheduled,
                    world, now)  # fmt: skip


def averages_of(families: Families, described: Special) -> Floats:
    """Return what curves and dividends come to until each family's one expiry.

    Shape (7, F), in the order of `kernels.averages.ROWS`.
    """
    (averages,) = kernels("averages")
    segments, events = described.segments, described.events
    rows = np.empty((7, len(families)))
    averages.averages(
        segments.offsets, segments.ends, segments.rate, segments.dividend_yield, segments.vol,
        events.offsets, events.times, events.cash, events.proportional,
        families.expiries[families.expiry_offsets[1:] - 1], rows,
    )  # fmt: skip
    return rows


def _march_shared(
    families: Families, codes: Codes, settings: Settings, greeks: bool
) -> Marched | None:
    """Solve plain vanillas: one march prices every spot, strike and expiry of a family."""
    cells = families.cells
    owner = np.repeat(np.arange(len(families)), np.diff(families.expiry_offsets))
    keep = (codes[owner] == FINITE_DIFFERENCE) & _resolved(cells.vol[owner], families.expiries)
    counts = np.bincount(owner[keep], minlength=len(families))
    chosen = np.flatnonzero(counts)
    if not len(chosen):
        return None
    place = np.full(len(families), -1)
    place[chosen] = np.arange(len(chosen))
    (finite_difference,) = kernels("finite_difference")
    options = finite_difference.Options(
        theta=for_kernels(cells.right[chosen]),
        american=for_kernels(cells.exercise[chosen]),
        sigma=for_kernels(cells.vol[chosen]),
        r=for_kernels(cells.rate[chosen]),
        q=for_kernels(cells.dividend_yield[chosen]),
        low=np.clip(families.moneyness_low[chosen], LEAST_RATIO, MOST_RATIO),
        high=np.clip(families.moneyness_high[chosen], LEAST_RATIO, MOST_RATIO),
        expiry_offsets=np.concatenate(([0], np.cumsum(counts[chosen]))),
        expiries=families.expiries[keep],
    )
    return Marched(place, options, finite_difference.solve(options, settings.tolerance, greeks))


def _march_schedules(
    families: Families, special: Special, settings: Settings, greeks: bool
) -> tuple[Any, Any]:
    """Solve everything else: barriers, dates, dividends, curves; return options and surfaces."""
    (scheduled,) = kernels("scheduled")
    claims, segments, events = special.claims, special.segments, special.events
    contracts = scheduled.Contracts(
        **{name: for_kernels(getattr(claims, name)) for name in CLAIM_FIELDS},
        low=np.clip(families.moneyness_low, LEAST_RATIO, MOST_RATIO),
        high=np.clip(families.moneyness_high, LEAST_RATIO, MOST_RATIO),
        expiry_offsets=families.expiry_offsets,
        expiries=for_kernels(families.expiries),
        segment_offsets=segments.offsets,
        segment_ends=segments.ends,
        r=segments.rate,
        q=segments.dividend_yield,
        sigma=segments.vol,
        event_offsets=events.offsets,
        event_times=events.times,
        event_exercise=events.exercise,
        event_monitor=events.monitor,
        event_cash=events.cash,
        event_proportional=events.proportional,
    )
    return contracts, scheduled.solve(contracts, settings.tolerance, greeks)


def _resolved(vol: Floats, expiry: Floats) -> NDArray[np.bool_]:
    """Tell where a mesh can resolve the spread of the spot at expiry."""
    with np.errstate(invalid="ignore", over="ignore"):
        deviation = vol * np.sqrt(expiry)
    return (deviation >= LEAST_DEVIATION) & (deviation <= MOST_DEVIATION)


def evaluate(solution: Solution, cells: Cells, offsets: Indices) -> Prices:
    """Price cells of solved families; `offsets`, shape (F + 1,), delimits each family's cells."""
    settings = solution.settings
    family = np.repeat(np.arange(len(solution.codes)), np.diff(offsets))
    codes = solution.codes[family]
    alone = codes == BEYOND
    if not alone.any():
        return _evaluate_solved(solution, cells, family)
    prices = Prices.blank(len(cells), settings.measures, simulated=True)
    prices.put(alone, price_beyond(cells[alone], settings))
    if not alone.all():
        prices.put(~alone, _evaluate_solved(solution, cells[~alone], family[~alone]))
    return prices


def price_beyond(cells: Cells, settings: Settings) -> Prices:
    """Price n cells of types and models that no family's solve prices, each by itself."""
    exchanged = np.zeros(len(cells), dtype=bool)
    if settings.method != "monte_carlo":
        exchanged = exercised_exchanges(cells) & cells.valid()
    if not exchanged.any():
        return price_alone(cells, settings)
    prices = Prices.blank(len(cells), settings.measures, simulated=True)
    prices.put(~exchanged, price_alone(cells[~exchanged], settings))
    some = cells[exchanged]
    vanillas = as_vanillas(some)
    each = np.arange(len(some) + 1)
    all_measures = replace(settings, measures=MEASURES)
    found = evaluate(solve(families_of(vanillas, each), all_measures), vanillas, each)
    rows = of_assets(some, np.array([getattr(found, name) for name in MEASURES]))
    asked: dict[str, Any] = {
        name: row if name in settings.measures else None
        for name, row in zip(MEASURES, rows, strict=True)
    }
    prices.put(exchanged, replace(found, **asked))
    return prices


def _evaluate_solved(solution: Solution, cells: Cells, family: Indices) -> Prices:
    (black_scholes,) = kernels("black_scholes")
    settings = solution.settings
    codes = solution.codes[family]
    valid = cells.valid()
    out = np.full((len(MEASURES) + 1, len(cells)), np.nan)
    method = np.zeros(len(cells), np.uint8)
    status = np.zeros(len(cells), np.uint8)
    special = np.isin(codes, (CLOSED, SCHEDULED))
    if special.any():
        _price_special(solution, cells, family, special & valid, out, method, status)
    if not special.all():
        _price_plain(solution, cells, family, ~special & valid, out, method, status)
    failed = ~np.isfinite(out[0] + out[-1])
    if failed.any():
        out[:, failed] = np.nan
        unpriced = valid & np.isin(codes, (UNSUPPORTED, SCHEDULED)) & (status != Status.invalid)
        status[failed] = np.where(unpriced[failed], Status.unsupported, Status.invalid)
        method[failed] = INVALID
    rows = dict(zip(black_scholes.ROWS, out, strict=True))
    if not set(STATISTICS + BOUNDS).isdisjoint(settings.measures):
        rows |= dict.fromkeys(STATISTICS, np.where(failed, np.nan, 0.0))
        rows |= dict.fromkeys(BOUNDS, rows["price"])
    asked = (*settings.measures, "error")
    values = {name: row if name in asked else None for name, row in rows.items()}
    return Prices(**values, status=status, method=method)  # type: ignore[arg-type]


def _price_plain(
    solution: Solution,
    cells: Cells,
    family: Indices,
    valid: Booleans,
    out: Floats,
    method: Codes,
    status: Codes,
) -> None:
    """Price the `valid` cells, vanillas of constant rate, yield and vol, of which each is random.

    Or a limit: expiry, vol, spot or strike 0.
    """
    codes, tolerance = solution.codes[family], solution.settings.tolerance
    pde = (codes == FINITE_DIFFERENCE) & valid
    random = valid & (cells.spot > 0) & (cells.strike > 0) & (cells.expiry > 0)
    random &= cells.vol >= LEAST_VOL
    pde &= random
    pde[pde] = _resolved(cells.vol[pde], cells.expiry[pde])
    exact = valid & ~pde & (codes != UNSUPPORTED)
    rough = exact & (cells.exercise > 0) & ((codes == SWEPT) | (codes == FINITE_DIFFERENCE))
    kinds = np.where(rough, SWEPT_KIND, cells.exercise).astype(np.int8)
    _closed_form(cells, kinds, exact, out)
    method[exact] = ANALYTIC
    error = out[-1]
    status[rough & random & (error > tolerance * cells.strike)] = Status.tolerance
    if not pde.any():
        return
    (finite_difference,) = kernels("finite_difference")
    _read_off(finite_difference, solution.shared, cells, cells.strike, family, pde, out)
    method[pde] = FINITE_DIFFERENCE
    late = pde & (error > tolerance * cells.strike)
    if late.any():
        status[late] = Status.tolerance
        # Beyond the work limit the closed form for a strong drift may know better.
        limit = np.full_like(out, np.inf)
        kinds[:] = SWEPT_KIND
        _closed_form(cells, kinds, late & (cells.exercise > 0), limit)
        better = limit[-1] < error
        out[:, better] = limit[:, better]
        status[better & (error <= tolerance * cells.strike)] = Status.ok
        method[better] = ANALYTIC


def _price_special(
    solution: Solution,
    cells: Cells,
    family: Indices,
    valid: Booleans,
    out: Floats,
    method: Codes,
    status: Codes,
) -> None:
    """Price the `valid` cells of claims with barriers, dates, dividends or curves."""
    claims = claims_of(cells)
    codes = solution.codes[family]
    spot, expiry = cells.spot, cells.expiry
    ended = (spot <= claims.lower) | (spot >= claims.upper)
    ended &= (claims.knock == OUT) & (claims.continuous > 0)
    left, paid = solution.world[4:6, family]
    spent = valid & (claims.escrowed > 0) & (expiry > 0) & (left * spot < paid * claims.unit)
    status[spent] = Status.invalid
    marched = valid & (codes == SCHEDULED) & ~ended & ~spent & (expiry > 0) & (spot > 0)
    closed = valid & ~marched & ~spent & ((codes == CLOSED) | ended | (expiry == 0))
    if closed.any():
        _closed_claims(solution, cells, claims, family, closed, ended, out)
        method[closed] = ANALYTIC
    if marched.any():
        (scheduled,) = kernels("scheduled")
        _read_off(scheduled, solution.scheduled, cells, claims.unit, family, marched, out)
        out[:, marched] *= (claims.scale / claims.unit)[marched]
        method[marched] = FINITE_DIFFERENCE
    largest = solution.settings.tolerance * np.maximum(claims.unit, claims.scale)
    status[valid & (out[-1] > largest)] = Status.tolerance


def _closed_claims(
    solution: Solution,
    cells: Cells,
    claims: Claims,
    family: Indices,
    where: Booleans,
    ended: Booleans,
    out: Floats,
) -> None:
    """Write the closed form of the claims `where` to their columns of `out`, shape (8, n).

    With curves and dividends the spot at expiry is lognormal all the same: of their averages, and
    of the spot less what is paid until then. Its derivatives follow by the chain rule, theta from
    the differential equation. Those that have `ended` beyond a barrier are the spot of now, or
    cash, whatever is paid later; shares delivered at expiry miss it.
    """
    (knock,) = kernels("knock")
    rate, dividend_yield, vol, vol_slope, left, paid, paid_slope = solution.world[:, family[where]]
    now_vol, now_rate, now_yield = solution.now[:, family[where]]
    spot, expiry, unit = (a[where] for a in (cells.spot, cells.expiry, claims.unit))
    owed = {name: getattr(claims, name)[where] for name in PAYOFF_FIELDS}
    beyond = ended[where]
    decided = beyond & (owed["timing"] != ASSET_AT_EXPIRY)
    left, paid, paid_slope = (
        np.where(decided, rest, row) for rest, row in ((1.0, left), (0.0, paid), (0.0, paid_slope))
    )
    live = expiry > 0.0
    state = np.where(live, left * spot - paid * unit, spot)
    part = np.empty((len(out), len(spot)))
    # Neither what is paid until expiry nor the drift takes a spot back across the barrier.
    over = beyond & (spot >= owed["upper"])
    owed["lower"][over] = 0.0
    owed["upper"][over] = np.minimum(state, owed["upper"])[over]
    # What is watched on dates alone comes here only at expiry, when no date is left.
    unwatched = claims.continuous[where] == 0
    owed["lower"] = np.where(unwatched, 0.0, owed["lower"])
    owed["upper"] = np.where(unwatched, np.inf, owed["upper"])
    knock.closed_form(
        *map(for_kernels, owed.values()),
        *(for_kernels(a) for a in (state, expiry, rate, dividend_yield, vol)),
        part,
    )
    part[:, state < 0.0] = np.nan
    moved = live & ((paid != 0.0) | (left != 1.0) | (vol_slope != 1.0))
    moved |= live & ((now_vol != vol) | (now_rate != rate) | (now_yield != dividend_yield))
    moved &= ~(beyond & np.isin(owed["timing"], (CASH_AT_HIT, ASSET_AT_HIT)))
    price, delta, gamma = part[0], part[1].copy(), part[2].copy()
    theta = now_rate * price - (now_rate - now_yield) * state * delta
    theta -= 0.5 * now_vol * now_vol * state * state * gamma + delta * now_rate * paid * unit
    part[4] = np.where(moved, theta, part[4])
    part[1] = np.where(live, left, 1.0) * delta
    part[2] = np.where(live, left * left, 1.0) * gamma
    part[3] *= vol_slope
    part[5] += np.where(live, delta * paid_slope * unit, 0.0)
    out[:, where] = part


def _closed_form(
    cells: Cells, kinds: NDArray[np.int8], where: NDArray[np.bool_], out: Floats
) -> None:
    """Write the closed form of the cells `where` to their columns of `out`, shape (8, n)."""
    if not where.any():
        return
    (black_scholes,) = kernels("black_scholes")
    # An American option with less vol than this has none: its European price is not its limit.
    vol = np.where((cells.exercise > 0) & (cells.vol < LEAST_VOL), 0.0, cells.vol)
    inputs = (cells.spot, cells.strike, cells.expiry, cells.rate, cells.dividend_yield, vol)
    given = (cells.right, kinds, *inputs)
    if where.all():
        black_scholes.closed_form(*map(for_kernels, given), out)
        return
    part = np.empty((len(out), int(where.sum())))
    black_scholes.closed_form(*(for_kernels(a[where]) for a in given), part)
    out[:, where] = part


def _read_off(
    kernel: Any,
    marched: Marched | None,
    cells: Cells,
    unit: Floats,
    family: Indices,
    where: Booleans,
    out: Floats,
) -> None:
    """Write what the marched families say of the cells `where` to `out`, as `_closed_form`."""
    assert marched
    # Kernels leave out what is not asked for.
    part = np.full((len(out), int(where.sum())), np.nan)
    place = marched.place[family][where]
    count = len(marched.options.theta)
    kernel.evaluate(
        marched.options,
        marched.surfaces,
        np.searchsorted(place, np.arange(count + 1)),
        *(for_kernels(a[where]) for a in (cells.spot, unit, cells.expiry)),
        part,
    )
    out[:, where] = part
