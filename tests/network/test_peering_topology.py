"""What two networks say to each other over a day of calls and roaming: nothing in it names a node (rows 79 to 81)."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from redoubt.border.hiding_keys import read_ring, rotated, write_ring
from redoubt.events import Bug, Event, MessageSeen
from redoubt.network.weaknesses import weak_choices
from redoubt.sources import SystemRandomness

from .calls import Call, call
from .client import Card, Client
from .peering import Operator, pair_of, running

NODES = re.compile(r"[\w.-]*\.(?:alpha|beta)\.example|127\.[12]\.0\.2")
PUBLIC = {"ibcf.alpha.example", "ibcf.beta.example"}
ROAMING = {"serves-visitors": True, "visited-networks": ["alpha.example", "beta.example"]}


class Hiding(Operator):
    """Hides in the way that the test says."""

    mode = "gcm"

    def tree(self) -> dict[str, Any]:
        tree = super().tree()
        tree["ibcf"]["hiding"] = self.mode
        return tree


class Link:
    """What crosses between the borders."""

    def __init__(self, *operators: Operator) -> None:
        self.messages: list[str] = []
        for operator in operators:
            operator.net.network.context.events.trace(self._heard)

    def _heard(self, event: Event) -> None:
        if isinstance(event, MessageSeen) and event.transport == "tls" and event.node == "ibcf":
            self.messages.append(event.text)

    def leaks(self) -> set[str]:
        return {name for text in self.messages for name in NODES.findall(text)} - PUBLIC


async def message(sender: Client, receiver: Client) -> None:
    request = sender.make("MESSAGE", receiver.card.impu)
    sender.send(request)
    receiver.respond(await receiver.request("MESSAGE"), 200)
    assert (await sender.final(request)).status == 200


async def hang_up(sender: Client, receiver: Client, made: Call, *, caller: bool) -> None:
    bye = made.from_caller("BYE", 60) if caller else made.from_callee("BYE", 60)
    sender.send(bye)
    receiver.respond(await receiver.request("BYE"), 200)
    assert (await sender.final(bye)).status == 200


@pytest.mark.parametrize("hiding", ["gcm", "cbc"])
async def test_nothing_between_two_networks_names_a_node(tmp_path: Path, hiding: str) -> None:
    alpha, beta = Hiding.of(tmp_path, "alpha", 1), Hiding.of(tmp_path, "beta", 2)
    for one, other in ((alpha, beta), (beta, alpha)):
        one.agrees(other, **ROAMING)
        one.mode = hiding
    alpha.roaming = (beta.realm,)
    async with running(alpha, beta):
        link = Link(alpha, beta)
        bob, carol = await beta.net.registered("bob"), await alpha.net.registered("carol")
        roaming = await beta.net.registered("alice", card=Card.of("alice", alpha.realm))
        await asyncio.sleep(0.2)  # the visited P-CSCF watches the registration at home
        for caller, callee in ((carol, bob), (bob, carol), (roaming, carol), (carol, roaming), (bob, roaming)):
            await message(caller, callee)
            made = await call(caller, callee)
            await hang_up(callee, caller, made, caller=False)
        absent = carol.make("INVITE", beta.net.impu("nobody"))
        assert (await carol.ask(absent)).status == 404
        assert len(link.messages) > 100 and not link.leaks()
        assert any(text.startswith("NOTIFY") for text in link.messages)
        for operator in (alpha, beta):
            assert not operator.net.events(Bug), operator.net.events(Bug)[0].traceback
            assert operator.net.network.border is not None
            assert operator.net.network.border.ibcf.table_sizes() == {"calls": 0, "dialogs": 0}


async def test_keys_are_rotated_during_a_call_and_both_hang_up(tmp_path: Path) -> None:
    alpha, beta = pair_of(tmp_path)
    async with running(alpha, beta):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        first, second = await call(alice, bob), await call(bob, alice)
        for operator in (alpha, beta):
            path = operator.net.directory / "hiding.keys"
            write_ring(path, rotated(read_ring(path), SystemRandomness(), time.time()), replace=True)
        await asyncio.sleep(1.1)
        await hang_up(bob, alice, first, caller=False)
        await hang_up(alice, bob, second, caller=False)
        await hang_up(alice, bob, await call(alice, bob), caller=True)


@pytest.mark.parametrize("options", [{"mode": "b2bua"}, {"mode": "b2bua", "media": "relay"}])
async def test_calls_between_networks_whose_dialogs_end_at_the_border(tmp_path: Path, options: dict[str, str]) -> None:
    alpha, beta = pair_of(tmp_path, **options)
    async with running(alpha, beta):
        link = Link(alpha, beta)
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        await message(alice, bob)
        for caller, callee in ((alice, bob), (bob, alice)):
            for by_caller in (True, False):
                made = await call(caller, callee)
                assert await made.lives()
                assert made.invite.call_id != made.accepted.call_id
                first, other = (caller, callee) if by_caller else (callee, caller)
                await hang_up(first, other, made, caller=by_caller)
        assert not link.leaks()
        for operator in (alpha, beta):
            assert not operator.net.events(Bug), operator.net.events(Bug)[0].traceback
            assert operator.net.network.border is not None
            assert operator.net.network.border.ibcf.table_sizes() == {"calls": 0, "dialogs": 0}


async def test_calls_between_networks_that_hide_nothing(tmp_path: Path) -> None:
    alpha, beta = Hiding.of(tmp_path, "alpha", 1), Hiding.of(tmp_path, "beta", 2)
    for one, other in ((alpha, beta), (beta, alpha)):
        one.agrees(other, **ROAMING)
        one.mode = "off"
    alpha.roaming = (beta.realm,)
    async with running(alpha, beta):
        link = Link(alpha, beta)
        bob = await beta.net.registered("bob")
        roaming = await beta.net.registered("alice", card=Card.of("alice", alpha.realm))
        for caller, callee in ((roaming, bob), (bob, roaming)):
            await hang_up(callee, caller, await call(caller, callee), caller=False)
        assert link.leaks()
        assert "ibcf.hiding" in [choice.option for choice in weak_choices(alpha.net.network)], "status says so"
