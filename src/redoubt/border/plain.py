"""From the 3GPP profile to plain SIP (RFC 3261), for partners that are back-to-back and no IMS (TS 24.229 5.10.8).

What a plain network would choke on or refuse for is taken out; numbers become SIP URIs, which it can route.
"""

from dataclasses import replace

from msgspec.structs import replace as with_fields

from redoubt.ndm.partners import Partner
from redoubt.sip.fields import CONTENT_TYPE, REQUIRE, SUPPORTED, TO, Field
from redoubt.sip.message import Request
from redoubt.sip.sdp import Attribute, parse_sdp
from redoubt.sip.uri import SipUri, TelUri

# Options that end at the border (RFC 3312, RFC 3327, RFC 5626, RFC 5627, RFC 3329, RFC 3262, RFC 4538, RFC 6794).
OPTIONS = frozenset(("precondition", "path", "outbound", "gruu", "sec-agree", "tdialog", "policy", "199"))
HEADERS = frozenset(("Accept-Contact", "Reject-Contact", "Request-Disposition", "Recv-Info", "Geolocation-Routing"))
PRECONDITIONS = frozenset(("curr", "des", "conf"))  # RFC 3312 4


def make_plain(request: Request, partner: Partner) -> None:
    """A request on its way to a plain SIP network."""
    for name in request.present(HEADERS):
        request.remove(name)
    waits = _drop_options(request, SUPPORTED) | _drop_options(request, REQUIRE)
    if "precondition" in waits:
        _drop_preconditions(request)
    _number_as_sip(request, partner)


def _drop_options(request: Request, field: Field[str]) -> frozenset[str]:
    if not request.has(field.name):
        return frozenset()
    options = request.every(field)
    kept = [option for option in options if option.lower() not in OPTIONS]
    if len(kept) < len(options):
        request.put(field, *kept)
    return frozenset([option.lower() for option in options])


def _drop_preconditions(request: Request) -> None:
    """Resources are this network's own affair: the other side is not asked to wait for them."""
    kind = request.first(CONTENT_TYPE)
    if kind is None or kind.media_type != "application/sdp" or not request.body:
        return
    session = parse_sdp(request.body)
    media = tuple([replace(one, attributes=_without(one.attributes)) for one in session.media])
    if media != session.media:
        request.body = replace(session, media=media).to_bytes()


def _without(attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    return tuple([each for each in attributes if each.name not in PRECONDITIONS])


def _number_as_sip(request: Request, partner: Partner) -> None:
    """tel:+49... is sip:+49...@DOMAIN;user=phone (RFC 3261 19.1.6), the domain being the one that is asked."""
    domain = partner.domains[0]
    uri = request.request_uri
    if isinstance(uri, TelUri):
        request.uri = str(_sip(uri, domain))
    to = request.to
    if isinstance(to.uri, TelUri):
        request.put(TO, with_fields(to, uri=_sip(to.uri, domain)))


def _sip(number: TelUri, domain: str) -> SipUri:
    digits = number.aor.removeprefix("tel:").partition(";")[0]
    return SipUri("sip", digits, None, domain, None, (("user", "phone"),))
