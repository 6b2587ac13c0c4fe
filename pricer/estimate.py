"""What a plan takes, measured on a few of its families: how long here, and in which chunks."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import ceil, gcd
from typing import TYPE_CHECKING

import numpy as np

from .blocks import encode_block, pack_block
from .claims import beyond, claims_of
from .compiled import check_workers
from .contracts import Status
from .engines import evaluate, solve
from .methods import BEYOND, methods_of
from .plan import OptionPlan, PanelPlan
from .pricing import estimate_cells, load_kernels
from .summary import summarise, summarise_estimates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cells import Cells
    from .plan import Plan
    from .prices import Prices

BUDGET_S = 0.5
GOLDEN_SECTION = 0.618034
# Families solved together, enough to fill the lanes of the solver; more where they are quick.
SAMPLE_FAMILIES, MORE_FAMILIES, QUICK_S = 16, 4, 0.05
# Cells that are exercised early by simulation take up to seconds each.
EXERCISED_CELLS = 2
# What no solve prices is timed cell by cell, so many times more while that is quick; its first
# cells have so much longer to say what they share.
MORE_CELLS, ALONE_S = 4, 1.5
# Paths that are enough to time cells, and how many more an error takes that is so much too large.
TIMED_PATHS, PATHS_POWER = 2**17, 1.5
# Of what each of some cells takes, the least that is taken to be its own.
LEAST_SHARE = 0.02
# Of these families, the blocks of which cells are made.
SAMPLE_BLOCKS = 8
# Long enough that starting a chunk costs nothing, short enough to lose.
CHUNK_S = 1.0
LONG_CHUNK_S = 60.0
CHUNKS = 4_000
CHUNKS_A_WORKER = 16
# What solving a family once more may take of a chunk that is a part of it.
SOLVED_AGAIN = 0.1
# What the writer takes of a core, measured with an SQLite store: 590 MB in 1.4 s.
WRITE_S_PER_BYTE = 2.5e-9


@dataclass(frozen=True, slots=True)
class Measured:
    """What some families of a plan took on one thread of this machine.

    A solve takes `solve_s`, a cell of it `cell_s` more; packing a cell, as DynamoDB needs it, takes
    `pack_s` and leaves `packed_bytes_per_cell`.
    """

    solve_s: float
    cell_s: float
    pack_s: float
    packed_bytes_per_cell: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan takes: seconds on all workers together, and the blocks to a chunk."""

    seconds: float
    chunk_blocks: int


