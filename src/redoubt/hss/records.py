"""What the HSS keeps of a subscription: what was provisioned, where it is registered, its sequence numbers.

TS 23.008 clause 3 names the data, TS 29.228 clause 6 what changes them. Keys appear here only sealed.
"""

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum

from msgspec import Struct

from redoubt.diameter.cx import PublicIdentity, ServerCapabilities, ServiceProfile, UserProfile

NO_CAPABILITIES = ServerCapabilities()


class RegistrationState(IntEnum):
    """Of an implicit registration set (TS 29.228 6.1.2). "Authentication pending" is a flag beside it (6.3)."""

    NOT_REGISTERED = 0
    REGISTERED = 1
    UNREGISTERED = 2  # an S-CSCF is kept for the services of a user who is not registered


class ImplicitSet(Struct, frozen=True, gc=False):
    """Public identities that register together (TS 23.228 5.2.1a). Empty `impis`: all of the subscription's."""

    service_profiles: tuple[ServiceProfile, ...]
    impis: tuple[str, ...] = ()

    @property
    def identities(self) -> tuple[PublicIdentity, ...]:
        if len(self.service_profiles) == 1:
            return self.service_profiles[0].identities
        return tuple(identity for profile in self.service_profiles for identity in profile.identities)

    @property
    def all_barred(self) -> bool:
        for profile in self.service_profiles:
            for identity in profile.identities:
                if not identity.barred:
                    return False
        return True

    @property
    def has_services(self) -> bool:
        """Whether filter criteria could act for a user who is not registered (TS 29.228 6.1.4.1)."""
        return any(profile.criteria for profile in self.service_profiles)


class Provisioned(Struct, frozen=True, gc=False):
    """What the operator decided; keys and private identities stand beside it."""

    sets: tuple[ImplicitSet, ...]
    visited_networks: tuple[str, ...] = ()
    capabilities: ServerCapabilities = NO_CAPABILITIES


class SetRegistration(Struct, frozen=True, gc=False):
    """State of one set, and the private identities that have a registration of it."""

    state: RegistrationState = RegistrationState.NOT_REGISTERED
    impis: tuple[str, ...] = ()


class Assignment(Struct, frozen=True, gc=False):
    """The durable half of registration: one S-CSCF serves a whole subscription (TS 23.228 5.1.2.1).

    `candidate` is another S-CSCF that challenges while the assigned one still has registrations: it takes over
    with its SAR, not before, so that an unanswered challenge moves nobody.
    """

    server_name: str = ""
    candidate: str = ""
    sets: tuple[SetRegistration, ...] = ()


@dataclass(slots=True, eq=False)
class PrivateRecord:
    """A private identity with its sealed keys and its counters.

    The window lives in memory only, and so does `pending` where one process has the store for itself: after a crash
    a pending authentication is over, which costs its phone one more REGISTER.
    """

    impi: str
    algorithm: str
    amf: bytes
    sealed: bytes = field(repr=False)
    next_seq: int
    reserved_seq: int
    pending: bool = False
    fetched: int = 0  # vectors since `window_start` that nobody has answered
    window_start: float = 0.0


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscription in memory. `busy` is there while a change of it is being committed."""

    number: int
    version: int
    provisioned: Provisioned
    assignment: Assignment
    privates: tuple[PrivateRecord, ...]
    busy: asyncio.Future[None] | None = None
    generation: int = -1  # of the store, when it was last compared with it

    def private(self, impi: str) -> PrivateRecord | None:
        for record in self.privates:
            if record.impi == impi:
                return record
        return None

    def has_impu(self, impu: str) -> bool:
        return any(identity.impu == impu for one in self.provisioned.sets for identity in one.identities)

    def impis_of(self, position: int) -> tuple[str, ...]:
        """The private identities that share a set."""
        return self.provisioned.sets[position].impis or tuple(record.impi for record in self.privates)

    def profile(self, position: int, impi: str) -> UserProfile:
        """What Cx-Pull brings of a set (TS 29.228 6.6)."""
        profiles = self.provisioned.sets[position].service_profiles
        if len(self.privates) == 1:
            return UserProfile(self.privates[0].impi, profiles)
        impis = self.impis_of(position)
        return UserProfile(impi or impis[0], profiles, impis if len(impis) > 1 else ())

    @property
    def is_pending(self) -> bool:
        """Whether a challenge to any of its private identities is open (TS 29.228 6.3)."""
        return any(record.pending for record in self.privates)
