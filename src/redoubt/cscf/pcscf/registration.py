"""Registration at the P-CSCF (TS 24.229 5.2.2): how the REGISTER was protected, whose keys, which binding."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from redoubt.config import PCscfConfig
from redoubt.cscf.pcscf.bindings import Binding, Bindings
from redoubt.cscf.pcscf.gm import Asked, Gm, Keys, keys_of
from redoubt.cscf.pcscf.screening import indicate, strip_claims, to_phone
from redoubt.cscf.pcscf.tokens import FlowTokens
from redoubt.cscf.registering import NO_CREDENTIALS, contact_identity, private_identity
from redoubt.cscf.trust import remove_all
from redoubt.limits import BINDINGS_PER_FLOW
from redoubt.sip.errors import SipError
from redoubt.sip.fields import AUTHORIZATION, CONTACT, EXPIRES
from redoubt.sip.grammar import quote
from redoubt.sip.headers.addresses import STAR, Contact, NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.sip.uri import SipUri, Uri
from redoubt.transport.flow import Flow

CLAUSE = "TS 24.229 5.2.2.1"


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
        is_home: Callable[[Uri], bool],
        gm: Gm | None = None,
    ) -> None:
        self._context = context
        self._realm = realm
        self._host = host
        self._tokens = tokens
        self._bindings = bindings
        self._next = next
        self._registered = registered
        self._is_home = is_home
        self._gm = gm
        self._visited_network = quote(config.visited_network)
        self._home_entry = f"<{config.home_entry};lr>" if config.home_entry else ""

    async def register(self, request: Request, exchange: Exchange) -> Response | None:
        """TS 24.229 5.2.2.1."""
        context = self._context
        self._demand_home(request)
        contacts = request.every(CONTACT)
        asked = self._gm.asked(request, exchange) if self._gm is not None else None
        remove_all(request, strip_claims(request, context))
        indicate(request, asked.indication if asked is not None else "no", context)
        wishes = self._wishes(request, contacts, asked, exchange.flow)
        self._address_home(request, wishes[0].binding.token)

        call_id, cseq = request.call_id, request.cseq.number
        came_at = asyncio.get_running_loop().time()

        response = await forward(self._next, request, exchange, context.node)
        if response is None:
            return None
        keys = keys_of(response) if response.status == 401 else None
        to_phone(response, context)  # CK and IK end here, whatever becomes of them
        if asked is not None:
            self._protect(asked, keys, wishes, response, exchange)
        if response.is_success:
            for wish in wishes:
                wish.binding.call_id, wish.binding.cseq = call_id, cseq
            self._learn(wishes, STAR in contacts, response, exchange, came_at)
        return response

    def _demand_home(self, request: Request) -> None:
        """A phone does not choose who vouches for it: the network that registers it is this one or a partner."""
        if self._home_entry or self._is_home(request.request_uri) or not self._context.enforces("home-known"):
            return
        raise SipError(403, f"a phone wants to register with {request.uri[:60]}, no network known here", CLAUSE)

    def _protect(
        self, asked: Asked, keys: Keys | None, wishes: list["Wish"], response: Response, exchange: Exchange
    ) -> None:
        """What home's answer means for the associations of the phone (TS 24.229 5.2.2.2)."""
        assert self._gm is not None
        response.remove("Security-Server")
        if response.status == 401:
            self._gm.challenged(asked, keys, response, exchange)
            return
        lifetime_s = max([wish.granted(response) for wish in wishes]) if response.is_success else 0
        if lifetime_s > 0:
            self._gm.accepted(asked, wishes[0].binding.impu, lifetime_s)
        else:
            self._gm.ended(asked, response, exchange)

    def _wishes(
        self, request: Request, contacts: tuple[Contact, ...], asked: Asked | None, flow: Flow
    ) -> list["Wish"]:
        """What this REGISTER asks for: bindings that it refreshes, or new ones that nobody finds before its 200.

        The Path speaks for all of them, with the token of the first (RFC 3327 5.2). A query has one wish, for nothing.
        """
        impu = request.to.uri.aor
        impi = asked.phone.impi if asked is not None else ""
        impi = impi or private_identity(request.first(AUTHORIZATION) or NO_CREDENTIALS, impu)
        named = {contact_identity(impi, one): one for one in contacts if isinstance(one, NameAddr)}
        known = {key: self._bindings.find(impu, key) for key in named}
        missing = list(known.values()).count(None)
        if missing and len(self._bindings.of_flow(flow)) + missing > BINDINGS_PER_FLOW:
            raise SipError(403, "a phone registered too many contacts", "limits.BINDINGS_PER_FLOW")
        token = next((binding.token for binding in known.values() if binding is not None), "") or self._tokens.make()
        if not named:
            return [Wish(Binding(token, "", impu, flow, impi=impi), "", None, 0)]
        bindings = [binding or Binding(token, "", impu, flow, key, impi) for key, binding in known.items()]
        return [_wish(binding, one, request) for binding, one in zip(bindings, named.values(), strict=True)]

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
        self, wishes: list["Wish"], is_star: bool, response: Response, exchange: Exchange, came_at: float
    ) -> None:
        """TS 24.229 5.2.2.1, 200 (OK): keeps the bindings, or lets them go once the 200 is on the wire."""
        first = wishes[0].binding
        if is_star:  # of all that are here of this private identity; what the 200 lists still has not ended
            mine = [each for each in self._bindings.of_impu(first.impu) if each.impi == first.impi]
            ended = [each for each in mine if not granted(response, each.contact, each.instance)]
            exchange.after_sent(lambda: self._end(ended))
            return
        service_route, associated = tuple(response.all("Service-Route")), tuple(response.all("P-Associated-URI"))
        for wish in wishes:
            binding, lifetime_s = wish.binding, wish.granted(response)
            if lifetime_s <= 0:
                exchange.after_sent(partial(self._end, [binding]))
                continue
            binding.contact, binding.instance = wish.contact, wish.instance
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


