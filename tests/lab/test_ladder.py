"""The ladder diagram: what it draws for messages and checks, at any width."""

import pytest
from rich.text import Text

from redoubt.events import Check, Event, MessageSeen
from redoubt.lab.ladder import ASCII, Ladder

REGISTER = (
    "REGISTER sip:ims.example SIP/2.0\r\nVia: SIP/2.0/UDP ue;branch=z9hG4bK1\r\nFrom: <sip:a@ims.example>;tag=1\r\n"
    'To: <sip:a@ims.example>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nAuthorization: Digest username="a@ims.example",'
    'realm="ims.example",nonce="",uri="sip:ims.example",response=""\r\nContent-Length: 0\r\n\r\n'
)
CHALLENGE = (
    "SIP/2.0 401 Unauthorized\r\nFrom: <sip:a@ims.example>;tag=1\r\nTo: <sip:a@ims.example>;tag=2\r\nCall-ID: c\r\n"
    'CSeq: 1 REGISTER\r\nWWW-Authenticate: Digest realm="ims.example",nonce="AA==",algorithm=AKAv1-MD5,ck="",ik=""\r\n'
    "Content-Length: 0\r\n\r\n"
)
NAMES = {"192.0.2.1:5060": "ue-1", "192.0.2.9:5060": "p-cscf"}


def drawn(*events: Event, width: int = 110) -> list[str]:
    lines: list[Text] = []
    ladder = Ladder(lines.append, NAMES, width, strokes=ASCII)
    for event in events:
        ladder(event)
    return [line.plain for line in lines]


def seen(sender: str, receiver: str, text: str, transport: str = "udp") -> MessageSeen:
    return MessageSeen(at=0, node="p-cscf", sender=sender, receiver=receiver, transport=transport, text=text)


def test_a_message_is_an_arrow_between_the_lanes_of_its_parties() -> None:
    [line] = drawn(seen("192.0.2.1:5060", "192.0.2.9:5060", REGISTER), width=102)
    assert line == "      |--REGISTER->|            |            |            |            |  username only"


def test_an_answer_points_back_and_a_message_without_via_is_read_too() -> None:
    [line] = drawn(seen("s-cscf", "i-cscf", CHALLENGE, "internal"))
    assert "|<----401----|" in line
    assert line.endswith("nonce, ck, ik, AKAv1-MD5")


def test_a_diameter_command_spans_the_lanes_between() -> None:
    lines = drawn(
        seen("i-cscf", "hss", "UAR a@ims.example sip:a@ims.example REGISTRATION", "cx"),
        seen("hss", "i-cscf", "UAA 2001 FIRST_REGISTRATION", "cx"),
    )
    assert [line.split("  ")[-1] for line in lines] == ["a a REGISTRATION", "FIRST_REGISTRATION"]
    assert "UAA 2001" in lines[1]


def test_a_check_that_held_says_what_it_proved_and_one_that_failed_what_was_wrong() -> None:
    rule = "AUTN was made with this card's key and is fresh"
    good = Check(at=0, node="ue-1", call_id="c", step="SM6", rule=rule, passed=True)
    bad = Check(at=0, node="s-cscf", call_id="c", step="SM9", rule="the response matches XRES", passed=False)
    proof, failure = drawn(good, bad, width=200)
    assert "network authenticated by AUTN" in proof
    assert "FAILED S-CSCF: not so: the response matches XRES" in failure


@pytest.mark.parametrize("width", [20, 80, 100, 250])
def test_no_line_is_wider_than_the_terminal_that_has_room_for_the_lanes(width: int) -> None:
    lines = drawn(seen("192.0.2.1:5060", "192.0.2.9:5060", REGISTER), width=width)
    assert all(len(line) <= max(width, 72) for line in lines)
