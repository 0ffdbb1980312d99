"""What is made prints as what is read, for any value: messages, URIs, header values, SDP, streams."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.sip.errors import SipError
from redoubt.sip.framing import Ping, StreamFramer
from redoubt.sip.grammar import TOKEN, Params, quote
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.headers.via import Via
from redoubt.sip.message import Request, Response, parse_message
from redoubt.sip.names import canonical
from redoubt.sip.sdp import Address, Attribute, Bandwidth, Connection, Media, Origin, Session, parse_sdp
from redoubt.sip.uri import SipUri, TelUri, parse_uri

steady = settings(derandomize=True, deadline=None, max_examples=150)

tokens = st.text(TOKEN, min_size=1, max_size=12)
lower_tokens = tokens.map(str.lower)
line_text = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=30)
quotable = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=20)
hosts = st.one_of(
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
ports = st.none() | st.integers(0, 65535)
user_pieces = st.sampled_from([*"abzAZ09-_.!~*'()&=+$,;?/", "%20", "%4a", "%00"])
users = st.lists(user_pieces, min_size=1, max_size=10).map("".join)
uri_names = st.text("abcXYZ019-_.!", min_size=1, max_size=6)
uri_values = st.none() | st.text("abcXYZ[]/:&+$", min_size=1, max_size=6)
uri_params = st.lists(st.tuples(uri_names, uri_values), max_size=4).map(tuple)
passwords = st.none() | st.text("abc123&=+$,", max_size=6)
sip_uris = st.builds(
    SipUri, st.sampled_from(["sip", "sips"]), users, passwords, hosts, ports, uri_params,
    st.sampled_from(["", "a=b", "Subject=%20&x=y"]),
)  # fmt: skip
tel_uris = st.builds(TelUri, st.from_regex(r"\+[0-9][0-9.()-]{0,12}", fullmatch=True), uri_params)
values = st.one_of(st.none(), tokens, hosts, quotable.map(quote))
params: st.SearchStrategy[Params] = st.lists(st.tuples(lower_tokens, values), max_size=4).map(tuple)


@steady
@given(st.one_of(sip_uris, tel_uris))
def test_a_uri_prints_as_what_is_read(uri: SipUri | TelUri) -> None:
    assert parse_uri(str(uri)) == uri
    assert parse_uri(uri.aor).aor == uri.aor


@steady
@given(st.builds(NameAddr, st.none() | quotable, st.one_of(sip_uris, tel_uris), params))
def test_an_address_prints_as_what_is_read(address: NameAddr) -> None:
    assert NameAddr.parse(str(address)) == address


@steady
@given(st.builds(Via, st.sampled_from(["UDP", "TCP", "TLS", "X"]), hosts, ports, params))
def test_a_via_prints_as_what_is_read(via: Via) -> None:
    assert Via.parse(str(via)) == via


auth_params = st.lists(
    st.one_of(st.tuples(lower_tokens, quotable, st.just(True)), st.tuples(lower_tokens, tokens, st.just(False))),
    min_size=1, max_size=6, unique_by=lambda param: param[0],
).map(tuple)  # fmt: skip


@steady
@given(st.builds(Credentials, tokens, auth_params))
def test_credentials_print_as_what_is_read(credentials: Credentials) -> None:
    assert Credentials.parse(str(credentials)) == credentials


headers = st.lists(st.tuples(tokens.map("X-{}".format), line_text.map(lambda text: text.strip(" \t"))), max_size=6)
routing = [
    ("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>"), ("Call-ID", "x@y"),
]  # fmt: skip
requests = st.builds(
    lambda method, uri, more, body: Request(method, str(uri), [*routing, ("CSeq", f"1 {method}"), *more], body),
    tokens, sip_uris, headers, st.binary(max_size=50),
)  # fmt: skip
responses = st.builds(
    lambda status, reason, more, body: Response(status, reason, [*routing, ("CSeq", "1 INVITE"), *more], body),
    st.integers(100, 699), line_text, headers, st.binary(max_size=50),
)  # fmt: skip


def parts(message: Request | Response) -> tuple[object, ...]:
    start = (message.method, message.uri) if isinstance(message, Request) else (message.status, message.reason)
    return (*start, [(canonical(name), value) for name, value in message.headers], message.body)


@steady
@given(st.one_of(requests, responses))
def test_a_message_prints_as_what_is_read(message: Request | Response) -> None:
    assert parts(parse_message(message.to_bytes())) == parts(message)


@steady
@given(st.lists(st.one_of(requests, responses, st.none()), max_size=4), st.lists(st.integers(0, 600), max_size=8))
def test_a_stream_gives_what_was_put_in_however_it_is_cut(
    items: list[Request | Response | None], cuts: list[int]
) -> None:
    octets = b"".join([b"\r\n\r\n" if item is None else item.to_bytes() for item in items])
    edges = sorted({0, len(octets), *[cut for cut in cuts if cut < len(octets)]})
    framer = StreamFramer()
    found = [item for start, end in pairwise(edges) for item in framer.feed(octets[start:end])]
    assert [None if isinstance(item, Ping) else parts(item) for item in found] == [
        None if item is None else parts(item) for item in items
    ]


sdp_tokens = st.text("abcXYZ019-_", min_size=1, max_size=8)
digits = st.integers(0, 2**64).map(str)
addresses = st.one_of(
    st.ip_addresses(v=4).filter(lambda a: not a.is_multicast).map(lambda a: Address("IP4", str(a))),
    st.ip_addresses(v=6).filter(lambda a: not a.is_multicast).map(lambda a: Address("IP6", str(a))),
    st.builds(Address, st.sampled_from(["IP4", "IP6"]), st.just("host.example")),
)
connections = st.builds(Connection, addresses)
attributes = st.lists(st.builds(Attribute, sdp_tokens, st.none() | line_text.filter(bool)), max_size=4).map(tuple)
bandwidths = st.lists(st.builds(Bandwidth, sdp_tokens, st.integers(0, 10**6)), max_size=2).map(tuple)
media = st.builds(
    Media, sdp_tokens, st.integers(0, 65535), st.just("RTP/AVP"),
    st.lists(st.integers(0, 127).map(str), min_size=1, max_size=4).map(tuple), st.none() | st.integers(1, 9),
    st.none() | line_text, st.lists(connections, max_size=2).map(tuple), bandwidths, st.none(), attributes,
)  # fmt: skip
sessions = st.builds(
    Session, st.builds(Origin, sdp_tokens, digits.filter(lambda d: len(d) < 19), digits, addresses), line_text,
    connection=connections, bandwidths=bandwidths, attributes=attributes, media=st.lists(media, max_size=3).map(tuple),
)  # fmt: skip


@steady
@given(sessions)
def test_a_session_description_prints_as_what_is_read(session: Session) -> None:
    assert parse_sdp(session.to_bytes()) == session


@steady
@given(st.binary(max_size=200))
def test_any_octets_raise_nothing_but_sip_errors(octets: bytes) -> None:
    for read in (parse_message, StreamFramer().feed, parse_sdp):
        try:
            read(octets)
        except SipError:
            pass


@steady
@given(st.text(max_size=60))
def test_any_text_raises_nothing_but_sip_errors(text: str) -> None:
    for read in (parse_uri, NameAddr.parse, Via.parse, Credentials.parse):
        try:
            read(text)
        except SipError:
            pass
