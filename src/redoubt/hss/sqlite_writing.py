"""How a group of changes becomes one transaction of SQLite, whose callers share its fsync and nothing else."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence

from redoubt.hss.rows import GUARD, break_no_rule, gathered, statements
from redoubt.hss.store import Added, Change, Conflict, Stale, StoreFailed

Group = list[tuple[Sequence[Change], Mapping[int, int], asyncio.Future[None]]]
"""Of each caller: its changes, the versions that they are based on, and what it waits for."""

Outcomes = list[StoreFailed | None]


def run(writer: sqlite3.Connection, group: Group) -> Outcomes:
    """Everything of a transaction that has begun."""
    return commit(writer, run_here(writer, group))


def run_here(writer: sqlite3.Connection, group: Group) -> Outcomes:
    """Each caller's changes, all or none; one caller's conflict doesn't touch the others."""
    outcomes: Outcomes = [None] * len(group)
    plain: list[Sequence[Change]] = []
    for place, (changes, seen, _) in enumerate(group):
        try:
            if len(seen) < 2 and break_no_rule(changes):
                # The guard is the only one that can refuse, and comes first: nothing is there to be undone.
                _guard(writer, seen)
                plain.append(changes)
            else:
                outcomes[place] = _nested(writer, changes, seen)
        except Stale as fault:
            outcomes[place] = fault
        except sqlite3.Error as fault:
            return _lost(writer, outcomes, fault)
    try:
        for text, rows in gathered(plain).items():
            writer.executemany(text, rows)
    except sqlite3.Error as fault:
        return _lost(writer, outcomes, fault)
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


def _lost(writer: sqlite3.Connection, outcomes: Outcomes, fault: sqlite3.Error) -> Outcomes:
    """The disk refuses: nothing of the group is kept."""
    if writer.in_transaction:  # SQLite may have rolled it back by itself
        writer.execute("ROLLBACK")
    return [outcome or StoreFailed(str(fault)) for outcome in outcomes]


def _nested(writer: sqlite3.Connection, changes: Sequence[Change], seen: Mapping[int, int]) -> StoreFailed | None:
    """Changes that a rule of the tables may refuse; raises sqlite3.Error if the disk does."""
    writer.execute("SAVEPOINT caller")
    refused: StoreFailed | None = None
    try:
        _guard(writer, seen)
        for change in changes:
            number = take_numbers(writer, 1)[0] if isinstance(change, Added) else 0
            for text, values, exact in statements(change, number):
                if writer.execute(text, values).rowcount != 1 and exact:
                    raise Stale("another process has changed it meanwhile")
    except Stale as fault:
        refused = fault
    except sqlite3.IntegrityError as fault:
        refused = Conflict(str(fault))
    if refused is not None:
        writer.execute("ROLLBACK TO caller")
    writer.execute("RELEASE caller")
    return refused


def _guard(writer: sqlite3.Connection, seen: Mapping[int, int]) -> None:
    for pair in seen.items():
        if writer.execute(GUARD, pair).rowcount != 1:
            raise Stale("another process has changed the subscriber meanwhile; try again")


def take_numbers(writer: sqlite3.Connection, count: int) -> range:
    """Numbers for new subscriptions, which none has had before."""
    writer.execute("UPDATE numbers SET last = last + ?", (count,))
    (last,) = writer.execute("SELECT last FROM numbers").fetchone()
    return range(last - count + 1, last + 1)
