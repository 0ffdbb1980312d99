"""Import and export of files: whole or not at all, faults by line and column, and what comes out goes in again."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.aka.isim import Isim, Success
from redoubt.aka.milenage import Milenage
from redoubt.hss.administration import Administration
from redoubt.hss.hss import Hss
from redoubt.hss.provisioning import CardFile, ImportRefused, exported, import_file, subscriber_of
from redoubt.hss.provisioning_files import Kind, rows
from redoubt.hss.store import StoreFailed
from redoubt.hss.subscriber import ProvisioningError
from redoubt.secret import Secret

from .conftest import ALICE, ALICE_IMPU, BOB, OPC, S1, K, open_hss, with_subscribers

HEADER = "impi,k,opc,impus"
TRIGGER = (
    "<TriggerPoint><ConditionTypeCNF>0</ConditionTypeCNF><SPT><Group>0</Group><Method>INVITE</Method></SPT>"
    "</TriggerPoint>"
)


def line_of(name: str, impu: str = "", k: str = K.hex()) -> str:
    return f"{name}@home.example,{k},{OPC.hex()},{impu or f'sip:{name}@home.example'}"


LONG = [line_of(f"u{n}") for n in range(600)]  # more than two batches


async def count(administration: Administration) -> int:
    return len([one async for one in administration.subscriptions()])


def csv_file(tmp_path: Path, *lines: str, header: str = HEADER) -> CardFile:
    path = tmp_path / "cards.csv"
    path.write_text("\n".join([header, *lines]))
    return CardFile.at(path)


def json_file(tmp_path: Path, *rows: Mapping[str, object]) -> CardFile:
    path = tmp_path / "cards.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return CardFile.at(path)


async def test_a_csv_file_is_imported_whole(hss: Hss, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    file = csv_file(tmp_path, *LONG)
    assert await import_file(hss.administration, file, lambda *stage: stages.append(stage)) == 600
    assert await count(hss.administration) == 602
    assert (await hss.multimedia_auth("u599@home.example", "sip:u599@home.example", S1, 1)).result.is_success
    ends = {stage: (done, total) for stage, done, total in stages}
    assert ends == {"reading": (file.octets, file.octets), "sealing": (600, 600), "storing": (600, 600)}


async def test_json_lines_are_imported_whole(hss: Hss, tmp_path: Path) -> None:
    rows = [dict(zip(HEADER.split(","), one.split(","), strict=True)) for one in LONG]
    assert await import_file(hss.administration, json_file(tmp_path, *rows)) == 600
    assert await count(hss.administration) == 602


@pytest.mark.parametrize(
    ("last", "column", "why"),
    [
        (line_of("x", k=K.hex() + "zz"), 2, "hexadecimal"),
        (line_of("x", k=K.hex() + "00"), 2, "hexadecimal"),
        (line_of("x", "nonsense"), 4, "no URI"),
        (line_of("x", "sip:u7@home.example"), 4, "is on line 9 already"),
        (line_of("u599"), 1, "is on line 601 already"),
        (f"x@home.example,{K.hex()}", 3, "has 2 fields"),
        (f"{K.hex()},x@home.example,,", 2, "hexadecimal"),
        (f"x@home.example,{K.hex()},{OPC.hex()},{K.hex()}", 4, "no URI"),
        (line_of("x", ALICE_IMPU), 4, "provisioned already"),
        (f"{ALICE},{K.hex()},{OPC.hex()},sip:new@home.example", 1, "provisioned already"),
        ('"' + line_of("x"), 1, "unexpected end"),
        (line_of("\udcff"), 1, "UTF-8"),
    ],
)
async def test_a_fault_on_the_last_line_is_told_by_line_and_column_and_imports_nothing(
    hss: Hss, tmp_path: Path, last: str, column: int, why: str
) -> None:
    path = tmp_path / "cards.csv"
    path.write_bytes("\n".join([HEADER, *LONG, last]).encode("utf-8", "surrogateescape"))
    with pytest.raises(ImportRefused, match=why) as refused:
        await import_file(hss.administration, CardFile.at(path))
    assert (refused.value.line, refused.value.column) == (602, column)
    assert f"cards.csv, line 602, column {column}" in str(refused.value)
    assert K.hex() not in str(refused.value)
    assert await count(hss.administration) == 2
    assert not await hss.administration.knows("u0@home.example")


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ('{"impi": "x@home.example", "k": "zz"}', 28),
        ('{"impi": "x@home.example" "k": "zz"}', 27),
        ("[]", 1),
        ('{"impi": ' + 200_000 * "[", 1),
        ('{"impi": "x@home.example", "k": "' + K.hex() + '", "colour": 1}', 69),
    ],
)
async def test_a_fault_in_json_lines_is_told_by_line_and_character(
    hss: Hss, tmp_path: Path, row: str, column: int
) -> None:
    path = tmp_path / "cards.jsonl"
    path.write_text("\n" + row)
    with pytest.raises(ImportRefused) as refused:
        await import_file(hss.administration, CardFile.at(path))
    assert (refused.value.line, refused.value.column) == (2, column)


@pytest.mark.parametrize(("header", "column"), [("impi,k,opc,colour", 4), ("impi,k,opc,k", 4)])
async def test_a_wrong_or_doubled_column_is_told(hss: Hss, tmp_path: Path, header: str, column: int) -> None:
    with pytest.raises(ImportRefused) as refused:
        await import_file(hss.administration, csv_file(tmp_path, *LONG, header=header))
    assert (refused.value.line, refused.value.column) == (1, column)


async def test_what_can_be_read_once_only_is_refused(hss: Hss, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ProvisioningError, match="can't be read"):
        CardFile.at(tmp_path)
    writer = os.open(tmp_path / "pipe.csv", os.O_RDWR)
    with pytest.raises(ProvisioningError, match="regular file"):
        CardFile.at(tmp_path / "pipe.csv")
    os.close(writer)


async def test_an_import_is_seen_only_when_it_is_over(hss: Hss, tmp_path: Path) -> None:
    seen: list[bool] = []

    async def look() -> None:
        while True:
            seen.append(await hss.administration.knows("u0@home.example"))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    during: list[int] = []
    await import_file(hss.administration, csv_file(tmp_path, *LONG), lambda *stage: during.append(len(seen)))
    assert not any(seen[: during[-1]])
    looking.cancel()
    assert await hss.administration.knows("u0@home.example")


async def test_registrations_and_single_changes_go_on_during_an_import(hss: Hss, tmp_path: Path) -> None:
    async with hss.administration.bulk() as bulk:
        new = subscriber_of({"impi": "x@home.example", "k": K.hex(), "opc": OPC.hex()})
        await bulk.add([bulk.sealed(new)])
        for _ in range(3):
            assert (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).result.is_success
            await hss.administration.bar(ALICE_IMPU)
            await hss.administration.bar(ALICE_IMPU, False)
        await hss.administration.add([subscriber_of(RICH[0])])
        with pytest.raises((ProvisioningError, StoreFailed), match=r"provisioned already|has the same identity"):
            await hss.administration.add([new])
        assert not await hss.administration.knows("x@home.example")
    assert await hss.administration.knows("x@home.example")


async def test_a_cancelled_import_leaves_nothing(hss: Hss, tmp_path: Path) -> None:
    stored = asyncio.Event()
    file = csv_file(tmp_path, *LONG)

    def tell(stage: str, done: int, total: int) -> None:
        if stage == "storing":
            stored.set()

    importing = asyncio.create_task(import_file(hss.administration, file, tell))
    await stored.wait()
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    assert await count(hss.administration) == 2
    assert await import_file(hss.administration, file) == 600


async def test_two_imports_do_not_run_at_once(hss: Hss, tmp_path: Path) -> None:
    async with hss.administration.bulk():
        with pytest.raises(StoreFailed, match="another import"):
            await import_file(hss.administration, csv_file(tmp_path, *LONG))
    assert await import_file(hss.administration, csv_file(tmp_path, *LONG)) == 600


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from redoubt.hss.provisioning import CardFile, import_file
from tests.hss.conftest import open_hss

def tell(stage, done, total):
    if stage == "storing" and done == 500:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    hss = open_hss(Path(sys.argv[1]))
    await import_file(hss.administration, CardFile.at(Path(sys.argv[1]) / "cards.csv"), tell)

asyncio.run(main())
"""


