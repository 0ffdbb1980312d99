"""UDP on the virtual network: faults by chance, partitions, taps, and errors as real sockets report them."""

import asyncio
import errno
from itertools import pairwise

import pytest

from redoubt.sim import Fate, Network, Trace, at_host, run

from .endpoints import Mailbox, mailbox, still

ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
COUNT = 2000


async def send_numbers(count=COUNT, spacing_s=0.001):
    """Send 0, 1, 2... from ONE to TWO; what arrived, as numbers."""
    sender, receiver = await mailbox(ONE), await mailbox(TWO)
    for number in range(count):
        sender.transport.sendto(b"%d" % number, (TWO, 5060))
        await asyncio.sleep(spacing_s)
    await asyncio.sleep(1)
    return [int(payload) for payload in receiver.payloads]


def numbers(network, **options):
    return run(lambda _: send_numbers(**options), network.seed, network=network)


def test_without_faults_each_datagram_arrives_once_and_in_order():
    assert numbers(Network(1), spacing_s=0) == list(range(COUNT))


def test_loss_loses_about_its_share():
    arrived = numbers(Network(1, loss=0.1))
    assert arrived == sorted(set(arrived))
    assert 0.07 * COUNT < COUNT - len(arrived) < 0.13 * COUNT


def test_duplication_doubles_about_its_share():
    arrived = numbers(Network(1, duplicate=0.1))
    assert sorted(set(arrived)) == list(range(COUNT))
    assert 0.07 * COUNT < len(arrived) - COUNT < 0.13 * COUNT


def test_reordering_lets_later_datagrams_overtake():
    arrived = numbers(Network(1, reorder=0.1))
    assert sorted(arrived) == list(range(COUNT))
    overtaken = sum(1 for a, b in pairwise(arrived) if b < a)
    assert 0.05 * COUNT < overtaken < 0.15 * COUNT


def test_latency_is_within_its_bounds_and_the_addresses_are_right():
    async def main(network):
        one, two = await mailbox(ONE), await mailbox(TWO)
        one.transport.sendto(b"hello", (TWO, 5060))
        await asyncio.sleep(1)
        return two.received

    [(payload, source, time_s)] = run(main, 3, network=Network(3, latency_s=(0.2, 0.3)))
    assert (payload, source) == (b"hello", (ONE, 5060))
    assert 0.2 <= time_s <= 0.3


def test_a_rule_for_one_link_leaves_the_others_alone():
    async def main(network):
        network.link(ONE, TWO, loss=1.0)
        network.link(ONE, latency_s=(0.5, 0.5))
        one, two, three = [await mailbox(host) for host in (ONE, TWO, THREE)]
        one.transport.sendto(b"lost", (TWO, 5060))
        one.transport.sendto(b"late", (THREE, 5060))
        three.transport.sendto(b"soon", (TWO, 5060))
        await asyncio.sleep(1)
        return two.received, three.received

    two, three = run(main, 1, network=still())
    assert two == [(b"soon", (THREE, 5060), 0.01)]
    assert three == [(b"late", (ONE, 5060), 0.5)]


def test_a_rule_with_an_impossible_chance_is_refused():
    with pytest.raises(ValueError, match=r"loss=1\.5"):
        Network(1).link(ONE, TWO, loss=1.5)


def test_a_partition_stops_both_directions_until_it_heals():
    async def main(network):
        one, two = await mailbox(ONE), await mailbox(TWO)

        async def exchange(text):
            one.transport.sendto(text, (TWO, 5060))
            two.transport.sendto(text, (ONE, 5060))
            await asyncio.sleep(1)

        network.partition(ONE, [TWO, THREE])
        await exchange(b"cut")
        network.heal(ONE, [TWO, THREE])
        await exchange(b"healed")
        network.partition(ONE, one_way=True)
        await exchange(b"one way")
        network.heal()
        await exchange(b"again")
        return one.payloads, two.payloads

    assert run(main, 1) == ([b"healed", b"one way", b"again"], [b"healed", b"again"])


def test_a_tap_sees_every_packet_with_its_fate_until_it_is_removed():
    async def main(network):
        trace = Trace()
        remove = network.tap(trace)
        one = await mailbox(ONE)
        await mailbox(TWO)
        one.transport.sendto(b"heard", (TWO, 5060))
        network.partition(ONE, TWO)
        one.transport.sendto(b"stopped", (TWO, 5060))
        remove()
        one.transport.sendto(b"unseen", (TWO, 5060))
        return [(p.time_s, str(p.source), str(p.target), p.payload, p.fate) for p in trace.packets]

    way = (0.0, f"{ONE}:5060", f"{TWO}:5060")
    assert run(main, 1) == [(*way, b"heard", Fate.DELIVERED), (*way, b"stopped", Fate.PARTITIONED)]


