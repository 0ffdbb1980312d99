"""The tables of the four machines: complete, cited, and unable to leave their end (RFC 3261 17, RFC 6026)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transaction.nodes import request

from redoubt.sim import Network, run
from redoubt.sip import client_invite, client_noninvite, server_invite, server_noninvite
from redoubt.sip.message import Request, Response
from redoubt.sip.transaction import Surroundings
from redoubt.sip.transaction_timers import Lanes
from redoubt.transport.flow import Clear, Flow, FlowFailed, Zone

MACHINES = [server_invite, server_noninvite, client_invite, client_noninvite]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_decides_every_event_and_cites_the_clause(machine: Any) -> None:
    for state in machine.State:
        for event in machine.Event:
            assert machine.TABLE[state, event].clause, (state, event)
    assert len(machine.TABLE) == len(machine.State) * len(machine.Event)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_is_reached_and_the_end_is_never_left(machine: Any) -> None:
    reached = {machine.State(1)}
    for _ in machine.State:
        reached |= {row.state for (state, _), row in machine.TABLE.items() if state in reached}
    assert reached == set(machine.State)
    end = machine.State.TERMINATED
    assert all(row.state is end for (state, _), row in machine.TABLE.items() if state is end)


class _Nothing:
    def ack_of(self, response: Response) -> bytes:
        return b"ACK"

    def send_cancel(self) -> None:
        return


def _machine(kind: str, flow: Flow, around: Surroundings, ended: Callable[[], None]) -> Any:
    if kind == "server invite":
        return server_invite.InviteServer((), flow, around, lambda _key: ended())
    if kind == "server":
        return server_noninvite.NonInviteServer((), flow, around, lambda _key: ended())
    if kind == "client":
        return client_noninvite.NonInviteClient(flow, b"x", around, lambda _r: None, ended)
    return client_invite.InviteClient(flow, b"x", around, _Nothing(), lambda _r: None, ended)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["server invite", "server", "client invite", "client"]),
    transport=st.sampled_from(["udp", "tcp"]),
    steps=st.lists(st.tuples(st.integers(0, 40), st.floats(0, 20)), max_size=25),
    breaks_at=st.integers(0, 30),
)
def test_any_sequence_of_events_ends_the_transaction_once(
    kind: str, transport: str, steps: list[tuple[int, float]], breaks_at: int
) -> None:
    async def scene(_network: Network) -> None:
        sent: list[bytes] = []

        def send(_flow: Flow, data: bytes) -> None:
            sent.append(data)
            if len(sent) > breaks_at:
                raise FlowFailed("gone")

        ended: list[None] = []
        flow = Flow(transport, ("10.0.0.1", 5060), ("10.0.0.2", 5060), Zone.CORE, Clear(), sent.append)
        machine = _machine(kind, flow, Surroundings(Lanes(), send), lambda: ended.append(None))
        if "client" in kind:
            machine.start()
        acts = _acts(machine, kind)
        for which, wait_s in steps:
            acts[which % len(acts)]()
            await asyncio.sleep(wait_s)
        if "server" in kind and machine.awaits_response:
            _final(machine, kind)
        await asyncio.sleep(600)
        assert len(ended) == 1
        assert machine.state.name == "TERMINATED"

    run(scene, 1)


def _final(machine: Any, kind: str) -> None:
    machine.final(b"final", False) if kind == "server invite" else machine.final(b"final")


def _acts(machine: Any, kind: str) -> list[Callable[[], object]]:
    if kind == "server invite":
        return [
            machine.request,
            lambda: machine.provisional(b"180"),
            lambda: machine.final(b"200", True),
            lambda: machine.final(b"486", False),
            machine.ack,
        ]
    if kind == "server":
        return [machine.request, lambda: machine.provisional(b"100"), lambda: machine.final(b"200")]
    asked = _asked(kind)
    answers = [lambda status=status: machine.receive(asked.response(status)) for status in (100, 180, 200, 486)]
    return [*answers, machine.cancel] if kind == "client invite" else answers


def _asked(kind: str) -> Request:
    return request("INVITE" if "invite" in kind else "OPTIONS", "sip:b", via="SIP/2.0/UDP a;branch=z9hG4bKx")
