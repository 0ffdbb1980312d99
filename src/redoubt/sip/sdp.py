"""Session descriptions (RFC 8866), read strictly and written back line for line.

What a line means to an offer (RFC 3264) or to media anchoring is decided elsewhere; here are the grammar,
the order of lines, addresses that fit their family, and bounds on everything (requirement row 100).
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import ALPHANUM, TOKEN, number

SESSION_ORDER = "vosiuepcbtrzka"  # RFC 8866 5: the order is fixed
MEDIA_ORDER = "micbka"
ONCE = frozenset("vosiuczk")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
SDP_TOKEN = ALPHANUM + "!#$%&'*+-.^_`{|}~"


def bad(why: str, clause: str = "RFC 8866 9") -> SipError:
    """A 400: the description broke the grammar."""
    return SipError(400, f"SDP: {why}", clause)


@lru_cache(limits.SDP_ADDRESSES_REMEMBERED)
def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Address:
    """nettype IN, an address type and an address or a name of that family."""

    family: str
    host: str

    @classmethod
    def parse(cls, nettype: str, family: str, host: str) -> "Address":
        """An address of the other family is a lie that two nodes would resolve differently."""
        if nettype != "IN" or family not in ("IP4", "IP6"):
            raise bad(f"address type {nettype[:8]} {family[:8]} is unknown", "RFC 8866 5.7")
        address = cls(family, host)
        ip = address.ip
        if ip is None and (not host or host.strip(ALPHANUM + "-.") or not host.strip("0123456789.")):
            raise bad(f"{host[:40]!r} is no address", "RFC 8866 5.7")
        if ip is not None and (ip.version != int(family[2]) or "%" in host):
            raise bad(f"{host[:40]} is not of family {family}", "RFC 8866 5.7")
        return address

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address, None if it is a name."""
        return _ip(self.host)

    def __str__(self) -> str:
        return f"IN {self.family} {self.host}"


@dataclass(frozen=True, slots=True)
class Origin:
    """o= (RFC 8866 5.2). The identifiers are numbers, kept as text since they may be of any length."""

    username: str
    session_id: str
    version: str
    address: Address

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Six fields, single blanks between them."""
        parts = text.split(" ")
        if len(parts) != 6 or not parts[0]:
            raise bad("o= has not six fields", "RFC 8866 5.2")
        for digits in parts[1:3]:
            if not digits or digits.strip("0123456789"):
                raise bad("o= has an identifier that is no number", "RFC 8866 5.2")
        return cls(parts[0], parts[1], parts[2], Address.parse(*parts[3:]))

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {self.address}"


@dataclass(frozen=True, slots=True)
class Connection:
    """c= (RFC 8866 5.7): an address, for multicast with TTL (IPv4) and number of addresses."""

    address: Address
    ttl: int | None = None
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Connection":
        """`IN IP4 host`, `IN IP4 group/ttl[/count]`, `IN IP6 group[/count]`."""
        parts = text.split(" ")
        if len(parts) != 3:
            raise bad("c= has not three fields", "RFC 8866 5.7")
        host, *suffixes = parts[2].split("/")
        address = Address.parse(parts[0], parts[1], host)
        numbers = [number(suffix, 255) for suffix in suffixes]
        multicast = address.ip is not None and address.ip.is_multicast
        wanted = (0,) if not multicast else (1, 2) if address.family == "IP4" else (0, 1)
        if len(numbers) not in wanted or (address.family == "IP6" and len(numbers) > 1):
            raise bad("c= has a TTL or count where none belongs, or lacks one", "RFC 8866 5.7")
        if address.family == "IP6":
            return cls(address, None, numbers[0] if numbers else None)
        return cls(address, *numbers)

    def __str__(self) -> str:
        return str(self.address) + "".join([f"/{n}" for n in (self.ttl, self.count) if n is not None])


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """b= (RFC 8866 5.8)."""

    kind: str
    value: int

    @classmethod
    def parse(cls, text: str) -> "Bandwidth":
        """bwtype ":" bandwidth."""
        kind, colon, value = text.partition(":")
        if not colon or not kind or kind.strip(SDP_TOKEN):
            raise bad("b= has no type", "RFC 8866 5.8")
        return cls(kind, number(value, 2**53))

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True)
class Attribute:
    """a= (RFC 8866 5.13): a property, or a name with a value."""

    name: str
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Attribute":
        """attribute-name [":" value]."""
        name, colon, value = text.partition(":")
        if not name or name.strip(SDP_TOKEN) or (colon and not value):
            raise bad("a= is malformed", "RFC 8866 5.13")
        return cls(name, value if colon else None)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class RtpMap:
    """a=rtpmap (RFC 8866 6.6)."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RtpMap":
        """`96 AMR-WB/16000/1`."""
        payload_type, blank, rest = text.partition(" ")
        encoding, *numbers = rest.split("/")
        if not blank or not encoding or encoding.strip(SDP_TOKEN) or len(numbers) not in (1, 2):
            raise bad("a=rtpmap is malformed", "RFC 8866 6.6")
        channels = numbers[1] if len(numbers) == 2 else None
        return cls(number(payload_type, 127), encoding, number(numbers[0], 2**31), channels)

    def __str__(self) -> str:
        channels = f"/{self.channels}" if self.channels else ""
        return f"{self.payload_type} {self.encoding}/{self.clock_rate}{channels}"


