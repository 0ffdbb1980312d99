"""The codec: what is written is read, and lies are refused with the result code that RFC 6733 owes them."""

import json
import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import Avp, AvpGroup, AvpType, DiameterError, read_avps
from redoubt.diameter.codec import DiameterMessage, MalformedMessage, check_request, decode, message_length
from redoubt.diameter.results import Result

from .messages import cer, group, maa, mar

steady = settings(derandomize=True, deadline=None, max_examples=150)
RAW = json.loads((Path(__file__).parents[1] / "vectors/diameter/raw-messages.json").read_text())["vectors"]

raw_avps = st.builds(
    lambda code, vendor, flags, data: Avp(code, vendor, flags | (0x80 if vendor else 0), data),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 0x7F),
    st.binary(max_size=40),
)


@pytest.mark.parametrize("vector", RAW, ids=lambda vector: str(vector["command_code"]))
def test_a_recorded_message_is_read_and_written_octet_by_octet(vector: dict[str, object]) -> None:
    octets = bytes.fromhex(str(vector["hex"]))
    message = decode(octets)
    assert (message.command, message.flags, message.application) == (
        vector["command_code"], vector["flags"], vector["application_id"],
    )  # fmt: skip
    walked = [
        {"code": avp.code, "flags": avp.flags, "length": len(avp.data) + 8, "vendor": avp.vendor}
        for avp in message.avps
    ]
    assert walked == vector["avps"]
    assert message.to_bytes() == octets


