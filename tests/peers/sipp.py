"""Runs SIPp (Debian's sip-tester) and reads what it counted."""

import csv
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

from .serve import AMF, OP, K

SCENARIOS = Path(__file__).parent / "sipp"
LONGEST_S = 300  # the machine may be busy
AT_ONCE = 50  # calls that run together: a busy machine takes them more slowly, and is not buried


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one SIPp process counted. `unexpected` is any message that its scenario has no place for."""

    status: int
    successful: int
    failed: int
    unexpected: int
    errors: str


@dataclass(slots=True)
class Running:
    """A SIPp process with the files that it writes."""

    process: subprocess.Popen[bytes]
    statistics: Path
    errors: Path
    messages: int
    """How many its calls take together, without those that are optional."""

    def await_port(self, port: int) -> None:
        """Returns when SIPp listens there, or has ended."""
        while self.process.poll() is None and not _is_bound(port):
            time.sleep(0.02)

    def ended(self) -> Outcome:
        """Waits for its end, which its own timeout brings at the latest."""
        status = self.process.wait(LONGEST_S + 10)
        *_, last = csv.DictReader(self.statistics.read_text().splitlines(), delimiter=";")
        errors = self.errors.read_text(errors="replace") if self.errors.exists() else ""
        unexpected = ("FailedUnexpectedMessage(C)", "OutOfCallMsgs(C)", "DeadCallMsgs(C)")
        return Outcome(
            status,
            int(last["SuccessfulCall(C)"]),
            int(last["FailedCall(C)"]),
            sum(int(last[column]) for column in unexpected),
            errors[:4000],
        )


def credentials(user: str) -> str:
    """SIPp's keyword that computes an Authorization header for the last challenge.

    The keys stand as text: given in hexadecimal, SIPp 3.6.1 now and then reads past their end.
    """
    keys = f"aka_K={K.decode()} aka_OP={OP.decode()} aka_AMF={AMF.decode()}"
    return f"[authentication username={user}@ims.test {keys}]"


def start(
    scenario: str,
    proxy: tuple[str, int],
    rows: Sequence[Sequence[str]],
    folder: Path,
    *,
    local_port: int | None = None,
    calls: int | None = None,
    rate: int = 100,
    at_once: int = AT_ONCE,
    card_port: int | None = None,
) -> Running:
    """Starts a scenario with a row of fields for each call; each call on a socket of its own, or all on one port."""
    folder = folder / f"{scenario}-{len(list(folder.iterdir()))}"
    folder.mkdir()
    fields, statistics, errors = folder / "fields.csv", folder / "statistics.csv", folder / "errors.log"
    fields.write_text("SEQUENTIAL\n" + "".join(";".join(row) + ";\n" for row in rows))
    sockets = ["-t", "un" if local_port is None else "u1", "-p", str(local_port or free_port())]
    command = [
        *("sipp", f"{proxy[0]}:{proxy[1]}", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-inf", str(fields)),
        *("-m", str(calls or len(rows)), "-r", str(rate), "-l", str(at_once), "-max_socket", "4000"),
        *("-i", "127.0.0.1", "-bind_local", *sockets, "-nostdin", "-auth_uri", "ims.test"),
        *("-timeout", str(LONGEST_S), "-timeout_error", "-watchdog_interval", "0"),
        *("-stf", str(statistics), "-trace_stat", "-fd", "1", "-trace_err", "-error_file", str(errors)),
    ]
    if card_port is not None:
        command += ["-3pcc", f"127.0.0.1:{card_port}"]
    xml = (SCENARIOS / f"{scenario}.xml").read_text()
    messages = len(re.findall(r"<send[ >]|<recv (?!.*optional)", xml)) * (calls or len(rows))
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return Running(process, statistics, errors, messages)


def _is_bound(port: int) -> bool:
    """Asked of Linux: a probe that binds could take the port from the one that it waits for."""
    return f":{port:04X} " in Path("/proc/net/udp").read_text()
