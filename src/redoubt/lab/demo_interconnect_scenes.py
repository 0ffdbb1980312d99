"""What an act of `redoubt demo interconnect` is played on, and the scenes that several acts have."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from redoubt.events import MessageSeen
from redoubt.lab.demo_interconnect_hosts import Here, Hosts
from redoubt.lab.demo_interconnect_show import Show
from redoubt.lab.demo_interconnect_sites import PORTS, Site, free_ports
from redoubt.lab.demo_interconnect_wire import Capture, Link
from redoubt.ndm.pki_folder import PkiFolder
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.sources import Randomness

SETTLE_S = 0.25  # for the NOTIFYs after a registration


class Stage:
    """What an act is played on: operators, and the wires between them."""

    def __init__(self, folder: Path, show: Show, randomness: Randomness, apart: bool) -> None:
        self.show = show
        self.links: list[Link] = []
        self.sites: dict[str, Site] = {}
        self.folder = folder
        self._randomness = randomness
        self._apart = apart
        self._hosts: Hosts | None = None
        self._captures: list[Capture] = []

    def build(self, *names: str) -> list[Site]:
        """Operators, at addresses of their own."""
        if self._apart:
            self._hosts = Hosts(list(names))
        for number, name in enumerate(names, 1):
            self.sites[name] = site = self._site(name, number)
            self.show.watch(site)
            if self._hosts is not None:
                self.links.append(link := Link(f"of {name}"))
                self._captures.append(Capture(link, self._hosts.wiretap(name)))
        return list(self.sites.values())

    def _site(self, name: str, number: int) -> Site:
        pki = PkiFolder(self.folder / name)
        if self._hosts is None:
            inside, border = f"127.{number}.0.2", f"127.{number}.0.1"
            ports = free_ports(inside, PORTS) | free_ports(border, ("ibcf",))
            return Site(name, Here(), inside, border, f"127.{number}.0.9", pki, self._randomness, ports)
        host, outside = self._hosts.hosts[name], self._hosts.outside(number)
        ports = {**PORTS, "ibcf": 5061}
        return Site(name, host, f"10.{number}.0.1", outside, f"10.{number}.0.9", pki, self._randomness, ports)

    def link(self, one: Site, other: Site) -> Link | None:
        """The wire between two on loopback; with namespaces each has a line of its own."""
        if self._apart:
            return None
        name = f"{one.name} - {other.name}"
        made = next((link for link in self.links if link.name == name), None)
        if made is None:
            self.links.append(made := Link(name))
        return made

    def relay(self, here: Site, there: Site) -> str:
        """The address that one takes for the other's: of the relay between, or the other's own."""
        numbers = [list(self.sites.values()).index(each) + 1 for each in (here, there)]
        return "127.100.{}.{}".format(*numbers)

    async def agree(self, one: Site, other: Site, mine: Mapping[str, object], theirs: Mapping[str, object]) -> None:
        """Two operators write down agreements with each other, and the ways there."""
        link = self.link(one, other)
        for here, there, options in ((one, other, mine), (other, one, theirs)):
            address = there.at("ibcf") if link is None else await link.tap(self.relay(here, there), there.at("ibcf"))
            here.agrees(there, "tls:{}:{}".format(*address), **options)
            self.show.beyond(address[0], there, "ibcf")

    async def phone(self, site: Site, home: Site, name: str) -> Phone:
        phone = await site.phone(home.people[name])
        self.show.watch_phone(phone, name)
        return phone

    async def close(self) -> None:
        for site in self.sites.values():
            await site.stop()
        for link in self.links:
            link.close()
        for capture in self._captures:
            capture.close()
        if self._hosts is not None:
            self._hosts.close()


async def roam_and_call(stage: Stage, near: str, far: str) -> str:
    """Alice of Alpha registers at Beta and is called; Carol of Alpha calls Bob of Beta. What Beta's border heard."""
    show, alpha, beta = stage.show, stage.sites["alpha"], stage.sites["beta"]
    heard = read_at(beta)
    alice = await stage.phone(beta, alpha, "alice")
    borders = (far, near) if "border" in far else ()
    way = (*borders, "cscf alpha", "hss alpha")
    show.scene("Alice of Alpha registers at Beta (TS 24.229 5.2.2): AKA with her home network", "alice",
               "p-cscf beta", *way)  # fmt: skip
    result = await beta.place.do(alice.register())
    await asyncio.sleep(SETTLE_S)
    show.claim("Alice registers at Beta, and her home network and her card prove themselves to each other",
               result.registered and result.network_authentic)  # fmt: skip
    carol, bob = await stage.phone(alpha, alpha, "carol"), await stage.phone(beta, beta, "bob")
    for site, phone in ((alpha, carol), (beta, bob)):
        show.aside()
        await site.place.do(phone.register())
        await asyncio.sleep(SETTLE_S)
    lanes = tuple(dict.fromkeys(("cscf alpha", near, far, "cscf beta")))
    show.scene("Carol of Alpha calls Bob of Beta", "carol", "p-cscf alpha", *lanes, "p-cscf beta", "bob")
    show.claim("Carol calls Bob", await call(alpha, carol, bob))
    way = ("cscf alpha", *borders[::-1])
    show.scene("Carol calls Alice, who is at Beta", "carol", "p-cscf alpha", *way, "p-cscf beta", "alice")
    show.claim("Carol calls Alice abroad", await call(alpha, carol, alice))
    show.aside()
    return "".join(heard)


async def call(here: Site, caller: Phone, callee: Phone) -> bool:
    """Whether a call is answered, and released at both ends."""
    callee.answering = Answering(ring_s=0.1)

    async def calls() -> bool:
        made = await caller.call(callee.identity.impu)
        if not 200 <= made.status < 300:
            return False
        await made.hang_up()
        return True

    return await here.place.do(calls())


def read_at(site: Site) -> list[str]:
    """What the operator of a border can read there."""
    texts: list[str] = []
    site.events.listen(
        lambda event: texts.append(event.text) if isinstance(event, MessageSeen) and event.transport == "tls" else None
    )
    return texts
