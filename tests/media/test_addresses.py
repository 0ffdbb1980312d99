"""Requirement row 100: media goes to addresses that a host of the other side may have, and nowhere else."""

import asyncio

import pytest

from redoubt.config.interconnect import MediaConfig
from redoubt.events import Refused
from redoubt.media.relay import Relay

from .parties import CONFIG, OUTSIDE, World, answers, asks, described, simulated

BOB = "10.0.0.2"


async def offered(world: World, offer: bytes) -> tuple[int, bool]:
    """The status that an offer gets, and whether it reached the other side."""
    to, seen = answers(described(BOB, 6000))
    got = await world.inward(asks("INVITE", offer), to)
    assert got is not None
    if got.status == 200:
        bye, _seen = answers()
        await world.inward(asks("BYE", to_tag="b", cseq=2), bye)
    return got.status, bool(seen)


@pytest.mark.parametrize(
    "offer",
    [
        described("224.0.0.1/5", 5000), described("127.0.0.1", 5000), described("127.9.9.9", 5000),
        described(OUTSIDE, 40_000), described(OUTSIDE, 5060), described("10.9.0.1", 5000),
        described("255.255.255.255", 5000), described("240.0.0.1", 5000), described("169.254.169.254", 5000),
        described("198.51.100.1", 53), described("host.example", 5000), described("::ffff:127.0.0.1", 5000),
        described("::1", 5000), described("fe80::1", 5000), described("64:ff9b::7f00:1", 5000),
        described("ff02::1", 5000), described("2001:db8::1", 41_000),
        described("198.51.100.1", 5000, "a=rtcp:53"), described("198.51.100.1", 5000, "a=rtcp:5001 IN IP4 127.0.0.1"),
        described("198.51.100.1", 5000, "a=rtcp:5001 IN IP6 2001:db8::9"),
        described("10.0.0.9", 5060), described("10.0.0.9", 5059),
        described("198.51.100.1", 5000, "a=rtcp:5060 IN IP4 10.0.0.9"),
        described("198.51.100.1", 5000, media="audio {port}/1000 RTP/AVP 8"),
        described("198.51.100.1", 5000, "c=IN IP4 198.51.100.2", "c=IN IP4 198.51.100.3"),
        described("198.51.100.1", 5000, media="message {port} TCP/MSRP *"),
        described("198.51.100.1", 5000, *["m=audio 5002 RTP/AVP 8"] * 8),
    ],
)  # fmt: skip
def test_an_offer_that_names_what_no_party_has_is_refused_with_488_and_an_event(offer: bytes) -> None:
    async def script(world: World) -> None:
        assert await offered(world, offer) == (488, False)
        (event,) = [each for each in world.events.recent if isinstance(each, Refused)]
        assert event.status == 488 and event.why and event.clause

    simulated(script)


@pytest.mark.parametrize("count", [33, 1000])
def test_more_media_than_a_description_may_have_is_refused(count: int) -> None:
    async def script(world: World) -> None:
        offer = described("198.51.100.1", 5000, *["m=audio 5000 RTP/AVP 8"] * count)
        assert await offered(world, offer) == (413, False)

    simulated(script)


@pytest.mark.parametrize("host", ["0.0.0.0", "anonymous.invalid"])
def test_an_offer_without_an_address_is_hold_and_nothing_is_sent_anywhere(host: str) -> None:
    """RFC 3264 8.4, RFC 3725: a call control that has no media yet. Linux would take 0.0.0.0 for itself."""

    async def script(world: World) -> None:
        assert (await offered(world, described(host, 5000)))[0] == 200

    simulated(script)


@pytest.mark.parametrize("host", ["198.51.100.1", "10.1.2.3", "2001:db8:1::1", "fd00:1::1"])
def test_usual_addresses_are_taken(host: str) -> None:
    async def script(world: World) -> None:
        assert (await offered(world, described(host, 5000)))[0] == 200

    simulated(script)


def test_an_ip_version_that_the_relay_lacks_is_refused_with_488() -> None:
    async def script(world: World) -> None:
        assert await offered(world, described("2001:db8:1::1", 5000)) == (488, False)

    simulated(script, config=MediaConfig(inside=("10.9.0.1",), outside=(OUTSIDE,)))


def test_what_is_inside_may_name_a_port_of_the_relay_only_if_it_is_somebodys() -> None:
    async def script(world: World) -> None:
        to, seen = answers(described("198.51.100.1", 5000))
        got = await world.outward(asks("INVITE", described("10.9.0.1", 40_000)), to)
        assert got is not None and got.status == 488 and not seen

    simulated(script)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"inside": ()}, "need an address"), ({"outside": ("0.0.0.0",)}, "0.0.0.0 is not one"),
        ({"inside": ("10.0.0.1", "10.0.0.2")}, "10.0.0.2 is not one"), ({"outside": ("relay",)}, "relay"),
        ({"ports": (5000, 4000)}, "first and the last"), ({"ports": (53, 4000)}, "first and the last"),
    ],
)  # fmt: skip
def test_a_configuration_that_can_not_work_is_refused(options: dict[str, tuple[str, ...]], why: str) -> None:
    async def script(world: World) -> None:
        with pytest.raises(ValueError, match=why):
            Relay(world.context, MediaConfig(**{"inside": CONFIG.inside, "outside": CONFIG.outside, **options}))  # type: ignore[arg-type]
        await asyncio.sleep(0)

    simulated(script)
