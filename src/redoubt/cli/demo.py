"""`redoubt demo`: everything at once, for somebody who has just installed it."""

import sys

import click

from redoubt.cli.output import console, errors, fail, json_option, print_json, run, says_what_went_wrong
from redoubt.cli.trace_files import Recording, keys_option, pcap_option
from redoubt.lab.demo import demo
from redoubt.network.run import Network
from redoubt.network.tracing import trace

EXAMPLES = """\b
Examples:
  redoubt demo
  redoubt demo | less -R             a ladder in plain characters
  redoubt demo --json                the verdict only
  redoubt demo --pcap demo.pcapng    all of it for Wireshark, decrypted
"""


@click.command(epilog=EXAMPLES)
@pcap_option
@keys_option
@json_option
@says_what_went_wrong
def command(pcap: str | None, keys: str | None, as_json: bool) -> None:
    """Start a network on loopback, register two phones, place a call, take it down, and show every message.

    Beside each step stands what it proved. Ends with a verdict; exit status 0 if every claim held.
    """
    if pcap == "-":
        fail("--pcap -: standard output is taken by the demo itself; name a file", as_json, 2)
    with Recording(pcap or "", keys or "") as recording:

        async def record(network: Network) -> None:
            wanted = {"messages": recording.wants_messages, "keys": recording.wants_keys}
            async for item in await trace(network, wanted):
                recording.take(item, 0)

        verdict = run(demo(None if as_json else console, watcher=record if pcap or keys else None))
    if as_json:
        claims = [{"claim": text, "held": held} for text, held in verdict.claims]
        print_json({"passed": verdict.passed, "messages": verdict.messages, "claims": claims})
    elif pcap or keys:
        errors.print(recording.sentence(), markup=False, highlight=False)
    sys.exit(verdict.exit_status)
