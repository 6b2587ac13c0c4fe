"""Implied volatilities: the vol at which an option is worth its price, or why there is none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import Cells, broadcast, numbers_of
from .compiled import check_workers, for_kernels, kernels
from .contracts import TYPES, WORDS, Market, Vanilla
from .engines import MOST_DEVIATION, averages_of, evaluate, solve
from .errors import SpecError
from .families import Families, families_of
from .methods import (
    ANALYTIC,
    CLOSED,
    FINITE_DIFFERENCE,
    INVALID,
    LEAST_VOL,
    SCHEDULED,
    SWEPT,
    UNSUPPORTED,
    UNSUPPORTED_REASONS,
    exact_alone,
    methods_of,
    special_of,
    why_unsupported,
)
from .settings import DEFAULT_TOLERANCE, Settings, check_tolerance

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]
    Booleans = NDArray[np.bool_]
    Indices = NDArray[np.int64]

VANILLA = TYPES["vanilla"]
ROUND_TRIP = 1e-8  # of the strike: how well an American option's vol gives back its price
INVERTED_TOGETHER = 65_536  # quotes of one thread, where a closed form is inverted
SEARCHED_TOGETHER = 16_384  # the same where prices are searched, at most
SOLVED_TOGETHER = {False: 2_048, True: 64}  # by whether they march through a schedule
# Of vol sqrt(expiry), between which vols are searched where there is a schedule.
LEAST_SCHEDULED, MOST_SCHEDULED = 1e-3, 20.0
NARROWEST = 1e-11  # bracket, relative to the vol: prices that still differ jump between its ends
FIRST_WIDENING = 0.02  # of a vol that is too low or too high; doubled each time
LEAST_SLOPE, MOST_SLOPE = 0.05, 20.0  # that a secant is believed


class ImpliedStatus(IntEnum):
    """How a quote ended. Appended to, never renumbered."""

    ok = 0
    below = 1
    above = 2
    no_time_value = 3
    invalid = 4
    expired = 5
    exercised = 6
    unsupported = 7
    tolerance = 8


REASONS = {
    ImpliedStatus.ok: "",
    ImpliedStatus.below: "price is below what the option is worth without vol",
    ImpliedStatus.above: "price is not below what the option is worth at any vol",
    ImpliedStatus.no_time_value: "price has no time value: it is that of no vol",
    ImpliedStatus.invalid: "",  # says which input
    ImpliedStatus.expired: "option has expired: its price does not depend on vol",
    ImpliedStatus.exercised: "price is that of immediate exercise: every low vol has it",
    ImpliedStatus.unsupported: "",  # says what of the option
    ImpliedStatus.tolerance: "no vol gives the price to 1e-8 of the strike; the nearest is given",
}


@dataclass(frozen=True, slots=True)
class ImpliedVolatilities:
    """The vols of quotes: arrays of one shape, and what they were read from.

    `vol` is NaN where there is none, `status` an `ImpliedStatus` as uint8. `cells` and `price`
    are the quotes, flat and in C order.
    """

    vol: Floats
    status: Codes
    cells: Cells
    price: Floats

    def reasons(self) -> NDArray[np.object_]:
        """Say for each quote why it has no vol, or no exact one; empty where it has."""
        words = np.array([REASONS[status] for status in ImpliedStatus], dtype=object)
        statuses = self.status.reshape(-1)
        reasons = words[statuses]
        for i in np.flatnonzero(statuses == ImpliedStatus.invalid).tolist():
            reasons[i] = _invalid(self.cells, self.price, i)
        for i in np.flatnonzero(statuses == ImpliedStatus.unsupported).tolist():
            reasons[i] = _unsupported(self.cells[i : i + 1])
        return reasons.reshape(self.status.shape)


def _unsupported(cell: Cells) -> str:
    """Say why nothing here finds the vol of a cell."""
    if cell.type[0] != VANILLA:
        return f"option is a {cell.shown('type', 0)}: only vanillas have one vol to a price"
    why = int(why_unsupported(cell)[0])
    return (
        f"option {UNSUPPORTED_REASONS[why]}" if why else "option has no price where vols were tried"
    )


def _invalid(cells: Cells, price: Floats, index: int) -> str:
    """Say which input of a quote no option can have."""
    if reason := cells.reason(index):
        return reason
    for name in ("spot", "strike"):
        if getattr(cells, name)[index] == 0:
            return f"{name} must be positive, got 0.0"
    if np.isnan(price[index]):
        return "price is missing"
    return f"price must be finite, got {price[index]}"


def implied_volatility(
    contract: Vanilla,
    market: Market,
    price: ArrayLike,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    workers: int | None = None,
) -> ImpliedVolatilities:
    """Find the vol at which each option is worth its price.

    A European option's price comes back to 1e-10 of the strike, an American one's to 1e-8: from
    `pricer.price` of the option alone, at the same tolerance. (With others of its family it may
    differ within the sum of both errors.) What a quote gets does not depend on the others.

    Parameters
    ----------
    contract
        what is owed; each field a scalar or an array.
    market
        the state of the world, likewise. Its vol is not looked at, and may be left out.
    price
        what is quoted, which broadcasts with them.
    tolerance
        at which American options are priced: the largest error per unit of strike.
    workers
        threads; by default PRICER_WORKERS, else the cores available to this process.

    Returns
    -------
    ImpliedVolatilities
        whose `vol` and `status` have the broadcast shape.

    Raises
    ------
    SpecError
        Where a scalar is one that no option has, shapes do not broadcast, or words are unknown.
    """
    check_tolerance(tolerance)
    for given, kind in ((contract, Vanilla), (market, Market)):
        if not isinstance(given, kind):
            raise SpecError(
                f"implied_volatility: takes a {kind.__name__} here, got {type(given).__name__}"
            )
    quotes = numbers_of("price", price)
    # Ones in the place of vols, in the shape of the prices, broadcast as those would.
    cells, shape = broadcast(contract, replace(market, vol=np.ones(quotes.shape)))
    quotes = np.broadcast_to(quotes, shape).reshape(-1)
    found = imply_cells(cells, quotes, tolerance, workers)
    return replace(found, vol=found.vol.reshape(shape), status=found.status.reshape(shape))


def imply_cells(
    cells: Cells, quotes: Floats, tolerance: float, workers: int | None = None
) -> ImpliedVolatilities:
    """Find the vols of n flat cells, of which those that are no vanillas have none."""
    settings = Settings(tolerance=tolerance, measures=("price",))
    threads = check_workers(workers)
    cells = _with_vols(cells, np.ones(len(cells)))
    vol = np.full(len(cells), np.nan)
    status = np.full(len(cells), ImpliedStatus.ok, np.uint8)
    usable = cells.valid() & (cells.spot > 0) & (cells.strike > 0) & np.isfinite(quotes)
    status[~usable] = ImpliedStatus.invalid
    status[usable & (cells.expiry == 0)] = ImpliedStatus.expired
    usable &= cells.expiry > 0
    status[usable & (cells.type != VANILLA)] = ImpliedStatus.unsupported
    usable &= cells.type == VANILLA
    alone = exact_alone(cells, settings.method)
    methods = np.where(alone, ANALYTIC, INVALID)
    if not alone.all():
        methods[~alone] = methods_of(_each(cells[~alone]), settings.method)
    status[usable & (methods == UNSUPPORTED)] = ImpliedStatus.unsupported

    def fill(where: Booleans, size: int, find: Callable[..., tuple[Floats, Any]]) -> None:
        chosen = None if where.all() else np.flatnonzero(where)

        def run(first: int) -> None:
            part = slice(first, first + size) if chosen is None else chosen[first : first + size]
            vol[part], status[part] = find(cells[part], quotes[part], settings)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(0, int(where.sum()), size)))

    fill(usable & (methods == ANALYTIC), INVERTED_TOGETHER, _exact)
    fill(usable & (methods == CLOSED), INVERTED_TOGETHER, _averaged)
    for wanted, find in (((FINITE_DIFFERENCE, SWEPT), _american), ((SCHEDULED,), _scheduled)):
        where = usable & np.isin(methods, wanted)
        share = -(-int(where.sum()) // threads)
        fill(where, min(max(share, SOLVED_TOGETHER[False]), SEARCHED_TOGETHER), find)
    return ImpliedVolatilities(vol, status, cells, quotes)


def _each(cells: Cells) -> Families:
    """Describe every cell as a family of its own."""
    return families_of(cells, np.arange(len(cells) + 1))


def _with_vols(cells: Cells, vol: Floats) -> Cells:
    """Return the cells with these vols instead of their own."""
    columns = {name: column for name, column in cells.columns.items() if name != "vol_curve"}
    return Cells({**columns, "vol": vol}, cells.tables)


def _values(cells: Cells, vol: Floats, settings: Settings, *, scheduled: bool) -> Floats:
    """Price every cell at a vol of its own, as a family of its own."""
    values = np.empty(len(cells))
    for first in range(0, len(cells), SOLVED_TOGETHER[scheduled]):
        part = slice(first, first + SOLVED_TOGETHER[scheduled])
        some = _with_vols(cells[part], vol[part])
        prices = evaluate(solve(_each(some), settings), some, np.arange(len(some) + 1))
        values[part] = prices.price
    return values


@dataclass(frozen=True, slots=True)
class _Scale:
    """Options of constant rate and yield, in whose vols prices are compared.

    `american` takes them by the quadratic approximation, else they are European.
    """

    right: NDArray[np.int8]
    spot: Floats
    strike: Floats
    expiry: Floats
    rate: Floats
    dividend_yield: Floats
    american: bool

    @classmethod
    def of(cls, cells: Cells, *, american: bool) -> _Scale:
        """Take the options as they are."""
        return cls(
            for_kernels(cells.right),
            for_kernels(cells.spot),
            for_kernels(cells.strike),
            for_kernels(cells.expiry),
            for_kernels(cells.rate),
            for_kernels(cells.dividend_yield),
            american,
        )

    @classmethod
    def averaged(cls, cells: Cells) -> _Scale:
        """Take the European options that curves and dividends make of them."""
        families = _each(cells)
        rate, dividend_yield, _, _, left, paid, _ = averages_of(families, special_of(families))
        spot = left * cells.spot - paid * cells.strike
        right, strike, expiry = (for_kernels(a) for a in (cells.right, cells.strike, cells.expiry))
        return cls(right, spot, strike, expiry, rate.copy(), dividend_yield.copy(), american=False)

    def __getitem__(self, index: Any) -> _Scale:
        """Return the options that a NumPy index selects."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return _Scale(**{n: a if n == "american" else a[index] for n, a in named.items()})

    def european(self, prices: Floats) -> tuple[Floats, NDArray[np.int8]]:
        """Return the vols at which the European options have these prices, and codes."""
        (implied,) = kernels("implied")
        vol, code = np.empty(len(prices)), np.empty(len(prices), np.int8)
        implied.european_vol(
            self.right, self.spot, self.strike, self.expiry, self.rate, self.dividend_yield,
            for_kernels(prices), vol, code,
        )  # fmt: skip
        return vol, code

    def vols(self, prices: Floats, start: Floats) -> Floats:
        """Return the vols of these prices, NaN where there is none; the search is from `start`."""
        if not self.american:
            return self.european(prices)[0]
        (quadratic,) = kernels("quadratic")
        vol = np.empty(len(prices))
        quadratic.american_vol(
            self.right, self.spot, self.strike, self.expiry, self.rate, self.dividend_yield,
            for_kernels(prices), start, vol,
        )  # fmt: skip
        return vol


