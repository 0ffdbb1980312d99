"""ESP in the kernel (XFRM): for production with handsets. SIP has ordinary sockets at the protected ports; policies let
nothing pass there between a phone's ends and ours that did not come, or does not go, through ESP.

A phone behind a NAT has tunnel mode in UDP (RFC 3948, Annex M): the kernel tells where its packets come from. States
outlive this process: the next one goes on with those of sets that it knows. What fits no set is dropped by the guards
of the ports (requirement row 33).
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from functools import partial

from redoubt.gm.agreement import Ends, Mode
from redoubt.gm.association_set import WAITS_FOR_MESSAGE, AssociationSet, EndsTaken, PathFailed, Role, Usage
from redoubt.gm.esp import SEQUENCE_MAX
from redoubt.gm.kernel_ports import GuardedPorts
from redoubt.gm.kernel_ways import BASES, BASES_OF_PORT, Way, algorithms, led, removals, reqid, ways_between
from redoubt.gm.states import State
from redoubt.gm.user_space import Keeper, Refused, keep_nothing, unheard
from redoubt.limits import ESP_REPLAY_WINDOW
from redoubt.transport.flow import Address, Clear, EspAssociation, Flow, FlowFailed, Security, Zone
from redoubt.transport.ports import call, is_free, listener
from redoubt.transport.udp import OnDatagram
from redoubt.transport.xfrm import NOTHING, Xfrm, XfrmError, XfrmExists
from redoubt.transport.xfrm_entries import (
    OWNED_MASK,
    Change,
    Direction,
    Entries,
    Outside,
    delete_policy,
    delete_state,
    moved_policy,
    moved_state,
    new_policy,
    new_state,
    selected,
)
from redoubt.transport.xfrm_nat import Mappings, esp_in_udp

SKIPPED = 64  # sequence numbers, for packets that leave while a state gives way to another


class KernelPath:
    """The `Path` of the kernel's ESP. `received` is for the association sets' keeper."""

    def __init__(self, role: Role, here: str, xfrm: Xfrm, receive: OnDatagram) -> None:
        self._role = role
        self._here = here
        self._xfrm = xfrm
        self._receive = receive
        self._ports = GuardedPorts(here, xfrm, self._arrived)
        self._by_ends: dict[tuple[int, Address], AssociationSet] = {}
        self._by_spi: dict[int, AssociationSet] = {}  # those behind NATs
        self._ways: dict[AssociationSet, tuple[Way, ...]] = {}
        self._bases: dict[AssociationSet, int] = {}
        self._bases_taken: set[int] = set()
        self._bases_ours = range(BASES)
        self._last_base = 0
        self._inherited = NOTHING
        self._nat_port = 0
        self._tunnel: socket.socket | None = None
        self._mappings: Mappings | None = None
        self.stray = 0
        self.received: Keeper = keep_nothing
        self.exhausted: Keeper = keep_nothing  # the kernel refuses to send by then, and says nothing
        self.refused: Refused = unheard  # the kernel drops and counts

    @classmethod
    def open(
        cls,
        role: Role,
        here: str,
        ports: Sequence[int],
        receive: OnDatagram,
        *,
        nat_port: int | None = None,
        goes_on: bool = False,
    ) -> "KernelPath":
        """Opens the protected server ports and, with `nat_port`, that of ESP in UDP for phones behind NATs. Removes
        what a former process left in the kernel, or, when this one `goes_on` with its sets, has `settle` do so. Raises
        OSError and XfrmError.
        """
        xfrm = Xfrm()
        path = cls(role, here, xfrm, receive)
        if role is Role.PHONE:  # other phones may be at this address, each with other ports
            path._bases_ours = range(ports[0] * BASES_OF_PORT, (ports[0] + 1) * BASES_OF_PORT)
        try:
            if goes_on:
                path._inherited = xfrm.ours(here)
            else:
                xfrm.sweep(here, partial(is_free, here))
            path._ports.stay(ports)
            if nat_port is not None:
                path._open_tunnel(nat_port)
        except (OSError, XfrmError):
            path.close()
            raise
        return path

    @property
    def local(self) -> Address:
        """Where ESP in UDP comes in."""
        return self._here, self._nat_port

    def _open_tunnel(self, port: int) -> None:
        self._tunnel = esp_in_udp(self._here, port)
        self._nat_port = self._tunnel.getsockname()[1]
        self._mappings = Mappings()
        asyncio.get_running_loop().add_reader(self._mappings.fileno(), self._follow)

    def settle(self) -> int:
        """The sets of a former process that go on have been installed: the rest of what it left goes. How much."""
        ways = [way for ways in self._ways.values() for way in ways]
        known = Entries(
            {(way.outside.target, way.spi): 0 for way in ways},
            {selected(way.between, way.direction) for way in ways} | self._ports.guards(),
        )
        self._inherited = NOTHING
        return self._xfrm.sweep(self._here, lambda port: port in self._ports or is_free(self._here, port), known)

    def close(self) -> None:
        """Sets that still live are the next process's."""
        self._ports.close(unguard=not self._ways)
        if self._tunnel is not None:
            self._tunnel.close()
        if self._mappings is not None:
            asyncio.get_running_loop().remove_reader(self._mappings.fileno())
            self._mappings.close()
        self._xfrm.close()

    # ---- Path

    def install(self, association_set: AssociationSet) -> Flow:
        """States and policies, all or none, before a packet may need them; those of a set that goes on are there."""
        agreement = association_set.agreement
        in_tunnel = agreement.mode is Mode.UDP_TUNNEL
        there = association_set.inner if in_tunnel else association_set.address
        if self._role is Role.NETWORK:
            mine, theirs = agreement.network, agreement.phone
        else:
            mine, theirs = agreement.phone, agreement.network
        ways = ways_between(self._here, mine, there, theirs, self._around(association_set, in_tunnel))
        try:
            self._ports.hold(mine.port_c, mine.port_s)
        except (OSError, XfrmError) as error:
            raise PathFailed(f"port {mine.port_c} or {mine.port_s} can't be opened: {error}") from error
        base = -1
        try:
            base = self._begun(ways, association_set)
        finally:
            if base < 0:
                self._ports.release(mine.port_c, mine.port_s)
        self._bases[association_set] = base
        self._bases_taken.add(base)
        self._ways[association_set] = ways
        for way in ways[:2]:
            self._by_ends[way.between.target_port, (there, way.between.source_port)] = association_set
            if in_tunnel:
                self._by_spi[way.spi] = association_set
        return self._flow(association_set, mine, (there, theirs.port_s))

    def remove(self, association_set: AssociationSet) -> None:
        """First nobody believes a datagram, then the kernel forgets."""
        self._forget(self._ways.pop(association_set))
        self._bases_taken.discard(self._bases.pop(association_set))

    def _forget(self, ways: tuple[Way, ...]) -> None:
        for way in ways[:2]:
            del self._by_ends[way.between.target_port, (way.between.source, way.between.source_port)]
            self._by_spi.pop(way.spi, None)
        self._unmake(removals(ways))
        self._ports.release(*{way.between.target_port for way in ways[:2]})

    def usage(self, association_set: AssociationSet) -> Usage:
        """Read back from the kernel. Whole packets, where user space counts what they carry."""
        out, back = Counter[str](), Counter[str]()
        for way in self._ways[association_set]:
            try:
                found = self._xfrm.counters_of(way.outside.target, way.spi)
            except XfrmError:  # somebody removed it
                continue
            side = out if way.direction is Direction.OUT else back
            side.update(packets=found.packets, octets=found.octets, replayed=found.replayed, bad_tags=found.bad_tags)
        return Usage(
            out["packets"], out["octets"], back["packets"], back["octets"], back["replayed"], back["bad_tags"]
        )

    # ---- connections

    def listener(self, port: int) -> socket.socket:
        """For `create_server`, at a protected port. Raises OSError."""
        return listener(self._here, port)

    async def call(self, port: int, there: Address) -> socket.socket:
        """A connection from a protected port, for `create_connection`. Raises OSError."""
        return await call(self._here, port, there)

    def security_of(self, here: Address, there: Address) -> Security:
        """Of a connection between these ends: its set, whose policies have let nothing else through; or nothing, and
        then it is to be closed unread.
        """
        owner = self._by_ends.get((here[1], there))
        if owner is None:
            self.stray += 1
            return Clear()
        if owner.state in WAITS_FOR_MESSAGE:
            self.received(owner)
        return EspAssociation(owner.number, owner.phone.key.impi)

    # ---- inside

    def _around(self, association_set: AssociationSet, in_tunnel: bool) -> Outside:
        """From here to the phone. Behind a NAT, where it is shows with its first packet."""
        if not in_tunnel:
            return Outside(self._here, association_set.address)
        if self._tunnel is None or self._role is not Role.NETWORK:
            raise PathFailed("ESP in UDP is not open here")
        host, port = association_set.slot.where or (association_set.address, self._nat_port)
        return Outside(self._here, host, (self._nat_port, port))

    def _adopted(self, ways: tuple[Way, ...]) -> int:
        """The request identifiers of a set that a former process made. Without all of it in the kernel it is given up:
        made anew, it would use its sequence numbers again.
        """
        states, policies = self._inherited.states, self._inherited.policies
        for way in ways:
            if (way.outside.target, way.spi) not in states or selected(way.between, way.direction) not in policies:
                raise PathFailed("the kernel has not kept all of the set")
        return (states[ways[0].outside.target, ways[0].spi] & ~OWNED_MASK) // 4

    def _begun(self, ways: tuple[Way, ...], association_set: AssociationSet) -> int:
        """A new set is made, one of a former process is there."""
        if association_set.state is not State.TEMPORARY:
            return self._adopted(ways)
        if self._role is Role.PHONE:
            self._displace(ways)
        base = self._base()
        self._make(ways, base, association_set)
        return base

    def _displace(self, ways: tuple[Way, ...]) -> None:
        """A phone that is given ends of a set that it has learns that the network has ended it."""
        wanted = {way.between for way in ways}
        for older, its in self._ways.items():
            if not wanted.isdisjoint(way.between for way in its):
                self._forget(its)
                self._ways[older] = ()

    def _base(self) -> int:
        """Of four request identifiers that no other living set has: it ties policies to states."""
        ours = self._bases_ours
        for step in range(1, len(ours)):
            place = (self._last_base + step) % len(ours)
            if ours[place] not in self._bases_taken:
                self._last_base = place
                return ours[place]
        raise PathFailed("no request identifier is left")

    def _follow(self) -> None:
        """A NAT gave a phone another port or address: the kernel heard an authentic packet from there."""
        for moved in self._mappings.read() if self._mappings is not None else ():
            owner = self._by_spi.get(moved.spi)
            if owner is None:
                continue
            before = self._ways[owner][2].outside
            around = Outside(self._here, moved.address, (self._nat_port, moved.port))
            if around == before:
                continue
            try:
                change = self._to_port if moved.address == before.target else self._to_address
                self._ways[owner] = change(owner, self._ways[owner], around)
            except XfrmError:
                continue  # as it was: the phone's next packet tells again
            owner.slot.where = (moved.address, moved.port)

    def _to_port(self, owner: AssociationSet, ways: tuple[Way, ...], around: Outside) -> tuple[Way, ...]:
        """All four states get the port."""
        how, base = algorithms(owner.agreement.suite, owner.keys), self._bases[owner]
        there = led(ways, around)
        for place, way in enumerate(there):
            changed = moved_state(way.outside, way.spi, reqid(base, place), how, ESP_REPLAY_WINDOW)
            self._xfrm.change([changed])
        return there

    def _to_address(self, owner: AssociationSet, ways: tuple[Way, ...], around: Outside) -> tuple[Way, ...]:
        """What is sent needs other states; they go on where the former were. What comes is known by its SPI alone."""
        how, base = algorithms(owner.agreement.suite, owner.keys), self._bases[owner]
        there = led(ways, around)
        for place, (old, new) in enumerate(zip(ways, there, strict=True)):
            if new.direction is Direction.OUT:
                number, sent = reqid(base, place), self._xfrm.counters_of(old.outside.target, old.spi).sent
                after = min(sent + SKIPPED, SEQUENCE_MAX)
                made = new_state(new.outside, new.spi, number, how, ESP_REPLAY_WINDOW, after)
                led_there = moved_policy(new.between, new.outside, new.direction, number)
                self._xfrm.change([made, led_there, delete_state(old.outside.target, old.spi)])
        return there

    def _make(self, ways: tuple[Way, ...], base: int, association_set: AssociationSet) -> None:
        """Each way has a request identifier of its own: it ties the policy to that one state."""
        how = algorithms(association_set.agreement.suite, association_set.keys)
        done: list[Change] = []
        try:
            for place, way in enumerate(ways):
                number = reqid(base, place)
                self._xfrm.change([new_state(way.outside, way.spi, number, how, ESP_REPLAY_WINDOW)])
                done.append(delete_state(way.outside.target, way.spi))
                self._xfrm.change([new_policy(way.between, way.outside, way.direction, number)])
                done.append(delete_policy(way.between, way.direction))
        except XfrmExists as error:
            self._unmake(done)
            raise EndsTaken(f"another set has an SPI or a pair of ports: {error}") from error
        except XfrmError as error:
            self._unmake(done)
            raise PathFailed(f"the kernel's IPsec refused: {error}") from error

    def _unmake(self, removals: list[Change]) -> None:
        """Each by itself: one that is gone already must not keep the others."""
        for removal in removals:
            try:
                self._xfrm.change([removal])
            except XfrmError:
                continue

    def _flow(self, owner: AssociationSet, mine: Ends, remote: Address) -> Flow:
        def send(data: bytes) -> None:
            if is_closed():
                raise FlowFailed("the association set has ended")
            self._ports.send(mine.port_c, data, remote)

        def is_closed() -> bool:
            return not self._ways.get(owner)

        security = EspAssociation(owner.number, owner.phone.key.impi)
        return Flow("udp", (self._here, mine.port_s), remote, Zone.ACCESS, security, send, is_closed, kept=True)

    def _arrived(self, port: int, data: bytes, source: Address) -> None:
        owner = self._by_ends.get((port, source))
        if owner is None or owner.flow is None:
            self.stray += 1
            return
        if owner.agreement.mode is Mode.UDP_TUNNEL:
            self._follow()  # an answer must not leave for where the phone was
        if owner.state in WAITS_FOR_MESSAGE:
            self.received(owner)
        if owner.flow is not None:
            self._receive(data, owner.flow)
