"""Security-Client, Security-Server and Security-Verify (RFC 3329 2.2, TS 33.203 Annex H)."""


from msgspec import Struct
from msgspec.structs import replace

from redoubt.sip.grammar import Params, change_params, find_param, print_params, token, value_and_params


class SecurityMechanism(Struct, frozen=True, gc=False):
    """A mechanism (in lower case) and its parameters, e.g. ipsec-3gpp with alg, ealg, spi-c, ..."""

    name: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "SecurityMechanism":
        """sec-mechanism of RFC 3329 2.2; phones put blanks around the semicolons."""
        name, params = value_and_params(text)
        return cls(token(name).lower(), params)

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    def with_(self, **changes: str | None) -> "SecurityMechanism":
        """Parameters set ("" for one without a value, None to remove); `_` in a name stands for `-`."""
        wanted = {name.replace("_", "-"): value for name, value in changes.items()}
        return replace(self, params=change_params(self.params, wanted))

    def __str__(self) -> str:
        return self.name + print_params(self.params)
