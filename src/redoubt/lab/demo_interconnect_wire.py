"""Who has the wire between two operators, and what it learns there: `redoubt demo interconnect` shows it.

Without root the wire is a relay on a loopback address of its own, which each side takes for the other's; with root it
is the Internet, a network namespace through which all packets go, and every packet on each operator's link is taken.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from redoubt.transport.flow import Address

ICMP, TCP, UDP, ESP, ETHERNET = 1, 6, 17, 50, 14
CHUNK = 65_536
IDENTITY = re.compile(rb"(?:sip:)?([a-z]+@[a-z]+\.example)\b")
NODE = re.compile(rb"\b(?:[pis]|bg)cscf\.[a-z]+\.example\b|\bibcf\.[a-z]+\.example\b")
KEYS = re.compile(rb'\b[ci]k="[0-9a-f]{32}"')
BORDER = b"ibcf."  # the one node that others are meant to know


@dataclass(slots=True)
class Link:
    """Between two places: all octets that were on it, connection by connection."""

    name: str
    streams: dict[object, bytearray] = field(default_factory=dict)
    packets: dict[str, int] = field(default_factory=dict)  # by protocol, where packets are seen
    _taps: list["Tap"] = field(default_factory=list)

    def take(self, stream: object, data: bytes) -> None:
        self.streams.setdefault(stream, bytearray()).extend(data)

    async def tap(self, here: str, there: Address) -> Address:
        """A relay at an address of the link's that leads to another; where to reach it."""
        made = await Tap.between(self, here, there)
        self._taps.append(made)
        return made.address

    def forget(self) -> None:
        self.streams.clear()
        self.packets.clear()

    def close(self) -> None:
        for tap in self._taps:
            tap.close()
        self._taps.clear()

    def findings(self) -> "Findings":
        """What somebody learns who reads along."""
        octets = b"\n".join(bytes(stream) for stream in self.streams.values())
        return Findings(
            self.name, len(octets), octets.count(b"SIP/2.0\r\n") + octets.count(b"\r\nSIP/2.0 "),
            tuple(sorted({one.decode() for one in IDENTITY.findall(octets)})),
            tuple(sorted({one.decode() for one in NODE.findall(octets) if not one.startswith(BORDER)})),
            len(KEYS.findall(octets)), dict(self.packets),
        )  # fmt: skip

    def sample(self, octets: int) -> bytes:
        """The beginning of what was said first, after a handshake."""
        longest = max(self.streams.values(), key=len, default=bytearray())
        return bytes(longest[-octets:])

    def line_with(self, word: bytes) -> str:
        """The first line in the clear that has a word in it."""
        for stream in self.streams.values():
            at = stream.find(word)
            if at >= 0:
                start, end = stream.rfind(b"\r\n", 0, at) + 2, stream.find(b"\r\n", at)
                return bytes(stream[start:end]).decode("utf-8", "replace")
        return ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one link. `keys` are CK and IK of phones' associations; `nodes` leaves out borders."""

    link: str
    octets: int
    messages: int
    identities: tuple[str, ...]
    nodes: tuple[str, ...]
    keys: int
    packets: dict[str, int]

    @property
    def is_silent(self) -> bool:
        """Something was there, and nothing of it could be read."""
        return bool(self.octets) and not (self.messages or self.identities or self.nodes or self.keys)


class Tap:
    """A relay of TCP connections that keeps what passes."""

    def __init__(self, link: Link, here: str, there: Address) -> None:
        self.address: Address = (here, 0)
        self._link = link
        self._there = there
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def between(cls, link: Link, here: str, there: Address) -> Self:
        made = cls(link, here, there)
        made._server = await asyncio.start_server(made._taken, here, 0)
        made.address = made._server.sockets[0].getsockname()[:2]
        return made

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):
            onward = await asyncio.open_connection(*self._there, local_addr=(self.address[0], 0))
            await asyncio.gather(self._carry(reader, onward[1]), self._carry(onward[0], writer))
        writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = object()
        try:
            while data := await reader.read(CHUNK):
                self._link.take(way, data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


class Capture:
    """Every packet on a network device, into a link; its socket was opened where the device is."""

    def __init__(self, link: Link, device: socket.socket) -> None:
        self._link = link
        self._device = device
        self._next: dict[object, int] = {}  # the next octet of a TCP stream
        device.setblocking(False)
        asyncio.get_running_loop().add_reader(device, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._device)
        self._device.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._packet(self._device.recv(CHUNK)[ETHERNET:])

    def _packet(self, packet: bytes) -> None:
        if not packet or packet[0] >> 4 != 4:
            return
        protocol, body = packet[9], packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4], "big")]
        name = {ICMP: "ICMP", TCP: "TCP", UDP: "UDP", ESP: "ESP"}.get(protocol, "other")
        stream = (name, packet[12:20], body[:4] if protocol in (TCP, UDP) else b"")
        if name == "UDP" and body[:4] in (b"\x11\x94\x11\x94", b"\x01\xf4\x01\xf4"):  # 4500, 500
            name = "IKE" if body[:2] == b"\x01\xf4" or body[8:12] == bytes(4) else "ESP"
        self._link.packets[name] = self._link.packets.get(name, 0) + 1
        if protocol == TCP:
            body = self._unrepeated(stream, body)
        self._link.take(stream, body[8:] if protocol == UDP else body)

    def _unrepeated(self, stream: object, segment: bytes) -> bytes:
        """The octets of a segment that are new."""
        sequence, data = struct.unpack("!I", segment[4:8])[0], segment[(segment[12] >> 4) * 4 :]
        if segment[13] & 2:
            self._next[stream] = sequence + 1 & 0xFFFFFFFF
            return b""
        seen = (self._next.get(stream, sequence) - sequence) & 0xFFFFFFFF
        fresh = data[seen:] if seen < 1 << 31 else data
        self._next[stream] = (sequence + max(len(data), seen if seen < 1 << 31 else 0)) & 0xFFFFFFFF
        return fresh


def beside(octets: bytes, width: int = 16, rows: int = 4) -> Iterator[str]:
    """Octets as an eavesdropper sees them: hexadecimal, and what of them is text."""
    for at in range(0, min(len(octets), width * rows), width):
        row = octets[at : at + width]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
        yield f"{row.hex(' ', 2):<{width * 5 // 2}}{text}"


def joined(names: Iterable[str], most: int = 4) -> str:
    """A few of them, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more if found else "none"
