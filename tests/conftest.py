from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from pricer.aws import _client

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first example of a test may compile kernels. Derandomised: a red check stays red.
settings.register_profile("pricer", deadline=None, derandomize=True)
settings.load_profile("pricer")

START_S = 30.0


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's store and out of any AWS account."""
    monkeypatch.setenv("PRICER_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an AWS on this machine for all the tests that need one; yield its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("emulator") / "log"
    environment = os.environ | {"GATEWAY_PORT": str(port), "LOG_LEVEL": "WARNING"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "cloud" / "emulator.py"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the emulator does not start: {log.read_text()}")
                time.sleep(0.05)
        yield endpoint
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def aws(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point everything that reads AWS settings at the emulator; return its endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    _client.cache_clear()
    return emulator
