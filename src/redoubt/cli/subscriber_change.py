"""`redoubt subscriber bar|unbar|reassign|deregister|change|remove`: what ends or changes a subscriber's service."""

import contextlib
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from redoubt.cli.output import (
    config_option,
    console,
    control_socket,
    errors,
    fail,
    json_option,
    opened,
    print_json,
    run,
    says_what_went_wrong,
)
from redoubt.config import ConfigError
from redoubt.hss.administration import Administration, Told
from redoubt.hss.provisioning import offline
from redoubt.hss.provisioning_fields import patched
from redoubt.network.control import NotRunning, ask

WHERE = """\b
Works on the running network, whose S-CSCF and phone learn of it at once; without one on the store alone.
"""
CHANGE_EXAMPLES = """\b
What is named replaces what was; the rest stays, keys too.
\b
Examples:
  redoubt subscriber change alice@REALM --impu sip:alice@REALM --impu tel:+15550100
  redoubt subscriber change alice@REALM --visited-network "*"
  redoubt subscriber change alice@REALM --home-only
  redoubt subscriber change alice@REALM --fields profile.json     fields as in a file for import
"""
_SENTENCES = {
    Told.DONE: "its S-CSCF was told (and with it the phone)",
    Told.NOT_NEEDED: "no S-CSCF had to be told",
    Told.UNREACHABLE: "its S-CSCF could not be told; the HSS refuses what that does next for the user",
}


def administer(
    config_path: Path, command: str, alone: Callable[[Administration], Awaitable[Any]], **arguments: Any
) -> Any:
    """By the running network; where none runs, by `alone` on its store."""
    config, directory = opened(config_path)

    async def work() -> Any:
        try:
            return await ask(control_socket(config_path), command, **arguments)
        except NotRunning:
            async with offline(directory, config.hss, config.network.realm) as administration:
                return await alone(administration)

    return run(work())


def _say(what: str, identity: str, told: str, as_json: bool) -> None:
    if as_json:
        print_json({what: identity, "s-cscf": told})
        return
    console.print(f"{what} {identity}: {_SENTENCES[Told(told)]}")
    if Told(told) is Told.UNREACHABLE:
        errors.print("[yellow]the network that the store belongs to does not run here, or its S-CSCF is away[/]")


def identity_argument(verb: Callable[..., None]) -> Callable[..., None]:
    """IDENTITY: an IMPI or IMPU, or the NAME that `redoubt subscriber add` took."""

    @functools.wraps(verb)
    def whole(identity: str, config_path: Path, **options: Any) -> None:
        if "@" not in identity and ":" not in identity:
            with contextlib.suppress(ConfigError):  # the verb itself says what is wrong with the configuration
                identity = f"{identity}@{opened(config_path)[0].network.realm}"
        verb(identity=identity, config_path=config_path, **options)

    return click.argument("identity")(whole)


@click.command(epilog=f"{WHERE}\n\b\nExample: redoubt subscriber remove alice@ims.mnc001.mcc001.3gppnetwork.org")
@identity_argument
@config_option
@json_option
@says_what_went_wrong
def remove(identity: str, config_path: Path, as_json: bool) -> None:
    """Remove a subscriber with its keys.

    In a running network its registrations end at once (RTR).
    """
    told = administer(config_path, "subscriber-remove", lambda hss: hss.remove(identity), identity=identity)
    _say("removed", identity, told, as_json)


@click.command(epilog=f"{WHERE}\n\b\nExample: redoubt subscriber deregister sip:alice@ims.example")
@identity_argument
@config_option
@json_option
@says_what_went_wrong
def deregister(identity: str, config_path: Path, as_json: bool) -> None:
    """End the registrations of a subscriber (RTR).

    The phone may register again when its user wants.
    """
    told = administer(config_path, "subscriber-deregister", lambda hss: hss.deregister(identity), identity=identity)
    _say("deregistered", identity, told, as_json)


@click.command(epilog=f"{WHERE}\n\b\nExample: redoubt subscriber reassign alice@ims.mnc001.mcc001.3gppnetwork.org")
@identity_argument
@config_option
@json_option
@says_what_went_wrong
def reassign(identity: str, config_path: Path, as_json: bool) -> None:
    """Free a subscriber from its S-CSCF (RTR).

    The phone registers anew, and an S-CSCF is chosen then.
    """
    told = administer(config_path, "subscriber-reassign", lambda hss: hss.reassign(identity), identity=identity)
    _say("reassigned", identity, told, as_json)


def _bar(identity: str, barred: bool, config_path: Path, as_json: bool) -> None:
    told = administer(
        config_path, "subscriber-bar", lambda hss: hss.bar(identity, barred), identity=identity, barred=barred
    )
    _say("barred" if barred else "unbarred", identity, told, as_json)


BAR_EXAMPLES = """\b
Examples:
  redoubt subscriber bar tel:+15550100                 one public identity; the others go on (PPR)
  redoubt subscriber bar alice@ims.example             all of a private identity's subscription: it ends (RTR)
"""


@click.command(epilog=f"{WHERE}\n{BAR_EXAMPLES}")
@identity_argument
@config_option
@json_option
@says_what_went_wrong
def bar(identity: str, config_path: Path, as_json: bool) -> None:
    """Bar a public identity from registering and calling.

    A private one bars all of its subscription.
    """
    _bar(identity, True, config_path, as_json)


@click.command(epilog=f"{WHERE}\n\b\nExample: redoubt subscriber unbar tel:+15550100")
@identity_argument
@config_option
@json_option
@says_what_went_wrong
def unbar(identity: str, config_path: Path, as_json: bool) -> None:
    """Lift the barring of an identity.

    That of a private one lifts all of its subscription's.
    """
    _bar(identity, False, config_path, as_json)


@click.command(epilog=f"{WHERE}\n{CHANGE_EXAMPLES}")
@identity_argument
@click.option("--impu", "impus", multiple=True, help="A public identity (may be repeated); these are all it has.")
@click.option("--visited-network", "visited", multiple=True, help='A network to roam in, "*" for anywhere.')
@click.option("--home-only", is_flag=True, help="No roaming.")
@click.option("--capability", "capabilities", type=int, multiple=True, help="An S-CSCF must have it (TS 29.229 6.3.5).")
@click.option("--fields", "file", type=click.Path(path_type=Path), help="A JSON object of fields as in an import file.")
@config_option
@json_option
@says_what_went_wrong
def change(
    identity: str,
    impus: tuple[str, ...],
    visited: tuple[str, ...],
    home_only: bool,
    capabilities: tuple[int, ...],
    file: Path | None,
    config_path: Path,
    as_json: bool,
) -> None:
    """Change identities, networks, capabilities or criteria.

    The S-CSCF gets a PPR and knows at once.
    """
    patch: dict[str, Any] = _fields_in(file, as_json) if file is not None else {}
    if impus:
        patch["impus"] = list(impus)
    if visited or home_only:
        patch["visited-networks"] = list(visited)
    if capabilities:
        patch["capabilities"] = list(capabilities)
    if not patch:
        fail("nothing to change; name an option, see --help", as_json)
    told = administer(
        config_path,
        "subscriber-change",
        lambda hss: hss.change(identity, lambda before: patched(patch, before)),
        identity=identity,
        patch=patch,
    )
    _say("changed", identity, told, as_json)


def _fields_in(file: Path, as_json: bool) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as fault:
        fail(f"{file} holds no JSON object: {fault}", as_json)
