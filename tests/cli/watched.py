"""A network with test phones, and a directory in which commands are run beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from network.handsets import Field, field
from redoubt.network.commands import commands
from redoubt.network.control import ControlServer

from .test_ue import Lab


@asynccontextmanager
async def watched(
    directory: Path, gm: dict[str, Any] | None = None, access: str = "ipsec"
) -> AsyncIterator[tuple[Field, Lab]]:
    """The options are those of `field`."""
    async with field(gm, access=access) as net:
        control = ControlServer(net.network.directory / "control.sock", commands(net.network))
        await control.start()
        (directory / "redoubt.toml").write_text(f'[network]\nstate = "{net.network.directory}"\n')
        try:
            yield net, Lab(directory, net.network)
        finally:
            await control.close()
