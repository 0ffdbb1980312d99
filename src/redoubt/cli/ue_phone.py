"""How `redoubt ue` gets at a phone: its SIM file, its way to the P-CSCF, its end by a signal."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redoubt.cli.output import opened
from redoubt.cli.ue_discovery import discovered
from redoubt.config import Config, ConfigError, GmPath
from redoubt.events import EventStream
from redoubt.gm.paths import Lacking
from redoubt.gm.udp_tunnel import PORT
from redoubt.network.gm import policy_of
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import REDOUBT, PhoneProfile
from redoubt.phone.sim_file import SimFile, read_sim_file, write_sim_file
from redoubt.sip.errors import SipError
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import FlowFailed, Zone
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings
from redoubt.transport.tls import phone as trusting

PING = b"\r\n\r\n"  # RFC 5626 4.4.1; a P-CSCF may leave it unanswered
REFUSAL_S = 0.05  # within which a host says that nobody has the port; loopback says so at once


@asynccontextmanager
async def opened_phone(
    sim: str,
    proxy: str | None,
    config_path: Path,
    *,
    ipsec: bool,
    profile: PhoneProfile = REDOUBT,
    flight_mode: bool = False,
    discover: str | None = None,
    gm_path: GmPath | None = None,
) -> AsyncIterator[Phone]:
    """The phone of a SIM, open. Its card and ports go back into the file, whatever happened. Raises ConfigError."""
    path, config = _sim_path(sim, config_path)
    card = read_sim_file(path)
    if flight_mode:
        card.answer_others()
    ways = [_Way(_proxy(proxy or _proxy_of(config)), {})] if discover is None else [
        _Way(place.uri, place.route) for place in await discovered(discover, card.realm, config)
    ]  # fmt: skip
    end_on_signals()
    gm_of = partial(_gm, card, config, gm_path) if ipsec else None
    for way in ways:
        try:
            phone = await _opened(way, card, config, gm_of, profile, path)
            break
        except ConfigError:  # the next of the list is tried (TS 24.229 5.1.1.2)
            if way is ways[-1]:
                raise
    try:
        yield phone
    finally:
        card.sequence, card.port = list(phone.identity.isim.state), phone.line.flow.local[1]
        card.instance = phone.line.instance
        card.protected_port = phone.line.gm.port if phone.line.gm is not None else card.protected_port
        write_sim_file(path, card)
        await phone.close()


@dataclass(frozen=True, slots=True)
class _Way:
    """To a P-CSCF, and what the phone's resolver need not ask."""

    to: SipUri
    routes: dict[str, str]


async def _opened(
    way: _Way,
    card: SimFile,
    config: Config | None,
    gm_of: Callable[[bool], GmOptions | None] | None,
    profile: PhoneProfile,
    path: Path,
) -> Phone:
    """A phone with a flow to that P-CSCF. Raises ConfigError."""
    to = way.to
    own_host = await asyncio.to_thread(_own_host, to, way.routes)
    gm = gm_of(":" in own_host) if gm_of is not None and _transport(to) != "tls" else None
    phone = _phone(card, way, _trust(to, config), gm, profile)
    listen = f"udp:{own_host}:{card.port}" if _transport(to) == "udp" else f"tcp:{own_host}:0"
    try:
        await phone.open(listen)
        await phone.line.find_voice()
    except OSError as error:
        await phone.close()
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(f"the phone can't open {listen}: {error.strerror or error}") from error
        raise ConfigError(f"the phone's port {card.port} is taken; does another `redoubt ue` use {path}?") from error
    except Lacking as lacking:
        await phone.close()
        raise ConfigError(f"--path: {lacking}") from lacking
    except FlowFailed as fault:
        await phone.close()
        trust = " Does [network] authority hold who signed its certificate?" if _transport(to) == "tls" else ""
        raise ConfigError(f"the P-CSCF at {to} can't be reached; does `redoubt up` run? ({fault}){trust}") from fault
    return phone


