"""Forking to the contacts of one user (RFC 3261 16.6, 16.7; RFC 5393 5.3): in turn by q, side by side where q is equal.

Branches are tasks of the node, not of the exchange's task: the first 2xx goes up at once, the others get CANCEL and end
by themselves.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

from redoubt.cscf.scscf.registrations import Binding
from redoubt.limits import MAX_BREADTH
from redoubt.sip.errors import SipError
from redoubt.sip.fields import MAX_BREADTH as MAX_BREADTH_FIELD
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, OnResponse, Root, Service, forward
from redoubt.transport.flow import internal_flow

RING_S = 30.0  # so long a contact may ring while one with a lower q waits
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'  # RFC 3326 3.1
PREFERRED_4XX = (401, 407, 415, 420, 484)  # RFC 3261 16.7 step 6: the caller can do something about these


@dataclass(slots=True, eq=False)
class Branch:
    """One contact on trial: an exchange of its own, so that it alone can be cancelled."""

    request: Request
    root: Root
    response: Response | None = None


@dataclass(slots=True, eq=False)
class Fork:
    """One request on its way to several contacts."""

    context: Context
    next: Service
    exchange: Exchange
    on_response: OnResponse
    is_invite: bool
    branches: list[Branch] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    decided: Response | None = None  # what went up as the final response
    waiting: asyncio.Future[None] | None = None

    async def run(self, targets: list[tuple[Request, float]], breadth: int) -> Response:
        """Tries the targets group by group; returns the first 2xx or the best of all failures (RFC 3261 16.7)."""
        forget = self.exchange.cancelled.then(lambda: self._cancel(self.exchange.cancelled.reason))
        try:
            groups = _groups(targets, breadth)
            for number, group in enumerate(groups):
                await self._try(group, breadth, is_last=number == len(groups) - 1)
                if self.decided is not None or self._is_over():
                    break
        finally:
            forget()
        if self.decided is None:
            self.decided = best(self.responses)
        return self.decided

    async def _try(self, group: list[Request], breadth: int, is_last: bool) -> None:
        """All of one group at the same time; the breadth is shared among them (RFC 5393 5.3.3)."""
        loop = asyncio.get_running_loop()
        self.waiting = loop.create_future()
        branches = [self._branch(request, share) for request, share in shared(group, breadth)]
        for branch in branches:
            task = loop.create_task(self._run(branch))
            self.context.tasks.add(task)
            task.add_done_callback(self.context.tasks.discard)
        timer = None if is_last or not self.is_invite else loop.call_later(RING_S, self._cancel, None)
        try:
            await self.waiting
        finally:
            if timer is not None:
                timer.cancel()

    def _branch(self, request: Request, share: int) -> Branch:
        request.set("Max-Breadth", str(share))
        root = Root(self.context, self.exchange.deadline, self._provisional)
        root.after = self.exchange.root.after  # what must follow the response follows the one that goes out
        branch = Branch(request, root)
        self.branches.append(branch)
        return branch

    async def _run(self, branch: Branch) -> None:
        context = self.context
        exchange = Exchange(internal_flow(context.node), branch.root, None)
        try:
            response = await forward(self.next, branch.request, exchange, context.node, self.on_response)
        except SipError as fault:  # Max-Forwards
            response = branch.request.response(fault.status, to_tag=context.tag())
        self._ended(branch, response or branch.request.response(408, to_tag=context.tag()))

    def _provisional(self, response: Response) -> None:
        """A 1xx goes up while nothing final has; a later 2xx of the same branch always does."""
        if self.decided is None or (response.is_success and self.is_invite):
            self.exchange.upward(response)

    def _ended(self, branch: Branch, response: Response) -> None:
        branch.response = response
        self.responses.append(response)
        if response.is_success:
            if self.decided is None:
                self.decided = response
                self._cancel(ELSEWHERE)
            elif self.is_invite:
                self.exchange.upward(response)
        elif response.status >= 600:
            self._cancel(None)
        done = self.decided is not None or all(known.response is not None for known in self.branches)
        if done and self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    def _cancel(self, reason: str | None) -> None:
        for branch in self.branches:
            if branch.response is None:
                branch.root.cancelled.happen(reason)

    def _is_over(self) -> bool:
        """Nobody else is tried after a 6xx or when the caller gave up."""
        return self.exchange.cancelled.happened or any(response.status >= 600 for response in self.responses)


def _groups(targets: list[tuple[Request, float]], breadth: int) -> list[list[Request]]:
    """By q, highest first; a group that is wider than the breadth allows is tried in turns (RFC 5393 5.3.3.1)."""
    if breadth < 1:
        raise SipError(440, "no breadth is left to fork with", "RFC 5393 5.3.3")
    groups = []
    for _, members in groupby(sorted(targets, key=lambda target: -target[1]), key=lambda target: target[1]):
        group = [request for request, _ in members]
        groups += [group[at : at + breadth] for at in range(0, len(group), breadth)]
    return groups


def shared(group: list[Request], breadth: int) -> list[tuple[Request, int]]:
    """Each request with its part of the breadth; the parts add up to no more than the whole."""
    part, extra = divmod(breadth, len(group))
    return [(request, part + (number < extra)) for number, request in enumerate(group)]


def best(responses: list[Response]) -> Response:
    """Which failure the caller hears of (RFC 3261 16.7 step 6)."""
    return min(responses, key=_rank)


def _rank(response: Response) -> tuple[int, int]:
    if response.status >= 600:
        return (0, 0)
    within = (
        0 if response.status in PREFERRED_4XX else 2 if response.status in (408, 430, 480, 487, 503) else 1
    )
    return (response.status // 100, within)


def breadth_of(request: Request) -> int:
    """Max-Breadth, and what stands for it when it is absent (RFC 5393 5.3.3)."""
    said = request.first(MAX_BREADTH_FIELD)
    return MAX_BREADTH if said is None else min(said, MAX_BREADTH)


def targets_of(
    request: Request, bindings: list[Binding], aim: Callable[[Request, Binding], None]
) -> list[tuple[Request, float]]:
    """A copy of the request for each contact, aimed at it."""
    targets = []
    for binding in bindings:
        copy = request.copy()
        aim(copy, binding)
        targets.append((copy, binding.q))
    return targets
