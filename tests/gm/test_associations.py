"""The life of association sets (TS 33.203 7.3 to 7.5, TS 24.229 5.2.2.2) in virtual time."""

import asyncio
from dataclasses import replace

import pytest

from redoubt.gm.association_set import AssociationSet, Usage
from redoubt.gm.associations import LINGER_S
from redoubt.gm.states import TABLE, Event, Life, State
from redoubt.sip.errors import SipError
from redoubt.transport.flow import Clear, Flow, FlowFailed

from .sets import ALICE, BOB, HERE, IMPU, Node, after, virtually

OTHER = "sip:+15550100@ims.test"


def flow_of(made: AssociationSet) -> Flow:
    assert made.flow is not None
    return made.flow


def test_every_row_of_the_table_has_a_clause_and_every_state_an_end() -> None:
    assert all(row.clause for row in TABLE.values())
    assert {state for state, _ in TABLE} == set(State) - {State.ENDED}
    for state in set(State) - {State.ENDED}:
        assert TABLE[state, Event.LIFE_ENDED].state is State.ENDED
        assert TABLE[state, Event.EXHAUSTED].state is State.ENDED
    assert all((row.state is State.ENDED) is (row.life is Life.END) for row in TABLE.values())


def test_every_state_can_be_reached() -> None:
    reached, wave = {State.TEMPORARY}, {State.TEMPORARY}
    while wave:
        wave = {row.state for (state, _), row in TABLE.items() if state in wave} - reached
        reached |= wave
    assert reached == set(State)


def test_a_challenge_that_nobody_answers_leaves_nothing_after_four_minutes() -> None:
    async def story(node: Node) -> None:
        made = node.challenge()
        await after(239.9)
        assert node.associations.sets == {made.number: made}
        await after(0.2)
        assert node.nothing_left
        assert not made.keys.encryption

    virtually(story)


def test_the_first_set_is_in_use_with_its_200() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate()
        assert made.state is State.IN_USE
        assert node.associations.outgoing(ALICE) is made

    virtually(story)


@pytest.mark.parametrize(("expires_s", "ends_s"), [(3600, 3630), (60, 90)])
def test_a_set_lasts_thirty_seconds_longer_than_the_registration(expires_s: int, ends_s: int) -> None:
    async def story(node: Node) -> None:
        node.authenticate(expires_s=expires_s)
        await after(ends_s - 1)
        assert node.associations.outgoing(ALICE)
        await after(2)
        assert node.nothing_left

    virtually(story)


def test_the_longer_of_the_old_life_and_the_new_counts() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate(expires_s=3600)
        new = node.authenticate(over=old, expires_s=600)
        assert new.ends_at == old.ends_at == 3630
        newest = node.authenticate(over=new, expires_s=7200)
        assert newest.ends_at == 7230

    virtually(story)


def test_the_old_set_protects_what_goes_to_the_phone_until_the_new_one_is_used() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        new = node.authenticate(over=old)
        assert (old.state, new.state) == (State.IN_USE, State.ESTABLISHED)
        assert node.associations.outgoing(ALICE) is old
        await after(1000)
        node.associations.received(new)
        assert (old.state, new.state) == (State.OLD, State.IN_USE)
        assert node.associations.outgoing(ALICE) is new
        assert old.carries_requests
        await after(LINGER_S + 1)
        assert old.state is State.ENDED
        assert set(node.ducts.installed) == {new.number}

    virtually(story)


def test_when_the_old_set_ends_first_the_new_one_takes_over() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate(expires_s=600)
        new = node.authenticate(over=old, expires_s=3600)
        assert new.state is State.ESTABLISHED
        await after(631)
        assert (old.state, new.state) == (State.ENDED, State.IN_USE)
        assert node.associations.outgoing(ALICE) is new

    virtually(story)


def test_what_begins_shortly_before_the_old_set_ends_is_protected_by_the_new_one() -> None:
    """Otherwise its transaction would lose the association under way (found by a seed)."""

    async def story(node: Node) -> None:
        old = node.authenticate(expires_s=600)
        new = node.authenticate(over=old, expires_s=3600)
        await after(630 - LINGER_S - 1)
        assert node.associations.outgoing(ALICE) is old
        await after(2)
        assert (old.state, new.state) == (State.IN_USE, State.ESTABLISHED)
        assert node.associations.outgoing(ALICE) is new

    virtually(story)


