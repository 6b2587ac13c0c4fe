"""Whether all is there that pricing needs, on this machine and on AWS: one line each."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pricer

from .compiled import MODULES, check_processor, kernel_version, kernels, target
from .errors import PricerError, StoreError
from .run import as_store
from .stores import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from .executors.stepfunctions import Deployment

OK, WARN, FAIL = "ok", "warn", "fail"
# What the Lambda quota of a new account can be.
FEW = 10


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it where that is not ok."""

    name: str
    state: str
    found: str
    fix: str = ""


def check_local(store: str | None = None) -> Iterator[Check]:
    """Look at this machine: its processor, the kernels, and the store (the default one if None)."""
    yield _checked("processor", _processor)
    yield _checked("kernels", _kernels)
    yield _checked("store", lambda: _local_store(store))


def check_aws(stack: str) -> Iterator[Check]:
    """Look at what a submit to `stack` needs; what hangs on what is missing is not looked at."""
    from . import aws
    from .executors.stepfunctions import Deployment

    def checked(name: str, check: Callable[[], Check], failed: str = FAIL) -> Check:
        return _checked(name, check, failed, aws.explained(name))

    region = checked("region", lambda: Check("region", OK, aws.client("lambda").meta.region_name))
    yield region
    if region.state != OK:
        return
    credentials = checked("credentials", lambda: _credentials(aws.client("sts")))
    yield credentials
    if credentials.state != OK:
        return
    yield checked("cdk", _cdk, WARN)
    yield checked("builder", _builder, WARN)
    yield checked("bootstrap", _bootstrap, WARN)
    yield checked("quota", lambda: _quota(aws.client("lambda")), WARN)
    try:
        deployment = Deployment.find(stack)
    except StoreError as error:
        yield _failure("stack", FAIL, error)
        return
    yield _stack(deployment)
    yield _kernels_there(deployment)
    yield checked("table", lambda: _table(deployment))


def _checked(
    name: str,
    check: Callable[[], Check],
    failed: str = FAIL,
    explained: AbstractContextManager[Any] | None = None,
) -> Check:
    try:
        with explained or nullcontext():
            return check()
    except PricerError as error:
        return _failure(name, failed, error)


def _failure(name: str, state: str, error: PricerError) -> Check:
    found, _, fix = " ".join(str(error).split()).partition("; ")
    for prefix in (f"{name}: ", "AWS: "):
        found = found.removeprefix(prefix)
    return Check(name, state, found, fix)


def _processor() -> Check:
    check_processor()
    return Check("processor", OK, f"runs {target()}")


def _kernels() -> Check:
    kernels(*MODULES)
    return Check("kernels", OK, f"{kernel_version()[:12]} in {os.environ['NUMBA_CACHE_DIR']}")


def _local_store(url: str | None) -> Check:
    store = as_store(url, create=True)
    runs = len(store.runs())
    path = Path(store.url.removeprefix(SQLITE))
    if store.url.startswith(SQLITE) and not os.access(
        path if path.exists() else path.parent, os.W_OK
    ):
        fix = "make it so, or name another with --store or PRICER_STORE"
        return Check("store", FAIL, f"{path} cannot be written", fix)
    return Check("store", OK, f"{store.url}, {runs} run{'' if runs == 1 else 's'}")


def _credentials(sts: Any) -> Check:
    identity = sts.get_caller_identity()
    return Check("credentials", OK, f"account {identity['Account']}, {identity['Arn']}")


def _cdk() -> Check:
    from .deployment import ROOT, check_checkout

    check_checkout()
    return Check("cdk", OK, f"in {ROOT}")


def _builder() -> Check:
    from .deployment import builder

    return Check("builder", OK, f"{builder()} answers")


def _bootstrap() -> Check:
    from .deployment import bootstrap_version

    version = bootstrap_version()
    if version is None:
        fix = "`pricer deploy` does that before it deploys"
        return Check("bootstrap", WARN, "this account and region have none", fix)
    return Check("bootstrap", OK, f"version {version}")


def _quota(client: Any) -> Check:
    limit = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    found = f"{limit:,} functions at once"
    if limit > FEW:
        return Check("quota", OK, found)
    fix = "ask for more under Service Quotas, AWS Lambda, Concurrent executions"
    return Check("quota", WARN, found, fix)


def _stack(deployment: Deployment) -> Check:
    found = f"{deployment.stack} of pricer {deployment.version}, {deployment.architecture}"
    try:
        deployment.check_version()
    except StoreError:
        return Check("stack", FAIL, f"{found}; this is {pricer.__version__}", "deploy it again")
    return Check("stack", OK, f"{found}, {deployment.memory_mb:,} MB a worker")


def _kernels_there(deployment: Deployment) -> Check:
    if deployment.kernel_version == kernel_version():
        return Check("kernels", OK, f"{kernel_version()[:12]}, as on this machine")
    found = f"{deployment.kernel_version[:12]}, here {kernel_version()[:12]}"
    note = "last bits and run ids may differ from those of this machine; deploy again for the same"
    return Check("kernels", WARN, found, note)


def _table(deployment: Deployment) -> Check:
    table = deployment.store().table_status()
    rate = (
        f"{table.write_units_s:,} writes/s" if table.write_units_s else "write throughput not told"
    )
    recovery = "recovery " + ("on" if table.recovery else "off")
    expiry = "expiry " + ("on" if table.ttl else "off")
    found = f"{table.status.lower()}, {rate}, {recovery}, {expiry}, {table.items:,} items"
    if table.status != "ACTIVE":
        return Check("table", FAIL, found, "wait until it is ACTIVE")
    if not (table.recovery and table.ttl):
        return Check("table", WARN, found, "switch them on in the console, as the stack has them")
    return Check("table", OK, found)
