"""A PostgreSQL of the tests' own: made with initdb in a temporary folder, reached by a Unix socket, gone with them."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

USER, PASSWORD = "redoubt", "not-to-be-seen"
WAIT_S = 30.0


def binaries() -> Path | None:
    """Where initdb and postgres are: Debian keeps them out of the PATH, by version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


class Cluster:
    """Runs as `postgres` or `nobody` if the tests run as root, whom PostgreSQL refuses to serve."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="redoubt-postgres-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        self._as: dict[str, str] = {}
        if os.getuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._as = {"user": "postgres" if "postgres" in names else "nobody"}
            shutil.chown(self._folder, self._as["user"])
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        arguments = ("-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync", "-E", "UTF8", "--locale=C")
        initdb = [str(programs / "initdb"), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._as)  # type: ignore[call-overload]

    def start(self) -> None:
        log = (self._folder / "log").open("ab")
        options = ("-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60")
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options]
        self._server = subprocess.Popen(  # type: ignore[call-overload]
            command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, **self._as
        )
        log.close()
        end = time.monotonic() + WAIT_S
        while self._psql("SELECT 1").returncode != 0:
            assert time.monotonic() < end, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """At once: connections are cut."""
        if self._server is not None:
            self._server.send_signal(2)
            self._server.wait(WAIT_S)
            self._server = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def fresh(self) -> str:
        """The URL of an empty place for tables."""
        self._schemas += 1
        name = f"s{self._schemas}"
        done = self._psql(f"CREATE SCHEMA {name}")
        assert done.returncode == 0, done.stderr
        return f"postgresql://{USER}:{PASSWORD}@/postgres?host={self._folder}&search_path={name}"

    def _psql(self, statement: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._programs / "psql"), "-h", str(self._folder), "-U", USER, "-c", statement, "postgres"]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": PASSWORD}
        )
