"""Partners with mode = b2bua: dialogs end at the border and begin anew (TS 24.229 5.10.8)."""

import asyncio
import gc

import pytest
from msgspec.structs import replace

from redoubt.config.interconnect import PartnerConfig
from redoubt.sip.message import Request, Response

from .edge import VIAS, Edge, from_partner, invite, plain

BACK_TO_BACK = PartnerConfig(
    name="plain", domains=("sip.example",), kind="sip", security="none", addresses=("198.51.100.0/24",), mode="b2bua"
)
ROUTES = ("<sip:scscf1.home1.net;lr>", "<sip:flow@pcscf.home1.net;lr>")
INSIDE = [("Record-Route", route) for route in ROUTES]
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 203.0.113.7\r\ns=-\r\nc=IN IP4 203.0.113.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    b"a=curr:qos local none\r\na=des:qos mandatory local sendrecv\r\na=sendrecv\r\n"
)


def edge() -> Edge:
    made = Edge(partners=(BACK_TO_BACK,))
    made.outside.answers = callee
    return made


def callee(request: Request) -> Response:
    response = request.response(200, to_tag="far", headers=(("Contact", "<sip:x@198.51.100.9>"),))
    response.replace("Record-Route", ["<sip:p2.sip.example;lr>", "<sip:p1.sip.example;lr>"])
    return response


async def call(border: Edge) -> tuple[Request, Response]:
    """Alice's call to the plain network, answered."""
    contact = ("Contact", "<sip:alice@203.0.113.7>;+g.3gpp.icsi-ref=x")
    response = await border.leave(invite("sip:x@sip.example", *INSIDE, contact))
    return border.outside.last, response


def alices(response: Response, method: str, cseq: str) -> Request:
    """A request of Alice in the dialog that the response made."""
    contact = (response.get("Contact") or "").strip("<>")
    return invite(contact, method=method, to_=response.get("To") or "", cseq=cseq)


async def test_nothing_of_one_side_is_seen_on_the_other() -> None:
    out, response = await call(edge())
    text = out.to_bytes().decode()
    for secret in ("call-1", "scscf", "pcscf", "203.0.113.7", "tag=f1", "Record-Route"):
        assert secret not in text
    assert not out.all("Via") and out.cseq.number == 1
    back = response.to_bytes().decode()
    for secret in ("far", "p1.sip.example", "198.51.100.9", out.call_id):
        assert secret not in back
    assert response.call_id == "call-1" and response.all("Via") == list(VIAS)
    assert response.all("Record-Route") == list(ROUTES)


async def test_requests_inside_the_dialog_cross_both_ways_with_the_other_sides_names() -> None:
    border = edge()
    out, response = await call(border)
    await border.acknowledge(alices(response, "ACK", "1"))
    ack = border.outside.last
    assert (ack.method, ack.call_id, ack.cseq.number, ack.to.tag) == ("ACK", out.call_id, 1, "far")
    assert ack.uri == "sip:x@198.51.100.9"
    assert ack.all("Route") == ["<sip:p1.sip.example;lr>", "<sip:p2.sip.example;lr>"]

    update = from_partner(
        (out.get("Contact") or "").strip("<>"), ("Contact", "<sip:x@198.51.100.10>"), method="UPDATE",
        from_=f"{out.get('To')};tag=far", to_=out.get("From") or "", call_id=out.call_id, cseq="77",
    )  # fmt: skip
    assert (await border.enter(update, plain())).status == 200
    inner = border.inside.last
    assert (inner.call_id, inner.to.tag, inner.cseq.number) == ("call-1", "f1", 1)
    assert inner.uri == "sip:alice@203.0.113.7" and inner.all("Route") == list(ROUTES)
    assert inner.from_.tag == response.to.tag

    assert (await border.leave(alices(response, "BYE", "9"))).status == 200
    bye = border.outside.last
    assert (bye.uri, bye.cseq.number, bye.to.tag) == ("sip:x@198.51.100.10", 2, "far")
    assert border.ibcf.table_sizes() == {"calls": 0, "dialogs": 0}
    assert (await border.leave(alices(response, "BYE", "10"))).status == 481


