"""The IBCF (TS 24.229 5.10): where calls, messages and registrations leave the network for a partner, and enter it.

Two services: `from_inside` takes what nodes of this network send to others (5.10.2), `from_outside` what partners send
(5.10.3). Who a partner is follows from the flow, what it may do from its agreement; nothing that leaves names a node.
"""

from functools import partial

from msgspec.structs import replace

from redoubt.border.b2bua import B2bua, Crossing, Side
from redoubt.border.hiding import Hiding
from redoubt.border.passage import NOBODY, Inward, Outward, hide_targets, opened_way
from redoubt.border.plain import make_plain
from redoubt.border.probes import abilities, blur_hops, demand_hops, is_for_border, standard_words
from redoubt.border.rates import Rates
from redoubt.border.redirects import judge
from redoubt.border.screening import Screening
from redoubt.border.topology import Topology, Way
from redoubt.border.trust import PRIVACY_VALUES, Trust, Wishes
from redoubt.border.unhidden import Recorded
from redoubt.config.interconnect import IbcfConfig
from redoubt.media.anchoring import Anchoring, Outsider
from redoubt.ndm.partners import Partner, Partners
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_ASSERTED_IDENTITY, P_ASSOCIATED_URI, ROUTE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import MANDATORY, Request, Response
from redoubt.sip.reasons import REASONS
from redoubt.sip.service import Answer, Context, Exchange, OnResponse, Service, forward
from redoubt.sip.uri import OtherUri, SipUri, Uri, is_ip_address, parse_uri

