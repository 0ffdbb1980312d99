"""The P-CSCF as access SBC: phones behind NATs talk, and are heard, through the relay (TS 23.228 Annex G)."""

import asyncio

import pytest

from redoubt.phone.call import Call
from redoubt.sim import Network, Packet, run

from .homes import RELAY, Nat, house


def heard(call: Call) -> int:
    assert call.voice is not None
    return call.voice.tones


class Ways:
    """Between which hosts RTP went."""

    def __init__(self, wire: Network) -> None:
        self.pairs: set[tuple[str, str]] = set()
        wire.tap(self._saw)

    def _saw(self, packet: Packet) -> None:
        if packet.payload[:2] == b"\x80\x08":
            self.pairs.add((packet.source.host, packet.target.host))


@pytest.mark.parametrize("policy", ["aka-without-ipsec", "ipsec"])
def test_without_the_relay_a_phone_behind_a_nat_is_not_heard_of(policy: str) -> None:
    """What there would be to hear without this: Bob sends to an address that means nothing to him."""

    async def main(wire: Network) -> None:
        Nat(wire, "192.168.1.2", "203.0.113.5")
        async with house(wire, "off", policy) as home:
            await home.phone("alice", "192.168.1.2", ipsec=policy == "ipsec")
            await home.phone("bob", "10.3.0.2", ipsec=policy == "ipsec")
            ways = Ways(wire)
            call, _theirs = await home.call()
            assert heard(call) == 0
            assert ("10.3.0.2", "192.168.1.2") in ways.pairs and not any(RELAY in pair for pair in ways.pairs)
            await call.hang_up()

    run(main, 1)


@pytest.mark.parametrize("policy", ["aka-without-ipsec", "ipsec"])
@pytest.mark.parametrize("caller_behind", [True, False])
def test_a_phone_behind_a_nat_is_heard_and_hears_through_the_relay(caller_behind: bool, policy: str) -> None:
    async def main(wire: Network) -> None:
        Nat(wire, "192.168.1.2", "203.0.113.5")
        hosts = ("192.168.1.2", "10.3.0.2") if caller_behind else ("10.3.0.2", "192.168.1.2")
        async with house(wire, "nat", policy) as home:
            for name, host in zip(("alice", "bob"), hosts, strict=True):
                await home.phone(name, host, ipsec=policy == "ipsec")
            ways = Ways(wire)
            ours, theirs = await home.call()
            assert heard(ours) > 40 and heard(theirs) > 40
            assert ("203.0.113.5", RELAY) in ways.pairs and (RELAY, "203.0.113.5") in ways.pairs
            assert not ways.pairs & {("10.3.0.2", "192.168.1.2"), ("203.0.113.5", "10.3.0.2")}
            assert await theirs.hold()
            before = heard(theirs)
            await asyncio.sleep(1)
            assert heard(theirs) <= before + 5 and await theirs.resume()
            await asyncio.sleep(1)
            assert heard(theirs) > before + 40
            await ours.hang_up()

    run(main, 1)


def test_two_phones_behind_two_nats_are_joined() -> None:
    async def main(wire: Network) -> None:
        Nat(wire, "192.168.1.2", "203.0.113.5")
        Nat(wire, "192.168.7.7", "203.0.113.7")
        async with house(wire, "nat") as home:
            await home.phone("alice", "192.168.1.2")
            await home.phone("bob", "192.168.7.7")
            ours, theirs = await home.call()
            assert heard(ours) > 40 and heard(theirs) > 40
            await theirs.hang_up()
            await ours.ended()

    run(main, 1)


def test_a_phone_without_a_nat_speaks_directly_where_only_nats_are_anchored() -> None:
    async def main(wire: Network) -> None:
        async with house(wire, "nat") as home:
            await home.phone("alice", "10.3.0.1")
            await home.phone("bob", "10.3.0.2")
            ways = Ways(wire)
            ours, theirs = await home.call()
            assert heard(ours) > 40 and heard(theirs) > 40 and not any(RELAY in pair for pair in ways.pairs)
            await ours.hang_up()

    run(main, 1)


def test_where_all_are_anchored_no_phone_learns_where_another_is_and_ipv6_meets_ipv4() -> None:
    async def main(wire: Network) -> None:
        async with house(wire, "always") as home:
            await home.phone("alice", "10.3.0.1")
            await home.phone("bob", "fd00:3::2")
            ways = Ways(wire)
            ours, theirs = await home.call()
            assert heard(ours) > 40 and heard(theirs) > 40
            assert not any("10.3.0.1" in pair and "fd00:3::2" in pair for pair in ways.pairs)
            assert ours.media.far is not None and ours.media.far[0] == RELAY
            assert theirs.media.far is not None and theirs.media.far[0] == "2001:db8:10::1"
            await ours.hang_up()

    run(main, 1)


@pytest.mark.parametrize("seed", range(4))
def test_calls_with_changes_over_a_lossy_wire_leave_nothing_open(seed: int) -> None:
    async def main(wire: Network) -> None:
        Nat(wire, "192.168.1.2", "203.0.113.5")
        async with house(wire, "always") as home:
            alice = await home.phone("alice", "192.168.1.2")
            await home.phone("bob", "fd00:3::2")
            for number in range(6):
                call = await alice.call(home.impu("bob"))
                if call.status != 200:
                    continue
                await asyncio.sleep(1)
                if number % 2:
                    await call.hold()
                    await call.resume()
                await asyncio.sleep(1)
                assert heard(call) > 30
                await call.hang_up()

    run(main, seed, network=Network(seed, loss=0.1, duplicate=0.05, reorder=0.05))
