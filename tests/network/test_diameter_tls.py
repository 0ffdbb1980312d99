"""The HSS in another process behind TLS: the whole network, with certificates as an operator has them (RFC 6733 13)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from redoubt.config import Config, ConfigError
from redoubt.events import Check, EventStream, Registered
from redoubt.network.commands import commands
from redoubt.network.run import Network
from redoubt.sources import SeededRandomness

from .calls import call
from .home import CLEAR, USERS, Home, subscribers

REALM = Config().network.realm
HSS, CSCFS = (f"hss.{REALM}",), (f"icscf.{REALM}", f"scscf.{REALM}")


class Office:
    """Issues certificates and writes them where the configuration finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(folder / "authority.pem"))

    def papers(self, *names: str) -> dict[str, str]:
        issued = self._authority.issue_cert(*names)
        certificate, key = self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return {"certificate": str(certificate), "key": str(key), "authority": str(self._folder / "authority.pem")}


@asynccontextmanager
async def apart(office: Office, hss_names: tuple[str, ...], cscf_names: tuple[str, ...]) -> AsyncIterator[Home]:
    """An HSS and the CSCFs, joined by TLS with certificates of these names."""
    events = EventStream()

    async def started(stack: AsyncExitStack, names: tuple[str, ...], where: str, seed: int, *only: str) -> Network:
        tree: dict[str, dict[str, Any]] = {"hss": {"diameter": [f"tls:{where}"]}, "diameter": office.papers(*names)}
        tree["access"] = CLEAR
        network = await Network.temporary(tree, only=only, events=events, randomness=SeededRandomness(seed))
        stack.push_async_callback(network.close)
        return network

    async with AsyncExitStack() as stack:
        hss = await started(stack, hss_names, "127.0.0.1:0", 1, "hss")
        (address,) = hss.names
        cscfs = await started(stack, cscf_names, address, 2, "p-cscf", "i-cscf", "s-cscf")
        assert hss.hss is not None
        made = Home(cscfs, hss.hss, hss.directory)
        stack.callback(made.close)
        await made.hss.administration.add(subscribers(made.realm, USERS))
        yield made


async def up(net: Home, wait_s: float = 30.0) -> list[bool]:
    return [await node.connected(wait_s) for node in net.network.diameter.nodes.values()]


def broken(net: Home) -> set[str]:
    return {check.rule for check in net.events(Check) if not check.passed}


async def test_phones_register_and_call_through_an_hss_behind_tls(tmp_path: Path) -> None:
    async with apart(Office(tmp_path), HSS, CSCFS) as net:
        assert await up(net) == [True, True]
        alice, bob = await net.registered("alice"), await net.registered("bob")
        assert await (await call(alice, bob)).lives()
        assert len(net.events(Registered)) == 2
        links = [peer.link for node in net.network.diameter.nodes.values() for peer in node.peers.values()]
        assert [link.flow.transport for link in links if link is not None] == ["tls", "tls"]


async def test_status_tells_how_it_stands_with_each_peer(tmp_path: Path) -> None:
    async with apart(Office(tmp_path), HSS, CSCFS) as net:
        await up(net)
        status = await commands(net.network)["status"]({})
        shown = {
            (peer["node"], peer["peer"], peer["state"], peer["health"], peer["transport"])
            for peer in status["diameter"]
        }
        assert shown == {(node, HSS[0], "open, by us", "okay", "tls") for node in ("i-cscf", "s-cscf")}


@pytest.mark.parametrize(
    ("hss_names", "cscf_names"), [((f"other.{REALM}",), CSCFS), (HSS, (f"pcscf.{REALM}",))], ids=["hss", "cscfs"]
)
async def test_who_does_not_prove_its_identity_gets_no_connection(
    tmp_path: Path, hss_names: tuple[str, ...], cscf_names: tuple[str, ...]
) -> None:
    async with apart(Office(tmp_path), hss_names, cscf_names) as net:
        assert await up(net, 1.0) == [False, False]
        assert "the certificate holds the peer's Diameter identity" in broken(net)
        alice = await net.phone("alice")
        assert (await alice.ask(alice.register())).status >= 500


@pytest.mark.parametrize("lacking", ["key", "authority"])
async def test_half_a_configuration_of_tls_is_named(tmp_path: Path, lacking: str) -> None:
    papers = {**Office(tmp_path).papers(*HSS), lacking: ""}
    with pytest.raises(ConfigError, match=lacking):
        await Network.temporary({"hss": {"diameter": ["tls:127.0.0.1:0"]}, "diameter": papers}, only=["hss"])


async def test_tls_without_certificates_is_named() -> None:
    with pytest.raises(ConfigError, match="certificate"):
        await Network.temporary({"hss": {"diameter": ["tls:127.0.0.1:0"]}}, only=["hss"])
