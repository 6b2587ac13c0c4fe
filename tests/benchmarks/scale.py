"""Simulate a billion cells on AWS and draw the timelines: writes docs/scale.md and docs/scale.svg.

Run as ``python tests/benchmarks/scale.py``. What cells take is measured here; what AWS allows
is what it documents.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil, log10
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from pricer.billing import prices
from pricer.compiled import kernel_version
from pricer.estimate import Measured, measure
from pricer.fanout import (
    DOUBLING_S,
    LOAD_S,
    ORCHESTRATION_S,
    RAMP_ENVIRONMENTS,
    RAMP_S,
    START_S,
    STEP_S,
    TABLE_UNITS_PER_S,
    WRITE_BYTES_PER_S,
    FanOut,
    Limits,
    alone_s,
    fan_out,
    money,
    units_of,
)
from pricer.grid import Axis, Grid
from pricer.plan import Plan
from pricer.screen import duration
from pricer.settings import Settings
from pricer.stores.table import WRITE_ITEMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[2]
PAGE, DRAWING = ROOT / "docs" / "scale.md", ROOT / "docs" / "scale.svg"

# docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html: a partition
# takes 1,000 units a second. It saves up five minutes of them, of which 5 s even out chance here.
PARTITION_UNITS_PER_S, BURST_S = 1_000.0, 5.0
# docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html, StartExecution in us-east-1:
# nothing else is said of how fast a Distributed Map starts its children.
CHILDREN, CHILDREN_PER_S = 1_300, 300.0
# From the end of a chunk to the next call of its worker; Step Functions promises no figure.
BETWEEN_S = 0.3
# Workers that start together write together: rates are drawn over as long as this at least.
AVERAGED_S = 15.0


@dataclass(frozen=True)
class Work:
    """A run as workers see it: `chunks` of `requests` writes of `blocks` blocks.

    A request takes `price_s` to price, and `send_s` at least to write.
    """

    chunks: int
    requests: int
    blocks: int
    block_units: float
    price_s: float
    send_s: float

    @property
    def units(self) -> float:
        """All write units."""
        return self.chunks * self.requests * self.blocks * self.block_units


@dataclass
class Timeline:
    """What happened: at which times a request was written, from when to when workers worked."""

    times: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def worker_s(self) -> float:
        """What all workers took, waits included."""
        return sum(self.ended) - sum(self.started)


class Table:
    """A table on demand: its partitions take what comes in turn, and double every half hour."""

    def __init__(self, units_per_s: float, most: float = TABLE_UNITS_PER_S, seed: int = 1) -> None:
        self.most = max(1, int(max(units_per_s, most) / PARTITION_UNITS_PER_S))
        partitions = max(1, int(units_per_s / PARTITION_UNITS_PER_S))
        self.free = np.full(partitions, -BURST_S)
        self.doubles_at: float | None = None
        self.random = np.random.default_rng(seed)

    def write(self, now: float, blocks: int, block_units: float) -> float:
        """Return when blocks that are written now are written."""
        if self.doubles_at is None:
            self.doubles_at = now + DOUBLING_S
        while now >= self.doubles_at:
            self.free = np.resize(self.free, min(2 * len(self.free), self.most))
            self.doubles_at += DOUBLING_S
        counts = np.bincount(self.random.integers(len(self.free), size=blocks))
        touched = np.flatnonzero(counts)
        since = np.maximum(self.free[touched], now - BURST_S)
        self.free[touched] = since + counts[touched] * block_units / PARTITION_UNITS_PER_S
        return max(now, float(self.free[touched].max()))


def simulate(work: Work, workers: int, table: Table) -> Timeline:
    """Let `workers` price and write all chunks; each writes a request while it prices the next."""
    line = Timeline()
    # When a worker hands over a request: time, worker, which of its chunk's.
    events: list[tuple[float, int, int]] = []
    left = work.chunks
    first = ORCHESTRATION_S + LOAD_S + START_S + STEP_S
    for worker in range(min(workers, left)):
        child = max(0, worker + 1 - CHILDREN) / CHILDREN_PER_S
        ramp = RAMP_S * (worker // RAMP_ENVIRONMENTS)
        began = first + max(child, ramp) + LOAD_S
        line.started.append(began)
        line.ended.append(began)
        events.append((began + START_S + work.price_s, worker, 1))
        left -= 1
    heapq.heapify(events)
    while events:
        now, worker, request = heapq.heappop(events)
        written = max(table.write(now, work.blocks, work.block_units), now + work.send_s)
        line.times.append(written)
        line.ended[worker] = written
        if request < work.requests:
            heapq.heappush(events, (max(written, now + work.price_s), worker, request + 1))
        elif left:
            left -= 1
            heapq.heappush(events, (written + BETWEEN_S + work.price_s, worker, 1))
    line.times.sort()
    line.seconds = line.times[-1] + LOAD_S + START_S + STEP_S
    return line


@dataclass(frozen=True)
class Scenario:
    """A billion cells under some limits; `most_units_per_s` is the quota of the table."""

    name: str
    colour: str
    plan: Plan
    measured: Measured
    limits: Limits
    most_units_per_s: float = TABLE_UNITS_PER_S


@dataclass(frozen=True)
class Outcome:
    """What the simulation and the estimate say of a scenario."""

    scenario: Scenario
    planned: FanOut
    work: Work
    line: Timeline


def run(scenario: Scenario) -> Outcome:
    """Fan a scenario out as a submit would, and simulate that."""
    plan, measured = scenario.plan, scenario.measured
    planned = fan_out(plan, measured, scenario.limits, prices())
    block_bytes = plan.cells / plan.blocks * measured.packed_bytes_per_cell
    requests = ceil(planned.chunk_blocks / WRITE_ITEMS)
    blocks = ceil(planned.chunk_blocks / requests)
    work = Work(
        chunks=planned.chunks,
        requests=requests,
        blocks=blocks,
        block_units=units_of(block_bytes) * plan.blocks / (planned.chunks * requests * blocks),
        price_s=alone_s(plan, measured, planned.chunk_blocks) / (planned.chunks * requests),
        send_s=blocks * block_bytes / WRITE_BYTES_PER_S,
    )
    table = Table(scenario.limits.write_units_per_s, scenario.most_units_per_s)
    return Outcome(scenario, planned, work, simulate(work, planned.concurrency, table))


def scenarios() -> list[Scenario]:
    """Return a billion cells that share solves, and a billion that share none, as AWS grows."""
    shared = billion(vols=25, rates=40, spots=100, strikes=1_000, expiries=10)
    alone = billion(vols=10_000, rates=100_000)
    grid, book = measured(shared), measured(alone)
    new, warm, raised = (Limits(write_units_per_s=rate) for rate in (4_000.0, 40_000.0, 400_000.0))
    small = replace(warm, concurrency=10)
    return [
        Scenario("grid, new table", "#0b6e99", shared, grid, new),
        Scenario("grid, warm table", "#3fa7d6", shared, grid, warm),
        Scenario("own solves, new table", "#a63d40", alone, book, new),
        Scenario("own solves, warm table", "#e07a5f", alone, book, warm),
        Scenario("own solves, table quota 400,000", "#5b8c5a", alone, book, raised, 400_000.0),
        Scenario("own solves, warm table, Lambda quota 10", "#7d6b91", alone, book, small),
    ]


def billion(vols: int, rates: int, spots: int = 1, strikes: int = 1, expiries: int = 1) -> Plan:
    """Plan American puts: vols and rates need solves of their own."""
    axes = {
        "vol": (0.1, 0.5, vols),
        "rate": (0.0, 0.06, rates),
        "spot": (80.0, 120.0, spots),
        "strike": (70.0, 130.0, strikes),
        "expiry": (0.25, 2.0, expiries),
    }
    grid = Grid(
        axes=tuple(Axis(name, tuple(np.linspace(*of).tolist())) for name, of in axes.items()),
        fixed={"right": "put", "exercise": "american"},
        settings=Settings(measures=("price", "delta", "gamma", "vega", "theta", "rho")),
    )
    plan = Plan.of(grid, kernel_version())
    assert plan.cells == 10**9
    return plan


def measured(plan: Plan) -> Measured:
    """Measure twice: the first time may compile."""
    measure(plan)
    return measure(plan)


class Panel:
    """A part of the drawing: time to the right, by its logarithm, some quantity upwards."""

    left, right, first_s, last_s = 70.0, 790.0, 10.0, 36_000.0

    def __init__(self, top: float, bottom: float, low: float, high: float, *, log: bool) -> None:
        self.top, self.bottom = top, bottom
        self.low, self.high, self.log = low, high, log

    def x(self, seconds: float) -> float:
        """Return where a time lies."""
        part = log10(seconds / self.first_s) / log10(self.last_s / self.first_s)
        return self.left + min(max(part, 0.0), 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return where a value lies."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        part = log10(value / low) / log10(high / low) if self.log else (value - low) / (high - low)
        return self.bottom - part * (self.bottom - self.top)

    def frame(self, title: str, values: Mapping[float, str], times: Mapping[int, str]) -> list[str]:
        """Draw the grid and its labels."""
        parts = [text(self.left, self.top - 10, title, "start", weight="bold")]
        for value, label in values.items():
            y = self.y(value)
            parts.append(stroke([(self.left, y), (self.right, y)], "#ddd", 1))
            parts.append(text(self.left - 6, y + 4, label, "end"))
        for seconds, label in times.items():
            x = self.x(seconds)
            parts.append(stroke([(x, self.top), (x, self.bottom)], "#ddd", 1))
            parts.append(text(x, self.bottom + 16, label, "middle"))
        return parts


def text(x: float, y: float, words: str, anchor: str, weight: str = "normal") -> str:
    """Return words at a place of the drawing."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def stroke(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    """Return a line through some points."""
    through = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def drawing(outcomes: Sequence[Outcome]) -> str:
    """Draw how many cells are stored, and how fast the table is written, over time."""
    times = {10: "10 s", 30: "30 s"} | {60 * m: f"{m} min" for m in (1, 2, 5, 10, 20)}
    times |= {3_600 * h: f"{h} h" for h in (1, 2, 5, 10)}
    cells = Panel(110, 310, 0.0, 1.0, log=False)
    rates = Panel(370, 570, 1e3, 1e6, log=True)
    parts = cells.frame(
        "cells stored", {0.0: "0", 0.25: "250 m", 0.5: "500 m", 0.75: "750 m", 1.0: "1 bn"}, times
    )
    parts += rates.frame(
        "write units a second", {1e3: "1,000", 1e4: "10,000", 1e5: "100,000", 1e6: "1 m"}, times
    )
    for number, outcome in enumerate(outcomes):
        colour, work = outcome.scenario.colour, outcome.work
        x, y = 70 + 370 * (number % 2), 24 + 22 * (number // 2)
        parts.append(stroke([(x, y - 4), (x + 24, y - 4)], colour, 3))
        parts.append(text(x + 32, y, outcome.scenario.name, "start"))
        at = np.array(outcome.line.times)
        edges = [at[0] - 1]
        while edges[-1] < at[-1]:
            edges.append(min(max(1.08 * edges[-1], edges[-1] + AVERAGED_S), at[-1]))
        stored = np.searchsorted(at, edges, "right") / len(at)
        units_per_s = np.diff(stored) * work.units / np.diff(edges)
        curves = ((cells, edges, stored), (rates, edges[1:], units_per_s))
        for panel, when, values in curves:
            points = [(panel.x(s), panel.y(v)) for s, v in zip(when, values, strict=True)]
            parts.append(stroke(points, colour, 2))
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 600" font-size="13"'
            ' font-family="sans-serif" role="img">',
            "<title>A billion cells on AWS, simulated</title>",
            '<rect width="820" height="600" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each scenario."""
    lines = [
        "| a billion cells | chunks | workers | simulated | planned | binds | writes | compute |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for outcome in outcomes:
        planned, dollars = outcome.planned, outcome.planned.dollars
        row = (
            outcome.scenario.name,
            f"{planned.chunks:,}",
            f"{planned.concurrency:,}",
            duration(outcome.line.seconds),
            duration(planned.seconds),
            planned.binds,
            money(dollars["dynamodb_writes"]),
            money(dollars["lambda_compute"]),
        )
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def inputs(outcomes: Sequence[Outcome]) -> str:
    """Say what was measured for the simulation."""
    today = datetime.now(UTC).date().isoformat()
    found = {o.scenario.name.partition(",")[0]: o.scenario.measured for o in outcomes}
    lines = [
        f"- {name}: a solve {1e6 * m.solve_s:,.0f} µs, a cell {1e6 * m.cell_s:.1f} µs, packing it"
        f" {1e6 * m.pack_s:.1f} µs and {m.packed_bytes_per_cell:.0f} bytes"
        for name, m in found.items()
    ]
    return f"Measured on one core on {today}:\n\n" + "\n".join(lines) + "\n"


def write(section: str, content: str) -> None:
    """Put `content` between the page's markers of `section`, and on the screen."""
    print(content)
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    head, rest = PAGE.read_text().split(begin)
    tail = rest.split(end)[1]
    PAGE.write_text(f"{head}{begin}\n{content}{end}{tail}")


def main() -> None:
    """Simulate every scenario, and write and draw what comes of it."""
    outcomes = [run(scenario) for scenario in scenarios()]
    write("inputs", inputs(outcomes))
    write("outcomes", table(outcomes))
    DRAWING.write_text(drawing(outcomes))


if __name__ == "__main__":
    main()
