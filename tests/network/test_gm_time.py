"""What time does to associations on a whole network: calls that ring through a re-authentication, hours of renewals."""

import asyncio

import pytest

from redoubt.gm import associations as life
from redoubt.gm.admission import Admission
from redoubt.lab.seed_world import World
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.sip.fields import CONTACT
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request

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


# ---- a phone without +sip.instance


def without_instance(request: Request) -> None:
    """Phones of that kind are told from others by where they are, and they are elsewhere after each attach."""
    for contact in request.every(CONTACT):
        if isinstance(contact, NameAddr):
            kept = tuple([param for param in contact.params if param[0] != "+sip.instance"])
            request.put(CONTACT, NameAddr(contact.display, contact.uri, kept))


def forgets(phone: Phone) -> None:
    """Flight mode: its associations are gone, and its protected ports are others."""
    gm = phone.line.gm
    assert gm is not None
    gm.associations.close()
    gm.renumber()


async def hours_of_attaches(world: World) -> list[int]:
    """A phone that loses everything each twenty minutes, for ten hours; half of the times it had renewed before."""
    [phone] = [handset.phone for handset in world.handsets]
    phone.adjust = without_instance
    statuses = []
    for number in range(30):
        statuses.append((await phone.register(3600)).status)
        if number % 2:
            statuses.append((await phone.register(3600)).status)
        await asyncio.sleep(1200)
        assert len(sets_of(world, "user1")) <= 3
        forgets(phone)
    return statuses


def test_a_phone_without_an_instance_that_attaches_anew_for_hours_is_always_served() -> None:
    assert set(in_world(hours_of_attaches, 1)) == {200}


def test_without_displacement_it_is_locked_out_by_its_own_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "_leave_room", lambda *_: None)
    assert 503 in in_world(hours_of_attaches, 1)


def test_a_phone_without_an_instance_that_renews_for_hours_keeps_one_set_and_its_predecessor() -> None:
    async def story(world: World) -> None:
        [phone] = [handset.phone for handset in world.handsets]
        phone.adjust = without_instance
        assert (await phone.register(600)).registered
        for _ in range(60):
            await asyncio.sleep(360)
            assert phone.registration.holds
            assert len(sets_of(world, "user1")) <= 3 and "in use" in states_of(world, "user1")

    in_world(story, 1)
