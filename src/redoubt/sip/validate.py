"""What an edge checks of a request before anyone acts on it (RFC 3261 8.2.2, 16.3).

`parse_message` has checked what routing a response needs. Here every header that an element of the network
relies on is read once, so that behind the edge reading them does not fail; the values stay cached.
"""

from typing import Any

from redoubt.sip import fields
from redoubt.sip.errors import SipError
from redoubt.sip.fields import Field
from redoubt.sip.grammar import malformed
from redoubt.sip.headers.addresses import STAR, NameAddr
from redoubt.sip.message import Request
from redoubt.sip.uri import OtherUri, SipUri

# Read in full if present. CSeq and the top Via are read by parse_message, lists of
# Security-Client and Security-Verify where they are judged.
CHECKED: tuple[Field[Any], ...] = (
    fields.FROM, fields.TO, fields.CALL_ID, fields.VIA, fields.ROUTE, fields.RECORD_ROUTE, fields.PATH,
    fields.CONTACT, fields.EXPIRES, fields.MAX_BREADTH, fields.DATE, fields.CONTENT_TYPE,
    fields.AUTHORIZATION, fields.PROXY_AUTHORIZATION,
    fields.REQUIRE, fields.PROXY_REQUIRE, fields.SUPPORTED, fields.P_ASSERTED_IDENTITY, fields.P_PREFERRED_IDENTITY,
    fields.P_ACCESS_NETWORK_INFO, fields.PRIVACY, fields.EVENT, fields.SESSION_EXPIRES, fields.MIN_SE,
    fields.REPLACES, fields.REFER_TO, fields.RACK, fields.RSEQ,
)  # fmt: skip
BY_NAME = {field.name: field for field in CHECKED}
# Elements of the network route to these; a URN of RFC 5031 is how emergency calls and services begin.
ROUTABLE_SCHEMES = frozenset(("urn",))


def check_request(request: Request, *, hops: bool = True) -> None:
    """Refuse what RFC 3261 16.3 refuses: syntax 400, scheme 416, no hops left 483 (unless not `hops`)."""
    _check_request_uri(request)
    request.read(BY_NAME)
    _check_contacts(request)
    if request.need(fields.VIA).branch == "z9hG4bK":
        raise malformed("a branch has nothing after the magic cookie", "RFC 4475 3.2.1")
    left = request.first(fields.MAX_FORWARDS)
    if hops and left == 0:
        raise SipError(483, "Max-Forwards is used up", "RFC 3261 16.3")


def _check_request_uri(request: Request) -> None:
    uri = request.request_uri
    if isinstance(uri, OtherUri):
        if uri.scheme not in ROUTABLE_SCHEMES:
            raise SipError(416, f"no route to a URI of scheme {uri.scheme[:20]}", "RFC 3261 16.3")
    elif isinstance(uri, SipUri):
        if uri.headers:
            raise malformed("the Request-URI has headers", "RFC 3261 19.1.1")
        if uri.param("method") is not None:
            raise malformed("the Request-URI has a method", "RFC 3261 19.1.1")


def _check_contacts(request: Request) -> None:
    contacts = request.every(fields.CONTACT)
    if not contacts:
        return
    if STAR in contacts:
        if len(contacts) > 1 or request.method != "REGISTER":
            raise malformed("Contact: * stands alone, and only in REGISTER", "RFC 3261 10.3")
    elif request.method == "INVITE" and len(contacts) > 1:
        raise malformed("an INVITE has one Contact", "RFC 3261 8.1.1.8")
    for contact in contacts:
        if isinstance(contact, NameAddr):
            _check_numbers(contact)


def _check_numbers(contact: NameAddr) -> tuple[float, int | None]:
    """q and expires are read when asked for: ask, so that a malformed one is a 400 here."""
    return contact.q, contact.expires
