"""`redoubt demo`: everything at once, for somebody who has just installed it."""

import sys

import click

from redoubt.cli.output import console, json_option, print_json, run, says_what_went_wrong
from redoubt.lab.demo import demo

EXAMPLES = """\b
Examples:
  redoubt demo
  redoubt demo | less -R      a ladder in plain characters
  redoubt demo --json         the verdict only
"""


@click.command(epilog=EXAMPLES)
@json_option
@says_what_went_wrong
def command(as_json: bool) -> None:
    """Start a network on loopback, register two phones, place a call, take it down, and show every message.

    Beside each step stands what it proved. Ends with a verdict; exit status 0 if every claim held.
    """
    verdict = run(demo(None if as_json else console))
    if as_json:
        claims = [{"claim": text, "held": held} for text, held in verdict.claims]
        print_json({"passed": verdict.passed, "messages": verdict.messages, "claims": claims})
    sys.exit(verdict.exit_status)