EXIT = "TS 24.229 5.10.2"
ENTRY = "TS 24.229 5.10.3"
OF_CALLS = frozenset(("INVITE", "UPDATE", "BYE"))
NOTHING_RECORDED = Recorded()


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
        anchoring: Anchoring | None = None,
        nodes: frozenset[str] = frozenset(),
        recorded: Recorded = NOTHING_RECORDED,
    ) -> None:
        own = parse_uri(config.uri)
        assert isinstance(own, SipUri)
        self._context = context
        self._realm = realm.lower()
        self._partners = partners
        hides = hiding if context.enforces("border-hiding") else None
        self._topology = Topology(realm, own.host, hides, nodes)
        self._trust = Trust(context, self._realm, self._topology.own)
        self._screening = Screening(context)
        self.rates = Rates(context)
        self.b2bua = B2bua(context, self._topology.own)
        self._inside = inside
        self._outside = outside
        self._anchoring = anchoring
        self._recorded = recorded

    async def from_inside(self, request: Request, exchange: Exchange) -> Response | None:
        """What leaves the network (TS 24.229 5.10.2)."""
        partner, anonymous = self._addressed(request)
        self._demand_exit(request, partner)
        self._screening.check(request, partner)
        wishes = self._trust.wishes(request, partner, self._privacy_with(partner))
        self._trust.tell(request, partner, wishes)
        counted = self._counted(request, partner)
        came, request = request, request.copy()  # what is refused from here on is answered as it came
        passage = self._out(request, partner, wishes, anonymous)
        self._send_to(request, partner)
        blur_hops(request, self._context)
        partner.requests_out += 1

        def came_back(response: Response) -> None:
            passage.back(response)
            if came.method == "REGISTER":
                self._demand_own_users(response, partner)
            self._trust.believe(response, partner)
            self._screening.trim(response, partner)
            judge(response, partner, self._context)
            counted(response)

        way_out = self._outside
        if self._anchoring is not None and partner.config.media == "relay":
            way_out = self._anchoring.outward(way_out, Outsider(name=partner.name))
        return await forward(way_out, request, exchange, self._context.node, self._guarded(came, came_back))

    def from_outside(self, request: Request, exchange: Exchange) -> Answer:
        """What enters the network (TS 24.229 5.10.3): of partners alone."""
        partner = self._partners.of_flow(exchange.flow)
        if partner is None:
            raise SipError(0, "no agreement of [[partners]] covers the flow that a request came on", "TS 33.210 5")
        self._admit(partner, request)
        enter: Service = partial(self._enter, partner)
        if self._anchoring is not None and partner.config.media == "relay":
            enter = self._anchoring.inward(enter, Outsider(name=partner.name))
        return enter(request, exchange)

    def close(self) -> None:
        """Ends the timers."""
        self.rates.close()
        self.b2bua.close()

    def table_sizes(self) -> dict[str, int]:
        """Entries by table, for status and for tests that nothing is left."""
        return {"calls": len(self.rates), "dialogs": len(self.b2bua)}

    def _admit(self, partner: Partner, request: Request) -> None:
        """Before any port is opened for media: what is too much or has no place in the agreement. Raises SipError."""
        partner.requests_in += 1
        try:
            self.rates.admit(request, partner)
            self._screening.check(request, partner)
        except SipError as fault:
            partner.refused(fault.why, self._context.clock.now())
            raise

    async def _enter(self, partner: Partner, request: Request, exchange: Exchange) -> Response | None:
        context = self._context
        try:
            if is_for_border(request, self._realm, self._topology):
                return abilities(request, partner, context)
            demand_hops(request, context)
            came, request = request, request.copy()  # what is refused from here on is answered as it came
            passage = self._in(request, partner)
            self._demand_entry(request, partner, passage)
            self._trust.believe(request, partner)
            if not (passage.is_known or self._names_nodes(partner)):
                self._trust.disown(request, partner, self.rates.callers(request, partner))
            counted = self._counted(request, partner)
        except SipError as fault:
            partner.refused(fault.why, context.clock.now())
            raise
        self._send_inside(request, passage)

        def goes_back(response: Response) -> None:
            counted(response)
            wishes = self._trust.wishes(response, partner)
            passage.back(response, wishes.header)
            self._trust.tell(response, partner, wishes)
            self._screening.trim(response, partner)
            standard_words(response, context)

        return await forward(self._inside, request, exchange, context.node, self._guarded(came, goes_back))

    # ---- out

    def _addressed(self, request: Request) -> tuple[Partner, bool]:
        """To whom it goes, and whether the dialog's caller is anonymous there: what our own entry names, else who leads
        to the next hop's domain. Raises SipError."""
        partner, anonymous = None, False  # what stands below the entry that names the partner is the partner's word
        while partner is None and (own := request.first(ROUTE)) is not None and self._topology.is_own(own.uri):
            named, anonymous = self._topology.named_in(own.uri)
            request.pop_first(ROUTE)
            partner = self._partners.named(named) if named else None
        route = request.first(ROUTE)
        if partner is None and route is None and self._topology.is_own(request.request_uri):
            # of a dialog that begins anew at the border
            dialog = self.b2bua.find(Side.INSIDE, request)
            if dialog is None:
                raise SipError(481, "a request in a dialog that the border does not know", "RFC 3261 12.2.2")
            partner = dialog.partner
        if partner is None:
            host = _host(route.uri if route is not None else request.request_uri)
            partner = self._partners.to(host) if host else None
            if partner is None:
                raise SipError(404, f"no agreement of [[partners]] leads to {host or request.uri[:60]}", EXIT)
        if not self._partners.is_reachable(partner):
            raise SipError(503, f"the tunnel to {partner.name} is down: nothing is sent in clear", "TS 33.210 5")
        return partner, anonymous

    def _out(self, request: Request, partner: Partner, wishes: Wishes, anonymous: bool) -> Outward | Crossing:
        """Makes the request fit for the other side, as a proxy or as a user agent of its own."""
        if partner.config.mode == "proxy" or request.method == "REGISTER":
            return Outward(self._topology, partner, request, wishes, anonymous)
        named = _anonymous if wishes.user else partial(self._topology.outer_target, partner=partner)
        crossing = Crossing(self.b2bua, Side.INSIDE, partner, request, named)
        if not partner.is_trusted:
            make_plain(request, partner)
        hide_targets(request, self._topology, partner, contact=False)
        return crossing

    def _demand_exit(self, request: Request, partner: Partner) -> None:
        """What the agreement lets leave: a network registers its own users here, and nobody else's."""
        if request.method != "REGISTER":
            return
        if not (partner.config.serves_visitors and partner.is_trusted):
            raise SipError(403, f"{partner.name}'s users may not register here: no roaming agreement", EXIT)
        if not self._is_of(request.to.uri, partner):
            raise SipError(403, f"{str(request.to.uri)[:60]} wants to register, no user of {partner.name}", EXIT)

    def _is_of(self, user: Uri, partner: Partner) -> bool:
        """Whether it may say that somebody is its user: of its domains, or of those behind it. Numbers say nothing."""
        if not isinstance(user, SipUri) or not self._context.enforces("border-visitor"):
            return not isinstance(user, OtherUri)
        return self._partners.to(user.host) is partner

    def _demand_own_users(self, response: Response, partner: Partner) -> None:
        """Whom a visitor's home network says that it is: the P-CSCF asserts that (TS 24.229 5.2.2.1, 5.2.6.3.3)."""
        if not response.has(P_ASSOCIATED_URI.name):
            return
        named = response.every(P_ASSOCIATED_URI)
        own = [one for one in named if self._is_of(one.uri, partner)]
        if len(own) < len(named):
            why = f"{partner.name} names identities of others for a visitor: removed"
            self._context.refused(0, why, EXIT, call_id=response.call_id)
            response.put(P_ASSOCIATED_URI, *own)

    def _privacy_with(self, partner: Partner) -> frozenset[str]:
        """What of RFC 3323 can be had towards a partner: addresses in headers need hiding, media needs the relay."""
        had = PRIVACY_VALUES
        if not self._topology.hides:
            had -= {"header", "user"}
        return had if self._anchoring is not None and partner.config.media == "relay" else had - {"session"}

    def _send_to(self, request: Request, partner: Partner) -> None:
        """A next hop that is not the partner's own is reached through it: a contact at an address, a hub's far side."""
        route = request.first(ROUTE)
        host = _host(route.uri if route is not None else request.request_uri)
        if not partner.has(host):
            request.push("Route", f"<sip:{partner.domains[0]};lr>")

    # ---- in

    def _in(self, request: Request, partner: Partner) -> Inward | Crossing:
        """Opens what is ours in the request; or takes it as a user agent, and makes one of our own."""
        if partner.config.mode == "proxy" or request.method == "REGISTER":
            return Inward(self._topology, partner, request)
        way = opened_way(request, self._topology, partner) if request.to.tag is None else None
        crossing = Crossing(self.b2bua, Side.OUTSIDE, partner, request)
        crossing.way = way
        crossing.is_known |= way is not None
        return crossing

    def _demand_entry(self, request: Request, partner: Partner, passage: Inward | Crossing) -> None:
        """What the agreement lets in: along a way that a token of ours holds, or to users of this network."""
        if passage.is_known:
            self._demand_along(request, partner, passage)
            return
        in_dialog = request.to.tag is not None
        if (self._names_nodes(partner) and request.has("Route")) or (in_dialog and not self._topology.hides):
            if self._context.enforces("border-route"):
                self._recorded.demand(request, partner, self._partners, self._topology)
            return
        uri = request.request_uri
        if self._context.enforces("border-route"):
            if in_dialog:
                raise SipError(481, f"{partner.name}: a request in a dialog that did not begin here", ENTRY)
            host = _host(uri)  # nodes, names that none has and addresses are all what an unknown user's domain is
            if host and (self._topology.is_node(host) or is_ip_address(host)):
                raise SipError(404, f"{partner.name} asks for {host}, which is no domain of users", ENTRY)
        foreign = [one for one in request.every(ROUTE) if _host(one.uri) != self._realm]
        for hop in foreign:
            self._demand_transit(self._beyond(hop.uri, partner), partner, _host(hop.uri))
        request.put(ROUTE, *foreign)  # without this network's own entry, where ;orig would ask for a caller's services
        if not foreign:
            target = self._beyond(uri, partner)
            if target is not None:
                self._demand_transit(target, partner, _host(uri))

    def _names_nodes(self, partner: Partner) -> bool:
        """Whether it has our visitors and no tokens: they call along a Service-Route in clear."""
        roams = partner.config.serves_visitors or bool(partner.config.visited_networks)
        return roams and partner.is_trusted and not self._topology.hides

    def _demand_along(self, request: Request, partner: Partner, passage: Inward | Crossing) -> None:
        """A token leads where it says and no further, unless to a partner that it names; one of a URI, to that node."""
        way = passage.way
        if way is not None and way.users is not None:
            self._demand_visitor(request, partner, way)
        if isinstance(passage, Crossing) and way is None:
            return  # in a dialog, whose routes this border keeps
        if not self._context.enforces("border-route"):
            return
        entries = way.entries if way is not None else ()
        leaves = bool(entries) and self._topology.named_in(ROUTE.parse(entries[-1]).uri)[0] != ""
        astray = request.every(ROUTE)[len(entries) :]
        if astray and not (leaves and self._topology.is_own(ROUTE.parse(entries[-1]).uri)):
            raise SipError(403, f"{partner.name} goes on from a token's way to {str(astray[0].uri)[:60]}", ENTRY)
        if request.method == "REGISTER":
            raise SipError(403, f"{partner.name} registers along a token: the I-CSCF decides who may", ENTRY)
        uri = request.request_uri
        if way is None and not (isinstance(uri, SipUri) and self._topology.is_at_node(uri)):
            raise SipError(403, f"{partner.name} asks for {request.uri[:60]} without the way of its dialog", ENTRY)

    def _demand_visitor(self, request: Request, partner: Partner, way: Way) -> None:
        """A visited network speaks for users who registered from it, along the Service-Route that they got."""
        if not self._context.enforces("border-visitor"):
            return
        for asserted in request.every(P_ASSERTED_IDENTITY):
            if not way.is_of(asserted.uri.aor):
                why = f"{partner.name} speaks for {str(asserted.uri)[:60]}, who did not register along that way"
                raise SipError(403, why, "TS 24.229 5.2.6.3")

    def _beyond(self, uri: Uri, partner: Partner) -> Partner | None:
        """Whose a foreign domain is; by way of a hub of ours only for those who may use it."""
        host = _host(uri)
        if not host or host == self._realm or self._topology.is_own(uri):
            return None
        return self._partners.owner(host) or (self._partners.to(host) if partner.config.transit_for else None)

    def _demand_transit(self, target: Partner | None, partner: Partner, host: str) -> None:
        """Nobody reaches others through this network, or a node inside, but as the agreement says (`transit-for`)."""
        protection = "border-route" if target is None else "border-relay"
        if not self._context.enforces(protection):
            return
        if target is None or target is partner or target.name not in partner.config.transit_for:
            where = host if target is None else target.name
            raise SipError(403, f"{partner.name} may not reach {where} through this network", ENTRY)

    def _send_inside(self, request: Request, passage: Inward | Crossing) -> None:
        """Initial requests and REGISTER go to the I-CSCF, others along the Route that a token of ours held."""
        if passage.is_known or request.has("Route") or request.to.tag is not None:
            return
        if self._beyond(request.request_uri, passage.partner) is None:
            request.push("Route", f"<sip:{self._realm};lr>")

    # ---- both

    def _counted(self, request: Request, partner: Partner) -> OnResponse:
        """Keeps count of calls."""
        if request.method == "INVITE" and request.to.tag is None:
            return self.rates.begin(request, partner)
        return self.rates.goes_on(request, partner) if request.method in OF_CALLS else _uncounted

    def _guarded(self, request: Request, step: OnResponse) -> OnResponse:
        """A response that can't be made fit to pass becomes 502, or goes no further when it is provisional."""

        def guarded(response: Response) -> None:
            try:
                step(response)
            except SipError as fault:
                if response.is_provisional:
                    raise
                self._context.refused(502, fault.why, fault.clause, call_id=response.call_id)
                spoil(response, request)

        return guarded


def spoil(response: Response, request: Request) -> None:
    """Makes it a 502 with nothing of what it was, and what every response repeats (RFC 3261 8.2.6.2)."""
    for name in response.others(frozenset()):
        response.remove(name)
    response.status, response.reason, response.body = 502, REASONS[502], b""
    for name in MANDATORY:
        response.replace(name, request.all(name))


def _anonymous(address: NameAddr) -> NameAddr:
    """Another name, the same tag (RFC 3323 4.1.1.3)."""
    return replace(NOBODY, params=address.params)


def _uncounted(_response: Response) -> None:
    """Not a call's beginning."""


def _host(uri: Uri) -> str:
    return uri.host if isinstance(uri, SipUri) else ""
