"""A flow: where a message came from or goes to, and what secures that way: the one truth about protection."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from msgspec import Struct

Address = tuple[str, int]


class Zone(Enum):
    """Which side of the network a socket faces."""

    ACCESS = "access"  # Gm: phones, nobody is trusted
    CORE = "core"  # Mw, ISC, Mx: other core nodes
    BORDER = "border"  # Ici: other operators, trusted as far as an agreement says


class Clear(Struct, frozen=True, gc=False):
    """Nothing protects the flow, nobody vouches for the sender."""


class TrustedAddress(Struct, frozen=True, gc=False):
    """A configured address on a protected network domain (TS 33.210)."""

    address: str


class TlsPeer(Struct, frozen=True, gc=False):
    """Mutual TLS; the names that the peer's certificate proved."""

    names: tuple[str, ...]
    partner: bool  # one of the names is on the partner list
    certificate: bytes = b""  # what it showed (DER), where that is looked at again


class Internal(Struct, frozen=True, gc=False):
    """A call from another function of this process."""

    caller: str


class EspAssociation(Struct, frozen=True, gc=False):
    """ESP between a phone and its P-CSCF (TS 33.203 6.3): the association set that carries the flow, by its number."""

    number: int
    impi: str  # whose authentication keyed it


TRUSTED = (Internal, TrustedAddress)
Security = Clear | TrustedAddress | TlsPeer | Internal | EspAssociation


class FlowFailed(Exception):
    """The bytes could not be handed over: the connection is gone or the socket refused."""


def _nothing_to_close() -> None:
    """A datagram flow has no connection."""


@dataclass(slots=True, eq=False)
class Flow:
    """One way to one peer. `send` hands bytes over or raises FlowFailed.

    `kept` is set by whoever authenticated the peer: idleness and a full table don't close such a connection.
    """

    transport: str  # udp, tcp, tls, internal
    local: Address
    remote: Address
    zone: Zone
    security: Security
    send: Callable[[bytes], None]
    is_closed: Callable[[], bool] = lambda: False
    close: Callable[[], None] = _nothing_to_close
    kept: bool = False
    abort: Callable[[], None] = _nothing_to_close  # at once: what was handed over and not sent yet is never sent
    trusted: bool = field(init=False)  # whether headers that carry trust may be believed (TS 33.203 Annex J)

    def __post_init__(self) -> None:
        security = self.security
        if isinstance(security, TlsPeer):
            self.trusted = security.partner
        else:
            self.trusted = isinstance(security, TRUSTED)

    @property
    def is_reliable(self) -> bool:
        return self.transport != "udp"


def _not_a_wire(_data: bytes) -> None:
    raise FlowFailed("an internal flow carries calls, not bytes")


_internal: dict[str, Flow] = {}


def internal_flow(caller: str) -> Flow:
    """The flow on which a function of this process reaches another."""
    flow = _internal.get(caller)
    if flow is None:
        here = ("internal", 0)
        flow = _internal[caller] = Flow("internal", here, here, Zone.CORE, Internal(caller), _not_a_wire)
    return flow
