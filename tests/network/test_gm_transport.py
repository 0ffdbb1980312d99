"""Phones in transport mode, as handsets are, between two hosts: by raw sockets, and by the kernel where one has ESP.

UDP and TCP inside the same associations (TS 33.203 7.1, requirement rows 30 and 33), on IPv4 and IPv6.
"""

import asyncio

import pytest

from redoubt.events import Refused
from redoubt.gm.agreement import Mode
from redoubt.gm.states import Event
from redoubt.network.associations import association_rows
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import IPHONE, PIXEL, PROFILES, SAMSUNG_NULL, PhoneProfile
from redoubt.sip.fields import CONTACT, SECURITY_SERVER
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request
from redoubt.sip.stack_wire import named
from redoubt.transport.flow import Address, EspAssociation

from .client import Card, Client
from .handsets import Field, field

LEGACY = {"legacy": True}  # what handsets offer first
HANDSETS = [profile for profile in PROFILES.values() if profile is not SAMSUNG_NULL]
SOON_S = 0.3


def transports(net: Field, name: str) -> set[str]:
    """By which transports the P-CSCF was sent requests inside the sets of a phone."""
    gm = net.network.p_cscf.gm if net.network.p_cscf is not None else None
    assert gm is not None
    connections = net.network.stacks["p-cscf"].connections._open
    flows = [connection.flow for connection in connections]
    numbers = {each.number for each in net.sets(name)}
    return {
        flow.transport
        for flow in flows
        if flow is not None and isinstance(flow.security, EspAssociation) and flow.security.number in numbers
    }


def protected(phone: Phone, net: Field) -> Address:
    """The P-CSCF's protected server port of a phone's set."""
    assert phone.line.gm is not None
    [carrier] = phone.line.gm.associations.sets.values()
    return net.network.p_cscf_address[0], carrier.agreement.network.port_s


@pytest.mark.parametrize("profile", HANDSETS, ids=lambda profile: profile.name)
async def test_each_handset_registers_renews_calls_and_leaves_in_transport_mode(profile: PhoneProfile) -> None:
    async with field(LEGACY, tracing=True) as net:
        alice, bob = await net.registered("alice", profile=profile), await net.registered("bob", seed=5)
        assert [each.agreement.mode for each in net.sets()] == [Mode.TRANSPORT, Mode.TRANSPORT]
        assert transports(net, "alice") == ({"tcp"} if profile.tcp_after_challenge else set())
        assert (await alice.register()).registered
        call = await alice.call(bob.identity.impu)
        assert call.status == 200, net.why()
        await call.hang_up()
        back = await bob.call(alice.identity.impu)
        assert back.status == 200, net.why()
        await back.hang_up()
        assert (await alice.deregister()).status == 200
        clear = [m.text[:8] for m in net.events_at(named(net.network.p_cscf_address))]
        assert clear == ["REGISTER", "SIP/2.0 "] * 2


async def test_a_register_by_udp_and_an_invite_by_tcp_share_a_set() -> None:
    """Row 30."""
    async with field() as net:
        alice, bob = await net.registered("alice"), await net.registered("bob", seed=5)
        assert transports(net, "alice") == set()
        alice.line.profile = PIXEL
        call = await alice.call(bob.identity.impu)
        assert (call.status, transports(net, "alice"), len(net.sets("alice"))) == (200, {"tcp"}, 1)
        await call.hang_up()
        assert (await alice.register()).registered


async def test_sip_in_the_clear_at_a_protected_port_is_dropped_in_silence() -> None:
    """Row 33: by UDP and TCP, from the phone's own address, while and after it has associations there."""
    async with field(tracing=True) as net:
        alice = await net.registered("alice")
        port = protected(alice, net)
        stranger = await Client.open(Card.of("alice", net.network.config.network.realm), port)
        stranger.send(stranger.make("OPTIONS", f"sip:{named(port)}"))
        with pytest.raises((OSError, TimeoutError)):
            async with asyncio.timeout(SOON_S):
                await asyncio.open_connection(*port)
        assert await stranger.hears_nothing(SOON_S)
        stranger.close()
        assert not net.seen("OPTIONS")
        assert net.events(Refused) == []


async def test_a_connection_ends_with_its_set() -> None:
    async with field() as net:
        await net.registered("alice", profile=IPHONE)
        assert net.network.p_cscf is not None and net.network.p_cscf.gm is not None
        assert transports(net, "alice") == {"tcp"}
        [carrier] = net.sets("alice")
        net.network.p_cscf.gm.associations.ended(carrier, Event.EXHAUSTED)
        await asyncio.sleep(0.05)
        assert len(net.network.stacks["p-cscf"].connections) == 0


async def test_a_phone_that_calls_itself_otherwise_than_it_comes_from_gets_esp_in_udp() -> None:
    """TS 33.203 M.2: a NAT stands between; the others have transport mode."""
    async with field() as net:
        alice = await net.phone("alice")

        def behind_nat(request: Request) -> None:
            contact = request.need(CONTACT)
            assert isinstance(contact, NameAddr)
            host = "[fd00::7]" if ":" in net.network.p_cscf_address[0] else "10.0.0.7"
            request.set("Contact", str(contact).replace(str(contact.uri).partition("@")[2].rpartition(":")[0], host))

        alice.adjust = behind_nat
        with pytest.raises(TimeoutError):  # it is not where it says: nothing reaches it
            async with asyncio.timeout(SOON_S):
                await alice.register()
        await net.registered("bob", seed=5)
        modes = {each.phone.key.impi[:3]: each.agreement.mode for each in net.sets()}
        assert modes == {"ali": Mode.UDP_TUNNEL, "bob": Mode.TRANSPORT}


async def test_the_servers_list_is_the_same_for_each_phone_and_a_phone_without_transport_mode_learns_why() -> None:
    """Row 22, and what a test phone without privileges says."""
    async with field() as net:
        lists = []
        for path in ("user-space", None):
            phone = await net.phone("alice", path=path)  # type: ignore[arg-type]
            answers: list[str] = []
            send = phone.line.send

            async def noted(request: Request, *more: object, send=send, answers=answers, **way: object):  # type: ignore[no-untyped-def]
                response = await send(request, *more, **way)
                answers.append(", ".join(f"{o.param('alg')}/{o.param('ealg')}/{o.param('mod')}/{o.param('q')}"
                                         for o in response.every(SECURITY_SERVER)))  # fmt: skip
                return response

            phone.line.send = noted  # type: ignore[method-assign]
            result = await phone.register()
            lists.append(answers[0])
            assert result.registered is (path is None)
            if path is not None:
                assert (result.status, "wants transport mode" in result.why) == (494, True)
        assert lists[0] == lists[1] != ""


async def test_operators_see_what_each_set_has_carried() -> None:
    async with field() as net:
        alice = await net.registered("alice")
        assert (await alice.message(alice.identity.impu, "hello")).status == 200
        [row] = association_rows(net.network)
        assert (row.mode, row.replayed, row.bad_tags) == ("trans", 0, 0)
        assert row.sent_packets >= 3 and row.received_packets >= 3
        assert row.sent_octets > 1000 and row.received_octets > 1000
