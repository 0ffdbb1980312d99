"""`redoubt subscriber` as a person or a script runs it: on the store alone, and beside a running network."""

import asyncio
import json
import os
import pty
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from redoubt.events import EventStream
from redoubt.hss.keys import create_key, write_key_file
from redoubt.lab.population import residents
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.phone import Phone
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

REALM = "home.example"
MAIN = "from redoubt.cli import main; main()"
K = "465b5ce8b199b49faa5f0a2ee238a6bc"


class Done(NamedTuple):
    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


class Shell:
    """Runs the command in a directory with a configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "redoubt.toml"

    async def start(self, *words: str, **options: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAIN, "subscriber", *words, "--config", str(self.config),
            **{"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, **options},
        )  # fmt: skip

    async def __call__(self, *words: str, **options: Any) -> Done:
        process = await self.start(*words, **options)
        output, errors = await process.communicate()
        return Done(process.returncode or 0, (output or b"").decode(), (errors or b"").decode())

    def cards(self, count: int, *more: str) -> Path:
        path = self.directory / "cards.csv"
        rows = [f"u{n}@{REALM},{K},{K}" for n in range(count)]
        path.write_text("\n".join(["impi,k,opc", *rows, *more]))
        return path

    async def impis(self) -> list[str]:
        return [row["private"][0]["impi"] for row in (await self("list", "--json")).json["subscribers"]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "redoubt.toml").write_text(f'[network]\nrealm = "{REALM}"\n')
    (tmp_path / "state").mkdir(mode=0o700)
    write_key_file(tmp_path / "state" / "hss.key", create_key(SeededRandomness(1)))
    return Shell(tmp_path)


async def test_a_file_is_imported_and_exported_again(shell: Shell, tmp_path: Path) -> None:
    assert (await shell("import", str(shell.cards(300)), "--json")).json == {"imported": 300}
    backup = tmp_path / "backup.jsonl"
    exported = await shell("export", "--with-keys", str(backup))
    assert "can clone their cards" in " ".join(exported.errors.split())
    assert backup.stat().st_mode & 0o777 == 0o600
    assert K in backup.read_text()
    (tmp_path / "state" / "hss.sqlite").unlink()
    assert (await shell("import", str(backup))).output == "imported 300 subscribers\n"
    assert len(await shell.impis()) == 300


async def test_a_bad_last_row_is_named_and_imports_nothing(shell: Shell) -> None:
    done = await shell("import", str(shell.cards(300, f"x@{REALM},zz,{K}")))
    assert done.status == 1
    assert "cards.csv, line 302, column 2: k: must be hexadecimal digits" in " ".join(done.errors.split())
    assert await shell.impis() == []


async def test_ctrl_c_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    process = await shell.start("import", str(shell.cards(20_000)))
    database = tmp_path / "state" / "hss.sqlite"
    async with asyncio.timeout(30):
        while not _incoming(database):  # noqa: ASYNC110  another process writes there
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert await shell.impis() == []


def _incoming(database: Path) -> int:
    """Rows of an import under way."""
    try:
        with sqlite3.connect(database, timeout=5) as connection:
            count: int = connection.execute("SELECT count(*) FROM incoming").fetchone()[0]
            return count
    except sqlite3.Error:
        return 0  # the command is about to make it


async def test_an_export_without_keys_goes_to_standard_output(shell: Shell) -> None:
    await shell("import", str(shell.cards(2)))
    done = await shell("export", "--format", "csv")
    assert done.output.splitlines()[0].startswith("impi,algorithm,amf,sqn,impus")
    assert K not in done.output


async def test_keys_go_into_no_file_that_others_read_and_to_no_terminal(shell: Shell, tmp_path: Path) -> None:
    await shell("import", str(shell.cards(2)))
    readable = tmp_path / "keys.csv"
    readable.write_text("")
    readable.chmod(0o644)
    with readable.open("wb") as file:
        redirected = await shell("export", "--with-keys", stdout=file)
    for done in (redirected, await shell("export", "--with-keys", str(readable))):
        assert (done.status, readable.read_text()) == (1, "")
        assert "others may read" in " ".join(done.errors.split())
    master, terminal = pty.openpty()
    done = await shell("export", "--with-keys", stdout=terminal)
    assert (done.status, "is a terminal" in " ".join(done.errors.split())) == (1, True)
    os.close(terminal)
    os.close(master)
    assert K in (await shell("export", "--with-keys")).output
    assert (await shell("export", "--with-keys", "--anyway", str(readable))).status == 0


async def test_without_a_network_changes_are_made_on_the_store(shell: Shell) -> None:
    await shell("import", str(shell.cards(1)))
    who = f"u0@{REALM}"
    assert (await shell("bar", f"sip:{who}", "--json")).json == {"barred": f"sip:{who}", "s-cscf": "not-needed"}
    assert (await shell("show", who, "--json")).json["sets"][0]["barred"] == [f"sip:{who}"]
    assert (await shell("unbar", who)).status == 0
    options = ("--impu", f"sip:{who}", "--impu", "tel:+1555", "--visited-network", "*")
    assert (await shell("change", who, *options)).status == 0
    shown = (await shell("show", who, "--json")).json
    assert shown["profile"] == {"impus": [f"sip:{who}", "tel:+1555"], "visited-networks": ["*"]}
    assert shown["private"][0]["next-seq"] == 1
    assert (await shell("reassign", who)).status == 0
    assert (await shell("remove", who, "--json")).json == {"removed": who, "s-cscf": "not-needed"}
    missing = await shell("bar", who, "--json")
    assert (missing.status, missing.json) == (1, {"error": f"identity: {who} is not provisioned"})


async def test_a_wrong_change_says_what_to_write(shell: Shell, tmp_path: Path) -> None:
    await shell("import", str(shell.cards(1)))
    assert "nothing to change" in (await shell("change", f"u0@{REALM}")).errors
    (tmp_path / "fields.json").write_text('{"colour": "red"}')
    refused = await shell("change", f"u0@{REALM}", "--fields", str(tmp_path / "fields.json"))
    assert "colour: no such field" in refused.errors


class Running:
    """A network with its control socket, and Alice's phone, registered and watching its registration."""

    def __init__(self, shell: Shell, network: Network, phone: Phone, impi: str) -> None:
        self.shell, self.network, self.phone, self.impi = shell, network, phone, impi

    async def loses_registration(self) -> bool:
        for _ in range(500):
            if not self.phone.registration.holds:
                return True
            await asyncio.sleep(0.01)
        return False


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    network = await Network.temporary({"network": {"realm": REALM}})
    (tmp_path / "redoubt.toml").write_text(f'[network]\nrealm = "{REALM}"\nstate = "{network.directory}"\n')
    control = ControlServer(network.directory / "control.sock", commands(network))
    await control.start()
    assert network.hss is not None
    [alice] = residents(["alice"], REALM, SeededRandomness(1))
    await network.hss.administration.add([alice.subscriber()])
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(2))
    host, port = network.p_cscf_address
    gm = GmOptions(port=network.tunnel_address[1])
    phone = Phone(context, alice.card(), Stack(context), f"sip:{host}:{port}", gm=gm)
    await phone.open(f"udp:{host}:0")
    try:
        assert (await phone.register(3600, subscribe=True)).registered
        yield Running(Shell(tmp_path), network, phone, alice.impi)
    finally:
        await phone.close()
        await control.close()
        await network.close()


