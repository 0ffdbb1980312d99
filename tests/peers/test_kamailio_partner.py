"""Kamailio as a partner over mutual TLS: calls both ways, as a plain SIP network and within the trust domain.

What it is told and believed follows from the agreement, not from what it says; and who shows a certificate that the
other side does not believe reaches nobody, whichever side that is (rows 53, 64, 79).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.network.calls import AS_SDP, SDP, Call, call
from tests.network.client import Card, Client
from tests.network.peering import MONTH, NOW, Operator, running, until
from tests.network.test_peering import unbroken
from tests.network.test_peering_topology import Link

from redoubt.ndm.pki import Names

from .kamailio_partner import Foreign, lacks

pytestmark = pytest.mark.skipif(bool(lacks()), reason=lacks())
FORGED = (
    ("P-Asserted-Identity", "<sip:chief@gamma.example>"),
    ("P-Charging-Vector", "icid-value=forged;orig-ioi=gamma.example"),
    ("P-Charging-Function-Addresses", "ccf=192.0.2.1"),
)


def operators(folder: Path, **options: str) -> tuple[Operator, Foreign]:
    """Alpha, which is ours, and Gamma, whose proxy is Kamailio."""
    alpha, gamma = Operator.of(folder, "alpha", 1), Foreign.of(folder, "gamma", 3)
    alpha.agrees(gamma, **options)
    gamma.agrees(alpha)
    return alpha, gamma


@asynccontextmanager
async def joined(folder: Path, alpha: Operator, gamma: Foreign) -> AsyncIterator[tuple[Client, Client]]:
    """Both run; Alice of the one, and Bob of the other, whom Kamailio knows where to find."""
    with gamma.proxy(folder, alpha):
        async with running(alpha):
            bob = await Client.open(Card.of("bob", gamma.realm), gamma.inside, f"127.{gamma.number}.0.9")
            alpha.net.clients.append(bob)
            assert (await bob.ask(bob.register())).status == 200
            yield await alpha.net.registered("alice"), bob
            unbroken(alpha)


async def hangs_up(made: Call, *, caller: bool) -> None:
    first, other = (made.caller, made.callee) if caller else (made.callee, made.caller)
    bye = made.from_caller("BYE", 60) if caller else made.from_callee("BYE", 60)
    first.send(bye)
    other.respond(await other.request("BYE"), 200)
    assert (await first.final(bye)).status == 200


@pytest.mark.parametrize("options", [{"kind": "sip"}, {"kind": "ims"}, {"kind": "sip", "mode": "b2bua"}], ids=str)
async def test_users_call_each_other_and_no_node_is_named(tmp_path: Path, options: dict[str, str]) -> None:
    alpha, gamma = operators(tmp_path, **options)
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        link = Link(alpha)
        for caller, callee in ((alice, bob), (bob, alice)):
            for by_caller in (True, False):
                made = await call(caller, callee)
                assert await made.lives()
                asked = made.from_callee("INFO", 20)
                callee.send(asked)
                caller.respond(await caller.request("INFO"), 200)
                assert (await callee.final(asked)).status == 200
                await hangs_up(made, caller=by_caller)
        assert len(link.messages) >= 40 and not link.leaks()
        (partner,) = alpha.net.network.border.partners  # type: ignore[union-attr]
        assert partner.requests_in >= 10 and partner.requests_out >= 10 and not partner.refusals
        await until(lambda: not any(alpha.net.network.border.ibcf.table_sizes().values()))  # type: ignore[union-attr]


async def test_a_call_is_given_up_and_refused_on_both_sides(tmp_path: Path) -> None:
    alpha, gamma = operators(tmp_path, kind="sip")
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        for caller, callee in ((alice, bob), (bob, alice)):
            invite = caller.make("INVITE", callee.card.impu, None, AS_SDP, body=SDP)
            caller.send(invite)
            ringing = await callee.request("INVITE")
            callee.respond(ringing, 180)
            await caller.take(lambda message: getattr(message, "status", 0) == 180)
            cancel = caller.make("CANCEL", invite.uri)
            for name in ("Via", "From", "To", "Call-ID"):
                cancel.set(name, invite.get(name) or "")
            cancel.set("CSeq", "1 CANCEL")
            caller.send(cancel)
            callee.respond(await callee.request("CANCEL"), 200)
            callee.respond(ringing, 487)
            assert (await caller.final(invite)).status == 487
        absent = alice.make("INVITE", f"sip:nobody@{gamma.realm}", None, AS_SDP, body=SDP)
        assert (await alice.ask(absent)).status == 404
        absent = bob.make("INVITE", f"sip:nobody@{alpha.realm}", None, AS_SDP, body=SDP)
        assert (await bob.ask(absent)).status == 404


@pytest.mark.parametrize("kind", ["sip", "ims"])
async def test_identity_and_charging_pass_as_the_agreement_says(tmp_path: Path, kind: str) -> None:
    """RFC 3325 5, TS 24.229 4.4: within the trust domain, and not beyond it."""
    alpha, gamma = operators(tmp_path, kind=kind)
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        alice.send(alice.make("MESSAGE", bob.card.impu, None, ("User-Agent", "its build")))
        told = await bob.request("MESSAGE")
        bob.respond(told, 200)
        assert told.has("P-Asserted-Identity") is told.has("P-Charging-Vector") is (kind == "ims")
        assert "ibcf.alpha.example" in (told.get("P-Charging-Vector") or "ibcf.alpha.example")
        assert not told.has("User-Agent")
        bob.send(bob.make("MESSAGE", alice.card.impu, None, *FORGED))
        believed = await alice.request("MESSAGE")
        alice.respond(believed, 200)
        assert ("chief" in (believed.get("P-Asserted-Identity") or "")) is (kind == "ims")
        assert not believed.has("P-Charging-Function-Addresses")


async def nobody_is_reached(alice: Client, bob: Client, status: int = 500) -> None:
    """Neither of the other, and the one hears why not."""
    assert (await alice.ask(alice.make("MESSAGE", bob.card.impu))).status >= status
    bob.send(bob.make("MESSAGE", alice.card.impu))
    for unheard in (alice, bob):
        with pytest.raises(TimeoutError):
            await unheard.request("MESSAGE", 0.5)


async def test_who_proves_another_name_reaches_nobody(tmp_path: Path) -> None:
    """Gamma's authority is believed, and it certifies a name that no agreement has."""
    alpha, gamma = operators(tmp_path)
    gamma.pki.issue("odd", Names(("other.gamma.example",)), NOW, MONTH)
    gamma.shown = "odd"
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        await nobody_is_reached(alice, bob)
        assert sum("other.gamma.example" in why for why in alpha.refusals()) >= 2, "opened by us, and by Kamailio"


