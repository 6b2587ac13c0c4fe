"""Runs in one SQLite file. docs/blocks.md describes its tables for other languages.

The file is in write-ahead mode with synchronous=NORMAL. A killed process loses nothing that was
committed; a power failure can lose the last few commits but never keeps a later one without an
earlier one, so a marker never outlives its blocks: what is lost is priced again.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import weakref
from contextlib import closing, contextmanager, suppress
from itertools import islice
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pricer.errors import StoreError

from . import SQLITE, StoredRun, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

APPLICATION_ID = int.from_bytes(b"pric")
VERSION = 1
# Measured on 590 MB of 64 KB blocks: 4,096 takes 60 % longer to write, 65,536 saves 15 % more but
# makes the smallest store ten times larger.
PAGE_BYTES = 16_384
READ_BLOCKS = 64
# Beside what a marker's summary has.
USAGE = "usage"
COLUMNS = ("run_id", "name", "cells", "blocks", "chunk_blocks", "submitted_at")
HEAD = ", ".join(COLUMNS)

SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    cells INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    chunk_blocks INTEGER NOT NULL,
    submitted_at TEXT NOT NULL
);
CREATE TABLE files (run INTEGER, name TEXT, data BLOB NOT NULL, PRIMARY KEY (run, name));
CREATE TABLE blocks (run INTEGER, block INTEGER, data BLOB NOT NULL, PRIMARY KEY (run, block));
CREATE TABLE markers (run INTEGER, chunk INTEGER, summary TEXT NOT NULL, PRIMARY KEY (run, chunk));
"""
TABLES = ("markers", "blocks", "files")

REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; make room and submit again, what is stored is kept",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that the folder and the file may be used",
    sqlite3.SQLITE_PERM: "may not be used",
    sqlite3.SQLITE_NOTADB: "is not a pricer store",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk or file system fails",
    sqlite3.SQLITE_TOOBIG: "cannot hold a file this large",
}


