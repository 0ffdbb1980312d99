"""Hosts in namespaces, made once for each file of tests of gateways."""

import shutil
from collections.abc import Iterator

import pytest

from .hostile_wire import Operators, may_make_networks, operators


@pytest.fixture(scope="module")
def hosts() -> Iterator[Operators]:
    """Needs root, TUN devices, strongSwan and nftables. Each file has its own: the kernel repeats what a connection of
    an earlier file left unacknowledged, and that would be seen in the clear.
    """
    if not may_make_networks():
        pytest.skip("needs root: network namespaces and TUN devices")
    for program in ("charon-systemd", "nft"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here; `make peers` installs it")
    with operators() as made:
        yield made
