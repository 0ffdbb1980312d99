"""`redoubt explain`: why a registration or a call ended as it did."""

from datetime import datetime
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
    shown,
)

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
    found = run(_attempts(config_path, about, last))
    if as_json:
        print_json({"about": about, "attempts": found})
    elif not found:
        fail(
            f"nothing is known about {about}: no attempt reached this network since it started;"
            " is the phone's P-CSCF address right?"
        )
    for attempt in found if not as_json else ():
        _print(attempt)


async def _attempts(config_path: Path, about: str, last: int) -> list[dict[str, Any]]:
    """What the processes of this network know of the same attempts: some learn of a user by Call-ID alone."""
    named = await ask_everyone(config_path, "explain", about=about, last=last)
    if len(named) == 1:
        return list(named[0])
    found = {attempt["call_id"]: attempt for answer in named for attempt in answer if attempt["call_id"]}
    if not found:  # what an HSS refused to CSCFs elsewhere
        return [attempt for answer in named for attempt in answer][-last:]
    newest = sorted(found.values(), key=lambda attempt: attempt["at"])[-last:]
    whole = [await ask_everyone(config_path, "explain", about=one["call_id"], last=1) for one in newest]
    return [_together([attempt for answer in answers for attempt in answer]) for answers in whole]


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One attempt from what each process saw: the cause before its consequences, and who knows most of a success."""
    checks = sorted((check for part in parts for check in part["checks"]), key=lambda check: check["at"])
    failed = [part for part in parts if not part["passed"]]
    word = max(failed, key=lambda part: bool(part["advice"])) if failed else max(parts, key=lambda p: p["ended"])
    identities = {name: next((part[name] for part in parts if part[name]), "") for name in ("impi", "impu")}
    return {**word, **identities, "at": min(part["at"] for part in parts), "checks": checks}


def _print(attempt: dict[str, Any]) -> None:
    when = datetime.fromtimestamp(attempt["at"]).strftime("%H:%M:%S")
    mark = "[green]✓[/]" if attempt["passed"] else "[red]✗[/]"
    who = shown(attempt["impu"] or attempt["impi"])
    console.print(f"\n{mark} [bold]{when}[/] {who} [dim]{shown(attempt['call_id'])}[/]")
    rows = [
        ["✓" if check["passed"] else "✗", check["step"], check["node"], check["rule"], check.get("clause", "")]
        for check in attempt["checks"]
    ]
    if rows:
        print_rows(["", "step", "where", "check", "clause"], rows)
    console.print(f"[bold]verdict[/]  {shown(attempt['verdict'])}")
    for name in ("expected", "seen", "fault", "clause"):
        if attempt[name] and attempt[name] != "nobody":
            console.print(f"{name:<8} {shown(attempt[name])}")
    if attempt["advice"]:
        console.print(f"[bold]try[/]      {shown(attempt['advice'])}")
