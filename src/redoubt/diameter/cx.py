"""Cx: what a CSCF asks an HSS and an HSS tells a CSCF (TS 29.228, TS 29.229): interface and values."""

from enum import IntEnum
from typing import Protocol

from msgspec import Struct

from redoubt.secret import Secret


class ResultCode(IntEnum):
    """Result-Code and Experimental-Result-Code values (TS 29.229 6.2, RFC 6733 7.1)."""

    SUCCESS = 2001
    FIRST_REGISTRATION = 12001  # experimental 2001; told from base 2001 by the offset 10000
    SUBSEQUENT_REGISTRATION = 2002
    UNREGISTERED_SERVICE = 2003
    SUCCESS_SERVER_NAME_NOT_STORED = 2004
    TOO_BUSY = 3004
    AUTHORIZATION_REJECTED = 5003
    USER_UNKNOWN = 15001  # experimental 5001
    IDENTITIES_DONT_MATCH = 15002
    IDENTITY_NOT_REGISTERED = 15003
    ROAMING_NOT_ALLOWED = 15004
    IDENTITY_ALREADY_REGISTERED = 15005
    AUTH_SCHEME_NOT_SUPPORTED = 15006
    IN_ASSIGNMENT_TYPE = 15007
    TOO_MUCH_DATA = 15008
    NOT_SUPPORTED_USER_DATA = 15009
    FEATURE_UNSUPPORTED = 15011
    UNABLE_TO_COMPLY = 5012

    @property
    def is_success(self) -> bool:
        return self.value % 10000 < 3000


class UserAuthorizationType(IntEnum):
    """TS 29.229 6.3.24."""

    REGISTRATION = 0
    DE_REGISTRATION = 1
    REGISTRATION_AND_CAPABILITIES = 2


class ServerAssignmentType(IntEnum):
    """TS 29.229 6.3.15."""

    NO_ASSIGNMENT = 0
    REGISTRATION = 1
    RE_REGISTRATION = 2
    UNREGISTERED_USER = 3
    TIMEOUT_DEREGISTRATION = 4
    USER_DEREGISTRATION = 5
    TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME = 6
    USER_DEREGISTRATION_STORE_SERVER_NAME = 7
    ADMINISTRATIVE_DEREGISTRATION = 8
    AUTHENTICATION_FAILURE = 9
    AUTHENTICATION_TIMEOUT = 10
    DEREGISTRATION_TOO_MUCH_DATA = 11


class DeregistrationReason(IntEnum):
    """TS 29.229 6.3.17."""

    PERMANENT_TERMINATION = 0
    NEW_SERVER_ASSIGNED = 1
    SERVER_CHANGE = 2
    REMOVE_S_CSCF = 3


class IdentityType(IntEnum):
    """What a public identity stands for (TS 29.228 B.2.1A and Annex E)."""

    PUBLIC_USER_IDENTITY = 0
    DISTINCT_PSI = 1
    WILDCARDED_PSI = 2
    WILDCARDED_IMPU = 3
    IMPU_WILDCARD = 4


class AuthenticationVector(Struct, frozen=True, gc=False):
    """A quintet (TS 33.102 6.3.2). RAND and AUTN 16 octets, XRES 4 to 32, CK and IK 16 or 32."""

    rand: bytes
    autn: bytes
    xres: Secret
    ck: Secret
    ik: Secret


class ServerCapabilities(Struct, frozen=True, gc=False):
    """What an S-CSCF must and should be able to do; the numbers are the operator's (TS 29.229 6.3.4)."""

    mandatory: tuple[int, ...] = ()
    optional: tuple[int, ...] = ()
    server_names: tuple[str, ...] = ()


class PublicIdentity(Struct, frozen=True, gc=False):
    """An IMPU of a service profile (TS 29.228 Annex E). `wildcard` is a pattern such as sip:room!.*!@example."""

    impu: str
    barred: bool = False
    display_name: str = ""
    wildcard: str = ""
    identity_type: IdentityType = IdentityType.PUBLIC_USER_IDENTITY
    alias_group: str = ""


class InitialFilterCriterion(Struct, frozen=True, gc=False):
    """Kept as the HSS gave it; the services issue evaluates it (TS 29.228 B.2.2)."""

    priority: int
    server_name: str
    default_handling: int = 0
    trigger: str = ""  # the TriggerPoint element, as XML
    profile_part: int | None = None  # 0: while registered, 1: while not, None: both
    service_info: str = ""  # handed to the application server in a third-party REGISTER
    register_request: bool = False  # whether it gets the user's REGISTER too, and the answer to it
    register_response: bool = False


class ServiceProfile(Struct, frozen=True, gc=False):
    """Identities that are served alike (TS 29.228 B.2.1)."""

    identities: tuple[PublicIdentity, ...]
    criteria: tuple[InitialFilterCriterion, ...] = ()
    shared_criteria: tuple[int, ...] = ()  # sets that the S-CSCF knows by number
    media_profile: int | None = None  # Subscribed Media Profile: what a session may carry
    service_ids: tuple[str, ...] = ()


