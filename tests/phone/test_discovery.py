"""Finding the P-CSCF (requirement row 115): by the network's list, DHCP and DNS; and what a false one gets.

It was found because somebody poisoned those. Each attack is shown to work on a phone that does not look, and not on
ours.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.transaction.test_resolver import Zone

from redoubt.aka.isim import Isim, MacFailure, Success, SyncFailure
from redoubt.aka.milenage import Milenage
from redoubt.aka.vector import make_vector
from redoubt.events import EventStream
from redoubt.lab.dhcp import LabDhcp
from redoubt.phone import dhcp
from redoubt.phone.dhcp import SipServers
from redoubt.phone.discovery import NotFound, Place, configured, named, offered
from redoubt.phone.gm import GmOptions
from redoubt.phone.identity import PhoneIdentity
from redoubt.phone.phone import Phone
from redoubt.phone.registration import RegistrationResult
from redoubt.secret import Secret
from redoubt.sim import DeclaredTls, Network, at_host, run
from redoubt.sip.dns_records import Naptr, Srv
from redoubt.sip.fields import AUTHORIZATION
from redoubt.sip.message import Request, Response
from redoubt.sip.resolver import Resolver
from redoubt.sip.service import Context, Exchange
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import FlowFailed
from redoubt.transport.flow import Zone as Side
from redoubt.transport.listen import Listen
from redoubt.transport.tls import TlsSettings

REALM = "ims.example"
PHONE, FALSE, TRUE = "10.0.0.1", "10.0.0.66", "10.0.0.7"
KEY = Secret(b"alice...........")
FUNCTIONS = Milenage.with_op(KEY, Secret(bytes(16)))
NAME = f"pcscf.{REALM}"
RECORDS = {NAME: [Naptr(10, 10, "SIPS+D2T", f"_sips._tcp.{NAME}"), Naptr(20, 10, "SIP+D2U", f"_sip._udp.{NAME}")]}
TARGETS = {f"_sips._tcp.{NAME}": [Srv(1, 1, f"a.{NAME}", 5061)], f"_sip._udp.{NAME}": [Srv(1, 1, f"a.{NAME}", 5060)]}


class Gullible(Isim):
    """The control: a card that never asks who challenges it."""

    def authenticate(self, rand: bytes, autn: bytes) -> Success | MacFailure | SyncFailure:
        keys = FUNCTIONS.f2345(rand)
        return Success(keys.res, keys.ck, keys.ik)


def invented() -> bytes:
    """RAND and AUTN of somebody who has no key of the card."""
    return bytes(range(32))


def genuine() -> bytes:
    """A challenge of the home network, which who stands between relays."""
    vector = make_vector(FUNCTIONS, bytes(16), 32, b"\x80\0")
    return vector.rand + vector.autn


class FalsePCscf:
    """Challenges, takes any answer, and keeps what it was told."""

    def __init__(self, challenge: bytes) -> None:
        self._nonce = base64.b64encode(challenge).decode() if challenge else ""
        self.told: list[Request] = []

    async def __call__(self, request: Request, _exchange: Exchange) -> Response | None:
        self.told.append(request.copy())
        if len(self.told) == 1 and self._nonce:
            challenge = f'Digest realm="{REALM}", nonce="{self._nonce}", algorithm=AKAv1-MD5, qop="auth"'
            return request.response(401, to_tag="f", headers=(("WWW-Authenticate", challenge),))
        contact = request.get("Contact") or ""
        return request.response(200, to_tag="f", headers=(("Contact", contact),))

    @property
    def proofs(self) -> list[str]:
        """Answers to its challenge: each is a digest that holds for the card's key."""
        sent = [request.first(AUTHORIZATION) for request in self.told]
        return [proof for one in sent if one is not None and (proof := one.param("response"))]


async def stack_at(host: str, text: str, service: Any, tls: TlsSettings | None = None) -> Stack:
    context = Context("p-cscf", EventStream(), Clock(asyncio.get_running_loop(), 1.0), SeededRandomness(9))
    with at_host(host):
        stack = Stack(context, tls=tls)
        await stack.listen(Listen.parse(text, Side.ACCESS), service)
    return stack


async def registers(
    place: Place, isim: Isim, gm: GmOptions | None, tls: Any = None, wants_proof: bool = True
) -> RegistrationResult:
    """With a phone that was led there. Raises FlowFailed."""
    context = Context("ue", EventStream(), Clock(asyncio.get_running_loop(), 1.0), SeededRandomness(4))
    identity = PhoneIdentity(f"alice@{REALM}", (f"sip:alice@{REALM}",), REALM, isim)
    stack = Stack(context, tls=tls, resolver=Resolver(context.randomness, place.route), sent_by_host=PHONE)
    phone = Phone(context, identity, stack, str(place.uri), gm=gm)
    phone.registration.attempts, phone.registration.wants_proof = 1, wants_proof
    try:
        await phone.open(f"{'udp' if place.at.transport == 'udp' else 'tcp'}:{PHONE}:5060")
        return await phone.register(600)
    finally:
        await phone.close()


