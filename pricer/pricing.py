"""Prices of arrays of options: words become symbols here, and each family gets its kernel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import check_workers, kernels
from .contracts import (
    DEFAULT_TOLERANCE,
    MEASURES,
    METHODS,
    Cells,
    Families,
    Market,
    Status,
    Vanilla,
    broadcast,
    check_measures,
    check_method,
    check_tolerance,
    families_of,
    sort_by_family,
)
from .errors import MissingDependencyError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .plan import Plan

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]

# How a family is priced; the first three are places in METHODS, the fourth has no price.
INVALID, ANALYTIC, FINITE_DIFFERENCE, UNSUPPORTED, SWEPT = range(5)
SWEPT_KIND = 2  # for `black_scholes.closed_form`
SOLVE_SLICES = 512  # expiries, over all families, that one call of the solver keeps in memory
EVALUATE_CELLS = 32_768  # cells read off the solved surfaces at a time
LEAST_VOL = 1e-9  # below it an American option's price and its limit at vol 0 do not differ
SWEPT_RATIO = 150.0  # of drift to diffusion, |r - q| sqrt(T) / vol, that no mesh resolves
LEAST_DEVIATION, MOST_DEVIATION = 1e-6, 1e4  # vol sqrt(T) that doubles resolve on a mesh
LEAST_RATIO, MOST_RATIO = 1e-100, 1e100  # of spot to strike that a mesh reaches for


@dataclass(frozen=True, slots=True)
class Prices:
    """What options are worth: arrays of one shape. A measure not asked for is None.

    `delta` and `gamma` are per unit of spot, `vega` per 1.00 of vol, `theta` per year (negative
    is decay), `rho` and `dividend_rho` per 1.00 of rate. `error` is the estimated absolute error
    of the price, `status` a `Status` as uint8, `method` an index into `METHODS` (0 where a cell
    was not priced; its values are NaN).
    """

    price: Floats | None
    delta: Floats | None
    gamma: Floats | None
    vega: Floats | None
    theta: Floats | None
    rho: Floats | None
    dividend_rho: Floats | None
    error: Floats
    status: Codes
    method: Codes

    def __getitem__(self, index: Any) -> Prices:
        """Return the part of every array that a NumPy index selects."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        parts: dict[str, Any] = {n: None if a is None else a[index] for n, a in arrays.items()}
        return Prices(**parts)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the arrays there are, flat, by name; status and method as words."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        columns = {name: a.reshape(-1) for name, a in arrays.items() if a is not None}
        columns["status"] = np.array([s.name for s in Status])[columns["status"]]
        columns["method"] = np.array(("", *METHODS[1:]))[columns["method"]]
        return columns

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`, one row a cell, in C order."""
        try:
            import pyarrow as pa
        except ImportError:
            raise MissingDependencyError(
                "to_arrow: needs pyarrow: pip install 'pricer[parquet]'"
            ) from None
        return pa.table(self.columns())

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`, one row a cell, in C order."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingDependencyError(
                "to_pandas: needs pandas: pip install 'pricer[pandas]'"
            ) from None
        return pd.DataFrame(self.columns())


@dataclass(frozen=True, slots=True)
class Settings:
    """How to price, whatever is priced."""

    method: str = "auto"
    tolerance: float = DEFAULT_TOLERANCE
    measures: tuple[str, ...] = MEASURES


@dataclass(frozen=True, slots=True)
class Solution:
    """What the solves of F families left behind; `codes` says how each is priced, shape (F,)."""

    settings: Settings
    codes: Codes
    # Where each family is among those solved by finite differences (-1: it is not), and these.
    place: NDArray[np.int64]
    options: Any
    surfaces: Any


