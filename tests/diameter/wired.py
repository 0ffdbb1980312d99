"""An HSS on a real store, with an I-CSCF and two S-CSCFs that ask it over Diameter."""

import asyncio
from typing import Any

from tests.hss.conftest import REALM, S1, S2

from redoubt.config import DiameterPeer
from redoubt.diameter.cx import CxClient, MultimediaAuthAnswer, ServerAssignmentAnswer
from redoubt.diameter.cx_client import CxOverDiameter
from redoubt.diameter.cx_server import CxServer
from redoubt.diameter.node import Node
from redoubt.events import Event, EventStream
from redoubt.hss.hss import Hss
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

HSS_HOST = f"hss.{REALM}"
STRANGER = f"other.{REALM}"  # a configured peer that serves nobody yet
HOSTS = {S1: f"scscf1.{REALM}", S2: f"scscf2.{REALM}"}


class Wired:
    """An HSS whose Cx is asked over Diameter by an I-CSCF and two S-CSCFs; everything else is the HSS itself."""

    def __init__(self, hss: Hss, off: frozenset[str] = frozenset()) -> None:
        self._hss = hss
        self._off = off
        self.nodes: dict[str, Node] = {}
        self.events: list[Event] = []  # of all nodes
        hss.context.events.listen(self.events.append)

    async def connect(self) -> None:
        self.hss_node = node = self._node(HSS_HOST, self._hss.context)
        names = [f"icscf.{REALM}", *HOSTS.values()]
        for name in [*names, STRANGER]:
            node.connect_to(DiameterPeer(identity=name, realm=REALM))
        server = CxServer(self._hss.context, node, self._hss, self._hss.clients, REALM, names)
        self._hss.clients.reach = server.client
        host, port = await node.listen("tcp:127.0.0.1:0")
        self.where = f"tcp:{host}:{port}"
        self._cscfs = [await self.cscf(name) for name in names]
        self.user_authorization = self._cscfs[0].user_authorization
        self.location_info = self._cscfs[0].location_info

    def attach(self, server_name: str, client: CxClient) -> None:
        self.of(server_name).attach(client, {HSS_HOST})

    async def multimedia_auth(self, impi: str, impu: str, server_name: str, *more: Any) -> MultimediaAuthAnswer:
        return await self.of(server_name).multimedia_auth(impi, impu, server_name, *more)

    async def server_assignment(
        self, impi: str, impu: str, server_name: str, *more: Any, **named: Any
    ) -> ServerAssignmentAnswer:
        return await self.of(server_name).server_assignment(impi, impu, server_name, *more, **named)

    async def close(self) -> None:
        await asyncio.gather(*(node.close() for node in self.nodes.values()))
        await self._hss.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hss, name)

    def of(self, server_name: str) -> CxOverDiameter:
        return self._cscfs[1 + list(HOSTS).index(server_name)]

    async def cscf(self, identity: str) -> CxOverDiameter:
        """Cx as the node of that name has it."""
        return CxOverDiameter(self.context_of(identity), await self.node(identity), REALM)

    async def node(self, identity: str, to: str = HSS_HOST, where: str = "") -> Node:
        """One that is connected to the HSS, or to another node."""
        node = self._node(identity, self.context_of(identity))
        node.connect_to(DiameterPeer(identity=to, realm=REALM, connect=where or self.where))
        assert await node.connected(30.0)
        return node

    def context_of(self, identity: str) -> Context:
        events = EventStream()
        events.listen(self.events.append)
        clock = Clock(asyncio.get_running_loop(), 0.0)
        return Context(identity, events, clock, SeededRandomness(len(self.nodes)), self._off)

    async def leaves(self, identity: str) -> None:
        """A node goes away."""
        await self.nodes.pop(identity).close()

    def _node(self, identity: str, context: Context) -> Node:
        made = self.nodes[identity] = Node(context, identity, REALM)
        return made
