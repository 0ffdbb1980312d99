"""Runs the suites of registration, calls and attacks over both arrangements of a network and under IPsec, unchanged."""

from collections.abc import Iterator

import pytest

from .home import arrangement

BOTH = {
    "test_administration", "test_answers", "test_attacks", "test_bad_input", "test_dialogs", "test_identity",
    "test_registration", "test_timers", "test_unregistered", "test_verdict",
}  # fmt: skip

# What these do, nobody can under IPsec: lie about addresses and protection, answer when the association has ended,
# answer an older challenge or without the card, or fill a datagram to the last octet.
IN_THE_CLEAR = {
    "test_a_body_has_a_bound", "test_a_challenge_may_not_be_answered_after_241_seconds",
    "test_a_folded_header_is_one_line_to_every_function",
    "test_a_new_register_ends_the_older_challenge_of_the_same_contact",
    "test_contacts_that_point_at_each_other_multiply_within_bounds",
    "test_known_and_unknown_users_are_answered_alike_to_each_guess",
    "test_what_a_phone_says_of_its_protection_is_not_believed",
    "test_what_is_within_bounds_is_served_and_what_is_beyond_is_refused",
    "test_with_the_protection_the_attack_fails", "test_without_the_protection_the_attack_succeeds",
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in BOTH:
        under_ipsec = [] if metafunc.function.__name__ in IN_THE_CLEAR else ["ipsec"]
        metafunc.parametrize("arranged", ["collapsed", "apart", *under_ipsec], indirect=True)


@pytest.fixture(autouse=True)
def arranged(request: pytest.FixtureRequest) -> Iterator[str]:
    """How `home` builds the networks of this test."""
    name: str = getattr(request, "param", "collapsed")
    token = arrangement.set(name)
    yield name
    arrangement.reset(token)
