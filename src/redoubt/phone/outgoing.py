"""How a call begins at the caller: INVITE, early dialogs, PRACK, the ACK to each 2xx, CANCEL (TS 24.229 5.1.3)."""

from redoubt.phone.call import Call
from redoubt.phone.dialog import Dialog
from redoubt.phone.line import ALLOW, Line
from redoubt.sip.fields import REQUIRE, RSEQ
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Exchange

RING_LIMIT_S = 200.0  # a little more than timer C, so that the network decides first


class Outgoing:
    """One INVITE of this phone's, from its first octet to the last 2xx that it may bring."""

    def __init__(self, line: Line, target: str) -> None:
        self._line = line
        self._request = self._invite(line, target)
        self.call = Call(line, self._request.call_id, self._request.from_.tag or "", target)
        self.call.describe(self._request, self.call.media.offer())
        self._exchange: Exchange = line.exchange(self._on_response, RING_LIMIT_S)
        self.call.cancellation = self._exchange.cancelled
        self._last_rseq: dict[str, int] = {}
        self._cseq = self._request.cseq.number

    async def run(self) -> None:
        """Sends the INVITE and sees it through."""
        response = await self._line.send(self._request, self._exchange)
        if response.is_success:
            await self._take_answer(response)
        else:
            self.call.decided(response.status, response.reason)

    @staticmethod
    def _invite(line: Line, target: str) -> Request:
        request = line.request("INVITE", target)
        request.add("Supported", "100rel")
        request.add("Allow", ALLOW)
        request.add("Accept", "application/sdp")
        if line.profile.accept_contact:
            request.add("Accept-Contact", line.profile.accept_contact)
        return request

    def _on_response(self, response: Response) -> None:
        """A 1xx, or a 2xx after the first."""
        if response.is_success:
            self._line.context.start(self._take_answer(response), self.call.call_id)
            return
        tag = response.to.tag
        if tag is None:
            return
        dialog = self.call.early.get(tag)
        if dialog is None:
            dialog = self.call.early[tag] = Dialog.of_caller(self._request, response)
        self.call.learn(response)
        if response.status == 180:
            self.call.rang()
        rseq = response.first(RSEQ)
        if rseq is not None and "100rel" in response.every(REQUIRE):
            self._prack(dialog, rseq)

    def _prack(self, dialog: Dialog, rseq: int) -> None:
        """RFC 3262 4: each once, in their order; a repeated or early one is left to its repetition."""
        last = self._last_rseq.get(dialog.remote_tag)
        if last is not None and rseq != last + 1:
            return
        self._last_rseq[dialog.remote_tag] = rseq
        prack = dialog.request("PRACK")
        prack.add("RAck", f"{rseq} {self._cseq} INVITE")

        async def send() -> None:
            await self._line.send(prack)

        self._line.context.start(send(), self.call.call_id)

    async def _take_answer(self, response: Response) -> None:
        """ACK for every 2xx; BYE for a second fork, and for an answer that crossed our CANCEL (RFC 3261 13.2.2.4)."""
        call, tag = self.call, response.to.tag or ""
        if call.dialog is not None and call.dialog.remote_tag == tag:
            await call.acknowledge(call.dialog, self._cseq)  # repeated: our ACK was lost
            return
        dialog = call.early.get(tag) or Dialog.of_caller(self._request, response)
        dialog.route_set = Dialog.of_caller(self._request, response).route_set  # RFC 3261 13.2.2.4: made again
        dialog.refresh_target(response)
        if call.dialog is not None:
            await call.acknowledge(dialog, self._cseq)
            await call.release(dialog)
            return
        call.dialog, cancelled = dialog, self._exchange.cancelled.happened
        call.learn(response)
        call.decided(response.status, response.reason)
        await call.acknowledge(dialog, self._cseq)
        if cancelled:
            await call.hang_up()
