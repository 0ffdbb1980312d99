"""strongswan.conf for a charon that serves as our gateway: what VICI can't set, and what strangers may cost it.

RFC 7296 2.6: half-open associations are answered with a cookie, and nothing is remembered of who does not return it.
"""

from collections.abc import Iterable

PLUGINS = (
    "random nonce openssl aes sha1 sha2 md5 hmac kdf gmp curve25519 pem pkcs1 pkcs8 x509 pubkey revocation"
    " constraints counters"
)
USER_SPACE_ESP = "kernel-libipsec"
# Half-open attempts of all and of one address after which cookies are demanded; then how many one address, and all
# together, may have: an honest gateway has one or two.
COOKIES_FROM, COOKIES_FROM_ONE, OF_ONE, OF_ALL = 10, 3, 5, 500
HALF_OPEN_S = 10
RETRANSMIT = {"retransmit_timeout": "1.0", "retransmit_base": "1.5", "retransmit_tries": "3"}  # silence for 8 s: fallen
MARK = "0x42"  # of charon's own packets, which must not go through its own tunnels


def settings(socket: str, *, user_space: bool = False, log: str = "") -> str:
    """The file's text. `user_space`: ESP by charon itself, for a kernel that has none."""
    first = (USER_SPACE_ESP,) if user_space else ()
    lines = [
        "# strongSwan as a security gateway (TS 33.210), written by Redoubt.",
        "charon-systemd {",
        *_indented(
            f"load = {' '.join((PLUGINS, *first, 'kernel-netlink socket-default vici'))}",
            "install_virtual_ip = no",
            "send_vendor_id = no",
            "make_before_break = yes",  # who proves itself again carries packets meanwhile
            f"cookie_threshold = {COOKIES_FROM}",
            f"cookie_threshold_ip = {COOKIES_FROM_ONE}",
            f"block_threshold = {OF_ONE}",
            f"init_limit_half_open = {OF_ALL}",
            f"half_open_timeout = {HALF_OPEN_S}",
            *(f"{name} = {value}" for name, value in RETRANSMIT.items()),
            "plugins {",
            *_indented(
                f"vici {{ socket = unix://{socket} }}",
                f"kernel-netlink {{ fwmark = !{MARK} }}",
                f"socket-default {{ fwmark = {MARK} }}",
                *((f"{USER_SPACE_ESP} {{ allow_peer_ts = yes }}",) if user_space else ()),
            ),
            "}",
            *(("filelog {", f"  file {{ path = {log}\n    flush_line = yes }}", "}") if log else ()),
        ),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _indented(*lines: str) -> Iterable[str]:
    return (f"  {line}" for line in lines)
