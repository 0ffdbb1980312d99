"""The store in PostgreSQL, which several HSS processes may share: the same tables, the same contract as SQLite's.

Every read asks the database, so that no process answers from what another has changed. Changes that arrive while a
transaction runs go into the next one together; each is guarded by the version of what it is based on.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]

from redoubt.config import ConfigError
from redoubt.diameter.cx import RestorationInfo
from redoubt.hss.keys import Seal
from redoubt.hss.migrations import KEY_CHECK, VERSION, check_key, key_mark, missing
from redoubt.hss.postgres_writing import Group, Waiting, alone, may_share, numbered, together
from redoubt.hss.records import Subscription
from redoubt.hss.rows import added_tables, decode_restoration, records, subscriptions_of
from redoubt.hss.store import (
    Added,
    Change,
    Conflict,
    Import,
    NotificationSubscribed,
    RepositoryData,
    Server,
    Stale,
    StoreFailed,
)
from redoubt.limits import HSS_POSTGRES_CONNECTIONS, HSS_WRITES_WAITING
from redoubt.secret import Secret
from redoubt.sources import Randomness

CONNECT_S, ANSWER_S = 2.0, 3.0  # together as long as a CSCF waits for the HSS
OPENING_LOCK, IMPORT_LOCK = 0x52444254, 0x52444255  # advisory locks: one process migrates, one imports at a time

_FIND = records(
    "number IN (SELECT subscription FROM private_identity WHERE impi = ?"
    " UNION SELECT subscription FROM public_identity WHERE impu = ?)"
)
_LOAD = records("number = ?")
_PAGE = records("number IN (SELECT number FROM subscription WHERE number > ? ORDER BY number LIMIT ?)")


class PostgresStore:
    """Satisfies `redoubt.hss.store.Store`."""

    is_shared = True

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._waiting: Group = []
        self._writing: asyncio.Task[None] | None = None

    def generation(self) -> int:
        return 0

    async def find(self, impi: str, impu: str, known: Mapping[int, Subscription]) -> list[Subscription]:
        return subscriptions_of(await self._all(_FIND, impi, impu), known)

    async def load(self, number: int) -> Subscription | None:
        found = subscriptions_of(await self._all(_LOAD, number))
        return found[0] if found else None

    async def page(self, after: int, count: int) -> list[Subscription]:
        return subscriptions_of(await self._all(_PAGE, after, count))

    async def wildcards(self) -> list[tuple[str, int, int]]:
        text = "SELECT wildcard, subscription, position FROM public_identity WHERE wildcard <> '' ORDER BY impu"
        return [(pattern, number, position) for pattern, number, position in await self._all(text)]

    async def restoration(self, number: int, position: int) -> list[RestorationInfo]:
        text = "SELECT value FROM restoration WHERE subscription = ? AND position = ? ORDER BY impi"
        return [decode_restoration(value) for (value,) in await self._all(text, number, position)]

    async def servers(self) -> dict[str, Server]:
        rows = await self._all("SELECT name, number, host FROM server")
        return {name: Server(number, host) for name, number, host in rows}

    async def repository(self, impu: str, service: str) -> RepositoryData | None:
        rows = await self._all("SELECT sequence, value FROM repository WHERE impu = ? AND service = ?", impu, service)
        return RepositoryData(*rows[0]) if rows else None

    async def repository_count(self, number: int) -> int:
        rows = await self._all("SELECT COUNT(*) FROM repository WHERE subscription = ?", number)
        return int(rows[0][0])

    async def notifications(self, number: int) -> list[NotificationSubscribed]:
        text = (
            "SELECT subscription, impu, host, reference, service, ends_at FROM notification"
            " WHERE subscription = ? ORDER BY impu, host, reference, service"
        )
        return [NotificationSubscribed(*row) for row in await self._all(text, number)]

    async def write(self, changes: Sequence[Change], seen: Mapping[int, int] | None = None) -> None:
        if len(self._waiting) >= HSS_WRITES_WAITING:
            raise StoreFailed("the database doesn't keep up: too many changes wait")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(Waiting(changes, seen or {}, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write_on())
        await done

    async def begin_import(self) -> Import:
        return await PostgresImport.begin(self._pool)

    async def close(self) -> None:
        """Ends after the last commit."""
        if self._writing is not None:
            await self._writing
        await self._pool.close()

    async def _all(self, text: str, *values: str | int) -> list[tuple[Any, ...]]:
        async with _connection(self._pool) as connection:
            rows: list[tuple[Any, ...]] = await connection.fetch(numbered(text), *values)
            return rows

    async def _write_on(self) -> None:
        """Transaction after transaction, until nobody waits."""
        while self._waiting:
            group, self._waiting = self._waiting, []
            shared = [one for one in group if may_share(one.changes)]
            if shared:
                await self._transact(shared)
            for one in group:
                if not may_share(one.changes):
                    await self._transact([one])
        self._writing = None

    async def _transact(self, group: Group) -> None:
        """One transaction, and its outcome to whoever waits."""
        fault: StoreFailed | None = None
        stale: list[Waiting] = []
        try:
            async with _connection(self._pool) as connection, connection.transaction():
                if may_share(group[0].changes):
                    stale = await together(connection, group)
                else:
                    await alone(connection, group[0])
        except StoreFailed as failed:
            fault = failed
        for one in group:
            if one.done.done():
                continue  # whoever waited was cancelled; the change stands
            if fault is not None:
                one.done.set_exception(fault)
            elif one in stale:
                one.done.set_exception(Stale("another process has changed the subscriber meanwhile; try again"))
            else:
                one.done.set_result(None)


class PostgresImport:
    """Satisfies `redoubt.hss.store.Import`: one transaction, which nobody who changes other subscribers waits for."""

    def __init__(self, pool: Any, connection: Any, transaction: Any) -> None:
        self._pool = pool
        self._connection = connection
        self._transaction = transaction

    @classmethod
    async def begin(cls, pool: Any) -> "PostgresImport":
        with _said():
            connection = await pool.acquire(timeout=CONNECT_S)
            transaction = connection.transaction()
            importing = cls(pool, connection, transaction)
            await transaction.start()
            if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", IMPORT_LOCK):
                return importing
        await importing.abandon()
        raise StoreFailed("another import is under way; wait for its end")

    async def add(self, batch: Sequence[Added]) -> None:
        text = "SELECT nextval(pg_get_serial_sequence('subscription', 'number')) FROM generate_series(1, $1)"
        with _said():
            numbers = [row[0] for row in await self._connection.fetch(text, len(batch))]
            for statement, rows in added_tables(numbers, batch).items():
                table, columns = _target(statement)
                await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def commit(self) -> None:
        with _said():
            await self._transaction.commit()
            await self._pool.release(self._connection)

    async def abandon(self) -> None:
        with _said():
            try:
                await self._transaction.rollback()
            finally:
                await self._pool.release(self._connection)


@asynccontextmanager
async def _connection(pool: Any) -> AsyncIterator[Any]:
    """A connection from the pool; whatever goes wrong with the database is StoreFailed."""
    with _said():
        connection = await pool.acquire(timeout=CONNECT_S)
        try:
            yield connection
        finally:
            await pool.release(connection)


@contextmanager
def _said() -> Iterator[None]:
    """The driver's and the network's exceptions as ours; what they say holds no password."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as fault:
        raise Conflict(str(fault)) from None
    except asyncpg.LockNotAvailableError:
        raise StoreFailed("an import that is under way has the same identity; try again after it") from None
    except TimeoutError:
        raise StoreFailed("the database doesn't answer in time") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
        raise StoreFailed(f"the database: {fault}") from None


