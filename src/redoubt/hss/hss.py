"""The HSS in this process: answers Cx (TS 29.228 clause 6) from its store and authentication centre.

    store = open_store(path, read_key_file(key_path), randomness)
    hss = Hss(context, config.hss, realm, store, Seal(key))
    hss.attach("sip:scscf.example", scscf)     # where RTR and PPR go
    answer = await hss.multimedia_auth(impi, impu, "sip:scscf.example", 1)
    await hss.administration.deregister(impi)  # and add, remove, bar, reassign (administration.py)

Identities come canonical (`SipUri.aor`). An answer that changes something is given after its commit; a store that
fails answers UNABLE_TO_COMPLY, says so as a Notice, and is asked again the next time.
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from redoubt.config import HssConfig
from redoubt.diameter.cx import (
    CxClient,
    DeregistrationReason,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    Resynchronisation,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserAuthorizationAnswer,
    UserAuthorizationType,
)
from redoubt.hss.administration import Administration
from redoubt.hss.authentication import AuthenticationCentre
from redoubt.hss.keys import Seal, read_key_file
from redoubt.hss.opening import opened
from redoubt.hss.planning import Planning
from redoubt.hss.records import PrivateRecord, RegistrationState, Subscription
from redoubt.hss.registration import Asked, Step, assigned, challenged, fits, may_be_forgotten
from redoubt.hss.reports import Reports
from redoubt.hss.scscfs import SCscfs, told
from redoubt.hss.servers import Servers
from redoubt.hss.store import (
    Assigned,
    AuthenticationPending,
    Change,
    RestorationDropped,
    RestorationStored,
    SequenceReserved,
    ServerNamed,
    Stale,
    Store,
    StoreFailed,
    StrangerChallenged,
)
from redoubt.hss.subscriptions import Found, Subscriptions
from redoubt.limits import HSS_ATTEMPTS, HSS_STRANGERS
from redoubt.sip.service import Context

A = TypeVar("A")
P = ParamSpec("P")
Pair = tuple[Subscription, PrivateRecord, Subscription, int]
"""The private identity with its subscription, and the public one's with its set."""

_NOT_REGISTERED = RegistrationState.NOT_REGISTERED
_REGISTERING = (ServerAssignmentType.REGISTRATION, ServerAssignmentType.RE_REGISTRATION)


def _answers(
    refused: Callable[[ResultCode], A],
) -> Callable[
    [Callable[Concatenate["Hss", P], Awaitable[A]]], Callable[Concatenate["Hss", P], Coroutine[Any, Any, A]]
]:
    """Does the work anew when another HSS process was faster; UNABLE_TO_COMPLY when the store fails."""

    def around(
        work: Callable[Concatenate["Hss", P], Awaitable[A]],
    ) -> Callable[Concatenate["Hss", P], Coroutine[Any, Any, A]]:
        @wraps(work)
        async def answer(self: "Hss", /, *args: P.args, **kwargs: P.kwargs) -> A:
            for _ in range(HSS_ATTEMPTS):
                try:
                    return await work(self, *args, **kwargs)
                except Stale:
                    continue
                except StoreFailed:
                    break
            return refused(ResultCode.UNABLE_TO_COMPLY)

        return answer

    return around


