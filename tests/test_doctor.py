"""What `pricer doctor` finds: each line, and what it says to do."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import pricer
from pricer import aws as pricer_aws
from pricer import deployment, doctor
from pricer.compiled import kernel_version
from pricer.doctor import Check, check_aws, check_local
from pricer.errors import PricerError
from pricer.executors.stepfunctions import Deployment

if TYPE_CHECKING:
    from pathlib import Path


def found(stack: str = "Pricer") -> dict[str, Check]:
    return {check.name: check for check in check_aws(stack)}


def here(store: str | None = None) -> dict[str, Check]:
    return {check.name: check for check in check_local(store)}


# --- this machine ---


def test_a_machine_that_prices_is_ready(tmp_path: Path) -> None:
    checks = here()
    assert list(checks) == ["processor", "kernels", "store"]
    assert {(check.state, check.fix) for check in checks.values()} == {("ok", "")}
    assert kernel_version()[:12] in checks["kernels"].found
    assert checks["store"].found == f"sqlite:///{tmp_path / 'runs.db'}, 0 runs"
    assert not (tmp_path / "runs.db").exists()


def test_a_processor_that_lacks_something_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack() -> None:
        raise PricerError("processor: lacks avx2; price on one with it")

    monkeypatch.setattr(doctor, "check_processor", lack)
    assert here()["processor"] == Check("processor", "fail", "lacks avx2", "price on one with it")


def test_a_store_that_is_not_there_says_why(tmp_path: Path) -> None:
    store = here(f"sqlite:///{tmp_path}/none/runs.db")["store"]
    assert store.state == "fail"
    assert "none" in store.found


def test_a_store_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    path = tmp_path / "runs.db"
    assert here()["store"] == Check(
        "store",
        "fail",
        f"{path} cannot be written",
        "make it so, or name another with --store or PRICER_STORE",
    )


# --- AWS ---


def test_all_that_is_deployed_is_looked_at(aws: str, cloud: dict[str, str]) -> None:
    checks = found()
    assert list(checks) == [
        *("region", "credentials", "cdk", "builder", "bootstrap", "quota"),
        *("stack", "kernels", "table"),
    ]
    assert "fail" not in {check.state for check in checks.values()}
    assert checks["region"].found == "us-east-1"
    assert checks["credentials"].found.startswith("account 000000000000, arn:aws:")
    assert checks["bootstrap"].found == "version 30"
    assert checks["stack"].found == (
        f"Pricer of pricer {pricer.__version__}, x86_64, 1,769 MB a worker"
    )
    assert checks["kernels"] == Check(
        "kernels", "ok", f"{kernel_version()[:12]}, as on this machine"
    )
    assert checks["table"].found.startswith("active, ")
    # Two functions at once is what the emulator allows.
    assert checks["quota"].state == "warn"
    assert checks["quota"].fix.startswith("ask for more under Service Quotas")


def test_a_stack_that_is_not_there_says_what_to_do(aws: str) -> None:
    checks = found("Nope")
    stack = checks["stack"]
    assert (stack.state, stack.found) == ("fail", "stack 'Nope' in us-east-1: is not there")
    assert stack.fix.startswith("`pricer deploy` makes it")
    assert "table" not in checks


def test_an_account_that_is_not_bootstrapped_says_what_to_do(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "BOOTSTRAPPED", "/cdk-bootstrap/none/version")
    assert found("Nope")["bootstrap"] == Check(
        "bootstrap",
        "warn",
        "this account and region have none",
        "`pricer deploy` does that before it deploys",
    )


def test_without_a_region_or_credentials_nothing_else_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pricer_aws._client.cache_clear()
    assert found() == {
        "region": Check("region", "fail", "no region", "set AWS_REGION, or a region in the profile")
    }
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    checks = found()
    assert list(checks) == ["region", "credentials"]
    assert checks["credentials"] == Check(
        "credentials", "fail", "no credentials", "run `aws configure`, or set AWS_PROFILE"
    )


DEPLOYMENT = Deployment(
    stack="Pricer",
    region="us-east-1",
    table="runs",
    bucket="plans",
    state_machine="arn",
    plan_function="",
    price_function="",
    finish_function="",
    web_function="",
    start_function="",
    schedule_group="",
    schedule_role="",
    log_group="",
    kernel_version=kernel_version(),
    version=pricer.__version__,
    architecture="x86_64",
    memory_mb=1_769,
    keep_days=90,
)


def test_a_stack_of_another_version_fails() -> None:
    check = doctor._stack(replace(DEPLOYMENT, version="0.0.9"))
    assert (check.state, check.fix) == ("fail", "deploy it again")
    assert f"Pricer of pricer 0.0.9, x86_64; this is {pricer.__version__}" in check.found


def test_other_kernels_than_here_are_a_warning() -> None:
    check = doctor._kernels_there(replace(DEPLOYMENT, kernel_version="f" * 64))
    assert check.state == "warn"
    assert check.found == f"{'f' * 12}, here {kernel_version()[:12]}"


@pytest.mark.parametrize(("limit", "state"), [(10, "warn"), (11, "ok"), (1_000, "ok")])
def test_the_quota_of_a_new_account_is_a_warning(limit: int, state: str) -> None:
    settings = {"AccountLimit": {"UnreservedConcurrentExecutions": limit}}
    functions = SimpleNamespace(get_account_settings=lambda: settings)
    check = doctor._quota(functions)
    assert (check.state, check.found) == (state, f"{limit:,} functions at once")


@pytest.mark.parametrize(
    ("changed", "state", "said"),
    [
        ({}, "ok", "active, 4,000 writes/s, recovery on, expiry on, 120,000 items"),
        ({"write_units_s": None}, "ok", "active, write throughput not told"),
        ({"status": "UPDATING"}, "fail", "updating"),
        ({"recovery": False}, "warn", "recovery off"),
        ({"ttl": None}, "warn", "expiry off"),
    ],
)
def test_a_table_says_how_it_is_set(
    changed: dict[str, Any], state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "status": "ACTIVE",
        "write_units_s": 4_000,
        "items": 120_000,
        "recovery": True,
        "ttl": "expires",
    }
    status = SimpleNamespace(**(values | changed))
    store = SimpleNamespace(table_status=lambda: status)
    monkeypatch.setattr(Deployment, "store", lambda _: store)
    check = doctor._table(DEPLOYMENT)
    assert check.state == state
    assert said in check.found
