"""The I-CSCF (TS 24.229 5.3): asks the HSS which S-CSCF serves a user, and sends the request there."""

import asyncio
from typing import NamedTuple

from redoubt.config import ICscfConfig
from redoubt.cscf.icscf.selection import candidates
from redoubt.cscf.numbers import called_number
from redoubt.cscf.registering import RegisterRequest, demand_core_peer, public_identity, read_register, report
from redoubt.diameter.cx import (
    Cx,
    HssUnavailable,
    LocationInfoAnswer,
    ResultCode,
    UserAuthorizationAnswer,
    UserAuthorizationType,
)
from redoubt.events import Check, Fault
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_ASSERTED_IDENTITY, P_SERVED_USER, P_VISITED_NETWORK_ID, ROUTE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Answer, Context, Exchange, Service, forward
from redoubt.sip.uri import OtherUri, SipUri, TelUri, Uri, parse_uri

REGISTRATION_CLAUSE = "TS 24.229 5.3.1.2"
LOCATION_CLAUSE = "TS 24.229 5.3.2.1"
CAPABLE = "an S-CSCF has the capabilities that the user needs"
# An S-CSCF that answers so, or not at all, does not serve the user now: another one may (TS 24.229 5.3.1.3).
ELSEWHERE = frozenset((408, 480, 503))
# Who is not known here is challenged all the same, by an S-CSCF that says no (requirement row 77).
UNKNOWN = frozenset((ResultCode.USER_UNKNOWN, ResultCode.IDENTITY_NOT_REGISTERED))


class Unlocated(NamedTuple):
    """Why nobody serves a called user: the response, and the verdict's words."""

    status: int
    rule: str
    fault: Fault
    advice: str


