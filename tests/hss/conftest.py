"""An HSS on a real store, with two subscribers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from redoubt.config import HssConfig
from redoubt.events import EventStream
from redoubt.hss.hss import Hss
from redoubt.hss.keys import Seal
from redoubt.hss.opening import opened
from redoubt.hss.sqlite import open_store
from redoubt.hss.store import Store
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.secret import Secret
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

from .cluster import Cluster, binaries

KEY = Secret(bytes(range(32)))
K = bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc")  # TS 35.208 test set 1
OPC = bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf")
REALM = "home.example"
ALICE, ALICE_IMPU = "alice@home.example", "sip:alice@home.example"
BOB, BOB_IMPU = "bob@home.example", "sip:bob@home.example"
S1, S2 = "sip:scscf1.home.example", "sip:scscf2.home.example"


def private(impi: str, sqn: int = 0) -> PrivateIdentity:
    return PrivateIdentity(impi, Secret(K), opc=Secret(OPC), sqn=sqn)


class Place:
    """Where a store is: a folder for SQLite, or a URL of PostgreSQL too."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url

    async def store(self, seed: int = 1) -> Store:
        return await opened(self.url or "hss.sqlite", self.folder, KEY, SeededRandomness(seed))

    async def open(
        self, config: HssConfig | None = None, off: frozenset[str] = frozenset(), seed: int = 1
    ) -> Hss:
        return _hss(await self.store(seed), config, off, seed)


def _hss(store: Store, config: HssConfig | None, off: frozenset[str], seed: int) -> Hss:
    clock = Clock(asyncio.get_running_loop(), 0.0)
    context = Context("hss", EventStream(), clock, SeededRandomness(seed), off)
    return Hss(context, config or HssConfig(), REALM, store, Seal(KEY))


def open_hss(path: Path, config: HssConfig | None = None, off: frozenset[str] = frozenset(), seed: int = 1) -> Hss:
    """On SQLite, without a wait."""
    return _hss(open_store(path / "hss.sqlite", KEY, SeededRandomness(seed)), config, off, seed)


async def with_subscribers(
    place: Path | Place, config: HssConfig | None = None, off: frozenset[str] = frozenset()
) -> Hss:
    if isinstance(place, Path):
        place = Place(place)
    hss = await place.open(config, off)
    await hss.administration.add(
        [
            Subscriber.simple(private(ALICE), ALICE_IMPU, "tel:+15550001"),
            Subscriber.simple(private(BOB), BOB_IMPU),
        ]
    )
    return hss


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL; tests that need one are skipped where Debian's package `postgresql` isn't installed."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    made = Cluster(programs)
    made.start()
    yield made
    made.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The contract of a store holds in each."""
    if request.param == "sqlite":
        return Place(tmp_path)
    return Place(tmp_path, request.getfixturevalue("cluster").fresh())


@pytest.fixture
async def hss(place: Place) -> AsyncIterator[Hss]:
    made = await with_subscribers(place)
    yield made
    await made.close()
