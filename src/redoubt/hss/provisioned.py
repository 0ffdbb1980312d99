"""What a change of a subscription's provisioning does to it: values in, values out (TS 29.228 6.1.3, 6.2.2)."""

from collections.abc import Iterable

from msgspec.structs import replace

from redoubt.diameter.cx import PublicIdentity, ServiceProfile
from redoubt.hss.records import (
    Assignment,
    ImplicitSet,
    Provisioned,
    RegistrationState,
    SetRegistration,
    Subscription,
)


def barred_in(provisioned: Provisioned, impu: str, barred: bool) -> Provisioned:
    """With one public identity barred or free again; "" for all."""

    def identity_of(known: PublicIdentity) -> PublicIdentity:
        return replace(known, barred=barred) if impu in ("", known.impu) else known

    def profile_of(profile: ServiceProfile) -> ServiceProfile:
        return replace(profile, identities=tuple(identity_of(one) for one in profile.identities))

    sets = tuple(
        replace(one, service_profiles=tuple(profile_of(profile) for profile in one.service_profiles))
        for one in provisioned.sets
    )
    return replace(provisioned, sets=sets)


def same_set(one: ImplicitSet, provisioned: Provisioned) -> int | None:
    """Where the set stands that shares an identity with this one: a registration goes on with it."""
    impus = {identity.impu for identity in one.identities}
    for position, other in enumerate(provisioned.sets):
        if any(identity.impu in impus for identity in other.identities):
            return position
    return None


def carried_over(before: Subscription, wanted: Provisioned) -> Assignment:
    """The assignment under other sets: each takes over the registration of the one it shares an identity with."""
    former = before.assignment.sets
    found = [same_set(one, before.provisioned) for one in wanted.sets]
    sets = tuple(SetRegistration() if position is None else former[position] for position in found)
    return replace(before.assignment, sets=sets)


def is_moved(before: Provisioned, wanted: Provisioned) -> bool:
    """Whether a set that goes on stands at another place, where what was kept of it is not found."""
    return any(same_set(one, before) not in (None, position) for position, one in enumerate(wanted.sets))


def without(assignment: Assignment, positions: Iterable[int]) -> Assignment:
    """With these sets not registered; the S-CSCF's name goes with the last that it serves (TS 29.228 6.1.2.1)."""
    ended = set(positions)
    sets = tuple(SetRegistration() if n in ended else one for n, one in enumerate(assignment.sets))
    if any(one.state is not RegistrationState.NOT_REGISTERED for one in sets):
        return replace(assignment, sets=sets)
    return Assignment(sets=sets)
