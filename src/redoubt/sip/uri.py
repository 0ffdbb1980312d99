"""SIP, SIPS and tel URIs (RFC 3261 clause 19.1, RFC 3966); any other URI is kept as opaque text.

User parts and parameters stay as written, since they belong to whoever made the URI; comparison
(`SipUri.matches`, `aor`) takes care of escapes and case.
"""

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from msgspec import Struct
from msgspec.structs import replace

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import ALPHANUM, DIGITS, HEX, Params, change_params, malformed, number

UNRESERVED = ALPHANUM + "-_.!~*'()"
USER = UNRESERVED + "&=+$,;?/%"
USER_OCTETS = USER.encode()
PASSWORD = UNRESERVED + "&=+$,%"
PARAM = UNRESERVED + "[]/:&+$%"
HEADERS = UNRESERVED + "[]/?:+$%&="
HOST = ALPHANUM + "-."
SEPARATORS = str.maketrans("", "", "-.()")
CLAUSE = "RFC 3261 19.1"
# 19.1.4: these make two URIs differ when only one of them has it.
DECISIVE = ("user", "ttl", "method", "maddr", "transport")


class SipUri(Struct, frozen=True, gc=False):
    """sip: or sips: (RFC 3261 19.1.1). `host` is lower case, an IPv6 address keeps its brackets."""

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None = None
    params: Params = ()
    headers: str = ""

    @property
    def address(self) -> str:
        """The host without the brackets of an IPv6 address."""
        return self.host[1:-1] if self.host[0] == "[" else self.host

    def param(self, name: str) -> str | None:
        """A parameter's value as written, "" if it has none, None if it is absent."""
        for known, value in self.params:
            if known == name or known.lower() == name:
                return value or ""
        return None

    def has(self, name: str) -> bool:
        """Whether the parameter is there, with or without a value."""
        return self.param(name) is not None

    def with_params(self, **changes: str | None) -> "SipUri":
        """Parameters set ("" for one without a value, None to remove); `_` in a name stands for `-`."""
        wanted = {name.replace("_", "-"): value for name, value in changes.items()}
        return replace(self, params=change_params(self.params, wanted))

    def without(self, *names: str) -> "SipUri":
        """The same URI without these parameters."""
        return replace(self, params=tuple([p for p in self.params if p[0].lower() not in names]))

    @property
    def aor(self) -> str:
        """The key of a table of addresses of record (10.3 step 5): no port, no parameters, escapes equal."""
        if self.user is None:
            return f"sip:{self.host}"
        user = canonical_escapes(self.user, USER) if "%" in self.user else self.user
        return f"sip:{user}@{self.host}"

    def matches(self, other: "Uri") -> bool:
        """Equality by RFC 3261 19.1.4, e.g. of the Contact of a REGISTER with a binding."""
        if not isinstance(other, SipUri):
            return False
        mine = (self.scheme, self.host, self.port, self.password, sorted(self.headers.split("&")))
        theirs = (other.scheme, other.host, other.port, other.password, sorted(other.headers.split("&")))
        return mine == theirs and _same_user(self.user, other.user) and _same_params(self, other)

    def __str__(self) -> str:
        text = f"{self.scheme}:{self.host}" if self.user is None else self._with_user()
        if self.port is not None:
            text += f":{self.port}"
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return f"{text}?{self.headers}" if self.headers else text

    def _with_user(self) -> str:
        if self.password is None:
            return f"{self.scheme}:{self.user}@{self.host}"
        return f"{self.scheme}:{self.user}:{self.password}@{self.host}"


class TelUri(Struct, frozen=True, gc=False):
    """tel: (RFC 3966). `number` is as written, separators included."""

    number: str
    params: Params = ()

    def param(self, name: str) -> str | None:
        """A parameter's value as written, "" if it has none, None if it is absent."""
        for known, value in self.params:
            if known.lower() == name:
                return value or ""
        return None

    @property
    def aor(self) -> str:
        """Without visual separators; a local number keeps its context, without which it means nothing."""
        digits = self.number.translate(SEPARATORS).lower()
        context = self.param("phone-context")
        return f"tel:{digits};phone-context={context.lower()}" if context else f"tel:{digits}"

    def __str__(self) -> str:
        text = f"tel:{self.number}"
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return text


class OtherUri(Struct, frozen=True, gc=False):
    """A URI of a scheme that is not routed here (RFC 3986): urn:, mailto:, ..."""

    text: str

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.text.partition(":")[0].lower()

    @property
    def aor(self) -> str:
        """URNs of services compare without case (RFC 5031)."""
        return self.text.lower() if self.scheme == "urn" else self.text

    def __str__(self) -> str:
        return self.text


Uri = SipUri | TelUri | OtherUri


