"""Session descriptions of the test phone (RFC 3264, TS 26.114): one audio stream, offered, answered, put on hold."""

from dataclasses import dataclass, replace
from enum import StrEnum

from redoubt.phone.audio import PCMA
from redoubt.sip import sdp
from redoubt.sip.errors import SipError
from redoubt.transport.flow import Address

MEDIA_TYPE = "application/sdp"
ENCODINGS = {"104": "AMR-WB/16000/1", "102": "AMR/8000/1", "8": "PCMA/8000"}


class Direction(StrEnum):
    """RFC 3264 5.1 and 8.4: hold is sendonly, and its answer recvonly."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


ANSWERS = {
    Direction.SENDRECV: Direction.SENDRECV,
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.RECVONLY: Direction.SENDONLY,
    Direction.INACTIVE: Direction.INACTIVE,
}


@dataclass(slots=True)
class MediaSide:
    """This side of one call: each description has a version of its own, as RFC 3264 8 asks."""

    host: str
    port: int
    session: int
    version: int = 0
    direction: Direction = Direction.SENDRECV
    far: Address | None = None  # where the other side takes G.711, while it does

    def offer(self, direction: Direction = Direction.SENDRECV) -> bytes:
        """A new offer."""
        self.direction = direction
        return self._describe((self._audio("RTP/AVP", tuple(ENCODINGS)),))

    def answer(self, offer: bytes) -> bytes:
        """The answer (RFC 3264 6): the first audio stream with a known format is taken, the others are refused."""
        session = sdp.parse_sdp(offer)
        media: list[sdp.Media] = []
        taken = False
        for offered in session.media:
            known = tuple(name for name in offered.formats if name in ENCODINGS)
            if offered.kind == "audio" and offered.port and known and not taken:
                taken = True
                self.direction = ANSWERS[Direction(session.direction_of(offered))]
                self.far = _place(session, offered)
                media.append(self._audio(offered.proto, known))
            else:
                media.append(replace(offered, port=0, attributes=(), connections=(), bandwidths=(), key=None))
        if not taken:
            raise SipError(488, "no common audio format", "RFC 3261 21.4.26")
        return self._describe(tuple(media))

    def learn(self, answer: bytes) -> None:
        """The other side's answer to the last offer."""
        session = sdp.parse_sdp(answer)
        self.far = next((_place(session, media) for media in session.media if media.kind == "audio"), None)

    @property
    def talks_to(self) -> Address | None:
        """Where this side's voice goes, if there is somewhere."""
        return self.far if self.direction in (Direction.SENDRECV, Direction.SENDONLY) else None

    def _audio(self, proto: str, formats: tuple[str, ...]) -> sdp.Media:
        maps = [sdp.Attribute("rtpmap", f"{name} {ENCODINGS[name]}") for name in formats]
        return sdp.Media(
            "audio", self.port, proto, formats, attributes=(*maps, sdp.Attribute(self.direction.value))
        )

    def _describe(self, media: tuple[sdp.Media, ...]) -> bytes:
        self.version += 1
        address = sdp.Address("IP6" if ":" in self.host else "IP4", self.host)
        origin = sdp.Origin("-", str(self.session), str(self.version), address)
        return sdp.Session(origin, connection=sdp.Connection(address), media=media).to_bytes()


def _place(session: sdp.Session, media: sdp.Media) -> Address | None:
    """Where a stream takes G.711; None if it is refused or on hold."""
    connection = session.connection_of(media)
    ip = connection.address.ip if connection is not None else None
    takes = session.direction_of(media) in (Direction.SENDRECV, Direction.RECVONLY)
    if not media.port or not takes or str(PCMA) not in media.formats or ip is None or ip.is_unspecified:
        return None
    return str(ip), media.port
