"""Calls that others try to end or to take over, and requests that multiply: rows 68 to 76."""

import asyncio
import math
import re

import pytest

from redoubt.events import Deregistered
from redoubt.sip.fields import VIA
from redoubt.sip.message import Response

from .calls import AS_SDP, SDP, call, pair
from .client import fresh
from .home import home


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "REFER", "INFO"])
async def test_another_phone_cannot_act_in_a_call(method: str) -> None:
    """Row 68 (TS 24.229 5.2.6.3.5): true tags and routes, wrong flow."""
    async with home() as net:
        alice, bob = await pair(net)
        mallory = await net.registered("carol")
        made = await call(alice, bob)
        theft = made.from_caller(method, 10)
        theft.set("Via", mallory.via())
        assert (await mallory.ask(theft)).status in (403, 481)
        theft = made.from_callee(method, 10)
        theft.set("Via", mallory.via())
        assert (await mallory.ask(theft)).status in (403, 481)
        assert await made.lives()


async def test_a_repeated_or_lower_cseq_ends_no_call() -> None:
    """Row 69 (RFC 3261 12.2.2)."""
    async with home() as net:
        alice, bob = await pair(net)
        made = await call(alice, bob)
        assert await made.lives()  # CSeq 50
        for number in (50, 7):
            assert (await alice.ask(made.from_caller("BYE", number))).status in (481, 500)
        bye = made.from_caller("BYE", 51)
        alice.send(bye)
        bob.respond(await bob.request("BYE"), 200)
        assert (await alice.final(bye)).status == 200


async def test_a_bye_to_no_dialog_gets_481() -> None:
    """Row 69: tags of nobody."""
    async with home() as net:
        alice, bob = await pair(net)
        made = await call(alice, bob)
        stray = made.from_caller("BYE", 5)
        stray.set("To", f"<{bob.card.impu}>;tag=guessed")
        assert (await alice.ask(stray)).status == 481
        assert await made.lives()


async def test_a_guessed_cancel_from_another_address_cancels_nothing() -> None:
    """Row 70 (RFC 3261 9.2): the branch is right, the sender is not."""
    async with home() as net:
        alice, bob = await pair(net)
        mallory = await net.registered("carol")
        invite = alice.make("INVITE", bob.card.impu, None, AS_SDP, body=SDP)
        alice.send(invite)
        received = await bob.request("INVITE")
        bob.respond(received, 180)
        cancel = invite.copy()
        cancel.method, cancel.body = "CANCEL", b""
        cancel.set("CSeq", "1 CANCEL")
        cancel.remove("Content-Type")
        mallory.send(cancel)
        with pytest.raises(TimeoutError):
            await bob.request("CANCEL", 0.3)
        bob.respond(received, 200, AS_SDP)
        assert (await alice.final(invite)).status == 200


async def test_branches_and_tags_of_the_network_are_long_and_never_repeat() -> None:
    """Row 71 (RFC 3261 8.1.1.7, 19.3): what phones see of them."""
    async with home() as net:
        alice, bob = await pair(net)
        branches, tags = [], []
        for _ in range(20):
            request = alice.make("MESSAGE", bob.card.impu)
            alice.send(request)
            received = await bob.request("MESSAGE")
            branches.append(received.need(VIA).branch or "")
            bob.respond(received, 200)
            await alice.final(request)
            refused = await alice.ask(alice.make("MESSAGE", f"sip:nobody@{net.realm}"))
            tags.append(refused.to.tag or "")
        assert all(branch.startswith("z9hG4bK") for branch in branches)
        for random in ([branch.removeprefix("z9hG4bK") for branch in branches], tags):
            assert len(set(random)) == 20
            bits_each = math.log2(len(set("".join(random))))  # of the characters that occur at all
            assert min(map(len, random)) * bits_each >= 64


