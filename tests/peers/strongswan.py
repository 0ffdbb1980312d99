"""strongSwan's charon as a security gateway in a network namespace, with ESP of its own where the kernel has none."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redoubt.ndm.gateway_settings import settings

STARTS_WITHIN_S = 10
ENDS_WITHIN_S = 3
IS_HERE = shutil.which("charon-systemd") is not None


@dataclass(slots=True)
class Strongswan:
    """A running charon, or one that was killed and may be started again."""

    namespace: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    changes: tuple[tuple[str, str], ...] = ()  # what a test writes otherwise into its settings
    user_space: bool = True  # whose ESP it is: charon's own, or the kernel's

    @property
    def vici(self) -> str:
        return str(self.folder / "vici.sock")

    def start(self) -> None:
        """As the settings that Redoubt writes have it; returns when its control socket is there."""
        self.folder.mkdir(exist_ok=True)
        Path(self.vici).unlink(missing_ok=True)
        text = settings(self.vici, user_space=self.user_space, log=str(self.folder / "charon.log"))
        for old, new in self.changes:
            assert old in text
            text = text.replace(old, new)
        written = self.folder / "strongswan.conf"
        written.write_text(text)
        command = ["ip", "netns", "exec", self.namespace, "charon-systemd"]
        environment = {**os.environ, "STRONGSWAN_CONF": str(written)}
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        until = time.monotonic() + STARTS_WITHIN_S
        while not Path(self.vici).exists():
            assert self.process.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.01)

    def kill(self) -> None:
        """Without a word to anyone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(ENDS_WITHIN_S)

    def stop(self) -> None:
        """It takes leave of its peers first."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:  # now and then it waits for a thread of its own for ever
                self.kill()

    @property
    def resident_octets(self) -> int:
        """Its memory; `ip netns exec` becomes the program that it starts."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def said(self) -> str:
        """Its log."""
        log = self.folder / "charon.log"
        return log.read_text(errors="replace") if log.exists() else (self.folder / "output").read_text()


@contextmanager
def strongswan(
    namespace: str, folder: Path, *changes: tuple[str, str], user_space: bool = True
) -> Iterator[Strongswan]:
    """One with its files in a folder, until the end."""
    running = Strongswan(namespace, folder, changes=changes, user_space=user_space)
    try:
        running.start()
        yield running
    finally:
        running.stop()
