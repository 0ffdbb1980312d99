"""What holds of an HSS in one process holds of it over Diameter: the same tests, with a wire between (TS 29.228 6)."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.hss import test_cx as contract
from tests.hss.conftest import with_subscribers

from .wired import Wired

# As if they stood here, with this file's `hss`.
for _name, _test in vars(contract).items():
    if _name.startswith("test_") and "hss" in inspect.signature(_test).parameters:
        globals()[_name] = _test


@pytest.fixture
async def hss(tmp_path: Path) -> AsyncIterator[Wired]:
    made = Wired(await with_subscribers(tmp_path))
    await made.connect()
    yield made
    await made.close()
