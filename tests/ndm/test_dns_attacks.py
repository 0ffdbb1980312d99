"""Poisoning of names (RFC 5452, requirement row 114): each attack succeeds without its protection, and not with it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
from tests.ndm.name_server import NameServer, reply, zone
from tests.ndm.test_zone import REALM, authority

from redoubt.events import EventStream, Notice
from redoubt.ndm.dns import DnsClient
from redoubt.ndm.dns_exchange import GUESSABLE_PORT, PORTS
from redoubt.ndm.dns_exchange import NameServer as At
from redoubt.ndm.zone_server import ZoneServer
from redoubt.sim import Network, Packet, at_host, run
from redoubt.sip.dns_records import LookupFailed
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri
from redoubt.sources import Clock, SeededRandomness

US, SERVER, EVIL = "10.0.0.1", "10.0.0.53", "203.0.113.66"
PARTNER = "sips.partner.example"
RECORDS = {
    (f"{PARTNER}.", "A"): ["192.0.2.1"],
    ("_sips._tcp.partner.example.", "SRV"): [f"1 1 5061 {PARTNER}."],
    ("partner.example.", "NAPTR"): ['10 10 "s" "SIPS+D2T" "" _sips._tcp.partner.example.'],
}
Attack = Callable[["Lab"], Awaitable[list[str]]]
ATTACKS: dict[str, list[Attack]] = {}


class Lab:
    """A network that asks a name server 10 to 12 ms away; a forger sends its datagrams in no time."""

    def __init__(self, network: Network, off: tuple[str, ...]) -> None:
        network.link(US, SERVER, both_ways=True, latency_s=(0.010, 0.012))
        self.network = network
        self.events = EventStream()
        clock = Clock(asyncio.get_running_loop(), 1_800_000_000.0)
        self.context = Context("dns", self.events, clock, SeededRandomness(5), protections_off=frozenset(off))
        self.asking: DnsClient

    async def serve(self, answering: Any, transport: str = "udp") -> Any:
        with_address = at_host(SERVER)
        with with_address:
            server = await NameServer.open(answering, SERVER, 53)
        self.asking = DnsClient(self.context, [At(transport, SERVER, 53)])
        return server

    async def looks_up(self) -> list[str]:
        """Where a call to the partner goes."""
        resolver = Resolver(self.context.randomness, dns=self.asking)
        found = await resolver.find(SipUri("sip", None, None, "partner.example"), authentic=True)
        return [each.host for each in found]

    def notices(self) -> list[str]:
        return [each.what for each in self.events.recent if isinstance(each, Notice)]


def against(protection: str) -> Callable[[Attack], Attack]:
    def note(attack: Attack) -> Attack:
        ATTACKS.setdefault(protection, []).append(attack)
        return attack

    return note


def forged(identifier: int, template: bytes) -> bytes:
    return identifier.to_bytes(2, "big") + template[2:]


def template() -> bytes:
    """The answer that the forger would like to be given: the partner's node is the forger's."""
    query = dns.message.make_query(f"{PARTNER}.", "A", use_edns=0)
    wire: bytes = reply(query, f"{PARTNER}. 86400 A {EVIL}").to_wire()
    return wire


@against("dns-source")
async def every_identifier_is_sent_to_the_usual_port(lab: Lab) -> list[str]:
    """65,536 answers, one of which has the right identifier, while the true answer is on its way."""
    server = await lab.serve(zone(RECORDS))
    task = asyncio.ensure_future(lab.asking.ask(PARTNER, "A"))
    await asyncio.sleep(0.001)
    lab.network.link(SERVER, US, latency_s=(0.001, 0.0011))
    for identifier in range(65_536):
        lab.network.inject((SERVER, 53), (US, GUESSABLE_PORT), forged(identifier, template_wire))
    found = await task
    server.close()
    lab.asking.close()
    return [str(each) for each in found.values]


@against("dns-source")
async def every_identifier_is_sent_to_the_port_that_was_found_out(lab: Lab) -> list[str]:
    """The same by a forger who knows the port of each question, as if it had come by a side channel."""
    server = await lab.serve(zone(RECORDS))
    known: list[int] = []
    lab.network.tap(lambda packet: known.append(packet.source.port) if packet.source.host == US else None)
    task = asyncio.ensure_future(lab.asking.ask(PARTNER, "A"))
    await asyncio.sleep(0.001)
    lab.network.link(SERVER, US, latency_s=(0.001, 0.0011))
    for identifier in range(65_536):
        lab.network.inject((SERVER, 53), (US, known[0]), forged(identifier, template_wire))
    found = await task
    server.close()
    lab.asking.close()
    return [str(each) for each in found.values]


@against("dns-bailiwick")
async def an_answer_about_one_name_brings_records_of_another(lab: Lab) -> list[str]:
    """Whoever has a zone, and a user who calls there, says where the partner's node is as well."""

    def answering(query: dns.message.Message) -> Any:
        if "evil" in str(query.question[0].name).lower():
            extra = (f"{PARTNER}. 86400 A {EVIL}", f"{PARTNER}. 86400 AAAA 2001:db8::66")
            answer = reply(query, "_sip._udp.evil.example. 60 SRV 1 1 5060 sip.evil.example.", additional=extra)
            answer.answer += answer.additional[:1]
            return answer
        return zone(RECORDS)(query)

    server = await lab.serve(answering)
    await lab.asking.srv("_sip._udp.evil.example")
    found = await lab.asking.addresses(PARTNER)
    server.close()
    lab.asking.close()
    return list(found.values)


