"""Attacks on Diameter: each succeeds while its protection is off, and fails, with an event, while it is on.

As tests/network/test_attacks.py, for what is decided between Diameter nodes. In virtual time, so that addresses matter.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.config import ConfigError, DiameterPeer
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import CX, SH
from redoubt.diameter.capabilities import plain
from redoubt.diameter.codec import PROXIABLE, DiameterMessage
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import DiameterUnavailable
from redoubt.events import Check, Refused
from redoubt.sim import DeclaredTls, Network, at_host, run
from redoubt.transport.tls import TlsSettings

from .nodes import HSS, REALM, SCSCF, Raw, Station, cer, closed, cscf, hss, lir, raw_lir, result

NODES = frozenset({"10.0.0.1", "10.0.0.2", "10.0.0.3"})
EVIL = "evil.ims.test"
Off = tuple[str, ...]
Attack = Callable[[Network, Off], Awaitable[tuple[bool, Station]]]
ATTACKS: dict[str, list[tuple[str, Attack]]] = {}


def against(protection: str) -> Callable[[Attack], Attack]:
    def enter(attack: Attack) -> Attack:
        ATTACKS.setdefault(protection, []).append((protection, attack))
        return attack

    return enter


async def served(where: str, host: str, introduction: DiameterMessage, request: DiameterMessage) -> bool:
    """Whether somebody at that address gets an answer of success to this request, after this CER."""
    with at_host(host):
        raw = await Raw.dial(where)
    try:
        cea = await raw.ask(introduction)
        if cea.first(d.RESULT_CODE) != 2001:
            return False
        return (await raw.ask(request)).first(d.RESULT_CODE) == 2001
    except AssertionError:  # the connection was closed
        return False
    finally:
        raw.close()


async def server(*peers: str | DiameterPeer, off: Off) -> tuple[Station, str]:
    return await hss(*(peers or (SCSCF,)), host="10.0.0.1", trusted_nodes=NODES, off=off)


# ---- who may speak


@against("diameter-peers")
async def a_stranger_asks_for_a_user(network: Network, off: Off) -> tuple[bool, Station]:
    """A node that nobody configured, on the protected network."""
    one, where = await server(off=off)
    return await served(where, "10.0.0.3", cer(EVIL), raw_lir(identity=EVIL)), one


@against("diameter-peers")
async def a_known_name_comes_from_the_internet(network: Network, off: Off) -> tuple[bool, Station]:
    """The S-CSCF's name, in clear, from an address that nobody trusts."""
    one, where = await server(off=off)
    return await served(where, "203.0.113.9", cer(), raw_lir()), one


@against("diameter-peers")
async def a_known_name_comes_from_another_node(network: Network, off: Off) -> tuple[bool, Station]:
    """The S-CSCF's name, from another trusted node than the S-CSCF's."""
    one, where = await server(DiameterPeer(identity=SCSCF, realm=REALM, addresses=("10.0.0.2",)), off=off)
    return await served(where, "10.0.0.3", cer(), raw_lir()), one


@against("diameter-peers")
async def vectors_leave_in_clear(network: Network, off: Off) -> tuple[bool, Station]:
    """The way to a peer leads to an address that nobody trusts: a node that dials sends nothing there in clear."""
    heard: list[DiameterMessage] = []

    class Trap(Raw):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            heard.extend(self.messages)

    with at_host("203.0.113.9"):
        await asyncio.get_running_loop().create_server(Trap, "203.0.113.9", 3868)
    with at_host("10.0.0.2"):
        other = await cscf((HSS, "tcp:203.0.113.9:3868"), trusted_nodes=NODES, off=off, wait_s=0)
    await asyncio.sleep(1)
    await closed(other)
    return bool(heard), other


# ---- as whom


@against("diameter-origin")
async def a_peer_asks_in_anothers_name(network: Network, off: Off) -> tuple[bool, Station]:
    one, where = await server(EVIL, SCSCF, off=off)
    return await served(where, "10.0.0.3", cer(EVIL), raw_lir(identity=SCSCF)), one


@against("diameter-origin")
async def a_peer_asks_from_another_realm(network: Network, off: Off) -> tuple[bool, Station]:
    one, where = await server(off=off)
    return await served(where, "10.0.0.2", cer(), raw_lir(realm="partner.test")), one


