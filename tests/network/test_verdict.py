"""`redoubt explain`: however a registration or call fails, the verdict names step, fault, clause, advice."""

import asyncio
import base64

import pytest

from redoubt.diameter.cx import ServerCapabilities
from redoubt.events import CallEnded, Check, Fault, Refused
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.network.verdict import Attempt, attempts
from redoubt.secret import Secret
from redoubt.sim import run
from redoubt.sip.message import Response

from .calls import AS_SDP, SDP, call, pair
from .client import OPC, Card, key_of
from .home import Home, home


def last(net: Home, about: str) -> Attempt:
    found = attempts(net.network.context.events.recent, about)
    assert found, f"nothing to explain about {about}"
    return found[-1]


def explained(attempt: Attempt, fault: Fault, *, step: str, clause: str) -> None:
    """A verdict that a person can act on."""
    assert not attempt.passed
    assert attempt.fault == fault.value, attempt.verdict
    assert f"failed at {step} in the" in attempt.verdict, attempt.verdict
    assert clause in attempt.clause
    assert attempt.advice
    assert attempt.expected or attempt.seen


async def test_a_registration_that_succeeds_is_explained_by_what_held() -> None:
    async with home() as net:
        phone = await net.registered("alice")
        for about in (phone.card.impu, phone.card.impi, phone.call_id):
            attempt = last(net, about)
            assert attempt.passed and attempt.call_id == phone.call_id
            assert attempt.verdict.startswith(f"registered {phone.card.impu}")
            assert all(check.passed and check.clause for check in attempt.checks)


async def test_a_wrong_res_is_the_sim_keys_fault() -> None:
    """TS 33.203 6.1.2.1."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        await phone.ask(phone.register(phone.answer(password=Secret(b"wrong"))))
        explained(last(net, phone.card.impu), Fault.SIM_KEY, step="SM9", clause="TS 33.203 6.1.2.1")


async def test_a_mac_failure_is_the_sim_keys_fault() -> None:
    """TS 33.203 6.1.2.2: the card doesn't believe the network."""
    async with home() as net:
        phone = await net.phone("alice", card=Card.of("alice", net.realm, k=bytes(16)))
        await phone.registers()
        explained(last(net, phone.card.impi), Fault.SIM_KEY, step="SM9", clause="TS 33.203 6.1.2.2")


async def test_a_card_that_stays_out_of_step_is_the_sequence_numbers_fault() -> None:
    """TS 33.203 6.1.3: AUTS, and AUTS again."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        phone.answer()
        second = await phone.ask(phone.register(phone.answer()))
        assert second.status == 401
        phone.answer(second)
        assert (await phone.ask(phone.register(phone.answer(second)))).status == 403
        explained(last(net, phone.card.impu), Fault.SEQUENCE_NUMBER, step="SM9", clause="TS 33.203 6.1.3")


async def test_a_resynchronisation_that_succeeds_leaves_a_good_verdict() -> None:
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        phone.answer()
        second = await phone.ask(phone.register(phone.answer()))
        assert (await phone.ask(phone.register(phone.answer(second)))).status == 200
        attempt = last(net, phone.card.impu)
        assert attempt.passed
        assert any(check.fault is Fault.SEQUENCE_NUMBER for check in attempt.checks)


async def test_a_forged_auts_is_explained() -> None:
    """TS 33.102 6.3.5."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        forged = phone.answer(password=Secret(b"")).with_param("auts", base64.b64encode(bytes(14)).decode())
        assert (await phone.ask(phone.register(forged))).status == 403
        attempt = last(net, phone.card.impu)
        assert not attempt.passed and attempt.clause and attempt.advice


async def test_an_unknown_user_is_the_identitys_fault() -> None:
    """TS 29.228 6.1.1: the phone is told nothing, the operator is."""
    async with home() as net:
        phone = await net.phone("nobody")
        await phone.registers()
        attempt = last(net, phone.card.impu)
        assert not attempt.passed and attempt.fault == Fault.IDENTITY.value
        assert attempt.clause and "subscriber" in attempt.advice


