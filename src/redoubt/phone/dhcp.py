"""What a phone asks DHCP: where SIP servers are (RFC 3361 for IPv4, RFC 3319 for IPv6), and nothing else.

Whoever is on the link may answer. So what comes is a hint of where to knock; who opens must prove itself.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

from redoubt import limits
from redoubt.sources import Randomness
from redoubt.transport.flow import Address

BROADCAST, RELAYS_AND_SERVERS = "255.255.255.255", "ff02::1:2"
PORTS, PORTS_V6 = (68, 67), (546, 547)  # of clients and servers
AFTER_S = (1.0, 2.0)  # repetitions, and how long the last is waited for
COOKIE = bytes((99, 130, 83, 99))
HEADER_OCTETS = 236  # before the cookie and the options (RFC 2131 2)
REQUEST, REPLY = 1, 2  # op
INFORM, ACK = 8, 5  # option 53
PAD, END, OVERLOAD, MESSAGE_TYPE, SERVERS_WANTED, SIP_SERVERS = 0, 255, 52, 53, 55, 120
INFORMATION_REQUEST, INFORMATION_REPLY = 11, 7  # RFC 8415 7.3
ORO, ELAPSED, SIP_NAMES_V6, SIP_ADDRESSES_V6 = 6, 8, 21, 22


@dataclass(frozen=True, slots=True)
class SipServers:
    """What an answer said."""

    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


async def ask(
    randomness: Randomness, own: str, server: Address | None = None, own_port: int | None = None
) -> SipServers | None:
    """The first answer on the link of this phone's address `own`, for IPv6 with its device: 2001:db8::1%eth0. None if
    nobody answers. Raises OSError where the port is taken, or this user may not have it.
    """
    loop, is_v6 = asyncio.get_running_loop(), ":" in own
    ports = PORTS_V6 if is_v6 else PORTS
    host, _, device = own.partition("%")
    there = server or (f"{RELAYS_AND_SERVERS}%{device}" if is_v6 else BROADCAST, ports[1])
    here = own if device and IPv6Address(host).is_link_local else host  # a scope is for those alone
    identifier = randomness.octets(3 if is_v6 else 4)
    waiting = _Answers(identifier, is_v6, loop.create_future())
    transport, _ = await loop.create_datagram_endpoint(
        lambda: waiting, local_addr=(here, ports[0] if own_port is None else own_port), allow_broadcast=not is_v6
    )
    question = information_request(identifier) if is_v6 else inform(identifier, own)
    try:
        for patience_s in AFTER_S:
            transport.sendto(question, there)
            try:
                async with asyncio.timeout(patience_s):
                    return cast(SipServers, await asyncio.shield(waiting.answer))
            except TimeoutError:
                continue
        return None
    finally:
        transport.close()
        waiting.answer.cancel()


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, identifier: bytes, is_v6: bool, answer: "asyncio.Future[SipServers]") -> None:
        self._identifier = identifier
        self._is_v6 = is_v6
        self.answer = answer

    def datagram_received(self, data: bytes, _source: Any) -> None:
        found = servers_v6(data, self._identifier) if self._is_v6 else servers_v4(data, self._identifier)
        if found is not None and not self.answer.done():
            self.answer.set_result(found)


# ---- IPv4


def inform(identifier: bytes, own: str) -> bytes:
    """DHCPINFORM of a phone that has an address (RFC 2131 3.4), asking for option 120 alone."""
    header = bytes((REQUEST, 1, 6, 0)) + identifier + bytes(4) + IPv4Address(own).packed
    options = bytes((MESSAGE_TYPE, 1, INFORM, SERVERS_WANTED, 1, SIP_SERVERS, END))
    return header.ljust(HEADER_OCTETS, b"\0") + COOKIE + options


def servers_v4(message: bytes, identifier: bytes) -> SipServers | None:
    """What a DHCPACK with that identifier says of SIP servers (RFC 3361); None for anything else."""
    options = options_v4(message)
    if message[:1] != bytes((REPLY,)) or message[4:8] != identifier or options.get(MESSAGE_TYPE) != bytes((ACK,)):
        return None
    value = options.get(SIP_SERVERS, b"")
    if value[:1] == b"\1" and len(value) % 4 == 1:
        packed = [value[place : place + 4] for place in range(1, len(value), 4)]
        return SipServers(tuple(str(IPv4Address(each)) for each in packed[: limits.DISCOVERED]))
    return SipServers(names=_names(value[1:]) if value[:1] == b"\0" else ())


def options_v4(message: bytes) -> dict[int, bytes]:
    """Options by code, pieces of one joined (RFC 3396); with those that the fields before them hold (RFC 2132 9.3)."""
    if message[HEADER_OCTETS : HEADER_OCTETS + 4] != COOKIE:
        return {}
    found: dict[int, bytes] = {}
    for code, value in _each_v4(message[HEADER_OCTETS + 4 :]):
        found[code] = found.get(code, b"") + value
    overloaded = found.get(OVERLOAD, b"\0")[:1]
    fields = {b"\1": (message[108:236],), b"\2": (message[44:108],), b"\3": (message[108:236], message[44:108])}
    for field in fields.get(overloaded, ()):
        for code, value in _each_v4(field):
            found[code] = found.get(code, b"") + value
    return found


def _each_v4(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(octets) and octets[at] != END:
        if octets[at] == PAD:
            at += 1
            continue
        length = octets[at + 1] if at + 1 < len(octets) else 0
        value = octets[at + 2 : at + 2 + length]
        if len(value) < length or at + 1 >= len(octets):
            return
        yield octets[at], value
        at += 2 + length


# ---- IPv6


def information_request(identifier: bytes) -> bytes:
    """RFC 8415 18.2.6, asking for options 21 and 22 (RFC 3319)."""
    wanted = SIP_NAMES_V6.to_bytes(2, "big") + SIP_ADDRESSES_V6.to_bytes(2, "big")
    return bytes((INFORMATION_REQUEST,)) + identifier + option_v6(ELAPSED, bytes(2)) + option_v6(ORO, wanted)


def servers_v6(message: bytes, identifier: bytes) -> SipServers | None:
    """What a Reply with that identifier says of SIP servers; None for anything else."""
    if message[:1] != bytes((INFORMATION_REPLY,)) or message[1:4] != identifier:
        return None
    addresses: list[str] = []
    names: tuple[str, ...] = ()
    at = 4
    while at + 4 <= len(message):
        code, length = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        value = message[at + 4 : at + 4 + length]
        if len(value) < length:
            break
        if code == SIP_ADDRESSES_V6 and length % 16 == 0:
            addresses += [str(IPv6Address(value[place : place + 16])) for place in range(0, length, 16)]
        elif code == SIP_NAMES_V6:
            names += _names(value)
        at += 4 + length
    return SipServers(tuple(addresses[: limits.DISCOVERED]), names[: limits.DISCOVERED])


def option_v6(code: int, value: bytes) -> bytes:
    return code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


# ---- names


def _names(octets: bytes) -> tuple[str, ...]:
    """Domain names as labels, without compression (RFC 1035 3.1, RFC 3361 3.1); none if one is malformed."""
    names: list[str] = []
    labels: list[str] = []
    at = 0
    while at < len(octets) and len(names) < limits.DISCOVERED:
        length = octets[at]
        label = octets[at + 1 : at + 1 + length]
        if length > 63 or len(label) < length or not _is_label(label):
            return ()
        at += 1 + length
        if length:
            labels.append(label.decode("ascii").lower())
        elif labels:
            names.append(".".join(labels))
            labels = []
    return () if labels else tuple(names)


def _is_label(label: bytes) -> bool:
    return all(octet in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_" for octet in label)
