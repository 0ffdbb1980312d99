"""What a message says of this network's nodes, and what stands in its place outside (TS 24.229 5.10.4).

Consecutive entries of own nodes in Record-Route, Path and Service-Route become one token, which is the user part of
the border's own entry; all Vias become one; a node's URI becomes one at the border. So nothing outside has a number,
order or name of what is inside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from redoubt.border.hiding import Hiding, Purpose
from redoubt.ndm.partners import Partner
from redoubt.sip.errors import SipError
from redoubt.sip.fields import ROUTE
from redoubt.sip.grammar import split_list
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Message
from redoubt.sip.uri import HOST, SipUri, Uri, parse_uri

USERS = "?"  # what begins the entry of a token that says whose requests it is for
MARK_OCTETS = 6


@dataclass(frozen=True, slots=True)
class Way:
    """What a token hid: the entries inside, and whose requests they are for; None: anybody's."""

    entries: tuple[str, ...]
    users: frozenset[str] | None = None

    def is_of(self, user: str) -> bool:
        """Whether an address of record may go this way."""
        return self.users is None or _mark(user) in self.users


class Topology:
    """`own` is the border's host name, `nodes` are names and IP addresses of nodes; all below the realm are, too.

    Without `hiding` everything stays as it is, but for the border's own entries.
    """

    def __init__(self, realm: str, own: str, hiding: Hiding | None, nodes: Iterable[str] = ()) -> None:
        self.own = own.lower()
        self.realm = realm.lower()
        self._below = f".{self.realm}"
        self._nodes = frozenset([node.lower().strip("[]") for node in nodes])
        self._others = tuple([node for node in self._nodes if not node.endswith(self._below)])
        self._named = (self._below, *self._others)
        self._hiding = hiding
        self._marked = f";tokenized-by={self.realm}"
        self._entries: dict[tuple[str, bool], str] = {}

    @property
    def hides(self) -> bool:
        return self._hiding is not None

    # ---- whose a host is

    def is_own(self, uri: Uri) -> bool:
        """Whether it names the border itself."""
        return isinstance(uri, SipUri) and uri.host == self.own

    def is_node(self, host: str) -> bool:
        """Whether a host is a node inside, about which nobody outside is told."""
        if not host or host == self.own:
            return False
        return host.endswith(self._below) or host in self._nodes or (host[0] == "[" and _bare(host) in self._nodes)

    def is_at_node(self, uri: SipUri) -> bool:
        """Whether a request to a URI would go to a node."""
        there = uri.param("maddr") if uri.params else None
        return self.is_node(uri.host) or (there is not None and self.is_node(there.lower()))

    def may_name_node(self, text: str) -> bool:
        """Whether it is worth while to read a value closely."""
        lowered = text.lower()
        return self._below in lowered or any(node in lowered for node in self._others)

    def names_node(self, text: str) -> bool:
        """Whether a host in a text of any kind is a node."""
        lowered = text.lower()
        for name in self._named:
            at = lowered.find(name)
            while at >= 0:
                start, end = at, at + len(name)
                while start > 0 and lowered[start - 1] in HOST:
                    start -= 1
                while end < len(lowered) and lowered[end] in HOST:
                    end += 1
                if self.is_node(lowered[start:end].strip(".")):
                    return True
                at = lowered.find(name, end)
        return False

    # ---- entries of routes

    def entry(self, partner: Partner, anonymous: bool = False) -> str:
        """The border's own entry for nodes inside: to whom requests go on; whether the caller is anonymous there."""
        key = (partner.name, anonymous)
        known = self._entries.get(key)
        if known is None:
            mark = ";anonymous" if anonymous else ""
            known = self._entries[key] = f"<sip:{quote(partner.name, safe='')}@{self.own};lr{mark}>"
        return known

    def named_in(self, uri: Uri) -> tuple[str, bool]:
        """The partner whom an own entry names, "" if none; and whether the caller is anonymous there."""
        return (unquote(uri.user or ""), uri.has("anonymous")) if isinstance(uri, SipUri) else ("", False)

    def outer_entry(self, entries: Sequence[str], partner: Partner) -> str:
        """The border's own entry for a partner, with what is hidden behind it."""
        if self._hiding is None:
            return f"<sip:{self.own};lr>"
        return f"<sip:{self._hiding.seal(Purpose.ROUTE, partner.name, entries)}@{self.own};lr{self._marked}>"

    def outer_service_route(self, entries: Sequence[str], partner: Partner, users: Sequence[str]) -> list[str]:
        """The Service-Route of a visitor, with whom requests along it may be of: nobody else (TS 24.229 5.2.6.3)."""
        marks = ",".join([_mark(user) for user in users])
        if self._hiding is None or any("!" in user for user in users):  # a wildcard is many (TS 23.003 13.4A)
            return self.outer_routes(entries, partner)
        return [self.outer_entry([*entries, f"{USERS}{marks}"], partner)]

    def outer_routes(self, entries: Sequence[str], partner: Partner, *, as_route: bool = True) -> list[str]:
        """Entries as the partner sees them, the border's own first or merged with what is hidden.

        A request visits hidden entries in the order of a Route; in a Record-Route of a response they stand the other
        way round (RFC 3261 12.1.2), which `as_route=False` says.
        """
        if not as_route:
            return self.outer_routes(entries[::-1], partner)[::-1]
        if self._hiding is None:
            return [self.outer_entry((), partner), *entries]
        at = 0
        while at < len(entries) and self.is_inside(entries[at]):
            at += 1
        return [self.outer_entry(entries[:at], partner), *self.foreign(entries[at:], partner)]

    def revealed(self, uri: Uri, partner: Partner) -> "Way | None":
        """What is hidden behind an own entry that the partner sends back; None if it has no token. Raises 400."""
        if self._hiding is None or not isinstance(uri, SipUri) or uri.user is None:
            return None
        entries = self._hiding.open(Purpose.ROUTE, partner.name, uri.user)
        if entries and entries[-1].startswith(USERS):
            return Way(tuple(entries[:-1]), frozenset(entries[-1][len(USERS) :].split(",")))
        return Way(tuple(entries))

    def foreign(self, entries: Sequence[str], partner: Partner) -> list[str]:
        """Entries of others, as they are; what is ours among them, in tokens."""
        found: list[str] = []
        hidden: list[str] = []
        for entry in entries:
            if self.is_inside(entry):
                hidden.append(entry)
                continue
            if hidden:
                found.append(self.outer_entry(hidden, partner))
                hidden = []
            found.append(entry)
        return [*found, self.outer_entry(hidden, partner)] if hidden else found

    def is_inside(self, entry: str) -> bool:
        """Whether it is of inside. A token of ours is not: a request that comes by twice has it from the first time."""
        uri = ROUTE.parse(entry).uri
        if not isinstance(uri, SipUri) or uri.host != self.own:
            return isinstance(uri, SipUri) and self.is_at_node(uri)
        return uri.user is not None and not uri.has("tokenized-by")

    # ---- Vias

    def outer_via(self, vias: Sequence[str], partner: Partner) -> list[str]:
        """All Vias as one. The way back is kept with the exchange, so what the token holds is for operators to read."""
        if self._hiding is None:
            return list(vias)
        token = self._hiding.seal(Purpose.VIA, partner.name, vias)
        return [f"SIP/2.0/TCP {self.own};branch=z9hG4bK{token}{self._marked}"]

    # ---- URIs of nodes

    def outer_target(self, address: NameAddr, partner: Partner, always: bool = False) -> NameAddr:
        """A node's address as the partner sees it; any other as it is, unless all are to be hidden."""
        uri = address.uri
        if self._hiding is None or not isinstance(uri, SipUri) or uri.host == self.own:
            return address
        if not always and not self.is_at_node(uri):
            return address
        token = self._hiding.seal(Purpose.TARGET, partner.name, (str(uri),))
        hidden = SipUri("sip", token, None, self.own, None, (("tokenized-by", self.realm),))
        return NameAddr(None, hidden, address.params)

    def inner_target(self, uri: Uri, partner: Partner) -> Uri:
        """The node's URI that a partner sends back, any other as it is: a dialog's that ends at another door of this
        border has no token. Raises SipError 400.
        """
        if self._hiding is None or not isinstance(uri, SipUri) or uri.host != self.own or uri.user is None:
            return uri
        if not uri.has("tokenized-by"):
            return uri
        found = self._hiding.open(Purpose.TARGET, partner.name, uri.user)
        if len(found) != 1:
            raise SipError(400, "a token holds no URI", "TS 24.229 5.10.4")
        return parse_uri(found[0])


def entries_of(message: Message, name: str) -> list[str]:
    """The entries of a header of routes, one by one, as text."""
    return [entry for line in message.all(name) for entry in split_list(line)]


def _mark(user: str) -> str:
    """A user's address, short: many have a place in one token, which nobody can read or make."""
    return blake2b(user.encode("utf-8", "surrogateescape"), digest_size=MARK_OCTETS).hexdigest()


def _bare(host: str) -> str:
    return IPv6Address(host.strip("[]")).compressed
