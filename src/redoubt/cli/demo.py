"""`redoubt demo`: everything at once, for somebody who has just installed it."""

import asyncio
import sys

import click

from redoubt.cli.output import console, errors, fail, json_option, print_json, run, says_what_went_wrong
from redoubt.cli.trace_files import Recording, keys_option, pcap_option
from redoubt.cli.ue_phone import end_on_signals
from redoubt.lab.demo import Verdict, demo
from redoubt.lab.demo_interconnect import demo_interconnect
from redoubt.lab.demo_interconnect_show import Outcome
from redoubt.network.run import Network
from redoubt.network.tracing import trace

EXAMPLES = """\b
Examples:
  redoubt demo
  redoubt demo | less -R             a ladder in plain characters
  redoubt demo --json                the verdict only
  redoubt demo --pcap demo.pcapng    all of it for Wireshark, decrypted
  redoubt demo interconnect          several operators that roam and peer
"""
INTERCONNECT_EXAMPLES = """\b
Examples:
  redoubt demo interconnect               with root: network namespaces, and security gateways if strongSwan is here
  redoubt demo interconnect --loopback    without them, as without root
  redoubt demo interconnect --json | jq '.wires[] | {act, wire, messages, keys}'
"""


@click.group(epilog=EXAMPLES, invoke_without_command=True)
@pcap_option
@keys_option
@json_option
@click.pass_context
@says_what_went_wrong
def command(context: click.Context, pcap: str | None, keys: str | None, as_json: bool) -> None:
    """Start a network on loopback, register two phones, place a call, take it down, and show every message.

    Beside each step stands what it proved. Ends with a verdict; exit status 0 if every claim held.
    """
    if context.invoked_subcommand is not None:
        return
    if pcap == "-":
        fail("--pcap -: standard output is taken by the demo itself; name a file", as_json, 2)
    with Recording(pcap or "", keys or "") as recording:

        async def record(network: Network) -> None:
            wanted = {"messages": recording.wants_messages, "keys": recording.wants_keys}
            async for item in await trace(network, wanted):
                recording.take(item, 0)

        verdict = run(demo(None if as_json else console, watcher=record if pcap or keys else None))
    if as_json:
        print_json(_told(verdict))
    elif pcap or keys:
        errors.print(recording.sentence(), markup=False, highlight=False)
    sys.exit(verdict.exit_status)


@command.command(epilog=INTERCONNECT_EXAMPLES)
@click.option("--loopback", is_flag=True, help="Stay on loopback addresses, even with root.")
@json_option
@says_what_went_wrong
def interconnect(loopback: bool, as_json: bool) -> None:
    """Operators that roam and peer: over the bare Internet, by TLS between borders, by a hub, by security gateways.

    Everything on each wire is kept. Beside the ladders stands what an eavesdropper there has learned: messages, who
    calls whom, names of nodes, keys of phones. Ends with a verdict; exit status 0 if every claim held.
    """
    outcome = run(_played(loopback, as_json))
    if as_json:
        wires = [
            {"act": act, "wire": found.link, "octets": found.octets, "messages": found.messages,
             "identities": found.identities, "nodes": found.nodes, "keys": found.keys, "packets": found.packets}
            for act, found in outcome.findings
        ]  # fmt: skip
        print_json({**_told(outcome.verdict), "where": outcome.where, "left_out": outcome.left_out, "wires": wires})
    sys.exit(outcome.verdict.exit_status)


async def _played(loopback: bool, as_json: bool) -> Outcome:
    """However it ends, its namespaces and gateways end with it."""
    end_on_signals()
    try:
        return await demo_interconnect(None if as_json else console, namespaces=False if loopback else None)
    except asyncio.CancelledError:
        raise SystemExit(130) from None


def _told(verdict: Verdict) -> dict[str, object]:
    claims = [{"claim": text, "held": held} for text, held in verdict.claims]
    return {"passed": verdict.passed, "messages": verdict.messages, "claims": claims}
