"""Attacks on the relay: each succeeds while its protection is off, and fails, with an event, while it is on (row 103).

As tests/network/test_attacks.py, in virtual time, where addresses are as many as an attacker wants.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.events import Refused
from redoubt.media.anchoring import Outsider
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange

from .parties import OUTSIDE, World, answers, asks, call_in, described, hang_up, place, response, simulated

ALICE, BOB = "198.51.100.1", "10.0.0.2"
Attack = Callable[[World], Awaitable[bool]]
ATTACKS: dict[str, list[Attack]] = {}


def against(protection: str) -> Callable[[Attack], Attack]:
    def enter(attack: Attack) -> Attack:
        ATTACKS.setdefault(protection, []).append(attack)
        return attack

    return enter


@against("media-source")
async def voice_of_a_third(world: World) -> bool:
    """Somebody who guessed or saw the port of a call speaks into it."""
    alice, bob, mallory = await world.ear(ALICE), await world.ear(BOB), await world.ear("198.51.100.66")
    call = await call_in(world, alice, bob)
    heard = await mallory.reaches(call.for_outside, bob)
    assert await alice.reaches(call.for_outside, bob), "the call goes on"
    assert await bob.reaches(call.for_inside, alice) and len(mallory.heard) == 0, "nothing is led away"
    await hang_up(world)
    assert not await mallory.reaches(call.for_outside, bob), "nor after BYE"
    return heard


@against("media-source")
async def voice_from_another_port_of_the_party(world: World) -> bool:
    """Another program, or another phone behind the same NAT."""
    alice, bob, other = await world.ear(ALICE), await world.ear(BOB), await world.ear(ALICE)
    call = await call_in(world, alice, bob)
    heard = await other.reaches(call.for_outside, bob)
    await hang_up(world)
    return heard


@against("media-gate")
async def conversation_without_an_answer(world: World) -> bool:
    """The callee sends 183 with a description and never answers: nobody pays for what is said."""
    alice, bob = await world.ear(ALICE), await world.ear(BOB)
    heard: list[bool] = []

    async def rings(request: Request, exchange: Exchange) -> Response:
        exchange.upward(response(request, described(*bob.local), 183))
        heard.append(await alice.reaches(place(world.upward[0].body), bob))
        return response(request, status=480)

    await world.inward(asks("INVITE", described(*alice.local)), rings)
    return heard == [True]


@against("media-packets")
async def relay_speaks_sip_to_the_core(world: World) -> bool:
    """One party names the S-CSCF's address as its own, the other sends SIP: from the relay's host, a trusted node's."""
    alice, core = await world.ear(ALICE), await world.ear(BOB)
    call = await call_in(world, alice, core)
    assert await alice.reaches(call.for_outside, core), "media passes"
    sip = b"MESSAGE sip:bob@home1.net SIP/2.0\r\nP-Asserted-Identity: <sip:director@home1.net>\r\n\r\n"
    reached = await alice.reaches(call.for_outside, core, sip)
    await hang_up(world)
    return reached


@against("media-address")
async def relay_sends_to_itself(world: World) -> bool:
    """A party that names the relay's port of another call as its own leads media into that call."""
    alice, bob, victim, mate = [await world.ear(host) for host in (ALICE, BOB, "198.51.100.5", "10.0.0.5")]
    to, _seen = answers(described(*mate.local))
    got = await world.inward(asks("INVITE", described(*victim.local), from_tag="v"), to)
    assert got is not None
    to, seen = answers(described(*bob.local))
    await world.inward(asks("INVITE", described(*place(got.body))), to)
    if seen:
        await hang_up(world)
    to, _seen = answers()
    await world.inward(asks("BYE", from_tag="v", to_tag="b", cseq=2), to)
    assert not alice.heard
    return bool(seen)


