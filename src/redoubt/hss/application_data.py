"""What the HSS answers to application servers over Sh: pull, update, subscribe (TS 29.328 6.1).

Satisfies `redoubt.diameter.sh.Sh`. Who is told when data change is in application_changes.py. Repository data and
subscriptions are durable before the answer is given.
"""

from collections.abc import Iterable

from redoubt.diameter.results import Result, ShResult
from redoubt.diameter.sh import (
    NOTIFIED,
    SERVED,
    DataReference,
    ImsUserState,
    Pull,
    Repository,
    ShAnswer,
    ShCode,
    ShData,
    Subscribe,
    Update,
    UserIdentity,
)
from redoubt.hss import application_values as values
from redoubt.hss.application_changes import ApplicationChanges
from redoubt.hss.records import Subscription
from redoubt.hss.store import NotificationSubscribed, RepositoryStored, Stale, Store, StoreFailed
from redoubt.hss.subscriptions import Subscriptions
from redoubt.limits import (
    SH_NOTIFICATIONS_PER_SUBSCRIPTION,
    SH_REPOSITORY_OCTETS,
    SH_SERVICES_PER_SUBSCRIPTION,
    SH_SUBSCRIPTION_S,
)
from redoubt.sip.service import Context

_REPOSITORY = DataReference.REPOSITORY_DATA
_KNOWN = frozenset(DataReference)
Place = tuple[Subscription, int, str]
"""The subscription, the set in it, and the identity that was asked for."""


class Refusal(Exception):
    """Theirs: the result that is owed (TS 29.328 6.1)."""

    def __init__(self, result: ShCode) -> None:
        super().__init__(result.name)
        self.result = result


