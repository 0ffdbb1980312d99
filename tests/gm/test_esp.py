"""ESP (RFC 4303): published packets, round trips, and everything that must lead to nothing."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.aka.published import octets, published

from redoubt.gm.algorithms import Encryption, EspKeys, Integrity, Suite
from redoubt.gm.esp import (
    SEQUENCE_MAX,
    Drop,
    InboundAssociation,
    OutboundAssociation,
    ReplayWindow,
    SequenceExhausted,
)
from redoubt.gm.transforms import transform
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness

from .suites import CBC_SHA1, GCM, GMAC, SPI, SUITES, UDP, receiver, sender

MESSAGE = b"REGISTER sip:ims.test SIP/2.0\r\n"
INTEGRITY_KEY = bytes(range(20))


class Fixed:
    """Randomness that gives what the test wants."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def octets(self, count: int) -> bytes:
        assert count == len(self._octets)
        return self._octets


def with_keys(key: bytes, randomness: Any) -> Any:
    return transform(CBC_SHA1, EspKeys(Secret(INTEGRITY_KEY), Secret(key), Secret(b"")), randomness)


def complete(packet: bytes) -> bytes:
    """A published packet without ICV, with the ICV that our integrity key gives."""
    return packet + hmac.digest(INTEGRITY_KEY, packet, hashlib.sha1)[:12]


@pytest.mark.parametrize("entry", published("esp/esp-aes-cbc.json"))
def test_a_packet_of_rfc_3602_is_opened(entry: dict[str, Any]) -> None:
    key, packet, plaintext = octets(entry, "key", "esp_packet_without_icv", "pre_encryption")
    inbound = InboundAssociation(int(entry["spi"], 16), with_keys(key, SeededRandomness(1)))
    assert inbound.open(complete(packet)) == (plaintext[: -2 - plaintext[-2]], plaintext[-1])


@pytest.mark.parametrize("entry", published("esp/esp-aes-cbc.json"))
def test_a_packet_of_rfc_3602_is_made(entry: dict[str, Any]) -> None:
    key, iv, packet, plaintext = octets(entry, "key", "iv", "esp_packet_without_icv", "pre_encryption")
    block = Cipher(algorithms.AES(key), modes.ECB()).decryptor().update(iv)
    outbound = OutboundAssociation(int(entry["spi"], 16), with_keys(key, Fixed(block)), entry["seq"] - 1)
    assert outbound.seal(plaintext[: -2 - plaintext[-2]], plaintext[-1]) == complete(packet)


@pytest.mark.parametrize("entry", published("aes-cbc/aes-cbc.json"))
def test_the_cipher_that_runs_on_gives_the_ciphertext_of_rfc_3602(entry: dict[str, Any]) -> None:
    key, iv, plaintext, ciphertext = octets(entry, "key", "iv", "plaintext", "ciphertext")
    cbc = with_keys(key, SeededRandomness(1))
    for _ in range(3):  # whatever it decrypted before
        packet = complete(bytes(8) + iv + ciphertext)
        assert cbc.open(packet) == plaintext


@pytest.mark.parametrize("entry", [p for p in published("hmac/hmac.json") if p.values[0].get("digest96")])
def test_tags_are_those_of_rfc_2202_cut_to_96_bits(entry: dict[str, Any]) -> None:
    key, data, tag = octets(entry, "key", "data", "digest96")
    integrity = Integrity.HMAC_MD5_96 if entry["alg"] == "hmac-md5" else Integrity.HMAC_SHA_1_96
    null = transform(
        Suite(integrity, Encryption.NULL), EspKeys(Secret(key), Secret(b""), Secret(b"")), SeededRandomness(1)
    )
    assert null.seal(data, b"") == tag


@pytest.mark.parametrize("entry", published("aes-gcm/wycheproof-aes-gcm.json"))
def test_galois_packets_are_what_the_cipher_gives_for_salt_iv_and_header(entry: dict[str, Any]) -> None:
    key, nonce, header, plaintext, ciphertext, tag = octets(entry, "key", "iv", "aad", "msg", "ct", "tag")
    gcm = transform(GCM, EspKeys(Secret(b""), Secret(key), Secret(nonce[:4])), SeededRandomness(1))
    assert gcm.open(header + nonce[4:] + ciphertext + tag) == plaintext


