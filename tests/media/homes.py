"""A whole network with phones that talk, in the simulator; NATs stand where a test puts them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redoubt.config import Config
from redoubt.events import Bug, EventStream
from redoubt.hss.keys import create_key, write_key_file
from redoubt.lab.population import residents
from redoubt.network.configuration import from_tree
from redoubt.network.run import Network
from redoubt.phone.call import Call
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sim import Network as Wire
from redoubt.sim import Packet, at_host
from redoubt.sip.stack import Stack

P_CSCF, RELAY = "10.1.0.1", "198.51.100.10"
NAMES = ("alice", "bob")


class Nat:
    """A NAT with one public address: each address and port inside has a port of its own there, as soon as it sends."""

    def __init__(self, wire: Wire, inside: str, public: str) -> None:
        self.public = public
        self._wire = wire
        self._inside = inside
        self._ports: dict[tuple[str, int], int] = {}
        self._passing = False
        wire.intercept(self._translate)

    def _translate(self, packet: Packet) -> bytes | None:
        if packet.source.host == self._inside:
            port = self._ports.setdefault(tuple(packet.source), 61_000 + len(self._ports))
            self._wire.inject((self.public, port), tuple(packet.target), packet.payload)
            return None
        if packet.target.host == self.public:
            for place, port in self._ports.items():
                if port == packet.target.port:
                    self._passing = True
                    self._wire.inject(tuple(packet.source), place, packet.payload)
                    self._passing = False
            return None
        return None if packet.target.host == self._inside and not self._passing else packet.payload


class House:
    """A network and its phones."""

    def __init__(self, network: Network, wire: Wire) -> None:
        self.network = network
        self.wire = wire
        self.phones: dict[str, Phone] = {}
        self._people = dict(zip(NAMES, residents(NAMES, network.config.network.realm, wire.randomness), strict=True))

    async def add(self) -> None:
        assert self.network.hss is not None
        await self.network.hss.administration.add([person.subscriber() for person in self._people.values()])

    async def phone(self, name: str, host: str, *, ipsec: bool = False) -> Phone:
        """A registered phone with a voice."""
        with at_host(host):
            context = self.network.context.named(name)
            stack = Stack(context)
            proxy = f"sip:[{V6_P_CSCF}]:5060" if ":" in host else f"sip:{P_CSCF}:5060"
            phone = Phone(context, self._people[name].card(), stack, proxy, gm=GmOptions() if ipsec else None)
            await phone.open(f"udp:[{host}]:5060" if ":" in host else f"udp:{host}:5060")
            await phone.line.find_voice()
        result = await phone.register()
        assert result.registered, result
        self.phones[name] = phone
        return phone

    def impu(self, name: str) -> str:
        return self._people[name].impu

    async def call(self) -> tuple[Call, Call]:
        """Alice calls Bob and both talk for a second."""
        call = await self.phones["alice"].call(self.impu("bob"))
        assert call.status == 200, list(self.network.context.events.recent)[-5:]
        await asyncio.sleep(1)
        return call, self.phones["bob"].incoming.get_nowait()


V6_P_CSCF, V6_RELAY = "fd00:1::1", "2001:db8:10::1"


@asynccontextmanager
async def house(wire: Wire, access: str, policy: str = "aka-without-ipsec", **media: Any) -> AsyncIterator[House]:
    """With `access` of [media]."""
    tree = {
        "network": {"trusted-nodes": [P_CSCF]},
        "p-cscf": {"listen": [f"udp:{P_CSCF}:5060", f"udp:[{V6_P_CSCF}]:5060"], "core": [f"udp:{P_CSCF}:5070"]},
        "i-cscf": {"listen": [f"udp:{P_CSCF}:5071"]},
        "s-cscf": {"listen": [f"udp:{P_CSCF}:5072"]},
        "gm": {"listen": [f"udp:{P_CSCF}:4500"], "memory": ""},
        "access": {"policy": policy},
        "media": {"access": access, "inside": [P_CSCF], "outside": [RELAY, V6_RELAY], **media},
    }
    events = EventStream()
    with tempfile.TemporaryDirectory() as folder:
        write_key_file(Path(folder) / Config().hss.key_file, create_key(wire.randomness))
        with at_host(P_CSCF):
            config = from_tree(tree)
            network = await Network.start(
                config, Path(folder), events=events, randomness=wire.randomness, epoch_s=1.8e9
            )
        made = House(network, wire)
        await made.add()
        try:
            yield made
            await asyncio.sleep(40)
            assert not any(size for name, size in network.table_sizes().items() if "media" in name)
        finally:
            for phone in made.phones.values():
                await phone.close()
            await network.close()
        assert [event for event in events.recent if isinstance(event, Bug)] == []
