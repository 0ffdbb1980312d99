"""Via (RFC 3261 20.42, RFC 3581)."""


from msgspec import Struct

from redoubt.sip.grammar import Params, find_param, malformed, print_params, read_params, token
from redoubt.sip.uri import read_hostport

USUAL = {f"SIP/2.0/{name}": name for name in ("UDP", "TCP", "TLS", "SCTP", "WS", "WSS")}


class Via(Struct, frozen=True, gc=False):
    """One hop: `SIP/2.0/transport host:port;params`. `transport` is in upper case."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> "Via":
        """Blanks may stand around the slashes and the colon (RFC 4475 3.1.1.1)."""
        sent, semicolon, rest = text.partition(";")
        protocol, _, sent_by = sent.partition(" ")
        transport = USUAL.get(protocol) if sent_by else None
        if transport is None:
            transport, sent_by = _spaced(sent)
        host, port = read_hostport(_tight(sent_by) if " " in sent_by or "\t" in sent_by else sent_by)
        return cls(transport, host, port, read_params(rest) if semicolon else ())

    def param(self, name: str) -> str | None:
        """A parameter's value without quotes, "" if it has none, None if absent."""
        return find_param(self.params, name)

    @property
    def branch(self) -> str | None:
        """The transaction identifier (RFC 3261 8.1.1.7)."""
        return find_param(self.params, "branch")

    @property
    def received(self) -> str | None:
        """The source address that the next hop saw, without brackets (RFC 5118 4.5)."""
        value = find_param(self.params, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The source port that the next hop saw; 0 if it was asked for and is not filled in (RFC 3581)."""
        value = find_param(self.params, "rport")
        if value is None:
            return None
        return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0

    @property
    def address(self) -> str:
        """The host without the brackets of an IPv6 address."""
        return self.host[1:-1] if self.host[0] == "[" else self.host

    def at_source(self, host: str, port: int | None) -> "Via":
        """With `received`, and `rport` filled in when a port is given (RFC 3261 18.2.1, RFC 3581 4)."""
        params = [p for p in self.params if p[0] != "received"]
        if port is not None:
            params = [("rport", str(port)) if p[0] == "rport" else p for p in params]
        params.append(("received", host))
        return Via(self.transport, self.host, self.port, tuple(params))

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{print_params(self.params)}"


def _tight(text: str) -> str:
    """Without the blanks around the whole and around the colon."""
    text = text.strip(" \t")
    if " " not in text and "\t" not in text:
        return text
    host, colon, port = text.rpartition(":")
    if not colon:
        raise malformed("blanks in the sent-by of a Via", "RFC 3261 20.42")
    return f"{host.rstrip()}:{port.lstrip()}"


def _spaced(sent: str) -> tuple[str, str]:
    parts = sent.replace("\t", " ").split("/", 2)
    if len(parts) != 3:
        raise malformed("a Via has no protocol", "RFC 3261 20.42")
    name, version, rest = (part.strip() for part in parts)
    transport, _, sent_by = rest.partition(" ")
    if (name.upper(), version) != ("SIP", "2.0") or not sent_by:
        raise malformed("a Via is of another protocol", "RFC 3261 20.42")
    return token(transport).upper(), sent_by
