"""One simulated world for the seed suite: networks' functions on hosts of their own, phones on theirs.

Built from the same parts as a real network; only wires and time are virtual. `disagreements` and `leftovers` say what a
seed is judged by: that everybody agrees on who is registered, and that nothing stays behind.
"""

import asyncio
import itertools
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redoubt.border.hiding_keys import new_ring, write_ring
from redoubt.config import AccessPolicy, Config
from redoubt.cscf.pcscf.pcscf import PCscf
from redoubt.cscf.scscf.scscf import SCscf
from redoubt.events import Bug, Event, EventStream, Registered
from redoubt.hss.hss import Hss
from redoubt.hss.keys import create_key, write_key_file
from redoubt.hss.records import RegistrationState
from redoubt.lab.population import Resident, residents
from redoubt.network.configuration import from_tree
from redoubt.network.run import Network
from redoubt.phone.call import Call
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sim import Network as Wire
from redoubt.sim import at_host
from redoubt.sip.stack import Stack
from redoubt.transport.tls import TlsSettings

MEMORY = "/dev/shm"  # noqa: S108 - the folders made in it are this user's alone
EPOCH_S = 1_800_000_000.0  # wall clocks of the simulated world start here
P_CSCF_HOST, CORE_HOST, HSS_HOST = "10.1.0.1", "10.2.0.1", "10.4.0.1"
Parts = tuple[tuple[str, tuple[str, ...]], ...]  # function groups by host
Tree = dict[str, Any]
PARTS: tuple[Parts, ...] = (
    ((P_CSCF_HOST, ("p-cscf", "i-cscf", "s-cscf", "hss")),),
    ((P_CSCF_HOST, ("p-cscf",)), (CORE_HOST, ("i-cscf", "s-cscf", "hss"))),
    ((P_CSCF_HOST, ("p-cscf",)), (CORE_HOST, ("i-cscf", "s-cscf")), (HSS_HOST, ("hss",))),
)


@dataclass(slots=True, eq=False)
class Handset:
    """A subscriber with a phone, and what its owner has been up to."""

    resident: Resident
    host: str
    phone: Phone
    p_cscf: str  # the host of that
    visited: str  # the realm under whose roof it is
    subscribes: bool = False
    stack: Stack = field(repr=False, kw_only=True)

    @property
    def name(self) -> str:
        return self.resident.name

    @property
    def impu(self) -> str:
        return self.resident.impu

    @property
    def realm(self) -> str:
        """Of its home network."""
        return self.resident.realm


