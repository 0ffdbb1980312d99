"""Two HSSs on one PostgreSQL behind the same CSCFs: one dies, and nobody notices (RFC 6733 5.5.4)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hss.cluster import PASSWORD, Cluster, binaries
from redoubt.events import Bug, EventStream
from redoubt.hss.administration import Told
from redoubt.hss.keys import create_key, write_key_file
from redoubt.network.configuration import from_tree
from redoubt.network.run import Network
from redoubt.sources import SeededRandomness

from .calls import call
from .home import CLEAR, Home, subscribers
from .test_apart import free_ports

HSSS = ("hss1.example.net", "hss2.example.net")
CSCFS = ("icscf.{realm}", "scscf.{realm}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    made = Cluster(programs)
    made.start()
    yield made
    made.remove()


def hss_tree(identity: str, port: int, url: str) -> dict[str, Any]:
    peers = [{"identity": cscf, "applications": ["cx"]} for cscf in CSCFS]
    hss = {"diameter": [f"tcp:127.0.0.1:{port}"], "diameter-identity": identity, "database": url}
    return {"hss": hss, "diameter": {"peers": peers}}


def cscf_tree(ports: list[int]) -> dict[str, Any]:
    peers = [
        {"identity": identity, "connect": f"tcp:127.0.0.1:{port}", "applications": ["cx"]}
        for identity, port in zip(HSSS, ports, strict=True)
    ]
    anywhere = ["udp:127.0.0.1:0"]
    tree: dict[str, Any] = {name: {"listen": anywhere} for name in ("p-cscf", "i-cscf", "s-cscf", "gm")}
    tree["p-cscf"]["core"] = anywhere
    return {**tree, "diameter": {"peers": peers}, "access": CLEAR}


@asynccontextmanager
async def two_hsss(url: str, directory: Path) -> AsyncIterator[tuple[Home, list[Network]]]:
    ports, key = free_ports(2), create_key(SeededRandomness(1))
    parts: list[Network] = []
    net: Home | None = None
    try:
        for number, (identity, port) in enumerate(zip(HSSS, ports, strict=True)):
            place = directory / identity
            place.mkdir()
            config = from_tree(hss_tree(identity, port, url))
            write_key_file(place / config.hss.key_file, key)
            randomness = SeededRandomness(number)
            parts.append(
                await Network.start(config, place, only=("hss",), events=EventStream(), randomness=randomness)
            )
        only = ("p-cscf", "i-cscf", "s-cscf")
        cscfs = await Network.start(
            from_tree(cscf_tree(ports)), directory, only=only, randomness=SeededRandomness(9)
        )
        parts.append(cscfs)
        for node in cscfs.diameter.nodes.values():
            assert await node.connected(60.0)
        assert parts[0].hss is not None
        net = Home(cscfs, parts[0].hss, parts[0].directory)
        await net.hss.administration.add(subscribers(net.realm, ("alice", "bob")))
        yield net, parts
    finally:
        if net is not None:
            net.close()
        for part in reversed(parts):
            await part.close()


async def test_when_one_hss_dies_the_other_goes_on_with_what_it_knew(cluster: Cluster, tmp_path: Path) -> None:
    async with two_hsss(cluster.fresh(), tmp_path) as (net, parts):
        alice, bob = await net.registered("alice"), await net.registered("bob")
        before = await call(alice, bob)
        await parts.pop(0).close()
        assert await before.lives()
        assert (await alice.registers()).status == 200
        made = await call(bob, alice)
        assert await made.lives()
        other = parts[0].hss
        assert other is not None
        assert (await bob.registers(expires="0")).status == 200
        assert await other.administration.deregister(alice.card.impi) is Told.DONE
        for part in parts:
            assert not [event for event in part.context.events.recent if isinstance(event, Bug)]
            assert PASSWORD not in repr(list(part.context.events.recent))
