"""The ladder of attacks: for each protection, an attack that succeeds while it is off and fails while it is on.

A function plays one attack against a network and says whether it succeeded. The test plays each twice. That an attack
succeeds without its protection shows that it is this protection, and nothing else, that stops it.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from redoubt.config import ConfigError
from redoubt.config.protections import PROTECTIONS
from redoubt.cscf.reginfo import MEDIA_TYPE, RegInfo, RegistrationInfo
from redoubt.events import Registered
from redoubt.network.configuration import from_tree
from redoubt.secret import Secret
from redoubt.sip.fields import WWW_AUTHENTICATE

from .calls import call, pair
from .client import Client
from .home import Home, home
from .registrar import registrar

Attack = Callable[[Home], Awaitable[bool]]
ATTACKS: dict[str, Attack] = {}
# The others are in tests/diameter/test_attacks.py, tests/media/test_attacks.py, tests/border/test_attacks.py and
# test_gm_attacks.py.
# Their attacks stand with what they protect.
ELSEWHERE = ("diameter-", "gm-", "media-", "border-", "dns-", "partner-", "challenge-elsewhere")
HERE = [name for name in PROTECTIONS if not name.startswith(ELSEWHERE)]
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {}


def against(protection: str, **sections: dict[str, Any]) -> Callable[[Attack], Attack]:
    """Enters an attack, with the configuration of the network that it needs."""

    def enter(attack: Attack) -> Attack:
        ATTACKS[protection] = attack
        SETTINGS[protection] = {name.replace("_", "-"): options for name, options in sections.items()}
        return attack

    return enter


@pytest.mark.parametrize("protection", HERE)
async def test_without_the_protection_the_attack_succeeds(protection: str) -> None:
    async with home(SETTINGS[protection], off=[protection], tracing=True) as net:
        assert await ATTACKS[protection](net), net.why()


@pytest.mark.parametrize("protection", HERE)
async def test_with_the_protection_the_attack_fails(protection: str) -> None:
    async with home(SETTINGS[protection], tracing=True) as net:
        assert not await ATTACKS[protection](net), net.why()


def test_a_network_without_a_protection_serves_loopback_only() -> None:
    tree = {"test": {"protections-off": ["flow-token"]}, "p-cscf": {"listen": ["udp:192.0.2.1:5060"]}}
    with pytest.raises(ConfigError, match=r"protections-off.*loopback"):
        from_tree(tree)


async def got(client: Client, method: str, wait_s: float = 0.6) -> bool:
    """Whether a request of that method reaches a phone."""
    try:
        await client.request(method, wait_s)
    except TimeoutError:
        return False
    return True


@against("asserted-identity")
async def phone_speaks_as_another(net: Home) -> bool:
    """Alice sends a message that says it is Carol's."""
    alice, bob = await pair(net)
    await net.registered("carol")
    alice.send(alice.make("MESSAGE", bob.card.impu, None, ("P-Asserted-Identity", f"<{net.impu('carol')}>")))
    received = await bob.request("MESSAGE")
    return net.impu("carol") in (received.get("P-Asserted-Identity") or "")


@against("challenge-call-id")
async def answer_is_taken_off_the_wire(net: Home) -> bool:
    """A thief hears Alice's answer before it arrives, and sends it as the answer of a registration of its own."""
    alice, thief = await net.phone("alice"), await net.phone("alice")
    await alice.challenged()
    stolen = alice.answer()
    answer = await thief.ask(thief.register(stolen))
    return answer.status == 200 and any(event.call_id == thief.call_id for event in net.events(Registered))


@against("challenge-once")
async def answer_is_replayed(net: Home) -> bool:
    """The answer with which Alice registered is sent again, with a contact of the thief's."""
    alice, thief = await net.phone("alice"), await net.phone("alice")
    await alice.challenged()
    credentials = alice.answer()
    assert (await alice.ask(alice.register(credentials))).status == 200
    thief.call_id, thief.cseq = alice.call_id, alice.cseq
    return (await thief.ask(thief.register(credentials))).status == 200


