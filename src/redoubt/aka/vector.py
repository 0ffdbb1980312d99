"""What the authentication centre does (TS 33.102 6.3.2, 6.3.5): makes authentication vectors, judges AUTS.

The sequence number is the caller's: who stores it decides when it is spent. RAND comes from the caller's
randomness.
"""

import hmac

from redoubt.aka.algorithm import (
    AMF_OCTETS,
    MAC_OCTETS,
    RAND_OCTETS,
    SQN_OCTETS,
    AuthenticationFunctions,
    exclusive_or,
)
from redoubt.diameter.cx import AuthenticationVector

AUTN_OCTETS = SQN_OCTETS + AMF_OCTETS + MAC_OCTETS
AUTS_OCTETS = SQN_OCTETS + MAC_OCTETS
DEFAULT_AMF = bytes(AMF_OCTETS)
RESYNCHRONISATION_AMF = bytes(AMF_OCTETS)
"""AMF in f1*, "a dummy value of all zeros" (TS 33.102 6.3.3): it isn't sent in AUTS."""


def make_vector(
    functions: AuthenticationFunctions, rand: bytes, sqn: int, amf: bytes = DEFAULT_AMF
) -> AuthenticationVector:
    """RAND, AUTN = SQN xor AK || AMF || MAC-A, XRES, CK, IK. Raises ValueError if TUAK is set to a MAC that
    AUTN can't carry.
    """
    sqn_octets = sqn.to_bytes(SQN_OCTETS, "big")
    mac_a, keys = functions.vector(rand, sqn_octets, amf)
    if len(mac_a) != MAC_OCTETS:
        raise ValueError(f"AUTN carries a MAC of 64 bits, not {len(mac_a) * 8}: TS 33.102 6.3.2")
    autn = exclusive_or(sqn_octets, keys.ak.reveal()) + amf + mac_a
    return AuthenticationVector(rand=rand, autn=autn, xres=keys.res, ck=keys.ck, ik=keys.ik)


def sqn_of_auts(functions: AuthenticationFunctions, rand: bytes, auts: bytes) -> int | None:
    """SQN_MS out of AUTS = SQN_MS xor AK* || MAC-S, or None if the card of this K didn't make it for this
    RAND.

    TS 33.102 6.3.5 lets the MAC go unchecked when SQN_HE is in range anyway; here it is always checked, so
    that nobody but the card can make the authentication centre answer a resynchronisation.
    """
    if len(auts) != AUTS_OCTETS or len(rand) != RAND_OCTETS:
        return None
    sqn_ms = exclusive_or(auts[:SQN_OCTETS], functions.f5_star(rand))
    mac_s = functions.f1_star(rand, sqn_ms, RESYNCHRONISATION_AMF)
    if not hmac.compare_digest(mac_s, auts[SQN_OCTETS:]):
        return None
    return int.from_bytes(sqn_ms, "big")


def make_auts(functions: AuthenticationFunctions, rand: bytes, sqn_ms: int) -> bytes:
    """AUTS as the card makes it (TS 33.102 6.3.3): SQN_MS hidden by f5*, and MAC-S by f1*."""
    sqn_octets = sqn_ms.to_bytes(SQN_OCTETS, "big")
    return exclusive_or(sqn_octets, functions.f5_star(rand)) + functions.f1_star(
        rand, sqn_octets, RESYNCHRONISATION_AMF
    )


def split_resynchronisation(octets: bytes) -> tuple[bytes, bytes] | None:
    """RAND and AUTS of Cx's SIP-Authorization (TS 29.228 6.3.11: 30 octets), or None if it is anything
    else.
    """
    if len(octets) != RAND_OCTETS + AUTS_OCTETS:
        return None
    return octets[:RAND_OCTETS], octets[RAND_OCTETS:]
