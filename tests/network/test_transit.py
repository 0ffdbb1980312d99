"""A transit hub (TS 24.229 5.10, TS 33.210): Alpha and Beta have no agreement with each other, and both have one with
the hub. It sees all signalling, and serves those whom its agreements name."""

from pathlib import Path

import pytest

from redoubt.events import Bug, Event, MessageSeen, Refused
from redoubt.network.partners import partner_rows
from redoubt.network.weaknesses import weak_choices

from .calls import AS_SDP, SDP, call
from .client import Card, Client
from .peering import MONTH, NOW, Operator, running


def unbroken(*operators: Operator) -> None:
    for operator in operators:
        assert not operator.net.events(Bug), operator.net.events(Bug)[0].traceback


def through_hub(folder: Path, *, back: bool = True) -> tuple[Operator, Operator, Operator]:
    """Alpha, Beta and the hub; `back`: Beta may use it too."""
    alpha, beta, hub = (Operator.of(folder, name, number) for number, name in enumerate(("alpha", "beta", "hub"), 1))
    alpha.agrees(hub, **{"transit-to": [beta.realm]})
    beta.agrees(hub, **{"transit-to": [alpha.realm]})
    hub.agrees(alpha, **{"transit-for": ["beta"]})
    hub.agrees(beta, **({"transit-for": ["alpha"]} if back else {}))
    hub.pki.write_revocations(NOW, MONTH, [each.pki.path / "own.crl" for each in (alpha, beta)])
    return alpha, beta, hub


class Heard:
    """What a border says and hears on wires."""

    def __init__(self, operator: Operator) -> None:
        self.texts: list[str] = []
        operator.net.network.context.events.trace(self._happened)

    def _happened(self, event: Event) -> None:
        if isinstance(event, MessageSeen) and event.transport == "tls":
            self.texts.append(event.text)

    @property
    def all(self) -> str:
        return "".join(self.texts)


async def message(sender: Client, receiver: Client) -> int:
    request = sender.make("MESSAGE", receiver.card.impu)
    sender.send(request)
    receiver.respond(await receiver.request("MESSAGE"), 200)
    return (await sender.final(request)).status


async def test_networks_without_an_agreement_call_each_other_through_a_hub(tmp_path: Path) -> None:
    alpha, beta, hub = through_hub(tmp_path)
    async with running(alpha, beta, hub):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        for caller, callee in ((alice, bob), (bob, alice)):
            assert await message(caller, callee) == 200
            for hangs_up in ("caller", "callee"):
                made = await call(caller, callee)
                assert await made.lives()
                first, other = (caller, callee) if hangs_up == "caller" else (callee, caller)
                bye = made.from_caller("BYE", 60) if hangs_up == "caller" else made.from_callee("BYE", 60)
                first.send(bye)
                other.respond(await other.request("BYE"), 200)
                assert (await first.final(bye)).status == 200
        unbroken(alpha, beta, hub)


async def test_the_hub_reads_all_signalling_and_no_name_of_a_node(tmp_path: Path) -> None:
    """Protection goes from hop to hop: identities and media are open to the hub, topology to nobody (TS 33.210 5)."""
    alpha, beta, hub = through_hub(tmp_path)
    async with running(alpha, beta, hub):
        at_hub, at_beta = Heard(hub), Heard(beta)
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        await call(alice, bob)
        for told in ("sip:alice@alpha.example", "sip:bob@beta.example", "m=audio", "P-Asserted-Identity"):
            assert told in at_hub.all
        hidden = ("scscf.alpha", "pcscf.alpha", "icscf.alpha", "scscf.beta", "pcscf.beta", "127.1.0.2", "127.2.0.2")
        assert not [name for name in hidden if name in at_hub.all]
        assert not [name for name in ("scscf.alpha", "pcscf.alpha", "127.3.0.2") if name in at_beta.all]


