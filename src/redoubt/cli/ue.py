"""`redoubt ue`: a test phone with a software ISIM, on a SIM file that `redoubt subscriber add` made."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import config_option, console, fail, json_option, opened, print_json, run, says_what_went_wrong
from redoubt.config import Config, ConfigError
from redoubt.events import EventStream
from redoubt.phone.call import Call
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.phone.registration import RegistrationResult
from redoubt.phone.sim_file import read_sim_file, write_sim_file
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SystemRandomness
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

EXAMPLES = """\b
Examples (alice and bob were made with `redoubt subscriber add`, `redoubt up` runs):
  redoubt ue register alice                        registers, and stays registered for an hour
  redoubt ue answer bob --for 60                   waits for calls and messages
  redoubt ue call alice sip:bob@ims.mnc001.mcc001.3gppnetwork.org --talk 3
  redoubt ue message alice sip:bob@ims.mnc001.mcc001.3gppnetwork.org "hello"
  redoubt ue deregister alice
"""
Doing = Callable[[Phone], Awaitable[dict[str, Any]]]


@click.group(epilog=EXAMPLES)
def command() -> None:
    """A test phone: registers with IMS AKA, calls, answers, sends messages.

    SIM is the name of a subscriber or the path of a SIM file. The phone keeps its port and the card's sequence numbers
    in that file, so that one command can end what another began.
    """


def phone_options(verb: Callable[..., None]) -> Callable[..., None]:
    """What every verb of the phone takes."""
    for option in (
        json_option,
        config_option,
        click.option("--proxy", help="The P-CSCF, e.g. sip:192.0.2.1:5060; default: the one in the configuration."),
        click.argument("sim"),
    ):
        verb = option(verb)
    return verb


@command.command(epilog=EXAMPLES)
@phone_options
@click.option("--expires", type=click.IntRange(1), default=3600, show_default=True, help="Seconds to ask for.")
@says_what_went_wrong
def register(sim: str, proxy: str | None, expires: int, config_path: Path, as_json: bool) -> None:
    """Register (SM1 to SM12) and leave the registration in place."""

    async def doing(phone: Phone) -> dict[str, Any]:
        return _told(await phone.register(expires))

    _do(sim, proxy, config_path, as_json, doing)


@command.command(epilog=EXAMPLES)
@phone_options
@says_what_went_wrong
def deregister(sim: str, proxy: str | None, config_path: Path, as_json: bool) -> None:
    """End the registration that `ue register` made."""

    async def doing(phone: Phone) -> dict[str, Any]:
        return _told(await phone.deregister())

    _do(sim, proxy, config_path, as_json, doing)


@command.command(epilog=EXAMPLES)
@phone_options
@click.argument("target")
@click.option("--talk", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds until hanging up.")
@says_what_went_wrong
def call(sim: str, target: str, talk: float, proxy: str | None, config_path: Path, as_json: bool) -> None:
    """Register, call TARGET (a sip or tel URI), talk, hang up."""

    async def doing(phone: Phone) -> dict[str, Any]:
        registered = _told(await phone.register())
        if not registered["ok"]:
            return registered
        made = await phone.call(target)
        if made.status < 300:
            await asyncio.sleep(talk)
            await made.hang_up()
        return {"ok": made.status < 300, **_described(made)}

    _do(sim, proxy, config_path, as_json, doing)


@command.command(epilog=EXAMPLES)
@phone_options
@click.option("--for", "seconds", type=click.FloatRange(0), default=3600.0, show_default=True, help="How long to wait.")
@click.option("--once", is_flag=True, help="End after the first call.")
@click.option(
    "--status", type=click.IntRange(200, 699), default=200, show_default=True, help="486: busy; 603: declines."
)
@click.option("--ring", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds to ring before that.")
@says_what_went_wrong
def answer(
    sim: str, seconds: float, once: bool, status: int, ring: float, proxy: str | None, config_path: Path, as_json: bool
) -> None:
    """Register and wait for calls and messages; deregister at the end."""

    async def doing(phone: Phone) -> dict[str, Any]:
        phone.answering = Answering(status=status, ring_s=ring)
        registered = _told(await phone.register())
        if not registered["ok"]:
            return registered
        if not as_json:
            console.print(f"[green]registered[/], waiting for calls to {', '.join(registered['associated'])}")
        calls: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(seconds):
                await _wait_for_calls(phone, calls, once)
        except TimeoutError:
            pass
        messages = [{"sender": message.sender, "text": message.text} for message in phone.messages]
        await phone.deregister()
        return {"ok": True, "calls": calls, "messages": messages}

    _do(sim, proxy, config_path, as_json, doing)


@command.command(epilog=EXAMPLES)
@phone_options
@click.argument("target")
@click.argument("text")
@says_what_went_wrong
def message(sim: str, target: str, text: str, proxy: str | None, config_path: Path, as_json: bool) -> None:
    """Register and send TEXT to TARGET as a MESSAGE (RFC 3428)."""

    async def doing(phone: Phone) -> dict[str, Any]:
        registered = _told(await phone.register())
        if not registered["ok"]:
            return registered
        response = await phone.message(target, text)
        return {"ok": response.is_success, "status": response.status, "reason": response.reason}

    _do(sim, proxy, config_path, as_json, doing)


async def _wait_for_calls(phone: Phone, calls: list[dict[str, Any]], once: bool) -> None:
    while True:
        incoming = await phone.incoming.get()
        await incoming.ended()
        calls.append(_described(incoming))
        if once:
            return


def _told(result: RegistrationResult) -> dict[str, Any]:
    return {
        "ok": result.registered or (result.status == 200 and result.expires_s == 0),
        "status": result.status,
        "reason": result.reason,
        "expires_s": result.expires_s,
        "network_authenticated": result.network_authentic,
        "challenges": list(result.outcomes),
        "associated": list(result.associated),
        "service_route": list(result.service_route),
        "why": result.why,
    }


def _described(made: Call) -> dict[str, Any]:
    return {"other": made.other, "call_id": made.call_id, "status": made.status, "reason": made.reason}


def _do(sim: str, proxy: str | None, config_path: Path, as_json: bool, doing: Doing) -> None:
    """Opens the phone, does what the verb does, prints it; exit status 1 when the network refused."""

    async def work() -> dict[str, Any]:
        async with _opened_phone(sim, proxy, config_path) as phone:
            return await doing(phone)

    result = run(work())
    if as_json:
        print_json(result)
    elif result["ok"]:
        console.print("[green]ok[/] " + _sentence(result))
    else:
        fail(f"{_sentence(result)}; `redoubt explain` on the network's side says which check decided")
    if not result["ok"]:
        raise SystemExit(1)


def _sentence(result: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.items() if key != "ok" and value)


@asynccontextmanager
async def _opened_phone(sim: str, proxy: str | None, config_path: Path) -> AsyncIterator[Phone]:
    path, config = _sim_path(sim, config_path)
    card = read_sim_file(path)
    address = proxy or _proxy_of(config)
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    isim = card.isim()
    phone = Phone(context, PhoneIdentity(card.impi, tuple(card.impus), card.realm, isim), Stack(context), address)
    try:
        await phone.open(f"udp:{_own_host(address)}:{card.port}")
    except OSError as error:
        raise ConfigError(f"the phone's port {card.port} is taken; does another `redoubt ue` use {path}?") from error
    try:
        yield phone
    finally:
        card.sequence, card.port = list(isim.state), phone.line.flow.local[1]
        write_sim_file(path, card)
        await phone.close()


def _sim_path(sim: str, config_path: Path) -> tuple[Path, Config | None]:
    if "/" in sim or sim.endswith(".json"):
        return Path(sim), opened(config_path)[0] if config_path.exists() else None
    config, directory = opened(config_path)
    return directory / "sim" / f"{sim.split('@')[0]}.json", config


def _proxy_of(config: Config | None) -> str:
    if config is None:
        raise ConfigError("there is no configuration here; say where the P-CSCF is with --proxy sip:HOST:PORT")
    listen = next((text for text in config.p_cscf.listen if text.startswith("udp:")), config.p_cscf.listen[0])
    parsed = Listen.parse(listen, Zone.ACCESS)
    return f"sip:{parsed.host}:{parsed.port}"


def _own_host(proxy: str) -> str:
    """Loopback talks to loopback; elsewhere the address that leads to the P-CSCF is the phone's."""

    host, _, port = proxy.removeprefix("sip:").rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host.strip("[]"), int(port)))
        found = str(probe.getsockname()[0])
    return f"[{found}]" if ":" in found else found
