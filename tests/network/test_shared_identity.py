"""Two phones of one public identity behind two NATs, with the same address and port inside: each has its own binding.

TS 24.229 5.4.1.2.2, 5.2.2; TS 33.203 Annex M.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from redoubt.cscf.pcscf import registration
from redoubt.diameter.cx import PublicIdentity, ServiceProfile
from redoubt.events import EventStream
from redoubt.hss.records import ImplicitSet
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.lab.population import Resident, residents
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

from .handsets import Field, field
from .nat import Nat

INSIDE, PORT = "127.0.0.5", 31001
FAMILY = "family"


async def behind(net: Field, stack: AsyncExitStack, who: Resident, family: str, outside: str) -> Phone:
    """A phone at the address that all these NATs give their phone."""
    doors = [await Nat.between(there, outside) for there in (net.network.p_cscf_address, net.network.tunnel_address)]
    for door in doors:
        stack.callback(door.close)
    clear, tunnel = (door.address for door in doors)
    chance = SeededRandomness(ord(who.name[0]))
    context = Context(who.name, EventStream(), Clock(asyncio.get_running_loop()), chance)
    card = PhoneIdentity(who.impi, (family,), who.realm, who.card().isim)
    options = GmOptions(port=tunnel[1], server_port=PORT)
    phone = Phone(context, card, Stack(context), f"sip:{clear[0]}:{clear[1]}", renews=False, gm=options)
    await phone.open(f"udp:{INSIDE}:0")
    stack.push_async_callback(phone.close)
    return phone


@asynccontextmanager
async def household() -> AsyncIterator[tuple[Field, Phone, Phone, str]]:
    async with field() as net, AsyncExitStack() as stack:
        realm = net.network.config.network.realm
        family = f"sip:{FAMILY}@{realm}"
        people = residents(("mum", "dad"), realm, SeededRandomness(5))
        privates = tuple([PrivateIdentity(one.impi, one.k, opc=one.opc) for one in people])
        assert net.network.hss is not None
        profile = ServiceProfile((PublicIdentity(family),))
        await net.network.hss.administration.add([Subscriber(privates, (ImplicitSet((profile,)),))])
        mum = await behind(net, stack, people[0], family, "127.0.0.2")
        dad = await behind(net, stack, people[1], family, "127.0.0.3")
        for phone in (mum, dad):
            result = await phone.register(3600)
            assert result.registered, f"{result} {net.why()}"
        assert str(mum.line.contact.uri) == str(dad.line.contact.uri)
        yield net, mum, dad, family


def bindings(net: Field, family: str) -> int:
    assert net.network.p_cscf is not None
    return len(net.network.p_cscf.bindings.of_impu(family))


async def calls(net: Field, family: str, answers: Phone, others: list[Phone]) -> None:
    """Carol calls the family: all these phones ring, one answers."""
    carol = net.phones[0] if net.phones else await net.registered("carol")
    answers.answering, ringing = Answering(ring_s=0.3), Answering(ring_s=20.0)
    for other in others:
        other.answering = ringing
    call = await carol.call(family)
    assert call.status == 200, net.why()
    await call.hang_up()
    for phone in (answers, *others):
        assert phone.incoming.get_nowait().call_id == call.call_id
        assert phone.incoming.empty()


async def test_calls_reach_both_and_the_end_of_one_leaves_the_other() -> None:
    async with household() as (net, mum, dad, family):
        assert bindings(net, family) == 2
        await calls(net, family, dad, [mum])
        await calls(net, family, mum, [dad])
        for phone in (mum, dad):
            assert (await phone.message(net.phones[0].identity.impu, "here")).status == 200
        assert (await mum.deregister()).status == 200
        await asyncio.sleep(0.1)
        assert bindings(net, family) == 1
        await calls(net, family, dad, [])
        assert mum.incoming.empty()
        assert (await dad.register(3600)).registered
        await calls(net, family, dad, [])
        assert (await mum.register(3600)).registered
        await calls(net, family, mum, [dad])


async def test_told_apart_by_their_addresses_alone_one_took_the_other_s_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_address(_impi: str, contact: NameAddr) -> str:
        return str(contact.uri)

    monkeypatch.setattr(registration, "contact_identity", by_address)
    async with household() as (net, _mum, _dad, family):
        assert bindings(net, family) == 1
