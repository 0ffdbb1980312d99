"""SIPp registers a thousand subscribers, makes a thousand calls and plays each failure flow; tshark reads it all.

Software that nobody here wrote decides whether the network speaks SIP and AKA (TS 33.203 6.1). Each test's whole
traffic is captured, and must be clean for Wireshark.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from . import sipp
from .capture import Capture
from .card import card_at
from .serve import AMF, OP, K

MANY = 1000
WARNING = 0x600000  # of what Wireshark thinks of a packet, PI_WARN
KEYS = r"[\s,](?:ck|ik)="
SERVE = [sys.executable, str(Path(__file__).parent / "serve.py")]
AHEAD = 1000 << 5  # where the card stands that was used elsewhere, while the HSS begins with 1 << 5


@dataclass(frozen=True, slots=True)
class Served:
    """A network that runs in another process, or those functions of it that shall."""

    proxy: tuple[str, int]
    ports: tuple[int, ...]
    hss_port: int


@dataclass(frozen=True, slots=True)
class Networks:
    home: Served
    abroad: Served


@dataclass(slots=True)
class Peers:
    """The networks as one test has them, with how many SIP messages its scenarios need at least."""

    home: Served
    abroad: Served
    folder: Path
    messages: int = 0


def subscriber(user: str, **more: Any) -> dict[str, Any]:
    return {"impi": f"{user}@ims.test", "k": K.hex(), "op": OP.hex(), "amf": AMF.hex(), **more}


def row(user: str, *more: str) -> tuple[str, ...]:
    return (user, sipp.credentials(user), *more)


@contextmanager
def served(
    config: dict[str, Any], subscribers: list[dict[str, Any]], only: list[str] | None = None
) -> Iterator[Served]:
    """A network that lives as long as the block, with `ims.test` as its realm."""
    asked = {"config": {"network": {"realm": "ims.test"}, **config}, "subscribers": subscribers, "only": only}
    with subprocess.Popen(SERVE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        told = json.loads(process.stdout.readline())
        ports = {int(address.rpartition(":")[2]): name for address, name in told["listening"].items()}
        sip = sorted(port for port, name in ports.items() if name != "hss")
        yield Served(tuple(told["proxy"]), tuple(sip), next((port for port in ports if ports[port] == "hss"), 0))
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
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
        yield Networks(home, abroad)


@pytest.fixture
def peers(networks: Networks, tmp_path: Path) -> Iterator[Peers]:
    """The networks, with all that they send and get in one test captured and judged."""
    try:
        capture = Capture.start(tmp_path / "all.pcapng", networks.home.ports + networks.abroad.ports)
    except PermissionError as refusal:
        pytest.skip(f"this user may not capture on the loopback interface: {refusal}")
    folder = tmp_path / "sipp"
    folder.mkdir()
    peers = Peers(networks.home, networks.abroad, folder)
    try:
        yield peers
    finally:
        capture.stop()
    assert_clean(capture, peers.messages)


def assert_clean(capture: Capture, least: int) -> None:
    """Wireshark read every message, found nothing malformed, and no challenge with the keys in it (TS 24.229 5.2.2)."""
    assert capture.matching(f"_ws.malformed or _ws.expert.severity >= {WARNING}") == []
    messages = capture.matching("sip", "sip.Status-Code", "sip.WWW-Authenticate")
    assert len(messages) >= least
    challenges = [message for message in messages if message.startswith("401")]
    assert all("nonce=" in challenge for challenge in challenges)
    assert not [challenge for challenge in challenges if re.search(KEYS, challenge)]
    assert not re.search(KEYS.encode(), capture.file.read_bytes())


def assert_all_as_expected(outcome: sipp.Outcome, count: int = 1) -> None:
    assert outcome == sipp.Outcome(0, count, 0, 0, ""), f"{outcome}\n{outcome.errors}"


def play(
    peers: Peers,
    scenario: str,
    fields: tuple[str, ...],
    *,
    at: Served | None = None,
    local_port: int | None = None,
    card_port: int | None = None,
) -> None:
    """One call of a scenario, at home unless said otherwise, that must go as written."""
    proxy = (at or peers.home).proxy
    running = sipp.start(scenario, proxy, [fields], peers.folder, local_port=local_port, card_port=card_port)
    assert_all_as_expected(running.ended())
    peers.messages += running.messages


def register_at_ports(peers: Peers, *users: str) -> list[tuple[str, int]]:
    """Registers users from ports that are then free for calls from and to there."""
    at = [(user, free_port()) for user in users]
    for user, port in at:
        play(peers, "register", row(user), local_port=port)
    return at


def call(peers: Peers, caller: tuple[str, int], callee: tuple[str, int], count: int = 1) -> None:
    """Calls between two users who are registered from these ports."""
    proxy, folder = peers.home.proxy, peers.folder
    answering = sipp.start("callee", proxy, [()], folder, local_port=callee[1], calls=count, at_once=count)
    answering.await_port(callee[1])
    rows = [(caller[0], callee[0])]
    calling = sipp.start("caller", proxy, rows, folder, local_port=caller[1], calls=count, rate=80)
    assert_all_as_expected(calling.ended(), count)
    assert_all_as_expected(answering.ended(), count)
    peers.messages += answering.messages + calling.messages


def test_a_thousand_subscribers_register(peers: Peers) -> None:
    rows = [row(f"user{n}") for n in range(MANY)]
    running = sipp.start("register", peers.home.proxy, rows, peers.folder, rate=250)
    assert_all_as_expected(running.ended(), MANY)
    peers.messages += running.messages


def test_a_thousand_calls_are_set_up_and_released(peers: Peers) -> None:
    alice, bob = register_at_ports(peers, "alice", "bob")
    call(peers, alice, bob, MANY)


def test_an_attacker_with_a_wrong_res_is_refused_and_its_victim_still_gets_calls(peers: Peers) -> None:
    bob, victim = register_at_ports(peers, "bob", "victim")
    play(peers, "wrong_res", row("victim"))
    call(peers, bob, victim)


def test_a_wrong_res_of_a_user_who_is_not_registered_is_refused(peers: Peers) -> None:
    play(peers, "wrong_res", row("mistaken"))


def test_a_phone_that_does_not_believe_the_network_ends_its_registration(peers: Peers) -> None:
    play(peers, "network_not_authentic", row("doubtful"))


def test_a_phone_out_of_step_sends_auts_and_is_registered(peers: Peers) -> None:
    with card_at(AHEAD) as port:
        play(peers, "synchronisation_failure", row("stumbling"), card_port=port)


def test_an_answer_after_the_challenge_ended_is_challenged_anew(peers: Peers) -> None:
    play(peers, "incomplete", row("slow"), at=peers.abroad)


def test_a_new_register_voids_the_open_challenge(peers: Peers) -> None:
    play(peers, "new_register_while_open", row("hasty"))


def test_an_unknown_user_is_refused(peers: Peers) -> None:
    play(peers, "unknown_user", row("nobody"))


def test_an_unknown_user_looks_like_one_with_a_wrong_res_where_users_are_hidden(peers: Peers) -> None:
    play(peers, "wrong_res", row("nobody"), at=peers.abroad)


def test_an_identity_of_another_subscription_is_refused(peers: Peers) -> None:
    play(peers, "foreign_identity", ("alice", "", "bob"))


def test_a_subscriber_may_not_roam_where_it_is_not_allowed(peers: Peers) -> None:
    play(peers, "roaming_not_allowed", row("homebody"), at=peers.abroad)


def test_a_user_whom_no_s_cscf_can_serve_is_told_so(peers: Peers) -> None:
    play(peers, "no_s_cscf", row("demanding"))
