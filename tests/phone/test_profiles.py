"""Handsets as they are publicly known, each against a whole network on loopback (issue threads are in profiles.py)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from redoubt.aka.isim import Isim
from redoubt.aka.milenage import Milenage
from redoubt.aka.sequence import SequenceArray, SequenceScheme
from redoubt.events import EventStream, MessageSeen
from redoubt.gm.agreement import Mode, read_offers
from redoubt.lab.population import Resident, residents
from redoubt.network.run import Network
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import HUAWEI, IPHONE, PROFILES, SAMSUNG, SAMSUNG_NULL, XIAOMI, PhoneProfile
from redoubt.sip.fields import AUTHORIZATION, SECURITY_CLIENT, SECURITY_SERVER, WWW_AUTHENTICATE
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Flow

HANDSETS = [profile for profile in PROFILES.values() if profile is not SAMSUNG_NULL]


class Field:
    """A network, its subscribers, and the phones that were switched on."""

    def __init__(self, network: Network, people: list[Resident], gm: bool) -> None:
        self.network = network
        self.people = {person.name: person for person in people}
        self.gm = gm
        self.phones: list[Phone] = []

    async def phone(self, profile: PhoneProfile, name: str = "alice", card: PhoneIdentity | None = None) -> Phone:
        events = EventStream()
        context = Context("ue", events, Clock(asyncio.get_running_loop()), SeededRandomness(len(self.phones)))
        host, port = self.network.p_cscf_address
        gm = GmOptions(port=self.network.tunnel_address[1]) if self.gm else None
        card = card or self.people[name].card()
        phone = Phone(context, card, Stack(context), f"sip:{host}:{port}", renews=False, gm=gm, profile=profile)
        phone.registration.attempts = 1
        await phone.open(f"udp:{host}:0")
        self.phones.append(phone)
        return phone

    def card_ahead(self, name: str = "alice") -> PhoneIdentity:
        """A card that met other challenges meanwhile: those of the HSS are old to it."""
        person = self.people[name]
        ahead = SequenceArray(SequenceScheme(), tuple([100_000] * 32))
        return replace(person.card(), isim=Isim(Milenage(person.k, person.opc), ahead))

    def clear(self) -> list[str]:
        """First lines of what passed the P-CSCF's unprotected port."""
        host, port = self.network.p_cscf_address
        seen = [event for event in self.network.context.events.recent if isinstance(event, MessageSeen)]
        texts = [event.text for event in seen if f"{host}:{port}" in (event.sender, event.receiver)]
        return [text.partition("\r\n")[0] for text in texts]


@asynccontextmanager
async def field(gm: bool = True, tree: dict[str, Any] | None = None) -> AsyncIterator[Field]:
    events = EventStream()
    events.tracing = True
    access = {"access": {"policy": "ipsec" if gm else "aka-without-ipsec"}}
    network = await Network.temporary(access | (tree or {}), events=events, randomness=SeededRandomness(1))
    assert network.hss is not None
    people = residents(["alice", "bob"], network.config.network.realm, SeededRandomness(2))
    await network.hss.administration.add([person.subscriber() for person in people])
    made = Field(network, people, gm)
    try:
        yield made
    finally:
        for phone in made.phones:
            await phone.close()
        await network.close()


def sent_by(phone: Phone) -> list[Request]:
    """Copies of all that a phone sends from now on."""
    sent: list[Request] = []
    phone.adjust = lambda request: sent.append(request.copy())
    return sent


def answers_to(phone: Phone, change: Callable[[Response], None]) -> list[Response]:
    """What a phone is answered from now on, changed on the way as a faulty network would."""
    seen: list[Response] = []
    send = phone.line.send

    async def noted(request: Request, exchange: Exchange | None = None, way: Flow | None = None) -> Response:
        response = await send(request, exchange, way)
        change(response)
        seen.append(response)
        return response

    phone.line.send = noted  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("profile", HANDSETS, ids=lambda profile: profile.name)
async def test_each_handset_registers_watches_renews_and_leaves_with_only_its_first_request_in_the_clear(
    profile: PhoneProfile,
) -> None:
    async with field() as net:
        phone = await net.phone(profile)
        result = await phone.register(3600, subscribe=True)
        assert (result.registered, result.network_authentic) == (True, True)
        assert phone.subscription is not None
        async with asyncio.timeout(5):
            await phone.subscription.heard.wait()
        assert (phone.subscription.complaint, phone.subscription.notified) == ("", 1)
        assert (await phone.register()).registered
        left = await phone.deregister()
        assert (left.status, phone.registration.holds) == (200, False)
        assert [line[:12] for line in net.clear()] == ["REGISTER sip", "SIP/2.0 401 "]


@pytest.mark.parametrize("profile", HANDSETS, ids=lambda profile: profile.name)
async def test_each_handset_comes_back_from_flight_mode_with_a_card_that_calls_the_sequence_number_old(
    profile: PhoneProfile,
) -> None:
    async with field() as net:
        before = await net.phone(profile)
        assert (await before.register(3600)).registered
        await before.close()  # no de-registration, no good-bye to the associations
        after = await net.phone(profile, card=net.card_ahead())
        sent = sent_by(after)
        result = await after.register(3600)
        assert (result.registered, result.outcomes) == (True, ("SyncFailure", "Success"))
        first, resync, answer = (request for request in sent if request.method == "REGISTER")
        assert resync.need(AUTHORIZATION).param("auts")
        assert first.all("Security-Client") != resync.all("Security-Client") == answer.all("Security-Client")


