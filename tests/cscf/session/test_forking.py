"""One user, several phones (RFC 3261 16.6, 16.7; RFC 5393; TS 24.229 5.4.3.3)."""

import asyncio

import pytest

from redoubt.cscf.scscf.forking import best, shared
from redoubt.sim.run import run
from redoubt.sip.message import Request, Response

from .core import Core, Phone, bugs, sent


async def _family(*qs: str, seed: int = 1) -> tuple[Core, Phone, list[Phone]]:
    """Alice, and Bob with a phone for each q value."""
    core = Core(seed=seed)
    alice = Phone(core, "alice", 6001)
    await alice.register()
    phones = [Phone(core, "bob", 6100 + number) for number in range(len(qs))]
    for number, (phone, q) in enumerate(zip(phones, qs, strict=True)):
        phone.tag = f"bob{number}-tag"
        await phone.register(q=q)
    return core, alice, phones


async def _at_rest(core: Core) -> None:
    while core.context.tasks:
        await asyncio.gather(*core.context.tasks)
    assert not bugs(core)


async def test_all_phones_ring_the_first_to_answer_wins_and_the_others_are_cancelled() -> None:
    core, alice, (one, two, three) = await _family("1.0", "1.0", "1.0")
    for phone in (one, two, three):
        phone.rings = True
    call = asyncio.create_task(alice.call(one))
    while len(alice.responses) < 3:
        await alice.hears()
    two.pick_up.set()
    answered = await call
    assert answered.status == 200 and answered.to.tag == two.tag
    await _at_rest(core)
    assert one.cancelled_because == three.cancelled_because == 'SIP;cause=200;text="Call completed elsewhere"'
    assert two.cancelled_because is None
    assert len(core.pcscf.dialogs) == 2
    assert (await sent(alice, alice.inside("BYE", answered))).status == 200
    assert [phone.received[-1].method for phone in (one, two, three)] == ["INVITE", "BYE", "INVITE"]
    assert len(core.pcscf.dialogs) == 0


async def test_two_that_answer_at_once_both_reach_the_caller() -> None:
    core, alice, (one, two) = await _family("1.0", "1.0")
    answered = await alice.call(one)
    await _at_rest(core)
    later = [response for response in alice.responses if response.status == 200]
    assert {answered.to.tag, *[response.to.tag for response in later]} == {one.tag, two.tag}
    assert (await sent(alice, alice.inside("BYE", answered))).status == 200
    assert (await sent(alice, alice.inside("BYE", later[0], 3))).status == 200
    assert len(core.pcscf.dialogs) == 0


async def test_the_preferred_phone_is_tried_first_and_the_next_when_it_refuses() -> None:
    core, alice, (low, high) = await _family("0.2", "0.9")
    high.answers["INVITE"] = 486
    assert (await alice.call(low)).status == 200
    assert high.received and low.received
    high.answers["INVITE"] = 200
    low.received.clear()
    assert (await alice.call(low, call_id="c2")).status == 200
    assert not low.received
    await _at_rest(core)


def test_a_preferred_phone_that_only_rings_is_given_up_for_the_next() -> None:
    async def main(_network: object) -> None:
        core, alice, (low, high) = await _family("0.2", "0.9")
        high.rings = True
        answered = await alice.call(low)
        assert answered.to.tag == low.tag
        assert asyncio.get_running_loop().time() >= 30
        assert high.cancelled_because is None and high.was_cancelled
        await _at_rest(core)
        core.pcscf.close()

    run(main, 1)


async def test_a_decline_everywhere_ends_it_for_all() -> None:
    core, alice, (one, two, low) = await _family("1.0", "1.0", "0.1")
    one.rings = True
    two.answers["INVITE"] = 603
    assert (await alice.call(one)).status == 603
    assert one.was_cancelled and not low.received
    await _at_rest(core)
    assert len(core.pcscf.dialogs) == 0


async def test_a_caller_who_gives_up_ends_every_branch_and_nobody_else_is_tried() -> None:
    core, alice, (one, two, low) = await _family("1.0", "1.0", "0.1")
    one.rings = two.rings = True
    call = asyncio.create_task(alice.call(one))
    while len(alice.responses) < 2:
        await alice.hears()
    assert alice.root is not None
    alice.root.cancelled.happen()
    assert (await call).status == 487
    assert one.was_cancelled and two.was_cancelled and not low.received
    await _at_rest(core)
    assert len(core.pcscf.dialogs) == 0


async def test_a_message_goes_to_all_and_the_first_success_is_the_answer() -> None:
    core, alice, phones = await _family("1.0", "1.0")
    phones[0].answers["MESSAGE"] = 486
    assert (await sent(alice, alice.request("MESSAGE", phones[0].impu))).status == 200
    await _at_rest(core)
    assert all(phone.received for phone in phones)


async def test_a_phone_that_vanished_does_not_keep_the_others_from_ringing() -> None:
    core, alice, (gone, here) = await _family("1.0", "1.0")
    del core.phones[gone.flow.remote]
    assert (await alice.call(here)).status == 200
    await _at_rest(core)


async def test_when_all_vanished_the_user_is_not_available() -> None:
    core, alice, (gone, too) = await _family("1.0", "1.0")
    del core.phones[gone.flow.remote], core.phones[too.flow.remote]
    assert (await alice.call(gone)).status == 480


async def test_breadth_is_shared_and_counts_the_phones_that_ring_at_once() -> None:
    core, alice, phones = await _family("1.0", "1.0", "1.0")
    await alice.call(phones[0], ("Max-Breadth", "4"))
    await _at_rest(core)
    assert sorted(int(phone.received[0].get("Max-Breadth") or 0) for phone in phones) == [1, 1, 2]


async def test_with_a_breadth_of_one_phones_are_tried_in_turn() -> None:
    core, alice, phones = await _family("1.0", "1.0", "1.0")
    for phone in phones:
        phone.answers["INVITE"] = 486
    assert (await alice.call(phones[0], ("Max-Breadth", "1"))).status == 486
    assert [phone.received[0].get("Max-Breadth") for phone in phones] == ["1", "1", "1"]
    await _at_rest(core)


async def test_with_no_breadth_left_there_is_no_fork() -> None:
    _, alice, phones = await _family("1.0", "1.0")
    assert (await alice.call(phones[0], ("Max-Breadth", "0"))).status == 440


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([486, 480], 486),
        ([408, 486], 486),
        ([486, 401], 401),
        ([503, 404], 404),
        ([404, 603, 401], 603),
        ([302, 486], 302),
        ([500, 503], 500),
    ],
)
def test_the_best_failure_is_told(statuses: list[int], expected: int) -> None:
    assert best([Response(status) for status in statuses]).status == expected


@pytest.mark.parametrize(("breadth", "count"), [(60, 7), (3, 3), (5, 2), (1, 1)])
def test_the_parts_of_the_breadth_add_up_to_the_whole(breadth: int, count: int) -> None:
    parts = [part for _, part in shared([Request("INVITE", "sip:x@y")] * count, breadth)]
    assert sum(parts) == breadth and min(parts) >= 1
