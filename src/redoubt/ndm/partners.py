"""Partners: other networks that an agreement of [[partners]] covers, and what proves that a flow is theirs.

Trust follows from how the flow is secured and from the agreement, never from a header (TS 33.203 6.5, TS 33.210,
RFC 3325 5, TS 24.229 4.4). On TLS the certificate proves a name of the partner (RFC 5922 7); behind a gateway, or in
clear with a plain SIP network, it is the source address. What follows from the relation is the IBCF's to do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations, product
from pathlib import Path

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import PartnerConfig
from redoubt.limits import CONNECTIONS_PER_PARTNER
from redoubt.ndm.pki import signed_by
from redoubt.sip.service import Context
from redoubt.sip.uri import is_ip_address
from redoubt.transport.flow import Clear, Flow, Security, TlsPeer, TrustedAddress, Zone
from redoubt.transport.listen import Listen

IpNetwork = IPv4Network | IPv6Network
EVERY_OTHER = "*"
LABELS = 127  # a domain name has no more (RFC 1035 2.3.4)


@dataclass(slots=True, eq=False)
class Partner:
    """One agreement, and how it goes with that network."""

    config: PartnerConfig
    domains: tuple[str, ...]
    names: tuple[str, ...]  # what its certificate may prove; the first is how connections to it are known
    networks: tuple[IpNetwork, ...]
    authorities: tuple[Certificate, ...] = ()  # who must have signed its certificate; none: whom the border believes
    hosts: frozenset[str] = frozenset()  # IP addresses of its border nodes, as URIs have them; of no other partner
    requests_in: int = 0
    requests_out: int = 0
    refusals: int = 0
    last_refusal: str = ""
    last_refusal_at: float = 0.0
    fails: bool = False  # the last connection that was tried came to nothing
    _connections: list[Flow] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_trusted(self) -> bool:
        """Whether it is inside the trust domain: what it asserts of identity is believed (RFC 3325 5)."""
        return self.config.kind == "ims"

    def has(self, domain: str) -> bool:
        """Whether a host or domain is the partner's: one of its domains, below one, or a border node's address, by
        which proxies of others name themselves in Record-Route.
        """
        lowered = domain.lower().rstrip(".")
        return any(lowered == own or lowered.endswith(f".{own}") for own in self.domains) or lowered in self.hosts

    def may_be_at(self, host: str) -> bool:
        """Whether it may be sent to at that address: any where its certificate proves who answers, or nothing could;
        behind a gateway only what the tunnel leads to (TS 33.210 5).
        """
        return self.config.security != "gateway" or any(ip_address(host) in network for network in self.networks)

    @property
    def flows(self) -> list[Flow]:
        """Its TLS and TCP connections that are open, whoever opened them."""
        self._connections = [flow for flow in self._connections if not flow.is_closed()]
        return self._connections

    def refused(self, why: str, at: float) -> None:
        """Something of it, or a connection with it, was refused at that time; an event says so elsewhere."""
        self.refusals += 1
        self.last_refusal, self.last_refusal_at = why, at

    def joined(self, flow: Flow) -> None:
        """A connection with it was opened."""
        self.flows.append(flow)


class Partners:
    """All agreements. `stands` says whether the tunnel of a gateway of that name is up.

    Raises ConfigError for agreements that contradict each other.
    """

    def __init__(
        self, context: Context, agreements: Sequence[PartnerConfig], stands: Callable[[str], bool] | None = None
    ) -> None:
        self._context = context
        self._stands = stands or _no_gateway
        self._partners = {one.name: _partner(one) for one in agreements}
        if len(self._partners) < len(agreements):
            raise ConfigError("[[partners]]: two have the same name; give each its own")
        self._by_domain = _unique("domains", [(domain, each) for each in self for domain in each.domains])
        self._by_domain |= _tell_hosts(self)
        self._by_name = _unique("names", [(name, each) for each in self if _by_tls(each) for name in each.names])
        self._by_address = [each for each in self if not _by_tls(each)]
        _refuse_overlap(self)
        self._transit = _unique(
            "transit-to", [(domain.lower(), each) for each in self for domain in each.config.transit_to]
        )

    def __iter__(self) -> Iterator[Partner]:
        return iter(self._partners.values())

    def named(self, name: str) -> Partner | None:
        """The partner of an agreement's name."""
        return self._partners.get(name)

    # ---- whose it is

    def owner(self, domain: str) -> Partner | None:
        """Whose the domain is: the partner's with the longest of these domains that it equals or is below. Of an
        address, the only partner's that has it in `connect`.
        """
        return _longest(self._by_domain, domain)

    def to(self, domain: str) -> Partner | None:
        """Through whom a domain is reached: its owner, else a hub that the agreement says leads there."""
        found = self.owner(domain) or _longest(self._transit, domain)
        return found or (None if is_ip_address(domain) else self._transit.get(EVERY_OTHER))

    def of_flow(self, flow: Flow) -> Partner | None:
        """Whose the flow is, by what secures it now; None if no agreement covers it. `why_not` says why."""
        if flow.zone is not Zone.BORDER:
            return None
        if isinstance(flow.security, TlsPeer):
            return self._proven(flow.security.names)
        partner = self._at(flow.remote[0])
        if partner is None or self._is_cut(partner):
            return None
        return partner

    def stranger(self, flow: Flow) -> str:
        """Why no agreement covers the flow, for an operator; "" if one does (requirement rows 53, 54)."""
        if self.of_flow(flow) is not None or not self._context.enforces("partner-agreement"):
            return ""
        if isinstance(flow.security, TlsPeer):
            return self._why_no_name(flow.security.names)
        partner = self._at(flow.remote[0])
        if partner is None:
            by_tls = self._of_tls_at(flow.remote[0])
            if by_tls is not None and flow.transport != "tls":
                return f"{by_tls.name} speaks in clear, and its agreement says security = tls"
            return "no agreement of [[partners]] has this address among its `addresses`"
        return f"the tunnel {partner.config.gateway} to {partner.name} is down: nothing is taken or sent without it"

    def is_reachable(self, partner: Partner) -> bool:
        """Whether anything may be sent to it at all: not while its tunnel is down (TS 33.210 5)."""
        return not self._is_cut(partner)

    # ---- what a border's sockets ask

    def vouch(self, peer: TlsPeer | None, host: str) -> Security:
        """What a flow from that address is secured by, after the handshake if there was one."""
        if peer is not None:
            names = self._signed_rightly(peer, host)
            partner = self._proven(names)
            return TlsPeer(names, partner is not None and partner.is_trusted, peer.certificate)
        partner = self._at(host)
        return TrustedAddress(host) if partner is not None and partner.is_trusted else Clear()

    def mistaken(self, name: str, flow: Flow) -> str:
        """Why the far end of a connection that this node opened is not the partner known by `name` (RFC 5922 7.3)."""
        meant, found = self._by_name.get(name), self.of_flow(flow)
        if found is None:
            return self.stranger(flow)
        if meant in (None, found) or not self._context.enforces("partner-names"):
            return ""
        return f"{found.name}'s certificate where {name}'s was expected"

    def known_as(self, flow: Flow) -> str:
        """What connections to the partner of the flow go by: one connection carries all that it has proved."""
        partner = self.of_flow(flow)
        return "" if partner is None else partner.names[0]

    def welcome(self, flow: Flow) -> str:
        """Why a connection that was just made must end; "" if an agreement covers it and there is room for it."""
        partner = self.of_flow(flow)
        if partner is None:
            return self.stranger(flow)
        if len(partner.flows) >= CONNECTIONS_PER_PARTNER:
            return f"{partner.name} has {CONNECTIONS_PER_PARTNER} connections open already"
        partner.joined(flow)
        if partner.fails:
            partner.fails = False
            self._context.notice("info", f"{partner.name} is connected again")
        return ""

    def tunnel_changed(self, gateway: str, stands: bool) -> None:
        """A tunnel fell: its connections end at once, so that the kernel repeats nothing of them outside of it."""
        for partner in self if not stands else ():
            if partner.config.gateway == gateway:
                for flow in list(partner.flows):
                    flow.abort()

    def failed(self, who: str, why: str) -> None:
        """A connection with that name, or from that address, came to nothing: kept for `redoubt partners`."""
        partner = self._by_name.get(who) or self._at(who) or self._of_tls_at(who)
        if partner is None:
            return
        partner.refused(why, self._context.clock.now())
        if not partner.fails:
            partner.fails = True
            self._context.notice("warning", f"{partner.name}: {why}", "`redoubt partners` shows how it goes")

    # ---- inside

    def _signed_rightly(self, peer: TlsPeer, host: str) -> tuple[str, ...]:
        """The names without those whose partner has them from another authority: what one partner's authority signs
        proves nothing of another partner.
        """
        if not peer.certificate or not self._context.enforces("partner-authority"):
            return peer.names
        certificate = load_der_x509_certificate(peer.certificate)
        kept = []
        for name in peer.names:
            partner = self._by_name.get(name)
            if partner is None or not partner.authorities or signed_by(certificate, partner.authorities):
                kept.append(name)
                continue
            why = f"{name} in a certificate that {certificate.issuer.rfc4514_string()} signed, not {partner.name}'s own"
            partner.refused(why, self._context.clock.now())
            self._context.refused(0, why, "TS 33.310 6.1", source=host)
        return tuple(kept)

    def _proven(self, names: Sequence[str]) -> Partner | None:
        """Whose names these are; nobody's when they are of two, since limits and trust would be of either's choice."""
        if len(names) == 1:
            return self._by_name.get(names[0])
        found = {id(partner): partner for name in names if (partner := self._by_name.get(name)) is not None}
        return next(iter(found.values())) if len(found) == 1 else None

    def _why_no_name(self, names: Sequence[str]) -> str:
        found = sorted({partner.name for name in names if (partner := self._by_name.get(name)) is not None})
        if len(found) > 1:
            return f"its certificate is of {' and '.join(found)} at once; put their domains into one agreement"
        if not names:
            return "its certificate has no SIP URI and no DNS name (RFC 5922 7.1): what stands in CN does not count"
        listed = ", ".join(names[:4])
        return f"its certificate proves {listed}, which stands in no agreement's `names` or `domains`"

    def _at(self, host: str) -> Partner | None:
        """Who sends from an address, of those whose agreement goes by it."""
        try:
            address = ip_address(host)
        except ValueError:
            return None
        return next((each for each in self._by_address if any(address in net for net in each.networks)), None)

    def _of_tls_at(self, host: str) -> Partner | None:
        """Who has that address, of those that must prove a name: good for words only."""
        wanted = host.strip("[]")
        for each in self:
            hosts = {Listen.parse(to, Zone.BORDER).host for to in each.config.connect} | set(each.config.addresses)
            if _by_tls(each) and wanted in hosts:
                return each
        return None

    def _is_cut(self, partner: Partner) -> bool:
        return partner.config.security == "gateway" and not self._stands(partner.config.gateway)


