"""A tunnel whose ESP is the kernel's own, in a Linux kernel booted for it as a process (user-mode Linux)."""

import json
from pathlib import Path

import pytest
from tests.guest import LACKING, WHY, boot
from tests.peers.strongswan import IS_HERE

pytestmark = [
    pytest.mark.skipif(LACKING, reason=WHY),
    pytest.mark.skipif(not IS_HERE, reason="charon-systemd is not here; `make peers` installs it"),
]


def test_the_kernels_esp_carries_a_tunnel_is_counted_and_lets_nothing_past_it(tmp_path: Path) -> None:
    """Its policies hold even when charon is killed; that kernel has no nftables, whose rules are tried elsewhere."""
    boot(tmp_path, "-m tests.ndm.gateway_guest", 120.0)
    found = (tmp_path / "result").read_text()
    assert found, (tmp_path / "errors").read_text()
    assert json.loads(found) == {
        "came": 10, "row": [10, 10, False], "esp": True, "clear": 0, "hears": False, "leaks after a kill": False,
    }  # fmt: skip
