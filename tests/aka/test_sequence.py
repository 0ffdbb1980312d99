"""Sequence numbers: TS 33.102 Annex C, both halves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.aka.sequence import SequenceArray, SequenceExhausted, SequenceScheme

SCHEME = SequenceScheme()


def test_the_defaults_are_those_of_the_profile_that_is_not_time_based():
    assert (SCHEME.ind_bits, SCHEME.indices, SCHEME.delta) == (5, 32, 1 << 28)


@given(st.integers(0, (1 << 48) - 1), st.integers(0, 16))
def test_seq_and_ind_join_to_the_sqn_that_they_were_split_from(sqn, ind_bits):
    scheme = SequenceScheme(ind_bits=ind_bits, delta=1 << 20)
    assert scheme.join(*scheme.split(sqn)) == sqn


def test_the_centre_counts_up_and_takes_indices_in_turn():
    sqn, given_out = 0, []
    for _ in range(64):
        sqn = SCHEME.following(sqn)
        given_out.append(SCHEME.split(sqn))
    assert given_out == [(n, n % 32) for n in range(1, 65)]


def test_an_index_of_its_own_is_used_when_a_node_has_one():
    assert SCHEME.split(SCHEME.following(SCHEME.join(7, 3), ind=9)) == (8, 9)
    with pytest.raises(ValueError, match="outside the 32 entries"):
        SCHEME.following(0, ind=32)


def test_the_last_seq_ends_the_card_and_does_not_wrap():
    with pytest.raises(SequenceExhausted):
        SCHEME.following((1 << 48) - 1)


def test_the_card_takes_each_sqn_once():
    card = SequenceArray()
    sqn = SCHEME.join(1, 1)
    assert card.accept(sqn)
    before = card.state
    assert not card.accept(sqn)
    assert card.state == before


def test_two_nodes_may_use_their_vectors_out_of_order():
    card = SequenceArray()
    assert card.accept(SCHEME.join(9, 4))
    assert card.accept(SCHEME.join(2, 5))
    assert not card.accept(SCHEME.join(8, 4))
    assert card.highest == SCHEME.join(9, 4)


def test_a_jump_of_delta_is_taken_and_one_more_is_not():
    card = SequenceArray.at(SCHEME.join(100, 0))
    assert not card.accept(SCHEME.join(100 + SCHEME.delta + 1, 3))
    assert card.accept(SCHEME.join(100 + SCHEME.delta, 3))


def test_an_age_limit_refuses_what_lags_too_far_behind():
    scheme = SequenceScheme(age_limit=10)
    card = SequenceArray(scheme)
    assert card.accept(scheme.join(50, 1))
    assert not card.accept(scheme.join(39, 2))
    assert card.accept(scheme.join(40, 2))


def test_a_stored_state_refuses_what_the_card_had_accepted():
    card = SequenceArray()
    assert card.accept(SCHEME.join(3, 3))
    again = SequenceArray(SCHEME, card.state)
    assert not again.accept(SCHEME.join(3, 3))
    assert again.highest == card.highest
    with pytest.raises(ValueError, match="31 stored sequence numbers for an array of 32"):
        SequenceArray(SCHEME, (0,) * 31)


@pytest.mark.parametrize("wrong", [{"ind_bits": 17}, {"ind_bits": -1}, {"delta": 0}, {"age_limit": -1}])
def test_a_scheme_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        SequenceScheme(**wrong)


def test_a_centre_in_range_stays_where_it_is_and_one_out_of_range_moves_to_the_card():
    at = SCHEME.join
    assert SCHEME.resynchronised(at(7, 2), at(5, 0)) == at(7, 2)
    assert SCHEME.resynchronised(at(5, 2), at(5, 9)) == at(5, 2)  # the next is 6, which the card takes
    assert SCHEME.resynchronised(at(4, 2), at(5, 9)) == at(5, 9)
    assert SCHEME.resynchronised(at(SCHEME.delta + 5, 2), at(5, 9)) == at(5, 9)


@given(st.lists(st.integers(0, (1 << 12) - 1), max_size=60))
def test_no_order_of_arrival_makes_a_card_take_a_sqn_twice(arrivals):
    scheme = SequenceScheme(ind_bits=2, delta=200)
    card = SequenceArray(scheme)
    accepted = [sqn for sqn in arrivals if card.accept(sqn)]
    assert len(accepted) == len(set(accepted))
    assert card.highest == max(accepted, key=scheme.split, default=3)


@given(st.integers(0, (1 << 47)), st.integers(0, (1 << 47)), st.integers(0, 31))
def test_after_resynchronisation_the_card_takes_what_follows(sqn_he, sqn_ms, ind):
    card = SequenceArray.at(sqn_ms)
    resynchronised = SCHEME.resynchronised(sqn_he, card.highest)
    assert card.accept(SCHEME.following(resynchronised, ind))