class ApplicationData:
    """`changes` tells the others of what one application server wrote."""

    def __init__(
        self, context: Context, subscriptions: Subscriptions, store: Store, changes: ApplicationChanges
    ) -> None:
        self._context, self._subscriptions, self._store = context, subscriptions, store
        self._changes = changes

    async def pull(self, host: str, allowed: frozenset[int], asked: Pull) -> ShAnswer:
        """UDR (TS 29.328 6.1.1.1)."""
        try:
            _check(asked.references, allowed, SERVED, ShResult.ERROR_USER_DATA_CANNOT_BE_READ)
            place = await self._place(asked.identity)
            return ShAnswer(Result.SUCCESS, await self._data(place, asked))
        except Refusal as refusal:
            return ShAnswer(refusal.result)
        except StoreFailed:
            return ShAnswer(Result.UNABLE_TO_COMPLY)

    async def update(self, host: str, allowed: frozenset[int], asked: Update) -> ShAnswer:
        """PUR (TS 29.328 6.1.2.1): repository data, all of them or none."""
        try:
            modifiable = frozenset((_REPOSITORY,))
            _check(asked.references, allowed, modifiable, ShResult.ERROR_USER_DATA_CANNOT_BE_MODIFIED)
            place = await self._place(asked.identity)
            if not asked.identity.impu or not asked.data.repository:
                raise Refusal(ShResult.ERROR_OPERATION_NOT_ALLOWED)
            changes = [await self._stored(place, one) for one in asked.data.repository]
            await self._store.write(changes)
            self._changes.repository_written(place[0].number, changes, host)
            return ShAnswer(Result.SUCCESS)
        except Refusal as refusal:
            return ShAnswer(refusal.result)
        except Stale:
            return ShAnswer(ShResult.ERROR_TRANSPARENT_DATA_OUT_OF_SYNC)
        except StoreFailed:
            return ShAnswer(Result.UNABLE_TO_COMPLY)

    async def subscribe(self, host: str, allowed: frozenset[int], asked: Subscribe) -> ShAnswer:
        """SNR (TS 29.328 6.1.3.1)."""
        try:
            _check(asked.references, allowed, NOTIFIED, ShResult.ERROR_USER_DATA_CANNOT_BE_NOTIFIED)
            place = await self._place(asked.identity)
            ends_at = await self._subscribe(host, place, asked)
            data = None
            if asked.send_data and not asked.unsubscribes:
                pull = Pull(asked.identity, asked.references, asked.services, server_name=asked.server_name)
                data = await self._data(place, pull)
            return ShAnswer(Result.SUCCESS, data, ends_at)
        except Refusal as refusal:
            return ShAnswer(refusal.result)
        except StoreFailed:
            return ShAnswer(Result.UNABLE_TO_COMPLY)

    async def _place(self, identity: UserIdentity) -> Place:
        impu = identity.impu or f"tel:+{identity.msisdn}"
        found = await self._subscriptions.find("", impu)
        if found.of_impu is None:
            raise Refusal(ShResult.ERROR_USER_UNKNOWN)
        return found.of_impu, found.position, impu

    async def _data(self, place: Place, asked: Pull) -> ShData:
        """What each reference stands for (TS 29.328 7.6)."""
        subscription, position, impu = place
        provisioned, assignment = subscription.provisioned, subscription.assignment
        references = frozenset(asked.references)
        state = ImsUserState.AUTHENTICATION_PENDING if subscription.is_pending else ImsUserState.NOT_REGISTERED
        return ShData(
            values.identities(provisioned, assignment, position, asked.identity_set)
            if DataReference.IMS_PUBLIC_IDENTITY in references
            else (),
            values.msisdns(provisioned) if DataReference.MSISDN in references else (),
            await self._repository(asked.identity, asked.services) if _REPOSITORY in references else (),
            assignment.server_name if DataReference.S_CSCF_NAME in references else None,
            values.criteria(provisioned, position, impu, asked.server_name)
            if DataReference.INITIAL_FILTER_CRITERIA in references
            else None,
            values.user_state(assignment, position) or state if DataReference.IMS_USER_STATE in references else None,
        )

    async def _repository(self, identity: UserIdentity, services: Iterable[str]) -> tuple[Repository, ...]:
        """A service without data is there with sequence number 0."""
        if not identity.impu or not services:  # repository data are of a public identity (TS 29.328 table 7.6.1)
            raise Refusal(ShResult.ERROR_OPERATION_NOT_ALLOWED)
        found = []
        for service in services:
            kept = await self._store.repository(identity.impu, service)
            text = None if kept is None else kept.octets.decode()
            found.append(Repository(service, 0 if kept is None else kept.sequence, text))
        return tuple(found)

    async def _stored(self, place: Place, given: Repository) -> RepositoryStored:
        """The next sequence number follows the one that is there; 0 begins (TS 29.328 6.1.2.1, 7.6.1)."""
        subscription, _position, impu = place
        kept = await self._store.repository(impu, given.service)
        octets = None if given.service_data is None else given.service_data.encode()
        if octets is not None and len(octets) > SH_REPOSITORY_OCTETS:
            raise Refusal(ShResult.ERROR_TOO_MUCH_DATA)
        if kept is None and octets is None:
            raise Refusal(ShResult.ERROR_OPERATION_NOT_ALLOWED)
        if given.sequence != (0 if kept is None else kept.sequence % 65535 + 1):
            raise Refusal(ShResult.ERROR_TRANSPARENT_DATA_OUT_OF_SYNC)
        after = None if kept is None else kept.sequence
        if after is None and await self._store.repository_count(subscription.number) >= SH_SERVICES_PER_SUBSCRIPTION:
            raise Refusal(Result.RESOURCES_EXCEEDED)
        return RepositoryStored(subscription.number, impu, given.service, after, given.sequence, octets)

    async def _subscribe(self, host: str, place: Place, asked: Subscribe) -> int:
        """Writes what is asked for; when it ends, 0 for never."""
        subscription, _position, impu = place
        number, now = subscription.number, int(self._context.clock.now())
        there = [one for one in await self._store.notifications(number) if not one.ends_at or one.ends_at > now]
        mine = {(one.reference, one.service) for one in there if one.host == host and one.impu == impu}
        wanted = await self._wanted(impu, asked)
        if asked.unsubscribes and not mine.issuperset(wanted):
            raise Refusal(ShResult.ERROR_NO_SUBSCRIPTION_TO_DATA)
        if not asked.unsubscribes and len(there) + len(wanted) > SH_NOTIFICATIONS_PER_SUBSCRIPTION:
            raise Refusal(Result.RESOURCES_EXCEEDED)
        ends_at = min(asked.ends_at, now + SH_SUBSCRIPTION_S) if asked.ends_at else 0
        if not asked.unsubscribes and asked.ends_at and ends_at <= now:
            raise Refusal(ShResult.ERROR_OPERATION_NOT_ALLOWED)
        until = None if asked.unsubscribes else ends_at
        await self._store.write(
            [NotificationSubscribed(number, impu, host, reference, service, until) for reference, service in wanted]
        )
        return 0 if asked.unsubscribes else ends_at

    async def _wanted(self, impu: str, asked: Subscribe) -> list[tuple[int, str]]:
        """References, each with the service or server that it is about; repository data must be there."""
        wanted: list[tuple[int, str]] = []
        for reference in dict.fromkeys(asked.references):
            if reference == DataReference.INITIAL_FILTER_CRITERIA:
                wanted.append((reference, asked.server_name))
            elif reference != _REPOSITORY:
                wanted.append((reference, ""))
            elif not asked.services or not asked.identity.impu:
                raise Refusal(ShResult.ERROR_OPERATION_NOT_ALLOWED)
            for service in asked.services if reference == _REPOSITORY else ():
                if not asked.unsubscribes and await self._store.repository(impu, service) is None:
                    raise Refusal(ShResult.ERROR_SUBS_DATA_ABSENT)
                wanted.append((reference, service))
        return wanted


def _check(references: Iterable[int], allowed: frozenset[int], possible: frozenset[int], refusal: ShResult) -> None:
    """Each a value of TS 29.329 6.3.4 (else 5100), on this server's permission list, and possible for this operation.

    A reference that this HSS has no data for is on no list (TS 29.328 6.1.1.1, 6.2).
    """
    for reference in references:
        if reference not in _KNOWN:
            raise Refusal(ShResult.ERROR_USER_DATA_NOT_RECOGNIZED)
        if reference not in allowed or reference not in possible:
            raise Refusal(refusal)