def _exact(cells: Cells, quotes: Floats, _: Settings) -> tuple[Floats, NDArray[np.int8]]:
    """Return the vols and statuses of plain options that are never exercised early."""
    return _Scale.of(cells, american=False).european(quotes)


def _averaged(cells: Cells, quotes: Floats, _: Settings) -> tuple[Floats, NDArray[np.int8]]:
    """Return the vols and statuses of European options with curves or dividends."""
    scale = _Scale.averaged(cells)
    vol, code = scale.european(quotes)
    code[scale.spot <= 0] = ImpliedStatus.unsupported
    return vol, code


def _american(cells: Cells, quotes: Floats, settings: Settings) -> tuple[Floats, Codes]:
    """Return the vols and statuses of plain American options."""
    least = _values(cells, np.zeros(len(cells)), settings, scheduled=False)
    scale = _Scale.of(cells, american=True)
    status = _bounded(scale, quotes, least)
    searched = np.flatnonzero(status == ImpliedStatus.ok)
    some, scale = cells[searched], scale[searched]
    typical = 1.0 / np.sqrt(scale.expiry)
    european, _ = scale.european(quotes[searched])
    start = np.where(european > 0, european, typical)
    limits = np.full(len(searched), LEAST_VOL), MOST_DEVIATION * typical
    vol = np.full(len(cells), np.nan)
    vol[searched], status[searched] = _search(
        some, quotes[searched], scale, start, limits, settings, scheduled=False
    )
    return vol, status


