"""Requirement rows 94 and 95: one below, at and one above each bound; and what two nodes might read differently."""

import pytest

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.fields import SUPPORTED
from redoubt.sip.framing import StreamFramer
from redoubt.sip.headers.subscription import ContentType
from redoubt.sip.message import MalformedMessage, parse_message
from redoubt.sip.multipart import split_body
from redoubt.sip.uri import parse_uri

from .texts import REGISTER, request


def status(octets: bytes) -> int:
    try:
        parse_message(octets)
    except SipError as fault:
        return fault.status
    return 200


def statuses(make: object, bound: int) -> list[int]:
    assert callable(make)
    return [status(make(bound - 1)), status(make(bound)), status(make(bound + 1))]


def test_a_header_line_may_have_8_kilobytes() -> None:
    def line(octets: int) -> bytes:
        return request("Subject: " + "x" * (octets - len("Subject: ")))

    assert statuses(line, limits.SIP_LINE_OCTETS) == [200, 200, 400]


def test_a_header_line_is_measured_in_octets_and_after_unfolding() -> None:
    assert status(request("Subject: " + "é" * 4090)) == 200
    assert status(request("Subject: " + "é" * 4092)) == 400
    assert status(request("Subject: x", *[" " + "x" * 1000] * 9)) == 400


def test_a_start_line_may_have_8_kilobytes() -> None:
    def line(octets: int) -> bytes:
        return request(uri="sip:" + "x" * (octets - len("OPTIONS sip: SIP/2.0")))

    assert statuses(line, limits.SIP_LINE_OCTETS) == [200, 200, 414]


def test_a_header_section_may_have_64_kilobytes() -> None:
    bare = len(request()) - 4

    def section(octets: int) -> bytes:
        whole, rest = divmod(octets - bare, 1002)
        return request(*["X-A: " + "x" * 995] * (whole - 1), "X-A: " + "x" * (995 + rest))

    assert len(section(5000)) == 5004
    assert statuses(section, limits.SIP_HEADER_SECTION_OCTETS) == [200, 200, 513]


def test_a_message_may_have_256_header_lines() -> None:
    assert statuses(lambda n: request(*["X-A: 1"] * (n - 6)), limits.SIP_HEADER_LINES) == [200, 200, 400]


def test_a_body_may_have_64_kilobytes() -> None:
    assert statuses(lambda n: request(body=b"x" * n), limits.SIP_BODY_OCTETS) == [200, 200, 413]


def test_a_uri_may_have_64_parameters() -> None:
    bound = limits.SIP_URI_PARAMETERS
    parse_uri("sip:a" + ";p" * (bound - 1))
    parse_uri("sip:a" + ";p" * bound)
    with pytest.raises(SipError) as refused:
        parse_uri("sip:a" + ";p" * (bound + 1))
    assert refused.value.status == 414


def nested(depth: int) -> bytes:
    body = b"inside"
    kind = b"text/plain"
    for level in range(depth):
        mark = b"b%d" % level
        body = b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n--%s--\r\n" % (mark, kind, body, mark)
        kind = b"multipart/mixed;boundary=" + mark
    return kind + b"\0" + body


def test_multipart_bodies_may_be_nested_four_deep() -> None:
    for depth in (limits.MULTIPART_DEPTH - 1, limits.MULTIPART_DEPTH):
        kind, _, body = nested(depth).partition(b"\0")
        part = split_body(ContentType.parse(kind.decode()), body)[0]
        for _ in range(depth - 1):
            (part,) = part.parts
        assert part.body == b"inside" and part.content_type.media_type == "text/plain"
    kind, _, body = nested(limits.MULTIPART_DEPTH + 1).partition(b"\0")
    with pytest.raises(SipError) as refused:
        split_body(ContentType.parse(kind.decode()), body)
    assert refused.value.status == 400