def price(
    contract: Vanilla,
    market: Market,
    *,
    method: str = "auto",
    tolerance: float = DEFAULT_TOLERANCE,
    measures: Iterable[str] = MEASURES,
    workers: int | None = None,
) -> Prices:
    """Price every combination that the fields of `contract` and `market` broadcast to.

    Parameters
    ----------
    contract, market
        what is owed, and the state of the world; each field a scalar or an array.
    method
        ``"auto"`` takes the closed form where it is exact and finite differences elsewhere;
        ``"analytic"`` and ``"finite_difference"`` insist.
    tolerance
        largest `error` allowed per unit of strike.
    measures
        what to compute; `error`, `status` and `method` always are.
    workers
        threads; by default PRICER_WORKERS, else the cores available to this process.

    Returns
    -------
    Prices, whose arrays have the broadcast shape (0-d if every field is a scalar).
    """
    settings = Settings(check_method(method), check_tolerance(tolerance), check_measures(measures))
    for given, kind in ((contract, Vanilla), (market, Market)):
        if not isinstance(given, kind):
            raise SpecError(f"price: takes a {kind.__name__} here, got {type(given).__name__}")
    cells, shape = broadcast(contract, market)
    if settings.method == "analytic" and cells.exercise.any():
        raise SpecError(
            "method: analytic has no closed form for American options; use auto or"
            " finite_difference"
        )
    threads = check_workers(workers)
    order, offsets = sort_by_family(cells)
    cells = cells[order]
    families = families_of(cells, offsets)
    table = np.empty((len(MEASURES) + 1, len(cells)))
    status = np.empty(len(cells), np.uint8)
    codes = np.empty(len(cells), np.uint8)

    def run(batch: range) -> None:
        solution = solve(families[batch.start : batch.stop], settings)
        for first, last in _pieces(offsets[batch.start : batch.stop + 1]):
            inner = np.clip(offsets[batch.start : batch.stop + 1], first, last)
            part = evaluate(solution, cells[first:last], inner - first)
            where = order[first:last]
            for row, name in enumerate((*MEASURES, "error")):
                values = getattr(part, name)
                if values is not None:
                    table[row, where] = values
            status[where] = part.status
            codes[where] = part.method

    batches = list(_batches(families, settings))
    if len(batches) < 2 or threads < 2:
        for batch in batches:
            run(batch)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, batches))
    asked = (*settings.measures, "error")
    values = {
        name: table[row].reshape(shape) if name in asked else None
        for row, name in enumerate((*MEASURES, "error"))
    }
    return Prices(**values, status=status.reshape(shape), method=codes.reshape(shape))  # type: ignore[arg-type]


def methods_of(families: Families, settings: Settings) -> Codes:
    """Choose each family's method, shape (F,).

    A put is never exercised early if r <= 0 and r <= q, a call if q <= 0 and q <= r: the European
    price is exact then. Between, with q < r <= 0 for a put and r < q <= 0 for a call, there are
    two exercise boundaries (Battauz, De Donno and Sbuelz 2015), which the solver does not have.
    Where the drift sweeps diffusion aside the mesh would have to be finer than it may be.
    """
    put = families.right < 0
    cost = np.where(put, families.rate, families.dividend_yield)
    gain = np.where(put, families.dividend_yield, families.rate)
    american = families.exercise > 0
    still = families.vol < LEAST_VOL
    exact = ~american | ((cost <= 0) & (cost <= gain))
    if settings.method == "finite_difference":
        exact[:] = False
    codes = np.where(exact | still, ANALYTIC, FINITE_DIFFERENCE)
    longest = np.zeros(len(families))
    some = np.diff(families.expiry_offsets) > 0
    longest[some] = families.expiries[families.expiry_offsets[1:][some] - 1]
    with np.errstate(invalid="ignore", over="ignore"):
        drift = np.abs(families.rate - families.dividend_yield) * np.sqrt(longest)
        swept = drift > SWEPT_RATIO * families.vol
    codes[american & ~exact & ~still & swept] = SWEPT
    codes[american & (cost < 0) & (cost > gain) & ~still] = UNSUPPORTED
    codes[np.isnan(families.vol)] = INVALID
    return codes.astype(np.uint8)


def _slices(families: Families, settings: Settings) -> NDArray[np.int64]:
    """Count the expiries to solve before each family and after the last, shape (F + 1,)."""
    solved = methods_of(families, settings) == FINITE_DIFFERENCE
    return np.concatenate(([0], np.cumsum(np.diff(families.expiry_offsets) * solved)))


