"""Answers that were changed at random: none is believed that was not signed so, and none does harm (row 114)."""

import asyncio
import random

import dns.exception
import dns.message
import dns.name
import pytest
from tests.ndm.test_dnssec import NOW, PARENT, SIGNED, anchors_of

from redoubt.events import EventStream
from redoubt.ndm.dns_exchange import Asking, NameServer
from redoubt.ndm.dns_validation import Validator
from redoubt.sip.dns_records import LookupFailed
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

ASKED = (
    ("ibcf.ims.example.org", "A"), ("_sips._tcp.ims.example.org", "SRV"), ("nothing.ims.example.org", "A"),
    ("ims.example.org", "SRV"), ("www.example.org", "A"),
)  # fmt: skip


def said(wire: bytes) -> tuple[object, ...]:
    """What an answer says to whoever believes it: its answer section without signatures, or that there is nothing."""
    message = dns.message.from_wire(wire)
    chain = message.resolve_chaining()  # type: ignore[attr-defined]
    return (chain.canonical_name, tuple(sorted(str(each).lower() for each in chain.answer or ())))


def changed(wire: bytes, chance: random.Random) -> bytes:
    octets = bytearray(wire)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        place = chance.randrange(2, len(octets))
        octets[place] = chance.choice((octets[place] ^ 1 << chance.randrange(8), chance.randrange(256), 0xC0, 0, 0xFF))
    if chance.random() < 0.1:
        del octets[chance.randrange(12, len(octets)) :]
    return bytes(octets)


@pytest.mark.parametrize(("name", "kind"), ASKED)
def test_no_changed_answer_is_authentic_unless_it_says_the_same(name: str, kind: str) -> None:
    query = dns.message.make_query(name, kind, want_dnssec=True)
    wire, chance, believed = SIGNED.answer(query).to_wire(), random.Random(name + kind), 0

    async def asks(asked: dns.name.Name, wanted: str) -> dns.message.QueryMessage:
        question = dns.message.make_query(asked, wanted, want_dnssec=True)
        answer = dns.message.from_wire(SIGNED.answer(question).to_wire())
        assert isinstance(answer, dns.message.QueryMessage)
        return answer

    async def scene() -> None:
        nonlocal believed
        clock = Clock(asyncio.get_running_loop(), NOW)
        context = Context("dns", EventStream(), clock, SeededRandomness(1), protections_off=frozenset(["dns-source"]))
        asking = Asking(context, NameServer("udp", "192.0.2.53", 53), validates=True)
        validator = Validator(clock, anchors_of(PARENT, "example.org"))
        assert await validator.is_authentic(await asks(query.question[0].name, kind), asks)
        for _ in range(500):
            other = changed(wire, chance)
            message = asking._read(query, other)
            if message is None:
                continue
            try:
                authentic = await validator.is_authentic(message, asks)
            except LookupFailed:
                continue
            if authentic:
                believed += 1
                assert said(other) == said(wire)

    asyncio.run(scene())
    assert believed  # changes of TTLs and of what nobody reads
