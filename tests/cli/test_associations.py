"""`redoubt associations` as a person runs it, beside a running network with a registered phone."""

import json
from pathlib import Path

from .test_ue import ALICE, BOB, lab


async def test_each_association_set_is_listed_with_what_protects_it_and_what_passed(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        assert (await made("associations")).output == "no associations\n"
        assert (await made("ue", "register", "alice")).status == 0
        told = await made("associations", "--json")
        [row] = json.loads(told.output)
        assert (row["state"], row["algorithms"], row["identities"]) == ("in use", "null/aes-gcm", [ALICE])
        assert row["received_packets"] >= 1 and row["sent_packets"] >= 1
        assert (row["replayed"], row["bad_tags"]) == (0, 0)
        assert 3500 < row["left_s"] < 3631
        assert len({*row["phone_spis"], *row["network_spis"], *row["phone_ports"], *row["network_ports"]}) == 8
        table = (await made("associations", ALICE)).output
        for shown in ("in use", "UDP-enc-tun", "aes-gcm", f"{row['network_spis'][1]:08x}"):
            assert shown in table
        assert (await made("associations", BOB)).output == f"no associations of {BOB}\n"


async def test_no_key_is_listed(tmp_path: Path) -> None:
    async with lab(tmp_path) as made:
        assert (await made("ue", "register", "alice")).status == 0
        assert made.network is not None and made.network.p_cscf is not None and made.network.p_cscf.gm is not None
        [living] = made.network.p_cscf.gm.associations.sets.values()
        told = (await made("associations", "--json")).output
        for key in (living.keys.encryption, living.keys.integrity, living.keys.salt):
            assert not key.reveal() or key.reveal().hex() not in told
