"""REGISTER through the P-CSCF (TS 24.229 5.2.2): what it adds, what it removes, what it learns."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from redoubt.cscf.reginfo import MEDIA_TYPE, ContactInfo, RegInfo, RegistrationInfo
from redoubt.sim.run import run
from redoubt.sip.fields import AUTHORIZATION, CONTACT, PATH, WWW_AUTHENTICATE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request
from redoubt.sip.service import originate
from redoubt.sip.uri import SipUri

from .core import PCSCF, REALM, Core, Phone, bugs, sent

CREDENTIALS = (
    'Digest username="alice@ims.example",realm="ims.example",nonce="",uri="sip:ims.example",response=""'
)
CHALLENGE = 'Digest realm="ims.example",nonce="bm9uY2U=",algorithm=AKAv1-MD5,CK="{ck}", ik="{ik}",qop="auth"'
CK, IK = "c" * 32, "1f" * 16


def test_the_core_learns_path_visited_network_and_charging_identity() -> None:
    async def main(_network: object) -> None:
        core = Core()
        await Phone(core, "alice", 6001).register()
        register = core.sent("REGISTER")
        path = register.every(PATH)
        assert len(path) == 1 and isinstance(path[0].uri, SipUri)
        assert path[0].uri.host == "pcscf.ims.example" and path[0].uri.has("lr") and path[0].uri.has("ob")
        assert register.get("Require") == "path"
        assert register.get("P-Visited-Network-ID") == f'"{REALM}"'
        assert "icid-value=" in (register.get("P-Charging-Vector") or "")

    run(main, 1)


async def test_two_registers_have_two_charging_identities() -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    await alice.register()
    first = core.sent("REGISTER").get("P-Charging-Vector")
    await alice.register()
    assert core.sent("REGISTER").get("P-Charging-Vector") != first


FORMS = [
    ',integrity-protected="yes"',
    ",integrity-protected=yes",
    ',integrity-protected="auth-done"',
    ',INTEGRITY-Protected="tls-yes"',
    ',\r\n integrity-protected\t=\r\n "ip-assoc-yes"',
]


@pytest.mark.parametrize("form", FORMS)
async def test_what_a_phone_says_about_its_protection_is_overwritten(form: str) -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    request = alice.request("REGISTER", f"sip:{REALM}", to=f"<{alice.impu}>")
    data = request.to_bytes().replace(
        b"Max-Forwards", b"Authorization: " + (CREDENTIALS + form).encode() + b"\r\nMax-Forwards"
    )
    assert (await alice.send_octets(data)).status == 200
    assert core.sent("REGISTER").need(AUTHORIZATION).param("integrity-protected") == "no"
    assert core.sent("REGISTER").to_bytes().lower().count(b"integrity-protected") == 1


async def test_said_twice_it_is_refused() -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    twice = CREDENTIALS + ',integrity-protected="yes",Integrity-Protected="yes"'
    assert (await alice.register(("Authorization", twice))).status == 400
    two_headers = (
        ("Authorization", CREDENTIALS),
        ("Authorization", CREDENTIALS + ',integrity-protected="yes"'),
    )
    assert (await alice.register(*two_headers)).status == 400
    assert not core.seen


async def test_without_the_protection_the_claim_would_reach_the_core() -> None:
    core = Core("integrity-flag")
    await Phone(core, "alice", 6001).register(("Authorization", CREDENTIALS + ',integrity-protected="yes"'))
    assert core.sent("REGISTER").need(AUTHORIZATION).param("integrity-protected") == "yes"


@pytest.mark.parametrize("off", [True, False])
async def test_the_keys_stay_home(off: bool) -> None:
    core = Core(*(["keys-stay-home"] if off else []))
    core.challenge = (
        ("WWW-Authenticate", CHALLENGE.format(ck=CK, ik=IK)),
        ("WWW-Authenticate", CHALLENGE.format(ck=CK.upper(), ik=IK).replace("ims.example", "other.example")),
    )
    response = await Phone(core, "alice", 6001).register(("Authorization", CREDENTIALS))
    assert response.status == 401
    text = response.to_bytes().lower()
    assert (CK.encode() in text and IK.encode() in text) == off
    challenge = response.need(WWW_AUTHENTICATE)
    assert challenge.param("nonce") == "bm9uY2U=" and challenge.param("algorithm") == "AKAv1-MD5"


async def test_a_challenge_that_cannot_be_read_is_not_passed_on() -> None:
    core = Core()
    core.challenge = (("WWW-Authenticate", f'Digest realm="x",ck="{CK}",ck="{CK}",ik="{IK}"'),)
    response = await Phone(core, "alice", 6001).register(("Authorization", CREDENTIALS))
    assert not response.has("WWW-Authenticate")


async def test_claims_of_a_phone_do_not_pass_with_its_register() -> None:
    core = Core()
    claims = {
        "P-Charging-Vector": "icid-value=mine",
        "P-Charging-Function-Addresses": "ccf=evil.example",
        "P-Visited-Network-ID": "evil.example",
        "P-Asserted-Identity": "<sip:bob@ims.example>",
        "Path": "<sip:evil.example;lr>",
        "Service-Route": "<sip:evil.example;lr>",
        "Route": "<sip:evil.example;lr>",
        "P-Access-Network-Info": "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1;network-provided",
    }
    assert (await Phone(core, "alice", 6001).register(*claims.items())).status == 200
    text = core.sent("REGISTER").to_bytes()
    assert (
        b"evil" not in text and b"mine" not in text and b"bob" not in text and b"network-provided" not in text
    )


async def test_what_a_phone_says_of_its_access_network_passes() -> None:
    core = Core()
    await Phone(core, "alice", 6001).register(("P-Access-Network-Info", "IEEE-802.11;i-wlan-node-id=1"))
    assert core.sent("REGISTER").get("P-Access-Network-Info") == "IEEE-802.11;i-wlan-node-id=1"


async def test_an_extension_that_nobody_here_knows_is_refused_by_name() -> None:
    response = await Phone(Core(), "alice", 6001).register(("Proxy-Require", "teleport"))
    assert response.status == 420 and response.get("Unsupported") == "teleport"


async def test_a_binding_is_kept_refreshed_and_removed() -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    response = await alice.register()
    assert not response.has("P-Charging-Function-Addresses")
    assert len(core.pcscf.bindings) == 1
    await alice.register()
    assert len(core.pcscf.bindings) == 1
    await alice.register(expires=0)
    assert len(core.pcscf.bindings) == 0


async def test_a_failed_attempt_from_elsewhere_leaves_the_flow_where_it_was() -> None:
    core = Core()
    alice, thief = Phone(core, "alice", 6001), Phone(core, "alice", 6666)
    await alice.register()
    core.challenge = (("WWW-Authenticate", CHALLENGE.format(ck=CK, ik=IK)),)
    stolen = thief.request("REGISTER", f"sip:{REALM}", ("Authorization", CREDENTIALS), to=f"<{alice.impu}>")
    stolen.set("Contact", f"<{alice.contact}>")
    assert (await sent(thief, stolen)).status == 401
    assert len(core.pcscf.bindings.of_flow(alice.flow)) == 1
    assert not core.pcscf.bindings.of_flow(thief.flow)


async def test_a_phone_at_a_new_address_takes_its_binding_along() -> None:
    core = Core()
    alice, moved = Phone(core, "alice", 6001), Phone(core, "alice", 6002)
    moved.contact = alice.contact
    await alice.register()
    await moved.register()
    assert len(core.pcscf.bindings) == 1
    assert not core.pcscf.bindings.of_flow(alice.flow)
    assert core.pcscf.bindings.of_flow(moved.flow)


async def test_one_flow_holds_so_many_contacts_and_no_more() -> None:
    core = Core()
    alice = Phone(core, "alice", 6001)
    statuses = []
    for number in range(20):
        alice.contact = f"sip:alice@198.51.100.1:{7000 + number}"
        statuses.append((await alice.register()).status)
    assert statuses == [200] * 16 + [403] * 4


def test_a_binding_ends_at_its_time_and_leaves_no_timer() -> None:
    async def main(_network: object) -> None:
        core = Core()
        await Phone(core, "alice", 6001).register(expires=600)
        await asyncio.sleep(599)
        assert len(core.pcscf.bindings) == 1
        await asyncio.sleep(3)
        assert len(core.pcscf.bindings) == 0

    run(main, 1)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS", "BYE", "UPDATE"])
async def test_a_stranger_may_register_and_nothing_else(method: str) -> None:
    core = Core()
    stranger = Phone(core, "eve", 6666)
    assert (await sent(stranger, stranger.request(method, "sip:bob@ims.example"))).status == 403
    assert not core.seen


# ---- registration state


def reg_event(
    core: Core, event: str, edit: Callable[[ContactInfo], ContactInfo] = lambda contact: contact
) -> Request:
    """The S-CSCF's NOTIFY about Alice to the P-CSCF's SUBSCRIBE."""
    subscribe = core.sent("SUBSCRIBE")
    contact = subscribe.need(CONTACT)
    assert isinstance(contact, NameAddr)
    active = event in ("registered", "shortened")
    row = ContactInfo("c", "sip:alice@198.51.100.1:6001", active, event, 60 if active else None, "r-alice", 1)
    registration = RegistrationInfo(
        f"sip:alice@{REALM}", "a", "active" if active else "terminated", (edit(row),)
    )
    headers = [
        ("Via", "SIP/2.0/UDP scscf;branch=z9hG4bK1"),
        ("From", f"{subscribe.get('To')};tag=s"),
        ("To", subscribe.get("From") or ""),
        ("Call-ID", subscribe.call_id),
        ("CSeq", "1 NOTIFY"),
        ("Event", "reg"),
        ("Subscription-State", "active;expires=600" if active else "terminated;reason=noresource"),
        ("Content-Type", MEDIA_TYPE),
    ]
    return Request("NOTIFY", str(contact.uri), headers, RegInfo(1, True, (registration,)).to_bytes())


async def _watched() -> tuple[Core, Phone]:
    core = Core(subscribe=True)
    core.accepts_reg_event = True
    alice = Phone(core, "alice", 6001)
    await alice.register()
    await asyncio.gather(*core.context.tasks)
    return core, alice


async def _notify(core: Core, request: Request) -> int:
    response = await originate(core.pcscf.from_core, request, core.context)
    assert response is not None
    return response.status


async def test_the_p_cscf_subscribes_once_for_a_user_and_not_at_each_refresh() -> None:
    core, alice = await _watched()
    await alice.register()
    await asyncio.gather(*core.context.tasks)
    subscribes = [request for request in core.seen if request.method == "SUBSCRIBE"]
    assert len(subscribes) == 1
    assert subscribes[0].get("Event") == "reg" and subscribes[0].get("P-Asserted-Identity") == f"<{PCSCF}>"
    core.pcscf.close()


def test_a_user_whom_the_network_ends_can_start_nothing_and_is_soon_forgotten() -> None:
    async def main(_network: object) -> None:
        core, alice = await _watched()
        assert await _notify(core, reg_event(core, "deactivated")) == 200
        assert len(core.pcscf.subscriptions) == 0
        assert (await sent(alice, alice.request("MESSAGE", "sip:bob@ims.example"))).status == 403
        await asyncio.sleep(40)
        assert len(core.pcscf.bindings) == 0
        assert not bugs(core)

    run(main, 1)


def test_a_shortened_registration_ends_sooner_here_too() -> None:
    async def main(_network: object) -> None:
        core, _ = await _watched()
        assert await _notify(core, reg_event(core, "shortened")) == 200
        await asyncio.sleep(62)
        assert len(core.pcscf.bindings) == 0
        await asyncio.sleep(40)
        assert len(core.pcscf.subscriptions) == 0

    run(main, 1)


@pytest.mark.parametrize(
    "earlier", [{"cseq": 0}, {"call_id": "earlier"}, {"uri": "sip:alice@198.51.100.1:7777"}]
)
async def test_the_end_of_an_earlier_registration_does_not_end_the_present_one(
    earlier: dict[str, Any],
) -> None:
    core, alice = await _watched()
    assert await _notify(core, reg_event(core, "deactivated", lambda row: replace(row, **earlier))) == 200
    assert (await sent(alice, alice.request("MESSAGE", "sip:bob@ims.example"))).status == 480
    core.pcscf.close()


async def test_a_notify_that_nobody_asked_for_changes_nothing() -> None:
    core, alice = await _watched()
    foreign = reg_event(core, "deactivated")
    foreign.set("Call-ID", "guessed")
    assert await _notify(core, foreign) == 481
    bomb = reg_event(core, "deactivated")
    bomb.body = b'<!DOCTYPE r [<!ENTITY a "b">]>' + bomb.body
    assert await _notify(core, bomb) == 400
    assert (await sent(alice, alice.request("MESSAGE", "sip:bob@ims.example"))).status == 480
    core.pcscf.close()


def _subscribes(core: Core) -> int:
    return len([request for request in core.seen if request.method == "SUBSCRIBE"])


def test_a_renewal_that_no_notify_tells_of_is_followed_by_a_new_subscription() -> None:
    async def main(_network: object) -> None:
        core, alice = await _watched()
        assert await _notify(core, reg_event(core, "registered")) == 200
        await asyncio.sleep(1)
        await alice.register()
        await asyncio.sleep(60)
        assert _subscribes(core) == 1
        await asyncio.sleep(10)
        assert _subscribes(core) == 2 and len(core.pcscf.subscriptions) == 1
        await asyncio.sleep(1000)
        assert _subscribes(core) == 2
        core.pcscf.close()

    run(main, 1)


@pytest.mark.parametrize("overtakes", [True, False])
def test_a_renewal_that_a_notify_tells_of_is_not(overtakes: bool) -> None:
    async def main(_network: object) -> None:
        core, alice = await _watched()
        await asyncio.sleep(1)
        if overtakes:
            core.before_registrar = lambda: _notify(core, reg_event(core, "registered"))
        await alice.register()
        if not overtakes:
            await asyncio.sleep(5)
            assert await _notify(core, reg_event(core, "registered")) == 200
        await asyncio.sleep(1000)
        assert _subscribes(core) == 1
        core.pcscf.close()

    run(main, 1)
