"""TLS as the simulator has it: declared names instead of certificates (the real thing is tested on real
sockets).
"""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeclaredTls:
    """Passed as `ssl=`: who this side is, and whom it believes.

    `names` stand in its certificate ("sip:home1.net" as a URI, anything else as DNS); none means no
    certificate. A server always asks for the client's, as with `ssl.CERT_OPTIONAL`; `require_peer` insists.
    What `get_extra_info("peercert")` shows has been verified.
    """

    names: tuple[str, ...] = ()
    authority: str = "the simulator's"
    trusts: tuple[str, ...] = ("the simulator's",)
    check_hostname: bool = True
    require_peer: bool = False

    @property
    def certificate(self) -> dict[str, object] | None:
        """As `ssl.SSLSocket.getpeercert` describes it to the other side; None without names."""
        if not self.names:
            return None
        names = tuple(("URI" if ":" in name else "DNS", name) for name in self.names)
        return {"subjectAltName": names, "subject": ((("commonName", self.names[0]),),)}


def handshake(client: DeclaredTls | None, server: DeclaredTls | None, server_hostname: str) -> None:
    """Raise what a client sees when the two sides don't agree (RFC 8446 4.4.2, RFC 6125 6)."""
    if client is None:
        return
    if server is None:
        raise ssl.SSLError(1, "wrong version number: the server speaks no TLS")
    if not server.names or server.authority not in client.trusts:
        raise ssl.SSLCertVerificationError(1, f"certificate of {server.authority} authority is not trusted")
    if client.check_hostname and server_hostname not in server.names:
        raise ssl.SSLCertVerificationError(1, f"{server_hostname} is not among {', '.join(server.names)}")
    if server.require_peer and not client.names:
        raise ssl.SSLError(1, "certificate required")
    if client.names and client.authority not in server.trusts:
        raise ssl.SSLError(1, "unknown ca")


def declared(context: object) -> DeclaredTls | None:
    """The `ssl=` argument; real contexts have no place here."""
    if context is None or isinstance(context, DeclaredTls):
        return context
    raise TypeError(f"in the simulator ssl= takes redoubt.sim.DeclaredTls, not {type(context).__name__}")
