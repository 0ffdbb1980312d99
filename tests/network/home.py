"""A whole network on loopback with its subscribers, and what tests look at in it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from tests.namespaces import CORE, at_core, phone_at

from redoubt.config import GmPath
from redoubt.events import Check, Event, EventStream, MessageSeen
from redoubt.hss.hss import Hss
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness
from redoubt.transport.flow import Address

from .client import OPC, Card, Client, key_of
from .esp_client import EspClient
from .stream import Stream

E = TypeVar("E", bound=Event)
USERS = ("alice", "bob", "carol")
CLEAR = {"policy": "aka-without-ipsec"}  # the clients of these tests speak no IPsec


arrangement = ContextVar("arrangement", default="collapsed")
"""How `home` builds its network: all functions in one process, with phones in the clear or under IPsec, or the HSS in
another process behind Diameter (conftest.py). `raw` and `kernel` are IPsec between two hosts, by that carrier.
"""


def under_ipsec() -> bool:
    return arrangement.get() not in ("collapsed", "apart")


def carrier() -> GmPath:
    """What carries ESP between the phones and the network."""
    name = arrangement.get().removesuffix("-ipv6")
    return "raw" if name == "raw" else "kernel" if name == "kernel" else "user-space"


def host_of_core() -> str:
    """Where the network's access side is, as configurations write it."""
    if carrier() == "user-space":
        return "127.0.0.1"
    return CORE[0] if not arrangement.get().endswith("-ipv6") else f"[{CORE[1]}]"


def on_the_wire() -> dict[str, dict[str, Any]]:
    """Where a network listens that has a host of its own."""
    if carrier() == "user-space":
        return {}
    host = host_of_core()
    return {
        "p-cscf": {"listen": [f"udp:{host}:0", f"tcp:{host}:0"]},
        "gm": {"listen": [f"udp:{host}:0"], "path": carrier()},
    }