async def test_whose_authority_nobody_knows_reaches_nobody(tmp_path: Path) -> None:
    """Kamailio shows a certificate of another authority's."""
    alpha, gamma = operators(tmp_path)
    stranger = Operator.of(tmp_path, "delta", 4)
    stranger.pki.issue("border", Names((gamma.realm,)), NOW, MONTH)
    for file in ("border.pem", "border.key"):
        (gamma.pki.path / file).write_bytes((stranger.pki.path / file).read_bytes())
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        await nobody_is_reached(alice, bob)
        await until(lambda: sum("unknown authority" in why for why in alpha.refusals()) >= 2)


@pytest.mark.parametrize("said", ["does not know who signed our certificate", "revoked"])
async def test_kamailio_takes_nothing_from_us_without_a_certificate_that_it_believes(tmp_path: Path, said: str) -> None:
    alpha, gamma = Operator.of(tmp_path, "alpha", 1), Foreign.of(tmp_path, "gamma", 3)
    alpha.agrees(gamma)
    if said == "revoked":
        gamma.agrees(alpha)
        alpha.pki.revoke("border", NOW)
        alpha.pki.write_revocations(NOW, MONTH, [gamma.pki.path / "own.crl"])
        gamma.learns_revocations(alpha)
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        await nobody_is_reached(alice, bob)
        assert sum(said in why for why in alpha.refusals()) >= 2, alpha.refusals()


async def test_kamailio_is_not_deceived_by_another_name_of_our_authority(tmp_path: Path) -> None:
    alpha, gamma = operators(tmp_path)
    alpha.pki.issue("border", Names(("other.alpha.example",)), NOW, MONTH)
    async with joined(tmp_path, alpha, gamma) as (alice, bob):
        assert (await alice.ask(alice.make("MESSAGE", bob.card.impu))).status == 403
