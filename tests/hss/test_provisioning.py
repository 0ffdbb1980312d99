"""Subscribers from fields and files, and what a person is told when one is wrong."""

from pathlib import Path

import pytest

from redoubt.config import HssConfig
from redoubt.diameter.cx import InitialFilterCriterion, PublicIdentity, ServiceProfile
from redoubt.hss.hss import Hss
from redoubt.hss.keys import create_key, write_key_file
from redoubt.hss.provisioning import described, offline, subscriber_of
from redoubt.hss.records import ImplicitSet
from redoubt.hss.subscriber import PrivateIdentity, ProvisioningError, Subscriber, provisioned_of
from redoubt.secret import Secret
from redoubt.sources import SeededRandomness

from .conftest import ALICE, ALICE_IMPU, OPC, REALM, S1, K, open_hss

OP = bytes.fromhex("cdc202d5123e20f62b6d676ac72cb318")  # of TS 35.208 test set 1, as K and OPC
GOOD = {"impi": "dora@home.example", "k": K.hex(), "opc": OPC.hex(), "impus": "sip:dora@home.example tel:+1-555"}
LONG = [f"u{n}@home.example,{K.hex()},{OPC.hex()},sip:u{n}@home.example" for n in range(300)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"impi": ""}, "impi"),
        ({"impi": "sip:dora@home.example"}, "impi"),
        ({"k": "zz"}, "k"),
        ({"k": "00"}, "k"),
        ({"opc": ""}, "opc"),
        ({"op": OP.hex()}, "opc"),
        ({"algorithm": "comp128"}, "algorithm"),
        ({"amf": "80"}, "amf"),
        ({"sqn": "1" + 12 * "0"}, "sqn"),
        ({"impus": "dora"}, "impus"),
        ({"impus": "sip:home.example"}, "impus"),
        ({"barred": "sip:other@home.example"}, "barred"),
        ({"impus": "sip:d@home.example sip:d@HOME.example;x=y"}, "impus"),
        ({"capabilities": "one"}, "capabilities"),
        ({"wildcards": ["sip:room(a+)+!x"]}, "wildcard"),
        ({"wildcards": ["sip:room!(a+)+!@home.example"]}, "wildcard"),
        ({"wildcards": ["sip:room!.*.*.*!@home.example"]}, "wildcard"),
        ({"colour": "red"}, "colour"),
        ({"criteria": [{"priority": "high"}]}, "criteria"),
    ],
)
async def test_a_wrong_field_is_named(hss: Hss, change: dict[str, object], field: str) -> None:
    with pytest.raises(ProvisioningError) as refused:
        await hss.administration.add([subscriber_of({**GOOD, **change})])
    assert refused.value.field == field
    assert K.hex() not in str(refused.value)


async def test_op_gives_the_same_vectors_as_its_opc(tmp_path: Path) -> None:
    made = []
    for name, private in (
        ("op", PrivateIdentity(ALICE, Secret(K), op=Secret(OP))),
        ("opc", PrivateIdentity(ALICE, Secret(K), opc=Secret(OPC))),
    ):
        (tmp_path / name).mkdir()
        hss = open_hss(tmp_path / name)
        await hss.administration.add([Subscriber.simple(private, ALICE_IMPU)])
        vector = (await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)).vectors[0]
        made.append((vector.rand, vector.autn))
        await hss.close()
    assert made[0] == made[1]


async def test_tuak_subscribers_get_tuak_vectors(hss: Hss) -> None:
    fields = {**GOOD, "algorithm": "tuak", "k": "ab" * 32, "opc": "bd" * 32}
    await hss.administration.add([subscriber_of(fields)])
    answer = await hss.multimedia_auth("dora@home.example", "sip:dora@home.example", S1, 1)
    assert len(answer.vectors[0].xres) == 8


async def test_a_public_identity_can_be_given_once(hss: Hss) -> None:
    with pytest.raises(ProvisioningError, match="belongs to another"):
        await hss.administration.add([subscriber_of({**GOOD, "impus": ALICE_IMPU})])
    with pytest.raises(ProvisioningError, match="provisioned already"):
        await hss.administration.add([subscriber_of({**GOOD, "impi": ALICE})])


async def test_show_tells_everything_but_keys(hss: Hss) -> None:
    shown = described(await hss.administration.show("tel:+1-555-0001"))
    assert shown["private"][0]["impi"] == ALICE
    assert list(shown["sets"][0]["impus"]) == [ALICE_IMPU, "tel:+15550001"]
    subscription = await hss.administration.show(ALICE)
    assert subscription.privates[0].sealed.hex() not in repr(subscription) + repr(shown)
    assert "sealed" not in repr(subscription)


async def test_a_conflict_with_the_store_imports_nothing(hss: Hss) -> None:
    fresh = subscriber_of(GOOD)
    with pytest.raises(ProvisioningError):
        await hss.administration.add([fresh, subscriber_of({**GOOD, "impi": "z@home.example", "impus": ALICE_IMPU})])
    assert len([one async for one in hss.administration.subscriptions()]) == 2


async def test_what_a_command_writes_the_running_hss_sees(tmp_path: Path) -> None:
    write_key_file(tmp_path / "hss.key", create_key(SeededRandomness(3)))
    async with offline(tmp_path, HssConfig(), REALM) as running:
        async with offline(tmp_path, HssConfig(), REALM) as command:
            await command.add([subscriber_of(GOOD)])
        assert (await running.show("dora@home.example")).privates[0].impi == "dora@home.example"


def test_filter_criteria_that_an_s_cscf_could_not_read_are_refused_by_name() -> None:
    bad = InitialFilterCriterion(1, "sip:as.home.example", trigger="<TriggerPoint><SPT/></TriggerPoint>")
    profile = ServiceProfile((PublicIdentity(ALICE_IMPU),), (bad,))
    with pytest.raises(ProvisioningError) as caught:
        provisioned_of(Subscriber((), (ImplicitSet((profile,)),)), [ALICE])
    assert caught.value.field == "criteria"
