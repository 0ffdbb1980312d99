"""SA 6: Sh between the HSS and an application server of another operator, over TLS or through a security gateway,
limited to what the agreement names (TS 33.203 6.5, TS 29.328 6.2).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.network.home import subscribers
from tests.network.test_diameter_tls import Office

from redoubt.config import ConfigError, DiameterConfig, DiameterPeer
from redoubt.diameter.applications import CX, SH
from redoubt.diameter.cx import HssUnavailable
from redoubt.diameter.dictionary import PUBLIC_IDENTITY, RESULT_CODE, USER_NAME
from redoubt.diameter.node import Node
from redoubt.diameter.results import Result, ShResult
from redoubt.diameter.sh import DataReference, Pull, UserIdentity
from redoubt.diameter.sh_client import ShOverDiameter
from redoubt.events import Check, EventStream
from redoubt.network.run import Network
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

from .hostile_wire import Operators
from .tunnels import FALLS_SOON, NAME, tunnels, until

REALM, HSS, SERVER, THEIRS = "home.example", "hss.home.example", "as.services.example", "services.example"
R = DataReference
# What the agreement names: the state of users of one realm, read.
AGREED: dict[str, Any] = {
    "identity": SERVER, "realm": THEIRS, "applications": ["sh"], "commands": ["UDR"], "data": ["IMSUserState"],
    "subscriber-realms": [REALM],
}  # fmt: skip


@asynccontextmanager
async def home(peer: dict[str, Any], where: str, **more: Any) -> AsyncIterator[tuple[Network, str]]:
    """The home network, and where its HSS is reached."""
    tree: dict[str, Any] = {
        "network": {"realm": REALM},
        "hss": {"diameter": [where]},
        "access": {"policy": "aka-without-ipsec"},
        **more,
        "diameter": {**more.get("diameter", {}), "peers": [{**AGREED, **peer}]},
    }
    network = await Network.temporary(tree, only=("hss",), events=EventStream(), randomness=SeededRandomness(1))
    try:
        assert network.hss is not None
        await network.hss.administration.add(subscribers(REALM, ("alice",)))
        (address,) = network.names
        yield network, f"{where.partition(':')[0]}:{address}"
    finally:
        await network.close()


class Server:
    """The application server outside."""

    def __init__(self, where: str, **config: str) -> None:
        context = Context("as", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(2))
        self.node = Node(context, SERVER, THEIRS, DiameterConfig(**config), applications=(SH, CX))
        self.hss = self.node.connect_to(DiameterPeer(identity=HSS, realm=REALM, connect=where))
        self._sh = ShOverDiameter(context, self.node, REALM)

    async def reads(self, reference: int, user: str = f"sip:alice@{REALM}") -> Any:
        return (await self._sh.pull(Pull(UserIdentity(user), (reference,)))).result

    async def asks_for_vectors(self) -> Any:
        """MAR of Cx, which would hand out authentication vectors (lesson 28)."""
        request = self.node.new_request(CX, CX.commands["MAR"])
        request.add(USER_NAME, f"alice@{REALM}").add(PUBLIC_IDENTITY, f"sip:alice@{REALM}")
        return (await self.node.request(request, realm=REALM)).first(RESULT_CODE)


def broken(network: Network) -> set[str]:
    return {event.rule for event in network.context.events.recent if isinstance(event, Check) and not event.passed}


async def test_a_server_outside_reads_over_tls_what_the_agreement_names_and_nothing_else(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with home({}, "tls:127.0.0.1:0", diameter=office.papers(HSS)) as (network, where):
        server = Server(where, **office.papers(SERVER))
        assert await server.node.connected(10)
        assert await server.reads(R.IMS_USER_STATE) is Result.SUCCESS
        assert await server.reads(R.MSISDN) is ShResult.ERROR_USER_DATA_CANNOT_BE_READ
        assert await server.reads(R.S_CSCF_NAME) is ShResult.ERROR_USER_DATA_CANNOT_BE_READ
        assert await server.reads(R.IMS_USER_STATE, "sip:eve@elsewhere.example") is Result.AUTHORIZATION_REJECTED
        assert "the peer is allowed to ask about users of this realm" in broken(network)
        assert await server.asks_for_vectors() == Result.AUTHORIZATION_REJECTED
        await server.node.close()


async def test_a_server_outside_without_the_agreed_name_gets_no_connection(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with home({}, "tls:127.0.0.1:0", diameter=office.papers(HSS)) as (network, where):
        server = Server(where, **office.papers("as.other.example"))
        assert not await server.node.connected(0.5)
        assert "the certificate holds the peer's Diameter identity" in broken(network)
        await server.node.close()


async def test_a_server_behind_a_gateway_is_spoken_with_while_its_tunnel_stands(
    hosts: Operators, tmp_path: Path
) -> None:
    async with tunnels(hosts, tmp_path, FALLS_SOON) as net:
        gateways = {"gateways": [msgspec.to_builtins(net.a.config())]}
        behind = {"gateway": NAME, "addresses": ["127.0.0.1"]}
        async with home(behind, "tcp:127.0.0.1:0", **gateways) as (network, where):
            server = Server(where)
            assert not await server.node.connected(0.5)
            assert "the tunnel to the peer's gateway stands" in broken(network)
            with pytest.raises(HssUnavailable):
                await server.reads(R.IMS_USER_STATE)
            net.b.begin()
            await until(lambda: network.gateways.stands(NAME), net.why)
            server.hss.start()
            assert await server.node.connected(10)
            assert await server.reads(R.IMS_USER_STATE) is Result.SUCCESS
            assert await server.reads(R.MSISDN) is ShResult.ERROR_USER_DATA_CANNOT_BE_READ
            net.a.charon.kill()
            await until(lambda: not server.hss.is_open)
            with pytest.raises(HssUnavailable):
                await server.reads(R.IMS_USER_STATE)
            net.a.charon.start()
            await until(lambda: network.gateways.stands(NAME), net.why)
            server.hss.start()
            assert await server.node.connected(10)
            assert await server.reads(R.IMS_USER_STATE) is Result.SUCCESS
            await server.node.close()


async def test_a_peer_behind_a_gateway_that_is_not_there_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="must be the name of an entry"):
        async with home({"gateway": "za", "addresses": ["192.0.2.7"]}, "tcp:127.0.0.1:0"):
            pass
