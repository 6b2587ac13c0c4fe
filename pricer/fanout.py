"""How a plan is fanned out over Lambda functions: its chunks, how long it takes, what it costs.

Arithmetic alone: what a plan takes on this machine, what an account allows, what AWS charges.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import ceil
from typing import TYPE_CHECKING, Any

from .marginals import MOST_VALUES
from .panel import NUMBER_BYTES
from .plan import GridPlan
from .pricing import PANEL_ROWS

if TYPE_CHECKING:
    from .estimate import Measured
    from .plan import Plan

# What holds until an account has been measured; no emulator shows any of it.
# Kernels compiled for x86-64-v3 take 8 % longer than native ones, measured with finite
# differences on a Zen 4; beyond that, a vCPU of Lambda is taken to be a core of this machine.
VCPU = 1.08
# From the invocation to the first price in a new environment: the image loaded on demand (Brooker
# et al., USENIX ATC 2023), then the interpreter, imports and kernels, which are what is billed.
LOAD_S, START_S = 1.0, 1.5
# Transitions, the manifest read, the last child noticed: Step Functions promises no figure.
ORCHESTRATION_S = 3.0
# What planning and finishing do once their functions have started.
STEP_S = 1.0
# What building and signing a request takes of a core, measured, and as much again for TLS.
SEND_S_PER_BYTE = 1.6e-8
# One worker's writes where the table does not hold it back: a batch of 1.3 MB after the other.
WRITE_BYTES_PER_S = 20e6
# Environments of one function: docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html.
RAMP_ENVIRONMENTS, RAMP_S = 1_000, 10.0

# Children that a Distributed Map runs at once:
# docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html.
MOST_CHILDREN = 10_000

# On demand a table takes twice its peak of half an hour before, up to the quota of a table:
# docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html.
DOUBLING_S, TABLE_UNITS_PER_S = 1_800.0, 40_000.0

# Start-up is at most a third of a chunk, and a few per cent of most.
SHORT_CHUNK_S, CHUNK_S, LONG_CHUNK_S = 5.0, 40.0, 240.0

GB = 2**30
UNIT_BYTES = 1_024
DAYS_A_MONTH = 365 / 12
# Keys, attribute names, generation and expiry of a block; what storage adds to every item.
ITEM_BYTES, STORED_ITEM_BYTES = 130, 100
# A marker's counts, spreads, failures and usage; sums and counts of an axis's values beside them.
MARKER_BYTES, MARGINAL_BYTES = 2_048, 16
# The head and its copy in one transaction, the lock, the summary.
RUN_UNITS = 24
# Every state, and one for the start.
TRANSITIONS_A_CHUNK, PARENT_TRANSITIONS = 2, 7
# Of a column of a panel's days, what a worker reads at a time.
PIECE_BYTES = PANEL_ROWS * NUMBER_BYTES
# START, END, REPORT, the handler's own two lines and its metrics, counted.
LOG_BYTES_A_CHUNK = 1_700

# AWS is worth it where it saves minutes, half of the time, and no minute costs more than this.
SAVED_S, SAVED_SHARE, USD_A_MINUTE = 180.0, 0.5, 1.0

BINDS = {
    "start-up": "start-up binds",
    "table writes": "table writes bind",
    "quota": "the quota binds",
    "compute": "compute binds",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a deployment allows: the defaults are those of a new table in an account in use."""

    concurrency: int = 1_000
    write_units_per_s: float = 4_000.0
    memory_mb: int = 1_769
    architecture: str = "x86_64"


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars for one of each, in the region and at the time of the table they come from."""

    as_of: str
    region: str
    lambda_x86_64_gb_s: float
    lambda_arm64_gb_s: float
    lambda_request: float
    transition: float
    write_unit: float
    table_gb_month: float
    pitr_gb_month: float
    s3_put: float
    s3_get: float
    s3_gb_month: float
    log_gb: float
    trace: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run uses of each service; `billed_s` of functions, start-up included."""

    billed_s: float = 0.0
    invocations: int = 0
    transitions: int = 0
    write_units: float = 0.0
    table_gb_months: float = 0.0
    s3_puts: int = 0
    s3_gets: int = 0
    s3_gb_months: float = 0.0
    log_gb: float = 0.0
    traces: int = 0

    def dollars(self, limits: Limits, prices: Prices) -> dict[str, float]:
        """Return what AWS charges for it, by service; free tiers are left out."""
        arm = limits.architecture == "arm64"
        gb_s = prices.lambda_arm64_gb_s if arm else prices.lambda_x86_64_gb_s
        return {
            "lambda_compute": self.billed_s * limits.memory_mb / 1_024 * gb_s,
            "lambda_requests": self.invocations * prices.lambda_request,
            "step_functions": self.transitions * prices.transition,
            "dynamodb_writes": self.write_units * prices.write_unit,
            "dynamodb_storage": self.table_gb_months * prices.table_gb_month,
            "dynamodb_backups": self.table_gb_months * prices.pitr_gb_month,
            "s3": self.s3_puts * prices.s3_put
            + self.s3_gets * prices.s3_get
            + self.s3_gb_months * prices.s3_gb_month,
            "logs": self.log_gb * prices.log_gb,
            "traces": self.traces * prices.trace,
        }


