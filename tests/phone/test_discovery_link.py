"""DHCP on a real link, at its own ports, by broadcast and multicast: two network namespaces. Needs root."""

import asyncio
import socket

import pytest
from tests.namespaces import CORE, PHONES, Wire, may_make_networks, wire

from redoubt.lab.dhcp import LabDhcp
from redoubt.phone import dhcp
from redoubt.phone.dhcp import SipServers
from redoubt.sources import SystemRandomness

pytestmark = pytest.mark.skipif(not may_make_networks(), reason="this user may not make network namespaces")


async def asked(between: Wire, says: SipServers) -> SipServers | None:
    with between.core.here():
        server = await LabDhcp.open(says, "0.0.0.0", 67)
    with between.phones.here():
        said = await dhcp.ask(SystemRandomness(), PHONES[0].format(2))
    with between.core.here():
        server.close()
    return said


def test_a_broadcast_is_answered_by_the_link_s_server() -> None:
    with wire() as between:
        assert asyncio.run(asked(between, SipServers((CORE[0],)))) == SipServers((CORE[0],))


def device() -> str:
    """Of the link, on the host where this runs."""
    return next(name for _index, name in socket.if_nameindex() if name not in ("lo", "sit0", "tunl0"))


async def asked_all_servers(between: Wire, says: SipServers) -> SipServers | None:
    with between.core.here():
        server = await LabDhcp.open(says, "::", 547, device())
    with between.phones.here():
        said = await dhcp.ask(SystemRandomness(), f"{PHONES[1].format(2)}%{device()}")
    with between.core.here():
        server.close()
    return said


def test_a_multicast_to_all_servers_is_answered_with_names_and_addresses() -> None:
    says = SipServers((CORE[1],), ("pcscf.ims.example",))
    with wire() as between:
        assert asyncio.run(asked_all_servers(between, says)) == says
