"""The S-CSCFs that the HSS has served: each has an index of sequence numbers, and perhaps a Diameter host."""

from redoubt.hss.store import Server, ServerHost, Store
from redoubt.limits import HSS_SERVERS


class Servers:
    """Remembered durably, so that all HSS processes on one store, and those after a restart, agree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Server] = {}

    def number(self, server_name: str) -> int | None:
        """Counted from 0 in the order of their coming; None before `learn`."""
        server = self._known.get(server_name)
        return None if server is None else server.number

    def host(self, server_name: str) -> str:
        """The Diameter host where an S-CSCF was last heard from; empty if it never was."""
        server = self._known.get(server_name)
        return "" if server is None else server.host

    async def heard_from(self) -> frozenset[str]:
        """Those whose host is known. Raises StoreFailed."""
        self._known = await self._store.servers()
        return frozenset([name for name, server in self._known.items() if server.host])

    async def learn(self, server_name: str, host: str = "") -> int:
        """Remembers an S-CSCF, and its host if told; its number. Raises StoreFailed."""
        known = self._known.get(server_name)
        if known is not None and host in ("", known.host):
            return known.number
        self._known = await self._store.servers()
        known = self._known.get(server_name)
        if known is not None and host in ("", known.host):
            return known.number
        if known is None and len(self._known) >= HSS_SERVERS:
            return 0  # some S-CSCFs then share an index, which costs a resynchronisation now and then
        await self._store.write([ServerHost(server_name, host)])
        self._known = await self._store.servers()
        return self._known[server_name].number

    async def host_now(self, server_name: str) -> str:
        """As `host`, with what another HSS process on the same store has learnt."""
        if self._store.is_shared or server_name not in self._known:
            self._known = await self._store.servers()
        return self.host(server_name)
