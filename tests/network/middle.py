"""Who has the wire between one phone and the P-CSCF where both have hosts of their own: an eavesdropper of IP packets.

The phone has an address behind a TUN device, and so has the P-CSCF its way there; what enters one leaves the other as
the attacker pleases.
"""

from collections.abc import Callable

from tests.namespaces import CORE, Host, Wire, run

from redoubt.gm.packets import UDP, IpPacket, UdpEnvelope, packed, parse_ip, write_ip
from redoubt.lab.eavesdropper import Change
from redoubt.transport.flow import Address
from redoubt.transport.raw import ESP
from redoubt.transport.tun import Tun

PHONE = "127.96.1.2"
MTU_OCTETS = 9000  # nothing is fragmented here
Deliver = Callable[[bool, bytes], None]


def port_numbers(ports: bytes) -> tuple[int, int]:
    """Source and destination port."""
    return int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:4], "big")


class Router:
    """One protocol of the phone's, as `redoubt.lab.eavesdropper.Eavesdropper` shows it."""

    def __init__(self, deliver: Deliver) -> None:
        self.seen: list[tuple[bool, bytes]] = []  # True: to the P-CSCF
        self.change: Change = lambda _up, data: data
        self._deliver = deliver
        self._ports: tuple[int, int] | None = None  # phone, P-CSCF; none of ESP

    def took(self, up: bool, packet: IpPacket) -> None:
        data = packet.payload
        if packet.protocol == UDP:
            self._ports = port_numbers(data[:4]) if up else port_numbers(data[2:4] + data[:2])
            data = data[8:]
        self.seen.append((up, data))
        changed = self.change(up, data)
        if changed is not None:
            self.inject(up, changed)

    def inject(self, up: bool, data: bytes) -> None:
        """A packet of the attacker's own, to the P-CSCF or to the phone."""
        source, target = (PHONE, CORE[0]) if up else (CORE[0], PHONE)
        ends = packed(source) + packed(target)
        if self._ports is None:
            self._deliver(up, write_ip(ends, ESP, data))
            return
        ports = self._ports if up else self._ports[::-1]
        self._deliver(up, write_ip(ends, UDP, UdpEnvelope((source, ports[0]), (target, ports[1])).datagram(data)))

    def close(self) -> None:
        """The wire is the middle's."""


class Middle:
    """The wire of one phone."""

    def __init__(self, between: Wire, sip: Address) -> None:
        self.routers = Router(self._deliver), Router(self._deliver)  # SIP's, ESP's
        self._sip = sip
        self._to_core = self._device(between.core, lambda packet: self._took(False, packet))
        self._to_phone = self._device(between.phones, lambda packet: self._took(True, packet))
        core, phones = between.core.name, between.phones.name
        run(f"-n {core} route add {PHONE}/32 dev {self._to_core.name}",
            f"-n {phones} addr add {PHONE}/32 dev {self._to_phone.name}",
            f"-n {phones} rule add from {PHONE} lookup 7",
            f"-n {phones} route add {CORE[0]}/32 dev {self._to_phone.name} table 7")  # fmt: skip
        self._phones = phones

    def close(self) -> None:
        run(f"-n {self._phones} rule del from {PHONE} lookup 7")
        self._to_core.close()
        self._to_phone.close()

    def _device(self, host: Host, receive: Callable[[bytes], None]) -> Tun:
        with host.here():
            return Tun("air%d", MTU_OCTETS, receive)

    def _deliver(self, up: bool, packet: bytes) -> None:
        (self._to_core if up else self._to_phone).write(packet)

    def _took(self, up: bool, octets: bytes) -> None:
        if octets[0] >> 4 != 4:
            return  # a device speaks IPv6 of itself
        packet = parse_ip(octets)
        if packet.protocol == ESP:
            self.routers[1].took(up, packet)
        elif packet.protocol == UDP and self._sip[1] in port_numbers(packet.payload[:4]):
            self.routers[0].took(up, packet)
        else:
            self._deliver(up, octets)
