"""Hosts in namespaces, made once for all tests of gateways."""

import shutil
from collections.abc import Iterator

import pytest

from .hostile_wire import Operators, may_make_networks, operators


@pytest.fixture(scope="session")
def hosts() -> Iterator[Operators]:
    """Needs root, TUN devices, strongSwan and nftables."""
    if not may_make_networks():
        pytest.skip("needs root: network namespaces and TUN devices")
    for program in ("charon-systemd", "nft"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here; `make peers` installs it")
    with operators() as made:
        yield made
