"""Kernels compiled by several processes: none is lost, a failure says so, nobody stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

from pricer import compiling
from pricer.compiling import compile_apart
from pricer.errors import KernelError
from pricer.kernelcache import save_in_turn

COMPILE_TWO = "from pricer.compiled import kernels; kernels('averages', 'elementary')"
USE_THEM = "[each.warm_up() for each in kernels('averages', 'elementary')]"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Keep the cache of this test out of the user's; return the processes as they start."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    processes = []

    def popen(*command: list[str], **options: object) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = subprocess.Popen(*command, **options)  # type: ignore[call-overload]
        processes.append(process)
        return process

    monkeypatch.setattr(compiling, "Popen", popen)
    return processes


def index(folder: Path) -> Any:
    return IndexDataCacheFile(str(folder), "kernel", "stamp")  # type: ignore[no-untyped-call]


def nothing(_: str) -> None:
    pass


def test_what_several_processes_compile_is_there_for_the_next(tmp_path: Path) -> None:
    environment = {name: v for name, v in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PRICER_WORKERS": "2"}

    def python(code: str, **ready: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | ready,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr

    assert python(COMPILE_TWO) == (
        "compiling kernels of averages, once (1 s)\ncompiling kernels of elementary, once (1 s)\n"
    )
    assert python(COMPILE_TWO) == ""
    [kernels] = tmp_path.glob("*/*/")
    assert python(f"{COMPILE_TWO}; {USE_THEM}", PRICER_KERNELS=str(kernels)) == ""


def test_a_kernel_that_several_compile_at_once_for_other_types_loses_none(tmp_path: Path) -> None:
    save_in_turn()

    def save(worker: int) -> None:
        for number in range(20):
            index(tmp_path).save((worker, number), worker)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(8)))
    kept = index(tmp_path)
    assert [kept.load((w, n)) for w in range(8) for n in range(20)] == [
        w for w in range(8) for _ in range(20)
    ]


def test_a_module_that_fails_ends_the_others_with_its_message(
    started: list[subprocess.Popen[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    said = "^kernels of nowhere: cannot be compiled: ModuleNotFoundError: No module named "
    done: list[str] = []
    with pytest.raises(KernelError, match=said):
        compile_apart(["scheduled", "nowhere"], 2, nothing, done.append)
    assert not done
    assert {process.poll() for process in started} == {-signal.SIGKILL}
    assert capfd.readouterr().err.count("Traceback") == 1


def test_a_process_that_is_killed_fails_the_whole(started: list[subprocess.Popen[str]]) -> None:
    with pytest.raises(KernelError, match=r"scheduled: cannot be compiled: .* ended with -9$"):
        compile_apart(["scheduled"], 1, lambda _: started[0].kill(), nothing)


def test_an_interrupt_leaves_no_process_behind(started: list[subprocess.Popen[str]]) -> None:
    begun: list[str] = []

    def interrupt(name: str) -> None:
        begun.append(name)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        compile_apart(["scheduled", "least_squares", "simulation"], 2, interrupt, nothing)
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2
    assert sorted(begun) == ["least_squares", "scheduled"]


def test_a_process_ends_with_who_has_started_it(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", compiling.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdin
        started = time.monotonic()
        process.stdin.write(b"least_squares\n")
        process.stdin.close()
        assert process.wait() == 1
        assert time.monotonic() - started < 15.0
