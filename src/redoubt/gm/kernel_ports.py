"""The protected ports of one address where the kernel has the ESP: each has a UDP socket and two guards.

A guard is a policy that blocks: what comes to the port, or leaves it, and did not or does not go through an association
is dropped in silence (TS 33.203 7.1, requirement row 33), a late retransmission of this host's own TCP included.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable

from redoubt.limits import IDLE_PROTECTED_PORTS
from redoubt.transport.flow import Address, FlowFailed
from redoubt.transport.ports import UdpPort
from redoubt.transport.xfrm import Xfrm, XfrmError, XfrmExists
from redoubt.transport.xfrm_entries import Direction, delete_guard, guarded, new_guard

OnArrival = Callable[[int, bytes, Address], None]
"""What came to which of our ports, from where."""


class GuardedPorts:
    """Ports that stay, and ports that are open while sets hold them, and for a while after."""

    def __init__(self, here: str, xfrm: Xfrm, receive: OnArrival) -> None:
        self._here = here
        self._xfrm = xfrm
        self._receive = receive
        self._open: dict[int, UdpPort] = {}
        self._holders: Counter[int] = Counter()
        self._idle: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, port: int) -> bool:
        return port in self._open

    def stay(self, ports: Iterable[int]) -> None:
        """Opens ports for as long as this lasts. Raises OSError and XfrmError."""
        for port in ports:
            self._ensure(port)
            self._holders[port] += 1

    def hold(self, *ports: int) -> None:
        """All or none. Raises OSError and XfrmError."""
        held: list[int] = []
        try:
            for port in ports:
                self._ensure(port)
                self._holders[port] += 1
                self._idle.pop(port, None)
                held.append(port)
        except (OSError, XfrmError):
            self.release(*held)
            raise

    def release(self, *ports: int) -> None:
        """A port that nobody holds stays open for a while: connections there may still be ending."""
        for port in ports:
            self._holders[port] -= 1
            if not self._holders[port]:
                del self._holders[port]
                self._idle[port] = None
        while len(self._idle) > IDLE_PROTECTED_PORTS:
            self._shut(self._idle.popitem(last=False)[0], unguard=True)

    def send(self, port: int, data: bytes, to: Address) -> None:
        """Raises FlowFailed."""
        opened = self._open.get(port)
        if opened is None:
            raise FlowFailed(f"port {port} is closed")
        opened.send(data, to)

    def guards(self) -> set[tuple[bytes, int]]:
        """What names the policies of the open ports."""
        return {(guarded(self._here, port, way), way) for port in self._open for way in Direction}

    def close(self, *, unguard: bool) -> None:
        """Guards stay where another process goes on with the sets."""
        for port in list(self._open):
            self._shut(port, unguard)

    # ---- inside

    def _ensure(self, port: int) -> None:
        if port in self._open:
            return
        opened = UdpPort(self._here, port, lambda data, source: self._receive(port, data, source))
        self._open[port] = opened
        for way in Direction:
            try:
                self._xfrm.change([new_guard(self._here, port, way)])
            except XfrmExists:  # a former process made it
                continue
            except XfrmError:
                self._shut(port, unguard=True)
                raise

    def _shut(self, port: int, unguard: bool) -> None:
        self._open.pop(port).close()
        for way in Direction if unguard else ():
            try:
                self._xfrm.change([delete_guard(self._here, port, way)])
            except XfrmError:
                continue
