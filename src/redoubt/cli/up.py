"""`redoubt up`: runs the network, or some functions of it, until told to stop."""

import asyncio
import contextlib
import resource
import signal
from pathlib import Path

import click

from redoubt.cli.output import (
    config_option,
    console,
    errors,
    fail,
    json_option,
    opened,
    print_json,
    run,
    says_what_went_wrong,
)
from redoubt.config import Config
from redoubt.events import Bug, Event, EventStream, Notice
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer
from redoubt.network.run import FUNCTIONS, Network, tune_memory

EXAMPLES = """\b
Examples:
  redoubt up                            the whole network in one process
  redoubt up --only i-cscf,s-cscf,hss   the home network's core here ...
  redoubt up --only p-cscf              ... and the P-CSCF in a process of its own
"""
DRAIN_S = 2.0


@click.command(epilog=EXAMPLES)
@click.option(
    "--only", default=",".join(FUNCTIONS), show_default=True, help="Functions to run in this process, with commas."
)
@config_option
@json_option
@says_what_went_wrong
def command(only: str, config_path: Path, as_json: bool) -> None:
    """Run the network that redoubt.toml describes, until Ctrl-C or SIGTERM.

    On SIGTERM running exchanges end first; new requests get 503 with Retry-After meanwhile.
    """
    config, directory = opened(config_path)
    chosen = [name.strip() for name in only.split(",") if name.strip()]
    if not chosen:
        fail(f"--only names no function; known are {', '.join(FUNCTIONS)}", as_json)
    run(_serve(config, directory, chosen, as_json))


async def _serve(config: Config, directory: Path, only: list[str], as_json: bool) -> None:
    _allow_connections()
    events = EventStream()
    events.listen(_alarm)
    network = await Network.start(config, directory, only=only, events=events, resumes=True)
    tune_memory()
    name = "control.sock" if "hss" in only else f"control-{'-'.join(only)}.sock"
    control = ControlServer(directory / name, commands(network))
    await control.start()
    _announce(network, as_json)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        await control.close()
        await network.close(DRAIN_S)


def _allow_connections() -> None:
    """Every TCP phone is an open file: as many as the system lets this user have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(network: Network, as_json: bool) -> None:
    if as_json:
        facts = {"running": sorted(network.only), "listening": network.names, "realm": network.config.network.realm}
        print_json({**facts, "gm": network.gm.described if network.gm is not None else []})
        return
    console.print(f"[bold]Redoubt[/] serves [cyan]{network.config.network.realm}[/]")
    for address, name in network.names.items():
        console.print(f"  {name:<7} {address}")
    console.print(f"  access policy: {network.config.access.policy}")
    for way in network.gm.described if network.gm is not None else ():
        console.print(f"  {way}", markup=False)
    if network.config.test.protections_off:
        console.print(
            f"  [bold red]protections off, for tests only: {', '.join(network.config.test.protections_off)}[/]"
        )
    console.print("Ctrl-C stops it; `redoubt status` and `redoubt explain` look inside.")


def _alarm(event: Event) -> None:
    """What an operator must see at once goes to standard error; the rest waits to be asked for."""
    if isinstance(event, Notice) and event.level != "info":
        errors.print(
            f"{event.level}: {event.node}: {event.what}" + (f" ({event.advice})" if event.advice else ""), markup=False
        )
    elif isinstance(event, Bug):
        errors.print(f"a fault in the {event.node}:\n{event.traceback}", markup=False)
