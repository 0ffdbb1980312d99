"""The registration states of the HSS as one table, and what an SAR or a MAR makes of an assignment.

TS 29.228 clauses 6.1.2.1 and 6.3.1. Pure: values in, values out; the caller stores them.
"""

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from redoubt.diameter.cx import RestorationInfo, ResultCode, ServerAssignmentType
from redoubt.hss.records import Assignment, RegistrationState, SetRegistration
from redoubt.limits import HSS_RESTORATION_OCTETS, RESTORATION_CONTACTS

_NOT, _REG, _UNREG = (
    RegistrationState.NOT_REGISTERED,
    RegistrationState.REGISTERED,
    RegistrationState.UNREGISTERED,
)
_T = ServerAssignmentType


class Action(Enum):
    """What a row does with the S-CSCF's name and the private identity's registration."""

    NOTHING = "nothing"
    REGISTER = "store the name, add the private identity"
    SERVE = "store the name"
    LEAVE = "remove the private identity, and the name with the last registration"
    LEAVE_SERVED = "remove the private identity, keep the name if there are services"
    GIVE_UP = "end the pending authentication, and the name if nothing needs it"


class Row(Struct, frozen=True, gc=False):
    state: RegistrationState
    action: Action
    clause: str
    brings_profile: bool = False


_6121 = "TS 29.228 6.1.2.1"
# (state of the set, what the S-CSCF says) -> what becomes of it. A missing row is IN_ASSIGNMENT_TYPE.
TABLE: dict[tuple[RegistrationState, ServerAssignmentType], Row] = {
    (_NOT, _T.REGISTRATION): Row(_REG, Action.REGISTER, _6121, True),
    (_NOT, _T.UNREGISTERED_USER): Row(_UNREG, Action.SERVE, _6121, True),
    (_NOT, _T.NO_ASSIGNMENT): Row(_NOT, Action.NOTHING, _6121, True),
    (_NOT, _T.TIMEOUT_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_NOT, _T.USER_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_NOT, _T.ADMINISTRATIVE_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_NOT, _T.DEREGISTRATION_TOO_MUCH_DATA): Row(_NOT, Action.LEAVE, _6121),
    (_NOT, _T.AUTHENTICATION_FAILURE): Row(_NOT, Action.GIVE_UP, _6121),
    (_NOT, _T.AUTHENTICATION_TIMEOUT): Row(_NOT, Action.GIVE_UP, _6121),
    (_REG, _T.REGISTRATION): Row(_REG, Action.REGISTER, _6121, True),
    (_REG, _T.RE_REGISTRATION): Row(_REG, Action.REGISTER, _6121, True),
    (_REG, _T.NO_ASSIGNMENT): Row(_REG, Action.NOTHING, _6121, True),
    # The assigned S-CSCF says so after it lost its bindings (TS 23.380 4.3): nobody is registered there.
    (_REG, _T.UNREGISTERED_USER): Row(_UNREG, Action.SERVE, "TS 23.380 4.3.3", True),
    (_REG, _T.TIMEOUT_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_REG, _T.USER_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_REG, _T.ADMINISTRATIVE_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_REG, _T.DEREGISTRATION_TOO_MUCH_DATA): Row(_NOT, Action.LEAVE, _6121),
    (_REG, _T.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME): Row(_UNREG, Action.LEAVE_SERVED, _6121),
    (_REG, _T.USER_DEREGISTRATION_STORE_SERVER_NAME): Row(_UNREG, Action.LEAVE_SERVED, _6121),
    # A failed authentication deregisters nobody (TS 33.203 6.1.1).
    (_REG, _T.AUTHENTICATION_FAILURE): Row(_REG, Action.GIVE_UP, "TS 33.203 6.1.1"),
    (_REG, _T.AUTHENTICATION_TIMEOUT): Row(_REG, Action.GIVE_UP, "TS 33.203 6.1.1"),
    (_UNREG, _T.REGISTRATION): Row(_REG, Action.REGISTER, _6121, True),
    (_UNREG, _T.UNREGISTERED_USER): Row(_UNREG, Action.SERVE, _6121, True),
    (_UNREG, _T.NO_ASSIGNMENT): Row(_UNREG, Action.NOTHING, _6121, True),
    (_UNREG, _T.TIMEOUT_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_UNREG, _T.USER_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_UNREG, _T.ADMINISTRATIVE_DEREGISTRATION): Row(_NOT, Action.LEAVE, _6121),
    (_UNREG, _T.DEREGISTRATION_TOO_MUCH_DATA): Row(_NOT, Action.LEAVE, _6121),
    (_UNREG, _T.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME): Row(_UNREG, Action.LEAVE_SERVED, _6121),
    (_UNREG, _T.USER_DEREGISTRATION_STORE_SERVER_NAME): Row(_UNREG, Action.LEAVE_SERVED, _6121),
    (_UNREG, _T.AUTHENTICATION_FAILURE): Row(_UNREG, Action.GIVE_UP, _6121),
    (_UNREG, _T.AUTHENTICATION_TIMEOUT): Row(_UNREG, Action.GIVE_UP, _6121),
}


class Step(Struct, frozen=True, gc=False):
    """What an SAR comes to. `replaced` names the S-CSCF that lost the subscription to this one."""

    result: ResultCode
    assignment: Assignment
    brings_profile: bool = False
    clause: str = _6121
    replaced: str = ""


