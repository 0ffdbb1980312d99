"""What the control socket offers on subscribers of the running HSS: S-CSCF and phone learn of each change at once."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redoubt.hss.administration import Administration
from redoubt.hss.provisioning_fields import described, patched
from redoubt.hss.store import StoreFailed
from redoubt.hss.subscriber import ProvisioningError
from redoubt.network.control import Command, ControlError
from redoubt.network.run import Network

T = TypeVar("T")
Asked = dict[str, Any]


def subscriber_commands(network: Network) -> dict[str, Command]:
    """The commands by name. Each takes `identity`, private or public, and answers what the S-CSCF was told."""

    async def show(hss: Administration, asked: Asked) -> Any:
        return described(await hss.show(_identity(asked)))

    async def remove(hss: Administration, asked: Asked) -> Any:
        return await hss.remove(_identity(asked))

    async def deregister(hss: Administration, asked: Asked) -> Any:
        return await hss.deregister(_identity(asked))

    async def reassign(hss: Administration, asked: Asked) -> Any:
        return await hss.reassign(_identity(asked))

    async def bar(hss: Administration, asked: Asked) -> Any:
        return await hss.bar(_identity(asked), bool(asked.get("barred", True)))

    async def change(hss: Administration, asked: Asked) -> Any:
        patch = asked.get("patch")
        if not isinstance(patch, dict):
            raise ControlError("`patch` must be an object of fields")
        return await hss.change(_identity(asked), lambda before: patched(patch, before))

    handlers = (show, remove, deregister, reassign, bar, change)
    return {f"subscriber-{handler.__name__}": _guarded(network, handler) for handler in handlers}


def _guarded(network: Network, handler: Callable[[Administration, Asked], Awaitable[T]]) -> Command:
    async def command(asked: Asked) -> T:
        if network.hss is None:
            raise ControlError("the HSS runs in another process; ask that one")
        try:
            return await handler(network.hss.administration, asked)
        except (ProvisioningError, StoreFailed) as error:
            raise ControlError(str(error)) from None

    return command


def _identity(asked: Asked) -> str:
    return str(asked.get("identity", ""))
