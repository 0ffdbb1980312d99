"""Changes and records as rows: the one place that knows the columns of schema/*.sql.

Statements are written with question marks, in the SQL that SQLite and PostgreSQL have in common.
"""

from collections.abc import Iterable, Mapping, Sequence
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

_UPDATES = frozenset(
    (
        *(SequenceReserved, AuthenticationPending, Assigned, ServerNamed, StrangerChallenged),
        *(RestorationStored, RestorationDropped, ServerHost),
    )
)


def break_no_rule(changes: Sequence[Change]) -> bool:
    """Whether no rule of the tables can refuse them: they need no savepoint, for they fail with the disk only."""
    return _UPDATES.issuperset(map(type, changes))


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


_RESERVE = "UPDATE private_identity SET reserved_seq = ? WHERE impi = ?"
_NAME = "UPDATE subscription SET server_name = ?, candidate = ? WHERE number = ?"
_ASSIGN = "UPDATE subscription SET server_name = ?, candidate = ?, sets = ? WHERE number = ?"
_KEEP = (
    "INSERT INTO restoration (subscription, position, impi, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (subscription, position, impi) DO UPDATE SET value = excluded.value"
)
_FORGET_ALL = "DELETE FROM restoration WHERE subscription = ?"
_FORGET = "DELETE FROM restoration WHERE subscription = ? AND impi = ? AND position = ?"


def gathered(callers: Iterable[Sequence[Change]]) -> dict[str, list[tuple[Any, ...]]]:
    """The values of many callers' changes by the statement that writes them, for changes that break no rule.

    Callers change different subscriptions, so only the order of one caller's statements matters: what forgets a
    restoration goes before what keeps another.
    """
    texts: dict[str, list[tuple[Any, ...]]] = {_FORGET_ALL: [], _FORGET: []}
    for changes in callers:
        for change in changes:
            for text, values, _exact in statements(change):
                if text in texts:
                    texts[text].append(values)
                else:
                    texts[text] = [values]
    return {text: rows for text, rows in texts.items() if rows}


def statements(change: Change, number: int = 0) -> Sequence[Statement]:
    """What writes a change; `number` is the one that an added subscription gets."""
    match change:  # what a registration writes comes first
        case SequenceReserved():
            return (Statement(_RESERVE, (change.seq, change.impi)),)
        case ServerNamed():
            return (Statement(_NAME, (change.server_name, change.candidate, change.number)),)
        case Assigned():
            return _assigned(change.number, change.assignment)
        case RestorationStored():
            return (Statement(_KEEP, (change.number, change.position, change.info.impi, _encode(change.info))),)
        case AuthenticationPending():
            text = "UPDATE private_identity SET pending = ? WHERE impi = ?"
            return (Statement(text, (int(change.pending), change.impi)),)
        case StrangerChallenged():
            text = (
                "INSERT INTO property (name, value) VALUES ('stranger', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            )
            return (Statement(text, (change.impi.encode(),)),)
        case Removed():
            return (Statement("DELETE FROM subscription WHERE number = ?", (change.number,)),)
        case Added():
            return _added(number, change)
        case Reprovisioned():
            return _reprovisioned(change.number, change.provisioned, change.assignment)
        case _:
            return (_beside(change),)


def _beside(change: RestorationDropped | ServerHost | RepositoryStored | NotificationSubscribed) -> Statement:
    """Changes of what stands beside a subscription."""
    match change:
        case RestorationDropped(impi=""):
            return Statement(_FORGET_ALL, (change.number,))
        case RestorationDropped():
            return Statement(_FORGET, (change.number, change.impi, change.position))
        case ServerHost():
            text = (
                "INSERT INTO server (name, number, host)"
                " VALUES (?, (SELECT COALESCE(MAX(number) + 1, 0) FROM server), ?)"
                " ON CONFLICT (name) DO UPDATE SET host = excluded.host WHERE excluded.host <> ''"
            )
            return Statement(text, (change.server_name, change.host))
        case RepositoryStored():
            return _repository(change)
        case NotificationSubscribed(ends_at=None):
            text = "DELETE FROM notification WHERE impu = ? AND host = ? AND reference = ? AND service = ?"
            return Statement(text, (change.impu, change.host, change.reference, change.service))
        case NotificationSubscribed():
            text = (
                "INSERT INTO notification (impu, host, reference, service, subscription, ends_at)"
                " VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (impu, host, reference, service) DO UPDATE SET ends_at = excluded.ends_at"
            )
            key = (change.impu, change.host, change.reference, change.service)
            return Statement(text, (*key, change.number, change.ends_at))


def _assigned(number: int, assignment: Assignment) -> tuple[Statement, ...]:
    values = (assignment.server_name, assignment.candidate, _encode(assignment.sets), number)
    for one in assignment.sets:
        if one.impis:
            return (Statement(_ASSIGN, values),)
    return Statement(_ASSIGN, values), Statement(_FORGET_ALL, (number,))  # nobody is registered


def _reprovisioned(number: int, provisioned: Provisioned, assignment: Assignment) -> tuple[Statement, ...]:
    cleared = [
        f"DELETE FROM {table} WHERE subscription = ?"  # noqa: S608  two names of our own
        " AND impu NOT IN (SELECT impu FROM public_identity WHERE subscription = ?)"
        for table in ("repository", "notification")
    ]
    return (
        Statement("UPDATE subscription SET provisioned = ? WHERE number = ?", (_encode(provisioned), number)),
        Statement("DELETE FROM public_identity WHERE subscription = ?", (number,)),
        *[Statement(ADD_PUBLIC, row) for row in _public_rows(number, provisioned)],
        *[Statement(text, (number, number)) for text in cleared],
        *_assigned(number, assignment),
    )


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
        _public_rows(number, change.provisioned),
    )


def _public_rows(number: int, provisioned: Provisioned) -> list[tuple[Any, ...]]:
    return [
        (identity.impu, number, position, identity.wildcard)
        for position, one in enumerate(provisioned.sets)
        for identity in one.identities
    ]


def added_tables(numbers: Iterable[int], batch: Sequence[Added]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of many new subscriptions with their numbers, by the statement that writes them."""
    tables: dict[str, list[tuple[Any, ...]]] = {ADD_SUBSCRIPTION: [], ADD_PRIVATE: [], ADD_PUBLIC: []}
    for number, change in zip(numbers, batch, strict=True):
        subscription, privates, publics = added_rows(number, change)
        tables[ADD_SUBSCRIPTION].append(subscription)
        tables[ADD_PRIVATE] += privates
        tables[ADD_PUBLIC] += publics
    return tables


def _added(number: int, change: Added) -> tuple[Statement, ...]:
    subscription, privates, publics = added_rows(number, change)
    return (
        Statement(ADD_SUBSCRIPTION, subscription),
        *[Statement(ADD_PRIVATE, row) for row in privates],
        *[Statement(ADD_PUBLIC, row) for row in publics],
    )


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