def _scheduled(cells: Cells, quotes: Floats, settings: Settings) -> tuple[Floats, Codes]:
    """Return the vols and statuses of options that are marched through a schedule."""
    american = cells.exercise == WORDS["exercise"]["american"]
    intrinsic = np.maximum(cells.right * (cells.spot - cells.strike), 0.0)
    scale = _Scale.averaged(cells)
    now = replace(scale, spot=for_kernels(cells.spot))
    status = _bounded(now, quotes, np.where(american, intrinsic, 0.0))
    searched = np.flatnonzero(status == ImpliedStatus.ok)
    some, scale = cells[searched], scale[searched]
    typical = 1.0 / np.sqrt(scale.expiry)
    vol = np.full(len(cells), np.nan)
    limits = LEAST_SCHEDULED * typical, MOST_SCHEDULED * typical
    vol[searched], status[searched] = _search(
        some, quotes[searched], scale, 0.3 * typical, limits, settings, scheduled=True
    )
    return vol, status


def _bounded(options: _Scale, quotes: Floats, least: Floats) -> Codes:
    """Return the statuses of quotes that cannot have a vol, ok where they may."""
    call = options.right > 0
    cost = np.where(call, options.dividend_yield, options.rate)
    most = np.where(call, options.spot, options.strike)
    most *= np.maximum(np.exp(-cost * options.expiry), 1.0)
    intrinsic = options.right * (options.spot - options.strike)
    gap = quotes - least
    slack = ROUND_TRIP * options.strike
    status = np.full(len(quotes), ImpliedStatus.ok, np.uint8)
    status[gap <= slack] = ImpliedStatus.no_time_value
    status[(gap <= slack) & (intrinsic > 0) & (least == intrinsic)] = ImpliedStatus.exercised
    status[gap < -slack] = ImpliedStatus.below
    status[quotes >= most] = ImpliedStatus.above
    return status


