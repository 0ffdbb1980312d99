"""SIP of one node: sockets, transactions and the way out, joined (RFC 3261 17, 18).

A node listens with a service for each socket; everything that it sends goes through `outbound`.
"""

import asyncio
from functools import partial

from redoubt.sip.client_flows import ClientFlows
from redoubt.sip.client_table import ClientTable
from redoubt.sip.framing import PONG, BrokenStream, Item, Ping, StreamFramer
from redoubt.sip.message import MalformedMessage, Request, Response
from redoubt.sip.neighbours import Neighbours
from redoubt.sip.outbound import Outbound
from redoubt.sip.resolver import NextHops, Resolver
from redoubt.sip.server_edge import Edge, Entrance
from redoubt.sip.server_table import ServerTable
from redoubt.sip.service import Context, Exchange, Service
from redoubt.sip.stack_wire import Wire, named
from redoubt.sip.transaction import Surroundings
from redoubt.sip.transaction_timers import Lanes
from redoubt.transport.connection import Connection, OnStream, StreamReceiver
from redoubt.transport.connections import Connections
from redoubt.transport.flow import Address, Clear, Flow, FlowFailed, Security, TrustedAddress, Zone
from redoubt.transport.handshakes import Handshakes, TlsServer
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings, peer_of, peer_on
from redoubt.transport.udp import OnDatagram, UdpEndpoint


