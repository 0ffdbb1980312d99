"""Messages that several tests start from."""

REGISTER = (
    b"REGISTER sip:home.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 10.45.0.2:5060;branch=z9hG4bK-524287-1---a1b2c3d4e5f60718;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"Route: <sip:pcscf.home.example:5060;lr>, <sip:other.home.example;lr>\r\n"
    b'From: "Alice, of \\"A\\"" <sip:alice@home.example>;tag=5f3a9c01\r\n'
    b"t: <sip:alice@home.example>\r\n"
    b"i: 7d1f0a3b4c5e6f@10.45.0.2\r\n"
    b"CSeq: 1 REGISTER\r\n"
    b'm: <sip:alice@10.45.0.2:5060;transport=udp>;+sip.instance="<urn:gsma:imei:1>";expires=600;q=0.5\r\n'
    b"Supported: path, gruu,\r\n\tsec-agree\r\n"
    b"Security-Client: ipsec-3gpp; alg=hmac-sha-1-96; ealg=aes-cbc; spi-c=1; spi-s=2; port-c=5062; port-s=5063,"
    b" ipsec-3gpp;alg=null\r\n"
    b'Authorization: Digest username="a@home.example", realm="home.example",uri="sip:home.example",'
    b'nonce="", response="", qop="auth,auth-int"\r\n'
    b"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01\r\n"
    b"X-Unknown-Header:  kept as it came \r\n"
    b"Content-Length: 4\r\n\r\nbody"
)


def request(*lines: str, method: str = "OPTIONS", uri: str = "sip:home.example", body: bytes = b"") -> bytes:
    """A request that is right, with more lines."""
    head = [
        f"{method} {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKabc",
        "From: <sip:a@home.example>;tag=1",
        "To: <sip:b@home.example>",
        "Call-ID: c1",
        f"CSeq: 1 {method}",
        *lines,
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(head).encode("utf-8", "surrogateescape") + body
