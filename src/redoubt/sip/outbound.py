"""The service that puts a request on a wire and returns what came back (RFC 3261 16.6, 16.7, RFC 3263).

`Outbound` finds the next hop by the topmost Route or the Request-URI; `Outbound.to(flow)` sends to exactly one flow or
answers 430. Neither raises for what the far side did.
"""

import asyncio
from functools import partial

from redoubt import limits
from redoubt.sip.client_flows import ClientFlows
from redoubt.sip.client_table import ClientTable
from redoubt.sip.errors import SipError
from redoubt.sip.fields import ROUTE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.resolver import Candidate, NextHops
from redoubt.sip.service import Context, Exchange, Service
from redoubt.sip.transaction import Outcome, Send, Trouble
from redoubt.sip.uri import SipUri, Uri
from redoubt.transport.flow import Flow, FlowFailed

STATUS_OF = {Trouble.TIMEOUT: 408, Trouble.TRANSPORT: 503, Trouble.CANCELLED: 487}  # RFC 3261 8.1.3.1, 9.1


class Outbound:
    """The way out of a node."""

    def __init__(
        self, context: Context, table: ClientTable, flows: ClientFlows, resolver: NextHops, send: Send
    ) -> None:
        self._context = context
        self._table = table
        self._flows = flows
        self._resolver = resolver
        self._send = send
        self._refuse_tcp: dict[tuple[str, int], float] = {}

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        """Sends to the next hop, to another one if that fails; the first final response."""
        if request.method == "INVITE" and exchange.cancelled.happened:
            return self.local(request, 487)
        request, target = routed(request)
        candidates = self._resolver.known(target)
        if candidates is None:
            candidates = await self._resolver.find(target)
        if not candidates:
            self._context.refused(503, f"no next hop for {target}", "RFC 3263 4.3", call_id=request.call_id)
            return self.local(request, 503)
        return await self._try_each(candidates, request, exchange)

    def to(self, flow: Flow) -> Service:
        """Sends to exactly that flow, or answers 430 (RFC 5626 5.3): never anywhere else."""
        return OneFlow(self, flow)

    async def flow_to(self, uri: SipUri) -> Flow:
        """A flow to the first next hop that can be reached, for a phone that keeps one. Raises FlowFailed."""
        why = "no next hop is known"
        for candidate in await self._resolver.find(uri):
            try:
                return await self._flows.open(candidate)
            except FlowFailed as failure:
                why = str(failure)
        raise FlowFailed(f"nothing reaches {uri}: {why}")

    async def send_on(self, flow: Flow, request: Request, exchange: Exchange) -> Outcome | None:
        """One client transaction on one flow; None for an ACK, which has none."""
        wire, branch = self._table.dressed(request, flow)
        return await self._transact(flow, wire, branch, wire.to_bytes(), exchange)

    # ---- inside

    async def _try_each(
        self, candidates: tuple[Candidate, ...], request: Request, exchange: Exchange
    ) -> Response | None:
        """RFC 3263 4.3: a transport failure, a timeout or a 503 leads to the next candidate, while there is time."""
        loop = asyncio.get_running_loop()
        outcome: Outcome = Trouble.TRANSPORT
        for candidate in candidates[: limits.CANDIDATES]:
            result = await self._try(candidate, request, exchange)
            if result is None:
                return None
            outcome = result
            if isinstance(outcome, Response) and outcome.status != 503:
                return outcome
            if exchange.cancelled.happened or loop.time() >= exchange.deadline:
                break
        if isinstance(outcome, Response):
            return outcome
        if exchange.cancelled.happened and request.method == "INVITE":
            outcome = Trouble.CANCELLED
        return self.local(request, STATUS_OF[outcome])

    async def _try(self, candidate: Candidate, request: Request, exchange: Exchange) -> Outcome | None:
        try:
            reused = self._flows.existing(candidate)
            flow = reused or await self._flows.open(candidate)
        except FlowFailed as failure:
            return self._unreachable(candidate, request, str(failure))
        if request.method == "INVITE" and exchange.cancelled.happened:
            return Trouble.CANCELLED
        wire, branch = self._table.dressed(request, flow)
        data = wire.to_bytes()
        if len(data) > limits.UDP_PATH_MTU_OCTETS and flow.transport == "udp":
            larger = await self._flow_for_large(candidate)
            if larger is not None:
                flow = larger
                wire, branch = self._table.dressed(request, flow)
                data = wire.to_bytes()
        outcome = await self._transact(flow, wire, branch, data, exchange)
        if outcome is not Trouble.TRANSPORT:
            return outcome
        if reused is not None and reused.is_reliable:
            return await self._once_more(candidate, request, exchange)
        return self._unreachable(candidate, request, _broken(candidate))

    async def _once_more(self, candidate: Candidate, request: Request, exchange: Exchange) -> Outcome | None:
        """A connection that was kept may have died unnoticed: one fresh one is tried."""
        try:
            outcome = await self.send_on(await self._flows.open(candidate), request, exchange)
        except FlowFailed as failure:
            return self._unreachable(candidate, request, str(failure))
        return (
            outcome if outcome is not Trouble.TRANSPORT else self._unreachable(candidate, request, _broken(candidate))
        )

    async def _flow_for_large(self, candidate: Candidate) -> Flow | None:
        """RFC 3261 18.1.1: too large for UDP goes over TCP, unless the next hop refuses that."""
        where = (candidate.host, candidate.port)
        now = asyncio.get_running_loop().time()
        if self._refuse_tcp.get(where, 0.0) > now:
            return None
        try:
            return await self._flows.open(Candidate("tcp", candidate.host, candidate.port, candidate.name))
        except FlowFailed:
            if len(self._refuse_tcp) >= limits.DNS_CACHE_ENTRIES:
                self._refuse_tcp.clear()
            self._refuse_tcp[where] = now + limits.REFUSED_TCP_S
            return None

    async def _transact(
        self, flow: Flow, wire: Request, branch: str, data: bytes, exchange: Exchange
    ) -> Outcome | None:
        if wire.method == "ACK":
            self._send_ack(flow, data)
            return None
        early = partial(_pass_up, exchange)
        if wire.method != "INVITE":
            return await self._table.other(wire.method, branch, data, flow, early).outcome
        machine = self._table.invite(wire, branch, data, flow, early, exchange.cancelled)
        forget = exchange.cancelled.then(machine.cancel)
        try:
            return await machine.outcome
        finally:
            forget()

    def _send_ack(self, flow: Flow, data: bytes) -> None:
        """An ACK to a 2xx: stateless (RFC 3261 13.2.2.4, 16.6). A lost one is asked for by the next 2xx."""
        try:
            self._send(flow, data)
        except FlowFailed as failure:
            self._context.notice("warning", f"an ACK could not be sent: {failure}")

    def _unreachable(self, candidate: Candidate, request: Request, why: str) -> Trouble:
        self._context.refused(503, why, "RFC 3261 18.4", method=request.method, call_id=request.call_id)
        return Trouble.TRANSPORT

    def local(self, request: Request, status: int) -> Response | None:
        """A response that this node makes for itself (RFC 3261 8.1.3.1)."""
        if request.method == "ACK":
            return None
        return request.response(status, to_tag=self._context.tag())