@cache
def _target(statement: str) -> tuple[str, list[str]]:
    """Table and columns of an INSERT of rows.py."""
    table, _, rest = statement.removeprefix("INSERT INTO ").partition(" (")
    return table, rest.partition(")")[0].split(", ")


async def _keep(_connection: Any) -> None:
    """Instead of the pool's reset, which asks the database: no statement here leaves anything behind."""


async def open_postgres(url: str, key: Secret, randomness: Randomness) -> PostgresStore:
    """Opens the database, makes or migrates its tables. Raises ConfigError."""
    where = without_password(url)
    opened = False
    pool: Any = None
    try:
        with _said():
            pool = await asyncpg.create_pool(
                url,
                min_size=0,  # connections come when asked for: the pool would log what fails beside
                max_size=HSS_POSTGRES_CONNECTIONS,
                timeout=CONNECT_S,
                command_timeout=ANSWER_S,
                reset=_keep,
            )
            async with pool.acquire(timeout=CONNECT_S) as connection, connection.transaction():
                await _prepare(connection, where, Seal(key), randomness)
        opened = True
    except StoreFailed as fault:
        raise ConfigError(f"hss.database: {where} can't be opened: {fault}") from None
    except ValueError:
        raise ConfigError(f"hss.database: {where} is no URL of PostgreSQL") from None
    finally:
        if pool is not None and not opened:
            await pool.close()
    return PostgresStore(pool)


async def _prepare(connection: Any, where: str, seal: Seal, randomness: Randomness) -> None:
    """Brings the tables to the newest version; the key comes first, so that a wrong one changes nothing."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", OPENING_LOCK)
    version = 0
    if await connection.fetchval("SELECT to_regclass('property')") is not None:
        version = int(await connection.fetchval("SELECT value FROM property WHERE name = 'version'"))
        check_key(seal, await connection.fetchval("SELECT value FROM property WHERE name = $1", KEY_CHECK), where)
    for statement in missing(version, where, postgres=True):
        await connection.execute(statement)
    put = "INSERT INTO property (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    if version == 0:
        await connection.execute(put, KEY_CHECK, key_mark(seal, randomness))
    if version != VERSION:
        await connection.execute(put, "version", str(VERSION).encode())


def without_password(url: str) -> str:
    """For logs and messages: scheme, user, host and name of the database."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    named = f"{user.partition(':')[0]}@" if user else ""
    return f"{parts.scheme}://{named}{place}{parts.path}"