@dataclass(frozen=True, slots=True)
class Wish:
    """One contact of a REGISTER: its binding, and how it is written now. `asked_s` is None for what home grants."""

    binding: Binding
    contact: str
    instance: str | None
    asked_s: int | None

    def granted(self, response: Response) -> int:
        """For how many seconds; 0 when it is not registered any more, or nothing was asked for."""
        return granted(response, self.contact, self.instance, self.asked_s) if self.asked_s != 0 else 0


def _wish(binding: Binding, contact: NameAddr, request: Request) -> Wish:
    asked = contact.expires
    asked_s = request.first(EXPIRES) if asked is None else asked
    return Wish(binding, str(contact.uri), contact.param("+sip.instance"), asked_s)


def granted(response: Response, contact: str, instance: str | None, asked_s: int | None = None) -> int:
    """For how many seconds the registrar keeps a contact; 0 when it is not among those it lists (RFC 3261 10.3).

    Another phone of the identity may have the same address behind another NAT. Without instances to tell them apart,
    the longest time that is no longer than what was asked for is this phone's.
    """
    found = []
    for listed in response.every(CONTACT):
        if isinstance(listed, NameAddr) and _same(listed, contact, instance):
            seconds = listed.expires
            found.append(seconds if seconds is not None else response.first(EXPIRES) or 0)
    if len(found) < 2:
        return found[0] if found else 0
    within = [seconds for seconds in found if asked_s is None or seconds <= asked_s]
    return max(within, default=min(found))


def _same(listed: NameAddr, contact: str, instance: str | None) -> bool:
    theirs = listed.param("+sip.instance")
    if theirs is not None and instance is not None and theirs != instance:
        return False
    if str(listed.uri) == contact:
        return True
    return isinstance(listed.uri, SipUri) and listed.uri.matches(NameAddr.parse(f"<{contact}>").uri)


def charging_vector(context: Context, host: str, realm: str) -> str:
    """A fresh IMS charging identity (RFC 7315 4.6, TS 24.229 5.2.1)."""
    return f'icid-value="{context.tag()}";icid-generated-at={host};orig-ioi={realm}'