async def test_a_response_with_another_branch_or_method_is_dropped() -> None:
    """Row 71 (RFC 3261 17.1.3)."""
    async with home() as net:
        alice, bob = await pair(net)
        request = alice.make("MESSAGE", bob.card.impu)
        alice.send(request)
        received = await bob.request("MESSAGE")
        forged = received.copy()
        forged.set("CSeq", f"{received.cseq.number} INVITE")
        bob.respond(forged, 200)
        forged = received.copy()
        vias = forged.all("Via")
        forged.remove("Via")
        forged.extend(("Via", re.sub("branch=z9hG4bK.", "branch=z9hG4bK_", via, count=1)) for via in vias)
        bob.respond(forged, 200)
        bob.respond(received, 486)
        assert (await alice.final(request)).status == 486


async def test_a_response_goes_to_the_sender_whatever_its_via_says() -> None:
    """Row 72 (RFC 3261 18.2.2, RFC 3581)."""
    async with home() as net:
        sender, victim = await net.phone("alice"), await net.phone("bob")
        request = sender.register()
        request.set("Via", sender.via(*victim.address))
        assert (await sender.ask(request)).status == 401
        assert await victim.hears_nothing(0.05)


async def test_contacts_that_point_at_each_other_multiply_within_bounds() -> None:
    """Row 73 (RFC 5393): contacts that name the network's own address lead to the flow that registered them."""
    async with home() as net:
        bob, alice = await net.registered("bob"), await net.phone("alice")
        host, port = net.network.p_cscf_address
        for number in range(5):
            assert (await alice.registers(contact=f"<sip:bob{number}@{host}:{port}>")).status == 200
        request = bob.make("MESSAGE", net.impu("alice"))
        bob.send(request)
        for _ in range(5):
            alice.respond(await alice.request("MESSAGE"), 486)
        assert (await bob.final(request)).status == 486
        assert await alice.hears_nothing(0.1)


async def test_max_breadth_is_split_and_runs_out() -> None:
    """Row 73 (RFC 5393 5.3): three contacts and a breadth of one reach one phone at a time."""
    async with home() as net:
        bob = await net.registered("bob")
        first, second = await net.registered("alice"), await net.phone("alice")
        second.card = first.card
        assert (await second.registers()).status == 200
        request = bob.make("MESSAGE", net.impu("alice"), None, ("Max-Breadth", "1"))
        bob.send(request)
        waiting = {asyncio.ensure_future(phone.request("MESSAGE")): phone for phone in (first, second)}
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (came,), (other,) = done, [waiting[task] for task in pending]
        took, received = waiting[came], came.result()
        for task in pending:
            task.cancel()
        assert await other.hears_nothing(0.1)
        took.respond(received, 200)
        assert (await bob.final(request)).status in (200, 440)


@pytest.mark.parametrize("hops", [0, 1, 2])
async def test_max_forwards_runs_out_with_483(hops: int) -> None:
    """Row 74 (RFC 3261 16.3): 0 is refused at once, small numbers within the core."""
    async with home() as net:
        alice, bob = await pair(net)
        request = alice.make("MESSAGE", bob.card.impu)
        request.set("Max-Forwards", str(hops))
        assert (await alice.ask(request)).status == 483
        assert await bob.hears_nothing(0.05)


async def test_each_function_counts_max_forwards_down() -> None:
    """Row 74."""
    async with home() as net:
        alice, bob = await pair(net)
        alice.send(alice.make("MESSAGE", bob.card.impu))
        received = await bob.request("MESSAGE")
        left = int(received.get("Max-Forwards") or 0)
        assert left <= 67, "P-, S- and again P-CSCF at least"
        bob.respond(received, 200)
        for hops, arrives in ((70 - left, True), (70 - left - 1, False)):
            request = alice.make("MESSAGE", bob.card.impu)
            request.set("Max-Forwards", str(hops))
            alice.send(request)
            if arrives:
                received = await bob.request("MESSAGE")
                assert received.get("Max-Forwards") == "0"
                bob.respond(received, 200)
            assert (await alice.final(request)).status == (200 if arrives else 483)


async def test_a_star_contact_needs_expires_zero() -> None:
    """Row 75 (RFC 3261 10.2.2)."""
    async with home() as net:
        alice, _bob = await pair(net)
        for expires in ("1", "600"):
            assert (await alice.ask(alice.register(contact="*", expires=expires))).status == 400
        assert not net.events(Deregistered)


