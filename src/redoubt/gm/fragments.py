"""Reassembly inside the tunnel (RFC 791 3.2, RFC 8200 4.5), with bounds on everything that a phone can leave here.

Every fragment came authentic through an association; what is bounded is what a phone with keys can cost others.
Fragments that overlap end their datagram (RFC 5722): no honest sender makes them.
"""

from collections import OrderedDict
from collections.abc import Hashable

from redoubt.gm.packets import IpPacket, MalformedPacket
from redoubt.limits import (
    FRAGMENTED_DATAGRAMS,
    FRAGMENTED_DATAGRAMS_PER_SOURCE,
    FRAGMENTS_OCTETS,
    FRAGMENTS_PER_DATAGRAM,
    IP_DATAGRAM_OCTETS,
    REASSEMBLY_S,
)

Key = tuple[Hashable, bytes, int, int]


class _Partial:
    """A datagram of which fragments are here; `end` is known since the last one came."""

    __slots__ = ("end", "octets", "pieces", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.pieces: dict[int, bytes] = {}
        self.octets = 0
        self.end: int | None = None

    def add(self, packet: IpPacket) -> None:
        """Raises MalformedPacket when the fragment does not go with the others."""
        start, end = packet.offset, packet.offset + len(packet.payload)
        if end > IP_DATAGRAM_OCTETS or (packet.more and (len(packet.payload) % 8 or not packet.payload)):
            raise MalformedPacket("a fragment of a length that no fragment has")
        for other, piece in self.pieces.items():
            if start < other + len(piece) and other < end:
                raise MalformedPacket("overlapping fragments")
        if not packet.more:
            if self.end is not None:
                raise MalformedPacket("two last fragments")
            self.end = end
        if len(self.pieces) >= FRAGMENTS_PER_DATAGRAM:
            raise MalformedPacket("too many fragments")
        self.pieces[start] = packet.payload
        self.octets += len(packet.payload)

    @property
    def is_whole(self) -> bool:
        """Nothing overlaps, so as many octets as the last one's end means that none is missing."""
        return self.octets == self.end and max(self.pieces) <= self.end

    def payload(self) -> bytes:
        return b"".join([piece for _, piece in sorted(self.pieces.items())])


class Reassembler:
    """Fragments of all sources; a source is whatever was authenticated, such as an association set."""

    def __init__(self) -> None:
        self._partials: OrderedDict[Key, _Partial] = OrderedDict()
        self._of_source: dict[Hashable, OrderedDict[Key, None]] = {}
        self.octets = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._partials)

    def add(self, source: Hashable, packet: IpPacket, now: float) -> IpPacket | None:
        """The whole packet, when this was the fragment that it lacked. Raises MalformedPacket."""
        self._expire(now)
        key = (source, packet.ends, packet.protocol, packet.identification)
        partial = self._partials.get(key)
        if partial is None:
            partial = self._begin(key, now)
        before = partial.octets
        try:
            partial.add(packet)
        except MalformedPacket:
            self._drop(key)
            raise
        self.octets += partial.octets - before
        if partial.is_whole:
            self._forget(key)
            return IpPacket(packet.ends, packet.protocol, partial.payload())
        while self.octets > FRAGMENTS_OCTETS:
            self._drop(next(iter(self._partials)))
        return None

    def forget(self, source: Hashable) -> None:
        """The source is gone."""
        for key in list(self._of_source.get(source, ())):
            self._drop(key)

    def _begin(self, key: Key, now: float) -> _Partial:
        own = self._of_source.get(key[0])
        if own is not None and len(own) >= FRAGMENTED_DATAGRAMS_PER_SOURCE:
            self._drop(next(iter(own)))
        elif len(self._partials) >= FRAGMENTED_DATAGRAMS:
            self._drop(next(iter(self._partials)))
        partial = self._partials[key] = _Partial(now)
        self._of_source.setdefault(key[0], OrderedDict())[key] = None
        return partial

    def _expire(self, now: float) -> None:
        while self._partials:
            key, oldest = next(iter(self._partials.items()))
            if now - oldest.since < REASSEMBLY_S:
                return
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.dropped += 1
        self._forget(key)

    def _forget(self, key: Key) -> None:
        self.octets -= self._partials.pop(key).octets
        own = self._of_source[key[0]]
        del own[key]
        if not own:
            del self._of_source[key[0]]