@dataclass(frozen=True, slots=True)
class FanOut:
    """How a plan runs on AWS; `chunk_seconds` is what one chunk takes, `binds` what limits it."""

    chunk_blocks: int
    chunks: int
    concurrency: int
    seconds: float
    chunk_seconds: float
    binds: str
    keep_days: int
    usage: Usage
    dollars: dict[str, float]
    prices_as_of: str
    prices_region: str

    @property
    def total(self) -> float:
        """Dollars in all."""
        return sum(self.dollars.values())

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "usage": asdict(self.usage),
            "total": self.total,
        }


def fan_out(
    plan: Plan,
    measured: Measured,
    limits: Limits,
    prices: Prices,
    chunk_blocks: int | None = None,
    *,
    keep_days: int = 90,
) -> FanOut:
    """Cut `plan` into chunks for as many workers as can be kept busy; say what that takes.

    A chunk takes the longer of its work and of its writes at the run's share of the table's
    throughput. More workers than the table can take writes from would only wait, billed; so
    there are as many as bring it to its limit, within the quota. The limit of a table on demand
    doubles every half hour; a run that lasts has the workers for what it comes to.

    Each worker's part is cut into equal chunks of 20 to 40 s: a start of 1.5 s is a few per cent
    of the bill, a chunk that fails costs little, and one that was estimated at a fifth of what it
    takes still ends before 240 s. A run with less work than that is waited for, and a worker's
    start costs less than a hundredth of a cent: it gets all workers at once, until a chunk is
    down to 5 s. Where there is a family for every worker, chunks end between families, so that none
    is solved twice.
    """
    units = plan.blocks * units_of(plan.cells / plan.blocks * measured.packed_bytes_per_cell)
    write_s, peak = _writing(units, limits.write_units_per_s)
    workers = ceil(peak * alone_s(plan, measured, plan.blocks) / units)
    workers = max(1, min(workers, limits.concurrency, MOST_CHILDREN))
    if chunk_blocks is None:
        first_s = workers * units / limits.write_units_per_s
        chunk_blocks = _chunk_blocks(plan, measured, workers, write_s, first_s)
    chunks = len(plan.chunks(chunk_blocks))
    concurrency = min(workers, chunks)
    busy_s = alone_s(plan, measured, chunk_blocks)
    waves = ceil(chunks / concurrency)
    work_s = max(waves * busy_s / chunks, write_s)
    ramp_s = RAMP_S * ((concurrency - 1) // RAMP_ENVIRONMENTS)
    start_s = ORCHESTRATION_S + 3 * (LOAD_S + START_S) + 2 * STEP_S + ramp_s
    usage = _usage(
        plan,
        chunks=chunks,
        concurrency=concurrency,
        billed_s=max(busy_s, concurrency * write_s),
        block_units=units,
        packed_bytes=plan.cells * measured.packed_bytes_per_cell,
        keep_days=keep_days,
    )
    return FanOut(
        chunk_blocks=chunk_blocks,
        chunks=chunks,
        concurrency=concurrency,
        seconds=start_s + work_s,
        chunk_seconds=work_s / waves,
        binds=_binds(start_s, work_s, write_s, concurrency, limits),
        keep_days=keep_days,
        usage=usage,
        dollars=usage.dollars(limits, prices),
        prices_as_of=prices.as_of,
        prices_region=prices.region,
    )


def verdict(local_seconds: float, aws: FanOut) -> str:
    """Compare a plan here with the same plan on AWS in one line, and say where to run it.

    AWS is worth its dollars where it takes half of the time at most, saves three minutes at least,
    and charges no more than a dollar for each minute saved.
    """
    saved_s = local_seconds - aws.seconds
    there = (
        saved_s >= SAVED_S
        and aws.seconds <= SAVED_SHARE * local_seconds
        and aws.total <= USD_A_MINUTE * saved_s / 60
    )
    return (
        f"local: {_duration(local_seconds)}, $0; aws: {_duration(aws.seconds)},"
        f" {money(aws.total)} ({BINDS[aws.binds]}): run it {'there' if there else 'here'}"
    )


def money(dollars: float) -> str:
    """Return dollars as a person says them."""
    return "under $0.01" if 0 < dollars < 0.01 else f"${dollars:,.2f}"


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def alone_s(plan: Plan, measured: Measured, chunk_blocks: int) -> float:
    """Return what all chunks take one worker that no table holds back."""
    sent = plan.cells * measured.packed_bytes_per_cell
    cell_s = measured.cell_s + measured.pack_s
    compute_s = measured.solve_s * plan.solves(chunk_blocks) + cell_s * plan.cells
    # A worker writes while it prices.
    return max(VCPU * (compute_s + SEND_S_PER_BYTE * sent), sent / WRITE_BYTES_PER_S)


def _writing(units: float, units_per_s: float) -> tuple[float, float]:
    """Return the seconds in which the table takes `units`, and the units a second it comes to."""
    seconds = 0.0
    while units > units_per_s * DOUBLING_S and units_per_s < TABLE_UNITS_PER_S:
        seconds += DOUBLING_S
        units -= units_per_s * DOUBLING_S
        units_per_s = min(2 * units_per_s, TABLE_UNITS_PER_S)
    return seconds + units / units_per_s, units_per_s


def _chunk_blocks(
    plan: Plan, measured: Measured, workers: int, write_s: float, first_s: float
) -> int:
    """Cut for `workers` who write for `write_s`, and for `first_s` in all at the first rate."""
    busy_s = alone_s(plan, measured, plan.blocks)
    part_s = max(busy_s / workers, write_s)
    waves = ceil(part_s / CHUNK_S)
    chunks = max(1, min(workers * waves, int(workers * part_s / SHORT_CHUNK_S)))
    longest = max(1, int(LONG_CHUNK_S * plan.blocks / max(busy_s, first_s)))
    even = min(ceil(plan.blocks / chunks), longest)
    family_blocks = ceil(plan.blocks / plan.families) if plan.families >= workers else 1
    whole = family_blocks if family_blocks <= longest else 1
    return min(min(ceil(even / whole), longest // whole) * whole, plan.blocks)


def units_of(content_bytes: float) -> int:
    """Return the write units of an item, by the bytes of what it holds."""
    return ceil((content_bytes + ITEM_BYTES) / UNIT_BYTES)


def _usage(
    plan: Plan,
    *,
    chunks: int,
    concurrency: int,
    billed_s: float,
    block_units: int,
    packed_bytes: float,
    keep_days: int,
) -> Usage:
    marker_bytes = MARKER_BYTES + _marginal_bytes(plan)
    stored = packed_bytes + plan.blocks * (ITEM_BYTES + STORED_ITEM_BYTES) + chunks * marker_bytes
    months = keep_days / DAYS_A_MONTH
    sizes = [len(data) for data in plan.columns().values()]
    bulk = [file.size for file in plan.bulk().values()]
    return Usage(
        billed_s=billed_s + (concurrency + 2) * START_S + 2 * STEP_S,
        invocations=chunks + 2,
        transitions=TRANSITIONS_A_CHUNK * chunks + PARENT_TRANSITIONS,
        write_units=block_units + chunks * units_of(marker_bytes) + RUN_UNITS,
        table_gb_months=stored / GB * months,
        # The plan and the manifest beside the columns, of which a chunk reads its parts; of a
        # panel's days, in pieces.
        s3_puts=len(sizes) + len(bulk) + 2,
        s3_gets=concurrency + 1 + chunks * (len(sizes) + len(bulk)) + sum(bulk) // PIECE_BYTES,
        s3_gb_months=sum(sizes + bulk) / GB * months,
        log_gb=(chunks + 2) * LOG_BYTES_A_CHUNK / GB,
        traces=chunks + 1,
    )


def _marginal_bytes(plan: Plan) -> int:
    """Return the size of a marker's sums and counts along the axes of a grid, at most."""
    if not isinstance(plan, GridPlan):
        return 0
    values = sum(len(axis) for axis in plan.axes if len(axis) <= MOST_VALUES)
    return values * len(plan.measures) * MARGINAL_BYTES


def _binds(start_s: float, work_s: float, write_s: float, concurrency: int, limits: Limits) -> str:
    if start_s > work_s:
        return "start-up"
    if write_s >= 0.9 * work_s:
        return "table writes"
    return "quota" if concurrency == limits.concurrency else "compute"
