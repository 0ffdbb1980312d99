"""A call between two raw phones, set up by hand so that a test holds every tag and route of it."""

from dataclasses import dataclass

from redoubt.events import Bug, Deregistered
from redoubt.sip.message import Request, Response

from .client import Client
from .home import Home

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
AS_SDP = ("Content-Type", "application/sdp")


@dataclass
class Call:
    """An established dialog, as each side sees it."""

    caller: Client
    callee: Client
    invite: Request  # as the callee got it, with the To tag of its answer
    accepted: Response  # the 200, as the caller got it

    def from_caller(self, method: str, cseq: int = 2, *more: tuple[str, str]) -> Request:
        return self.caller.within(self.accepted, method, cseq, *more)

    def from_callee(self, method: str, cseq: int = 1, *more: tuple[str, str]) -> Request:
        return self.callee.within(self.invite, method, cseq, *more)

    async def lives(self) -> bool:
        """Whether a request of the caller still reaches the callee and is answered."""
        asked = self.from_caller("INFO", 50)
        self.caller.send(asked)
        self.callee.respond(await self.callee.request("INFO"), 200)
        return (await self.caller.final(asked)).status == 200


async def call(caller: Client, callee: Client) -> Call:
    """INVITE, 180, 200, ACK."""
    invite = caller.make("INVITE", callee.card.impu, None, AS_SDP, body=SDP)
    caller.send(invite)
    received = await callee.request("INVITE")
    callee.respond(received, 180)
    accepted = callee.respond(received, 200, AS_SDP)
    received.set("To", accepted.get("To") or "")
    answer = await caller.final(invite)
    assert answer.status == 200, repr(answer)
    made = Call(caller, callee, received, answer)
    caller.send(made.from_caller("ACK", 1))
    await callee.request("ACK")
    return made


async def pair(net: Home) -> tuple[Client, Client]:
    """Alice and Bob, registered."""
    return await net.registered("alice"), await net.registered("bob")


async def unharmed(net: Home, sender: Client, receiver: Client) -> None:
    """Nobody lost a registration, nothing crashed, calls arrive."""
    request = sender.make("MESSAGE", receiver.card.impu)
    sender.send(request)
    receiver.respond(await receiver.request("MESSAGE"), 200)
    assert (await sender.final(request)).status == 200
    assert not net.events(Bug), net.events(Bug)[0].traceback
    assert not net.events(Deregistered)