def scene(work: Callable[[Network], Awaitable[Any]]) -> Any:
    async def main(network: Network) -> Any:
        with at_host(PHONE):
            return await work(network)

    return run(main, 1, allow_pending=True)


def led_by_dhcp(
    isim: Isim, challenge: bytes, gm: GmOptions | None, wants_proof: bool = True
) -> tuple[RegistrationResult, FalsePCscf]:
    """Somebody on the link answers DHCP before the true server does."""

    async def work(_network: Network) -> tuple[RegistrationResult, FalsePCscf]:
        false = FalsePCscf(challenge)
        stack = await stack_at(FALSE, f"udp:{FALSE}:5060", false)
        with at_host(FALSE):
            server = await LabDhcp.open(SipServers((FALSE,)), FALSE, 67)
        said = await dhcp.ask(SeededRandomness(1), PHONE, (FALSE, 67))
        (place,) = await offered(said, Resolver(SeededRandomness(1)))
        assert place.at.host == FALSE
        result = await registers(place, isim, gm, wants_proof=wants_proof)
        server.close()
        await stack.close()
        return result, false

    result: tuple[RegistrationResult, FalsePCscf] = scene(work)
    return result


def test_a_card_that_does_not_look_gives_a_false_p_cscf_its_answer_and_ours_does_not() -> None:
    fooled, false = led_by_dhcp(Gullible(FUNCTIONS), invented(), None)
    assert fooled.registered
    assert len(false.proofs) == 1
    for gm in (None, GmOptions()):
        result, false = led_by_dhcp(Isim(FUNCTIONS), invented(), gm)
        assert not result.registered
        assert not result.network_authentic
        assert "MacFailure" in result.outcomes or "security agreement" in result.why
        assert false.proofs == []


@pytest.mark.parametrize("challenge", [b"", invented()], ids=["never challenged", "card refused"])
def test_a_phone_that_believes_any_200_calls_through_a_false_p_cscf_and_ours_says_why_not(challenge: bytes) -> None:
    fooled, _false = led_by_dhcp(Isim(FUNCTIONS), challenge, None, wants_proof=False)
    assert fooled.registered
    for gm in (None, GmOptions()):
        result, false = led_by_dhcp(Isim(FUNCTIONS), challenge, gm)
        assert not result.registered
        assert "did not prove to be the network's" in result.why or "security agreement" in result.why
        assert false.proofs == []


def test_a_phone_without_ipsec_answers_through_who_stands_between_and_ours_demands_the_agreement() -> None:
    fooled, false = led_by_dhcp(Isim(FUNCTIONS), genuine(), None)
    assert fooled.registered
    assert len(false.proofs) == 1
    result, false = led_by_dhcp(Isim(FUNCTIONS), genuine(), GmOptions())
    assert not result.registered
    assert "no security agreement" in result.why
    assert false.proofs == []
    assert len(false.told) == 1


@pytest.mark.parametrize("checks", [False, True])
def test_where_dns_was_poisoned_a_phone_that_checks_no_name_tells_who_it_is_and_ours_says_what_is_wrong(
    checks: bool,
) -> None:
    """The false P-CSCF has a certificate that the phone's authority signed, for a name of its own."""

    async def work(network: Network) -> tuple[str, FalsePCscf]:
        false = FalsePCscf(invented())
        shown = DeclaredTls(names=("pcscf.evil.example",))
        stack = await stack_at(FALSE, f"tls:{FALSE}:5061", false, TlsSettings(shown, shown))  # type: ignore[arg-type]
        network.name(f"a.{NAME}", FALSE)
        (place,) = await named([NAME], Resolver(SeededRandomness(1), dns=Zone(RECORDS, TARGETS)))
        assert str(place.uri) == f"sip:{NAME}:5061;transport=tls"
        trust = TlsSettings(client=DeclaredTls(check_hostname=checks))  # type: ignore[arg-type]
        try:
            await registers(place, Isim(FUNCTIONS), None, trust)
            why = ""
        except FlowFailed as failure:
            why = str(failure)
        await stack.close()
        return why, false

    why, false = scene(work)
    assert bool(false.told) != checks
    assert (NAME in why and "pcscf.evil.example" in why) == checks


# ---- what is found


def test_the_list_of_the_network_is_tried_in_its_order() -> None:
    found = configured("192.0.2.1, 2001:db8::1, 192.0.2.2:5080,[2001:db8::2]:5090")
    assert [str(place.uri) for place in found] == [
        "sip:192.0.2.1:5060", "sip:[2001:db8::1]:5060", "sip:192.0.2.2:5080", "sip:[2001:db8::2]:5090",
    ]  # fmt: skip
    for wrong in ("pcscf.example.org", "192.0.2.1.5", "192.0.2.1:99999"):
        with pytest.raises(NotFound):
            configured(wrong)


