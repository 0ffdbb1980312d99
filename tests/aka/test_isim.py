"""Card and authentication centre together: TS 33.102 6.3.2, 6.3.3, 6.3.5."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.aka.isim import Isim, MacFailure, Success, SyncFailure
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SequenceArray, SequenceScheme
from redoubt.aka.tuak import Tuak, TuakLengths
from redoubt.aka.vector import make_auts, make_vector, split_resynchronisation, sqn_of_auts
from redoubt.secret import Secret

from .published import octets, published

SCHEME = SequenceScheme()
LAST_USABLE_SQN = (1 << 48) - 1 - 2 * 32
RAND = bytes(range(16))

keys_16 = st.binary(min_size=16, max_size=16)


def _milenage(k=b"k" * 16, op=b"o" * 16):
    return Milenage.with_op(Secret(k), Secret(op))


def _flipped(octets_: bytes, bit: int) -> bytes:
    return (int.from_bytes(octets_, "big") ^ (1 << bit)).to_bytes(len(octets_), "big")


def _accepted_once_then_resynchronises(functions, rand, sqn_he):
    isim = Isim(functions, SequenceArray.at(sqn_he))
    sqn = SCHEME.following(sqn_he)
    vector = make_vector(functions, rand, sqn)

    first = isim.authenticate(vector.rand, vector.autn)
    assert isinstance(first, Success)
    assert first.res.matches(vector.xres)
    assert first.ck.matches(vector.ck)
    assert first.ik.matches(vector.ik)

    second = isim.authenticate(vector.rand, vector.autn)
    assert isinstance(second, SyncFailure)
    sqn_ms = sqn_of_auts(functions, vector.rand, second.auts)
    assert sqn_ms == sqn
    after = SCHEME.following(SCHEME.resynchronised(sqn_he - sqn_he % 32, sqn_ms))
    fresh = make_vector(functions, bytes(reversed(rand)), after)
    assert isinstance(isim.authenticate(fresh.rand, fresh.autn), Success)


@settings(max_examples=60, deadline=None)
@given(keys_16, keys_16, keys_16, st.integers(0, LAST_USABLE_SQN))
def test_a_milenage_vector_is_accepted_once_and_its_replay_resynchronises(k, op, rand, sqn_he):
    _accepted_once_then_resynchronises(_milenage(k, op), rand, sqn_he)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(keys_16, st.binary(min_size=32, max_size=32)),
    st.binary(min_size=32, max_size=32),
    keys_16,
    st.integers(0, LAST_USABLE_SQN),
    st.sampled_from([32, 64, 128]),
)
def test_a_tuak_vector_is_accepted_once_and_its_replay_resynchronises(k, top, rand, sqn_he, res_bits):
    functions = Tuak.with_top(Secret(k), Secret(top), TuakLengths(res=res_bits))
    _accepted_once_then_resynchronises(functions, rand, sqn_he)


@pytest.mark.parametrize("bit", range(128))
def test_an_autn_with_one_bit_flipped_is_no_success(bit):
    functions = _milenage()
    isim = Isim(functions)
    vector = make_vector(functions, RAND, SCHEME.following(0))
    before = isim.state
    assert isim.authenticate(vector.rand, _flipped(vector.autn, bit)) == MacFailure()
    assert isim.state == before


def test_a_challenge_of_another_network_is_a_mac_failure():
    vector = make_vector(_milenage(k=b"x" * 16), RAND, SCHEME.following(0))
    assert Isim(_milenage()).authenticate(vector.rand, vector.autn) == MacFailure()


def test_a_challenge_of_the_wrong_length_is_a_mac_failure():
    vector = make_vector(_milenage(), RAND, SCHEME.following(0))
    isim = Isim(_milenage())
    assert isim.authenticate(vector.rand[:-1], vector.autn) == MacFailure()
    assert isim.authenticate(vector.rand, vector.autn + b"\0") == MacFailure()


def test_a_genuine_challenge_too_far_ahead_asks_for_resynchronisation():
    functions = _milenage()
    isim = Isim(functions)
    ahead = make_vector(functions, RAND, SCHEME.join(SCHEME.delta + 1, 0))
    failure = isim.authenticate(ahead.rand, ahead.autn)
    assert isinstance(failure, SyncFailure)
    sqn_ms = sqn_of_auts(functions, ahead.rand, failure.auts)
    assert sqn_ms == SequenceArray().highest


@pytest.mark.parametrize("amf", [b"\x00\x00", b"\x80\x00", b"\xff\xff"])
def test_the_card_takes_any_amf_that_the_mac_covers(amf):
    functions = _milenage()
    vector = make_vector(functions, RAND, SCHEME.following(0), amf)
    assert vector.autn[6:8] == amf
    assert isinstance(Isim(functions).authenticate(vector.rand, vector.autn), Success)


def test_a_card_that_restarts_from_its_state_still_refuses_a_replay():
    functions = _milenage()
    isim = Isim(functions)
    vector = make_vector(functions, RAND, SCHEME.following(0))
    assert isinstance(isim.authenticate(vector.rand, vector.autn), Success)
    restarted = Isim(functions, SequenceArray(SCHEME, isim.state))
    assert isinstance(restarted.authenticate(vector.rand, vector.autn), SyncFailure)


@pytest.mark.parametrize("entry", published("milenage/milenage.json"))
def test_no_bit_of_a_published_auts_can_be_flipped(entry):
    k, opc, rand, auts = octets(entry, "k", "opc", "rand", "auts_for_sqn_ms_equal_sqn")
    functions = Milenage(Secret(k), Secret(opc))
    assert sqn_of_auts(functions, rand, auts) is not None
    assert [bit for bit in range(112) if sqn_of_auts(functions, rand, _flipped(auts, bit)) is not None] == []


def test_an_auts_counts_for_its_own_rand_and_length_only():
    functions = _milenage()
    auts = make_auts(functions, RAND, 77)
    assert sqn_of_auts(functions, RAND, auts) == 77
    assert sqn_of_auts(functions, _flipped(RAND, 0), auts) is None
    assert sqn_of_auts(functions, RAND, auts[:-1]) is None
    assert sqn_of_auts(functions, RAND, auts + b"\0") is None
    assert sqn_of_auts(functions, RAND[:-1], auts) is None


def test_rand_and_auts_come_apart_as_cx_joined_them():
    assert split_resynchronisation(b"r" * 16 + b"a" * 14) == (b"r" * 16, b"a" * 14)
    assert split_resynchronisation(b"r" * 29) is None
    assert split_resynchronisation(b"r" * 31) is None
