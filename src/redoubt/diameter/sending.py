"""Sending a request: the peer that should answer, and the next one when it does not (RFC 6733 5.5.4, 6.1, 7.1.3)."""

import asyncio
from collections.abc import Callable

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import RETRANSMITTED, DiameterMessage
from redoubt.diameter.link import LinkLost, TooManyWaiting
from redoubt.diameter.local import Local
from redoubt.diameter.overload import SUPPORTED, Reacting
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable, Result
from redoubt.diameter.routing import Routes

REQUEST_S = 6.0  # for all tries together: below the patience of a SIP client (timer F is 32 s), above a slow disk's
CONNECTING_S = 2.0  # how long a request waits for a connection that is being made

# Protocol errors of whoever can't serve the request itself: another peer may (RFC 6733 7.1.3).
ELSEWHERE = frozenset({Result.UNABLE_TO_DELIVER, Result.REALM_NOT_SERVED, Result.TOO_BUSY, Result.LOOP_DETECTED})


class Sending:
    """The way out of a node."""

    def __init__(self, local: Local, peers: dict[str, Peer]) -> None:
        loop = asyncio.get_running_loop()
        self._local = local
        self._routes = Routes(peers, loop.time)
        self._overload = Reacting(loop.time, local.context.randomness)
        self._waiting: set[asyncio.Future[None]] = set()

    async def request(self, message: DiameterMessage, host: str, realm: str, timeout_s: float) -> DiameterMessage:
        """The answer, which may be an error; DiameterUnavailable when there is none."""
        self._address(message, host, realm)
        deadline = asyncio.get_running_loop().time() + timeout_s
        if not self._routes.candidates(message, host, realm):
            self._routes.hurry(host, realm)
            await self.until(lambda: not self._worth_waiting(message, host, realm), min(CONNECTING_S, timeout_s))
        attempt = Attempt(message, host, realm, deadline)
        while (peer := self._next(attempt)) is not None:
            if self._overload.abates(message.application, peer.identity, realm, named=bool(host)):
                attempt.why = f"{peer.identity} is overloaded and asked for fewer requests"
                continue
            answer = await self._try(attempt, peer)
            if answer is not None:
                return answer
        if attempt.answer is not None:
            return attempt.answer
        raise DiameterUnavailable(attempt.why)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it came true in time; looked at whenever a peer comes or goes."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not condition():
            if loop.time() >= deadline:
                return False
            change: asyncio.Future[None] = loop.create_future()
            self._waiting.add(change)
            try:
                async with asyncio.timeout_at(deadline):
                    await change
            except TimeoutError:
                return condition()
            finally:
                self._waiting.discard(change)
        return True

    def changed(self) -> None:
        """A peer came or went."""
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    # ---- inside

    def _worth_waiting(self, message: DiameterMessage, host: str, realm: str) -> bool:
        return self._routes.trying(host, realm) and not self._routes.candidates(message, host, realm)

    def _address(self, message: DiameterMessage, host: str, realm: str) -> None:
        """Adds what its sender left to us; Session-Id stands first (RFC 6733 8.8)."""
        if not message.has(d.SESSION_ID):
            message.avps.insert(0, d.SESSION_ID.of(self._local.session_id()))
        if not message.has(d.ORIGIN_HOST):
            message.avps += self._local.origin
        message.end_to_end = self._local.next_end_to_end()
        if not message.has(d.DESTINATION_REALM):
            message.add(d.DESTINATION_REALM, realm)
        if host and not message.has(d.DESTINATION_HOST):
            message.add(d.DESTINATION_HOST, host)
        message.avps.append(SUPPORTED)

    def _next(self, attempt: "Attempt") -> Peer | None:
        """The best peer that was not tried, those named by a redirection before all others."""
        if attempt.over or attempt.deadline <= asyncio.get_running_loop().time():
            return None
        found = attempt.redirected or self._routes.candidates(attempt.message, attempt.host, attempt.realm)
        untried = [peer for peer in found if peer not in attempt.tried]
        if not untried:
            return None
        attempt.tried.append(untried[0])
        attempt.others = len(untried) - 1
        return untried[0]

    async def _try(self, attempt: "Attempt", peer: Peer) -> DiameterMessage | None:
        """The answer to hand back, or None where another peer is to be tried."""
        message = attempt.message
        try:
            answer = await _ask(peer, message, attempt.share())
        except LinkLost:
            attempt.why = f"the connection to {peer.identity} was lost"
            message.flags |= RETRANSMITTED  # it may have been worked on (RFC 6733 5.5.4)
            return None
        except TimeoutError:
            attempt.why = f"{peer.identity} did not answer in time"
            message.flags |= RETRANSMITTED
            return None
        except TooManyWaiting:
            attempt.why = f"too many requests wait for {peer.identity}"
            return None
        except DiameterError as error:
            raise DiameterUnavailable(f"{peer.identity} answered what can't be read: {error.why}") from error
        try:
            return self._judged(attempt, peer, answer)
        except DiameterError as error:
            raise DiameterUnavailable(f"{peer.identity} answered what can't be read: {error.why}") from error

    def _judged(self, attempt: "Attempt", peer: Peer, answer: DiameterMessage) -> DiameterMessage | None:
        report = self._overload.heard(answer, peer.identity, peer.realm)
        if report is not None and report.percent:
            what = f"{peer.identity} is overloaded: {report.percent} % of the requests to it are not sent"
            self._local.context.notice("warning", what, "it said so itself (RFC 7683); look at what loads it")
        if not answer.is_error:
            return answer
        result = answer.need(d.RESULT_CODE)
        if result == Result.REDIRECT_INDICATION:
            self._follow(attempt, peer, answer)
            return None
        if result not in ELSEWHERE:
            return answer
        attempt.answer = answer
        return None

    def _follow(self, attempt: "Attempt", peer: Peer, answer: DiameterMessage) -> None:
        """RFC 6733 6.1.8: to one of the hosts that the agent named, if it is a peer of ours."""
        attempt.redirections += 1
        found = self._routes.redirect(attempt.message, attempt.host, attempt.realm, answer)
        if found and attempt.redirections <= limits.DIAMETER_REDIRECTIONS:
            attempt.redirected = found
            return
        attempt.over = True  # whoever else serves the realm does not have this user
        named = ", ".join(answer.every(d.REDIRECT_HOST)) or "nobody"
        attempt.why = f"{peer.identity} redirects to {named}, which is no connected peer"
        self._local.context.refused(Result.REDIRECT_INDICATION, attempt.why, "RFC 6733 6.1.8", source=peer.identity)


