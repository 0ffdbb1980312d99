"""freeDiameter as a peer of our node: capabilities, watchdogs both ways, good-byes both ways, in clear and on TLS.

RFC 6733 5.3, 5.4, 5.5, 13. Wireshark reads all that goes in clear.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tests.ports import free_port

from redoubt.config import DiameterConfig, DiameterPeer
from redoubt.diameter.applications import CX
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.dictionary import ORIGIN_HOST, PUBLIC_IDENTITY, RESULT_CODE, ROUTE_RECORD, SERVER_NAME
from redoubt.diameter.node import Node
from redoubt.diameter.peer import Peer
from redoubt.events import EventStream
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

from .capture import Capture
from .freediameter import IDENTITY, REALM, SHORTEST_TIMER_S, Tls, freediameter

HSS, SCSCF, HOME = "hss.ims.test", "scscf.ims.test", "ims.test"
NEVER_S = 60  # a watchdog that this test does not see
WITHIN_S = 15.0  # both ends wait for up to Tw and two seconds of jitter (RFC 3539 3.4.1)

pytestmark = pytest.mark.skipif(
    shutil.which("freeDiameterd") is None or shutil.which("tshark") is None,
    reason="freediameter or tshark is not installed: make peers, as root",
)


def node(config: DiameterConfig | None = None, identity: str = HSS) -> Node:
    context = Context(identity, EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    return Node(context, identity, HOME, config, applications=(CX,))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - freeDiameter's log wakes nobody
            await asyncio.sleep(0.05)


@asynccontextmanager
async def captured(folder: Path, *ports: int) -> AsyncIterator[Capture]:
    """What went over these ports; all of it is in the file at the end."""
    try:
        capture = Capture.start(folder / "all.pcapng", [], ports)
    except PermissionError as refusal:
        pytest.skip(f"this user may not capture on the loopback interface: {refusal}")
    yield capture
    await asyncio.to_thread(capture.stop)


def askers(capture: Capture, command: str) -> set[str]:
    """Who sent requests of a command that were answered with success."""
    succeeded = f"diameter.{command} and diameter.flags.request == 0 and diameter.Result-Code == 2001"
    numbers = {number for line in capture.matching(succeeded, "diameter.hopbyhopid") for number in line.split(",")}
    requests = f"diameter.{command} and diameter.flags.request == 1"
    asked = capture.matching(requests, "diameter.hopbyhopid", "diameter.Origin-Host")
    columns = [[column.split(",") for column in line.split("\t")] for line in asked]  # messages that share a frame
    return {host for hops, hosts in columns for number, host in zip(hops, hosts, strict=True) if number in numbers}


CER, DWR, DPR = "cmd.code == 257", "cmd.code == 280", "cmd.code == 282"


async def test_it_connects_asks_whether_we_live_and_says_good_bye(tmp_path: Path) -> None:
    ours = node(DiameterConfig(watchdog=NEVER_S))
    peer = ours.connect_to(DiameterPeer(identity=IDENTITY, realm=REALM))
    _, port = await ours.listen("tcp:127.0.0.1:0")
    async with captured(tmp_path, port) as capture:
        with freediameter(tmp_path, free_port(), peer=HSS, peer_port=port) as theirs:
            await until(lambda: peer.is_open)
            await asyncio.to_thread(theirs.await_saying, "'STATE_OPEN'")
            await until(lambda: len(theirs.said("Device-Watchdog-Answer")) > 0)
            await asyncio.to_thread(theirs.stop)
            await until(lambda: not peer.is_open)
        await ours.close()
    assert (askers(capture, CER), askers(capture, DWR), askers(capture, DPR)) == ({IDENTITY}, {IDENTITY}, {IDENTITY})
    capture.assert_diameter_is_clean(least=6)


async def test_we_connect_to_it_ask_whether_it_lives_and_say_good_bye(tmp_path: Path) -> None:
    port = free_port()
    async with captured(tmp_path, port) as capture:
        with freediameter(tmp_path, port, peer=HSS, watchdog_s=NEVER_S) as theirs:
            ours = node(DiameterConfig(watchdog=SHORTEST_TIMER_S))
            ours.connect_to(DiameterPeer(identity=IDENTITY, realm=REALM, connect=f"tcp:127.0.0.1:{port}"))
            assert await ours.connected(WITHIN_S)
            await until(lambda: len(theirs.said("Device-Watchdog-Request")) > 0)
            await ours.close()
            await asyncio.to_thread(theirs.await_saying, "'STATE_OPEN'\\s+-> 'STATE_CLOSING")
            await asyncio.to_thread(theirs.stop)
    assert (askers(capture, CER), askers(capture, DWR), askers(capture, DPR)) == ({HSS}, {HSS}, {HSS})
    capture.assert_diameter_is_clean(least=6)


async def test_it_relays_between_an_s_cscf_and_the_hss(tmp_path: Path) -> None:
    """RFC 6733 6.1.9: Route-Record, new hop-by-hop identifiers; its request is one of the S-CSCF (speaks-for)."""
    asked: list[DiameterMessage] = []

    async def answer(message: DiameterMessage, _peer: Peer) -> DiameterMessage:
        asked.append(message)
        return message.answer().add(SERVER_NAME, "sip:scscf.ims.test")

    hss, scscf = node(), node(identity=SCSCF)
    hss.serve(CX, answer)
    from_relay = hss.connect_to(DiameterPeer(identity=IDENTITY, realm=REALM, speaks_for=(SCSCF,)))
    _, port = await hss.listen("tcp:127.0.0.1:0")
    relay_port = free_port()
    async with captured(tmp_path, port, relay_port) as capture:
        with freediameter(tmp_path, relay_port, peer=HSS, peer_port=port, guest=SCSCF) as relay:
            connect = f"tcp:127.0.0.1:{relay_port}"
            scscf.connect_to(DiameterPeer(identity=IDENTITY, realm=REALM, connect=connect, speaks_for=(HOME,)))
            assert await scscf.connected(WITHIN_S)
            await until(lambda: from_relay.is_open)
            await asyncio.to_thread(relay.await_saying, f"'STATE_OPEN'.*{HSS}")
            request = scscf.new_request(CX, CX.commands["LIR"]).add(PUBLIC_IDENTITY, "sip:alice@ims.test")
            got = await scscf.request(request, timeout_s=WITHIN_S)
            await scscf.close()
            await hss.close()
            await asyncio.to_thread(relay.stop)
    assert got.need(RESULT_CODE) == 2001 and got.need(SERVER_NAME) == "sip:scscf.ims.test"
    assert asked[0].need(ORIGIN_HOST) == SCSCF and asked[0].every(ROUTE_RECORD) == (SCSCF,)
    capture.assert_diameter_is_clean(least=8)


def issued(authority: trustme.CA, name: str, folder: Path) -> Tls:
    certificate = authority.issue_cert(name)
    files = Tls(folder / f"{name}.pem", folder / f"{name}.key", folder / "authority.pem")
    certificate.cert_chain_pems[0].write_to_path(files.certificate)
    certificate.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.authority)
    return files


def with_tls(files: Tls) -> DiameterConfig:
    return DiameterConfig(certificate=str(files.certificate), key=str(files.key), authority=str(files.authority))


async def test_it_connects_on_tls_and_each_proves_its_identity(tmp_path: Path) -> None:
    authority = trustme.CA()
    mine, its = issued(authority, HSS, tmp_path), issued(authority, IDENTITY, tmp_path)
    ours = node(with_tls(mine))
    peer = ours.connect_to(DiameterPeer(identity=IDENTITY, realm=REALM))
    _, port = await ours.listen("tls:127.0.0.1:0")
    with freediameter(tmp_path, free_port(), peer=HSS, peer_port=port, tls=its) as theirs:
        await until(lambda: peer.is_open)
        await asyncio.to_thread(theirs.await_saying, "'STATE_OPEN'")
        await ours.close()
        await asyncio.to_thread(theirs.stop)


async def test_we_connect_to_it_on_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    mine, its = issued(authority, HSS, tmp_path), issued(authority, IDENTITY, tmp_path)
    port = free_port()
    with freediameter(tmp_path, port, peer=HSS, tls=its) as theirs:
        ours = node(with_tls(mine))
        ours.connect_to(DiameterPeer(identity=IDENTITY, realm=REALM, connect=f"tls:127.0.0.1:{port}"))
        assert await ours.connected(WITHIN_S)
        await ours.close()
        await asyncio.to_thread(theirs.stop)
