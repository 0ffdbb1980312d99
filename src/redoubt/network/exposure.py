"""Tries what can be reached from where, and says what should not be (TS 33.203 Annex J).

At each port of the configuration a request is sent that no function passes on (OPTIONS with Max-Forwards 0); from
outside the core once more from a core node's address. What comes back tells half; the other half the functions say
themselves: their events name each request that they refused or answered, by its Call-ID.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from redoubt.config import Config
from redoubt.network.openings import EVERYWHERE, Audience, Opening, openings
from redoubt.network.vantage import Vantage
from redoubt.sources import Randomness

WAIT_S = 0.4  # for an answer, or a connection
AT_ONCE = 256
ICMP_WORDS = 10
# TCP ports at which something often listens that nobody thinks of.
USUAL_PORTS = (
    21, 22, 23, 25, 53, 80, 110, 111, 139, 143, 443, 445, 502, 873, 1883, 2049, 2375, 3000, 3306, 3389, 3868, 4500,
    5000, 5060, 5061, 5432, 5672, 5900, 6379, 8000, 8080, 8088, 8443, 9000, 9090, 9100, 9200, 11_211, 27_017,
)  # fmt: skip
ALL_PORTS = tuple(range(1, 65_536))


class Reach(Enum):
    """How far a try came."""

    SILENT = "nothing came back"
    CLOSED = "the host answers, nothing listens"
    CONNECTED = "a connection is accepted"
    REFUSED = "it arrives, and the function refuses it"
    SERVED = "it is served"


@dataclass(frozen=True, slots=True)
class Finding:
    """One try."""

    vantage: Vantage
    opening: Opening
    spoofed: str  # the core node's address that it was sent from
    reach: Reach
    detail: str = ""

    @property
    def is_meant(self) -> bool:
        """Whether who stands there is meant to reach that."""
        if self.vantage.zone is Audience.ALL or self.opening.to in (Audience.ALL, Audience.ACCESS):
            return True  # phones may be anywhere
        return self.opening.to is self.vantage.zone and not self.spoofed

    @property
    def is_exposed(self) -> bool:
        return not self.is_meant and self.reach is not Reach.SILENT


# Of each Call-ID, the status that a function says it was answered with (0: dropped), and why.
Told = Callable[[], Awaitable[dict[str, tuple[int, str]]]]


class Exposure:
    """A round of tries. Raises ConfigError where a vantage point can't be taken."""

    def __init__(self, config: Config, vantages: Sequence[Vantage], told: Told, randomness: Randomness) -> None:
        self._config = config
        self._vantages = vantages
        self._told = told
        self._randomness = randomness
        self._enough = asyncio.Semaphore(AT_ONCE)

    async def findings(self, ports: Iterable[int] = USUAL_PORTS) -> list[Finding]:
        """Of all openings, then of other TCP ports at the same addresses that are open."""
        tries = [self._try(vantage, each, "") for vantage in self._vantages for each in self._opened()]
        tries += [self._try(vantage, each, node) for vantage, each, node in self._spoofs()]
        found = await asyncio.gather(*tries)
        told = await self._told()
        judged = [_judged(finding, call_id, told) for call_id, finding in found]
        return judged + await self._others(tuple(ports))

    def _opened(self) -> list[Opening]:
        """At addresses; one that listens everywhere is tried at those that others name."""
        listed = openings(self._config)
        hosts = list(dict.fromkeys(each.host for each in listed if not each.is_everywhere))
        return [
            Opening(each.function, each.transport, host, each.ports, each.to)
            for each in listed
            for host in (hosts if each.is_everywhere else [each.host])
            if not each.is_everywhere or (":" in host) == (each.host == EVERYWHERE[1])
        ]

    def _spoofs(self) -> Iterable[tuple[Vantage, Opening, str]]:
        """Annex J: phones and partners in the name of a core node."""
        nodes = [node for node in self._config.network.trusted_nodes if not ip_address(node).is_loopback]
        for vantage in self._vantages:
            if vantage.zone not in (Audience.ACCESS, Audience.BORDER):
                continue
            for each in self._opened():
                same = (node for node in nodes if ip_address(node).version == 4 == ip_address(each.host).version)
                node = next((node for node in same if node != each.host), "")
                if each.to is Audience.CORE and each.transport == "udp" and node:
                    yield vantage, each, node

    async def _try(self, vantage: Vantage, each: Opening, spoofed: str) -> tuple[str, Finding]:
        call_id = f"exposure-{self._randomness.octets(8).hex()}"
        request = _options(each, call_id, spoofed)
        async with self._enough:
            if spoofed:
                reach = _sends_as(vantage, each, spoofed, request)
            elif each.carrier == "udp":
                reach = await _asks(vantage, each, request)
            else:
                reach = await _connects(vantage, each, request if each.transport == "tcp" else b"")
        return call_id, Finding(vantage, each, spoofed, reach)

    async def _others(self, ports: Sequence[int]) -> list[Finding]:
        """TCP ports that no function of this network listens at: nobody outside is meant to reach them."""
        outside = [each for each in self._vantages if each.zone in (Audience.ACCESS, Audience.BORDER)]
        own = {(each.host, each.ports[0]) for each in self._opened()}
        hosts = dict.fromkeys(host for host, _ in own)
        tries = [
            self._try(vantage, Opening("other", "tcp", host, (port, port), Audience.CORE), "")
            for vantage in outside
            for host in hosts
            for port in ports
            if (host, port) not in own
        ]
        return [finding for _, finding in await asyncio.gather(*tries) if finding.reach is Reach.CONNECTED]


