"""Calls between two registered phones, both halves (TS 24.229 5.2.6, 5.4.3)."""

import asyncio

import pytest

from .core import Core, Phone, asserted, two


async def test_a_call_is_answered_used_and_ended_and_leaves_nothing() -> None:
    core, alice, bob = await two()
    answered = await alice.call(bob)
    assert answered.status == 200
    assert [response.status for response in alice.responses] == [180]
    assert bob.received[-1].uri == bob.contact
    assert len(core.pcscf.dialogs) == 2
    assert await alice.send(alice.inside("ACK", answered, 1)) is None
    assert bob.received[-1].method == "ACK"
    for cseq, method in enumerate(("PRACK", "UPDATE", "INFO", "INVITE", "REFER", "NOTIFY"), 2):
        response = await alice.send(alice.inside(method, answered, cseq))
        assert response is not None and response.status == 200, method
        assert bob.received[-1].method == method
    bye = await bob.send(bob.inside_called("BYE", bob.received[0]))
    assert bye is not None and bye.status == 200
    assert alice.received[-1].method == "BYE"
    assert len(core.pcscf.dialogs) == 0
    assert not [event for event in core.events.recent if type(event).__name__ == "Bug"]


async def test_the_caller_can_hang_up_too() -> None:
    core, alice, bob = await two()
    answered = await alice.call(bob)
    bye = await alice.send(alice.inside("BYE", answered))
    assert bye is not None and bye.status == 200
    assert len(core.pcscf.dialogs) == 0
    ended = [event for event in core.events.recent if type(event).__name__ == "CallEnded"]
    assert [(event.caller, event.status) for event in ended] == [(alice.impu, 0)]


@pytest.mark.parametrize("status", [486, 603])
async def test_a_refused_call_tells_the_caller_and_leaves_nothing(status: int) -> None:
    core, alice, bob = await two()
    bob.answers["INVITE"] = status
    assert (await alice.call(bob)).status == status
    assert len(core.pcscf.dialogs) == 0


@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS"])
async def test_a_standalone_request_arrives_and_makes_no_dialog(method: str) -> None:
    core, alice, bob = await two()
    response = await alice.send(alice.request(method, bob.impu))
    assert response is not None and response.status == 200
    assert bob.received[-1].method == method
    assert not bob.received[-1].has("Record-Route")
    assert len(core.pcscf.dialogs) == 0


async def test_a_subscription_between_phones_ends_with_its_last_notify() -> None:
    core, alice, bob = await two()
    answered = await alice.send(
        alice.request("SUBSCRIBE", bob.impu, ("Event", "presence"), ("Expires", "600"))
    )
    assert answered is not None and answered.status == 200
    assert len(core.pcscf.dialogs) == 2
    notify = bob.inside_called("NOTIFY", bob.received[0])
    notify.add("Subscription-State", "terminated;reason=timeout")
    response = await bob.send(notify)
    assert response is not None and response.status == 200
    assert len(core.pcscf.dialogs) == 0


async def test_a_telephone_number_reaches_the_user_who_has_it() -> None:
    core, alice, bob = await two()
    number = core.profiles[bob.impu].identities[1].impu
    response = await alice.send(alice.request("INVITE", number))
    assert response is not None and response.status == 200
    assert bob.received[-1].get("P-Called-Party-ID") == f"<{number}>"


async def test_a_number_in_a_sip_uri_is_the_same_number() -> None:
    core, alice, bob = await two()
    number = core.profiles[bob.impu].identities[1].impu.removeprefix("tel:")
    await alice.send(alice.request("INVITE", f"sip:{number}@ims.example;user=phone"))
    assert bob.received


async def test_a_user_who_is_not_registered_is_not_available() -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    await alice.register()
    assert (await alice.send(alice.request("INVITE", "sip:carol@ims.example"))).status == 480  # type: ignore[union-attr]


async def test_a_caller_gives_up_and_the_called_phone_stops_ringing() -> None:
    core, alice, bob = await two()
    bob.rings = True
    call = asyncio.create_task(alice.call(bob))
    await alice.hears()
    assert alice.root is not None
    alice.root.cancelled.happen()
    assert (await call).status == 487
    assert len(core.pcscf.dialogs) == 0


async def test_a_phone_that_left_is_not_available_and_its_token_names_nobody() -> None:
    _, alice, bob = await two()
    answered = await alice.call(bob)
    await bob.register(expires=0)
    assert (await alice.send(alice.inside("INFO", answered))).status == 480  # type: ignore[union-attr]


async def test_the_called_phone_learns_who_called_and_nothing_of_the_core() -> None:
    _, alice, bob = await two()
    await alice.call(bob)
    invite = bob.received[-1]
    assert asserted(invite)[0] == alice.impu
    for name in ("P-Charging-Vector", "P-Charging-Function-Addresses", "Route", "P-Visited-Network-ID"):
        assert not invite.has(name), name


async def test_a_503_of_the_phone_says_nothing_of_the_core_and_goes_up_as_500() -> None:
    """RFC 3261 16.7 step 6."""
    _, alice, bob = await two()
    bob.answers["INVITE"] = 503
    bob.extra = (("Retry-After", "3600"),)
    response = await alice.call(bob)
    assert response.status == 500 and not response.has("Retry-After")
