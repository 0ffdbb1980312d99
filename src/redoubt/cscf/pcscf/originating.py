"""What phones send besides REGISTER (TS 24.229 5.2.6.3): who they are and where it goes is decided here."""

from redoubt.cscf.pcscf.bindings import Binding
from redoubt.cscf.pcscf.dialogs import DIALOG_FORMING, Attempt, Dialog, Dialogs, Side, check_room
from redoubt.cscf.pcscf.screening import strip_claims, to_phone
from redoubt.cscf.trust import remove_all
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_PREFERRED_IDENTITY, ROUTE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.sip.uri import SipUri

WITHOUT_RISING_CSEQ = frozenset(("ACK", "CANCEL"))  # RFC 3261 12.2.1.1, 13.2.2.4


class Originating:
    """Requests from registered phones, on their way to the core."""

    def __init__(
        self, context: Context, realm: str, host: str, home_entry: str, dialogs: Dialogs, next: Service
    ) -> None:
        self._context = context
        self._host = host
        self._charging = f";icid-generated-at={host};orig-ioi={realm}"
        self._home_entry = (f"<{home_entry};lr>",) if home_entry else ()
        self._dialogs = dialogs
        self._next = next

    async def initial(self, request: Request, exchange: Exchange, bindings: list[Binding]) -> Response | None:
        """A request outside dialogs (TS 24.229 5.2.6.3.3, 5.2.6.3.7)."""
        context = self._context
        binding = self._assert_identity(request, bindings, strip_claims(request, context))
        self._route(request, binding, exchange)
        request.add("P-Charging-Vector", f'icid-value="{context.tag()}"{self._charging}')
        if request.method not in DIALOG_FORMING:
            return await forward(self._next, request, exchange, context.node, self._to_phone)

        check_room(binding)
        own_route = f"<sip:{binding.token}@{self._host};lr>"
        request.push("Record-Route", own_route)
        attempt = self._attempt(request, binding, own_route)

        def on_response(response: Response) -> None:
            attempt.saw(response)
            to_phone(response, context)

        return await forward(self._next, request, exchange, context.node, on_response)

    async def in_dialog(
        self, request: Request, exchange: Exchange, bindings: list[Binding]
    ) -> Response | None:
        """A request inside a dialog (TS 24.229 5.2.6.3.5): of this phone's dialogs only, along their route set only."""
        dialog = self._dialogs.find((request.call_id, request.from_.tag or "", request.to.tag or ""))
        if self._context.enforces("dialog-owner"):
            dialog = self._owned(dialog, bindings)
            self._check_sequence(request, dialog)
        claims = strip_claims(request, self._context)
        remove_all(
            request,
            claims if self._context.enforces("asserted-identity") else claims - {"P-Asserted-Identity"},
        )
        if dialog is None or not self._context.enforces("service-route"):
            self._pop_own_routes(request, exchange)
        else:
            request.replace("Route", dialog.routes)
        if dialog is None:
            return await forward(self._next, request, exchange, self._context.node, self._to_phone)
        return await self._followed(request, exchange, dialog)

    async def _followed(self, request: Request, exchange: Exchange, dialog: Dialog) -> Response | None:
        response = await forward(self._next, request, exchange, self._context.node, self._to_phone)
        if response is not None:
            self._dialogs.ended_by(dialog, request, response)
            if request.method in DIALOG_FORMING and response.is_success:
                self._dialogs.keep_alive(dialog, request.method, response)
        return response

    def _owned(self, dialog: Dialog | None, bindings: list[Binding]) -> Dialog:
        if dialog is None:
            raise SipError(
                481, "a phone sent a request in a dialog that does not exist", "TS 24.229 5.2.6.3.5"
            )
        if dialog.owner not in bindings:
            raise SipError(403, "a phone sent a request in another phone's dialog", "TS 24.229 5.2.6.3.5")
        return dialog

    def _check_sequence(self, request: Request, dialog: Dialog) -> None:
        """CSeq rises with each request in a dialog (RFC 3261 12.2.2); a repetition is the transaction's business."""
        number = request.cseq.number
        if request.method in WITHOUT_RISING_CSEQ:
            return
        if number <= dialog.cseq:
            raise SipError(500, f"CSeq {number} after {dialog.cseq} in a dialog", "RFC 3261 12.2.2")
        dialog.cseq = number

    def _assert_identity(self, request: Request, bindings: list[Binding], claims: frozenset[str]) -> Binding:
        """P-Asserted-Identity is what the phone prefers, if it is registered, else the default (RFC 3325 5, 9.2)."""
        binding, identity = bindings[0], bindings[0].default_identity
        if claims:
            if "P-Preferred-Identity" in claims:
                binding, identity = preferred(request, bindings)
                request.remove("P-Preferred-Identity")
            if "P-Asserted-Identity" in claims and not self._context.enforces("asserted-identity"):
                return binding
            request.remove("P-Asserted-Identity")
        request.add("P-Asserted-Identity", str(identity))
        return binding

    def _route(self, request: Request, binding: Binding, exchange: Exchange) -> None:
        """The stored Service-Route stands in place of what the phone thinks (TS 24.229 5.2.6.3.3)."""
        if self._context.enforces("service-route"):
            request.replace("Route", binding.service_route or self._home_entry)
        else:
            self._pop_own_routes(request, exchange)

    def _pop_own_routes(self, request: Request, exchange: Exchange) -> None:
        own = (self._host.partition(":")[0], exchange.flow.local[0])
        while (route := request.first(ROUTE)) is not None:
            if not isinstance(route.uri, SipUri) or route.uri.address not in own:
                return
            request.pop_first(ROUTE)

    def _attempt(self, request: Request, binding: Binding, own_route: str) -> Attempt:
        from_tag = request.from_.tag or ""
        number = request.cseq.number
        return Attempt(
            self._dialogs, binding, Side.PHONE, request.call_id, from_tag, number, request.method, own_route
        )

    def _to_phone(self, response: Response) -> None:
        to_phone(response, self._context)


def preferred(request: Request, bindings: list[Binding]) -> tuple[Binding, NameAddr]:
    """The registered identity that the phone prefers, with its binding; the default of the first if it is not one."""
    for wish in request.every(P_PREFERRED_IDENTITY):
        for binding in bindings:
            if (identity := binding.owns(wish)) is not None:
                return binding, identity
    return bindings[0], bindings[0].default_identity