async def test_anothers_identity_is_the_identitys_fault() -> None:
    """TS 33.203 6.1.1, TS 29.228 6.1.1."""
    async with home() as net:
        phone = await net.phone("alice")
        assert (await phone.registers(impu=net.impu("bob"))).status == 403
        explained(last(net, phone.call_id), Fault.IDENTITY, step="SM2", clause="TS 24.229")


async def test_a_barred_user_is_the_policys_fault() -> None:
    async with home() as net:
        await net.hss.administration.bar(net.impu("alice"))
        phone = await net.phone("alice")
        assert (await phone.registers()).status == 403
        attempt = last(net, phone.call_id)
        assert not attempt.passed and attempt.fault in (Fault.POLICY.value, Fault.IDENTITY.value)
        assert attempt.clause and attempt.advice


async def test_a_user_who_may_not_roam_is_the_policys_fault() -> None:
    async with home({"p-cscf": {"visited-network": "visited.example"}}) as net:
        phone = await net.phone("alice")
        assert (await phone.registers()).status == 403
        explained(last(net, phone.call_id), Fault.POLICY, step="SM2", clause="TS 24.229")


async def test_a_user_whom_no_s_cscf_can_serve_is_explained() -> None:
    """TS 29.228 6.7: capabilities that nobody has."""
    async with home() as net:
        private = PrivateIdentity(f"dora@{net.realm}", Secret(key_of("dora")), opc=OPC)
        simple = Subscriber.simple(private, net.impu("dora"))
        wanting = Subscriber(simple.privates, simple.sets, capabilities=ServerCapabilities((99,)))
        await net.hss.administration.add([wanting])
        phone = await net.phone("dora")
        assert (await phone.registers()).status in (480, 504, 600)
        explained(last(net, phone.call_id), Fault.POLICY, step="SM2", clause="TS 24.229")


async def test_an_answer_with_another_call_id_is_explained() -> None:
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        await phone.ask(phone.register(phone.answer(), call_id="elsewhere"))
        explained(last(net, "elsewhere"), Fault.MESSAGE, step="SM9", clause="TS 24.229 5.4.1.2.2")


def test_a_late_answer_is_the_timers_fault() -> None:
    """TS 24.229 7.8: reg-await-auth ran out; the verdict speaks of it."""

    async def main(_sim: object) -> None:
        async with home() as net:
            phone = await net.phone("alice")
            await phone.challenged()
            await asyncio.sleep(241)
            attempt = last(net, phone.card.impu)
            assert not attempt.passed, attempt.verdict
            assert attempt.fault == Fault.TIMER.value
            assert attempt.clause and attempt.advice

    run(main, 1)


def test_what_went_wrong_after_a_step_that_held_decides() -> None:
    """A call to a number that ENUM knows, whose network is not reached."""
    at = {"at": 0.0, "node": "s-cscf", "call_id": "c"}
    (told,) = attempts(
        [
            Check(**at, step="INVITE", rule="ENUM knows the number", passed=True, decides=False),  # type: ignore[arg-type]
            Refused(**at, status=503, why="beta is not reached"),  # type: ignore[arg-type]
            CallEnded(**at, caller="a", callee="b", status=500),  # type: ignore[arg-type]
        ],
        "c",
    )
    assert "beta is not reached" in told.verdict and told.advice


async def test_a_malformed_message_is_explained_by_its_call_id() -> None:
    async with home() as net:
        phone = await net.phone("alice")
        assert (await phone.ask(phone.register(contact="<sip:"))).status == 400
        attempt = last(net, phone.call_id)
        assert not attempt.passed and "400" in attempt.verdict and attempt.clause


async def test_a_call_that_succeeds_is_explained() -> None:
    async with home() as net:
        alice, bob = await pair(net)
        made = await call(alice, bob)
        attempt = last(net, made.invite.call_id)
        assert attempt.passed, attempt.verdict
        assert attempt.checks and all(check.clause for check in attempt.checks)


