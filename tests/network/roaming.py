"""Phones of one operator in the network of another, under IPsec with its P-CSCF, as real phones are."""

import asyncio
from typing import Any

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.events import Bug, EventStream
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.secret import Secret
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

from .client import OPC, key_of
from .peering import Operator, until

ROAMING = {"serves-visitors": True, "visited-networks": ["alpha.example", "beta.example"]}


class Protected(Operator):
    """An operator that demands IPsec of phones."""

    def tree(self) -> dict[str, Any]:
        tree = super().tree()
        tree["access"], tree["gm"] = {}, {"listen": [f"udp:127.{self.number}.0.2:0"]}
        return tree


def card_of(name: str, home: Operator) -> PhoneIdentity:
    """The card that the home operator gave to one of its subscribers."""
    card = Isim(Milenage(Secret(key_of(name)), OPC))
    return PhoneIdentity(f"{name}@{home.realm}", (f"sip:{name}@{home.realm}",), home.realm, card)


async def phone_at(visited: Operator, name: str, home: Operator, own: str = "", **options: Any) -> Phone:
    """A phone with a card of `home` under the roof of `visited`, at its own address, not registered yet."""
    clock = Clock(asyncio.get_running_loop())
    context = Context(f"ue-{name}", EventStream(), clock, SeededRandomness(home.number * 10 + len(name)))
    network = visited.net.network
    host, port = network.p_cscf_address
    phone = Phone(
        context, card_of(name, home), Stack(context), f"sip:{host}:{port}",
        gm=GmOptions(port=network.tunnel_address[1]), **{"renews": False, **options},
    )  # fmt: skip
    phone.registration.attempts = 1
    await phone.open(f"udp:{own or f'127.{visited.number}.0.9'}:0")
    visited.net.clients.append(_Closing(phone))  # type: ignore[arg-type]
    return phone


async def registered_at(visited: Operator, name: str, home: Operator, **options: Any) -> Phone:
    phone = await phone_at(visited, name, home, **options)
    result = await phone.register(3600)
    assert result.registered, f"{result}; {visited.refusals()}; {home.refusals()}"
    return phone


async def talk(caller: Phone, callee: Phone) -> None:
    """A call that is answered and hung up."""
    call = caller.dial(callee.identity.impu)
    assert await call.answered(), (call.status, call.state)
    theirs = await asyncio.wait_for(callee.incoming.get(), 10)
    assert theirs.other == caller.identity.impu
    await call.hang_up()
    await until(lambda: not caller.open_dialogs or not callee.open_dialogs)


def unbroken(*operators: Operator) -> None:
    for operator in operators:
        assert not operator.net.events(Bug), operator.net.events(Bug)[0].traceback


class _Closing:
    """Ends with the network's other clients."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone

    def close(self) -> None:
        self._phone.context.start(self._phone.close())
