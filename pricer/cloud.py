"""A run on AWS from here: what it would take, and how it is submitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from . import aws
from .billing import prices
from .compiled import kernel_version
from .errors import PricerError, RunNotFoundError, SpecError, StoreError
from .estimate import measure
from .executors import check_kernels
from .executors.stepfunctions import Deployment, StepFunctionsExecutor
from .fanout import FanOut, Limits, fan_out, money
from .plan import BookPlan, PanelPlan, Plan
from .run import ANOTHER_RUN, Run, submit_plan
from .stacks import STACK
from .stores import COMPLETE, RUNNING, SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from .book import Book
    from .estimate import Measured
    from .grid import Grid
    from .panel import Panel
    from .stores.dynamodb import DynamoStore


# The outputs of all chunks of a map, `{}` and a comma each, must fit in 256 KiB.
MOST_CHUNKS = 80_000
# What one request can put into S3.
OBJECT_BYTES = 5 * 2**30
# A worker reads whole the families that its chunk touches: measured, some 96 bytes a row at most.
WINDOW_ROW_BYTES, WINDOW_SHARE = 100, 0.75


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan on AWS goes by. `assumed` says why limits are not those of a deployment."""

    kernel_version: str
    limits: Limits
    keep_days: int = 90
    assumed: str = ""

    @classmethod
    def of(cls, deployment: Deployment) -> Terms:
        """Ask what the account and the table of a deployment allow."""
        functions = aws.client("lambda", region=deployment.region)
        with aws.explained(f"Lambda in {deployment.region}"):
            account = functions.get_account_settings()["AccountLimit"]
        write_units_s = deployment.store().table.write_units_s()
        limits = Limits(
            concurrency=max(1, account["UnreservedConcurrentExecutions"]),
            write_units_per_s=write_units_s or Limits().write_units_per_s,
            memory_mb=deployment.memory_mb,
            architecture=deployment.architecture,
        )
        return cls(deployment.kernel_version, limits, deployment.keep_days)

    @classmethod
    def find(cls, stack: str = STACK) -> Terms:
        """Ask for those of a stack; where it cannot be asked, assume those of a new one."""
        try:
            return cls.of(Deployment.find(stack))
        except StoreError as error:
            return cls(kernel_version(), Limits(), assumed=str(error))


def fan_out_of(
    plan: Plan,
    measured: Measured,
    terms: Terms,
    chunk_blocks: int | None = None,
    keep_days: int | None = None,
) -> FanOut:
    """Say how `plan` would run on these terms, at the prices that this package knows."""
    days = keep_days or terms.keep_days
    return fan_out(plan, measured, terms.limits, prices(), chunk_blocks, keep_days=days)


