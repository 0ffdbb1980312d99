"""TCP and UDP inside ESP of transport mode over real interfaces, in network namespaces of this test. Needs root."""

import asyncio
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.namespaces import CLONE_NEWNET, LIBC, may_make_networks

from redoubt.gm.algorithms import Suite
from redoubt.gm.association_set import AssociationSet, Role
from redoubt.gm.raw_tcp import RawTcp
from redoubt.transport.flow import Clear, EspAssociation

from .ends import IMPU, End, Gm, flow_of
from .suites import CBC_SHA1, GCM

IPV4, IPV6 = ("10.96.0.1", "10.96.0.2"), ("fd96::1", "fd96::2")  # the P-CSCF's address and the phone's
ALL_PROTOCOLS, OUTGOING = 3, 4
ESP, ICMPV6 = 50, 58
SOON_S = 10.0
LARGE = 300_000


pytestmark = pytest.mark.skipif(not may_make_networks(), reason="needs root: network namespaces and TUN devices")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets and devices that are made now belong to that network; they stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert LIBC.setns(there, CLONE_NEWNET) == 0
        yield
    finally:
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


@pytest.fixture
def networks() -> Iterator[tuple[str, str]]:
    """Two hosts on one wire."""
    tag = secrets.token_hex(3)
    core, phone = f"core{tag}", f"phone{tag}"
    try:
        for command in (
            f"netns add {core}", f"netns add {phone}",
            f"link add gm0 netns {core} type veth peer name gm1 netns {phone}",
            f"-n {core} addr add {IPV4[0]}/24 dev gm0", f"-n {phone} addr add {IPV4[1]}/24 dev gm1",
            f"-n {core} addr add {IPV6[0]}/64 dev gm0 nodad", f"-n {phone} addr add {IPV6[1]}/64 dev gm1 nodad",
            f"-n {core} link set lo up", f"-n {phone} link set lo up",
            f"-n {core} link set gm0 up", f"-n {phone} link set gm1 up",
        ):  # fmt: skip
            subprocess.run(["ip", *command.split()], check=True)
        yield core, phone
    finally:
        for name in (core, phone):
            subprocess.run(["ip", "netns", "del", name], check=False)


class Wiretap:
    """What protocols crossed the wire between the hosts."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
        self._socket.bind(("gm0", 0))
        self._socket.setblocking(False)

    def protocols(self) -> set[int]:
        found = set[int]()
        while True:
            try:
                packet, (_, kind, *_) = self._socket.recvfrom(65_535)
            except BlockingIOError:
                return found
            if kind == 0x0800:
                found.add(packet[9])
            elif kind == 0x86DD and packet[6] not in (0, ICMPV6):  # 0: multicast listener reports
                found.add(packet[6])


class World:
    """A P-CSCF and one phone that share a set of associations, each with its own TCP."""

    def __init__(self, gm: Gm, core: RawTcp, phone: RawTcp, sets: tuple[AssociationSet, AssociationSet]) -> None:
        self.gm, self.core, self.phone = gm, core, phone
        self.theirs, self.mine = sets
        self.handset = gm.phones[self.mine.phone.key]
        self.heard: list[object] = []  # what protects each connection that the P-CSCF took

    @classmethod
    async def begin(
        cls, networks: tuple[str, str], addresses: tuple[str, str] = IPV4, suite: Suite = CBC_SHA1
    ) -> "World":
        here, there = addresses
        with inside(networks[0]):
            network = await End.open(Role.NETWORK, here, suite, 1, raw=True)
            core = RawTcp(network.tunnel, here, "gm-tcp")
        with inside(networks[1]):
            handset = await End.open(Role.PHONE, there, suite, 2, raw=True)
            phone = RawTcp(handset.tunnel, there, "gm-tcp")
        gm = Gm(network, 1, suite)
        return cls(gm, core, phone, gm.challenge(gm.adopt("alice", handset)))

    async def serve(self, network: str, stack: RawTcp, port: int) -> asyncio.Server:
        """Echoes."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            here, there = (writer.get_extra_info(name)[:2] for name in ("sockname", "peername"))
            self.heard.append(stack.security_of(here, there))
            while octets := await reader.read(65_536):
                writer.write(octets)
                await writer.drain()
            writer.close()

        with inside(network):
            listening = stack.listener(port)
        return await asyncio.start_server(accepted, sock=listening)

    def close(self) -> None:
        self.core.close()
        self.phone.close()
        self.gm.close()


