"""A P-CSCF's association sets in virtual time, without a wire: what is installed is a dictionary."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redoubt.gm.admission import Admission, Attempt
from redoubt.gm.agreement import AgreementPolicy, Ends, Mode, choose, client_list, written
from redoubt.gm.allocation import Allocator
from redoubt.gm.association_set import AssociationSet, PhoneKey, Role, Usage
from redoubt.gm.associations import Associations
from redoubt.gm.half_open import HalfOpen
from redoubt.gm.ledger import Ledger
from redoubt.gm.restart import resume
from redoubt.gm.states import Event, Row, State
from redoubt.limits import LEDGER_SLOT_OCTETS
from redoubt.secret import Secret
from redoubt.sim import Network, run
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import EspAssociation, Flow, FlowFailed, Zone

POLICY = AgreementPolicy()
HERE = "10.0.0.1"
ALICE, BOB = PhoneKey("alice@ims.test", "phone-a"), PhoneKey("bob@ims.test", "phone-b")
IMPU = "sip:alice@ims.test"
T = TypeVar("T")


class Ducts:
    """A path whose packets are method calls: what is installed can carry, what is removed can't."""

    def __init__(self) -> None:
        self.installed: dict[int, AssociationSet] = {}
        self.used: dict[int, Usage] = {}

    def install(self, association_set: AssociationSet) -> Flow:
        assert association_set.number not in self.installed
        assert association_set.keys.integrity or association_set.keys.encryption
        number = association_set.number
        self.installed[number] = association_set
        security = EspAssociation(number, association_set.phone.key.impi)

        def send(_data: bytes) -> None:
            if number not in self.installed:
                raise FlowFailed("the set has ended")

        return Flow("udp", ("192.0.2.1", 6001), (association_set.inner, 31001), Zone.ACCESS, security, send)

    def remove(self, association_set: AssociationSet) -> None:
        del self.installed[association_set.number]

    def usage(self, association_set: AssociationSet) -> Usage:
        return self.used.get(association_set.number, Usage())


class Node:
    """A P-CSCF's associations with everything around them."""

    def __init__(
        self, seed: int = 1, ceiling: int = 1000, per_source: int = 10, client_ports: int = 100, slots: int = 64
    ) -> None:
        self._limits = ceiling, per_source, client_ports
        self.memory = bytearray(LEDGER_SLOT_OCTETS * (slots + 1))
        self.clock = Clock(asyncio.get_running_loop(), 1_000_000.0)
        self._spi = 1000
        self.start(seed)

    def start(self, seed: int) -> list[AssociationSet]:
        """A process begins, and goes on where one ended."""
        ceiling, per_source, client_ports = self._limits
        self.ducts = Ducts()
        self.associations = Associations(Role.NETWORK, self.ducts)
        self.allocator = Allocator(SeededRandomness(seed), range(6001, 6003), range(6101, 6101 + client_ports))
        self.admission = Admission(self.associations, self.allocator, POLICY, HalfOpen(ceiling, per_source))
        self.heard: list[tuple[int, State, Event, Row | None]] = []
        self.associations.listeners.append(lambda s, before, e, row: self.heard.append((s.number, before, e, row)))
        self.ledger = Ledger(self.memory)
        return resume(self.ledger, self.associations, self.admission, self.clock)

    def ends(self, port_s: int = 31001) -> Ends:
        self._spi += 10
        return Ends(self._spi, self._spi + 1, 20000 + self._spi % 9000, port_s)

    def attempt(
        self, phone: PhoneKey = ALICE, over: AssociationSet | None = None, address: str = HERE, port_s: int = 31001
    ) -> Attempt:
        client = client_list(POLICY, self.ends(port_s))
        offer = choose(POLICY, Mode.TRANSPORT, client)
        tag = str(self._spi)
        key = Secret(self._spi.to_bytes(16, "big"))
        return Attempt(phone, address, address, f"call-{tag}", f"nonce-{tag}", written(client), offer, key, key, over)

    def challenge(
        self, phone: PhoneKey = ALICE, over: AssociationSet | None = None, address: str = HERE, port_s: int = 31001
    ) -> AssociationSet:
        return self.admission.prepare(self.attempt(phone, over, address, port_s))

    def authenticate(
        self,
        phone: PhoneKey = ALICE,
        over: AssociationSet | None = None,
        address: str = HERE,
        expires_s: float = 3600,
        port_s: int = 31001,
    ) -> AssociationSet:
        made = self.challenge(phone, over, address, port_s)
        self.associations.received(made)
        assert self.associations.registered(made, IMPU, expires_s)
        return made

    @property
    def nothing_left(self) -> bool:
        return not (
            self.associations.sets or self.associations.phones or self.ducts.installed
            or self.allocator.spis_in_use or self.allocator.addresses_in_use or self.admission.half_open
        )  # fmt: skip


def virtually(story: Callable[[Node], Awaitable[T]]) -> T:
    """Runs a story in virtual time; at its end all sets are closed."""

    async def main(_network: Network) -> T:
        node = Node()
        result = await story(node)
        node.associations.close()
        return result

    return run(main, 1)


async def after(seconds: float) -> None:
    await asyncio.sleep(seconds)
