"""Header field names (RFC 3261 7.3, 20, IMS): canonical spelling, compact forms, which occur once.

Canonical names are interned and looked up by one dictionary, so comparing two of them is comparing pointers.
Names that nobody knows are kept as written.
"""

import sys

COMPACT = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
    "e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
    "l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To",
    "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}  # fmt: skip

# A second one of these makes a message mean two things to two nodes (RFC 3261 7.3.1, requirement row 95).
SINGLE = frozenset(
    """Answer-Mode Authentication-Info Call-ID Content-Disposition Content-Length Content-Type CSeq Date Event
    Expires Flow-Timer From Identity Join Max-Breadth Max-Forwards MIME-Version Min-Expires
    Min-SE Organization P-Called-Party-ID P-Charging-Function-Addresses
    P-Charging-Vector P-Profile-Key P-Served-User P-User-Database Priority Priv-Answer-Mode RAck RSeq
    Refer-Sub Refer-To Referred-By Replaces Reply-To Retry-After Server Session-Expires Session-ID SIP-ETag
    SIP-If-Match Subject Subscription-State Target-Dialog Timestamp To User-Agent""".split()  # noqa: SIM905
)

_OTHERS = """Accept Accept-Contact Accept-Encoding Accept-Language Accept-Resource-Priority Alert-Info Allow
    Allow-Events Authorization Call-Info Contact Content-Encoding Content-ID Content-Language Encryption
    Error-Info Feature-Caps Geolocation Geolocation-Error Geolocation-Routing Hide History-Info Identity-Info
    In-Reply-To Info-Package Max-Forwards P-Access-Network-Info P-Answer-State P-Asserted-Identity
    P-Asserted-Service P-Associated-URI P-Charge-Info P-DCS-Billing-Info P-Early-Media P-Media-Authorization
    P-Preferred-Identity P-Preferred-Service P-Private-Network-Indication P-Refused-URI-List
    P-Visited-Network-ID Path Permission-Missing Policy-Contact Policy-ID Privacy Proxy-Authenticate
    Proxy-Authentication-Info Proxy-Authorization Proxy-Require Reason Record-Route Recv-Info Reject-Contact
    Relayed-Charge Request-Disposition Require Resource-Priority Resource-Share Response-Key
    Restoration-Info Route Security-Client Security-Server Security-Verify Service-Interact-Info
    Service-Route Supported Suppress-If-Match Trigger-Consent Unsupported Via Warning WWW-Authenticate"""

CANONICAL: dict[str, str] = {}
for _name in [*SINGLE, *_OTHERS.split()]:
    _name = sys.intern(_name)
    CANONICAL[_name] = CANONICAL[_name.lower()] = CANONICAL[_name.upper()] = _name
for _letter, _name in COMPACT.items():
    CANONICAL[_letter] = CANONICAL[_letter.upper()] = CANONICAL[_name]


def canonical(name: str) -> str:
    """The canonical spelling of a header name, or the name itself if it is unknown."""
    return CANONICAL.get(name) or CANONICAL.get(name.lower()) or sys.intern(name)
