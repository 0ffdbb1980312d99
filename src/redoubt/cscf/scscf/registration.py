"""REGISTER at the S-CSCF (TS 24.229 5.4.1, TS 33.203 6.1): challenge, answer, binding, from top to bottom."""

import asyncio

from msgspec import Struct

from redoubt.config import AccessPolicy, SCscfConfig
from redoubt.cscf.registering import RegisterRequest, contact_identity, read_register, report
from redoubt.cscf.scscf.authentication import Attempt, Authentication, Busy, Outcome, hss_silent
from redoubt.cscf.scscf.challenges import Challenge
from redoubt.cscf.scscf.deregistration import DEACTIVATED, UNREGISTERED, Deregistration
from redoubt.cscf.scscf.regevent import RegEvent
from redoubt.cscf.scscf.registrations import Binding, RegisteredSet, Registrations, way_of
from redoubt.cscf.scscf.restoration import Restoration
from redoubt.cscf.scscf.verdicts import (
    report_failure,
    report_registered,
    report_resynchronisation,
    report_silence,
    report_unprotected,
)
from redoubt.diameter.cx import (
    Cx,
    HssUnavailable,
    RestorationInfo,
    ResultCode,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserProfile,
)
from redoubt.events import Fault
from redoubt.sip.errors import SipError
from redoubt.sip.fields import WWW_AUTHENTICATE
from redoubt.sip.grammar import split_list
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange

RETRY_S = 60  # the window of the HSS's and our own ceiling on unanswered vectors
ASSIGNED = "the HSS assigns this S-CSCF to the user"


class Wanted(Struct, frozen=True, gc=False):
    """A contact with the lifetime that it gets; 0 removes it."""

    key: str
    contact: NameAddr
    lifetime_s: int


