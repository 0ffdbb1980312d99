"""What an operator does to a running HSS: add, remove, bar, change, reassign, deregister; RTR and PPR follow.

TS 29.228 clauses 6.1.3 (RTR) and 6.2.2 (PPR). The store changes first, then the S-CSCF is told: if it can't be
reached, what it does next with the user is refused by the HSS.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum

from redoubt.diameter.cx import (
    DeregistrationReason,
    HssUnavailable,
    RegistrationTermination,
    ResultCode,
)
from redoubt.hss.keys import Seal
from redoubt.hss.provisioned import barred_in, carried_over, is_moved, same_set, without
from redoubt.hss.records import (
    Assignment,
    ImplicitSet,
    PrivateRecord,
    Provisioned,
    RegistrationState,
    Subscription,
)
from redoubt.hss.scscfs import SCscfs
from redoubt.hss.store import (
    Added,
    Assigned,
    AuthenticationPending,
    Change,
    Conflict,
    Import,
    Removed,
    Reprovisioned,
    RestorationDropped,
    Stale,
    Store,
    StoreFailed,
)
from redoubt.hss.subscriber import ProvisioningError, Subscriber, added, canonical_impu
from redoubt.hss.subscriptions import Subscriptions
from redoubt.limits import HSS_ATTEMPTS, HSS_WILDCARDS
from redoubt.secret import Secret
from redoubt.sip.service import Context

PAGE = 250  # subscriptions read at a time when all are
_NOT_REGISTERED = RegistrationState.NOT_REGISTERED


class Told(StrEnum):
    """Whether the S-CSCF that serves the user knows of a change."""

    DONE = "told"
    NOT_NEEDED = "not-needed"
    UNREACHABLE = "unreachable"


class NotProvisioned(ProvisioningError):
    """There is no such subscriber."""


class Taken(ProvisioningError):
    """An identity belongs to a subscriber already."""


class Administration:
    """Provisioning of a running HSS. Everything raises ProvisioningError (operator's fault) or StoreFailed."""

    def __init__(
        self,
        context: Context,
        subscriptions: Subscriptions,
        store: Store,
        seal: Seal,
        clients: SCscfs,
    ) -> None:
        self._context = context
        self._subscriptions = subscriptions
        self._store = store
        self._seal = seal
        self._clients = clients

    async def reachable(self) -> Collection[str]:
        """S-CSCFs that RTR and PPR can be sent to."""
        return await self._clients.names()

    async def add(self, subscribers: Iterable[Subscriber]) -> int:
        """All of them or none; returns how many."""
        changes = [added(one, self._seal, self._context.randomness) for one in subscribers]
        if not changes:
            return 0
        await self.check_room(sum(_wildcards(change.provisioned) for change in changes))
        try:
            await self._subscriptions.commit(changes)
        except Conflict as fault:
            raise Taken(*taken(fault)) from None
        self._subscriptions.provisioning_changed()
        return len(changes)

    @asynccontextmanager
    async def bulk(self) -> AsyncIterator["Bulk"]:
        """What is added within comes to life together at its end; if that is not reached, nothing does."""
        importing = await self._store.begin_import()
        whole = False
        try:
            yield Bulk(self._context, self._seal, importing)
            await importing.commit()
            whole = True
        finally:
            if not whole:
                await importing.abandon()
        self._subscriptions.provisioning_changed()

    async def check_room(self, wildcards: int) -> None:
        """Refuses so many more wildcarded identities than may be."""
        if wildcards and wildcards + len(await self._store.wildcards()) > HSS_WILDCARDS:
            raise ProvisioningError("wildcards", f"at most {HSS_WILDCARDS} in all")

    async def knows(self, identity: str) -> bool:
        """Whether somebody has this IMPI or IMPU."""
        return await self._found(identity) is not None

    async def show(self, identity: str) -> Subscription:
        """By IMPI or IMPU, a wildcarded one by its pattern. Keys stay sealed."""
        subscription = await self._found(identity)
        if subscription is None:
            raise NotProvisioned("identity", f"{identity} is not provisioned")
        return subscription

    async def _found(self, identity: str) -> Subscription | None:
        if not identity.startswith(("sip:", "sips:", "tel:")):
            return (await self._subscriptions.find(identity, "")).of_impi if identity else None
        impu = canonical_impu(identity, "identity")
        subscription = (await self._subscriptions.find("", impu)).of_impu
        # Not whoever is only matched by a wildcard: that subscription has many such identities.
        if subscription is not None and any(
            impu == known.impu for one in subscription.provisioned.sets for known in one.identities
        ):
            return subscription
        return None

    async def page(self, after: int, count: int) -> list[Subscription]:
        """The next so many, as last committed, in order of their making."""
        return await self._store.page(after, count)

    async def subscriptions(self) -> AsyncIterator[Subscription]:
        """All of them, as last committed, in order of their making."""
        last = 0
        while page := await self.page(last, PAGE):
            for subscription in page:
                yield subscription
            last = page[-1].number

    def keys(self, record: PrivateRecord) -> tuple[Secret, Secret]:
        """K and OPc, for an export that was asked for; raises NotSealedHere."""
        return self._seal.open(record.impi, record.sealed)

    async def remove(self, identity: str) -> Told:
        """Takes the whole subscription away; its S-CSCF gets an RTR (PERMANENT_TERMINATION)."""
        subscription = await self._decided(identity, lambda known: [Removed(known.number)])
        self._subscriptions.forget(subscription)
        self._subscriptions.provisioning_changed()
        termination = _termination(subscription, DeregistrationReason.PERMANENT_TERMINATION, "subscription removed")
        return await self._terminate(subscription.assignment.server_name, termination)

    async def deregister(
        self,
        identity: str,
        reason: DeregistrationReason = DeregistrationReason.PERMANENT_TERMINATION,
        explanation: str = "ended by the operator",
    ) -> Told:
        """Ends the registrations of an IMPI's or IMPU's subscription; the user may register again at once."""
        subscription = await self._decided(identity, self._unassigned)
        server_name = subscription.assignment.server_name
        subscription.assignment = _none_registered(subscription)
        for record in subscription.privates:
            record.pending = False
        return await self._terminate(server_name, _termination(subscription, reason, explanation))

    async def reassign(self, identity: str) -> Told:
        """Frees the user from its S-CSCF, so that the next registration chooses one (TS 29.228 6.1.3)."""
        return await self.deregister(
            identity, DeregistrationReason.SERVER_CHANGE, "another S-CSCF shall serve the user"
        )

    async def bar(self, identity: str, barred: bool = True) -> Told:
        """Bars an IMPU, or all of an IMPI's subscription, or lifts that.

        The S-CSCF gets the new profile (PPR); a set that is barred whole ends (RTR).
        """
        impu = canonical_impu(identity) if identity.startswith(("sip:", "sips:", "tel:")) else ""
        return await self.change(identity, lambda known: barred_in(known.provisioned, impu, barred))

    async def change(self, identity: str, edit: Callable[[Subscription], Provisioned]) -> Told:
        """Gives a subscription other profiles, networks or capabilities; its private identities and keys stay.

        `edit` may be asked more than once. Sets that go on and are served get a PPR, the others an RTR.
        """
        await self.check_room(_wildcards(edit(await self.show(identity))))
        def reprovisioned(known: Subscription) -> list[Change]:
            wanted = edit(known)
            change = Reprovisioned(known.number, wanted, carried_over(known, wanted))
            return [change, RestorationDropped(known.number)] if is_moved(known.provisioned, wanted) else [change]

        try:
            before = await self._decided(identity, reprovisioned)
        except Conflict as fault:
            raise Taken(*taken(fault)) from None
        self._subscriptions.forget(before)
        self._subscriptions.provisioning_changed()
        fresh = await self._subscriptions.numbered(before.number)
        if fresh is None:  # removed meanwhile, which told everybody
            return Told.NOT_NEEDED
        return await self._tell_of_change(fresh, before)

    def _unassigned(self, known: Subscription) -> list[Change]:
        """No set is registered, and no challenge open."""
        pending = [record for record in known.privates if record.pending and self._store.is_shared]
        ended: list[Change] = [AuthenticationPending(record.impi, False) for record in pending]
        return [Assigned(known.number, _none_registered(known)), *ended]

    async def _decided(self, identity: str, decide: Callable[[Subscription], list[Change]]) -> Subscription:
        """Commits changes that depend on what is there; looks again when another process was quicker.

        Returns the subscription as it was, out of which the caller makes what it is.
        """
        for _ in range(HSS_ATTEMPTS):
            subscription = await self.show(identity)
            try:
                await self._subscriptions.commit(decide(subscription), subscription)
            except Stale:
                continue
            return subscription
        raise StoreFailed(f"{identity} is being changed all the time")

    async def _tell_of_change(self, fresh: Subscription, before: Subscription) -> Told:
        server_name = fresh.assignment.server_name
        if not server_name:
            return Told.NOT_NEEDED
        told = [
            await self._push(server_name, fresh, position)
            for position, one in enumerate(fresh.provisioned.sets)
            if fresh.assignment.sets[position].state is not _NOT_REGISTERED
            and not one.all_barred
            and _is_news(one, before.provisioned)
        ]
        ended = [
            identity.impu
            for one, registration in zip(before.provisioned.sets, before.assignment.sets, strict=True)
            if registration.state is not _NOT_REGISTERED and _has_ended(one, fresh.provisioned)
            for identity in one.identities
        ]
        if ended:
            told.append(await self._end_sets(fresh, tuple(ended)))
        return max(told, default=Told.NOT_NEEDED, key=(Told.NOT_NEEDED, Told.DONE, Told.UNREACHABLE).index)

    async def _push(self, server_name: str, fresh: Subscription, position: int) -> Told:
        """PPR of one set."""
        client = self._clients.get(server_name)
        result: ResultCode | None = None
        if client is not None:
            try:
                result = await client.push_profile(fresh.profile(position, ""))
            except HssUnavailable:
                pass
        return self._verdict(result, "PPR", fresh.privates[0].impi)

    async def _end_sets(self, fresh: Subscription, impus: tuple[str, ...]) -> Told:
        """RTR of sets that are barred whole, or no longer there; the others go on."""
        server_name = fresh.assignment.server_name

        def ended(known: Subscription) -> list[Change]:
            barred = [position for position, one in enumerate(known.provisioned.sets) if one.all_barred]
            return [Assigned(known.number, without(known.assignment, barred))]

        known = await self._decided(fresh.privates[0].impi, ended)
        self._subscriptions.forget(known)
        termination = _termination(fresh, DeregistrationReason.PERMANENT_TERMINATION, "barred", impus)
        return await self._terminate(server_name, termination)

    async def _terminate(self, server_name: str, termination: RegistrationTermination) -> Told:
        """RTR."""
        if not server_name:
            return Told.NOT_NEEDED
        client = self._clients.get(server_name)
        result: ResultCode | None = None
        if client is not None:
            try:
                result = await client.registration_termination(termination)
            except HssUnavailable:
                pass
        return self._verdict(result, "RTR", termination.impi)

    def _verdict(self, result: ResultCode | None, command: str, impi: str) -> Told:
        if result is ResultCode.SUCCESS:
            return Told.DONE
        how = "could not be reached for" if result is None else f"answered {result.name} to"
        self._context.notice("warning", f"the S-CSCF {how} the {command} of {impi}", "the HSS has the change")
        return Told.UNREACHABLE


class Bulk:
    """An import under way."""

    def __init__(self, context: Context, seal: Seal, importing: Import) -> None:
        self._context = context
        self._seal = seal
        self._importing = importing

    def sealed(self, subscriber: Subscriber) -> Added:
        """Checked, and its keys sealed. Raises ProvisioningError."""
        return added(subscriber, self._seal, self._context.randomness)

    async def add(self, batch: list[Added]) -> None:
        """Raises Conflict if the store has one of its identities."""
        await self._importing.add(batch)


def taken(fault: Conflict) -> tuple[str, str]:
    """Field and reason of a conflict, in the operator's words."""
    if "public_identity" in str(fault):
        return "impus", "a public identity belongs to another subscriber; remove that one first"
    return "impi", "a private identity is provisioned already; remove it first"


def _termination(
    subscription: Subscription, reason: DeregistrationReason, explanation: str, impus: tuple[str, ...] = ()
) -> RegistrationTermination:
    impis = tuple(record.impi for record in subscription.privates)
    return RegistrationTermination(impis[0], impus, reason, explanation, impis[1:])


def _none_registered(subscription: Subscription) -> Assignment:
    return without(subscription.assignment, range(len(subscription.assignment.sets)))


def _is_news(one: ImplicitSet, before: Provisioned) -> bool:
    """Whether a set's profile is another now."""
    position = same_set(one, before)
    return position is None or before.sets[position] != one


def _has_ended(one: ImplicitSet, fresh: Provisioned) -> bool:
    """Whether a set that was served is gone, or barred whole."""
    position = same_set(one, fresh)
    return position is None or fresh.sets[position].all_barred


def _wildcards(provisioned: Provisioned) -> int:
    return sum(1 for one in provisioned.sets for identity in one.identities if identity.wildcard)
