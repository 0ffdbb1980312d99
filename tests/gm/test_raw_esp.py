"""ESP as IP protocol 50 over real sockets of the loopback interface. Needs CAP_NET_RAW."""

import asyncio
import socket
import struct

import pytest

from redoubt.gm.association_set import Role
from redoubt.gm.esp import Drop
from redoubt.gm.packets import TCP
from redoubt.transport.flow import FlowFailed
from redoubt.transport.raw import ESP, RawEsp

from .ends import IMPU, End, Gm, flow_of
from .suites import CBC_SHA1

NETWORK, PHONE, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SOON_S = 5.0


def may_open_raw_sockets() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, ESP).close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not may_open_raw_sockets(), reason="needs CAP_NET_RAW")


async def until(count: int, end: End) -> None:
    async with asyncio.timeout(SOON_S):
        while len(end.inbox) < count:
            end.came.clear()
            await end.came.wait()


async def opened(network: str = NETWORK, phone: str = PHONE) -> tuple[Gm, End]:
    """A P-CSCF and one phone."""
    gm = Gm(await End.open(Role.NETWORK, network, CBC_SHA1, 1, raw=True), 1, CBC_SHA1)
    handset = await End.open(Role.PHONE, phone, CBC_SHA1, 2, raw=True)
    return gm, handset


@pytest.mark.parametrize(("network", "phone"), [(NETWORK, PHONE), ("::1", "::1")], ids=["ipv4", "ipv6"])
async def test_messages_of_any_size_cross_both_ways(network: str, phone: str) -> None:
    gm, handset = await opened(network, phone)
    key = gm.adopt("alice", handset)
    theirs, mine = gm.challenge(key)
    try:
        for number, size in enumerate((1, 500, 30_000), start=1):
            flow_of(mine).send(b"q" * size)
            await until(number, gm.network)
            flow_of(theirs).send(b"a" * size)
            await until(number, handset)
        assert [len(message) for message in gm.network.messages] == [1, 500, 30_000]
        assert [len(message) for message in handset.messages] == [1, 500, 30_000]
        assert gm.network.inbox[0][1] is theirs.flow
        assert gm.network.associations.registered(theirs, IMPU, 600)
    finally:
        gm.close()


async def test_another_address_is_not_the_phone_even_with_its_keys() -> None:
    gm, handset = await opened()
    elsewhere = RawEsp(ELSEWHERE, lambda _packet, _flow: None)
    _, mine = gm.challenge(gm.adopt("alice", handset))
    try:
        channel = handset.tunnel._channels[mine]
        channel.outer = elsewhere.flow_to((NETWORK, 0))
        flow_of(mine).send(b"from elsewhere")
        channel.outer = handset.tunnel._outside.flow_to((NETWORK, 0)) if handset.tunnel._outside else None
        flow_of(mine).send(b"from the phone")
        await until(1, gm.network)
        assert gm.network.messages == [b"from the phone"]
        assert gm.network.refused == [(Drop.SELECTOR, (ELSEWHERE, 0))]
    finally:
        elsewhere.close()
        gm.close()


async def test_valid_keys_carry_no_tcp_between_other_ports() -> None:
    gm, handset = await opened()
    _, mine = gm.challenge(gm.adopt("alice", handset))
    segments: list[bytes] = []
    gm.network.tunnel.segments = lambda _ends, segment: segments.append(segment)
    try:
        channel, ours, theirs = handset.tunnel._channels[mine], mine.agreement.phone, mine.agreement.network
        assert channel.outer is not None
        for ports in ((ours.port_c, 5060), (ours.port_s, theirs.port_s), (ours.port_c, theirs.port_s)):
            segment = struct.pack("!HH", *ports) + bytes(16)
            channel.outer.send(channel.outbound.seal(segment, TCP))
        flow_of(mine).send(b"and UDP")
        await until(1, gm.network)
        assert segments == [segment]
        assert gm.network.refused == [(Drop.SELECTOR, (PHONE, 0))] * 2
    finally:
        gm.close()


async def test_a_closed_socket_fails_the_flow() -> None:
    gm, handset = await opened()
    theirs, _ = gm.challenge(gm.adopt("alice", handset))
    gm.network.tunnel.close()
    with pytest.raises(FlowFailed):
        flow_of(theirs).send(b"INVITE")
    gm.close()
