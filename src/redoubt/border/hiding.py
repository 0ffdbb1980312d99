"""Tokens: what stands outside for addresses of this network's nodes (TS 33.203 6.4, TS 24.229 5.10.4).

A token is sealed under the newest key of the ring with fresh randomness, so that two of one node have nothing in
common; it says when it was made, and is bound to its purpose and to the partner that it is given to. Its length is one
of few, whatever is in it. Octets that differ in any way from what was sealed are a 400, the same for every cause.

`gcm` is AES-128-GCM; `cbc` is AES-128-CBC with a random IV as the specification has it, and over it an HMAC that is
looked at before anything is decrypted (the specification leaves integrity out; without it CBC is a padding oracle).
"""

import asyncio
import binascii
import hmac
from collections.abc import Callable, Iterable
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redoubt.border.hiding_keys import HidingKey, Ring, newest_of, read_ring
from redoubt.config import ConfigError
from redoubt.limits import HIDING_TOKEN_S
from redoubt.sip.errors import SipError
from redoubt.sip.service import Context

Mode = Literal["gcm", "cbc"]
GCM, CBC = 1, 2  # the first octet of a token
HEAD_OCTETS = 3  # mode and number of the key
NONCE_OCTETS, IV_OCTETS, TAG_OCTETS = 12, 16, 16
TIME_OCTETS = 4
# What a token may hold, time and filling included: the usual three or four entries are in the smallest. Whole blocks
# of AES, so that CBC needs no padding of its own. The largest makes a header line of 5.6 kB.
SIZES = (208, 528, 1040, 2064, 4112)
SHORT = "\1"  # for `<sip:` and `.REALM;lr>` of an entry: what all have in common takes no room
TO_TOKEN, FROM_TOKEN = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")  # RFC 4648 5
LOOKS_AFRESH_S = 1.0  # how often the file of the ring is looked at


class Purpose(StrEnum):
    """What a token stands for; one of a kind is not taken for another."""

    ROUTE = "route"  # entries of Record-Route, Path and Service-Route, in the order in which a request visits them
    TARGET = "target"  # a URI of a node: Contact, From
    VIA = "via"


# An entry is filled up to a multiple: names of nodes that differ in length hide alike. Vias have no common part, so
# they get as much room as four take, whether a network has them or not.
ENTRY_OCTETS = {Purpose.ROUTE: 48, Purpose.TARGET: 128, Purpose.VIA: 128}
LEAST_OCTETS = {Purpose.ROUTE: SIZES[0], Purpose.TARGET: SIZES[0], Purpose.VIA: SIZES[1]}


class Hiding:
    """Seals and opens. `ring` is asked for whenever it may have changed: another border node's operator rotates."""

    def __init__(self, context: Context, mode: Mode, realm: str, ring: Callable[[], Ring]) -> None:
        self._context = context
        self._mode = GCM if mode == "gcm" else CBC
        self._realm = realm.encode()
        self._common = f".{realm};lr>"
        self._ring = ring
        self._known: Ring = ()
        self._sealing: HidingKey | None = None
        self._bound: dict[tuple[str, str], bytes] = {}  # what a token is bound to, by purpose and partner
        self._ciphers: dict[int, Ciphers] = {}
        self._looks_at = 0.0
        self._look()

    def seal(self, purpose: Purpose, partner: str, entries: Iterable[str]) -> str:
        """A token of characters that a user part, a parameter and a branch may have. Raises SipError 500."""
        self._look_if_due()
        plain = int(self._context.clock.now()).to_bytes(TIME_OCTETS, "big")
        plain += _filled([self._shortened(entry) for entry in entries], ENTRY_OCTETS[purpose])
        needed = max(len(plain), LEAST_OCTETS[purpose])
        size = next((size for size in SIZES if size >= needed), 0)
        if not size:
            raise SipError(500, "what is to be hidden is longer than a token may be", "TS 33.203 6.4")
        assert self._sealing is not None
        number = self._sealing.number
        head = self._mode.to_bytes(1, "big") + number.to_bytes(2, "big")
        sealed = self._ciphers[number].seal(
            self._mode, plain.ljust(size, b"\0"), head + self._terms(purpose, partner), self._context.randomness.octets
        )
        return _token(head + sealed).decode()

    def open(self, purpose: Purpose, partner: str, token: str) -> list[str]:
        """What was sealed. Raises SipError 400 for anything else, with the same words for every cause."""
        self._look_if_due()
        octets = _octets(token)
        head, number = octets[:HEAD_OCTETS], int.from_bytes(octets[1:HEAD_OCTETS], "big")
        ciphers = self._ciphers.get(number)
        plain = b""
        if ciphers is not None and head[0] in (GCM, CBC):
            checks = self._context.enforces("border-token-mac")
            plain = ciphers.open(head[0], octets[HEAD_OCTETS:], head + self._terms(purpose, partner), checks)
        made_s = int.from_bytes(plain[:TIME_OCTETS], "big")
        if not plain or made_s + HIDING_TOKEN_S < self._context.clock.now():
            raise SipError(400, f"a token that {partner} sent was forged, changed or is too old", "TS 33.203 6.4")
        text = plain[TIME_OCTETS:].decode("utf-8", "surrogateescape")
        return [self._in_full(entry) for piece in text.split("\n") if (entry := piece.rstrip("\0"))]

    # ---- inside

    def _shortened(self, entry: str) -> str:
        """An entry of a node without what the entries of all nodes have."""
        if entry.startswith("<sip:") and entry.endswith(self._common):
            return SHORT + entry[5 : -len(self._common)]
        return entry

    def _in_full(self, entry: str) -> str:
        return f"<sip:{entry[1:]}{self._common}" if entry.startswith(SHORT) else entry

    def _terms(self, purpose: Purpose, partner: str) -> bytes:
        """What a token is bound to: partners and purposes are few, so they are written once."""
        known = self._bound.get((purpose, partner))
        if known is None:
            whose = partner if self._context.enforces("border-token-partner") else ""
            terms = (purpose.encode(), whose.encode("utf-8", "surrogateescape"), self._realm)
            known = self._bound[purpose, partner] = b"\0".join(terms)
        return known

    def _look_if_due(self) -> None:
        if asyncio.get_running_loop().time() >= self._looks_at:
            try:
                self._look()
            except ConfigError as fault:
                self._context.notice("alarm", f"the keys of topology hiding: {fault}", "the keys known so far serve on")

    def _look(self) -> None:
        self._looks_at = asyncio.get_running_loop().time() + LOOKS_AFRESH_S
        ring = self._ring()
        if ring is not self._known:
            self._known = ring
            self._ciphers = {key.number: Ciphers(key) for key in ring}
        now_s = self._context.clock.now()  # the newest whose time has come: all nodes change to it at once
        self._sealing = newest_of([key for key in ring if key.since_s <= now_s] or ring)


