"""A day of phones behind NATs that re-register over SIP in ESP in UDP, on a whole simulated network.

No association leaks and none is missing, at either end. Packets are lost, NATs forget, phones reboot and leave and come
back. `make soak` plays it with 500 phones; tests/gm/soak.py plays 10,000 without SIP.
"""

import asyncio
import json
import os
import random
import resource
import time
from collections import Counter

from redoubt.lab.seed_world import P_CSCF_HOST, Handset, World
from redoubt.sim import Network as Wire
from redoubt.sim.packet import Packet

from .virtual import associations, in_world

PHONES = int(os.environ.get("REDOUBT_SIP_SOAK_PHONES", "6"))
HOURS = int(os.environ.get("REDOUBT_SOAK_HOURS", "24"))
PHONES_A_NAT = 25
EXPIRES_S = 3600
LOSS = 0.01
NEVER = ("", 0), -1e9
MAPPING_S = 120.0  # a NAT forgets an idle UDP flow (RFC 4787 4.3)


class Nats:
    """All phones are behind some; every idle mapping is forgotten, and now and then all are."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._outside: dict[tuple[str, int], tuple[tuple[str, int], float]] = {}  # and when it was last used
        self._inside: dict[tuple[str, int], tuple[str, int]] = {}
        self._port = 1024
        wire.intercept(self)
        wire.tap(self.returning)

    def __call__(self, packet: Packet) -> bytes | None:
        """What a phone sends leaves from its NAT."""
        source, now = (packet.source.host, packet.source.port), self._wire.loop.time()
        if not source[0].startswith("10.3.") or packet.target.host != P_CSCF_HOST:
            return packet.payload
        outside, used_at = self._outside.get(source, NEVER)
        if now - used_at > MAPPING_S:
            self._inside.pop(outside, None)
            self._port = self._port + 1 if self._port < 65_535 else 1024
            nat = (int(source[0].split(".")[2]) * 256 + int(source[0].split(".")[3])) // PHONES_A_NAT
            outside = f"198.51.100.{nat + 1}", self._port
        self._outside[source], self._inside[outside] = (outside, now), source
        self._wire.inject(outside, (packet.target.host, packet.target.port), packet.payload)
        return None

    def returning(self, packet: Packet) -> None:
        """And what comes for that address reaches it."""
        inside = self._inside.get((packet.target.host, packet.target.port))
        if inside is not None:
            self._wire.inject((packet.source.host, packet.source.port), inside, packet.payload)

    def forget(self) -> None:
        """Power came back."""
        self._outside.clear()
        self._inside.clear()


class Day:
    """What happens to the phones, and what must hold each hour."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nats = Nats(world.wire)
        self.random = random.Random(1)
        self.acts: Counter[str] = Counter()
        self.most = 0

    async def attached(self, handset: Handset) -> None:
        """Registers from the start, as often as it takes."""
        while not (await handset.phone.register(EXPIRES_S)).registered:
            self.acts["attempts in vain"] += 1
            await asyncio.sleep(5)

    async def act(self, handset: Handset) -> None:
        """Most phones just renew by themselves; some reboot, some leave and come back."""
        fate, phone = self.random.random(), handset.phone
        await asyncio.sleep(self.random.random() * 3000)
        if fate < 0.03:
            assert phone.line.gm is not None
            phone.line.gm.associations.close()
            self.acts["reboots"] += 1
            await self.attached(handset)
        elif fate < 0.05:
            await phone.deregister()
            self.acts["deregistrations"] += 1
            await self.attached(handset)
        elif fate < 0.3:
            other = self.random.choice(self.world.handsets)
            status = (await phone.message(other.impu, "hello")).status
            self.acts[f"messages answered {status}"] += 1

    def check(self) -> None:
        """Each registered phone has an association at both ends, of the same authentication."""
        network = associations(self.world)
        here = {each.agreement.network.spi_s for each in network.sets.values()}
        reached = {key.impi for key in network.phones if network.outgoing(key) is not None}
        for handset in self.world.handsets:
            gm = handset.phone.line.gm
            assert gm is not None
            if not handset.phone.registration.holds:
                continue
            carrier = gm.carrier()
            assert carrier is not None and carrier.agreement.network.spi_s in here, handset.name
            assert handset.resident.impi in reached, handset.name
        self.most = max(self.most, len(network.sets))
        assert len(network.sets) <= 3 * len(self.world.handsets)


async def story(world: World) -> dict[str, object]:
    day = Day(world)
    world.wire.link(loss=LOSS)
    await asyncio.gather(*(day.attached(handset) for handset in world.handsets))
    for hour in range(1, HOURS):
        if hour % 6 == 0:
            day.nats.forget()
        acts = asyncio.gather(*(day.act(handset) for handset in world.handsets))
        await asyncio.sleep(3600)
        await acts
        day.check()
    for handset in world.handsets:
        await handset.phone.deregister()
    registered = [handset.name for handset in world.handsets if handset.phone.registration.holds]
    await asyncio.sleep(EXPIRES_S + 800)
    assert not world.leftovers(), (world.leftovers(), registered)
    return {"phones": len(world.handsets), "hours": HOURS, "most sets": day.most, **day.acts}


def test_phones_behind_nats_that_re_register_all_day_leak_no_association_and_lack_none() -> None:
    began = time.process_time()
    found = in_world(story, PHONES, days=HOURS / 24 + 1)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({**found, "CPU s": round(time.process_time() - began, 1), "peak MB": peak_mb}, indent=2))
