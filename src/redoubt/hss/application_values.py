"""What a subscription has for each data reference of Sh (TS 29.328 7.6)."""

from redoubt.diameter.cx import InitialFilterCriterion
from redoubt.diameter.dictionary import IdentitySet
from redoubt.diameter.sh import ImsUserState
from redoubt.hss.records import Assignment, Provisioned, RegistrationState

_STATES = {
    RegistrationState.NOT_REGISTERED: ImsUserState.NOT_REGISTERED,
    RegistrationState.REGISTERED: ImsUserState.REGISTERED,
    RegistrationState.UNREGISTERED: ImsUserState.REGISTERED_UNREG_SERVICES,
}


def position_of(provisioned: Provisioned, impu: str) -> int | None:
    """The set that has a distinct identity."""
    for position, one in enumerate(provisioned.sets):
        if any(identity.impu == impu for identity in one.identities):
            return position
    return None


def user_state(assignment: Assignment, position: int) -> ImsUserState:
    """7.6.3, as far as registration goes."""
    return _STATES[assignment.sets[position].state]


def identities(
    provisioned: Provisioned, assignment: Assignment, position: int, wanted: int = IdentitySet.ALL_IDENTITIES
) -> tuple[str, ...]:
    """7.6.2: those that are not barred."""
    chosen = []
    for at, one in enumerate(provisioned.sets):
        registered = assignment.sets[at].state is RegistrationState.REGISTERED
        if (
            wanted == IdentitySet.ALL_IDENTITIES
            or (wanted == IdentitySet.REGISTERED_IDENTITIES and registered)
            or (wanted in (IdentitySet.IMPLICIT_IDENTITIES, IdentitySet.ALIAS_IDENTITIES) and at == position)
        ):
            chosen += [identity.impu for identity in one.identities if not identity.barred]
    return tuple(chosen)


def msisdns(provisioned: Provisioned) -> tuple[str, ...]:
    """7.6.9: the numbers among the public identities."""
    impus = [one.impu for each in provisioned.sets for one in each.identities if not one.wildcard]
    return tuple([impu.removeprefix("tel:+") for impu in impus if impu.startswith("tel:+")])


def criteria(
    provisioned: Provisioned, position: int, impu: str, server_name: str
) -> tuple[InitialFilterCriterion, ...]:
    """7.6.5: those that lead to the asking server."""
    return tuple(
        [
            criterion
            for profile in provisioned.sets[position].service_profiles
            if any(one.impu == impu or one.wildcard for one in profile.identities)
            for criterion in profile.criteria
            if criterion.server_name == server_name
        ]
    )
