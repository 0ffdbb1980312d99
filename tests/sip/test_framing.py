"""Requirement rows 91 and 93: streams, cut anywhere, give the same messages; doubtful framing ends the stream."""

from pathlib import Path

import pytest

from redoubt.sip.errors import SipError
from redoubt.sip.framing import PING, BrokenStream, Item, Ping, StreamFramer
from redoubt.sip.message import MalformedMessage, Request, parse_message

from .texts import REGISTER, request

TORTURE = sorted((Path(__file__).parents[1] / "vectors" / "sip-torture-rfc4475").glob("*.dat"))


def fed(*pieces: bytes) -> list[str]:
    """What comes out, as text; a broken stream as its status."""
    framer = StreamFramer()
    found: list[Item] = []
    for piece in pieces:
        try:
            found += framer.feed(piece)
        except BrokenStream as broken:
            found += broken.before
            return [*map(shown, found), str(broken.status)]
    return [shown(item) for item in found]


def shown(item: Item) -> str:
    if isinstance(item, MalformedMessage):
        return f"refused: {item.status}"
    return repr(item) if isinstance(item, Ping) else f"{item.headers!r} {item.body!r}"


@pytest.mark.parametrize("path", TORTURE, ids=lambda path: path.stem)
def test_a_torture_message_cut_at_every_octet_reads_as_it_does_whole(path: Path) -> None:
    octets = path.read_bytes() + request()
    whole = fed(octets)
    assert all(fed(octets[:at], octets[at:]) == whole for at in range(1, len(octets)))
    assert fed(*[octets[at : at + 1] for at in range(len(octets))]) == whole


def test_pipelined_messages_come_out_in_order() -> None:
    found = StreamFramer().feed(REGISTER + request() + request(body=b"\r\n\r\n"))
    assert [item.body for item in found if isinstance(item, Request)] == [b"body", b"", b"\r\n\r\n"]


def test_a_message_on_a_stream_is_the_same_as_in_a_datagram() -> None:
    (item,) = StreamFramer().feed(REGISTER)
    assert isinstance(item, Request)
    assert item.to_bytes() == parse_message(REGISTER).to_bytes()


def test_a_double_crlf_is_a_ping_and_a_single_one_is_nothing() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n") == [PING]
    assert framer.feed(b"\r\n") == []
    assert [type(item) for item in framer.feed(request() + b"\r\n\r\n" + request())] == [Request, Ping, Request]


def test_a_ping_cut_between_its_octets_is_a_ping() -> None:
    framer = StreamFramer()
    assert [framer.feed(octet) for octet in (b"\r", b"\n", b"\r", b"\n")] == [[], [], [], [PING]]


def test_content_length_is_required_on_a_stream() -> None:
    assert fed(request().replace(b"Content-Length: 0\r\n", b"")) == ["400"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 45"], ["l: 0"], ["Content-Length : 0"], ["Content-Length: 0, 45"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
    ],
)  # fmt: skip
def test_two_lengths_end_the_stream_so_that_nothing_is_smuggled(lines: list[str]) -> None:
    assert fed(request(*lines) + request()) == ["400"]


@pytest.mark.parametrize("length", [b"-1", b"+0", b"0 0", b"1e3", b"99999999999999999999"])
def test_a_length_that_is_none_ends_the_stream(length: bytes) -> None:
    assert fed(request().replace(b"Content-Length: 0", b"Content-Length: " + length)) == ["400"]


def test_a_body_that_is_too_long_is_refused_before_it_is_sent() -> None:
    assert fed(request().replace(b"Content-Length: 0", b"Content-Length: 65537")) == ["413"]


def test_good_messages_before_a_broken_one_are_not_lost_and_nothing_follows_it() -> None:
    framer = StreamFramer()
    with pytest.raises(BrokenStream) as broken:
        framer.feed(REGISTER + b"what is this\r\n\r\n" + request())
    assert len(broken.value.before) == 1
    assert framer.feed(request()) == []


def test_a_broken_request_can_be_answered() -> None:
    with pytest.raises(SipError) as broken:
        StreamFramer().feed(request("Content-Length: 7"))
    assert isinstance(broken.value, BrokenStream) and broken.value.response_to is not None


@pytest.mark.parametrize(
    ("good", "bad", "status"),
    [
        (b"CSeq: ", b"CSeq: x", 400),
        (b"SIP/2.0\r\n", b"SIP/3.0\r\n", 505),
        (b"Via: ", b"Via: \r\nX: ", 400),
        (b"Call-ID: ", b"Call-ID: a\r\nCall-ID: ", 400),
        (b"To: ", b"X: ", 400),
    ],
)
def test_a_message_that_is_malformed_within_good_framing_costs_itself_only(
    good: bytes, bad: bytes, status: int
) -> None:
    octets = request(body=b"a body")
    refused = octets.replace(good, bad, 1)
    assert refused != octets
    whole = fed(refused + octets)
    assert whole == [f"refused: {status}", *fed(octets)]
    assert fed(*[(refused + octets)[at : at + 1] for at in range(len(refused + octets))]) == whole


@pytest.mark.parametrize(
    "doubt",
    ["l: 0", "Content-Length: 0", "Content-Length : 0", "Content-Length: 4\r\n 5", "no colon", "X: \0", "X: a\nb"],
)
def test_a_malformed_message_whose_framing_is_in_doubt_ends_the_stream(doubt: str) -> None:
    refused = request(doubt).replace(b"CSeq: ", b"CSeq: x")
    assert fed(refused + request()) == ["400"]


def test_a_stream_knows_whether_a_message_has_begun() -> None:
    framer = StreamFramer()
    assert framer.is_idle
    framer.feed(REGISTER[:50])
    assert not framer.is_idle
    framer.feed(REGISTER[50:-2])
    assert not framer.is_idle
    framer.feed(REGISTER[-2:])
    assert framer.is_idle
