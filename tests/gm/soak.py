"""A day of many phones and one P-CSCF, with real ESP on both sides and nothing of SIP but the names of its messages.

Phones re-register before their registration ends, lose messages, are refused, deregister, reboot and come back from the
same ports, move to other addresses; the network demands authentication now and then; the P-CSCF dies and its successor
goes on. Every hour each registered phone must be reached under protection.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from redoubt.gm.admission import Admission, Attempt
from redoubt.gm.agreement import Agreement, AgreementPolicy, Ends, Mode, accept, choose, client_list, written
from redoubt.gm.algorithms import EspKeys, expand
from redoubt.gm.allocation import Allocator
from redoubt.gm.association_set import AssociationSet, Beginning, PhoneKey, Role
from redoubt.gm.associations import Associations
from redoubt.gm.ledger import Ledger
from redoubt.gm.restart import resume
from redoubt.gm.states import CONFIRMED, Event
from redoubt.gm.user_space import UserSpacePath, Wrapping
from redoubt.limits import LEDGER_SLOT_OCTETS
from redoubt.secret import Secret
from redoubt.sip.errors import SipError
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Address, Clear, Flow, FlowFailed, Zone
from redoubt.transport.udp import OnDatagram

from .suites import CBC_SHA1

P_CSCF = "192.0.2.1"
POLICY = AgreementPolicy((CBC_SHA1,), modes=(Mode.TRANSPORT,))
EXPIRES_S = 3600
RENEWED_S = (1500, 2100)
T1_S, TRIES = 2.0, 6  # TS 24.229 7.7
LOSS = 0.01


class Ether:
    """Carries packets between addresses, late, and some not at all."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.hosts: dict[str, tuple[UserSpacePath, Plug]] = {}
        self.packets = 0

    def send(self, source: str, target: str, packet: bytes) -> None:
        self.packets += 1
        if self.random.random() >= LOSS:
            self.loop.call_later(0.01 + self.random.random() / 50, self.arrive, source, target, packet)

    def arrive(self, source: str, target: str, packet: bytes) -> None:
        at = self.hosts.get(target)
        if at is not None:
            at[0].arrived(packet, at[1].flow_to((source, 0)))

    def clear(self, deliver: "OnDatagram", message: bytes, flow: Flow) -> None:
        """What leaves unprotected: the first REGISTER, its 401."""
        if self.random.random() >= LOSS:
            self.loop.call_later(0.01 + self.random.random() / 50, deliver, message, flow)


class Plug:
    """One address's `Outside`."""

    def __init__(self, ether: Ether, host: str) -> None:
        self.local: Address = (host, 0)
        self._ether = ether

    def flow_to(self, address: Address) -> Flow:
        send = partial(self._ether.send, self.local[0], address[0])
        return Flow("esp", self.local, address, Zone.ACCESS, Clear(), send)

    def close(self) -> None:
        self._ether.hosts.pop(self.local[0], None)


def plugged(ether: Ether, role: Role, host: str, seed: int, receive: OnDatagram) -> tuple[UserSpacePath, Associations]:
    path = UserSpacePath(role, Wrapping.TRANSPORT, host, 0, SeededRandomness(seed), receive)
    plug = Plug(ether, host)
    path.attach(plug)
    ether.hosts[host] = path, plug
    associations = Associations(role, path)
    path.received = associations.received
    path.exhausted = lambda worn: associations.ended(worn, Event.EXHAUSTED)
    return path, associations


@dataclass(slots=True)
class Challenged:
    """What a 401 says, and the set that it made."""

    agreement: Agreement
    keys: EspKeys


