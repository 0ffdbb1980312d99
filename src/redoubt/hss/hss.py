"""The HSS in this process: answers Cx (TS 29.228 clause 6) from its store and authentication centre.

    store = open_store(path, read_key_file(key_path), randomness)
    hss = Hss(context, config.hss, realm, store, Seal(key))
    hss.attach("sip:scscf.example", scscf)     # where RTR and PPR go
    answer = await hss.multimedia_auth(impi, impu, "sip:scscf.example", 1)
    await hss.administration.deregister(impi)  # and add, remove, bar, reassign (administration.py)

Identities come canonical (`SipUri.aor`). An answer that changes something is given after its commit; a store that
fails answers UNABLE_TO_COMPLY, says so as a Notice, and is asked again the next time.
"""

import asyncio
from pathlib import Path
from typing import Self

from redoubt.aka.sequence import SequenceExhausted
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
from redoubt.events import Check
from redoubt.hss.administration import Administration
from redoubt.hss.authentication import AuthenticationCentre, Plan
from redoubt.hss.keys import NotSealedHere, Seal, read_key_file
from redoubt.hss.reasons import FALSE_AUTS, REASONS, STORE_ADVICE, Reason
from redoubt.hss.records import PrivateRecord, RegistrationState, Subscription
from redoubt.hss.registration import Asked, Step, assigned, challenged
from redoubt.hss.sqlite import open_store
from redoubt.hss.store import (
    Assigned,
    Change,
    SequenceReserved,
    ServerNamed,
    Store,
    StoreFailed,
    StrangerChallenged,
)
from redoubt.hss.subscriptions import Subscriptions
from redoubt.limits import HSS_STRANGERS, HSS_VECTORS_PER_ANSWER
from redoubt.sip.service import Context

Pair = tuple[Subscription, PrivateRecord, Subscription, int]
"""The private identity with its subscription, and the public one's with its set."""

_NOT_REGISTERED = RegistrationState.NOT_REGISTERED