async def test_status_and_partners_say_plainly_what_a_hub_sees(tmp_path: Path) -> None:
    alpha, beta, hub = through_hub(tmp_path)
    async with running(alpha, beta, hub):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        assert await message(alice, bob) == 200
        [used] = [weak for weak in weak_choices(alpha.net.network) if weak.option == "partners.hub.transit-to"]
        assert "the hub hub reads all signalling with beta.example" in used.what and used.made == 1
        told = [weak.what for weak in weak_choices(hub.net.network)]
        assert any("reads all signalling from alpha to beta" in what for what in told)
        [row] = partner_rows(alpha.net.network)
        assert "hub to beta.example, reads all of it" in row.relation
        assert any("and read all of it" in said for row in partner_rows(hub.net.network) for said in row.relation)


async def test_a_phone_roams_through_a_hub(tmp_path: Path) -> None:
    """Alpha's agreement with the hub names Beta's network; the hub's with Beta does, too (row 83)."""
    alpha, beta, hub = through_hub(tmp_path)
    alpha.roaming = (beta.realm,)
    alpha.partners[0]["visited-networks"] = hub.partners[1]["visited-networks"] = [beta.realm]
    beta.partners[0]["serves-visitors"] = hub.partners[0]["serves-visitors"] = True
    async with running(alpha, beta, hub):
        carol = await alpha.net.registered("carol")
        alice = await beta.net.registered("alice", card=Card.of("alice", alpha.realm))
        for caller, callee in ((alice, carol), (carol, alice)):
            assert await message(caller, callee) == 200
            assert await (await call(caller, callee)).lives()
        unbroken(alpha, beta, hub)


# ---- who may not


async def answered(caller: Client, target: str, *more: tuple[str, str]) -> int:
    return (await caller.ask(caller.make("INVITE", target, None, AS_SDP, *more, body=SDP))).status


async def test_who_is_not_named_in_an_agreement_gets_nothing_forwarded(tmp_path: Path) -> None:
    """Beta may be called through the hub and may not call; an established call is Beta's as much as Alpha's."""
    alpha, beta, hub = through_hub(tmp_path, back=False)
    async with running(alpha, beta, hub):
        alice, bob = await alpha.net.registered("alice"), await beta.net.registered("bob")
        assert await answered(bob, alice.card.impu) >= 400
        assert await alice.hears_nothing()
        assert "beta may not reach alpha through this network" in hub.refusals()
        made = await call(alice, bob)
        bye = made.from_callee("BYE", 60)
        bob.send(bye)
        alice.respond(await alice.request("BYE"), 200)
        assert (await bob.final(bye)).status == 200


@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
async def test_a_hub_is_abused_only_without_its_protection(tmp_path: Path, on: bool) -> None:
    """Gamma has an agreement with the hub, for calls with the hub's own users: to Alpha it would be the hub's word."""
    alpha, _, hub = through_hub(tmp_path)
    gamma = Operator.of(tmp_path, "gamma", 4)
    gamma.agrees(hub, **{"transit-to": ["*"]})
    hub.agrees(gamma)
    hub.pki.write_revocations(NOW, MONTH, [each.pki.path / "own.crl" for each in (alpha, gamma)])
    off = [] if on else ["border-relay"]
    async with running(alpha, hub, gamma, test={"protections-off": off}):
        alice, mallory = await alpha.net.registered("alice"), await gamma.net.registered("bob")
        mallory.send(mallory.make("MESSAGE", alice.card.impu))
        if not on:
            assert "bob@gamma.example" in ((await alice.request("MESSAGE")).get("P-Asserted-Identity") or "")
            return
        assert await alice.hears_nothing(0.5)
        assert [event.why for event in hub.net.events(Refused) if event.status == 403] == [
            "gamma may not reach alpha through this network"
        ]


async def test_a_hub_forwards_to_its_partners_only(tmp_path: Path) -> None:
    """Never on to another hub, nor to where nobody leads."""
    alpha, beta, hub = through_hub(tmp_path)
    alpha.partners[0]["transit-to"] = ["*"]
    async with running(alpha, beta, hub):
        alice = await alpha.net.registered("alice")
        for target in ("sip:carol@gamma.example", "sip:carol@hub.example.evil.example", "sip:x@ibcf.hub.example"):
            assert await answered(alice, target) >= 400
        assert all(partner.requests_out == 0 for partner in hub.net.network.border.partners)  # type: ignore[union-attr]
