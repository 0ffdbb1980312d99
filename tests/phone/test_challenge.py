"""What the phone answers to a challenge (RFC 3310, RFC 4169, TS 33.203 6.1): checked with the network's half of AKA."""

import pytest

from redoubt.aka.digest import DigestAlgorithm, DigestFields, aka_password, matches_empty_password, verify
from redoubt.aka.isim import Isim, MacFailure, Success, SyncFailure
from redoubt.aka.milenage import Milenage
from redoubt.aka.nonce import AkaNonce, decode_auts
from redoubt.aka.vector import make_vector, sqn_of_auts
from redoubt.diameter.cx import AuthenticationVector
from redoubt.phone.challenge import UnanswerableChallenge, answer_challenge, first_authorization
from redoubt.phone.identity import PhoneIdentity
from redoubt.secret import Secret
from redoubt.sip.headers.credentials import Credentials

REALM = "ims.example"
URI = f"sip:{REALM}"
FUNCTIONS = Milenage.with_op(Secret(bytes(range(16))), Secret(bytes(16)))
OTHER = Milenage.with_op(Secret(bytes(16)), Secret(bytes(16)))
RAND = bytes(range(100, 116))


def phone() -> PhoneIdentity:
    return PhoneIdentity(f"a@{REALM}", (f"sip:a@{REALM}",), REALM, Isim(FUNCTIONS))


def challenge_of(vector: AuthenticationVector, algorithm: str = "AKAv1-MD5", qop: str | None = None) -> Credentials:
    nonce = str(AkaNonce(vector.rand, vector.autn))
    challenge = Credentials("Digest", (("realm", REALM, True), ("nonce", nonce, True), ("algorithm", algorithm, False)))
    return challenge if qop is None else challenge.with_param("qop", qop, quoted=True)


def fields_of(credentials: Credentials) -> DigestFields:
    def value(name: str) -> str:
        return credentials.param(name) or ""

    algorithm = DigestAlgorithm.named(value("algorithm"))
    assert algorithm is not None
    given = [value(name) for name in ("username", "realm", "nonce", "uri")]
    return DigestFields(algorithm, *given, "REGISTER", credentials.param("qop"), value("nc"), value("cnonce"))


def test_the_first_register_names_the_user_and_is_empty_otherwise() -> None:
    empty = 'Digest username="a@ims.example",realm="ims.example",nonce="",uri="sip:ims.example",response=""'
    assert str(first_authorization(phone())) == empty


@pytest.mark.parametrize("algorithm", ["AKAv1-MD5", "AKAv2-MD5", "AKAv2-SHA-256"])
@pytest.mark.parametrize("qop", [None, "auth", "auth-int", "auth,auth-int", "auth-int, auth"])
def test_a_genuine_challenge_is_answered_with_what_the_network_expects(algorithm: str, qop: str | None) -> None:
    vector = make_vector(FUNCTIONS, RAND, 32)
    answer = answer_challenge(challenge_of(vector, algorithm, qop), phone(), "REGISTER", URI, "0a0b")
    assert isinstance(answer.outcome, Success)
    fields = fields_of(answer.authorization)
    password = aka_password(fields.algorithm, vector.xres, vector.ik, vector.ck)
    assert verify(fields, password, answer.authorization.param("response") or "")
    assert answer.authorization.param("auts") is None


def test_a_network_without_the_key_gets_an_empty_response_and_no_auts() -> None:
    answer = answer_challenge(challenge_of(make_vector(OTHER, RAND, 32)), phone(), "REGISTER", URI, "0a")
    assert isinstance(answer.outcome, MacFailure)
    assert answer.authorization.param("response") == ""
    assert answer.authorization.param("auts") is None


def test_a_stale_challenge_is_answered_with_auts_over_the_empty_password() -> None:
    card = phone()
    fresh = challenge_of(make_vector(FUNCTIONS, RAND, 3200))
    assert isinstance(answer_challenge(fresh, card, "REGISTER", URI, "0a").outcome, Success)
    answer = answer_challenge(fresh, card, "REGISTER", URI, "0a")
    assert isinstance(answer.outcome, SyncFailure)
    assert sqn_of_auts(FUNCTIONS, RAND, decode_auts(answer.authorization.param("auts") or "")) == 3200
    assert matches_empty_password(fields_of(answer.authorization), answer.authorization.param("response") or "")


@pytest.mark.parametrize(
    "challenge",
    [
        'Digest realm="r",nonce="AAAA",algorithm=AKAv1-MD5',
        'Digest realm="r",nonce="!",algorithm=AKAv1-MD5',
        'Digest realm="r",nonce="AAAA"',
        'Digest realm="r",nonce="AAAA",algorithm=MD5',
        'Basic realm="r"',
    ],
)
def test_what_is_no_aka_challenge_is_not_given_to_the_card(challenge: str) -> None:
    with pytest.raises(UnanswerableChallenge):
        answer_challenge(Credentials.parse(challenge), phone(), "REGISTER", URI, "0a")
