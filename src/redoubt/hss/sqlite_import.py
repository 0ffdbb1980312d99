"""Many new subscriptions at once in SQLite: written batch by batch and unseen, then brought to life by one commit.

SQLite has one writer, so a single transaction would keep a running HSS from its own commits for seconds. Here each
batch is a transaction of some milliseconds whose rows stand in the table `incoming`, which every reader leaves out;
emptying that table is the import. A file lock says that an import lives: what `incoming` holds without it was left
behind by a crash and is taken out.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from redoubt.hss.rows import added_tables
from redoubt.hss.sqlite_writing import take_numbers
from redoubt.hss.store import Added, Conflict, StoreFailed
from redoubt.limits import HSS_IMPORT_BATCH

LOCK_WAIT_S = 30.0  # for the running HSS, whose commits take milliseconds


def connect(path: Path, wait_s: float = 0.0) -> sqlite3.Connection:
    """A connection whose commits are on the disk when they return."""
    connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class SqliteImport:
    """Satisfies `redoubt.hss.store.Import`. Everything runs in a thread of its own, on its own connection."""

    def __init__(self, path: Path, lock: int) -> None:
        self._connection = connect(path, LOCK_WAIT_S)
        # Batches need not be on the disk, for nobody sees them: the sync of the last commit takes them along.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._lock = lock
        self._executor = ThreadPoolExecutor(1, "hss-import")

    @classmethod
    async def begin(cls, path: Path) -> Self:
        lock = _lock(path)
        if lock is None:
            raise StoreFailed("another import is under way; wait for its end")
        importing = cls(path, lock)
        await importing._run(_take_out)
        return importing

    async def add(self, batch: Sequence[Added]) -> None:
        await self._run(lambda connection: _transaction(connection, lambda: _add(connection, batch)))

    async def commit(self) -> None:
        """The one moment at which all become visible."""

        def alive(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA synchronous = FULL")
            _transaction(connection, lambda: connection.execute("DELETE FROM incoming"))

        await self._run(alive)
        self._close()

    async def abandon(self) -> None:
        try:
            await self._run(_take_out)
        finally:
            self._close()

    async def _run(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """In the thread, and to its end even if the caller is cancelled: the next step must not overtake it."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, self._connection)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
        except sqlite3.IntegrityError as fault:
            raise Conflict(str(fault)) from None
        except sqlite3.Error as fault:
            raise StoreFailed(str(fault)) from None

    def _close(self) -> None:
        self._executor.shutdown()
        self._connection.close()
        os.close(self._lock)


def _add(connection: sqlite3.Connection, batch: Sequence[Added]) -> None:
    """By few statements, marked as incoming: nobody sees them yet."""
    numbers = take_numbers(connection, len(batch))
    connection.executemany("INSERT INTO incoming VALUES (?)", [(number,) for number in numbers])
    for statement, rows in added_tables(numbers, batch).items():
        connection.executemany(statement, rows)


def clear_away(path: Path) -> None:
    """Takes out what an import that crashed has left, unless one is under way."""
    lock = _lock(path)
    if lock is None:
        return
    try:
        connection = connect(path, LOCK_WAIT_S)
        _take_out(connection)
        connection.close()
    finally:
        os.close(lock)


def _lock(path: Path) -> int | None:
    """Held by this process until closed, or until it dies; None if another has it."""
    descriptor = os.open(path.with_name(path.name + "-import"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _take_out(connection: sqlite3.Connection) -> None:
    """Batch by batch, so that nobody waits long."""
    while numbers := connection.execute("SELECT number FROM incoming LIMIT ?", (HSS_IMPORT_BATCH,)).fetchall():

        def remove(some: list[tuple[int]] = numbers) -> None:
            connection.executemany("DELETE FROM subscription WHERE number = ?", some)
            connection.executemany("DELETE FROM incoming WHERE number = ?", some)

        _transaction(connection, remove)


def _transaction(connection: sqlite3.Connection, work: Callable[[], object]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    done = False
    try:
        work()
        connection.execute("COMMIT")
        done = True
    finally:
        if not done and connection.in_transaction:
            connection.execute("ROLLBACK")
