"""What the core sends to phones (TS 24.229 5.2.6.4): to the registered flow or nowhere, without the core's secrets."""

from typing import Protocol

from redoubt.cscf.pcscf.bindings import Binding
from redoubt.cscf.pcscf.dialogs import DIALOG_FORMING, Attempt, Dialogs, Side, routes_of
from redoubt.cscf.pcscf.screening import NETWORK_HEADERS, OF_A_PHONE, to_phone
from redoubt.cscf.trust import IDENTITIES, remove_all
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_CALLED_PARTY_ID, P_PREFERRED_IDENTITY
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.transport.flow import Flow

CLAIMS_IN_RESPONSES = NETWORK_HEADERS - {"Record-Route"}  # that one has a rule of its own


class Access(Protocol):
    """The way to phones: a service that sends over exactly this flow."""

    def to(self, flow: Flow) -> Service: ...


class Terminating:
    """Requests from the core to registered phones."""

    def __init__(self, context: Context, host: str, dialogs: Dialogs, access: Access) -> None:
        self._context = context
        self._host = host
        self._dialogs = dialogs
        self._access = access

    async def deliver(
        self, request: Request, exchange: Exchange, binding: Binding, way: Flow
    ) -> Response | None:
        """TS 24.229 5.2.6.4.3 and 5.2.6.4.5: one request on the way to the phone that registered."""
        found = to_phone(request, self._context)
        if "Route" in found:
            request.remove("Route")
        node = self._context.node
        phone = self._access.to(way)
        if request.to.tag is not None:
            passage = Passage(self._context, request, binding)
            response = await forward(phone, request, exchange, node, passage.screen)
            self._look_for_the_end(request, response)
            return response
        passage = Passage(self._context, request, binding, _called_identity(request, binding, found))
        if request.method in DIALOG_FORMING:
            self._watch_for_dialogs(passage)
        return await forward(phone, request, exchange, node, passage.screen)

    def _watch_for_dialogs(self, passage: "Passage") -> None:
        """Record-Route with the flow token, so that later requests find the phone (RFC 5626 5.3)."""
        request, binding = passage.request, passage.binding
        beyond = routes_of(request)
        own_route = f"<sip:{binding.token}@{self._host};lr>"
        request.push("Record-Route", own_route)
        passage.routes = (own_route, *beyond)
        from_tag = request.from_.tag or ""
        passage.attempt = Attempt(
            self._dialogs, binding, Side.CORE, request.call_id, from_tag, 0, request.method, own_route, beyond
        )

    def _look_for_the_end(self, request: Request, response: Response | None) -> None:
        dialog = self._dialogs.find((request.call_id, request.to.tag or "", request.from_.tag or ""))
        if dialog is not None and response is not None:
            self._dialogs.ended_by(dialog, request, response)


class Passage:
    """One request on its way to a phone, for what its responses must be measured against."""

    __slots__ = ("_context", "attempt", "binding", "called", "request", "routes", "vias")

    def __init__(
        self, context: Context, request: Request, binding: Binding, called: NameAddr | None = None
    ) -> None:
        self._context = context
        self.request = request
        self.binding = binding
        self.called = called  # None inside a dialog, where nobody is asserted anew
        self.vias = request.all("Via")
        self.routes: tuple[str, ...] = ()
        self.attempt: Attempt | None = None

    def screen(self, response: Response) -> None:
        """A phone says in its response neither who it is nor which way it came (TS 24.229 5.2.6.4.4, RFC 3325 5)."""
        context = self._context
        found = response.present(OF_A_PHONE)
        if found and context.enforces("strip-core-headers"):
            remove_all(response, found & CLAIMS_IN_RESPONSES)
        if response.all("Via") != self.vias:
            response.replace("Via", self.vias)
        if self.attempt is not None:
            self.attempt.saw(response)
            if response.status < 300 and routes_of(response) != self.routes:
                response.replace("Record-Route", self.routes)
        self._assert_identity(response, found & IDENTITIES)

    def _assert_identity(self, response: Response, claims: frozenset[str]) -> None:
        identity = self.called
        if claims:
            if "P-Preferred-Identity" in claims:
                identity = identity and (_preferred(response, self.binding) or identity)
                response.remove("P-Preferred-Identity")
            if "P-Asserted-Identity" in claims and not self._context.enforces("asserted-identity"):
                return
            response.remove("P-Asserted-Identity")
        if identity is not None:
            response.add("P-Asserted-Identity", str(identity))


def _called_identity(request: Request, binding: Binding, found: frozenset[str]) -> NameAddr:
    """Who was called, if it is one of the phone's identities, else its default."""
    if "P-Called-Party-ID" not in found:
        return binding.default_identity
    return binding.owns(request.need(P_CALLED_PARTY_ID)) or binding.default_identity


def _preferred(response: Response, binding: Binding) -> NameAddr | None:
    try:
        return binding.owns(response.need(P_PREFERRED_IDENTITY))
    except SipError:
        return None
