"""Strangers register without end, from a thousand addresses, on a whole simulated network (requirement row 47).

Memory is bounded, nobody's association is lost, and phones register, renew and call while it lasts. `make soak` sends
100,000; here it is a tenth of them against a tenth of the ceilings.
"""

import asyncio
import json
import os
import resource
import time
from functools import partial
from itertools import count

import pytest

from redoubt.gm.agreement import AgreementPolicy, Ends, Mode, client_list, written
from redoubt.gm.half_open import WITHOUT_CEILING, HalfOpen
from redoubt.lab.seed_world import P_CSCF_HOST, World
from redoubt.limits import HALF_OPEN_SETS, HALF_OPEN_SETS_PER_SOURCE
from redoubt.network import gm

from .virtual import associations, in_world, states_of

REGISTERS = int(os.environ.get("REDOUBT_FLOOD", "10000"))
SOURCES = 1000
PER_SECOND = 500
SCALE = 100_000 // REGISTERS
CEILING, PER_SOURCE = HALF_OPEN_SETS // SCALE, max(HALF_OPEN_SETS_PER_SOURCE // SCALE, 4)


def stranger(number: int, realm: str) -> tuple[str, bytes]:
    """The first REGISTER of somebody who will never answer: where from, and its octets."""
    host = f"10.9.{number % SOURCES // 250}.{number % SOURCES % 250 + 1}"
    user = f"u{number}@{realm}"
    ends = Ends(1000 + 2 * number, 1001 + 2 * number, 10_000 + number // SOURCES, 30_000 + number // SOURCES)
    offer = written(client_list(AgreementPolicy(modes=(Mode.UDP_TUNNEL,)), ends))
    request = (
        f"REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:{user}>;tag={number}\r\nTo: <sip:{user}>\r\nCall-ID: flood-{number}\r\nCSeq: 1 REGISTER\r\n"
        f"Contact: <sip:u{number}@{host}:{ends.port_s}>;expires=600\r\nRequire: sec-agree\r\n"
        f'Proxy-Require: sec-agree\r\nSecurity-Client: {offer}\r\nAuthorization: Digest username="{user}",'
        f'realm="{realm}",nonce="",uri="sip:{realm}",response=""\r\nContent-Length: 0\r\n\r\n'
    )
    return host, request.encode()


async def flooded(world: World, registers: int, most: list[int]) -> None:
    """All of them, evenly; `most` hears how many sets there were."""
    for number in range(registers):
        host, octets = stranger(number, world.realm)
        world.wire.inject((host, 5060), (P_CSCF_HOST, 5060), octets)
        if number % 50 == 49:
            await asyncio.sleep(50 / PER_SECOND)
            most.append(len(associations(world).sets))


async def life_goes_on(world: World, stop: asyncio.Event) -> list[int]:
    """Two phones renew and call each other in turn; a third attaches anew each time. The statuses of all that."""
    alice, bob, carol = (handset.phone for handset in world.handsets)
    statuses: list[int] = []
    for number in count():
        if stop.is_set():
            return statuses
        caller, callee = (alice, bob) if number % 2 else (bob, alice)
        call = await caller.call(callee.identity.impu)
        statuses.append(call.status)
        await call.hang_up()
        statuses.append((await callee.register(3600)).status)
        assert carol.line.gm is not None
        carol.line.gm.associations.close()
        statuses.append((await carol.register(3600)).status)
        await asyncio.sleep(1.0)
    raise AssertionError("not reached")


async def story(registers: int, world: World) -> dict[str, int]:
    for handset in world.handsets:
        assert (await handset.phone.register(3600)).registered
    stop, most = asyncio.Event(), list[int]()
    living = asyncio.create_task(life_goes_on(world, stop))
    await flooded(world, registers, most)
    stop.set()
    statuses = await living
    assert set(statuses) == {200}
    assert all("in use" in states_of(world, handset.name) for handset in world.handsets)
    await asyncio.sleep(400.0)
    assert len(associations(world).sets) <= 2 * len(world.handsets)
    return {"registers": registers, "most sets": max(most), "answers to phones": len(statuses)}


def played(
    monkeypatch: pytest.MonkeyPatch, registers: int, ceiling: int = WITHOUT_CEILING, per_source: int = WITHOUT_CEILING
) -> int:
    """The most association sets that there were."""
    monkeypatch.setattr(gm, "HalfOpen", partial(HalfOpen, ceiling, per_source))
    began = time.process_time()
    found = in_world(partial(story, registers), 3)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({**found, "CPU s": round(time.process_time() - began, 1), "peak MB": peak_mb}))
    return found["most sets"]


def test_a_flood_from_a_thousand_addresses_is_bounded_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(monkeypatch, REGISTERS, CEILING, PER_SOURCE) <= CEILING + 9  # three phones' own


def test_without_ceilings_every_stranger_has_a_set_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(monkeypatch, 2_000) >= 2_000