@pytest.mark.parametrize("suite", SUITES, ids=str)
@given(payload=st.binary(max_size=1500), next_header=st.sampled_from([4, 6, 17, 41]))
@settings(max_examples=30)
def test_what_is_sealed_is_opened(suite: Suite, payload: bytes, next_header: int) -> None:
    packet = sender(suite).seal(payload, next_header)
    assert receiver(suite).open(packet) == (payload, next_header)
    assert len(packet) % 4 == 0
    if suite.is_confidential and len(payload) > 8:
        assert payload not in packet


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_every_flipped_bit_is_refused_and_moves_nothing(suite: Suite) -> None:
    packet = sender(suite).seal(MESSAGE, UDP)
    inbound = receiver(suite)
    for bit in range(32, 8 * len(packet)):  # the SPI is not flipped: it leads elsewhere
        changed = bytearray(packet)
        changed[bit // 8] ^= 0x80 >> bit % 8
        assert inbound.open(bytes(changed)) is None
    assert inbound.window.highest == 0
    assert inbound.traffic.bad_tags + inbound.traffic.replayed == 8 * len(packet) - 32
    assert inbound.open(packet) == (MESSAGE, UDP)


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_another_spi_in_the_header_is_refused(suite: Suite) -> None:
    packet = sender(suite).seal(MESSAGE, UDP)
    assert receiver(suite, SPI + 1).open((SPI + 1).to_bytes(4, "big") + packet[4:]) is None


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_a_packet_cut_or_lengthened_anywhere_is_refused(suite: Suite) -> None:
    packet = sender(suite).seal(MESSAGE, UDP)
    inbound = receiver(suite)
    for end in range(len(packet)):
        assert inbound.open(packet[:end]) is None
    for more in range(1, 20):
        assert inbound.open(packet + bytes(more)) is None
    assert inbound.open(packet) is not None


def test_a_packet_comes_once_in_any_order_within_the_window() -> None:
    outbound, inbound = sender(), receiver()
    packets = [outbound.seal(b"%d" % number, UDP) for number in range(256)]
    for packet in reversed(packets):
        assert inbound.open(packet) is not None
        assert inbound.open(packet) is None
    assert inbound.traffic.replayed == 256


def test_what_fell_out_of_the_window_is_refused() -> None:
    outbound, inbound = sender(), receiver()
    packets = [outbound.seal(b"", UDP) for _ in range(257)]
    assert inbound.open(packets[256]) is not None
    assert inbound.open(packets[0]) is None
    assert inbound.open(packets[1]) is not None


@given(st.integers(64, 300), st.lists(st.integers(1, 700), max_size=120))
def test_the_window_takes_what_a_plain_set_would_take(size: int, numbers: list[int]) -> None:
    window, seen, highest = ReplayWindow(size), set[int](), 0
    for number in numbers:
        fresh = number not in seen and number > highest - size
        assert window.admits(number) is fresh
        if fresh:
            window.accept(number)
            seen.add(number)
            highest = max(highest, number)
        assert window.highest == highest


def test_a_forged_high_number_does_not_move_the_window() -> None:
    outbound, inbound = sender(), receiver()
    packet = outbound.seal(MESSAGE, UDP)
    assert inbound.open(packet[:4] + (2**31).to_bytes(4, "big") + packet[8:]) is None
    assert inbound.open(packet) is not None


def test_the_window_may_jump_by_half_of_all_numbers() -> None:
    inbound = receiver()
    assert inbound.open(sender(after=2**31).seal(MESSAGE, UDP)) is not None
    assert inbound.open(sender().seal(MESSAGE, UDP)) is None


def test_sequence_number_zero_is_never_accepted() -> None:
    assert not ReplayWindow().admits(0)
    assert sender().seal(b"", UDP)[4:8] == b"\0\0\0\1"


def test_a_window_below_64_is_not_made() -> None:
    with pytest.raises(ValueError, match="64"):
        ReplayWindow(63)


def test_after_the_last_sequence_number_nothing_is_sent() -> None:
    outbound, inbound = sender(after=SEQUENCE_MAX - 1), receiver()
    assert inbound.open(outbound.seal(MESSAGE, UDP)) is not None
    for _ in range(3):
        with pytest.raises(SequenceExhausted):
            outbound.seal(MESSAGE, UDP)
    assert outbound.sequence == SEQUENCE_MAX


def test_a_restarted_receiver_takes_nothing_that_may_have_come_before() -> None:
    outbound = sender()
    packets = [outbound.seal(b"", UDP) for _ in range(300)]
    inbound = receiver()
    inbound.window = ReplayWindow(highest=280)
    assert [number for number, packet in enumerate(packets, 1) if inbound.open(packet)] == list(range(281, 301))


@pytest.mark.parametrize("wrong", [b"\0\0\0", b"\3\2\1", b"\1\2\4"])
def test_padding_that_does_not_count_is_refused(wrong: bytes) -> None:
    """The sender has the keys; the number is used up all the same (RFC 4303 3.4.4)."""
    null = next(suite for suite in SUITES if not suite.is_confidential)
    outbound, inbound = sender(null), receiver(null)
    header = SPI.to_bytes(4, "big") + (1).to_bytes(4, "big")
    packet = header + outbound._transform.seal(header, b"abc" + wrong + bytes([3, UDP]))
    assert inbound.open(packet) is None
    assert inbound.traffic.bad_padding == 1
    assert inbound.window.highest == 1


def test_padding_longer_than_the_payload_is_refused() -> None:
    null = next(suite for suite in SUITES if not suite.is_confidential)
    outbound, inbound = sender(null), receiver(null)
    header = SPI.to_bytes(4, "big") + (1).to_bytes(4, "big")
    assert inbound.open(header + outbound._transform.seal(header, b"ab" + bytes([200, UDP]))) is None
    assert inbound.traffic.bad_padding == 1


def test_a_dummy_packet_leads_to_nothing() -> None:
    inbound = receiver()
    assert inbound.open(sender().seal(b"", 59)) is None
    assert inbound.traffic.dummies == 1


def test_each_reason_is_heard_of() -> None:
    heard: list[tuple[Drop, int]] = []
    inbound = receiver()
    inbound.refused = lambda reason, spi: heard.append((reason, spi))
    packet = sender().seal(MESSAGE, UDP)
    for each in (packet[:20], packet[:-1] + bytes([packet[-1] ^ 1]), packet, packet):
        inbound.open(each)
    assert heard == [(Drop.MALFORMED, SPI), (Drop.BAD_TAG, SPI), (Drop.REPLAYED, SPI)]


def test_no_cbc_iv_comes_twice() -> None:
    outbound = sender()
    assert len({outbound.seal(b"", UDP)[8:24] for _ in range(10_000)}) == 10_000


def test_the_iv_is_no_block_that_was_seen_before() -> None:
    """A cipher that runs on must not show the next IV in the last packet (RFC 3602 2.1)."""
    outbound = sender()
    first, second = outbound.seal(MESSAGE, UDP), outbound.seal(MESSAGE, UDP)
    assert second[8:24] not in first


@pytest.mark.parametrize("suite", [GCM, GMAC], ids=str)
def test_no_galois_nonce_comes_twice_among_the_four_associations_of_a_set(suite: Suite) -> None:
    nonces = [
        outbound.seal(b"", UDP)[8:16] for outbound in (sender(suite, spi) for spi in range(300, 304)) for _ in range(99)
    ]
    assert len(set(nonces)) == 4 * 99


@pytest.mark.parametrize("suite", [GCM, GMAC], ids=str)
def test_a_restart_that_jumps_ahead_repeats_no_galois_nonce(suite: Suite) -> None:
    before, after = sender(suite), sender(suite, after=1000)
    first = {before.seal(b"", UDP)[8:16] for _ in range(1000)}
    assert not first & {after.seal(b"", UDP)[8:16] for _ in range(1000)}


def test_an_authentic_packet_of_a_length_that_no_packet_has_is_malformed() -> None:
    """Its decryption would carry over into the next packet's."""
    cipher = with_keys(bytes(16), SeededRandomness(1))
    inbound = InboundAssociation(SPI, cipher)
    header = SPI.to_bytes(4, "big") + (1).to_bytes(4, "big")
    assert inbound.open(complete(header + bytes(37))) is None
    assert (inbound.traffic.malformed, inbound.window.highest) == (1, 0)
    assert inbound.open(OutboundAssociation(SPI, cipher).seal(MESSAGE, UDP)) == (MESSAGE, UDP)
