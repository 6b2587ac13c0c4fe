"""When chunks were priced: what a run's markers say of it, and how that is drawn."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from figures import kept
from pricer.cli import cli
from pricer.compiled import kernel_version
from pricer.errors import NoTimesError, NotPricedError, StoreError
from pricer.executors.local import LocalExecutor
from pricer.grid import Axis, Grid
from pricer.pictures import timeline as drawing
from pricer.pictures.timeline import draw_timeline
from pricer.plan import Plan
from pricer.run import Run, as_store, submit_plan
from pricer.settings import Settings
from pricer.stores import StoredRun
from pricer.stores.memory import MemoryStore
from pricer.timeline import STRAGGLER_RULE, Timeline, timeline

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

GRID = Grid(
    axes=(
        Axis("spot", tuple(np.linspace(80.0, 120.0, 40))),
        Axis("strike", tuple(np.linspace(70.0, 130.0, 50))),
        Axis("vol", tuple(np.linspace(0.1, 0.4, 7))),
    ),
    fixed={"right": "put", "exercise": "european", "expiry": 1.0, "rate": 0.05},
    name="seven vols",
    settings=Settings(measures=("price", "delta")),
)
# The submit of runs that are made up: 2026-11-23 08:00 UTC.
BEGAN = 1_795_420_800.0


def priced(workers: int = 2) -> Run:
    plan = Plan.of(GRID, kernel_version())
    return submit_plan(plan, as_store(), LocalExecutor(workers), chunk_blocks=1)


def usage(start: float, seconds: float, **changed: Any) -> dict[str, Any]:
    """Return what a marker says of a chunk that starts so many seconds after the submit."""
    return {
        "worker": "w-1",
        "attempt": 1,
        "cold": False,
        "queued_at": BEGAN + 0.5,
        "started_at": BEGAN + start,
        "kernel_ms": 900 * seconds,
        "write_ms": 50 * seconds,
        "freed_at": BEGAN + start + seconds,
        "done_at": BEGAN + start + seconds,
    } | changed


def made_up(*usages: dict[str, Any], chunks: int | None = None) -> Run:
    """Return a run whose first chunks are done, as these usages say."""
    count = chunks or len(usages)
    head = StoredRun("ab" * 32, "made up", 10 * count, count, 1, "2026-11-23T08:00:00+00:00")
    store = MemoryStore()
    store.create(head, {})
    for chunk, said in enumerate(usages):
        store.put_marker(head.run_id, chunk, {"cells": 10}, usage=said)
    return Run(store, head)


# --- what is known ---


def test_a_local_run_knows_of_every_chunk_who_priced_it_and_when() -> None:
    run = priced()
    found = timeline(run)
    assert sorted(chunk.chunk for chunk in found.chunks) == list(range(run.head.chunks))
    assert run.head.chunks == 7
    assert sum(chunk.cells for chunk in found.chunks) == run.head.cells
    assert [chunk.started for chunk in found.chunks] == sorted(c.started for c in found.chunks)
    for chunk in found.chunks:
        assert 0 <= chunk.queued <= chunk.started < chunk.freed <= chunk.done
        assert 0 < chunk.kernel_s <= chunk.seconds + 1e-6
        assert chunk.write_s > 0
        assert chunk.attempt == 1
    assert found.workers <= 2
    assert sum(chunk.cold for chunk in found.chunks) == found.workers
    assert found.started_at == run.head.submitted_at
    assert (found.without_times, found.not_done) == (0, 0)


def test_no_more_workers_are_at_work_than_there_are_and_their_time_is_that_of_the_chunks() -> None:
    found = timeline(priced())
    steps = found.concurrency()
    times, going = np.array(steps).T
    assert steps[0] == (0.0, 0)
    assert going[-1] == 0
    assert 1 <= going.max() <= 2
    assert np.all(np.diff(times) > 0)
    worked = np.sum(going[:-1] * np.diff(times))
    assert worked == pytest.approx(sum(chunk.seconds for chunk in found.chunks))


def test_values_and_ids_do_not_depend_on_what_is_kept_of_times() -> None:
    first, again = priced(1), MemoryStore()
    second = submit_plan(first.plan, again, LocalExecutor(2), chunk_blocks=3)
    assert first.id == second.id
    numbers = range(first.plan.blocks)
    assert dict(first.store.blocks(first.id, numbers)) == dict(again.blocks(first.id, numbers))


def test_times_count_from_the_submit() -> None:
    (chunk,) = timeline(made_up(usage(2.0, 3.0, init_s=0.25, cold=True))).chunks
    assert (chunk.queued, chunk.started, chunk.freed, chunk.done) == (0.5, 2.0, 5.0, 5.0)
    assert (chunk.kernel_s, chunk.write_s, chunk.init_s) == pytest.approx((2.7, 0.15, 0.25))
    assert chunk.cold


def test_a_run_that_is_submitted_again_still_counts_from_its_first_chunk() -> None:
    run = made_up(usage(2.0, 3.0))
    later = StoredRun(**{**_fields(run.head), "submitted_at": "2026-12-01T08:00:00+00:00"})
    run.store.create(later, {})
    found = timeline(Run(run.store, later))
    assert found.started_at == "2026-11-23T08:00:00.500000+00:00"
    assert found.chunks[0].started == 1.5


def _fields(head: StoredRun) -> dict[str, Any]:
    return {name: getattr(head, name) for name in StoredRun.__dataclass_fields__}


def test_a_straggler_keeps_its_worker_half_as_long_again_as_the_median() -> None:
    run = made_up(*(usage(n, seconds) for n, seconds in enumerate((1.0, 1.1, 0.9, 1.4, 1.7))))
    found = timeline(run)
    assert found.median_s == pytest.approx(1.1)
    assert [chunk.chunk for chunk in found.chunks if chunk.straggler] == [4]
    assert "1.5 times as long as the median of 5 chunks" in STRAGGLER_RULE
    few = timeline(made_up(usage(0, 1.0), usage(1, 1.0), usage(2, 9.0)))
    assert not any(chunk.straggler for chunk in few.chunks)


def test_the_pause_before_a_later_submit_is_cut_out() -> None:
    day = 86_400.0
    later = {"queued_at": BEGAN + day}
    run = made_up(usage(1.0, 2.0), usage(3.0, 2.0), usage(day + 0.5, 2.0, **later))
    found = timeline(run)
    assert found.seconds == day + 2.5
    whole, pauses = found.without_pauses()
    assert pauses == ((5.0, day - 5.0),)
    assert [chunk.started for chunk in whole.chunks] == [1.0, 3.0, 5.5]
    assert whole.seconds == 7.5
    assert [chunk.seconds for chunk in whole.chunks] == [chunk.seconds for chunk in found.chunks]


def test_what_is_not_done_and_what_an_earlier_version_priced_is_counted() -> None:
    found = timeline(made_up(usage(1.0, 2.0), {}, {"request": "r-1", "handler_ms": 7}, chunks=5))
    assert (len(found.chunks), found.without_times, found.not_done) == (1, 2, 2)


@pytest.mark.parametrize(
    ("usages", "kind", "why"),
    [
        ((), NotPricedError, "no chunk is done"),
        (({}, {}), NoTimesError, "an earlier version priced it, which kept no times"),
    ],
)
def test_a_run_without_times_says_so(
    usages: tuple[dict[str, Any], ...], kind: type[StoreError], why: str
) -> None:
    with pytest.raises(kind, match=f"run abababababab: has no timeline, {why}"):
        timeline(made_up(*usages, chunks=2))


def test_as_json_it_is_what_json_can_hold() -> None:
    found = timeline(priced())
    document = json.loads(json.dumps(found.to_json()))
    assert document["seconds"] == found.seconds
    assert document["chunks"][0]["kernel_s"] == found.chunks[0].kernel_s
    assert document["at_once"] == max(step["workers"] for step in document["concurrency"])
    assert document["stragglers"] == sum(chunk["straggler"] for chunk in document["chunks"])


# --- what is drawn ---


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    pytest.importorskip("matplotlib")
    return kept(drawing, monkeypatch)


@pytest.fixture
def busy() -> Timeline:
    """Return the timeline of six chunks by two workers, one of which is a straggler."""
    rows = ((1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 1.0), (3.0, 1.0), (3.0, 4.0))
    first = {"cold": True, "init_s": 0.25}
    usages = [
        usage(*row, worker=f"w-{n % 2}", **(first if n < 2 else {})) for n, row in enumerate(rows)
    ]
    return timeline(made_up(*usages))


def bars(axes: Any) -> dict[str, list[Any]]:
    """Return what is drawn as bars: row, start and end by what it is."""
    found = {}
    for drawn in axes.collections:
        corners = [path.vertices for path in drawn.get_paths()]
        if len(corners) and len(corners[0]) == 5:
            found[drawn.get_label()] = [(c[0][1], c[0][0], c[1][0]) for c in corners]
    return found


def test_every_chunk_is_a_row_of_bars_for_what_became_of_it(
    busy: Timeline, figures: list[Any], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    draw_timeline(busy, tmp_path / "a.svg")
    above, below = figures[0].axes
    drawn = bars(below)
    assert drawn["queued"] == [
        (0, 0.5, 0.75), (1, 0.5, 0.75), (2, 0.5, 2), (3, 0.5, 2), (4, 0.5, 3), (5, 0.5, 3),
    ]  # fmt: skip
    assert drawn["init"] == [(0, 0.75, 1), (1, 0.75, 1)]
    assert [row for row, *_ in drawn["kernel"]] == [0, 1, 2, 3, 4]
    assert drawn["kernel, straggler"] == [pytest.approx((5, 3.0, 6.6))]
    assert [end for *_, end in drawn["write"]] == [2, 2, 3, 3, 4, 7]
    ((filled,),) = (collection.get_paths() for collection in above.collections)
    assert filled.vertices[:, 1].max() == 2
    assert "made up: 6 chunks in 7.0 s" in figures[0].get_suptitle()


def test_a_page_shows_what_is_known_of_a_chunk(
    busy: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Any] = []
    monkeypatch.setattr(drawing, "write_page", lambda *given: pages.append(given))
    draw_timeline(busy, tmp_path / "a.html")
    ((_, title, traces, _),) = pages
    assert title == "made up: 6 chunks in 7.0 s"
    (late,) = (trace for trace in traces if trace["name"] == "kernel, straggler")
    assert (late["base"], late["y"]) == ([3.0], [5.5])
    assert late["x"] == pytest.approx([3.6])
    for words in ("chunk 5, 10 cells", "worker w-1, attempt 1", "started 3.000 s", "straggler"):
        assert words in late["text"][0]


def test_a_long_run_is_drawn_in_minutes_and_its_pauses_are_named(
    figures: list[Any], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    later = {"queued_at": BEGAN + 90_000.0}
    run = made_up(usage(0.0, 600.0), usage(90_060.0, 600.0, **later))
    draw_timeline(timeline(run), tmp_path / "a.svg")
    above, below = figures[0].axes
    assert below.get_xlabel() == "minutes since the submit began"
    (note,) = above.texts
    assert note.get_text() == "submitted again\n24 h 50 min later"
    assert note.xy[0] == pytest.approx(10.0)


def test_the_same_timeline_is_the_same_bytes(busy: Timeline, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        draw_timeline(busy, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert len(drawn) < 100_000
    assert not re.search(rb"<dc:date>", drawn)


def test_ten_thousand_chunks_are_an_image_in_the_svg(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    many = made_up(*(usage(1 + n / 100, 1.0) for n in range(10_000)))
    draw_timeline(timeline(many), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size < 400_000


# --- the command ---


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_command_shows_what_chunks_took_and_draws_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    priced()
    target = tmp_path / "timeline.svg"
    shown = run_command("timeline", "latest", "--output", target)
    assert shown.exit_code == 0, shown.output
    for words in ("seven vols", "chunks", "at once by", "a chunk", "kernel", "cold starts"):
        assert words in shown.stdout
    assert f"drawn in {target}" in shown.stdout
    assert target.read_bytes().startswith(b"<?xml")
    document = json.loads(run_command("timeline", "latest", "--json").stdout)
    assert document["output"] is None
    assert len(document["chunks"]) == 7


def test_what_an_earlier_version_priced_is_one_line(tmp_path: Path) -> None:
    run = priced()
    with run.store._writing() as connection:  # type: ignore[attr-defined]
        connection.execute("UPDATE markers SET summary = json_remove(summary, '$.usage')")
    shown = run_command("timeline", "latest")
    assert shown.exit_code == 1
    assert shown.stderr == (
        f"Error: run {run.id[:12]}: has no timeline, an earlier version priced it, which kept no"
        " times\n"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.jpeg", "must end in .png, .svg, .pdf or .html"),
        ("nowhere/a.svg", "cannot be written: no folder"),
    ],
)
def test_a_file_that_cannot_be_drawn_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    pytest.importorskip("matplotlib")
    priced()
    shown = run_command("timeline", "latest", "--output", tmp_path / name)
    assert shown.exit_code == 1
    assert message in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