async def test_an_import_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    running = await with_subscribers(tmp_path)
    csv_file(tmp_path, *LONG)
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path))
    assert await killed.wait() == -signal.SIGKILL
    assert await count(running.administration) == 2
    await running.close()
    again = open_hss(tmp_path)
    assert await import_file(again.administration, CardFile.at(tmp_path / "cards.csv")) == 600
    await again.close()
    with sqlite3.connect(tmp_path / "hss.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM subscription").fetchone() == (602,)
        assert connection.execute("SELECT count(*) FROM incoming").fetchone() == (0,)


RICH: list[dict[str, object]] = [
    {"impi": "a@home.example", "k": K.hex(), "opc": OPC.hex()},
    {
        "impi": "b@home.example", "k": "ab" * 32, "opc": "cd" * 32, "algorithm": "tuak", "amf": "b9b9", "sqn": "2a0",
        "impus": ["sip:b@home.example", "tel:+1555"], "barred": ["tel:+1555"], "visited-networks": ["*"],
        "capabilities": [1, 2], "optional-capabilities": [3], "server-names": ["sip:s9.home.example"],
    },
    {
        "impi": "c@home.example", "k": K.hex(), "opc": OPC.hex(), "sets": [["sip:c@home.example"], ["tel:+1556"]],
        "private": [{"impi": "c2@home.example", "k": K.hex(), "opc": OPC.hex(), "sqn": "ff00"}],
        "wildcards": ["sip:room!.*!@home.example"],
        "criteria": [{"priority": 1, "server_name": "sip:as.home.example", "trigger": TRIGGER}],
    },
    {
        "impi": "d@home.example", "k": K.hex(), "opc": OPC.hex(),
        "sets": [
            {
                "service_profiles": [
                    {"identities": [{"impu": "sip:d@home.example", "display_name": "Dora, \"D\""}]},
                    {
                        "identities": [{"impu": "tel:+1557", "barred": True}],
                        "criteria": [{"priority": 2, "server_name": "sip:as2.home.example"}],
                    },
                ],
                "impis": ["d@home.example"],
            }
        ],
    },
]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_an_export_with_keys_into_an_empty_store_gives_the_same(tmp_path: Path, kind: Kind) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    hss, fresh = open_hss(one, seed=1), open_hss(other, seed=2)
    await hss.administration.add(subscriber_of(row) for row in RICH)
    for _ in range(3):
        await hss.multimedia_auth("a@home.example", "sip:a@home.example", S1, 1)
    text = "".join([line async for line in exported(hss.administration, kind, with_keys=True)])
    assert await import_file(fresh.administration, CardFile.holding(f"x.{kind}", kind, text.encode())) == 4
    assert "".join([line async for line in exported(fresh.administration, kind, with_keys=True)]) == text
    pairs = zip(
        [record async for record in hss.administration.subscriptions()],
        [record async for record in fresh.administration.subscriptions()],
        strict=True,
    )
    for before, after in pairs:
        assert before.provisioned == after.provisioned
        for left, right in zip(before.privates, after.privates, strict=True):
            assert hss.administration.keys(left)[0].matches(fresh.administration.keys(right)[0])
            assert hss.administration.keys(left)[1].matches(fresh.administration.keys(right)[1])
            assert (left.impi, left.algorithm, left.amf) == (right.impi, right.algorithm, right.amf)
            assert right.next_seq > left.reserved_seq
    await hss.close()
    await fresh.close()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_an_export_without_keys_shows_none(hss: Hss, kind: Kind) -> None:
    text = "".join([line async for line in exported(hss.administration, kind, with_keys=False)])
    assert BOB in text
    assert K.hex() not in text
    assert OPC.hex() not in text
    assert '"k"' not in text


