"""Options priced in a process of their own, which is ended where one takes too long.

A kernel cannot be interrupted, a process can. The two exchange lines of JSON; the first line that
the process writes says that its kernels are ready.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Lock, Semaphore, Thread
from typing import Any

from pricer.errors import SpecError

from .errors import BusyError, TooLargeError
from .request import parse

# What is priced before anything is asked: the first option waits for most of what is imported.
FIRST = {
    "right": "put",
    "exercise": "american",
    "spot": 1.0,
    "strike": 1.0,
    "expiry": 1.0,
    "vol": 0.2,
    "rate": 0.05,
}
TIMEOUT_S = 20.0
MOST_WAITING = 8


class Apart:
    """Prices options, one at a time, in a process that is started when the first one comes.

    An option has `timeout_s`, once it is its turn, for which it waits as long at most.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self._turn = Lock()
        self._places = Semaphore(MOST_WAITING)
        self._process: _Process | None = None

    def price(self, body: bytes) -> dict[str, Any]:
        """Return the document of the option that a JSON object asks for.

        Raises
        ------
        SpecError
            Where it cannot be meant.
        TooLargeError
            Where it takes, or would take, too long.
        BusyError
            Where others are priced, or kernels are being compiled.
        """
        parse(body)  # Here too: what cannot be meant waits for nobody.
        if not self._places.acquire(blocking=False):
            raise BusyError(f"price: {MOST_WAITING} options are waiting already; try again")
        try:
            if not self._turn.acquire(timeout=self.timeout_s):
                raise BusyError("price: others are being priced; try again")
            try:
                return self._priced(body)
            finally:
                self._turn.release()
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.end()

    def _priced(self, body: bytes) -> dict[str, Any]:
        process = self._process = self._process or _Process.start()
        if not process.ready:
            try:
                process.ready = bool(process.line(self.timeout_s))
            except Empty:
                raise BusyError(
                    "price: kernels are being compiled, once; try again in some minutes"
                ) from None
        try:
            answer = process.ready and process.ask(json.loads(body), self.timeout_s)
        except Empty:
            self.close()
            raise TooLargeError(
                f"price: takes more than {self.timeout_s:g} s; ask for fewer paths or dates, or a"
                " larger tolerance"
            ) from None
        if not answer:
            self.close()
            raise BusyError("price: the process that prices has ended, its log says why; try again")
        document: dict[str, Any] = json.loads(answer)
        if list(document) == ["refused"]:
            raise SpecError(document["refused"])
        return document


@dataclass(eq=False)
class _Process:
    """A process that prices what it is asked, a line each; the empty line is its end."""

    popen: subprocess.Popen[str]
    lines: Queue[str]
    ready: bool = False

    @classmethod
    def start(cls) -> _Process:
        popen = subprocess.Popen(
            # What lies in the folder that this is called in is not to be imported.
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        lines: Queue[str] = Queue()

        def read() -> None:
            assert popen.stdout
            for line in popen.stdout:
                lines.put(line)
            lines.put("")

        Thread(target=read, daemon=True).start()
        return cls(popen, lines)

    def ask(self, document: dict[str, Any], timeout_s: float) -> str:
        """Return the line that answers `document`; raise `Empty` where there is none in time."""
        assert self.popen.stdin
        try:
            self.popen.stdin.write(f"{json.dumps(document)}\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.line(timeout_s)

    def line(self, timeout_s: float) -> str:
        """Return the next line; raise `Empty` where there is none in time."""
        return self.lines.get(timeout=timeout_s)

    def end(self) -> None:
        self.popen.kill()
        # Closes the pipes, once nobody writes or reads any more; one that it no longer reads from
        # may hold what it was asked.
        with suppress(BrokenPipeError), self.popen:
            pass


def main() -> None:
    """Price what standard input asks for, a line each, until it ends."""
    # ^C in a terminal reaches every process; the one that started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from pricer.compiled import MODULES, kernels
    from pricer.documents import finite
    from pricer.oneoption import price_one

    kernels(*MODULES)
    price_one("vanilla", FIRST, 1)
    _say("ready")
    for line in sys.stdin:
        try:
            kind, inputs, settings = parse(line.encode())
            answer = finite(price_one(kind, inputs, 1, **settings))
        except (SpecError, TooLargeError) as error:
            answer = {"refused": " ".join(str(error).split())}
        _say(json.dumps(answer))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
