"""What a tap on the virtual wire sees, and a trace made of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from redoubt.sim.addresses import Address


class Fate(Enum):
    """What the network decided to do with a packet."""

    DELIVERED = "delivered"
    DUPLICATED = "duplicated"
    ALTERED = "altered"
    LOST = "lost"
    PARTITIONED = "partitioned"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram, or one piece of a stream, as it leaves its sender; `flag` is SYN, FIN, RST or nothing.

    The payload of a "tls" packet is opaque: its length is all that an eavesdropper learns.
    """

    time_s: float
    transport: str
    source: Address
    target: Address
    payload: bytes
    fate: Fate = Fate.DELIVERED
    flag: str = ""

    def __str__(self) -> str:
        what = self.flag or f"{len(self.payload)} octets"
        return f"{self.time_s:.6f} {self.transport} {self.source} -> {self.target} {what} {self.fate.value}"


Tap = Callable[[Packet], None]
"""Sees every packet with its fate."""

Interceptor = Callable[[Packet], bytes | None]
"""Sits on the path: returns the payload to pass on, altered or not, or None to stop the packet."""


def opaque(payload: bytes) -> bytes:
    """A TLS record of that length as an outsider sees it (RFC 8446 5.2): type, version, length, nothing
    to read.
    """
    return b"\x17\x03\x03" + (len(payload) & 0xFFFF).to_bytes(2, "big") + bytes(len(payload))


class Trace:
    """A tap that keeps what it saw. Two runs of one seed have equal digests."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def __call__(self, packet: Packet) -> None:
        self.packets.append(packet)

    def digest(self) -> str:
        """SHA-256 over times, addresses, fates and octets, in order."""
        state = hashlib.sha256()
        for packet in self.packets:
            state.update(f"{packet}\n{packet.time_s.hex()}\n".encode())
            state.update(packet.payload)
        return state.hexdigest()

    def __str__(self) -> str:
        return "\n".join(str(packet) for packet in self.packets)
