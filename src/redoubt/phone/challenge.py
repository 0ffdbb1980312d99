"""The phone's side of HTTP Digest AKA (RFC 3310, RFC 4169): from a challenge to the Authorization that answers it."""

from dataclasses import dataclass

from redoubt.aka.digest import DigestAlgorithm, DigestFields, aka_password, response, response_auth
from redoubt.aka.isim import MacFailure, Success, SyncFailure
from redoubt.aka.nonce import AkaNonce, MalformedNonce, encode_auts
from redoubt.phone.identity import PhoneIdentity
from redoubt.secret import Secret
from redoubt.sip.headers.credentials import Credentials

Outcome = Success | MacFailure | SyncFailure


class UnanswerableChallenge(Exception):
    """The challenge is none that a card can be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the card said, the header that carries it, and the `rspauth` that the network may prove itself with."""

    outcome: Outcome
    authorization: Credentials
    rspauth: str | None = None


def first_authorization(identity: PhoneIdentity) -> Credentials:
    """The header of the first REGISTER: it names the user, and is empty otherwise (TS 24.229 5.1.1.2.2)."""
    return _credentials(identity.impi, identity.realm, "", f"sip:{identity.realm}", "")


def answer_challenge(
    challenge: Credentials, identity: PhoneIdentity, method: str, uri: str, cnonce: str, body: bytes = b"",
    *, takes_qop: bool = True,
) -> Answer:  # fmt: skip
    """SM7 (TS 33.203 6.1.1), or the failures of 6.1.2.2 (empty response) and 6.1.3 (auts)."""
    algorithm = DigestAlgorithm.named(challenge.param("algorithm") or "")
    if challenge.scheme.lower() != "digest" or algorithm is None or not algorithm.is_aka:
        raise UnanswerableChallenge("the challenge is no Digest AKA")
    nonce, realm = challenge.param("nonce") or "", challenge.param("realm") or ""
    try:
        asked = AkaNonce.parse(nonce)
    except MalformedNonce as fault:
        raise UnanswerableChallenge(str(fault)) from fault
    outcome = identity.isim.authenticate(asked.rand, asked.autn)
    qop = _chosen_qop(challenge) if takes_qop else None
    fields = DigestFields(
        algorithm, identity.impi, realm, nonce, uri, method, qop, "00000001" if qop else "", cnonce if qop else "", body
    )
    echoed = [(name, value, True) for name in ("opaque",) if (value := challenge.param(name)) is not None]
    if qop:
        echoed += [("qop", qop, False), ("nc", fields.nc, False), ("cnonce", cnonce, True)]
    rspauth = None
    match outcome:
        case Success():
            password = aka_password(algorithm, outcome.res, outcome.ik, outcome.ck)
            proof, rspauth = response(fields, password), response_auth(fields, password)
        case SyncFailure():
            proof = response(fields, Secret(b""))  # RFC 3310 3.4: the digest over an empty password
            echoed.append(("auts", encode_auts(outcome.auts), True))
        case MacFailure():
            proof = ""  # TS 24.229 5.1.1.5.3: an empty response and no auts
    credentials = _credentials(identity.impi, realm, nonce, uri, proof, ("algorithm", algorithm.value, False), *echoed)
    return Answer(outcome, credentials, rspauth)


def _chosen_qop(challenge: Credentials) -> str | None:
    offered = [token.strip() for token in (challenge.param("qop") or "").split(",")]
    return next((qop for qop in ("auth", "auth-int") if qop in offered), None)


def _credentials(
    username: str, realm: str, nonce: str, uri: str, proof: str, *more: tuple[str, str, bool]
) -> Credentials:
    named = (("username", username), ("realm", realm), ("nonce", nonce), ("uri", uri), ("response", proof))
    return Credentials("Digest", (*((name, value, True) for name, value in named), *more))
