"""How a group of changes becomes one transaction of PostgreSQL: few messages, whatever the number of callers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from redoubt.hss.rows import GUARD, break_no_rule, gathered, statements
from redoubt.hss.store import Added, Change, Reprovisioned, ServerHost, Stale

NEXT_NUMBER = "SELECT nextval(pg_get_serial_sequence('subscription', 'number'))"


@dataclass(slots=True, eq=False)
class Waiting:
    """A caller: its changes, the versions that they are based on, and what it waits for."""

    changes: Sequence[Change]
    seen: Mapping[int, int]
    done: asyncio.Future[None]


Group = list[Waiting]


def may_share(changes: Sequence[Change]) -> bool:
    """Whether nothing but a guard can refuse them, so that they need no transaction of their own."""
    return break_no_rule(changes) and not any(isinstance(change, ServerHost) for change in changes)


@cache
def numbered(text: str) -> str:
    """With $1, $2 in place of the question marks."""
    parts = text.split("?")
    return "".join(part + (f"${n}" if n < len(parts) else "") for n, part in enumerate(parts, 1))


async def together(connection: Any, group: Group) -> Group:
    """Writes everybody's changes but those of callers that another process forestalled, who are returned.

    Subscriptions are locked in the order of their numbers, so that two processes never wait for each other.
    """
    guards = sorted(pair for one in group for pair in one.seen.items())
    versions = await connection.fetchmany(numbered(GUARD) + " RETURNING number", guards) if guards else []
    held = {row[0] for row in versions}
    stale = [one for one in group if not one.seen.keys() <= held]
    for text, rows in gathered(one.changes for one in group if one not in stale).items():
        await connection.executemany(numbered(text), rows)
    return stale


async def alone(connection: Any, one: Waiting) -> None:
    """One caller's changes, statement by statement; raises Stale."""
    if any(isinstance(change, ServerHost) for change in one.changes):
        await connection.execute("LOCK TABLE server IN SHARE ROW EXCLUSIVE MODE")  # their numbers differ
    for pair in sorted(one.seen.items()):
        if await _touched(connection, GUARD, pair) != 1:
            raise Stale("another process has changed the subscriber meanwhile; try again")
    if any(isinstance(change, Added | Reprovisioned) for change in one.changes):
        # An identity that an import under way has too would be waited for until its end, and all writers with it.
        await connection.execute("SET LOCAL lock_timeout = '300ms'")
    for change in one.changes:
        number = await connection.fetchval(NEXT_NUMBER) if isinstance(change, Added) else 0
        for text, values, exact in statements(change, number):
            if await _touched(connection, text, values) != 1 and exact:
                raise Stale("another process has changed it meanwhile")


async def _touched(connection: Any, text: str, values: tuple[Any, ...]) -> int:
    """How many rows a statement touched: the last word of its status."""
    status: str = await connection.execute(numbered(text), *values)
    return int(status.rpartition(" ")[2])
