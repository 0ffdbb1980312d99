"""`redoubt dns`: a lab's zones are served, trusted by their anchor, and found by another network's commands."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MAIN = "from redoubt.cli import main; main()"
REALM = "ims.example.org"
NUMBER = "+4930123"


def command(path: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", MAIN, *words, "--json", "--config", str(path)]


def redoubt(path: Path, *words: str, fails: bool = False) -> Any:
    done = subprocess.run(command(path, *words), check=False, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr + done.stdout
    return json.loads(done.stdout)


def written(path: Path, **options: str) -> None:
    """Sets options of [dns] in a configuration that `init` wrote."""
    head, dns, rest = path.read_text().partition("\n[dns]\n")
    for name, value in options.items():
        option = name.replace("_", "-")
        rest, changed = re.subn(rf"(?m)^{option} = .*$", f"{option} = {value}", rest, count=1)
        assert changed, name
    path.write_text(head + dns + rest)


@contextmanager
def serving(path: Path, *words: str) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(
        command(path, "dns", "serve", "--listen", "udp:127.0.0.1:0", *words), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks: `home` has a zone, `other` asks."""
    folder = tmp_path_factory.mktemp("dns")
    for name, realm in (("home", REALM), ("other", "ims.example.com")):
        (folder / name).mkdir()
        redoubt(folder / name / "redoubt.toml", "init", "--realm", realm)
        written(folder / name / "redoubt.toml", enum_roots='["e164.example.net"]')
    redoubt(folder / "home" / "redoubt.toml", "subscriber", "add", "alice", "--impu", f"sip:alice@{REALM}", "--impu",
            f"tel:{NUMBER}")  # fmt: skip
    return folder


def test_a_network_finds_anothers_entry_and_numbers_and_believes_them_by_the_anchor(lab: Path) -> None:
    home, other = lab / "home" / "redoubt.toml", lab / "other" / "redoubt.toml"
    anchors = redoubt(home, "dns", "anchor")["anchors"]
    (lab / "other" / "anchors").write_text("\n".join(anchors) + "\n")
    assert (lab / "home" / "state" / "dns.key").stat().st_mode & 0o777 == 0o600
    with serving(home) as told:
        assert told["anchors"] == anchors
        server = next(each for each in told["listening"] if each.startswith("udp:"))
        written(other, servers=json.dumps([server]), anchors='"anchors"')
        found = redoubt(other, "dns", "find", f"sip:{REALM}")
        assert found["authentic"]
        assert found["next_hops"] == [{"transport": "udp", "host": "127.0.0.1", "port": 5071, "proves": REALM}]
        number = redoubt(other, "dns", "find", NUMBER)
        assert number["enum"] == f"sip:{NUMBER}@{REALM};user=phone"
        assert number["authentic"]
        assert redoubt(other, "dns", "find", f"pcscf.{REALM}")["next_hops"][0]["port"] == 5060
        assert "no record of +4999" in redoubt(other, "dns", "find", "+4999", fails=True)["error"]
        written(other, anchors='""')
        unproved = redoubt(other, "dns", "find", f"sip:{REALM}")
        assert not unproved["authentic"]
        assert "not authentic" in unproved["why"]
        assert "not authentic" in redoubt(other, "dns", "find", NUMBER, fails=True)["error"]


def test_where_an_agreement_says_where_a_partner_is_dns_is_not_asked(lab: Path, tmp_path: Path) -> None:
    config = tmp_path / "redoubt.toml"
    agreement = '[[partners]]\nname = "p"\ndomains = ["p.net"]\nconnect = ["tls:192.0.2.9:5061"]\n'
    config.write_text((lab / "home" / "redoubt.toml").read_text() + agreement)
    found = redoubt(config, "dns", "find", "sip:ibcf.p.net")
    assert found["agreement"] == "p"
    assert found["next_hops"] == [{"transport": "tls", "host": "192.0.2.9", "port": 5061, "proves": "p.net"}]


def test_numbers_of_a_file_and_a_shared_key(lab: Path, tmp_path: Path) -> None:
    home, other = lab / "home" / "redoubt.toml", lab / "other" / "redoubt.toml"
    (tmp_path / "numbers").write_text("+33123 sip:bob@example.fr\n")
    (lab / "other" / "tsig").write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    (lab / "other" / "tsig").chmod(0o600)
    key = ("--tsig", "lab.", str(lab / "other" / "tsig"), "--tsig-only")
    with serving(home, "--numbers", str(tmp_path / "numbers"), *key) as told:
        server = next(each for each in told["listening"] if each.startswith("udp:"))
        written(other, servers=json.dumps([server]), anchors='""', partners='"any"')
        assert "REFUSED" in redoubt(other, "dns", "find", "+33123", fails=True)["error"]
        written(other, tsig_name='"lab."', tsig_file='"tsig"')
        found = redoubt(other, "dns", "find", "+33123", fails=True)
        assert "example.fr" in found["error"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("find", "tel:110;phone-context=x.y"), "international form"),
        (("find", "mailto:a@b"), "none of a SIP URI"),
        (("serve", "--listen", "tcp:127.0.0.1:0"), "not TRANSPORT:HOST:PORT"),
        (("serve", "--listen", "tls:127.0.0.1:0"), "--certificate"),
        (("serve", "--tsig-only"), "--tsig NAME FILE"),
        (("serve", "--listen", "udp:192.0.2.77:5300"), "another --listen"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(lab: Path, words: tuple[str, ...], says: str) -> None:
    assert says in redoubt(lab / "home" / "redoubt.toml", "dns", *words, fails=True)["error"]
