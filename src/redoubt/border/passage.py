"""One request on its way through the border, for what its responses must be measured against (TS 24.229 5.10.4).

What a response must bring back unchanged (Via, Record-Route up to here, Path, From, To: RFC 3261 16.7) is put back from
what the request had, whatever the other side made of it.
"""

from msgspec.structs import replace

from redoubt.border.topology import Topology, Way, entries_of
from redoubt.border.trust import ANONYMOUS, Wishes
from redoubt.ndm.partners import Partner
from redoubt.sip.fields import CONTACT, FROM, P_ASSOCIATED_URI, ROUTE, TO
from redoubt.sip.headers.addresses import STAR, NameAddr, parse_contact
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.uri import SipUri, is_ip_address

# Where an address may be a node's.
ADDRESSES = frozenset(
    ("Contact", "P-Asserted-Identity", "History-Info", "Referred-By", "Refer-To", "Reply-To", "P-Associated-URI")
)
# Where nodes are dealt with one by one; anything else that names one does not leave.
ELSEWHERE = frozenset(
    ("Via", "Route", "Record-Route", "Path", "Service-Route", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Allow")
)
NOBODY = NameAddr("Anonymous", SipUri("sip", "anonymous", None, ANONYMOUS))  # RFC 3323 4.1.1.3
DIALOG_FORMING = frozenset(("INVITE", "SUBSCRIBE", "REFER"))  # RFC 3261 12, RFC 6665, RFC 3515


class Outward:
    """A request of this network to a partner: hidden in place when made."""

    __slots__ = (
        "_anonymous", "_from", "_path", "_registers", "_routes", "_shown", "_to", "_topology", "_vias", "partner",
    )  # fmt: skip

    def __init__(
        self, topology: Topology, partner: Partner, request: Request, wishes: Wishes, anonymous: bool
    ) -> None:
        self._topology = topology
        self.partner = partner
        self._anonymous = anonymous or wishes.user
        self._vias = request.all("Via")
        self._from, self._to = request.get("From") or "", request.get("To") or ""
        self._routes: list[str] = []
        self._shown: list[str] = []
        self._path: list[str] = []
        request.replace("Via", topology.outer_via(self._vias, partner))
        if request.has("Record-Route") or request.method in DIALOG_FORMING:
            self._routes = entries_of(request, "Record-Route")
            self._shown = topology.outer_routes(self._routes, partner)
            request.replace("Record-Route", self._shown)
        self._registers = request.method == "REGISTER"
        if self._registers:
            self._path = request.all("Path")
            request.replace("Path", topology.outer_routes(entries_of(request, "Path"), partner))
        if topology.hides:
            hide_targets(request, topology, partner, self._anonymous or wishes.header)
            _hide_party(request, topology, partner)
            _drop_lies(request, topology)
        if self._anonymous:
            request.put(FROM, replace(NOBODY, params=request.from_.params))

    def back(self, response: Response) -> None:
        """A response of the partner, as nodes inside need it."""
        if response.all("Via") != self._vias:
            response.replace("Via", self._vias)
        if response.get("From") != self._from:
            response.set("From", self._from)
        self._restore_to(response)
        if self._shown and response.has("Record-Route"):
            response.replace("Record-Route", self._restored(entries_of(response, "Record-Route")))
        if response.has("Path"):
            response.replace("Path", self._path)
        if response.has("Service-Route") or (self._registers and response.is_success):
            # requests of the visitor come this way (TS 24.229 5.10.2.2), whatever its home says or leaves out
            response.push("Service-Route", self._topology.entry(self.partner))

    def _restored(self, routes: list[str]) -> list[str]:
        """Record-Route with what is inside this border in the clear; beyond it as the partner's nodes wrote it."""
        beyond = routes[: _last(self._shown[0], routes)] if self._shown[0] in routes else []
        return [*beyond, self._topology.entry(self.partner, self._anonymous), *self._routes]

    def _restore_to(self, response: Response) -> None:
        """To is the caller's, with the tag of who answers (RFC 3261 8.2.6.2)."""
        to = response.get("To") or ""
        if to == self._to or to.startswith(f"{self._to};tag="):
            return
        tag = response.to.tag
        response.set("To", self._to if tag is None or ";tag=" in self._to else f"{self._to};tag={tag}")


class Inward:
    """A request of a partner to this network: its own tokens opened in place when made. Raises SipError 400."""

    __slots__ = (
        "_entry", "_from", "_inside", "_path", "_routes", "_to", "_told", "_topology", "_vias", "is_known", "partner",
        "way",
    )  # fmt: skip

    def __init__(self, topology: Topology, partner: Partner, request: Request) -> None:
        self._topology = topology
        self.partner = partner
        self._vias = request.all("Via")
        self._from, self._to = request.get("From") or "", request.get("To") or ""
        self._routes = request.all("Record-Route")
        self._path = request.all("Path")
        self._entry = topology.entry(partner)
        self._inside: list[str] | None = None
        self._told: list[str] = []
        self.way = opened_way(request, topology, partner)
        self.is_known = self.way is not None  # a token of ours says where it goes
        if topology.is_own(request.request_uri):
            target = topology.inner_target(request.request_uri, partner)
            if target is not request.request_uri:
                request.uri, self.is_known = str(target), True
        to = request.to
        if topology.is_own(to.uri):
            request.put(TO, NameAddr(to.display, topology.inner_target(to.uri, partner), to.params))
        if request.method in DIALOG_FORMING:
            request.push("Record-Route", self._entry)
        elif request.method == "REGISTER":
            request.push("Path", self._entry)

    def back(self, response: Response, contact: bool = False) -> None:
        """A response of this network, as the partner may see it; with `contact` without its user's own address."""
        topology, partner = self._topology, self.partner
        if response.all("Via") != self._vias:
            response.replace("Via", self._vias)
        if response.get("From") != self._from:
            response.set("From", self._from)
        if response.has("Record-Route"):
            response.replace("Record-Route", self._shown(entries_of(response, "Record-Route")))
        if response.has("Path"):
            response.replace("Path", self._path)
        if response.has("Service-Route"):
            users = [one.uri.aor for one in response.every(P_ASSOCIATED_URI)] or [response.to.uri.aor]
            routes = entries_of(response, "Service-Route")
            response.replace("Service-Route", topology.outer_service_route(routes, partner, users))
        if topology.hides:
            hide_targets(response, topology, partner, contact)
            tag = response.to.tag
            if ";tag=" not in self._to and tag is not None:
                response.set("To", f"{self._to};tag={tag}")
            elif response.get("To") != self._to:
                response.set("To", self._to)

    def _shown(self, routes: list[str]) -> list[str]:
        """What is beyond this border, seen from the partner, hidden; what its own nodes wrote as it was."""
        inside = routes[: _last(self._entry, routes)]
        if inside != self._inside:  # a 200 after a 180 has the same, and is told the same
            self._inside = inside
            self._told = self._topology.outer_routes(inside, self.partner, as_route=False)
        return self._told + self._routes


def opened_way(request: Request, topology: Topology, partner: Partner) -> Way | None:
    """Takes the border's own entry off the Route, and puts what it hid in its place; None if it hid nothing.

    Raises SipError 400.
    """
    top = request.first(ROUTE)
    if top is None or not topology.is_own(top.uri):
        return None
    way = topology.revealed(top.uri, partner)
    request.pop_first(ROUTE)
    if way is not None:
        request.push("Route", *way.entries)
    return way


def hide_targets(message: Request | Response, topology: Topology, partner: Partner, contact: bool) -> None:
    """Addresses of nodes where a user's would stand: an S-CSCF that notifies, a P-CSCF that watches.

    With `contact` that of the user's own device too, since the user wants it so (RFC 3323 5.1). An IP address that is
    registered is a phone's, even where it is on a node's host, as in a lab: it must know its own in the 200.
    """
    named = topology.may_name_node("\n".join(message.beside(ELSEWHERE)))
    if named or contact:
        _hide_addresses(message, topology, partner, contact)
    if named:
        _sweep(message, topology, ELSEWHERE | {"Contact"} if _registers_addresses(message) else ELSEWHERE)
    if (message.get("Content-Type") or "").lower().startswith("message/sip") and message.body:
        _shorten(message, topology)


def _hide_addresses(message: Request | Response, topology: Topology, partner: Partner, contact: bool) -> None:
    registers = _registers_addresses(message)
    for name in message.present(ADDRESSES):
        if registers and name == "Contact":
            continue
        always = contact and name == "Contact"
        if not always and not any(topology.may_name_node(line) for line in message.all(name)):
            continue
        shown = []
        for entry in entries_of(message, name):
            address = parse_contact(entry)
            shown.append(str(topology.outer_target(address, partner, always)) if address is not STAR else entry)
        message.replace(name, shown)


def _registers_addresses(message: Request | Response) -> bool:
    if message.cseq.method != "REGISTER" or not (isinstance(message, Request) or message.is_success):
        return False
    uris = [one.uri for one in message.every(CONTACT) if one is not STAR]
    return all(isinstance(uri, SipUri) and is_ip_address(uri.host) for uri in uris)


def _sweep(message: Message, topology: Topology, but_for: frozenset[str]) -> None:
    """What names a node elsewhere, as the text of a Reason or a server of tones, is nothing that a partner needs."""
    for name in message.others(but_for):
        lines = message.all(name)
        clean = [line for line in lines if not topology.names_node(line)]
        if len(clean) < len(lines):
            message.replace(name, clean)


def _shorten(message: Message, topology: Topology) -> None:
    """Of a message in a body (RFC 3420, RFC 3515 2.4.5) the first line is what a referrer waits for."""
    if topology.names_node(message.body.decode("utf-8", "surrogateescape")):
        first = message.body.partition(b"\r\n")[0]
        message.body = b"" if topology.names_node(first.decode("utf-8", "surrogateescape")) else first + b"\r\n"


def _drop_lies(request: Request, topology: Topology) -> None:
    """What is left of the Route beyond this border was written there, by those who know nodes as tokens at most. Sealed
    for them, an entry that they made up would be a token that leads wherever they like.
    """
    if any(topology.may_name_node(line) for line in request.all("Route")):
        request.replace("Route", [entry for entry in entries_of(request, "Route") if not topology.is_inside(entry)])


def _last(entry: str, routes: list[str]) -> int:
    """Where the border's own entry of this passage stands: a request that came by again has further ones before it."""
    return len(routes) - routes[::-1].index(entry) - 1 if entry in routes else len(routes)


def _hide_party(request: Request, topology: Topology, partner: Partner) -> None:
    """From of a node that speaks for itself."""
    if topology.may_name_node(request.get("From") or ""):
        request.put(FROM, topology.outer_target(request.from_, partner))
