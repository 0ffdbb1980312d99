"""The store in SQLite: WAL, synchronous=FULL, one writer, commits grouped.

All changes that arrive while a commit runs go into the next one, so durability costs a shared fsync. The
statements run on the loop (a few microseconds each), the commit, which waits for the disk, in a thread:
a thread that ran the statements too would fight the loop for the interpreter lock at each of them.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from redoubt.config import ConfigError
from redoubt.hss.keys import NONCE_OCTETS, NotSealedHere, Seal
from redoubt.hss.records import Subscription
from redoubt.hss.rows import UPDATES, apply, subscription_of
from redoubt.hss.sqlite_import import SqliteImport, clear_away, connect
from redoubt.hss.store import Change, Conflict, Import, StoreFailed
from redoubt.limits import HSS_WRITES_WAITING
from redoubt.secret import Secret
from redoubt.sources import Randomness

VERSION = 1
INCOMING = "CREATE TABLE IF NOT EXISTS incoming (number INTEGER PRIMARY KEY)"
COMMIT_SPACING_S = 0.002  # between the starts of two commits: under load, what a commit costs is shared by more
LOCK_RETRY_S = 0.02
LOCK_RETRIES = 50  # a command that provisions holds the lock for milliseconds; a second is a fault
INLINE_CHANGES = 256  # more (an import) run in the thread, so that the loop goes on

# One statement instead of one a table: each costs a read transaction of its own.
_LOAD = (
    "SELECT provisioned, server_name, candidate, sets, impi, algorithm, amf, sealed, reserved_seq"
    " FROM subscription LEFT JOIN private_identity ON subscription = number"
    " WHERE number = ? AND number NOT IN (SELECT number FROM incoming) ORDER BY position"
)
_NUMBERS = "SELECT number FROM subscription WHERE number NOT IN (SELECT number FROM incoming) ORDER BY number"

Waiting = tuple[Sequence[Change], asyncio.Future[None]]


class SqliteStore:
    """Satisfies `redoubt.hss.store.Store`. One reader and one writer connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = connect(path)
        self._writer = connect(path)
        self._executor = ThreadPoolExecutor(1, "hss-store")
        self._waiting: list[Waiting] = []
        self._committing = False
        self._generation = 0
        self._last_start = float("-inf")
        self._idle: asyncio.Future[None] | None = None

    def number_of_impi(self, impi: str) -> int | None:
        row = self._one("SELECT subscription FROM private_identity WHERE impi = ?", impi)
        return None if row is None else int(row[0])

    def place_of_impu(self, impu: str) -> tuple[int, int] | None:
        row = self._one("SELECT subscription, position FROM public_identity WHERE impu = ?", impu)
        return None if row is None else (row[0], row[1])

    def wildcards(self) -> list[tuple[str, int, int]]:
        rows = self._all(
            "SELECT wildcard, subscription, position FROM public_identity WHERE wildcard <> ''"
            " AND subscription NOT IN (SELECT number FROM incoming) ORDER BY impu"
        )
        return [(pattern, number, position) for pattern, number, position in rows]

    def load(self, number: int) -> Subscription | None:
        rows = self._all(_LOAD, number)
        if not rows:
            return None
        return subscription_of(number, rows[0][:4], [row[4:] for row in rows if row[4] is not None])

    def numbers(self) -> list[int]:
        return [row[0] for row in self._all(_NUMBERS)]

    def generation(self) -> int:
        """SQLite's data_version as the writer sees it: it moves when any other connection commits."""
        if not self._committing:  # the connection is the thread's while it commits
            self._generation = int(self._all("PRAGMA data_version", connection=self._writer)[0][0])
        return self._generation

    async def write(self, changes: Sequence[Change]) -> None:
        if len(self._waiting) >= HSS_WRITES_WAITING:
            raise StoreFailed("the disk doesn't keep up: too many changes wait")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((changes, done))
        if not self._committing:
            self._schedule(loop)
        await done

    async def begin_import(self) -> Import:
        return await SqliteImport.begin(self._path)

    async def close(self) -> None:
        """Ends after the last commit."""
        if self._committing:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._executor.shutdown()
        self._reader.close()
        self._writer.close()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._committing = True
        loop.call_at(max(loop.time(), self._last_start + COMMIT_SPACING_S), self._start, loop, LOCK_RETRIES)

    def _start(self, loop: asyncio.AbstractEventLoop, retries: int) -> None:
        """Takes all that waits into one transaction."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as fault:
            if retries > 0 and "locked" in str(fault):
                loop.call_later(LOCK_RETRY_S, self._start, loop, retries - 1)
                return
            group, self._waiting = self._waiting, []
            self._settle(loop, group, [StoreFailed(str(fault))] * len(group))
            return
        self._last_start = loop.time()
        group, self._waiting = self._waiting, []
        if sum(len(changes) for changes, _ in group) > INLINE_CHANGES:
            work = partial(_run, self._writer, group)
        else:
            outcomes = _apply_all(self._writer, group)
            work = partial(_commit, self._writer, outcomes)
        running = loop.run_in_executor(self._executor, work)
        running.add_done_callback(lambda done: self._settle(loop, group, done.result()))

    def _settle(
        self, loop: asyncio.AbstractEventLoop, group: list[Waiting], outcomes: list[StoreFailed | None]
    ) -> None:
        for (_changes, done), fault in zip(group, outcomes, strict=True):
            if done.done():
                continue  # whoever waited was cancelled; the change stands
            if fault is None:
                done.set_result(None)
            else:
                done.set_exception(fault)
        if self._waiting:
            self._schedule(loop)
            return
        self._committing = False
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _one(self, statement: str, *values: str | int) -> tuple[Any, ...] | None:
        rows = self._all(statement, *values)
        return rows[0] if rows else None

    def _all(
        self, statement: str, *values: str | int, connection: sqlite3.Connection | None = None
    ) -> list[tuple[Any, ...]]:
        try:
            return (connection or self._reader).execute(statement, values).fetchall()
        except sqlite3.Error as fault:
            raise StoreFailed(str(fault)) from None


def _apply_all(writer: sqlite3.Connection, group: list[Waiting]) -> list[StoreFailed | None]:
    """Each caller's changes, all or none; one caller's conflict doesn't touch the others."""
    outcomes: list[StoreFailed | None] = []
    for changes, _ in group:
        outcomes.append(_applied(writer, changes))
        if not writer.in_transaction:  # it was rolled back under way: nothing of the group is kept
            lost = outcomes[-1] or StoreFailed("rolled back")
            return [*(outcome or lost for outcome in outcomes), *[lost] * (len(group) - len(outcomes))]
    return outcomes


