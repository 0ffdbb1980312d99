"""The packets inside the tunnel (TS 33.203 Annex M): IPv4 and IPv6 headers, UDP, checksums, fragments.

RFC 791, 768, 8200 and 1071. An inner packet above the tunnel's MTU is fragmented before ESP, so that no outer packet
is; SIP over UDP stays one datagram whatever its size.
"""

from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct

import msgspec

from redoubt.limits import IP_DATAGRAM_OCTETS, TUNNEL_MTU_OCTETS

IP_IN_IP = 4  # next header of ESP: an IPv4 packet
IPV6_IN_IP = 41
TCP = 6
UDP = 17
FRAGMENT = 44  # IPv6 fragment header (RFC 8200 4.5)
UDP_OCTETS = 8
HOP_LIMIT = 64
DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000

_IPV4 = Struct("!BBHHHBBH")
_IPV6 = Struct("!IHBB")
_UDP = Struct("!HHHH")
_FRAGMENT = Struct("!BBHI")


class MalformedPacket(Exception):
    """The octets are no packet of the kind that the tunnel carries; the message says why."""


class IpPacket(msgspec.Struct, frozen=True, gc=False):
    """An inner packet. `ends` is source and destination address, packed."""

    ends: bytes
    protocol: int
    payload: bytes
    identification: int = 0
    offset: int = 0  # in octets; of a fragment
    more: bool = False

    @property
    def is_fragment(self) -> bool:
        return self.more or self.offset > 0


def ones_complement(octets: bytes) -> int:
    """The ones' complement sum of RFC 1071: 2^16 is 1 modulo 2^16 - 1, so one remainder adds all words."""
    if len(octets) % 2:
        octets += b"\0"
    return int.from_bytes(octets, "big") % 0xFFFF


def packed(address: str) -> bytes:
    """4 or 16 octets. Raises ValueError."""
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except OSError:
        raise ValueError(f"{address!r} is no IP address") from None


def write_ip(ends: bytes, protocol: int, payload: bytes) -> bytes:
    """An unfragmented packet between two addresses of one family, packed."""
    if len(ends) == 32:
        return _IPV6.pack(0x60000000, len(payload), protocol, HOP_LIMIT) + ends + payload
    length = 20 + len(payload)
    total = 0x4500 + length + DONT_FRAGMENT + (HOP_LIMIT << 8 | protocol) + ones_complement(ends)
    checksum = 0xFFFF - total % 0xFFFF
    return _IPV4.pack(0x45, 0, length, 0, DONT_FRAGMENT, HOP_LIMIT, protocol, checksum) + ends + payload


def parse_ip(packet: bytes) -> IpPacket:
    """The inner packet of an ESP payload in tunnel mode; what follows its own length is padding (RFC 4303 2.7)."""
    if not packet:
        raise MalformedPacket("an empty packet")
    version = packet[0] >> 4
    if version == 4:
        return _parse_ipv4(packet)
    if version == 6:
        return _parse_ipv6(packet)
    raise MalformedPacket(f"IP version {version}")


def _parse_ipv4(packet: bytes) -> IpPacket:
    size = len(packet)
    if size < 20:
        raise MalformedPacket("an IPv4 header cut short")
    first, _, length, identification, fragment, _, protocol, _ = _IPV4.unpack_from(packet)
    header = (first & 15) * 4
    if header < 20 or not header <= length <= size:
        raise MalformedPacket("lengths of an IPv4 header that don't add up")
    if ones_complement(packet[:header]):
        raise MalformedPacket("a wrong IPv4 header checksum")
    more = bool(fragment & MORE_FRAGMENTS)
    return IpPacket(packet[12:20], protocol, packet[header:length], identification, (fragment & 0x1FFF) * 8, more)


def _parse_ipv6(packet: bytes) -> IpPacket:
    size = len(packet)
    if size < 40:
        raise MalformedPacket("an IPv6 header cut short")
    _, length, protocol, _ = _IPV6.unpack_from(packet)
    end = 40 + length
    if end > size:
        raise MalformedPacket("an IPv6 packet cut short")
    ends = packet[8:40]
    if protocol != FRAGMENT:
        return IpPacket(ends, protocol, packet[40:end])
    if length < 8:
        raise MalformedPacket("an IPv6 fragment header cut short")
    protocol, _, place, identification = _FRAGMENT.unpack_from(packet, 40)
    return IpPacket(ends, protocol, packet[48:end], identification, place & 0xFFF8, bool(place & 1))


