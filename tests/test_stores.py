"""One suite that every store passes, then what is SQLite's own."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from cloud.tables import new_bucket, new_table
from pricer.errors import RunNotFoundError, StoreError
from pricer.stores import Store, StoredRun, find_run, open_store
from pricer.stores.memory import MemoryStore
from pricer.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = StoredRun(
    run_id="ab" * 32,
    name="index options",
    cells=10_000_000_000,
    blocks=9,
    chunk_blocks=4,
    submitted_at="2026-11-20T08:00:00+00:00",
)
OTHER = replace(RUN, run_id="ac" * 32, submitted_at="2026-11-21T08:00:00+00:00")
FILES = {"plan": b'{"kind": "grid"}', "spot": bytes(range(256)), "empty": b""}


@pytest.fixture(params=["sqlite", "memory", "dynamodb", "dynamodb and s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    match request.param:
        case "sqlite":
            yield SqliteStore(tmp_path / "runs.db", timeout_s=0.1)
        case "memory":
            yield MemoryStore()
        case "dynamodb":
            endpoint = request.getfixturevalue("aws")
            with new_table() as table:
                yield open_store(f"dynamodb://{table}?region=us-east-1&endpoint={endpoint}")
        case _:
            request.getfixturevalue("aws")
            with new_table() as table, new_bucket() as bucket:
                yield open_store(f"dynamodb://{table}?bucket={bucket}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a store in a file that holds one run of one block."""
    path = tmp_path / "runs.db"
    store = SqliteStore(path)
    store.create(RUN, FILES)
    store.put_blocks(RUN.run_id, [(0, b"block")])
    return path


# --- what every store promises ---


def test_a_run_comes_back_as_it_was_created(store: Store) -> None:
    assert store.create(RUN, FILES) == RUN
    assert store.run(RUN.run_id) == RUN
    assert store.files(RUN.run_id) == FILES
    name = next(iter(FILES))
    assert store.files(RUN.run_id, name, "none") == {name: FILES[name]}


def test_a_run_of_nine_blocks_in_chunks_of_four_has_three_chunks() -> None:
    assert RUN.chunks == 3


def test_the_first_to_create_a_run_decides_it_and_later_ones_only_renew_its_time(
    store: Store,
) -> None:
    store.create(RUN, FILES)
    later = replace(RUN, name="again", chunk_blocks=1, submitted_at="2026-11-22T08:00:00+00:00")
    expected = replace(RUN, submitted_at=later.submitted_at)
    assert store.create(later, {"plan": b"another"}) == expected
    assert store.run(RUN.run_id) == expected
    assert store.files(RUN.run_id) == FILES


def test_runs_are_listed_with_the_latest_submit_first(store: Store) -> None:
    assert store.runs() == []
    store.create(OTHER, FILES)
    store.create(RUN, FILES)
    assert store.runs() == [OTHER, RUN]
    renewed = store.create(replace(RUN, submitted_at="2026-11-23T08:00:00+00:00"), FILES)
    assert store.runs() == [renewed, OTHER]


def test_blocks_come_in_the_order_asked_and_those_not_stored_are_left_out(store: Store) -> None:
    store.create(RUN, FILES)
    store.put_blocks(RUN.run_id, [(n, bytes([n]) * 300_000) for n in (0, 1, 2, 7)])
    found = list(store.blocks(RUN.run_id, [7, 3, 0]))
    assert found == [(7, b"\x07" * 300_000), (0, b"\x00" * 300_000)]


def test_more_blocks_than_one_read_takes_all_come_back(store: Store) -> None:
    store.create(RUN, FILES)
    blocks = [(n, str(n).encode()) for n in range(500)]
    store.put_blocks(RUN.run_id, blocks)
    assert list(store.blocks(RUN.run_id, range(500))) == blocks


def test_a_block_written_twice_is_one_block(store: Store) -> None:
    store.create(RUN, FILES)
    store.put_blocks(RUN.run_id, [(5, b"once"), (6, b"six")])
    store.put_blocks(RUN.run_id, [(5, b"once")])
    assert list(store.blocks(RUN.run_id, range(9))) == [(5, b"once"), (6, b"six")]


def test_markers_come_in_chunk_order_with_every_bit_of_their_numbers(store: Store) -> None:
    store.create(RUN, FILES)
    summary = {"cells": 2**40, "measures": {"price": {"sum": 0.1 + 0.2, "max": 1.7e308}}}
    store.put_marker(RUN.run_id, 11, {"cells": 1})
    store.put_marker(RUN.run_id, 2, summary)
    store.put_marker(RUN.run_id, 2, summary)
    markers = store.markers(RUN.run_id)
    assert list(markers) == [2, 11]
    assert markers[2] == summary


