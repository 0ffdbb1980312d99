"""TUAK and its Keccak permutation against the sets of TS 35.232 and TS 35.233."""

import hashlib

import pytest

from redoubt.aka import tuak
from redoubt.aka.keccak import keccak_f1600
from redoubt.aka.tuak import Tuak, TuakLengths, derive_topc
from redoubt.aka.vector import make_vector
from redoubt.secret import Secret

from .published import octets, published

F1 = published("tuak/tuak-f1.json")
F2345 = published("tuak/tuak-f2345.json")


def _card(entry, lengths):
    k, top = octets(entry, "k", "top")
    return Tuak.with_top(Secret(k), Secret(top), lengths, entry["keccak_iterations"])


@pytest.mark.parametrize("entry", published("tuak/keccak-1600.json"))
def test_the_permutation_gives_the_published_state(entry):
    assert keccak_f1600(bytes.fromhex(entry["input"])).hex() == entry["output"]


def test_the_permutation_agrees_with_the_hash_library():
    block = bytearray(200)
    block[0], block[135] = 0x1F, 0x80
    assert keccak_f1600(bytes(block))[:136] == hashlib.shake_256(b"").digest(136)


@pytest.mark.parametrize("entry", F1 + F2345)
def test_topc_is_as_published(entry):
    k, top, topc = octets(entry, "k", "top", "topc")
    assert derive_topc(Secret(k), Secret(top), entry["keccak_iterations"]).matches(topc)


@pytest.mark.parametrize("entry", F1)
def test_f1_and_f1_star_give_the_published_macs(entry):
    card = _card(entry, TuakLengths(mac=entry["mac_len_bits"]))
    rand, sqn, amf = octets(entry, "rand", "sqn", "amf")
    assert card.f1(rand, sqn, amf).hex() == entry["f1"]
    assert card.f1_star(rand, sqn, amf).hex() == entry["f1star"]


@pytest.mark.parametrize("entry", F2345)
def test_f2_to_f5_star_give_the_published_values(entry):
    lengths = TuakLengths(res=entry["res_len_bits"], ck=entry["ck_len_bits"], ik=entry["ik_len_bits"])
    card = _card(entry, lengths)
    (rand,) = octets(entry, "rand")
    keys = card.f2345(rand)
    found = [value.reveal().hex() for value in (keys.res, keys.ck, keys.ik, keys.ak)]
    assert found == [entry["f2"], entry["f3"], entry["f4"], entry["f5"]]
    assert card.f5_star(rand).hex() == entry["f5star"]


def test_several_iterations_run_the_same_block_as_one():
    """The path through `keccak` and the one through SHAKE256 differ in nothing but the count."""
    fields = (b"t" * 32, 0x41, b"r" * 16, b"am", b"sqnsqn", b"k" * 32)
    one = tuak._permuted(*fields, 1)
    block = b"t" * 32 + b"\x41" + b"0.1KAUT" + b"r" * 16 + b"ma" + b"nqsnqs" + b"k" * 32
    state = (block + b"\x1f").ljust(135, b"\0") + b"\x80" + bytes(64)
    assert one == keccak_f1600(state)[:102]
    assert tuak._permuted(*fields, 3) == keccak_f1600(keccak_f1600(keccak_f1600(state)))[:102]


@pytest.mark.parametrize("lengths", [{"mac": 96}, {"res": 512}, {"ck": 64}, {"ik": 192}])
def test_a_length_that_tuak_has_not_is_refused(lengths):
    with pytest.raises(ValueError, match="must be one of"):
        TuakLengths(**lengths)


@pytest.mark.parametrize("iterations", [0, -1, 256])
def test_a_count_of_iterations_out_of_range_is_refused(iterations):
    with pytest.raises(ValueError, match="runs Keccak 1 to 255 times"):
        Tuak(Secret(bytes(16)), Secret(bytes(32)), keccak_iterations=iterations)


def test_a_mac_too_long_for_autn_makes_no_vector():
    card = Tuak(Secret(bytes(16)), Secret(bytes(32)), TuakLengths(mac=128))
    with pytest.raises(ValueError, match="AUTN carries a MAC of 64 bits, not 128"):
        make_vector(card, bytes(16), 32)
