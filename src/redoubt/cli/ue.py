"""`redoubt ue`: a test phone with a software ISIM, on a SIM file that `redoubt subscriber add` made."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import click

from redoubt.cli.output import (
    config_option,
    console,
    fail,
    json_option,
    print_json,
    run,
    says_what_went_wrong,
    shown,
)
from redoubt.cli.ue_attending import attend
from redoubt.cli.ue_discovery import HELP
from redoubt.cli.ue_phone import opened_phone
from redoubt.cli.ue_told import Done, told_call, told_message, told_registration
from redoubt.config import GmPath
from redoubt.phone.incoming import Answering
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import PROFILES

EXAMPLES = """\b
Examples (alice and bob were made with `redoubt subscriber add`, `redoubt up` runs):
  redoubt ue register alice                        registers, and stays registered for an hour
  redoubt ue answer bob --for 60                   waits for calls and messages
  redoubt ue call alice sip:bob@ims.mnc001.mcc001.3gppnetwork.org --talk 3
  redoubt ue message alice sip:bob@ims.mnc001.mcc001.3gppnetwork.org "hello"
  redoubt ue deregister alice
  redoubt ue register alice --discover dns         the P-CSCF by NAPTR and SRV; also pco:192.0.2.1 and dhcp
  redoubt ue register bob --profile xiaomi         as that handset; `redoubt ue profiles` lists them
"""
EXPIRES_S = 3600
NO_IPSEC = "redoubt.no-ipsec"
PROFILE = "redoubt.profile"
DISCOVER = "redoubt.discover"
PATH = "redoubt.path"
NEWS_S = 5.0  # within which a NOTIFY follows a registration
PATIENCE_S = 30.0  # four retransmissions at the phone's T1 of 2 s (TS 24.229 7.7)
Doing = Callable[[Phone], Awaitable[Done]]


@click.group(epilog=EXAMPLES)
def command() -> None:
    """A test phone: registers with IMS AKA under IPsec, calls, answers, sends messages.

    SIM is the name of a subscriber or the path of a SIM file. The phone keeps its ports, its instance and the card's
    sequence numbers in that file, so that one command can end what another began.
    """


def _note_no_ipsec(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    context.meta[NO_IPSEC] = wanted


def _note_profile(context: click.Context, _option: click.Parameter, name: str) -> None:
    context.meta[PROFILE] = PROFILES[name]


def _note_discover(context: click.Context, _option: click.Parameter, how: str | None) -> None:
    context.meta[DISCOVER] = how


def _note_path(context: click.Context, _option: click.Parameter, wanted: str | None) -> None:
    context.meta[PATH] = wanted


def phone_options(verb: Callable[..., None]) -> Callable[..., None]:
    """What every verb of the phone takes."""
    for option in (
        json_option,
        config_option,
        click.option(
            "--no-ipsec", is_flag=True, expose_value=False, callback=_note_no_ipsec,
            help="Stay in the clear; for [access] policy aka-without-ipsec.",
        ),
        click.option(
            "--path", type=click.Choice(get_args(GmPath)), expose_value=False, callback=_note_path,
            help="What carries ESP: user-space is ESP in UDP; raw and kernel are transport mode, as handsets have it,"
            " and need root. Default: what the configuration has and this machine can.",
        ),
        click.option(
            "--profile", type=click.Choice(list(PROFILES)), default="redoubt", expose_value=False,
            callback=_note_profile, help="Behave as a handset does; `redoubt ue profiles` says which and how.",
        ),
        click.option("--discover", metavar="HOW", expose_value=False, callback=_note_discover, help=HELP),
        click.option("--proxy", help="The P-CSCF, e.g. sip:192.0.2.1:5060; default: the one in the configuration."),
        click.argument("sim"),
    ):
        verb = option(verb)
    return verb


@command.command(epilog=EXAMPLES)
@phone_options
@click.option("--expires", type=click.IntRange(1), default=EXPIRES_S, show_default=True, help="Seconds to ask for.")
@click.option("--flight-mode", is_flag=True, help="Back from it: the HSS's sequence number is old to the card (AUTS).")
@says_what_went_wrong
def register(
    sim: str, proxy: str | None, expires: int, flight_mode: bool, config_path: Path, as_json: bool
) -> None:
    """Register (SM1 to SM12) and leave the registration in place."""
    _do(sim, proxy, config_path, as_json, lambda phone: _register(phone, expires), flight_mode)


@command.command(epilog=EXAMPLES)
@phone_options
@says_what_went_wrong
def deregister(sim: str, proxy: str | None, config_path: Path, as_json: bool) -> None:
    """End the registration that another verb made."""
    _do(sim, proxy, config_path, as_json, lambda phone: _register(phone, 0))


@command.command(epilog=EXAMPLES)
@phone_options
@click.argument("target")
@click.option("--talk", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds until hanging up.")
@says_what_went_wrong
def call(sim: str, target: str, talk: float, proxy: str | None, config_path: Path, as_json: bool) -> None:
    """Register, call TARGET (a sip or tel URI), talk, hang up; stays registered."""

    async def doing(phone: Phone) -> Done:
        registered = await _register(phone, EXPIRES_S)
        if not registered.ok:
            return registered
        made = phone.dial(target)
        began = 0.0
        try:
            if await made.answered():
                began = asyncio.get_running_loop().time()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(talk):
                        await made.ended()
        finally:  # Ctrl-C while it rings or talks hangs up too
            await made.hang_up()
        return told_call(made, asyncio.get_running_loop().time() - began if began else 0.0)

    _check_target(target, as_json)
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
    """Register and wait for calls and messages; deregister at the end, by Ctrl-C too."""

    async def doing(phone: Phone) -> Done:
        phone.answering = Answering(status=status, ring_s=ring)
        registered = await _register(phone, EXPIRES_S)
        if not registered.ok:
            return registered
        say: Callable[[str], None] = _silent if as_json else _say
        say(f"{registered.sentence}; waiting for calls and messages, Ctrl-C ends it")
        return await attend(phone, seconds, once, say)

    _do(sim, proxy, config_path, as_json, doing)


@command.command(epilog=EXAMPLES)
@phone_options
@click.argument("target")
@click.argument("text")
@says_what_went_wrong
def message(sim: str, target: str, text: str, proxy: str | None, config_path: Path, as_json: bool) -> None:
    """Register and send TEXT to TARGET as a MESSAGE (RFC 3428); stays registered."""

    async def doing(phone: Phone) -> Done:
        registered = await _register(phone, EXPIRES_S)
        if not registered.ok:
            return registered
        return told_message(target, await phone.message(target, text))

    _check_target(target, as_json)
    _do(sim, proxy, config_path, as_json, doing)


@command.command(epilog=EXAMPLES)
@json_option
@says_what_went_wrong
def profiles(as_json: bool) -> None:
    """The handsets that --profile knows: what each does, what is known of it and from where, what is assumed."""
    if as_json:
        facts = [(p.name, p.does, p.known, p.assumed) for p in PROFILES.values()]
        print_json({"profiles": [dict(zip(("name", "does", "known", "assumed"), each, strict=True)) for each in facts]})
        return
    for profile in PROFILES.values():
        console.print(f"[bold]{shown(profile.name)}[/]  {shown(profile.does)}")
        for what, text in (("known", profile.known), ("assumed", profile.assumed)):
            if text:
                console.print(f"    {what}: {shown(text)}")


async def _register(phone: Phone, expires_s: int) -> Done:
    """Registers, or with 0 deregisters. For silence RFC 3261 has 128 s; whoever gave the command is told sooner."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            result = await phone.register(expires_s)
            complaint = await _complaint(phone) if result.registered else ""
    except TimeoutError:
        sentence = f"the P-CSCF at {phone.line.proxy} did not answer within {PATIENCE_S:.0f} s; `redoubt status`?"
        return Done(False, {"status": 408, "why": sentence}, sentence)
    if complaint:
        sentence = f"the phone registered, but as {phone.line.profile.name} will leave: {complaint}"
        return Done(False, {"status": result.status, "why": complaint}, sentence)
    return told_registration(phone.identity.impu, expires_s, result)


