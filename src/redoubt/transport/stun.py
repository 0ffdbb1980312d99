"""The STUN keep-alive of a UDP flow (RFC 5626 4.4.2, RFC 8489): a Binding request is told where it came from.

Only what a keep-alive needs: no authentication, no other method, and an answer that is hardly longer than the question.
"""

import struct
from ipaddress import ip_address

from redoubt.transport.flow import Address

MAGIC_COOKIE = 0x2112A442
BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
XOR_MAPPED_ADDRESS = 0x0020
HEADER = struct.Struct("!HHI12s")


def binding_response(data: bytes, source: Address) -> bytes | None:
    """The answer to a Binding request from `source` (RFC 8489 14.2); None if the octets are no such request."""
    if len(data) < HEADER.size:
        return None
    kind, length, cookie, transaction = HEADER.unpack_from(data)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length != len(data) - HEADER.size or length % 4:
        return None
    address = ip_address(source[0].partition("%")[0])
    mask = data[4:20][: len(address.packed)]  # cookie, then transaction id
    hidden = bytes(a ^ b for a, b in zip(address.packed, mask, strict=True))
    family = 1 if address.version == 4 else 2
    value = struct.pack("!xBH", family, source[1] ^ MAGIC_COOKIE >> 16) + hidden
    head = HEADER.pack(BINDING_SUCCESS, 4 + len(value), MAGIC_COOKIE, transaction)
    return head + struct.pack("!HH", XOR_MAPPED_ADDRESS, len(value)) + value
