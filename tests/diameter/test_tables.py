"""Every row of the two tables: whatever happens in whatever state, the machine is where the specification has it."""

import itertools
from pathlib import Path

import pytest

from redoubt.diameter import peer_table, watchdog
from redoubt.diameter.diagrams import peer_diagram, watchdog_diagram
from redoubt.diameter.peer_table import TABLE, Action, Happening, State
from redoubt.diameter.watchdog import Deed, Health, Sign, Watchdog
from redoubt.sources import SeededRandomness


@pytest.mark.parametrize("row", TABLE.values(), ids=[f"{s.name}-{h.name}" for s, h in TABLE])
def test_every_row_of_the_peer_machine_has_a_clause(row: peer_table.Row) -> None:
    assert row.clause.startswith("RFC 6733 5.")


def test_every_state_of_a_peer_can_be_reached_and_left() -> None:
    assert {row.next for row in TABLE.values()} == set(State)
    for state in State:
        assert any(row.next is not state for (where, _), row in TABLE.items() if where is state)


def test_a_second_cer_is_never_a_surprise_and_never_replaces_an_open_connection() -> None:
    for state in State:
        row = TABLE[state, Happening.R_CONN_CER]
        if state.is_open:
            assert row == peer_table.Row(state, (Action.R_REJECT, Action.PROBE))


def test_waiting_states_end_by_time_or_by_stopping() -> None:
    for state in set(State) - {State.CLOSED, State.R_OPEN, State.I_OPEN}:
        assert TABLE[state, Happening.TIMEOUT].next is State.CLOSED
        if state is not State.CLOSING:
            assert TABLE[state, Happening.STOP].next is State.CLOSED


def test_the_watchdog_has_the_rows_of_rfc_3539() -> None:
    """Table of RFC 3539 3.4.1, row by row; its throwaways are the pairs that are not there."""
    rows = {key: (row.next, set(row.deeds)) for key, row in watchdog.TABLE.items()}
    assert rows == {
        (Health.INITIAL, Sign.UP): (Health.OKAY, set()),
        (Health.DOWN, Sign.UP): (Health.REOPEN, {Deed.TRY, Deed.ASK}),
        (Health.OKAY, Sign.DWA): (Health.OKAY, set()),
        (Health.OKAY, Sign.OTHER): (Health.OKAY, set()),
        (Health.OKAY, Sign.QUIET): (Health.OKAY, {Deed.ASK}),
        (Health.OKAY, Sign.UNANSWERED): (Health.SUSPECT, {Deed.FAIL_OVER}),
        (Health.OKAY, Sign.LOST): (Health.DOWN, {Deed.FAIL_OVER}),
        (Health.SUSPECT, Sign.DWA): (Health.OKAY, {Deed.FAIL_BACK}),
        (Health.SUSPECT, Sign.OTHER): (Health.OKAY, {Deed.FAIL_BACK}),
        (Health.SUSPECT, Sign.QUIET): (Health.DOWN, {Deed.CLOSE}),
        (Health.SUSPECT, Sign.UNANSWERED): (Health.DOWN, {Deed.CLOSE}),
        (Health.SUSPECT, Sign.LOST): (Health.DOWN, {Deed.FAIL_OVER}),
        (Health.REOPEN, Sign.DWA): (Health.REOPEN, {Deed.COUNT}),
        (Health.REOPEN, Sign.LAST_DWA): (Health.OKAY, {Deed.FAIL_BACK}),
        (Health.REOPEN, Sign.OTHER): (Health.REOPEN, set()),
        (Health.REOPEN, Sign.QUIET): (Health.REOPEN, {Deed.ASK}),
        (Health.REOPEN, Sign.UNANSWERED): (Health.REOPEN, {Deed.MISS}),
        (Health.REOPEN, Sign.UNANSWERED_AGAIN): (Health.DOWN, {Deed.CLOSE}),
        (Health.REOPEN, Sign.LOST): (Health.DOWN, {Deed.FAIL_OVER}),
    }


@pytest.mark.parametrize(
    "pair", list(itertools.product(Health, Sign)), ids=lambda pair: f"{pair[0].name}-{pair[1].name}"
)
async def test_the_watchdog_does_what_its_table_says(pair: tuple[Health, Sign]) -> None:
    health, sign = pair
    done: list[Deed] = []
    outward = (Deed.ASK, Deed.CLOSE, Deed.FAIL_OVER, Deed.FAIL_BACK)
    dog = Watchdog(30, SeededRandomness(1), {deed: lambda deed=deed: done.append(deed) for deed in outward})  # type: ignore[misc]
    dog.health = health
    dog._see(sign)
    row = watchdog.TABLE.get((health, sign))
    assert dog.health is (row.next if row else health)
    assert done == [deed for deed in (row.deeds if row else ()) if deed in outward]


def test_the_documentation_shows_the_tables_as_they_are() -> None:
    """If not: put what `diagrams` draws between the fences of docs/diameter.md."""
    text = (Path(__file__).parents[2] / "docs" / "diameter.md").read_text()
    drawn = [part.partition("```")[0].strip() for part in text.split("```mermaid")[1:]]
    assert drawn == [peer_diagram(), watchdog_diagram()]