@against("challenge-unprotected")
async def register_without_proof(net: Home) -> bool:
    """A thief adds a contact to a registered user and proves nothing."""
    await net.registered("alice")
    thief = await net.phone("alice")
    return (await thief.ask(thief.register())).status == 200


@against("core-peers")
async def stranger_speaks_to_the_core(net: Home) -> bool:
    """From an address of no core node, straight to the S-CSCF: who never registered reaches Bob."""
    bob = await net.registered("bob")
    mallory = await net.stranger("s-cscf")
    mallory.send(mallory.make("MESSAGE", bob.card.impu, None, ("P-Asserted-Identity", f"<{net.impu('alice')}>")))
    return await got(bob, "MESSAGE")


@against("dialog-owner")
async def another_phone_hangs_up(net: Home) -> bool:
    """Carol knows the tags of Alice's call with Bob, and sends BYE over her own flow."""
    alice, bob = await pair(net)
    carol = await net.registered("carol")
    bye = (await call(alice, bob)).from_caller("BYE", 9)
    bye.set("Via", carol.via())
    carol.send(bye)
    return await got(bob, "BYE")


@against("flow-token")
async def flow_is_named_by_who_does_not_know_it(net: Home) -> bool:
    """A flow token whose MAC is wrong, at the P-CSCF's core side."""
    bob = await net.registered("bob")
    assert net.network.p_cscf is not None
    (binding,) = net.network.p_cscf.bindings.of_impu(bob.card.impu)
    octets = bytearray(base64.urlsafe_b64decode(binding.token))
    octets[-1] ^= 1
    forged = base64.urlsafe_b64encode(octets).decode()
    node = await net.stranger("p-cscf", host="127.0.0.1")
    node.send(node.make("MESSAGE", bob.card.impu, None, ("Route", f"<sip:{forged}@pcscf.{net.realm};lr>")))
    return await got(bob, "MESSAGE")


@against("integrity-flag", s_cscf={"reauthenticate": "initial-only"})
async def phone_says_that_it_is_protected(net: Home) -> bool:
    """A thief writes integrity-protected="yes" and is not challenged for Alice, who is registered."""
    await net.registered("alice")
    thief = await net.phone("alice")
    claim = thief.empty_credentials().with_param("integrity-protected", "yes")
    return (await thief.ask(thief.register(claim))).status == 200


@against("home-known")
async def a_phone_brings_its_own_home_network(net: Home) -> bool:
    """It registers with a registrar of its own, which says that it is Alice; and so it calls Bob."""
    bob, mallory = await net.registered("bob"), await net.phone("mallory")
    register = mallory.register(impu=net.impu("alice"))
    async with registrar(("P-Associated-URI", f"<{net.impu('alice')}>")) as (host, port):
        register.uri = f"sip:{host}:{port}"
        answer = await mallory.ask(register)
        mallory.send(mallory.make("MESSAGE", bob.card.impu))
        try:
            received = await bob.request("MESSAGE", 0.6)
        except TimeoutError:
            return False
    return answer.status == 200 and net.impu("alice") in (received.get("P-Asserted-Identity") or "")


@against("identity-pair")
async def own_card_for_anothers_identity(net: Home) -> bool:
    """Alice's card registers Bob's public identity."""
    alice = await net.phone("alice")
    return (await alice.registers(impu=net.impu("bob"))).status == 200


@against("keys-stay-home")
async def keys_are_heard(net: Home) -> bool:
    """Whoever hears the 401 to a phone learns CK and IK."""
    alice = await net.phone("alice")
    challenge = (await alice.challenged()).need(WWW_AUTHENTICATE)
    return challenge.param("ck") is not None or challenge.param("ik") is not None


@against("keep-registered")
async def wrong_answer_throws_out_the_user(net: Home) -> bool:
    """A thief answers a challenge wrongly; Alice can't be reached any more."""
    alice, bob = await pair(net)
    thief = await net.phone("alice")
    await thief.challenged()
    assert (await thief.ask(thief.register(thief.answer(password=Secret(b"wrong"))))).status == 403
    await net.settled()
    bob.send(bob.make("MESSAGE", alice.card.impu))
    return not await got(alice, "MESSAGE")


