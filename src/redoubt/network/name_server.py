"""Composes what `redoubt dns` serves: zones from redoubt.toml and the HSS's numbers, signed anew in time."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dns.name
import dns.tsig
import dns.zone

from redoubt.config import Config, ConfigError
from redoubt.hss.provisioning import offline
from redoubt.hss.store import StoreFailed
from redoubt.ndm.zone import SIGNED_FOR_S, ZoneKey, network_zone, number_zone, numbers_in, numbers_of
from redoubt.ndm.zone_answers import Authority
from redoubt.ndm.zone_key import zone_key
from redoubt.ndm.zone_server import ZoneServer
from redoubt.sources import Clock
from redoubt.transport.flow import Address
from redoubt.transport.listen import Listen

KEY_FILE = "dns.key"
RENEWED_S = 60.0  # new subscribers are in the zone that soon
Warn = Callable[[str], None]


class OperatorZones:
    """The zones of one operator, and the key that signs them."""

    def __init__(self, config: Config, directory: Path, numbers: Path | None = None) -> None:
        self._config = config
        self._directory = directory
        self._numbers = numbers
        self.key: ZoneKey = zone_key(directory / KEY_FILE)

    @property
    def names(self) -> list[str]:
        return [self._config.network.realm, *(root.strip(".") for root in self._config.dns.enum_roots)]

    def anchors(self) -> list[str]:
        """DS records of all zones: what partners write into the file of their [dns] anchors."""
        return [self.key.anchor(name) for name in self.names]

    async def made(self, now: float, served_at: Sequence[str]) -> list[dns.zone.Zone]:
        """All zones as they are now, signed. Raises ConfigError, StoreFailed."""
        config = self._config
        numbers = await self.numbers()
        zones = [network_zone(config, served_at, int(now))]
        zones += [number_zone(root, numbers, served_at, int(now)) for root in config.dns.enum_roots]
        for zone in zones:
            self.key.sign(zone, now)
        return zones

    async def numbers(self) -> dict[str, str]:
        """Of the file, or the subscribers' own that are not barred."""
        if not self._config.dns.enum_roots:
            return {}
        if self._numbers is not None:
            return numbers_in(self._numbers.read_text(), str(self._numbers))
        realm = self._config.network.realm
        async with offline(self._directory, self._config.hss, realm) as administration:
            identities = [
                [each.impu for each in one.identities if not each.barred and each.impu]
                async for subscription in administration.subscriptions()
                for one in subscription.provisioned.sets
            ]
        return numbers_of(identities, realm)


class OperatorDns:
    """A name server that runs. Made by `start`, ended by `close`."""

    def __init__(
        self, zones: OperatorZones, clock: Clock, server: ZoneServer, served_at: list[str], warn: Warn
    ) -> None:
        self._zones = zones
        self._clock = clock
        self._served_at = served_at
        self._warn = warn
        self._numbers: dict[str, str] = {}
        self._signed_at = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self.server = server
        self.addresses: list[tuple[str, Address]] = []

    @classmethod
    async def start(
        cls, zones: OperatorZones, clock: Clock, listens: Sequence[Listen], tls: Any = None,
        key: dns.tsig.Key | None = None, signed_only: bool = False, warn: Warn = lambda _why: None,
    ) -> "OperatorDns":  # fmt: skip
        """Opens the sockets: udp stands for TCP, too. `warn` hears of zones that can't be renewed. Raises OSError,
        ConfigError, StoreFailed.
        """
        keys: dict[dns.name.Name, dns.tsig.Key] = {} if key is None else {key.name: key}
        server = ZoneServer(Authority([]), keys, signed_only)
        made = cls(zones, clock, server, [listen.host for listen in listens], warn)
        await made.renew()
        try:
            for listen in listens:
                await made._listen(listen, tls)
        except OSError:
            made.close()
            raise
        made._renewing = asyncio.get_running_loop().create_task(made._renew_often())
        return made

    def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self.server.close()

    async def _listen(self, listen: Listen, tls: Any) -> None:
        if listen.transport == "tls":
            self.addresses.append(("tls", await self.server.listen_for_streams(listen.host, listen.port, tls)))
            return
        address = await self.server.listen(listen.host, listen.port)
        self.addresses += [("udp", address), ("tcp", address)]

    async def renew(self) -> None:
        """Serves the zones as they are now: subscribers come and go, signatures end."""
        numbers, now = await self._zones.numbers(), self._clock.now()
        if numbers == self._numbers and now < self._signed_at + SIGNED_FOR_S / 2:
            return
        self.server.authority = Authority(await self._zones.made(now, self._served_at))
        self._numbers, self._signed_at = numbers, now

    async def _renew_often(self) -> None:
        while True:
            await asyncio.sleep(RENEWED_S)
            try:
                await self.renew()
            except (ConfigError, StoreFailed, OSError) as error:
                self._warn(str(error))
