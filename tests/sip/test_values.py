"""URIs and typed header values: what they say, how they print, which texts are refused."""

from typing import Any

import pytest

from redoubt.sip import fields
from redoubt.sip.errors import SipError
from redoubt.sip.fields import Field
from redoubt.sip.grammar import quoted_end, split_list, unquote
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.headers.ims import ChargingVector, Privacy
from redoubt.sip.headers.via import Via
from redoubt.sip.uri import SipUri, parse_uri


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:home.example", "sips:a@b:5061", "sip:a:secret@b", "sip:+1-2(3)@b;user=phone", "sip:[2001:db8::1]:5060;lr",
        "sip:a;x=y?z@b", "sip:a%20b@c;p=%41;lr?Subject=x&Route=%3Csip:a%3E", "tel:+1-201-555-0123;ext=7",
        "tel:7042;phone-context=example.com", "urn:service:sos.fire", "mailto:a@b?subject=c",
    ],
)  # fmt: skip
def test_a_uri_prints_as_it_was_written(text: str) -> None:
    assert str(parse_uri(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "sip", "sip:", "sip:@b", "sip:a@", "sip:a@b@c", "sip:a b", "sip:a@b:", "sip:a@b:x", "sip:a@b:65536",
        "sip:a@[::1", "sip:a@[::g]", "sip:a@[::1]x", "sip:a@b;", "sip:a@b;;lr", "sip:a@b;=x", "sip:a@b;x=", "sip:a%4@b",
        "sip:a%zz@b", "sip:ä@b", "sip:a@b;x=<y>", "sip:a@-b", "sip:a@b_c", 'sip:"a"@b', "tel:", "tel:+", "tel:+12x",
        "tel:12 3", ":a", "1sip:a", "urn:", "urn:a b",
    ],
)  # fmt: skip
def test_a_malformed_uri_is_refused(text: str) -> None:
    with pytest.raises(SipError) as refused:
        parse_uri(text)
    assert refused.value.status == 400


def test_the_parts_of_a_uri_are_told() -> None:
    uri = sip("SIP:Alice:pw@Home.EXAMPLE:5070;Transport=TCP;lr?a=b")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == ("sip", "Alice", "pw", "home.example", 5070)
    assert uri.param("transport") == "TCP" and uri.param("lr") == "" and uri.param("x") is None
    assert uri.headers == "a=b" and sip("sip:[2001:DB8::1]").address == "2001:db8::1"


def test_parameters_are_set_and_removed() -> None:
    uri = sip("sip:a@b;lr;x=1")
    assert str(uri.with_params(x="2", transport="tcp")) == "sip:a@b;lr;x=2;transport=tcp"
    assert str(uri.with_params(ob="", x=None)) == "sip:a@b;lr;ob"
    assert str(uri.without("lr", "x")) == "sip:a@b"


@pytest.mark.parametrize(
    ("text", "aor"),
    [
        ("sip:alice@Home.Example:5060;transport=tcp", "sip:alice@home.example"),
        ("sips:alice:pw@home.example?x=y", "sip:alice@home.example"),
        ("sip:%61lice@home.example", "sip:alice@home.example"),
        ("sip:a%2fb%20%00@home.example", "sip:a/b%20%00@home.example"),
        ("sip:a%40b%3a%25@home.example", "sip:a%40b%3A%25@home.example"),
        ("sip:home.example;lr", "sip:home.example"),
        ("tel:+1-(201)-555.0123;ext=1", "tel:+12015550123"),
        ("tel:7-042;phone-context=Example.COM", "tel:7042;phone-context=example.com"),
        ("URN:service:SOS", "urn:service:sos"),
    ],
)
def test_an_address_of_record_has_one_key_however_it_is_written(text: str, aor: str) -> None:
    assert parse_uri(text).aor == aor
    assert parse_uri(aor).aor == aor


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [  # the examples of RFC 3261 19.1.4
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", True),
        ("sip:biloxi.com;transport=tcp;method=REGISTER", "sip:biloxi.com;method=REGISTER;transport=tcp", True),
        ("sip:alice@atlanta.com?subject=a&priority=b", "sip:alice@atlanta.com?priority=b&subject=a", True),
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False),
        ("sip:bob@biloxi.com:6000;transport=tcp", "sip:bob@biloxi.com", False),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=x", False),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sip:a@b", "tel:+1", False),
    ],
)
def test_uris_compare_as_rfc_3261_says(one: str, other: str, equal: bool) -> None:
    assert sip(one).matches(parse_uri(other)) is equal


def test_a_comma_in_quotes_or_brackets_separates_nothing() -> None:
    text = '"a, \\"b,\\"" <sip:x,y@z>;p="1,2", <sip:c@d>,sip:e@f'
    assert split_list(text) == ['"a, \\"b,\\"" <sip:x,y@z>;p="1,2"', "<sip:c@d>", "sip:e@f"]


def test_escapes_in_quoted_strings_are_undone() -> None:
    assert unquote('"a\\\\b\\"c"') == 'a\\b"c' and unquote("bare") == "bare"
    assert quoted_end('x"a\\"b"c', 1) == 7