class Hss:
    """Satisfies `redoubt.diameter.cx.Cx`."""

    def __init__(self, context: Context, config: HssConfig, realm: str, store: Store, seal: Seal) -> None:
        self.context = context
        self.store = store
        self.seal = seal
        self.subscriptions = Subscriptions(store)
        self.clients: dict[str, CxClient] = {}
        self._config = config
        self._realm = realm.lower()
        self._centre = AuthenticationCentre(seal, context.randomness, config.sequence_block)
        self._store_fails = False
        self._strangers: dict[str, None] = {}  # unknown private identities that asked, oldest first
        self.administration = Administration(context, self.subscriptions, store, seal, self.clients)

    @classmethod
    async def open(cls, context: Context, config: HssConfig, realm: str, state: Path) -> Self:
        """With the database and the key file of the state directory; raises ConfigError."""
        key = read_key_file(state / config.key_file)
        store = open_store(state / config.database, key, context.randomness)
        return cls(context, config, realm, store, Seal(key))

    async def close(self) -> None:
        """Ends after the last commit."""
        await self.store.close()

    def attach(self, server_name: str, client: CxClient) -> None:
        """RTR and PPR for this S-CSCF go to `client`."""
        self.clients[server_name] = client

    async def user_authorization(
        self, impi: str, impu: str, visited_network: str, authorization_type: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        """UAR (TS 29.228 6.1.1.1)."""
        pair = await self._pair("UAR", impi, impu)
        if isinstance(pair, ResultCode):
            return UserAuthorizationAnswer(pair)
        _home, _record, subscription, position = pair
        provisioned = subscription.provisioned
        if provisioned.sets[position].all_barred:
            return UserAuthorizationAnswer(self._no("UAR", ResultCode.AUTHORIZATION_REJECTED, impi, impu))
        leaving = authorization_type is UserAuthorizationType.DE_REGISTRATION
        if not leaving and not self._may_roam(provisioned.visited_networks, visited_network):
            refusal = self._no("UAR", ResultCode.ROAMING_NOT_ALLOWED, impi, impu, visited_network)
            return UserAuthorizationAnswer(refusal)
        if authorization_type is UserAuthorizationType.REGISTRATION_AND_CAPABILITIES:
            return UserAuthorizationAnswer(ResultCode.SUCCESS, capabilities=provisioned.capabilities)
        server_name = subscription.assignment.candidate or subscription.assignment.server_name
        if leaving:
            return self._deregistration_allowed(subscription, position, server_name, impi, impu)
        if server_name:
            return UserAuthorizationAnswer(ResultCode.SUBSEQUENT_REGISTRATION, server_name)
        return UserAuthorizationAnswer(ResultCode.FIRST_REGISTRATION, capabilities=provisioned.capabilities)

    async def multimedia_auth(
        self,
        impi: str,
        impu: str,
        server_name: str,
        count: int,
        resynchronisation: Resynchronisation | None = None,
    ) -> MultimediaAuthAnswer:
        """MAR (TS 29.228 6.3.1, TS 33.102 6.3.5)."""
        pair = await self._pair("CM1", impi, impu)
        if isinstance(pair, ResultCode):
            await self._take_as_long(pair, impi)
            return MultimediaAuthAnswer(pair)
        home, record, subscription, _position = pair
        plan = self._plan(record, impu, server_name, count, resynchronisation)
        if isinstance(plan, ResultCode):
            return MultimediaAuthAnswer(plan)
        changes: list[Change] = []
        if plan.reserved != record.reserved_seq:
            changes.append(SequenceReserved(impi, plan.reserved))
        after = challenged(subscription.assignment, server_name)
        if after is not subscription.assignment:
            changes.append(ServerNamed(subscription.number, after.server_name, after.candidate))
        if changes and not await self._committed(changes, home, subscription):
            return MultimediaAuthAnswer(ResultCode.UNABLE_TO_COMPLY)
        subscription.assignment = after
        record.pending = True
        self._centre.fetched(record, plan.count)
        return MultimediaAuthAnswer(ResultCode.SUCCESS, self._centre.vectors(record, plan))

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
        pair = await self._served(impi, impu)
        if isinstance(pair, ResultCode):
            return ServerAssignmentAnswer(pair)
        subscription, record, position = pair
        shared = len(subscription.privates) > 1
        others_pending = shared and any(one.pending for one in subscription.privates if one is not record)
        has_services = subscription.provisioned.sets[position].has_services
        asked = Asked(position, impi, server_name, assignment_type, has_services, others_pending)
        step = assigned(subscription.assignment, asked)
        if not step.result.is_success:
            seen = f"{assignment_type.name} from {server_name}"
            return ServerAssignmentAnswer(self._no("CM3", step.result, impi, impu, seen))
        if step.assignment is not subscription.assignment:
            if not await self._committed([Assigned(subscription.number, step.assignment)], subscription):
                return ServerAssignmentAnswer(ResultCode.UNABLE_TO_COMPLY)
            subscription.assignment = step.assignment
        self._concluded(record, assignment_type)
        self._tell_the_replaced(step, impi, subscription)
        if want_profile and step.brings_profile:
            return ServerAssignmentAnswer(step.result, subscription.profile(position, impi))
        return ServerAssignmentAnswer(step.result)

    async def location_info(self, impu: str, *, originating: bool = False) -> LocationInfoAnswer:
        """LIR (TS 29.228 6.1.4.1). An originating request of a user who isn't registered is treated the same."""
        try:
            found = await self.subscriptions.find("", impu)
        except StoreFailed as fault:
            return LocationInfoAnswer(self._store_failed(fault))
        subscription = found.of_impu
        if subscription is None:
            return LocationInfoAnswer(self._no("LIR", ResultCode.USER_UNKNOWN, "", impu))
        server_name = subscription.assignment.server_name
        if subscription.assignment.sets[found.position].state is not _NOT_REGISTERED:
            return LocationInfoAnswer(ResultCode.SUCCESS, server_name)
        # Not registered: a pending authentication changes nothing for calls to the user (TS 33.203 6.1.2).
        if not subscription.provisioned.sets[found.position].has_services:
            return LocationInfoAnswer(self._no("LIR", ResultCode.IDENTITY_NOT_REGISTERED, "", impu))
        if server_name:
            return LocationInfoAnswer(ResultCode.SUCCESS, server_name)
        return LocationInfoAnswer(
            ResultCode.UNREGISTERED_SERVICE, capabilities=subscription.provisioned.capabilities
        )

    def _plan(
        self, record: PrivateRecord, impu: str, server_name: str, count: int, sent: Resynchronisation | None
    ) -> Plan | ResultCode:
        """Which sequence numbers this MAR gets, or why none."""
        now = asyncio.get_running_loop().time()
        try:
            sqn_ms = None
            if sent is not None:
                check = self.context.enforces("resync-mac")
                sqn_ms = self._centre.sqn_of_card(record, sent, check_mac=check)
                if sqn_ms is None:
                    rejected = ResultCode.AUTHORIZATION_REJECTED
                    return self._no("CM1", rejected, record.impi, impu, reason=FALSE_AUTS)
                self._centre.answered(record)  # only the card itself can make a right MAC-S
            wanted = min(count, HSS_VECTORS_PER_ANSWER)
            granted = self._centre.granted(record, wanted, self._config.max_pending_per_user, now)
            if granted == 0:
                return self._no("CM1", ResultCode.TOO_BUSY, record.impi, impu)
            return self._centre.plan(record, server_name, granted, sqn_ms)
        except SequenceExhausted as fault:
            self.context.notice("alarm", str(fault), "the card must be replaced (TS 33.102 C.1.1)")
        except NotSealedHere:
            self.context.notice("alarm", f"the stored keys of {record.impi} can't be opened", "import them again")
        return ResultCode.UNABLE_TO_COMPLY

    async def _take_as_long(self, result: ResultCode, impi: str) -> None:
        """A user's first vector costs a commit, so that of somebody who does not exist costs one too."""
        known = result is not ResultCode.USER_UNKNOWN or impi in self._strangers
        if known or not self.context.enforces("equal-answers"):
            return
        self._strangers[impi] = None
        if len(self._strangers) > HSS_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        await self._committed([StrangerChallenged(impi)])

    async def _pair(self, step: str, impi: str, impu: str) -> Pair | ResultCode:
        """Both identities known and of one subscription (TS 29.228 6.1.1.1 steps 1 and 2)."""
        try:
            found = await self.subscriptions.find(impi, impu)
        except StoreFailed as fault:
            return self._store_failed(fault)
        home, subscription = found.of_impi, found.of_impu
        record = home.private(impi) if home is not None else None
        if home is None or record is None or subscription is None:
            return self._no(step, ResultCode.USER_UNKNOWN, impi, impu, "" if home else "the private identity")
        impis = subscription.provisioned.sets[found.position].impis
        if (home is not subscription or (impis and impi not in impis)) and self.context.enforces("identity-pair"):
            return self._no(step, ResultCode.IDENTITIES_DONT_MATCH, impi, impu)
        return home, record, subscription, found.position

    async def _served(self, impi: str, impu: str) -> tuple[Subscription, PrivateRecord | None, int] | ResultCode:
        """As `_pair`; for a user who isn't registered the S-CSCF knows no private identity."""
        if impi:
            pair = await self._pair("CM3", impi, impu)
            if isinstance(pair, ResultCode):
                return pair
            _home, record, subscription, position = pair
            return subscription, record, position
        try:
            found = await self.subscriptions.find("", impu)
        except StoreFailed as fault:
            return self._store_failed(fault)
        if found.of_impu is None:
            return self._no("CM3", ResultCode.USER_UNKNOWN, "", impu)
        return found.of_impu, None, found.position

    def _deregistration_allowed(
        self, subscription: Subscription, position: int, server_name: str, impi: str, impu: str
    ) -> UserAuthorizationAnswer:
        """Who is registered, or about to be, may end it (TS 29.228 6.1.1.1 step 5)."""
        registered = subscription.assignment.sets[position].state is not _NOT_REGISTERED
        if server_name and (registered or subscription.is_pending):
            return UserAuthorizationAnswer(ResultCode.SUCCESS, server_name)
        return UserAuthorizationAnswer(self._no("UAR", ResultCode.IDENTITY_NOT_REGISTERED, impi, impu))

    def _may_roam(self, allowed: tuple[str, ...], visited_network: str) -> bool:
        """Home always; elsewhere by the subscriber's list, "*" for anywhere (TS 29.228 6.1.1.1 step 4)."""
        visited = visited_network.lower()
        return not visited or visited == self._realm or "*" in allowed or visited in allowed

    def _concluded(self, record: PrivateRecord | None, kind: ServerAssignmentType) -> None:
        """The S-CSCF's verdict ends the pending authentication (TS 29.228 6.3)."""
        if record is None or kind is ServerAssignmentType.NO_ASSIGNMENT:
            return
        record.pending = False
        if kind in (ServerAssignmentType.REGISTRATION, ServerAssignmentType.RE_REGISTRATION):
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
            self.context.start(_told(client, termination))

    async def _committed(self, changes: list[Change], *touched: Subscription) -> bool:
        try:
            await self.subscriptions.commit(changes, *touched)
        except StoreFailed as fault:
            self._store_failed(fault)
            return False
        if self._store_fails:
            self._store_fails = False
            self.context.notice("info", "the HSS's store works again")
        return True

    def _store_failed(self, fault: StoreFailed) -> ResultCode:
        if not self._store_fails:
            self._store_fails = True
            self.context.notice("alarm", f"the HSS's store fails: {fault}", STORE_ADVICE)
        return ResultCode.UNABLE_TO_COMPLY

    def _no(
        self,
        step: str,
        result: ResultCode,
        impi: str,
        impu: str,
        seen: str = "",
        reason: Reason | None = None,
    ) -> ResultCode:
        """Says why as an event; the peer gets the code and no more (requirement row 108)."""
        reason = reason or REASONS[result]
        self.context.events.emit(
            Check(
                at=self.context.clock.now(),
                node=self.context.node,
                call_id="",
                step=step,
                rule=reason.rule,
                passed=False,
                impi=impi,
                impu=impu,
                seen=seen,
                fault=reason.fault,
                clause=reason.clause,
                advice=reason.advice,
            )
        )
        return result


async def _told(client: CxClient, termination: RegistrationTermination) -> None:
    await client.registration_termination(termination)
