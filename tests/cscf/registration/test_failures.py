"""Registrations that fail (TS 33.203 6.1.2, 6.1.3, TS 24.229 5.4.1): the right response, and nobody else's loss."""

import asyncio

import pytest

from redoubt.aka.algorithm import exclusive_or
from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.config import SCscfConfig, ServerEntry
from redoubt.diameter.cx import HssUnavailable, ServerCapabilities
from redoubt.events import Fault
from redoubt.secret import Secret
from redoubt.sip.fields import WWW_AUTHENTICATE

from .core import OPC, REALM, SCSCF, Handset, K, contacts, play, stranger_flow, subscriber

ALICE = "sip:alice@ims.example"
WRONG = "0" * 32
STRANGERS_CARD = Isim(Milenage(Secret(bytes(16)), OPC))


def test_a_wrong_res_is_refused_and_frees_the_pending_assignment(tmp_path):
    async def story(world):
        alice = Handset(world)
        challenged = await alice.ask()
        assert (await alice.reply(challenged, response=WRONG)).status == 403
        assert await world.assignment(ALICE) == ""
        (check,) = world.failed_checks()
        assert (check.step, check.fault, check.call_id) == ("SM9", Fault.SIM_KEY, alice.call_id)
        assert check.clause
        assert check.advice

    play(tmp_path, story)


