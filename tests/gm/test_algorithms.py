"""Annex I of TS 33.203: keys for each algorithm; Annex H: what goes together."""

from typing import Any

import pytest
from tests.aka.published import octets, published

from redoubt.gm.algorithms import SOUND_SUITES, Encryption, EspKeys, Integrity, Suite, expand
from redoubt.gm.transforms import transform
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness


def keys(entry: dict[str, Any], integrity: Integrity, encryption: Encryption) -> EspKeys:
    ck, ik = octets(entry, "ck", "ik")
    return expand(Suite(integrity, encryption), Secret(ck), Secret(ik))


@pytest.mark.parametrize("entry", published("ims-ipsec/key-expansion.json"))
def test_each_algorithm_gets_the_key_of_annex_i(entry: dict[str, Any]) -> None:
    sha1, md5, cbc, des, gmac, gmac_salt, gcm, gcm_salt = octets(
        entry, "ik_esp_hmac_sha_1_96", "ik_esp_hmac_md5_96", "ck_esp_aes_cbc", "ck_esp_des_ede3_cbc",
        "gmac_key", "gmac_salt", "gcm_key", "gcm_salt",
    )  # fmt: skip
    usual = keys(entry, Integrity.HMAC_SHA_1_96, Encryption.AES_CBC)
    assert usual.integrity.matches(sha1)
    assert usual.encryption.matches(cbc)
    assert not usual.salt
    legacy = keys(entry, Integrity.HMAC_MD5_96, Encryption.DES_EDE3_CBC)
    assert legacy.integrity.matches(md5)
    assert legacy.encryption.matches(des)
    galois = keys(entry, Integrity.NULL, Encryption.AES_GCM)
    assert galois.encryption.matches(gcm)
    assert galois.salt.matches(gcm_salt)
    assert not galois.integrity
    unencrypted = keys(entry, Integrity.AES_GMAC, Encryption.NULL)
    assert unencrypted.integrity.matches(gmac)
    assert unencrypted.salt.matches(gmac_salt)
    assert not unencrypted.encryption


def test_null_integrity_goes_with_gcm_alone_and_gcm_with_null_integrity_alone() -> None:
    assert {str(suite) for suite in SOUND_SUITES} == {
        "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/des-ede3-cbc", "hmac-sha-1-96/null",
        "hmac-md5-96/aes-cbc", "hmac-md5-96/des-ede3-cbc", "hmac-md5-96/null",
        "null/aes-gcm", "aes-gmac/null",
    }  # fmt: skip


@pytest.mark.parametrize("encryption", [Encryption.NULL, Encryption.AES_CBC, Encryption.DES_EDE3_CBC])
def test_no_transform_is_made_that_authenticates_nothing(encryption: Encryption) -> None:
    suite = Suite(Integrity.NULL, encryption)
    with pytest.raises(ValueError, match="Annex H"):
        transform(suite, expand(suite, Secret(bytes(16)), Secret(bytes(16))), SeededRandomness(1))