class UserProfile(Struct, frozen=True, gc=False):
    """What Cx-Pull brings: the implicit registration set of one IMPU and its service profiles."""

    impi: str
    service_profiles: tuple[ServiceProfile, ...]
    associated_impis: tuple[str, ...] = ()

    @property
    def identities(self) -> tuple[PublicIdentity, ...]:
        """The implicit registration set, in the HSS's order."""
        if len(self.service_profiles) == 1:
            return self.service_profiles[0].identities
        return tuple(identity for profile in self.service_profiles for identity in profile.identities)

    @property
    def default_impu(self) -> str:
        """The first identity that is not barred (TS 24.229 5.4.1.2.2)."""
        return next((identity.impu for identity in self.identities if not identity.barred), "")


class UserAuthorizationAnswer(Struct, frozen=True, gc=False):
    result: ResultCode
    server_name: str = ""  # the assigned S-CSCF
    capabilities: ServerCapabilities | None = None


class MultimediaAuthAnswer(Struct, frozen=True, gc=False):
    result: ResultCode
    vectors: tuple[AuthenticationVector, ...] = ()


class WatcherDialog(Struct, frozen=True, gc=False):
    """A dialog that watches registration state (TS 29.229 6.3.54, 6.3.72); values as in its SUBSCRIBE, with tags."""

    call_id: str
    from_: str
    to: str
    contact: str
    record_route: tuple[str, ...] = ()


class RegisteredContact(Struct, frozen=True, gc=False):
    """A Contact value with its parameters, and the way to it (TS 29.229 6.3.52)."""

    contact: str
    path: tuple[str, ...]  # Path values, topmost first
    call_id: str
    cseq: int
    watched_by_phone: WatcherDialog | None = None  # Subscription-Info
    watched_by_p_cscf: WatcherDialog | None = None  # P-CSCF-Subscription-Info


class RestorationInfo(Struct, frozen=True, gc=False):
    """What an S-CSCF that lost its memory needs of a private identity's registration (TS 23.380, TS 29.229 6.3.51)."""

    impi: str
    contacts: tuple[RegisteredContact, ...]
    ends_at: int = 0  # seconds since 1970 (Registration-Time-Out); 0: not told


class ServerAssignmentAnswer(Struct, frozen=True, gc=False):
    """`restoration`: of the registrations of the set that this S-CSCF may have lost (TS 29.228 6.1.2.1)."""

    result: ResultCode
    profile: UserProfile | None = None
    restoration: tuple[RestorationInfo, ...] = ()


class LocationInfoAnswer(Struct, frozen=True, gc=False):
    result: ResultCode
    server_name: str = ""
    capabilities: ServerCapabilities | None = None


class Resynchronisation(Struct, frozen=True, gc=False):
    """RAND of the challenge and the AUTS that answered it (TS 33.102 6.3.5)."""

    rand: bytes
    auts: bytes


class Cx(Protocol):
    """What the HSS offers. Every method answers; it raises only HssUnavailable."""

    async def user_authorization(
        self, impi: str, impu: str, visited_network: str, authorization_type: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        """UAR (TS 29.228 6.1.1): may this pair register here, and with which S-CSCF?"""
        ...

    async def multimedia_auth(
        self, impi: str, impu: str, server_name: str, count: int, resynchronisation: Resynchronisation | None = None
    ) -> MultimediaAuthAnswer:
        """MAR (TS 29.228 6.3): authentication vectors in sequence-number order; marks authentication pending."""
        ...

    async def server_assignment(
        self,
        impi: str,
        impu: str,
        server_name: str,
        assignment_type: ServerAssignmentType,
        *,
        want_profile: bool = True,
        restoration: RestorationInfo | None = None,
    ) -> ServerAssignmentAnswer:
        """SAR (TS 29.228 6.1.2). `impi` may be empty for UNREGISTERED_USER and NO_ASSIGNMENT.

        `restoration` is kept with the registration and answered to an S-CSCF that knows nothing of it (TS 23.380).
        """
        ...

    async def location_info(self, impu: str, *, originating: bool = False) -> LocationInfoAnswer:
        """LIR (TS 29.228 6.1.4): which S-CSCF serves this identity?"""
        ...


class HssUnavailable(Exception):
    """The other end of Cx did not answer in time, or nobody could deliver the request."""


class RegistrationTermination(Struct, frozen=True, gc=False):
    """RTR (TS 29.228 6.1.3): these registrations end now. Empty `impus`: all of the private identity's."""

    impi: str
    impus: tuple[str, ...]
    reason: DeregistrationReason
    explanation: str = ""
    associated_impis: tuple[str, ...] = ()


class CxClient(Protocol):
    """What the S-CSCF offers to the HSS. One that can't be reached raises HssUnavailable too."""

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode: ...

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        """PPR (TS 29.228 6.2.2)."""
        ...
