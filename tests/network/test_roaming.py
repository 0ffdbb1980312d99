"""Roaming over TLS between two borders (TS 24.229 5.2, 5.10; TS 33.203 6.1): the visited network serves the phone,
and its home decides about it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from redoubt.events import Deregistered, Refused
from redoubt.phone.phone import Phone

from .peering import MONTH, NOW, Operator, running, until
from .roaming import ROAMING, Protected, phone_at, registered_at, talk, unbroken
from .test_peering_certificates import spoken

Attack = Callable[[Path, list[str]], Awaitable[bool]]
AGAINST: dict[str, Attack] = {}
LEAVES = (
    "REGISTER sip:alpha.example SIP/2.0\r\nVia: SIP/2.0/TLS 127.3.0.1;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n"
    "From: <sip:alice@alpha.example>;tag=1\r\nTo: <sip:alice@alpha.example>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
    "Contact: *\r\nExpires: 0\r\nPath: <sip:pcscf.beta.example;lr>\r\nRequire: path\r\n"
    "P-Visited-Network-ID: {visited}\r\n"
    'Authorization: Digest username="alice@alpha.example",realm="alpha.example",uri="sip:alpha.example",nonce="",'
    'response="",integrity-protected="yes"\r\nContent-Length: 0\r\n\r\n'
)


def against(protection: str) -> Callable[[Attack], Attack]:
    def keep(attack: Attack) -> Attack:
        AGAINST[protection] = attack
        return attack

    return keep


def roaming_pair(folder: Path, **options: object) -> tuple[Operator, Operator]:
    """Alpha, whose users may roam as the options say, and Beta, where they are."""
    home, visited = Protected.of(folder, "alpha", 1), Protected.of(folder, "beta", 2)
    home.agrees(visited, **{**ROAMING, **options})
    visited.agrees(home, **ROAMING)
    home.roaming = (visited.realm,)
    return home, visited


def contacts(home: Operator, phone: Phone) -> int:
    """How many of a phone's user the home network has."""
    assert home.net.network.s_cscf is not None
    return len(home.net.network.s_cscf.registrations.contacts(phone.identity.impu, asyncio.get_running_loop().time()))


def table(operator: Operator, name: str) -> int:
    return operator.net.network.table_sizes()[name]


async def test_a_phone_registers_abroad_is_called_calls_and_deregisters(tmp_path: Path) -> None:
    home, visited = roaming_pair(tmp_path)
    async with running(home, visited):
        alice = await registered_at(visited, "alice", home)
        carol, bob = await registered_at(home, "carol", home), await registered_at(visited, "bob", visited)
        for caller, callee in ((carol, alice), (alice, carol), (bob, alice), (alice, bob)):
            await talk(caller, callee)
        assert (await alice.message(bob.identity.impu, "here")).status == 200
        assert alice.line.gm is not None and alice.line.gm.carrier() is not None
        result = await alice.deregister()
        assert result.status == 200 and not alice.registration.holds
        call = await carol.call(alice.identity.impu)
        assert call.status in (404, 480), call.status
        await until(lambda: table(visited, "p-cscf bindings") == 1)
        unbroken(home, visited)


async def test_a_phone_on_the_host_of_a_node_registers_abroad_as_any_other(tmp_path: Path) -> None:
    """As in a lab on one machine: the phone finds its own Contact in the 200."""
    home, visited = roaming_pair(tmp_path)
    async with running(home, visited):
        alice, carol = await phone_at(visited, "alice", home, "127.2.0.2"), await registered_at(home, "carol", home)
        assert (await alice.register(3600)).registered
        await talk(carol, alice)
        await talk(alice, carol)
        unbroken(home, visited)


async def test_the_home_network_deregisters_and_phone_and_visited_network_hear_of_it(tmp_path: Path) -> None:
    """TS 24.229 5.4.1.5, 5.2.5.2: reg-event crosses the border to the phone and to the visited P-CSCF."""
    home, visited = roaming_pair(tmp_path)
    async with running(home, visited):
        alice = await registered_at(visited, "alice", home)
        await alice._watch()
        assert alice.subscription is not None
        await asyncio.wait_for(alice.subscription.heard.wait(), 10)
        await until(lambda: visited.net.network.table_sizes()["p-cscf subscriptions"] == 1)
        await home.net.hss.administration.deregister("sip:alice@alpha.example")
        await until(lambda: not alice.registration.holds)
        assert [event.cause for event in home.net.events(Deregistered)] == ["network"]
        assert contacts(home, alice) == 0
        assert visited.net.network.p_cscf is not None
        bindings = visited.net.network.p_cscf.bindings
        await until(lambda: all(each.is_ending for each in bindings.of_impu(alice.identity.impu)))
        unbroken(home, visited)


