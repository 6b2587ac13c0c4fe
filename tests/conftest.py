from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import settings

from cloud.deploy import deploy
from cloud.emulator import running
from cloud.templates import synthesise
from pricer.aws import _client

_clients = cache(_client.__wrapped__)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first example of a test may compile kernels. Derandomised: a red check stays red.
settings.register_profile("pricer", deadline=None, derandomize=True)
settings.load_profile("pricer")

# Two functions at once, as many as a runner has cores; waits before a retry a fiftieth as long.
AS_TESTED = {"LAMBDA_ACCOUNT_CONCURRENCY": "2", "SFN_WAIT_SCALE": "0.02"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that at the end no process waits for it."""
    items.sort(key=lambda item: item.path.name != "test_wheel.py")


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's store and out of any AWS account."""
    monkeypatch.setenv("PRICER_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
    # As wide as a pipe, whatever the terminal that the tests run in.
    monkeypatch.delenv("COLUMNS", raising=False)
    theirs = ("AWS_", "PRICER_ON", "PRICER_STACK")
    for name in [name for name in os.environ if name.startswith(theirs)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an AWS on this machine for all the tests that need one; yield its endpoint."""
    with running(tmp_path_factory.mktemp("emulator") / "log", **AS_TESTED) as endpoint:
        yield endpoint


@pytest.fixture
def aws(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point everything that reads AWS settings at the emulator; return its endpoint."""
    point_at(emulator, monkeypatch)
    return emulator


def point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    # Clients of their own, which no test without an AWS gets: making one takes long.
    monkeypatch.setattr("pricer.aws._client", _clients)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise the stacks once; return the folder of `Pricer-data` and `Pricer`."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # That of all processes: the first synthesises for them.
        folder = folder.parent
    made = folder / "synthesised"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            synthesise(folder / "templates")
            made.touch()
    return folder / "templates"


@pytest.fixture(scope="session")
def cloud(emulator: str, templates: Path) -> dict[str, str]:
    """Deploy the stacks into the emulator once; return the outputs of `Pricer`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        point_at(emulator, monkeypatch)
        return deploy(templates)