def end_on_signals() -> None:
    """Ctrl-C and SIGTERM end what the verb waits for; it hangs up and deregisters as it would have at its end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, task.cancel)


def _gm(card: SimFile, config: Config | None, path: GmPath | None, is_ipv6: bool) -> GmOptions | None:
    """IPsec as the configuration has it, by the algorithms that it allows; None if it has none of that family. What
    carries it is what this machine can do, unless `path` says otherwise.
    """
    if config is None:
        return GmOptions(server_port=card.protected_port, path=path or "auto")
    wanted: GmPath = path or ("user-space" if config.gm.path == "user-space" else "auto")
    listens = [Listen.parse(text, Zone.ACCESS) for text in config.gm.listen]
    port = next((listen.port for listen in listens if (":" in listen.host) == is_ipv6), None)
    if port is None and wanted == "user-space":
        return None
    return GmOptions(policy_of(config.gm, "ipsec"), port or PORT, card.protected_port, wanted)


def _phone(
    card: SimFile, way: _Way, tls: TlsSettings | None, gm: GmOptions | None, profile: PhoneProfile
) -> Phone:
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    identity = PhoneIdentity(card.impi, tuple(card.impus), card.realm, card.isim(), card.instance)
    stack = Stack(context, tls=tls, resolver=Resolver(context.randomness, way.routes))
    phone = Phone(context, identity, stack, str(way.to), gm=gm, profile=profile)
    phone.registration.attempts = 1  # whoever gave the command is told, and decides
    return phone


def _sim_path(sim: str, config_path: Path) -> tuple[Path, Config | None]:
    if "/" in sim or sim.endswith(".json"):
        return Path(sim), opened(config_path)[0] if config_path.exists() else None
    config, directory = opened(config_path)
    return directory / "sim" / f"{sim.removeprefix('sip:').split('@')[0]}.json", config


def _proxy_of(config: Config | None) -> str:
    if config is None:
        raise ConfigError("there is no configuration here; say where the P-CSCF is with --proxy sip:HOST:PORT")
    listen = next((text for text in config.p_cscf.listen if text.startswith("udp:")), config.p_cscf.listen[0])
    parsed = Listen.parse(listen, Zone.ACCESS)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parsed.host, parsed.host)  # noqa: S104  where it listens
    bracketed = f"[{host}]" if ":" in host else host
    transport = "" if parsed.transport == "udp" else f";transport={parsed.transport}"
    return f"sip:{bracketed}:{parsed.port}{transport}"


def _proxy(text: str) -> SipUri:
    try:
        uri = parse_uri(text)
    except SipError:
        uri = None
    if not isinstance(uri, SipUri) or uri.user is not None or _transport(uri) not in ("udp", "tcp", "tls"):
        raise ConfigError(f"{text} is no address of a P-CSCF; write sip:HOST:PORT, with ;transport=tcp or tls")
    return uri


def _transport(proxy: SipUri) -> str:
    return (proxy.param("transport") or "udp").lower()


def _trust(proxy: SipUri, config: Config | None) -> TlsSettings | None:
    """Whom the phone believes to be the P-CSCF: who proves it to [network] authority, else to this machine's."""
    if _transport(proxy) != "tls":
        return None
    try:
        return trusting(config.network.authority if config is not None else "")
    except ValueError as error:
        raise ConfigError(f"[network] authority: {error}") from error


def _own_host(proxy: SipUri, routes: dict[str, str]) -> str:
    """The address that leads to the P-CSCF is the phone's. Raises ConfigError where nobody has that port."""
    host, port = proxy.address, proxy.port or 5060
    if (route := routes.get(f"{proxy.host}:{proxy.port}")) is not None:
        host, port = Listen.parse(route, Zone.ACCESS).address
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.connect(address)
            found = str(probe.getsockname()[0])
            if _transport(proxy) == "udp":
                _ask_for_refusal(probe)
    except ConnectionRefusedError:
        raise ConfigError(f"nobody listens at {proxy}; start the network with `redoubt up`, or name --proxy") from None
    except OSError as error:
        raise ConfigError(f"no way leads to the P-CSCF at {proxy}: {error.strerror or error}") from None
    return f"[{found}]" if ":" in found else found


def _ask_for_refusal(probe: Any) -> None:
    probe.settimeout(REFUSAL_S)
    probe.send(PING)
    with contextlib.suppress(TimeoutError):
        probe.recv(len(PING))
