"""Registration state for its watchers (RFC 3680, TS 24.229 5.4.2): who may, what they are told, when it ends."""

import asyncio
from pathlib import Path

import pytest
from lxml import etree

from redoubt.cscf.reginfo import ContactInfo, RegInfo, RegistrationInfo, parse_reginfo
from redoubt.diameter.cx import DeregistrationReason
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request

from .core import SCSCF, Handset, play, stranger_flow

ALICE = "sip:alice@ims.example"
VECTORS = Path(__file__).parents[2] / "vectors" / "ims-xml"
WATCHER = "sip:pcscf.ims.example"


def subscribe(asserted=ALICE, *, contact="<sip:alice@192.0.2.7:5060>", call_id="s1", cseq=1, to_tag="", expires=600000):
    headers = [
        ("Via", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKs"),
        ("Route", "<sip:orig@scscf.ims.example;lr>"),
        ("Record-Route", "<sip:token@pcscf.ims.example;lr>"),
        ("From", f"<{ALICE}>;tag=watcher"),
        ("To", f"<{ALICE}>{to_tag}"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} SUBSCRIBE"),
        ("Contact", contact),
        ("Event", "reg"),
        ("Expires", str(expires)),
        ("P-Asserted-Identity", f"<{asserted}>"),
    ]
    target = f"{SCSCF}" if to_tag else ALICE
    return Request("SUBSCRIBE", target, headers)


def notifies(world):
    return [message for message in world.delivered if message.method == "NOTIFY"]


async def told(world):
    """The last NOTIFY's document, once everything has come to rest."""
    await asyncio.sleep(0.1)
    return parse_reginfo(notifies(world)[-1].body)


def events(info):
    return {registration.aor: [c.event for c in registration.contacts] for registration in info.registrations}


def test_the_first_notify_follows_the_200_and_tells_all(tmp_path):
    async def story(world):
        await Handset(world).register()
        accepted = await world.send(subscribe())
        assert (accepted.status, accepted.get("Expires"), accepted.get("Contact")) == (200, "600000", f"<{SCSCF}>")
        info = await told(world)
        assert (info.version, info.full) == (0, True)
        assert events(info) == {ALICE: ["registered"], "tel:+15550001": ["created"]}
        contact = info.registrations[0].contacts[0]
        assert (contact.uri, contact.active, contact.expires) == ("sip:alice@192.0.2.7:5060", True, 3600)

        (notify,) = notifies(world)
        assert notify.get("From") == accepted.get("To")  # strict handsets check it (lessons 14)
        assert notify.get("To") == f"<{ALICE}>;tag=watcher"
        assert notify.call_id == "s1"
        assert notify.get("Route") == "<sip:token@pcscf.ims.example;lr>"
        assert notify.uri == "sip:alice@192.0.2.7:5060"
        assert notify.get("Subscription-State") == "active;expires=600000"

    play(tmp_path, story)


def test_changes_are_told_as_they_come_with_rising_versions(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        await world.send(subscribe())
        await told(world)
        await alice.register()
        info = await told(world)
        assert (info.version, info.full, events(info)[ALICE]) == (1, False, ["refreshed"])
        world.scscf.require_authentication(ALICE)
        info = await told(world)
        assert (info.version, events(info)[ALICE]) == (2, ["shortened"])
        assert info.registrations[0].contacts[0].expires == 240
        assert [notify.cseq.number for notify in notifies(world)] == [1, 2, 3]

    play(tmp_path, story)


@pytest.mark.parametrize("way", ["user", "expiry", "hss-permanent", "hss-reassign"])
def test_the_end_of_a_registration_is_told_and_ends_the_subscription(tmp_path, way):
    expected = {"user": "unregistered", "expiry": "expired", "hss-permanent": "rejected", "hss-reassign": "deactivated"}

    async def story(world):
        alice = Handset(world)
        await alice.register()
        await world.send(subscribe())
        await told(world)
        if way == "user":
            await alice.deregister()
        elif way == "expiry":
            await asyncio.sleep(3601)
        else:
            permanent, changed = DeregistrationReason.PERMANENT_TERMINATION, DeregistrationReason.SERVER_CHANGE
            reason = permanent if way == "hss-permanent" else changed
            await world.hss.administration.deregister("alice@ims.example", reason)
        info = await told(world)
        assert events(info)[ALICE] == [expected[way]]
        assert {registration.state for registration in info.registrations} == {"terminated"}  # lessons 32
        assert not info.registrations[0].contacts[0].active
        assert notifies(world)[-1].get("Subscription-State") == "terminated;reason=noresource"
        assert not len(world.scscf.regevent)

    play(tmp_path, story)


def test_the_p_cscf_on_the_path_may_watch(tmp_path):
    async def story(world):
        await Handset(world).register()
        assert (await world.send(subscribe(WATCHER, contact=f"<{WATCHER}>"))).status == 200

    play(tmp_path, story)


def test_nobody_else_may_watch(tmp_path):
    async def story(world, expected):
        await Handset(world).register()
        await Handset(world, "bob").register()
        assert (await world.send(subscribe("sip:bob@ims.example"))).status == expected
        await asyncio.sleep(0.1)
        assert bool(notifies(world)) is (expected == 200)

    for number, off, expected in ((0, ("reg-event-owner",), 200), (1, (), 403)):
        path = tmp_path / str(number)
        path.mkdir()
        play(path, lambda world, expected=expected: story(world, expected), off=off)


def test_a_stranger_may_not_watch(tmp_path):
    async def story(world):
        await Handset(world).register()
        assert (await world.send(subscribe(), world.scscf, stranger_flow())).status == 403

    play(tmp_path, story)


def test_a_subscription_is_refreshed_and_ended_by_its_owner(tmp_path):
    async def story(world):
        await Handset(world).register()
        to_tag = (await world.send(subscribe())).get("To").removeprefix(f"<{ALICE}>")
        assert (await world.send(subscribe(cseq=2, to_tag=to_tag, expires=1000))).status == 200
        assert (await world.send(subscribe(cseq=2, to_tag=to_tag))).status == 500
        assert (await world.send(subscribe(cseq=3, to_tag=";tag=guess"))).status == 481
        assert (await world.send(subscribe(cseq=4, to_tag=to_tag, expires=0))).status == 200
        await told(world)
        assert notifies(world)[-1].get("Subscription-State") == "terminated;reason=timeout"
        assert not len(world.scscf.regevent)

    play(tmp_path, story)


def test_a_subscription_ends_by_itself(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        await world.send(subscribe(expires=100))
        await asyncio.sleep(101)
        assert notifies(world)[-1].get("Subscription-State") == "terminated;reason=timeout"
        assert not len(world.scscf.regevent)

    play(tmp_path, story)


def test_who_does_not_take_a_notify_gets_no_more(tmp_path):
    async def story(world):
        alice = Handset(world)
        await alice.register()
        world.notify_status = 481
        await world.send(subscribe())
        await asyncio.sleep(0.1)
        assert not len(world.scscf.regevent)
        await alice.register()
        await asyncio.sleep(0.1)
        assert len(notifies(world)) == 1

    play(tmp_path, story)


def test_subscriptions_to_one_set_are_bounded(tmp_path):
    async def story(world):
        await Handset(world).register()
        for number in range(40):
            contact = f"<sip:alice@192.0.2.7:{6000 + number}>"
            await world.send(subscribe(call_id=f"s{number}", contact=contact))
        assert len(world.scscf.regevent) == 16
        for number in range(40):  # the same agent anew: in the place of its old one
            await world.send(subscribe(call_id=f"t{number}"))
        assert len(world.scscf.regevent) == 16

    play(tmp_path, story)


DOCUMENT = RegInfo(
    3,
    True,
    (
        RegistrationInfo(
            "sip:a&b<c>@ims.example",
            "r1",
            "active",
            (
                ContactInfo("c1", 'sip:x@h;y="q"', True, "registered", 60, "id<&>", 7),
                ContactInfo("c2", "sip:y@h", False, "expired"),
            ),
        ),
        RegistrationInfo("tel:+1", "r2", "terminated"),
    ),
)


def test_a_document_survives_the_round_trip():
    assert parse_reginfo(DOCUMENT.to_bytes()) == DOCUMENT


def test_a_document_is_valid_by_the_schema_of_rfc_3680():
    text = (VECTORS / "reginfo.xsd").read_bytes().strip()
    xml_namespace = (
        b'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        b'targetNamespace="http://www.w3.org/XML/1998/namespace">'
        b'<xs:attribute name="lang" type="xs:language"/></xs:schema>'
    )

    class Local(etree.Resolver):
        def resolve(self, url, public_id, context):
            return self.resolve_string(xml_namespace, context)

    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Local())
    schema = etree.XMLSchema(etree.fromstring(text, parser))
    schema.assertValid(etree.fromstring(DOCUMENT.to_bytes()))


BOMB = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">&b;</reginfo>"""
HEAD = b'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<reginfo",
        BOMB,
        BOMB.decode().encode("utf-16"),
        BOMB.replace(b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="UTF-7"?>'),
        b'<!DOCTYPE r SYSTEM "file:///etc/passwd">' + HEAD + b"</reginfo>",
        HEAD + b"<x>" * 40 + b"</x>" * 40 + b"</reginfo>",
        HEAD + b'<registration aor="sip:a@b" id="1" state="active"/>' * 257 + b"</reginfo>",
        HEAD + b" " * 70_000 + b"</reginfo>",
        HEAD.replace(b'"0"', b'"-1"') + b"</reginfo>",
        HEAD.replace(b"full", b"half") + b"</reginfo>",
        HEAD + b'<registration id="1" state="active"/></reginfo>',
        b'<other version="0" state="full"/>',
    ],
)
def test_a_hostile_document_is_refused(octets):
    with pytest.raises(SipError) as refused:
        parse_reginfo(octets)
    assert refused.value.status == 400
