"""Two networks that call each other over TLS between their borders (TS 33.203 6.5, TS 24.229 5.10): whole calls."""

import asyncio
from pathlib import Path

from redoubt.events import Bug

from .calls import AS_SDP, SDP, call
from .client import Card
from .peering import Operator, pair_of, running


def unbroken(*operators: Operator) -> None:
    for operator in operators:
        assert not operator.net.events(Bug), operator.net.events(Bug)[0].traceback


async def test_users_of_two_networks_call_each_other_and_either_side_hangs_up(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        for caller, callee in ((alice, bob), (bob, alice)):
            for hangs_up in ("caller", "callee"):
                made = await call(caller, callee)
                assert await made.lives()
                first, other = (caller, callee) if hangs_up == "caller" else (callee, caller)
                bye = made.from_caller("BYE", 60) if hangs_up == "caller" else made.from_callee("BYE", 60)
                first.send(bye)
                other.respond(await other.request("BYE"), 200)
                assert (await first.final(bye)).status == 200
        unbroken(alpha, beta)


async def test_messages_cancelled_calls_and_refusals_pass(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        message = alice.make("MESSAGE", beta.net.impu("bob"))
        alice.send(message)
        bob.respond(await bob.request("MESSAGE"), 200)
        assert (await alice.final(message)).status == 200
        invite = bob.make("INVITE", alpha.net.impu("alice"), None, AS_SDP, body=SDP)
        bob.send(invite)
        ringing = await alice.request("INVITE")
        alice.respond(ringing, 180)
        cancel = bob.make("CANCEL", invite.uri)
        for name in ("Via", "From", "To", "Call-ID"):
            cancel.set(name, invite.get(name) or "")
        cancel.set("CSeq", "1 CANCEL")
        bob.send(cancel)
        alice.respond(await alice.request("CANCEL"), 200)
        alice.respond(ringing, 487)
        assert (await bob.final(invite)).status == 487
        absent = alice.make("INVITE", beta.net.impu("nobody"), None, AS_SDP, body=SDP)
        assert (await alice.ask(absent)).status == 404
        unbroken(alpha, beta)


async def test_one_connection_carries_all_calls_whoever_opened_it(tmp_path: Path) -> None:
    """RFC 5923: the alias parameter lets requests go back over it."""
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        for caller, callee in ((alice, bob), (bob, alice)) * 3:
            message = caller.make("MESSAGE", callee.card.impu)
            caller.send(message)
            callee.respond(await callee.request("MESSAGE"), 200)
            assert (await caller.final(message)).status == 200
        for operator in (alpha, beta):
            assert operator.net.network.border is not None
            (partner,) = operator.net.network.border.partners
            assert (len(partner.flows), partner.requests_in, partner.requests_out) == (1, 3, 3)
        (flow,) = partner.flows
        flow.close()
        await asyncio.sleep(0.1)
        again = bob.make("MESSAGE", alice.card.impu)
        bob.send(again)
        alice.respond(await alice.request("MESSAGE"), 200)
        assert (await bob.final(again)).status == 200, "a connection that was lost is opened again"


async def test_a_user_registers_at_a_visited_network_and_calls_and_is_called_there(tmp_path: Path) -> None:
    """TS 24.229 5.2.2, 5.10: the visited P-CSCF finds the home network through both borders, and it the phone."""
    networks = ["alpha.example", "beta.example"]
    alpha, beta = pair_of(tmp_path, **{"serves-visitors": True, "visited-networks": networks, "iois": networks})
    alpha.roaming = (beta.realm,)
    async with running(alpha, beta):
        bob, carol = await beta.net.registered("bob"), await alpha.net.registered("carol")
        roaming = await beta.net.registered("alice", card=Card.of("alice", alpha.realm))
        for caller, callee in ((bob, roaming), (roaming, bob), (carol, roaming), (roaming, carol)):
            message = caller.make("MESSAGE", callee.card.impu)
            caller.send(message)
            callee.respond(await callee.request("MESSAGE"), 200)
            assert (await caller.final(message)).status == 200
            made = await call(caller, callee)
            assert await made.lives()
            bye = made.from_callee("BYE", 60)
            callee.send(bye)
            caller.respond(await caller.request("BYE"), 200)
            assert (await callee.final(bye)).status == 200
        unbroken(alpha, beta)
