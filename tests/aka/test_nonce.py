"""The nonce as carrier of a challenge (RFC 3310 3.2, 3.4), and each of its counts once (RFC 7616 3.4)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.aka.nonce import AkaNonce, MalformedNonce, NonceUse, decode_auts, encode_auts

from .published import octets, published

octets_16 = st.binary(min_size=16, max_size=16)


@pytest.mark.parametrize("entry", published("milenage/milenage.json"))
def test_the_nonce_is_rand_and_autn_in_base64(entry):
    rand, autn = octets(entry, "rand", "autn")
    assert str(AkaNonce(rand, autn)) == entry["rand_autn_nonce_b64"]
    assert AkaNonce.parse(entry["rand_autn_nonce_b64"]) == AkaNonce(rand, autn)


@given(octets_16, octets_16, st.binary(max_size=40))
def test_server_data_survives_the_round_trip(rand, autn, server_data):
    nonce = AkaNonce(rand, autn, server_data)
    assert AkaNonce.parse(str(nonce)) == nonce


@pytest.mark.parametrize("text", ["", "====", "é", "not base64!", base64.b64encode(bytes(31)).decode()])
def test_a_nonce_that_holds_no_challenge_is_refused(text):
    with pytest.raises(MalformedNonce):
        AkaNonce.parse(text)


def test_auts_is_fourteen_octets_and_nothing_else():
    assert decode_auts(encode_auts(b"a" * 14)) == b"a" * 14
    for wrong in (b"a" * 13, b"a" * 15, b""):
        with pytest.raises(MalformedNonce, match="must hold 14"):
            decode_auts(encode_auts(wrong))


def test_a_nonce_count_is_never_taken_twice_or_backwards():
    use = NonceUse()
    counts = ("00000001", "00000001", "00000003", "00000002", "0000000A", "0000000a")
    taken = [use.accept(nc) for nc in counts]
    assert taken == [True, False, True, False, True, False]
    assert use.last == 10


@pytest.mark.parametrize(
    "nc", ["", "0", "1", "00000000", "000000001", "0x000001", "-0000001", " 0000001", "0000_001"]
)
def test_a_nonce_count_that_is_not_eight_digits_above_zero_is_refused(nc):
    use = NonceUse()
    assert not use.accept(nc)
    assert use.last == 0


def test_without_a_count_a_nonce_is_good_for_one_response():
    use = NonceUse()
    assert use.accept(None)
    assert not use.accept(None)
    assert not use.accept("00000001")
    counted = NonceUse()
    assert counted.accept("00000001")
    assert not counted.accept(None)
