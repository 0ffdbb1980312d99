"""freeDiameter (Debian's freediameter), a Diameter node that knows the base protocol and relays any application."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = "/usr/lib/freeDiameter"
SHORTEST_TIMER_S = 6  # freeDiameter takes no shorter Tw (RFC 3539 3.4.1) and Tc
ENDS_WITHIN_S = 20
IDENTITY, REALM = "peer.freediameter.test", "freediameter.test"


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class FreeDiameter:
    """A running one."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self, expression: str) -> list[str]:
        """What a regular expression finds in its log."""
        return re.findall(expression, self.log.read_text(errors="replace"))

    def await_saying(self, expression: str, within_s: float = 20) -> str:
        """Returns its first words that match. Raises TimeoutError with all it said."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if found := self.said(expression):
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise TimeoutError(f"freeDiameter never said {expression}:\n{self.log.read_text(errors='replace')}")

    def stop(self) -> None:
        """It takes leave of its peers first (DPR, RFC 6733 5.4)."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(ENDS_WITHIN_S)


@contextmanager
def freediameter(
    folder: Path,
    port: int,
    *,
    peer: str,
    peer_port: int | None = None,
    guest: str = "",
    tls: Tls | None = None,
    watchdog_s: int = SHORTEST_TIMER_S,
) -> Iterator[FreeDiameter]:
    """Listens on a port of loopback, and connects to its peer if that has one. A guest may connect besides."""
    configuration, log = folder / "freediameter.conf", folder / "freediameter.log"
    lines = [*_own_lines(folder, port, f"{peer} {guest}", tls), f"TwTimer = {watchdog_s}"]
    if peer_port is not None:
        how = "" if tls else "No_TLS; "
        lines.append(f'ConnectPeer = "{peer}" {{ ConnectTo = "127.0.0.1"; Port = {peer_port}; {how}No_SCTP; }}')
    configuration.write_text("".join(f"{line};\n" for line in lines))
    with log.open("wb") as output:
        command = ["freeDiameterd", "-c", str(configuration), "-d"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    running = FreeDiameter(process, log)
    try:
        running.await_saying("daemon initialized")
        yield running
    finally:
        if process.poll() is None:
            running.stop()


def _own_lines(folder: Path, port: int, peers: str, tls: Tls | None) -> list[str]:
    allowed = folder / "allowed.conf"
    allowed.write_text(f"{'' if tls else 'ALLOW_IPSEC '}{peers}\n")  # what protects the connection, if not TLS
    lines = [
        f'Identity = "{IDENTITY}"',
        f'Realm = "{REALM}"',
        f"Port = {0 if tls else port}",
        f"SecPort = {port if tls else 0}",
        "No_SCTP",
        "No_IPv6",
        f"TcTimer = {SHORTEST_TIMER_S}",
        f'LoadExtension = "{EXTENSIONS}/acl_wl.fdx" : "{allowed}"',
        # At level 0x0080 it logs each message that it gets and sends.
        f'LoadExtension = "{EXTENSIONS}/dbg_msg_dumps.fdx" : "0x0080"',
    ]
    if tls:
        lines += [f'TLS_Cred = "{tls.certificate}", "{tls.key}"', f'TLS_CA = "{tls.authority}"']
    return lines
