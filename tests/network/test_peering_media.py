"""A call between two operators whose media goes through both borders, from IPv4 phones to IPv6 phones."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from redoubt.events import Bug
from redoubt.phone.call import Call
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.sip.stack import Stack

from .client import Card
from .home import Home
from .peering import Operator, running, until

INSIDE = {"alpha": "127.1.0.2", "beta": "::1"}


class Talking(Operator):
    """An operator whose border relays media; Beta's inside has IPv6 alone."""

    def tree(self) -> dict[str, Any]:
        inside = INSIDE[self.name]
        host = f"[{inside}]" if ":" in inside else inside
        return {
            **super().tree(),
            "p-cscf": {"listen": [f"udp:{host}:0"], "core": [f"udp:127.{self.number}.0.2:0"]},
            "media": {"inside": [inside], "outside": [f"127.{self.number}.0.1"]},
        }

    async def phone(self, name: str) -> Phone:
        """A registered phone with a voice."""
        net: Home = self.net
        card = Card.of(name, self.realm)
        context = net.network.context.named(name)
        host, port = net.network.p_cscf_address
        place = f"[{host}]" if ":" in host else host
        identity = PhoneIdentity(card.impi, (card.impu,), self.realm, card.isim)
        phone = Phone(context, identity, Stack(context), f"sip:{place}:{port}")
        await phone.open(f"udp:{place}:0")
        await phone.line.find_voice()
        assert (await phone.register()).registered, net.why()
        return phone


def pair(folder: Path, **options: Any) -> tuple[Talking, Talking]:
    alpha, beta = Talking.of(folder, "alpha", 1), Talking.of(folder, "beta", 2)
    assert isinstance(alpha, Talking) and isinstance(beta, Talking)
    alpha.agrees(beta, media="relay", **options)
    beta.agrees(alpha, media="relay", **options)
    return alpha, beta


def heard(call: Call) -> int:
    assert call.voice is not None
    return call.voice.tones


@pytest.mark.parametrize("mode", ["proxy", "b2bua"])
async def test_phones_of_two_operators_hear_each_other_through_both_borders_and_ip_versions(
    tmp_path: Path, mode: str
) -> None:
    alpha, beta = pair(tmp_path, mode=mode)
    async with running(alpha, beta):
        alice, bob = await alpha.phone("alice"), await beta.phone("bob")
        call = await alice.call(f"sip:bob@{beta.realm}")
        assert call.status == 200, (alpha.refusals(), beta.refusals())
        theirs = bob.incoming.get_nowait()
        await until(lambda: heard(call) > 20 and heard(theirs) > 20)
        assert call.media.far is not None and call.media.far[0] == INSIDE["alpha"], "of Beta Alice learns nothing"
        assert theirs.media.far is not None and theirs.media.far[0] == INSIDE["beta"]
        assert await theirs.hold()
        await asyncio.sleep(0.1)
        before = heard(theirs)
        await asyncio.sleep(0.2)
        assert heard(theirs) == before and await theirs.resume()
        await until(lambda: heard(theirs) > before + 5)
        await theirs.hang_up()
        await call.ended()
        for operator in (alpha, beta):
            relay = operator.net.network.relay
            assert relay is not None
            await until(lambda relay=relay: not any(relay.table_sizes().values()))  # type: ignore[misc]
            assert relay.foreign == 0 and not operator.net.events(Bug)
        for phone in (alice, bob):
            await phone.close()


async def test_without_the_relay_an_ipv6_phone_and_an_ipv4_phone_do_not_hear_each_other(tmp_path: Path) -> None:
    alpha, beta = Talking.of(tmp_path, "alpha", 1), Talking.of(tmp_path, "beta", 2)
    assert isinstance(alpha, Talking) and isinstance(beta, Talking)
    alpha.agrees(beta)
    beta.agrees(alpha)
    async with running(alpha, beta):
        alice, bob = await alpha.phone("alice"), await beta.phone("bob")
        call = await alice.call(f"sip:bob@{beta.realm}")
        await asyncio.sleep(0.3)
        assert call.status == 200 and heard(call) == 0 and heard(bob.incoming.get_nowait()) == 0
        await call.hang_up()
        for phone in (alice, bob):
            await phone.close()