def test_the_parts_of_a_multipart_body_keep_their_headers_and_order() -> None:
    body = (
        b"preamble\r\n--x-1\r\nContent-Type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\n\r\n"
        b"--x-1  \r\n\r\nplain\r\n--x-1--\r\nepilogue"
    )
    one, two = split_body(ContentType.parse('multipart/mixed;boundary="x-1"'), body)
    assert one.body == b"v=0\r\n" and dict(one.headers)["Content-Disposition"] == "session"
    assert two.body == b"plain" and two.content_type.media_type == "text/plain"


def test_a_list_may_have_256_elements() -> None:
    def elements(count: int) -> int:
        try:
            return len(parse_message(request("Supported: " + ",".join(["a"] * count))).every(SUPPORTED))
        except SipError as fault:
            return fault.status

    bound = limits.SIP_LIST_ELEMENTS
    assert [elements(bound - 1), elements(bound), elements(bound + 1)] == [bound - 1, bound, 400]


@pytest.mark.parametrize(
    "line",
    [
        "Call-ID: c1", "i: c2", "CSeq: 1 OPTIONS", "From: <sip:a@home.example>;tag=1", "t: <sip:x@home.example>",
        "Content-Length: 0", "Content-Length: 5", "l: 0",
    ],
)  # fmt: skip
def test_a_second_header_of_a_kind_that_occurs_once_is_refused(line: str) -> None:
    assert status(request(line)) == 400


@pytest.mark.parametrize("name", ["Max-Forwards", "Expires", "Event", "Content-Type", "P-Charging-Vector"])
def test_repeated_single_headers_are_refused_even_if_equal(name: str) -> None:
    assert status(request(f"{name}: 1")) == 200
    assert status(request(f"{name}: 1", f"{name.lower()} : 1")) == 400


@pytest.mark.parametrize("octets", [b"\0", b"\r", b"\n", b"a\nVia: x", b"a\rVia: x"])
def test_nul_and_bare_line_ends_are_refused(octets: bytes) -> None:
    assert status(request("Subject: " + octets.decode())) == 400


def test_a_folded_header_reads_the_same_as_an_unfolded_one() -> None:
    folded = parse_message(request("Supported: path,", "\t gruu", " ,outbound"))
    assert folded.get("Supported") == "path, gruu ,outbound"


def test_a_folded_start_line_is_refused() -> None:
    assert status(request().replace(b"\r\n", b"\r\n folded\r\n", 1)) == 400


@pytest.mark.parametrize("length", ["-1", "+4", "4 4", "4,4", "0x4", "", "٤", "9" * 40, "5"])
def test_a_content_length_that_lies_is_refused(length: str) -> None:
    octets = REGISTER.replace(b"Content-Length: 4", b"Content-Length: " + length.encode())
    assert status(octets) == 400


def test_octets_that_are_no_utf_8_survive() -> None:
    octets = request().replace(b"Call-ID", b"Subject: \xff\xfe\r\nCall-ID")
    assert b"Subject: \xff\xfe\r\n" in parse_message(octets).to_bytes()


@pytest.mark.parametrize(
    "start",
    [
        b"OPTIONS  sip:a SIP/2.0", b"OPTIONS sip:a", b"OPTIONS sip:a SIP/2.0 ", b" OPTIONS sip:a SIP/2.0", b"",
        b"OPT\xc3\xa9 sip:a SIP/2.0", b"SIP/2.0 20 OK", b"SIP/2.0 0200 OK", b"SIP/2.0 700 OK", b"SIP/2.0 abc OK",
    ],
)  # fmt: skip
def test_a_malformed_start_line_is_refused(start: bytes) -> None:
    assert status(start + request()[request().index(b"\r\n") :]) == 400


def test_another_version_is_answered_505() -> None:
    assert status(request().replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1)) == 505


def test_an_ack_is_never_answered() -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse_message(request("Content-Length: 7", method="ACK"))
    assert refused.value.response_to is None


def test_the_head_of_a_stream_does_not_grow_past_its_bound() -> None:
    framer = StreamFramer()
    with pytest.raises(MalformedMessage) as refused:
        for _ in range(100):
            framer.feed(b"X-A: " + b"x" * 1000 + b"\r\n")
    assert refused.value.status == 513
