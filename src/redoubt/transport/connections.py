"""The connections of a node: reuse, caps by source and in all, an end for the idle (requirement row 96)."""

import asyncio
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import islice

from redoubt import limits
from redoubt.transport.connection import Connection
from redoubt.transport.flow import Flow
from redoubt.transport.tls_causes import cause_of

Target = tuple[str, str, int, str]  # transport, host, port, name that TLS must prove
Report = Callable[[str, str], None]  # what happened, from where
SWEEP_S = 5.0
LOOKED_AT = 64


class Connections:
    """All open connections. Those of authenticated peers (`flow.kept`) are never the ones to go."""

    def __init__(
        self,
        report: Report,
        *,
        total: int = limits.STREAM_CONNECTIONS,
        per_source: int = limits.STREAM_CONNECTIONS_PER_SOURCE,
    ) -> None:
        self._report = report
        self._total = total
        self._per_source = per_source
        self._open: OrderedDict[Connection, None] = OrderedDict()
        self._sources: Counter[str] = Counter()
        self._reusable: dict[Target, Flow] = {}
        self._targets: dict[Flow, list[Target]] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for it; a full table makes room by closing who has been silent longest."""
        flow = connection.flow
        assert flow is not None
        source = flow.remote[0]
        if self._sources[source] >= self._per_source and not flow.trusted:
            self._report("too many connections from one address, one was refused", source)
            return False
        if len(self._open) >= self._total and not self._make_room():
            self._report("the table of connections is full, one was refused", source)
            return False
        self._open[connection] = None
        self._sources[source] += 1
        if self._sweep_handle is None:
            self._sweep_handle = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection not in self._open:
            return
        del self._open[connection]
        flow = connection.flow
        assert flow is not None
        source = flow.remote[0]
        if isinstance(connection.error, ssl.SSLError):  # TLS 1.3 tells of a refused certificate after all
            self._report(cause_of(connection.error), source)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        for target in self._targets.pop(flow, ()):
            if self._reusable.get(target) is flow:
                del self._reusable[target]

    def to(self, target: Target) -> Flow | None:
        """The flow of an open connection to this target."""
        flow = self._reusable.get(target)
        return None if flow is None or flow.is_closed() else flow

    def reuse(self, target: Target, flow: Flow) -> None:
        """Lets later requests to the target go over this connection (RFC 3261 18), whoever opened it (RFC 5923 5)."""
        if flow.is_closed() or self._reusable.get(target) is flow:
            return
        targets = self._targets.setdefault(flow, [])
        if len(targets) < limits.TARGETS_PER_CONNECTION:
            self._reusable[target] = flow
            targets.append(target)

    def close(self) -> None:
        """Ends all of them."""
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        for connection in list(self._open):
            connection.close()

    # ---- inside

    def _make_room(self) -> bool:
        """Looks at the oldest few, so that a flood of connections costs little; those who must stay go to the end."""
        losable: list[Connection] = []
        for connection in list(islice(self._open, LOOKED_AT)):
            flow = connection.flow
            if flow is not None and (flow.kept or flow.trusted):
                self._open.move_to_end(connection)
            else:
                losable.append(connection)
        if not losable:
            return False
        victim = min(losable, key=lambda each: (each.has_spoken, each.heard_at))
        self.forget(victim)
        victim.abort()
        return True

    def _sweep(self) -> None:
        """Closes who never finished a first message, and who has been idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            if connection.flow is not None and connection.flow.kept:
                continue
            patient = connection.has_spoken or connection.flow in self._targets
            allowed_s = limits.STREAM_IDLE_S if patient else limits.STREAM_FIRST_MESSAGE_S
            if now - connection.heard_at >= allowed_s:
                connection.abort()
        self._sweep_handle = loop.call_later(SWEEP_S, self._sweep) if self._open else None
