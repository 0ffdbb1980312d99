"""Cx between processes of one machine, over a Unix socket of mode 0600 in the state directory.

The same interface as in one process, so that `redoubt up --only ...` may split a network in any way on one host. Hosts
apart need Diameter.
A frame is a length of four octets and a msgpack array [number, method or None, arguments or answer].
"""

import asyncio
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from redoubt.diameter.cx import (
    CxClient,
    HssUnavailable,
    LocationInfoAnswer,
    MultimediaAuthAnswer,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    Resynchronisation,
    ServerAssignmentAnswer,
    ServerAssignmentType,
    UserAuthorizationAnswer,
    UserAuthorizationType,
    UserProfile,
)
from redoubt.hss.hss import Hss
from redoubt.limits import CX_FRAME_OCTETS
from redoubt.secret import Secret
from redoubt.sip.service import Context

T = TypeVar("T")
ANSWER_TIMEOUT_S = 5.0
RECONNECT_S = 0.5
CLOSE_S = 1.0  # for connections to notice that they are closed


def _encoded(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()  # the socket's owner is the HSS's owner
    raise TypeError(type(value).__name__)


def _decoded(kind: type, value: Any) -> Any:
    return Secret(value) if kind is Secret else value


class _Link:
    """One connection: numbered questions both ways, each answered once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    async def ask(self, method: str, arguments: list[Any], kind: type[T]) -> T:
        self._number = number = self._number + 1
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send(number, method, arguments)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await waiting
        except TimeoutError:
            raise HssUnavailable(f"no answer to {method} within {ANSWER_TIMEOUT_S:.0f} s") from None
        finally:
            self._waiting.pop(number, None)
        return msgspec.convert(answer, kind, dec_hook=_decoded)

    def send(self, number: int, method: str | None, value: Any) -> None:
        frame = msgspec.msgpack.encode([number, method, value], enc_hook=_encoded)
        self._writer.write(len(frame).to_bytes(4, "big") + frame)

    async def questions(self) -> Any:
        """Yields what the other side asks, until it goes away; answers go to whoever waits for them."""
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(4), "big")
                if length > CX_FRAME_OCTETS:
                    return
                number, method, value = msgspec.msgpack.decode(
                    await self._reader.readexactly(length), type=tuple[int, str | None, Any]
                )
                if method is not None:
                    yield number, method, value
                elif (waiting := self._waiting.get(number)) is not None and not waiting.done():
                    waiting.set_result(value)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            return
        finally:
            self.close()

    @property
    def is_closed(self) -> bool:
        return self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(HssUnavailable("the HSS process went away"))


class CxServer:
    """Offers the HSS of this process to the CSCFs of others."""

    def __init__(self, context: Context, hss: Hss, path: Path) -> None:
        self._context, self._hss, self._path = context, hss, path
        self._server: asyncio.Server | None = None
        self._links: dict[_Link, asyncio.Task[None] | None] = {}

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        finally:
            os.umask(mask)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        serving = [task for task in self._links.values() if task is not None]
        for link in list(self._links):
            link.close()
        if serving:
            await asyncio.wait(serving, timeout=CLOSE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(reader, writer)
        self._links[link] = asyncio.current_task()
        async for number, method, arguments in link.questions():
            self._context.start(self._answer(link, number, method, arguments))
        self._links.pop(link, None)

    async def _answer(self, link: _Link, number: int, method: str, arguments: list[Any]) -> None:
        hss = self._hss
        match method, arguments:
            case "attach", [str(name)]:
                hss.attach(name, _RemoteCscf(link))
                answer: Any = True
            case "UAR", [impi, impu, visited, kind]:
                answer = await hss.user_authorization(impi, impu, visited, UserAuthorizationType(kind))
            case "MAR", [impi, impu, name, count, resync]:
                resynchronisation = msgspec.convert(resync, Resynchronisation | None)
                answer = await hss.multimedia_auth(impi, impu, name, count, resynchronisation)
            case "SAR", [impi, impu, name, kind, want, kept]:
                answer = await hss.server_assignment(
                    impi,
                    impu,
                    name,
                    ServerAssignmentType(kind),
                    want_profile=want,
                    restoration=msgspec.convert(kept, RestorationInfo | None),
                )
            case "LIR", [impu, originating]:
                answer = await hss.location_info(impu, originating=originating)
            case _:
                self._context.notice("warning", f"a CSCF process asked for {method}, which is unknown here")
                return
        link.send(number, None, answer)


class _RemoteCscf:
    """The S-CSCF of another process, as the HSS sees it."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        return await self._link.ask("RTR", [request], ResultCode)

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        return await self._link.ask("PPR", [profile], ResultCode)


class CxConnection:
    """The HSS of another process, as a CSCF sees it: connects when first asked, and again after a loss."""

    def __init__(self, context: Context, path: Path) -> None:
        self._context, self._path = context, path
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._client: tuple[str, CxClient] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def attach(self, server_name: str, client: CxClient) -> None:
        """Makes this S-CSCF reachable for RTR and PPR, now and after each reconnection."""
        self._client = (server_name, client)
        self._keep(self._stay_connected())

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._link is not None:
            self._link.close()

    async def user_authorization(
        self, impi: str, impu: str, visited_network: str, authorization_type: UserAuthorizationType
    ) -> UserAuthorizationAnswer:
        arguments = [impi, impu, visited_network, int(authorization_type)]
        return await (await self._connected()).ask("UAR", arguments, UserAuthorizationAnswer)

    async def multimedia_auth(
        self, impi: str, impu: str, server_name: str, count: int, resynchronisation: Resynchronisation | None = None
    ) -> MultimediaAuthAnswer:
        arguments = [impi, impu, server_name, count, resynchronisation]
        return await (await self._connected()).ask("MAR", arguments, MultimediaAuthAnswer)

    async def server_assignment(
        self,
        impi: str,
        impu: str,
        server_name: str,
        assignment_type: ServerAssignmentType,
        *,
        want_profile: bool = True,
        restoration: RestorationInfo | None = None,
    ) -> ServerAssignmentAnswer:
        arguments = [impi, impu, server_name, int(assignment_type), want_profile, restoration]
        return await (await self._connected()).ask("SAR", arguments, ServerAssignmentAnswer)

    async def location_info(self, impu: str, *, originating: bool = False) -> LocationInfoAnswer:
        return await (await self._connected()).ask("LIR", [impu, originating], LocationInfoAnswer)

    async def _connected(self) -> _Link:
        if self._link is not None:
            return self._link
        async with self._connecting:
            if self._link is None:
                self._link = await self._connect()
            return self._link

    async def _connect(self) -> _Link:
        try:
            link = _Link(*await asyncio.open_unix_connection(str(self._path)))
        except (FileNotFoundError, ConnectionRefusedError):
            raise HssUnavailable(f"no HSS process answers at {self._path}") from None
        self._keep(self._listen(link))
        if self._client is not None:
            await link.ask("attach", [self._client[0]], bool)
        if link.is_closed:
            raise HssUnavailable("the HSS process went away")
        return link

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._connected()
            except HssUnavailable:
                pass  # tried again below; whoever asks meanwhile is told
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self, link: _Link) -> None:
        async for number, method, arguments in link.questions():
            self._context.start(self._told(link, number, method, arguments))
        if self._link is link:
            self._link = None
            self._context.notice(
                "alarm", "the HSS process went away", "start it again; it is asked anew at the next request"
            )

    async def _told(self, link: _Link, number: int, method: str, arguments: list[Any]) -> None:
        if self._client is None:
            return
        client = self._client[1]
        if method == "RTR":
            termination = msgspec.convert(arguments[0], RegistrationTermination)
            link.send(number, None, await client.registration_termination(termination))
        elif method == "PPR":
            link.send(number, None, await client.push_profile(msgspec.convert(arguments[0], UserProfile)))

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
