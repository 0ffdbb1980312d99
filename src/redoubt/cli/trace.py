"""`redoubt trace`: what a running network says, in the clear, as a capture file; and the keys of ESP on demand."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import msgspec

from redoubt.cli.output import (
    config_option,
    control_socket,
    errors,
    fail,
    json_option,
    print_json,
    run,
    says_what_went_wrong,
)
from redoubt.cli.trace_files import Recording, keys_option, pcap_option
from redoubt.network.control import ControlError, NotRunning, follow
from redoubt.network.tracing import Began, Item

EXAMPLES = """\b
Examples:
  redoubt trace --pcap calls.pcapng               until Ctrl-C
  redoubt trace --pcap calls.pcapng --seconds 60
  redoubt trace --pcap - | wireshark -k -i -      watch it live
  redoubt trace --keys esp_sa --pcap calls.pcapng
\b
Decrypt a capture of the wire (of tcpdump, say) that was taken while --keys ran:
  mkdir -p ~/.config/wireshark/profiles/redoubt
  cp esp_sa ~/.config/wireshark/profiles/redoubt/esp_sa
  wireshark -C redoubt -o esp.enable_encryption_decode:TRUE wire.pcap
\b
The key file opens everything that was captured of those phones. It is this user's alone (mode 0600): delete it when it
has served. Its comments say until when each association set lives; the next authentication of a phone has new keys.
"""
EVERY_S = 0.25  # between two looks at how much was written


@click.command(epilog=EXAMPLES)
@pcap_option
@keys_option
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.  [default: Ctrl-C]")
@config_option
@json_option
@says_what_went_wrong
def command(pcap: str | None, keys: str | None, seconds: float | None, config_path: Path, as_json: bool) -> None:
    """Write what a running network says, decrypted, where Wireshark or tshark can read it; or the keys to do so.

    Every hop is there with its addresses and ports: what phones sent under ESP or TLS, and what the functions of the
    network told each other. CK and IK are blotted out of the messages. Existing files are replaced.
    """
    if not pcap and not keys:
        fail("nothing to write: say --pcap FILE, --keys FILE or both", as_json, 2)
    first = control_socket(config_path)
    with Recording(pcap or "", keys or "") as recording:
        run(_record(first, recording, seconds))
    if as_json and pcap != "-":
        print_json(recording.facts())
    else:
        errors.print(recording.sentence(), markup=False, highlight=False)


async def _record(first: Path, recording: Recording, seconds: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reading = asyncio.create_task(_read_all(first, recording))
    watching = asyncio.create_task(_show(recording))
    ended = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((reading, ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            await reading
            recording.cut_short = True
    finally:
        for task in (reading, watching, ended):
            task.cancel()
        await asyncio.gather(reading, watching, ended, return_exceptions=True)


async def _show(recording: Recording) -> None:
    """How much was written, for a person who watches."""
    if not sys.stderr.isatty():
        return
    with errors.status(recording.progress()) as status:
        while True:
            await asyncio.sleep(EVERY_S)
            status.update(recording.progress())


async def _read_all(first: Path, recording: Recording) -> None:
    """Each process of this network that runs here (`up --only`) tells what it sees."""
    found = sorted(first.parent.glob("control*.sock")) or [first]
    living = [begun for path in found if (begun := await _begun(path, recording)) is not None]
    if not living:
        raise NotRunning(f"no network is running (nothing answers at {first}); start it with `redoubt up`")
    if recording.wants_keys and not any(began.has_keys for began, _ in living):
        raise ControlError("no P-CSCF with IPsec runs here: there are no keys; ask beside the one that does")
    await asyncio.gather(*(_read(feed, recording, number) for number, (_, feed) in enumerate(living)))


async def _begun(path: Path, recording: Recording) -> tuple[Began, AsyncIterator[Item]] | None:
    """The feed of one process; None where nobody is: a process that was killed leaves its socket behind."""
    feed = _items(path, recording)
    try:
        began = await anext(feed)
    except NotRunning:
        return None
    assert isinstance(began, Began)
    return began, feed


async def _items(path: Path, recording: Recording) -> AsyncIterator[Item]:
    async for item in follow(path, "trace", messages=recording.wants_messages, keys=recording.wants_keys):
        yield msgspec.convert(item, Item)


async def _read(feed: AsyncIterator[Item], recording: Recording, process: int) -> None:
    async for item in feed:
        recording.take(item, process)
