"""One simulated world for the seed suite: the network's functions on hosts of their own, phones on theirs.

Built from the same parts as a real network; only wires and time are virtual. `disagreements` and `leftovers` say what a
seed is judged by: that everybody agrees on who is registered, and that nothing stays behind.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redoubt.config import AccessPolicy, Config
from redoubt.events import Bug, Event, EventStream
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

EPOCH_S = 1_800_000_000.0  # wall clocks of the simulated world start here
P_CSCF_HOST, CORE_HOST, HSS_HOST = "10.1.0.1", "10.2.0.1", "10.4.0.1"
PARTS = (  # function groups by host
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
    subscribes: bool = False
    stack: Stack = field(repr=False, kw_only=True)

    @property
    def name(self) -> str:
        return self.resident.name

    @property
    def impu(self) -> str:
        return self.resident.impu


@dataclass(slots=True, eq=False)
class World:
    """Everything that runs in one seed. Made by `build`, ended by `close`."""

    wire: Wire
    events: EventStream
    folder: tempfile.TemporaryDirectory[str]
    parts: list[Network] = field(default_factory=list)
    handsets: list[Handset] = field(default_factory=list)
    bugs: list[Bug] = field(default_factory=list)

    @classmethod
    async def build(cls, wire: Wire, phones: int, *, hosts: int, access: AccessPolicy, tracing: bool) -> Self:
        """Starts the network, on so many hosts, and opens that many phones, with IPsec where policy demands it."""
        events = EventStream()
        events.tracing = tracing
        world = cls(wire, events, tempfile.TemporaryDirectory(prefix="redoubt-seed-"))
        events.listen(world._note_bug)
        directory = Path(world.folder.name)
        write_key_file(directory / Config().hss.key_file, create_key(wire.randomness))
        config = from_tree(_tree([host for host, _functions in PARTS[hosts - 1]], access))
        for host, functions in PARTS[hosts - 1]:
            with at_host(host):
                part = await Network.start(
                    config, directory, only=functions, events=events, randomness=wire.randomness, epoch_s=EPOCH_S
                )
                world.parts.append(part)
        made = residents([f"user{i}" for i in range(1, phones + 1)], config.network.realm, wire.randomness)
        await world.hss.administration.add([resident.subscriber() for resident in made])
        for number, resident in enumerate(made, 1):
            host = f"10.3.{number >> 8}.{number & 255}"
            await world._open_phone(resident, host, GmOptions() if access == "ipsec" else None)
        return world

    @property
    def realm(self) -> str:
        return self.parts[0].config.network.realm

    @property
    def hss(self) -> Hss:
        return next(part.hss for part in self.parts if part.hss is not None)

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
        p_cscf = next(part.p_cscf for part in self.parts if part.p_cscf is not None)
        s_cscf = next(part.s_cscf for part in self.parts if part.s_cscf is not None)
        assignment = (await self.hss.administration.show(handset.resident.impi)).assignment
        return {
            "phone": handset.phone.registration.holds,
            "p-cscf": any(not b.is_ending and b.expires_at > now for b in p_cscf.bindings.of_impu(impu)),
            "s-cscf": bool(s_cscf.registrations.contacts(impu, now)),
            "hss": any(one.state is RegistrationState.REGISTERED for one in assignment.sets),
        }

    def leftovers(self) -> dict[str, int]:
        """Entries of tables that are not empty: functions' and phones'."""
        sizes: dict[str, int] = {}
        for part in self.parts:
            sizes |= part.table_sizes()
            sizes[f"tasks of {', '.join(sorted(part.only))}"] = len(part.context.tasks)
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

    async def _open_phone(self, resident: Resident, host: str, gm: GmOptions | None) -> None:
        context = self.parts[0].context.named(resident.name)
        with at_host(host):
            stack = Stack(context)
            phone = Phone(context, resident.card(), stack, f"sip:{P_CSCF_HOST}:5060", gm=gm)
            await phone.open(f"udp:{host}:5060")
        self.handsets.append(Handset(resident, host, phone, stack=stack))


def open_calls(phone: Phone) -> list[Call]:
    """The calls of a phone that are not over."""
    return [owner for owner in phone.line.dialogs.values() if isinstance(owner, Call)]


def _tree(hosts: list[str], access_policy: AccessPolicy) -> dict[str, dict[str, Any]]:
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