def _search(
    cells: Cells,
    quotes: Floats,
    scale: _Scale,
    start: Floats,
    limits: tuple[Floats, Floats],
    settings: Settings,
    *,
    scheduled: bool,
) -> tuple[Floats, Codes]:
    """Find vols within `limits` that give the quotes, and statuses.

    Prices are compared by their vols on `scale`, of options that are nearly the same: that of our
    price follows the vol it was made with almost one to one, so that secants meet after two or
    three prices. Where they do not, the bracket is halved.
    """
    lowest, highest = limits
    aim = scale.vols(quotes, start)
    vol = np.clip(np.where(aim > 0, aim, start), *limits)
    paths = _Paths.starting(vol)
    nearest, status = vol.copy(), np.full(len(cells), ImpliedStatus.tolerance, np.uint8)
    least_gap = np.full(len(cells), np.inf)
    live = np.arange(len(cells))
    while len(live):
        value = _values(cells[live], paths.vol, settings, scheduled=scheduled)
        gap = value - quotes[live]
        better = abs(gap) < least_gap[live]
        nearest[live[better]], least_gap[live[better]] = paths.vol[better], abs(gap[better])
        endings = {
            ImpliedStatus.above: (gap < 0) & (paths.vol >= highest[live]),
            ImpliedStatus.below: (gap > 0) & (paths.vol <= lowest[live]),
            ImpliedStatus.unsupported: np.isnan(gap),
            ImpliedStatus.ok: abs(gap) <= ROUND_TRIP * cells.strike[live],
        }
        going = np.ones(len(live), dtype=bool)
        for ending, here in endings.items():
            status[live[here]] = ending
            going &= ~here
        live, paths = live[going], paths[going]
        miss = scale[live].vols(value[going], vol[live]) - aim[live]
        paths.follow(gap[going], miss, lowest[live], highest[live])
        going = ~paths.narrow()
        live, paths = live[going], paths[going]
    nearest[(status != ImpliedStatus.ok) & (status != ImpliedStatus.tolerance)] = np.nan
    return nearest, status


