"""The raw endpoint of these tests under IPsec: what it says after the challenge goes by its associations.

It agrees as an honest phone does, and says what a test tells it within.
"""

import asyncio
from typing import Any, Self

from redoubt.aka.isim import Success
from redoubt.aka.nonce import AkaNonce
from redoubt.events import EventStream
from redoubt.gm.association_set import AssociationSet
from redoubt.phone.gm import GmOptions, PhoneGm
from redoubt.secret import Secret
from redoubt.sip.fields import CONTACT, WWW_AUTHENTICATE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.credentials import Credentials
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Address, Flow

from .client import Card, Client, fresh


class EspClient(Client):
    """One phone with a card, a socket for its first REGISTER and a way for ESP for all else."""

    gm: PhoneGm
    offered: str = ""
    made: AssociationSet | None = None

    @classmethod
    async def under(cls, card: Card, server: Address, options: GmOptions, host: str) -> Self:
        client = await cls.open(card, server, host)
        clock = Clock(asyncio.get_running_loop())
        context = Context("ue", EventStream(), clock, SystemRandomness())
        client.gm = PhoneGm(context, card.impi, fresh("instance"), options)
        await client.gm.open(client.address[0], server[0], client._came)
        client.address = (client.address[0], client.gm.port)
        return client

    def close(self) -> None:
        super().close()
        self.gm.close()

    def _came(self, data: bytes, _flow: Flow) -> None:
        self.datagram_received(data, ("", 0))

    def send(self, message: Request | Response | bytes, to: Address | None = None) -> None:
        carrier = self.gm.carrier()
        if isinstance(message, Request) and message.method == "REGISTER":
            carrier = (self.made or carrier) if message.has("Security-Verify") else None
        if to is not None or carrier is None or carrier.flow is None:
            super().send(message, to)
        else:
            carrier.flow.send(message if isinstance(message, bytes) else message.to_bytes())

    def register(self, authorization: Credentials | None = None, *more: tuple[str, str], **other: str) -> Request:
        request = super().register(authorization, *more, **other)
        nonce = authorization.param("nonce") if authorization is not None else ""
        if self.made is not None and nonce:
            self.gm.repeat(request, self.made)
        else:
            self.made = None
            self.offered = self.gm.offer(request, self.gm.carrier())
        return request

    def answer(self, challenge: Response | None = None, password: Secret | None = None) -> Credentials:
        self.outcome = None
        if self.made is not None:  # an answer that was not sent
            self.gm.failed(self.made)
            self.made = None
        asked = challenge or self.challenge
        credentials = super().answer(challenge, password)
        if password is not None and asked is not None:  # a wrong response, and the keys of the right one
            nonce = AkaNonce.parse(asked.need(WWW_AUTHENTICATE).param("nonce") or "")
            self.outcome = self.card.isim.authenticate(nonce.rand, nonce.autn)
        if isinstance(self.outcome, Success) and asked is not None and not credentials.param("auts"):
            nonce = asked.need(WWW_AUTHENTICATE).param("nonce") or ""
            self.made = self.gm.keyed(self.offered, asked, self.outcome, nonce, self.gm.carrier())
        return credentials

    def took(self, message: Request | Response) -> None:
        if isinstance(message, Response) and message.is_final and message.cseq.method == "REGISTER":
            self._judged(message)
        super().took(message)

    def _judged(self, response: Response) -> None:
        made, carrier = self.made, self.made or self.gm.carrier()
        mine = [one for one in response.every(CONTACT) if isinstance(one, NameAddr)]
        lifetimes: list[Any] = [one.expires or 0 for one in mine if f"<{one.uri}>" == self.contact]
        if response.is_success and carrier is not None and any(lifetimes):
            self.gm.registered(carrier, str(response.to.uri), max(lifetimes))
        elif response.status != 401 and made is not None:
            self.gm.failed(made)
        if response.is_success and not lifetimes:
            self.gm.deregistered()
        if response.status != 401:
            self.made = None
