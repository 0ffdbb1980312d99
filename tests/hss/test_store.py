"""What every store promises, whichever it is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from redoubt.diameter.cx import RestorationInfo
from redoubt.hss.keys import Seal
from redoubt.hss.records import Assignment, RegistrationState, SetRegistration
from redoubt.hss.store import (
    Assigned,
    Conflict,
    NotificationSubscribed,
    Removed,
    RepositoryData,
    RepositoryStored,
    RestorationDropped,
    RestorationStored,
    SequenceReserved,
    Server,
    ServerHost,
    ServerNamed,
    Stale,
    Store,
)
from redoubt.hss.subscriber import Subscriber, added
from redoubt.hss.subscriptions import Subscriptions
from redoubt.sources import SeededRandomness

from .conftest import ALICE, ALICE_IMPU, BOB, BOB_IMPU, KEY, S1, S2, Place, private

IMPU, SERVICE, AS = ALICE_IMPU, "call-forwarding", "as.home.example"
REGISTERED = Assignment(S1, "", (SetRegistration(RegistrationState.REGISTERED, (ALICE,)),))


def new(impi: str) -> Subscriber:
    return Subscriber.simple(private(impi), f"sip:{impi}")


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """With Alice and Bob."""
    made = await place.store()
    randomness = SeededRandomness(4)
    await made.write([added(new(impi), Seal(KEY), randomness) for impi in (ALICE, BOB)])
    yield made
    await made.close()


async def number_of(store: Store, impi: str) -> int:
    (found,) = await store.find(impi, "", {})
    return found.number


async def test_a_change_based_on_an_old_version_is_stale_and_leaves_no_trace(store: Store) -> None:
    (alice,) = await store.find(ALICE, IMPU, {})
    await store.write([ServerNamed(alice.number, S2, "")], {alice.number: alice.version})
    with pytest.raises(Stale):
        await store.write(
            [SequenceReserved(ALICE, 99), Assigned(alice.number, REGISTERED)], {alice.number: alice.version}
        )
    (now,) = await store.find(ALICE, "", {})
    assert (now.version, now.assignment.server_name) == (alice.version + 1, S2)
    assert now.privates[0].reserved_seq == alice.privates[0].reserved_seq


async def test_of_two_subscriptions_one_that_is_stale_holds_back_both(store: Store) -> None:
    alice, bob = [(await store.find(impi, "", {}))[0] for impi in (ALICE, BOB)]
    await store.write([ServerNamed(bob.number, S2, "")], {bob.number: bob.version})
    changes = [ServerNamed(one.number, S1, "") for one in (alice, bob)]
    with pytest.raises(Stale):
        await store.write(changes, {alice.number: alice.version, bob.number: bob.version})
    assert [(await store.find(impi, "", {}))[0].assignment.server_name for impi in (ALICE, BOB)] == ["", S2]


async def test_what_goes_wrong_for_one_touches_nobody_who_writes_at_the_same_time(store: Store) -> None:
    alice, bob = [(await store.find(impi, "", {}))[0] for impi in (ALICE, BOB)]
    twice = added(Subscriber.simple(private("x@home.example"), BOB_IMPU), Seal(KEY), SeededRandomness(5))
    outcomes = await asyncio.gather(
        store.write([ServerNamed(alice.number, S1, "")], {alice.number: alice.version}),
        store.write([ServerNamed(bob.number, S1, "")], {bob.number: bob.version + 7}),
        store.write([twice]),
        store.write([SequenceReserved(BOB, 64)]),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Stale, Conflict, type(None)]
    (alice, bob) = [(await store.find(impi, "", {}))[0] for impi in (ALICE, BOB)]
    assert (alice.assignment.server_name, bob.assignment.server_name) == (S1, "")
    assert bob.privates[0].reserved_seq == 64
    assert await store.find("x@home.example", "", {}) == []


async def test_what_a_caller_keeps_for_restoration_outlasts_what_it_forgets_first(store: Store) -> None:
    """Whatever else is written at the same time, in whatever order."""
    alice, bob = [await number_of(store, impi) for impi in (ALICE, BOB)]
    kept = {alice: RestorationInfo(ALICE, ()), bob: RestorationInfo(BOB, ())}
    await asyncio.gather(
        store.write([RestorationStored(alice, 0, kept[alice])]),
        store.write([RestorationDropped(bob), RestorationStored(bob, 0, kept[bob])]),
        store.write([Assigned(alice, REGISTERED)]),
    )
    assert [await store.restoration(number, 0) for number in kept] == [[kept[alice]], [kept[bob]]]


async def test_what_is_known_in_its_version_is_not_made_again(store: Store) -> None:
    (alice,) = await store.find(ALICE, "", {})
    (again,) = await store.find(ALICE, IMPU, {alice.number: alice})
    assert again is alice


async def test_each_s_cscf_has_a_number_and_the_host_it_was_last_heard_from(store: Store) -> None:
    await asyncio.gather(*(store.write([ServerHost(name, "")]) for name in (S1, S2)))
    await store.write([ServerHost(S2, "scscf2.home.example")])
    await store.write([ServerHost(S2, "")])
    servers = await store.servers()
    assert {server.number for server in servers.values()} == {0, 1}
    assert servers[S2] == Server(servers[S2].number, "scscf2.home.example")


async def test_repository_data_follow_their_sequence_numbers(store: Store) -> None:
    number = await number_of(store, ALICE)
    await store.write([RepositoryStored(number, IMPU, SERVICE, None, 0, b"one")])
    with pytest.raises(Stale):
        await store.write([RepositoryStored(number, IMPU, SERVICE, None, 0, b"other")])
    with pytest.raises(Stale):
        await store.write([RepositoryStored(number, IMPU, SERVICE, 5, 6, b"other")])
    await store.write([RepositoryStored(number, IMPU, SERVICE, 0, 1, b"two")])
    assert await store.repository(IMPU, SERVICE) == RepositoryData(1, b"two")
    await store.write([RepositoryStored(number, IMPU, SERVICE, 1, 2, None)])
    assert await store.repository(IMPU, SERVICE) is None


async def test_notifications_are_prolonged_and_ended(store: Store) -> None:
    number = await number_of(store, ALICE)
    for ends_at in (100, 200):
        await store.write([NotificationSubscribed(number, IMPU, AS, 11, "", ends_at)])
    assert await store.notifications(number) == [NotificationSubscribed(number, IMPU, AS, 11, "", 200)]
    await store.write([NotificationSubscribed(number, IMPU, AS, 11, "", None)])
    assert await store.notifications(number) == []


async def test_what_belongs_to_a_subscription_goes_with_it(store: Store) -> None:
    number = await number_of(store, ALICE)
    await store.write(
        [
            RepositoryStored(number, IMPU, SERVICE, None, 0, b"one"),
            NotificationSubscribed(number, IMPU, AS, 0, SERVICE, 0),
        ]
    )
    await store.write([Removed(number)])
    assert await store.repository(IMPU, SERVICE) is None
    assert await store.notifications(number) == []
    assert await store.find(ALICE, IMPU, {}) == []


async def test_pages_bring_every_subscription_once_in_order(store: Store) -> None:
    await store.write([added(new(f"u{n}@home.example"), Seal(KEY), SeededRandomness(n)) for n in range(5)])
    found = []
    last = 0
    while page := await store.page(last, 3):
        found += [one.privates[0].impi for one in page]
        last = page[-1].number
    assert found == [ALICE, BOB, *(f"u{n}@home.example" for n in range(5))]


async def test_the_cache_is_bounded(store: Store) -> None:
    subscriptions = Subscriptions(store, kept=1)
    for _ in range(2):
        for impi, impu in ((ALICE, ALICE_IMPU), (BOB, BOB_IMPU)):
            found = await subscriptions.find(impi, impu)
            assert found.of_impi is found.of_impu is not None
    assert len(subscriptions._cached) == 1
