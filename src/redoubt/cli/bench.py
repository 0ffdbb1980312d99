"""`redoubt bench`: what a registration, a call, a message or a question to the HSS costs on this machine."""

from dataclasses import asdict
from typing import Any, cast

import click
from rich.progress import Progress, TaskID

from redoubt.cli.output import console, errors, fail, json_option, print_json, print_rows, says_what_went_wrong
from redoubt.lab.bench import Name, Result, Tick, bench
from redoubt.lab.bench_gm import GOAL, MESSAGE_OCTETS, GmCost, bench_gm
from redoubt.lab.bench_hss import bench_hss
from redoubt.lab.bench_interconnect import InterconnectCost, bench_interconnect
from redoubt.lab.bench_media import MediaCost, bench_media
from redoubt.lab.constant import Timing, timing
from redoubt.lab.load import LoadFailed

EXAMPLES = """\b
Examples:
  redoubt bench registration
  redoubt bench call --count 20000 --json
  redoubt bench hss --json                  the HSS alone, asked by Diameter; the first figures are those of MAR
  redoubt bench gm                          what IPsec costs: a message each way, a set in memory, a registration
  redoubt bench media --count 60000         what the relay takes for a packet, and how many calls a core carries
  redoubt bench interconnect                a call between two operators by TLS, and how many times one inside it costs
  redoubt bench timing                      what a clock tells a stranger (constant time, equal answers)
  redoubt bench registration --profile      where the time goes, by layer (slower: the profiler counts every call)
"""
OPERATIONS = ["registration", "call", "message", "hss", "gm", "media", "interconnect", "timing"]


@click.command(epilog=EXAMPLES)
@click.argument("operation", type=click.Choice(OPERATIONS))
@click.option("--count", type=click.IntRange(100, 60_000), default=5000, show_default=True, help="How many.")
@click.option("--profile", is_flag=True, help="Also print where the network's time goes, by folder of the code.")
@json_option
@says_what_went_wrong
def command(operation: str, count: int, profile: bool, as_json: bool) -> None:
    """Measure a whole network on one core of this machine, its durable store on, driven from a second core.

    registration: REGISTER, 401, REGISTER, 200 through P-, I-, S-CSCF and HSS. call: INVITE, 180, 200, ACK, BYE, 200.
    message: MESSAGE, 200. hss: UAR, MAR, SAR and LIR by Diameter over TCP to an HSS of its own. gm: IPsec between phone
    and P-CSCF: messages, and a tenth as many registrations by test phones in the clear, then under IPsec. media: RTP
    packets through the relay. interconnect: a call inside one network, then one between two operators, each a process,
    over mutual TLS with hidden topology. timing: whether answers and comparisons take equal time. CPU is that of all
    networks' processes; rate is at saturation; latency at 100 a second; memory is resident memory per registered user.
    """
    with Progress(console=errors, transient=True, disable=as_json) as progress:
        bars: dict[str, TaskID] = {}

        def tick(what: str, done: int, of: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=of)
            if done % 50 == 0 or done == of:
                progress.update(bars[what], completed=done)

        if operation == "timing":
            timings = timing(tick=tick)
        elif operation == "gm":
            cost = _gm(count, tick, as_json)
        elif operation == "media":
            media = _media(count, tick, as_json)
        elif operation == "interconnect":
            interconnect = _interconnect(count, profile, tick, as_json)
        else:
            results = _measured(operation, count, profile, tick, as_json)
    if operation == "timing":
        _print_timings(timings, as_json)
    elif operation == "gm":
        _print_gm(cost, as_json)
    elif operation == "media":
        _print_media(media, as_json)
    elif operation == "interconnect":
        _print_interconnect(interconnect, as_json)
    elif as_json:
        print_json(_as_json(operation, results))
    else:
        _print(results, "HSS" if operation == "hss" else "network")


def _measured(operation: str, count: int, profile: bool, tick: Tick, as_json: bool) -> list[Result]:
    try:
        if operation == "hss":
            return bench_hss(count, profiled=profile, tick=tick)
        return [bench(cast(Name, operation), count, profiled=profile, tick=tick)]
    except LoadFailed as error:
        fail(f"what was measured did not keep up or refused: {error}", as_json)


