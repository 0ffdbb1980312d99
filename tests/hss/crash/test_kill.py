"""`kill -9` at any moment under load, two hundred times: nothing acknowledged is lost, no SQN is given out twice.

Requirement row 110 and TS 33.102 C.1.1. First as a process dies, then as a machine does: on a file layer that drops
every write that was not synced.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .disk import compiled, environment

LIVES = 200
SEED = 33203


def campaign(folder: Path, lives: int, synchronous: str, more: dict[str, str]) -> dict[str, Any]:
    """The report of a campaign in a process of its own."""
    command = [sys.executable, "-m", "hss.crash.campaign", str(folder), str(lives), str(SEED), synchronous]
    where = {**os.environ, **more, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=where, timeout=900)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture
def layer(tmp_path: Path) -> dict[str, str]:
    library = compiled(tmp_path)
    if library is None:
        pytest.skip("no C compiler (cc) for the file layer that drops what was not synced: apt-get install gcc")
    return environment(library, tmp_path / "live", tmp_path / "disk")


def assert_nothing_lost(report: dict[str, Any]) -> None:
    assert report["wrong"] == []
    assert report["lives"] == LIVES
    assert report["acknowledged"] > 50 * LIVES and report["sequence_numbers"] > 20 * LIVES
    assert report["imports"] > LIVES / 20 and report["under_way"] > 5 * LIVES
    assert 0 < report["killed_while_opening"] < LIVES / 4


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    assert_nothing_lost(campaign(tmp_path, LIVES, "FULL", {}))


def test_nothing_acknowledged_is_lost_when_the_machine_loses_power(tmp_path: Path, layer: dict[str, str]) -> None:
    assert_nothing_lost(campaign(tmp_path / "live", LIVES, "FULL", layer))


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_same_loses_what_a_store_that_does_not_sync_has_acknowledged(
    synchronous: str, tmp_path: Path, layer: dict[str, str]
) -> None:
    report = campaign(tmp_path / "live", LIVES, synchronous, layer)
    assert any("was ('" in loss for loss in report["wrong"]), report["wrong"]  # a user is not as acknowledged
