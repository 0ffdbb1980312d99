"""Peers behind security gateways, such as another operator's application server (TS 33.210 5; SA 6 is Sh to it).

The tunnel stands for the protection that TLS gives elsewhere: while it does, the peer's addresses are of the
protected network domain; when it falls, nothing is said to the peer or taken from it, and its connection ends.
"""

from collections.abc import Callable, Iterable

from redoubt.config import DiameterPeer

Stands = Callable[[str], bool]


def _none(_gateway: str) -> bool:
    """Where no gateway is driven, none stands."""
    return False


class Tunnelled:
    """Who is behind which gateway."""

    def __init__(self, stands: Stands | None = None) -> None:
        self._stands = stands or _none
        self._gateways: dict[str, str] = {}  # by address

    def know(self, gateway: str, addresses: Iterable[str]) -> None:
        self._gateways.update(dict.fromkeys(addresses, gateway))

    def protects(self, address: str) -> bool:
        """Whether a standing tunnel leads to that address."""
        gateway = self._gateways.get(address)
        return gateway is not None and self._stands(gateway)

    def is_cut(self, peer: DiameterPeer) -> bool:
        """Whether the peer is behind a tunnel that has fallen."""
        return bool(peer.gateway) and not self._stands(peer.gateway)
