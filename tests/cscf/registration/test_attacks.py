"""Attacks on registration: each succeeds while its protection is off, and fails with it (rows 5 to 20, 67, 77)."""

import pytest

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.config import SCscfConfig
from redoubt.secret import Secret
from redoubt.sip.fields import WWW_AUTHENTICATE

from .core import OPC, Handset, contacts, play, stranger_flow

ALICE = "sip:alice@ims.example"
HIJACKED = "<sip:mallory@203.0.113.9:5060>"
WRONG = "0" * 32


def attack(tmp_path, story, protection, *also_off, config=None):
    """Runs the story twice; `story(world)` returns whether the attacker had success."""
    for off, expected in (((protection, *also_off), True), (also_off, False)):
        path = tmp_path / ("off" if expected else "on")
        path.mkdir()

        async def judged(world, expected=expected):
            assert await story(world) is expected

        play(path, judged, off=off, config=config)


def test_an_unprotected_register_of_a_registered_user_hijacks_nothing(tmp_path):
    async def story(world):  # row 12
        await Handset(world).register()
        mallory = Handset(world, address="203.0.113.9")
        mallory.contact = HIJACKED
        response = await mallory.ask()
        found = world.scscf.registrations.find(ALICE)
        assert any("192.0.2.7" in binding.contact for binding in found.bindings.values())
        return response.status == 200

    attack(tmp_path, story, "challenge-unprotected")


@pytest.mark.parametrize("value", ["yes", "auth-done", "tls-yes", "YES", "ip-assoc-yes"])
def test_the_word_of_a_stranger_about_protection_is_nothing(tmp_path, value):
    async def story(world):  # rows 14, 15: straight to the S-CSCF
        await Handset(world).register()
        mallory = Handset(world, address="203.0.113.9")
        mallory.contact = HIJACKED
        request = mallory.request()
        request.set("Authorization", request.get("Authorization").replace('"no"', f'"{value}"'))
        return (await world.send(request, world.scscf, stranger_flow())).status == 200

    config = SCscfConfig(reauthenticate="initial-only")
    if value.lower() == "yes":
        attack(tmp_path, story, "integrity-flag", "core-peers", config=config)
    else:

        async def refused(world):
            assert not await story(world)

        play(tmp_path, refused, off=("core-peers", "integrity-flag"), config=config)


def test_a_replayed_response_registers_nobody(tmp_path):
    async def story(world):  # rows 5, 20
        alice = Handset(world)
        challenged = await alice.ask()
        captured = alice.answer(challenged)
        assert (await world.send(alice.request(captured))).status == 200
        alice.contact = HIJACKED
        return (await world.send(alice.request(captured))).status == 200

    attack(tmp_path, story, "challenge-once")


def test_a_response_counts_only_with_the_call_id_of_its_challenge(tmp_path):
    async def story(world):  # row 5
        alice = Handset(world)
        challenged = await alice.ask()
        alice.call_id, alice.contact = "another", HIJACKED
        return (await alice.reply(challenged)).status == 200

    attack(tmp_path, story, "challenge-call-id")


def test_one_user_cannot_register_the_identity_of_another(tmp_path):
    async def story(world):  # row 16
        mallory = Handset(world, "bob")
        mallory.impu, mallory.contact = ALICE, HIJACKED
        challenged = await mallory.ask()
        return challenged.status == 401 and (await mallory.reply(challenged)).status == 200

    attack(tmp_path, story, "identity-pair")


def test_one_users_answer_does_not_serve_another_identity(tmp_path):
    async def story(world):
        mallory = Handset(world, "bob")
        challenged = await mallory.ask()
        mallory.impu = ALICE
        assert (await mallory.reply(challenged)).status != 200

    play(tmp_path, story)


def test_a_stranger_on_the_core_is_refused(tmp_path):
    async def story(world):  # row 67
        return (await world.send(Handset(world).request(), world.icscf, stranger_flow())).status == 401

    attack(tmp_path, story, "core-peers")


def test_known_and_unknown_users_look_alike(tmp_path):
    async def story(world):  # row 77
        statuses, shapes = [], []
        for name in ("alice", "nobody"):
            phone = Handset(world, name)
            challenged = await phone.ask()
            statuses.append(challenged.status)
            shapes.append(shape(challenged))
        return statuses[0] != statuses[1] or shapes[0] != shapes[1]

    attack(tmp_path, story, "equal-answers")


def test_an_unknown_user_never_gets_in_and_fails_as_a_known_one_does(tmp_path):
    async def story(world):
        answers = []
        for name in ("alice", "nobody"):
            phone, seen = Handset(world, name, isim=Isim(Milenage(Secret(bytes(16)), OPC))), []
            for _ in range(8):
                response = await phone.ask()
                seen.append(response.status)
                if response.status == 401:
                    seen.append((await phone.reply(response, response=WRONG)).status)
            phone.expires = 0
            seen.append((await phone.ask()).status)
            answers.append(seen)
        assert answers[0] == answers[1]
        assert answers[0][:2] == [401, 403]
        assert not any("nobody" in event.impu and event.passed for event in world.failed_checks())

    play(tmp_path, story)


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_asking_in_vain_ends_in_the_same_delay_for_everybody(tmp_path, name):
    async def story(world):
        phone = Handset(world, name)
        statuses = []
        for number in range(10):
            phone.contact = f"<sip:x@192.0.2.7:{7000 + number}>"
            statuses.append((await phone.ask()).status)
        assert statuses == [401] * 7 + [503] * 3

    play(tmp_path, story)


def test_guessing_is_delayed_and_the_true_user_is_served(tmp_path):
    async def story(world):  # row 18
        alice = Handset(world)
        await alice.register()
        mallory = Handset(world, address="203.0.113.9")
        mallory.contact = HIJACKED
        delayed = 0
        for _ in range(50):
            challenged = await mallory.ask()
            if challenged.status == 503:
                assert int(challenged.get("Retry-After")) >= 1
                delayed += 1
            else:
                assert (await mallory.reply(challenged, response=WRONG)).status == 403
        assert delayed >= 44
        assert len(world.alarms()) == 1
        assert contacts(await alice.register()) == ["sip:alice@192.0.2.7:5060"]
        alice.protected = True
        assert (await alice.register()).status == 200

    play(tmp_path, story)


def test_the_password_of_auts_authenticates_nobody(tmp_path):
    async def story(world):  # row 9: the response over an empty password, without and with auts
        from redoubt.aka.digest import DigestAlgorithm, DigestFields, response

        alice = Handset(world)
        for auts in (None, "AAAAAAAAAAAAAAAAAAA="):
            challenged = await alice.ask()
            nonce = challenged.need(WWW_AUTHENTICATE).param("nonce")
            fields = DigestFields(
                DigestAlgorithm.AKA_V1_MD5, alice.identity.impi, "ims.example", nonce, "sip:ims.example", "REGISTER"
            )
            proof = response(fields, Secret(b""))
            assert (await alice.reply(challenged, response=proof, auts=auts)).status == 403

    play(tmp_path, story)


def shape(response):
    """Header names and the length of each value, but for what the asker wrote and the tag."""
    own = ("Via", "From", "To", "Call-ID", "CSeq")
    return response.status, [(name, len(value)) for name, value in response.headers if name not in own]
