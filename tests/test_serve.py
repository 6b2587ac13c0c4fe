"""The command that serves: what it prints, whom it answers, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner

import pricer
from pricer import cli_web
from pricer.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOK = "right,spot,strike,expiry,vol,rate\nP,100,100,1,0.25,0.05\n"
PROGRAM = [sys.executable, "-c", "from pricer.cli import main; main()"]
OPTION = {"right": "put", "spot": 100, "strike": 100, "expiry": 1, "vol": 0.25, "rate": 0.05}


@pytest.fixture
def serving() -> Iterator[subprocess.Popen[str]]:
    pricer.submit(pricer.Book.parse(BOOK))
    command = [*PROGRAM, "serve", "--port", "0", "--no-open", "--json"]
    # In a group of its own, so that ^C can be sent to all of it, as a terminal does.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_it_answers_on_this_machine_until_it_is_interrupted(
    serving: subprocess.Popen[str],
) -> None:
    assert serving.stdout
    document = json.loads("".join(serving.stdout.readline() for _ in range(4)))
    assert document["store"] == os.environ["PRICER_STORE"]
    with httpx.Client(base_url=document["url"], timeout=60) as client:
        assert client.get("/api/runs").json()["runs"][0]["name"] == "book.csv"
        assert client.get("/api/runs", headers={"Host": "evil.example"}).status_code == 421
        # What prices is a process too, and goes as well.
        assert client.post("/api/price", json=OPTION).json()["status"] == "ok"
    os.killpg(serving.pid, signal.SIGINT)
    out, err = serving.communicate(timeout=30)
    assert (serving.returncode, out, err) == (0, "", "")
    with pytest.raises(ProcessLookupError):
        os.killpg(serving.pid, 0)


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["serve", "--no-open", *arguments])
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


def test_port_that_is_taken_is_a_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = f"port {port}: cannot be used: Address already in use; choose another by --port"
        assert refused("--port", str(port)) == f"Error: {line}\n"


def test_store_that_cannot_be_read_is_said_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("not a store" * 1_000)
    said = refused("--store", f"sqlite:///{tmp_path / 'other.db'}")
    assert said == f"Error: {tmp_path / 'other.db'}: is not a pricer store\n"


def test_without_its_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_web, "find_spec", lambda name: name != "plotly")
    assert refused() == "Error: serve needs plotly: pip install fastapi plotly uvicorn\n"


@pytest.mark.parametrize(
    ("display", "options", "opened"),
    [(":0", [], True), (":0", ["--no-open"], False), ("", [], sys.platform != "linux")],
)
def test_page_is_opened_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch, display: str, options: list[str], *, opened: bool
) -> None:
    urls: list[Any] = []

    class Server:
        def __init__(self, config: object) -> None:
            self.config = config

        def run(self, sockets: list[socket.socket]) -> None:
            assert sockets[0].getsockname()[0] == "127.0.0.1"
            raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server", Server)
    monkeypatch.setattr("webbrowser.open", urls.append)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = CliRunner().invoke(cli, ["serve", "--port", "0", *options])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("/ until ^C")
    assert urls == [result.stdout.split()[0]] * opened


def test_the_command_line_starts_without_what_serves() -> None:
    program = "import sys, pricer.cli; print({'fastapi', 'uvicorn', 'plotly'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