def test_dns_says_where_and_over_tls_the_name_stays_to_be_proved() -> None:
    async def work(network: Network) -> list[Place]:
        network.name(f"a.{NAME}", TRUE)
        udp = Zone({NAME: RECORDS[NAME][1:]}, TARGETS)
        return [
            *await named([NAME], Resolver(SeededRandomness(1), dns=Zone(RECORDS, TARGETS))),
            *await named([NAME], Resolver(SeededRandomness(1), dns=udp)),
        ]

    over_tls, over_udp = scene(work)
    assert (str(over_tls.uri), over_tls.route) == (
        f"sip:{NAME}:5061;transport=tls", {f"{NAME}:5061": f"tls:{TRUE}:5061"},
    )  # fmt: skip
    assert str(over_udp.uri) == f"sip:{TRUE}:5060"


@pytest.mark.parametrize(
    ("says", "uris"),
    [
        (SipServers(("192.0.2.1", "192.0.2.2")), ["sip:192.0.2.1:5060", "sip:192.0.2.2:5060"]),
        (SipServers(names=(NAME,)), [f"sip:{TRUE}:5060"]),
        (SipServers(), []),
    ],
)
def test_dhcp_names_addresses_or_domains(says: SipServers, uris: list[str]) -> None:
    async def work(network: Network) -> list[str]:
        network.name(f"a.{NAME}", TRUE)
        with at_host(TRUE):
            server = await LabDhcp.open(says, TRUE, 67)
        said = await dhcp.ask(SeededRandomness(1), PHONE, (TRUE, 67))
        server.close()
        assert said == says
        dns = Zone({NAME: RECORDS[NAME][1:]}, TARGETS)
        try:
            return [str(place.uri) for place in await offered(said, Resolver(SeededRandomness(1), dns=dns))]
        except NotFound:
            return []

    assert scene(work) == uris


def test_dhcp_for_ipv6_names_addresses_and_domains() -> None:
    async def work(network: Network) -> tuple[SipServers | None, SipServers]:
        says = SipServers(("2001:db8::7", "2001:db8::8"), (NAME, "other.example"))
        with at_host("2001:db8::53"):
            server = await LabDhcp.open(says, "2001:db8::53", 547)
        with at_host("2001:db8::1"):
            said = await dhcp.ask(SeededRandomness(1), "2001:db8::1", ("2001:db8::53", 547))
        server.close()
        return said, says

    said, says = scene(work)
    assert said == says


def test_where_nobody_answers_the_phone_says_so_after_a_while() -> None:
    async def work(_network: Network) -> Any:
        with pytest.raises(NotFound, match="no DHCP server answers"):
            await offered(await dhcp.ask(SeededRandomness(1), PHONE, (TRUE, 67)), Resolver(SeededRandomness(1)))
        return asyncio.get_running_loop().time()

    assert scene(work) == pytest.approx(3.0, abs=0.1)


def test_an_answer_to_somebody_else_or_of_another_kind_is_none() -> None:
    async def work(_network: Network) -> None:
        identifier, other = b"abcd", b"abce"
        ours = dhcp.inform(identifier, PHONE)
        assert dhcp.servers_v4(ours, identifier) is None
        answer = bytes((2, 1, 6, 0)) + identifier + ours[8:236] + dhcp.COOKIE
        ack = answer + bytes((53, 1, 5))
        assert dhcp.servers_v4(ack + bytes((120, 5, 1, 192, 0, 2, 1, 255)), identifier) == SipServers(("192.0.2.1",))
        assert dhcp.servers_v4(ack + bytes((120, 5, 1, 192, 0, 2, 1, 255)), other) is None
        assert dhcp.servers_v4(answer + bytes((53, 1, 2, 120, 5, 1, 192, 0, 2, 1, 255)), identifier) is None
        split = ack + bytes((120, 3, 1, 192, 0, 120, 2, 2, 1, 255))
        assert dhcp.servers_v4(split, identifier) == SipServers(("192.0.2.1",))

    scene(work)


@pytest.mark.parametrize(
    "option",
    [b"", b"\0", b"\1", b"\1\xc0\0\2", b"\0\x3f", b"\0\xc0\x0c", b"\0\4ab\0c\0", b"\0\1a", b"\2abcd", b"\0\1 \0"],
)
def test_a_malformed_option_names_nobody(option: bytes) -> None:
    head = bytes((2, 1, 6, 0)) + b"abcd" + bytes(228) + dhcp.COOKIE + bytes((53, 1, 5))
    assert dhcp.servers_v4(head + bytes((120, len(option))) + option + b"\xff", b"abcd") == SipServers()


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_message_that_ends_early_harms_nobody(cut: int) -> None:
    v6 = bytes((7,)) + b"abc" + dhcp.option_v6(22, bytes(32)) + dhcp.option_v6(21, b"\1a\1b\0")
    dhcp.servers_v6(v6[:cut], b"abc")
    v4 = bytes((2, 1, 6, 0)) + b"abcd" + bytes(228) + dhcp.COOKIE + bytes((52, 1, 3, 53, 1, 5, 120, 5, 1, 1, 2, 3, 4))
    dhcp.servers_v4(v4[: 200 + cut], b"abcd")
