"""A DHCP server for labs that says where SIP servers are, and gives no addresses (RFC 3361, RFC 3319)."""

import asyncio
import socket
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Self, cast

from redoubt.phone import dhcp
from redoubt.phone.dhcp import SipServers
from redoubt.transport.flow import Address


class LabDhcp(asyncio.DatagramProtocol):
    """Answers DHCPINFORM and INFORMATION-REQUEST, at the port that they came from."""

    def __init__(self, says: SipServers) -> None:
        self.says = says
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, says: SipServers, host: str = "127.0.0.1", port: int = 0, device: str = "") -> Self:
        """With a device, it hears what phones there send to all servers of IPv6 (RFC 8415 7.1). Raises OSError."""
        server = cls(says)
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: server, local_addr=(host, port), allow_broadcast=":" not in host
        )
        if device and server._transport is not None:
            index = socket.if_nametoindex(device).to_bytes(4, sys.byteorder)
            group = IPv6Address(dhcp.RELAYS_AND_SERVERS).packed + index
            opened: socket.socket = server._transport.get_extra_info("socket")
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        return server

    @property
    def address(self) -> Address:
        assert self._transport is not None
        return cast(Address, self._transport.get_extra_info("sockname")[:2])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: Any) -> None:
        if ":" in str(source[0]):
            answer = _reply_v6(data, self.says)
        else:
            answer = _reply_v4(data, self.says)
        if answer is not None and self._transport is not None:
            self.asked += 1
            self._transport.sendto(answer, source)


def _reply_v4(question: bytes, says: SipServers) -> bytes | None:
    """DHCPACK to a DHCPINFORM (RFC 2131 4.3.5)."""
    options = dhcp.options_v4(question)
    if options.get(dhcp.MESSAGE_TYPE) != bytes((dhcp.INFORM,)):
        return None
    if says.addresses:
        value = b"\1" + b"".join(IPv4Address(each).packed for each in says.addresses)
    else:
        value = b"\0" + b"".join(map(_labels, says.names))
    header = bytes((dhcp.REPLY, 1, 6, 0)) + question[4:16]
    told = bytes((dhcp.MESSAGE_TYPE, 1, dhcp.ACK, dhcp.SIP_SERVERS, len(value))) + value + bytes((dhcp.END,))
    return header.ljust(dhcp.HEADER_OCTETS, b"\0") + dhcp.COOKIE + told


def _reply_v6(question: bytes, says: SipServers) -> bytes | None:
    """Reply to an INFORMATION-REQUEST (RFC 8415 18.3.6)."""
    if question[:1] != bytes((dhcp.INFORMATION_REQUEST,)):
        return None
    told = bytes((dhcp.INFORMATION_REPLY,)) + question[1:4]
    if says.names:
        told += dhcp.option_v6(dhcp.SIP_NAMES_V6, b"".join(map(_labels, says.names)))
    if says.addresses:
        packed = b"".join(IPv6Address(each).packed for each in says.addresses)
        told += dhcp.option_v6(dhcp.SIP_ADDRESSES_V6, packed)
    return told


def _labels(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split(".")) + b"\0"