@pytest.mark.parametrize("profile", HANDSETS, ids=lambda profile: profile.name)
async def test_each_handset_calls_and_hangs_up(profile: PhoneProfile) -> None:
    async with field() as net:
        alice, bob = await net.phone(profile), await net.phone(profile, "bob")
        for phone in (alice, bob):
            assert (await phone.register(3600)).registered
        call = await alice.call(net.people["bob"].impu)
        assert call.status == 200
        await call.hang_up()


@pytest.mark.parametrize("profile", HANDSETS, ids=lambda profile: profile.name)
async def test_without_ipsec_each_handset_registers_and_those_that_do_change_to_tcp_after_the_challenge(
    profile: PhoneProfile,
) -> None:
    here = f"127.0.1.{HANDSETS.index(profile) + 1}:5060"  # UDP and TCP on one port, as outside
    async with field(gm=False, tree={"p-cscf": {"listen": [f"udp:{here}", f"tcp:{here}"]}}) as net:
        alice, bob = await net.phone(profile), await net.phone(profile, "bob")
        assert (await alice.register(3600)).registered
        assert (await bob.register(3600)).registered
        assert alice.line.clear_way.transport == ("tcp" if profile.tcp_after_challenge else "udp")
        call = await alice.call(net.people["bob"].impu)
        assert call.status == 200
        await call.hang_up()
        assert (await alice.deregister()).status == 200


async def test_a_handset_that_encrypts_nothing_is_told_what_the_network_wants() -> None:
    async with field() as net:
        phone = await net.phone(SAMSUNG_NULL)
        seen = answers_to(phone, lambda _response: None)
        assert (await phone.register()).status == 494
        assert {offer.param("ealg") for offer in seen[-1].every(SECURITY_SERVER)} == {"aes-gcm", "aes-cbc"}


async def test_a_handset_that_finds_keys_in_the_challenge_lets_it_lie_and_would_have_answered_it_without() -> None:
    async with field() as net:
        phone = await net.phone(SAMSUNG)

        def with_a_key(response: Response) -> None:
            if response.status == 401:
                challenge = response.need(WWW_AUTHENTICATE)
                response.put(WWW_AUTHENTICATE, challenge.with_param("ck", "0" * 32))

        answers_to(phone, with_a_key)
        sent = sent_by(phone)
        assert (await phone.register()).status == 401
        assert len(sent) == 1
        other = await net.phone(SAMSUNG)
        assert (await other.register()).registered


async def test_a_handset_that_encrypts_nothing_registers_where_the_operator_allows_it() -> None:
    async with field(tree={"gm": {"confidentiality": False}}) as net:
        assert (await (await net.phone(SAMSUNG_NULL)).register()).registered


@pytest.mark.parametrize(
    ("profile", "start"),
    [
        (XIAOMI, "ipsec-3gpp; alg=hmac-md5-96; ealg=des-ede3-cbc; spi-c="),
        (SAMSUNG, "ipsec-3gpp;prot=esp;mod=trans;spi-c="),
        (HUAWEI, "ipsec-3gpp;alg=hmac-sha-1-96;prot=esp;mod=trans;ealg=des-ede3-cbc;spi-c="),
    ],
)
async def test_a_handsets_six_offers_stand_in_one_header_in_its_own_way(profile: PhoneProfile, start: str) -> None:
    async with field() as net:
        phone = await net.phone(profile)
        sent = sent_by(phone)
        assert (await phone.register()).registered
        [line] = sent[0].all("Security-Client")
        assert line.startswith(start)
        offers = read_offers(sent[0].every(SECURITY_CLIENT))
        assert [offer.mode for offer in offers] == [Mode.TRANSPORT] * 6 + [Mode.UDP_TUNNEL] * 6
        ends = {offer.ends for offer in offers}
        assert len(ends) == 1


async def test_samsungs_ports_and_spis_follow_each_other_and_its_server_port_stays() -> None:
    async with field() as net:
        phone = await net.phone(SAMSUNG)
        sent = sent_by(phone)
        assert (await phone.register(3600)).registered
        assert (await phone.register()).registered
        lists = [read_offers(r.every(SECURITY_CLIENT))[0].ends for r in sent if r.has("Security-Client")]
        first, last = lists[0], lists[-1]
        assert (first.spi_s, first.port_c) == (first.spi_c + 1, first.port_s + 1)
        assert (last.port_s, last.port_c != first.port_c) == (first.port_s, True)


@pytest.mark.parametrize(("profile", "qop"), [(XIAOMI, None), (HUAWEI, "auth")])
async def test_with_or_without_qop_in_its_answer_to_a_challenge_that_offers_it_a_handset_registers(
    profile: PhoneProfile, qop: str | None
) -> None:
    async with field() as net:
        phone = await net.phone(profile)

        def with_qop(response: Response) -> None:  # many cores offer it
            if response.status == 401:
                challenge = response.need(WWW_AUTHENTICATE)
                response.put(WWW_AUTHENTICATE, challenge.with_param("qop", "auth,auth-int"))

        answers_to(phone, with_qop)
        sent = sent_by(phone)
        assert (await phone.register()).registered
        assert [r.need(AUTHORIZATION).param("qop") for r in sent if r.method == "REGISTER"] == [None, qop]


async def test_a_handset_says_what_it_is_as_handsets_do() -> None:
    async with field() as net:
        phone = await net.phone(IPHONE)
        sent = sent_by(phone)
        assert (await phone.register()).registered
        [contact] = sent[0].all("Contact")
        assert 'urn:gsma:imei:00101700-' in contact and "+g.3gpp.icsi-ref=" in contact
        assert sent[0].get("User-Agent") == IPHONE.user_agent
        assert sent[0].get("P-Access-Network-Info") == IPHONE.access_network
