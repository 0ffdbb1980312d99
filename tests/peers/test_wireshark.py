"""Wireshark reads the Diameter of our own nodes, Cx and Sh: nothing malformed, no AVP unknown, nothing to remark.

One network in two parts, joined by Diameter only; its users and its operator do everything that makes Cx speak.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from network.client import OPC, Card, key_of
from network.home import CLEAR, Home, subscribers
from redoubt.config import DiameterPeer
from redoubt.diameter.applications import SH
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import Result, ShResult
from redoubt.diameter.sh import (
    ImsUserState,
    Notification,
    Pull,
    Repository,
    ShAnswer,
    ShData,
    Subscribe,
    Update,
    UserIdentity,
)
from redoubt.diameter.sh_wire import write_answer, write_pnr, write_pur, write_snr, write_udr
from redoubt.events import EventStream
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.network.run import Network
from redoubt.secret import Secret
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

from .capture import Capture

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: make peers, as root")
TEL = "tel:+15550100"
# P-CSCF-Subscription-Info and Registration-Time-Out (TS 29.229 6.3.70, 6.3.71) are younger than Wireshark 4.0.
YOUNG_AVPS = ("Unknown AVP 660 (vendor=3GPP)", "Unknown AVP 661 (vendor=3GPP)")


@asynccontextmanager
async def apart(port: int) -> AsyncIterator[Home]:
    """The HSS and the CSCFs, each for itself."""
    config: dict[str, dict[str, Any]] = {"hss": {"diameter": [f"tcp:127.0.0.1:{port}"]}, "access": CLEAR}
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
    port = free_port()
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


async def test_the_diameter_between_an_application_server_and_the_hss_is_clean(tmp_path: Path) -> None:
    port = free_port()
    try:
        capture = Capture.start(tmp_path / "all.pcapng", [], [port])
    except PermissionError as refusal:
        pytest.skip(f"this user may not capture on the loopback interface: {refusal}")
    hss, server = sh_node("hss.ims.test"), sh_node("as.ims.test")
    hss.connect_to(DiameterPeer(identity=server.identity, realm=server.realm, applications=("sh",)))
    await hss.listen(f"tcp:127.0.0.1:{port}")
    connect = f"tcp:127.0.0.1:{port}"
    server.connect_to(DiameterPeer(identity=hss.identity, realm=hss.realm, applications=("sh",), connect=connect))
    assert await server.connected(30.0)
    user, values = UserIdentity("sip:alice@ims.test"), ShData(repository=(Repository("barring", 1, "<on/>"),))
    for asker, command, write, asked in (
        (server, "UDR", write_udr, Pull(user, (0, 17), ("barring",), 2, "sip:as.ims.test", "alice@ims.test")),
        (server, "UDR", write_udr, Pull(UserIdentity(msisdn="49301234567"), (11,))),
        (server, "PUR", write_pur, Update(user, (0,), values)),
        (server, "SNR", write_snr, Subscribe(user, (11,), False, ("barring",), True, 1_800_000_000, "sip:as.ims.test")),
        (hss, "PNR", write_pnr, Notification("sip:alice@ims.test", values)),
    ):
        await asker.request(write(asker.new_request(SH, SH.commands[command]), asked))
    await server.close()
    await hss.close()
    await asyncio.to_thread(capture.stop)
    capture.assert_diameter_is_clean(least=14)
    answered = ",".join(capture.matching("diameter.flags.request == 0", "diameter.cmd.code")).split(",")
    assert set(answered) == {"257", "282", "306", "307", "308", "309"}


def sh_node(identity: str) -> Node:
    """A node that agrees to everything, each time with another result."""
    results = cycle((Result.SUCCESS, ShResult.ERROR_USER_UNKNOWN, Result.UNABLE_TO_COMPLY))
    context = Context(identity, EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    node = Node(context, identity, "ims.test", applications=(SH,))

    async def answer(message: DiameterMessage, _peer: Peer) -> DiameterMessage:
        values = ShData(repository=(Repository("barring", 1, "<on/>"),), user_state=ImsUserState.REGISTERED)
        return write_answer(message, ShAnswer(next(results), values, 1_800_000_000))

    node.serve(SH, answer)
    return node
