"""Dialog state (RFC 3261 12), and descriptions (RFC 3264)."""

import pytest

from redoubt.phone.dialog import Dialog
from redoubt.phone.media import Direction, MediaSide
from redoubt.sip import sdp
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request, Response, parse_message

INVITE = (
    b"INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
    b"Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\n"
    b"From: <sip:a@x>;tag=A\r\nTo: <sip:b@x>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\nContact: <sip:a@192.0.2.1>\r\n\r\n"
)


def pair() -> tuple[Dialog, Dialog]:
    """The caller's and the callee's view of one dialog."""
    invite = parse_message(INVITE)
    assert isinstance(invite, Request)
    routes = tuple(("Record-Route", line) for line in invite.all("Record-Route"))
    response = invite.response(200, to_tag="B", headers=(*routes, ("Contact", "<sip:b@192.0.2.2>")))
    assert isinstance(response, Response)
    return Dialog.of_caller(invite, response), Dialog.of_callee(invite, "B", 100)


def test_caller_and_callee_go_the_same_way_in_opposite_directions() -> None:
    caller, callee = pair()
    assert [str(route.uri) for route in caller.route_set] == ["sip:p1;lr", "sip:p2;lr"]
    assert [str(route.uri) for route in callee.route_set] == ["sip:p2;lr", "sip:p1;lr"]
    assert (caller.target, callee.target) == ("sip:b@192.0.2.2", "sip:a@192.0.2.1")


def test_each_side_takes_the_requests_of_the_other_and_numbers_rise() -> None:
    caller, callee = pair()
    bye = caller.request("BYE")
    assert (bye.cseq.number, bye.uri) == (8, "sip:b@192.0.2.2")
    assert callee.belongs(bye)
    assert not caller.belongs(bye)
    callee.take(bye)
    with pytest.raises(SipError) as fault:
        callee.take(bye)
    assert fault.value.status == 500


def test_an_ack_repeats_the_number_of_its_invite_and_is_never_out_of_order() -> None:
    caller, callee = pair()
    ack = caller.request("ACK", 7)
    assert str(ack.cseq) == "7 ACK"
    callee.take(ack)
    assert caller.local_cseq == 7


def test_a_re_invite_moves_the_target() -> None:
    caller, callee = pair()
    request = caller.request("INVITE")
    request.set("Contact", "<sip:a@192.0.2.77>")
    callee.take(request)
    assert callee.target == "sip:a@192.0.2.77"


def test_a_strict_router_at_the_front_gets_the_request_uri() -> None:
    caller, _ = pair()
    caller.route_set = tuple(route for route in caller.route_set[1:])
    strict = caller.route_set[0].parse("<sip:strict.example>")
    caller.route_set = (strict, *caller.route_set)
    bye = caller.request("BYE")
    assert bye.uri == "sip:strict.example"
    assert bye.all("Route") == ["<sip:p2;lr>", "<sip:b@192.0.2.2>"]


def test_a_request_that_makes_a_dialog_needs_a_contact() -> None:
    invite = parse_message(INVITE)
    assert isinstance(invite, Request)
    invite.remove("Contact")
    with pytest.raises(SipError) as fault:
        Dialog.of_callee(invite, "B", 1)
    assert fault.value.status == 400


def test_hold_is_answered_with_recvonly_and_versions_rise() -> None:
    caller, callee = MediaSide("192.0.2.1", 4000, 1), MediaSide("2001:db8::1", 5000, 2)
    answer = sdp.parse_sdp(callee.answer(caller.offer(Direction.SENDONLY)))
    assert answer.direction_of(answer.media[0]) == "recvonly"
    assert answer.origin.address.family == "IP6"
    assert sdp.parse_sdp(caller.offer()).origin.version == "2"
    again = sdp.parse_sdp(caller.offer())
    assert again.direction_of(again.media[0]) == "sendrecv"


def test_streams_that_are_not_wanted_are_refused_and_keep_their_place() -> None:
    offer = (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        b"m=video 4002 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 0 8\r\n"
    )
    answer = sdp.parse_sdp(MediaSide("192.0.2.2", 5000, 2).answer(offer))
    assert [(media.kind, media.port, media.formats) for media in answer.media] == [
        ("video", 0, ("96",)),
        ("audio", 5000, ("8",)),
    ]


def test_no_common_format_is_488() -> None:
    offer = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    with pytest.raises(SipError) as fault:
        MediaSide("192.0.2.2", 5000, 2).answer(offer)
    assert fault.value.status == 488
