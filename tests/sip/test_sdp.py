"""Requirement row 100: session descriptions are read strictly, written back line for line, and bounded."""

import pytest

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.sdp import Connection, parse_sdp

SESSION = b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
FULL = (
    b"v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call to John Smith\r\ni=SDP Offer #1\r\n"
    b"u=http://www.jdoe.example.com/home.html\r\ne=Jane Doe <jane@jdoe.example.com>\r\np=+1 617 555-6011\r\n"
    b"c=IN IP4 198.51.100.1\r\nb=AS:49\r\nt=0 0\r\nr=7d 1h 0 25h\r\nt=1 2\r\nz=0 -1h\r\na=recvonly\r\n"
    b"m=audio 49170/2 RTP/AVP 0 96\r\ni=sound\r\nc=IN IP4 233.252.0.1/127/3\r\nb=RS:0\r\nb=RR:0\r\n"
    b"a=rtpmap:96 AMR-WB/16000/1\r\na=fmtp:96 mode-set=0,1\r\na=ptime:20\r\n"
    b"m=video 0 RTP/SAVPF 99\r\nc=IN IP6 ff15::101/3\r\nc=IN IP6 2001:db8::2\r\n"
    b"a=sendonly\r\na=rtpmap:99 h263-1998/90000\r\n"
    b"m=message 7394 TCP/MSRP *\r\n"
)


def refused(octets: bytes) -> int:
    with pytest.raises(SipError) as fault:
        parse_sdp(octets)
    return fault.value.status


def test_a_full_description_is_written_back_line_for_line() -> None:
    assert parse_sdp(FULL).to_bytes() == FULL


def test_the_parts_of_a_description_are_told() -> None:
    session = parse_sdp(FULL)
    audio, video, message = session.media
    assert (audio.kind, audio.port, audio.count) == ("audio", 49170, 2)
    assert (audio.proto, audio.formats) == ("RTP/AVP", ("0", "96"))
    assert audio.rtpmaps[96].encoding == "AMR-WB" and audio.rtpmaps[96].clock_rate == 16000
    assert audio.attribute("ptime") == "20" and audio.attribute("none") is None
    assert [session.direction_of(media) for media in session.media] == ["recvonly", "sendonly", "recvonly"]
    group = session.connection_of(audio)
    assert group is not None and (group.ttl, group.count) == (127, 3)
    assert session.connection_of(message) == session.connection
    assert [str(c.address.ip) for c in video.connections] == ["ff15::101", "2001:db8::2"]
    assert session.attribute("recvonly") == "" and session.origin.version == "3724394405"


def test_direction_is_sendrecv_unless_told() -> None:
    session = parse_sdp(SESSION + b"m=audio 1 RTP/AVP 0\r\n")
    assert session.direction_of(session.media[0]) == "sendrecv"


def test_line_feeds_alone_are_taken() -> None:
    assert parse_sdp(FULL.replace(b"\r\n", b"\n")).to_bytes() == FULL


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "host.example"])
def test_addresses_that_a_policy_must_judge_are_read(host: str) -> None:
    ip = Connection.parse(f"IN IP4 {host}").address.ip
    assert (ip is None) == (host == "host.example")


@pytest.mark.parametrize(
    "text",
    [
        "IN IP4 2001:db8::1", "IN IP6 192.0.2.1", "IN IP5 192.0.2.1", "ATM IP4 192.0.2.1", "IN IP4 192.0.2.256",
        "IN IP4 192.0.2", "IN IP4  192.0.2.1", "IN IP4", "IN IP4 ", "IN IP4 192.0.2.1/127", "IN IP4 233.252.0.1",
        "IN IP4 233.252.0.1/1/2/3", "IN IP4 233.252.0.1/256", "IN IP6 ff15::1/1/1", "IN IP4 a_b", "IN IP4 192.0.2.1 x",
    ],
)  # fmt: skip
def test_a_connection_that_does_not_fit_its_family_is_refused(text: str) -> None:
    assert refused(SESSION.replace(b"IN IP4 192.0.2.1\r\nt=", text.encode() + b"\r\nt=")) == 400


@pytest.mark.parametrize(
    "line",
    [
        "m=audio 65536 RTP/AVP 0", "m=audio -1 RTP/AVP 0", "m=audio x RTP/AVP 0", "m=audio 1 RTP/AVP", "m=audio 1  0",
        "m=audio 1 RTP/AVP 128", "m=audio 1 RTP/AVP 0  1", "m=au dio 1 RTP/AVP 0", "m=audio 1/ RTP/AVP 0",
        "m=audio 1 RTP/AVP pcmu", "a=", "a=:x", "a=x:", "b=49", "b=AS:x", "t=0 0", "x=1", "M=audio 1 RTP/AVP 0", "v=0",
        " a=x", "a", "", "i=late", "s=again",
    ],
)  # fmt: skip
def test_a_malformed_or_misplaced_line_is_refused(line: str) -> None:
    known_good = SESSION + b"a=x\r\n"
    parse_sdp(known_good)
    if line != "t=0 0":
        assert refused(known_good + line.encode() + b"\r\n") == 400
    assert refused(known_good + b"m=audio 1 RTP/AVP 0\r\n" + line.encode() + b"\r\na=y\r\nt=0 0\r\n") == 400


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"\r\n", b"v=0\r\n", SESSION.replace(b"v=0", b"v=1"), SESSION.replace(b"t=0 0\r\n", b""),
        SESSION.replace(b"s=-\r\n", b""), SESSION.replace(b"t=0 0", b"t=0"), SESSION.replace(b"- 1 2", b"- 1"),
        SESSION.replace(b"- 1 2", b"- a 2"), SESSION.replace(b"s=-", b"s=-\0"), SESSION.replace(b"s=-", b"s=a\rb"),
        SESSION.replace(b"c=IN IP4 192.0.2.1\r\n", b"") + b"m=audio 1 RTP/AVP 0\r\n", SESSION + SESSION,
    ],
)  # fmt: skip
def test_a_description_that_lacks_what_it_must_have_is_refused(octets: bytes) -> None:
    assert refused(octets) == 400


def test_the_counts_of_a_description_are_bounded() -> None:
    media = b"m=audio 1 RTP/AVP 0\r\n"
    assert len(parse_sdp(SESSION + media * limits.SDP_MEDIA).media) == limits.SDP_MEDIA
    assert refused(SESSION + media * (limits.SDP_MEDIA + 1)) == 413
    assert refused(SESSION + media * 1000) == 413
    assert refused(SESSION + b"a=x\r\n" * limits.SDP_LINES) == 413
    assert refused(SESSION + b"a=" + b"x" * limits.SDP_OCTETS) == 413
    assert refused(SESSION + media + b"a=x\r\n" * limits.SDP_ATTRIBUTES_PER_MEDIA) == 413
    formats = b" ".join([b"1"] * (limits.SDP_FORMATS + 1))
    assert refused(SESSION + b"m=audio 1 RTP/AVP " + formats + b"\r\n") == 413
