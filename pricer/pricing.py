"""Prices of arrays of options: families are solved in batches, then their cells are read off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import broadcast
from .compiled import check_workers
from .contracts import CONTRACTS, WORDS, Contract, Market
from .engines import cells_alone, evaluate, slices_of, solve
from .errors import SpecError
from .families import families_of, sort_by_family
from .methods import exact_alone
from .prices import Prices
from .settings import (
    DEFAULT_TOLERANCE,
    MEASURES,
    Settings,
    check_measures,
    check_method,
    check_tolerance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from .cells import Cells
    from .families import Families
    from .plan import Plan

SOLVE_SLICES = 2048  # expiries, over all families, that one call of the solver keeps in memory
EVALUATE_CELLS = 32_768  # cells read off the solved surfaces at a time


def price(
    contract: Contract,
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
    for given, kinds in ((contract, tuple(CONTRACTS.values())), (market, (Market,))):
        if not isinstance(given, kinds):
            known = " or ".join(kind.__name__ for kind in kinds)
            raise SpecError(f"price: takes a {known} here, got {type(given).__name__}")
    cells, shape = broadcast(contract, market)
    if settings.method == "analytic" and cells.exercise.any():
        raise SpecError(
            "method: analytic has no closed form for early exercise; use auto or finite_difference"
        )
    return price_cells(cells, settings, workers, shape)


def price_cells(
    cells: Cells,
    settings: Settings,
    workers: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> Prices:
    """Price n flat cells, of any types of contracts; arrays have `shape`, (n,) by default."""
    shape = (len(cells),) if shape is None else shape
    threads = check_workers(workers)
    table = np.empty((len(MEASURES) + 1, len(cells)))
    status = np.empty(len(cells), np.uint8)
    codes = np.empty(len(cells), np.uint8)

    def keep(part: Prices, where: Any) -> None:
        for row, name in enumerate((*MEASURES, "error")):
            values = getattr(part, name)
            if values is not None:
                table[row, where] = values
        status[where] = part.status
        codes[where] = part.method

    alone = exact_alone(cells, settings.method)
    jobs: list[Callable[[], None]] = []
    if alone.any():
        one, exact = cells_alone(settings), None if alone.all() else np.flatnonzero(alone)

        def price_exact(first: int, last: int) -> None:
            where = slice(first, last) if exact is None else exact[first:last]
            part = cells[where]
            keep(evaluate(one, part, np.array([0, len(part)])), where)

        jobs += [partial(price_exact, *ends) for ends in _pieces(0, int(alone.sum()))]
    if not alone.all():
        rest = np.flatnonzero(~alone)
        inner, offsets = sort_by_family(cells[rest])
        order = rest[inner]
        grouped = cells[order]
        families = families_of(grouped, offsets)

        def price_families(batch: range) -> None:
            solution = solve(families[batch.start : batch.stop], settings)
            limits = offsets[batch.start : batch.stop + 1]
            for first, last in _pieces(int(limits[0]), int(limits[-1])):
                part = evaluate(solution, grouped[first:last], np.clip(limits, first, last) - first)
                keep(part, order[first:last])

        jobs += [partial(price_families, batch) for batch in _batches(families, settings)]
    if len(jobs) < 2 or threads < 2:
        for job in jobs:
            job()
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: job(), jobs))
    asked = (*settings.measures, "error")
    values = {
        name: table[row].reshape(shape) if name in asked else None
        for row, name in enumerate((*MEASURES, "error"))
    }
    model = None
    if "cash_dividends" in cells.columns:
        names = np.array(tuple(WORDS["dividend_model"]))
        model = names[cells.dividend_model].reshape(shape)
    shaped = {"status": status.reshape(shape), "method": codes.reshape(shape)}
    return Prices(**values, **shaped, dividend_model=model)  # type: ignore[arg-type]


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


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut cells into runs that are evaluated together."""
    for first in range(start, stop, EVALUATE_CELLS):
        yield first, min(first + EVALUATE_CELLS, stop)


def price_chunk(plan: Plan, first_block: int, end_block: int) -> Iterator[tuple[int, Prices]]:
    """Price a range of blocks, one after the other; memory is bounded by a solve and some blocks.

    A block's values depend on its families as the whole plan defines them, never on the range.
    """
    settings = Settings(plan.method, plan.tolerance, plan.measures)
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
