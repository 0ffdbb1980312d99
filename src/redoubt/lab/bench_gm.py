"""What IPsec costs a P-CSCF: a message through ESP each way, an association set in memory, a registration beside one
in the clear.
"""

import asyncio
import gc
import os
import time
import tracemalloc
from dataclasses import dataclass
from statistics import median

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.events import EventStream
from redoubt.gm.agreement import STRENGTH, Agreement, Ends, Mode
from redoubt.gm.algorithms import Suite, expand
from redoubt.gm.association_set import AssociationSet, Beginning, PhoneKey, Role
from redoubt.gm.associations import Associations
from redoubt.gm.user_space import UserSpacePath, Wrapping
from redoubt.lab.bench import Server, Tick, two_cores
from redoubt.lab.bench_server import OPC, REALM, K
from redoubt.lab.load import LoadFailed
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.secret import Secret
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Address, Clear, Flow, Zone

MESSAGE_OCTETS = 512
WARM_UP = 2_000
SETS = 2_000  # in memory
AT_ONCE = 8
TURNS = 5  # of both ways, and the median of each: what else a machine does in one of them counts for nothing
GOAL = 1.25  # times what a registration in the clear costs, at most
WAYS = ("in the clear", "under IPsec")
NETWORK, PHONE = "192.0.2.1", "10.0.0.1"
KEY = Secret(bytes(range(16)))


@dataclass(frozen=True, slots=True)
class SuiteCost:
    """Microseconds of one core for a message out to a phone and in from it."""

    suite: str
    out_us: float
    in_us: float


@dataclass(frozen=True, slots=True)
class GmCost:
    """`clear_us` and `esp_us` are the CPU of the network's process, user and system, for a full registration by the
    same phones, which have a process of their own.
    """

    suites: list[SuiteCost]
    bytes_per_set: int
    registrations: int
    clear_us: float
    esp_us: float

    @property
    def ratio(self) -> float:
        return round(self.esp_us / self.clear_us, 3)


def bench_gm(count: int, tick: Tick = lambda what, done, of: None) -> GmCost:
    """Measures `count` messages of each suite, and a tenth as many registrations each way. Raises LoadFailed."""
    network_core, load_core = two_cores()
    if load_core < 0:
        return _measured(count, network_core, tick)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {load_core})
    try:
        return _measured(count, network_core, tick)
    finally:
        os.sched_setaffinity(0, before)


