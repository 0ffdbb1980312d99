"""Every message of RFC 4475 and RFC 5118 that is at hand, with what its clause expects; and what happens to mutants."""

import json
import random
from pathlib import Path

import pytest

from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTACT, ROUTE, TO, VIA
from redoubt.sip.framing import StreamFramer
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.subscription import ContentType
from redoubt.sip.message import MalformedMessage, Request, Response, parse_message
from redoubt.sip.multipart import split_body
from redoubt.sip.sdp import parse_sdp
from redoubt.sip.uri import SipUri
from redoubt.sip.validate import check_request

from .texts import request as plain_request

VECTORS = Path(__file__).parents[1] / "vectors"
RFC4475 = VECTORS / "sip-torture-rfc4475"
RFC5118 = VECTORS / "sip-torture-rfc5118"

# What parse_message, then check_request of a request, answer: 0 accepts.
EXPECTED = {
    "wsinv": 0,  # 3.1.1.1 a short tortuous INVITE
    "escnull": 0,  # 3.1.1.4
    "esc02": 0,  # 3.1.1.5
    "lwsdisp": 0,  # 3.1.1.6
    "dblreq": 0,  # 3.1.1.8 the rest of the datagram is dropped
    "semiuri": 0,  # 3.1.1.9
    "unreason": 0,  # 3.1.1.12
    "noreason": 0,  # 3.1.1.13
    "badinv01": 400,  # 3.1.2.1
    "clerr": 400,  # 3.1.2.2
    "ncl": 400,  # 3.1.2.3
    "scalar02": 400,  # 3.1.2.4
    "ltgtruri": 400,  # 3.1.2.7
    "lwsruri": 400,  # 3.1.2.8
    "escruri": 400,  # 3.1.2.11
    "baddate": 400,  # 3.1.2.12
    "regbadct": 400,  # 3.1.2.13
    "badaspec": 400,  # 3.1.2.14
    "baddn": 400,  # 3.1.2.15
    "mismatch02": 400,  # 3.1.2.18
    "badbranch": 400,  # 3.2.1
    "insuf": 400,  # 3.3.1
    "unkscm": 416,  # 3.3.2
    "novelsc": 416,  # 3.3.3
    "unksm2": 0,  # 3.3.4 the registrar answers 404 or the like
    "bext01": 0,  # 3.3.5 the element answers 420
    "multi01": 400,  # 3.3.8
    "mcl01": 400,  # 3.3.9
    "bcast": 0,  # 3.3.10 a response: whoever gets it drops it
    "zeromf": 483,  # 3.3.11
    "cparam01": 0,  # 3.3.12
    "cparam02": 0,  # 3.3.13
    "inv2543": 0,  # 3.4.1
}


def taken(octets: bytes) -> Request | Response:
    message = parse_message(octets)
    if isinstance(message, Request):
        check_request(message)
    return message


def rfc5118(name: str) -> bytes:
    """With the line ends of SIP: the files have line feeds alone, and some end without the empty line."""
    head, _, body = (RFC5118 / f"{name}.dat").read_bytes().partition(b"\n\n")
    return head.strip(b"\n").replace(b"\n", b"\r\n") + b"\r\n\r\n" + body.replace(b"\n", b"\r\n")


def parts(message: Request | Response) -> tuple[object, ...]:
    start = (message.method, message.uri) if isinstance(message, Request) else (message.status, message.reason)
    return (*start, message.headers, message.body)


def assert_survives(message: Request | Response) -> None:
    assert parts(parse_message(message.to_bytes())) == parts(message)


def test_the_table_names_every_vector() -> None:
    assert {path.stem for path in RFC4475.glob("*.dat")} == EXPECTED.keys()
    assert len(json.loads((RFC4475 / "manifest.json").read_text())["files"]) == len(EXPECTED)