def test_a_wrong_res_leaves_the_registration_untouched(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        assert (await alice.reply(await alice.ask(), response=WRONG)).status == 403
        assert world.scscf.registrations.size == (1, 1)
        assert await world.assignment(ALICE) == SCSCF

    play(tmp_path, story)


def test_without_its_protection_a_wrong_res_would_deregister(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        assert (await alice.reply(await alice.ask(), response=WRONG)).status == 403
        assert world.scscf.registrations.size == (0, 0)

    play(tmp_path, story, off=("keep-registered",))


def test_an_empty_response_says_that_the_network_is_not_authentic(tmp_path):
    async def story(world):
        alice = Handset(world, isim=STRANGERS_CARD)
        assert (await alice.reply(await alice.ask())).status == 403
        assert await world.assignment(ALICE) == ""
        assert "MAC failure" in world.failed_checks()[0].seen
        assert not len(world.scscf.authentication.challenges)

    play(tmp_path, story)


def test_a_synchronisation_failure_is_followed_by_success(tmp_path):
    async def story(world):
        alice = Handset(world)
        functions, rand = Milenage(K, OPC), bytes(16)
        for index in range(32):  # the card was used elsewhere: its numbers run ahead
            sqn = ((1 << 30) + index).to_bytes(6, "big")
            mac_a, keys = functions.vector(rand, sqn, b"\x80\x00")
            alice.identity.isim.authenticate(rand, exclusive_or(sqn, keys.ak.reveal()) + b"\x80\x00" + mac_a)
        challenged = await alice.ask()
        again = await alice.reply(challenged)
        assert again.status == 401
        assert again.need(WWW_AUTHENTICATE).param("nonce") != challenged.need(WWW_AUTHENTICATE).param("nonce")
        assert (await alice.reply(again)).status == 200

    play(tmp_path, story)


@pytest.mark.parametrize("auts", ["AAAAAAAAAAAAAAAAAAA=", "####"])
def test_a_false_auts_never_authenticates(tmp_path, auts):
    async def story(world):
        alice = Handset(world)
        response = await alice.reply(await alice.ask(), auts=auts)
        assert response.status in (400, 403)
        assert world.scscf.registrations.size == (0, 0)

    play(tmp_path, story)


def test_auts_after_auts_ends_the_attempt(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        challenged = await alice.ask()
        nonce = challenged.need(WWW_AUTHENTICATE).param("nonce")
        world.scscf.authentication.challenges.find(nonce).resynchronised = True
        assert (await alice.reply(challenged, auts="AAAAAAAAAAAAAAAAAAA=")).status == 403
        assert world.scscf.registrations.size == (1, 1)
        assert world.failed_checks()[-1].fault is Fault.SEQUENCE_NUMBER

    play(tmp_path, story)


def test_reg_await_auth_is_four_minutes(tmp_path):
    async def story(world):
        alice = Handset(world)
        challenged = await alice.ask()
        await asyncio.sleep(239)
        assert (await alice.reply(challenged)).status == 200
        challenged = await alice.ask()
        await asyncio.sleep(241)
        assert (await alice.reply(challenged)).status == 401

    play(tmp_path, story)


def test_an_unanswered_challenge_frees_its_memory_and_the_hss(tmp_path):
    async def story(world):
        await Handset(world).ask()
        assert len(world.scscf.authentication.challenges) == 1
        await asyncio.sleep(241)
        assert not len(world.scscf.authentication.challenges)
        assert await world.assignment(ALICE) == ""
        record = (await world.hss.administration.show("alice@ims.example")).private("alice@ims.example")
        assert not record.pending

    play(tmp_path, story)


def test_a_new_register_discards_the_open_challenge_of_its_contact_only(tmp_path):
    async def story(world):
        card = Isim(Milenage(K, OPC))
        one, two = Handset(world, isim=card), Handset(world, address="192.0.2.8", isim=card)
        first, other = await one.ask(), await two.ask()
        second = await one.ask()
        assert (await one.reply(first)).status == 401
        del second
        assert (await two.reply(other)).status in (200, 401)  # the card may want a resynchronisation by now
        assert len(world.scscf.authentication.challenges) >= 1

    play(tmp_path, story)


def test_an_unknown_user_is_refused_when_nobody_is_hidden(tmp_path):
    async def story(world):
        assert (await Handset(world, "mallory").ask()).status == 403

    play(tmp_path, story, config=SCscfConfig(hide_unknown_users=False))


def test_an_identity_of_somebody_else_is_refused_and_leaves_no_state(tmp_path):
    async def story(world):
        mallory = Handset(world, "bob")
        mallory.impu = ALICE
        assert (await mallory.ask()).status == 403
        assert await world.assignment(ALICE) == ""
        assert not len(world.scscf.authentication.challenges)
        assert world.failed_checks()[-1].fault is Fault.IDENTITY

    play(tmp_path, story)


def test_roaming_where_the_user_may_not_is_refused(tmp_path):
    async def story(world):
        alice = Handset(world)
        request = alice.request()
        request.set("P-Visited-Network-ID", '"visited.example"')
        assert (await world.send(request)).status == 403
        assert "ROAMING" in world.failed_checks()[-1].seen

    play(tmp_path, story)


def test_a_user_barred_whole_is_refused(tmp_path):
    async def story(world):
        await world.hss.administration.add([subscriber("carol", barred=(f"sip:carol@{REALM}",))])
        assert (await Handset(world, "carol").ask()).status == 403

    play(tmp_path, story)


def test_no_s_cscf_with_the_needed_capabilities_is_504(tmp_path):
    async def story(world):
        needs = ServerCapabilities(mandatory=(7,))
        await world.hss.administration.add([subscriber("carol", capabilities=needs)])
        assert (await Handset(world, "carol").ask()).status == 504

    play(tmp_path, story)


def test_no_s_cscf_that_answers_is_504(tmp_path):
    async def story(world):
        assert (await Handset(world).ask()).status == 504

    play(tmp_path, story, servers=(ServerEntry(uri="sip:dead.ims.example"),))


def test_an_hss_that_does_not_answer_is_504_and_harms_no_binding(tmp_path):
    class Silent:
        """A wire to an HSS that is cut."""

        def __getattr__(self, name):
            async def cut(*_args, **_options):
                raise HssUnavailable(name)

            return cut

    async def story(world):
        alice = Handset(world)
        await alice.register()
        world.icscf._cx = Silent()
        assert (await alice.ask()).status == 504
        world.icscf._cx = world.hss
        world.scscf.authentication._cx = Silent()
        assert (await alice.ask()).status == 504
        assert world.scscf.registrations.size == (1, 1)

    play(tmp_path, story)


def test_too_brief_a_registration_is_told_the_least(tmp_path):
    async def story(world):
        alice = Handset(world)
        alice.expires = 59
        refused = await alice.register()
        assert (refused.status, refused.get("Min-Expires")) == (423, "60")

    play(tmp_path, story)


def test_too_long_a_registration_is_shortened(tmp_path):
    async def story(world):
        alice = Handset(world)
        alice.expires = 4_000_000_000
        assert (await alice.register()).get("Contact").endswith(";expires=600000")
        alice.expires = None
        assert (await alice.register()).get("Contact").endswith(";expires=3600")

    play(tmp_path, story)


def test_contact_star_needs_expires_zero_and_to_stand_alone(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        alice.contact, alice.expires = "*", 1
        assert (await alice.ask()).status == 400
        alice.contact, alice.expires = "*, <sip:alice@192.0.2.7:5060>", 0
        assert (await alice.ask()).status == 400
        alice.contact = "*"
        assert contacts(await alice.register()) == []
        assert world.scscf.registrations.size == (0, 0)

    play(tmp_path, story)


@pytest.mark.parametrize(("count", "statuses"), [(11, (403,)), (200, (403,))])
def test_the_number_of_contacts_is_bounded(tmp_path, count, statuses):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        alice.contact = ", ".join(f"<sip:alice@192.0.2.7:{6000 + n}>" for n in range(count))
        challenged = await alice.ask()
        if challenged.status == 401:
            challenged = await alice.reply(challenged)
        assert challenged.status in statuses
        assert world.scscf.registrations.size == (1, 1)

    play(tmp_path, story)


def test_a_register_that_was_overtaken_changes_nothing(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        alice.cseq -= 2
        assert (await alice.reply(await alice.ask())).status == 500

    play(tmp_path, story)


def test_a_stranger_gets_nothing_from_i_and_s_cscf(tmp_path):
    async def story(world):
        alice = Handset(world)
        for service in (world.icscf, world.scscf):
            assert (await world.send(alice.request(), service, stranger_flow())).status == 403
        assert not len(world.scscf.authentication.challenges)

    play(tmp_path, story)


def test_who_goes_silent_after_the_network_asked_is_out(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        assert world.scscf.require_authentication(ALICE)
        await asyncio.sleep(200)
        assert world.scscf.registrations.size == (1, 1)
        await asyncio.sleep(41)
        assert world.scscf.registrations.size == (0, 0)

    play(tmp_path, story)


def test_who_authenticates_after_the_network_asked_stays(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        world.scscf.require_authentication(ALICE)
        await alice.register()
        await asyncio.sleep(300)
        assert world.scscf.registrations.size == (1, 1)

    play(tmp_path, story)


def test_a_de_registration_of_somebody_unregistered_succeeds_and_leaves_nothing(tmp_path):
    async def story(world):
        alice = Handset(world)
        assert (await alice.deregister()).status == 200
        assert await world.assignment(ALICE) == ""

    play(tmp_path, story)
