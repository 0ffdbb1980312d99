"""Captures the traffic of ports on the loopback interface with dumpcap, and has tshark judge it."""

import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

LAST = b"the last packet of this capture"
WRITTEN_WITHIN_S = 20


class Capture:
    """One capture file, from `start` to `stop`."""

    def __init__(
        self, process: subprocess.Popen[str], file: Path, ports: tuple[int, ...], marking: socket.socket
    ) -> None:
        self._process = process
        self.file = file
        self._ports = ports
        self._marking = marking

    @classmethod
    def start(cls, file: Path, ports: Iterable[int]) -> "Capture":
        """Returns when packets are being taken. Raises PermissionError with what dumpcap says."""
        ports = tuple(ports)
        marking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        marking.bind(("127.0.0.1", 0))
        wanted = " or ".join(f"port {port}" for port in (*ports, marking.getsockname()[1]))
        command = ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", wanted, "-w", str(file)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("File:"):
                return cls(process, file, ports, marking)
        marking.close()
        process.wait()
        raise PermissionError("".join(said))

    def stop(self) -> None:
        """Ends when a last packet, sent for that, is in the file: then all before it are."""
        with self._marking:
            self._marking.sendto(LAST, self._marking.getsockname())
            until = time.monotonic() + WRITTEN_WITHIN_S
            while LAST not in self.file.read_bytes() and time.monotonic() < until:
                time.sleep(0.02)
        self._process.terminate()
        self._process.communicate(timeout=WRITTEN_WITHIN_S)

    def matching(self, display_filter: str, *fields: str) -> list[str]:
        """A line for each packet that a display filter of Wireshark takes, with these fields of it."""
        decode = [part for port in self._ports for part in ("-d", f"udp.port=={port},sip")]
        shown = ["-T", "fields", *(part for field in fields for part in ("-e", field))] if fields else []
        command = ["tshark", "-n", "-r", str(self.file), *decode, "-Y", display_filter, *shown]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
