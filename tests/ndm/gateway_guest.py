"""Runs inside a Linux kernel that has ESP, as root: two gateways whose tunnel is the kernel's own. Prints one line of
JSON: what came through, and what was on the wire.
"""

import asyncio
import json
import socket
from pathlib import Path

from .hostile_wire import ENDS, ESP, operators, udp_packet
from .test_gateways import exchange
from .tunnels import Tunnels, tunnels, until

PORT, TEXT = 5060, b"OPTIONS in the clear"


def hears(net: Tunnels) -> bool:
    """Whether a packet from the wire itself, in the name of a's network, reaches b."""
    with net.hosts.udp("b", (ENDS["b"][1], PORT)) as ours:
        packet = udp_packet((ENDS["a"][1], PORT), (ENDS["b"][1], PORT), TEXT)
        net.hosts.wire.inject("b", net.hosts.frame("b", packet))
        try:
            return ours.recv(2000) == TEXT
        except TimeoutError:
            return False


async def leaks(net: Tunnels, text: bytes) -> bool:
    """Whether what a sends to b's network is to be read on the wire."""
    with net.hosts.udp("a", (ENDS["a"][1], PORT)) as ours:
        try:
            ours.sendto(text, (ENDS["b"][1], PORT))
        except OSError:  # the packet filter's answer to a sender on the same host, or the kernel's policy
            pass
    await asyncio.sleep(0.3)
    return net.hosts.wire.contains(text)


async def main() -> None:
    said: dict[str, object] = {}
    with operators() as hosts:
        async with tunnels(hosts, Path("/run"), user_space=False) as net:
            net.begin()
            await net.stand()
            said["came"] = exchange(hosts, 10)
            await asyncio.sleep(1.5)
            said["row"] = [net.a.row.encaps, net.a.row.verify, net.a.row.udp]
            said["esp"] = any(packet[9] == ESP for packet in hosts.wire.packets())
            said["clear"] = len(hosts.wire.clear())
            said["hears"] = hears(net)
            net.b.charon.kill()  # the kernel keeps what it was told
            await until(lambda: not net.b.stands, net.why)
            said["leaks after a kill"] = await leaks(net, b"after a kill")
    print(json.dumps(said))


socket.setdefaulttimeout(5.0)
asyncio.run(main())
