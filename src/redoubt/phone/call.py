"""A call of the test phone once it has a dialog (RFC 3261 12 to 15, RFC 3311): its requests, and the other side's.

How a call begins is in outgoing.py and incoming.py.
"""

import asyncio
from collections.abc import Callable
from enum import Enum

from redoubt.phone.acknowledgement import acknowledge, repeat_until
from redoubt.phone.dialog import Dialog
from redoubt.phone.line import ALLOW, T1_S, Line
from redoubt.phone.media import MEDIA_TYPE, Direction, MediaSide
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTENT_TYPE, RACK, RETRY_AFTER
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.service import Cancellation, Exchange

RTP_PORT = 49_170  # written in the descriptions of a phone without audio


class CallState(Enum):
    """Where a call stands."""

    INVITING = "inviting"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


class Call:
    """One call, of either direction. `status` is that of the final response; 0 before."""

    def __init__(self, line: Line, call_id: str, local_tag: str, other: str) -> None:
        loop = asyncio.get_running_loop()
        self.line = line
        self.call_id = call_id
        self.local_tag = local_tag
        self.other = other
        self.state = CallState.INVITING
        self.status = 0
        self.reason = ""
        self.dialog: Dialog | None = None  # the confirmed one, or the callee's
        self.early: dict[str, Dialog] = {}  # by the other side's tag (RFC 3261 12.1: forks)
        number = int.from_bytes(line.context.randomness.octets(4), "big")
        self.voice = line.voices.take(number) if line.voices is not None else None
        port = RTP_PORT if self.voice is None else self.voice.port
        self.media = MediaSide(line.flow.local[0], port, number)
        self.cancellation: Cancellation | None = None
        self.decide: Callable[[int], None] | None = None
        self.other_holds = False
        self.updates = 0
        self.never_acknowledged = False  # a 2xx of ours, for 64*T1 (RFC 3261 13.3.1.4)
        self._inviting = False
        self.unacknowledged: dict[int, asyncio.Future[None]] = {}  # 2xx by the CSeq of their INVITE
        self.unpracked: dict[int, asyncio.Future[None]] = {}  # reliable 1xx by RSeq
        self._ringing: asyncio.Future[None] = loop.create_future()
        self._decided: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        line.dialogs[(call_id, local_tag)] = self

    # ---- what a user sees and does

    async def rings(self) -> bool:
        """Waits until the other side rings or the call is decided; whether it rings or was answered."""
        await asyncio.wait([self._ringing, self._decided], return_when=asyncio.FIRST_COMPLETED)
        return self._ringing.done() or self.status < 300

    async def answered(self) -> bool:
        """Waits for the final response; whether it was an answer."""
        await asyncio.shield(self._decided)
        return 200 <= self.status < 300

    async def ended(self) -> None:
        """Waits until the call is over."""
        await asyncio.shield(self._ended)

    async def hang_up(self) -> None:
        """Ends the call in the way that its state asks for: CANCEL, a refusal, or BYE (RFC 3261 9, 15)."""
        if self.state is CallState.ENDED:
            return
        if self.state is CallState.ANSWERED:
            await self._acknowledged()
            if not self._ended.done():  # the other side may have been quicker
                await self._bye()
        elif self.cancellation is not None:
            self.cancellation.happen()
        elif self.decide is not None:
            self.decide(603)
        await self.ended()

    async def hold(self) -> bool:
        """Puts the other side on hold by a re-INVITE (RFC 3264 8.4); whether it agreed."""
        return await self.reinvite(Direction.SENDONLY)

    async def resume(self) -> bool:
        """Takes it off hold."""
        return await self.reinvite(Direction.SENDRECV)

    async def reinvite(self, direction: Direction) -> bool:
        """A re-INVITE (RFC 3261 14.1); again after a pause on glare (491), or when our ACK was lost (500).

        The other side repeats its 2xx for 64*T1, and may take any of our ACKs until then.
        """
        loop = asyncio.get_running_loop()
        gives_up = loop.time() + 64 * T1_S
        while True:
            began = loop.time()
            response = await self._reinvite_once(direction)
            after = response.first(RETRY_AFTER)
            if response.status == 491:
                await asyncio.sleep(2.1 + self.line.context.randomness.octets(1)[0] / 128)
            elif response.status == 500 and after is not None:
                await asyncio.sleep(after.seconds)
            else:
                break
            if began > gives_up or self.state is CallState.ENDED:
                break
        if response.status in (408, 481):
            self.finish(response.status, "the dialog is gone (RFC 3261 12.2.1.2)")
        return response.is_success

    async def update(self, direction: Direction = Direction.SENDRECV) -> bool:
        """An UPDATE with an offer (RFC 3311 5.1); whether it was taken."""
        request = self._require_dialog().request("UPDATE")
        self.describe(request, self.media.offer(direction))
        response = await self.line.send(request)
        if response.is_success:
            self.learn(response)
            self._require_dialog().refresh_target(response)
        return response.is_success

    # ---- the other side's requests in the dialog

    async def handle(self, request: Request, exchange: Exchange) -> Response | None:
        """A request of the other side within this call (RFC 3261 12.2.2)."""
        dialog = self._dialog_of(request)
        dialog.take(request)
        match request.method:
            case "ACK":
                acknowledge(self.unacknowledged.pop(request.cseq.number, None))
                return None
            case "BYE":
                return self._on_bye(request)
            case "PRACK":
                return self._on_prack(request)
            case "UPDATE":
                return self._on_offer(request, dialog)
            case "INVITE":
                return self._on_reinvite(request, dialog, exchange)
        return request.response(200)

    def _on_bye(self, request: Request) -> Response:
        if self.decide is not None and self.state is not CallState.ANSWERED:
            self.decide(487)  # RFC 3261 15.1.2: a BYE before the answer ends the INVITE too
        else:
            self.finish(self.status, "the other side hung up")
        return request.response(200)

    def _on_prack(self, request: Request) -> Response:
        """RFC 3262 3: PRACK is matched by RAck, and 481 if nothing waits for it."""
        rack = request.need(RACK)
        if rack.rseq not in self.unpracked:
            raise SipError(481, "a PRACK matches no provisional response", "RFC 3262 3")
        acknowledge(self.unpracked.pop(rack.rseq))
        return self._answered(request) if request.body else request.response(200)

    def _on_offer(self, request: Request, dialog: Dialog) -> Response:
        if self._inviting and self.state is CallState.ANSWERED:
            raise SipError(491, "an own re-INVITE is under way", "RFC 3311 5.2")
        self.updates += 1
        return self._answered(request)

    def _on_reinvite(self, request: Request, dialog: Dialog, exchange: Exchange) -> Response:
        """RFC 3261 14.2: one at a time in each direction."""
        if self._inviting:
            raise SipError(491, "an own re-INVITE is under way", "RFC 3261 14.2")
        if self.state is not CallState.ANSWERED or self.unacknowledged:
            raise SipError(500, "the earlier INVITE is not done", "RFC 3261 14.2", (("Retry-After", "3"),))
        response = self._answered(request)
        self.repeat_success(request, response, exchange)
        return response

    def _answered(self, request: Request) -> Response:
        """A 200 with an answer to the offer, if there is one; with an offer if the INVITE had none."""
        response = request.response(200, headers=(("Allow", ALLOW), ("Supported", "100rel")))
        response.set("Contact", str(self.line.contact))
        if request.body:
            check_media_type(request)
            self.describe(response, self.media.answer(request.body))
            self.speak()
            self.other_holds = self.media.direction in (Direction.RECVONLY, Direction.INACTIVE)
        elif request.method == "INVITE":
            self.describe(response, self.media.offer(self.media.direction))
        return response

    # ---- what the ways to begin a call share

    def rang(self) -> None:
        """The far phone rings, or this one does."""
        if self.state is CallState.INVITING:
            self.state = CallState.RINGING
        if not self._ringing.done():
            self._ringing.set_result(None)

    def decided(self, status: int, reason: str = "") -> None:
        """The final response to the INVITE."""
        self.status, self.reason = status, reason
        self.cancellation = self.decide = None
        if 200 <= status < 300:
            self.state = CallState.ANSWERED
        else:
            self.finish(status, reason)
        if not self._decided.done():
            self._decided.set_result(None)

    def finish(self, status: int, why: str) -> None:
        """The call is over; nothing of it stays."""
        self.status, self.reason, self.state = status, self.reason or why, CallState.ENDED
        self.line.dialogs.pop((self.call_id, self.local_tag), None)
        if self.voice is not None:
            self.voice.stop()
        for waiting in (*self.unacknowledged.values(), *self.unpracked.values()):
            waiting.cancel()
        for future in (self._decided, self._ended):
            if not future.done():
                future.set_result(None)

    def repeat_success(self, request: Request, response: Response, exchange: Exchange) -> None:
        """Sends a 2xx again until its ACK comes; without one the call ends with BYE (RFC 3261 13.3.1.4)."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = request.cseq.number
        self.unacknowledged[number] = acknowledged

        async def repeat() -> None:
            if not await repeat_until(acknowledged, lambda: exchange.upward(response.copy())):
                self.unacknowledged.pop(number, None)
                self.never_acknowledged = True
                if self.state is not CallState.ENDED:
                    await self._bye("no ACK came")

        async def start() -> None:
            self.line.context.start(repeat(), self.call_id)

        exchange.after_sent(start)

    async def acknowledge(self, dialog: Dialog, cseq: int) -> None:
        """ACK to a 2xx: a request of its own (RFC 3261 13.2.2.4)."""
        await self.line.acknowledge(dialog.request("ACK", cseq))

    async def release(self, dialog: Dialog) -> None:
        """BYE in a dialog that this call doesn't keep: another fork's answer, or one that crossed CANCEL."""
        await self.line.send(dialog.request("BYE"))

    def describe(self, message: Message, description: bytes) -> None:
        """Puts a session description and this phone's Contact into a message."""
        message.body = description
        message.set("Content-Type", MEDIA_TYPE)
        message.set("Contact", str(self.line.contact))

    def learn(self, response: Response) -> None:
        """Takes the other side's answer, and talks."""
        if response.body:
            self.media.learn(response.body)
            self.speak()

    def speak(self) -> None:
        """The voice goes where the descriptions have it, if anywhere."""
        if self.voice is not None and self.state is not CallState.ENDED:
            self.voice.talk(self.media.talks_to)

    # ---- inside

    async def _bye(self, why: str = "hung up") -> None:
        await self.line.send(self._require_dialog().request("BYE"))
        self.finish(self.status, why)

    async def _acknowledged(self) -> None:
        """A callee sends no BYE before the ACK to its 2xx, or before it gave up waiting (RFC 3261 15)."""
        if self.unacknowledged:
            await asyncio.wait(list(self.unacknowledged.values()), timeout=64 * T1_S)

    async def _reinvite_once(self, direction: Direction) -> Response:
        dialog = self._require_dialog()
        await self._acknowledged()
        request = dialog.request("INVITE")
        self.describe(request, self.media.offer(direction))
        request.add("Allow", ALLOW)
        number = request.cseq.number

        def again(response: Response) -> None:
            if response.is_success:
                self.line.context.start(self.acknowledge(dialog, number), self.call_id)

        self._inviting = True
        try:
            response = await self.line.send(request, self.line.exchange(again))
        finally:
            self._inviting = False
        if response.is_success:
            self.learn(response)
            dialog.refresh_target(response)
            await self.acknowledge(dialog, number)
        return response

    def _require_dialog(self) -> Dialog:
        if self.dialog is None or self.state is CallState.ENDED:
            raise SipError(481, "the call has no dialog", "RFC 3261 12.2.2")
        return self.dialog

    def _dialog_of(self, request: Request) -> Dialog:
        if self.dialog is not None and self.dialog.belongs(request):
            return self.dialog
        early = self.early.get(request.from_.tag or "")
        if early is not None and early.belongs(request):
            return early
        raise SipError(481, "the tags are of no dialog of this call", "RFC 3261 12.2.2")


def check_media_type(request: Request) -> None:
    """A body that isn't SDP can't be an offer (RFC 3261 8.2.3)."""
    content = request.first(CONTENT_TYPE)
    if content is None or content.media_type != MEDIA_TYPE:
        raise SipError(415, "the body is no session description", "RFC 3261 8.2.3", (("Accept", MEDIA_TYPE),))
