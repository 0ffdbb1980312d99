"""The one dictionary: every AVP that this system sends or understands, one line each.

Names, codes, types and M bits as in RFC 6733 4.5, TS 29.229 6.3, TS 29.329 6.3, RFC 7683 7, RFC 8583 7 and, for what
comes later, TS 29.214 5.3, TS 32.299 7.2, RFC 8506 8 and TS 29.109 6.3. Where a specification forbids the M bit, or
leaves it open, it is not set, so that a peer that does not know the AVP passes over it. Prefixes "3GPP-" and "Cx-" are
Wireshark's, not the specifications', and are left out.
"""

from enum import IntEnum

from redoubt.diameter.avp import (
    AvpType,
    address,
    enumerated,
    grouped,
    identity,
    integer32,
    octets,
    text,
    time,
    unsigned32,
    unsigned64,
)
from redoubt.diameter.cx import DeregistrationReason, ServerAssignmentType, UserAuthorizationType
from redoubt.diameter.results import VENDOR_3GPP as TGPP

# ---- values


class DisconnectCause(IntEnum):
    """RFC 6733 5.4.3."""

    REBOOTING = 0
    BUSY = 1
    DO_NOT_WANT_TO_TALK_TO_YOU = 2


class AuthSessionState(IntEnum):
    """RFC 6733 8.11."""

    STATE_MAINTAINED = 0
    NO_STATE_MAINTAINED = 1


class RedirectHostUsage(IntEnum):
    """RFC 6733 6.13."""

    DONT_CACHE = 0
    ALL_SESSION = 1
    ALL_REALM = 2
    REALM_AND_APPLICATION = 3
    ALL_APPLICATION = 4
    ALL_HOST = 5
    ALL_USER = 6


class InbandSecurity(IntEnum):
    """RFC 6733 6.10."""

    NO_INBAND_SECURITY = 0
    TLS = 1


class ReportType(IntEnum):
    """RFC 7683 7.6."""

    HOST = 0
    REALM = 1


class LoadType(IntEnum):
    """RFC 8583 7.2."""

    HOST = 0
    PEER = 1


class UserDataAvailable(IntEnum):
    """TS 29.229 6.3.26."""

    NOT_AVAILABLE = 0
    ALREADY_AVAILABLE = 1


class Originating(IntEnum):
    """TS 29.229 6.3.34."""

    ORIGINATING = 0


class LooseRoute(IntEnum):
    """TS 29.229 6.3.45."""

    NOT_REQUIRED = 0
    REQUIRED = 1


class MultipleRegistration(IntEnum):
    """TS 29.229 6.3.52."""

    NOT_MULTIPLE = 0
    MULTIPLE = 1


class SessionPriority(IntEnum):
    """TS 29.229 6.3.56."""

    PRIORITY_0 = 0
    PRIORITY_1 = 1
    PRIORITY_2 = 2
    PRIORITY_3 = 3
    PRIORITY_4 = 4


class SubscriptionRequest(IntEnum):
    """TS 29.329 6.3.6."""

    SUBSCRIBE = 0
    UNSUBSCRIBE = 1


class IdentitySet(IntEnum):
    """TS 29.329 6.3.10."""

    ALL_IDENTITIES = 0
    REGISTERED_IDENTITIES = 1
    IMPLICIT_IDENTITIES = 2
    ALIAS_IDENTITIES = 3


class RequestedDomain(IntEnum):
    """TS 29.329 6.3.7."""

    CS_DOMAIN = 0
    PS_DOMAIN = 1


class SendData(IntEnum):
    """TS 29.329 6.3.17."""

    NOT_REQUESTED = 0
    REQUESTED = 1


class OneTimeNotification(IntEnum):
    """TS 29.329 6.3.22."""

    REQUESTED = 0


class CurrentLocation(IntEnum):
    """TS 29.329 6.3.8."""

    NOT_NEEDED = 0
    INITIATE_RETRIEVAL = 1


class AccountingRecord(IntEnum):
    """RFC 6733 9.8.1."""

    EVENT = 1
    START = 2
    INTERIM = 3
    STOP = 4


# ---- the base protocol (RFC 6733 4.5)

