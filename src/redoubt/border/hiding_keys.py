"""The key ring of topology hiding: a file that all border nodes of an operator share (TS 33.203 6.4).

One key a line: its number, 64 hexadecimal digits, and since when it seals (seconds since 1970). The newest whose time
has come seals; all of them open, so that what was hidden before a rotation still comes back.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redoubt.config import ConfigError
from redoubt.limits import HIDING_KEYS, HIDING_TOKEN_S
from redoubt.secret import Secret
from redoubt.sources import Randomness

KEY_OCTETS = 32
NUMBERS = 65_536  # two octets of a token


@dataclass(frozen=True, slots=True, eq=False)
class HidingKey:
    """One key of the ring; `since_s` is wall-clock time."""

    number: int
    secret: Secret
    since_s: float


Ring = tuple[HidingKey, ...]


def new_ring(randomness: Randomness, now_s: float) -> Ring:
    """A ring of one key that seals from now on."""
    return (HidingKey(1, Secret(randomness.octets(KEY_OCTETS)), now_s),)


def rotated(ring: Ring, randomness: Randomness, now_s: float, after_s: float = 0.0) -> Ring:
    """A ring with one key more, which seals `after_s` from now; keys that no token can need any more are gone."""
    newest = newest_of(ring)
    number = newest.number % (NUMBERS - 1) + 1
    added = HidingKey(number, Secret(randomness.octets(KEY_OCTETS)), max(now_s + after_s, newest.since_s))
    kept = [key for key in ring if key.number != number and not _is_past(key, ring, now_s)]
    if len(kept) >= HIDING_KEYS:
        raise ConfigError(
            f"the ring has {len(kept)} keys that calls and registrations of the last {HIDING_TOKEN_S // 86_400} days"
            " may need; rotate less often"
        )
    return (*kept, added)


def newest_of(ring: Sequence[HidingKey]) -> HidingKey:
    """The key that began to seal last; of two that began together, the one that stands last."""
    return max(reversed(ring), key=lambda key: key.since_s)


def _is_past(key: HidingKey, ring: Ring, now_s: float) -> bool:
    """Whether all that it sealed is too old to be taken: its successor has sealed for longer than tokens live."""
    later = [other.since_s for other in ring if other.since_s > key.since_s]
    return bool(later) and min(later) + HIDING_TOKEN_S < now_s


def write_ring(path: Path, ring: Ring, *, replace: bool = False) -> None:
    """Writes the file, readable by its owner only; a ring that exists is replaced as a whole or left alone."""
    if path.exists() and not replace:
        raise ConfigError(f"ibcf.hiding-keys: {path} exists; `redoubt hiding rotate` adds a key to it")
    lines = [f"{key.number} {key.secret.reveal().hex()} {int(key.since_s)}\n" for key in ring]
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_ring(path: Path) -> Ring:
    """The keys; refuses a file that others can read. Raises ConfigError."""
    try:
        text = path.read_text(encoding="ascii")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"ibcf.hiding-keys: {path} can't be read ({fault}); `redoubt hiding init` makes it") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"ibcf.hiding-keys: others may read {path}; run chmod 600 on it")
    ring = tuple([_read(line, path) for line in text.splitlines() if line.strip()])
    if not ring or len({key.number for key in ring}) < len(ring):
        raise ConfigError(f"ibcf.hiding-keys: {path} needs a key, and each number once; copy it from another node")
    return ring


def _read(line: str, path: Path) -> HidingKey:
    try:
        number, digits, since = line.split()
        key = HidingKey(int(number), Secret(bytes.fromhex(digits)), float(since))
    except ValueError:
        key = None
    if key is None or not 0 < key.number < NUMBERS or len(key.secret) != KEY_OCTETS:
        raise ConfigError(f"ibcf.hiding-keys: a line of {path} is no number, 64 hexadecimal digits and time") from None
    return key
