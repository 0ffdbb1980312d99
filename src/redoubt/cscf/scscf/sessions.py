"""Sessions at the S-CSCF (TS 24.229 5.4.3): one half serves the caller, the other the called user."""

import asyncio

from redoubt.config import SCscfConfig
from redoubt.cscf.scscf.breakout import Breakout
from redoubt.cscf.scscf.forking import Fork, breadth_of, targets_of
from redoubt.cscf.scscf.registrations import Binding, RegisteredSet, Registrations
from redoubt.cscf.scscf.restoration import Restoration
from redoubt.cscf.scscf.unanswered import reason_of
from redoubt.cscf.scscf.unregistered import Unregistered
from redoubt.diameter.cx import Cx
from redoubt.events import CallEnded, Check, Fault
from redoubt.ndm.enum import Enum
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_ASSERTED_IDENTITY, ROUTE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.sip.uri import OtherUri, SipUri, TelUri, parse_uri

DIALOG_FORMING = frozenset(("INVITE", "SUBSCRIBE", "REFER"))  # RFC 3261 12, RFC 6665, RFC 3515


class Sessions:
    """Everything but REGISTER and the registration state. This node's own Route was popped by the caller."""

    def __init__(
        self,
        context: Context,
        config: SCscfConfig,
        realm: str,
        uri: str,
        registrations: Registrations,
        restoration: Restoration,
        cx: Cx,
        next: Service,
        enum: Enum | None = None,
        bgcf: str = "",
    ) -> None:
        self._context = context
        self._realm = realm.lower()
        self._uri = uri
        self._own_route = f"<{uri};lr>"
        self._own = parse_uri(f"{uri};lr")
        self._registrations = registrations
        self._restoration = restoration
        self._unregistered = Unregistered(context, uri, cx, registrations, restoration)
        self._next = next
        self._breakout = Breakout(
            context, realm, enum, bgcf, next, lambda impu: registrations.find(impu) is not None
        )
        self._forked: set[tuple[object, ...]] = set()  # requests that are under way to several contacts

    # ---- the caller's half

    async def originating(self, request: Request, exchange: Exchange) -> Response | None:
        """TS 24.229 5.4.3.2: an initial request of a user who is served here."""
        served = await self._served_user(request, exchange)
        self._assert_number(request, served)
        self._record_route(request)
        if isinstance(uri := request.request_uri, OtherUri):
            raise SipError(416, f"no route for {uri.scheme}: URIs", "RFC 3261 16.3 step 2")
        vector = request.get("P-Charging-Vector")
        if vector is not None and "orig-ioi" not in vector:
            request.set("P-Charging-Vector", f"{vector};orig-ioi={self._realm}")
        if self._breakout.concerns(request):  # steps 7 to 10
            response = await self._breakout.send(request, exchange, _as_told)
        else:
            response = await forward(self._next, request, exchange, self._context.node, _as_told)
        if request.method == "INVITE" or request.method == "MESSAGE":
            self._note_end(request, response)
        return response

    async def _served_user(self, request: Request, exchange: Exchange) -> RegisteredSet:
        """Step 1: who calls, by the identity that the P-CSCF asserted; registered here and not barred."""
        if not exchange.flow.trusted:
            raise SipError(403, "an originating request came from nobody trusted", "TS 24.229 5.4.3.2")
        for asserted in request.every(P_ASSERTED_IDENTITY):
            impu = asserted.uri.aor
            found = self._registrations.find(impu) or await self._restoration.recall(impu)
            if found is None:
                continue
            identity = found.identity(impu)
            if identity is None or identity.barred:
                self._check(
                    request,
                    "the caller's identity is not barred",
                    False,
                    impu=impu,
                    fault=Fault.POLICY,
                    clause="TS 24.229 5.4.3.2",
                    advice="lift the barring of this identity in the HSS",
                )
                raise SipError(403, f"{impu} is barred", "TS 24.229 5.4.3.2")
            self._check(request, "the caller is registered here", True, impu=impu, clause="TS 24.229 5.4.3.2")
            return found
        seen = request.get("P-Asserted-Identity") or "no asserted identity"
        self._check(
            request,
            "the caller is registered here",
            False,
            seen=seen,
            fault=Fault.IDENTITY,
            clause="TS 24.229 5.4.3.2",
            advice="the phone must register again: this S-CSCF knows nothing of it",
        )
        raise SipError(403, "the caller is not registered here", "TS 24.229 5.4.3.2")

    def _assert_number(self, request: Request, served: RegisteredSet) -> None:
        """A caller who is asserted by SIP URI alone is asserted by its telephone number too (TS 24.229 5.4.3.2)."""
        asserted = request.every(P_ASSERTED_IDENTITY)
        uri = asserted[0].uri
        if (
            len(asserted) > 1
            or not isinstance(uri, SipUri)
            or not uri.user
            or uri.user[0] not in "+0123456789"
        ):
            return
        number = f"tel:{uri.user}"
        identity = served.identity(number)
        if identity is not None and identity.impu == number and not identity.barred:
            request.add("P-Asserted-Identity", f"<{number}>")

    # ---- the called user's half

    async def terminating(self, request: Request, exchange: Exchange) -> Response | None:
        """TS 24.229 5.4.3.3: an initial request to a user who is served here."""
        bindings = await self._called_user(request)
        called = request.uri
        request.set("P-Called-Party-ID", f"<{called}>")
        request.remove("Route")
        self._record_route(request)
        if len(bindings) == 1:
            _aim(request, bindings[0])
            response = await forward(self._next, request, exchange, self._context.node, _as_told)
        else:
            response = await self._fork(request, exchange, bindings)
        if response is not None and response.status >= 300 and request.method == "INVITE":
            seen, why = f"{response.status} {response.reason}", reason_of(response.status)
            self._check(request, "the called user answers", False, impu=called, seen=seen, **why._asdict())
        return response

    async def _called_user(self, request: Request) -> list[Binding]:
        """Steps 1 to 3: the contacts of the called user, if it may be called and has any."""
        uri = request.request_uri
        impu = uri.aor
        found = self._registrations.find(impu)
        if found is None and (number := _number_in(uri)):
            impu, found = number, self._registrations.find(number)
        if found is None:
            is_ours = not isinstance(uri, SipUri) or uri.host == self._realm
            is_ours = is_ours and await self._unregistered.is_known(impu)
            found = self._registrations.find(impu)  # the user may have come meanwhile
            if found is None:
                raise self._not_registered(request, impu, is_ours)
        identity = found.identity(impu)
        if identity is None or identity.barred:
            self._check(
                request,
                "the called identity is not barred",
                False,
                impu=impu,
                fault=Fault.POLICY,
                clause="TS 24.229 5.4.3.3",
                advice="lift the barring of this identity in the HSS",
            )
            raise SipError(404, f"{impu} is barred", "TS 24.229 5.4.3.3 step 1")
        bindings = self._registrations.contacts(impu, asyncio.get_running_loop().time())
        if not bindings:
            raise self._not_registered(request, impu, is_ours=True)
        self._check(request, "the called user is registered here", True, impu=impu, clause="TS 24.229 5.4.3.3")
        return bindings

    def _not_registered(self, request: Request, impu: str, is_ours: bool) -> SipError:
        """Not registered, or only on the way to it: 480; not of this network: 404 (TS 24.229 5.4.3.3)."""
        self._check(
            request,
            "the called user is registered here",
            False,
            impu=impu,
            fault=Fault.CALLEE,
            clause="TS 24.229 5.4.3.3",
            advice="the called phone must register first",
        )
        if is_ours:
            return SipError(480, f"{impu} is not registered", "TS 24.229 5.4.3.3 step 3")
        return SipError(404, f"{impu} is not a user of this network", "TS 24.229 5.4.3.3 step 1")

    async def _fork(self, request: Request, exchange: Exchange, bindings: list[Binding]) -> Response | None:
        """To several contacts; not again while it is under way, which is how a loop would multiply (RFC 5393 4.2)."""
        cseq = request.cseq
        key = (request.call_id, request.from_.tag, cseq.number, cseq.method, request.uri)
        if key in self._forked:
            raise SipError(482, "a request came back to a user whose contacts it is offered to", "RFC 5393 4.2")
        fork = Fork(self._context, self._next, exchange, _as_told, request.method == "INVITE")
        self._forked.add(key)
        try:
            return await fork.run(targets_of(request, bindings, _aim), breadth_of(request))
        finally:
            self._forked.discard(key)

    # ---- both

    async def in_dialog(self, request: Request, exchange: Exchange) -> Response | None:
        """TS 24.229 5.4.3.2 and 5.4.3.3, subsequent requests: on along the Route. Both halves here are one step."""
        while (route := request.first(ROUTE)) is not None and route.uri == self._own:
            request.pop_first(ROUTE)
        response = await forward(self._next, request, exchange, self._context.node, _as_told)
        if request.method == "BYE" and response is not None and response.is_success:
            self._ended(request, 0)
        return response

    def _record_route(self, request: Request) -> None:
        if request.method in DIALOG_FORMING:
            request.push("Record-Route", self._own_route)

    def _note_end(self, request: Request, response: Response | None) -> None:
        """A call that was answered ends with its BYE."""
        if response is not None and (response.status >= 300 or request.method == "MESSAGE"):
            self._ended(request, response.status, response.reason)

    def _ended(self, request: Request, status: int, why: str = "") -> None:
        context = self._context
        context.events.emit(
            CallEnded(
                at=context.clock.now(),
                node=context.node,
                call_id=request.call_id,
                caller=request.from_.uri.aor,
                callee=request.to.uri.aor,
                status=status,
                why=why,
                method="MESSAGE" if request.method == "MESSAGE" else "INVITE",
            )
        )

    def _check(
        self,
        request: Request,
        rule: str,
        passed: bool,
        *,
        impu: str = "",
        seen: str = "",
        fault: Fault = Fault.NONE,
        clause: str = "",
        advice: str = "",
    ) -> None:
        """A rule that decided something for this call, for `redoubt explain`."""
        context = self._context
        context.events.emit(
            Check(
                at=context.clock.now(),
                node=context.node,
                call_id=request.call_id,
                step=request.method,
                rule=rule,
                passed=passed,
                impu=impu,
                seen=seen,
                fault=fault,
                clause=clause,
                advice=advice,
            )
        )


def _aim(request: Request, binding: Binding) -> None:
    """At one contact, along the Path that it registered with (TS 24.229 5.4.3.3, RFC 3327 5.4)."""
    request.uri = binding.contact
    request.push("Route", *binding.path)


def _number_in(uri: SipUri | TelUri | OtherUri) -> str:
    """The tel URI that a SIP URI with user=phone stands for (TS 24.229 5.4.3.3, RFC 3261 19.1.6)."""
    if isinstance(uri, SipUri) and uri.user and uri.user[0] == "+" and uri.param("user") == "phone":
        return TelUri(uri.user.partition(";")[0]).aor
    return ""


def _as_told(response: Response) -> None:
    """That the flow to a phone is gone is the caller's "not available" (RFC 5626 5.3.1, TS 24.229 5.4.3.3).

    And a 503 from further on says nothing of this node, of which a 503 would speak (RFC 3261 16.7 step 6).
    """
    if response.status == 430:
        response.status, response.reason = 480, "Temporarily Unavailable"
    elif response.status == 503:
        response.status, response.reason = 500, "Server Internal Error"
        response.remove("Retry-After")