def _applied(writer: sqlite3.Connection, changes: Sequence[Change]) -> StoreFailed | None:
    nested = not all(isinstance(change, UPDATES) for change in changes)
    try:
        if nested:
            writer.execute("SAVEPOINT caller")
        for change in changes:
            apply(writer, change)
        if nested:
            writer.execute("RELEASE caller")
    except sqlite3.IntegrityError as fault:
        return _undone(writer, nested, Conflict(str(fault)))
    except sqlite3.Error as fault:
        return _undone(writer, nested, StoreFailed(str(fault)))
    return None


def _undone(writer: sqlite3.Connection, nested: bool, fault: StoreFailed) -> StoreFailed:
    """Back to before this caller, or before the whole group, whose callers then all fail (see `_commit`)."""
    # SQLite may have rolled the whole transaction back by itself (disk full); then there is no savepoint.
    if not writer.in_transaction:
        return fault
    if nested and not isinstance(fault, Conflict):
        nested = False  # the disk refuses: what others wrote in this transaction won't be committed either
    if nested:
        writer.execute("ROLLBACK TO caller")
        writer.execute("RELEASE caller")
    else:
        writer.execute("ROLLBACK")
    return fault


def _commit(writer: sqlite3.Connection, outcomes: list[StoreFailed | None]) -> list[StoreFailed | None]:
    if not writer.in_transaction:
        return outcomes
    try:
        writer.execute("COMMIT")
    except sqlite3.Error as fault:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        return [StoreFailed(str(fault))] * len(outcomes)
    return outcomes


def _run(writer: sqlite3.Connection, group: list[Waiting]) -> list[StoreFailed | None]:
    return _commit(writer, _apply_all(writer, group))


def open_store(path: Path | str, key: Secret, randomness: Randomness) -> SqliteStore:
    """Opens or makes the store. Raises ConfigError if the file is of another version or under another key."""
    path = Path(path)
    try:
        with sqlite3.connect(path, timeout=5, isolation_level=None) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            _prepare(connection, path, Seal(key), randomness)
            connection.execute("COMMIT")
        connection.close()
        clear_away(path)
        path.chmod(0o600)
        return SqliteStore(path)
    except (sqlite3.Error, OSError) as fault:
        raise ConfigError(f"hss.database: {path} can't be opened: {fault}") from None


def _prepare(connection: sqlite3.Connection, path: Path, seal: Seal, randomness: Randomness) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        schema = resources.files("redoubt.hss").joinpath("schema.sql").read_text(encoding="utf-8")
        for statement in schema.split(";\n"):
            connection.execute(statement)
        mark = seal.close("", Secret(b""), Secret(b"redoubt"), randomness.octets(NONCE_OCTETS))
        connection.execute("INSERT INTO property VALUES ('key-check', ?)", (mark,))
        connection.execute(f"PRAGMA user_version = {VERSION}")
        return
    if version != VERSION:
        raise ConfigError(
            f"hss.database: {path} has version {version}, this Redoubt reads version {VERSION};"
            " use the release that wrote it"
        )
    connection.execute(INCOMING)
    mark = connection.execute("SELECT value FROM property WHERE name = 'key-check'").fetchone()[0]
    try:
        seal.open("", mark)
    except NotSealedHere:
        raise ConfigError(f"hss.key-file: {path} was made under another key; put that key file back") from None
