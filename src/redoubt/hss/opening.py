"""Opens the store that the configuration names: a file in the state directory, or a PostgreSQL database."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from redoubt.config import ConfigError
from redoubt.hss.sqlite import open_store
from redoubt.hss.store import Store
from redoubt.secret import Secret
from redoubt.sources import Randomness
from redoubt.transport.listen import is_loopback

SCHEMES = ("postgresql://", "postgres://")


async def opened(database: str, state: Path, key: Secret, randomness: Randomness) -> Store:
    """`hss.database`, made or migrated where need be. Raises ConfigError."""
    if not database.startswith(SCHEMES):
        return open_store(state / database, key, randomness)
    _demand_a_decision(database)
    try:
        from redoubt.hss.postgres import open_postgres
    except ImportError:
        raise ConfigError(
            "hss.database: PostgreSQL needs its driver; run pip install 'redoubt-ims[postgresql]'"
        ) from None
    return await open_postgres(database, key, randomness)


def _demand_a_decision(url: str) -> None:
    """How the way to another machine's database is protected is the operator's to say: drivers default to "perhaps"."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    host = parts.hostname or asked.get("host", [""])[0]
    if "sslmode" in asked or not host or host.startswith("/") or is_loopback(host):
        return
    raise ConfigError(
        f"hss.database: {host} is another machine; add ?sslmode=verify-full&sslrootcert=FILE to the URL, or"
        " ?sslmode=disable if the way to it is protected otherwise"
    )