@dataclass(frozen=True, slots=True)
class Media:
    """m= and the lines that belong to it (RFC 8866 5.14). `key` is k=, obsolete, kept as it came."""

    kind: str
    port: int
    proto: str
    formats: tuple[str, ...]
    count: int | None = None
    title: str | None = None
    connections: tuple[Connection, ...] = ()
    bandwidths: tuple[Bandwidth, ...] = ()
    key: str | None = None
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str) -> str | None:
        """The first value of that name, "" for a property, None if absent."""
        return find_attribute(self.attributes, name)

    @property
    def rtpmaps(self) -> dict[int, RtpMap]:
        """The encodings by payload type."""
        maps = [RtpMap.parse(a.value or "") for a in self.attributes if a.name == "rtpmap"]
        return {rtpmap.payload_type: rtpmap for rtpmap in maps}

    def lines(self) -> list[str]:
        """As written, without line ends."""
        port = str(self.port) if self.count is None else f"{self.port}/{self.count}"
        lines = [f"m={self.kind} {port} {self.proto} {' '.join(self.formats)}"]
        lines += [f"i={self.title}"] if self.title is not None else []
        lines += [f"c={connection}" for connection in self.connections]
        lines += [f"b={bandwidth}" for bandwidth in self.bandwidths]
        lines += [f"k={self.key}"] if self.key is not None else []
        return lines + [f"a={attribute}" for attribute in self.attributes]


@dataclass(frozen=True, slots=True)
class Session:
    """A whole description. `others` are the session's u=, e=, p= lines; `times` its t=, r= and z= lines."""

    origin: Origin
    name: str = "-"
    title: str | None = None
    others: tuple[str, ...] = ()
    connection: Connection | None = None
    bandwidths: tuple[Bandwidth, ...] = ()
    times: tuple[str, ...] = ("t=0 0",)
    key: str | None = None
    attributes: tuple[Attribute, ...] = ()
    media: tuple[Media, ...] = ()

    def attribute(self, name: str) -> str | None:
        """The first session-level value of that name, "" for a property, None if absent."""
        return find_attribute(self.attributes, name)

    def connection_of(self, media: Media) -> Connection | None:
        """The media's own c=, else the session's (RFC 8866 5.7)."""
        return media.connections[0] if media.connections else self.connection

    def direction_of(self, media: Media) -> str:
        """sendrecv, sendonly, recvonly or inactive: of the media, the session, by default (RFC 8866 6.7)."""
        for attribute in (*media.attributes, *self.attributes):
            if attribute.value is None and attribute.name in DIRECTIONS:
                return attribute.name
        return "sendrecv"

    def __str__(self) -> str:
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        lines += [f"i={self.title}"] if self.title is not None else []
        lines += self.others
        lines += [f"c={self.connection}"] if self.connection is not None else []
        lines += [f"b={bandwidth}" for bandwidth in self.bandwidths]
        lines += self.times
        lines += [f"k={self.key}"] if self.key is not None else []
        lines += [f"a={attribute}" for attribute in self.attributes]
        for media in self.media:
            lines += media.lines()
        return "\r\n".join(lines) + "\r\n"

    def to_bytes(self) -> bytes:
        """The octets of a body."""
        return str(self).encode("utf-8", "surrogateescape")


def find_attribute(attributes: tuple[Attribute, ...], name: str) -> str | None:
    """The first value of that name, "" for a property, None if absent."""
    for attribute in attributes:
        if attribute.name == name:
            return attribute.value or ""
    return None


def parse_sdp(octets: bytes) -> Session:
    """Read a description; SipError 400 if it breaks RFC 8866, 413 if it is beyond our bounds."""
    sections = _sections(_read_lines(octets))
    session = _session(sections[0], tuple([_media(section) for section in sections[1:]]))
    if session.connection is None and any(not media.connections for media in session.media):
        raise bad("a media description has no c=", "RFC 8866 5.7")
    return session


