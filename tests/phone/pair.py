"""Two real phones that have each other as P-CSCF, in the simulator: enough to test user agents without a core."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.events import Bug, EventStream
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.secret import Secret
from redoubt.sim.network import Network
from redoubt.sim.run import run
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

REALM = "ims.example"
HOSTS = {"alice": "10.0.0.1", "bob": "10.0.0.2"}


def card(name: str) -> PhoneIdentity:
    """A card whose K is made from the name."""
    key = Secret(name.encode().ljust(16, b"."))
    functions = Milenage.with_op(key, Secret(bytes(16)))
    return PhoneIdentity(f"{name}@{REALM}", (f"sip:{name}@{REALM}",), REALM, Isim(functions))


@dataclass
class Pair:
    """Alice and Bob, and what happened."""

    alice: Phone
    bob: Phone
    events: EventStream
    network: Network

    BOB = f"sip:bob@{REALM}"


def with_pair(
    script: Callable[[Pair], Awaitable[None]], seed: int = 1, *, loss: float = 0.0, transport: str = "udp"
) -> None:
    """Runs a script with two phones; no bug may be recorded, and nothing may stay open."""

    async def main(network: Network) -> None:
        events = EventStream()
        clock = Clock(asyncio.get_running_loop(), 1_700_000_000.0)
        phones: dict[str, Phone] = {}
        stacks: list[Stack] = []
        for number, (name, host) in enumerate(HOSTS.items()):
            context = Context(name, events, clock, SeededRandomness(seed * 10 + number))
            stack = Stack(context, sent_by_host=host)
            stacks.append(stack)
            other = next(value for key, value in HOSTS.items() if key != name)
            proxy = f"sip:{other}:5060" + (f";transport={transport}" if transport != "udp" else "")
            phones[name] = Phone(context, card(name), stack, proxy)
        for phone, (_name, host) in zip(phones.values(), HOSTS.items(), strict=True):
            await phone._stack.listen(_listen(transport, host), phone)
        for phone in phones.values():
            await phone.line.open(phone)
        pair = Pair(phones["alice"], phones["bob"], events, network)
        await script(pair)
        await asyncio.sleep(300)
        assert [event for event in events.recent if isinstance(event, Bug)] == []
        assert (pair.alice.open_dialogs, pair.bob.open_dialogs) == (0, 0)
        for stack in stacks:
            assert (stack.server_transactions, stack.client_transactions) == (0, 0)
        for phone in phones.values():
            await phone.close()

    run(main, seed, network=Network(seed, loss=loss))


def _listen(transport: str, host: str) -> Listen:
    return Listen.parse(f"{transport}:{host}:5060", Zone.ACCESS)