async def test_a_dialog_is_its_partners_whoever_else_knows_its_tags() -> None:
    other = replace(BACK_TO_BACK, name="other", domains=("other.example",), addresses=("192.0.2.0/24",))
    border = Edge(partners=(BACK_TO_BACK, other))
    border.outside.answers = callee
    out, _response = await call(border)
    bye = from_partner(
        (out.get("Contact") or "").strip("<>"), method="BYE", from_=f"{out.get('To')};tag=far",
        to_=out.get("From") or "", call_id=out.call_id, cseq="78",
    )  # fmt: skip
    assert (await border.enter(bye, plain("192.0.2.7"))).status == 481
    assert not border.inside.came and border.ibcf.table_sizes()["dialogs"] == 1
    assert (await border.enter(bye, plain())).status == 200
    assert border.ibcf.table_sizes()["dialogs"] == 0


async def test_a_prack_names_the_invite_by_the_number_that_it_has_on_the_other_side() -> None:
    border = edge()
    contact = ("Contact", "<sip:alice@203.0.113.7>")
    response = await border.leave(invite("sip:x@sip.example", *INSIDE, contact, cseq="5"))
    assert border.outside.last.cseq.number == 1
    prack = alices(response, "PRACK", "6")
    prack.add("RAck", "9 5 INVITE")
    await border.leave(prack)
    assert (border.outside.last.cseq.number, border.outside.last.get("RAck")) == (2, "9 1 INVITE")


async def test_beyond_its_room_the_border_takes_no_dialog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.border.b2bua.B2BUA_DIALOGS", 1)
    border = edge()
    assert (await call(border))[1].status == 200
    refused = await border.leave(invite("sip:y@sip.example", ("Contact", "<sip:a@203.0.113.7>"), call_id="second"))
    assert refused.status >= 500 and border.ibcf.table_sizes()["dialogs"] == 1


async def test_a_call_from_outside_crosses_and_ends() -> None:
    border = edge()
    border.inside.answers = lambda request: request.response(
        200, to_tag="t9", headers=(("Contact", "<sip:alice@203.0.113.7>"), ("Record-Route", ROUTES[0]))
    )
    contact = ("Contact", "<sip:x@198.51.100.9>")
    request = from_partner("sip:alice@home1.net", contact, from_="<sip:x@sip.example>;tag=o1")
    response = await border.enter(request, plain())
    assert response.status == 200 and "scscf" not in response.to_bytes().decode()
    assert border.inside.last.all("Route") == ["<sip:home1.net;lr>"]
    bye = from_partner(
        (response.get("Contact") or "").strip("<>"), method="BYE", from_="<sip:x@sip.example>;tag=o1",
        to_=response.get("To") or "", cseq="2",
    )  # fmt: skip
    stolen = bye.copy()
    stolen.set("Call-ID", "another")
    assert (await border.enter(stolen, plain())).status == 481
    assert (await border.enter(bye, plain())).status == 200
    assert border.inside.last.uri == "sip:alice@203.0.113.7" and border.inside.last.all("Route") == [ROUTES[0]]
    assert border.ibcf.table_sizes() == {"calls": 0, "dialogs": 0}


async def test_each_of_several_who_answer_is_a_dialog_and_the_rest_go() -> None:
    border = edge()
    border.outside.early = lambda request: [request.response(180, to_tag=f"fork{n}") for n in range(3)]
    _out, response = await call(border)
    rung = {early.to.tag for early in border.early}
    assert len(rung) == 3 and not rung & {"fork0", "fork1", "fork2"} and response.to.tag not in rung
    assert border.ibcf.table_sizes()["dialogs"] == 4
    border.outside.answers = lambda request: request.response(486, to_tag="busy")
    border.outside.early = lambda request: [request.response(180, to_tag="fork9")]
    await border.leave(invite("sip:x@sip.example", call_id="call-2"))
    assert border.ibcf.table_sizes() == {"calls": 1, "dialogs": 4}


