"""Runs the suites of registration, calls and attacks over both arrangements of a network, unchanged."""

from collections.abc import Iterator

import pytest

from .home import arrangement

BOTH = {
    "test_administration", "test_answers", "test_attacks", "test_bad_input", "test_dialogs", "test_identity",
    "test_registration", "test_timers", "test_unregistered", "test_verdict",
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in BOTH:
        metafunc.parametrize("arranged", ["collapsed", "apart"], indirect=True)


@pytest.fixture(autouse=True)
def arranged(request: pytest.FixtureRequest) -> Iterator[str]:
    """How `home` builds the networks of this test."""
    name: str = getattr(request, "param", "collapsed")
    token = arrangement.set(name)
    yield name
    arrangement.reset(token)