USER_NAME = text("User-Name", 1, once=True)
SESSION_ID = text("Session-Id", 263, once=True)
ORIGIN_HOST = identity("Origin-Host", 264, once=True)
ORIGIN_REALM = identity("Origin-Realm", 296, once=True)
ORIGIN_STATE_ID = unsigned32("Origin-State-Id", 278, once=True)
DESTINATION_HOST = identity("Destination-Host", 293, once=True)
DESTINATION_REALM = identity("Destination-Realm", 283, once=True)
ROUTE_RECORD = identity("Route-Record", 282)
PROXY_INFO = grouped("Proxy-Info", 284)
PROXY_HOST = identity("Proxy-Host", 280)
PROXY_STATE = octets("Proxy-State", 33)
RESULT_CODE = unsigned32("Result-Code", 268, once=True)
ERROR_MESSAGE = text("Error-Message", 281, mandatory=False)
ERROR_REPORTING_HOST = identity("Error-Reporting-Host", 294, mandatory=False)
FAILED_AVP = grouped("Failed-AVP", 279)
EXPERIMENTAL_RESULT = grouped("Experimental-Result", 297, once=True)
EXPERIMENTAL_RESULT_CODE = unsigned32("Experimental-Result-Code", 298)
VENDOR_ID = unsigned32("Vendor-Id", 266)
PRODUCT_NAME = text("Product-Name", 269, mandatory=False)
FIRMWARE_REVISION = unsigned32("Firmware-Revision", 267, mandatory=False)
SUPPORTED_VENDOR_ID = unsigned32("Supported-Vendor-Id", 265)
HOST_IP_ADDRESS = address("Host-IP-Address", 257)
AUTH_APPLICATION_ID = unsigned32("Auth-Application-Id", 258)
ACCT_APPLICATION_ID = unsigned32("Acct-Application-Id", 259)
VENDOR_SPECIFIC_APPLICATION_ID = grouped("Vendor-Specific-Application-Id", 260)
INBAND_SECURITY_ID = enumerated("Inband-Security-Id", 299, 0, InbandSecurity)
DISCONNECT_CAUSE = enumerated("Disconnect-Cause", 273, 0, DisconnectCause, once=True)
AUTH_SESSION_STATE = enumerated("Auth-Session-State", 277, 0, AuthSessionState, once=True)
REDIRECT_HOST = text("Redirect-Host", 292)
REDIRECT_HOST_USAGE = enumerated("Redirect-Host-Usage", 261, 0, RedirectHostUsage, once=True)
REDIRECT_MAX_CACHE_TIME = unsigned32("Redirect-Max-Cache-Time", 262, once=True)
EVENT_TIMESTAMP = time("Event-Timestamp", 55)
DRMP = unsigned32("DRMP", 301, mandatory=False)

# ---- overload and load (RFC 7683 7, RFC 8583 7)

OC_SUPPORTED_FEATURES = grouped("OC-Supported-Features", 621, mandatory=False)
OC_FEATURE_VECTOR = unsigned64("OC-Feature-Vector", 622, mandatory=False)
OC_OLR = grouped("OC-OLR", 623, mandatory=False)
OC_SEQUENCE_NUMBER = unsigned64("OC-Sequence-Number", 624, mandatory=False)
OC_VALIDITY_DURATION = unsigned32("OC-Validity-Duration", 625, mandatory=False)
OC_REPORT_TYPE = enumerated("OC-Report-Type", 626, 0, ReportType, mandatory=False)
OC_REDUCTION_PERCENTAGE = unsigned32("OC-Reduction-Percentage", 627, mandatory=False)
SOURCE_ID = identity("SourceID", 649, mandatory=False)
LOAD = grouped("Load", 650, mandatory=False)
LOAD_TYPE = enumerated("Load-Type", 651, 0, LoadType, mandatory=False)
LOAD_VALUE = unsigned64("Load-Value", 652, mandatory=False)

# ---- Cx (TS 29.229 6.3)

