"""An operator's zones for labs: where its network is reached (RFC 3263), which numbers its users have (RFC 6116).

Signed with one ECDSA P-256 key (RFC 6605, RFC 4034). Names of the core are in none: partners and phones have no use for
them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import dns.dnssec
import dns.exception
import dns.name
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.zone
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from dns.dnssectypes import Algorithm

from redoubt.config import Config
from redoubt.config.base import ConfigError
from redoubt.ndm.enum import domain_of, is_international
from redoubt.sip.uri import SEPARATORS, SipUri, TelUri, parse_uri
from redoubt.transport.flow import Zone as Side
from redoubt.transport.listen import Listen

TTL_S = 300
SIGNED_FOR_S = 14 * 24 * 3600
SKEW_S = 3600  # of the clocks of those who validate
PREFERRED = (
    ("tls", 10, "SIPS+D2T", "_sips._tcp"),
    ("tcp", 20, "SIP+D2T", "_sip._tcp"),
    ("udp", 30, "SIP+D2U", "_sip._udp"),
)


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """The one key of the zones: it signs itself and all else (a combined signing key)."""

    private: EllipticCurvePrivateKey

    @property
    def record(self) -> dns.rdtypes.ANY.DNSKEY.DNSKEY:
        return dns.dnssec.make_dnskey(self.private.public_key(), Algorithm.ECDSAP256SHA256, flags=257)

    def anchor(self, zone: str) -> str:
        """The DS record by which others trust the zone: a line for `[dns] anchors`, or unbound's trust-anchor."""
        origin = dns.name.from_text(zone)
        ds: dns.rdtypes.ANY.DS.DS = dns.dnssec.make_ds(origin, self.record, "SHA256")
        return f"{origin} {TTL_S} IN DS {ds}"

    def sign(self, zone: dns.zone.Zone, now: float) -> None:
        dns.dnssec.sign_zone(
            zone, keys=[(self.private, self.record)], inception=int(now) - SKEW_S, expiration=int(now) + SIGNED_FOR_S
        )


def network_zone(config: Config, served_at: Sequence[str], serial: int) -> dns.zone.Zone:
    """The realm: its entry for partners is the IBCF, or the I-CSCF without one; phones find the P-CSCF by its own name.

    Sockets at a wildcard or a name are left out: nobody else knows which addresses they have.
    """
    realm = config.network.realm.rstrip(".")
    border, listens = (config.ibcf.uri, config.ibcf.listen) if config.ibcf.listen else (
        config.i_cscf.uri, config.i_cscf.listen
    )  # fmt: skip
    lines = [*_apex(realm, served_at, serial), *_service(realm, _host(border), listens)]
    lines += _service(_host(config.p_cscf.uri), _host(config.p_cscf.uri), config.p_cscf.listen)
    outside = [line for line in lines if not _is_below(line.partition(" ")[0], realm)]
    if outside:
        raise ConfigError(f"{outside[0].partition(' ')[0]} is not below the realm {realm}: another zone has it")
    return _zone(realm, lines)


def number_zone(root: str, numbers: Mapping[str, str], served_at: Sequence[str], serial: int) -> dns.zone.Zone:
    """Numbers in international form, and the SIP URI of each."""
    root = root.strip(".")
    lines = _apex(root, served_at, serial)
    for number, uri in numbers.items():
        made = uri.replace("\\", "").replace('"', "").replace("!", "\\\\!")
        lines.append(f'{domain_of(number, root)}. {TTL_S} IN NAPTR 10 10 "u" "E2U+sip" "!^.*$!{made}!" .')
    return _zone(root, lines)


def numbers_of(identities: Iterable[Sequence[str]], realm: str) -> dict[str, str]:
    """The numbers among the public identities of each user, with a SIP URI that leads to it."""
    found = {}
    for impus in identities:
        for text in impus:
            uri = parse_uri(text)
            if isinstance(uri, TelUri) and is_international(number := uri.number.translate(SEPARATORS)):
                found[number] = f"sip:{number}@{realm};user=phone"
    return found


def numbers_in(text: str, source: str) -> dict[str, str]:
    """A file of numbers: "+4930123 sip:alice@example.org" a line. Raises ConfigError."""
    found = {}
    for place, line in enumerate(text.splitlines(), 1):
        number, _, uri = line.partition("#")[0].strip().partition(" ")
        if not number:
            continue
        number = number.translate(SEPARATORS)
        if not is_international(number) or not isinstance(parse_uri(uri.strip() or "x:x"), SipUri):
            raise ConfigError(f'{source}:{place} is no number with its URI; write "+4930123 sip:alice@example.org"')
        found[number] = uri.strip()
    return found


def _apex(zone: str, served_at: Sequence[str], serial: int) -> list[str]:
    server = f"ns.{zone}."
    return [
        f"{zone}. {TTL_S} IN SOA {server} hostmaster.{zone}. {serial} 3600 600 604800 60",
        f"{zone}. {TTL_S} IN NS {server}",
        *_addresses(server, served_at),
    ]


def _service(domain: str, host: str, listens: Iterable[str]) -> list[str]:
    """NAPTR at the domain, SRV below it, addresses of the host; one name for each set of ports (RFC 3263 4)."""
    places = [Listen.parse(text, Side.BORDER) for text in listens]
    by_host: dict[str, dict[str, int]] = {}
    for place in places:
        if _is_address(place.host) and place.port:
            by_host.setdefault(place.host, {}).setdefault(place.transport, place.port)
    named: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for address, ports in by_host.items():
        named.setdefault(tuple(sorted(ports.items())), []).append(address)
    lines, transports = list[str](), set[str]()
    for number, (ports_, addresses) in enumerate(named.items()):
        target = f"{host}." if number == 0 else f"{number + 1}.{host}."
        lines += _addresses(target, addresses)
        for transport, port in ports_:
            transports.add(transport)
            prefix = next(prefix for name, _order, _service, prefix in PREFERRED if name == transport)
            lines.append(f"{prefix}.{domain}. {TTL_S} IN SRV 10 10 {port} {target}")
    for transport, order, service, prefix in PREFERRED:
        if transport in transports:
            lines.append(f'{domain}. {TTL_S} IN NAPTR {order} 10 "s" "{service}" "" {prefix}.{domain}.')
    return lines


def _addresses(name: str, addresses: Iterable[str]) -> list[str]:
    return [
        f"{name} {TTL_S} IN {'AAAA' if ':' in address else 'A'} {address}"
        for address in dict.fromkeys(addresses)
        if _is_address(address)
    ]


def _is_address(host: str) -> bool:
    """Whether others can reach a socket there: not at a wildcard, nor at a name, which only its machine may know."""
    try:
        return not ip_address(host).is_unspecified
    except ValueError:
        return False


def _zone(origin: str, lines: Sequence[str]) -> dns.zone.Zone:
    try:
        return dns.zone.from_text("\n".join(lines) + "\n", f"{origin}.", relativize=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise ConfigError(f"the zone {origin} can't be made: {error}") from error


def _host(uri: str) -> str:
    parsed = parse_uri(uri)
    return parsed.host if isinstance(parsed, SipUri) else ""


def _is_below(name: str, zone: str) -> bool:
    return f".{name}".endswith(f".{zone}.")
