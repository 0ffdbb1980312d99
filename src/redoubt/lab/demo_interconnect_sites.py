"""Operators of `redoubt demo interconnect`: their networks, agreements and certificates, and users' phones."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redoubt.events import EventStream
from redoubt.lab.demo_interconnect_hosts import Place
from redoubt.lab.demo_interconnect_wire import Link
from redoubt.lab.population import Resident, residents
from redoubt.ndm.pki import Names
from redoubt.ndm.pki_folder import PkiFolder
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, Randomness
from redoubt.transport.flow import Address

LIFE = timedelta(days=30)
PORTS = {"p-cscf": 5070, "i-cscf": 5071, "s-cscf": 5072}
USERS = ("alice", "bob", "carol", "mallory")


@dataclass(slots=True)
class Site:
    """One operator. Its nodes are at `inside`, its border at `border`, its phones at `access`."""

    name: str
    place: Place
    inside: str
    border: str
    access: str
    pki: PkiFolder
    randomness: Randomness
    ports: dict[str, int] = field(default_factory=dict)
    partners: list[dict[str, Any]] = field(default_factory=list)
    believed: list[Path] = field(default_factory=list)  # revocation lists of those whose authorities it believes
    events: EventStream = field(default_factory=EventStream)
    people: dict[str, Resident] = field(default_factory=dict)
    phones: list[Phone] = field(default_factory=list)
    network: Network | None = None

    @property
    def realm(self) -> str:
        return f"{self.name}.example"

    def at(self, function: str) -> Address:
        """Where a function is reached by core nodes, or the border by partners."""
        return (self.border if function == "ibcf" else self.inside), self.ports[function]

    # ---- how it is joined with others

    def certify(self, others: Iterable["Site"]) -> None:
        """An authority and a border's certificate of its own; those others' authorities cross-certified."""
        now = datetime.now(UTC)
        self.pki.create(self.name, now)
        self.pki.issue("border", Names((self.realm,)), now, LIFE)
        self.pki.write_revocations(now, LIFE, [])
        for other in others:
            self._believe(other)
            other._believe(self)

    def _believe(self, other: "Site") -> None:
        now = datetime.now(UTC)
        self.pki.cross(other.name, other.pki.path / "ca.pem", [other.realm], now, LIFE)
        self.believed.append(other.pki.path / "own.crl")
        self.pki.write_revocations(now, LIFE, self.believed)

    def agrees(self, other: "Site", connect: str, **options: Any) -> None:
        """An agreement, reached at `connect` on its way over the wire."""
        self.partners.append({"name": other.name, "domains": [other.realm], "connect": [connect], **options})

    # ---- its configuration

    def joined_directly(self, routes: dict[str, str], trusted: Iterable[str]) -> dict[str, Any]:
        """As networks are joined without borders: their nodes speak with each other's over the Internet."""
        return {**self._inner("tcp"), "network": {
            "realm": self.realm, "routes": routes, "trusted-nodes": [self.inside, *trusted],
        }}  # fmt: skip

    def bordered(self, **more: Any) -> dict[str, Any]:
        """As they ought to be: everything leaves and enters at the border, whose certificate proves the name."""
        ca = self.pki.path
        files = {"certificate": "border.pem", "key": "border.key"}
        files |= {"authority": "authority.pem", "revoked": "revoked.pem"}
        ibcf = {"listen": [f"tls:{self.border}:{self.ports['ibcf']}"], "core": [f"udp:{self.inside}:0"]}
        return {
            **self._inner("udp"),
            "network": {"realm": self.realm, "trusted-nodes": [self.inside]},
            "ibcf": {**ibcf, **{option: str(ca / file) for option, file in files.items()}},
            "partners": self.partners,
            **more,
        }

    def _inner(self, transport: str) -> dict[str, Any]:
        at = {name: f"{transport}:{self.inside}:{port}" for name, port in self.ports.items()}
        return {
            "p-cscf": {"listen": [f"udp:{self.inside}:0"], "core": [at["p-cscf"]]},
            "i-cscf": {"listen": [at["i-cscf"]]},
            "s-cscf": {"listen": [at["s-cscf"]]},
            "bgcf": {"listen": [f"udp:{self.inside}:0"]},
            "gm": {"listen": [f"udp:{self.inside}:0"]},
            "hss": {"diameter": [f"tcp:{self.inside}:0"]},
        }

    # ---- its life

    async def start(self, tree: dict[str, Any], roaming: Iterable[str] = ()) -> None:
        """Runs, with its subscribers, who may register in those networks."""

        async def begin() -> None:
            self.network = await Network.temporary(tree, events=self.events, randomness=self.randomness)
            assert self.network.hss is not None
            await self.network.hss.administration.add(made)

        self.events.tracing = True
        self.people = {one.name: one for one in residents(USERS, self.realm, self.randomness)}
        made = [replace(one.subscriber(), visited_networks=tuple(roaming)) for one in self.people.values()]
        await self.place.do(begin())

    async def phone(self, person: Resident) -> Phone:
        """A phone here with that person's card, of this operator or of another."""

        async def begin() -> Phone:
            network = self.network
            assert network is not None
            context = Context(person.name, EventStream(), Clock(asyncio.get_running_loop()), self.randomness)
            host, port = network.p_cscf_address
            gm = GmOptions(port=network.tunnel_address[1])
            phone = Phone(context, person.card(), Stack(context), f"sip:{host}:{port}", gm=gm, renews=False)
            phone.registration.attempts = 1
            await phone.open(f"udp:{self.access}:0")
            return phone

        made = await self.place.do(begin())
        self.phones.append(made)
        return made

    async def stop(self) -> None:
        async def end() -> None:
            for phone in self.phones:
                await phone.close()
            if self.network is not None:
                await self.network.close()

        await self.place.do(end())
        self.phones.clear()


def free_ports(host: str, names: Iterable[str]) -> dict[str, int]:
    """One for each name that nobody has there."""
    found = {}
    probes = []
    for name in names:
        probe = socket.socket()
        probe.bind((host, 0))
        found[name] = probe.getsockname()[1]
        probes.append(probe)
    for probe in probes:
        probe.close()
    return found


async def routes_to(other: Site, link: Link | None, here: str) -> dict[str, str]:
    """Static routes to each node of another operator, over the wire between."""
    hosts = {"i-cscf": (other.realm, f"icscf.{other.realm}"), "s-cscf": (f"scscf.{other.realm}",)}
    hosts["p-cscf"] = (f"pcscf.{other.realm}",)
    routes: dict[str, str] = {}
    for function, names in hosts.items():
        address = other.at(function) if link is None else await link.tap(here, other.at(function))
        routes |= dict.fromkeys(names, "tcp:{}:{}".format(*address))
    return routes
