"""A state machine on AWS that prices a run: found by its stack, started, waited for, stopped."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pricer
from pricer import aws
from pricer.errors import AwsError, SpecError, StoreError
from pricer.stacks import STACK, flag
from pricer.stores import SHORT_ID
from pricer.stores.dynamodb import DynamoStore
from pricer.stores.owners import EXECUTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pricer.plan import Plan
    from pricer.stores import Store, StoredRun

# Of a stack that is there to be used; a failed update leaves the one before it.
READY = ("CREATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
POLL_S = 0.5

logger = logging.getLogger("pricer")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a stack has deployed, by the names it was given there."""

    stack: str
    region: str
    table: str
    bucket: str
    state_machine: str
    plan_function: str
    price_function: str
    finish_function: str
    web_function: str
    start_function: str
    schedule_group: str
    schedule_role: str
    log_group: str
    kernel_version: str
    version: str
    architecture: str
    memory_mb: int
    keep_days: int

    @classmethod
    def find(cls, stack: str = STACK) -> Deployment:
        """Ask CloudFormation what the stack has deployed, in the region of the AWS settings."""
        region = aws.client("cloudformation").meta.region_name
        where = f"stack {stack!r} in {region}"
        found = aws.stack(stack)
        if found is None:
            raise AwsError(
                f"{where}: is not there; `pricer deploy` makes it, or name another with"
                " --stack, or its region with AWS_REGION"
            )
        status = found["StackStatus"]
        if status.removesuffix("_CLEANUP_IN_PROGRESS") not in READY:
            fix = "wait for it" if status.endswith("_IN_PROGRESS") else "deploy it again"
            raise AwsError(f"{where}: is {status}; {fix}")
        try:
            return cls.of(stack, region, found["Outputs"])
        except KeyError as error:
            raise AwsError(
                f"{where}: has no output {error.args[0]}, so it is not one of pricer's, or of an"
                " older version; name another with --stack, or deploy it again"
            ) from None

    @classmethod
    def of(cls, stack: str, region: str, outputs: Mapping[str, str]) -> Deployment:
        """Read the outputs of a stack; one that is missing is a `KeyError`."""
        return cls(
            stack=stack,
            region=region,
            table=outputs["TableName"],
            bucket=outputs["BucketName"],
            state_machine=outputs["StateMachineArn"],
            plan_function=outputs["PlanFunctionName"],
            price_function=outputs["PriceFunctionName"],
            finish_function=outputs["FinishFunctionName"],
            web_function=outputs["WebFunctionName"],
            start_function=outputs["StartFunctionArn"],
            schedule_group=outputs["ScheduleGroupName"],
            schedule_role=outputs["ScheduleRoleArn"],
            log_group=outputs["LogGroupName"],
            kernel_version=outputs["KernelVersion"],
            version=outputs["Version"],
            architecture=outputs["Architecture"],
            memory_mb=int(outputs["MemoryMb"]),
            keep_days=int(outputs["KeepDays"]),
        )

    def check_version(self) -> None:
        """Refuse to submit to what another version of this package has deployed."""
        if self.version != pricer.__version__:
            raise AwsError(
                f"stack {self.stack!r} in {self.region}: is of pricer {self.version}, this is"
                f" {pricer.__version__}; deploy it again"
            )

    def store(self, keep_days: int | None = None) -> DynamoStore:
        """Return the store that the state machine prices into; it keeps what the stack does."""
        keep_days = keep_days or self.keep_days
        if keep_days > self.keep_days:
            raise SpecError(
                f"keep: must be at most the {self.keep_days} days of stack {self.stack!r}, got"
                f" {keep_days}; deploy it with -c keep_days={keep_days}"
            )
        return DynamoStore(self.table, region=self.region, bucket=self.bucket, keep_days=keep_days)


