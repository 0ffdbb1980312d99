"""TCP connections that lie about lengths, are slow, or are many: rows 91, 93 and 96, on a whole network."""

import asyncio
from pathlib import Path

import pytest

from redoubt import limits
from redoubt.events import Refused
from redoubt.sim import run

from .calls import pair, unharmed
from .home import home
from .stream import Stream

VECTORS = Path(__file__).parents[1] / "vectors"
TORTURE = [path for kind in ("4475", "5118") for path in sorted((VECTORS / f"sip-torture-rfc{kind}").glob("*.dat"))]


async def test_torture_messages_over_tcp_harm_nobody() -> None:
    """Rows 91 and 92: each on a connection of its own, in pieces."""
    async with home() as net:
        alice, bob = await pair(net)
        for path in TORTURE:
            stream = await net.stream("mallory")
            octets = path.read_bytes()
            for at in range(0, len(octets), 97):
                stream.send(octets[at : at + 97])
                await asyncio.sleep(0)
        await net.settled(0.2)
        await unharmed(net, alice, bob)


async def test_a_register_may_come_octet_by_octet() -> None:
    """Row 91: split at every octet."""
    async with home() as net:
        stream = await net.stream("alice")
        request = stream.register()
        for octet in request.to_bytes():
            stream.send(bytes([octet]))
            await stream.writer.drain()
            await asyncio.sleep(0)
        assert (await stream.final(request)).status == 401


async def test_a_phone_registers_and_is_called_over_tcp() -> None:
    async with home() as net:
        bob, alice = await net.registered("bob"), await net.stream("alice")
        assert (await alice.registers()).status == 200
        await unharmed(net, bob, alice)


def with_length(stream: Stream, text: str) -> bytes:
    """A REGISTER whose Content-Length says this."""
    return stream.register().to_bytes().replace(b"Content-Length: 0", f"Content-Length: {text}".encode())


@pytest.mark.parametrize(
    "length",
    ["-1", "x", "99999999999", "0\r\nContent-Length: 5", "5\r\nContent-Length: 0", "0, 0", "+0", "0x5", ""],
)
async def test_a_length_that_lies_is_400_and_ends_the_connection(length: str) -> None:
    """Row 93 (RFC 3261 18.3): nobody guesses where the next message begins."""
    async with home() as net:
        alice, bob = await pair(net)
        stream = await net.stream("carol")
        stream.send(with_length(stream, length) + stream.register().to_bytes())
        assert await stream.is_closed(1.0)
        assert await stream.statuses(0.0) in ([400], [413])
        assert net.events(Refused)
        await unharmed(net, alice, bob)


async def test_a_malformed_message_in_good_framing_is_400_and_the_connection_goes_on() -> None:
    """RFC 3261 18.3: whatever else is wrong, Content-Length says where the next message begins."""
    async with home() as net:
        stream = await net.stream("alice")
        wrong = stream.register().to_bytes().replace(b"CSeq: ", b"CSeq: x")
        last = stream.register()
        stream.send(wrong + last.to_bytes())
        assert (await stream.final(last)).status == 401
        assert await stream.statuses(0.1) == [400, 401] and not stream.unreadable
        assert not await stream.is_closed(0.1)


async def test_a_message_hidden_in_a_body_stays_a_body() -> None:
    """Row 93: pipelined smuggling. What Content-Length counts is a body; what follows is the next message."""
    async with home() as net:
        stream = await net.stream("alice")
        hidden = stream.register().to_bytes()
        outer = stream.register()
        outer.add("Content-Type", "message/sip")
        outer.body = hidden
        last = stream.register()
        stream.send(outer.to_bytes() + last.to_bytes())
        await stream.final(outer)
        await stream.final(last)
        assert len(stream.received) == 2


def test_slow_and_idle_connections_cost_the_registered_nothing() -> None:
    """Row 96, in virtual time: connections that say nothing are closed; a registered phone's stays."""

    async def main(_sim: object) -> None:
        async with home() as net:
            bob, alice = await net.registered("bob"), await net.stream("alice")
            assert (await alice.registers(expires="3600")).status == 200
            slow = [await net.stream("mallory", host="127.0.0.3") for _ in range(100)]
            for stream in slow:
                stream.send(b"REGISTER sip:x SIP/2.0\r\n")
            for _ in range(8):
                await asyncio.sleep(5)
                for stream in slow[:50]:
                    stream.send(b"X")  # an octet now and then is no message
            assert all([await stream.is_closed(1.0) for stream in slow])
            assert not await alice.is_closed(0.0)
            await unharmed(net, bob, alice)

    run(main, 1)


def test_one_address_opens_so_many_connections_and_no_more() -> None:
    """Row 96: by source; others are served."""

    async def main(_sim: object) -> None:
        async with home() as net:
            bob, alice = await net.registered("bob"), await net.stream("alice")
            assert (await alice.registers()).status == 200
            count = limits.STREAM_CONNECTIONS_PER_SOURCE + 20
            many = [await net.stream("mallory", host="127.0.0.3") for _ in range(count)]
            await asyncio.sleep(1)
            assert sum([await stream.is_closed(0.0) for stream in many]) == 20
            assert (await (await net.stream("carol", host="127.0.0.5")).challenged()).status == 401
            await unharmed(net, bob, alice)

    run(main, 1)


async def test_a_full_table_of_connections_keeps_the_registered() -> None:
    """Row 96: the total cap, made small here; strangers push out strangers, never a registered phone."""
    async with home() as net:
        bob, alice = await net.registered("bob"), await net.stream("alice")
        assert (await alice.registers()).status == 200
        net.network.stacks["p-cscf"].connections._total = 10
        for _ in range(30):
            (await net.stream("mallory", host="127.0.0.3")).send(
                b"\r\n\r\n"
            )  # a ping: alive, and heard later than Alice
            await net.settled(0.005)
        await net.settled(0.1)
        assert len(net.network.stacks["p-cscf"].connections) <= 10
        assert not await alice.is_closed(0.0)
        await unharmed(net, bob, alice)
