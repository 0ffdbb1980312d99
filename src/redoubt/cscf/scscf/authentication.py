"""Challenges a user and judges the answer (TS 33.203 6.1, TS 24.229 5.4.1.2, RFC 3310).

Whether a REGISTER must be challenged, and what follows from the judgement, is registration.py's.
"""

import asyncio
import base64
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from redoubt.aka.digest import DigestAlgorithm, DigestFields, aka_password, verify
from redoubt.aka.milenage import Milenage
from redoubt.aka.nonce import MalformedNonce, decode_auts
from redoubt.aka.vector import make_vector
from redoubt.config import ConfigError, SCscfConfig
from redoubt.cscf.registering import RegisterRequest, report
from redoubt.cscf.scscf.backoff import BackOff
from redoubt.cscf.scscf.challenges import Challenge, Challenges, VectorStock
from redoubt.diameter.cx import AuthenticationVector, Cx, HssUnavailable, ResultCode, Resynchronisation
from redoubt.events import Fault
from redoubt.limits import CHALLENGES_PER_MINUTE
from redoubt.secret import Secret
from redoubt.sip.errors import SipError
from redoubt.sip.fields import VIA
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Request
from redoubt.sip.service import Context, Exchange
from redoubt.transport.flow import Zone

# What authentication centres give unless told otherwise; a decoy's AUTN shows the same, as AMF stands there in clear.
DECOY_AMF = b"\x80\x00"
ANNEX = "TS 24.229 5.4.1.2.2"


class Outcome(Enum):
    """What an answer proves."""

    AUTHENTICATED = "the response matches XRES"
    WRONG_RESPONSE = "the response does not match XRES"
    NETWORK_REFUSED = "the phone did not accept AUTN: no response and no auts"
    OUT_OF_STEP = "the phone sent AUTS"


class Busy(Exception):
    """The HSS gives this user no vector now: too many stand unanswered."""


class Attempt(Struct, frozen=True):
    """One REGISTER at this S-CSCF. `protected`: on a first hop that an earlier authentication secures."""

    register: RegisterRequest
    request: Request
    exchange: Exchange
    protected: bool

    @property
    def source(self) -> str:
        """The address that failures are counted for: in the phone's Via, `received` before what it claims.

        A phone can add Vias only below its own, so the place is counted from above: every wire between the functions
        has put one there.
        """
        vias = self.request.every(VIA)
        if not vias:
            return ""
        origin = self.exchange.origin
        if origin.zone is Zone.ACCESS:
            above = 0
        else:
            above = 2 if origin is self.exchange.flow else 1
        via = vias[min(above, len(vias) - 1)]
        return via.received or via.host


