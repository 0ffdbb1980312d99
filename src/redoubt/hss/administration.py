"""What an operator does to a running HSS: add, remove, bar, reassign, deregister; RTR and PPR follow.

TS 29.228 clauses 6.1.3 (RTR) and 6.2.2 (PPR). The store changes first, then the S-CSCF is told: if it can't be
reached, what it does next with the user is refused by the HSS.
"""

from collections.abc import AsyncIterator, Iterable

from msgspec.structs import replace

from redoubt.diameter.cx import (
    CxClient,
    DeregistrationReason,
    RegistrationTermination,
    ResultCode,
)
from redoubt.hss.keys import Seal
from redoubt.hss.records import Assignment, ImplicitSet, Provisioned, RegistrationState, SetRegistration, Subscription
from redoubt.hss.store import Assigned, Conflict, Removed, Reprovisioned, Store
from redoubt.hss.subscriber import ProvisioningError, Subscriber, added, canonical_impu, provisioned_of
from redoubt.hss.subscriptions import Subscriptions
from redoubt.limits import HSS_WILDCARDS
from redoubt.sip.service import Context

PAGE = 250  # subscriptions read at a time when all are


class Administration:
    """Provisioning of a running HSS. Everything raises ProvisioningError (operator's fault) or StoreFailed."""

    def __init__(
        self,
        context: Context,
        subscriptions: Subscriptions,
        store: Store,
        seal: Seal,
        clients: dict[str, CxClient],
    ) -> None:
        self._context = context
        self._subscriptions = subscriptions
        self._store = store
        self._seal = seal
        self._clients = clients

    async def add(self, subscribers: Iterable[Subscriber]) -> int:
        """All of them or none; returns how many."""
        changes = [added(one, self._seal, self._context.randomness) for one in subscribers]
        if not changes:
            return 0
        await self._check_wildcards(change.provisioned for change in changes)
        try:
            await self._subscriptions.commit(changes)
        except Conflict as fault:
            raise ProvisioningError(*taken(fault)) from None
        self._subscriptions.provisioning_changed()
        return len(changes)

    async def _check_wildcards(self, new: Iterable[Provisioned]) -> None:
        wildcards = [
            identity
            for provisioned in new
            for one in provisioned.sets
            for identity in one.identities
            if identity.wildcard
        ]
        if wildcards and len(wildcards) + len(await self._store.wildcards()) > HSS_WILDCARDS:
            raise ProvisioningError("wildcards", f"at most {HSS_WILDCARDS} in all")

    async def show(self, identity: str) -> Subscription:
        """By IMPI or IMPU. Keys stay sealed."""
        impi = "" if identity.startswith(("sip:", "sips:", "tel:")) else identity
        impu = "" if impi else canonical_impu(identity)
        found = await self._subscriptions.find(impi, impu)
        subscription = found.of_impi or found.of_impu
        if subscription is None:
            raise ProvisioningError("identity", f"{identity} is not provisioned")
        return subscription

    async def subscriptions(self) -> AsyncIterator[Subscription]:
        """All of them, as last committed, in order of their making."""
        last = 0
        while page := await self._store.page(last, PAGE):
            for subscription in page:
                yield subscription
            last = page[-1].number

    async def remove(self, identity: str) -> None:
        """Takes the whole subscription away; its S-CSCF gets an RTR (PERMANENT_TERMINATION)."""
        subscription = await self.show(identity)
        await self._subscriptions.commit([Removed(subscription.number)], subscription)
        self._subscriptions.forget(subscription)
        self._subscriptions.provisioning_changed()
        await self._terminate(subscription, DeregistrationReason.PERMANENT_TERMINATION, "subscription removed")

    async def deregister(
        self,
        identity: str,
        reason: DeregistrationReason = DeregistrationReason.PERMANENT_TERMINATION,
        explanation: str = "ended by the operator",
    ) -> None:
        """Ends the registrations of an IMPI's or IMPU's subscription; the user may register again at once."""
        subscription = await self.show(identity)
        before = subscription.assignment
        await self._assign(subscription, _unassigned(subscription))
        await self._terminate(subscription, reason, explanation, before.server_name)

    async def reassign(self, identity: str) -> None:
        """Frees the user from its S-CSCF, so that the next registration chooses one (TS 29.228 6.1.3)."""
        await self.deregister(identity, DeregistrationReason.SERVER_CHANGE, "another S-CSCF shall serve the user")

    async def bar(self, impu: str, barred: bool = True) -> None:
        """Bars an identity or lifts that. The S-CSCF gets the new profile; a set that is barred whole ends."""
        subscription = await self.show(impu)
        wanted = canonical_impu(impu)
        sets = tuple(_with_barring(one, wanted, barred) for one in subscription.provisioned.sets)
        await self._reprovision(subscription, replace(subscription.provisioned, sets=sets))

    async def change(self, subscriber: Subscriber) -> None:
        """Replaces profiles, networks and capabilities of the subscription of its first IMPI; keys stay."""
        subscription = await self.show(subscriber.privates[0].impi)
        impis = [record.impi for record in subscription.privates]
        provisioned = provisioned_of(subscriber, impis)
        await self._check_wildcards([provisioned])
        await self._reprovision(subscription, provisioned)

    async def _reprovision(self, subscription: Subscription, provisioned: Provisioned) -> None:
        before, old_sets = subscription.assignment, subscription.provisioned.sets
        kept = tuple(
            before.sets[old_sets.index(same)] if (same := _same_set(one, old_sets)) else SetRegistration()
            for one in provisioned.sets
        )
        assignment = replace(before, sets=kept)
        change = Reprovisioned(subscription.number, provisioned, assignment)
        try:
            await self._subscriptions.commit([change], subscription)
        except Conflict as fault:
            raise ProvisioningError(*taken(fault)) from None
        self._subscriptions.forget(subscription)
        self._subscriptions.provisioning_changed()
        fresh = await self._subscriptions.numbered(subscription.number)
        if fresh is not None:
            await self._push(fresh, subscription)

    async def _push(self, fresh: Subscription, before: Subscription) -> None:
        """PPR for each set that an S-CSCF serves; RTR if it may no longer be served."""
        client = self._clients.get(before.assignment.server_name)
        if client is None:
            return
        gone = len(fresh.provisioned.sets) < len(before.provisioned.sets)
        for position, one in enumerate(fresh.provisioned.sets):
            if fresh.assignment.sets[position].state is RegistrationState.NOT_REGISTERED:
                continue
            if one.all_barred:
                gone = True
            else:
                await client.push_profile(fresh.profile(position, ""))
        if gone:
            await self.deregister(fresh.privates[0].impi, explanation="barred")

    async def _assign(self, subscription: Subscription, assignment: Assignment) -> None:
        await self._subscriptions.commit([Assigned(subscription.number, assignment)], subscription)
        subscription.assignment = assignment
        for record in subscription.privates:
            record.pending = False

    async def _terminate(
        self, subscription: Subscription, reason: DeregistrationReason, explanation: str, server_name: str = ""
    ) -> None:
        client = self._clients.get(server_name or subscription.assignment.server_name)
        if client is None:
            return
        impis = tuple(record.impi for record in subscription.privates)
        request = RegistrationTermination(impis[0], (), reason, explanation, impis[1:])
        result = await client.registration_termination(request)
        if result is not ResultCode.SUCCESS:
            self._context.notice("warning", f"the S-CSCF answered {result.name} to an RTR for {impis[0]}")


def taken(fault: Conflict) -> tuple[str, str]:
    """Field and reason of a conflict, in the operator's words."""
    if "public_identity" in str(fault):
        return "impus", "a public identity belongs to another subscriber; remove that one first"
    return "impi", "a private identity is provisioned already; remove it first"


def _unassigned(subscription: Subscription) -> Assignment:
    return Assignment(sets=tuple(SetRegistration() for _ in subscription.provisioned.sets))


def _with_barring(one: ImplicitSet, impu: str, barred: bool) -> ImplicitSet:
    profiles = tuple(
        replace(
            profile,
            identities=tuple(
                replace(identity, barred=barred) if identity.impu == impu else identity
                for identity in profile.identities
            ),
        )
        for profile in one.service_profiles
    )
    return replace(one, service_profiles=profiles)


def _same_set(one: ImplicitSet, old: tuple[ImplicitSet, ...]) -> ImplicitSet | None:
    """The former set that shares an identity: its registration goes on."""
    impus = {identity.impu for identity in one.identities}
    for former in old:
        if any(identity.impu in impus for identity in former.identities):
            return former
    return None
