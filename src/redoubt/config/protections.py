"""The protections of this network, by name, for tests that show what each of them stops."""

# The protections of this network, by name. Each is decided in one place; `[test] protections_off` exists only so that a
# test can show the attack succeed without it, and a network with one off serves loopback only.
PROTECTIONS = {
    "asserted-identity": "a phone's P-Asserted-Identity is removed, its P-Preferred-Identity checked (RFC 3325)",
    "challenge-call-id": "a response counts only with the Call-ID of its challenge (TS 24.229 5.4.1.2.2)",
    "challenge-once": "a nonce is answered once (TS 33.203 6.1.1)",
    "challenge-unprotected": "a REGISTER that came unprotected is always challenged (TS 33.203 5.1.2)",
    "core-peers": "I- and S-CSCF take SIP from configured core nodes only (TS 33.203 Annex J)",
    "diameter-answers": "a Diameter answer counts on its request's connection, with both identifiers (RFC 6733 6.2)",
    "diameter-authorisation": "a Diameter peer sends the applications, commands and subscribers that it is allowed",
    "diameter-hss": "an S-CSCF takes RTR and PPR from its configured HSSs only (TS 29.228 6.1.3)",
    "diameter-origin": "Origin-Host, Origin-Realm and the certificate are the Diameter peer's own (RFC 6733 13)",
    "diameter-peers": "Diameter with configured peers only, in clear with trusted addresses only (RFC 6733 13)",
    "diameter-server-name": "the S-CSCF's name in MAR and SAR is the Diameter peer's that sends it (TS 29.228 6.1.2)",
    "dialog-owner": "a request inside a dialog comes from a party of that dialog (TS 24.229 5.2.6.3.5)",
    "flow-token": "a flow token carries a MAC (RFC 5626 5.2)",
    "gm-answer": "where access is by IPsec, the answer to a challenge counts on its own association (TS 33.203 6.1.5)",
    "gm-responses": "a response to a protected request comes protected by the same phone's keys (TS 33.203 7.1)",
    "gm-sender": "address and private identity of a request are those of its association (TS 33.203 7.1)",
    "gm-verify": "the security agreement is repeated under its own protection and compared (RFC 3329 2.3.1)",
    "integrity-flag": "integrity-protected is written by the P-CSCF only (TS 24.229 5.2.2)",
    "identity-pair": "the private and the public identity belong to one subscription (TS 33.203 6.1.1)",
    "keys-stay-home": "ck and ik never reach the phone (TS 24.229 5.2.2)",
    "keep-registered": "a failed authentication deregisters nobody (TS 33.203 6.1.1)",
    "reg-event-owner": "only the user, its P-CSCF and allowed servers see registration state (RFC 3680 4)",
    "response-to-sender": "a response goes to the address that the request came from (RFC 3581)",
    "resync-mac": "AUTS counts only with a right MAC-S (TS 33.102 6.3.5)",
    "service-route": "the stored Service-Route replaces the phone's Route (TS 24.229 5.2.6.3)",
    "strip-core-headers": "charging and network headers from a phone are removed (TS 24.229 5.2.6.3)",
    "equal-answers": "strangers can't tell a known user from an unknown one (SIPVicious)",
}
