"""Where a node listens: transport, address, and which side of the network the socket faces."""

from dataclasses import dataclass
from ipaddress import ip_address

from redoubt.transport.flow import Address, Zone

TRANSPORTS = ("udp", "tcp", "tls")
STREAMS = ("tcp", "tls", "sctp")  # what Diameter uses


@dataclass(frozen=True, slots=True)
class Listen:
    """One socket. Port 0 lets the system choose."""

    transport: str
    host: str  # an IPv6 address without brackets
    port: int
    zone: Zone

    @classmethod
    def parse(cls, text: str, zone: Zone, transports: tuple[str, ...] = TRANSPORTS) -> "Listen":
        """`udp:127.0.0.1:5060`, `tls:[::1]:5061`. Raises ValueError with what to write instead."""
        transport, _, rest = text.partition(":")
        host, colon, port = rest.rpartition(":")
        if transport not in transports or not colon or not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text!r} is not TRANSPORT:HOST:PORT; write for example {transports[0]}:127.0.0.1:5060")
        return cls(transport, host.strip("[]"), int(port), zone)

    @property
    def address(self) -> Address:
        return (self.host, self.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a host, without brackets, is this machine and can be reached from no other."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
