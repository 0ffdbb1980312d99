"""What an agreement lets pass, and how much of it (TS 29.165; requirement rows 73, 74, 82, 98)."""

import asyncio

import pytest

from redoubt.config.interconnect import PartnerConfig
from redoubt.events import Refused
from redoubt.sip.message import Request, Response

from .edge import OTHER, Edge, from_partner, invite

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 203.0.113.7\r\ns=-\r\nc=IN IP4 203.0.113.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 0 8 101\r\n"
    b"a=rtpmap:96 EVS/16000\r\na=fmtp:96 br=5.9-24.4\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)
TYPE = ("Content-Type", "application/sdp")


def border(**agreement: object) -> Edge:
    return Edge(partners=(PartnerConfig(name="two", domains=(OTHER,), **agreement),))  # type: ignore[arg-type]


async def test_methods_beside_the_agreement_are_405_with_those_of_it_both_ways() -> None:
    edge = border(methods=("INVITE", "ACK", "BYE", "CANCEL"))
    answers = [
        await edge.enter(from_partner("sip:alice@home1.net", method="MESSAGE")),
        await edge.leave(invite("sip:zoe@home2.net", method="MESSAGE")),
    ]
    for answer in answers:
        assert (answer.status, answer.get("Allow")) == (405, "INVITE, ACK, BYE, CANCEL")
    assert not edge.inside.came and not edge.outside.came
    assert len([event for event in edge.events if isinstance(event, Refused)]) == 2


async def test_headers_that_no_standard_has_pass_when_the_agreement_lists_them() -> None:
    edge = border(headers=("X-Agreed",))
    told = (("X-Agreed", "1"), ("X-Route-Tag", "scscf1"), ("Subject", "hello"))
    for side in (edge.inside, edge.outside):
        side.answers = lambda request: request.response(200, to_tag="t", headers=told)
    came_back = await edge.leave(invite("sip:zoe@home2.net", *told))
    answer = await edge.enter(from_partner("sip:alice@home1.net", *told))
    for message in (edge.outside.last, edge.inside.last, answer, came_back):
        assert message.has("X-Agreed") and message.has("Subject") and not message.has("X-Route-Tag")


@pytest.mark.parametrize(("octets", "status"), [(100, 200), (101, 413)])
async def test_bodies_are_as_long_as_the_agreement_says(octets: int, status: int) -> None:
    edge = border(body_octets=100)
    text = ("Content-Type", "text/plain")
    assert (await edge.enter(from_partner("sip:alice@home1.net", text, body=b"x" * octets))).status == status
    edge.inside.answers = lambda request: _with_body(request, octets)
    answer = await edge.enter(from_partner("sip:alice@home1.net"))
    assert len(answer.body) == (octets if status == 200 else 0)


def _with_body(request: Request, octets: int) -> Response:
    response = request.response(200, to_tag="t", headers=(("Content-Type", "text/plain"),))
    response.body = b"x" * octets
    return response


async def test_a_body_of_no_kind_is_400() -> None:
    assert (await border().enter(from_partner("sip:alice@home1.net", body=b"what?"))).status == 400


@pytest.mark.parametrize("line", ["image 6000 udptl t38", "audio 6000 UDPTL t38", "image 6000 UDP/TLS/UDPTL T38"])
async def test_a_fax_passes_only_where_the_agreement_has_t38(line: str) -> None:
    """Beside a voice its stream is taken out; alone it is 488, after which callers go on with voice."""
    voice, fax = "m=audio 5000 RTP/AVP 8\r\n", f"m={line}\r\na=T38FaxVersion:0\r\n"
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    for codecs, both, alone in ((("pcma",), "0", 488), (("pcma", "t38"), "6000", 200), ((), "6000", 200)):
        edge = border(codecs=codecs)
        await edge.leave(invite("sip:zoe@home2.net", TYPE, body=(head + voice + fax).encode()))
        assert f"m={line.replace('6000', both)}\r\n" in edge.outside.last.body.decode()
        assert (await edge.enter(from_partner("sip:alice@home1.net", TYPE, body=(head + fax).encode()))).status == alone