def _no_gateway(_name: str) -> bool:
    """No tunnel stands where no gateway is driven."""
    return False


def _by_tls(partner: Partner) -> bool:
    return partner.config.security == "tls"


def _partner(agreement: PartnerConfig) -> Partner:
    """Raises ConfigError for what contradicts itself."""
    where = f"[[partners]] {agreement.name}"
    if not agreement.domains:
        raise ConfigError(f"{where}: domains is empty; write the SIP domains of its users and nodes")
    if agreement.authority and agreement.security != "tls":
        raise ConfigError(f'{where}: authority is for security = "tls"; leave it away')
    if agreement.security == "none" and agreement.kind != "sip":
        raise ConfigError(f'{where}: security = "none" is for kind = "sip": nobody in clear is within the trust domain')
    if agreement.security == "gateway" and not agreement.gateway:
        raise ConfigError(f'{where}: security = "gateway" needs gateway = the name of an entry of [[gateways]]')
    if agreement.security != "tls" and not agreement.addresses:
        raise ConfigError(f"{where}: without TLS a partner is known by `addresses`; write those of its border nodes")
    if agreement.security == "tls" and any(not to.startswith("tls:") for to in agreement.connect):
        raise ConfigError(f"{where}: connect must be of tls:, since security is tls; write tls:HOST:PORT")
    names = tuple(dict.fromkeys(_host(name) for name in agreement.names or agreement.domains))
    if wild := next((name for name in names if "*" in name), ""):
        raise ConfigError(f"{where}: {wild} has a wildcard, which proves no SIP domain (RFC 5922 7.2); write the name")
    try:
        networks = tuple(ip_network(address, strict=False) for address in agreement.addresses)
    except ValueError as error:
        raise ConfigError(f"{where}: addresses: {error}; write 192.0.2.1 or 192.0.2.0/24") from None
    domains = tuple(domain.lower().rstrip(".") for domain in agreement.domains)
    made = Partner(agreement, domains, names, networks, _authorities(agreement.authority, where))
    for to in agreement.connect:
        host = Listen.parse(to, Zone.BORDER).host
        if not is_ip_address(host):
            raise ConfigError(f"{where}: connect: {host} is no IP address; write one, or leave connect away")
        if not made.may_be_at(host):
            raise ConfigError(f"{where}: connect: {host} is not among addresses, which the tunnel leads to; add it")
    return made


