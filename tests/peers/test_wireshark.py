"""Wireshark reads the Diameter of our own HSS and CSCFs: nothing malformed, no AVP unknown, nothing to remark.

One network in two parts, joined by Diameter only; its users and its operator do everything that makes Cx speak.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from network.client import OPC, Card, key_of
from network.home import Home, subscribers
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.network.run import Network
from redoubt.secret import Secret

from . import sipp
from .capture import Capture

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: make peers, as root")
TEL = "tel:+15550100"
# P-CSCF-Subscription-Info and Registration-Time-Out (TS 29.229 6.3.70, 6.3.71) are younger than Wireshark 4.0.
YOUNG_AVPS = ("Unknown AVP 660 (vendor=3GPP)", "Unknown AVP 661 (vendor=3GPP)")


@asynccontextmanager
async def apart(port: int) -> AsyncIterator[Home]:
    """The HSS and the CSCFs, each for itself."""
    config = {"hss": {"diameter": [f"tcp:127.0.0.1:{port}"]}}
    async with AsyncExitStack() as stack:
        hss = await Network.temporary(config, only=("hss",))
        stack.push_async_callback(hss.close)
        cscfs = await Network.temporary(config, only=("p-cscf", "i-cscf", "s-cscf"))
        stack.push_async_callback(cscfs.close)
        assert hss.hss is not None
        home = Home(cscfs, hss.hss, hss.directory)
        stack.callback(home.close)
        await hss.hss.administration.add(subscribers(home.realm, ("bob", "carol")))
        alice = PrivateIdentity(f"alice@{home.realm}", Secret(key_of("alice")), opc=OPC)
        await hss.hss.administration.add([Subscriber.simple(alice, home.impu("alice"), TEL)])
        yield home


async def everything_that_makes_cx_speak(home: Home) -> None:
    """Good and bad registrations, calls to all sorts of users, and what an operator does meanwhile."""
    alice = await home.registered("alice")
    await home.registered("bob")
    assert (await alice.registers()).status == 200
    mistaken = await home.phone("bob")
    await mistaken.challenged()
    assert (await mistaken.ask(mistaken.register(mistaken.answer(password=Secret(b"wrong"))))).status == 403
    behind = await home.phone("carol")
    await behind.challenged()
    behind.answer()
    assert (await behind.ask(behind.register(behind.answer()))).status == 401  # the same challenge again: AUTS
    stranger = await home.phone("mallory", card=Card.of("mallory", home.realm))
    await stranger.challenged()
    for target in ("carol", "nobody"):
        assert (await alice.ask(alice.make("MESSAGE", home.impu(target)))).status >= 400
    operator = home.hss.administration
    await operator.bar(TEL)  # PPR: the set goes on with its other identity
    await operator.remove(f"bob@{home.realm}")  # RTR
    assert (await alice.registers(expires="0")).status == 200
    await home.settled()


async def test_the_diameter_of_a_network_in_two_parts_is_clean(tmp_path: Path) -> None:
    port = sipp.free_port(socket.SOCK_STREAM)
    try:
        capture = Capture.start(tmp_path / "all.pcapng", [], [port])
    except PermissionError as refusal:
        pytest.skip(f"this user may not capture on the loopback interface: {refusal}")
    async with apart(port) as home:
        await everything_that_makes_cx_speak(home)
    await asyncio.to_thread(capture.stop)
    capture.assert_diameter_is_clean(least=40, but_for=YOUNG_AVPS)
    answered = ",".join(capture.matching("diameter.flags.request == 0", "diameter.cmd.code")).split(",")
    assert set(answered) == {"257", "282", "300", "301", "302", "303", "304", "305"}
