"""Why a TLS handshake failed, in words for whoever has to mend it (RFC 5280 6, RFC 8446 6.2)."""

import ssl

# What OpenSSL found wrong with the other side's certificate, by its number (x509_vfy.h), and who can mend it.
CERTIFICATES = {
    2: "its certificate is of an unknown authority; put the one of its operator under `authority` if you agreed on it",
    3: "there is no revocation list of who signed its certificate; fetch one and put it under `revoked`",
    9: "its certificate is not valid yet; compare the clocks",
    10: "its certificate has expired; its operator must renew it",
    11: "the revocation list of who signed its certificate is not valid yet; compare the clocks",
    12: "the revocation list of who signed its certificate has expired; fetch a new one",
    22: "its certificate's chain is too long",
    23: "its certificate is revoked; its operator must make a new one",
    24: "somebody signed its certificate who may sign none",
    25: "its certificate's authority was signed by one that may not make authorities",
    26: "its certificate is not for this use; extended key usage must name serverAuth and clientAuth",
    47: "its certificate has a name that its authority was not allowed to certify",
    48: "its certificate has a name that its authority was not allowed to certify",
    53: "its certificate has a name of a kind that its authority's limits can't be compared with",
    66: "its certificate's key is too short",
    67: "the key of who signed its certificate is too short",
    68: "its certificate is signed with a digest that is broken",
}
CERTIFICATES |= dict.fromkeys((18, 19, 20, 21, 27, 28), CERTIFICATES[2])

# Other faults and what the other side's alerts say of us, by OpenSSL's names.
FAULTS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.2 or 1.3",
    "WRONG_SSL_VERSION": "it speaks no TLS 1.2 or 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no version of TLS that we speak (1.2, 1.3)",
    "NO_SHARED_CIPHER": "it offers none of our cipher suites (ECDHE with AES-GCM or ChaCha20)",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it accepts none of our cipher suites (ECDHE with AES-GCM or ChaCha20)",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "it accepts no signature that our certificate can make",
    "WRONG_VERSION_NUMBER": "what it says is no TLS",
    "HTTP_REQUEST": "it speaks HTTP in clear",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "it does not know secure renegotiation (RFC 5746)",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours; set certificate and key",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refused our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it refused our certificate: not for this use",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it refused our certificate: revoked; make another with `redoubt pki issue`",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it refused our certificate: expired; make a new one with `redoubt pki renew`",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refused our certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know who signed our certificate; give its operator our authority's",
    "TLSV1_ALERT_ACCESS_DENIED": "it refused our certificate: its names stand in no agreement there",
}


def cause_of(error: BaseException) -> str:
    """What went wrong, seen from this side; any other error in its own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = CERTIFICATES.get(getattr(error, "verify_code", 0))  # the simulator's has none
        return known or f"its certificate is refused: {getattr(error, 'verify_message', '') or error}"
    if isinstance(error, ssl.SSLError):
        return FAULTS.get(error.reason or "", "") or f"TLS failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionAbortedError):
        return "the TLS handshake was not finished in time"
    if isinstance(error, ConnectionError):
        return f"it closed or refused the connection ({type(error).__name__})" if not str(error) else str(error)
    return str(error) or type(error).__name__