def _gm(count: int, tick: Tick, as_json: bool) -> GmCost:
    try:
        return bench_gm(count, tick)
    except LoadFailed as error:
        fail(f"what was measured did not keep up or refused: {error}", as_json)


def _media(count: int, tick: Tick, as_json: bool) -> MediaCost:
    try:
        return bench_media(count, tick)
    except LoadFailed as error:
        fail(f"what was measured did not keep up: {error}", as_json)


def _interconnect(count: int, profile: bool, tick: Tick, as_json: bool) -> InterconnectCost:
    try:
        return bench_interconnect(count, profiled=profile, tick=tick)
    except LoadFailed as error:
        fail(f"what was measured did not keep up or refused: {error}", as_json)


def _print_interconnect(cost: InterconnectCost, as_json: bool) -> None:
    if as_json:
        print_json({"operation": "interconnect", "ratio": cost.ratio, **asdict(cost)})
        return
    _print([cost.inside, cost.between], "network, then both networks")
    console.print(f"a call between two operators costs {cost.ratio} times one inside a network")


def _print_media(cost: MediaCost, as_json: bool) -> None:
    if as_json:
        print_json({"operation": "media", **asdict(cost)})
        return
    console.print(
        f"[bold]media[/], {cost.packets} RTP packets of 172 octets through the relay on one core: {cost.cpu_us} us"
        f" each, {cost.rate_per_s}/s, which is {cost.calls_per_core} calls of G.711"
    )


def _print_gm(cost: GmCost, as_json: bool) -> None:
    if as_json:
        print_json({"operation": "gm", "ratio": cost.ratio, "goal": GOAL, **asdict(cost)})
        return
    console.print(f"[bold]IPsec[/], {MESSAGE_OCTETS} octets of SIP in ESP in UDP, on one core")
    print_rows(["algorithms", "out", "in"], [[one.suite, f"{one.out_us} us", f"{one.in_us} us"] for one in cost.suites])
    console.print(f"an association set takes {cost.bytes_per_set} B of the P-CSCF's memory")
    console.print(
        f"a registration by the same phones ({cost.registrations} each way) costs the network {cost.clear_us} us in the"
        f" clear and {cost.esp_us} us under IPsec, {100 * (cost.ratio - 1):+.0f} %"
        f" (goal: at most {100 * (GOAL - 1):+.0f} %)"
    )


def _print_timings(timings: list[Timing], as_json: bool) -> None:
    if as_json:
        print_json({"operation": "timing", "results": [asdict(one) for one in timings]})
        return
    rows = [
        [
            one.question,
            str(one.count),
            f"{one.first_us} / {one.second_us} us",
            f"{one.t} (noise {one.noise_t})",
            f"{one.accuracy:.3f}",
            "no" if one.indistinguishable else "yes",
        ]
        for one in timings
    ]
    print_rows(["two kinds", "tries", "medians", "Welch's t", "best guess", "can be told apart"], rows)


def _as_json(operation: str, results: list[Result]) -> dict[str, Any]:
    """The one result; of `hss` that of MAR, under the name that was asked for, and all four."""
    told = [{name: value for name, value in asdict(one).items() if name != "layers" or value} for one in results]
    if len(told) == 1:
        return told[0]
    (mar,) = [one for one in told if one["operation"] == "MAR"]
    return {**mar, "operation": operation, "operations": told}


def _print(results: list[Result], measured: str) -> None:
    operations = ", ".join(one.operation for one in results)
    console.print(f"[bold]{operations}[/], {results[0].count} times, {measured} on one core")
    print_rows(
        ["", "CPU", "rate", "p50 at 100/s", "p99 at 100/s", "memory per user"],
        [[
            one.operation, f"{one.cpu_us} us", f"{one.rate_per_s}/s", f"{one.p50_ms} ms", f"{one.p99_ms} ms",
            f"{one.bytes_per_user} B" if one.bytes_per_user else "",
        ] for one in results],
    )  # fmt: skip
    for one in results:
        if one.layers:
            rows = [[layer, str(spent)] for layer, spent in one.layers.items()]
            print_rows([f"{one.operation}, by layer", "us each (profiled)"], rows)
