"""Kamailio's P-, I- and S-CSCF (Debian's kamailio-ims-modules), each a process, before an HSS of ours.

The configurations beside this file do AKA registrations and nothing else. Their ports are filled in here, so that
several can run on one machine.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.ports import free_port

CONFIGURATIONS = Path(__file__).parent / "kamailio"
FUNCTIONS = ("scscf", "icscf", "pcscf")
MEMORY = ("-m", "128", "-M", "16")  # megabytes shared, and of each process
READY_WITHIN_S = 30


def free_ports() -> dict[str, int]:
    """A SIP port for each; that of the S-CSCF is part of its name, sip:127.0.0.1:PORT."""
    return {name: free_port() for name in FUNCTIONS}


@contextmanager
def cscfs(folder: Path, ports: dict[str, int], hss_port: int) -> Iterator[None]:
    """The three, connected to the HSS. Raises RuntimeError with what a failed one said."""
    _write_configurations(folder, ports, hss_port)
    with ExitStack() as running:
        for name in FUNCTIONS:
            running.enter_context(_started(folder, name))
        for name in ("scscf", "icscf"):
            _await_open_peer(folder, name)
        yield


def said(folder: Path) -> str:
    """All that they logged."""
    return "".join((folder / f"{name}.log").read_text(errors="replace") for name in FUNCTIONS)


def _write_configurations(folder: Path, ports: dict[str, int], hss_port: int) -> None:
    filled = {"@WORK@": str(folder), "@HSS@": str(hss_port)}
    filled |= {f"@{name[0].upper()}_CSCF@": str(port) for name, port in ports.items()}
    shutil.copytree(CONFIGURATIONS, folder, dirs_exist_ok=True)
    for file in (*folder.glob("*.cfg"), *folder.glob("dbtext/*")):
        _fill(file, file, filled)
    for name in ("icscf", "scscf"):
        mine = {"@NAME@": name, "@ACCEPTOR@": str(free_port())}
        _fill(folder / "diameter.xml", folder / f"{name}.xml", filled | mine)


def _fill(template: Path, to: Path, filled: dict[str, str]) -> None:
    text = template.read_text()
    for mark, value in filled.items():
        text = text.replace(mark, value)
    to.write_text(text)


@contextmanager
def _started(folder: Path, name: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        command = ["kamailio", "-DD", "-f", str(folder / f"{name}.cfg"), "-Y", str(folder), *MEMORY]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)  # the first process ends the others
        process.wait(READY_WITHIN_S)


def _await_open_peer(folder: Path, name: str) -> None:
    """Returns when its Diameter connection to the HSS is open."""
    until = time.monotonic() + READY_WITHIN_S
    command = ["kamcmd", "-s", f"unix:{folder}/k_{name[0]}.ctl", "cdp.list_peers"]
    while time.monotonic() < until:
        asked = subprocess.run(command, capture_output=True, text=True)
        if "I_Open" in asked.stdout or "R_Open" in asked.stdout:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} found no HSS: {asked.stdout}{asked.stderr}\n{said(folder)}")
