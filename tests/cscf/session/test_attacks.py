"""Attacks on sessions by registered phones and strangers (requirement rows 59, 61, 62, 65, 66, 68, 69, 73, 78).

Where a protection has a switch, the attack is shown to succeed without it.
"""

import pytest

from redoubt.sip.message import Request, Response

from .core import REALM, Core, Phone, asserted, sent, two

ATTACKER = ("203.0.113.6", 6666)


async def _call_and_eve(*off: str) -> tuple[Core, Phone, Phone, Phone, Response]:
    """Alice and Bob talk; Eve is registered and knows all their tags and routes."""
    core, alice, bob = await two(*off)
    eve = Phone(core, "eve", 6666, "203.0.113.6")
    await eve.register()
    return core, alice, bob, eve, await alice.call(bob)


# ---- row 68: dialogs of others


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "REFER", "INFO", "NOTIFY"])
@pytest.mark.parametrize("off", [True, False])
async def test_true_tags_from_another_phone_end_no_call(method: str, off: bool) -> None:
    core, alice, bob, eve, answered = await _call_and_eve(*(["dialog-owner"] if off else []))
    attack = alice.inside(method, answered)
    response = await eve.send(attack)
    assert response is not None
    if off:
        assert response.status == 200 and bob.received[-1].method == method
        return
    assert response.status == 403
    assert bob.received[-1].method == "INVITE"
    assert len(core.pcscf.dialogs) == 2
    assert (await sent(alice, alice.inside("BYE", answered, 3))).status == 200


async def test_tags_that_name_no_dialog_are_answered_481() -> None:
    _, alice, bob, eve, answered = await _call_and_eve()
    guess = alice.inside("BYE", answered)
    guess.set("To", f"<{bob.impu}>;tag=guess")
    assert (await sent(alice, guess)).status == 481
    assert (await sent(eve, guess)).status == 481
    assert bob.received[-1].method == "INVITE"


async def test_a_stranger_ends_no_call_and_an_ack_gets_no_answer() -> None:
    core, alice, bob, _, answered = await _call_and_eve()
    stranger = Phone(core, "mallory", 6667, "203.0.113.7")
    assert (await sent(stranger, alice.inside("BYE", answered))).status == 403
    assert await stranger.send(alice.inside("ACK", answered, 1)) is None
    assert bob.received[-1].method == "INVITE"


# ---- row 69: order


async def test_a_bye_repeated_or_behind_the_order_is_refused() -> None:
    _, alice, bob, _, answered = await _call_and_eve()
    assert (await sent(alice, alice.inside("INFO", answered, 5))).status == 200
    assert (await sent(alice, alice.inside("BYE", answered, 5))).status == 500
    assert (await sent(alice, alice.inside("BYE", answered, 4))).status == 500
    assert bob.received[-1].method == "INFO"
    assert (await sent(alice, alice.inside("BYE", answered, 6))).status == 200
    assert (await sent(alice, alice.inside("BYE", answered, 6))).status == 481


# ---- rows 61 and 62: identities

IDENTITY_CLAIMS = [
    [("P-Asserted-Identity", "<sip:bob@ims.example>")],
    [("P-Asserted-Identity", "<sip:bob@ims.example>"), ("P-Asserted-Identity", "<tel:+15551>")],
    [("P-Asserted-Identity", "<sip:bob@ims.example>, <tel:+15551>")],
    [("p-asserted-identity", "<sip:b%6fb@ims.example>")],
    [("P-Asserted-Identity", "<sip:bob@ims.example>"), ("P-Preferred-Identity", "<sip:bob@ims.example>")],
]


@pytest.mark.parametrize("claims", IDENTITY_CLAIMS)
async def test_a_phone_is_asserted_as_itself_whatever_it_claims(claims: list[tuple[str, str]]) -> None:
    core, alice, bob = await two()
    eve = Phone(core, "eve", 6666, "203.0.113.6")
    await eve.register()
    await eve.call(alice, *claims)
    first = next(request for request in core.seen if request.method == "INVITE")
    assert asserted(first) == [eve.impu]
    assert not first.has("P-Preferred-Identity")
    assert asserted(alice.received[-1])[0] == eve.impu
    assert not bob.received


async def test_without_the_protection_a_phone_is_whoever_it_says() -> None:
    _, _, bob, eve, _ = await _call_and_eve("asserted-identity")
    await eve.call(bob, ("P-Asserted-Identity", f"<sip:alice@{REALM}>"), call_id="forged")
    assert asserted(bob.received[-1])[0] == f"sip:alice@{REALM}"


async def test_an_identity_of_its_own_set_is_what_a_phone_may_prefer() -> None:
    core, alice, bob = await two()
    number = core.profiles[alice.impu].identities[1].impu
    await alice.call(bob, ("P-Preferred-Identity", f"<{number}>"))
    assert asserted(bob.received[-1]) == [number]


async def test_the_called_phone_is_asserted_as_itself_too() -> None:
    _, alice, bob = await two()
    bob.extra = (("P-Asserted-Identity", "<sip:president@ims.example>"),)
    answered = await alice.call(bob)
    assert asserted(answered) == [bob.impu]
    assert asserted(alice.responses[0]) == [bob.impu]


@pytest.mark.parametrize("privacy", ["id", "header;id", "user", '"id', "id;;critical"])
async def test_who_wants_to_stay_unknown_does(privacy: str) -> None:
    _, alice, bob = await two()
    await alice.call(bob, ("Privacy", privacy))
    assert not bob.received[-1].has("P-Asserted-Identity")