def test_a_failed_re_authentication_touches_the_working_set_in_nothing() -> None:
    async def story(node: Node) -> None:
        working = node.authenticate()
        ends_at = working.ends_at
        made = node.challenge(over=working)
        node.associations.received(made)
        node.associations.failed(made)
        assert made.state is State.REFUSED
        assert not made.carries_requests
        await after(LINGER_S + 1)
        assert made.state is State.ENDED
        assert (working.state, working.ends_at) == (State.IN_USE, ends_at)
        node.associations.failed(working)  # a refused re-REGISTER on it
        assert working.state is State.IN_USE

    virtually(story)


def test_a_refusal_still_leaves_on_the_set_of_its_attempt() -> None:
    async def story(node: Node) -> None:
        made = node.challenge()
        node.associations.received(made)
        node.associations.failed(made)
        flow = flow_of(made)
        flow.send(b"SIP/2.0 403 Forbidden")
        await after(LINGER_S + 1)
        with pytest.raises(FlowFailed):
            flow.send(b"SIP/2.0 403 Forbidden")

    virtually(story)


def test_deregistration_ends_the_sets_after_its_200_had_time_to_arrive() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate()
        node.associations.deregistered(ALICE, IMPU)
        assert made.state is State.CLOSING
        flow_of(made).send(b"SIP/2.0 200 OK")
        assert not made.carries_requests
        assert node.associations.outgoing(ALICE) is None
        await after(LINGER_S + 1)
        assert node.nothing_left

    virtually(story)


def test_the_set_of_a_challenged_deregistration_closes_with_its_own_row_and_carries_no_requests() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        made = node.challenge(over=old)
        node.associations.received(made)
        node.associations.concluded(made)
        assert (made.state, node.heard[-1][3]) == (State.CLOSING, TABLE[State.ANSWERED, Event.CONCLUDED])
        assert not made.carries_requests and node.associations.outgoing(ALICE) is old
        node.associations.deregistered(ALICE, IMPU)
        flow_of(made).send(b"SIP/2.0 200 OK")
        await after(LINGER_S + 1)
        assert node.nothing_left

    virtually(story)


def test_the_set_stays_while_one_identity_is_registered() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate()
        node.associations.registered(made, OTHER, 7200)
        node.associations.deregistered(ALICE, IMPU)
        assert made.state is State.IN_USE
        assert made.ends_at == 7230
        node.associations.deregistered(ALICE, OTHER)
        assert made.state is State.CLOSING

    virtually(story)


def test_an_identity_that_ran_out_keeps_no_set() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate(expires_s=3600)
        node.associations.registered(made, OTHER, 60)
        await after(100)
        node.associations.deregistered(ALICE, IMPU)
        assert made.state is State.CLOSING

    virtually(story)


def test_a_register_that_crossed_the_deregistration_keeps_the_set() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate()
        node.associations.deregistered(ALICE)
        assert node.associations.registered(made, OTHER, 3600)
        assert made.state is State.IN_USE
        await after(LINGER_S + 1)
        assert node.associations.outgoing(ALICE) is made

    virtually(story)


def test_deregistration_of_one_phone_leaves_the_others_alone() -> None:
    async def story(node: Node) -> None:
        alice, bob = node.authenticate(ALICE), node.authenticate(BOB, port_s=31003)
        node.associations.deregistered(ALICE)
        assert (alice.state, bob.state) == (State.CLOSING, State.IN_USE)

    virtually(story)


def test_a_register_that_is_not_challenged_prolongs_all_sets_that_may_be_used() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate(expires_s=600)
        new = node.authenticate(over=old, expires_s=600)
        assert node.associations.registered(new, OTHER, 7200)
        assert (old.ends_at, new.ends_at) == (7230, 7230)

    virtually(story)


def test_what_was_registered_ends_with_the_last_set_that_kept_the_phone_reachable() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate(expires_s=3600)
        new = node.challenge(over=old)
        node.associations.received(new)
        node.associations.ended(old, Event.EXHAUSTED)
        assert node.associations.registered(new, OTHER, 60)
        assert (new.ends_at, list(new.phone.registered)) == (90, [OTHER])

    virtually(story)


def test_a_set_that_ended_while_home_was_asked_begins_nothing() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        node.associations.deregistered(ALICE)
        with pytest.raises(SipError) as refused:
            node.challenge(over=old)
        assert refused.value.status == 403
        assert list(node.associations.sets.values()) == [old]

    virtually(story)


