"""Attacks on Gm: each succeeds while its protection is off, and fails under IPsec as it is by default.

Some protections have a switch; for the rest "off" is the access policy without IPsec, and the same attack on the same
wire.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.config.protections import PROTECTIONS
from redoubt.events import Event, MessageSeen, Registered
from redoubt.gm.agreement import Ends, client_list, written
from redoubt.gm.algorithms import Encryption
from redoubt.lab.eavesdropper import Eavesdropper
from redoubt.limits import HALF_OPEN_SETS_PER_SOURCE
from redoubt.phone.challenge import first_authorization
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sip.fields import AUTHORIZATION, CONTACT, SECURITY_CLIENT, SECURITY_SERVER
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, parse_message
from redoubt.sip.uri import SipUri
from redoubt.transport.flow import Clear, Flow, Zone

from .client import Card, Client
from .handsets import ANYTHING, Field, field
from .middle import Router
from .test_gm import settled

Attack = Callable[[Field, bool], Awaitable[bool]]
SWITCHED: dict[str, tuple[Attack, dict[str, Any]]] = {}
ON_THE_WIRE: dict[str, Attack] = {}
SECRET = "meet me at noon"


def against(protection: str, **gm: Any) -> Callable[[Attack], Attack]:
    """Enters an attack on a protection that has a switch, with the [gm] options that it needs."""

    def enter(attack: Attack) -> Attack:
        SWITCHED[protection] = attack, gm
        return attack

    return enter


def on_the_wire(attack: Attack) -> Attack:
    """Enters an attack that only IPsec as a whole stops."""
    ON_THE_WIRE[attack.__name__] = attack
    return attack


@pytest.mark.parametrize("protection", [name for name in PROTECTIONS if name.startswith("gm-")])
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
async def test_an_attack_succeeds_only_without_its_protection(protection: str, on: bool) -> None:
    attack, gm = SWITCHED[protection]
    async with field(gm, off=() if on else (protection,), tracing=True) as net:
        assert await attack(net, True) is not on, net.why()


@pytest.mark.parametrize("name", ON_THE_WIRE)
@pytest.mark.parametrize("on", [False, True], ids=["clear", "ipsec"])
async def test_an_attack_on_the_wire_succeeds_only_without_ipsec(name: str, on: bool) -> None:
    async with field(access="ipsec" if on else "aka-without-ipsec") as net:
        assert await ON_THE_WIRE[name](net, on) is not on, net.why()


async def pair(net: Field, on: bool) -> tuple[Phone, Phone, Eavesdropper | Router]:
    """Alice behind the attacker's router, Bob elsewhere; and what carries Alice's messages there."""
    alice = await net.registered("alice", gm=on, routed=True)
    router = net.routers[1 if on else 0]
    return alice, await net.registered("bob", gm=on, seed=5), router


async def comes(sign: Callable[[], bool], on: bool) -> bool:
    """Whether the sign of success shows: a slow machine is waited for, a protection as long as any other needs."""
    for _ in range(1 if on else 200):
        await settled()
        if sign():
            return True
    return False


# ---- protections with a switch


@against("gm-answer")
async def answer_outside_the_association(net: Field, _on: bool) -> bool:
    """The answer to a challenge comes in the clear, and all that follows would."""
    person = net.people["alice"]
    functions = Milenage(person.k, person.opc)
    card = Card(person.impi, person.impu, person.realm, functions, Isim(functions))
    client = await Client.open(card, net.network.p_cscf_address)
    client_list_text = written(client_list(GmOptions().policy, Ends(1000, 1001, 20_000, 20_001)))
    agreement = (("Require", "sec-agree"), ("Proxy-Require", "sec-agree"), ("Security-Client", client_list_text))
    await client.registers(*agreement)
    client.close()
    return bool(net.events(Registered))


@against("gm-responses")
async def somebody_else_answers(net: Field, _on: bool) -> bool:
    """Alice writes to Bob. Who has seen the P-CSCF's request answers it in the clear, before Bob does."""
    alice, bob = await net.registered("alice"), await net.registered("bob")
    assert bob.line.gm is not None
    bobs = f"{bob.line.flow.local[0]}:{bob.line.gm.port}"
    receive = net.network.stacks["p-cscf"].serves(_nobody)
    flow = Flow("udp", net.network.p_cscf_address, ("127.0.0.9", 5060), Zone.ACCESS, Clear(), lambda _data: None)

    def forge(event: Event) -> None:
        if isinstance(event, MessageSeen) and event.receiver == bobs and event.text.startswith("MESSAGE"):
            request = parse_message(event.text.encode())
            assert isinstance(request, Request)
            asyncio.get_running_loop().call_soon(receive, request.response(603, to_tag="forged").to_bytes(), flow)

    net.network.context.events.listen(forge)
    return (await alice.message(bob.identity.impu, SECRET)).status == 603


