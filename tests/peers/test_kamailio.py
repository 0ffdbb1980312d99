"""Kamailio's P-, I- and S-CSCF on this HSS: a thousand full AKA registrations by SIPp; Wireshark reads all Diameter."""

import shutil
from pathlib import Path

import pytest

from . import sipp
from .capture import Capture
from .kamailio import cscfs, free_ports, said
from .test_sipp import MANY, assert_all_as_expected, row, served, subscriber

# Its S-CSCF says so with each SAR; the AVP is not mandatory, so the HSS passes over it.
OWN_AVP = ("Unknown AVP 494 (vendor=Optical Data Systems)",)
DIAMETER_SUCCESS, FIRST_REGISTRATION, SUBSEQUENT_REGISTRATION = 2001, 2001, 2002


def answers(capture: Capture, command: int, result: str) -> int:
    """How many answers to a command have a result."""
    condition = f"diameter.cmd.code == {command} and diameter.flags.request == 0 and {result}"
    return sum(line.count(",") + 1 for line in capture.matching(condition, "diameter.Session-Id"))


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
            running = sipp.start("register", ("127.0.0.1", ports["pcscf"]), rows, tmp_path / "sipp", rate=100)
            outcome = running.ended()
        capture.stop()
    assert_all_as_expected(outcome, MANY)
    assert "UAR failed" not in said(folder)
    capture.assert_diameter_is_clean(least=8 * MANY, but_for=OWN_AVP)
    assert answers(capture, 300, f"diameter.Experimental-Result-Code == {FIRST_REGISTRATION}") == MANY
    assert answers(capture, 300, f"diameter.Experimental-Result-Code == {SUBSEQUENT_REGISTRATION}") == MANY
    assert answers(capture, 303, f"diameter.Result-Code == {DIAMETER_SUCCESS}") == MANY
    assert answers(capture, 301, f"diameter.Result-Code == {DIAMETER_SUCCESS}") == MANY
