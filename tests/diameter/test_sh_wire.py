"""The messages of Sh (TS 29.329 6.1): what one side writes the other reads, and what is wrong is owed its result."""

import pytest

from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import SH
from redoubt.diameter.avp import AvpGroup, DiameterError
from redoubt.diameter.codec import DiameterMessage, check_request, decode
from redoubt.diameter.results import Result, ShResult
from redoubt.diameter.sh import (
    DataReference,
    ImsUserState,
    Notification,
    Pull,
    Repository,
    ShAnswer,
    ShCode,
    ShData,
    Subscribe,
    Update,
    UserIdentity,
)
from redoubt.diameter.sh_wire import (
    read_answer,
    read_pnr,
    read_pur,
    read_snr,
    read_udr,
    write_answer,
    write_pnr,
    write_pur,
    write_snr,
    write_udr,
)

ALICE = UserIdentity("sip:alice@home.net")
PULL = Pull(ALICE, (DataReference.REPOSITORY_DATA, DataReference.MSISDN), ("barring",), 2, "sip:as.home.net", "a@b")
DATA = ShData(repository=(Repository("barring", 1, "<on/>"),), user_state=ImsUserState.REGISTERED)
SUBSCRIBE = Subscribe(ALICE, (11,), False, ("barring",), True, 1_800_000_000, "sip:as.home.net")


def new(command: int) -> DiameterMessage:
    """As a node begins it."""
    return DiameterMessage(command, SH.number, avps=[SH.advertised()])


def wire(message: DiameterMessage) -> DiameterMessage:
    received = decode(message.to_bytes())
    if received.is_request:
        check_request(received)
    return received


def test_requests_survive_the_way() -> None:
    assert read_udr(wire(write_udr(new(306), PULL))) == PULL
    assert read_snr(wire(write_snr(new(308), SUBSCRIBE))) == SUBSCRIBE
    ended = Subscribe(ALICE, (11,), True)
    assert read_snr(wire(write_snr(new(308), ended))) == ended
    update = Update(ALICE, (0,), ShData(repository=DATA.repository))
    assert read_pur(wire(write_pur(new(307), update))) == update
    told = Notification("sip:alice@home.net", DATA)
    assert read_pnr(wire(write_pnr(new(309), told))) == told


@pytest.mark.parametrize("digits", ["4930123456", "49301234567", "1"])
def test_an_msisdn_is_written_digit_by_digit(digits: str) -> None:
    """TBCD as in MAP (TS 29.329 6.3.2)."""
    asked = Pull(UserIdentity(msisdn=digits), (17,))
    assert read_udr(wire(write_udr(new(306), asked))) == asked
    if digits == "49301234567":
        group = write_udr(new(306), asked).need(d.USER_IDENTITY)
        assert group.need(d.MSISDN).hex() == "9403214365f7"


@pytest.mark.parametrize("code", [*ShResult, Result.SUCCESS, Result.UNABLE_TO_COMPLY, Result.TOO_BUSY])
def test_every_result_survives_the_way(code: ShCode) -> None:
    given = ShAnswer(code, DATA if code is Result.SUCCESS else None, 5)
    assert read_answer(wire(write_answer(write_udr(new(306), PULL), given))) == given


def test_a_code_of_later_releases_is_no_success() -> None:
    answer = write_udr(new(306), PULL).answer(None)
    answer.add(d.EXPERIMENTAL_RESULT, AvpGroup().add(d.VENDOR_ID, 10415).add(d.EXPERIMENTAL_RESULT_CODE, 2999))
    assert read_answer(answer).result is Result.UNABLE_TO_COMPLY


def test_what_is_missing_or_doubled_is_owed_its_result() -> None:
    both = AvpGroup().add(d.PUBLIC_IDENTITY, "sip:a@b").add(d.MSISDN, b"\x21")
    wrong = {
        Result.MISSING_AVP: [(d.USER_IDENTITY, AvpGroup())],
        Result.CONTRADICTING_AVPS: [(d.USER_IDENTITY, both)],
        Result.INVALID_AVP_VALUE: [(d.USER_IDENTITY, AvpGroup().add(d.MSISDN, b"\xab"))],
    }
    for result, values in wrong.items():
        message = write_udr(new(306), PULL)
        for kind, value in values:
            message.remove(kind)
            message.add(kind, value)
        with pytest.raises(DiameterError) as caught:
            read_udr(wire(message))
        assert caught.value.result is result
    message = write_udr(new(306), PULL)
    message.remove(d.DATA_REFERENCE)
    with pytest.raises(DiameterError) as caught:
        read_udr(wire(message))
    assert caught.value.result is Result.MISSING_AVP
    message.avps += [d.DATA_REFERENCE.of(0)] * 100
    with pytest.raises(DiameterError):
        read_udr(wire(message))
    message = write_udr(new(306), PULL)
    message.add(d.SERVICE_INDICATION, b"a\0b")
    with pytest.raises(DiameterError):
        read_udr(wire(message))
