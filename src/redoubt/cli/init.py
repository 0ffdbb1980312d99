"""`redoubt init`: a commented redoubt.toml, a state directory, and the network's keys."""

import time
import tomllib
from pathlib import Path

import click
import msgspec

from redoubt.border.hiding_keys import new_ring, write_ring
from redoubt.cli.output import config_option, console, fail, json_option, print_json, says_what_went_wrong
from redoubt.config import Config
from redoubt.hss.keys import create_key, write_key_file
from redoubt.hss.rest_token import write_token_file
from redoubt.network.configuration import from_tree, rendered
from redoubt.sources import SystemRandomness

EXAMPLES = """\b
Examples:
  redoubt init
  redoubt init --realm ims.mnc070.mcc901.3gppnetwork.org
  redoubt init --config /etc/redoubt/redoubt.toml
"""


@click.command(epilog=EXAMPLES)
@click.option("--realm", default=Config().network.realm, show_default=True, help="The home network's domain name.")
@config_option
@json_option
@says_what_went_wrong
def command(realm: str, config_path: Path, as_json: bool) -> None:
    """Write a commented redoubt.toml and make the key under which the HSS stores K and OPc.

    Nothing that exists is overwritten: losing that key would lose every subscriber's K.
    """
    if config_path.exists():
        fail(f"{config_path} exists already; name another file with --config, or edit this one", as_json)
    text = rendered(Config()).replace(
        msgspec.json.encode(Config().network.realm).decode(), msgspec.json.encode(realm).decode(), 1
    )

    config = from_tree(tomllib.loads(text), str(config_path))
    directory = config_path.parent / config.network.state
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_path = directory / config.hss.key_file
    if not key_path.exists():
        write_key_file(key_path, create_key(SystemRandomness()))
    token_path = directory / config.hss.rest_token_file
    if not token_path.exists():
        write_token_file(token_path, SystemRandomness())
    hiding_path = directory / config.ibcf.hiding_keys
    if not hiding_path.exists():
        write_ring(hiding_path, new_ring(SystemRandomness(), time.time()))
    config_path.write_text(text)
    if as_json:
        print_json(
            {"config": str(config_path), "state": str(directory), "key": str(key_path), "token": str(token_path)}
            | {"hiding_keys": str(hiding_path), "realm": config.network.realm}
        )
        return
    console.print(f"wrote [cyan]{config_path}[/], every option with its default and a comment")
    console.print(f"made  [cyan]{key_path}[/] (mode 0600): back it up, without it no subscriber's K can be read")
    console.print(f"made  [cyan]{token_path}[/] (mode 0600): the REST API's token, for when \\[hss] rest is set")
    console.print(f"made  [cyan]{hiding_path}[/] (mode 0600): the border's keys, for when \\[ibcf] listens")
    console.print("next: `redoubt subscriber add alice`, then `redoubt up`")
