"""`redoubt hiding`: the keys under which the border hides this network's nodes, and what a token holds."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from redoubt.border.hiding import Hiding, Purpose, RingFile
from redoubt.border.hiding_keys import new_ring, newest_of, read_ring, rotated, write_ring
from redoubt.cli.output import (
    config_option,
    console,
    fail,
    json_option,
    opened,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
)
from redoubt.events import EventStream
from redoubt.limits import HIDING_TOKEN_S
from redoubt.network.configuration import load
from redoubt.sip.errors import SipError
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

EXAMPLES = """\b
Examples:
  redoubt hiding init                      make hiding.keys; copy it to every border node of this network
  redoubt hiding rotate --after 600        a new key, which seals ten minutes from now: time to copy the file
  redoubt hiding show --json
  redoubt hiding read "ibcf1 partner" TOKEN  what stands behind a token in a partner's trace
"""


@click.group(epilog=EXAMPLES)
def command() -> None:
    """Keys of topology hiding: make, rotate, show; and read tokens. All border nodes share the file.

    A running border node sees a new file within a second. Tokens of older keys open for as long as calls and
    registrations need them, so a rotation breaks nothing.
    """


@command.command(epilog=EXAMPLES)
@config_option
@json_option
@says_what_went_wrong
def init(config_path: Path, as_json: bool) -> None:
    """Make the key file with a first key. One that exists is left alone."""
    path = _path(config_path)
    write_ring(path, new_ring(SystemRandomness(), time.time()))
    _tell(path, as_json)


@command.command(epilog=EXAMPLES)
@click.option(
    "--after", "after_s", type=click.IntRange(0, 86_400), default=0, show_default=True,
    help="Seconds until the new key seals: time to copy the file to the other border nodes.",
)  # fmt: skip
@config_option
@json_option
@says_what_went_wrong
def rotate(after_s: int, config_path: Path, as_json: bool) -> None:
    """Add a key that seals from now on, and drop those that nothing can need any more."""
    path = _path(config_path)
    write_ring(path, rotated(read_ring(path), SystemRandomness(), time.time(), after_s), replace=True)
    _tell(path, as_json)


@command.command(epilog=EXAMPLES)
@config_option
@json_option
@says_what_went_wrong
def show(config_path: Path, as_json: bool) -> None:
    """Show the keys of the ring, not their octets: number, since when each seals, and whether it does now."""
    _tell(_path(config_path), as_json)


@command.command(epilog=EXAMPLES)
@click.argument("partner")
@click.argument("token")
@config_option
@json_option
@says_what_went_wrong
def read(partner: str, token: str, config_path: Path, as_json: bool) -> None:
    """Open a TOKEN that was given to PARTNER (its name in [[partners]]): the entries that it hides."""
    path = _path(config_path)
    found = run(_read(load(config_path).network.realm, path, partner, token.removeprefix("z9hG4bK")))
    if found is None:
        fail(f"that is no token of this network for {partner}, or none of the keys in {path} sealed it", as_json)
    purpose, entries = found
    if as_json:
        print_json({"purpose": purpose, "entries": entries})
        return
    print_rows(["hidden as", "entry"], [[purpose, entry] for entry in entries])


async def _read(realm: str, path: Path, partner: str, token: str) -> tuple[str, list[str]] | None:
    clock = Clock(asyncio.get_running_loop())
    hiding = Hiding(Context("hiding", EventStream(), clock, SystemRandomness()), "gcm", realm, RingFile(path))
    for purpose in Purpose:
        try:
            return str(purpose), hiding.open(purpose, partner, token)
        except SipError:
            continue
    return None


def _path(config_path: Path) -> Path:
    config, directory = opened(config_path)
    return directory / config.ibcf.hiding_keys


def _tell(path: Path, as_json: bool) -> None:
    now_s = time.time()
    ring = sorted(read_ring(path), key=lambda key: key.since_s)
    sealing = newest_of([key for key in ring if key.since_s <= now_s] or ring)
    rows = []
    for at, key in enumerate(ring):
        ends_s = ring[at + 1].since_s + HIDING_TOKEN_S if at + 1 < len(ring) else 0.0
        state = "seals" if key is sealing else "opens" if key.since_s <= now_s else "waits"
        since, until = _written(key.since_s), _written(ends_s)
        rows.append({"number": key.number, "since": since, "state": state, "opens_until": until})
    if as_json:
        print_json({"file": str(path), "keys": rows})
        return
    print_rows(["key", "since", "state", "opens until"], [[str(cell) for cell in row.values()] for row in rows])
    console.print(f"{path} (mode 0600) must be the same at every border node of this network")


def _written(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at_s else ""