async def echoed(network: str, stack: RawTcp, port: int, there: tuple[str, int], octets: int) -> int:
    """How many octets come back over a connection from this port."""
    async with asyncio.timeout(SOON_S):
        with inside(network):
            calling = asyncio.ensure_future(stack.call(port, there))
            await asyncio.sleep(0)  # the socket is made in this network
        reader, writer = await asyncio.open_connection(sock=await calling)
        writer.write(b"x" * octets)
        answer = await reader.readexactly(octets)
        writer.close()
        await writer.wait_closed()
    return len(answer)


@pytest.mark.parametrize(("addresses", "suite"), [(IPV4, CBC_SHA1), (IPV6, GCM)], ids=["ipv4", "ipv6"])
async def test_tcp_and_udp_share_a_set_both_ways_and_nothing_else_crosses_the_wire(
    networks: tuple[str, str], addresses: tuple[str, str], suite: Suite
) -> None:
    here, there = addresses
    world = await World.begin(networks, addresses, suite)
    mine, network = world.mine.agreement.phone, world.mine.agreement.network
    with inside(networks[0]):
        tap = Wiretap()
    servers = [
        await world.serve(networks[0], world.core, network.port_s),
        await world.serve(networks[1], world.phone, mine.port_s),
    ]
    try:
        flow_of(world.mine).send(b"REGISTER by UDP")
        to_core = await echoed(networks[1], world.phone, mine.port_c, (here, network.port_s), LARGE)
        assert world.gm.network.associations.registered(world.theirs, IMPU, 600)
        to_phone = await echoed(networks[0], world.core, network.port_c, (there, mine.port_s), LARGE)
        assert (to_core, to_phone) == (LARGE, LARGE)
        assert world.gm.network.messages == [b"REGISTER by UDP"]
        of_core, of_phone = EspAssociation(world.theirs.number, "alice"), EspAssociation(world.mine.number, "alice")
        assert world.heard == [of_core, of_phone]
        assert tap.protocols() == {ESP}
        assert world.gm.network.refused == world.handset.refused == []
    finally:
        for server in servers:
            server.close()
        world.close()


async def test_a_connection_beside_the_associations_reaches_nobody(networks: tuple[str, str]) -> None:
    """In the clear to a protected port, through the device from a port that no set has, and when the set has ended."""
    world = await World.begin(networks)
    mine, network = world.mine.agreement.phone, world.mine.agreement.network
    server = await world.serve(networks[0], world.core, network.port_s)
    try:
        with inside(networks[1]):
            clear = socket.create_connection
            with pytest.raises(ConnectionRefusedError):
                clear((IPV4[0], network.port_s), timeout=1)
        world.gm.network.associations.close()
        for port in (40_000, mine.port_c):
            with inside(networks[1]), pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await world.phone.call(port, (IPV4[0], network.port_s))
        assert world.heard == []
        assert world.phone.stray >= 1
        assert {reason.value for reason, _ in world.gm.network.refused} == {"association ended"}
        here, there = (IPV4[0], network.port_s), (IPV4[1], mine.port_c)
        assert world.core.security_of(here, there) == Clear()
    finally:
        server.close()
        world.close()


async def closed(networks: tuple[str, str]) -> None:
    (await World.begin(networks)).close()


def test_a_device_that_is_closed_is_gone(networks: tuple[str, str]) -> None:
    asyncio.run(closed(networks))
    found = subprocess.run(["ip", "-n", networks[0], "link", "show", "gm-tcp"], capture_output=True, text=True)
    assert "does not exist" in found.stderr


@pytest.mark.parametrize("strictness", ["0", "1", "2"])
def test_reverse_path_filters_of_the_host_let_phones_in(networks: tuple[str, str], strictness: str) -> None:
    setting = f"echo {strictness} > /proc/sys/net/ipv4/conf/all/rp_filter"
    subprocess.run(["ip", "netns", "exec", networks[0], "sh", "-c", setting], check=True)

    async def story() -> None:
        world = await World.begin(networks)
        ends = world.mine.agreement
        server = await world.serve(networks[0], world.core, ends.network.port_s)
        assert await echoed(networks[1], world.phone, ends.phone.port_c, (IPV4[0], ends.network.port_s), 10) == 10
        server.close()
        world.close()

    asyncio.run(story())
