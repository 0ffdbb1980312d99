"""The control socket: how commands reach a running network. A line of JSON each way, on a Unix socket of mode 0600.

The answer to some commands is a feed: a line for each item, until either end has enough.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from redoubt.limits import CONTROL_LINE_OCTETS

Command = Callable[[dict[str, Any]], Awaitable[Any]]


class ControlError(Exception):
    """What a command could not do, in words for the person who gave it."""


class NotRunning(ControlError):
    """Nobody serves that control socket."""


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:  # events quote what peers sent, which may be no UTF-8
        return msgspec.json.encode(_readable(answer))


def _readable(value: Any) -> Any:
    """The same with a question mark for each octet that is not UTF-8."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {key: _readable(item) for key, item in value.items()}
        case list() | tuple():
            return [_readable(item) for item in value]
    return value


class ControlServer:
    """Serves named commands. Who may open the socket may do everything: it lives in the state directory."""

    def __init__(self, path: Path, commands: dict[str, Command]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._feeds: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=CONTROL_LINE_OCTETS)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for feed in list(self._feeds):
            feed.cancel()
        await asyncio.gather(*self._feeds, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            answer = await self._answered(line)
            result = answer.get("result")
            if isinstance(result, AsyncGenerator):
                await self._feed(result, reader, writer)
            else:
                writer.write(_encoded(answer) + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # too long a line, or the other end went away: nobody is left to answer
        finally:
            writer.close()

    async def _feed(
        self, items: AsyncGenerator[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Ends when the other end closes, which is all that it has to say."""
        feed = asyncio.get_running_loop().create_task(_hand_on(items, writer))
        self._feeds.add(feed)
        feed.add_done_callback(self._feeds.discard)
        over = asyncio.get_running_loop().create_task(reader.read(1))
        await asyncio.wait((feed, over), return_when=asyncio.FIRST_COMPLETED)
        for task in (feed, over):
            task.cancel()
        await asyncio.gather(feed, over, return_exceptions=True)

    async def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            asked = msgspec.json.decode(line, type=dict[str, Any])
            command = self._commands[str(asked.pop("command", ""))]
        except (msgspec.DecodeError, KeyError):
            return {"error": f"no such command; known are {', '.join(sorted(self._commands))}"}
        try:
            return {"result": await command(asked)}
        except ControlError as error:
            return {"error": str(error)}


async def _hand_on(items: AsyncGenerator[Any], writer: asyncio.StreamWriter) -> None:
    async with aclosing(items):
        async for item in items:
            writer.write(_encoded({"result": item}) + b"\n")
            await writer.drain()


async def ask(path: Path, command: str, **arguments: Any) -> Any:
    """Sends one command to the network that runs there. Raises ControlError with what to do."""
    reader, writer = await _asking(path, command, arguments)
    try:
        line = await reader.readline()
    finally:
        writer.close()
    return _result(line or b'{"error": "the network closed the connection without an answer"}')


async def follow(path: Path, command: str, **arguments: Any) -> AsyncIterator[Any]:
    """The items of a feed, until the network there stops. Raises ControlError with what to do."""
    reader, writer = await _asking(path, command, arguments)
    try:
        while line := await reader.readline():
            yield _result(line)
    finally:
        writer.close()


async def _asking(
    path: Path, command: str, arguments: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=CONTROL_LINE_OCTETS)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(f"no network is running (nothing answers at {path}); start it with `redoubt up`") from None
    except PermissionError:
        raise ControlError(
            f"{path} belongs to another user; run the command as the one who runs `redoubt up`"
        ) from None
    writer.write(msgspec.json.encode({"command": command, **arguments}) + b"\n")
    return reader, writer


def _result(line: bytes) -> Any:
    answer = msgspec.json.decode(line, type=dict[str, Any])
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer["result"]
