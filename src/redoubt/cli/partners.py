"""`redoubt partners`: the agreements of a running border, and how each goes."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    ask_everyone,
    config_option,
    console,
    json_option,
    opened,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
    shown,
)

EXAMPLES = """\b
Examples:
  redoubt partners
  redoubt partners home2.net
  redoubt partners --json | jq '.[] | select(.health == "failing") | {name, last_refusal}'
"""
HEAD = ["partner", "relation", "trusted", "security", "health", "connections", "in", "out", "refusals"]


@click.command(epilog=EXAMPLES)
@click.argument("partner", default="")
@config_option
@json_option
@says_what_went_wrong
def command(partner: str, config_path: Path, as_json: bool) -> None:
    """Show each partner of [[partners]]: the relation, how it is secured, its health, requests in and out.

    PARTNER is a name or a domain. Health: connected, idle (no connection is needed now), failing (the last one came to
    nothing; the cause stands below), tunnel up or down (without the tunnel nothing is sent), in clear.
    """
    config, _directory = opened(config_path)
    found = [row for part in run(ask_everyone(config_path, "partners", about=partner)) for row in part]
    if as_json:
        print_json(found)
        return
    if not found:
        hint = "no agreement" if config.partners else "no agreements: write [[partners]] and \\[ibcf] listen"
        console.print(f"{hint} of {shown(partner)}" if partner else hint)
        return
    print_rows(HEAD, [_cells(row) for row in found])
    for row in found:
        if row["last_refusal"]:
            when = datetime.fromtimestamp(row["last_refusal_at"]).strftime("%d %b %H:%M:%S")
            console.print(f"\n[bold]{shown(row['name'])}[/], {when}: {shown(row['last_refusal'])}")


def _cells(row: dict[str, Any]) -> list[str]:
    counts = [str(row[name]) for name in ("connections", "requests_in", "requests_out", "refusals")]
    trusted = "yes" if row["trusted"] else "no"
    return [row["name"], ", ".join(row["relation"]) or "none", trusted, row["security"], row["health"], *counts]