def _judged(finding: Finding, call_id: str, told: dict[str, tuple[int, str]]) -> Finding:
    """With what the function said of it."""
    if call_id not in told:
        return finding
    status, why = told[call_id]
    reach = Reach.SERVED if status else Reach.REFUSED
    return Finding(finding.vantage, finding.opening, finding.spoofed, reach, why)


def _options(each: Opening, call_id: str, source: str) -> bytes:
    host = f"[{each.host}]" if ":" in each.host else each.host
    here, transport = source or "exposure.invalid", each.carrier.upper()
    lines = (
        f"OPTIONS sip:{host}:{each.ports[0]} SIP/2.0",
        f"Via: SIP/2.0/{transport} {here};branch=z9hG4bK{call_id};rport",
        "Max-Forwards: 0",
        f"From: <sip:exposure@{here}>;tag={call_id[-8:]}",
        f"To: <sip:{host}>",
        f"Call-ID: {call_id}",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    )
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


async def _asks(vantage: Vantage, each: Opening, request: bytes) -> Reach:
    loop = asyncio.get_running_loop()
    with vantage.socket(socket.SOCK_DGRAM, each.host) as made:
        try:
            made.connect((each.host, each.ports[0]))
            await loop.sock_sendall(made, request)
            async with asyncio.timeout(WAIT_S):
                await loop.sock_recv(made, 4096)
        except TimeoutError:
            return Reach.SILENT
        except ConnectionRefusedError:  # ICMP: port unreachable
            return Reach.CLOSED
        except OSError:  # no way there
            return Reach.SILENT
    return Reach.SERVED


async def _connects(vantage: Vantage, each: Opening, request: bytes) -> Reach:
    loop = asyncio.get_running_loop()
    with vantage.socket(socket.SOCK_STREAM, each.host) as made:
        try:
            async with asyncio.timeout(WAIT_S):
                await loop.sock_connect(made, (each.host, each.ports[0]))
        except ConnectionRefusedError:
            return Reach.CLOSED
        except (TimeoutError, OSError):
            return Reach.SILENT
        if each.function in ("hss", "other") or not request:
            return Reach.CONNECTED
        try:
            async with asyncio.timeout(WAIT_S):
                await loop.sock_sendall(made, request)
                return Reach.SERVED if await loop.sock_recv(made, 4096) else Reach.CONNECTED
        except (TimeoutError, OSError):
            return Reach.CONNECTED


def _sends_as(vantage: Vantage, each: Opening, source: str, request: bytes) -> Reach:
    """What becomes of it only the function can tell: an answer would go to the node in whose name it is."""
    with vantage.socket(socket.SOCK_RAW, each.host, socket.IPPROTO_RAW) as made:
        ends = socket.inet_aton(source) + socket.inet_aton(each.host)
        header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(request), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
        datagram = struct.pack("!HHHH", 5060, each.ports[0], 8 + len(request), 0) + request
        try:
            made.sendto(header + datagram, (each.host, 0))  # the kernel writes the header's checksum
        except OSError:  # no way there
            pass
    return Reach.SILENT
