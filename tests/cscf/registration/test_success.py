"""Registrations that succeed (TS 33.203 6.1.1, TS 24.229 5.4.1.2): first, again, several phones, and their end."""

import asyncio
import base64

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.config import SCscfConfig, ServerEntry
from redoubt.diameter.cx import DeregistrationReason, ServerCapabilities
from redoubt.events import Check, Deregistered, Registered
from redoubt.sip.fields import WWW_AUTHENTICATE

from .core import OPC, REALM, SCSCF, Handset, K, contacts, play, subscriber

ALICE = "sip:alice@ims.example"


def test_a_first_registration_is_challenged_then_accepted(tmp_path):
    async def story(world):
        alice = Handset(world)
        challenged = await alice.ask()
        assert challenged.status == 401
        challenge = challenged.need(WWW_AUTHENTICATE)
        assert len(base64.b64decode(challenge.param("nonce"))) == 32  # RFC 3310 3.2: RAND and AUTN
        assert challenge.param("algorithm") == "AKAv1-MD5"
        assert len(challenge.param("ck")) == len(challenge.param("ik")) == 32  # for the P-CSCF

        accepted = await alice.reply(challenged)
        assert accepted.status == 200
        assert accepted.get("Service-Route") == "<sip:orig@scscf.ims.example;lr>"
        assert accepted.all("P-Associated-URI") == ["<sip:alice@ims.example>", "<tel:+15550001>"]
        assert accepted.get("Path") == "<sip:token@pcscf.ims.example;lr>"
        assert accepted.get("Contact") == "<sip:alice@192.0.2.7:5060>;expires=3600"
        assert await world.assignment(ALICE) == SCSCF
        assert world.scscf.registrations.find("tel:+15550001").default_impu == ALICE
        assert not len(world.scscf.authentication.challenges)
        assert len(world.seen(Registered)) == 1
        assert not world.failed_checks()
        assert 3 <= len(world.seen(Check)) <= 5

    play(tmp_path, story)


def test_no_vector_is_used_twice_and_they_are_used_in_order(tmp_path):
    async def story(world):
        alice, nonces = Handset(world), []
        for _ in range(30):
            challenged = await alice.ask()
            nonces.append(challenged.need(WWW_AUTHENTICATE).param("nonce"))
            assert (await alice.reply(challenged)).status == 200  # the card refuses what is out of order
        assert len(set(nonces)) == 30

    play(tmp_path, story, config=SCscfConfig(vectors_per_request=5))


def test_every_algorithm_of_digest_aka_is_verified(tmp_path):
    async def story(world):
        assert (await Handset(world).register()).status == 200

    for number, algorithm in enumerate(("AKAv1-MD5", "AKAv2-MD5", "AKAv2-SHA-256")):
        path = tmp_path / str(number)
        path.mkdir()
        play(path, story, config=SCscfConfig(algorithms=(algorithm,)))


def test_a_re_registration_refreshes_the_one_binding(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        await asyncio.sleep(3000)
        assert contacts(await alice.register()) == ["sip:alice@192.0.2.7:5060"]
        await asyncio.sleep(3000)
        assert world.scscf.registrations.size == (1, 1)

    play(tmp_path, story)


def test_policy_lets_a_protected_re_registration_go_unchallenged(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        alice.protected = True
        assert (await alice.ask()).status == 200
        alice.protected = False
        assert (await alice.ask()).status == 401
        alice.protected = True
        world.scscf.require_authentication(ALICE)
        assert (await alice.ask()).status == 401

    play(tmp_path, story, config=SCscfConfig(reauthenticate="initial-only"))


def test_two_phones_of_one_user_are_two_bindings(tmp_path):
    async def story(world):
        card = Isim(Milenage(K, OPC))
        one, two = Handset(world, isim=card), Handset(world, address="192.0.2.8", isim=card)
        await one.register()
        assert len(contacts(await two.register())) == 2
        now = asyncio.get_running_loop().time()
        assert len(world.scscf.registrations.contacts(ALICE, now)) == 2
        await one.deregister()
        assert world.scscf.registrations.size == (1, 1)
        assert await world.assignment(ALICE) == SCSCF
        await two.deregister()
        assert world.scscf.registrations.size == (0, 0)
        assert await world.assignment(ALICE) == ""

    play(tmp_path, story)


def test_a_phone_that_comes_back_with_its_instance_replaces_its_old_contact(tmp_path):
    async def story(world):
        alice = Handset(world)
        instance = ';+sip.instance="<urn:gsma:imei:90420156-025763-0>"'
        alice.contact += instance
        await alice.register()
        alice.contact = f"<sip:alice@192.0.2.99:5060>{instance}"
        response = await alice.register()
        assert contacts(response) == ["sip:alice@192.0.2.99:5060"]
        assert instance[1:] in response.get("Contact")

    play(tmp_path, story)


def test_a_registration_ends_by_itself(tmp_path):
    async def story(world):
        alice = Handset(world)
        alice.expires = 600
        await alice.register()
        await asyncio.sleep(599)
        assert world.scscf.registrations.size == (1, 1)
        await asyncio.sleep(2)
        assert world.scscf.registrations.size == (0, 0)
        assert [event.cause for event in world.seen(Deregistered)] == ["expired"]
        assert await world.assignment(ALICE) == ""

    play(tmp_path, story)


def test_the_hss_can_end_a_registration(tmp_path):
    async def story(world):
        await Handset(world).register()
        await Handset(world, "bob").register()
        await world.hss.administration.deregister("alice@ims.example", DeregistrationReason.SERVER_CHANGE)
        assert world.scscf.registrations.find(ALICE) is None
        assert world.scscf.registrations.size == (1, 1)

    play(tmp_path, story)


def test_an_operator_can_end_a_registration_at_the_s_cscf(tmp_path):
    async def story(world):
        await Handset(world).register()
        assert await world.scscf.deregistration.by_operator(ALICE)
        assert await world.assignment(ALICE) == ""
        assert not await world.scscf.deregistration.by_operator(ALICE)

    play(tmp_path, story)


def test_a_pushed_profile_changes_what_is_registered(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        await world.hss.administration.bar("tel:+15550001")
        assert (await alice.register()).all("P-Associated-URI") == ["<sip:alice@ims.example>"]

    play(tmp_path, story)


def test_a_barred_identity_may_register_the_others_of_its_set(tmp_path):
    async def story(world):  # the identity made from the IMSI is barred for everything else (TS 23.003 13.4B)
        temporary = f"sip:carol@{REALM}"
        await world.hss.administration.add([subscriber("carol", "tel:+15550003", barred=(temporary,))])
        response = await Handset(world, "carol").register()
        assert response.all("P-Associated-URI") == ["<tel:+15550003>"]

    play(tmp_path, story)


def test_a_user_who_needs_capabilities_gets_an_s_cscf_that_has_them(tmp_path):
    async def story(world):
        needs = ServerCapabilities(mandatory=(7,))
        await world.hss.administration.add([subscriber("carol", capabilities=needs)])
        assert (await Handset(world, "carol").register()).status == 200

    able = ServerEntry(uri=SCSCF, capabilities=(7,))
    play(tmp_path, story, servers=(ServerEntry(uri="sip:other.ims.example"), able))


def test_another_s_cscf_is_tried_when_the_first_does_not_answer(tmp_path):
    async def story(world):
        assert (await Handset(world).register()).status == 200
        assert world.delivered  # the dead one was asked

    play(tmp_path, story, servers=(ServerEntry(uri="sip:dead.ims.example"), ServerEntry(uri=SCSCF)))
