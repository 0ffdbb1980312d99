"""The tables of the S-CSCF: bounds, order, and that nothing stays behind."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from redoubt.cscf.lapses import Lapses
from redoubt.cscf.registering import contact_identity
from redoubt.cscf.scscf import challenges as challenges_module
from redoubt.cscf.scscf.backoff import BackOff
from redoubt.cscf.scscf.challenges import Challenge, Challenges, VectorStock
from redoubt.cscf.scscf.registrations import Binding, Registrations
from redoubt.diameter.cx import AuthenticationVector, PublicIdentity, ServiceProfile, UserProfile
from redoubt.limits import BACK_OFF_S, CHALLENGES_PER_USER
from redoubt.secret import Secret
from redoubt.sim import run
from redoubt.sip.headers.addresses import NameAddr

VECTOR = AuthenticationVector(bytes(16), bytes(16), Secret(b"x"), Secret(b"c"), Secret(b"i"))


def challenge(number, impi="alice", contact=None, protected=False, deadline=240.0):
    contact = contact or f"c{number}"
    return Challenge(f"n{number}", impi, f"sip:{impi}", contact, "id", VECTOR, protected, deadline)


def in_loop(body):
    async def main(_network):
        body()

    run(main, 1)


def test_a_user_has_few_open_challenges_and_the_protected_one_stays():
    def body():
        table = Challenges(lambda _over: None)
        table.open(challenge(0, protected=True))
        for number in range(1, 50):
            table.open(challenge(number))
        assert len(table) == CHALLENGES_PER_USER
        assert table.find("n0") is not None
        assert table.find("n49") is not None
        table.stop()

    in_loop(body)


def test_strangers_push_out_strangers_only(monkeypatch):
    monkeypatch.setattr(challenges_module, "CHALLENGES_OPEN", 10)

    def body():
        table = Challenges(lambda _over: None)
        table.open(challenge(0, "alice", protected=True))
        for number in range(1, 100):
            table.open(challenge(number, f"user{number}"))
        assert len(table) == 10
        assert table.find("n0") is not None
        for held in [table.find(f"n{number}") for number in range(100)]:
            if held is not None:
                table.close(held)
        assert (len(table), table._by_user) == (0, {})
        table.stop()

    in_loop(body)


def test_challenges_end_at_their_deadline_in_order():
    async def main(_network):
        over = []
        table = Challenges(lambda ended: over.extend(one.nonce for one in ended))
        now = asyncio.get_running_loop().time()
        for number in range(5):
            table.open(challenge(number, protected=number == 1, deadline=now + 1 + number))
        await asyncio.sleep(3.5)
        assert over == ["n0", "n1", "n2"]
        await asyncio.sleep(10)
        assert len(table) == 0

    run(main, 1)


def test_stocked_vectors_serve_their_own_pair_once():
    stock = VectorStock()
    stock.put("alice", "sip:alice", (VECTOR, VECTOR))
    assert stock.take("alice", "sip:bob") is None
    assert stock.take("bob", "sip:alice") is None
    assert [stock.take("alice", "sip:alice") for _ in range(3)] == [VECTOR, VECTOR, None]
    assert not len(stock)


def test_back_off_grows_and_is_forgiven():
    back_off, now = BackOff(3), 0.0
    assert [back_off.failed("alice", "a", now) for _ in range(4)] == [False, False, True, False]
    waits = []
    for _ in range(20):
        back_off.failed("alice", "a", now)
        waits.append(back_off.wait_s("alice", "a", now))
    assert waits == sorted(waits)
    assert waits[-1] == BACK_OFF_S + 1
    assert back_off.wait_s("alice", "b", now) == 0
    assert back_off.wait_s("bob", "a", now) == 0
    back_off.succeeded("alice", "a")
    assert back_off.wait_s("alice", "a", now) == 0


def profile(*identities):
    return UserProfile("alice", (ServiceProfile(tuple(identities)),))


def binding(name, expires_at, impi="alice", impu="sip:alice@h"):
    contact = NameAddr.parse(f"<sip:{name}@192.0.2.1>")
    key = contact_identity(impi, contact)
    return Binding(str(contact.uri), impi, impu, (), contact.q, expires_at, "id", 1, key=key)


def test_a_wildcarded_identity_is_found_after_distinct_ones():
    table = Registrations()
    rooms = profile(PublicIdentity("sip:alice@h"), PublicIdentity("sip:room!.*!@h", wildcard="sip:room!.*!@h"))
    alice = table.add(rooms, binding("a", 100.0))
    seven = table.add(profile(PublicIdentity("sip:room7@h")), binding("b", 100.0, "seven", "sip:room7@h"))
    assert table.find("sip:room1@h") is alice
    assert table.find("sip:room7@h") is seven
    assert table.find("sip:hall@h") is None
    assert table.find("sip:room1@h.example") is None


def test_contacts_come_by_preference_and_only_while_they_live():
    table = Registrations()
    one, two, old = binding("one", 100.0), binding("two", 100.0), binding("old", 10.0)
    one.q = 0.5
    for each in (one, two, old):
        table.add(profile(PublicIdentity("sip:alice@h")), each)
    assert table.contacts("sip:alice@h", 50.0) == [two, one]


def test_the_same_contact_of_another_private_identity_is_another_binding():
    table, shared = Registrations(), profile(PublicIdentity("sip:alice@h"))
    found = table.add(shared, binding("a", 100.0))
    table.add(shared, binding("a", 100.0, impi="alice-tablet"))
    assert len(found.bindings) == 2
    assert table.sets_of("alice-tablet") == (found,)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["put", "discard", "shorten"]), st.integers(1, 50))))
def test_what_lapses_lapses_once_and_never_early(steps):
    lapses, items, now = Lapses(), {}, 0.0
    for number, action, seconds in steps:
        item = items.get(number)
        if action == "put":
            if item is not None:
                lapses.discard(item)
            items[number] = binding("x", now + seconds)
            lapses.put(items[number])
        elif item is not None and action == "discard":
            lapses.discard(items.pop(number))
        elif item is not None:
            item.expires_at = min(item.expires_at, now + seconds)
            lapses.put(item)
        now += 1
        ended = lapses.due(now)
        expected = {number for number, item in items.items() if item.expires_at <= now}
        assert {number for number, item in items.items() if item in ended} == expected
        assert len(ended) == len(expected)
        for number in expected:
            del items[number]
        assert len(lapses) == len(items)
        assert len(lapses._heap) <= 2 * len(items) + 70