class StepFunctionsExecutor:
    """Prices by an execution of the state machine, `workers` chunks at once.

    A run that an execution prices already is attached to. `planned`, what the run is expected to
    take, is kept with a run that is started. `detach` is to return as soon as the run is going.
    """

    def __init__(
        self,
        deployment: Deployment,
        workers: int,
        planned: Mapping[str, Any] | None = None,
        *,
        detach: bool = False,
    ) -> None:
        self.deployment = deployment
        self.workers = workers
        self.planned = planned
        self.detach = detach

    @contextmanager
    def own(self, run: StoredRun, store: Store) -> Iterator[bool]:
        """Yield whether an execution prices the run or may: False where a process does."""
        owner = _on_aws(store).owner(run.run_id)
        yield owner is None or not owner.alive or owner.owner.startswith(EXECUTION)

    def execute(self, plan: Plan, run: StoredRun, store: Store, wake: Callable[[], None]) -> None:
        """Return when the execution has ended, be every chunk done or not.

        An interrupt ends the waiting, not the execution.
        """
        there = _on_aws(store)
        if not there.running(run.run_id):
            self._put_bulk(plan, run.run_id, there)
        try:
            execution = self._going(run, there)
            if self.detach:
                return
            while (owner := there.owner(run.run_id)) and owner.alive and owner.owner == execution:
                wake()
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(how_to_go_on(run.run_id, self.deployment.stack)) from None

    def _put_bulk(self, plan: Plan, run_id: str, store: DynamoStore) -> None:
        """Put there what workers read of a plan and no store keeps; once is enough."""
        for name, file in plan.bulk().items():
            if not store.has(run_id, name, file.size):
                logger.info("%s: %d bytes to %s", name, file.size, store.bucket)
                store.write(run_id, name, file)

    def _going(self, run: StoredRun, store: DynamoStore) -> str:
        """Return the ARN of the execution that prices a run, started here if there is none."""
        machine = self.deployment.state_machine.replace(":stateMachine:", ":execution:")
        while True:
            taken = store.take(run.run_id, lambda attempt: f"{machine}:{run.run_id}-{attempt}")
            if taken and self._started(taken, run, store):
                logger.info("started %s", taken)
                return taken
            owner = store.owner(run.run_id)
            # Not so where another has just let go, or an execution of this name ended long ago.
            if owner and owner.alive:
                logger.info("attached to %s", owner.owner)
                return owner.owner

    def _started(self, execution: str, run: StoredRun, store: DynamoStore) -> bool:
        """Start an execution; False where there is or was one of this name."""
        name = execution.rpartition(":")[2]
        attempt = int(name.rpartition("-")[2])
        given = {"run": run.run_id, "attempt": attempt, "concurrency": self.workers}
        states = aws.client("stepfunctions", region=self.deployment.region)
        try:
            if self.planned:
                store.put_planned(run.run_id, self.planned)
            with aws.explained(f"execution {name}"):
                states.start_execution(
                    stateMachineArn=self.deployment.state_machine,
                    name=name,
                    input=json.dumps(given),
                )
        except AwsError as error:
            refused = aws.error_code(error)
            if refused == "ExecutionAlreadyExists":
                return False
            # Where nothing was answered it may have started; if not, it owns the run for seconds.
            if refused:
                store.release(run.run_id, execution)
            raise
        return True


def how_to_go_on(run_id: str, stack: str) -> str:
    """Say what can be done about a run that is going."""
    where = f"{run_id[:SHORT_ID]} --on aws{flag(stack)}"
    return f"the run goes on in AWS; see `pricer watch {where}`, stop it by `pricer cancel {where}`"


def cancel(run: StoredRun, store: Store) -> str:
    """Stop the execution that prices a run, and return its ARN. What is priced is kept."""
    what = f"run {run.run_id[:SHORT_ID]}"
    there = _on_aws(store)
    owner = there.owner(run.run_id)
    if owner is None or not owner.alive:
        raise StoreError(f"{what}: is not being priced, there is nothing to cancel")
    if not owner.owner.startswith(EXECUTION):
        raise StoreError(f"{what}: is priced by a process, which only who started it can stop")
    states = aws.client("stepfunctions", region=owner.owner.split(":")[3])
    with aws.explained(what):
        states.stop_execution(executionArn=owner.owner, cause="pricer cancel")
    there.release(run.run_id, owner.owner)
    return owner.owner


def _on_aws(store: Store) -> DynamoStore:
    if not isinstance(store, DynamoStore):
        raise StoreError(f"store: {store.url} is on this machine; say --on aws")
    return store
