"""`redoubt status`: what a running network is doing, in one process or several."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    ask_everyone,
    config_option,
    console,
    json_option,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
    shown,
)

EXAMPLES = """\b
Examples:
  redoubt status
  redoubt status --events 20    with the last twenty events
  redoubt status --json | jq .tables
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--events", "count", type=click.IntRange(0, 1000), default=0, help="Also show this many of the last events."
)
@config_option
@json_option
@says_what_went_wrong
def command(count: int, config_path: Path, as_json: bool) -> None:
    """Show what a running network is doing: functions, addresses, Diameter peers, tables, events.

    Protections that are off, and weak choices with how many phones they weaken, are named as long as they are in force.
    """
    status = _together(run(ask_everyone(config_path, "status", events=count)), count)
    if as_json:
        print_json(status)
        return
    _print(status)


def _together(found: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """One status of all processes; the longest-running one's time."""
    events = sorted((event for one in found for event in one["events"]), key=lambda event: event["at"])
    return {
        **found[0],
        "functions": sorted(name for one in found for name in one["functions"]),
        "listening": {address: name for one in found for address, name in one["listening"].items()},
        "weak_choices": _weakest([weak for one in found for weak in one["weak_choices"]]),
        "up_s": max(one["up_s"] for one in found),
        "tables": {name: size for one in found for name, size in one["tables"].items()},
        "diameter": [peer for one in found for peer in one["diameter"]],
        "events": events[-count:] if count else [],
    }


def _weakest(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All processes name the same choices; those with the function that a choice is about have counted."""
    counted: dict[str, dict[str, Any]] = {}
    for weak in told:
        known = counted.setdefault(weak["option"], weak)
        counted[weak["option"]] = max(known, weak, key=lambda one: (one["made"], one["living"]))
    return list(counted.values())


def _print(status: dict[str, Any]) -> None:
    console.print(
        f"[bold]{shown(status['realm'])}[/], access policy {status['access_policy']}, up {duration(status['up_s'])}"
    )
    if status["protections_off"]:
        console.print(f"[bold red]protections off: {', '.join(status['protections_off'])}[/]")
    for weak in status["weak_choices"]:
        now = f"; {weak['living']} do now" if weak["living"] or not weak["option"].startswith("partners.") else ""
        since = f", {weak['made']} since the start" if weak["made"] else ""
        console.print(f"[yellow]weak by choice, {weak['option']}: {shown(weak['what'])}{now}{since}[/]")
    console.print()
    addresses = [[name, address] for address, name in status["listening"].items()]
    here = {name for name, _ in addresses}
    print_rows(["function", "address"], addresses + [[name, "-"] for name in status["functions"] if name not in here])
    if status["diameter"]:
        console.print()
        print_rows(["node", "diameter peer", "state", "watchdog", "by"], [_peer(peer) for peer in status["diameter"]])
    console.print()
    print_rows(["table", "entries"], [[name, str(size)] for name, size in status["tables"].items()])
    if status["events"]:
        console.print()
        print_rows(["time", "where", "event", ""], [_event(event) for event in status["events"]])


def _peer(peer: dict[str, Any]) -> list[str]:
    return [peer[name] for name in ("node", "peer", "state", "health", "transport")]


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _event(event: dict[str, Any]) -> list[str]:
    facts = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in event.items() if v and k not in ("at", "node", "type"))
    when = datetime.fromtimestamp(event["at"]).strftime("%H:%M:%S.%f")[:-3]
    return [when, event["node"], event["type"], facts]