@against("diameter-origin")
async def a_peer_says_a_wrong_realm_in_its_cer(network: Network, off: Off) -> tuple[bool, Station]:
    one, where = await server(off=off)
    return await served(where, "10.0.0.2", cer(realm="partner.test"), raw_lir()), one


@against("diameter-origin")
async def a_certificate_of_another_node_is_shown(network: Network, off: Off) -> tuple[bool, Station]:
    """A peer with a good certificate of its own says that it is the S-CSCF."""
    tls = TlsSettings(server=DeclaredTls((HSS,), require_peer=True))  # type: ignore[arg-type]
    one, where = await hss(SCSCF, EVIL, host="10.0.0.1", transport="tls", tls=tls, off=off)
    with at_host("203.0.113.9"):
        raw = await Raw.dial(where, ssl=DeclaredTls((EVIL,)), server_hostname=HSS)
    cea = await raw.ask(cer(SCSCF))
    raw.close()
    return cea.first(d.RESULT_CODE) == 2001, one


@against("diameter-origin")
async def a_server_with_another_certificate_is_dialled(network: Network, off: Off) -> tuple[bool, Station]:
    """Somebody on the way answers for the HSS, with a good certificate of its own."""
    tls = TlsSettings(server=DeclaredTls((EVIL,)))  # type: ignore[arg-type]
    trap, where = await hss(SCSCF, host="10.0.0.3", transport="tls", tls=tls, off=("diameter-origin",))
    client = TlsSettings(client=DeclaredTls((SCSCF,), check_hostname=False))  # type: ignore[arg-type]
    with at_host("10.0.0.2"):
        other = await cscf((HSS, where), tls=client, off=off, wait_s=0)
    up = await other.node.connected(1)
    await closed(other, trap)
    return up, other


# ---- for what


@against("diameter-authorisation")
async def a_peer_sends_a_command_that_is_not_its_own(network: Network, off: Off) -> tuple[bool, Station]:
    """An I-CSCF may ask UAR and LIR; this peer may ask UAR only."""
    one, where = await server(DiameterPeer(identity=SCSCF, realm=REALM, commands=("UAR",)), off=off)
    return await served(where, "10.0.0.2", cer(), raw_lir()), one


@against("diameter-authorisation")
async def a_peer_uses_an_application_that_is_not_its_own(network: Network, off: Off) -> tuple[bool, Station]:
    """An application server may speak Sh, and tries Cx."""
    one, where = await server(DiameterPeer(identity=SCSCF, realm=REALM, applications=("sh",)), off=off)
    one.node.serve(SH, lambda message, peer: answered(message))
    return await served(where, "10.0.0.2", cer(), raw_lir()), one


@against("diameter-authorisation")
async def a_peer_asks_about_users_of_another_operator(network: Network, off: Off) -> tuple[bool, Station]:
    one, where = await server(DiameterPeer(identity=SCSCF, realm=REALM, subscriber_realms=("mvno.test",)), off=off)
    return await served(where, "10.0.0.2", cer(), raw_lir()), one


async def answered(message: DiameterMessage) -> DiameterMessage:
    return message.answer()


# ---- answers


async def deaf(message: DiameterMessage, peer: Peer) -> DiameterMessage:
    await asyncio.sleep(3600)
    return message.answer()


async def forged(network: Network, off: Off, *, same_connection: bool) -> tuple[bool, Station]:
    """The attacker guessed the hop-by-hop identifier, which is the most that it can guess."""
    with at_host("10.0.0.2"):
        other, where = await hss(EVIL, HSS, host="10.0.0.2", identity=SCSCF, trusted_nodes=NODES, off=off, handler=deaf)
    with at_host("10.0.0.3"):
        evil = await (await Raw.dial(where)).introduced(EVIL)
    with at_host("10.0.0.1"):
        real = await (await Raw.dial(where)).introduced(HSS)
    asking = asyncio.ensure_future(other.node.request(lir(other), host=HSS, timeout_s=2))
    request = await real.next()
    false = DiameterMessage(request.command, CX.number, PROXIABLE, request.hop_by_hop, 0xBAD)
    (real if same_connection else evil).send(false.add(d.RESULT_CODE, 2001))
    try:
        answer = await asking
    except DiameterUnavailable:
        return False, other
    finally:
        real.close()
        evil.close()
    return answer.first(d.RESULT_CODE) == 2001, other