def test_what_pricing_took_is_kept_beside_what_it_came_to(store: Store) -> None:
    store.create(RUN, FILES)
    usage = {"worker": "w-1", "cold": True, "started_at": 1795420800.123, "kernel_ms": 12.5}
    store.put_marker(RUN.run_id, 11, {"cells": 1}, usage=usage)
    store.put_marker(RUN.run_id, 2, {"cells": 2})
    assert store.usages(RUN.run_id) == {2: {}, 11: usage}
    assert list(store.usages(RUN.run_id)) == [2, 11]
    assert store.markers(RUN.run_id) == {2: {"cells": 2}, 11: {"cells": 1}}


def test_runs_do_not_see_each_others_blocks_and_markers(store: Store) -> None:
    for run in (RUN, OTHER):
        store.create(run, FILES)
    store.put_blocks(RUN.run_id, [(0, b"mine")])
    store.put_marker(RUN.run_id, 0, {})
    assert list(store.blocks(OTHER.run_id, [0])) == []
    assert store.markers(OTHER.run_id) == {}


def test_deleting_a_run_leaves_the_others(store: Store) -> None:
    for run in (RUN, OTHER):
        store.create(run, FILES)
        store.put_blocks(run.run_id, [(0, run.run_id.encode())])
    store.delete(RUN.run_id)
    assert store.runs() == [OTHER]
    assert list(store.blocks(OTHER.run_id, [0])) == [(0, OTHER.run_id.encode())]


def test_a_run_created_again_after_its_delete_starts_empty(store: Store) -> None:
    store.create(RUN, FILES)
    store.put_blocks(RUN.run_id, [(0, b"old")])
    store.put_marker(RUN.run_id, 0, {})
    store.delete(RUN.run_id)
    store.create(RUN, {"plan": b"new"})
    assert store.files(RUN.run_id) == {"plan": b"new"}
    assert list(store.blocks(RUN.run_id, [0])) == []
    assert store.markers(RUN.run_id) == {}


def test_a_run_that_is_not_there_is_named_by_whatever_asks_for_it(store: Store) -> None:
    missing = RUN.run_id
    for ask in (
        lambda: store.run(missing),
        lambda: store.files(missing),
        lambda: store.markers(missing),
        lambda: store.usages(missing),
        lambda: list(store.blocks(missing, [0])),
        lambda: store.put_blocks(missing, [(0, b"")]),
        lambda: store.put_marker(missing, 0, {}),
        lambda: store.delete(missing),
    ):
        with pytest.raises(RunNotFoundError, match=r"run abababababab: is not in "):
            ask()


def test_a_run_has_one_owner_at_a_time(store: Store) -> None:
    store.create(RUN, FILES)
    assert not store.running(RUN.run_id)
    with store.lock(RUN.run_id) as first:
        assert first
        assert store.running(RUN.run_id)
        assert not store.running(OTHER.run_id)
        with store.lock(RUN.run_id) as second:
            assert not second
        assert store.running(RUN.run_id)
        with store.lock(OTHER.run_id) as other:
            assert other
    assert not store.running(RUN.run_id)
    with store.lock(RUN.run_id) as again:
        assert again


def test_the_owner_lets_go_when_it_fails(store: Store) -> None:
    store.create(RUN, FILES)
    with pytest.raises(ZeroDivisionError), store.lock(RUN.run_id):
        _ = 1 / 0
    with store.lock(RUN.run_id) as owned:
        assert owned


