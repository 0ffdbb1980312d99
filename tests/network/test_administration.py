"""What an operator does to a subscriber reaches S-CSCF and phone at once (TS 29.228 6.1.3, 6.2.2)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from redoubt.diameter.cx import HssUnavailable, RegistrationTermination, ResultCode, UserProfile
from redoubt.events import EventStream
from redoubt.hss.administration import Told
from redoubt.hss.provisioning_fields import patched
from redoubt.lab.population import Resident, residents
from redoubt.phone.phone import Phone
from redoubt.sip.service import Context
from redoubt.sip.stack import Stack
from redoubt.sources import Clock, SeededRandomness

from .home import Home, home


class Watched:
    """Alice's phone, registered, with its subscription to its registration state."""

    def __init__(self, net: Home, alice: Resident, phone: Phone) -> None:
        self.net, self.alice, self.phone = net, alice, phone
        self.hss = net.hss.administration

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not what():  # noqa: ASYNC110  phones tell of no such thing by themselves
                await asyncio.sleep(0.01)

    @property
    def registrations(self) -> int:
        assert self.net.network.s_cscf is not None
        return self.net.network.s_cscf.table_sizes()["registrations"]

    @property
    def notified(self) -> int:
        assert self.phone.subscription is not None
        return self.phone.subscription.notified


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with home(users=()) as net:
        [alice] = residents(["alice"], net.realm, SeededRandomness(3))
        await net.hss.administration.add([alice.subscriber()])
        context = Context("ue", EventStream(), Clock(asyncio.get_running_loop()), SeededRandomness(2))
        host, port = net.network.p_cscf_address
        phone = Phone(context, alice.card(), Stack(context), f"sip:{host}:{port}", gm=net.gm_options())
        await phone.open(f"udp:{net.phone_host}:0")
        try:
            assert (await phone.register(3600, subscribe=True)).registered
            made = Watched(net, alice, phone)
            await made.until(lambda: made.notified > 0)
            yield made
        finally:
            await phone.close()


async def test_a_removed_subscriber_s_phone_learns_it_and_is_refused_from_then_on() -> None:
    async with watched() as made:
        assert await made.hss.remove(made.alice.impi) is Told.DONE
        await made.until(lambda: not made.phone.registration.holds)
        assert made.registrations == 0
        assert (await made.phone.register(3600)).status in (401, 403)
        assert not await made.hss.knows(made.alice.impu)


async def test_a_barred_subscriber_s_phone_learns_it_and_registers_once_the_bar_is_lifted() -> None:
    async with watched() as made:
        assert await made.hss.bar(made.alice.impi) is Told.DONE
        await made.until(lambda: not made.phone.registration.holds)
        assert made.registrations == 0
        assert (await made.phone.register(3600)).status == 403
        assert await made.hss.bar(made.alice.impi, False) is Told.NOT_NEEDED
        assert (await made.phone.register(3600)).registered


async def test_a_bar_on_one_identity_leaves_the_others_registered() -> None:
    async with watched() as made:
        number = "tel:+15550177"
        both = {"impus": [made.alice.impu, number]}
        assert await made.hss.change(made.alice.impi, lambda before: patched(both, before)) is Told.DONE
        heard = made.notified
        assert await made.hss.bar(number) is Told.DONE
        await made.until(lambda: made.notified > heard)
        assert made.phone.registration.holds
        assert made.registrations == 1
        assert (await made.phone.register(3600)).associated == (made.alice.impu,)
        assert await made.hss.bar(number, False) is Told.DONE
        assert (await made.phone.register(3600)).associated == (made.alice.impu, number)


async def test_a_subscriber_whose_identity_is_barred_may_not_use_it_any_more() -> None:
    async with watched() as made:
        both = {"impus": [made.alice.impu, "tel:+15550177"]}
        await made.hss.change(made.alice.impi, lambda before: patched(both, before))
        assert (await made.phone.register(3600)).registered
        before = await made.phone.message(made.alice.impu, "to myself")
        await made.hss.bar(made.alice.impu)
        await made.net.settled(0.5)
        after = await made.phone.message(made.alice.impu, "to myself")
        assert before.status == 200
        assert after.status in (403, 404)


async def test_a_reassigned_subscriber_s_phone_registers_again_by_itself() -> None:
    async with watched() as made:
        first = made.phone.subscription
        asked_at = made.phone.registration.asked_at
        assert await made.hss.reassign(made.alice.impu) is Told.DONE
        await made.until(lambda: made.phone.registration.asked_at > asked_at and made.phone.registration.holds)
        await made.until(lambda: made.phone.subscription is not first)
        assert made.registrations == 1


async def test_a_deregistered_subscriber_s_phone_stays_out_until_its_user_wants() -> None:
    async with watched() as made:
        assert await made.hss.deregister(made.alice.impu) is Told.DONE
        await made.until(lambda: not made.phone.registration.holds)
        assert made.registrations == 0
        assert (await made.phone.register(3600)).registered


async def test_a_changed_profile_is_told_by_notify_and_with_the_next_registration() -> None:
    async with watched() as made:
        heard = made.notified
        more = {"impus": [made.alice.impu, "tel:+15550177"]}
        assert await made.hss.change(made.alice.impi, lambda before: patched(more, before)) is Told.DONE
        await made.until(lambda: made.notified > heard)
        assert (await made.phone.register(3600)).associated == (made.alice.impu, "tel:+15550177")


async def test_a_set_that_is_barred_whole_ends_and_the_other_goes_on() -> None:
    async with watched() as made:
        sets = {"sets": [[made.alice.impu], ["tel:+15550177"]]}
        assert await made.hss.change(made.alice.impi, lambda before: patched(sets, before)) is Told.NOT_NEEDED
        assert await made.hss.bar("tel:+15550177") is Told.NOT_NEEDED
        await made.net.settled()
        assert made.phone.registration.holds
        assert await made.hss.bar(made.alice.impu) is Told.DONE
        await made.until(lambda: not made.phone.registration.holds)


class Away:
    """An S-CSCF whose host does not answer."""

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        raise HssUnavailable("no answer")

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        raise HssUnavailable("no answer")


async def test_an_s_cscf_that_is_away_is_reported() -> None:
    async with watched() as made:
        assert made.net.network.s_cscf is not None
        made.net.hss.attach(made.net.network.config.s_cscf.uri, Away())
        assert await made.hss.remove(made.alice.impi) is Told.UNREACHABLE
        assert any("could not be reached" in repr(event) for event in made.net.hss.context.events.recent)
