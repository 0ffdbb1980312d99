"""Session-Expires and Min-SE (RFC 4028 4, 5), Replaces (RFC 3891 6.1)."""


from msgspec import Struct

from redoubt.sip.grammar import WORD, Params, find_param, malformed, number, print_params, value_and_params


class SessionExpires(Struct, frozen=True, gc=False):
    """The interval in seconds, and who refreshes."""

    seconds: int
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "SessionExpires":
        """delta-seconds and parameters, for Session-Expires and Min-SE alike."""
        seconds, params = value_and_params(text)
        return cls(number(seconds, 2**32 - 1), params)

    @property
    def refresher(self) -> str | None:
        """uac or uas."""
        return find_param(self.params, "refresher")

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    def __str__(self) -> str:
        return f"{self.seconds}{print_params(self.params)}"


class Replaces(Struct, frozen=True, gc=False):
    """The dialog that an INVITE takes over."""

    call_id: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "Replaces":
        """callid and both tags, each exactly once (RFC 3891 6.1)."""
        call_id, params = value_and_params(text)
        names = [name for name, _ in params]
        if names.count("to-tag") != 1 or names.count("from-tag") != 1:
            raise malformed("Replaces needs one to-tag and one from-tag", "RFC 3891 6.1")
        return cls(read_call_id(call_id), params)

    @property
    def to_tag(self) -> str:
        """The tag of the side that the request is sent to."""
        return find_param(self.params, "to-tag") or ""

    @property
    def from_tag(self) -> str:
        """The tag of the far side."""
        return find_param(self.params, "from-tag") or ""

    def __str__(self) -> str:
        return self.call_id + print_params(self.params)


def read_call_id(text: str) -> str:
    """callid of RFC 3261 25.1: word ["@" word]."""
    left, at, right = text.partition("@")
    if not left or left.strip(WORD) or right.strip(WORD) or (at and not right):
        raise malformed("a Call-ID is no word@word", "RFC 3261 20.8")
    return text