def submit(
    spec: Grid | Book | Panel,
    stack: str = STACK,
    *,
    keep_days: int | None = None,
    max_cost: float | None = None,
    detach: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Price a grid, a book or a panel on AWS by what `stack` has deployed, and return its run.

    The same input is the same run: submitted again, what is missing is priced; a run that is
    going is attached to. The run that is returned is complete unless chunks failed or the
    execution was stopped, which its status says.

    Parameters
    ----------
    stack
        The name of the CloudFormation stack, in the region that the AWS settings say.
    keep_days
        After how many days a new run expires; after those that the stack says if None.
    max_cost
        Raise, before anything is written or started, where what is left to price would cost more
        dollars than this, as far as one can tell.
    detach
        Return as soon as the run is going.
    on_progress
        Called from time to time with the number of cells that are stored.
    """
    deployment = Deployment.find(stack)
    deployment.check_version()
    return submit_to(
        deployment,
        spec,
        keep_days=keep_days,
        max_cost=max_cost,
        detach=detach,
        on_progress=on_progress,
    )


def submit_to(
    deployment: Deployment,
    spec: Grid | Book | Panel,
    *,
    as_of: str = "",
    keep_days: int | None = None,
    max_cost: float | None = None,
    detach: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Price on AWS by what is deployed there, as `submit` does.

    `as_of` is the time that a schedule has it priced at: each is a run of its own.
    """
    plan = Plan.of(spec, deployment.kernel_version, as_of)
    return _submit_plan(
        deployment,
        plan,
        keep_days=keep_days,
        max_cost=max_cost,
        detach=detach,
        on_progress=on_progress,
    )


def resume(
    deployment: Deployment, run: Run, *, on_progress: Callable[[int], None] | None = None
) -> Run:
    """Price on AWS what a run lacks that is there, by the plan that is kept; return the run.

    It is complete but for what may keep one incomplete that is submitted.
    """
    if run.state == COMPLETE:
        return run
    deployment.check_version()
    where = f"stack {deployment.stack!r}"
    check_kernels(run.plan, deployment.kernel_version, where, ANOTHER_RUN)
    plan = run.plan
    if isinstance(plan, PanelPlan):
        plan = _with_days(plan, deployment.store())
    return _submit_plan(deployment, plan, on_progress=on_progress)


def _with_days(plan: PanelPlan, store: DynamoStore) -> PanelPlan:
    """Return a plan of a panel that reads its days where its submit has put them."""
    run_id = plan.run_id
    for name, file in plan.bulk().items():
        if not store.has(run_id, name, file.size):
            raise StoreError(
                f"run {run_id[:SHORT_ID]}: its {name} is not in bucket {store.bucket}; submit its"
                " file again"
            )
    return plan.fed(replace(plan.spec, read=partial(store.read, run_id)))


def _submit_plan(
    deployment: Deployment,
    plan: Plan,
    *,
    keep_days: int | None = None,
    max_cost: float | None = None,
    detach: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    store = deployment.store(keep_days)
    known = _known(store, plan)
    if known and known.state == COMPLETE:
        executor = StepFunctionsExecutor(deployment, 1)
        return submit_plan(plan, store, executor, on_progress=on_progress)
    chunk_blocks = known.head.chunk_blocks if known else None
    terms = Terms.of(deployment)
    fan = fan_out_of(plan, measure(plan), terms, chunk_blocks, keep_days)
    _check_fits(plan, fan, terms.limits)
    if max_cost is not None and not (known and known.state == RUNNING):
        done = len(store.markers(plan.run_id)) if known else 0
        _check_cost(fan.total * (1 - done / fan.chunks), max_cost)
    executor = StepFunctionsExecutor(deployment, fan.concurrency, fan.to_json(), detach=detach)
    return submit_plan(
        plan, store, executor, chunk_blocks=fan.chunk_blocks, on_progress=on_progress
    )


def _known(store: DynamoStore, plan: Plan) -> Run | None:
    try:
        return Run(store, store.run(plan.run_id))
    except RunNotFoundError:
        return None


def _check_fits(plan: Plan, fan: FanOut, limits: Limits) -> None:
    """Raise `SpecError` for what could not end there."""
    if fan.chunks > MOST_CHUNKS:
        raise SpecError(
            f"chunks: an execution can have at most {MOST_CHUNKS:,}, this run would have"
            f" {fan.chunks:,}; submit it in parts"
        )
    for name, file in plan.bulk().items():
        if file.size > OBJECT_BYTES:
            raise SpecError(
                f"{plan.kind}: S3 takes at most {OBJECT_BYTES:,} bytes of {name}, got"
                f" {file.size:,}; submit it in parts, or here"
            )
    if isinstance(plan, BookPlan):
        rows = int(limits.memory_mb * 1e6 * WINDOW_SHARE / WINDOW_ROW_BYTES)
        largest = int(np.diff(plan.offsets).max())
        if largest > rows:
            raise SpecError(
                f"book: a worker of {limits.memory_mb:,} MB can have at most {rows:,} rows of equal"
                f" right, exercise, vol, rate and dividend_yield, got {largest:,}; submit it in"
                " parts, or here"
            )


def _check_cost(dollars: float, most: float) -> None:
    if dollars > most:
        raise PricerError(
            f"max cost: what is left to price would cost {money(dollars)}, more than the"
            f" ${most:,.10g} allowed; nothing is started"
        )
