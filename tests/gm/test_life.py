"""Any sequence of registrations, answers, failures, crossings, silence and floods keeps what the life of sets promises.

Nothing leaks, nothing that is registered goes unprotected, and no two phones share a port or an SPI.
"""

import asyncio
import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from redoubt.gm.association_set import AssociationSet, PhoneKey
from redoubt.gm.restart import LASTING
from redoubt.gm.states import CONFIRMED, Event, State
from redoubt.limits import ASSOCIATION_SETS_PER_IMPI
from redoubt.sim import Network
from redoubt.sim.loop import SimLoop
from redoubt.sip.errors import SipError

from .sets import Node

PHONES = [PhoneKey("alice", "1"), PhoneKey("alice", "2"), PhoneKey("bob", "1"), PhoneKey("carol", "1")]
ADDRESSES = ["10.0.0.1", "10.0.0.2"]
PORTS = {PHONES[0]: 31001, PHONES[1]: 31003, PHONES[2]: 31005, PHONES[3]: 31007}
CEILING, PER_SOURCE, SLOTS = 6, 4, 64
phones, numbers, seconds = st.sampled_from(PHONES), st.integers(0, 50), st.sampled_from([1, 20, 64, 100, 130, 241, 700])


class Life(RuleBasedStateMachine):
    """A P-CSCF to which everything happens."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimLoop(Network(1))
        self.lives = 1
        self.begun: list[AssociationSet] = []
        self.proved: set[int] = set()
        self.ringing: list[tuple[asyncio.Future[None], asyncio.Task[None]]] = []
        self.registered: dict[PhoneKey, dict[str, float]] = {}

    @initialize()
    def start(self) -> None:
        async def make() -> Node:
            return Node(ceiling=CEILING, per_source=PER_SOURCE, client_ports=8)

        self.node = self.loop.run_until_complete(make())
        self.associations = self.node.associations

    def live(self, *states: State) -> list[AssociationSet]:
        return [each for each in self.associations.sets.values() if each.state in states]

    def pick(self, which: int, *states: State) -> AssociationSet | None:
        found = self.live(*states)
        return found[which % len(found)] if found else None

    def begin(self, phone: PhoneKey, over: AssociationSet | None, address: str) -> None:
        before = {each: each.state for each in self.associations.sets.values()}
        try:
            begun = self.node.challenge(phone, over, address, PORTS[phone])
        except SipError as refused:
            assert refused.status in (494, 503)
        else:
            self.begun.append(begun)
        for each, state in before.items():  # an attempt costs nothing that has proved itself
            if state in (State.ANSWERED, *CONFIRMED):
                assert each.state is state

    @rule(phone=phones, address=st.sampled_from(ADDRESSES))
    def a_phone_or_somebody_else_begins_without_protection(self, phone: PhoneKey, address: str) -> None:
        self.begin(phone, None, address)

    @rule(which=numbers)
    def a_phone_begins_on_its_association(self, which: int) -> None:
        over = self.pick(which, State.IN_USE, State.ESTABLISHED, State.OLD)
        if over is not None:
            self.begin(over.phone.key, over, over.address)

    @rule(which=numbers)
    def a_packet_comes(self, which: int) -> None:
        carrier = self.pick(which, *set(State) - {State.ENDED})
        if carrier is not None:
            self.proved.add(carrier.number)
            self.associations.received(carrier)

    @rule(which=numbers, impu=st.sampled_from("xyz"), expires_s=st.sampled_from([60, 600, 3600]))
    def a_200_registers(self, which: int, impu: str, expires_s: int) -> None:
        carrier = self.pick(which, *set(State) - {State.ENDED})
        if carrier is None:
            return
        before = set(self.associations.phones)
        if self.associations.registered(carrier, impu, expires_s):
            lasting = self.registered.setdefault(carrier.phone.key, {})
            lasting[impu] = self.loop.time() + expires_s
            assert carrier.number in self.proved
            for key in before - self.associations.phones.keys():  # displaced
                assert key.impi == carrier.phone.key.impi and key != carrier.phone.key
                self.registered.pop(key, None)

    @rule(which=numbers)
    def an_authentication_fails(self, which: int) -> None:
        carrier = self.pick(which, *set(State) - {State.ENDED})
        if carrier is not None:
            others = {each: each.state for each in self.associations.sets.values() if each is not carrier}
            self.associations.failed(carrier)
            assert all(each.state is state for each, state in others.items())

    @rule(which=numbers)
    def an_authentication_ends_a_registration(self, which: int) -> None:
        carrier = self.pick(which, *set(State) - {State.ENDED})
        if carrier is not None:
            others = {each: each.state for each in self.associations.sets.values() if each is not carrier}
            self.associations.concluded(carrier)
            assert all(each.state is state for each, state in others.items())

    @rule(phone=phones, impu=st.sampled_from(["x", "y", "z", None]))
    def a_registration_ends(self, phone: PhoneKey, impu: str | None) -> None:
        self.associations.deregistered(phone, impu)
        lasting = self.registered.get(phone, {})
        for name in [impu] if impu else list(lasting):
            lasting.pop(name, None)

    @rule(phone=phones, within_s=st.sampled_from([5, 60]))
    def the_network_demands_authentication(self, phone: PhoneKey, within_s: int) -> None:
        self.associations.shortened(phone, within_s)
        until = self.loop.time() + within_s
        self.registered[phone] = {n: min(t, until) for n, t in self.registered.get(phone, {}).items()}

    @rule(which=numbers)
    def an_invite_begins_to_ring(self, which: int) -> None:
        carrier = self.pick(which, State.ESTABLISHED, State.IN_USE, State.OLD)
        if carrier is not None and carrier.flow is not None:
            answer: asyncio.Future[None] = self.loop.create_future()
            self.ringing.append((answer, self.loop.create_task(self.associations.serve(carrier.flow, answer))))
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(which=numbers)
    def an_invite_is_answered(self, which: int) -> None:
        if self.ringing:
            answer, served = self.ringing.pop(which % len(self.ringing))
            answer.set_result(None)
            self.loop.run_until_complete(served)

    @precondition(lambda self: len(self.begun) > 3)
    @rule(which=numbers)
    def sequence_numbers_run_out(self, which: int) -> None:
        worn = self.pick(which, *set(State) - {State.ENDED})
        if worn is not None:
            confirmed = [each for each in worn.phone.sets if each.state in CONFIRMED and each is not worn]
            self.associations.ended(worn, Event.EXHAUSTED)
            assert worn.state is State.ENDED
            if not confirmed:
                self.registered.pop(worn.phone.key, None)

    @rule()
    def the_process_dies_and_another_goes_on(self) -> None:
        """Sets whose authentication succeeded are there again; attempts are not."""
        living = {self.facts(each) for each in self.live(*LASTING) if each.rank}
        self.associations.leave()
        self.lives += 1
        taken = self.loop.run_until_complete(self.start_again())
        self.associations = self.node.associations
        assert {self.facts(each) for each in taken} == living
        self.begun, self.proved = list(taken), {each.number for each in taken}

    async def start_again(self) -> list[AssociationSet]:
        return self.node.start(self.lives)

    def facts(self, each: AssociationSet) -> tuple[object, ...]:
        """What must not change over a death."""
        network = each.agreement.network
        return each.phone.key, each.state, network, each.agreement.phone, each.keys.encryption.reveal(), each.address

    @rule(seconds=seconds)
    def time_passes(self, seconds: int) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds + 0.01))

    # ---- what always holds

    @invariant()
    def nothing_leaks(self) -> None:
        if not hasattr(self, "node"):
            return
        sets = self.associations.sets
        now = self.loop.time()
        assert self.node.ducts.installed == sets
        assert all(each.state is not State.ENDED and now <= each.ends_at < now + 3631 for each in sets.values())
        looked_at = self.associations._deadlines._at
        assert looked_at.keys() == sets.keys()
        assert all(looked_at[number] <= each.ends_at for number, each in sets.items())
        assert self.node.allocator.spis_in_use == 2 * len(sets)
        assert self.node.ledger.free == SLOTS - len(sets)
        assert {number for phone in self.associations.phones.values() for number in (s.number for s in phone.sets)} == (
            set(sets)
        )
        assert all(not each.keys.encryption for each in self.begun if each.state is State.ENDED)

    @invariant()
    def nothing_registered_goes_unprotected(self) -> None:
        if not hasattr(self, "node"):
            return
        now = self.loop.time()
        for key, lasting in self.registered.items():
            if any(until > now for until in lasting.values()):
                protecting = self.associations.outgoing(key)
                assert protecting is not None, key
                assert protecting.number in self.proved
                lives = [each.ends_at for each in protecting.phone.sets if each.state in CONFIRMED]
                assert max(lives) >= max(until for until in lasting.values())
        for phone in self.associations.phones.values():
            states = Counter(each.state for each in phone.sets)
            assert states[State.IN_USE] <= 1
            assert states[State.IN_USE] == 1 or not states[State.ESTABLISHED]

    @invariant()
    def no_port_and_no_spi_is_shared(self) -> None:
        if not hasattr(self, "node"):
            return
        sets = list(self.associations.sets.values())
        spis = [spi for each in sets for spi in (each.agreement.network.spi_c, each.agreement.network.spi_s)]
        assert len(set(spis)) == len(spis)
        assert all(spi >= 256 for spi in spis)
        towards = [(each.address, each.agreement.network.port_c) for each in sets]
        assert len(set(towards)) == len(towards)
        owners: dict[tuple[str, int], str] = {}
        for each in sets:
            ends = each.agreement.phone
            assert not {ends.spi_c, ends.spi_s} & {each.agreement.network.spi_c, each.agreement.network.spi_s}
            for port in (ends.port_c, ends.port_s):
                assert owners.setdefault((each.address, port), each.phone.key.impi) == each.phone.key.impi

    @invariant()
    def ceilings_hold(self) -> None:
        if not hasattr(self, "node"):
            return
        of_impi = Counter(each.phone.key.impi for each in self.associations.sets.values())
        assert max(of_impi.values(), default=0) <= ASSOCIATION_SETS_PER_IMPI
        unproved = [each for each in self.live(State.TEMPORARY) if not each.vouched]
        assert len(unproved) == self.node.admission.half_open <= CEILING
        assert max(Counter(each.address for each in unproved).values(), default=0) <= PER_SOURCE

    def teardown(self) -> None:
        if hasattr(self, "node"):
            self.loop.run_until_complete(asyncio.sleep(4000))
            assert self.node.nothing_left
            while self.ringing:
                self.an_invite_is_answered(0)
        self.loop.close()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)


def test_what_registers_on_a_set_that_was_to_close_outlives_the_process() -> None:
    """A REGISTER crosses the end of a challenged de-registration (found by the machine above)."""
    life = Life()
    life.start()
    life.a_phone_or_somebody_else_begins_without_protection(PHONES[0], ADDRESSES[0])
    life.a_packet_comes(0)
    life.an_authentication_ends_a_registration(0)
    life.a_200_registers(0, "x", 60)
    life.the_process_dies_and_another_goes_on()
    assert life.live(State.IN_USE)
    life.teardown()


def test_a_day_of_re_registrations_leaks_no_set_and_lacks_none() -> None:
    """Requirement of the soak: phones that re-register all day, some answers lost, some phones restarted."""
    loop, chance = SimLoop(Network(2)), random.Random(2)

    async def day() -> None:
        node = Node(client_ports=50)
        keys = [PhoneKey(f"{n}@ims.test", "x") for n in range(30)]
        sets = [node.authenticate(key, address=f"10.0.0.{n % 7}", port_s=30000 + n) for n, key in enumerate(keys)]
        lost: set[int] = set()
        for _ in range(48):
            await asyncio.sleep(1800)
            for n, key in enumerate(keys):
                over = sets[n] if chance.random() < 0.9 else None
                made = node.challenge(key, over, f"10.0.0.{n % 7}", 30000 + n)
                if n not in lost and chance.random() < 0.1:
                    lost.add(n)  # the answer never comes, this time
                    continue
                lost.discard(n)
                node.associations.received(made)
                assert node.associations.registered(made, "x", 3600)
                if chance.random() < 0.7:
                    node.associations.received(made)
                sets[n] = made
            assert all(node.associations.outgoing(key) for key in keys)
        await asyncio.sleep(300)
        assert len(node.associations.sets) <= 2 * len(keys)
        await asyncio.sleep(3700)
        assert node.nothing_left

    loop.run_until_complete(day())
    loop.close()
