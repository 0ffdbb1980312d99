"""The I-CSCF outside registration (TS 24.229 5.3.2): the S-CSCF of who is called, or the right refusal."""

import pytest

from redoubt.config import ServerEntry
from redoubt.cscf.icscf.selection import candidates
from redoubt.diameter.cx import ServerCapabilities
from redoubt.sip.fields import ROUTE
from redoubt.sip.message import Request

from .core import ICSCF, SCSCF, Handset, play, stranger_flow


def options(target):
    headers = [
        ("Via", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKo"),
        ("Route", f"<{ICSCF};lr>"),
        ("Max-Forwards", "70"),
        ("From", "<sip:bob@ims.example>;tag=b"),
        ("To", f"<{target}>"),
        ("Call-ID", "o1"),
        ("CSeq", "1 OPTIONS"),
        ("P-Asserted-Identity", "<sip:bob@ims.example>"),
    ]
    return Request("OPTIONS", target, headers)


@pytest.mark.parametrize(
    "target", ["sip:alice@ims.example", "tel:+1-555-0001", "sip:+15550001@ims.example;user=phone"]
)
def test_a_registered_user_is_found_by_every_form_of_its_identity(tmp_path, target):
    async def story(world):
        arrived = []

        async def scscf(request, exchange):
            if request.method == "REGISTER":
                return await world.scscf(request, exchange)
            arrived.append(request.copy())
            return request.response(200)

        world.hosts["scscf.ims.example"] = ("s-cscf", scscf)
        await Handset(world).register()
        assert (await world.send(options(target))).status == 200
        assert str(arrived[0].first(ROUTE).uri) == f"{SCSCF};lr"
        assert arrived[0].get("Max-Forwards") == "69"

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("target", "status"),
    [("sip:nobody@ims.example", 404), ("sip:bob@ims.example", 480), ("urn:service:other", 404)],
)
def test_who_cannot_be_reached_is_said_so(tmp_path, target, status):
    async def story(world):
        assert (await world.send(options(target))).status == status

    play(tmp_path, story)


def test_a_stranger_learns_nothing(tmp_path):
    async def story(world):
        assert (await world.send(options("sip:bob@ims.example"), flow=stranger_flow())).status == 403

    play(tmp_path, story)


def test_mandatory_capabilities_decide_and_optional_ones_prefer():
    servers = (
        ServerEntry(uri="sip:a", capabilities=(1,)),
        ServerEntry(uri="sip:b", capabilities=(1, 2)),
        ServerEntry(uri="sip:c", capabilities=(1, 2, 3)),
    )
    assert candidates(servers, None) == ["sip:a", "sip:b", "sip:c"]
    assert candidates(servers, ServerCapabilities((2,), (3,))) == ["sip:c", "sip:b"]
    assert candidates(servers, ServerCapabilities((9,))) == []
    assert candidates(servers, ServerCapabilities((1,), (), ("sip:b",))) == ["sip:b", "sip:a", "sip:c"]
