"""The IBCF (TS 24.229 5.10): where calls, messages and registrations leave the network for a partner, and enter it.

Two services: `from_inside` takes what nodes of this network send to others (5.10.2), `from_outside` what partners send
(5.10.3). Who a partner is follows from the flow, what it may do from its agreement; nothing that leaves names a node.
"""

from typing import Protocol

from redoubt.border.hiding import Hiding
from redoubt.border.passage import Inward, Outward
from redoubt.border.topology import Topology, entries_of
from redoubt.config.interconnect import IbcfConfig
from redoubt.ndm.partners import Partner, Partners
from redoubt.sip.errors import SipError
from redoubt.sip.fields import ROUTE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Service, forward
from redoubt.sip.uri import SipUri, Uri, parse_uri

EXIT = "TS 24.229 5.10.2"
ENTRY = "TS 24.229 5.10.3"


class Relay(Protocol):
    """The media gateway of the border (IBGF)."""


class Ibcf:
    """`inside` leads to nodes of this network, `outside` to partners; `nodes` are addresses that must not get out."""

    def __init__(
        self,
        context: Context,
        config: IbcfConfig,
        realm: str,
        partners: Partners,
        hiding: Hiding | None,
        inside: Service,
        outside: Service,
        relay: Relay | None = None,
        nodes: frozenset[str] = frozenset(),
    ) -> None:
        own = parse_uri(config.uri.replace("{realm}", realm))
        assert isinstance(own, SipUri)
        self._context = context
        self._realm = realm.lower()
        self._partners = partners
        self._topology = Topology(realm, own.host, hiding, nodes)
        self._inside = inside
        self._outside = outside
        self._relay = relay

    async def from_inside(self, request: Request, exchange: Exchange) -> Response | None:
        """What leaves the network (TS 24.229 5.10.2)."""
        partner = self._addressed(request)
        self._demand_exit(request, partner)
        passage = Outward(self._topology, partner, request)
        self._send_to(request, partner)
        partner.requests_out += 1
        return await forward(self._outside, request, exchange, self._context.node, passage.back)

    async def from_outside(self, request: Request, exchange: Exchange) -> Response | None:
        """What enters the network (TS 24.229 5.10.3)."""
        partner = self._partners.of_flow(exchange.flow)
        if partner is None:
            raise SipError(0, "no agreement of [[partners]] covers the flow that a request came on", "TS 33.210 5")
        partner.requests_in += 1
        passage = Inward(self._topology, partner, request)
        self._demand_entry(request, partner, passage)
        self._send_inside(request, passage)
        return await forward(self._inside, request, exchange, self._context.node, passage.back)

    # ---- out

    def _addressed(self, request: Request) -> Partner:
        """To whom it goes: whom our own entry names, else who leads to the next hop's domain. Raises SipError."""
        named = ""
        while (route := request.first(ROUTE)) is not None and self._topology.is_own(route.uri):
            named = self._topology.named_in(route.uri)
            request.pop_first(ROUTE)
        partner = self._partners.named(named) if named else None
        if partner is None:
            host = _host(route.uri if route is not None else request.request_uri)
            partner = self._partners.to(host) if host else None
            if partner is None:
                raise SipError(404, f"no agreement of [[partners]] leads to {host or request.uri[:60]}", EXIT)
        if not self._partners.is_reachable(partner):
            raise SipError(503, f"the tunnel to {partner.name} is down: nothing is sent in clear", "TS 33.210 5")
        return partner

    def _demand_exit(self, request: Request, partner: Partner) -> None:
        """What the agreement lets leave."""
        if request.method == "REGISTER" and not partner.config.serves_visitors:
            raise SipError(403, f"{partner.name}'s users may not register here: no roaming agreement", EXIT)

    def _send_to(self, request: Request, partner: Partner) -> None:
        """A next hop that is not the partner's own is reached through it: a contact at an address, a hub's far side."""
        route = request.first(ROUTE)
        host = _host(route.uri if route is not None else request.request_uri)
        if not partner.has(host):
            request.push("Route", f"<sip:{partner.domains[0]};lr>")

    # ---- in

    def _demand_entry(self, request: Request, partner: Partner, passage: Inward) -> None:
        """What the agreement lets in. A node of ours is never named in clear by who can't know it."""
        if request.method == "REGISTER" and not partner.config.visited_networks:
            raise SipError(403, f"our users may not register at {partner.name}: no roaming agreement", ENTRY)
        if passage.way or not self._topology.hides:
            return
        named = [entry for entry in entries_of(request, "Route") if self._topology.may_name_node(entry)]
        uri = request.request_uri
        if named or (isinstance(uri, SipUri) and self._topology.is_node(uri.host)):
            raise SipError(403, f"{partner.name} names a node of this network", ENTRY)

    def _send_inside(self, request: Request, passage: Inward) -> None:
        """Initial requests and REGISTER go to the I-CSCF, others along the Route that a token of ours held."""
        if not passage.way and not request.has("Route") and request.to.tag is None:
            request.push("Route", f"<sip:{self._realm};lr>")


def _host(uri: Uri) -> str:
    return uri.host if isinstance(uri, SipUri) else ""
