"""The token that opens the REST API: a file of mode 0600, made by `redoubt init`, sent as a bearer token (RFC 6750)."""

import base64
import os
import stat
from pathlib import Path

from redoubt.config import ConfigError
from redoubt.secret import Secret
from redoubt.sources import Randomness

TOKEN_OCTETS = 32
TOKEN_CHARACTERS = 43  # of those octets in base64url without padding


def write_token_file(path: Path, randomness: Randomness) -> None:
    """Makes a new token, readable by its owner only; an existing one is never overwritten. Raises ConfigError."""
    token = base64.urlsafe_b64encode(randomness.octets(TOKEN_OCTETS)).rstrip(b"=")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"hss.rest-token-file: {path} exists; remove it first to make a new one") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(token + b"\n")


def read_token_file(path: Path) -> Secret:
    """The token; refuses a short one, and a file that others can read. Raises ConfigError."""
    try:
        token = path.read_bytes().strip()
        mode = path.stat().st_mode
    except OSError as fault:
        raise ConfigError(
            f"hss.rest-token-file: {path} can't be read ({fault.strerror}); `redoubt init` makes one for a new network,"
            f" `(umask 077; openssl rand -hex 32 > {path})` for an old one"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"hss.rest-token-file: others may read {path}; run chmod 600 on it")
    if len(token) < TOKEN_CHARACTERS or any(not 0x21 <= octet <= 0x7E for octet in token):
        raise ConfigError(
            f"hss.rest-token-file: {path} must hold at least {TOKEN_CHARACTERS} printable characters without blanks"
        )
    return Secret(token)