@dataclass(slots=True)
class _Paths:
    """Searches that go on side by side: where each is, its bracket, and where it was before.

    `miss` is how much our price's vol on the scale lies above the quote's; it may be NaN. `gap` is
    how much our price lies above the quote.
    """

    vol: Floats
    low: Floats
    high: Floats
    widening: Floats
    before: Floats
    miss: Floats
    gap: Floats

    @classmethod
    def starting(cls, vol: Floats) -> _Paths:
        """Start at these vols."""
        unknown = np.full(len(vol), np.nan)
        infinite = np.full(len(vol), np.inf)
        widening = np.full(len(vol), FIRST_WIDENING)
        return cls(vol, np.zeros(len(vol)), infinite, widening, unknown, unknown, infinite)

    def __getitem__(self, index: Booleans) -> _Paths:
        """Return the searches that a NumPy index selects."""
        return _Paths(*(getattr(self, f.name)[index] for f in fields(self)))

    def narrow(self) -> Booleans:
        """Tell which brackets hold no other vol worth pricing."""
        return self.high <= (1.0 + NARROWEST) * self.low

    def follow(self, gap: Floats, miss: Floats, lowest: Floats, highest: Floats) -> None:
        """Move on, from what the vols were found to miss by, within limits."""
        self.low = np.where(gap < 0, self.vol, self.low)
        self.high = np.where(gap >= 0, self.vol, self.high)
        slope = (miss - self.miss) / (self.vol - self.before)
        step = miss / np.where((slope > LEAST_SLOPE) & (slope < MOST_SLOPE), slope, 1.0)
        new = self.vol - step
        stalled = ~(abs(gap) < 0.5 * abs(self.gap))
        unfit = stalled | ~((self.low < new) & (new < self.high))
        self.before, self.miss, self.gap = self.vol, miss, gap
        self.vol = np.clip(np.where(unfit, self._halved(), new), lowest, highest)
        self.widening = np.where(unfit, 2.0 * self.widening, self.widening)

    def _halved(self) -> Floats:
        """Return vols in the middle of the brackets, or further out where one end is open."""
        low, high = self.low, self.high
        middle = np.where(high > 4.0 * low, np.sqrt(low) * np.sqrt(high), 0.5 * (low + high))
        open_above = np.where(high == np.inf, low * (1.0 + self.widening), middle)
        return np.where(low == 0, high / (1.0 + self.widening), open_above)