VISITED_NETWORK_IDENTIFIER = octets("Visited-Network-Identifier", 600, TGPP, once=True)
PUBLIC_IDENTITY = text("Public-Identity", 601, TGPP)
SERVER_NAME = text("Server-Name", 602, TGPP)
SERVER_CAPABILITIES = grouped("Server-Capabilities", 603, TGPP)
MANDATORY_CAPABILITY = unsigned32("Mandatory-Capability", 604, TGPP)
OPTIONAL_CAPABILITY = unsigned32("Optional-Capability", 605, TGPP)
USER_DATA = octets("User-Data", 606, TGPP, once=True)
SIP_NUMBER_AUTH_ITEMS = unsigned32("SIP-Number-Auth-Items", 607, TGPP, once=True)
SIP_AUTHENTICATION_SCHEME = text("SIP-Authentication-Scheme", 608, TGPP)
SIP_AUTHENTICATE = octets("SIP-Authenticate", 609, TGPP)
SIP_AUTHORIZATION = octets("SIP-Authorization", 610, TGPP)
SIP_AUTHENTICATION_CONTEXT = octets("SIP-Authentication-Context", 611, TGPP)
SIP_AUTH_DATA_ITEM = grouped("SIP-Auth-Data-Item", 612, TGPP)
SIP_ITEM_NUMBER = unsigned32("SIP-Item-Number", 613, TGPP)
SERVER_ASSIGNMENT_TYPE = enumerated("Server-Assignment-Type", 614, TGPP, ServerAssignmentType, once=True)
DEREGISTRATION_REASON = grouped("Deregistration-Reason", 615, TGPP)
REASON_CODE = enumerated("Reason-Code", 616, TGPP, DeregistrationReason)
REASON_INFO = text("Reason-Info", 617, TGPP)
CHARGING_INFORMATION = grouped("Charging-Information", 618, TGPP)
PRIMARY_EVENT_CHARGING_FUNCTION_NAME = text("Primary-Event-Charging-Function-Name", 619, TGPP)
SECONDARY_EVENT_CHARGING_FUNCTION_NAME = text("Secondary-Event-Charging-Function-Name", 620, TGPP)
PRIMARY_CHARGING_COLLECTION_FUNCTION_NAME = text("Primary-Charging-Collection-Function-Name", 621, TGPP)
SECONDARY_CHARGING_COLLECTION_FUNCTION_NAME = text("Secondary-Charging-Collection-Function-Name", 622, TGPP)
USER_AUTHORIZATION_TYPE = enumerated("User-Authorization-Type", 623, TGPP, UserAuthorizationType, once=True)
USER_DATA_ALREADY_AVAILABLE = enumerated("User-Data-Already-Available", 624, TGPP, UserDataAvailable, once=True)
CONFIDENTIALITY_KEY = octets("Confidentiality-Key", 625, TGPP)
INTEGRITY_KEY = octets("Integrity-Key", 626, TGPP)
SUPPORTED_FEATURES = grouped("Supported-Features", 628, TGPP, mandatory=False)
FEATURE_LIST_ID = unsigned32("Feature-List-ID", 629, TGPP, mandatory=False)
FEATURE_LIST = unsigned32("Feature-List", 630, TGPP, mandatory=False)
SUPPORTED_APPLICATIONS = grouped("Supported-Applications", 631, TGPP, mandatory=False)
ASSOCIATED_IDENTITIES = grouped("Associated-Identities", 632, TGPP, mandatory=False)
ORIGINATING_REQUEST = enumerated("Originating-Request", 633, TGPP, Originating, once=True)
WILDCARDED_PUBLIC_IDENTITY = text("Wildcarded-PSI", 634, TGPP, mandatory=False)
SIP_DIGEST_AUTHENTICATE = grouped("SIP-Digest-Authenticate", 635, TGPP, mandatory=False)
WILDCARDED_IMPU = text("Wildcarded-IMPU", 636, TGPP, mandatory=False)
UAR_FLAGS = unsigned32("UAR-Flags", 637, TGPP, mandatory=False)
LOOSE_ROUTE_INDICATION = enumerated("Loose-Route-Indication", 638, TGPP, LooseRoute, mandatory=False)
SCSCF_RESTORATION_INFO = grouped("SCSCF-Restoration-Info", 639, TGPP, mandatory=False)
PATH = octets("Path", 640, TGPP, mandatory=False)
CONTACT = octets("Contact", 641, TGPP, mandatory=False)
SUBSCRIPTION_INFO = grouped("Subscription-Info", 642, TGPP, mandatory=False)
CALL_ID_SIP_HEADER = octets("Call-ID-SIP-Header", 643, TGPP, mandatory=False)
FROM_SIP_HEADER = octets("From-SIP-Header", 644, TGPP, mandatory=False)
TO_SIP_HEADER = octets("To-SIP-Header", 645, TGPP, mandatory=False)
RECORD_ROUTE = octets("Record-Route", 646, TGPP, mandatory=False)
ASSOCIATED_REGISTERED_IDENTITIES = grouped("Associated-Registered-Identities", 647, TGPP, mandatory=False)
MULTIPLE_REGISTRATION_INDICATION = enumerated(
    "Multiple-Registration-Indication", 648, TGPP, MultipleRegistration, mandatory=False
)
RESTORATION_INFO = grouped("Restoration-Info", 649, TGPP, mandatory=False)
SESSION_PRIORITY = enumerated("Session-Priority", 650, TGPP, SessionPriority, mandatory=False)
IDENTITY_WITH_EMERGENCY_REGISTRATION = grouped("Identity-with-Emergency-Registration", 651, TGPP, mandatory=False)
PRIVILEDGED_SENDER_INDICATION = unsigned32("Priviledged-Sender-Indication", 652, TGPP, mandatory=False)
LIA_FLAGS = unsigned32("LIA-Flags", 653, TGPP, mandatory=False)
INITIAL_CSEQ_SEQUENCE_NUMBER = unsigned32("Initial-CSeq-Sequence-Number", 654, TGPP, mandatory=False)
SAR_FLAGS = unsigned32("SAR-Flags", 655, TGPP, mandatory=False)
P_CSCF_SUBSCRIPTION_INFO = grouped("P-CSCF-Subscription-Info", 660, TGPP, mandatory=False)
REGISTRATION_TIME_OUT = time("Registration-Time-Out", 661, TGPP, mandatory=False)

