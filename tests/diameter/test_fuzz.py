"""A node under octets that nobody would send: it answers or closes, and nothing breaks."""

import asyncio
import random

from redoubt.diameter import dictionary as d
from redoubt.events import Bug

from .nodes import HSS, SCSCF, Raw, cer, closed, cscf, hss, raw_lir, result
from .test_codec import mutated

MESSAGES = 10_000


async def test_a_node_survives_ten_thousand_mutated_messages() -> None:
    """From a peer that passed the capabilities exchange, which is the most that an attacker can reach."""
    chance = random.Random(29229)
    server, where = await hss("evil.ims.test", SCSCF)
    client = await cscf((HSS, where))
    sent = connections = 0
    while sent < MESSAGES:
        raw = await Raw.dial(where)
        raw.send(cer("evil.ims.test"))
        connections += 1
        while not raw.is_closed and sent < MESSAGES:
            seed = raw_lir(sent, "evil.ims.test") if chance.random() < 0.9 else cer("evil.ims.test")
            raw.send(mutated(bytearray(seed.to_bytes()), chance))
            sent += 1
            if sent % 20 == 0:
                await asyncio.sleep(0)
        raw.close()
        await raw.ended()
        await asyncio.sleep(0)
    assert connections > 10
    assert not server.of(Bug), server.of(Bug)[0].traceback
    assert await result(client) == 2001
    assert server.node.in_work == 0
    await closed(client, server)


async def test_messages_arrive_in_pieces_of_any_size() -> None:
    chance = random.Random(1)
    server, where = await hss(SCSCF)
    raw = await (await Raw.dial(where)).introduced()
    stream = b"".join(raw_lir(number).to_bytes() for number in range(200))
    while stream:
        size = chance.choice([1, 3, 4, 19, 20, 21, 300, 2000])
        raw.send(stream[:size])
        stream = stream[size:]
        await asyncio.sleep(0)
    answers = [await raw.next() for _ in range(200)]
    assert {answer.need(d.RESULT_CODE) for answer in answers} == {2001}
    assert [answer.hop_by_hop for answer in answers] == list(range(200))
    raw.close()
    await closed(server)


async def test_the_largest_message_in_single_octets_costs_little() -> None:
    """What is kept of an unfinished message is not copied for every piece."""
    server, where = await hss(SCSCF)
    raw = await (await Raw.dial(where)).introduced()
    message = raw_lir(1).add(d.USER_DATA, bytes(300_000))
    octets = message.to_bytes()
    for at in range(0, len(octets), 64):
        raw.send(octets[at : at + 64])
        if at % 4096 == 0:
            await asyncio.sleep(0)
    assert (await raw.next(10)).need(d.RESULT_CODE) == 2001
    raw.close()
    await closed(server)
