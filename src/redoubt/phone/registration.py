"""Registration as a phone does it: TS 24.229 5.1.1 and the flow SM1 to SM12 of TS 33.203 6.1."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from redoubt.aka.isim import MacFailure, Success, SyncFailure
from redoubt.events import Check, Fault
from redoubt.gm.association_set import AssociationSet
from redoubt.phone.challenge import Answer, UnanswerableChallenge, answer_challenge, first_authorization
from redoubt.phone.line import ALLOW, Line
from redoubt.sip.errors import SipError
from redoubt.sip.fields import (
    AUTHENTICATION_INFO,
    CONTACT,
    EXPIRES,
    MIN_EXPIRES,
    P_ASSOCIATED_URI,
    RETRY_AFTER,
    SERVICE_ROUTE,
    WWW_AUTHENTICATE,
)
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Request, Response
from redoubt.sip.uri import SipUri, Uri

EXPIRES_S = 600_000  # TS 24.229 5.1.1.2.1
CHALLENGES = 4  # a resynchronisation and then some: more means that the network doesn't get it
ATTEMPTS = 3
WORTH_REPEATING = (408, 503, 504)  # nobody judged the request
NOBODY_HEARD = (408, 430)  # on an association: the P-CSCF may have lost it
PAUSE_S = 5.0
EARLY_S = 600  # TS 24.229 5.1.1.4.1: re-registration this long before the end, or at half of a short lifetime


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """How one registration ended, and what it brought. `outcomes` are the card's, one a challenge."""

    status: int
    reason: str
    expires_s: int = 0
    outcomes: tuple[str, ...] = ()
    associated: tuple[str, ...] = ()
    service_route: tuple[str, ...] = ()
    why: str = ""

    @property
    def registered(self) -> bool:
        return 200 <= self.status < 300 and self.expires_s > 0

    @property
    def network_authentic(self) -> bool:
        """Whether the network proved in this run that it knows K: by a fresh AUTN."""
        return Success.__name__ in self.outcomes


@dataclass(slots=True)
class _Run:
    """The facts of one attempt."""

    expires_s: int
    outcomes: list[str] = field(default_factory=list)
    answer: Answer | None = None
    why: str = ""
    carrier: AssociationSet | None = None  # what protects the request for a challenge, if anything does
    client: str = ""  # what that request offered
    made: AssociationSet | None = None  # what the challenge keyed: its answer goes by it


