"""The `redoubt` command: one file a verb. Loaded when asked for, so that `redoubt --help` is quick."""

import importlib
from typing import Any

import click

VERBS = {
    "init": "Write a commented redoubt.toml and the keys of a new network.",
    "up": "Run the network that redoubt.toml describes, or some of its functions.",
    "status": "Show what a running network is doing.",
    "partners": "Show other networks: the agreement, how it is secured, its health, requests in and out.",
    "pki": "Certificates for the border: an authority, nodes, revocation, cross-certification with partners.",
    "associations": "Show the IPsec associations of phones: algorithms, state, life, what passed.",
    "gateways": "Show the tunnels to partners' security gateways: state, cause, packets, keys.",
    "trace": "Write what a running network says, decrypted, for Wireshark; or the keys of ESP.",
    "check": "Try from each network what can be reached, and print the packet filter.",
    "explain": "Say why a registration or call ended as it did.",
    "hiding": "Make, rotate and show the keys of topology hiding; read its tokens.",
    "dns": "Serve this operator's zones in a lab, signed; find names and numbers as this network does.",
    "subscriber": "Add, show, list, import and remove subscribers.",
    "ue": "A test phone with a software ISIM: register, call, answer, message, deregister.",
    "demo": "Start a network, register two phones, call, show every message; or several operators that interconnect.",
    "bench": "Measure registrations, calls and messages: CPU, rate, latency, memory.",
}


class Verbs(click.Group):
    """Finds a verb in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command = importlib.import_module(f"redoubt.cli.{name}").command
        assert isinstance(command, click.Command)
        command.short_help = VERBS[name]
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        import difflib

        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, 1)
            ctx.fail(
                f"there is no command {args[0]}; " + (f"did you mean {near[0]}?" if near else "see redoubt --help")
            )
        return super().resolve_command(ctx, args)


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `redoubt demo`; then `redoubt init`, `redoubt up`, `redoubt subscriber add alice`.",
)
@click.version_option(package_name="redoubt-ims", prog_name="redoubt")
def main() -> None:
    """Redoubt: a secure IMS core. Every command has --help with examples, and --json."""
