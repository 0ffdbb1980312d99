"""The typed headers: a `Field` ties a name to its parser and says how it repeats (RFC 3261 7.3.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from redoubt import limits
from redoubt.sip.grammar import number, split_list, token
from redoubt.sip.headers.addresses import Contact, NameAddr, parse_contact
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.headers.cseq import CSeq, RAck
from redoubt.sip.headers.ims import (
    AccessNetworkInfo,
    ChargingFunctionAddresses,
    ChargingVector,
    Privacy,
    VisitedNetworkId,
)
from redoubt.sip.headers.security import SecurityMechanism
from redoubt.sip.headers.session import Replaces, SessionExpires, read_call_id
from redoubt.sip.headers.subscription import ContentType, Event, Reason, SubscriptionState
from redoubt.sip.headers.times import RetryAfter, check_date
from redoubt.sip.headers.via import Via
from redoubt.sip.names import SINGLE, canonical

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Field(Generic[T]):
    """A header with its parser. `listed`: commas separate values. `single`: may occur once."""

    name: str
    parse: Callable[[str], T]
    listed: bool = False
    single: bool = False

    def values(self, lines: tuple[str, ...]) -> tuple[T, ...]:
        """What all lines of the header say; raises SipError 400."""
        if self.listed:
            if len(lines) > 1 or "," in lines[0]:
                return tuple([self.parse(element) for line in lines for element in split_list(line)])
            return (self.parse(lines[0]),)
        return tuple([self.parse(line) for line in lines])


def _one(name: str, parse: Callable[[str], T]) -> Field[T]:
    return Field(canonical(name), parse, False, canonical(name) in SINGLE)


def _many(name: str, parse: Callable[[str], T]) -> Field[T]:
    return Field(canonical(name), parse, True)


def _routes(name: str) -> Field[NameAddr]:
    """The same few nodes are in every route, and the values are immutable: they are remembered."""
    return Field(canonical(name), _remembered, True)


@lru_cache(limits.SIP_ROUTES_REMEMBERED)
def _remembered(text: str) -> NameAddr:
    return NameAddr.parse(text)


@lru_cache(limits.SIP_ADDRESSES_REMEMBERED)
def _party(text: str) -> NameAddr:
    """All messages of a dialog, a dozen for a call, say the same From and To."""
    return NameAddr.parse(text)


@lru_cache(limits.SIP_VIAS_REMEMBERED)
def _via(text: str) -> Via:
    """The top one of a response: by the parser, for its transaction, and when it is taken off."""
    return Via.parse(text)


@lru_cache(256)
def _cseq(text: str) -> CSeq:
    return CSeq.parse(text)


@lru_cache(limits.SIP_ROUTES_REMEMBERED)
def _access_network(text: str) -> AccessNetworkInfo:
    """All phones of a cell say the same."""
    return AccessNetworkInfo.parse(text)


@lru_cache(256)
def _seconds(text: str) -> int:
    return number(text, 2**32 - 1)


@lru_cache(256)
def _octet(text: str) -> int:
    return number(text, 255)


VIA = _many("Via", _via)
FROM = _one("From", _party)
TO = _one("To", _party)
CALL_ID = _one("Call-ID", read_call_id)
CSEQ = _one("CSeq", _cseq)
MAX_FORWARDS = _one("Max-Forwards", _octet)
MAX_BREADTH = _one("Max-Breadth", _seconds)
CONTACT: Field[Contact] = _many("Contact", parse_contact)
EXPIRES = _one("Expires", _seconds)
MIN_EXPIRES = _one("Min-Expires", _seconds)
RETRY_AFTER = _one("Retry-After", RetryAfter.parse)
DATE = _one("Date", check_date)
CONTENT_TYPE = _one("Content-Type", ContentType.parse)

ROUTE = _routes("Route")
RECORD_ROUTE = _routes("Record-Route")
PATH = _routes("Path")
SERVICE_ROUTE = _routes("Service-Route")

AUTHORIZATION = _one("Authorization", Credentials.parse)
PROXY_AUTHORIZATION = _one("Proxy-Authorization", Credentials.parse)
WWW_AUTHENTICATE = _one("WWW-Authenticate", Credentials.parse)
PROXY_AUTHENTICATE = _one("Proxy-Authenticate", Credentials.parse)
AUTHENTICATION_INFO = _one("Authentication-Info", Credentials.parse_info)

SECURITY_CLIENT = _many("Security-Client", SecurityMechanism.parse)
SECURITY_SERVER = _many("Security-Server", SecurityMechanism.parse)
SECURITY_VERIFY = _many("Security-Verify", SecurityMechanism.parse)

REQUIRE = _many("Require", token)
PROXY_REQUIRE = _many("Proxy-Require", token)
SUPPORTED = _many("Supported", token)
UNSUPPORTED = _many("Unsupported", token)
ALLOW = _many("Allow", token)
ALLOW_EVENTS = _many("Allow-Events", token)

P_ASSERTED_IDENTITY = _many("P-Asserted-Identity", NameAddr.parse)
P_PREFERRED_IDENTITY = _many("P-Preferred-Identity", NameAddr.parse)
P_ASSOCIATED_URI = _many("P-Associated-URI", NameAddr.parse)
P_CALLED_PARTY_ID = _one("P-Called-Party-ID", NameAddr.parse)
P_SERVED_USER = _one("P-Served-User", NameAddr.parse)
P_ACCESS_NETWORK_INFO = _many("P-Access-Network-Info", _access_network)
P_VISITED_NETWORK_ID = _many("P-Visited-Network-ID", VisitedNetworkId.parse)
P_CHARGING_VECTOR = _one("P-Charging-Vector", ChargingVector.parse)
P_CHARGING_FUNCTION_ADDRESSES = _one("P-Charging-Function-Addresses", ChargingFunctionAddresses.parse)
PRIVACY = _one("Privacy", Privacy.parse)
REASON = _many("Reason", Reason.parse)

EVENT = _one("Event", Event.parse)
SUBSCRIPTION_STATE = _one("Subscription-State", SubscriptionState.parse)
SESSION_EXPIRES = _one("Session-Expires", SessionExpires.parse)
MIN_SE = _one("Min-SE", SessionExpires.parse)
REPLACES = _one("Replaces", Replaces.parse)
REFER_TO = _one("Refer-To", NameAddr.parse)
REFERRED_BY = _one("Referred-By", NameAddr.parse)
RACK = _one("RAck", RAck.parse)
RSEQ = _one("RSeq", _seconds)
