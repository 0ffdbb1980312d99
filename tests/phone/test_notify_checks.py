"""Strict handsets and a NOTIFY that is wrong in one thing, in virtual time (RFC 6665 4.1.3, RFC 3680 5)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from redoubt.cscf.reginfo import ContactInfo, RegInfo, RegistrationInfo
from redoubt.events import Bug, EventStream
from redoubt.phone.phone import Phone
from redoubt.phone.profiles import IPHONE, REDOUBT, PhoneProfile
from redoubt.sim.network import Network
from redoubt.sim.run import run
from redoubt.sip.fields import CONTACT, EXPIRES
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange, Root
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Flow, Zone, internal_flow
from redoubt.transport.listen import Listen

from .pair import card

Spoil = Callable[[Request], None]


@dataclass
class Notifier:
    """As much of a network as a registration and its NOTIFYs need. Each of `spoils` makes one NOTIFY, and spoils it."""

    context: Context
    stack: Stack
    spoils: list[Spoil]
    contact: str = ""
    notified_at: list[float] = field(default_factory=list)
    left_at: list[float] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def __call__(self, request: Request, exchange: Exchange) -> Response | None:
        response = request.response(200, to_tag="network")
        if request.method == "REGISTER":
            [contact] = request.every(CONTACT)
            assert isinstance(contact, NameAddr)
            self.contact = str(contact.uri)
            response.set("Contact", str(contact))
            if request.first(EXPIRES) == 0:
                self.left_at.append(asyncio.get_running_loop().time())
        else:
            response.extend([("Contact", "<sip:10.0.0.2>"), ("Expires", "600000")])

            async def notify() -> None:
                for number, spoil in enumerate(self.spoils):
                    await self._notify(request, exchange.flow, number, spoil)

            exchange.after_sent(notify)
        return response

    async def _notify(self, subscribe: Request, flow: Flow, number: int, spoil: Spoil) -> None:
        notify = Request("NOTIFY", self.contact)
        notify.extend([
            ("From", f"<{subscribe.to.uri}>;tag=network"), ("To", str(subscribe.from_)), ("Max-Forwards", "70"),
            ("Call-ID", subscribe.call_id), ("CSeq", f"{number + 1} NOTIFY"), ("Contact", "<sip:10.0.0.2>"),
            ("Event", "reg"), ("Subscription-State", "active;expires=600000"),
            ("Content-Type", "application/reginfo+xml"),
        ])  # fmt: skip
        notify.body = document(str(subscribe.to.uri), self.contact, number)
        spoil(notify)
        loop = asyncio.get_running_loop()
        self.notified_at.append(loop.time())
        exchange = Exchange(internal_flow("network"), Root(self.context, loop.time() + 60, lambda _response: None))
        answer = await self.stack.outbound.to(flow)(notify, exchange)
        assert answer is not None
        self.answers.append(answer.status)


def document(aor: str, contact: str, version: int) -> bytes:
    contacts = (ContactInfo("1", contact, True, "registered", 3600),)
    return RegInfo(version, True, (RegistrationInfo(aor, "a", "active", contacts),)).to_bytes()


def meets(profile: PhoneProfile, *spoils: Spoil) -> tuple[Notifier, str]:
    """What came of a handset that registered, and was told as `spoils` have it; and its complaint."""
    found: list[tuple[Notifier, str]] = []

    async def main(_network: Network) -> None:
        events, clock = EventStream(), Clock(asyncio.get_running_loop(), 1_700_000_000.0)
        context = Context("network", events, clock, SeededRandomness(1))
        stack = Stack(context, sent_by_host="10.0.0.2")
        notifier = Notifier(context, stack, list(spoils))
        await stack.listen(Listen.parse("udp:10.0.0.2:5060", Zone.ACCESS), notifier)
        own = Context("ue", events, clock, SeededRandomness(2))
        phone = Phone(own, card("alice"), Stack(own, sent_by_host="10.0.0.1"), "sip:10.0.0.2:5060", profile=profile)
        await phone.open("udp:10.0.0.1:5060")
        phone.registration.wants_proof = False
        assert (await phone.register(3600)).registered
        watching = phone.subscription
        await asyncio.sleep(100)
        assert [event for event in events.recent if isinstance(event, Bug)] == []
        found.append((notifier, watching.complaint if watching is not None else ""))
        await phone.close()
        await stack.close()

    run(main, 1)
    return found[0]


def right(_notify: Request) -> None:
    """Changes nothing."""


def from_the_contact(notify: Request) -> None:
    notify.set("From", f"<{notify.uri}>;tag=network")


def to_the_contact(notify: Request) -> None:
    notify.set("To", f"<{notify.uri}>;tag={notify.to.tag}")


def without_state(notify: Request) -> None:
    notify.remove("Subscription-State")


def in_a_state_of_its_own(notify: Request) -> None:
    notify.set("Subscription-State", "registered;expires=600000")


def of_the_first_version(notify: Request) -> None:
    notify.body = document("sip:alice@ims.example", notify.uri, 0)


def without_the_phones_contact(notify: Request) -> None:
    notify.body = document("sip:alice@ims.example", "sip:alice@10.0.0.9:5060", 0)


def that_is_no_document(notify: Request) -> None:
    notify.body = b"<reginfo"


@pytest.mark.parametrize(
    ("spoils", "complaint"),
    [
        ((from_the_contact,), "From is sip:"),
        ((to_the_contact,), "To is sip:"),
        ((without_state,), "Subscription-State"),
        ((in_a_state_of_its_own,), "Subscription-State is registered"),
        ((right, of_the_first_version), "version 0 comes a second time"),
        ((without_the_phones_contact,), "the contact of this phone is missing"),
        ((that_is_no_document,), ""),
    ],
)
def test_a_strict_handset_answers_200_to_a_wrong_notify_and_leaves_21_to_32_seconds_later(
    spoils: tuple[Spoil, ...], complaint: str
) -> None:
    met, why = meets(IPHONE, *spoils)
    assert why.startswith(complaint) and why
    assert met.answers == [200] * len(spoils)
    [left] = met.left_at
    assert 21 <= left - met.notified_at[-1] <= 32.5


def test_a_strict_handset_stays_with_a_network_whose_notify_is_right() -> None:
    met, why = meets(IPHONE, right, right)
    assert (met.left_at, met.answers, why) == ([], [200, 200], "")


def test_a_patient_handset_stays_whatever_the_notify_says() -> None:
    met, why = meets(replace(REDOUBT, subscribes=True), without_the_phones_contact)
    assert (met.left_at, met.answers, why) == ([], [200], "")
