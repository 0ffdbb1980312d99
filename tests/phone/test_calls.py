"""Calls between two phones (RFC 3261 12 to 15, RFC 3262, RFC 3264, RFC 3311)."""

import asyncio

import pytest

from redoubt.events import Refused
from redoubt.phone.call import CallState
from redoubt.phone.incoming import Answering
from redoubt.phone.media import Direction
from redoubt.sip.message import Request

from .pair import Pair, with_pair


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_rings_is_answered_and_released_by_the_caller(transport: str) -> None:
    async def script(pair: Pair) -> None:
        pair.bob.answering = Answering(ring_s=3)
        call = pair.alice.dial(pair.BOB)
        assert await call.rings()
        assert call.state is CallState.RINGING
        assert await call.answered()
        theirs = pair.bob.incoming.get_nowait()
        assert theirs.state is CallState.ANSWERED
        await call.hang_up()
        assert (call.state, theirs.state) == (CallState.ENDED, CallState.ENDED)

    with_pair(script, transport=transport)


def test_the_callee_releases_a_call() -> None:
    async def script(pair: Pair) -> None:
        call = await pair.alice.call(pair.BOB)
        await pair.bob.incoming.get_nowait().hang_up()
        await call.ended()

    with_pair(script)


@pytest.mark.parametrize(("status", "ring_s"), [(486, 0.0), (603, 0.0), (603, 2.0)])
def test_a_refused_call_ends_with_the_status_of_the_refusal(status: int, ring_s: float) -> None:
    async def script(pair: Pair) -> None:
        pair.bob.answering = Answering(status=status, ring_s=ring_s)
        call = await pair.alice.call(pair.BOB)
        assert (call.status, call.state) == (status, CallState.ENDED)

    with_pair(script)


def test_nobody_answers_and_the_call_ends_with_480() -> None:
    async def script(pair: Pair) -> None:
        pair.bob.answering = Answering(status=0, patience_s=20)
        assert (await pair.alice.call(pair.BOB)).status == 480

    with_pair(script)


def test_a_cancelled_call_ends_with_487_at_both_ends() -> None:
    async def script(pair: Pair) -> None:
        pair.bob.answering = Answering(status=0)
        call = pair.alice.dial(pair.BOB)
        await call.rings()
        await call.hang_up()
        assert call.status == 487
        assert pair.bob.incoming.get_nowait().status == 487

    with_pair(script)


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_released() -> None:
    async def script(pair: Pair) -> None:
        pair.bob.answering = Answering(status=0)
        call = pair.alice.dial(pair.BOB)
        await call.rings()
        theirs = pair.bob.incoming.get_nowait()
        await asyncio.sleep(1)
        assert theirs.decide is not None
        theirs.decide(200)
        await call.hang_up()
        await theirs.ended()

    with_pair(script)


def test_ringing_is_acknowledged_by_prack_when_both_can() -> None:
    async def script(pair: Pair) -> None:
        methods: list[str] = []
        pair.alice.adjust = lambda request: methods.append(request.method)
        call = await pair.alice.call(pair.BOB)
        await call.hang_up()
        assert methods == ["INVITE", "PRACK", "ACK", "BYE"]

    with_pair(script)


def test_hold_and_resume_change_what_the_other_side_may_send() -> None:
    async def script(pair: Pair) -> None:
        call = await pair.alice.call(pair.BOB)
        theirs = pair.bob.incoming.get_nowait()
        assert await call.hold()
        assert theirs.other_holds
        assert await call.resume()
        assert not theirs.other_holds
        assert await theirs.hold()
        assert call.other_holds
        assert await call.update(Direction.INACTIVE)
        assert theirs.updates == 1
        await call.hang_up()

    with_pair(script)


def test_two_re_invites_that_cross_are_both_done_in_the_end() -> None:
    async def script(pair: Pair) -> None:
        call = await pair.alice.call(pair.BOB)
        theirs = pair.bob.incoming.get_nowait()
        await asyncio.sleep(1)
        assert await asyncio.gather(call.hold(), theirs.resume()) == [True, True]
        await call.hang_up()

    with_pair(script)


@pytest.mark.parametrize("seed", range(20))
def test_a_call_survives_loss(seed: int) -> None:
    async def script(pair: Pair) -> None:
        pair.bob.answering = Answering(ring_s=1)
        call = await pair.alice.call(pair.BOB)
        assert call.status == 200
        assert await call.hold()
        await asyncio.sleep(2)
        await call.hang_up()
        await pair.bob.incoming.get_nowait().ended()

    with_pair(script, seed, loss=0.2)


def test_an_answer_that_nobody_acknowledges_ends_in_bye() -> None:
    async def script(pair: Pair) -> None:
        def lose(request: Request) -> None:
            if request.method == "ACK":
                request.set("Call-ID", "another")

        pair.alice.adjust = lose
        await pair.alice.call(pair.BOB)
        theirs = pair.bob.incoming.get_nowait()
        await asyncio.wait_for(theirs.ended(), 64 * 2 + 10)

    with_pair(script)


def test_a_message_and_options_are_answered() -> None:
    async def script(pair: Pair) -> None:
        assert (await pair.alice.message(pair.BOB, "grüezi")).status == 200
        assert [message.text for message in pair.bob.messages] == ["grüezi"]
        response = await pair.alice.options(pair.BOB)
        assert "INVITE" in (response.get("Allow") or "")

    with_pair(script)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("Require", "tdialog", 420), ("Content-Type", "application/xml", 415), ("To", "<sip:bob@x>;tag=old", 481)],
)
def test_what_a_phone_cannot_do_is_refused_with_the_status_of_rfc_3261_8_2(name: str, value: str, status: int) -> None:
    async def script(pair: Pair) -> None:
        pair.alice.adjust = lambda request: request.set(name, value)
        assert (await pair.alice.call(pair.BOB)).status == status
        pair.alice.adjust = None
        assert (await pair.alice.options("sip:carol@ims.example")).status == 404
        assert any(isinstance(event, Refused) and event.status == status for event in pair.events.recent)

    with_pair(script)


def test_an_unknown_method_is_refused_with_allow() -> None:
    async def script(pair: Pair) -> None:
        response = await pair.alice.line.send(pair.alice.line.request("PUBLISH", pair.BOB))
        assert response.status == 405
        assert "INVITE" in (response.get("Allow") or "")

    with_pair(script)
