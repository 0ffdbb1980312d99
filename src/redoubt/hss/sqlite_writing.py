"""How a group of changes becomes one transaction of SQLite, whose callers share its fsync and nothing else."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence

from redoubt.hss.rows import GUARD, UPDATES, statements
from redoubt.hss.store import Added, Change, Conflict, Stale, StoreFailed

Group = list[tuple[Sequence[Change], Mapping[int, int], asyncio.Future[None]]]
"""Of each caller: its changes, the versions that they are based on, and what it waits for."""

Outcomes = list[StoreFailed | None]


def run(writer: sqlite3.Connection, group: Group) -> Outcomes:
    """Everything of a transaction that has begun."""
    return commit(writer, run_here(writer, group))


def run_here(writer: sqlite3.Connection, group: Group) -> Outcomes:
    """Each caller's changes, all or none; one caller's conflict doesn't touch the others."""
    outcomes: Outcomes = []
    for changes, seen, _ in group:
        outcomes.append(_applied(writer, changes, seen))
        if not writer.in_transaction:  # it was rolled back under way: nothing of the group is kept
            lost = outcomes[-1] or StoreFailed("rolled back")
            return [*(outcome or lost for outcome in outcomes), *[lost] * (len(group) - len(outcomes))]
    return outcomes


def commit(writer: sqlite3.Connection, outcomes: Outcomes) -> Outcomes:
    if not writer.in_transaction:
        return outcomes
    try:
        writer.execute("COMMIT")
    except sqlite3.Error as fault:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        return [StoreFailed(str(fault))] * len(outcomes)
    return outcomes


def _applied(writer: sqlite3.Connection, changes: Sequence[Change], seen: Mapping[int, int]) -> StoreFailed | None:
    # The first statement of all is the guard: when it is the only one that can refuse, nothing is there to be undone.
    nested = len(seen) > 1 or not all(isinstance(change, UPDATES) for change in changes)
    try:
        if nested:
            writer.execute("SAVEPOINT caller")
        _execute(writer, changes, seen)
        if nested:
            writer.execute("RELEASE caller")
    except Stale as fault:
        return _undone(writer, nested, fault) if nested else fault
    except sqlite3.IntegrityError as fault:
        return _undone(writer, nested, Conflict(str(fault)))
    except sqlite3.Error as fault:
        return _undone(writer, nested, StoreFailed(str(fault)))
    return None


def _execute(writer: sqlite3.Connection, changes: Sequence[Change], seen: Mapping[int, int]) -> None:
    for pair in seen.items():
        if writer.execute(GUARD, pair).rowcount != 1:
            raise Stale("another process has changed the subscriber meanwhile; try again")
    for change in changes:
        number = take_numbers(writer, 1)[0] if isinstance(change, Added) else 0
        for text, values, exact in statements(change, number):
            if writer.execute(text, values).rowcount != 1 and exact:
                raise Stale("another process has changed it meanwhile")


def take_numbers(writer: sqlite3.Connection, count: int) -> range:
    """Numbers for new subscriptions, which none has had before."""
    writer.execute("UPDATE numbers SET last = last + ?", (count,))
    (last,) = writer.execute("SELECT last FROM numbers").fetchone()
    return range(last - count + 1, last + 1)


def _undone(writer: sqlite3.Connection, nested: bool, fault: StoreFailed) -> StoreFailed:
    """Back to before this caller, or before the whole group, whose callers then all fail (see `commit`)."""
    # SQLite may have rolled the whole transaction back by itself (disk full); then there is no savepoint.
    if not writer.in_transaction:
        return fault
    if nested and not isinstance(fault, Conflict | Stale):
        nested = False  # the disk refuses: what others wrote in this transaction won't be committed either
    if nested:
        writer.execute("ROLLBACK TO caller")
        writer.execute("RELEASE caller")
    else:
        writer.execute("ROLLBACK")
    return fault
