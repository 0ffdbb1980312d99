"""SIPp registers a thousand subscribers, makes a thousand calls and plays each failure flow; tshark reads it all.

Software that nobody here wrote decides whether the network speaks SIP and AKA (TS 33.203 6.1). The tests stand in the
order in which they load the one network; the last one judges everything that was captured.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import sipp
from .capture import Capture
from .card import card_at
from .serve import AMF, K, OP

MANY = 1000
SERVE = [sys.executable, str(Path(__file__).parent / "serve.py")]
AHEAD = 1000 << 5  # where the card stands that was used elsewhere, while the HSS begins with 1 << 5


@dataclass(frozen=True, slots=True)
class Served:
    """A network that runs in another process."""

    proxy: tuple[str, int]
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Peers:
    """Two networks and the capture of all that they sent and got."""

    home: Served
    abroad: Served
    capture: Capture


def subscriber(user: str, **more: Any) -> dict[str, Any]:
    return {"impi": f"{user}@ims.test", "k": K.hex(), "op": OP.hex(), "amf": AMF.hex(), **more}


def row(user: str, *more: str) -> tuple[str, ...]:
    return (user, sipp.credentials(user), *more)


@contextmanager
def served(config: dict[str, Any], subscribers: list[dict[str, Any]]) -> Iterator[Served]:
    """A network that lives as long as the block, with `ims.test` as its realm."""
    asked = {"config": {"network": {"realm": "ims.test"}, **config}, "subscribers": subscribers}
    with subprocess.Popen(SERVE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        told = json.loads(process.stdout.readline())
        ports = {int(address.rpartition(":")[2]) for address in told["listening"]}
        yield Served((told["host"], told["port"]), tuple(sorted(ports)))
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    for program in ("sipp", "tshark", "dumpcap"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install sip-tester tshark")
    names = ("alice", "bob", "victim", "mistaken", "doubtful", "hasty", "stumbling")
    at_home = [subscriber(name) for name in (*names, *(f"user{n}" for n in range(MANY)))]
    at_home.append(subscriber("demanding", capabilities=[7]))
    away = [subscriber("slow", **{"visited-networks": ["visited.test"]}), subscriber("homebody")]
    with (
        served({"s-cscf": {"hide-unknown-users": False}}, at_home) as home,
        served({"p-cscf": {"visited-network": "visited.test"}, "s-cscf": {"reg-await-auth": 1}}, away) as abroad,
    ):
        file = tmp_path_factory.mktemp("capture") / "all.pcapng"
        try:
            capture = Capture.start(file, home.ports + abroad.ports)
        except PermissionError as refusal:
            pytest.skip(f"this user may not capture on the loopback interface: {refusal}")
        yield Peers(home, abroad, capture)
        capture.stop()


def free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def assert_all_as_expected(outcome: sipp.Outcome, count: int = 1) -> None:
    assert outcome == sipp.Outcome(0, count, 0, 0, ""), outcome.errors


def play(
    scenario: str, network: Served, fields: tuple[str, ...], folder: Path, local_port: int | None = None
) -> None:
    """One call of a scenario that must go as written."""
    running = sipp.start(scenario, network.proxy, [fields], folder, local_port=local_port)
    assert_all_as_expected(running.ended())


def call(network: Served, caller: tuple[str, int], callee: tuple[str, int], folder: Path, count: int = 1) -> None:
    """Calls between two users who are registered from these ports."""
    answering = sipp.start("callee", network.proxy, [()], folder, local_port=callee[1], calls=count)
    calling = sipp.start(
        "caller", network.proxy, [(caller[0], callee[0])], folder, local_port=caller[1], calls=count, rate=80
    )
    assert_all_as_expected(calling.ended(), count)
    assert_all_as_expected(answering.ended(), count)


def test_a_thousand_subscribers_register(peers: Peers, tmp_path: Path) -> None:
    rows = [row(f"user{n}") for n in range(MANY)]
    running = sipp.start("register", peers.home.proxy, rows, tmp_path, rate=250)
    assert_all_as_expected(running.ended(), MANY)


def test_a_thousand_calls_are_set_up_and_released(peers: Peers, tmp_path: Path) -> None:
    alice, bob = ("alice", free_port()), ("bob", free_port())
    for user, port in (alice, bob):
        play("register", peers.home, row(user), tmp_path, port)
    call(peers.home, alice, bob, tmp_path, MANY)


def test_an_attacker_with_a_wrong_res_is_refused_and_its_victim_still_gets_calls(peers: Peers, tmp_path: Path) -> None:
    alice, victim = ("alice", free_port()), ("victim", free_port())
    for user, port in (alice, victim):
        play("register", peers.home, row(user), tmp_path, port)
    play("wrong_res", peers.home, row("victim"), tmp_path)
    call(peers.home, alice, victim, tmp_path)


def test_a_wrong_res_of_a_user_who_is_not_registered_is_refused(peers: Peers, tmp_path: Path) -> None:
    play("wrong_res", peers.home, row("mistaken"), tmp_path)


def test_a_phone_that_does_not_believe_the_network_ends_its_registration(peers: Peers, tmp_path: Path) -> None:
    play("network_not_authentic", peers.home, row("doubtful"), tmp_path)


def test_a_phone_out_of_step_sends_auts_and_is_registered(peers: Peers, tmp_path: Path) -> None:
    with card_at(AHEAD) as port:
        fields = [row("stumbling")]
        running = sipp.start("synchronisation_failure", peers.home.proxy, fields, tmp_path, card_port=port)
        assert_all_as_expected(running.ended())


def test_an_answer_after_the_challenge_ended_is_challenged_anew(peers: Peers, tmp_path: Path) -> None:
    play("incomplete", peers.abroad, row("slow"), tmp_path)


def test_a_new_register_voids_the_open_challenge(peers: Peers, tmp_path: Path) -> None:
    play("new_register_while_open", peers.home, row("hasty"), tmp_path)


def test_an_unknown_user_is_refused(peers: Peers, tmp_path: Path) -> None:
    play("unknown_user", peers.home, row("nobody"), tmp_path)


def test_an_unknown_user_looks_like_one_with_a_wrong_res_where_users_are_hidden(peers: Peers, tmp_path: Path) -> None:
    play("wrong_res", peers.abroad, row("nobody"), tmp_path)


def test_an_identity_of_another_subscription_is_refused(peers: Peers, tmp_path: Path) -> None:
    play("foreign_identity", peers.home, ("alice", "", "bob"), tmp_path)


def test_a_subscriber_may_not_roam_where_it_is_not_allowed(peers: Peers, tmp_path: Path) -> None:
    play("roaming_not_allowed", peers.abroad, row("homebody"), tmp_path)


def test_a_user_whom_no_s_cscf_can_serve_is_told_so(peers: Peers, tmp_path: Path) -> None:
    play("no_s_cscf", peers.home, row("demanding"), tmp_path)


def test_tshark_finds_nothing_malformed_and_no_keys_in_what_phones_got(peers: Peers) -> None:
    peers.capture.stop()
    challenges = peers.capture.matching("sip.Status-Code == 401", "sip.WWW-Authenticate")
    assert len(challenges) >= MANY
    assert all("nonce=" in challenge for challenge in challenges)
    assert not [challenge for challenge in challenges if re.search(r"[\s,](ck|ik)=", challenge)]
    # four messages a registration; for a call, INVITE, 180, 200, ACK, BYE, 200 on both sides
    assert len(peers.capture.matching("sip", "frame.number")) >= MANY * (4 + 12)
    assert peers.capture.matching("_ws.malformed") == []
    assert not re.search(rb"[\s,](ck|ik)=", peers.capture.file.read_bytes())