class Hss:
    """Satisfies `redoubt.diameter.cx.Cx`."""

    def __init__(self, context: Context, config: HssConfig, realm: str, store: Store, seal: Seal) -> None:
        self.context = context
        self.store = store
        self.seal = seal
        self.subscriptions = Subscriptions(store)
        self.servers = Servers(store)
        self.clients = SCscfs(self.servers, self.subscriptions)
        self._realm = realm.lower()
        # On a shared store every number is reserved as it is used: blocks of several processes would let SEQ fall
        # from one vector to the next, which a card refuses under the same index (TS 33.102 C.2.2).
        block = 1 if store.is_shared else config.sequence_block
        self._centre = AuthenticationCentre(seal, context.randomness, block)
        self._reports = Reports(context)
        self._planning = Planning(context, config, self._centre, self._reports)
        self._strangers: dict[str, None] = {}  # unknown private identities that asked, oldest first
        self.administration = Administration(context, self.subscriptions, store, seal, self.clients)

    @classmethod
    async def open(cls, context: Context, config: HssConfig, realm: str, state: Path) -> Self:
        """With the database and the key file of the state directory; raises ConfigError."""
        key = read_key_file(state / config.key_file)
        store = await opened(config.database, state, key, context.randomness)
        return cls(context, config, realm, store, Seal(key))

    async def close(self) -> None:
        """Ends after the last commit."""
        await self.store.close()

    def attach(self, server_name: str, client: CxClient) -> None:
        """RTR and PPR for this S-CSCF go to `client`."""
        self.clients.attach(server_name, client)

    @_answers(UserAuthorizationAnswer)
    async def user_authorization(
        self, impi: str, impu: str, visited_network: str, authorization_type: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        """UAR (TS 29.228 6.1.1.1)."""
        found = self.subscriptions.at_hand(impi, impu) or await self._find(impi, impu)
        pair = self._pair("UAR", impi, impu, found)
        if isinstance(pair, ResultCode):
            return UserAuthorizationAnswer(pair)
        _home, _record, subscription, position = pair
        provisioned = subscription.provisioned
        if provisioned.sets[position].all_barred:
            return UserAuthorizationAnswer(self._reports.refused("UAR", ResultCode.AUTHORIZATION_REJECTED, impi, impu))
        leaving = authorization_type is UserAuthorizationType.DE_REGISTRATION
        if not leaving and not self._may_roam(provisioned.visited_networks, visited_network):
            refusal = self._reports.refused("UAR", ResultCode.ROAMING_NOT_ALLOWED, impi, impu, visited_network)
            return UserAuthorizationAnswer(refusal)
        if authorization_type is UserAuthorizationType.REGISTRATION_AND_CAPABILITIES:
            return UserAuthorizationAnswer(ResultCode.SUCCESS, capabilities=provisioned.capabilities)
        server_name = subscription.assignment.candidate or subscription.assignment.server_name
        if leaving:
            return self._deregistration_allowed(subscription, position, server_name, impi, impu)
        if server_name:
            return UserAuthorizationAnswer(ResultCode.SUBSEQUENT_REGISTRATION, server_name)
        return UserAuthorizationAnswer(ResultCode.FIRST_REGISTRATION, capabilities=provisioned.capabilities)

    @_answers(MultimediaAuthAnswer)
    async def multimedia_auth(
        self,
        impi: str,
        impu: str,
        server_name: str,
        count: int,
        resynchronisation: Resynchronisation | None = None,
    ) -> MultimediaAuthAnswer:
        """MAR (TS 29.228 6.3.1, TS 33.102 6.3.5)."""
        server = self.servers.number(server_name)
        if server is None:
            server = await self._learn(server_name)
        found = self.subscriptions.at_hand(impi, impu) or await self._find(impi, impu)
        pair = self._pair("CM1", impi, impu, found)
        if isinstance(pair, ResultCode):
            await self._take_as_long(pair, impi)
            return MultimediaAuthAnswer(pair)
        home, record, subscription, _position = pair
        plan = self._planning.plan(record, impu, server, count, resynchronisation)
        if isinstance(plan, ResultCode):
            return MultimediaAuthAnswer(plan)
        changes: list[Change] = []
        if plan.reserved != record.reserved_seq:
            changes.append(SequenceReserved(impi, plan.reserved))
        after = challenged(subscription.assignment, server_name)
        if after is not subscription.assignment:
            changes.append(ServerNamed(subscription.number, after.server_name, after.candidate))
        changes += self._pending(record, True)
        if changes:
            await self._commit(changes, home, subscription)
        subscription.assignment = after
        record.pending = True
        self._centre.fetched(record, plan.count)
        return MultimediaAuthAnswer(ResultCode.SUCCESS, self._centre.vectors(record, plan))

    @_answers(ServerAssignmentAnswer)
    async def server_assignment(
        self,
        impi: str,
        impu: str,
        server_name: str,
        assignment_type: ServerAssignmentType,
        *,
        want_profile: bool = True,
        restoration: RestorationInfo | None = None,
    ) -> ServerAssignmentAnswer:
        """SAR (TS 29.228 6.1.2.1)."""
        kind = assignment_type
        found = self.subscriptions.at_hand(impi, impu) or await self._find(impi, impu)
        pair = self._served(impi, impu, found)
        kept: list[RestorationInfo] = []
        if not isinstance(pair, ResultCode) and may_be_forgotten(pair[0].assignment, pair[2], kind):
            kept = await self.store.restoration(pair[0].number, pair[2])
            pair = self._served(impi, impu, await self._find(impi, impu))  # it may have changed meanwhile
        if isinstance(pair, ResultCode):
            return ServerAssignmentAnswer(pair)
        subscription, record, position = pair
        shared = len(subscription.privates) > 1
        others_pending = shared and any(one.pending for one in subscription.privates if one is not record)
        has_services = subscription.provisioned.sets[position].has_services
        asked = Asked(position, impi, server_name, kind, has_services, others_pending, bool(kept))
        step = assigned(subscription.assignment, asked)
        if not step.result.is_success:
            seen = f"{kind.name} from {server_name}"
            return ServerAssignmentAnswer(self._reports.refused("CM3", step.result, impi, impu, seen))
        changes = self._changes(subscription, asked, step, restoration)
        if kind is not ServerAssignmentType.NO_ASSIGNMENT:
            changes += self._pending(record, False)
        if changes:
            await self._commit(changes, subscription)
            subscription.assignment = step.assignment
        self._concluded(record, kind)
        self._tell_the_replaced(step, impi, subscription)
        answered = () if step.replaced else tuple(kept)
        profile = subscription.profile(position, impi) if want_profile and step.brings_profile else None
        return ServerAssignmentAnswer(step.result, profile, answered)

    def _changes(
        self, subscription: Subscription, asked: Asked, step: Step, restoration: RestorationInfo | None
    ) -> list[Change]:
        """What an SAR writes: the assignment, and what the S-CSCF would want back if it forgot (TS 23.380)."""
        changes: list[Change] = []
        number = subscription.number
        if step.assignment is not subscription.assignment:
            changes.append(Assigned(number, step.assignment))
        if step.replaced:
            changes.append(RestorationDropped(number))
        was_registered = asked.impi in subscription.assignment.sets[asked.position].impis
        is_registered = asked.impi in step.assignment.sets[asked.position].impis
        told = restoration if asked.kind in _REGISTERING else None
        if told is not None and is_registered and told.impi == asked.impi and fits(told):
            changes.append(RestorationStored(number, asked.position, told))
        elif asked.impi and (told is not None or is_registered != was_registered):
            changes.append(RestorationDropped(number, asked.impi, asked.position))  # what was kept is true no more
        return changes

    @_answers(LocationInfoAnswer)
    async def location_info(self, impu: str, *, originating: bool = False) -> LocationInfoAnswer:
        """LIR (TS 29.228 6.1.4.1). An originating request of a user who isn't registered is treated the same."""
        found = self.subscriptions.at_hand("", impu) or await self._find("", impu)
        subscription = found.of_impu
        if subscription is None:
            return LocationInfoAnswer(self._reports.refused("LIR", ResultCode.USER_UNKNOWN, "", impu))
        server_name = subscription.assignment.server_name
        if subscription.assignment.sets[found.position].state is not _NOT_REGISTERED:
            return LocationInfoAnswer(ResultCode.SUCCESS, server_name)
        # Not registered: a pending authentication changes nothing for calls to the user (TS 33.203 6.1.2).
        if not subscription.provisioned.sets[found.position].has_services:
            return LocationInfoAnswer(self._reports.refused("LIR", ResultCode.IDENTITY_NOT_REGISTERED, "", impu))
        if server_name:
            return LocationInfoAnswer(ResultCode.SUCCESS, server_name)
        return LocationInfoAnswer(
            ResultCode.UNREGISTERED_SERVICE, capabilities=subscription.provisioned.capabilities
        )

    async def _take_as_long(self, result: ResultCode, impi: str) -> None:
        """A user's first vector costs a commit, so that of somebody who does not exist costs one too.

        On a shared store every vector does.
        """
        known = impi in self._strangers and not self.store.is_shared
        if known or result is not ResultCode.USER_UNKNOWN or not self.context.enforces("equal-answers"):
            return
        self._strangers[impi] = None
        if len(self._strangers) > HSS_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        await self._commit([StrangerChallenged(impi)])

    def _pair(self, step: str, impi: str, impu: str, found: Found) -> Pair | ResultCode:
        """Both identities known and of one subscription (TS 29.228 6.1.1.1 steps 1 and 2)."""
        home, subscription = found.of_impi, found.of_impu
        record = home.private(impi) if home is not None else None
        if home is None or record is None or subscription is None:
            seen = "" if home else "the private identity"
            return self._reports.refused(step, ResultCode.USER_UNKNOWN, impi, impu, seen)
        impis = subscription.provisioned.sets[found.position].impis
        foreign = home.number != subscription.number or (impis and impi not in impis)
        if foreign and self.context.enforces("identity-pair"):
            return self._reports.refused(step, ResultCode.IDENTITIES_DONT_MATCH, impi, impu)
        return home, record, subscription, found.position

    def _served(
        self, impi: str, impu: str, found: Found
    ) -> tuple[Subscription, PrivateRecord | None, int] | ResultCode:
        """As `_pair`; for a user who isn't registered the S-CSCF knows no private identity."""
        if impi:
            pair = self._pair("CM3", impi, impu, found)
            if isinstance(pair, ResultCode):
                return pair
            _home, record, subscription, position = pair
            return subscription, record, position
        if found.of_impu is None:
            return self._reports.refused("CM3", ResultCode.USER_UNKNOWN, "", impu)
        return found.of_impu, None, found.position

    def _deregistration_allowed(
        self, subscription: Subscription, position: int, server_name: str, impi: str, impu: str
    ) -> UserAuthorizationAnswer:
        """Who is registered, or about to be, may end it (TS 29.228 6.1.1.1 step 5)."""
        registered = subscription.assignment.sets[position].state is not _NOT_REGISTERED
        if server_name and (registered or subscription.is_pending):
            return UserAuthorizationAnswer(ResultCode.SUCCESS, server_name)
        return UserAuthorizationAnswer(self._reports.refused("UAR", ResultCode.IDENTITY_NOT_REGISTERED, impi, impu))

    def _may_roam(self, allowed: tuple[str, ...], visited_network: str) -> bool:
        """Home always; elsewhere by the subscriber's list, "*" for anywhere (TS 29.228 6.1.1.1 step 4)."""
        visited = visited_network.lower()
        return not visited or visited == self._realm or "*" in allowed or visited in allowed

    def _concluded(self, record: PrivateRecord | None, kind: ServerAssignmentType) -> None:
        """The S-CSCF's verdict ends the pending authentication (TS 29.228 6.3)."""
        if record is None or kind is ServerAssignmentType.NO_ASSIGNMENT:
            return
        record.pending = False
        if kind in _REGISTERING:
            self._centre.answered(record)

    def _tell_the_replaced(self, step: Step, impi: str, subscription: Subscription) -> None:
        """RTR to the S-CSCF that lost the subscription (TS 29.228 6.1.3.1)."""
        client = self.clients.get(step.replaced)
        if client is not None:
            termination = RegistrationTermination(
                impi,
                (),
                DeregistrationReason.NEW_SERVER_ASSIGNED,
                "another S-CSCF serves the user now",
                tuple(record.impi for record in subscription.privates),
            )
            self.context.start(told(client, termination))

    def _pending(self, record: PrivateRecord | None, pending: bool) -> list[Change]:
        """Told to the other HSS processes on the store; alone, this one remembers it (TS 29.228 6.3)."""
        if record is None or not self.store.is_shared or record.pending == pending:
            return []
        return [AuthenticationPending(record.impi, pending)]

    async def _learn(self, server_name: str) -> int:
        try:
            return await self.servers.learn(server_name)
        except StoreFailed as fault:
            self._reports.store_failed(fault, writing=True)
            raise

    async def _find(self, impi: str, impu: str) -> Found:
        try:
            found = await self.subscriptions.find(impi, impu)
        except StoreFailed as fault:
            self._reports.store_failed(fault, writing=False)
            raise
        self._reports.store_works(writing=False)
        return found

    async def _commit(self, changes: list[Change], *touched: Subscription) -> None:
        try:
            await self.subscriptions.commit(changes, *touched)
        except Stale:
            raise
        except StoreFailed as fault:
            self._reports.store_failed(fault, writing=True)
            raise
        self._reports.store_works(writing=True)
