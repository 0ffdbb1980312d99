"""The file with the key that signs an operator's zones: PKCS #8 in PEM, readable by its owner only."""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.config.base import ConfigError
from redoubt.ndm.zone import ZoneKey


def zone_key(path: Path) -> ZoneKey:
    """The key in the file, which is made if there is none: partners trust it, so it stays. Raises ConfigError."""
    if not path.exists():
        _write(path, ec.generate_private_key(ec.SECP256R1()))
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"others may read {path}; run chmod 600 on it")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{path} holds no private key; remove it, and give partners the new anchor") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path} holds no key on the curve P-256; remove it, and give partners the new anchor")
    return ZoneKey(key)


def _write(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