def test_network_initiated_authentication_shortens_the_old_pair() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate(expires_s=3600)
        node.associations.shortened(ALICE, 60)
        assert old.ends_at == 60
        new = node.authenticate(over=old, expires_s=600)
        assert new.ends_at == 630
        await after(61)
        assert (old.state, new.state) == (State.ENDED, State.IN_USE)

    virtually(story)


def test_a_phone_that_ignores_network_initiated_authentication_has_no_set_left() -> None:
    async def story(node: Node) -> None:
        node.authenticate()
        node.associations.shortened(ALICE, 60)
        await after(61)
        assert node.nothing_left

    virtually(story)


def test_a_phone_that_comes_back_without_protection_ends_its_old_sets_by_success_alone() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        stranger = node.challenge()  # anybody may say that he is alice
        assert old.state is State.IN_USE
        await after(10)
        back = node.authenticate()
        assert (old.state, back.state) == (State.ENDED, State.IN_USE)
        assert stranger.state is State.ENDED
        assert len(node.associations.sets) == 1

    virtually(story)


def test_a_second_challenge_to_an_unprotected_start_is_still_one() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        first = node.challenge()
        node.associations.received(first)  # with auts, or a wrong response: home challenges again
        again = node.challenge(over=first)
        node.associations.failed(first)
        node.associations.received(again)
        assert node.associations.registered(again, IMPU, 3600)
        assert (old.state, first.state, again.state) == (State.ENDED, State.REFUSED, State.IN_USE)

    virtually(story)


def test_a_phone_at_a_new_address_cannot_go_on_at_the_old_one() -> None:
    async def story(node: Node) -> None:
        flow = flow_of(node.authenticate(address=HERE))
        new = node.authenticate(address="10.0.0.99")
        with pytest.raises(FlowFailed):
            flow.send(b"OPTIONS")
        assert node.associations.outgoing(ALICE) is new

    virtually(story)


def test_a_phone_that_forgot_its_contact_is_known_by_its_address_and_port() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        node.authenticate(ALICE._replace(contact="another"))
        assert old.state is State.ENDED

    virtually(story)


def test_used_up_sequence_numbers_end_the_set_and_a_new_registration_works() -> None:
    async def story(node: Node) -> None:
        worn = node.authenticate()
        node.associations.ended(worn, Event.EXHAUSTED)
        assert node.nothing_left
        assert node.authenticate().state is State.IN_USE

    virtually(story)


def test_a_200_that_comes_when_the_set_is_no_more_has_no_way() -> None:
    async def story(node: Node) -> None:
        made = node.challenge()
        node.associations.received(made)
        await after(300)
        assert made.state is State.ENDED
        assert not node.associations.registered(made, IMPU, 3600)
        assert node.nothing_left

    virtually(story)


def test_an_answer_in_the_last_moment_has_time_for_its_200() -> None:
    async def story(node: Node) -> None:
        made = node.challenge()
        await after(239)
        node.associations.received(made)
        await after(10)
        assert node.associations.registered(made, IMPU, 3600)

    virtually(story)


def test_without_a_message_on_it_a_set_is_never_established() -> None:
    async def story(node: Node) -> None:
        made = node.challenge()
        assert not node.associations.registered(made, IMPU, 3600)
        assert made.state is State.TEMPORARY

    virtually(story)


def test_an_event_that_the_table_does_not_know_changes_nothing_and_is_told() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate()
        node.associations.ended(made, Event.EVICTED)
        assert made.state is State.IN_USE
        assert node.heard[-1][1:] == (State.IN_USE, Event.EVICTED, None)

    virtually(story)


# ---- integrity-protected (TS 33.203 6.1.5)


def protected(node: Node, carrier: AssociationSet, nonce: str) -> bool:
    return node.associations.counts_as_protected(flow_of(carrier), nonce)


def test_an_answer_counts_as_protected_on_the_set_of_its_challenge_alone() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        new = node.challenge(over=old)
        assert not protected(node, old, new.nonce)
        assert protected(node, new, new.nonce)
        assert not protected(node, new, "another nonce")
        assert not protected(node, new, "")

    virtually(story)


def test_any_other_register_counts_on_the_set_of_the_latest_success_alone() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        assert protected(node, old, "")
        assert protected(node, old, old.nonce)  # a phone repeats the last nonce in each REGISTER
        new = node.authenticate(over=old)
        assert not protected(node, old, "")
        assert not protected(node, old, old.nonce)
        assert protected(node, new, "")

    virtually(story)