async def test_who_does_not_is_shown() -> None:
    _, alice, bob = await two()
    await alice.call(bob, ("Privacy", "none"))
    assert asserted(bob.received[-1])


# ---- rows 65 and 66: routes and headers of the core


@pytest.mark.parametrize("off", [True, False])
@pytest.mark.parametrize("route", ["<sip:as.ims.example;lr>", "<sip:evil.example;lr>, <sip:evil.example;lr>"])
async def test_the_way_is_the_stored_service_route(route: str, off: bool) -> None:
    core, alice, bob = await two(*(["service-route"] if off else []))
    response = await alice.call(bob, ("Route", route))
    if off:
        assert response.status == 502 and not bob.received
        return
    assert response.status == 200
    first = next(request for request in core.seen if request.method == "INVITE")
    assert first.all("Route") == ["<sip:orig@scscf.ims.example;lr>"]


async def test_inside_a_dialog_the_way_is_the_one_that_the_dialog_was_made_on() -> None:
    core, alice, bob, _, answered = await _call_and_eve()
    info = alice.inside("INFO", answered)
    info.set("Route", "<sip:evil.example;lr>")
    assert (await sent(alice, info)).status == 200
    assert bob.received[-1].method == "INFO"
    back = bob.inside_called("INFO", bob.received[0])
    back.set("Route", "<sip:evil.example;lr>")
    assert (await sent(bob, back)).status == 200
    assert alice.received[-1].method == "INFO"
    assert not any("evil" in line for request in core.seen for line in request.all("Route"))


CORE_HEADERS = [
    "P-Charging-Vector",
    "P-Charging-Function-Addresses",
    "P-Visited-Network-ID",
    "P-Profile-Key",
    "P-User-Database",
    "P-Served-User",
    "P-Called-Party-ID",
    "P-Private-Network-Indication",
    "Record-Route",
]


@pytest.mark.parametrize("off", [True, False])
@pytest.mark.parametrize("name", CORE_HEADERS)
async def test_headers_of_the_core_do_not_come_from_phones(name: str, off: bool) -> None:
    core, alice, bob = await two(*(["strip-core-headers"] if off else []))
    value = {"P-Charging-Vector": "icid-value=forged"}.get(name, "<sip:forged@evil.example>")
    await alice.call(bob, (name, value))
    first = next(request for request in core.seen if request.method == "INVITE")
    assert (b"forged" in first.to_bytes()) == off


async def test_a_called_phone_changes_neither_the_way_back_nor_the_route_set() -> None:
    _, alice, bob = await two()
    bob.adjust = _forge_way
    answered = await alice.call(bob)
    assert b"evil" not in answered.to_bytes()
    assert len(answered.all("Via")) == 1 and "198.51.100.1:6001" in answered.all("Via")[0]
    assert len(answered.all("Record-Route")) == 4


def _forge_way(response: Response) -> None:
    own = response.all("Via")[0]
    response.remove("Via")
    response.push("Via", "SIP/2.0/UDP evil.example;branch=z9hG4bK1")
    response.push("Via", own)
    response.remove("Record-Route")
    response.push("Record-Route", "<sip:evil.example;lr>")
    response.add("P-Charging-Vector", "icid-value=evil")


# ---- row 59: flow tokens


def _to_token(bob: Phone, token: str) -> Request:
    request = bob.request("MESSAGE", bob.contact)
    request.push("Route", f"<sip:{token}@pcscf.ims.example;lr>")
    return request


@pytest.mark.parametrize("off", [True, False])
async def test_a_changed_flow_token_names_nobody(off: bool) -> None:
    core, _, bob = await two(*(["flow-token"] if off else []))
    token = core.pcscf.bindings.of_flow(bob.flow)[0].token
    assert await core.from_core(_to_token(bob, token)) == 200
    for changed in (token[:-1] + ("A" if token[-1] != "A" else "B"), token[:20], token[:12], token + token):
        assert await core.from_core(_to_token(bob, changed)) == (200 if off else 403)
    for forged in ("", "x", "A" * 32, "%00"):
        assert await core.from_core(_to_token(bob, forged)) != 200


async def test_a_true_token_of_a_flow_that_is_gone_is_430() -> None:
    core, _, bob = await two()
    token = core.pcscf.bindings.of_flow(bob.flow)[0].token
    await bob.register(expires=0)
    assert await core.from_core(_to_token(bob, token)) == 430


async def test_tokens_of_another_process_are_worth_nothing() -> None:
    core, _, bob = await two()
    other = Core(seed=2)
    again = Phone(other, "bob", 6002)
    await again.register()
    token = other.pcscf.bindings.of_flow(again.flow)[0].token
    assert await core.from_core(_to_token(bob, token)) == 403


# ---- bounds and silence


async def test_a_phone_holds_so_many_dialogs_and_no_more() -> None:
    core, alice, bob = await two()
    statuses = [(await alice.call(bob, call_id=f"c{number}")).status for number in range(66)]
    assert statuses == [200] * 64 + [503] * 2
    assert len(core.pcscf.dialogs) == 128


@pytest.mark.parametrize("status", [400, 404, 486, 500, 603])
async def test_no_answer_tells_a_phone_what_runs_here(status: int) -> None:
    _, alice, bob = await two()
    bob.answers["INVITE"] = status
    bob.extra = (("Warning", '399 internal.host "x"'), ("Server", "Thing/1.0"))
    text = (await alice.call(bob)).to_bytes()
    for word in (b"Server:", b"User-Agent:", b"Warning:", b"internal.host", b"Traceback"):
        assert word not in text
