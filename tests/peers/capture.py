"""Captures the traffic of ports on the loopback interface with dumpcap, and has tshark judge it."""

import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

LAST = b"the last packet of this capture"
WRITTEN_WITHIN_S = 20
NOTE = 0x400000  # of what Wireshark thinks of a packet, PI_NOTE


class Capture:
    """One capture file, from `start` to `stop`."""

    def __init__(
        self, process: subprocess.Popen[str], file: Path, decode: list[str], marking: socket.socket
    ) -> None:
        self._process = process
        self.file = file
        self._decode = decode
        self._marking = marking

    @classmethod
    def start(cls, file: Path, ports: Iterable[int], diameter: Iterable[int] = ()) -> "Capture":
        """Of UDP ports with SIP and TCP ports with Diameter; returns when packets are being taken.

        Raises PermissionError with what dumpcap says.
        """
        speaks = [*((f"udp.port=={port},sip", port) for port in ports)]
        speaks += [(f"tcp.port=={port},diameter", port) for port in diameter]
        marking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        marking.bind(("127.0.0.1", 0))
        wanted = " or ".join(f"port {port}" for port in (*(port for _, port in speaks), marking.getsockname()[1]))
        command = ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", wanted, "-w", str(file)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("File:"):
                return cls(process, file, [part for how, _ in speaks for part in ("-d", how)], marking)
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
        shown = ["-T", "fields", *(part for field in fields for part in ("-e", field))] if fields else []
        command = ["tshark", "-n", "-r", str(self.file), *self._decode, "-Y", display_filter, *shown]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def assert_diameter_is_clean(self, least: int, but_for: tuple[str, ...] = ()) -> None:
        """Wireshark read every Diameter message, knows every AVP and command of them, and has nothing to say to it.

        `but_for` begins what it may say all the same, of AVPs that its dictionary lacks.
        """
        faults = f"_ws.malformed or diameter.avp.invalid-data or (diameter and _ws.expert.severity >= {NOTE})"
        said = self.matching(faults, "diameter.cmd.code", "_ws.expert.message")
        remarks = {line for line in said if not line.partition("\t")[2].startswith(but_for)}
        assert not remarks, remarks
        frames = self.matching("diameter", "diameter.cmd.code")  # several messages in one are told with commas
        assert sum(frame.count(",") + 1 for frame in frames) >= least