@pytest.mark.parametrize("verb", ["remove", "bar", "deregister"])
async def test_the_phone_of_a_running_network_learns_at_once(tmp_path: Path, verb: str) -> None:
    async with running(tmp_path) as made:
        done = await made.shell(verb, made.impi, "--json")
        assert done.json["s-cscf"] == "told"
        assert await made.loses_registration()


async def test_show_tells_what_the_running_network_knows(tmp_path: Path) -> None:
    async with running(tmp_path) as made:
        shown = (await made.shell("show", made.impi, "--json")).json
        assert shown["s-cscf"] == made.network.config.s_cscf.uri
        assert shown["sets"][0]["state"] == "registered"
        assert shown["private"][0]["next-seq"] == 2
        assert shown["private"][0]["reserved-seq"] == made.network.config.hss.sequence_block


async def test_a_network_that_runs_serves_what_is_imported_beside_it(tmp_path: Path) -> None:
    async with running(tmp_path) as made:
        assert made.network.hss is not None
        assert (await made.shell("import", str(made.shell.cards(600)), "--json")).json == {"imported": 600}
        assert await made.network.hss.administration.knows(f"u599@{REALM}")
        changed = await made.shell("change", made.impi, "--impu", f"sip:{made.impi}", "--impu", "tel:+1555", "--json")
        assert changed.json["s-cscf"] == "told"
        assert (await made.phone.register(3600)).associated == (f"sip:{made.impi}", "tel:+1555")


@pytest.mark.parametrize(
    "verb", ["add", "bar", "change", "deregister", "export", "import", "list", "reassign", "remove", "show", "unbar"]
)
async def test_every_verb_has_help_with_an_example_and_json(shell: Shell, verb: str) -> None:
    text = (await shell(verb, "--help")).output
    assert "Example" in text
    assert "--json" in text
