"""MILENAGE against the sets of TS 35.207, TS 35.208 and (through its 2G conversions) TS 55.205."""

import pytest

from redoubt.aka.algorithm import exclusive_or
from redoubt.aka.milenage import Milenage, derive_opc
from redoubt.aka.vector import make_auts, make_vector, sqn_of_auts
from redoubt.secret import Secret

from .published import octets, published

TS_35208 = published("milenage/milenage.json")


def _card(entry, key="k"):
    k, opc = octets(entry, key, "opc")
    return Milenage(Secret(k), Secret(opc))


@pytest.mark.parametrize("entry", TS_35208)
def test_every_function_gives_the_published_value(entry):
    card = _card(entry)
    rand, sqn, amf = octets(entry, "rand", "sqn", "amf")
    assert card.f1(rand, sqn, amf).hex() == entry["f1"]
    assert card.f1_star(rand, sqn, amf).hex() == entry["f1star"]
    assert card.f5_star(rand).hex() == entry["f5star"]
    keys = card.f2345(rand)
    found = [value.reveal().hex() for value in (keys.res, keys.ck, keys.ik, keys.ak)]
    assert found == [entry["f2"], entry["f3"], entry["f4"], entry["f5"]]


@pytest.mark.parametrize("entry", TS_35208)
def test_op_and_opc_make_the_same_card(entry):
    k, op, opc, rand, sqn, amf = octets(entry, "k", "op", "opc", "rand", "sqn", "amf")
    assert derive_opc(Secret(k), Secret(op)).matches(opc)
    assert Milenage.with_op(Secret(k), Secret(op)).f1(rand, sqn, amf).hex() == entry["f1"]


@pytest.mark.parametrize("entry", TS_35208)
def test_a_vector_holds_the_published_autn_and_keys(entry):
    rand, sqn, amf = octets(entry, "rand", "sqn", "amf")
    vector = make_vector(_card(entry), rand, int.from_bytes(sqn, "big"), amf)
    assert vector.rand == rand
    assert vector.autn.hex() == entry["autn"]
    assert [value.reveal().hex() for value in (vector.xres, vector.ck, vector.ik)] == [
        entry[name] for name in ("f2", "f3", "f4")
    ]


@pytest.mark.parametrize("entry", TS_35208)
def test_auts_is_made_and_read_back_as_published(entry):
    card = _card(entry)
    rand, auts = octets(entry, "rand", "auts_for_sqn_ms_equal_sqn")
    sqn = int(entry["sqn"], 16)
    assert make_auts(card, rand, sqn) == auts
    assert sqn_of_auts(card, rand, auts) == sqn


@pytest.mark.parametrize("entry", published("milenage/gsm-milenage.json"))
def test_the_2g_conversions_give_the_values_of_ts_55_205(entry):
    (rand,) = octets(entry, "rand")
    keys = _card(entry, "ki").f2345(rand)
    res, ck, ik = keys.res.reveal(), keys.ck.reveal(), keys.ik.reveal()
    folded = exclusive_or(exclusive_or(ck[:8], ck[8:]), exclusive_or(ik[:8], ik[8:]))
    assert exclusive_or(res[:4], res[4:]).hex() == entry["sres1"]
    assert res[:4].hex() == entry["sres2"]
    assert folded.hex() == entry["kc"]


@pytest.mark.parametrize("k, opc", [(b"k" * 15, b"o" * 16), (b"k" * 32, b"o" * 16), (b"k" * 16, b"o" * 17)])
def test_a_key_of_the_wrong_length_is_refused_and_not_quoted(k, opc):
    with pytest.raises(ValueError, match="octets and must have 16") as refusal:
        Milenage(Secret(k), Secret(opc))
    assert k.decode() not in str(refusal.value)


@pytest.mark.parametrize("rand, sqn, amf", [(15, 6, 2), (16, 5, 2), (16, 6, 3), (17, 6, 2)])
def test_an_input_of_the_wrong_length_is_refused(rand, sqn, amf):
    card = Milenage(Secret(bytes(16)), Secret(bytes(16)))
    with pytest.raises(ValueError, match="octets and must have"):
        card.vector(bytes(rand), bytes(sqn), bytes(amf))
    with pytest.raises(ValueError, match="octets and must have"):
        card.f1_star(bytes(rand), bytes(sqn), bytes(amf))
