"""Digest: RFC 2617, RFC 7616, RFC 3310, RFC 4169, and what must never authenticate."""

from dataclasses import replace

import pytest

from redoubt.aka.digest import (
    DigestAlgorithm,
    DigestFields,
    aka_password,
    digest_ha1,
    matches_empty_password,
    response,
    response_auth,
    verify,
    verify_ha1,
)
from redoubt.aka.milenage import Milenage
from redoubt.aka.nonce import AkaNonce, decode_auts
from redoubt.aka.vector import sqn_of_auts
from redoubt.secret import Secret

from .published import octets, published

AKA = published("aka-digest/aka-digest.json")
AUTS = published("aka-digest/auts-resync.json")
HTTP = published("digest/http-digest.json")
PASSWORD = Secret(b"secret")


def _fields(entry):
    algorithm = DigestAlgorithm.named(entry.get("algorithm", entry["hash"]))
    given = {name: entry[name] for name in ("username", "realm", "nonce", "uri", "method")}
    optional = {name: entry[name] for name in ("qop", "nc", "cnonce") if name in entry}
    body = bytes.fromhex(entry.get("body_hex", ""))
    return DigestFields(algorithm, **given, **optional, body=body)


def _sample(**changed):
    fields = DigestFields(
        DigestAlgorithm.SHA_256, "alice", "home", "n0nce", "sip:home", "REGISTER", "auth", "00000001", "c"
    )
    return replace(fields, **changed)


@pytest.mark.parametrize("entry", HTTP)
def test_the_examples_of_the_rfcs_come_out(entry):
    (password,) = octets(entry, "password_hex")
    fields = _fields(entry)
    assert response(fields, Secret(password)) == entry["response"]
    assert verify(fields, Secret(password), entry["response"])
    assert verify_ha1(fields, digest_ha1(fields, Secret(password)), entry["response"])


@pytest.mark.parametrize("entry", AKA)
def test_the_response_of_a_card_is_as_computed_from_ts_35_208(entry):
    fields = _fields(entry)
    res, ck, ik = (Secret(value) for value in octets(entry, "res", "ck", "ik"))
    password = aka_password(fields.algorithm, res, ik, ck)
    assert password.reveal().hex() == entry["digest_password_hex"]
    assert response(fields, password) == entry["response"]
    assert verify(fields, password, entry["response"])
    nonce = AkaNonce.parse(entry["nonce"])
    assert [nonce.rand, nonce.autn] == octets(entry, "rand", "autn")


@pytest.mark.parametrize("entry", AUTS)
def test_the_response_beside_an_auts_is_well_formed_and_authenticates_nobody(entry):
    fields = _fields(entry)
    assert matches_empty_password(fields, entry["response"])
    assert not verify(fields, Secret(b""), entry["response"])
    k, opc = octets(entry, "k", "opc")
    auts = decode_auts(entry["auts_b64"])
    sqn_ms = sqn_of_auts(Milenage(Secret(k), Secret(opc)), AkaNonce.parse(entry["nonce"]).rand, auts)
    assert sqn_ms == int(entry["sqn_ms"], 16)


@pytest.mark.parametrize("res", [bytes(8), b"\x00:\xff:\x80\x00\x3a\xfe", b"\xff" * 16, b"\x00\x01\x02\x03"])
def test_res_is_the_password_octet_by_octet(res):
    fields = _sample(algorithm=DigestAlgorithm.AKA_V1_MD5)
    password = aka_password(fields.algorithm, Secret(res), Secret(b"i" * 16), Secret(b"c" * 16))
    assert password.reveal() == res
    answer = response(fields, password)
    assert verify(fields, password, answer)
    for other in (res.hex().encode(), res.rstrip(b"\0") + b"\1", res + b"\0"):
        assert not verify(fields, Secret(other), answer)


