"""Where what leaves the border goes: by the agreement, else by DNS that is proved, never with less protection."""

import asyncio
from dataclasses import dataclass, field

import pytest

from redoubt.config.interconnect import PartnerConfig
from redoubt.events import EventStream
from redoubt.ndm.next_hops import PartnerHops
from redoubt.ndm.partners import Partners
from redoubt.sip.dns_records import Naptr, Records, Srv
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.sources import Clock, SeededRandomness

BY_DNS = PartnerConfig(name="beta", domains=("beta.example",), names=("sip:beta.example",))
CONNECTED = PartnerConfig(
    name="gamma", domains=("gamma.example",), connect=("tls:192.0.2.7:5061", "tls:192.0.2.8:5061"),
    transit_to=("far.example",),
)  # fmt: skip
TUNNEL = PartnerConfig(
    name="delta", domains=("delta.example",), security="gateway", gateway="za", addresses=("198.51.100.0/28",)
)


@dataclass
class Zone:
    """A DNS that knows SRV names and addresses; `authentic` as its answers are."""

    services: dict[str, tuple[Srv, ...]]
    hosts: dict[str, tuple[str, ...]]
    authentic: bool = True
    asked: list[str] = field(default_factory=list)

    async def naptr(self, name: str) -> Records[Naptr]:
        self.asked.append(name)
        return Records(authentic=self.authentic)

    async def srv(self, name: str) -> Records[Srv]:
        self.asked.append(name)
        return Records(self.services.get(name, ()), authentic=self.authentic)

    async def addresses(self, name: str) -> Records[str]:
        self.asked.append(name)
        return Records(self.hosts.get(name, ()), authentic=self.authentic)


ZONE = Zone(
    {
        "_sips._tcp.beta.example": (Srv(0, 0, "border.beta.example", 5061),),
        "_sip._udp.beta.example": (Srv(0, 0, "border.beta.example", 5060),),
        "_sip._udp.delta.example": (Srv(0, 0, "inside.delta.example", 5060), Srv(1, 0, "outside.delta.example", 5060)),
    },
    {
        "border.beta.example": ("203.0.113.7",),
        "inside.delta.example": ("198.51.100.3",),
        "outside.delta.example": ("203.0.113.66",),
    },
)


async def hops(uri: str, *, authentic: bool = True, stands: bool = True) -> list[tuple[str, str, int, str]]:
    """What the border would try: transport, address, port, and whom the certificate must prove."""
    zone = Zone(ZONE.services, ZONE.hosts, authentic)
    context = Context("ibcf", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(1))
    partners = Partners(context, (BY_DNS, CONNECTED, TUNNEL), lambda _name: stands)
    parsed = parse_uri(uri)
    assert isinstance(parsed, SipUri)
    found = await PartnerHops(partners, Resolver(context.randomness, dns=zone)).find(parsed)
    return [(each.transport, each.host, each.port, each.name) for each in found]


async def test_the_agreements_next_hops_are_tried_in_their_order_for_all_of_its_hosts() -> None:
    both = [("tls", host, 5061, "gamma.example") for host in ("192.0.2.7", "192.0.2.8")]
    for uri in ("sip:gamma.example", "sip:x@pcscf.gamma.example:5070;transport=udp", "sip:bob@far.example"):
        assert await hops(uri) == both


async def test_the_border_node_that_a_route_names_by_its_address_is_tried_first() -> None:
    second = [("tls", host, 5061, "gamma.example") for host in ("192.0.2.8", "192.0.2.7")]
    assert await hops("sip:192.0.2.8:5070;transport=udp;lr") == second


async def test_a_partner_by_tls_is_found_by_dns_and_only_over_tls() -> None:
    over_tls = [("tls", "203.0.113.7", 5061, "beta.example")]
    assert await hops("sip:beta.example") == over_tls
    assert await hops("sip:beta.example;transport=udp") in ([], over_tls)
    assert await hops("sip:beta.example;maddr=203.0.113.66") == over_tls


async def test_dns_that_nobody_proves_leads_nowhere() -> None:
    assert await hops("sip:beta.example", authentic=False) == []


async def test_behind_a_gateway_only_what_the_tunnel_leads_to_is_tried_and_nothing_while_it_is_down() -> None:
    assert await hops("sip:delta.example") == [("udp", "198.51.100.3", 5060, "delta.example")]
    assert await hops("sip:delta.example", stands=False) == []


@pytest.mark.parametrize("uri", ["sip:elsewhere.org", "sip:192.0.2.9", "sip:x@203.0.113.66;maddr=203.0.113.66"])
async def test_who_is_no_partner_is_not_reached(uri: str) -> None:
    assert await hops(uri) == []
