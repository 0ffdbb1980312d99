"""The store in SQLite: WAL, synchronous=FULL, one writer, commits grouped.

All changes that arrive while a commit runs go into the next one, so durability costs a shared fsync. The
statements run on the loop (a few microseconds each), the commit, which waits for the disk, in a thread:
a thread that ran the statements too would fight the loop for the interpreter lock at each of them.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from redoubt.config import ConfigError
from redoubt.diameter.cx import RestorationInfo
from redoubt.hss.keys import Seal
from redoubt.hss.migrations import KEY_CHECK, VERSION, check_key, key_mark, missing
from redoubt.hss.records import Subscription
from redoubt.hss.rows import VISIBLE, decode_restoration, records, subscriptions_of
from redoubt.hss.sqlite_import import SqliteImport, clear_away, connect
from redoubt.hss.sqlite_writing import Group, commit, run, run_here
from redoubt.hss.store import Change, Import, NotificationSubscribed, RepositoryData, Server, StoreFailed
from redoubt.limits import HSS_WRITES_WAITING
from redoubt.secret import Secret
from redoubt.sources import Randomness

COMMIT_SPACING_S = 0.002  # between the starts of two commits: under load, what a commit costs is shared by more
LOCK_RETRY_S = 0.02
LOCK_RETRIES = 50  # a command that provisions holds the lock for milliseconds; a second is a fault
INLINE_CHANGES = 256  # more (an import) run in the thread, so that the loop goes on

# One statement instead of one a table: each costs a read transaction of its own.
_OF_IMPI = records("number = (SELECT subscription FROM private_identity WHERE impi = ?)")
_OF_IMPU = records("number = (SELECT subscription FROM public_identity WHERE impu = ?)")
_LOAD = records("number = ?")
_PAGE = records(
    f"number IN (SELECT number FROM subscription WHERE number > ? AND {VISIBLE} ORDER BY number LIMIT ?)"  # noqa: S608
)


class SqliteStore:
    """Satisfies `redoubt.hss.store.Store`. One reader and one writer connection."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = connect(path)
        self._writer = connect(path)
        self._executor = ThreadPoolExecutor(1, "hss-store")
        self._waiting: Group = []
        self._committing = False
        self._generation = 0
        self._last_start = float("-inf")
        self._idle: asyncio.Future[None] | None = None

    async def find(self, impi: str, impu: str, known: Mapping[int, Subscription]) -> list[Subscription]:
        """As `Store.find`; a subscription that has both identities is read once."""
        found = subscriptions_of(self._all(_OF_IMPI, impi), known) if impi else []
        if impu and not any(one.has_impu(impu) for one in found):
            found += subscriptions_of(self._all(_OF_IMPU, impu), known)
        return found

    async def load(self, number: int) -> Subscription | None:
        found = subscriptions_of(self._all(_LOAD, number))
        return found[0] if found else None

    async def page(self, after: int, count: int) -> list[Subscription]:
        return subscriptions_of(self._all(_PAGE, after, count))

    async def wildcards(self) -> list[tuple[str, int, int]]:
        text = (
            "SELECT wildcard, subscription, position FROM public_identity WHERE wildcard <> ''"
            " AND subscription NOT IN (SELECT number FROM incoming) ORDER BY impu"
        )
        return [(pattern, number, position) for pattern, number, position in self._all(text)]

    async def restoration(self, number: int, position: int) -> list[RestorationInfo]:
        text = "SELECT value FROM restoration WHERE subscription = ? AND position = ? ORDER BY impi"
        return [decode_restoration(value) for (value,) in self._all(text, number, position)]

    async def servers(self) -> dict[str, Server]:
        return {name: Server(number, host) for name, number, host in self._all("SELECT name, number, host FROM server")}

    async def repository(self, impu: str, service: str) -> RepositoryData | None:
        rows = self._all("SELECT sequence, value FROM repository WHERE impu = ? AND service = ?", impu, service)
        return RepositoryData(*rows[0]) if rows else None

    async def repository_count(self, number: int) -> int:
        rows = self._all("SELECT COUNT(*) FROM repository WHERE subscription = ?", number)
        return int(rows[0][0])

    async def notifications(self, number: int) -> list[NotificationSubscribed]:
        text = (
            "SELECT subscription, impu, host, reference, service, ends_at FROM notification"
            " WHERE subscription = ? ORDER BY impu, host, reference, service"
        )
        return [NotificationSubscribed(*row) for row in self._all(text, number)]

    def generation(self) -> int:
        """SQLite's data_version as the writer sees it: it moves when any other connection commits."""
        if not self._committing:  # the connection is the thread's while it commits
            self._generation = int(self._all("PRAGMA data_version", connection=self._writer)[0][0])
        return self._generation

    async def write(self, changes: Sequence[Change], seen: Mapping[int, int] | None = None) -> None:
        if len(self._waiting) >= HSS_WRITES_WAITING:
            raise StoreFailed("the disk doesn't keep up: too many changes wait")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((changes, seen or {}, done))
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
        if sum(len(changes) for changes, *_ in group) > INLINE_CHANGES:
            work = partial(run, self._writer, group)
        else:
            outcomes = run_here(self._writer, group)
            work = partial(commit, self._writer, outcomes)
        running = loop.run_in_executor(self._executor, work)
        running.add_done_callback(lambda done: self._settle(loop, group, done.result()))

    def _settle(self, loop: asyncio.AbstractEventLoop, group: Group, outcomes: list[StoreFailed | None]) -> None:
        for (_changes, _seen, done), fault in zip(group, outcomes, strict=True):
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

    def _all(
        self, statement: str, *values: str | int, connection: sqlite3.Connection | None = None
    ) -> list[tuple[Any, ...]]:
        try:
            return (connection or self._reader).execute(statement, values).fetchall()
        except sqlite3.Error as fault:
            raise StoreFailed(str(fault)) from None


def open_store(path: Path | str, key: Secret, randomness: Randomness) -> SqliteStore:
    """Opens or makes the store. Raises ConfigError if the file is of a later version or under another key."""
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
    """Brings the file to the newest version; the key comes first, so that a wrong one changes nothing."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version:
        (mark,) = connection.execute("SELECT value FROM property WHERE name = ?", (KEY_CHECK,)).fetchone()
        check_key(seal, mark, str(path))
    for statement in missing(version, str(path)):
        connection.execute(statement)
    if version == 0:
        connection.execute(
            "INSERT INTO property (name, value) VALUES (?, ?)", (KEY_CHECK, key_mark(seal, randomness))
        )
    if version != VERSION:
        connection.execute(f"PRAGMA user_version = {VERSION}")