@against("reg-event-owner")
async def stranger_watches_a_user(net: Home) -> bool:
    """Bob subscribes to Alice's registration state: where she is, with which phones."""
    _alice, bob = await pair(net)
    answer = await bob.ask(
        bob.make("SUBSCRIBE", net.impu("alice"), None, ("Event", "reg"), ("Expires", "600"), ("Accept", "*/*"))
    )
    return answer.status == 200 and await got(bob, "NOTIFY")


@against("reg-event-set")
async def a_home_network_ends_the_registration_of_anothers_user(net: Home) -> bool:
    """A visited P-CSCF watches Alice; what it is told in her subscription says that Bob is registered no more."""
    _alice, bob = await pair(net)
    await net.settled()
    assert net.network.p_cscf is not None
    subscription = net.network.p_cscf.subscriptions._by_impu[net.impu("alice")]
    node = await net.stranger("p-cscf", host="127.0.0.1")
    notify = node.make(
        "NOTIFY", f"sip:pcscf.{net.realm}", None, ("Event", "reg"), ("Subscription-State", "active"),
        ("Content-Type", MEDIA_TYPE),
        body=RegInfo(9, True, (RegistrationInfo(bob.card.impu, "b", "terminated", ()),)).to_bytes(),
    )  # fmt: skip
    notify.set("Call-ID", subscription.call_id)
    notify.set("To", f"<sip:pcscf.{net.realm}>;tag={subscription.from_tag}")
    notify.set("CSeq", "900 NOTIFY")
    assert (await node.ask(notify)).status == 200
    return (await bob.ask(bob.make("MESSAGE", net.impu("nobody")))).status == 403


@against("response-to-sender")
async def responses_are_thrown_at_a_victim(net: Home) -> bool:
    """A Via with a victim's address: each small request would have a response land there."""
    thief, victim = await net.phone("alice", host="127.0.0.3"), await net.phone("bob")
    request = thief.register()
    request.set("Via", thief.via(*victim.address).removesuffix(";rport"))
    thief.send(request)
    return not await victim.hears_nothing(0.3)


@against("resync-mac")
async def sequence_number_is_set_by_a_forger(net: Home) -> bool:
    """AUTS that no card made moves the authentication centre's sequence number: the true card is out of step."""
    alice, thief = await net.phone("alice"), await net.phone("alice")
    await thief.challenged()
    credentials = thief.answer(password=Secret(b"")).with_param("auts", base64.b64encode(bytes(range(14))).decode())
    answer = await thief.ask(thief.register(credentials))
    await alice.challenged()
    return answer.status == 401 and answer.need(WWW_AUTHENTICATE).param("nonce") is not None


@against("service-route")
async def phone_goes_around_its_s_cscf(net: Home) -> bool:
    """A Route of the phone's own leads its request to a host of its choice, with the network's word for who it is."""
    alice, _bob = await pair(net)
    elsewhere = await net.phone("mallory", host="127.0.0.4")
    host, port = elsewhere.address
    alice.send(alice.make("MESSAGE", net.impu("bob"), None, ("Route", f"<sip:{host}:{port};lr>")))
    return await got(elsewhere, "MESSAGE")


@against("strip-core-headers")
async def phone_writes_its_own_bill(net: Home) -> bool:
    """A charging identity of the phone's own choice arrives in the core."""
    alice, bob = await pair(net)
    alice.send(alice.make("MESSAGE", bob.card.impu, None, ("P-Charging-Vector", "icid-value=forged")))
    await bob.request("MESSAGE")
    return any("forged" in text for text in net.seen_at("s-cscf"))


@against("equal-answers")
async def users_are_listed(net: Home) -> bool:
    """A REGISTER tells a stranger which users there are."""
    known, unknown = await net.phone("alice"), await net.phone("nobody")
    first, second = await known.challenged(), await unknown.challenged()
    return first.status != second.status or len(first.headers) != len(second.headers)