# Of SIP-Digest-Authenticate (TS 29.229 6.3.36 to 6.3.41, RFC 4740 9.5)
DIGEST_REALM = text("Digest-Realm", 104, mandatory=False)
DIGEST_QOP = text("Digest-QoP", 110, mandatory=False)
DIGEST_ALGORITHM = text("Digest-Algorithm", 111, mandatory=False)
DIGEST_HA1 = text("Digest-HA1", 121, mandatory=False)

# ---- Sh (TS 29.329 6.3)

USER_IDENTITY = grouped("User-Identity", 700, TGPP, once=True)
MSISDN = octets("MSISDN", 701, TGPP)
SH_USER_DATA = octets("User-Data", 702, TGPP, once=True)
DATA_REFERENCE = unsigned32("Data-Reference", 703, TGPP)
SERVICE_INDICATION = octets("Service-Indication", 704, TGPP)
SUBS_REQ_TYPE = enumerated("Subs-Req-Type", 705, TGPP, SubscriptionRequest, once=True)
REQUESTED_DOMAIN = enumerated("Requested-Domain", 706, TGPP, RequestedDomain, once=True)
CURRENT_LOCATION = enumerated("Current-Location", 707, TGPP, CurrentLocation, once=True)
IDENTITY_SET = enumerated("Identity-Set", 708, TGPP, IdentitySet)
EXPIRY_TIME = time("Expiry-Time", 709, TGPP, mandatory=False)
SEND_DATA_INDICATION = enumerated("Send-Data-Indication", 710, TGPP, SendData, mandatory=False, once=True)
DSAI_TAG = octets("DSAI-Tag", 711, TGPP)
ONE_TIME_NOTIFICATION = enumerated("One-Time-Notification", 712, TGPP, OneTimeNotification, mandatory=False, once=True)
REPOSITORY_DATA_ID = grouped("Repository-Data-ID", 715, TGPP)
SEQUENCE_NUMBER = unsigned32("Sequence-Number", 716, TGPP)

# ---- Rx, which comes later (TS 29.214 5.3)

