"""The edge of a node: from octets to one task a request, and the response back to where the request came from.

RFC 3261 18.1.2, 18.2.1, 8.2, 9.2, 16.3; RFC 3581; RFC 4320. What a service answers leaves by the server transaction.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from redoubt import limits
from redoubt.sip.client_flows import ClientFlows
from redoubt.sip.client_table import ClientTable
from redoubt.sip.errors import SipError
from redoubt.sip.fields import REASON, VIA
from redoubt.sip.headers.via import Via
from redoubt.sip.message import MalformedMessage, Request, Response, parse_message
from redoubt.sip.neighbours import Neighbours
from redoubt.sip.resolver import DEFAULT_PORT
from redoubt.sip.server_invite import InviteServer
from redoubt.sip.server_noninvite import NonInviteServer
from redoubt.sip.server_table import ServerTable, ServerTransaction, key_of
from redoubt.sip.service import Context, Exchange, Root, Service, answer, conclude, contained
from redoubt.sip.stack_wire import Wire, named
from redoubt.sip.transaction import Key, Surroundings
from redoubt.sip.transaction_timers import PROFILES, TIMER_C_S, TRYING_S, Patience, profile_of
from redoubt.sip.validate import check_request
from redoubt.sip.way_back import way_back
from redoubt.transport.flow import Address, Flow, FlowFailed, Zone
from redoubt.transport.stun import binding_response

BLANK = b"\r\n\0 \t"  # what keep-alives over UDP are made of


@dataclass(slots=True, eq=False)
class Entrance:
    """One listening socket as the edge sees it: who serves it, and how to reach an address from it."""

    service: Service
    flow_to: Callable[[Address], Flow] | None = None  # of a UDP socket


@dataclass(slots=True, eq=False)
class Edge:
    """Everything that comes in."""

    context: Context
    wire: Wire
    around: Surroundings
    clients: ClientTable
    flows: ClientFlows
    servers: ServerTable
    neighbours: Neighbours | None = None
    draining: bool = False
    running: set[asyncio.Task[None]] = field(default_factory=set)
    _cancellable: dict[Key, Root] = field(default_factory=dict)
    _trying: dict[Zone, Patience[NonInviteServer, Request]] = field(init=False)
    _unheard: Patience[InviteServer, Request] = field(init=False)

    def __post_init__(self) -> None:
        self._trying = {zone: Patience(profile.trying_s, _say_trying) for zone, profile in PROFILES.items()}
        self._unheard = Patience(TRYING_S, _say_trying)

    def close(self) -> None:
        """No 100 is due any more."""
        self._unheard.close()
        for patience in self._trying.values():
            patience.close()

    # ---- octets

    def datagram(self, data: bytes, flow: Flow, entrance: Entrance) -> None:
        """One UDP datagram. Nothing that a peer sends raises out of here."""
        try:
            message = parse_message(data)
        except MalformedMessage as fault:
            if data.strip(BLANK) and not self._is_stun(data, flow):
                self.malformed(fault, flow, entrance)
            return
        if self.context.events.tracing:
            self.wire.received(flow, data)
        self.message(message, flow, entrance)

    def _is_stun(self, data: bytes, flow: Flow) -> bool:
        """A keep-alive of a phone's flow (RFC 5626 4.4.2), answered here."""
        response = binding_response(data, flow.remote)
        if response is None:
            return False
        if not self._stranger(flow):
            contained(self.context, "", flow.send, response)
        return True

    def message(self, message: Request | Response, flow: Flow, entrance: Entrance) -> None:
        """One message."""
        contained(self.context, message.call_id, self._take, message, flow, entrance)

    def _take(self, message: Request | Response, flow: Flow, entrance: Entrance) -> None:
        try:
            is_response = isinstance(message, Response)
            stranger = "" if is_response and flow.zone is not Zone.BORDER else self._stranger(flow)
            if stranger:
                self._drop(message, flow, stranger, "TS 33.203 Annex J")
            elif isinstance(message, Response):
                self.clients.receive(message, flow)
            else:
                self._request(message, flow, entrance)
        except SipError as fault:
            self._drop(message, flow, fault.why, fault.clause)

    def malformed(self, fault: MalformedMessage, flow: Flow, entrance: Entrance) -> None:
        """Answers what can be answered of it (RFC 3261 8.2, 18.3); silence towards strangers in the core."""
        request = fault.response_to
        self._refused(fault, flow, request)
        if request is None or self._stranger(flow):
            return
        try:
            reply = self._mark_source(request, request.need(VIA), flow, entrance)
        except SipError:
            return
        self._send_once(request, fault.status, reply, fault.headers)

    # ---- requests

    def _request(self, request: Request, flow: Flow, entrance: Entrance) -> None:
        via = request.need(VIA)
        method = request.method
        if method == "ACK":
            self._ack(request, via, flow, entrance)
            return
        key = key_of(request, via, flow, method)
        known = self.servers.find(key)
        if known is not None:
            known.request()
            return
        reply = self._mark_source(request, via, flow, entrance)
        if method == "CANCEL":
            self._cancel(request, via, key, flow, reply)
            return
        if self.draining or len(self.running) >= limits.EXCHANGES:
            self._overloaded(request, flow, reply)
            return
        machine = self.servers.add(key, method, reply)
        try:
            check_request(request, hops=False)
        except SipError as fault:
            self._refused(fault, flow, request)
            self._finish(machine, request.response(fault.status, to_tag=self.context.tag(), headers=fault.headers))
            return
        self._begin(request, key, machine, flow, entrance)

    def _begin(
        self, request: Request, key: Key, machine: ServerTransaction, flow: Flow, entrance: Entrance
    ) -> None:
        now = asyncio.get_running_loop().time()
        profile = profile_of(flow)
        if isinstance(machine, InviteServer):
            deadline = now + TIMER_C_S
            if flow.is_reliable:  # nothing is repeated there that a 100 would stop
                self._unheard.begin(machine, request)
            else:
                _say_trying(machine, request)
        else:
            deadline = now + profile.transaction_s
            self._trying[flow.zone].begin(machine, request)
        root = Root(self.context, deadline, lambda response: self._upward(machine, response))
        if isinstance(machine, InviteServer):
            self._cancellable[key] = root
        self._run(self._serve(request, key, machine, Exchange(flow, root), entrance.service))

    async def _serve(
        self, request: Request, key: Key, machine: ServerTransaction, exchange: Exchange, service: Service
    ) -> None:
        root = exchange.root
        try:
            response = await answer(service, request, exchange)
            if response is None:
                self._keep_silent(machine)
            else:
                self._finish(machine, response, root.deadline)
            if root.after:
                await conclude(root, request.call_id)
        finally:
            if isinstance(machine, InviteServer):
                self._cancellable.pop(key, None)
                self._unheard.met(machine)
            else:
                self._trying[exchange.flow.zone].met(machine)
            self._leave()

    def _ack(self, request: Request, via: Via, flow: Flow, entrance: Entrance) -> None:
        """Of a failure: ends in its transaction (17.2.1). Of a 2xx: a request of its own without an answer."""
        machine = self.servers.find(key_of(request, via, flow, "INVITE"))
        if isinstance(machine, InviteServer) and machine.ack():
            return
        if len(self.running) >= limits.EXCHANGES:
            return
        check_request(request, hops=False)
        deadline = asyncio.get_running_loop().time() + profile_of(flow).transaction_s
        root = Root(self.context, deadline, lambda _response: None)
        self._run(self._serve_ack(request, Exchange(flow, root), entrance.service))

    async def _serve_ack(self, request: Request, exchange: Exchange, service: Service) -> None:
        try:
            await answer(service, request, exchange)
            if exchange.root.after:
                await conclude(exchange.root, request.call_id)
        finally:
            self._leave()

    def _cancel(self, request: Request, via: Via, key: Key, flow: Flow, reply: Flow) -> None:
        """RFC 3261 9.2: matched by branch and source, answered here; the INVITE's own answer follows by itself."""
        invite_key = key_of(request, via, flow, "INVITE")
        invite = self.servers.find(invite_key)
        machine = self.servers.add(key, "CANCEL", reply)
        if invite is None:
            self._refused(SipError(481, "CANCEL of nothing that runs here", "RFC 3261 9.2"), flow, request)
        status = 200 if invite is not None else 481
        self._finish(machine, request.response(status, to_tag=self.context.tag()))
        root = self._cancellable.get(invite_key)
        if root is not None and invite is not None and invite.awaits_response:
            root.cancelled.happen(request.get(REASON.name))

    # ---- responses

    def _upward(self, machine: ServerTransaction, response: Response) -> None:
        """A 1xx, or a 2xx after the first. Of a non-INVITE there is neither (RFC 4320 4.1)."""
        if isinstance(machine, InviteServer):
            if response.status < 200:
                self._unheard.met(machine)
                machine.provisional(response.to_bytes())
            else:
                machine.final(response.to_bytes(), success=True)

    def _finish(self, machine: ServerTransaction, response: Response, deadline: float | None = None) -> None:
        if isinstance(machine, InviteServer):
            machine.final(response.to_bytes(), success=response.is_success)
            return
        late = deadline is not None and asyncio.get_running_loop().time() >= deadline
        silent = late or response.status == 408  # RFC 4320 4.2: its client has given up, or will on its own
        machine.final(None if silent else response.to_bytes())

    def _keep_silent(self, machine: ServerTransaction) -> None:
        """The service wants its existence unknown (a refusal with status 0): retransmissions are absorbed too."""
        if isinstance(machine, InviteServer):
            machine.final(None, success=False)
        else:
            machine.final(None)

    def _mark_source(self, request: Request, via: Via, flow: Flow, entrance: Entrance) -> Flow:
        """Writes received and rport (18.2.1, RFC 3581 4); the flow on which responses go back (18.2.2)."""
        host, port = flow.remote
        asks_rport = via.param("rport") is not None
        if not self.context.enforces("response-to-sender"):
            asks_rport, host = False, via.address
        elif asks_rport or via.address != host or via.received is not None:
            marked = via.at_source(host, port if asks_rport else None)
            _replace_top_via(request, marked)
        if flow.is_reliable:
            if via.param("alias") is not None:
                self.flows.also_to(flow, via.port)
            return way_back(flow, via, self.flows, self.context)
        if asks_rport or entrance.flow_to is None:
            return flow
        wanted = (host, via.port or DEFAULT_PORT["udp"])
        return flow if wanted == flow.remote else entrance.flow_to(wanted)

    def _overloaded(self, request: Request, flow: Flow, reply: Flow) -> None:
        """503 without a transaction; Retry-After is spread, so that they don't come back together (row 99)."""
        low, high = limits.RETRY_AFTER_S
        after_s = low + self.context.randomness.octets(1)[0] % (high - low + 1)
        why = "the node is stopping" if self.draining else "too many exchanges at once"
        self._refused(SipError(503, why, "RFC 3261 21.5.4"), flow, request)
        self._send_once(request, 503, reply, (("Retry-After", str(after_s)),))

    def _send_once(
        self, request: Request, status: int, reply: Flow, headers: tuple[tuple[str, str], ...]
    ) -> None:
        response = request.response(status, to_tag=self.context.tag(), headers=headers)
        try:
            self.wire.send(reply, response.to_bytes())
        except (FlowFailed, ValueError):
            return

    # ---- inside

    def _stranger(self, flow: Flow) -> str:
        """Why the sender is none of those whom the core (row 67) or the border (row 54) answers; "" for all others."""
        if flow.zone is Zone.BORDER:
            return self.neighbours.stranger(flow) if self.neighbours is not None else "this border has no partners"
        if flow.zone is Zone.CORE and not flow.trusted and self.context.enforces("core-peers"):
            return "SIP from an address that is no core node"
        return ""

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self.running.add(asyncio.get_running_loop().create_task(work))

    def _leave(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.running.discard(task)

    def _refused(self, fault: SipError, flow: Flow, request: Request | None) -> None:
        method, call_id = (request.method, request.call_id) if request is not None else ("", "")
        source = named(flow.remote)
        self.context.refused(fault.status, fault.why, fault.clause, method=method, call_id=call_id, source=source)

    def _drop(self, message: Request | Response, flow: Flow, why: str, clause: str) -> None:
        method = message.method if isinstance(message, Request) else ""
        source = named(flow.remote)
        self.context.refused(0, why, clause, method=method, call_id=message.call_id, source=source)


def _say_trying(machine: ServerTransaction, request: Request) -> None:
    """RFC 3261 17.2.1, RFC 4320 4.1."""
    machine.provisional(request.response(100).to_bytes())


def _replace_top_via(request: Request, via: Via) -> None:
    """The usual single Via keeps its parsed form; other Vias are not read here, since one of them may be malformed."""
    lines = request.all("Via")
    if len(lines) == 1 and "," not in lines[0]:
        request.put(VIA, via)
    else:
        request.pop_first(VIA)
        request.push("Via", str(via))
