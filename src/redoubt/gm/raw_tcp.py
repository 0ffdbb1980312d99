"""TCP inside ESP of transport mode, without the kernel's ESP (TS 33.203 7.1: UDP and TCP share the associations).

This host's own TCP does the work. Its segments cross a TUN device, where they become ESP packets of the set that has
both ends' addresses and ports; what no set has leads nowhere. The sockets are bound to the device, so that a connection
in the clear finds nobody at a protected port.
"""

import asyncio
import socket

from redoubt.gm.packets import TCP, MalformedPacket, parse_ip, write_ip
from redoubt.gm.user_space import UserSpacePath
from redoubt.limits import TUN_MTU_OCTETS
from redoubt.transport.flow import Address, Security
from redoubt.transport.tun import Tun


class RawTcp:
    """Beside a `UserSpacePath` in transport mode, from before its first set on."""

    def __init__(self, path: UserSpacePath, here: str, device: str) -> None:
        """Makes the TUN device. Raises OSError: PermissionError without CAP_NET_ADMIN."""
        self._path = path
        self._here = here
        self._tun = Tun(device, TUN_MTU_OCTETS, self._leaving)
        self.stray = 0
        path.segments = self._came

    def listener(self, port: int) -> socket.socket:
        """For `create_server`, at a protected port. Raises OSError."""
        return self._tun.listener(self._here, port)

    async def call(self, port: int, there: Address) -> socket.socket:
        """A connection from a protected port, for `create_connection`. Raises OSError."""
        calling = self._tun.caller(self._here, port)
        try:
            await asyncio.get_running_loop().sock_connect(calling, there)
        except OSError:
            calling.close()
            raise
        return calling

    def security_of(self, here: Address, there: Address) -> Security:
        """What protects a connection between these ends."""
        return self._path.security_of(here, there)

    def close(self) -> None:
        self._path.segments = None
        self._tun.close()

    def _came(self, ends: bytes, segment: bytes) -> None:
        """Authentic, and between the ports of its association."""
        self._tun.write(write_ip(ends, TCP, segment))

    def _leaving(self, packet: bytes) -> None:
        """Of this host's stack, which speaks more than TCP on any device (such as IPv6's discovery)."""
        try:
            parsed = parse_ip(packet)
        except MalformedPacket:
            parsed = None
        if parsed is None or parsed.protocol != TCP or not self._path.send_segment(parsed.ends, parsed.payload):
            self.stray += 1
