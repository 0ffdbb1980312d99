"""ESP in the kernel (XFRM): for production with handsets. SIP has ordinary sockets at the protected ports; policies let
nothing pass there between a phone's ends and ours that did not come, or does not go, through ESP.

A set is four states and four policies, the protocol no part of them (TS 33.203 7.1). A phone behind a NAT has tunnel
mode in UDP (RFC 3948, Annex M): the kernel tells where its packets come from. States outlive this process: the next one
goes on with those of sets that it knows. A datagram that fits no set is dropped here: the kernel's policies speak of
known ends only (requirement row 33).
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from redoubt.gm.agreement import Ends, Mode
from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.gm.association_set import WAITS_FOR_MESSAGE, AssociationSet, EndsTaken, PathFailed, Role, Usage
from redoubt.gm.esp import SEQUENCE_MAX
from redoubt.gm.states import State
from redoubt.gm.transforms import AEAD_TAG_OCTETS, TAG_OCTETS
from redoubt.gm.user_space import Keeper, keep_nothing
from redoubt.limits import ESP_REPLAY_WINDOW
from redoubt.transport.flow import Address, Clear, EspAssociation, Flow, FlowFailed, Security, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.udp import OnDatagram, UdpEndpoint
from redoubt.transport.xfrm import (
    OWNED,
    OWNED_MASK,
    Algorithms,
    Between,
    Change,
    Direction,
    Entries,
    Outside,
    Xfrm,
    XfrmError,
    XfrmExists,
    delete_policy,
    delete_state,
    moved_policy,
    moved_state,
    new_policy,
    new_state,
    selected,
)
from redoubt.transport.xfrm_nat import Mappings, esp_in_udp

CIPHERS = {
    Encryption.AES_CBC: "cbc(aes)",
    Encryption.DES_EDE3_CBC: "cbc(des3_ede)",
    Encryption.NULL: "ecb(cipher_null)",
}
DIGESTS = {Integrity.HMAC_SHA_1_96: "hmac(sha1)", Integrity.HMAC_MD5_96: "hmac(md5)"}


def algorithms(suite: Suite, keys: EspKeys) -> Algorithms:
    """As the kernel names them."""
    tag_bits, salt = 8 * AEAD_TAG_OCTETS, keys.salt.reveal()
    if suite.encryption is Encryption.AES_GCM:
        return Algorithms(("rfc4106(gcm(aes))", keys.encryption.reveal() + salt, tag_bits))
    if suite.integrity is Integrity.AES_GMAC:
        return Algorithms(("rfc4543(gcm(aes))", keys.integrity.reveal() + salt, tag_bits))
    auth = (DIGESTS[suite.integrity], keys.integrity.reveal(), 8 * TAG_OCTETS)
    return Algorithms(None, (CIPHERS[suite.encryption], keys.encryption.reveal()), auth)


SKIPPED = 64  # sequence numbers, for packets that leave while a state gives way to another
BASES = (OWNED_MASK ^ 0xFFFFFFFF) // 4  # a set takes four request identifiers


@dataclass(frozen=True, slots=True)
class _Way:
    """One of a set's four associations: what it carries, between which addresses."""

    between: Between
    outside: Outside
    spi: int
    direction: Direction


def _ways(here: str, mine: Ends, there: str, theirs: Ends, around: Outside) -> tuple[_Way, ...]:
    """TS 33.203 7.1: client to server and server to client, both ways; an SPI is its receiver's."""
    ports = around.ports[::-1] if around.ports is not None else None
    back = Outside(around.target, around.source, ports)
    return (
        _Way(Between(there, theirs.port_c, here, mine.port_s), back, mine.spi_s, Direction.IN),
        _Way(Between(there, theirs.port_s, here, mine.port_c), back, mine.spi_c, Direction.IN),
        _Way(Between(here, mine.port_c, there, theirs.port_s), around, theirs.spi_s, Direction.OUT),
        _Way(Between(here, mine.port_s, there, theirs.port_c), around, theirs.spi_c, Direction.OUT),
    )


def _led(ways: tuple[_Way, ...], around: Outside) -> tuple[_Way, ...]:
    """The same ways around a phone that is elsewhere."""
    back = Outside(around.target, around.source, around.ports[::-1] if around.ports is not None else None)
    return tuple(replace(way, outside=around if way.direction is Direction.OUT else back) for way in ways)


