"""Every request in docs/http.md is answered, as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pricer
from pricer.run import as_store
from pricer.web.app import app
from served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
PLACE = "localhost:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines()]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'runs.db'}"
    example = (ROOT / "examples" / "one_surface.toml").read_text(encoding="utf-8")
    pricer.submit(pricer.Grid.parse(example), url)
    with served(app(as_store(url))) as found:
        yield found


@pytest.mark.parametrize("command", COMMANDS)
def test_request_is_answered(client: httpx.Client, command: str) -> None:
    name, *words = shlex.split(command)
    assert name == "curl"
    headers, body = {}, None
    while words:
        match words.pop(0):
            case "-H":
                field, _, value = words.pop(0).partition(": ")
                headers[field] = value
            case "--json":
                body = json.loads(words.pop(0))
            case "-o":
                words.pop(0)
            case url:
                where = url.removeprefix(PLACE)
    method = "GET" if body is None else "POST"
    answer = client.request(method, where, headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"] == "application/json":
        assert answer.json().get("status", "ok") == "ok"


def test_program_reads_all_pages(client: httpx.Client) -> None:
    (program,) = blocks("python")
    here = program.replace(f"http://{PLACE}", str(client.base_url))
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, check=True)
    count, largest = done.stdout.split()
    assert int(count) == 101
    assert float(largest) == pytest.approx(50.0)


def test_every_route_and_parameter_is_named(client: httpx.Client) -> None:
    for path, methods in client.get("/api/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            assert f"| `{method.upper()} {path.replace('{run}', 'RUN')}` |" in TEXT
            for parameter in operation.get("parameters", []):
                if parameter["name"] not in ("run", "selection"):
                    assert f"`{parameter['name']}`" in TEXT
            for code in operation["responses"]:
                assert code in TEXT