@steady
@given(st.lists(raw_avps, max_size=8), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_any_message_reads_as_it_was_written(avps: list[Avp], flags: int, number: int) -> None:
    octets = DiameterMessage(303, 16777216, flags, number, number ^ 1, avps).to_bytes()
    message = decode(octets)
    assert message.avps == avps
    assert (message.flags, message.hop_by_hop, message.end_to_end) == (flags, number, number ^ 1)
    assert message.to_bytes() == octets


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (d.SESSION_ID, "hss;1;2;ö"),
        (d.SIP_AUTHENTICATE, b"\0\1\2"),
        (d.RESULT_CODE, 2001),
        (d.AUTHORIZATION_LIFETIME, -1),
        (d.OC_SEQUENCE_NUMBER, 2**64 - 1),
        (d.DISCONNECT_CAUSE, d.DisconnectCause.BUSY),
        (d.HOST_IP_ADDRESS, IPv4Address("192.0.2.1")),
        (d.HOST_IP_ADDRESS, IPv6Address("2001:db8::1")),
        (d.EVENT_TIMESTAMP, 1_800_000_000),
        (d.EVENT_TIMESTAMP, 2_085_978_497),  # 7 February 2036, when the 32 bits begin again
        (d.FAILED_AVP, group((d.USER_NAME, "x"), (d.RESULT_CODE, 1))),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_value_of_each_kind_reads_as_it_was_written(kind: AvpType[object], value: object) -> None:
    message = decode(DiameterMessage(280, 0).add(kind, value).to_bytes())
    assert message.need(kind) == value
    assert message.every(kind) == (value,)


def test_an_identity_is_in_lower_case() -> None:
    assert DiameterMessage(280, 0).add(d.ORIGIN_HOST, "HSS.Ims.Test").need(d.ORIGIN_HOST) == "hss.ims.test"


def test_an_avp_is_found_by_code_and_vendor() -> None:
    message = DiameterMessage(306, 16777217).add(d.LOAD, AvpGroup()).add(d.SESSION_PRIORITY, d.SessionPriority(2))
    assert d.LOAD.code == d.SESSION_PRIORITY.code
    assert message.need(d.SESSION_PRIORITY) == d.SessionPriority.PRIORITY_2


def test_a_missing_avp_is_named_in_failed_avp_with_its_shortest_form() -> None:
    with pytest.raises(DiameterError) as caught:
        mar().need(d.SERVER_ASSIGNMENT_TYPE)
    assert caught.value.result is Result.MISSING_AVP
    answer = mar().answer(caught.value.result, caught.value.failed)
    (failed,) = decode(answer.to_bytes()).need(d.FAILED_AVP).avps
    assert (failed.code, failed.vendor, failed.data) == (614, 10415, bytes(4))


@pytest.mark.parametrize(
    ("kind", "data", "result"),
    [
        (d.RESULT_CODE, b"\0\0\1", Result.INVALID_AVP_LENGTH),
        (d.SERVER_ASSIGNMENT_TYPE, b"", Result.INVALID_AVP_LENGTH),
        (d.SERVER_ASSIGNMENT_TYPE, b"\0\0\0\x63", Result.INVALID_AVP_VALUE),
        (d.USER_NAME, b"\xff\xfe", Result.INVALID_AVP_VALUE),
        (d.ORIGIN_HOST, "ö".encode(), Result.INVALID_AVP_VALUE),
        (d.HOST_IP_ADDRESS, b"\0\1\x7f\0\0", Result.INVALID_AVP_VALUE),
        (d.HOST_IP_ADDRESS, b"", Result.INVALID_AVP_VALUE),
        (d.FAILED_AVP, b"\0\0\0\1\0\0\0\7", Result.INVALID_AVP_LENGTH),
    ],
)
def test_a_value_that_cannot_be_is_refused(kind: AvpType[object], data: bytes, result: Result) -> None:
    message = DiameterMessage(303, 16777216, avps=[Avp(kind.code, kind.vendor, kind.flags, data)])
    with pytest.raises(DiameterError) as caught:
        message.first(kind)
    assert caught.value.result is result
    assert caught.value.failed is not None


# ---- lengths that lie (requirement row 106)


@pytest.mark.parametrize("length", [0, 4, 16, 19, 21, 22, limits.DIAMETER_MESSAGE_OCTETS + 4, 0xFFFFFC, 0xFFFFFF])
def test_a_message_length_that_cannot_be_is_refused_before_anything_is_read(length: int) -> None:
    octets = mar().to_bytes()
    with pytest.raises(DiameterError) as caught:
        message_length(b"\1" + length.to_bytes(3, "big"))
    assert caught.value.result is Result.INVALID_MESSAGE_LENGTH
    with pytest.raises(DiameterError):
        decode(b"\1" + length.to_bytes(3, "big") + octets[4:])


def test_another_version_is_refused() -> None:
    with pytest.raises(DiameterError) as caught:
        message_length(b"\2\0\0\x14")
    assert caught.value.result is Result.UNSUPPORTED_VERSION


@pytest.mark.parametrize("length", [0, 1, 7, 8 + 4096, 0xFFFFFF])
def test_an_avp_length_that_lies_is_refused_and_the_header_is_known(length: int) -> None:
    octets = bytearray(mar().to_bytes())
    octets[25:28] = length.to_bytes(3, "big")
    with pytest.raises(MalformedMessage) as caught:
        decode(bytes(octets))
    assert caught.value.result is Result.INVALID_AVP_LENGTH
    answer = caught.value.message.answer(caught.value.result, caught.value.failed)
    assert (answer.hop_by_hop, answer.end_to_end) == (0x1234, 0x567890AB)
    assert decode(answer.to_bytes()).need(d.FAILED_AVP).avps[0].code == d.SESSION_ID.code


def test_a_vendor_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DiameterError):
        read_avps(bytes.fromhex("000002588000000800000000"), 0, 8)
    with pytest.raises(DiameterError):
        read_avps(bytes.fromhex("000002588000000b000028af"), 0, 12)


def test_a_last_avp_without_padding_is_taken_in_a_group_only() -> None:
    octets = bytes.fromhex("0000000140000009") + b"x"
    assert len(read_avps(octets, 0, 9, padded=False)) == 1
    with pytest.raises(DiameterError):
        read_avps(octets, 0, 9)


def test_more_avps_than_anybody_sends_are_refused() -> None:
    avp = Avp(1, 0, 0, b"")
    assert decode(DiameterMessage(280, 0, avps=[avp] * limits.DIAMETER_AVPS).to_bytes())
    with pytest.raises(DiameterError) as caught:
        decode(DiameterMessage(280, 0, avps=[avp] * (limits.DIAMETER_AVPS + 1)).to_bytes())
    assert caught.value.result is Result.RESOURCES_EXCEEDED


# ---- what holds for every request


