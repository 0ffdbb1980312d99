"""A store of an earlier version is brought forward, one of a later version refused."""

import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from redoubt.config import ConfigError
from redoubt.diameter.cx import ResultCode, ServerAssignmentType
from redoubt.hss.keys import Seal
from redoubt.hss.migrations import KEY_CHECK, VERSION, key_mark
from redoubt.hss.subscriber import Subscriber, added
from redoubt.sources import SeededRandomness

from .conftest import ALICE, ALICE_IMPU, KEY, S1, open_hss, private
from .test_cx import lir, mar, sar, sqn_of


def write_version_1(path: Path) -> None:
    """As the first release wrote it, with a registered subscriber whose numbers are reserved up to 32."""
    seal, randomness = Seal(KEY), SeededRandomness(1)
    script = resources.files("redoubt.hss").joinpath("schema/0001.sql").read_text(encoding="utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(script + "PRAGMA user_version = 1;")
        connection.execute("INSERT INTO property VALUES (?, ?)", (KEY_CHECK, key_mark(seal, randomness)))
        one = added(Subscriber.simple(private(ALICE), ALICE_IMPU), seal, randomness).privates[0]
        provisioned = b'{"sets":[{"service_profiles":[{"identities":[{"impu":"%s"}]}]}]}' % ALICE_IMPU.encode()
        sets = b'[{"state":1,"impis":["%s"]}]' % ALICE.encode()
        connection.execute("INSERT INTO subscription VALUES (7, ?, ?, '', ?)", (provisioned, S1, sets))
        row = (ALICE, 7, 0, one.algorithm, one.amf, one.sealed, 32)
        connection.execute("INSERT INTO private_identity VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO public_identity VALUES (?, 7, 0, '')", (ALICE_IMPU,))
    connection.close()


async def test_a_store_of_version_1_is_brought_forward_with_all_it_holds(tmp_path: Path) -> None:
    write_version_1(tmp_path / "hss.sqlite")
    for _ in range(2):  # the second time there is nothing left to do
        hss = open_hss(tmp_path)
        assert await lir(hss) == (ResultCode.SUCCESS, S1)
        vector = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]
        assert sqn_of(vector) >> 5 > 32
        assert await sar(hss, ServerAssignmentType.REGISTRATION) is ResultCode.SUCCESS
        await hss.close()
    assert _version(tmp_path / "hss.sqlite") == VERSION


async def test_a_store_of_a_later_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    hss = open_hss(tmp_path)
    assert await mar(hss) is ResultCode.USER_UNKNOWN
    await hss.close()
    with sqlite3.connect(tmp_path / "hss.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(ConfigError, match="start the release that wrote it"):
        open_hss(tmp_path)
    assert _version(tmp_path / "hss.sqlite") == VERSION + 1


def _version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)
