"""A TUN device of Linux: IP packets of this host's own stack, to and from a process. Needs CAP_NET_ADMIN.

Whose TCP runs through it binds its sockets to the device: then what comes by any other interface never reaches them,
and what they send leaves by it alone, without a rule or a route of the operator's being touched. The device is gone
with its process.
"""

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_UP = 0x0001, 0x1000, 0x0001
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFMTU = 0x8913, 0x8914, 0x8916, 0x8922
DUMMY = "192.0.0.8"  # for who needs an address and has none (RFC 7600 4.8)
RTM_NEWROUTE, REQUEST, ACK, CREATE = 24, 0x1, 0x4, 0x400
RTA_OIF, RTA_PRIORITY = 4, 6
TABLE_MAIN, PROTOCOL_STATIC, SCOPE_UNIVERSE, UNICAST = 254, 4, 0, 1
LAST_CHOICE = 0xFFFF_FFFE  # of routes: only who is bound to the device finds it
NAME_OCTETS = 15
PACKET_OCTETS = 65_535
READ_AT_ONCE = 64  # packets before others have their turn

OnPacket = Callable[[bytes], None]


class Tun:
    """The device, up."""

    def __init__(self, name: str, mtu_octets: int, receive: OnPacket) -> None:
        """Makes the device; of a name with %d the kernel makes one that is free. Raises OSError: PermissionError
        without CAP_NET_ADMIN.
        """
        if not 0 < len(name.encode()) <= NAME_OCTETS:
            raise OSError(f"{name!r} is no name for a device: 15 octets at most")
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        up = False
        try:
            asked = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
            self.name = fcntl.ioctl(self._device, TUNSETIFF, asked)[:16].rstrip(b"\0").decode()
            self._set_up(mtu_octets)
            up = True
        finally:
            if not up:
                os.close(self._device)
        self._loop.add_reader(self._device, self._readable)

    def write(self, packet: bytes) -> None:
        """For this host's stack, as if it had come by the device. A full queue loses it, as any wire does."""
        if self._device >= 0:
            try:
                os.write(self._device, packet)
            except OSError:  # full, or no packet: the peer's TCP repeats or gives up
                return

    def close(self) -> None:
        """The device and its routes are gone with it."""
        if self._device >= 0:
            self._loop.remove_reader(self._device)
            os.close(self._device)
            self._device = -1

    # ---- inside

    def _set_up(self, mtu_octets: int) -> None:
        name = self.name.encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si20x", name, mtu_octets))
            address = struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(DUMMY))
            fcntl.ioctl(control, SIOCSIFADDR, address)
            flags = struct.unpack_from("16xH", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", name, 0)))[0]
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))
        # Phones are routed elsewhere (RFC 3704 2.4). Linux looks so far only where the device has an address.
        loose = Path(f"/proc/sys/net/ipv4/conf/{self.name}/rp_filter")
        if loose.exists():
            loose.write_text("2")
        if socket.has_ipv6 and Path(f"/proc/sys/net/ipv6/conf/{self.name}").exists():
            self._route_ipv6()

    def _route_ipv6(self) -> None:
        """IPv4 takes every address to be behind the device for who is bound to it; IPv6 wants a route."""
        index = socket.if_nametoindex(self.name)
        body = struct.pack(
            "=8BI", socket.AF_INET6, 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, SCOPE_UNIVERSE, UNICAST, 0
        ) + struct.pack("=HHIHHI", 8, RTA_OIF, index, 8, RTA_PRIORITY, LAST_CHOICE)
        message = struct.pack("=IHHII", 16 + len(body), RTM_NEWROUTE, REQUEST | ACK | CREATE, 1, 0) + body
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.bind((0, 0))
            netlink.send(message)
            code = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
        if code:
            raise OSError(-code, f"{os.strerror(-code)}: an IPv6 route to {self.name}")

    def _readable(self) -> None:
        for _ in range(READ_AT_ONCE):
            try:
                packet = os.read(self._device, PACKET_OCTETS)
            except OSError:  # nothing more
                return
            self._receive(packet)
            if self._device < 0:
                return
