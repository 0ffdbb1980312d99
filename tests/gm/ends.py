"""Both ends of Gm over the UDP tunnel on a virtual network: a P-CSCF and phones, with everything but SIP."""

import asyncio

from redoubt.gm.admission import Admission, Attempt
from redoubt.gm.agreement import AgreementPolicy, Ends, Mode, accept, choose, client_list, written
from redoubt.gm.algorithms import Suite, expand
from redoubt.gm.allocation import Allocator
from redoubt.gm.association_set import AssociationSet, Beginning, PhoneKey, Role
from redoubt.gm.associations import Associations
from redoubt.gm.esp import Drop
from redoubt.gm.raw_esp import open_raw_esp
from redoubt.gm.states import Event
from redoubt.gm.udp_tunnel import PORT, open_udp_tunnel
from redoubt.gm.user_space import UserSpacePath
from redoubt.secret import Secret
from redoubt.sim import at_host
from redoubt.sources import SeededRandomness
from redoubt.transport.flow import Address, Flow, Zone
from redoubt.transport.listen import Listen

from .suites import CBC_SHA1

NETWORK = "192.0.2.1"
PHONE = "10.0.0.7"
IMPU = "sip:alice@ims.test"


def only(suite: Suite) -> AgreementPolicy:
    """A policy that allows one suite, in the tunnel."""
    return AgreementPolicy((suite,), confidentiality=False, legacy=True, modes=(Mode.UDP_TUNNEL,))


class End:
    """A tunnel with its association sets, and what came out of it."""

    def __init__(self, role: Role, tunnel: UserSpacePath, policy: AgreementPolicy) -> None:
        self.tunnel = tunnel
        self.policy = policy
        self.associations = Associations(role, tunnel)
        tunnel.received = self.associations.received
        tunnel.exhausted = lambda worn: self.associations.ended(worn, Event.EXHAUSTED)
        self.refused: list[tuple[Drop, Address]] = []
        tunnel.refused = lambda reason, _spi, source: self.refused.append((reason, source))
        self.inbox: list[tuple[bytes, Flow]] = []
        self.came = asyncio.Event()

    @classmethod
    async def open(cls, role: Role, host: str, suite: Suite, seed: int, raw: bool = False) -> "End":
        ends: list[End] = []

        def receive(message: bytes, flow: Flow) -> None:
            ends[0].inbox.append((message, flow))
            ends[0].came.set()

        if raw:
            ends.append(cls(role, open_raw_esp(role, host, SeededRandomness(seed), receive), only(suite)))
            return ends[0]
        listen = Listen("udp", host, PORT if role is Role.NETWORK else 0, Zone.ACCESS)
        with at_host(host):
            tunnel = await open_udp_tunnel(role, listen, host, SeededRandomness(seed), receive)
        ends.append(cls(role, tunnel, only(suite)))
        return ends[0]

    @property
    def messages(self) -> list[bytes]:
        return [message for message, _ in self.inbox]

    def close(self) -> None:
        self.associations.close()
        self.tunnel.close()


class Gm:
    """One P-CSCF and its phones."""

    def __init__(self, network: End, seed: int, suite: Suite) -> None:
        self.network = network
        self.suite = suite
        self.phones: dict[PhoneKey, End] = {}
        allocator = Allocator(SeededRandomness(seed), range(6001, 6003), range(6101, 6201))
        self.admission = Admission(network.associations, allocator, network.policy)
        self._spi = 1000

    @classmethod
    async def open(cls, suite: Suite = CBC_SHA1, host: str = NETWORK, seed: int = 1) -> "Gm":
        return cls(await End.open(Role.NETWORK, host, suite, seed), seed, suite)

    async def phone(self, impi: str = "alice", host: str = PHONE) -> PhoneKey:
        return self.adopt(impi, await End.open(Role.PHONE, host, self.suite, 10 + len(self.phones)))

    def adopt(self, impi: str, handset: End) -> PhoneKey:
        key = PhoneKey(impi, handset.tunnel.local[0])
        self.phones[key] = handset
        return key

    def challenge(
        self, key: PhoneKey, over: AssociationSet | None = None, outer: str | None = None
    ) -> tuple[AssociationSet, AssociationSet]:
        """A 401 and what both ends make of it: the network's set and the phone's."""
        self._spi += 10
        phone = self.phones[key]
        inner = phone.tunnel.local[0]
        ends = Ends(self._spi, self._spi + 1, 20000 + self._spi, 31000 + len(key.impi))
        client = client_list(phone.policy, ends)
        offer = choose(self.network.policy, Mode.UDP_TUNNEL, client)
        ck, ik = Secret(self._spi.to_bytes(16, "big")), Secret((self._spi + 1).to_bytes(16, "big"))
        call_id, nonce = f"call-{self._spi}", f"nonce-{self._spi}"
        theirs = self.admission.prepare(
            Attempt(key, outer or inner, inner, call_id, nonce, written(client), offer, ck, ik, over)
        )
        agreement = accept(phone.policy, written(client), theirs.agreement.server)
        assert agreement is not None
        keys = expand(agreement.suite, ck, ik)
        at = self.network.tunnel.local[0]
        mine = phone.associations.begin(Beginning(key, agreement, keys, at, inner, call_id, nonce, over is not None))
        return theirs, mine

    def close(self) -> None:
        for end in (self.network, *self.phones.values()):
            end.close()


def flow_of(association_set: AssociationSet) -> Flow:
    assert association_set.flow is not None
    return association_set.flow


