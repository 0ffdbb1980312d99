"""Serves the REST API over HTTP or HTTPS, in the loop of the HSS: uvicorn's protocol on a server of our own.

Plain HTTP would show the token and keys to the network, so it is for loopback only.
"""

import asyncio
import logging
import ssl
from functools import partial
from pathlib import Path
from typing import Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from redoubt.config import ConfigError, HssConfig
from redoubt.hss.administration import Administration
from redoubt.hss.rest import Api
from redoubt.hss.rest_gate import Gate
from redoubt.hss.rest_token import read_token_file
from redoubt.limits import HSS_REST_CONNECTIONS, HSS_REST_HEADER_OCTETS, HSS_REST_REQUEST_S
from redoubt.sip.service import Context
from redoubt.transport.flow import Address
from redoubt.transport.listen import is_loopback


class RestServer:
    """One listening socket; made by `start`, ended by `close`."""

    def __init__(self, server: asyncio.Server, state: ServerState, address: Address) -> None:
        self._server = server
        self._state = state
        self.address = address

    @classmethod
    async def start(
        cls, context: Context, config: HssConfig, realm: str, directory: Path, administration: Administration
    ) -> Self:
        """Raises ConfigError, and OSError if the address can't be had."""
        scheme, host, port = _address(config.rest)
        tls = _tls(scheme, host, config, directory)
        token = read_token_file(directory / config.rest_token_file)
        app = Gate(Api(context, realm, administration).app, token, context)
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", proxy_headers=False, server_header=False,
            date_header=False, limit_concurrency=HSS_REST_CONNECTIONS, timeout_keep_alive=HSS_REST_REQUEST_S,
            h11_max_incomplete_event_size=HSS_REST_HEADER_OCTETS,
        )  # fmt: skip
        settings.load()
        # What strangers send wrong is no news for standard error; our own faults are events (rest.py).
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())
        state = ServerState()
        make = partial(_Connection, settings, state, {})
        server = await asyncio.get_running_loop().create_server(make, host, port, ssl=tls)
        bound = server.sockets[0].getsockname()
        return cls(server, state, (bound[0], bound[1]))

    async def close(self) -> None:
        """What is being answered ends first, but nobody is waited for long."""
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks), timeout=1.0)
        for task in list(self._state.tasks):
            task.cancel()


class _Connection(H11Protocol):
    """A connection that sends no whole request in time is closed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HSS_REST_REQUEST_S, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def _address(text: str) -> tuple[str, str, int]:
    scheme, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme not in ("http", "https") or not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"hss.rest: {text!r} is not SCHEME:HOST:PORT; write for example http:127.0.0.1:8088")
    return scheme, host.strip("[]"), int(port)


def _tls(scheme: str, host: str, config: HssConfig, directory: Path) -> ssl.SSLContext | None:
    if scheme == "http":
        if not is_loopback(host):
            raise ConfigError(
                f"hss.rest: http to {host} would show the token and keys; write https, with hss.rest-certificate and"
                " hss.rest-key, or listen on 127.0.0.1"
            )
        return None
    if not config.rest_certificate or not config.rest_key:
        raise ConfigError("hss.rest: https needs hss.rest-certificate and hss.rest-key (PEM files)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(directory / config.rest_certificate, directory / config.rest_key)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigError(f"hss.rest-certificate, hss.rest-key: can't be loaded: {fault}") from None
    return context
