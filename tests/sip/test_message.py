"""Messages: headers in order, typed views that follow changes, responses, copies."""

import pytest

from redoubt.sip.errors import SipError
from redoubt.sip.fields import (
    CONTACT,
    FROM,
    MAX_FORWARDS,
    P_ASSERTED_IDENTITY,
    REQUIRE,
    ROUTE,
    SECURITY_CLIENT,
    SUPPORTED,
    TO,
    VIA,
)
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response, parse_message
from redoubt.sip.uri import parse_uri
from redoubt.sip.validate import check_request

from .texts import REGISTER, request


@pytest.fixture
def register() -> Request:
    message = parse_message(REGISTER)
    assert isinstance(message, Request)
    return message


def test_names_are_canonical_and_values_raw(register: Request) -> None:
    names = [name for name, _ in register.headers]
    assert names[:8] == ["Via", "Max-Forwards", "Route", "From", "To", "Call-ID", "CSeq", "Contact"]
    assert register.get("X-Unknown-Header") == "kept as it came"
    assert register.get("Supported") == "path, gruu, sec-agree"
    assert not register.has("Content-Length") and register.body == b"body"


def test_what_is_written_reads_the_same(register: Request) -> None:
    again = parse_message(register.to_bytes())
    assert again.headers == register.headers and again.body == register.body


def test_typed_views_read_lists_over_lines_and_commas(register: Request) -> None:
    assert register.every(SUPPORTED) == ("path", "gruu", "sec-agree")
    assert [str(route.uri) for route in register.every(ROUTE)] == [
        "sip:pcscf.home.example:5060;lr",
        "sip:other.home.example;lr",
    ]
    mechanisms = register.every(SECURITY_CLIENT)
    assert [(m.name, m.param("alg")) for m in mechanisms] == [
        ("ipsec-3gpp", "hmac-sha-1-96"),
        ("ipsec-3gpp", "null"),
    ]
    assert register.from_.display == 'Alice, of "A"' and register.from_.tag == "5f3a9c01"
    assert register.call_id == "7d1f0a3b4c5e6f@10.45.0.2" and register.cseq.number == 1


def test_an_absent_header_is_none_and_needing_it_is_a_400(register: Request) -> None:
    assert register.first(REQUIRE) is None and register.every(REQUIRE) == ()
    with pytest.raises(SipError) as refused:
        register.need(REQUIRE)
    assert refused.value.status == 400


def test_a_changed_header_is_read_anew(register: Request) -> None:
    assert register.first(MAX_FORWARDS) == 70
    register.set("Max-Forwards", "69")
    assert register.first(MAX_FORWARDS) == 69
    register.put(MAX_FORWARDS, 68)
    assert register.get("Max-Forwards") == "68" and register.first(MAX_FORWARDS) == 68
    register.remove("Max-Forwards")
    assert register.first(MAX_FORWARDS) is None


def test_setting_replaces_in_place_and_drops_the_others() -> None:
    message = parse_message(request("X-A: 1", "X-B: 2", "X-A: 3"))
    message.set("X-A", "4")
    assert message.headers[-2:] == [("X-A", "4"), ("X-B", "2")]
    message.set("X-C", "5")
    assert message.headers[-1] == ("X-C", "5")


def test_pushing_puts_vias_on_top_and_routes_after_them(register: Request) -> None:
    register.push("Via", "SIP/2.0/TCP p.example;branch=z9hG4bKnew")
    assert [via.host for via in register.every(VIA)] == ["p.example", "10.45.0.2"]
    register.push("Path", "<sip:term@p.example;lr>")
    assert register.headers[2][0] == "Path"
    register.push("Path", "<sip:term@q.example;lr>")
    assert [value for name, value in register.headers if name == "Path"] == [
        "<sip:term@q.example;lr>",
        "<sip:term@p.example;lr>",
    ]


def test_popping_takes_one_element_of_a_list_or_the_whole_line(register: Request) -> None:
    first = register.pop_first(ROUTE)
    assert first is not None and str(first.uri) == "sip:pcscf.home.example:5060;lr"
    assert register.all("Route") == ["<sip:other.home.example;lr>"]
    assert register.pop_first(ROUTE) is not None and register.pop_first(ROUTE) is None
    assert not register.has("Route")
    assert register.pop_first(VIA) is not None and not register.has("Via")


def test_putting_nothing_removes(register: Request) -> None:
    register.put(P_ASSERTED_IDENTITY, NameAddr(None, parse_uri("sip:a@b")), NameAddr("A", parse_uri("tel:+1")))
    assert register.all("P-Asserted-Identity") == ["<sip:a@b>", '"A" <tel:+1>']
    register.put(P_ASSERTED_IDENTITY)
    assert not register.has("P-Asserted-Identity")


