"""Registration at the P-CSCF (TS 24.229 5.2.2): how the REGISTER was protected, whose keys, which binding."""

import asyncio
from collections.abc import Callable
from functools import partial

from redoubt.config import PCscfConfig
from redoubt.cscf.pcscf.bindings import Binding, Bindings
from redoubt.cscf.pcscf.gm import Asked, Gm, Keys, keys_of
from redoubt.cscf.pcscf.screening import indicate, strip_claims, to_phone
from redoubt.cscf.pcscf.tokens import FlowTokens
from redoubt.cscf.trust import remove_all
from redoubt.limits import BINDINGS_PER_FLOW
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, EXPIRES
from redoubt.sip.grammar import quote
from redoubt.sip.headers.addresses import STAR, Contact, NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.sip.uri import SipUri
from redoubt.transport.flow import Flow


class Registration:
    """Relays REGISTER and keeps the bindings table. `registered` hears of each binding after its 200 was sent,
    and when its REGISTER came."""

    def __init__(
        self,
        context: Context,
        config: PCscfConfig,
        realm: str,
        host: str,
        tokens: FlowTokens,
        bindings: Bindings,
        next: Service,
        registered: Callable[[Binding, float], None],
        gm: Gm | None = None,
    ) -> None:
        self._context = context
        self._realm = realm
        self._host = host
        self._tokens = tokens
        self._bindings = bindings
        self._next = next
        self._registered = registered
        self._gm = gm
        self._visited_network = quote(config.visited_network)
        self._home_entry = f"<{config.home_entry};lr>" if config.home_entry else ""

    async def register(self, request: Request, exchange: Exchange) -> Response | None:
        """TS 24.229 5.2.2.1."""
        context = self._context
        impu = request.to.uri.aor
        contacts = request.every(CONTACT)
        asked = self._gm.asked(request, exchange) if self._gm is not None else None
        remove_all(request, strip_claims(request, context))
        indicate(request, asked.indication if asked is not None else "no", context)
        bindings = self._bindings_for(impu, contacts, exchange.flow)
        self._address_home(request, bindings[0].token)

        call_id, cseq = request.call_id, request.cseq.number
        came_at = asyncio.get_running_loop().time()

        response = await forward(self._next, request, exchange, context.node)
        if response is None:
            return None
        keys = keys_of(response) if response.status == 401 else None
        to_phone(response, context)  # CK and IK end here, whatever becomes of them
        if asked is not None:
            self._protect(asked, keys, bindings, response, exchange)
        if response.is_success:
            for binding in bindings:
                binding.call_id, binding.cseq = call_id, cseq
            self._learn(bindings, contacts, response, exchange, came_at)
        return response

    def _protect(
        self, asked: Asked, keys: Keys | None, bindings: list[Binding], response: Response, exchange: Exchange
    ) -> None:
        """What home's answer means for the associations of the phone (TS 24.229 5.2.2.2)."""
        assert self._gm is not None
        response.remove("Security-Server")
        if response.status == 401:
            self._gm.challenged(asked, keys, response, exchange)
            return
        named = [binding.contact for binding in bindings if binding.contact] if response.is_success else []
        lifetime_s = max([granted(response, contact) for contact in named], default=0)
        if lifetime_s > 0:
            self._gm.accepted(asked, bindings[0].impu, lifetime_s)
        else:
            self._gm.ended(asked, response, exchange)

    def _bindings_for(self, impu: str, contacts: tuple[Contact, ...], flow: Flow) -> list[Binding]:
        """The bindings that this REGISTER refreshes, or new ones that nobody finds before its 200.

        The Path speaks for all of them, with the token of the first (RFC 3327 5.2).
        """
        named = [str(contact.uri) for contact in contacts if isinstance(contact, NameAddr)]
        texts = list(dict.fromkeys(named)) or [""]
        known = [self._bindings.find(impu, text) for text in texts]
        missing = known.count(None)
        if missing and len(self._bindings.of_flow(flow)) + missing > BINDINGS_PER_FLOW:
            raise SipError(403, "a phone registered too many contacts", "limits.BINDINGS_PER_FLOW")
        token = next((binding.token for binding in known if binding is not None), "") or self._tokens.make()
        return [
            binding or Binding(token, text, impu, flow) for text, binding in zip(texts, known, strict=True)
        ]

    def _address_home(self, request: Request, token: str) -> None:
        """What the P-CSCF inserts, and the way to the home network (TS 24.229 5.2.2.1, steps 1 to 7)."""
        request.remove("Route")
        request.push("Path", f"<sip:{token}@{self._host};lr;ob>")
        request.add("Require", "path")
        request.add("P-Visited-Network-ID", self._visited_network)
        request.add("P-Charging-Vector", charging_vector(self._context, self._host, self._realm))
        if self._home_entry:
            request.push("Route", self._home_entry)

    def _learn(
        self,
        bindings: list[Binding],
        contacts: tuple[Contact, ...],
        response: Response,
        exchange: Exchange,
        came_at: float,
    ) -> None:
        """TS 24.229 5.2.2.1, 200 (OK): keeps the bindings, or lets them go once the 200 is on the wire."""
        if not contacts:  # a query (RFC 3261 10.2.3)
            return
        first = bindings[0]
        if STAR in contacts:  # of all that are here; what the 200 lists still is another phone's
            bindings = self._bindings.of_impu(first.impu)
            ended = [binding for binding in bindings if not granted(response, binding.contact)]
            exchange.after_sent(lambda: self._end(ended))
            return
        service_route, associated = tuple(response.all("Service-Route")), tuple(response.all("P-Associated-URI"))
        for binding in bindings:
            lifetime_s = granted(response, binding.contact)
            if lifetime_s <= 0:
                exchange.after_sent(partial(self._end, [binding]))
                continue
            binding.learn(service_route, associated)
            if binding.token != first.token:
                self._bindings.rename(binding, first.token)
            self._bindings.keep(binding, exchange.flow, lifetime_s)
            exchange.after_sent(partial(self._tell, binding, came_at))

    async def _end(self, bindings: list[Binding]) -> None:
        for binding in bindings:
            self._bindings.remove(binding)

    async def _tell(self, binding: Binding, came_at: float) -> None:
        self._registered(binding, came_at)


def granted(response: Response, contact: str) -> int:
    """For how many seconds the registrar keeps a contact; 0 when it is not among those it lists (RFC 3261 10.3)."""
    for listed in response.every(CONTACT):
        if isinstance(listed, NameAddr) and _same(listed, contact):
            seconds = listed.expires
            return seconds if seconds is not None else response.first(EXPIRES) or 0
    return 0


def _same(listed: NameAddr, contact: str) -> bool:
    if str(listed.uri) == contact:
        return True
    return isinstance(listed.uri, SipUri) and listed.uri.matches(NameAddr.parse(f"<{contact}>").uri)


def charging_vector(context: Context, host: str, realm: str) -> str:
    """A fresh IMS charging identity (RFC 7315 4.6, TS 24.229 5.2.1)."""
    return f'icid-value="{context.tag()}";icid-generated-at={host};orig-ioi={realm}'
