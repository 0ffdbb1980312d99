"""ESP in the kernel (XFRM), in transport mode: for production with handsets. SIP has ordinary sockets at the protected
ports; policies let nothing pass there between a phone's ends and ours that did not come, or does not go, through ESP.

A set is four states and four policies, the protocol no part of them (TS 33.203 7.1). A datagram that fits no set is
dropped here: the kernel's policies speak of known ends only (requirement row 33).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from redoubt.gm.agreement import Ends
from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.gm.association_set import WAITS_FOR_MESSAGE, AssociationSet, PathFailed, Role, Usage
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
    Xfrm,
    XfrmError,
    delete_policy,
    delete_state,
    new_policy,
    new_state,
)

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


@dataclass(frozen=True, slots=True)
class _Way:
    """One of a set's four associations."""

    between: Between
    spi: int
    direction: Direction


def _ways(here: str, mine: Ends, there: str, theirs: Ends) -> tuple[_Way, ...]:
    """TS 33.203 7.1: client to server and server to client, both ways; an SPI is its receiver's."""
    return (
        _Way(Between(there, theirs.port_c, here, mine.port_s), mine.spi_s, Direction.IN),
        _Way(Between(there, theirs.port_s, here, mine.port_c), mine.spi_c, Direction.IN),
        _Way(Between(here, mine.port_c, there, theirs.port_s), theirs.spi_s, Direction.OUT),
        _Way(Between(here, mine.port_s, there, theirs.port_c), theirs.spi_c, Direction.OUT),
    )


class KernelPath:
    """The `Path` of the kernel's ESP. `received` is for the association sets' keeper."""

    def __init__(self, role: Role, here: str, xfrm: Xfrm, receive: OnDatagram) -> None:
        self._role = role
        self._here = here
        self._xfrm = xfrm
        self._receive = receive
        self._endpoints: dict[int, UdpEndpoint] = {}
        self._by_ends: dict[tuple[int, Address], AssociationSet] = {}
        self._ways: dict[AssociationSet, tuple[_Way, ...]] = {}
        self.stray = 0
        self.received: Keeper = keep_nothing

    @classmethod
    async def open(cls, role: Role, here: str, ports: Iterable[int], receive: OnDatagram) -> "KernelPath":
        """Removes what a former process left in the kernel and opens the protected ports, all of which sets may get.
        Raises OSError.
        """
        xfrm = Xfrm()
        xfrm.sweep()
        path = cls(role, here, xfrm, receive)
        for port in ports:
            listen = Listen("udp", here, port, Zone.ACCESS)
            path._endpoints[port] = await UdpEndpoint.open(listen, path._arrived(port), _unprotected)
        return path

    def close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.close()
        self._xfrm.close()

    # ---- Path

    def install(self, association_set: AssociationSet) -> Flow:
        """States and policies, all or none, before a packet may need them."""
        agreement = association_set.agreement
        there = association_set.address
        if self._role is Role.NETWORK:
            mine, theirs = agreement.network, agreement.phone
        else:
            mine, theirs = agreement.phone, agreement.network
        if not {mine.port_c, mine.port_s} <= self._endpoints.keys():
            raise PathFailed("a protected port is not open")
        ways = _ways(self._here, mine, there, theirs)
        self._make(ways, association_set)
        self._ways[association_set] = ways
        for way in ways[:2]:
            self._by_ends[way.between.target_port, (there, way.between.source_port)] = association_set
        return self._flow(association_set, mine, (there, theirs.port_s))

    def remove(self, association_set: AssociationSet) -> None:
        """First nobody believes a datagram, then the kernel forgets."""
        ways = self._ways.pop(association_set)
        for way in ways[:2]:
            del self._by_ends[way.between.target_port, (way.between.source, way.between.source_port)]
        self._unmake(_removals(ways))

    def usage(self, association_set: AssociationSet) -> Usage:
        """Read back from the kernel. Whole packets, where user space counts what they carry."""
        out, back = Counter[str](), Counter[str]()
        for way in self._ways[association_set]:
            found = self._xfrm.counters_of(way.between.target, way.spi)
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

    def _make(self, ways: tuple[_Way, ...], association_set: AssociationSet) -> None:
        """Each way has a request identifier of its own: it ties the policy to that one state."""
        how = algorithms(association_set.agreement.suite, association_set.keys)
        done: list[Change] = []
        try:
            for place, way in enumerate(ways):
                reqid = _reqid(association_set.number, place)
                self._xfrm.change([new_state(way.between, way.spi, reqid, how, ESP_REPLAY_WINDOW)])
                done.append(delete_state(way.between.target, way.spi))
                self._xfrm.change([new_policy(way.between, way.direction, reqid)])
                done.append(delete_policy(way.between, way.direction))
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
            if owner.state in WAITS_FOR_MESSAGE:
                self.received(owner)
            if owner.flow is not None:
                self._receive(data, owner.flow)

        return arrived


def _reqid(number: int, place: int) -> int:
    """Ours, and another for each way of a set. The kernel looks for it among the states between two addresses alone,
    so that numbers may come round again.
    """
    return OWNED | (4 * number + place) & 0xFFFFFFFF & ~OWNED_MASK


def _removals(ways: tuple[_Way, ...]) -> list[Change]:
    """Policies last: while a state is gone and its policy stays, nothing passes in the clear."""
    states = [delete_state(way.between.target, way.spi) for way in ways]
    return states + [delete_policy(way.between, way.direction) for way in ways]


def _unprotected(_listen: Listen, _host: str) -> Security:
    """The sockets vouch for nobody: sets do."""
    return Clear()
