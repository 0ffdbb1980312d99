"""`redoubt bench`: what a registration, a call or a message costs on this machine."""

from dataclasses import asdict

import click
from rich.progress import Progress

from redoubt.cli.output import console, errors, fail, json_option, print_json, print_rows, says_what_went_wrong
from redoubt.lab.bench import Result, bench
from redoubt.lab.load import LoadFailed

EXAMPLES = """\b
Examples:
  redoubt bench registration
  redoubt bench call --count 20000 --json
  redoubt bench registration --profile      where the time goes, by layer (slower: the profiler counts every call)
"""


@click.command(epilog=EXAMPLES)
@click.argument("operation", type=click.Choice(["registration", "call", "message"]))
@click.option(
    "--count", type=click.IntRange(100, 60_000), default=5000, show_default=True, help="How many."
)
@click.option("--profile", is_flag=True, help="Also print where the network's time goes, by folder of the code.")
@json_option
@says_what_went_wrong
def command(operation: str, count: int, profile: bool, as_json: bool) -> None:
    """Measure a whole network on one core of this machine, its durable store on, driven from a second core.

    registration: REGISTER, 401, REGISTER, 200 through P-, I-, S-CSCF and HSS. call: INVITE, 180, 200, ACK, BYE, 200.
    message: MESSAGE, 200. CPU is that of all the network's processes; rate is at saturation; latency at 100 a second;
    memory is resident memory per registered user.
    """
    try:
        with Progress(console=errors, transient=True, disable=as_json) as progress:
            bars: dict[str, int] = {}

            def tick(what: str, done: int, of: int) -> None:
                if what not in bars:
                    bars[what] = int(progress.add_task(what, total=of))
                if done % 50 == 0 or done == of:
                    progress.update(bars[what], completed=done)  # type: ignore[arg-type]

            result = bench(operation, count, profiled=profile, tick=tick)  # type: ignore[arg-type]
    except LoadFailed as error:
        fail(f"the network did not keep up or refused: {error}", as_json)
    _print(result, as_json)


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        print_json({name: value for name, value in asdict(result).items() if name != "layers" or value})
        return
    console.print(f"[bold]{result.operation}[/], {result.count} times, network on one core")
    print_rows(
        ["CPU", "rate", "p50 at 100/s", "p99 at 100/s", "memory per user"],
        [[
            f"{result.cpu_us} us", f"{result.rate_per_s}/s", f"{result.p50_ms} ms", f"{result.p99_ms} ms",
            f"{result.bytes_per_user} B",
        ]],
    )  # fmt: skip
    if result.layers:
        print_rows(["layer", "us each (profiled)"], [[layer, str(spent)] for layer, spent in result.layers.items()])
