"""The voice of the test phone: a tone in RTP packets of 20 ms (RFC 3551), and a count of what is heard.

Only G.711 A-law: no speech is to be made out, only whether media passes, and whose.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from redoubt.media.rtp import is_rtp, rtp_packet
from redoubt.transport.flow import Address
from redoubt.transport.media import MediaSocket, open_media, sockaddr

PCMA = 8  # RFC 3551 6
PACKET_S, SAMPLES = 0.02, 160
# 1 kHz at 0 dBm0, eight samples a period (ITU-T G.711 table 5).
TONE = bytes.fromhex("34212134b4a1a1b4") * (SAMPLES // 8)


class Voice:
    """One call's RTP at this phone."""

    def __init__(self, socket: MediaSocket, source: int) -> None:
        self.sent = self.received = 0  # packets
        self.tones = 0  # of the received ones, those that carry the tone of such a phone
        self._socket = socket
        self._source = source  # SSRC
        self._target: Any = None
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        socket.on_packet = self._heard

    @property
    def port(self) -> int:
        return self._socket.local[1]

    def talk(self, to: Address | None) -> None:
        """From now on the tone goes there; to None, or to an IP version that this phone has not: silence."""
        if to is not None and (":" in to[0]) != (":" in self._socket.local[0]):
            to = None
        self._target = None if to is None else sockaddr(to)
        if to is None:
            self._stop_timer()
        elif self._timer is None:
            self._next_at = asyncio.get_running_loop().time()
            self._speak()

    def stop(self) -> None:
        """The call is over."""
        self._stop_timer()
        self._socket.close()

    def _speak(self) -> None:
        self._socket.send(rtp_packet(PCMA, self.sent, self.sent * SAMPLES, self._source, TONE), self._target)
        self.sent += 1
        self._next_at += PACKET_S
        self._timer = asyncio.get_running_loop().call_at(self._next_at, self._speak)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _heard(self, packet: bytes, _source: Any) -> None:
        if is_rtp(packet, frozenset((PCMA,))):
            self.received += 1
            self.tones += packet[12:] == TONE


class Voices:
    """A socket is kept ready, since a call's description names its port at once."""

    def __init__(self, host: str, start: Callable[[Any], None]) -> None:
        """`start` runs work in the background."""
        self._host = host
        self._start = start
        self._ready: MediaSocket | None = None
        self._closed = False

    async def prepare(self) -> None:
        """Opens the next socket. Raises OSError."""
        if self._ready is None:
            self._ready = await open_media(self._host, 0)
            if self._closed:
                self.close()

    def take(self, source: int) -> Voice | None:
        """A voice for a call; None for one that comes as soon as the one before it."""
        socket, self._ready = self._ready, None
        if socket is None:
            return None
        self._start(self.prepare())
        return Voice(socket, source)

    def close(self) -> None:
        self._closed = True
        if self._ready is not None:
            self._ready.close()
            self._ready = None
