"""Why a tunnel does not stand: what charon writes in its log, as a cause, a clause and an advice for the operator.

VICI has no events for refusals; it hands out the log, whose sentences are the same since strongSwan 5.0. A sentence
that changes costs the explanation and nothing else: whether a tunnel stands is never read from here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong, by which rule, and what to do."""

    why: str
    clause: str
    advice: str
    ends: bool = True  # the attempt; else only a detail of what ends it


KEY = "the two pre-shared keys differ, or what was sent first was altered on the way"
SAME_KEY = "write the same key in secret-file at both gateways"
CERTIFICATES = "look at the partner's certificate, and at `authority`, of whom it must be signed"
SENTENCES: tuple[tuple[str, Cause], ...] = (
    ("but MAC mismatched", Cause(KEY, "RFC 7296 2.15", SAME_KEY)),
    ("no shared key found", Cause("there is no pre-shared key for these identities", "RFC 7296 2.15", SAME_KEY)),
    ("calculated HASH does not match", Cause(KEY, "RFC 2409 5.4", SAME_KEY)),
    ("could not decrypt payloads", Cause(KEY, "RFC 2409 5.4", SAME_KEY)),
    ("decryption failed?", Cause(KEY, "RFC 2409 5.4", SAME_KEY)),
    (
        "certificate was revoked",
        Cause("the partner's certificate is revoked", "RFC 5280 6.3", "let the partner renew it"),
    ),
    (
        "subject certificate invalid",
        Cause(
            "the partner's certificate has expired, or is not valid yet", "RFC 5280 6.1.3", "let the partner renew it"
        ),
    ),
    (
        "issuer certificate invalid",
        Cause(
            "the authority of the partner's certificate has expired, or is not valid yet",
            "RFC 5280 6.1.3",
            "write its new certificate in `authority`",
        ),
    ),
    (
        "RULE_CRL_VALIDATION",
        Cause(
            "no valid revocation list speaks of the partner's certificate",
            "RFC 5280 6.3",
            "write a current list of its authority in `revoked`",
        ),
    ),
    (
        "certificate status is not available",
        Cause(
            "no valid revocation list speaks of the partner's certificate",
            "RFC 5280 6.3",
            "write a current list of its authority in `revoked`",
            ends=False,
        ),
    ),
    (
        "crl is stale",
        Cause("the revocation list has expired", "RFC 5280 6.3", "write a current one in `revoked`", ends=False),
    ),
    (
        "no issuer certificate found",
        Cause("the partner's certificate is signed by someone else than `authority`", "TS 33.310 6", CERTIFICATES),
    ),
    (
        "constraint check failed: peer not authenticated by CA",
        Cause("the partner's certificate is signed by another partner's authority", "TS 33.310 6", CERTIFICATES),
    ),
    (
        "constraint check failed",
        Cause("the partner proved another identity than `remote-identity`", "TS 33.310 6", CERTIFICATES),
    ),
    (
        "signature validation failed",
        Cause(
            "the partner's signature is not of what was sent: altered on the way",
            "RFC 7296 2.15",
            "someone between the gateways changes what they say, or the partner's key is another",
        ),
    ),
    (
        "no trusted",
        Cause("no certificate that is believed here proves the partner's identity", "TS 33.310 6", CERTIFICATES),
    ),
    ("no private key found", Cause("charon has no private key for our certificate", "TS 33.310 6", "look at `key`")),
    (
        "no matching peer config found",
        Cause(
            "the partner says it is someone else than `remote-identity`, or its networks are not ours to reach",
            "RFC 7296 2.15",
            "compare both ends' identities",
        ),
    ),
    (
        "no IKE config found",
        Cause(
            "no entry of [[gateways]] has this address",
            "TS 33.210 5",
            "if it is a partner's gateway, write it as `remote`",
        ),
    ),
    (
        "received proposals unacceptable",
        Cause("it offers no proposal that is accepted here", "RFC 8247", "let it offer one of ike-proposals"),
    ),
    (
        "no acceptable proposal found",
        Cause(
            "it offers no proposal that is accepted here",
            "RFC 8247",
            "let it offer one of ike-proposals and esp-proposals",
        ),
    ),
    (
        "received NO_PROPOSAL_CHOSEN",
        Cause(
            "the partner accepts none of our proposals, or does not know our address",
            "RFC 7296 2.7",
            "compare ike-proposals and esp-proposals at both ends",
        ),
    ),
    (
        "received AUTHENTICATION_FAILED",
        Cause(
            "the partner refuses our key, certificate or identity",
            "RFC 7296 2.21.2",
            "its side knows why; compare secret-file or certificate, and the identities",
        ),
    ),
    (
        "received TS_UNACCEPTABLE",
        Cause(
            "the partner does not accept our networks",
            "RFC 7296 2.9",
            "local-networks here must be remote-networks there, and the other way round",
        ),
    ),
    (
        "unacceptable, failing",
        Cause(
            "the partner wants to reach other networks than agreed",
            "RFC 7296 2.9",
            "local-networks here must be remote-networks there, and the other way round",
        ),
    ),
    (
        "giving up after",
        Cause("the partner's gateway does not answer", "RFC 7296 2.4", "look whether it runs, and at the way there"),
    ),
    (
        "DPD check timed out",
        Cause("the partner's gateway does not answer", "RFC 3706", "look whether it runs, and at the way there"),
    ),
    ("received DELETE for", Cause("the partner's gateway ended it", "RFC 7296 1.4.1", "ask the partner", ends=False)),
    (
        "error writing to socket",
        Cause("there is no way to the partner's gateway", "RFC 7296 2.4", "look at the route to `remote`", ends=False),
    ),
)
# What user-space ESP (kernel-libipsec) says of a packet that it drops; the kernel's own is counted elsewhere.
ESP_ERRORS = ("verification failed", "replay", "no matching inbound", "padding", "invalid", "dropping")


def cause_of(sentence: str) -> Cause | None:
    """What a line of charon's log says went wrong, if anything."""
    return next((cause for fragment, cause in SENTENCES if fragment in sentence), None)
