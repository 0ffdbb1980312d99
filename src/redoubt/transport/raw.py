"""ESP as IP protocol 50 (RFC 4303) through a raw socket, which needs CAP_NET_RAW: bytes to and from addresses.

The kernel adds and takes away IP headers, fragments what is sent and reassembles what comes.
"""

import asyncio
import socket
from collections import OrderedDict
from functools import partial

from redoubt.limits import UDP_FLOWS_REMEMBERED
from redoubt.transport.flow import Address, Clear, Flow, FlowFailed, Zone
from redoubt.transport.udp import OnDatagram

ESP = 50
PACKET_OCTETS = 65_535
READ_AT_ONCE = 64  # packets before others have their turn
BUFFER_OCTETS = 4 * 1024 * 1024
DONT_DISCOVER = 0  # IP_PMTUDISC_DONT, IPV6_PMTUDISC_DONT: the kernel may fragment what is sent
MTU_DISCOVER = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}


class RawEsp:
    """A raw socket bound to one of this host's addresses."""

    def __init__(self, host: str, receive: OnDatagram) -> None:
        """Raises OSError: PermissionError without CAP_NET_RAW."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.local: Address = (host, 0)
        self._receive = receive
        self._has_header = family == socket.AF_INET  # of IPv6, the kernel gives the payload alone (RFC 3542 3)
        self._flows: OrderedDict[str, Flow] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(family, socket.SOCK_RAW, ESP)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(*MTU_DISCOVER[family], DONT_DISCOVER)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
            self._socket.bind((host, 0))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def flow_to(self, address: Address) -> Flow:
        """The way to a host; ESP has no ports."""
        host = address[0]
        flow = self._flows.get(host)
        if flow is None:
            if len(self._flows) >= UDP_FLOWS_REMEMBERED:
                self._flows.popitem(last=False)
            send = partial(self._send, host)
            flow = Flow("esp", self.local, (host, 0), Zone.ACCESS, Clear(), send, self._is_closed)
            self._flows[host] = flow
        return flow

    def close(self) -> None:
        if not self._is_closed():
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _is_closed(self) -> bool:
        return self._socket.fileno() < 0

    def _send(self, host: str, data: bytes) -> None:
        try:
            self._socket.sendto(data, (host, 0))
        except OSError as error:
            raise FlowFailed(str(error)) from error

    def _readable(self) -> None:
        for _ in range(READ_AT_ONCE):
            try:
                packet, source = self._socket.recvfrom(PACKET_OCTETS)
            except OSError:  # nothing more, or an ICMP error, which names no association
                return
            if self._has_header:
                packet = packet[(packet[0] & 15) * 4 :]
            self._receive(packet, self.flow_to((source[0], 0)))
            if self._is_closed():
                return


def lacks_raw(here: str) -> str:
    """Why there can be no raw socket for ESP at an address, and what to do; empty when there can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in here else socket.AF_INET, socket.SOCK_RAW, ESP) as probe:
            probe.bind((here, 0))
    except PermissionError:
        return "it needs CAP_NET_RAW: run it as root, or with AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN in its unit"
    except OSError as error:
        return f"no raw socket at {here} ({error.strerror}): is it an address of this machine?"
    return ""
