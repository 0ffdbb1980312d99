"""What `redoubt subscriber` needs of the HSS: subscribers from fields and files, and a store without a network.

    subscriber = subscriber_of({"impi": "alice@example", "k": "...", "opc": "...", "impus": "sip:alice@example"})
    async with offline(state, config.hss, realm) as administration:   # a running Hss sees changes within 1 s
        await administration.add([subscriber])
        await import_file(administration, CardFile.at(Path("cards.csv")))      # all of it, or ImportRefused
        async for line in exported(administration, "jsonl", with_keys=False): ...
    await hss.administration.add([subscriber])                # in a running Hss

The fields are those of `provisioning_fields.NewSubscriber`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redoubt.config import HssConfig
from redoubt.events import EventStream
from redoubt.hss.administration import Administration
from redoubt.hss.hss import Hss
from redoubt.hss.provisioning_export import exported
from redoubt.hss.provisioning_fields import described, subscriber_of
from redoubt.hss.provisioning_files import CardFile, ImportRefused
from redoubt.hss.provisioning_import import import_file
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

__all__ = ["CardFile", "ImportRefused", "described", "exported", "import_file", "offline", "subscriber_of"]


@asynccontextmanager
async def offline(state: Path, config: HssConfig, realm: str) -> AsyncIterator[Administration]:
    """Provisioning on the store, whether or not a network runs on it. No S-CSCF is told of anything."""
    clock = Clock(asyncio.get_running_loop())
    context = Context("hss", EventStream(), clock, SystemRandomness())
    hss = await Hss.open(context, config, realm, state)
    try:
        yield hss.administration
    finally:
        await hss.close()
