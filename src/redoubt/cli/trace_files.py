"""The files of a trace: messages as pcapng, keys as Wireshark's table. Both are this user's alone."""

import os
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

import click

from redoubt.network.pcapng import MessageCapture
from redoubt.network.tracing import Item, KeysOf, Lost, Passed

pcap_option = click.option(
    "--pcap", metavar="FILE", help="Write each SIP message there as pcapng; - is standard output."
)
keys_option = click.option(
    "--keys", metavar="FILE", help="Write the keys of ESP there, as Wireshark's table esp_sa. Secret."
)
SIGHTINGS = 4_096  # messages between processes of this network, seen at one end so far


class Recording:
    """What is written, and how much. A context manager: files are made when it begins."""

    def __init__(self, pcap: str, keys: str) -> None:
        self._pcap, self._keys = pcap, keys
        self._messages_file: BinaryIO | None = None
        self._keys_file: BinaryIO | None = None
        self._capture = MessageCapture()
        self._seen_once: OrderedDict[tuple[Any, ...], tuple[int, int]] = OrderedDict()  # by whom, how often
        self._sets: dict[tuple[int, int], float] = {}  # process and number: until when its keys are good
        self.messages = self.lost = 0
        self.cut_short = False

    def __enter__(self) -> Self:
        if self._keys:
            self._keys_file = private_file(Path(self._keys))
            self._write_keys("# Wireshark's esp_sa. Whoever has this file reads what these phones say.")
        if self._pcap:
            self._messages_file = sys.stdout.buffer if self._pcap == "-" else private_file(Path(self._pcap))
            self._write(self._capture.head())
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._messages_file, self._keys_file):
            if file is not None and file is not sys.stdout.buffer:
                file.close()

    @property
    def wants_messages(self) -> bool:
        return bool(self._pcap)

    @property
    def wants_keys(self) -> bool:
        return bool(self._keys)

    def take(self, item: Item, process: int) -> None:
        """What a process of the network told."""
        match item:
            case Passed():
                if not self._is_other_end(item, process):
                    self._write(
                        self._capture.add(item.at, item.carrier, item.source, item.target, item.octets, item.comment)
                    )
                    self.messages += 1
            case KeysOf():
                self._take_keys(item, process)
            case Lost():
                self.lost += item.count

    # ---- for people and scripts

    def progress(self) -> str:
        messages = [f"{self.messages} messages"] if self._pcap else []
        keys = [f"keys of {len(self._sets)} association sets"] if self._keys else []
        return f"tracing: {', '.join(messages + keys)}; Ctrl-C ends it"

    def facts(self) -> dict[str, Any]:
        until = max(self._sets.values(), default=0.0)
        return {
            "pcap": self._pcap, "messages": self.messages, "lost": self.lost, "keys": self._keys,
            "association_sets": len(self._sets), "keys_good_until": _when(until) if until else "",
            "network_stopped": self.cut_short,
        }  # fmt: skip

    def sentence(self) -> str:
        said = []
        if self._pcap:
            said.append(f"{self.messages} messages are in {self._pcap}.")
        if self._keys:
            said.append(
                f"Keys of {len(self._sets)} association sets are in {self._keys}, for your eyes only: delete it when it"
                " has served."
            )
        if self._sets:
            said.append(
                f"As things stand, the last of these sets ends at {_when(max(self._sets.values()))}; what was captured"
                " of them stays readable with these keys."
            )
        if self.lost:
            said.append(f"{self.lost} messages or keys are missing, since they came faster than they could be written.")
        if self.cut_short:
            said.append("The network stopped.")
        return " ".join(said)

    # ---- inside

    def _is_other_end(self, item: Passed, process: int) -> bool:
        """Between two processes, a message is seen as it leaves and as it comes: once is enough."""
        key = (item.source, item.target, item.octets)
        seen_by, times = self._seen_once.pop(key, (process, 0))
        if seen_by != process:
            if times > 1:
                self._seen_once[key] = (seen_by, times - 1)
            return True
        self._seen_once[key] = (process, times + 1)
        if len(self._seen_once) > SIGHTINGS:
            self._seen_once.popitem(last=False)
        return False

    def _take_keys(self, item: KeysOf, process: int) -> None:
        """Told again, a set has another end; its keys are there already."""
        known = (process, item.number) in self._sets
        self._sets[process, item.number] = item.until
        life = f"# {item.impi}, set {item.number}: {'now ' if known else f'since {_when(item.since)}, '}good until"
        self._write_keys(f"{life} {_when(item.until)}", *([] if known else item.lines))

    def _write(self, octets: bytes) -> None:
        assert self._messages_file is not None
        self._messages_file.write(octets)
        self._messages_file.flush()

    def _write_keys(self, *lines: str) -> None:
        assert self._keys_file is not None
        self._keys_file.write("".join(f"{line}\n" for line in lines).encode())
        self._keys_file.flush()


def private_file(path: Path) -> BinaryIO:
    """A new file in place of what was there, that nobody else may read. Raises OSError."""
    if path.exists() and not path.is_file():
        raise click.ClickException(f"{path} is no file: name one to be written")
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
