"""Session descriptions at the relay: what they say of each stream, and how they look on the other side.

Read strictly (requirement row 100). Written with the relay's addresses alone: nothing that names an address of the side
that a description comes from goes on, in whatever line it stands; ICE, which would lead around the relay, goes too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from redoubt.media.legs import End
from redoubt.media.relay import Ip
from redoubt.sip import sdp
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import ALPHANUM, DIGITS, HEX, number
from redoubt.transport.flow import Address

Judge = Callable[[Ip, int], None]  # raises SipError for an address that no media comes from

RTP = "RTP/"
RELAYED = frozenset({
    "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "UDPTL", "UDP/UDPTL",
})  # fmt: skip
# RFC 8839, 9143, 3605, 6947, 4570: other addresses, other ports, or several streams on one.
LEADS_AROUND = frozenset({
    "candidate", "remote-candidates", "end-of-candidates", "ice-ufrag", "ice-pwd", "ice-options", "ice-lite",
    "ice-mismatch", "ice-pacing", "ice2", "group", "bundle-only", "rtcp", "altc", "ccap", "source-filter",
})  # fmt: skip
WITHOUT_RECEIVING = {"sendrecv": "sendonly", "recvonly": "inactive"}
IPV4 = frozenset(DIGITS + ".")
IPV6 = frozenset(HEX + ":")
NAME = frozenset(ALPHANUM + "-.")


# ---- what is said


def ends_of(session: sdp.Session, judge: Judge, behind: str | None = None) -> tuple[End | None, ...]:
    """What a side says of each stream; None where it refuses it, or where it is none that can be relayed.

    `behind`: the host whose packets count, whatever the description says. Raises SipError.
    """
    return tuple([_end(session, media, judge, behind) for media in session.media])


def _end(session: sdp.Session, media: sdp.Media, judge: Judge, behind: str | None) -> End | None:
    if not media.port or media.proto.upper() not in RELAYED:
        return None
    if media.count not in (None, 1) or len(media.connections) > 1:
        raise SipError(488, "a stream of several ports or addresses", "RFC 8866 5.14, requirement row 100")
    connection = session.connection_of(media)
    assert connection is not None  # parse_sdp demands one
    family = int(connection.address.family[2])
    payload_types = frozenset(map(int, media.formats)) if RTP in media.proto.upper() else frozenset[int]()
    dtls = "TLS" in media.proto.upper()
    ip = _ip(connection.address)
    if ip is None:
        return End(None, None, payload_types, behind, family, dtls, False)
    judge(ip, media.port)
    if str(ip) == behind:
        behind = None
    rtcp = _rtcp(media, ip, judge) if payload_types else None
    flows = session.direction_of(media) == "sendrecv"
    return End((str(ip), media.port), rtcp, payload_types, behind, family, dtls, flows)


def _ip(address: sdp.Address) -> Ip | None:
    """None: hold as RFC 2543 had it (RFC 3264 8.4), or as RFC 6157 5.1 writes it for IPv6."""
    if address.ip is None:
        if address.host.lower().endswith(".invalid"):
            return None
        raise SipError(488, "media at a name, not at an address", "requirement row 100")
    return None if address.ip.is_unspecified else address.ip


def _rtcp(media: sdp.Media, ip: Ip, judge: Judge) -> Address | None:
    """The next port, what a=rtcp says (RFC 3605), or none of its own (RFC 5761)."""
    if media.attribute("rtcp-mux") is not None:
        return None
    text = media.attribute("rtcp")
    if text is None:
        if media.port == 65_535:
            return None
        judge(ip, media.port + 1)
        return str(ip), media.port + 1
    port, *place = text.split(" ")
    if len(place) not in (0, 3):
        raise SipError(400, "SDP: a=rtcp is malformed", "RFC 3605 2.1")
    if place:
        other = _ip(sdp.Address.parse(*place))
        if other is None or other.version != ip.version:
            raise SipError(488, "RTCP of another kind of address than RTP", "requirement row 100")
        ip = other
    judge(ip, number(port, 65_535))
    return str(ip), number(port, 65_535)


# ---- what the other side sees


def rewritten(
    session: sdp.Session, ends: Sequence[End | None], places: Sequence[Address | None], host: str
) -> sdp.Session:
    """The description with the relay's places for its streams; None refuses one (RFC 3264 5.1, 6). `host` is the
    relay's address on that side.
    """
    names = _names(session)
    ours = address_of(host)

    def stays(attribute: sdp.Attribute) -> bool:
        if attribute.name in LEADS_AROUND:
            return False
        value = attribute.value
        # A fingerprint (RFC 8122) only looks like a long IPv6 address.
        return value is None or attribute.name == "fingerprint" or not _names_an_address(value, names)

    media = tuple([
        _refused(each) if place is None or end is None else _moved(session, each, end, place, ours, stays, names)
        for each, end, place in zip(session.media, ends, places, strict=True)
    ])  # fmt: skip
    return sdp.Session(
        origin=sdp.Origin("-", session.origin.session_id, session.origin.version, ours),
        name="-" if _names_an_address(session.name, names) else session.name,
        connection=sdp.Connection(ours),
        bandwidths=session.bandwidths,
        times=session.times,
        attributes=tuple(filter(stays, session.attributes)),
        media=media,
    )


def refusal(offer: sdp.Session, host: str) -> sdp.Session:
    """An answer that takes none of the streams."""
    address = address_of(host)
    origin = sdp.Origin("-", offer.origin.session_id, offer.origin.version, address)
    return sdp.Session(origin, connection=sdp.Connection(address), media=tuple(map(_refused, offer.media)))


def address_of(host: str) -> sdp.Address:
    """A numeric address with its family."""
    return sdp.Address("IP6" if ":" in host else "IP4", host)


def _refused(media: sdp.Media) -> sdp.Media:
    return sdp.Media(media.kind, 0, media.proto, media.formats)


def _moved(
    session: sdp.Session,
    media: sdp.Media,
    end: End,
    place: Address,
    shown: sdp.Address,
    stays: Callable[[sdp.Attribute], bool],
    names: frozenset[str],
) -> sdp.Media:
    attributes = tuple(filter(stays, media.attributes))
    if end.rtp is None:
        attributes = _without_receiving(session, media, attributes)
    title = media.title
    host, port = place
    return replace(
        media,
        port=port,
        count=None,
        title=None if title is not None and _names_an_address(title, names) else title,
        connections=() if host == shown.host else (sdp.Connection(address_of(host)),),
        key=None,
        attributes=attributes,
    )


def _without_receiving(
    session: sdp.Session, media: sdp.Media, attributes: tuple[sdp.Attribute, ...]
) -> tuple[sdp.Attribute, ...]:
    """Hold as RFC 3264 8.4 has it, since the relay does have an address."""
    direction = session.direction_of(media)
    said = sdp.Attribute(WITHOUT_RECEIVING.get(direction, direction))
    return (*[each for each in attributes if each.name not in sdp.DIRECTIONS], said)


def _names(session: sdp.Session) -> frozenset[str]:
    """The host names that the description has in place of addresses."""
    connections = [session.connection, *[each for media in session.media for each in media.connections]]
    addresses = [each.address for each in connections if each is not None] + [session.origin.address]
    return frozenset([address.host.lower() for address in addresses if address.ip is None])


def _names_an_address(text: str, names: frozenset[str]) -> bool:
    """Whether a text has an IP address in it, or one of these names."""
    return (
        (text.count(".") >= 3 and any(map(_has_ipv4, _words(text, IPV4))))
        or (text.count(":") >= 2 and any(map(_has_ipv6, _words(text, IPV6))))
        or (bool(names) and not names.isdisjoint(_words(text.lower(), NAME)))
    )


def _words(text: str, letters: frozenset[str]) -> list[str]:
    return "".join([letter if letter in letters else " " for letter in text]).split()


def _has_ipv4(word: str) -> bool:
    """Four numbers in a row, however large: other digits may stand next to an address."""
    numbers = [bool(part) for part in word.split(".")]
    return any(all(numbers[at : at + 4]) for at in range(len(numbers) - 3))


def _has_ipv6(word: str) -> bool:
    return "::" in word or word.count(":") >= 7
