"""Kernels compiled by several processes at once: one alone compiles on one core.

Each is handed modules, a line each, and answers with a line when all of one is in numba's cache.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from queue import Queue
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

from .errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DONE = "compiled"


def compile_apart(
    names: Sequence[str],
    processes: int,
    begun: Callable[[str], None],
    done: Callable[[str], None],
) -> None:
    """Compile modules of kernels in this order, by so many processes.

    They write where numba's settings in the environment say. `begun` and `done` are told of each
    module, by several threads.

    Raises
    ------
    KernelError
        Where one cannot be compiled, which ends the others.
    """
    # In the folder that this is called in nothing is to be imported, but what was found by now is.
    found = os.pathsep.join(filter(None, [*sys.path, str(Path(__file__).parents[1])]))
    todo = deque(names)

    def hand_out(process: Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        while True:
            try:
                name = todo.popleft()
            except IndexError:
                return
            begun(name)
            with suppress(BrokenPipeError):
                os.write(process.stdin.fileno(), f"{name}\n".encode())
            answer = process.stdout.readline().strip()
            if answer != DONE:
                why = answer or f"their process ended with {process.wait()}"
                raise KernelError(f"kernels of {name}: cannot be compiled: {why}")
            done(name)

    with ExitStack() as at_end:
        started = [
            at_end.enter_context(
                Popen(
                    [sys.executable, "-P", "-m", __name__],
                    stdin=PIPE,
                    stdout=PIPE,
                    text=True,
                    env=os.environ | {"PYTHONPATH": found},
                )
            )
            for _ in range(processes)
        ]
        threads = at_end.enter_context(ThreadPoolExecutor(processes))
        for process in started:
            at_end.callback(process.kill)
        works = [threads.submit(hand_out, process) for process in started]
        over, _ = wait(works, return_when=FIRST_EXCEPTION)
        for work in over:
            work.result()


def _compile(names: Iterable[str]) -> None:
    """Compile modules as they come and say so of each."""
    from .kernelcache import save_in_turn

    save_in_turn()
    for name in names:
        try:
            import_module(f".kernels.{name}", __package__).warm_up()
        except Exception as error:
            # First, since who hears the answer ends this process.
            traceback.print_exc()
            _say(f"{type(error).__name__}: {' '.join(str(error).split())}")
            return
        _say(DONE)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _main() -> None:
    """Compile what is asked for on stdin; end with who asks, in the middle of it if need be."""
    # Who has started this process is interrupted too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked: Queue[str] = Queue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line.strip())
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    _compile(iter(asked.get, None))


if __name__ == "__main__":
    _main()