PRINTED: list[tuple[Field[Any], str]] = [
    (fields.FROM, '"A \\"B\\"" <sip:a@b;lr>;tag=1;x="y;z"'),
    (fields.FROM, "<tel:+1>;tag=1"),
    (fields.VIA, "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK1;rport"),
    (fields.CONTACT, "*"),
    (fields.WWW_AUTHENTICATE, 'Digest realm="r",nonce="n==",algorithm=AKAv1-MD5,qop="auth,auth-int"'),
    (fields.AUTHENTICATION_INFO, 'nextnonce="n",qop=auth,rspauth="r",cnonce="c",nc=00000001'),
    (fields.SECURITY_SERVER, "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;spi-c=1"),
    (fields.CSEQ, "1 INVITE"),
    (fields.RACK, "776656 1 INVITE"),
    (fields.EVENT, "reg;id=7"),
    (fields.SUBSCRIPTION_STATE, "terminated;reason=timeout"),
    (fields.REASON, 'SIP;cause=200;text="Call completed elsewhere"'),
    (fields.SESSION_EXPIRES, "1800;refresher=uac"),
    (fields.REPLACES, "a@b;to-tag=1;from-tag=2;early-only"),
    (fields.RETRY_AFTER, "18000 (in a (short) while);duration=3600"),
    (fields.CONTENT_TYPE, 'multipart/mixed;boundary="b c"'),
    (fields.PRIVACY, "id;critical"),
    (fields.P_ACCESS_NETWORK_INFO, "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=00101;network-provided"),
    (fields.P_VISITED_NETWORK_ID, '"Visited network number 1"'),
    (fields.P_CHARGING_VECTOR, 'icid-value="a b";icid-generated-at=192.0.2.1;orig-ioi=home1.net'),
    (fields.P_CHARGING_FUNCTION_ADDRESSES, 'ccf="aaa://a";ccf=b;ecf=c'),
    (fields.DATE, "Sat, 13 Nov 2010 23:29:00 GMT"),
]


@pytest.mark.parametrize(("field", "text"), PRINTED, ids=lambda x: x.name if isinstance(x, Field) else "")
def test_a_header_value_prints_as_it_was_written(field: Field[Any], text: str) -> None:
    assert str(field.parse(text)) == text
    assert field.parse(str(field.parse(text))) == field.parse(text)


def test_real_phones_put_blanks_around_semicolons() -> None:
    mechanism = fields.SECURITY_CLIENT.parse("IPSEC-3GPP ; Alg = hmac-md5-96 ;prot=esp; spi-c= 7")
    assert (mechanism.name, mechanism.param("alg"), mechanism.param("spi-c")) == ("ipsec-3gpp", "hmac-md5-96", "7")


def test_display_names_without_quotes_and_addresses_without_brackets() -> None:
    assert NameAddr.parse("Bob A. <sip:b@c>").display == "Bob A."
    bare = NameAddr.parse("sip:b@c;tag=1")
    assert bare.tag == "1" and str(bare.uri) == "sip:b@c" and str(bare) == "<sip:b@c>;tag=1"
    assert NameAddr.parse('sip:b@c;x="<y>"').param("x") == "<y>"
    assert NameAddr.parse("<sip:b@c;tag=no>").tag is None


@pytest.mark.parametrize(
    "text",
    ['"a" sip:b@c', '"a <sip:b@c>', "<sip:b@c", "a, b <sip:b@c>", "<sip:b@c> x", "<sip:b@c>;", "<sip:b@c>;;a",
     "<sip:b@c>;a=", "<sip:b@c>;a=b c", '<sip:b@c>;a="b"c', "sip:a@b?c=d", "<>", "", "< sip:a@b >"],
)  # fmt: skip
def test_a_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(SipError):
        NameAddr.parse(text)


def test_rport_and_received_are_filled_in() -> None:
    via = Via.parse("SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1")
    assert via.rport == 0 and via.port is None and via.received is None
    filled = via.at_source("192.0.2.9", 4711)
    assert (filled.rport, filled.received) == (4711, "192.0.2.9")
    assert str(filled) == "SIP/2.0/UDP 10.0.0.1;rport=4711;branch=z9hG4bK1;received=192.0.2.9"


def test_credentials_keep_order_and_quotes_through_changes() -> None:
    given = Credentials.parse('Digest username="a, \\"b\\"", nonce="", nc=00000001,uri="sip:x"')
    assert given.param("username") == 'a, "b"' and given.param("nonce") == "" and given.param("realm") is None
    changed = given.with_param("integrity-protected", "yes").without_param("nonce").with_param("nc", "2")
    assert str(changed) == 'Digest username="a, \\"b\\"",nc=2,uri="sip:x",integrity-protected="yes"'


@pytest.mark.parametrize(
    "text",
    ["Digest", "Digest a", 'Digest a="b" c="d"', "Digest a=b,", "Digest ,a=b", "Digest a=", 'Digest a="b', "Digest =b",
     'Digest a=b"c"', "Digest a=b c", "D,igest a=b"],
)  # fmt: skip
def test_malformed_credentials_are_refused(text: str) -> None:
    with pytest.raises(SipError):
        Credentials.parse(text)


def test_a_charging_vector_is_made_and_read() -> None:
    vector = ChargingVector.make("Ayrety+6O2=023551024", orig_ioi="home1.net", generated_at="192.0.2.5")
    read = ChargingVector.parse(str(vector))
    assert (read.icid, read.orig_ioi, read.term_ioi, read.generated_at) == (
        "Ayrety+6O2=023551024", "home1.net", None, "192.0.2.5",
    )  # fmt: skip
    assert read.with_(term_ioi="home2.net").term_ioi == "home2.net"
    with pytest.raises(SipError):
        ChargingVector.parse("orig-ioi=a")


def test_privacy_is_read_with_either_separator() -> None:
    assert "id" in Privacy.parse("header; ID") and Privacy.parse("id,user").values == ("id", "user")
