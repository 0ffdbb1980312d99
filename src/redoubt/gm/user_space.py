"""ESP of association sets in this process, over a socket that carries its packets: in UDP or as IP protocol 50.

Both ends use it. The negotiated ports exist inside the associations only. In the tunnel (TS 33.203 Annex M), where a
phone's packets come from is learned from the newest authentic one, never from anything else, so that a NAT may rebind
and a forger may not; in transport mode the phone's address is part of what the association is for (TS 33.203 7.1).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from redoubt.gm.agreement import Ends
from redoubt.gm.association_set import WAITS_FOR_MESSAGE, AssociationSet, EndsTaken, PathFailed, Role, Usage
from redoubt.gm.esp import Drop, InboundAssociation, OutboundAssociation, ReplayWindow, SequenceExhausted
from redoubt.gm.fragments import Reassembler
from redoubt.gm.ledger import RECEIVED_CLIENT, RECEIVED_SERVER, SENT, SENT_CLIENT
from redoubt.gm.packets import (
    IP_IN_IP,
    IPV6_IN_IP,
    TCP,
    UDP,
    IpPacket,
    MalformedPacket,
    UdpEnvelope,
    packed,
    parse_ip,
    parse_udp,
)
from redoubt.gm.transforms import transform
from redoubt.limits import ENDED_SPIS_REMEMBERED
from redoubt.sources import Randomness
from redoubt.transport.flow import Address, Clear, EspAssociation, Flow, FlowFailed, Security, Zone
from redoubt.transport.udp import OnDatagram

KEEPALIVE = b"\xff"  # RFC 3948 2.3
KEEPALIVE_S = 20.0  # RFC 3948 4
SPI_OCTETS = 4
TUNNEL = (IP_IN_IP, IPV6_IN_IP)

Segments = Callable[[bytes, bytes], None]
"""Takes the TCP segments that came: source and destination address, packed, and the segment."""

Refused = Callable[[Drop, int, Address], None]
"""Hears of each packet that led to nothing: why, its SPI, where it came from."""


@dataclass(slots=True)
class Discards:
    """What came to the socket and belonged to no association, or was not what its association is for."""

    keepalives: int = 0
    not_esp: int = 0  # the non-ESP marker: IKE, which nobody speaks here (RFC 3948 2.2)
    unknown_spi: int = 0
    selector: int = 0
    malformed: int = 0


class Wrapping(Enum):
    """What an ESP packet carries."""

    TUNNEL = "IP packets"
    TRANSPORT = "UDP datagrams between the outer addresses"


class Outside(Protocol):
    """The socket that carries ESP packets."""

    @property
    def local(self) -> Address: ...

    def flow_to(self, address: Address) -> Flow: ...

    def close(self) -> None: ...


class _Channel:
    """One association set on this path, until it is removed; what goes out by it."""

    __slots__ = (
        "_path", "backward", "envelope", "flow", "idle", "inlets", "keepalive", "outbound", "outer", "owner",
        "segment_ways",
    )  # fmt: skip

    def __init__(
        self, path: "UserSpacePath", owner: AssociationSet, envelope: UdpEnvelope, outbound: OutboundAssociation
    ) -> None:
        self._path = path
        self.owner = owner
        self.envelope = envelope
        self.outbound = outbound
        self.backward: OutboundAssociation | None = None  # from our server port to their client port; TCP's alone
        self.segment_ways: tuple[bytes, ...] = ()
        self.outer: Flow | None = None
        self.flow: Flow | None = None
        self.inlets: list[_Inlet] = []
        self.idle = True
        self.keepalive: asyncio.TimerHandle | None = None

    def is_closed(self) -> bool:
        return self.flow is None

    def send(self, data: bytes) -> None:
        """A datagram in one packet, or in the tunnel as many as it needs. Raises FlowFailed."""
        outer, envelope, seal = self.outer, self.envelope, self.outbound.seal
        if self.flow is None:
            raise FlowFailed("the association set has ended")
        if outer is None:
            raise FlowFailed("the phone has sent nothing yet: where it is, is not known")
        self.idle = False
        try:
            if not self._path.in_tunnel:
                outer.send(seal(envelope.datagram(data), UDP))
                return
            for packet in envelope.wrap(data):
                outer.send(seal(packet, envelope.next_header))
        except SequenceExhausted:
            self._path.exhausted(self.owner)
            raise FlowFailed("the association's sequence numbers are used up") from None
        except ValueError as error:
            raise FlowFailed(str(error)) from error


def _ports(source: int, target: int) -> bytes:
    return source.to_bytes(2, "big") + target.to_bytes(2, "big")


class _Inlet:
    """One inbound association, and the inner addresses and ports that it is for (RFC 4301 5.2)."""

    __slots__ = ("association", "channel", "ends", "ports")

    def __init__(self, association: InboundAssociation, channel: _Channel, ends: bytes, ports: tuple[int, int]) -> None:
        self.association = association
        self.channel = channel
        self.ends = ends
        self.ports = _ports(*ports)


Keeper = Callable[[AssociationSet], None]
"""The keeper of association sets, told that an authentic packet came, or that sequence numbers are used up."""


def keep_nothing(_set: AssociationSet) -> None:
    """Nobody listens yet."""


def unheard(_reason: Drop, _spi: int, _source: Address) -> None:
    """Nobody listens."""


def _leads_nowhere(_ends: bytes, _segment: bytes) -> None:
    """No TCP is here: whoever calls hears nothing."""


class UserSpacePath:
    """A `Path` whose ESP runs here. `received` and `exhausted` are for the association sets' keeper.

    `here` is this end's address inside, `port` that of a phone's network outside (0 where there are none).
    """

    def __init__(
        self, role: Role, wrapping: Wrapping, here: str, port: int, randomness: Randomness, receive: OnDatagram
    ) -> None:
        self._role = role
        self.in_tunnel = wrapping is Wrapping.TUNNEL
        self._here = here
        self._port = port
        self._randomness = randomness
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._outside: Outside | None = None
        self._inlets: dict[int, _Inlet] = {}
        self._channels: dict[AssociationSet, _Channel] = {}
        self._segment_ways: dict[bytes, tuple[_Channel, OutboundAssociation]] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._source: Address = ("", 0)
        self.fragments = Reassembler()
        self.discards = Discards()
        self.received: Keeper = keep_nothing
        self.exhausted: Keeper = keep_nothing
        self.refused: Refused = unheard
        self.segments: Segments = _leads_nowhere

    def attach(self, outside: Outside) -> None:
        """The socket, whose packets go to `arrived`."""
        self._outside = outside

    @property
    def local(self) -> Address:
        """The outer socket's address."""
        return self._outside.local if self._outside is not None else ("", 0)

    def close(self) -> None:
        if self._outside is not None:
            self._outside.close()

    # ---- Path

    def install(self, association_set: AssociationSet) -> Flow:
        """Both directions are ready; in the tunnel, a phone's first packet tells where it is. Raises PathFailed."""
        agreement = association_set.agreement
        if self._role is Role.NETWORK:
            mine, theirs, there = agreement.network, agreement.phone, association_set.inner
        else:
            mine, theirs, there = agreement.phone, agreement.network, association_set.address
        try:
            envelope = UdpEnvelope((self._here, mine.port_c), (there, theirs.port_s))
        except ValueError as error:
            raise PathFailed(f"no tunnel between {self._here} and {there}: {error}") from error
        cipher = transform(agreement.suite, association_set.keys, self._randomness)
        slot = association_set.slot
        outbound = OutboundAssociation(theirs.spi_s, cipher, slot.start(SENT), (slot.words, slot.at + SENT))
        channel = _Channel(self, association_set, envelope, outbound)
        for spi, ports, word in (
            (mine.spi_s, (theirs.port_c, mine.port_s), RECEIVED_SERVER),
            (mine.spi_c, (theirs.port_s, mine.port_c), RECEIVED_CLIENT),
        ):
            if spi in self._inlets:
                raise PathFailed(f"SPI {spi} is in use")
            window = ReplayWindow(highest=slot.start(word))
            inbound = InboundAssociation(spi, cipher, window, self._refuse, (slot.words, slot.at + word))
            channel.inlets.append(_Inlet(inbound, channel, envelope.back, ports))
        if not self.in_tunnel:
            backward = OutboundAssociation(
                theirs.spi_c, cipher, slot.start(SENT_CLIENT), (slot.words, slot.at + SENT_CLIENT)
            )
            self._take_segments(channel, envelope.ends, mine, theirs, backward)
        channel.flow = Flow(
            "udp", (self._here, mine.port_s), (there, theirs.port_s), Zone.ACCESS,
            EspAssociation(association_set.number, association_set.phone.key.impi),
            channel.send, channel.is_closed, kept=True,
        )  # fmt: skip
        for inlet in channel.inlets:
            self._inlets[inlet.association.spi] = inlet
        self._channels[association_set] = channel
        is_phone = self._role is Role.PHONE
        where = (association_set.address, self._port) if is_phone or not self.in_tunnel else slot.where
        if self._outside is not None and where is not None:
            channel.outer = self._outside.flow_to(where)
        if is_phone and self.in_tunnel:
            channel.keepalive = self._loop.call_later(KEEPALIVE_S, self._keep_alive, channel)
        return channel.flow

    def remove(self, association_set: AssociationSet) -> None:
        channel = self._channels.pop(association_set)
        for inlet in channel.inlets:
            del self._inlets[inlet.association.spi]
            self._ended[inlet.association.spi] = None
        for way in channel.segment_ways:
            if self._segment_ways[way][0] is channel:
                del self._segment_ways[way]
        while len(self._ended) > ENDED_SPIS_REMEMBERED:
            self._ended.popitem(last=False)
        channel.inlets, channel.flow, channel.outer = [], None, None
        if channel.keepalive is not None:
            channel.keepalive.cancel()
        self.fragments.forget(association_set.number)

    def usage(self, association_set: AssociationSet) -> Usage:
        channel = self._channels[association_set]
        outward = [channel.outbound] if channel.backward is None else [channel.outbound, channel.backward]
        sent, came = [each.traffic for each in outward], [inlet.association.traffic for inlet in channel.inlets]
        return Usage(
            sum(each.packets for each in sent), sum(each.octets for each in sent),
            sum(each.packets for each in came), sum(each.octets for each in came),
            sum(each.replayed for each in came), sum(each.bad_tags for each in came),
        )  # fmt: skip

    # ---- TCP

    def _take_segments(
        self, channel: _Channel, ends: bytes, mine: Ends, theirs: Ends, backward: OutboundAssociation
    ) -> None:
        """Which of our segments goes by which association. Two sets must not have the same ends: the one's connection
        would go on in the other. A phone that is given such ends learns that the network has ended the older set.
        """
        called, calling = ends + _ports(mine.port_s, theirs.port_c), ends + _ports(mine.port_c, theirs.port_s)
        if self._role is Role.NETWORK and not self._segment_ways.keys().isdisjoint((called, calling)):
            raise EndsTaken(f"another set has ports {mine.port_s} and {theirs.port_c}, or {mine.port_c}")
        channel.backward, channel.segment_ways = backward, (called, calling)
        self._segment_ways[called], self._segment_ways[calling] = (channel, backward), (channel, channel.outbound)

    def send_segment(self, ends: bytes, segment: bytes) -> bool:
        """Sends a TCP segment between these addresses by the association that it is for. False: there is none, or it
        can't go now; TCP repeats.
        """
        channel, association = self._segment_ways.get(ends + segment[:4]) or (None, None)
        if channel is None or association is None or channel.outer is None:
            return False
        try:
            channel.outer.send(association.seal(segment, TCP))
        except SequenceExhausted:
            self.exhausted(channel.owner)
            return False
        except FlowFailed:
            return False
        return True

    def security_of(self, here: Address, there: Address) -> Security:
        """Of a TCP connection between these ends: its set's, if one has them; nothing of another reaches it."""
        way = packed(here[0]) + packed(there[0]) + _ports(here[1], there[1])
        channel, _ = self._segment_ways.get(way) or (None, None)
        return Clear() if channel is None else EspAssociation(channel.owner.number, channel.owner.phone.key.impi)

    def _keep_alive(self, channel: _Channel) -> None:
        """Keeps the NAT's mapping (RFC 3948 4). A failure is no news: the next message would meet it, too."""
        channel.keepalive = self._loop.call_later(KEEPALIVE_S, self._keep_alive, channel)
        if channel.idle and channel.outer is not None and not channel.outer.is_closed():
            channel.outer.send(KEEPALIVE)
        channel.idle = True

    # ---- in

    def arrived(self, data: bytes, outer: Flow) -> None:
        """A packet of the outer socket, and the way to where it came from."""
        inlet = self._inlets.get(int.from_bytes(data[:SPI_OCTETS], "big"))
        self._source = outer.remote
        if inlet is None or len(data) < SPI_OCTETS:
            self._stray(data)
            return
        association, channel = inlet.association, inlet.channel
        opened = association.open(data)
        if opened is None:
            return
        if outer is not channel.outer and not self._follow(inlet, int.from_bytes(data[4:8], "big"), outer):
            return
        if channel.owner.state in WAITS_FOR_MESSAGE:
            self.received(channel.owner)
        self._inner(inlet, opened[0], opened[1])

    def _follow(self, inlet: _Inlet, sequence: int, outer: Flow) -> bool:
        """A NAT may have moved the phone: the newest packet tells. Without a NAT nobody else's address will do."""
        if not self.in_tunnel and outer.remote[0] != inlet.channel.owner.address:
            self._misuse(inlet)
            return False
        if sequence == inlet.association.window.highest:
            inlet.channel.outer = outer
            inlet.channel.owner.slot.where = outer.remote
        return True

    def _inner(self, inlet: _Inlet, payload: bytes, next_header: int) -> None:
        """What the tunnel carried, if it is a datagram between the ends that the association is for."""
        channel = inlet.channel
        if next_header == TCP and not self.in_tunnel:
            if payload[:4] == inlet.ports:
                self.segments(inlet.ends, payload)
            else:
                self._misuse(inlet)
            return
        try:
            if self.in_tunnel:
                packet = parse_ip(payload) if next_header in TUNNEL else None
            else:
                packet = IpPacket(inlet.ends, next_header, payload) if next_header == UDP else None
            if packet is None or packet.ends != inlet.ends:
                self._misuse(inlet)
                return
            if packet.is_fragment:
                packet = self.fragments.add(channel.owner.number, packet, self._loop.time())
                if packet is None:
                    return
            ports, message = parse_udp(packet)
        except MalformedPacket:
            self.discards.malformed += 1
            self._refuse(Drop.MALFORMED, inlet.association.spi)
            return
        if ports != inlet.ports:
            self._misuse(inlet)
        elif channel.flow is not None:
            self._receive(message, channel.flow)

    def _stray(self, data: bytes) -> None:
        if data == KEEPALIVE:
            self.discards.keepalives += 1
        elif data[:SPI_OCTETS] == bytes(SPI_OCTETS):
            self.discards.not_esp += 1
        elif len(data) < SPI_OCTETS:
            self.discards.malformed += 1
        else:
            self.discards.unknown_spi += 1
            spi = int.from_bytes(data[:SPI_OCTETS], "big")
            self._refuse(Drop.EXPIRED if spi in self._ended else Drop.UNKNOWN_SPI, spi)

    def _misuse(self, inlet: _Inlet) -> None:
        self.discards.selector += 1
        self._refuse(Drop.SELECTOR, inlet.association.spi)

    def _refuse(self, reason: Drop, spi: int) -> None:
        self.refused(reason, spi, self._source)
