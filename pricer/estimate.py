"""What a plan takes, measured on a few of its families: how long here, and in which chunks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from .blocks import encode_block, pack_block
from .claims import beyond
from .compiled import check_workers
from .engines import evaluate, solve
from .plan import OptionPlan, PanelPlan
from .pricing import estimate_cells, load_kernels
from .summary import summarise, summarise_estimates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

BUDGET_S = 0.5
GOLDEN_SECTION = 0.618034
# Families solved together, enough to fill the lanes of the solver; more where they are quick.
SAMPLE_FAMILIES, MORE_FAMILIES, QUICK_S = 16, 4, 0.05
# Cells that are exercised early by simulation take up to seconds each.
EXERCISED_CELLS = 2
# Of these families, the blocks of which cells are made.
SAMPLE_BLOCKS = 8
# Long enough that starting a chunk costs nothing, short enough to lose.
CHUNK_S = 1.0
LONG_CHUNK_S = 60.0
CHUNKS = 4_000
CHUNKS_A_WORKER = 16
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
    # Every chunk that has a part of a family solves all of it: cut between families, unless
    # workers would be idle, or a family's cells alone are a long chunk.
    whole = -(-plan.blocks // plan.families) if plan.families >= threads else 1
    whole = max(1, min(whole, int(LONG_CHUNK_S * plan.blocks / (cell_s * plan.cells))))
    chunk_blocks = max(1, min(int(chunk_s / block_s), even) // whole) * whole
    seconds = solve_s * plan.solves(chunk_blocks) + cell_s * plan.cells
    seconds += WRITE_S_PER_BYTE * plan.stored_bytes
    return Estimate(seconds / min(threads, plan.blocks), chunk_blocks)


def measure(plan: Plan) -> Measured:
    """Time some families spread over the plan, in about a second."""
    families = cells = packed_bytes = 0
    solve_s = cell_s = pack_s = 0.0
    load_kernels(plan)
    sample = SAMPLE_FAMILIES
    deadline = time.perf_counter() + BUDGET_S
    for block in _spread(plan.blocks):
        timed = _timed(plan, block, sample)
        if time.perf_counter() < deadline:
            # Again: the first solve of its kind loads its kernel.
            timed = _timed(plan, block, sample)
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


def _timed(plan: Plan, block: int, sample: int) -> _Timed:
    """Time what a sample of a plan takes that begins with `block`."""
    if isinstance(plan, PanelPlan):
        return _timed_estimates(plan, block)
    assert isinstance(plan, OptionPlan)
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