class ICscf:
    """A service."""

    def __init__(self, context: Context, config: ICscfConfig, realm: str, uri: str, cx: Cx, next: Service) -> None:
        self._context = context
        self._config = config
        self._realm = realm
        self._cx = cx
        self._next = next
        own = parse_uri(uri)
        self._own_hosts = frozenset((own.host if isinstance(own, SipUri) else "", realm))

    def __call__(self, request: Request, exchange: Exchange) -> Answer:
        demand_core_peer(self._context, exchange)
        originating = self._pop_own_route(request)
        if request.method == "REGISTER":
            return self.register(request, exchange)
        return self.route(request, exchange, originating)

    async def register(self, request: Request, exchange: Exchange) -> Response | None:
        """TS 24.229 5.3.1: UAR, choice of an S-CSCF, and another one when that does not answer."""
        register = read_register(request)
        leaving = register.ends_everything
        kind = UserAuthorizationType.DE_REGISTRATION if leaving else UserAuthorizationType.REGISTRATION
        answer = await self._authorize(register, request, kind)
        chosen = [answer.server_name] if answer.server_name else self._candidates(register, answer)

        response = await self._offer(register, request, exchange, chosen)
        if response is None and answer.server_name:  # TS 24.229 5.3.1.3: the assigned one can't be reached
            kind = UserAuthorizationType.REGISTRATION_AND_CAPABILITIES
            answer = await self._authorize(register, request, kind)
            others = [uri for uri in self._candidates(register, answer) if uri not in chosen]
            response = await self._offer(register, request, exchange, others)
        if response is None:
            raise SipError(504, "no S-CSCF answers", "TS 24.229 5.3.1.3")
        return response

    async def route(self, request: Request, exchange: Exchange, originating: bool) -> Response | None:
        """TS 24.229 5.3.2: LIR for who is called, or for who calls when a server calls in its name (;orig)."""
        identity = _served_user(request) if originating else request.request_uri
        answer = await self._locate(request, identity, originating)
        if answer.server_name:
            server = answer.server_name
        elif answer.result is ResultCode.UNREGISTERED_SERVICE or answer.capabilities is not None:
            servers = candidates(self._config.servers, answer.capabilities)
            if not servers:
                wanted = Unlocated(504, CAPABLE, Fault.POLICY, "see i-cscf.servers")
                raise self._unlocated(request, identity, wanted, str(answer.capabilities))
            server = servers[0]
        else:
            raise self._unlocated(request, identity, _UNKNOWN_USER, answer.result.name)
        request.push("Route", f"<{server};lr{';orig' if originating else ''}>")
        return await forward(self._next, request, exchange, self._context.node)

    # ---- REGISTER

    async def _authorize(
        self, register: RegisterRequest, request: Request, kind: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        """UAR (TS 29.228 6.1.1); raises what its answer means for the phone (TS 24.229 5.3.1.2)."""
        visited = request.first(P_VISITED_NETWORK_ID)
        network = "" if visited is None else visited.network
        try:
            answer = await self._cx.user_authorization(register.impi, register.impu, network, kind)
        except HssUnavailable as fault:
            self._report(register, "the HSS answers", "no answer", Fault.HSS, "is the HSS running?")
            raise SipError(504, "the HSS does not answer", REGISTRATION_CLAUSE) from fault
        if answer.result.is_success:
            return answer
        if answer.result in UNKNOWN and self._context.enforces("equal-answers"):
            return answer
        rule, whose, advice, status = _REFUSALS.get(answer.result, _OTHER_REFUSAL)
        self._report(register, rule, answer.result.name, whose, advice)
        retry = (("Retry-After", "60"),) if status == 503 else ()
        raise SipError(status, f"the HSS answered {answer.result.name}", REGISTRATION_CLAUSE, retry)

    def _candidates(self, register: RegisterRequest, answer: UserAuthorizationAnswer) -> list[str]:
        servers = candidates(self._config.servers, answer.capabilities)
        if not servers:
            self._report(register, CAPABLE, str(answer.capabilities), Fault.POLICY, "see i-cscf.servers")
            raise SipError(504, "no S-CSCF can be chosen", REGISTRATION_CLAUSE)
        return servers

    async def _offer(
        self, register: RegisterRequest, request: Request, exchange: Exchange, servers: list[str]
    ) -> Response | None:
        """The response of the first S-CSCF that serves the user; None if none does."""
        for server in servers:
            attempt = request.copy()
            attempt.uri = server  # TS 24.229 5.3.1.2: the S-CSCF's URI in the Request-URI
            response = await forward(self._next, attempt, exchange, self._context.node)
            if response is None or not self._is_unserved(response):
                return response
            advice = f"is {server} running, and reachable from here?"
            self._report(register, "the S-CSCF answers", f"{response.status}", Fault.PEER, advice)
            if exchange.cancelled.happened or asyncio.get_running_loop().time() >= exchange.deadline:
                return response
        return None

    def _is_unserved(self, response: Response) -> bool:
        """No use of what an overloaded or cautious S-CSCF says with Retry-After: it does serve the user."""
        if response.has("Retry-After"):
            return False
        return response.status in ELSEWHERE or 300 <= response.status < 400

    # ---- everything else

    async def _locate(self, request: Request, identity: Uri, originating: bool) -> LocationInfoAnswer:
        """LIR (TS 29.228 6.1.4). A telephone number in a SIP URI is asked for as the tel URI first (5.3.2.1)."""
        answer = LocationInfoAnswer(ResultCode.USER_UNKNOWN)
        for impu in _spellings(identity):
            try:
                answer = await self._cx.location_info(impu, originating=originating)
            except HssUnavailable as fault:
                raise self._unlocated(request, identity, _HSS_SILENT, "no answer") from fault
            if answer.result is not ResultCode.USER_UNKNOWN:
                break
        if answer.result.is_success:
            return answer
        raise self._unlocated(request, identity, _UNLOCATED.get(answer.result, _HSS_REFUSES), answer.result.name)

    def _unlocated(self, request: Request, identity: Uri, wrong: Unlocated, seen: str) -> SipError:
        """The refusal that is owed, with its check for `redoubt explain`."""
        self._context.events.emit(
            Check(
                at=self._context.clock.now(), node=self._context.node, call_id=request.call_id, step=request.method,
                rule=wrong.rule, passed=False, impu=identity.aor, expected="SUCCESS", seen=seen, fault=wrong.fault,
                clause=LOCATION_CLAUSE, advice=wrong.advice,
                decides=wrong is not _UNKNOWN_USER or not called_number(identity),  # numbers may be others' users
            )
        )  # fmt: skip
        retry = (("Retry-After", "60"),) if wrong.status == 503 else ()
        return SipError(wrong.status, f"{identity}: it does not hold that {wrong.rule}", LOCATION_CLAUSE, retry)

    def _pop_own_route(self, request: Request) -> bool:
        """Takes our own Route off; true if it has ;orig (TS 24.229 5.3.2.1A)."""
        route = request.first(ROUTE)
        if route is None or not isinstance(route.uri, SipUri) or route.uri.host not in self._own_hosts:
            return False
        request.pop_first(ROUTE)
        return route.uri.has("orig")

    def _report(self, register: RegisterRequest, rule: str, seen: str, fault: Fault, advice: str) -> None:
        report(
            self._context,
            register,
            "SM2",
            rule,
            False,
            seen=seen,
            fault=fault,
            clause=REGISTRATION_CLAUSE,
            advice=advice,
        )


# What the user is told, and the operator (TS 24.229 5.3.1.2, TS 29.228 6.1.1).
_Refusal = tuple[str, Fault, str, int]
_OTHER_REFUSAL: _Refusal = ("the HSS authorises the registration", Fault.HSS, "look at the HSS's notices", 500)
_REFUSALS: dict[ResultCode, _Refusal] = {
    ResultCode.USER_UNKNOWN: ("the HSS knows the user", Fault.IDENTITY, "`redoubt subscriber add` makes it known", 403),
    ResultCode.IDENTITIES_DONT_MATCH: (
        "private and public identity belong together",
        Fault.IDENTITY,
        "compare the identities on the SIM with `redoubt subscriber show`; else someone uses another's identity",
        403,
    ),
    ResultCode.IDENTITY_NOT_REGISTERED: (
        "who de-registers is registered",
        Fault.IDENTITY,
        "nothing to do: the user is gone already",
        403,
    ),
    ResultCode.ROAMING_NOT_ALLOWED: (
        "the user may roam in the visited network",
        Fault.POLICY,
        "add the network to the subscriber's visited networks if it shall",
        403,
    ),
    ResultCode.AUTHORIZATION_REJECTED: (
        "the user has an identity that is not barred",
        Fault.POLICY,
        "`redoubt subscriber show` says which are barred",
        403,
    ),
    ResultCode.TOO_BUSY: ("the HSS has room for the request", Fault.HSS, "the HSS is overloaded", 503),
}


# The same for a call or message, whose caller is authenticated and may know (TS 24.229 5.3.2.1, TS 29.228 6.1.4).
_UNKNOWN_USER = Unlocated(
    404, "the called user is known", Fault.IDENTITY, "compare the address with `redoubt subscriber list`"
)
_HSS_SILENT = Unlocated(504, "the HSS answers", Fault.HSS, "is the HSS running?")
_HSS_REFUSES = Unlocated(500, "the HSS says who serves the called user", Fault.HSS, "look at the HSS's notices")
_UNLOCATED = {
    ResultCode.USER_UNKNOWN: _UNKNOWN_USER,
    ResultCode.IDENTITY_NOT_REGISTERED: Unlocated(
        480, "the called user is registered", Fault.CALLEE, "the called phone must register first"
    ),
    ResultCode.TOO_BUSY: Unlocated(503, "the HSS has room for the request", Fault.HSS, "the HSS is overloaded"),
}


def _served_user(request: Request) -> Uri:
    """Who calls, when a server does it for a user (TS 24.229 5.3.2.1A): P-Served-User, else the asserted identity."""
    served = request.first(P_SERVED_USER) or request.first(P_ASSERTED_IDENTITY)
    if served is None:
        raise SipError(403, "nobody says for whom the server calls", "TS 24.229 5.3.2.1A")
    return served.uri


def _spellings(identity: Uri) -> list[str]:
    """The identities to ask the HSS for, the likeliest first."""
    if isinstance(identity, OtherUri):
        raise SipError(404, f"{identity} names no user of this network", "TS 24.229 5.3.2.1")
    own = public_identity(identity)
    if isinstance(identity, TelUri) or not (identity.user or "").startswith("+"):
        return [own]
    return [TelUri((identity.user or "").partition(";")[0]).aor, own] if identity.param("user") == "phone" else [own]
