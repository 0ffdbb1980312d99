"""The voice of the test phone: a tone in RTP, sent where the descriptions say and while they say so."""

import asyncio

from redoubt.phone.call import Call
from redoubt.phone.media import Direction

from .pair import Pair, with_pair


async def talking(pair: Pair) -> tuple[Call, Call]:
    """A call between two phones with audio: Alice's side of it, and Bob's."""
    for phone in (pair.alice, pair.bob):
        await phone.line.find_voice()
    call = await pair.alice.call(pair.BOB)
    await asyncio.sleep(1)
    return call, pair.bob.incoming.get_nowait()


def heard(call: Call) -> int:
    assert call.voice is not None
    assert call.voice.tones == call.voice.received
    return call.voice.received


def test_both_hear_fifty_packets_a_second_until_they_hang_up() -> None:
    async def script(pair: Pair) -> None:
        ours, theirs = await talking(pair)
        assert 45 <= heard(ours) <= 55 and 45 <= heard(theirs) <= 55
        await ours.hang_up()
        await asyncio.sleep(0.1)
        before = heard(ours), heard(theirs)
        await asyncio.sleep(10)
        assert (heard(ours), heard(theirs)) == before

    with_pair(script)


def test_who_is_on_hold_hears_music_and_says_nothing() -> None:
    async def script(pair: Pair) -> None:
        ours, theirs = await talking(pair)
        assert await ours.hold()
        await asyncio.sleep(0.1)
        before = heard(ours), heard(theirs)
        await asyncio.sleep(1)
        assert heard(ours) == before[0] and heard(theirs) >= before[1] + 45
        assert await ours.resume()
        await asyncio.sleep(1)
        assert heard(ours) >= before[0] + 40
        assert await theirs.update(Direction.INACTIVE)
        await asyncio.sleep(0.1)
        before = heard(ours), heard(theirs)
        await asyncio.sleep(1)
        assert (heard(ours), heard(theirs)) == before
        await theirs.hang_up()

    with_pair(script)


def test_a_phone_without_audio_calls_as_before() -> None:
    async def script(pair: Pair) -> None:
        await pair.alice.line.find_voice()
        call = await pair.alice.call(pair.BOB)
        assert call.voice is not None and pair.bob.incoming.get_nowait().voice is None
        await asyncio.sleep(1)
        assert call.voice.received == 0 and call.voice.sent > 40
        second = await pair.alice.call(pair.BOB)
        assert second.voice is not None and second.voice.port != call.voice.port
        await call.hang_up()
        await second.hang_up()

    with_pair(script)