def test_threads_share_a_store(store: Store) -> None:
    store.create(RUN, FILES)

    def write(thread: int) -> None:
        for i in range(20):
            store.put_blocks(RUN.run_id, [(20 * thread + i, bytes([thread]))])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(store.blocks(RUN.run_id, range(80)))
    assert found == [(n, bytes([n // 20])) for n in range(80)]


def test_a_run_is_found_by_its_id_a_unique_start_of_it_or_as_latest(store: Store) -> None:
    for run in (RUN, OTHER):
        store.create(run, FILES)
    assert find_run(store, RUN.run_id) == RUN
    assert find_run(store, "aba") == RUN
    assert find_run(store, "AC") == OTHER
    assert find_run(store, "latest") == OTHER


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a", "run 'a': could be acacacacacac, abababababab; give more of it"),
        ("beef", "run 'beef': is not in "),
        ("", "run '': is not in "),
    ],
)
def test_a_name_that_means_no_run_or_several_is_refused(
    store: Store, name: str, message: str
) -> None:
    for run in (RUN, OTHER):
        store.create(run, FILES)
    with pytest.raises(RunNotFoundError, match=re.escape(message)):
        find_run(store, name)


def test_there_is_no_latest_run_in_an_empty_store(store: Store) -> None:
    with pytest.raises(RunNotFoundError, match="run 'latest': there is no run in "):
        find_run(store, "latest")


# --- opening by URL ---


def test_a_url_opens_the_store_that_gave_it(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    assert store.url == f"sqlite:///{path}"
    assert open_store(store.url).runs() == [RUN]


def test_three_slashes_are_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///runs.db").url == f"sqlite:///{tmp_path}/runs.db"


def test_the_memory_store_opens_by_url() -> None:
    assert open_store("memory:").url == "memory:"


@pytest.mark.parametrize("url", ["", "sqlite:///", "sqlite:runs.db", "http://host/runs", "a/"])
def test_a_url_of_no_store_is_refused(url: str) -> None:
    message = "store: must be sqlite:///path, dynamodb://table or memory:, got "
    with pytest.raises(StoreError, match=re.escape(message)):
        open_store(url)


def test_a_bare_path_is_answered_with_its_url() -> None:
    with pytest.raises(StoreError, match=r"did you mean sqlite:///runs.db\?"):
        open_store("runs.db")


# --- what is SQLite's own ---


def test_reading_where_there_is_no_store_finds_nothing_and_creates_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    assert store.runs() == []
    assert not store.running(RUN.run_id)
    with pytest.raises(RunNotFoundError):
        store.run(RUN.run_id)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_and_a_relative_path_hints_at_slashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"there is no folder .*/data; an absolute path has four"):
        open_store("sqlite:///data/runs.db").create(RUN, FILES)
    with pytest.raises(StoreError, match=r"there is no folder .*/data; make it first$"):
        open_store(f"sqlite:///{tmp_path}/data/runs.db").create(RUN, FILES)
    with pytest.raises(StoreError, match=r"there is no folder .*/data; an absolute path has four"):
        open_store("sqlite:///data/runs.db").runs()
    assert open_store("sqlite:///data/runs.db", new=True).runs() == []


def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder, not a store"):
        SqliteStore(tmp_path).runs()


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"these are not the bytes of a database" * 100)
    before = path.read_bytes()
    for ask in (SqliteStore(path).runs, lambda: SqliteStore(path).create(RUN, FILES)):
        with pytest.raises(StoreError, match=r"notes\.db: is not a pricer store"):
            ask()
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE runs (run_id TEXT)")
    before = path.read_bytes()
    for ask in (SqliteStore(path).runs, lambda: SqliteStore(path).create(RUN, FILES)):
        with pytest.raises(StoreError, match="is an SQLite file of something else"):
            ask()
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    assert SqliteStore(path).runs() == []
    SqliteStore(path).create(RUN, FILES)
    assert SqliteStore(path).runs() == [RUN]


def test_a_store_from_a_newer_version_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="is of version 2, from a newer pricer; this one knows"):
        SqliteStore(path).runs()


def test_markers_of_a_version_that_kept_no_usage_have_none(path: Path) -> None:
    store = SqliteStore(path)
    with store._writing() as connection:
        connection.execute("INSERT INTO markers VALUES (1, 0, ?)", ('{"cells": 5}',))
    assert store.markers(RUN.run_id) == {0: {"cells": 5}}
    assert store.usages(RUN.run_id) == {0: {}}


def test_a_disk_that_is_gone_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    store.create(RUN, FILES)

    def stat(_: Path) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(StoreError, match=r"runs\.db: cannot be opened: Stale file handle"):
        store.runs()


def test_a_damaged_store_says_so(path: Path) -> None:
    SqliteStore(path).put_blocks(RUN.run_id, [(n, os.urandom(60_000)) for n in range(20)])
    with path.open("r+b") as file:
        file.seek(16_384)
        file.write(b"\xff" * (path.stat().st_size - 16_384))
    with pytest.raises(StoreError, match="is damaged"):
        list(SqliteStore(path).blocks(RUN.run_id, range(20)))


