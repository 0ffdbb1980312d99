"""`redoubt hiding`: keys are made, rotated and shown; a token is read back."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from redoubt.border.hiding import Hiding, Purpose, RingFile
from redoubt.events import EventStream
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

MAIN = "from redoubt.cli import main; main()"
NAME = "Home Two"


def redoubt(path: Path, *words: str, fails: bool = False) -> Any:
    command = [sys.executable, "-c", MAIN, *words, "--json", "--config", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return json.loads(done.stdout)


async def sealed(ring: Path, realm: str) -> str:
    context = Context("ibcf", EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    return Hiding(context, "cbc", realm, RingFile(ring)).seal(Purpose.ROUTE, NAME, ["<sip:scscf.home1.net;lr>"])


def test_init_makes_keys_that_rotate_and_read_tokens_of_before(tmp_path: Path) -> None:
    path = tmp_path / "redoubt.toml"
    made = redoubt(path, "init", "--realm", "home1.net")
    ring = Path(made["hiding_keys"])
    assert ring.stat().st_mode & 0o777 == 0o600
    token = asyncio.run(sealed(ring, "home1.net"))
    keys = redoubt(path, "hiding", "rotate", "--after", "600")["keys"]
    assert [key["state"] for key in keys] == ["seals", "waits"]
    assert ring.read_text().split()[1] not in json.dumps(redoubt(path, "hiding", "show"))
    read = redoubt(path, "hiding", "read", NAME, token)
    assert read == {"purpose": "route", "entries": ["<sip:scscf.home1.net;lr>"]}
    refused = redoubt(path, "hiding", "read", "another", token, fails=True)
    assert "no token of this network for another" in refused["error"]
    assert "rotate" in redoubt(path, "hiding", "init", fails=True)["error"]
