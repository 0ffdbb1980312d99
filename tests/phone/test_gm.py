"""What a phone offers for IPsec, and whose requests it serves (TS 24.229 5.1.1; TS 33.203 7.1, 7.2; RFC 3329 2.3.1)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redoubt.aka.isim import Success
from redoubt.events import EventStream
from redoubt.gm.agreement import AgreementPolicy, Ends, Mode, mechanisms_of, read_offers, server_list
from redoubt.gm.association_set import AssociationSet
from redoubt.phone.challenge import UnanswerableChallenge
from redoubt.phone.gm import GmOptions, PhoneGm
from redoubt.phone.offers import OfferStyle, suites
from redoubt.secret import Secret
from redoubt.sim import Network, at_host, run
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

HERE, THERE = "10.0.0.1", "192.0.2.1"
KEYS = Success(Secret(bytes(8)), Secret(bytes(16)), Secret(bytes(range(16))))
FEW = OfferStyle(suites("hmac-sha-1-96/aes-cbc"), spis=(1000, 1008), ports=(20_000, 20_008))


def played(story: Callable[[PhoneGm], Awaitable[None]], style: OfferStyle | None = None) -> None:
    async def main(_wire: Network) -> None:
        context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(1))
        gm = PhoneGm(context, "alice@ims.test", "instance", GmOptions(), style)
        with at_host(HERE):
            await gm.open(HERE, THERE, lambda _message, _flow: None)
        await story(gm)
        gm.close()

    run(main, 1)


def challenged(gm: PhoneGm, number: int) -> AssociationSet:
    """A REGISTER and its 401, which names SPIs that no phone here has."""
    client = gm.offer(Request("REGISTER", "sip:ims.test", []), None)
    ends = Ends(5000 + 2 * number, 5001 + 2 * number, 6100 + number, 6001)
    server = server_list(gm._policy, Mode.UDP_TUNNEL, ends)
    answer = Response(401)
    answer.set("Security-Server", server)
    answer.set("Call-ID", f"call-{number}")
    return gm.keyed(client, answer, KEYS, f"nonce-{number}", None)


@pytest.mark.parametrize("header", ["Require", "Proxy-Require"])
def test_an_agreement_is_demanded_of_whoever_ends_the_request_and_of_proxies(header: str) -> None:
    async def story(gm: PhoneGm) -> None:
        request = Request("REGISTER", "sip:ims.test", [])
        gm.offer(request, None)
        assert request.get(header) == "sec-agree"

    played(story)


def test_no_spi_and_no_client_port_of_a_living_set_is_offered_again() -> None:
    async def story(gm: PhoneGm) -> None:
        living = [challenged(gm, number) for number in range(3)]
        spis = {spi for each in living for spi in (each.agreement.phone.spi_c, each.agreement.phone.spi_s)}
        ports = {each.agreement.phone.port_c for each in living}
        assert (len(spis), len(ports)) == (6, 3)
        for _ in range(20):
            [offer, *_] = read_offers(mechanisms_of(gm.offer(Request("REGISTER", "sip:ims.test", []), None)))
            assert not {offer.ends.spi_c, offer.ends.spi_s} & spis
            assert offer.ends.port_c not in ports | {gm.port} and offer.ends.port_s == gm.port

    played(story, FEW)


def test_a_request_counts_as_the_p_cscfs_once_the_phone_has_heard_the_network_on_that_set() -> None:
    async def story(gm: PhoneGm) -> None:
        made = challenged(gm, 0)
        flow = made.flow
        assert flow is not None and not gm.serves(flow)
        gm.associations.received(made)
        assert gm.serves(flow)
        gm.failed(made)
        assert not gm.serves(flow)

    played(story)


def test_a_phone_that_is_renumbered_does_not_get_the_port_that_was_refused() -> None:
    async def story(gm: PhoneGm) -> None:
        for _ in range(20):
            refused = gm.port
            gm.renumber()
            assert gm.port != refused

    played(story, FEW)


@pytest.mark.parametrize(("listed", "is_about_ports"), [("hmac-sha-1-96/aes-cbc", True), ("null/aes-gcm", False)])
def test_a_494_that_lists_what_the_phone_can_do_is_about_its_ports(listed: str, is_about_ports: bool) -> None:
    async def story(gm: PhoneGm) -> None:
        refusal = Response(494)
        refusal.set("Security-Server", server_list(AgreementPolicy(suites(listed)), Mode.UDP_TUNNEL))
        assert gm.is_left_with(refusal) is is_about_ports

    played(story, FEW)


def test_a_phone_that_has_no_way_for_the_mode_that_was_chosen_says_so() -> None:
    """Handsets offer transport mode alone; who behaves as one may lack it."""

    async def story(gm: PhoneGm) -> None:
        client = gm.offer(Request("REGISTER", "sip:ims.test", []), None)
        answer = Response(401)
        answer.set("Security-Server", server_list(gm._policy, Mode.TRANSPORT, Ends(5000, 5001, 6100, 6001)))
        with pytest.raises(UnanswerableChallenge, match="chose trans, which has no way here: it was told to have"):
            gm.keyed(client, answer, KEYS, "nonce", None)

    played(story, FEW)


@pytest.mark.parametrize(
    ("status", "mode", "is_told"),
    [(494, Mode.TRANSPORT, True), (494, Mode.UDP_TUNNEL, False), (421, Mode.TRANSPORT, False)],
)
def test_a_494_that_lists_transport_mode_alone_is_explained(status: int, mode: Mode, is_told: bool) -> None:
    async def story(gm: PhoneGm) -> None:
        refusal = Response(status)
        refusal.set("Security-Server", server_list(AgreementPolicy(), mode))
        assert ("wants transport mode" in gm.why_refused(refusal)) is is_told

    played(story)
