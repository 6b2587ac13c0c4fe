"""Prices of arrays of options: families are solved in batches, then their cells are read off.

What a run prices is a range of blocks: of options so, of a panel some firms after others.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, overload

import numpy as np

from .alone import load_alone
from .cells import broadcast
from .claims import beyond
from .columns import words_of
from .compiled import check_workers
from .contracts import (
    CONTRACTS,
    WORDS,
    AnyMarket,
    BasketMarket,
    Contract,
    Market,
    market_of,
)
from .engines import cells_alone, evaluate, load, price_beyond, slices_of, solve
from .errors import SpecError
from .families import families_of, sort_by_family
from .grid import check_possible
from .merton import Estimates, estimate_windows
from .methods import exact_alone
from .plan import OptionPlan, PanelPlan
from .prices import Prices
from .settings import DEFAULT_PATHS, DEFAULT_TOLERANCE, Settings, check_measures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from .blocks import Priced
    from .cells import Cells
    from .families import Families
    from .plan import Plan

SOLVE_SLICES = 2048  # expiries, over all families, that one call of the solver keeps in memory
EVALUATE_CELLS = 32_768  # cells read off the solved surfaces, or simulated, at a time
PIECES_A_THREAD, LEAST_PIECE = 4, 64
PANEL_ROWS = 2**19  # of a panel, in memory at a time, unless a window has more


def price(
    contract: Contract,
    market: AnyMarket,
    *,
    method: str = "auto",
    tolerance: float = DEFAULT_TOLERANCE,
    measures: Iterable[str] | None = None,
    seed: int = 0,
    sampling: str = "sobol",
    paths: int = DEFAULT_PATHS,
    workers: int | None = None,
) -> Prices:
    """Price every combination that the fields of `contract` and `market` broadcast to.

    Parameters
    ----------
    contract
        what is owed; each field a scalar or an array.
    market
        the state of the world, likewise.
    method
        ``"auto"`` takes a closed form where one is exact, finite differences where one spot alone
        decides, and a simulation elsewhere; ``"analytic"``, ``"finite_difference"`` and
        ``"monte_carlo"`` insist.
    tolerance
        largest `error` allowed per unit of strike.
    measures
        what to compute; `error`, `status` and `method` always are. By default `MEASURES`, and
        their standard errors where a simulation may be needed.
    seed, sampling, paths
        of a simulation: which random numbers, ``"sobol"`` or ``"pseudo"``, and at most how many
        paths in search of the tolerance.
    workers
        threads; by default PRICER_WORKERS, else the cores available to this process.

    Returns
    -------
    Prices
        whose arrays have the broadcast shape (0-d if every field is a scalar).
    """
    asked = () if measures is None else check_measures(measures)
    settings = Settings(method, tolerance, asked, seed, sampling, paths)
    kind = next((name for name, known in CONTRACTS.items() if type(contract) is known), "")
    worlds = (market_of(kind),) if kind else (Market, BasketMarket)
    for given, kinds in ((contract, tuple(CONTRACTS.values())), (market, worlds)):
        if not isinstance(given, kinds):
            known = " or ".join(kind.__name__ for kind in kinds)
            raise SpecError(f"price: takes a {known} here, got {type(given).__name__}")
    cells, shape = broadcast(contract, market)
    words = ("exercise", "model")
    exercises, models = (words_of(name, np.unique(getattr(cells, name))).tolist() for name in words)
    check_possible(settings.method, [kind], models, exercises)
    return price_cells(cells, settings, workers, shape)


def price_cells(
    cells: Cells,
    settings: Settings,
    workers: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> Prices:
    """Price n flat cells, of any types of contracts; arrays have `shape`, (n,) by default."""
    threads = check_workers(workers)
    simulated = beyond(cells) | (settings.method == "monte_carlo")
    exercised = bool((simulated & (cells.exercise > 0)).any())
    settings = settings.usual(simulated=bool(simulated.any()), exercised=exercised)
    prices = Prices.blank(len(cells), settings.measures, simulated=bool(simulated.any()))
    exact = exact_alone(cells, settings.method)
    jobs: list[Callable[[], None]] = []
    if exact.any():
        one, places = cells_alone(settings), None if exact.all() else np.flatnonzero(exact)

        def price_exact(first: int, last: int) -> None:
            where = slice(first, last) if places is None else places[first:last]
            part = cells[where]
            prices.put(where, evaluate(one, part, np.array([0, len(part)])))

        jobs += [partial(price_exact, *ends) for ends in _pieces(0, int(exact.sum()))]
    if simulated.any():
        several = np.flatnonzero(simulated)
        in_order = several
        if len(several) > LEAST_PIECE:
            in_order = several[sort_by_family(cells[several])[0]]
        load_alone(cells[several], settings)

        def price_simulated(first: int, last: int) -> None:
            where = in_order[first:last]
            prices.put(where, price_beyond(cells[where], settings))

        # Enough pieces for every thread, but each simulates its own paths.
        size = max(LEAST_PIECE, -(-len(several) // (PIECES_A_THREAD * threads)))
        size = min(size, EVALUATE_CELLS)
        jobs += [partial(price_simulated, *ends) for ends in _pieces(0, len(several), size)]
    if not (exact | simulated).all():
        rest = np.flatnonzero(~(exact | simulated))
        inner, offsets = sort_by_family(cells[rest])
        order = rest[inner]
        grouped = cells[order]
        families = families_of(grouped, offsets)

        def price_families(batch: range) -> None:
            solution = solve(families[batch.start : batch.stop], settings)
            limits = offsets[batch.start : batch.stop + 1]
            for first, last in _pieces(int(limits[0]), int(limits[-1])):
                part = evaluate(solution, grouped[first:last], np.clip(limits, first, last) - first)
                prices.put(order[first:last], part)

        jobs += [partial(price_families, batch) for batch in _batches(families, settings)]
    if len(jobs) < 2 or threads < 2:
        for job in jobs:
            job()
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: job(), jobs))
    if "cash_dividends" in cells.columns:
        names = np.array(tuple(WORDS["dividend_model"]))
        prices = replace(prices, dividend_model=names[cells.dividend_model])
    return prices if shape is None else prices.reshaped(shape)


def _batch_end(slices: NDArray[np.int64], start: int) -> int:
    """Return where to stop so that families start.. are not too many for one call of `solve`."""
    stop = int(np.searchsorted(slices, slices[start] + SOLVE_SLICES, side="right")) - 1
    return min(max(stop, start + 1), len(slices) - 1)


def _batches(families: Families, settings: Settings) -> Iterator[range]:
    """Cut families into ranges that one call of `solve` can keep in memory."""
    slices = slices_of(families, settings)
    start = 0
    while start < len(families):
        stop = _batch_end(slices, start)
        yield range(start, stop)
        start = stop


def _pieces(start: int, stop: int, size: int = EVALUATE_CELLS) -> Iterator[tuple[int, int]]:
    """Cut cells into runs that are evaluated together."""
    for first in range(start, stop, size):
        yield first, min(first + size, stop)


def load_kernels(plan: Plan) -> None:
    """Load what prices a plan, before threads do."""
    if isinstance(plan, PanelPlan):
        nothing, nowhere = np.empty(0), np.empty(0, np.int64)
        estimate_windows(nothing, nothing, nothing, nowhere, nowhere, nothing, 0)
    elif isinstance(plan, OptionPlan):
        load(plan.families_at(*plan.family_range(0)), plan.settings)


@overload
def price_chunk(
    plan: OptionPlan, first_block: int, end_block: int
) -> Iterator[tuple[int, Prices]]: ...
@overload
def price_chunk(plan: Plan, first_block: int, end_block: int) -> Iterator[tuple[int, Priced]]: ...
def price_chunk(plan: Plan, first_block: int, end_block: int) -> Iterator[tuple[int, Priced]]:
    """Price a range of blocks, one after the other; memory is bounded by a solve and some blocks.

    A block's values depend on its families as the whole plan defines them, never on the range.
    """
    if isinstance(plan, PanelPlan):
        return _estimate_blocks(plan, first_block, end_block)
    assert isinstance(plan, OptionPlan)
    return _price_blocks(plan, first_block, end_block)


def estimate_cells(plan: PanelPlan, first: int, end: int) -> Estimates:
    """Estimate the cells `first` to before `end` of a panel."""
    panel = plan.spec
    if end - first > 1 and _rows_between(plan, first, end) > PANEL_ROWS:
        middle = (first + end) // 2
        parts = estimate_cells(plan, first, middle), estimate_cells(plan, middle, end)
        columns = ([getattr(part, f.name) for part in parts] for f in fields(Estimates))
        return Estimates(*map(np.concatenate, columns))
    windows, horizons = np.divmod(np.arange(first, end, dtype=np.int64), len(panel.horizons))
    starts, stops = panel.rows_of(windows)
    before = int(starts[0])
    days = panel.days(before, int(stops[-1]))
    return estimate_windows(
        *days, starts - before, stops - before, panel.horizons[horizons], panel.windows.window
    )


def _rows_between(plan: PanelPlan, first: int, end: int) -> int:
    """Return how many rows lie between the first and the last of some consecutive cells."""
    ends = np.array([first, end - 1], dtype=np.int64) // len(plan.spec.horizons)
    starts, stops = plan.spec.rows_of(ends)
    return int(stops[-1] - starts[0])


def _estimate_blocks(
    plan: PanelPlan, first_block: int, end_block: int
) -> Iterator[tuple[int, Estimates]]:
    """Estimate blocks, as many together as read `PANEL_ROWS`."""
    block = first_block
    while block < end_block:
        first, end = plan.block_range(block)
        last = block + 1
        while last < end_block:
            further = plan.block_range(last)[1]
            if _rows_between(plan, first, further) > PANEL_ROWS:
                break
            end, last = further, last + 1
        estimates = estimate_cells(plan, first, end)
        for b in range(block, last):
            low, high = plan.block_range(b)
            yield b, estimates[low - first : high - first]
        block = last


def _price_blocks(
    plan: OptionPlan, first_block: int, end_block: int
) -> Iterator[tuple[int, Prices]]:
    settings = plan.settings
    base = plan.family_range(first_block)[0]
    families = plan.families_at(base, plan.family_range(end_block - 1)[1])
    slices = slices_of(families, settings)
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
