"""Changes and records as rows: the one place that knows the columns of schema/*.sql.

Statements are written with question marks, in the SQL that SQLite and PostgreSQL have in common.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from redoubt.diameter.cx import RestorationInfo
from redoubt.hss.records import Assignment, PrivateRecord, Provisioned, SetRegistration, Subscription
from redoubt.hss.store import (
    Added,
    Assigned,
    AuthenticationPending,
    Change,
    NotificationSubscribed,
    Removed,
    RepositoryStored,
    Reprovisioned,
    RestorationDropped,
    RestorationStored,
    SequenceReserved,
    ServerHost,
    ServerNamed,
    StrangerChallenged,
)

_encode = msgspec.json.Encoder().encode
_decode_provisioned = msgspec.json.Decoder(Provisioned).decode
_decode_sets = msgspec.json.Decoder(tuple[SetRegistration, ...]).decode
decode_restoration = msgspec.json.Decoder(RestorationInfo).decode

UPDATES = (
    *(SequenceReserved, AuthenticationPending, Assigned, ServerNamed, StrangerChallenged),
    *(RestorationStored, RestorationDropped, ServerHost),
)
"""The changes that break no rule of the tables: alone they need no savepoint, for they fail with the disk only."""

_RECORD = (
    "number, version, provisioned, server_name, candidate, sets,"
    " impi, algorithm, amf, sealed, reserved_seq, pending"
    " FROM subscription LEFT JOIN private_identity ON subscription = number"
)
VISIBLE = "NOT EXISTS (SELECT 1 FROM incoming WHERE incoming.number = subscription.number)"
"""Not of an import under way."""


def records(where: str) -> str:
    """A query of subscriptions with their private identities, for `subscriptions_of`."""
    return f"SELECT {_RECORD} WHERE {where} AND {VISIBLE} ORDER BY number, position"


GUARD = "UPDATE subscription SET version = version + 1 WHERE number = ? AND version = ?"
"""Touches no row if another process changed the subscription."""


class Statement(NamedTuple):
    """`exact`: a statement that touches no row means that the change is based on what is no longer so."""

    text: str
    values: tuple[Any, ...]
    exact: bool = False


def statements(change: Change, number: int = 0) -> Iterator[Statement]:
    """What writes a change; `number` is the one that an added subscription gets."""
    match change:
        case SequenceReserved(impi=impi, seq=seq):
            yield Statement("UPDATE private_identity SET reserved_seq = ? WHERE impi = ?", (seq, impi))
        case AuthenticationPending(impi=impi, pending=pending):
            yield Statement("UPDATE private_identity SET pending = ? WHERE impi = ?", (int(pending), impi))
        case Assigned(number=number, assignment=assignment):
            yield from _assigned(number, assignment)
        case ServerNamed(number=number, server_name=name, candidate=candidate):
            text = "UPDATE subscription SET server_name = ?, candidate = ? WHERE number = ?"
            yield Statement(text, (name, candidate, number))
        case StrangerChallenged(impi=impi):
            text = (
                "INSERT INTO property (name, value) VALUES ('stranger', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            )
            yield Statement(text, (impi.encode(),))
        case Removed(number=number):
            yield Statement("DELETE FROM subscription WHERE number = ?", (number,))
        case Added(provisioned=provisioned, privates=_):
            yield from _added(number, change)
        case Reprovisioned(number=number, provisioned=provisioned, assignment=assignment):
            yield from _reprovisioned(number, provisioned, assignment)
        case _:
            yield from _beside(change)


def _beside(change: Change) -> Iterator[Statement]:
    """Changes of what stands beside a subscription."""
    match change:
        case RestorationStored(number=number, position=position, info=info):
            text = (
                "INSERT INTO restoration (subscription, position, impi, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (subscription, position, impi) DO UPDATE SET value = excluded.value"
            )
            yield Statement(text, (number, position, info.impi, _encode(info)))
        case RestorationDropped(number=number, impi=""):
            yield Statement("DELETE FROM restoration WHERE subscription = ?", (number,))
        case RestorationDropped(number=number, impi=impi, position=position):
            text = "DELETE FROM restoration WHERE subscription = ? AND impi = ? AND position = ?"
            yield Statement(text, (number, impi, position))
        case ServerHost(server_name=name, host=host):
            text = (
                "INSERT INTO server (name, number, host)"
                " VALUES (?, (SELECT COALESCE(MAX(number) + 1, 0) FROM server), ?)"
                " ON CONFLICT (name) DO UPDATE SET host = excluded.host WHERE excluded.host <> ''"
            )
            yield Statement(text, (name, host))
        case RepositoryStored():
            yield _repository(change)
        case NotificationSubscribed(ends_at=None):
            text = "DELETE FROM notification WHERE impu = ? AND host = ? AND reference = ? AND service = ?"
            yield Statement(text, (change.impu, change.host, change.reference, change.service))
        case NotificationSubscribed():
            text = (
                "INSERT INTO notification (impu, host, reference, service, subscription, ends_at)"
                " VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (impu, host, reference, service) DO UPDATE SET ends_at = excluded.ends_at"
            )
            key = (change.impu, change.host, change.reference, change.service)
            yield Statement(text, (*key, change.number, change.ends_at))


def _assigned(number: int, assignment: Assignment) -> Iterator[Statement]:
    text = "UPDATE subscription SET server_name = ?, candidate = ?, sets = ? WHERE number = ?"
    values = (assignment.server_name, assignment.candidate, _encode(assignment.sets), number)
    yield Statement(text, values)
    if not any(one.impis for one in assignment.sets):  # nobody is registered: nothing is to be restored
        yield Statement("DELETE FROM restoration WHERE subscription = ?", (number,))


def _reprovisioned(number: int, provisioned: Provisioned, assignment: Assignment) -> Iterator[Statement]:
    yield Statement("UPDATE subscription SET provisioned = ? WHERE number = ?", (_encode(provisioned), number))
    yield Statement("DELETE FROM public_identity WHERE subscription = ?", (number,))
    yield from _identities(number, provisioned)
    for table in ("repository", "notification"):
        text = (
            f"DELETE FROM {table} WHERE subscription = ?"  # noqa: S608  two names of our own
            " AND impu NOT IN (SELECT impu FROM public_identity WHERE subscription = ?)"
        )
        yield Statement(text, (number, number))
    yield from _assigned(number, assignment)


def _repository(change: RepositoryStored) -> Statement:
    """Only if the stored sequence number is the one that the change follows (TS 29.328 6.1.2)."""
    key = (change.impu, change.service)
    if change.octets is None:
        text = "DELETE FROM repository WHERE impu = ? AND service = ? AND sequence = ?"
        return Statement(text, (*key, change.after), True)
    if change.after is None:
        text = (
            "INSERT INTO repository (impu, service, subscription, sequence, value) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (impu, service) DO NOTHING"
        )
        return Statement(text, (*key, change.number, change.sequence, change.octets), True)
    text = "UPDATE repository SET sequence = ?, value = ? WHERE impu = ? AND service = ? AND sequence = ?"
    return Statement(text, (change.sequence, change.octets, *key, change.after), True)


ADD_SUBSCRIPTION = "INSERT INTO subscription (number, provisioned, sets) VALUES (?, ?, ?)"
ADD_PRIVATE = (
    "INSERT INTO private_identity (impi, subscription, position, algorithm, amf, sealed, reserved_seq)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
ADD_PUBLIC = "INSERT INTO public_identity (impu, subscription, position, wildcard) VALUES (?, ?, ?, ?)"


def added_rows(number: int, change: Added) -> tuple[tuple[Any, ...], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The rows of a new subscription, for the three statements above, whose columns they follow."""
    sets = tuple(SetRegistration() for _ in change.provisioned.sets)
    return (
        (number, _encode(change.provisioned), _encode(sets)),
        [
            (one.impi, number, n, one.algorithm, one.amf, one.sealed, one.seq)
            for n, one in enumerate(change.privates)
        ],
        [
            (identity.impu, number, position, identity.wildcard)
            for position, one in enumerate(change.provisioned.sets)
            for identity in one.identities
        ],
    )


