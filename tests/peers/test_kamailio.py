"""Kamailio's P-, I- and S-CSCF on this HSS: a thousand full AKA registrations by SIPp; Wireshark reads all Diameter."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from . import sipp
from .capture import Capture
from .kamailio import cscfs, free_ports, said
from .test_sipp import MANY, assert_all_as_expected, row, served, subscriber

# Its S-CSCF says so with each SAR; the AVP is not mandatory, so the HSS passes over it.
OWN_AVP = ("Unknown AVP 494 (vendor=Optical Data Systems)",)
UAA, SAA, MAA = "300", "301", "303"
SUCCESS, FIRST_REGISTRATION, SUBSEQUENT_REGISTRATION = "2001", "2001", "2002"


def answered(capture: Capture, field: str) -> Counter[str]:
    """How often each value of a field stands in answers; those of several messages in one frame have commas between."""
    frames = capture.matching("diameter.flags.request == 0", field)
    return Counter(value for frame in frames for value in frame.split(",") if value)


def test_a_thousand_subscribers_register_through_kamailios_cscfs(tmp_path: Path) -> None:
    for program in ("kamailio", "kamcmd", "sipp", "tshark", "dumpcap"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: make peers, as root")
    (folder := tmp_path / "kamailio").mkdir()
    ports = free_ports()
    config = {"s-cscf": {"uri": f"sip:127.0.0.1:{ports['scscf']}"}, "hss": {"diameter": ["tcp:127.0.0.1:0"]}}
    subscribers = [subscriber(f"user{n}") for n in range(MANY)]
    with served(config, subscribers, only=["hss"]) as home:
        try:
            capture = Capture.start(tmp_path / "all.pcapng", [], [home.hss_port])
        except PermissionError as refusal:
            pytest.skip(f"this user may not capture on the loopback interface: {refusal}")
        with cscfs(folder, ports, home.hss_port):
            rows = [row(f"user{n}") for n in range(MANY)]
            (tmp_path / "sipp").mkdir()
            proxy = ("127.0.0.1", ports["pcscf"])
            running = sipp.start("register_at_kamailio", proxy, rows, tmp_path / "sipp", rate=100, at_once=20)
            outcome = running.ended()
        capture.stop()
    assert_all_as_expected(outcome, MANY)
    assert "UAR failed" not in said(folder)
    capture.assert_diameter_is_clean(least=8 * MANY, but_for=OWN_AVP)
    commands = answered(capture, "diameter.cmd.code")
    challenges = commands[MAA]
    assert challenges >= MANY and commands[SAA] == MANY and commands[UAA] == MANY + challenges
    assert set(answered(capture, "diameter.Result-Code")) == {SUCCESS}
    assert answered(capture, "diameter.Experimental-Result-Code") == {
        FIRST_REGISTRATION: MANY,
        SUBSEQUENT_REGISTRATION: challenges,
    }