@against("dns-authentic")
async def somebody_on_the_way_changes_the_answer(lab: Lab) -> list[str]:
    """Every record, and the bit that says that it is authentic: nothing has to be guessed there."""
    server = await lab.serve(zone(RECORDS, flags=dns.flags.AD))

    def change(packet: Packet) -> bytes:
        return packet.payload.replace(bytes((192, 0, 2, 1)), bytes((203, 0, 113, 66)))

    lab.network.intercept(change)
    found = await lab.looks_up()
    server.close()
    lab.asking.close()
    return found


template_wire = template()
EVERY = [(name, attack) for name, attacks in ATTACKS.items() for attack in attacks]


def happens(attack: Attack, *off: str) -> tuple[list[str], list[str]]:
    """Where the partner is thought to be, and what was noticed."""

    async def scene(network: Network) -> tuple[list[str], list[str]]:
        with at_host(US):
            lab = Lab(network, off)
            found = await attack(lab)
        return found, lab.notices()

    return run(scene, 3)


@pytest.mark.parametrize(("protection", "attack"), EVERY, ids=lambda each: getattr(each, "__name__", str(each)))
def test_without_the_protection_the_attack_succeeds(protection: str, attack: Any) -> None:
    assert EVIL in happens(attack, protection)[0]


@pytest.mark.parametrize(("protection", "attack"), EVERY, ids=lambda each: getattr(each, "__name__", str(each)))
def test_with_the_protection_the_attack_fails(protection: str, attack: Any) -> None:
    found, notices = happens(attack)
    assert found == ([] if protection == "dns-authentic" else ["192.0.2.1"])
    assert any("did not fit" in notice for notice in notices) == ("found_out" in attack.__name__)


def test_ports_are_drawn_from_three_quarters_of_all() -> None:
    assert (PORTS[1] - PORTS[0]) / 65_536 > 0.74


@pytest.mark.parametrize("seed", range(8))
def test_over_a_bad_link_names_are_found_or_nobody_answers_and_nothing_stays_open(seed: int) -> None:
    """Our own server and client, in the simulator, with losses, repetitions and another order."""

    async def scene(network: Network) -> None:
        with at_host(SERVER):
            server = ZoneServer(authority())
            await server.listen(SERVER, 53)
        with at_host(US):
            lab = Lab(network, ())
            asking = DnsClient(lab.context, [At("udp", SERVER, 53)])
            found = 0
            for kind in ("A", "AAAA", "SRV", "NAPTR", "TXT"):
                try:
                    found += len((await asking.ask(f"ibcf.{REALM}", kind)).values)
                except LookupFailed as failure:
                    assert "does not answer" in str(failure)
            asking.close()
        assert found <= 1
        server.close()

    run(scene, seed, network=Network(seed, loss=0.3, duplicate=0.2, reorder=0.2))
