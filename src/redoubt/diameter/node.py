"""A Diameter node: one identity of this process, with its peers, what it answers and what it asks (RFC 6733).

node = Node(context, "hss.ims.test", "ims.test", config.diameter, applications=(CX,))
node.serve(CX, answer_cx)
await node.listen("tcp:127.0.0.1:3868")
node.connect_to(DiameterPeer(identity="scscf.ims.test"))
answer = await node.request(node.new_request(CX, 304), host="scscf.ims.test")
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from redoubt import limits
from redoubt.config import ConfigError, DiameterConfig, DiameterPeer
from redoubt.diameter import authorisation, capabilities
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX, Application
from redoubt.diameter.avp import Avp, DiameterError
from redoubt.diameter.codec import DiameterMessage, check_request
from redoubt.diameter.door import Door
from redoubt.diameter.duplicates import Duplicates
from redoubt.diameter.link import Asked, Link
from redoubt.diameter.local import Local
from redoubt.diameter.overload import Reporting
from redoubt.diameter.peer import CLOSING_S, Peer, Surroundings
from redoubt.diameter.peer_table import State
from redoubt.diameter.results import Result
from redoubt.diameter.sending import REQUEST_S, Sending
from redoubt.diameter.tunnelled import Stands, Tunnelled
from redoubt.sip.service import Context
from redoubt.transport.connection import Connection, OnStream, StreamReceiver
from redoubt.transport.connections import Connections
from redoubt.transport.flow import Address, Clear, Flow, FlowFailed, Security, TlsPeer, TrustedAddress, Zone
from redoubt.transport.listen import STREAMS, Listen
from redoubt.transport.streams import Streams, dial
from redoubt.transport.tls import TlsSettings, dns_names, mutual

DRAIN_S = 1.0  # for requests in work when the node ends: new ones are turned away
Handler = Callable[[DiameterMessage, Peer], Awaitable[DiameterMessage]]


@dataclass(frozen=True, slots=True)
class Served:
    application: Application
    handler: Handler
    commands: frozenset[int]


@dataclass(frozen=True, slots=True)
class PeerState:
    """`waiting`: our requests to it without an answer yet; `in_work`: its requests that we work on."""

    node: str
    peer: str
    state: str
    health: str
    transport: str
    waiting: int
    in_work: int


class Node:
    """Made inside a running loop. Raises ValueError for certificates that can't be used."""

    def __init__(
        self,
        context: Context,
        identity: str,
        realm: str,
        config: DiameterConfig | None = None,
        *,
        applications: Iterable[Application] = (CX,),
        trusted_nodes: frozenset[str] = frozenset(),
        tls: TlsSettings | None = None,
        stands: Stands | None = None,
    ) -> None:
        config = config or DiameterConfig()
        if tls is None and config.certificate:
            tls = mutual(config.certificate, config.key, config.authority)
        spoken = {each.number: each for each in applications}
        self.context = context
        trusted = frozenset(map(capabilities.plain, trusted_nodes))
        tunnelled = Tunnelled(stands)
        self._local = Local(context, identity.lower(), realm.lower(), trusted, tls, config.watchdog, spoken, tunnelled)
        loop = asyncio.get_running_loop()
        self.peers: dict[str, Peer] = {}
        self.overload = Reporting(loop.time, context.clock.now, limits.DIAMETER_REQUESTS_IN_WORK)
        self.in_work = 0
        self._sending = Sending(self._local, self.peers)
        self._served: dict[int, Served] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._duplicates = Duplicates(loop.time)
        self._door = Door(self._local, self.peers, self._add)
        self._streams = Streams()
        self._connections = Connections(
            lambda what, source: context.refused(0, what, "RFC 6733 2.1", source=source),
            total=limits.DIAMETER_CONNECTIONS,
            per_source=limits.DIAMETER_CONNECTIONS_PER_SOURCE,
        )
        self._state_avp = d.AUTH_SESSION_STATE.of(d.AuthSessionState.NO_STATE_MAINTAINED)
        self._application_avps: dict[int, Avp] = {}

    @property
    def identity(self) -> str:
        return self._local.identity

    @property
    def realm(self) -> str:
        return self._local.realm

    # ---- what it does for others

    def serve(self, application: Application, handler: Handler, commands: Iterable[str] = ()) -> None:
        """Answers an application's requests; `commands`, such as "UAR": only these, others get 3001.

        The handler returns `message.answer(...)` or raises DiameterError; Origin-Host and Origin-Realm are added.
        """
        numbers = frozenset(application.commands[name] for name in commands or application.commands)
        self._local.applications[application.number] = application
        self._served[application.number] = Served(application, handler, numbers)

    async def listen(self, text: str) -> Address:
        """Takes connections at "tcp:HOST:PORT", "tls:..." or "sctp:..."; where exactly. Raises OSError, ValueError."""
        listen = Listen.parse(text, Zone.CORE, STREAMS)
        tls = self._local.tls.server if self._local.tls is not None else None
        return await self._streams.listen(
            listen,
            lambda: self._connection(listen, self._arrived),
            tls,
        )

    def connect_to(self, peer: DiameterPeer) -> Peer:
        """Knows this peer from now, and keeps a connection to it where the operator wrote its address.

        Raises ConfigError for a peer that is known already.
        """
        made = self._add(peer)
        made.start()
        return made

    def tunnel_changed(self, gateway: str, stands: bool) -> None:
        """A tunnel rose: peers behind it are dialled. It fell: their connections end at once (TS 33.210 5)."""
        for peer in self.peers.values():
            if peer.config.gateway != gateway:
                continue
            if stands:
                peer.start()
            elif peer.link is not None:
                peer.link.flow.close()

    # ---- what it asks of others

    def new_request(self, application: Application, command: int) -> DiameterMessage:
        """A request with what all of Cx and Sh have: Session-Id, application, no session state, origin."""
        message = DiameterMessage(command, application.number)
        identifier = self._application_avps.get(application.number)
        if identifier is None:
            identifier = self._application_avps[application.number] = application.advertised()
        message.avps = [d.SESSION_ID.of(self._local.session_id()), identifier, self._state_avp, *self._local.origin]
        return message

    async def request(
        self, message: DiameterMessage, *, host: str = "", realm: str = "", timeout_s: float = REQUEST_S
    ) -> DiameterMessage:
        """The answer of `host`, or of whoever serves the realm (default: this node's). Raises DiameterUnavailable."""
        return await self._sending.request(message, host.lower(), (realm or self.realm).lower(), timeout_s)

    async def connected(self, timeout_s: float) -> bool:
        """Waits until every peer that this node dials is connected."""
        return await self._sending.until(
            lambda: all(peer.is_open for peer in self.peers.values() if peer.config.connect), timeout_s
        )

    def peer_states(self) -> list[PeerState]:
        """How it stands with each peer, for an operator."""
        return [
            PeerState(
                self.context.node,
                peer.identity,
                peer.state.value,
                peer.health.value,
                peer.link.flow.transport if peer.link is not None else "",
                len(peer.link.pending) if peer.link is not None else 0,
                peer.in_work,
            )
            for peer in self.peers.values()
        ]

    async def close(self) -> None:
        """Finishes what is in work, says good-bye to all peers, and ends."""
        self._local.closing = True
        self._streams.close()
        await self._sending.until(lambda: not self.in_work, DRAIN_S)
        for task in self._working:
            task.cancel()
        for peer in self.peers.values():
            peer.stop()
        await self._sending.until(
            lambda: all(peer.state is State.CLOSED for peer in self.peers.values()), CLOSING_S + 0.5
        )
        self._connections.close()
        await asyncio.sleep(0)

    # ---- requests of peers

    def _request(self, peer: Peer, link: Link, message: DiameterMessage) -> None:
        served = self._served.get(message.application)
        try:
            if served is None:
                why = f"application {message.application} is not served here"
                raise DiameterError(Result.APPLICATION_UNSUPPORTED, why, "RFC 6733 7.1.3")
            if message.command not in served.commands:
                why = f"command {message.command} is not served here"
                raise DiameterError(Result.COMMAND_UNSUPPORTED, why, "RFC 6733 7.1.3")
            check_request(message)
            message.need(d.SESSION_ID)
            authorisation.check(self._local, peer, served.application, message)
            key = (message.need(d.ORIGIN_HOST), message.end_to_end, message.command)
        except DiameterError as error:
            link.report(error.why, error.clause, error.result)
            link.answer(message.answer(error.result, error.failed))
            return
        if self._local.closing or self._is_full(peer):
            self._too_busy(link, message)
        elif self._duplicates.begin(key, link, message):
            self.in_work += 1
            peer.in_work += 1
            self._measure()
            # not `context.start`, whose bound would drop the request unanswered: this has a bound of its own
            work = self.context.guarded(self._serve(served, peer, link, message, key))
            task = asyncio.get_running_loop().create_task(work)
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _serve(
        self, served: Served, peer: Peer, link: Link, message: DiameterMessage, key: tuple[str, int, int]
    ) -> None:
        answer: DiameterMessage | None = None
        try:
            answer = await served.handler(message, peer)
        except DiameterError as error:
            link.report(error.why, error.clause, error.result)
            answer = message.answer(error.result, error.failed)
        finally:
            self._ended(peer)
            if answer is None:  # a fault in this node, which is recorded above us, or its end
                answer = message.answer(Result.UNABLE_TO_COMPLY)
            sent = b""
            try:
                self.overload.stamp(message, answer)
                sent = link.answer(answer)
            finally:
                sent = sent or link.answer(message.answer(Result.UNABLE_TO_COMPLY))
                self._duplicates.end(key, sent, keep=message.command not in served.application.volatile)

    def _is_full(self, peer: Peer) -> bool:
        most, share = limits.DIAMETER_REQUESTS_IN_WORK, limits.DIAMETER_REQUESTS_OF_ONE_PEER
        return self.in_work >= most or peer.in_work >= share

    def _ended(self, peer: Peer) -> None:
        self.in_work -= 1
        peer.in_work -= 1
        if self._local.closing and not self.in_work:
            self._sending.changed()

    def _too_busy(self, link: Link, message: DiameterMessage) -> None:
        """Refused at once, so that who asked can ask elsewhere (RFC 6733 7.1.3); growing helps nobody."""
        why = "this node is closing" if self._local.closing else "too many requests are in work"
        link.report(why, "RFC 6733 7.1.3", Result.TOO_BUSY)
        answer = message.answer(Result.TOO_BUSY)
        self._measure()
        self.overload.stamp(message, answer)
        link.answer(answer)

    def _measure(self) -> None:
        if self.overload.measure(self.in_work):
            if self.overload.percent:
                advice = "peers that know RFC 7683 send less now; add another HSS, or look at what slows this one"
                self.context.notice("alarm", f"Diameter: {self.in_work} requests wait here", advice)
            else:
                self.context.notice("info", "Diameter: the overload is over")

    # ---- connections

    def _add(self, config: DiameterPeer) -> Peer:
        if config.identity.lower() in self.peers:
            raise ConfigError(f"[[diameter.peers]] has {config.identity} twice; write one of them, with all it may do")
        around = Surroundings(self._dial, self._request, self._stray_answer, self._fail_over, self._sending.changed)
        if config.gateway:
            self._local.tunnelled.know(config.gateway, map(capabilities.plain, config.addresses))
        peer = self.peers[config.identity.lower()] = Peer(self._local, config, around)
        return peer

    def _connection(self, listen: Listen, accept: OnStream) -> Connection:
        unsent = limits.DIAMETER_UNSENT_OCTETS
        return Connection(listen.transport, Zone.CORE, self._connections, accept, self._vouch, unsent)

    def _arrived(self, flow: Flow) -> StreamReceiver:
        link = Link(self._local, flow, self._door)
        if not capabilities.check_exposure(self._local, flow):
            flow.close()
        return link

    async def _dial(self, peer: Peer) -> Link:
        made: list[Link] = []

        def accept(flow: Flow) -> StreamReceiver:
            made.append(Link(self._local, flow, peer))
            return made[0]

        if self._local.tunnelled.is_cut(peer.config):
            raise FlowFailed(f"the tunnel {peer.config.gateway} is down")
        target = Listen.parse(peer.config.connect, Zone.CORE, STREAMS)
        connection = await dial(
            target,
            lambda: self._connection(target, accept),
            self._local.tls.client if self._local.tls is not None else None,
            peer.identity,
        )
        if not made:
            raise FlowFailed("too many connections are open")
        (link,) = made
        link.name = peer.identity
        try:
            capabilities.check_certificate(self._local, peer.config, link.flow)
            if not capabilities.check_exposure(self._local, link.flow):
                raise FlowFailed(f"{link.flow.remote[0]} is no trusted address, and the way to it is not protected")
        except (DiameterError, FlowFailed) as failure:
            connection.close()
            raise FlowFailed(str(failure)) from failure
        return link

    def _vouch(self, _zone: Zone, transport: asyncio.BaseTransport, remote: Address) -> Security:
        names = dns_names(transport.get_extra_info("peercert"))
        if names:
            return TlsPeer(names, not self.peers.keys().isdisjoint(names))
        if capabilities.is_trusted(self._local, remote[0]):
            return TrustedAddress(remote[0])
        return Clear()

    def _fail_over(self, peer: Peer) -> None:
        """Requests that wait for a silent peer are sent to another, where there is one (RFC 3539 3.4.1)."""
        others = (other for other in self.peers.values() if other is not peer and other.realm == peer.realm)
        if peer.link is not None and any(other.is_open and other.applications & peer.applications for other in others):
            peer.link.give_back()

    def _stray_answer(self, message: DiameterMessage) -> Asked | None:
        """Only without its protection: an answer counts wherever it comes from."""
        if self._local.enforces("diameter-answers"):
            return None
        links = [peer.link for peer in self.peers.values() if peer.link is not None]
        return next((asked for link in links if (asked := link.pending.pop(message.hop_by_hop, None))), None)
