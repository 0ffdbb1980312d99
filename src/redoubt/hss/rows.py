"""Changes and records as rows of SQLite: the one place that knows the columns of schema.sql."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from redoubt.hss.records import Assignment, PrivateRecord, Provisioned, SetRegistration, Subscription
from redoubt.hss.store import (
    Added,
    Assigned,
    Change,
    NewPrivate,
    Removed,
    Reprovisioned,
    SequenceReserved,
    ServerNamed,
    StrangerChallenged,
)

_encode = msgspec.json.Encoder().encode
_decode_provisioned = msgspec.json.Decoder(Provisioned).decode
_decode_sets = msgspec.json.Decoder(tuple[SetRegistration, ...]).decode

_INSERT_PRIVATE = "INSERT INTO private_identity VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_PUBLIC = "INSERT INTO public_identity VALUES (?, ?, ?, ?)"

UPDATES = (SequenceReserved, Assigned, ServerNamed, StrangerChallenged)
"""The changes that break no rule of the tables: they need no savepoint, for they fail with the disk only."""


def apply(writer: sqlite3.Connection, change: Change) -> None:
    """Runs a change's statements, inside the caller's transaction."""
    match change:
        case SequenceReserved(impi, seq):
            writer.execute("UPDATE private_identity SET reserved_seq = ? WHERE impi = ?", (seq, impi))
        case Assigned(number, assignment):
            _assign(writer, number, assignment)
        case ServerNamed(number, server_name, candidate):
            writer.execute(
                "UPDATE subscription SET server_name = ?, candidate = ? WHERE number = ?",
                (server_name, candidate, number),
            )
        case StrangerChallenged(impi):
            writer.execute("INSERT OR REPLACE INTO property VALUES ('stranger', ?)", (impi.encode(),))
        case Removed(number):
            writer.execute("DELETE FROM subscription WHERE number = ?", (number,))
        case Added(provisioned, privates):
            _add(writer, provisioned, privates)
        case Reprovisioned(number, provisioned, assignment):
            writer.execute(
                "UPDATE subscription SET provisioned = ? WHERE number = ?", (_encode(provisioned), number)
            )
            writer.execute("DELETE FROM public_identity WHERE subscription = ?", (number,))
            _add_identities(writer, number, provisioned)
            _assign(writer, number, assignment)


def add_all(writer: sqlite3.Connection, batch: Sequence[Added]) -> None:
    """New subscriptions by few statements, marked as incoming: nobody sees them yet."""
    first = int(writer.execute("SELECT coalesce(max(number), 0) + 1 FROM subscription").fetchone()[0])
    numbered = list(enumerate(batch, first))
    writer.executemany("INSERT INTO incoming VALUES (?)", [(number,) for number, _ in numbered])
    writer.executemany(
        "INSERT INTO subscription (number, provisioned, sets) VALUES (?, ?, ?)",
        [
            (number, _encode(one.provisioned), _encode([SetRegistration() for _ in one.provisioned.sets]))
            for number, one in numbered
        ],
    )
    writer.executemany(
        _INSERT_PRIVATE, [row for number, one in numbered for row in _private_rows(number, one.privates)]
    )
    writer.executemany(
        _INSERT_PUBLIC, [row for number, one in numbered for row in _public_rows(number, one.provisioned)]
    )


def _assign(writer: sqlite3.Connection, number: int, assignment: Assignment) -> None:
    writer.execute(
        "UPDATE subscription SET server_name = ?, candidate = ?, sets = ? WHERE number = ?",
        (assignment.server_name, assignment.candidate, _encode(assignment.sets), number),
    )


def _add(writer: sqlite3.Connection, provisioned: Provisioned, privates: tuple[NewPrivate, ...]) -> None:
    sets = tuple(SetRegistration() for _ in provisioned.sets)
    cursor = writer.execute(
        "INSERT INTO subscription (provisioned, sets) VALUES (?, ?)", (_encode(provisioned), _encode(sets))
    )
    number = cursor.lastrowid or 0
    writer.executemany(_INSERT_PRIVATE, _private_rows(number, privates))
    _add_identities(writer, number, provisioned)


def _add_identities(writer: sqlite3.Connection, number: int, provisioned: Provisioned) -> None:
    writer.executemany(_INSERT_PUBLIC, _public_rows(number, provisioned))


def _private_rows(number: int, privates: tuple[NewPrivate, ...]) -> list[tuple[Any, ...]]:
    return [(one.impi, number, n, one.algorithm, one.amf, one.sealed, one.seq) for n, one in enumerate(privates)]


def _public_rows(number: int, provisioned: Provisioned) -> list[tuple[Any, ...]]:
    return [
        (identity.impu, number, position, identity.wildcard)
        for position, one in enumerate(provisioned.sets)
        for identity in one.identities
    ]


def subscription_of(number: int, row: tuple[Any, ...], privates: list[tuple[Any, ...]]) -> Subscription:
    """A row of subscription (provisioned, server_name, candidate, sets) and its rows of private_identity.

    A reserved SEQ counts as used: whoever reads it after a crash can't know better (TS 33.102 C.1.1).
    """
    return Subscription(
        number,
        _decode_provisioned(row[0]),
        Assignment(row[1], row[2], _decode_sets(row[3])),
        tuple(
            PrivateRecord(impi, algorithm, amf, sealed, seq + 1, seq)
            for impi, algorithm, amf, sealed, seq in privates
        ),
    )
