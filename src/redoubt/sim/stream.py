"""TCP on the virtual network: connections that lose nothing, keep their order, and break as real ones do.

A connection is two transports and two pipes. What a partition or an interceptor stops is retried with the
back-off of RFC 6298 5 and given up after the time that Linux takes (RFC 1122 4.2.3.5 asks for 100 s at
least); whoever writes to an end that is gone gets a reset (RFC 9293 3.5.2).
"""

import asyncio
import contextvars
import socket
import ssl
from collections import deque
from collections.abc import Callable
from errno import ETIMEDOUT
from typing import Any, NamedTuple

from redoubt.sim.addresses import Address, VirtualSocket
from redoubt.sim.network import LONGEST_RETRANSMISSION_S, RETRANSMISSION_S, Network
from redoubt.sim.packet import Fate, opaque
from redoubt.sim.tls import DeclaredTls

GIVE_UP_S = 924.6  # Linux tcp_retries2 = 15
HIGH_WATER_OCTETS = 65_536
TIMER_SLACK_S = 1e-9  # the loop runs timers that are due within its resolution


class Segment(NamedTuple):
    """One piece on its way: octets, or a flag (SYN, FIN, RST)."""

    due: float
    payload: bytes
    flag: str


class Pipe:
    """One direction of a connection; it outlives the end that wrote into it."""

    def __init__(self, network: Network, sender: "StreamTransport") -> None:
        self.sender = sender
        self.receiver: StreamTransport  # set by whoever joins two ends
        self.octets = 0
        self._network = network
        self._segments: deque[Segment] = deque()
        self._last_due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stuck_since: float | None = None
        self._timeout_s = RETRANSMISSION_S

    def send(self, payload: bytes, flag: str = "") -> None:
        """Put octets or a flag on the wire."""
        network, source, target = self._network, self.sender.local, self.sender.remote
        split = network.link_between(source.host, target.host).split
        at = len(payload)
        if at > 1 and split and network.random.random() < split:
            at = network.random.randrange(1, at)
        for part in (payload[:at], payload[at:]) if at < len(payload) else (payload,):
            self._send_part(part, flag)
        if self._timer is None:
            self._wake_at(self._segments[0].due)

    def _send_part(self, payload: bytes, flag: str) -> None:
        network, source, target = self._network, self.sender.local, self.sender.remote
        fate = Fate.PARTITIONED if network.blocked(source.host, target.host) else Fate.DELIVERED
        network.show(self.sender.kind, source, target, payload, fate, flag)
        due = network.loop.time() + network.latency(source.host, target.host)
        self._last_due = max(self._last_due, due)
        self._segments.append(Segment(self._last_due, payload, flag))
        self.octets += len(payload)

    def pump(self) -> None:
        """Deliver what is due."""
        self._timer = None
        held = False
        try:
            held = self._deliver_due(self._network.loop.time() + TIMER_SLACK_S)
        finally:  # a protocol that raises stops neither what follows nor the loop, which reports it
            if self._segments and self._timer is None and not held:
                self._wake_at(self._segments[0].due)

    def _deliver_due(self, now: float) -> bool:
        """True when the rest waits for the receiver to read again."""
        while self._segments and self._segments[0].due <= now:
            if self.receiver.reading_paused and not self._segments[0].flag and not self.receiver.lost:
                return True
            if not self._deliver(self._segments[0]):
                self._retry()
                return False
            self._stuck_since = None
            self._timeout_s = RETRANSMISSION_S
        return False

    def resume(self) -> None:
        """The receiver reads again."""
        if self._timer is None and self._segments:
            self._wake_at(self._network.loop.time())

    def _wake_at(self, due: float) -> None:
        self._timer = self._network.loop.call_at(due, self.pump)

    def _deliver(self, segment: Segment) -> bool:
        """Hand the first segment over; False when something on the way stopped it."""
        source, target = self.sender.local, self.sender.remote
        if self._network.blocked(source.host, target.host):
            return False
        payload: bytes | None = segment.payload
        if segment.payload and self._network.has_interceptors:
            payload = self._intercepted(segment.payload)
            if payload is None:
                return False
        self._segments.popleft()
        self.octets -= len(segment.payload)
        self.sender.drained(self.octets)
        self.receiver.arrived(payload or b"", segment.flag)
        return True

    def _intercepted(self, payload: bytes) -> bytes | None:
        """TLS turns an alteration into the end of the connection (RFC 8446 5.2, bad_record_mac)."""
        sender, network = self.sender, self._network
        if sender.kind == "tcp":
            return network.intercepted("tcp", sender.local, sender.remote, payload)
        shown = opaque(payload)
        passed = network.intercepted("tls", sender.local, sender.remote, shown)
        if passed is None or passed == shown:
            return None if passed is None else payload
        for end in (self.receiver, sender):
            end.fail(ssl.SSLError(1, "bad record mac"))
        return b""

    def _retry(self) -> None:
        now = self._network.loop.time()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        if now - self._stuck_since >= GIVE_UP_S:
            self._segments.clear()
            self.octets = 0
            self.sender.fail(TimeoutError(ETIMEDOUT, f"{self.sender.remote} acknowledges nothing"))
            return
        self._wake_at(now + self._timeout_s)
        self._timeout_s = min(self._timeout_s * 2, LONGEST_RETRANSMISSION_S)


