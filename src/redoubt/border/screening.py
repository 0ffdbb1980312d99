"""What may pass the border with a partner, both ways: methods, headers, bodies, codecs (TS 29.165 6, TS 24.229 5.10).

Requests beyond it are refused with the status that names the reason; a response loses what may not pass, since whoever
sent it believes that it arrived.
"""

from collections.abc import Set
from dataclasses import replace

from redoubt.ndm.partners import Partner
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTENT_TYPE
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.multipart import split_body
from redoubt.sip.names import CANONICAL
from redoubt.sip.sdp import Attribute, Media, parse_sdp
from redoubt.sip.service import Context
from redoubt.sip.uri import SEPARATORS, SipUri, Uri

CLAUSE = "TS 29.165 6.1"
KNOWN_HEADERS = frozenset(CANONICAL.values())
SDP = "application/sdp"
NUMERIC = tuple("+0123456789")
NAMED_MEDIA = frozenset(("audio", "video"))
# Of RFC 3551 6, as far as phones use them without a=rtpmap.
STATIC = {0: "PCMU", 3: "GSM", 4: "G723", 8: "PCMA", 9: "G722", 15: "G728", 18: "G729", 31: "H261", 34: "H263"}
ALWAYS = frozenset(("telephone-event", "cn", "red", "ulpfec", "rtx"))  # of any codec: they say nothing alone


class Screening:
    """Of one border; what is allowed stands in each partner's agreement."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def check(self, request: Request, partner: Partner) -> None:
        """A request, either way. Raises SipError 405, 413, 400 or 488."""
        if not self._context.enforces("border-screening"):
            return
        agreement = partner.config
        if request.method not in agreement.methods:
            allow = ", ".join(agreement.methods)
            raise SipError(405, f"{request.method} may not pass to or from {partner.name}", CLAUSE, (("Allow", allow),))
        if agreement.refuse:
            _demand_target(request.request_uri, partner)
        self._strip(request, partner)
        body = request.body
        if not body:
            return
        if len(body) > agreement.body_octets:
            raise SipError(413, f"{partner.name}: a body of {len(body)} octets; `body-octets` says how many", CLAUSE)
        kind = request.first(CONTENT_TYPE)
        if kind is None:
            raise SipError(400, "a body has no Content-Type", "RFC 3261 20.15")
        if kind.media_type == SDP:
            if agreement.codecs:
                request.body = _allowed(request.body, agreement.codecs, partner.name)
        elif kind.media_type.startswith("multipart/"):
            self._check_parts(request, partner)

    def _check_parts(self, request: Request, partner: Partner) -> None:
        """Parts inside parts are where something is carried past a screen; SDP is looked at wherever it is."""
        for part in split_body(request.need(CONTENT_TYPE), request.body):
            if part.parts:
                raise SipError(400, f"{partner.name}: a multipart body inside another", CLAUSE)
            is_sdp = part.content_type.media_type == SDP and partner.config.codecs
            if is_sdp and _allowed(part.body, partner.config.codecs, partner.name) != part.body:
                raise SipError(488, f"{partner.name}: codecs beside those of `codecs`", CLAUSE)

    def trim(self, response: Response, partner: Partner) -> None:
        """A response, either way: what may not pass leaves it."""
        if not self._context.enforces("border-screening"):
            return
        self._strip(response, partner)
        if response.body and len(response.body) > partner.config.body_octets:
            self._context.refused(
                0, f"{partner.name}: the body of a response was too long, and left it", CLAUSE, call_id=response.call_id
            )
            response.body = b""
            response.remove("Content-Type")

    def _strip(self, message: Message, partner: Partner) -> None:
        """Headers that no standard knows pass when the agreement lists them."""
        unknown = message.others(KNOWN_HEADERS)
        for name in unknown:
            if name not in partner.config.headers:
                message.remove(name)


def _demand_target(uri: Uri, partner: Partner) -> None:
    """The access list of the agreement: numbers by how they begin, domains with all below them. Raises 403."""
    host = uri.host.rstrip(".") if isinstance(uri, SipUri) else ""
    number = uri.aor.partition(":")[2].partition("@")[0].translate(SEPARATORS)
    for refused in partner.config.refuse:
        lowered = refused.lower()
        is_number = lowered[:1] in NUMERIC
        if number.startswith(lowered) if is_number else host == lowered or host.endswith(f".{lowered}"):
            raise SipError(403, f"{partner.name}: {refused} stands in `refuse`", CLAUSE)


def _allowed(octets: bytes, codecs: tuple[str, ...], whose: str) -> bytes:
    """The description without codecs that may not pass; unchanged if none does not. Raises 488 when none is left."""
    session = parse_sdp(octets)
    wanted = ALWAYS | {codec.lower() for codec in codecs}
    media = tuple([_only(one, wanted, whose) for one in session.media])
    if media == session.media:
        return octets
    if not any(one.port for one in media):
        raise SipError(488, f"{whose}: nothing but a fax, and `codecs` has no t38", CLAUSE)
    return replace(session, media=media).to_bytes()


def _only(media: Media, wanted: Set[str], whose: str) -> Media:
    """One medium with what may pass of its codecs. One that is refused already (port 0) is left alone."""
    if "UDPTL" in media.proto.upper() and not {name.lower() for name in media.formats} <= wanted:
        return Media(media.kind, 0, media.proto, media.formats)  # a fax (T.38): no stream of it (RFC 3264 5.1)
    if media.kind not in NAMED_MEDIA or "RTP/" not in media.proto or not media.port:
        return media
    maps = media.rtpmaps
    names = {str(number): STATIC.get(number, "") for number in range(128)}
    names |= {str(number): rtpmap.encoding for number, rtpmap in maps.items()}
    kept = tuple([name for name in media.formats if names.get(name, "").lower() in wanted])
    if kept == media.formats:
        return media
    if all(names[name].lower() in ALWAYS for name in kept):
        raise SipError(488, f"{whose}: {media.kind} with none of the agreement's `codecs`", CLAUSE)
    dropped = set(media.formats) - set(kept)
    attributes = tuple([each for each in media.attributes if not _is_of(each, dropped)])
    return replace(media, formats=kept, attributes=attributes)


def _is_of(attribute: Attribute, formats: Set[str]) -> bool:
    if attribute.name not in ("rtpmap", "fmtp", "rtcp-fb"):
        return False
    return (attribute.value or "").partition(" ")[0] in formats