@against("gm-sender")
async def contact_at_another_address(net: Field, _on: bool) -> bool:
    """Within her own association Alice registers a contact at a host that she wants flooded with her calls."""
    alice = await net.registered("alice")

    def elsewhere(request: Request) -> None:
        contact = request.need(CONTACT)
        assert isinstance(contact, NameAddr) and isinstance(contact.uri, SipUri)
        request.put(CONTACT, NameAddr(None, replace(contact.uri, host="127.0.0.99"), contact.params))

    alice.adjust = elsewhere
    await alice.register()
    return any("127.0.0.99" in event.contact for event in net.events(Registered))


@against("gm-verify", confidentiality=False)
async def downgrade(net: Field, _on: bool) -> bool:
    """Both lists lose their encryption on the way, so that both ends settle for none."""

    def weaken(_up: bool, data: bytes) -> bytes:
        message = parse_message(data)
        for header in (SECURITY_CLIENT, SECURITY_SERVER):
            weak = [one for one in message.every(header) if one.param("ealg") == "null"]
            if weak:
                message.put(header, *weak)
        return message.to_bytes()

    alice = await net.phone("alice", policy=ANYTHING, routed=True)
    net.routers[0].change = weaken
    await alice.register()
    return any(one.agreement.suite.encryption is Encryption.NULL and one.state.value == "in use" for one in net.sets())


async def _nobody(_request: Request, _exchange: object) -> None:
    return None


# ---- the wire


@on_the_wire
async def eavesdropping(net: Field, on: bool) -> bool:
    alice, bob, router = await pair(net, on)
    assert (await alice.message(bob.identity.impu, SECRET)).status == 200
    assert [message.text for message in bob.messages] == [SECRET]
    return any(SECRET.encode() in data for _, data in router.seen)


@on_the_wire
async def one_changed_bit(net: Field, on: bool) -> bool:
    """In the clear where it hurts, under ESP in every octet; the packet as it was follows."""
    alice, bob, router = await pair(net, on)

    held: list[bytes] = []
    router.change = lambda up, data: held.append(data) if up else data
    sending = asyncio.create_task(alice.message(bob.identity.impu, SECRET))
    assert await comes(lambda: bool(held), on=False)
    [packet] = held
    router.change = lambda _up, data: data
    if SECRET.encode() in packet:
        packet = packet.replace(b"noon", b"nook")
    for place in range(len(packet) if on else 0):
        flipped = bytearray(packet)
        flipped[place] ^= 1 << place % 8
        router.inject(True, bytes(flipped))
        if place % 50 == 0:
            await asyncio.sleep(0.001)  # a socket's buffer is no attack
    assert bob.messages == []
    router.inject(True, packet)
    assert (await sending).status == 200
    if on:
        assert {"bad tag", "unknown SPI"} <= net.refusals()
    return [message.text for message in bob.messages] != [SECRET]


@on_the_wire
async def replay(net: Field, on: bool) -> bool:
    """Every packet of a call and a message once more, in both directions; in the clear as new transactions."""
    alice, bob, router = await pair(net, on)
    call = await alice.call(bob.identity.impu)
    await call.hang_up()
    assert (await alice.message(bob.identity.impu, SECRET)).status == 200
    await settled()
    bob.incoming.get_nowait()
    for up, data in list(router.seen):
        again = data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKagain").replace(b"Call-ID: ", b"Call-ID: again")
        router.inject(up, again if b"SIP/2.0" in data else data)
    if on:
        assert (await alice.message(bob.identity.impu, "and now?")).status == 200  # all of it has come by then
        assert "replayed" in net.refusals()
    return await comes(lambda: [message.text for message in bob.messages].count(SECRET) > 1, on)


