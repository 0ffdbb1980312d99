"""The way to a partner whose agreement names no next hop: by the partner's own signed zone, and by nothing less."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.ndm.test_zone import REALM, config

from redoubt.config.interconnect import DnsConfig, PartnerConfig
from redoubt.events import EventStream, Notice
from redoubt.ndm.dns_servers import dns_of
from redoubt.ndm.next_hops import PartnerHops
from redoubt.ndm.partners import Partners
from redoubt.network.name_server import OperatorDns, OperatorZones
from redoubt.sip.resolver import Candidate, Resolver
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

PARTNER = PartnerConfig(name="them", domains=(REALM,), names=(f"sip:{REALM}",))


class Border:
    """Our border's next hops, and what it was told."""

    def __init__(self, servers: str, anchors: str = "") -> None:
        clock = Clock(asyncio.get_running_loop())
        self.events = EventStream()
        context = Context("ibcf", self.events, clock, SystemRandomness())
        self.dns = dns_of(context, DnsConfig(servers=(servers,), anchors=anchors))
        resolver = Resolver(context.randomness, None, self.dns, lambda why: context.notice("warning", why))
        self._hops = PartnerHops(Partners(context, [PARTNER]), resolver)

    async def finds(self, host: str = REALM) -> list[Candidate]:
        found = await self._hops.find(SipUri("sip", "bob", None, host))
        return sorted(found, key=lambda each: each.port)

    @property
    def told(self) -> str:
        return " ".join(each.what for each in self.events.recent if isinstance(each, Notice))


@asynccontextmanager
async def partner(folder: Path) -> AsyncIterator[tuple[str, OperatorZones]]:
    """The partner's `redoubt dns`."""
    zones = OperatorZones(config(), folder)
    clock = Clock(asyncio.get_running_loop())
    server = await OperatorDns.start(zones, clock, [Listen.parse("udp:127.0.0.1:0", Zone.CORE)])
    try:
        yield f"udp:127.0.0.1:{server.addresses[0][1][1]}", zones
    finally:
        server.close()


@pytest.fixture
def anchors(tmp_path: Path) -> str:
    for name in ("them", "rogue"):
        (tmp_path / name).mkdir()
    (tmp_path / "anchors").write_text("\n".join(OperatorZones(config(), tmp_path / "them").anchors()) + "\n")
    return str(tmp_path / "anchors")


async def test_its_signed_zone_says_where_its_border_is(tmp_path: Path, anchors: str) -> None:
    async with partner(tmp_path / "them") as (at, _zones):
        border = Border(at, anchors)
        name = await border.finds()
        assert [(each.transport, each.host, each.port) for each in name] == [
            ("tls", "192.0.2.1", 5061), ("tls", "192.0.2.2", 5062),
        ]  # fmt: skip
        border.dns.close()


async def test_without_an_anchor_it_leads_nowhere_and_the_event_says_why(tmp_path: Path, anchors: str) -> None:
    async with partner(tmp_path / "them") as (at, _zones):
        border = Border(at)
        assert await border.finds() == []
        assert "not authentic" in border.told
        border.dns.close()


async def test_a_server_with_another_key_leads_nowhere(tmp_path: Path, anchors: str) -> None:
    """The same zone, signed by whoever sits on the way."""
    async with partner(tmp_path / "rogue") as (at, _zones):
        border = Border(at, anchors)
        assert await border.finds() == []
        assert "not those that its parent, or [dns] anchors, names" in border.told
        border.dns.close()


async def test_who_is_no_partner_is_not_even_asked_for(tmp_path: Path, anchors: str) -> None:
    async with partner(tmp_path / "them") as (at, _zones):
        border = Border(at, anchors)
        assert await border.finds("stranger.example") == []
        assert border.told == ""
        border.dns.close()
