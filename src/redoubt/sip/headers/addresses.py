"""name-addr and Contact (RFC 3261 20.10 and 25.1): what From, To, Route, Path and the P- identities hold."""

from enum import Enum
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from redoubt.sip.grammar import (
    DIGITS,
    DISPLAY,
    Params,
    change_params,
    find_param,
    malformed,
    number,
    print_params,
    quote,
    quoted_end,
    read_params,
    unquote,
)
from redoubt.sip.uri import Uri, parse_uri


class Star(Enum):
    """The Contact of a REGISTER that removes all bindings (RFC 3261 10.2.2)."""

    STAR = "*"

    def __str__(self) -> str:
        return "*"


STAR = Star.STAR


class NameAddr(Struct, frozen=True, gc=False):
    """`"display" <uri>;params`. `display` is without quotes, None if there is none."""

    display: str | None
    uri: Uri
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "NameAddr":
        """name-addr or addr-spec; in the latter all parameters are the header's (RFC 3261 20)."""
        display: str | None = None
        if text[:1] == "<" and (closing := text.find(">")) > 0:  # nearly always
            after = text[closing + 1 :]
            return cls(None, parse_uri(text[1:closing]), _after(after) if after else ())
        if text[:1] == '"':
            end = quoted_end(text, 0)
            display = unquote(text[:end])
            text = text[end:].lstrip(" \t")
            if text[:1] != "<":
                raise malformed("a display name is not followed by '<'")
        opening = text.find("<")
        semicolon = text.find(";")
        if opening < 0 or 0 <= semicolon < opening:
            return _addr_spec(text)
        if opening:
            display = _display_tokens(text[:opening])
        closing = text.find(">", opening)
        if closing < 0:
            raise malformed("an angle bracket is not closed")
        after = text[closing + 1 :]
        return cls(display, parse_uri(text[opening + 1 : closing]), _after(after) if after else ())

    def param(self, name: str) -> str | None:
        """A header parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    @property
    def tag(self) -> str | None:
        """The tag of From and To (RFC 3261 19.3)."""
        return find_param(self.params, "tag")

    def with_param(self, name: str, value: str | None) -> "NameAddr":
        """A parameter set ("" for one without a value, None to remove)."""
        return replace(self, params=change_params(self.params, {name: value}))

    @property
    def expires(self) -> int | None:
        """The expires parameter of a Contact in seconds (RFC 3261 20.10)."""
        text = find_param(self.params, "expires")
        return None if text is None else _lifetime(text)

    @property
    def q(self) -> float:
        """The preference of a Contact, 1.0 if not said (RFC 3261 20.10 leaves the default open)."""
        text = find_param(self.params, "q")
        return 1.0 if text is None else read_qvalue(text)

    def __str__(self) -> str:
        text = f"<{self.uri}>" if self.display is None else f"{quote(self.display)} <{self.uri}>"
        return text + print_params(self.params) if self.params else text


Contact = NameAddr | Star


def parse_contact(text: str) -> Contact:
    """`*` or a name-addr (RFC 3261 20.10)."""
    return STAR if text == "*" else NameAddr.parse(text)


@lru_cache(256)
def _lifetime(text: str) -> int:
    """delta-seconds: phones ask for few different ones, and each is read at every function on the way."""
    return number(text, 2**32 - 1)


def read_qvalue(text: str) -> float:
    """qvalue of RFC 3261 25.1: 0 to 1, up to three decimals."""
    whole, _, decimals = text.partition(".")
    if whole not in ("0", "1") or decimals.strip(DIGITS) or len(decimals) > 3:
        raise malformed(f"{text[:20]!r} is no q value")
    value = float(text)
    if value > 1:
        raise malformed(f"q value {text} is above 1")
    return value


def _addr_spec(text: str) -> NameAddr:
    spec, semicolon, rest = text.partition(";")
    spec = spec.rstrip(" \t")
    if "?" in spec or "," in spec:
        raise malformed("a URI with '?' or ',' must stand in angle brackets", "RFC 3261 20.10")
    return NameAddr(None, parse_uri(spec), read_params(rest) if semicolon else ())


def _display_tokens(text: str) -> str:
    if text.strip(DISPLAY):
        raise malformed("a display name with special characters must be quoted")
    return text.strip(" \t")


def _after(text: str) -> Params:
    if text[0] != ";":
        text = text.strip(" \t")
    if not text:
        return ()
    if text[0] != ";":
        raise malformed("an address is followed by something else than parameters")
    return read_params(text[1:])


