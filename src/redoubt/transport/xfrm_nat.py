"""Phones behind NATs and the kernel's ESP (RFC 3948): the socket that lets ESP in UDP in, and where phones are."""

import socket
import struct
from dataclasses import dataclass

from redoubt.transport.xfrm_entries import ESP_IN_UDP, NETLINK_XFRM

UDP_ENCAP = 100  # the socket option (linux/udp.h)
MAPPINGS = 1 << 7  # the group of XFRMNLGRP_MAPPING
MAPPING = 0x26  # XFRM_MSG_MAPPING
_HEADER = struct.Struct("=IHHII")
_MAPPING = struct.Struct("=16s4sHxxI16s16s2s2s")


@dataclass(frozen=True, slots=True)
class Moved:
    """An authentic packet of a state came from another address or port than before."""

    spi: int
    address: str
    port: int


def esp_in_udp(host: str, port: int) -> socket.socket:
    """A socket out of which the kernel takes ESP (RFC 3948). Nobody needs to read the rest. Raises OSError."""
    encapsulating = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        encapsulating.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, ESP_IN_UDP)
        encapsulating.bind((host, port))
    except OSError:
        encapsulating.close()
        raise
    return encapsulating


class Mappings:
    """Hears where the phones behind NATs are, as the kernel learns it from authentic packets."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
        self._socket.setblocking(False)
        self._socket.bind((0, MAPPINGS))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[Moved]:
        """What is new; never waits."""
        found: list[Moved] = []
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return found
            except OSError:  # more came than the socket holds: the next packet of each phone tells again
                continue
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == MAPPING and length >= _HEADER.size + _MAPPING.size:
                _, spi, family, _, _, new, _, port = _MAPPING.unpack_from(data, _HEADER.size)
                address = socket.inet_ntop(family, new if family == socket.AF_INET6 else new[:4])
                found.append(Moved(int.from_bytes(spi, "big"), address, int.from_bytes(port, "big")))