class Registration:
    """The registrar."""

    def __init__(
        self,
        context: Context,
        config: SCscfConfig,
        uri: str,
        cx: Cx,
        registrations: Registrations,
        authentication: Authentication,
        deregistration: Deregistration,
        restoration: Restoration,
        regevent: RegEvent,
        access: AccessPolicy,
    ) -> None:
        self._context = context
        self._config = config
        self._uri = uri
        self._cx = cx
        self._registrations = registrations
        self._authentication = authentication
        self._deregistration = deregistration
        self._restoration = restoration
        self._regevent = regevent
        self._demands_protection = access == "ipsec" and context.enforces("gm-answer")
        self._service_route = f"<{uri.replace('sip:', 'sip:orig@', 1)};lr>"

    async def register(self, request: Request, exchange: Exchange) -> Response:
        """TS 24.229 5.4.1.1: what the P-CSCF says of the first hop decides which procedure this is."""
        register = read_register(request)
        attempt = Attempt(register, request, exchange, self._is_protected(register, exchange))
        challenge = self._authentication.answered(register)
        if challenge is None:
            if self._may_go_unchallenged(attempt):
                return await self._accept(attempt, challenged=False)
            return await self._challenge(attempt)

        self._refuse_unprotected_answer(attempt)
        outcome = self._authentication.judge(attempt, challenge)
        match outcome:
            case Outcome.AUTHENTICATED:
                report(self._context, register, "SM9", outcome.value, True, clause="TS 33.203 6.1.1")
                self._authentication.succeeded(attempt)
                return await self._accept(attempt, challenged=True)
            case Outcome.OUT_OF_STEP if not challenge.resynchronised:
                report_resynchronisation(self._context, register)
                return await self._challenge(attempt, challenge)
            case _:
                return await self._failed(attempt, challenge, outcome)

    async def timed_out(self, challenges: list[Challenge]) -> None:
        """reg-await-auth ran out (TS 33.203 6.1.2.3): the HSS is told, unless the user is registered."""
        for challenge in challenges:
            report_silence(self._context, challenge, self._config.reg_await_auth)
            if not challenge.decoy:
                await self._authentication_ended(
                    challenge.impi, challenge.impu, ServerAssignmentType.AUTHENTICATION_TIMEOUT
                )

    # ---- which procedure

    def _is_protected(self, register: RegisterRequest, exchange: Exchange) -> bool:
        """TS 24.229 5.4.1.1, 7.2A.2. The word of a node that nobody vouches for is nothing; so is any but "yes"."""
        believed = exchange.flow.trusted or not self._context.enforces("integrity-flag")
        return believed and register.integrity_protected == "yes"

    def _refuse_unprotected_answer(self, attempt: Attempt) -> None:
        """RES counts on the association that it keyed (TS 33.203 6.1.5, 7.2); who could not key one sends none.

        The challenge stays open: the phone's own answer may still come.
        """
        credentials = attempt.register.credentials
        proves_nothing = not credentials.param("response") or credentials.param("auts")
        if attempt.protected or proves_nothing or not self._demands_protection:
            return
        report_unprotected(self._context, attempt.register)
        raise SipError(403, "the answer to a challenge came unprotected", "TS 33.203 6.1.5")

    def _may_go_unchallenged(self, attempt: Attempt) -> bool:
        """Protected, and leaves (TS 24.229 5.4.1.4), or renews where policy has it (TS 33.203 5.1.2)."""
        if attempt.protected:
            if self._config.reauthenticate == "always" and not attempt.register.ends_everything:
                return False
        elif self._context.enforces("challenge-unprotected"):
            return False
        found = self._registrations.find(attempt.register.impu)
        mine = found.bindings_of(attempt.register.impi) if found is not None else []
        if self._context.enforces("challenge-elsewhere"):  # the word of a network that the phone is not in
            mine = [binding for binding in mine if way_of(binding.path) == way_of(_path_of(attempt.request))]
        return bool(mine) and not any(binding.reauthenticate for binding in mine)

    # ---- challenge

    async def _challenge(self, attempt: Attempt, after: Challenge | None = None) -> Response:
        """401 with a fresh vector (TS 24.229 5.4.1.2.1); CK and IK in it are for the P-CSCF."""
        try:
            challenges = await self._authentication.challenge(attempt, after)
        except Busy:
            if attempt.protected and self._is_registered(attempt.register):
                return await self._accept(attempt, challenged=False)  # strangers' attempts must not end it (row 18)
            report(
                self._context,
                attempt.register,
                "CM2",
                "the user has few unanswered challenges",
                False,
                fault=Fault.POLICY,
                clause="requirement row 110",
                advice=f"wait {RETRY_S} s; if the user did not ask, someone else registers in its name",
            )
            raise SipError(
                503, "too many unanswered challenges", "our rule", (("Retry-After", str(RETRY_S)),)
            ) from None
        response = attempt.request.response(401, to_tag=self._context.tag())
        response.put(WWW_AUTHENTICATE, *challenges)
        return response

    # ---- success

    async def _accept(self, attempt: Attempt, challenged: bool) -> Response:
        """The user is who it says (TS 24.229 5.4.1.2.2): binding, assignment, 200."""
        register = attempt.register
        if register.ends_everything or not register.contacts:
            return await self._remove(attempt)
        wanted = self._wanted(register)
        found = self._registrations.find(register.impu)
        if found is not None:
            self._refuse_old(found, register, wanted)
        bindings = _bindings(attempt, wanted)
        profile = await self._profile(register, found, challenged, bindings)
        found = self._registrations.find(register.impu)  # it may have changed while the HSS was asked
        self._refuse_too_many(found, register, wanted)
        found = self._bind(attempt, profile, wanted, bindings)
        return self._ok(attempt, found)

    def _wanted(self, register: RegisterRequest) -> list[Wanted]:
        """Each contact's lifetime by RFC 3261 10.3 step 7; 423 for one too brief (10.2.8)."""
        config = self._config
        wanted = []
        for contact in register.contacts:
            asked = contact.expires
            if asked is None:
                asked = config.default_expires if register.expires is None else register.expires
            if 0 < asked < config.min_expires:
                least = (("Min-Expires", str(config.min_expires)),)
                raise SipError(423, f"{asked} s is too brief", "RFC 3261 10.2.8", least)
            key = contact_identity(register.impi, contact)
            wanted.append(Wanted(key, contact, min(asked, config.max_expires)))
        return wanted

    def _refuse_old(self, found: RegisteredSet, register: RegisterRequest, wanted: list[Wanted]) -> None:
        """A REGISTER that was overtaken changes nothing (RFC 3261 10.3 step 7)."""
        for one in wanted:
            binding = found.bindings.get(one.key)
            if binding is not None and binding.call_id == register.call_id and binding.cseq >= register.cseq:
                raise SipError(500, "a later REGISTER of the same Call-ID came first", "RFC 3261 10.3")

    def _refuse_too_many(
        self, found: RegisteredSet | None, register: RegisterRequest, wanted: list[Wanted]
    ) -> None:
        keys = {one.key for one in wanted if one.lifetime_s} | set(found.bindings if found is not None else ())
        if len(keys) > self._config.max_contacts:
            raise SipError(403, f"more than {self._config.max_contacts} contacts", "s-cscf.max-contacts")

    async def _profile(
        self, register: RegisterRequest, found: RegisteredSet | None, challenged: bool, bindings: list[Binding]
    ) -> UserProfile:
        """The user's profile: from the HSS, which learns that the user is registered here (TS 29.228 6.1.2)."""
        mine = found.bindings_of(register.impi) if found is not None else []
        keys = {contact_identity(register.impi, contact) for contact in register.contacts}
        others = [one for one in mine if one.key not in keys]
        if found is not None and mine:
            if not challenged:
                self._restoration.keep(register.impi, register.impu, [*others, *bindings], found)
            elif not await self._renew(register, self._restoration.info(register.impi, [*others, *bindings], found)):
                self._deregistration.take_out(found, others, "network", DEACTIVATED)  # an RTR that never came
                others, found = [], None
            again = self._registrations.find(register.impu)
            if found is not None and again is not None and again.bindings_of(register.impi):
                return again.profile
        bindings = [*others, *bindings]
        kept = self._restoration.info(register.impi, bindings, None)
        answer = await self._assign(register, ServerAssignmentType.REGISTRATION, kept, want_profile=True)
        profile = answer.profile
        if profile is None or not profile.default_impu:
            raise SipError(403, "every identity of the user is barred", "TS 24.229 5.4.1.2.2")
        if answer.restoration:
            self._restoration.take_back(answer, [binding.key for binding in bindings])
        return profile

    async def _renew(self, register: RegisterRequest, kept: RestorationInfo) -> bool:
        """SAR of a re-registration; False if the HSS holds the user for not registered (TS 29.228 6.1.2.1).

        It ended the registration, by an operator's word perhaps, when its RTR could not be delivered.
        """
        kind = ServerAssignmentType.RE_REGISTRATION
        answer = await self._assign(register, kind, kept, want_profile=False, refusal=ResultCode.IN_ASSIGNMENT_TYPE)
        return answer.result is not ResultCode.IN_ASSIGNMENT_TYPE

    async def _assign(
        self,
        register: RegisterRequest,
        kind: ServerAssignmentType,
        kept: RestorationInfo,
        *,
        want_profile: bool,
        refusal: ResultCode | None = None,
    ) -> ServerAssignmentAnswer:
        """Raises what is owed to the phone when the HSS refuses, unless by the `refusal` that the caller knows of."""
        try:
            answer = await self._cx.server_assignment(
                register.impi, register.impu, self._uri, kind, want_profile=want_profile, restoration=kept
            )
        except HssUnavailable as fault:
            raise hss_silent(self._context, register, "CM4") from fault
        if answer.result.is_success:
            report(self._context, register, "CM4", ASSIGNED, True, clause="TS 29.228 6.1.2")
            return answer
        if answer.result is refusal:
            return answer
        report(
            self._context,
            register,
            "CM4",
            ASSIGNED,
            False,
            expected="SUCCESS",
            seen=answer.result.name,
            fault=Fault.HSS,
            clause="TS 29.228 6.1.2",
            advice="`redoubt subscriber show` says what is assigned; another S-CSCF may serve the user",
        )
        status = 500 if answer.result is ResultCode.UNABLE_TO_COMPLY else 403
        raise SipError(status, f"the HSS refused the assignment: {answer.result.name}", "TS 29.228 6.1.2")

    def _bind(
        self, attempt: Attempt, profile: UserProfile, wanted: list[Wanted], bindings: list[Binding]
    ) -> RegisteredSet:
        """Keeps the bindings, takes out those with lifetime 0."""
        register = attempt.register
        now = asyncio.get_running_loop().time()
        changes: list[tuple[Binding, str]] = []
        before = self._registrations.find(register.impu)
        known = frozenset(before.bindings) if before is not None else frozenset()
        found = before
        for binding in bindings:
            found = self._registrations.add(profile, binding)
            changes.append((binding, "refreshed" if binding.key in known else "registered"))
            report_registered(self._context, binding, round(binding.expires_at - now))
        assert found is not None  # not all lifetimes are 0, else it were a de-registration
        ended = [found.bindings[o.key] for o in wanted if not o.lifetime_s and o.key in found.bindings]
        self._deregistration.take_out(found, ended, "user", UNREGISTERED, register.call_id)
        self._deregistration.watch()
        self._regevent.changed(found, changes)
        return found

    def _ok(self, attempt: Attempt, found: RegisteredSet | None) -> Response:
        """200: Path, Service-Route, P-Associated-URI, and every contact with what is left of it (5.4.1.2.2F)."""
        headers = [("Path", line) for line in attempt.request.all("Path")]
        if found is not None and found.bindings:
            headers.append(("Service-Route", self._service_route))
            headers += [("P-Associated-URI", text) for text in found.associated]
            now = asyncio.get_running_loop().time()
            headers += [("Contact", b.as_contact(now)) for b in found.bindings.values() if b.expires_at > now]
        return attempt.request.response(200, to_tag=self._context.tag(), headers=tuple(headers))

    # ---- de-registration, and asking for bindings

    async def _remove(self, attempt: Attempt) -> Response:
        """Expires: 0 (TS 24.229 5.4.1.4); without Contact it only asks (RFC 3261 10.2.3). Other phones' stay."""
        register = attempt.register
        found = self._registrations.find(register.impu)
        mine = found.bindings_of(register.impi) if found is not None else []
        if found is None or not mine:  # the HSS holds a pending authentication of somebody who isn't registered
            await self._authentication_ended(
                register.impi, register.impu, ServerAssignmentType.AUTHENTICATION_FAILURE
            )
            return self._ok(attempt, found)
        if not register.contacts and not register.star:
            return self._ok(attempt, found)
        keys = {contact_identity(register.impi, contact) for contact in register.contacts}
        ended = [binding for binding in mine if register.star or binding.key in keys]
        for binding in ended:
            if binding.call_id == register.call_id and binding.cseq >= register.cseq:
                raise SipError(500, "a later REGISTER of the same Call-ID came first", "RFC 3261 10.3")
        await self._deregistration.by_user(found, ended, register.call_id)
        left = found.bindings_of(register.impi)
        if left:
            self._restoration.keep(register.impi, register.impu, left, found)
        return self._ok(attempt, self._registrations.find(register.impu))

    # ---- failure

    async def _failed(self, attempt: Attempt, challenge: Challenge, outcome: Outcome) -> Response:
        """403, and whoever is registered stays so (TS 33.203 6.1.2.1, 6.1.2.2)."""
        register = attempt.register
        self._authentication.count_failure(attempt)
        report_failure(self._context, register, outcome)
        if not challenge.decoy:
            await self._authentication_ended(
                challenge.impi, challenge.impu, ServerAssignmentType.AUTHENTICATION_FAILURE
            )
        if not self._context.enforces("keep-registered"):
            found = self._registrations.find(register.impu)
            if found is not None:
                await self._deregistration.by_user(found, found.bindings_of(register.impi), register.call_id)
        return attempt.request.response(403, to_tag=self._context.tag())

    async def _authentication_ended(self, impi: str, impu: str, kind: ServerAssignmentType) -> None:
        """SAR that clears the pending S-CSCF name, only for a user who is not registered (TS 33.203 6.1.2.2)."""
        found = self._registrations.find(impu)
        if found is not None and found.bindings_of(impi):
            return
        if self._authentication.challenges.is_pending(impi, impu):
            return  # another phone of the user is registering: its assignment stands
        try:
            await self._cx.server_assignment(impi, impu, self._uri, kind, want_profile=False)
        except HssUnavailable:
            self._context.notice("warning", f"the HSS could not be told of {kind.name} of {impi}")

    def _is_registered(self, register: RegisterRequest) -> bool:
        found = self._registrations.find(register.impu)
        return found is not None and bool(found.bindings_of(register.impi))


def _path_of(request: Request) -> tuple[str, ...]:
    return tuple([value for line in request.all("Path") for value in split_list(line)])


def _bindings(attempt: Attempt, wanted: list[Wanted]) -> list[Binding]:
    """Those that a REGISTER makes or refreshes, with their Path (RFC 3327 5.3)."""
    register = attempt.register
    now, path = asyncio.get_running_loop().time(), _path_of(attempt.request)
    return [
        Binding(
            str(one.contact.uri),
            register.impi,
            register.impu,
            path,
            one.contact.q,
            now + one.lifetime_s,
            register.call_id,
            register.cseq,
            tuple([p for p in one.contact.params if p[0] not in ("expires", "q")]),
            key=one.key,
        )
        for one in wanted
        if one.lifetime_s
    ]