def test_a_flow_without_an_association_never_counts() -> None:
    async def story(node: Node) -> None:
        made = node.authenticate()
        flow = flow_of(made)
        assert not node.associations.counts_as_protected(replace(flow, security=Clear()), made.nonce)
        node.associations.ended(made, Event.EXHAUSTED)
        assert not node.associations.counts_as_protected(flow, made.nonce)

    virtually(story)


# ---- ceilings (requirement rows 42 and 47)


def test_twenty_attempts_without_an_answer_leave_at_most_six_associations_a_direction() -> None:
    async def story(node: Node) -> None:
        working = node.authenticate()
        for number in range(20):
            node.challenge(address=f"10.0.1.{number}", port_s=31003)
            assert len(node.associations.sets) <= 3
        assert working.state is State.IN_USE

    virtually(story)


def test_one_phone_has_one_open_attempt() -> None:
    async def story(node: Node) -> None:
        first = node.challenge()
        second = node.challenge()
        assert (first.state, second.state) == (State.ENDED, State.TEMPORARY)

    virtually(story)


def test_an_attempt_from_elsewhere_does_not_end_the_phones_own() -> None:
    async def story(node: Node) -> None:
        own = node.challenge()
        node.challenge(address="203.0.113.9", port_s=31003)
        node.associations.received(own)
        assert node.associations.registered(own, IMPU, 3600)

    virtually(story)


def test_an_attempt_that_was_answered_makes_no_room_for_a_stranger() -> None:
    async def story(node: Node) -> None:
        own = node.challenge()
        node.associations.received(own)
        for number in range(20):
            node.challenge(address=f"10.0.1.{number}", port_s=31003)
        assert node.associations.registered(own, IMPU, 3600)

    virtually(story)


def test_more_sets_in_use_than_allowed_abort_the_new_attempt() -> None:
    async def story(node: Node) -> None:
        first, second = (
            node.authenticate(ALICE._replace(contact=f"phone-{number}"), address=f"10.0.1.{number}")
            for number in range(2)
        )
        node.ducts.used[first.number] = Usage(received_packets=1)
        node.authenticate(second.phone.key, over=second, address="10.0.1.1")
        with pytest.raises(SipError) as refused:
            node.challenge(ALICE._replace(contact="phone-9"), address="10.0.1.9")
        assert refused.value.status == 503
        assert len(node.associations.sets) == 3

    virtually(story)


def test_a_flood_from_one_address_pushes_out_its_own_attempts() -> None:
    async def story(node: Node) -> None:
        honest = node.challenge(BOB, address="10.0.0.2")
        for number in range(100):
            node.challenge(ALICE._replace(impi=f"{number}@ims.test"), port_s=40000 + number)
        assert honest.state is State.TEMPORARY
        assert node.admission.half_open == 11

    virtually(story)


def test_a_flood_from_many_addresses_pushes_out_the_heaviest_and_no_registered_phone() -> None:
    async def story(_: Node) -> None:
        node = Node(ceiling=50, per_source=10)
        registered = [
            node.authenticate(ALICE._replace(impi=f"r{n}@ims.test"), address=f"10.2.0.{n}") for n in range(20)
        ]
        honest = node.challenge(BOB, address="10.0.0.2")
        for number in range(2000):
            source = f"10.1.0.{number % 20}"
            node.challenge(ALICE._replace(impi=f"{number}@ims.test"), address=source, port_s=40000 + number)
            assert node.admission.half_open <= 50
        assert honest.state is State.TEMPORARY
        assert all(each.state is State.IN_USE for each in registered)
        await asyncio.sleep(241)
        assert node.admission.half_open == 0
        assert len(node.associations.sets) == 20
        node.associations.close()

    virtually(story)


def test_another_private_identity_begins_nothing_on_an_association() -> None:
    async def story(node: Node) -> None:
        alice = node.authenticate()
        with pytest.raises(SipError) as refused:
            node.challenge(BOB, over=alice)
        assert refused.value.status == 403

    virtually(story)


def test_the_port_of_another_phone_at_the_same_address_is_refused_with_the_list() -> None:
    async def story(node: Node) -> None:
        node.authenticate()
        with pytest.raises(SipError) as refused:
            node.challenge(BOB)
        assert refused.value.status == 494
        assert "spi-c" not in dict(refused.value.headers)["Security-Server"]

    virtually(story)
