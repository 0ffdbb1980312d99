"""Whoever has a card finds a place for its next attempt, whatever became of the phones it was in (TS 33.203 7.4)."""

from dataclasses import replace

import pytest

from redoubt.gm.association_set import AssociationSet, PhoneKey
from redoubt.gm.states import State
from redoubt.sip.errors import SipError

from .sets import ALICE, Node, after, virtually


def phone(number: int) -> PhoneKey:
    return ALICE._replace(contact=f"10.0.1.{number}:31001")


def authenticated(node: Node, number: int, over: AssociationSet | None = None) -> AssociationSet:
    return node.authenticate(phone(number), over, address=f"10.0.1.{number}")


def heard(node: Node, living: AssociationSet) -> None:
    """A packet came on it."""
    usage = node.associations.usage(living)
    node.ducts.used[living.number] = replace(usage, received_packets=usage.received_packets + 1)


def test_a_phone_that_is_another_one_at_each_attach_is_never_locked_out() -> None:
    async def story(node: Node) -> None:
        for number in range(30):
            assert authenticated(node, number).state is State.IN_USE
            assert len(node.associations.sets) <= 2
            await after(600)

    virtually(story)


def test_the_phone_that_proved_itself_longest_ago_goes_and_the_other_stays() -> None:
    async def story(node: Node) -> None:
        first, second = authenticated(node, 1), authenticated(node, 2)
        third = authenticated(node, 3)
        assert [each.state for each in (first, second, third)] == [State.ENDED, State.IN_USE, State.IN_USE]

    virtually(story)


def test_an_attempt_that_proves_nothing_displaces_nobody() -> None:
    async def story(node: Node) -> None:
        first, second = authenticated(node, 1), authenticated(node, 2)
        for number in range(3, 9):
            made = node.challenge(phone(number), address=f"10.0.1.{number}")
            node.associations.received(made)
            node.associations.failed(made)
        assert (first.state, second.state) == (State.IN_USE, State.IN_USE)

    virtually(story)


@pytest.mark.parametrize("speaks", [True, False])
def test_one_that_renews_displaces_only_who_was_silent_since_its_last_proof(speaks: bool) -> None:
    async def story(node: Node) -> None:
        other, renewing = authenticated(node, 1), authenticated(node, 2)
        if speaks:
            heard(node, other)
        newer = authenticated(node, 2, over=renewing)
        assert (renewing.state, newer.state) == (State.IN_USE, State.ESTABLISHED)
        assert (other.state is State.ENDED) is not speaks
        if not speaks:  # and so it finds a place when it comes back as another one
            assert node.challenge(phone(3), address="10.0.1.3").state is State.TEMPORARY
        else:
            with pytest.raises(SipError):
                node.challenge(phone(3), address="10.0.1.3")

    virtually(story)


def test_nothing_is_remembered_of_sets_that_ended() -> None:
    async def story(node: Node) -> None:
        for number in range(5):
            authenticated(node, number)
        assert len(node.admission._heard_packets) == 1
        await after(4000)
        assert (node.nothing_left, node.admission._heard_packets) == (True, {})

    virtually(story)


def test_other_private_identities_lose_nothing() -> None:
    async def story(node: Node) -> None:
        bob = node.authenticate(PhoneKey("bob@ims.test", "x"), address="10.0.2.1")
        for number in range(5):
            authenticated(node, number)
        assert bob.state is State.IN_USE

    virtually(story)
