"""What the core sends to phones (TS 24.229 5.2.6.4): to the registered flow or nowhere, without the core's secrets."""

from typing import Protocol

from redoubt.cscf.pcscf.bindings import Binding
from redoubt.cscf.pcscf.dialogs import DIALOG_FORMING, Attempt, Dialogs, Side, routes_of, set_routes
from redoubt.cscf.pcscf.screening import HIDDEN_HEADERS, NETWORK_HEADERS, hide_identity, remove_all
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

    async def deliver(self, request: Request, exchange: Exchange, binding: Binding) -> Response | None:
        """TS 24.229 5.2.6.4.3 and 5.2.6.4.5: one request to the flow that the phone registered over."""
        if binding.flow.is_closed():
            raise SipError(430, "the phone's flow is closed", "RFC 5626 5.3.1")
        way = Passage(self, request, binding)
        remove_all(request, HIDDEN_HEADERS)
        hide_identity(request)
        request.remove("Route")
        node = self._context.node
        phone = self._access.to(binding.flow)
        if request.to.tag is not None:
            response = await forward(phone, request, exchange, node, way.screen)
            self._look_for_the_end(request, response)
            return response
        if request.method in DIALOG_FORMING:
            way.watch_for_dialogs()
        return await forward(phone, request, exchange, node, way.screen)

    def _look_for_the_end(self, request: Request, response: Response | None) -> None:
        dialog = self._dialogs.find((request.call_id, request.to.tag or "", request.from_.tag or ""))
        if dialog is not None and response is not None:
            self._dialogs.ended_by(dialog, request, response)


class Passage:
    """One request on its way to a phone, for what its responses must be measured against."""

    __slots__ = ("_attempt", "_function", "binding", "called", "request", "routes", "vias")

    def __init__(self, function: Terminating, request: Request, binding: Binding) -> None:
        self._function = function
        self._attempt: Attempt | None = None
        self.request = request
        self.binding = binding
        self.called = _called_identity(request, binding)
        self.vias = tuple(request.all("Via"))
        self.routes: tuple[str, ...] = ()

    def watch_for_dialogs(self) -> None:
        """Record-Route with the flow token, so that later requests find the phone (RFC 5626 5.3)."""
        request, binding, function = self.request, self.binding, self._function
        beyond = routes_of(request)
        own_route = f"<sip:{binding.token}@{function._host};lr>"
        request.push("Record-Route", own_route)
        self.routes = (own_route, *beyond)
        self._attempt = Attempt(
            function._dialogs,
            binding,
            Side.CORE,
            request.call_id,
            request.from_.tag or "",
            0,
            request.method,
            own_route,
            beyond,
        )

    def screen(self, response: Response) -> None:
        """A phone says in its response neither who it is nor which way it came (TS 24.229 5.2.6.4.4, RFC 3325 5)."""
        context = self._function._context
        if context.enforces("strip-core-headers"):
            remove_all(response, CLAIMS_IN_RESPONSES)
        if tuple(response.all("Via")) != self.vias:
            set_routes(response, "Via", self.vias)
        if self._attempt is not None:
            self._attempt.saw(response)
            if 100 < response.status < 300 and routes_of(response) != self.routes:
                set_routes(response, "Record-Route", self.routes)
        if response.status > 100:
            self._assert_identity(response, context)

    def _assert_identity(self, response: Response, context: Context) -> None:
        identity = self.called
        if response.has("P-Preferred-Identity"):
            identity = _preferred(response, self.binding) or identity
            response.remove("P-Preferred-Identity")
        if context.enforces("asserted-identity") or not response.has("P-Asserted-Identity"):
            response.set("P-Asserted-Identity", str(identity))


def _called_identity(request: Request, binding: Binding) -> NameAddr:
    """Who was called, if it is one of the phone's identities, else its default."""
    if not request.has("P-Called-Party-ID"):
        return binding.default_identity
    return binding.owns(request.need(P_CALLED_PARTY_ID)) or binding.default_identity


def _preferred(response: Response, binding: Binding) -> NameAddr | None:
    try:
        return binding.owns(response.need(P_PREFERRED_IDENTITY))
    except SipError:
        return None