class Stack:
    """Made inside a running loop."""

    def __init__(
        self,
        context: Context,
        *,
        trusted_nodes: frozenset[str] = frozenset(),
        resolver: NextHops | None = None,
        tls: TlsSettings | None = None,
        sent_by_host: str | None = None,
        connections: Connections | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self.context = context
        self._trusted_nodes = trusted_nodes
        self._tls = tls
        self._neighbours = neighbours
        self._wire = Wire(context, neighbours)
        self._lanes = Lanes()
        around = Surroundings(self._lanes, self._wire.send)
        self.connections = Connections(self._report) if connections is None else connections
        self._dialled = Entrance(_nobody)
        self._dialled_zone: Zone | None = None
        accept = partial(self._accept, self._dialled)
        self._flows = ClientFlows(self.connections, accept, self._vouch_stream, tls, sent_by_host, neighbours)
        self._clients = ClientTable(context, around, self._flows)
        self._servers = ServerTable(around)
        self._edge = Edge(context, self._wire, around, self._clients, self._flows, self._servers, neighbours)
        self.resolver: NextHops = resolver or Resolver(context.randomness)
        self.outbound = Outbound(context, self._clients, self._flows, self.resolver, self._wire.send)
        self._handshakes = Handshakes(self._report)
        self._listening: list[asyncio.Server | TlsServer] = []

    async def listen(self, listen: Listen, service: Service) -> Address:
        """Binds a socket whose requests `service` answers; the address that it got. Raises OSError, ValueError."""
        entrance = Entrance(service)
        self._serve_dialled(listen.zone, service)
        if listen.transport == "udp":
            endpoint = await UdpEndpoint.open(
                listen, lambda data, flow: self._edge.datagram(data, flow, entrance), self._vouch
            )
            entrance.flow_to = endpoint.flow_to
            self._flows.add_endpoint(endpoint)
            return endpoint.local
        return await self._listen_stream(listen, entrance)

    def serves(self, service: Service) -> OnDatagram:
        """What takes datagrams that come by another way than this stack's own sockets: out of ESP associations."""
        entrance = Entrance(service)
        return lambda data, flow: self._edge.datagram(data, flow, entrance)

    def converses(self, service: Service) -> OnStream:
        """The same for connections."""
        return partial(self._accept, Entrance(service))

    async def close(self, drain_s: float = 0) -> None:
        """New requests get 503; what runs has `drain_s` to end; then everything stops."""
        self._edge.draining = True
        running = list(self._edge.running)
        if running:
            _, left = await asyncio.wait(running, timeout=drain_s)
            for task in left:
                task.cancel()
            await asyncio.wait(running)
        self._clients.close()
        self._servers.close()
        self._edge.close()
        self._lanes.close()
        self._handshakes.close()
        for server in self._listening:
            server.close()
        for endpoint in self._flows.endpoints:
            endpoint.close()
        self.connections.close()
        await asyncio.sleep(0)

    @property
    def server_transactions(self) -> int:
        """How many there are, those that only absorb retransmissions included."""
        return len(self._servers)

    @property
    def client_transactions(self) -> int:
        return len(self._clients)

    @property
    def exchanges(self) -> int:
        """Requests that a service is working on."""
        return len(self._edge.running)

    # ---- inside

    async def _listen_stream(self, listen: Listen, entrance: Entrance) -> Address:
        accept = partial(self._accept, entrance)

        def make() -> Connection:
            return Connection(listen.transport, listen.zone, self.connections, accept, self._vouch_stream)

        server: asyncio.Server | TlsServer
        if listen.transport != "tls":
            server = await asyncio.get_running_loop().create_server(make, listen.host, listen.port)
        elif self._tls is not None and self._tls.server is not None:
            server = await self._handshakes.listen(listen, make, self._tls)
        else:
            raise ValueError(f"{listen} needs a certificate: configure TLS")
        self._listening.append(server)
        address: Address = server.sockets[0].getsockname()[:2]
        self._flows.listeners[listen] = address
        return address

    def _serve_dialled(self, zone: Zone, service: Service) -> None:
        """Requests on connections that this node opened go to its first core service, else to its first."""
        if self._dialled_zone is None or (zone is Zone.CORE and self._dialled_zone is not Zone.CORE):
            self._dialled_zone, self._dialled.service = zone, service

    def _accept(self, entrance: Entrance, flow: Flow) -> StreamReceiver:
        if flow.zone is Zone.BORDER and self._neighbours is not None:
            self._meet(flow, self._neighbours)
        return Conversation(self._edge, self._clients, entrance, flow)

    def _meet(self, flow: Flow, neighbours: Neighbours) -> None:
        """A connection of a border: one that no agreement covers ends, the others stay however long they are idle."""
        unwelcome = neighbours.welcome(flow)
        if unwelcome:
            self.context.refused(0, unwelcome, "RFC 5922 7.4", source=named(flow.remote))
            flow.close()
        else:
            flow.kept = True

    def _vouch(self, listen: Listen, host: str) -> Security:
        if listen.zone is Zone.BORDER and self._neighbours is not None:
            return self._neighbours.vouch(None, host)
        if listen.zone is Zone.CORE and host in self._trusted_nodes:
            return TrustedAddress(host)
        return Clear()

    def _vouch_stream(self, zone: Zone, transport: asyncio.BaseTransport, remote: Address) -> Security:
        if zone is Zone.CORE and remote[0] in self._trusted_nodes:
            return TrustedAddress(remote[0])
        if zone is Zone.BORDER and self._neighbours is not None:
            return self._neighbours.vouch(peer_on(transport), remote[0])
        certificate = transport.get_extra_info("peercert")
        partners = self._tls.partners if self._tls is not None and zone is Zone.CORE else frozenset[str]()
        return peer_of(certificate, partners) or Clear()

    def _report(self, what: str, source: str) -> None:
        if self._neighbours is not None:
            self._neighbours.failed(source, what)
        self.context.refused(0, what, "RFC 3261 18", source=source)


class Conversation:
    """One connection: frames its octets, answers its pings (RFC 5626 4.4.1), ends it when framing breaks (row 93)."""

    __slots__ = ("_clients", "_edge", "_entrance", "_flow", "_framer")

    def __init__(self, edge: Edge, clients: ClientTable, entrance: Entrance, flow: Flow) -> None:
        self._edge = edge
        self._clients = clients
        self._entrance = entrance
        self._flow = flow
        self._framer = StreamFramer()

    def received(self, data: bytes) -> bool:
        """Whether a message or a ping was complete."""
        try:
            found = self._framer.feed(data)
        except BrokenStream as broken:
            self._take(broken.before)
            self._edge.malformed(broken, self._flow, self._entrance)
            self._flow.close()
            return False
        self._take(found)
        return any(not isinstance(item, MalformedMessage) for item in found)

    def closed(self) -> None:
        self._clients.connection_lost(self._flow)

    def _take(self, found: list[Item]) -> None:
        for item in found:
            if isinstance(item, Ping):
                self._pong()
                continue
            if isinstance(item, MalformedMessage):
                self._edge.malformed(item, self._flow, self._entrance)
                continue
            if self._edge.context.events.tracing:
                self._edge.wire.received(self._flow, item.to_bytes())
            self._edge.message(item, self._flow, self._entrance)

    def _pong(self) -> None:
        try:
            self._flow.send(PONG)
        except FlowFailed:
            return


async def _nobody(request: Request, exchange: Exchange) -> Response | None:
    """Serves connections that a node opened without listening anywhere."""
    return None if request.method == "ACK" else request.response(501, to_tag=exchange.root.context.tag())
