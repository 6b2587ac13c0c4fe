"""Panels over HTTP are what they are on the command line: their columns, pages of cells, times."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import pricer
from panels import HORIZONS, panel_of
from pricer.cli import cli
from pricer.merton import MEASURES
from pricer.run import as_store, open_run
from pricer.web import described
from pricer.web.app import app
from pricer.web.described import axes_of
from pricer.web.schemas import PanelColumns, Status, Timeline
from served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

# The second firm has too few days for a window.
LENGTHS = [50, 8, 64, 100]
CELLS = 2 * (4 + 1 + 5 + 9)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'runs.db'}"
    pricer.submit(panel_of(LENGTHS, 20, 10), url, workers=1)
    return url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with served(app(as_store(url))) as found:
        yield found


@pytest.fixture(scope="module")
def run(url: str) -> pricer.Run:
    return open_run("latest", url)


def said(*arguments: object) -> str:
    """Return what the command line answers, or the line that it refuses with."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return result.stdout or result.stderr.removeprefix("Error: ").strip()


def test_columns_of_a_panel_are_firm_date_and_horizon(
    client: httpx.Client, run: pricer.Run
) -> None:
    found = client.get("/api/runs/latest/axes").json()
    firms, dates, horizons = (run.query()[name] for name in ("firm", "date", "horizon"))
    days = sorted(set(dates.tolist()))
    assert found == {
        "run": run.id,
        "name": "small",
        "cells": CELLS,
        "kind": "panel",
        "measures": list(MEASURES),
        "columns": [
            {"name": "firm", "kind": "text", "distinct": 4, "values": sorted(set(firms))},
            {"name": "date", "kind": "text", "distinct": len(days), "values": days}
            | {"min": days[0], "max": days[-1]},
            {"name": "horizon", "kind": "number", "min": 1.0, "max": 2.5, "values": [1.0, 2.5]},
        ],
        "window": 20,
        "step": 10,
    }
    assert sorted(set(horizons)) == list(HORIZONS)
    PanelColumns.model_validate(found)


def test_of_many_firms_the_first_are_named_and_all_are_counted(
    run: pricer.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(described, "MOST_TEXTS", 2)
    monkeypatch.setattr(described, "MOST_FIRMS", 2)
    firm, date, _ = axes_of(run)["columns"]
    assert (firm["distinct"], firm["values"]) == (4, ["F00", "F01"])
    assert (len(date["values"]), date["max"]) == (2, max(run.query()["date"]))


@pytest.mark.parametrize("limit", [1, 7, CELLS - 1, CELLS])
def test_pages_cover_every_cell_once(client: httpx.Client, run: pricer.Run, limit: int) -> None:
    pages: list[dict[str, Any]] = []
    following: str | None = f"/api/runs/latest/cells?limit={limit}"
    while following:
        pages.append(client.get(following).json())
        following = pages[-1]["next"]
    assert {page["total"] for page in pages} == {CELLS}
    assert [page["rows"] for page in pages[:-1]] == [limit] * (len(pages) - 1)
    whole = run.query()
    assert list(pages[0]["columns"]) == list(whole)
    for name in ("firm", "date", "horizon"):
        assert [v for page in pages for v in page["columns"][name]] == whole[name].tolist()
    values = [v for page in pages for v in page["columns"]["distance_to_default"]]
    # What is not there is null.
    there = np.array([np.nan if v is None else v for v in values])
    np.testing.assert_array_equal(there, whole["distance_to_default"])
    assert np.isfinite(there).sum() == CELLS - 2


def test_cells_are_asked_for_by_firm_date_and_horizon(
    client: httpx.Client, run: pricer.Run
) -> None:
    day = run.query({"firm": "F02"})["date"][2]
    asked = {"firm": "F02,F03", "date": f"{day}:", "horizon": "2.5", "measures": "asset_vol"}
    answer = client.get("/api/runs/latest/cells", params=asked | {"limit": "3", "offset": "2"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    selection = {name: asked[name] for name in ("firm", "date", "horizon")}
    expected = run.query(selection, measures=("asset_vol",))
    assert found["total"] == run.count(selection) == len(expected["firm"])
    for name in ("firm", "date", "horizon", "asset_vol"):
        assert found["columns"][name] == expected[name][2:5].tolist()
    beyond = client.get(f"/api/runs/latest/cells?firm=F02&offset={2**62}").json()
    assert (beyond["rows"], beyond["total"], beyond["next"]) == (0, 10, None)


def test_csv_of_a_panel_is_that_of_the_command_line(client: httpx.Client, url: str) -> None:
    answer = client.get("/api/runs/latest/cells?firm=F00,F01&format=csv")
    assert answer.text == said("query", "latest", "firm=F00,F01", "--format", "csv", "--store", url)


@pytest.mark.parametrize("selection", ["firm=F9", "date=2001-01-02", "horizon=2", "strike=100"])
def test_what_is_not_there_is_the_line_of_the_command_line(
    client: httpx.Client, url: str, selection: str
) -> None:
    answer = client.get(f"/api/runs/latest/cells?{selection}")
    assert answer.status_code == 422
    assert answer.json() == {"error": said("query", "latest", selection, "--store", url)}


def test_status_and_timeline_of_a_panel_are_those_of_the_command_line(
    client: httpx.Client, url: str
) -> None:
    found = client.get("/api/runs/latest").json()
    assert found == json.loads(said("status", "latest", "--store", url, "--json"))
    assert found["inversions"] > 0
    Status.model_validate(found)
    times = client.get("/api/runs/latest/timeline").json()
    expected = json.loads(said("timeline", "latest", "--store", url, "--json"))
    assert times | {"output": None} == expected
    assert sum(chunk["cells"] for chunk in times["chunks"]) == CELLS
    Timeline.model_validate(times)
