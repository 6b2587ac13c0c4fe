"""Execution environments of Lambda functions: AWS's own emulator in front of a real process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME")
INSIDE = "/rie"
STOP_S = 5.0


class Container:
    """One execution environment, with the face of a Docker container, which MiniStack asks for.

    AWS's Runtime Interface Emulator starts the function, hands it one event at a time, stops it
    at its timeout and starts it anew, and writes the START, END and REPORT lines. `image` runs
    the two in a container; else they are processes of this machine, in the checkout.
    """

    attrs: Mapping[str, Any] = {}

    def __init__(
        self, handler: str, environment: Mapping[str, str], *, image: str | None, memory_mb: int
    ) -> None:
        port, api = _free_ports(2)
        addresses = [
            f"--runtime-interface-emulator-address=127.0.0.1:{port}",
            f"--runtime-api-address=127.0.0.1:{api}",
            "--log-level=error",
        ]
        self.ports = {"8080/tcp": [{"HostPort": str(port)}]}
        self.name = f"pricer-{uuid.uuid4().hex[:12]}" if image else ""
        if image:
            command = _podman(self.name, image, environment, memory_mb)
            command += [*addresses, *_entrypoint(image), handler]
        else:
            command = [_rie(), *addresses, sys.executable, "-m", "awslambdaric", handler]
        inherited = dict(os.environ) if image else _only(INHERITED)
        with tempfile.NamedTemporaryFile(prefix="lambda-") as output:
            self.output = Path(output.name).open("rb")  # noqa: SIM115  read while it is written
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=inherited | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def status(self) -> str:
        """``running`` or ``exited``."""
        return "running" if self.process.poll() is None else "exited"

    def reload(self) -> None:
        """Do nothing: the status is always that of now."""

    def logs(self, **_: Any) -> bytes:
        """Return what was written since the last call, thus by one invocation."""
        return self.output.read()

    def kill_runtime(self) -> None:
        """Kill the function's process, as running out of memory would."""
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            # A thread or a process that ends just now need not be killed.
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in children.read_text().split():
                    os.kill(int(child), signal.SIGKILL)

    def stop(self, **_: Any) -> None:
        """Stop the function and the emulator before it."""
        if self.name:
            _quietly("podman", "rm", "--force", "--time", "0", self.name)
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill_runtime()
            self.process.kill()
            self.process.wait()

    def remove(self, **_: Any) -> None:
        """Forget what was written."""
        self.output.close()


@cache
def _rie() -> str:
    spec = find_spec("samcli")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("no Lambda emulator: pip install --no-deps -r requirements/rie.txt")
    folder = Path(spec.submodule_search_locations[0]) / "local" / "rapid"
    return str(folder / f"aws-lambda-rie-{os.uname().machine.replace('aarch64', 'arm64')}")


@cache
def _entrypoint(image: str) -> Sequence[str]:
    shown = subprocess.run(
        ["podman", "image", "inspect", image], check=True, capture_output=True, text=True
    )
    return tuple(json.loads(shown.stdout)[0]["Config"]["Entrypoint"])


def _podman(name: str, image: str, environment: Mapping[str, str], memory_mb: int) -> list[str]:
    """Return the command that runs the emulator in a container as locked up as Lambda's."""
    return [
        *("podman", "--runtime", "runc", "run", "--rm", "--name", name, "--network", "host"),
        *("--read-only", "--tmpfs", "/tmp:rw,size=512m,mode=1777", "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges", "--ulimit", "nofile=1024:1024"),
        *("--ulimit", "nproc=1024:1024", "--pids-limit", "0"),
        *("--memory", f"{memory_mb}m", "--memory-swap", f"{memory_mb}m"),
        *("--volume", f"{_rie()}:{INSIDE}:ro", "--entrypoint", INSIDE),
        *(part for variable in environment for part in ("--env", variable)),
        image,
    ]


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _only(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _quietly(*command: str) -> None:
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
