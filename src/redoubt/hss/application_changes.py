"""Tells application servers of changes of the data that they subscribed to (TS 29.328 6.1.4).

What the HSS commits is compared with what was there before; who subscribed is read from the store, after the commit
and outside of the procedure that made the change, so that nobody waits for an application server.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from redoubt.diameter.cx import HssUnavailable
from redoubt.diameter.results import ShResult
from redoubt.diameter.sh import DataReference, Notification, Repository, ShData, ShNotified
from redoubt.hss import application_values as values
from redoubt.hss.records import Assignment, Provisioned, Subscription
from redoubt.hss.store import (
    Assigned,
    Change,
    NotificationSubscribed,
    RepositoryStored,
    Reprovisioned,
    ServerNamed,
    Store,
    StoreFailed,
)
from redoubt.hss.subscriptions import Subscriptions
from redoubt.sip.service import Context

_ENDS_IT = (ShResult.ERROR_NO_SUBSCRIPTION_TO_DATA, ShResult.ERROR_USER_UNKNOWN)


class Moment(NamedTuple):
    """A subscription as it was or is."""

    provisioned: Provisioned
    assignment: Assignment


class ApplicationChanges:
    """Watches the commits of `subscriptions` once somebody can be told."""

    def __init__(self, context: Context, subscriptions: Subscriptions, store: Store) -> None:
        self._context, self._subscriptions, self._store = context, subscriptions, store
        self._notified: ShNotified | None = None

    def tell(self, notified: ShNotified) -> None:
        """From now on `notified` carries notifications to application servers."""
        self._notified = notified
        self._subscriptions.watch = self._committed

    def repository_written(self, number: int, written: Sequence[RepositoryStored], by: str) -> None:
        """Others than the server that wrote them are told (TS 29.328 6.1.4.1)."""
        if self._notified is not None:
            self._context.start(self._tell_of_repository(number, written, by))

    def _committed(self, changes: Iterable[Change], touched: Sequence[Subscription]) -> None:
        """Subscriptions in `touched` are still as they were."""
        for change in changes:
            if isinstance(change, Assigned | ServerNamed | Reprovisioned):
                before = next((one for one in touched if one.number == change.number), None)
                if before is not None:
                    self._compare(before, change)

    def _compare(self, before: Subscription, change: Assigned | ServerNamed | Reprovisioned) -> None:
        old = Moment(before.provisioned, before.assignment)
        match change:
            case Assigned(assignment=assignment):
                new = Moment(before.provisioned, assignment)
            case ServerNamed(server_name=name, candidate=candidate):
                new = Moment(before.provisioned, Assignment(name, candidate, before.assignment.sets))
            case Reprovisioned(provisioned=provisioned, assignment=assignment):
                new = Moment(provisioned, assignment)
        if _shown(old) != _shown(new):
            self._context.start(self._tell_of_change(change.number, old, new))

    async def _tell_of_change(self, number: int, old: Moment, new: Moment) -> None:
        for (host, impu), rows in (await self._subscribed(number)).items():
            data = _difference(old, new, impu, rows)
            if data != ShData():
                await self._tell(host, impu, data, rows)

    async def _tell_of_repository(self, number: int, written: Sequence[RepositoryStored], by: str) -> None:
        for (host, impu), rows in (await self._subscribed(number)).items():
            services = {row.service for row in rows if row.reference == DataReference.REPOSITORY_DATA}
            entries = tuple(
                [
                    Repository(one.service, one.sequence, None if one.octets is None else one.octets.decode())
                    for one in written
                    if one.impu == impu and one.service in services
                ]
            )
            if entries and host != by:
                await self._tell(host, impu, ShData(repository=entries), rows)

    async def _subscribed(self, number: int) -> dict[tuple[str, str], list[NotificationSubscribed]]:
        """Who is told of what, by server and public identity."""
        now = self._context.clock.now()
        found: dict[tuple[str, str], list[NotificationSubscribed]] = {}
        try:
            for row in await self._store.notifications(number):
                if not row.ends_at or row.ends_at > now:
                    found.setdefault((row.host, row.impu), []).append(row)
        except StoreFailed as fault:
            self._context.notice("warning", f"application servers were not told of a change: {fault}")
        return found

    async def _tell(self, host: str, impu: str, data: ShData, rows: Iterable[NotificationSubscribed]) -> None:
        if self._notified is None:
            return
        try:
            result = await self._notified.notify(host, Notification(impu, data))
            if result in _ENDS_IT:  # it knows nothing of the subscription (TS 29.328 6.1.4.1)
                await self._store.write(
                    [
                        NotificationSubscribed(row.number, impu, host, row.reference, row.service, None)
                        for row in rows
                    ]
                )
        except HssUnavailable:
            pass  # reported by whoever tried
        except StoreFailed as fault:
            self._context.notice("warning", f"a subscription that {host} doesn't know of stays: {fault}")


def _shown(moment: Moment) -> tuple[object, ...]:
    """All of it that can be subscribed to."""
    states = [one.state for one in moment.assignment.sets]
    return (moment.assignment.server_name, states, moment.provisioned.sets)


def _difference(old: Moment, new: Moment, impu: str, rows: Iterable[NotificationSubscribed]) -> ShData:
    """What changed of what was subscribed to, and nothing else."""
    was, is_now = values.position_of(old.provisioned, impu), values.position_of(new.provisioned, impu)
    if was is None or is_now is None:
        return ShData()
    found = ShData()
    for row in rows:
        before, after = _value(old, was, row), _value(new, is_now, row)
        if before != after:
            found = _joined(found, after)
    return found


def _value(moment: Moment, position: int, row: NotificationSubscribed) -> ShData:
    match row.reference:
        case DataReference.IMS_USER_STATE:
            return ShData(user_state=values.user_state(moment.assignment, position))
        case DataReference.S_CSCF_NAME:
            return ShData(s_cscf_name=moment.assignment.server_name)
        case DataReference.IMS_PUBLIC_IDENTITY:
            return ShData(impus=values.identities(moment.provisioned, moment.assignment, position))
        case DataReference.INITIAL_FILTER_CRITERIA:
            return ShData(criteria=values.criteria(moment.provisioned, position, row.impu, row.service))
    return ShData()


def _joined(one: ShData, other: ShData) -> ShData:
    return ShData(
        one.impus or other.impus,
        (),
        (),
        other.s_cscf_name if one.s_cscf_name is None else one.s_cscf_name,
        other.criteria if one.criteria is None else one.criteria,
        other.user_state if one.user_state is None else one.user_state,
    )