class SqliteStore:
    """Keeps runs in the SQLite file at `path`. Threads may share it.

    `timeout_s` is how long to wait for another process that is writing. Where the folder is not
    there either, `new` says that the store holds no run, rather than that its path is mistaken.
    """

    def __init__(self, path: Path, *, timeout_s: float = 30.0, new: bool = False) -> None:
        self.path = path.expanduser().resolve()
        self.timeout_s = timeout_s
        self.new = new
        hint = "make it first" if path.is_absolute() else "an absolute path has four slashes"
        self._folder_hint = f"; {hint}"
        self._mutex = RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """What opens this store again."""
        return f"{SQLITE}{self.path}"

    def create(self, run: StoredRun, files: Mapping[str, bytes]) -> StoredRun:
        """Keep a run and the files that rebuild its plan; return what is now stored."""
        with self._writing() as connection:
            new = connection.execute(
                f"INSERT INTO runs ({HEAD}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                attrgetter(*COLUMNS)(run),
            ).rowcount
            number = self._number(connection, run.run_id)
            if new:
                rows = ((number, name, data) for name, data in files.items())
                connection.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
            else:
                connection.execute(
                    "UPDATE runs SET submitted_at = ? WHERE number = ?", (run.submitted_at, number)
                )
        return self.run(run.run_id)

    def run(self, run_id: str) -> StoredRun:
        """Return the head of a run."""
        with self._reading() as connection:
            found = connection.execute(f"SELECT {HEAD} FROM runs WHERE run_id = ?", (run_id,))
            row = found.fetchone()
        if row is None:
            raise not_found(run_id, self.url)
        return StoredRun(*row)

    def runs(self) -> list[StoredRun]:
        """Return the head of every run, the one submitted last first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {HEAD} FROM runs ORDER BY submitted_at DESC, number DESC"
            ).fetchall()
        return [StoredRun(*row) for row in rows]

    def files(self, run_id: str, *names: str) -> dict[str, bytes]:
        """Return the files that rebuild a run's plan, by name; of `names` alone where given."""
        query = "SELECT name, data FROM files WHERE run = ?"
        if names:
            query += f" AND name IN ({', '.join('?' * len(names))})"
        with self._reading() as connection:
            number = self._number(connection, run_id)
            return dict(connection.execute(query, (number, *names)).fetchall())

    def put_blocks(self, run_id: str, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Keep blocks, each with its number; all of them or none."""
        with self._writing() as connection:
            number = self._number(connection, run_id)
            connection.executemany(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)",
                ((number, block, data) for block, data in blocks),
            )

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of these numbers in the order asked; those not there are left out."""
        rest = iter(numbers)
        # Few at a time, so that no read transaction stays open while the caller works.
        while asked := list(islice(rest, READ_BLOCKS)):
            with self._reading() as connection:
                run = self._number(connection, run_id)
                query = "SELECT data FROM blocks WHERE run = ? AND block = ?"
                found = [(n, connection.execute(query, (run, n)).fetchone()) for n in asked]
            yield from ((n, row[0]) for n, row in found if row)

    def put_marker(
        self,
        run_id: str,
        chunk: int,
        summary: Mapping[str, Any],
        *,
        usage: Mapping[str, Any] | None = None,
    ) -> None:
        """Say that every block of a chunk is stored, what they hold, and what pricing took."""
        with self._writing() as connection:
            number = self._number(connection, run_id)
            connection.execute(
                "INSERT OR REPLACE INTO markers VALUES (?, ?, ?)",
                (number, chunk, json.dumps({**summary, USAGE: dict(usage or {})})),
            )

    def markers(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return the summary of every chunk that is done, in chunk order."""
        markers = self._markers(run_id)
        for marker in markers.values():
            marker.pop(USAGE, None)
        return markers

    def usages(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return what pricing took of every chunk that is done, in chunk order."""
        return {chunk: marker.get(USAGE, {}) for chunk, marker in self._markers(run_id).items()}

    def reasons(self, run_id: str) -> dict[str, str]:
        """Return nothing: who prices into this store fails as a whole, and says why."""
        with self._reading() as connection:
            self._number(connection, run_id)
        return {}

    def delete(self, run_id: str) -> None:
        """Forget a run and all that belongs to it, and give its space back."""
        with self._writing() as connection:
            number = self._number(connection, run_id)
            for table in TABLES:
                connection.execute(f"DELETE FROM {table} WHERE run = ?", (number,))
            connection.execute("DELETE FROM runs WHERE number = ?", (number,))
        # The run is gone; where another process is busy, its space waits for the next delete.
        with self._mutex, suppress(sqlite3.OperationalError):
            # Through executescript, which steps it to its end; execute frees a single page.
            connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(PASSIVE);")

    @contextmanager
    def lock(self, run_id: str) -> Iterator[bool]:
        """Own the pricing of a run while the context lasts; yields False where another does."""
        with self._locked(run_id, timeout_s=0) as owned:
            yield owned

    def running(self, run_id: str) -> bool:
        """Tell whether someone owns the pricing of a run."""
        if not self._lock_path(run_id).exists():
            return False
        try:
            with self.lock(run_id) as owned:
                return not owned
        except StoreError:
            return False

    @contextmanager
    def _locked(self, name: str, timeout_s: float) -> Iterator[bool]:
        path = self._lock_path(name)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout:
            pass
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EROFS):
                raise StoreError(f"{self.path}: is in a read-only folder") from error
            raise StoreError(f"{path}: cannot be locked: {error.strerror or error}") from error
        try:
            yield lock.is_locked
        finally:
            if lock.is_locked:
                # First: who opened the same file meanwhile sees that it has no name any more.
                path.unlink(missing_ok=True)
                lock.release()

    def _lock_path(self, run_id: str) -> Path:
        return self.path.with_name(f"{self.path.name}-{run_id[:16]}.lock")

    def _markers(self, run_id: str) -> dict[int, dict[str, Any]]:
        with self._reading() as connection:
            number = self._number(connection, run_id)
            rows = connection.execute(
                "SELECT chunk, summary FROM markers WHERE run = ? ORDER BY chunk", (number,)
            ).fetchall()
        return {chunk: json.loads(summary) for chunk, summary in rows}

    def _number(self, connection: sqlite3.Connection, run_id: str) -> int:
        row = connection.execute("SELECT number FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise not_found(run_id, self.url)
        return int(row[0])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._explained():
            if connection := self._existing():
                yield connection
            else:
                if not self.new:
                    self._check_folder()
                with closing(sqlite3.connect(":memory:")) as nothing:
                    nothing.executescript(SCHEMA)
                    yield nothing

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._explained():
            connection = self._existing() or self._created()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite says of the file into one line; a mistake of ours stays as it is."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                reason = f"is locked by another process; waited {self.timeout_s:g} s for it"
            elif code in REASONS:
                reason = REASONS[code]
            else:
                raise
            raise StoreError(f"{self.path}: {reason}") from error

    def _existing(self) -> sqlite3.Connection | None:
        """Return the connection to the store; None where there is none yet, or no longer."""
        file = self._identity()
        if self._connection and file != self._file:
            # Deleted, and maybe made anew: what is open is no longer what the path means.
            self._connection.close()
            self._connection = None
        if self._connection is None and file:
            self._connect(self._check)
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the file at the path from any other; None where there is none."""
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # As a network's disk that is gone.
            raise StoreError(f"{self.path}: cannot be opened: {error.strerror}") from error
        return found.st_dev, found.st_ino

    def _created(self) -> sqlite3.Connection:
        """Make the store and return the connection to it."""
        self._check_folder()
        if not _writable(self.path.parent):
            raise StoreError(f"{self.path}: cannot be created: the folder is read-only")
        # Not left to SQLite, which does not wait where a new file changes its journal mode.
        with self._locked("new", self.timeout_s):
            return self._connect(self._initialise)

    def _check_folder(self) -> None:
        if not self.path.parent.is_dir():
            raise StoreError(
                f"{self.path}: there is no folder {self.path.parent}{self._folder_hint}"
            )

    def _connect(self, prepare: Callable[[sqlite3.Connection], bool]) -> sqlite3.Connection:
        """Open the file; keep the connection if `prepare` says that it is a store."""
        if self.path.is_dir():
            raise StoreError(f"{self.path}: is a folder, not a store")
        uri = self.path.as_uri()
        wal = self.path.with_name(f"{self.path.name}-wal")
        if self.path.exists() and not wal.exists() and not _writable(self.path.parent):
            # SQLite reads a write-ahead file only with the help of another beside it, which it
            # cannot make in this folder. Without a -wal file nobody is writing.
            uri += "?immutable=1"
        connection = sqlite3.connect(
            uri, uri=True, timeout=self.timeout_s, isolation_level=None, check_same_thread=False
        )
        ready = False
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            ready = prepare(connection)
        finally:
            if not ready:
                connection.close()
        if ready:
            self._connection, self._file = connection, self._identity()
            weakref.finalize(self, connection.close)
        return connection

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the file is a store, rather than empty; raise where it is another's."""
        # The application last: another process may be making the store, all three at one stroke.
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application == APPLICATION_ID:
            if version > VERSION:
                raise StoreError(
                    f"{self.path}: is of version {version}, from a newer pricer;"
                    f" this one knows version {VERSION}"
                )
            return True
        if application or version or tables:
            raise StoreError(f"{self.path}: is an SQLite file of something else, not a store")
        return False

    def _initialise(self, connection: sqlite3.Connection) -> bool:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._check(connection):
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
        return True


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