class Registration:
    """The phone's registration state: until when it holds, and how it is renewed."""

    def __init__(self, line: Line, *, renews: bool = True) -> None:
        self._line = line
        self._renews = renews
        self._call_id = line.context.tag()
        self._cseq = 0
        self._lock = asyncio.Lock()
        self._expires_at = 0.0
        self._wanted_s = EXPIRES_S
        self._accepted_cseq = 0
        self._proved = False  # whether the network was authentic when it was last looked at
        self.wants_proof = True  # False: a phone that believes any 200, to see what becomes of it
        self._timer: asyncio.TimerHandle | None = None
        self.attempts = ATTEMPTS
        self.on_change: Callable[[], None] = lambda: None
        self.on_renewed: Callable[[], None] = lambda: None  # after a renewal that nobody awaits
        self.asked_at = 0.0  # loop time of the last REGISTER

    @property
    def holds(self) -> bool:
        """Whether this phone counts as registered now."""
        return asyncio.get_running_loop().time() < self._expires_at

    async def register(self, expires_s: int | None = None) -> RegistrationResult:
        """Registers, or with 0 ends the registration; None renews for what was wanted last. One run at a time."""
        async with self._lock:
            if expires_s is None:
                expires_s = self._wanted_s
            elif expires_s:
                self._wanted_s = expires_s
            protected = True
            for attempt in range(self.attempts):
                run = _Run(expires_s)
                if self._line.gm is not None and protected:
                    run.carrier = self._line.gm.carrier()
                response = await self._authenticate(run)
                self._give_up(run, response)
                protected = protected and response.status not in NOBODY_HEARD  # TS 24.229 5.1.1.4.1: begins anew
                if response.status == 423 and (least := response.first(MIN_EXPIRES)) and least > expires_s:
                    expires_s = least  # RFC 3261 10.2.8
                elif self._is_worth_repeating(run, response) and attempt < self.attempts - 1:
                    await asyncio.sleep(_pause(response, attempt))
                else:
                    break
            return self._conclude(run, response)

    async def _authenticate(self, run: _Run) -> Response:
        """SM1 to SM12: a REGISTER, the challenge that it meets, and its answer, until no challenge comes."""
        request, response = await self._ask(run, first_authorization(self._line.identity))  # SM1 .. SM6
        for _ in range(CHALLENGES):
            if response.status != 401 or self._leaves_it(run):
                break
            if run.made is not None:  # home knows nothing of the challenge that was answered
                self._give_up(run, response)
                request, response = await self._ask(run, first_authorization(self._line.identity))
                continue
            try:
                run.answer = self._answer(request, response)
                self._key(run, response)
            except (UnanswerableChallenge, SipError) as fault:  # TS 24.229 5.1.1.5.3: not from an IMS network
                run.why = str(fault)
                break
            run.outcomes.append(type(run.answer.outcome).__name__)
            self._tell(run.answer)
            request, response = await self._ask(run, run.answer.authorization)  # SM7 .. SM12
        return response

    def _leaves_it(self, run: _Run) -> bool:
        """A de-registration on an association proves itself; some handsets do no more (sprout#1640)."""
        protected = run.carrier is not None and not run.expires_s
        return protected and not self._line.profile.answers_deregistration_challenge

    async def _ask(self, run: _Run, authorization: Credentials) -> tuple[Request, Response]:
        line, gm = self._line, self._line.gm
        request = self._request(run.expires_s, authorization)
        self.asked_at = asyncio.get_running_loop().time()
        if gm is None and run.answer is not None and line.profile.tcp_after_challenge:
            await line.change_to_tcp()
        way = line.clear_way
        if gm is not None and run.made is not None:
            gm.repeat(request, run.made)
        elif gm is not None:
            run.client = gm.offer(request, run.carrier)
        if (carrier := run.made or run.carrier) is not None:
            inside = await line.way_on(carrier)
            if inside is None:  # it ended meanwhile: nothing goes by it, and nothing in its stead
                return request, request.response(430)
            way = inside
        return request, await line.send(request, way=way)

    def _key(self, run: _Run, response: Response) -> None:
        """After SM6: the associations stand before SM7 leaves (TS 33.203 7.2). A card that refused gives no keys."""
        gm, answer = self._line.gm, run.answer
        if gm is not None and answer is not None and isinstance(answer.outcome, Success):
            nonce = answer.authorization.param("nonce") or ""
            run.made = gm.keyed(run.client, response, answer.outcome, nonce, run.carrier)

    def _give_up(self, run: _Run, response: Response) -> None:
        """A failure ends the set of its attempt, and no other (TS 33.203 7.3)."""
        if run.made is not None and not response.is_success and self._line.gm is not None:
            self._line.gm.failed(run.made)
            run.made = None

    def _is_worth_repeating(self, run: _Run, response: Response) -> bool:
        if response.status in WORTH_REPEATING:
            return True
        gm = self._line.gm
        if gm is None:
            return False
        if response.status == 494 and run.carrier is None and gm.is_left_with(response):
            gm.renumber()  # another phone at this address has one of our ports (TS 33.203 M.7)
            return True
        return response.status == 430

    def _answer(self, request: Request, response: Response) -> Answer:
        challenge, profile = response.need(WWW_AUTHENTICATE), self._line.profile
        if profile.drops_stray_keys and any(challenge.param(key) is not None for key in ("ck", "ik")):
            raise UnanswerableChallenge("the challenge still has keys, which are none of a phone's business")
        cnonce = self._line.context.randomness.octets(8).hex()
        return answer_challenge(
            challenge, self._line.identity, "REGISTER", request.uri, cnonce, request.body, takes_qop=profile.takes_qop
        )

    def _request(self, expires_s: int, authorization: Credentials) -> Request:
        """REGISTER (TS 24.229 5.1.1.2.1): the same Call-ID throughout, CSeq rising (RFC 3261 10.2)."""
        line = self._line
        self._cseq += 1
        impu = line.identity.impu
        contact = line.contact.with_param("+sip.instance", f'"<{line.instance}>"').with_param("expires", str(expires_s))
        contact = replace(contact, params=(*contact.params, *line.profile.contact_params))
        headers = [
            ("Max-Forwards", "70"),
            ("From", f"<{impu}>;tag={line.context.tag()}"),
            ("To", f"<{impu}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} REGISTER"),
            ("Contact", str(contact)),
            ("Authorization", str(authorization)),
            ("Expires", str(expires_s)),
            ("Supported", line.profile.supported),
            ("Allow", ALLOW),
            ("P-Access-Network-Info", line.profile.access_network),
        ]
        if line.profile.user_agent:
            headers.append(("User-Agent", line.profile.user_agent))
        return Request("REGISTER", f"sip:{line.identity.realm}", headers)

    def _tell(self, answer: Answer) -> None:
        """SM6 at the phone, as an event: what the card found (TS 33.203 6.1.1)."""
        line = self._line
        seen, fault, advice = _FINDINGS[type(answer.outcome)]
        line.context.events.emit(
            Check(
                at=line.context.clock.now(), node=line.context.node, call_id=self._call_id, step="SM6",
                rule="AUTN was made with this card's key and is fresh", passed=isinstance(answer.outcome, Success),
                impi=line.identity.impi, impu=line.identity.impu, expected="a right MAC-A and a new SQN", seen=seen,
                fault=fault, clause="TS 33.203 6.1.1, TS 33.102 6.3.3", advice=advice,
            )
        )  # fmt: skip

    def _conclude(self, run: _Run, response: Response) -> RegistrationResult:
        outcomes = tuple(run.outcomes)
        if not response.is_success:
            gm = self._line.gm
            why = run.why or (gm.why_refused(response) if gm is not None else "")
            return RegistrationResult(response.status, response.reason, outcomes=outcomes, why=why)
        if not _proves_itself(response, run.answer):
            return RegistrationResult(
                response.status, response.reason, outcomes=outcomes, why="rspauth of the 200 is not the network's"
            )
        if run.expires_s and self.wants_proof and not self._is_from_the_network(run):
            why = "a P-CSCF that did not prove to be the network's takes the registration"
            return RegistrationResult(response.status, response.reason, outcomes=outcomes, why=why)
        self._accepted_cseq = self._cseq
        expires_s = self._granted(response) if run.expires_s else 0
        if not self._hold_associations(run, expires_s):
            return RegistrationResult(
                response.status, response.reason, outcomes=outcomes, why="the associations ended before the 200"
            )
        self._line.service_route = response.every(SERVICE_ROUTE) if expires_s else ()
        self._line.associated = response.every(P_ASSOCIATED_URI) if expires_s else ()
        self._hold(expires_s)
        return RegistrationResult(
            response.status,
            response.reason,
            expires_s,
            outcomes,
            tuple(str(identity.uri) for identity in self._line.associated),
            tuple(str(route) for route in self._line.service_route),
        )

    def _is_from_the_network(self, run: _Run) -> bool:
        """A fresh AUTN proved it, now or before, or a certificate; what the card refused, no 200 mends (row 115)."""
        if run.outcomes:
            self._proved = run.outcomes[-1] == Success.__name__
        return self._proved or (not run.outcomes and self._line.flow.transport == "tls")

    def _hold_associations(self, run: _Run, expires_s: int) -> bool:
        gm, carrier = self._line.gm, run.made or run.carrier
        if gm is None:
            return True
        if expires_s and carrier is not None:
            return gm.registered(carrier, self._line.identity.impu, expires_s)
        if run.made is not None:
            gm.concluded(run.made)
        gm.deregistered()
        return not expires_s

    def _granted(self, response: Response) -> int:
        """The lifetime of this phone's own contact (RFC 3261 10.2.4); nothing if the network left it out.

        Another instance that had this address before is another phone (RFC 5626 4.2).
        """
        mine, instance = self._line.contact.uri, f"<{self._line.instance}>"
        for contact in response.every(CONTACT):
            if isinstance(contact, NameAddr) and _same(contact, mine):
                if contact.param("+sip.instance") not in (None, instance):
                    continue
                return contact.expires if contact.expires is not None else response.first(EXPIRES) or 0
        return 0

    def is_past(self, call_id: str | None, cseq: int | None) -> bool:
        """Whether news about a REGISTER (RFC 3680 5.3) is older than what the network has accepted since."""
        return call_id == self._call_id and cseq is not None and cseq < self._accepted_cseq

    def shortened(self, expires_s: int) -> None:
        """The network asks for re-authentication: renew within what is left (TS 24.229 5.1.1.5.1 and 5.1.1.3)."""
        if self._line.gm is not None:
            self._line.gm.shortened(expires_s)
        self._hold(expires_s)

    def ended(self) -> None:
        """The network ended the registration (TS 24.229 5.1.1.7)."""
        self._line.service_route = self._line.associated = ()
        if self._line.gm is not None:
            self._line.gm.deregistered()
        self._hold(0)

    def stop(self) -> None:
        """No more renewals, not even after one that is under way."""
        self._renews = False
        self._forget_timer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hold(self, expires_s: int) -> None:
        self._forget_timer()
        loop = asyncio.get_running_loop()
        self._expires_at = loop.time() + expires_s
        if expires_s and self._renews:
            delay = expires_s - EARLY_S if expires_s > 2 * EARLY_S else expires_s / 2
            self._timer = loop.call_later(delay, self._renew)
        self.on_change()

    def _renew(self) -> None:
        self._line.context.start(self.renew(), self._call_id)

    async def renew(self) -> None:
        """Registers for what was wanted last, because it is time or because the network says so."""
        result = await self.register()
        if result.registered:
            self.on_renewed()
        else:
            self._line.context.notice(
                "warning", f"re-registration failed: {result.status} {result.reason} {result.why}".rstrip()
            )


_FINDINGS = {
    Success: ("both", Fault.NONE, ""),
    MacFailure: ("a wrong MAC-A", Fault.SIM_KEY, "compare K and OPc of the card with the HSS's"),
    SyncFailure: ("an SQN that is not new", Fault.SEQUENCE_NUMBER, "nothing: AUTS resynchronises the HSS"),
}


def _pause(response: Response, attempt: int) -> float:
    after = response.first(RETRY_AFTER)
    return float(after.seconds) if after is not None else PAUSE_S * 2**attempt


def _proves_itself(response: Response, answer: Answer | None) -> bool:
    """rspauth, where the network sends it, must be right (RFC 7616 3.5): no secret is in it, so == will do."""
    info = response.first(AUTHENTICATION_INFO)
    claimed = info.param("rspauth") if info is not None else None
    return claimed is None or answer is None or answer.rspauth is None or claimed.lower() == answer.rspauth


def _same(contact: NameAddr, uri: Uri) -> bool:
    return isinstance(contact.uri, SipUri) and contact.uri.matches(uri)

