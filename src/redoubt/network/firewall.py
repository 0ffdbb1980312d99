"""The packet filter of a host of this network, as nftables rules from redoubt.toml (TS 33.203 Annex J, TS 33.210 5).

What is listed is open to those it is meant for, everything else at these addresses is closed; what belongs into a
gateway's tunnel comes and goes through it or not at all; nobody outside speaks from a core node's address.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from redoubt.config import Config, ConfigError
from redoubt.network.openings import Audience, Opening, openings

HEAD = """\
# Redoubt's packet filter, written by `redoubt check exposure --nftables` from redoubt.toml; load it with `nft -f`."""
IpNetwork = IPv4Network | IPv6Network
TUNNEL_DEVICE = "ipsec*"  # of strongSwan's user-space ESP; the kernel's own has none
# What one address may send to a port in the clear: a hundred phones that register behind one NAT, or a partner.
CLEAR_PACKETS_PER_S, CLEAR_BURST = 400, 1_000
CONNECTIONS_PER_S, CONNECTIONS_BURST = 20, 100
SOURCES = 65_536  # that are counted at one time


def ruleset(config: Config, also: Sequence[str] = ("tcp:22",)) -> str:
    """For `nft -f`: replaces what an earlier one of Redoubt's did, all at once. `also` stays open beside (ssh).

    Raises ConfigError for an `also` that is no TRANSPORT:PORT.
    """
    opened = openings(config)
    blocks = [
        *_sets(config, opened),
        _chain("spoofed", "type filter hook prerouting priority -290; policy accept;", _spoofed(config)),
        _chain("arriving", "type filter hook input priority 0; policy accept;", _arriving(config, opened, also)),
        _chain("passing", "type filter hook forward priority 0; policy accept;", _tunnelled(config)),
        _chain("leaving", "type filter hook output priority 0; policy accept;", _leaving(config)),
    ]
    return f"{HEAD}\ntable inet redoubt\ndelete table inet redoubt\ntable inet redoubt {{\n{''.join(blocks)}}}\n"


def _sets(config: Config, opened: Iterable[Opening]) -> Iterable[str]:
    own = [each.host for each in opened if not each.is_everywhere]
    yield from _addresses("own", own)
    yield from _addresses("core", config.network.trusted_nodes)
    yield from _addresses("diameter", [one for peer in config.diameter.peers for one in peer.addresses])
    yield from _addresses("partners", _partners(config))
    yield from _addresses("tunnelled", [one for gateway in config.gateways for one in gateway.remote_networks])
    yield from _addresses("gateways", [gateway.remote for gateway in config.gateways])
    for name in ("clear", "connections"):
        for version in (4, 6):
            yield (
                f"\tset {name}{version} {{\n\t\ttype ipv{version}_addr\n\t\tflags dynamic, timeout\n"
                f"\t\tsize {SOURCES}\n\t\ttimeout 1m\n\t}}\n"
            )


def _addresses(name: str, addresses: Iterable[str]) -> Iterable[str]:
    """A set for each family; an empty one matches nobody."""
    try:
        networks = [ip_network(address, strict=False) for address in addresses]
    except ValueError as error:
        raise ConfigError(f"redoubt.toml names {error}; write IP addresses or networks") from None
    four = collapse_addresses(each for each in networks if isinstance(each, IPv4Network))
    six = collapse_addresses(each for each in networks if isinstance(each, IPv6Network))
    for version, found in ((4, list(map(str, four))), (6, list(map(str, six)))):
        elements = f"\t\telements = {{ {', '.join(found)} }}\n" if found else ""
        yield f"\tset {name}{version} {{\n\t\ttype ipv{version}_addr\n\t\tflags interval\n{elements}\t}}\n"


def _partners(config: Config) -> list[str]:
    """Addresses that agreements name: of those who send from them, and of those whom we connect to."""
    named = [address for partner in config.partners for address in partner.addresses]
    reached = [to.split(":", 1)[1].rsplit(":", 1)[0].strip("[]") for one in config.partners for to in one.connect]
    return [*named, *filter(_is_address, reached)]