def added_tables(numbers: Iterable[int], batch: Sequence[Added]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of many new subscriptions with their numbers, by the statement that writes them."""
    tables: dict[str, list[tuple[Any, ...]]] = {ADD_SUBSCRIPTION: [], ADD_PRIVATE: [], ADD_PUBLIC: []}
    for number, change in zip(numbers, batch, strict=True):
        subscription, privates, publics = added_rows(number, change)
        tables[ADD_SUBSCRIPTION].append(subscription)
        tables[ADD_PRIVATE] += privates
        tables[ADD_PUBLIC] += publics
    return tables


def _added(number: int, change: Added) -> Iterator[Statement]:
    subscription, privates, publics = added_rows(number, change)
    yield Statement(ADD_SUBSCRIPTION, subscription)
    for row in privates:
        yield Statement(ADD_PRIVATE, row)
    for row in publics:
        yield Statement(ADD_PUBLIC, row)


def _identities(number: int, provisioned: Provisioned) -> Iterator[Statement]:
    for position, one in enumerate(provisioned.sets):
        for identity in one.identities:
            yield Statement(ADD_PUBLIC, (identity.impu, number, position, identity.wildcard))


def subscriptions_of(
    rows: Sequence[Sequence[Any]], known: Mapping[int, Subscription] | None = None
) -> list[Subscription]:
    """Rows of `records`, those of one subscription together; what is `known` in the same version is not read again.

    A reserved SEQ counts as used: whoever reads it after a crash can't know better (TS 33.102 C.1.1).
    """
    found: list[Subscription] = []
    privates: list[PrivateRecord] = []
    for number, version, provisioned, server_name, candidate, sets, impi, algorithm, amf, sealed, seq, pending in rows:
        former = known.get(number) if known else None
        if former is not None and former.version == version:
            if former not in found:
                found.append(former)
            continue
        if not found or found[-1].number != number:
            privates = []
            assignment = Assignment(server_name, candidate, _decode_sets(sets))
            found.append(Subscription(number, version, _decode_provisioned(provisioned), assignment, ()))
        if impi is not None:
            privates.append(PrivateRecord(impi, algorithm, amf, sealed, seq + 1, seq, bool(pending)))
            found[-1].privates = tuple(privates)
    return found
