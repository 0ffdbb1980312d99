"""charon's control socket: strongSwan's VICI protocol, with the codec of its `vici` package.

The package's own session blocks; here asyncio reads and writes, so that no thread is needed. One `Vici` is one
connection: requests one after the other, or events, not both.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from vici.exception import DeserializationException  # type: ignore[import-untyped]
from vici.protocol import Message, Packet  # type: ignore[import-untyped]

from redoubt.limits import VICI_MESSAGE_OCTETS

LENGTH_OCTETS = 4
Tree = dict[str, Any]  # sections in sections, lists and texts


class ViciError(Exception):
    """charon refused what it was asked, or ended the conversation."""


class Vici:
    """A connection to a charon. Raises ViciError and OSError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: str) -> Self:
        return cls(*await asyncio.open_unix_connection(path))

    def close(self) -> None:
        self._writer.close()

    async def request(self, command: str, message: Mapping[str, Any] | None = None) -> Tree:
        """The answer. Raises ViciError with charon's words when it says no."""
        await self._send(Packet.request(command, None if message is None else Message.serialize(message)))
        kind, _, answer = await self._receive()
        return _accepted(command, kind, answer)

    async def streamed(self, command: str, event: str, message: Mapping[str, Any] | None = None) -> list[Tree]:
        """What a command tells as events, one an item (list-sas: list-sa)."""
        await self._register(event)
        await self._send(Packet.request(command, None if message is None else Message.serialize(message)))
        items = []
        while True:
            kind, _, tree = await self._receive()
            if kind != Packet.EVENT:
                break
            items.append(tree)
        _accepted(command, kind, tree)
        await self._send(Packet.unregister_event(event))
        await self._receive()
        return items

    async def events(self, *names: str) -> AsyncIterator[tuple[str, Tree]]:
        """What happens, by name, until the connection ends."""
        for name in names:
            await self._register(name)
        while True:
            kind, name, tree = await self._receive()
            if kind == Packet.EVENT:
                yield name, tree

    async def _register(self, event: str) -> None:
        await self._send(Packet.register_event(event))
        while True:
            kind, _, _ = await self._receive()
            if kind == Packet.EVENT_CONFIRM:
                return
            if kind != Packet.EVENT:  # of those that were registered before
                raise ViciError(f"charon knows no event {event}")

    async def _send(self, packet: bytes) -> None:
        self._writer.write(len(packet).to_bytes(LENGTH_OCTETS, "big") + packet)
        await self._writer.drain()

    async def _receive(self) -> tuple[int, str, Tree]:
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_OCTETS), "big")
            if length > VICI_MESSAGE_OCTETS:
                raise ViciError(f"charon sends {length} octets at once")
            packet = Packet.parse(await self._reader.readexactly(length))
            tree = _readable(Message.deserialize(packet.payload))
        except asyncio.IncompleteReadError:
            raise ViciError("charon closed its control socket") from None
        except (DeserializationException, UnicodeDecodeError) as error:
            raise ViciError(f"charon's message can't be read: {error}") from None
        name = packet.event_type.decode() if packet.response_type == Packet.EVENT else ""
        return packet.response_type, name, tree


def _accepted(command: str, kind: int, answer: Tree) -> Tree:
    if kind != Packet.CMD_RESPONSE:
        raise ViciError(f"charon knows no command {command}; a plug-in may lack")
    if answer.get("success", "yes") != "yes":
        raise ViciError(answer.get("errmsg", f"{command} failed"))
    return answer


def _readable(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "replace")
        case dict():
            return {key: _readable(item) for key, item in value.items()}
        case list():
            return [_readable(item) for item in value]
    return value
