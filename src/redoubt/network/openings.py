"""What a network opens, and to whom: the one list that the packet filter and the check of exposure follow.

TS 33.203 Annex J: phones reach the P-CSCF and nothing else of the network, core nodes are reached by core nodes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from redoubt.config import Config
from redoubt.transport.listen import is_loopback

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - it is looked for


class Audience(Enum):
    """Who is meant to reach it."""

    ACCESS = "access"  # phones
    BORDER = "border"  # partners
    CORE = "core"  # this network's other nodes
    ALL = "all"  # media: addresses of both ends are learnt from signalling


@dataclass(frozen=True, slots=True)
class Opening:
    """A port, or a range of them, at an address of this network."""

    function: str
    transport: str  # udp, tcp, tls, sctp
    host: str
    ports: tuple[int, int]
    to: Audience

    @property
    def carrier(self) -> str:
        """The protocol above IP."""
        return "tcp" if self.transport == "tls" else self.transport

    @property
    def is_everywhere(self) -> bool:
        return self.host in EVERYWHERE

    def __str__(self) -> str:
        host, (first, last) = f"[{self.host}]" if ":" in self.host else self.host, self.ports
        return f"{self.transport}:{host}:{first}" + (f"-{last}" if last != first else "")


def openings(config: Config) -> list[Opening]:
    """Of the whole network, wherever its functions run; without those that only this machine reaches."""
    found = [*_signalling(config), *_media(config)]
    return [each for each in dict.fromkeys(found) if each.ports[0] and not is_loopback(each.host)]


def _signalling(config: Config) -> Iterator[Opening]:
    yield from _each("p-cscf", config.p_cscf.listen, Audience.ACCESS)
    yield from _each("p-cscf", config.gm.listen, Audience.ACCESS)
    yield from _each("p-cscf", config.p_cscf.core, Audience.CORE)
    yield from _each("i-cscf", config.i_cscf.listen, Audience.CORE)
    yield from _each("s-cscf", config.s_cscf.listen, Audience.CORE)
    yield from _each("bgcf", config.bgcf.listen, Audience.CORE)
    yield from _each("ibcf", config.ibcf.listen, Audience.BORDER)
    if config.ibcf.listen:
        yield from _each("ibcf", config.ibcf.core, Audience.CORE)
    yield from _each("hss", config.hss.diameter, Audience.CORE)
    if config.hss.rest:
        _, _, place = config.hss.rest.partition(":")
        yield from _each("hss", [f"tcp:{place}"], Audience.CORE)


def _media(config: Config) -> Iterator[Opening]:
    for host in (*config.media.inside, *config.media.outside):
        yield Opening("media", "udp", host, config.media.ports, Audience.ALL)


def _each(function: str, listens: Iterable[str], to: Audience) -> Iterator[Opening]:
    for listen in listens:
        transport, _, place = listen.partition(":")
        host, _, port = place.rpartition(":")
        yield Opening(function, transport, host.strip("[]"), (int(port), int(port)), to)
