"""Our ESP, and our use of the kernel's, against a Linux kernel booted for it as a process (user-mode Linux).

No privileges are used: the guest's root is this user.
"""

import json
import os
import time
from typing import Any

import pytest
from tests.guest import LACKING, WHY, boot

from redoubt.gm.algorithms import SOUND_SUITES

from .kernel_guest import TUNNELLED
from .kernel_path_guest import NETWORK_ENDS, PHONE_ENDS, SIZES

GUEST = "-m tests.gm.kernel_path_guest"
pytestmark = pytest.mark.skipif(LACKING, reason=WHY)
Results = tuple[list[dict[str, Any]], str]
PATIENCE_S = 180.0
GUARDS = 8  # of two server ports and two client ports, each way


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the guest program found, and what it complained of. One boot for all, in whichever process tests are."""
    base = tmp_path_factory.getbasetemp()
    work = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "uml"
    try:
        work.mkdir()
    except FileExistsError:
        until = time.monotonic() + PATIENCE_S
        while not (work / "done").exists() and time.monotonic() < until:
            time.sleep(0.1)
    else:
        boot(work, GUEST, PATIENCE_S)
    return [json.loads(line) for line in (work / "result").read_text().splitlines()], (work / "errors").read_text()


def test_the_kernel_and_we_understand_each_other_in_every_suite(booted: Results) -> None:
    found, errors = booted
    results = [each for each in found if "tunnel" in each]
    assert len(results) == len(SOUND_SUITES) + len(TUNNELLED), errors
    for each in results:
        assert each["answered"] == each["of"], each
        assert each["refused"], each


def rounds(booted: Results, kind: str) -> list[dict[str, Any]]:
    """What the rounds with phones of one kind found."""
    results, errors = booted
    found = [each for each in results if each.get("kind") == kind]
    assert len(found) == 2, errors
    return found


def test_the_kernels_path_carries_messages_and_leaves_nothing_behind(booted: Results) -> None:
    for each in rounds(booted, "raw"):
        assert each["heard"] == each["answers"] == SIZES, each
        assert each["counters"][str(NETWORK_ENDS.spi_s)] == [len(SIZES), True], each
        assert each["counters"][str(PHONE_ENDS.spi_s)] == [len(SIZES), True], each
        sent, _, received, _, replayed, bad_tags = each["usage"]
        assert (sent, received, replayed, bad_tags) == (len(SIZES), len(SIZES), 0, 0), each
    for each in rounds(booted, "raw") + rounds(booted, "kernel"):
        assert each["state"] == "answered", each
        assert (each["collided"], each["survived"]) == (True, 4), each
        assert each["beside"] == 8, each  # that of a phone that came back from the ports that it had
        assert (each["left"], each["swept"], each["after"]) == (0, 8 + GUARDS, 0), each
        assert each["clean"] == [4, 0], each  # after a set of which a half was made
        assert each["shared"] is False, each  # two sets' request identifiers
        assert each["guarded"] == [GUARDS // 2, 0], each  # by a process without phones, and once it has ended


def test_clear_datagrams_to_a_protected_port_reach_nobody(booted: Results) -> None:
    """Policies drop those that pretend to be a phone's, guards those of anybody else (requirement row 33)."""
    for each in rounds(booted, "raw"):
        assert each["heard"] == SIZES, each
        assert each["stray"] == 0, each


def test_tcp_and_udp_share_the_associations_and_nothing_passes_beside_them(booted: Results) -> None:
    """Over the set, from another port of the phone, and from a protected port when the phone's set is gone."""
    for each in rounds(booted, "kernel"):
        *datagrams, over, beside, displaced, after = each["answers"]
        assert datagrams == each["heard"] == SIZES, each
        assert (over, displaced) == (10_000, True), each
        assert beside == after == -1, each
        assert each["stray"] == 0, each
        for spi in (NETWORK_ENDS.spi_s, PHONE_ENDS.spi_s, PHONE_ENDS.spi_c):
            assert each["counters"][str(spi)][0] >= len(SIZES), each


def test_a_phone_behind_a_nat_is_followed_and_the_next_process_goes_on_with_the_kernels_set(booted: Results) -> None:
    """To another port, another address, and back. The set that was registered goes on, the half-open one is swept."""
    for each in rounds(booted, "nat"):
        moved, die, call, there = (len(text) for text in ("I moved", "die", "a call", "are you there?"))
        assert each["heard"] == [*SIZES, *[moved] * 3, die, there], each
        assert each["answers"] == [*SIZES, *[moved] * 3, call, there], each
        assert (each["moved"], each["taken"], each["swept"], each["after"]) == (True, 1, 8, 0), each
        assert each["crippled"] == [0, 7], each  # a set that the kernel has not kept whole is nobody's
        *_, replayed, bad_tags = each["usage"][0]
        assert (replayed, bad_tags) == (0, 0), each