class Asked(Struct, frozen=True, gc=False):
    """An SAR, and what else of the subscription decides about it."""

    position: int
    impi: str
    server_name: str
    kind: ServerAssignmentType
    has_services: bool = False
    others_pending: bool = False
    is_restorable: bool = False  # there is what the S-CSCF may have lost


def challenged(assignment: Assignment, server_name: str) -> Assignment:
    """After a MAR (TS 29.228 6.3.1): the asking S-CSCF is stored, beside the assigned one if that has users."""
    if server_name == assignment.server_name:
        return assignment if not assignment.candidate else Assignment(assignment.server_name, "", assignment.sets)
    if _in_use(assignment):
        if server_name == assignment.candidate:
            return assignment
        return Assignment(assignment.server_name, server_name, assignment.sets)
    return Assignment(server_name, "", assignment.sets)


def assigned(before: Assignment, asked: Asked) -> Step:
    """After an SAR (TS 29.228 6.1.2.1)."""
    if before.server_name and asked.server_name != before.server_name:
        return _from_another(before, asked)
    return _walked(before, asked)


def _from_another(before: Assignment, asked: Asked) -> Step:
    """An S-CSCF that isn't the assigned one counts only if it challenged, and takes over with a REGISTRATION."""
    if asked.server_name == before.candidate:
        if asked.kind in (_T.AUTHENTICATION_FAILURE, _T.AUTHENTICATION_TIMEOUT):
            return Step(ResultCode.SUCCESS, replace(before, candidate=""), clause="TS 33.203 6.1.1")
        if asked.kind is _T.REGISTRATION:
            fresh = Assignment(asked.server_name, "", tuple(SetRegistration() for _ in before.sets))
            return replace(_walked(fresh, asked), replaced=before.server_name)
    return Step(ResultCode.IDENTITY_ALREADY_REGISTERED, before)


def may_be_forgotten(assignment: Assignment, position: int, kind: ServerAssignmentType) -> bool:
    """Whether an SAR of this kind tells that the S-CSCF knows nothing of a registration that stands (TS 23.380 4)."""
    return kind in (_T.REGISTRATION, _T.UNREGISTERED_USER, _T.NO_ASSIGNMENT) and bool(assignment.sets[position].impis)


def fits(restoration: RestorationInfo) -> bool:
    """Whether a phone's contacts are of a size to be kept (our rule): more is served, but not restored."""
    contacts = restoration.contacts
    octets = sum(len(contact.contact) + sum(map(len, contact.path)) for contact in contacts)
    return len(contacts) <= RESTORATION_CONTACTS and octets <= HSS_RESTORATION_OCTETS


def _walked(before: Assignment, asked: Asked) -> Step:
    old = before.sets[asked.position]
    kind = asked.kind
    if asked.is_restorable and kind is _T.UNREGISTERED_USER:
        kind = _T.NO_ASSIGNMENT  # its bindings come back with the answer: the user stays registered (TS 23.380 4.3.3)
    row = TABLE.get((old.state, kind))
    if row is None:
        return Step(ResultCode.IN_ASSIGNMENT_TYPE, before)
    result = ResultCode.SUCCESS
    match row.action:
        case Action.NOTHING:
            return Step(result, before, row.brings_profile, row.clause)
        case Action.GIVE_UP:
            after = _without_name_if_idle(before, asked)
            return Step(result, after, row.brings_profile, row.clause)
        case Action.REGISTER:
            new = old if asked.impi in old.impis else SetRegistration(row.state, (*old.impis, asked.impi))
        case Action.SERVE:
            new = SetRegistration(row.state)
        case Action.LEAVE | Action.LEAVE_SERVED:
            new, result = _left(old, row, asked)
    if new == old and asked.server_name == before.server_name and row.action is Action.REGISTER:
        return Step(result, before, row.brings_profile, row.clause)  # a refresh: nothing to store
    sets = (*before.sets[: asked.position], new, *before.sets[asked.position + 1 :])
    after = Assignment(asked.server_name, before.candidate, sets)
    if row.action in (Action.LEAVE, Action.LEAVE_SERVED):
        after = _without_name_if_idle(after, asked)
    return Step(result, after, row.brings_profile, row.clause)


def _left(old: SetRegistration, row: Row, asked: Asked) -> tuple[SetRegistration, ResultCode]:
    """Without one private identity; another that is registered keeps the set (TS 29.228 6.1.2.1)."""
    impis = tuple(impi for impi in old.impis if impi != asked.impi) if asked.impi else ()
    if impis:
        return SetRegistration(RegistrationState.REGISTERED, impis), ResultCode.SUCCESS
    if row.action is Action.LEAVE_SERVED and not asked.has_services:
        return SetRegistration(), ResultCode.SUCCESS_SERVER_NAME_NOT_STORED
    return SetRegistration(row.state), ResultCode.SUCCESS


def _without_name_if_idle(assignment: Assignment, asked: Asked) -> Assignment:
    if asked.others_pending or _in_use(assignment) or not assignment.server_name:
        return assignment
    return Assignment("", "", assignment.sets)


def _in_use(assignment: Assignment) -> bool:
    return any(one.state is not RegistrationState.NOT_REGISTERED for one in assignment.sets)