async def test_a_card_takes_the_first_vector_after_a_move(tmp_path: Path) -> None:
    """It would refuse a number that was used before (TS 33.102 6.3.3)."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    hss, fresh = await with_subscribers(one), open_hss(other)
    card = Isim(Milenage(Secret(K), Secret(OPC)))

    async def accepts(asked: Hss) -> bool:
        vector = (await asked.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]
        return isinstance(card.authenticate(vector.rand, vector.autn), Success)

    for _ in range(5):
        assert await accepts(hss)
    text = "".join([line async for line in exported(hss.administration, "jsonl", with_keys=True)])
    await import_file(fresh.administration, CardFile.holding("x", "jsonl", text.encode()))
    assert await accepts(fresh)
    await hss.close()
    await fresh.close()


@given(octets=st.binary(max_size=300), kind=st.sampled_from(["csv", "jsonl"]))
def test_any_octets_are_read_or_refused_by_line(octets: bytes, kind: Kind) -> None:
    try:
        assert list(rows(CardFile.holding("x", kind, octets))) == []
    except ImportRefused as refused:
        assert refused.line >= 1 <= refused.column


NAMES = ("impi", "k", "opc", "impus", "barred", "sets", "criteria", "sqn", "private", "capabilities")


@given(text=st.text(max_size=60), field=st.sampled_from(NAMES))
def test_any_text_in_a_field_is_taken_or_refused(text: str, field: str) -> None:
    row = {"impi": "x@home.example", "k": K.hex(), "opc": OPC.hex(), field: text}
    try:
        list(rows(CardFile.holding("x", "jsonl", json.dumps(row).encode())))
    except ImportRefused as refused:
        assert refused.line == 1
