"""What a network that demands IPsec does with SIP that nothing protects (TS 33.203 7.1, requirement row 33).

On the unprotected port REGISTER is served. All else is rejected there, as 7.1 allows beside discarding: a 403 with an
event helps whoever set up a phone wrongly, and costs no more than the request. On a protected port nothing unprotected
is heard at all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from redoubt.events import MessageSeen, Refused
from redoubt.gm.reports import PacketsRefused
from redoubt.sip.message import Response

from .client import Card, Client
from .handsets import Field, field

METHODS = ("INVITE", "BYE", "MESSAGE", "SUBSCRIBE", "NOTIFY", "OPTIONS", "UPDATE", "PRACK", "INFO", "REFER", "PUBLISH")


@asynccontextmanager
async def intruder(net: Field) -> AsyncIterator[Client]:
    """Somebody at a registered phone's address, who speaks in its name and without its associations."""
    client = await Client.open(Card.of("alice", net.network.config.network.realm), net.network.p_cscf_address)
    try:
        yield client
    finally:
        client.close()


async def test_every_request_but_register_is_403_with_an_event_and_reaches_nobody() -> None:
    async with field(tracing=True) as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        async with intruder(net) as clear:
            before = len([event for event in net.events(MessageSeen) if event.transport == "internal"])
            for method in METHODS:
                request = clear.make(method, bob.identity.impu)
                assert (await clear.ask(request)).status == 403, method
            inside = clear.make("BYE", bob.identity.impu, f"<{bob.identity.impu}>;tag=known")
            assert (await clear.ask(inside)).status == 403
            told = [(event.method, event.status) for event in net.events(Refused)]
            assert told == [(method, 403) for method in (*METHODS, "BYE")]
            assert len([e for e in net.events(MessageSeen) if e.transport == "internal"]) == before
        assert bob.messages == [] and bob.incoming.empty()
        assert (await alice.message(bob.identity.impu, "still protected")).status == 200


async def test_an_ack_and_a_response_in_the_clear_are_heard_by_nobody_and_not_answered() -> None:
    async with field() as net:
        await net.registered("bob")
        async with intruder(net) as clear:
            clear.send(clear.make("ACK", net.impu("bob")))
            answer = clear.make("INVITE", net.impu("bob")).response(200, to_tag="forged")
            assert isinstance(answer, Response)
            clear.send(answer)
            assert await clear.hears_nothing()


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "MESSAGE"])
async def test_sip_in_the_clear_to_the_port_of_esp_is_dropped_in_silence_and_told(method: str) -> None:
    async with field() as net:
        await net.registered("bob")
        async with intruder(net) as clear:
            request = clear.register() if method == "REGISTER" else clear.make(method, net.impu("bob"))
            clear.send(request, net.network.tunnel_address)
            assert await clear.hears_nothing()
            assert [event.reason for event in net.events(PacketsRefused)] == ["unknown SPI"]


async def test_nothing_in_the_clear_is_heard_at_a_protected_port() -> None:
    async with field() as net:
        await net.registered("bob")
        host = net.network.p_cscf_address[0]
        async with intruder(net) as clear:
            for port in net.network.config.gm.server_ports:
                clear.send(clear.make("MESSAGE", net.impu("bob")), (host, port))
            assert await clear.hears_nothing()
            assert not net.events(Refused)
            for port in net.network.config.gm.server_ports:
                with pytest.raises(OSError):
                    await asyncio.open_connection(host, port)
