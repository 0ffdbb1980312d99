"""Runs the suites of registration, calls and attacks over both arrangements of a network and under IPsec, unchanged:
ESP in UDP on loopback, raw ESP between two network namespaces; the kernel's in a guest (test_gm_kernel.py).
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from tests.namespaces import Wire, may_make_networks, phones_on, wire

from .home import arrangement

CARRIERS = ("raw", "kernel")
ON_A_WIRE = {"test_gm_transport"}  # nothing but that
ON_A_WIRE_TOO = {"test_gm_restart", "test_gm_attacks"}

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


IPV6 = {"test_registration", "test_gm_transport"}  # of the raw and the kernel's path, once more


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rpartition(".")[2]
    if module in BOTH:
        under_ipsec = ["ipsec", *_on_a_wire(module)] if inspect.iscoroutinefunction(metafunc.function) else ["ipsec"]
        under_ipsec = [] if metafunc.function.__name__ in IN_THE_CLEAR else under_ipsec
        metafunc.parametrize("arranged", ["collapsed", "apart", *under_ipsec], indirect=True)
    elif module in ON_A_WIRE_TOO and inspect.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("arranged", ["ipsec", *_on_a_wire(module)], indirect=True)
    elif module in ON_A_WIRE:
        metafunc.parametrize("arranged", _on_a_wire(module), indirect=True)


def _on_a_wire(module: str) -> list[str]:
    """The kernel's path only where a kernel was booted for it. What the simulator runs has no wire."""
    carriers = CARRIERS if "REDOUBT_KERNEL_HAS_ESP" in os.environ else CARRIERS[:1]
    return [*carriers, *(f"{each}-ipv6" for each in carriers if module in IPV6)]


@pytest.fixture(scope="session")
def between_hosts() -> Iterator[Wire]:
    if not may_make_networks():
        pytest.skip("needs root: network namespaces and TUN devices")
    with wire() as made:
        yield made


@pytest.fixture(autouse=True)
def arranged(request: pytest.FixtureRequest) -> Iterator[str]:
    """How `home` builds the networks of this test."""
    name: str = getattr(request, "param", "collapsed")
    wired = name.startswith(CARRIERS)
    token = arrangement.set(name)
    with phones_on(request.getfixturevalue("between_hosts")) if wired else nullcontext():
        yield name
    arrangement.reset(token)