@dataclass(slots=True, eq=False)
class World:
    """Everything that runs in one seed. Made by `build`, ended by `close`."""

    wire: Wire
    events: EventStream
    folder: tempfile.TemporaryDirectory[str]
    parts: list[Network] = field(default_factory=list)
    handsets: list[Handset] = field(default_factory=list)
    bugs: list[Bug] = field(default_factory=list)
    longest_registration_s: int = 3_600
    links: list[tuple[list[str], list[str]]] = field(default_factory=list)  # hosts with a way between that may break

    @classmethod
    async def build(cls, wire: Wire, phones: int, *, hosts: int, access: AccessPolicy, tracing: bool) -> Self:
        """Starts the network, on so many hosts, and opens that many phones, with IPsec where policy demands it."""
        world = cls.empty(wire, tracing=tracing)
        at = [host for host, _functions in PARTS[hosts - 1]]
        config = await world.start_network(_tree(at, access), PARTS[hosts - 1])
        world.links = [([inner], [outer]) for outer, inner in itertools.pairwise(at)]
        made = residents([f"user{i}" for i in range(1, phones + 1)], config.network.realm, wire.randomness)
        await world.hss.administration.add([resident.subscriber() for resident in made])
        for number, resident in enumerate(made, 1):
            host = f"10.3.{number >> 8}.{number & 255}"
            await world.open_phone(resident, host, P_CSCF_HOST, GmOptions() if access == "ipsec" else None)
        return world

    @classmethod
    def empty(cls, wire: Wire, *, tracing: bool) -> Self:
        """A world without anybody."""
        events = EventStream()
        events.tracing = tracing
        world = cls(wire, events, tempfile.TemporaryDirectory(prefix="redoubt-seed-", dir=_quick_folder()))
        events.listen(world._note_bug)
        return world

    async def start_network(self, tree: Tree, parts: Parts, border_tls: TlsSettings | None = None) -> Config:
        """One operator's network, whose parts are on those hosts."""
        config = from_tree(tree)
        directory = Path(self.folder.name) / config.network.realm
        directory.mkdir()
        write_key_file(directory / config.hss.key_file, create_key(self.wire.randomness))
        if config.ibcf.listen:
            write_ring(directory / config.ibcf.hiding_keys, new_ring(self.wire.randomness, EPOCH_S))
        for host, functions in parts:
            with at_host(host):
                part = await Network.start(
                    config, directory, only=functions, events=self.events, randomness=self.wire.randomness,
                    epoch_s=EPOCH_S, border_tls=border_tls,
                )  # fmt: skip
            self.parts.append(part)
        return config

    async def open_phone(
        self, resident: Resident, host: str, p_cscf: str, gm: GmOptions | None, visited: str = ""
    ) -> None:
        """A phone of that resident's, at its home or in a visited network."""
        context = self.parts[0].context.named(resident.name)
        with at_host(host):
            stack = Stack(context)
            phone = Phone(context, resident.card(), stack, f"sip:{p_cscf}:5060", gm=gm)
            await phone.open(f"udp:{host}:5060")
        self.handsets.append(Handset(resident, host, phone, p_cscf, visited or resident.realm, stack=stack))

    @property
    def hss(self) -> Hss:
        """Of the first network."""
        return self.hss_of(self.realm)

    @property
    def realm(self) -> str:
        """Of the first network."""
        return self.parts[0].config.network.realm

    def hss_of(self, realm: str) -> Hss:
        return next(part.hss for part in self.parts_of(realm) if part.hss is not None)

    def p_cscf_of(self, realm: str) -> PCscf:
        return next(part.p_cscf for part in self.parts_of(realm) if part.p_cscf is not None)

    def s_cscf_of(self, realm: str) -> SCscf:
        return next(part.s_cscf for part in self.parts_of(realm) if part.s_cscf is not None)

    def phones_cut_off(self, some: list[Handset]) -> list[tuple[list[str], list[str]]]:
        """These phones' ways to their P-CSCFs."""
        return [([handset.host for handset in some], sorted({handset.p_cscf for handset in some}))]

    def parts_of(self, realm: str) -> list[Network]:
        return [part for part in self.parts if part.config.network.realm == realm]

    async def close(self) -> None:
        """Everything stops at once."""
        for handset in self.handsets:
            await handset.phone.close()
        for part in self.parts:
            await part.close()
        self.folder.cleanup()

    async def disagreements(self) -> dict[str, dict[str, bool]]:
        """Users about whom phone, P-CSCF, S-CSCF and HSS don't say the same, with what each says."""
        views = {handset.impu: await self.views(handset) for handset in self.handsets}
        return {impu: view for impu, view in views.items() if len(set(view.values())) > 1}

    async def views(self, handset: Handset) -> dict[str, bool]:
        """Who holds this user for registered."""
        now, impu = asyncio.get_running_loop().time(), handset.impu
        p_cscf, s_cscf = self.p_cscf_of(handset.visited), self.s_cscf_of(handset.realm)
        assignment = (await self.hss_of(handset.realm).administration.show(handset.resident.impi)).assignment
        return {
            "phone": handset.phone.registration.holds,
            "p-cscf": any(not b.is_ending and b.expires_at > now for b in p_cscf.bindings.of_impu(impu)),
            "s-cscf": bool(s_cscf.registrations.contacts(impu, now)),
            "hss": any(one.state is RegistrationState.REGISTERED for one in assignment.sets),
        }

    def now(self) -> float:
        """By the wall clocks of this world."""
        return self.parts[0].context.clock.now()

    def registered_since(self, handset: Handset, at: float) -> bool:
        """Whether a registration of the handset's succeeded after that time."""
        found = [event for event in self.events.recent if isinstance(event, Registered)]
        return any(event.impu == handset.impu and event.at > at for event in found)

    def leftovers(self) -> dict[str, int]:
        """Entries of tables that are not empty: functions' and phones'."""
        sizes: dict[str, int] = {}
        for part in self.parts:
            realm = part.config.network.realm
            sizes |= {f"{realm} {name}": size for name, size in part.table_sizes().items()}
            sizes[f"{realm} tasks of {', '.join(sorted(part.only))}"] = len(part.context.tasks)
        for handset in self.handsets:
            sizes[f"{handset.name} client transactions"] = handset.stack.client_transactions
            sizes[f"{handset.name} server transactions"] = handset.stack.server_transactions
            sizes[f"{handset.name} exchanges"] = handset.stack.exchanges
            sizes[f"{handset.name} calls"] = len(open_calls(handset.phone))
            gm = handset.phone.line.gm
            sizes[f"{handset.name} association sets"] = len(gm.associations.sets) if gm is not None else 0
        return {name: size for name, size in sizes.items() if size}

    def _note_bug(self, event: Event) -> None:
        if isinstance(event, Bug):
            self.bugs.append(event)


def _quick_folder() -> str | None:
    """Stores in memory, where there is such a folder: no seed takes the power away, and syncing to disk takes time."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


def open_calls(phone: Phone) -> list[Call]:
    """The calls of a phone that are not over."""
    return [owner for owner in phone.line.dialogs.values() if isinstance(owner, Call)]


def _tree(hosts: list[str], access_policy: AccessPolicy) -> Tree:
    """Everything listens on UDP, and on TCP for what a datagram can't hold (RFC 3261 18.1.1)."""

    def at(host: str, port: int) -> list[str]:
        return [f"udp:{host}:{port}", f"tcp:{host}:{port}"]

    access, core, hss = hosts[0], (hosts * 2)[1], hosts[-1]
    return {
        "network": {"trusted-nodes": hosts},
        "p-cscf": {"listen": at(access, 5060), "core": at(access, 5070)},
        "i-cscf": {"listen": at(core, 5071)},
        "s-cscf": {"listen": at(core, 5072)},
        "hss": {"diameter": [f"tcp:{hss}:3868"]},
        "gm": {"listen": [f"udp:{access}:4500"]},
        "access": {"policy": access_policy},
    }
