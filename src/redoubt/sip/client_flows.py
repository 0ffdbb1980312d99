"""The flows on which a node sends requests: its UDP sockets, and connections that are reused or made."""

import asyncio
from dataclasses import dataclass, field

from redoubt import limits
from redoubt.sip.neighbours import Neighbours
from redoubt.sip.resolver import DEFAULT_PORT, Candidate
from redoubt.transport.connection import Connection, OnStream, VouchStream
from redoubt.transport.connections import Connections, Target
from redoubt.transport.flow import Address, Flow, FlowFailed, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings
from redoubt.transport.tls_causes import cause_of
from redoubt.transport.udp import UdpEndpoint


@dataclass(slots=True, eq=False)
class ClientFlows:
    """Chooses the local side. Core sockets are preferred; a node with access sockets only is a phone."""

    connections: Connections
    accept: OnStream
    vouch: VouchStream
    tls: TlsSettings | None = None
    sent_by_host: str | None = None
    neighbours: Neighbours | None = None
    endpoints: list[UdpEndpoint] = field(default_factory=list)
    listeners: dict[Listen, Address] = field(default_factory=dict)
    _opening: dict[Target, asyncio.Future[Connection | None]] = field(default_factory=dict)
    _sent_by: dict[tuple[str, Zone, str, int], str] = field(default_factory=dict)

    def add_endpoint(self, endpoint: UdpEndpoint) -> None:
        self.endpoints.append(endpoint)
        self.endpoints.sort(key=lambda each: each.listen.zone is not Zone.CORE)

    def udp(self, host: str, port: int) -> Flow:
        """Raises FlowFailed when the node has no socket of that address family."""
        for endpoint in self.endpoints:
            if (":" in endpoint.local[0]) == (":" in host):
                return endpoint.flow_to((host, port))
        raise FlowFailed(f"no UDP socket reaches {host}")

    def existing(self, candidate: Candidate) -> Flow | None:
        """A flow that needs no waiting: UDP, or a connection that is open."""
        if candidate.transport == "udp":
            return self.udp(candidate.host, candidate.port)
        return self.connections.to(_target(candidate))

    async def open(self, candidate: Candidate) -> Flow:
        """A flow to the candidate; whoever asks at the same time shares the connection. Raises FlowFailed."""
        existing = self.existing(candidate)
        if existing is not None:
            return existing
        target = _target(candidate)
        opening = self._opening.get(target)
        if opening is None:
            opening = self._opening[target] = asyncio.get_running_loop().create_future()
            connection = None
            try:
                connection = await self._connect(candidate)
                if connection.flow is not None:
                    self.connections.reuse(target, connection.flow)
            finally:
                del self._opening[target]
                opening.set_result(connection)
        else:
            connection = await asyncio.shield(opening)
        if connection is None or connection.flow is None or connection.flow.is_closed():
            raise FlowFailed(f"{candidate.transport} to {candidate.host}:{candidate.port} failed")
        return connection.flow

    def also_to(self, flow: Flow, port: int | None) -> None:
        """RFC 5923 8: the peer listens at that port, and will have requests over the connection that it opened."""
        name = self.known_as(flow)
        target = (flow.transport, flow.remote[0], port or DEFAULT_PORT[flow.transport], name)
        if name and self.connections.to(target) is None:
            self.connections.reuse(target, flow)

    def known_as(self, flow: Flow) -> str:
        """The name that connections to the partner of the flow go by; "" if it is no partner's."""
        return self.neighbours.known_as(flow) if self.neighbours is not None else ""

    def sent_by(self, flow: Flow) -> str:
        """`SIP/2.0/UDP host:port` of a Via for requests on the flow: where this node listens on that transport."""
        host, port = flow.local
        key = (flow.transport, flow.zone, host, port if flow.transport == "udp" else 0)
        text = self._sent_by.get(key)
        if text is None:
            listens = [port] if flow.transport == "udp" else []
            for listen, address in self.listeners.items():
                if listen.transport == flow.transport and listen.zone is flow.zone:
                    listens.append(address[1])
            host = self.sent_by_host or (f"[{host}]" if ":" in host else host)
            alias = ";alias" if flow.transport == "tls" and flow.zone is Zone.BORDER else ""  # RFC 5923 7.1
            text = f"SIP/2.0/{flow.transport.upper()} {host}:{listens[-1] if listens else port}{alias}"
            if listens:  # as many as there are sockets; the port of a connection is one of many
                self._sent_by[key] = text
        return text

    # ---- inside

    async def _connect(self, candidate: Candidate) -> Connection:
        local, zone = self._local_side(candidate)
        context = None
        if candidate.transport == "tls":
            context = self.tls.client if self.tls is not None else None
            if context is None:
                raise FlowFailed("TLS is not configured")
        try:
            async with asyncio.timeout(limits.STREAM_CONNECT_S):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(candidate.transport, zone, self.connections, self.accept, self.vouch),
                    candidate.host,
                    candidate.port,
                    ssl=context,
                    server_hostname=candidate.name if context is not None else None,
                    local_addr=local,
                )
            self._demand_whom_we_meant(candidate, connection)
        except (OSError, ValueError, FlowFailed) as error:  # TimeoutError and ssl.SSLError are OSErrors
            why = f"{candidate.transport} to {candidate.host}:{candidate.port}: {cause_of(error)}"
            if self.neighbours is not None:
                self.neighbours.failed(candidate.name, why)
            raise FlowFailed(why) from error
        return connection

    def _demand_whom_we_meant(self, candidate: Candidate, connection: Connection) -> None:
        """RFC 5922 7.3. Raises FlowFailed when the far end of a border's connection is somebody else."""
        if self.neighbours is None or connection.flow is None:
            return
        wrong = self.neighbours.mistaken(candidate.name, connection.flow)
        if wrong:
            connection.abort()
            raise FlowFailed(wrong)

    def _local_side(self, candidate: Candidate) -> tuple[Address | None, Zone]:
        """Any port of the address that this node listens on, so that a peer sees the address that it knows."""
        bound = [(e.local[0], e.listen.zone) for e in self.endpoints]
        bound += [(address[0], listen.zone) for listen, address in self.listeners.items()]
        bound.sort(key=lambda each: each[1] is not Zone.CORE)
        for host, zone in bound:
            if (":" in host) == (":" in candidate.host):
                return (None if host in ("0.0.0.0", "::") else (host, 0)), zone  # noqa: S104 - a comparison
        if self.neighbours is not None:
            raise FlowFailed(f"the border has no address of {candidate.host}'s family; add one under [ibcf] listen")
        return None, Zone.CORE


def _target(candidate: Candidate) -> Target:
    """A TLS connection is reused only for the name that was proved on it (RFC 5922 4)."""
    name = candidate.name if candidate.transport == "tls" else ""
    return (candidate.transport, candidate.host, candidate.port, name)