async def test_codecs_beside_the_agreement_leave_an_offer_and_without_any_left_it_is_488() -> None:
    edge = border(codecs=("pcma", "amr"))
    assert (await edge.leave(invite("sip:zoe@home2.net", TYPE, body=SDP))).status == 200
    body = edge.outside.last.body.decode()
    assert "RTP/AVP 8 101\r\n" in body and "EVS" not in body and "fmtp:96" not in body and "telephone-event" in body
    edge = border(codecs=("amr",))
    assert (await edge.enter(from_partner("sip:alice@home1.net", TYPE, body=SDP))).status == 488
    part = b"--x\r\nContent-Type: application/sdp\r\n\r\n" + SDP + b"\r\n--x--\r\n"
    mixed = ("Content-Type", "multipart/mixed;boundary=x")
    assert (await edge.enter(from_partner("sip:alice@home1.net", mixed, body=part))).status == 488
    assert (await edge.enter(from_partner("sip:alice@home1.net", TYPE, body=b"v=0\r\nnonsense\r\n"))).status == 400
    assert not edge.inside.came


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("sip:+88112345@home1.net;user=phone", 403), ("tel:+881-12-345", 403), ("sip:%2B88112@home1.net", 403),
        ("tel:+88212", 200), ("sip:bob@bad.example", 403), ("sip:bob@a.bad.example", 403), ("sip:881@home1.net", 200),
    ],
)  # fmt: skip
async def test_targets_of_the_access_list_are_not_reached(to: str, status: int) -> None:
    edge = border(refuse=("+881", "bad.example"))
    assert (await edge.enter(from_partner(to))).status == status
    out = invite(to, ("Route", "<sip:home2.net;lr>"))
    assert (await edge.leave(out)).status == status


async def test_beyond_its_rate_a_partner_gets_503_and_calls_that_stand_the_longest_service() -> None:
    edge = border(requests_per_s=20)
    first = [await edge.enter(from_partner("sip:alice@home1.net", call_id=f"c{n}")) for n in range(30)]
    assert sum(answer.status == 200 for answer in first) < 25
    refused = first[-1]
    assert refused.status == 503 and 5 <= int(refused.get("Retry-After") or 0) <= 15
    dialog = from_partner("sip:alice@203.0.113.7", method="BYE", to_="<sip:alice@home1.net>;tag=t")
    assert (await edge.enter(dialog)).status == 481, "inside a dialog it is looked at still"
    assert (await edge.enter(from_partner("urn:service:sos"))).status != 503, "an emergency call is shed last"
    assert any("requests-per-s" in why for why in edge.refusals())
    await asyncio.sleep(0.2)
    assert (await edge.enter(from_partner("sip:alice@home1.net", call_id="later"))).status == 200


async def test_no_more_calls_than_agreed_stand_at_one_time_whoever_called() -> None:
    edge = border(sessions=2)
    assert (await edge.enter(from_partner("sip:alice@home1.net", call_id="in"))).status == 200
    assert (await edge.leave(invite("sip:zoe@home2.net", call_id="out"))).status == 200
    for answer in (
        await edge.enter(from_partner("sip:alice@home1.net", call_id="third")),
        await edge.leave(invite("sip:zoe@home2.net", call_id="fourth")),
    ):
        assert answer.status == 503 and answer.has("Retry-After")
    message = from_partner("sip:alice@home1.net", method="MESSAGE", call_id="fifth")
    assert (await edge.enter(message)).status == 200
    bye = invite("sip:zoe@203.0.113.9", method="BYE", to_="<sip:zoe@home2.net>;tag=t2", call_id="out")
    bye.push("Route", "<sip:two@ibcf.home1.net;lr>")
    assert (await edge.leave(bye)).status == 200
    assert edge.ibcf.table_sizes()["calls"] == 1
    edge.outside.answers = lambda request: request.response(486, to_tag="b")
    assert (await edge.leave(invite("sip:zoe@home2.net", call_id="busy"))).status == 486
    assert edge.ibcf.table_sizes()["calls"] == 1, "a call that was refused is none"
    again = from_partner("sip:alice@home1.net", call_id="in", cseq="2")
    edge.inside.answers = lambda request: request.response(486, to_tag="b")
    assert (await edge.enter(again)).status == 486
    assert edge.ibcf.table_sizes()["calls"] == 1, "the call that stands goes on, whatever another INVITE of it gets"