def test_a_copy_changes_alone(register: Request) -> None:
    register.every(ROUTE)
    copy = register.copy()
    copy.pop_first(ROUTE)
    copy.uri = "sip:elsewhere.example"
    copy.add("X-New", "1")
    assert len(register.every(ROUTE)) == 2 and register.uri == "sip:home.example" and not register.has("X-New")
    assert str(copy.request_uri) == "sip:elsewhere.example"


def test_a_response_copies_what_rfc_3261_says(register: Request) -> None:
    register.push("Via", "SIP/2.0/UDP p;branch=z9hG4bK1")
    register.add("Record-Route", "<sip:p;lr>")
    response = register.response(401, to_tag="xyz", headers=(("WWW-Authenticate", 'Digest realm="r"'),))
    assert [name for name, _ in response.headers] == [
        "Via", "Via", "From", "To", "Call-ID", "CSeq", "WWW-Authenticate",
    ]  # fmt: skip
    assert response.reason == "Unauthorized" and response.to.tag == "xyz"
    assert isinstance(parse_message(response.to_bytes()), Response)


def test_a_response_keeps_the_tag_of_a_dialog() -> None:
    asked = parse_message(request().replace(b"To: <sip:b@home.example>", b"To: <sip:b@home.example>;tag=old"))
    assert isinstance(asked, Request)
    assert asked.response(200, to_tag="new").to.tag == "old"


def test_a_response_to_an_unreadable_to_returns_it_as_it_came() -> None:
    asked = parse_message(request().replace(b"To: <sip:b@home.example>", b"To: Bob, A <sip:b@home.example>"))
    assert isinstance(asked, Request)
    assert asked.response(400, to_tag="new").get("To") == "Bob, A <sip:b@home.example>"


def test_the_class_of_a_status_is_told() -> None:
    assert Response(183).is_provisional and not Response(183).is_final
    assert Response(204).is_success and Response(204).is_final
    assert not Response(404).is_success and Response(404).reason == "Not Found"


def test_a_line_end_in_a_value_of_our_own_is_a_bug_and_never_sent(register: Request) -> None:
    register.set("Subject", "x\r\nVia: SIP/2.0/UDP evil")
    with pytest.raises(ValueError, match="line end"):
        register.to_bytes()


def test_content_length_is_that_of_the_body_as_it_is(register: Request) -> None:
    register.body = "é".encode()
    assert register.to_bytes().endswith("Content-Length: 2\r\n\r\né".encode())


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Max-Forwards: 0", 483), ("Max-Forwards: 256", 400), ("Max-Forwards: 7 7", 400), ("Expires: x", 400),
        ("Contact: *", 400), ("Contact: <sip:a@b>;q=1.5", 400), ("Contact: <sip:a@b>;expires=-1", 400),
        ("Route: <sip:a@b;lr", 400), ("Route: <sip:a b>", 400), ("Via: SIP/2.0/UDP", 400), ("Via: HTTP/1.1 a", 400),
        ("Date: Fri, 01 Jan 2010 16:00:00 EST", 400), ("Supported: a,,b", 400), ("Content-Type: sdp", 400),
        ("Authorization: Digest", 400), ('Authorization: Digest a="1",a="2"', 400), ("RAck: 1 2", 400),
    ],
)  # fmt: skip
def test_the_edge_refuses_each_malformed_header(line: str, status: int) -> None:
    message = parse_message(request(line))
    assert isinstance(message, Request)
    with pytest.raises(SipError) as refused:
        check_request(message)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("mailto:a@b", 416), ("urn:service:sos", 0), ("tel:+1234", 0), ("sips:a@b", 0), ("nothing", 400),
        ("sip:a@b?x=y", 400), ("sip:a@b;method=BYE", 400), ("sip:", 400), ("sip:@b", 400),
    ],
)  # fmt: skip
def test_the_edge_knows_which_request_uris_it_can_route(uri: str, status: int) -> None:
    message = parse_message(request(uri=uri))
    assert isinstance(message, Request)
    if not status:
        check_request(message)
        return
    with pytest.raises(SipError) as refused:
        check_request(message)
    assert refused.value.status == status


def test_the_edge_leaves_the_last_hop_to_its_caller_if_told() -> None:
    message = parse_message(request("Max-Forwards: 0"))
    assert isinstance(message, Request)
    check_request(message, hops=False)


def test_a_common_register_passes_the_edge_and_stays_read(register: Request) -> None:
    check_request(register)
    contact = register.first(CONTACT)
    assert contact is register.every(CONTACT)[0] and register.first(TO) is not None
    assert register.copy().first(FROM) is register.first(FROM)


def test_a_star_contact_stands_alone_in_a_register() -> None:
    good = parse_message(request("Contact: *", "Expires: 0", method="REGISTER"))
    bad = parse_message(request("Contact: *, <sip:a@b>", method="REGISTER"))
    assert isinstance(good, Request) and isinstance(bad, Request)
    check_request(good)
    with pytest.raises(SipError):
        check_request(bad)