def placed(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The same, where the arrangement has the network."""
    where = on_the_wire()
    return {name: {**where.get(name, {}), **tree.get(name, {})} for name in {**where, **tree}}


class Home:
    """The network, its phones and what happened in it. `network` is the part with the CSCFs."""

    def __init__(self, network: Network, hss: Hss, directory: Path) -> None:
        self.network = network
        self.hss = hss
        self.directory = directory  # of the HSS's database
        self.realm = network.config.network.realm
        self.clients: list[Client] = []

    async def phone(self, name: str, *, card: Card | None = None, host: str = "127.0.0.1") -> Client:
        """An unregistered phone with the card of a subscriber, or another card."""
        card = card or Card.of(name, self.realm)
        if (options := self.gm_options()) is not None:
            client: Client = await EspClient.under(card, self.network.p_cscf_address, options, host)
        else:
            client = await Client.open(card, self.network.p_cscf_address, host)
        self.clients.append(client)
        return client

    def gm_options(self) -> GmOptions | None:
        """What a phone is told of IPsec here."""
        return GmOptions(port=self.network.tunnel_address[1], path=carrier()) if under_ipsec() else None

    @property
    def phone_host(self) -> str:
        """Where phones are, as `Phone.open` writes it."""
        host = phone_at("127.0.0.1", is_ipv6=":" in self.network.p_cscf_address[0])
        return f"[{host}]" if ":" in host else host

    async def stream(self, name: str, host: str = "127.0.0.1") -> Stream:
        """A TCP connection of an unregistered phone."""
        stream = await Stream.connected(Card.of(name, self.realm), self.p_cscf_tcp, host)
        self.clients.append(stream)
        return stream

    @property
    def p_cscf_tcp(self) -> Address:
        """Where phones reach the P-CSCF by TCP."""
        return next(address for listen, address in self.network._access if listen.transport == "tcp")

    async def registered(self, name: str, **other: Any) -> Client:
        """A phone that is registered."""
        phone = await self.phone(name, **other)
        answer = await phone.registers()
        assert answer.status == 200, f"{answer!r}; {self.why()}"
        return phone

    async def stranger(self, function: str, host: str = "127.0.0.2", name: str = "mallory") -> Client:
        """Someone at an address that is no core node's, who talks to a core function directly."""
        with at_core():
            client = await Client.open(Card.of(name, self.realm), self.address_of(function), host)
        self.clients.append(client)
        return client

    def address_of(self, function: str) -> Address:
        """Where core nodes reach a function."""
        text = [text for text, name in self.network.names.items() if name == function][-1]
        host, _, port = text.rpartition(":")
        return host, int(port)

    def impu(self, name: str) -> str:
        return f"sip:{name}@{self.realm}"

    def events(self, kind: type[E]) -> list[E]:
        return [event for event in self.network.context.events.recent if isinstance(event, kind)]

    def failed(self, about: str = "") -> list[Check]:
        """Checks that did not hold, of one user if named."""
        return [check for check in self.events(Check) if not check.passed and about in (check.impu + check.impi)]

    def why(self) -> str:
        """The last events, for a test that fails."""
        return "\n".join(map(repr, list(self.network.context.events.recent)[-6:]))

    def seen_at(self, *functions: str) -> list[str]:
        """The text of every message that these functions were given; needs `tracing=True`."""
        return [event.text for event in self.events(MessageSeen) if event.receiver in functions]

    async def settled(self, seconds: float = 0.05) -> None:
        """What follows a response (NOTIFY, clean-up) has time to happen."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        for client in self.clients:
            client.close()


def subscribers(realm: str, names: Iterable[str]) -> list[Subscriber]:
    return [
        Subscriber.simple(
            PrivateIdentity(f"{name}@{realm}", Secret(key_of(name)), opc=OPC), f"sip:{name}@{realm}"
        )
        for name in names
    ]  # fmt: skip


@asynccontextmanager
async def home(
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    off: Iterable[str] = (),
    users: Iterable[str] = USERS,
    tracing: bool = False,
    seed: int = 1,
) -> AsyncIterator[Home]:
    """A network with subscribers; `off` names protections to leave out."""
    tree = placed({"access": {} if under_ipsec() else CLEAR, **(overrides or {})})
    if off:
        tree["test"] = {"protections-off": list(off)}
    events = EventStream()
    events.tracing = tracing
    async with AsyncExitStack() as stack:
        with at_core():
            network, home_of_hss = await parts(stack, tree, events, seed)
        assert home_of_hss.hss is not None
        made = Home(network, home_of_hss.hss, home_of_hss.directory)
        stack.callback(made.close)
        await made.hss.administration.add(subscribers(made.realm, users))
        yield made


async def parts(
    stack: AsyncExitStack, tree: dict[str, Mapping[str, Any]], events: EventStream, seed: int
) -> tuple[Network, Network]:
    """The CSCFs and the HSS: one network, or two that know of each other by their configuration only."""
    if arrangement.get() != "apart":
        whole = await Network.temporary(tree, events=events, randomness=SeededRandomness(seed))
        stack.push_async_callback(whole.close)
        return whole, whole
    listening = {**tree, "hss": {**tree.get("hss", {}), "diameter": ["tcp:127.0.0.1:0"]}}
    hss = await Network.temporary(
        listening, only=("hss",), events=events, randomness=SeededRandomness(seed + 1000)
    )
    stack.push_async_callback(hss.close)
    (address,) = hss.names
    reaching = {**tree, "hss": {**tree.get("hss", {}), "diameter": [f"tcp:{address}"]}}
    cscfs = await Network.temporary(
        reaching, only=("p-cscf", "i-cscf", "s-cscf"), events=events, randomness=SeededRandomness(seed)
    )
    stack.push_async_callback(cscfs.close)
    for node in cscfs.diameter.nodes.values():
        assert await node.connected(30.0)
    return cscfs, hss