class Network:
    """The P-CSCF, and the home network behind it."""

    def __init__(self, ether: Ether, phones: int) -> None:
        self.ether = ether
        self.memory = bytearray(LEDGER_SLOT_OCTETS * (4 * phones + 64))
        self.clock = Clock(ether.loop, 1_000_000.0)
        self.challenges: dict[bytes, Challenged | int] = {}
        self.attempts: dict[bytes, Attempt] = {}
        self.answers: Counter[str] = Counter()
        self.probed: set[int] = set()
        self.lives = 0
        self.start()

    def start(self) -> None:
        self.lives += 1
        self.path, self.associations = plugged(self.ether, Role.NETWORK, P_CSCF, self.lives, self.receive)
        self.allocator = Allocator(SeededRandomness(self.lives), range(5064, 5068), range(20_000, 60_000))
        self.admission = Admission(self.associations, self.allocator, POLICY)
        self.ledger = Ledger(self.memory)
        self.taken = len(resume(self.ledger, self.associations, self.admission, self.clock))

    def die(self) -> None:
        self.associations.leave()
        self.path.close()
        self.challenges.clear()

    def receive(self, message: bytes, flow: Flow) -> None:
        what, _, about = message.partition(b" ")
        carrier = self.associations.of(flow)
        if what == b"SM1":
            flow.send(self.challenge(about, carrier))
        elif carrier is None or not carrier.carries_requests:
            return
        elif what == b"SM7":
            flow.send(self.judge(about, carrier))
        elif what == b"END":
            flow.send(b"OK " + about)
            self.associations.deregistered(carrier.phone.key)
        elif what == b"HERE":
            self.probed.add(int(about))

    def challenge(self, about: bytes, carrier: AssociationSet | None) -> bytes:
        """SM6, also for a repetition of SM1."""
        if about not in self.challenges:
            attempt = self.attempts[about]
            try:
                made = self.admission.prepare(replace(attempt, over=carrier))
            except SipError as refused:
                self.answers[str(refused)] += 1
                return b"NO " + about
            self.challenges[about] = Challenged(made.agreement, made.keys)
        return b"SM6 " + about

    def judge(self, about: bytes, carrier: AssociationSet) -> bytes:
        """SM12, or a refusal after which the attempt's set goes."""
        if self.ether.random.random() < 0.005:
            self.associations.failed(carrier)
            return b"NO " + about
        if not self.associations.registered(carrier, "impu", EXPIRES_S):
            return b"NO " + about
        return b"OK " + about

    def is_consistent(self) -> bool:
        sets = len(self.associations.sets)
        return (
            len(self.path._inlets) == self.allocator.spis_in_use == 2 * sets
            and len(self.path._channels) == sets == sum(len(p.sets) for p in self.associations.phones.values())
            and self.ledger.free == len(self.memory) // LEDGER_SLOT_OCTETS - 1 - sets
        )


class Handset:
    """One phone, which lives its day."""

    def __init__(self, ether: Ether, network: Network, number: int, counts: Counter[str]) -> None:
        self.ether, self.network, self.number, self.counts = ether, network, number, counts
        self.random = random.Random(number)
        self.key = PhoneKey(f"{number}@ims.test", f"<urn:{number}>")
        self.moves = self.tries = 0
        self.waits: dict[bytes, asyncio.Future[bytes]] = {}
        self.busy = True
        self.plug()

    def plug(self) -> None:
        self.host = f"10.{self.moves % 200}.{self.number >> 8}.{self.number & 255}"
        self.moves += 1
        self.port_s, self.port_c = (self.random.randrange(10_000, 65_000) for _ in "sc")
        self.path, self.associations = plugged(self.ether, Role.PHONE, self.host, self.number, self.receive)

    def receive(self, message: bytes, flow: Flow) -> None:
        what, _, about = message.partition(b" ")
        if what == b"THERE":
            self.send(b"HERE %d" % self.number, flow)
        elif (waiting := self.waits.get(about)) is not None and not waiting.done():
            waiting.set_result(what)

    def send(self, message: bytes, flow: Flow) -> None:
        try:
            flow.send(message)
        except FlowFailed:
            self.counts["flow failed"] += 1

    async def ask(self, message: bytes, flow: Flow | None) -> bytes:
        """The answer's first word; empty when none came."""
        about = message.partition(b" ")[2]
        interval_s = T1_S
        for _ in range(TRIES):
            waiting: asyncio.Future[bytes] = self.ether.loop.create_future()
            self.waits[about] = waiting
            if flow is None:
                answer_by = Flow("udp", (P_CSCF, 5060), (self.host, 5060), Zone.ACCESS, Clear(), self.answered)
                self.ether.clear(self.network.receive, message, answer_by)
            else:
                self.send(message, flow)
            try:
                async with asyncio.timeout(interval_s):
                    return await waiting
            except TimeoutError:
                interval_s = min(2 * interval_s, 16.0)
            finally:
                del self.waits[about]
        return b""

    def answered(self, message: bytes) -> None:
        self.ether.clear(self.receive, message, Flow("udp", (self.host, 0), (P_CSCF, 0), Zone.ACCESS, Clear(), len))  # type: ignore[arg-type]

    async def register(self, over: AssociationSet | None) -> bool:
        """SM1 to SM12."""
        self.tries += 1
        about = b"%d.%d" % (self.number, self.tries)
        client = client_list(POLICY, self.ends(over))
        ck, ik = (Secret(self.random.randbytes(16)) for _ in "ci")
        offer = choose(POLICY, Mode.TRANSPORT, client)
        self.network.attempts[about] = Attempt(
            self.key, self.host, self.host, about.decode(), about.decode(), written(client), offer, ck, ik
        )
        try:
            if await self.ask(b"SM1 " + about, over.flow if over is not None else None) != b"SM6":
                return False
            challenged = self.network.challenges.get(about)
            if not isinstance(challenged, Challenged):  # the P-CSCF died meanwhile
                return False
            agreement = accept(POLICY, written(client), challenged.agreement.server)
            assert agreement is not None
            assert (agreement.phone, agreement.network) == (challenged.agreement.phone, challenged.agreement.network)
            keys = expand(agreement.suite, ck, ik)
            beginning = Beginning(self.key, agreement, keys, P_CSCF, self.host, "", "", over is not None)
            made = self.associations.begin(beginning)
            if await self.ask(b"SM7 " + about, made.flow) != b"OK":
                self.associations.failed(made)
                return False
            return self.associations.registered(made, "impu", EXPIRES_S)
        finally:
            del self.network.attempts[about]
            self.network.challenges.pop(about, None)

    def ends(self, over: AssociationSet | None) -> Ends:
        """A phone that has an association takes another client port; one that forgot it comes from where it was."""
        if over is not None:
            self.port_c = 10_000 + (self.port_c - 9_999) % 55_000
        self.port_c += self.port_c == self.port_s
        spi = self.random.randrange(256, 2**32 - 1)
        return Ends(spi, spi + 1, self.port_c, self.port_s)

    async def live(self, until: float) -> None:
        await asyncio.sleep(self.random.random() * 1800)
        while self.ether.loop.time() < until:
            self.busy = True
            await self.renew()
            self.busy = False
            await asyncio.sleep(self.random.uniform(*RENEWED_S))
        self.busy = True

    async def renew(self) -> None:
        fate = self.random.random()
        over = self.associations.outgoing(self.key)
        if fate < 0.03:
            self.counts["reboots"] += 1
            self.associations.close()
            over = None
        elif fate < 0.05:
            self.counts["moves"] += 1
            self.associations.close()
            self.path.close()
            self.plug()
            over = None
        elif fate < 0.06 and over is not None:
            self.counts["deregistrations"] += 1
            await self.ask(b"END %d.%d.end" % (self.number, self.tries), over.flow)
            self.associations.deregistered(self.key)
            over = None
        elif fate < 0.08:
            self.counts["demands of authentication"] += 1
            self.network.associations.shortened(self.key, 600)
            self.associations.shortened(self.key, 600)
        while not await self.register(over):
            self.counts["attempts in vain"] += 1
            over = self.associations.outgoing(self.key) if self.random.random() < 0.5 else None
            await asyncio.sleep(5)
        self.counts["registrations over ESP" if over is not None else "registrations from the start"] += 1