class OneFlow:
    """The service that sends to one flow only."""

    __slots__ = ("_flow", "_outbound")

    def __init__(self, outbound: Outbound, flow: Flow) -> None:
        self._outbound = outbound
        self._flow = flow

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        """The first final response; 430 when the flow failed, 408 when it is silent, 487 when a CANCEL was."""
        if request.method == "INVITE" and exchange.cancelled.happened:
            return self._outbound.local(request, 487)
        if self._flow.is_closed():
            return self._outbound.local(request, 430)
        outcome = await self._outbound.send_on(self._flow, request, exchange)
        if outcome is None or isinstance(outcome, Response):
            return outcome
        return self._outbound.local(request, 430 if outcome is Trouble.TRANSPORT else STATUS_OF[outcome])


def routed(request: Request) -> tuple[Request, SipUri]:
    """The request as it goes out and the URI of its next hop (RFC 3261 16.6 steps 6 and 7). Raises SipError."""
    route = request.first(ROUTE)
    if route is None:
        return request, _sip(request.request_uri)
    target = _sip(route.uri)
    if target.has("lr"):
        return request, target
    strict = request.copy()  # the next hop is a strict router: it looks at the Request-URI only
    strict.pop_first(ROUTE)
    strict.add("Route", str(NameAddr(None, request.request_uri)))
    strict.uri = str(target)
    return strict, target


def _sip(uri: Uri) -> SipUri:
    if isinstance(uri, SipUri):
        return uri
    raise SipError(416, f"a request can't be sent to {str(uri)[:40]}", "RFC 3261 16.5")


def _broken(candidate: Candidate) -> str:
    """A connection that stood when the request went out: the other end refused us after all, or died."""
    return f"{candidate.transport}:{candidate.host}:{candidate.port} ended the connection before it answered"


def _pass_up(exchange: Exchange, response: Response) -> None:
    """1xx and later 2xx; 100 concerns one hop only (RFC 3261 16.7 step 5)."""
    if response.status != 100:
        exchange.upward(response)
