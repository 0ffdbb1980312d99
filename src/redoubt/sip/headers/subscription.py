"""Event and Subscription-State (RFC 6665 8.2), Reason (RFC 3326), Content-Type (RFC 3261 20.15)."""


from msgspec import Struct

from redoubt.sip.grammar import (
    Params,
    find_param,
    is_token,
    malformed,
    number,
    print_params,
    token,
    value_and_params,
)


class Event(Struct, frozen=True, gc=False):
    """An event package (in lower case: RFC 6665 8.2.1 compares octets, all packages are lower case)."""

    package: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "Event":
        """event-type and its parameters, of which `id` matters."""
        package, params = value_and_params(text)
        return cls(token(package), params)

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    def __str__(self) -> str:
        return self.package + print_params(self.params)


class SubscriptionState(Struct, frozen=True, gc=False):
    """active, pending or terminated, with expires, reason and retry-after."""

    state: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "SubscriptionState":
        """The state in lower case."""
        state, params = value_and_params(text)
        return cls(token(state).lower(), params)

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    @property
    def expires(self) -> int | None:
        """Seconds that are left (RFC 6665 4.1.3)."""
        text = self.param("expires")
        return None if text is None else number(text, 2**32 - 1)

    def __str__(self) -> str:
        return self.state + print_params(self.params)


class Reason(Struct, frozen=True, gc=False):
    """Why a request was sent or failed: a protocol, and cause and text as parameters."""

    protocol: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "Reason":
        """reason-value of RFC 3326 2."""
        protocol, params = value_and_params(text)
        return cls(token(protocol), params)

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    @property
    def cause(self) -> int | None:
        """The status or Q.850 code."""
        text = self.param("cause")
        return None if text is None else number(text, 999)

    def __str__(self) -> str:
        return self.protocol + print_params(self.params)


class ContentType(Struct, frozen=True, gc=False):
    """`type/subtype` in lower case, and parameters such as boundary."""

    media_type: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "ContentType":
        """media-type of RFC 3261 25.1."""
        media_type, params = value_and_params(text)
        kind, slash, subtype = media_type.partition("/")
        kind, subtype = kind.rstrip(" \t"), subtype.lstrip(" \t")
        if not slash or not is_token(kind) or not is_token(subtype):
            raise malformed("a media type is no type/subtype", "RFC 3261 20.15")
        return cls(f"{kind}/{subtype}".lower(), params)

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    def __str__(self) -> str:
        return self.media_type + print_params(self.params)