def test_the_order_of_the_keys_matters_in_the_second_version():
    res, ik, ck = Secret(b"r" * 8), Secret(b"i" * 16), Secret(b"c" * 16)
    right = aka_password(DigestAlgorithm.AKA_V2_SHA_256, res, ik, ck)
    assert not right.matches(aka_password(DigestAlgorithm.AKA_V2_SHA_256, res, ck, ik))
    assert not right.matches(aka_password(DigestAlgorithm.AKA_V2_MD5, res, ik, ck))


def test_a_plain_algorithm_takes_no_res():
    with pytest.raises(ValueError, match="SHA-256 takes a subscriber's password"):
        aka_password(DigestAlgorithm.SHA_256, Secret(b"r"), Secret(b"i"), Secret(b"c"))


@pytest.mark.parametrize(
    "changed",
    [
        {"algorithm": DigestAlgorithm.MD5},
        {"username": "bob"},
        {"realm": "away"},
        {"nonce": "other"},
        {"uri": "sip:away"},
        {"method": "INVITE"},
        {"qop": None},
        {"qop": "auth-int"},
        {"nc": "00000002"},
        {"cnonce": "d"},
    ],
)
def test_a_response_holds_for_exactly_what_it_was_computed_over(changed):
    answer = response(_sample(), PASSWORD)
    assert verify(_sample(), PASSWORD, answer)
    assert not verify(_sample(**changed), PASSWORD, answer)


def test_only_auth_int_covers_the_body():
    assert response(_sample(body=b"x"), PASSWORD) == response(_sample(), PASSWORD)
    covered = _sample(qop="auth-int", body=b"x")
    assert not verify(replace(covered, body=b"y"), PASSWORD, response(covered, PASSWORD))


def test_a_wrong_password_an_empty_response_and_an_empty_password_are_refused():
    answer = response(_sample(), PASSWORD)
    assert not verify(_sample(), Secret(b"Secret"), answer)
    assert not verify(_sample(), PASSWORD, "")
    assert not verify(_sample(), Secret(b""), response(_sample(), Secret(b"")))
    assert not verify_ha1(_sample(), Secret(b""), answer)
    assert not matches_empty_password(_sample(), "")


@pytest.mark.parametrize(
    "changed", [{"nc": ""}, {"nc": "1"}, {"nc": "0000000g"}, {"cnonce": ""}, {"qop": "auth-conf"}]
)
def test_a_response_with_a_qop_and_not_what_belongs_to_it_is_refused(changed):
    assert not verify(_sample(**changed), PASSWORD, "0" * 64)


def test_a_qop_that_there_is_not_makes_no_response():
    with pytest.raises(ValueError, match="neither auth nor auth-int"):
        response(_sample(qop="auth-conf"), PASSWORD)


def test_a_response_in_capitals_is_the_same_number_and_one_beyond_ascii_is_not():
    answer = response(_sample(), PASSWORD)
    assert verify(_sample(), PASSWORD, answer.upper())
    assert not verify(_sample(), PASSWORD, "é" * 64)
    assert not verify(_sample(), PASSWORD, answer + "\udcff")


def test_octets_that_are_not_utf_8_are_hashed_as_they_came():
    odd = b"al\xffice".decode("utf-8", "surrogateescape")
    fields = _sample(username=odd)
    assert verify(fields, PASSWORD, response(fields, PASSWORD))


def test_the_servers_own_proof_differs_from_the_clients():
    assert response_auth(_sample(), PASSWORD) == response(_sample(method=""), PASSWORD)
    assert response_auth(_sample(), PASSWORD) != response(_sample(), PASSWORD)


def test_algorithms_are_found_in_any_case_and_the_session_variants_are_not():
    assert DigestAlgorithm.named("akav1-md5") is DigestAlgorithm.AKA_V1_MD5
    assert DigestAlgorithm.named("AKAv2-SHA-256") is DigestAlgorithm.AKA_V2_SHA_256
    assert DigestAlgorithm.named("MD5-sess") is None
    assert [each.is_aka for each in DigestAlgorithm] == [False, False, True, True, True]