def parse_udp(packet: IpPacket) -> tuple[bytes, bytes]:
    """Source and destination port as four octets, and what the datagram carries (RFC 768)."""
    datagram = packet.payload
    if packet.protocol != UDP or len(datagram) < UDP_OCTETS:
        raise MalformedPacket("no UDP datagram")
    _, _, length, checksum = _UDP.unpack_from(datagram)
    if length < UDP_OCTETS or length > len(datagram):
        raise MalformedPacket("a UDP length that doesn't add up")
    datagram = datagram[:length]
    if not checksum:
        if len(packet.ends) > 8:
            raise MalformedPacket("IPv6 UDP without a checksum")  # RFC 8200 8.1
    elif ones_complement(packet.ends + b"\0\x11" + datagram[4:6] + datagram):
        raise MalformedPacket("a wrong UDP checksum")
    return datagram[:4], datagram[8:]


class UdpEnvelope:
    """Makes the inner packets of one direction between two ports: headers are summed once. `ends` are the two addresses
    as packets that it makes have them, `back` as those of the other direction do.
    """

    __slots__ = ("_identification", "_is_ipv4", "_mtu", "_ports", "_sum", "back", "ends", "next_header")

    def __init__(self, source: tuple[str, int], target: tuple[str, int], mtu: int = TUNNEL_MTU_OCTETS) -> None:
        here, there = packed(source[0]), packed(target[0])
        self.ends, self.back = here + there, there + here
        if len(here) != len(there):
            raise ValueError(f"{source[0]} and {target[0]} are of different families")
        self._ports = source[1].to_bytes(2, "big") + target[1].to_bytes(2, "big")
        self._mtu = mtu
        self._identification = 0
        self._sum = ones_complement(self.ends)
        self._is_ipv4 = len(here) == 4
        self.next_header = IP_IN_IP if self._is_ipv4 else IPV6_IN_IP

    def wrap(self, payload: bytes) -> tuple[bytes, ...]:
        """The inner packets of one datagram. Raises ValueError for more than UDP carries."""
        datagram = self.datagram(payload)
        if len(datagram) + (20 if self._is_ipv4 else 40) > self._mtu:
            return self._fragments(datagram)
        return (self._ipv4(datagram, DONT_FRAGMENT) if self._is_ipv4 else self._ipv6(datagram),)

    def datagram(self, payload: bytes) -> bytes:
        """The UDP datagram alone, as transport mode carries it. Raises ValueError for more than UDP carries."""
        length = UDP_OCTETS + len(payload)
        if length > IP_DATAGRAM_OCTETS - 20:
            raise ValueError("more than one UDP datagram carries")
        size = length.to_bytes(2, "big")
        # Pseudo header and UDP header: protocol 17, the length twice (RFC 768).
        total = (self._sum + UDP + 2 * length + ones_complement(self._ports + payload)) % 0xFFFF
        return self._ports + size + (0xFFFF - total).to_bytes(2, "big") + payload

    def _ipv4(self, datagram: bytes, fragment: int, identification: int = 0) -> bytes:
        length = 20 + len(datagram)
        total = 0x4500 + length + identification + fragment + (HOP_LIMIT << 8 | UDP) + self._sum
        checksum = 0xFFFF - total % 0xFFFF
        return _IPV4.pack(0x45, 0, length, identification, fragment, HOP_LIMIT, UDP, checksum) + self.ends + datagram

    def _ipv6(self, datagram: bytes) -> bytes:
        return _IPV6.pack(0x60000000, len(datagram), UDP, HOP_LIMIT) + self.ends + datagram

    def _ipv6_fragment(self, piece: bytes, place: int, identification: int) -> bytes:
        header = _IPV6.pack(0x60000000, 8 + len(piece), FRAGMENT, HOP_LIMIT) + self.ends
        return header + _FRAGMENT.pack(UDP, 0, place, identification) + piece

    def _fragments(self, datagram: bytes) -> tuple[bytes, ...]:
        is_ipv4 = self._is_ipv4
        self._identification = identification = (self._identification + 1) & (0xFFFF if is_ipv4 else 0xFFFFFFFF)
        room = (self._mtu - (20 if is_ipv4 else 48)) & ~7
        pieces = []
        for start in range(0, len(datagram), room):
            piece = datagram[start : start + room]
            more = start + room < len(datagram)
            if is_ipv4:
                place = start >> 3 | (MORE_FRAGMENTS if more else 0)
                pieces.append(self._ipv4(piece, place, identification))
            else:
                pieces.append(self._ipv6_fragment(piece, start | more, identification))
        return tuple(pieces)