async def test_a_bye_that_must_be_authenticated_ends_no_call_yet() -> None:
    edge = border()
    await edge.leave(invite("sip:zoe@home2.net"))
    way = ("Route", "<sip:two@ibcf.home1.net;lr>")
    bye = invite("sip:zoe@203.0.113.9", way, method="BYE", to_="<sip:zoe@home2.net>;tag=t2")
    for status, left in ((407, 1), (200, 0)):
        edge.outside.answers = lambda request, status=status: request.response(status)  # type: ignore[misc]
        assert (await edge.leave(bye)).status == status
        assert edge.ibcf.table_sizes()["calls"] == left


async def test_a_call_that_is_not_heard_of_any_more_makes_room() -> None:
    edge = border(sessions=1)
    edge.outside.answers = lambda request: request.response(200, to_tag="t", headers=(("Session-Expires", "1800"),))
    await edge.leave(invite("sip:zoe@home2.net"))
    (call,) = edge.ibcf.rates._calls.values()
    loop = asyncio.get_running_loop()
    assert call.expires_at == pytest.approx(loop.time() + 3600, abs=5), "twice what its session timer says"
    edge.outside.answers = lambda request: request.response(481)
    way = ("Route", "<sip:two@ibcf.home1.net;lr>")
    update = invite("sip:zoe@203.0.113.9", way, method="UPDATE", to_="<sip:z@b>;tag=t")
    assert (await edge.leave(update)).status == 481
    assert edge.ibcf.table_sizes()["calls"] == 0


async def test_breadth_and_hops_of_a_partner_are_bounded() -> None:
    edge = border()
    await edge.enter(from_partner("sip:alice@home1.net", ("Max-Breadth", "100000"), hops="255"))
    assert edge.inside.last.get("Max-Breadth") == "60"
    assert int(edge.inside.last.get("Max-Forwards") or 0) < 70


async def test_a_redirection_to_the_partners_own_user_is_handed_on() -> None:
    edge = border()
    edge.outside.answers = lambda request: request.response(
        302,
        to_tag="r",
        headers=[
            ("Contact", f"<sip:{to}>")
            for to in ("yan@home2.net", "+881@home1.net", "yan@home2.net?Route=%3Csip:home1.net%3E")
        ],
    )
    answer = await edge.leave(invite("sip:zoe@home2.net"))
    assert (answer.status, answer.all("Contact")) == (302, ["<sip:yan@home2.net>"])
    assert any("redirects" in why for why in edge.refusals())


async def test_a_response_that_cannot_be_read_is_502_and_names_nothing() -> None:
    edge = border()

    def broken(request: Request) -> Response:
        response = request.response(200, to_tag="t", headers=(("X-Inner", "scscf1.home1.net"),))
        response.set("To", '"unclosed <sip:zoe@home2.net')
        return response

    edge.outside.answers = broken
    sent = invite("sip:zoe@home2.net")
    answer = await edge.leave(sent)
    assert (answer.status, answer.get("To"), answer.all("Via")) == (502, sent.get("To"), sent.all("Via"))


async def test_options_to_the_network_is_answered_by_the_border_as_the_agreement_says() -> None:
    edge = border(methods=("INVITE", "OPTIONS"))
    for target in ("sip:home1.net", "sip:ibcf.home1.net"):
        answer = await edge.enter(from_partner(target, method="OPTIONS", hops="0"))
        assert (answer.status, answer.get("Allow")) == (200, "INVITE, OPTIONS")
    assert not edge.inside.came
    await edge.enter(from_partner("sip:alice@home1.net", method="OPTIONS"))
    assert edge.inside.last.uri == "sip:alice@home1.net", "what a user's phone can do the phone says"
