"""Captures the traffic of ports on the loopback interface with dumpcap, and has tshark judge it."""

import subprocess
from collections.abc import Iterable
from pathlib import Path


class Capture:
    """One capture file, from `start` to `stop`."""

    def __init__(self, process: subprocess.Popen[str], file: Path, ports: tuple[int, ...]) -> None:
        self._process = process
        self.file = file
        self._ports = ports

    @classmethod
    def start(cls, file: Path, ports: Iterable[int]) -> "Capture":
        """Returns when packets are being taken. Raises PermissionError with what dumpcap says."""
        ports = tuple(ports)
        wanted = " or ".join(f"port {port}" for port in ports)
        command = ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", wanted, "-w", str(file)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("File:"):
                return cls(process, file, ports)
        process.wait()
        raise PermissionError("".join(said))

    def stop(self) -> None:
        """Ends after what is buffered is written."""
        self._process.terminate()
        self._process.communicate(timeout=20)

    def matching(self, display_filter: str, *fields: str) -> list[str]:
        """A line for each packet that a display filter of Wireshark takes, with these fields of it."""
        decode = [part for port in self._ports for part in ("-d", f"udp.port=={port},sip")]
        shown = ["-T", "fields", *(part for field in fields for part in ("-e", field))] if fields else []
        command = ["tshark", "-r", str(self.file), *decode, "-Y", display_filter, *shown]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
