"""Implied volatilities: the vol at which an option is worth its price, or why there is none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import check_workers, kernels
from .contracts import (
    DEFAULT_TOLERANCE,
    Cells,
    Market,
    Vanilla,
    broadcast,
    check_tolerance,
    families_of,
)
from .errors import SpecError
from .pricing import ANALYTIC, MOST_DEVIATION, UNSUPPORTED, Settings, evaluate, methods_of, solve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

ROUND_TRIP = 1e-8  # of the strike: how well an American option's vol gives back its price
SEARCHED_TOGETHER = 16_384  # quotes of one thread, at most
SOLVED_TOGETHER = 512
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
    ImpliedStatus.unsupported: "two exercise boundaries, which the solver does not have",
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
        reasons = np.atleast_1d(words[self.status]).reshape(-1)
        for i in np.flatnonzero(self.status.reshape(-1) == ImpliedStatus.invalid).tolist():
            reasons[i] = _invalid(self.cells, self.price, i)
        return reasons.reshape(self.status.shape)


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
    contract, market, price
        scalars or arrays, which broadcast. The market's vol is not looked at, and may be left out.
    tolerance
        at which American options are priced: the largest error per unit of strike.
    workers
        threads; by default PRICER_WORKERS, else the cores available to this process.

    Returns
    -------
    ImpliedVolatilities, whose `vol` and `status` have the broadcast shape.

    Raises
    ------
    SpecError
        Where a scalar is one that no option has, shapes do not broadcast, or words are unknown.
    """
    settings = Settings(tolerance=check_tolerance(tolerance), measures=("price",))
    for given, kind in ((contract, Vanilla), (market, Market)):
        if not isinstance(given, kind):
            raise SpecError(
                f"implied_volatility: takes a {kind.__name__} here, got {type(given).__name__}"
            )
    quotes = _prices(price)
    # Ones in the place of vols, in the shape of the prices, broadcast as those would.
    cells, shape = broadcast(contract, replace(market, vol=np.ones(quotes.shape)))
    quotes = np.broadcast_to(quotes, shape).reshape(-1)
    threads = check_workers(workers)
    vol = np.full(len(cells), np.nan)
    status = np.full(len(cells), ImpliedStatus.ok, np.uint8)
    usable = cells.valid() & (cells.spot > 0) & (cells.strike > 0) & np.isfinite(quotes)
    status[~usable] = ImpliedStatus.invalid
    status[usable & (cells.expiry == 0)] = ImpliedStatus.expired
    usable &= cells.expiry > 0
    methods = methods_of(_each(cells), settings)
    status[usable & (methods == UNSUPPORTED)] = ImpliedStatus.unsupported
    exact = usable & (methods == ANALYTIC)
    if exact.any():
        vol[exact], status[exact] = _european(cells[exact], quotes[exact])
    american = np.flatnonzero(usable & (methods != ANALYTIC) & (methods != UNSUPPORTED))

    def run(part: NDArray[np.int64]) -> None:
        vol[part], status[part] = _american(cells[part], quotes[part], settings)

    size = min(max(-(-len(american) // threads), SOLVED_TOGETHER), SEARCHED_TOGETHER)
    parts = [american[first : first + size] for first in range(0, len(american), size)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, parts))
    return ImpliedVolatilities(vol.reshape(shape), status.reshape(shape), cells, quotes)


def _prices(price: ArrayLike) -> Floats:
    try:
        array: Any = np.ma.asanyarray(price)
    except ValueError:  # a ragged list
        array = np.ma.asanyarray("")
    if array.dtype.kind not in "iuf":
        got = " ".join(repr(price).split())
        raise SpecError(f"price: must be a number or an array of numbers, got {got[:80]}")
    prices: Floats = np.asarray(array.astype(np.float64).filled(np.nan))
    if prices.ndim == 0 and not np.isfinite(prices):
        rule = "is missing" if np.isnan(prices) else f"must be finite, got {prices}"
        raise SpecError(f"price: {rule}")
    return prices


def _each(cells: Cells) -> Any:
    """Describe every cell as a family of its own."""
    return families_of(cells, np.arange(len(cells) + 1))


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` contiguous and writable, the one layout that kernels are compiled for."""
    return np.require(array, requirements=["C", "W"])


def _inputs(cells: Cells) -> tuple[NDArray[np.int8], Floats, Floats, Floats, Floats, Floats]:
    """Return what the kernels of this module take of quotes."""
    return (
        _plain(cells.right),
        _plain(cells.spot),
        _plain(cells.strike),
        _plain(cells.expiry),
        _plain(cells.rate),
        _plain(cells.dividend_yield),
    )


def _european(cells: Cells, quotes: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Return the vols and codes of options that are never exercised early."""
    kernels()
    from .kernels import implied

    vol, code = np.empty(len(cells)), np.empty(len(cells), np.int8)
    implied.european_vol(*_inputs(cells), _plain(quotes), vol, code)
    return vol, code


def _approximate(cells: Cells, prices: Floats, start: Floats) -> Floats:
    """Return the vols at which the quadratic approximation has these prices."""
    kernels()
    from .kernels import quadratic

    vol = np.empty(len(cells))
    quadratic.american_vol(*_inputs(cells), _plain(prices), start, vol)
    return vol


def _values(cells: Cells, vol: Floats, settings: Settings) -> Floats:
    """Price every cell at a vol of its own, as a family of its own."""
    values = np.empty(len(cells))
    for part in _slices(len(cells)):
        some = replace(cells[part], vol=vol[part])
        prices = evaluate(solve(_each(some), settings), some, np.arange(len(some) + 1))
        values[part] = prices.price
    return values


def _slices(count: int) -> Iterator[slice]:
    return (slice(first, first + SOLVED_TOGETHER) for first in range(0, count, SOLVED_TOGETHER))


def _american(cells: Cells, quotes: Floats, settings: Settings) -> tuple[Floats, Codes]:
    """Return the vols and statuses of American options."""
    least = _values(cells, np.zeros(len(cells)), settings)
    most = np.where(cells.right > 0, cells.spot, cells.strike)
    gap = quotes - least
    slack = ROUND_TRIP * cells.strike
    intrinsic = cells.right * (cells.spot - cells.strike)
    status = np.full(len(cells), ImpliedStatus.ok, np.uint8)
    status[abs(gap) <= slack] = ImpliedStatus.no_time_value
    status[(abs(gap) <= slack) & (intrinsic > 0) & (least == intrinsic)] = ImpliedStatus.exercised
    status[gap < -slack] = ImpliedStatus.below
    status[quotes >= most] = ImpliedStatus.above
    vol = np.full(len(cells), np.nan)
    searched = np.flatnonzero(status == ImpliedStatus.ok)
    vol[searched], status[searched] = _search(cells[searched], quotes[searched], settings)
    return vol, status


def _search(cells: Cells, quotes: Floats, settings: Settings) -> tuple[Floats, Codes]:
    """Find vols that give quotes which lie between what no vol and any vol give.

    Prices are compared by the vols that the quadratic approximation finds in them: that of our
    price follows the vol it was made with almost one to one, so that secants meet after two or
    three prices. Where they do not, the bracket is halved.
    """
    european, _ = _european(cells, quotes)
    typical = 1.0 / np.sqrt(cells.expiry)
    vol = _approximate(cells, quotes, np.where(european > 0, european, typical))
    vol = np.where(vol > 0, vol, typical)
    paths = _Paths.starting(vol)
    nearest, status = vol.copy(), np.full(len(cells), ImpliedStatus.tolerance, np.uint8)
    least_gap = np.full(len(cells), np.inf)
    live = np.arange(len(cells))
    while len(live):
        value = _values(cells[live], paths.vol, settings)
        gap = value - quotes[live]
        better = abs(gap) < least_gap[live]
        nearest[live[better]], least_gap[live[better]] = paths.vol[better], abs(gap[better])
        met, lost = abs(gap) <= ROUND_TRIP * cells.strike[live], np.isnan(gap)
        status[live[met]] = ImpliedStatus.ok
        status[live[lost]] = ImpliedStatus.unsupported
        going = ~(met | lost)
        live, paths = live[going], paths[going]
        miss = _approximate(cells[live], value[going], vol[live]) - vol[live]
        paths.follow(gap[going], miss)
        beyond = paths.vol > MOST_DEVIATION * typical[live]
        status[live[beyond]] = ImpliedStatus.above
        going = ~(beyond | paths.narrow())
        live, paths = live[going], paths[going]
    nearest[(status != ImpliedStatus.ok) & (status != ImpliedStatus.tolerance)] = np.nan
    return nearest, status


@dataclass(slots=True)
class _Paths:
    """Searches that go on side by side: where each is, its bracket, and where it was before.

    `miss` is how much the approximation's vol in our price lies above its vol in the quote; it may
    be NaN. `gap` is how much our price lies above the quote.
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

    def __getitem__(self, index: Mask) -> _Paths:
        """Return the searches that a NumPy index selects."""
        return _Paths(*(getattr(self, f.name)[index] for f in fields(self)))

    def narrow(self) -> Mask:
        """Tell which brackets hold no other vol worth pricing."""
        return self.high <= (1.0 + NARROWEST) * self.low

    def follow(self, gap: Floats, miss: Floats) -> None:
        """Move on, from what the vols were found to miss by."""
        self.low = np.where(gap < 0, self.vol, self.low)
        self.high = np.where(gap >= 0, self.vol, self.high)
        slope = (miss - self.miss) / (self.vol - self.before)
        step = miss / np.where((slope > LEAST_SLOPE) & (slope < MOST_SLOPE), slope, 1.0)
        new = self.vol - step
        stalled = ~(abs(gap) < 0.5 * abs(self.gap))
        unfit = stalled | ~((self.low < new) & (new < self.high))
        self.before, self.miss, self.gap = self.vol, miss, gap
        self.vol = np.where(unfit, self._halved(), new)
        self.widening = np.where(unfit, 2.0 * self.widening, self.widening)

    def _halved(self) -> Floats:
        """Return vols in the middle of the brackets, or further out where one end is open."""
        low, high = self.low, self.high
        middle = np.where(high > 4.0 * low, np.sqrt(low) * np.sqrt(high), 0.5 * (low + high))
        open_above = np.where(high == np.inf, low * (1.0 + self.widening), middle)
        return np.where(low == 0, high / (1.0 + self.widening), open_above)
