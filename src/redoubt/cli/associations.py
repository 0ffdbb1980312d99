"""`redoubt associations`: the IPsec associations of a running P-CSCF, phone by phone."""

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
)
from redoubt.cli.status import duration

EXAMPLES = """\b
Examples:
  redoubt associations
  redoubt associations sip:alice@ims.mnc001.mcc001.3gppnetwork.org
  redoubt associations --json | jq '.[] | select(.bad_tags > 0)'
"""
HEAD = ["phone", "state", "mode", "algorithms", "SPIs", "ports", "age", "left", "in", "out", "replays", "bad tags"]


@click.command(epilog=EXAMPLES)
@click.argument("identity", default="")
@config_option
@json_option
@says_what_went_wrong
def command(identity: str, config_path: Path, as_json: bool) -> None:
    """Show who is protected, by what, how long still and what passed; of one private or public IDENTITY if given.

    SPIs and ports stand as client and server end of the phone, then of the P-CSCF; packets with their octets.
    """
    found = [row for part in run(ask_everyone(config_path, "associations", about=identity)) for row in part]
    if as_json:
        print_json(found)
    elif found:
        print_rows(HEAD, [_shown(row) for row in found])
    else:
        console.print(f"no associations of {identity}" if identity else "no associations")


def _shown(row: dict[str, Any]) -> list[str]:
    return [
        row["impi"].partition("@")[0] + f" at {row['address']}",
        row["state"],
        row["mode"],
        row["algorithms"].removeprefix("null/"),
        _four(row["phone_spis"], row["network_spis"], "08x"),
        _four(row["phone_ports"], row["network_ports"], "d"),
        duration(row["age_s"]),
        duration(row["left_s"]),
        f"{row['received_packets']} ({row['received_octets']})",
        f"{row['sent_packets']} ({row['sent_octets']})",
        str(row["replayed"]),
        str(row["bad_tags"]),
    ]


def _four(phone: list[int], network: list[int], kind: str) -> str:
    return " - ".join("/".join(format(number, kind) for number in ends) for ends in (phone, network))
