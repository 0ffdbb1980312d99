"""One relayed stream: sockets towards both sides, whom each takes packets from, and when they pass (row 103).

Packets pass as they are: SRTP stays sealed. A leg takes them from the address that its side named in signalling, and
from nobody else; where a NAT stands between, from the first source at the host of the signalling that begins with a
packet of the stream, within a window, and then from that alone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from redoubt import limits
from redoubt.media.ports import Pair
from redoubt.media.rtp import NO_MEDIA, is_dtls, is_rtcp, is_rtp
from redoubt.transport.flow import Address
from redoubt.transport.media import MediaSocket, sockaddr


class Side(Enum):
    """Which of the relay's addresses a party sees."""

    INSIDE = "inside"  # this network
    OUTSIDE = "outside"  # partners, phones

    @property
    def other(self) -> "Side":
        return Side.OUTSIDE if self is Side.INSIDE else Side.INSIDE


@dataclass(frozen=True, slots=True)
class End:
    """What a description says of one stream of its side. `rtp` is None while it holds as RFC 2543 had it.

    `behind` is the host that the side's packets come from, where a NAT makes its own addresses mean nothing here.
    `payload_types` is empty where the stream is no RTP. `flows` says whether packets are to be expected both ways.
    """

    rtp: Address | None
    rtcp: Address | None  # None: on the port of RTP (RFC 5761), or none
    payload_types: frozenset[int]
    behind: str | None = None
    family: int = 4
    dtls: bool = False
    flows: bool = True


Alarm = Callable[[str, Address], None]  # why, and of whom: at most once a leg and cause


class Leg:
    """One socket of the relay."""

    __slots__ = (
        "_alarm", "_begins", "_behind", "_named", "_quota_told", "_stray_told", "_window_ends", "any_packet",
        "any_source", "foreign", "held",
        "octets", "packets", "passes", "quota", "socket", "source", "target", "twin",
    )  # fmt: skip

    def __init__(self, socket: MediaSocket, any_source: bool, any_packet: bool, alarm: Alarm) -> None:
        self.socket = socket
        self.any_packet = any_packet
        self.twin = self
        self.source: Any = None  # whose packets are taken
        self.target: Any = None  # where the twin's packets go
        self.passes = False  # whether what arrives here goes on
        self.any_source = any_source
        self.packets = self.octets = 0  # that went on
        self.foreign = 0  # of third parties
        self.held = 0  # that came before the answer, during hold, too long or too many
        self.quota = limits.MEDIA_PACKETS_PER_S  # `packets` may rise to this
        self._quota_told = self._stray_told = False
        self._alarm = alarm
        self._named: Address | None = None
        self._behind: str | None = None
        self._begins: Callable[[bytes], bool] = is_rtcp
        self._window_ends = 0.0
        socket.on_packet = self.received

    def received(self, packet: bytes, source: Any) -> None:
        """A packet: on it goes, if it is its turn."""
        if source != self.source and not self._admits(packet, source):
            return
        twin = self.twin
        if not self.passes or twin.target is None or len(packet) > limits.MEDIA_PACKET_OCTETS:
            self.held += 1
            return
        if not packet or (packet[0] in NO_MEDIA and not self.any_packet):
            self._no_media(source)
            return
        if self.packets >= self.quota:
            self._too_many(source)
            return
        self.packets += 1
        self.octets += len(packet)
        twin.socket.send(packet, twin.target)

    def expect(self, named: Address | None, behind: str | None, begins: Callable[[bytes], bool]) -> None:
        """A description: packets come from there and go there. Behind a NAT the first packet tells where."""
        if named is None:  # hold, as RFC 2543 had it: nothing goes there, music may come
            self.target = None
            return
        if behind is None:
            self.source = self.target = sockaddr(named)
        else:
            if (named, behind) != (self._named, self._behind):
                self.source = None
            self.target = self.source
            if self.source is None:  # said again, by a 2xx that is repeated: the phone may hear of it only now
                self._window_ends = asyncio.get_running_loop().time() + limits.MEDIA_LATCH_S
        self._named, self._behind, self._begins = named, behind, begins

    def forget(self) -> None:
        """The stream is not used: nothing comes and nothing goes."""
        self.source = self.target = self._named = self._behind = None

    def _admits(self, packet: bytes, source: Any) -> bool:
        if self.source is not None and source[:2] == self.source[:2]:  # IPv6, with a flow label
            return True
        if self._is_first_of(packet, source):
            self.source = self.target = sockaddr(source[:2])
            return True
        if self._named is None and not self.any_source:  # nobody is to be heard yet, and who will be is not known
            self.held += 1
            return False
        self.foreign += 1
        if self.foreign == 1:
            self._alarm("a packet came from an address that nobody named in signalling", source[:2])
        return self.any_source

    def _no_media(self, source: Any) -> None:
        """From here it would reach the other party's address with this host's name, which core nodes may trust."""
        self.held += 1
        if not self._stray_told:
            self._stray_told = True
            self._alarm("a packet that is no media, such as SIP, came to a port of a call", source[:2])

    def _too_many(self, source: Any) -> None:
        self.held += 1
        if not self._quota_told:
            self._quota_told = True
            self._alarm(f"more than {limits.MEDIA_PACKETS_PER_S} packets a second of one stream", source[:2])

    def _is_first_of(self, packet: bytes, source: Any) -> bool:
        """Behind a NAT: the first packet of the stream from the host of the signalling, soon after it."""
        return (
            self._behind is not None
            and self.source is None
            and source[0] == self._behind
            and asyncio.get_running_loop().time() < self._window_ends
            and self._begins(packet)
        )


class Stream:
    """The four legs of one m= line: RTP and RTCP towards either side."""

    def __init__(self, pairs: dict[Side, Pair], any_source: bool, any_packet: bool, alarm: Alarm) -> None:
        self.pairs = pairs
        self._ends: dict[Side, End] = {}
        self.legs = {
            side: (Leg(rtp, any_source, any_packet, alarm), Leg(rtcp, any_source, any_packet, alarm))
            for side, (rtp, rtcp) in pairs.items()
        }
        for here, there in zip(self.legs[Side.INSIDE], self.legs[Side.OUTSIDE], strict=True):
            here.twin, there.twin = there, here

    def local(self, side: Side) -> Address:
        """Where that side sends its RTP."""
        return self.pairs[side][0].local

    def settle(self, side: Side, end: End) -> None:
        """What that side said counts from now on."""
        self._ends[side] = end
        rtp, rtcp = self.legs[side]
        rtp.expect(end.rtp, end.behind, _beginning(end))
        rtcp.expect(end.rtcp, end.behind, is_rtcp)
        if end.rtcp is None and end.rtp is not None:
            rtcp.forget()

    def forget(self) -> None:
        """The stream was refused or ended."""
        self._ends.clear()
        for leg in self.all_legs():
            leg.forget()

    def gate(self, side: Side, passes: bool) -> None:
        """Whether what that side sends goes on."""
        for leg in self.legs[side]:
            leg.passes = passes

    def all_legs(self) -> list[Leg]:
        return [*self.legs[Side.INSIDE], *self.legs[Side.OUTSIDE]]

    @property
    def flows(self) -> bool:
        """Whether packets are to be expected both ways."""
        return bool(self._ends) and all(end.flows for end in self._ends.values())


def _beginning(end: End) -> Callable[[bytes], bool]:
    """What the first packet of a stream looks like."""
    if not end.payload_types:
        return bool
    if end.dtls:
        return lambda packet: is_dtls(packet) or is_rtp(packet, end.payload_types)
    return lambda packet: is_rtp(packet, end.payload_types)