ABORT_CAUSE = unsigned32("Abort-Cause", 500, TGPP)
AF_APPLICATION_IDENTIFIER = octets("AF-Application-Identifier", 504, TGPP)
AF_CHARGING_IDENTIFIER = octets("AF-Charging-Identifier", 505, TGPP)
FLOW_DESCRIPTION = text("Flow-Description", 507, TGPP)
FLOW_NUMBER = unsigned32("Flow-Number", 509, TGPP)
FLOW_STATUS = unsigned32("Flow-Status", 511, TGPP)
FLOW_USAGE = unsigned32("Flow-Usage", 512, TGPP)
SPECIFIC_ACTION = unsigned32("Specific-Action", 513, TGPP)
MAX_REQUESTED_BANDWIDTH_DL = unsigned32("Max-Requested-Bandwidth-DL", 515, TGPP)
MAX_REQUESTED_BANDWIDTH_UL = unsigned32("Max-Requested-Bandwidth-UL", 516, TGPP)
MEDIA_COMPONENT_DESCRIPTION = grouped("Media-Component-Description", 517, TGPP)
MEDIA_COMPONENT_NUMBER = unsigned32("Media-Component-Number", 518, TGPP)
MEDIA_SUB_COMPONENT = grouped("Media-Sub-Component", 519, TGPP)
MEDIA_TYPE = unsigned32("Media-Type", 520, TGPP)
CODEC_DATA = octets("Codec-Data", 524, TGPP)
SERVICE_URN = octets("Service-URN", 525, TGPP)
FRAMED_IP_ADDRESS = octets("Framed-IP-Address", 8)
FRAMED_IPV6_PREFIX = octets("Framed-IPv6-Prefix", 97)
SUBSCRIPTION_ID = grouped("Subscription-Id", 443)
SUBSCRIPTION_ID_DATA = text("Subscription-Id-Data", 444)
SUBSCRIPTION_ID_TYPE = unsigned32("Subscription-Id-Type", 450)

# ---- Rf and Ro, which come later (RFC 6733 9.8, RFC 8506 8, TS 32.299 7.2)

ACCOUNTING_RECORD_TYPE = enumerated("Accounting-Record-Type", 480, 0, AccountingRecord, once=True)
ACCOUNTING_RECORD_NUMBER = unsigned32("Accounting-Record-Number", 485, once=True)
ACCT_INTERIM_INTERVAL = unsigned32("Acct-Interim-Interval", 85)
SERVICE_CONTEXT_ID = text("Service-Context-Id", 461)
CC_REQUEST_TYPE = unsigned32("CC-Request-Type", 416, once=True)
CC_REQUEST_NUMBER = unsigned32("CC-Request-Number", 415, once=True)
CC_TIME = unsigned32("CC-Time", 420)
REQUESTED_SERVICE_UNIT = grouped("Requested-Service-Unit", 437)
GRANTED_SERVICE_UNIT = grouped("Granted-Service-Unit", 431)
USED_SERVICE_UNIT = grouped("Used-Service-Unit", 446)
SERVICE_INFORMATION = grouped("Service-Information", 873, TGPP)
IMS_INFORMATION = grouped("IMS-Information", 876, TGPP)
ROLE_OF_NODE = unsigned32("Role-Of-Node", 829, TGPP)
NODE_FUNCTIONALITY = unsigned32("Node-Functionality", 862, TGPP)
CALLING_PARTY_ADDRESS = text("Calling-Party-Address", 831, TGPP)
CALLED_PARTY_ADDRESS = text("Called-Party-Address", 832, TGPP)
AUTHORIZATION_LIFETIME = integer32("Authorization-Lifetime", 291)

# ---- Zh, which comes later (TS 29.109 6.3)

GBA_USER_SEC_SETTINGS = octets("GBA-UserSecSettings", 400, TGPP)
TRANSACTION_IDENTIFIER = octets("Transaction-Identifier", 401, TGPP)
GAA_SERVICE_IDENTIFIER = octets("GAA-Service-Identifier", 403, TGPP)
KEY_EXPIRY_TIME = time("Key-ExpiryTime", 404, TGPP)
ME_KEY_MATERIAL = octets("ME-Key-Material", 405, TGPP)
UICC_KEY_MATERIAL = octets("UICC-Key-Material", 406, TGPP)
GBA_U_AWARENESS_INDICATOR = unsigned32("GBA_U-Awareness-Indicator", 407, TGPP)
BOOTSTRAP_INFO_CREATION_TIME = time("BootstrapInfoCreationTime", 408, TGPP)
GUSS_TIMESTAMP = time("GUSS-Timestamp", 409, TGPP)
GBA_TYPE = unsigned32("GBA-Type", 410, TGPP)

KNOWN = {(kind.code, kind.vendor): kind for kind in list(globals().values()) if isinstance(kind, AvpType)}