def _authorities(path: str, where: str) -> tuple[Certificate, ...]:
    if not path:
        return ()
    try:
        return tuple(load_pem_x509_certificates(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: authority: {path}: {error}; write the partner's ca.pem") from None


def _host(name: str) -> str:
    """The domain of a SIP URI or DNS name."""
    return name.lower().removeprefix("sip:").rstrip(".")


def _unique(option: str, pairs: list[tuple[str, Partner]]) -> dict[str, Partner]:
    found: dict[str, Partner] = {}
    for key, partner in pairs:
        other = found.setdefault(key, partner)
        if other is not partner:
            raise ConfigError(f"[[partners]] {option}: {key} is both {other.name}'s and {partner.name}'s; leave one")
    return found


def _tell_hosts(partners: Partners) -> dict[str, Partner]:
    """Lets each partner know the addresses of `connect` that are its alone; whose they are."""
    hosts: dict[str, list[Partner]] = {}
    for partner in partners:
        for host in {Listen.parse(to, Zone.BORDER).host for to in partner.config.connect}:
            hosts.setdefault(f"[{host}]" if ":" in host else host, []).append(partner)
    owners = {host: found[0] for host, found in hosts.items() if len(found) == 1}
    for partner in partners:
        partner.hosts = frozenset([host for host, owner in owners.items() if owner is partner])
    return owners


def _refuse_overlap(partners: Partners) -> None:
    """Whom an address means is not left to the order of the file."""
    for one, other in combinations(partners, 2):
        if _by_tls(one) and _by_tls(other):
            continue  # addresses are words there
        for ours, theirs in product(one.networks, other.networks):
            if ours.version == theirs.version and ours.overlaps(theirs):
                both = f"{ours} of {one.name} and {theirs} of {other.name} have addresses in common"
                raise ConfigError(f"[[partners]] addresses: {both}; write for each only what is its own")


def _longest(owners: dict[str, Partner], domain: str) -> Partner | None:
    """The entry for the name or the nearest name above it."""
    name = domain.lower().rstrip(".")
    for _ in range(LABELS):
        found = owners.get(name)
        if found is not None or not name:
            return found
        name = name.partition(".")[2]
    return None