async def test_the_home_network_asks_for_a_new_proof_and_gets_it(tmp_path: Path) -> None:
    """TS 33.203 6.1.4, TS 24.229 5.4.1.6: the NOTIFY shortens the registration, and the phone authenticates again."""
    home, visited = roaming_pair(tmp_path)
    async with running(home, visited):
        alice = await registered_at(visited, "alice", home, renews=True)
        await alice._watch()
        assert alice.subscription is not None
        await asyncio.wait_for(alice.subscription.heard.wait(), 10)
        assert home.net.network.s_cscf is not None and alice.line.gm is not None
        before = alice.line.gm.carrier()
        assert home.net.network.s_cscf.require_authentication(alice.identity.impu)
        await until(lambda: alice.line.gm is not None and alice.line.gm.carrier() is not before)
        await until(lambda: contacts(home, alice) == 1)
        again = await alice.register(3600)
        assert again.registered and again.outcomes == ("Success",), "each registration is proved by AKA"
        unbroken(home, visited)


@pytest.mark.parametrize("missing", ["agreement", "network", "peering only", "visitors"])
async def test_without_an_agreement_a_phone_is_refused_and_an_event_says_why(tmp_path: Path, missing: str) -> None:
    """Row 83, and either side's own will: 403, and the card was never asked."""
    networks = {"agreement": [], "network": ["elsewhere.example"], "peering only": [], "visitors": ["beta.example"]}
    home, visited = roaming_pair(tmp_path, **{"visited-networks": networks[missing]})
    if missing == "visitors":
        visited.partners[0]["serves-visitors"] = False
    async with running(home, visited):
        alice = await phone_at(visited, "alice", home)
        result = await alice.register(3600)
        assert (result.status, result.outcomes) == (403, ())
        refusing = visited if missing == "visitors" else home
        said = {"network": "names beta.example as visited network", "visitors": "no roaming agreement"}
        (event,) = [event for event in refusing.net.events(Refused) if event.status == 403 and event.node == "ibcf"]
        assert said.get(missing, "has no roaming agreement for our users") in event.why
        assert not table(visited, "p-cscf bindings")
        unbroken(home, visited)


async def test_where_the_hss_forbids_it_a_user_does_not_roam(tmp_path: Path) -> None:
    """The agreement of operators lets a network serve; which users go there, their subscriptions say (row 108)."""
    home, visited = roaming_pair(tmp_path)
    home.roaming = ("elsewhere.example",)
    async with running(home, visited):
        alice = await phone_at(visited, "alice", home)
        result = await alice.register(3600)
        assert (result.status, result.outcomes) == (403, ())
        unbroken(home, visited)


async def test_a_phone_proves_itself_to_its_home_whatever_the_visited_network_says(tmp_path: Path) -> None:
    """The visited network alone, without the card, gets a challenge that it can't answer (TS 33.203 6.1)."""
    home, visited = roaming_pair(tmp_path)
    async with running(home):
        register = LEAVES.format(visited="beta.example").replace("Contact: *", "Contact: <sip:alice@127.2.0.9>")
        answer = await spoken(visited, home, "border", register.replace("Expires: 0", "Expires: 600"))
        assert answer.startswith(b"SIP/2.0 401"), answer
        assert home.net.network.s_cscf is not None
        assert not home.net.network.s_cscf.registrations.contacts("sip:alice@alpha.example", 0.0)


@against("challenge-elsewhere")
async def a_third_network_deregisters_a_roaming_user(folder: Path, off: list[str]) -> bool:
    """Gamma has a roaming agreement too, and says that Alice, who is at Beta, wants to leave, and that it knows so."""
    home, visited = roaming_pair(folder)
    gamma = Protected.of(folder, "gamma", 3)
    home.agrees(gamma, **{**ROAMING, "visited-networks": ["gamma.example"]})
    gamma.agrees(home, **ROAMING)
    home.pki.write_revocations(NOW, MONTH, [each.pki.path / "own.crl" for each in (visited, gamma)])
    async with running(home, visited, test={"protections-off": off}):
        alice = await registered_at(visited, "alice", home)
        answer = await spoken(gamma, home, "border", LEAVES.format(visited="gamma.example"))
        assert answer[8:11] in (b"200", b"401"), answer
        return not contacts(home, alice)


@pytest.mark.parametrize("protection", AGAINST)
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
async def test_an_attack_succeeds_only_without_its_protection(tmp_path: Path, protection: str, on: bool) -> None:
    assert await AGAINST[protection](tmp_path, [] if on else [protection]) is not on
