"""RTP and RTCP headers (RFC 3550 5.1, 6.1): as much as a relay looks at, and as a phone writes."""

RTP_HEADER_OCTETS = 12
RTCP_HEADER_OCTETS = 8
VERSION = 2
RTCP_TYPES = range(192, 224)  # RFC 5761 4
DTLS_CONTENT = range(20, 64)  # RFC 5764 5.1.2

# First octets that nothing on a media port begins with (RFC 7983 7, without TURN, which ends before): but SIP does, and
# other protocols of networks do. STUN, DTLS, ZRTP, RTP, and the beginning of a fax (T.38) do not.
NO_MEDIA = range(64, 128)


def is_rtp(packet: bytes, payload_types: frozenset[int]) -> bool:
    """Whether it may be RTP, or SRTP, of one of these payload types."""
    return len(packet) >= RTP_HEADER_OCTETS and packet[0] >> 6 == VERSION and packet[1] & 0x7F in payload_types


def is_rtcp(packet: bytes) -> bool:
    """Whether it may be RTCP or SRTCP."""
    return len(packet) >= RTCP_HEADER_OCTETS and packet[0] >> 6 == VERSION and packet[1] in RTCP_TYPES


def is_dtls(packet: bytes) -> bool:
    """Whether it may be a DTLS record: the handshake that keys SRTP (RFC 5764)."""
    return bool(packet) and packet[0] in DTLS_CONTENT


def rtp_packet(payload_type: int, sequence: int, timestamp: int, source: int, payload: bytes) -> bytes:
    """An RTP packet without padding, extension or contributing sources."""
    head = bytes((VERSION << 6, payload_type)) + (sequence & 0xFFFF).to_bytes(2, "big")
    return head + (timestamp & 0xFFFFFFFF).to_bytes(4, "big") + source.to_bytes(4, "big") + payload
