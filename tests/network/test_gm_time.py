"""What time does to associations on a whole network: calls that ring through a re-authentication, hours of renewals."""

import asyncio

import pytest

from redoubt.gm import associations as life
from redoubt.lab.seed_world import World
from redoubt.phone.incoming import Answering

from .virtual import in_world, sets_of, states_of

RINGS_S = 170.0


async def ringing_through_a_renewal(world: World) -> int:
    """Both phones register anew, and use the new sets, while the call rings; the status that the caller gets."""
    alice, bob = (handset.phone for handset in world.handsets)
    for phone in (alice, bob):
        assert (await phone.register(3600)).registered
    bob.answering = Answering(ring_s=RINGS_S, patience_s=600.0)
    call = alice.dial(bob.identity.impu)
    assert await call.rings()
    for phone in (alice, bob):
        assert (await phone.register(3600)).registered
        assert (await phone.options(phone.identity.impu)).status
    assert states_of(world, "user1") == states_of(world, "user2") == ["in use", "old"]
    await call.answered()
    status = call.status
    if status == 200:
        await call.hang_up()
    await asyncio.sleep(life.LINGER_S + 1)
    assert states_of(world, "user1") == states_of(world, "user2") == ["in use"]
    return status


def test_a_call_that_rings_longer_than_an_older_set_lingers_is_answered() -> None:
    assert in_world(ringing_through_a_renewal) == 200


def test_without_that_the_call_is_lost_with_the_older_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "PENDING_S", life.LINGER_S)
    assert in_world(ringing_through_a_renewal) != 200


def test_a_renewed_phone_has_one_set_and_what_it_had_before_is_gone() -> None:
    async def story(world: World) -> None:
        [phone] = [handset.phone for handset in world.handsets]
        assert (await phone.register(3600)).registered
        [first] = sets_of(world, "user1")
        assert (await phone.register(3600)).registered
        assert (await phone.options(phone.identity.impu)).status
        await asyncio.sleep(life.LINGER_S + 1)
        [second] = sets_of(world, "user1")
        assert second is not first and not first.keys.encryption

    in_world(story, 1)