async def test_a_notify_before_the_answer_to_its_subscribe_finds_the_subscriber() -> None:
    border = edge()
    notified: list[int] = []

    async def notify(out: Request) -> None:
        request = from_partner(
            (out.get("Contact") or "").strip("<>"), ("Contact", "<sip:x@198.51.100.9>"),
            ("Subscription-State", "active"), ("Event", "presence"), method="NOTIFY",
            from_=f"{out.get('To')};tag=far", to_=out.get("From") or "", call_id=out.call_id,
        )  # fmt: skip
        notified.append((await border.enter(request, plain())).status)

    waiting: list[asyncio.Task[None]] = []

    def early(request: Request) -> list[Response]:
        waiting.append(asyncio.get_running_loop().create_task(notify(border.outside.last)))
        return []

    border.outside.early = early
    contact = ("Contact", "<sip:alice@203.0.113.7>")
    response = await border.leave(invite("sip:x@sip.example", contact, ("Event", "presence"), method="SUBSCRIBE"))
    await asyncio.gather(*waiting)
    assert notified == [200]
    assert border.inside.last.from_.tag == response.to.tag
    assert border.ibcf.table_sizes()["dialogs"] == 1


async def test_a_call_that_replaces_another_names_it_as_the_other_side_knows_it() -> None:
    border = edge()
    out, response = await call(border)
    known = ("Replaces", f"call-1;to-tag={response.to.tag};from-tag=f1;early-only")
    assert (await border.leave(invite("sip:x@sip.example", known, call_id="call-2"))).status == 200
    assert border.outside.last.get("Replaces") == f"{out.call_id};to-tag=far;from-tag={out.from_.tag};early-only"
    unknown = ("Replaces", "call-1;to-tag=guessed;from-tag=f1")
    assert (await border.leave(invite("sip:x@sip.example", unknown, call_id="call-3"))).status == 481


async def test_a_subscription_that_is_refused_leaves_nothing() -> None:
    border = edge()
    border.inside.answers = lambda request: request.response(404)
    event = ("Event", "presence")
    for to, status in (("sip:x@10.0.0.1", 404), ("sip:nobody@home1.net", 404)):
        request = from_partner(to, event, method="SUBSCRIBE", from_="<sip:x@sip.example>;tag=o1")
        assert (await border.enter(request, plain())).status == status
    assert (await border.leave(invite("sip:x@sip.example", event, method="SUBSCRIBE", hops="0"))).status == 483
    gc.collect()
    assert (border.ibcf.b2bua.waiting, border.ibcf.table_sizes()["dialogs"]) == (0, 0)


async def test_the_3gpp_profile_becomes_plain_sip() -> None:
    border = edge()
    request = invite(
        "tel:+49-30-1234", ("Supported", "precondition, timer, path"), ("Content-Type", "application/sdp"),
        ("Accept-Contact", "*;+g.3gpp.icsi-ref=x"), ("P-Early-Media", "supported"), ("Route", "<sip:sip.example;lr>"),
        body=SDP, to_="<tel:+49-30-1234>",
    )  # fmt: skip
    await border.leave(request)
    out = border.outside.last
    assert out.uri == "sip:+49301234@sip.example;user=phone"
    assert str(out.to.uri) == "sip:+49301234@sip.example;user=phone"
    assert out.get("Supported") == "timer"
    assert not out.has("Accept-Contact") and not out.has("P-Early-Media")
    assert b"qos" not in out.body and b"a=sendrecv" in out.body


async def test_a_late_ack_finds_its_invite_after_many_that_were_refused() -> None:
    """While the ACK to a 200 is lost on its way, re-INVITEs get 500 and come again (RFC 3261 14.2; seed 101)."""
    border = edge()
    _out, response = await call(border)
    border.outside.answers = lambda request: request.response(500)
    for number in range(2, 40):
        assert (await border.leave(alices(response, "INVITE", str(number)))).status == 500
    await border.acknowledge(alices(response, "ACK", "1"))
    assert border.outside.last.method == "ACK" and border.outside.last.cseq.number == 1
