"""ESP in UDP, tunnel mode (RFC 3948, RFC 4303, TS 33.203 Annex M): the path that needs no privileges and crosses NATs.

Both ends use it. Outside is one UDP socket, on the P-CSCF port 4500; inside are IP packets with the negotiated ports,
which exist nowhere else. Where a phone's packets come from is learned from the newest authentic one, never from
anything else, so that a NAT may rebind and a forger may not.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from redoubt.gm.associations import WAITS_FOR_MESSAGE, AssociationSet, PathFailed, Role
from redoubt.gm.esp import Drop, InboundAssociation, OutboundAssociation, SequenceExhausted
from redoubt.gm.fragments import Reassembler
from redoubt.gm.packets import IP_IN_IP, IPV6_IN_IP, MalformedPacket, UdpEnvelope, packed, parse_ip, parse_udp
from redoubt.gm.transforms import transform
from redoubt.sources import Randomness
from redoubt.transport.flow import Address, Clear, EspAssociation, Flow, FlowFailed, Security, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.udp import OnDatagram, UdpEndpoint

PORT = 4500  # RFC 3948 2.1
KEEPALIVE = b"\xff"  # RFC 3948 2.3
KEEPALIVE_S = 20.0  # RFC 3948 4
SPI_OCTETS = 4
TUNNEL = (IP_IN_IP, IPV6_IN_IP)

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


class _Channel:
    """One association set on this path."""

    __slots__ = ("envelope", "flow", "idle", "inlets", "keepalive", "outbound", "outer", "owner")

    def __init__(self, owner: AssociationSet, envelope: UdpEnvelope, outbound: OutboundAssociation) -> None:
        self.owner = owner
        self.envelope = envelope
        self.outbound = outbound
        self.outer: Flow | None = None
        self.flow: Flow | None = None
        self.inlets: list[_Inlet] = []
        self.idle = True
        self.keepalive: asyncio.TimerHandle | None = None


class _Inlet:
    """One inbound association, and the inner addresses and ports that it is for (RFC 4301 5.2)."""

    __slots__ = ("association", "channel", "ends", "ports")

    def __init__(self, association: InboundAssociation, channel: _Channel, ends: bytes, ports: tuple[int, int]) -> None:
        self.association = association
        self.channel = channel
        self.ends = ends
        self.ports = ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big")


def _nothing(_set: AssociationSet) -> None:
    """Nobody listens yet."""


def _unheard(_reason: Drop, _spi: int, _source: Address) -> None:
    """Nobody listens."""


class UdpTunnel:
    """The `Path` of ESP in UDP. `received` and `exhausted` are for the association sets' keeper."""

    def __init__(self, role: Role, here: str, randomness: Randomness, receive: OnDatagram) -> None:
        self._role = role
        self._here = here
        self._randomness = randomness
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._endpoint: UdpEndpoint | None = None
        self._inlets: dict[int, _Inlet] = {}
        self._channels: dict[AssociationSet, _Channel] = {}
        self._source: Address = ("", 0)
        self.fragments = Reassembler()
        self.discards = Discards()
        self.received: Callable[[AssociationSet], None] = _nothing
        self.exhausted: Callable[[AssociationSet], None] = _nothing
        self.refused: Refused = _unheard

    @classmethod
    async def open(
        cls, role: Role, listen: Listen, here: str, randomness: Randomness, receive: OnDatagram
    ) -> "UdpTunnel":
        """Binds the outer socket. `here` is this end's address inside the tunnel. Raises OSError."""
        tunnel = cls(role, here, randomness, receive)
        tunnel._endpoint = await UdpEndpoint.open(listen, tunnel._datagram, _unprotected)
        return tunnel

    @property
    def local(self) -> Address:
        """The outer socket's address."""
        return self._endpoint.local if self._endpoint is not None else ("", 0)

    def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()

    # ---- Path

    def install(self, association_set: AssociationSet) -> Flow:
        """Inbound and outbound are ready. A phone finds its network at port 4500; where a phone is, its first packet
        tells. Raises PathFailed.
        """
        agreement = association_set.agreement
        if self._role is Role.NETWORK:
            mine, theirs, there = agreement.network, agreement.phone, association_set.inner
        else:
            mine, theirs, there = agreement.phone, agreement.network, association_set.address
        try:
            envelope = UdpEnvelope((self._here, mine.port_c), (there, theirs.port_s))
            ends = packed(there) + packed(self._here)
        except ValueError as error:
            raise PathFailed(f"no tunnel between {self._here} and {there}: {error}") from error
        cipher = transform(agreement.suite, association_set.keys, self._randomness)
        outbound = OutboundAssociation(theirs.spi_s, cipher)
        channel = _Channel(association_set, envelope, outbound)
        for spi, ports in ((mine.spi_s, (theirs.port_c, mine.port_s)), (mine.spi_c, (theirs.port_s, mine.port_c))):
            if spi in self._inlets:
                raise PathFailed(f"SPI {spi} is in use")
            inbound = InboundAssociation(spi, cipher, refused=self._refuse)
            channel.inlets.append(_Inlet(inbound, channel, ends, ports))
        channel.flow = self._flow(channel, (self._here, mine.port_s), (there, theirs.port_s))
        self._inlets |= {inlet.association.spi: inlet for inlet in channel.inlets}
        self._channels[association_set] = channel
        if self._role is Role.PHONE and self._endpoint is not None:
            channel.outer = self._endpoint.flow_to((association_set.address, PORT))
            channel.keepalive = self._loop.call_later(KEEPALIVE_S, self._keep_alive, channel)
        return channel.flow

    def remove(self, association_set: AssociationSet) -> None:
        channel = self._channels.pop(association_set)
        for inlet in channel.inlets:
            del self._inlets[inlet.association.spi]
        channel.inlets, channel.flow, channel.outer = [], None, None
        if channel.keepalive is not None:
            channel.keepalive.cancel()
        self.fragments.forget(association_set.number)

    # ---- out

    def _flow(self, channel: _Channel, local: Address, remote: Address) -> Flow:
        owner = channel.owner

        def send(data: bytes) -> None:
            self._send(channel, data)

        def is_closed() -> bool:
            return owner not in self._channels

        security = EspAssociation(owner.number, owner.phone.key.impi)
        return Flow("udp", local, remote, Zone.ACCESS, security, send, is_closed, kept=True)

    def _send(self, channel: _Channel, data: bytes) -> None:
        outer, owner = channel.outer, channel.owner
        if owner not in self._channels:
            raise FlowFailed("the association set has ended")
        if outer is None:
            raise FlowFailed("the phone has sent nothing yet: where it is, is not known")
        envelope, seal = channel.envelope, channel.outbound.seal
        channel.idle = False
        try:
            for packet in envelope.wrap(data):
                outer.send(seal(packet, envelope.next_header))
        except SequenceExhausted:
            self.exhausted(owner)
            raise FlowFailed("the association's sequence numbers are used up") from None
        except ValueError as error:
            raise FlowFailed(str(error)) from error

    def _keep_alive(self, channel: _Channel) -> None:
        """Keeps the NAT's mapping (RFC 3948 4). A failure is no news: the next message would meet it, too."""
        channel.keepalive = self._loop.call_later(KEEPALIVE_S, self._keep_alive, channel)
        if channel.idle and channel.outer is not None and not channel.outer.is_closed():
            channel.outer.send(KEEPALIVE)
        channel.idle = True

    # ---- in

    def _datagram(self, data: bytes, outer: Flow) -> None:
        inlet = self._inlets.get(int.from_bytes(data[:SPI_OCTETS], "big"))
        self._source = outer.remote
        if inlet is None or len(data) < SPI_OCTETS:
            self._stray(data)
            return
        association, channel = inlet.association, inlet.channel
        opened = association.open(data)
        if opened is None:
            return
        if outer is not channel.outer and int.from_bytes(data[4:8], "big") == association.window.highest:
            channel.outer = outer
        if channel.owner.state in WAITS_FOR_MESSAGE:
            self.received(channel.owner)
        self._inner(inlet, opened[0], opened[1])

    def _inner(self, inlet: _Inlet, payload: bytes, next_header: int) -> None:
        """What the tunnel carried, if it is a datagram between the ends that the association is for."""
        channel = inlet.channel
        try:
            packet = parse_ip(payload) if next_header in TUNNEL else None
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
            self._refuse(Drop.UNKNOWN_SPI, int.from_bytes(data[:SPI_OCTETS], "big"))

    def _misuse(self, inlet: _Inlet) -> None:
        self.discards.selector += 1
        self._refuse(Drop.SELECTOR, inlet.association.spi)

    def _refuse(self, reason: Drop, spi: int) -> None:
        self.refused(reason, spi, self._source)


def _unprotected(_listen: Listen, _host: str) -> Security:
    """The outer socket vouches for nobody: associations do."""
    return Clear()