def test_an_attacker_on_the_path_rewrites_and_stops_datagrams():
    async def main(network):
        trace = Trace()
        network.tap(trace)
        network.intercept(lambda packet: None if b"stop" in packet.payload else packet.payload.upper())
        one, two = await mailbox(ONE), await mailbox(TWO)
        for text in (b"alice", b"stop"):
            one.transport.sendto(text, (TWO, 5060))
        await asyncio.sleep(1)
        return two.payloads, [packet.fate for packet in trace.packets]

    assert run(main, 1) == ([b"ALICE"], [Fate.ALTERED, Fate.STOPPED])


def test_an_attacker_sends_from_an_address_that_is_not_its_own():
    async def main(network):
        two = await mailbox(TWO)
        network.inject((ONE, 1), (TWO, 5060), b"forged")
        await asyncio.sleep(1)
        return two.received[0][:2]

    assert run(main, 1) == (b"forged", (ONE, 1))


def test_a_port_is_bound_once_until_it_is_closed():
    async def main(network):
        first = await mailbox(ONE)
        with pytest.raises(OSError) as caught:
            await mailbox(ONE)
        assert caught.value.errno == errno.EADDRINUSE
        first.transport.close()
        assert first.transport.is_closing()
        await mailbox(ONE)
        return first.lost

    assert run(main, 1) == [None]


def test_a_wildcard_cannot_be_bound():
    async def main(network):
        with pytest.raises(OSError, match="concrete address"):
            await mailbox("0.0.0.0")

    run(main, 1)


def test_port_zero_gives_ephemeral_ports_of_the_host_that_runs():
    async def main(network):
        loop = asyncio.get_running_loop()
        with at_host(THREE):
            first, _ = await loop.create_datagram_endpoint(Mailbox, remote_addr=(TWO, 5060))
        second = await mailbox(THREE, 0)
        return [each.get_extra_info("sockname") for each in (first, second.transport)]

    assert run(main, 1) == [(THREE, 49152), (THREE, 49153)]


def test_a_connected_port_hears_only_its_peer_and_of_its_absence():
    async def main(network):
        one, stranger = await mailbox(ONE, remote_addr=(TWO, 5060)), await mailbox(THREE)
        one.transport.sendto(b"anybody?")
        await asyncio.sleep(1)
        two = await mailbox(TWO)
        for sender in (two, stranger):
            sender.transport.sendto(b"hello", (ONE, 5060))
        await asyncio.sleep(1)
        return one.payloads, [type(error) for error in one.errors], one.transport.get_extra_info("peername")

    assert run(main, 1) == ([b"hello"], [ConnectionRefusedError], (TWO, 5060))


def test_a_datagram_beyond_the_limit_of_udp_is_an_error_of_the_sender():
    async def main(network):
        one = await mailbox(ONE)
        one.transport.sendto(bytes(65_508), (TWO, 5060))
        return [error.errno for error in one.errors]

    assert run(main, 1) == [errno.EMSGSIZE]


def test_ipv6_addresses_are_one_however_they_are_written():
    async def main(network):
        one, two = await mailbox("fd00::1"), await mailbox("FD00:0::2")
        one.transport.sendto(b"six", ("fd00:0:0::2", 5060))
        await asyncio.sleep(1)
        return two.received[0][:2]

    assert run(main, 1) == (b"six", ("fd00::1", 5060, 0, 0))


def test_a_crashed_host_is_silent_and_its_ports_are_free():
    async def main(network):
        one, two = await mailbox(ONE), await mailbox(TWO)
        network.crash(TWO)
        one.transport.sendto(b"lost", (TWO, 5060))
        await asyncio.sleep(1)
        reborn = await mailbox(TWO)
        one.transport.sendto(b"back", (TWO, 5060))
        await asyncio.sleep(1)
        return two.payloads, two.lost, reborn.payloads

    assert run(main, 1) == ([], [], [b"back"])


def test_names_resolve_as_registered_and_no_others():
    async def main(network):
        network.name("HSS.home1.net", TWO, "fd00::2")
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo("hss.home1.net", 3868)
        assert {info[4][0] for info in infos} == {TWO, "fd00::2"}
        assert [info[4] for info in await loop.getaddrinfo(ONE, "5060", type=2)] == [(ONE, 5060)]
        with pytest.raises(OSError, match=r"unknown host nowhere\.net"):
            await loop.getaddrinfo("nowhere.net", 1)

    run(main, 1)