@lru_cache(limits.SIP_URIS_REMEMBERED)
def parse_uri(text: str) -> Uri:
    """Read a URI. The same few are read over and over, and the values are immutable: they are remembered."""
    scheme, colon, rest = text.partition(":")
    if not colon or not scheme or scheme.strip(ALPHANUM + "+-.") or scheme[0] in DIGITS:
        raise malformed(f"{text[:60]!r} is no URI", CLAUSE)
    scheme = scheme.lower()
    if scheme in ("sip", "sips"):
        return _sip(scheme, rest)
    if scheme == "tel":
        return _tel(rest)
    if not rest or any(c <= " " or c in '<>"' or c > "~" for c in rest):
        raise malformed("a URI has forbidden characters", "RFC 3986 2")
    return OtherUri(text)


def _sip(scheme: str, rest: str) -> SipUri:
    userinfo, at, hostpart = rest.rpartition("@")
    user: str | None = None
    password: str | None = None
    if at:
        user, colon, secret = userinfo.partition(":")
        password = secret if colon else None
        if not _is_plain(user) or (password and password.strip(PASSWORD)):
            raise malformed("the user part of a SIP URI is malformed", CLAUSE)
    hostpart, _, headers = hostpart.partition("?")
    hostport, semicolon, parameters = hostpart.partition(";")
    host, port = read_hostport(hostport)
    if "%" in rest:
        _check_escapes(rest)
    if headers and headers.strip(HEADERS):
        raise malformed("the headers of a SIP URI are malformed", CLAUSE)
    params = _uri_params(parameters) if semicolon else ()
    return SipUri(scheme, user, password, host, port, params, headers)


def _is_plain(user: str) -> bool:
    """A network's tokens are long: octets are looked up in a table, `strip` would search for each character."""
    return user.isascii() and (user.isalnum() or bool(user and not user.encode().translate(None, USER_OCTETS)))


def _tel(rest: str) -> TelUri:
    digits, semicolon, parameters = rest.partition(";")
    bare = digits[1:] if digits.startswith("+") else digits
    allowed = DIGITS + "-.()" if bare is not digits else HEX + "*#-.()"
    if not bare.translate(SEPARATORS) or bare.strip(allowed):
        raise malformed("a tel URI has no valid number", "RFC 3966 3")
    if "%" in parameters:
        _check_escapes(parameters)
    return TelUri(digits, _uri_params(parameters) if semicolon else ())


def _uri_params(text: str) -> Params:
    pieces = text.split(";")
    if len(pieces) > limits.SIP_URI_PARAMETERS:
        raise SipError(414, "a URI has too many parameters", "limits.SIP_URI_PARAMETERS")
    params: list[tuple[str, str | None]] = []
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if not name or name.strip(PARAM) or value.strip(PARAM) or (equals and not value):
            raise malformed(f"{piece[:40]!r} is no URI parameter", CLAUSE)
        params.append((name, value if equals else None))
    return tuple(params)


@lru_cache(limits.SIP_URIS_REMEMBERED)
def read_hostport(text: str) -> tuple[str, int | None]:
    """host [":" port], as in URIs and Via."""
    if text[:1] == "[":
        host, bracket, rest = text.partition("]")
        host = host.replace(":::", "::") + bracket  # RFC 5118 4.10: read, never written
        if not bracket or rest[:1] not in ("", ":"):
            raise malformed("an IPv6 reference is not closed", CLAUSE)
        _check_ipv6(host)
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        if not host or host.strip(HOST) or host[0] in "-.":
            raise malformed(f"{text[:60]!r} is no host", CLAUSE)
    if not colon:
        return host.lower(), None
    return host.lower(), number(port, 65535)


def _check_ipv6(reference: str) -> None:
    try:
        IPv6Address("" if "%" in reference else reference[1:-1])  # a zone means nothing to a peer
    except AddressValueError as fault:
        raise malformed(f"{reference[:60]!r} is no IPv6 address", "RFC 5118 4") from fault


def is_ip_address(host: str) -> bool:
    """Whether a host (brackets or not) is an address and no name. Names, which most hosts are, cost next to nothing."""
    if not host[-1:].isdigit() and host[:1] != "[" and ":" not in host:
        return False
    try:
        if ":" in host:
            IPv6Address(host.strip("[]"))
        else:
            IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _check_escapes(text: str) -> None:
    for piece in text.split("%")[1:]:
        if len(piece) < 2 or piece[0] not in HEX or piece[1] not in HEX:
            raise malformed("a '%' in a URI is no escape", CLAUSE)


def canonical_escapes(text: str, plain: str) -> str:
    """Escapes of characters that need none undone, others in upper case (RFC 3261 19.1.4, RFC 3986 6.2.2)."""
    first, *rest = text.split("%")
    pieces = [first]
    for piece in rest:
        character = chr(int(piece[:2], 16))
        pieces.append(character if character in plain and character != "%" else f"%{piece[:2].upper()}")
        pieces.append(piece[2:])
    return "".join(pieces)


def _same_user(mine: str | None, theirs: str | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return canonical_escapes(mine, USER) == canonical_escapes(theirs, USER)


def _same_params(mine: SipUri, theirs: SipUri) -> bool:
    left = {name.lower(): (value or "").lower() for name, value in mine.params}
    right = {name.lower(): (value or "").lower() for name, value in theirs.params}
    if any((name in left) != (name in right) for name in DECISIVE):
        return False
    return all(right.get(name, value) == value for name, value in left.items())
