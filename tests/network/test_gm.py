"""Registration and calls under IPsec on a whole network (TS 33.203 6, 7; TS 24.229 5.1.1, 5.2.2), on real sockets."""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SequenceArray, SequenceScheme
from redoubt.config import ConfigError
from redoubt.events import Refused
from redoubt.gm.agreement import AgreementPolicy, Mode
from redoubt.gm.algorithms import Encryption, Integrity, Suite, expand
from redoubt.gm.esp import InboundAssociation
from redoubt.gm.reports import AssociationChanged
from redoubt.gm.transforms import transform
from redoubt.network.configuration import from_tree
from redoubt.network.gm import policy_of
from redoubt.phone.phone import Phone
from redoubt.secret import Secret
from redoubt.sip.fields import AUTHORIZATION, SECURITY_SERVER
from redoubt.sip.message import Request
from redoubt.sources import SeededRandomness

from .client import Card, Client
from .handsets import ANYTHING, Field, field

CBC = Suite(Integrity.HMAC_SHA_1_96, Encryption.AES_CBC)
TRIPLE = Suite(Integrity.HMAC_MD5_96, Encryption.DES_EDE3_CBC)


def offering(suite: Suite) -> AgreementPolicy:
    """What a phone can do that knows one suite only."""
    return AgreementPolicy((suite,), confidentiality=False, legacy=True, modes=(Mode.UDP_TUNNEL,))


async def settled() -> None:
    await asyncio.sleep(0.05)


async def stranger(net: Field, name: str = "alice") -> Client:
    """A phone that knows nothing of IPsec."""
    return await Client.open(Card.of(name, net.network.config.network.realm), net.network.p_cscf_address)


async def test_a_phone_registers_renews_and_deregisters_and_only_its_first_request_is_in_the_clear() -> None:
    async with field(tracing=True) as net:
        alice = await net.registered("alice")
        [made] = net.sets("alice")
        assert made.state.value == "in use"
        assert (await alice.register()).registered
        assert net.states("alice") == ["established", "in use"]
        assert (await alice.deregister()).status == 200
        await settled()
        assert net.states("alice") == ["closing", "closing"]
        host, port = net.network.p_cscf_address
        clear = f"{host}:{port}"
        assert [m.text[:8] for m in net.events_at(clear)] == ["REGISTER", "SIP/2.0 "]


async def test_the_home_network_hears_how_each_register_was_protected_and_nothing_of_the_agreement() -> None:
    async with field(tracing=True) as net:
        await net.registered("alice")
        forwarded = [m.text for m in net.seen("REGISTER") if m.receiver == "s-cscf"]
        assert ['integrity-protected="yes"' in text for text in forwarded] == [False, True]
        assert ['integrity-protected="no"' in text for text in forwarded] == [True, False]
        assert not any("sec-agree" in text or "Security-" in text for text in forwarded)


async def test_a_phone_that_says_itself_how_it_is_protected_is_not_believed() -> None:
    async with field(tracing=True) as net:
        alice = await net.phone("alice")

        def boast(request: Request) -> None:
            authorization = request.first(AUTHORIZATION)
            if authorization is not None:
                request.put(AUTHORIZATION, authorization.with_param("integrity-protected", "yes"))

        alice.adjust = boast
        assert (await alice.register()).registered
        first = next(m.text for m in net.seen("REGISTER") if m.receiver == "s-cscf")
        assert 'integrity-protected="no"' in first


async def test_a_call_and_a_message_pass_under_esp_and_nothing_of_them_in_the_clear() -> None:
    async with field(tracing=True) as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        call = await alice.call(bob.identity.impu)
        assert call.status == 200
        await call.hang_up()
        assert (await alice.message(bob.identity.impu, "hello")).status == 200
        assert [message.text for message in bob.messages] == ["hello"]
        host, port = net.network.p_cscf_address
        assert not [m for m in net.events_at(f"{host}:{port}") if m.text.startswith(("INVITE", "MESSAGE", "BYE"))]


async def test_a_phone_without_a_security_agreement_is_told_to_have_one() -> None:
    async with field() as net:
        phone = await stranger(net)
        answer = await phone.ask(phone.register())
        assert (answer.status, answer.get("Require")) == (421, "sec-agree")
        assert answer.every(SECURITY_SERVER)
        answer = await phone.ask(phone.register(None, ("Supported", "sec-agree")))
        assert (answer.status, len(answer.every(SECURITY_SERVER)) > 0) == (494, True)
        phone.close()
        assert net.sets() == []


@pytest.mark.parametrize(
    ("offered", "status"),
    [(CBC, 200), (TRIPLE, 494), (Suite(Integrity.HMAC_SHA_1_96, Encryption.NULL), 494)],
)
async def test_the_operator_s_policy_decides_what_is_agreed_on(offered: Suite, status: int) -> None:
    async with field() as net:
        alice = await net.phone("alice", policy=offering(offered))
        assert (await alice.register()).status == status
        assert [each.agreement.suite for each in net.sets()] == ([offered] if status == 200 else [])