def estimate(plan: Plan, workers: int | None = None, measured: Measured | None = None) -> Estimate:
    """Say how long `plan` takes on this machine; measures it unless that is done."""
    threads = check_workers(workers)
    measured = measured or measure(plan)
    solve_s, cell_s = measured.solve_s, measured.cell_s
    alone_s = solve_s * plan.solves(plan.blocks) + cell_s * plan.cells
    block_s = alone_s / plan.blocks
    chunk_s = min(max(CHUNK_S, alone_s / CHUNKS), LONG_CHUNK_S)
    even = -(-plan.blocks // (CHUNKS_A_WORKER * threads))
    cells_s = cell_s * plan.cells / plan.blocks
    # Every chunk that has a part of a family solves all of it: cut between families, unless
    # workers would be idle or a family's cells last; then where its solve is little beside them.
    apart = ceil(solve_s / (SOLVED_AGAIN * cells_s))
    chunk_blocks = max(1, min(int(chunk_s / block_s), even))
    if plan.families < threads:
        chunk_blocks = max(chunk_blocks, min(apart, -(-plan.blocks // threads)))
    else:
        whole = min(-(-plan.blocks // plan.families), max(int(chunk_s / cells_s), apart))
        whole = max(1, min(whole, int(LONG_CHUNK_S / cells_s)))
        chunk_blocks = max(1, chunk_blocks // whole) * whole
    seconds = solve_s * plan.solves(chunk_blocks) + cell_s * plan.cells
    seconds += WRITE_S_PER_BYTE * plan.stored_bytes
    return Estimate(seconds / min(threads, len(plan.chunks(chunk_blocks))), chunk_blocks)


def chunk_blocks_of(plan: Plan, workers: int | None = None) -> int:
    """Return the blocks to a chunk on this machine; measures where that can decide it."""
    nothing_shared = plan.blocks <= plan.families or plan.block_cells == 1
    if nothing_shared and plan.blocks <= CHUNKS_A_WORKER * check_workers(workers):
        return 1
    return estimate(plan, workers).chunk_blocks


def measure(plan: Plan) -> Measured:
    """Time some families spread over the plan, in about a second."""
    families = cells = packed_bytes = 0
    solve_s = cell_s = pack_s = 0.0
    load_kernels(plan)
    sample = SAMPLE_FAMILIES
    deadline = time.perf_counter() + BUDGET_S
    for block in _spread(plan.blocks):
        timed = _timed(plan, block, sample, deadline)
        if time.perf_counter() < deadline:
            # Again: the first solve of its kind loads its kernel.
            timed = _timed(plan, block, sample, deadline)
        if timed.solve_s + timed.cell_s + timed.pack_s < QUICK_S:
            sample *= MORE_FAMILIES
        families += timed.families
        cells += timed.cells
        packed_bytes += timed.packed_bytes
        solve_s += timed.solve_s
        cell_s += timed.cell_s
        pack_s += timed.pack_s
        if time.perf_counter() > deadline:
            break
    return Measured(solve_s / families, cell_s / cells, pack_s / cells, packed_bytes / cells)


@dataclass(frozen=True, slots=True)
class _Timed:
    families: int
    cells: int
    packed_bytes: int
    solve_s: float
    cell_s: float
    pack_s: float


def _timed(plan: Plan, block: int, sample: int, deadline: float) -> _Timed:
    """Time what a sample of a plan takes that begins with `block`, if it can until `deadline`."""
    if isinstance(plan, PanelPlan):
        return _timed_estimates(plan, block)
    assert isinstance(plan, OptionPlan)
    codes = methods_of(plan.families_at(*plan.family_range(block)), plan.settings.method)
    if codes[0] == BEYOND:
        return _timed_alone(plan, block, deadline + ALONE_S)
    return _timed_solves(plan, block, sample)


def _timed_estimates(plan: PanelPlan, block: int) -> _Timed:
    """Time the cells of a block of a panel, of which no firm takes anything by itself."""
    first, end = plan.block_range(block)
    started = time.perf_counter()
    estimates = estimate_cells(plan, first, end)
    summarise_estimates([estimates], plan.measures, first, plan.spec.called)
    data = encode_block(estimates, plan.measures)
    estimated = time.perf_counter()
    packed_bytes = len(pack_block(data))
    pack_s = time.perf_counter() - estimated
    return _Timed(1, end - first, packed_bytes, 0.0, estimated - started, pack_s)


def _timed_alone(plan: OptionPlan, block: int, deadline: float) -> _Timed:
    """Time some cells of the first family of `block`, few and then more.

    What more of them take is what a cell does; the rest, paths that they share, is a solve's. All
    of it is taken to be shared where only one is timed, but for what is exercised early.
    """
    first, end = plan.block_range(block)
    inputs, offsets = plan.cells_at(first, end)
    family = plan.family_range(block)[0]
    settings = replace(plan.settings, paths=min(plan.settings.paths, TIMED_PATHS))
    solution = solve(plan.families_at(family, family + 1), settings)
    most, count = int(offsets[1]), 1
    taken: list[tuple[int, float]] = []
    while True:
        cells = inputs[(2 * np.arange(count) + 1) * most // (2 * count)]
        started = time.perf_counter()
        prices = evaluate(solution, cells, np.array([0, count]))
        summarise(prices, plan.measures, first, plan.cells_of)
        data = encode_block(prices, plan.measures)
        ended = time.perf_counter()
        taken.append((count, (ended - started) * _more_paths(plan, cells, prices)))
        if count == most or 2 * ended - started > deadline:
            break
        count = min(MORE_CELLS * count, most)
    packed_bytes = len(pack_block(data))
    pack_s = time.perf_counter() - ended
    (few, few_s), (many, many_s) = taken[0], taken[-1]
    own_s = 0.0 if many == few else (many_s - few_s) / (many - few)
    cell_s = min(max(own_s, LEAST_SHARE * many_s / many), many_s / many)
    if cells.exercise.any():
        cell_s = many_s / many
    return _Timed(1, many, packed_bytes, many_s - cell_s * many, cell_s * many, pack_s)


def _more_paths(plan: OptionPlan, cells: Cells, prices: Prices) -> float:
    """Return how many times as many paths the plan takes as were enough to time these cells."""
    claims = claims_of(cells)
    largest = plan.settings.tolerance * np.maximum(claims.unit, claims.scale)
    off = float(np.where(prices.status == Status.tolerance, prices.error / largest, 1.0).max())
    needed: float = max(1.0, off) ** PATHS_POWER
    return min(needed, max(1.0, plan.settings.paths / TIMED_PATHS))


def _timed_solves(plan: OptionPlan, block: int, sample: int) -> _Timed:
    """Time the solves of the first `sample` families of `block`, what makes cells, and packing.

    The blocks after it count too, as far as these families reach: cells differ in how well they
    pack.
    """
    settings = plan.settings
    family, last = plan.family_range(block)
    # Those after the block's own fill the lanes.
    last = min(family + sample, max(last, family + SAMPLE_FAMILIES), plan.families)
    families = plan.families_at(family, last)
    started = time.perf_counter()
    solution = solve(families, settings)
    solve_s = time.perf_counter() - started
    cells = packed_bytes = 0
    cell_s = pack_s = 0.0
    for number in range(block, min(block + SAMPLE_BLOCKS, plan.blocks)):
        if number > block and plan.family_range(number)[1] > last:
            break
        started = time.perf_counter()
        inputs, offsets = plan.cells_at(*plan.block_range(number))
        # Families of the sample before and after those of the block have no cells in it.
        before = plan.family_range(number)[0] - family
        offsets = offsets[np.clip(np.arange(len(families) + 1) - before, 0, len(offsets) - 1)]
        simulated = beyond(inputs) | (settings.method == "monte_carlo")
        if (simulated & (inputs.exercise > 0)).any():
            offsets = np.minimum(offsets, EXERCISED_CELLS)
        prices = evaluate(solution, inputs[: offsets[-1]], offsets)
        summarise(prices, plan.measures, plan.block_range(number)[0], plan.cells_of)
        data = encode_block(prices, plan.measures)
        evaluated = time.perf_counter()
        packed_bytes += len(pack_block(data))
        cells += int(offsets[-1])
        cell_s += evaluated - started
        pack_s += time.perf_counter() - evaluated
    return _Timed(len(families), cells, packed_bytes, solve_s, cell_s, pack_s)


def _spread(count: int) -> Iterator[int]:
    """Yield the numbers below `count`, each next one far from those before.

    Their steps are of the golden section: in step with no axis of a grid. The first is not 0, the
    corner of a grid, where cells are the least like the others.
    """
    step = max(1, round(count * GOLDEN_SECTION))
    while gcd(step, count) > 1:
        step += 1
    return (i * step % count for i in range(1, count + 1))
