"""SIP messages as a capture file that Wireshark reads: pcapng with raw IP packets, as if all had gone in the clear.

draft-ietf-opsawg-pcapng. Addresses and ports are those that the messages had; what carried them (ESP, TLS, a call
inside one process) is the interface on which a packet stands.
"""

import ipaddress
from struct import Struct, pack

from redoubt.gm.packets import TCP, UDP, UdpEnvelope, ones_complement, packed, write_ip
from redoubt.transport.flow import Address

RAW_IP = 101  # LINKTYPE_RAW
INTERFACES = {
    "udp": "as it was on the wire", "tcp": "as it was on the wire", "tls": "inside TLS", "esp": "inside ESP",
    "internal": "between functions of one process, never on a wire",
}  # fmt: skip
LARGEST_DATAGRAM = 65_000
SEGMENT_OCTETS = 60_000  # of a stream: an IP packet holds no more than 65,535
PUSH_ACK = 0x18
CONNECTIONS_FOLLOWED = 65_536  # directions of them; a longer trace begins the oldest anew

_TCP = Struct("!HHIIBBHHH")
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
COMMENT, APPLICATION, NAME, DESCRIPTION = 1, 4, 2, 3


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return pack("<II", kind, length) + body + pack("<I", length)


def _option(code: int, text: str) -> bytes:
    octets = text.encode("utf-8", "replace")
    return pack("<HH", code, len(octets)) + _padded(octets)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)


END_OF_OPTIONS = bytes(4)


class MessageCapture:
    """Turns messages into blocks of one file. Streams keep their sequence numbers, so that Wireshark follows them."""

    def __init__(self) -> None:
        self._sent: dict[tuple[Address, Address], int] = {}

    @staticmethod
    def head() -> bytes:
        """What the file begins with."""
        section = pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(APPLICATION, "redoubt trace") + END_OF_OPTIONS
        interfaces = [
            pack("<HHI", RAW_IP, 0, 0) + _option(NAME, name) + _option(DESCRIPTION, what) + END_OF_OPTIONS
            for name, what in INTERFACES.items()
        ]
        return _block(SECTION, section) + b"".join(_block(INTERFACE, body) for body in interfaces)

    def add(self, at: float, carrier: str, source: Address, target: Address, octets: bytes, comment: str) -> bytes:
        """One message, sent at this wall-clock time. Raises ValueError when an address is none."""
        source, target = _of_one_family(source, target)
        is_stream = carrier in ("tcp", "tls") or (carrier == "esp" and _says_tcp(octets))
        if is_stream or len(octets) > LARGEST_DATAGRAM:
            packets = self._segments(source, target, octets)
        else:
            ends = packed(source[0]) + packed(target[0])
            packets = [write_ip(ends, UDP, UdpEnvelope(source, target).datagram(octets))]
        return b"".join(_packet(at, carrier, packet, comment) for packet in packets)

    def _segments(self, source: Address, target: Address, octets: bytes) -> list[bytes]:
        here, there = self._sent.get((source, target), 1), self._sent.get((target, source), 1)
        ends = packed(source[0]) + packed(target[0])
        packets = []
        for start in range(0, len(octets), SEGMENT_OCTETS):
            piece = octets[start : start + SEGMENT_OCTETS]
            head = _TCP.pack(source[1], target[1], here, there, 5 << 4, PUSH_ACK, 0xFFFF, 0, 0)
            total = 0xFFFF - ones_complement(ends + pack("!HH", TCP, len(head) + len(piece)) + head + piece)
            packets.append(write_ip(ends, TCP, head[:16] + total.to_bytes(2, "big") + head[18:] + piece))
            here = (here + len(piece)) & 0xFFFFFFFF
        self._sent[source, target] = here
        if len(self._sent) > CONNECTIONS_FOLLOWED:
            del self._sent[next(iter(self._sent))]
        return packets


def _packet(at: float, carrier: str, packet: bytes, comment: str) -> bytes:
    when = int(at * 1e6)
    number = list(INTERFACES).index(carrier)
    fixed = pack("<IIIII", number, when >> 32, when & 0xFFFFFFFF, len(packet), len(packet))
    return _block(PACKET, fixed + _padded(packet) + _option(COMMENT, comment) + END_OF_OPTIONS)


def _says_tcp(octets: bytes) -> bool:
    """Whether the topmost Via says that the message goes, or its request came, over TCP."""
    for line in octets.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"via", b"v"):
            return value.split()[:1] == [b"SIP/2.0/TCP"]
    return False


def _of_one_family(source: Address, target: Address) -> tuple[Address, Address]:
    """Functions of one process may listen at addresses of different families."""
    if (":" in source[0]) == (":" in target[0]):
        return source, target
    return (_as_ipv6(source[0]), source[1]), (_as_ipv6(target[0]), target[1])


def _as_ipv6(host: str) -> str:
    return host if ":" in host else str(ipaddress.IPv6Address(f"::ffff:{ipaddress.IPv4Address(host)}"))