async def test_what_was_withdrawn_is_agreed_on_only_with_the_legacy_switch() -> None:
    async with field({"legacy": True, "floor": "hmac-md5-96/null"}) as net:
        await net.registered("alice", policy=offering(TRIPLE))
        assert net.sets("alice")[0].agreement.suite == TRIPLE


async def test_a_policy_that_can_not_be_is_refused_at_the_start() -> None:
    for gm in ({"floor": "none/none"}, {"floor": "null/aes-gcm", "preference": ["hmac-sha-1-96/aes-cbc"]}):
        with pytest.raises(ConfigError, match=r"\[gm\]"):
            policy_of(from_tree({"gm": gm}).gm, "ipsec")


async def test_a_request_in_the_clear_of_a_registered_phone_is_refused_and_told() -> None:
    async with field() as net:
        await net.registered("alice")
        clear = await stranger(net)
        answer = await clear.ask(clear.make("MESSAGE", net.impu("bob")))
        clear.close()
        assert answer.status == 403
        assert any(event.method == "MESSAGE" for event in net.events(Refused))


async def test_an_unprotected_register_of_a_registered_phone_is_challenged_and_costs_nothing() -> None:
    async with field() as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        again = await net.phone("alice", seed=7)
        again.adjust = lambda request: request.remove("Authorization")
        await again.register()
        assert "in use" in net.states("alice")
        assert (await bob.message(alice.identity.impu, "still there?")).status == 200


async def test_a_wrong_response_ends_its_own_attempt_only() -> None:
    async with field() as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")

        def lie(request: Request) -> None:
            authorization = request.first(AUTHORIZATION)
            if authorization is not None and authorization.param("response"):
                request.put(AUTHORIZATION, authorization.with_param("response", "0" * 32))

        alice.adjust = lie
        assert (await alice.register()).status == 403
        await settled()
        assert net.states("alice") == ["in use", "refused"]
        alice.adjust = None
        assert (await bob.message(alice.identity.impu, "still there?")).status == 200


async def test_a_deregistration_that_is_challenged_ends_its_own_set_as_one_that_succeeded() -> None:
    async with field() as net:
        alice = await net.registered("alice")
        again = await net.phone("alice", seed=3)
        again.line.instance, again.line.identity = alice.line.instance, alice.identity
        assert (await again.deregister()).status == 200
        await settled()
        changes = [event for event in net.events(AssociationChanged) if event.number == 2]
        assert [event.after for event in changes] == ["answered", "closing"]
        assert changes[-1].clause == "TS 24.229 5.1.1.6, 5.2.5.1"


async def test_a_card_that_refuses_the_network_leaves_no_temporary_set() -> None:
    async with field() as net:
        net.people["alice"] = replace(net.people["alice"], k=Secret(bytes(16)))
        alice = await net.phone("alice")
        assert (await alice.register()).status == 403
        await settled()
        assert "temporary" not in net.states("alice")


async def test_a_card_that_is_ahead_resynchronises_and_registers_under_ipsec() -> None:
    async with field() as net:
        alice = await net.phone("alice")
        person = net.people["alice"]
        ahead = SequenceArray(SequenceScheme(), tuple([1000] * 32))
        alice.line.identity = replace(alice.identity, isim=Isim(Milenage(person.k, person.opc), ahead))
        result = await alice.register()
        assert (result.registered, result.outcomes) == (True, ("SyncFailure", "Success"))
        assert net.states("alice") == ["in use"]


async def test_a_phone_that_forgot_everything_begins_anew_and_its_old_sets_end() -> None:
    async with field() as net:
        alice = await net.registered("alice")
        [old] = net.sets("alice")
        again = await net.phone("alice", seed=3)
        again.line.instance = alice.line.instance
        assert again.line.gm is not None
        again.line.gm._key = again.line.gm._key._replace(contact=alice.line.instance)
        again.line.identity = alice.identity
        assert (await again.register()).registered
        [new] = net.sets("alice")
        assert (new is not old, new.state.value) == (True, "in use")


async def test_the_network_asks_for_authentication_and_a_new_set_follows() -> None:
    async with field() as net:
        alice = await net.phone("alice")
        alice.registration._renews = True
        assert (await alice.register(3600, subscribe=True)).registered
        await settled()
        renewed = asyncio.Event()
        alice.registration.on_renewed = renewed.set
        assert net.network.s_cscf is not None
        [old] = net.sets("alice")
        assert net.network.s_cscf.require_authentication(net.impu("alice"))
        await asyncio.wait_for(renewed.wait(), 5)
        assert old.ends_at < asyncio.get_running_loop().time() + 3500
        assert len(net.sets("alice")) == 2
        alice.registration.stop()