@against("diameter-answers")
async def an_answer_comes_on_another_connection(network: Network, off: Off) -> tuple[bool, Station]:
    return await forged(network, off, same_connection=False)


@against("diameter-answers")
async def an_answer_has_another_end_to_end_identifier(network: Network, off: Off) -> tuple[bool, Station]:
    return await forged(network, off, same_connection=True)


# ---- each twice

PLAYED = [
    pytest.param(protection, attack, id=f"{protection}-{attack.__name__}")
    for attacks in ATTACKS.values()
    for protection, attack in attacks
]


@pytest.mark.parametrize(("protection", "attack"), PLAYED)
def test_without_the_protection_the_attack_succeeds(protection: str, attack: Attack) -> None:
    async def scene(network: Network) -> None:
        succeeded, station = await attack(network, (protection,))
        assert succeeded, station.why()

    run(scene, 1, allow_pending=True)


@pytest.mark.parametrize(("protection", "attack"), PLAYED)
def test_with_the_protection_the_attack_fails_and_is_reported(protection: str, attack: Attack) -> None:
    async def scene(network: Network) -> None:
        succeeded, station = await attack(network, ())
        assert not succeeded, station.why()
        assert station.of(Check) or station.of(Refused)
        assert all(check.advice and check.clause for check in station.of(Check))

    run(scene, 1, allow_pending=True)


# ---- what is not an attack


def test_an_agent_may_speak_for_those_that_the_operator_wrote_down() -> None:
    async def scene(network: Network) -> None:
        agent = DiameterPeer(identity="dra.ims.test", realm=REALM, speaks_for=("partner.test", "as.ims.test"))
        one, where = await server(agent, off=())
        with at_host("10.0.0.3"):
            raw = await (await Raw.dial(where)).introduced("dra.ims.test")
        for identity, realm, code in (
            ("cscf.partner.test", "partner.test", 2001),
            ("as.ims.test", REALM, 2001),
            (SCSCF, REALM, 5003),
            (HSS, "partner.test", 5003),
        ):
            answer = await raw.ask(raw_lir(identity=identity, realm=realm))
            assert answer.first(d.RESULT_CODE) == code, identity
        raw.close()
        await closed(one)

    run(scene, 1)


def test_users_of_the_realms_that_a_peer_serves_are_shown_to_it() -> None:
    async def scene(network: Network) -> None:
        one, where = await server(DiameterPeer(identity=SCSCF, realm=REALM, subscriber_realms=(REALM,)), off=())
        assert await served(where, "10.0.0.2", cer(), raw_lir().add(d.USER_NAME, "bob@IMS.test"))
        assert not await served(where, "10.0.0.2", cer(), raw_lir().add(d.USER_NAME, "bob@mvno.test"))
        await closed(one)

    run(scene, 1)


def test_an_address_is_the_same_however_it_is_written() -> None:
    assert plain("::ffff:10.0.0.1") == plain("10.0.0.1") == "10.0.0.1"
    assert plain("2001:DB8:0:0::1%eth0") == plain("2001:db8::1") == "2001:db8::1"


def test_a_peer_that_is_configured_twice_is_the_operators_fault() -> None:
    async def scene(network: Network) -> None:
        with pytest.raises(ConfigError, match="twice"):
            await server(SCSCF, SCSCF.upper(), off=())

    run(scene, 1)


def test_a_flood_of_connections_leaves_the_peers_alone() -> None:
    async def scene(network: Network) -> None:
        one, where = await server(off=())
        with at_host("10.0.0.2"):
            other = await cscf((HSS, where), trusted_nodes=NODES)
        for number in range(2000):
            with at_host(f"203.0.{number // 250}.{number % 250 + 1}"):
                await Raw.dial(where)
        assert await result(other) == 2001
        await asyncio.sleep(60)
        assert len(one.node._connections) == 1
        assert await result(other) == 2001
        await closed(other, one)

    run(scene, 1)


def test_a_trusted_node_that_says_nothing_is_closed_after_half_a_minute() -> None:
    async def scene(network: Network) -> None:
        one, where = await server(off=())
        with at_host("10.0.0.3"):
            raw = await Raw.dial(where)
        assert await raw.ended(40)
        await closed(one)

    run(scene, 1)