class Authentication:
    """The open challenges of this S-CSCF, and everything that makes and judges them."""

    def __init__(
        self,
        context: Context,
        config: SCscfConfig,
        realm: str,
        uri: str,
        cx: Cx,
        on_timeout: Callable[[list[Challenge]], None],
    ) -> None:
        self._context = context
        self._config = config
        self._realm = realm
        self._uri = uri
        self._cx = cx
        self.challenges = Challenges(on_timeout)
        self.stock = VectorStock()
        self.back_off = BackOff(config.failures_before_back_off)
        self._algorithms = tuple(_aka_algorithm(name) for name in config.algorithms)

    async def challenge(self, attempt: Attempt, after: Challenge | None = None) -> list[Credentials]:
        """Opens a challenge; its WWW-Authenticate values, with CK and IK for the P-CSCF (TS 24.229 5.4.1.2.1).

        `after` is the challenge that was answered with AUTS. Raises Busy.
        """
        register = attempt.register
        if not attempt.protected:
            self._refuse_who_backs_off(attempt)
            self._refuse_too_many(register)
        vector, decoy = await self._vector(register, after)
        challenge = Challenge(
            base64.b64encode(vector.rand + vector.autn).decode("ascii"),
            register.impi,
            register.impu,
            register.contact,
            register.call_id,
            vector,
            attempt.protected,
            asyncio.get_running_loop().time() + self._config.reg_await_auth,
            decoy,
            after is not None,
        )
        replaced = self.challenges.open(challenge)
        if replaced is not None and not attempt.protected:  # it costs vectors as wrong answers do
            self.count_failure(attempt)
        return [self._shown(challenge, algorithm) for algorithm in self._algorithms]

    def answered(self, register: RegisterRequest) -> Challenge | None:
        """The open challenge that this REGISTER answers, if it may answer one (TS 24.229 5.4.1.2.2 steps 1, 2)."""
        nonce = register.credentials.param("nonce")
        challenge = self.challenges.find(nonce) if nonce else None
        if challenge is None:
            if nonce and register.credentials.param("response"):
                advice = "usual for a re-registration; else the answer came late, or twice"
                report(
                    self._context,
                    register,
                    "SM9",
                    "the nonce is an open challenge's",
                    True,
                    seen=advice,
                    clause="TS 24.229 5.4.1.2.2",
                )
            return None
        context = self._context
        if challenge.call_id != register.call_id and context.enforces("challenge-call-id"):
            self._not_its_answer(register, "Call-ID", challenge.call_id, register.call_id)
            return None
        pair = (challenge.impi, challenge.impu)
        if pair != (register.impi, register.impu) and context.enforces("identity-pair"):
            self._not_its_answer(register, "pair of identities", " ".join(pair), f"{register.impi} {register.impu}")
            return None
        return challenge

    def judge(self, attempt: Attempt, challenge: Challenge) -> Outcome:
        """What the answer proves. The challenge is over, whatever it is (TS 33.203 6.1.1)."""
        if self._context.enforces("challenge-once"):
            self.challenges.close(challenge)
        credentials = attempt.register.credentials
        if credentials.param("auts"):
            return Outcome.OUT_OF_STEP  # what stands in `response` beside it authenticates nobody (RFC 3310 3.4)
        response = credentials.param("response")
        if not response:
            return Outcome.NETWORK_REFUSED
        return Outcome.AUTHENTICATED if self._proves(attempt, challenge) else Outcome.WRONG_RESPONSE

    def count_failure(self, attempt: Attempt) -> None:
        """One more towards back-off; an alarm when it starts."""
        now = asyncio.get_running_loop().time()
        impi, source = attempt.register.impi, attempt.source
        if self.back_off.failed(impi, source, now):
            self._context.notice(
                "alarm",
                f"{source} keeps failing to authenticate as {impi}; its attempts are delayed",
                "if the user complains, compare K and OPc of SIM and HSS; else someone tries keys",
            )

    def succeeded(self, attempt: Attempt) -> None:
        """Forgives this source's failures."""
        if len(self.back_off):
            self.back_off.succeeded(attempt.register.impi, attempt.source)

    def _proves(self, attempt: Attempt, challenge: Challenge) -> bool:
        param = attempt.register.credentials.param
        named = param("algorithm")
        algorithm = DigestAlgorithm.named(named) if named else self._algorithms[0]
        if algorithm not in self._algorithms or param("realm") != self._realm:
            return False
        fields = DigestFields(
            algorithm=algorithm,
            username=param("username") or "",
            realm=self._realm,
            nonce=challenge.nonce,
            uri=param("uri") or "",
            method=attempt.request.method,
            qop=param("qop"),
            nc=param("nc") or "",
            cnonce=param("cnonce") or "",
            body=attempt.request.body,
        )
        vector = challenge.vector
        password = aka_password(algorithm, vector.xres, vector.ik, vector.ck)
        return verify(fields, password, param("response") or "") and not challenge.decoy

    async def _vector(
        self, register: RegisterRequest, after: Challenge | None
    ) -> tuple[AuthenticationVector, bool]:
        """The next vector, and whether it is a decoy."""
        impi, impu = register.impi, register.impu
        if after is not None:
            self.stock.drop(impi, impu)
            if after.decoy:
                raise self._refused(register, ResultCode.AUTHORIZATION_REJECTED)
        elif (vector := self.stock.take(impi, impu)) is not None:
            return vector, False
        # One at a time while challenges of this user stand open: an attack must not drain vectors (row 110).
        count = 1 if self.challenges.of(impi) else self._config.vectors_per_request
        sent = None if after is None else Resynchronisation(after.vector.rand, self._auts(register))
        try:
            answer = await self._cx.multimedia_auth(impi, impu, self._uri, count, sent)
        except HssUnavailable as fault:
            raise hss_silent(self._context, register, "CM2") from fault
        if answer.result.is_success and answer.vectors:
            report(self._context, register, "CM2", "the HSS gives a vector", True, clause="TS 29.228 6.3.1")
            self.stock.put(impi, impu, answer.vectors[1:])
            return answer.vectors[0], False
        if answer.result is ResultCode.USER_UNKNOWN and self._hides_unknown_users and after is None:
            self._report_refusal(register, answer.result)
            return self._decoy(), True
        if answer.result is ResultCode.TOO_BUSY:
            raise Busy
        raise self._refused(register, answer.result)

    @property
    def _hides_unknown_users(self) -> bool:
        return self._config.hide_unknown_users and self._context.enforces("equal-answers")

    def _decoy(self) -> AuthenticationVector:
        """A vector of a card that does not exist: it looks and costs like any other (requirement row 77)."""
        octets = self._context.randomness.octets(54)
        card = Milenage(Secret(octets[:16]), Secret(octets[16:32]))
        return make_vector(card, octets[32:48], int.from_bytes(octets[48:], "big"), DECOY_AMF)

    def _auts(self, register: RegisterRequest) -> bytes:
        try:
            return decode_auts(register.credentials.param("auts") or "")
        except MalformedNonce as fault:
            raise SipError(400, str(fault), "RFC 3310 3.4") from fault

    def _refused(self, register: RegisterRequest, result: ResultCode) -> SipError:
        self._report_refusal(register, result)
        if result is ResultCode.UNABLE_TO_COMPLY:
            return SipError(500, "the HSS could not make a vector", "TS 29.228 6.3")
        return SipError(403, f"the HSS gives no vector: {result.name}", "TS 29.228 6.3")

    def _report_refusal(self, register: RegisterRequest, result: ResultCode) -> None:
        report(
            self._context,
            register,
            "CM2",
            "the HSS gives a vector",
            False,
            expected="SUCCESS",
            seen=result.name,
            fault=Fault.IDENTITY if result is ResultCode.USER_UNKNOWN else Fault.HSS,
            clause="TS 29.228 6.3",
            advice="look at what the HSS says about this user: `redoubt subscriber show`",
        )

    def _not_its_answer(self, register: RegisterRequest, what: str, expected: str, seen: str) -> None:
        report(
            self._context,
            register,
            "SM9",
            f"the answer has the {what} of its challenge",
            False,
            expected=expected,
            seen=seen,
            fault=Fault.MESSAGE,
            clause=ANNEX,
            advice="someone answers a challenge that was not sent to it; it gets one of its own",
        )

    def _refuse_too_many(self, register: RegisterRequest) -> None:
        """At most the HSS's own ceiling, so that it is the same for users that exist and that do not (row 77)."""
        mine = self.challenges.of(register.impi)
        minute_ago = asyncio.get_running_loop().time() + self._config.reg_await_auth - 60
        if sum(challenge.deadline > minute_ago for challenge in mine) >= CHALLENGES_PER_MINUTE:
            raise Busy

    def _refuse_who_backs_off(self, attempt: Attempt) -> None:
        if not len(self.back_off):
            return
        register = attempt.register
        wait_s = self.back_off.wait_s(register.impi, attempt.source, asyncio.get_running_loop().time())
        if wait_s:
            report(
                self._context,
                register,
                "SM3",
                "this source has not failed too often for this user",
                False,
                expected=f"at most {self._config.failures_before_back_off} failures",
                seen=attempt.source,
                fault=Fault.SIM_KEY,
                clause="TS 24.229 5.4.1",
                advice=f"wait {wait_s} s; compare K and OPc of the SIM with those in the HSS",
            )
            raise SipError(
                503, "too many failed authentications", "TS 24.229 5.4.1", (("Retry-After", str(wait_s)),)
            )

    def _shown(self, challenge: Challenge, algorithm: DigestAlgorithm) -> Credentials:
        vector = challenge.vector
        return Credentials(
            "Digest",
            (
                ("realm", self._realm, True),
                ("nonce", challenge.nonce, True),
                ("algorithm", algorithm.value, False),
                ("ck", vector.ck.reveal().hex(), True),
                ("ik", vector.ik.reveal().hex(), True),
            ),
        )


def _aka_algorithm(name: str) -> DigestAlgorithm:
    algorithm = DigestAlgorithm.named(name)
    if algorithm is None or not algorithm.is_aka:
        raise ConfigError(f"s-cscf.algorithms: {name!r} is none; write AKAv1-MD5, AKAv2-SHA-256 or AKAv2-MD5")
    return algorithm


def hss_silent(context: Context, register: RegisterRequest, step: str) -> SipError:
    """The 504 owed when the HSS doesn't answer, with its event."""
    report(
        context,
        register,
        step,
        "the HSS answers",
        False,
        fault=Fault.HSS,
        clause="TS 29.228 6",
        advice="look at the HSS: does it run, is its store writable, is it an open Diameter peer in `redoubt status`?",
    )
    return SipError(504, "the HSS does not answer", "TS 24.229 5.4.1.2")