def test_a_locked_store_can_be_read_and_says_why_it_cannot_be_written(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store = SqliteStore(path, timeout_s=0.05)
        assert store.runs() == [RUN]
        with pytest.raises(StoreError, match=r"is locked by another process; waited 0\.05 s"):
            store.put_blocks(RUN.run_id, [(1, b"")])
        other.execute("ROLLBACK")
        store.put_blocks(RUN.run_id, [(1, b"")])
    assert list(store.blocks(RUN.run_id, [1])) == [(1, b"")]


def test_a_full_disk_says_so_and_keeps_what_was_stored(path: Path) -> None:
    store = SqliteStore(path)
    with store._writing() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 8}")
    store.put_blocks(RUN.run_id, [(1, b"fits")])
    with pytest.raises(StoreError, match="the disk is full; make room and submit again"):
        store.put_blocks(RUN.run_id, [(n, os.urandom(65_000)) for n in range(2, 6)])
    assert list(store.blocks(RUN.run_id, range(6))) == [(0, b"block"), (1, b"fits")]
    assert list(SqliteStore(path).blocks(RUN.run_id, range(6))) == [(0, b"block"), (1, b"fits")]


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may write anything: be somebody else for the length of a test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared(path: Path) -> Iterator[Path]:
    """Copy the store to a folder that any user may enter; tmp_path is for its owner alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(shutil.copy(path, folder))


def test_a_read_only_file_can_be_read_and_not_written(
    shared: Path, request: pytest.FixtureRequest
) -> None:
    shared.chmod(0o444)
    shared.parent.chmod(0o777)
    request.getfixturevalue("unprivileged")
    store = SqliteStore(shared)
    assert store.runs() == [RUN]
    with pytest.raises(StoreError, match=r"runs\.db: is read-only"):
        store.put_blocks(RUN.run_id, [(1, b"")])


def test_a_store_in_a_read_only_folder_can_be_read_and_not_written(
    shared: Path, request: pytest.FixtureRequest
) -> None:
    shared.parent.chmod(0o555)
    request.getfixturevalue("unprivileged")
    store = SqliteStore(shared)
    assert list(store.blocks(RUN.run_id, [0])) == [(0, b"block")]
    assert not store.running(RUN.run_id)
    with pytest.raises(StoreError, match=r"runs\.db: is read-only"):
        store.put_blocks(RUN.run_id, [(1, b"")])
    with (
        pytest.raises(StoreError, match=r"runs\.db: is in a read-only folder"),
        store.lock(RUN.run_id),
    ):
        pass
    with pytest.raises(StoreError, match=r"new\.db: cannot be created: the folder is read-only"):
        SqliteStore(shared.parent / "new.db").create(RUN, FILES)


def test_delete_gives_the_space_back(path: Path) -> None:
    store = SqliteStore(path)
    store.create(OTHER, FILES)
    store.put_blocks(OTHER.run_id, [(n, os.urandom(65_000)) for n in range(100)])
    store.delete(OTHER.run_id)
    assert path.stat().st_size < 500_000
    assert list(store.blocks(RUN.run_id, [0])) == [(0, b"block")]


def test_an_owned_run_leaves_no_file_behind_when_let_go(path: Path) -> None:
    store = SqliteStore(path)
    with store.lock(RUN.run_id):
        pass
    assert not list(path.parent.glob("*.lock"))


OWN_AND_WAIT = """
import sys
from pathlib import Path
from pricer.stores.sqlite import SqliteStore
with SqliteStore(Path(sys.argv[1])).lock(sys.argv[2]) as owned:
    print(owned, flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_owns_nothing(path: Path) -> None:
    store = SqliteStore(path)
    with subprocess.Popen(
        [sys.executable, "-c", OWN_AND_WAIT, path, RUN.run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert store.running(RUN.run_id)
        with store.lock(RUN.run_id) as owned:
            assert not owned
        process.kill()
    assert not store.running(RUN.run_id)
    with store.lock(RUN.run_id) as owned:
        assert owned


CREATE = """
import sys
from dataclasses import replace
from pathlib import Path
from pricer.stores import StoredRun
from pricer.stores.sqlite import SqliteStore
run = StoredRun(sys.argv[2] * 64, "", 1, 1, 1, "")
sys.stdin.read()
SqliteStore(Path(sys.argv[1])).create(run, {})
"""


def test_processes_that_create_the_same_store_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    processes = [
        subprocess.Popen([sys.executable, "-c", CREATE, path, digit], stdin=subprocess.PIPE)
        for digit in "1234"
    ]
    for process in processes:
        process.communicate(b"")
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert {run.run_id[0] for run in SqliteStore(path).runs()} == set("1234")