class KernelPath:
    """The `Path` of the kernel's ESP. `received` is for the association sets' keeper."""

    def __init__(self, role: Role, here: str, xfrm: Xfrm, receive: OnDatagram) -> None:
        self._role = role
        self._here = here
        self._xfrm = xfrm
        self._receive = receive
        self._endpoints: dict[int, UdpEndpoint] = {}
        self._by_ends: dict[tuple[int, Address], AssociationSet] = {}
        self._by_spi: dict[int, AssociationSet] = {}  # those behind NATs
        self._ways: dict[AssociationSet, tuple[_Way, ...]] = {}
        self._bases: dict[AssociationSet, int] = {}
        self._bases_taken: set[int] = set()
        self._last_base = 0
        self._inherited = Entries({}, set())
        self._nat_port = 0
        self._tunnel: socket.socket | None = None
        self._mappings: Mappings | None = None
        self.stray = 0
        self.received: Keeper = keep_nothing

    @classmethod
    async def open(
        cls,
        role: Role,
        here: str,
        ports: Iterable[int],
        receive: OnDatagram,
        *,
        nat_port: int = 0,
        goes_on: bool = False,
    ) -> "KernelPath":
        """Opens the protected ports, all of which sets may get, and, for phones behind NATs, that of ESP in UDP.
        Removes what a former process left in the kernel, or, when this one `goes_on` with its sets, has `settle` do
        so. Raises OSError.
        """
        xfrm = Xfrm()
        path = cls(role, here, xfrm, receive)
        if goes_on:
            path._inherited = xfrm.ours()
        else:
            xfrm.sweep()
        for port in ports:
            listen = Listen("udp", here, port, Zone.ACCESS)
            path._endpoints[port] = await UdpEndpoint.open(listen, path._arrived(port), _unprotected)
        if nat_port:
            path._open_tunnel(nat_port)
        return path

    def _open_tunnel(self, port: int) -> None:
        self._tunnel, self._nat_port = esp_in_udp(self._here, port), port
        self._mappings = Mappings()
        asyncio.get_running_loop().add_reader(self._mappings.fileno(), self._follow)

    def settle(self) -> int:
        """The sets of a former process that go on have been installed: the rest of what it left goes. How much."""
        ways = [way for ways in self._ways.values() for way in ways]
        known = Entries(
            {(way.outside.target, way.spi): 0 for way in ways}, {selected(way.between, way.direction) for way in ways}
        )
        self._inherited = Entries({}, set())
        return self._xfrm.sweep(known)

    def close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.close()
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
        if not {mine.port_c, mine.port_s} <= self._endpoints.keys():
            raise PathFailed("a protected port is not open")
        ways = _ways(self._here, mine, there, theirs, self._around(association_set, in_tunnel))
        if association_set.state is State.TEMPORARY:
            base = self._base()
            self._make(ways, base, association_set)
        else:
            base = self._adopted(ways)
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
        ways = self._ways.pop(association_set)
        self._bases_taken.discard(self._bases.pop(association_set))
        for way in ways[:2]:
            del self._by_ends[way.between.target_port, (way.between.source, way.between.source_port)]
            self._by_spi.pop(way.spi, None)
        self._unmake(_removals(ways))

    def usage(self, association_set: AssociationSet) -> Usage:
        """Read back from the kernel. Whole packets, where user space counts what they carry."""
        out, back = Counter[str](), Counter[str]()
        for way in self._ways[association_set]:
            found = self._xfrm.counters_of(way.outside.target, way.spi)
            side = out if way.direction is Direction.OUT else back
            side.update(packets=found.packets, octets=found.octets, replayed=found.replayed, bad_tags=found.bad_tags)
        return Usage(
            out["packets"], out["octets"], back["packets"], back["octets"], back["replayed"], back["bad_tags"]
        )

    # ---- connections

    def security_of(self, port: int, remote: Address) -> Security:
        """Of a connection at a protected port, the phone's end of which is `remote`: its set, whose policies have let
        nothing else through; or nothing, and then it is to be closed unread.
        """
        owner = self._by_ends.get((port, remote))
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

    def _adopted(self, ways: tuple[_Way, ...]) -> int:
        """The request identifiers of a set that a former process made. Without all of it in the kernel it is given up:
        made anew, it would use its sequence numbers again.
        """
        states, policies = self._inherited.states, self._inherited.policies
        for way in ways:
            if (way.outside.target, way.spi) not in states or selected(way.between, way.direction) not in policies:
                raise PathFailed("the kernel has not kept all of the set")
        return (states[ways[0].outside.target, ways[0].spi] & ~OWNED_MASK) // 4

    def _base(self) -> int:
        """Of four request identifiers that no other living set has: it ties policies to states."""
        for step in range(1, BASES):
            base = (self._last_base + step) % BASES
            if base not in self._bases_taken:
                self._last_base = base
                return base
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

    def _to_port(self, owner: AssociationSet, ways: tuple[_Way, ...], around: Outside) -> tuple[_Way, ...]:
        """All four states get the port."""
        how, base = algorithms(owner.agreement.suite, owner.keys), self._bases[owner]
        led = _led(ways, around)
        for place, way in enumerate(led):
            changed = moved_state(way.outside, way.spi, _reqid(base, place), how, ESP_REPLAY_WINDOW)
            self._xfrm.change([changed])
        return led

    def _to_address(self, owner: AssociationSet, ways: tuple[_Way, ...], around: Outside) -> tuple[_Way, ...]:
        """What is sent needs other states; they go on where the former were. What comes is known by its SPI alone."""
        how, base = algorithms(owner.agreement.suite, owner.keys), self._bases[owner]
        led = _led(ways, around)
        for place, (old, new) in enumerate(zip(ways, led, strict=True)):
            if new.direction is Direction.OUT:
                reqid, sent = _reqid(base, place), self._xfrm.counters_of(old.outside.target, old.spi).sent
                made = new_state(new.outside, new.spi, reqid, how, ESP_REPLAY_WINDOW, min(sent + SKIPPED, SEQUENCE_MAX))
                led_there = moved_policy(new.between, new.outside, new.direction, reqid)
                self._xfrm.change([made, led_there, delete_state(old.outside.target, old.spi)])
        return led

    def _make(self, ways: tuple[_Way, ...], base: int, association_set: AssociationSet) -> None:
        """Each way has a request identifier of its own: it ties the policy to that one state."""
        how = algorithms(association_set.agreement.suite, association_set.keys)
        done: list[Change] = []
        try:
            for place, way in enumerate(ways):
                reqid = _reqid(base, place)
                self._xfrm.change([new_state(way.outside, way.spi, reqid, how, ESP_REPLAY_WINDOW)])
                done.append(delete_state(way.outside.target, way.spi))
                self._xfrm.change([new_policy(way.between, way.outside, way.direction, reqid)])
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
        outward = self._endpoints[mine.port_c].flow_to(remote)

        def send(data: bytes) -> None:
            if owner not in self._ways:
                raise FlowFailed("the association set has ended")
            outward.send(data)

        def is_closed() -> bool:
            return owner not in self._ways

        security = EspAssociation(owner.number, owner.phone.key.impi)
        return Flow("udp", (self._here, mine.port_s), remote, Zone.ACCESS, security, send, is_closed, kept=True)

    def _arrived(self, port: int) -> OnDatagram:
        def arrived(data: bytes, outer: Flow) -> None:
            owner = self._by_ends.get((port, outer.remote))
            if owner is None or owner.flow is None:
                self.stray += 1
                return
            if owner.agreement.mode is Mode.UDP_TUNNEL:
                self._follow()  # an answer must not leave for where the phone was
            if owner.state in WAITS_FOR_MESSAGE:
                self.received(owner)
            if owner.flow is not None:
                self._receive(data, owner.flow)

        return arrived


def _reqid(base: int, place: int) -> int:
    """Ours, and another for each way of a set."""
    return OWNED | 4 * base + place


def _removals(ways: tuple[_Way, ...]) -> list[Change]:
    """Policies last: while a state is gone and its policy stays, nothing passes in the clear."""
    states = [delete_state(way.outside.target, way.spi) for way in ways]
    return states + [delete_policy(way.between, way.direction) for way in ways]


def _unprotected(_listen: Listen, _host: str) -> Security:
    """The sockets vouch for nobody: sets do."""
    return Clear()
