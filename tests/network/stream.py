"""A raw TCP connection for tests: octets out in whatever pieces a test chooses, messages in."""

import asyncio
from typing import Self

from tests.namespaces import phone_at

from redoubt.sip.framing import BrokenStream, StreamFramer
from redoubt.sip.message import Request, Response
from redoubt.transport.flow import Address

from .client import Card, Client

WAIT_S = 30.0


class Stream(Client):
    """A client whose wire is one TCP connection. Retells nothing, answers nothing by itself."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _framer: StreamFramer
    _listening: asyncio.Task[None]

    @classmethod
    async def connected(cls, card: Card, server: Address, host: str = "127.0.0.1") -> Self:
        stream = cls(card, server)
        local = phone_at(host, is_ipv6=":" in server[0]), 0
        stream.reader, stream.writer = await asyncio.open_connection(*server, local_addr=local)
        stream.address = stream.writer.get_extra_info("sockname")[:2]
        stream._framer = StreamFramer()
        stream._listening = asyncio.get_running_loop().create_task(stream._listen())
        return stream

    async def _listen(self) -> None:
        try:
            while data := await self.reader.read(65536):
                self._take(data)
        except ConnectionError:
            return

    def _take(self, data: bytes) -> None:
        try:
            found = self._framer.feed(data)
        except BrokenStream as broken:
            found = broken.before
            self.unreadable.append(data)
        for item in found:
            if isinstance(item, Request | Response):
                self.took(item)

    def via(self, host: str | None = None, port: int | None = None) -> str:
        return super().via(host, port).replace("SIP/2.0/UDP", "SIP/2.0/TCP")

    @property
    def contact(self) -> str:
        return super().contact.replace(">", ";transport=tcp>")

    def send(self, message: Request | Response | bytes, to: Address | None = None) -> None:
        self.writer.write(message if isinstance(message, bytes) else message.to_bytes())

    async def is_closed(self, wait_s: float = WAIT_S) -> bool:
        """Whether the other side ends the connection in time."""
        done, _ = await asyncio.wait([self._listening], timeout=wait_s)
        return bool(done)

    def close(self) -> None:
        self._listening.cancel()
        self.writer.close()
