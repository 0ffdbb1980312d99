"""Sh: what an application server asks an HSS and an HSS tells it (TS 29.328, TS 29.329): interface and values."""

from enum import IntEnum
from typing import Protocol

from msgspec import Struct

from redoubt.config import SH_DATA
from redoubt.diameter.cx import InitialFilterCriterion
from redoubt.diameter.results import Result, ShResult

ShCode = ShResult | Result
"""Experimental results of Sh beside those of the base protocol (TS 29.329 6.2)."""


class DataReference(IntEnum):
    """TS 29.329 6.3.4. Those that this HSS has no data for are named too: they may not be read; others are unknown."""

    REPOSITORY_DATA = 0
    IMS_PUBLIC_IDENTITY = 10
    IMS_USER_STATE = 11
    S_CSCF_NAME = 12
    INITIAL_FILTER_CRITERIA = 13
    LOCATION_INFORMATION = 14
    USER_STATE = 15
    CHARGING_INFORMATION = 16
    MSISDN = 17
    PSI_ACTIVATION = 18
    DSAI = 19
    SERVICE_LEVEL_TRACE_INFO = 21
    IP_ADDRESS_SECURE_BINDING_INFORMATION = 22
    SERVICE_PRIORITY_LEVEL = 23
    SMS_REGISTRATION_INFO = 24
    UE_REACHABILITY_FOR_IP = 25
    T_ADS_INFORMATION = 26
    STN_SR = 27
    UE_SRVCC_CAPABILITY = 28
    EXTENDED_PRIORITY = 29
    CSRN = 30
    REFERENCE_LOCATION_INFORMATION = 31
    IMSI = 32
    IMS_PRIVATE_USER_IDENTITY = 33


SERVED = frozenset(map(DataReference, SH_DATA.values()))
NOTIFIED = SERVED - {DataReference.MSISDN}
"""What one can be told changes of (TS 29.328 table 7.6.1)."""


class ImsUserState(IntEnum):
    """TS 29.328 7.6.3."""

    NOT_REGISTERED = 0
    REGISTERED = 1
    REGISTERED_UNREG_SERVICES = 2
    AUTHENTICATION_PENDING = 3


class UserIdentity(Struct, frozen=True, gc=False):
    """Whom it is about: one of both (TS 29.329 6.3.1). `msisdn` is digits only."""

    impu: str = ""
    msisdn: str = ""


class Repository(Struct, frozen=True, gc=False):
    """Transparent data (TS 29.328 7.6.1). `service_data` is XML as the application server gave it; None: no data."""

    service: str
    sequence: int
    service_data: str | None = None


class ShData(Struct, frozen=True, gc=False):
    """What an Sh-Data document holds (TS 29.328 Annexes C and D); None or empty: it isn't there."""

    impus: tuple[str, ...] = ()
    msisdns: tuple[str, ...] = ()
    repository: tuple[Repository, ...] = ()
    s_cscf_name: str | None = None
    criteria: tuple[InitialFilterCriterion, ...] | None = None
    user_state: ImsUserState | None = None


class Pull(Struct, frozen=True, gc=False):
    """UDR (TS 29.328 6.1.1). References are numbers as they came: one may be unknown."""

    identity: UserIdentity
    references: tuple[int, ...]
    services: tuple[str, ...] = ()
    identity_set: int = 0
    server_name: str = ""  # the asking application server's SIP URI: criteria of others are none of its business
    impi: str = ""


class Update(Struct, frozen=True, gc=False):
    """PUR (TS 29.328 6.1.2)."""

    identity: UserIdentity
    references: tuple[int, ...]
    data: ShData


class Subscribe(Struct, frozen=True, gc=False):
    """SNR (TS 29.328 6.1.3). `ends_at` in seconds since 1970; 0: for as long as may be."""

    identity: UserIdentity
    references: tuple[int, ...]
    unsubscribes: bool
    services: tuple[str, ...] = ()
    send_data: bool = False
    ends_at: int = 0
    server_name: str = ""


class ShAnswer(Struct, frozen=True, gc=False):
    """Of every Sh request; `ends_at` of a subscription, 0 if it does not end."""

    result: ShCode
    data: ShData | None = None
    ends_at: int = 0


class Notification(Struct, frozen=True, gc=False):
    """PNR (TS 29.328 6.1.4): what changed, and nothing else."""

    impu: str
    data: ShData


class Sh(Protocol):
    """What the HSS offers. `host` is the application server's Diameter identity, `allowed` what it may see."""

    async def pull(self, host: str, allowed: frozenset[int], asked: Pull) -> ShAnswer: ...

    async def update(self, host: str, allowed: frozenset[int], asked: Update) -> ShAnswer: ...

    async def subscribe(self, host: str, allowed: frozenset[int], asked: Subscribe) -> ShAnswer: ...


class ShNotified(Protocol):
    """What the application server offers to the HSS."""

    async def notify(self, host: str, notification: Notification) -> ShCode: ...