class Ciphers:
    """One key's ciphers; each algorithm has a key of its own."""

    __slots__ = ("_cbc", "_gcm", "_mac")

    def __init__(self, key: HidingKey) -> None:
        self._gcm = AESGCM(_derived(key, b"gcm"))
        self._cbc = algorithms.AES(_derived(key, b"cbc"))
        self._mac = _derived(key, b"mac")

    def seal(self, mode: int, plain: bytes, bound: bytes, draw: Callable[[int], bytes]) -> bytes:
        if mode == GCM:
            nonce = draw(NONCE_OCTETS)
            return nonce + self._gcm.encrypt(nonce, plain, bound)
        iv = draw(IV_OCTETS)
        encryptor = Cipher(self._cbc, modes.CBC(iv)).encryptor()
        sealed = iv + encryptor.update(plain) + encryptor.finalize()
        return sealed + self._tag(sealed, bound)

    def open(self, mode: int, octets: bytes, bound: bytes, checks: bool = True) -> bytes:
        """The plain octets, b"" if these were not sealed so."""
        if mode == GCM:
            try:
                return self._gcm.decrypt(octets[:NONCE_OCTETS], octets[NONCE_OCTETS:], bound)
            except (InvalidTag, ValueError):
                return b""
        sealed, tag = octets[:-TAG_OCTETS], octets[-TAG_OCTETS:]
        if not hmac.compare_digest(tag, self._tag(sealed, bound)) and checks:
            return b""
        if len(sealed) <= IV_OCTETS or len(sealed) % IV_OCTETS:
            return b""
        decryptor = Cipher(self._cbc, modes.CBC(sealed[:IV_OCTETS])).decryptor()
        return decryptor.update(sealed[IV_OCTETS:]) + decryptor.finalize()

    def _tag(self, sealed: bytes, bound: bytes) -> bytes:
        return hmac.digest(self._mac, bound + sealed, "sha256")[:TAG_OCTETS]


class RingFile:
    """The ring of a file, read again when the file is another. Raises ConfigError."""

    __slots__ = ("_path", "_ring", "_seen")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._ring: Ring = ()

    def __call__(self) -> Ring:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._ring, self._seen = read_ring(self._path), seen
        return self._ring


def _derived(key: HidingKey, what: bytes) -> bytes:
    """BLAKE2b with a key and a purpose is a key derivation (RFC 7693 2.9)."""
    return blake2b(key=key.secret.reveal(), person=what, digest_size=16).digest()


def _filled(entries: Iterable[str], room: int) -> bytes:
    """Entries as lines, each filled up to a multiple of the room, its line end included."""
    lines = []
    for entry in entries:
        octets = entry.encode("utf-8", "surrogateescape")
        lines.append(octets.ljust(-(-(len(octets) + 1) // room) * room - 1, b"\0"))
    return b"\n".join(lines)


def _token(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False).rstrip(b"=").translate(TO_TOKEN)


def _octets(token: str) -> bytes:
    """Base64 that could not be written otherwise: each character counts. b"..." of nothing known for other text."""
    try:
        written = token.encode("ascii")
        octets = binascii.a2b_base64(written.translate(FROM_TOKEN) + b"==")
    except (binascii.Error, ValueError):
        return bytes(HEAD_OCTETS)
    return octets if _token(octets) == written else bytes(HEAD_OCTETS)
