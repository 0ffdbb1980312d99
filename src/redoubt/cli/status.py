"""`redoubt status`: what a running network is doing."""

from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    config_option,
    console,
    control_socket,
    json_option,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
)
from redoubt.network.control import ask

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
    """Show what a running network is doing: functions, addresses, tables, protections that are off, last events."""
    status = run(ask(control_socket(config_path), "status", events=count))
    if as_json:
        print_json(status)
        return
    _print(status)


def _print(status: dict[str, Any]) -> None:
    console.print(f"[bold]{status['realm']}[/], access policy {status['access_policy']}, up {status['up_s']:.0f} s")
    if status["protections_off"]:
        console.print(f"[bold red]protections off: {', '.join(status['protections_off'])}[/]")
    print_rows(["function", "address"], [[name, address] for address, name in status["listening"].items()])
    print_rows(["table", "entries"], [[name, str(size)] for name, size in status["tables"].items()])
    if peers := status["diameter"]:
        print_rows(list(peers[0]), [[str(value) for value in peer.values()] for peer in peers], "Diameter")
    for event in status["events"]:
        kind = event.pop("type")
        console.print(
            f"[dim]{event.pop('at'):.3f}[/] {event.pop('node')} [bold]{kind}[/] "
            + " ".join(f"{k}={v}" for k, v in event.items() if v),
            markup=True,
        )
