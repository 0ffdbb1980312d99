"""Kamailio as another operator's network: its users on UDP, TLS with a partner at its border (kamailio/partner)."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.network.peering import Operator
from tests.ports import free_port

CONFIGURATION = Path(__file__).parent / "kamailio" / "partner"
MEMORY = ("-m", "64", "-M", "16")  # megabytes shared, and of each process
READY_WITHIN_S = 30


class Foreign(Operator):
    """An operator whose proxy is Kamailio. `shown` is the certificate that it shows, by its name in the folder."""

    shown = "border"
    inside: tuple[str, int] = ("", 0)  # where its users reach it

    @contextmanager
    def proxy(self, folder: Path, partner: Operator) -> Iterator[Path]:
        """Runs it; the file of its log. Raises RuntimeError with that if it does not start."""
        self.inside = host, port = f"127.{self.number}.0.2", free_port(f"127.{self.number}.0.2")
        (work := folder / f"kamailio-{self.name}").mkdir()
        filled = {
            "@WORK@": str(work), "@PKI@": str(self.pki.path), "@SHOWN@": self.shown, "@REALM@": self.realm,
            "@PARTNER@": partner.realm, "@PARTNER_AT@": "{}:{}".format(*partner.address), "@INSIDE@": f"{host}:{port}",
            "@BORDER@": "{}:{}".format(*self.address), "@BORDER_HOST@": self.host,
        }  # fmt: skip
        for template in CONFIGURATION.iterdir():
            text = template.read_text()
            for mark, value in filled.items():
                text = text.replace(mark, value)
            (work / template.name).write_text(text)
        log = work / "kamailio.log"
        with log.open("wb") as out:
            command = ["kamailio", "-DD", "-f", str(work / "proxy.cfg"), "-Y", str(work), *MEMORY]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            self._await_border(process, log)
            yield log
        finally:
            process.send_signal(signal.SIGTERM)  # the first process ends the others
            process.wait(READY_WITHIN_S)

    def _await_border(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until and process.poll() is None:
            try:
                socket.create_connection(self.address, 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"Kamailio did not start:\n{log.read_text(errors='replace')}")


def lacks() -> str:
    """What must be installed first."""
    found = shutil.which("kamailio") and list(Path("/usr/lib").glob("*/kamailio/modules/tls.so"))
    return "" if found else "Kamailio with TLS is not here (tests/peers/install.sh)"