async def test_a_call_to_a_user_without_a_phone_is_explained() -> None:
    async with home() as net:
        alice = await net.registered("alice")
        invite = alice.make("INVITE", net.impu("bob"), None, AS_SDP, body=SDP)
        assert (await alice.ask(invite)).status == 480
        explained(last(net, invite.call_id), Fault.CALLEE, step="INVITE", clause="TS 24.229 5.3.2.1")


async def test_a_call_to_nobody_is_explained_by_the_function_that_found_out() -> None:
    """TS 24.229 5.3.2.1: whoever refused it on the way, the I-CSCF knows why."""
    async with home() as net:
        alice = await net.registered("alice")
        nobody = f"sip:nobody@{net.realm}"
        invite = alice.make("INVITE", nobody, None, AS_SDP, body=SDP)
        assert (await alice.ask(invite)).status == 404
        for about in (invite.call_id, nobody):
            attempt = last(net, about)
            explained(attempt, Fault.IDENTITY, step="INVITE", clause="TS 24.229 5.3.2.1")
            assert "in the i-cscf" in attempt.verdict
        (refused,) = [event for event in net.events(Refused) if event.call_id == invite.call_id]
        assert refused.node == "i-cscf"


async def test_a_message_is_explained_whether_it_arrived_or_not() -> None:
    """RFC 3428 7: its final response is all there is to know."""
    async with home() as net:
        alice, bob = await pair(net)
        text = alice.make("MESSAGE", bob.card.impu, None, ("Content-Type", "text/plain"), body=b"hello")
        alice.send(text)
        received = await bob.request("MESSAGE")
        assert "still going on" in last(net, text.call_id).verdict
        bob.respond(received, 200)
        await alice.final(text)
        attempt = last(net, text.call_id)
        verdict = f"{bob.card.impu} answered the MESSAGE of {alice.card.impu} with 200"
        assert attempt.passed and verdict in attempt.verdict
        refused = alice.make("MESSAGE", bob.card.impu, None, ("Content-Type", "text/plain"), body=b"again")
        alice.send(refused)
        bob.respond(await bob.request("MESSAGE"), 415)
        await alice.final(refused)
        attempt = last(net, refused.call_id)
        assert not attempt.passed and "the MESSAGE ended with 415" in attempt.verdict


@pytest.mark.parametrize(("status", "clause"), [(486, "RFC 3261 21.4.24"), (603, "RFC 3261 21.6.2")])
async def test_a_call_that_the_called_user_refuses_is_the_callees_doing(status: int, clause: str) -> None:
    async with home() as net:
        alice, bob = await pair(net)
        invite = alice.make("INVITE", bob.card.impu, None, AS_SDP, body=SDP)
        alice.send(invite)
        bob.respond(await bob.request("INVITE"), status)
        assert (await alice.final(invite)).status == status
        attempt = last(net, invite.call_id)
        assert str(status) in attempt.seen
        explained(attempt, Fault.CALLEE, step="INVITE", clause=clause)


async def test_a_call_that_the_caller_gives_up_is_nobodys_fault() -> None:
    async with home() as net:
        alice, bob = await pair(net)
        invite = alice.make("INVITE", bob.card.impu, None, AS_SDP, body=SDP)
        alice.send(invite)
        received = await bob.request("INVITE")
        bob.respond(received, 180)
        await alice.take(lambda m: isinstance(m, Response) and m.status == 180)
        cancel = alice.make("CANCEL", bob.card.impu)
        for name in ("Via", "From", "To", "Call-ID"):
            cancel.set(name, invite.get(name) or "")
        alice.send(cancel)
        await bob.request("CANCEL")
        bob.respond(received, 487)
        assert (await alice.final(invite)).status == 487
        explained(last(net, invite.call_id), Fault.NONE, step="INVITE", clause="RFC 3261 21.4.25")


async def test_a_verdict_about_one_user_holds_nothing_of_another() -> None:
    async with home() as net:
        bob = await net.registered("bob")
        alice = await net.phone("alice")
        await alice.challenged()
        await alice.ask(alice.register(alice.answer(password=Secret(b"wrong"))))
        assert all(attempt.passed for attempt in attempts(net.network.context.events.recent, bob.card.impu))