async def _complaint(phone: Phone) -> str:
    """What a handset that watches its registration found wrong in the first NOTIFY."""
    watching = phone.subscription
    if watching is None or not phone.line.profile.subscribes:
        return ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(NEWS_S):
            await watching.heard.wait()
    return watching.complaint if watching.heard.is_set() else "no NOTIFY came"


def _check_target(target: str, as_json: bool) -> None:
    if not target.lower().startswith(("sip:", "sips:", "tel:")):
        fail(f"{target} is no address; write sip:{target.split('@')[0]}@REALM or tel:NUMBER", as_json)


def _say(sentence: str) -> None:
    console.print(shown(sentence))


def _silent(_sentence: str) -> None:
    """With --json one object is printed, at the end."""


def _do(
    sim: str, proxy: str | None, config_path: Path, as_json: bool, doing: Doing, flight_mode: bool = False
) -> None:
    """Opens the phone, does what the verb does, prints it; exit status 1 when the network refused."""
    chosen = click.get_current_context().meta
    ipsec, profile, discover = not chosen[NO_IPSEC], chosen[PROFILE], chosen[DISCOVER]
    if proxy and discover:
        fail("--proxy names the P-CSCF, --discover looks for it; write one of them", as_json)

    async def work() -> Done:
        async with opened_phone(
            sim, proxy, config_path, profile=profile, ipsec=ipsec, gm_path=chosen[PATH], flight_mode=flight_mode,
            discover=discover,
        ) as phone:  # fmt: skip
            return await doing(phone)

    try:
        done = run(work())
    except asyncio.CancelledError:
        raise SystemExit(130) from None
    if as_json:
        print_json({"ok": done.ok, **done.facts})
    elif done.ok:
        console.print(f"[green]ok[/] {shown(done.sentence)}")
    else:
        fail(done.sentence)
    if not done.ok:
        raise SystemExit(1)
