"""The table of registration states, row by row."""

from itertools import product

import pytest

from redoubt.diameter.cx import ResultCode, ServerAssignmentType
from redoubt.hss.records import Assignment, RegistrationState, SetRegistration
from redoubt.hss.registration import TABLE, Action, Asked, assigned, challenged

S1, S2, IMPI = "sip:s1.example", "sip:s2.example", "a@home.example"
STATES = {
    RegistrationState.NOT_REGISTERED: SetRegistration(),
    RegistrationState.REGISTERED: SetRegistration(RegistrationState.REGISTERED, (IMPI,)),
    RegistrationState.UNREGISTERED: SetRegistration(RegistrationState.UNREGISTERED),
}
PAIRS = list(product(RegistrationState, ServerAssignmentType))


@pytest.mark.parametrize(("state", "kind"), PAIRS)
def test_every_pair_is_a_row_or_refused(state: RegistrationState, kind: ServerAssignmentType) -> None:
    before = Assignment(S1, "", (STATES[state],))
    step = assigned(before, Asked(0, IMPI, S1, kind, has_services=True))
    row = TABLE.get((state, kind))
    if row is None:
        assert (step.result, step.assignment) == (ResultCode.IN_ASSIGNMENT_TYPE, before)
        return
    assert row.clause and step.result is ResultCode.SUCCESS
    assert step.assignment.sets[0].state is row.state
    assert bool(step.assignment.server_name) == (row.state is not RegistrationState.NOT_REGISTERED) or (
        row.action is Action.NOTHING
    )
    assert (step.assignment.sets[0].impis == (IMPI,)) == (row.state is RegistrationState.REGISTERED)


@pytest.mark.parametrize(("state", "kind"), PAIRS)
def test_another_s_cscf_changes_nothing(state: RegistrationState, kind: ServerAssignmentType) -> None:
    before = Assignment(S1, "", (STATES[state],))
    step = assigned(before, Asked(0, IMPI, S2, kind))
    assert (step.result, step.assignment) == (ResultCode.IDENTITY_ALREADY_REGISTERED, before)


def test_a_challenge_stores_the_name_beside_one_that_has_users_only() -> None:
    idle = Assignment("", "", (SetRegistration(),))
    assert challenged(idle, S1).server_name == S1
    assert challenged(challenged(idle, S1), S2) == Assignment(S2, "", idle.sets)
    busy = Assignment(S1, "", (STATES[RegistrationState.REGISTERED],))
    assert challenged(busy, S2) == Assignment(S1, S2, busy.sets)
    assert challenged(busy, S1) is busy
    assert challenged(challenged(busy, S2), S1) == busy