@against("media-address")
async def relay_floods_a_service(world: World) -> bool:
    """A party names somebody's name server as the place of its media."""
    server, bob = await world.ear("198.51.100.53", 53), await world.ear(BOB)
    to, seen = answers(described(*bob.local))
    await world.inward(asks("INVITE", described("198.51.100.53", 53)), to)
    reached = bool(seen) and await bob.reaches(place(seen[0].body), server)
    if seen:
        await hang_up(world)
    return reached


EACH = [(protection, attack) for protection, attacks in ATTACKS.items() for attack in attacks]
NAMED = [f"{protection}-{attack.__name__}" for protection, attack in EACH]


@pytest.mark.parametrize(("protection", "attack"), EACH, ids=NAMED)
def test_without_the_protection_the_attack_succeeds(protection: str, attack: Attack) -> None:
    async def script(world: World) -> None:
        assert await attack(world)

    simulated(script, off=(protection,))


@pytest.mark.parametrize(("protection", "attack"), EACH, ids=NAMED)
def test_with_the_protection_the_attack_fails_and_is_told_of(protection: str, attack: Attack) -> None:
    async def script(world: World) -> None:
        assert not await attack(world)
        if protection != "media-gate":  # what waits for an answer is no attack by itself
            assert any(isinstance(event, Refused) for event in world.events.recent)

    simulated(script)


def test_packets_of_third_parties_are_counted_and_told_of_once() -> None:
    async def script(world: World) -> None:
        alice, bob, mallory = await world.ear(ALICE), await world.ear(BOB), await world.ear("198.51.100.66")
        call = await call_in(world, alice, bob)
        for _ in range(50):
            mallory.speak(call.for_outside)
        await asyncio.sleep(0.1)
        (event,) = world.refusals()
        assert event.source.startswith("198.51.100.66:") and event.call_id == "call-1" and "row 103" in event.clause
        await hang_up(world)
        assert world.relay.foreign == 50 and not bob.heard

    simulated(script)


def test_a_party_behind_a_nat_can_not_lead_media_to_a_victim() -> None:
    """Whatever its description names, its media goes to and comes from the host of its signalling."""

    async def script(world: World) -> None:
        world.outsider = Outsider(host="203.0.113.5", family=4)
        victim, bob = await world.ear("198.51.100.7", 5000), await world.ear(BOB)
        to, seen = answers(described(*bob.local))
        got = await world.inward(asks("INVITE", described(*victim.local)), to)
        assert got is not None and place(got.body)[0] == OUTSIDE
        assert not await bob.reaches(place(seen[0].body), victim)
        assert not await victim.reaches(place(got.body), bob)
        await hang_up(world)

    simulated(script)


def test_a_flood_from_a_party_itself_is_cut_to_what_media_has() -> None:
    async def script(world: World) -> None:
        alice, bob = await world.ear(ALICE), await world.ear(BOB)
        call = await call_in(world, alice, bob)
        for second in (1, 2):
            for _ in range(6_000):
                alice.speak(call.for_outside)
            await asyncio.sleep(1.1)
            assert len(bob.heard) == second * 5_000
        (event,) = world.refusals()
        assert "5000 packets a second" in event.why and event.source.startswith(ALICE)
        await hang_up(world)

    simulated(script)


def test_a_phone_holds_ports_for_so_many_calls_and_no_more() -> None:
    async def script(world: World) -> None:
        world.outsider = Outsider("198.51.100.1", 4, "alice's phone", 8)
        to, _seen = answers(described(BOB, 6000))
        for number in range(10):
            got = await world.inward(asks("INVITE", described(ALICE, 5000), from_tag=f"t{number}"), to)
            assert got is not None and got.status == (200 if number < 8 else 503)
        world.outsider = Outsider("198.51.100.2", 4, "carol's phone")
        got = await world.inward(asks("INVITE", described("198.51.100.2", 5000), from_tag="carol"), to)
        assert got is not None and got.status == 200
        bye, _seen = answers()
        for tag in (*[f"t{number}" for number in range(8)], "carol"):
            await world.inward(asks("BYE", from_tag=tag, to_tag="b", cseq=2), bye)

    simulated(script)
