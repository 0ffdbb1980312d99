"""An older set serves what is pending on it for as long as that lives, within a bound (TS 33.203 7.4, row 41)."""

import asyncio

import pytest

from redoubt.gm.association_set import AssociationSet
from redoubt.gm.associations import LINGER_S, PENDING_S
from redoubt.gm.states import State
from redoubt.sip.errors import SipError

from .sets import ALICE, Node, after, virtually


class Ringing:
    """INVITEs that wait for their answers."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._answers: list[asyncio.Future[str]] = []
        self._served: list[asyncio.Task[str]] = []

    async def invite(self, carrier: AssociationSet) -> None:
        assert carrier.flow is not None
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._served.append(asyncio.create_task(self._node.associations.serve(carrier.flow, answer)))
        await after(0.1)

    async def answered(self) -> None:
        self._answers.pop().set_result("200")
        assert await self._served.pop() == "200"


def renewed(node: Node, old: AssociationSet) -> AssociationSet:
    new = node.authenticate(over=old)
    node.associations.received(new)
    return new


def test_an_invite_that_rings_keeps_the_older_set_and_its_answer_lets_it_go() -> None:
    async def story(node: Node) -> None:
        ringing, old = Ringing(node), node.authenticate()
        await ringing.invite(old)
        new = renewed(node, old)
        await after(LINGER_S + 60)
        assert (old.state, new.state) == (State.OLD, State.IN_USE)
        assert old.carries_requests and node.associations.outgoing(ALICE) is new
        await ringing.answered()
        await after(LINGER_S - 1)
        assert old.state is State.OLD  # the answer may have to be repeated
        await after(2)
        assert set(node.ducts.installed) == {new.number}

    virtually(story)


def test_of_several_invites_the_last_one_counts() -> None:
    async def story(node: Node) -> None:
        ringing, old = Ringing(node), node.authenticate()
        await ringing.invite(old)
        await ringing.invite(old)
        renewed(node, old)
        await ringing.answered()
        await after(LINGER_S + 1)
        assert old.state is State.OLD
        await ringing.answered()
        await after(LINGER_S + 1)
        assert old.state.value == "ended"

    virtually(story)


def test_an_invite_without_end_does_not_keep_a_set_without_end() -> None:
    async def story(node: Node) -> None:
        ringing, old = Ringing(node), node.authenticate(expires_s=7200)
        await ringing.invite(old)
        renewed(node, old)
        await after(PENDING_S - 1)
        assert old.state is State.OLD
        await after(2)
        assert old.state.value == "ended"
        await ringing.answered()

    virtually(story)


def test_a_set_whose_life_ends_first_still_serves_what_rings_when_a_newer_one_is_there() -> None:
    async def story(node: Node) -> None:
        ringing, old = Ringing(node), node.authenticate(expires_s=600)
        new = node.authenticate(over=old, expires_s=3600)
        await after(600)
        await ringing.invite(old)
        await after(31)
        assert (old.state, new.state) == (State.OLD, State.IN_USE)
        assert node.associations.outgoing(ALICE) is new
        await ringing.answered()
        await after(LINGER_S + 1)
        assert old.state.value == "ended"

    virtually(story)


def test_what_rings_prolongs_no_registration() -> None:
    async def story(node: Node) -> None:
        ringing, only = Ringing(node), node.authenticate(expires_s=60)
        await ringing.invite(only)
        await after(91)
        assert only.state is State.ENDED
        await ringing.answered()
        assert node.nothing_left

    virtually(story)


def test_a_stranger_does_not_push_out_what_rings_and_the_phone_itself_may() -> None:
    async def story(node: Node) -> None:
        ringing, old = Ringing(node), node.authenticate()
        await ringing.invite(old)
        new = renewed(node, old)
        newest = node.authenticate(over=new)
        with pytest.raises(SipError) as refused:
            node.challenge(address="203.0.113.9", port_s=31003)
        assert (refused.value.status, old.state) == (503, State.OLD)
        made = node.challenge(over=newest)
        assert (made.state, old.state) == (State.TEMPORARY, State.ENDED)
        await ringing.answered()

    virtually(story)
