"""A SIP function is an async function: a request and its exchange go in, the final response comes out.

One that only hands on returns what the next one would have it await: each frame that waits costs all that wake it.

`enter` is the boundary of every function: faults become responses there and responses pass the caller's
`on_response` there. What waits on a wire is the service `Outbound` (outbound.py); what starts exchanges from a wire is
the edge (stack.py).
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from redoubt.events import Bug, EventStream, Notice, Refused
from redoubt.limits import BACKGROUND_TASKS
from redoubt.sip.errors import SipError
from redoubt.sip.fields import MAX_FORWARDS
from redoubt.sip.message import Request, Response
from redoubt.sources import Clock, Randomness
from redoubt.transport.flow import Flow, Internal, internal_flow

Answer = Coroutine[Any, Any, Response | None]  # the final response, awaited; None for an ACK
OnResponse = Callable[[Response], None]  # may change the response in place
AfterSent = Callable[[], Awaitable[None]]

MAX_FORWARDS_DEFAULT = 70  # RFC 3261 8.1.1.6


class Service(Protocol):
    """What every SIP function is."""

    def __call__(self, request: Request, exchange: "Exchange") -> Answer: ...


@dataclass(slots=True, eq=False)
class Context:
    """What a function gets from the composition root: its name, time, randomness, the event stream, its tasks."""

    node: str
    events: EventStream
    clock: Clock
    randomness: Randomness
    protections_off: frozenset[str] = frozenset()
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def named(self, node: str) -> "Context":
        """The same surroundings for another function."""
        return Context(node, self.events, self.clock, self.randomness, self.protections_off, self.tasks)

    def enforces(self, protection: str) -> bool:
        """Whether a protection of `redoubt.config.protections` is on: always, but where a test shows the attack."""
        return protection not in self.protections_off

    def tag(self) -> str:
        """A To or From tag, Call-ID or branch part with 80 random bits (RFC 3261 19.3)."""
        return self.randomness.octets(10).hex()

    def start(self, work: Coroutine[Any, Any, None], call_id: str = "") -> None:
        """Runs work of this node's own, owned and bounded; a failure becomes an event."""
        if len(self.tasks) >= BACKGROUND_TASKS:
            work.close()
            self.notice("alarm", "too much background work, one piece was dropped", "the node is overloaded")
            return
        task = asyncio.get_running_loop().create_task(self.guarded(work, call_id))
        self.tasks.add(task)
        task.add_done_callback(partial(self._ended, work))

    def _ended(self, work: Coroutine[Any, Any, None], task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        work.close()  # one that was cancelled before its first step has not been awaited

    async def close(self) -> None:
        """Ends the work of all nodes with these surroundings, whether it has begun or not."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def guarded(self, work: Awaitable[None], call_id: str = "") -> None:
        """Waits for work that owes nobody a response; what goes wrong in it becomes an event."""
        try:
            await work
        except SipError as fault:
            self.refused(fault.status, fault.why, fault.clause, call_id=call_id)
        except Exception:  # noqa: BLE001 - the edge of work that nobody awaits
            self.bug(call_id)

    def refused(
        self,
        status: int,
        why: str,
        clause: str = "",
        *,
        method: str = "",
        call_id: str = "",
        source: str = "",
        node: str = "",
    ) -> None:
        self.events.emit(
            Refused(
                at=self.clock.now(),
                node=node or self.node,
                status=status,
                why=why,
                clause=clause,
                method=method,
                call_id=call_id,
                source=source,
            )
        )

    def notice(self, level: str, what: str, advice: str = "") -> None:
        self.events.emit(Notice(at=self.clock.now(), node=self.node, level=level, what=what, advice=advice))

    def bug(self, call_id: str, node: str = "") -> None:
        """Records the exception that is being handled."""
        trace = traceback.format_exc()
        self.events.emit(Bug(at=self.clock.now(), node=node or self.node, call_id=call_id, traceback=trace))


class Cancellation:
    """Whether the caller gave up (RFC 3261 9.2): a fact that can be looked at, awaited or subscribed to."""

    __slots__ = ("_actions", "happened", "reason")

    def __init__(self) -> None:
        self.happened = False
        self.reason: str | None = None  # the Reason header of the CANCEL (RFC 3326)
        self._actions: list[Callable[[], None]] = []

    def happen(self, reason: str | None = None) -> None:
        if self.happened:
            return
        self.happened, self.reason = True, reason
        actions, self._actions = self._actions, []
        for action in actions:
            action()

    def then(self, action: Callable[[], None]) -> Callable[[], None]:
        """Calls `action` when it happens, at once if it has; returns what takes that back."""
        if self.happened:
            action()
            return lambda: None
        self._actions.append(action)
        return lambda: self._actions.remove(action) if action in self._actions else None

    async def wait(self) -> None:
        if self.happened:
            return
        happened = asyncio.get_running_loop().create_future()
        forget = self.then(lambda: None if happened.done() else happened.set_result(None))
        try:
            await happened
        finally:
            forget()


class Root:
    """What all exchanges of one transaction share. `send` puts a response on the wire that the request came on."""

    __slots__ = ("after", "cancelled", "context", "deadline", "send")

    def __init__(self, context: Context, deadline: float, send: Callable[[Response], None]) -> None:
        self.context = context
        self.deadline = deadline
        self.send = send
        self.cancelled = Cancellation()
        self.after: list[AfterSent] = []


class Exchange:
    """What is true of one transaction at one function: the flow that the request came on, and the way back."""

    __slots__ = ("_on_response", "_parent", "flow", "node", "root")

    def __init__(
        self, flow: Flow, root: Root, parent: "Exchange | None" = None, on_response: OnResponse | None = None
    ) -> None:
        self.flow = flow
        self.root = root
        self.node = ""  # the function of this process that it was handed to; empty: the one whose door it came in by
        self._parent = parent
        self._on_response = on_response

    @property
    def origin(self) -> Flow:
        """The flow on which the request reached this process."""
        exchange = self
        while exchange._parent is not None:
            exchange = exchange._parent
        return exchange.flow

    @property
    def deadline(self) -> float:
        """Loop time by which this must have ended."""
        return self.root.deadline

    @property
    def cancelled(self) -> Cancellation:
        return self.root.cancelled

    def after_sent(self, action: AfterSent) -> None:
        """Runs `action` once the final response is on the wire, in the order given."""
        self.root.after.append(action)

    def upward(self, response: Response) -> None:
        """Sends a 1xx, or a 2xx after the first, through every function above and out (RFC 3261 16.7)."""
        if self._on_response is not None:
            self._on_response(response)
        if self._parent is not None:
            self._parent.upward(response)
        else:
            self.root.send(response)

    def passed(self, response: Response) -> Response:
        """The final response, changed as the function that made this exchange wants it changed."""
        if self._on_response is not None:
            self._on_response(response)
        return response


def enter(
    service: Service, request: Request, exchange: Exchange, caller: str, on_response: OnResponse | None = None
) -> Answer:
    """Calls `service` as `caller`: faults become responses, responses pass `on_response`."""
    return answer(service, request, Exchange(internal_flow(caller), exchange.root, exchange, on_response))


def forward(
    service: Service, request: Request, exchange: Exchange, caller: str, on_response: OnResponse | None = None
) -> Answer:
    """`enter` for a request that is not the caller's own: counts Max-Forwards down (RFC 3261 16.6 step 3)."""
    hops = request.first(MAX_FORWARDS)
    if hops is not None and hops <= 0:
        raise SipError(483, "Max-Forwards reached zero", "RFC 3261 16.3")
    request.put(MAX_FORWARDS, MAX_FORWARDS_DEFAULT if hops is None else hops - 1)
    return answer(service, request, Exchange(internal_flow(caller), exchange.root, exchange, on_response))


async def answer(service: Service, request: Request, exchange: Exchange) -> Response | None:
    """The service's final response, whatever happens in it; at once the edge's way in."""
    context = exchange.root.context
    try:
        response = await service(request, exchange)
    except SipError as fault:
        context.refused(
            fault.status,
            fault.why,
            fault.clause,
            method=request.method,
            call_id=request.get("Call-ID") or "",
            source=_source(exchange.flow),
            node=exchange.node,
        )
        response = refusal(request, fault, context)
    except Exception:  # noqa: BLE001 - the one edge: a bug costs its own exchange only
        context.bug(request.get("Call-ID") or "", exchange.node)
        response = refusal(request, SipError(500, "a fault in this node"), context)
    return response if response is None else exchange.passed(response)


def _source(flow: Flow) -> str:
    """Who sent it: an address, or the function of this process."""
    security = flow.security
    return security.caller if isinstance(security, Internal) else f"{flow.remote[0]}:{flow.remote[1]}"


def refusal(request: Request, fault: SipError, context: Context) -> Response | None:
    """The response owed for a fault; its reason phrase tells the sender nothing of this node. None for an ACK."""
    if request.method == "ACK" or fault.status == 0:
        return None
    return request.response(fault.status, to_tag=context.tag(), headers=fault.headers)


def contained(context: Context, call_id: str, step: Callable[..., None], *given: object) -> None:
    """Takes a step for a message that came from a wire: a bug costs that message only."""
    try:
        step(*given)
    except Exception:  # noqa: BLE001 - the edge, before there is an exchange
        context.bug(call_id)


async def conclude(root: Root, call_id: str) -> None:
    """Once the final response is on its way: what functions handed to `after_sent`, in order."""
    for action in root.after:
        await root.context.guarded(action(), call_id)


async def originate(service: Service, request: Request, context: Context, lifetime_s: float = 180.0) -> Response | None:
    """Sends a request that this node starts itself: its responses end here."""
    deadline = asyncio.get_running_loop().time() + lifetime_s
    root = Root(context, deadline, lambda _response: None)
    response = await enter(service, request, Exchange(internal_flow(context.node), root), context.node)
    if root.after:
        await conclude(root, request.get("Call-ID") or "")
    return response