class Attempt:
    """One request on its way from peer to peer."""

    __slots__ = (
        "answer", "deadline", "host", "message", "others", "over",
        "realm", "redirected", "redirections", "tried", "why",
    )  # fmt: skip

    def __init__(self, message: DiameterMessage, host: str, realm: str, deadline: float) -> None:
        self.message = message
        self.host = host
        self.realm = realm
        self.deadline = deadline
        self.tried: list[Peer] = []
        self.others = 0
        self.redirected: list[Peer] = []
        self.redirections = 0
        self.over = False
        self.answer: DiameterMessage | None = None  # the last refusal
        self.why = f"no peer is connected that serves {host or realm}"

    def share(self) -> float:
        """Until when this try may take: all the time that is left, or half of it where another peer could answer."""
        if not self.others:
            return self.deadline
        now = asyncio.get_running_loop().time()
        return now + (self.deadline - now) / 2


async def _ask(peer: Peer, message: DiameterMessage, until: float) -> DiameterMessage:
    link = peer.link
    if link is None:
        raise LinkLost(peer.identity)
    future = link.ask(message)
    timer = asyncio.get_running_loop().call_at(until, _expire, future)
    try:
        return await future
    finally:
        timer.cancel()
        link.forget(message)


def _expire(future: "asyncio.Future[DiameterMessage]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())
