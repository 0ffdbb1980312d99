"""`redoubt check`: tries out what a running network's configuration promises."""

from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    ask_everyone,
    config_option,
    console,
    fail,
    json_option,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
)
from redoubt.network.configuration import load
from redoubt.network.control import NotRunning
from redoubt.network.exposure import ALL_PORTS, USUAL_PORTS, Exposure, Finding, Reach
from redoubt.network.firewall import ruleset
from redoubt.network.openings import Audience
from redoubt.network.vantage import Vantage
from redoubt.sources import SystemRandomness

EVENTS = 1_000  # of each process, among which are what its functions said of our requests
EXAMPLES = """\b
Examples:
  redoubt check exposure --nftables | nft -f -          close what need not be open
  redoubt check exposure --from access=ns:phones        what phones reach, from a network namespace
  redoubt check exposure --from access=10.45.0.9 --from border=198.51.100.9
  redoubt check exposure --from core=ns:core --json | jq '.findings[] | select(.exposed)'
"""
PLACES = "A place to try from, as ZONE=ns:NAME[@ADDRESS] or ZONE=ADDRESS, ZONE access, border or core. May be repeated."
ADVICE = "load the rules of `redoubt check exposure --nftables` on the hosts that are named"


@click.group()
def command() -> None:
    """Try out what the configuration promises."""


@command.command(epilog=EXAMPLES)
@click.option("--from", "places", multiple=True, help=PLACES + " Default: this host.")
@click.option("--nftables", is_flag=True, help="Print the packet filter of redoubt.toml, and try nothing.")
@click.option("--also", multiple=True, default=("tcp:22",), show_default=True, help="With --nftables: stays open too.")
@click.option("--all-ports", is_flag=True, help="Try each TCP port, not the usual ones only.")
@config_option
@json_option
@says_what_went_wrong
def exposure(
    places: tuple[str, ...],
    nftables: bool,
    also: tuple[str, ...],
    all_ports: bool,
    config_path: Path,
    as_json: bool,
) -> None:
    """Try each port of the network from each place, and say what is reached that should not be (TS 33.203 Annex J).

    Needs root for network namespaces and for requests in the name of core nodes. Ends with 1 if anything is exposed.
    """
    config = load(config_path)
    if nftables:
        rules = ruleset(config, also)
        print_json({"nftables": rules}) if as_json else click.echo(rules, nl=False)
        return
    vantages = [Vantage.parse(place) for place in places] or [Vantage(Audience.ALL)]
    found = run(_findings(config_path, vantages, all_ports))
    exposed = [each for each in found if each.is_exposed]
    if not found:
        fail("redoubt.toml opens nothing but loopback: there is nothing to try", as_json)
    if as_json:
        print_json({"exposed": len(exposed), "findings": [_told(each) for each in found]})
    else:
        print_rows(["from", "function", "at", "as", "result", ""], [_shown(each) for each in found])
        console.print(_verdict(exposed, found))
    raise SystemExit(1 if exposed else 0)


async def _findings(config_path: Path, vantages: list[Vantage], all_ports: bool) -> list[Finding]:
    async def told() -> dict[str, tuple[int, str]]:
        """What the functions say of requests, by Call-ID; of functions elsewhere nothing is known."""
        try:
            answers = await ask_everyone(config_path, "status", events=EVENTS)
        except NotRunning:
            return {}
        refused = (event for answer in answers for event in answer["events"] if event["type"] == "Refused")
        return {event["call_id"]: (event["status"], event["why"]) for event in refused}

    tries = Exposure(load(config_path), vantages, told, SystemRandomness())
    return await tries.findings(ALL_PORTS if all_ports else USUAL_PORTS)


def _told(each: Finding) -> dict[str, Any]:
    return {
        "from": str(each.vantage),
        "function": each.opening.function,
        "at": str(each.opening),
        "as": each.spoofed,
        "reach": each.reach.name.lower(),
        "meant": each.is_meant,
        "exposed": each.is_exposed,
        "detail": each.detail,
    }


def _shown(each: Finding) -> list[str]:
    judgement = "EXPOSED" if each.is_exposed else "" if each.is_meant else "closed"
    result = each.reach.value + (f": {each.detail}" if each.detail and each.is_exposed else "")
    return [str(each.vantage), each.opening.function, str(each.opening), each.spoofed, result, judgement]


def _verdict(exposed: list[Finding], found: list[Finding]) -> str:
    if not exposed:
        silent = all(each.reach in (Reach.SILENT, Reach.CLOSED) for each in found)
        hint = "; but nothing answers anywhere: is the network running?" if silent else ""
        return f"[bold]{len(found)} tries, nothing exposed{hint}[/]"
    held = sum(each.reach is Reach.REFUSED for each in exposed)
    more = f"; of {held} the function itself refused what came" if held else ""
    return f"[bold red]{len(exposed)} of {len(found)} tries reach what they should not{more}; {ADVICE}[/]"