@on_the_wire
async def reflection(net: Field, on: bool) -> bool:
    """What Alice sent comes back to her, as if the network had sent it; her phone answers it in the clear."""
    alice, bob, router = await pair(net, on)
    assert (await alice.message(bob.identity.impu, SECRET)).status == 200
    await settled()
    before = len(router.seen)
    for data in [data for up, data in router.seen if up]:
        router.inject(False, data)
    return await comes(lambda: any(up for up, _ in router.seen[before:]), on)


@on_the_wire
async def injection_with_a_forged_source(net: Field, on: bool) -> bool:
    """A message that nobody sent reaches Alice from the P-CSCF's own address: in the clear, and as ESP without keys."""
    alice, bob, router = await pair(net, on)
    assert (await bob.message(alice.identity.impu, SECRET)).status == 200
    alice.messages.clear()
    forged = Request(
        "MESSAGE",
        str(alice.line.contact.uri),
        [
            ("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKforged;rport"),
            ("Max-Forwards", "70"),
            ("From", "<sip:bank@ims.test>;tag=1"),
            ("To", f"<{alice.identity.impu}>"),
            ("Call-ID", "forged"),
            ("CSeq", "1 MESSAGE"),
            ("Content-Type", "text/plain"),
        ],
        b"send money",
    )
    net.routers[0].inject(False, forged.to_bytes())
    last = next(data for up, data in reversed(router.seen) if not up)
    sequence = int.from_bytes(last[4:8], "big") + 1
    router.inject(False, last[:4] + sequence.to_bytes(4, "big") + forged.to_bytes() + bytes(12))
    if on:
        assert (await bob.message(alice.identity.impu, SECRET)).status == 200  # all of it has come by then
        assert alice.messages.pop().text == SECRET
    return await comes(lambda: bool(alice.messages), on)


# ---- exhaustion


@against("gm-half-open")
async def strangers_fill_the_table(net: Field, _on: bool) -> bool:
    """One address registers in the names of more users than any NAT has behind it: each costs keys, SPIs and ports."""
    flood = await net.phone("carol")
    flood.adjust = _another_stranger(flood)
    for _ in range(HALF_OPEN_SETS_PER_SOURCE + 5):
        request = flood.registration._request(600, first_authorization(flood.identity))
        request.add("Require", "sec-agree")
        request.add("Proxy-Require", "sec-agree")
        assert (await flood.line.send(request, way=flood.line.flow)).status == 401
    return len(net.sets("u")) > HALF_OPEN_SETS_PER_SOURCE


def _another_stranger(flood: Phone) -> Callable[[Request], None]:
    numbers = iter(range(10_000))

    def another(request: Request) -> None:
        number = next(numbers)
        credentials = request.need(AUTHORIZATION)
        request.put(AUTHORIZATION, credentials.with_param("username", f"u{number}@{flood.identity.realm}"))
        request.set("To", f"<sip:u{number}@{flood.identity.realm}>")
        request.set("From", f"<sip:u{number}@{flood.identity.realm}>;tag=1")
        request.set("Call-ID", f"flood-{number}")
        request.put(CONTACT, NameAddr.parse(f"<sip:u{number}@127.0.0.1:{20_000 + number}>"))
        ends = Ends(10_000 + 2 * number, 10_001 + 2 * number, 40_000 + number, 20_000 + number)
        request.put(SECURITY_CLIENT, *client_list(GmOptions().policy, ends))

    return another


async def test_registers_of_strangers_without_end_leave_registered_phones_their_associations() -> None:
    async with field() as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        assert not await strangers_fill_the_table(net, True)
        assert net.states("u") == ["temporary"] * HALF_OPEN_SETS_PER_SOURCE
        assert (net.states("alice"), net.states("bob")) == (["in use"], ["in use"])
        assert (await alice.message(bob.identity.impu, SECRET)).status == 200
