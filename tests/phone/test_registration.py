"""A phone registers with a real network on loopback: SM1 to SM12 of TS 33.203 6.1, and how it can fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SequenceArray, SequenceScheme
from redoubt.diameter.cx import DeregistrationReason
from redoubt.events import EventStream
from redoubt.lab.population import Resident, residents
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.secret import Secret
from redoubt.sip.fields import AUTHORIZATION
from redoubt.sip.message import Request
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness


@asynccontextmanager
async def alice(card: PhoneIdentity | None = None) -> AsyncIterator[tuple[Phone, Network, Resident]]:
    """A network, and Alice's phone with her own card or another."""
    network = await Network.temporary()
    assert network.hss is not None
    [person] = residents(["alice"], network.config.network.realm, SeededRandomness(1))
    await network.hss.administration.add([person.subscriber()])
    phone = await phone_of(network, card or person.card())
    try:
        yield phone, network, person
    finally:
        await phone.close()
        await network.close()


async def phone_of(network: Network, card: PhoneIdentity) -> Phone:
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(2))
    host, port = network.p_cscf_address
    gm = GmOptions(port=network.tunnel_address[1])
    phone = Phone(context, card, Stack(context), f"sip:{host}:{port}", gm=gm)
    await phone.open(f"udp:{host}:0")
    return phone


async def test_a_phone_registers_renews_and_deregisters_with_one_call_id_and_rising_numbers() -> None:
    async with alice() as (phone, _network, person):
        sent: list[tuple[str, int]] = []
        phone.adjust = lambda request: sent.append((request.call_id, request.cseq.number))
        result = await phone.register(3600)
        assert (result.registered, result.network_authentic, result.associated) == (True, True, (person.impu,))
        assert len(result.service_route) == 1
        assert (await phone.register()).expires_s == 3600
        assert (await phone.deregister()).status == 200
        assert not phone.registration.holds
        assert len({call_id for call_id, _ in sent}) == 1
        assert [number for _, number in sent] == list(range(1, len(sent) + 1))


async def test_a_card_with_another_key_refuses_the_network() -> None:
    async with alice() as (_phone, network, person):
        stranger = replace(person, k=Secret(bytes(16)))
        phone = await phone_of(network, stranger.card())
        answers: list[str] = []

        def note(request: Request) -> None:
            answers.append(request.need(AUTHORIZATION).param("response") or "empty")

        phone.adjust = note
        result = await phone.register()
        assert (result.status, result.registered, result.network_authentic) == (403, False, False)
        assert answers == ["empty", "empty"]
        await phone.close()


async def test_a_card_whose_sequence_numbers_are_ahead_resynchronises_and_registers() -> None:
    async with alice() as (_phone, network, person):
        ahead = SequenceArray(SequenceScheme(), tuple([1000] * 32))
        isim = Isim(Milenage(person.k, person.opc), ahead)
        phone = await phone_of(network, replace(person.card(), isim=isim))
        result = await phone.register()
        assert result.registered
        assert result.outcomes == ("SyncFailure", "Success")
        await phone.close()


async def test_a_wrong_response_leaves_the_registration_untouched() -> None:
    async with alice() as (phone, network, person):
        assert (await phone.register()).registered

        def lie(request: Request) -> None:
            authorization = request.first(AUTHORIZATION)
            if authorization is not None and authorization.param("response"):
                request.put(AUTHORIZATION, authorization.with_param("response", "0" * 32))

        phone.adjust = lie
        assert (await phone.register()).status == 403
        assert phone.registration.holds
        assert network.s_cscf is not None
        now = asyncio.get_running_loop().time()
        assert len(network.s_cscf.registrations.contacts(person.impu, now)) == 1


async def test_a_lifetime_that_is_too_brief_is_asked_again_with_the_least_that_is_granted() -> None:
    async with alice() as (phone, _network, _person):
        result = await phone.register(5)
        assert (result.registered, result.expires_s) == (True, 60)


async def test_the_network_ends_a_registration_and_the_phone_learns_it() -> None:
    async with alice() as (phone, network, person):
        ended = asyncio.Event()
        assert (await phone.register(subscribe=True)).registered
        assert phone.subscription is not None
        phone.registration.on_change = ended.set
        assert network.hss is not None
        await network.hss.administration.remove(person.impi)
        await asyncio.wait_for(ended.wait(), 5)
        assert not phone.registration.holds


async def test_a_phone_that_is_asked_to_authenticate_again_does_so_and_stays() -> None:
    async with alice() as (phone, network, person):
        assert (await phone.register(3600, subscribe=True)).registered
        assert network.s_cscf is not None
        renewed = asyncio.Event()
        phone.registration.on_renewed = renewed.set
        before = phone.registration.asked_at
        assert network.s_cscf.require_authentication(person.impu)
        await asyncio.wait_for(renewed.wait(), 5)
        assert phone.registration.asked_at > before
        found = network.s_cscf.registrations.find(person.impu)
        assert found is not None
        [binding] = found.bindings.values()
        assert not binding.reauthenticate
        assert binding.expires_at > asyncio.get_running_loop().time() + 3500


async def test_a_phone_that_is_sent_to_another_server_registers_and_watches_again() -> None:
    async with alice() as (phone, network, person):
        assert (await phone.register(subscribe=True)).registered
        first = phone.subscription
        assert network.hss is not None
        await network.hss.administration.deregister(person.impi, DeregistrationReason.SERVER_CHANGE)
        async with asyncio.timeout(5):
            while phone.subscription is first or not phone.registration.holds:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_request_that_does_not_come_from_the_p_cscf_is_refused() -> None:
    async with alice() as (phone, _network, _person):
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        class Stranger(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                answers.put_nowait(data)

        transport, _ = await loop.create_datagram_endpoint(Stranger, local_addr=("127.0.0.2", 0))
        options = phone.line.request("OPTIONS", "sip:alice@127.0.0.1")
        options.push("Via", f"SIP/2.0/UDP 127.0.0.2:{transport.get_extra_info('sockname')[1]};branch=z9hG4bK1")
        transport.sendto(options.to_bytes(), phone.line.flow.local)
        answer = await asyncio.wait_for(answers.get(), 5)
        transport.close()
        assert answer.startswith(b"SIP/2.0 403 ")