@pytest.mark.parametrize(("name", "status"), EXPECTED.items())
def test_each_message_of_rfc_4475_is_taken_or_refused_as_its_clause_says(name: str, status: int) -> None:
    octets = (RFC4475 / f"{name}.dat").read_bytes()
    if not status:
        assert_survives(taken(octets))
        return
    with pytest.raises(SipError) as refused:
        taken(octets)
    assert refused.value.status == status


@pytest.mark.parametrize("name", ["clerr", "ncl", "mismatch02", "insuf", "multi01", "mcl01", "lwsruri", "scalar02"])
def test_a_malformed_request_can_still_be_answered(name: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse_message((RFC4475 / f"{name}.dat").read_bytes())
    asked = refused.value.response_to
    assert asked is not None
    answer = asked.response(refused.value.status, to_tag="x")
    assert answer.get("Via") is not None and answer.to_bytes().startswith(b"SIP/2.0 400 ")


@pytest.mark.parametrize("name", ["CSeq", "From", "To", "Call-ID"])
@pytest.mark.parametrize("change", ["missing", "twice", "unreadable"])
def test_the_answer_to_a_malformed_request_can_be_read_itself(name: str, change: str) -> None:
    octets = plain_request()
    line = next(line for line in octets.split(b"\r\n") if line.startswith(name.encode() + b":")) + b"\r\n"
    changed = {"missing": b"", "twice": line + line, "unreadable": name.encode() + b": \xff<;\r\n"}[change]
    malformed = octets.replace(line, changed, 1)
    try:
        asked = parse_message(malformed)
    except MalformedMessage as refused:
        assert refused.response_to is not None
        asked = refused.response_to
    assert isinstance(asked, Request)
    answer = parse_message(asked.response(400, to_tag="x").to_bytes())
    assert isinstance(answer, Response) and answer.status == 400
    assert answer.cseq.method == "OPTIONS" and len(answer.all(name)) == 1


def test_the_tortuous_invite_is_read_as_its_author_meant() -> None:
    request = parse_message((RFC4475 / "wsinv.dat").read_bytes())
    assert isinstance(request, Request)
    assert request.to.tag == "1918181833n" and request.from_.tag == "98asjd8"
    assert request.from_.display == 'J Rosenberg \\"'
    assert [(v.transport, v.host, v.branch) for v in request.every(VIA)] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    contact = request.need(CONTACT)
    assert isinstance(contact, NameAddr) and contact.display == 'Quoted string ""'
    assert (contact.q, contact.param("newparam"), contact.param("secondparam")) == (0.33, "newvalue", "")
    assert request.cseq.number == 9 and request.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    route = request.need(ROUTE).uri
    assert isinstance(route, SipUri) and route.has("unknown-no-value") and route.param("lr") == ""
    assert request.get("NewFangledHeader") == "newfangled value continued newfangled value"


def test_what_follows_content_length_in_a_datagram_is_dropped() -> None:
    assert parse_message((RFC4475 / "dblreq.dat").read_bytes()).body == b""


def test_semicolons_in_a_user_part_belong_to_it() -> None:
    request = parse_message((RFC4475 / "semiuri.dat").read_bytes())
    assert isinstance(request, Request)
    assert isinstance(request.request_uri, SipUri) and request.request_uri.user == "user;par=u%40example.net"


def test_an_escaped_nul_stays_escaped_and_distinct() -> None:
    uri = parse_message((RFC4475 / "escnull.dat").read_bytes()).need(TO).uri
    assert isinstance(uri, SipUri) and uri.aor == "sip:null-%00-null@example.com"


@pytest.mark.parametrize("path", sorted(RFC5118.glob("*.dat")), ids=lambda path: path.stem)
def test_every_message_of_rfc_5118_at_hand_is_taken(path: Path) -> None:
    message = taken(rfc5118(path.stem))
    assert_survives(message)
    if message.get("Content-Type") == "application/sdp":
        parse_sdp(message.body)


def test_an_ipv6_address_and_its_port_are_told_apart() -> None:
    ambiguous = parse_message(rfc5118("port-ambiguous"))
    clear = parse_message(rfc5118("port-unambiguous"))
    assert isinstance(ambiguous, Request) and isinstance(clear, Request)
    one, other = ambiguous.request_uri, clear.request_uri
    assert isinstance(one, SipUri) and (one.address, one.port) == ("2001:db8::10:5070", None)
    assert isinstance(other, SipUri) and (other.address, other.port) == ("2001:db8::10", 5070)


def test_three_colons_are_read_and_never_written() -> None:
    request = parse_message(rfc5118("ipv6-bug-abnf-3-colons"))
    assert isinstance(request, Request)
    assert str(request.request_uri) == "sip:user@[2001:db8::192.0.2.1]"


def test_received_with_and_without_brackets_is_one_address() -> None:
    via = parse_message(rfc5118("via-received-param-with-delim")).need(VIA)
    assert via.received == "2001:db8::9:255"
    assert via.at_source("2001:db8::9:255", None).received == "2001:db8::9:255"


# Printed so in the RFC, and wrong there: what makes each one no message.
MISPRINTS = {
    "RFC3325-2": "credentials elided",
    "RFC3325-5": "credentials elided",
    "RFC3327-10": "Request-URI without scheme",
    "RFC3327-11": "Request-URI without scheme",
    "RFC5626-1": "two semicolons in Contact",
    "RFC7315-2": "user in a Via",
}


def example_heads() -> list[tuple[str, bytes]]:
    """Heads without what the RFC elides: `. . .` for headers, `...` for a length, the Vias of some."""
    heads = []
    for vector in json.loads((VECTORS / "sip-examples" / "rfc-example-heads.json").read_text())["vectors"]:
        head = vector["head"].replace("\r\n . . .", "").replace("Content-Length: ...", "Content-Length: 0")
        if "\r\nVia:" in head:
            heads.append((vector["id"], head.encode() + b"x" * (vector["content_length"] or 0)))
    return heads


def test_all_example_heads_of_the_rfcs_are_read_and_survive_but_for_the_misprints() -> None:
    heads = example_heads()
    assert len(heads) > 340
    refused = set()
    for name, octets in heads:
        try:
            assert_survives(taken(octets))
        except SipError:
            refused.add(name)
    assert refused == MISPRINTS.keys()


def everything(octets: bytes) -> None:
    """All that this node might read of a message."""
    message = parse_message(octets)
    assert_survives(message)
    if isinstance(message, Request):
        check_request(message)
        str(message.request_uri)
        message.response(400, to_tag="t").to_bytes()
    parse_sdp(message.body)


def test_mutants_of_torture_messages_raise_nothing_but_sip_errors() -> None:
    source = random.Random(4475)
    seeds = [path.read_bytes() for path in sorted(RFC4475.glob("*.dat")) + sorted(RFC5118.glob("*.dat"))]
    pieces = [*map(bytes, zip(b';,"<>%\\\0\xff:[@= ')), b"%0", b"\r\n", b"\r\n "]
    for _ in range(4000):
        octets = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, 4)):
            at = source.randrange(len(octets))
            octets[at : at + source.choice((0, 0, 1, 5))] = source.choice(pieces)
        try:
            everything(bytes(octets))
        except SipError:
            pass
        try:
            StreamFramer().feed(bytes(octets))
        except SipError:
            pass


def test_mutants_of_multipart_bodies_raise_nothing_but_sip_errors() -> None:
    source = random.Random(2046)
    body = b"--b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n"
    for _ in range(1000):
        octets = bytearray(body)
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(octets))
            octets[at : at + source.randint(0, 3)] = source.choice((b"", b"--", b"\r\n", b"b", b"\0"))
        try:
            split_body(ContentType.parse("multipart/mixed;boundary=b"), bytes(octets))
        except SipError:
            pass