def _is_address(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _chain(name: str, hook: str, rules: Iterable[str]) -> str:
    return f"\tchain {name} {{\n\t\t{hook}\n" + "".join(f"\t\t{rule}\n" for rule in rules) + "\t}\n"


def _both(rule: str) -> list[str]:
    """A rule for each family that it is of: SADDR, DADDR and @sets become those of IPv4 or IPv6."""
    made = []
    for family, version in (("ip", "4"), ("ip6", "6")):
        if rule.startswith(("ip ", "ip6 ")) and not rule.startswith(f"{family} "):
            continue
        text = rule.replace("SADDR", f"{family} saddr").replace("DADDR", f"{family} daddr")
        made.append(" ".join(f"{word}{version}" if word.startswith("@") else word for word in text.split(" ")))
    return made


def _spoofed(config: Config) -> Iterable[str]:
    """Annex J: no phone and no partner sends from a core node's address, which is where it is routed to."""
    yield 'iif "lo" accept'
    yield from _both("SADDR @core fib saddr . iif oif missing drop")
    yield from _tunnel_rules("SADDR @tunnelled", f'iifname "{TUNNEL_DEVICE}"', "meta ipsec", config)


def _leaving(config: Config) -> Iterable[str]:
    yield from _tunnel_rules("DADDR @tunnelled", f'oifname "{TUNNEL_DEVICE}"', "rt ipsec", config)


def _tunnelled(config: Config) -> Iterable[str]:
    """For a gateway that is a host of its own."""
    yield from _tunnel_rules("SADDR @tunnelled", f'iifname "{TUNNEL_DEVICE}"', "meta ipsec", config)
    yield from _tunnel_rules("DADDR @tunnelled", f'oifname "{TUNNEL_DEVICE}"', "rt ipsec", config)


def _tunnel_rules(address: str, device: str, protected: str, config: Config) -> Iterable[str]:
    """TS 33.210 5: no traffic without the tunnel; the kernel's ESP marks packets, the user-space one has a device."""
    if config.gateways:
        unmarked = device.replace("name", "name !=", 1)
        yield from _both(f"{address} {unmarked} {protected} missing drop")


def _arriving(config: Config, opened: Sequence[Opening], also: Sequence[str]) -> Iterable[str]:
    yield 'iif "lo" accept'
    for each in opened:
        yield from _limits(config, each)
    yield "ct state established,related accept"
    yield "meta l4proto { icmp, icmpv6 } accept"
    if config.gateways:
        yield from _both("SADDR @gateways udp dport { 500, 4500 } accept")
        yield from _both("SADDR @gateways meta l4proto esp accept")
    if any(each.to is Audience.ACCESS for each in opened):
        yield "meta l4proto esp accept"  # of phones in transport mode, whom their association proves
    for each in opened:
        yield from _opened(config, each)
    for text in also:
        transport, _, port = text.partition(":")
        if transport not in ("tcp", "udp", "sctp") or not port.isdecimal():
            raise ConfigError(f"--also {text} is not TRANSPORT:PORT; write for example tcp:22")
        yield f"{transport} dport {port} accept"
    if any(each.is_everywhere for each in opened):
        yield "drop"
    else:
        yield from _both("DADDR @own drop")


def _opened(config: Config, each: Opening) -> Iterable[str]:
    where = _where(each)
    match each.to:
        case Audience.CORE:
            yield from _both(f"{where} SADDR @core accept")
            if each.function == "hss":
                yield from _both(f"{where} SADDR @diameter accept")
        case Audience.BORDER:
            yield from _both(f"{where} SADDR @partners accept")
            if each.transport == "tls" and any(partner.security == "tls" for partner in config.partners):
                yield f"{where} accept"  # a certificate proves who it is, wherever it comes from
        case Audience.ACCESS | Audience.ALL:
            yield f"{where} accept"


def _limits(config: Config, each: Opening) -> Iterable[str]:
    """So much from one address. What comes under ESP is not counted: it costs a phone's keys."""
    if each.to is Audience.ACCESS and each.carrier == "udp" and f"{each}" not in config.gm.listen:
        limit = f"limit rate over {CLEAR_PACKETS_PER_S}/second burst {CLEAR_BURST} packets"
        yield from _both(f"{_where(each)} update @clear {{ SADDR {limit} }} drop")
    if each.to in (Audience.ACCESS, Audience.BORDER) and each.carrier == "tcp":
        limit = f"limit rate over {CONNECTIONS_PER_S}/second burst {CONNECTIONS_BURST} packets"
        yield from _both(f"{_where(each)} ct state new update @connections {{ SADDR {limit} }} drop")


def _where(each: Opening) -> str:
    first, last = each.ports
    ports = f"{first}-{last}" if last != first else f"{first}"
    place = "" if each.is_everywhere else f"{'ip6' if ':' in each.host else 'ip'} daddr {each.host} "
    return f"{place}{each.carrier} dport {ports}"