@pytest.mark.parametrize("make", [mar, cer], ids=["MAR", "CER"])
def test_a_good_request_passes(make: Callable[[], DiameterMessage]) -> None:
    check_request(decode(make().to_bytes()))


def test_an_unknown_avp_counts_only_with_the_m_bit() -> None:
    check_request(DiameterMessage(303, 1, avps=[Avp(9999, 0, 0, b"")]))
    unknown = Avp(9999, 10415, 0xC0, b"abc")
    with pytest.raises(DiameterError) as caught:
        check_request(DiameterMessage(303, 1, avps=[unknown]))
    assert (caught.value.result, caught.value.failed) == (Result.AVP_UNSUPPORTED, unknown)


def test_an_unknown_avp_in_a_group_is_reported_inside_its_group() -> None:
    item = AvpGroup([Avp(9999, 0, 0x40, b"")])
    with pytest.raises(DiameterError) as caught:
        check_request(DiameterMessage(303, 1).add(d.SIP_AUTH_DATA_ITEM, item))
    assert caught.value.failed == d.SIP_AUTH_DATA_ITEM.of(item)


def test_groups_nested_a_hundred_deep_are_refused() -> None:
    nested = AvpGroup()
    for _ in range(100):
        nested = AvpGroup().add(d.SIP_AUTH_DATA_ITEM, nested)
    message = decode(DiameterMessage(303, 1).add(d.SIP_AUTH_DATA_ITEM, nested).to_bytes())
    with pytest.raises(DiameterError) as caught:
        check_request(message)
    assert caught.value.result is Result.INVALID_AVP_VALUE


def test_an_avp_that_may_come_once_comes_once() -> None:
    with pytest.raises(DiameterError) as caught:
        check_request(mar().add(d.USER_NAME, "bob@ims.test"))
    assert caught.value.result is Result.AVP_OCCURS_TOO_MANY_TIMES
    check_request(mar().add(d.PUBLIC_IDENTITY, "sip:bob@ims.test"))


def test_a_request_with_the_error_bit_is_refused() -> None:
    message = mar()
    message.flags |= 0x20
    with pytest.raises(DiameterError) as caught:
        check_request(message)
    assert caught.value.result is Result.INVALID_HDR_BITS
    assert message.answer(caught.value.result).is_error


def test_an_answer_hands_back_what_proxies_and_senders_need() -> None:
    proxied = mar().add(d.PROXY_INFO, group((d.PROXY_HOST, "p.test"), (d.PROXY_STATE, b"s")))
    answer = proxied.answer()
    assert not answer.is_request
    assert answer.avps[0] == d.SESSION_ID.of("scscf.ims.test;1;2")
    assert answer.every(d.PROXY_INFO) == proxied.every(d.PROXY_INFO)
    assert answer.need(d.RESULT_CODE) == 2001


# ---- anything at all


def test_ten_thousand_mutated_messages_raise_nothing_but_diameter_errors() -> None:
    chance = random.Random(6733)
    seeds = [bytes.fromhex(vector["hex"]) for vector in RAW] + [mar().to_bytes(), maa().to_bytes(), cer().to_bytes()]
    refused = 0
    for _ in range(10_000):
        octets = mutated(bytearray(chance.choice(seeds)), chance)
        try:
            message = decode(octets)
            check_request(message)
            for kind in d.KNOWN.values():
                message.every(kind)
            assert decode(message.to_bytes()).avps == message.avps
        except DiameterError as error:
            refused += 1
            assert decode(mar().answer(error.result, error.failed).to_bytes())
    assert 2_000 < refused < 10_000


def mutated(octets: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(4, len(octets))
        match chance.randrange(4):
            case 0:
                octets[at] = chance.randrange(256)
            case 1:
                octets[at] ^= 1 << chance.randrange(8)
            case 2:
                del octets[at : at + chance.randint(1, 8)]
            case _:
                octets[at:at] = chance.randbytes(chance.randint(1, 8))
    if chance.random() < 0.8:  # so that most get past the first check
        octets += bytes(-len(octets) % 4)
        octets[:4] = (1 << 24 | len(octets)).to_bytes(4, "big")
    return bytes(octets)
