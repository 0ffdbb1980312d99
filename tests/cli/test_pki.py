"""`redoubt pki` and `redoubt partners` as an operator uses them."""

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner

from redoubt.cli import main
from redoubt.events import EventStream
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer
from redoubt.network.run import Network


def told(folder: Path, *words: str, status: int = 0) -> dict[str, object]:
    """What a command answers with --json."""
    result = CliRunner().invoke(main, [*words, "--config", str(folder / "redoubt.toml"), "--json"])
    assert result.exit_code == status, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def operator(folder: Path, realm: str) -> Path:
    folder.mkdir()
    told(folder, "init", "--realm", realm)
    told(folder, "pki", "init", "--operator", f"Operator of {realm}")
    return folder


def test_init_makes_all_that_the_border_needs_and_says_what_to_write(tmp_path: Path) -> None:
    home = operator(tmp_path / "one", "home1.net")
    told(home, "pki", "init", status=1)
    files = {path.name for path in (home / "pki").iterdir()}
    assert {"ca.pem", "ca.key", "border.pem", "border.key", "authority.pem", "revoked.pem", "own.crl"} <= files
    assert all(key.stat().st_mode & 0o077 == 0 for key in (home / "pki").glob("*.key"))
    shown = CliRunner().invoke(main, ["pki", "show", "--config", str(home / "redoubt.toml")])
    assert "sip:home1.net" in shown.output and "ibcf.home1.net" in shown.output and "valid" in shown.output


def test_two_operators_believe_each_other_and_revoke(tmp_path: Path) -> None:
    one, two = operator(tmp_path / "one", "home1.net"), operator(tmp_path / "two", "home2.net")
    theirs = str(two / "pki" / "ca.pem")
    crossed = told(one, "pki", "cross", "home2", theirs, "--domain", "home2.net")
    assert crossed["fingerprint"] and Path(str(crossed["file"])).exists()
    told(one, "pki", "crl", str(two / "pki" / "own.crl"))
    told(two, "pki", "renew")
    told(two, "pki", "issue", "border2", "--dns", "ibcf2.home2.net")
    told(two, "pki", "revoke", "border2")
    issued = told(two, "pki", "show")["issued"]
    assert isinstance(issued, list)
    assert [(row["name"], row["state"]) for row in issued] == [
        ("border", "valid"), ("border", "valid"), ("border2", "revoked"),
    ]  # fmt: skip


def test_who_was_revoked_gets_another_with_the_same_names_and_is_told_how(tmp_path: Path) -> None:
    home = operator(tmp_path / "one", "home1.net")
    config = ("--config", str(home / "redoubt.toml"))
    revoked = CliRunner().invoke(main, ["pki", "revoke", "border", *config])
    assert "redoubt pki issue border" in revoked.output
    assert "redoubt pki issue border" in str(told(home, "pki", "renew", status=1)["error"])
    assert told(home, "pki", "issue", "border")["dns"] == ["ibcf.home1.net"]
    assert told(home, "pki", "issue", "border", "--dns", "other.home1.net")["dns"] == ["other.home1.net"]


def test_faults_are_sentences_that_say_what_to_do(tmp_path: Path) -> None:
    home = operator(tmp_path / "one", "home1.net")
    (tmp_path / "none.pem").write_text("nothing")
    for words, said in (
        (("pki", "renew", "nobody"), "redoubt pki show"),
        (("pki", "revoke", "nobody"), "redoubt pki show"),
        (("pki", "issue", "../x"), "letters, digits"),
        (("pki", "cross", "x", str(tmp_path / "none.pem"), "--domain", "x.net"), "none.pem is no certificate in PEM"),
        (("pki", "crl", str(tmp_path / "none.pem")), "revocation list"),
    ):
        assert said in str(told(home, *words, status=1)["error"])


def test_partners_shows_each_agreement(tmp_path: Path) -> None:
    home = operator(tmp_path / "one", "home1.net")
    pki = {name: str(home / "pki" / f"{file}.pem") for name, file in
           (("certificate", "border"), ("authority", "authority"), ("revoked", "revoked"))}  # fmt: skip
    agreements = [
        {"name": "home2", "domains": ["home2.net"], "connect": ["tls:127.0.0.9:5061"], "serves-visitors": True},
        {"name": "plain", "domains": ["sip.example"], "kind": "sip", "security": "none", "addresses": ["127.0.0.8"]},
    ]

    async def main_() -> None:
        ibcf = {"listen": ["tls:127.0.0.1:0"], "key": str(home / "pki" / "border.key"), **pki}
        tree = {"network": {"realm": "home1.net"}, "ibcf": ibcf, "partners": agreements}
        network = await Network.temporary(tree, events=EventStream())
        control = ControlServer(home / "state" / "control.sock", commands(network))
        await control.start()
        try:
            found = await asyncio.to_thread(told, home, "partners")
            plain = await asyncio.to_thread(
                CliRunner().invoke, main, ["partners", "sip.example", "--config", str(home / "redoubt.toml")]
            )
            tunnels = await asyncio.to_thread(
                CliRunner().invoke, main, ["gateways", "--config", str(home / "redoubt.toml")]
            )
        finally:
            await control.close()
            await network.close()
        assert [(row["name"], row["trusted"], row["health"]) for row in found] == [
            ("home2", True, "idle"), ("plain", False, "in clear"),
        ]  # fmt: skip
        assert "peering" in plain.output and "home2" not in plain.output
        assert "no [[gateways]]" in tunnels.output

    asyncio.run(main_())


def test_every_verb_of_pki_has_an_example() -> None:
    for verb in ("", "init", "issue", "renew", "revoke", "crl", "cross", "show"):
        words = ["pki", verb, "--help"] if verb else ["pki", "--help"]
        shown = CliRunner().invoke(main, words).output
        assert "Example" in shown and "redoubt pki" in shown
