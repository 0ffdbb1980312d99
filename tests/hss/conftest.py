"""An HSS on a real store, with two subscribers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from redoubt.config import HssConfig
from redoubt.events import EventStream
from redoubt.hss.hss import Hss
from redoubt.hss.keys import Seal
from redoubt.hss.sqlite import open_store
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.secret import Secret
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

KEY = Secret(bytes(range(32)))
K = bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc")  # TS 35.208 test set 1
OPC = bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf")
REALM = "home.example"
ALICE, ALICE_IMPU = "alice@home.example", "sip:alice@home.example"
BOB, BOB_IMPU = "bob@home.example", "sip:bob@home.example"
S1, S2 = "sip:scscf1.home.example", "sip:scscf2.home.example"


def private(impi: str, sqn: int = 0) -> PrivateIdentity:
    return PrivateIdentity(impi, Secret(K), opc=Secret(OPC), sqn=sqn)


def open_hss(path: Path, config: HssConfig | None = None, off: frozenset[str] = frozenset(), seed: int = 1) -> Hss:
    randomness = SeededRandomness(seed)
    clock = Clock(asyncio.get_running_loop(), 0.0)
    context = Context("hss", EventStream(), clock, randomness, off)
    store = open_store(path / "hss.sqlite", KEY, randomness)
    return Hss(context, config or HssConfig(), REALM, store, Seal(KEY))


async def with_subscribers(path: Path, config: HssConfig | None = None, off: frozenset[str] = frozenset()) -> Hss:
    hss = open_hss(path, config, off)
    await hss.administration.add(
        [
            Subscriber.simple(private(ALICE), ALICE_IMPU, "tel:+15550001"),
            Subscriber.simple(private(BOB), BOB_IMPU),
        ]
    )
    return hss


@pytest.fixture
async def hss(tmp_path: Path) -> AsyncIterator[Hss]:
    made = await with_subscribers(tmp_path)
    yield made
    await made.close()