class StreamTransport(asyncio.Transport):
    """One end of a connection, with the semantics of asyncio's own."""

    def __init__(
        self,
        network: Network,
        local: Address,
        remote: Address,
        own_tls: DeclaredTls | None,
        peer_tls: DeclaredTls | None,
    ) -> None:
        super().__init__(_extra(local, remote, own_tls, peer_tls))
        self.local = local
        self.remote = remote
        self.kind = "tcp" if own_tls is None else "tls"
        self.outbound = Pipe(network, self)
        self.dialled = False  # by this end: its port is then taken
        self.accept: Callable[[StreamTransport], None] | None = None  # what the dialler's ACK starts
        self.reading_paused = False
        self.lost = False
        self._network = network
        self._protocol: Any = None
        self._closing = False
        self._eof_sent = False
        self._writing_paused = False
        self._high_water = HIGH_WATER_OCTETS
        self._low_water = HIGH_WATER_OCTETS // 4
        self._context = contextvars.copy_context()

    # -- what the owner calls -----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        if self._eof_sent:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data:
            return
        self.outbound.send(bytes(data))
        if self.outbound.octets > self._high_water and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        if not self._closing and not self._eof_sent:
            self._eof_sent = True
            self.outbound.send(b"", "FIN")

    def can_write_eof(self) -> bool:
        return self.kind == "tcp"

    def close(self) -> None:
        """Stop reading; what was written still arrives."""
        if self._closing:
            return
        self.write_eof()
        self._closing = True
        self.schedule(self._lose, None)

    def abort(self) -> None:
        """Reset the connection."""
        if not self.lost:
            self.outbound.send(b"", "RST")
            self._end(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False
        self.inbound.resume()

    def is_reading(self) -> bool:
        return not self.reading_paused and not self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_size(self) -> int:
        return self.outbound.octets

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low_water, self._high_water

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = (HIGH_WATER_OCTETS if low is None else 4 * low) if high is None else high
        self._low_water = self._high_water // 4 if low is None else low

    # -- what the network calls -----------------------------------------------------------------------

    @property
    def inbound(self) -> Pipe:
        return self.outbound.receiver.outbound

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        """Both sides agree: enter the connection."""
        self._protocol = protocol
        self._network.connections[self.local, self.remote] = self

    def arrived(self, payload: bytes, flag: str) -> None:
        """Something came out of the inbound pipe."""
        if flag == "ACK" and self.accept is not None and not self._closing:
            self._context.run(self.accept, self)
        elif flag == "RST":
            self.fail(ConnectionResetError("connection reset by peer"))
        elif self.lost or self._closing:
            if payload:
                self.outbound.send(b"", "RST")
        elif flag == "FIN":
            self._context.run(self._half_closed)
        elif payload:
            self._context.run(self._protocol.data_received, payload)

    def drained(self, octets: int) -> None:
        """The other side took something: writing may go on."""
        if self._writing_paused and octets <= self._low_water and not self.lost:
            self._writing_paused = False
            self._context.run(self._protocol.resume_writing)

    def fail(self, error: Exception) -> None:
        """The connection broke under this end."""
        if not self.lost:
            self._end(error)

    def vanish(self) -> None:
        """The host crashed: nobody is left to be told; whoever writes to it will get a reset."""
        self.lost = self._closing = True
        self._release()

    def schedule(self, callback: Callable[..., object], *args: object) -> None:
        self._network.loop.call_soon(callback, *args, context=self._context)

    def _half_closed(self) -> None:
        keeps_open = self._protocol.eof_received()
        if not keeps_open or self.kind == "tls":
            self.close()

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        self.schedule(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self._release()
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def _release(self) -> None:
        if self._network.connections.pop((self.local, self.remote), None) is not None and self.dialled:
            self._network.outgoing[self.local] -= 1


def _extra(
    local: Address, remote: Address, own_tls: DeclaredTls | None, peer_tls: DeclaredTls | None
) -> dict[str, object]:
    extra: dict[str, object] = {
        "sockname": local.sockaddr,
        "peername": remote.sockaddr,
        "socket": VirtualSocket(socket.SOCK_STREAM, local, remote),
    }
    if own_tls is not None:
        extra["sslcontext"] = own_tls
        extra["cipher"] = ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
        extra["peercert"] = None if peer_tls is None else peer_tls.certificate
    return extra
