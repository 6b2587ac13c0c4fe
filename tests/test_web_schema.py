"""Whatever a client may send that the schema describes, or does not: answers are as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pricer
from pricer.compiled import MODULES, kernels
from pricer.contracts import INPUTS
from pricer.run import as_store
from pricer.web.app import app
from pricer.web.request import SETTINGS
from served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

GRID = """
[contract]
type = "vanilla"
right = "put"
[axes]
spot = [90.0, 100.0, 110.0]
strike = 100.0
expiry = [0.5, 1.0]
vol = 0.2
rate = 0.01
"""
BOOK = "id,right,spot,strike,expiry,vol,rate\na1,P,100,100,1,0.25,0.05\n"
# What the schema allows may still be refused: a vanilla has no barrier.
LEFT_OUT = "positive_data_acceptance"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    kernels(*MODULES)
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'runs.db'}"
    pricer.submit(pricer.Book.parse(BOOK), url)
    pricer.submit(pricer.Grid.parse(GRID), url)
    with served(app(as_store(url))) as found:
        yield found


@pytest.fixture(scope="module")
def schema(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/openapi.json").json()
    return found


def test_answers_are_as_the_schema_says_and_none_is_the_servers_fault(
    client: httpx.Client, tmp_path: Path
) -> None:
    tool = Path(sys.executable).with_name("schemathesis")
    options = ["--generation-deterministic", "--max-examples", "12", "--exclude-checks", LEFT_OUT]
    options += ["--phases", "examples,coverage,fuzzing", "--warnings", "off"]
    done = subprocess.run(
        [tool, "run", f"{client.base_url}/api/openapi.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "Tested: 7" in done.stdout


def test_every_route_says_what_it_takes_and_how_it_fails(schema: dict[str, Any]) -> None:
    routes = {
        (method, path): operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert set(routes) == {
        ("get", "/api/health"),
        ("get", "/api/runs"),
        ("get", "/api/runs/{run}"),
        ("get", "/api/runs/{run}/axes"),
        ("get", "/api/runs/{run}/cells"),
        ("get", "/api/runs/{run}/timeline"),
        ("post", "/api/price"),
    }
    for operation in routes.values():
        assert operation["summary"]
        assert operation["description"]
        for parameter in operation.get("parameters", []):
            assert parameter["description"]
        for code, answer in operation["responses"].items():
            assert answer["description"]
            if code not in ("200", "304"):
                (media,) = answer["content"].values()
                assert media["schema"] == {"$ref": "#/components/schemas/Failed"}
    cells = routes["get", "/api/runs/{run}/cells"]
    assert set(map(int, cells["responses"])) == {200, 304, 404, 406, 409, 413, 422, 503}
    assert [parameter["name"] for parameter in cells["parameters"]] == [
        *("run", "selection", "measures", "nearest", "partial", "limit", "offset", "format")
    ]


def test_schema_of_an_option_has_every_input_and_setting(
    client: httpx.Client, schema: dict[str, Any]
) -> None:
    content = schema["paths"]["/api/price"]["post"]["requestBody"]["content"]
    option = content["application/json"]["schema"]
    assert set(option["properties"]) == {"type", *INPUTS, *SETTINGS}
    assert client.post("/api/price", json=option["example"]).json()["status"] == "ok"


def test_examples_of_answers_are_answers(client: httpx.Client, schema: dict[str, Any]) -> None:
    cells = schema["paths"]["/api/runs/{run}/cells"]["get"]["responses"]["200"]["content"]
    assert set(cells) == {
        "application/json",
        "text/csv; charset=utf-8",
        "application/vnd.apache.arrow.stream",
    }
    found = client.get("/api/runs/latest/cells").json()
    assert list(cells["application/json"]["example"]) == list(found)
    assert "http" not in json.dumps(schema["info"])
