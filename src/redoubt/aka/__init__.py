"""Authentication and key agreement: the authentication centre's half, the card's half, and the digest
between them.

TS 33.102 clause 6.3 (the protocol), TS 35.206 (MILENAGE), TS 35.231 (TUAK), RFC 3310 and RFC 4169 (digest
AKA). Nothing here knows SIP or Diameter messages: values in, values out.
"""
