"""`redoubt gateways`: the tunnels to partners' security gateways (Za), and strongSwan's settings for ours."""

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
from redoubt.cli.status import duration
from redoubt.ndm.gateway_settings import settings
from redoubt.network.configuration import load

EXAMPLES = """\b
Examples:
  redoubt gateways
  redoubt gateways --json | jq '.[] | select(.stands | not)'
  redoubt gateways --strongswan > /etc/strongswan.conf
  redoubt gateways --strongswan --user-space    where the kernel has no ESP
"""
HEAD = ["tunnel", "to", "state", "since", "algorithms", "SPIs in/out", "renewed in", "ends in", "renewals", "falls"]


@click.command(epilog=EXAMPLES)
@click.option("--strongswan", is_flag=True, help="Print strongSwan's settings for our gateway, and ask nobody.")
@click.option("--user-space", is_flag=True, help="With --strongswan: charon does ESP itself (kernel-libipsec).")
@config_option
@json_option
@says_what_went_wrong
def command(strongswan: bool, user_space: bool, config_path: Path, as_json: bool) -> None:
    """Show the tunnels of [[gateways]]: whether each stands, or why not, and the packets that it carried.

    encaps, encrypt and digest count what was sent, decaps, decrypt and verify what came, over all keys of the tunnel.
    """
    if strongswan:
        _settings(config_path, user_space, as_json)
        return
    rows = [row for part in run(ask_everyone(config_path, "gateways")) for row in part]
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print(shown("no tunnels: redoubt.toml has no [[gateways]], or nothing runs here that uses one"))
        return
    print_rows(HEAD, [_state(row) for row in rows])
    for row in rows:
        _packets(row)


def _settings(config_path: Path, user_space: bool, as_json: bool) -> None:
    """For one daemon; gateways of several need a file each."""
    sockets = list(dict.fromkeys(gateway.vici for gateway in load(config_path).gateways))
    if not sockets:
        fail("redoubt.toml has no [[gateways]]; write one first", as_json)
    texts = {path: settings(path, user_space=user_space) for path in sockets}
    print_json(texts) if as_json else click.echo("\n".join(texts.values()), nl=False)


def _state(row: dict[str, Any]) -> list[str]:
    since = datetime.fromtimestamp(row["since"]).strftime("%Y-%m-%d %H:%M:%S")
    if not row["stands"]:
        return [row["name"], row["remote"], f"down: {row['cause']}", since, "", "", "", "", str(row["renewals"]),
                str(row["falls"])]  # fmt: skip
    algorithms = f"{row['ike']}; ESP {row['esp']}" + (" in UDP" if row["udp"] else "")
    return [
        row["name"], row["remote"], "stands", since, algorithms,
        f"{row['spi_in']}/{row['spi_out']}", duration(row["renewed_in_s"]), duration(row["left_s"]),
        str(row["renewals"]), str(row["falls"]),
    ]  # fmt: skip


def _packets(row: dict[str, Any]) -> None:
    """As gateways have shown it for decades (seed 001)."""
    console.print()
    networks = f"{', '.join(row['local_networks'])} <-> {', '.join(row['remote_networks'])}"
    console.print(f"[bold]{shown(row['name'])}[/]: {shown(networks)}")
    for names in (("encaps", "encrypt", "digest"), ("decaps", "decrypt", "verify")):
        console.print("  " + ", ".join(f"#pkts {name}: {row[name]}" for name in names))
    console.print(f"  #octets out: {row['octets_out']}, #octets in: {row['octets_in']}")
    errors = ", ".join(
        f"#{name} errors {row[key]}" for name, key in (("send", "send_errors"), ("rcv", "receive_errors"))
    )
    console.print(f"  {errors}, #attempts refused {row['refusals']}")