def _batch_end(slices: NDArray[np.int64], start: int) -> int:
    """Return where to stop so that families start.. are not too many for one call of `solve`."""
    stop = int(np.searchsorted(slices, slices[start] + SOLVE_SLICES, side="right")) - 1
    return min(max(stop, start + 1), len(slices) - 1)


def _batches(families: Families, settings: Settings) -> Iterator[range]:
    """Cut families into ranges that one call of `solve` can keep in memory."""
    slices = _slices(families, settings)
    start = 0
    while start < len(families):
        stop = _batch_end(slices, start)
        yield range(start, stop)
        start = stop


def _pieces(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut the cells of a batch into runs that are evaluated together."""
    for first in range(int(offsets[0]), int(offsets[-1]), EVALUATE_CELLS):
        yield first, min(first + EVALUATE_CELLS, int(offsets[-1]))


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` contiguous and writable, the one layout that kernels are compiled for."""
    return np.require(array, requirements=["C", "W"])


def solve(families: Families, settings: Settings) -> Solution:
    """Solve every family that needs it: one partial differential equation each."""
    _, finite_difference = kernels()
    codes = methods_of(families, settings)
    owner = np.repeat(np.arange(len(families)), np.diff(families.expiry_offsets))
    keep = (codes[owner] == FINITE_DIFFERENCE) & _resolved(families.vol[owner], families.expiries)
    counts = np.bincount(owner[keep], minlength=len(families))
    chosen = np.flatnonzero(counts)
    place = np.full(len(families), -1)
    place[chosen] = np.arange(len(chosen))
    if not len(chosen):
        return Solution(settings, codes, place, None, None)
    greeks = not {"vega", "rho", "dividend_rho"}.isdisjoint(settings.measures)
    options = finite_difference.Options(
        theta=_plain(families.right[chosen]),
        american=_plain(families.exercise[chosen]),
        sigma=_plain(families.vol[chosen]),
        r=_plain(families.rate[chosen]),
        q=_plain(families.dividend_yield[chosen]),
        low=np.clip(families.moneyness_low[chosen], LEAST_RATIO, MOST_RATIO),
        high=np.clip(families.moneyness_high[chosen], LEAST_RATIO, MOST_RATIO),
        expiry_offsets=np.concatenate(([0], np.cumsum(counts[chosen]))),
        expiries=families.expiries[keep],
    )
    surfaces = finite_difference.solve(options, settings.tolerance, greeks)
    return Solution(settings, codes, place, options, surfaces)


def _resolved(vol: Floats, expiry: Floats) -> NDArray[np.bool_]:
    """Tell where a mesh can resolve the spread of the spot at expiry."""
    with np.errstate(invalid="ignore", over="ignore"):
        deviation = vol * np.sqrt(expiry)
    return (deviation >= LEAST_DEVIATION) & (deviation <= MOST_DEVIATION)


def evaluate(solution: Solution, cells: Cells, offsets: NDArray[np.int64]) -> Prices:
    """Price cells of solved families; `offsets`, shape (F + 1,), delimits each family's cells."""
    black_scholes, _ = kernels()
    settings = solution.settings
    counts = np.diff(offsets)
    codes = np.repeat(solution.codes, counts)
    valid = cells.valid()
    out = np.full((len(MEASURES) + 1, len(cells)), np.nan)
    pde = (codes == FINITE_DIFFERENCE) & valid
    random = valid & (cells.spot > 0) & (cells.strike > 0) & (cells.expiry > 0)
    random &= cells.vol >= LEAST_VOL
    pde &= random
    pde[pde] = _resolved(cells.vol[pde], cells.expiry[pde])
    exact = valid & ~pde & (codes != UNSUPPORTED)
    rough = exact & (cells.exercise > 0) & ((codes == SWEPT) | (codes == FINITE_DIFFERENCE))
    kinds = np.where(rough, SWEPT_KIND, cells.exercise).astype(np.int8)
    _closed_form(cells, kinds, exact, out)
    method = np.where(exact, ANALYTIC, INVALID).astype(np.uint8)
    status = np.zeros(len(cells), np.uint8)
    error = out[-1]
    status[rough & random & (error > settings.tolerance * cells.strike)] = Status.tolerance
    if pde.any():
        _finite_difference(solution, cells, counts, pde, out)
        method[pde] = FINITE_DIFFERENCE
        late = pde & (error > settings.tolerance * cells.strike)
        if late.any():
            status[late] = Status.tolerance
            # Beyond the work limit the closed form for a strong drift may know better.
            limit = np.full_like(out, np.inf)
            kinds[:] = SWEPT_KIND
            _closed_form(cells, kinds, late & (cells.exercise > 0), limit)
            better = limit[-1] < error
            out[:, better] = limit[:, better]
            status[better & (error <= settings.tolerance * cells.strike)] = Status.ok
            method[better] = ANALYTIC
    failed = ~np.isfinite(out[0] + error)
    if failed.any():
        out[:, failed] = np.nan
        status[failed] = Status.invalid
        status[valid & (codes == UNSUPPORTED)] = Status.unsupported
        method[failed] = INVALID
    rows = zip(black_scholes.ROWS, out, strict=True)
    asked = (*settings.measures, "error")
    values = {name: row if name in asked else None for name, row in rows}
    return Prices(**values, status=status, method=method)  # type: ignore[arg-type]


def _closed_form(
    cells: Cells, kinds: NDArray[np.int8], where: NDArray[np.bool_], out: Floats
) -> None:
    """Write the closed form of the cells `where` to their columns of `out`, shape (8, n)."""
    if not where.any():
        return
    black_scholes, _ = kernels()
    # An American option with less vol than this has none: its European price is not its limit.
    vol = np.where((cells.exercise > 0) & (cells.vol < LEAST_VOL), 0.0, cells.vol)
    inputs = (cells.spot, cells.strike, cells.expiry, cells.rate, cells.dividend_yield, vol)
    part = np.empty((len(out), int(where.sum())))
    black_scholes.closed_form(
        _plain(cells.right[where]), _plain(kinds[where]), *(_plain(a[where]) for a in inputs), part
    )
    out[:, where] = part


def _finite_difference(
    solution: Solution,
    cells: Cells,
    counts: NDArray[np.int64],
    where: NDArray[np.bool_],
    out: Floats,
) -> None:
    """Write what the solved families say of the cells `where` to `out`, as `_closed_form`.

    `counts`, shape (F,), is each family's number of cells.
    """
    _, finite_difference = kernels()
    part = np.empty((len(out), int(where.sum())))
    place = np.repeat(solution.place, counts)[where]
    finite_difference.evaluate(
        solution.options,
        solution.surfaces,
        np.searchsorted(place, np.arange(len(solution.options.theta) + 1)),
        *(_plain(a[where]) for a in (cells.spot, cells.strike, cells.expiry)),
        part,
    )
    out[:, where] = part


def price_chunk(plan: Plan, first_block: int, end_block: int) -> Iterator[tuple[int, Prices]]:
    """Price a range of blocks, one after the other; memory is bounded by a solve and some blocks.

    A block's values depend on its families as the whole plan defines them, never on the range.
    """
    settings = Settings(plan.method, plan.tolerance, plan.measures)
    base = plan.family_range(first_block)[0]
    families = plan.families_at(base, plan.family_range(end_block - 1)[1])
    slices = _slices(families, settings)
    block = first_block
    while block < end_block:
        start = plan.family_range(block)[0] - base
        stop = max(_batch_end(slices, start), plan.family_range(block)[1] - base)
        solution = solve(families[start:stop], settings)
        while block < end_block and plan.family_range(block)[1] - base <= stop:
            first_cell, end_cell = plan.block_range(block)
            last = block + 1
            while last < end_block and plan.family_range(last)[1] - base <= stop:
                if plan.block_range(last)[1] - first_cell > EVALUATE_CELLS:
                    break
                end_cell = plan.block_range(last)[1]
                last += 1
            cells, offsets = plan.cells_at(first_cell, end_cell)
            here = plan.family_range(block)[0] - base - start
            limits = np.full(stop - start + 1, len(cells))
            limits[:here] = 0
            limits[here : here + len(offsets)] = offsets
            prices = evaluate(solution, cells, limits)
            for b in range(block, last):
                low, high = plan.block_range(b)
                yield b, prices[low - first_cell : high - first_cell]
            block = last