def _read_lines(octets: bytes) -> list[str]:
    if len(octets) > limits.SDP_OCTETS:
        raise SipError(413, "SDP: too long", "limits.SDP_OCTETS")
    text = octets.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if "\r" in text or "\0" in text:
        raise bad("NUL or a bare CR")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if len(lines) > limits.SDP_LINES:
        raise SipError(413, "SDP: too many lines", "limits.SDP_LINES")
    for line in lines:
        if line[1:2] != "=" or line[0] not in SESSION_ORDER + "m":
            raise bad(f"{line[:20]!r} is no known line", "RFC 8866 5")
    return lines


def _sections(lines: list[str]) -> list[list[str]]:
    """The session's lines, then those of each m=, each checked for order and repetition."""
    starts = [at for at, line in enumerate(lines) if line[0] == "m"]
    if len(starts) > limits.SDP_MEDIA:
        raise SipError(413, "SDP: too many media", "limits.SDP_MEDIA")
    edges = [0, *starts, len(lines)]
    sections = [lines[start:end] for start, end in pairwise(edges)]
    _check_order(sections[0], SESSION_ORDER, ONCE)
    for section in sections[1:]:
        _check_order(section, MEDIA_ORDER, frozenset("mik"))
        if len(section) > limits.SDP_ATTRIBUTES_PER_MEDIA:
            raise SipError(413, "SDP: too many lines of a medium", "limits.SDP_ATTRIBUTES_PER_MEDIA")
    return sections


def _check_order(lines: list[str], order: str, once: frozenset[str]) -> None:
    before = ""
    for line in lines:
        letter = line[0]
        if letter not in order:
            raise bad(f"{letter}= does not belong there", "RFC 8866 5")
        if before and order.index(letter) < order.index(before) and (before, letter) != ("r", "t"):
            raise bad(f"{letter}= stands after {before}=", "RFC 8866 5")
        if letter == before and letter in once:
            raise bad(f"{letter}= occurs twice", "RFC 8866 5")
        before = letter


def _session(lines: list[str], media: tuple[Media, ...]) -> Session:
    values = _by_letter(lines)
    if values.get("v") != ["0"]:
        raise bad("v= is not 0", "RFC 8866 5.1")
    if "o" not in values or "s" not in values or "t" not in values:
        raise bad("o=, s= or t= is missing", "RFC 8866 5")
    for time in values["t"]:
        _check_time(time)
    connections = values.get("c")
    return Session(
        origin=Origin.parse(values["o"][0]),
        name=values["s"][0],
        title=values.get("i", [None])[0],
        others=tuple([line for line in lines if line[0] in "uep"]),
        connection=Connection.parse(connections[0]) if connections else None,
        bandwidths=tuple([Bandwidth.parse(text) for text in values.get("b", ())]),
        times=tuple([line for line in lines if line[0] in "trz"]),
        key=values.get("k", [None])[0],
        attributes=tuple([Attribute.parse(text) for text in values.get("a", ())]),
        media=media,
    )


def _check_time(text: str) -> None:
    start, blank, stop = text.partition(" ")
    if not blank:
        raise bad("t= has not two numbers", "RFC 8866 5.9")
    number(start, 2**63)
    number(stop, 2**63)


def _media(lines: list[str]) -> Media:
    values = _by_letter(lines)
    parts = values["m"][0].split(" ")
    if len(parts) < 4 or "" in parts or parts[0].strip(SDP_TOKEN) or parts[2].strip(SDP_TOKEN + "/"):
        raise bad("m= is malformed", "RFC 8866 5.14")
    port, slash, count = parts[1].partition("/")
    return Media(
        kind=parts[0],
        port=number(port, 65535),
        proto=parts[2],
        formats=_formats(parts[2], parts[3:]),
        count=number(count, 65535) if slash else None,
        title=values.get("i", [None])[0],
        connections=tuple([Connection.parse(text) for text in values.get("c", ())]),
        bandwidths=tuple([Bandwidth.parse(text) for text in values.get("b", ())]),
        key=values.get("k", [None])[0],
        attributes=tuple([Attribute.parse(text) for text in values.get("a", ())]),
    )


def _formats(proto: str, formats: list[str]) -> tuple[str, ...]:
    if len(formats) > limits.SDP_FORMATS:
        raise SipError(413, "SDP: too many formats", "limits.SDP_FORMATS")
    for name in formats:
        if "RTP/" in proto:
            number(name, 127)
        elif name.strip(TOKEN + "/"):
            raise bad("m= has a malformed format", "RFC 8866 5.14")
    return tuple(formats)


def _by_letter(lines: list[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in lines:
        values.setdefault(line[0], []).append(line[2:])
    return values
