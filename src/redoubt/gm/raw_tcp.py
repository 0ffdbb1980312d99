"""TCP inside ESP of transport mode, without the kernel's ESP (TS 33.203 7.1: UDP and TCP share the associations).

This host's own TCP does the work. Its segments cross a TUN device, where they become ESP packets of the set that has
both ends' addresses and ports; what no set has leads nowhere. The sockets are bound to the device, so that a connection
in the clear finds nobody at a protected port.
"""

import socket

from redoubt.gm.packets import TCP, MalformedPacket, parse_ip, write_ip
from redoubt.gm.user_space import UserSpacePath
from redoubt.limits import TUN_MTU_OCTETS
from redoubt.transport.flow import Address, Security
from redoubt.transport.ports import call, listener
from redoubt.transport.tun import Tun

DEVICE = "redoubt%d"  # the kernel puts a number there


class RawTcp:
    """Beside a `UserSpacePath` in transport mode. Its device is made when a socket is first wanted."""

    def __init__(self, path: UserSpacePath, here: str, device: str = DEVICE) -> None:
        self._path = path
        self._here = here
        self._name = device
        self._tun: Tun | None = None
        self.stray = 0
        path.segments = self._came

    def listener(self, port: int) -> socket.socket:
        """For `create_server`, at a protected port. Raises OSError: PermissionError without CAP_NET_ADMIN."""
        return listener(self._here, port, self._device().name)

    async def call(self, port: int, there: Address) -> socket.socket:
        """A connection from a protected port, for `create_connection`. Raises OSError."""
        return await call(self._here, port, there, self._device().name)

    def security_of(self, here: Address, there: Address) -> Security:
        """What protects a connection between these ends."""
        return self._path.security_of(here, there)

    def close(self) -> None:
        if self._tun is not None:
            self._tun.close()
            self._tun = None

    def _device(self) -> Tun:
        if self._tun is None:
            self._tun = Tun(self._name, TUN_MTU_OCTETS, self._leaving)
        return self._tun

    def _came(self, ends: bytes, segment: bytes) -> None:
        """Authentic, and between the ports of its association."""
        if self._tun is not None:
            self._tun.write(write_ip(ends, TCP, segment))

    def _leaving(self, packet: bytes) -> None:
        """Of this host's stack, which speaks more than TCP on any device (such as IPv6's discovery)."""
        try:
            parsed = parse_ip(packet)
        except MalformedPacket:
            parsed = None
        if parsed is None or parsed.protocol != TCP or not self._path.send_segment(parsed.ends, parsed.payload):
            self.stray += 1
