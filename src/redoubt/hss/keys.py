"""The key file, and the sealing of K and OPc under it: AES-256-GCM with the IMPI as associated data.

So a stolen database shows no key, and a row's keys can't be moved to another private identity.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redoubt.config import ConfigError
from redoubt.secret import Secret
from redoubt.sources import Randomness

KEY_OCTETS = 32
NONCE_OCTETS = 12


class NotSealedHere(Exception):
    """The octets weren't sealed under this key for this private identity."""


def create_key(randomness: Randomness) -> Secret:
    """A new key for `hss.key-file`."""
    return Secret(randomness.octets(KEY_OCTETS))


def write_key_file(path: Path, key: Secret) -> None:
    """Makes the key file, readable by its owner only; an existing one is never overwritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"hss.key-file: {path} exists; without it no stored K can be read") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.reveal().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key_file(path: Path) -> Secret:
    """The key; refuses a file that others can read."""
    try:
        text = path.read_text(encoding="ascii").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"hss.key-file: {path} can't be read ({fault}); `redoubt init` makes it") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"hss.key-file: others may read {path}; run chmod 600 on it")
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != KEY_OCTETS:
        raise ConfigError(f"hss.key-file: {path} must hold {KEY_OCTETS * 2} hexadecimal digits")
    return Secret(octets)


class Seal:
    """Seals and opens under the key of the key file."""

    __slots__ = ("_cipher",)

    def __init__(self, key: Secret) -> None:
        if len(key) != KEY_OCTETS:
            raise ConfigError(f"hss.key-file: the key has {len(key)} octets and must have {KEY_OCTETS}")
        self._cipher = AESGCM(key.reveal())

    def close(self, impi: str, k: Secret, opc: Secret, nonce: bytes) -> bytes:
        """Nonce and ciphertext of K and OPc. The nonce is random: 96 bits, a few writes a subscriber."""
        plain = bytes((len(k),)) + k.reveal() + opc.reveal()
        return nonce + self._cipher.encrypt(nonce, plain, impi.encode())

    def open(self, impi: str, sealed: bytes) -> tuple[Secret, Secret]:
        """K and OPc (TOPc of TUAK); raises NotSealedHere."""
        try:
            plain = self._cipher.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], impi.encode())
        except (InvalidTag, ValueError):
            raise NotSealedHere(impi) from None
        end = 1 + plain[0]
        return Secret(plain[1:end]), Secret(plain[end:])