async def probe(network: Network, handsets: list[Handset]) -> list[Handset]:
    """Phones that are registered and that the P-CSCF can't reach under protection."""
    network.probed.clear()
    wanted = [each for each in handsets if not each.busy]
    for _ in range(8):
        for each in wanted:
            way = network.associations.outgoing(each.key)
            if each.number not in network.probed and way is not None and way.flow is not None:
                way.flow.send(b"THERE")
        await asyncio.sleep(1)
    return [each for each in wanted if each.number not in network.probed and not each.busy]


async def day(phones: int, hours: int) -> dict[str, object]:
    """Plays it, asserts on the way, and says what happened."""
    ether, counts = Ether(1), Counter[str]()
    network = Network(ether, phones)
    handsets = [Handset(ether, network, number, counts) for number in range(phones)]
    lives = [asyncio.ensure_future(each.live(hours * 3600)) for each in handsets]
    most = 0
    for hour in range(1, hours):
        await asyncio.sleep(3600 - 8)
        if hour % 6 == 0:
            before = sum(each.state in CONFIRMED for each in network.associations.sets.values())
            network.die()
            network.start()
            assert network.taken >= before
        unreached = await probe(network, handsets)
        assert not unreached, [
            (each.number, network.associations.phones.get(each.key), each.associations.phones.get(each.key))
            for each in unreached
        ]
        assert network.is_consistent()
        most = max(most, len(network.associations.sets))
        assert most <= 2.2 * phones
    await asyncio.gather(*lives)
    await asyncio.sleep(EXPIRES_S + 300)
    assert network.is_consistent()
    assert not network.associations.sets and not network.allocator.addresses_in_use and not network.admission.half_open
    assert not network.allocator._pairs and not any(network.memory[LEDGER_SLOT_OCTETS:])
    assert not any(each.associations.sets for each in handsets)
    return {
        "phones": phones, "hours": hours, "packets": ether.packets, "most sets": most, "P-CSCFs": network.lives,
        **counts, **network.answers,
    }  # fmt: skip
