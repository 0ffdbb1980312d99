"""The P- headers of RFC 7315 (charging, access and visited network) and Privacy (RFC 3323 4.2)."""


from msgspec import Struct
from msgspec.structs import replace

from redoubt.sip.grammar import (
    Params,
    change_params,
    find_param,
    malformed,
    print_params,
    quote,
    quoted_end,
    read_params,
    token,
    unquote,
    value_and_params,
)


class AccessNetworkInfo(Struct, frozen=True, gc=False):
    """P-Access-Network-Info (RFC 7315 4.4): access type or class, and its parameters."""

    access: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "AccessNetworkInfo":
        """access-net-spec."""
        access, params = value_and_params(text)
        return cls(token(access), params)

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    def __str__(self) -> str:
        return self.access + print_params(self.params)


class VisitedNetworkId(Struct, frozen=True, gc=False):
    """P-Visited-Network-ID (RFC 7315 4.3): the text without quotes."""

    network: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "VisitedNetworkId":
        """token or quoted-string, and parameters."""
        end = quoted_end(text, 0) if text[:1] == '"' else (text + ";").index(";")
        rest = text[end:].strip(" \t")
        name = text[:end].strip(" \t")
        network = unquote(name) if name[:1] == '"' else token(name)
        if rest and rest[0] != ";":
            raise malformed("P-Visited-Network-ID is malformed", "RFC 7315 5")
        return cls(network, read_params(rest[1:]) if rest else ())

    def __str__(self) -> str:
        return quote(self.network) + print_params(self.params)


class ChargingVector(Struct, frozen=True, gc=False):
    """P-Charging-Vector (RFC 7315 4.6, TS 24.229 7.2A.5). `params` keeps all, icid-value included."""

    params: Params

    @classmethod
    def parse(cls, text: str) -> "ChargingVector":
        """icid-value is mandatory."""
        vector = cls(read_params(text))
        if not vector.icid:
            raise malformed("P-Charging-Vector has no icid-value", "RFC 7315 5.6")
        return vector

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    @property
    def icid(self) -> str:
        """The IMS charging identity."""
        return find_param(self.params, "icid-value") or ""

    @property
    def orig_ioi(self) -> str | None:
        """The network that the request came from."""
        return find_param(self.params, "orig-ioi")

    @property
    def term_ioi(self) -> str | None:
        """The network that the request went to."""
        return find_param(self.params, "term-ioi")

    @property
    def generated_at(self) -> str | None:
        """The host that made the identity."""
        return find_param(self.params, "icid-generated-at")

    def with_(self, **changes: str | None) -> "ChargingVector":
        """Parameters set (None to remove); `_` in a name stands for `-`."""
        wanted = {name.replace("_", "-"): value for name, value in changes.items()}
        return replace(self, params=change_params(self.params, wanted))

    @classmethod
    def make(
        cls,
        icid: str,
        orig_ioi: str | None = None,
        term_ioi: str | None = None,
        generated_at: str | None = None,
    ) -> "ChargingVector":
        """From its parts, quoted where RFC 7315 allows every character."""
        values: Params = (("icid-value", quote(icid)), ("icid-generated-at", generated_at))
        values += (("orig-ioi", orig_ioi), ("term-ioi", term_ioi))
        return cls(tuple([(name, value) for name, value in values if value is not None]))

    def __str__(self) -> str:
        return print_params(self.params)[1:]


class ChargingFunctionAddresses(Struct, frozen=True, gc=False):
    """P-Charging-Function-Addresses (RFC 7315 4.5): ccf and ecf, each maybe several."""

    params: Params

    @classmethod
    def parse(cls, text: str) -> "ChargingFunctionAddresses":
        """charge-addr-params."""
        return cls(read_params(text))

    @property
    def ccf(self) -> tuple[str, ...]:
        """Charging collection functions, the primary one first."""
        return tuple([unquote(value) for name, value in self.params if name == "ccf" and value])

    @property
    def ecf(self) -> tuple[str, ...]:
        """Event charging functions, the primary one first."""
        return tuple([unquote(value) for name, value in self.params if name == "ecf" and value])

    def __str__(self) -> str:
        return print_params(self.params)[1:]


class Privacy(Struct, frozen=True, gc=False):
    """Privacy: the wanted values in lower case (RFC 3323 4.2, RFC 3325 9.3, RFC 7044)."""

    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Privacy":
        """priv-values, separated by semicolons; phones also use commas."""
        return cls(tuple([token(v.strip(" \t")).lower() for v in text.replace(",", ";").split(";")]))

    def __contains__(self, value: str) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ";".join(self.values)