async def test_a_phone_that_the_network_deregisters_hears_of_it_under_protection() -> None:
    async with field() as net:
        alice = await net.phone("alice")
        assert (await alice.register(subscribe=True)).registered
        await settled()
        ended = asyncio.Event()
        alice.registration.on_change = ended.set
        assert net.network.hss is not None
        await net.network.hss.administration.remove(net.people["alice"].impi)
        await asyncio.wait_for(ended.wait(), 5)
        assert not alice.registration.holds


async def test_without_ipsec_by_policy_a_phone_that_offers_it_gets_it_and_another_needs_none() -> None:
    async with field(access="aka-without-ipsec") as net:
        await net.registered("alice")
        await net.registered("bob", gm=False)
        assert (net.states("alice"), net.states("bob")) == (["in use"], [])


async def test_several_phones_at_one_address_share_no_port_and_no_spi() -> None:
    async with field() as net:
        phones = [await net.registered(name, seed=number) for number, name in enumerate(("alice", "bob", "carol"))]
        assert all(isinstance(phone, Phone) for phone in phones)
        spis = [spi for each in net.sets() for spi in (each.agreement.network.spi_c, each.agreement.network.spi_s)]
        ports = [each.agreement.network.port_c for each in net.sets()]
        assert (len(set(spis)), len(set(ports))) == (6, 3)


async def test_two_phones_that_offer_the_same_server_port_do_not_get_it_both() -> None:
    async with field() as net:
        alice = await net.registered("alice", policy=ANYTHING)
        bob = await net.phone("bob")
        assert alice.line.gm is not None and bob.line.gm is not None
        bob.line.gm.port = alice.line.gm.port
        assert (await bob.register()).status == 494
        bob.line.gm.port = alice.line.gm.port
        bob.registration.attempts = 2
        assert (await bob.register()).registered
        assert bob.line.gm.port != alice.line.gm.port


def guesses(heard: bytes) -> Iterator[tuple[bytes, bytes]]:
    """CK and IK as somebody may think them up who heard all that passed in the clear: the challenge, which is RAND and
    AUTN, and every other word of it, as it stands, as a number, decoded, and under the usual digests.
    """
    nonce = base64.b64decode(heard.split(b'nonce="')[2].split(b'"')[0])
    windows = [nonce[at : at + 16] for at in range(len(nonce) - 15)] + [bytes(16)]
    yield from itertools.product(windows, windows)
    for word in set(re.split(rb'[\s;=,"<>:@/]+', heard)):
        forms = [word, word[::-1], word + nonce, nonce + word, nonce[:16] + word]
        with contextlib.suppress(ValueError):
            forms.append(bytes.fromhex(word.decode()))
        with contextlib.suppress(ValueError):
            forms.append(base64.b64decode(word, validate=True))
        if word.isdigit():
            forms.append(int(word).to_bytes(16, "big"))
        for form in forms:
            digests = [hashlib.new(name, form, usedforsecurity=False).digest() for name in ("md5", "sha1", "sha256")]
            for key in [form.ljust(16, b"\0")[:16], form.rjust(16, b"\0")[-16:], *(each[:16] for each in digests)]:
                yield from ((key, key), (key, bytes(16)), (bytes(16), key), (key, nonce[:16]), (nonce[:16], key))
            yield digests[2][:16], digests[2][16:]


@pytest.mark.parametrize("suite", [Suite(Integrity.NULL, Encryption.AES_GCM), CBC], ids=str)
async def test_nothing_that_crossed_the_air_opens_a_packet(suite: Suite) -> None:
    async with field() as net:
        alice = await net.registered("alice", routed=True, policy=offering(suite))
        clear, tunnel = net.routers
        [made] = net.sets("alice")
        packet = next(data for up, data in tunnel.seen if up)
        heard = b"".join(data for _, data in clear.seen)
        assert (made.agreement.suite, packet[:4]) == (suite, made.agreement.network.spi_s.to_bytes(4, "big"))
        tried = 0
        for ck, ik in guesses(heard):
            cipher = transform(suite, expand(suite, Secret(ck), Secret(ik)), SeededRandomness(1))
            assert InboundAssociation(made.agreement.network.spi_s, cipher).open(packet) is None
            tried += 1
        assert tried > 1000
        for secret in (made.keys.encryption, made.keys.salt, made.keys.integrity):
            assert not secret or (secret.reveal() not in heard and secret.reveal().hex().encode() not in heard.lower())
        cipher = transform(suite, made.keys, SeededRandomness(1))
        assert InboundAssociation(made.agreement.network.spi_s, cipher).open(packet) is not None
        assert alice.registration.holds
