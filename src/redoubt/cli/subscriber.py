"""`redoubt subscriber`: who may register. Works on the HSS's store, whether or not a network runs on it."""

from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    config_option,
    console,
    json_option,
    opened,
    print_json,
    print_rows,
    print_tree,
    run,
    says_what_went_wrong,
)
from redoubt.cli.subscriber_change import (
    administer,
    bar,
    change,
    deregister,
    identity_argument,
    reassign,
    remove,
    unbar,
)
from redoubt.cli.subscriber_files import export, import_
from redoubt.hss.administration import Administration
from redoubt.hss.provisioning import described, offline, subscriber_of
from redoubt.phone.sim_file import SimFile, write_sim_file
from redoubt.sources import SystemRandomness

EXAMPLES = """\b
Examples:
  redoubt subscriber add alice                                   keys are made; the SIM file is for `redoubt ue`
  redoubt subscriber add bob --k HEX --opc HEX --impu tel:+15550100 --impu sip:bob@example.org
  redoubt subscriber list --json
  redoubt subscriber import cards.csv
  redoubt subscriber bar tel:+15550100                           at once, in a running network too
"""


@click.group(epilog=EXAMPLES)
def command() -> None:
    """Subscribers: add, show, list, change, bar, import, export, remove. Keys are stored encrypted, never shown."""


@command.command(epilog=EXAMPLES)
@click.argument("name")
@click.option("--k", help="The card's K, 32 hexadecimal digits; made at random when absent.")
@click.option("--opc", help="OPc, 32 hexadecimal digits; made at random when neither --opc nor --op is given.")
@click.option("--op", help="OP, from which OPc is derived.")
@click.option("--amf", default="8000", show_default=True, help="AMF, 4 hexadecimal digits.")
@click.option("--sqn", default="0", show_default=True, help="The last SQN used, up to 12 hexadecimal digits.")
@click.option("--algorithm", type=click.Choice(["milenage", "tuak"]), default="milenage", show_default=True)
@click.option("--impu", "impus", multiple=True, help="A public identity (may be repeated); default sip:NAME@REALM.")
@click.option("--visited-network", "visited", multiple=True, help="A network to roam in; default: home only.")
@config_option
@json_option
@says_what_went_wrong
def add(
    name: str, impus: tuple[str, ...], visited: tuple[str, ...], config_path: Path, as_json: bool, **keys: str
) -> None:
    """Add a subscriber. NAME is a user name (NAME@REALM becomes the private identity) or a whole private identity."""
    config, directory = opened(config_path)
    impi = name if "@" in name else f"{name}@{config.network.realm}"
    fields: dict[str, Any] = {field: value for field, value in keys.items() if value}
    fields |= {"impi": impi, "impus": list(impus) or [f"sip:{impi}"], "visited-networks": list(visited)}
    octets = 32 if fields["algorithm"] == "tuak" else 16
    fields.setdefault("k", SystemRandomness().octets(16).hex())
    if "op" not in fields:
        fields.setdefault("opc", SystemRandomness().octets(octets).hex())

    async def work() -> None:
        async with offline(directory, config.hss, config.network.realm) as administration:
            await administration.add([subscriber_of(fields)])

    run(work())
    sim = SimFile(
        impi=impi, impus=fields["impus"], realm=config.network.realm, k=fields["k"], opc=fields.get("opc", ""),
        op=fields.get("op", ""), amf=fields["amf"], algorithm=fields["algorithm"],
    )  # fmt: skip
    path = write_sim_file(directory / "sim" / f"{impi.split('@')[0]}.json", sim)
    if as_json:
        print_json({"impi": impi, "impus": fields["impus"], "sim_file": str(path)})
        return
    console.print(f"added [cyan]{impi}[/] with {', '.join(fields['impus'])}")
    console.print(f"its SIM for the test phone: [cyan]{path}[/] (holds K: mode 0600). Next: redoubt ue register {name}")


@command.command(epilog="Example: redoubt subscriber show sip:alice@ims.mnc001.mcc001.3gppnetwork.org")
@identity_argument
@config_option
@json_option
@says_what_went_wrong
def show(identity: str, config_path: Path, as_json: bool) -> None:
    """Show a subscriber: sets, registration, S-CSCF, sequence numbers; never keys.

    IDENTITY is a private or public identity, or the NAME that `add` took.
    """

    async def alone(hss: Administration) -> dict[str, Any]:
        return described(await hss.show(identity))

    found = administer(config_path, "subscriber-show", alone, identity=identity)
    if as_json:
        print_json(found)
        return
    print_tree(found)


@command.command("list", epilog="Example: redoubt subscriber list --json | jq -r '.subscribers[].private[0].impi'")
@config_option
@json_option
@says_what_went_wrong
def list_(config_path: Path, as_json: bool) -> None:
    """List all subscribers with their registration state."""
    config, directory = opened(config_path)

    async def work() -> list[dict[str, Any]]:
        async with offline(directory, config.hss, config.network.realm) as administration:
            return [described(subscription) async for subscription in administration.subscriptions()]

    found = run(work())
    if as_json:
        print_json({"subscribers": found})
        return
    rows = [
        [private["impi"], " ".join(one["impus"]), one["state"], row["s-cscf"]]
        for row in found
        for private in row["private"]
        for one in row["sets"]
    ]
    print_rows(["private identity", "public identities", "state", "S-CSCF"], rows)


for _verb in (import_, export, remove, bar, unbar, reassign, deregister, change):
    command.add_command(_verb)
