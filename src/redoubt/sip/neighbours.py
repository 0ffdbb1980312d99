"""What a border's stack asks of the operator's agreements (TS 33.203 6.5, RFC 5922, RFC 5923)."""

from typing import Protocol

from redoubt.transport.flow import Flow, Security, TlsPeer


class Neighbours(Protocol):
    """Who may speak on sockets of Zone.BORDER, and as whom."""

    def vouch(self, peer: TlsPeer | None, host: str) -> Security:
        """What secures a flow with that address, after the handshake if there was one."""
        ...

    def stranger(self, flow: Flow) -> str:
        """Why no agreement covers the flow; "" if one does."""
        ...

    def mistaken(self, name: str, flow: Flow) -> str:
        """Why the far end of a new connection is not whom `Candidate.name` means; "" if it is."""
        ...

    def known_as(self, flow: Flow) -> str:
        """The `Candidate.name` whose requests may go over the connection too (RFC 5923 5); "" for none."""
        ...

    def welcome(self, flow: Flow) -> str:
        """Why a connection that was just made must end; "" if an agreement covers it and there is room for it."""
        ...

    def failed(self, who: str, why: str) -> None:
        """A connection with that `Candidate.name` or address came to nothing."""
        ...
