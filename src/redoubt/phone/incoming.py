"""How a call begins at the callee: ringing, reliably where asked, and then the answer (TS 24.229 5.1.4)."""

import asyncio
from dataclasses import dataclass

from redoubt.phone.acknowledgement import repeat_until
from redoubt.phone.call import Call, check_media_type
from redoubt.phone.dialog import Dialog
from redoubt.phone.line import ALLOW, Line
from redoubt.phone.media import MEDIA_TYPE
from redoubt.sip.fields import REQUIRE, SUPPORTED
from redoubt.sip.message import Request, Response
from redoubt.sip.reasons import REASONS
from redoubt.sip.service import Exchange


@dataclass(frozen=True, slots=True)
class Answering:
    """What the phone does with a call: answers with `status` after ringing for `ring_s`; 0 leaves it to the user.

    486 is busy, 603 declines. A call that nobody decides ends with 480 after `patience_s`.
    """

    status: int = 200
    ring_s: float = 0.0
    patience_s: float = 60.0
    reliable: bool = True


class Incoming:
    """One INVITE of somebody else's."""

    def __init__(self, line: Line, request: Request, exchange: Exchange, answering: Answering) -> None:
        if request.body:
            check_media_type(request)
        tag = line.context.tag()
        first_cseq = int.from_bytes(line.context.randomness.octets(2), "big") + 1
        dialog = Dialog.of_callee(request, tag, first_cseq)
        self._line = line
        self._request = request
        self._exchange = exchange
        self._answering = answering
        self._rseq = first_cseq
        self.call = Call(line, request.call_id, tag, request.from_.uri.aor)
        self.call.dialog = dialog
        self._verdict: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.call.decide = self.decide

    def decide(self, status: int) -> None:
        """The user's, the caller's or the clock's word on the call: the first one counts."""
        if not self._verdict.done():
            self._verdict.set_result(status)

    async def run(self) -> Response:
        """Rings and answers: the final response."""
        response = None
        try:
            status = await self._ring()
            response = self._response(status)
        finally:
            if response is None:  # refused for what it asks, or a bug: either way no call stays behind
                self.call.finish(500, "the call could not be taken")
        self.call.decided(status, response.reason)
        if response.is_success:
            self.call.repeat_success(self._request, response, self._exchange)
        return response

    async def _ring(self) -> int:
        answering, loop = self._answering, asyncio.get_running_loop()
        if answering.status >= 300 and not answering.ring_s:
            return answering.status
        forget = self._exchange.cancelled.then(lambda: self.decide(487))
        timers = [loop.call_later(answering.patience_s, self.decide, 480)]
        if answering.status and answering.ring_s:
            timers.append(loop.call_later(answering.ring_s, self.decide, answering.status))
        try:
            await self._alert()
            if answering.status and not answering.ring_s:
                self.decide(answering.status)
            return await self._verdict
        finally:
            forget()
            for timer in timers:
                timer.cancel()

    async def _alert(self) -> None:
        """180 Ringing; reliable if the caller requires it or can do it and we want it (RFC 3262 3)."""
        ringing = self._request.response(
            180, to_tag=self.call.local_tag, headers=(*self._dialog_headers(), ("Allow", ALLOW))
        )
        self.call.rang()
        required = "100rel" in self._request.every(REQUIRE)
        if not required and not (self._answering.reliable and "100rel" in self._request.every(SUPPORTED)):
            self._exchange.upward(ringing)
            return
        ringing.add("Require", "100rel")
        ringing.add("RSeq", str(self._rseq))
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call.unpracked[self._rseq] = acknowledged
        self._verdict.add_done_callback(lambda _: acknowledged.cancel())
        self._exchange.upward(ringing.copy())
        # A 2xx must not overtake an unacknowledged reliable response with a description; ours waits in any case.
        pracked = await repeat_until(acknowledged, lambda: self._exchange.upward(ringing.copy()))
        if not pracked and not self._verdict.done():  # after a verdict the PRACK may still be on its way
            self.call.unpracked.pop(self._rseq, None)
            self.decide(504)  # RFC 3262 3: a 5xx if no PRACK ever comes

    def _response(self, status: int) -> Response:
        if status >= 300:
            return self._request.response(status, REASONS.get(status), to_tag=self.call.local_tag)
        headers = (*self._dialog_headers(), ("Allow", ALLOW), ("Supported", "100rel"), ("Accept", MEDIA_TYPE))
        response = self._request.response(status, to_tag=self.call.local_tag, headers=headers)
        media = self.call.media
        self.call.describe(response, media.answer(self._request.body) if self._request.body else media.offer())
        self.call.speak()
        return response

    def _dialog_headers(self) -> tuple[tuple[str, str], ...]:
        """What makes a response make a dialog (RFC 3261 12.1.1)."""
        routes = [("Record-Route", line) for line in self._request.all("Record-Route")]
        return (*routes, ("Contact", str(self._line.contact)))