def _measured(count: int, network_core: int, tick: Tick) -> GmCost:
    suites = [suite for suite in STRENGTH if not suite.is_legacy]
    costs = []
    for done, suite in enumerate(suites, 1):
        costs.append(asyncio.run(_suite_cost(suite, count)))
        tick("suites", done, len(suites))
    memory = asyncio.run(_bytes_per_set())
    registrations = max(100, count // 10)
    clear_us, esp_us = _registrations(registrations, network_core, tick)
    return GmCost(costs, memory, registrations, clear_us, esp_us)


# ---- packets


class _Wire:
    """A socket that hands each packet to whoever measures."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.local: Address = (NETWORK, 4500)
        self.flow = Flow("udp", self.local, (PHONE, 4500), Zone.ACCESS, Clear(), self.packets.append)

    def flow_to(self, _address: Address) -> Flow:
        return self.flow

    def close(self) -> None:
        """Nothing is open."""


class _End:
    """One end with its sets, and how many messages came out of it."""

    def __init__(self, role: Role, here: str) -> None:
        self.wire = _Wire()
        self.came = 0
        self.path = UserSpacePath(role, Wrapping.TUNNEL, here, 4500, SystemRandomness(), self._receive)
        self.path.attach(self.wire)
        self.sets = Associations(role, self.path)
        self.path.received = self.sets.received

    def begin(self, suite: Suite, number: int = 0) -> AssociationSet:
        spi = 1_000 + 10 * number
        phone, network = Ends(spi, spi + 1, 20_000, 20_001), Ends(spi + 2, spi + 3, 30_000, 30_001)
        agreement = Agreement(suite, Mode.UDP_TUNNEL, phone, network, "", "")
        key, keys = PhoneKey(f"u{number}@{REALM}", "contact"), expand(suite, KEY, KEY)
        address, inner = (PHONE, PHONE) if self.path.local[0] == NETWORK else (NETWORK, PHONE)
        return self.sets.begin(Beginning(key, agreement, keys, address, inner, "call", f"nonce {number}"))

    def _receive(self, _message: bytes, _flow: Flow) -> None:
        self.came += 1


async def _suite_cost(suite: Suite, count: int) -> SuiteCost:
    network, phone = _End(Role.NETWORK, NETWORK), _End(Role.PHONE, PHONE)
    ours, theirs = network.begin(suite), _phones(phone, suite)
    message = bytes(MESSAGE_OCTETS)
    assert ours.flow is not None and theirs.flow is not None
    for _ in range(count + WARM_UP):
        theirs.flow.send(message)
    packets = phone.wire.packets
    for packet in packets[:WARM_UP]:
        network.path.arrived(packet, network.wire.flow)
    began = time.process_time()
    for packet in packets[WARM_UP:]:
        network.path.arrived(packet, network.wire.flow)
    in_s = time.process_time() - began
    if network.came != count + WARM_UP:
        raise LoadFailed(f"{network.came} of {count + WARM_UP} packets were opened")
    for _ in range(WARM_UP):
        ours.flow.send(message)
    began = time.process_time()
    for _ in range(count):
        ours.flow.send(message)
    out_s = time.process_time() - began
    network.sets.close()
    phone.sets.close()
    return SuiteCost(str(suite), round(out_s / count * 1e6, 2), round(in_s / count * 1e6, 2))


def _phones(phone: _End, suite: Suite) -> AssociationSet:
    phone.wire.local = (PHONE, 4500)
    return phone.begin(suite)


async def _bytes_per_set() -> int:
    network = _End(Role.NETWORK, NETWORK)
    network.begin(STRENGTH[0], SETS)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(SETS):
        network.begin(STRENGTH[0], number)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    network.sets.close()
    return used // SETS


# ---- registrations


def _registrations(count: int, core: int, tick: Tick) -> tuple[float, float]:
    """The same phones register at the same network, which takes both: some in the clear, as many under IPsec."""
    each = count // TURNS
    server = Server(2 * each * (TURNS + 1), core, False)
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    first = 0
    try:
        for turn in range(TURNS + 1):
            for way in WAYS if turn % 2 else reversed(WAYS):
                before = server.ask("cpu")["cpu_s"]
                asyncio.run(_register_all(server.started, range(first, first + each), way, tick if turn else _untold))
                if turn:  # the first warms up
                    spent[way].append((server.ask("cpu")["cpu_s"] - before) / each)
                first += each
    finally:
        server.close()
    in_clear, under_ipsec = (round(median(spent[way]) * 1e6, 1) for way in WAYS)
    return in_clear, under_ipsec


def _untold(what: str, done: int, of: int) -> None:
    """Nobody waits for the end of a warm-up."""


async def _register_all(where: dict[str, int], users: range, way: str, tick: Tick) -> None:
    waiting = iter(users)
    done = 0

    async def work() -> None:
        nonlocal done
        for user in waiting:
            await _register(where, user, way == WAYS[1])
            done += 1
            tick(way, done, len(users))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def _register(where: dict[str, int], user: int, under_ipsec: bool) -> None:
    impi = f"u{user}@{REALM}"
    functions = Milenage(Secret(bytes.fromhex(K)), Secret(bytes.fromhex(OPC)))
    card = PhoneIdentity(impi, (f"sip:{impi}",), REALM, Isim(functions))
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    gm = GmOptions(port=where["tunnel"]) if under_ipsec else None
    proxy = f"sip:{where['host']}:{where['port']}"
    phone = Phone(context, card, Stack(context), proxy, renews=False, gm=gm)
    try:
        await phone.open(f"udp:127.{1 + user // 62_500}.{user // 250 % 250}.{1 + user % 250}:0")
        result = await phone.register(600_000)
        if not result.registered:
            raise LoadFailed(f"{impi} was answered {result.status} {result.reason}")
    finally:
        await phone.close()
