"""`redoubt explain`: why a registration or a call ended as it did."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    config_option,
    console,
    control_socket,
    fail,
    json_option,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
)
from redoubt.network.control import ask

EXAMPLES = """\b
Examples:
  redoubt explain sip:alice@ims.mnc001.mcc001.3gppnetwork.org
  redoubt explain alice@ims.mnc001.mcc001.3gppnetwork.org     by private identity
  redoubt explain 8f14e45f@192.0.2.4                          by Call-ID
"""


@click.command(epilog=EXAMPLES)
@click.argument("about", metavar="IMPU|IMPI|CALL-ID")
@click.option("--last", type=click.IntRange(1, 50), default=5, show_default=True, help="How many attempts.")
@config_option
@json_option
@says_what_went_wrong
def command(about: str, last: int, config_path: Path, as_json: bool) -> None:
    """Say which step and which check decided the last registrations or calls of a user.

    For each attempt: what was expected and seen, whose fault it is, the clause, and what to try.
    """
    found = run(ask(control_socket(config_path), "explain", about=about, last=last))
    if as_json:
        print_json({"about": about, "attempts": found})
    elif not found:
        fail(
            f"nothing is known about {about}: no attempt reached this network since it started;"
            " is the phone's P-CSCF address right?"
        )
    for attempt in found if not as_json else ():
        _print(attempt)


def _print(attempt: dict[str, Any]) -> None:
    when = datetime.fromtimestamp(attempt["at"]).strftime("%H:%M:%S")
    mark = "[green]✓[/]" if attempt["passed"] else "[red]✗[/]"
    console.print(f"\n{mark} [bold]{when}[/] {attempt['impu'] or attempt['impi']} [dim]{attempt['call_id']}[/]")
    rows = [
        ["✓" if check["passed"] else "✗", check["step"], check["node"], check["rule"], check.get("clause", "")]
        for check in attempt["checks"]
    ]
    if rows:
        print_rows(["", "step", "where", "check", "clause"], rows)
    console.print(f"[bold]verdict[/]  {attempt['verdict']}")
    for name in ("expected", "seen", "fault", "clause"):
        if attempt[name] and attempt[name] != "nobody":
            console.print(f"{name:<8} {attempt[name]}", markup=False)
    if attempt["advice"]:
        console.print(f"[bold]try[/]      {attempt['advice']}")