async def test_a_lifetime_below_the_minimum_is_423_with_min_expires() -> None:
    """Row 75 (RFC 3261 10.3 step 7)."""
    async with home({"s-cscf": {"min-expires": 300}}) as net:
        alice = await net.phone("alice")
        answer = await alice.registers(expires="5")
        assert (answer.status, answer.get("Min-Expires")) == (423, "300")


async def test_a_thousand_contacts_in_one_register_are_refused() -> None:
    """Row 75: and cost nobody anything."""
    async with home() as net:
        alice, bob = await pair(net)
        contacts = ", ".join(f"<sip:a{number}@127.0.0.1>" for number in range(1000))
        request = bob.register(contact=contacts)
        answer = await bob.ask(request)
        assert 400 <= answer.status < 500 and answer.status != 401
        assert (await alice.registers()).status == 200


async def test_more_contacts_than_allowed_are_refused_one_by_one() -> None:
    """Row 75: the limit holds over several REGISTERs, the older contacts stay."""
    async with home({"s-cscf": {"max-contacts": 2}}) as net:
        card = (await net.registered("alice")).card
        statuses = [(await (await net.phone("alice", card=card)).registers()).status for _ in range(3)]
        assert statuses[0] == 200 and statuses[-1] >= 400


async def test_registration_state_is_shown_to_its_owner() -> None:
    """Row 76 (RFC 3680): the user's own phone gets its NOTIFY."""
    async with home() as net:
        alice = await net.registered("alice")
        request = alice.make(
            "SUBSCRIBE",
            net.impu("alice"),
            None,
            ("Event", "reg"),
            ("Expires", "600"),
            ("Accept", "application/reginfo+xml"),
        )
        assert (await alice.ask(request)).status == 200
        notify = await alice.request("NOTIFY")
        assert net.impu("alice").encode() in notify.body
        alice.respond(notify, 200)


async def test_registration_state_is_shown_to_nobody_else() -> None:
    """Row 76: 403, no NOTIFY."""
    async with home() as net:
        _alice, bob = await pair(net)
        request = bob.make(
            "SUBSCRIBE",
            net.impu("alice"),
            None,
            ("Event", "reg"),
            ("Expires", "600"),
            ("Accept", "application/reginfo+xml"),
        )
        assert (await bob.ask(request)).status == 403
        assert await bob.hears_nothing(0.1)


async def test_a_call_is_rung_answered_and_ended() -> None:
    """The way of a call (TS 24.229 5.2.6, 5.4.3): Record-Route holds, both sides may end it."""
    async with home() as net:
        alice, bob = await pair(net)
        made = await call(alice, bob)
        assert len(made.accepted.all("Record-Route")) >= 2
        bye = made.from_callee("BYE", 1)
        bob.send(bye)
        alice.respond(await alice.request("BYE"), 200)
        assert (await bob.final(bye)).status == 200


async def test_a_cancelled_call_ends_with_487() -> None:
    """RFC 3261 9.2, over the whole path."""
    async with home() as net:
        alice, bob = await pair(net)
        invite = alice.make("INVITE", bob.card.impu, None, AS_SDP, body=SDP)
        alice.send(invite)
        received = await bob.request("INVITE")
        bob.respond(received, 180)
        await alice.take(lambda m: isinstance(m, Response) and m.status == 180)
        cancel = invite.copy()
        cancel.method, cancel.body = "CANCEL", b""
        cancel.set("CSeq", "1 CANCEL")
        cancel.remove("Content-Type")
        assert (await alice.ask(cancel)).status == 200
        bob.respond(await bob.request("CANCEL"), 200)
        bob.respond(received, 487)
        assert (await alice.final(invite)).status == 487


async def test_calls_to_nobody_end_as_they_should() -> None:
    """480 for a user without a phone, 404 for no user (TS 24.229 5.3.2, TS 29.228)."""
    async with home() as net:
        alice = await net.registered("alice")
        assert (await alice.ask(alice.make("INVITE", net.impu("bob"), None, AS_SDP, body=SDP))).status == 480
        assert (await alice.ask(alice.make("INVITE", f"sip:{fresh('nobody')}@{net.realm}"))).status == 404
