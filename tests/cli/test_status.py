"""`redoubt status` names what is weak by the operator's choice, and counts what it weakens."""

import json
from pathlib import Path
from typing import Any

from network.handsets import Field
from redoubt.gm.agreement import AgreementPolicy, Mode
from redoubt.gm.algorithms import Encryption, Integrity, Suite

from .test_ue import Lab
from .watched import watched

TRIPLE = Suite(Integrity.HMAC_MD5_96, Encryption.DES_EDE3_CBC)
PLAIN = Suite(Integrity.HMAC_SHA_1_96, Encryption.NULL)


async def weak(made: Lab) -> dict[str, tuple[int, int]]:
    told: list[dict[str, Any]] = json.loads((await made("status", "--json")).output)["weak_choices"]
    return {one["option"]: (one["living"], one["made"]) for one in told}


async def registered(net: Field, name: str, suite: Suite) -> None:
    policy = AgreementPolicy((suite,), confidentiality=False, legacy=True, modes=(Mode.UDP_TUNNEL,))
    await net.registered(name, policy=policy)


async def test_old_algorithms_and_what_is_not_encrypted_are_counted_while_they_are_allowed(tmp_path: Path) -> None:
    gm = {"legacy": True, "confidentiality": False}
    async with watched(tmp_path, gm) as (net, made):
        assert await weak(made) == {"gm.legacy": (0, 0), "gm.confidentiality": (0, 0)}
        await registered(net, "alice", TRIPLE)
        await registered(net, "bob", PLAIN)
        await net.registered("carol", seed=3)
        assert await weak(made) == {"gm.legacy": (1, 1), "gm.confidentiality": (1, 1)}
        assert (await net.phones[0].register()).registered  # renewed: another set, and the phone counts once
        assert (await net.phones[1].deregister()).status == 200
        told = (await made("status")).output
        assert (
            "weak by choice, gm.legacy: hmac-md5-96 and des-ede3-cbc are agreed on; 1 do now, 2 since the start" in told
        )
        assert "need not be encrypted, down to hmac-sha-1-96/null (gm.floor)" in told


async def test_phones_that_nothing_protects_are_counted(tmp_path: Path) -> None:
    async with watched(tmp_path, access="aka-without-ipsec") as (net, made):
        await net.registered("alice", gm=False)
        await net.registered("bob")
        assert await weak(made) == {"access.policy": (1, 0)}


async def test_a_network_with_nothing_weak_says_nothing_of_it(tmp_path: Path) -> None:
    async with watched(tmp_path) as (net, made):
        await net.registered("alice")
        assert await weak(made) == {}
        assert "weak" not in (await made("status")).output
