"""Calls to users who are not registered (TS 24.229 5.4.3.3, TS 29.228 6.1.2.1), on a whole network."""

import asyncio

from redoubt.diameter.cx import Cx, InitialFilterCriterion, PublicIdentity, ServerAssignmentType, ServiceProfile
from redoubt.events import Bug, MessageSeen
from redoubt.hss.records import ImplicitSet, RegistrationState
from redoubt.hss.subscriber import PrivateIdentity, Subscriber
from redoubt.secret import Secret

from .calls import AS_SDP, SDP, call
from .client import OPC, Client, key_of
from .home import Home, home


async def with_services(net: Home, name: str) -> None:
    """A subscriber whom an application server serves, registered or not."""
    criterion = InitialFilterCriterion(0, f"sip:as.{net.realm}")
    profile = ServiceProfile((PublicIdentity(net.impu(name)),), (criterion,))
    private = PrivateIdentity(f"{name}@{net.realm}", Secret(key_of(name)), opc=OPC)
    await net.hss.administration.add([Subscriber((private,), (ImplicitSet((profile,)),))])


async def state_of(net: Home, name: str) -> tuple[RegistrationState, str]:
    """What the HSS holds: of the user's set, and the name of the S-CSCF."""
    assignment = (await net.hss.administration.show(f"{name}@{net.realm}")).assignment
    return assignment.sets[0].state, assignment.server_name


def assignments(net: Home) -> list[str]:
    """The kinds of SAR that the HSS was sent."""
    return [event.text.split()[-1] for event in net.events(MessageSeen) if event.text.startswith("SAR ")]


async def called(net: Home, caller: Client, name: str) -> int:
    return (await caller.ask(caller.make("INVITE", net.impu(name), None, AS_SDP, body=SDP))).status


async def test_a_user_with_services_is_taken_on_and_is_480_until_it_registers() -> None:
    async with home(tracing=True) as net:
        await with_services(net, "dora")
        alice = await net.registered("alice")
        assert await called(net, alice, "dora") == 480
        assert assignments(net)[-1] == "UNREGISTERED_USER"
        assert await state_of(net, "dora") == (RegistrationState.UNREGISTERED, net.network.config.s_cscf.uri)
        dora = await net.registered("dora")
        assert (await state_of(net, "dora"))[0] is RegistrationState.REGISTERED
        await call(alice, dora)
        assert not net.events(Bug)


async def test_of_a_user_without_services_no_s_cscf_hears() -> None:
    async with home(tracing=True) as net:
        alice = await net.registered("alice")
        before = len(assignments(net))
        assert await called(net, alice, "bob") == 480
        assert len(assignments(net)) == before
        assert await state_of(net, "bob") == (RegistrationState.NOT_REGISTERED, "")


class Slow:
    """The way back from the HSS takes a while."""

    def __init__(self, cx: Cx) -> None:
        self._cx = cx

    def __getattr__(self, name: str) -> object:
        async def asked(*given: object, **named: object) -> object:
            answer = await getattr(self._cx, name)(*given, **named)
            await asyncio.sleep(0.1)
            return answer

        return asked


async def test_a_user_who_registers_while_the_hss_is_asked_stays_registered_there() -> None:
    """The HSS hears of the registration, then of the call, and the S-CSCF has neither answer yet."""
    async with home(tracing=True) as net:
        await with_services(net, "dora")
        dora = await net.phone("dora")
        await dora.challenged()
        s_cscf = net.network.s_cscf
        assert s_cscf is not None
        registration, unregistered = s_cscf.registration, s_cscf.sessions._unregistered
        registration._cx = unregistered._cx = Slow(unregistered._cx)  # type: ignore[assignment]
        answer = dora.register(dora.answer())
        dora.send(answer)
        while ServerAssignmentType.REGISTRATION.name not in assignments(net):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert await unregistered.is_known(dora.card.impu)
        assert (await dora.final(answer)).status == 200
        assert (await state_of(net, "dora"))[0] is RegistrationState.REGISTERED
