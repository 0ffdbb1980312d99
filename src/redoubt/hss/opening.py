"""Opens the store that the configuration names: a file in the state directory, or a PostgreSQL database."""

from pathlib import Path

from redoubt.config import ConfigError
from redoubt.hss.sqlite import open_store
from redoubt.hss.store import Store
from redoubt.secret import Secret
from redoubt.sources import Randomness

SCHEMES = ("postgresql://", "postgres://")


async def opened(database: str, state: Path, key: Secret, randomness: Randomness) -> Store:
    """`hss.database`, made or migrated where need be. Raises ConfigError."""
    if not database.startswith(SCHEMES):
        return open_store(state / database, key, randomness)
    try:
        from redoubt.hss.postgres import open_postgres
    except ImportError:
        raise ConfigError(
            "hss.database: PostgreSQL needs its driver; run pip install 'redoubt-ims[postgresql]'"
        ) from None
    return await open_postgres(database, key, randomness)
